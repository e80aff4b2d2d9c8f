"""Losses as users meet them: settings, targets, outputs, predictions, scores, errors."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 3))


def test_a_name_means_the_defaults():
    for name, loss in [
        ("cross_entropy", fastnn.CrossEntropy()),
        ("binary_cross_entropy", fastnn.BinaryCrossEntropy()),
        ("huber", fastnn.Huber()),
        ("quantile", fastnn.Quantile()),
        ("focal", fastnn.Focal()),
    ]:
        output = {"c": "softmax", "b": "sigmoid", "f": "softmax"}.get(name[0], "identity")
        y = rng.integers(0, 2, 20) if output == "softmax" else rng.uniform(size=(20, 2))
        results = []
        for one in (name, loss):
            model = fastnn.Model([3, 4, 2], output=output, loss=one, seed=1)
            model.fit(X[:20], y, epochs=2)
            results.append(model.theta.tobytes())
        assert results[0] == results[1]
        assert model.loss is loss and f"loss={loss!r}" in repr(model)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: fastnn.CrossEntropy(1),
            ValueError,
            "label_smoothing must be at least 0 and below",
        ),
        (lambda: fastnn.BinaryCrossEntropy(-0.1), ValueError, "label_smoothing must be at least 0"),
        (lambda: fastnn.CrossEntropy("much"), TypeError, "label_smoothing must be a number"),
        (lambda: fastnn.Focal(-1), ValueError, "gamma must be at least 0"),
        (lambda: fastnn.Huber(0), ValueError, "delta must be above 0, got 0.0"),
        (lambda: fastnn.Huber(np.inf), ValueError, "delta must be at least 0 and finite"),
        (lambda: fastnn.Quantile(1), ValueError, "q must be at least 0 and below 1"),
        (lambda: fastnn.Quantile([0.5, 0]), ValueError, "each q must be above 0 and below 1"),
        (lambda: fastnn.Quantile([]), ValueError, "q must hold at least one number"),
        (lambda: fastnn.Quantile("half"), TypeError, "q must be a number, got 'half'"),
    ],
)
def test_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("sizes", "output", "loss", "error", "message"),
    [
        ([3, 2], "identity", "poisson", ValueError, "loss of identity outputs must be hinge or "),
        ([3, 2], "softmax", "huber", ValueError, "loss of softmax outputs must be cross_entropy"),
        ([3, 2], "sigmoid", "quantile", ValueError, "loss of sigmoid outputs must be"),
        ([3, 2], "exp", fastnn.Focal(), ValueError, r"loss of exp outputs must be .* got Focal"),
        ([3, 1], "identity", "hinge", ValueError, "hinge must have an output for each class"),
        ([3, 4], "identity", fastnn.Quantile([0.1, 0.5, 0.9]), ValueError, "3 quantiles must have"),
        ([3, 1], "identity", 3, TypeError, "loss must be a name .* or fastnn.CrossEntropy"),
        ([3, 1], "identity", {"name": "huber"}, TypeError, "loss must be a name"),
        ([3, 1], "identity", "hubert", ValueError, "loss must be one of .*huber.*, got 'hubert'"),
    ],
)
def test_losses_that_do_not_fit(sizes, output, loss, error, message):
    with pytest.raises(error, match=message):
        fastnn.Model(sizes, output=output, loss=loss)


@pytest.mark.parametrize(
    ("output", "loss", "y", "message"),
    [
        (
            "exp",
            "poisson",
            [[1, -1]],
            "y must not be below 0 for poisson, got -1.0 in row 0, column 1",
        ),
        ("sigmoid", "focal", [[0, 2]], r"y must lie in \[0, 1\] for focal, got 2.0"),
        ("softmax", "focal", [[0.5, 0.7]], "rows of y must sum to 1"),
        ("identity", "hinge", [[0, 1]], r"y must have shape \(n,\), labels 0 to 1, got \(1, 2\)"),
        ("identity", "hinge", [2], "y must hold labels 0 to 1, got 2 in row 0"),
        (
            "identity",
            fastnn.Quantile([0.2, 0.8]),
            [[1, 2]],
            r"y must have shape \(n,\) or \(n, 1\)",
        ),
    ],
)
def test_targets_that_do_not_fit(output, loss, y, message):
    model = fastnn.Model([3, 2], output=output, loss=loss, seed=0)
    before = model.theta.copy()
    with pytest.raises(ValueError, match=message):
        model.fit(X[:1], y)
    assert np.array_equal(model.theta, before)


def test_several_quantiles_of_several_targets():
    """Targets with constant quantiles: the biases alone must find them."""
    z = rng.uniform(size=(4000, 2)) * [1, 10]
    q = [0.1, 0.5, 0.9]
    model = fastnn.Model([1, 6], output="identity", loss=fastnn.Quantile(q), seed=0)
    model.fit(
        np.zeros((4000, 1)), z, epochs=60, batch_size=100, optimizer="adam", learning_rate=0.05
    )
    f = model.predict(np.zeros((1, 1)))[0]
    np.testing.assert_allclose(f[:3], np.quantile(z[:, 0], q), atol=0.05)
    np.testing.assert_allclose(f[3:], np.quantile(z[:, 1], q), atol=0.5)
    score = model.evaluate(np.zeros((4000, 1)), z)
    assert set(score) == {"loss", "d2"} and abs(score["d2"]) < 0.02
    each = [
        np.maximum((1 - p) * (f[3 * t + i] - z[:, t]), -p * (f[3 * t + i] - z[:, t])).mean()
        for t in range(2)
        for i, p in enumerate(q)
    ]
    assert score["loss"] == pytest.approx(sum(each), rel=1e-5)


def test_quantiles_take_a_vector_and_trace_gives_targets_back():
    model = fastnn.Model([3, 2], output="identity", loss=fastnn.Quantile([0.2, 0.8]), seed=0)
    trace = model.trace(X[:4], np.arange(4.0)[:, None], learning_rate=0.1)
    assert trace.y.shape == (4, 1) and trace.h[0].shape == (4, 2)
    model.fit(X, X[:, 0], epochs=1)
    assert model.predict(X).shape == (400, 2)


def test_poisson_predicts_rates():
    rates = np.exp(0.5 + X @ [0.3, -0.2, 0.5])
    y = np.random.default_rng(1).poisson(rates)
    model = fastnn.Model([3, 1], output="exp", seed=0)
    assert model.loss == "poisson"
    model.fit(X, y, epochs=200, batch_size=50, learning_rate=0.02)
    np.testing.assert_allclose(model.predict(X), rates, rtol=0.35)
    assert set(model.evaluate(X, y)) == {"loss", "r2"}
    np.testing.assert_allclose(model.predictor()(X.astype("f4"))[:, 0], model.predict(X), rtol=1e-6)
    np.testing.assert_allclose(model.predict(X[:1]), model.predict(X)[:1], rtol=0)


def test_huber_and_absolute_error_bear_outliers():
    y = X @ [1, -2, 0.5]
    y_bad = y.copy()
    y_bad[::20] += 100
    errors = {}
    for loss in ("squared_error", "absolute_error", fastnn.Huber(0.5)):
        model = fastnn.Model([3, 1], output="identity", loss=loss, seed=0)
        model.fit(X, y_bad, epochs=100, batch_size=40, learning_rate=0.02)
        errors[str(loss)] = abs(model.predict(X) - y).mean()
        assert "r2" in model.evaluate(X, y)
    assert errors["absolute_error"] < 0.1 and errors["Huber(delta=0.5)"] < 0.1
    assert errors["squared_error"] > 1


def test_hinge_decides_for_classes():
    y = (X @ rng.normal(size=(3, 4))).argmax(1)
    model = fastnn.Model([3, 4], output="identity", loss="hinge", seed=0)
    model.fit(X, y, epochs=60, batch_size=20)
    score = model.evaluate(X, y)
    assert score["accuracy"] > 0.9 and score["accuracy"] == (model.predict(X) == y).mean()
    assert model.predict(X).shape == (400,) and model.predict(X).dtype.kind == "i"
    a = model.forward(X).astype(float)
    own = a[np.arange(400), y]
    a[np.arange(400), y] = -np.inf
    assert score["loss"] == pytest.approx(np.maximum(0, 1 + a.max(1) - own).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="predict_proba needs softmax or sigmoid outputs"):
        model.predict_proba(X)


def test_multi_label():
    y = X @ rng.normal(size=(3, 5)) > 0
    model = fastnn.Model([3, 5], output="sigmoid", seed=0)
    assert model.loss == "binary_cross_entropy"
    model.fit(X, y, epochs=60, batch_size=20, learning_rate=0.5)
    score = model.evaluate(X, y)
    assert score["accuracy"] > 0.97
    assert score["accuracy"] == pytest.approx((model.predict(X) == y).mean())
    assert model.predict(X).shape == model.predict_proba(X).shape == (400, 5)


def test_smoothing_pulls_probabilities_from_0_and_1():
    y = np.zeros(50, int)
    model = fastnn.Model([3, 4], loss=fastnn.CrossEntropy(0.2), seed=0)
    model.fit(np.zeros((50, 3)), y, epochs=2000, learning_rate=0.5)
    np.testing.assert_allclose(
        model.predict_proba(np.zeros((1, 3)))[0], [0.85, *[0.05] * 3], rtol=1e-3
    )
    model = fastnn.Model([3, 2], output="sigmoid", loss=fastnn.BinaryCrossEntropy(0.2), seed=0)
    model.fit(np.zeros((50, 3)), np.tile([0, 1], (50, 1)), epochs=1000, learning_rate=0.5)
    np.testing.assert_allclose(model.predict_proba(np.zeros((1, 3)))[0], [0.1, 0.9], rtol=1e-3)


def test_labels_and_one_hot_rows_are_the_same_with_smoothing_and_focal():
    y = rng.integers(0, 4, 60)
    for loss in (fastnn.CrossEntropy(0.1), fastnn.Focal(2)):
        model = fastnn.Model([3, 5, 4], "tanh", loss=loss, seed=0, dtype="float64")
        one = model.loss_and_gradient(X[:60], y)
        two = model.loss_and_gradient(X[:60], np.eye(4)[y])
        assert one[0] == two[0] and np.array_equal(one[1], two[1])


def test_focal_of_gamma_0_is_the_cross_entropy():
    for output, y in [("softmax", rng.integers(0, 4, 60)), ("sigmoid", rng.uniform(size=(60, 4)))]:
        model = fastnn.Model([3, 4], output=output, dtype="float64", seed=0)
        focal = fastnn.Model([3, 4], output=output, loss=fastnn.Focal(0), dtype="float64", seed=0)
        (a, g), (b, k) = (m.loss_and_gradient(X[:60], y) for m in (model, focal))
        assert a == pytest.approx(b, rel=1e-13)
        np.testing.assert_allclose(g, k, rtol=0, atol=1e-13)


def test_a_damaged_loss_in_a_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    fastnn.Model([3, 1], output="identity", loss=fastnn.Huber(2), seed=0).save(path)
    raw = path.read_bytes()
    text = rb"\"loss\":{\"name\":\"huber\",\"delta\":2.0}"
    assert raw.count(text) == 1
    for bad in (rb"-2.0", rb"\"a\"", rb"[1]", rb"2.0,\"d\":1"):
        new = text.replace(b"2.0", bad)
        n = int.from_bytes(raw[:8], "little") + len(new) - len(text)
        path.write_bytes(n.to_bytes(8, "little") + raw[8:].replace(text, new))
        with pytest.raises(fastnn.ModelFileError, match="architecture"):
            fastnn.load(path)
