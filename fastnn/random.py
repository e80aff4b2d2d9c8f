"""Random numbers that are the same on every machine and in every release.

The bits come from Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"), keyed by the seed, its counter set by what the numbers are for, and are those of NumPy's
generator of that name; the transformations are these.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastnn.checks import as_int
from fastnn.kernels._cpu import random_words

# What a stream is for: the top word of the counter but one. Append, never renumber.
WEIGHTS, SHUFFLE, GRADIENT_CHECK, DROPOUT, NOISE = 0, 1, 2, 3, 4
EMBEDDINGS, BIASES, ROWS = 5, 6, 7
FEATURES = 8  # of a stream, drawn in fastnn/online/rows.pyx
HELD_OUT = 1000  # its number from the time when only the command line held rows out
FOLDS, MEMBERS = 1001, 1002
EXPLAIN = 1003
SPREAD = 1004
SEARCH = 1005
SCALES = 1006
POINTS = 1007
_SEED_BITS = 128  # of Philox's key
_WORD = 2**64 - 1


def as_seed(seed: Any, name: str = "seed") -> int:
    """`seed` checked; None draws one from the operating system. name: in messages."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    number = as_int(name, seed, 0)
    if number >> _SEED_BITS:
        raise ValueError(f"{name} must be below 2**{_SEED_BITS}, got {number}")
    return number


def raw(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """n random words: stream number `index` of those for `purpose`."""
    words = np.empty(n, np.uint64)
    random_words(seed & _WORD, seed >> 64, purpose, index, words)
    return words


def uniform(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """n numbers of [0, 1): multiples of 2^-53, exact in float64."""
    return (raw(seed, purpose, index, n) >> np.uint64(11)) * 2.0**-53


def keys(seed: int, n: int) -> np.ndarray:
    """(2, n) uint64: of the core's generator, for dropout and for noise of n layers."""
    return np.array([[raw(seed, what, k, 1)[0] for k in range(n)] for what in (DROPOUT, NOISE)])


def normal(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """n numbers of N(0, 1): the normal distribution's quantiles of odd multiples of 2^-53.

    Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution", Applied
    Statistics 37(3), PPND16, with a logarithm of our own: relative error about 1e-15. They lie
    between -8.3 and 8.3.
    """
    p = ((raw(seed, purpose, index, n) >> np.uint64(12)) + 0.5) * 2.0**-52  # exact: 53 bits
    return normal_quantile(p)


# PPND16's coefficients, of the highest power first: numerator and denominator around the median,
# in the tails, and far out.
_CENTRE = (
    (
        *(2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4),
        *(4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3),
        *(1.3314166789178437745e2, 3.3871328727963666080e0),
    ),
    (
        *(5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4),
        *(2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2),
        *(4.2313330701600911252e1, 1.0),
    ),
)
_TAIL = (
    (
        *(7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1),
        *(1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0),
        *(4.63033784615654529590e0, 1.42343711074968357734e0),
    ),
    (
        *(1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2),
        *(1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0),
        *(2.05319162663775882187e0, 1.0),
    ),
)
_FAR = (
    (
        *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3),
        *(2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0),
        *(5.46378491116411436990e0, 6.65790464350110377720e0),
    ),
    (
        *(2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5),
        *(7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1),
        *(5.99832206555887937690e-1, 1.0),
    ),
)


def normal_quantile(p: np.ndarray) -> np.ndarray:
    """z with P(Z <= z) = p for Z of N(0, 1), 0 < p < 1; +, -, *, / and sqrt alone."""
    q = p - 0.5
    z: np.ndarray = q * _ratio(_CENTRE, 0.180625 - q * q)
    tails = np.flatnonzero(np.abs(q) > 0.425)
    r = np.sqrt(-log(np.minimum(p[tails], 1 - p[tails])))
    far = np.where(r <= 5, _ratio(_TAIL, r - 1.6), _ratio(_FAR, r - 5))
    z[tails] = np.where(q[tails] < 0, -far, far)
    return z


def _ratio(coefficients: Any, r: np.ndarray) -> np.ndarray:
    top, bottom = (np.full(r.shape, c[0]) for c in coefficients)
    for a, b in zip(coefficients[0][1:], coefficients[1][1:], strict=True):
        top = top * r + a
        bottom = bottom * r + b
    ratio: np.ndarray = top / bottom
    return ratio


def log(x: np.ndarray) -> np.ndarray:
    """ln x of positive x, by exactly rounded operations.

    x = m 2^e with m in [sqrt(1/2), sqrt(2)):  ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...) where
    s = (m - 1) / (m + 1), |s| < 0.172; the first term left out, s^23 / 23, is below 2e-19.
    """
    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)
    s = (m - 1) / (m + 1)
    square = s * s
    series = np.full(x.shape, 1 / 21)
    for k in range(19, 0, -2):
        series = series * square + 1 / k
    logarithm: np.ndarray = e * 0.6931471805599453 + 2 * s * series
    return logarithm


def permutation(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """0..n-1 in random order.

    Random keys, their low bits replaced by the index, are sorted, and the low bits taken: all keys
    differ, so every sort gives the same result.
    """
    mask = (1 << max(n - 1, 1).bit_length()) - 1
    low, high = np.uint64(mask), np.uint64(2**64 - 1 - mask)  # NumPy's ~ of a scalar may crash
    keys = raw(seed, purpose, index, n)
    keys &= high
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    keys &= low
    return keys.view(np.int64).astype(np.intp, copy=False)
