"""Processes of entrants as the runner sees them: started, asked, ended."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from bench.environment import environment
from bench.machine import ROOT

TIMEOUT = 240.0  # seconds for an answer: compilers take long


class Failed(Exception):
    """An entrant that cannot do the work, or died of it; the message says how."""


class EntrantProcess:
    """One process of an entrant: its threads stay on `cores`. It starts with the first request.

    of: the checkout whose fastnn and bench it runs.
    """

    def __init__(
        self,
        entrant: str,
        n_threads: int,
        cores: list[int],
        environment: Mapping[str, str],
        module: str = "bench.worker",
        timeout: float = TIMEOUT,
        of: Path = ROOT,
    ) -> None:
        self.entrant, self.n_threads, self.cores, self.of = entrant, n_threads, cores, of
        self.module, self.timeout = module, timeout
        self.environment = {**environment, "PYTHONPATH": _path_with(of, environment)}
        self._popen: subprocess.Popen | None = None

    @property
    def key(self) -> str:
        return f"{self.entrant}@{self.n_threads}{'' if self.of == ROOT else f' of {self.of}'}"

    def ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer; Failed if there is none or it is a failure."""
        self.send(request, **arguments)
        return self.receive()

    def send(self, request: str, **arguments: Any) -> None:
        if self._popen is None:
            self._start()
        try:
            self._popen.stdin.write(json.dumps({"do": request, **arguments}) + "\n")
            self._popen.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._end()) from None

    def receive(self) -> dict[str, Any]:
        line = self._line(monotonic() + self.timeout)
        if line is None:
            self.close()
            raise Failed(f"no answer in {self.timeout:.0f} s")
        if not line:
            raise Failed(self._end())
        answer = json.loads(line)
        if "failed" in answer or "unavailable" in answer:
            raise Failed(answer.get("failed") or answer["unavailable"])
        return answer

    def _line(self, deadline: float) -> str | None:
        """An answer is one line, so nothing stays in the buffer of stdout between two."""
        while (left := deadline - monotonic()) > 0:
            if select.select([self._popen.stdout], [], [], left)[0]:
                return self._popen.stdout.readline()
        return None

    def _start(self) -> None:
        cores = ",".join(map(str, self.cores))
        command = [sys.executable, "-m", self.module, self.entrant, str(self.n_threads), cores]
        self.errors = tempfile.TemporaryFile("w+")
        self._popen = subprocess.Popen(
            command,
            cwd=self.of,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def _end(self) -> str:
        """What a process that ended by itself said last."""
        code = self._popen.wait()
        self.errors.seek(0)
        last = self.errors.read().strip().splitlines()[-1:] or [""]
        self.close()
        return f"ended with {code}: {last[0]}"

    def close(self) -> None:
        if self._popen is None:
            return
        self._popen.kill()
        self._popen.wait()
        self._popen.stdin.close()
        self._popen.stdout.close()
        self.errors.close()
        self._popen = None

    def __enter__(self) -> EntrantProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _path_with(root: os.PathLike, environment: Mapping[str, str]) -> str:
    before = environment.get("PYTHONPATH")
    return f"{root}{os.pathsep}{before}" if before else str(root)


class Canaries:
    """One process on each core that tells how fast the core is; see worker.Canary."""

    SECONDS = 0.01

    def __init__(self, cores: list[int]) -> None:
        self.processes = [EntrantProcess("canary", 1, [core], environment(1)) for core in cores]

    def rates(self) -> list[float]:
        """Of all cores, measured at once."""
        for process in self.processes:
            process.send("rate", seconds=self.SECONDS)
        return [process.receive()["rate"] for process in self.processes]

    def close(self) -> None:
        for process in self.processes:
            process.close()
