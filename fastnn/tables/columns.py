"""Columns: what stands between a table and a network, learned from training rows.

Kept in the model file as JSON (``model.metadata["data"]``), so that new data needs the model file
and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastnn.checks import as_name, counted, listed, name_of
from fastnn.errors import TableError
from fastnn.network.arrays import is_rows, is_table, refuse_nan
from fastnn.network.losses import as_loss, quantiles_of
from fastnn.network.spec import NetworkSpec, as_network
from fastnn.tables.categories import ENCODINGS
from fastnn.tables.cells import Cells, powers
from fastnn.tables.described import made
from fastnn.tables.frames import all_names, as_arrays, as_matrix, as_table, as_targets
from fastnn.tables.inputs import ArrayInputs, Inputs, PlainInputs, TableInputs
from fastnn.tables.kinds import slips
from fastnn.tables.leaks import tell_the_target
from fastnn.tables.numbers import MISSING, SCALINGS
from fastnn.tables.table import Arrays, Moments, Table, Words
from fastnn.tables.targets import Amount, Classes, check_target, infer_task
from fastnn.tables.words import as_word, places

VERSION = 1
KEYS = {"version", "inputs", "target"}  # of a description, and maybe header
TASKS = ("classification", "regression")
# The losses of one target of classes, of several of two classes each, and of amounts.
CLASS_LOSSES = ("cross_entropy", "focal", "hinge", "squared_error")
LABEL_LOSSES = ("binary_cross_entropy", "focal", "squared_error")
AMOUNT_LOSSES = ("squared_error", "absolute_error", "huber", "quantile", "poisson")


@dataclass
class Columns:
    """Inputs and targets of a model: how cells become numbers, and outputs classes or values.

    Made by `learn`; ``model.columns`` of a model that has learned them.

    Attributes
    ----------
    width : int
        Inputs of the network.
    names : list of str
        Of the targets.
    classes : array, (n_classes,), or None
        What `fastnn.Model.predict` chooses from, as numbers, booleans or text, in the order of the
        network's outputs; None of amounts and of several targets.

    Examples
    --------
    >>> import fastnn
    >>> table = {"age": [31, 47, 52, 28], "town": ["Rome", "Oslo", "Rome", "Oslo"]}
    >>> columns = fastnn.tables.learn(table, ["no", "yes", "yes", "no"])
    >>> columns.width
    3
    """

    inputs: Inputs
    targets: Sequence[Classes | Amount] = ()  # of one kind; several Classes have two classes each
    header: bool = True  # of the CSV trained on; new ones are read the same way
    _cells: tuple[str, Cells] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def width(self) -> int:
        return self.inputs.width

    @property
    def plain(self) -> bool:
        """Whether X and y are taken as they are, but for the order of X's columns."""
        return not self.targets

    @property
    def names(self) -> list[str]:
        return [target.name for target in self.targets]

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, one of which each row has; None of several targets and amounts."""
        first = self.targets[0] if len(self.targets) == 1 else None
        return first.classes if isinstance(first, Classes) else None

    @property
    def classes(self) -> np.ndarray | None:
        first = self.targets[0] if len(self.targets) == 1 else None
        return first.values.copy() if isinstance(first, Classes) else None

    @property
    def amounts(self) -> bool:
        """Whether the targets are numbers, not classes."""
        return bool(self.targets) and isinstance(self.targets[0], Amount)

    def _amounts(self) -> list[Amount]:
        return [target for target in self.targets if isinstance(target, Amount)]

    def _classes(self) -> list[Classes]:
        return [target for target in self.targets if isinstance(target, Classes)]

    # Data -> network

    def encode(self, X: Any, dtype: str = "float32", *, warn_unknown: bool = True) -> Any:
        """X as the network takes it.

        Parameters
        ----------
        X : table of pandas, polars or pyarrow, dict of columns, list of row dicts; or array
            By the names of its columns, in any order; others are passed over. An array where the
            columns were learned from one.
        dtype : {"float32", "float64"}, default "float32"
        warn_unknown : bool, default True
            Whether a category that training had not is warned of (`TableWarning`); it counts as
            none of the known.

        Returns
        -------
        array, (n, width)

        Raises
        ------
        TableError
            A column is absent, a number is text, infinite or missing: with its row.
        """
        if isinstance(self.inputs, PlainInputs) and not isinstance(X, (Table, Arrays)):
            return as_plain(self.inputs.select(X))
        return self.inputs.transform(X, dtype, warn_unknown)

    def encode_row(self, row: Any, dtype: str = "float32") -> np.ndarray:
        """What `encode` makes of a table of this row alone, (width,).

        Numbers and known categories in a dict take a compiled road; all else, the table's.
        """
        cells = self.cells(dtype)
        encoded = None if cells is None else cells(row)
        if encoded is None:
            if not isinstance(row, Mapping):
                raise TypeError(f"row must be a dict of cells, got {type(row).__name__}")
            encoded = self.encode([row], dtype)[0]
        return encoded

    def cells(self, dtype: str) -> Cells | None:
        """The compiled road of `encode_row`, if there is one."""
        if not isinstance(self.inputs, TableInputs):
            return None
        made = self._cells
        if made is None or made[0] != dtype:
            made = self._cells = dtype, self.inputs.cells(dtype)
        return made[1]

    def encode_targets(self, y: Any) -> Any:
        """y as the network learns it.

        Parameters
        ----------
        y : array or column (n,); of several targets a table, a dict of columns, or (n, n_targets)
            Names of classes, or values in their units.

        Returns
        -------
        array
            Labels (n,), or (n, n_targets).
        """
        if self.plain:
            return y
        table = as_targets(y, self.names)
        came = list(table.columns)
        names = self.names if set(self.names) <= set(came) else came
        if len(names) != len(self.targets) or (names is came and len(names) > 1):
            raise TableError(f"y must have the columns {listed(self.names)}, got {listed(came)}")
        for name in names:
            check_target(table, name)
        pairs = zip(self.targets, names, strict=True)
        encoded = [target.encode(table, name) for target, name in pairs]
        return encoded[0] if self.class_names is not None else np.stack(encoded, 1)

    def encode_blocks(self, source: Any, dtype: str) -> Any:
        """A stream of blocks (X, y), each encoded; what is no stream comes back as it is."""
        if callable(source):
            return lambda: self._blocks(source(), dtype)
        try:
            once = iter(source) is source
        except TypeError:
            return source
        return self._blocks(source, dtype) if once else _Blocks(self, source, dtype)

    def _blocks(self, source: Any, dtype: str) -> Iterator[Any]:
        iterator = iter(source)
        try:
            for number, block in enumerate(iterator, 1):
                try:
                    X, y = block
                    yield self.encode(X, dtype), self.encode_targets(y)
                except TableError as error:
                    raise TableError(f"block {number}: {error}") from None
        finally:
            if hasattr(iterator, "close"):  # a generator's files
                iterator.close()

    def encode_class_weight(self, class_weight: Any) -> Any:
        """{name of a class: weight} with labels for names."""
        if self.class_names is None or not isinstance(class_weight, Mapping):
            return class_weight
        labels = places([as_word(name) for name in class_weight], self.class_names)
        for name, label in zip(class_weight, labels, strict=True):
            if label < 0:
                raise ValueError(
                    f"classes of class_weight must be among {listed(self.class_names)}, "
                    f"got {name!r}"
                )
        return dict(zip(labels.tolist(), class_weight.values(), strict=True))

    # Network -> results

    def in_units(self, y: np.ndarray) -> np.ndarray:
        """Amounts as encoded, (n, n_out) -> in the users' units, float64; of classes y itself.
        Several quantiles of a target stand side by side."""
        if not self.amounts:
            return y
        scale, shift, log = (self._each(name, y.shape[1]) for name in ("scale", "shift", "log"))
        values: np.ndarray = y.astype(np.float64) * scale + shift
        for k in np.flatnonzero(log):
            logs = values[:, k].copy()
            powers(logs)
            values[:, k] = logs
        return values

    def decode(self, f: np.ndarray) -> np.ndarray:
        """What the network puts out, (n, n_out) -> in the users' units; of a clamped target
        (`learn`) no value is beyond those of the training rows."""
        values = self.in_units(f)
        amounts = self._amounts()
        if any(target.log for target in amounts):
            values *= self._each("smear", f.shape[1])
        if all(target.low is None for target in amounts):
            return values
        low, high = (self._each(name, f.shape[1]).astype(np.float64) for name in ("low", "high"))
        within: np.ndarray = np.fmin(np.fmax(values, low), high)
        return within

    def _each(self, name: str, n_out: int) -> np.ndarray:
        """A setting of the targets for each output."""
        return np.repeat([getattr(one, name) for one in self.targets], n_out // len(self.targets))

    def decide(self, f: np.ndarray) -> np.ndarray:
        """Outputs (n, n_out) -> classes, or values in the users' units: (n,), or of several
        (n, n_targets)."""
        if self.amounts:
            values = self.decode(f)
            return values[:, 0] if values.shape[1] == 1 else values
        refuse_nan(f)
        chosen: list[np.ndarray] = []
        if self.class_names is not None and f.shape[1] > 1:
            decided: np.ndarray = self._classes()[0].values[f.argmax(1)]
            return decided
        for target, one in zip(self._classes(), f.T, strict=True):
            chosen.append(target.values[(one > 0.5).astype(np.intp)])
        if len(chosen) == 1:
            return chosen[0]
        kinds = {one.dtype.kind for one in chosen}
        return np.stack([one.astype(object) if len(kinds) > 1 else one for one in chosen], 1)

    # What they are, and the network they go with

    def lines(self) -> list[tuple[str, str]]:
        """What is known, as titles and texts."""
        inputs = self.inputs
        if isinstance(inputs, PlainInputs):
            names = f"columns {listed(inputs.names)}" if inputs.names else "columns in their order"
            lines = [("inputs", f"{inputs.width} {names}, or arrays")]
        elif isinstance(inputs, ArrayInputs):
            text = f"arrays (n, {', '.join(map(str, inputs.shape))})"
            if inputs.logged:
                text += f", logarithms of {listed([f'x{j}' for j in inputs.logged], 6)}"
            lines = [("inputs", text)]
        else:
            n = counted(len(inputs.columns), "column")
            lines = [("inputs", f"{n}, {counted(inputs.width, 'feature')}")]
            lines += [("", str(column)) for column in inputs.columns]
        if not isinstance(inputs, PlainInputs):
            how = {"refuse": "refused", "impute": "imputed", "indicate": "imputed and indicated"}
            lines.append(("missing", how[inputs.missing]))
        if isinstance(inputs, TableInputs):
            lines += [("" if i else "found", note) for i, note in enumerate(inputs.notes)]
        for i, target in enumerate(self.targets):
            title = "" if i else "target" if len(self.targets) == 1 else "targets"
            lines.append((title, str(target)))
        return lines

    def outputs(self, output: Any, loss: Any) -> tuple[Any, int]:
        """Activation and width of the output layer, where the user leaves them open."""
        name = None if loss is None else name_of(loss)
        if self.amounts:
            output = output or ("exp" if name == "poisson" else "identity")
            return output, len(self.targets) * max(len(quantiles_of(loss or "squared_error")), 1)
        if self.class_names is None:
            return output or "sigmoid", len(self.targets)
        if output is None:
            known = {"hinge": "identity", "binary_cross_entropy": "sigmoid"}
            output = known.get(name or "", "softmax")
        one = output == "sigmoid" and len(self.class_names) == 2
        return output, 1 if one else len(self.class_names)

    def check(self, network: NetworkSpec) -> None:
        """Refuse a network that does not go with these columns."""
        if network.n_in != self.width:
            raise ValueError(
                f"the network must have {self.width} inputs, as many as the columns become, "
                f"got sizes {list(network.sizes)}"
            )
        if self.plain:
            return
        want = f"{len(self.targets)} outputs that are amounts, one for each of {self.names}"
        if self.class_names is not None:
            n = len(self.class_names)
            fits = network.one_of_many and network.n_out == n
            fits = fits or (network.output == "sigmoid" and network.n_out == 1 and n == 2)
            want = f"{n} outputs for the classes {listed(self.class_names)}"
        elif self.amounts:
            if name_of(network.loss) == "poisson" and any(one.shift for one in self._amounts()):
                raise ValueError("the loss poisson must have counts: learn(X, y, counts=True)")
            fits = not network.decides and network.n_targets == len(self.targets)
        else:
            fits = network.output == "sigmoid" and network.n_out == len(self.targets)
            want = f"{len(self.targets)} sigmoid outputs, one for each of {self.names}"
        if not fits:
            raise ValueError(
                f"the network must have {want}, got {network.n_out} with {network.output} output "
                f"and {network.loss} loss"
            )

    # The model file, and copies

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_cells": None}

    def to_dict(self) -> dict[str, Any]:
        targets = [target.to_dict() for target in self.targets]
        return {
            "version": VERSION,
            "inputs": self.inputs.to_dict(),
            "target": targets[0] if len(targets) == 1 else targets,
            "header": self.header,
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Columns:
        """From what `to_dict` gave; ValueError where it is damaged or of a newer version."""
        kinds: dict[str, Any] = {
            one.kind: one for one in (TableInputs, ArrayInputs, PlainInputs)
        }
        tasks: dict[str, Any] = {"classification": Classes, "regression": Amount}
        try:
            if saved["version"] > VERSION:
                raise ValueError(
                    f"the data are described in version {saved['version']}, "
                    f"this fastnn knows up to {VERSION}"
                )
            targets = saved["target"]
            targets = [dict(one) for one in (targets if isinstance(targets, list) else [targets])]
            columns = made(
                cls,
                {"header": saved["header"]},
                inputs=kinds[saved["inputs"]["kind"]].from_dict(saved["inputs"]),
                targets=[tasks[one.pop("task")].from_dict(one) for one in targets],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'metadata["data"] must describe the data: {error!r}') from None
        pairs = [len(one.classes) == 2 for one in columns._classes()]
        if len(pairs) not in (0, len(targets)) or (len(pairs) > 1 and not all(pairs)):
            raise ValueError("targets must be amounts, or classes: two each where they are several")
        return columns

    @classmethod
    def undescribed(cls, network: NetworkSpec, names: Any = None) -> Columns:
        """Of a model that has learned none; names: of its classes or outputs, if known."""
        n_out = network.n_out
        names = [str(name) for name in names] if isinstance(names, list) else []
        inputs = PlainInputs(network.n_in)
        if network.one_of_many or (network.output == "sigmoid" and n_out == 1):
            n = max(n_out, 2)
            return cls(inputs, [Classes("y", names if len(names) == n else [*map(str, range(n))])])
        if len(names) != n_out:
            names = [f"y{k}" for k in range(1, n_out + 1)] if n_out > 1 else ["y"]
        if network.output == "sigmoid":
            return cls(inputs, [Classes(name, ["0", "1"]) for name in names])
        return cls(inputs, [Amount(name) for name in names])


@dataclass
class _Blocks:
    """An iterable that can be read once an epoch."""

    columns: Columns
    source: Any
    dtype: str

    def __iter__(self) -> Iterator[Any]:
        return self.columns._blocks(self.source, self.dtype)


def as_plain(X: Any) -> Any:
    """X for a network that takes matrices: what NumPy cannot read as one, as one."""
    return as_matrix(X) if isinstance(X, (Table, Mapping)) or is_rows(X) else X


def task_of(output: Any, loss: Any) -> str | None:
    """What a network of this output and loss (None: open) learns, if it is one thing alone."""
    output = None if output is None else name_of(output)
    loss = None if loss is None else name_of(loss)
    if output in ("softmax", "sigmoid") or loss in ("cross_entropy", "binary_cross_entropy"):
        return "classification"
    if loss in ("focal", "hinge"):
        return "classification"
    if output is not None or loss in AMOUNT_LOSSES[1:]:
        return "regression"
    return None


@dataclass(frozen=True)
class OpenEnds:
    """What `fastnn.Model` was told; `network` closes it."""

    sizes: Any  # None at one of its ends, or both
    rest: tuple[Any, ...]  # the other arguments of `as_network`, in their order
    init: Any  # of the first weights

    def network(self, columns: Columns) -> NetworkSpec:
        """The network of these columns."""
        activation, output, loss, *rest = self.rest
        loss = None if loss is None else as_loss(loss)
        input_scale = rest[5]
        if input_scale != 1:
            raise ValueError(
                f"input_scale must be 1 where columns are learned, which scale: got {input_scale}"
            )
        output, n_out = columns.outputs(output, loss)
        sizes = list(self.sizes)
        sizes[0] = columns.width if sizes[0] is None else sizes[0]
        sizes[-1] = n_out if sizes[-1] is None else sizes[-1]
        return as_network(sizes, activation, output, loss, *rest)

    def check(self) -> None:
        """Refuse what no data could make right."""
        if self.sizes[0] is None and self.rest[9]:
            raise ValueError(
                "embeddings must have a network whose columns are known: give sizes[0], or columns="
            )
        if self.sizes[0] is None and self.rest[11]:
            raise ValueError(
                "monotone must have a network whose columns are known: give sizes[0], or columns="
            )
        amounts = self.task()["task"] == "regression"
        target = Amount("y") if amounts else Classes("y", ["0", "1"])
        self.network(Columns(PlainInputs(1), [target]))

    def task(self) -> dict[str, Any]:
        """What `fastnn.tables.learn` should know of it."""
        _, output, loss, *_ = self.rest
        loss = None if loss is None else as_loss(loss)
        counts = loss is not None and name_of(loss) == "poisson"
        return {"task": task_of(output, loss), "counts": counts or output == "exp"}


def learn(
    X: Any,
    y: Any,
    *,
    task: str | None = None,
    missing: str = "indicate",
    missing_values: Sequence[Any] = (),
    scaling: str = "auto",
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    categories: str = "one_hot",
    ordered: Mapping[str, Sequence[Any]] | None = None,
    dates: Sequence[str] = (),
    drop: Sequence[str] = (),
    counts: bool = False,
    clamp: bool = False,
    rows: Any = None,
) -> Columns:
    """Learn what columns are and how they become numbers.

    Parameters
    ----------
    X : table of pandas, polars or pyarrow, dict of columns, list of row dicts; or array (n, ...)
        Numbers are standardised, text, booleans and types of categories become one input for each
        category, dates some for what varies in them. Columns that cannot help (of one value,
        identifiers, text that hardly comes back) are left out: ``columns.inputs.notes`` says which,
        and what else was found. docs/data.md.
    y : array or column (n,); of several targets a table, a dict of columns, or (n, n_targets)
        Classes or amounts; several are all amounts, or of two classes each.
    task : {"classification", "regression"}, optional
        By default classification where y is text, booleans or categories, has two values, or is the
        whole numbers from 0 or 1 up without a gap, at most 20 that come back.
    missing : {"indicate", "impute", "refuse"}, default "indicate"
        "impute": missing numbers are the column's median, missing text is a category of its own.
        "indicate": a column of numbers, some missing in training rows, becomes a second feature
        too, 1 where they are missing. "refuse": an error names the first.
    missing_values : sequence of str or numbers, default ()
        Cells that mean missing beside those that can only mean so, such as -999; of X's columns and
        y's.
    scaling : {"auto", "standard", "maximum", "robust", "none"}, default "auto"
        Of numbers: each column to mean 0 and deviation 1, or all divided by their greatest value,
        as suits pixels, which "auto" tells by their ranges. "robust": z = (x - median) / (q75 -
        q25), or where that is 0 over half the range, then z / sqrt(1 + (z / 3)^2) [1]_. Amounts are
        standardised but for "none".
    numeric, categorical, dates : sequence of str, default ()
        Columns that are taken for numbers (text in them counts as missing), categories or dates
        whatever they look like.
    categories : {"one_hot", "codes"}, default "one_hot"
        Categories become a feature each, or a column one feature: the place among its categories,
        -1 of unknown ones, for a network with `fastnn.Categories` (``columns.inputs.codes`` says
        where); of two categories -1 and 1.
    ordered : dict of str: sequence, optional
        Columns of categories in an order, from the least up: one feature, their standardised
        place. Ordered categories of pandas and pyarrow, and polars' Enum, bring their own.
    drop : sequence of str, default ()
        Columns to leave out.
    counts : bool, default False
        Whether amounts are counts, for the loss poisson: divided by their mean alone.
    clamp : bool, default False
        Whether predicted amounts keep to the range of the training rows'.
    rows : array of int, or function f(n, labels) that returns one, optional
        The training rows, of which scales and categories are taken; by default all. labels (n,) are
        None where y is no single target of classes.

    Returns
    -------
    Columns

    Raises
    ------
    TableError
        A table that cannot be learned from: its column, and row.

    References
    ----------
    .. [1] Holzmüller, Grinsztajn, Steinwart (2024), Better by Default: Strong Pre-Tuned MLPs and
       Boosted Trees on Tabular Data, arXiv 2407.04491.

    Examples
    --------
    >>> import fastnn
    >>> table = {"age": [31, 47, 52, 28], "town": ["Rome", "Oslo", "Rome", "Oslo"]}
    >>> fastnn.tables.learn(table, ["no", "yes", "yes", "no"]).class_names
    ['no', 'yes']
    """
    task = None if task is None else as_name("task", task, TASKS)
    as_name("missing", missing, MISSING)
    as_name("scaling", scaling, SCALINGS)
    as_name("categories", categories, ENCODINGS)
    ordered = ordered or {}
    table = as_targets(y).without([*map(as_word, missing_values)])
    names = list(table.columns)
    data: Table | Arrays
    if isinstance(X, Arrays) or not is_table(X):
        data = X if isinstance(X, Arrays) else as_arrays(X)
        named: dict[str, Any] = {"drop": drop, "numeric": numeric, "categorical": categorical}
        named |= {"dates": dates, "ordered": ordered, "missing-values": missing_values}
        for option, given in named.items():
            if given:
                raise TableError(
                    f"{option.replace('-', '_')} (--{option}) is for the columns of a table; "
                    f"{data.path or 'X'} holds arrays"
                )
    else:
        path, came = X.path if isinstance(X, Table) else "X", [*map(str, all_names(X))]
        for name in (*drop, *numeric, *categorical, *dates, *ordered):
            if name not in came:
                raise TableError(f'{path}: no column "{name}"; it has {listed(came)}')
        if not set(came).difference(drop):
            raise TableError(f"{path}: no column beside the target {listed(names)} to learn from")
        data = as_table(X, wanted=set(came).difference(drop))
    if table.n_rows != data.n_rows:
        raise ValueError(
            f"X and y must have as many rows as each other, got {data.n_rows} and {table.n_rows}"
        )
    for name in names:
        check_target(table, name)
    task = task or _task(table)
    targets: list[Any] = []
    labels = None
    if task == "classification":
        targets = [Classes.fit(table, name) for name in names]
        if len(targets) == 1:
            labels = targets[0].encode(table, names[0])
        for target in targets if len(targets) > 1 else ():
            if len(target.classes) != 2:
                raise TableError(
                    f'"{target.name}": of several targets each must have two classes, it has '
                    f'{len(target.classes)}; or task="regression" (--task regression)'
                )
    n = data.n_rows
    rows = rows(n, labels) if callable(rows) else np.arange(n) if rows is None else rows
    how: dict[str, Any] = {"missing": missing, "scaling": scaling}
    inputs: Inputs
    if isinstance(data, Arrays):
        inputs, comma = ArrayInputs.fit(data, rows, **how), False
    else:
        how |= {"numeric": numeric, "categorical": categorical, "dates": dates, "ordered": ordered}
        how |= {"categories": categories, "missing_values": [*map(as_word, missing_values)]}
        inputs = TableInputs.fit(data, rows, **how)
        comma = any(getattr(column, "decimal", ".") == "," for column in inputs.columns)
        for name in tell_the_target(data.select(inputs.names), table):
            inputs.notes.append(
                f"{name}: tells the target exactly; if it is not known when predicting: "
                f'drop=["{name}"] (--drop "{name}")'
            )
    if task == "regression":
        amounts = {"standardize": scaling != "none", "counts": counts, "clamp": clamp}
        targets = [Amount.fit(table, name, rows, comma=comma, **amounts) for name in names]
    return Columns(inputs, targets)


def _task(table: Table) -> str:
    for name, column in table.columns.items():
        if slip := slips(column):
            raise TableError(
                f'{table.where(slip[0], name)}: "{slip[1]}" is not a number, and nearly all of the '
                f'target is; correct it, or missing_values=["{slip[1]}"] '
                f'(--missing-values "{slip[1]}")'
            )
        if isinstance(column, Moments) or (isinstance(column, Words) and column.moments):
            raise TableError(
                f"{table.named(name)}: a target must be classes or amounts, it holds dates or "
                'times; task="classification" (--task classification) takes each for a class'
            )
    found = {name: infer_task(column) for name, column in table.columns.items()}
    tasks = {task for task, _ in found.values()}
    if len(tasks) > 1:
        told = ", ".join(f'"{name}" {why}' for name, (_, why) in found.items())
        raise TableError(
            "targets must all be amounts or all be classes (task=, --task): "
            f"{told.replace('it holds', 'holds')}"
        )
    return tasks.pop()
