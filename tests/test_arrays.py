"""User arrays: every kind of right one is taken, every kind of wrong one is named."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastnn.kernels import _cpu
from fastnn.network.arrays import as_dense, as_features, as_pair, as_targets
from fastnn.network.spec import as_network


def network(n_in=3, n_out=4, output="softmax", loss=None, dtype="float32"):
    return as_network([n_in, n_out], "relu", output, loss, True, dtype)


NUMBERS = ["?", "i1", "u1", "<i4", ">i4", "<u8", ">i8", "<f2", "<f4", ">f4", "<f8", ">f8", "g"]


@st.composite
def awkward(draw, shape):
    """Small whole numbers of some dtype, in some order, stride, alignment and writability."""
    dtype = np.dtype(draw(st.sampled_from(NUMBERS)))
    values = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 1)))
    array = values.astype(dtype)
    layout = draw(st.sampled_from(["C", "F", "step", "reversed", "unaligned", "read-only", "list"]))
    if layout == "F":
        array = np.asfortranarray(array)
    elif layout == "step":
        wide = np.zeros((2 * shape[0], 3 * shape[1]), dtype)
        wide[::2, ::3] = array
        array = wide[::2, ::3]
    elif layout == "reversed":
        array = np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    elif layout == "unaligned":
        raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
        raw[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        array = raw.view(dtype).reshape(shape)
    elif layout == "read-only":
        array.flags.writeable = False
    elif layout == "list":
        array = array.tolist()
    return values, array


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.sampled_from(["float32", "float64"]))
def test_features_of_any_layout(data, n, n_in, dtype):
    values, array = data.draw(awkward((n, n_in)))
    net = network(n_in, dtype=dtype)
    X = as_features(array, net)
    assert X.dtype.isnative and X.flags.aligned
    if isinstance(array, np.ndarray) and array.flags.aligned and array.dtype.isnative:
        kinds = ["bool", *_cpu.KINDS]
        assert np.may_share_memory(X, array) == (array.dtype.name in kinds)
    dense = as_dense(X, net)
    assert dense.dtype == dtype and dense.flags.c_contiguous and dense.flags.aligned
    np.testing.assert_array_equal(dense, values)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_targets_of_any_layout(data, n):
    values, array = data.draw(awkward((n, 1)))
    y = as_targets(array, network(n_out=1, output="sigmoid", dtype="float64"))
    assert (y.dtype == "float64" and y.flags.carray) or not y.flags.writeable
    np.testing.assert_array_equal(y, values)
    column = [row[0] for row in array] if isinstance(array, list) else array[:, 0]
    labels = as_targets(column, network(n_out=2))
    assert labels.dtype == np.int32 and labels.flags.c_contiguous
    np.testing.assert_array_equal(labels, values[:, 0])


@settings(max_examples=100, deadline=None)
@given(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
def test_features_of_any_other_shape_are_refused(shape):
    X = np.zeros(shape)
    if len(shape) == 2 and shape[1] == 3 and shape[0] > 0:
        assert as_features(X, network()) is not None
    else:
        with pytest.raises(ValueError, match=r"^X must have "):
            as_features(X, network())


def test_right_arrays_are_not_copied():
    X, y = np.ones((5, 3), np.float32), np.ones((5, 4), np.float32)
    net = network(output="identity")
    assert as_features(X, net) is X
    assert as_targets(y, net) is y


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_unaligned_arrays_are_copied(dtype):
    raw = np.zeros(6 * np.dtype(dtype).itemsize + 1, np.uint8)[1:]
    array = raw.view(dtype).reshape(2, 3)
    assert not array.flags.aligned
    assert as_features(array, network(dtype=dtype)).flags.aligned
    data = raw.view(dtype)[:3]
    matrix = SimpleNamespace(indptr=[0, 2, 3], indices=[0, 2, 1], data=data, shape=(2, 3))
    assert as_features(matrix, network(dtype=dtype)).data.flags.aligned
    labels = raw[:8].view(np.int32)
    assert not labels.flags.aligned and as_targets(labels, network()).flags.aligned


@pytest.mark.parametrize(
    "bad",
    [
        np.ones((2, 3), object),
        np.ones((2, 3), complex),
        np.full((2, 3), "1"),
        np.full((2, 3), b"1"),
        np.zeros((2, 3), "datetime64[s]"),
        np.zeros((2, 3), "timedelta64[s]"),
        np.zeros(2, [("a", float)]),
        None,
        "X",
        {"a": 1},
        [[1, None, 2]],
    ],
)
@pytest.mark.parametrize("name", ["X", "y"])
def test_wrong_kinds(bad, name):
    good = np.zeros((2, 3))
    with pytest.raises(TypeError, match=f"^{name} must be real numbers, got dtype "):
        pair = (bad, [0, 1]) if name == "X" else (good, bad)
        as_pair(*pair, network())


def test_ragged_masked_and_sparse():
    with pytest.raises(ValueError, match="X must be an array of numbers"):
        as_features([[1, 2, 3], [1, 2]], network())
    with pytest.raises(TypeError, match="masked"):
        as_features(np.ma.masked_equal(np.ones((2, 3)), 1), network())
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="toarray"):
        as_targets(sparse.csr_matrix(np.ones((2, 4))), network())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64", ">f8"])
def test_not_finite_is_found(value, dtype):
    X = np.ones((50, 3), dtype)
    X[41, 2] = value
    with pytest.raises(ValueError, match=f"X must be finite, got {value} in row 41, column 2"):
        as_features(X, network())
    y = np.ones((50, 4), dtype)
    y[7, 1] = value
    with pytest.raises(ValueError, match=f"y must be finite, got {value} in row 7, column 1"):
        as_targets(y, network(output="identity"))


def test_infinities_that_cancel_are_found():
    X = np.zeros((9, 3))
    X[2, 1], X[5, 0] = np.inf, -np.inf
    with pytest.raises(ValueError, match="got inf in row 2, column 1"):
        as_features(X, network())


def test_large_values_are_finite():
    X = np.full((100, 3), 3e38, np.float32)  # the sum overflows, no value does
    assert as_features(X, network()) is X
    with pytest.raises(ValueError, match=r"finite in float32, got 1e[+]300 in row 1, column 0"):
        as_features([[0, 0, 0], [1e300, 0, 0]], network())


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 1, 4], "y must hold labels 0 to 3, got 4 in row 2"),
        ([0, -1, 2], "y must hold labels 0 to 3, got -1 in row 1"),
        (np.array([0, 255], np.uint8), "y must hold labels 0 to 3, got 255 in row 1"),
        (np.array([0, 2**63], np.uint64), "got 9223372036854775808 in row 1"),
        ([0, 2.5, 1], "y must hold whole numbers as labels, got 2.5 in row 1"),
        ([0, np.nan, 1], "y must hold whole numbers as labels, got nan in row 1"),
        ([0, np.inf, 1], "y must hold labels 0 to 3, got inf in row 1"),
        ([[0, 1]], r"y must have shape \(n,\), labels 0 to 3, or \(n, 4\), got \(1, 2\)"),
        (5, r"y must have shape .*, got \(\)"),
        ([], r"y must have at least one row, got shape \(0,\)"),
        (np.zeros((0, 4)), r"y must have at least one row, got shape \(0, 4\)"),
        ([[0.5, 0.5, 0, 0.1]], "rows of y must sum to 1 .*, got 1.1.* in row 0"),
        ([[0.5, 0.5, 0, 0], [1.5, -0.5, 0, 0]], "distributions, got -0.5 in row 1, column 1"),
    ],
)
def test_wrong_labels(y, message):
    with pytest.raises(ValueError, match=message):
        as_targets(y, network())


def test_labels_as_floats_bools_and_distributions():
    assert as_targets([0.0, 3.0], network()).tolist() == [0, 3]
    assert as_targets([True, False], network()).tolist() == [1, 0]
    rows = as_targets([[0.25, 0.25, 0.5, 0]], network())
    assert rows.tolist() == [[0.25, 0.25, 0.5, 0]]
    # squared error asks for no distribution
    assert as_targets([[3, -1, 0, 0]], network(loss="squared_error")).shape == (1, 4)


def test_sigmoid_targets():
    with pytest.raises(ValueError, match=r"y must lie in \[0, 1\] .*, got 1.5 in row 1"):
        as_targets([0, 1.5], network(n_out=1, output="sigmoid"))
    with pytest.raises(ValueError, match=r"got -1.0 in row 1"):
        as_targets([[0, 1], [0, -1]], network(n_out=2, output="sigmoid"))
    with pytest.raises(ValueError, match=r"shape \(n, 2\), got \(2,\)"):
        as_targets([0, 1], network(n_out=2, output="sigmoid"))
    assert as_targets([0, 5], network(n_out=1, output="sigmoid", loss="squared_error")).size == 2


def test_two_classes_with_one_softmax_output_get_a_hint():
    with pytest.raises(ValueError, match='output="sigmoid"'):
        network(n_out=1)


def test_lengths_differ():
    with pytest.raises(ValueError, match=r"X and y must have as many rows .*, got 2 and 3"):
        as_pair(np.zeros((2, 3)), [0, 1, 2], network())


def test_one_sample_gets_a_hint():
    with pytest.raises(
        ValueError, match=r"X must have shape \(n, 3\), got \(3,\); .* X\[None, :\]"
    ):
        as_features(np.zeros(3), network())
