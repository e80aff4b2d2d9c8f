"""Files of others: those that are kept in fuzz/corpus, and changes of them, read or refused.

`make fuzz` looks for more.
"""

from __future__ import annotations

import random

import pytest
from fuzz import odd, targets

import fastnn

NEEDS = {"parquet": "pyarrow", "onnx": "onnx"}
SEEDS = [(path.parent.name, path) for path in sorted(targets.CORPUS.glob("*/*"))]


@pytest.mark.parametrize(("name", "path"), SEEDS, ids=lambda value: getattr(value, "name", value))
def test_files_that_are_kept(name, path, tmp_path):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    if name == "library" and not has_library():
        pytest.skip("this build has no library for C")
    data = path.read_bytes()
    targets.tried(name, data, tmp_path)
    for n in range(0, len(data), len(data) // 5 + 1):
        targets.tried(name, data[:n], tmp_path)
    rng = random.Random(0)
    for _ in range(10):
        spoilt = bytearray(data)
        spoilt[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        targets.tried(name, bytes(spoilt), tmp_path)


def has_library():
    try:
        return bool(fastnn.get_library())
    except FileNotFoundError:
        return False


def test_every_target_has_files():
    assert {name for name, _ in SEEDS} == set(targets.TARGETS)


@pytest.mark.parametrize("name", ["model", "ensemble"])
def test_headers_that_say_something_else(name, tmp_path):
    """Columns, networks, settings: whatever stands in their places, nothing goes wrong."""
    files = [path.read_bytes() for of, path in SEEDS if of == name]
    for seed in range(600):
        data = odd.mutated(files[seed % len(files)], seed)
        if data is not None:
            targets.tried(name, data, tmp_path)
