"""The process of one entrant: fits on request, each answered with its scores and times.

    python -m bench.tables.worker <entrant> <threads> <core,core,...>
"""

from __future__ import annotations

import os
import resource
import time
import warnings
import zlib
from functools import cache
from typing import Any

from bench import machine
from bench.tables import scores
from bench.tables.entrants import ENTRANTS
from bench.tables.tables import load
from bench.worker import serve


class Worker:
    def __init__(self, name: str, n_threads: int) -> None:
        self.entrant, self.n_threads = ENTRANTS[name], n_threads
        self.load = cache(load)

    def fit(self, table: str, split: int) -> dict[str, Any]:
        """A record's content: scores on the split's test rows, seconds that passed (`_s`) and
        seconds that its threads ran (`_cpu_s`), how busy the machine was before and after."""
        data = self.load(table)
        train, test = data.split(split)
        model = self.entrant.make(data.classifies, split, self.n_threads)
        load_before = os.getloadavg()[0]
        warnings.simplefilter("ignore")
        clock = Clock()
        model.fit(data.X.iloc[train].reset_index(drop=True), data.y[train])
        fit_s, fit_cpu_s = clock.passed()
        clock = Clock()
        found = self._predict(model, data.classifies, data.X.iloc[test])
        predict_s, predict_cpu_s = clock.passed()
        measure = scores.of_classes if data.classifies else scores.of_values
        record = {"rows": zlib.crc32(test.tobytes()), "scores": measure(data.y[test], found)}
        if data.test_file is not None:
            X, y = data.test_file
            record["test_file"] = measure(y, self._predict(model, data.classifies, X))
        return {
            **record,
            **{"fit_s": fit_s, "fit_cpu_s": fit_cpu_s, "fitted": len(train)},
            **{"predict_s": predict_s, "predict_cpu_s": predict_cpu_s, "predicted": len(test)},
            "load": [load_before, os.getloadavg()[0]],
            **{"cpu": machine.cpu_name(), "cores": len(machine.cores())},
            "packages": machine.packages(list(self.entrant.distributions)),
            **{"commit": machine.commit(), "time": machine.now()},
        }

    @staticmethod
    def _predict(model: Any, classifies: bool, X: Any) -> Any:
        return model.predict_proba(X) if classifies else model.predict(X)


class Clock:
    def __init__(self) -> None:
        self._begin = self._now()

    def passed(self) -> list[float]:
        return [round(now - then, 6) for now, then in zip(self._now(), self._begin, strict=True)]

    @staticmethod
    def _now() -> tuple[float, float]:
        used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    serve(Worker)
