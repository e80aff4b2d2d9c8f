"""What a result must say about where it comes from: CPU, versions, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.environment import environment
from fastnn.config import cpu_name

ROOT = Path(__file__).parents[1]


def cpu_slug() -> str:
    """The CPU's name for file names: "AMD EPYC 7B13 64-Core Processor" -> amd-epyc-7b13."""
    name = re.sub(r"\(\w+\)|\d+-core|processor|cpu|@.*", " ", cpu_name().lower())
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def commit() -> str:
    """fastnn's commit, with "+" where files differ from it (results apart)."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", "src", "fastnn") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def describe(isa: str = "") -> dict[str, Any]:
    """The machine and the software, without the entrants' packages."""
    import numpy

    import fastnn
    from fastnn.kernels import _cpu

    return {
        "cpu": cpu_name(),
        "family": _cpuinfo("cpu family"),
        "model": _cpuinfo("model"),
        "cores": len(cores()),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "fastnn": fastnn.__version__,
        "isa": isa or _cpu.isa(),
        "compiler": _cpu.build_info()["compiler"],
        "peak": round(peak(isa), 1),
    }


PEAK = """
from fastnn.cli.bench import fma_peak
print(max(fma_peak("float32", 1) for _ in range(200)))
"""


def peak(isa: str = "") -> float:
    """GFLOP/s of float32 multiply-adds in one core's registers: the most of many tries."""
    command = [sys.executable, "-c", PEAK]
    run = subprocess.run(
        command, cwd=ROOT, env=environment(1, isa), capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def _cpuinfo(field: str) -> str:
    try:
        found = re.search(rf"^{field}\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def packages(distributions: list[str]) -> dict[str, str]:
    """Versions of those that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def today() -> str:
    return time.strftime("%Y-%m-%d")


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S")
