"""First weights and shuffles: known bits, right limits, independent streams."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import fastnn
from fastnn._random import SHUFFLE, WEIGHTS, permutation, raw, uniform


def philox(counter, key):
    """Philox 4x64-10 in plain integers (Salmon et al. 2011, section 3.3 and table 2)."""
    mask = 2**64 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


@pytest.mark.parametrize("seed", [0, 1, 2**64 + 5, 2**128 - 1])
def test_raw_is_philox(seed):
    got = raw(seed, SHUFFLE, 3, 10).tolist()
    key = (seed % 2**64, seed >> 64)
    # NumPy steps the counter before each block of four words.
    want = [w for block in (1, 2, 3) for w in philox((block, 0, SHUFFLE, 3), key)]
    assert got == want[:10]


def test_uniform_is_in_the_unit_interval():
    u = uniform(0, WEIGHTS, 1, 100_000)
    assert 0 <= u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1
    assert abs(u.mean() - 0.5) < 5 / np.sqrt(12 * u.size)
    assert (u * 2.0**53 == np.floor(u * 2.0**53)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 255, 256, 257, 1000])
def test_permutation(n):
    order = permutation(5, SHUFFLE, 0, n)
    assert order.dtype == np.intp
    assert sorted(order.tolist()) == list(range(n))
    if n > 100:
        assert (order != permutation(5, SHUFFLE, 1, n)).any()
        assert (order != permutation(6, SHUFFLE, 0, n)).any()


def test_permutations_are_uniform():
    """Each of 3! orders in 6000 draws: a chi-squared of 5 degrees, below 20.5 in 99.9%."""
    counts = np.zeros(27)
    for index in range(6000):
        counts[permutation(0, SHUFFLE, index, 3) @ [9, 3, 1]] += 1
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("activation", "limit"),
    [
        *((g, (6 / 50) ** 0.5) for g in ("relu", "elu", "softplus", "gelu", "silu", "mish")),
        *((g, (6 / 130) ** 0.5) for g in ("identity", "sigmoid", "tanh", "hard_tanh")),
        ("leaky_relu", (6 / 50 / 1.0001) ** 0.5),
        (fastnn.LeakyReLU(0.5), (6 / 50 / 1.25) ** 0.5),
        ("selu", (3 / 50) ** 0.5),
    ],
)
def test_limits(activation, limit, dtype):
    model = fastnn.Model([50, 80, 10], activation=activation, dtype=dtype, seed=0)
    assert 0.99 * limit < abs(model.W[0]).max() <= limit * (1 + 1e-7)
    assert 0.95 * (6 / 90) ** 0.5 < abs(model.W[1]).max() <= (6 / 90) ** 0.5 * (1 + 1e-7)
    assert not model.b[0].any() and not model.b[1].any()


def test_seeds():
    def theta(seed):
        return fastnn.Model([4, 5, 3], seed=seed).theta

    assert (theta(3) == theta(3)).all() and (theta(3) == theta(np.int64(3))).all()
    assert (theta(3) != theta(4)).any()
    drawn = fastnn.Model([4, 5, 3])
    assert (theta(drawn.seed) == drawn.theta).all()
    assert drawn.seed != fastnn.Model([4, 5, 3]).seed
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        theta(-1)
    with pytest.raises(ValueError, match=r"seed must be below 2\*\*128"):
        theta(2**128)
    with pytest.raises(TypeError, match=r"seed must be an integer, got 1.5"):
        theta(1.5)


def test_float32_is_float64_rounded():
    one, two = (fastnn.Model([9, 7, 2], dtype=d, seed=8) for d in ("float32", "float64"))
    assert (one.theta == two.theta.astype(np.float32)).all()


def test_golden_bits():
    """The same first weights and shuffles on every machine and in every release."""
    theta = fastnn.Model([13, 11, 5], activation="relu", dtype="float64", seed=42).theta
    order = permutation(42, SHUFFLE, 7, 1000)
    digest = hashlib.sha256(theta.astype("<f8").tobytes() + order.astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "8d1f1cb3531c37c401e43941a621c628511d9db37781ad009888c9bccf506087"
    )
