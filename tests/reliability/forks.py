"""A child forked from a process that has used fastnn, also while other threads use it."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import fastnn
from reliability.promises import NotHere, Seen, promise

warnings.filterwarnings("ignore", ".*multi-threaded.*fork.*", DeprecationWarning)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((512, 300)).astype("f4")
Y = RNG.integers(0, 5, 512)
MANY_ROWS = RNG.standard_normal((4000, 300)).astype("f4")
SHARED = fastnn.Model([300, 500, 5], seed=1, n_threads=2)  # large enough for two threads


def answer() -> bytes:
    """Bits of a prediction of a model of before the fork, and of a training after it."""
    model = fastnn.Model([300, 200, 5], seed=1, n_threads=2)
    model.fit(X, Y, epochs=1, batch_size=256, learning_rate=0.01)
    return SHARED.forward(X).tobytes() + model.theta.tobytes()


@contextmanager
def three_busy_threads() -> Iterator[None]:
    """One trains, one predicts, one calls a predictor: each on two threads."""
    trained = fastnn.Model([300, 500, 5], seed=2, n_threads=2)
    predictor, done = SHARED.predictor(), threading.Event()

    def busy(work: Callable[[], object]) -> None:
        while not done.is_set():
            work()

    work = (
        lambda: trained.fit(X, Y, epochs=5, batch_size=256, learning_rate=0.01),
        lambda: SHARED.predict(MANY_ROWS),
        lambda: predictor(MANY_ROWS),
    )
    threads = [threading.Thread(target=busy, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def in_child(expected: bytes, wait: float = 5.0) -> tuple[bool, float]:
    """Whether a forked child's answer is the expected one, and the seconds until it came."""
    begin = time.monotonic()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, b"y" if answer() == expected else b"n")
        finally:
            os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], wait)
    same = bool(ready) and os.read(read, 1) == b"y"
    seconds = time.monotonic() - begin
    os.close(read)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return same, seconds


@promise(
    "fork while three threads train and predict, two OpenMP threads each",
    "the child predicts and trains, with the parent's bits",
    "1000 of 1000, each in less than 1 s",
    count=1000,
    few=3,
)
def fork_busy(n: int) -> Seen:
    expected = answer()
    with three_busy_threads():
        seen = [in_child(expected) for _ in range(n)]
    right, slowest = sum(same for same, _ in seen), max(seconds for _, seconds in seen)
    return Seen(f"{right} of {n}, slowest {slowest:.2f} s", right == n and slowest < 1)


def pooled(_: int) -> bytes:
    return answer()


@promise(
    'multiprocessing\'s "fork", after parallel work and beside three busy threads',
    "workers predict and train, with the parent's bits",
    "every answer of 100 pools of 2",
    count=100,
)
def fork_pools(n: int) -> Seen:
    expected, right, slowest = answer(), 0, 0.0
    context = multiprocessing.get_context("fork")
    with three_busy_threads():
        for _ in range(n):
            begin = time.monotonic()
            with context.Pool(2) as pool:
                right += pool.map_async(pooled, range(4), 1).get(30) == [expected] * 4
            slowest = max(slowest, time.monotonic() - begin)
    return Seen(f"{right} of {n} pools, slowest {slowest:.2f} s", right == n)


APP = """
import hashlib, os
import fastnn
from reliability import forks
forks.answer()  # in the master, before it forks
def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {hashlib.sha256(forks.answer()).hexdigest()}".encode()]
"""


@promise(
    "gunicorn --preload: the model has been used when workers are forked",
    "every worker answers, with the master's bits, also those that follow killed ones",
    "every request, of at least 10 workers",
    count=500,
)
def fork_gunicorn(n: int) -> Seen:
    import hashlib

    if importlib.util.find_spec("gunicorn") is None:
        raise NotHere("gunicorn is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    expected = hashlib.sha256(answer()).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "app.py").write_text(APP)
        command = "-m", "gunicorn", "--preload", "-w", "2", "-b", f"127.0.0.1:{port}", "app:app"
        server = subprocess.Popen(
            [sys.executable, *command, "--chdir", folder, "--log-level", "warning"],
        )
        try:
            pids, right = set(), 0
            for i in range(n):
                pid, digest = _asked(port, server)
                pids.add(pid)
                right += digest == expected
                if i % (n // 10) == 1:  # the master forks another
                    os.kill(int(pid), signal.SIGKILL)
                    time.sleep(0.3)
        finally:
            server.terminate()
            server.wait(30)
    figure = f"{right} of {n} requests, of {len(pids)} workers"
    return Seen(figure, right == n and len(pids) >= 10)


def _asked(port: int, server: subprocess.Popen[bytes]) -> tuple[str, str]:
    """A worker's number and answer; asked anew where no worker listens yet."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
                pid, digest = response.read().decode().split()
                return pid, digest
        except OSError:
            if server.poll() is not None:
                raise
            time.sleep(0.1)
    raise TimeoutError("no worker answers")
