"""A model as a card in a notebook: its layers, how it was trained, its columns."""

from __future__ import annotations

from fastnn.checks import counted
from fastnn.drawing import page
from fastnn.drawing.card import card, folded
from fastnn.network.parameters import Parameters
from fastnn.network.summary import TEXTS, dtypes_of, layer_table
from fastnn.tables.columns import Columns

LINES = 8  # on columns that are shown without a click


def network_card(
    told: str, parameters: Parameters | None = None, columns: Columns | None = None
) -> str:
    """told: the model's repr. parameters: None where the first fit is to make the network."""
    if parameters is None:
        return card("Model", told)
    network = parameters.network
    sizes = "-".join(map(str, network.sizes))
    head, *rows = layer_table(network)
    rows[-1][0] = "all"
    facts = [
        ("output", f"{network.output}, {network.loss} loss, {dtypes_of(network)}"),
        ("trained", _trained(parameters)),
    ]
    more = [] if columns is None else columns.lines()
    if len(more) <= LINES:
        facts, more = facts + more, []
    return card(
        f"Model {sizes}",
        told,
        page.table(head, rows, "Layers", texts=TEXTS),
        page.facts(facts),
        folded("Columns", page.facts(more)) if more else "",
    )


def _trained(parameters: Parameters) -> str:
    if not parameters.trained:
        return "not yet"
    counts = {"epoch": parameters.epoch, "step": parameters.all_steps}
    told = [counted(n, what) for what, n in counts.items() if n]
    return f"{' and '.join(told)}, optimizer {parameters.optimizer}"
