"""A promise: a function that tries it so many times, and says what it saw.

Its name is the row's name. It runs in a process of its own, so that a crash or a hang is a figure,
too; what it prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import fastnn

MODULES = "forks runtimes threads interrupts kills faults hostile life serving".split()

ROOT = Path(__file__).parents[2]


class NotHere(Exception):
    """This machine cannot try it: what is missing."""


@dataclass(frozen=True)
class Seen:
    figure: str
    holds: bool | None  # None: could not be tried here
    seconds: float = 0.0


@dataclass(frozen=True)
class Promise:
    name: str
    fault: str
    says: str
    asked: str
    count: int  # tries for the record, ...
    few: int  # ... and in tests/test_reliability.py; 0: none there
    limit: int  # seconds until it counts as hanging
    attempt: Callable[[int], Seen]


PROMISES: dict[str, Promise] = {}


def promise(
    fault: str, says: str, asked: str, count: int, few: int = 0, limit: int = 600
) -> Callable[[Callable[[int], Seen]], Callable[[int], Seen]]:
    def register(attempt: Callable[[int], Seen]) -> Callable[[int], Seen]:
        name = attempt.__name__
        assert name not in PROMISES, name
        PROMISES[name] = Promise(name, fault, says, asked, count, few, limit, attempt)
        return attempt

    return register


def load() -> dict[str, Promise]:
    for module in MODULES:
        importlib.import_module(f"reliability.{module}")
    return PROMISES


def kept(name: str, count: int) -> Seen:
    """What is seen of so many tries, in a new process."""
    begin = time.monotonic()
    path = [str(Path(fastnn.__file__).parents[1]), str(ROOT / "tests")]  # this fastnn
    path.append(os.environ.get("PYTHONPATH", ""))
    process = subprocess.Popen(
        [sys.executable, "-m", "reliability.promises", name, str(count)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # so that whatever it started ends with it
    )
    limit = load()[name].limit
    try:
        out, _ = process.communicate(timeout=limit)
        seen = Seen(**json.loads(out.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        seen = Seen(f"hung for {limit} s", False)
    except (IndexError, ValueError, TypeError):
        seen = Seen(f"ended with status {process.wait()}", False)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()
    return Seen(seen.figure, seen.holds, round(time.monotonic() - begin, 1))


def main() -> None:
    name, count = sys.argv[1:]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background has it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    answer = os.dup(1)
    os.dup2(2, 1)  # what promises and their children print is no answer
    try:
        seen = load()[name].attempt(int(count))
    except NotHere as missing:
        seen = Seen(f"not tried: {missing}", None)
    except BaseException as error:
        import traceback

        traceback.print_exc()
        seen = Seen(f"{type(error).__name__}: {error}", False)
    os.write(answer, json.dumps(asdict(seen)).encode() + b"\n")


if __name__ == "__main__":
    from reliability.promises import main as only_once  # the module that promises are made of

    only_once()
