"""Files and arrays that nobody in his right mind would give."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from fuzz import odd, targets

from reliability.promises import Seen, promise

FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """With bytes changed, left out, put in or cut off."""
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 8])):
        i, way = rng.randrange(len(made) + 1), rng.random()
        if way < 0.5 and i < len(made):
            made[i] = rng.choice([rng.randrange(256), 0, 255, made[i] ^ 1 << rng.randrange(8)])
        elif way < 0.65:
            del made[i : i + rng.randrange(1, 9)]
        elif way < 0.8:
            made[i:i] = made[rng.randrange(len(made) + 1) :][: rng.randrange(1, 30)]
        elif way < 0.9:
            made[i:i] = rng.randbytes(rng.randrange(1, 9))
        else:
            del made[i:]
    return bytes(made)


def of_kinds(names: list[str], n: int) -> Seen:
    rng, bad = random.Random(0), 0
    paths = [(name, path) for name in names for path in sorted((targets.CORPUS / name).iterdir())]
    files = [(name, path.read_bytes()) for name, path in paths]
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        for i in range(n):
            name, data = files[i % len(files)]
            header = odd.mutated(data, i) if name in ("model", "ensemble") and i % 4 else None
            try:
                targets.tried(name, header or spoilt(data, rng), Path(folder))
            except Exception as error:
                bad += 1
                print(f"{name} {i}: {type(error).__name__}: {error}")
    return Seen(f"{n:,} files, {bad} neither", bad == 0)


@promise(
    "a model file or an ensemble of somebody else",
    "loads and answers, or ModelFileError in one line",
    "each of 100,000 changed files",
    count=100_000,
    limit=1800,
)
def hostile_models(n: int) -> Seen:
    return of_kinds(["model", "ensemble"], n)


@promise(
    "a CSV, NPZ, NPY, Parquet or ONNX file of somebody else",
    "is read, or TableError or ModelFileError in one line",
    "each of 100,000 changed files",
    count=100_000,
    limit=1800,
)
def hostile_data(n: int) -> Seen:
    return of_kinds(["csv", "npz", "npy", "parquet", "onnx"], n)
