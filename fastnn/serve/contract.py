"""What a model reads and answers over HTTP: types made from its columns, JSON, OpenAPI.

{"row": ROW}             ->  {"model": VERSION, "prediction": ANSWER}
{"rows": [ROW, ...]}     ->  {"model": VERSION, "predictions": [ANSWER, ...]}

ROW      {name of a column: cell, ...}, or [number, ...] of a model whose columns have no names
ANSWER   {"class", "probabilities"} (of a hinge "scores"), {"value"}; of several outputs
         {"values"}, or {"classes", "probabilities"} with that of each target's second class
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypedDict, cast

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from fastnn.config import __version__
from fastnn.model import Model
from fastnn.network.losses import quantiles_of
from fastnn.saved import columns_of
from fastnn.tables.categories import Categorical, Ordered
from fastnn.tables.columns import Columns
from fastnn.tables.dates import Dates
from fastnn.tables.inputs import ArrayInputs, Kind, PlainInputs, TableInputs
from fastnn.tables.numbers import Numeric

MOST_TOLD = 50  # categories that a column's description names
# How far numbers may lie from 0, of learned columns in deviations from their mean: float32's sums
# overflow at 3e38.
FARTHEST = 1e30


class Problem(msgspec.Struct):
    """What must hold, and what came."""

    detail: str


class Health(msgspec.Struct):
    """model: version of the model that answers, from `loaded` (ISO 8601) on. problem: why the file
    as it is now does not."""

    status: Literal["ok"]
    model: str
    loaded: str
    problem: str | None


class Contract:
    """One model's.

    Parameters
    ----------
    model : Model or tabular estimator
        It must not change any more.
    version : str
        What answers call it.
    max_rows : int
    """

    def __init__(self, model: Any, version: str, max_rows: int) -> None:
        columns = columns_of(model)
        self._version = version
        self._rows = model.predictor(rows=True)
        answer, self._answers = answers_of(model, columns)
        row = row_type(columns)
        rows = list_of(row, most=max_rows)
        ways: list[Any] = [("row", row | UnsetType, UNSET), ("rows", rows | UnsetType, UNSET)]
        either = msgspec.defstruct("Either", ways, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(either).decode
        self._encode = msgspec.json.Encoder().encode
        named: Any = [("model", str)]
        self._types: tuple[Any, ...] = (
            msgspec.defstruct("OneRow", [("row", row)], forbid_unknown_fields=True),
            msgspec.defstruct("Rows", [("rows", rows)], forbid_unknown_fields=True),
            msgspec.defstruct("Prediction", [*named, ("prediction", answer)]),
            msgspec.defstruct("Predictions", [*named, ("predictions", list_of(answer))]),
            Problem,
            Health,
        )

    def answer(self, body: bytes) -> tuple[bytes, int]:
        """The answer's body, and how many rows it is of. ValueError: what must hold."""
        try:
            request: Any = self._decode(body)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"the body must be JSON: {error}") from None
        single = request.row is not UNSET
        if single == (request.rows is not UNSET):
            raise ValueError('the body must be either {"row": ...} or {"rows": [...]}')
        rows = [request.row] if single else request.rows
        answers = self.answers(rows) if rows else []
        told = {"prediction": answers[0]} if single else {"predictions": answers}
        return self._encode({"model": self._version} | told), len(answers)

    def answers(self, rows: Sequence[Any]) -> list[dict[str, Any]]:
        with np.errstate(over="ignore"):  # said below, or by the model
            f = self._rows(rows).reshape(len(rows), -1)
        if not np.isfinite(f).all():
            row = int(np.argmin(np.isfinite(f).all(1)))
            raise ValueError(f"row {row}: its numbers are too large, the prediction overflows")
        return self._answers(f)

    def openapi(self) -> bytes:
        """The OpenAPI document, as JSON."""
        refs, schemas = msgspec.json.schema_components(
            self._types, ref_template="#/components/schemas/{name}"
        )
        one, many, prediction, predictions, problem, health = refs

        def says(what: str, schema: Any, kind: str = "application/json") -> dict[str, Any]:
            return {"description": what, "content": {kind: {"schema": schema}}}

        def gets(summary: str, answer: dict[str, Any]) -> dict[str, Any]:
            return {"get": {"summary": summary, "responses": {"200": answer}}}

        predict = {
            "summary": "Predict a row, or rows",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"oneOf": [one, many]}}},
            },
            "responses": {
                "200": says("Of each row, in their order", {"oneOf": [prediction, predictions]}),
                "413": says("The body is too large", problem),
                "422": says("The body is not what it must be", problem),
            },
        }
        return self._encode(
            {
                "openapi": "3.1.0",
                "info": {"title": "fastnn", "version": __version__},
                "paths": {
                    "/predict": {"post": predict},
                    "/healthz": gets("Which model answers", says("It does", health)),
                    "/metrics": gets(
                        "Counts and times, for Prometheus",
                        says("In its text format", {"type": "string"}, "text/plain"),
                    ),
                    "/openapi.json": gets("This document", says("OpenAPI 3.1", {"type": "object"})),
                },
                "components": {"schemas": schemas},
            }
        )


def record(name: str, fields: dict[str, Any]) -> Any:
    """The type of a dict with these keys, of types."""
    made: Any = TypedDict
    return made(name, fields)


def list_of(kind: Any, least: int = 0, most: int | None = None) -> Any:
    made: Any = list
    return Annotated[made[kind], Meta(min_length=least, max_length=most)]


# --- rows


def row_type(columns: Columns) -> Any:
    inputs = columns.inputs
    if isinstance(inputs, TableInputs):
        refuses = inputs.missing == "refuse"
        return record("Row", {c.name: _cell_type(c, refuses) for c in inputs.columns})
    if isinstance(inputs, PlainInputs) and inputs.names:
        return record("Row", dict.fromkeys(inputs.names, number()))
    n = len(inputs.scale) if isinstance(inputs, ArrayInputs) else inputs.width
    cell = number()
    if isinstance(inputs, ArrayInputs) and inputs.missing != "refuse":
        cell |= None
    return list_of(cell, n, n)


def number(shift: float = 0.0, scale: float = 1.0) -> Any:
    farthest = FARTHEST * scale
    return Annotated[float, Meta(ge=shift - farthest, le=shift + farthest)]


def _cell_type(column: Kind, refuses: bool) -> Any:
    """refuses: whether missing cells are refused; elsewhere they are null."""
    cell: Any = float  # of logarithms none is too large
    if isinstance(column, Numeric) and column.floor is None:
        cell = number(column.shift, column.scale)
    elif isinstance(column, Dates):
        cell = Annotated[str | int, Meta(description="a date or time, such as 2026-01-31")]
    elif isinstance(column, Categorical | Ordered):
        known = [name for name in column.categories if name]
        told = ", ".join(known[:MOST_TOLD]) + (", ..." if len(known) > MOST_TOLD else "")
        what = f"one of {told}; others count as none of these"
        cell = Annotated[str | int | float | bool, Meta(description=what, examples=known[:1])]
    return cell if refuses else cell | None


# --- answers


def answers_of(model: Any, columns: Columns) -> tuple[Any, Callable[[np.ndarray], list[Any]]]:
    """The type of an answer, and what makes answers of outputs (n, n_outputs)."""
    names, targets = columns.class_names, columns.targets
    if names is not None:
        known = model.classes_ if hasattr(model, "classes_") else columns.decide(np.eye(len(names)))
        classes = known.tolist()
        certain = getattr(model, "output", "softmax") in ("softmax", "sigmoid")
        what = "probabilities" if certain else "scores"
        each = record(what.title(), dict.fromkeys(names, float))

        def of_classes(f: np.ndarray) -> list[Any]:
            return [
                {"class": classes[k], what: dict(zip(names, p, strict=True))}
                for k, p in zip(f.argmax(1).tolist(), f.tolist(), strict=True)
            ]

        return record("Answer", {"class": _one_of(classes), what: each}), of_classes
    outputs = columns.names
    if not columns.amounts:
        each = record("Probabilities", dict.fromkeys(outputs, float))
        pairs = [target.values.tolist() for target in targets]  # type: ignore[union-attr]
        said = {name: _one_of(pair) for name, pair in zip(outputs, pairs, strict=True)}
        answer: dict[str, Any] = {"classes": record("Classes", said), "probabilities": each}

        def of_labels(f: np.ndarray) -> list[Any]:
            told = []
            for p in f.tolist():
                chosen = [pair[one > 0.5] for pair, one in zip(pairs, p, strict=True)]
                named = dict(zip(outputs, chosen, strict=True))
                told.append({"classes": named, "probabilities": dict(zip(outputs, p, strict=True))})
            return told

        return record("Answer", answer), of_labels
    if isinstance(model, Model) and model._network.n_out > len(outputs):
        levels = quantiles_of(model._network.loss)
        outputs = [f"{name} {level:g}" for name in outputs for level in levels]
    if len(outputs) == 1:
        return record("Answer", {"value": float}), lambda f: [
            {"value": value} for value in f[:, 0].tolist()
        ]
    values = record("Values", dict.fromkeys(outputs, float))
    return record("Answer", {"values": values}), lambda f: [
        {"values": dict(zip(outputs, row, strict=True))} for row in f.tolist()
    ]


def _one_of(classes: list[Any]) -> Any:
    kind, literal = type(classes[0]), cast(Any, Literal)
    return literal[tuple(classes)] if kind in (str, int) else kind
