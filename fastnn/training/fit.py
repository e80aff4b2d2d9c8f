"""A fit under way: what callbacks see of it, when they are told, and what a checkpoint holds.

on_fit_begin                      of each callback, in the order given
  on_epoch_begin                  before an epoch's first step
  (the epoch; validation; its row in the history)
  on_epoch_end                    then the files that fit.save asked for are written
on_fit_end                        of each whose on_fit_begin returned, whatever happened
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.files.model import Loaded
    from fastnn.model import Model
    from fastnn.training.callbacks import Callback


class Fit:
    """A fit under way, as its callbacks see it.

    Attributes
    ----------
    model : Model
        At an epoch's end with the weights as they stand then; weights that a callback sets there
        are those that training goes on from. A callback must not train it.
    epoch : int
        Number of the epoch under way or just ended, going on from the fit before, as in history.
    epochs : int
        How many this fit has in all.
    history : History
        One row for each epoch that has ended.
    measured : list of str
        Columns that fit itself will put into the history.
    error : BaseException or None
        In on_fit_end: what ended the fit, None if nothing went wrong.
    """

    def __init__(
        self,
        model: Model,
        epochs: int,
        callbacks: list[Callback],
        measured: list[str],
        settings: dict[str, Any],
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.measured = measured
        self.epoch = model._parameters.epoch
        self.history = History()
        self.error: BaseException | None = None
        self.stopped = False
        self._callbacks = callbacks
        self._settings = settings
        self._states: list[Any] | None = None  # of the callbacks, from a checkpoint
        self.schedule: Any = None  # state of the learning rate's schedule
        self._paths: list[str | PathLike[str]] | None = None  # asked for in on_epoch_end

    def stop(self) -> None:
        """End the fit after this epoch."""
        self.stopped = True

    def log(self, **values: float) -> None:
        """Put values into the history's row of the epoch that has just ended."""
        self.history.set(**{name: float(value) for name, value in values.items()})

    def save(self, path: str | PathLike[str]) -> None:
        """Write a checkpoint to `path` once all callbacks have seen this epoch's end.

        A model file, as of `Model.save`, that also holds what ``fit(..., resume=path)`` needs. For
        on_epoch_end alone.
        """
        if self._paths is None:
            raise RuntimeError("fit.save is for on_epoch_end; elsewhere use fit.model.save")
        self._paths.append(path)

    # What loop.py calls

    @property
    def done(self) -> bool:
        return self.stopped or len(self.history) >= self.epochs

    @property
    def resumed(self) -> bool:
        return self._states is not None

    @property
    def watched(self) -> bool:
        return bool(self._callbacks)

    @contextmanager
    def running(self) -> Iterator[None]:
        """From on_fit_begin to on_fit_end."""
        begun: list[Callback] = []
        try:
            for callback in self._callbacks:
                callback.on_fit_begin(self)
                begun.append(callback)
            for callback, state in zip(self._stateful(), self._states or (), strict=False):
                if state is not None:
                    callback.restore(state)
            yield
        except BaseException as error:
            self.error = error
            raise
        finally:
            with ExitStack() as ends:  # each runs even if another raises
                for callback in reversed(begun):
                    ends.callback(callback.on_fit_end, self)

    def epoch_begins(self, epoch: int) -> None:
        self.epoch = epoch
        for callback in self._callbacks:
            callback.on_epoch_begin(self)

    def epoch_ended(self) -> None:
        self._paths = []
        try:
            for callback in self._callbacks:
                callback.on_epoch_end(self)
            for path in self._paths:
                self._write(path)
        finally:
            self._paths = None

    # Checkpoints

    def _stateful(self) -> list[Callback]:
        from fastnn.training.callbacks import Callback

        return [c for c in self._callbacks if type(c).state is not Callback.state]

    def _write(self, path: str | PathLike[str]) -> None:
        from fastnn.files import model as storage

        checkpoint = storage.FitState(
            settings=self._settings,
            stopped=self.stopped,
            schedule=self.schedule,
            history=self.history.columns(),
            callbacks=[(type(c).__name__, c.state()) for c in self._stateful()],
        )
        model = self.model
        storage.save(path, model._parameters, model.seed, model.metadata, checkpoint)

    def resume(self, loaded: Loaded) -> None:
        """Make the model what it was at the checkpoint and go on from there; refuse a checkpoint
        of other settings."""
        checkpoint = loaded.checkpoint
        assert checkpoint is not None
        for name, came in self._settings.items():
            want = checkpoint.settings.get(name)
            if came != want:
                raise ValueError(
                    f"resume: {name} must be {want!r} as in the checkpoint, got {came!r}"
                )
        names = [name for name, _ in checkpoint.callbacks]
        mine = [type(callback).__name__ for callback in self._stateful()]
        if names != mine:
            raise ValueError(
                "resume: callbacks that keep a state must be those of the checkpoint, "
                f"{', '.join(names) or 'none'}, got {', '.join(mine) or 'none'}"
            )
        self.model._parameters.restore(loaded.parameters)
        self.model.seed = loaded.seed
        self.epoch = loaded.parameters.epoch
        self.history = History(checkpoint.history)
        self.stopped = checkpoint.stopped
        self._states = [state for _, state in checkpoint.callbacks]
        self.schedule = checkpoint.schedule


def described(value: Any) -> Any:
    """A setting as JSON can hold it: an object as its name and parameters."""
    if is_dataclass(value):
        parameters = {field.name: described(getattr(value, field.name)) for field in fields(value)}
        return {"name": type(value).__name__, **parameters}
    if isinstance(value, (list, tuple)):
        return [described(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)
