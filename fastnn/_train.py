"""What an epoch is: mini-batches in a seeded order, one optimizer step each.

    for each mini-batch:  theta <- theta - learning_rate dL/dtheta,  L the mean over the mini-batch

The engine runs many steps a call, without the GIL; calls end every SLICE_SECONDS, so that signals
are answered and progress is shown.
"""

from __future__ import annotations

import math
from time import perf_counter

import numpy as np

from fastnn._arrays import Features
from fastnn._errors import DivergenceError
from fastnn._evaluate import evaluate
from fastnn._history import History
from fastnn._optimizers import Optimizer
from fastnn._parameters import Parameters
from fastnn._progress import Progress
from fastnn._random import SHUFFLE, permutation
from fastnn._stream import Stream
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

    def epoch(
        self,
        X: Features,
        y: np.ndarray,
        order: np.ndarray,
        progress: Progress | None = None,
        before: int = 0,
    ) -> float:
        """Train on the rows X[order]; returns the mean over them of the loss before each step.

        Raises DivergenceError with the number of the mini-batch, from 1 and after `before` others.
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
                raise DivergenceError(f"batch {before + bad + 1} has the loss {losses[bad]}")
            self.step_seconds = max((perf_counter() - begin) / steps, 1e-9)
            if progress is not None:
                seen = min(stop * batch, n)
                progress.samples(seen - start * batch, _mean(losses[:stop], batch, seen))
            start = stop
        return _mean(losses, batch, n)

    def stream(self, stream: Stream, shuffle: bool, seed: int, epoch: int) -> float:
        """Train on a stream's blocks one after another; returns the mean loss as `epoch` does.

        Each block is cut into mini-batches of its own: its last one may be smaller.
        """
        total, n, batches = 0.0, 0, 0
        with stream.blocks() as blocks:
            for number, (X, y) in enumerate(blocks):
                order = np.arange(len(X))
                if shuffle:  # block 0 as if it were all: a stream of one block is fit(X, y)
                    order = permutation(seed, SHUFFLE, epoch + (number << 32), len(X))
                total += self.epoch(X, y, order, before=batches) * len(X)
                n += len(X)
                batches += -(-len(X) // self.batch)
        if not n:
            stream.error = ValueError("a stream must yield at least one block, got none")
            raise stream.error
        return total / n


def _mean(losses: np.ndarray, batch: int, n: int) -> float:
    """Mean over n samples of the mean losses of mini-batches, the last of which may be smaller."""
    last = n - (len(losses) - 1) * batch
    return float((losses[:-1].sum() * batch + losses[-1] * last) / n)


def fit(
    run: Run,
    X: Features | Stream,
    y: np.ndarray | None,
    *,
    epochs: int,
    shuffle: bool,
    seed: int,
    validation: tuple[Features, np.ndarray] | None,
    progress: Progress | None,
) -> History:
    """Train for some epochs. Interrupted, parameters stand at the last whole step; a run that
    diverges, or whose stream fails, leaves them as they were."""
    parameters = run.parameters
    history = History()
    try:
        for _ in range(epochs):
            begin = perf_counter()
            parameters.epoch += 1
            if isinstance(X, Stream):
                loss = run.stream(X, shuffle, seed, parameters.epoch - 1)
            else:
                assert y is not None
                order = np.arange(len(X))
                if shuffle:
                    order = permutation(seed, SHUFFLE, parameters.epoch - 1, len(X))
                loss = run.epoch(X, y, order, progress)
            run.store()
            check_theta(parameters)
            score = {}
            if validation is not None:
                score = evaluate(run.engine, parameters.network, *validation, run.n_threads)
            history.append(parameters.epoch, loss, score, perf_counter() - begin)
            if progress is not None:
                progress.epoch(history)
    except DivergenceError as error:
        epoch = parameters.epoch
        parameters.restore(run.before)
        raise DivergenceError(_remedy(f"epoch {epoch}, {error}")) from None
    except BaseException as error:
        if isinstance(X, Stream) and error is X.error:
            parameters.restore(run.before)
        else:
            run.store()
        raise
    return history


def partial_fit(run: Run, X: Features, y: np.ndarray) -> float:
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
