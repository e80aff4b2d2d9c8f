"""fit_many: many networks in one call, one thread each, all on the same X."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from contextvars import copy_context
from os import PathLike
from typing import Any, Never

from fastnn.checks import as_bool, as_int, refuse_unknown
from fastnn.config import n_threads as bound_threads
from fastnn.config import threads
from fastnn.errors import DivergenceError
from fastnn.kernels._cpu import Cancel, check_cancel
from fastnn.model import Model
from fastnn.network.arrays import Once
from fastnn.network.parameters import Parameters
from fastnn.training import loop
from fastnn.training.fit import Callback
from fastnn.training.history import History
from fastnn.training.plan import Plan, warn_of_scale
from fastnn.training.progress import Member, ProgressOfMany

SETTINGS = dict(Model.fit.__kwdefaults__ or {})
del SETTINGS["verbose"]
POLL = 0.05  # seconds between two looks of the thread that waits


def fit_many(
    models: Sequence[Model],
    X: Any,
    y: Any,
    *,
    rows: Sequence[Any] | None = None,
    held_out: Sequence[Any] | None = None,
    n_threads: int | None = None,
    verbose: bool = False,
    **settings: Any,
) -> list[History]:
    """Train many networks on the same data, several at a time.

    Each becomes what its own `Model.fit` would make of it, to the bit, whatever `n_threads` is. One
    thread trains one network, which for small ones is what many cores are best used for.

    Parameters
    ----------
    models : list of Model
        K of them, of any widths, losses, seeds, ..., each once. Their sizes must be known: a model
        that is to learn columns takes ``columns=fastnn.tables.learn(X, y)``.
    X, y : array
        As of `Model.fit`, but no stream. All K share them: they are checked once for all networks
        that take them alike, and X is not copied.
    rows : list of K arrays of int, optional
        Numbers of the rows that each network is trained on, such as folds or bootstrap samples: in
        any order, and repeated where they are to count more than once. None in it: all rows.
    held_out : list of K arrays of int, optional
        The rows that each is measured on after each epoch, in place of validation_data.
    n_threads : int, optional
        At most so many; by default as of `Model`. Where there are fewer networks than threads, each
        gets an equal share of them.
    verbose : bool, default False
        Show progress on stderr: one bar for all.
    **settings
        What else `Model.fit` takes: a value for all networks, or a list of K values, one for each.
        callbacks, metrics and sample_weight, which may be lists by themselves, are so in a list of
        K lists; callbacks always, since one that is called for two fits at once would mix them up.

    Returns
    -------
    list of History
        In the order of the models.

    Raises
    ------
    DivergenceError, what a callback raises
        From the first of the networks that failed; the message, or a note at the exception, says
        which. The others are stopped, and all K models are as before the call.
    KeyboardInterrupt
        Within about 100 ms, unless a callback is at work. Those that had finished stay trained;
        those under way stand at their last whole step.
    ValueError, TypeError
        As of `Model.fit`, before any of the models has changed, and with the number of the first
        that is concerned.

    Notes
    -----
    Callbacks are called in the thread that trains their network. Each network's buffers are given
    back when it is done; what it was before is kept until all are. The largest begin first.

    Examples
    --------
    >>> import fastnn
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> models = [fastnn.Model([2, 8, 2], activation="tanh", seed=seed) for seed in range(3)]
    >>> histories = fastnn.fit_many(models, X, y, epochs=200, learning_rate=[0.1, 0.3, 0.5])
    >>> [len(history) for history in histories]
    [200, 200, 200]
    """
    models = _as_models(models)
    refuse_unknown("fit_many", settings, ("rows", "held_out", "n_threads", "verbose", *SETTINGS))
    given = {"rows": rows, "held_out": held_out, **SETTINGS, **settings}
    values = [_of_each(name, value, len(models)) for name, value in given.items()]
    if y is None:
        raise ValueError("y must be given: fit_many takes no stream")
    wanted = None if n_threads is None else as_int("n_threads", n_threads, 1)
    verbose = as_bool("verbose", verbose)
    once, plans = Once(), []
    with ExitStack() as stack:
        for i, (model, *its) in enumerate(zip(models, *values, strict=True)):
            own = dict(zip(given, its, strict=True))
            try:
                stack.enter_context(model._knowing(model._learned(X, y)))
                plans.append(model._plan(X, y, once, **own, verbose=False))
            except (TypeError, ValueError) as error:
                raise type(error)(f"models[{i}]: {error}") from None
        warn_of_scale(plans[0].X, models[0]._parameters)
        return _Fits(models, plans, bound_threads(wanted), verbose).run()


def _as_models(models: Any) -> list[Model]:
    if isinstance(models, Model) or not isinstance(models, (list, tuple)):
        raise TypeError(f"models must be a list of them, got {type(models).__name__}")
    if not models:
        raise ValueError("models must hold at least one model, got none")
    places: dict[int, int] = {}
    for i, model in enumerate(models):
        if not isinstance(model, Model):
            raise TypeError(f"models[{i}] must be a fastnn.Model, got {type(model).__name__}")
        if places.setdefault(id(model), i) != i:
            raise ValueError(f"models must differ, [{places[id(model)]}] and [{i}] are one")
        if model._open is not None:
            raise ValueError(
                f"models[{i}] must know its sizes, got {model._open.sizes}: "
                "Model(..., columns=fastnn.tables.learn(X, y)) does"
            )
        model._parameters.refuse_nested()
    return list(models)


def _of_each(name: str, given: Any, n: int) -> list[Any]:
    """A setting's values, one for each of n networks."""
    if not _is_list(name, given):
        if name == "resume" and n > 1 and isinstance(given, (str, PathLike)):
            raise ValueError(f"resume must be a list of {n} paths, a file each, got {given!r}")
        return [given] * n
    if len(given) != n:
        raise ValueError(f"{name} must hold a value for each of {n} models, got {len(given)}")
    if name == "callbacks":
        owners: dict[int, int] = {}
        for i, its in enumerate(given):
            for callback in its if isinstance(its, (list, tuple)) else ():
                if owners.setdefault(id(callback), i) != i:
                    kind = type(callback).__name__
                    raise ValueError(
                        f"each network must have callbacks of its own, got one {kind} for "
                        f"models[{owners[id(callback)]}] and models[{i}]"
                    )
    return list(given)


def _is_list(name: str, given: Any) -> bool:
    """Whether a setting is a list of values, one for each network, not one value for all."""
    if name in ("rows", "held_out", "callbacks"):
        if given is None:
            return False
        if not isinstance(given, (list, tuple)) or any(isinstance(one, Callback) for one in given):
            raise TypeError(f"{name} must be a list with a list for each model, got {given!r:.80}")
        return name != "callbacks" or len(given) > 0
    if name == "metrics":  # of which each is a list
        return _all_are(given, lambda one: isinstance(one, (list, tuple)))
    if name == "sample_weight":  # ... an array
        return _all_are(given, lambda one: hasattr(one, "__len__"))
    return isinstance(given, list)


def _all_are(given: Any, kind: Callable[[Any], bool]) -> bool:
    return isinstance(given, list) and all(one is None or kind(one) for one in given)


class _Fits:
    """The fits of `models` by their plans, each on its share of `n_threads` threads."""

    def __init__(
        self, models: list[Model], plans: list[Plan], n_threads: int, verbose: bool
    ) -> None:
        self.models, self.plans = models, plans
        self.workers = min(n_threads, len(models))
        self.share = n_threads // self.workers
        # What is trained by whom, and less of it: as callers see it, in a context each.
        self.contexts = [copy_context() for _ in models]
        work = [p.epochs * len(p.rows) * m.n_parameters for m, p in zip(models, plans, strict=True)]
        self.queue = deque(sorted(range(len(models)), key=lambda i: -work[i]))
        self.members = [Member(plan.epochs) for plan in plans] if verbose else None
        self.cancel = Cancel()
        self.before: dict[int, tuple[int, Parameters]] = {}  # of those begun: seed, and what it was
        self.histories: dict[int, History] = {}
        self.errors: dict[int, BaseException] = {}

    def run(self) -> list[History]:
        progress = ProgressOfMany(self.members) if self.members else None
        workers: list[tuple[threading.Thread, threading.Event]] = []
        try:
            for number in range(self.workers):
                ended = threading.Event()
                thread = threading.Thread(
                    target=self._work, args=(ended,), name=f"fastnn-fit-{number}", daemon=True
                )
                workers.append((thread, ended))
                try:
                    thread.start()
                except RuntimeError:  # the system lets no more start
                    workers.pop()
                    if not workers:
                        raise
                    break
            for _, ended in workers:
                while not ended.wait(POLL):
                    check_cancel()
                    if progress is not None:
                        progress.show()
        except BaseException:
            self.cancel.say()
            for thread, ended in workers:
                while thread.is_alive() and not ended.wait(POLL):
                    pass
            raise
        finally:
            if progress is not None:
                progress.show()
                progress.close()
        if self.errors:
            self._fail()
        return [self.histories[i] for i in range(len(self.models))]

    def _work(self, ended: threading.Event) -> None:
        """One network after another, until there are no more or somebody has failed."""
        try:
            with self.cancel:
                while not self.cancel:
                    try:
                        i = self.queue.popleft()
                    except IndexError:  # there are no more
                        break
                    try:
                        self.contexts[i].run(self._fit, i)
                    except BaseException as error:
                        if not (self.cancel and isinstance(error, KeyboardInterrupt)):
                            self.errors[i] = error
                        self.cancel.say()
        finally:
            ended.set()

    def _fit(self, i: int) -> None:
        model, parameters = self.models[i], self.models[i]._parameters
        member = self.members[i] if self.members else None
        self.before[i] = model.seed, parameters.copy()
        try:
            with threads(self.share):
                self.histories[i] = loop.fit(model, self.plans[i], member)
        finally:
            parameters.give_back()
        if member is not None:
            member.ended = True

    def _fail(self) -> Never:
        """Raise what the first network that failed did; after an error all are as before."""
        i = min(self.errors)
        error = self.errors[i]
        if isinstance(error, Exception):
            for j, (seed, before) in self.before.items():
                self.models[j].seed = seed
                self.models[j]._parameters.restore(before)
        if isinstance(error, DivergenceError):
            raise DivergenceError(f"models[{i}]: {error} So are the others.") from None
        error.add_note(f"This was in the fit of models[{i}].")
        raise error

