"""Passes over a whole network against the reference: many random nets, sizes and batches."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from compiled import counted, engine_of

from fastnn.kernels import _cpu, layer

# 40 layers' worth of roundings: loose for one layer, far below any mistake.
TOLERANCE = {"float32": 5e-5, "float64": 1e-13}
# Small steps: whole runs are compared. An epsilon so large that a gradient near 0, whose rounding
# error is all of it, does not become a step of full size.
ADAM = {"learning_rate": 0.0005, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.1}
HEAVY = {"learning_rate": 0.0005, "momentum": 0.5}
SLOW = {**HEAVY, "beta2": 0.75, "epsilon": 0.1}
RATES = {
    "sgd": HEAVY,
    "momentum": {**HEAVY, "dampening": 0.25},
    "nesterov": HEAVY,
    "adam": ADAM,
    "amsgrad": ADAM,
    "nadam": {**ADAM, "psi": 0.96},
    "rmsprop": SLOW,
    "rmsprop_momentum": SLOW,
    "rmsprop_centered": SLOW,
    "rmsprop_centered_momentum": SLOW,
    "adagrad": SLOW,
}
PARAMETRIC = ("parametric", "mish")
SIGNS = ("lion", "rprop")  # a gradient that is rounding error alone decides theirs: not here
SETTINGS = {  # what shapes a step
    "l2": {"l2": 0.5},
    "l1": {"l1": 0.25},
    "weight_decay": {"weight_decay": 8.0},
    "not of biases": {"l1": 0.25, "l2": 0.5, "weight_decay": 8.0, "decay_bias": False},
    "clip_norm": {"clip_norm": 0.125},
    "clip_value": {"clip_value": 1 / 64},
    "max_norm": {"max_norm": 0.25},
    "ridge": {"ridge": 4.0},
    "factors": {"factors": {"W": 0.5, "b": 3.0, "gamma": 2.0}, "weight_decay": 8.0},
    "ntk": {"factors": {"W": 16.0, "b": 0.0}, "ntk": True, "weight_decay": 2.0, "l2": 0.5},
    "ntk, clipped": {"factors": {"W": 16.0}, "ntk": True, "clip_norm": 0.125},
    "all": {
        **{"l1": 0.25, "l2": 0.5, "ridge": 4.0, "weight_decay": 8.0},
        **{"clip_norm": 0.125, "clip_value": 1 / 64, "max_norm": 0.25},
    },
}


def random_case(rng):
    """A net, its theta, rows X and targets y, all small enough for a reference in longdouble."""
    K = rng.integers(1, 4)
    sizes = tuple(int(n) for n in rng.choice([1, 2, 7, 8, 16, 17, 33, 65, 100], K + 1))
    output = str(rng.choice(list(ref.OUTPUTS)))
    loss = str(rng.choice([name for name, outputs in ref.LOSSES.items() if output in outputs]))
    hidden = tuple(str(g) for g in rng.choice(list(ref.G), K - 1))
    if rng.integers(3) == 0:
        hidden = tuple(("parametric", g) if rng.integers(2) else g for g in hidden)
    bias = tuple(bool(b) for b in rng.integers(0, 2, K))
    net = ref.Net(sizes, hidden, output, loss, bias)
    n = int(rng.choice([1, 2, 5, 33, 100, 300, 600]))
    X = rng.standard_normal((n, sizes[0]))
    X[rng.random(X.shape) < rng.choice([0, 0.8])] = 0
    y = rng.random((n, sizes[-1]))
    if loss == "hinge" and sizes[-1] == 1:
        return random_case(rng)
    if loss == "cross_entropy":
        y /= y.sum(1, keepdims=True)
    if loss == "hinge" or (output == "softmax" and rng.integers(2)):
        y = rng.integers(0, sizes[-1], n)
    return net, 0.1 * rng.standard_normal(net.n_parameters), X, y


def assert_near(got, want, dtype, what):
    error = np.max(np.abs(got - want), initial=0) / (1 + np.max(np.abs(want), initial=0))
    assert error < TOLERANCE[dtype], f"{what}: off by {error}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(8))
def test_against_the_reference(isa, dtype, seed):
    rng = np.random.default_rng(seed)
    for _ in range(12):
        net, theta, X, y = random_case(rng)
        theta, X = theta.astype(dtype), X.astype(dtype)
        labels = y.ndim == 1
        y = y.astype(np.int32 if labels else dtype)
        wide_theta, wide_X = theta.astype(np.longdouble), X.astype(np.longdouble)
        wide_y = y if labels else y.astype(np.longdouble)
        n, threads = len(X), int(rng.integers(1, 4))
        weights = rng.integers(0, 4, n) / 2 if rng.integers(2) else None
        if weights is not None:
            weights[0] = 1
        batch = int(rng.choice([1, 3, 16, 64, 300]))
        optimizer = str(rng.choice(list(RATES)))
        rates = RATES[optimizer]
        if rng.integers(2):
            rates = {**rates, **SETTINGS[str(rng.choice(list(SETTINGS)))]}
        alphas = None if rng.integers(2) else 0.0005 * rng.random(-(-len(X) // batch))
        engine = engine_of(net, dtype, batch, optimizer)
        state = np.zeros((engine.n_states, theta.size), dtype)
        engine.load(theta, state)
        case = f"{net}, {n} rows, batch {batch}, {optimizer}, {rates}, {threads} threads"

        out, again = np.full((2, n, net.sizes[-1]), np.nan, dtype)
        engine.forward(X, out, threads)
        assert_near(out, ref.forward(net, wide_theta, wide_X)[1][-1], dtype, f"forward of {case}")
        loss = engine.loss(X, y, again, threads, weights)
        assert out.tobytes() == again.tobytes()
        grad = np.full_like(theta, np.nan)
        same = engine.gradient(X, y, grad, threads, weights)
        want_loss, want_grad = ref.loss_and_gradient(net, wide_theta, wide_X, wide_y, weights)
        assert_near(np.array([loss, same]), want_loss, dtype, f"loss of {case}")
        assert_near(grad, want_grad, dtype, f"gradient of {case}")

        order = rng.permutation(n)
        if "l1" in rates:  # in the long run its sign of a weight near 0 is a matter of rounding
            order = order[: 8 * batch]
        losses = np.full(-(-len(order) // batch), np.nan)
        alphas = None if alphas is None else alphas[: len(losses)]
        taken = int(rng.integers(0, 3))
        least, counts = 0.25 * int(rng.integers(3)), counted(taken)
        steps = engine.train(
            *(X, y, order, batch, rates, counts, losses, threads, alphas, weights), least=least
        )
        assert counts.tolist() == [taken + steps, taken + steps]
        assert steps == len(losses)
        engine.store(theta, state)
        want_theta, want_state, want_losses = ref.train(
            *(net, wide_theta, wide_X, wide_y, order, batch),
            *(optimizer, rates, None, taken, alphas, weights),
            least=least,
        )
        assert_near(theta, want_theta, dtype, f"theta of {case}")
        assert_near(losses, want_losses, dtype, f"losses of {case}")
        if "ntk" not in rates:  # there the reference's is V's
            assert_near(state, want_state, dtype, f"state of {case}")


def test_every_optimizer_has_its_rates():
    assert {*RATES, *SIGNS} == set(_cpu.OPTIMIZERS)


@pytest.mark.parametrize("settings", [{}, *SETTINGS.values()], ids=["none", *SETTINGS])
@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "rmsprop_centered_momentum"])
@pytest.mark.parametrize(
    ("sizes", "batch"),
    [
        ((3, 3000, 2), 700),  # rows pass in chunks
        ((5, 900, 901, 3), 3),  # delta and step go through the weights together
    ],
)
def test_every_way_through_a_step_against_the_reference(optimizer, sizes, batch, settings):
    rates = {**RATES[optimizer], **settings}
    rng = np.random.default_rng(0)
    hidden = PARAMETRIC, ("parametric", "gelu")
    net = ref.Net(sizes, hidden[: len(sizes) - 2])
    theta = 0.02 * rng.standard_normal(net.n_parameters)
    n = 2 * batch + 1
    X, y = rng.standard_normal((n, sizes[0])), rng.integers(0, sizes[-1], n).astype(np.int32)
    order, losses = rng.permutation(n), np.full(3, np.nan)
    want, want_state, want_losses = ref.train(
        net, theta.copy(), X, y, order, batch, optimizer, rates, None, 0
    )
    for threads in (1, 2):
        engine = engine_of(net, "float64", batch, optimizer)
        got, state = theta.copy(), np.zeros((engine.n_states, theta.size))
        engine.load(got, state)
        assert engine.train(X, y, order, batch, rates, counted(), losses, threads) == 3
        engine.store(got, state)
        assert_near(got, want, "float64", "theta")
        assert_near(losses, want_losses, "float64", "losses")
        if engine.n_states and "ntk" not in rates:
            assert_near(state, want_state, "float64", "state")


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_number_that_is_not_finite_is_found_wherever_it_stands(dtype):
    norms = ("batch", 0.25, 0.5), ("layer", 0.25, 0.5)
    features = {"embeddings": (("categories", (0,), 3, 2),), "feature_scale": True}
    net = ref.Net((3, 4, 5, 2), (PARAMETRIC, "tanh"), norm=norms, **features)
    engine, good = engine_of(net, dtype), (np.ones(net.n_parameters, dtype), np.ones(8, dtype))
    for vector in (0, 1):
        for i in range(good[vector].size):
            theta, running = (one.copy() for one in good)
            (theta, running)[vector][i] = (np.nan, np.inf, -np.inf)[i % 3]
            engine.load(theta, None, running)
            assert not engine.all_finite(), (vector, i)
    engine.load(good[0], None, good[1])
    assert engine.all_finite()


def test_what_an_engine_takes():
    """What Python checks before: here compiled code's own word."""
    engine, X, y = engine_of(ref.Net((2, 2)), "float64"), np.zeros((4, 2)), np.zeros(4, np.int32)
    rest = 1, {"learning_rate": 0.1}, counted(), np.zeros(4), 1
    assert engine.train(X, y, np.zeros(0, np.intp), *rest) == 0
    with pytest.raises(ValueError, match="an array must be C-contiguous"):
        engine.load(np.zeros(12)[::2], np.zeros((0, 6)))
    with pytest.raises(ValueError, match="arrays must all be of float64, got float32"):
        layer.forward(X.astype("f"), np.zeros((2, 2)), None, np.zeros((4, 2)), 0, 1)


def test_nadams_product_of_momenta_becomes_nothing():
    """After some 40 steps of momenta below 1/2 no digit is left of it."""
    net, n = ref.Net((2, 3, 2)), 100
    rates = {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.1, "psi": 0.004}
    rng = np.random.default_rng(7)
    theta = 0.1 * rng.standard_normal(net.n_parameters)
    X, y = rng.standard_normal((n, 2)), rng.integers(0, 2, n).astype(np.int32)
    order = np.arange(n)
    want, _, _ = ref.train(net, theta.copy(), X, y, order, 1, "nadam", rates, None, 0)
    engine = engine_of(net, "float64", 1, "nadam")
    engine.load(theta, np.zeros((2, theta.size)))
    assert engine.train(X, y, order, 1, rates, counted(), np.zeros(n), 1) == n
    got = np.empty_like(theta)
    engine.store(got, np.empty((2, theta.size)))
    assert_near(got, want, "float64", "theta")


def test_rates_are_told_by_name():
    engine = engine_of(ref.Net((2, 2)), "float64")
    rest = np.zeros((1, 2)), np.zeros(1, np.int32), np.zeros(1, np.intp), 1
    for rates in (
        {"learning_rate": 0.1, "rate": 1},
        {"learning_rate": 0.1, "factors": {"rate": 1}},
    ):
        with pytest.raises(ValueError, match=r"rates: unknown \{'rate'\}"):
            engine.train(*rest, rates, counted(), np.zeros(1), 1)


def test_a_loss_that_is_no_number_stops_before_its_step(isa):
    for batch in (1, 4):
        engine = engine_of(ref.Net((2, 3, 1), "relu", output="identity"), "float32", batch)
        theta = np.ones(13, "f4")
        engine.load(theta)
        X, y = np.ones((12, 2), "f4"), np.zeros((12, 1), "f4")
        y[9] = np.inf
        losses = np.zeros(12 // batch)
        rates = {"learning_rate": 0.01}
        steps = engine.train(X, y, np.arange(12), batch, rates, counted(), losses, 2)
        assert steps == 9 // batch and not np.isfinite(losses[steps])
        before = np.empty(steps)
        engine.store(after := np.empty_like(theta))
        engine.load(theta)
        engine.train(X, y, np.arange(steps * batch), batch, rates, counted(), before, 2)
        engine.store(expected := np.empty_like(theta))
        assert after.tobytes() == expected.tobytes() and np.isfinite(after).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sure_step_waits_for_whoever_comes_next(isa, dtype):
    """Its update of layer 1: with the next row in one pass, and before all else that reads W."""
    net = ref.Net((50, 20, 3), "relu")
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(net.n_parameters).astype(dtype)
    X = rng.standard_normal((8, 50)).astype(dtype)
    y = rng.integers(0, 3, 8).astype(np.int32)

    def train(engine, rows, **rates):
        counts, losses, rates = counted(), np.empty(len(rows)), {"learning_rate": 0.1, **rates}
        engine.train(X, y, np.array(rows), 1, rates, counts, losses, 1)

    def store(engine):
        engine.store(out := np.empty_like(theta))
        return out

    readers = {
        "store": store,
        "forward": lambda engine: engine.forward(X, out := np.empty((8, 3), dtype), 1) or out,
        "loss": lambda engine: engine.loss(X, y, np.empty((8, 3), dtype), 1),
        "gradient": lambda engine: engine.gradient(X, y, out := np.empty_like(theta), 1) or out,
        "all_finite": lambda engine: (engine.all_finite(), engine.store(out := theta.copy()), out),
        "train": lambda engine: (train(engine, [1, 5]), store(engine)),
        "train on other steps": lambda engine: (train(engine, [1, 5], l2=0.1), store(engine)),
    }
    for name, read in readers.items():
        engine, twin = (engine_of(net, dtype) for _ in range(2))
        for one in (engine, twin):
            one.load(theta)
            assert one.all_finite()
        for i in (3, 0, 3, 7):
            counts = counted()
            loss = engine.sure_step(X[i : i + 1], y[i : i + 1], 0.1, counts)
            assert np.isfinite(loss) and counts.tolist() == [1, 1]
        train(twin, [3, 0, 3, 7])
        np.testing.assert_equal(read(engine), read(twin), name)
        engine.load(theta)
        np.testing.assert_equal(store(engine), theta)


@pytest.mark.parametrize("sizes, batch", [((3, 3000, 1), 700), ((5, 900, 901, 1), 3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_no_way_through_a_step_moves_theta_before_the_loss_is_known(sizes, batch, threads):
    rng = np.random.default_rng(0)
    net = ref.Net(sizes, "relu", output="identity")
    theta = 0.02 * rng.standard_normal(net.n_parameters)
    engine = engine_of(net, "float64", batch)
    engine.load(theta)
    X, y = rng.standard_normal((batch, sizes[0])), np.zeros((batch, 1))
    y[0] = np.inf
    losses = np.zeros(1)
    counts, rates = counted(), {"learning_rate": 0.1}
    assert engine.train(X, y, np.arange(batch), batch, rates, counts, losses, threads) == 0
    assert not counts.any()
    after = np.full_like(theta, np.nan)
    engine.store(after)
    assert after.tobytes() == theta.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "nadam"])
def test_epsilon_beside_the_uncorrected_root(isa, dtype, optimizer):
    net = ref.Net((17, 33, 9), "tanh", "softmax")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 17)).astype(dtype), rng.integers(0, 9, 40).astype(np.int32)
    theta = rng.standard_normal(net.n_parameters).astype(dtype)
    engine, order, losses = engine_of(net, dtype, 7, optimizer), rng.permutation(40), np.empty(6)
    engine.load(theta, np.zeros((engine.n_states, theta.size), dtype))
    rates = {**RATES[optimizer], "epsilon_hat": 0.05}
    want, _, _ = ref.train(
        *(net, theta.astype(np.longdouble), X.astype(np.longdouble), y, order, 7, optimizer, rates)
    )
    assert engine.train(X, y, order, 7, rates, counted(), losses, 2) == 6
    engine.store(theta)
    assert_near(theta, want, dtype, "theta")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 7, 300])
def test_squares_of_the_weights_before_each_step(isa, dtype, batch):
    net = ref.Net((17, 33, 1, 9), "tanh", "softmax", bias=(True, False, True))
    rng = np.random.default_rng(batch)
    X, y = rng.standard_normal((40, 17)).astype(dtype), rng.integers(0, 9, 40).astype(np.int32)
    theta = rng.standard_normal(net.n_parameters).astype(dtype)
    engine, order, steps = engine_of(net, dtype, batch), rng.permutation(40), -(-40 // batch)
    engine.load(theta)
    losses, squares = np.full((2, steps), np.nan)
    rates = {"learning_rate": 0.05, "clip_norm": 0.5}
    assert engine.train(X, y, order, batch, rates, counted(), losses, 2, squares=squares) == steps
    theta, want = theta.astype(np.longdouble), []
    for start in range(0, 40, batch):
        want.append(sum((W**2).sum() for W in ref.unpack(net, theta)[0][1:]))
        rows = order[start : start + batch]
        theta, _, _ = ref.train(net, theta, X.astype(np.longdouble), y, rows, batch, "sgd", rates)
    assert_near(squares, np.array(want), dtype, "squares")
