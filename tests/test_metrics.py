"""Metrics against scikit-learn's values, by name and by function, in evaluate and in fit."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn.network.spec import as_network
from fastnn.training import metrics as measures

CLASSES = (
    *("accuracy", "precision", "recall", "f1", "auc", "log_loss"),
    *("balanced_accuracy", "brier", "ece"),
)


def of(name, y, f, output):
    network = as_network([1, f.shape[1]], "relu", output, None, True, "float64")
    return measures.measure(measures.as_metrics([name], network), y, f)[name]


def calibration_error(right, top, weights=None):
    """Guo et al. (2017), equation 3, bin by bin."""
    weights = np.ones(len(top)) if weights is None else weights
    total = 0.0
    for m in range(15):
        inside = (top > m / 15) & (top <= (m + 1) / 15)
        if weights[inside].sum() > 0:
            accuracy = np.average(right[inside], weights=weights[inside])
            confidence = np.average(top[inside], weights=weights[inside])
            total += weights[inside].sum() * abs(accuracy - confidence)
    return total / weights.sum()


def softmax_case(n_classes, n=200, seed=0):
    """Labels and probabilities, some of them tied."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, n_classes, n)
    P = rng.integers(1, 9, (n, n_classes)) + 4.0 * (np.arange(n_classes) == y[:, None])
    return y.astype(np.int32), P / P.sum(1, keepdims=True)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_softmax(n_classes):
    sk = pytest.importorskip("sklearn.metrics")
    y, P = softmax_case(n_classes)
    decided = P.argmax(1)
    average = {"average": "binary" if n_classes == 2 else "macro", "zero_division": 0}
    score = P[:, 1] if n_classes == 2 else P
    want = {
        "accuracy": sk.accuracy_score(y, decided),
        "precision": sk.precision_score(y, decided, **average),
        "recall": sk.recall_score(y, decided, **average),
        "f1": sk.f1_score(y, decided, **average),
        "auc": sk.roc_auc_score(y, score, multi_class="ovr"),
        "log_loss": sk.log_loss(y, P),
        "balanced_accuracy": sk.balanced_accuracy_score(y, decided),
        "brier": ((P - np.eye(n_classes)[y]) ** 2).sum(1).mean() / (1 + (n_classes == 2)),
        "ece": calibration_error(y == decided, P.max(1)),
    }
    if n_classes == 2:
        assert want["brier"] == pytest.approx(sk.brier_score_loss(y, P[:, 1]))
    for name in CLASSES:
        assert of(name, y, P, "softmax") == pytest.approx(want[name], rel=1e-13), name
        onehot = np.eye(n_classes)[y]
        assert of(name, onehot, P, "softmax") == pytest.approx(want[name], rel=1e-13), name


def test_classes_that_do_not_occur():
    """Neither true nor decided: left out. Decided alone: counts, with 0."""
    sk = pytest.importorskip("sklearn.metrics")
    y, P = softmax_case(5)
    few = y < 2
    y, P = y[few], P[few] * [1, 1, 1, 1, 0]
    decided = P.argmax(1)
    assert set(decided) - set(y) and 4 not in decided
    for name in ("precision", "recall", "f1"):
        score = getattr(sk, f"{name}_score")(y, decided, average="macro", zero_division=0)
        assert of(name, y, P, "softmax") == pytest.approx(score, rel=1e-13)
    areas = [sk.roc_auc_score(y == c, P[:, c]) for c in (0, 1)]
    assert of("auc", y, P, "softmax") == pytest.approx(np.mean(areas), rel=1e-13)
    assert np.isnan(of("auc", y[y == 0], P[y == 0], "softmax"))
    recalls = sk.recall_score(y, decided, labels=[0, 1], average=None)
    got = of("balanced_accuracy", y, P, "softmax")
    assert got == pytest.approx(recalls.mean(), rel=1e-13)


def test_calibration():
    """Sure and right: 0. Sure and wrong: 1. Right as often as said: 0."""
    sure = np.eye(3)[[0, 1, 2]]
    assert of("ece", np.array([0, 1, 2]), sure, "softmax") == 0
    assert of("ece", np.array([1, 2, 0]), sure, "softmax") == 1
    assert of("brier", np.array([1, 2, 0]), sure, "softmax") == 2
    said = np.tile([0.75, 0.25], (8, 1))
    assert of("ece", np.repeat([0, 1], [6, 2]), said, "softmax") == 0
    assert of("ece", np.repeat([0, 1], [2, 6]), said, "softmax") == 0.5
    one = said[:, 1:]
    assert of("ece", np.repeat([[0.0], [1.0]], [2, 6], 0), one, "sigmoid") == 0.5


def test_a_probability_rounded_above_1_is_in_the_last_bin():
    """Two rows there: one is right and says 0.97, one is not. One in the bin before says 0.9."""
    above = np.nextafter(np.float32(1), np.float32(2))
    P = np.array([[0.97, 0.03], [above, 0], [0.9, 0.1]], np.float32)
    assert of("ece", np.array([0, 1, 0]), P, "softmax") == pytest.approx((0.97 + 0.1) / 3)


def test_bins_of_many_classes_begin_at_0():
    """Right, and said 0.05, of which the first bin is; wrong, and said 0.1, of the second."""
    P = np.full((2, 20), 0.05)
    P[1, :2] = 0.1, 0
    assert of("ece", np.array([0, 9]), P, "softmax") == pytest.approx((0.95 + 0.1) / 2)


def test_confusion_matrix():
    got = measures.confusion_matrix(np.array([0, 2, 2, 1]), np.array([0, 1, 1, 1]), 3)
    assert got.tolist() == [[1, 0, 0], [0, 1, 0], [0, 2, 0]]


@pytest.mark.parametrize("n_out", [1, 4])
def test_sigmoid(n_out):
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, (150, n_out))
    f = (rng.integers(1, 20, (150, n_out)) + 8 * y) / 31  # on no edge of a bin of ece
    decided = f > 0.5
    flat = (y[:, 0], decided[:, 0]) if n_out == 1 else (y, decided)
    average = {"average": "binary" if n_out == 1 else "macro"}
    want = {
        "accuracy": (y == decided).mean(),
        "precision": sk.precision_score(*flat, **average),
        "recall": sk.recall_score(*flat, **average),
        "f1": sk.f1_score(*flat, **average),
        "auc": sk.roc_auc_score(y, f),
        "log_loss": sum(sk.log_loss(y[:, j], f[:, j]) for j in range(n_out)),
        "balanced_accuracy": np.mean(
            [sk.balanced_accuracy_score(*pair) for pair in zip(y.T, decided.T, strict=True)]
        ),
        "brier": np.mean([sk.brier_score_loss(*pair) for pair in zip(y.T, f.T, strict=True)]),
        "ece": np.mean(
            [
                calibration_error(right, top)
                for right, top in zip((y == decided).T, np.maximum(f, 1 - f).T, strict=True)
            ]
        ),
    }
    for name in CLASSES:
        got = of(name, y.astype(np.float32), f, "sigmoid")
        assert got == pytest.approx(want[name], rel=1e-13), name


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_top_k(k):
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    y, f = rng.integers(0, 8, 300), rng.random((300, 8))
    got = fastnn.TopK(k)(y, f)
    if k < 8:
        assert got == pytest.approx(sk.top_k_accuracy_score(y, f, k=k, labels=range(8)))
    else:
        assert got == 1
    assert fastnn.TopK(k)(np.eye(8)[y], f) == got
    tied = np.ones((8, 8))  # the first k of equals
    assert fastnn.TopK(k)(np.arange(8), tied) == min(k, 8) / 8


def test_values():
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    y, f = rng.normal(size=(2, 100, 3)) * [1, 5, 100]
    want = {
        "rmse": np.sqrt(sk.mean_squared_error(y, f, multioutput="raw_values")).mean(),
        "mae": sk.mean_absolute_error(y, f),
        "r2": sk.r2_score(y, f),
    }
    for name, value in want.items():
        assert of(name, y, f, "identity") == pytest.approx(value, rel=1e-13)
    constant = np.ones((5, 1))
    assert of("r2", constant, constant, "identity") == 1
    assert of("r2", constant, constant + 1, "identity") == 0


def test_quantiles_against_the_best_constants():
    """Of 0, 1, 2, 3 the quantiles 1/4 and 3/4 are 0 and 2, whose losses are 3/2 each."""
    y, q = np.arange(4.0)[:, None], np.array([0.25, 0.75])
    assert measures.d2(y, np.array([[0.0, 2.0]] * 4), q) == 0
    assert measures.d2(y, y + np.array([0, 1]), q) == pytest.approx(1 - (0 + 1 / 1.5) / 2)
    assert measures.d2(y, y - np.array([0, 1]), q) == pytest.approx(1 - (0 + 3 / 1.5) / 2)
    assert measures.d2(y[:3], np.full((3, 1), 2.0), q[1:]) == 0  # of 0, 1, 2 it is 2


def test_log_loss_of_an_underflow_is_finite():
    assert of("log_loss", np.array([0]), np.array([[0.0, 1.0]]), "softmax") > 700
    assert of("log_loss", np.array([[1.0]]), np.array([[0.0]]), "sigmoid") > 700
    assert of("log_loss", np.array([[1.0]]), np.array([[1.0]]), "sigmoid") == 0


def mean_size(y_true, y_pred):
    return np.abs(y_pred).mean() + 0 * y_true.mean()


def test_evaluate_and_fit_measure_the_same():
    y, X = softmax_case(3)
    model = fastnn.Model([3, 8, 3], seed=0)
    metrics = ["f1", fastnn.TopK(2), mean_size]
    history = model.fit(X, y, epochs=2, validation_data=(X[:50], y[:50]), metrics=metrics)
    result = model.evaluate(X[:50], y[:50], metrics=metrics)
    assert list(result) == ["loss", "f1", "top_2", "mean_size"]
    assert result == {
        name.removeprefix("val_"): values[-1]
        for name, values in history.columns().items()
        if name.startswith("val_")
    }
    f = model.forward(X[:50])
    assert result["mean_size"] == mean_size(y[:50], f)
    assert list(model.evaluate(X, y)) == ["loss", "accuracy"]
    assert list(model.evaluate(X, y, metrics=[])) == ["loss"]


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ("accuracy", TypeError, "metrics must be a list of names or functions, got 'accuracy'"),
        (["accurcy"], ValueError, "metrics of softmax outputs must be among accuracy, .*'accurcy'"),
        (["r2"], ValueError, "metrics of softmax outputs must be among accuracy"),
        ([1], TypeError, "each of metrics must be a name or a function"),
        (["f1", "f1"], ValueError, "metrics must have different names"),
        ([lambda y, f: 0], ValueError, "must have a name"),
    ],
)
def test_wrong_metrics(metrics, error, message):
    y, X = softmax_case(3)
    model = fastnn.Model([3, 3], seed=0)
    theta = model.theta.copy()
    with pytest.raises(error, match=message):
        model.evaluate(X, y, metrics=metrics)
    with pytest.raises(error, match=message):
        model.fit(X, y, validation_data=(X, y), metrics=metrics)
    assert (model.theta == theta).all()


def test_more_wrong_metrics():
    with pytest.raises(ValueError, match="TopK needs outputs of classes that exclude"):
        fastnn.Model([2, 3], output="sigmoid").evaluate(
            [[0, 1]], [[0, 1, 1]], metrics=[fastnn.TopK()]
        )
    with pytest.raises(ValueError, match="k must be at least 1"):
        fastnn.TopK(0)
    with pytest.raises(TypeError, match=r"'text' must return a number, got 'a'"):
        measures.measure({"text": lambda y, f: "a"}, np.ones(1), np.ones((1, 1)))


def test_weighted_means():
    rng = np.random.default_rng(3)
    X, w = rng.normal(size=(40, 3)), rng.integers(0, 4, 40)
    rows = np.repeat(np.arange(40), w)
    labels, values = rng.integers(0, 3, 40), rng.normal(size=(40, 2))
    of_classes = ["accuracy", "log_loss", "balanced_accuracy", "brier", "ece"]
    quantiles = fastnn.Model([3, 2], output="identity", loss=fastnn.Quantile(0.3), seed=0)
    for model, y, names in [
        (fastnn.Model([3, 3], dtype="float64", seed=0), labels, of_classes),
        (fastnn.Model([3, 2], output="sigmoid", seed=0), values > 0, of_classes),
        (fastnn.Model([3, 2], output="identity", seed=0), values, ["rmse", "mae", "r2"]),
        (quantiles, values, ["mae", "d2"]),
    ]:
        weighted = model.evaluate(X, y, metrics=names, sample_weight=w)
        repeated = model.evaluate(X[rows], y[rows], metrics=names)
        assert list(weighted) == ["loss", *names]
        assert weighted == pytest.approx(repeated, rel=1e-6)
    with pytest.raises(ValueError, match="sample_weight must be among accuracy"):
        fastnn.Model([3, 3]).evaluate(X, labels, metrics=["f1"], sample_weight=w)


def test_metrics_of_hinge():
    model = fastnn.Model([3, 3], output="identity", loss="hinge", seed=0)
    X, y = np.eye(3), [0, 1, 2]
    assert set(model.evaluate(X, y, metrics=["accuracy", "f1", fastnn.TopK(2)])) == {
        "loss",
        "accuracy",
        "f1",
        "top_2",
    }
    with pytest.raises(ValueError, match="recall, f1, balanced_accuracy or"):
        model.evaluate(X, y, metrics=["ece"])


def test_balanced_counts_the_rows_trained_on():
    X, y = np.zeros((40, 1)), np.repeat([0, 1], [30, 10])
    model = fastnn.Model([1, 2], seed=0)
    model.W[0][:] = 0
    history = model.fit(
        *(X, y), epochs=1, batch_size=40, class_weight="balanced", validation_split=0.5
    )
    assert history.loss[0] == pytest.approx(np.log(2))
    assert model.b[0] == pytest.approx([0, 0], abs=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", [None, "squared_error", "focal", "smoothed"])
def test_log_loss_is_of_the_logits(dtype, loss):
    """f rounds to 0 and 1 long before its logarithm is large."""
    for output, n_out, y in (("sigmoid", 1, [0, 1, 0]), ("softmax", 2, [0, 1, 1])):
        smoothed = fastnn.BinaryCrossEntropy(0.1) if n_out == 1 else fastnn.CrossEntropy(0.1)
        of = smoothed if loss == "smoothed" else loss
        model = fastnn.Model([1, n_out], output=output, loss=of, dtype=dtype, seed=0)
        model.theta = [1.0, 0.0] if n_out == 1 else [0.0, 1.0, 0.0, 0.0]
        X = np.array([[18.0], [-90.0], [2.0]])
        a = X[:, 0] * np.where(y, -1, 1)
        want = np.log1p(np.exp(a))
        for weights in (None, [1.0, 0.0, 3.0]):
            got = model.evaluate(X, y, metrics=["log_loss"], sample_weight=weights)["log_loss"]
            assert got == pytest.approx(np.average(want, weights=weights), rel=1e-6)
    history = model.fit(X, y, epochs=1, validation_data=(X, y), metrics=["log_loss"])
    assert history.val_log_loss == [model.evaluate(X, y, metrics=["log_loss"])["log_loss"]]


def test_log_loss_of_probabilities_alone():
    one = np.array([[1.0]])
    for dtype, digits in ((np.float32, 25), (np.float64, 54)):
        got = of("log_loss", np.zeros((1, 1)), one.astype(dtype), "sigmoid")
        assert got == pytest.approx(digits * np.log(2))


def test_a_function_of_that_name_is_the_users():
    def log_loss(y_true, y_pred):
        return 7.0

    model = fastnn.Model([1, 2], seed=0)
    assert model.evaluate([[1.0]], [0], metrics=[log_loss])["log_loss"] == 7


def test_scores_are_floats_of_python():
    model = fastnn.Model([2, 3], seed=0)
    X, y = np.eye(2), np.array([0, 1])
    names = ["accuracy", "balanced_accuracy", "brier", "ece", "log_loss"]
    for weights in (None, [1, 2]):
        scores = model.evaluate(X, y, metrics=names, sample_weight=weights)
        assert {type(value) for value in scores.values()} == {float}
