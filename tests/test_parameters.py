"""How weights travel: vectors that users see, panels that the engine computes on, and who may write
where and when."""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastnn
from fastnn.network.parameters import Parameters
from fastnn.predictor import Predictor

RULES = ["sgd", fastnn.SGD(0.05, momentum=0.9), "adam"]


def data(n=64, n_in=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, n_in)).astype(np.float32), rng.integers(0, 3, n)


def make(**settings):
    return fastnn.Model([6, 12, 3], seed=1, **settings)


def state(model):
    steps, *vectors = model._parameters.snapshot()
    return steps, *(vector.tobytes() for vector in vectors)


class Watched:
    """Calls of an engine's method while the context lasts."""

    def __init__(self, parameters, name):
        self.parameters, self.name, self.count = parameters, name, 0

    def __enter__(self):
        watched, engine = self, self.parameters._engine

        class Engine:
            def __getattr__(self, name):
                if name == watched.name:
                    watched.count += 1
                return getattr(engine, name)

        self.parameters._engine = Engine()
        return self

    def __exit__(self, *_):
        pass


# Packing


@pytest.mark.parametrize("rule", RULES)
def test_calls_in_a_row_neither_pack_nor_unpack(rule):
    X, y = data()
    one, views = make(), make()
    theta = views.theta  # held: so written at the end of each call
    for i in range(3):
        assert one.partial_fit(X[i : i + 1], y[i : i + 1], optimizer=rule) == views.partial_fit(
            X[i : i + 1], y[i : i + 1], optimizer=rule
        )
        assert theta.tobytes() == views.predictor()._theta.tobytes()
    gc.collect()
    with Watched(one._parameters, "load") as loads:
        for i in range(3, 6):
            one.partial_fit(X[i : i + 1], y[i : i + 1], optimizer=rule)
            views.partial_fit(X[i : i + 1], y[i : i + 1], optimizer=rule)
    assert loads.count == 0
    assert state(one) == state(views)


LOOKS = {
    "nothing": lambda m, X, y: None,
    "theta": lambda m, X, y: m.theta.sum(),
    "forward": lambda m, X, y: m.forward(X),
    "gradient": lambda m, X, y: m.loss_and_gradient(X, y),
    "pickle": lambda m, X, y: pickle.loads(pickle.dumps(m)).evaluate(X, y),
    "copy": lambda m, X, y: copy.deepcopy(m).partial_fit(X, y),
    "two rows": lambda m, X, y: m.partial_fit(X[:2], y[:2]),
    "a mini-batch": lambda m, X, y: m.partial_fit(X[:8], y[:8], batch_size=8),
    "zeros": lambda m, X, y: m.partial_fit(np.zeros((1, 6)), y[:1]),
    "sparse": lambda m, X, y: m.partial_fit(pytest.importorskip("scipy.sparse").csr_array(X), y),
    "another rule": lambda m, X, y: m.partial_fit(X, y, optimizer="adam"),
    "failures": lambda m, X, y: [diverge(m, label) for label in range(3)],
}


def diverge(model, label):
    with contextlib.suppress(fastnn.DivergenceError):
        model.partial_fit(np.full((1, 6), 3e38), [label], learning_rate=1e30)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8", "mostly zeros"])
def test_rows_in_calls_of_their_own_take_the_steps_of_one_call(kind, look):
    """Between calls the last step of layer 1 is still to come: nobody may miss it."""
    X, y = data()
    X = np.where(np.arange(X.size).reshape(X.shape) % 5, 0, X) if kind == "mostly zeros" else 9 * X
    X = X if kind == "mostly zeros" else X.astype(kind)
    one, twin = make(), make()
    for start in range(0, 64, 16):
        for i in range(start, start + 16):
            one.partial_fit(X[i : i + 1], y[i : i + 1], learning_rate=0.02)
        twin.partial_fit(X[start : start + 16], y[start : start + 16], learning_rate=0.02)
        seen = [LOOKS[look](model, X, y) for model in (one, twin)]
        if look in ("theta", "forward", "gradient", "pickle"):
            np.testing.assert_equal(*seen)
        np.testing.assert_array_equal(*(copy.deepcopy(model).theta for model in (one, twin)))
    np.testing.assert_array_equal(one.theta, twin.theta)  # -0 is 0, where zeros are skipped
    assert one._parameters.steps == twin._parameters.steps


@pytest.mark.parametrize(
    "settings",
    [{}, {"dtype": "float64"}, {"norm": "layer"}, {"dropout": 0.3}, {"compute_dtype": "bfloat16"}],
    ids=str,
)
@pytest.mark.parametrize("rule", [*RULES, fastnn.SGD(fastnn.InverseScaling(0.1)), "rprop"], ids=str)
def test_pieces_of_whole_mini_batches_give_the_bits_of_one_call(rule, settings):
    """Also where the last piece is a row alone."""
    X, y = data(65)
    whole, pieces = make(**settings), make(**settings)
    whole.partial_fit(X, y, batch_size=8, optimizer=rule)
    for start in range(0, 65, 16):
        rows = slice(start, start + 16)
        pieces.partial_fit(X[rows], y[rows], batch_size=8, optimizer=rule)
    assert state(pieces) == state(whole)


def test_a_fit_with_a_callback_packs_what_the_callback_changed_alone():
    X, y = data()
    model, seen = make(), []

    def look(fit):
        seen.append(fit.model.evaluate(X, y)["loss"])
        if fit.epoch == 5:
            fit.model.W[0][0, 0] = 0.25

    model.fit(X, y, epochs=1)
    with Watched(model._parameters, "load") as loads:
        call = fastnn.LambdaCallback(on_epoch_end=look)
        model.fit(X, y, epochs=6, callbacks=[call])
    assert len(set(seen)) == 6
    if getattr(sys, "_is_gil_enabled", lambda: True)():  # without it nobody knows who holds W
        assert loads.count == 1


def test_views_are_live_however_they_are_held():
    X, y = data()
    model = make()
    holders = {
        "theta": lambda m: m.theta,
        "slice": lambda m: m.theta[3:][2:],
        "W": lambda m: m.W[1],
        "memory": lambda m: memoryview(m.theta),
        "flat": lambda m: np.frombuffer(memoryview(m.b[0]), np.float32),
    }
    torch = pytest.importorskip("torch", reason="a tensor is a view, too")
    holders["tensor"] = lambda m: torch.from_numpy(m.W[0])
    for name, hold in holders.items():
        kept = hold(model)
        seen = np.asarray(kept)  # a view of the view
        before = seen.copy()
        model.partial_fit(X[:8], y[:8], learning_rate=0.5)
        assert not np.array_equal(before, seen), name
        np.testing.assert_array_equal(seen, np.asarray(hold(make_like(model))), name)
        seen[:1] = 0.5
        want = make_like(model)
        assert np.asarray(hold(model)).ravel()[0] == 0.5
        assert model.forward(X).tobytes() == want.forward(X).tobytes(), name
        assert model.partial_fit(X, y) == want.partial_fit(X, y), name
        del kept, seen


def make_like(model):
    twin = make()
    twin.theta = model.theta.copy()
    return twin


def test_predictions_keep_their_weights_until_theta_changes():
    X, y = data()
    model = make()
    f = model.predictor()
    assert model.predictor() is f
    assert model.theta.sum() != 0 and model.predictor() is f  # looked at, not written
    W = model.W[0]
    assert model.predictor() is f
    W[0, 0] += 1
    assert model.predictor() is not f
    assert (model.forward(X) == make_like(model).forward(X)).all()
    f = model.predictor()
    model.partial_fit(X, y)
    assert model.predictor() is not f
    model.n_threads = 1
    assert model.predictor().threads() == 1


def test_without_reliable_counts_views_are_written_eagerly(monkeypatch):
    monkeypatch.setattr(fastnn.network.parameters, "_counts_are_exact", lambda: False)
    X, y = data()
    model, twin = make(), make()
    theta = model.theta
    address = theta.ctypes.data
    del theta
    model.partial_fit(X, y)
    twin.partial_fit(X, y)
    assert not model._parameters._ahead and model._parameters._theta.own.ctypes.data == address
    assert state(model) == state(twin)


# What failed calls leave


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("rule", RULES)
def test_a_call_that_diverges_leaves_what_was_there(rule, batch, batches):
    X, y = data()
    model = make(norm="batch") if batch > 1 else make()
    for _ in range(3):
        model.partial_fit(X[:batch], y[:batch], batch_size=batch, optimizer=rule)
    rows = np.resize(X, (batches * batch, 6))
    rows[-1] = 3e38
    for _ in range(20):
        before = state(model)
        try:
            model.partial_fit(rows, np.resize(y, len(rows)), batch_size=batch, optimizer=rule)
        except fastnn.DivergenceError:
            break
    else:
        pytest.fail("it never diverged")
    assert state(model) == before


def test_an_overflowing_last_step_is_not_taken():
    model = fastnn.Model([2, 1], output="identity", seed=0)
    model.theta = [0, 0, 0]
    for _ in range(3):  # from here on steps are known to be finite beforehand
        model.partial_fit(np.zeros((1, 2)), [0.0])
    before = state(model)
    with pytest.raises(fastnn.DivergenceError, match="the last batch left a weight"):
        model.partial_fit(np.full((1, 2), 1e30), [1.0], learning_rate=1e30)
    assert state(model) == before


# Memory that is not ours


def run(code, *args):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_pickle_with_buffers_out_of_band_is_not_written_into():
    X, y = data()
    model = make(norm="batch")
    model.fit(X, y, epochs=1, optimizer="adam")
    buffers = []
    text = pickle.dumps(model, protocol=5, buffer_callback=buffers.append)
    frozen = [bytes(buffer.raw()) for buffer in buffers]
    kept = [bytes(one) + b"" for one in frozen]
    one, two = (pickle.loads(text, buffers=frozen) for _ in range(2))
    one.fit(X, y, epochs=2, optimizer="adam")
    one.running_mean[0][:] = 7
    assert frozen == kept and state(two) == state(model) != state(one)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_share_no_weights(how):
    X, y = data()
    model = make(norm="batch")
    model.fit(X, y, epochs=1, optimizer="adam")
    before, twin = state(model), how(model)
    assert state(twin) == before
    twin.fit(X, y, epochs=1, optimizer="adam")
    assert state(model) == before != state(twin)


@pytest.mark.parametrize("name", ["theta", "state", "statistics"])
def test_what_is_set_to_read_only_is_refused(name):
    X, y = data()
    model = make(norm="batch")
    model.fit(X, y, epochs=1, optimizer="adam")
    vector = getattr(model._parameters, name)
    vector.setflags(write=False)
    before, epoch = state(model), model._parameters.epoch
    for call in (
        lambda: model.fit(X, y, optimizer="adam"),
        lambda: model.partial_fit(X, y, batch_size=8, optimizer="adam"),
        lambda: model.fit(X, y, optimizer="sgd"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be writable"):
            call()
    assert state(model) == before and model._parameters.epoch == epoch
    vector.setflags(write=True)
    model.fit(X, y, optimizer="adam")


MAPPED = """
import sys, joblib, numpy as np, fastnn
X = np.random.default_rng(0).standard_normal((64, 300)).astype(np.float32)
y = np.arange(64) % 3
model = fastnn.Model([300, 300, 3], seed=0, norm="batch")
model.fit(X, y, epochs=1, optimizer="adam")
joblib.dump(model, sys.argv[1])
mapped = joblib.load(sys.argv[1], mmap_mode="r")
size = open(sys.argv[1], "rb").read()
mapped.fit(X, y, epochs=1, optimizer="adam")
model.fit(X, y, epochs=1, optimizer="adam")
assert (mapped.theta == model.theta).all()
from fastnn.sklearn import MLPClassifier
e = MLPClassifier((300,), max_iter=1, random_state=0).partial_fit(X, y, classes=[0, 1, 2])
joblib.dump(e, sys.argv[1])
size = open(sys.argv[1], "rb").read()
mapped = joblib.load(sys.argv[1], mmap_mode="r")
for one in (e, mapped):
    one.partial_fit(X, y)
assert all((a == b).all() for a, b in zip(e.coefs_, mapped.coefs_))
assert open(sys.argv[1], "rb").read() == size
print("fine")
"""

PARALLEL = """
import joblib, numpy as np, fastnn
X = np.random.default_rng(0).standard_normal((64, 700)).astype(np.float32)
y = np.arange(64) % 3
def train(model):
    model.fit(X, y, epochs=1)
    return model.theta
if __name__ == "__main__":
    model = fastnn.Model([700, 700, 3], seed=0)
    one, two = joblib.Parallel(n_jobs=2)(joblib.delayed(train)(model) for _ in range(2))
    assert (one == two).all() and (one != model.theta).any()
    print("fine")
"""


@pytest.mark.parametrize("code", [MAPPED, PARALLEL], ids=["mapped", "parallel"])
def test_memory_maps_are_not_written_into(code, tmp_path):
    pytest.importorskip("joblib")
    pytest.importorskip("sklearn")
    if code is PARALLEL:
        file = tmp_path / "parallel.py"
        file.write_text(code)
        code = f"import runpy; runpy.run_path({str(file)!r}, run_name='__main__')"
    assert run(code, tmp_path / "model.joblib") == "fine\n"


def test_what_is_unpickled_is_checked():
    parameters = make()._parameters
    for name, value in {
        "theta": parameters.theta[:-1],
        "state": np.zeros((2, parameters.theta.size), np.float32),
        "statistics": np.zeros(3, np.float32),
    }.items():
        given = {**parameters.__getstate__(), name: value}
        with pytest.raises(ValueError, match=f"{name} must be float32 of shape"):
            Parameters.__new__(Parameters).__setstate__(given)
    for optimizer in (None, "sdg"):
        given = {**parameters.__getstate__(), "optimizer": optimizer}
        with pytest.raises(ValueError, match=f"optimizer must be one of .*, got {optimizer!r}"):
            Parameters.__new__(Parameters).__setstate__(given)
    with pytest.raises(ValueError, match="cannot resize"):
        make().theta.resize(3, refcheck=False)
    network = parameters.network
    with pytest.raises(ValueError, match="theta must be float32 of shape"):
        Predictor(network, parameters.theta[:-1].copy(), np.empty(0, np.float32), None)
    with pytest.raises(TypeError, match=r"made by Model\.predictor"):
        Predictor.__new__(Predictor)(np.zeros((1, 6), np.float32))


# Memory that is given back


def test_buffers_are_given_back():
    rng = np.random.default_rng(0)
    model = fastnn.Model([64, 256, 10], norm="batch", seed=0)
    small = model.n_parameters * 4
    for n in (1000, 20_000, 10_000):
        X = rng.standard_normal((n, 64)).astype(np.float32)
        model.loss_and_gradient(X, rng.integers(0, 10, n))
        assert model._parameters._engine.bytes < 4 * small + (16 << 20)
    engine = model._parameters._engine
    held = []
    for n in range(1000, 3001, 20):
        model.loss_and_gradient(X[:n], rng.integers(0, 10, n))
        held.append(engine.bytes)
    # h, delta, dL/du and xhat of 256 units, h and delta of 10, and X twice.
    need = (4 * 256 + 2 * 16 + 2 * 64) * 4 * 3001 + 4 * small
    assert max(held) <= 1.2 * need


def test_a_fit_keeps_its_engine():
    X, y = data()
    model, want = make(), make()
    give_back = fastnn.LambdaCallback(on_epoch_end=lambda fit: fit.model._parameters.give_back())
    model.fit(X, y, epochs=3, optimizer="adam", callbacks=[give_back])
    want.fit(X, y, epochs=3, optimizer="adam")
    assert state(model) == state(want)


# Interrupts


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("rule", ["adam", fastnn.SGD(0.01, momentum=0.9)])
def test_an_interrupted_fit_counts_its_steps(rule):
    """theta, the optimizer's vectors and the counts are those of exactly so many steps."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    X, y = data(4096)
    batch, rng = 8, np.random.default_rng(0)

    def interrupt(*_):
        raise KeyboardInterrupt

    snapshots, old = [], signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # Python loses what is raised in callbacks of the collector, such as Hypothesis's
    try:
        for _ in range(100):
            model = make()
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.03))
                model.fit(X, y, epochs=10_000, batch_size=batch, optimizer=rule)
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert model._parameters.steps == model._parameters.all_steps
            snapshots.append(state(model))
            model.partial_fit(X[:1], y[:1])  # and its turn is over
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        gc.enable()
    twin, taken = make(), 0
    per_epoch, epoch = len(X) // batch, 0
    order = fastnn.random.permutation(1, fastnn.random.SHUFFLE, 0, len(X))
    for steps, *vectors in sorted(snapshots):
        while taken < steps:
            if taken == (epoch + 1) * per_epoch:
                epoch += 1
                order = fastnn.random.permutation(1, fastnn.random.SHUFFLE, epoch, len(X))
            stop = min(steps, (epoch + 1) * per_epoch)
            rows = order[(taken - epoch * per_epoch) * batch : (stop - epoch * per_epoch) * batch]
            twin.partial_fit(X[rows], y[rows], batch_size=batch, optimizer=rule)
            taken = stop
        if steps:
            assert state(twin) == (steps, *vectors)


# Threads


def in_threads(*calls):
    errors = []

    def guarded(call):
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a call never ended"
    if errors:
        raise errors[0]


def test_readers_see_one_version(tmp_path):
    """All weights are equal after each step, so a mixture of two versions shows."""
    n = 64
    model = fastnn.Model([n, n, n], "identity", "identity", bias=False, dtype="float64", seed=0)
    model.theta = np.full(model.n_parameters, 0.01)
    X, y = np.ones((32, n)), np.ones((32, n))
    done = threading.Event()

    def train():
        try:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                rule = fastnn.SGD(1e-4, momentum=0.5)
                model.fit(X, y, epochs=200, batch_size=4, optimizer=rule, shuffle=False)
        finally:
            done.set()

    def alike(theta):
        half = len(theta) // 2
        assert len(set(theta[:half])) == 1 and len(set(theta[half:])) == 1

    def read():
        path = tmp_path / f"{threading.get_ident()}.safetensors"
        while not done.is_set():
            alike(model.theta.copy())
            alike(model.predictor()._theta)
            assert len(np.unique(model.forward(X))) == 1
            snapshot = model._parameters.copy()
            alike(snapshot.theta)
            if snapshot.optimizer == "momentum":
                alike(snapshot.state[0])
            model.save(path)
            loaded = fastnn.load(path)
            alike(loaded.theta)
            assert loaded._parameters.steps == loaded._parameters.all_steps

    in_threads(train, read, read)


def test_calls_that_train_at_once_follow_each_other():
    X, y = data()
    model, twin = make(), make()

    def some():
        for _ in range(50):
            model.partial_fit(X[:4], y[:4])

    in_threads(*[some] * 4, lambda: model.fit(X, y, epochs=3, batch_size=8))
    assert model._parameters.all_steps == 4 * 50 * 4 + 3 * 8
    for _ in range(200):
        twin.partial_fit(X[:4], y[:4])
    assert twin._parameters.steps == 800


@pytest.mark.parametrize("what", ["callback", "stream", "rate", "setter"])
def test_a_fit_within_its_own_fit_is_refused(what):
    X, y = data()
    model = make()

    def inner(*_):
        model.partial_fit(X, y)
        return 0.1

    def blocks():
        yield X, y
        if what == "setter":
            model.theta = model.theta
        else:
            inner()
        yield X, y

    calls = {
        "callback": lambda: model.fit(
            X, y, callbacks=[fastnn.LambdaCallback(on_epoch_begin=inner)]
        ),
        "stream": lambda: model.fit(blocks),
        "rate": lambda: model.fit(X, y, learning_rate=inner),
        "setter": lambda: model.fit(blocks),
    }
    with pytest.raises(RuntimeError, match="must not train"):
        in_threads(calls[what])
    model.fit(X, y, epochs=1)


def test_a_view_taken_while_another_thread_trains_is_a_copy():
    X, y = data(512)
    model, begun, read = make(), threading.Event(), threading.Event()
    seen = []

    def wait(fit):
        begun.set()
        assert read.wait(30)

    def look():
        assert begun.wait(30)
        seen.append(model.theta)
        read.set()

    call = fastnn.LambdaCallback(on_epoch_end=wait)
    in_threads(lambda: model.fit(X, y, epochs=2, callbacks=[call]), look)
    assert not seen[0].flags.writeable and not np.shares_memory(seen[0], model.theta)


def test_what_forks_must_know_of_is_forgotten_with_the_models():
    known = fastnn.network.parameters._known
    kept = [make() for _ in range(5)]
    for _ in range(2000):
        make()
    gc.collect()
    assert len(known) < 1500
    alive = [reference() for reference in known.values()]
    assert all(any(one is model._parameters for one in alive) for model in kept)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_a_thread_trains_can_train():
    code = """
import os, threading, time, numpy as np, fastnn
X = np.random.default_rng(0).standard_normal((512, 6)).astype(np.float32)
y = np.arange(512) % 3
model = fastnn.Model([6, 12, 3], seed=1, n_threads=1)
stop = threading.Event()
call = fastnn.LambdaCallback(on_epoch_end=lambda fit: stop.is_set() and fit.stop())
thread = threading.Thread(target=lambda: model.fit(X, y, epochs=100_000, callbacks=[call]))
thread.start()
time.sleep(0.1)
for _ in range(5):
    child = os.fork()
    if not child:
        steps = model._parameters.steps
        assert steps == model._parameters.all_steps > 0
        before = model.theta.tobytes()
        try:
            model.fit(X, y, epochs=9, learning_rate=1e30)
        except fastnn.DivergenceError:
            assert model.theta.tobytes() == before and model._parameters.steps == steps
        model.fit(X, y, epochs=1)
        assert model._parameters.steps == steps + 4
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print("fine")
"""
    assert run(code) == "fine\n"


# Sizes


def test_a_batch_size_may_be_any_number():
    X, y = data()
    one, two = make(), make()
    one.fit(lambda: iter([(X, y)]), epochs=1, batch_size=2**61)
    two.fit(X, y, epochs=1, batch_size=64)
    assert state(one) == state(two)
    one.fit(lambda: iter([(X, y)]), epochs=1, batch_size=10**30)
    two.fit(X, y, epochs=1, batch_size=64)
    assert state(one) == state(two)
    one.partial_fit(X, y, batch_size=2**70)
    two.partial_fit(X, y, batch_size=64)
    assert state(one) == state(two)


def test_csr_is_not_followed_where_it_is_changed_to():
    scipy = pytest.importorskip("scipy.sparse")
    X, y = data(256)
    sparse = scipy.csr_matrix(np.where(abs(X) > 0.5, X, 0))
    model, twin = make(), make()

    def spoil(fit):
        sparse.indices[:] = 2**30
        sparse.indptr[1:] = 2**30

    twin.fit(sparse.copy(), y, epochs=3)
    model.fit(sparse, y, epochs=3, callbacks=[fastnn.LambdaCallback(on_epoch_end=spoil)])
    assert state(model) == state(twin)


def test_a_predictor_says_what_it_is():
    import inspect

    f = make().predictor()
    assert (f.sizes, f.output, f.dtype) == ([6, 12, 3], "softmax", "float32")
    assert repr(f) == "Predictor([6, 12, 3], output='softmax', dtype='float32')"
    assert list(inspect.signature(f).parameters) == ["x", "out"]
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        f.predict  # noqa: B018


def test_rows_that_are_not_finite_are_named():
    X = np.zeros((300, 6), np.float32)
    X[200, 3] = np.nan
    model = make()
    for rows in (X, np.asfortranarray(X), X.astype(np.float64), X[200:201]):
        row = 0 if len(rows) == 1 else 200
        for call in (model.forward, model.predict, model.predict_proba, model.predictor()):
            with pytest.raises(ValueError, match=f"X must be finite, got nan in row {row}, col"):
                call(rows)
