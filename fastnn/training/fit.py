"""A fit under way: what callbacks see of it, when they are told, and what a checkpoint holds.

on_fit_begin                      of each callback, in the order given
  on_epoch_begin                  before an epoch's first step
  (the epoch; validation; its row in the history)
  on_epoch_end                    then the files that fit.save asked for are written
on_fit_end                        of each whose on_fit_begin returned, whatever happened
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.network.parameters import Parameters
from fastnn.training.history import History
from fastnn.values import Value

if TYPE_CHECKING:
    from fastnn.files.model import Loaded


class Callback:
    """What may be done at the turning points of a fit; derive from it, and override what you need.

    Each method gets the `Fit` under way: ``fit.model``, ``fit.epoch``, ``fit.history``,
    ``fit.stop()``, ``fit.log(name=value)``, ``fit.save(path)``, ``fit.snapshot()``. Callbacks are
    called in the order of fit's argument. One that raises ends the fit: the model stands at the
    last whole step, and the error goes on to who called `fit`. on_fit_end is called like a
    ``finally``: of each callback whose on_fit_begin returned, whatever happened since
    (``fit.error`` tells).

    A callback that must remember something for a resumed fit to go on exactly overrides `state`
    and `restore`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> class Epochs(fastnn.Callback):
    ...     def on_epoch_end(self, fit):
    ...         print(fit.epoch)
    >>> _ = model.fit(X, y, epochs=2, callbacks=[Epochs()])
    1
    2
    """

    def on_fit_begin(self, fit: Fit) -> None:
        """Before the first epoch. Of a resumed fit, ``fit.history`` has the epochs done."""

    def on_epoch_begin(self, fit: Fit) -> None:
        """Before the first step of epoch ``fit.epoch``."""

    def on_epoch_end(self, fit: Fit) -> None:
        """After an epoch and its validation; ``fit.history`` has its row."""

    def on_fit_end(self, fit: Fit) -> None:
        """After the last epoch, or after an error."""

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint keeps: values that JSON can hold, and float arrays."""
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Become what returned `state`; called after on_fit_begin of a resumed fit."""


class Snapshot(Value, eq=False):
    """What training has made of a model at one moment, copied; `Fit.snapshot` takes it.

    Attributes
    ----------
    steps : int
        Steps of its optimizer by then.
    theta : array, (n_parameters,)
        Weights, as of `Model.theta`.
    state : array, (n_vectors, n_parameters)
        The optimizer's vectors.
    statistics : array
        Batch normalisation's running means and variances.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> taken = []
    >>> note = fastnn.LambdaCallback(on_epoch_end=lambda fit: taken.append(fit.snapshot()))
    >>> _ = model.fit(X, y, epochs=2, callbacks=[note])
    >>> bool((taken[1].theta == model.theta).all())
    True
    """

    steps: int
    theta: np.ndarray
    state: np.ndarray
    statistics: np.ndarray


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
    lagging : frozenset of str
        Those among them that are measured while an epoch trains, on the weights before each step:
        loss, but of L-BFGS none.
    error : BaseException or None
        In on_fit_end: what ended the fit, None if nothing went wrong.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> def stop(fit):
    ...     if fit.history.loss[-1] < 0.6:
    ...         fit.stop()
    >>> history = model.fit(X, y, epochs=1000, callbacks=[fastnn.LambdaCallback(on_epoch_end=stop)])
    >>> len(history.loss) < 1000
    True
    """

    def __init__(
        self,
        model: Any,
        epochs: int,
        callbacks: Sequence[Callback],
        measured: list[str],
        settings: Mapping[str, Any],
        lagging: frozenset[str] = frozenset({"loss"}),
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.measured = measured
        self.lagging = lagging
        self.epoch: int = model._parameters.epoch
        self.seed: int = model.seed  # before a checkpoint's
        self.history: History = History()
        self.error: BaseException | None = None
        self.stopped: bool = False
        self._callbacks = callbacks
        self._settings = settings
        self._states: list[Any] | None = None  # of the callbacks, from a checkpoint
        self.schedule: Any = None  # state of the learning rate's schedule
        # The files asked for in on_epoch_end, each with the question whether it is due.
        self._files: list[tuple[str | PathLike[str], Callable[[Fit], bool] | None]] | None = None

    def stop(self) -> None:
        """End the fit after this epoch."""
        self.stopped = True

    def log(self, **values: float) -> None:
        """Put values into the history's row of the epoch that has just ended."""
        self.history.set(**{name: float(value) for name, value in values.items()})

    def save(
        self, path: str | PathLike[str], when: Callable[[Fit], bool] | None = None
    ) -> None:
        """Write a checkpoint to `path` once all callbacks have seen this epoch's end.

        A model file, as of `Model.save`, that also holds what ``fit(..., resume=path)`` needs. For
        on_epoch_end alone.

        Parameters
        ----------
        path : path
        when : function of the Fit, optional
            Asked once all callbacks have seen the epoch's end, when ``fit.done`` is certain:
            whether to write.
        """
        if self._files is None:
            raise RuntimeError("fit.save is for on_epoch_end; elsewhere use fit.model.save")
        self._files.append((path, when))

    def snapshot(self) -> Snapshot:
        """A copy of what training has made of the model so far, for `restore`."""
        parameters: Parameters = self.model._parameters
        return Snapshot(*parameters.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Give the model a snapshot's weights, optimizer's vectors with their number of steps, and
        running statistics, copied. Epochs, and what dropout draws, go on being counted."""
        self.check(snapshot)
        parameters: Parameters = self.model._parameters
        parameters.write(snapshot.theta, snapshot.state, snapshot.statistics, snapshot.steps)

    def check(self, snapshot: Snapshot) -> None:
        """Refuse a snapshot of another network or optimizer."""
        parameters: Parameters = self.model._parameters
        dtype = np.dtype(parameters.network.dtype)
        for name, shape in parameters.shapes.items():
            came = getattr(snapshot, name)
            if came.shape != shape or came.dtype != dtype:
                raise ValueError(
                    f"{name} of a snapshot must be {dtype} of shape {shape} as in this fit, "
                    f"got {came.dtype} of shape {came.shape}"
                )

    @property
    def done(self) -> bool:
        """Whether no epoch follows: all were run, or a callback has said `stop`."""
        return self.stopped or len(self.history) >= self.epochs

    # What the loop calls

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
            for callback, state in zip(stateful(self._callbacks), self._states or (), strict=False):
                if state is not None:
                    _restore(callback, state)
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
        self._files = []
        try:
            for callback in self._callbacks:
                callback.on_epoch_end(self)
            due = [path for path, when in self._files if when is None or when(self)]
            for path in due:  # which callbacks will remember is settled
                self._write(path)
        finally:
            self._files = None

    # Checkpoints

    def _write(self, path: str | PathLike[str]) -> None:
        from fastnn.files import model as storage  # here: json makes an import slower

        checkpoint = storage.FitState(
            settings=dict(self._settings),
            stopped=self.stopped,
            schedule=self.schedule,
            history=self.history.columns(),
            callbacks=[(type(c).__name__, c.state()) for c in stateful(self._callbacks)],
        )
        model = self.model
        storage.save(path, model._parameters, model.seed, model.metadata, checkpoint)

    def resume(self, loaded: Loaded) -> None:
        """Make the model what it was at the checkpoint and go on from there."""
        checkpoint = loaded.checkpoint
        assert checkpoint is not None
        self.model._parameters.restore(loaded.parameters)
        self.model.seed = loaded.seed
        self.epoch = loaded.parameters.epoch
        self.history = History(checkpoint.history)
        self.stopped = checkpoint.stopped
        self._states = [state for _, state in checkpoint.callbacks]
        self.schedule = checkpoint.schedule


def stateful(callbacks: Sequence[Callback]) -> list[Callback]:
    """Those that keep a state in checkpoints."""
    return [one for one in callbacks if type(one).state is not Callback.state]


def _restore(callback: Callback, state: dict[str, Any]) -> None:
    try:
        callback.restore(state)
    except Exception as error:  # whatever a callback makes of a state that is not its own
        name = type(callback).__name__
        raise ValueError(
            f"resume: {name} cannot go on from what the checkpoint keeps of it: {error!r}"
        ) from error
