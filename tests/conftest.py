"""Fixtures: an empty folder, instruction sets, and real data where FASTNN_DATA names mnist.npz and
tabular/*.csv."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn.kernels import _cpu

# The checkout's bench, at the end of the path, and not for long: an installed fastnn comes first.
sys.path.append(str(Path(__file__).parents[1]))
import bench  # noqa: F401

sys.path.pop()

# Keras asks for TensorFlow by default; by NumPy it keeps float64 as well.
if importlib.util.find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "numpy")

CHROMIUM = os.environ.get("FASTNN_CHROMIUM") or shutil.which("chromium")

# Started under nohup or in a shell's background, Python and its children ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def data_path(name):
    """The file or folder `name` under FASTNN_DATA; skips the test where there is none."""
    folder = os.environ.get("FASTNN_DATA")
    if not folder:
        pytest.skip("FASTNN_DATA names no folder with real data")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"FASTNN_DATA has no {name}")
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=_cpu.isas())
def isa(request):
    """Each instruction set of this machine, in turn; threads share even the smallest work."""
    _cpu.use(request.param)
    _cpu.set_flops_a_thread(0)
    yield request.param
    _cpu.set_flops_a_thread()
    _cpu.use()


@pytest.fixture
def run(capsys):
    """Runs a command in this process, of one text or of many words: (exit status, standard output,
    standard error)."""

    from fastnn.cli import main

    def run(*words):
        words = words[0].split() if len(words) == 1 else map(str, words)
        status = main(list(words))
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def mnist():
    """X (60000, 784) float32 in [0, 1], y (60000,) int; X_test (10000, 784), y_test (10000,)."""
    with np.load(data_path("mnist.npz")) as files:
        pixels = {part: files[f"{part}_images"].reshape(-1, 784) for part in ("train", "test")}
        labels = {part: files[f"{part}_labels"].astype(np.int64) for part in ("train", "test")}
    X, X_test = (pixels[part].astype(np.float32) / np.float32(255) for part in ("train", "test"))
    return X, labels["train"], X_test, labels["test"]


@pytest.fixture(scope="session")
def tabular():
    """The folder with abalone.csv, adult-train.csv, adult-test.csv, winequality-white.csv, ..."""
    return data_path("tabular")


@pytest.fixture(scope="session")
def browser():
    """Chromium, by playwright; FASTNN_CHROMIUM names it where it is not on the path."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
