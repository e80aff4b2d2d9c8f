"""Batch and layer normalisation: the reference's numbers, the same bits, the user's view."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import reference as ref
from compiled import ALIKE, counted, engine_of

import fastnn
from fastnn.explain import gradient_check
from fastnn.kernels import _cpu
from fastnn.kernels.layer import normalise, normalise_delta
from fastnn.random import keys

BATCH, LAYER = ("batch", 0.25, 0.0625), ("layer", 0.0, 0.0625)
NETS = {
    "batch": ref.Net((9, 37, 20, 3), "relu", norm=(BATCH, BATCH)),
    "layer": ref.Net((9, 37, 20, 3), "relu", norm=(LAYER, LAYER)),
    "some": ref.Net((9, 33, 1, 70, 2), "silu", "sigmoid", norm=(None, BATCH, LAYER)),
    "no bias": ref.Net(
        *((9, 16, 70, 2), ("gelu", "tanh"), "identity"),
        **{"bias": (False, True, False), "norm": (BATCH, LAYER)},
    ),
    "dropout": ref.Net(
        *((9, 16, 70, 2), ("gelu", ("leaky_relu", 0.25)), "silu", "squared_error"),
        **{"dropout": (0.0, 0.5, 0.125), "noise": (0.25, 0.0, 0.5), "norm": (LAYER, BATCH)},
    ),
    "many rows": ref.Net((3, 3000, 2), "tanh", norm=(LAYER,)),
    "many rows, batch": ref.Net((3, 3000, 2), "tanh", norm=(BATCH,)),
    "at once": ref.Net((5, 900, 901, 3), "relu", norm=(LAYER, BATCH)),
}
RATES = {
    **{"learning_rate": 0.05, "momentum": 0.5, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.1},
    **{"psi": 0.99, "shrink": 0.5, "grow": 1.2, "least": 1e-6, "most": 0.5},
}
SHAPED = {
    **{"l1": 0.001, "l2": 0.01, "weight_decay": 0.1, "decay_bias": False},
    **{"clip_norm": 0.05, "clip_value": 0.01, "max_norm": 0.5},
}


@pytest.fixture(autouse=True)
def all_threads():
    _cpu.set_flops_a_thread(0)
    yield
    _cpu.set_flops_a_thread()
    _cpu.use()


# --- Kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", _cpu.isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [BATCH, LAYER, ("batch", 0, 1e-5), ("layer", 0, 1e-5)])
def test_kernels_meet_the_reference(isa, dtype, norm):
    _cpu.use(isa)
    rng, u = np.random.default_rng(0), ref.unit_roundoff(dtype)
    nr, vl, _ = _cpu.panel_sizes(np.dtype(dtype).itemsize)
    widths = {1, 2, vl - 1, vl, vl + 1, nr, nr + 1, 2 * nr + 3, 97, 130}
    for batch, n in [(b, n) for b in (1, 2, 3, 17, 131) for n in sorted(widths - {0})]:
        x = (3 + 2 * rng.standard_normal((batch, n))).astype(dtype)
        scale, b, mean = rng.standard_normal((3, n)).astype(dtype)
        running = None if norm[0] == "layer" else (mean, (0.5 + rng.random(n)).astype(dtype))
        xhat, a, h = np.full((3, batch, n), np.nan, dtype)
        inv = np.full(n if norm[0] == "batch" else batch, np.nan, dtype)
        kind = _cpu.NORMS[norm[0]]
        args = running or (None, None)
        normalise(x, scale, b, *args, xhat, a, h, inv, kind, norm[2], _cpu.OUTPUTS["relu"])
        wide = [one.astype(np.longdouble) for one in (x, scale, b)]
        alone = norm[0] == "batch" and batch == 1
        want, want_inv, *_ = ref.normalised(norm, wide[0], running if alone else None)
        bounds = ref.normalised_bound(norm, *wide, u)
        if alone:
            relative = 4 * u * np.ones((1, n))
            of_xhat = 8 * u * (np.abs(want) + np.abs(x - mean) * want_inv)
            bounds = (
                of_xhat,
                np.abs(scale) * of_xhat + 4 * u * (np.abs(want * scale) + np.abs(b)),
                relative,
            )
        assert (np.abs(xhat - want) <= bounds[0]).all(), (batch, n)
        assert (np.abs(a - (wide[1] * want + wide[2])) <= bounds[1]).all(), (batch, n)
        assert (np.abs(inv / want_inv.ravel() - 1) <= bounds[2].ravel()).all(), (batch, n)
        assert (h == np.maximum(a, 0)).all()

        delta = rng.standard_normal((batch, n)).astype(dtype)
        du, grad_gamma = np.full_like(delta, np.nan), np.full_like(scale, np.nan)
        normalise_delta(delta, xhat, scale, inv, du, grad_gamma, kind)
        given = [one.astype(np.longdouble) for one in (delta, xhat, scale)]
        given.append(inv.astype(np.longdouble).reshape(want_inv.shape))
        want = ref.normalised_delta(norm, *given, alone)
        bound = ref.normalised_delta_bound(norm, *given, u)
        assert (np.abs(du - want) <= bound).all(), (batch, n)
        terms = given[0] * given[1]
        bound = ref.gamma(batch + 1, u) * np.abs(terms).sum(0)
        assert (np.abs(grad_gamma - terms.sum(0)) <= bound).all(), (batch, n)


# --- Training -------------------------------------------------------------------------------------


def data(net, n, dtype):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, net.sizes[0])).astype(dtype)
    y = rng.random((n, net.sizes[-1])).astype(dtype)
    if net.output == "softmax":
        y = rng.integers(0, net.sizes[-1], n).astype(np.int32)
    theta = 0.3 * rng.standard_normal(net.n_parameters)
    for gamma in ref.unpack(net, theta)[2]:
        if gamma is not None:
            gamma += 1
    return X, y, theta.astype(dtype)


def flat(running, dtype):
    """Running statistics of the reference as the engine takes them."""
    return np.concatenate([one for pair in running if pair for one in pair] or [[]]).astype(dtype)


def trained(net, dtype, batch, optimizer, threads, shaped=None):
    """Theta, state, statistics and losses of three steps, the last one of fewer rows, and a
    function that computes them by the reference."""
    n = 2 * batch + max(batch // 2, 1)
    X, y, theta = data(net, n, dtype)
    e = engine_of(net, dtype, batch, optimizer)
    state = np.zeros((e.n_states, len(theta)), dtype)
    statistics = flat(ref.new_running(net, dtype), dtype)
    e.load(theta, state, statistics)
    losses = np.full(-(-n // batch), np.nan)
    order, rates = np.random.default_rng(0).permutation(n), {**RATES, **(shaped or {})}
    of = keys(7, net.K) if net.dropout else None
    assert e.train(X, y, order, batch, rates, counted(), losses, threads, keys=of) == len(losses)
    out = np.empty_like(theta)
    e.store(out, state, statistics)

    def reference(wide=np.longdouble):
        values = (theta.astype(wide), X.astype(wide), y if y.ndim == 1 else y.astype(wide))
        running = ref.new_running(net, wide)
        want = ref.train(net, *values, order, batch, optimizer, rates, keys=of, running=running)
        return *want[:2], flat(running, wide), want[2]

    return (out, state, statistics, losses), reference


def batches(name):
    return {"many rows": [700], "many rows, batch": [700], "at once": [3]}.get(name, [2, 6, 31])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("shaped", [None, SHAPED], ids=["plain", "shaped"])
def test_training_meets_the_reference(name, dtype, optimizer, shaped):
    for batch in batches(name):
        want = None
        for isa in _cpu.isas():
            _cpu.use(isa)
            results, reference = trained(NETS[name], dtype, batch, optimizer, 2, shaped)
            if want is None:
                want = reference(np.float64 if batch == 700 else np.longdouble)
            limit = 2e-4 if dtype == "float32" else 1e-12
            for got, expected in zip(results, want, strict=True):
                if expected.size:
                    error = np.abs(got - expected).max()
                    assert error < limit * (1 + np.abs(expected).max()), (batch, isa)


@pytest.mark.parametrize("optimizer", _cpu.OPTIMIZERS)
def test_every_optimizer_steps_gamma_and_b(optimizer):
    """By its own rule: what the reference does to all of theta."""
    results, reference = trained(NETS["no bias"], "float64", 6, optimizer, 2)
    for got, expected in zip(results, reference(), strict=True):
        if expected.size:
            assert np.abs(got - expected).max() < 1e-12 * (1 + np.abs(expected).max())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_bits(name, dtype, optimizer):
    net = NETS[name]
    for batch in [1, *batches(name)] if "batch" not in name else batches(name):
        results = set()
        for isa in ALIKE:
            _cpu.use(isa)
            for threads in (1, 2, 3, 4):
                shaped = SHAPED if optimizer == "adam" else None
                got, _ = trained(net, dtype, batch, optimizer, threads, shaped)
                results.add(b"".join(one.tobytes() for one in got))
        assert len(results) == 1, batch


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_and_prediction_bits(name, dtype):
    net = NETS[name]
    X, y, theta = data(net, 300, dtype)
    statistics = (
        np.random.default_rng(2).random(flat(ref.new_running(net, dtype), dtype).size) + 0.5
    )
    results = set()
    for isa in ALIKE:
        _cpu.use(isa)
        for threads in (1, 2, 3):
            e = engine_of(net, dtype)
            e.load(theta, statistics=statistics.astype(dtype))
            grad, out = np.empty_like(theta), np.empty((300, net.sizes[-1]), dtype)
            loss = e.gradient(X, y, grad, threads)
            losses = np.array([loss, e.loss(X, y, out, threads)])
            results.add(grad.tobytes() + losses.tobytes() + out.tobytes())
            for start, stop in [(0, 1), (7, 8), (3, 17), (100, 231)]:
                part = np.empty((stop - start, net.sizes[-1]), dtype)
                e.forward(X[start:stop], part, 2)
                assert part.tobytes() == out[start:stop].tobytes()
    assert len(results) == 1


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_prediction_meets_the_reference(name, dtype):
    """By the running statistics, which for batch normalisation lie in the weights."""
    net = NETS[name]
    X, y, theta = data(net, 40, dtype)
    running = ref.new_running(net, np.longdouble)
    rng = np.random.default_rng(3)
    for pair in running:
        if pair:
            pair[:] = rng.standard_normal(len(pair[0])), 0.5 + rng.random(len(pair[0]))
    for batch in (1, 8):  # an engine's layers may lie turned, or not
        e = engine_of(net, dtype, batch)
        e.load(theta, statistics=flat(running, dtype))
        out = np.full((40, net.sizes[-1]), np.nan, dtype)
        loss = e.loss(X, y, out, 2)
        wide = theta.astype(np.longdouble), X.astype(np.longdouble)
        limit = 2e-5 if dtype == "float32" else 1e-13
        want = ref.forward(net, *wide, running=running)[1][-1]
        assert np.abs(out - want).max() < limit * (1 + np.abs(want).max())
        assert abs(loss - ref.loss(net, *wide, y, running=running)) < limit * (1 + abs(loss))
        grad = np.empty_like(theta)
        e.gradient(X, y, grad, 2)
        after = np.empty_like(theta), flat(running, dtype)
        e.store(after[0], None, after[1])
        assert (after[0] == theta).all() and (after[1] == flat(running, dtype)).all()


# --- What users see -------------------------------------------------------------------------------


def rows(n=60, n_out=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 6)).astype("f4"), rng.integers(0, n_out, n)


def model_of(norm="batch", **settings):
    return fastnn.Model(
        [6, 12, 8, 3], **{"activation": "tanh", "seed": 3, "norm": norm, **settings}
    )


@pytest.mark.parametrize("norm", ["batch", "layer", ["batch", "layer"], [None, "batch"]])
@pytest.mark.parametrize("g", ["relu", "tanh", "gelu", "elu"])
@pytest.mark.parametrize(
    ("output", "loss"),
    [("softmax", None), ("identity", None), ("identity", "huber"), ("exp", None)],
)
def test_gradient_check(norm, g, output, loss):
    X, y = rows(20)
    y = y if output == "softmax" else np.random.default_rng(1).random((20, 3))
    model = fastnn.Model([6, 9, 8, 3], g, output, loss, seed=1, norm=norm, dtype="float64")
    model.fit(X, y, epochs=1, batch_size=5, learning_rate=0.01)
    assert model.gradient_check(X, y) < 1e-6
    assert model.gradient_check(X[:1], y[:1], sample_weight=[2.0]) < 1e-6
    assert model.gradient_check(X, y, sample_weight=np.arange(20.0)) < 1e-6


def test_the_gradient_check_sees_a_wrong_gamma(monkeypatch):

    new_engine = gradient_check.new_engine

    class Broken:
        def __init__(self, network):
            self.engine, self.gamma = new_engine(network), network.layers[1].gamma
            self.load, self.loss = self.engine.load, self.engine.loss

        def gradient(self, X, y, grad, *more):
            loss = self.engine.gradient(X, y, grad, *more)
            grad[self.gamma] *= 1.001
            return loss

    monkeypatch.setattr(gradient_check, "new_engine", Broken)
    assert model_of().gradient_check(*rows(9)) > 1e-4


def test_what_a_model_shows():
    model = model_of(["batch", None])
    assert model.norm == [fastnn.BatchNorm(0.1, 1e-5), None]
    assert model.n_parameters == 6 * 12 + 2 * 12 + 12 * 8 + 8 + 8 * 3 + 3
    assert model.gamma[0].tolist() == [1] * 12 and model.gamma[1:] == [None, None]
    assert model.running_mean[0].tolist() == [0] * 12 and model.running_mean[1:] == [None, None]
    assert model.running_variance[0].tolist() == [1] * 12
    assert model.theta[6 * 12 + 12 : 6 * 12 + 24].tolist() == [1] * 12
    model.gamma[0] = 2
    assert model.gamma[0].tolist() == [2] * 12
    with pytest.raises(ValueError, match="layer 2 has no normalisation"):
        model.gamma[1] = 1
    assert "norm=[BatchNorm(momentum=0.1, epsilon=1e-05), None]" in repr(model)
    assert "norm=LayerNorm(epsilon=1e-05))" in repr(model_of("layer"))
    assert "norm" not in repr(fastnn.Model([6, 12, 3], seed=0))
    lines = model.summary().splitlines()
    assert lines[1].split() == ["layer", "activation", "W", "b", "gamma", "parameters", "bytes"]
    assert lines[2].split()[:8] == ["1", "batch", "norm,", "tanh", "(12,", "6)", "(12,)", "(12,)"]
    assert "gamma" not in fastnn.Model([6, 12, 3], seed=0).summary()


def test_prediction_is_the_same_from_everywhere():
    X, y = rows()
    for norm in ("batch", "layer"):
        model = model_of(norm)
        history = model.fit(X, y, epochs=3, batch_size=7, validation_data=(X, y))
        f, predictor = model.forward(X), model.predictor()
        assert (predictor(X) == f).all() and (predictor(X[5]) == f[5]).all()
        assert (pickle.loads(pickle.dumps(predictor))(X) == f).all()
        assert (pickle.loads(pickle.dumps(model)).forward(X) == f).all()
        assert history.val_loss[-1] == model.evaluate(X, y)["loss"]
        before = f.copy()
        model.fit(X, y, epochs=1, batch_size=7)
        assert (predictor(X) == before).all() and not (model.forward(X) == before).all()


def test_only_steps_move_the_running_statistics():
    X, y = rows()
    model = model_of()
    model.partial_fit(X, y, batch_size=20)
    mean, variance = model.running_mean[0].copy(), model.running_variance[0].copy()
    loss, _ = model.loss_and_gradient(X, y)
    assert loss != model.evaluate(X, y)["loss"]  # the rows' own statistics
    model.gradient_check(X[:5], y[:5])
    model.trace(X[:5], y[:5], 0.1)
    assert (model.running_mean[0] == mean).all() and (model.running_variance[0] == variance).all()
    u = X @ model.W[0].T
    model.partial_fit(X, y, batch_size=60)
    np.testing.assert_allclose(
        model.running_mean[0], 0.9 * mean + 0.1 * u.mean(0), rtol=1e-4, atol=1e-6
    )
    want = 0.9 * variance + 0.1 * u.var(0, ddof=1)
    np.testing.assert_allclose(model.running_variance[0], want, rtol=1e-4)


def test_a_row_left_over_goes_by_the_running_statistics():
    X, y = rows(13)
    model, other = model_of(dtype="float64"), model_of(dtype="float64")
    model.fit(X, y, epochs=1, batch_size=4, shuffle=False, learning_rate=0.5)
    other.fit(X[:12], y[:12], epochs=1, batch_size=4, shuffle=False, learning_rate=0.5)
    for k in (0, 1):
        assert (model.running_mean[k] == other.running_mean[k]).all()
    loss, gradient = other.loss_and_gradient(X[12:], y[12:])
    assert loss == pytest.approx(other.evaluate(X[12:], y[12:])["loss"], rel=1e-12)
    np.testing.assert_allclose(model.theta, other.theta - 0.5 * gradient, rtol=0, atol=1e-14)


def test_mini_batches_of_one_are_refused():
    X, y = rows()
    model = model_of([None, "batch"])
    before = model.theta.copy()
    with pytest.raises(ValueError, match="at least 2 rows, got batch_size=1"):
        model.fit(X, y, batch_size=1)
    with pytest.raises(ValueError, match="at least 2 rows, got batch_size=1"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match="at least 2 rows, got 1 row in all"):
        model.fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="LBFGS must have a network without batch normalisation"):
        model.fit(X, y, optimizer="lbfgs")
    assert (model.theta == before).all()
    layer = model_of("layer")
    layer.partial_fit(X, y)
    assert not (layer.theta == model_of("layer").theta).all()


def test_lbfgs_with_layer_normalisation():
    pytest.importorskip("scipy", reason="SciPy is not installed")
    X, y = rows()
    model = model_of("layer", dtype="float64")
    losses = model.fit(X, y, epochs=20, optimizer="lbfgs").loss
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("norm", ["batch", ["layer", "batch"]])
def test_saved_and_resumed(norm, tmp_path):
    X, y = rows(61)
    settings = {"batch_size": 7, "optimizer": "adam", "epochs": 6}
    whole = model_of(norm, dropout=0.25)
    whole.fit(X, y, **settings, callbacks=[fastnn.Checkpoint(tmp_path / "other")])

    def kill(fit):
        if fit.epoch == 4:
            raise KeyboardInterrupt

    broken, path = model_of(norm, dropout=0.25), tmp_path / "checkpoint"
    callbacks = [fastnn.Checkpoint(path), fastnn.LambdaCallback(on_epoch_begin=kill)]
    with pytest.raises(KeyboardInterrupt):
        broken.fit(X, y, **settings, callbacks=callbacks)
    fresh = model_of(norm, dropout=0.25)
    fresh.fit(X, y, **settings, callbacks=[fastnn.Checkpoint(path)], resume=path)
    fresh.save(tmp_path / "model")
    loaded = fastnn.load(tmp_path / "model")
    for model in (fresh, loaded):
        assert model.theta.tobytes() == whole.theta.tobytes()
        statistics = model._parameters.statistics
        assert statistics.tobytes() == whole._parameters.statistics.tobytes()
        assert (model.forward(X) == whole.forward(X)).all()
        assert model.norm == whole.norm
    names = _tensor_names(tmp_path / "model")
    assert {"gamma1", "gamma2", "running_mean2", "running_variance2"} <= names
    assert ("running_mean1" in names) == (norm == "batch")


def _tensor_names(path):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return set(header) - {"__metadata__"}


def test_files_from_before_load(tmp_path):
    model = fastnn.Model([6, 4, 3], seed=0)
    spec = type(model._network)
    now = spec.architecture.fget
    spec.architecture = property(lambda self: {k: v for k, v in now(self).items() if k != "norm"})
    try:
        model.save(tmp_path / "old")
    finally:
        spec.architecture = property(now)
    assert fastnn.load(tmp_path / "old").norm == [None]


@pytest.mark.parametrize(
    "damage", ['"norm":5', '"norm":[5]', '"norm":[{"name":"x"}]', '"norm":[{"name":"batch","x":1}]']
)
def test_damaged_files_are_refused(damage, tmp_path):
    model = fastnn.Model([6, 4, 3], seed=0)
    spec = type(model._network)
    now = spec.architecture.fget
    spec.architecture = property(lambda self: {**now(self), **json.loads("{" + damage + "}")})
    try:
        model.save(tmp_path / "damaged")
    finally:
        spec.architecture = property(now)
    with pytest.raises(fastnn.ModelFileError, match="architecture: "):
        fastnn.load(tmp_path / "damaged")


def test_early_stopping_restores_the_statistics_too():
    X, y = rows(200)
    model = model_of(fastnn.BatchNorm(0.5))
    kept = {}

    def keep(fit):
        kept[fit.epoch] = fit.model._parameters.statistics.copy()

    stopping = fastnn.EarlyStopping("val_loss", patience=2)
    callbacks = [stopping, fastnn.LambdaCallback(on_epoch_end=keep)]
    history = model.fit(
        *(X[:150], y[:150]),
        **{"epochs": 50, "batch_size": 8, "learning_rate": 0.5, "callbacks": callbacks},
        validation_data=(X[150:], y[150:]),
    )
    assert stopping.best_epoch < history.epoch[-1]
    assert (model._parameters.statistics == kept[stopping.best_epoch]).all()
    assert model.evaluate(X[150:], y[150:])["loss"] == min(history.val_loss)


def test_a_diverged_fit_leaves_the_statistics():
    X, _ = rows()
    model = fastnn.Model([6, 12, 3], "relu", "identity", seed=3, norm="batch")
    targets = np.random.default_rng(0).random((60, 3))
    model.fit(X, targets, epochs=1, batch_size=7)
    before = model.theta.copy(), model._parameters.statistics.copy()
    with pytest.raises(fastnn.DivergenceError):
        model.fit(X, targets, epochs=50, batch_size=7, learning_rate=1e9)
    assert (model.theta == before[0]).all()
    assert (model._parameters.statistics == before[1]).all()


@pytest.mark.parametrize("rule", ["sgd", "adam", fastnn.SGD(clip_norm=0.5)])
def test_a_network_that_diverged_trains_as_one_that_never_did(rule):
    """Its engine is kept: of the numbers that are not finite none stays, not beside the units
    either, whose numbers are no multiple of a vector's."""
    X = np.random.default_rng(0).standard_normal((40, 6))
    y = np.arange(40) % 3
    model = fastnn.Model([6, 17, 9, 3], norm="batch", seed=0)
    model.fit(X, y, epochs=1, optimizer=rule)
    with pytest.raises(fastnn.DivergenceError):
        model.fit(1e10 * X, y, optimizer=rule, learning_rate=1e35)
    other = pickle.loads(pickle.dumps(model))
    for one in (model, other):
        one.fit(X, y, epochs=2, optimizer=rule)
    assert model.theta.tobytes() == other.theta.tobytes()


def test_decay_spares_gamma_with_the_biases():
    X, y = rows()
    spared, decayed = model_of("layer", dtype="float64"), model_of("layer", dtype="float64")
    for model, decay_bias in ((spared, False), (decayed, True)):
        optimizer = fastnn.SGD(1e-12, weight_decay=1e11, decay_bias=decay_bias)
        model.fit(X, y, epochs=1, batch_size=60, optimizer=optimizer)
    np.testing.assert_allclose(spared.gamma[0], 1, atol=1e-9)
    np.testing.assert_allclose(decayed.gamma[0], 0.9, atol=1e-9)


def test_what_goes_on_without_it_knows_nothing_of_it():
    X, y = rows()
    plain, none = (
        fastnn.Model([6, 12, 8, 3], seed=3),
        fastnn.Model([6, 12, 8, 3], seed=3, norm=None),
    )
    for model in (plain, none):
        model.fit(X, y, epochs=2, batch_size=7)
    assert plain.theta.tobytes() == none.theta.tobytes() and none._parameters.statistics.size == 0


def test_gradient_norms():
    X, y = rows()
    history = model_of().fit(X, y, epochs=2, callbacks=[fastnn.GradientNorms(X, y)])
    assert all(value > 0 for value in history.columns()["gradient_norm_1"])


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("n", [1, 4])
def test_trace(norm, n):
    X, y = rows(n)
    model = model_of(norm, dtype="float64")
    model.partial_fit(*rows(40, seed=1), batch_size=20)
    trace = model.trace(X, y, 0.25)
    loss, gradient = model.loss_and_gradient(X, y)
    parts = zip(trace.grad_W, trace.grad_b, trace.grad_gamma, strict=True)
    together = np.concatenate([g.ravel() for part in parts for g in part if g is not None])
    np.testing.assert_allclose(together, gradient, rtol=1e-12, atol=1e-15)
    assert trace.loss == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(trace.a[0], trace.xhat[0] * model.gamma[0] + model.b[0], rtol=1e-12)
    np.testing.assert_allclose(trace.grad_W[1], trace.du[1].T @ trace.h[0] / n, rtol=1e-9)
    text = str(trace)
    assert f"layer 1: 6 -> 12, {norm} norm, tanh" in text
    mean = "mean over units" if norm == "layer" else "mean over rows" if n > 1 else "running mean"
    assert f"xhat^(1) = (u^(1) - {mean}) / sqrt(" in text
    assert (
        "a^(1) = gamma^(1) * xhat^(1) + b^(1)" in text and "gamma^(2) <- gamma^(2) - 0.25" in text
    )
    assert "(dL/du^(2) W^(2)) * g'(a^(1))" in text and "(delta^(3) W^(3)) * g'(a^(2))" in text


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("group", ValueError, "norm must be one of batch, layer, got 'group'"),
        (5, TypeError, "norm must be one value or a list of one per hidden layer"),
        (["batch"], ValueError, r"norm must have one entry per hidden layer \(2\)"),
        ([5, None], TypeError, r"norm must be a name \(batch, layer\), got 5"),
    ],
)
def test_wrong_arguments(value, error, message):
    with pytest.raises(error, match=message):
        model_of(value)


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"momentum must be at most 1, got 1\.5"):
        fastnn.BatchNorm(1.5)
    for kind in (fastnn.BatchNorm, fastnn.LayerNorm):
        with pytest.raises(ValueError, match="epsilon must be above 0"):
            kind(epsilon=0)
    with pytest.raises(TypeError, match="epsilon must be a number"):
        fastnn.LayerNorm("small")


@pytest.mark.parametrize("norm", ["batch", "layer", ["layer", "batch"]])
@pytest.mark.parametrize("threads", [1, 2])
def test_integers_csr_and_streams(norm, threads):
    """Each the bits of the dense array, in training and prediction."""
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 9, (61, 40), np.uint8) * (rng.random((61, 40)) < 0.2)
    integers, y = integers.astype(np.uint8), rng.integers(0, 3, 61)
    X = (integers * np.float32(0.125)).astype(np.float32)
    results = set()
    for kind in (X, integers, sparse.csr_matrix(X), "stream"):
        model = fastnn.Model([40, 37, 8, 3], seed=3, norm=norm, dropout=[0, 0.25, 0.25])
        if kind is integers:
            model = fastnn.Model(
                [40, 37, 8, 3], seed=3, norm=norm, dropout=[0, 0.25, 0.25], input_scale=0.125
            )
        data = ([(X, y)],) if isinstance(kind, str) else (kind, y)
        features = X if isinstance(kind, str) else kind
        with fastnn.threads(threads):
            model.fit(*data, epochs=2, batch_size=12, optimizer="adam")
            f = model.forward(features)
        assert (model.predictor()(features) == f).all()
        results.add((model.theta.tobytes(), model._parameters.statistics.tobytes(), f.tobytes()))
    assert len(results) == 1


def test_a_stream_of_mini_batches_of_one_is_refused():
    X, y = rows()
    with pytest.raises(ValueError, match="at least 2 rows, got batch_size=1"):
        model_of().fit([(X, y)], epochs=1, batch_size=1)


def test_info_on_the_command_line(tmp_path, capsys):
    from fastnn.cli import main

    path = str(tmp_path / "model")
    model_of(["batch", None]).save(path)
    assert main(["info", path]) == 0
    assert "norm        batch/none\n" in capsys.readouterr().out
    assert main(["info", path, "--json"]) == 0
    norm = json.loads(capsys.readouterr().out)["norm"]
    assert norm == [{"name": "batch", "momentum": 0.1, "epsilon": 1e-5}, None]
