"""Functions of single entries: operators that are activations, and activations spelt out.

A spelt-out function is kept as an expression of one variable x and compared with what fastnn has,
at points that tell: functions like these are analytic but at the edges of `Max`, `Where`, ..., and
bend where their exponentials' arguments are near 0. Edges are found by bisection, to rounding, and
looked at from both sides; bends are looked at in their own scale.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.checks import name_of
from fastnn.interop import steps as chain
from fastnn.interop.steps import Apply, Scale, Step
from fastnn.model import Model
from fastnn.network.activations import ELU, TABLE, Activation, LeakyReLU
from fastnn.onnx.constants import ENTRYWISE
from fastnn.onnx.values import Node, Refused, Rows, same

# --- operators that are activations


def _applied(name: str) -> Callable[[Node], list[Step]]:
    return lambda node: [Apply(name, node.where)]


def _leaky(slope: float, where: str) -> list[Step]:
    return [Apply(LeakyReLU(decimal(slope)), where)]


def decimal(value: float) -> float:
    """The shortest decimal number that is this float32: 0.2, not 0.20000000298."""
    return float(str(np.float32(value)))


def _gelu(node: Node) -> list[Step]:
    approximate = node.attribute("approximate", "none")
    return [Apply("gelu_tanh" if approximate == "tanh" else "gelu", node.where)]


def _celu(node: Node) -> list[Step]:
    alpha = node.attribute("alpha", 1.0)
    if alpha <= 0:
        raise Refused(f"alpha must be above 0, got {alpha:g}")
    return chain.stretched("elu", 1 / alpha, node.where)


def _clip(node: Node) -> list[Step]:
    low, high = (
        node.number(i, node.attribute(name, limit))
        for i, name, limit in ((1, "min", -math.inf), (2, "max", math.inf))
    )
    most = float(np.finfo(np.float32).max)  # as exporters write no limit
    low, high = (-math.inf if low <= -most else low), (math.inf if high >= most else high)
    return chain.clipped(low, high, node.where)


def _prelu(node: Node) -> list[Step]:
    slopes = node.constant(1)
    data = node.input(0)
    if slopes.ndim > (data.root if isinstance(data, Composite) else data).rank:
        raise Refused(f"must have slopes of its data's dimensions, got shape {slopes.shape}")
    slope = np.unique(slopes)
    if len(slope) != 1 or slopes.shape.count(1) < slopes.ndim - 1:
        raise Refused("must have one slope for all entries")
    return _leaky(float(slope[0]), node.where)


ACTIVATIONS: dict[str, Callable[[Node], list[Step]]] = {
    known.onnx: _applied(name)
    for name, known in TABLE.items()
    if known.onnx and name not in ("identity", "softmax")
} | {
    "Mish": _applied("mish"),
    "LeakyRelu": lambda n: _leaky(n.attribute("alpha", 0.01), n.where),
    "PRelu": _prelu,
    "Elu": lambda n: [Apply(ELU(decimal(n.attribute("alpha", 1.0))), n.where)],
    "Selu": lambda n: chain.selu(
        n.attribute("alpha", 1.6732632), n.attribute("gamma", 1.0507010), n.where
    ),
    "Celu": _celu,
    "Gelu": _gelu,
    "Swish": lambda n: chain.stretched("silu", n.attribute("alpha", 1.0), n.where),
    "HardSigmoid": lambda n: chain.hard_sigmoid(
        n.attribute("alpha", 0.2), n.attribute("beta", 0.5), n.where
    ),
    "Clip": _clip,
}
OF_INTEGERS = {"Relu", "Clip", "Min", "Max"}  # that need no rounding and cannot overflow


# --- expressions of x

_NEAR = np.concatenate([np.geomspace(1e-9, 0.03, 40), np.linspace(0.04, 8.04, 201)])
_FAR = np.geomspace(9, 1e38, 150)
GRID = np.concatenate([-_FAR[::-1], -_NEAR[::-1], [0.0], _NEAR, _FAR])
ORIGIN = len(GRID) // 2
TOLERANCE = 1e-6  # as near as float32 constants let it be
BENDS_WITHIN = 8.0  # of 0: where exponentials' arguments are looked at in steps of FINE
FINE = 0.1
DEPTH_MAX = 64  # of an expression
STEPS_MAX = 8  # that may go into one activation
POINTS_MAX = 20_000
ROUNDS_MAX = 200  # halvings: from 1e38 to 1e-15

Arrays = list[Any]  # arguments' values


@dataclass(frozen=True)
class Operator:
    """g of arguments; edges: what changes sign where g is not smooth; bends: arguments of its
    exponentials, which are to be looked at closely around 0."""

    g: Callable[..., Any]
    edges: Callable[[Arrays], Arrays] = lambda a: []
    bends: Callable[[Arrays], Arrays] = lambda a: []


class Function:
    """An operator of numbers and of functions of x; values: those on GRID."""

    __slots__ = ("depth", "operator", "parts", "values")
    depth: int
    values: np.ndarray

    def __init__(self, operator: Operator | None, parts: tuple[Function | float, ...]) -> None:
        self.operator, self.parts = operator, parts  # None: x itself
        self.depth = 1 + max((p.depth for p in parts if isinstance(p, Function)), default=0)
        if self.depth > DEPTH_MAX:
            raise Refused("must follow fewer functions of the same entries")
        self.values = GRID if operator is None else self._of(lambda part: part.values)

    def _of(self, values: Callable[[Function], np.ndarray]) -> np.ndarray:
        assert self.operator is not None
        found: np.ndarray = self.operator.g(*self.arguments(values))
        return found

    def arguments(self, values: Callable[[Function], np.ndarray]) -> Arrays:
        return [values(p) if isinstance(p, Function) else np.float64(p) for p in self.parts]

    def within(self) -> list[Function]:
        """All functions that it is made of, each after its parts."""
        found: dict[Function, None] = {}

        def visit(one: Function) -> None:
            if one not in found:
                for part in one.parts:
                    if isinstance(part, Function):
                        visit(part)
                found[one] = None

        visit(self)
        return list(found)

    def on(self, x: np.ndarray) -> dict[Function, np.ndarray]:
        """Values at x, of it and of all within."""
        values: dict[Function, np.ndarray] = {}
        for one in self.within():
            values[one] = x if one.operator is None else one._of(values.__getitem__)
        return values

    def points(self) -> np.ndarray | None:
        """The x that tell it from other functions; None if some may have been missed."""
        x, functions = GRID, [one for one in self.within() if one.operator is not None]
        for _ in range(ROUNDS_MAX):
            values, split, missed = self.on(x), np.zeros(len(x) - 1, bool), False
            for one in functions:
                assert one.operator is not None
                arguments = one.arguments(values.__getitem__)
                for u in one.operator.edges(arguments):
                    u = np.nan_to_num(np.broadcast_to(u, x.shape).astype(float))
                    grazes = _beside_turns(u, 0.0)
                    missed |= bool(grazes.any())
                    split |= grazes | (np.sign(u[:-1]) != np.sign(u[1:]))
                for u in one.operator.bends(arguments):
                    u = np.nan_to_num(np.broadcast_to(u, x.shape).astype(float))
                    low, high = np.minimum(u[:-1], u[1:]), np.maximum(u[:-1], u[1:])
                    near = (low < BENDS_WITHIN) & (high > -BENDS_WITHIN)
                    split |= (near | _beside_turns(u, BENDS_WITHIN)) & (high - low > FINE)
            split &= np.diff(x) > 1e-7 * np.minimum(abs(x[:-1]), abs(x[1:])) + 1e-15
            if not split.any():
                return None if missed else x
            if len(x) + split.sum() > POINTS_MAX:
                return None
            x = np.insert(x, np.flatnonzero(split) + 1, ((x[:-1] + x[1:]) / 2)[split])
        return None


def _beside_turns(u: np.ndarray, limit: float) -> np.ndarray:
    """The steps from point to point between which u may come within `limit` of 0 and turn back."""
    steps = np.diff(u)
    size = np.maximum(abs(steps[:-1]), abs(steps[1:]))
    turns = (np.sign(steps[:-1]) * np.sign(steps[1:]) < 0) & (abs(u[1:-1]) <= 8 * size + limit)
    either: np.ndarray = np.append(turns, False) | np.insert(turns, 0, False)
    return either


def _log(u: Any) -> Any:
    return np.log(abs(np.asarray(u, float)))


def _power(a: Arrays) -> Arrays:
    """x^2, x^3 are smooth."""
    return [] if np.ndim(a[1]) == 0 and a[1] == abs(np.round(a[1])) else [a[0]]


def _differences(a: Arrays) -> Arrays:
    return [u - v for u, v in itertools.combinations(a, 2)]


_smooth: dict[str, Callable[[Arrays], Arrays]] = dict.fromkeys(
    ("Exp", "Erf", "Erfc"), lambda a: [a[0]]
)
_edges: dict[str, Callable[[Arrays], Arrays]] = {
    **dict.fromkeys(
        ("Min", "Max", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _differences
    ),
    **dict.fromkeys(("Abs", "Sqrt", "Log", "Reciprocal"), lambda a: [a[0]]),
    "Div": lambda a: [a[1]],
    "Pow": _power,
}
_poles: dict[str, Callable[[Arrays], Arrays]] = {
    **dict.fromkeys(("Sqrt", "Log", "Reciprocal"), lambda a: [_log(a[0])]),
    "Div": lambda a: [_log(a[1])],
    "Pow": lambda a: [_log(one) for one in _power(a)],
}
OPERATORS = {
    name: Operator(g, _edges.get(name, lambda a: []), (_smooth | _poles).get(name, lambda a: []))
    for name, g in ENTRYWISE.items()
}
KINKS: dict[str, tuple[float, ...]] = {  # of fastnn's activations; those not named are smooth
    "relu": (0.0,), "leaky_relu": (0.0,), "elu": (0.0,), "selu": (0.0,), "hard_tanh": (-1.0, 1.0),
}  # fmt: skip


@functools.lru_cache(4096)
def function(operator: Operator, *parts: Function | float) -> Function:
    """An operator of parts; the same for the same ones."""
    return Function(operator, parts)


@functools.lru_cache(256)
def _operator(activation: str | Activation) -> Operator:
    name = name_of(activation)
    kinks = KINKS.get(name, ())
    return Operator(
        lambda u: _values(activation, u),
        lambda a: [a[0] - kink for kink in kinks],
        lambda a: [] if name in ("relu", "leaky_relu", "hard_tanh") else [a[0]],
    )


X = Function(None, ())


def _after(steps: tuple[Step, ...] | list[Step], part: Function) -> Function:
    for step in steps:
        if isinstance(step, Scale):
            factor, shift = float(step.factor), float(step.shift)
            part = part if factor == 1 else function(OPERATORS["Mul"], part, factor)
            part = part if shift == 0 else function(OPERATORS["Add"], part, shift)
        else:
            assert isinstance(step, Apply)
            part = function(_operator(step.activation), part)
    return part


def _values(activation: Any, u: Any) -> np.ndarray:
    """g(u), by a network of one unit."""
    u = np.asarray(u, np.float64)
    if activation == "exp":
        return np.asarray(np.exp(u))
    finite = np.nan_to_num(np.clip(u, -1e300, 1e300)).reshape(-1, 1)
    values = _unit(activation).forward(finite).reshape(u.shape)
    return np.where(np.isnan(u), np.nan, values)


@functools.lru_cache(64)
def _unit(activation: Any) -> Model:
    return Model([1, 1], output=activation, dtype="float64", seed=0, init=[np.ones((1, 1))])


@dataclass(frozen=True)
class Composite:
    """function(h) for each entry h of the root: exporters write silu as x * sigmoid(x), and gelu
    as a dozen operators."""

    root: Rows
    function: Function
    where: str

    @property
    def why(self) -> str:
        return f"{self.where}: what it computes is none of fastnn's activations"


# --- what they are in fastnn

SHAPES = ("relu", "sigmoid", "tanh", "softplus", "gelu", "gelu_tanh", "silu", "mish", "elu", "selu")


def _candidates(values: np.ndarray) -> Iterator[tuple[list[Step], Function]]:
    """What may have these values on GRID."""

    def made(*steps: Step) -> tuple[list[Step], Function]:
        return list(steps), _after(steps, X)

    slope, low, high = values[-1] / GRID[-1], values.min(), values.max()
    yield made(Scale(float(slope), float(values[ORIGIN])))
    for name in SHAPES:
        g = function(_operator(name), X).values
        peak = int(np.argmax(abs(g)))
        c = float(values[peak] / g[peak])
        if c:
            yield made(Apply(name, ""), Scale(1.0 if abs(c - 1) < TOLERANCE else c, 0.0))
    slope = values[0] / GRID[0]
    if 0 <= slope < 1e30:
        yield made(*_leaky(slope, ""))
    low, high = (-math.inf if low <= GRID[0] else low), (math.inf if high >= GRID[-1] else high)
    if low < high and not (np.isinf(low) and np.isinf(high)):
        clip = function(OPERATORS["Min"], function(OPERATORS["Max"], X, low), high)
        yield chain.clipped(float(low), float(high), ""), clip
    if -math.inf < low < 0:
        yield made(Apply(ELU(decimal(-low)), ""))


@functools.lru_cache(4096)
def _recognized(one: Function) -> tuple[Step, ...] | None:
    values = one.values
    if values.shape != GRID.shape or values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    for steps, twin in _candidates(values):
        if not _close(GRID, values, twin.values):
            continue
        x = one.points()
        if x is None:
            return None
        if _close(x, one.on(x)[one], twin.on(x)[twin]):
            return tuple(s for s in steps if not (isinstance(s, Scale) and s.nothing))
    return None


def _close(x: np.ndarray, values: np.ndarray, g: np.ndarray) -> bool:
    """Near 0 in proportion: what comes after may stretch it."""
    size = np.maximum(abs(g), np.minimum(abs(x), 1))
    return bool((abs(values - g) <= TOLERANCE * size + 1e-15).all())


def decides_at_half(one: Function) -> bool:
    """Whether it is x > 1/2, or not less."""
    x = one.points()
    if one.values.dtype != bool or x is None:
        return False
    sure = abs(x - 0.5) > TOLERANCE
    return bool((one.on(x)[one] == (x > 0.5))[sure].all())


# --- of data


def composed(node: Node) -> Rows | Composite:
    """What an operator on single entries of data gives."""
    data = [rows_of(v) for v in node.inputs if isinstance(v, (Rows, Composite))]
    near = _common(data)
    steps = data[0].steps
    far = near
    while far and near - far < STEPS_MAX and single(steps[far - 1]):
        far -= 1

    def after(n: int) -> Rows | Composite:
        root = replace(data[0], steps=steps[:n])
        return recognized(root, _whole(node, root), node.where)

    for n in range(far, near):  # as much as possible in one activation
        made = after(n)
        if isinstance(made, Rows):
            return made
    return after(near)


def _whole(node: Node, root: Rows) -> Function:
    """What a node computes, as a function of root's entries."""
    parts: list[Function | float] = []
    for value in node.inputs:
        if isinstance(value, (Rows, Composite)):
            before = _after(rows_of(value).steps[len(root.steps) :], X)
            parts.append(
                _placed(value.function, before) if isinstance(value, Composite) else before
            )
        elif value is None or value.size != 1 or value.ndim > root.rank:
            raise Refused("must have single numbers for its constants")
        else:
            parts.append(float(value.reshape(())))
    if node.op in OPERATORS:
        return function(OPERATORS[node.op], *parts)
    assert isinstance(parts[0], Function)
    return _after(ACTIVATIONS[node.op](node), parts[0])


def recognized(root: Rows, one: Function, where: str) -> Rows | Composite:
    """The activation, or what is in its place."""
    steps = _recognized(one)
    if steps is None:
        return Composite(root, one, where)
    return root.then(*(replace(s, where=where) if isinstance(s, Apply) else s for s in steps))


def rows_of(value: Rows | Composite) -> Rows:
    return value.root if isinstance(value, Composite) else value


def _common(data: list[Rows]) -> int:
    """How many steps lead to what they were all made of, by functions of single entries."""
    first = data[0]
    n = min(len(one.steps) for one in data)
    while any(not same(one.steps[:n], first.steps[:n]) for one in data):
        n -= 1
    for one in data:
        if not all(single(step) for step in one.steps[n:]) or one.layout != first.layout:
            raise Refused("joins branches: a sequential network has none")
    return n


def _placed(one: Function, before: Function) -> Function:
    """one(before(x))."""
    if before is X:
        return one
    placed: dict[Function, Function] = {X: before}
    for part in one.within():
        if part is not X:
            inner = tuple(placed[p] if isinstance(p, Function) else p for p in part.parts)
            assert part.operator is not None
            placed[part] = function(part.operator, *inner)
    return placed[one]


def single(step: Step) -> bool:
    """Whether it treats all entries alike, each on its own."""
    if isinstance(step, Scale):
        return np.ndim(step.factor) == 0 and np.ndim(step.shift) == 0
    return isinstance(step, Apply) and step.activation != "softmax"
