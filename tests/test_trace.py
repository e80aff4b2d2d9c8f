"""trace: its numbers meet the reference, its text the formulas; the model never changes."""

from __future__ import annotations

import compiled
import numpy as np
import pytest
import reference as ref

import fastnn
from fastnn.kernels import _cpu

CASES = [
    ("relu", "softmax", "cross_entropy"),
    ("tanh", "softmax", "squared_error"),
    ("sigmoid", "sigmoid", "binary_cross_entropy"),
    ("identity", "tanh", "squared_error"),
    ("relu", "identity", "squared_error"),
    ("tanh", "exp", "poisson"),
    ("tanh", "tanh", "huber"),
    ("tanh", "identity", "absolute_error"),
    ("tanh", "relu", "quantile"),
    ("tanh", "softmax", "focal"),
    ("tanh", "sigmoid", "focal"),
    ("tanh", "identity", "hinge"),
    ("gelu", "mish", "squared_error"),
    (("silu", ("leaky_relu", 0.25)), "softmax", "cross_entropy"),
]


def make(activation, output, loss, bias=(True, False, True)):
    net = ref.Net((4, 5, 3, 2), activation, output, loss, bias)
    hidden = [compiled.activation(g) for g in net.g[1:-1]]
    model = fastnn.Model([4, 5, 3, 2], hidden, output, loss, list(bias), "float64", seed=3)
    return model, net


def targets(output, n, loss=None):
    rng = np.random.default_rng(1)
    labels = output == "softmax" or loss == "hinge"
    return rng.integers(0, 2, n) if labels else rng.uniform(size=(n, 2))


@pytest.mark.parametrize("case", CASES)
def test_numbers_meet_the_reference(case):
    model, net = make(*case)
    X, y = np.random.default_rng(0).normal(size=(6, 4)), targets(case[1], 6, case[2])
    before = model.theta.copy()
    trace = model.trace(X, y, learning_rate=0.5)
    a, h = ref.forward(net, model.theta, X)
    losses, delta, grad_W, grad_b, *_ = ref.backward(net, model.theta, X, y)
    close = {"rtol": 0, "atol": 1e-14}
    for k in (1, 2, 3):
        np.testing.assert_allclose(trace.a[k - 1], a[k], **close)
        np.testing.assert_allclose(trace.h[k - 1], h[k], **close)
        np.testing.assert_allclose(trace.delta[k - 1], delta[k], **close)
        np.testing.assert_allclose(trace.grad_W[k - 1], grad_W[k] / 6, **close)
    assert trace.grad_b[1] is None
    np.testing.assert_allclose(trace.grad_b[2], grad_b[3] / 6, **close)
    np.testing.assert_allclose(trace.loss, losses.mean(), **close)
    assert (model.theta == before).all()
    model.fit(X, y, epochs=1, batch_size=6, learning_rate=0.5)
    np.testing.assert_allclose(np.concatenate(trace.after.W, None), np.concatenate(model.W, None))
    assert trace.after.loss == trace.step(0.5).loss != trace.loss


INPUTS = [
    fastnn.Periodic([2, 0], 3, 2),
    fastnn.PiecewiseLinear([1, 6], [(-1.5, 0.0, 2.0), (-0.5, 0.5)], 2),
    fastnn.Categories(3, 3, 2),
]
BARE = [fastnn.PiecewiseLinear([1], [(-1.5, 0.0, 2.0)]), fastnn.Categories(3, 3)]
EMBEDDED = [
    ("periodic", (2, 0), 3, 2),
    ("piecewise", (1, 6), ((-1.5, 0.0, 2.0), (-0.5, 0.5)), 2),
    ("categories", (3,), 3, 2),
]


def with_inputs(embeddings=INPUTS, **settings):
    model = fastnn.Model(
        [7, 4, 2], "tanh", dtype="float64", seed=3, embeddings=embeddings, **settings
    )
    if model.s is not None:
        model.s[:] = np.linspace(0.5, 1.5, len(model.s))
    X = np.random.default_rng(0).normal(size=(5, 7))
    X[:, 3] = 0, 2, 1, 2, -1
    return model, X, np.array([0, 1, 1, 0, 1])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("norm", [None, "layer", "batch"])
def test_the_input_layer_meets_the_reference(scaled, norm):
    model, X, y = with_inputs(feature_scale=scaled, norm=norm)
    own = model.norm[0]
    net = ref.Net(
        *((7, 4, 2), "tanh"),
        embeddings=EMBEDDED,
        feature_scale=scaled,
        norm=norm and ((norm, getattr(own, "momentum", 0.0), own.epsilon),),
    )
    trace = model.trace(X, y, learning_rate=0.5)
    features, _, h_0 = ref.inputs(net, model.theta, X)
    _, delta, *_, of_inputs = ref.backward(net, model.theta, X, y)
    close = {"rtol": 0, "atol": 1e-13}
    np.testing.assert_allclose(trace.features, features, **close)
    np.testing.assert_allclose(trace.h_0, h_0, **close)
    np.testing.assert_allclose(trace.delta_0, delta[0], **close)
    grads = [part[name] for of in trace.grad_phi for part in of for name in part]
    grads += [trace.grad_s] if scaled else []
    assert trace.grad_s is None or scaled
    for got, want in zip(grads, of_inputs, strict=True):
        np.testing.assert_allclose(got, want / 5, **close)
    _, grad = model.loss_and_gradient(X, y)
    np.testing.assert_allclose(trace.grad_W[0].ravel(), grad[model._network.layers[0].W], **close)
    assert (trace.after.phi[0][1]["V"] != trace.phi[0][1]["V"]).any()
    one, row = model.trace(X[0], 0), model.trace(X[:1], [0])
    assert one.features.shape == one.h_0.shape == one.delta_0.shape == (model.n_features,)
    np.testing.assert_array_equal(one.grad_phi[0][0]["w"], row.grad_phi[0][0]["w"])


def test_the_input_layers_derivation_shows():
    model, X, y = with_inputs(feature_scale=True)
    text = " ".join(str(model.trace(X, y, learning_rate=0.1)).split())
    for part in (
        "x = [[",
        "input layer: 7 -> 14",
        "phi(x_2) = [x_2, V_2 cos(2 pi w_2 x_2 + b_2) + c_2] = [[",
        "edges_6 = [-0.5 0.5]",
        "phi(x_6) = p(x_6) T_6 + c_6 = [[",
        "phi(x_3) = e(x_3) T_3 = [[",
        "phi(x) = [columns in no embedding, phi(x_j), ...] = [[",
        "h^(0) = s * phi(x) = [[",
        "a^(1) = h^(0) W^(1)T + b^(1) =",
        "back through the input layer delta^(0) = dL/dh^(0) = delta^(1) W^(1) = [[",
        "dL/ds = sum over rows of delta^(0) * phi(x) / 5 = [",
        "d_0 = s * delta^(0) of V_0 cos(2 pi w_0 x_0 + b_0) + c_0 = [[",
        "dL/dw_0 = sum over rows of 2 pi x_0 e_0 / 5 = [",
        "dL/dT_1 = p(x_1)T d_1 / 5 = [[",
        "dL/dT_3 = e(x_3)T d_3 / 5 = [[",
        "V_2 <- V_2 - 0.1 dL/dV_2 before = [[",
        "s <- s - 0.1 dL/ds before = [0.5",
    ):
        assert part in text, part
    assert "x = h^(0)" not in text
    model, X, y = with_inputs(norm="layer")
    text = " ".join(str(model.trace(X[0], 0)).split())
    assert "h^(0) = phi(x) = [columns in no embedding" in text and " s = " not in text
    assert "delta^(0) = dL/dh^(0) = dL/du^(1) W^(1) = [" in text and "over rows" not in text
    model, X, y = with_inputs(None, feature_scale=True, dropout=[0.25, 0])
    text = " ".join(str(model.trace(X, y)).split())
    assert "input layer: 7 -> 7 (dropout 0.25: in training alone) s = [" in text
    assert "h^(0) = s * x =" in text and "dL/ds = sum over rows of delta^(0) * x / 5" in text


def test_numbers_shown_of_embeddings_give_their_gradients():
    """What the text shows beside the engine's numbers is what its formulas take."""
    model, X, y = with_inputs(feature_scale=True)
    with np.printoptions(precision=17, floatmode="maxprec", linewidth=200):
        text = str(model.trace(X, y))

    def shown(name):
        _, _, after = text.partition(f"\n  {name}")
        numbers = after.partition("=\n      ")[2].partition("]]")[0] + "]]"
        rows = numbers.replace("[[", "").replace("]]", "").split("]\n")
        return np.array([row.replace("[", "").split() for row in rows], float)

    grad = model.trace(X, y).grad_phi
    of_w = (2 * np.pi * X[:, [0]] * shown("e_0 = -(d_0")).mean(0)
    np.testing.assert_allclose(of_w, grad[0][1]["w"], rtol=1e-12)
    of_T = shown("p(x_1)").T @ shown("d_1 =") / 5
    np.testing.assert_allclose(of_T, grad[1][0]["T"], rtol=1e-12)


def test_an_input_layer_without_parameters():
    model, X, y = with_inputs(BARE)
    trace = model.trace(X, y, learning_rate=0.1)
    assert trace.delta_0 is None and trace.features.shape == (5, 5 + 2 + 3)
    text = " ".join(str(trace).split())
    assert "phi(x_1) = (x - left) / (right - left) of each bin, within 0..1 = [[" in text
    assert "phi(x_3) = e(x_3) = [[1. 0. 0.]" in text and "back through the input" not in text
    plain = fastnn.Model([7, 4, 2], seed=0).trace(X, y)
    assert plain.features is plain.h_0 is plain.delta_0 is plain.s is None and plain.phi == []


def test_formulas_of_every_activation_show():
    for g in [*_cpu.ACTIVATIONS, fastnn.LeakyReLU(0.25), fastnn.ELU(0.5)]:
        model = fastnn.Model([4, 5, 3], g, g, "squared_error", dtype="float64", seed=3)
        text = str(model.trace([1, 2, 3, 4], [1, 2, 3]))
        assert "{" not in text and "g' = " in text
        assert ("0.25 a" in text) == (g == fastnn.LeakyReLU(0.25))


def test_one_sample_has_no_rows():
    model, _ = make("relu", "softmax", "cross_entropy")
    trace = model.trace([1, 2, 3, 4], 1)
    assert trace.x.shape == (4,) and [a.shape for a in trace.a] == [(5,), (3,), (2,)]
    assert trace.step(0.1).h[-1].shape == (2,)
    rows = model.trace([[1, 2, 3, 4]], [1])
    assert rows.a[0].shape == (1, 5)
    np.testing.assert_array_equal(rows.grad_W[0], trace.grad_W[0])
    assert model.trace([1, 2, 3, 4], [0, 1]).loss == pytest.approx(trace.loss)
    assert model.trace([1, 2, 3, 4], [1]).loss == trace.loss


def test_keeps_its_numbers_when_the_model_trains():
    model, _ = make("relu", "softmax", "cross_entropy")
    trace = model.trace([1, 2, 3, 4], 1)
    text = repr(trace)
    model.theta[:] = 0
    assert repr(trace) == text


def test_prints_the_derivation():
    model = fastnn.Model(
        [2, 2, 1], "sigmoid", "sigmoid", "squared_error", [False, True], "float64", seed=0
    )
    model.W[0], model.W[1] = [[0.1, 0.3], [0.2, 0.4]], [[0.5, 0.6]]
    text = str(model.trace([0, 1], 1, learning_rate=0.2))
    for line in (
        "a^(1) = h^(0) W^(1)T = [0.3 0.4]",
        "h^(1) = sigmoid(a^(1)) = 1 / (1 + e^-a) = [0.574442516811659 0.598687660112452]",
        "a^(2) = h^(1) W^(2)T + b^(2) = [0.6464338544733007]",
        "L = 1/2 sum (h - y)^2 = 0.0590970229447102",
        "delta^(2) = dL/da^(2) = (h - y) * g'(a), g' = h (1 - h) = [-0.0775596882391857",
        "dL/dW^(2) = delta^(2)T h^(1) = [[",
        "dL/db^(2) = delta^(2) = [-0.0775596882391857",
        "delta^(1) = dL/da^(1) = (delta^(2) W^(2)) * g'(a^(1)), g' = h (1 - h) =\n      [",
        "dL/dW^(1) = delta^(1)T h^(0) =",
        "W^(2) <- W^(2) - 0.2 dL/dW^(2)",
        "after = [[0.50891071650304",
    ):
        assert line in text, line
    assert "dL/db^(1)" not in text
    places = [text.index(part) for part in ("layer 1:", "layer 2:", "loss (", "layer 2 (", "step:")]
    assert places == sorted(places)


def test_a_label_stands_as_its_unit_vector_in_the_formulas():
    """y = 2 is a number; h - y would be another number than the one shown."""
    for loss, L, delta in (
        ("cross_entropy", "-sum {} ln h =", "= h - {} ="),
        (fastnn.CrossEntropy(0.1), "ln h =", "= h - (0.9 {} + 0.1 / 3) ="),
        ("squared_error", "1/2 sum (h - {})^2 =", "= h * (e - sum e h), e = h - {} ="),
        ("focal", "-sum {} (1 - h)^gamma ln h =", "c = -{} (1 - h)^gamma"),
    ):
        model = fastnn.Model([2, 3], loss=loss, seed=0)
        label, rows = model.trace([0.5, 1], 2), model.trace([[0.5, 1], [1, 0]], [2, 0])
        given = model.trace([0.5, 1], [0.0, 0.0, 1.0])
        for trace, y in ((label, "e(y)"), (rows, "e(y)"), (given, "y")):
            text = " ".join(str(trace).split())
            assert L.format(y) in text and delta.format(y) in text
        assert "e(y) = [0. 0. 1.]" in str(label) and "e(y) =" not in str(given)
        assert "[0. 0. 1.] [1. 0. 0.]" in " ".join(str(rows).replace("[[", "[").split())
        np.testing.assert_array_equal(label.delta[0], given.delta[0])
    sigmoid = fastnn.Model([2, 1], output="sigmoid", loss=fastnn.BinaryCrossEntropy(0.1), seed=0)
    assert "= h - (0.9 y + 0.1 / 2) =" in str(sigmoid.trace([0.5, 1], 1))


def test_numpys_print_options_hold():
    model = fastnn.Model([30, 7, 3], seed=0)
    X = np.random.default_rng(0).normal(size=(3, 30))
    trace = model.trace(X, [0, 1, 2], learning_rate=0.1)
    assert f"L = mean over rows of -sum e(y) ln h = -ln h_y = {trace.loss!r}" in str(trace)
    with np.printoptions(precision=3, suppress=True):
        text = str(trace)
        assert f"ln h_y = {np.round(trace.loss, 3)}" in text
        assert f"{trace.h[-1][0, 0]:.3f}"[:-1] in text and f"{trace.h[-1][0, 0]:.5f}" not in text
    assert "..." in str(trace)
    with np.printoptions(threshold=10_000):
        assert "..." not in str(trace)


@pytest.mark.parametrize("width", [60, 75, 120])
def test_lines_stay_within_the_page(width):
    model = fastnn.Model(
        *([8, 7, 6, 5], ["gelu_tanh", fastnn.Parametric("mish")]),
        norm="layer",
        seed=0,
        loss="focal",
        embeddings=INPUTS,
        feature_scale=True,
    )
    X = 1e-9 * np.random.default_rng(0).normal(size=(2, 8))
    with np.printoptions(linewidth=width):
        text = str(model.trace(X, [0, 1], learning_rate=0.1))
    assert max(map(len, text.splitlines())) <= (96 if width == 75 else width)


def test_large_layers_are_shortened():
    model = fastnn.Model([784, 128, 10], seed=0)
    text = str(model.trace(np.ones(784), 3))
    assert len(text) < 6000 and "(128, 784)" in text and "..." in text


def test_wrong_arguments():
    model, _ = make("relu", "softmax", "cross_entropy")
    for x, y in (
        ([1, 2, 3], 0),
        ([1, 2, 3, 4], 2),
        ([1, 2, 3, np.nan], 0),
        ([1, 2, 3, 4], [0, 0, 0]),
    ):
        with pytest.raises(ValueError, match="must"):
            model.trace(x, y)
    with pytest.raises(ValueError, match="learning_rate must be"):
        model.trace([1, 2, 3, 4], 0, learning_rate=-1)
    with pytest.raises(ValueError, match="learning_rate must be"):
        model.trace([1, 2, 3, 4], 0).step(np.nan)
