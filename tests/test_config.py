"""Threads, show_config, and what importing costs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading

import pytest

import fastnn
from fastnn.config import default_threads, n_threads
from fastnn.errors import DISTRIBUTION
from fastnn.kernels import _cpu


def test_threads_bound_every_call():
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


def test_threads_end_with_the_block_even_on_errors():
    with pytest.raises(KeyError), fastnn.threads(1):
        raise KeyError
    assert n_threads(7) == 7


def test_threads_hold_for_their_own_thread():
    seen = []
    with fastnn.threads(1):
        thread = threading.Thread(target=lambda: seen.append(n_threads(7)))
        thread.start()
        thread.join()
    assert seen == [7]


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
