"""What a file says of columns -> dataclasses, each of whose fields is of the kind that they name.

Compiled code reckons with them: what is of another kind never reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def _is_float(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MOST  # NaN is not


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) in (list, tuple) and all(map(holds, value))


MOST = math.nextafter(math.inf, 0)  # of float64
HOLDS: dict[Any, Callable[[Any], bool]] = {  # by the annotation of a field
    "str": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "int": _is_count,
    "float": _is_float,
}
HOLDS |= {f"list[{kind}]": _list_of(holds) for kind, holds in HOLDS.items()}
HOLDS |= {f"{kind} | None": holds for kind, holds in HOLDS.items()}
HOLDS["tuple[int, ...]"] = HOLDS["list[int]"]


def made(cls: Callable[..., T], saved: Mapping[str, Any], **more: Any) -> T:
    """The dataclass `cls` of the fields in `saved` and of those that are made already.

    Raises ValueError, TypeError.
    """
    kinds = {one.name: one.type for one in fields(cls) if one.init}  # type: ignore[arg-type]
    for name, value in saved.items():
        if name not in kinds or name in more:
            raise ValueError(f"{name!r:.50} is no field of it")
        kind = str(kinds[name])
        empty = value is None and kind.endswith(" | None")
        if not (empty or HOLDS[kind](value)):
            raise ValueError(f"{name} must be {kind}, got {value!r:.50}")
    return cls(**saved, **more)
