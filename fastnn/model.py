"""Model: a feed-forward network that trains, predicts, explains itself and is saved.

It checks and converts what it is given, then hands on: to training, explain, files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Never, overload

import numpy as np

from fastnn.checks import as_int, as_real, refuse_unknown
from fastnn.config import n_threads as bound_threads
from fastnn.errors import ModelFileError
from fastnn.network.activations import Activation
from fastnn.network.arrays import (
    Features,
    Once,
    as_dense,
    as_features,
    as_finite,
    as_numbers,
    as_pair,
    is_rows,
    is_table,
    refuse_nan,
)
from fastnn.network.embeddings import Embedding
from fastnn.network.initialize import MOST_ROWS, drawn_rows, initial_theta, on_data
from fastnn.network.losses import Loss
from fastnn.network.norms import Norm
from fastnn.network.parameters import (
    Parameters,
    Views,
    alphas,
    embedded,
    gammas,
    statistics_of,
)
from fastnn.network.spec import as_network, check_float, is_bfloat16, is_open
from fastnn.predictor import Kept, Predictor, RowPredictor, told
from fastnn.random import as_seed
from fastnn.training import evaluate as evaluation
from fastnn.training import loop
from fastnn.training import metrics as measures
from fastnn.training.fit import Callback
from fastnn.training.history import History
from fastnn.training.optimizers import Optimizer
from fastnn.training.plan import Plan, plan_fit, plan_partial_fit, warn_of_scale
from fastnn.training.schedules import Rate
from fastnn.training.split import split
from fastnn.training.weights import as_weights

if TYPE_CHECKING:
    from typing import SupportsIndex

    from fastnn.explain.trace import Trace
    from fastnn.names import (
        ActivationName,
        ComputeDtypeName,
        Doubles,
        DtypeName,
        Floats,
        InitName,
        LossName,
        NormName,
        OptimizerName,
        OutputName,
    )
    from fastnn.network.initialize import Init
    from fastnn.quantized.predictor import Int8Predictor, Int8Report
    from fastnn.tables.columns import Columns, OpenEnds


class Model:
    """A feed-forward network (multi-layer perceptron).

    Parameters
    ----------
    sizes : list of int
        Widths of the layers, [n_in, ..., n_out]; two are a linear or logistic regression. The first
        and the last may be None: the first `fit` learns from its data what the columns are and how
        many inputs and outputs they need, and all methods then take rows as they were given there
        (docs/data.md, Tables).
    activation : str, fastnn.LeakyReLU, fastnn.ELU, fastnn.Parametric or list of them, \
            default "relu"
        One for all hidden layers or one for each: "identity", "relu", "sigmoid", "tanh",
        "leaky_relu", "elu", "selu", "softplus", "hard_tanh", "gelu" (with the normal distribution
        itself), "gelu_tanh" (its approximation), "silu", "mish". An object sets the parameter;
        `Parametric` trains one for each unit.
    output : str, fastnn.LeakyReLU or fastnn.ELU, optional
        Activation of the output layer: "softmax", the default, "exp", or any of the above. Where
        columns are learned it follows the target: softmax for classes, identity for amounts (exp
        with the loss poisson), sigmoid for several targets of two classes.
    loss : str or object, optional
        By default it follows the output: cross_entropy for softmax, binary_cross_entropy for
        sigmoid, poisson for exp, squared_error (half the squared error, summed over outputs)
        otherwise. With settings: `CrossEntropy`, `BinaryCrossEntropy`, `Focal`, `Huber`,
        `Quantile`. The outputs that a loss goes with:

        ====================  ====================================================
        cross_entropy         softmax
        binary_cross_entropy  sigmoid, one yes-or-no question each (multi-label)
        focal                 softmax, sigmoid
        hinge                 identity, one for each class; y are labels
        poisson               exp: f(x) are rates, y counts
        squared_error         any
        absolute_error        any but softmax
        huber                 any but softmax
        quantile              any but softmax and sigmoid; several q: `Quantile`
        ====================  ====================================================
    bias : bool or list of bool, default True
        Whether layers have a bias: all alike or one for each.
    dtype : {"float32", "float64"}, default "float32"
    seed : int, optional
        0 to 2**128 - 1: fixes initial weights and shuffles. By default drawn from the operating
        system; ``model.seed`` tells it.
    n_threads : int, optional
        At most so many threads; by default what affinity, cgroup quota and OMP_NUM_THREADS allow.
        Results do not depend on it.
    init : str, fastnn.Uniform, fastnn.Normal, fastnn.Orthogonal, tuple or list, optional
        First weights; biases are 0. "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
        "lecun_uniform", "lecun_normal", "uniform", "normal", "orthogonal" or "zeros" (which never
        learns where there are hidden layers). A tuple of two rules gives biases, too, from the
        second (but for orthogonal): ``("lecun_normal", fastnn.Normal(1.0))``. Or a list of one of
        these for each layer, in which an array W (n_out, n_in) or a tuple (W, b) may stand, too.
        By default he_uniform for relu and what resembles it (leaky_relu's with its slope),
        lecun_uniform for selu and glorot_uniform for others. `initialize` makes weights and biases
        from data.
    dropout : float or list of float, default 0.0
        In `fit` and `partial_fit` each h is set to 0 with this probability, the others divided by
        1 - dropout: one number for all hidden layers, or a list for the inputs and each hidden
        layer. Everything else (prediction, `evaluate`, `loss_and_gradient`, `gradient_check`,
        `trace`) goes without.
    noise : float or list of float, default 0.0
        Standard deviation of normal noise added to each h before dropout: one number for
        all hidden layers, or a list for the inputs and each hidden layer.
    norm : "batch", "layer", fastnn.BatchNorm, fastnn.LayerNorm, None or list of them, optional
        Normalisation, of all hidden layers alike or one for each: of u = h_prev W^T before the
        activation, h = g(gamma (u - mean) / sqrt(variance + epsilon) + b). So the layer's b is what
        others call beta, and gamma, 1 at first, follows it in theta. Penalties and max_norm take
        gamma for a bias. "batch": means over the rows of a mini-batch in `fit`, `partial_fit`,
        `loss_and_gradient`, `gradient_check` and `trace`, running averages, which the first two of
        these move, in everything else. "layer": means over the layer's units, everywhere.
    input_scale : float, default 1.0
        Integers among the features are multiplied by it as they are read, such as 1 / 255 for
        images of uint8: ``float(x) * float(input_scale)`` in the model's dtype, each rounded once.
        Floats are taken as they are. It is saved with the model.
    columns : fastnn.tables.Columns, optional
        What `fastnn.tables.learn` has learned, with settings of its own; sizes may then be None at
        both ends.
    embeddings : list of fastnn.Periodic, fastnn.PiecewiseLinear and fastnn.Categories, optional
        What becomes of columns of X before layer 1 sees them; no column is in two of them. Layer 1
        takes columns in none of them first, in their order, then the features of each, column by
        column: ``n_features`` in all. sizes[0] stays the number of columns of X.
    feature_scale : bool, default False
        Whether each feature is multiplied by a trained number, 1 at first, before layer 1.
    monotone : dict of int: int, optional
        Columns of X with which each output never falls (1) or never rises (-1), whatever the others
        are; of two softmax outputs the second's probability. Weights on their way have signs, held
        by every step; `derivative_bounds` proves it. Hidden activations must not fall (no gelu,
        gelu_tanh, silu, mish, `Parametric`), without norm; of embeddings a `PiecewiseLinear`
        without width may take such a column. docs/maths.md, section 7.

    compute_dtype : {"float32", "float64", "bfloat16"}, optional
        What the layers' products are of, by default dtype. "bfloat16", with dtype float32: inputs,
        h, delta and W are rounded to it as operands of the products; sums, biases, activations and
        the weights that training moves stay float32. X must be dense. It can be set: the weights
        stay. docs/maths.md, section 13.

    Attributes
    ----------
    sizes, activations, output, loss, bias, dtype, seed, n_threads, dropout, noise, norm, \
            input_scale, embeddings, feature_scale, monotone, compute_dtype
        As above; activations and norm (of hidden layers), bias, dropout and noise written out for
        each layer.
    n_parameters, n_features : int
    metadata : dict
        The user's own, saved with the model; must be what JSON can hold. What the model knows of
        its columns stands there as "data".
    columns : fastnn.tables.Columns or None
        What was learned of the columns; of a plain model that was trained on a table of numbers,
        the names of its columns.
    classes : array or None
        What `predict` chooses from where it gives names of classes, in the order of
        `predict_proba`'s columns.

    Notes
    -----
    A notebook shows a model as its layers, with shapes, parameters and how it was trained.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 8, 1], activation="tanh", output="sigmoid", seed=0)
    >>> history = model.fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], epochs=500,
    ...                     batch_size=4, learning_rate=0.5)
    >>> model.predict([[0, 1], [1, 1]])
    array([1, 0])
    """

    def __init__(
        self,
        sizes: Sequence[SupportsIndex | None] | np.ndarray,
        activation: ActivationName | Activation | Sequence[ActivationName | Activation] = "relu",
        output: OutputName | Activation | None = None,
        loss: LossName | Loss | None = None,
        bias: bool | Sequence[bool] = True,
        dtype: DtypeName | np.dtype[Any] | type[Any] = "float32",
        seed: int | None = None,
        n_threads: int | None = None,
        init: InitName | Init | Sequence[Any] | None = None,
        dropout: float | Sequence[float] = 0.0,
        noise: float | Sequence[float] = 0.0,
        norm: NormName | Norm | Sequence[NormName | Norm | None] | None = None,
        input_scale: float = 1.0,
        columns: Columns | None = None,
        embeddings: Sequence[Embedding] | None = None,
        feature_scale: bool = False,
        monotone: Mapping[int, int] | Sequence[int] | None = None,
        compute_dtype: ComputeDtypeName | None = None,
    ) -> None:
        rest = (
            *(activation, output, loss, bias, dtype, dropout, noise, norm, input_scale),
            *(embeddings, feature_scale, monotone, compute_dtype),
        )
        self.n_threads = None if n_threads is None else as_int("n_threads", n_threads, 1)
        self.seed: int = as_seed(seed)
        self.metadata: dict[str, Any] = {}
        self._open: OpenEnds | None = None
        if columns is None and not is_open(sizes):
            output = "softmax" if output is None else output
            network = as_network(sizes, activation, output, *rest[2:])
            self._assemble(
                Parameters(network, initial_theta(network, self.seed, init)),
                *(self.seed, self.metadata, self.n_threads),
            )
            return
        from fastnn.tables.columns import OpenEnds

        self._open = OpenEnds(sizes, rest, init)
        if columns is None:
            self._open.check()
        else:
            self._build(columns)

    def _build(self, columns: Columns | None) -> None:
        """Become the network of these columns."""
        assert self._open is not None and columns is not None
        network = self._open.network(columns)
        columns.check(network)
        parameters = Parameters(network, initial_theta(network, self.seed, self._open.init))
        self.metadata["data"] = columns.to_dict()
        self._assemble(parameters, self.seed, self.metadata, self.n_threads)

    def _assemble(
        self, parameters: Parameters, seed: int, metadata: dict[str, Any], n_threads: int | None
    ) -> None:
        self._network = parameters.network
        self._parameters = parameters
        self._kept = Kept()
        self._open = None
        self.seed = seed
        self.metadata = metadata
        self.n_threads = n_threads

    def __getattr__(self, name: str) -> Any:
        unfitted = vars(self).get("_open")
        if unfitted and name in ("_network", "_parameters", "_kept"):
            raise ValueError(
                f"the model must be fitted first: what sizes {unfitted.sizes} leave open is "
                "learned from the data"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # What it is

    @property
    def sizes(self) -> list[int]:
        return list(self._network.sizes)

    @property
    def activations(self) -> list[str | Activation]:
        return list(self._network.activations)

    @property
    def output(self) -> str | Activation:
        return self._network.output

    @property
    def loss(self) -> str | Loss:
        return self._network.loss

    @property
    def bias(self) -> list[bool]:
        return list(self._network.bias)

    @property
    def dtype(self) -> str:
        return self._network.dtype

    @property
    def compute_dtype(self) -> str:
        return self._network.compute_dtype

    @compute_dtype.setter
    def compute_dtype(self, compute_dtype: ComputeDtypeName | None) -> None:
        network = replace(self._network, bfloat16=is_bfloat16(compute_dtype, self.dtype))
        self._parameters.compute_in(network)
        self._network, self._kept = network, Kept()

    @property
    def dropout(self) -> list[float]:
        return list(self._network.dropout)

    @property
    def noise(self) -> list[float]:
        return list(self._network.noise)

    @property
    def norm(self) -> list[Norm | None]:
        return list(self._network.norm)

    @property
    def input_scale(self) -> float:
        return self._network.input_scale

    @property
    def embeddings(self) -> list[Embedding]:
        return list(self._network.embeddings)

    @property
    def feature_scale(self) -> bool:
        return self._network.feature_scale

    @property
    def monotone(self) -> dict[int, int]:
        return {column: sign for column, sign in enumerate(self._network.monotone) if sign}

    @property
    def n_features(self) -> int:
        return self._network.n_features

    @property
    def n_parameters(self) -> int:
        return self._network.n_parameters

    @property
    def columns(self) -> Columns | None:
        saved = self.metadata.get("data") if isinstance(self.metadata, dict) else None
        if not isinstance(saved, dict) or not saved.keys() >= {"version", "inputs", "target"}:
            return None
        known = vars(self).get("_columns")
        if known is None or known[0] is not saved:
            from fastnn.tables.columns import Columns

            columns = Columns.from_dict(saved)
            columns.check(self._network)
            known = self._columns = saved, columns
        return known[1]

    @property
    def classes(self) -> np.ndarray | None:
        return None if self.columns is None else self.columns.classes

    @property
    def theta(self) -> Floats:
        """All parameters in one vector: those of the embeddings, s where features are scaled, W1
        row-major, b1, gamma1 where the layer is normalised, alpha1 where its activation is
        parametric, W2, ...; setting it copies in."""
        return self._parameters.theta

    @theta.setter
    def theta(self, values: Any) -> None:
        array = as_numbers("theta", values)
        if array.shape != (self.n_parameters,):
            raise ValueError(f"theta must have shape ({self.n_parameters},), got {array.shape}")
        self._parameters.assign(as_finite("theta", array, self.dtype))

    @property
    def W(self) -> Views[Floats]:
        """Weights: W[0] is layer 1's, (n_out, n_in); writable views."""
        return self._parameters.W

    @property
    def b(self) -> Views[Floats | None]:
        """Biases: b[0] is layer 1's, (n_out,), or None where the layer has none; views like W."""
        return self._parameters.b

    @property
    def phi(self) -> list[list[dict[str, Floats]]]:
        """Parameters of the embeddings: phi[0][2] has those of the third column of the first one,
        "w" (frequencies,), "b", "V" and "c" of `Periodic`, "T" and "c" of `PiecewiseLinear`, "T" of
        `Categories`, these where they have a width; writable views."""
        return embedded(self._network, self.theta)

    @property
    def s(self) -> Floats | None:
        """The features' scales (n_features,), or None; a writable view."""
        return self.theta[self._network.s] if self.feature_scale else None

    @property
    def gamma(self) -> Views[Floats | None]:
        """Scales: gamma[0] is layer 1's, (n_out,), or None where it is not normalised; views like
        W."""
        return gammas(self._network, self.theta)

    @property
    def alpha(self) -> Views[Floats | None]:
        """Of parametric activations: alpha[0] is layer 1's, (n_out,), or None where its activation
        is not parametric; views like W."""
        return alphas(self._network, self.theta)

    @property
    def running_mean(self) -> list[Floats | None]:
        """Batch normalisation's averages for prediction: running_mean[0] is layer 1's, (n_out,), or
        None; writable views of what the model uses."""
        return [pair and pair[0] for pair in self._statistics]

    @property
    def running_variance(self) -> list[Floats | None]:
        """The variances that go with `running_mean`: running_variance[0] is layer 1's, (n_out,), or
        None; writable views of what the model uses."""
        return [pair and pair[1] for pair in self._statistics]

    @property
    def _statistics(self) -> list[tuple[np.ndarray, np.ndarray] | None]:
        return statistics_of(self._network, self._parameters.statistics)

    def __repr__(self) -> str:
        if self._open is not None:
            return f"Model({self._open.sizes}, seed={self.seed}), to be fitted"
        network = self._network
        hidden = list(network.activations)
        activation = repr(hidden[0] if len(set(hidden)) == 1 else hidden)
        parts = [str(list(network.sizes))]
        if hidden:
            parts.append(f"activation={activation}")
        parts += [f"output={network.output!r}", f"loss={network.loss!r}"]
        if not all(network.bias):
            parts.append(f"bias={list(network.bias) if any(network.bias) else False}")
        parts += [f"dtype={network.dtype!r}", f"seed={self.seed}"]
        for name in ("dropout", "noise"):
            if any(values := getattr(self, name)):
                parts.append(f"{name}={values}")
        if any(network.norm):
            norm = list(network.norm)
            parts.append(f"norm={norm[0] if len(set(norm)) == 1 else norm!r}")
        if network.input_scale != 1:
            parts.append(f"input_scale={network.input_scale}")
        if network.embeddings:
            parts.append(f"embeddings={list(network.embeddings)}")
        if network.feature_scale:
            parts.append("feature_scale=True")
        if network.monotone:
            parts.append(f"monotone={self.monotone}")
        if network.bfloat16:
            parts.append("compute_dtype='bfloat16'")
        return f"Model({', '.join(parts)})"

    def summary(self) -> str:
        """The layers as a table, with shapes, parameters and bytes; print it.

        Examples
        --------
        >>> import fastnn
        >>> print(fastnn.Model([4, 8, 3], seed=0).summary())
        4 inputs, cross_entropy loss, float32
        layer  activation       W     b  parameters  bytes
        1      relu        (8, 4)  (8,)          40    160
        2      softmax     (3, 8)  (3,)          27    108
                                                 67    268
        """
        from fastnn.network.summary import aligned, dtypes_of, layer_table

        dtypes = dtypes_of(self._network)
        lines = [f"{self.sizes[0]} inputs, {self.loss} loss, {dtypes}"]
        lines += aligned(layer_table(self._network))
        if self.columns is not None:
            lines += ["", *(f"{name:8} {value}" for name, value in self.columns.lines())]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from fastnn.report.network import network_card

        if self._open is not None:
            return network_card(repr(self))
        return network_card(repr(self), self._parameters, self.columns)

    # Rows as users have them

    def _learned(self, X: Any, y: Any, share: Any = 0.0, resume: Any = None) -> Columns | None:
        """What a fit finds out about the columns of its data; None where it is known, or nothing
        is to be known."""
        if self._open is not None:
            from fastnn.tables.columns import learn

            if y is None:
                raise ValueError(
                    f"sizes {self._open.sizes} must be numbers for a stream, or columns= be given, "
                    "as fastnn.tables.learn learns them from some rows"
                )
            if resume is not None and os.path.exists(resume):
                if (columns := load(resume).columns) is not None:
                    return columns
            share = as_real("validation_split", share, below=1.0)
            return learn(
                *(X, y),
                **self._open.task(),
                rows=lambda n, labels: split(n, share, self.seed, labels)[0],
            )
        if "data" in self.metadata or not is_table(X):
            return None
        from fastnn.tables.columns import Columns
        from fastnn.tables.frames import column_names
        from fastnn.tables.inputs import PlainInputs

        names = column_names(X)
        if names is None or len(names) != self.sizes[0]:
            return None
        return Columns(PlainInputs(len(names), names))

    def _knowing(self, columns: Columns | None) -> AbstractContextManager[None]:
        """Know what was learned of the columns while a fit runs, and from then on; if it fails
        before its first step, the model is as before."""
        return nullcontext() if columns is None else self._known(columns)

    @contextmanager
    def _known(self, columns: Columns) -> Iterator[None]:
        before = dict(vars(self)) if self._open else {}
        steps = 0 if before else self._parameters.all_steps
        if before:
            self._build(columns)
        else:
            self.metadata["data"] = columns.to_dict()
        try:
            yield
        except BaseException:
            if self._parameters.all_steps == steps:
                del self.metadata["data"]
                if before:
                    vars(self).clear()
                    vars(self).update(before)
            raise

    def _encoded(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """X and y as the network takes them."""
        columns = self.columns
        if columns is not None:
            X = columns.encode(X, self.dtype)
            return X, y if y is None else columns.encode_targets(y)
        if not isinstance(X, np.ndarray) and (isinstance(X, dict) or is_rows(X)):
            from fastnn.tables.columns import as_plain

            X = as_plain(X)
        return X, y

    def _plan(self, X: Any, y: Any, once: Once | None = None, **settings: Any) -> Plan:
        """The plan of `fit` on what it is given; once: as of `as_pair`."""
        columns = self.columns
        if columns is None:
            X = X if isinstance(X, np.ndarray) else self._encoded(X)[0]
        else:
            X, y = self._encoded_fit(X, y, columns, settings, once)
        return plan_fit(self._network, self.seed, X, y, once=once, **settings)

    def _encoded_fit(
        self, X: Any, y: Any, columns: Columns, settings: dict[str, Any], once: Once | None
    ) -> tuple[Any, Any]:
        """X and y as the network takes them, and so what the settings of `fit` say of rows."""
        validation = settings["validation_data"]
        if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
            try:
                validation = *self._encoded(*validation[:2]), *validation[2:]
            except (TypeError, ValueError) as error:
                raise type(error)(f"validation_data: {error}") from None
        if y is None:
            X = columns.encode_blocks(X, self.dtype)
        elif once is None:
            X, y = _encoded_pair(X, y, columns, self.dtype)
        else:
            traits = repr(self.metadata["data"]), self.dtype
            X, y = once(_encoded_pair, (X, y), traits, columns, self.dtype)
        settings["validation_data"] = validation
        settings["class_weight"] = columns.encode_class_weight(settings["class_weight"])
        given = settings["metrics"], validation, settings.get("held_out")
        if any(one is not None for one in given) or settings["validation_split"]:
            settings["metrics"] = self._in_units(settings["metrics"])
        return X, y

    def _in_units(self, metrics: Any, weighted: bool = False) -> Any:
        """Metrics of amounts see them in their units."""
        columns = self.columns
        if columns is None or not columns.amounts:
            return metrics
        ways = columns.in_units, columns.decode
        return measures.in_units(metrics, self._network, *ways, weighted)

    def _must_take_arrays(self, what: str) -> None:
        """Refuse a model of learned columns where the network alone would be used."""
        if self.columns is not None and not self.columns.plain:
            raise ValueError(
                f"{what} must have a model that takes arrays, this one reads columns: "
                "model.network_only() takes what model.columns.encode(rows) gives"
            )

    def _must_begin_with_layer_1(self, what: str) -> None:
        """Refuse an input layer where there is no place for one."""
        if self._network.has_inputs:
            raise ValueError(
                f"{what} must have a model without embeddings and feature_scale, got {self!r:.200}"
            )

    def network_only(self) -> Model:
        """A plain model with a copy of the weights: it takes arrays as the network has them.

        As ``model.columns.encode(rows)`` gives them; `predictor` of it serves such rows.

        Examples
        --------
        >>> import fastnn
        >>> table = {"age": [31, 47, 52, 28], "town": ["Rome", "Oslo", "Rome", "Oslo"]}
        >>> model = fastnn.Model([None, 4, None], seed=0)
        >>> history = model.fit(table, ["no", "yes", "yes", "no"], epochs=200)
        >>> rows = model.columns.encode(table)
        >>> rows.shape, model.network_only().forward(rows).shape
        ((4, 3), (4, 2))
        """
        plain = Model.__new__(type(self))
        metadata = {name: value for name, value in self.metadata.items() if name != "data"}
        plain._assemble(self._parameters.copy(), self.seed, metadata, self.n_threads)
        return plain

    # Training

    def initialize(self, X: Any) -> None:
        """First weights and biases from data, in place of those of ``init``, before any training.

        Layer by layer each unit's weights are normal numbers, scaled so that h_prev W^T has
        variance 1 over the rows; its bias puts its hyperplane through the data: it is less the
        combination of the pre-activations of five rows, by weights drawn uniformly among those that
        sum to 1. The same bits on every machine, fixed by ``seed``.

        Parameters
        ----------
        X : array, (n, n_in)
            As of `fit`; of more than 16,384 rows so many are drawn.

        Raises
        ------
        ValueError
            The model has been trained, or layers are normalised, which would undo it.

        References
        ----------
        Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and
        boosted trees on tabular data", NeurIPS ("std" and "he+5").

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X = np.random.default_rng(0).normal(5.0, 3.0, (200, 4))
        >>> model = fastnn.Model([4, 8, 2], seed=0)
        >>> model.initialize(X)
        >>> bool(abs(model.trace(X, np.zeros(200, int)).a[0].std(0) - 1).max() < 0.01)
        True
        """
        parameters, network = self._parameters, self._network
        if parameters.all_steps:
            raise ValueError(
                f"initialize must come before training, after {parameters.all_steps} steps"
            )
        if any(network.norm):
            raise ValueError("initialize must have a network without normalisation")
        X = as_features(self._encoded(X)[0], network)
        if len(X) > MOST_ROWS:
            X = X[drawn_rows(len(X), self.seed)]
        theta = parameters.weights()[1]
        from fastnn.explain.passes import input_pass

        inputs = input_pass(network, theta, as_dense(X, network))[1]
        parameters.assign(on_data(network, theta, inputs, self.seed))

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: OptimizerName | Optimizer = "sgd",
        learning_rate: Rate | None = None,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        metrics: list[Any] | None = None,
        callbacks: list[Callback] | tuple[Callback, ...] = (),
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        resume: str | PathLike[str] | None = None,
        verbose: bool = False,
        dropout_schedule: Rate | None = None,
        drop_last: bool = False,
        **unknown: Never,
    ) -> History:
        """Train; a second call goes on where the first one ended.

        Parameters
        ----------
        X : array, (n, n_in)
            Of integers, bools or floats with any strides, read as it lies, memory maps included; a
            table of pandas, polars or pyarrow, a dict of columns or a list of row dicts; or a SciPy
            sparse matrix, whose zeros cost nothing in CSR. Or, without y, a stream: an iterable
            that yields blocks (X, y), or a callable that returns an iterator of them, called once
            an epoch. docs/data.md: what is copied. Names of columns are remembered: from then on
            tables are read by name. A model whose sizes were left open learns here what columns
            are, text among them, from the rows that it trains on.
        y : array
            softmax: labels (n,) from 0, or rows (n, n_out) of a distribution. sigmoid: (n, n_out)
            in [0, 1]. hinge: labels (n,). Other outputs: values (n, n_out), with several quantiles
            (n, n_targets). With one column (n,) will do. A model that learned columns: names of
            classes, or values in their unit; several targets as a table or dict of columns.
        epochs : int, default 10
            Passes over the data, each in a new order.
        batch_size : int, default 128
            Samples a step; the last mini-batch of an epoch may be smaller.
        optimizer : str or fastnn.Optimizer, default "sgd"
            "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion", "rprop" or "lbfgs" with
            its defaults, or an object with settings: ``fastnn.AdamW(weight_decay=0.05,
            clip_norm=1.0)``. l1, l2, weight_decay, clip_norm, clip_value, max_norm and decay_bias
            are settings of all of them (LBFGS: l2 and decay_bias).
        learning_rate : float, fastnn.Schedule or function, optional
            In place of the optimizer's own, which is 0.1 for SGD, 0.001 for Adam: a number, a
            schedule such as ``fastnn.OneCycle(0.01)``, or a function of the step number from 0.
            Schedules that count in epochs span this fit. What counts in steps, `InverseScaling` and
            functions, goes on from fit to fit as long as the kind of optimizer stays.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Loss and metrics on it after each epoch go into the history, as val_loss, val_....
        validation_split : float, default 0.0
            Or: hold out this share of the rows, below 1, to measure on and not to train on. The
            model's seed chooses them, the same in each call; of each class its share.
        metrics : list, optional
            What is measured on these rows beside the loss, as of `evaluate`. val_loss is weighted
            as the training loss is, by sample weights (of the rows held out) and class_weight;
            metrics count every row alike.
        callbacks : list of fastnn.Callback, default ()
            Such as `EarlyStopping`, `Checkpoint`, `CSVLogger`.
        sample_weight : array, (n,), optional
            At least 0, not all 0. The loss of a mini-batch, and of an epoch, is
            sum w_i L_i / sum w_i, and so is a mini-batch's gradient, but that it is divided by a
            quarter of what rows weigh on average, at least: rows of hardly any weight that are
            among themselves move hardly anything. docs/maths.md, section 6.
        class_weight : "balanced" or dict {class: weight}, optional
            Multiplies the weights of the samples of a class, by name where columns are learned;
            "balanced" is n / (classes in y * samples of the class), of the rows trained on, and a
            class that the dict leaves out, or that has no such rows, has 1. For labels (n,) and one
            sigmoid output.
        shuffle : bool, default True
            False takes samples in the order given. Of a stream each block is shuffled by itself.
        resume : path, optional
            A file that `Checkpoint` wrote in the same call of `fit`, killed or ended. The model
            becomes what it was then, its seed included, and the rest of the `epochs` are run:
            with epochs=20 and a file from the end of the 12th, 8. The weights end as the same bits,
            and the history as the same rows, as if nothing had happened. Where there is no such
            file yet, the fit begins, so that one command can be started again and again. Data and
            arguments must be as before (epochs may differ; otherwise ValueError).
        verbose : bool, default False
            Show progress on stderr.
        dropout_schedule : fastnn.Schedule or function, optional
            The model's dropout is multiplied by it in each step, 0 to 1: with
            ``fastnn.FlatCosine(1.0)`` it is what it is for the first half of the fit and then falls
            to 0. As of learning_rate, but for schedules that watch the loss.
        drop_last : bool, default False
            Leave out the last mini-batch of an epoch where it is smaller than batch_size: other
            rows each time they are shuffled. Where all rows are fewer they are one mini-batch.

        Returns
        -------
        History

        Raises
        ------
        DivergenceError
            A mini-batch had a loss that is not finite; the model is as before the call.
        what a stream raises, MemoryError
            The model is as before the call, too.
        KeyboardInterrupt
            Raised on, like what a callback raises; the model stands at the last whole step.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> history = model.fit(X, y, epochs=50, batch_size=2, optimizer="adam")
        >>> len(history), history.loss[-1] < history.loss[0]
        (50, True)
        """
        refuse_unknown("fit", unknown, FIT)
        learned = None
        if self._open is not None or not isinstance(X, np.ndarray):  # whose columns have no names
            learned = self._learned(X, y, validation_split, resume)
        with self._knowing(learned):
            plan = self._plan(
                X,
                y,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=learning_rate,
                validation_data=validation_data,
                validation_split=validation_split,
                metrics=metrics,
                callbacks=callbacks,
                sample_weight=sample_weight,
                class_weight=class_weight,
                shuffle=shuffle,
                resume=resume,
                verbose=verbose,
                dropout_schedule=dropout_schedule,
                drop_last=drop_last,
            )
            warn_of_scale(plan.X, self._parameters)
            return loop.fit(self, plan)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        batch_size: int = 1,
        optimizer: OptimizerName | Optimizer = "sgd",
        learning_rate: Rate | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **unknown: Never,
    ) -> float:
        """Online learning: one pass over what it is given, in its order.

        Parameters
        ----------
        X, y, optimizer, learning_rate, sample_weight, class_weight
            As of `fit`; "balanced" counts the rows of this call.
        batch_size : int, default 1
            Samples a step. Calls with whole mini-batches, the last of which may be smaller, give
            the bits of one call with all rows. Weights that differ need more than 1: a mini-batch
            is divided by the sum of its weights, so one sample's own would cancel.

        Returns
        -------
        float
            Mean over the samples of the loss before the step that used them.

        Raises
        ------
        DivergenceError, MemoryError
            As of `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> before = model.loss_and_gradient(X, y)[0]
        >>> for _ in range(20):
        ...     _ = model.partial_fit(X, y)
        >>> bool(model.loss_and_gradient(X, y)[0] < before)
        True
        """
        refuse_unknown("partial_fit", unknown, PARTIAL_FIT)
        if self._open is not None:
            raise ValueError("partial_fit must come after fit, which learns what columns are")
        with self._knowing(None if isinstance(X, np.ndarray) else self._learned(X, y)):
            X, y = self._encoded(X, y)
            if self.columns is not None:
                class_weight = self.columns.encode_class_weight(class_weight)
            plan = plan_partial_fit(
                self._network,
                X,
                y,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=learning_rate,
                sample_weight=sample_weight,
                class_weight=class_weight,
            )
            return loop.partial_fit(self, plan)

    # Prediction

    def forward(self, X: Any) -> Floats:
        """f(x) = h^(K) of each row, whatever the output; of learned amounts not in their unit.

        Parameters
        ----------
        X : array, (n, n_in)

        Returns
        -------
        array, (n, n_out)

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> model.forward(X).shape
        (2, 2)
        """
        return self._predictor().rows(self._encoded(X)[0])

    def _predictor(self) -> Predictor:
        return self._kept.predictor(self._parameters, self.n_threads)

    def predict(self, X: Any) -> np.ndarray:
        """Classes or values of each row.

        Parameters
        ----------
        X : array, (n, n_in)

        Returns
        -------
        array
            softmax, hinge: class indices (n,). sigmoid: 0 or 1, where f(x) > 1/2. Other outputs:
            f(x) (of poisson, rates). (n, n_out), or (n,) with one output. Of a model that learned
            columns: classes by name, as they were given, or float64 values in the target's unit.

        Raises
        ------
        TableError
            Rows are not as the model knows them: the column, and the row.
        ValueError
            Of classes: sums of a row overflow, so that its outputs are NaN.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> history = model.fit(X, y, epochs=50)
        >>> model.predict(X)
        array([0, 1])
        """
        f = self.forward(X)
        columns = self.columns
        if columns is not None and not columns.plain:
            return columns.decide(f)
        if self._network.decides:
            refuse_nan(f)
            f = measures.classes(f, self._network.one_of_many)
        return f[:, 0] if f.ndim == 2 and f.shape[1] == 1 else f

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities, of softmax and sigmoid outputs.

        Parameters
        ----------
        X : array, (n, n_in)

        Returns
        -------
        array
            softmax: (n, n_out). One sigmoid output: (n, 2), columns P(0) and P(1). More sigmoid
            outputs: (n, n_out), P(1) of each. With names of classes, in the order of ``classes``.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> history = model.fit(X, y, epochs=50)
        >>> model.predict_proba(X).sum(axis=1).round(6)
        array([1., 1.], dtype=float32)
        """
        self._must_be_probable("predict_proba")
        return self._both_classes(self.forward(X))

    def _must_be_probable(self, what: str) -> None:
        if self.output not in ("softmax", "sigmoid"):
            raise ValueError(
                f"{what} needs softmax or sigmoid outputs, got {self.output}; "
                "see predict or forward"
            )

    def _both_classes(self, f: np.ndarray) -> np.ndarray:
        if self.output == "sigmoid" and f.shape[1] == 1:
            return np.hstack([1 - f, f])
        return f

    def predict_one(self, row: Mapping[str, Any]) -> Any:
        """Class or value of a single row, without what a table costs.

        Parameters
        ----------
        row : dict
            Cells by the names of their columns, of a model that has learned these; others are
            passed over.

        Returns
        -------
        scalar, or array of several targets
            As `predict` of a table of this row alone.

        Raises
        ------
        TableError
            As `predict`.

        Examples
        --------
        >>> import fastnn
        >>> table = {"age": [31, 47, 52, 28], "town": ["Rome", "Oslo", "Rome", "Oslo"]}
        >>> model = fastnn.Model([None, 4, None], seed=0)
        >>> history = model.fit(table, ["no", "yes", "yes", "no"], epochs=200)
        >>> print(model.predict_one({"age": 50, "town": "Rome"}))
        yes
        """
        return self._columns_for_rows().decide(self._forward_row(row))[0]

    def predict_proba_one(self, row: Mapping[str, Any]) -> Floats:
        """Probabilities of a single row.

        Parameters
        ----------
        row : dict
            As of `predict_one`.

        Returns
        -------
        array
            As `predict_proba` of a table of this row alone: (n_classes,) in the order of
            ``classes``, or of several sigmoid outputs P(1) of each.

        Examples
        --------
        >>> import fastnn
        >>> table = {"age": [31, 47, 52, 28], "town": ["Rome", "Oslo", "Rome", "Oslo"]}
        >>> model = fastnn.Model([None, 4, None], seed=0)
        >>> history = model.fit(table, ["no", "yes", "yes", "no"], epochs=200)
        >>> model.predict_proba_one({"age": 50, "town": "Rome"}).shape
        (2,)
        """
        self._must_be_probable("predict_proba_one")
        p: Floats = self._both_classes(self._forward_row(row))[0]
        return p

    def _forward_row(self, row: Mapping[str, Any]) -> np.ndarray:
        """f(x), (1, n_out)."""
        x = self._columns_for_rows().encode_row(row, self.dtype)
        return self._predictor()(x[None])

    def _columns_for_rows(self) -> Columns:
        columns = self.columns
        if columns is None or columns.plain:
            raise ValueError(
                "the model must have learned its columns to take rows as dicts; of arrays, "
                "model.predictor() is as fast"
            )
        return columns

    @overload
    def predictor(
        self,
        *,
        rows: Literal[False] = False,
        n_threads: int | None = None,
        max_batch: int | None = None,
    ) -> Predictor: ...

    @overload
    def predictor(
        self, *, rows: Literal[True], n_threads: int | None = None, max_batch: int | None = None
    ) -> RowPredictor: ...

    def predictor(
        self, *, rows: bool = False, n_threads: int | None = None, max_batch: int | None = None
    ) -> Predictor | RowPredictor:
        """A frozen copy of the weights for prediction alone: called with x, it gives f(x) = h^(K).

        Thread-safe; later training does not change it. As long as the weights stay, it is the same
        one again, unless it is to differ from the model. It takes arrays: of a model that learned
        columns, ``network_only().predictor()`` takes rows as ``columns.encode`` gives them.

        Parameters
        ----------
        rows : bool, default False
            Whether it takes rows of raw cells, dicts and sequences: a `fastnn.RowPredictor`.
        n_threads : int, optional
            The most threads of a call, in place of the model's.
        max_batch : int, optional
            The most rows of a call: more are refused.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> predict = model.predictor()
        >>> before = model.forward(X)
        >>> history = model.fit(X, y, epochs=50)  # changes the model, not what was frozen
        >>> bool((predict(X) == before).all())
        True
        """
        if not rows:
            self._must_take_arrays("predictor")
        if n_threads is None and max_batch is None:
            predictor = self._predictor()
        else:
            n_threads = self.n_threads if n_threads is None else as_int("n_threads", n_threads, 1)
            max_batch = None if max_batch is None else as_int("max_batch", max_batch, 1)
            predictor = self._predictor().like(n_threads, max_batch)
        if not rows:
            return predictor
        columns = self._described()
        inputs: Any = columns.inputs
        names = getattr(inputs, "names", None)  # of arrays there are none
        ways = partial(told, columns, predictor), names, columns.classes
        return RowPredictor(columns, *ways, self.dtype, max_batch)

    def _described(self) -> Columns:
        """Its columns; of a plain model what can be told from its network."""
        from fastnn.tables.columns import Columns  # here: a fit of arrays needs none

        columns = self.columns
        if columns is None or columns.plain:
            told = Columns.undescribed(self._network, self.metadata.get("classes"))
            columns = Columns(told.inputs if columns is None else columns.inputs, told.targets)
        return columns

    def quantize(
        self, X: Any, *, activations: Literal["calibrated", "dynamic"] = "calibrated"
    ) -> tuple[Int8Predictor, Int8Report]:
        """A predictor with weights and activations of 8 bits, and how much of accuracy it keeps.

        It takes a quarter of the memory of weights in float32 and less time, and gives other
        numbers: docs/services.md has measured both.

        Parameters
        ----------
        X : array, (n, n_in)
            Rows as the model will meet them, some hundreds or more: training data, not test data.
        activations : {"calibrated", "dynamic"}
            The scale of each layer's inputs: from the least and the largest number that the rows of
            X give it, those beyond are cut; or of each row its own, which takes longer.

        Returns
        -------
        predictor : Int8Predictor
        report : Int8Report
            Printed, it compares both on the rows of X.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X = np.random.default_rng(0).normal(size=(500, 8))
        >>> model = fastnn.Model([8, 16, 2], seed=0)
        >>> predict, report = model.quantize(X)
        >>> predict(X).shape, report.agreement > 0.95
        ((500, 2), True)
        """
        from fastnn.quantized.predictor import quantized  # here: most models are not

        self._must_take_arrays("quantize")
        self._must_begin_with_layer_1("quantize")
        return quantized(self._predictor(), X, activations, self.n_threads)

    def derivative_bounds(self) -> tuple[Doubles, Doubles]:
        """Between which numbers da_i/dx_j lies for all inputs x, a = a^(K) before the output's
        activation: interval arithmetic through the layers, whose bounds hold but may be wide.

        Returns
        -------
        low, high : array, (n_out, n_in)
            float64. low at least 0 proves that an output never falls with an input; columns of
            codes have none, and are infinite.

        Raises
        ------
        ValueError
            Layers are normalised.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 8, 1], output="identity", monotone={0: 1}, seed=0)
        >>> lower, upper = model.derivative_bounds()
        >>> bool(lower[0, 0] >= 0)
        True
        """
        from fastnn.network.bounds import derivative_bounds

        return derivative_bounds(self._network, self._parameters.weights()[1])

    # Measures

    def evaluate(
        self, X: Any, y: Any, *, metrics: list[Any] | None = None, sample_weight: Any = None
    ) -> dict[str, float]:
        """Mean loss and metrics.

        Parameters
        ----------
        X, y : array
            As of `fit`.
        metrics : list, optional
            Of classes (softmax, sigmoid, hinge): "accuracy" (the default), "balanced_accuracy",
            "precision", "recall", "f1"; of softmax and sigmoid also "auc", "log_loss", "brier",
            "ece" (expected calibration error), of classes that exclude each other fastnn.TopK(k).
            Of values: "rmse", "mae", "r2" (the default, but of quantiles other than the median
            "d2"). Or functions f(y_true, y_pred) of y as `fit` keeps it (labels (n,), or (n,
            n_out)) and of f(x), (n, n_out), of learned amounts both in their unit.
            docs/maths.md, section 11, defines them.
        sample_weight : array, (n,), optional
            At least 0, not all 0: every mean becomes a weighted one. For loss, accuracy,
            balanced_accuracy, log_loss, brier, ece, rmse, mae, r2 and d2.

        Returns
        -------
        dict
            "loss", and each metric under its name ("top_5" for TopK(5)).

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> history = model.fit(X, y, epochs=50)
        >>> sorted(model.evaluate(X, y, metrics=["accuracy"]))
        ['accuracy', 'loss']
        """
        weighted = sample_weight is not None
        metrics = self._in_units(metrics, weighted)
        chosen = measures.as_metrics(metrics, self._network, weighted)
        X, y = as_pair(*self._encoded(X, y), self._network)
        weights = as_weights(sample_weight, len(X))
        threads = bound_threads(self.n_threads)
        return evaluation.evaluate(
            self._predictor(), self._network, X, y, threads, chosen, weights
        )

    def loss_and_gradient(
        self, X: Any, y: Any, *, sample_weight: Any = None
    ) -> tuple[float, Floats]:
        """Mean loss over the rows, weighted where asked, and its gradient laid out like theta.

        As of one mini-batch of them all, without dropout and noise: batch normalisation takes their
        mean and variance, and its running averages stay as they are.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> loss, gradient = model.loss_and_gradient(X, y)
        >>> gradient.shape == model.theta.shape
        True
        """
        X, y = as_pair(*self._encoded(X, y), self._network)
        return self._gradient(X, y, as_weights(sample_weight, len(X)))

    def _gradient(
        self, X: Features, y: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """`loss_and_gradient` of what has been checked."""
        grad = np.empty(self.n_parameters, self.dtype)
        with self._parameters.lend() as engine:
            return engine.gradient(X, y, grad, bound_threads(self.n_threads), weights), grad

    def gradient_check(
        self, X: Any, y: Any, eps: float | None = None, *, sample_weight: Any = None
    ) -> float:
        """Largest relative error of the gradient against central differences.

        Computed in float64, a float32 model through a float64 copy. Above 1e-6 something is wrong.

        Parameters
        ----------
        X, y : array
            A few rows will do.
        eps : float, optional
            Step of the differences, relative to max(1, |parameter|); 1e-4 by default.
        sample_weight : array, (n,), optional
            As of `evaluate`.

        Returns
        -------
        float
            Largest |gradient - difference| within a W or b, divided by the largest entry of that
            W's or b's gradient. Of a big network a seeded sample of each W and b is checked, 1000
            parameters in all (50 beyond a few million); parameters whose step carries a relu
            or the loss across a kink are left out.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], activation="tanh", dtype="float64", seed=0)
        >>> bool(model.gradient_check(np.eye(2), np.array([0, 1])) < 1e-6)
        True
        """
        from fastnn.explain.gradient_check import gradient_check

        _, theta, statistics = self._parameters.weights()
        return gradient_check(
            *(self._network, theta, *self._encoded(X, y), eps, self.seed, sample_weight),
            statistics,
        )

    def trace(self, x: Any, y: Any, learning_rate: float | None = None) -> Trace:
        """Every quantity of the forward and backward pass; print it for the derivation.

        Parameters
        ----------
        x : array, (n_in,) or (n, n_in)
            One sample, or several.
        y : label, value or array
            Target of x.
        learning_rate : float, optional
            Show also what one SGD step of this rate moves. The model is not changed.

        Returns
        -------
        Trace

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 2, 1], output="sigmoid", seed=0)
        >>> trace = model.trace([1.0, 0.0], [1.0], learning_rate=0.5)
        >>> trace.after.loss < trace.loss
        True
        """
        from fastnn.explain.trace import Trace

        check_float(self._network, "a trace")
        _, theta, statistics = self._parameters.weights()
        x, y = self._encoded(x, y)
        return Trace(self._network, theta, x, y, learning_rate, statistics)

    # Files and copies

    def save(self, path: str | PathLike[str]) -> None:
        """Save model, optimizer state and metadata as a safetensors file.

        What stood at `path` stays until the new file is whole; `fastnn.load` reads it.

        Parameters
        ----------
        path : path
            Such as "model.safetensors".

        Raises
        ------
        ValueError
            A weight is NaN or infinite, as only `theta`, `W` or `b` written to can make it; the
            file is as before the call.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> model = fastnn.Model([2, 3, 2], seed=0)
        >>> history = model.fit(X, y, epochs=50)
        >>> model.save("net.safetensors")
        >>> bool((fastnn.load("net.safetensors").theta == model.theta).all())
        True
        """
        from fastnn.files import model as storage  # here and in load: json makes an import slower

        storage.save(path, self._parameters, self.seed, self.metadata)

    def __getstate__(self) -> dict[str, Any]:
        """With weights of its own, so that copies share none."""
        kept_out = ("_kept", "_columns")
        state = dict(vars(self))  # at once: another thread's first prediction adds to them
        state = {name: value for name, value in state.items() if name not in kept_out}
        if isinstance(self.metadata, dict):
            state["metadata"] = dict(self.metadata)  # a fit of the copy may note its columns there
        if self._open is None:
            state["_parameters"] = self._parameters.copy()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._open is None:
            self._kept = Kept()


def _encoded_pair(X: Any, y: Any, columns: Columns, dtype: str) -> tuple[Any, Any]:
    # Categories that only held-out rows have are unknown; nobody need be told.
    return columns.encode(X, dtype, warn_unknown=False), columns.encode_targets(y)


FIT, PARTIAL_FIT = (tuple(of.__kwdefaults__ or ()) for of in (Model.fit, Model.partial_fit))


def load(path: str | PathLike[str]) -> Model:
    """Load a model that `Model.save` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    Model
        It predicts the same bits, and `fit` goes on as the saved model's would.

    Raises
    ------
    ModelFileError
        The file is no fastnn model, is damaged, or is of a newer version.
    OSError
        The file cannot be read.
    """
    from fastnn.files import model as storage

    loaded = storage.load(path)
    model = Model.__new__(Model)
    model._assemble(loaded.parameters, loaded.seed, loaded.metadata, None)
    try:
        model.columns  # noqa: B018  what is damaged shows now
    except ValueError as error:
        raise ModelFileError(f"{os.fspath(path)!s}: {error}") from None
    return model
