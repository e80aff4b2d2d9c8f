"""`python -m bench estimators`: fits of fastnn.sklearn's estimators beside scikit-learn's.

Each round is one seed, with which both fit, in turns, on one thread; on scikit-learn's data sets
with its default settings (inputs and values to mean 0 and variance 1), on MNIST a few epochs in
float32. Both must stop after the same epoch. Then the last two predict, in turns, 1 to 1000 rows.
"""

from __future__ import annotations

import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from statistics import fmean, median
from typing import Any

import numpy as np

from bench import machine
from bench.results import keep
from bench.workloads import Unavailable, mnist

SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {},
    "breast_cancer": {},
    "diabetes": {},
    "mnist": {"max_iter": 4},
}
ROWS = 1, 10, 100, 1000  # of a call
CALLS, SECONDS = 7, 0.02  # turns of each, and about how long one takes
MOST_ROUNDS = {"mnist": 5}


def add_arguments(parser: ArgumentParser) -> None:
    names = list(SETTINGS)
    parser.add_argument("--workloads", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=10, help="seeds 0 to rounds - 1")
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    measurements = []
    for name in options.workloads:
        try:
            X, y = load(name)
        except Unavailable as missing:
            print(f"{name:14} {missing}")
            continue
        found = measure(name, X, y, min(options.rounds, MOST_ROUNDS.get(name, options.rounds)))
        print(f"{name:14} {line(found)}", flush=True)
        head = {"workload": {"name": name}, "threads": 1, "commit": machine.commit()}
        measurements.append({**head, **found})
    if options.write and measurements:
        keep("estimators", measurements, ["scikit-learn", "scipy"])


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "mnist":
        return mnist(60000)
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return _scaled(X), _scaled(y) if name == "diabetes" else y


def _scaled(X: np.ndarray) -> np.ndarray:
    return (X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1)


def measure(name: str, X: np.ndarray, y: np.ndarray, rounds: int) -> dict[str, Any]:
    """Times, epochs and scores on the training data of each round, and their medians or means."""
    from sklearn import neural_network as theirs
    from threadpoolctl import threadpool_limits

    from fastnn import sklearn as ours

    which = "MLPRegressor" if y.dtype.kind == "f" else "MLPClassifier"
    runs: dict[str, list[tuple[float, int, float]]] = {"fastnn": [], "scikit-learn": []}
    models: dict[str, Any] = {}
    for seed in range(rounds):
        for library, extra in (("scikit-learn", {}), ("fastnn", {"n_threads": 1})):
            make = getattr(ours if library == "fastnn" else theirs, which)
            model = models[library] = make(random_state=seed, **SETTINGS.get(name, {}), **extra)
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                begin = time.perf_counter()
                model.fit(X, y)
                seconds = time.perf_counter() - begin
            runs[library].append((seconds, model.n_iter_, model.score(X, y)))
    found: dict[str, Any] = {}
    for library, each in runs.items():
        seconds, epochs, scores = map(list, zip(*each, strict=True))
        found[library] = {
            **{"median_s": median(seconds), "mean_score": fmean(scores)},
            **{"seconds": seconds, "n_iter": epochs, "scores": scores},
        }
    pairs = zip(found["scikit-learn"]["seconds"], found["fastnn"]["seconds"], strict=True)
    found["ratio"] = median(slow / fast for slow, fast in pairs)
    found["same_n_iter"] = found["fastnn"]["n_iter"] == found["scikit-learn"]["n_iter"]
    with threadpool_limits(1):
        found["calls"] = calls(models, X)
    return found


def calls(models: dict[str, Any], X: np.ndarray) -> list[dict[str, Any]]:
    """Microseconds of a call that predicts so many rows, and the median of the turns' ratios."""
    found = []
    for method in ("predict", "predict_proba"):
        if not hasattr(models["fastnn"], method):
            continue
        for rows in ROWS:
            few = np.resize(X, (rows, X.shape[1]))
            turns = [
                {library: _call(getattr(model, method), few) for library, model in models.items()}
                for _ in range(CALLS)
            ]
            us = {library: 1e6 * median(turn[library] for turn in turns) for library in models}
            ratio = median(turn["scikit-learn"] / turn["fastnn"] for turn in turns)
            found.append({"method": method, "rows": rows, "us": us, "ratio": ratio})
    return found


def _call(predict: Callable[[np.ndarray], Any], X: np.ndarray) -> float:
    predict(X)
    n, begin = 0, time.perf_counter()
    while True:
        predict(X)
        n += 1
        if (passed := time.perf_counter() - begin) >= SECONDS:
            return passed / n


def line(found: dict[str, Any]) -> str:
    ours, theirs = found["fastnn"], found["scikit-learn"]
    calls = "".join(
        f"\n    {one['method']:13} {one['rows']:5} rows  {one['us']['scikit-learn']:8.1f} us"
        f"  {one['us']['fastnn']:8.1f} us  {one['ratio']:6.2f} times"
        for one in found["calls"]
    )
    return (
        f"scikit-learn {theirs['median_s']:7.3f} s   fastnn {ours['median_s']:7.3f} s   "
        f"{found['ratio']:5.2f} times   n_iter {'the same' if found['same_n_iter'] else 'differs'}"
        f"   scores {theirs['mean_score']:.4f} {ours['mean_score']:.4f}{calls}"
    )
