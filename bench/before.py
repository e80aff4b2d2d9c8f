"""`python -m bench before`: this fastnn against another build of it.

Both train and predict the same in turns, each in a process of its own checkout; a workload counts
as slower where the median ratio of its rounds is above MOST, measured twice.
"""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from pathlib import Path

from bench.measure import Plan, measure
from bench.session import Session, names_of
from bench.workloads import WORKLOADS, Workload

MOST = 1.1
CHOSEN = ["T1", "T2", "T3", "T4", "T5s", "T5a", "T6", "P1s", "P1m", "P1024m", "P65536s"]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a checkout of fastnn, compiled in place")
    parser.add_argument("--workloads", type=names_of(WORKLOADS), default=CHOSEN)
    parser.add_argument("--rounds", type=int, default=9)
    parser.set_defaults(entrants=["fastnn"], isa="", no_mkl_as_intel=True)


def main(options: Namespace) -> None:
    options.folder = options.folder.resolve()
    if not list(options.folder.glob("fastnn/kernels/_cpu*")):
        raise SystemExit(f"{options.folder} holds no fastnn that is compiled in place")
    slower = []
    with Session(options, 1) as session:
        for name in options.workloads:
            ratio = against(session, WORKLOADS[name], options.folder, options.rounds)
            if ratio > MOST:  # once may be the machine
                ratio = min(
                    ratio, against(session, WORKLOADS[name], options.folder, options.rounds)
                )
            print(f"{name:8} {WORKLOADS[name].title:40} {ratio:6.3f} times as long", flush=True)
            if ratio > MOST:
                slower.append(name)
    if slower:
        raise SystemExit(f"more than {MOST - 1:.0%} slower than before: {', '.join(slower)}")


def against(session: Session, workload: Workload, folder: Path, rounds: int) -> float:
    """This fastnn's time / the other's: the median of undisturbed rounds, nan if there is none."""
    new, old = session.process("fastnn", 1), session.process("fastnn", 1, folder)
    plan = Plan(rounds, enough=min(5, rounds), bound=2 * rounds, seconds=0.1, pause=0.02)
    found = measure(workload, [old, new], session.canaries, plan, old.key)["entrants"]
    for process in (old, new):
        if "loss" not in found[process.key] and "error" not in found[process.key]:
            raise SystemExit(f"{workload.name}, {process.key}: {found[process.key]['failed']}")
    return found[new.key].get("ratio", math.nan)
