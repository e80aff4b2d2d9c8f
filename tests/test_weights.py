"""sample_weight and class_weight: sum w L / sum w, against repeating and leaving out rows."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn.training.split import split

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5))
CASES = [
    ("softmax", "cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
    ("identity", "squared_error"),
    ("identity", fastnn.Quantile([0.1, 0.9])),
    ("identity", "hinge"),
    ("exp", "poisson"),
]


def targets(output, loss, n=60):
    if output == "softmax" or loss == "hinge":
        return np.random.default_rng(1).integers(0, 4, n)
    columns = 2 if isinstance(loss, fastnn.Quantile) else 4
    return np.random.default_rng(1).uniform(size=(n, columns))


def model_of(output, loss, dtype="float64"):
    return fastnn.Model([5, 6, 4], "tanh", output, loss, dtype=dtype, seed=2)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_whole_weights_repeat_rows_and_zero_leaves_them_out(case, optimizer):
    y, weights = targets(*case), rng.integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    weighted, repeated = model_of(*case), model_of(*case)
    settings = {"epochs": 20, "optimizer": optimizer}
    a = weighted.fit(X, y, batch_size=60, sample_weight=weights, **settings)
    b = repeated.fit(X[rows], y[rows], batch_size=len(rows), **settings)
    np.testing.assert_allclose(weighted.theta, repeated.theta, rtol=0, atol=1e-11)
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-11)
    assert not np.allclose(weighted.theta, model_of(*case).theta)
    one = weighted.evaluate(X, y, sample_weight=weights)
    two = weighted.evaluate(X[rows], y[rows])
    assert one == pytest.approx(two, rel=1e-11)
    L, g = weighted.loss_and_gradient(X, y, sample_weight=weights)
    M, k = weighted.loss_and_gradient(X[rows], y[rows])
    assert L == pytest.approx(M, rel=1e-12)
    np.testing.assert_allclose(g, k, rtol=0, atol=1e-13)


def test_many_classes_weigh_rows_likewise():
    y, weights = rng.integers(0, 150, 60), rng.integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    model = fastnn.Model([5, 6, 150], "tanh", dtype="float64", seed=2)
    L, g = model.loss_and_gradient(X, y, sample_weight=weights)
    M, k = model.loss_and_gradient(X[rows], y[rows])
    assert L == pytest.approx(M, rel=1e-12)
    np.testing.assert_allclose(g, k, rtol=0, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_gradient_check(case):
    y, weights = targets(*case), rng.uniform(size=60)
    assert model_of(*case).gradient_check(X[:9], y[:9], sample_weight=weights[:9]) < 1e-6


def test_weights_of_one_change_no_bit_and_a_factor_nearly_none():
    y = targets("softmax", "")
    thetas = []
    for weights in (None, np.ones(60), np.full(60, 4.0)):
        model = model_of("softmax", None, "float32")
        model.fit(X, y, epochs=3, batch_size=8, sample_weight=weights)
        thetas.append(model.theta.tobytes())
    assert thetas[0] == thetas[1] == thetas[2]


def test_mini_batches_divide_by_their_own_weight():
    y, weights = targets("identity", ""), rng.uniform(size=60)
    model, by_hand = model_of("identity", None), model_of("identity", None)
    history = model.fit(
        X, y, epochs=1, batch_size=16, shuffle=False, learning_rate=0.1, sample_weight=weights
    )
    total = 0
    for i in range(0, 60, 16):
        rows = slice(i, i + 16)
        L, g = by_hand.loss_and_gradient(X[rows], y[rows], sample_weight=weights[rows])
        by_hand.theta -= 0.1 * g
        total += L * weights[rows].sum()
    np.testing.assert_allclose(model.theta, by_hand.theta, rtol=0, atol=1e-14)
    assert history.loss[0] == pytest.approx(total / weights.sum(), rel=1e-12)


def test_a_mini_batch_of_weights_0_has_the_gradient_0():
    y, weights = targets("softmax", ""), np.zeros(60)
    weights[:10] = 1
    settings = {"epochs": 1, "batch_size": 10, "shuffle": False}
    model, first = model_of("softmax", None), model_of("softmax", None)
    history = model.fit(X, y, sample_weight=weights, **settings)
    other = first.fit(X[:10], y[:10], **settings)
    assert np.array_equal(model.theta, first.theta) and history.loss == other.loss
    adam = model_of("softmax", None)
    adam.fit(X, y, sample_weight=weights, optimizer="adam", **settings)  # the averages coast
    assert np.isfinite(adam.theta).all()


def test_partial_fit_and_small_runs():
    y, weights = targets("softmax", ""), rng.integers(1, 4, 60)
    a, b = model_of("softmax", None), model_of("softmax", None)
    assert a.partial_fit(X, y, batch_size=60, sample_weight=weights) == pytest.approx(
        b.loss_and_gradient(X, y, sample_weight=weights)[0]
    )
    b.fit(X, y, epochs=1, batch_size=60, shuffle=False, sample_weight=weights)
    assert np.array_equal(a.theta, b.theta)
    for weight in (0.5, 3):  # a single row's own weight cancels
        c, d = model_of("softmax", None), model_of("softmax", None)
        c.partial_fit(X[:1], y[:1], batch_size=8, sample_weight=[weight])
        d.partial_fit(X[:1], y[:1], batch_size=8)
        np.testing.assert_allclose(c.theta, d.theta, rtol=0, atol=1e-15)
    mask = rng.integers(0, 2, 60)
    c, d = model_of("softmax", None), model_of("softmax", None)
    c.partial_fit(X, y, sample_weight=mask)
    d.partial_fit(X[mask == 1], y[mask == 1])
    np.testing.assert_allclose(c.theta, d.theta, rtol=0, atol=1e-13)


def test_class_weight():
    y = np.array([0] * 30 + [1] * 20 + [2] * 10)  # class 3 does not occur
    balanced = 60 / (3 * np.bincount(y))
    table = {0: 2, 2: 0.5}  # class 1: 1
    for given, each in [("balanced", balanced[y]), (table, np.array([2, 1, 0.5])[y])]:
        for more in (None, rng.uniform(size=60)):
            a, b = model_of("softmax", None), model_of("softmax", None)
            settings = {"epochs": 3, "batch_size": 7}
            a.fit(X, y, class_weight=given, sample_weight=more, **settings)
            b.fit(X, y, sample_weight=each if more is None else each * more, **settings)
            assert np.array_equal(a.theta, b.theta)
    a, b = (fastnn.Model([5, 1], output="sigmoid", seed=0) for _ in range(2))
    a.partial_fit(X, y > 0, batch_size=9, class_weight={True: 3})
    b.partial_fit(X, y > 0, batch_size=9, sample_weight=np.where(y > 0, 3, 1))
    assert np.array_equal(a.theta, b.theta)
    hinge = model_of("identity", "hinge")
    hinge.fit(X, y, class_weight="balanced", epochs=1)


def test_balanced_finds_a_rare_class():
    y = (X[:, 0] + 0.8 * rng.normal(size=60) > 1.4).astype(int)
    assert 2 < y.sum() < 15
    found = {}
    for weight in (None, "balanced"):
        model = fastnn.Model([5, 2], seed=0)
        model.fit(X, y, epochs=300, class_weight=weight)
        found[weight] = model.predict(X)[y == 1].mean()
    assert found["balanced"] > found[None]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"sample_weight": np.ones(59)},
            ValueError,
            r"sample_weight must have shape \(60,\) like y",
        ),
        ({"sample_weight": np.ones((60, 1))}, ValueError, "sample_weight must have shape"),
        (
            {"sample_weight": -np.ones(60)},
            ValueError,
            "sample_weight must not be below 0, got -1.0",
        ),
        (
            {"sample_weight": np.zeros(60)},
            ValueError,
            "sample_weight must have a finite sum above zero",
        ),
        ({"sample_weight": [np.nan] * 60}, ValueError, "sample_weight must be finite, got nan"),
        ({"sample_weight": ["a"] * 60}, TypeError, "sample_weight must be real numbers"),
        ({"class_weight": "even"}, TypeError, "class_weight must be 'balanced' or a dict"),
        ({"class_weight": [1, 2]}, TypeError, "class_weight must be 'balanced' or a dict"),
        ({"class_weight": {4: 1}}, ValueError, "classes of class_weight must be 0 to 3, got 4"),
        ({"class_weight": {"a": 1}}, TypeError, "each class of class_weight must be an integer"),
        ({"class_weight": {0: -1}}, ValueError, r"class_weight\[0\] must be at least 0"),
        (
            {"class_weight": {0: 2}, "batch_size": 1},
            ValueError,
            "batch_size must be above 1 where sample_weight or class_weight differ",
        ),
    ],
)
def test_bad_weights(settings, error, message):
    model = model_of("softmax", None)
    before = model.theta.copy()
    y = np.arange(60) % 4
    for call in (model.fit, model.partial_fit):
        with pytest.raises(error, match=message):
            call(X, y, **{"batch_size": 10, **settings})
    if "sample_weight" in settings:
        for call in (model.evaluate, model.loss_and_gradient, model.gradient_check):
            with pytest.raises(error, match=message):
                call(X, y, sample_weight=settings["sample_weight"])
    assert np.array_equal(model.theta, before)


def test_class_weight_needs_one_label_a_sample():
    model = fastnn.Model([5, 3], output="sigmoid", seed=0)
    with pytest.raises(ValueError, match="class_weight needs one label a sample"):
        model.fit(X, np.ones((60, 3)), class_weight="balanced")
    model = fastnn.Model([5, 1], output="sigmoid", seed=0)
    with pytest.raises(ValueError, match="class_weight needs labels 0 and 1 in y"):
        model.fit(X, np.full(60, 0.5), class_weight="balanced")
    model = fastnn.Model([5, 3], seed=0)
    with pytest.raises(ValueError, match="class_weight needs one label a sample"):
        model.fit(X, np.full((60, 3), 1 / 3), class_weight="balanced")


@pytest.mark.parametrize("optimizer", ["sgd", fastnn.SGD(0.1, momentum=0.9), "adam"])
def test_rows_of_hardly_any_weight_move_hardly_anything(optimizer):
    """Also where they are alone in a mini-batch, as the last row of 129 by 128 may be: a weight of
    1e-9 is nearly one of 0."""
    few = np.random.default_rng(3)
    X, y = few.normal(size=(129, 5)), few.integers(0, 4, 129)
    thetas = []
    for small in (0.0, 1e-9):
        weights = np.where(np.arange(129) % 2, 1.0, small)
        model = model_of("softmax", None)
        model.fit(X, y, epochs=30, optimizer=optimizer, sample_weight=weights)
        thetas.append(model.theta)
    np.testing.assert_allclose(*thetas, rtol=0, atol=1e-5)


def test_a_light_mini_batch_is_divided_by_a_quarter_of_the_mean_weight():
    y, weights = targets("identity", ""), np.ones(60)
    weights[40:] = 0.01
    model, by_hand = model_of("identity", None), model_of("identity", None)
    history = model.fit(
        X, y, epochs=1, batch_size=20, shuffle=False, learning_rate=0.1, sample_weight=weights
    )
    total = 0
    for i in range(0, 60, 20):
        rows = slice(i, i + 20)
        L, g = by_hand.loss_and_gradient(X[rows], y[rows], sample_weight=weights[rows])
        weight = weights[rows].sum()
        by_hand.theta -= 0.1 * g * weight / max(weight, 20 * weights.mean() / 4)
        total += L * weight
    np.testing.assert_allclose(model.theta, by_hand.theta, rtol=0, atol=1e-14)
    assert history.loss[0] == pytest.approx(total / weights.sum(), rel=1e-12)


def test_validation_is_weighted_as_training_is():
    y, weights = np.arange(60) % 4, rng.uniform(size=60)
    model = model_of("softmax", None)
    given = {"epochs": 1, "metrics": ["accuracy", "f1"]}
    history = model.fit(X, y, validation_data=(X[:30], y[:30], weights[:30]), **given)
    want = model.evaluate(X[:30], y[:30], sample_weight=weights[:30])["loss"]
    assert history.val_loss == [want]
    assert history.val_accuracy == [model.evaluate(X[:30], y[:30])["accuracy"]]  # rows count alike
    model = model_of("softmax", None)
    history = model.fit(X, y, validation_split=0.3, sample_weight=weights, **given)
    _, held_out = split(60, 0.3, model.seed, y)
    want = model.evaluate(X[held_out], y[held_out], sample_weight=weights[held_out])["loss"]
    assert history.val_loss == [want]
    table, model = {0: 3.0, 2: 0.0}, model_of("softmax", None)
    history = model.fit(
        *(X, y), class_weight=table, validation_data=(X[:30], y[:30], weights[:30]), epochs=1
    )
    each = weights[:30] * np.array([3.0, 1.0, 0.0, 1.0])[y[:30]]
    assert history.val_loss == [model.evaluate(X[:30], y[:30], sample_weight=each)["loss"]]


def test_balanced_knows_the_rows_trained_on_alone():
    """A class that only rows to measure on have weighs 1 there."""
    y = np.arange(60) % 3
    model = model_of("softmax", None)
    other = (X[:4], np.array([0, 1, 2, 3]))
    history = model.fit(X, y, class_weight="balanced", validation_data=other, epochs=1)
    assert history.val_loss == [model.evaluate(*other)["loss"]]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"validation_data": (X,)}, TypeError, r"a pair \(X, y\) or \(X, y, sample_weight\)"),
        (
            {"validation_data": (X, np.arange(60) % 4, np.ones(59))},
            ValueError,
            r"validation_data: sample_weight must have shape \(60,\) like y",
        ),
        (
            {"validation_data": (X, np.arange(60) % 4, np.zeros(60))},
            ValueError,
            "validation_data: sample_weight must have a finite sum above zero",
        ),
        (
            {"validation_split": 0.05, "sample_weight": np.eye(60)[7]},
            ValueError,
            "validation_split must hold out a row of weight above 0, got none",
        ),
        ({"metrics": ["f1"]}, ValueError, "metrics must come with validation_data or validation_s"),
    ],
)
def test_bad_validation(given, error, message):
    model = model_of("softmax", None)
    before = model.theta.copy()
    with pytest.raises(error, match=message):
        model.fit(X, np.arange(60) % 4, **given)
    assert np.array_equal(model.theta, before)
