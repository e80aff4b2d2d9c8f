"""Model: what it is, what it predicts, what it refuses; a failed call changes nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import reference as ref
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn.kernels import _cpu

OUTPUTS = list(_cpu.OUTPUTS)


def state(model):
    p = model._parameters
    return p.theta.tobytes(), p.optimizer, p.state.tobytes(), p.epoch


# What it is


def test_attributes():
    model = fastnn.Model(
        (3, 4, np.int64(5), 2), ["relu", "tanh"], bias=[True, False, True], dtype=np.float64, seed=7
    )
    assert model.sizes == [3, 4, 5, 2]
    assert model.activations == ["relu", "tanh"]
    assert (model.output, model.loss) == ("softmax", "cross_entropy")
    assert model.bias == [True, False, True]
    assert (model.dtype, model.seed, model.n_threads) == ("float64", 7, None)
    assert model.n_parameters == model.theta.size == 12 + 4 + 20 + 10 + 2
    assert repr(model) == (
        "Model([3, 4, 5, 2], activation=['relu', 'tanh'], output='softmax', "
        "loss='cross_entropy', bias=[True, False, True], dtype='float64', seed=7)"
    )


def test_activations_with_parameters():
    for other in ("leaky_relu", fastnn.LeakyReLU(), [fastnn.LeakyReLU(0.01)]):
        model = fastnn.Model([2, 3, 1], other, fastnn.ELU(), seed=0)
        assert model.activations == ["leaky_relu"] and model.output == "elu"
        assert model.loss == "squared_error"
    model = fastnn.Model([2, 3, 1], fastnn.LeakyReLU(0.2), fastnn.ELU(2), seed=0)
    assert model.activations == [fastnn.LeakyReLU(slope=0.2)]
    assert model.output == fastnn.ELU(alpha=2.0)
    x = np.array([[0.5, -1.0]], np.float32)
    assert (model.predictor()(x) == model.forward(x)).all()
    for one in (fastnn.LeakyReLU, fastnn.ELU):
        for value, error in ((-0.1, ValueError), (np.nan, ValueError), ("1", TypeError)):
            with pytest.raises(error, match=r"(slope|alpha) must be"):
                one(value)


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"),
        ("sigmoid", "binary_cross_entropy"),
        ("identity", "squared_error"),
        ("relu", "squared_error"),
        ("tanh", "squared_error"),
        ("exp", "poisson"),
    ],
)
def test_loss_follows_output(output, loss):
    assert fastnn.Model([2, 2], output=output, seed=0).loss == loss


def test_repr_is_code():
    for model in (
        fastnn.Model([2, 3], seed=1),
        fastnn.Model([2, 3, 4, 1], [fastnn.LeakyReLU(0.25), "gelu"], fastnn.ELU(0.5), seed=1),
        fastnn.Model([2, 4, 4, 1], "tanh", "sigmoid", "squared_error", False, "float64", 3),
    ):
        twin = eval(repr(model), vars(fastnn))
        assert repr(twin) == repr(model) and (twin.theta == model.theta).all()


def test_views_write_into_theta():
    model = fastnn.Model([3, 4, 2], bias=[False, True], seed=0)
    theta = model.theta
    model.W[0][:] = np.arange(12).reshape(4, 3)
    assert (theta[:12] == np.arange(12)).all()
    model.W[1] = np.full((2, 4), 7)
    assert (theta[12:20] == 7).all()
    model.b[1] += 3
    assert (theta[20:] == 3).all()
    assert model.b[0] is None
    with pytest.raises(ValueError, match="layer 1 has no bias"):
        model.b[0] = 1
    with pytest.raises(ValueError, match="broadcast"):
        model.W[0] = np.zeros((3, 4))
    W = model.W[0]
    model.theta = np.zeros(22)
    assert model.theta is theta and not W.any()
    model.fit(np.ones((4, 3)), [0, 1, 0, 1], epochs=1)
    assert model.theta is theta and np.shares_memory(model.W[1], theta)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.zeros(7), ValueError, r"theta must have shape \(8,\), got \(7,\)"),
        (np.zeros((1, 8)), ValueError, "theta must have shape"),
        ([np.nan] * 8, ValueError, "theta must be finite"),
        (["a"] * 8, TypeError, "theta must be real numbers"),
    ],
)
def test_wrong_theta(value, error, message):
    model = fastnn.Model([3, 2], seed=0)
    before = state(model)
    with pytest.raises(error, match=message):
        model.theta = value
    assert state(model) == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sizes": [3]}, ValueError, r"sizes must hold at least n_in and n_out, got \[3\]"),
        ({"sizes": []}, ValueError, "sizes must hold at least"),
        ({"sizes": [3, 0]}, ValueError, "each of sizes must be at least 1, got 0"),
        ({"sizes": [3, -2]}, ValueError, "each of sizes must be at least 1, got -2"),
        ({"sizes": [3, 2.0]}, TypeError, r"each of sizes must be an integer, got 2\.0"),
        ({"sizes": "32"}, TypeError, "sizes must be a list of integers"),
        ({"sizes": 3}, TypeError, "sizes must be a list of integers"),
        (
            {"activation": "rleu"},
            ValueError,
            r"activation must be one of identity, relu, .*, mish, got 'rleu'",
        ),
        ({"activation": fastnn.LeakyReLU}, TypeError, "activation must be one value or a list"),
        ({"activation": "softmax"}, ValueError, "activation must be one of"),
        ({"activation": ["relu"] * 2}, ValueError, r"activation must have .* \(1\), got"),
        ({"activation": 1}, TypeError, "activation must be one value or a list"),
        ({"activation": [1]}, TypeError, "activation must be a name"),
        ({"output": "linear"}, ValueError, "output must be one of .*softmax, got 'linear'"),
        ({"output": 3}, TypeError, "output must be a name"),
        (
            {"sizes": [4, 8, 1]},
            ValueError,
            'softmax must have .* two at least, got 1 output: .*output="sigmoid", .*"identity"',
        ),
        ({"sizes": [4, 1], "loss": "squared_error"}, ValueError, "softmax must have an output for"),
        ({"loss": "mse"}, ValueError, "loss must be one of squared_error, .*, got 'mse'"),
        (
            {"loss": "binary_cross_entropy"},
            ValueError,
            "loss of softmax outputs must be cross_entropy or focal or squared_error, got",
        ),
        (
            {"loss": "cross_entropy", "output": "tanh"},
            ValueError,
            "loss of tanh outputs must be squared_error or absolute_error or huber or quantile,",
        ),
        ({"bias": [True]}, ValueError, r"bias must have one entry per layer \(2\)"),
        ({"bias": 1}, TypeError, "bias must be"),
        ({"bias": ["yes", "no"]}, TypeError, "bias must be True or False, got 'yes'"),
        ({"dtype": "float16"}, ValueError, "dtype must be one of float32, float64, got 'float16'"),
        ({"dtype": "nonsense"}, ValueError, "dtype must be one of"),
        ({"dtype": None}, ValueError, "dtype must be one of"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1, got 0"),
        ({"n_threads": 1.5}, TypeError, "n_threads must be an integer"),
        ({"seed": "a"}, TypeError, "seed must be an integer"),
    ],
)
def test_wrong_networks(arguments, error, message):
    with pytest.raises(error, match=message):
        fastnn.Model(**{"sizes": [3, 4, 2], "seed": 0, **arguments})


# What it predicts


@pytest.mark.parametrize(
    ("output", "n_out"), [(f, n) for f in OUTPUTS for n in (1, 3) if (f, n) != ("softmax", 1)]
)
def test_predictions(output, n_out):
    model = fastnn.Model([4, 5, n_out], "tanh", output, dtype="float64", seed=1)
    X = np.random.default_rng(0).normal(size=(20, 4))
    net = ref.Net((4, 5, n_out), "tanh", output)
    f = ref.forward(net, model.theta, X)[1][2]
    np.testing.assert_allclose(model.forward(X), f, rtol=0, atol=1e-14)
    f = model.forward(X)
    want = {"softmax": f.argmax(1), "sigmoid": (f > 0.5).astype(int)}.get(output, f)
    if n_out == 1:
        want = want.reshape(20)
    got = model.predict(X)
    assert got.shape == want.shape and (got == want).all()
    if output in ("softmax", "sigmoid"):
        assert got.dtype == np.intp
        proba = model.predict_proba(X)
        if (output, n_out) == ("sigmoid", 1):
            np.testing.assert_array_equal(proba, np.hstack([1 - f, f]))
        else:
            np.testing.assert_array_equal(proba, f)
    else:
        assert got.dtype == np.float64
        with pytest.raises(ValueError, match=f"needs softmax or sigmoid outputs, got {output}"):
            model.predict_proba(X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_rows_are_the_rows_alone(dtype):
    model = fastnn.Model([9, 33, 5], dtype=dtype, seed=1)
    X = np.random.default_rng(0).normal(size=(300, 9))
    f = model.forward(X)
    assert f.dtype == dtype
    for i in range(0, 300, 37):
        assert model.forward(X[i : i + 1]).tobytes() == f[i].tobytes()


def test_blocks_of_rows_change_nothing():
    model = fastnn.Model([400, 1000, 400], output="identity", dtype="float64", seed=1)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1000, 400)), rng.normal(size=(1000, 400))  # 3.2e9 operations: blocks
    f, result = model.forward(X), model.evaluate(X, y)
    few = [slice(i, i + 10) for i in range(0, 1000, 10)]
    assert np.concatenate([model.forward(X[i]) for i in few]).tobytes() == f.tobytes()
    losses = [model.evaluate(X[i], y[i])["loss"] for i in few]
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-13)


def test_evaluate_classes():
    model = fastnn.Model([2, 3], bias=False, dtype="float64", seed=0)
    model.W[0] = [[1, 0], [0, 1], [-1, -1]]
    X, y = [[3, 0], [0, 3], [-3, -3], [3, 0]], [0, 1, 2, 1]
    result = model.evaluate(X, y)
    assert result["accuracy"] == 0.75
    net = ref.Net((2, 3), bias=False)
    want = ref.loss_and_gradient(net, model.theta, np.array(X, float), np.array(y))[0]
    assert result["loss"] == pytest.approx(want, rel=1e-14)
    assert model.evaluate(X, np.eye(3)[y])["accuracy"] == 0.75


def test_evaluate_sigmoid_and_values():
    model = fastnn.Model([1, 2], output="sigmoid", bias=False, seed=0)
    model.W[0] = [[1], [-1]]
    assert model.evaluate([[1], [1]], [[1, 0], [1, 1]])["accuracy"] == 0.75
    model = fastnn.Model([1, 1], output="identity", bias=False, dtype="float64", seed=0)
    model.W[0] = [[2]]
    result = model.evaluate([[1], [2], [3]], [2, 4, 5])
    assert result["loss"] == pytest.approx(1 / 6)
    assert result["r2"] == pytest.approx(1 - 1 / (14 / 3))
    assert model.evaluate([[1], [1]], [2, 2])["r2"] == 1
    assert model.evaluate([[1], [1]], [3, 3])["r2"] == 0


@pytest.mark.parametrize("output", OUTPUTS)
def test_loss_and_gradient_is_the_reference(output):
    model = fastnn.Model([4, 5, 3], "sigmoid", output, dtype="float64", seed=1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(11, 4))
    y = rng.integers(0, 3, 11) if output == "softmax" else rng.uniform(size=(11, 3))
    loss, grad = model.loss_and_gradient(X, y)
    net = ref.Net((4, 5, 3), "sigmoid", output)
    want_loss, want = ref.loss_and_gradient(net, model.theta, X, y)
    assert loss == pytest.approx(want_loss, rel=1e-13)
    np.testing.assert_allclose(grad, want, rtol=0, atol=1e-14)
    assert loss == pytest.approx(model.evaluate(X, y)["loss"], rel=1e-14)


# What it refuses, before anything changes

X, Y = np.ones((4, 3)), np.array([0, 1, 0, 1])
WRONG = [
    ({"X": np.ones((4, 2))}, ValueError, r"X must have shape \(n, 3\), got \(4, 2\)"),
    ({"X": np.ones((3, 3))}, ValueError, "X and y must have as many rows"),
    ({"X": np.full((4, 3), np.nan)}, ValueError, "X must be finite, got nan in row 0, column 0"),
    ({"y": [0, 1, 0, 2]}, ValueError, "y must hold labels 0 to 1, got 2 in row 3"),
    ({"y": ["a"] * 4}, TypeError, "y must be real numbers"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": 2.5}, TypeError, r"batch_size must be an integer, got 2\.5"),
    ({"learning_rate": -0.1}, ValueError, r"learning_rate must be at least 0 and finite, got -0"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate must be .*, got nan"),
    ({"learning_rate": np.inf}, ValueError, "learning_rate must be .*, got inf"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
    ({"learning_rate": 1j}, TypeError, "learning_rate must be a number"),
    ({"optimizer": "sdg"}, ValueError, r"optimizer must be one of 'sgd', 'adam', .*, got 'sdg'"),
    ({"optimizer": 0.1}, TypeError, "optimizer must be"),
]
WRONG_FIT = [
    ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    ({"epochs": None}, TypeError, "epochs must be an integer, got None"),
    ({"shuffle": 3}, TypeError, "shuffle must be True or False, got 3"),
    ({"verbose": "no"}, TypeError, "verbose must be True or False"),
    ({"validation_data": X}, TypeError, r"validation_data must be a pair \(X, y\)"),
    ({"validation_data": (X[:, :2], Y)}, ValueError, "validation_data: X must have shape"),
    ({"validation_data": (X, ["a"] * 4)}, TypeError, "validation_data: y must be real numbers"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG + WRONG_FIT)
def test_a_refused_fit_changes_nothing(change, error, message):
    model = fastnn.Model([3, 2], seed=0)
    model.fit(X, Y, epochs=1, optimizer=fastnn.SGD(0.1, 0.9))
    before = state(model)
    with pytest.raises(error, match=message):
        model.fit(**{"X": X, "y": Y, "epochs": 2, **change})
    assert state(model) == before


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_a_refused_partial_fit_changes_nothing(change, error, message):
    model = fastnn.Model([3, 2], seed=0)
    model.fit(X, Y, epochs=1, optimizer=fastnn.SGD(0.1, 0.9))
    before = state(model)
    with pytest.raises(error, match=message):
        model.partial_fit(**{"X": X, "y": Y, **change})
    assert state(model) == before


@pytest.mark.parametrize(
    "call", ["predict", "predict_proba", "forward", "evaluate", "loss_and_gradient", "predictor"]
)
def test_other_calls_refuse_the_same(call):
    model = fastnn.Model([3, 2], seed=0)
    function = model.predictor() if call == "predictor" else getattr(model, call)
    rest = (Y,) if call in ("evaluate", "loss_and_gradient") else ()
    for bad, error in ((X[:, :2], ValueError), (X * np.nan, ValueError), (X * 1j, TypeError)):
        with pytest.raises(error, match=r"X must be|X must have|x must be"):
            function(bad, *rest)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "learning_rate must be at least 0"),
        ((0.1, 1.0), ValueError, "momentum must be at least 0 and below 1, got 1"),
        ((0.1, -0.1), ValueError, "momentum must be at least 0"),
        ((0.1, np.nan), ValueError, "momentum must be"),
        ((0.1, 0.0, True), ValueError, "nesterov must come with a momentum above 0"),
        ((0.1, 0.5, "yes"), TypeError, "nesterov must be True or False"),
    ],
)
def test_wrong_sgd(arguments, error, message):
    with pytest.raises(error, match=message):
        fastnn.SGD(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -1}, "learning_rate must be at least 0"),
        ({"beta1": 1}, "beta1 must be at least 0 and below 1, got 1"),
        ({"beta2": -0.1}, "beta2 must be at least 0"),
        ({"epsilon": 0}, "epsilon must be at least 1e-30"),
    ],
)
def test_wrong_adam(arguments, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Adam(**arguments)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    dtype=st.sampled_from(["float32", "float64"]),
    output=st.sampled_from(OUTPUTS),
    bias=st.booleans(),
    batch=st.integers(1, 9),
    n=st.integers(1, 20),
)
def test_any_network_trains_and_predicts(sizes, dtype, output, bias, batch, n):
    if output == "softmax":
        sizes[-1] += 1  # two classes at least
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n, sizes[0]))
    labels = rng.integers(0, sizes[-1], n)
    y = labels if output == "softmax" else rng.uniform(size=(n, sizes[-1]))
    model = fastnn.Model(sizes, "tanh", output, None, bias, dtype, seed=0)
    history = model.fit(inputs, y, epochs=2, batch_size=batch, learning_rate=0.01)
    assert np.isfinite(history.loss).all() and np.isfinite(model.theta).all()
    assert len(model.predict(inputs)) == n


# Several threads


def test_threads_share_a_model_and_a_predictor():
    model = fastnn.Model([9, 33, 5], seed=1)
    inputs = np.random.default_rng(0).normal(size=(200, 9))
    want, predict = model.forward(inputs).tobytes(), model.predictor()
    wrong = []

    def work():
        for _ in range(100):
            if {model.forward(inputs).tobytes(), predict(inputs).tobytes()} != {want}:
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_errors_say_what_to_do():
    model = fastnn.Model([4, 3], seed=0)
    X, y = np.zeros((6, 4)), np.arange(6) % 3
    for names in (np.array(["a", "b", "c"])[y], np.array(["a", "b", "c"], object)[y]):
        with pytest.raises(TypeError, match=r"y must be real .* Model\(\[None, .* learns"):
            model.fit(X, names)
    with pytest.raises(ValueError, match=r'whole numbers .* got 0\.5 .* output="identity"'):
        model.fit(X, y / 2)
    with pytest.raises(ValueError, match=r"X\.reshape\(len\(X\), -1\) has 4 columns"):
        model.fit(X.reshape(6, 2, 2), y)
    for call in (model.fit, model.partial_fit):
        for came, meant in {"lr": "learning_rate", "batchsize": "batch_size"}.items():
            with pytest.raises(TypeError, match=f"keyword argument '{came}'; is it {meant}"):
                call(X, y, **{came: 1})
        with pytest.raises(TypeError, match=r"keyword argument 'xyz'; it takes .*learning_rate"):
            call(X, y, xyz=1)
    with pytest.raises(TypeError, match=r"SGD\(\) got .* 'lr'; is it learning_rate"):
        fastnn.SGD(lr=0.1)
