"""L-BFGS: SciPy's L-BFGS-B over the engine's gradient of all rows.

`Model.fit` makes an epoch of each iteration (`train`); fastnn.sklearn minimises in one go.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.errors import DivergenceError, optional
from fastnn.kernels.engine import Engine
from fastnn.network.arrays import Features

if TYPE_CHECKING:
    from fastnn.training.fit import Fit
    from fastnn.training.progress import Watcher


class Objective:
    """share L + constant + sum_j decay_j p_j^2 / 2 and dL/dp + decay p, of parameters p.

    L is the mean loss of the rows, weighted where they are.

    Parameters
    ----------
    engine : Engine
    theta : array, (n_parameters,)
        Overwritten: p in the network's dtype and theta's order.
    X, y, weights, n_threads
        As of `Engine.gradient`.
    decay : array, (n_parameters,)
        In the order of p.
    order : array of int, (n_parameters,), optional
        p_j is theta[order[j]]; by default they are in the same order.
    share, constant : float
        What is reported of L; the gradient is L's.
    rows : array of int, optional
        Those of X and y that L is of; by default all.
    """

    def __init__(
        self,
        engine: Engine,
        theta: np.ndarray,
        X: Features,
        y: np.ndarray,
        weights: np.ndarray | None,
        n_threads: int,
        decay: np.ndarray,
        order: np.ndarray | slice = slice(None),
        share: float = 1.0,
        constant: float = 0.0,
        rows: np.ndarray | None = None,
    ) -> None:
        self.engine, self.theta = engine, theta
        self.X, self.y, self.weights, self.n_threads = X, y, weights, n_threads
        self.decay, self.order = decay, order
        self.share, self.constant = share, constant
        self.rows = rows
        self.gradient = np.empty_like(theta)

    def penalty(self, p: np.ndarray) -> float:
        if not self.decay.any():  # 0 times an infinite square is none
            return 0.0
        with np.errstate(over="ignore"):  # infinite: the caller refuses it
            return float(self.decay @ (p * p)) / 2

    def take(self, p: np.ndarray) -> None:
        """theta <- p."""
        self.theta[self.order] = p

    def __call__(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        self.take(p)
        self.engine.load(self.theta)
        loss = self.engine.gradient(
            *(self.X, self.y, self.gradient, self.n_threads, self.weights, self.rows)
        )
        value = self.share * loss + self.constant + self.penalty(p)
        return value, self.gradient[self.order] + self.decay * p


def minimize(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    callback: Callable[[Any], None] | None = None,
    **options: Any,
) -> Any:
    """SciPy's result, with its options; the callback gets the result so far after an iteration and
    may raise StopIteration."""
    of_scipy = optional("scipy.optimize", "LBFGS").minimize

    def iterated(intermediate_result: Any) -> None:  # SciPy goes by the name
        assert callback is not None
        callback(intermediate_result)

    with _one_blas_thread():
        return of_scipy(
            objective,
            start,
            method="L-BFGS-B",
            jac=True,
            callback=None if callback is None else iterated,
            options=options,
        )


def _one_blas_thread() -> Any:
    """A context. SciPy's sums take BLAS no time, but its threads spin after each call, on the cores
    that the engine needs next. Where threadpoolctl is installed, which scikit-learn brings."""
    try:
        return _libraries().limit(limits=1, user_api="blas")
    except ImportError:
        return nullcontext()


@cache
def _libraries() -> Any:
    """What threadpoolctl finds, once SciPy is there: to look takes as long as many iterations."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def train(run: Any, course: Any, fit: Fit, progress: Watcher | None) -> None:
    """The epochs of a fit (loop.py: `Run`, `Course`), one for each iteration; where there is
    nothing to improve, one epoch that finds so."""
    rule, plan = run.optimizer, course.plan
    parameters, engine = run.parameters, run.engine
    tried = parameters.theta.copy()
    decay = np.full(tried.size, rule.l2)
    for layer in parameters.network.layers:
        if not rule.decay_bias:
            decay[layer.b] = decay[layer.gamma] = 0.0
    objective = Objective(
        *(engine, tried, plan.X, plan.y, plan.weights, run.n_threads, decay), rows=plan.rows
    )
    begun, begin = False, perf_counter()

    def evaluate(p: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal begun, begin
        if not begun:
            if fit.watched:
                fit.epoch_begins(parameters.epoch + 1)
            begun, begin = True, perf_counter()
        parameters.forget()
        value, gradient = objective(p)
        if not math.isfinite(value):
            raise DivergenceError(f"the loss is {value}")
        return value, gradient

    def epoch_ended(result: Any) -> None:
        nonlocal begun
        parameters.write(result.x)
        parameters.epoch += 1
        run.load()
        run.check()
        row = {"epoch": parameters.epoch, "loss": float(result.fun) - objective.penalty(result.x)}
        row |= course.measure(run)
        fit.history.append(**row, learning_rate=math.nan, seconds=perf_counter() - begin)
        begun = False
        if fit.watched:
            fit.epoch_ended()
        if progress is not None:
            progress.epoch(fit.history)

    def iterated(result: Any) -> None:
        epoch_ended(result)
        if fit.done:
            raise StopIteration

    result = minimize(
        evaluate,
        tried.astype(np.float64),
        iterated,
        maxiter=fit.epochs,
        maxfun=100 * fit.epochs,
        maxcor=rule.memory,
        gtol=rule.tol,
        ftol=64 * np.finfo(np.float64).eps,
    )
    if not len(fit.history):
        epoch_ended(result)
    fit.stop()
