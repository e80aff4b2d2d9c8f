"""Results as JSON files in bench/results/: one for each date, CPU, instruction set and command."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine

Result = dict[str, Any]
RESULTS = Path(__file__).parent / "results"


def keep(
    kind: str, measurements: list[Result], packages: Sequence[str] = (), **versions: str
) -> None:
    """Write what a command has measured here, and say where. versions: of what is no package."""
    result = {
        **{"kind": kind, "date": machine.today(), "isa_limited_to": None},
        **{"machine": machine.describe(), "measurements": measurements},
        "packages": machine.packages([*packages]) | versions,
    }
    print("wrote", os.path.relpath(write(result)))


def write(result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Add the measurements to the file's, in place of those of the same workload and threads.

    So a command can be run in parts.
    """
    parts = result["date"], machine.cpu_slug(), result["machine"]["isa"], result["kind"]
    path = folder / f"{'-'.join(parts)}.json"
    folder.mkdir(exist_ok=True)
    if path.exists():
        before = json.loads(path.read_text())
        measured = {_identity(one): one for one in before["measurements"]}
        measured |= {_identity(one): one for one in result["measurements"]}
        packages = {**before["packages"], **result["packages"]}
        result = {**result, "packages": packages, "measurements": list(measured.values())}
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def _identity(measurement: dict[str, Any]) -> tuple[str, int]:
    return measurement["workload"]["name"], measurement["threads"]


def best_peer(entrants: dict[str, dict[str, Any]]) -> str | None:
    """The fastest but fastnn, of those that did the same work."""
    times = {name: one["median_us"] for name, one in entrants.items() if counts(one)}
    times.pop("fastnn", None)
    return min(times, key=times.get) if times else None


def counts(result: dict[str, Any]) -> bool:
    """Whether an entrant's result is a time, and of the same work."""
    return "median_us" in result and "wrong" not in result


def threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def measured(result: Result, kind: str, n_threads: int) -> dict[str, Result]:
    """Measurements that hold a time of fastnn's, by workload."""
    return {
        one["workload"]["name"]: one
        for one in result["measurements"]
        if one["workload"]["kind"] == kind
        and one["threads"] == n_threads
        and counts(one.get("entrants", {}).get("fastnn", {}))
    }


def numbers_of_threads(result: Result) -> list[int]:
    return sorted({one["threads"] for one in result["measurements"]})
