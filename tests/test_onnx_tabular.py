"""Tabular estimators as ONNX graphs, against what they predict: each kind of column, missing and
unseen cells, every part of a network that a recipe may ask for."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.network.activations import Parametric
from fastnn.tabular import Pack, Recipe

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

FAST = {"optimizer": fastnn.Adam(fastnn.OneCycle(0.03)), "epochs": 8, "batch_size": 32}
PACK = Pack(
    (
        Recipe((16,), label_smoothing=0.1, feature_scale=True, weights="normal", **FAST),
        Recipe((8, 8), Parametric("mish"), frequencies=5, one_hot=3, weights="data", **FAST),
        Recipe((8,), "tanh", one_hot=2, category_width=3, **FAST),
    ),
    n_folds=2,
)
DAYS = np.arange("1899-01-01", "2101-03-02", dtype="M8[D]")  # 1900 and 2100 have no leap day


def runtime(path, inputs):
    """ONNX Runtime's outputs by name."""
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert {one.name for one in session.get_inputs()} == set(inputs)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def table(n=240, seed=0):
    """Columns of every kind, some cells missing, and three targets."""
    rng = np.random.default_rng(seed)
    size, far = rng.normal(size=n), 1e6 + rng.normal(size=n)
    colour = rng.choice(["red", "green", "blue", "black", "white"], n)
    day = rng.choice(DAYS, n).astype("M8[us]") + rng.integers(0, 86_400_000_000, n)
    grade = rng.choice(["low", "mid", "high"], n)
    flag = rng.random(n) < 0.5
    month = day.astype("M8[M]").astype(int) % 12
    amount = 50 + 8 * (size + (colour == "red") + (grade == "high") + np.sin(month) + flag)
    X = {
        "size": size.copy(), "far": far, "colour": colour.astype(object), "day": day,
        "grade": grade.astype(object), "flag": flag, "code": rng.integers(0, 7, n).astype(float),
        "answer": rng.choice(["yes", "no"], n).astype(object),
    }  # fmt: skip
    X["size"][::17], X["far"][5] = np.nan, -999
    X["colour"][::23], X["colour"][7], X["day"][::29], X["grade"][::31] = "", "?!", "NaT", ""
    X["answer"][::37] = ""
    return X, np.where(amount > 60, "high", np.where(amount > 50, "mid", "low")), amount


HOW = {
    "categorical": ["code"],
    "ordered": {"grade": ["low", "mid", "high"]},
    "missing_values": [-999, "?!", 6],
    "random_state": 0,
    "recipe": PACK,
}


def later():
    """New rows: cells that training had not, infinite ages, and what is missing."""
    X, _, _ = table(150, seed=1)
    X["size"][3], X["size"][4] = 1e9, -1e200
    X["colour"][9], X["code"][10], X["grade"][11], X["answer"][12] = "mauve", 77, "none", "maybe"
    X["colour"][15], X["colour"][16], X["grade"][17], X["answer"][18] = "?", "NaN", "NA", "None"
    X["day"][13], X["day"][14] = np.datetime64("1582-10-15"), np.datetime64("9999-12-31T23:59:59")
    return X


def fed(X):
    """Cells as a graph takes them."""
    inputs = {}
    for name, cells in X.items():
        if cells.dtype.kind == "M":
            cells = cells.astype("M8[us]").astype(np.int64)
        elif cells.dtype.kind == "b" or name == "code":
            cells = np.array([str(one).removesuffix(".0") for one in cells.tolist()], object)
        inputs[name] = cells[:, None]
    return inputs


def quietly(call, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories
        return call(X)


@pytest.fixture(scope="module")
def fitted():
    X, kind, amount = table()
    return TabularClassifier(**HOW).fit(X, kind), TabularRegressor(**HOW).fit(X, amount)


@pytest.mark.parametrize("rows", [table, later])
def test_a_classifier(tmp_path, fitted, rows):
    model, X = fitted[0], rows()
    X = X[0] if isinstance(X, tuple) else X
    assert model._ensemble.calibration.temperature != 1
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    got = runtime(tmp_path / "m.onnx", fed(X))
    p = quietly(model.predict_proba, X)
    assert list(got) == ["probabilities", "label"] and got["probabilities"].dtype == np.float64
    np.testing.assert_allclose(got["probabilities"], p, rtol=0, atol=1e-5)
    sure = np.sort(p, 1)[:, -1] - np.sort(p, 1)[:, -2] > 1e-4
    assert (got["label"] == quietly(model.predict, X))[sure].all() and sure.mean() > 0.9


@pytest.mark.parametrize("rows", [table, later])
def test_a_regressor(tmp_path, fitted, rows):
    model, X = fitted[1], rows()
    X = X[0] if isinstance(X, tuple) else X
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    got = runtime(tmp_path / "m.onnx", fed(X))["f"]
    assert got.shape == (len(X["size"]), 1) and got.dtype == np.float64
    np.testing.assert_allclose(got[:, 0], quietly(model.predict, X), rtol=0, atol=1e-3)


def test_what_smoothing_took_is_given_back(tmp_path, fitted):
    model = fitted[0]
    ensemble = model._ensemble
    whole = ensemble.calibration
    try:
        ensemble.calibration = whole._replace(smoothing=0.09, temperature=0.7)
        fastnn.onnx.export(model, tmp_path / "m.onnx")
        X = later()
        got = runtime(tmp_path / "m.onnx", fed(X))["probabilities"]
        p = quietly(model.predict_proba, X)
        assert p.min() < 1e-4
        np.testing.assert_allclose(got, p, rtol=0, atol=1e-5)
    finally:
        ensemble.calibration = whole


@pytest.mark.parametrize("y", [[0, 1], [True, False], ["a", "b"], [2.0, 7.0], [3, 1, 2]])
def test_arrays_and_labels_of_each_type(tmp_path, y):
    """One input X; one member, one label's type after another."""
    rng = np.random.default_rng(0)
    X = rng.normal(1e5, 1, size=(120, 3))
    classes = np.array(y)[(X[:, 0] > 1e5) + (len(y) > 2) * (X[:, 1] > 1e5).astype(int)]
    X[rng.random(X.shape) < 0.1] = np.nan
    one = Pack((Recipe((8,), frequencies=3, **FAST),), n_folds=1)
    model = TabularClassifier(recipe=one, random_state=0).fit(X, classes)
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    got = runtime(tmp_path / "m.onnx", {"X": X})
    np.testing.assert_allclose(got["probabilities"], model.predict_proba(X), rtol=0, atol=1e-5)
    assert (got["label"] == model.predict(X)).mean() > 0.99
    assert got["label"].dtype == (object if y[0] == "a" else model.classes_.dtype)


def test_numbers_alone_are_one_input(tmp_path):
    X, _, amount = table()
    X = {name: X[name] for name in ("size", "far")}
    model = TabularRegressor(recipe=PACK, missing_values=[-999], random_state=0).fit(X, amount)
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    got = runtime(tmp_path / "m.onnx", {"X": np.stack([*X.values()], 1)})["f"]
    np.testing.assert_allclose(got[:, 0], model.predict(X), rtol=0, atol=1e-3)


def test_the_parts_of_a_date_are_exact(tmp_path):
    """Every day of 202 years, each at some hour, also in one-hot columns' company."""
    moments = DAYS.astype("M8[us]") + np.arange(len(DAYS)) * 1_234_567 % 86_400_000_000
    moments[5] = np.datetime64("NaT", "us")
    X = {"t": moments, "word": np.where(np.arange(len(DAYS)) % 3, "a", "").astype(object)}
    columns = fastnn.tables.learn(X, np.arange(len(DAYS)) * 1.0, scaling="none", task="regression")
    width = columns.width
    assert columns.inputs.columns[0].indicator and width == 6 + 1 + 2
    columns.targets = [fastnn.tables.targets.Amount(f"y{i}") for i in range(width)]
    model = fastnn.Model([None, None], init=[np.eye(width)], columns=columns, dtype="float64")
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    t = moments.astype(np.int64)[:, None]
    got = runtime(tmp_path / "m.onnx", {"t": t, "word": X["word"][:, None]})["f"]
    want = columns.encode(X, "float64")
    assert np.ptp(want[:, :7], axis=0).all() and (got == want).all()


def test_saved_and_loaded_gives_the_same_graph(tmp_path, fitted):
    for model in fitted:
        model.save(tmp_path / "m.safetensors")
        fastnn.onnx.export(model, tmp_path / "a.onnx")
        fastnn.onnx.export(fastnn.load(tmp_path / "m.safetensors"), tmp_path / "b.onnx")
        assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_file(tmp_path, fitted, run):
    fitted[0].save(tmp_path / "m.safetensors")
    path = tmp_path / "m.onnx"
    status, out, err = run("export", tmp_path / "m.safetensors", path)
    assert (status, err) == (0, "")
    assert "input       size (n, 1) float64" in out and "input       day (n, 1) int64" in out
    assert "input       flag (n, 1) string" in out and "output      label (n) string" in out
    proto = onnx.load(path)
    assert proto.ir_version == 8 and {(o.domain, o.version) for o in proto.opset_import} == {
        ("", 17),
        ("ai.onnx.ml", 3),
    }
    with pytest.raises(fastnn.ModelFileError, match="one network, this is a TabularClassifier"):
        fastnn.onnx.load(path)


@pytest.mark.parametrize("classes", [[dt.date(2020, 1, 1), dt.date(2021, 1, 1)], [2, 2**70]])
def test_classes_that_no_graph_has_are_refused(tmp_path, classes):
    X = np.random.default_rng(0).normal(size=(60, 2))
    one = Pack((Recipe((8,), **FAST),), n_folds=1)
    y = np.array(classes, object)[(X[:, 0] > 0).astype(int)]
    model = TabularClassifier(recipe=one, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="classes of an ONNX graph must be text, whole numbers, "):
        fastnn.onnx.export(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("arrays", [False, True])
def test_no_column_has_missing_cells(tmp_path, arrays):
    """Numbers have nothing to be filled with, and a date has no indicator."""
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(60, 2))
    given = X if arrays else {"a": X[:, 0], "b": X[:, 1], "t": rng.choice(DAYS, 60)}
    columns = fastnn.tables.learn(given, X[:, 0], missing="refuse", task="regression")
    model = fastnn.Model([None, None], columns=columns, dtype="float64", seed=0)
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    nodes = onnx.load(tmp_path / "m.onnx").graph.node
    fed = {"X": X}
    if not arrays:
        assert not columns.inputs.columns[2].indicator
        t = given["t"].astype("M8[us]").astype(np.int64)
        fed = {"a": X[:, :1], "b": X[:, 1:], "t": t[:, None]}
    filled = [node.input[0] for node in nodes if node.op_type == "IsNaN"]
    assert not {*fed}.intersection(filled)
    got = runtime(tmp_path / "m.onnx", fed)
    np.testing.assert_allclose(got["f"][:, 0], model.predict(given), rtol=1e-12)


def test_what_is_not_fitted_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not fitted yet"):
        fastnn.onnx.export(TabularClassifier(), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("arrays", [False, True])
def test_logarithms(tmp_path, arrays):
    rng = np.random.default_rng(0)
    a, b = np.exp(rng.normal(0, 1.5, 800)), rng.normal(size=800)
    y = np.exp(1 + 0.6 * np.log(a) + 0.3 * b)
    a[::40], a[::37] = np.nan, 0
    X = np.stack([a, b], 1)
    recipe = Pack((Recipe((16,), feature_scale=True, weights="normal", **FAST),), n_folds=2)
    given = X if arrays else {"a": a, "b": b}
    model = TabularRegressor(recipe=recipe, random_state=0).fit(given, y)
    inputs = model.columns_.inputs
    assert model.columns_.targets[0].log
    assert inputs.logged == [0] if arrays else inputs.columns[0].floor > 0
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    got = runtime(tmp_path / "m.onnx", {"X": X})["f"][:, 0]
    np.testing.assert_allclose(got, model.predict(given), rtol=1e-4)
