"""`python -m bench int8`: prediction in 8 bits, by fastnn, ONNX Runtime and OpenVINO.

1,024 rows of one trained network, one thread, NumPy in and NumPy out: fastnn's float32 and its
`quantize`, calibrated and dynamic; ONNX Runtime on both as they are exported, and on what its own
tools make of the network: static quantisation as QDQ and as operators, signed and unsigned, weights
a scale per channel, of 7 bits ("reduced") where 8 would saturate without VNNI, and dynamic;
OpenVINO on the network and on each QDQ file. All are calibrated with the same rows. Ways take turns
in one process.

With FASTNN_DATA the network learns MNIST and each way is scored on the test rows; without,
it is as it was initialised and rows are random. A way that gives another class than float32 for
more than one row in twenty is not counted.
"""

from __future__ import annotations

import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep
from bench.workloads import Unavailable, mnist

SIZES, ROWS, CALIBRATION = (784, 512, 512, 10), 1024, 2000
EPOCHS, CALLS = 3, 5  # calls: of a turn
AGREE = 0.95
OURS = "fastnn int8"
Way = Callable[[np.ndarray], np.ndarray]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    name = f"{'-'.join(map(str, SIZES))}, {ROWS:,} rows"
    model, calibration, X, y = problem()
    data = "random rows" if y is None else "MNIST"
    print(f"{name} of {data}, ms:")
    with fastnn.threads(1), tempfile.TemporaryDirectory() as folder:
        ways = fastnn_ways(model, calibration)
        for more in (onnxruntime_ways, openvino_ways):
            try:
                ways |= more(model, calibration, Path(folder))
            except ImportError as missing:
                print(f"not measured: {missing}")
        found = measure(ways, X, y, options.rounds)
    if options.write:
        head = {"workload": {"name": name, "data": data}, "threads": 1, "commit": machine.commit()}
        keep("int8", [{**head, "ways": found}], ["onnxruntime", "onnx", "openvino"])


def problem() -> tuple[fastnn.Model, np.ndarray, np.ndarray, np.ndarray | None]:
    """The network, rows to calibrate with, rows to predict, and their classes where known."""
    model = fastnn.Model(list(SIZES), seed=0)
    try:
        X, y = mnist(60000)
    except Unavailable:
        rng = np.random.default_rng(0)
        both = [rng.random((n, SIZES[0]), np.float32) for n in (CALIBRATION, ROWS)]
        return model, *both, None
    model.fit(X, y, epochs=EPOCHS, optimizer="adam", batch_size=128)
    return model, X[:CALIBRATION], *mnist(10000, "test")


def measure(ways: dict[str, Way], X: np.ndarray, y: np.ndarray | None, rounds: int) -> dict:
    few = np.ascontiguousarray(X[:ROWS])
    want = ways["fastnn float32"](X).argmax(1)
    found: dict[str, dict[str, Any]] = {}
    for name, way in ways.items():
        got = np.concatenate([way(X[i : i + ROWS]).argmax(1) for i in range(0, len(X), ROWS)])
        found[name] = {"agreement": float((got == want).mean()), "seconds": []}
        if y is not None:
            found[name]["accuracy"] = float((got == y).mean())
        if found[name]["agreement"] < AGREE:
            found[name]["wrong"] = f"another class than float32's in {(got != want).mean():.1%}"
    for _ in range(rounds):
        for name, way in ways.items():
            time.sleep(0.02)  # threads of the way before may still spin
            way(few)
            begin = time.perf_counter()
            for _ in range(CALLS):
                way(few)
            found[name]["seconds"].append((time.perf_counter() - begin) / CALLS)
    ours = found[OURS]["seconds"]
    for name, one in found.items():
        one["median_s"] = median(one["seconds"])
        one["ratio"] = median(t / own for t, own in zip(one["seconds"], ours, strict=True))
        accuracy = f"{one['accuracy']:9.2%} of the test rows" if "accuracy" in one else ""
        print(f"  {name:45} {1000 * one['median_s']:7.2f}  {one['ratio']:5.2f} times{accuracy}")
    return found


def fastnn_ways(model: fastnn.Model, calibration: np.ndarray) -> dict[str, Way]:
    return {
        "fastnn float32": model.predictor(),
        OURS: model.quantize(calibration)[0],
        "fastnn int8, dynamic": model.quantize(calibration, activations="dynamic")[0],
    }


def onnxruntime_ways(
    model: fastnn.Model, calibration: np.ndarray, folder: Path
) -> dict[str, Way]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3

    def way(path: Path) -> Way:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        return lambda X: session.run(["f"], {"X": X})[0]

    files = onnx_files(model, calibration, folder)
    return {f"ONNX Runtime {name}": way(path) for name, path in files.items()}


def openvino_ways(model: fastnn.Model, calibration: np.ndarray, folder: Path) -> dict[str, Way]:
    import openvino

    core = openvino.Core()
    options = {
        **{"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1},
        **{"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False},
    }

    def way(path: Path) -> Way:
        request = core.compile_model(str(path), "CPU", options).create_infer_request()
        return lambda X: request.infer([X], share_inputs=True, share_outputs=True)["f"].copy()

    files = onnx_files(model, calibration, folder)
    names = [name for name in files if "float32" in name or "QDQ" in name]
    return {f"OpenVINO {name}": way(files[name]) for name in names}


def onnx_files(model: fastnn.Model, calibration: np.ndarray, folder: Path) -> dict[str, Path]:
    """The network in float32, and quantised by ONNX Runtime in each way."""
    plain, ready = folder / "float32.onnx", folder / "ready.onnx"
    files = {"float32": plain, "QDQ that fastnn exports": folder / "ours.onnx"}
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    signed, unsigned = quantization.QuantType.QInt8, quantization.QuantType.QUInt8
    qdq, operators = quantization.QuantFormat.QDQ, quantization.QuantFormat.QOperator
    static = {
        "static u8s8 QDQ": (qdq, unsigned, signed, False),
        "static u8s8 QDQ, reduced": (qdq, unsigned, signed, True),
        "static u8s8 operators, reduced": (operators, unsigned, signed, True),
        "static s8s8 QDQ": (qdq, signed, signed, False),
        "static u8u8 QDQ": (qdq, unsigned, unsigned, False),
    }
    dynamic = {"dynamic s8, reduced": (signed, True), "dynamic u8": (unsigned, False)}
    files |= {name: folder / f"{i}.onnx" for i, name in enumerate([*static, *dynamic])}
    if plain.exists():
        return files
    fastnn.onnx.export(model, plain)
    fastnn.onnx.export(model.quantize(calibration)[0], folder / "ours.onnx")
    quant_pre_process(str(plain), str(ready))
    for name, (form, activations, weights, reduced) in static.items():
        quantization.quantize_static(
            *(str(ready), str(files[name]), _reader(quantization, calibration)),
            quant_format=form,
            activation_type=activations,
            weight_type=weights,
            per_channel=weights is signed,
            reduce_range=reduced,
        )
    for name, (weights, reduced) in dynamic.items():
        quantization.quantize_dynamic(
            *(str(ready), str(files[name])),
            weight_type=weights,
            per_channel=weights is signed,
            reduce_range=reduced,
        )
    return files


def _reader(quantization: Any, rows: np.ndarray) -> Any:
    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.blocks = iter(np.array_split(rows, 4))

        def get_next(self) -> dict[str, np.ndarray] | None:
            block = next(self.blocks, None)
            return None if block is None else {"X": block}

    return Reader()
