"""Callbacks: what is done before and after a fit's epochs. When each is called: fit.py."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import as_bool, as_int, as_name, as_real
from fastnn.errors import MissingExtraError, optional
from fastnn.files.atomic import replacing
from fastnn.network.arrays import Features, as_pair
from fastnn.network.parameters import views
from fastnn.training.fit import Callback, Fit, Snapshot
from fastnn.training.history import GRADIENT
from fastnn.training.metrics import better_is

if TYPE_CHECKING:
    from typing import TextIO


class LambdaCallback(Callback):
    """A callback from functions.

    Parameters
    ----------
    on_fit_begin, on_epoch_begin, on_epoch_end, on_fit_end : function of a Fit, optional

    Examples
    --------
    >>> import fastnn
    >>> loud = fastnn.LambdaCallback(on_epoch_end=lambda fit: print("epoch", fit.epoch))
    >>> model = fastnn.Model([1, 1], output="identity", seed=0)
    >>> history = model.fit([[0.0], [1.0]], [0.0, 2.0], epochs=2, callbacks=[loud])
    epoch 1
    epoch 2
    """

    def __init__(
        self,
        on_fit_begin: Callable[[Fit], Any] | None = None,
        on_epoch_begin: Callable[[Fit], Any] | None = None,
        on_epoch_end: Callable[[Fit], Any] | None = None,
        on_fit_end: Callable[[Fit], Any] | None = None,
    ) -> None:
        given = {
            "on_fit_begin": on_fit_begin,
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_fit_end": on_fit_end,
        }
        for name, function in given.items():
            if function is not None:
                if not callable(function):
                    raise TypeError(f"{name} must be a function, got {function!r}")
                setattr(self, name, function)


class _Monitor:
    """Whether a column of the history is better than it has ever been."""

    def __init__(self, owner: str, column: str, mode: Any, min_delta: float = 0.0) -> None:
        if not isinstance(column, str):
            raise TypeError(f"monitor must be the name of a column, got {column!r}")
        mode = better_is(column) if mode is None else as_name("mode", mode, ("min", "max"))
        if mode is None:
            raise ValueError(f"{owner} needs mode='min' or mode='max' for {column!r}")
        self.owner, self.column, self.min_delta = owner, column, min_delta
        self.sign = -1.0 if mode == "min" else 1.0
        self.best: float | None = None

    def begin(self, fit: Fit) -> None:
        self.best = None
        if self.column.startswith("val_") and self.column not in fit.measured:
            raise ValueError(
                f"{self.owner} watches {self.column!r}; this fit measures "
                f"{', '.join(fit.measured)} (validation_data, validation_split and metrics add to "
                "them)"
            )

    def improved(self, fit: Fit) -> bool:
        columns = fit.history.columns()
        if self.column not in columns:
            raise ValueError(
                f"{self.owner} watches {self.column!r}; the history has {', '.join(columns)}"
            )
        value = columns[self.column][-1]
        if not math.isfinite(value):
            return False
        if self.best is not None and not self.sign * (value - self.best) > self.min_delta:
            return False
        self.best = value
        return True

    def as_good(self, fit: Fit) -> bool:
        """Whether the column is what it was at its best."""
        return fit.history.columns()[self.column][-1] == self.best


class EarlyStopping(Callback):
    """Stop when a column of the history has not become better for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The column.
    patience : int or None, default 5
        Epochs without a better value, at least 1, after which the fit stops. None: never, so that
        it but keeps the best epoch.
    min_delta : float, default 0.0
        A value counts as better only if it is so by more than this.
    mode : {"min", "max"}, optional
        Which values are better. By default as it is for the loss and the metrics that fastnn
        knows; for others it must be given.
    restore_best : bool, default True
        At the end the model becomes what it was when its best value was measured: weights,
        optimizer's state and number of steps (epochs go on being numbered as before), also where
        all epochs were run. Of what is measured after an epoch, such as val_loss, that is after the
        best epoch; the training loss is of the weights before each step, so of "loss" it is before
        the best epoch. Not where the fit ended with an error. Costs a copy of them after each
        better epoch; of "loss" before each epoch.
    ties : {"first", "last"}, default "first"
        Which of several epochs with the best value is taken for the best. The first of them is
        where patience begins either way.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int or None
        Number of its epoch.
    stopped_epoch : int or None
        Number of the epoch after which it stopped the fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> early = fastnn.EarlyStopping(patience=2)
    >>> _ = model.fit(X, y, epochs=50, validation_data=(X, 1 - y), callbacks=[early])
    >>> early.best_epoch
    1
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int | None = 5,
        min_delta: float = 0.0,
        mode: str | None = None,
        restore_best: bool = True,
        ties: str = "first",
    ) -> None:
        self.patience: int | None = None if patience is None else as_int("patience", patience, 1)
        self.restore_best: bool = as_bool("restore_best", restore_best)
        self.ties: str = as_name("ties", ties, ("first", "last"))
        self._monitor = _Monitor("EarlyStopping", monitor, mode, as_real("min_delta", min_delta))
        self._reset()

    def _reset(self) -> None:
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._fit: Fit | None = None  # while it runs
        self._before: Snapshot | None = None  # of the epoch under way, where its column lags
        self._best: Snapshot | None = None

    @property
    def best(self) -> float | None:
        return self._monitor.best

    def on_fit_begin(self, fit: Fit) -> None:
        self._monitor.begin(fit)
        self._reset()
        self._fit = fit

    def on_epoch_begin(self, fit: Fit) -> None:
        if self.restore_best and self._monitor.column in fit.lagging:
            self._before = fit.snapshot()

    def on_epoch_end(self, fit: Fit) -> None:
        better = self._monitor.improved(fit)
        if better or (self.ties == "last" and self._monitor.as_good(fit)):
            self.best_epoch = fit.epoch
            if self.restore_best:
                self._best = self._before or fit.snapshot()
        self._waited = 0 if better else self._waited + 1
        if self.patience is not None and self._waited >= self.patience:
            self.stopped_epoch = fit.epoch
            fit.stop()

    def on_fit_end(self, fit: Fit) -> None:
        if fit.error is None and self._best is not None:
            fit.restore(self._best)
        self._fit = self._before = self._best = None

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "waited": self._waited,
            "steps": 0,
        }
        if (best := self._best) is not None:
            state |= {"steps": best.steps, "theta": best.theta}
            state |= {"optimizer": best.state, "statistics": best.statistics}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        self._monitor.best = _or_none(as_real, "best", state["best"], -math.inf)
        self.best_epoch = _or_none(as_int, "best_epoch", state["best_epoch"], 0)
        self.stopped_epoch = _or_none(as_int, "stopped_epoch", state["stopped_epoch"], 0)
        self._waited = as_int("waited", state["waited"], 0)
        if self.restore_best and "theta" in state:
            assert self._fit is not None
            none = np.empty(0, state["theta"].dtype)  # files from before statistics
            self._best = Snapshot(
                as_int("steps", state["steps"], 0),
                state["theta"],
                state["optimizer"],
                state.get("statistics", none),
            )
            self._fit.check(self._best)


class Checkpoint(Callback):
    """Write a checkpoint, which ``fit(..., resume=path)`` goes on from, as epochs end.

    It is a model file that `fastnn.load` reads too. A file takes the place of the one before it
    when it is whole and on disk, never earlier.

    Parameters
    ----------
    path : path
    every : int, default 1
        Write after every so many epochs of the fit, and after its last one, whichever callback ends
        it.
    monitor : str, default "val_loss"
        With best_only: the column of the history that tells.
    best_only : bool, default False
        Write only where the column is better than it was after every epoch looked at before.
    mode : {"min", "max"}, optional
        As of `EarlyStopping`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> checkpoint = fastnn.Checkpoint("net.safetensors")
    >>> _ = model.fit(X, y, epochs=2, callbacks=[checkpoint])
    >>> resumed = fastnn.load("net.safetensors")
    >>> history = resumed.fit(X, y, epochs=3, callbacks=[checkpoint], resume="net.safetensors")
    >>> history.epoch
    [1, 2, 3]
    """

    def __init__(
        self,
        path: str | PathLike[str],
        every: int = 1,
        monitor: str | None = None,
        best_only: bool = False,
        mode: str | None = None,
    ) -> None:
        self.path: str = os.fspath(path)
        self.every: int = as_int("every", every, 1)
        self._monitor = None
        if as_bool("best_only", best_only):
            self._monitor = _Monitor("Checkpoint", monitor or "val_loss", mode)
        elif monitor is not None or mode is not None:
            raise ValueError("monitor and mode must come with best_only=True")

    def on_fit_begin(self, fit: Fit) -> None:
        _check_folder("Checkpoint", self.path)
        if self._monitor is not None:
            self._monitor.begin(fit)

    def on_epoch_end(self, fit: Fit) -> None:
        fit.save(self.path, when=self._due)

    def _due(self, fit: Fit) -> bool:
        if len(fit.history) % self.every and not fit.done:
            return False
        return self._monitor is None or self._monitor.improved(fit)

    def state(self) -> dict[str, Any]:
        return {"best": self._monitor.best if self._monitor else None}

    def restore(self, state: dict[str, Any]) -> None:
        if self._monitor is not None:
            self._monitor.best = _or_none(as_real, "best", state["best"], -math.inf)


def _check_folder(owner: str, path: str) -> None:
    """Where a file is to be written; better missed as the fit begins than after an epoch."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{owner}: no such folder: {folder}")


def _or_none(check: Callable[..., Any], name: str, value: Any, minimum: float) -> Any:
    return None if value is None else check(name, value, minimum)


class ProgressBar(Callback):
    """A tqdm bar over the epochs, in a notebook as a widget, with the history's last row beside it.

    Raises
    ------
    MissingExtraError
        Without the library tqdm. ``verbose=True`` needs none.

    Examples
    --------
    >>> import numpy as np
    >>> import tqdm
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> _ = model.fit(X, y, epochs=2, callbacks=[fastnn.ProgressBar()])
    """

    def __init__(self) -> None:
        self._tqdm = optional("tqdm.auto", "ProgressBar").tqdm
        self._bar: Any = None

    def on_fit_begin(self, fit: Fit) -> None:
        self._bar = self._tqdm(total=fit.epochs, initial=len(fit.history), unit="epoch")

    def on_epoch_end(self, fit: Fit) -> None:
        row = {k: f"{v[-1]:.4g}" for k, v in fit.history.columns().items() if k != "epoch"}
        self._bar.set_postfix(row, refresh=False)
        self._bar.update()

    def on_fit_end(self, fit: Fit) -> None:
        self._bar.close()


class CSVLogger(Callback):
    """Write the history to a CSV file, a line as each epoch ends.

    The file begins anew with each fit: the one before stays until the first epoch has ended. A
    resumed fit writes the epochs done before, too. Columns are those of the first epoch, without
    what callbacks that come later in the list add.

    Parameters
    ----------
    path : path

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> _ = model.fit(X, y, epochs=2, callbacks=[fastnn.CSVLogger("log.csv")])
    >>> Path("log.csv").read_text().split()[0]
    'epoch,loss,learning_rate,seconds'
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path: str = os.fspath(path)
        self._file: TextIO | None = None
        self._columns: list[str] = []

    def on_fit_begin(self, fit: Fit) -> None:
        self._columns = []
        _check_folder("CSVLogger", self.path)
        if os.path.exists(self.path):  # may it be written?
            open(self.path, "a").close()

    def on_epoch_end(self, fit: Fit) -> None:
        columns = fit.history.columns()
        if self._file is not None:
            self._write(self._file, self._row(columns, -1))
            return
        self._columns = list(columns)
        text = ",".join(self._columns) + "\n"
        text += "".join(self._row(columns, i) for i in range(len(fit.history)))
        if os.path.exists(self.path) and not os.path.isfile(self.path):  # a device
            self._write(open(self.path, "w", encoding="utf-8", newline=""), text)
            return
        with replacing(self.path) as file:
            file.write(text.encode())
        self._file = open(self.path, "a", encoding="utf-8", newline="")

    def _row(self, columns: dict[str, list[float]], i: int) -> str:
        return ",".join(repr(columns[name][i]) for name in self._columns) + "\n"

    def _write(self, file: TextIO, text: str) -> None:
        self._file = file
        try:
            file.write(text)
            file.flush()
        except OSError as error:  # of a full disk, say, which names no file
            with suppress(OSError):  # which closing meets again
                file.close()
            self._file = None
            raise OSError(error.errno, error.strerror, self.path) from None

    def on_fit_end(self, fit: Fit) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


class TensorBoard(Callback):
    """Write the history's columns as scalars for TensorBoard, as each epoch ends.

    Parameters
    ----------
    folder : path
        Where its event files go.

    Raises
    ------
    MissingExtraError
        With neither tensorboardX nor PyTorch's torch.utils.tensorboard to write them.

    Examples
    --------
    >>> import numpy as np
    >>> import tensorboardX
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> _ = model.fit(X, y, epochs=2, callbacks=[fastnn.TensorBoard("runs")])
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder: str = os.fspath(folder)
        self._writer_type = _summary_writer()
        self._writer: Any = None

    def on_fit_begin(self, fit: Fit) -> None:
        # Steps that the file has from here on are those of a run that was killed.
        self._writer = self._writer_type(self.folder, purge_step=fit.epoch + 1)

    def on_epoch_end(self, fit: Fit) -> None:
        for name, values in fit.history.columns().items():
            if name != "epoch":
                self._writer.add_scalar(name, values[-1], fit.epoch)
        self._writer.flush()

    def on_fit_end(self, fit: Fit) -> None:
        self._writer.close()


def _summary_writer() -> Any:
    try:
        return optional("tensorboardX", "TensorBoard").SummaryWriter
    except MissingExtraError:
        with suppress(ImportError):
            return import_module("torch.utils.tensorboard").SummaryWriter
        raise


class GradientNorms(Callback):
    """Note the Euclidean norm of each layer's dL/dW on some rows as each epoch ends.

    Columns gradient_norm_1, ... of the history; `History.plot_gradients` draws them.

    Parameters
    ----------
    X, y : array
        The rows, as of `fit`, read as it begins. Each epoch costs one forward and backward pass
        over them and a gradient vector: a few hundred rows will do.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=2, callbacks=[fastnn.GradientNorms(X, y)])
    >>> [name for name in history.keys() if "norm" in name]
    ['gradient_norm_1', 'gradient_norm_2']
    """

    def __init__(self, X: Any, y: Any) -> None:
        self.X = X
        self.y = y
        self._pair: tuple[Features, np.ndarray] | None = None  # as the engine takes them

    def on_fit_begin(self, fit: Fit) -> None:
        model = fit.model
        X, y = model._encoded(self.X, self.y)
        self._pair = as_pair(X, y, model._network)

    def on_epoch_end(self, fit: Fit) -> None:
        assert self._pair is not None
        _, gradient = fit.model._gradient(*self._pair)
        W, _ = views(fit.model._network, gradient)
        norms = [math.sqrt(np.square(grad, dtype=np.float64).sum()) for grad in W]
        fit.log(**{f"{GRADIENT}{k}": norm for k, norm in enumerate(norms, 1)})

    def on_fit_end(self, fit: Fit) -> None:
        self._pair = None
