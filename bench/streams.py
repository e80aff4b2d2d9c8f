"""`python -m bench streams`: rows that come one at a time, learned by fastnn, River, scikit-learn.

A row is 20 numbers: a dict for fastnn.online and River, both of which scale it as they learn it, an
array (1, 20) for fastnn.Model and scikit-learn, which do not. All networks have one hidden layer of
32 units. One thread; all take turns of the same rows, round after round; a time is the median of
the rounds'. River's network is in releases before 0.23 alone.
"""

from __future__ import annotations

import random
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep

FEATURES, ROWS, HIDDEN = 20, 500, 32
Learn = Callable[[Any, Any], Any]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    warnings.simplefilter("ignore")  # of rows that scikit-learn calls a poor mini-batch
    measurements = []
    for name, of in (("classification", classifiers), ("regression", regressors)):
        entrants = measure(name, of(), options.rounds)
        print(f"{name}, us a row")
        for one, of_one in entrants.items():
            print(f"  {one:24}{of_one['median_us']:9.2f}")
        head = {"workload": {"name": name, "kind": "stream"}, "threads": 1}
        measurements.append({**head, "commit": machine.commit(), "entrants": entrants})
    if options.write:
        keep("streams", measurements, ["river", "scikit-learn"])


def measure(name: str, learners: dict[str, tuple[Learn, bool]], rounds: int) -> dict[str, Any]:
    """Microseconds a row of each, round by round."""
    rng = random.Random(0)
    dicts = [{f"feature {i}": rng.gauss(i, 3) for i in range(FEATURES)} for _ in range(ROWS)]
    signal = [row["feature 0"] + rng.gauss(0, 1) for row in dicts]
    y = signal if name == "regression" else [value > 0 for value in signal]
    scaled = (np.array([[*row.values()] for row in dicts]) - np.arange(FEATURES)) / 3
    rows: dict[bool, list[tuple[Any, Any]]] = {
        True: list(zip(dicts, y, strict=True)),
        False: [(scaled[i : i + 1], np.array(y[i : i + 1])) for i in range(ROWS)],
    }
    times: dict[str, list[float]] = {one: [] for one in learners}
    for _ in range(rounds + 1):  # the first warms up, and makes what classes there are known
        for one, (learn, as_dicts) in learners.items():
            start = time.perf_counter()
            for x, target in rows[as_dicts]:
                learn(x, target)
            times[one].append((time.perf_counter() - start) / ROWS * 1e6)
    return {
        one: {"median_us": median(of[1:]), "rounds_us": [round(t, 3) for t in of[1:]]}
        for one, of in times.items()
    }


def classifiers() -> dict[str, tuple[Learn, bool]]:
    from river import linear_model, preprocessing
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    model = fastnn.Model([FEATURES, HIDDEN, 2], seed=0)
    theirs = MLPClassifier((HIDDEN,), solver="sgd", learning_rate_init=0.03)
    linear, classes = SGDClassifier(loss="log_loss"), np.array([False, True])
    logistic = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    return {
        "fastnn.online": (fastnn.online.Learner(seed=0).learn_one, True),
        "fastnn.online, linear": (fastnn.online.Learner(hidden=0, seed=0).learn_one, True),
        "fastnn.Model": (lambda x, y: model.partial_fit(x, y.astype(int), batch_size=1), False),
        "River, linear": (logistic.learn_one, True),
        "scikit-learn": (lambda x, y: theirs.partial_fit(x, y, classes=classes), False),
        "scikit-learn, linear": (lambda x, y: linear.partial_fit(x, y, classes=classes), False),
    }


def regressors() -> dict[str, tuple[Learn, bool]]:
    from river import linear_model, preprocessing
    from sklearn.neural_network import MLPRegressor

    theirs = MLPRegressor(hidden_layer_sizes=(HIDDEN,), solver="sgd")
    linear = preprocessing.StandardScaler() | linear_model.LinearRegression()
    learners: dict[str, tuple[Learn, bool]] = {
        "fastnn.online": (fastnn.online.Learner("regression", seed=0).learn_one, True),
        "River, linear": (linear.learn_one, True),
        "scikit-learn": (theirs.partial_fit, False),
    }
    try:
        from river import neural_net, optim
    except ImportError:
        return learners
    network = preprocessing.StandardScaler() | neural_net.MLPRegressor(
        hidden_dims=(HIDDEN,),
        activations=(neural_net.activations.ReLU,) * 2 + (neural_net.activations.Identity,),
        optimizer=optim.SGD(0.01),
        seed=0,
    )
    return {**learners, "River": (network.learn_one, True)}
