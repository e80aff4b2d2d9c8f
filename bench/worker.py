"""The process of one entrant (or canary): requests come as lines of JSON, each gets one line back.

Between requests it is blocked in a read. What libraries print goes to stderr, never between the
answers.

    python -m bench.worker <entrant> <threads> <core,core,...>
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from time import perf_counter
from typing import Any

CHECK_ROWS = 1024  # of a prediction that are compared with the reference


class Worker:
    """Answers of an entrant. Every public method is a request."""

    def __init__(self, name: str, n_threads: int) -> None:
        from bench.entrants import ENTRANTS

        self._class = ENTRANTS[name].load()
        self._n_threads = n_threads
        self._entrant: Any = None

    def build(self, workload: dict[str, Any]) -> dict[str, Any]:
        from bench.workloads import Workload, make_problem

        self._entrant, self._epochs = None, 1
        gc.collect()
        begin = perf_counter()
        self._problem = make_problem(Workload.from_dict(workload), self._n_threads)
        self._entrant = self._class(self._problem)
        return {"variant": self._entrant.variant, "build_seconds": perf_counter() - begin}

    def first(self) -> dict[str, Any]:
        """What shows that it does the same work: its first epoch's loss, or its largest error."""
        if self._problem.workload.kind == "train":
            return {"loss": self._entrant.train(1)[0]}
        import numpy as np

        from bench.workloads import reference_forward

        X = self._problem.X
        rows = np.unique(np.linspace(0, len(X) - 1, CHECK_ROWS).astype(int))
        got = np.asarray(self._entrant.predict(X))
        want = reference_forward(self._problem, X[rows])
        if got.size != len(X) * want.shape[1]:
            raise ValueError(f"predicted {got.shape} for {len(X)} rows")
        got = got.reshape(len(X), -1)[rows]
        return {"error": float(np.abs(got - want).max() / np.abs(want).max())}

    def calibrate(self, seconds: float) -> dict[str, Any]:
        """So many epochs or calls a round that it takes about `seconds`, but at least one."""
        while True:
            passed = min(self._use(self._epochs) for _ in range(2))  # the first may wake threads
            if passed > seconds / 4 or self._epochs >= 1 << 22:
                break
            self._epochs *= 4 if passed < seconds / 16 else 2
        self._epochs = max(1, round(self._epochs * seconds / passed))
        return {"epochs": self._epochs}

    def round(self) -> dict[str, Any]:
        """The timed one, after a shorter one that wakes the threads."""
        self._use(-(-self._epochs // 8))
        gc.collect()
        gc.disable()
        try:
            return {"seconds": self._use(self._epochs) / self._epochs}
        finally:
            gc.enable()

    def latencies(self, seconds: float) -> dict[str, Any]:
        """Percentiles of single calls of predict, made for so long; in microseconds."""
        import numpy as np

        X, predict, times = self._problem.X, self._entrant.predict, []
        predict(X)
        end = perf_counter() + seconds
        while (begin := perf_counter()) < end:
            predict(X)
            times.append(perf_counter() - begin)
        percentiles = np.percentile(times, [50, 99, 99.9]) * 1e6
        names = ("p50_us", "p99_us", "p99.9_us")
        return {"calls": len(times), **dict(zip(names, map(float, percentiles), strict=True))}

    def _use(self, times: int) -> float:
        if self._problem.workload.kind == "train":
            begin = perf_counter()
            losses = self._entrant.train(times)
            passed = perf_counter() - begin
            if not abs(losses[-1]) < float("inf"):
                raise ValueError(f"the loss became {losses[-1]}")
            return passed
        X, predict = self._problem.X, self._entrant.predict
        begin = perf_counter()
        for _ in range(times):
            predict(X)
        return perf_counter() - begin


class Canary:
    """How fast a core is now: GFLOP/s of a matrix product that stays in its cache."""

    N = 192

    def __init__(self) -> None:
        import numpy as np

        self._A, self._B = np.ones((2, self.N, self.N), "f4")
        self._C = np.empty_like(self._A)

    def rate(self, seconds: float) -> dict[str, Any]:
        n, begin = 0, perf_counter()
        while (passed := perf_counter() - begin) < seconds:
            self._A.dot(self._B, out=self._C)
            n += 1
        return {"rate": 2e-9 * self.N**3 * n / passed}


def serve(make: Callable[[str, int], Any]) -> None:
    """Answer the requests of stdin by the methods of what `make` makes at the first of them."""
    name, n_threads, cores = sys.argv[1:]
    os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if worker is None:
                worker = make(name, int(n_threads))
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
            if type(error).__name__ == "Unavailable":
                answer = {"unavailable": str(error)}
            else:
                answer = {"failed": reason[:500]}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    serve(lambda name, n_threads: Canary() if name == "canary" else Worker(name, n_threads))
