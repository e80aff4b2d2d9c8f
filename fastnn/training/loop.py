"""What an epoch is: mini-batches in a seeded order, one optimizer step each.

    for each mini-batch:  theta <- theta - learning_rate dL/dtheta,  L the mean over the mini-batch

`Run` takes the steps: the engine runs many a call, without the GIL; calls end every SLICE_SECONDS,
so that signals are answered and progress is shown. `Course` says how epochs go and what is measured
after each; `train` is the loop over them, of `Model.fit` and of fastnn.sklearn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from fastnn.config import n_threads as bound_threads
from fastnn.errors import DivergenceError
from fastnn.kernels.engine import Engine
from fastnn.network.arrays import Features
from fastnn.network.parameters import Parameters
from fastnn.random import SHUFFLE, keys, permutation
from fastnn.training import lbfgs
from fastnn.training.evaluate import evaluate
from fastnn.training.fit import Fit
from fastnn.training.history import History
from fastnn.training.optimizers import LBFGS, Optimizer
from fastnn.training.plan import Plan
from fastnn.training.progress import Progress, Watcher
from fastnn.training.schedules import Rate, Running
from fastnn.training.stream import Stream

SLICE_SECONDS = 0.025  # an interrupt within 100 ms, with room for a slow step
SLOWEST = 1e9  # multiplications and additions a second assumed before the first measurement
NO_MEMORY = MemoryError, SystemError  # what NumPy's reductions raise in its place


class Steps(Protocol):
    """What a `Run` needs of an optimizer."""

    @property
    def kind(self) -> str: ...
    @property
    def rates(self) -> dict[str, Any]: ...
    @property
    def learning_rate(self) -> Rate: ...
    @property
    def weight_decay(self) -> Rate: ...


class Run:
    """Steps of one call of fit or partial_fit: one engine, one optimizer, one thread bound.

    The weights lie in the engine's panels meanwhile: `Parameters` says when they are copied.
    """

    def __init__(
        self,
        parameters: Parameters,
        engine: Engine,
        optimizer: Steps | Optimizer,
        batch: int,
        n_threads: int,
        seed: int,
        weights: np.ndarray | None = None,
        least: float = 0.0,
        dropout: Rate = 1.0,
    ) -> None:
        """least: weight a row, at least, that the gradient of a mini-batch is divided by; dropout:
        by what the network's is multiplied in each step."""
        self.parameters = parameters
        self.seed = seed
        self.engine = engine
        self.optimizer = optimizer
        self.batch = batch
        self.n_threads = n_threads
        self.weights, self.least, self.dropout = weights, least, dropout
        network = parameters.network
        self.step_seconds = 3 * network.n_parameters * batch / SLOWEST
        draws = any(network.dropout) or any(network.noise)
        self.keys = keys(seed, len(network.layers)) if draws else None
        self.rates = optimizer.rates
        self.begin_schedule(1, 1)

    def begin_schedule(self, rows: int, epochs: int, done: int = 0) -> None:
        """Begin the schedules for so many epochs of so many rows, `done` of them before."""
        per_epoch = -(-rows // self.batch)
        steps = per_epoch, epochs * per_epoch
        self.schedule = Running(self.optimizer.learning_rate, *steps)
        self.decay = Running(self.optimizer.weight_decay, *steps, "weight_decay")
        self.dropouts = Running(self.dropout, *steps, "dropout_schedule")
        self.place = done * per_epoch  # steps of this fit so far

    def show(self) -> None:
        """Let whoever has a view of the weights, as callbacks may, see them as they stand."""
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
        progress: Watcher | None = None,
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
        progress: Watcher | None = None,
        before: int = 0,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Train on the rows X[order]; returns what each mini-batch had before its step: its mean
        loss, and where rates have a ridge the sum of all W_ij^2."""
        n, batch = len(order), min(self.batch, len(order))
        losses = np.empty(len(sizes))
        squares = np.empty(len(sizes)) if self.rates.get("ridge") else None
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

    def _train(
        self,
        X: Features,
        y: np.ndarray,
        order: np.ndarray,
        batch: int,
        losses: np.ndarray,
        squares: np.ndarray | None,
        part: slice,
    ) -> int:
        """Take the steps part.start to part.stop of those over X[order] while nobody else is at the
        weights; returns how many were taken."""
        parameters, n = self.parameters, part.stop - part.start
        alphas = self._rates(self.schedule, n)
        decays, dropouts = (
            None if isinstance(one.rate, float) else self._rates(one, n)
            for one in (self.decay, self.dropouts)
        )
        with parameters.guard:
            parameters.moves(self.engine)
            try:
                steps = self.engine.train(
                    *(X, y, order[part.start * batch : part.stop * batch], batch),
                    *(self.rates, parameters.counts, losses[part], self.n_threads),
                    learning_rates=alphas,
                    weights=self.weights,
                    keys=self.keys,
                    squares=None if squares is None else squares[part],
                    least=self.least,
                    weight_decays=decays,
                    dropout_factors=dropouts,
                )
            finally:
                parameters.moves(self.engine)
        self.place += steps
        return steps

    def _rates(self, schedule: Running, n: int) -> np.ndarray:
        """Of the next n steps."""
        first = self.place if schedule.by_epochs else self.parameters.steps
        return schedule.rates(first, first + n)

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


class Course:
    """How the epochs of a `Plan` go; fastnn.sklearn has its own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.all_rows = np.array_equal(plan.rows, np.arange(len(plan.rows)))  # as they lie

    def epoch(self, run: Run, progress: Watcher | None) -> float:
        """Train on all rows once; returns the epoch's loss."""
        plan, number = self.plan, run.parameters.epoch - 1
        if isinstance(plan.X, Stream):
            return run.stream(plan.X, plan.shuffle, number)
        assert plan.y is not None
        order = plan.rows
        if plan.shuffle:
            shuffled = permutation(run.seed, SHUFFLE, number, len(order))
            order = shuffled if self.all_rows else order[shuffled]
        return run.epoch(plan.X, plan.y, order[: plan.n_epoch], progress)

    def measure(self, run: Run) -> dict[str, float]:
        """More columns of the epoch's row, of the weights as they stand."""
        run.check()
        plan = self.plan
        if plan.held_out is None:
            return {}
        X, y, weights, rows = plan.held_out
        network = run.parameters.network
        scores = evaluate(
            *(run.engine, network, X, y, run.n_threads, plan.metrics, weights),
            of_metrics=False,
            rows=rows,
        )
        return {f"val_{name}": value for name, value in scores.items()}

    def epoch_ended(self, run: Run, fit: Fit) -> None:
        """Once the row is known, before it is in the history."""


def fit(model: Any, plan: Plan, watcher: Watcher | None = None) -> History:
    """Train a Model. A fit that diverges, whose stream fails, or that is refused as it begins,
    leaves the model as it was.

    watcher: told how far it has come, in place of the plan's bar.
    """
    measured = ["epoch", "loss", *plan.measured, "learning_rate", "seconds"]
    lagging = frozenset(() if isinstance(plan.rule, LBFGS) else ("loss",))
    begun = Fit(model, plan.epochs, plan.callbacks, measured, plan.settings, lagging)
    parameters: Parameters = model._parameters
    with parameters.training(plan.rule.kind, plan.batch) as engine:
        run = Run(
            *(parameters, engine, plan.rule, plan.batch, bound_threads(model.n_threads)),
            *(plan.seed, plan.weights, plan.least, plan.dropout),
        )
        try:
            if plan.checkpoint is not None:
                begun.resume(plan.checkpoint)
                parameters.begin(plan.rule.kind)
            run.begin_schedule(plan.n_epoch, plan.epochs, len(begun.history))
            if begun.resumed:
                run.schedule.restore(begun.schedule)
        except BaseException:
            _undo(run, begun)
            raise
        with _progress(plan, begun) as progress:
            train(run, Course(plan), begun, watcher or progress)
    return begun.history


@contextmanager
def _progress(plan: Plan, fit: Fit) -> Iterator[Progress | None]:
    if not plan.verbose or fit.done:
        yield None
        return
    progress = Progress(plan.epochs, plan.n_epoch, len(fit.history))
    try:
        yield progress
    finally:
        progress.close()


def train(run: Run, course: Course, fit: Fit, progress: Watcher | None = None) -> None:
    """Train until `fit` is done. Interrupted, parameters stand at the last whole step; a run that
    diverges, whose stream fails, that lacks memory, or that a callback refuses as it begins, leaves
    them as they were.
    """
    begun = False
    try:
        with fit.running():
            begun = True
            try:
                if fit.watched:
                    run.load()
                if isinstance(run.optimizer, LBFGS):
                    lbfgs.train(run, course, fit, progress)
                while not fit.done:
                    _epoch(run, course, fit, progress)
            except DivergenceError as error:
                where = f"epoch {run.parameters.epoch}, {error}"
                _undo(run, fit)
                raise DivergenceError(_remedy(where, course.plan.rule)) from None
            except BaseException as error:
                of_stream = isinstance(course.plan.X, Stream) and error is course.plan.X.error
                if of_stream or isinstance(error, NO_MEMORY):
                    _undo(run, fit)
                raise
    except BaseException:
        if not begun:
            _undo(run, fit)
        raise


def _undo(run: Run, fit: Fit) -> None:
    """Make the model what it was before the call."""
    run.parameters.undo()
    fit.model.seed = fit.seed


def _epoch(run: Run, course: Course, fit: Fit, progress: Watcher | None) -> None:
    parameters = run.parameters
    if fit.watched:
        fit.epoch_begins(parameters.epoch + 1)
        run.load()
    begin = perf_counter()
    parameters.epoch += 1
    loss = course.epoch(run, progress)
    run.show()
    row = {"epoch": parameters.epoch, "loss": loss, **course.measure(run)}
    run.schedule.epoch_ended(row)
    row |= {"learning_rate": run.schedule.last, "seconds": perf_counter() - begin}
    fit.schedule = run.schedule.state()
    course.epoch_ended(run, fit)
    fit.history.append(**row)
    if fit.watched:
        fit.epoch_ended()
        run.load()
    if progress is not None:
        progress.epoch(fit.history)


def partial_fit(model: Any, plan: Plan) -> float:
    """One pass over the plan's rows in their order; returns the mean of the loss before each
    step."""
    X, y, rule, parameters = plan.X, plan.y, plan.rule, model._parameters
    assert y is not None and not isinstance(X, Stream)
    with parameters.training(rule.kind, plan.batch, keep=False) as engine:
        try:
            loss = _sure_step(parameters, engine, plan, X, y)
            if loss is None:
                parameters.keep()
                run = Run(
                    *(parameters, engine, rule, plan.batch, bound_threads(model.n_threads)),
                    *(model.seed, plan.weights, plan.least),
                )
                loss = run.epoch(X, y, plan.rows)
                run.check()
            return loss
        except DivergenceError as error:
            parameters.undo()
            raise DivergenceError(_remedy(str(error), rule)) from None
        except NO_MEMORY:
            parameters.undo()
            raise


def _sure_step(
    parameters: Parameters, engine: Engine, plan: Plan, X: Features, y: np.ndarray
) -> float | None:
    """Plain SGD on a row alone, if that surely leaves finite weights, which needs no look at them
    and no copy of what was before; returns the row's loss. None, and nothing done, where it may
    not."""
    if len(X) > 1 or plan.weights is not None or not plan.rule.plain:
        return None
    alpha, first = plan.rule.learning_rate, parameters.steps
    if not isinstance(alpha, float):
        alpha = Running(alpha, 1, 1).rates(first, first + 1)[0]
    with parameters.guard:
        parameters.moves(engine)
        try:
            loss = engine.sure_step(X, y, alpha, parameters.counts)
        finally:
            parameters.moves(engine)
    if loss is not None and not math.isfinite(loss):
        raise DivergenceError(f"batch 1 has the loss {loss}")
    return loss


def _remedy(where: str, optimizer: Optimizer) -> str:
    less = "" if isinstance(optimizer, LBFGS) else "use a smaller learning_rate or "
    return (
        f"training diverged: {where}; {less}scale the inputs (mean 0, variance 1). The model is as "
        "before the call."
    )
