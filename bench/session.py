"""What the commands share: their options, the entrants' processes, the head of a result."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from bench import machine
from bench.entrants import ENTRANTS
from bench.environment import environment, mkl_as_intel
from bench.processes import Canaries, EntrantProcess


def add_common_arguments(parser: ArgumentParser, entrants: list[str]) -> None:
    parser.add_argument("--entrants", type=names_of(ENTRANTS), default=entrants)
    parser.add_argument("--isa", default="", help="limit all to an instruction set: avx2")
    parser.add_argument(
        "--no-mkl-as-intel", action="store_true", help="leave PyTorch's MKL as it comes"
    )
    parser.add_argument("--write", action="store_true", help="into bench/results/")


def add_threads_argument(parser: ArgumentParser) -> None:
    default = sorted({1, min(8, len(machine.cores()))})
    parser.add_argument(
        "--threads", type=numbers, default=default, help="such as 1,2 (default: %(default)s)"
    )


def names_of(known: Any):
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


class Session:
    """The entrants' processes on the first n_threads cores. They stay for many workloads."""

    def __init__(self, options: Namespace, n_threads: int) -> None:
        self.options, self.isa, self.n_threads = options, options.isa, n_threads
        self.preload = "" if options.no_mkl_as_intel else mkl_as_intel()
        missing = {name: ENTRANTS[name].missing(self.isa) for name in options.entrants}
        self.missing = {name: why for name, why in missing.items() if why}
        self.entrants = [name for name in options.entrants if name not in self.missing]
        for name, why in self.missing.items():
            print(f"without {name}: {why}")
        self.cores = machine.cores()[:n_threads]
        if n_threads > len(self.cores):
            raise SystemExit(f"{n_threads} threads need as many cores, here are {len(self.cores)}")
        self.processes: dict[tuple[str, int, Path], EntrantProcess] = {}
        self.canaries = Canaries(self.cores)

    def process(self, name: str, n_threads: int, of: Path = machine.ROOT) -> EntrantProcess:
        """The entrant's; of: the checkout whose fastnn it is."""
        key = name, n_threads, of
        if key not in self.processes:
            self.processes[key] = self.new_process(name, n_threads, self.cores[:n_threads], of)
        return self.processes[key]

    def new_process(
        self, name: str, n_threads: int, cores: list[int], of: Path = machine.ROOT
    ) -> EntrantProcess:
        preload = self.preload if ENTRANTS[name].uses_mkl else ""
        variables = environment(n_threads, self.isa, preload)
        return EntrantProcess(name, n_threads, cores, variables, of=of)

    def describe(self, kind: str) -> dict[str, Any]:
        """The head of a result."""
        distributions = [d for name in self.entrants for d in ENTRANTS[name].distributions]
        options = {k: v for k, v in vars(self.options).items() if not callable(v)}
        return {
            "kind": kind,
            "date": machine.today(),
            "machine": machine.describe(self.isa),
            "packages": machine.packages(distributions),
            "missing": self.missing,
            "mkl_as_intel": bool(self.preload),
            "isa_limited_to": self.isa or None,
            "options": options,
            "measurements": [],
        }

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.close()
        self.canaries.close()
