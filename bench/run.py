"""`python -m bench run`: every workload, by every entrant, with every number of threads."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from bench import machine
from bench.entrants import ENTRANTS
from bench.measure import Plan, measure
from bench.results import best_peer, threads, write
from bench.session import Session, add_common_arguments, add_threads_argument, names_of
from bench.workloads import WORKLOADS, Unavailable, Workload, mnist


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--workloads", type=names_of(WORKLOADS), default=list(WORKLOADS))
    add_threads_argument(parser)
    add_common_arguments(parser, list(ENTRANTS))
    parser.add_argument("--rounds", type=int, default=7)


def main(options: Namespace) -> None:
    rounds = options.rounds
    plan = Plan(rounds, enough=min(4, rounds), bound=rounds + 3, seconds=0.1, pause=0.15)
    for n_threads in options.threads:
        with Session(options, n_threads) as session:
            result = session.describe("run")
            for name in options.workloads:
                found = measure_one(session, WORKLOADS[name], plan)
                result["measurements"].append(found)
                print(line(found), flush=True)
                if options.write:  # after each: what is measured is not lost
                    path = write(result)
    if options.write:
        print("wrote", os.path.relpath(path))


def measure_one(session: Session, workload: Workload, plan: Plan) -> dict[str, Any]:
    n_threads = session.n_threads
    head = {"threads": n_threads, "commit": machine.commit(), "time": machine.now()}
    if workload.data == "mnist":
        try:
            mnist(1)
        except Unavailable as reason:
            return {**head, "workload": workload.as_dict(), "skipped": str(reason)}
    entrants = [one for one in session.entrants if ENTRANTS[one].takes(workload)]
    processes = [session.process(one, n_threads) for one in entrants]
    found = measure(workload, processes, session.canaries, plan, f"fastnn@{n_threads}")
    by_name = {key.partition("@")[0]: result for key, result in found["entrants"].items()}
    return {**head, **found, "entrants": by_name, "best_peer": best_peer(by_name)}


def line(found: dict[str, Any]) -> str:
    """A measurement in a few lines of text."""
    workload = Workload.from_dict(found["workload"])
    head = f"{workload.name}: {workload.title}; {threads(found['threads'])}"
    if "skipped" in found:
        return f"{head}: skipped, {found['skipped']}"
    lines = [f"{head} ({found['canary'].get('rounds', 0)} rounds)"]
    order = sorted(found["entrants"].items(), key=lambda item: item[1].get("median_us", 1e99))
    for name, result in order:
        if "median_us" not in result:
            lines.append(f"  {name:17} {result.get('failed', '')}")
            continue
        text = f"  {name:17} {result['median_us']:11.2f} us  IQR {result['iqr_us']:9.2f}"
        text += f"  {result['thousand_samples_s']:9.1f} k/s  ratio {result.get('ratio', 0):7.3f}"
        text += f"  good {sum(result['good'])}  {result['variant']}"
        lines.append(text + (f"  WRONG: {result['wrong']}" if "wrong" in result else ""))
    return "\n".join(lines)
