"""Arrays of any layout and kind: the answer of a plain copy, or a typed error, never a crash.

`make asan TESTS=tests/test_hostile_arrays.py FASTNN_CASES=100000` tries so many, under
AddressSanitizer and UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import array
import os
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastnn

CASES = int(os.environ.get("FASTNN_CASES", "60"))
N_IN, N_OUT = 3, 2
DTYPES = ["?", "i1", "u1", "<i2", ">i2", "<i4", ">i4", "<i8", ">u8", "<f2", ">f2", "<f4", ">f4"]
DTYPES += ["<f8", ">f8", "g", "O", "c8", "U3", "S3", "M8[s]", "m8[s]", "V4"]
ANSWERS = fastnn.FastnnError, ValueError, TypeError, OverflowError


class Sub(np.ndarray):
    """With its own idea of arithmetic, of indexing, and of how long it is."""

    def __array_ufunc__(self, *_, **__):
        raise RuntimeError("no arithmetic here")

    def __array_function__(self, *_, **__):
        raise RuntimeError("no functions here")

    def __getitem__(self, _):
        return 7

    def __len__(self):
        return 10**6


class Turns:
    """Another array each time it is asked."""

    def __init__(self, values):
        self.values, self.asked = values, 0

    def __array__(self, dtype=None, copy=None):
        self.asked += 1
        return np.asarray(self.values[: max(len(self.values) - self.asked, 1)], dtype)


class Lies:
    """A shape, and rows that are not there."""

    shape, ndim, dtype = (5, N_IN), 2, np.dtype("f4")

    def __len__(self):
        return 5

    def __getitem__(self, i):
        raise IndexError(i)


def laid_out(values, layout):
    """The same numbers another way; or what only looks like numbers."""
    shape, dtype = values.shape, values.dtype
    if layout == "F":
        return np.asfortranarray(values)
    if layout == "step":
        wide = np.zeros([2 * n + 1 for n in shape], dtype)
        inside = wide[tuple(slice(1, 2 * n + 1, 2) for n in shape)]
        inside[...] = values
        return inside
    if layout == "backwards":
        turned = (slice(None, None, -1),) * values.ndim
        return np.ascontiguousarray(values[turned])[turned]
    if layout == "unaligned" and dtype.kind != "O":
        raw = np.zeros(values.nbytes + 1, np.uint8)[1:]
        raw[:] = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        return raw.view(dtype).reshape(shape)
    if layout == "read-only":
        values = values.copy()
        values.flags.writeable = False
        return values
    if layout == "field" and dtype.kind != "O":
        rows = np.zeros(shape, [("a", "u1"), ("b", dtype), ("c", "u1")])
        rows["b"] = values
        return rows["b"]
    if layout == "structured":
        return np.zeros(shape, [("a", "f4"), ("b", "f4")])
    if layout == "masked":
        return np.ma.masked_array(values, np.zeros(shape, bool))
    if layout == "list":
        return values.tolist()
    if layout == "subclass":
        return values.view(Sub)
    if layout == "matrix" and values.ndim == 2:
        return values.view(np.matrix)
    if layout == "buffer" and dtype.kind in "iuf" and dtype.isnative and dtype.char != "e":
        return memoryview(np.ascontiguousarray(values))
    if layout == "array.array" and values.ndim == 1 and dtype.kind in "biuf":
        return array.array("d", map(float, values.astype("f8")))
    if layout == "turns":
        return Turns(values)
    if layout == "lies":
        return Lies()
    return values


LAYOUTS = ["C", "F", "step", "backwards", "unaligned", "read-only", "field", "structured", "masked"]
LAYOUTS += ["list", "subclass", "matrix", "buffer", "array.array", "turns", "lies", "broadcast"]
LAYOUTS += ["overlapping", "missing", "flat", "deep"]


@st.composite
def arrays(draw, n, width):
    """What may be given for an array of this shape."""
    sizes = [n] if width is None else [n, width]
    sizes[draw(st.integers(0, len(sizes) - 1))] += draw(st.sampled_from([0] * 8 + [1, -1, -n]))
    shape = [max(one, 0) for one in sizes]
    layout = draw(st.sampled_from(LAYOUTS))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    seed = draw(st.integers(0, 2**16))
    whole = np.random.default_rng(seed).integers(0, 2, shape)
    if dtype.kind == "V":
        values = np.zeros(shape, dtype)
    elif dtype.kind in "mM":
        values = whole.astype("i8").view(dtype)
    else:
        values = whole.astype(dtype)
    if layout == "missing" and values.size and values.dtype.kind in "fO":
        with np.errstate(all="ignore"):
            values.flat[seed % values.size] = [np.nan, np.inf, -np.inf, 1e38][seed % 4]
    if layout == "broadcast":
        return np.broadcast_to(values[:1], shape)
    if layout == "overlapping" and values.ndim == 2 and values.size:
        line = np.resize(values.reshape(-1), sum(shape) - 1)
        return np.lib.stride_tricks.as_strided(line, shape, line.strides * 2, writeable=False)
    if layout == "flat":
        return values.reshape(-1)
    if layout == "deep":
        return values[..., None]
    return laid_out(values, layout)


def plain(value):
    """A copy as C lays it out; of what is no array itself."""
    return np.array(value, order="C") if type(value) is np.ndarray else value


TRAIN = np.eye(3), [0, 1, 0]
WAYS = {
    "fit": lambda m, X, y, w: m.fit(X, y, epochs=2, batch_size=4, sample_weight=w).loss,
    "fit in part": lambda m, X, y, w: m.partial_fit(X, y, sample_weight=w),
    "held out": lambda m, X, y, w: m.fit(*TRAIN, epochs=1, validation_data=(X, y)).val_loss,
    "evaluate": lambda m, X, y, w: m.evaluate(X, y, sample_weight=w),
    "predict": lambda m, X, y, w: m.predict(X),
    "forward": lambda m, X, y, w: m.predictor()(X),
    "gradient": lambda m, X, y, w: m.loss_and_gradient(X, y, sample_weight=w),
    "stream": lambda m, X, y, w: m.fit(lambda: iter([(X, y)]), epochs=1, batch_size=4).loss,
    "weights": lambda m, X, y, w: setattr(m, "theta", w),
}


def outcome(way, given, dtype):
    """The answer and theta, or the error; a refused call must leave theta as it was."""
    for one in given:
        if isinstance(one, Turns):
            one.asked = 0
    model = fastnn.Model([N_IN, 4, N_OUT], seed=0, dtype=dtype)
    before = model.theta.tobytes()
    try:
        answer = WAYS[way](model, *given)
    except ANSWERS as error:
        assert model.theta.tobytes() == before
        return type(error), None
    return repr(np.asarray(answer, object).tolist()), model.theta.tobytes()


@pytest.mark.filterwarnings("ignore:column .* too large to learn from")  # said of 1e38, rightly
@settings(max_examples=CASES, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    st.data(), st.sampled_from([*WAYS]), st.integers(1, 9), st.sampled_from(["float32", "float64"])
)
def test_the_answer_of_a_plain_copy_or_a_typed_error(data, way, n, dtype):
    X = data.draw(arrays(n, N_IN))
    y = data.draw(arrays(n, None) | st.just(np.arange(n) % N_OUT))
    w = data.draw(st.none() | arrays(n, None) | st.just(np.ones(n)))
    assert outcome(way, (X, y, w), dtype) == outcome(way, [*map(plain, (X, y, w))], dtype)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1"])
def test_arrays_that_another_thread_changes_during_a_fit(dtype):
    """Rows, labels and weights of any value, and their shapes: no crash, and the model is whole."""
    n = 512
    X = np.ones((n, N_IN), dtype)
    y, w = np.zeros(n, np.int32), np.ones(n)
    done = threading.Event()

    def change():
        while not done.is_set():
            X[:] = 1 - X
            y[:] = 2**31 - 1 if y[0] == 0 else 0
            w[:] = -w
            y[-1] = -(2**31)

    thread = threading.Thread(target=change)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(max(3, min(CASES // 60, 100))):
            model = fastnn.Model([N_IN, 4, N_OUT], seed=0)
            for way in ("fit", "fit in part", "evaluate", "predict", "forward", "gradient"):
                try:
                    WAYS[way](model, X, y, w)
                except (*ANSWERS, ArithmeticError):
                    pass
            assert model.theta.shape == (N_IN * 4 + 4 + 4 * N_OUT + N_OUT,)
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
