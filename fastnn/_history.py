"""What a fit has seen: losses, scores and times of its epochs."""

from __future__ import annotations

from os import PathLike
from typing import Any

from fastnn._errors import MissingExtraError


class History:
    """One entry per epoch of a fit; print it for a table.

    Attributes
    ----------
    epoch : list of int
        Numbers of the epochs, going on from the fit before.
    loss : list of float
        Mean over the epoch's samples of the loss each mini-batch had before its step.
    val_loss, val_accuracy, val_r2, val_d2 : list of float
        On the validation data after the epoch; empty without them. Accuracy of softmax and
        sigmoid outputs and of hinge, d2 of quantiles, r2 of others.
    seconds : list of float
        What each epoch took, its validation included.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.loss: list[float] = []
        self.val_loss: list[float] = []
        self.val_accuracy: list[float] = []
        self.val_r2: list[float] = []
        self.val_d2: list[float] = []
        self.seconds: list[float] = []

    def append(self, epoch: int, loss: float, validation: dict[str, float], seconds: float) -> None:
        """Add an epoch; validation is what evaluate returns, or empty."""
        self.epoch.append(epoch)
        self.loss.append(loss)
        for name, value in validation.items():
            getattr(self, f"val_{name}").append(value)
        self.seconds.append(seconds)

    def columns(self) -> dict[str, list[Any]]:
        """The lists that are not empty, by name."""
        return {name: values for name, values in vars(self).items() if values}

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        columns = self.columns()
        if not columns:
            return "History of no epochs"
        header = "".join(f"{name:>13}" for name in columns)
        rows = zip(*columns.values(), strict=True)
        return "\n".join([header, *("".join(f"{_text(v):>13}" for v in row) for row in rows)])

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the learning curves.

        Parameters
        ----------
        path : path, optional
            Where to save the picture; its ending chooses the format.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingExtraError
            Without matplotlib, which comes with the extra ``plot``.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingExtraError(
                "History.plot needs matplotlib: pip install 'fastnn[plot]'"
            ) from None
        scores = ("val_accuracy", "val_r2", "val_d2")
        score = next((name for name in scores if getattr(self, name)), "val_r2")
        panels = [["loss", "val_loss"]] + ([[score]] if getattr(self, score) else [])
        figure = Figure(figsize=(5 * len(panels), 3.5), layout="constrained")
        for axes, names in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            for name in names:
                if getattr(self, name):
                    axes.plot(self.epoch, getattr(self, name), marker=".", label=name)
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
