"""Streams: blocks (X, y) read ahead on a thread; the same bits as the calls they stand for."""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import threading
import time

import numpy as np
import pytest

import fastnn
import fastnn.data
from fastnn.random import SHUFFLE, permutation
from fastnn.training import stream as stream_module
from fastnn.training.stream import AHEAD, Stream


def blocks(sizes=(40, 7, 64, 2)):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(n, 4)), rng.integers(0, 3, n)) for n in sizes]


def make():
    return fastnn.Model([4, 6, 3], seed=5)


def threads():
    return [t for t in threading.enumerate() if t.name == "fastnn-stream"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("batch", [1, 16, 100])
def test_a_stream_is_its_blocks_one_after_another(batch, optimizer):
    """Of each epoch the steps of partial_fit on each block, shuffled or not."""
    for shuffle in (False, True):
        one, two = make(), make()
        history = one.fit(blocks, epochs=2, batch_size=batch, optimizer=optimizer, shuffle=shuffle)
        for epoch in range(2):
            total = n = 0
            for number, (X, y) in enumerate(blocks()):
                order = np.arange(len(X))
                if shuffle:
                    order = permutation(5, SHUFFLE, epoch + (number << 32), len(X))
                loss = two.partial_fit(X[order], y[order], batch_size=batch, optimizer=optimizer)
                total, n = total + loss * len(X), n + len(X)
            assert history.loss[epoch] == pytest.approx(total / n, rel=1e-12)
        assert one.theta.tobytes() == two.theta.tobytes()


@pytest.mark.parametrize("n", [None, 9, 1], ids=["", "a last row alone", "one row"])
def test_a_stream_of_one_block_is_fit(n):
    X, y = (part[:n] for part in blocks()[0])
    one, two = make(), make()
    a = one.fit([(X, y)], epochs=3, batch_size=8, validation_data=(X, y))
    b = two.fit(X, y, epochs=3, batch_size=8, validation_data=(X, y))
    assert one.theta.tobytes() == two.theta.tobytes() and a.loss == b.loss
    assert a.val_loss == b.val_loss


def test_dropout_callbacks_and_schedules():
    net = dict(seed=5, dropout=0.5)
    X, y = blocks()[0]
    rate = fastnn.ReduceOnPlateau(0.1, monitor="val_loss", patience=1, threshold=10.0)
    settings = dict(epochs=6, batch_size=8, validation_data=(X, y), learning_rate=rate)
    one, two = fastnn.Model([4, 6, 3], **net), fastnn.Model([4, 6, 3], **net)
    seen = []
    watch = fastnn.LambdaCallback(on_epoch_end=lambda fit: seen.append(len(fit.history)))
    a = one.fit([(X, y)], callbacks=[watch], **settings)
    b = two.fit(X, y, **settings)
    assert one.theta.tobytes() == two.theta.tobytes()
    assert seen == [1, 2, 3, 4, 5, 6]
    assert a.learning_rate == b.learning_rate and a.learning_rate[-1] < 0.1


def test_resume(tmp_path):
    """A fit that ended after two epochs and one that goes on: the bits of one that never ended."""
    path = tmp_path / "c.safetensors"
    whole, half = make(), make()
    settings = dict(batch_size=16, optimizer="adam")
    whole.fit(blocks, epochs=5, **settings)
    half.fit(blocks, epochs=2, callbacks=[fastnn.Checkpoint(path)], **settings)
    other = fastnn.Model([4, 6, 3], seed=1)
    history = other.fit(
        blocks, epochs=5, resume=path, callbacks=[fastnn.Checkpoint(path)], **settings
    )
    assert other.theta.tobytes() == whole.theta.tobytes() and len(history) == 5


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(validation_split=0.2), "validation_split must come with X and y"),
        (dict(sample_weight=np.ones(3)), "sample_weight must come with X and y"),
        (dict(class_weight="balanced"), "class_weight must come with X and y"),
        (dict(optimizer="lbfgs"), "LBFGS must come with X and y"),
        (dict(learning_rate=fastnn.OneCycle(0.1)), "OneCycle must come with X and y"),
    ],
)
def test_what_does_not_go_with_a_stream(settings, message):
    model = make()
    before = model.theta.copy()
    with pytest.raises(ValueError, match=message):
        model.fit(blocks, epochs=1, **settings)
    assert model.theta.tobytes() == before.tobytes()


def test_kinds_of_source_and_of_block():
    want = make()
    want.fit(blocks(), epochs=1)
    generators = [lambda: iter(blocks()), lambda: (pair for pair in blocks()), lambda: blocks()]
    for source in (*generators, iter(blocks()), tuple(blocks())):
        model = make()
        model.fit(source, epochs=1)
        assert model.theta.tobytes() == want.theta.tobytes()
    sparse = pytest.importorskip("scipy.sparse")
    model = make()
    model.fit([(sparse.csr_array(X), y) for X, y in blocks()], epochs=1)
    np.testing.assert_allclose(model.theta, want.theta, rtol=0, atol=1e-6)
    mixed = make()
    mixed.fit(
        [(sparse.csr_array(X) if i % 2 else X, y) for i, (X, y) in enumerate(blocks())], epochs=1
    )
    np.testing.assert_allclose(mixed.theta, want.theta, rtol=0, atol=1e-6)


def state(model):
    p = model._parameters
    return p.theta.tobytes(), p.optimizer, p.state.tobytes(), p.epoch, p.steps


def broken(after):
    def source():
        yield from blocks()[:after]
        raise OSError("the disk is gone")

    return source


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (broken(0), OSError, "the disk is gone"),
        (broken(3), OSError, "the disk is gone"),
        ([], ValueError, "at least one block"),
        ([blocks()[0], 3], TypeError, r"block 2: a stream must yield pairs \(X, y\), got int"),
        ([(np.ones((2, 5)), [0, 1])], ValueError, r"block 1: X must have shape \(n, 4\)"),
        ([blocks()[0], (np.full((2, 4), np.nan), [0, 1])], ValueError, "block 2: X must be finite"),
        ([(np.ones((2, 4)), [0, 7])], ValueError, "block 1: y must hold labels 0 to 2, got 7"),
        (np.ones((2, 4)), TypeError, "y is missing"),
        (3, TypeError, "an iterable of pairs .* got int"),
        (lambda: 3, TypeError, "not iterable"),
    ],
)
def test_a_stream_that_fails_leaves_the_model_as_it_was(source, error, message):
    model = make()
    model.fit(blocks(), epochs=1, optimizer="adam")
    before = state(model)
    with pytest.raises(error, match=message):
        model.fit(source, epochs=2, batch_size=8, optimizer=fastnn.SGD(0.1, momentum=0.9))
    assert state(model) == before
    model.fit(blocks(), epochs=1, optimizer="adam")


def test_an_iterator_is_read_once():
    model = make()
    with pytest.raises(ValueError, match=r"one epoch alone; pass a callable .* got epochs=2"):
        model.fit(iter(blocks()), epochs=2)


def test_divergence_counts_the_batches_of_all_blocks():
    good, bad = (np.ones((40, 4)), np.ones(40)), (np.full((8, 4), 1e30), np.zeros(8))
    model = fastnn.Model([4, 1], output="identity", seed=0)
    before = state(model)
    with pytest.raises(fastnn.DivergenceError, match=r"epoch 1, batch 6 has the loss"):
        model.fit([good, bad], epochs=1, batch_size=8, learning_rate=0.01)
    assert state(model) == before


def test_reading_goes_on_ahead_but_not_far(monkeypatch):
    monkeypatch.setattr(stream_module, "POLL", 0.001)  # it waits longer than that
    read, used = [], []

    def source():
        for i in range(12):
            read.append(i)
            yield blocks()[0]

    stream = Stream(source, make()._network)
    with stream.blocks() as got:
        for _ in got:
            used.append(len(read))
            time.sleep(0.02)
    assert len(read) == 12
    assert max(n - i for i, n in enumerate(used)) <= AHEAD + 3


def test_the_thread_ends_and_the_source_is_closed():
    closed = []

    def source():
        try:
            while True:
                yield blocks()[0]
        finally:
            closed.append(True)

    stream = Stream(source, make()._network)
    with stream.blocks() as got:
        next(got)
    deadline = time.monotonic() + 5
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill")
    or threading.current_thread() is not threading.main_thread(),
    reason="needs POSIX signals",
)
@pytest.mark.parametrize("slow", [False, True])
def test_an_interrupt_ends_it(slow):
    def source():
        for i in itertools.count():
            if slow:
                time.sleep(0.2)
            if i == 3:  # the first has been learnt from
                began.append(time.perf_counter())
                timer.start()
            yield blocks()[0]

    began = []
    model = make()
    before = model.theta.tobytes()
    main = threading.main_thread().ident
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(source, epochs=1, batch_size=8)
        assert time.perf_counter() - began[0] < 2
    finally:
        timer.join()
        signal.signal(signal.SIGINT, old)
    assert model.theta.tobytes() != before and np.isfinite(model.theta).all()


def _child(queue):
    model = make()
    model.fit(blocks, epochs=2)
    queue.put(model.theta.tobytes())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_in_a_child_forked_while_a_stream_is_read():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = []

    def source():
        for i, block in enumerate(blocks()):
            if i == 2:
                children.append(context.Process(target=_child, args=(queue,)))
                children[0].start()
            yield block

    model = make()
    model.fit(source, epochs=1)
    want = make()
    want.fit(blocks, epochs=2)
    assert queue.get(timeout=30) == want.theta.tobytes()
    children[0].join()


def test_verbose_without_a_number_of_samples(capsys):
    make().fit(blocks, epochs=2, verbose=True)
    assert len(capsys.readouterr().err.splitlines()) == 2


# Files


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_folder_of_files(tmp_path, kind):
    pyarrow = pytest.importorskip("pyarrow")
    csv = pytest.importorskip("pyarrow.csv")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder, rows = tmp_path / "rows", []
    folder.mkdir()
    for i, (X, y) in enumerate(blocks()):
        X = X.astype(np.float32).astype(np.float64).round(3)
        table = pyarrow.table({"a": X[:, 0], "y": y, "b": X[:, 1], "c": X[:, 2], "d": X[:, 3]})
        if kind == "csv":
            csv.write_csv(table, folder / f"part{i}.csv")
        else:
            parquet.write_table(table, folder / f"part{i}.parquet")
        rows.append((X, y))
    stream = fastnn.data.ArrowStream(folder, target="y")
    assert stream.columns == ["a", "b", "c", "d"]
    one, two = make(), make()
    for _ in range(2):  # a fit after the other, and two epochs: read again each time
        one.fit(stream, epochs=2, batch_size=16)
        two.fit(rows, epochs=2, batch_size=16)
    assert one.theta.tobytes() == two.theta.tobytes()
    small = fastnn.data.ArrowStream(folder, target="y", columns=["d", "a"], batch_rows=10)
    sizes = [len(y) for _, y in small]
    assert sum(sizes) == 113 and max(sizes) <= 10
    with pytest.raises(ValueError, match=r"must have the column 'z', got 'a', "):
        fastnn.data.ArrowStream(folder, target="z")
    with pytest.raises(ValueError, match="must have the column 'q'"):
        fastnn.data.ArrowStream(folder, target="y", columns=["q"])
    with pytest.raises(ValueError, match="batch_rows must be at least 1"):
        fastnn.data.ArrowStream(folder, target="y", batch_rows=0)


def test_files_that_hold_nothing_to_learn_from(tmp_path):
    pytest.importorskip("pyarrow")
    for name, text in {".note": "x", "_SUCCESS": "", "a.csv": "x,y\n"}.items():
        (tmp_path / name).write_text(text)
    stream = fastnn.data.ArrowStream(tmp_path, target="y")  # the first name that counts tells
    assert not [*stream]  # no block is empty
    with pytest.raises(ValueError, match="at least one block"):
        fastnn.Model([1, 1], output="identity").fit(stream)
    with pytest.raises(ValueError, match="must have a column beside 'y'"):
        fastnn.data.ArrowStream(tmp_path, target="y", columns=[])
    (tmp_path / "README").write_text("x")
    with pytest.raises(ValueError, match=r"the format must be given where names end in none of"):
        fastnn.data.ArrowStream(tmp_path, target="y")


def test_files_that_are_not_there(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError, match="must be a file or a folder"):
        fastnn.data.ArrowStream(tmp_path / "nothing", target="y")
    with pytest.raises(ValueError, match="the format must be given"):
        fastnn.data.ArrowStream(tmp_path, target="y")


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.dataset", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(fastnn.MissingExtraError, match=r'pip install "fastnn-cpu\[parquet\]"'):
        fastnn.data.ArrowStream(tmp_path, target="y")


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_source_may_fill_one_buffer_again_and_again(dtype, sparse):
    """Blocks are read ahead: what is trained on is what was there when the block was yielded."""
    rng = np.random.default_rng(0)
    given = [(rng.integers(0, 9, (30, 4)), rng.integers(0, 3, 30)) for _ in range(8)]

    def refilled():
        X, y = np.empty((30, 4), dtype), np.empty(30, np.int32)
        if sparse:
            matrix = pytest.importorskip("scipy.sparse").csr_array(np.ones((30, 4), dtype))
            X = matrix.data.reshape(30, 4)
        for new_X, new_y in given:
            X[:], y[:] = new_X + sparse, new_y
            yield (matrix if sparse else X), y

    one, two = make(), make()
    one.fit(refilled, epochs=2, batch_size=8)
    two.fit([((X + sparse).astype(dtype), y) for X, y in given], epochs=2, batch_size=8)
    np.testing.assert_allclose(one.theta, two.theta, rtol=0, atol=1e-6)


def test_a_block_is_copied_as_it_lies():
    X, y = blocks()[0]
    stream = Stream([(np.asfortranarray(X), y)], make()._network)
    with stream.blocks() as got:
        ((mine, labels),) = got
    assert mine.flags.f_contiguous and not np.shares_memory(mine, X) and labels.dtype == np.int32
