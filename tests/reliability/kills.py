"""kill -9 while a file is written."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastnn
from reliability.promises import Seen, promise

# In memory: on a disk nine of ten kills would come while it is waited for.
FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None
N_IN, HIDDEN = 100, 1000  # 400 KB
X, Y = np.zeros((4, N_IN), "f4"), np.zeros(4, int)


def model_of(version: int) -> fastnn.Model:
    """One whose every weight tells its version."""
    model = fastnn.Model([N_IN, HIDDEN, 2], seed=version)
    model.theta = np.full(model.n_parameters, 1 + version % 2, "f4")
    model.metadata = {"version": version}
    return model


def killed(work: Callable[[], None], seconds: float) -> None:
    """Do the work in a forked child, killed so many seconds after it began."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"b")
        try:
            work()
        finally:
            os._exit(1)
    os.read(read, 1)
    os.close(read)
    os.close(write)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the work failed"


def taken(work: Callable[[], object]) -> float:
    """Seconds."""
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def whole(path: Path) -> bool:
    """Whether the model is one of those saved, all of it."""
    model = fastnn.load(path)
    assert model.metadata is not None
    version = model.metadata["version"]
    return model.seed == version and bool((model.theta == 1 + version % 2).all())


def tried(n: int, save: Callable[[fastnn.Model, Path], object]) -> Seen:
    models, rng = [model_of(i) for i in range(2)], np.random.default_rng(0)
    torn = left = leftovers = 0
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "model.safetensors"

        def work() -> None:
            for i in itertools.count():
                save(models[i % 2], path)

        whole_save = min(taken(lambda i=i: save(models[i % 2], path)) for i in range(10))
        for i in range(n):
            killed(work, rng.uniform(0, 2.5 * whole_save))
            torn += not whole(path)
            leftovers += len(os.listdir(folder)) > 1
            if i % 10 == 9:
                save(models[0], path)
                left += os.listdir(folder) != [path.name]
    figure = f"{torn} of {n} torn ({leftovers} while the new file was being written), {left} left"
    return Seen(figure, torn == left == 0 and (leftovers > 0 or n < 1000))


@promise(
    "kill -9 during `save`",
    "the file is the old or the new one; nothing else is left after the next save",
    "0 of 10,000 torn, 0 left",
    count=10_000,
    limit=1800,
    few=20,
)
def kill_save(n: int) -> Seen:
    return tried(n, lambda model, path: model.save(path))


@promise(
    "kill -9 during a fit with `Checkpoint`",
    "the file is the old or the new checkpoint; nothing else is left after the next",
    "0 of 10,000 torn, 0 left",
    count=10_000,
    limit=1800,
)
def kill_checkpoint(n: int) -> Seen:
    def save(model: fastnn.Model, path: Path) -> None:
        model.fit(
            *(X, Y), epochs=1, learning_rate=1e-30, callbacks=[fastnn.Checkpoint(path)]
        )  # moves no weight, as 1 + 1e-30 is 1

    return tried(n, save)


@promise(
    "kill -9 during a fit with `CSVLogger`",
    "the log is the old one, or lines of the new one, each whole",
    "0 of 10,000 torn, 0 left",
    count=10_000,
    limit=1800,
    few=20,
)
def kill_log(n: int) -> Seen:
    model, rng = fastnn.Model([3, 4, 2], seed=0), np.random.default_rng(0)
    X, y = np.ones((4, 3)), np.array([0, 1, 0, 1])
    torn = left = fresh = 0
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "log.csv"

        def fit(epochs: int) -> None:
            model.fit(X, y, epochs=epochs, callbacks=[fastnn.CSVLogger(path)])

        def work() -> None:
            for _ in itertools.count():
                fit(40)

        whole_fit = min(taken(lambda: fit(40)) for _ in range(10))
        header = path.read_text().splitlines()[0]
        for _ in range(n):
            killed(work, rng.uniform(0, 2.5 * whole_fit))
            text = path.read_text()
            lines = text.splitlines()
            numbers = [line.split(",") for line in lines[1:]]
            torn += not (
                text.endswith("\n")
                and lines[0] == header
                and len(lines) > 1
                and all(len(row) == header.count(",") + 1 for row in numbers)
                and [int(row[0]) for row in numbers]
                == list(range(int(numbers[0][0]), int(numbers[0][0]) + len(numbers)))
            )
            fresh += len(lines) < 41
        fit(1)
        left += os.listdir(folder) != [path.name]
    figure = f"{torn} of {n} torn ({fresh} killed within a log), {left} left"
    return Seen(figure, torn == left == 0 and (fresh > 0 or n < 1000))
