"""The layers of a network as a table: shapes, parameters and bytes."""

from __future__ import annotations

import numpy as np

from fastnn.network.activations import is_parametric, plain
from fastnn.network.spec import NetworkSpec

TEXTS = 2  # columns that are words, from the left; the others end where numbers do


def layer_table(network: NetworkSpec) -> list[list[str]]:
    """A head, a row for the input layer where there is one, a row for each layer, and the sums."""
    size = np.dtype(network.dtype).itemsize
    normalised = any(network.norm)
    parametric = any(map(is_parametric, network.activations))
    head = ["W", "b", *(["gamma"] * normalised), *(["alpha"] * parametric)]
    rows = [["layer", "activation", *head, "parameters", "bytes"]]
    if network.has_inputs:
        n = network.s.stop
        parts = [one.name for one in network.embeddings] + ["scale"] * network.feature_scale
        name = f"{', '.join(parts)}: {network.n_features} features"
        rows.append(["0", name, *("-" for _ in head), f"{n:,}", f"{n * size:,}"])
    for layer in network.layers:
        n, of_units = layer.stop - layer.start, f"({layer.n_out},)"
        name = str(plain(layer.activation))
        name = f"parametric {name}" if is_parametric(layer.activation) else name
        name = f"{layer.norm.name} norm, {name}" if layer.norm else name
        shapes = [f"({layer.n_out}, {layer.n_in})", of_units if layer.bias else "-"]
        shapes += [of_units if layer.norm else "-"] if normalised else []
        if parametric:
            shapes.append(of_units if is_parametric(layer.activation) else "-")
        rows.append([str(layer.k), name, *shapes, f"{n:,}", f"{n * size:,}"])
    n = network.n_parameters
    return [*rows, ["", "", *("" for _ in head), f"{n:,}", f"{n * size:,}"]]


def dtypes_of(network: NetworkSpec) -> str:
    """What its numbers are, in words."""
    return network.dtype + (", products of bfloat16" if network.bfloat16 else "")


def aligned(rows: list[list[str]]) -> list[str]:
    """Lines of a table, to be printed."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = list(zip(row, widths, strict=True))
        texts = [c.ljust(w) for c, w in cells[:TEXTS]] + [c.rjust(w) for c, w in cells[TEXTS:]]
        lines.append("  ".join(texts).rstrip())
    return lines
