"""`python -m bench zeros`: training where mini-batches leave columns at 0, beside dense rows.

MNIST's images and rows without zeros, of the same shape: the first layer leaves out columns that a
whole mini-batch has at 0, and their weights. Plain SGD, float32, one thread, fastnn alone; both
take turns, an epoch each, and a ratio compares two turns of one round.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from statistics import fmean, median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep
from bench.workloads import mnist

ROWS = 12_800
NETWORKS = (784, 128, 10), (784, 30, 10)
BATCHES = 8, 32, 64, 128, 512


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    X, y = mnist(ROWS)
    dense = np.random.default_rng(0).random(X.shape, np.float32)
    measurements = []
    for sizes in NETWORKS:
        for batch in BATCHES:
            found = measure(sizes, batch, {"dense": dense, "MNIST": X}, y, options.rounds)
            title = f"{'-'.join(map(str, sizes))}, batch {batch}"
            print(f"{title:24} {line(found)}", flush=True)
            head = {"workload": {"name": title}, "threads": 1, "commit": machine.commit()}
            measurements.append({**head, **found})
    if options.write:
        keep("zeros", measurements)


def measure(
    sizes: tuple[int, ...], batch: int, data: dict[str, np.ndarray], y: np.ndarray, rounds: int
) -> dict[str, Any]:
    """Microseconds a step on each data, the share of columns that a mini-batch uses, the ratio."""
    models = {name: fastnn.Model(sizes, seed=0, n_threads=1) for name in data}
    steps = len(y) // batch
    us: dict[str, list[float]] = {name: [] for name in data}
    for turn in range(rounds + 1):  # the first warms up
        for name, X in data.items():
            begin = time.perf_counter()
            models[name].fit(X, y, epochs=1, batch_size=batch, learning_rate=0.01)
            if turn:
                us[name].append(1e6 * (time.perf_counter() - begin) / steps)
    order = np.random.default_rng(0).permutation(len(y))[: steps * batch].reshape(steps, batch)
    ways = {
        name: {
            **{"median_us": median(us[name]), "us": [round(one, 3) for one in us[name]]},
            "columns_used": fmean(float((X[rows] != 0).any(0).mean()) for rows in order),
        }
        for name, X in data.items()
    }
    pairs = zip(us["dense"], us["MNIST"], strict=True)
    return {"ways": ways, "ratio": median(slow / fast for slow, fast in pairs)}


def line(found: dict[str, Any]) -> str:
    told = [f"{name} {one['median_us']:8.1f} us" for name, one in found["ways"].items()]
    used = found["ways"]["MNIST"]["columns_used"]
    return f"{'   '.join(told)}   {found['ratio']:5.2f} times, {used:.0%} of the columns used"
