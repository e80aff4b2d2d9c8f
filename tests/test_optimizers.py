"""Optimizer objects: names, settings, what they refuse; L-BFGS."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import reference as ref

import fastnn
from fastnn.files import model as storage
from fastnn.kernels import _cpu
from fastnn.training import lbfgs
from fastnn.training.optimizers import NAMES, as_optimizer

ALL = [
    *(name() for name in NAMES.values() if name is not fastnn.LBFGS),
    fastnn.SGD(0.1, 0.9),
    fastnn.SGD(0.1, 0.9, nesterov=True),
    fastnn.Adam(amsgrad=True),
    fastnn.RMSprop(momentum=0.5),
    fastnn.RMSprop(centered=True),
    fastnn.RMSprop(momentum=0.5, centered=True),
]


def make(dtype="float64"):
    return fastnn.Model([4, 6, 3], activation="tanh", dtype=dtype, seed=5)


def data(n=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, X[:, :3].argmax(1)


def test_every_kernel_has_an_object_and_a_place_in_files():
    assert {rule.kind for rule in ALL} == set(_cpu.OPTIMIZERS)
    assert {kind: len(names) for kind, names in storage.STATES.items()} == ref.STATES


@pytest.mark.parametrize("rule", ALL, ids=repr)
def test_learns_and_goes_on_from_a_file(rule, tmp_path):
    X, y = data()
    model = make()
    history = model.fit(X, y, epochs=3, batch_size=25, optimizer=rule)
    assert history.loss[-1] < history.loss[0]
    model.save(tmp_path / "m.safetensors")
    twin = fastnn.load(tmp_path / "m.safetensors")
    for one in (model, twin):
        one.fit(X, y, epochs=2, batch_size=25, optimizer=rule)
    assert model.theta.tobytes() == twin.theta.tobytes()


def test_names_and_text():
    assert as_optimizer("adamw", None) == fastnn.AdamW() != fastnn.Adam()
    assert fastnn.AdamW().rates["weight_decay"] == 0.01
    assert repr(fastnn.AdamW(0.5, clip_norm=1)) == "AdamW(learning_rate=0.5, clip_norm=1.0)"
    assert as_optimizer("lion", 0.5) == fastnn.Lion(0.5)
    rule = fastnn.Adam(rate_factors={"b": 0.1, "W": 1}, ntk=True)
    assert repr(rule) == "Adam(learning_rate=0.001, rate_factors={'b': 0.1}, ntk=True)"
    assert rule == eval(repr(rule), {"Adam": fastnn.Adam}) and hash(rule) == hash(replace(rule))
    assert pickle.loads(pickle.dumps(rule)) == rule != fastnn.Adam(ntk=True)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: fastnn.SGD(l2=-1), ValueError, "l2 must be at least 0 and finite, got -1"),
        (lambda: fastnn.SGD(clip_norm=0), ValueError, "clip_norm must be at least 1e-30"),
        (lambda: fastnn.SGD(max_norm="1"), TypeError, "max_norm must be a number"),
        (lambda: fastnn.SGD(decay_bias=1), TypeError, "decay_bias must be True or False"),
        (lambda: fastnn.SGD(dampening=1), ValueError, "dampening must be at least 0 and below 1"),
        (
            lambda: fastnn.SGD(0.1, 0.9, nesterov=True, dampening=0.1),
            ValueError,
            "nesterov must come without dampening",
        ),
        (lambda: fastnn.Rprop(least=2, most=1), ValueError, "least must be at most most=1"),
        (lambda: fastnn.LBFGS(memory=0), ValueError, "memory must be at least 1"),
        (
            lambda: fastnn.SGD(rate_factors={"bias": 0.1}),
            ValueError,
            "each of rate_factors must be one of W, b, gamma, .*, embedding, table, got 'bias'",
        ),
        (
            lambda: fastnn.SGD(rate_factors={"b": -1}),
            ValueError,
            r"rate_factors\['b'\] must be at least 0",
        ),
        (lambda: fastnn.SGD(rate_factors=0.1), TypeError, "rate_factors must be a dict"),
        (lambda: fastnn.SGD(ntk=1), TypeError, "ntk must be True or False"),
        (lambda: fastnn.LBFGS(ntk=True), ValueError, "LBFGS must come without ntk"),
        (
            lambda: fastnn.LBFGS(rate_factors={"b": 0.1}),
            ValueError,
            "LBFGS must come without rate_factors, got {'b': 0.1}",
        ),
        (lambda: fastnn.LBFGS(clip_norm=1), ValueError, "LBFGS must come without clip_norm"),
        (lambda: as_optimizer("lbfgs", 0.1), ValueError, "LBFGS must come without learning_rate"),
        (lambda: as_optimizer("sdg", None), ValueError, "must be one of 'sgd', 'adam', .*'sdg'"),
    ],
)
def test_wrong_settings(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_max_norm_holds_and_biases_may_be_exempt():
    X, y = data()
    model = make()
    model.fit(X, y, epochs=3, optimizer=fastnn.SGD(1.0, max_norm=0.5))
    for W in model.W:
        assert np.linalg.norm(W, axis=1).max() <= 0.5 * (1 + 1e-15)
    for decay_bias in (True, False):
        model = make()
        model.b[0] = 1.0
        rule = fastnn.SGD(0.0, l2=0.5)
        model.fit(X, y, epochs=1, optimizer=rule)
        rule = fastnn.Lion(0.125, weight_decay=4.0, decay_bias=decay_bias)
        model.fit(X, y, epochs=1, optimizer=rule)
        assert (np.abs(model.b[0]) > 0.8).all() != decay_bias


def test_penalties_are_not_in_the_loss():
    X, y = data()
    one, two = make(), make()
    losses = [
        m.fit(X, y, epochs=1, batch_size=50, optimizer=fastnn.SGD(l2=l2, l1=l2)).loss
        for m, l2 in ((one, 0.0), (two, 1.0))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lbfgs_is_scipys(dtype):
    minimize = pytest.importorskip("scipy.optimize").minimize
    X, y = data()
    model, net = make(dtype), ref.Net((4, 6, 3), "tanh")

    def objective(theta):
        loss, grad = ref.loss_and_gradient(net, theta, X, y)
        return loss + 0.005 * theta @ theta, grad + 0.01 * theta

    want = minimize(
        objective,
        model.theta.astype(float),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 20, "gtol": 1e-5, "ftol": 64 * 2.0**-52},
    )
    history = model.fit(X, y, epochs=20, optimizer=fastnn.LBFGS(l2=0.01))
    assert len(history) == 20 and history.loss[-1] < history.loss[0]
    got = objective(model.theta.astype(float))[0]
    assert abs(got - want.fun) < (1e-9 if dtype == "float64" else 1e-2)
    assert abs(model.evaluate(X, y)["loss"] - history.loss[-1]) < 1e-6
    assert len(model.fit(X, y, epochs=5000, optimizer=fastnn.LBFGS(l2=0.01))) < 5000


def test_lbfgs_with_callbacks_and_without_scipy(monkeypatch):
    X, y = data()
    model = make()
    stop = fastnn.LambdaCallback(on_epoch_end=lambda fit: fit.stop() if fit.epoch == 3 else None)
    pytest.importorskip("scipy")
    history = model.fit(X, y, epochs=9, optimizer="lbfgs", callbacks=[stop], validation_split=0.2)
    assert history.epoch == [1, 2, 3] and len(history.val_loss) == 3
    before = model.theta.copy()
    with pytest.raises(ValueError, match="LBFGS must be used in fit"):
        model.partial_fit(X, y, optimizer="lbfgs")
    with pytest.raises(ValueError, match="LBFGS must have a network without dropout and noise"):
        fastnn.Model([4, 6, 3], dropout=0.5).fit(X, y, optimizer="lbfgs")
    with pytest.raises(ValueError, match="LBFGS must come without resume"):
        model.fit(X, y, optimizer="lbfgs", resume="m")
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(fastnn.MissingExtraError, match=r"LBFGS needs scipy: .*-cpu\[lbfgs\]"):
        model.fit(X, y, optimizer="lbfgs")
    assert model.theta.tobytes() == before.tobytes()


def test_lbfgs_without_threadpoolctl(monkeypatch):
    pytest.importorskip("scipy")
    X, y = data()
    model, want = make(), make()
    want.fit(X, y, epochs=5, optimizer="lbfgs")
    lbfgs._libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    model.fit(X, y, epochs=5, optimizer="lbfgs")
    assert model.theta.tobytes() == want.theta.tobytes()


def test_lbfgs_may_leave_biases_out_of_the_penalty():
    """Weights that cost too much are 0, and biases alone tell how often a class is."""
    pytest.importorskip("scipy")
    X, y = data()
    model = fastnn.Model([4, 3], seed=0, dtype="float64")
    model.fit(X, y, epochs=500, optimizer=fastnn.LBFGS(l2=1e6, decay_bias=False))
    assert abs(model.predict_proba(X) - np.bincount(y, minlength=3) / len(y)).max() < 1e-3


def test_lbfgs_of_a_loss_beyond_all_numbers_changes_nothing():
    pytest.importorskip("scipy")
    model = fastnn.Model([1, 1], output="identity", dtype="float64", seed=0)
    before = model.theta.copy()
    with pytest.raises(fastnn.DivergenceError, match="the loss is inf; scale the inputs"):
        model.fit([[1.0], [2.0]], [1e155, 0.0], optimizer="lbfgs")
    assert model.theta.tobytes() == before.tobytes()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_squares_of_weights_beyond_all_numbers_count_in_a_penalty_alone():
    pytest.importorskip("scipy")
    model = fastnn.Model([1, 1], output="identity", dtype="float64", seed=0)
    model.W[0][:] = 1e160
    before = model.theta.copy()
    with pytest.raises(fastnn.DivergenceError, match="the loss is inf"):
        model.fit([[0.0]], [1.0], optimizer=fastnn.LBFGS(l2=1e-3))
    assert model.theta.tobytes() == before.tobytes()
    model.fit([[0.0]], [1.0], optimizer="lbfgs")
    assert model.W[0] == 1e160 and model.b[0] == pytest.approx(1)


def test_lbfgs_that_has_nothing_to_improve_is_an_epoch():
    pytest.importorskip("scipy")
    X, y = data()
    model = make()
    settings = {"epochs": 5000, "optimizer": fastnn.LBFGS(l2=0.01), "validation_split": 0.2}
    model.fit(X, y, **settings)
    before, told = model.theta.copy(), []
    watch = fastnn.LambdaCallback(
        on_epoch_begin=lambda fit: told.append(f"begin {fit.epoch}"),
        on_epoch_end=lambda fit: told.append(f"end {fit.epoch}"),
    )
    for optimizer in (fastnn.LBFGS(tol=10.0), settings["optimizer"]):
        told.clear()
        first = model._parameters.epoch + 1
        history = model.fit(X, y, **{**settings, "optimizer": optimizer}, callbacks=[watch])
        assert history.epoch == [first] and told == [f"begin {first}", f"end {first}"]
        assert np.isfinite([*history.loss, *history.val_loss, *history.val_accuracy]).all()
        assert model.theta.tobytes() == before.tobytes()


def test_lbfgs_tells_of_epochs_that_there_are():
    pytest.importorskip("scipy")
    X, y = data()
    told = {"begin": [], "end": []}
    watch = fastnn.LambdaCallback(
        on_epoch_begin=lambda fit: told["begin"].append(fit.epoch),
        on_epoch_end=lambda fit: told["end"].append(fit.epoch),
    )
    history = make().fit(X, y, epochs=5000, optimizer=fastnn.LBFGS(l2=0.01), callbacks=[watch])
    assert told["begin"] == told["end"] == history.epoch and len(history) < 5000
