"""A process that lives long, and the slowest of many predictions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastnn
from reliability.promises import NotHere, Seen, promise

RNG = np.random.default_rng(0)
MOST = 1024  # KiB of growth


def resident() -> int:
    """KiB of this process that are in memory."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:"))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def growth(n: int, work: Callable[[int], object]) -> Seen:
    """What n times of work leave behind; the first tenth of them settles what caches hold."""
    for i in range(max(n // 10, 10)):
        work(i)
    memory, files = resident(), descriptors()
    for i in range(n):
        work(i)
    grown, more = resident() - memory, descriptors() - files
    figure = f"{grown:+} KiB, {more:+} descriptors after {n:,}"
    return Seen(figure, grown <= MOST and more == 0)


FLAT = "at most 1 MiB of growth, no more descriptors"


@promise("10,000,000 predictions of a row", "memory and descriptors stay flat", FLAT, 10_000_000)
def life_predict(n: int) -> Seen:
    predictor = fastnn.Model([30, 64, 5], seed=1).predictor()
    rows, out = RNG.standard_normal((100, 30)).astype("f4"), np.empty(5, "f4")

    def hundred(i: int) -> None:
        for row in rows:
            predictor(row, out)

    seen = growth(n // 100, hundred)
    figure = seen.figure.replace(f"after {n // 100:,}", f"after {n:,}")
    return Seen(figure, seen.holds)


@promise("10,000 fits, each of a new model", "memory and descriptors stay flat", FLAT, 10_000)
def life_fit(n: int) -> Seen:
    X, y = RNG.standard_normal((64, 10)), RNG.integers(0, 3, 64)
    optimizers = "sgd", "adam", "rmsprop", "lion"

    def fit(i: int) -> None:
        model = fastnn.Model([10, 16, 3], seed=i)
        model.fit(X, y, epochs=2, validation_split=0.2, optimizer=optimizers[i % 4])
        model.predict(X)

    return growth(n, fit)


@promise("10,000 saves and loads", "memory and descriptors stay flat", FLAT, 10_000)
def life_files(n: int) -> Seen:
    model = fastnn.Model([10, 16, 3], seed=0)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "m.safetensors"

        def turn(i: int) -> None:
            model.save(path)
            fastnn.load(path)
            if i % 10 == 0:
                try:
                    fastnn.load(Path(folder))  # and errors leave nothing open
                except (OSError, fastnn.ModelFileError):
                    pass

        return growth(n, turn)


@promise(
    "a file is truncated, overwritten or removed while its model is in use",
    "the model answers as before: nothing of it is read from the file any more, no SIGBUS",
    "every try of 100",
    count=100,
    few=10,
)
def life_truncated(n: int) -> Seen:
    x, right = RNG.standard_normal((50, 100)).astype("f4"), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        for i in range(n):
            model = fastnn.Model([100, 1000, 3], seed=i)
            model.save(path)
            loaded = fastnn.load(path)
            predictor = loaded.predictor() if i % 2 else loaded.forward
            with open(path, "r+b") as file:
                if i % 3 == 0:
                    file.truncate(0)
                elif i % 3 == 1:
                    file.truncate(5000)
                else:
                    file.write(b"\xff" * 400_000)
            loaded.partial_fit(x, np.zeros(50, int), learning_rate=1e-30)
            right += predictor(x).tobytes() == model.forward(x).tobytes()
    return Seen(f"{right} of {n}", right == n)


@promise(
    "a file is truncated while it is being loaded",
    "ModelFileError or a whole model, no SIGBUS",
    "every load of 2,000",
    count=2000,
)
def life_truncated_load(n: int) -> Seen:
    code = """
import os, sys
raw = open(sys.argv[1], "rb").read()
print("begins", flush=True)
while True:
    with open(sys.argv[1], "r+b") as file:
        file.truncate(len(raw) // 2)
        file.write(raw)
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        model = fastnn.Model([100, 1000, 3], seed=1)
        model.save(path)
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            refused = whole = 0
            try:
                for _ in range(n):
                    try:
                        loaded = fastnn.load(path)
                        whole += loaded.theta.tobytes() == model.theta.tobytes()
                    except fastnn.ModelFileError:
                        refused += 1
            finally:
                writer.kill()
    return Seen(f"{whole} whole and {refused} refused of {n:,}", whole + refused == n)


TAILS = """
import sys
import numpy as np
import fastnn
predictor = fastnn.Model([30, 64, 5], seed=1).predictor()
x, out = np.ones(30, "f4"), np.empty(5, "f4")
predictor(x, out)
for _ in range(int(sys.argv[1])):
    predictor(x, out)
"""


def system_calls(n: int) -> int:
    """Of a process that predicts n times."""
    command = ["strace", "-f", "-c", "-o", "/dev/stdout", sys.executable, "-c", TAILS, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return next(int(line.split()[-2]) for line in done.stdout.splitlines()[::-1] if "total" in line)


@promise(
    "system calls of a prediction of a row",
    "none: strace counts the same for 1,000 predictions as for 101,000",
    "0",
    count=100_000,
)
def tails_calls(n: int) -> Seen:
    if shutil.which("strace") is None:
        raise NotHere("no strace")
    more = [system_calls(1000 + n) - system_calls(1000) for _ in range(3)]
    figure = f"{', '.join(f'{one:+}' for one in more)} system calls for {n:,} predictions"
    return Seen(figure, min(map(abs, more)) <= 2)


@promise(
    "the slowest predictions of a row",
    "reported: p99.9 / p50 of 1,000,000, and by turns of comparing texts for as long",
    "no figure: it is the machine's as much as ours",
    count=1_000_000,
)
def tails_spread(n: int) -> Seen:
    predictor = fastnn.Model([30, 64, 5], seed=1).predictor()
    x, out, clock = np.ones(30, "f4"), np.empty(5, "f4"), time.perf_counter_ns
    ours, floor = np.empty(n), np.empty(n)
    size, few = 16384, min(n, 20_000)
    for last in (False, False, True):  # first: texts whose comparison takes as long as a prediction
        text, same = bytes(size), bytes(bytearray(size))
        for i in range(n if last else few):
            begin = clock()
            predictor(x, out)
            ours[i] = clock() - begin
            begin = clock()
            text == same  # noqa: B015
            floor[i] = clock() - begin
        if not last:
            size = round(size * np.median(ours[:few]) / np.median(floor[:few]))
    return Seen(f"{spread(ours)}; comparing {size:,} bytes {spread(floor)}", True)


def spread(times: np.ndarray) -> str:
    """Of times in nanoseconds."""
    half, late, last = np.percentile(times, [50, 99.9, 99.99]) / 1e3
    figures = f"p50 {half:.2f} us, p99.9 {late:.2f}, p99.99 {last:.2f}"
    return f"{figures}: p99.9 / p50 = {late / half:.1f}"
