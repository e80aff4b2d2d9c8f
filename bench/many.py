"""`python -m bench many`: many small networks on the same rows, by fit_many and by peers' best.

32 networks 20-64-64-2 and 16 networks 32-64-64-1 of seeds of their own, each with its own shuffles,
20 epochs of Adam over 10,000 rows in mini-batches of 256, float32, two threads. Ways take turns,
each in this process:

- fastnn.fit_many; fastnn one after another, `Model.fit` with two threads and with one
- PyTorch with the weights of all networks in one tensor and Adam fused: by batched products
  (`baddbmm`), which is what torch.func.vmap makes of them, and by torch.func.vmap itself; every
  network has its own mini-batches
- scikit-learn's MLPs in joblib's processes, one thread each, which are warm
"""

from __future__ import annotations

import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep

ROWS, EPOCHS, BATCH, RATE = 10_000, 20, 256, 0.001
N_THREADS = 2


@dataclass(frozen=True)
class Task:
    """So many networks of these sizes; with one output it is a value that they learn."""

    networks: int
    sizes: tuple[int, ...]

    @property
    def title(self) -> str:
        return f"{self.networks} networks {'-'.join(map(str, self.sizes))}"

    @property
    def classes(self) -> bool:
        return self.sizes[-1] > 1

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Two classes that the signs of two columns tell apart, or the product of the two."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((ROWS, self.sizes[0]), np.float32)
        y = ((X[:, 0] > 0) ^ (X[:, 1] > 0)).astype(np.int64)
        return X, y if self.classes else X[:, 0] * X[:, 1]

    def models(self, n_threads: int | None = None) -> list[fastnn.Model]:
        output = {} if self.classes else {"output": "identity", "loss": "squared_error"}
        return [
            fastnn.Model(self.sizes, seed=seed, n_threads=n_threads, **output)
            for seed in range(self.networks)
        ]


TASKS = [Task(32, (20, 64, 64, 2)), Task(16, (32, 64, 64, 1))]
Way = Callable[[Task, np.ndarray, np.ndarray], Any]  # returns each network's mean loss or score


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    measurements = []
    for task in TASKS:
        print(f"{task.title}:")
        ways = measure(task, list(options.ways), options.rounds)
        head = {"workload": {"name": task.title}, "threads": N_THREADS, "commit": machine.commit()}
        measurements.append({**head, "ways": ways})
    if options.write:
        keep("many", measurements, ["torch", "scikit-learn", "joblib"])


def measure(task: Task, names: list[str], rounds: int) -> dict[str, Any]:
    X, y = task.data()
    seconds: dict[str, list[float]] = {}
    for name in names:
        try:
            WAYS[name](task, X, y)  # caches, processes, compilation
        except ImportError as missing:
            print(f"without {name}: {missing}")
            continue
        seconds[name] = []
    for _ in range(rounds):
        for name, times in seconds.items():
            time.sleep(0.15)  # threads of the way before may still spin
            begin = time.perf_counter()
            WAYS[name](task, X, y)
            times.append(time.perf_counter() - begin)
    found: dict[str, Any] = {}
    for name, times in seconds.items():
        pairs = zip(times, seconds.get("fit_many", times), strict=True)
        ratio = median(one / ours for one, ours in pairs)
        found[name] = {"median_s": median(times), "seconds": times, "ratio": ratio}
        print(f"  {name:27} {median(times):7.3f} s   {ratio:5.2f} times fit_many's", flush=True)
    return found


def settings() -> dict[str, Any]:
    return {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam", "learning_rate": RATE}


def fit_many(task: Task, X: np.ndarray, y: np.ndarray) -> list[float]:
    histories = fastnn.fit_many(task.models(), X, y, n_threads=N_THREADS, **settings())
    return [history.loss[-1] for history in histories]


def in_turn(task: Task, X: np.ndarray, y: np.ndarray, n_threads: int = N_THREADS) -> list[float]:
    return [model.fit(X, y, **settings()).loss[-1] for model in task.models(n_threads)]


def in_turn_alone(task: Task, X: np.ndarray, y: np.ndarray) -> list[float]:
    return in_turn(task, X, y, 1)


def stacked(task: Task, X: np.ndarray, y: np.ndarray, vmap: bool = False) -> list[float]:
    """PyTorch: the networks' weights are slices of the same tensors."""
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    torch.set_num_threads(N_THREADS)
    networks = task.networks
    generator = torch.Generator().manual_seed(0)
    rows, targets = torch.from_numpy(X), torch.from_numpy(y)
    W = [
        torch.empty(networks, n_in, n_out).uniform_(
            -((6 / n_in) ** 0.5), (6 / n_in) ** 0.5, generator=generator
        )
        for n_in, n_out in pairwise(task.sizes)
    ]
    b = [torch.zeros(networks, 1, n_out) for n_out in task.sizes[1:]]
    parameters = [one.requires_grad_() for one in (*W, *b)]
    adam = torch.optim.Adam(parameters, RATE, fused=True)

    def forward(W: Any, b: Any, h: Any) -> Any:
        for k in range(len(W)):
            h = torch.addmm(b[k], h, W[k]) if vmap else torch.baddbmm(b[k], h, W[k])
            h = h.relu() if k < len(W) - 1 else h
        return h

    def loss(f: Any, target: Any, reduction: str) -> Any:
        if task.classes:
            return cross_entropy(f, target, reduction=reduction)
        return mse_loss(f.squeeze(-1), target, reduction=reduction) / 2

    def loss_of_one(W: Any, b: Any, x: Any, target: Any) -> Any:
        return loss(forward(W, b, x), target, "mean")

    def losses(x: Any, target: Any) -> Any:
        if vmap:
            return torch.func.vmap(loss_of_one)(W, b, x, target)
        each = loss(forward(W, b, x).flatten(0, 1), target.flatten(), "none")
        return each.view(networks, -1).mean(1)

    totals = torch.zeros(networks)
    for _ in range(EPOCHS):
        order = torch.rand(networks, ROWS, generator=generator).argsort(1)
        totals.zero_()
        for own in order.split(BATCH, 1):
            value = losses(rows[own], targets[own])
            adam.zero_grad()
            value.sum().backward()
            adam.step()
            totals += value.detach() * own.shape[1]
    return (totals / ROWS).tolist()


def vmapped(task: Task, X: np.ndarray, y: np.ndarray) -> list[float]:
    return stacked(task, X, y, vmap=True)


def scikit_learn(task: Task, X: np.ndarray, y: np.ndarray) -> list[float]:
    from joblib import Parallel, delayed

    calls = (delayed(_one_of_scikit_learn)(task, X, y, seed) for seed in range(task.networks))
    return Parallel(N_THREADS)(calls)


def _one_of_scikit_learn(task: Task, X: np.ndarray, y: np.ndarray, seed: int) -> float:
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from threadpoolctl import threadpool_limits

    model = (MLPClassifier if task.classes else MLPRegressor)(
        hidden_layer_sizes=task.sizes[1:-1],
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
    "fastnn in turn, one thread": in_turn_alone,
    "PyTorch batched": stacked,
    "PyTorch vmap": vmapped,
    "scikit-learn, joblib": scikit_learn,
}
