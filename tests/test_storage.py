"""The model file: round trips, the safetensors package both ways, every damage named, atomic."""

from __future__ import annotations

import copy
import errno
import io
import json
import math
import os
import pickle
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn.files import atomic
from fastnn.files import model as storage
from fastnn.files.journal import Journal
from fastnn.files.safetensors import Tensor, read_exactly, read_header
from fastnn.online import Learner, Live

NETS = [
    {"sizes": [4, 3]},
    {"sizes": [4, 1], "output": "sigmoid", "bias": False, "dtype": "float64"},
    {"sizes": [4, 5, 2], "activation": "tanh", "output": "identity", "bias": [True, False]},
    {"sizes": [4, 5, 6, 3], "activation": ["relu", "sigmoid"], "loss": "squared_error"},
    {"sizes": [4, 3], "loss": fastnn.CrossEntropy(0.1)},
    {"sizes": [4, 1], "output": "exp", "loss": "poisson"},
    {"sizes": [4, 2], "output": "identity", "loss": fastnn.Huber(2)},
    {"sizes": [4, 3], "output": "identity", "loss": fastnn.Quantile([0.1, 0.5, 0.9])},
    {"sizes": [4, 5, 6, 3], "activation": [fastnn.LeakyReLU(0.2), "gelu"]},
    {"sizes": [4, 5, 3], "activation": "mish", "output": fastnn.ELU(0.5)},
]


def data(model, n=20):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    if model.output == "softmax":
        return X, rng.integers(0, model.sizes[-1], n)
    return X, rng.uniform(size=(n, model._network.n_targets))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    """A file's path, its header as a dict and its tensors' bytes."""
    model = fastnn.Model([4, 3, 2], seed=1)
    model.fit(*data(model), epochs=1, optimizer=fastnn.SGD(0.1, momentum=0.9))
    model.save(path)
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    return path, json.loads(raw[8 : 8 + n]), raw[8 + n :]


def write(path, header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


@pytest.mark.parametrize("settings", NETS)
def test_round_trip(settings, path):
    model = fastnn.Model(**settings, seed=2**100)
    model.metadata = {"classes": ["a", "\u00e4", '"'], "n": 1.5, "none": None}
    X, y = data(model)
    model.fit(X, y, epochs=2, batch_size=7)
    model.save(str(path))
    loaded = fastnn.load(path)
    assert repr(loaded) == repr(model)
    assert loaded.metadata == model.metadata
    assert loaded.theta.tobytes() == model.theta.tobytes()
    assert loaded.theta.flags.writeable
    assert loaded.forward(X).tobytes() == model.forward(X).tobytes()


@pytest.mark.parametrize("copier", ["file", "deepcopy", "pickle"])
@pytest.mark.parametrize(
    "rule",
    [fastnn.SGD(), fastnn.SGD(0.1, 0.9), fastnn.SGD(0.1, 0.9, nesterov=True), fastnn.Adam()],
)
def test_fit_goes_on_exactly(copier, rule, path):
    model = fastnn.Model([4, 5, 3], seed=4)
    X, y = data(model)
    model.fit(X, y, epochs=2, batch_size=6, optimizer=rule)
    if copier == "file":
        model.save(path)
        twin = fastnn.load(path)
    else:
        twin = copy.deepcopy(model) if copier == "deepcopy" else pickle.loads(pickle.dumps(model))
    histories = [m.fit(X, y, epochs=3, batch_size=6, optimizer=rule) for m in (model, twin)]
    assert model.theta.tobytes() == twin.theta.tobytes()
    assert histories[0].loss == histories[1].loss
    assert histories[1].epoch == [3, 4, 5]


def test_a_file_from_before_dropout_noise_and_input_scale(saved):
    path, header, body = saved
    want = fastnn.load(path)
    architecture = json.loads(header["__metadata__"]["architecture"])
    for name in ("dropout", "noise", "input_scale"):
        del architecture[name]
    header["__metadata__"]["architecture"] = json.dumps(architecture)
    write(path, header, body)
    loaded = fastnn.load(path)
    assert (loaded.dropout, loaded.noise, loaded.input_scale) == ([0, 0], [0, 0], 1)
    assert loaded.theta.tobytes() == want.theta.tobytes()


def test_the_package_reads_ours(saved):
    numpy_io = pytest.importorskip("safetensors.numpy")
    tensors = numpy_io.load_file(saved[0])
    model = fastnn.load(saved[0])
    assert sorted(tensors) == ["W1", "W2", "b1", "b2", "velocity"]
    for k in range(2):
        np.testing.assert_array_equal(tensors[f"W{k + 1}"], model.W[k])
        np.testing.assert_array_equal(tensors[f"b{k + 1}"], model.b[k])
    with pytest.importorskip("safetensors").safe_open(saved[0], "numpy") as file:
        assert file.metadata() == saved[1]["__metadata__"]


def test_ours_reads_the_packages(saved, tmp_path):
    numpy_io = pytest.importorskip("safetensors.numpy")
    tensors = numpy_io.load_file(saved[0])
    other = tmp_path / "other.safetensors"
    numpy_io.save_file(dict(reversed(tensors.items())), other, saved[1]["__metadata__"])
    model, loaded = fastnn.load(saved[0]), fastnn.load(other)
    assert loaded.theta.tobytes() == model.theta.tobytes()
    assert loaded._parameters.state.tobytes() == model._parameters.state.tobytes()


def test_tensors_are_aligned(saved):
    raw = saved[0].read_bytes()
    assert int.from_bytes(raw[:8], "little") % 8 == 0


# Damage: (what is done to header and body, what the error says)


def edit(change):
    def damage(header, body):
        change(header)
        return header, body

    return damage


def in_text(name, **values):
    """Change values of one of the JSON texts."""

    def change(header):
        texts = header["__metadata__"]
        inner = json.loads(texts[name])
        inner.update(values)
        texts[name] = json.dumps({k: v for k, v in inner.items() if v is not ...})

    return edit(change)


def in_tensor(name, **values):
    return edit(lambda h: h[name].update(values))


def swap_offsets(header):
    header["b1"]["data_offsets"] = header["W1"]["data_offsets"]
    header["b1"]["shape"] = header["W1"]["shape"]


NAN, INF = struct.pack("<f", math.nan), struct.pack("<f", math.inf)
DAMAGE = {
    "truncated": (lambda h, b: (h, b[:-1]), "got 183: truncated$"),
    "too long": (lambda h, b: (h, b + b"\0"), "must hold 184 bytes of tensors, got 185$"),
    "no object": (lambda h, b: (b"[]", b), "JSON object as its header"),
    "no JSON": (lambda h, b: (b"{", b), "header must be JSON"),
    "no UTF-8": (lambda h, b: (b'{"\xff": 1}', b), "header must be JSON"),
    "deep": (lambda h, b: (b'{"a":' * 100_000, b), "header must be JSON"),
    "huge number": (lambda h, b: (b'{"a":' + b"9" * 5000 + b"}", b), "header must be JSON"),
    "NaN": (lambda h, b: (b'{"a": NaN}', b), "NaN is no JSON number"),
    "twice": (lambda h, b: (b'{"a": 1, "a": 1}', b), "'a' occurs twice"),
    "no metadata": (edit(lambda h: h.pop("__metadata__")), "another safetensors file"),
    "metadata of numbers": (edit(lambda h: h["__metadata__"].update(a=1)), "must map names to"),
    "metadata a list": (edit(lambda h: h.update(__metadata__=[])), "must map names to"),
    "other format": (edit(lambda h: h["__metadata__"].update(format="pt")), "another safetensors"),
    "newer": (
        edit(lambda h: h["__metadata__"].update(version="2", new="x")),
        "version must be at most 1, got 2: a newer fastnn",
    ),
    "no version": (edit(lambda h: h["__metadata__"].update(version="")), "version must be a"),
    "odd version": (edit(lambda h: h["__metadata__"].update(version="\u00b2")), "version must be"),
    "key too many": (edit(lambda h: h["__metadata__"].update(a="")), "metadata must have the keys"),
    "key missing": (edit(lambda h: h["__metadata__"].pop("training")), "must have the keys"),
    "entry a list": (edit(lambda h: h.update(W1=[])), "tensor 'W1' must have dtype, shape"),
    "entry key": (in_tensor("W1", extra=1), "tensor 'W1' must have dtype, shape"),
    "dtype unknown": (in_tensor("W1", dtype="BF16"), "dtype F32 or F64, got 'BF16'"),
    "dtype a list": (in_tensor("W1", dtype=[]), "dtype F32 or F64"),
    "dtype wrong": (
        in_tensor("b2", dtype="F64", shape=[1]),
        r"'b2' must be float32 of shape \(2,\), got float64 of shape \(1,\)",
    ),
    "shape a text": (in_tensor("W1", shape="3,4"), "shape of counts"),
    "shape negative": (in_tensor("W1", shape=[-3, -4]), "shape of counts"),
    "shape of bools": (in_tensor("W1", shape=[True, 12]), "shape of counts"),
    "shape of floats": (in_tensor("W1", shape=[3.0, 4]), "shape of counts"),
    "shape huge": (in_tensor("W1", shape=[2**62, 2**62]), "must have .* bytes for its shape"),
    "shape transposed": (in_tensor("W1", shape=[4, 3]), r"float32 of shape \(3, 4\), got .*\(4, 3"),
    "offsets short": (in_tensor("W1", data_offsets=[0]), "two data_offsets"),
    "offsets reversed": (in_tensor("W1", data_offsets=[48, 0]), "must have 48 bytes"),
    "offsets negative": (in_tensor("W1", data_offsets=[-48, 0]), "two data_offsets"),
    "overlap": (edit(swap_offsets), "must begin at byte 48 of the data, got 0"),
    "gap": (
        lambda h, b: (in_tensor("velocity", data_offsets=[100, 192])(h, b)[0], b + b"\0" * 8),
        "'velocity' must begin at byte 92 of the data, got 100",
    ),
    "tensor missing": (
        lambda h, b: ({k: v for k, v in h.items() if k != "velocity"}, b[: -23 * 4]),
        "must hold the tensors W1, b1, W2, b2, velocity, got W1, b1, W2, b2$",
    ),
    "tensor renamed": (edit(lambda h: h.update(w1=h.pop("W1"))), "must hold the tensors"),
    "architecture no JSON": (
        edit(lambda h: h["__metadata__"].update(architecture="x")),
        "architecture must be JSON",
    ),
    "architecture a list": (
        edit(lambda h: h["__metadata__"].update(architecture="[]")),
        "architecture must be a JSON object, got list",
    ),
    "architecture twice": (
        edit(lambda h: h["__metadata__"].update(architecture='{"sizes": 1, "sizes": 1}')),
        "'sizes' occurs twice",
    ),
    "sizes huge": (in_text("architecture", sizes=[10**12, 10**12, 2]), "tensor 'W1' must be"),
    "sizes other": (in_text("architecture", sizes=[4, 4, 2]), r"of shape \(4, 4\), got"),
    "sizes a number": (in_text("architecture", sizes=4), "architecture: sizes must be a list"),
    "sizes of floats": (in_text("architecture", sizes=[4.0, 3, 2]), "architecture: each of sizes"),
    "sizes zero": (in_text("architecture", sizes=[0, 3, 2]), "architecture: each of sizes"),
    "activation unknown": (
        in_text("architecture", activations=["rleu"]),
        r"activation must be one of identity, relu, .*, mish, got 'rleu'",
    ),
    "activation of no name": (
        in_text("architecture", activations=[{"slope": 0.1}]),
        "architecture: name must be one of leaky_relu, elu, parametric, got None",
    ),
    "activation's parameter": (
        in_text("architecture", activations=[{"name": "elu", "slope": 0.1}]),
        "architecture: .*unexpected keyword argument 'slope'",
    ),
    "activation's parameter no number": (
        in_text("architecture", activations=[{"name": "elu", "alpha": -1}]),
        "architecture: alpha must be at least 0",
    ),
    "activations a text": (in_text("architecture", activations="relu"), "must be lists"),
    "loss unfit": (in_text("architecture", loss="binary_cross_entropy"), "architecture: loss of"),
    "bias a number": (in_text("architecture", bias=1), "architecture: "),
    "bias true": (in_text("architecture", bias=True), "architecture: "),
    "embeddings no list": (in_text("architecture", embeddings={}), "embeddings must be a list"),
    "dtype unfit": (in_text("architecture", dtype="float64"), "must be float64 of shape"),
    "architecture key": (in_text("architecture", dtype=...), "architecture must have the keys"),
    "optimizer unknown": (in_text("training", optimizer="sdg"), "optimizer must be one of"),
    "optimizer a list": (in_text("training", optimizer=["sgd"]), "optimizer must be one of"),
    "optimizer other": (in_text("training", optimizer="sgd"), "must hold the tensors"),
    "weight NaN": (lambda h, b: (h, NAN + b[4:]), "W1 must be finite, got nan in row 0, column 0"),
    "bias infinite": (lambda h, b: (h, b[:48] + INF + b[52:]), "b1 must be finite, got inf in row"),
    "steps huge": (in_text("training", steps=2**62 - 1), r"steps must be a count up to 2\*\*53"),
    "epoch huge": (in_text("training", epoch=2**53 + 1), r"epoch must be a count up to 2\*\*53"),
    "steps negative": (in_text("training", steps=-1), "steps must be a count"),
    "epoch negative": (in_text("training", epoch=-1), "epoch must be a count"),
    "epoch true": (in_text("training", epoch=True), "epoch must be a count"),
    "seed huge": (in_text("training", seed=2**128), "training: seed must be below"),
    "seed a float": (in_text("training", seed=1.0), "training: seed must be an integer"),
    "user's metadata": (
        edit(lambda h: h["__metadata__"].update(metadata="[1]")),
        "metadata must be a JSON object, got list",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(name, saved):
    path, header, body = saved
    damage, message = DAMAGE[name]
    write(path, *damage(header, body))
    with pytest.raises(fastnn.ModelFileError, match=message) as caught:
        fastnn.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert isinstance(caught.value, ValueError)


def test_weights_of_nan_are_not_saved_over_a_good_file(saved):
    path, *_ = saved
    before = path.read_bytes()
    model = fastnn.load(path)
    model.W[1][1, 2] = np.nan
    with pytest.raises(ValueError, match="W2 must be finite, got nan in row 1, column 2"):
        model.save(path)
    assert path.read_bytes() == before


def test_undamaged_loads_after_rewriting(saved):
    path, header, body = saved
    write(path, header, body)
    assert fastnn.load(path).sizes == [4, 3, 2]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "at least 8 bytes, got 0"),
        (b"1\x00234567"[:7], "at least 8 bytes, got 7"),
        (b"\xff" * 8, "no safetensors file"),
        (b"\0" * 8, "no safetensors file"),
        (b"\xff" * 8 + b"{", "must hold a header of 18446744073709551615 bytes, can hold 1"),
        (b"PK\3\4" + b"\0" * 100, "this is a zip archive"),
        (b"PK\3\4" + b"\0" * 40 + b"sd/data.pkl", "a file of PyTorch: torch.load, then fastnn.in"),
        (b"PK\3\4" + b"\0" * 26 + b"metadata.json", r"a model of Keras \(\.keras\): keras.models"),
        (b"PK\3\4" + b"\0" * 26 + b"arr_0.npy", r"arrays of NumPy \(\.npz\)"),
        (b"\x93NUMPY\1\0", "an array of NumPy"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 9, "an HDF5 file, as Keras writes"),
        (b"\x08\x09\x12\x07pytorch", r"an ONNX file: fastnn\.onnx\.load, or `fastnn import`"),
        (b"\x80\4\x95\0\0", "a pickle, which only its library can load"),
        (b"PAR1\x15\4", "a Parquet file"),
        (b"a,b,label\n1,2,3\n" * 10, "a text file; data such as CSV goes to `fastnn train`"),
        (b"gr\xf6\xdfe;b\n" * 9, "a text file"),
        (b'{"a": 1}\n', "a text file"),
    ],
)
def test_other_files(raw, message, path):
    path.write_bytes(raw)
    with pytest.raises(fastnn.ModelFileError, match=message):
        fastnn.load(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(fastnn.ModelFileError, match="must be a regular file"):
        fastnn.load(pipe)
    with pytest.raises(fastnn.ModelFileError, match="must be a regular file"):
        fastnn.interop.from_state_dict(pipe, activation="relu", output="softmax")
    with pytest.raises(fastnn.ModelFileError, match="must be a regular file"):
        fastnn.Model([2, 2], seed=0).save(pipe)


# Values that stand where others should, in every place of every JSON text.
ODD = [
    None, True, -1, 0, 0.5, -0.0, 2**31, 2**63, 2**64, 10**400, 1e308, "", "x", ",float32", "f4",
    "nan", "relu", [], [[]], [None], [-1], [10**400], ["x"] * 50, {}, {"name": "elu"}, {"x": {}},
    {"name": []}, {"name": "batch", "momentum": 10**400}, {"name": "quantile", "q": [0.5] * 9},
    {"name": "elu", "alpha": 10**400}, [[[[]]]],
]  # fmt: skip


def places(value, path=()):
    """Paths to every value of a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


def with_odd(value, path, odd):
    if not path:
        return odd
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_odd(value[path[0]], path[1:], odd)
    return copied


def checkpoint_file(path):
    """A file with all there can be: normalisation, parameters, quantiles, callbacks' arrays."""
    model = fastnn.Model(
        [4, 3, 3, 6],
        [fastnn.ELU(0.5), "tanh"],
        "identity",
        fastnn.Quantile([0.1, 0.5, 0.9]),
        seed=0,
        norm=["batch", "layer"],
        dropout=[0, 0.1, 0],
    )
    model.metadata = {"classes": ["a", "b"]}
    X = np.random.default_rng(0).normal(size=(20, 4))
    stop = fastnn.EarlyStopping("loss", patience=9)
    callbacks = [stop, fastnn.Checkpoint(path)]
    model.fit(X, X[:, :2], epochs=2, optimizer="adam", callbacks=callbacks)
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + n]), raw[8 + n :]


@pytest.mark.parametrize("text", ["architecture", "training", "fit", "metadata", "header"])
def test_odd_values_in_the_json_never_surprise(path, text):
    header, body = checkpoint_file(path)
    inner = header if text == "header" else json.loads(header["__metadata__"][text])
    for place in places(inner):
        for odd in ODD:
            changed = with_odd(inner, place, odd)
            if text == "header":
                write(path, json.dumps(changed).encode(), body)
            else:
                texts = header["__metadata__"] | {text: json.dumps(changed)}
                write(path, header | {"__metadata__": texts}, body)
            try:
                fastnn.load(path)
            except fastnn.ModelFileError:
                continue


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "what",
    ["entries", "twice", "all twice", "lists", "objects", "too many", "layers", "quantiles"],
)
def test_a_large_header_costs_what_it_is_large(path, what):
    """Time and bytes grow with the header, not with its square (which here takes minutes)."""
    entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    n = 100_000
    names = [f'"a{i}":{entry}' for i in range(n)]
    header = {
        "entries": "{" + ",".join(names) + "}",
        "twice": "{" + ",".join([*names, names[-1]]) + "}",
        "all twice": "{" + ",".join(names * 2) + "}",
        "lists": '{"a":[' + "[]," * n + "[]]}",
        "objects": '{"a":[' + "{}," * n + "{}]}",
        "too many": '{"a":[' + "[]," * 11 * n + "[]]}",
    }.get(what)
    if header is None:
        saved, body = checkpoint_file(path)
        inner = json.loads(saved["__metadata__"]["architecture"])
        if what == "layers":
            inner |= {
                "sizes": [1] * n,
                "activations": ["relu"] * (n - 2),
                "bias": [True] * (n - 1),
                "norm": [None] * (n - 2),
            }
        else:
            inner["loss"]["q"] = [0.5] * n
        saved["__metadata__"]["architecture"] = json.dumps(inner)
        write(path, saved, body)
    else:
        write(path, header.encode(), b"")
    code = f"""
import resource
import fastnn, fastnn.files.model
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
try:
    fastnn.load({str(path)!r})
except fastnn.ModelFileError:
    print(peak() - before)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    times = 4 if what == "too many" else 30
    assert int(done.stdout) < times * path.stat().st_size + 2**23


def test_a_header_may_be_all_of_a_file():
    whole, cut = (n.to_bytes(8, "little") + b"{}" for n in (2, 3))
    assert read_header(io.BytesIO(whole), 10) == ({}, {})
    with pytest.raises(fastnn.ModelFileError, match="of 3 bytes, can hold 2: truncated"):
        read_header(io.BytesIO(cut), 10)


def test_a_file_that_shrinks_while_it_is_read_is_truncated():
    with pytest.raises(fastnn.ModelFileError, match="must hold 4 more bytes, got 3: truncated"):
        read_exactly(io.BytesIO(b"abc"), 4)
    tensor, target = Tensor(np.dtype("<f4"), (2,), 0), np.empty(2, np.float32)
    with pytest.raises(fastnn.ModelFileError, match="tensor 'W1' must have 8 bytes, got 3"):
        storage.read_tensor(io.BytesIO(b"abc"), tensor, target, "W1")


@pytest.mark.parametrize("order", "<>")
def test_tensors_are_read_in_the_byte_order_of_the_machine(order):
    values = np.array([[1.5, -2], [0, 1e-40]], f"{order}f4")
    tensor, target = Tensor(values.dtype, values.shape, 3), np.empty((2, 2), np.float32)
    storage.read_tensor(io.BytesIO(b"abc" + values.tobytes()), tensor, target, "W1")
    assert (target == values).all()


def test_every_truncation_is_refused(saved):
    path, _, _ = saved
    raw = path.read_bytes()
    for n in range(0, len(raw), 7):
        path.write_bytes(raw[:n])
        with pytest.raises(fastnn.ModelFileError):
            fastnn.load(path)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_changed_byte_never_surprises(tmp_path_factory, position, value):
    path = tmp_path_factory.mktemp("byte") / "m.safetensors"
    fastnn.Model([2, 2], seed=0).save(path)
    raw = bytearray(path.read_bytes())
    raw[position % len(raw)] = value
    path.write_bytes(raw)
    try:
        model = fastnn.load(path)
    except fastnn.ModelFileError:
        return
    assert model.sizes == [2, 2]


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastnn.load(tmp_path / "none")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        fastnn.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        fastnn.Model([2, 2], seed=0).save(tmp_path / "none" / "m.safetensors")
    with pytest.raises(fastnn.ModelFileError, match="regular file"):
        fastnn.Model([2, 2], seed=0).save(tmp_path)
    with pytest.raises(fastnn.ModelFileError, match="regular file"):
        fastnn.load(os.devnull)
    with pytest.raises(fastnn.ModelFileError, match="regular file"):
        fastnn.Model([2, 2], seed=0).save(os.devnull)


def test_metadata_that_could_not_be_read_is_not_written(path):
    model = fastnn.Model([2, 2], seed=0)
    model.metadata = {"a": [[]] * 1_000_001}
    with pytest.raises(TypeError, match="at most 1,000,000 values, got 2,000,0"):
        model.save(path)
    model.metadata = {"a": "a" * 25_000_000}
    with pytest.raises(TypeError, match="at most 25,000,000 characters, got 25,000,008"):
        model.save(path)
    model.metadata = {"a": [[]] * 100_000}
    model.save(path)
    assert fastnn.load(path).metadata == model.metadata


@pytest.mark.parametrize("metadata", [{"a": object()}, {"a": float("nan")}, {"a": b""}, [], None])
def test_metadata_must_be_json(metadata, path):
    model = fastnn.Model([2, 2], seed=0)
    model.metadata = metadata
    assert copy.copy(model).metadata == metadata
    with pytest.raises(TypeError, match="metadata must"):
        model.save(path)
    assert not path.exists()


# Atomic saving


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_old_file(saved, monkeypatch, step, error):
    path, _, _ = saved
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(storage.os, step, fail)
    with pytest.raises(type(error)):
        fastnn.Model([4, 3, 2], seed=9).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("step", ["_lock", "_is"])
def test_a_claim_that_fails_leaves_no_file(path, monkeypatch, step):
    right, calls = getattr(atomic, step), []

    def fail_once(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return right(*arguments)

    monkeypatch.setattr(atomic, step, fail_once)
    with pytest.raises(MemoryError):
        fastnn.Model([4, 3, 2]).save(path)
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("step", ["_lock", "write"])
def test_a_save_that_fails_leaves_what_another_has_put_there(path, monkeypatch, step):
    """In the place of its file, taken for a leftover where the system has no locks."""
    temporary = path.parent / f".{path.name}.tmp"

    def fail(*_):
        temporary.unlink()
        temporary.write_bytes(b"another's")
        raise OSError(errno.EIO, "Input/output error")

    def buffers():
        yield b"half"
        fail()

    if step == "_lock":
        monkeypatch.setattr(atomic, step, fail)
    with pytest.raises(OSError, match="Input/output error"):
        storage.write_atomically(path, buffers())
    assert os.listdir(path.parent) == [temporary.name]
    assert temporary.read_bytes() == b"another's"


def test_a_file_removed_before_it_was_locked_is_made_anew(path, monkeypatch):
    lock = atomic._lock

    def late(descriptor):
        monkeypatch.setattr(atomic, "_lock", lock)
        os.remove(path.parent / f".{path.name}.tmp")  # as a leftover, by another who saves
        lock(descriptor)

    monkeypatch.setattr(atomic, "_lock", late)
    storage.write_atomically(path, [b"whole"])
    assert path.read_bytes() == b"whole" and os.listdir(path.parent) == [path.name]


def test_a_file_that_went_before_it_was_looked_at_is_not_waited_for(path, monkeypatch):
    right, calls = os.open, []

    def late(name, *rest):
        calls.append(name)
        if len(calls) == 1:
            raise FileExistsError  # another was writing, and has ended since
        return right(name, *rest)

    monkeypatch.setattr(os, "open", late)
    storage.write_atomically(path, [b"whole"])
    assert path.read_bytes() == b"whole" and os.listdir(path.parent) == [path.name]
    assert len(set(calls[:3])) == 1


WRITERS = {
    "a model": lambda folder: fastnn.Model([2, 2]).save(folder / "m"),
    "a journal": lambda folder: _journalled(folder),
    "a learner in place": lambda folder: Live(Learner(seed=0), folder).close(),
}


def _journalled(folder):
    journal = Journal(folder)
    with journal.alone():
        journal.add([{"a": 1}], {}, ())


@pytest.mark.skipif(atomic.fcntl is None, reason="no locks here")
@pytest.mark.parametrize("what", WRITERS)
def test_file_systems_may_have_no_locks_and_no_fsync_of_folders(tmp_path, monkeypatch, what):
    errors, sync = [OSError(errno.ENOLCK, "No locks available")], os.fsync

    def lock(*_):
        raise errors[-1]

    def sync_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(atomic.fcntl, "flock", lock)
    monkeypatch.setattr(os, "fsync", sync_files)
    WRITERS[what](tmp_path)
    made = os.listdir(tmp_path)
    assert made and not [name for name in made if name.endswith(".tmp")]
    errors.append(OSError(errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output error"):
        WRITERS[what](tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(made)


LIKE_WINDOWS = """
import os, sys
sys.modules["fcntl"] = None  # its import fails
del os.fork, os.register_at_fork
import fastnn
from fastnn.files import atomic
from fastnn.files.journal import Journal
from fastnn.online import Learner, Live
os.chdir(sys.argv[1])
opened = os.open
def open_file(name, *rest, **more):
    if os.path.isdir(name):
        raise PermissionError(13, "Permission denied", name)
    return opened(name, *rest, **more)
os.name, os.open = "nt", open_file
with open(".m.tmp", "w") as file:
    file.write("left by a killed save")
for seed in (1, 2):
    fastnn.Model([2, 2], seed=seed).save("m")
print(fastnn.load("m").seed)
try:
    with atomic.replacing("m") as file:
        raise OSError(28, "No space left on device")
except OSError as error:
    print(error)
journal = Journal("journal")
with journal.alone(), Journal("journal").alone():
    journal.add([{"a": 1}], {}, ())
print(Journal("journal").entries)
with Live(Learner(seed=0), "live") as live:
    live.learn({"a": 1.0}, "yes")
print(fastnn.load("live/model.safetensors").classes)
print(sorted(os.listdir(".")))
"""


@pytest.mark.skipif(os.name != "posix", reason="takes away what POSIX has")
def test_systems_without_locks_forks_and_open_folders(tmp_path):
    """As Windows is, whose os.open takes no folder either."""
    done = subprocess.run(
        [sys.executable, "-c", LIKE_WINDOWS, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stderr == "" and done.stdout.splitlines() == [
        "2",
        "[Errno 28] No space left on device: 'm'",
        "[{'a': 1}]",
        "['yes']",
        "['journal', 'live', 'm']",
    ]


def test_pages_do_not_take_the_place_of_devices(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"is no regular file: .*pipe"), atomic.replacing(pipe):
        pass
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    with pytest.raises(IsADirectoryError, match=tmp_path.name), atomic.replacing(tmp_path):
        pass


def test_a_write_that_fails_leaves_no_file(path):
    def buffers():
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        storage.write_atomically(path, buffers())
    assert os.listdir(path.parent) == []


needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


@needs_kill
@pytest.mark.parametrize("existing", [True, False])
def test_a_killed_save_leaves_the_old_file_and_no_litter(saved, existing):
    """Killed again and again at any moment: one temporary file at most, which the next save takes
    away."""
    path, _, _ = saved
    before = path.read_bytes()
    if not existing:
        path.unlink()
    code = f"""
import os, signal
from fastnn.files import model as storage
def buffers():
    yield b"half" * 100_000
    os.kill(os.getpid(), signal.SIGKILL)
storage.write_atomically({str(path)!r}, buffers())
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], check=False)
        assert done.returncode == -signal.SIGKILL
        assert sorted(os.listdir(path.parent)) == [f".{path.name}.tmp", path.name][: 1 + existing]
    assert not existing or path.read_bytes() == before
    fastnn.Model([4, 3, 2], seed=9).save(path)
    assert os.listdir(path.parent) == [path.name]
    assert fastnn.load(path).seed == 9


@needs_kill
@pytest.mark.parametrize("kind", ["save", "Checkpoint"])
def test_kills_at_any_moment(path, kind):
    """A loop of saves killed at random moments: the file is one of the two, or not there yet."""
    what = {
        "save": "models[i % 2].save(path)",
        "Checkpoint": "models[i % 2].fit(X, y, callbacks=[fastnn.Checkpoint(path)], epochs=2)",
    }[kind]
    code = f"""
import itertools, fastnn, numpy as np
path = {str(path)!r}
models = [fastnn.Model([30, 300, 2], seed=seed) for seed in (0, 1)]
X, y = np.ones((4, 30)), np.zeros(4, int)
print("begins", flush=True)
for i in itertools.count():
    {what}
"""
    rng = np.random.default_rng(0)
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as saver:
            saver.stdout.readline()
            time.sleep(rng.uniform(0, 0.1))
            saver.kill()
        assert set(os.listdir(path.parent)) <= {path.name, f".{path.name}.tmp"}
        if path.exists():
            assert fastnn.load(path).seed in (0, 1)
    fastnn.Model([4, 3, 2], seed=9).save(path)
    assert os.listdir(path.parent) == [path.name]


def test_the_second_saver_waits_for_the_first(path):
    events = []
    halfway, go_on = threading.Event(), threading.Event()

    def slow():
        yield b"first"
        halfway.set()
        go_on.wait(30)
        yield b" whole"
        events.append("first")

    def quick():
        events.append("second")
        yield b"second whole"

    first = threading.Thread(target=storage.write_atomically, args=(path, slow()))
    second = threading.Thread(target=storage.write_atomically, args=(path, quick()))
    first.start()
    halfway.wait(30)
    second.start()
    second.join(0.2)
    assert second.is_alive() and events == []
    go_on.set()
    first.join(30)
    second.join(30)
    assert events == ["first", "second"]
    assert path.read_bytes() == b"second whole" and os.listdir(path.parent) == [path.name]


def test_many_savers_at_once(path):
    """Processes and threads that save one path: every file is whole, and nothing stays."""
    code = f"""
import threading, fastnn
models = [fastnn.Model([30, 300, 2], seed=seed) for seed in range(3)]
def save(model):
    for _ in range(15):
        model.save({str(path)!r})
threads = [threading.Thread(target=save, args=(model,)) for model in models]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    known = {fastnn.Model([30, 300, 2], seed=seed).theta.tobytes() for seed in range(3)}
    savers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    deadline = time.monotonic() + 60
    while any(one.poll() is None for one in savers) and time.monotonic() < deadline:
        if path.exists():
            assert fastnn.load(path).theta.tobytes() in known
    assert [one.wait() for one in savers] == [0, 0]
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("name", ["\u7f51" * 85, "m" * 255, "m" * 251, "\u7f51" * 83 + "ab"])
def test_names_as_long_as_the_system_takes(tmp_path, name):
    path = tmp_path / name
    model = fastnn.Model([2, 2], seed=0)
    for _ in range(2):
        model.save(path)
        assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError, match="too long"):
        model.save(tmp_path / (name + "mmmmm"))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_FSIZE")
def test_an_error_of_the_disk_names_the_file(path):
    code = f"""
import resource, signal, fastnn
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    fastnn.Model([300, 300, 2], seed=0).save({str(path)!r})
except OSError as error:
    print(error, error.filename)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[Errno 27] File too large: ")
    assert done.stdout.count(path.name) == 2
    assert os.listdir(path.parent) == []


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_nobody_reads_a_half_written_file_who_cannot_read_the_whole(path, mode):
    fastnn.Model([2, 2], seed=0).save(path)
    path.chmod(mode)
    (path.parent / f".{path.name}.tmp").write_bytes(b"left by a killed save")
    seen = []

    def buffers():
        yield b"half"
        seen.append(stat.S_IMODE((path.parent / f".{path.name}.tmp").stat().st_mode))
        yield b"whole"

    old = os.umask(0)
    try:
        storage.write_atomically(path, buffers())
    finally:
        os.umask(old)
    assert seen == [mode] and stat.S_IMODE(path.stat().st_mode) == mode


def test_training_during_a_save_does_not_reach_the_file(path, monkeypatch):
    model = fastnn.Model([4, 3, 2], seed=0)
    want = model.theta.tobytes()
    write = storage.write_atomically

    def late(path, buffers):
        model.theta[:] = 7
        write(path, buffers)

    monkeypatch.setattr(storage, "write_atomically", late)
    model.save(path)
    assert fastnn.load(path).theta.tobytes() == want


def test_readers_never_see_half_a_file(path):
    """A loop of saves of two models in one process, loads in this one."""
    a, b = fastnn.Model([30, 300, 2], seed=0), fastnn.Model([30, 300, 2], seed=1)
    a.save(path)
    code = f"""
import fastnn
models = [fastnn.Model([30, 300, 2], seed=seed) for seed in (0, 1)]
for i in range(60):
    models[i % 2].save({str(path)!r})
"""
    known = {a.theta.tobytes(), b.theta.tobytes()}
    with subprocess.Popen([sys.executable, "-c", code]) as saver:
        deadline = time.monotonic() + 30
        while saver.poll() is None and time.monotonic() < deadline:
            assert fastnn.load(path).theta.tobytes() in known
    assert saver.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and links")
def test_permissions_and_links(path):
    model = fastnn.Model([2, 2], seed=0)
    old = os.umask(0o027)
    try:
        model.save(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    link = path.parent / "link"
    link.symlink_to(path)
    model.save(link)
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o604
    assert fastnn.load(link).sizes == [2, 2]
