"""A signal ends a long step between two of its blocks: nothing moved since the last whole step."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import reference as ref
from compiled import engine_of

from fastnn.kernels import _cpu

if not hasattr(signal, "setitimer"):
    pytest.skip("no timer that sends a signal", allow_module_level=True)

N, BATCH_NORM = 1 << 16, ("batch", 0.1, 1e-5)
SIZES = (64, 1024, 1024, 4)


class Rings(Exception):
    pass


def ring(*_):
    raise Rings


@pytest.fixture(autouse=True)
def alarm():
    before = signal.signal(signal.SIGALRM, ring)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.02)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def made(rng, norm=None, n=N):
    """An engine, what it was loaded with, and n rows: a pass takes seconds."""
    net = ref.Net(SIZES, norm=norm)
    engine = engine_of(net, "float32", n, "momentum")
    theta = 0.01 * rng.standard_normal(net.n_parameters).astype("f")
    vectors = theta, np.zeros((1, theta.size), "f"), np.ones(2 * 2048 if norm else 0, "f")
    engine.load(*vectors)
    X = rng.standard_normal((n, SIZES[0])).astype("f")
    return engine, vectors, X, rng.integers(0, SIZES[-1], n).astype(np.int32)


@pytest.mark.parametrize("norm", [None, (BATCH_NORM, BATCH_NORM)], ids=["chunks", "one chunk"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_that_is_left_moves_nothing(alarm, rng, norm, threads):
    engine, vectors, X, y = made(rng, norm)
    losses, counts = np.full(1, np.nan), np.zeros(2, np.int64)
    alarm()
    with pytest.raises(Rings):
        engine.train(
            *(X, y, np.arange(N, dtype=np.intp), N, {"learning_rate": 0.1, "momentum": 0.9}),
            *(counts, losses, threads),
        )
    assert not counts.any()
    after = tuple(np.full_like(vector, np.nan) for vector in vectors)
    engine.store(*after)
    for vector, was in zip(after, vectors, strict=True):
        assert vector.tobytes() == was.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_gradient_is_left(alarm, rng, threads):
    engine, (theta, *_), X, y = made(rng)
    grad = np.full_like(theta, np.nan)
    alarm()
    with pytest.raises(Rings):
        engine.gradient(X, y, grad, threads)
    assert np.isnan(grad).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("norm", [None, (BATCH_NORM, ("layer", 0.1, 1e-5))])
def test_blocks_change_no_bit(rng, norm, threads):
    """A step in blocks, which a wide layer makes short, is the step of the reference."""
    net = ref.Net((2, 4096, 4096, 3), norm=norm)
    n = 200
    theta = 0.01 * rng.standard_normal(net.n_parameters).astype("f")
    X = rng.standard_normal((n, 2)).astype("f")
    y = rng.integers(0, 3, n).astype(np.int32)
    results = []
    for threads_now in (1, threads):
        engine = engine_of(net, "float32", n)
        engine.load(theta, None, np.ones(2 * 4096 if norm else 0, "f"))
        grad = np.full_like(theta, np.nan)
        _cpu.set_flops_a_thread(0)
        try:
            engine.gradient(X, y, grad, threads_now)
        finally:
            _cpu.set_flops_a_thread()
        results.append(grad.tobytes())
    assert results[0] == results[1]
