"""What the command line says on standard error, and the exception that ends it in one line."""

from __future__ import annotations

import sys


class BadUse(Exception):
    """The user can put it right: a wrong argument or a wrong data file. Exit status 2."""


class Failure(Exception):
    """Nothing wrong with what was asked, but it did not work. Exit status 1."""


def warn(text: str) -> None:
    print(f"fastnn: warning: {text}", file=sys.stderr)


def note(text: str) -> None:
    print(f"fastnn: {text}", file=sys.stderr)


def listed(names, limit: int = 12) -> str:
    """'"a", "b", "c"', cut off after `limit` names."""
    names = list(names)
    text = ", ".join(f'"{name}"' for name in names[:limit])
    return f"{text}, ... ({len(names)} in all)" if len(names) > limit else text


def counted(n: int, thing: str, things: str | None = None) -> str:
    """'1 row', '12,000 rows'."""
    return f"{n:,} {thing if n == 1 else things or thing + 's'}"
