"""Finite differences prove tests/reference.py, in the widest dtype NumPy has here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference as ref

REAL = np.longdouble
U = float(np.finfo(REAL).eps) / 2
EPS = REAL(U) ** REAL(0.2)  # balances the two errors of a difference of fourth order
TOLERANCE = 200 * U**0.8  # error eps^4 + U / eps at that step, and room for the derivatives' size

PAIRS = [(output, loss) for loss, outputs in ref.LOSSES.items() for output in outputs]


def make(net, batch, seed=0, labels=False):
    """theta, x, y for a net. y: labels, distributions (softmax), probabilities or values."""
    rng = np.random.default_rng(seed)
    n_out = net.sizes[-1]
    theta = rng.normal(0, 0.7, net.n_parameters).astype(REAL)
    x = rng.normal(0, 1, (batch, net.sizes[0])).astype(REAL)
    if labels or net.loss_name == "hinge":
        return theta, x, rng.integers(0, n_out, batch)
    y = rng.uniform(0, 1, (batch, n_out)).astype(REAL)
    return theta, x, y / y.sum(1, keepdims=True) if net.output == "softmax" else y


def check_gradient(net, theta, x, y, weights=None):
    running = ref.new_running(net, REAL)
    _, grad = ref.loss_and_gradient(net, theta, x, y, weights, running=running)

    def loss(moved):
        return ref.loss(net, moved, x, y, weights, running, predicts=False)

    numeric = ref.central_differences(loss, theta, EPS)
    error = np.abs(grad - numeric).max() / (np.abs(grad).max() + np.abs(numeric).max())
    assert np.abs(grad).max() > 1e-6  # a gradient of zeros would prove nothing
    assert error < TOLERANCE


def away_from_kinks(net, theta, x):
    a, _ = ref.forward(net, theta, x)
    near = [
        np.abs(np.abs(a[k]) - (net.g[k] == "hard_tanh")).min()
        for k in range(1, net.K + 1)
        if net.g[k] in ("relu", "leaky_relu", "elu", "selu", "hard_tanh")
    ]
    return min(near, default=1) > 1e-2  # far more than a step can move a


@pytest.mark.parametrize("activation", list(ref.G))
@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_gradient_is_the_slope_of_the_loss(activation, output, loss):
    net = ref.Net((3, 4, 5, 3), activation, output, loss)
    for seed in range(100):
        theta, x, y = make(net, batch=2, seed=seed)
        live = np.abs(ref.loss_and_gradient(net, theta, x, y)[1]).max() > 1e-6
        if away_from_kinks(net, theta, x) and live:
            break
    check_gradient(net, theta, x, y)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_labels(loss):
    net = ref.Net((3, 4, 5), "tanh", "softmax", loss)
    theta, x, labels = make(net, batch=7, labels=True)
    check_gradient(net, theta, x, labels)
    one_hot = np.eye(5)[labels]
    assert ref.loss(net, theta, x, labels) == ref.loss(net, theta, x, one_hot)


@pytest.mark.parametrize(
    ("output", "loss", "settings"),
    [
        ("softmax", "cross_entropy", (("label_smoothing", 0.3),)),
        ("sigmoid", "binary_cross_entropy", (("label_smoothing", 0.3),)),
        ("softmax", "focal", (("gamma", 0.5),)),
        ("sigmoid", "focal", (("gamma", 3.5),)),
        ("identity", "huber", (("delta", 0.125),)),
        ("identity", "quantile", (("q", (0.1, 0.5, 0.9)),)),
    ],
)
def test_settings_of_losses_and_weights_of_rows(output, loss, settings):
    net = ref.Net((3, 4, 3), "tanh", output, loss, settings=settings)
    theta, x, y = make(net, batch=5)
    weights = np.array([1, 0, 0.5, 2, 1], REAL)
    assert ref.loss(net, theta, x, y) != ref.loss(
        ref.Net((3, 4, 3), "tanh", output, loss), theta, x, y
    )
    check_gradient(net, theta, x, y, weights)


@pytest.mark.parametrize("kinds", [("batch", "batch"), ("layer", "layer"), ("layer", "batch")])
@pytest.mark.parametrize("bias", [True, (False, True, False)])
@pytest.mark.parametrize("batch", [1, 5])
def test_normalisation(kinds, bias, batch):
    norm = tuple((kind, 0.25, 1.0) for kind in kinds)
    net = ref.Net((2, 3, 4, 2), ("sigmoid", "tanh"), "softmax", bias=bias, norm=norm)
    theta, x, y = make(net, batch)
    W, b, gamma, _ = ref.unpack(net, theta)
    assert [len(one) for one in gamma[1:3]] == [3, 4] and gamma[3] is None
    assert np.array_equal(ref.pack(W, b, gamma), theta)
    check_gradient(net, theta, x, y, np.arange(1, batch + 1))


@pytest.mark.parametrize("g", ["selu", "mish", "relu", ("elu", 0.5), "tanh"])
@pytest.mark.parametrize("norm", [None, (("batch", 0.25, 1.0), ("layer", 0, 1.0))])
def test_parametric_activations(g, norm):
    net = ref.Net((3, 4, 3, 2), (("parametric", g), ("parametric", "mish")), "softmax", norm=norm)
    for seed in range(9):
        theta, x, y = make(net, 5, seed=seed)
        W, b, gamma, alpha = ref.unpack(net, theta)
        assert [len(one) for one in alpha[1:3]] == [4, 3] and alpha[3] is None
        assert np.array_equal(ref.pack(W, b, gamma, alpha), theta)
        plain = ref.Net(net.sizes, (g, "mish"), "softmax", norm=norm)
        if norm or away_from_kinks(plain, ref.pack(W, b, gamma), x):
            break
    check_gradient(net, theta, x, y, np.arange(1, 6))
    for one in alpha[1:3]:
        one[:] = 1
    np.testing.assert_allclose(
        ref.forward(net, theta, x, running=ref.new_running(net, REAL))[1][-1],
        ref.forward(plain, ref.pack(W, b, gamma), x, running=ref.new_running(net, REAL))[1][-1],
    )


def test_normalisation_by_hand():
    u = np.array([[1.0, 2.0], [3.0, 8.0]])  # columns: mean 2, 5, variance 1, 9
    xhat, inv, mean, variance = ref.normalised(("batch", 0.5, 0.0), u)
    assert xhat.tolist() == [[-1, -1], [1, 1]] and inv.tolist() == [[1, 1 / 3]]
    assert mean.tolist() == [2, 5] and variance.tolist() == [1, 9]
    assert ref.normalised(("layer", 0, 0.0), u)[0].tolist() == [[-1, 1], [-1, 1]]
    net = ref.Net((2, 2, 1), "identity", "identity", norm=(("batch", 0.25, 0.0),))
    theta = np.array([1.0, 0, 0, 1, 5, 5, 2, 2, 1, 1, 0])  # W1 = 1, b1 = 5, gamma1 = 2
    running = ref.new_running(net, float)
    a = ref.passes(net, theta, u, None, running, learn=True)[0]
    assert a[1].tolist() == [[3, 3], [7, 7]]
    assert [one.tolist() for one in running[1]] == [[0.5, 1.25], [1.25, 5.25]]  # unbiased: 2, 18
    assert ref.passes(net, theta, u[:1], None, running, learn=True)[0][1].tolist() == [
        [5 + 2 * 0.5 / np.sqrt(1.25), 5 + 2 * 0.75 / np.sqrt(5.25)]
    ]
    assert running[1][0].tolist() == [0.5, 1.25]  # a row alone moves nothing


@pytest.mark.parametrize("bias", [True, False, (True, False, True), (False, True, False)])
def test_biases_and_one_activation_per_layer(bias):
    net = ref.Net((2, 3, 4, 1), ("sigmoid", "tanh"), "identity", bias=bias)
    theta, x, y = make(net, batch=5)
    W, b, gamma, _ = ref.unpack(net, theta)
    assert [p is not None for p in b[1:]] == net.has_bias[1:]
    assert np.array_equal(ref.pack(W, b, gamma), theta)
    check_gradient(net, theta, x, y)


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_one_layer_and_widths_of_one(output, loss):
    net = ref.Net((1, 2 if output == "softmax" or loss == "hinge" else 1), (), output, loss)
    theta, x, y = make(net, batch=3)
    theta[:] = np.abs(theta)  # a relu output must be alive
    x[:] = np.abs(x) + REAL(0.1)
    check_gradient(net, theta, x, y)


@pytest.mark.parametrize("activation", list(ref.DG_OF_H))
def test_derivative_in_a_and_in_h_are_one(activation):
    a = np.linspace(-4, 4, 101, dtype=REAL) + REAL(0.013)
    by_h = ref.DG_OF_H[activation](ref.G[activation](a))
    np.testing.assert_allclose(by_h, ref.DG[activation](a), rtol=4000 * U, atol=0)


def test_the_normal_distribution():
    a = np.linspace(-30, 8, 1001)
    want = [math.erfc(-x / math.sqrt(2)) / 2 for x in a]
    np.testing.assert_allclose(ref.normal(a)[0], want, rtol=1e-12)
    both = ref.normal(np.array([3 - 1e-17, 3 + 1e-17, -3 - 1e-17, -3 + 1e-17], REAL))[0]
    np.testing.assert_allclose(both[[0, 2]], both[[1, 3]], rtol=400 * U)


def test_activations_by_hand():
    """Published numbers and identities."""
    a = np.array([-2.0, -0.5, 0.5, 2.0])
    silu = a / (1 + np.exp(-a))
    np.testing.assert_allclose(ref.G["silu"](a), silu, rtol=1e-15)
    np.testing.assert_allclose(ref.G["softplus"](a) - ref.G["softplus"](-a), a, rtol=1e-15)
    gelu = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in a]
    np.testing.assert_allclose(ref.G["gelu"](a), gelu, rtol=1e-14)
    tanh = a / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
    np.testing.assert_allclose(ref.G["gelu_tanh"](a), tanh, rtol=1e-13)
    assert abs(ref.G["gelu"](a) - tanh).max() < 1e-3
    np.testing.assert_allclose(ref.G["mish"](a), a * np.tanh(np.log1p(np.exp(a))), rtol=1e-15)
    assert ref.apply(ref.G, ("leaky_relu", 0.5), a).tolist() == [-1, -0.25, 0.5, 2]
    assert ref.G["hard_tanh"](a).tolist() == [-1, -0.5, 0.5, 1]
    # Klambauer et al. 2017: mean 0 and variance 1 are a fixed point of selu.
    z, weights = np.polynomial.hermite_e.hermegauss(180)
    h = ref.G["selu"](z)
    assert abs((weights * h).sum() / weights.sum()) < 1e-3
    assert abs((weights * h**2).sum() / weights.sum() - 1) < 2e-3


def test_delta_is_f_minus_y_for_the_matching_losses():
    rng = np.random.default_rng(3)
    a = rng.normal(0, 2, (6, 4)).astype(REAL)
    y = rng.uniform(0, 1, (6, 4)).astype(REAL)
    p = y / y.sum(1, keepdims=True)
    for output, loss, target in [
        ("softmax", "cross_entropy", p),
        ("sigmoid", "binary_cross_entropy", y),
        ("identity", "squared_error", y),
    ]:
        _, delta = ref.losses_and_delta(a, target, output, loss)
        np.testing.assert_allclose(delta, ref.OUTPUTS[output](a) - target, rtol=0, atol=16 * U)


def test_losses_by_hand():
    ln = np.log
    a = np.array([[ln(1.0), ln(2.0), ln(5.0)]])  # softmax: 1/8, 2/8, 5/8
    assert ref.losses_and_delta(a, np.array([1]), "softmax", "cross_entropy")[0] == pytest.approx(
        [ln(4)], rel=1e-15
    )
    a = np.array([[ln(3.0), 0.0]])  # sigmoid: 3/4, 1/2
    y = np.array([[1.0, 0.0]])
    got = ref.losses_and_delta(a, y, "sigmoid", "binary_cross_entropy")[0]
    assert got == pytest.approx([ln(4 / 3) + ln(2)], rel=1e-15)
    got = ref.losses_and_delta(np.array([[3.0, -1.0]]), y, "identity", "squared_error")[0]
    assert got == [(2**2 + 1**2) / 2]
    e = np.array([[3.0, -1.0]]), np.zeros((1, 2))  # residuals 3 and -1
    for loss, settings, want, want_delta in [
        ("absolute_error", {}, 4, [1, -1]),
        ("huber", {"delta": 2.0}, 2 * (3 - 1) + 0.5, [2, -1]),
        ("quantile", {"q": 0.25}, 0.75 * 3 + 0.25 * 1, [0.75, -0.25]),
        ("quantile", {"q": (0.25, 0.5)}, 0.75 * 3 + 0.5 * 1, [0.75, -0.5]),
    ]:
        got, delta = ref.losses_and_delta(*e, "identity", loss, **settings)
        assert got == [want] and delta.tolist() == [want_delta]
    got, delta = ref.losses_and_delta(np.array([[ln(2.0)]]), np.array([[3]]), "exp", "poisson")
    assert got == pytest.approx([2 - 3 * ln(2)], rel=1e-15)
    assert delta == pytest.approx(np.array([[-1.0]]), rel=1e-15)
    a = np.array([[1.0, 3.0, 2.5], [0.0, 5.0, 0.0]])
    got, delta = ref.losses_and_delta(a, np.array([1, 1]), "identity", "hinge")
    assert got.tolist() == [0.5, 0] and delta.tolist() == [[0, -1, 1], [0, 0, 0]]
    a = np.array([[ln(1.0), ln(2.0), ln(5.0)]])
    got = ref.losses_and_delta(a, np.array([1]), "softmax", "focal")[0]
    assert got == pytest.approx([(3 / 4) ** 2 * ln(4)], rel=1e-15)
    got = ref.losses_and_delta(a, np.array([1]), "softmax", "cross_entropy", label_smoothing=0.3)[0]
    assert got == pytest.approx([0.8 * ln(4) + 0.1 * ln(8) + 0.1 * ln(8 / 5)], rel=1e-15)
    a = np.array([[ln(3.0), 0.0]])
    got = ref.losses_and_delta(a, y, "sigmoid", "focal", gamma=1.0)[0]
    assert got == pytest.approx([ln(4 / 3) / 4 + ln(2) / 2], rel=1e-15)


def test_losses_far_out_are_finite():
    a = np.array([[1e4, -1e4, 0.0]])
    for output, loss, y, want in [
        ("softmax", "cross_entropy", np.array([1]), 2e4),
        ("sigmoid", "binary_cross_entropy", np.array([[0.0, 1.0, 1.0]]), 2e4 + np.log(2)),
        ("sigmoid", "squared_error", np.array([[0.0, 1.0, 0.5]]), 1.0),
        ("softmax", "squared_error", np.array([1]), 1.0),
    ]:
        losses, delta = ref.losses_and_delta(a, y, output, loss)
        assert losses == pytest.approx([want], rel=1e-15)
        assert np.isfinite(delta).all()


def test_mean_over_the_batch():
    net = ref.Net((3, 4, 2), "tanh")
    theta, x, y = make(net, batch=4, labels=True)
    alone = [ref.loss_and_gradient(net, theta, x[i : i + 1], y[i : i + 1]) for i in range(4)]
    mean_loss, grad = ref.loss_and_gradient(net, theta, x, y)
    assert abs(mean_loss - np.mean([one[0] for one in alone])) < 8 * U
    assert np.abs(grad - np.mean([one[1] for one in alone], axis=0)).max() < 16 * U


def test_optimizers_by_hand():
    """Two steps with gradients 1 and 2, alpha = mu = beta1 = 0.5, beta2 = 0.75, from theta = 0."""
    t = 2 / (np.sqrt(1.1875) + 1)
    c, d = 1 / (np.sqrt(0.1875) + 1), 2 / (np.sqrt(1.1875 - 0.6875**2) + 1)
    want = {
        "sgd": (-0.5, -1.5),
        "momentum": (-0.5, -1.75),  # v = 1, then 2.5
        "nesterov": (-0.75, -2.375),  # grad + mu v = 1.5, then 3.25
        # m = 0.5, then 1.25; v = 0.25, then 1.1875; corrected 1 and 1, then 5/3 and 19/7
        "adam": (-0.25, -0.25 - 0.5 * (5 / 3) / (np.sqrt(19 / 7) + 1)),
        "amsgrad": (-0.25, -0.25 - 0.5 * (5 / 3) / (np.sqrt(19 / 7) + 1)),  # v grew
        # mu = 3/8, 7/16, 15/32; their products 3/8, 21/128 and 315/4096
        "nadam": (
            -0.5 * (1 + (7 / 16) / (107 / 128) * 0.5) / 2,
            -0.5 * (1 + (7 / 16) / (107 / 128) * 0.5) / 2
            - 0.5
            * ((9 / 16) / (107 / 128) * 2 + (15 / 32) / (3781 / 4096) * 1.25)
            / (np.sqrt(19 / 7) + 1),
        ),
        # v = 0.25, then 1.1875; s = 2/3, then t
        "rmsprop": (-1 / 3, -1 / 3 - 0.5 * t),
        "rmsprop_momentum": (-1 / 3, -1 / 3 - 0.5 * (t + 1 / 3)),
        # c = 0.25, then 0.6875
        "rmsprop_centered": (-0.5 * c, -0.5 * (c + d)),
        "rmsprop_centered_momentum": (-0.5 * c, -0.5 * (1.5 * c + d)),
        "adagrad": (-0.25, -0.25 - 1 / (np.sqrt(5) + 1)),
        "lion": (-0.5, -1.0),
        "rprop": (-0.5, -1.25),  # steps of 0.5, then 0.75
    }
    rates = {
        **{"learning_rate": 0.5, "momentum": 0.5, "beta1": 0.5, "beta2": 0.75, "epsilon": 1.0},
        **{"psi": 0.5, "shrink": 0.5, "grow": 1.5, "least": 0.0, "most": 9.0},
    }
    assert set(want) == set(ref.OPTIMIZERS)
    for optimizer, (first, second) in want.items():
        state = np.zeros((ref.STATES[optimizer], 1))
        theta, state = ref.step(np.zeros(1), np.ones(1), state, 1, optimizer, rates)
        assert abs(theta - first) <= U
        theta, state = ref.step(theta, 2 * np.ones(1), state, 2, optimizer, rates)
        assert abs(theta - second) <= 4 * U


def test_train_takes_the_rows_in_the_order_given():
    net = ref.Net((3, 2), (), "softmax")
    theta, X, y = make(net, batch=7, labels=True)
    order = np.array([6, 0, 3, 3, 1])
    got, _, losses = ref.train(net, theta, X, y, order, 2, "sgd", {"learning_rate": 0.5})
    assert len(losses) == 3
    for rows in ([6, 0], [3, 3], [1]):
        _, grad = ref.loss_and_gradient(net, theta, X[rows], y[rows])
        theta = theta - REAL(0.5) * grad
    assert np.array_equal(got, theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [*ref.G, "softmax"])
def test_error_bounds_hold_and_are_not_vacuous(dtype, activation):
    """NumPy's own arithmetic in the dtype stays within the bounds that the kernels must meet."""
    rng = np.random.default_rng(5)
    u = ref.unit_roundoff(dtype)
    h_prev, W, b, delta = (
        rng.normal(0, 1, shape).astype(dtype) for shape in [(9, 31), (6, 31), (6,), (9, 6)]
    )
    wide = [p.astype(REAL) for p in (h_prev, W, b, delta)]

    a = wide[0] @ wide[1].T + wide[2]
    a_bound = ref.affine_bound(*wide[:3], u)
    got = h_prev @ W.T + b
    assert got.dtype == dtype
    assert (np.abs(got - a) <= a_bound).all()
    assert (a_bound <= 1e3 * u * (1 + np.abs(a).max())).all()

    bound = ref.activation_bound(a, a_bound, activation, u)
    got = ref.OUTPUTS[activation](got)
    assert (np.abs(got - ref.OUTPUTS[activation](a)) <= bound).all()
    assert (bound <= 1e4 * u * (1 + np.abs(a))).all()

    if activation != "softmax":
        of_h = ref.DG_OF_H.get(activation, lambda kept: kept)
        h = (ref.G if activation in ref.DG_OF_H else ref.DG)[activation](h_prev)
        exact = (wide[3] @ wide[1]) * of_h(h.astype(REAL))
        got = (delta @ W) * of_h(h)
        bound = ref.hidden_delta_bound(wide[3], wide[1], h.astype(REAL), activation, u)
        assert (np.abs(got - exact) <= bound).all()

    bound_W, bound_b = ref.gradient_bounds(wide[3], wide[0], u)
    assert (np.abs(delta.T @ h_prev - wide[3].T @ wide[0]) <= bound_W).all()
    assert (np.abs(delta.sum(0) - wide[3].sum(0)) <= bound_b).all()


def test_every_name_of_the_kernels_has_its_twin_here():
    """A new activation, loss or optimizer begins in tests/reference.py."""
    from fastnn.kernels import _cpu

    assert set(_cpu.ACTIVATIONS) == set(ref.G) == set(ref.DG)
    assert set(_cpu.OUTPUTS) == set(ref.OUTPUTS)
    assert set(_cpu.LOSSES) == set(ref.LOSSES)
    assert set(_cpu.OPTIMIZERS) == set(ref.OPTIMIZERS)
