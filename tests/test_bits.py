"""The same bits for any number of threads, on every ISA with FMA, for a row alone or in a batch.

The baseline, which has no FMA, is outside the promise over ISAs, but keeps it over threads.
"""

from __future__ import annotations

import hashlib
import platform

import numpy as np
import pytest
import reference as ref
from compiled import ALIKE, counted, engine_of

import fastnn
from bench.sweep import random_shapes
from fastnn.kernels import _cpu

NETS = {  # awkward: widths of 1, primes, one past a panel; one layer; no bias; every output
    "deep": ref.Net(
        (37, 33, 1, 65, 7), ("tanh", "relu", "sigmoid"), bias=(True, False, True, True)
    ),
    "logistic": ref.Net((129, 1), (), output="sigmoid"),
    "wide": ref.Net((3, 257, 131), "relu", output="tanh"),
    "many": ref.Net((5, 17, 1031), "sigmoid", output="softmax", loss="squared_error"),
    "keeping": ref.Net((19, 33, 20, 17, 5), ("gelu", ("leaky_relu", 0.2), "mish"), "softmax"),
    "kept last": ref.Net((40, 70, 50, 3), ("silu", "gelu_tanh"), "gelu", "squared_error"),
    "deeper": ref.Net((64,) * 6 + (10,), "relu"),
    "monotone": ref.Net(
        *((9, 33, 17, 2), ("selu", "tanh")),
        feature_scale=True,
        directions=(
            *((0, 1, 0, -1, 0, 0, 1, 0, 0), (1, 0, -1) * 11, (1, -1, 0, 1) * 4 + (-1,), (-1, 1)),
        ),
    ),
    "inputs": ref.Net(
        *((9, 33, 17, 5), ("selu", "mish")),
        embeddings=(
            ("periodic", (5, 0, 7), 18, 3),
            ("categories", (3,), 70, 9),
            ("piecewise", (1, 2), ((-1.0, -0.25, 0.5, 1.0), (0.0, 0.5)), None),
            ("piecewise", (8,), ((-1.0, -0.25, 0.5, 1.0),), 17),
            ("categories", (4,), 40, None),
        ),
        feature_scale=True,
    ),
}
RATES = {
    **{"learning_rate": 0.05, "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    **{"psi": 0.99, "shrink": 0.5, "grow": 1.2, "least": 1e-6, "most": 0.5},
}
SHAPED = {  # what shapes a step: penalties, clipping, limits
    "l2": {"l2": 0.01},
    "clip_norm": {"clip_norm": 0.1},
    "max_norm": {"max_norm": 0.5},
    "ridge": {"ridge": 0.1, "epsilon_hat": 1e-3},
    "ntk": {"ntk": True, "factors": {"W": 3.0, "b": 0.1}, "weight_decay": 0.1},
    "all": {
        **{
            "dampening": 0.1,
            "l1": 0.001,
            "ridge": 0.1,
            "l2": 0.01,
            "weight_decay": 0.1,
            "decay_bias": False,
        },
        **{"clip_norm": 0.1, "clip_value": 0.01, "max_norm": 0.5},
    },
}


@pytest.fixture(autouse=True)
def all_threads():
    _cpu.set_flops_a_thread(0)  # share even the smallest work
    yield
    _cpu.set_flops_a_thread()
    _cpu.use()


def data(net, dtype, n, zeros=0.0):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, net.sizes[0])).astype(dtype)
    X[rng.random(X.shape) < zeros] = 0
    for kind, columns, codes, _ in net.embeddings:
        if kind == "categories":
            X[:, columns[0]] = rng.integers(-1, codes, n)
    y = rng.random((n, net.sizes[-1])).astype(dtype)
    if net.output == "softmax":
        y = rng.integers(0, net.sizes[-1], n).astype(np.int32)
    theta = (rng.random(net.n_parameters) - 0.5).astype(dtype)
    for W in ref.unpack(net, theta)[0][1:]:
        W *= np.asarray(2 / np.sqrt(W.shape[1]), dtype)
    return X, y, theta


def sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def trained(net, dtype, batch, optimizer, threads, zeros=0.0, shaped=None):
    """SHA-256 of theta, the optimizer's state and the losses after two epochs."""
    X, y, theta = data(net, dtype, 67, zeros)
    e = engine_of(net, dtype, batch, optimizer)
    state = np.zeros((e.n_states, len(theta)), dtype)
    e.load(theta, state)
    losses = np.full((2, -(-67 // batch)), np.nan)
    squares = np.zeros_like(losses)
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(67)
        steps = losses.shape[1]
        rates = {**RATES, **(shaped or {})}
        wanted = {"squares": squares[epoch]} if "ridge" in rates else {}
        counts = counted(epoch * steps)
        done = e.train(X, y, order, batch, rates, counts, losses[epoch], threads, **wanted)
        assert done == steps
    before = theta.copy()
    e.store(theta, state)
    assert not np.array_equal(theta, before) and np.isfinite(theta).all()
    return sha256(theta, state, losses, squares)


LOSSES = [
    ("softmax", fastnn.CrossEntropy(0.1)),
    ("sigmoid", fastnn.BinaryCrossEntropy(0.1)),
    ("softmax", fastnn.Focal(1.3)),
    ("sigmoid", "focal"),
    ("exp", "poisson"),
    ("exp", "absolute_error"),
    ("identity", "absolute_error"),
    ("tanh", fastnn.Huber(0.3)),
    ("identity", fastnn.Quantile([0.1, 0.5, 0.7])),
    ("identity", "hinge"),
]


@pytest.mark.parametrize(("output", "loss"), LOSSES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_out", [3, 33])
@pytest.mark.parametrize("batch", [2, 31])
def test_losses_and_weights(output, loss, dtype, n_out, batch):
    rng = np.random.default_rng(3)
    X, weights = rng.standard_normal((67, 9)), rng.integers(0, 4, 67) / 3
    y = rng.random((67, n_out))
    if output == "softmax" or loss == "hinge":
        y = rng.integers(0, n_out, 67)
    if isinstance(loss, fastnn.Quantile):
        y = y[:, : n_out // 3]

    def compute(threads):
        model = fastnn.Model([9, 17, n_out], "tanh", output, loss, dtype=dtype, seed=1)
        model.n_threads = threads
        history = model.fit(X, y, epochs=2, batch_size=batch, sample_weight=weights)
        losses = np.array([*history.loss, model.evaluate(X, y, sample_weight=weights)["loss"]])
        # In a mini-batch of 31 a vector of samples, or else of a sample's outputs: the same bits.
        alone = [model.loss_and_gradient(X[i : i + 1], y[i : i + 1])[0] for i in range(5)]
        together = [  # weight 1 of row i alone: divided by 1
            model.loss_and_gradient(X, y, sample_weight=np.arange(67) == i)[0] for i in range(5)
        ]
        assert alone == together
        return sha256(model.theta, losses)

    results = over_isas_and_threads(compute)
    assert len(set(results.values())) == 1, results


def over_isas_and_threads(compute):
    results = {}
    for isa in ALIKE:
        _cpu.use(isa)
        for threads in (1, 2, 4):
            results[isa, threads] = compute(threads)
    return results


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 8, 31])
@pytest.mark.parametrize("optimizer", _cpu.OPTIMIZERS)
def test_training(name, dtype, batch, optimizer):
    results = over_isas_and_threads(lambda t: trained(NETS[name], dtype, batch, optimizer, t))
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 31])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("shaped", SHAPED)
def test_shaped_steps(name, dtype, batch, optimizer, shaped):
    results = over_isas_and_threads(
        lambda t: trained(NETS[name], dtype, batch, optimizer, t, shaped=SHAPED[shaped])
    )
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 31])
@pytest.mark.parametrize("shaped", [{}, {"clip_norm": 0.1}])
def test_parametric_activations(dtype, batch, shaped):
    net = ref.Net((19, 33, 70, 5), (("parametric", "selu"), ("parametric", "gelu")), "softmax")
    shaped = {"learning_rate": 0.001, **shaped}
    results = over_isas_and_threads(lambda t: trained(net, dtype, batch, "adam", t, shaped=shaped))
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3, 31])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_with_many_zeros(dtype, batch, optimizer):
    zeros = 0.8 if batch < 31 else 0.97
    results = over_isas_and_threads(
        lambda t: trained(NETS["deep"], dtype, batch, optimizer, t, zeros)
    )
    assert len(set(results.values())) == 1, results


USED = {  # of 131 columns, those that a mini-batch uses
    "runs": np.arange(131) % 29 > 11,
    "every other": np.arange(131) % 2 == 0,
    "every fifth": np.arange(131) % 5 == 0,
    "the last": np.arange(131) == 130,
    "the first": np.arange(131) < 3,
    "none": np.zeros(131, bool),
    "most": np.arange(131) % 9 > 0,
}


@pytest.mark.parametrize("isa", _cpu.isas())
@pytest.mark.parametrize("used", USED)
@pytest.mark.parametrize(
    ("optimizer", "shaped"), [("sgd", {}), ("sgd", {"l2": 0.01}), ("adam", {}), ("momentum", {})]
)
@pytest.mark.parametrize("batch", [2, 20, 300])
def test_columns_that_no_row_uses_change_no_bit(isa, used, optimizer, shaped, batch):
    """The others' weights are those of a network without them; theirs stay, but for l2."""
    _cpu.use(isa)
    used, rng = USED[used], np.random.default_rng(3)
    X = rng.standard_normal((300, 131)).astype(np.float32) * used
    y = rng.integers(0, 4, 300).astype(np.int32)
    start = (rng.random((19, 131)) - 0.5).astype(np.float32)
    rest = (rng.random(19 + 4 * 20) - 0.5).astype(np.float32)
    found = []
    for columns in [used, np.ones(131, bool)] if used.any() else [np.ones(131, bool)]:
        net = ref.Net((columns.sum(), 19, 4), "tanh", "softmax")
        for threads in (1, 3):
            e = engine_of(net, "float32", batch, optimizer)
            theta = np.concatenate([start[:, columns].ravel(), rest])
            e.load(theta, np.zeros((e.n_states, len(theta)), np.float32))
            losses = np.full(-(-300 // batch), np.nan)
            order, rates = np.arange(300), {**RATES, **shaped}
            assert e.train(X[:, columns], y, order, batch, rates, counted(), losses, threads)
            e.store(theta)
            W = theta[: 19 * columns.sum()].reshape(19, -1)
            if columns.all():
                if not shaped:
                    np.testing.assert_array_equal(W[:, ~used], start[:, ~used])
                W = W[:, used]
            found.append(sha256(W, theta[-len(rest) :], losses))
    assert len(set(found)) == 1


@pytest.mark.parametrize("isa", _cpu.isas())
@pytest.mark.parametrize("batch", [4, 40])
def test_columns_that_come_and_go_change_no_bit(isa, batch):
    """One call looks for them ever more rarely while it finds none; a call for each mini-batch, in
    each."""
    _cpu.use(isa)
    rng, net, found = np.random.default_rng(5), ref.Net((131, 19, 4), "tanh", "softmax"), []
    used = np.ones((70, 131), bool)
    used[[5, 6, 7, 30, *range(40, 70)]] = rng.random((34, 131)) < 0.3
    X = rng.standard_normal((70 * batch, 131)).astype(np.float32) * used.repeat(batch, 0)
    y = rng.integers(0, 4, len(X)).astype(np.int32)
    theta = (rng.random(net.n_parameters) - 0.5).astype(np.float32)
    for threads in (1, 3):
        for rows in (len(X), batch):
            e = engine_of(net, "float32", batch, "momentum")
            e.load(theta, np.zeros((e.n_states, len(theta)), np.float32))
            for first in range(0, len(X), rows):
                order, losses = np.arange(first, first + rows), np.full(rows // batch, np.nan)
                assert e.train(X, y, order, batch, RATES, counted(), losses, threads)
            e.store(got := np.empty_like(theta))
            found.append(sha256(got))
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_and_loss(name, dtype):
    X, y, theta = data(NETS[name], dtype, 300)

    def compute(threads):
        e = engine_of(NETS[name], dtype)
        e.load(theta)
        grad, out = np.empty_like(theta), np.empty((300, NETS[name].sizes[-1]), dtype)
        return sha256(e.gradient(X, y, grad, threads), grad, e.loss(X, y, out, threads), out)

    results = over_isas_and_threads(compute)
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", _cpu.isas())
def test_a_row_alone_equals_the_row_in_any_batch(name, dtype, isa):
    _cpu.use(isa)
    X, _, theta = data(NETS[name], dtype, 300)
    e = engine_of(NETS[name], dtype)
    e.load(theta)
    whole = np.empty((300, NETS[name].sizes[-1]), dtype)
    e.forward(X, whole, 4)
    for start, stop in [
        *((i, i + 1) for i in range(0, 300, 7)),
        (0, 2),
        (3, 17),
        (100, 231),
        (1, 300),
    ]:
        part = np.full((stop - start, NETS[name].sizes[-1]), np.nan, dtype)
        e.forward(X[start:stop], part, 2)
        assert part.tobytes() == whole[start:stop].tobytes(), (start, stop)


@pytest.mark.parametrize("batch", [1, 8])
def test_a_run_in_slices_equals_the_run_in_one(batch):
    net = NETS["deep"]
    X, y, theta = data(net, "float32", 64)
    results = set()
    for slices in (1, 2, 8):
        e = engine_of(net, "float32", batch, "momentum")
        e.load(theta)
        for order in np.arange(64).reshape(slices, -1):
            e.train(X, y, order, batch, RATES, counted(), np.empty(len(order) // batch), 2)
        e.store(out := np.empty_like(theta))
        results.add(sha256(out))
    assert len(results) == 1


def one_step(net, dtype, n):
    """SHA-256 of theta after a step of SGD on n rows, which must be theta - grad / 2.

    (Online learning rounds alpha delta first, and then once.)
    """
    X, y, theta = data(net, dtype, n)

    def compute(threads):
        e = engine_of(net, dtype)
        e.load(theta)
        grad = np.full_like(theta, np.nan)
        e.gradient(X, y, grad, threads)
        e = engine_of(net, dtype, n)
        e.load(theta)
        rates, losses = {"learning_rate": 0.5}, np.full(1, np.nan)
        assert e.train(X, y, np.arange(n), n, rates, counted(), losses, threads) == 1
        stepped = np.full_like(theta, np.nan)
        e.store(stepped)
        want = theta - grad / 2
        wrong = stepped != want
        if n == 1:
            wrong = ~np.isclose(stepped, want, rtol=0, atol=8 * np.finfo(dtype).eps)
        wrong = np.flatnonzero(wrong)
        assert not len(wrong), (threads, wrong, len(theta))
        return sha256(stepped)

    return compute


@pytest.mark.parametrize(
    ("sizes", "n"),
    [
        ((3, 3000, 2), 700),  # activations that outweigh L2: the rows pass in chunks
        ((5, 900, 901, 3), 3),  # weights that do: delta and step go through them together
        ((5, 900, 901, 3), 1),
        ((70, 900, 901, 1), 40),
        ((1100, 1), 9),
        ((1100, 16, 1, 5), 300),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_way_through_a_step_gives_the_gradients_bits(sizes, n, dtype):
    for g in ("sigmoid", "silu"):
        net = ref.Net(sizes, g, output="softmax" if sizes[-1] > 1 else "identity")
        results = over_isas_and_threads(one_step(net, dtype, n))
        assert len(set(results.values())) == 1, results


SHAPES = [shape for shape in random_shapes(60, seed=2) if shape.flops < 1e8]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.sizes}, {shape.batch}")
def test_random_shapes(shape):
    net = ref.Net(shape.sizes, "relu", output="softmax" if shape.sizes[-1] > 1 else "identity")
    results = over_isas_and_threads(one_step(net, "float32", shape.batch))
    assert len(set(results.values())) == 1, results


@pytest.mark.parametrize("isa", _cpu.isas())
def test_threads_on_every_isa(isa):
    _cpu.use(isa)
    assert (
        len(
            {
                trained(NETS["deep"], "float32", 8, "momentum", threads)
                for threads in (1, 2, 3, 4, 7)
            }
        )
        == 1
    )


@pytest.mark.parametrize("name", NETS)
def test_uneven_parts_of_threads_change_no_bit(name):
    """From one call to the next parts lean one way and the other."""
    net, results = NETS[name], set()
    X, y, theta = data(net, "float32", 300)
    for threads in (1, 2, 3, 7):
        e, counts = engine_of(net, "float32"), counted()
        e.load(theta)
        for _ in range(6):
            e.train(X, y, np.arange(300), 40, RATES, counts, np.empty(8), threads)
        e.store(out := np.empty_like(theta))
        results.add(sha256(out))
    assert len(results) == 1


def test_what_an_engine_did_before_does_not_matter():
    net = NETS["deep"]
    X, y, theta = data(net, "float32", 300)
    results = set()
    for before in (False, True):
        e = engine_of(net, "float32")
        e.load(theta)
        if before:
            e.gradient(X, y, np.empty_like(theta), 2)
            e.loss(X, y, np.empty((300, 7), "f4"), 2)
        e.train(X, y, np.arange(50), 1, RATES, counted(), np.empty(50), 2)
        e.store(out := np.empty_like(theta))
        results.add(sha256(out))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_where_arm_parts_from_x86(dtype):
    """A product within half a unit in the last place below the smallest normal number: x86-64
    rounds it up to that, arm64 has made it 0 before. Half of that number is 0 on both."""
    digits = np.finfo(dtype).nmant // 2 + 2  # (1 - e) (1 + e) = 1 - e^2 needs twice as many
    e, root = 2.0**-digits, np.sqrt(np.finfo(dtype).tiny)
    x = np.array([[(1 - e) * root]], dtype)
    model = fastnn.Model([1, 1], output="identity", dtype=dtype, seed=0)
    arm = platform.machine().lower() in ("arm64", "aarch64")
    for w, want in (((1 + e) * root, 0 if arm else np.finfo(dtype).tiny), (root / 2, 0)):
        model.W[0][:] = w
        results = over_isas_and_threads(lambda threads: model.network_only().forward(x).item())
        assert set(results.values()) == {want}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [128, 1])
def test_mnist(mnist, dtype, batch_size):
    X, y, X_test, _ = mnist

    def compute(threads):
        model = fastnn.Model([784, 128, 10], dtype=dtype, seed=0)
        with fastnn.threads(threads):
            model.fit(X[:6000], y[:6000], epochs=2, batch_size=batch_size, learning_rate=0.05)
            return sha256(model.theta, model.forward(X_test))

    results = over_isas_and_threads(compute)
    assert len(set(results.values())) == 1, results
