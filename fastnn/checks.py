"""Checks of plain arguments: what must hold, what came; and the words that tell it."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Iterable
from typing import Any


def name_of(choice: Any) -> str:
    """Of an activation or loss: a name itself, or an object that carries settings."""
    return choice if isinstance(choice, str) else choice.name


ELSEWHERE = {  # what other libraries call arguments
    "lr": "learning_rate",
    "learning_rate_init": "learning_rate",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_iter": "epochs",
    "batch": "batch_size",
    "class_weights": "class_weight",
    "sample_weights": "sample_weight",
    "weights": "sample_weight",
    "eps": "epsilon",
    "betas": "beta1",
    "rho": "decay",
    "alpha": "l2",
}


def refuse_unknown(what: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse keywords that `what` does not have, and name the one that may be meant."""
    for name in given:
        if name in known:
            continue
        meant = ELSEWHERE.get(name)
        if meant not in known:
            from difflib import get_close_matches  # here: it makes an import slower

            meant = next(iter(get_close_matches(name, known, 1)), None)
        told = f"; is it {meant}?" if meant else f"; it takes {', '.join(known)}"
        raise TypeError(f"{what}() got an unexpected keyword argument {name!r}{told}")


def as_int(name: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    return number


def as_real(name: str, value: Any, minimum: float = 0.0, below: float = math.inf) -> float:
    """`value` as a finite float with minimum <= value < below."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not minimum <= number < below:
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{name} must be at least {minimum:g} and {limit}, got {number}")
    return number


def as_bool(name: str, value: Any) -> bool:
    """`value` as a bool; other kinds are refused, so that no argument lands in the wrong place."""
    if value is not True and value is not False and type(value).__name__ not in ("bool", "bool_"):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_name(name: str, value: Any, known: Collection[str]) -> str:
    """`value`, which must be one of the known names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name ({', '.join(known)}), got {value!r}")
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def listed(names: Iterable[Any], limit: int = 12) -> str:
    """'"a", "b", "c"', cut off after `limit` names."""
    names = list(names)
    text = ", ".join(f'"{name}"' for name in names[:limit])
    return f"{text}, ... ({len(names)} in all)" if len(names) > limit else text


def counted(n: int, thing: str, things: str | None = None) -> str:
    """'1 row', '12,000 rows'."""
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"
