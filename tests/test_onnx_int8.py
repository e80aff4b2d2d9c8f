"""Predictors in 8 bits as ONNX files: what stands in them, and ONNX Runtime's numbers from them."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import numpy_helper  # noqa: E402

X = np.random.default_rng(0).normal(size=(500, 20)).astype(np.float32)
NEAR = 0.01  # of f's range: a code may be off by one where h / s and h (1 / s) round apart


def small(activation="relu", output="softmax", **options):
    model = fastnn.Model([20, 33, 17, 4], activation, output, seed=1, **options)
    for b in model.b:
        if b is not None:
            b[:] = np.random.default_rng(len(b)).normal(size=len(b))
    return model


def runtime(path, X):
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["f"], {"X": X})[0]


@pytest.mark.parametrize(
    ("activation", "options"),
    [
        ("relu", {}),
        ("relu", {"bias": False}),
        ("gelu", {"norm": "batch"}),
        ("tanh", {"norm": "layer"}),
        ("mish", {"output": "sigmoid", "loss": "binary_cross_entropy"}),
        (fastnn.Parametric("relu"), {}),
        (fastnn.LeakyReLU(0.1), {"output": "identity", "loss": "squared_error"}),
    ],
    ids=str,
)
def test_onnx_runtime_computes_what_we_do(tmp_path, activation, options):
    predict, _ = small(activation, **options).quantize(X)
    path = tmp_path / "small.onnx"
    fastnn.onnx.export(predict, path)
    want = predict(X)
    for rows in (1, 500):
        got = runtime(path, X[:rows])
        assert got.dtype == np.float32
        assert np.abs(got - want[:rows]).max() < NEAR * max(1, np.abs(want).max())
    assert (got.argmax(1) == want.argmax(1)).mean() > 0.99


def test_the_file_holds_our_integers(tmp_path):
    predict, _ = small().quantize(X)
    path = tmp_path / "small.onnx"
    fastnn.onnx.export(predict, path)
    graph = onnx.load(path).graph
    there = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for k, own in enumerate(predict._layers, 1):
        assert there[f"w{k}"].dtype == np.int8
        np.testing.assert_array_equal(there[f"w{k}"], own.w)
        np.testing.assert_array_equal(there[f"s{k}_w"], own.scale)
        assert there[f"s{k}"] == np.float32(own.codes.scale)
        assert there[f"z{k}"].dtype == np.uint8 and there[f"z{k}"] == own.codes.zero
        unit = there[f"s{k}"] * own.scale
        assert (np.abs(there[f"b{k}"] * unit.astype(float) - own.b) <= unit).all()


def test_what_was_saved_and_loaded_is_exported(tmp_path):
    predict, _ = small().quantize(X)
    predict.save(tmp_path / "small.safetensors")
    paths = tmp_path / "one.onnx", tmp_path / "other.onnx"
    fastnn.onnx.export(predict, paths[0])
    fastnn.onnx.export(fastnn.load(tmp_path / "small.safetensors"), paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_b_beyond_the_integers_is_added_as_it_is(tmp_path):
    model = small()
    model.W[1][3] *= 1e-30
    model.W[1][4] = 0
    model.b[1][3] = 5
    predict, _ = model.quantize(X)
    fastnn.onnx.export(predict, tmp_path / "small.onnx")
    assert np.abs(runtime(tmp_path / "small.onnx", X) - predict(X)).max() < NEAR


def test_ranges_of_each_row_are_refused(tmp_path):
    predict, _ = small().quantize(X, activations="dynamic")
    with pytest.raises(ValueError, match=r"must be calibrated, .*DynamicQuantizeLinear"):
        fastnn.onnx.export(predict, tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_does_not_come_back(tmp_path):
    fastnn.onnx.export(small().quantize(X)[0], tmp_path / "small.onnx")
    with pytest.raises(fastnn.ModelFileError, match="this is a Int8Predictor: load the file"):
        fastnn.onnx.load(tmp_path / "small.onnx")


def test_mnist(tmp_path, mnist):
    X, y, X_test, y_test = mnist
    model = fastnn.Model([784, 128, 10], seed=0)
    model.fit(X[:20000], y[:20000], epochs=2, optimizer="adam", batch_size=128)
    predict, _ = model.quantize(X[:2000])
    fastnn.onnx.export(predict, tmp_path / "small.onnx")
    got, want = runtime(tmp_path / "small.onnx", X_test), predict(X_test)
    assert (got.argmax(1) == want.argmax(1)).mean() >= 0.999
    assert np.abs(got - want).max() < NEAR
    scores = ((f.argmax(1) == y_test).mean() for f in (got, model.forward(X_test)))
    assert abs(np.subtract(*scores)) <= 0.002
