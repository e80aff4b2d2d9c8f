"""fastnn.h and libfastnn: the predictor without Python gives Predictor's bits, allocates nothing in
a call, and reads any file at all without harm."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fastnn

try:
    LIBRARY = ctypes.CDLL(fastnn.get_library())
except FileNotFoundError:
    pytest.skip("this build has no library for C", allow_module_level=True)

SIZE, POINTER = ctypes.c_size_t, ctypes.c_void_p
FUNCTIONS = {
    "load": (POINTER, [ctypes.c_char_p, ctypes.c_char_p, SIZE]),
    "read": (POINTER, [ctypes.c_char_p, SIZE, ctypes.c_char_p, SIZE]),
    "free": (None, [POINTER]),
    **{f"n_{what}": (SIZE, [POINTER]) for what in ("in", "out", "classes")},
    "is_double": (ctypes.c_int, [POINTER]),
    "scratch_bytes": (SIZE, [POINTER, SIZE]),
    **{
        f"{what}{suffix}": (ctypes.c_int, [POINTER, POINTER, SIZE, POINTER, POINTER])
        for what in ("predict", "classify")
        for suffix in ("", "_double")
    },
}
for _name, (_gives, _takes) in FUNCTIONS.items():
    getattr(LIBRARY, f"fastnn_{_name}").restype = _gives
    getattr(LIBRARY, f"fastnn_{_name}").argtypes = _takes
OK, NOT_FINITE, OTHER_TYPE, NO_CLASS = range(4)


class Predictor:
    """What fastnn.h declares, from Python. ValueError: the reason why a file is refused."""

    def __init__(self, file: str | bytes) -> None:
        error = ctypes.create_string_buffer(300)
        if isinstance(file, bytes):
            self.at = LIBRARY.fastnn_read(file, len(file), error, 300)
        else:
            self.at = LIBRARY.fastnn_load(os.fsencode(file), error, 300)
        assert (self.at is None) == bool(error.value)
        if self.at is None:
            raise ValueError(error.value.decode())
        self.dtype = [np.float32, np.float64][LIBRARY.fastnn_is_double(self.at)]
        self.n_in, self.n_out, self.n_classes = (
            getattr(LIBRARY, f"fastnn_n_{what}")(self.at) for what in ("in", "out", "classes")
        )

    def __del__(self) -> None:
        LIBRARY.fastnn_free(self.at)

    def call(self, what: str, X: np.ndarray, out: np.ndarray, offset: int = 0) -> int:
        suffix = "_double" if X.dtype == np.float64 else ""
        size = LIBRARY.fastnn_scratch_bytes(self.at, len(X))
        scratch = np.full(size + offset + 8, 255, np.uint8)  # NaN, were it read as numbers
        function = getattr(LIBRARY, f"fastnn_{what}{suffix}")
        at = scratch.ctypes.data + offset
        status: int = function(self.at, X.ctypes.data, len(X), out.ctypes.data, at)
        assert (scratch[size + offset :] == 255).all() and (scratch[:offset] == 255).all()
        return status

    def __call__(self, X: np.ndarray, offset: int = 0) -> np.ndarray:
        out = np.full((len(X), self.n_out), np.nan, self.dtype)
        assert self.call("predict", X, out, offset) == OK
        return out

    def classify(self, X: np.ndarray) -> np.ndarray:
        out = np.full(len(X), -1, np.int32)
        assert self.call("classify", X, out) == OK
        return out


NETWORKS = {
    "softmax": dict(sizes=[5, 9, 16, 3]),
    "relu to one": dict(sizes=[3, 33, 1], output="sigmoid", activation="gelu"),
    "several questions": dict(sizes=[3, 4, 3], output="sigmoid", activation="tanh"),
    "hinge": dict(sizes=[4, 8, 3], output="identity", loss="hinge", activation="sigmoid"),
    "values": dict(sizes=[7, 40, 2], output="identity", activation="selu"),
    "counts": dict(sizes=[5, 2], output="exp", loss="poisson"),
    "leaky": dict(sizes=[4, 8, 8, 2], activation=fastnn.LeakyReLU(0.3), loss=fastnn.Focal()),
    "elu": dict(sizes=[4, 19, 2], activation=fastnn.ELU(0.7), output=fastnn.LeakyReLU(0.1)),
    "parametric": dict(sizes=[4, 17, 8, 2], activation=fastnn.Parametric("mish")),
    "parametric elu": dict(sizes=[4, 17, 2], activation=fastnn.Parametric(fastnn.ELU(0.4))),
    "batch": dict(sizes=[6, 21, 8, 4], norm="batch", activation="silu"),
    "batch, no bias": dict(sizes=[6, 70, 4], norm=[fastnn.BatchNorm(epsilon=0.1)], bias=False),
    "layer": dict(sizes=[6, 37, 16, 4], norm="layer", activation="softplus"),
    "layer, parametric": dict(
        sizes=[6, 7, 4], norm="layer", activation=fastnn.Parametric("silu"), bias=False
    ),
    "a page a row": dict(sizes=[1024, 40, 10], dropout=[0.1, 0.2], noise=0.1),
    "mixed": dict(
        sizes=[3, 5, 9, 4],
        activation=["hard_tanh", "gelu_tanh"],
        norm=["batch", None],
        bias=[True, False, True],
        input_scale=0.5,
    ),
    "monotone": dict(sizes=[3, 8, 1], output="identity", activation="tanh", monotone=[1, 0, -1]),
    "weights beyond L2": dict(sizes=[40, 600, 900, 3]),
    "bfloat16": dict(sizes=[40, 37, 16, 3], activation="tanh", compute_dtype="bfloat16"),
    "bfloat16, normalised": dict(
        sizes=[40, 37, 16, 9, 3],
        activation=["relu", "elu", fastnn.Parametric("tanh")],
        norm=["batch", "layer", None],
        compute_dtype="bfloat16",
    ),
}


def made(arguments: dict, dtype: str) -> fastnn.Model:
    """A model none of whose parameters and statistics is a plain number."""
    rng = np.random.default_rng(5)
    model = fastnn.Model(**{"loss": None, **arguments}, dtype=dtype, seed=3)
    model.theta[:] += rng.normal(scale=0.2, size=model.theta.shape).astype(dtype)
    if "norm" in arguments:
        n_in, n_out = model.sizes[0], model.sizes[-1]
        model.fit(rng.normal(1, 2, (60, n_in)), rng.integers(0, n_out, 60), epochs=1)
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_are_predictors(here, isa, dtype, monkeypatch):
    monkeypatch.setenv("FASTNN_ISA", isa)
    rng = np.random.default_rng(0)
    for name, arguments in NETWORKS.items():
        if dtype == "float64" and "compute_dtype" in arguments:
            continue
        model = made(arguments, dtype)
        model.save("m.safetensors")
        f, predictor = Predictor("m.safetensors"), model.predictor()
        assert (f.n_in, f.n_out, f.dtype) == (model.sizes[0], model.sizes[-1], np.dtype(dtype))
        for n in (1, 2, 129, 300) if max(model.sizes) < 100 else (1, 130):
            X = rng.normal(size=(n, model.sizes[0])) * 10.0 ** rng.integers(-4, 3, (n, 1))
            X[::5] *= 1e-38
            X = X.astype(dtype)
            want = predictor(X)
            assert f(X, offset=n % 8).tobytes() == want.tobytes(), (name, n)
            if f.n_classes:
                assert (f.classify(X) == model.predict(X)).all(), (name, n)
                assert f.n_classes == (max(model.sizes[-1], 2))
            else:
                assert f.call("classify", X, np.empty(n, np.int32)) == NO_CLASS
                assert name in {
                    *("several questions", "values", "counts", "elu", "monotone"),
                }


def test_what_a_call_refuses(here):
    fastnn.Model([3, 4, 2], seed=0).save("m.safetensors")
    f = Predictor("m.safetensors")
    X, out = np.zeros((200, 3), np.float32), np.empty((200, 2), np.float32)
    assert f.call("predict", X[:0], out) == OK
    for bad in (np.nan, np.inf, -np.inf):
        for row in (0, 199):
            X[row, 1] = bad
            assert f.call("predict", X[row : row + 1], out) == NOT_FINITE
            assert f.call("predict", X, out) == NOT_FINITE
            assert f.call("classify", X, np.empty(200, np.int32)) == NOT_FINITE
            X[row, 1] = 0
    assert f.call("predict", X.astype(float), out.astype(float)) == OTHER_TYPE
    assert f.call("classify", X.astype(float), np.empty(200, np.int32)) == OTHER_TYPE


def test_the_class_is_argmaxs(here):
    """Also of equal scores; of those that are no number, infinity minus infinity, there is none."""
    wide = dict(activation="identity", output="identity", loss="hinge", bias=False)
    model = fastnn.Model([2, 2, 3], **wide, seed=0)
    model.W[0][:] = [[3e38, 0], [0, 3e38]]
    model.W[1][:] = [[1, 1], [1, -1], [-1, -1]]
    model.save("m.safetensors")
    X = np.array([[0, 0], [3, 3], [1, 1], [-1, 2], [2, -1]], np.float32)
    f = Predictor("m.safetensors")
    bad = np.isnan(f(X)).any(1)
    assert bad.sum() == 1 and np.isinf(f(X[~bad])).any()
    assert f.classify(X[~bad]).tolist() == f(X[~bad]).argmax(1).tolist()
    assert f.classify(X[~bad]).tolist() == model.predict(X[~bad]).tolist()
    assert f.call("classify", X, np.empty(len(X), np.int32)) == NOT_FINITE
    with pytest.raises(ValueError, match=f"got NaN in row {bad.argmax()}"):
        model.predict(X)


def test_one_half_is_the_first_class(here):
    model = fastnn.Model([2, 1], output="sigmoid", seed=0)
    model.theta[:] = 0
    model.save("m.safetensors")
    X = np.ones((3, 2), np.float32)
    assert Predictor("m.safetensors").classify(X).tolist() == [0, 0, 0]
    assert model.predict(X).ravel().tolist() == [0, 0, 0]


def test_threads_share_a_predictor(here):
    model = fastnn.Model([20, 1024, 5], seed=0)
    model.save("m.safetensors")
    f, X = Predictor("m.safetensors"), np.random.default_rng(0).normal(size=(400, 20))
    X = X.astype(np.float32)
    answers, begin = [], threading.Barrier(4)

    def work(rows):  # others than the other threads have
        begin.wait()
        answers.extend((rows, f(rows)) for _ in range(50))

    threads = [threading.Thread(target=work, args=(X[k::4].copy(),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    predict = model.predictor()
    assert len(answers) == 200 and all((predict(x) == y).all() for x, y in answers)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_predictors_bits(here):
    model = fastnn.Model([20, 64, 5], seed=0)
    model.save("m.safetensors")
    f, X = Predictor("m.safetensors"), np.random.default_rng(0).normal(size=(400, 20))
    X = X.astype(np.float32)
    want = model.predictor()(X).tobytes()
    child = os.fork()
    if child == 0:
        os._exit(f(X).tobytes() != want)
    assert os.waitpid(child, 0)[1] == 0


def test_checkpoints_plain_columns_and_states_of_optimizers(here):
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    model = fastnn.Model([3, 4, 2], seed=0)
    model.fit(X, y, epochs=2, optimizer="adam", callbacks=[fastnn.Checkpoint("c.safetensors")])
    model.metadata = {"data": {"version": 1}, "é": ["\U0001f600", "\\", '"', {}]}
    model.save("m.safetensors")
    rows = X.astype(np.float32)
    for file in ("c.safetensors", "m.safetensors"):
        assert (Predictor(file)(rows) == model.predictor()(rows)).all()
    named = fastnn.Model([3, 4, 2], seed=0)
    named.fit(dict(zip("abc", X.T, strict=True)), y, epochs=1)
    assert named.columns.plain  # names alone: rows are as they are
    named.save("n.safetensors")
    assert (Predictor("n.safetensors")(rows) == named.predictor()(rows)).all()


def saved(name="m.safetensors", **arguments) -> bytes:
    fastnn.Model(**{"sizes": [3, 4, 2], **arguments}, seed=0).save(name)
    return Path(name).read_bytes()


def with_columns() -> bytes:
    table = {"a": np.arange(9.0), "b": ["x", "y", "z"] * 3}
    columns = fastnn.tables.learn(table, [0, 1, 1] * 3)
    return saved(sizes=[None, 4, None], columns=columns)


def changed(file: bytes, of_header=None, **changes) -> bytes:
    """A file with other settings in its architecture, or another header."""
    n = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + n])
    architecture = json.loads(header["__metadata__"]["architecture"]) | changes
    header["__metadata__"]["architecture"] = json.dumps(architecture)
    if of_header is not None:
        of_header(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + file[8 + n :]


def text_of(file: bytes) -> str:
    """The architecture as its file says it."""
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    return header["__metadata__"]["architecture"]


def joined(file: bytes, new: bytes, old: bytes) -> bytes:
    """A file whose header has `new` where it first had `old`."""
    n = int.from_bytes(file[:8], "little")
    header = file[8 : 8 + n].replace(old, new, 1)
    return len(header).to_bytes(8, "little") + header + file[8 + n :]


def nan_weight() -> bytes:
    file = bytearray(saved())
    file[-4:] = np.float32(np.nan).tobytes()
    return bytes(file)


def with_architecture(text: str) -> bytes:
    return changed(saved(), lambda header: header["__metadata__"].update(architecture=text))


REFUSED = {
    "no embeddings": lambda: saved(embeddings=[fastnn.Periodic([0])]),
    "no feature_scale": lambda: saved(feature_scale=True),
    "no columns": with_columns,
    "whole safetensors file: a header of": lambda: b"PK\3\4" * 10,
    "cannot be in its 0": lambda: b"",
    "another safetensors file": lambda: changed(
        saved(), lambda header: header["__metadata__"].update(format="pt")
    ),
    "this is an ensemble": lambda: changed(
        saved(), lambda header: header["__metadata__"].update(format="fastnn-ensemble")
    ),
    "version must be 1": lambda: changed(
        saved(), lambda header: header["__metadata__"].update(version="2")
    ),
    "header must be JSON": lambda: saved().replace(b'"W1"', b'"W1 '),
    "must be a JSON object of settings": lambda: changed(saved(), later=1),
    "dtype must be": lambda: changed(saved(), dtype="float16"),
    "compute_dtype must be bfloat16": lambda: changed(saved(), compute_dtype="float32"),
    "must be bfloat16, of float32": lambda: changed(
        saved(dtype="float64"), compute_dtype="bfloat16"
    ),
    "sizes must have a layer": lambda: changed(saved(), sizes=[3] * 10**5),
    "sizes must be counts": lambda: changed(saved(), sizes=[3, 10**15, 2]),
    "lists of an entry": lambda: changed(saved(), bias=[True]),
    "activation must be one that": lambda: changed(saved(), activations=["softmax"]),
    "activation must have known": lambda: changed(saved(), activations=[{"name": "elu", "b": 1}]),
    "got {\"name\": \"elu\"": lambda: changed(saved(), activations=[{"name": "elu", "alpha": -1}]),
    "each of norm": lambda: changed(saved(), norm=[{"name": "group", "epsilon": 1}]),
    "tensor \"W1\" must be there once": lambda: changed(saved(), sizes=[4, 4, 2]),
    "tensor \"b2\" must lie within": lambda: saved()[:-1],
    "tensor \"W2\" must have dtype": lambda: changed(
        saved(), lambda header: header["W2"].update(more=1)
    ),
    "must hold the tensor \"b1\"": lambda: changed(saved(), lambda header: header.pop("b1")),
    "\"b2\" must be finite": nan_weight,
    "each of bias must": lambda: changed(saved(), bias=[True, 1]),
    "loss must be a name": lambda: changed(saved(), loss={"weight": 1}),
    "__metadata__ once": lambda: joined(saved(), b'{"__metadata__":{},', b"{"),
    "\"W1\" must have two": lambda: changed(saved(), partial(put, "W1", "data_offsets", 2, 9)),
    "\"b1\" must have another": lambda: changed(saved(), partial(put, "b1", "shape", 2, [1])),
    "metadata must be": lambda: changed(
        saved(), lambda header: header["__metadata__"].update(metadata="none")
    ),
    "got {\"name\": \"parametric\"": lambda: changed(
        saved(), activations=[{"name": "parametric", "activation": "elu", "alpha": 1}]
    ),
    "got {\"name\": \"leaky_relu\"": lambda: changed(
        saved(), activations=[{"name": "leaky_relu", "slope": 0.1, "alpha": 0.1}]
    ),
    "got {\"name\":\"elu\",\"alpha\":0.0": lambda: with_architecture(
        text_of(saved()).replace('["relu"]', f'[{{"name":"elu","alpha":0.{70 * "0"}1}}]')
    ),
}  # fmt: skip

SNIPPETS = [
    *("1", "-1", "0", "-0.5e-3", "1E+5", "01", "-", "1.", ".5", "1e", "1e-", "+1", "- 1", "1 2"),
    *('""', r'"\u00eF"', r'"\u00g0"', r'"\u12"', r'"\x"', r'"\/\n"', '"a\tb"', '"\x7f"', "'a'"),
    *("[]", "[1, [2]]", "[1,]", "[,1]", "[1", "[1 2]"),
    *("{}", '{"a": {}}', '{"a"}', '{"a": 1,}', "{a: 1}"),
    *("true", "null", "tru", "nulL", "NaN", "-Infinity", "", "\r\n 1\t "),
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_json_is_read_as_python_reads_it(here, snippet):
    """As a setting of the loss that prediction does not need."""
    text = json.dumps(json.loads(text_of(saved())) | {"loss": {"name": "focal", "gamma": "@"}})
    text = text.replace('"@"', snippet)
    try:
        json.loads(text, parse_constant=lambda name: 1 / 0)
        is_json = True
    except (ValueError, ZeroDivisionError):
        is_json = False
    try:
        Predictor(with_architecture(text))
        taken = True
    except ValueError as error:
        taken = False
        assert "must be a JSON object" in str(error)
    assert taken == is_json


@pytest.mark.parametrize(
    "header",
    [
        *('{"a', '{"a\\', '{"a"', '{"a":', '{"a":-', '{"a":0', '{"a":1', '{"a":1.', '{"a":1e'),
        *('{"a":1e+', '{"a":[1', '{"a":{}', '{"a":1}}', '{"a":tru'),
    ],
)
def test_headers_that_end_too_soon_or_late(header):
    text = header.encode()
    with pytest.raises(ValueError, match="header must be JSON"):
        Predictor(len(text).to_bytes(8, "little") + text)


def test_escapes_stand_for_what_they_say(here):
    escaped = joined(saved(), rb"\u0072elu", b"relu"), joined(saved(), rb"\u00e9elu", b"relu")
    assert Predictor(escaped[0]).n_out == 2
    with pytest.raises(ValueError, match=r'got "\?elu"'):
        Predictor(escaped[1])


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name(here, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        Predictor(REFUSED[what]())


def test_files_that_cannot_be_read(here, monkeypatch):
    for path, why in (("none", "cannot be opened"), (".", "cannot be")):
        with pytest.raises(ValueError, match=rf"^{re.escape(path)}: {why}"):
            Predictor(path)
    saved("m.safetensors")
    Path("cut.safetensors").write_bytes(Path("m.safetensors").read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"cut\.safetensors: tensor \"b2\" must lie within"):
        Predictor("cut.safetensors")
    monkeypatch.setenv("FASTNN_ISA", "abacus")
    with pytest.raises(ValueError, match="FASTNN_ISA must be an instruction set that this machine"):
        Predictor("m.safetensors")
    assert LIBRARY.fastnn_load(b"none", None, 0) is None
    short = ctypes.create_string_buffer(b"x" * 8)
    assert LIBRARY.fastnn_load(b"none", short, 5) is None and short.raw == b"none\0xxx\0"


def test_hostile_files(here):
    """No file makes it read or write where it must not: `make asan` would tell."""
    rng = np.random.default_rng(1)
    good = saved(sizes=[3, 5, 2], norm="batch", activation=fastnn.Parametric("elu"))
    n = 8 + int.from_bytes(good[:8], "little")
    files = [good[:i] for i in range(0, len(good), 3)]
    for _ in range(2000):
        file = bytearray(good)
        for at in rng.integers(0, n, rng.integers(1, 4)):
            file[at] = rng.choice(list(b'0123456789{}[]",:\\u -.eE') if at > 7 else 256)
        files.append(bytes(file))
    many = ",".join(["1"] * 10**5)
    network = json.dumps(json.dumps({"sizes": [1] * 10**5}))
    offsets = '"data_offsets":[0,18446744073709551615]'
    for text in (
        "[" * 10**6,
        '{"a":' * 10**5,
        '{"a":"\\u12',
        f'{{"a":[{many}]}}',
        f'{{"__metadata__":{{"format":"fastnn","version":"1","metadata":"{{}}",'
        f'"architecture":{network}}}}}',
        f'{{"W1":{{"dtype":"F32","shape":[9223372036854775807,4],{offsets}}}}}',
    ):
        files.append(len(text).to_bytes(8, "little") + text.encode())
    numbers = [0, 1, 2**31, 2**53, 2**62, 2**63, 2**64 - 1, -1, 0.5, 1e400, None, "3", [], {}]
    for number in numbers:
        for name in ("W1", "b1", "gamma1", "alpha1"):
            for key, i in (("shape", 0), ("data_offsets", 0), ("data_offsets", 1)):
                files.append(changed(good, partial(put, name, key, i, number)))
        files.append(changed(good, sizes=[3, number, 2]))
        files.append(changed(good, norm=[{"name": "batch", "epsilon": number}]))
    taken = 0
    for file in files:
        try:
            f = Predictor(file)
        except ValueError:
            continue
        taken += 1
        f(np.ones((3, f.n_in), f.dtype))
    assert 0 < taken < len(files) / 2


def put(name: str, key: str, i: int, value: object, header: dict) -> None:
    header[name][key][i:] = [value, *header[name][key][i + 1 :]]


@pytest.mark.skipif(sys.platform != "linux", reason="the tool is of GNU's binutils")
def test_nothing_else_is_declared_or_exported():
    header = Path(fastnn.get_include(), "fastnn.h").read_text()
    declared = set(re.findall(r"^FASTNN_API [\w *]+\b(fastnn_\w+)\(", header, re.M))
    assert declared == {f"fastnn_{name}" for name in FUNCTIONS}
    if shutil.which("nm"):
        command = ["nm", "-D", "--defined-only", fastnn.get_library()]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert {name for name in names if name.startswith("fastnn_")} == declared
        assert not {name for name in names if name.startswith("Py")}


PROGRAM = r"""
#include <fastnn.h>

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    char error[200];
    fastnn_predictor *f = argc == 2 ? fastnn_load(argv[1], error, sizeof error) : NULL;
    float *x, *y;
    int32_t *classes;
    void *scratch;
    size_t rows, n, i, j;
    if (!f) return fprintf(stderr, "%s\n", error), 1;
    if (fread(&rows, sizeof rows, 1, stdin) != 1) return 1;
    n = rows * fastnn_n_in(f);
    x = (float *)malloc(n * sizeof *x);
    y = (float *)malloc(rows * fastnn_n_out(f) * sizeof *y);
    classes = (int32_t *)malloc(rows * sizeof *classes);
    scratch = malloc(fastnn_scratch_bytes(f, rows));
    if (fread(x, sizeof *x, n, stdin) != n) return 1;
    if (fastnn_predict(f, x, rows, y, scratch) != FASTNN_OK) return 1;
    if (fastnn_classify(f, x, rows, classes, scratch) != FASTNN_OK) return 1;
    for (i = 0; i < rows; i++) {
        printf("%d", (int)classes[i]);
        for (j = 0; j < fastnn_n_out(f); j++) printf(" %a", (double)y[i * fastnn_n_out(f) + j]);
        puts("");
    }
    fastnn_free(f);
    free(x);
    free(y);
    free(classes);
    free(scratch);
    return 0;
}
"""

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pedantic"]
COMPILERS = {
    "gcc": ("program.c", "-std=c99"), "clang": ("program.c", "-std=c99"),
    "g++": ("program.cc", "-std=c++11"), "clang++": ("program.cc", "-std=c++20"),
}  # fmt: skip
# A program of the compiler's own cannot load a library that asks for a sanitizer's.
unlike_python = pytest.mark.skipif(
    "san" in os.environ.get("LD_PRELOAD", "") or os.name != "posix",
    reason="an instrumented library, or no compiler that takes these options",
)


def built(compiler: str, source: str, *flags: str) -> str:
    """A program that finds the library where it is."""
    folder = str(Path(fastnn.get_library()).parent)
    where = ["-I", fastnn.get_include(), "-L", folder, f"-Wl,-rpath,{folder}", "-lfastnn"]
    command = [compiler, *flags, *WARNINGS, source, "-o", f"./{compiler}.exe", *where]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return f"./{compiler}.exe"


@unlike_python
@pytest.mark.parametrize("compiler", COMPILERS)
def test_programs_in_c_and_cpp(here, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    source, standard = COMPILERS[compiler]
    Path(source).write_text(PROGRAM)
    program = built(compiler, source, standard)
    model = fastnn.Model([4, 9, 3], seed=0)
    model.save("m.safetensors")
    X = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)
    command, rows = [program, "m.safetensors"], np.array(len(X), np.uintp).tobytes() + X.tobytes()
    done = subprocess.run(command, input=rows, capture_output=True, check=True)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [int(line[0]) for line in lines] == model.predict(X).tolist()
    got = np.array([[float.fromhex(one) for one in line[1:]] for line in lines], np.float32)
    assert got.tobytes() == model.predictor()(X).tobytes()
    done = subprocess.run([program, "none"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "none: cannot be opened\n")


# From prctl on the kernel ends the program at any system call but read, write, exit and the return
# from a signal; locks and what takes or gives memory are counted.
COUNTING = r"""
#define _GNU_SOURCE
#include <fastnn.h>

#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int counted;
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
void *malloc(size_t n) { counted++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { counted++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { counted++; return __libc_realloc(p, n); }
int posix_memalign(void **p, size_t a, size_t n)
{
    counted++;
    return !(*p = __libc_memalign(a, n));
}
void free(void *p) { counted++; __libc_free(p); }
int pthread_mutex_lock(pthread_mutex_t *m) { (void)m; counted++; return 0; }
int pthread_mutex_trylock(pthread_mutex_t *m) { (void)m; counted++; return 0; }

int main(int argc, char **argv)
{
    static float x[300 * 40], y[300 * 40];
    static int32_t classes[300];
    fastnn_predictor *f = fastnn_load(argv[1], NULL, 0);
    char said[60];
    int n, wrong = 0, rows, loaded;
    void *scratch;
    if (argc != 2 || !f || !fastnn_n_classes(f)) return 2;
    scratch = malloc(fastnn_scratch_bytes(f, 300));
    loaded = counted;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return 3;
    for (rows = 1; rows <= 300; rows += 1 + rows / 2) {
        wrong += fastnn_predict(f, x, (size_t)rows, y, scratch) != FASTNN_OK;
        wrong += fastnn_classify(f, x, (size_t)rows, classes, scratch) != FASTNN_OK;
    }
    n = snprintf(said, sizeof said, "%d %d %d\n", loaded > 5, counted - loaded, wrong);
    if (write(1, said, (size_t)n) != n) return 4;
    syscall(SYS_exit, 0);
    return 5;
}
"""


@unlike_python
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc on Linux")
def test_a_call_allocates_nothing_locks_nothing_and_asks_the_system_for_nothing(here):
    Path("counting.c").write_text(COUNTING)
    program = built("gcc", "counting.c", "-std=c99", "-O1")
    for name in ("softmax", "layer, parametric", "batch", "weights beyond L2"):
        made(NETWORKS[name], "float32").save("m.safetensors")
        done = subprocess.run([program, "m.safetensors"], capture_output=True, text=True)
        if done.returncode == 3:
            pytest.skip("this system has no seccomp")
        if "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"):
            pytest.skip("the functions that count are glibc's")
        assert (done.returncode, done.stdout) == (0, "1 0 0\n")


PAGE = Path(__file__).parents[1] / "docs/services.md"
#: Of each language how the page has it compiled.
LANGUAGES = {
    "c": "gcc -I{include} main.c -L{lib} -lfastnn -Wl,-rpath,{lib}",
    "cpp": "g++ -I{include} main.cpp -L{lib} -lfastnn -Wl,-rpath,{lib}",
    "rust": "rustc -L{lib} -Clink-arg=-Wl,-rpath,{lib} main.rust -o a.out",
    "go": "go build -o a.out main.go",
}


@unlike_python
@pytest.mark.skipif(not PAGE.exists(), reason="no checkout")
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_programs_of_the_page(here, language):
    command = LANGUAGES[language].split()
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    (program,) = (block for block in blocks if "fastnn_load" in block)
    Path(f"main.{language}").write_text(program)
    include, lib = fastnn.get_include(), str(Path(fastnn.get_library()).parent)
    flags = {"CGO_CFLAGS": f"-I{include}", "CGO_LDFLAGS": f"-L{lib} -Wl,-rpath,{lib}"}
    command = [word.format(include=include, lib=lib) for word in command]
    done = subprocess.run(command, env=os.environ | flags, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model = fastnn.Model([8, 16, 2], seed=0)
    model.save("model.safetensors")
    done = subprocess.run("./a.out", check=True, capture_output=True, text=True)
    (want,) = model.forward(np.eye(1, 8))
    assert done.stdout == f"{want[0]:.3f} {want[1]:.3f}\n"


def test_a_build_without_it_is_told(monkeypatch):
    monkeypatch.setattr("fastnn.c.library.LIBRARY", "lib/none.so")
    with pytest.raises(FileNotFoundError, match=r"has no library for C: .*lib.none\.so$"):
        fastnn.get_library()


EXAMPLE = Path(__file__).parents[1] / "examples/cython_scores"


@unlike_python
@pytest.mark.skipif(not EXAMPLE.exists(), reason="no checkout")
def test_the_example_in_cython(here):
    pytest.importorskip("Cython", "3.2")
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    shutil.copytree(EXAMPLE, "package")
    path = os.pathsep.join([str(Path(fastnn.__file__).parents[1]), *sys.path])
    env = os.environ | {"PYTHONPATH": path, "CFLAGS": "-O0"}  # in half the time
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd="package", env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (module,) = Path("package").glob("scores.*.so")
    spec = importlib.util.spec_from_file_location("scores", module)
    scores = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scores)
    model = fastnn.Model([4, 9, 3], seed=0)
    model.save("m.safetensors")
    steps = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    out = np.empty((50, 3), np.float32)
    scores.Scores("m.safetensors").walk(np.zeros(4, np.float32), steps, out)
    assert (out == model.predictor()(steps.cumsum(0, dtype=np.float32))).all()
    with pytest.raises(ValueError, match="none: cannot be opened"):
        scores.Scores("none")
