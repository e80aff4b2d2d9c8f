"""A network whose ends are open: data will tell how many inputs and outputs it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastnn.checks import name_of
from fastnn.network.losses import as_loss
from fastnn.network.spec import NetworkSpec, as_network
from fastnn.tables.columns import Columns, PlainInputs, task_of
from fastnn.tables.targets import Amount, Classes


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
        amounts = self.task()["task"] == "regression"
        target = Amount("y") if amounts else Classes("y", ["0", "1"])
        self.network(Columns(PlainInputs(1), [target]))

    def task(self) -> dict[str, Any]:
        """What `fastnn.tables.learn` should know of it."""
        _, output, loss, *_ = self.rest
        loss = None if loss is None else as_loss(loss)
        counts = loss is not None and name_of(loss) == "poisson"
        return {"task": task_of(output, loss), "counts": counts or output == "exp"}
