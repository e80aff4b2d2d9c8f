"""Random numbers that are the same on every machine and in every release.

The bits come from Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3"), keyed by the seed, its counter set by what the numbers are for; only NumPy's raw stream
is used, and the transformations are these.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastnn._checks import as_int

# What a stream is for: the top word of the counter but one. Append, never renumber.
WEIGHTS, SHUFFLE, GRADIENT_CHECK, DROPOUT, NOISE = 0, 1, 2, 3, 4
_SEED_BITS = 128  # of Philox's key


def as_seed(seed: Any) -> int:
    """`seed` checked; None draws one from the operating system."""
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    seed = as_int("seed", seed, 0)
    if seed >> _SEED_BITS:
        raise ValueError(f"seed must be below 2**{_SEED_BITS}, got {seed}")
    return seed


def raw(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """n random words: stream number `index` of those for `purpose`."""
    from numpy.random import Philox  # here: it costs an import 10 ms

    words = 2**64 - 1
    key = np.array([seed & words, seed >> 64], np.uint64)
    return Philox(counter=np.array([0, 0, purpose, index], np.uint64), key=key).random_raw(n)


def uniform(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """n numbers of [0, 1): multiples of 2^-53, exact in float64."""
    return (raw(seed, purpose, index, n) >> np.uint64(11)) * 2.0**-53


def keys(seed: int, n: int) -> np.ndarray:
    """(2, n) uint64: of the core's generator, for dropout and for noise of n layers."""
    return np.array([[raw(seed, what, k, 1)[0] for k in range(n)] for what in (DROPOUT, NOISE)])


def permutation(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """0..n-1 in random order.

    Random keys, their low bits replaced by the index, are sorted, and the low bits taken: all keys
    differ, so every sort gives the same result.
    """
    low = np.uint64((1 << max(n - 1, 1).bit_length()) - 1)
    keys = raw(seed, purpose, index, n)
    keys &= ~low
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    keys &= low
    return keys.astype(np.intp)
