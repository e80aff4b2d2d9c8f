"""Predictor: the weights it froze, what it takes as it is, what it converts or refuses."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fastnn
from fastnn.kernels import _cpu
from fastnn.kernels.predict import Mean
from fastnn.predictor import Predictor


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictor(dtype):
    model = fastnn.Model([9, 33, 5], dtype=dtype, seed=1)
    inputs = np.random.default_rng(0).normal(size=(20, 9))
    f = model.forward(inputs)
    predict = model.predictor()
    model.theta[:] = 0
    assert predict(inputs).tobytes() == f.tobytes()
    assert predict(inputs[3]).shape == (5,) and predict(inputs[3]).tobytes() == f[3].tobytes()
    out = np.full((20, 5), np.nan, dtype)
    assert predict(inputs, out=out) is out and out.tobytes() == f.tobytes()
    row = np.empty(5, dtype)
    assert predict(inputs[0], row) is row and row.tobytes() == f[0].tobytes()


def test_predictor_refuses_wrong_buffers():
    predict = fastnn.Model([3, 2], seed=0).predictor()
    read_only = np.zeros(2, np.float32)
    read_only.flags.writeable = False
    for out in (np.zeros(3, np.float32), np.zeros(2), [0, 0], np.zeros((1, 2), np.float32)):
        with pytest.raises(ValueError, match=r"out must be a float32 array of shape \(2,\), got"):
            predict(np.ones(3), out=out)
    for out in (read_only, np.zeros(4, np.float32)[::2]):
        with pytest.raises(ValueError, match="out must be C-contiguous, aligned and writable"):
            predict(np.ones(3), out=out)


def test_predictor_may_write_over_its_input():
    predict = fastnn.Model([3, 3], output="tanh", seed=0).predictor()
    x = np.ones((5, 3), np.float32)
    want = predict(x.copy())
    assert predict(x, out=x).tobytes() == want.tobytes()


def other_kinds(X):
    """The same rows, in every form that compiled code does not take as it is."""
    swapped = X.astype(X.dtype.newbyteorder())
    offset = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    offset[:] = X
    return {
        "other dtype": X.astype("float64" if X.dtype == "float32" else "float32"),
        "other byte order": swapped,
        "Fortran order": np.asfortranarray(X),
        "reversed": X[::-1].copy()[::-1],
        "a view with gaps": np.repeat(X, 2, axis=1)[:, ::2],
        "not aligned": offset,
        "a subclass": X.view(np.recarray),
        "lists": X.tolist(),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_form_of_the_same_rows_gives_the_same(dtype):
    predict = fastnn.Model([4, 9, 3], output="tanh", dtype=dtype, seed=1).predictor()
    X = np.random.default_rng(0).integers(-8, 8, (7, 4)).astype(dtype) / 8
    want = predict(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    assert predict(read_only).tobytes() == want.tobytes()
    for what, same in other_kinds(X).items():
        got = predict(same)
        assert got.tobytes() == want.tobytes() and got.dtype == dtype, what
        assert predict(same[2]).tobytes() == want[2].tobytes(), what


def test_out_of_a_subclass_is_written_and_returned():
    predict = fastnn.Model([3, 2], seed=0).predictor()
    x = np.ones((4, 3), np.float32)
    out = np.zeros((4, 2), np.float32).view(np.recarray)
    assert predict(x, out) is out
    assert np.asarray(out).tobytes() == predict(x).tobytes()


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_out_may_overlap_x_in_part(shift):
    predict = fastnn.Model([3, 3], output="tanh", seed=0).predictor()
    room = np.linspace(-1, 1, 36, dtype=np.float32)
    x, out = room[9:27].reshape(6, 3), room[9 + shift : 27 + shift].reshape(6, 3)
    want = predict(x.copy())
    assert predict(x, out).tobytes() == want.tobytes()


def test_one_that_was_not_made_has_no_answers():
    predict = fastnn.Model([2, 3, 2], seed=0).predictor()
    with pytest.raises(TypeError, match=r"must be made by Model\.predictor: this one has no"):
        type(predict).__new__(type(predict))(np.ones((1, 2), np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 2, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("others", ["ordinary", "largest"])
def test_what_is_not_finite_is_refused_wherever_it_stands(bad, n, dtype, others):
    fill = 1 if others == "ordinary" else np.finfo(dtype).max
    predict = fastnn.Model([37, 5, 2], dtype=dtype, seed=0).predictor()
    for i in {0, n // 2, n - 1}:
        for j in range(37):
            X = np.full((n, 37), fill, dtype)
            X[i, j] = bad
            with pytest.raises(ValueError, match=r"x must be finite|X must be finite"):
                predict(X)


@pytest.mark.parametrize("n", [1, 3])
def test_integers_that_are_too_large_once_scaled_are_refused(n):
    model = fastnn.Model([4, 2], input_scale=1e37, feature_scale=True, seed=0)
    with pytest.raises(ValueError, match="X times input_scale must be finite"):
        model.predictor()(np.full((n, 4), 255, np.uint8))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_somebody_made_infinite_or_nan_are_told(bad):
    X = np.ones((3, 4), np.float32)
    model = fastnn.Model([4, 5, 2], seed=0)
    before = model.predict_proba(X)
    good = model.W[1][1, 2]
    model.W[1][1, 2] = bad
    calls = (
        *(model.forward, model.predict, model.predict_proba),
        *(lambda X: model.predictor(), lambda X: model.evaluate(X, [0, 1, 1])),
    )
    for call in calls:
        with pytest.raises(ValueError, match="the weights theta must be finite, got"):
            call(X)
    model.W[1][1, 2] = good
    assert model.predict_proba(X).tobytes() == before.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 2, 300])
def test_what_is_not_finite_is_refused_where_its_weight_is_zero(bad, n):
    model = fastnn.Model([37, 40, 2], seed=0)
    model.W[0][:] = 0
    X = np.ones((n, 37), np.float32)
    X[n - 1, 20] = bad
    with pytest.raises(ValueError, match="finite"):
        model.predictor()(X)


@pytest.mark.parametrize("n", [1, 2, 300])
def test_sums_that_overflow_are_no_error(n):
    model = fastnn.Model([3, 40, 2], output="identity", seed=0)
    model.W[0][:] = 2
    model.W[1][:] = 1
    X = np.full((n, 3), np.finfo(np.float32).max, np.float32)
    assert np.isposinf(model.predictor()(X)).all()


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("bias", [True, False])
def test_no_class_is_chosen_by_sums_that_overflow(output, bias):
    model = fastnn.Model([3, 5, 2], output=output, bias=bias, input_scale=1e37, seed=0)
    X = np.array([[1, 0, 1], [255, 255, 3], [4, 5, 6]], np.uint8)
    assert np.isnan(model.forward(X)[1]).any()
    with pytest.raises(ValueError, match=r"must be numbers, got NaN in row 1: .* float32"):
        model.predict(X)
    assert model.predict(X[::2]).shape == ((2,) if output == "softmax" else (2, 2))


@pytest.mark.parametrize("n_targets", [1, 2])
def test_no_class_is_named_where_sums_overflow(n_targets):
    table = {"age": [31, 47, 52, 28], "height": [1.5, 1.6, 1.7, 1.8]}
    said = ["no", "yes", "yes", "no"]
    y = said if n_targets == 1 else {"smokes": said, "snores": said[::-1]}
    model = fastnn.Model([None, 4, None], seed=0)
    model.fit(table, y, epochs=1)
    model.W[0][:] = 3e38
    model.W[1][::2], model.W[1][1::2] = 3e38, -3e38
    model.W[1][:, 1] *= -1
    row = {"age": 1e9, "height": 1e9}
    for predict in (
        lambda: model.predict({name: [cell] for name, cell in row.items()}),
        lambda: model.predict_one(row),
        lambda: model.predictor(rows=True).predict(row),
    ):
        with pytest.raises(ValueError, match="must be numbers, got NaN in row 0"):
            predict()


@pytest.mark.parametrize("n_in", [512, 1024, 1025, 2048, 3000])
@pytest.mark.parametrize("n_out", [3, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_start_at_one_place_of_every_page(n_in, n_out, dtype):
    model = fastnn.Model([n_in, n_out], output="tanh", dtype=dtype, seed=0)
    X = np.random.default_rng(0).normal(size=(150, n_in)).astype(dtype)
    together = model.predictor()(X)
    assert together.tobytes() == np.stack([model.predictor()(x) for x in X]).tobytes()
    np.testing.assert_allclose(together, np.tanh(X @ model.W[0].T + model.b[0]), atol=1e-4)


@pytest.mark.parametrize(
    "shape", [(), (0,), (4,), (0, 4), (2, 4), (3, 2), (1, 2, 3), (1, 0)]
)
def test_wrong_shapes(shape):
    predict = fastnn.Model([3, 2], seed=0).predictor()
    with pytest.raises(ValueError, match=r"[xX] must"):
        predict(np.ones(shape, np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_rows_give_no_rows(dtype):
    predict = fastnn.Model([3, 4, 2], dtype=dtype, seed=0).predictor()
    out = np.empty((0, 2), dtype)
    for X in (np.ones((0, 3), dtype), np.ones((0, 3), np.int64), np.ones((3, 0)).T):
        assert predict(X).shape == (0, 2) and predict(X).dtype == dtype
        assert predict(X, out) is out
    with pytest.raises(ValueError, match=r"out must be a .* array of shape \(0, 2\)"):
        predict(X, np.empty((1, 2), dtype))


def test_a_call_has_at_most_max_batch_rows():
    model = fastnn.Model([3, 4, 2], seed=0)
    predict = model.predictor(max_batch=5, n_threads=1)
    predict.warm_up()
    X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    assert predict.max_batch == 5 and predict.threads() == 1 and model.predictor().max_batch is None
    assert predict(X[:5]).tobytes() == model.forward(X[:5]).tobytes()
    assert predict(X[0]).tobytes() == model.forward(X)[0].tobytes()
    for call in (predict, predict.rows, pickle.loads(pickle.dumps(predict))):
        for many in (X, X.tolist(), X.astype(np.float64)):
            with pytest.raises(ValueError, match=r"at most 5 rows \(max_batch\), got 6"):
                call(many)
    for setting in ("max_batch", "n_threads"):
        with pytest.raises(ValueError, match=f"{setting} must be"):
            model.predictor(**{setting: 0})


@pytest.mark.parametrize("sizes", [(32, 64, 32, 2), (784, 128, 10)], ids=str)
def test_a_call_makes_no_system_call(sizes, tmp_path):
    """Between two that nothing else makes, strace sees none in 1000 calls with `out=`."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    code = f"""
import os
import numpy as np
import fastnn
predict = fastnn.Model({list(sizes)}, n_threads=1, seed=0).predictor()
x, out = np.ones({sizes[0]}, np.float32), np.empty({sizes[-1]}, np.float32)
predict.warm_up()
for _ in range(10):
    predict(x, out)
os.access("/marker", os.F_OK)
for _ in range(1000):
    predict(x, out)
os.access("/marker", os.F_OK)
"""
    log = tmp_path / "calls"
    command = [strace, "-f", "-o", str(log), sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "ptrace" in run.stderr:  # as containers may refuse it
        pytest.skip(f"strace may not trace here: {run.stderr.strip():.100}")
    assert run.returncode == 0, run.stderr
    calls = log.read_text().splitlines()
    first, last = (i for i, call in enumerate(calls) if "access" in call and '"/marker"' in call)
    assert calls[first + 1 : last] == []


def test_it_survives_pickling():
    predict = fastnn.Model([3, 40, 2], seed=0, n_threads=2).predictor()
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    again = pickle.loads(pickle.dumps(predict))
    assert again(X).tobytes() == predict(X).tobytes()
    assert again.threads() == 2


@pytest.mark.parametrize("output", list(_cpu.OUTPUTS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_alone_has_the_bits_it_has_among_others(output, dtype):
    """One row and many go different ways through the same sums."""
    rng = np.random.default_rng(0)
    least = 1 + (output == "softmax")
    for sizes in ([1, least], [3, 70, 5], [65, 1, 33, 7], [300, 17], [5, 3000, 2]):
        predict = fastnn.Model(sizes, output=output, dtype=dtype, seed=3).predictor()
        X = rng.normal(size=(141, sizes[0])).astype(dtype)
        X[:, ::3] = 0
        many = predict(X)
        for i in (0, 1, 127, 128, 140):
            assert predict(X[i]).tobytes() == predict(X[i : i + 1]).tobytes() == many[i].tobytes()


def test_rows_and_threads_change_no_bit():
    sizes = [64, 300, 9]
    X = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    want = {fastnn.Model(sizes, seed=1, n_threads=n).predictor()(X).tobytes() for n in (1, 2, 3)}
    assert len(want) == 1
    predict = fastnn.Model(sizes, seed=1, n_threads=2).predictor()
    assert b"".join(predict(X[i : i + 77]).tobytes() for i in range(0, 2000, 77)) in want


# --- two cores a row

LARGE = [784, 512, 512, 10]  # a row's products are worth a second core


def rows_and_answers(predict, n=7):
    """Rows, and what they are answered among others."""
    X = np.random.default_rng(0).normal(size=(n, predict.sizes[0])).astype(predict.dtype)
    return X, [f.tobytes() for f in predict(X)]


def shared_rows(predict, wanted=20):
    """Predicts single rows, and holds their bits, until two cores have shared so many products."""
    X, want = rows_and_answers(predict)
    begin, before = time.perf_counter(), _cpu.shares_given()
    while _cpu.shares_given() < before + wanted:
        assert time.perf_counter() < begin + 60
        for i in range(len(X)):
            assert predict(X[i]).tobytes() == want[i]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [LARGE, [2100, 300, 250, 3]])  # beyond the stack's room, too
@pytest.mark.skipif(_cpu.openmp() == "none", reason="built for one thread")
def test_two_cores_give_a_row_the_bits_of_one(isa, dtype, sizes):
    shared_rows(fastnn.Model(sizes, dtype=dtype, seed=1, n_threads=2).predictor())


def test_a_row_keeps_to_one_core_where_it_is_to():
    model = fastnn.Model(LARGE, seed=1)
    X, want = rows_and_answers(model.predictor(n_threads=1))
    ways = [(model.predictor(n_threads=1), 9), (model.predictor(n_threads=2), 1)]
    for predict, limit in [*ways, (model.predictor(), 1)]:
        before = _cpu.shares_given()
        with fastnn.threads(limit):
            for _ in range(100):
                assert predict(X[0]).tobytes() == want[0]
        assert _cpu.shares_given() == before


def test_rows_of_many_threads_wait_for_none(isa):
    """They meet at one helper, which only one of them may have."""
    predict = fastnn.Model(LARGE, seed=1, n_threads=2).predictor()
    X, want = rows_and_answers(predict)
    wrong = []

    def ask(i):
        wrong.extend(i for _ in range(50) if predict(X[i]).tobytes() != want[i])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a thread's own CPUs")
def test_a_helper_that_does_not_answer_is_done_without(monkeypatch):
    """Both on one CPU: the helper runs where the row does not, and predictors die meanwhile."""
    monkeypatch.setattr(Predictor, "threads", lambda self: 2)
    model = fastnn.Model(LARGE, seed=1, n_threads=2)
    X, want = rows_and_answers(model.predictor())
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        for _ in range(30):
            predict = model.predictor(max_batch=1)
            for _ in range(40):
                assert predict(X[0]).tobytes() == want[0]
            del predict
    finally:
        os.sched_setaffinity(0, cpus)


@pytest.mark.skipif(_cpu.openmp() == "none", reason="built for one thread")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_predicts_rows_without_its_parents_helper(isa):
    """It waits neither for an answer nor, as its predictor ends, for the helper to be done."""
    predict = fastnn.Model(LARGE, seed=1, n_threads=2).predictor()
    X, want = rows_and_answers(predict)
    for _ in range(3):
        shared_rows(predict)
        child = os.fork()
        if child == 0:
            signal.alarm(8)
            same = all(predict(X[0]).tobytes() == want[0] for _ in range(40))
            predict = None
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0


# --- means of several networks


def members_of(sizes, n, dtype="float32"):
    return [fastnn.Model(sizes, dtype=dtype, seed=seed).predictor() for seed in range(n)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mean_is_the_sum_in_order_of_its_members(dtype):
    members = members_of([7, 70, 3], 5, dtype)
    mean = pickle.loads(pickle.dumps(Mean(members)))
    X = np.random.default_rng(0).normal(size=(8200, 7)).astype(dtype)  # more than a block
    weights = np.array([[0.1, 0.2, 0.3, 0, 0.4], [0, 0, 1, 0, 0]])
    want = np.zeros((2, len(X), 3))
    for m, member in enumerate(members):
        want += weights[:, m, None, None] * member(X).astype(np.float64)
    for _ in range(2):  # forth and back
        assert mean(X, weights).tobytes() == want.tobytes()
        for i in (0, 1, 8199):
            assert mean(X[i : i + 1], weights).tobytes() == want[:, i : i + 1].tobytes()
    assert mean(X[:0], weights).shape == (2, 0, 3)


def test_a_mean_counts_every_member_while_other_threads_call_it():
    mean, weights = Mean(members_of([7, 200, 3], 5)), np.full((1, 5), 0.2)
    X = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float32)
    want, wrong = mean(X, weights).tobytes(), []

    def ask():
        wrong.extend(1 for _ in range(1000) if mean(X, weights).tobytes() != want)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_a_mean_refuses_what_its_members_do_not_take():
    with pytest.raises(ValueError, match="members must take and give the same numbers"):
        Mean([*members_of([3, 2], 1), *members_of([4, 2], 1)])
    mean, weights = Mean(members_of([3, 2], 2)), np.ones((1, 2))
    X = np.ones((4, 3), np.float32)
    for bad, of in [
        *((X[:, :2], weights), (X.astype(float), weights), (X[0], weights), (X[::2], weights)),
        *((X.tolist(), weights), (X, np.ones((1, 3)))),
    ]:
        with pytest.raises(ValueError, match=r"X must be an array of shape \(n, 3\)"):
            mean(bad, of)
    for n in (1, 4):
        X[n - 1, 1] = np.nan
        with pytest.raises(ValueError, match="finite"):
            mean(X[:n], weights)


def test_a_long_call_can_be_interrupted():
    predict = fastnn.Model([2000, 2000, 2000], seed=0, n_threads=1).predictor()
    X = np.zeros((6000, 2000), np.float32)  # 5e10 operations
    start = time.perf_counter()
    predict(X)
    whole = time.perf_counter() - start
    main, sent = threading.main_thread().ident, []
    old = signal.signal(signal.SIGINT, signal.default_int_handler)

    def send():
        sent.append(time.perf_counter())
        signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(whole / 5, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            predict(X)
        assert time.perf_counter() - sent[0] < whole / 3
    finally:
        timer.join()
        signal.signal(signal.SIGINT, old)
    assert predict(X[:2]).shape == (2, 2000)
