"""`python -m bench bfloat16`: what `compute_dtype="bfloat16"` does to loss and accuracy.

MNIST (FASTNN_DATA/mnist.npz): each network is trained in float32 and in bfloat16 from the same
first weights, for some seeds; and the network trained in float32 predicts in bfloat16.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep
from fastnn.config import n_threads

NETWORKS = {  # sizes, and what they are trained with
    "784-128-10, relu, SGD": ([784, 128, 10], "relu", fastnn.SGD(0.1, momentum=0.9)),
    "784-512-512-10, gelu, Adam": ([784, 512, 512, 10], "gelu", fastnn.Adam(1e-3)),
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", choices=list(NETWORKS), help="one of the networks")
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    data = np.load(Path(os.environ["FASTNN_DATA"], "mnist.npz"))
    parts = [data[f"{part}_{what}"] for part in ("train", "test") for what in ("images", "labels")]
    X, y, X_test, y_test = [part.reshape(len(part), -1).squeeze() for part in parts]
    threads = n_threads(None)
    measurements = []
    for name in [options.only] if options.only else list(NETWORKS):
        runs = []
        for seed in range(options.seeds):
            run = trained(name, seed, options.epochs, X, y, X_test, y_test)
            print(name, run)
            runs.append(run)
        workload = {"name": name, "data": "mnist", "epochs": options.epochs, "batch": 128}
        head = {"workload": workload, "threads": threads, "commit": machine.commit()}
        measurements.append({**head, "seeds": runs})
    if options.write:
        keep("bfloat16", measurements)


def trained(name: str, seed: int, epochs: int, X: Any, y: Any, *test: Any) -> dict[str, Any]:
    """Mean loss in the first and the last epoch, and accuracy on the test set after the last."""
    sizes, activation, optimizer = NETWORKS[name]
    found: dict[str, Any] = {"seed": seed}
    for dtype in ("float32", "bfloat16"):
        model = fastnn.Model(sizes, activation, seed=seed, input_scale=1 / 255, compute_dtype=dtype)
        loss = model.fit(X, y, epochs=epochs, batch_size=128, optimizer=optimizer).loss
        accuracy = model.evaluate(*test)["accuracy"]
        found[dtype] = {"first_loss": loss[0], "last_loss": loss[-1], "accuracy": accuracy}
        if dtype == "float32":
            model.compute_dtype = "bfloat16"
            found["float32, predicting in bfloat16"] = model.evaluate(*test)["accuracy"]
    return found
