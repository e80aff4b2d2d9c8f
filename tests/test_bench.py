"""The benchmarks' own logic: what counts, what is compared, what is printed. No peer is needed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import re
import shutil
import sys
from argparse import ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastnn
from bench import (
    before,
    bfloat16,
    by_hand,
    charts,
    estimators,
    imports,
    int8,
    linear,
    machine,
    many,
    report,
    results,
    serve,
    sweep,
    zeros,
)
from bench.entrants import ENTRANTS, Listing
from bench.entrants.fastnn import Fastnn
from bench.entrants.numpy_by_hand import NumpyByHand
from bench.environment import environment
from bench.measure import Plan, measure
from bench.processes import EntrantProcess, Failed
from bench.rounds import Turn, best_rates, is_good, median_ratio
from bench.session import Session, names_of
from bench.workloads import (
    REGRESSION,
    WORKLOADS,
    Unavailable,
    Workload,
    make_problem,
    prediction,
    reference_forward,
    training,
)

SMALL = [
    training("softmax", (7, 9, 5, 3), 4, 8),
    training("online", (7, 9, 3), 1, 8, hidden="sigmoid"),
    training("regression", (7, 9, 2), 4, 8, **REGRESSION),
]

in_checkout = pytest.mark.skipif(
    Path(fastnn.__file__).parents[1] != machine.ROOT,
    reason="children measure the checkout, and fastnn is built elsewhere",
)


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.name)
def test_fastnn_and_numpy_do_the_same_work(workload):
    """Three epochs: the later losses depend on the updates and on the order of rows."""
    problem = make_problem(workload)
    ours, theirs = Fastnn(problem).train(3), NumpyByHand(problem).train(3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert len(set(ours)) == 3


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_predictions_are_the_references(output):
    problem = make_problem(prediction("p", (7, 9, 3), 5, output=output))
    want = reference_forward(problem, problem.X)
    for entrant in (Fastnn(problem), NumpyByHand(problem)):
        np.testing.assert_allclose(entrant.predict(problem.X), want, rtol=1e-5, atol=1e-6)


def test_sparse_rows_are_those_of_a_dense_matrix():
    problem = make_problem(training("sparse", (300, 9, 3), 4, 8, data="sparse"))
    columns, dense = problem.X.columns, np.zeros(problem.X.shape, "f4")
    assert (np.diff(columns) > 0).all()
    np.put_along_axis(dense, columns.astype(int), problem.X.values, 1)
    ours, theirs = Fastnn(problem), NumpyByHand(replace(problem, X=dense))
    np.testing.assert_allclose(ours.train(3), theirs.train(3), rtol=1e-5)


@pytest.mark.parametrize("more", [{"dropout": 0.5}, {"norm": "batch"}, {"norm": "layer"}], ids=str)
def test_dropout_and_norms_change_the_network_that_is_trained(more):
    plain = training("plain", (7, 64, 3), 16, 8)
    losses = [Fastnn(make_problem(one)).train(1)[0] for one in (plain, replace(plain, **more))]
    assert losses[0] != pytest.approx(losses[1], rel=0.01)


def test_who_cannot_do_a_workload_is_not_asked():
    takers = {
        name: [one for one, listing in ENTRANTS.items() if listing.takes(WORKLOADS[name])]
        for name in ("T4", "T5d", "T8s", "P1m")
    }
    assert "numpy_by_hand" in takers["T4"] and "onnxruntime" not in takers["T4"]
    peers = ["pytorch_by_hand", "pytorch_compiled", "pytorch_eager", "jax_scan"]
    assert takers["T5d"] == ["fastnn", *peers]
    assert takers["T8s"] == ["fastnn", *peers, "scikit_learn"]
    assert "onnxruntime" in takers["P1m"]


def test_a_problem_follows_from_its_workload():
    one, other = make_problem(SMALL[0]), make_problem(SMALL[0])
    np.testing.assert_array_equal(one.X, other.X)
    np.testing.assert_array_equal(one.orders, other.orders)
    assert sorted(one.orders[0]) == list(range(32))


def test_workloads_survive_json():
    for workload in WORKLOADS.values():
        assert Workload.from_dict(json.loads(json.dumps(workload.as_dict()))) == workload


def test_mnist_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    with pytest.raises(Unavailable, match=r"FASTNN_DATA names no folder with mnist\.npz"):
        make_problem(WORKLOADS["T1m"])


# What counts


def test_a_turn_beside_a_slow_core_does_not_count():
    """Two cores of 100 GFLOP/s; the second is slow after the second turn."""
    fine, slow = (100.0, 100.0), (100.0, 60.0)
    turns = [Turn(1.0, fine, fine), Turn(9.0, fine, slow), Turn(1.0, fine, fine)]
    best = best_rates([[turn] for turn in turns])
    assert best == [100.0, 100.0]
    assert [is_good(turn, best) for turn in turns] == [True, False, True]


def test_a_ratio_compares_turns_of_one_round():
    fine, slow = (100.0,), (50.0,)
    ours = [Turn(1.0, fine, fine), Turn(9.0, slow, slow), Turn(2.0, fine, fine)]
    theirs = [Turn(3.0, fine, fine), Turn(9.0, fine, fine), Turn(8.0, fine, fine)]
    assert median_ratio(ours, theirs, [100.0]) == 3.5  # of 3/1 and 8/2
    assert math.isnan(median_ratio(ours[1:2], theirs[1:2], [100.0]))


class StandIn:
    """An entrant's process that answers from memory."""

    n_threads = 1

    def __init__(self, name, seconds, loss):
        self.key = f"{name}@1"
        self.answers = {
            "build": {"variant": ""},
            "first": {"loss": loss},
            "calibrate": {"epochs": 1},
            "round": {"seconds": seconds},
        }

    def ask(self, request, **arguments):
        if self.answers["round"]["seconds"] is None and request == "round":
            raise Failed("out of memory")
        return dict(self.answers[request])


class SteadyCanaries:
    def rates(self):
        return [100.0]


def test_who_does_other_work_or_fails_does_not_count(capsys):
    plan = Plan(rounds=2, enough=2, bound=4, seconds=0.1, pause=0, short_pause=0)
    entrants = [
        StandIn("fastnn", 8e-6, 0.5),
        StandIn("slower", 16e-6, 0.5001),
        StandIn("lazy", 1e-6, 0.6),
        StandIn("broken", None, 0.5),
    ]
    found = measure(SMALL[0], entrants, SteadyCanaries(), plan, "fastnn@1")["entrants"]
    assert found["fastnn@1"]["median_us"] == pytest.approx(1.0)  # 8 steps
    assert found["slower@1"]["ratio"] == pytest.approx(2.0)
    assert found["lazy@1"]["wrong"] == "first epoch's loss is 0.6, not 0.5"
    assert "lazy@1" in capsys.readouterr().err
    assert found["broken@1"]["failed"] == "out of memory"
    assert results.best_peer({key.split("@")[0]: one for key, one in found.items()}) == "slower"


# Processes


def test_a_process_serves_several_workloads_and_says_why_it_fails():
    env = environment(1)
    with EntrantProcess("numpy_by_hand", 1, machine.cores()[:1], env) as process:
        for workload in SMALL[:2]:
            process.ask("build", workload=workload.as_dict())
            loss = process.ask("first")["loss"]
            assert loss == pytest.approx(NumpyByHand(make_problem(workload)).train(1)[0], rel=1e-6)
            assert process.ask("calibrate", seconds=0.001)["epochs"] >= 1
            assert process.ask("round")["seconds"] > 0
        with pytest.raises(Failed, match="Worker"):
            process.ask("no_such_request")
        process.ask("build", workload=SMALL[0].as_dict())  # and goes on


def test_a_missing_peer_is_named(monkeypatch, capsys):
    absent = Listing("absent", "Absent", "Absent", "no_such_package", ())
    monkeypatch.setitem(ENTRANTS, "absent", absent)
    options = Namespace(entrants=["fastnn", "absent"], isa="", no_mkl_as_intel=True)
    with Session(options, 1) as session:
        assert session.entrants == ["fastnn"]
        assert session.missing == {"absent": "no_such_package is not installed"}
    assert capsys.readouterr().out == "without absent: no_such_package is not installed\n"


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ArgumentTypeError, match="'T9' is none of T1, T1m, T2"):
        names_of(WORKLOADS)("T1,T9")


# The sweep


def test_shapes_are_in_bounds_and_follow_from_the_seed():
    shapes = sweep.random_shapes(200, seed=3)
    assert shapes == sweep.random_shapes(300, seed=3)[:200]
    assert shapes != sweep.random_shapes(200, seed=4)
    for shape in shapes:
        assert 1 <= len(shape.sizes) - 1 <= 5
        assert all(1 <= size <= 4096 for size in (*shape.sizes, shape.batch))
        assert shape.flops <= sweep.MAX_FLOPS and shape.n_parameters <= sweep.MAX_PARAMETERS
        assert 2 <= shape.steps <= 512
    assert {len(shape.sizes) for shape in shapes} == {2, 3, 4, 5, 6}
    assert min(shape.batch for shape in shapes) < 4 and max(shape.batch for shape in shapes) > 2000


# The report


def run_result():
    """fastnn at 2 us a step, JAX at 5, PyTorch at 20, NumPy with another loss."""
    entrants = {
        name: {"median_us": us, "thousand_samples_s": 4000 / us, "ratio": us / 2, "variant": ""}
        for name, us in [("fastnn", 2.0), ("jax_scan", 5.0), ("pytorch_eager", 20.0)]
    }
    entrants["numpy_by_hand"] = {**entrants["fastnn"], "wrong": "first epoch's loss is 2, not 1"}
    info = dict.fromkeys(["cpu", "isa", "compiler", "python", "numpy", "fastnn"], "some")
    measurement = {"threads": 1, "commit": "abc", "entrants": entrants, "best_peer": "jax_scan"}
    return {
        "kind": "run",
        "date": "2000-01-01",
        "machine": info,
        "packages": {"jax": "1.0"},
        "mkl_as_intel": False,
        "isa_limited_to": None,
        "measurements": [{**measurement, "workload": SMALL[0].as_dict()}],
    }


def test_report_fills_the_pages_between_the_markers(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "results").mkdir()
    results.write(run_result(), tmp_path / "results")
    marked = "before\n<!-- bench:{} -->\nold\n<!-- bench:end -->\nafter\n"
    (tmp_path / "README.md").write_text(marked.format("summary"))
    (tmp_path / "docs" / "benchmarks.md").write_text(marked.format("run"))
    for _ in range(2):  # the second time it replaces its own text
        report.main(Namespace(results=tmp_path / "results", root=tmp_path))
    readme = (tmp_path / "README.md").read_text()
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    row = "| 7-9-5-3, batch 4 | 2000 | 800 JAX | **2.50** |"
    for text in (readme, page):
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert page.count(row) == 1 and readme.count("docs/benchmarks.svg") == 1
    assert "| 7-9-5-3, batch 4 | 2000 | 200 | 800 |  |" in page  # NumPy's is not counted
    assert "- 7-9-5-3, batch 4, 1 thread: NumPy by hand: first epoch's loss is 2, not 1" in page
    assert "Did not take part: PyTorch by hand, PyTorch compiled, TorchScript, " in page
    chart = (tmp_path / "docs" / "benchmarks.svg").read_text()
    assert "2.50  JAX" in chart
    assert not (tmp_path / "docs" / "benchmarks_tables.svg").exists()  # without records
    assert chart.count('class="slower"') == 2 and chart.count('class="faster"') == 1  # with the key


def test_report_of_estimators(tmp_path):
    (tmp_path / "docs").mkdir()
    each = {
        "median_s": 0.25,
        "mean_score": 0.875,
        "seconds": [0.25],
        "n_iter": [7],
        "scores": [0.875],
    }
    one = {
        "workload": {"name": "wine"},
        "threads": 1,
        "commit": "abc",
        "ratio": 4.0,
        "same_n_iter": True,
    }
    result = {**run_result(), "kind": "estimators"}
    del result["mkl_as_intel"]
    calls = [
        {
            "method": "predict",
            "rows": 10,
            "us": {"fastnn": 20.0, "scikit-learn": 500.0},
            "ratio": 25.0,
        }
    ]
    theirs = {**each, "median_s": 1.0}
    result["measurements"] = [{**one, "fastnn": each, "scikit-learn": theirs, "calls": calls}]
    (tmp_path / "results").mkdir()
    results.write(result, tmp_path / "results")
    (tmp_path / "README.md").write_text("")
    page = tmp_path / "docs" / "benchmarks.md"
    page.write_text("<!-- bench:estimators --><!-- bench:end -->")
    report.main(Namespace(results=tmp_path / "results", root=tmp_path))
    assert "| wine | 1000 | 250 | **4.00** | the same | 0.8750, 0.8750 |" in page.read_text()
    assert "| wine | predict | 10 | 500 | 20.0 | **25.00** |" in page.read_text()


def test_random_shapes_are_drawn_each_where_it_is(tmp_path):
    result = {**run_result(), "kind": "sweep"}
    one = {**result["measurements"][0], "ratio": 2.5, "ratio_to_one_thread": None}
    slower = {**one, "ratio": 0.5, "threads": 2}
    result["measurements"] = [one, {**one, "ratio": None}, slower]
    chart = charts.shapes(result)
    assert "1 thread: 1 of 1 at 1 or above; 2 threads: 0 of 1 at 1 or above" in chart
    down = [float(y) for y in re.findall(r'cy="([\d.]+)" r="2.5"', chart)]
    line = float(re.search(r'class="line s3" d="M[\d.]+ ([\d.]+) ', chart)[1])
    assert len(down) == 2 and down[0] < line < down[1]
    text = report.sweep_section(result)
    assert text.count("](benchmarks_shapes.svg)") == 1
    assert "svg" not in report.sweep_section(result, drawn=False)


def test_no_results_are_named(tmp_path):
    with pytest.raises(SystemExit, match="no results in"):
        report.latest(tmp_path)


def test_results_of_parts_come_together(tmp_path):
    one = run_result()
    other = run_result()
    other["measurements"][0] = {**other["measurements"][0], "threads": 2}
    newer = run_result()
    newer["measurements"][0] = {**newer["measurements"][0], "commit": "def"}
    for result in (one, other, newer):
        path = results.write(result, tmp_path)
    found = json.loads(path.read_text())["measurements"]
    assert {(m["threads"], m["commit"]) for m in found} == {(1, "def"), (2, "abc")}


def test_numbers_have_three_digits():
    values = [0.0614, 0.614, 9.312, 27.81, 124.4, 12440.0, None]
    want = ["0.0614", "0.614", "9.31", "27.8", "124", "12440", ""]
    assert [report.number(value) for value in values] == want


# Estimators


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes"])
def test_estimators_are_fitted_alike(name, monkeypatch):
    pytest.importorskip("sklearn", "1.7")
    monkeypatch.setitem(estimators.SETTINGS, name, {"max_iter": 3, "hidden_layer_sizes": (5,)})
    monkeypatch.setattr(estimators, "SECONDS", 0.0)
    monkeypatch.setattr(estimators, "ROWS", (1, 700))
    found = estimators.measure(name, *estimators.load(name), rounds=2)
    assert found["same_n_iter"] and found["fastnn"]["n_iter"] == [3, 3]
    scores = found["fastnn"]["scores"], found["scikit-learn"]["scores"]
    np.testing.assert_allclose(*scores, rtol=1e-9)
    methods = ["predict"] if name == "diabetes" else ["predict", "predict_proba"]
    called = [(call["method"], call["rows"]) for call in found["calls"]]
    assert called == [(method, rows) for method in methods for rows in (1, 700)]
    text = estimators.line(found)
    assert "n_iter the same" in text and f"{found['ratio']:.2f} times" in text


# Many networks


@pytest.mark.parametrize("sizes", [(20, 64, 64, 2), (8, 32, 1)])
@pytest.mark.parametrize("way", many.WAYS)
def test_many_networks_learn_alike_in_each_way(way, sizes, monkeypatch):
    if "PyTorch" in way:
        pytest.importorskip("torch")
    if "scikit" in way:
        pytest.importorskip("sklearn")
        pytest.importorskip("joblib")
    monkeypatch.setattr(many, "ROWS", 600)
    monkeypatch.setattr(many, "EPOCHS", 6)
    monkeypatch.setattr(many, "BATCH", 64)
    monkeypatch.setattr(many, "N_THREADS", 1)  # joblib: in this process
    task = many.Task(3, sizes)
    losses = many.WAYS[way](task, *task.data())
    assert len(set(losses)) == 3  # seeds and shuffles of their own
    assert all(0.4 < loss < (np.log(2) if task.classes else 1.2) for loss in losses)


@in_checkout
def test_many_networks_are_timed_in_turns_and_reported(monkeypatch, capsys, tmp_path):
    called = []
    ways = {
        name: lambda task, X, y, name=name: called.append((task.networks, name))
        for name in ("fit_many", "other")
    }
    kept = {}
    monkeypatch.setattr(many, "WAYS", ways)
    monkeypatch.setattr(results, "write", lambda result: kept.update(result) or tmp_path)
    many.main(Namespace(ways=list(ways), rounds=2, write=True))
    assert called == [(task.networks, way) for task in many.TASKS for way in [*ways] * 3]
    assert capsys.readouterr().out.count("times fit_many's") == 4
    text = report.many_section(kept)
    ratio = kept["measurements"][1]["ways"]["other"]["ratio"]
    assert "16 networks 32-64-64-1, 2 threads:" in text and f"**{ratio:.2f}**" in text


def test_8_bits_are_timed_in_turns_checked_and_reported(monkeypatch, tmp_path, capsys):
    pytest.importorskip("onnx")
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setattr(machine, "peak", lambda isa="": 1.0)
    monkeypatch.setattr(int8, "SIZES", (20, 16, 4))
    monkeypatch.setattr(int8, "ROWS", 100)
    noise = lambda model, *_: {"noise": lambda X: 1 - model.forward(X)}  # noqa: E731
    monkeypatch.setattr(int8, "openvino_ways", noise)
    kept = {}
    monkeypatch.setattr(results, "write", lambda result: kept.update(result) or tmp_path)
    int8.main(Namespace(rounds=2, write=True))
    (measured,) = kept["measurements"]
    ways, told = measured["ways"], capsys.readouterr().out
    assert "20-16-4, 100 rows of random rows" in told and "fastnn int8, dynamic" in told
    assert all(len(way["seconds"]) == 2 for way in ways.values())
    assert ways["fastnn int8"]["ratio"] == 1 and ways["fastnn int8"]["agreement"] > 0.95
    assert [name for name, way in ways.items() if "wrong" in way] == ["noise"]
    missing = [name for name in ("onnxruntime", "sympy") if not importlib.util.find_spec(name)]
    if missing:  # onnxruntime's quantisation needs sympy, which it does not install
        assert re.search(rf"not measured: .*{missing[0]}", told)
    else:
        assert sum(name.startswith("ONNX Runtime static") for name in ways) == 5
    text = report.int8_section(kept)
    assert "20-16-4, 100 rows of random rows, 1 thread:" in text
    assert text.count("not counted") == 1


def test_products_of_bfloat16_are_timed_in_turns_beside_float32(monkeypatch, capsys):
    # OpenVINO leaves the process a stack for signals that is no longer mapped: the next ends it.
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(bfloat16, "ROWS", {(20, 16, 4): 200})
    kept = {}
    keep = lambda kind, measurements, packages: kept.update({kind: measurements})  # noqa: E731
    monkeypatch.setattr(bfloat16, "keep", keep)
    bfloat16.main(Namespace(part="speed", rounds=2, threads=[1], write=True))
    ((measured,),) = kept.values()
    for what in ("fit", "predict"):
        ways = measured[what]
        assert all(len(way["seconds"]) == 2 and way["speed"] > 0 for way in ways.values())
        assert ways["fastnn float32"]["speed"] == 1 and "fastnn bfloat16" in ways
        assert ("PyTorch autocast" in ways) == bool(importlib.util.find_spec("torch"))
    assert "speed of 20-16-4, 200 rows, 1 threads, by " in capsys.readouterr().out


def test_services_by_hand_answer_as_ours_does(tmp_path):
    """What `bench serve` asks and compares, without servers."""
    for package in ("starlette", "msgspec", "prometheus_client"):
        pytest.importorskip(package)
    from fastnn.serve.contract import Contract

    bodies = serve.prepare(tmp_path)
    ours = Contract(fastnn.load(tmp_path / "model.safetensors"), "v", 1000)
    predict = by_hand.none(tmp_path)
    if (tmp_path / "model.onnx").exists() and importlib.util.find_spec("onnxruntime"):
        predict = by_hand.onnxruntime(tmp_path)
        assert predict(np.zeros((3, serve.SIZES[0]), np.float32)).shape == (3, serve.SIZES[-1])
    app = by_hand.create_app(predict, serve.SIZES[0], serve.SIZES[-1])
    for n, body in bodies.items():
        status, told = asyncio.run(asked(app, body))
        want = serve.told(json.loads(ours.answer(body)[0]))
        got = serve.told(told)
        assert status == 200 and got.shape == want.shape == (n, 1 + serve.SIZES[-1])
        if predict.__qualname__.startswith("onnxruntime"):
            np.testing.assert_allclose(got, want, atol=1e-5)
    for bad in (b"", b'{"row": [1, 2]}', b'{"rows": [[1], [1, 2]]}'):
        assert asyncio.run(asked(app, bad))[0] == 422


async def asked(app, body):
    """Status and answer of POST /predict."""
    said = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        said.append(message)

    scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/predict"}
    await app({**scope, "root_path": "", "query_string": b"", "headers": []}, receive, send)
    return said[0]["status"], json.loads(said[1]["body"])


def test_services_are_reported():
    way = {"requests_s": 1234.5, "p50_us": 800.0, "p99_us": 900.0, "p99.9_us": 1000.0}
    measured = {"workload": {"name": "1 row a request"}, "commit": "abc", "ways": {"ours": way}}
    here = dict.fromkeys(("cpu", "isa", "compiler", "python", "numpy", "fastnn"), "x")
    result = {"machine": here, "packages": {}, "date": "today", "measurements": [measured]}
    assert "| ours | 1234 | 800 | 900 | 1000 |" in report.serve_section(result)


# Against another build


@in_checkout
def test_another_build_is_told_from_this_one(tmp_path, monkeypatch):
    """A copy whose training sleeps is slower; the same package is not."""
    monkeypatch.setattr("bench.rounds.GOOD", 0.0)  # other tests may run beside this one
    package = Path(fastnn.__file__).parent
    for folder in package, package.with_name("fastnn_cpu.libs"):
        if folder.exists():  # the second: of a repaired wheel
            shutil.copytree(folder, tmp_path / folder.name)
    shutil.copytree(Path(before.__file__).parent, tmp_path / "bench")
    entrant = tmp_path / "bench" / "entrants" / "fastnn.py"
    ratios = []
    for _ in range(2):
        with Session(Namespace(entrants=["fastnn"], isa="", no_mkl_as_intel=True), 1) as session:
            ratios.append(before.against(session, SMALL[0], tmp_path, 3))
        text = entrant.read_text().replace("import numpy", "import time\n\nimport numpy", 1)
        entrant.write_text(
            text.replace("        losses = []", "        time.sleep(0.2)\n        losses = []")
        )
    same, slow = ratios
    assert slow < 0.5 * same


def test_what_is_slower_than_before_is_named_if_it_is_so_twice(tmp_path, monkeypatch, capsys):
    ratios = {"T1": [1.2, 1.0], "T2": [1.3, 1.2], "T3": [1.0]}
    monkeypatch.setattr(before, "against", lambda session, one, *_: ratios[one.name].pop(0))
    (tmp_path / "fastnn" / "kernels").mkdir(parents=True)
    options = Namespace(entrants=["fastnn"], isa="", no_mkl_as_intel=True)
    options.folder, options.workloads, options.rounds = tmp_path, list(ratios), 3
    with pytest.raises(SystemExit, match="holds no fastnn"):
        before.main(options)
    (tmp_path / "fastnn" / "kernels" / "_cpu.so").touch()
    with pytest.raises(SystemExit, match=r"more than 10% slower than before: T2$"):
        before.main(options)
    assert capsys.readouterr().out.count("times as long") == 3


# Several CPUs


def test_runs_of_several_cpus_stand_side_by_side(tmp_path):
    one, other = run_result(), run_result()
    one["machine"] = {**one["machine"], "isa": "avx512", "family": "26", "model": "2"}
    other["machine"] = {**other["machine"], "isa": "avx2", "peak": 0.5}
    newer = {**other, "date": "2000-01-02"}
    for number, result in enumerate([other, one, newer]):
        (tmp_path / f"{result['date']}-{number}.json").write_text(json.dumps(result))
    first, second = report.latest(tmp_path)  # of each CPU the newest, the widest vectors first
    assert first == one and second == newer
    flops = SMALL[0].flops / 2e3  # GFLOP/s: fastnn takes 2 us a step
    text = report.side_by_side([first, second])
    assert "| some (family 26, model 2), avx512, 1 thread | some, avx2, 1 thread |" in text
    assert f"| train 7-9-5-3, batch 4 | **2.50** | **2.50** {flops / 0.5:.0%} |" in text
    assert "of peak" not in report.run_section(first)
    assert f"| 7-9-5-3, batch 4 | 2000 | {flops / 0.5:.0%} | 800 JAX |" in report.run_section(
        second
    )
    assert report.side_by_side([first]) == ""


@in_checkout
def test_a_result_says_what_a_core_could_do():
    info = machine.describe("baseline")  # which every CPU has
    assert info["isa"] == "baseline" and info["peak"] > 0


def test_columns_at_0_are_timed_beside_dense_rows_and_reported(monkeypatch, tmp_path, capsys):
    rng, kept = np.random.default_rng(0), {}
    X = rng.random((512, 784), np.float32)
    X[:, :196] = 0
    monkeypatch.setattr(machine, "peak", lambda isa="": 1.0)
    monkeypatch.setattr(zeros, "mnist", lambda rows: (X, rng.integers(0, 10, 512)))
    monkeypatch.setattr(results, "write", lambda result: kept.update(result) or tmp_path)
    zeros.main(Namespace(rounds=2, write=True))
    assert len(kept["measurements"]) == 10 and "75% of the columns used" in capsys.readouterr().out
    ways = kept["measurements"][0]["ways"]
    assert ways["dense"]["columns_used"] == 1 and ways["MNIST"]["columns_used"] == 0.75
    assert "784-128-10, batch 8" in (text := report.zeros_section(kept)) and "75%" in text


def test_linear_models_minimise_the_same_and_are_reported(monkeypatch, tmp_path, capsys):
    pytest.importorskip("sklearn")
    kept = {}
    monkeypatch.setattr(machine, "peak", lambda isa="": 1.0)
    monkeypatch.setattr(results, "write", lambda result: kept.update(result) or tmp_path)
    linear.main(Namespace(workloads=["breast_cancer"], rounds=1, write=True))
    ways = kept["measurements"][0]["ways"]
    assert list(ways) == list(linear.makers(1)) and "LogisticRegression" in capsys.readouterr().out
    ours, theirs = (ways[name]["objective"] for name in ("fastnn, L-BFGS", "LogisticRegression"))
    assert abs(ours - theirs) < 0.02 * theirs
    assert "breast_cancer" in report.linear_section(kept)


def test_imports_are_timed_in_processes_and_reported(monkeypatch, tmp_path, capsys):
    kept = {}
    monkeypatch.setattr(machine, "peak", lambda isa="": 1.0)
    monkeypatch.setattr(imports, "MODULES", ("numpy", "no_such_module"))
    monkeypatch.setattr(results, "write", lambda result: kept.update(result) or tmp_path)
    imports.main(Namespace(rounds=1, write=True))
    ways = kept["measurements"][0]["ways"]
    assert list(ways) == [imports.ALONE, "numpy"] and ways["numpy"]["ratio"] == 1
    assert "`import numpy`" in report.imports_section(kept) and capsys.readouterr().out
