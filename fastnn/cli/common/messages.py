"""What the command line says on standard error, and the exception that ends it in one line."""

from __future__ import annotations

import sys


class BadUse(Exception):
    """The user can put it right: a wrong argument or a wrong data file. Exit status 2."""


class Failure(Exception):
    """Nothing wrong with what was asked, but it did not work. Exit status 1."""


def warn(message: Warning | str, *place: object) -> None:
    """Also in place of `warnings.showwarning`, whose file and line nobody needs here."""
    print(f"fastnn: warning: {message}", file=sys.stderr)


def note(text: str) -> None:
    print(f"fastnn: {text}", file=sys.stderr)
