"""fit_many: K fits in one call are K fits one after another, to the bit; what stops them; rows."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastnn
from fastnn import config
from fastnn.network import arrays
from fastnn.network.arrays import Once, as_pair

N = 300


@pytest.fixture(autouse=True)
def four_cpus(monkeypatch):
    """As many threads as a test asks for, whatever the machine has."""
    monkeypatch.setattr(config, "at_most", lambda wanted: min(wanted, 4))


def data(n=N, n_in=6):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_in))
    return X, X[:, :3].argmax(1)


def networks(k=5, **settings):
    """Of many kinds."""
    kinds = [
        {"activation": "tanh"},
        {"dropout": 0.3},
        {"norm": "batch", "dtype": "float64"},
        {"loss": "focal", "noise": 0.1},
        {"output": "identity", "loss": "hinge"},
    ]
    return [
        fastnn.Model([6, 8 + i, 3], seed=i, **{**kinds[i % len(kinds)], **settings})
        for i in range(k)
    ]


def bits(models):
    return [(m.theta.tobytes(), m._parameters.state.tobytes(), m._parameters.steps) for m in models]


def comparable(history):
    return {name: values for name, values in history.columns().items() if name != "seconds"}


@pytest.mark.parametrize("n_threads", [1, 2, 3, None])
def test_it_is_one_fit_after_another(n_threads):
    X, y = data()
    each = {
        "epochs": [3, 1, 4, 2, 3],
        "batch_size": [32, 1, 300, 64, 7],
        "optimizer": ["adam", "sgd", fastnn.SGD(0.1, momentum=0.9), "rmsprop", fastnn.AdamW()],
        "learning_rate": [0.01, None, fastnn.CosineDecay(0.1), None, lambda t: 0.01 / (t + 1)],
        "shuffle": [True, True, True, False, True],
        "class_weight": [None, None, "balanced", {0: 2.0}, None],
    }
    together, alone = networks(), networks()
    histories = fastnn.fit_many(
        *(together, X, y), n_threads=n_threads, validation_split=0.2, metrics=["accuracy"], **each
    )
    for i, model in enumerate(alone):
        own = {name: values[i] for name, values in each.items()}
        history = model.fit(X, y, validation_split=0.2, metrics=["accuracy"], **own)
        assert comparable(history) == comparable(histories[i])
    assert bits(together) == bits(alone)


def test_it_goes_on_where_a_fit_ended():
    X, y = data()
    together, alone = networks(), networks()
    for _ in range(2):
        fastnn.fit_many(together, X, y, epochs=2, optimizer="adam", n_threads=2)
    for model in alone:
        model.fit(X, y, epochs=2, optimizer="adam")
        model.fit(X, y, epochs=2, optimizer="adam")
    assert bits(together) == bits(alone)
    fastnn.fit_many(together, X, y, epochs=1)
    alone[3].fit(X, y, epochs=1)
    assert bits(together)[3] == bits(alone)[3]


@pytest.mark.parametrize("kind", ["float32", "int8", "csr", "turned", "lbfgs"])
def test_rows_are_those_of_a_fit_on_them_alone(kind):
    X, y = data()
    settings = {"epochs": 3, "optimizer": "lbfgs" if kind == "lbfgs" else "adam"}
    X = (5 * X).astype(np.int8) if kind == "int8" else X.astype(np.float32)
    if kind == "turned":
        X = np.asfortranarray(X)
    given = X
    if kind == "csr":
        sparse = pytest.importorskip("scipy.sparse")
        given = sparse.csr_matrix(X * (abs(X) > 1))
    if kind == "lbfgs":
        pytest.importorskip("scipy")
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, N, N), rng.permutation(N)[:70], None]
    held_out = [np.setdiff1d(np.arange(N), rows[0]), [3, 3, 8], np.arange(1)]
    weights = rng.random(N)
    make = lambda: [fastnn.Model([6, 9, 3], seed=i) for i in range(3)]  # noqa: E731
    together, alone = make(), make()
    histories = fastnn.fit_many(
        *(together, given, y), rows=rows, held_out=held_out, sample_weight=weights, **settings
    )
    for model, own, out, history in zip(alone, rows, held_out, histories, strict=True):
        own = np.arange(N) if own is None else own
        want = model.fit(
            *(given[own], y[own]),
            validation_data=(given[out], y[out], weights[out]),
            sample_weight=weights[own],
            **settings,
        )
        assert comparable(want) == comparable(history)
    assert bits(together) == bits(alone)


def test_one_row_held_out_and_wide_rows():
    """Through the path for single rows, and through tiles that read rows as they lie."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 100)).astype("f"), rng.integers(0, 2, 200)
    for held_out in ([7], [199, 0, 5]):
        model, other = (fastnn.Model([100, 70, 2], seed=0) for _ in range(2))
        (history,) = fastnn.fit_many([model], X, y, held_out=[held_out], epochs=1)
        want = other.fit(X, y, validation_data=(X[held_out], y[held_out]), epochs=1)
        assert history.val_loss == want.val_loss


def test_balanced_classes_are_those_of_its_rows():
    X, y = data()
    rows = np.flatnonzero(y > 0)
    model, other = networks(1), networks(1)
    fastnn.fit_many(model, X, y, rows=[rows], class_weight="balanced", epochs=2)
    other[0].fit(X[rows], y[rows], class_weight="balanced", epochs=2)
    assert bits(model) == bits(other)


# What is given once, and what K times


def test_x_is_checked_once_for_networks_that_take_it_alike(monkeypatch):
    X, y = data()
    looked, check = [], arrays._check_finite
    monkeypatch.setattr(
        arrays, "_check_finite", lambda name, *rest: (looked.append(name), check(name, *rest))[1]
    )
    models = [fastnn.Model([6, 5, 3], seed=i) for i in range(4)]
    models += [fastnn.Model([6, 5, 3], seed=i, dtype="float64") for i in range(4)]
    fastnn.fit_many(models, X, y, epochs=1)
    assert looked.count("X") == 2


def test_sparse_rows_are_refused_for_the_networks_that_take_none():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data()
    embedded = fastnn.Model([6, 5, 3], embeddings=[fastnn.Periodic([0])], seed=0)
    models = [*networks(1), embedded]
    with pytest.raises(ValueError, match=r"models\[1\]: X must be dense where the network has"):
        fastnn.fit_many(models, sparse.csr_matrix(X), y, epochs=1)


def test_once_is_by_identity_and_traits():
    once, network = Once(), fastnn.Model([2, 1], output="identity")._network
    X = [[1.0, 2.0], [3.0, 4.0]]
    first, second = as_pair(X, [0, 1], network, once=once), as_pair(X, [1, 0], network, once=once)
    assert first[0] is second[0] and first[1].tolist() != second[1].tolist()
    wide = fastnn.Model([2, 1], output="identity", dtype="float64")._network
    assert as_pair(X, [0, 1], wide, once=once)[1].dtype == np.float64


def test_tables_are_read_once_and_by_name(monkeypatch):
    X, y = data()
    frame = {f"c{j}": X[:, j] for j in range(6)} | {"word": np.where(y == 1, "yes", "no")}
    names = np.array(["red", "green", "blue"])[y]
    columns = fastnn.tables.learn(frame, names)
    read, encode = [], type(columns).encode
    monkeypatch.setattr(
        type(columns), "encode", lambda self, *a, **k: (read.append(1), encode(self, *a, **k))[1]
    )

    def make():
        return [fastnn.Model([None, 6, None], columns=columns, seed=i) for i in range(3)]

    together, alone = make(), make()
    fastnn.fit_many(together, frame, names, held_out=[range(9)] * 3, class_weight={"red": 2.0})
    assert len(read) == 1
    for model in alone:
        model.fit(frame, names, class_weight={"red": 2.0})
    assert bits(together) == bits(alone)
    assert set(together[0].predict(frame)) <= {"red", "green", "blue"}
    plain = [fastnn.Model([6, 3], seed=i) for i in range(2)]
    fastnn.fit_many(plain, {name: frame[name] for name in list(frame)[:6]}, y)
    assert plain[1].columns.plain and plain[1].predict(frame).shape == (N,)


def test_lists_that_are_one_value():
    """Of two networks, two metrics are both networks'."""
    X, y = data()
    (first, second) = fastnn.fit_many(
        networks(2), X, y, epochs=1, validation_data=(X, y), metrics=["accuracy", "f1"]
    )
    assert "val_f1" in first and "val_accuracy" in second
    (first, second) = fastnn.fit_many(
        networks(2), X, y, epochs=1, validation_data=(X, y), metrics=[["accuracy"], ["f1"]]
    )
    assert "val_f1" not in first and "val_accuracy" not in second
    two, weights = networks(2), [[1.0] * N, [2.0] * (N - 1) + [0.0]]
    fastnn.fit_many(two, X, y, epochs=1, sample_weight=weights)
    one = networks(2)[1]
    one.fit(X, y, epochs=1, sample_weight=weights[1])
    assert bits(two)[1] == bits([one])[0]


REFUSED = {
    "a model": ({"models": networks(1)[0]}, TypeError, "models must be a list"),
    "none": ({"models": []}, ValueError, "at least one"),
    "no model": ({"models": [None]}, TypeError, r"models\[0\] must be a fastnn.Model"),
    "open": ({"models": [fastnn.Model([None, 4, None])]}, ValueError, "must know its sizes"),
    "unknown": ({"epoch": 3}, TypeError, "is it epochs"),
    "too few": ({"epochs": [1, 2]}, ValueError, "epochs must hold a value for each of 3 models"),
    "rows": ({"rows": np.arange(3)}, TypeError, "rows must be a list with a list for each model"),
    "too few rows": ({"rows": [[0]]}, ValueError, "rows must hold a value for each of 3"),
    "no numbers": ({"rows": [[0], [0], 1]}, ValueError, r"models\[2\]: rows must be numbers of"),
    "a mask": ({"rows": [[0], [True], [0]]}, ValueError, r"of a mask np.flatnonzero\(rows\)"),
    "outside": ({"rows": [[0, 1], [0, N], [0]]}, ValueError, f"rows must be 0 to {N - 1}, got {N}"),
    "negative": ({"held_out": [[0], [0], [-1]]}, ValueError, r"models\[2\]: held_out must be 0 to"),
    "no rows": ({"rows": [[0], [], [0]]}, ValueError, r"models\[1\]: rows must hold at least one"),
    "two ways": (
        {"held_out": [[0]] * 3, "validation_split": 0.2},
        ValueError,
        "held_out and validation_split exclude each other",
    ),
    "a share of rows": (
        {"rows": [[0, 1]] * 3, "validation_split": 0.5},
        ValueError,
        "validation_split and rows exclude",
    ),
    "metrics alone": ({"metrics": ["f1"]}, ValueError, r"models\[0\]: metrics must come with"),
    "callbacks of all": (
        {"callbacks": [fastnn.LambdaCallback()] * 3},
        TypeError,
        "callbacks must be a list with a list for each model",
    ),
    "shared callbacks": (
        {"callbacks": [[fastnn.LambdaCallback()]] * 3},
        ValueError,
        r"got one LambdaCallback for models\[0\] and models\[1\]",
    ),
    "a stream": ({"y": None}, ValueError, "y must be given"),
    "one file": ({"resume": "a"}, ValueError, "resume must be a list of 3 paths"),
    "threads": ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
    "y": ({"y": np.zeros(3)}, ValueError, r"models\[0\]: X and y must have as many rows"),
    "epochs": ({"epochs": [1, 0, 1]}, ValueError, r"models\[1\]: epochs must be at least 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_before_any_work(case):
    settings, kind, message = REFUSED[case]
    X, y = data()
    models = networks(3)
    before = bits(models)
    call = {"models": models, "X": X, "y": y, **settings}
    with pytest.raises(kind, match=message):
        fastnn.fit_many(**call)
    assert bits(models) == before
    assert not any(model.metadata for model in models)


def test_the_same_model_twice():
    X, y = data()
    models = networks(3)
    with pytest.raises(ValueError, match=r"\[0\] and \[3\] are one"):
        fastnn.fit_many([*models, models[0]], X, y)


# What stops them


def early():
    return [fastnn.EarlyStopping("val_loss", patience=2)]


def test_each_stops_early_by_itself():
    X, y = data()
    together, alone = networks(), networks()
    settings = {"epochs": 60, "optimizer": "adam", "learning_rate": 0.05, "validation_split": 0.3}
    histories = fastnn.fit_many(
        *(together, X, y), callbacks=[early() for _ in together], n_threads=2, **settings
    )
    for model in alone:
        model.fit(X, y, callbacks=early(), **settings)
    assert bits(together) == bits(alone)
    assert len({len(history) for history in histories}) > 1


@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_that_diverges_leaves_all_as_they_were(n_threads):
    X, y = data()
    models = networks()
    fastnn.fit_many(models, X, y, epochs=1, optimizer="adam")
    before, seen = bits(models), models[0].theta
    rates = [0.01, 0.01, 0.01, 0.01, 1e30]
    with pytest.raises(fastnn.DivergenceError, match=r"^models\[4\]: .*So are the others"):
        fastnn.fit_many(
            models, X, y, epochs=[1, 2, 3, 4, 5], learning_rate=rates, n_threads=n_threads
        )
    assert bits(models) == before and seen.tobytes() == before[0][0]
    again = networks()
    for _ in range(2):
        fastnn.fit_many(again, X, y, epochs=1, optimizer="adam")
    fastnn.fit_many(models, X, y, epochs=1, optimizer="adam")
    assert bits(models) == bits(again)


@pytest.mark.parametrize("when", ["on_fit_begin", "on_epoch_end", "on_fit_end"])
def test_a_callback_that_raises_stops_all_and_is_named(when):
    X, y = data()
    models = networks()
    before = bits(models)

    def fail(fit):
        if fit.epoch == len(fit.history):
            raise OSError("full disk")

    callbacks = [[] for _ in models]
    callbacks[2] = [fastnn.LambdaCallback(**{when: fail})]
    with pytest.raises(OSError, match="full disk") as caught:
        fastnn.fit_many(models, X, y, epochs=[1, 1, 3, 1, 100_000], callbacks=callbacks)
    assert caught.value.__notes__ == ["This was in the fit of models[2]."]
    assert bits(models) == before


def test_those_stopped_are_told_so():
    """on_fit_end is called, as after Ctrl-C."""
    X, y = data()
    ended = []

    def fail(fit):
        raise OSError

    callbacks = [
        [fastnn.LambdaCallback(on_epoch_end=fail)],
        [fastnn.LambdaCallback(on_fit_end=lambda fit: ended.append(type(fit.error)))],
    ]
    with pytest.raises(OSError):
        fastnn.fit_many(
            networks(2), X, y, epochs=[1, 10**6], callbacks=callbacks, n_threads=2
        )
    assert ended == [KeyboardInterrupt]


def test_a_fit_within_is_refused_as_nested_fits_are():
    X, y = data()
    models = networks(2)
    before = bits(models)

    def nest(fit):
        fastnn.fit_many([networks(1)[0], fit.model], X, y, epochs=1)

    calls = [[fastnn.LambdaCallback(on_epoch_end=nest)], []]
    with pytest.raises(RuntimeError, match="a callback must not train the model"):
        fastnn.fit_many(models, X, y, epochs=1, callbacks=calls)
    with pytest.raises(RuntimeError, match="a callback must not train the model"):
        models[0].fit(X, y, epochs=1, callbacks=[fastnn.LambdaCallback(on_epoch_begin=nest)])
    assert bits(models) == before


def test_other_networks_may_be_trained_within():
    X, y = data()
    inner, want = networks(), networks()
    train = fastnn.LambdaCallback(on_fit_begin=lambda fit: fastnn.fit_many(inner, X, y, epochs=2))
    fastnn.fit_many(networks(2), X, y, epochs=1, callbacks=[[train], []])
    fastnn.fit_many(want, X, y, epochs=2)
    assert bits(inner) == bits(want)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_what_is_no_error_leaves_the_steps_that_were_taken(raised):
    X, y = data()
    models, want = networks(2), networks(2)
    want[1].fit(X, y, epochs=2)  # the larger one is the first

    def stop(fit):
        if fit.epoch == 2:
            raise raised

    callbacks = [[], [fastnn.LambdaCallback(on_epoch_end=stop)]]
    with pytest.raises(raised) as caught:
        fastnn.fit_many(models, X, y, epochs=3, callbacks=callbacks, n_threads=1)
    assert caught.value.__notes__ == ["This was in the fit of models[1]."]
    assert bits(models) == bits(want)


def test_threads_that_are_refused_are_done_without(monkeypatch):
    X, y = data()
    start, started = threading.Thread.start, []

    def refuse(self):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    models, want = networks(), networks()
    fastnn.fit_many(models, X, y, epochs=2, n_threads=4)
    monkeypatch.undo()
    fastnn.fit_many(want, X, y, epochs=2)
    assert bits(models) == bits(want)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        fastnn.fit_many(models, X, y, epochs=2, n_threads=4)
    assert bits(models) == bits(want)


# Ctrl-C


def interrupted(call, after):
    """Seconds from SIGINT to the KeyboardInterrupt that `call` raises."""
    sent, main = [], threading.get_ident()

    def send():
        sent.append(time.perf_counter())
        signal.pthread_kill(main, signal.SIGINT)

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
        return time.perf_counter() - sent[0]
    finally:
        timer.join()
        signal.signal(signal.SIGINT, old)


STEPS = {  # sizes, rows, batch_size, optimizer
    "many small ones": ([6, 16, 3], 300, 32, "adam"),
    "online": ([6, 16, 3], 300, 1, "sgd"),
    "long": ([6, 2048, 2048, 3], 4096, 4096, "sgd"),
    "lbfgs": ([6, 256, 3], 20_000, 20_000, "lbfgs"),
}


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal to a thread")
@pytest.mark.parametrize("kind", STEPS)
def test_an_interrupt_within_100_ms_leaves_whole_steps(kind):
    sizes, n, batch, optimizer = STEPS[kind]
    if optimizer == "lbfgs":
        pytest.importorskip("scipy")
    X, _ = data(n)
    y = np.random.default_rng(1).integers(0, 3, n)  # not to be learned: L-BFGS would be done
    models = [fastnn.Model(sizes, seed=i) for i in range(3)]
    first = models[2].theta.tobytes()
    done = []
    calls = [[] for _ in models]
    calls[0] = [fastnn.LambdaCallback(on_fit_end=lambda fit: done.append(fit.error))]
    settings = {"batch_size": batch, "optimizer": optimizer}
    begun = [m._parameters.all_steps for m in models]
    seconds = interrupted(
        lambda: fastnn.fit_many(
            *(models, X, y), epochs=10**6, callbacks=calls, n_threads=2, **settings
        ),
        0.5,
    )
    assert isinstance(done[0], KeyboardInterrupt)
    assert models[2].theta.tobytes() == first, "the third had not begun"
    assert begun == [0, 0, 0]
    for i, model in enumerate(models[:2]):  # what as many steps make of it
        steps, epochs = model._parameters.all_steps, model._parameters.epoch
        if optimizer != "lbfgs" and steps:
            want = stopped_after(fastnn.Model(sizes, seed=i), X, y, steps, epochs, settings)
            assert model.theta.tobytes() == want.theta.tobytes()
        model.fit(X[:50], y[:50], epochs=1)  # and it can be trained again
    assert seconds < 0.2, f"the interrupt took {seconds:.3f} s"


def stopped_after(model, X, y, steps, epochs, settings):
    """A fit of so many steps: whole epochs, and the rest of one in its order."""
    from fastnn.random import SHUFFLE, permutation

    batch = min(settings["batch_size"], len(X))
    a_pass = -(-len(X) // batch)
    whole = steps // a_pass
    if whole:
        model.fit(X, y, epochs=whole, **settings)
    rest = steps - whole * a_pass
    if rest:
        order = permutation(model.seed, SHUFFLE, whole, len(X))[: rest * batch]
        model.partial_fit(
            *(X[order], y[order]), batch_size=batch, optimizer=settings["optimizer"]
        )
    return model


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signal to a thread")
def test_an_interrupt_reaches_fits_within_fits():
    X, y = data()
    inner = networks(2)

    def train(fit):
        fastnn.fit_many(inner, X, y, epochs=10**6, n_threads=2)

    calls = [[fastnn.LambdaCallback(on_fit_begin=train)], []]
    outer = networks(2)
    before = bits(outer)[0]
    call = {"epochs": [1, 10**6], "callbacks": calls, "n_threads": 2}
    seconds = interrupted(lambda: fastnn.fit_many(outer, X, y, **call), 0.4)
    assert bits(outer)[0] == before
    assert [model._parameters.turn.locked() for model in inner] == [False, False]
    first, second = (model._parameters.all_steps for model in inner)
    assert second and not first, "within one's share of threads, the larger one first"
    assert seconds < 0.4, f"the interrupt took {seconds:.3f} s"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal")
def test_what_had_finished_stays_when_a_handler_raises():
    X, y = data()
    models, want = networks(2), networks(2)
    want[1].fit(X, y, epochs=1)

    class Rings(Exception):
        pass

    def ring(*_):
        raise Rings

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(Rings):
            fastnn.fit_many(models, X, y, epochs=[10**6, 1], n_threads=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert bits(models)[1] == bits(want)[1]
    assert models[0]._parameters.steps > 0


# Around it


def test_buffers_are_given_back():
    X, y = data()
    models = networks()
    fastnn.fit_many(models, X, y, epochs=1)
    assert all(model._parameters._engine is None for model in models)


def test_a_view_of_the_weights_is_live():
    X, y = data()
    models = networks()
    views = [model.theta for model in models]
    fastnn.fit_many(models, X, y, epochs=1)
    assert all(view.tobytes() == bits([m])[0][0] for view, m in zip(views, models, strict=True))


def test_fewer_networks_than_threads_share_them(monkeypatch):
    X, y = data()
    seen = []

    def note(fit):
        seen.append(fastnn.config.n_threads(None))

    monkeypatch.setattr(fastnn.config, "default_threads", lambda: 7)
    calls = [[fastnn.LambdaCallback(on_fit_begin=note)] for _ in range(2)]
    fastnn.fit_many(networks(2), X, y, epochs=1, n_threads=4, callbacks=calls)
    assert seen == [2, 2]
    with fastnn.threads(1):
        calls = [[fastnn.LambdaCallback(on_fit_begin=note)] for _ in range(2)]
        fastnn.fit_many(networks(2), X, y, epochs=1, n_threads=4, callbacks=calls)
    assert seen == [2, 2, 1, 1]


def test_the_largest_begin_first():
    X, y = data()
    begun = []
    models = [fastnn.Model([6, width, 3], seed=0) for width in (4, 64, 8)]
    calls = [
        [fastnn.LambdaCallback(on_fit_begin=lambda fit, i=i: begun.append(i))] for i in range(3)
    ]
    fastnn.fit_many(models, X, y, epochs=[1, 1, 2], callbacks=calls, n_threads=1)
    assert begun == [1, 2, 0]


def test_resumed_each_from_its_file(tmp_path):
    X, y = data()
    paths = [str(tmp_path / f"{i}.safetensors") for i in range(3)]

    def train(models, fail=None):
        def stop(fit):
            if fit.epoch == fail:
                raise OSError("power cut")

        calls = [
            [fastnn.Checkpoint(path), fastnn.LambdaCallback(on_epoch_begin=stop)] for path in paths
        ]
        return fastnn.fit_many(
            *(models, X, y), epochs=6, optimizer="adam", callbacks=calls, resume=paths
        )

    with pytest.raises(OSError):
        train(networks(3), fail=4)
    resumed, want = networks(3), networks(3)
    histories = train(resumed)
    fastnn.fit_many(want, X, y, epochs=6, optimizer="adam")
    assert bits(resumed) == bits(want)
    assert [len(history) for history in histories] == [6, 6, 6]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_one_for_all(monkeypatch):
    X, y = data()
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    fastnn.fit_many(networks(), X, y, epochs=3, validation_split=0.2, verbose=True)
    lines = err.getvalue().splitlines()
    assert lines and lines[-1].startswith("network 5/5  epoch 15/15  best val_loss 0.")
    err.truncate(0)
    fastnn.fit_many(networks(), X, y, epochs=3)
    assert err.getvalue().strip("\0") == ""
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fastnn.fit_many(networks(), X, y, epochs=3, verbose=True)
    assert "network 5/5" in terminal.getvalue() and "best loss" in terminal.getvalue()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_in_a_forked_child_and_after_a_fork():
    X, y = data()
    fastnn.fit_many(networks(), X, y, epochs=1)  # threads have run in the parent
    want = networks()
    fastnn.fit_many(want, X, y, epochs=2)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_train_in_child) == bits(want)


def _train_in_child():
    models = networks()
    fastnn.fit_many(models, *data(), epochs=2, n_threads=2)
    return bits(models)


def test_a_script_ends_after_an_interrupt(tmp_path):
    """No thread keeps the process alive."""
    if not hasattr(signal, "pthread_kill"):
        pytest.skip("no SIGINT to send")
    code = (
        "import fastnn, numpy as np\n"
        "X = np.zeros((300, 6)); y = np.zeros(300, int)\n"
        "models = [fastnn.Model([6, 8, 3], seed=i) for i in range(4)]\n"
        "print('begun', flush=True)\n"
        "fastnn.fit_many(models, X, y, epochs=10**7, n_threads=2)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in err and process.returncode != 0
