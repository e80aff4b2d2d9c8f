"""What an epoch is: mini-batches in a seeded order, one optimizer step each.

    for each mini-batch:  theta <- theta - learning_rate dL/dtheta,  L the mean over the mini-batch

The engine runs many steps a call, without the GIL; calls end every SLICE_SECONDS, so that signals
are answered and progress is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from fastnn.errors import DivergenceError, MissingExtraError
from fastnn.kernels.engine import Engine
from fastnn.network.arrays import Features
from fastnn.network.parameters import Parameters
from fastnn.random import SHUFFLE, keys, permutation
from fastnn.training.evaluate import evaluate
from fastnn.training.fit import Fit
from fastnn.training.metrics import Metric
from fastnn.training.optimizers import LBFGS, Rate
from fastnn.training.progress import Progress
from fastnn.training.schedules import Running
from fastnn.training.stream import Stream

SLICE_SECONDS = 0.025  # an interrupt within 100 ms, with room for a slow step
SLOWEST = 1e9  # multiplications and additions a second assumed before the first measurement


class Steps(Protocol):
    """What a `Run` needs of an optimizer."""

    @property
    def kind(self) -> str: ...
    @property
    def rates(self) -> dict[str, float]: ...
    @property
    def learning_rate(self) -> Rate: ...


class Run:
    """Steps of one call of fit or partial_fit: one engine, one optimizer, one thread bound.

    The weights lie in the engine's panels meanwhile: `Parameters` says when they are copied.
    """

    def __init__(
        self,
        parameters: Parameters,
        engine: Engine,
        optimizer: Steps,
        batch: int,
        n_threads: int,
        seed: int,
        weights: np.ndarray | None = None,
    ) -> None:
        self.parameters = parameters
        self.seed = seed
        self.engine = engine
        self.optimizer = optimizer
        self.batch = batch
        self.n_threads = n_threads
        self.weights = weights
        network = parameters.network
        self.step_seconds = 3 * network.n_parameters * batch / SLOWEST
        draws = any(network.dropout) or any(network.noise)
        self.keys = keys(seed, len(network.layers)) if draws else None
        self.plan(1, 1)

    def plan(self, rows: int, epochs: int) -> None:
        """Begin the learning rate's schedule for so many epochs of so many rows."""
        per_epoch = -(-rows // self.batch)
        self.schedule = Running(
            self.optimizer.learning_rate, per_epoch, self.parameters.steps + epochs * per_epoch
        )

    def store(self) -> None:
        """Show the weights to whoever has a view of them, as callbacks may."""
        if self.parameters.held:
            self.parameters.sync()

    def load(self) -> None:
        """Take over what callbacks have made of the weights."""
        if self.parameters.optimizer != self.optimizer.kind:
            raise RuntimeError("a callback must leave the model the optimizer of its fit")
        self.parameters.load()

    def check(self) -> None:
        """The last step has no loss after it to show that it went wrong."""
        if not self.engine.all_finite():
            raise DivergenceError("the last batch left a weight that is not finite")

    def epoch(
        self,
        X: Features,
        y: np.ndarray,
        order: np.ndarray,
        progress: Progress | None = None,
        before: int = 0,
    ) -> float:
        """Train on the rows X[order]; returns the mean over them of the loss before each step,
        weighted as they are.

        Raises DivergenceError with the number of the mini-batch, from 1 and after `before` others.
        """
        sizes = batch_weights(order, self.batch, self.weights)
        return _mean(self.steps_over(X, y, order, sizes, progress, before)[0], sizes)

    def steps_over(
        self,
        X: Features,
        y: np.ndarray,
        order: np.ndarray,
        sizes: np.ndarray,
        progress: Progress | None = None,
        before: int = 0,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Train on the rows X[order]; returns what each mini-batch had before its step: its mean
        loss, and where rates have a ridge the sum of all W_ij^2."""
        n, batch = len(order), min(self.batch, len(order))
        losses = np.empty(len(sizes))
        squares = np.empty(len(sizes)) if self.optimizer.rates.get("ridge") else None
        start = 0
        while start < len(losses):
            stop = min(len(losses), start + max(1, int(SLICE_SECONDS / self.step_seconds)))
            begin = perf_counter()
            steps = self._train(X, y, order, batch, losses, squares, slice(start, stop))
            if steps < stop - start:
                bad = start + steps
                raise DivergenceError(f"batch {before + bad + 1} has the loss {losses[bad]}")
            self.step_seconds = max((perf_counter() - begin) / steps, 1e-9)
            if progress is not None:
                seen = min(stop * batch, n)
                progress.samples(seen - start * batch, _mean(losses[:stop], sizes[:stop]))
            start = stop
        return losses, squares

    def sure_step(self, X: Features, y: np.ndarray, order: np.ndarray) -> float | None:
        """Take one step on these rows if that surely leaves finite weights, which need no look and
        no copy of what was before; returns their loss. None, and nothing done, where it may not."""
        losses = np.empty(1)
        steps = self._train(X, y, order, len(order), losses, None, slice(0, 1), sure=True)
        if not steps:
            raise DivergenceError(f"batch 1 has the loss {losses[0]}")
        return float(losses[0]) if steps > 0 else None

    def _train(
        self,
        X: Features,
        y: np.ndarray,
        order: np.ndarray,
        batch: int,
        losses: np.ndarray,
        squares: np.ndarray | None,
        part: slice,
        sure: bool = False,
    ) -> int:
        """Take the steps number part.start to part.stop of those over X[order], with nobody else
        at the weights; returns how many were taken."""
        parameters, n = self.parameters, part.stop - part.start
        alphas = self.schedule.rates(parameters.steps, parameters.steps + n)
        with parameters.guard:
            parameters.moves(self.engine)
            return self.engine.train(
                *(X, y, order[part.start * batch : part.stop * batch], batch),
                *(self.optimizer.rates, parameters.counts, losses[part], self.n_threads),
                learning_rates=alphas,
                weights=self.weights,
                keys=self.keys,
                squares=None if squares is None else squares[part],
                sure=sure,
            )

    def stream(self, stream: Stream, shuffle: bool, epoch: int) -> float:
        """Train on a stream's blocks one after another; returns the mean loss as `epoch` does.

        Each block is cut into mini-batches of its own: its last one may be smaller.
        """
        total, n, batches = 0.0, 0, 0
        with stream.blocks() as blocks:
            for number, (X, y) in enumerate(blocks):
                order = np.arange(len(X))
                if shuffle:  # block 0 as if it were all: a stream of one block is fit(X, y)
                    order = permutation(self.seed, SHUFFLE, epoch + (number << 32), len(X))
                total += self.epoch(X, y, order, before=batches) * len(X)
                n += len(X)
                batches += -(-len(X) // self.batch)
        if not n:
            stream.error = ValueError("a stream must yield at least one block, got none")
            raise stream.error
        return total / n


def batch_weights(order: np.ndarray, batch: int, weights: np.ndarray | None) -> np.ndarray:
    """What each mini-batch counts: its samples, or the sum of their weights."""
    starts = np.arange(0, len(order), batch)
    if weights is None:
        return np.minimum(batch, len(order) - starts)
    return np.add.reduceat(weights[order], starts)


def _mean(losses: np.ndarray, sizes: np.ndarray) -> float:
    """Mean over the samples of mini-batches from the mean losses of these."""
    total = sizes.sum()
    return float((losses * sizes).sum() / total) if total else 0.0


@dataclass(frozen=True)
class Data:
    """What a fit trains on, and what it measures after each epoch."""

    X: Features | Stream
    y: np.ndarray | None  # of a stream None: it yields its own
    rows: np.ndarray  # those of X and y that are trained on; of a stream none
    validation: tuple[Features, np.ndarray] | None
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


def fit(run: Run, data: Data, fit: Fit, *, shuffle: bool, progress: Progress | None) -> None:
    """Train until `fit` is done. Interrupted, parameters stand at the last whole step; a run that
    diverges, whose stream fails, or that a callback refuses as it begins, leaves them as they were.
    """
    begun = False
    run.plan(len(data.rows), fit.epochs - len(fit.history))
    if fit.resumed:
        run.schedule.restore(fit.schedule)
    try:
        with fit.running():
            begun = True
            try:
                if fit.watched:
                    run.load()
                if isinstance(run.optimizer, LBFGS):
                    lbfgs(run, run.optimizer, data, fit, progress)
                while not fit.done:
                    _epoch(run, data, fit, shuffle, progress)
            except DivergenceError as error:
                epoch = run.parameters.epoch
                run.parameters.undo()
                raise DivergenceError(_remedy(f"epoch {epoch}, {error}")) from None
            except BaseException as error:
                if isinstance(data.X, Stream) and error is data.X.error:
                    run.parameters.undo()
                raise
    except BaseException:
        if not begun:
            run.parameters.undo()
        raise


def _epoch(run: Run, data: Data, fit: Fit, shuffle: bool, progress: Progress | None) -> None:
    parameters = run.parameters
    if fit.watched:
        fit.epoch_begins(parameters.epoch + 1)
        run.load()
    begin = perf_counter()
    parameters.epoch += 1
    if isinstance(data.X, Stream):
        loss = run.stream(data.X, shuffle, parameters.epoch - 1)
    else:
        assert data.y is not None
        order = data.rows
        if shuffle:
            order = order[permutation(run.seed, SHUFFLE, parameters.epoch - 1, len(order))]
        loss = run.epoch(data.X, data.y, order, progress)
    run.store()
    run.check()
    row = {"epoch": parameters.epoch, "loss": loss, **data.measure(run)}
    run.schedule.epoch_ended(row)
    fit.schedule = run.schedule.state()
    fit.history.append(**row, learning_rate=run.schedule.last, seconds=perf_counter() - begin)
    if fit.watched:
        fit.epoch_ended()
        run.load()
    if progress is not None:
        progress.epoch(fit.history)


def lbfgs(run: Run, optimizer: LBFGS, data: Data, fit: Fit, progress: Progress | None) -> None:
    """Train with SciPy's L-BFGS-B, an epoch each iteration."""
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise MissingExtraError("LBFGS needs SciPy: pip install 'fastnn[lbfgs]'") from None
    parameters, engine = run.parameters, run.engine
    X, y, weights = data.X, data.y, run.weights
    assert not isinstance(X, Stream) and y is not None
    if len(data.rows) < len(X):
        X, y = X[data.rows], y[data.rows]
        weights = None if weights is None else weights[data.rows]
    start = parameters.theta.copy()
    decay = np.full(start.size, optimizer.l2)
    for layer in parameters.network.layers:
        if not optimizer.decay_bias:
            decay[layer.b] = decay[layer.gamma] = 0.0
    grad, begin = np.empty_like(start), perf_counter()

    def penalty(theta: np.ndarray) -> float:
        return float(decay @ (theta * theta)) / 2

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        parameters.forget()
        engine.load(theta.astype(grad.dtype))
        loss = engine.gradient(X, y, grad, run.n_threads, weights)
        if not math.isfinite(loss):
            raise DivergenceError(f"the loss is {loss}")
        return loss + penalty(theta), grad + decay * theta

    def epoch_ended(intermediate_result: Any) -> None:
        nonlocal begin
        theta = intermediate_result.x
        parameters.write(theta)
        parameters.epoch += 1
        run.check()
        fit.history.append(
            epoch=parameters.epoch,
            loss=float(intermediate_result.fun) - penalty(theta),
            **data.measure(run),
            learning_rate=math.nan,
            seconds=perf_counter() - begin,
        )
        if fit.watched:
            fit.epoch_ended()
        if progress is not None:
            progress.epoch(fit.history)
        begin = perf_counter()
        if fit.done:
            raise StopIteration
        if fit.watched:
            fit.epoch_begins(parameters.epoch + 1)

    try:
        if fit.watched:
            fit.epoch_begins(parameters.epoch + 1)
        minimize(
            objective,
            start.astype(np.float64),
            jac=True,
            method="L-BFGS-B",
            callback=epoch_ended,
            options={
                "maxiter": fit.epochs,
                "maxfun": 100 * fit.epochs,
                "maxcor": optimizer.memory,
                "gtol": optimizer.tol,
                "ftol": 64 * np.finfo(np.float64).eps,
            },
        )
    finally:  # not where a line search may have been
        parameters.load()
    fit.stop()


def partial_fit(run: Run, X: Features, y: np.ndarray) -> float:
    """One pass over the rows in their order; returns the mean of the loss before each step."""
    run.plan(len(X), 1)
    order = np.arange(len(X))
    try:
        loss = run.sure_step(X, y, order) if len(X) <= run.batch else None
        if loss is None:
            run.parameters.keep()
            loss = run.epoch(X, y, order)
            run.check()
        return loss
    except DivergenceError as error:
        run.parameters.undo()
        raise DivergenceError(_remedy(str(error))) from None


def _remedy(where: str) -> str:
    return (
        f"training diverged: {where}; use a smaller learning_rate or scale the inputs "
        "(mean 0, variance 1). The model is as before the call."
    )
