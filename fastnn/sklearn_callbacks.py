"""scikit-learn's callbacks (1.9 or newer) in fits of our estimators: set_callbacks, ProgressBar,
ScoringMonitor, alone and inside pipelines and searches.

scikit-learn calls the parts of a fit tasks, and gives each a context; callbacks are told when a
task begins and ends. scikit-learn is imported once callbacks are set, so that estimators that do
without it may have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

from fastnn.errors import optional
from fastnn.training.fit import Callback

if TYPE_CHECKING:
    from fastnn.training.fit import Fit


class CallbackSupport:
    """An estimator that scikit-learn's callbacks may follow."""

    def set_callbacks(self, *callbacks: Any) -> Any:
        """Set scikit-learn's callbacks, in place of those set before.

        Parameters
        ----------
        *callbacks : instances of sklearn.callback.FitCallback
            Told of each fit and of its epochs; whoever returns True at an epoch's end stops it.
            fastnn's own callbacks are the parameter `callbacks`.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If one is no instance of such a class.
        MissingExtraError
            Without scikit-learn 1.9 or newer.
        """
        return _sklearn_callback().CallbackSupportMixin.set_callbacks(self, *callbacks)


class Task:
    """A fit, or a part of one, that callbacks are told of, from any thread but one at a time.

    Attributes
    ----------
    context : sklearn.callback.CallbackContext
    """

    def __init__(self, estimator: Any, context: Any, data: dict[str, Any], lock: RLock) -> None:
        self.estimator, self.context, self._data, self._lock = estimator, context, data, lock

    def begins(self, fitted: Callable[[], dict[str, Any]] | None = None) -> Task:
        """`fitted` returns what is to be set in a shallow copy of the estimator so that it predicts
        as if the fit had ended here; it is called only for callbacks that look at one."""
        with self._lock:
            self.context.call_on_fit_task_begin(
                estimator=self.estimator, reconstruction_attributes=fitted, **self._data
            )
        return self

    def ends(self, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """Returns whether a callback wants no more parts like this one."""
        with self._lock:
            stops: bool = self.context.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=fitted, **self._data
            )
        return stops

    def part(self, name: str, n_parts: int | None = 0) -> Task:
        """The next of this task's parts, which has itself so many, None: nobody knows."""
        with self._lock:
            context = self.context.subcontext(task_name=name, max_subtasks=n_parts)
        return Task(self.estimator, context, self._data, self._lock)


class Epochs(Callback):
    """Tells scikit-learn's callbacks of the epochs of a fit: each is a part of `task`.

    The estimator's shallow copy must be fitted at an epoch's end, but for what `fitted` returns.
    """

    def __init__(self, task: Task, fitted: Callable[[], dict[str, Any]] = dict) -> None:
        self._task, self._fitted = task, fitted

    def on_epoch_begin(self, fit: Fit) -> None:
        self._epoch = self._task.part("epoch").begins(self._fitted)

    def on_epoch_end(self, fit: Fit) -> None:
        if self._epoch.ends(self._fitted):
            fit.stop()


class Whole(Callback):
    """Tells scikit-learn's callbacks of a fit that is a part of `task`."""

    def __init__(self, task: Task, name: str) -> None:
        self._task, self._name = task, name

    def on_fit_begin(self, fit: Fit) -> None:
        self._part = self._task.part(self._name).begins()

    def on_fit_end(self, fit: Fit) -> None:
        self._part.ends()


@contextmanager
def followed(
    estimator: Any, X: Any, y: Any, sample_weight: Any = None, n_parts: int | None = 0
) -> Iterator[Task | None]:
    """From the beginning to the end of `estimator`'s fit; gives the fit as a `Task`, or None where
    no callback is set.

    Parameters
    ----------
    X, y, sample_weight
        As fit got them: what callbacks look at.
    n_parts : int or None
        How many parts the task will have at most; None: nobody knows.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield None
        return
    from sklearn.callback._callback_support import callback_management_context

    mixin = _sklearn_callback().CallbackSupportMixin
    metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
    with callback_management_context(estimator):
        context = mixin._init_callback_context(estimator, max_subtasks=n_parts)
        data = {"X": X, "y": y, "metadata": metadata}
        task = Task(estimator, context, data, RLock()).begins()
        yield task
        task.ends(dict)


def _sklearn_callback() -> Any:
    return optional("sklearn.callback", "set_callbacks", "scikit-learn>=1.9")
