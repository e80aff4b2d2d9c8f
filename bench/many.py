"""`python -m bench many`: many small networks on the same rows, by fit_many and by peers' best.

32 networks 20-64-64-2 of seeds of their own, each with its own shuffles, 20 epochs of Adam over
10,000 rows in mini-batches of 256, float32, two threads. Ways take turns, each in this process:

- fastnn.fit_many; fastnn one after another, `Model.fit` with two threads
- PyTorch with the weights of all networks in one tensor and Adam fused: by batched products
  (`baddbmm`), which is what torch.func.vmap makes of them, and by torch.func.vmap itself; every
  network has its own mini-batches
- scikit-learn's MLPClassifier in joblib's processes, one thread each, which are warm
"""

from __future__ import annotations

import os
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import write

SIZES, NETWORKS, ROWS, EPOCHS, BATCH, RATE = (20, 64, 64, 2), 32, 10_000, 20, 256, 0.001
N_THREADS = 2
Way = Callable[[np.ndarray, np.ndarray], Any]  # returns each network's mean loss or score


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    X, y = data()
    seconds: dict[str, list[float]] = {}
    for name in list(options.ways):
        try:
            WAYS[name](X, y)  # caches, processes, compilation
        except ImportError as missing:
            print(f"without {name}: {missing}")
            continue
        seconds[name] = []
    for _ in range(options.rounds):
        for name, times in seconds.items():
            begin = time.perf_counter()
            WAYS[name](X, y)
            times.append(time.perf_counter() - begin)
    found: dict[str, Any] = {}
    for name, times in seconds.items():
        pairs = zip(times, seconds.get("fit_many", times), strict=True)
        ratio = median(one / ours for one, ours in pairs)
        found[name] = {"median_s": median(times), "seconds": times, "ratio": ratio}
        print(f"{name:20} {median(times):7.3f} s   {ratio:5.2f} times fit_many's", flush=True)
    if options.write:
        title = f"{NETWORKS} networks {'-'.join(map(str, SIZES))}"
        head = {"workload": {"name": title}, "threads": N_THREADS, "commit": machine.commit()}
        result = {
            **{"kind": "many", "date": machine.today(), "isa_limited_to": None},
            **{"machine": machine.describe(), "measurements": [{**head, "ways": found}]},
            "packages": machine.packages(["torch", "scikit-learn", "joblib"]),
        }
        print("wrote", os.path.relpath(write(result)))


def data() -> tuple[np.ndarray, np.ndarray]:
    """Two classes, told apart by the signs of two columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, SIZES[0]), np.float32)
    return X, ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(np.int64)


def networks(n_threads: int | None = None) -> list[fastnn.Model]:
    return [fastnn.Model(SIZES, seed=seed, n_threads=n_threads) for seed in range(NETWORKS)]


def fit_many(X: np.ndarray, y: np.ndarray) -> list[float]:
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam"}
    histories = fastnn.fit_many(networks(), X, y, n_threads=N_THREADS, **settings)
    return [history.loss[-1] for history in histories]


def in_turn(X: np.ndarray, y: np.ndarray) -> list[float]:
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam"}
    return [model.fit(X, y, **settings).loss[-1] for model in networks(N_THREADS)]


def stacked(X: np.ndarray, y: np.ndarray, vmap: bool = False) -> list[float]:
    """PyTorch: the networks' weights are slices of the same tensors."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(N_THREADS)
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    W = [
        torch.empty(NETWORKS, n_in, n_out).uniform_(
            -((6 / n_in) ** 0.5), (6 / n_in) ** 0.5, generator=generator
        )
        for n_in, n_out in pairwise(SIZES)
    ]
    b = [torch.zeros(NETWORKS, 1, n_out) for n_out in SIZES[1:]]
    parameters = [one.requires_grad_() for one in (*W, *b)]
    adam = torch.optim.Adam(parameters, RATE, fused=True)

    def forward(W: Any, b: Any, h: Any) -> Any:
        for k in range(len(W)):
            h = torch.addmm(b[k], h, W[k]) if vmap else torch.baddbmm(b[k], h, W[k])
            h = h.relu() if k < len(W) - 1 else h
        return h

    def loss_of_one(W: Any, b: Any, x: Any, target: Any) -> Any:
        return cross_entropy(forward(W, b, x), target)

    def losses(x: Any, target: Any) -> Any:
        if vmap:
            return torch.func.vmap(loss_of_one)(W, b, x, target)
        f = forward(W, b, x)
        each = cross_entropy(f.flatten(0, 1), target.flatten(), reduction="none")
        return each.view(NETWORKS, -1).mean(1)

    totals = torch.zeros(NETWORKS)
    for _ in range(EPOCHS):
        order = torch.rand(NETWORKS, ROWS, generator=generator).argsort(1)
        totals.zero_()
        for own in order.split(BATCH, 1):
            value = losses(rows[own], labels[own])
            adam.zero_grad()
            value.sum().backward()
            adam.step()
            totals += value.detach() * own.shape[1]
    return (totals / ROWS).tolist()


def vmapped(X: np.ndarray, y: np.ndarray) -> list[float]:
    return stacked(X, y, vmap=True)


def scikit_learn(X: np.ndarray, y: np.ndarray) -> list[float]:
    from joblib import Parallel, delayed

    calls = (delayed(_one_of_scikit_learn)(X, y, seed) for seed in range(NETWORKS))
    return Parallel(N_THREADS)(calls)


def _one_of_scikit_learn(X: np.ndarray, y: np.ndarray, seed: int) -> float:
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    model = MLPClassifier(
        SIZES[1:-1],
        batch_size=BATCH,
        max_iter=EPOCHS,
        n_iter_no_change=EPOCHS,
        learning_rate_init=RATE,
        alpha=0.0,
        random_state=seed,
    )
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y).loss_


WAYS: dict[str, Way] = {
    "fit_many": fit_many,
    "fastnn in turn": in_turn,
    "PyTorch batched": stacked,
    "PyTorch vmap": vmapped,
    "scikit-learn, joblib": scikit_learn,
}
