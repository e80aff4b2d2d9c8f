"""Embeddings: what becomes of a column of X before layer 1 sees it.

    Periodic         [x, V cos(2 pi w x + b) + c]
    PiecewiseLinear  how far x is through each bin: p, or p T + c
    Categories       e(code), or the row of T that belongs to it

Columns in no embedding come first among the features, in their order; then each embedding's, column
by column. Formulas: docs/maths.md, section 6; src/inputs.h.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastnn.checks import as_int, as_name, as_real
from fastnn.kernels.inputs import KINDS
from fastnn.random import EMBEDDINGS, normal, uniform
from fastnn.values import Value

if TYPE_CHECKING:
    from fastnn.kernels.inputs import Column, Phi

Shapes = tuple[tuple[str, tuple[int, ...]], ...]  # of one column's parameters, as they lie in theta


class Embedding:
    """What every embedding has."""

    name: ClassVar[str]

    @property
    def of(self) -> tuple[int, ...]:
        """The columns of X that it takes, in the order of its features."""
        raise NotImplementedError

    def features(self, i: int) -> tuple[int, int, np.ndarray | None]:
        """Of the i-th of its columns: features; frequencies, bins or codes; edges of bins."""
        raise NotImplementedError

    def shapes(self, i: int) -> Shapes:
        """Names and shapes of the parameters of the i-th of its columns."""
        raise NotImplementedError

    def initial(self, seed: int, index: int) -> Iterator[list[np.ndarray]]:
        """First parameters, float64, column by column; index: its number among the embeddings."""
        raise NotImplementedError


class Periodic(Embedding, Value):
    """Columns of numbers beside cosines of them: [x, V cos(2 pi w x + b) + c], 1 + width features.

    RealMLP's embedding PBLD. Each column has `frequencies` numbers w and b, V (width, frequencies)
    and c (width,) of its own, all of them trained. First w are from N(0, std^2), b from U(-pi, pi),
    V and c from U(-l, l), l = 1 / sqrt(frequencies). Columns should be scaled: in [-3, 3], say.

    Parameters
    ----------
    columns : list of int
        Of X, from 0.
    frequencies : int, default 16
    width : int, default 3
        Features beside x itself.
    std : float, default 0.1
        Standard deviation of the first frequencies: above 0.

    References
    ----------
    Holzmueller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", NeurIPS (arXiv:2407.04491); after Gorishniy, Rubachev & Babenko
    (2022), "On embeddings for numerical features in tabular deep learning", NeurIPS
    (arXiv:2203.05556).

    Examples
    --------
    >>> import fastnn
    >>> columns = fastnn.Periodic([0, 1], frequencies=8, width=3)
    >>> model = fastnn.Model([2, 8, 2], embeddings=[columns])
    >>> model.n_features, model.W[0].shape
    (8, (8, 8))
    """

    name: ClassVar[str] = "periodic"
    columns: tuple[int, ...]
    frequencies: int = 16
    width: int = 3
    std: float = 0.1

    def __post_init__(self) -> None:
        std = as_real("std", self.std)
        if std == 0:
            raise ValueError("std must be above 0, got 0.0")
        self._keep(
            columns=_as_columns(self.columns),
            frequencies=as_int("frequencies", self.frequencies, 1),
            width=as_int("width", self.width, 1),
            std=std,
        )

    @property
    def of(self) -> tuple[int, ...]:
        return self.columns

    def features(self, i: int) -> tuple[int, int, np.ndarray | None]:
        return 1 + self.width, self.frequencies, None

    def shapes(self, i: int) -> Shapes:
        n, width = self.frequencies, self.width
        return ("w", (n,)), ("b", (n,)), ("V", (width, n)), ("c", (width,))

    def initial(self, seed: int, index: int) -> Iterator[list[np.ndarray]]:
        m, n, width = len(self.columns), self.frequencies, self.width
        w = self.std * _drawn(normal, seed, index, 0, (m, n))
        b, V, c = (
            limit * (2 * _drawn(uniform, seed, index, part, (m, *shape)) - 1)
            for part, limit, shape in (
                *((1, np.pi, (n,)), (2, 1 / np.sqrt(n), (width, n))),
                (3, 1 / np.sqrt(n), (width,)),
            )
        )
        return map(list, zip(w, b, V, c, strict=True))


class PiecewiseLinear(Embedding, Value):
    """Columns of numbers by bins: how far x is through each, 0 before it and 1 behind it.

    So x in the third of five bins becomes (1, 1, (x - left) / (right - left), 0, 0); below the
    first bin the first feature goes on below 0, above the last bin the last one above 1. With a
    `width`, p T + c in place of these p: T (bins, width) and c (width,) of each column are trained,
    from U(-l, l) at first, l = 1 / sqrt(bins).

    Parameters
    ----------
    columns : list of int
        Of X, from 0.
    edges : list of list of float
        For each of these columns where its bins begin and end, rising: quantiles of the training
        rows, for example. n + 1 edges make n bins. For one column its edges alone will do.
    width : int, optional
        Features of each column; by default its bins.

    References
    ----------
    Gorishniy, Rubachev & Babenko (2022), "On embeddings for numerical features in tabular deep
    learning", NeurIPS (arXiv:2203.05556), section 3.2.

    Examples
    --------
    >>> import fastnn
    >>> column = fastnn.PiecewiseLinear([0], [[0.0, 1.0, 5.0]])
    >>> model = fastnn.Model([1, 8, 2], embeddings=[column])
    >>> model.n_features, model.W[0].shape
    (2, (8, 2))
    """

    name: ClassVar[str] = "piecewise"
    columns: tuple[int, ...]
    edges: tuple[tuple[float, ...], ...]
    width: int | None = None

    def __post_init__(self) -> None:
        columns = _as_columns(self.columns)
        if isinstance(self.edges, (str, bytes)) or not hasattr(self.edges, "__iter__"):
            raise TypeError(f"edges must be a list of edges for each column, got {self.edges!r}")
        edges: list[Any] = list(self.edges)
        if len(columns) == 1 and edges and not hasattr(edges[0], "__iter__"):
            edges = [self.edges]
        if len(edges) != len(columns):
            raise ValueError(
                f"edges must have a list for each of the {len(columns)} columns, got {len(edges)}"
            )
        self._keep(
            columns=columns,
            edges=tuple(map(_as_edges, edges, columns)),
            width=None if self.width is None else as_int("width", self.width, 1),
        )

    @property
    def of(self) -> tuple[int, ...]:
        return self.columns

    def features(self, i: int) -> tuple[int, int, np.ndarray | None]:
        edges = np.array(self.edges[i])
        n = len(edges) - 1
        least, most = np.zeros(n), np.ones(n)
        least[0], most[-1] = -np.inf, np.inf
        return self.width or n, n, np.array([edges[:-1], 1 / np.diff(edges), least, most])

    def shapes(self, i: int) -> Shapes:
        if self.width is None:
            return ()
        return ("T", (len(self.edges[i]) - 1, self.width)), ("c", (self.width,))

    def initial(self, seed: int, index: int) -> Iterator[list[np.ndarray]]:
        shapes = [self.shapes(i) for i in range(len(self.columns))]
        ends = np.cumsum([sum(int(np.prod(shape)) for _, shape in of) for of in shapes])
        u = 2 * _drawn(uniform, seed, index, 0, (int(ends[-1]),)) - 1
        for i, of in enumerate(shapes):
            limit, at, parts = 1 / np.sqrt(len(self.edges[i]) - 1), ends[i], []
            for _, shape in reversed(of):
                at, stop = at - int(np.prod(shape)), at
                parts.append(limit * u[at:stop].reshape(shape))
            yield parts[::-1]


class Categories(Embedding, Value):
    """A column of codes 0..n-1: a feature for each code, or with a `width` a row of a table.

    Any other number in that column, such as -1 for what is unknown or missing, gives zeros. The
    table T (n, width) is trained, from N(0, 1) at first. A mini-batch's gradient has zeros for the
    codes that do not occur in it, and optimizers treat these as zeros: Adam's averages decay there,
    and may still move the row, as PyTorch's do for an embedding that is not sparse.

    Parameters
    ----------
    column : int
        Of X, from 0.
    n : int
        How many codes.
    width : int, optional
        Features; by default one for each code (one-hot).

    Examples
    --------
    >>> import fastnn
    >>> column = fastnn.Categories(0, 4, width=2)
    >>> model = fastnn.Model([3, 8, 2], embeddings=[column])
    >>> model.n_features, model.W[0].shape
    (4, (8, 4))
    """

    name: ClassVar[str] = "categories"
    column: int
    n: int
    width: int | None = None

    def __post_init__(self) -> None:
        self._keep(
            column=as_int("column", self.column, 0),
            n=as_int("n", self.n, 1),
            width=None if self.width is None else as_int("width", self.width, 1),
        )

    @property
    def of(self) -> tuple[int, ...]:
        return (self.column,)

    def features(self, i: int) -> tuple[int, int, np.ndarray | None]:
        return self.width or self.n, self.n, None

    def shapes(self, i: int) -> Shapes:
        return () if self.width is None else (("T", (self.n, self.width)),)

    def initial(self, seed: int, index: int) -> Iterator[list[np.ndarray]]:
        yield [_drawn(normal, seed, index, 0, shape) for _, shape in self.shapes(0)]


OF_ALL_KINDS: tuple[type[Embedding], ...] = Periodic, PiecewiseLinear, Categories
CLASSES = {one.name: one for one in OF_ALL_KINDS}


def as_embeddings(value: Any, n_0: int, dtype: str, input_scale: float) -> tuple[Embedding, ...]:
    """What a network of n_0 columns takes for `value`, a list of embeddings or None."""
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, Embedding) for one in value):
        raise TypeError(
            "embeddings must be a list of fastnn.Periodic, PiecewiseLinear and Categories, "
            f"got {value!r:.100}"
        )
    taken: set[int] = set()
    for one in value:
        for column in one.of:
            if column >= n_0:
                raise ValueError(
                    f"embeddings must be of columns 0 to {n_0 - 1}, got {column} in {one!r:.100}"
                )
            if column in taken:
                raise ValueError(f"embeddings must have columns of their own, got {column} twice")
            taken.add(column)
        if isinstance(one, Categories) and input_scale != 1:
            raise ValueError(f"input_scale must be 1 where codes are looked up, got {input_scale}")
        for column, edges in zip(one.of, getattr(one, "edges", ()), strict=False):
            with np.errstate(all="ignore"):
                steps = np.diff(np.array(edges, dtype))
                apart = (steps > 0) & np.isfinite(steps) & np.isfinite(1 / steps)
            if not apart.all():
                raise ValueError(f"edges of column {column} must be apart in {dtype}")
    return tuple(value)


def plain_runs(embeddings: Sequence[Embedding], n_0: int) -> Iterator[range]:
    """Those of n_0 columns that are in no embedding, as runs side by side."""
    start = 0
    for column in [*sorted(column for one in embeddings for column in one.of), n_0]:
        if column > start:
            yield range(start, column)
        start = column + 1


def in_order(
    embeddings: Sequence[Embedding], n_0: int
) -> Iterator[tuple[Embedding | None, int, int, int, int, np.ndarray | None, Shapes]]:
    """Columns in the order of their features: the embedding (None: columns as they are, so many of
    them side by side), the column's number in it, the column; and of `features` and `shapes`."""
    for run in plain_runs(embeddings, n_0):
        yield None, 0, run.start, run.stop - run.start, 0, None, ()  # len is bounded
    for one in embeddings:
        for i, column in enumerate(one.of):
            yield one, i, column, *one.features(i), one.shapes(i)


def kernel(
    embeddings: Sequence[Embedding], feature_scale: bool, n_0: int, dtype: str
) -> Phi | None:
    """What compiled code takes for the input layer; None: there is none."""
    if not embeddings:
        return ((), True) if feature_scale else None
    columns: list[Column] = []
    for one, _, column, width, n, edges, shapes in in_order(embeddings, n_0):
        size = sum(int(np.prod(shape)) for _, shape in shapes)
        kind = KINDS["plain" if one is None else one.name]
        own = None if edges is None else edges.astype(dtype)
        columns.append((kind, column, width, n, size, own))
    return columns, feature_scale


def described(embedding: Embedding) -> dict[str, Any]:
    """As JSON holds it."""
    return {"name": embedding.name, **asdict(embedding)}  # type: ignore[call-overload]


def restored(value: Any) -> Embedding:
    """The embedding that `described` described."""
    if not isinstance(value, dict):
        raise ValueError(f"each of embeddings must be an object, got {value!r:.50}")
    settings = {key: one for key, one in value.items() if key != "name"}
    return CLASSES[as_name("embedding", value.get("name"), CLASSES)](**settings)


def _drawn(
    draw: Callable[[int, int, int, int], np.ndarray],
    seed: int,
    index: int,
    part: int,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Random numbers of a part, below 4, of the parameters of an embedding."""
    return draw(seed, EMBEDDINGS, 4 * index + part, int(np.prod(shape))).reshape(shape)


def _as_columns(columns: Any) -> tuple[int, ...]:
    if isinstance(columns, (str, bytes)) or not hasattr(columns, "__iter__"):
        raise TypeError(f"columns must be a list of column numbers, got {columns!r}")
    result = tuple(as_int("each of columns", column, 0) for column in columns)
    if not result:
        raise ValueError("columns must hold at least one column, got none")
    return result


def _as_edges(edges: Any, column: int) -> tuple[float, ...]:
    if isinstance(edges, (str, bytes)) or not hasattr(edges, "__iter__"):
        raise TypeError(f"edges of column {column} must be a list of numbers, got {edges!r:.50}")
    result = tuple(as_real(f"edges of column {column}", edge, -math.inf) for edge in edges)
    if len(result) < 2 or not all(math.isfinite(edge) for edge in result):
        raise ValueError(
            f"edges of column {column} must be two finite numbers at least, got {result!r:.50}"
        )
    for left, right in pairwise(result):
        if right <= left:
            raise ValueError(f"edges of column {column} must rise, got {left} before {right}")
    return result
