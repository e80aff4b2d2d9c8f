"""Training: what a step and an epoch are, going on, divergence, interrupts, progress."""

from __future__ import annotations

import io
import signal
import sys
import threading
import time

import numpy as np
import pytest
import reference as ref

import fastnn
from fastnn.random import SHUFFLE, permutation
from fastnn.training import loop
from fastnn.training.progress import Progress

RULES = {
    "sgd": fastnn.SGD(0.1),
    "momentum": fastnn.SGD(0.1, momentum=0.9),
    "nesterov": fastnn.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": fastnn.Adam(0.01),
}


def make(dtype="float64", seed=5):
    return fastnn.Model([4, 6, 3], activation="tanh", dtype=dtype, seed=seed)


def data(n=50):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    return X, X[:, :3].argmax(1)


def expected(rule, epochs, batch, shuffle=True, seed=5, first=0):
    """theta and losses of the same training by the reference."""
    net = ref.Net((4, 6, 3), "tanh")
    X, y = data()
    theta, losses = make(seed=seed).theta.copy(), []
    state, n = np.zeros((ref.STATES[rule.kind], len(theta))), 0
    for epoch in range(first, first + epochs):
        order = permutation(seed, SHUFFLE, epoch, len(X)) if shuffle else np.arange(len(X))
        total = 0.0
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]
            loss, grad = ref.loss_and_gradient(net, theta, X[rows], y[rows])
            total += loss * len(rows)
            n += 1
            theta, state = ref.step(theta, grad, state, n, rule.kind, rule.rates)
        losses.append(total / len(X))
    return theta, losses


@pytest.mark.parametrize("batch", [1, 7, 50, 64])
@pytest.mark.parametrize("rule", RULES)
def test_fit_is_the_reference(rule, batch):
    model = make()
    X, y = data()
    history = model.fit(X, y, epochs=2, batch_size=batch, optimizer=RULES[rule])
    theta, losses = expected(RULES[rule], 2, batch)
    np.testing.assert_allclose(model.theta, theta, rtol=0, atol=1e-11)
    np.testing.assert_allclose(history.loss, losses, rtol=0, atol=1e-11)


def test_drop_last():
    """A smaller mini-batch at the end takes no step, and schedules count none."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(22, 3)), rng.integers(0, 2, 22)
    settings = {"epochs": 3, "batch_size": 5, "learning_rate": fastnn.OneCycle(0.1)}

    def trained(n, **more):
        model = fastnn.Model([3, 4, 2], seed=0)
        model.fit(X[:n], y[:n], **settings, **more)
        return model.theta

    want = trained(20, shuffle=False)
    assert np.array_equal(trained(22, shuffle=False, drop_last=True), want)
    assert not np.array_equal(trained(22, shuffle=False), want)
    assert np.array_equal(trained(20, drop_last=True), trained(20))
    for few in (4, 1):  # one mini-batch of all
        assert np.array_equal(trained(few, drop_last=True), trained(few))
    shuffled = fastnn.Model([3, 4, 2], seed=0)
    shuffled.fit(X, y, **settings, drop_last=True)
    assert shuffled._parameters.steps == 12
    with pytest.raises(ValueError, match="drop_last must come with X and y"):
        fastnn.Model([3, 4, 2]).fit([(X, y)], drop_last=True)


def test_without_shuffle_and_partial_fit():
    X, y = data()
    theta, losses = expected(RULES["momentum"], 1, 1, shuffle=False)
    one, two, three = make(), make(), make()
    one.fit(X, y, epochs=1, batch_size=1, optimizer=RULES["momentum"], shuffle=False)
    loss = two.partial_fit(X, y, optimizer=RULES["momentum"])
    for i in range(len(X)):  # sample by sample: the velocity is kept
        three.partial_fit(X[i : i + 1], y[i : i + 1], optimizer=RULES["momentum"])
    np.testing.assert_allclose(one.theta, theta, rtol=0, atol=1e-12)
    assert one.theta.tobytes() == two.theta.tobytes() == three.theta.tobytes()
    assert loss == pytest.approx(losses[0], abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_fit_twice_is_fit_once(rule):
    X, y = data()
    one, two = make("float32"), make("float32")
    history = one.fit(X, y, epochs=5, batch_size=8, optimizer=RULES[rule])
    parts = [two.fit(X, y, epochs=n, batch_size=8, optimizer=RULES[rule]) for n in (2, 3)]
    assert one.theta.tobytes() == two.theta.tobytes()
    assert parts[0].loss + parts[1].loss == history.loss
    assert parts[1].epoch == [3, 4, 5]


def test_another_optimizer_begins_with_no_velocity():
    X, y = data()
    one, two = make(), make()
    one.fit(X, y, epochs=1, batch_size=8, optimizer=RULES["momentum"])
    two.theta = one.theta
    one.partial_fit(X, y, optimizer=RULES["nesterov"])
    two.partial_fit(X, y, optimizer=RULES["nesterov"])
    assert one.theta.tobytes() == two.theta.tobytes()


def test_rate_given_to_fit_wins():
    X, y = data()
    one, two = make(), make()
    one.fit(X, y, epochs=1, optimizer=fastnn.SGD(0.5, 0.9), learning_rate=0.1)
    two.fit(X, y, epochs=1, optimizer=RULES["momentum"])
    assert one.theta.tobytes() == two.theta.tobytes()


@pytest.mark.parametrize("slice_seconds", [1e-12, 1e-4, 1e9])
def test_slices_change_nothing(slice_seconds, monkeypatch):
    X, y = data()
    one, two = make("float32"), make("float32")
    a = one.fit(X, y, epochs=3, batch_size=3)
    monkeypatch.setattr(loop, "SLICE_SECONDS", slice_seconds)
    b = two.fit(X, y, epochs=3, batch_size=3)
    assert one.theta.tobytes() == two.theta.tobytes() and a.loss == b.loss


def test_threads_and_shuffles_change_nothing():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 300)), rng.integers(0, 10, 600)
    thetas = set()
    for n in (1, 2, 4):
        model = fastnn.Model([300, 256, 10], seed=1, n_threads=n)
        model.fit(X, y, epochs=2, batch_size=100, validation_data=(X, y))
        thetas.add(model.theta.tobytes())
    assert len(thetas) == 1


def test_validation_is_evaluate():
    X, y = data()
    model = make()
    history = model.fit(X, y, epochs=2, validation_data=(X[:9], y[:9]))
    result = model.evaluate(X[:9], y[:9])
    assert history.val_loss[-1] == result["loss"]
    assert history.val_accuracy[-1] == result["accuracy"]


def test_learns():
    X, y = data(500)
    model = make("float32")
    history = model.fit(X, y, epochs=60, batch_size=16, optimizer=RULES["momentum"])
    assert history.loss[-1] < history.loss[0] / 5
    assert model.evaluate(X, y)["accuracy"] > 0.95


# Divergence


def state(model):
    p = model._parameters
    return p.theta.tobytes(), p.optimizer, p.state.tobytes(), p.epoch


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_names_epoch_and_batch_and_changes_nothing(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 4)) * 100
    y = X.sum(1)
    model = fastnn.Model([4, 8, 1], output="identity", dtype=dtype, seed=0)
    model.fit(X / 100, y / 100, epochs=2, optimizer=fastnn.SGD(0.001, momentum=0.5))
    before, theta = state(model), model.theta
    pattern = r"diverged: epoch 3, batch [1-8] has the loss (inf|nan).*smaller learning_rate"
    with pytest.raises(fastnn.DivergenceError, match=pattern) as caught:
        model.fit(X, y, epochs=5, batch_size=8, optimizer=fastnn.SGD(1e30))
    assert isinstance(caught.value, (fastnn.FastnnError, ArithmeticError))
    assert state(model) == before and model.theta is theta
    with pytest.raises(fastnn.DivergenceError, match=r"batch [1-9]"):
        model.partial_fit(X, y, optimizer=fastnn.SGD(1e30))
    assert state(model) == before


def test_divergence_in_the_last_step_is_seen():
    X, y = np.full((1, 2), 1e30), [1e30]
    model = fastnn.Model([2, 1], output="identity", seed=0)
    model.theta = [0, 0, 0]
    before = state(model)
    with pytest.raises(fastnn.DivergenceError, match=r"epoch 1, batch 1 |epoch 1, the last batch"):
        model.fit(X, y, epochs=1, learning_rate=1e30)
    assert state(model) == before
    y = [1.0]
    with pytest.raises(fastnn.DivergenceError, match="the last batch left a weight"):
        model.fit(X, y, epochs=1, learning_rate=1e30)
    assert state(model) == before


# Interrupts

needs_timer = pytest.mark.skipif(
    not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread(),
    reason="needs POSIX timers",
)


def interrupted(call, after):
    """Seconds from SIGINT to the KeyboardInterrupt that `call` raises."""
    sent = []

    # A timer thread sends it, so that the clock starts when the signal does.
    main = threading.main_thread().ident
    old = signal.signal(signal.SIGINT, signal.default_int_handler)

    def send():
        sent.append(time.perf_counter())
        signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
        return time.perf_counter() - sent[0]
    finally:
        timer.join()
        signal.signal(signal.SIGINT, old)


@needs_timer
@pytest.mark.parametrize(
    ("sizes", "batch"), [([64, 64, 10], 1), ([64, 64, 10], 32), ([784, 512, 512, 10], 128)]
)
def test_interrupt_within_100_ms_leaves_the_last_whole_step(sizes, batch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, sizes[0])).astype(np.float32)
    y = rng.integers(0, 10, len(X)).astype(np.int32)
    model = fastnn.Model(sizes, seed=0)
    seconds = interrupted(lambda: model.fit(X, y, epochs=10_000, batch_size=batch), 0.3)

    def after(n_steps):
        """theta of as many steps, not interrupted."""
        twin = fastnn.Model(sizes, seed=0)
        epochs, rest = divmod(n_steps, -(-len(X) // batch))
        if epochs:
            twin.fit(X, y, epochs=epochs, batch_size=batch)
        if rest:
            order = permutation(0, SHUFFLE, epochs, len(X))[: rest * batch]
            twin.partial_fit(X[order], y[order], batch_size=batch)
        return twin.theta.tobytes()

    assert model.theta.tobytes() == after(model._parameters.steps)
    model.fit(X[:100], y[:100], epochs=1)  # and it trains on
    assert seconds < 0.1, f"the interrupt took {seconds:.3f} s"


@needs_timer
@pytest.mark.parametrize("what", ["forward", "evaluate"])
def test_long_predictions_stop_too(what):
    X = np.ones((40_000, 784), np.float32)
    y = np.zeros(len(X), np.int32)
    model = fastnn.Model([784, 512, 512, 10], seed=0)
    call = {"forward": lambda: model.forward(X), "evaluate": lambda: model.evaluate(X, y)}[what]

    def long():
        while True:
            call()

    assert interrupted(long, 0.2) < 0.1


# Progress


def test_plain_lines_go_to_stderr(capsys):
    X, y = data()
    make().fit(X, y, epochs=2, validation_data=(X, y), verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ") and "val_accuracy" in lines[1]
    make().fit(X, y, epochs=2)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar_on_a_terminal(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    X, y = data()
    make().fit(X, y, epochs=2, verbose=True)
    text = sys.stderr.getvalue()
    assert "epoch 1/2   0%" in text and "epoch 2/2 100%" in text and "loss " in text


def test_loss_moves_within_an_epoch(monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = Progress(1, 4)
    for loss in (0.75, 0.5):
        progress._bar.last_print_t = 0  # as if long ago
        progress.samples(2, loss)
    progress.close()
    text = sys.stderr.getvalue()
    assert " 50%|" in text and "loss 0.7500" in text and "loss 0.5000" in text


def test_lines_on_a_terminal_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    X, y = data()
    make().fit(X, y, epochs=2, verbose=True)
    assert len(sys.stderr.getvalue().splitlines()) == 2


# Cost


def test_python_costs_little():
    """A fit of ten steps of a small net: well under 5 ms, whatever the machine is doing."""
    X, y = (a[:32] for a in data())
    model = make("float32")
    best = min(_seconds(lambda: model.fit(X, y, epochs=10, batch_size=32)) for _ in range(20))
    assert best < 0.005


def _seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


# Scale


def test_numbers_too_large_to_learn_from_are_told_of():
    """Once, of the column that is to blame; not of what trains."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 10))
    y = (X[:, 0] > 0).astype(int)
    X[:, 3] = 50_000 * (1 + 0.3 * X[:, 3])
    model = fastnn.Model([10, 16, 2], seed=0)
    with pytest.warns(UserWarning, match=r"column 3 of X has values around 5e\+04") as caught:
        model.fit(X, y, epochs=1, optimizer="adam")
    assert len(caught) == 1 and caught[0].filename == __file__
    model.fit(X, y, epochs=1, optimizer="adam")  # it has been said
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.warns(UserWarning, match="column 3 of X"):
        fastnn.Model([10, 16, 2], seed=0).fit(sparse.csr_array(X), y, epochs=1, optimizer="adam")


@pytest.mark.parametrize(
    "kind", ["scaled", "images", "normalised", "weights", "ages", "input_scale"]
)
def test_numbers_that_train_are_not_told_of(kind):
    """Warnings are errors here."""
    rng = np.random.default_rng(0)
    X, n = rng.normal(size=(300, 10)), 10
    y = (X[:, 0] > 0).astype(int)
    settings = {}
    if kind == "images":
        X, n = rng.integers(0, 256, (300, 784), dtype=np.uint8), 784
    if kind == "input_scale":
        X, settings = rng.integers(0, 10**6, (300, 10)), {"input_scale": 1e-6}
    if kind == "normalised":
        X, settings = X * 1e6, {"norm": "batch"}
    if kind == "ages":
        X = 45 + 20 * X
    model = fastnn.Model([n, 16, 2], seed=0, **settings)
    if kind == "weights":  # that were learned on such numbers
        X = X * 1e6
        model.W[0] /= 1e6
    model.fit(X, y, epochs=1, learning_rate=1e-6)
