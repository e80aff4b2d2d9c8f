"""The input layer h[0] = s phi(x): reference, kernels, engine, and what users see of it."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
import reference as ref
from compiled import counted, engine_of, inputs_of
from test_engine import RATES, SETTINGS, assert_near
from test_reference import REAL, check_gradient, make

import fastnn
from fastnn.explain.passes import input_pass
from fastnn.kernels import _cpu, layer
from fastnn.random import keys

WIDER = {"float32": np.float64, "float64": np.longdouble}
EDGES = (-1.5, -0.75, 0.0, 0.125, 2.0), (-0.5, 0.5)
EVERY = (
    ("categories", (3,), 4, 5),
    ("periodic", (5, 0), 6, 3),
    ("piecewise", (1, 7), EDGES, None),
    ("categories", (4,), 3, None),
    ("piecewise", (6, 9), EDGES, 2),
)
NETS = {
    "periodic": ref.Net((3, 4, 2), "tanh", embeddings=(("periodic", (2, 0), 5, 2),)),
    "scale": ref.Net((3, 4, 2), "tanh", feature_scale=True),
    "every": ref.Net((10, 4, 2), "tanh", embeddings=EVERY),
    "every, scale": ref.Net((10, 4, 2), "tanh", embeddings=EVERY, feature_scale=True),
    "one layer": ref.Net((10, 3), (), embeddings=EVERY, feature_scale=True),
    "no plain column": ref.Net(
        *((2, 3, 1), "tanh", "identity"),
        embeddings=(("periodic", (1, 0), 17, 5),),
        bias=(False, True),
    ),
    "no parameters": ref.Net((10, 4, 2), "tanh", embeddings=EVERY[2:4]),
    "norm": ref.Net(
        *((10, 6, 2), "tanh"),
        norm=(("batch", 0.25, 0.5),),
        embeddings=EVERY,
        feature_scale=True,
    ),
}


def rows(net, n, seed=0, std=1.0):
    """X (n, n_0): codes, known and unknown, in the columns of categories."""
    rng = np.random.default_rng(seed)
    X = std * rng.standard_normal((n, net.sizes[0]))
    for kind, columns, codes, _ in net.embeddings:
        if kind == "categories":
            X[:, columns[0]] = rng.choice([*range(codes), -1, 0.5, codes, 1e9], n)
    return X


# --- The reference --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch", [1, 7])
def test_the_gradient_is_the_slope_of_the_loss(name, batch):
    net = NETS[name]
    theta, _, y = make(net, batch)
    X = rows(net, batch, std=0.1).astype(REAL)  # 2 pi w x is differentiated five times
    check_gradient(net, theta, X, y, np.arange(1, batch + 1))
    layers = ref.unpack(net, theta)
    phi, s = ref.unpack_inputs(net, theta)
    parts = [one for of in phi for part in of for one in part.values()]
    parts += [] if s is None else [s]
    assert np.array_equal(ref.pack(*layers, of_inputs=parts), theta)


def test_features_by_hand():
    net = ref.Net(
        *((5, 1), (), "identity"),
        embeddings=(
            ("piecewise", (3,), ((0, 1, 3, 4),), None),
            ("categories", (1,), 3, 2),
            ("periodic", (0,), 2, 1),
        ),
    )
    T = [[1, 2], [3, 4], [5, 6]]
    w, b, V, c = [0.25, 0.5], [0, np.pi], [[10, 100]], [1000]
    phi = [[{}], [{"T": np.array(T, float)}], [dict(w=w, b=b, V=np.array(V), c=np.array(c))]]
    phi[2][0] = {name: np.array(value, float) for name, value in phi[2][0].items()}
    x = np.array([[1.0, 2, 7, 2, 8], [2, -1, 7, -2, 8], [0, 0, 7, 6, 8]])
    want = [  # column 2, column 4, then by embedding
        [7, 8, 1, 0.5, 0, 5, 6, 1, 10 * 0 + 100 * 1 + 1000],
        [7, 8, -2, 0, 0, 0, 0, 2, 10 * -1 + 100 * -1 + 1000],
        [7, 8, 1, 1, 3, 1, 2, 0, 10 * 1 + 100 * -1 + 1000],
    ]
    np.testing.assert_allclose(ref.features(net, phi, x), want, atol=1e-12)


# --- Kernels --------------------------------------------------------------------------------------


def awkward_nets(dtype):
    nr, vl, _ = _cpu.panel_sizes(np.dtype(dtype).itemsize)
    for n in (1, vl - 1, vl, vl + 1, nr + 3):
        for width in (1, 3, vl, vl + 1, nr + 5):
            edges = tuple(tuple(np.cumsum([-n / 4, *[0.5] * m]).tolist()) for m in (n, 1))
            yield ref.Net(
                (7, 1),
                embeddings=(
                    ("periodic", (1, 4), n, width),
                    ("piecewise", (0, 5), edges, None),
                    ("categories", (3,), n, width),
                    ("piecewise", (6,), edges[:1], width),
                ),
                feature_scale=bool(n % 2),
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels(isa, dtype):
    u, wide = ref.unit_roundoff(dtype), WIDER[dtype]
    vl = _cpu.panel_sizes(np.dtype(dtype).itemsize)[1]
    for net in awkward_nets(dtype):
        for batch in (1, vl - 1, vl, vl + 1, 37):
            rng = np.random.default_rng(batch)
            X = rows(net, batch).astype(dtype)
            theta = rng.standard_normal(net.n_inputs).astype(dtype)
            n = net.widths[0]
            plain, h = np.full((2, batch, n), np.nan, dtype)
            description = inputs_of(net, dtype)
            layer.features(X, theta, plain, h, description)
            wide_X, wide_theta = X.astype(wide), theta.astype(wide)
            phi, s = ref.unpack_inputs(net, wide_theta)
            want, bound = ref.features(net, phi, wide_X), ref.features_bound(net, phi, wide_X, u)
            case = f"{net}, {batch} rows"
            assert (np.abs(plain - want) <= bound).all(), case
            scale = np.ones(n, dtype) if s is None else s.astype(dtype)
            assert np.array_equal(h, plain * scale), case

            delta = rng.standard_normal((batch, n)).astype(dtype)
            grad = np.full(net.n_inputs, np.nan, dtype)
            layer.features_gradient(X, theta, plain, delta, grad, description)
            of_phi = delta.astype(wide) * (1 if s is None else s)
            wants = ref.features_gradient(net, phi, wide_X, of_phi)
            bounds = ref.features_gradient_bound(net, phi, wide_X, of_phi, u)
            if s is not None:
                terms = np.abs(delta.astype(wide) * plain.astype(wide)).sum(0)
                wants.append((delta.astype(wide) * plain.astype(wide)).sum(0))
                bounds.append(ref.gamma(batch + 2, u) * terms)
            at = 0
            for want, bound in zip(wants, bounds, strict=True):
                got, at = grad[at : at + want.size].reshape(want.shape), at + want.size
                error = np.abs(got - want)
                assert (error <= bound).all(), f"{case}: {np.max(error / bound)}"
            assert at == len(grad)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cosines_of_any_angle(isa, dtype):
    """w x + b / (2 pi) in turns is reduced exactly: from the smallest to where all are whole."""
    net = ref.Net((1, 1), embeddings=(("periodic", (0,), 1, 1),))
    theta = np.array([1, 0, 1, 0], dtype)
    most = 2.0 ** (np.finfo(dtype).nmant + 3)
    some = np.geomspace(1e-30, most, 4001)
    quarters = np.arange(-40, 41) / 4
    x = np.concatenate([some, -some, quarters, most / 8 + quarters, [0]]).astype(dtype)[:, None]
    plain, h = np.full((2, len(x), 2), np.nan, dtype)
    layer.features(x, theta, plain, h, inputs_of(net, dtype))
    turns = x[:, 0].astype(WIDER[dtype])
    pi = 4 * np.arctan(turns.dtype.type(1))
    error = np.abs(plain[:, 1] - np.cos(2 * pi * (turns - np.round(turns))))
    assert error.max() <= 4 * ref.unit_roundoff(dtype)
    grad = np.empty(4, dtype)
    for start in range(0, 2 * len(some), 97):  # sin by its gradient
        one = slice(start, start + 1)
        delta = np.array([[0, 1]], dtype)
        layer.features_gradient(x[one], theta, plain[one], delta, grad, inputs_of(net, dtype))
        want = -np.sin(2 * pi * (turns[one] - np.round(turns[one])))[0]
        own = 0 if abs(turns[one]) < 0.25 else 8 * ref.unit_roundoff(WIDER[dtype])  # pi's
        assert abs(grad[1] - want) <= 4 * ref.unit_roundoff(dtype) * abs(want) + own + 1e-38


# --- The engine -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_passes_against_the_reference(isa, dtype, name):
    net, rng = NETS[name], np.random.default_rng(3)
    theta = (0.5 * rng.standard_normal(net.n_parameters)).astype(dtype)
    wide = theta.astype(np.longdouble)
    for i, n in enumerate([1, 2, 33, 300]):
        X = rows(net, n, seed=i).astype(dtype)
        y = rng.integers(0, net.sizes[-1], n).astype(np.int32)
        y = y if net.output == "softmax" else rng.random((n, 1)).astype(dtype)
        engine, threads = engine_of(net, dtype), 1 + i % 3
        running = ref.new_running(net, np.longdouble)
        statistics = np.concatenate([one for pair in running if pair for one in pair] or [[]])
        engine.load(theta, None, statistics.astype(dtype))
        out = np.full((n, net.sizes[-1]), np.nan, dtype)
        engine.forward(X, out, threads)
        wide_X = X.astype(np.longdouble)
        want = ref.forward(net, wide, wide_X, running=running)[1][-1]
        assert_near(out, want, dtype, f"forward of {name}, {n} rows")
        grad = np.full_like(theta, np.nan)
        loss = engine.gradient(X, y, grad, threads)
        want_loss, want = ref.loss_and_gradient(net, wide, wide_X, y, running=running)
        assert_near(np.array(loss), want_loss, dtype, f"loss of {name}")
        assert_near(grad, want, dtype, f"gradient of {name}, {n} rows")


GROUPS = {"factors": {"scale": 6.0, "embedding": 0.0, "table": 3.0, "b": 2.0}, "weight_decay": 8.0}


@pytest.mark.parametrize(
    "settings", [{}, GROUPS, *SETTINGS.values()], ids=["none", "groups", *SETTINGS]
)
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "rmsprop_centered_momentum"])
@pytest.mark.parametrize("batch", [1, 5, 700])
def test_training_against_the_reference(optimizer, settings, batch):
    rates = {**RATES[optimizer], **settings}
    rng = np.random.default_rng(0)
    sizes = (10, 3000, 2) if batch == 700 else (10, 5, 2)  # rows pass in chunks
    net = ref.Net(
        *(sizes, "tanh"),
        dropout=(0.25, 0.5),
        noise=(0.125, 0.0),
        embeddings=EVERY,
        feature_scale=True,
    )
    theta = 0.1 * rng.standard_normal(net.n_parameters)
    n = 2 * batch + 1
    X, y = rows(net, n), rng.integers(0, 2, n).astype(np.int32)
    order, losses, of = rng.permutation(n), np.full(3, np.nan), keys(5, net.K)
    want, want_state, want_losses = ref.train(
        net, theta.copy(), X, y, order, batch, optimizer, rates, None, 0, keys=of
    )
    for threads in (1, 2, 3):
        engine = engine_of(net, "float64", batch, optimizer)
        got, state = theta.copy(), np.zeros((engine.n_states, theta.size))
        engine.load(got, state)
        steps = engine.train(X, y, order, batch, rates, counted(), losses, threads, keys=of)
        assert steps == 3
        engine.store(got, state)
        assert_near(got, want, "float64", "theta")
        assert_near(losses, want_losses, "float64", "losses")
        if engine.n_states and "ntk" not in rates:  # the reference's are V's
            assert_near(state, want_state, "float64", "state")


def test_adam_moves_rows_of_a_table_that_a_mini_batch_does_not_use():
    """As PyTorch's of an embedding that is not sparse."""
    model = fastnn.Model([1, 2], embeddings=[fastnn.Categories(0, 3, 2)], seed=0)
    rules = dict(optimizer=fastnn.Adam(0.1), batch_size=2)
    model.partial_fit([[0], [1]], [0, 1], **rules)
    before = model.phi[0][0]["T"].copy()
    model.partial_fit([[0], [0]], [0, 1], **rules)
    after = model.phi[0][0]["T"]
    assert (after[1] != before[1]).all() and (after[2] == before[2]).all()


# --- What users see -------------------------------------------------------------------------------

OWN = [
    fastnn.Periodic([5, 0], 6),
    fastnn.PiecewiseLinear([1, 7], EDGES),
    fastnn.Categories(3, 4, 5),
    fastnn.Categories(4, 3),
    fastnn.PiecewiseLinear([6, 9], EDGES, 2),
]


def model_of(dtype="float32", sizes=(10, 8, 3), **settings):
    given = dict(activation="tanh", seed=3, embeddings=OWN, feature_scale=True) | settings
    return fastnn.Model(list(sizes), dtype=dtype, **given)


def some(n=60):
    net = ref.Net((10, 1), embeddings=EVERY)
    return rows(net, n), np.random.default_rng(1).integers(0, 3, n)


def test_theta_begins_with_the_embeddings_parameters():
    model = model_of()
    assert model.n_features == 2 + 2 * 4 + 4 + 1 + 5 + 3 + 2 * 2 and model.sizes == [10, 8, 3]
    assert model.W[0].shape == (8, model.n_features)
    flat = [one for of in model.phi for part in of for one in part.values()]
    flat += [model.s, model.W[0], model.b[0], model.W[1], model.b[1]]
    assert np.concatenate([one.ravel() for one in flat]).tobytes() == model.theta.tobytes()
    assert [list(part) for part in model.phi[0]] == [["w", "b", "V", "c"]] * 2
    assert model.phi[0][0]["V"].shape == (3, 6) and model.phi[1] == [{}, {}]
    assert [part["T"].shape for part in model.phi[4]] == [(4, 2), (1, 2)]
    assert (model.s == 1).all()
    model.phi[2][0]["T"][:] = 7  # a view
    assert (model.theta == 7).sum() == 20
    plain = fastnn.Model([10, 8, 3], "tanh", seed=3)
    assert plain.phi == [] and plain.s is None and plain.n_features == 10


def test_first_parameters():
    model = model_of("float64", embeddings=[fastnn.Periodic(range(10), 400, 30, std=0.25)])
    w, b, V, c = (np.array([part[name] for part in model.phi[0]]) for name in "wbVc")
    assert abs(w.std() / 0.25 - 1) < 0.05 and abs(w.mean()) < 0.02
    assert 3.1 < abs(b).max() < np.pi and abs(b.mean()) < 0.1
    for one in (V, c):
        assert 0.045 < abs(one).max() <= 0.05 and abs(one.mean()) < 0.01
    assert len({w[0, 0], w[1, 0], b[0, 0], b[1, 0], V[0, 0, 0], c[0, 0]}) == 6
    table = model_of("float64", embeddings=[fastnn.Categories(0, 500, 20)]).phi[0][0]["T"]
    assert abs(table.std() - 1) < 0.05 and abs(table.mean()) < 0.05
    map_ = model_of("float64", embeddings=[fastnn.PiecewiseLinear([0], range(26), 30)]).phi[0][0]
    assert 0.19 < abs(map_["T"]).max() <= 0.2 and abs(map_["c"]).max() <= 0.2
    again = model_of("float64", embeddings=[fastnn.PiecewiseLinear([0], range(26), 30)])
    assert again.phi[0][0]["T"].tobytes() == map_["T"].tobytes()


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_every_way_to_ask_gives_the_same(norm):
    X, y = some()
    model = model_of(norm=norm)
    model.fit(X, y, epochs=2, batch_size=7, optimizer="adam")
    f = model.forward(X)
    assert np.array_equal(np.argmax(f, 1), model.predict(X))
    predictor = model.predictor()
    own = X.astype("f4")
    for i in (0, 1, 59):
        assert predictor(own[i]).tobytes() == f[i].tobytes()
        assert predictor(X[i]).tobytes() == f[i].tobytes()
    assert model.forward(np.asfortranarray(X)).tobytes() == f.tobytes()
    assert predictor(own[3:20]).tobytes() == f[3:20].tobytes()
    assert pickle.loads(pickle.dumps(model)).forward(X).tobytes() == f.tobytes()
    assert pickle.loads(pickle.dumps(predictor))(own).tobytes() == f.tobytes()
    assert model.network_only().forward(X).tobytes() == f.tobytes()
    loss = -np.log(f[np.arange(60), y].astype(float)).mean()
    assert abs(model.evaluate(X, y)["loss"] - loss) < 1e-5
    assert model.gradient_check(X[:9], y[:9]) < 1e-6


# --- What prediction looks up ---------------------------------------------------------------------

LOOKED_UP = {  # embeddings, and whether the features of one-hot codes come last, in their order
    "some": ([fastnn.Periodic([5, 0], 6), fastnn.Categories(3, 4), fastnn.Categories(4, 3)], True),
    "tables": ([fastnn.Categories(4, 3, 2), fastnn.Categories(3, 4)], True),
    "one between": ([fastnn.Categories(4, 3), fastnn.Categories(3, 4, 5)], False),
    "bins": ([fastnn.PiecewiseLinear([1, 7], EDGES), fastnn.Periodic([0])], False),
    "all": (OWN, False),
}


def of_features(model, X):
    """The network behind the input layer, and what it takes."""
    sizes = [model.n_features, *model.sizes[1:]]
    plain = fastnn.Model(sizes, "tanh", seed=0, dtype=model.dtype)
    plain.theta[:] = model.theta[-len(plain.theta) :]
    return plain, input_pass(model._network, model.theta, X)[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [3, 70])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("name", LOOKED_UP)
def test_what_is_looked_up_is_what_products_give(isa, name, scale, hidden, dtype):
    embeddings, same_bits = LOOKED_UP[name]
    sizes = [10, hidden, 3]
    model = model_of(dtype, sizes, embeddings=embeddings, feature_scale=scale)
    if scale:
        model.s[:] = np.linspace(-2, 3, len(model.s))
    X, _ = some(300)
    ends = [-40, *EDGES[0][:3], EDGES[0][-1], 40, *EDGES[1]]
    X[:8, [1, 7, 6, 9]] = np.array(ends)[:, None]
    X = np.where(abs(X) > 1e8, -1, X).astype(dtype)
    plain, features = of_features(model, X)
    f, want = model.forward(X), plain.forward(features)
    if same_bits:
        assert f.tobytes() == want.tobytes()
    np.testing.assert_allclose(f, want, rtol=2e-4 if dtype == "float32" else 1e-12)
    predictor = model.predictor()
    for i in (0, 7, 11, 299):
        assert predictor(X[i]).tobytes() == f[i].tobytes()


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
def test_columns_that_are_all_looked_up(norm):
    own = [fastnn.Categories(0, 5), fastnn.PiecewiseLinear([1], [0, 1, 3])]
    model = fastnn.Model([2, 33, 2], embeddings=own, feature_scale=True, norm=norm, seed=1)
    X = np.array([[0, -1], [4, 0.5], [-1, 2], [7, 9], [3, 3]], np.float32)
    f, predictor = model.forward(X), model.predictor()
    for i in range(5):
        assert predictor(X[i]).tobytes() == f[i].tobytes()
    assert f[2].tobytes() != f[3].tobytes()
    X[3, 0] = np.inf
    for bad in (X, X[3]):
        with pytest.raises(ValueError, match="finite"):
            predictor(bad)


@pytest.mark.parametrize("hidden", [3, 70])  # whose weights lie turned in training, or not
@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_fit_measures_what_evaluate_does(norm, hidden):
    X, y = some()
    model = model_of(norm=norm, sizes=[10, hidden, 3])
    before = model.theta.copy()
    for _ in range(2):
        history = model.fit(X, y, epochs=1, batch_size=9, validation_data=(X, y))
        assert history["val_loss"][-1] == model.evaluate(X, y)["loss"]
    assert (before != model.theta).any()


def test_integers_are_codes_and_numbers():
    X = np.array([[0, 3], [1, -2], [2, 5], [7, 1]])
    model = fastnn.Model(
        [2, 3, 2], embeddings=[fastnn.Categories(0, 3, 2), fastnn.Periodic([1])], seed=0
    )
    f = model.forward(X)
    assert f.tobytes() == model.forward(X.astype("f4")).tobytes()
    assert f.tobytes() == model.forward(X.astype("i1")).tobytes()


def test_first_weights_from_data_see_what_layer_1_sees():
    X, _ = some()
    model = model_of("float64", feature_scale=False)
    before = model.theta[: model._network.s.start].copy()
    model.initialize(X)
    assert model.theta[: model._network.s.start].tobytes() == before.tobytes()
    plain = fastnn.Model([model.n_features, 8, 3], "tanh", dtype="float64", seed=3)
    plain.initialize(input_pass(model._network, model.theta, X)[1])
    for k in range(2):
        assert plain.W[k].tobytes() == model.W[k].tobytes()
        assert plain.b[k].tobytes() == model.b[k].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("embeddings", [OWN, OWN[:1], OWN[2:4], []])
def test_onnx(tmp_path, dtype, embeddings):
    runtime = pytest.importorskip("onnxruntime")
    X, y = some()
    X = np.where(X > 1e8, -1, X).astype(dtype)
    model = model_of(dtype, embeddings=embeddings)
    model.fit(X, y, epochs=2, optimizer="adam")
    fastnn.onnx.export(model, tmp_path / "m.onnx")
    session = runtime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    f = session.run(None, {"X": X})
    want = model.forward(X)
    of_run = next(one for one in f if one.shape == want.shape)
    np.testing.assert_allclose(of_run, want, rtol=0, atol=2e-5 if dtype == "float32" else 1e-12)
    back = fastnn.onnx.load(tmp_path / "m.onnx")
    assert back.theta.tobytes() == model.theta.tobytes() and repr(back) == repr(model)
    assert back.forward(X).tobytes() == want.tobytes()


def test_summary_and_info_count_the_input_layer(tmp_path, run):
    model = model_of()
    lines = model.summary().splitlines()
    assert lines[2].startswith("0      periodic, piecewise, categories, categories, piecewise, sc")
    counts = [int(line.split()[-2].replace(",", "")) for line in lines[2:]]
    assert counts[-1] == sum(counts[:-1]) == model.n_parameters
    model.save(tmp_path / "m.safetensors")
    status, out, _ = run("info", tmp_path / "m.safetensors")
    assert status == 0 and "inputs      Periodic(columns=(5, 0), frequencies=6" in out
    assert "feature_scale" in out


def test_lbfgs_trains_the_input_layer():
    X, y = some()
    model = model_of("float64")
    before = model.theta.copy()
    history = model.fit(X, y, epochs=20, optimizer="lbfgs")
    assert history.loss[-1] < history.loss[0] / 2
    moved = model.theta != before
    assert moved[model._network.s].all() and moved[: model._network.s.start].mean() > 0.9


def test_numbers_that_are_not_finite_are_refused():
    X, y = some()
    model = model_of()
    for column in range(10):
        bad = X.astype("f4")
        bad[17, column] = np.nan
        for call in (model.forward, model.predict, model.predictor(), lambda x: model.fit(x, y)):
            with pytest.raises(ValueError, match="must be finite"):
                call(bad)
        with pytest.raises(ValueError, match="must be finite"):
            model.predictor()(bad[17])


def test_weight_decay_takes_embeddings_and_scales_for_weights():
    """As pytabkit's RealMLP does; biases are what decay_bias=False exempts."""
    model = model_of("float64")
    X, y = some()
    before = model.theta.copy()
    rule = fastnn.AdamW(1e-9, weight_decay=1e8, decay_bias=False)
    model.partial_fit(X, y, batch_size=60, optimizer=rule)
    weights = slice(0, model._network.layers[0].W.stop)
    np.testing.assert_allclose(model.theta[weights], 0.9 * before[weights], atol=1e-8)
    assert np.abs(model.b[0]).max() < 1e-8


def test_wrong_arguments():
    for make_one, error, message in [
        (lambda: fastnn.Periodic(3), TypeError, "columns must be a list"),
        (lambda: fastnn.Periodic([]), ValueError, "at least one column"),
        (lambda: fastnn.Periodic([-1]), ValueError, "each of columns must be at least 0, got -1"),
        (lambda: fastnn.Periodic([0], 0), ValueError, "frequencies must be at least 1"),
        (lambda: fastnn.Periodic([0], width=0), ValueError, "width must be at least 1"),
        (lambda: fastnn.Periodic([0], std=0), ValueError, "std must be above 0"),
        (lambda: fastnn.PiecewiseLinear([0, 1], [[0, 1]]), ValueError, "for each of the 2 columns"),
        (lambda: fastnn.PiecewiseLinear([0], [[0]]), ValueError, "two finite numbers at least"),
        (lambda: fastnn.PiecewiseLinear([0], [[0, 1, 1]]), ValueError, "must rise, got 1.0 before"),
        (lambda: fastnn.PiecewiseLinear([4], [[0, np.nan]]), ValueError, "edges of column 4"),
        (lambda: fastnn.PiecewiseLinear([4], [3]), ValueError, "edges of column 4"),
        (lambda: fastnn.PiecewiseLinear([4], 3), TypeError, "edges must be a list"),
        (lambda: fastnn.PiecewiseLinear([4], [["a", "b"]]), TypeError, "edges of column 4"),
        (lambda: fastnn.PiecewiseLinear([4], ["01"]), TypeError, "4 must be a list of numbers"),
        (lambda: fastnn.Categories(0, 0), ValueError, "n must be at least 1"),
        (lambda: fastnn.Categories([0], 3), TypeError, "column must be an integer"),
        (lambda: model_of(embeddings=[3]), TypeError, "embeddings must be a list of"),
        (lambda: model_of(embeddings=OWN[0]), TypeError, "embeddings must be a list of"),
        (lambda: model_of(embeddings=[fastnn.Periodic([10])]), ValueError, "columns 0 to 9, got 1"),
        (lambda: model_of(embeddings=OWN + OWN[:1]), ValueError, "got 5 twice"),
        (lambda: model_of(input_scale=0.5), ValueError, "input_scale must be 1 where codes"),
        (lambda: model_of(feature_scale=1), TypeError, "feature_scale must be True or False"),
        (
            lambda: model_of(embeddings=[fastnn.PiecewiseLinear([0], [[1, 1 + 1e-9]])]),
            *(ValueError, "edges of column 0 must be apart in float32"),
        ),
        (
            lambda: fastnn.Model([None, 4, None], embeddings=OWN),
            *(ValueError, "embeddings must have a network whose columns are known"),
        ),
    ]:
        with pytest.raises(error, match=message):
            make_one()


def test_sparse_rows_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = some()
    X = sparse.csr_array(X)
    for model in (model_of(), model_of(embeddings=[])):
        for call in (model.forward, model.predictor(), functools.partial(model.fit, y=y)):
            with pytest.raises(ValueError, match="X must be dense where the network has embed"):
                call(X)


def test_saved_and_gone_on(tmp_path):
    X, y = some()
    whole, half = model_of(), model_of()
    fit = dict(batch_size=7, optimizer="adam")
    whole.fit(X, y, epochs=4, **fit)
    half.fit(X, y, epochs=2, **fit)
    half.save(tmp_path / "half")
    half = fastnn.load(tmp_path / "half")
    assert half.embeddings == OWN and half.feature_scale and repr(half) == repr(model_of())
    half.fit(X, y, epochs=2, **fit)
    assert half.theta.tobytes() == whole.theta.tobytes()
    assert half.forward(X).tobytes() == whole.forward(X).tobytes()


@pytest.mark.parametrize(
    "settings",
    [
        {"feature_scale": True},
        {"embeddings": [fastnn.Categories(3, 4)]},
        {"embeddings": [fastnn.Categories(3, 4, width=2), fastnn.Periodic([0], 3)]},
    ],
)
def test_steps_on_single_rows_see_the_features(settings):
    """Plain SGD on rows alone has a path of its own, which knows X alone: not this one."""
    rng = np.random.default_rng(0)
    X, y = np.c_[rng.standard_normal((12, 3)), rng.integers(-1, 4, 12)], rng.integers(0, 3, 12)
    model, twin, fitted = (
        fastnn.Model([4, 8, 3], dtype="float64", seed=0, **settings) for _ in range(3)
    )
    for i in range(12):
        grad = twin.loss_and_gradient(X[i : i + 1], y[i : i + 1])[1]
        twin.theta -= 0.05 * grad
        model.partial_fit(X[i : i + 1], y[i : i + 1], learning_rate=0.05)
    fitted.fit(X, y, epochs=1, batch_size=1, shuffle=False, learning_rate=0.05)
    np.testing.assert_allclose(model.theta, twin.theta, rtol=0, atol=1e-14)
    np.testing.assert_allclose(fitted.theta, twin.theta, rtol=0, atol=1e-14)
