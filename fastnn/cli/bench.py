"""``fastnn bench``: how fast this machine runs fastnn, beside the most arithmetic it can do."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.checks import counted
from fastnn.cli.common import arguments
from fastnn.cli.common.messages import BadUse, warn

if TYPE_CHECKING:
    from fastnn import Model
    from fastnn.predictor import Predictor

HELP = "measure how fast this machine runs fastnn"
DESCRIPTION = """Measure kernels, training steps and prediction in GFLOP/s, 10^9 floating-point
operations a second, and as the share of this machine's FMA peak, measured too: fused multiply-adds
on numbers in registers, the most arithmetic it can do. Counted are the operations of the matrix
products alone. Takes about half a minute; other programs running meanwhile disturb it."""

REPETITIONS = 7  # of each measurement; its median counts
FMA_ROUNDS = 1_000_000  # of a measurement of the peak: 2 to 4 ms
DISTURBED = 0.1  # relative change of the peak during the run that calls for a warning
SHAPES = [(128, 128), (784, 128), (512, 512), (2048, 2048)]  # n_in, n_out of a layer
LAYER_BATCH = 128
KERNELS = {  # method of LayerPasses, optimizer
    "forward": ("forward", "sgd"),
    "hidden delta": ("hidden_delta", "sgd"),
    "gradient, SGD": ("gradient", "sgd"),
    "gradient, Adam": ("gradient", "adam"),
}
TRAINING = [  # sizes, batch, optimizer
    ((784, 30, 10), 1, "sgd"),
    ((64, 64, 10), 32, "sgd"),
    ((784, 128, 10), 128, "sgd"),
    ((784, 512, 512, 10), 128, "sgd"),
    ((784, 512, 512, 10), 128, "adam"),
    ((32, 64, 64, 1), 256, "adam"),
    ((1024, 2048, 2048, 1000), 256, "sgd"),
]
TRAINING_ROWS = 8192
PREDICTION = [(64, 64, 10), (784, 128, 10)]  # sizes
PREDICTION_ROWS = [1, 1024, 65536]
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_threads(parser)
    parser.add_argument(
        "--seconds",
        type=arguments.positive_float,
        default=0.4,
        metavar="S",
        help="for each measurement (default: 0.4)",
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)"
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")


@dataclass
class Bench:
    """What every measurement needs."""

    dtype: str
    threads: list[int]
    seconds: float

    def measure(self, run: Callable[[int], float], flops: int, threads: int) -> dict[str, Any]:
        """run(n) does n times what takes `flops` operations, and returns the seconds."""
        n = 1
        while (taken := run(n)) < self.seconds / 16:  # warms up, too
            n *= 2
        n = max(1, round(n * self.seconds / (REPETITIONS * taken)))
        peaks, times = [], []
        for _ in range(REPETITIONS):
            peaks.append(fma_peak(self.dtype, threads))
            times.append(run(n) / n)
        seconds, peak = statistics.median(times), statistics.median(peaks)
        gflops = flops / seconds / 1e9
        return {
            "threads": threads,
            "flops": flops,
            "seconds": seconds,
            "gflops": gflops,
            "peak": peak,
            "share": gflops / peak,
        }

    def peaks(self) -> dict[int, float]:
        """The FMA peak by number of threads."""
        found = {}
        for threads in self.threads:
            begin, values = perf_counter(), list[float]()
            while len(values) < REPETITIONS or perf_counter() - begin < self.seconds:
                values.append(fma_peak(self.dtype, threads))
            found[threads] = statistics.median(values)
        return found


def fma_peak(dtype: str, threads: int) -> float:
    """GFLOP/s of fused multiply-adds on numbers in registers, now."""
    from fastnn.kernels._cpu import multiply_adds

    flops, seconds = multiply_adds(dtype, FMA_ROUNDS, threads)
    return flops / seconds / 1e9


def run(args: argparse.Namespace) -> int:
    from fastnn.config import n_threads

    processors = os.cpu_count() or 1
    if args.threads is not None and args.threads > processors:
        raise BadUse(f"--threads must be at most {processors}, the processors of this machine")
    most = n_threads(args.threads)
    threads = [1, most] if most > 1 else [1]
    bench = Bench(args.dtype, threads, args.seconds)
    def show(text: str) -> None:
        if not args.json:
            print(text, flush=True)

    machine = describe(most)
    show(f"CPU       {machine['cpu']}, {machine['isa']} instructions")
    show(f"fastnn    {machine['fastnn']}, {args.dtype}, up to {counted(most, 'thread')}")
    before = bench.peaks()
    show(f"FMA peak  {peaks_text(before)}:")
    show("          multiply-adds on numbers in registers, the most arithmetic this machine can do")
    show("GFLOP/s   10^9 additions and multiplications a second, of the matrix products alone")
    show("share     of the FMA peak on as many threads, which is measured beside each number")
    show("threads   at most so many: fastnn uses fewer where more would not pay")
    results: dict[str, list[dict[str, Any]]] = {}
    for name, section, header, line in (
        ("kernels", kernels, kernels_header, kernels_line),
        ("training", training, training_header, training_line),
        ("prediction", prediction, prediction_header, prediction_line),
    ):
        show("\n" + header(threads))
        results[name] = []
        for found in section(bench):
            show(line(found))
            results[name] += found
    after = bench.peaks()
    show(f"\nFMA peak  {peaks_text(after)}, measured again")
    if args.json:
        report = {
            "machine": machine,
            "dtype": args.dtype,
            "seconds": args.seconds,
            "repetitions": REPETITIONS,
            "peak": [{"threads": t, "before": before[t], "after": after[t]} for t in threads],
            **results,
        }
        json.dump(report, sys.stdout, indent=2, ensure_ascii=False)
        print()
    for t in threads:
        seen = [r["peak"] for found in results.values() for r in found if r["threads"] == t]
        low, high = min(*seen, before[t], after[t]), max(*seen, before[t], after[t])
        if high > (1 + DISTURBED) * low:
            warn(
                f"the FMA peak on {counted(t, 'thread')} was between {low:,.1f} and {high:,.1f} "
                "GFLOP/s: other programs ran, or the clock changed; times may be off by as much"
            )
    return 0


def describe(threads: int) -> dict[str, Any]:
    """The machine, and the versions of what runs on it."""
    import fastnn
    from fastnn.config import cpu_name

    return {"cpu": cpu_name(), **fastnn.show_config("dict"), "threads": threads}


# --- measurements


def numbers(rows: int, columns: int, dtype: str) -> np.ndarray:
    """Random, in [0, 1)."""
    return np.random.default_rng(0).random((rows, columns), np.dtype(dtype))


def products(sizes: tuple[int, ...]) -> list[int]:
    """Multiply-adds of each layer's h_prev W^T, for one row."""
    return [n_in * n_out for n_in, n_out in pairwise(sizes)]


def forward_flops(sizes: tuple[int, ...], rows: int) -> int:
    return 2 * rows * sum(products(sizes))


def step_flops(sizes: tuple[int, ...], rows: int) -> int:
    """Forward, hidden delta and gradient take the same; the first layer needs no hidden delta."""
    return 2 * rows * (3 * sum(products(sizes)) - products(sizes)[0])


def kernels(bench: Bench) -> Iterator[list[dict[str, Any]]]:
    """Each pass over one layer, on one thread: a list for each shape."""
    from fastnn.kernels import _cpu
    from fastnn.kernels.layer import LayerPasses
    from fastnn.training.optimizers import as_optimizer

    for n_in, n_out in SHAPES:
        h_prev, delta = (numbers(LAYER_BATCH, n, bench.dtype) for n in (n_in, n_out))
        W = numbers(n_out, n_in, bench.dtype)
        results = []
        for name, (method, optimizer) in KERNELS.items():
            rates = as_optimizer(optimizer, 1e-6).rates
            layer = LayerPasses(h_prev, W, delta, _cpu.OPTIMIZERS[optimizer], rates)
            flops = forward_flops((n_in, n_out), LAYER_BATCH)
            result = bench.measure(getattr(layer, method), flops, 1)
            what = {"kernel": name, "n_in": n_in, "n_out": n_out, "batch": LAYER_BATCH}
            results.append({**what, "weight_bytes": W.nbytes, **result})
        yield results


def training(bench: Bench) -> Iterator[list[dict[str, Any]]]:
    """Steps as `Model.fit` takes them: a list for each network, with each number of threads."""
    import fastnn

    for sizes, batch, optimizer in TRAINING:
        output: Any = "softmax" if sizes[-1] > 1 else "identity"
        model = fastnn.Model(sizes, output=output, dtype=np.dtype(bench.dtype), seed=0)
        what = {"sizes": sizes, "batch": batch, "optimizer": optimizer}
        results = []
        for threads in bench.threads:
            run = training_run(model, batch, optimizer, threads)
            result = bench.measure(run, step_flops(sizes, batch), threads)
            result["samples_per_second"] = batch / result["seconds"]
            results.append({**what, **result})
        yield results


def training_run(model: Model, batch: int, optimizer: str, threads: int) -> Callable[[int], float]:
    """For `Bench.measure`: n steps on random rows and labels."""
    from fastnn.network.arrays import as_pair
    from fastnn.training.loop import Run
    from fastnn.training.optimizers import as_optimizer

    network = model._network
    rng = np.random.default_rng(0)
    labels = rng.integers(0, max(network.n_out, 2), TRAINING_ROWS)
    X, y = as_pair(numbers(TRAINING_ROWS, network.n_in, model.dtype), labels, network)
    shuffled = rng.permutation(TRAINING_ROWS)
    rule = as_optimizer(optimizer, 1e-3)
    parameters = model._parameters
    with parameters.training(optimizer, batch) as engine:
        steps = Run(parameters, engine, rule, batch, threads, model.seed)

    def run(n: int) -> float:
        order = np.resize(shuffled, n * batch)
        with parameters.training(optimizer, batch, keep=False) as steps.engine:
            begin = perf_counter()
            steps.epoch(X, y, order)
            return perf_counter() - begin

    return run


def prediction(bench: Bench) -> Iterator[list[dict[str, Any]]]:
    """Calls of a `Predictor`: a list for each network and number of rows."""
    import fastnn

    for sizes in PREDICTION:
        model = fastnn.Model(sizes, dtype=np.dtype(bench.dtype), seed=0)
        X = numbers(max(PREDICTION_ROWS), sizes[0], bench.dtype)
        for rows in PREDICTION_ROWS:
            x = X[:rows] if rows > 1 else X[0]
            results = []
            for threads in bench.threads:
                model.n_threads = threads
                run = prediction_run(model.predictor(), x)
                result = bench.measure(run, forward_flops(sizes, rows), threads)
                result["rows_per_second"] = rows / result["seconds"]
                results.append({"sizes": sizes, "rows": rows, **result})
            yield results


def prediction_run(predict: Predictor, x: np.ndarray) -> Callable[[int], float]:
    """For `Bench.measure`: n calls."""

    def run(n: int) -> float:
        begin = perf_counter()
        for _ in range(n):
            predict(x)
        return perf_counter() - begin

    return run


# --- text


def peaks_text(peak: dict[int, float]) -> str:
    return ", ".join(f"{g:,.1f} GFLOP/s on {counted(t, 'thread')}" for t, g in peak.items())


def kernels_header(threads: list[int]) -> str:
    names = "".join(f"{name:>17}" for name in KERNELS)
    return (
        f"Kernels, one thread, batch {LAYER_BATCH}: GFLOP/s and share of the peak\n"
        f"  {'layer':13} {'weights':>10}{names}"
    )


def kernels_line(results: list[dict[str, Any]]) -> str:
    first = results[0]
    weights = first["weight_bytes"] / 1024
    cells = "".join(f"{r['gflops']:>11,.1f} {r['share']:>5.0%}" for r in results)
    return f"  {first['n_in']:>4} -> {first['n_out']:<5} {weights:>7,.0f} KiB{cells}"


def training_header(threads: list[int]) -> str:
    return _header(
        "Training steps",
        f"  {'network':20} {'batch':>5} {'optimizer':<9}",
        threads,
        f"{'samples/s':>13} {'GFLOP/s':>8} {'share':>5}",
    )


def training_line(results: list[dict[str, Any]]) -> str:
    first = results[0]
    cells = "".join(
        f"{r['samples_per_second']:>13,.0f} {r['gflops']:>8,.1f} {r['share']:>5.0%}"
        for r in results
    )
    return f"  {_network(first):20} {first['batch']:>5} {OPTIMIZERS[first['optimizer']]:<9}{cells}"


def prediction_header(threads: list[int]) -> str:
    return _header(
        "Prediction",
        f"  {'network':12} {'rows':>6}",
        threads,
        f"{'us a call':>11} {'rows/s':>12} {'GFLOP/s':>8} {'share':>5}",
    )


def prediction_line(results: list[dict[str, Any]]) -> str:
    first = results[0]
    cells = "".join(
        f"{1e6 * r['seconds']:>11,.1f} {r['rows_per_second']:>12,.0f} {r['gflops']:>8,.1f} "
        f"{r['share']:>5.0%}"
        for r in results
    )
    return f"  {_network(first):12} {first['rows']:>6,}{cells}"


def _network(result: dict[str, Any]) -> str:
    return "-".join(map(str, result["sizes"]))


def _header(title: str, left: str, threads: list[int], columns: str) -> str:
    """The columns once for each number of threads, which stands above them."""
    above = "".join(f"{counted(t, 'thread'):>{len(columns)}}" for t in threads)
    return f"{title:{len(left)}}{above}\n{left}{columns * len(threads)}"
