"""Prediction in 8 bits: the reference's bits, on each instruction set; accuracy; files; what is
refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import reference as ref

import fastnn
from fastnn.kernels import _cpu
from fastnn.quantized import file as storage
from fastnn.quantized.predictor import Int8Predictor
from fastnn.quantized.weights import MOST, weights_in_8_bits
from fastnn.quantized.weights import codes_of as own_codes_of

SUMMED, WEIGHT_SUM = _cpu.SUMMED, _cpu.WEIGHT_SUM
NR, VL, _ = _cpu.panel_sizes()
KINDS = "calibrated", "dynamic"
# A sum of 16 bits takes 4 SUMMED inputs, a panel NR units; and primes.
WIDTHS = (1, 3, 4 * SUMMED - 1, 4 * SUMMED, 4 * SUMMED + 1, VL, NR - 1, NR, NR + 1, 67)
RELUS = ("relu", "identity", "hard_tanh", fastnn.LeakyReLU(0.125))


def rows_of(n, n_in, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_in)).astype(np.float32)


def in_reference(predictor, X):
    """Of a network whose activations round nothing, or as NumPy does."""
    h = X
    network, layers = predictor._network, predictor._layers
    for g, of in zip((*network.activations, network.output), layers, strict=True):
        a = ref.layer_in_8_bits(h, of.w, of.scale, of.b, of.codes)
        h = {
            "relu": lambda a: np.maximum(a, 0),
            "identity": lambda a: a,
            "hard_tanh": lambda a: np.clip(a, -1, 1),
        }.get(g, lambda a: np.where(a > 0, a, np.float32(0.125) * a))(a)
    return h


def same(got, want):
    """Bit for bit, but for the sign of 0."""
    return got.dtype == want.dtype and np.array_equal(got, want)


# --- the weights


@pytest.mark.parametrize("n_in", WIDTHS)
def test_weights_keep_within_their_sums(n_in):
    rng = np.random.default_rng(n_in)
    for W in (
        rng.normal(size=(9, n_in)),
        rng.uniform(0.9, 1, (9, n_in)),
        -np.ones((2, n_in)),
        rng.standard_cauchy((9, n_in)),
        1e-30 * rng.normal(size=(2, n_in)),
        np.zeros((2, n_in)),
    ):
        W = W.astype(np.float32)
        w, scale = weights_in_8_bits(W)
        assert (
            w.dtype == np.int8 and scale.dtype == np.float32 and np.abs(w.astype(int)).max() <= MOST
        )
        assert ref.largest_sums(w, SUMMED).max() <= WEIGHT_SUM
        error = np.abs(w * scale.astype(float)[:, None] - W) / scale[:, None]
        assert error.max() < 1  # 1/2 of what is rounded, 1 of what is cut
        limits = np.abs(W).max(1) / MOST, ref.largest_sums(W, SUMMED) / WEIGHT_SUM
        want = np.where(W.any(1), np.maximum(*limits), 1)
        assert np.allclose(scale, want, rtol=1e-6, atol=0)


def test_codes_hold_their_range_and_zero():
    rng = np.random.default_rng(0)
    spans = [*rng.standard_cauchy((50, 2)), (0, 0), (0, 1e-44), (-3e38, 3e38), (-1, 0), (2, 3)]
    for a, b in spans:
        low, high = min(a, b), max(a, b)
        codes = own_codes_of(low, high)
        scale, inverse, zero = ref.codes_of(low, high)
        assert codes == (float(scale), float(inverse), zero) and 0 <= zero <= 255
        if abs(low) + abs(high) > 1e-37:
            ends = np.rint(np.float32([min(low, 0), max(high, 0)]) * inverse) + zero
            assert (np.abs(ends - [0, 255]) <= 1).all(), (low, high)


# --- the kernels


@pytest.mark.parametrize("activations", KINDS)
@pytest.mark.parametrize("n", WIDTHS)
def test_the_reference_s_bits(isa, n, activations):
    """Sizes about a panel and a sum, rows about a tile; more than a chunk on two threads."""
    for i, other in enumerate((1, 4 * SUMMED + 1, NR + 1)):
        sizes = [n, other, n, 3]
        model = fastnn.Model(sizes, activation=list(RELUS[i : i + 2]), output="identity", seed=n)
        X = rows_of(300, n, seed=i)
        made, _ = model.quantize(X[:50], activations=activations)
        for dots in (True, False):
            _cpu.set_dots(dots)
            predict = pickle.loads(pickle.dumps(made))
            _cpu.set_dots()
            predict._n_threads = 2
            want = in_reference(predict, X)
            for rows in (1, 2, 3, 4, 5, 7, 300):
                out = np.full((rows, 3), np.nan, np.float32)
                assert same(predict(X[:rows], out), want[:rows]), (sizes, rows)
            assert same(predict(X[7]), want[7])


@pytest.mark.parametrize("zero", [0, 255])
def test_sums_at_their_limits(isa, zero):
    """The largest sums in 16 and in 32 bits: a kernel that saturates or wraps is off by far."""
    n_in = 1024
    fours = np.zeros((2 * NR + 1, n_in), np.int8)
    fours[0::2, 0::4], fours[0::2, 2::4] = WEIGHT_SUM // SUMMED, -(WEIGHT_SUM // SUMMED)
    fours[1::2, 0 :: 4 * SUMMED], fours[1::2, 2 :: 4 * SUMMED] = MOST, MOST
    fours[-1] = WEIGHT_SUM // (2 * SUMMED)
    assert ref.largest_sums(fours, SUMMED).max() == WEIGHT_SUM
    model = fastnn.Model([n_in, len(fours)], output="identity", seed=0)
    made, _ = model.quantize(rows_of(2, n_in))
    layer = made._layers[0]._replace(w=fours, codes=own_codes_of(-zero, 255 - zero))
    predict = Int8Predictor(made._network, [layer])
    X = np.full((5, n_in), 255 - 2 * zero, np.float32)
    X[1, 0::2], X[2, 1::4], X[3, 2::4] = 0, 0, 0
    want = in_reference(predict, X)
    assert np.abs(want).max() > 1e4 * layer.scale.max() and same(predict(X), want)


@pytest.mark.parametrize("activations", KINDS)
@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "tanh"},
        {"activation": ["gelu", "mish"], "norm": "layer"},
        {"activation": fastnn.Parametric("selu"), "bias": False},
        {"activation": "sigmoid", "norm": "batch", "dtype": "float64", "dropout": 0.1},
        {"output": "softmax"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_other_layers(settings, activations):
    """The same bits on every instruction set but the baseline, for a row alone or among others; and
    within what 8 bits may cost."""
    settings = {"output": "identity", **settings}
    model = fastnn.Model([13, NR + 3, 9, 4], seed=1, **settings)
    X = rows_of(200, 13)
    if "norm" in settings:
        model.fit(X, rows_of(200, 4, seed=1), epochs=2)
    made, report = model.quantize(X, activations=activations)
    f = model.forward(X)
    answers = {}
    for isa in _cpu.isas():
        _cpu.use(isa)
        predict = pickle.loads(pickle.dumps(made))
        _cpu.use()
        answers[isa] = predict(X)
        assert answers[isa].dtype == np.float32
        for rows in (1, 3, 129):
            assert same(predict(X[:rows]), answers[isa][:rows])
        assert np.abs(answers[isa] - f).max() < 0.1 * np.ptp(f)
    vectors = [answer for isa, answer in answers.items() if isa != "baseline"]
    assert all(same(one, vectors[0]) for one in vectors)
    largest = np.abs(made(X) - f.astype(np.float64)).max()
    assert report.rows == 200 and report.largest == pytest.approx(largest)


def test_layer_by_layer_within_bounds():
    """a of the second layer is off by what its codes, off by one at most, and its rounding make."""
    for g in ("tanh", "gelu", "elu", "softplus"):
        model = fastnn.Model([11, 29, 5], activation=g, output="identity", seed=2)
        X = rows_of(100, 11)
        predict, _ = model.quantize(X)
        first, second = predict._layers
        a = ref.layer_in_8_bits(X, first.w, first.scale, first.b, first.codes)
        h = ref.apply(ref.OUTPUTS, g, a).astype(np.float32)
        want = ref.layer_in_8_bits(h, second.w, second.scale, second.b, second.codes)
        W = np.abs(second.w.astype(np.float64)) * second.scale[:, None]
        bound = second.codes.scale * W.sum(1) + 1e-6 * np.abs(want).max()
        assert (np.abs(predict(X) - want) <= bound).all()
        assert (predict(X) == want).mean() > 0.7  # most codes are the same


# --- what it takes


def test_rows_in_other_forms():
    from scipy import sparse

    pixels = np.random.default_rng(0).integers(0, 256, (20, 6)).astype(np.uint8)
    model = fastnn.Model([6, 9, 3], input_scale=1 / 255, seed=0)
    predict, _ = model.quantize(pixels)
    X = pixels.astype(np.float32) * np.float32(1 / 255)
    want = predict(X)
    assert predict._layers[0].codes.zero == 0
    for form in (pixels, X.astype(np.float64), np.asfortranarray(X), X[::-1][::-1], X.tolist()):
        assert same(predict(form), want)
    assert same(predict(sparse.csr_matrix(X)), want) and same(
        predict.rows(sparse.csr_matrix(X)), want
    )
    from_sparse, _ = model.quantize(sparse.csr_matrix(X))
    assert same(from_sparse(X), want)
    assert same(predict(X[3].tolist()), want[3])


def test_later_training_changes_nothing():
    X = rows_of(50, 4)
    model = fastnn.Model([4, 8, 2], seed=0)
    predict, _ = model.quantize(X)
    want = predict(X)
    model.fit(X, np.arange(50) % 2, epochs=3)
    assert same(predict(X), want)
    assert repr(predict) == "Int8Predictor([4, 8, 2], output='softmax')" and predict.sizes == [
        4,
        8,
        2,
    ]


def test_report():
    X = rows_of(500, 8)
    predict, report = fastnn.Model([8, 16, 2], seed=0, dtype="float64").quantize(X)
    assert report.rows == 500 and 0.95 < report.agreement <= 1
    assert 0 < report.mean < report.largest < 0.1 and max(report.errors) < 0.02
    assert (report.weight_bytes, report.float_bytes) == (160, 1280)
    low, high = report.ranges[0]
    assert low == pytest.approx(X.min(), abs=0.05) and high == pytest.approx(X.max(), abs=0.05)
    assert report.ranges[1][0] == 0  # of relu
    assert "500 rows" in str(report) and f"{report.agreement:.2%}" in str(report)
    _, report = fastnn.Model([8, 2], output="identity", seed=0).quantize(X, activations="dynamic")
    assert report.agreement is None and report.ranges == [None]
    assert "decision" not in str(report) and "of each row" in str(report)
    several = fastnn.Model([8, 3], output="sigmoid", seed=0)
    predict, report = several.quantize(X)
    assert report.agreement == ((predict(X) > 0.5) == (several.forward(X) > 0.5)).mean()


def test_refused():
    X = rows_of(20, 4)
    model = fastnn.Model([4, 2], seed=0)
    predict, _ = model.quantize(X)
    with pytest.raises(ValueError, match="activations must be one of calibrated, dynamic"):
        model.quantize(X, activations="static")
    with pytest.raises(ValueError, match=r"X must have shape \(n, 4\)"):
        model.quantize(X[:, :3])
    with pytest.raises(ValueError, match="X must be finite"):
        predict(np.full((3, 4), np.inf, np.float32))
    with pytest.raises(ValueError, match="X must be finite"):
        predict(np.array([0, 1, np.nan, 0], np.float32))
    with pytest.raises(ValueError, match="quantize must have a model without embeddings"):
        fastnn.Model([4, 2], feature_scale=True).quantize(X)
    with pytest.raises(ValueError, match="at most 131,072 inputs, got 131,073"):
        fastnn.Model([2**17 + 1, 1], output="identity", seed=0).quantize(np.ones((1, 2**17 + 1)))
    bad = fastnn.Model([4, 2], seed=0, dtype="float64")
    bad.W[0][0, 0] = 1e39
    with pytest.raises(ValueError, match="weights must be finite in float32"):
        bad.quantize(X)
    few = predict.like(1, 3)
    assert same(few(X[:3]), predict(X[:3])) and repr(few) == repr(predict)
    with pytest.raises(ValueError, match=r"at most 3 rows \(max_batch\), got 4"):
        few(X[:4])
    with pytest.raises(TypeError, match="no parameters of a model"):
        predict.parameters()
    table = {"a": [1.0, 2.0, 3.0, 4.0]}
    named = fastnn.Model([None, 2, None], seed=0)
    named.fit(table, ["x", "y", "x", "y"], epochs=1)
    with pytest.raises(ValueError, match="network_only"):
        named.quantize(table)


@pytest.mark.parametrize("activations", KINDS)
def test_mnist_keeps_its_accuracy(mnist, activations):
    X, y, X_test, y_test = mnist
    model = fastnn.Model([784, 64, 10], seed=0)
    model.fit(X[:20000], y[:20000], epochs=2, batch_size=64, optimizer="adam")
    predict, report = model.quantize(X[:1000], activations=activations)
    ours, floats = (
        np.mean(f.argmax(1) == y_test) for f in (predict(X_test), model.forward(X_test))
    )
    assert floats > 0.93 and abs(ours - floats) < 0.002 and report.agreement > 0.99


# --- its file


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "small.safetensors"
    predict, _ = fastnn.Model([5, 9, 3], seed=1).quantize(rows_of(40, 5))
    predict.save(path)
    return path


@pytest.mark.parametrize("activations", KINDS)
@pytest.mark.parametrize(
    "settings",
    [{}, {"norm": "layer", "activation": "silu"}, {"norm": "batch", "bias": False},
     {"activation": fastnn.Parametric("selu"), "output": "sigmoid", "loss": fastnn.Focal(2)}],
    ids=str,
)  # fmt: skip
def test_saved_and_loaded(tmp_path, settings, activations):
    X = rows_of(40, 5)
    predict, _ = fastnn.Model([5, 9, 3], seed=1, **settings).quantize(X, activations=activations)
    predict.save(tmp_path / "small.safetensors")
    again = fastnn.load(tmp_path / "small.safetensors")
    assert isinstance(again, fastnn.Int8Predictor) and again.activations == activations
    assert same(again(X), predict(X)) and repr(again) == repr(predict)
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "small.safetensors"
    ).read_bytes()


def test_the_safetensors_package_reads_it(saved):
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = numpy.load_file(saved)
    assert (
        set(tensors) == {"w1", "scale1", "b1", "w2", "scale2", "b2"} and tensors["w1"].dtype == "i1"
    )


def test_commands_and_models_refuse_it(saved, run):
    with pytest.raises(fastnn.ModelFileError, match="dtype F32 or F64"):
        fastnn.model.load(saved)
    status, _, told = run("info", saved)
    assert status != 0 and "holds a Int8Predictor" in told


def damaged(path, change):
    """The file with another header, or other bytes of tensors."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + n]), bytearray(raw[8 + n :])
    change(header, data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def told(**texts):
    def change(header, data):
        header["__metadata__"] |= texts

    return change


def in_architecture(**values):
    def change(header, data):
        meta = header["__metadata__"]
        meta["architecture"] = json.dumps(json.loads(meta["architecture"]) | values)

    return change


def in_tensor(name, content):
    def change(header, data):
        begin, end = header[name]["data_offsets"]
        data[begin:end] = content * ((end - begin) // len(content))

    return change


def renamed(header, data):
    header["w9"] = header.pop("w1")


def reshaped(header, data):
    header["w1"]["shape"] = header["w1"]["shape"][::-1]


NAN = np.float32(np.nan).tobytes()
DAMAGES = {
    "version": (told(version="2"), "version must be 1, got '2'"),
    "no codes": (lambda header, data: header["__metadata__"].pop("codes"), "saved by fastnn"),
    "codes": (told(codes='{"inputs": [[0.1, 0]]}'), "entry for each layer"),
    "some codes": (told(codes='{"inputs": [[0.1, 0], null]}'), "pairs of scale and zero"),
    "zero": (told(codes='{"inputs": [[0.1, 256], [0.1, 0]]}'), "0 to 255, got 256"),
    "true": (told(codes='{"inputs": [[0.1, true], [0.1, 0]]}'), "0 to 255, got True"),
    "no scale": (told(codes='{"inputs": [[0.0, 0], [0.1, 0]]}'), "positive float32"),
    "NaN": (told(codes='{"inputs": [[NaN, 0], [0.1, 0]]}'), "no JSON number"),
    "huge": (told(codes='{"inputs": [[1e300, 0], [0.1, 0]]}'), "positive float32"),
    "float64": (in_architecture(dtype="float64"), "must be of float32"),
    "sizes": (in_architecture(sizes=[5, 8, 3]), "of shape"),
    "wide": (in_architecture(sizes=[2**18, 9, 3]), "at most 131,072 inputs"),
    "layers": (in_architecture(sizes=[5, 9, 9, 9, 9, 9, 9, 9, 3]), "a layer for a tensor"),
    "scaled": (in_architecture(feature_scale=True), "without embeddings"),
    "tensors": (renamed, "must hold the tensors"),
    "shape": (reshaped, r"int8 of shape \(9, 5\)"),
    "sums": (in_tensor("w1", b"\x7f"), "w1 must sum up to"),
    "sums below": (in_tensor("w2", b"\x80"), "w2 must sum up to"),
    "b": (in_tensor("b1", NAN), "'b1' must be finite"),
    "scale": (in_tensor("scale2", b"\0"), "a scale above 0"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_named(saved, what):
    change, message = DAMAGES[what]
    damaged(saved, change)
    with pytest.raises(fastnn.ModelFileError, match=message) as error:
        fastnn.load(saved)
    assert str(saved) in str(error.value)


def test_truncated(saved):
    raw = saved.read_bytes()
    for n in range(0, len(raw), 37):
        saved.write_bytes(raw[:n])
        with pytest.raises(fastnn.ModelFileError):
            fastnn.load(saved)


def test_an_older_file_stays(saved, monkeypatch):
    before = saved.read_bytes()
    predict = fastnn.load(saved)
    monkeypatch.setattr(storage, "encode", lambda *_: [b"half", 1 / 0])
    with pytest.raises(ZeroDivisionError):
        predict.save(saved)
    assert saved.read_bytes() == before
