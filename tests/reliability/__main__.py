"""Tries promises, prints a line for each, and writes the record and the table of docs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import fastnn
from fastnn.config import cpu_name
from reliability.promises import ROOT, Promise, Seen, kept, load

RECORD = Path(__file__).with_name("record.json")
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- make reliability -->\n", "<!-- end -->\n"


def here() -> dict[str, str]:
    """The machine and the versions that figures hold for."""
    config = fastnn.show_config("dict")
    return {
        "cpu": cpu_name(),
        "cores": str(os.cpu_count()),
        "isa": config["isa"],
        "compiler": config["compiler"],
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "fastnn": fastnn.__version__,
    }


def commit() -> str:
    """The last one that changed what is built; with a plus where the checkout has changed since."""
    parts = ["--", "fastnn", "src", "setup.py"]

    def git(*words: str) -> str:
        command = ["git", *words, *parts]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return git("log", "-1", "--format=%h") + ("+" if git("diff", "--stat", "HEAD") else "")


def recorded(where: dict[str, str]) -> dict[str, dict[str, object]] | None:
    """The rows of the record; None if it is of another machine or other versions."""
    if not RECORD.exists():
        return {}
    record = json.loads(RECORD.read_text())
    return record["rows"] if record["where"] == where else None


def write(where: dict[str, str], rows: dict[str, dict[str, object]]) -> None:
    rows = {name: rows[name] for name in load() if name in rows}
    RECORD.write_text(json.dumps({"where": where, "rows": rows}, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(where, rows) + END + rest.partition(END)[2])


def table(where: dict[str, str], rows: dict[str, dict[str, object]]) -> str:
    dates = sorted({str(row["date"]) for row in rows.values()})
    commits = list(dict.fromkeys(str(row["commit"]) for row in rows.values()))
    lines = [
        f"\nSeen on {' and '.join(dates)} at commit {', '.join(commits)}: {where['cpu']}, "
        f"{where['cores']} cores, {where['isa']}, {where['kernel']}, {where['compiler']}, "
        f"Python {where['python']}, NumPy {where['numpy']}.\n",
        "| Fault | Promise | Asked | Seen | Holds | Name |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, promise in load().items():
        row = rows.get(name, {"figure": "not tried yet", "holds": None})
        holds = {True: "yes", False: "**no**", None: "?"}[row["holds"]]
        cells = promise.fault, promise.says, promise.asked, row["figure"], holds, f"`{name}`"
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n\n"


def show(promise: Promise, seen: Seen) -> None:
    holds = {True: "pass", False: "FAIL", None: "skip"}[seen.holds]
    print(f"{holds}  {promise.name:<20} {seen.seconds:6.1f} s  {seen.figure}", flush=True)


def main(names: list[str]) -> int:
    promises = load()
    unknown = set(names) - set(promises)
    if unknown:
        print(f"no such promise: {', '.join(sorted(unknown))}; there are {', '.join(promises)}")
        return 2
    where, failed = here(), False
    rows = recorded(where)
    if rows is None and names:
        print(f"{RECORD.name} is of another machine or versions: a run of all rows replaces it")
    for name in names or promises:
        seen = kept(name, promises[name].count)
        show(promises[name], seen)
        failed = failed or seen.holds is False
        date = datetime.now(UTC).date().isoformat()
        row = {**asdict(seen), "count": promises[name].count, "date": date, "commit": commit()}
        if rows is not None or not names:
            rows = {**(rows or {}), name: row}
            write(where, rows)
    return int(failed)


sys.exit(main(sys.argv[1:]))
