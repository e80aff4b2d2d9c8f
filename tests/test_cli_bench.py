"""fastnn bench: its numbers fit together, and it says when they are not reliable."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastnn
from fastnn.cli import bench, main
from fastnn.kernels import _cpu


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command on its smaller networks: (exit status, standard output, standard error)."""
    monkeypatch.setattr(bench, "SHAPES", bench.SHAPES[:2])
    monkeypatch.setattr(bench, "TRAINING", bench.TRAINING[:-1])
    monkeypatch.setattr(bench, "PREDICTION_ROWS", bench.PREDICTION_ROWS[:2])

    def run(*options):
        status = main(["bench", "--seconds", "1e-4", *map(str, options)])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_json_is_complete_and_consistent(run, dtype):
    threads = min(2, fastnn.show_config("dict")["threads"])
    status, out, _ = run("--json", "--dtype", dtype, "--threads", threads)
    assert status == 0
    report = json.loads(out)
    machine = report["machine"]
    assert machine["cpu"] and machine["isa"] == _cpu.isa() and machine["threads"] == threads
    assert machine["fastnn"] == fastnn.__version__ and machine["numpy"] == np.__version__
    assert (report["dtype"], report["seconds"]) == (dtype, 1e-4) and report["repetitions"] >= 5
    used = [found["threads"] for found in report["peak"]]
    assert used == sorted({1, threads})
    assert all(found["before"] > 0 and found["after"] > 0 for found in report["peak"])
    for result in report["kernels"] + report["training"] + report["prediction"]:
        assert result["gflops"] == pytest.approx(result["flops"] / result["seconds"] / 1e9)
        assert result["share"] == pytest.approx(result["gflops"] / result["peak"])
    kernels = [(r["n_in"], r["n_out"], r["kernel"]) for r in report["kernels"]]
    assert kernels == [(*shape, name) for shape in bench.SHAPES for name in bench.KERNELS]
    first = report["kernels"][0]
    assert first["flops"] == 2 * 128 * 128 * 128
    assert first["weight_bytes"] == 128 * 128 * np.dtype(dtype).itemsize
    training = [
        (tuple(r["sizes"]), r["batch"], r["optimizer"], r["threads"]) for r in report["training"]
    ]
    assert training == [(*what, t) for what in bench.TRAINING for t in used]
    for result in report["training"]:
        rate = result["batch"] / result["seconds"]
        assert result["samples_per_second"] == pytest.approx(rate)
    calls = [(tuple(r["sizes"]), r["rows"], r["threads"]) for r in report["prediction"]]
    assert calls == [
        (sizes, n, t) for sizes in bench.PREDICTION for n in bench.PREDICTION_ROWS for t in used
    ]
    for result in report["prediction"]:
        assert result["rows_per_second"] == pytest.approx(result["rows"] / result["seconds"])


def test_text(run, monkeypatch):
    monkeypatch.setattr(bench, "fma_peak", lambda dtype, threads: 80.0 * threads)
    status, out, err = run()
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    assert f"{_cpu.isa()} instructions" in out and "80.0 GFLOP/s on 1 thread" in out
    names = ("784 -> 128", *bench.KERNELS, "784-512-512-10", "Adam", "samples/s", "us a call")
    for name in names:
        assert name in out


@pytest.mark.parametrize(("first", "told"), [(95.0, False), (85.0, True)])
def test_a_peak_that_changed_is_told(run, monkeypatch, first, told):
    def fma_peak(dtype, threads):
        calls.append(threads)
        return first if len(calls) <= bench.REPETITIONS else 100.0

    calls = []
    monkeypatch.setattr(bench, "fma_peak", fma_peak)
    status, _, err = run("--json", "--threads", 1, "--seconds", 1e-9)
    assert status == 0
    text = "fastnn: warning: the FMA peak on 1 thread was between 85.0 and 100.0 GFLOP/s"
    assert err.startswith(text) if told else err == ""


def test_it_measures_the_isa_in_use(run):
    _cpu.use(_cpu.isas()[-1])
    try:
        assert json.loads(run("--json")[1])["machine"]["isa"] == _cpu.isas()[-1]
    finally:
        _cpu.use()


def test_operations_by_hand():
    # 3-4-2, five rows: products of 5 x 3 x 4 and 5 x 4 x 2 multiplications and as many additions.
    assert bench.forward_flops((3, 4, 2), 5) == 120 + 80
    assert bench.step_flops((3, 4, 2), 5) == 200 + 200 + 80  # forward, gradient, hidden delta


def test_a_measurement_is_a_median_beside_the_peak(monkeypatch):
    def run(n):  # slow at first; then 2 ms, or 1, or 3
        calls.append(n)
        return n * (1.0 if len(calls) == 1 else 0.001 * (1 + len(calls) % 3))

    calls = []
    monkeypatch.setattr(bench, "fma_peak", lambda dtype, threads: 10.0 * threads)
    result = bench.Bench("float32", [1, 2], 0.1).measure(run, 6_000_000, 2)
    assert len(calls) == 1 + bench.REPETITIONS
    assert result == pytest.approx(
        {"threads": 2, "flops": 6e6, "seconds": 0.002, "gflops": 3, "peak": 20, "share": 0.15}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--threads 0", "argument --threads: must be at least 1, got 0"),
        ("--threads 1000000", "--threads must be at most"),
        ("--seconds 0", "argument --seconds: must be a number above 0, got 0"),
        ("--seconds nan", "argument --seconds: must be a number above 0, got nan"),
        ("--dtype float16", "argument --dtype: invalid choice: 'float16'"),
        ("more", "unexpected argument: more"),
    ],
)
def test_bad_use(capsys, options, message):
    assert main(["bench", *options.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("fastnn: error: ") and message in err
    assert err.count("\n") == 1
