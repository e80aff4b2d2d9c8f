"""How many threads a call may use, and what this build and machine offer."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, overload

import numpy as np

from fastnn.checks import as_int, as_name
from fastnn.kernels import _cpu
from fastnn.kernels._cpu import at_most, default_threads
from fastnn.kernels._cpu import limit as _limit

__version__ = "0.1.0"  # pyproject.toml's
BITS_VERSION = 1  # raised where the same training comes to other bits; CHANGELOG.md names each


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let calls inside the `with` block use at most `n` threads, whatever their models say.

    Of nested blocks the smallest `n` holds. Results do not depend on the number of threads.

    Parameters
    ----------
    n : int
        At least 1.

    Examples
    --------
    >>> import fastnn
    >>> with fastnn.threads(1):
    ...     model = fastnn.Model([2, 1], output="sigmoid")
    """
    n = as_int("n", n, 1)
    outer = _limit.get()
    token = _limit.set(n if outer is None else min(n, outer))
    try:
        yield
    finally:
        _limit.reset(token)


def n_threads(wanted: int | None) -> int:
    """The upper bound for a call of a model that wants `wanted` threads (None: the default): never
    more than there are CPUs for."""
    n = default_threads() if wanted is None else at_most(wanted)
    limit = _limit.get()
    return n if limit is None else min(n, limit)


@overload
def show_config(mode: Literal["print"] = "print") -> None: ...
@overload
def show_config(mode: Literal["dict"]) -> dict[str, Any]: ...
def show_config(mode: Literal["print", "dict"] = "print") -> dict[str, Any] | None:
    """Print what this build and machine offer, or return it.

    Parameters
    ----------
    mode : {"print", "dict"}
        Print a table, or return the same as a dict.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.show_config()
    fastnn ...
    """
    as_name("mode", mode, ("print", "dict"))
    config = {
        "fastnn": __version__,
        "bits_version": BITS_VERSION,
        "isa": _cpu.isa(),
        "isas": _cpu.isas(),
        "bfloat16": _cpu.bfloat16_by(),
        "openmp": _cpu.openmp(),
        "threads": n_threads(None),
        **_cpu.build_info(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
    }
    if mode == "dict":
        return config
    for name, value in config.items():
        print(f"{name:<12} {', '.join(value) if isinstance(value, list) else value}")
    return None


def cpu_name() -> str:
    """As the operating system calls the processor."""
    try:
        with open("/proc/cpuinfo") as file:
            names = (line for line in file if line.startswith("model name"))
            return next(names).partition(":")[2].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
