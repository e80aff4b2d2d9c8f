"""Parametric activations: one alpha a unit, everywhere that activations are."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import reference as ref
from compiled import activation

import fastnn
from fastnn.kernels import _cpu
from fastnn.kernels.layer import parametric, parametric_delta
from fastnn.network.activations import described, kernel, restored

Parametric = fastnn.Parametric


def make(dtype="float64", g="selu", **settings):
    settings = {"output": "softmax", **settings}
    model = fastnn.Model([4, 17, 6, 3], [Parametric(g), "tanh"], dtype=dtype, seed=5, **settings)
    model.alpha[0] = np.linspace(-0.5, 1.5, 17)
    return model


def data(n=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, X[:, :3].argmax(1)


@pytest.mark.parametrize("isa", _cpu.isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("g", [*_cpu.ACTIVATIONS, ("elu", 0.5), ("leaky_relu", 0.25)])
def test_kernels_meet_the_reference(isa, dtype, g):
    """h and its derivatives to a few units of roundoff of their terms; dL/dalpha as any sum."""
    rng, u, wide = np.random.default_rng(1), ref.unit_roundoff(dtype), np.longdouble
    _cpu.use(isa)
    try:
        for rows, n in [(1, 1), (3, 7), (5, 33), (2, 64)]:
            a, dh = (2 * rng.standard_normal((2, rows, n))).astype(dtype)
            alpha = rng.standard_normal(n).astype(dtype)
            h, d, e, delta = np.full((4, rows, n), np.nan, dtype)
            grad = np.full(n, np.nan, dtype)
            parametric(a, alpha, h, d, e, kernel(activation(g)))
            parametric_delta(dh, d, e, delta, grad)
            exact, slope = (ref.apply(table, g, a.astype(wide)) for table in (ref.G, ref.DG))
            size = 8 * u * (1 + np.abs(a) + np.abs(exact))
            weights = 1 + np.abs(alpha)
            assert (np.abs(e - (exact - a)) <= size).all()
            assert (np.abs(h - (a + alpha * (exact - a))) <= size * weights).all()
            assert (np.abs(d - (1 + alpha * (slope - 1))) <= 16 * u * weights).all()
            assert (np.abs(delta - dh * d.astype(wide)) <= u * np.abs(dh * d)).all()
            terms = dh.astype(wide) * e
            assert (np.abs(grad - terms.sum(0)) <= ref.gamma(rows + 1, u) * abs(terms).sum(0)).all()
    finally:
        _cpu.use()


def test_begins_as_what_it_is_made_of():
    plain = fastnn.Model([4, 17, 6, 3], ["selu", "mish"], dtype="float64", seed=5)
    model = fastnn.Model(
        [4, 17, 6, 3], [Parametric("selu"), Parametric("mish")], dtype="float64", seed=5
    )
    X, _ = data()
    assert (model.alpha[0] == 1).all() and (model.alpha[1] == 1).all() and model.alpha[2] is None
    assert model.n_parameters == plain.n_parameters + 17 + 6
    for k in range(3):
        assert model.W[k].tobytes() == plain.W[k].tobytes()
    np.testing.assert_allclose(model.forward(X), plain.forward(X), rtol=1e-13)
    with pytest.raises(ValueError, match="layer 3 has no parametric activation"):
        model.alpha[2] = 1.0


def test_learns_alpha():
    """Targets of a network whose activation is half of relu."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 1))
    y = X[:, 0] + 0.25 * (np.maximum(X[:, 0], 0) - X[:, 0])
    model = fastnn.Model(
        *([1, 1, 1], Parametric("relu"), "identity"), dtype="float64", seed=0, init=[[[1.0]]] * 2
    )
    model.fit(X, y, epochs=200, batch_size=50, optimizer=fastnn.Adam(0.02))
    assert abs(model.alpha[0][0] - 0.25) < 1e-3
    frozen = fastnn.Model(*([1, 1, 1], Parametric("relu"), "identity"), seed=0)
    frozen.fit(X, y, epochs=3, optimizer=fastnn.Adam(0.02, rate_factors={"alpha": 0}))
    assert frozen.alpha[0].tolist() == [1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_a_row_alone_has_its_bits_among_others(dtype, norm):
    model = make(dtype, norm=[norm, None])
    X, y = data(150)
    X = X.astype(dtype)
    model.fit(X, y, epochs=2, batch_size=16)
    f, predict = model.forward(X), model.predictor()
    assert all(predict(x).tobytes() == f[i].tobytes() for i, x in enumerate(X))
    loss = model.evaluate(X, y)["loss"]
    assert loss == pytest.approx(-np.log(f[np.arange(150), y]).mean(), rel=1e-5)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("g", ["selu", "gelu", "relu", fastnn.LeakyReLU(0.25), "hard_tanh"])
def test_gradient_check_and_trace(norm, g):
    model = make(g=g, norm=[norm, None])
    X, y = data(9)
    assert model.gradient_check(X, y) < 1e-7
    trace = model.trace(X, y, learning_rate=0.1)
    _, grad = model.loss_and_gradient(X, y)
    parts = []
    for k in range(3):
        of_k = (trace.grad_W[k], trace.grad_b[k], trace.grad_gamma[k], trace.grad_alpha[k])
        parts += [one.ravel() for one in of_k if one is not None]
    np.testing.assert_allclose(np.concatenate(parts), grad, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(trace.h[-1], model.trace(X, y).h[-1])
    assert "alpha^(1)" in repr(trace) and "dL/dalpha^(1)" in repr(trace)
    assert (trace.after.alpha[0] != trace.alpha[0]).any() and trace.dh[1] is None


def test_files_copies_and_text(tmp_path):
    X, y = data()
    model = make(g=fastnn.ELU(0.5))
    model.fit(X, y, epochs=2, optimizer="adam")
    model.save(tmp_path / "m.safetensors")
    twins = fastnn.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))
    for twin in (*twins, copy.deepcopy(model)):
        assert twin.forward(X).tobytes() == model.forward(X).tobytes()
        assert twin.activations == [Parametric(fastnn.ELU(0.5)), "tanh"]
    for one in (model, twins[0]):
        one.fit(X, y, epochs=1, optimizer="adam")
    assert model.theta.tobytes() == twins[0].theta.tobytes()
    assert "activation=[Parametric(activation=ELU(alpha=0.5)), 'tanh']" in repr(model)
    assert "parametric ELU(alpha=0.5)" in model.summary() and "alpha" in model.summary()
    for g in ("selu", fastnn.ELU(0.5)):
        assert restored(described(Parametric(g))) == Parametric(g)


def test_lbfgs_and_penalties_know_alpha():
    pytest.importorskip("scipy")
    X, y = data()
    model = make()
    before = model.alpha[0].copy()
    history = model.fit(X, y, epochs=30, optimizer=fastnn.LBFGS(l2=0.01))
    assert history.loss[-1] < 0.6 * history.loss[0] and (model.alpha[0] != before).all()
    decayed = make()
    rule = fastnn.Lion(0.0625, weight_decay=8.0, decay_bias=False, rate_factors={"b": 0})
    decayed.fit(X[:1], y[:1], epochs=1, optimizer=rule)
    assert (np.abs(decayed.alpha[0] - before / 2) <= 0.0625 + 1e-15).all()  # alpha is no bias


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnx(dtype, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = data()
    model = make(dtype, norm=["batch", None])
    model.fit(X, y, epochs=2)
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    (got, *_) = session.run(None, {"X": X.astype(dtype)})
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got, model.forward(X), rtol=tolerance, atol=tolerance)
    model.metadata = {"name": "ä"}
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    back = fastnn.onnx.load(tmp_path / "m.onnx")
    assert back.activations == model.activations and back.norm == [None, None]  # folded
    assert (back.metadata, back.seed) == (model.metadata, model.seed)
    for one, own in ((back.alpha, model.alpha), (back.W[1:], model.W[1:])):
        assert all(a is b is None or (a == b).all() for a, b in zip(one, own, strict=True))
    np.testing.assert_allclose(back.forward(X), model.forward(X), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: Parametric(Parametric("selu")), ValueError, "must not be parametric itself"),
        (lambda: Parametric("rellu"), ValueError, "activation must be one of identity"),
        (lambda: Parametric("softmax"), ValueError, "activation must be one of identity"),
        (
            lambda: fastnn.Model([2, 3], output=Parametric("selu")),
            ValueError,
            "output must not be parametric",
        ),
        (
            lambda: pytest.importorskip("torch") and fastnn.interop.to_torch(make()),
            ValueError,
            "must have no parametric activation for to_torch",
        ),
        (
            lambda: pytest.importorskip("sklearn") and fastnn.interop.to_sklearn(make()),
            ValueError,
            "must have one activation of identity",
        ),
    ],
)
def test_what_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_sklearn_refuses_it():
    pytest.importorskip("sklearn")
    from fastnn.sklearn import MLPClassifier

    X, y = data()
    with pytest.raises(ValueError, match="activation must not be parametric"):
        MLPClassifier((4,), activation=Parametric("relu")).fit(X, y)
