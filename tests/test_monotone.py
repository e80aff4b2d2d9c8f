"""Networks and estimators held to rise or fall with columns: the step against the reference, bounds
on the derivative, predictions along each column, and what is refused."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import reference as ref
from compiled import counted, engine_of

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.network.activations import SLOPES, slopes
from fastnn.network.spec import as_network
from fastnn.tabular import Pack, Recipe
from fastnn.tabular.monotone import prove

FAST = {"optimizer": fastnn.Adam(fastnn.OneCycle(0.03)), "epochs": 12, "batch_size": 32}
PACK = Pack(
    (
        Recipe((16, 12), feature_scale=True, weights="normal", label_smoothing=0.1, **FAST),
        Recipe((12,), "tanh", frequencies=5, weights="data", dropout=0.1, **FAST),
    ),
    n_folds=3,
)


# --- the step


def held(sizes, seed, **options):
    """A network of so many units with random directions."""
    rng = np.random.default_rng(seed)
    directions = tuple(tuple(rng.integers(-1, 2, n).tolist()) for n in sizes)
    return ref.Net(sizes, "tanh", "identity", directions=directions, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("rates", [{}, {"max_norm": 0.5}, {"clip_norm": 0.25, "ntk": True}])
def test_a_step_against_the_reference(isa, dtype, batch, rates):
    """Weights of a wrong sign are 0 after it, the others as without; widths of one, of primes, of
    few outputs, that lie turned."""
    rates = {"learning_rate": 0.002, "momentum": 0.5, **rates}
    for seed, sizes in enumerate([(7, 33, 17, 2), (40, 1, 3), (3, 5), (17, 16, 64, 1)]):
        net = held(sizes, seed, feature_scale=seed % 2 == 0)
        rng = np.random.default_rng(seed)
        theta = 0.3 * rng.standard_normal(net.n_parameters).astype(dtype)
        X, y = (rng.standard_normal((64, n)).astype(dtype) for n in (sizes[0], sizes[-1]))
        want, *_ = ref.train(net, theta, X, y, np.arange(64), batch, "momentum", rates)
        results = []
        for threads in (1, 2, 3):
            engine = engine_of(net, dtype, batch, "momentum")
            engine.load(theta, np.zeros((1, theta.size), dtype))
            losses, order = np.full(-(-64 // batch), np.nan), np.arange(64)
            engine.train(X, y, order, batch, rates, counted(), losses, threads)
            got = np.full_like(theta, np.nan)
            engine.store(got)
            results.append(got.tobytes())
        assert results[0] == results[1] == results[2]
        tolerance = 2e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
        W = ref.unpack(net, got)[0]
        for k in range(1, net.K + 1):
            ends, inputs = (np.array(net.directions[i]) for i in (k, k - 1))
            assert ((W[k] * ends[:, None] * inputs > 0) | (W[k] == 0) | (inputs == 0)).all()
        assert (ref.oriented(net, got) == got).all() and (ref.oriented(net, theta) != theta).any()


def test_a_diverging_weight_is_not_hidden():
    model = fastnn.Model([3, 4, 1], "identity", "identity", monotone={0: 1}, seed=0)
    with pytest.raises(fastnn.DivergenceError):
        model.fit(np.ones((8, 3)), np.ones(8), learning_rate=1e30, epochs=5)


# --- bounds


def test_slopes_hold():
    """g' of each activation on a fine grid, against the reference; bounds are met."""
    a = np.concatenate([np.linspace(-12, 12, 200_001), [-80.0, 80.0]])
    for name in ref.G:
        if name == "exp":
            continue
        for g in [name] if name in SLOPES else [fastnn.LeakyReLU, fastnn.ELU]:
            values = [0.0, 0.3, 2.5] if name not in SLOPES else [None]
            for value in values:
                if name not in SLOPES:
                    kind = {"leaky_relu": fastnn.LeakyReLU, "elu": fastnn.ELU}[name]
                    g = kind(value)
                low, high = slopes(g)
                slope = ref.DG[name](a) if value is None else ref.DG[name](a, value)
                assert low <= slope.min() and slope.max() <= high, name
                assert slope.min() - low < 2e-3 and high - slope.max() < 2e-3, name


EMBEDDINGS = [
    fastnn.Periodic([1], 4),
    fastnn.PiecewiseLinear([2], [-1, -0.5, 0, 2]),
    fastnn.PiecewiseLinear([3], [-1, 0.25, 1], 3),
]


@pytest.mark.parametrize("activation", ["mish", "selu", fastnn.Parametric("silu"), "gelu"])
@pytest.mark.parametrize("embeddings", [[], EMBEDDINGS])
def test_derivatives_lie_within_their_bounds(activation, embeddings):
    how = {"embeddings": embeddings, "feature_scale": True, "dtype": "float64", "seed": 3}
    model = fastnn.Model([5, 6, 5, 2], activation, "identity", **how)
    rng = np.random.default_rng(0)
    model.theta[:] = rng.normal(size=model.theta.size)
    low, high = model.derivative_bounds()
    x, e = 2 * rng.normal(size=(3000, 5)), 1e-6
    most = np.zeros((2, 5))
    for j in range(5):
        step = e * np.eye(5)[j]
        slope = (model.forward(x + step) - model.forward(x - step)) / (2 * e)
        assert (slope >= low[:, j] - 1e-6).all() and (slope <= high[:, j] + 1e-6).all()
        most[:, j] = slope.max(0)
    assert (low < 0).all() and (most > 0.01 * high).any()


def test_bounds_of_a_line_are_its_slopes():
    model = fastnn.Model([3, 2], output="identity", feature_scale=True, seed=0)
    model.s[:] = [2, -1, 0.5]
    low, high = model.derivative_bounds()
    np.testing.assert_allclose(low, model.W[0] * model.s, rtol=1e-6)
    assert (low == high).all()
    coded = fastnn.Model([2, 3, 2], embeddings=[fastnn.Categories(0, 4)])
    low, high = coded.derivative_bounds()
    assert (low[:, 0] == -np.inf).all() and (high[:, 0] == np.inf).all()
    assert np.isfinite([low[:, 1], high[:, 1]]).all()
    with pytest.raises(ValueError, match="without normalisation"):
        fastnn.Model([2, 3, 2], norm="batch").derivative_bounds()


# --- models


def along(predict, X, j, values):
    """Predictions of rows (n_values, n, ...), column j holding one value after another."""
    found = []
    for value in values:
        moved = X.copy()
        moved[:, j] = value
        found.append(predict(moved))
    return np.array(found)


SIGNS = {0: 1, 2: -1, 3: 1}
VALUES = np.concatenate([[-1e6, -30], np.linspace(-4, 4, 60), [30, 1e6]])


@pytest.mark.parametrize("output", ["identity", "softmax", "sigmoid"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_rises_and_falls_against_its_data(output, dtype):
    """Trained on the contrary it can do no more than stay where it is."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    f = -2 * X[:, 0] + 2 * np.tanh(X[:, 2]) - X[:, 3] + np.sin(3 * X[:, 1]) * (1 + X[:, 4])
    y = f if output == "identity" else (f > 0).astype(int)
    how = {"monotone": SIGNS, "dtype": dtype, "seed": 0, "feature_scale": True}
    edges = [-1, -0.25, 0.5, 2]
    how["embeddings"] = [fastnn.PiecewiseLinear([3], edges), fastnn.Periodic([1], 4)]
    model = fastnn.Model([5, 24, 16, 1 + (output == "softmax")], "selu", output, **how)

    def rises():
        low, high = model.derivative_bounds()
        if output == "softmax":
            low, high = low[1:] - high[:1], high[1:] - low[:1]
        return all((low[0, j] if sign > 0 else -high[0, j]) >= 0 for j, sign in SIGNS.items())

    assert rises()  # first weights, too
    model.fit(X, y, epochs=15, batch_size=32, optimizer=fastnn.Adam(0.01))
    assert rises()
    for j, sign in SIGNS.items():
        p = along(lambda X: model.forward(X)[:, -1], X[:50], j, VALUES)
        step = sign * np.diff(p.astype(np.float64), axis=0)
        # exp is a polynomial: rises within its last bits
        assert step.min() >= -4 * np.finfo(dtype).eps * np.abs(p).max()
    others = along(lambda X: model.forward(X)[:, -1], X[:50], 1, np.linspace(-2, 2, 9))
    assert np.ptp(others, axis=0).max() > 0.1  # others act as they like


def test_it_is_saved_shown_and_copied(tmp_path):
    model = fastnn.Model([4, 8, 1], "selu", "identity", monotone={1: -1}, seed=0)
    assert model.monotone == {1: -1} and "monotone={1: -1}" in repr(model)
    assert fastnn.Model([4, 8, 1], "selu", "identity", monotone=[0, -1, 0, 0], seed=0) is not None
    model.save(tmp_path / "m")
    back = fastnn.load(tmp_path / "m")
    assert back.monotone == {1: -1} and repr(back) == repr(model)
    X, y = np.random.default_rng(0).normal(size=(2, 60, 4))
    for one in (model, back):
        one.fit(X, y[:, :1], epochs=3, optimizer="adam")
    assert back.theta.tobytes() == model.theta.tobytes()
    assert (back.derivative_bounds()[1][:, 1] <= 0).all()
    free = fastnn.Model([4, 8, 1], "selu", "identity", monotone={}, seed=0)
    assert free.monotone == {} and "monotone" not in repr(free)
    same = fastnn.Model([4, 8, 1], "selu", "identity", seed=0)
    assert free.theta.tobytes() == same.theta.tobytes()


def test_onnx_brings_it_back(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    for how in ({}, {"feature_scale": True}):
        model = fastnn.Model([3, 8, 1], "selu", "identity", monotone={2: 1}, seed=0, **how)
        fastnn.onnx.export(model, tmp_path / "m.onnx")
        back = fastnn.onnx.load(tmp_path / "m.onnx")
        assert back.monotone == {2: 1} and back.theta.tobytes() == model.theta.tobytes()


def test_first_weights_keep_signs_and_given_ones_must():
    for init in (None, "orthogonal", "he_normal"):
        model = fastnn.Model([3, 8, 8, 1], "tanh", "identity", init=init, monotone={0: 1}, seed=1)
        assert (model.derivative_bounds()[0][:, 0] >= 0).all()
        assert (model.W[1] != 0).mean() > 0.6
    model = fastnn.Model([3, 8, 8, 1], "tanh", "identity", monotone={0: 1}, seed=1)
    model.initialize(np.random.default_rng(0).normal(size=(50, 3)))
    assert (model.derivative_bounds()[0][:, 0] >= 0).all()
    with pytest.raises(ValueError, match="W of layer 1 must have the signs that monotone asks for"):
        fastnn.Model([2, 1], output="identity", init=[[[-1.0, 1.0]]], monotone={0: 1})
    given = fastnn.Model([2, 1], output="identity", init=[[[-1.0, 1.0]]], monotone={0: -1})
    assert given.W[0].tolist() == [[-1, 1]]


def test_what_a_model_refuses():
    def make(sizes=(3, 4, 1), activation="selu", output="identity", **options):
        return fastnn.Model(list(sizes), activation, output, **{"monotone": {0: 1}, **options})

    for call, error, why in (
        (lambda: make(activation="mish"), ValueError, "activations that never fall"),
        (lambda: make(activation=fastnn.Parametric("selu")), ValueError, "never fall"),
        (lambda: make(output="silu"), ValueError, "never fall"),
        (lambda: make((3, 4, 3), output="softmax"), ValueError, "two classes at most, got 3"),
        (lambda: make(norm="layer"), ValueError, "without normalisation"),
        (lambda: make(embeddings=[fastnn.Periodic([0])]), ValueError, "no embedding but a Piece"),
        (lambda: make(monotone={3: 1}), ValueError, "columns 0 to 2, got 3"),
        (lambda: make(monotone={0: 2}), ValueError, r"must be 1 \(rises\), -1 \(falls\) or 0"),
        (lambda: make(monotone={0: True}), ValueError, "must be 1"),
        (lambda: make(monotone=[1, 0]), TypeError, "a list of one sign for each of the 3 columns"),
        (lambda: make(monotone="x"), TypeError, "monotone must be a dict"),
        (lambda: fastnn.Model([None, 4, None], monotone={0: 1}), ValueError, "known: give sizes"),
    ):
        with pytest.raises(error, match=why):
            call()
    with pytest.raises(ValueError, match="LBFGS must have a network without monotone"):
        make().fit(np.zeros((4, 3)), np.zeros(4), optimizer="lbfgs")


# --- estimators


def people(n=300, seed=0):
    """Columns of every kind, some cells missing; what is learned falls with age in truth."""
    rng = np.random.default_rng(seed)
    age, income = rng.normal(40, 10, n), rng.normal(size=n)
    grade = rng.choice(["low", "mid", "high"], n)
    colour = rng.choice(["red", "blue", "green"], n).astype(object)
    amount = -0.1 * age + np.tanh(2 * income) - (grade == "high") + (colour == "red")
    X = {"age": age, "income": income, "grade": grade.astype(object), "colour": colour}
    X["wave"] = rng.normal(size=n)
    X["age"][::11], X["grade"][::19] = np.nan, None
    return X, amount + np.sin(3 * X["wave"]) + 0.2 * rng.normal(size=n)


ORDERED = {"ordered": {"grade": ["low", "mid", "high"]}, "recipe": PACK, "random_state": 0}
HELD = {"age": 1, "income": 1, "grade": -1}  # age: against the data


def steps(model, X, name):
    """Least step, in the column's sense, of the answers along it; and how far they go."""
    amounts = isinstance(model, TabularRegressor)
    answer = model.predict if amounts else lambda X: model.predict_proba(X)[:, 1]
    values = ["low", "mid", "high"] if name == "grade" else np.linspace(-50, 150, 41)
    values = values if name != "income" else np.linspace(-3, 3, 41)
    found = []
    for value in values:
        cells = np.full(len(X["age"]), value, object if name == "grade" else float)
        found.append(answer({**X, name: cells}))
    moves = HELD[name] * np.diff(found, axis=0)
    return moves.min() / (np.abs(found).max() + 1), np.ptp(found, axis=0).mean()


@pytest.fixture(scope="module")
def fitted():
    X, amount = people()
    return (
        TabularRegressor(monotone=HELD, **ORDERED).fit(X, amount),
        TabularClassifier(monotone=HELD, **ORDERED).fit(X, amount > np.median(amount)),
    )


def test_an_ensemble_is_monotone(fitted, tmp_path):
    X, amount = people(80, seed=1)
    for model in fitted:
        model.save(tmp_path / "m")
        for one in (model, fastnn.load(tmp_path / "m")):
            told = one.summary().split("monotone  ")[1].splitlines()[:3]
            assert [*map(str.strip, told)] == [
                *("rises with age", "rises with income", "falls with grade")
            ]
            for name in HELD:
                least, size = steps(one, X, name)
                assert least >= -1e-6
                assert name == "age" or size > 0.01
    free = TabularRegressor(**ORDERED).fit(*people())
    assert steps(free, X, "age")[0] < -1e-3 and "monotone" not in free.summary()
    assert fitted[0].score(X, amount) > 0.2  # of what the other columns tell


def test_missing_cells_are_free(fitted):
    """What a missing age says is learned by itself."""
    X, _ = people(50, seed=1)
    known = fitted[0].predict({**X, "age": np.full(50, 40.0)})
    missing = fitted[0].predict({**X, "age": np.full(50, np.nan)})
    assert np.abs(known - missing).max() > 1e-3


def test_compressing_keeps_it(fitted):
    X, amount = people()
    for model, y in zip(fitted, (amount, amount > np.median(amount)), strict=True):
        one = model.compress(X, y)
        assert len(one._ensemble.members) == 1 and one.monotone == HELD
        assert all(steps(one, X, name)[0] >= -1e-6 for name in HELD)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_recipes_give_way_to_selu(task):
    """RealMLP-TD has mish, trained activations, and periodic embeddings, all of which fall."""
    from fastnn.tabular.recipes import td

    recipe = Pack((td(task),), n_folds=1)
    recipe = Pack(tuple(one.__class__(**{**vars(one), "epochs": 3}) for one in recipe.recipes), 1)
    X, amount = people(120)
    kind = TabularRegressor if task == "regression" else TabularClassifier
    model = kind(recipe=recipe, monotone={"income": 1}, random_state=0)
    model.fit(X, amount if task == "regression" else amount > np.median(amount))
    network = model._ensemble.members[0]._network
    assert set(network.activations) == {"selu"}
    assert network.embeddings[0].columns == (0, 5)  # age and wave, but not income
    assert steps(model, X, "income")[0] >= -1e-6


def test_columns_of_arrays_have_numbers(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    y = X[:, 0] + np.sin(3 * X[:, 1])
    a = TabularRegressor(recipe=PACK, monotone={0: 1, 2: 0}, random_state=0).fit(X, y)
    b = TabularRegressor(recipe=PACK, monotone={"x0": 1}, random_state=0).fit(X, y)
    assert np.array_equal(a.predict(X), b.predict(X))
    p = along(a.predict, X, 0, np.linspace(-3, 3, 30))
    assert np.diff(p, axis=0).min() >= -1e-6


def test_what_an_estimator_refuses():
    X, amount = people()
    two = amount > np.median(amount)
    three = np.digitize(amount, np.quantile(amount, [0.3, 0.6]))
    for monotone, y, error, why in (
        ({"age": 1}, three, ValueError, "two classes, of which the second rises: got 3 classes"),
        ({"agee": 1}, two, ValueError, 'columns of X, "age", .* got \'agee\''),
        ({"age": 1.5}, two, ValueError, 'monotone of "age" must be 1'),
        ({"colour": 1}, two, ValueError, "must be numbers or ordered categories"),
        (["age"], two, TypeError, "must be a dict of column"),
    ):
        model = TabularClassifier(recipe=PACK, monotone=monotone)
        with pytest.raises(error, match=why):
            model.fit(X, y)
        assert not model.__sklearn_is_fitted__()


@pytest.mark.parametrize(
    ("output", "theta"),
    [("identity", [2, -1, 0]), ("softmax", [-1, 1, 1, 0, 0, 0])],  # the second of two rises by 2
)
def test_an_ensemble_that_is_not_monotone_is_not_handed_out(output, theta):
    model = fastnn.Model([2, 1 if output == "identity" else 2], output=output)
    model.theta = np.array(theta, np.float32)
    members = [model.predictor()]
    prove(members, {0: 1, 1: -1})
    prove(members, {})
    for wrong in ({0: 1, 1: 1}, {1: 1}):
        with pytest.raises(RuntimeError, match="feature 1 is not monotone"):
            prove(members, wrong)
    with pytest.raises(RuntimeError, match="feature 0 is not monotone"):
        prove(members, {0: -1})


def test_directions_are_the_papers_signs():
    """Every path from a held column to the output has the product of signs that it must have."""
    network = as_network([3, 5, 4, 2], "selu", "softmax", None, True, "float64", monotone={1: -1})
    features, *hidden, outputs = network.directions
    assert features.tolist() == [0, -1, 0] and outputs.tolist() == [-1, 1]
    assert [one.tolist() for one in hidden] == [[1, 0, -1, 0, 1], [1, 0, -1, 0]]
    for i, j, o in product(range(5), range(4), range(2)):
        ways = [hidden[0][i] * features[1], hidden[1][j] * hidden[0][i], outputs[o] * hidden[1][j]]
        assert np.prod(ways) in (0, features[1] * outputs[o])
