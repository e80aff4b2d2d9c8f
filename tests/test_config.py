"""Threads, show_config, and what importing costs."""

from __future__ import annotations

import importlib.metadata
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastnn
from fastnn import config
from fastnn.config import default_threads, n_threads
from fastnn.errors import DISTRIBUTION
from fastnn.kernels import _cpu


@pytest.fixture
def ten_cpus(monkeypatch):
    monkeypatch.setattr(fastnn.config, "at_most", lambda wanted: min(wanted, 10))


def test_threads_bound_every_call(ten_cpus):
    assert n_threads(None) == default_threads()
    assert n_threads(7) == 7
    with fastnn.threads(3):
        assert n_threads(7) == 3 and n_threads(2) == 2
        with fastnn.threads(5):
            assert n_threads(7) == 3
        with fastnn.threads(1):
            assert n_threads(7) == 1
        assert n_threads(7) == 3
    assert n_threads(7) == 7


def test_threads_end_with_the_block_even_on_errors(ten_cpus):
    with pytest.raises(KeyError), fastnn.threads(1):
        raise KeyError
    assert n_threads(7) == 7


def test_threads_hold_for_their_own_thread(ten_cpus):
    seen = []
    with fastnn.threads(1):
        thread = threading.Thread(target=lambda: seen.append(n_threads(7)))
        thread.start()
        thread.join()
    assert seen == [7]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_hold_in_a_child_that_is_forked_within(ten_cpus):
    with fastnn.threads(3):
        child = os.fork()
        if child == 0:
            os._exit(n_threads(7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3 and n_threads(7) == 7


@pytest.mark.parametrize("wanted", [300, 10**6, 10**30])
def test_nobody_gets_more_threads_than_there_are_cpus(wanted):
    assert n_threads(wanted) == _cpu.usable_cpus()
    model = fastnn.Model([2, 3, 2], seed=0, n_threads=wanted)
    X, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    model.fit(X, y, epochs=1)
    alone = fastnn.Model([2, 3, 2], seed=0, n_threads=1)
    fastnn.fit_many([alone], X, y, epochs=1, n_threads=wanted)
    assert model.theta.tobytes() == alone.theta.tobytes()
    assert model.forward(X).tobytes() == alone.predictor()(X).tobytes()


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)]
)
def test_wrong_threads(n, error):
    with pytest.raises(error, match="n must be"), fastnn.threads(n):
        pass


def test_show_config(capsys):
    assert fastnn.show_config() is None
    printed = capsys.readouterr().out
    config = fastnn.show_config("dict")
    assert config["fastnn"] == fastnn.__version__
    assert config["isa"] == _cpu.isa() and config["isa"] in config["isas"]
    assert config["threads"] >= 1
    for name in config:
        assert f"{name} " in printed
    with pytest.raises(ValueError, match="mode must be one of print, dict, got 'yaml'"):
        fastnn.show_config("yaml")


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: A B (R)\n", "A B (R)"),
        ("processor\t: 0\n", "arm"),
        (None, "arm"),
    ],
)
def test_the_name_of_the_processor(monkeypatch, cpuinfo, name):
    """As Linux tells it; on ARM it does not, and elsewhere there is no such file."""

    def opened(path):
        assert path == "/proc/cpuinfo"
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return io.StringIO(cpuinfo)

    monkeypatch.setattr(config, "open", opened, raising=False)
    monkeypatch.setattr(config.platform, "processor", lambda: "")
    monkeypatch.setattr(config.platform, "machine", lambda: "arm")
    assert config.cpu_name() == name


def test_version_is_that_of_the_distribution():
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fastnn runs from its source folder, not installed")
    assert version == fastnn.__version__


def test_import_loads_no_extra():
    extras = ["tqdm", "matplotlib", "pyarrow", "sklearn", "pandas", "json", "numpy.random"]
    code = f"""
import sys, numpy
before = set(sys.modules)
import fastnn
print([name for name in {extras} if name in set(sys.modules) - before])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
