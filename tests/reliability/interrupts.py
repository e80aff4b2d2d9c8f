"""Ctrl-C in a call that takes long."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import fastnn
from reliability.promises import Seen, promise

RNG = np.random.default_rng(0)
N = 200_000
X = RNG.standard_normal((N, 100)).astype("f4")
Y = RNG.integers(0, 10, N)
MOST = 0.1  # seconds


def large() -> fastnn.Model:
    """One whose pass over X takes a second or more on a core."""
    return fastnn.Model([100, 1024, 512, 10], seed=1)


def interrupted(call: Callable[[], object], after: float) -> float | None:
    """Seconds from the signal, `after` the call began, to KeyboardInterrupt. None: it ended."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    gc.collect()
    gc.disable()  # Python loses what is raised while the collector calls back
    begin = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        call()
        return None
    except KeyboardInterrupt:
        return time.monotonic() - begin - after
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()


def slowest(n: int, call: Callable[[], object], check: Callable[[], bool] | None = None) -> Seen:
    """The worst of n tries at moments of the call's first 0.15 s."""
    rng, waits, unsound = np.random.default_rng(0), [], 0
    while len(waits) < n:
        seconds = interrupted(call, rng.uniform(0.001, 0.15))
        assert seconds is not None, "the call was too short"
        waits.append(seconds)
        unsound += check is not None and not check()
    whole = "" if check is None else f", {n - unsound} of {n} at a whole step"
    figure = f"slowest of {n}: {1000 * max(waits):.0f} ms{whole}"
    return Seen(figure, max(waits) < MOST and not unsound)


class Steps:
    """Whether a model stands where a twin does after as many steps: `checked` after each interrupt,
    compared at the end, the twin taking steps once."""

    def __init__(self, batch: int, optimizer: str = "sgd", rows: int = N) -> None:
        self.batch, self.optimizer, self.rows = batch, optimizer, rows
        self.seen: dict[int, set[bytes]] = {}
        self.model = self.made()

    def made(self) -> fastnn.Model:
        return fastnn.Model([100, 1024, 512, 10], seed=1)

    def note(self) -> bool:
        self.seen.setdefault(self.model._parameters.steps, set()).add(self.model.theta.tobytes())
        self.model = self.made()
        return True

    def compared(self, rows_of: Callable[[int], np.ndarray]) -> int:
        """How many interrupted models differ from the twin after as many steps."""
        twin, wrong = self.made(), 0
        for step in range(max(self.seen) + 1):
            if step in self.seen:
                wrong += len(self.seen[step] - {twin.theta.tobytes()})
            if step == max(self.seen):
                break
            rows = rows_of(step)
            twin.partial_fit(
                X[rows], Y[rows], batch_size=self.batch, optimizer=self.optimizer, **RATE
            )
        return wrong


RATE = {"learning_rate": 1e-3}


def interrupted_training(n: int, batch: int, optimizer: str, stream: bool = False) -> Seen:
    steps = Steps(batch, optimizer)

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, N, 5 * batch):
            yield X[start : start + 5 * batch], Y[start : start + 5 * batch]

    def call() -> None:
        data = (blocks,) if stream else (X, Y)
        steps.model.fit(
            *data, epochs=1, batch_size=batch, optimizer=optimizer, shuffle=False, **RATE
        )

    seen = slowest(n, call, steps.note)
    wrong = steps.compared(lambda step: np.arange(step * batch, (step + 1) * batch))
    figure = f"{seen.figure.split(',')[0]}, {len(steps.seen)} different steps, {wrong} not whole"
    return Seen(figure, seen.holds and not wrong)


def of(what: str) -> tuple[str, str, str]:
    return (
        f"Ctrl-C in {what}",
        "KeyboardInterrupt within 100 ms, the model at its last whole step",
        "slowest of 200 below 100 ms",
    )


@promise(*of("`fit`, mini-batches of 256, Adam"), count=200)
def stop_fit(n: int) -> Seen:
    return interrupted_training(n, 256, "adam")


@promise(*of("`fit`, one mini-batch of 200,000 rows"), count=200)
def stop_full_batch(n: int) -> Seen:
    return interrupted_training(n, N, "sgd")


@promise(*of("`fit` of a stream"), count=200)
def stop_stream(n: int) -> Seen:
    return interrupted_training(n, 256, "adam", stream=True)


@promise(*of("`fit` with L-BFGS"), count=200)
def stop_lbfgs(n: int) -> Seen:
    model = large()
    before = model.theta.tobytes()

    def call() -> None:
        model.fit(X, Y, epochs=5, optimizer=fastnn.LBFGS())

    return slowest(n, call, lambda: model.theta.tobytes() == before)


@promise(*of("`evaluate`"), count=200)
def stop_evaluate(n: int) -> Seen:
    model = large()
    return slowest(n, lambda: model.evaluate(X, Y))


@promise(*of("`predict`"), count=200)
def stop_predict(n: int) -> Seen:
    model = large()
    return slowest(n, lambda: model.predict(X))


@promise(*of("`loss_and_gradient`"), count=200)
def stop_gradient(n: int) -> Seen:
    model = large()
    return slowest(n, lambda: model.loss_and_gradient(X, Y))


@promise(*of("`gradient_check`"), count=200)
def stop_check(n: int) -> Seen:
    model = large()
    return slowest(n, lambda: model.gradient_check(X[:4096], Y[:4096]))


TABLE_ROWS = 20_000


@promise(
    "Ctrl-C in `fastnn train`",
    "the command ends within 100 ms of work, with status 130 and no traceback; no file is torn",
    "slowest of 200 below 100 ms beyond an idle Python's end",
    count=200,
)
def stop_command(n: int) -> Seen:
    rng, waits, wrong = np.random.default_rng(0), [], 0
    with tempfile.TemporaryDirectory() as folder:
        table, model = Path(folder) / "t.csv", Path(folder) / "m.safetensors"
        rows = rng.standard_normal((TABLE_ROWS, 8))
        lines = [",".join(f"{cell:.3f}" for cell in row) for row in rows]
        names = ",".join("abcdefgh")
        table.write_text(names + "\n" + "\n".join(lines) + "\n")
        command = [sys.executable, "-m", "fastnn", "train", str(table), "--target", "h"]
        command += ["--network", "--hidden", "64,64", "--epochs", "100000", "-o", str(model)]
        idle = min(ended([sys.executable, "-c", IDLE], 0.2)[0] for _ in range(5))
        for _ in range(n):
            seconds, status, err = ended(command, rng.uniform(0.05, 1.5))
            waits.append(seconds - idle)
            wrong += status != 130 or "Traceback" in err
    figure = f"slowest of {n}: {1000 * max(waits):.0f} ms, {wrong} ended otherwise"
    return Seen(figure, max(waits) < MOST and not wrong)


IDLE = """
import sys, fastnn.cli
print("begins", file=sys.stderr, flush=True)
try:
    import time
    time.sleep(60)
except KeyboardInterrupt:
    pass
"""


def ended(command: list[str], after: float) -> tuple[float, int, str]:
    """Seconds a process takes to end after Ctrl-C, its status and what it said."""
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1
    )
    assert process.stderr is not None
    first = process.stderr.readline()  # it has begun
    time.sleep(after)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait()  # with a timeout it would look every 50 ms alone; promises.py has a limit
    seconds = time.monotonic() - begin
    return seconds, process.returncode, first + process.stderr.read()
