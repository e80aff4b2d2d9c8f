"""Features as they come: kinds of number, layouts, memory maps, tables, CSR; the bits of dense."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
import reference as ref
from compiled import counted

import fastnn
from fastnn.kernels import _cpu
from fastnn.network.arrays import as_dense, as_features
from fastnn.network.spec import as_network

N_IN, N = 37, 150
KINDS = [*(np.dtype(name) for name in _cpu.KINDS), np.dtype(bool)]
LAYOUTS = ["C", "F", "rows", "columns", "reversed", "broadcast"]


def laid_out(values, layout):
    """The same values in another layout, padding being what no one may read."""
    n, m = values.shape
    if layout == "F":
        return np.asfortranarray(values)
    if layout == "rows":
        wide = np.full((2 * n, m + 3), 77, values.dtype)
        wide[::2, 1:-2] = values
        return wide[::2, 1:-2]
    if layout == "columns":
        wide = np.full((n, 3 * m), 77, values.dtype)
        wide[:, ::3] = values
        return wide[:, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1]
    if layout == "broadcast":
        return np.broadcast_to(values[:1], values.shape)
    return values


def numbers(kind, n=N, n_in=N_IN):
    rng = np.random.default_rng(3)
    if kind.kind == "b":
        return rng.random((n, n_in)) < 0.5
    if kind.kind == "f":
        return (rng.standard_normal((n, n_in)) * [1e-6, 1][n_in > 1]).astype(kind)
    low = 0 if kind.kind == "u" else -100
    return rng.integers(low, 127, (n, n_in)).astype(kind)


def labels(n=N, n_classes=3):
    return np.random.default_rng(4).integers(0, n_classes, n)


def outcome(
    X, *, dtype="float32", batch=16, optimizer="sgd", sizes=(N_IN, 8, 3), scale=1 / 255, threads=1
):
    """Bits of all that a model makes of X: losses, theta, predictions, measures."""
    model = fastnn.Model(list(sizes), dtype=dtype, seed=1, input_scale=scale, n_threads=threads)
    y = labels(X.shape[0], sizes[-1])
    history = model.fit(X, y, epochs=2, batch_size=batch, optimizer=optimizer)
    loss = model.partial_fit(X, y, batch_size=batch)
    value, grad = model.loss_and_gradient(X, y)
    predict = model.predictor()
    result = model.evaluate(X, y)
    bits = [model.theta, grad, model.forward(X), predict(X), model.predict_proba(X)]
    return [a.tobytes() for a in bits], history.loss, loss, value, result


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_kind_gives_the_bits_of_the_formula(isa, kind, dtype):
    """Integers: float(x) * float(scale), each rounded once; floats: float(x)."""
    X = numbers(kind)
    with np.errstate(all="ignore"):
        floats = X.astype(dtype)
    if kind.kind != "f":
        floats = floats * np.asarray(1 / 255, dtype)
    for batch in (1, 16):
        want = outcome(floats, dtype=dtype, batch=batch)
        for threads in (1, 2):
            assert outcome(X, dtype=dtype, batch=batch, threads=threads) == want


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["uint8", "int64", "float16", "float32", "float64"])
def test_a_layout_changes_no_bit(isa, kind, layout):
    X = numbers(np.dtype(kind))
    if layout == "broadcast":
        X = np.tile(X[:1], (N, 1))
    for batch in (1, 16):
        assert outcome(laid_out(X, layout), batch=batch, threads=2) == outcome(X, batch=batch)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float16"])
@pytest.mark.parametrize("n_in", [1, 2, 15, 16, 17, 31, 32, 33, 64, 65])
def test_widths_around_a_panel(isa, kind, n_in):
    X = numbers(np.dtype(kind), n_in=n_in)
    floats = as_dense(
        X, as_network([n_in, 3], "relu", "softmax", None, True, "float32", input_scale=1 / 255)
    )
    for layout in ("C", "F"):
        for sizes in ((n_in, 3), (n_in, 40, 3)):
            want = outcome(floats, sizes=sizes)
            assert outcome(laid_out(X, layout), sizes=sizes) == want


def test_every_half():
    """All finite float16 numbers, subnormal ones too, arrive as they are."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    model = fastnn.Model([1, 1], output="identity", bias=False, seed=0)
    model.theta = [1.0]
    want = halves.astype(np.float32)
    for isa in _cpu.isas():
        _cpu.use(isa)
        np.testing.assert_array_equal(model.forward(halves[:, None])[:, 0], want)
    _cpu.use()


def test_extremes_of_integers():
    values = np.array([[2**63 - 1], [-(2**63)], [2**53 + 1], [-1]])
    model = fastnn.Model([1, 1], output="identity", bias=False, seed=0, dtype="float64")
    model.theta = [1.0]
    assert model.forward(values).tolist() == values.astype(np.float64).tolist()
    big = np.array([[2**64 - 1], [2**63]], np.uint64)
    assert model.forward(big).tolist() == big.astype(np.float64).tolist()


def test_as_they_lie():
    net = as_network([N_IN, 3], "relu", "softmax", None, True, "float32")
    for kind in KINDS:
        for layout in LAYOUTS:
            X = laid_out(numbers(kind), layout)
            assert np.shares_memory(as_features(X, net), X) and not np.isnan(np.float64(X[0, 0]))


def test_scale_is_checked_saved_and_shown(tmp_path):
    for bad in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="input_scale must be"):
            fastnn.Model([2, 2], input_scale=bad)
    for bad in (1e-38, 1e39):
        with pytest.raises(ValueError, match=r"of float32, 1.2e-38 to 3.4e\+38, got 1e"):
            fastnn.Model([2, 2], input_scale=bad)
        assert fastnn.Model([2, 2], input_scale=bad, dtype="float64").input_scale == bad
    with pytest.raises(TypeError, match="input_scale must be a number"):
        fastnn.Model([2, 2], input_scale="1")
    model = fastnn.Model([2, 2], input_scale=1 / 255, seed=0)
    X = np.array([[0, 255], [128, 3]], np.uint8)
    assert "input_scale=0.00392" in repr(model)
    model.save(tmp_path / "model.safetensors")
    loaded = fastnn.load(tmp_path / "model.safetensors")
    assert loaded.input_scale == 1 / 255
    want = model.forward(X)
    assert loaded.forward(X).tobytes() == want.tobytes() == model.predictor()(X).tobytes()
    one = model.predictor()(X[0])
    assert one.tobytes() == want[0].tobytes()
    scaled = X.astype(np.float32) * np.float32(1 / 255)
    assert model.forward(scaled).tobytes() == want.tobytes()
    assert model.gradient_check(X, [0, 1]) < 1e-6
    np.testing.assert_array_equal(model.trace(X, [0, 1]).x, scaled)


@pytest.mark.parametrize("layout", ["C", "F", "columns", "reversed"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n", [50, 20_000])
def test_not_finite_is_found_in_any_layout(kind, layout, n):
    X = np.ones((n, N_IN), kind)
    X[n - 9, 5] = np.nan
    model = fastnn.Model([N_IN, 3], seed=0)
    before = model.theta.tobytes()
    with pytest.raises(ValueError, match=f"X must be finite, got nan in row {n - 9}, column 5"):
        model.fit(laid_out(X, layout), labels(n))
    assert model.theta.tobytes() == before
    X[n - 9, 5] = 1
    if kind == "float64":
        X[3, 2] = 1e300
        with pytest.raises(ValueError, match=r"finite in float32, got 1e\+300 in row 3, column 2"):
            model.fit(laid_out(X, layout), labels(n))


def test_memory_maps(tmp_path):
    X = numbers(np.dtype("float32"))
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert outcome(mapped) == outcome(X)
    np.asarray(X, np.uint8).tofile(tmp_path / "raw")
    raw = np.memmap(tmp_path / "raw", np.uint8, "r", shape=X.shape)
    assert outcome(raw) == outcome(np.asarray(X, np.uint8))


GROWTH = """
import sys, numpy as np, fastnn
def anonymous():
    lines = [line.split() for line in open("/proc/self/status")]
    return next(int(words[1]) for words in lines if words[0] == "RssAnon:") / 1024
X = np.load(sys.argv[1], mmap_mode="r")
y = np.arange(len(X)) % 10
model = fastnn.Model([X.shape[1], 64, 10], seed=0, input_scale=1 / 255, n_threads=2)
model.fit(X[:256], y[:256], epochs=1)  # imports, threads
before = anonymous()
import threading
peak, done = [before], threading.Event()
def watch():
    while not done.wait(0.001):
        peak[0] = max(peak[0], anonymous())
thread = threading.Thread(target=watch)
thread.start()
model.fit(X, y, epochs=2, batch_size=128)
model.evaluate(X, y)
done.set()
thread.join()
print(peak[0] - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="keeps what is freed")
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_no_copy_of_the_data_is_made(tmp_path, kind):
    X = np.zeros((60_000, 784), kind)
    np.save(tmp_path / "X.npy", X)
    run = subprocess.run(
        [sys.executable, "-c", GROWTH, tmp_path / "X.npy"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(run.stdout) < 20, "MB above the data"


# Tables


def table_of(library, columns):
    if library == "pandas":
        return pytest.importorskip("pandas").DataFrame(columns)
    if library == "polars":
        return pytest.importorskip("polars").DataFrame(columns)
    return pytest.importorskip("pyarrow").table(columns)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_tables(library):
    rng = np.random.default_rng(0)
    columns = {
        "age": rng.integers(0, 90, N),
        "price": rng.random(N),
        "small": rng.random(N).astype(np.float32),
        "yes": rng.random(N) < 0.5,
    }
    table = table_of(library, columns)
    floats = np.stack([c.astype(np.float64) for c in columns.values()], axis=1)
    y = labels()
    target = table_of(library, {"y": y})
    target = target["y"]
    results = []
    for X, t in ((floats, y), (table, target)):
        model = fastnn.Model([4, 8, 3], seed=0)
        model.fit(X, t, epochs=2)
        results.append((model.theta.tobytes(), model.predict(X).tobytes(), model.evaluate(X, t)))
    assert results[0] == results[1]
    model = fastnn.Model([2, 3], seed=0)
    bad = table_of(library, {"age": np.arange(3), "name": ["a", "b", "c"]})
    with pytest.raises(TypeError, match=r"X must be real numbers, got .* in column 'name'"):
        model.fit(bad, [0, 1, 2])
    missing = table_of(library, {"age": [1.0, None, 2.0], "b": [0.0, 1.0, 2.0]})
    with pytest.raises(ValueError, match="X must be finite, got nan in row 1, column 0"):
        model.fit(missing, [0, 1, 2])


def test_pandas_with_missing_integers():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": pandas.array([1, None, 3], "Int64"), "b": [0.5, 1, 2]})
    model = fastnn.Model([2, 3], seed=0)
    with pytest.raises(ValueError, match="X must be finite, got nan in row 1, column 0"):
        model.forward(table)
    assert model.forward(table.fillna(2)).shape == (3, 3)


def test_pandas_with_missing_truths():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [0.5, 1, 2], "b": pandas.array([True, None, False], "boolean")})
    model = fastnn.Model([2, 3], seed=0)
    with pytest.raises(ValueError, match="X must be finite, got nan in row 1, column 1"):
        model.forward(table)
    want = model.forward([[0.5, 1], [1, 1], [2, 0]])
    assert model.forward(table.fillna(True)).tobytes() == want.tobytes()


def test_dlpack():
    X = numbers(np.dtype("float32"))

    class Elsewhere:
        def __dlpack__(self, **kwargs):
            return X.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    model = fastnn.Model([N_IN, 3], seed=0)
    assert model.forward(Elsewhere()).tobytes() == model.forward(X).tobytes()

    class OnACard(Elsewhere):
        def __dlpack__(self, **kwargs):
            raise BufferError("not in this memory")

    with pytest.raises(TypeError, match="X must be an array that NumPy can read: not in this"):
        model.forward(OnACard())


# CSR


def few_nonzeros(n=N, n_in=N_IN, density=0.1, seed=0):
    """Dense rows, some of them empty, and the same as CSR."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_in)).astype(np.float32)
    X[rng.random(X.shape) > density] = 0
    X[::7] = 0
    return X, plain_csr(X)


class Plain:
    """CSR by its attributes alone."""

    def __init__(self, indptr, indices, data, shape):
        self.indptr, self.indices, self.data, self.shape = indptr, indices, data, shape


def plain_csr(X):
    rows, columns = np.nonzero(X)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(X)))])
    return Plain(indptr, columns, X[rows, columns], X.shape)


RATES = {"learning_rate": 0.05, "momentum": 0.9, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", list(_cpu.OPTIMIZERS))
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_csr_is_dense(isa, dtype, optimizer, batch):
    """Every value: theta, states, losses, gradient, outputs. (-0 and +0 count as equal.)"""
    for sizes in ((N_IN, 3), (N_IN, 19, 3), (130, 70, 33, 3), (1, 40, 2)):
        dense, plain = few_nonzeros(n_in=sizes[0])
        dense = dense.astype(dtype)
        net = as_network(list(sizes), "tanh", "softmax", None, True, dtype)
        csr = as_features(plain, net)
        y = labels(n_classes=sizes[-1]).astype(np.int32)
        order = np.random.default_rng(5).permutation(N)
        theta = fastnn.Model(list(sizes), dtype=dtype, seed=2).theta.copy()
        found = []
        for X, threads in ((dense, 1), (csr, 1), (csr, 2), (csr, 3)):
            engine = fastnn.network.parameters.new_engine(net, batch, optimizer)
            state = np.zeros((engine.n_states, theta.size), dtype)
            got, grad = theta.copy(), np.full_like(theta, np.nan)
            losses, out = (
                np.full((2, -(-N // batch)), np.nan),
                np.full((N, sizes[-1]), np.nan, dtype),
            )
            engine.load(got, state)
            for epoch in range(2):
                steps = epoch * losses.shape[1]
                engine.train(X, y, order, batch, RATES, counted(steps), losses[epoch], threads)
            loss = engine.gradient(X, y, grad, threads)
            same = engine.loss(X, y, out, threads)
            engine.store(got, state)
            found.append((got, state, losses, grad, out, np.array([loss, same])))
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_array_equal(a, b)
                assert np.isfinite(a).all()


def test_csr_against_the_reference():
    X, plain = few_nonzeros()
    net = ref.Net((N_IN, 19, 3), "tanh")
    y = labels()
    model = fastnn.Model([N_IN, 19, 3], activation="tanh", dtype="float64", seed=0)
    loss, grad = ref.loss_and_gradient(net, model.theta, X.astype(np.float64), y)
    got_loss, got_grad = model.loss_and_gradient(plain, y)
    np.testing.assert_allclose(got_grad, grad, rtol=0, atol=1e-14)
    assert got_loss == pytest.approx(loss, abs=1e-14)
    assert model.gradient_check(plain, y) < 1e-6
    f = ref.forward(net, model.theta, X.astype(np.float64))[1][-1]
    np.testing.assert_allclose(model.forward(plain), f, rtol=0, atol=1e-14)


def test_csr_through_the_model(isa):
    dense, plain = few_nonzeros()
    for batch in (1, 16, 1000):
        for optimizer in ("sgd", "adam"):
            want = outcome(dense, batch=batch, optimizer=optimizer)
            got = outcome(plain, batch=batch, optimizer=optimizer, threads=2)
            np.testing.assert_array_equal(
                np.frombuffer(got[0][0], "f4"), np.frombuffer(want[0][0], "f4")
            )
            assert got[1:] == want[1:]
    model = fastnn.Model([N_IN, 3], seed=0)  # one that has trained on dense rows, weights turned
    model.fit(dense, labels(), epochs=1, validation_data=(plain, labels()))
    np.testing.assert_array_equal(model.forward(plain), model.forward(dense))
    model.fit(plain, labels(), epochs=1, validation_data=(dense, labels()))


@pytest.mark.parametrize(
    "net", [dict(activation="mish"), dict(dropout=[0, 0.5]), dict(noise=[0, 0.1])]
)
@pytest.mark.parametrize(
    "rule",
    [
        fastnn.SGD(0.1, l2=0.01),
        fastnn.SGD(0.1, l1=0.01, weight_decay=0.1),
        fastnn.SGD(0.1, clip_norm=0.01),
        fastnn.SGD(0.1, max_norm=0.3),
        fastnn.AdamW(0.01, clip_norm=0.01, max_norm=0.3, decay_bias=True),
        fastnn.Adam(0.01, clip_value=0.001, l2=0.1),
    ],
    ids=repr,
)
def test_csr_with_penalties_limits_dropout(isa, rule, net):
    """All weights shrink and are limited, those of inputs that the mini-batch has not, too."""
    dense, plain = few_nonzeros()
    for batch in (1, 16):
        thetas = []
        for X, threads in ((dense, 1), (plain, 1), (plain, 2)):
            model = fastnn.Model([N_IN, 19, 3], seed=0, n_threads=threads, **net)
            model.fit(X, labels(), epochs=2, batch_size=batch, optimizer=rule)
            thetas.append(model.theta)
        assert not np.array_equal(thetas[0], fastnn.Model([N_IN, 19, 3], seed=0, **net).theta)
        np.testing.assert_array_equal(thetas[1], thetas[0])
        np.testing.assert_array_equal(thetas[2], thetas[0])


def test_csr_with_weights_and_a_split():
    dense, plain = few_nonzeros()
    settings = dict(epochs=2, batch_size=16, class_weight="balanced", validation_split=0.25)
    models = [fastnn.Model([N_IN, 19, 3], seed=0) for _ in range(2)]
    one, two = (m.fit(X, labels(), **settings) for m, X in zip(models, (dense, plain), strict=True))
    np.testing.assert_array_equal(models[0].theta, models[1].theta)
    assert (one.loss, one.val_loss) == (two.loss, two.val_loss)


@pytest.mark.parametrize("net", [dict(dropout=[0.1, 0]), dict(noise=[0.1, 0])])
def test_csr_refuses_dropout_and_noise_at_the_inputs(net):
    plain = few_nonzeros()[1]
    model = fastnn.Model([N_IN, 19, 3], seed=0, **net)
    before = model.theta.copy()
    for train in (
        lambda: model.fit(plain, labels()),
        lambda: model.partial_fit(plain, labels()),
        lambda: model.fit([(plain, labels())], epochs=1),
    ):
        with pytest.raises(ValueError, match="X must be dense where the inputs have dropout"):
            train()
    assert model.theta.tobytes() == before.tobytes()
    assert model.predict(plain).shape == (N,)


def test_csr_of_integers_is_scaled():
    dense = (few_nonzeros()[0] * 50).astype(np.uint8)
    assert dense.any()
    assert outcome(plain_csr(dense))[1:] == outcome(dense)[1:]


def test_plain_sgd_touches_only_rows_of_inputs_present():
    X = np.zeros((8, N_IN), np.float32)
    X[:, 5] = 1
    model = fastnn.Model([N_IN, 19, 3], seed=0)
    before = model.W[0].copy()
    model.fit(plain_csr(X), labels(8), epochs=1, batch_size=4)
    assert list(np.flatnonzero((model.W[0] != before).any(0))) == [5]


def test_scipy_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    dense, plain = few_nonzeros()
    want = outcome(plain)
    for make in (
        sparse.csr_matrix,
        sparse.csr_array,
        sparse.csc_matrix,
        sparse.coo_array,
        sparse.lil_array,
    ):
        assert outcome(make(dense)) == want
    wide = sparse.csr_array(np.vstack([np.ones_like(dense), dense]))[N:]  # entries not from 0
    assert outcome(wide) == want
    long = sparse.csr_array(dense)
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    assert outcome(long) == want
    with pytest.raises(TypeError, match="y must be dense"):
        fastnn.Model([N_IN, 3]).fit(dense, long)


def test_csr_unsorted_and_with_duplicates():
    dense = np.zeros((3, 4), np.float32)
    dense[0, 3], dense[0, 1], dense[2, 2], dense[2, 0] = 1, 2, 3 + 4, 5
    odd = Plain(
        np.array([0, 2, 2, 5]), np.array([3, 1, 2, 0, 2]), np.array([1, 2, 3, 5, 4.0]), (3, 4)
    )
    net = as_network([4, 2], "relu", "softmax", None, True, "float32")
    csr = as_features(odd, net)
    np.testing.assert_array_equal(csr.toarray(), dense)
    assert csr.indices.tolist() == [1, 3, 0, 2]
    assert odd.indices.tolist() == [3, 1, 2, 0, 2]  # the user's is not touched
    np.testing.assert_array_equal(csr[np.array([2, 0])].toarray(), dense[[2, 0]])


GOOD = ([0, 1, 2], [0, 1], [1.0, 2.0], (2, 3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({1: [0, 3]}, ValueError, "X.indices must be columns 0 to 2, got 3 in row 1"),
        ({1: [-1, 2]}, ValueError, "X.indices must be columns 0 to 2, got -1 in row 0"),
        ({2: [1.0, np.nan]}, ValueError, "X must be finite, got nan in row 1, column 1"),
        ({2: [np.inf, 1.0]}, ValueError, "X must be finite, got inf in row 0, column 0"),
        ({2: [1e300, 1.0]}, ValueError, r"finite in float32, got 1e\+300 in row 0, column 0"),
        ({0: [0, 2, 1]}, ValueError, "X.indptr must rise from at least 0 to at most 2"),
        ({0: [-1, 1, 2]}, ValueError, "X.indptr must rise"),
        ({0: [0, 1, 3]}, ValueError, "X.indptr must rise"),
        ({0: [0, 1]}, ValueError, r"X.indptr must have shape \(3,\)"),
        ({0: [0.0, 1.0, 2.0]}, TypeError, "X.indptr and X.indices must be integers"),
        ({1: [0.0, 1.0]}, TypeError, "X.indptr and X.indices must be integers"),
        ({2: ["a", "b"]}, TypeError, "X must be real numbers, got dtype"),
        ({3: (2, 4)}, ValueError, r"X must have shape \(n, 3\), got \(2, 4\)"),
    ],
)
def test_bad_csr(change, error, message):
    parts = [change.get(i, part) for i, part in enumerate(GOOD)]
    X = Plain(*(np.array(part) for part in parts[:3]), parts[3])
    model = fastnn.Model([3, 2], seed=0)
    before = model.theta.tobytes()
    for call in (
        lambda: model.fit(X, [0, 1]),
        lambda: model.predict(X),
        lambda: model.predictor()(X),
    ):
        with pytest.raises(error, match=message):
            call()
    assert model.theta.tobytes() == before
    model.fit(Plain(*(np.array(part) for part in GOOD[:3]), GOOD[3]), [0, 1])


def test_csr_without_rows():
    """Refused, but by a predictor, which services call: it answers with nothing."""
    X = Plain(np.array([0]), *(np.array(part) for part in GOOD[1:3]), (0, 3))
    model = fastnn.Model([3, 2], seed=0)
    for call in (lambda: model.fit(X, []), lambda: model.predict(X)):
        with pytest.raises(ValueError, match="X must have at least one row"):
            call()
    assert model.predictor()(X).shape == (0, 2)


def test_csr_without_entries():
    X = Plain(np.zeros(5, int), np.empty(0, int), np.empty(0), (4, 3))
    model = fastnn.Model([3, 4, 2], seed=0)
    model.fit(X, [0, 1, 0, 1], epochs=1, optimizer="adam")
    twin = fastnn.Model([3, 4, 2], seed=0)
    twin.fit(np.zeros((4, 3)), [0, 1, 0, 1], epochs=1, optimizer="adam")
    np.testing.assert_array_equal(model.theta, twin.theta)


def _child(queue, dense):
    _, plain = few_nonzeros()
    model = fastnn.Model([N_IN, 64, 3], seed=0)
    model.fit(plain, labels(), epochs=2)
    queue.put(model.theta.tobytes())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_csr_in_a_forked_child():
    _, plain = few_nonzeros()
    _cpu.set_flops_a_thread(0)
    try:
        model = fastnn.Model([N_IN, 64, 3], seed=0, n_threads=2)
        model.fit(plain, labels(), epochs=2)
    finally:
        _cpu.set_flops_a_thread()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue, None))
    child.start()
    assert queue.get(timeout=30) == model.theta.tobytes()
    child.join()
