"""`python -m bench bfloat16`: what `compute_dtype="bfloat16"` does to loss, accuracy and speed.

accuracy: on MNIST (FASTNN_DATA/mnist.npz) each network is trained in float32 and in bfloat16 from
the same first weights, for some seeds; and the network trained in float32 predicts in bfloat16.
speed: epochs of random rows in mini-batches of 128 by SGD, and predictions of them all, NumPy in
and NumPy out, beside PyTorch (autocast; predictions by weights in bfloat16, too) and OpenVINO. All
take turns in one process.
"""

from __future__ import annotations

import os
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep
from bench.session import add_threads_argument
from fastnn.config import n_threads
from fastnn.kernels import _cpu

NETWORKS = {  # sizes, and what they are trained with
    "784-128-10, relu, SGD": ([784, 128, 10], "relu", fastnn.SGD(0.1, momentum=0.9)),
    "784-512-512-10, gelu, Adam": ([784, 512, 512, 10], "gelu", fastnn.Adam(1e-3)),
}
PARTS = ("accuracy", "speed")
BATCH, RATE = 128, 1e-3
ROWS = {(784, 128, 10): 16384, (784, 512, 512, 10): 8192, (1024, 2048, 2048, 1000): 2048}
Ways = dict[str, Callable[[], Any]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--part", choices=PARTS, help="one of the two")
    parser.add_argument("--rounds", type=int, default=7, help="of speed")
    add_threads_argument(parser)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", choices=list(NETWORKS), help="one of the networks")
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    measurements = []
    if options.part != "speed":
        measurements += accuracies(options)
    if options.part != "accuracy":
        measurements += speeds(options)
    if options.write:
        keep("bfloat16", measurements, ["torch", "openvino"])


def accuracies(options: Namespace) -> list[dict[str, Any]]:
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
    return measurements


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


def speeds(options: Namespace) -> list[dict[str, Any]]:
    measurements = []
    for sizes, n in ROWS.items():
        for threads in options.threads:
            rng = np.random.default_rng(0)
            X = rng.standard_normal((n, sizes[0]), np.float32)
            y = rng.integers(0, sizes[-1], n)
            name = f"speed of {'-'.join(map(str, sizes))}"
            print(f"{name}, {n:,} rows, {threads} threads, by {_cpu.bfloat16_by()}:")
            fits, predictions = fastnn_ways(sizes, threads, X, y)
            for more in (pytorch_ways, openvino_ways):
                try:
                    found = more(sizes, threads, X, y)
                except ImportError as missing:
                    print(f"not measured: {missing}")
                    continue
                fits, predictions = fits | found[0], predictions | found[1]
            workload = {"name": name, "rows": n, "batch": BATCH, "by": _cpu.bfloat16_by()}
            head = {"workload": workload, "threads": threads, "commit": machine.commit()}
            fit = in_turns("fit", fits, options.rounds)
            predict = in_turns("predict", predictions, options.rounds)
            measurements.append({**head, "fit": fit, "predict": predict})
    return measurements


def in_turns(what: str, ways: Ways, rounds: int) -> dict[str, dict[str, Any]]:
    """speed: how many times fastnn's in float32, in the median round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(0.05)  # threads of the way before may still spin
            begin = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begin)
    found = {}
    for name, own in seconds.items():
        pairs = zip(seconds["fastnn float32"], own, strict=True)
        speed = median(plain / one for plain, one in pairs)
        found[name] = {"seconds": own, "median_s": median(own), "speed": speed}
        print(f"  {what:7} {name:18} {1000 * median(own):8.2f} ms  {speed:5.2f} times")
    return found


def fastnn_ways(sizes: tuple[int, ...], threads: int, X: Any, y: Any) -> tuple[Ways, Ways]:
    fits: Ways = {}
    predictions: Ways = {}
    for dtype in ("float32", "bfloat16"):
        model = fastnn.Model([*sizes], seed=0, compute_dtype=dtype, n_threads=threads)
        optimizer = fastnn.SGD(RATE)
        fits[f"fastnn {dtype}"] = lambda model=model, optimizer=optimizer: model.fit(
            X, y, epochs=1, batch_size=BATCH, optimizer=optimizer
        )
        predictor = model.predictor()
        predictions[f"fastnn {dtype}"] = lambda predictor=predictor: predictor(X)
    return fits, predictions


def pytorch_ways(sizes: tuple[int, ...], threads: int, X: Any, y: Any) -> tuple[Ways, Ways]:
    import torch

    torch.set_num_threads(threads)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)

    def network() -> Any:
        layers: list[Any] = []
        for n_in, n_out in pairwise(sizes):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        return torch.nn.Sequential(*layers[:-1])

    def fit(net: Any, optimizer: Any, autocast: bool) -> None:
        order = torch.randperm(len(rows))
        for i in range(0, len(rows), BATCH):
            some = order[i : i + BATCH]
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = torch.nn.functional.cross_entropy(net(rows[some]), labels[some])
            loss.backward()
            optimizer.step()

    def predict(net: Any, dtype: Any, autocast: bool) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return torch.softmax(net(rows.to(dtype)).float(), 1).numpy()

    plain, half = network(), network().to(torch.bfloat16)
    fits: Ways = {}
    for name, autocast in (("PyTorch float32", False), ("PyTorch autocast", True)):
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), RATE, fused=True)
        fits[name] = lambda one=(net, optimizer, autocast): fit(*one)
    predictions: Ways = {
        "PyTorch float32": lambda: predict(plain, torch.float32, False),
        "PyTorch autocast": lambda: predict(plain, torch.float32, True),
        "PyTorch bfloat16": lambda: predict(half, torch.bfloat16, False),
    }
    return fits, predictions


def openvino_ways(sizes: tuple[int, ...], threads: int, X: Any, y: Any) -> tuple[Ways, Ways]:
    import openvino

    predictions: Ways = {}
    with tempfile.TemporaryDirectory() as folder:
        fastnn.onnx.export(fastnn.Model([*sizes], seed=0), path := Path(folder, "network.onnx"))
        for hint in ("f32", "bf16"):
            options = {
                **{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads},
                **{"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint, "ENABLE_CPU_PINNING": False},
            }
            request = openvino.Core().compile_model(str(path), "CPU", options)
            request = request.create_infer_request()
            predictions[f"OpenVINO {hint}"] = lambda request=request: request.infer(
                [X], share_inputs=True, share_outputs=True
            )["f"].copy()
    return {}, predictions
