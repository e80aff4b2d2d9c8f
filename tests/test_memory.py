"""Compiled code writes where it may: every door refuses read-only arrays, and no size wraps."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from compiled import counted, engine_of

from fastnn.kernels import _cpu, layer
from fastnn.kernels.predict import Frozen

N = 5
NET = ref.Net((3, 4, 2), norm=(("batch", 0.1, 1e-5),))
X = np.linspace(-1, 1, 3 * N).reshape(N, 3)
Y = np.arange(N, dtype=np.int32) % 2
ORDER = np.arange(N, dtype=np.intp)


def frozen(*shape):
    """Zeros that nobody may write."""
    array = np.zeros(shape)
    array.flags.writeable = False
    return array


def zeros(*shape):
    return np.zeros(shape)


@pytest.fixture
def engine():
    made = engine_of(NET, "float64", N, "momentum")
    made.load(zeros(NET.n_parameters), zeros(1, NET.n_parameters), zeros(8))
    return made


def train(engine, losses, squares=None):
    rates = {"learning_rate": 0.1, "momentum": 0.5}
    engine.train(X, Y, ORDER, N, rates, counted(), losses, 1, squares=squares)


WRITERS = {
    "store theta": lambda e, out: e.store(out(NET.n_parameters)),
    "store state": lambda e, out: e.store(zeros(NET.n_parameters), out(1, NET.n_parameters)),
    "store statistics": lambda e, out: e.store(zeros(NET.n_parameters), None, out(8)),
    "gradient": lambda e, out: e.gradient(X, Y, out(NET.n_parameters), 1),
    "forward": lambda e, out: e.forward(X, out(N, 2), 1),
    "loss": lambda e, out: e.loss(X, Y, out(N, 2), 1),
    "train losses": lambda e, out: train(e, out(1)),
    "train squares": lambda e, out: train(e, zeros(1), out(1)),
}


@pytest.mark.parametrize("door", WRITERS)
def test_an_engine_refuses_read_only_memory(engine, door):
    WRITERS[door](engine, zeros)
    with pytest.raises(ValueError, match="read-only"):
        WRITERS[door](engine, frozen)


def test_a_frozen_network_refuses_read_only_memory():
    net = ref.Net((3, 2))
    theta = zeros(net.n_parameters)
    model = Frozen((3, 2), (), SOFTMAX, LOSS, (True,), "float64", theta, (), zeros(0))
    model.forward(X, zeros(N, 2))
    with pytest.raises(ValueError, match="out must be a writable array"):
        model.forward(X, frozen(N, 2))


LOSS = (_cpu.LOSSES["cross_entropy"], {})
SOFTMAX, RELU = _cpu.OUTPUTS["softmax"], _cpu.ACTIVATIONS["relu"]
H, W, DELTA = zeros(N, 3), zeros(2, 3), zeros(N, 2)
SGD = _cpu.OPTIMIZERS["sgd"]
MOMENTUM = _cpu.OPTIMIZERS["momentum"]
RATES = {"learning_rate": 0.1}
BATCH = _cpu.NORMS["batch"]
PASSES = {  # function of its outputs, and their shapes
    "forward": (lambda h: layer.forward(H, W, None, h, SOFTMAX, 1), [(N, 2)]),
    "slope": (lambda d: layer.slope(H, d, RELU), [(N, 3)]),
    "output_delta": (
        lambda h, delta, losses: layer.output_delta(
            DELTA, Y, h, delta, losses, SOFTMAX, LOSS, 1
        ),
        [(N, 2), (N, 2), (N,)],
    ),
    "hidden_delta": (lambda out: layer.hidden_delta(DELTA, W, H, out, RELU, 1), [(N, 3)]),
    "gradient": (lambda W, b: layer.gradient(DELTA, H, W, b, 1), [(2, 3), (2,)]),
    "update": (
        lambda theta, state: layer.update(theta, zeros(4), state, MOMENTUM, RATES, 1, 1),
        [(4,), (1, 4)],
    ),
    "normalise": (
        lambda xhat, a, h, inv: layer.normalise(
            H, zeros(3), None, None, None, xhat, a, h, inv, BATCH, 1e-5, RELU
        ),
        [(N, 3), (N, 3), (N, 3), (3,)],
    ),
    "normalise_delta": (
        lambda du, grad: layer.normalise_delta(H, H, zeros(3), zeros(3), du, grad, BATCH),
        [(N, 3), (3,)],
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_refuses_read_only_memory(name):
    function, shapes = PASSES[name]
    function(*(zeros(*shape) for shape in shapes))
    for refused in range(len(shapes)):
        outs = [(frozen if i == refused else zeros)(*s) for i, s in enumerate(shapes)]
        with pytest.raises(ValueError, match="read-only"):
            function(*outs)


@pytest.mark.parametrize("batch", [2**31, 2**58, 2**60, 2**61, 2**62, 2**63 - 1])
def test_the_size_of_a_batch_never_wraps(batch):
    """Bytes for so many rows are refused, or the batch is that of the rows there are."""
    engine = engine_of(NET, "float64", batch, "momentum")
    theta, state, want = (
        np.linspace(-1, 1, NET.n_parameters),
        zeros(1, NET.n_parameters),
        engine_of(NET, "float64", N, "momentum"),
    )
    for e in (engine, want):
        e.load(theta, state, zeros(8))
    losses, expected = np.full((2, 1), np.nan)
    train(want, expected)
    rates = {"learning_rate": 0.1, "momentum": 0.5}
    try:
        engine.train(X, Y, ORDER, batch, rates, counted(), losses, 1)
    except MemoryError:
        return
    assert losses == expected
