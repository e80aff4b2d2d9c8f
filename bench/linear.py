"""`python -m bench linear`: networks without hidden layers beside scikit-learn's linear models.

Softmax and log loss in all, features of mean 0 and variance 1 (MNIST: the first 10,000 images in
[0, 1]), one thread, in turns; times are medians of the rounds.

- L-BFGS on the same objective, mean loss + |W|^2 / (2 n), to the same tolerance: fastnn.sklearn's
  MLPClassifier with no hidden layer, LogisticRegression
- ten epochs: MLPClassifier by Adam in mini-batches of 64, SGDClassifier (a logistic unit for each
  class against the others) by single rows
"""

from __future__ import annotations

import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from bench import machine
from bench.estimators import load
from bench.results import keep
from bench.workloads import Unavailable, mnist

TABLES = "breast_cancer", "digits", "mnist"
MOST_ROUNDS = {"mnist": 3}
EPOCHS = 10


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--workloads", nargs="+", choices=TABLES, default=TABLES, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    measurements = []
    for name in options.workloads:
        try:
            X, y = mnist(10_000) if name == "mnist" else load(name)
        except Unavailable as missing:
            print(f"{name}: {missing}")
            continue
        ways = measure(X, y, min(options.rounds, MOST_ROUNDS.get(name, options.rounds)))
        print(f"{name}:")
        for way, one in ways.items():
            print(
                f"  {way:28} {1e3 * one['median_s']:9.2f} ms   objective {one['objective']:.4f}"
                f"   {one['score']:.2%} right of the rows trained on",
                flush=True,
            )
        head = {"workload": {"name": name}, "threads": 1, "commit": machine.commit()}
        measurements.append({**head, "ways": ways})
    if options.write:
        keep("linear", measurements, ["scikit-learn", "scipy"])


def makers(n: int) -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    from fastnn.sklearn import MLPClassifier

    ours = {"hidden_layer_sizes": (), "alpha": 1.0, "random_state": 0, "n_threads": 1}
    adam = {"max_iter": EPOCHS, "batch_size": 64, "learning_rate_init": 0.002}
    sgd = {"max_iter": EPOCHS, "alpha": 1 / n, "tol": None, "random_state": 0}
    return {
        "fastnn, L-BFGS": lambda: MLPClassifier(solver="lbfgs", max_iter=100, **ours),
        "LogisticRegression": lambda: LogisticRegression(max_iter=100),
        "fastnn, 10 epochs": lambda: MLPClassifier(solver="adam", **adam, **ours),
        "SGDClassifier, 10 epochs": lambda: SGDClassifier(loss="log_loss", **sgd),
    }


def measure(X: np.ndarray, y: np.ndarray, rounds: int) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    ways = makers(len(y))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    models: dict[str, Any] = {}
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of limits that are reached
        for turn in range(rounds + 1):  # the first warms up
            for name, make in ways.items():
                models[name] = make()
                begin = time.perf_counter()
                models[name].fit(X, y)
                if turn:
                    seconds[name].append(time.perf_counter() - begin)
    return {
        name: {
            **{"median_s": median(times), "seconds": times, "n_iter": int(np.max(model.n_iter_))},
            **{"objective": objective(model, X, y), "score": float(model.score(X, y))},
        }
        for (name, times), model in zip(seconds.items(), models.values(), strict=True)
    }


def objective(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Mean log loss + |W|^2 / (2 n)."""
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    W = model.coef_ if hasattr(model, "coef_") else model.coefs_[0]
    return float(-np.log(p.clip(1e-12)).mean() + (W.astype(float) ** 2).sum() / 2 / len(y))
