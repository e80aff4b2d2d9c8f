"""What a fit has seen: its epochs as the rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from os import PathLike
from typing import Any

from fastnn.errors import optional

GRADIENT = "gradient_norm_"  # begins the columns that GradientNorms adds, one for each layer


class History:
    """A table with one row for each epoch of a fit; print it, or let a notebook draw its curves.

    Each column is an attribute and an item, a list: ``history.loss``, ``history["loss"]``. An epoch
    for which a column has no value has NaN there. ``pandas.DataFrame(history)`` is the table, and
    ``polars.DataFrame(dict(history))`` too; to iterate gives its rows, dicts.

    Attributes
    ----------
    epoch : list of int
        Numbers of the epochs, going on from the fit before.
    loss : list of float
        Mean over the epoch's samples of the loss each mini-batch had before its step.
    val_loss, val_... : list of float
        Loss and metrics on the validation data after the epoch.
    learning_rate : list of float
        Of the epoch's last step.
    seconds : list of float
        What each epoch took, its validation included, callbacks not.

    Notes
    -----
    Further columns are what callbacks added by ``fit.log``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=2)
    >>> list(history.keys())
    ['epoch', 'loss', 'learning_rate', 'seconds']
    >>> history.loss == history["loss"]
    True
    """

    def __init__(self, columns: dict[str, list[float]] | None = None) -> None:
        self._columns = {name: list(values) for name, values in (columns or {}).items()}

    def append(self, **row: float) -> None:
        """Add an epoch; an interrupt adds none."""
        before = len(self)
        try:
            for name in row:
                if name not in self._columns:
                    self._columns[name] = [math.nan] * before
            for name, values in self._columns.items():
                values.append(row.get(name, math.nan))
        except BaseException:
            for values in self._columns.values():
                del values[before:]
            raise

    def set(self, **values: float) -> None:
        """Put values into the last epoch's row."""
        for name, value in values.items():
            self._columns.setdefault(name, [math.nan] * len(self))[-1] = value

    def columns(self) -> dict[str, list[float]]:
        """The columns by name."""
        return dict(self._columns)

    def keys(self) -> list[str]:
        """Names of the columns: with it ``dict(history)`` is `columns`."""
        return list(self._columns)

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._columns[name]
        except (KeyError, TypeError):
            raise KeyError(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[dict[str, float]]:
        for values in zip(*self._columns.values(), strict=True):
            yield dict(zip(self._columns, values, strict=True))

    def __getattr__(self, name: str) -> list[float]:
        if name.startswith("_"):  # a copy asks before there are columns
            raise AttributeError(name)
        try:
            return self._columns[name]
        except KeyError:
            raise AttributeError(self._unknown(name)) from None

    def _unknown(self, name: Any) -> str:
        known = ", ".join(self._columns) or "no columns yet"
        return f"history has no column {name!r}; it has {known}"

    def __len__(self) -> int:
        return len(self._columns.get("epoch", ()))

    def __repr__(self) -> str:
        if not len(self):
            return "History of no epochs"
        columns = [[name, *map(_text, values)] for name, values in self._columns.items()]
        widths = [max(13, *(len(text) + 2 for text in column)) for column in columns]
        rows = zip(*columns, strict=True)
        return "\n".join("".join(map(str.rjust, row, widths)) for row in rows)

    def _repr_html_(self) -> str:
        from fastnn.drawing.curves import history_card

        panels = {title: {name: name for name in names} for title, names in self._panels().items()}
        if norms := self._gradients():
            panels["norm of dL/dW"] = {f"layer {n.removeprefix(GRADIENT)}": n for n in norms}
        return history_card(self._columns, panels)

    def _panels(self) -> dict[str, list[str]]:
        """What is drawn together: a title, and the columns of training and validation."""
        panels: dict[str, list[str]] = {}
        for name, values in self._columns.items():
            if name in ("epoch", "seconds") or name.startswith(GRADIENT):
                continue
            if name != "learning_rate" or len(set(values)) > 1:
                panels.setdefault(name.removeprefix("val_"), []).append(name)
        if "learning_rate" in panels:
            panels["learning_rate"] = panels.pop("learning_rate")  # last
        return panels

    def _gradients(self) -> list[str]:
        """The columns of `GradientNorms`."""
        return [name for name in self._columns if name.startswith(GRADIENT)]

    def plot(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the learning curves: the loss, each metric, and the learning rate where it changes.

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
        panels = self._panels()
        columns = min(len(panels), 3)
        rows = -(-len(panels) // 3)
        figure = _figure("History.plot", 4.5 * max(columns, 1), 3.3 * max(rows, 1))
        for i, (title, names) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, columns, i + 1)
            for name in names:
                validation = name.startswith("val_")
                axes.plot(
                    *(self.epoch, self._columns[name]),
                    marker="." if len(self) < 50 else "",
                    color="tab:orange" if validation else "tab:blue",
                    label=name,
                )
            axes.set_title(title.replace("_", " "))
            _finish(axes)
        return _saved(figure, path)

    def plot_gradients(self, path: str | PathLike[str] | None = None) -> Any:
        """Draw the norm of each layer's gradient over the epochs, which `GradientNorms` noted.

        Parameters and errors are those of `plot`; ValueError where there are no such columns.
        """
        names = self._gradients()
        if not names:
            raise ValueError(
                "plot_gradients needs a fit with callbacks=[fastnn.GradientNorms(X, y)]"
            )
        figure = _figure("History.plot_gradients", 6, 3.8)
        from matplotlib import colormaps

        axes = figure.add_subplot()
        for i, name in reversed(list(enumerate(names))):  # the top layer above in the legend, too
            axes.plot(
                *(self.epoch, self._columns[name]),
                marker="." if len(self) < 50 else "",
                color=colormaps["viridis"](0.9 * i / max(len(names) - 1, 1)),
                label=f"layer {name.removeprefix(GRADIENT)}",
            )
        axes.set_yscale("log")
        axes.set_title("norm of dL/dW")
        _finish(axes)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return _saved(figure, path)


def _figure(what: str, width: float, height: float) -> Any:
    Figure = optional("matplotlib.figure", what).Figure
    return Figure(figsize=(width, height), layout="constrained")


def _finish(axes: Any) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend()


def _saved(figure: Any, path: str | PathLike[str] | None) -> Any:
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
