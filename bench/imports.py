"""`python -m bench imports`: how long `import fastnn` takes, beside the imports of its peers.

Processes of their own take turns, round after round, with all files in the system's cache; the time
is the process's from its start to its end, and what Python alone takes is told, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from statistics import median
from typing import Any

from bench import machine
from bench.results import keep

MODULES = "numpy", "fastnn", "sklearn.neural_network", "onnxruntime", "torch"
ALONE = "Python alone"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    ways = measure(options.rounds)
    for name, one in ways.items():
        print(f"{name:24} {1e3 * one['median_s']:8.1f} ms   {one['ratio']:5.2f} times NumPy's")
    if options.write:
        head = {"workload": {"name": "import"}, "threads": 1, "commit": machine.commit()}
        keep("imports", [{**head, "ways": ways}], ["scikit-learn", "onnxruntime", "torch"])


def measure(rounds: int) -> dict[str, Any]:
    """Seconds of each process, round by round, and what an import adds to Python as a multiple of
    what NumPy's adds."""
    codes = {ALONE: "pass"}
    codes |= {name: f"import {name}" for name in MODULES if find_spec(name.partition(".")[0])}
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # as installed: compiled before
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    for turn in range(rounds + 1):  # the first brings files near
        for name, code in codes.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    typical = {name: median(times) for name, times in seconds.items()}
    numpy = typical["numpy"] - typical[ALONE]
    return {
        name: {
            **{"median_s": typical[name], "ratio": (typical[name] - typical[ALONE]) / numpy},
            "seconds": [round(one, 5) for one in times],
        }
        for name, times in seconds.items()
    }
