"""A model's prediction alone: frozen weights, any number of threads; of arrays, or of raw cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import listed
from fastnn.config import n_threads
from fastnn.errors import TableError
from fastnn.kernels._cpu import openmp
from fastnn.kernels.predict import Frozen
from fastnn.network.activations import Activation, hidden_kernel, kernel
from fastnn.network.arrays import as_features, as_finite, as_numbers, refuse_nan
from fastnn.network.losses import for_kernel
from fastnn.network.norms import kernel as norm_kernel
from fastnn.network.parameters import Parameters, initial_statistics, inputs_of
from fastnn.network.spec import NetworkSpec

if TYPE_CHECKING:
    from fastnn.tables.columns import Columns


class Predictor(Frozen):
    """f(x) = h^(K) with the weights the model had; made by `Model.predictor`.

    Later training does not change it, and threads may call it at the same time. It is called,
    ``f(x)`` or ``f(x, out)``: an array of the model's dtype goes straight into compiled code; other
    input is converted first.

    Attributes
    ----------
    sizes : list of int
        Widths of the layers, [n_in, ..., n_out].
    output : str or object
        Activation of the output layer, as of `Model`.
    dtype : {"float32", "float64"}
    max_batch : int or None
        The most rows of a call.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> predict = model.predictor()
    >>> bool((predict(X) == model.forward(X)).all())
    True
    """

    def __init__(
        self,
        network: NetworkSpec,
        theta: np.ndarray,
        statistics: np.ndarray,
        n_threads: int | None,
        max_batch: int | None = None,
    ) -> None:
        """theta, statistics: kept, and not to be written into any more."""
        shapes = (network.n_parameters,), initial_statistics(network).shape
        for name, array, shape in zip(
            ("theta", "statistics"), (theta, statistics), shapes, strict=True
        ):
            if array.shape != shape or array.dtype != network.dtype:
                raise ValueError(
                    f"{name} must be {network.dtype} of shape {shape}, "
                    f"got {array.dtype} of shape {array.shape}"
                )
        hidden = tuple(hidden_kernel(one) for one in network.activations)
        output, loss = kernel(network.output), for_kernel(network.loss, network.n_out)
        norms = tuple(norm_kernel(one) for one in network.norm)
        super().__init__(
            *(network.sizes, hidden, output, loss, network.bias, network.dtype, theta),
            *(norms, statistics, network.input_scale, inputs_of(network)),
            max_batch=max_batch or 0,
            bfloat16=network.bfloat16,
            alone=n_threads == 1 or openmp() == "none",
        )
        self._network = network
        self._n_threads = n_threads
        self.max_batch = max_batch
        self._theta = theta
        self._statistics = statistics

    @property
    def sizes(self) -> list[int]:
        return list(self._network.sizes)

    @property
    def output(self) -> str | Activation:
        return self._network.output

    @property
    def dtype(self) -> str:
        return self._network.dtype

    def __repr__(self) -> str:
        return f"Predictor({self.sizes}, output={self.output!r}, dtype={self.dtype!r})"

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":  # compiled code tells none; inspect is slow to import
            from inspect import signature

            return signature(lambda x, out=None: None)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def threads(self) -> int:
        """The most threads that a call may use."""
        return n_threads(self._n_threads)

    def rows(self, X: Any) -> np.ndarray:
        """f(x) of each row of X (n, n_in), which must not be a single sample: (n, n_out)."""
        if isinstance(X, np.ndarray) and X.ndim == 2 and len(X):
            return self(X)
        X = as_features(X, self._network)
        self._few(len(X))
        out = np.empty((len(X), self._network.n_out), self._network.dtype)
        self._pass(X, out)
        return out

    def convert(self, x: Any, out: np.ndarray | None) -> np.ndarray:
        """The call for arguments that compiled code does not take as they are."""
        network = self._network
        single = False
        if not hasattr(x, "indptr") and not hasattr(x, "tocsr"):
            x = as_numbers("x", x)
            single = x.ndim == 1
        x = x[None, :] if single else x
        empty = tuple(x.shape) == (0, network.n_in)
        X = x if empty else as_features(x, network, looked_at=True)
        n = x.shape[0]
        self._few(n)
        shape = (network.n_out,) if single else (n, network.n_out)
        if out is None:
            out = np.empty(shape, network.dtype)
        if not isinstance(out, np.ndarray) or out.dtype != network.dtype or out.shape != shape:
            came = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else repr(type(out))
            raise ValueError(f"out must be a {network.dtype} array of shape {shape}, got {came}")
        if not out.flags.carray or not out.dtype.isnative:
            raise ValueError("out must be C-contiguous, aligned and writable")
        if isinstance(X, np.ndarray) and np.may_share_memory(X, out):
            X = X.copy()
        if n:
            self._pass(X, np.asarray(out))  # a subclass is written through its base
        return out

    def _few(self, n: int) -> None:
        """Refuse more rows than a call may have."""
        if self.max_batch is not None and n > self.max_batch:
            raise ValueError(f"x must have at most {self.max_batch:,} rows (max_batch), got {n:,}")

    def _pass(self, X: Any, out: np.ndarray) -> None:
        if not self.forward(X, out):
            if isinstance(X, np.ndarray):
                as_features(X, self._network)  # says where
            raise ValueError("X times input_scale must be finite")

    def warm_up(self) -> None:
        """Predict made-up rows, one and `max_batch`, so that memory is there and threads run: the
        first call takes no longer than later ones."""
        network = self._network
        for n in {1, self.max_batch or 1}:
            self(np.zeros((n, network.n_in), network.dtype))

    def like(self, n_threads: int | None, max_batch: int | None) -> Predictor:
        """One of the same weights."""
        return Predictor(self._network, self._theta, self._statistics, n_threads, max_batch)

    def parameters(self) -> Parameters:
        """A copy of its weights, as of a model that has taken no step."""
        own = Parameters(self._network, self._theta.copy())
        own.write(self._theta, statistics=self._statistics)
        return own

    def has(self, theta: np.ndarray, statistics: np.ndarray) -> bool:
        """Whether it was made of these bits."""
        pairs = (theta, self._theta), (statistics, self._statistics)
        return all(np.array_equal(one.view(np.uint32), own.view(np.uint32)) for one, own in pairs)

    def __reduce__(self) -> tuple[Any, ...]:
        own = self._network, self._theta, self._statistics, self._n_threads, self.max_batch
        return Predictor, own


class RowPredictor:
    """Answers for rows of raw cells, frozen; made by ``predictor(rows=True)`` of a Model or a
    tabular estimator.

    A row is a dict of cells by the names of their columns, in which others are passed over, or a
    sequence of them in the order of `columns`. It is called, ``f(rows)``, with one row or a list of
    rows: an answer, or an array of them, with the bits of ``predict_proba``, or of amounts
    ``predict``, of a table of each row alone. Missing cells, categories that training had not,
    numbers and dates as text are what they are there; of unknown categories nobody is warned.
    Threads may call it at the same time, and later training does not change it.

    Attributes
    ----------
    columns : list of str, or None
        Names of a row's cells in their order; None where they have none.
    classes : array, (n_classes,), or None
        What `predict` chooses from; None of amounts and of several targets.
    max_batch : int or None
        The most rows of a call.

    Examples
    --------
    >>> import fastnn
    >>> table = {"age": [31, 47, 52, 28], "town": ["Rome", "Oslo", "Rome", "Oslo"]}
    >>> model = fastnn.Model([None, 4, None], seed=0)
    >>> history = model.fit(table, ["no", "yes", "yes", "no"], epochs=200)
    >>> answer = model.predictor(rows=True)
    >>> answer({"age": 50, "town": "Rome"}).shape
    (2,)
    >>> answer.predict([[50, "Rome"], ["28", None]]).tolist()
    ['yes', 'no']
    """

    def __init__(
        self,
        columns: Columns,
        outputs: Callable[[Any], np.ndarray],
        names: Sequence[str] | None,
        classes: np.ndarray | None,
        dtype: str,
        max_batch: int | None,
    ) -> None:
        """outputs: what tells answers of encoded rows, as `told` does. names: of cells in a
        sequence."""
        self.columns = None if names is None else [*names]
        self.classes = classes
        self.max_batch = max_batch
        self._columns, self._outputs, self._dtype = columns, outputs, dtype
        inputs: Any = columns.inputs
        self._cells = inputs.cells(dtype) if inputs.kind == "table" else None

    def __repr__(self) -> str:
        read = f"{self._n_numbers} numbers"
        return f"RowPredictor({listed(self.columns, 6) if self.columns else read})"

    def __reduce__(self) -> tuple[Any, ...]:
        made = self._columns, self._outputs, self.columns, self.classes, self._dtype, self.max_batch
        return RowPredictor, made

    def __call__(self, rows: Any) -> np.ndarray:
        """Probabilities of the classes (of several targets, of each one's second class; of a hinge,
        scores), or amounts in their unit.

        Parameters
        ----------
        rows : dict, sequence of cells, or list of dicts or of sequences

        Returns
        -------
        array
            Of a row (n_classes,) or (n_targets,), of a single amount a scalar; of n rows an array
            of n of these, of none one of length 0.

        Raises
        ------
        TableError
            A column is absent, or a cell is not as the model knows them.
        ValueError, TypeError
            More rows than `max_batch`, or no rows of cells.
        """
        if type(rows) is dict and self._cells is not None:
            x = self._cells(rows, True)
            if x is not None:
                one: np.ndarray = self._outputs(x[None])[0]
                return one
        X, single = self._encoded(rows)
        answers = self._outputs(X)
        return answers[0] if single else answers

    def predict(self, rows: Any) -> Any:
        """The likeliest class by name, or the amount, of a row or of each: as `predict` of a
        table."""
        X, single = self._encoded(rows)
        decided = self._decided(self._outputs(X))
        return decided[0] if single else decided

    def warm_up(self) -> None:
        """Answer made-up rows, one and `max_batch`, so that memory is there and threads run: the
        first call takes no longer than later ones."""
        for n in {1, self.max_batch or 1}:
            self._outputs(np.zeros((n, self._columns.width), self._dtype))

    def _decided(self, answers: np.ndarray) -> np.ndarray:
        if self.classes is not None:
            refuse_nan(answers)
            chosen: np.ndarray = self.classes[answers.argmax(1)]
            return chosen
        return answers if self._columns.amounts else self._columns.decide(answers)

    # Rows -> features

    def _encoded(self, rows: Any) -> tuple[Any, bool]:
        """Features (n, width), and whether it is of a row alone."""
        inputs: Any = self._columns.inputs
        if hasattr(rows, "columns") or not isinstance(rows, Mapping | Sequence | np.ndarray):
            raise TypeError(
                "rows must be a dict or a sequence of cells, or a list of such, "
                f"got {type(rows).__name__}; predict takes tables"
            )
        if isinstance(rows, str | bytes):
            raise TypeError(f"rows must be a dict or a sequence of cells, got {rows!r:.50}")
        if isinstance(rows, Mapping):
            single = True
        elif not len(rows):
            return np.zeros((0, inputs.width), self._dtype), False
        elif inputs.kind == "arrays":
            single = np.ndim(rows[0]) == 0 or np.shape(rows) == inputs.shape
        else:
            single = not isinstance(rows[0], Mapping | list | tuple | np.ndarray)
        many = [rows] if single else rows
        if self.max_batch is not None and len(many) > self.max_batch:
            raise ValueError(
                f"rows must be at most {self.max_batch:,} (max_batch), got {len(many):,}"
            )
        if self.columns is None:
            return self._numbers(many), single
        named = [
            row if type(row) is dict else self._named(i, row) for i, row in enumerate(many)
        ]
        if inputs.kind == "plain":
            return self._numbers([self._in_order(i, row) for i, row in enumerate(named)]), single
        assert self._cells is not None
        X, strange = self._cells.each(named)
        for i in strange:
            X[i] = self._by_table(i, named[i])
        return X, single

    def _named(self, i: int, row: Any) -> dict[Any, Any]:
        """A row's cells by their names."""
        if isinstance(row, Mapping):
            return dict(row)
        names = self.columns
        assert names is not None
        if not isinstance(row, list | tuple | np.ndarray) or len(row) != len(names):
            came = f"{len(row)} cells" if isinstance(row, list | tuple | np.ndarray) else repr(row)
            raise TableError(
                f"row {i} must be a dict, or the {len(names)} cells {listed(names)}, got {came:.50}"
            )
        return dict(zip(names, row.tolist() if isinstance(row, np.ndarray) else row, strict=True))

    def _in_order(self, i: int, row: dict[Any, Any]) -> list[Any]:
        names = self.columns or ()
        self._must_have(i, row, names)
        return [row[name] for name in names]

    def _numbers(self, rows: Any) -> Any:
        """Features of rows of numbers."""
        try:
            X = np.array(rows, np.float64)  # None is NaN
        except (TypeError, ValueError) as error:
            raise TypeError(f"rows must be {self._n_numbers} numbers each: {error}") from None
        return self._columns.encode(X, self._dtype) if self._columns.inputs.kind == "arrays" else X

    @property
    def _n_numbers(self) -> int:
        """Of a row of numbers, before columns are added that tell what is missing."""
        inputs: Any = self._columns.inputs
        return len(inputs.scale) if inputs.kind == "arrays" else inputs.width

    def _by_table(self, i: int, row: dict[Any, Any]) -> np.ndarray:
        """Features of a row whose cells are not all plain, or the error that says which."""
        from fastnn.tables.frames import as_table  # here: few rows need it

        inputs: Any = self._columns.inputs
        row = {str(name): cell for name, cell in row.items()}
        self._must_have(i, row, inputs.names)
        table = as_table([row], wanted=set(inputs.names))
        table.lines = [i]
        x: np.ndarray = self._columns.encode(table, self._dtype, warn_unknown=False)[0]
        return x

    def _must_have(self, i: int, row: dict[Any, Any], names: Sequence[str]) -> None:
        if absent := [name for name in names if name not in row]:
            raise TableError(
                f"row {i} must have {listed(absent)}, which the model reads; it has {listed(row)}"
            )


def told(columns: Columns, network: Callable[[Any], np.ndarray], X: Any) -> np.ndarray:
    """A Model's answers for encoded rows: probabilities or scores of the classes, (n, n_classes),
    or of several targets, (n, n_targets); or amounts in their unit, (n,) or (n, n_outputs)."""
    f = network(X)
    if columns.class_names is not None and f.shape[1] == 1:  # one sigmoid
        return np.hstack([1 - f, f])
    values = columns.decode(f)
    return values[:, 0] if columns.amounts and values.shape[1] == 1 else values


class Kept:
    """The predictor of weights that change, made anew when they did.

    Weights that somebody wrote and that are not finite raise ValueError: of NaN, the greatest of
    probabilities would be the first.
    """

    def __init__(self) -> None:
        self._made: tuple[int, Predictor] | None = None

    def predictor(self, parameters: Parameters, n_threads: int | None) -> Predictor:
        made = self._made if self._made and self._made[1]._n_threads == n_threads else None
        if made is not None and made[0] == parameters.settle():
            return made[1]
        version, theta, statistics = parameters.weights()
        if made is not None and made[1].has(theta, statistics):
            predictor = made[1]  # somebody may have written, but has not
        else:
            self._made = made = None  # whose memory the next one may need
            as_finite("the weights theta", theta, parameters.network.dtype)
            predictor = Predictor(parameters.network, theta, statistics, n_threads)
        self._made = version, predictor
        return predictor
