"""Records of fits: a file of JSON lines for each entrant, a line added after each fit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.results import RESULTS

FOLDER = RESULTS / "tables"
Record = dict[str, Any]
Fit = tuple[str, str, int]  # table, entrant, split


def read(folder: Path = FOLDER) -> list[Record]:
    """All records; of two of the same fit the later. A line cut short by a crash is left out."""
    found: dict[tuple[Fit, int], Record] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[_identity(record)] = record
    return list(found.values())


def _identity(record: Record) -> tuple[Fit, int]:
    return (record["table"], record["entrant"], record["split"]), record["threads"]


def add(record: Record, folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['entrant']}.jsonl"
    whole = not path.exists() or path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write(f"{'' if whole else chr(10)}{json.dumps(record)}\n")


def missing(fits: Iterable[Fit], n_threads: int, folder: Path = FOLDER) -> list[Fit]:
    """Those without a record, in their order. A failed fit has one."""
    there = {_identity(record) for record in read(folder)}
    return [fit for fit in fits if (fit, n_threads) not in there]
