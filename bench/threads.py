"""`python -m bench threads`: two threads beside a busy process; two processes on the same cores.

Training: its time beside a process that is always busy and pinned nowhere, against its time on a
quiet machine. Two threads and the other on two cores get two thirds of the machine each way, so
fair sharing takes 1.5 times as long; the loss is what it takes beyond that.

Prediction: two processes of two threads each that predict all the time on the same two cores,
against one process with its share, one thread on a core of its own: percentiles of single calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

from bench import machine
from bench.processes import EntrantProcess, Failed
from bench.results import write
from bench.session import Session, add_common_arguments
from bench.workloads import WORKLOADS, Workload, prediction

N_THREADS = 2
FAIR = 1.5  # three that want to run, on two cores
TRAINING = [WORKLOADS["T4"], WORKLOADS["T5s"]]
SERVING = prediction("P32", (784, 256, 10), 32)
PERCENTILES = ("p50_us", "p99_us", "p99.9_us")
TRAINERS = ["fastnn", "pytorch_by_hand", "pytorch_eager", "jax_scan", "tensorflow_xla"]
SERVERS = ["fastnn", "pytorch_by_hand", "torch_jit", "onnxruntime", "openvino"]


def add_arguments(parser: ArgumentParser) -> None:
    add_common_arguments(parser, list(dict.fromkeys(TRAINERS + SERVERS)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")


def main(options: Namespace) -> None:
    with Session(options, N_THREADS) as session:
        result = session.describe("threads")
        for workload in (*TRAINING, SERVING):
            if workload is SERVING:
                title, names, measure_one = "two processes that predict", SERVERS, two_processes
            else:
                title, names, measure_one = "a busy process beside", TRAINERS, busy_beside
            print(f"{workload.title}: {title}")
            head = {"threads": N_THREADS, "commit": machine.commit(), "entrants": {}}
            found = {"workload": workload.as_dict(), **head}
            result["measurements"].append(found)
            for name in (name for name in session.entrants if name in names):
                try:
                    found["entrants"][name] = measure_one(session, name, workload)
                except Failed as failure:
                    found["entrants"][name] = {"failed": str(failure)}
                print(f"  {name:17} {line(found['entrants'][name])}", flush=True)
                if options.write:
                    path = write(result)
    if options.write:
        print("wrote", os.path.relpath(path))


def busy_beside(session: Session, name: str, workload: Workload) -> dict[str, Any]:
    """Of a training step: times quiet and beside the busy process, medians of the ratios."""
    options = session.options
    with session.new_process(name, N_THREADS, session.cores) as process:
        process.ask("build", workload=workload.as_dict())
        process.ask("calibrate", seconds=options.seconds)
        quiet, busy = [], []
        for _ in range(options.rounds):
            quiet.append(process.ask("round")["seconds"])
            with BusyProcess(session.cores):
                busy.append(process.ask("round")["seconds"])
    ratios = [one / other for one, other in zip(busy, quiet, strict=True)]
    us = 1e6 / workload.steps
    return {
        "quiet_us": median(quiet) * us,
        "busy_us": median(busy) * us,
        "slowdown": median(ratios),
        "loss": median(ratios) / FAIR,
        "slowdowns": ratios,
    }


class BusyProcess:
    """A loop of Python that may run on any of the cores; ended with the block."""

    def __init__(self, cores: list[int]) -> None:
        self.cores = cores

    def __enter__(self) -> BusyProcess:
        self.process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        os.sched_setaffinity(self.process.pid, self.cores)
        time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def two_processes(session: Session, name: str, workload: Workload) -> dict[str, Any]:
    """Percentiles of a call, alone and together, medians over the rounds."""
    rounds, seconds = session.options.rounds, session.options.seconds
    alone, together = [], []
    with (
        session.new_process(name, 1, session.cores[:1]) as single,
        session.new_process(name, N_THREADS, session.cores) as first,
        session.new_process(name, N_THREADS, session.cores) as second,
    ):
        for process in (single, first, second):
            process.ask("build", workload=workload.as_dict())
        for _ in range(rounds):
            alone.append(_percentiles([single], seconds))
            together.append(_percentiles([first, second], seconds))
    typical = {
        "alone": {p: median(one[p] for one in alone) for p in PERCENTILES},
        "together": {p: median(one[p] for one in together) for p in PERCENTILES},
    }
    ratios = {p: typical["together"][p] / typical["alone"][p] for p in PERCENTILES}
    return {**typical, "ratios": ratios}


def _percentiles(processes: list[EntrantProcess], seconds: float) -> dict[str, float]:
    """Of calls in all processes at once; the worse process counts."""
    for process in processes:
        process.send("latencies", seconds=seconds)
    answers = [process.receive() for process in processes]
    return {p: max(answer[p] for answer in answers) for p in PERCENTILES}


def line(one: dict[str, Any]) -> str:
    if "failed" in one:
        return one["failed"]
    if "loss" in one:
        times = f"{one['quiet_us']:9.1f} us -> {one['busy_us']:9.1f} us"
        return f"{times}  {one['slowdown']:.2f} times  loss {one['loss']:.2f}"
    return "   ".join(
        f"{p[:-3]:5} {one['alone'][p]:8.1f} -> {one['together'][p]:8.1f} us {one['ratios'][p]:6.2f}"
        for p in PERCENTILES
    )
