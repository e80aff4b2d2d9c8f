"""Model: a feed-forward network that trains, predicts, explains itself and is saved.

It checks and converts what it is given, then hands on: _train.py, _evaluate.py, _storage.py, ...
"""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np

from fastnn import _evaluate, _train
from fastnn._arrays import Features, as_features, as_finite, as_numbers, as_pair
from fastnn._checks import as_bool, as_int
from fastnn._config import n_threads as bound_threads
from fastnn._history import History
from fastnn._initialize import initial_theta
from fastnn._network import as_network
from fastnn._optimizers import Optimizer, as_optimizer
from fastnn._parameters import Engines, Parameters, Views
from fastnn._predictor import Predictor
from fastnn._progress import Progress
from fastnn._random import as_seed
from fastnn._stream import as_stream
from fastnn._trace import Trace


class Model:
    """A feed-forward network (multi-layer perceptron).

    Parameters
    ----------
    sizes : list of int
        Widths of the layers, [n_in, ..., n_out]; two are a linear or logistic regression.
    activation : {"identity", "relu", "sigmoid", "tanh"} or list of them, default "relu"
        One for all hidden layers or one for each.
    output : {"softmax", "sigmoid", "identity", "relu", "tanh"}, default "softmax"
        Activation of the output layer.
    loss : {"cross_entropy", "binary_cross_entropy", "squared_error"}, optional
        By default it follows the output: cross_entropy for softmax, binary_cross_entropy for
        sigmoid, squared_error (half the squared error, summed over outputs) otherwise.
        squared_error goes with every output, the others with their own alone.
    bias : bool or list of bool, default True
        Whether layers have a bias: all alike or one for each.
    dtype : {"float32", "float64"}, default "float32"
    seed : int, optional
        0 to 2**128 - 1: fixes initial weights and shuffles. By default drawn from the operating
        system; ``model.seed`` tells it.
    n_threads : int, optional
        At most so many threads; by default what affinity, cgroup quota and OMP_NUM_THREADS allow.
        Results do not depend on it.
    input_scale : float, default 1.0
        Integers among the features are multiplied by it as they are read, such as 1 / 255 for
        images of uint8: ``float(x) * float(input_scale)`` in the model's dtype, each rounded once.
        Floats are taken as they are. It is saved with the model.

    Attributes
    ----------
    sizes, activations, output, loss, bias, dtype, seed, n_threads, input_scale
        As above; activations (of hidden layers) and bias written out for each layer.
    n_parameters : int
    metadata : dict
        The user's own, saved with the model; must be what JSON can hold.

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
        sizes: Any,
        activation: Any = "relu",
        output: str = "softmax",
        loss: str | None = None,
        bias: Any = True,
        dtype: Any = "float32",
        seed: int | None = None,
        n_threads: int | None = None,
        input_scale: float = 1.0,
    ) -> None:
        network = as_network(sizes, activation, output, loss, bias, dtype, input_scale)
        n_threads = None if n_threads is None else as_int("n_threads", n_threads, 1)
        seed = as_seed(seed)
        self._assemble(Parameters(network, initial_theta(network, seed)), seed, {}, n_threads)

    def _assemble(
        self, parameters: Parameters, seed: int, metadata: dict[str, Any], n_threads: int | None
    ) -> None:
        self._network = parameters.network
        self._parameters = parameters
        self._engines = Engines(parameters.network)
        self.seed = seed
        self.metadata = metadata
        self.n_threads = n_threads

    # What it is

    @property
    def sizes(self) -> list[int]:
        return list(self._network.sizes)

    @property
    def activations(self) -> list[str]:
        return list(self._network.activations)

    @property
    def output(self) -> str:
        return self._network.output

    @property
    def loss(self) -> str:
        return self._network.loss

    @property
    def bias(self) -> list[bool]:
        return list(self._network.bias)

    @property
    def dtype(self) -> str:
        return self._network.dtype

    @property
    def input_scale(self) -> float:
        return self._network.input_scale

    @property
    def n_parameters(self) -> int:
        return self._network.n_parameters

    @property
    def theta(self) -> np.ndarray:
        """All parameters in one vector: W1 row-major, b1, W2, b2, ...; setting it copies in."""
        return self._parameters.theta

    @theta.setter
    def theta(self, values: Any) -> None:
        array = as_numbers("theta", values)
        if array.shape != self.theta.shape:
            raise ValueError(f"theta must have shape {self.theta.shape}, got {array.shape}")
        self.theta[:] = as_finite("theta", array, self.dtype)

    @property
    def W(self) -> Views:
        """Weights: W[0] is layer 1's, (n_out, n_in); writable views."""
        return self._parameters.W

    @property
    def b(self) -> Views:
        """Biases: b[0] is layer 1's, (n_out,), or None where the layer has none; views like W."""
        return self._parameters.b

    def __repr__(self) -> str:
        network = self._network
        names = sorted(set(network.activations))
        activation = repr(names[0]) if len(names) == 1 else repr(list(network.activations))
        parts = [str(list(network.sizes))]
        if names:
            parts.append(f"activation={activation}")
        parts += [f"output={network.output!r}", f"loss={network.loss!r}"]
        if not all(network.bias):
            parts.append(f"bias={list(network.bias) if any(network.bias) else False}")
        parts += [f"dtype={network.dtype!r}", f"seed={self.seed}"]
        if network.input_scale != 1:
            parts.append(f"input_scale={network.input_scale}")
        return f"Model({', '.join(parts)})"

    # Training

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 128,
        optimizer: str | Optimizer = "sgd",
        learning_rate: float | None = None,
        validation_data: tuple[Any, Any] | None = None,
        shuffle: bool = True,
        verbose: bool | Progress = False,
    ) -> History:
        """Train; a second call goes on where the first one ended.

        Parameters
        ----------
        X : array, (n, n_in)
            Of integers, bools or floats with any strides, read as it lies, memory maps included; a
            table of pandas, polars or pyarrow; or a SciPy sparse matrix, whose zeros cost nothing
            in CSR. Or, without y, a stream: an iterable that yields blocks (X, y), or a callable
            that returns an iterator of them, called once an epoch. docs/data.md: what is copied.
        y : array
            softmax: labels (n,) from 0, or rows (n, n_out) of a distribution. sigmoid: (n, n_out)
            in [0, 1]. Other outputs: values (n, n_out). With one output (n,) will do.
        epochs : int, default 10
            Passes over the data, each in a new order.
        batch_size : int, default 128
            Samples a step; the last mini-batch of an epoch may be smaller.
        optimizer : {"sgd", "adam"}, fastnn.SGD or fastnn.Adam, default "sgd"
        learning_rate : float, optional
            In place of the optimizer's own, which is 0.1 for SGD, 0.001 for Adam.
        validation_data : (X, y), optional
            Loss and score on it after each epoch go into the history.
        shuffle : bool, default True
            False takes samples in the order given. Of a stream each block is shuffled by itself.
        verbose : bool, default False
            Show progress on stderr.

        Returns
        -------
        History

        Raises
        ------
        DivergenceError
            A mini-batch had a loss that is not finite; the model is as before the call.
        what a stream raises
            The model is as before the call, too.
        KeyboardInterrupt
            Raised on; the model stands at the last whole step.
        """
        network = self._network
        epochs = as_int("epochs", epochs, 1)
        batch_size = as_int("batch_size", batch_size, 1)
        rule = as_optimizer(optimizer, learning_rate)
        shuffle = as_bool("shuffle", shuffle)
        if not isinstance(verbose, Progress):  # the command line's own, over several calls
            verbose = as_bool("verbose", verbose)
        if y is None:
            X, n = as_stream(X, epochs, network), 0
        else:
            X, y = as_pair(X, y, network)
            n = len(X)
        validation = None
        if validation_data is not None:
            validation = _as_validation(validation_data, network)
        batch = min(batch_size, n) if n else batch_size
        progress = verbose if isinstance(verbose, Progress) else None
        if verbose is True:
            progress = Progress(epochs, n)
        try:
            with self._engines.lend(batch, rule.kind) as engine:
                threads = bound_threads(self.n_threads)
                run = _train.Run(self._parameters, engine, rule, batch, threads)
                return _train.fit(
                    run,
                    X,
                    y,
                    epochs=epochs,
                    shuffle=shuffle,
                    seed=self.seed,
                    validation=validation,
                    progress=progress,
                )
        finally:
            if verbose is True and progress is not None:
                progress.close()

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        batch_size: int = 1,
        optimizer: str | Optimizer = "sgd",
        learning_rate: float | None = None,
    ) -> float:
        """Online learning: one pass over what it is given, in its order.

        Parameters
        ----------
        X, y, optimizer, learning_rate
            As of `fit`.
        batch_size : int, default 1
            Samples a step.

        Returns
        -------
        float
            Mean over the samples of the loss before the step that used them.

        Raises
        ------
        DivergenceError
            As of `fit`.
        """
        batch_size = as_int("batch_size", batch_size, 1)
        rule = as_optimizer(optimizer, learning_rate)
        X, y = as_pair(X, y, self._network)
        batch = min(batch_size, len(X))
        with self._engines.lend(batch, rule.kind) as engine:
            run = _train.Run(self._parameters, engine, rule, batch, bound_threads(self.n_threads))
            return _train.partial_fit(run, X, y)

    # Prediction

    def forward(self, X: Any) -> np.ndarray:
        """f(x) = h^(K) of each row, whatever the output.

        Parameters
        ----------
        X : array, (n, n_in)

        Returns
        -------
        array, (n, n_out)
        """
        X = as_features(X, self._network)
        with self._engines.lend() as engine:
            engine.load(self.theta)
            return _evaluate.forward(engine, self._network, X, bound_threads(self.n_threads))

    def predict(self, X: Any) -> np.ndarray:
        """Classes or values of each row.

        Parameters
        ----------
        X : array, (n, n_in)

        Returns
        -------
        array
            softmax: class indices (n,). sigmoid: 0 or 1, where f(x) > 1/2. Other outputs: f(x).
            (n, n_out), or (n,) with one output.
        """
        f = self.forward(X)
        if self.output in ("softmax", "sigmoid"):
            f = _evaluate.classes(f, self.output)
        return f[:, 0] if f.ndim == 2 and f.shape[1] == 1 else f

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, of softmax and sigmoid outputs.

        Parameters
        ----------
        X : array, (n, n_in)

        Returns
        -------
        array
            softmax: (n, n_out). One sigmoid output: (n, 2), columns P(0) and P(1). More sigmoid
            outputs: (n, n_out), P(1) of each.
        """
        if self.output not in ("softmax", "sigmoid"):
            raise ValueError(
                f"predict_proba needs softmax or sigmoid outputs, got {self.output}; "
                "see predict or forward"
            )
        f = self.forward(X)
        if self.output == "sigmoid" and f.shape[1] == 1:
            return np.hstack([1 - f, f])
        return f

    def predictor(self) -> Predictor:
        """A frozen copy of the weights for prediction alone: ``predict(x)`` is h^(K).

        Thread-safe; later training does not change it.
        """
        return Predictor(self._network, self.theta, self.n_threads)

    # Measures

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """Mean loss and score.

        Returns
        -------
        dict
            "loss", and "accuracy" (softmax: share of right classes; sigmoid: share of outputs on
            the right side of 1/2) or "r2" (mean over the outputs).
        """
        X, y = as_pair(X, y, self._network)
        with self._engines.lend() as engine:
            engine.load(self.theta)
            threads = bound_threads(self.n_threads)
            return _evaluate.evaluate(engine, self._network, X, y, threads)

    def loss_and_gradient(self, X: Any, y: Any) -> tuple[float, np.ndarray]:
        """Mean loss over the rows, and its gradient laid out like theta."""
        X, y = as_pair(X, y, self._network)
        grad = np.empty_like(self.theta)
        with self._engines.lend() as engine:
            engine.load(self.theta)
            return engine.gradient(X, y, grad, bound_threads(self.n_threads)), grad

    def gradient_check(self, X: Any, y: Any, eps: float | None = None) -> float:
        """Largest relative error of the gradient against central differences.

        Computed in float64, a float32 model through a float64 copy. Above 1e-6 something is wrong.

        Parameters
        ----------
        X, y : array
            A few rows will do.
        eps : float, optional
            Step of the differences, relative to max(1, |parameter|); 1e-4 by default.

        Returns
        -------
        float
            Largest |gradient - difference| within a W or b, divided by the largest entry of that
            W's or b's gradient. Of a big network a seeded sample of each W and b is checked, 1000
            parameters in all (50 beyond a few million); parameters whose step carries a relu
            across its kink are left out.
        """
        from fastnn._gradient_check import gradient_check

        return gradient_check(self._network, self.theta, X, y, eps, self.seed)

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
        """
        return Trace(self._network, self.theta.copy(), x, y, learning_rate)

    # Files and copies

    def save(self, path: str | PathLike[str]) -> None:
        """Save model, optimizer state and metadata as a safetensors file.

        What stood at `path` stays until the new file is whole; `fastnn.load` reads it.

        Parameters
        ----------
        path : path
            Such as "model.safetensors".
        """
        from fastnn import _storage  # here and in load: json makes an import slower

        _storage.save(path, self._parameters, self.seed, self.metadata)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_engines"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._engines = Engines(self._network)


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
    from fastnn import _storage

    parameters, seed, metadata = _storage.load(path)
    model = Model.__new__(Model)
    model._assemble(parameters, seed, metadata, None)
    return model


def _as_validation(pair: Any, network: Any) -> tuple[Features, np.ndarray]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError("validation_data must be a pair (X, y)")
    try:
        return as_pair(pair[0], pair[1], network)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None
