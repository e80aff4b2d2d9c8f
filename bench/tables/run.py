"""`python -m bench tables`: fits of every entrant on every table, the missing ones of them.

Records are added to bench/results/tables as fits end, so a run that was broken off goes on where it
stopped. To fit again, delete the lines of what is to be fitted.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from bench import machine
from bench.environment import environment
from bench.processes import EntrantProcess, Failed
from bench.session import names_of
from bench.tables import records
from bench.tables.entrants import ENTRANTS
from bench.tables.tables import ENOUGH, LARGE, TABLES

TIMEOUT = 6 * 3600.0  # seconds of a fit


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--tables", type=names_of(TABLES), default=list(TABLES))
    whole = [one.name for one in ENTRANTS.values() if not one.part]
    parser.add_argument("--entrants", type=names_of(ENTRANTS), default=whole)
    parser.add_argument("--splits", type=int, default=5, help="of each table")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--records", type=Path, default=records.FOLDER, help="folder of records")


def main(options: Namespace) -> None:
    missing = {name: ENTRANTS[name].missing() for name in options.entrants}
    for name, why in missing.items():
        if why is not None:
            print(f"without {name}: {why}")
    entrants = [name for name in options.entrants if missing[name] is None]
    fits = plan(options.tables, entrants, options.splits)
    fits = records.missing(fits, options.threads, options.records)
    print(f"{len(fits)} fits", flush=True)
    process, serves = None, None
    for table, entrant, split in fits:
        if serves != (entrant, table):
            if process is not None:
                process.close()
            process, serves = start(entrant, options.threads), (entrant, table)
        record = {"table": table, "entrant": entrant, "split": split, "threads": options.threads}
        try:
            record |= process.ask("fit", table=table, split=split)
        except Failed as failure:
            record["failed"] = str(failure)
        records.add(record, options.records)
        print(line(record), flush=True)
    if process is not None:
        process.close()


def start(entrant: str, n_threads: int) -> EntrantProcess:
    where = machine.cores(), environment(n_threads)
    return EntrantProcess(entrant, n_threads, *where, "bench.tables.worker", TIMEOUT)


def plan(tables: list[str], entrants: list[str], splits: int) -> list[records.Fit]:
    """What is to be fitted, in order: the fast entrants' fits, then two splits of the others',
    large tables last, then their other splits in the same order."""

    def turn(fit: records.Fit) -> tuple[bool, bool, int, int]:
        table, name, split = fit
        stage = ENTRANTS[name].stage
        slow = stage > 0
        return slow and split >= ENOUGH, slow and table in LARGE, stage, entrants.index(name)

    fits = [
        (table, entrant, split)
        for table in TABLES
        if table in tables
        for entrant in entrants
        for split in range(splits)
    ]
    return sorted(fits, key=turn)


def line(record: dict[str, Any]) -> str:
    text = f"{time.strftime('%H:%M:%S')} {record['table']:18} {record['entrant']:15}"
    if "failed" in record:
        return f"{text} {record['split']}  failed: {record['failed']}"
    found = "  ".join(f"{name} {value:.4f}" for name, value in record["scores"].items())
    return f"{text} {record['split']}  {found}  fit {record['fit_s']:.2f} s"
