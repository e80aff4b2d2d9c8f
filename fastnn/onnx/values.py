"""What the names of a graph stand for while it is read.

Each is one of

    array       a constant; of what `Shape` gives, the number of rows is BATCH
    Rows        the data on its way: the steps so far
    Composite   a function of single entries that is none of fastnn's activations yet (functions.py)
    Pair        of one sigmoid p: the columns 1 - p, p
    Labels      what was decided from Rows
    Named       Rows or a Pair with the names of their columns
    Unknown     nothing that a sequential network has, and why: an error if the output needs it
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastnn.interop.steps import Step
from fastnn.onnx.file import FLOAT, as_array, onnx_package

BATCH = -(2**62)  # the number of rows, in shapes


class Refused(Exception):
    """Why a node cannot be taken."""


@dataclass(frozen=True)
class Rows:
    """The data, (first, *tail), of which fastnn sees rows of flat tails; None where unknown."""

    steps: tuple[Step, ...] = ()
    tail: tuple[int | None, ...] = (None,)
    first: int | None = None  # how many rows
    batch: bool = True  # or one row alone, without that axis
    columns: bool = False  # a sample a column: (*tail, first)
    either: bool = False  # nobody knows yet which: a matrix that comes in, its entries on their own
    dtype: np.dtype = FLOAT

    @property
    def rank(self) -> int:
        return len(self.tail) + self.batch

    @property
    def width(self) -> int | None:
        return None if None in self.tail else math.prod(self.tail)  # type: ignore[arg-type]

    @property
    def layout(self) -> tuple[Any, ...]:
        return self.tail, self.first, self.batch, self.columns

    def then(self, *steps: Step) -> Rows:
        return replace(self, steps=self.steps + steps)

    def shaped(self, *tail: int | None) -> Rows:
        return replace(self, tail=tail, either=False)

    def __str__(self) -> str:
        sizes = ["?" if n is None else str(n) for n in self.tail]
        sizes = [*sizes, "batch"] if self.columns else ["batch"] * self.batch + sizes
        return f"({', '.join(sizes)})"


@dataclass(frozen=True)
class Pair:
    rows: Rows


@dataclass(frozen=True)
class Labels:
    rows: Rows
    classes: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Named:
    value: Rows | Pair
    classes: tuple[Any, ...]


@dataclass(frozen=True)
class Unknown:
    why: str


def same(a: tuple[Step, ...], b: tuple[Step, ...]) -> bool:
    """Whether these are one and the same steps."""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def domain_of(node: Any) -> str:
    """Of a node or function; "" of ONNX's own operators."""
    return "" if node.domain == "ai.onnx" else node.domain


class Node:
    """A node with its inputs' values."""

    def __init__(self, node: Any, where: str, inputs: list[Any], version: int) -> None:
        self.op, self.domain, self.where = node.op_type, domain_of(node), where
        self.inputs, self.version = inputs, version  # of the opset
        self._attributes = {one.name: one for one in node.attribute}

    def attribute(self, name: str, default: Any = None, kind: type | None = None) -> Any:
        """Its value, of `kind` or that of the default."""
        if name not in self._attributes:
            return default
        attribute = self._attributes[name]
        if attribute.type == attribute.TENSOR:
            value = as_array(attribute.t, f"attribute {name}")
        else:
            value = onnx_package().helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        kind = kind or (None if default is None else type(default))
        if kind is not None and not isinstance(value, kind):
            raise Refused(f"attribute {name} must be of type {kind.__name__}, got {value!r:.50}")
        return value

    def input(self, i: int) -> Any:
        return self.inputs[i] if i < len(self.inputs) else None

    def labels(self, i: int) -> Labels:
        value = self.input(i)
        if not isinstance(value, Labels):
            raise Refused(f"its input {i + 1} must be labels")
        return value

    def axes(self, i: int = 1) -> list[int] | None:
        """Axes, an attribute of old and an input of new opsets."""
        axes: list[int] | None = self.attribute("axes", kind=list)
        if axes is None and self.input(i) is not None:
            axes = self.integers(i)
        return axes

    def constant(self, i: int) -> np.ndarray:
        value = self.input(i)
        if not isinstance(value, np.ndarray):
            raise Refused(f"its input {i + 1} must be a constant")
        return value

    def integers(self, i: int) -> list[int]:
        """A constant of whole numbers, such as a shape."""
        value = self.constant(i)
        if value.dtype.kind not in "iu" or value.ndim > 1:
            shown = f"{value.dtype} of shape {value.shape}"
            raise Refused(f"its input {i + 1} must be a list of integers, got {shown}")
        integers: list[int] = np.atleast_1d(value).tolist()
        return integers

    def number(self, i: int, default: float) -> float:
        """A constant of one entry."""
        if self.input(i) is None:
            return default
        value = self.constant(i)
        if value.size != 1 or value.dtype.kind not in "buif":
            shown = f"{value.dtype} of shape {value.shape}"
            raise Refused(f"its input {i + 1} must be one number, got {shown}")
        return float(value.reshape(()))
