"""`python -m bench run`: every workload, by every entrant, with every number of threads."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from bench import machine
from bench.entrants import ENTRANTS
from bench.environment import environment, mkl_as_intel
from bench.measure import Plan, measure
from bench.seats import Canaries, Seat
from bench.workloads import WORKLOADS, Unavailable, mnist

RESULTS = Path(__file__).parent / "results"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--workloads", type=names_of(WORKLOADS), default=list(WORKLOADS))
    add_common_arguments(parser)
    parser.add_argument("--rounds", type=int, default=7)


def add_common_arguments(parser: ArgumentParser, entrants: list[str] | None = None) -> None:
    """What run, sweep and threads share."""
    every = list(ENTRANTS)
    parser.add_argument("--entrants", type=names_of(ENTRANTS), default=entrants or every)
    parser.add_argument("--threads", type=numbers, default=default_threads())
    parser.add_argument("--isa", default="", help="limit all that can be limited, such as avx2")
    parser.add_argument(
        "--no-mkl-as-intel", action="store_true", help="leave PyTorch's MKL as it comes"
    )
    parser.add_argument("--write", action="store_true", help="into bench/results/")


def names_of(known: Any):
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise ValueError(f"{name!r} is none of {', '.join(known)}")
        return names

    parse.__name__ = "comma-separated list of names"
    return parse


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def default_threads() -> list[int]:
    """One, and all cores (up to eight)."""
    return sorted({1, min(8, len(machine.cores()))})


class Hall:
    """The seats of a command, with what their processes need. Seats stay for many workloads."""

    def __init__(self, options: Namespace) -> None:
        self.isa = options.isa
        self.preload = "" if options.no_mkl_as_intel else mkl_as_intel()
        self.missing = {name: why for name in options.entrants if (why := ENTRANTS[name].missing())}
        self.entrants = [name for name in options.entrants if name not in self.missing]
        self.seats: dict[tuple[str, int], Seat] = {}
        cores = machine.cores()
        if max(options.threads) > len(cores):
            raise SystemExit(f"--threads must be at most {len(cores)} here: {options.threads}")
        self.cores = cores[: max(options.threads)]
        self.canaries = Canaries(self.cores)
        for name, why in self.missing.items():
            print(f"without {name}: {why}")

    def seat(self, name: str, n_threads: int) -> Seat:
        if (name, n_threads) not in self.seats:
            preload = self.preload if ENTRANTS[name].uses_mkl else ""
            env = environment(n_threads, self.isa, preload)
            cores = self.cores[:n_threads]
            self.seats[name, n_threads] = Seat(name, n_threads, cores, env)
        return self.seats[name, n_threads]

    def clear(self) -> None:
        for seat in self.seats.values():
            seat.close()
        self.seats = {}

    def describe(self, kind: str, options: Namespace) -> dict[str, Any]:
        """The head of a result."""
        distributions = [d for name in self.entrants for d in ENTRANTS[name].distributions]
        return {
            "kind": kind,
            "date": machine.today(),
            "machine": machine.describe(self.isa),
            "packages": machine.packages(distributions),
            "missing": self.missing,
            "mkl_as_intel": bool(self.preload),
            "isa_limited_to": self.isa or None,
            "options": {k: v for k, v in vars(options).items() if not callable(v)},
        }

    def __enter__(self) -> Hall:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self.canaries.close()


def main(options: Namespace) -> None:
    plan = Plan(rounds=options.rounds, enough=min(5, options.rounds))
    with Hall(options) as hall:
        result = {**hall.describe("run", options), "measurements": []}
        for n_threads in options.threads:
            for name in options.workloads:
                found = measure_one(hall, name, n_threads, plan)
                result["measurements"].append(found)
                print(line(found), flush=True)
                if options.write:  # after each: what is measured is not lost
                    path = write(result)
            hall.clear()
    if options.write:
        print("wrote", os.path.relpath(path))


def measure_one(hall: Hall, name: str, n_threads: int, plan: Plan) -> dict[str, Any]:
    workload = WORKLOADS[name]
    head = {"threads": n_threads, "commit": machine.commit(), "time": machine.now()}
    if workload.data == "mnist":
        try:
            mnist(1)
        except Unavailable as reason:
            return {**head, "workload": workload.as_dict(), "skipped": str(reason)}
    entrants = [one for one in hall.entrants if workload.kind in ENTRANTS[one].kinds]
    seats = [hall.seat(one, n_threads) for one in entrants]
    found = measure(workload, seats, hall.canaries, plan, f"fastnn@{n_threads}")
    by_name = {key.partition("@")[0]: result for key, result in found["entrants"].items()}
    return {**head, **found, "entrants": by_name, "best_peer": best_peer(by_name)}


def best_peer(entrants: dict[str, dict[str, Any]]) -> str | None:
    """The fastest but fastnn, of those that did the same work."""
    times = {
        name: result["median_us"]
        for name, result in entrants.items()
        if name != "fastnn" and "median_us" in result and "wrong" not in result
    }
    return min(times, key=times.get) if times else None


def line(found: dict[str, Any]) -> str:
    """A measurement in a few lines of text."""
    workload = found["workload"]
    title = f"{workload['name']} {'-'.join(map(str, workload['sizes']))}, {workload['batch']}"
    head = f"{title}, {found['threads']} thread{'s' * (found['threads'] > 1)}"
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


def write(result: dict[str, Any]) -> Path:
    """Into the file of this date, CPU and instruction set; measurements there are replaced by ours.

    So a run can be made in parts.
    """
    info = result["machine"]
    parts = result["date"], machine.cpu_slug(), info["isa"], result["kind"]
    path = RESULTS / f"{'-'.join(parts)}.json"
    RESULTS.mkdir(exist_ok=True)
    if path.exists() and "measurements" in result:
        before = json.loads(path.read_text())
        ours = {_identity(one) for one in result["measurements"]}
        kept = [one for one in before["measurements"] if _identity(one) not in ours]
        merged = sorted(kept + result["measurements"], key=_place)
        packages = {**before["packages"], **result["packages"]}
        result = {**result, "measurements": merged, "packages": packages}
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def _identity(measurement: dict[str, Any]) -> tuple[str, int]:
    return measurement["workload"]["name"], measurement["threads"]


def _place(measurement: dict[str, Any]) -> tuple[int, int]:
    name, threads = _identity(measurement)
    names = list(WORKLOADS)
    return threads, names.index(name) if name in names else len(names)
