"""What an epoch is: mini-batches in a seeded order, one optimizer step each.

    for each mini-batch:  theta <- theta - learning_rate dL/dtheta,  L the mean over the mini-batch

The engine runs many steps a call, without the GIL; calls end every SLICE_SECONDS, so that signals
are answered and progress is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from fastnn._errors import DivergenceError
from fastnn._evaluate import evaluate
from fastnn._fit import Fit
from fastnn._metrics import Metric
from fastnn._optimizers import Optimizer
from fastnn._parameters import Parameters
from fastnn._progress import Progress
from fastnn._random import SHUFFLE, permutation
from fastnn.kernels.engine import Engine

SLICE_SECONDS = 0.025  # an interrupt within 100 ms, with room for a slow step
SLOWEST = 1e9  # multiplications and additions a second assumed before the first measurement


class Run:
    """Steps of one call of fit or partial_fit: one engine, one optimizer, one thread bound.

    The model's parameters lie in the engine while it runs; `finish` copies them back.
    """

    def __init__(
        self,
        parameters: Parameters,
        engine: Engine,
        optimizer: Optimizer,
        batch: int,
        n_threads: int,
    ) -> None:
        self.parameters = parameters
        self.engine = engine
        self.optimizer = optimizer
        self.batch = batch
        self.n_threads = n_threads
        self.step_seconds = 3 * parameters.theta.size * batch / SLOWEST
        self.before = parameters.copy()
        parameters.use(optimizer.kind, engine.n_states)
        self.steps = parameters.steps
        engine.load(parameters.theta, parameters.state)

    def store(self) -> None:
        self.engine.store(self.parameters.theta, self.parameters.state)
        self.parameters.steps = self.steps

    def load(self) -> None:
        """Take over what callbacks have made of the weights."""
        parameters = self.parameters
        if (parameters.optimizer, parameters.steps) != (self.optimizer.kind, self.steps):
            parameters.use(self.optimizer.kind, self.engine.n_states)  # room for a last store
            raise RuntimeError("a callback must not train the model whose fit it watches")
        self.engine.load(parameters.theta, parameters.state)

    def epoch(
        self, X: np.ndarray, y: np.ndarray, order: np.ndarray, progress: Progress | None = None
    ) -> float:
        """Train on the rows X[order]; returns the mean over them of the loss before each step.

        Raises DivergenceError with the number of the mini-batch, from 1.
        """
        n, batch, rates = len(order), self.batch, self.optimizer.rates
        losses = np.empty(-(-n // batch))
        start = 0
        while start < len(losses):
            stop = min(len(losses), start + max(1, int(SLICE_SECONDS / self.step_seconds)))
            begin = perf_counter()
            steps = self.engine.train(
                *(X, y, order[start * batch : stop * batch], batch),
                *(rates, self.steps, losses[start:stop], self.n_threads),
            )
            self.steps += steps
            if steps < stop - start:
                bad = start + steps
                raise DivergenceError(f"batch {bad + 1} has the loss {losses[bad]}")
            self.step_seconds = max((perf_counter() - begin) / steps, 1e-9)
            if progress is not None:
                seen = min(stop * batch, n)
                progress.samples(seen - start * batch, _mean(losses[:stop], batch, seen))
            start = stop
        return _mean(losses, batch, n)


def _mean(losses: np.ndarray, batch: int, n: int) -> float:
    """Mean over n samples of the mean losses of mini-batches, the last of which may be smaller."""
    last = n - (len(losses) - 1) * batch
    return float((losses[:-1].sum() * batch + losses[-1] * last) / n)


@dataclass(frozen=True)
class Data:
    """What a fit trains on, and what it measures after each epoch."""

    X: np.ndarray
    y: np.ndarray
    rows: np.ndarray  # those of X and y that are trained on
    validation: tuple[np.ndarray, np.ndarray] | None
    metrics: dict[str, Metric]

    def measure(self, run: Run) -> dict[str, float]:
        if self.validation is None:
            return {}
        network = run.parameters.network
        scores = evaluate(run.engine, network, *self.validation, run.n_threads, self.metrics)
        return {f"val_{name}": value for name, value in scores.items()}

    @property
    def measured(self) -> list[str]:
        """Names of what `measure` returns."""
        return [f"val_{name}" for name in ("loss", *self.metrics)] if self.validation else []


def fit(
    run: Run, data: Data, fit: Fit, *, shuffle: bool, seed: int, progress: Progress | None
) -> None:
    """Train until `fit` is done. Interrupted, parameters stand at the last whole step; a run that
    diverges, or that a callback refuses as it begins, leaves them as they were."""
    begun = False
    try:
        with fit.running():
            begun = True
            try:
                if fit.watched:
                    run.load()
                while not fit.done:
                    _epoch(run, data, fit, shuffle, seed, progress)
            except DivergenceError as error:
                epoch = run.parameters.epoch
                run.parameters.restore(run.before)
                raise DivergenceError(_remedy(f"epoch {epoch}, {error}")) from None
            except BaseException:
                run.store()
                raise
    except BaseException:
        if not begun:
            run.parameters.restore(run.before)
        raise


def _epoch(
    run: Run, data: Data, fit: Fit, shuffle: bool, seed: int, progress: Progress | None
) -> None:
    parameters = run.parameters
    if fit.watched:
        fit.epoch_begins(parameters.epoch + 1)
        run.load()
    begin = perf_counter()
    order = data.rows
    if shuffle:
        order = order[permutation(seed, SHUFFLE, parameters.epoch, len(order))]
    parameters.epoch += 1
    loss = run.epoch(data.X, data.y, order, progress)
    run.store()
    check_theta(parameters)
    fit.history.append(
        epoch=parameters.epoch,
        loss=loss,
        **data.measure(run),
        learning_rate=run.optimizer.learning_rate,
        seconds=perf_counter() - begin,
    )
    if fit.watched:
        fit.epoch_ended()
        run.load()
    if progress is not None:
        progress.epoch(fit.history)


def partial_fit(run: Run, X: np.ndarray, y: np.ndarray) -> float:
    """One pass over the rows in their order; returns the mean of the loss before each step."""
    try:
        loss = run.epoch(X, y, np.arange(len(X)))
        run.store()
        check_theta(run.parameters)
        return loss
    except DivergenceError as error:
        run.parameters.restore(run.before)
        raise DivergenceError(_remedy(str(error))) from None
    except BaseException:
        run.store()
        raise


def check_theta(parameters: Parameters) -> None:
    """The last step has no loss after it to show that it went wrong."""
    with np.errstate(all="ignore"):
        fine = math.isfinite(parameters.theta.sum()) or np.isfinite(parameters.theta).all()
    if not fine:
        raise DivergenceError("the last batch left a weight that is not finite")


def _remedy(where: str) -> str:
    return (
        f"training diverged: {where}; use a smaller learning_rate or scale the inputs "
        "(mean 0, variance 1). The model is as before the call."
    )
