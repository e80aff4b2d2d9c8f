"""Files whose header stays whole while its values change: what random bytes seldom reach.

A model's header is JSON that holds JSON; a value in any place of any of them becomes another one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

ODD = [
    None, True, False, -1, 0, 1, 2, 3, 0.5, -0.0, 255, 2**31, 2**53, 2**63, 2**64, 10**400, 1e308,
    "", "x", "a", ",float32", "f4", "F64", "<U9", "nan", "relu", "name", [], [[]], [None], [-1],
    [0], [1, 2], [10**400], ["x"] * 50, {}, {"name": "elu"}, {"x": {}}, {"name": []}, [[[[]]]],
    {"name": "elu", "alpha": 10**400}, {"name": "batch", "momentum": 10**400},
    {"name": "quantile", "q": [0.5] * 9},
]  # fmt: skip


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to every value of a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


def at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def with_odd(value: Any, path: tuple, odd: Any) -> Any:
    """A copy with another value in one place."""
    if not path:
        return odd
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_odd(value[path[0]], path[1:], odd)
    return copied


def joined(header: Any, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def parted(data: bytes) -> tuple[Any, bytes]:
    """Header and body; ValueError where there are none."""
    n = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + n]), data[8 + n :]


def changed(value: Any, rng: random.Random) -> Any:
    """A JSON value with a change in one place."""
    path = rng.choice([*places(value)])
    here = at(value, path)
    inner = None
    if isinstance(here, str) and here[:1] in ("{", "["):
        try:
            inner = json.loads(here)
        except ValueError:
            pass
    if inner is not None:
        new = json.dumps(changed(inner, rng))
    elif type(here) in (int, float) and rng.random() < 0.5:
        new = rng.choice([here + 1, here - 1, -here, here * 2, float(here), str(here)])
    elif isinstance(here, dict) and here and rng.random() < 0.5:
        new = dict(here)
        one = new.pop(rng.choice([*here]))
        if rng.random() < 0.5:
            new[rng.choice([*here, "x"])] = one
    elif isinstance(here, list) and here and rng.random() < 0.5:
        new = here + here[:1] if rng.random() < 0.5 else here[1:]
    elif rng.random() < 0.3:
        new = at(value, rng.choice([*places(value)]))
    else:
        new = rng.choice(ODD)
    return with_odd(value, path, new)


def mutated(data: bytes, seed: int) -> bytes | None:
    """A model file, its header changed in one place or a few; None of what is none."""
    rng = random.Random(seed)
    try:
        header, body = parted(data)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            # the texts in __metadata__ as often as the tensors
            if isinstance(header, dict) and "__metadata__" in header and rng.random() < 0.7:
                header = header | {"__metadata__": changed(header["__metadata__"], rng)}
            else:
                header = changed(header, rng)
        return joined(header, body)
    except (ValueError, OverflowError, RecursionError):
        return None
