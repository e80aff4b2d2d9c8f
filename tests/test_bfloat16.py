"""Products of bfloat16: the reference's numbers, the same bits for any number of threads and on
every instruction set; files; what is refused. In C: test_c_library.py."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import itertools
import json
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from compiled import ALIKE, counted, engine_of

import fastnn
from fastnn.errors import ModelFileError
from fastnn.kernels import _cpu
from fastnn.random import keys

RATES = {"learning_rate": 0.05, "momentum": 0.5, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.1}
EMBEDDINGS = (
    ("periodic", (5, 0, 7), 18, 3),
    ("categories", (3,), 70, 9),
    ("piecewise", (1, 2), ((-1.0, -0.25, 0.5, 1.0), (0.0, 0.5)), None),
)
NETS = {
    "plain": ref.Net((9, 37, 20, 3), ("relu", "tanh")),
    "kept": ref.Net((9, 33, 70, 2), ("gelu", ("leaky_relu", 0.25)), "sigmoid"),
    "alone": ref.Net((40, 5), (), "identity"),
    "turned": ref.Net((70, 33, 2), "sigmoid", "identity"),
    "far": ref.Net((5, 900, 901, 3), "relu"),
    "norm": ref.Net((9, 37, 20, 3), "elu", norm=(("batch", 0.1, 1e-5), ("layer", 0.0, 1e-5))),
    "parametric": ref.Net((9, 37, 20, 3), (("parametric", "tanh"), ("parametric", "mish"))),
    "inputs": ref.Net((9, 33, 17, 5), ("selu", "mish"), embeddings=EMBEDDINGS, feature_scale=True),
    "dropout": ref.Net((9, 37, 20, 3), "relu", dropout=(0.2, 0.5, 0.25), noise=(0.0, 0.25, 0.0)),
}


def in_bfloat16(net, on=True):
    return dataclasses.replace(net, bfloat16=on)


def data(net, n):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, net.sizes[0])).astype(np.float32)
    if net.embeddings:
        X[:, 3] = rng.integers(0, 70, n)
    y = rng.random((n, net.sizes[-1])).astype(np.float32)
    if net.output == "softmax":
        y = rng.integers(0, net.sizes[-1], n).astype(np.int32)
    theta = (0.3 * rng.standard_normal(net.n_parameters)).astype(np.float32)
    return X, y, theta


def trained(net, threads, batch, optimizer="momentum"):
    """Theta, state and losses of three steps, the last one smaller."""
    n = 2 * batch + batch // 2 + 1
    X, y, theta = data(net, n)
    e = engine_of(net, "float32", batch, optimizer)
    state = np.zeros((e.n_states, len(theta)), np.float32)
    running = statistics(net)
    e.load(theta, state, running)
    losses = np.full(3, np.nan)
    order = np.random.default_rng(0).permutation(n)
    of = keys(7, net.K) if net.dropout else None
    assert e.train(X, y, order, batch, RATES, counted(), losses, threads, keys=of) == 3
    e.store(theta, state, running)
    return theta, state, running, losses


def statistics(net):
    running = ref.new_running(net, np.float32)
    parts = [part for pair in running if pair is not None for part in pair]
    return np.concatenate([np.zeros(0, np.float32), *parts]).astype(np.float32)


def model(sizes=(9, 37, 20, 3), **settings):
    return fastnn.Model(list(sizes), seed=0, compute_dtype="bfloat16", **settings)


def rows(n, n_in=9, seed=0):
    return np.random.default_rng(seed).standard_normal((n, n_in)).astype(np.float32)


# --- what is computed


def test_operands_are_rounded_to_the_nearest_and_ties_to_even(isa):
    """Through a network that does nothing else: f(x) = x."""
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32)
    ends = np.uint32([0x0000, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    bits[: 5 * 254] = (np.repeat(np.arange(1, 255, dtype=np.uint32), 5) << 23) + np.tile(ends, 254)
    bits[1300:1310] = 0x3F800000 + np.tile(ends, 2) + np.repeat([0, 0x10000], 5).astype(np.uint32)
    x = bits.view(np.float32)
    keep = np.isfinite(x) & (np.abs(x) > 2e-38) & (np.abs(x) < 3e38)  # neither flushed nor infinite
    x = np.where(keep, x, 1).astype(np.float32)
    want = ref.rounded(in_bfloat16(NETS["plain"]), x)
    assert (want != x).mean() > 0.5
    one = model((1, 1), output="identity", bias=False)
    one.W[0][:] = 1
    assert np.array_equal(one.forward(x[:, None])[:, 0], want)
    for i in range(1290, 1315):
        assert one.predictor()(x[i : i + 1]) == want[i]
    one.W[0][:] = x[7]
    assert one.predictor()(np.ones(1, np.float32)) == want[7]


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_the_reference_s(isa, name):
    """Sums in another order may make a number of a layer round the other way: what is off by that
    is a small part of what rounding does at all."""
    net = dataclasses.replace(NETS[name], dropout=None, noise=None)
    X, y, theta = data(net, 50)
    plain = in_bfloat16(net, False)
    run = [ref.new_running(net, theta.dtype) for _ in range(2)]
    loss, want = ref.loss_and_gradient(in_bfloat16(net), theta, X, y, None, None, run[0])
    _, unrounded = ref.loss_and_gradient(plain, theta, X, y, None, None, run[1])
    grad = np.full_like(theta, np.nan)
    e = engine_of(in_bfloat16(net), "float32", 50)
    e.load(theta, statistics=statistics(net))
    got = e.gradient(X, y, grad, 2)
    effect = np.linalg.norm(unrounded - want)
    assert effect > 1e-4 * np.linalg.norm(want)
    assert np.linalg.norm(grad - want) < 0.01 * effect
    assert got == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("batch", [1, 31, 33, 300, 1100])
def test_bits_are_the_reference_s(isa, batch):
    """Of all three products; where mini-batches are cut, too (1100)."""
    for sizes, activation in (
        ((37, 70, 33), "relu"),
        ((70, 5), "relu"),
        ((301, 33, 2), "identity"),
    ):
        net = in_bfloat16(ref.Net(sizes, activation if len(sizes) > 2 else (), "identity"))
        X, y, theta = data(net, batch)
        want = ref.loss_and_gradient(net, theta, X, y)[1]
        e = engine_of(net, "float32", batch)
        e.load(theta)
        for threads in (1, 3):
            grad = np.full_like(theta, np.nan)
            e.gradient(X, y, grad, threads)
            assert np.array_equal(grad, want)
        out = np.empty((batch, sizes[-1]), np.float32)
        e.forward(X, out, 1)
        assert np.array_equal(out, ref.forward(net, theta, X)[1][-1])


@pytest.mark.parametrize("batch", [1, 3, 20, 700])
@pytest.mark.parametrize("name", NETS)
def test_the_same_bits(name, batch):
    """For one, two and three threads, and each instruction set with FMA."""
    if name == "far" and batch > 20:
        batch = 40
    _cpu.set_flops_a_thread(0)
    try:
        found = {}
        for isa in _cpu.isas():
            _cpu.use(isa)
            runs = [trained(in_bfloat16(NETS[name]), threads, batch) for threads in (1, 2, 3)]
            texts = [b"".join(part.tobytes() for part in run) for run in runs]
            assert len(set(texts)) == 1
            found[isa] = texts[0]
        assert len({found[isa] for isa in ALIKE}) == 1
        plain = trained(in_bfloat16(NETS[name], False), 1, batch)[0]
        assert not np.array_equal(plain, runs[0][0])
    finally:
        _cpu.use()
        _cpu.set_flops_a_thread()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_goes_as_the_reference_s(optimizer):
    net = in_bfloat16(NETS["plain"])
    X, y, start = data(net, 51)
    theta, _, _, losses = trained(net, 1, 20, optimizer)
    order = np.random.default_rng(0).permutation(51)
    want, _, expected = ref.train(net, start, X, y, order, 20, optimizer, RATES)
    unrounded = ref.train(in_bfloat16(net, False), start, X, y, order, 20, optimizer, RATES)[0]
    assert np.linalg.norm(theta - want) < 0.1 * np.linalg.norm(theta - unrounded)
    assert np.allclose(losses, expected, rtol=1e-3)


def test_rounding_of_steps_is_that_of_float32():
    """Steps too small for bfloat16 add up in the weights."""
    one = model((1, 1), output="identity", bias=False)
    one.W[0][:] = 1
    X, y = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    one.partial_fit(X, y, learning_rate=2.0**-12)
    assert one.W[0][0, 0] == 1 - 2.0**-12 and one.predict(X) == 1


# --- by instructions of some CPUs, which C plays here (tests/played.h)

WAYS = """
#include "played.h"
#include "bfloat16.h"
#if defined(__x86_64__)
#define FLUSHED(call) { const unsigned m = _mm_getcsr(); _mm_setcsr(0x9fc0); call; _mm_setcsr(m); }
#else
#define FLUSHED(call) call;
#endif
int agree(int way) { fnn_use_tiles(); return agrees(way); }
int best(int ways) { return best_way(ways); }
void break_tiles(int broken) { order_of_index = broken; }
static real ready[700 * 2 * NR];
void panel(int way, idx rows, idx n, const real *A, idx stride, const real *B, int nv, int finish,
           const real *X, int g, real *C) {
    const fnn_activation of = {g, 0};
    fnn_kernels k;
    take_ways[way](&k);
    k.round_weights(n, memcpy(ready, B, n * NR * sizeof *B), ready);
    FLUSHED(k.product_panel(rows, n, A, NR, stride, ready, NULL, 0, nv, finish, X, of, C))
}
void turned(int way, idx rows, idx n, const real *A, idx stride, const real *W, idx panel,
            idx columns, real *C) {
    const fnn_activation of = {fnn_identity, 0};
    fnn_kernels k;
    take_ways[way](&k);
    for (idx j = 0; j * NR < n; j++) k.round_weights(columns, W + j * panel, ready + j * panel);
    FLUSHED(k.product_turned(rows, n, A, stride, ready, panel, 0, columns, FNN_PARTIAL, NULL, of,
                             C))
}
void block(int way, idx batch, idx rows, const real *A, const real *B, int nv, real *G, int first,
           real *W) {
    const fnn_rates rates = {.learning_rate = 0.125};
    fnn_kernels k;
    take_ways[way](&k);
    FLUSHED(k.gradient_block(batch, rows, A, B, nv, G, first, W, &rates, NULL, NULL))
}
"""
WIDTH = 32  # of a panel of AVX-512


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The file of the C of all ways."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("ways")
    (folder / "ways.c").write_text(WAYS)
    values = {"REAL_BITS": 32, "VECTOR_BYTES": 64, "MR": 14, "ROW_PANELS": 4}
    defined = [f"-DFNN_{name}={value}" for name, value in values.items()]
    root = Path(__file__).parent.parent
    folders = [f"-I{root / part}" for part in ("src", "fastnn/c", "tests")]
    flags = ["-mavx2", "-mfma"] if "avx2" in _cpu.isas() else []
    options = "-shared -fPIC -O1 -ffp-contract=off -fno-math-errno -Wno-psabi".split()
    files = str(folder / "ways.c"), "-o", str(folder / "ways.so"), "-lm"
    subprocess.run([compiler, *options, *folders, *flags, *defined, *files], check=True)
    return folder / "ways.so"


@pytest.fixture(scope="module")
def ways(library):
    return ctypes.CDLL(str(library))


def called(function, *arguments):
    """Arrays by their address, None as NULL."""
    given = []
    for one in arguments:
        if isinstance(one, np.ndarray):
            given.append(ctypes.c_void_p(one.ctypes.data))
        else:
            given.append(ctypes.c_void_p(None) if one is None else ctypes.c_ssize_t(one))
    return function(*given)


def numbers(*shape, seed=0, scale=1.0):
    """Of bfloat16, of many sizes."""
    rng = np.random.default_rng(seed)
    values = scale * rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 9, shape)
    return ref.rounded(in_bfloat16(NETS["plain"]), values.astype(np.float32))


def same(found):
    """Whether all have the bits of the first, the signs of zeros, too."""
    first, *others = (one.view(np.uint32) for one in found)
    return all(np.array_equal(first, one) for one in others)


SCALES = (1.0, 2.0**-62)  # of the latter most products are flushed to zeros of either sign


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 64, 255, 257, 600])
def test_products_by_every_way_have_the_same_bits(ways, n, scale):
    panels = -(-n // WIDTH)
    for rows_, vectors in itertools.product((1, 4, 5, 14, 16, 17, 31, 32, 33, 67), (1, 2)):
        stride = (rows_ + 2) * WIDTH
        A = numbers(panels, rows_ + 2, WIDTH, scale=scale)
        A[-1, :, (n - 1) % WIDTH + 1 :] = np.nan  # padding may hold anything
        B, X = numbers(n, WIDTH, scale=scale), numbers(rows_, WIDTH)
        for finish, g in ((0, "relu"), (0, "tanh"), (1, "relu"), (2, "identity")):
            found = np.full((3, rows_, WIDTH), np.nan, np.float32)
            given = rows_, n, A, stride, B, vectors, finish, X, _cpu.ACTIVATIONS[g]
            for way in range(3):
                called(ways.panel, way, *given, found[way])
            used = found[:, :, : vectors * WIDTH // 2]
            assert same(used) and np.isfinite(used).all()
        if scale == 1:  # the last one is the product alone
            rows_of_A = np.concatenate(A[:, :rows_], 1)[:, :n]
            want = ref.product(in_bfloat16(NETS["plain"]), rows_of_A, B)
            assert same((used[0], np.ascontiguousarray(want[:, : vectors * WIDTH // 2])))
        columns = WIDTH - 3 if vectors == 2 else WIDTH // 2 - 1
        W = numbers(panels, WIDTH + 1, WIDTH, scale=scale)
        found = np.full((3, rows_, WIDTH), np.nan, np.float32)
        given = rows_, n, A, stride, W, (WIDTH + 1) * WIDTH, columns
        for way in range(3):
            called(ways.turned, way, *given, found[way])
        assert same(found[:, :, :columns]) and np.isfinite(found[:, :, :columns]).all()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("batch", [1, 2, 31, 32, 33, 128, 255, 257, 600])
def test_gradients_by_every_way_have_the_same_bits(ways, batch, scale):
    A, B = numbers(batch, WIDTH, scale=scale), numbers(batch, WIDTH, seed=1, scale=scale)
    W, sums = numbers(WIDTH, WIDTH, seed=2) / 3, -0.0 * numbers(WIDTH, WIDTH, seed=3)
    if scale == 1:
        sums += numbers(WIDTH, WIDTH, seed=3) / 3
    cases = itertools.product((1, 3, 4, 15, 16, 17, WIDTH), (1, 2), (0, 1), (0, 1))
    for rows_, vectors, first, step in cases:
        found = []
        for way in range(3):
            G, moved = sums.copy(), W.copy()
            given = batch, rows_, A, B, vectors, G, first, moved if step else None
            called(ways.block, way, *given)
            found.append((moved if step else G)[:rows_, : vectors * WIDTH // 2])
        assert same(found) and np.isfinite(found[0]).all()
        if scale == 1:
            assert not same((found[0], (W if step else sums)[:rows_, : vectors * WIDTH // 2]))


def test_the_check_of_the_instructions(library, tmp_path):
    """One that sums in another order is not taken; the next best way is."""
    other = ctypes.CDLL(str(shutil.copy(library, tmp_path / "other.so")))
    assert [called(other.agree, way) for way in range(3)] == [1, 1, 1]
    called(other.break_tiles, 1)
    assert [called(other.agree, way) for way in range(3)] == [1, 1, 0]
    assert [called(other.best, 1 | of) for of in (0, 2, 4, 6)] == [0, 1, 0, 1]
    whole = ctypes.CDLL(str(shutil.copy(library, tmp_path / "whole.so")))
    assert [called(whole.best, 1 | of) for of in (0, 2, 4, 6)] == [0, 1, 2, 2]


def test_the_ways_bits(isa):
    """Of whole networks, by what this CPU has; where that is fma alone, all are the same."""
    net = in_bfloat16(NETS["kept"])
    runs = []
    for most in range(3):
        _cpu.set_dots(most)
        runs.append([part.tobytes() for part in trained(net, 2, 40)])
    _cpu.set_dots()
    assert runs[0] == runs[1] == runs[2]


# --- a model


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", fastnn.Parametric("tanh")])
def test_a_row_alone_in_a_batch_and_from_a_file(isa, activation, norm, tmp_path):
    f = model(activation=activation, norm=norm)
    X, y = rows(300), np.arange(300) % 3
    f.fit(X, y, epochs=1, batch_size=32)
    want = f.forward(X)
    assert not np.array_equal(want, unrounded(f).forward(X))
    predict = pickle.loads(pickle.dumps(f.predictor()))
    assert np.array_equal(predict(X), want) and np.array_equal(predict(X[7]), want[7])
    assert np.array_equal(predict(X[:5].astype(np.float64)), want[:5])
    assert np.array_equal(predict(np.asfortranarray(X)), want)
    assert f.evaluate(X, y)["loss"] == pytest.approx(-np.log(want[np.arange(300), y]).mean())
    f.save(tmp_path / "f.safetensors")
    loaded = fastnn.load(tmp_path / "f.safetensors")
    assert loaded.compute_dtype == "bfloat16" and loaded.dtype == "float32"
    assert np.array_equal(loaded.forward(X), want)
    assert np.array_equal(copy.deepcopy(f).forward(X), want)


def unrounded(f):
    other = copy.deepcopy(f)
    other.compute_dtype = "float32"
    return other


def test_embeddings_predict_what_they_train():
    """Nothing is looked up in layer 1, which would round something else."""
    net = in_bfloat16(NETS["inputs"])
    f = fastnn.Model(
        [9, 33, 5],
        seed=0,
        compute_dtype="bfloat16",
        embeddings=[fastnn.Categories(3, 70), fastnn.PiecewiseLinear([1], edges=[[-1, 0, 1.0]])],
        feature_scale=True,
    )
    X, y, _ = data(net, 40)
    loss, _ = f.loss_and_gradient(X, y)
    assert f.evaluate(X, y)["loss"] == loss
    want = f.forward(X)
    assert np.array_equal(f.predictor()(X[3]), want[3])


def test_fits_learn_in_parts_many_and_on():
    X, y = rows(200), np.arange(200) % 3
    f, g = model(), model()
    f.fit(X, y, epochs=4, batch_size=16)
    g.fit(X, y, epochs=2, batch_size=16)
    g = pickle.loads(pickle.dumps(g))
    g.fit(X, y, epochs=2, batch_size=16)
    assert np.array_equal(f.theta, g.theta)
    many = [model(), fastnn.Model([9, 37, 20, 3], seed=0)]
    fastnn.fit_many(many, X, y, epochs=4, batch_size=16)
    assert np.array_equal(many[0].theta, f.theta)
    assert not np.array_equal(many[1].theta, f.theta)


def test_it_can_be_set():
    f = fastnn.Model([9, 16, 3], seed=0)
    X, y = rows(50), np.arange(50) % 3
    f.fit(X, y, epochs=1, optimizer="adam")
    before, theta = f.forward(X), f.theta.copy()
    f.compute_dtype = "bfloat16"
    assert f.compute_dtype == "bfloat16" and np.array_equal(f.theta, theta)
    assert not np.array_equal(f.forward(X), before)
    assert "compute_dtype='bfloat16'" in repr(f) and "products of bfloat16" in f.summary()
    assert "products of bfloat16" in f._repr_html_()
    f.fit(X, y, epochs=1, optimizer="adam")
    assert f._parameters.steps == 2
    f.theta[:] = theta
    f.compute_dtype = "float32"
    assert np.array_equal(f.forward(X), before) and "compute_dtype" not in repr(f)
    with pytest.raises(ValueError, match="compute_dtype must be float32, as dtype, or bfloat16"):
        f.compute_dtype = "float16"


def test_8_bits_are_of_the_weights_as_they_are():
    f, X = model(), rows(50)
    predict, report = f.quantize(X)
    assert np.array_equal(predict(X), unrounded(f).quantize(X)[0](X)) and report.agreement > 0.5


def test_columns_are_learned_with_it():
    table = {"a": [1.0, 2.0, 3.0, 4.0] * 5, "b": ["x", "y", "y", "x"] * 5}
    f = fastnn.Model([None, 8, None], seed=0, compute_dtype="bfloat16")
    f.fit(table, table["b"], epochs=1)
    assert f.compute_dtype == "bfloat16"
    row = f.predictor(rows=True)({"a": 1.0, "b": "x"})
    assert np.array_equal(row, f.predict_proba({"a": [1.0], "b": ["x"]})[0])


# --- what is refused


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="bfloat16 must come with dtype float32, got float64"):
        fastnn.Model([2, 2], dtype="float64", compute_dtype="bfloat16")
    with pytest.raises(ValueError, match="compute_dtype must be float64, as dtype, or bfloat16"):
        fastnn.Model([2, 2], dtype="float64", compute_dtype="float32")
    assert fastnn.Model([2, 2], dtype="float64", compute_dtype="float64").compute_dtype == "float64"
    f, X, y = model(), rows(10), np.arange(10) % 3
    theta = f.theta.copy()
    with pytest.raises(ValueError, match="LBFGS must have a network that computes in float32"):
        f.fit(X, y, epochs=1, optimizer="lbfgs")
    with pytest.raises(ValueError, match="a trace computes in float32, this network in bfloat16"):
        f.trace(X[0], 0)
    with pytest.raises(ValueError, match="a C file computes in float32"):
        fastnn.c.export(f, tmp_path / "f.c")
    assert f.gradient_check(X, y) < 1e-4  # of the formulas: in float64
    assert np.array_equal(f.theta, theta)


def test_sparse_rows_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    f, y = model(), np.arange(10) % 3
    X = sparse.csr_matrix(rows(10))
    for call in (f.forward, f.predictor(), lambda X: f.fit(X, y), lambda X: f.partial_fit(X, y)):
        with pytest.raises(ValueError, match="X must be dense where the network computes in bfl"):
            call(X)
    plain = fastnn.Model([9, 37, 20, 3], seed=0)
    with pytest.raises(ValueError, match="X must be dense where the network computes in bfl"):
        fastnn.fit_many([plain, f], X, y, epochs=1)


def test_onnx_files_are_refused(tmp_path):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="an ONNX file computes in float32"):
        fastnn.onnx.export(model(), tmp_path / "f.onnx")
    fastnn.onnx.export(unrounded(model()), tmp_path / "f.onnx")


@pytest.mark.parametrize("said", ['"float32"', "null", "1", '"bfloat17"', "[]"])
def test_files_that_say_something_else(tmp_path, said):
    path = tmp_path / "f.safetensors"
    model().save(path)
    bytes_ = path.read_bytes()
    old = json.dumps('"compute_dtype":"bfloat16"')[1:-1].encode()
    assert bytes_.count(old) == 1
    new = json.dumps(f'"compute_dtype":{said}')[1:-1].encode()
    size = int.from_bytes(bytes_[:8], "little")
    header = bytes_[8 : 8 + size].replace(old, new).ljust(size + 40)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes_[8 + size :])
    with pytest.raises(ModelFileError, match="compute_dtype must be bfloat16, or left out"):
        fastnn.load(path)


def test_the_command_line(run, tmp_path):
    lines = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(60)]
    data, saved = tmp_path / "d.csv", tmp_path / "m.safetensors"
    data.write_text("p,q,c\n" + "\n".join(lines))
    train = f"train {data} --target c --network --epochs 2 -o {saved} --compute-dtype bfloat16"
    assert run(train)[0] == 0
    assert fastnn.load(saved).compute_dtype == "bfloat16"
    assert "float32, products of bfloat16" in run(f"info {saved}")[1]
    assert json.loads(run(f"info {saved} --json")[1])["compute_dtype"] == "bfloat16"
    for more, said in (
        ("--dtype float64", "--compute-dtype bfloat16 goes with --dtype float32"),
        ("--optimizer lbfgs", "--optimizer lbfgs must come without --compute-dtype bfloat16"),
    ):
        status, _, error = run(f"{train} {more}")
        assert status == 2 and said in error
