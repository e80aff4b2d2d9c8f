"""A model's answers for rows of raw cells: what `predictor(rows=True)` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn.checks import listed
from fastnn.errors import TableError
from fastnn.tables.columns import Columns
from fastnn.tables.frames import as_table
from fastnn.tables.inputs import ArrayInputs, PlainInputs, TableInputs


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
        inputs = columns.inputs
        self._cells = inputs.cells(dtype) if isinstance(inputs, TableInputs) else None

    def __repr__(self) -> str:
        read = f"{self._columns.inputs.width} numbers"
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
            chosen: np.ndarray = self.classes[answers.argmax(1)]
            return chosen
        return answers if self._columns.amounts else self._columns.decide(answers)

    # Rows -> features

    def _encoded(self, rows: Any) -> tuple[Any, bool]:
        """Features (n, width), and whether it is of a row alone."""
        inputs = self._columns.inputs
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
        elif isinstance(inputs, ArrayInputs):
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
        if isinstance(inputs, PlainInputs):
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
        inputs = self._columns.inputs
        try:
            X = np.array(rows, np.float64)  # None is NaN
        except (TypeError, ValueError) as error:
            n = len(inputs.scale) if isinstance(inputs, ArrayInputs) else inputs.width
            raise TypeError(f"rows must be {n} numbers each: {error}") from None
        return self._columns.encode(X, self._dtype) if isinstance(inputs, ArrayInputs) else X

    def _by_table(self, i: int, row: dict[Any, Any]) -> np.ndarray:
        """Features of a row whose cells are not all plain, or the error that says which."""
        inputs = self._columns.inputs
        assert isinstance(inputs, TableInputs)
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
