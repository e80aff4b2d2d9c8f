"""A signal ends a long step between two of its blocks: nothing moved since the last whole step."""

from __future__ import annotations

import signal
import sys
import threading

import numpy as np
import pytest
import reference as ref
from compiled import engine_of

import fastnn
from fastnn.kernels import _cpu
from fastnn.network import parameters
from fastnn.network.parameters import Parameters

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
def test_a_step_that_is_left_moves_nothing(rng, norm, threads):
    """Wherever it stands: at the first time that it looks for signals, at the second, at the third,
    and where it takes long at every third of the times so far."""
    engine, vectors, X, y = made(rng, norm, 1 << 12)
    rates = {"learning_rate": 0.1, "momentum": 0.9}
    order, counts = np.arange(len(X), dtype=np.intp), np.zeros(2, np.int64)
    most, looks, left = 0, 0, 0

    def ring_at_last(*_):
        nonlocal looks
        looks += 1
        if looks == most:
            raise Rings

    signal.signal(signal.SIGALRM, ring_at_last)
    while not counts.any():  # until the step is done before it looks so often
        most, looks = max(most + 1, most * 4 // 3), 0
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            engine.train(X, y, order, len(X), rates, counts, np.full(1, np.nan), threads)
        except Rings:
            left += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        after = tuple(np.full_like(vector, np.nan) for vector in vectors)
        engine.store(*after)
        moved = [a.tobytes() != b.tobytes() for a, b in zip(after, vectors, strict=True)]
        assert moved == [counts.any()] * 2 + [counts.any() and norm is not None]
    assert left > 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_gradient_is_left(alarm, rng, threads):
    engine, (theta, *_), X, y = made(rng)
    grad = np.full_like(theta, np.nan)
    alarm()
    with pytest.raises(Rings):
        engine.gradient(X, y, grad, threads)
    assert np.isnan(grad).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("norm", "width", "n"),
    [
        (None, 4096, 200),
        ((BATCH_NORM, ("layer", 0.1, 1e-5)), 4096, 200),
        ((BATCH_NORM, ("layer", 0.1, 1e-5)), 1024, 1200),  # the gradient, too, in three of them
    ],
)
def test_blocks_change_no_bit(rng, norm, width, n, threads):
    """A step in blocks, of which one thread makes more than three, has the bits of any other."""
    net = ref.Net((2, width, width, 3), norm=norm)
    theta = 0.01 * rng.standard_normal(net.n_parameters).astype("f")
    X = rng.standard_normal((n, 2)).astype("f")
    y = rng.integers(0, 3, n).astype(np.int32)
    results = []
    for threads_now in (1, threads):
        engine = engine_of(net, "float32", n)
        engine.load(theta, None, np.ones(2 * width if norm else 0, "f"))
        grad = np.full_like(theta, np.nan)
        _cpu.set_flops_a_thread(0)
        try:
            engine.gradient(X, y, grad, threads_now)
        finally:
            _cpu.set_flops_a_thread()
        results.append(grad.tobytes())
    assert results[0] == results[1]


# Between two calls of compiled code, which see all they come to as one


class Interrupted:
    """An engine; `before` is called ahead of its method of this name, `after` as that returns."""

    def __init__(self, engine, name, before=None, after=None):
        self.engine, self.name, self.before, self.after = engine, name, before, after

    def __getattr__(self, name):
        method = getattr(self.engine, name)
        if name != self.name:
            return method

        def call(*arguments, **settings):
            if self.before:
                self.before()
            result = method(*arguments, **settings)
            if self.after:
                self.after()
            return result

        return call


def trained(rows=8):
    X = np.random.default_rng(0).standard_normal((rows, 4))
    y = np.arange(rows) % 3
    model = fastnn.Model([4, 5, 3], seed=0)
    model.partial_fit(X, y, batch_size=rows, optimizer="adam")
    return model, {"X": X, "y": y, "batch_size": rows, "optimizer": "adam"}


def once(model):
    """A function that rings when it is called first after the model's next step."""
    begun, rings = model._parameters.steps, iter([True])

    def call():
        if model._parameters.steps > begun and next(rings, False):
            ring()

    return call


def test_a_view_stays_live_where_a_signal_comes_as_it_is_written():
    """As an interrupt does in a loop of partial_fit: what the user writes next is trained on."""
    (model, call), (plain, _) = trained(), trained()
    theta, ring_once = model.theta, once(model)
    model._parameters._engine = Interrupted(model._parameters._engine, "store", after=ring_once)
    with pytest.raises(Rings):
        model.partial_fit(**call)
    plain.partial_fit(**call)
    assert theta.tobytes() == plain.theta.tobytes()
    theta[3] = plain.theta[3] = 0.25
    model.partial_fit(**call)
    plain.partial_fit(**call)
    assert model.theta.tobytes() == plain.theta.tobytes()


def test_a_view_is_written_where_a_signal_comes_as_a_call_ends(monkeypatch):
    (model, call), (plain, _) = trained(), trained()
    theta, ring_once, held = model.theta, once(model), Parameters.held
    monkeypatch.setattr(
        Parameters, "held", property(lambda self: ring_once() or held.__get__(self))
    )
    with pytest.raises(Rings):
        model.partial_fit(**call)
    plain.partial_fit(**call)
    assert theta.tobytes() == plain.theta.tobytes()


def test_a_signal_handler_may_use_the_model_within_a_step():
    """It sees the weights before the step; the step, and what is predicted later, know nothing of
    it."""
    (model, call), (plain, _) = trained(), trained()
    X, y, seen = call["X"], call["y"], []
    before = model.forward(X)

    def handle():
        seen.append(model.forward(X))
        model.loss_and_gradient(X[:2], y[:2])

    engine = model._parameters._engine
    model._parameters._engine = Interrupted(engine, "train", before=handle)
    model.partial_fit(**call)
    plain.partial_fit(**call)
    assert model._parameters._warm.engine is engine  # not lent
    assert seen[0].tobytes() == before.tobytes()
    assert model.forward(X).tobytes() == plain.forward(X).tobytes() != before.tobytes()


def test_threads_may_fork_at_once():
    """While another makes models: nobody keeps a lock, and no fork goes without."""
    kept = [fastnn.Model([2, 2], seed=0) for _ in range(20)]
    forked, failed, done = [], [], threading.Event()

    def fork():
        try:
            for _ in range(200):
                parameters._before_fork()
                forked.append(len(parameters._forking))
                parameters._after_fork()
        except BaseException as error:
            failed.append(error)

    def make():
        while not done.is_set():
            kept.append(fastnn.Model([2, 2], seed=0))
            del kept[20:]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=fork, daemon=True) for _ in range(4)]
        maker = threading.Thread(target=make, daemon=True)
        for thread in (maker, *threads):
            thread.start()
        for thread in threads:
            thread.join(30)
        done.set()
        maker.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert not failed and len(forked) == 800 and min(forked) >= 20
