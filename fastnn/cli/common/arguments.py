"""Argument types and groups that several commands share."""

from __future__ import annotations

import argparse
import codecs
import functools
import math
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any


def positive_int(text: str) -> int:
    value = _int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def port(text: str) -> int:
    value = _int(text)
    if not 0 <= value < 2**16:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 65536, got {text}")
    return value


def seed(text: str) -> int:
    value = _int(text)
    if not 0 <= value < 2**128:
        raise argparse.ArgumentTypeError(f"must be at least 0 and below 2**128, got {text}")
    return value


def positive_float(text: str) -> float:
    value = _float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def positive_or_0(text: str) -> float:
    value = _float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text}")
    return value


def fraction(text: str) -> float:
    value = _float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be in [0, 1), got {text}")
    return value


def share(text: str) -> float:
    value = _float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, got {text}")
    return value


def seconds(text: str) -> float:
    """'90', '90s', '1.5m', '1h' -> seconds."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in ("s", "m", "h") else (text, "s")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f'must be a time above 0, such as 90, 90s, 10m or 1h, got "{text}"'
        )
    return value * {"s": 1, "m": 60, "h": 3600}[unit]


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


class OneOf:
    """A type: one of the known names, with - for _ where one likes; of those in `settings` also
    name:number, which becomes the object with this setting."""

    def __init__(
        self,
        known: Collection[str],
        settings: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
    ) -> None:
        self.known, self.settings = known, settings

    def __call__(self, text: str) -> Any:
        name, colon, value = text.strip().partition(":")
        name = name.replace("-", "_")
        if name not in self.known:
            known = ", ".join(self.known)
            raise argparse.ArgumentTypeError(f'must be one of {known}, got "{text}"')
        if not colon:
            return name
        if name not in self.settings:
            raise argparse.ArgumentTypeError(f'{name} takes no number, got "{text}"')
        try:
            return self.settings[name](_float(value))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None


def several(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A type: values of `kind` with commas between them."""

    @functools.wraps(kind)  # with the names that it knows
    def split(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    return split


def class_weights(text: str) -> str | dict[str, float]:
    """'balanced', or 'yes=5,no=1' -> {"yes": 5.0, "no": 1.0}."""
    if text == "balanced":
        return text
    weights = {}
    for part in text.split(","):
        name, equals, weight = part.rpartition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f'must be balanced or CLASS=WEIGHT,..., got "{text}"')
        weights[name.strip()] = positive_or_0(weight)
    return weights


def hidden_sizes(text: str) -> tuple[int, ...]:
    """'128,64' -> (128, 64); 'none' -> (): the inputs go straight to the outputs."""
    if text.strip().lower() in ("none", "0", ""):
        return ()
    return tuple(positive_int(part) for part in text.split(","))


def order(text: str) -> tuple[str, list[str]]:
    """'size=S,M,L' -> ("size", ["S", "M", "L"])."""
    name, equals, categories = text.partition("=")
    if not equals or not names(categories):
        raise argparse.ArgumentTypeError(f'must be COLUMN=LEAST,...,MOST, got "{text}"')
    return name.strip(), [*names(categories)]


def signs(text: str) -> dict[str, int]:
    """'age=+1,price=-1' -> {"age": 1, "price": -1}."""
    held: dict[str, int] = {}
    for part in names(text):
        name, _, sign = part.rpartition("=")
        name, sign = name.strip(), sign.strip()
        if not name or name in held or sign not in ("1", "+1", "-1"):
            raise argparse.ArgumentTypeError(
                f'must be COLUMN=+1 or COLUMN=-1, each column once, got "{part}"'
            )
        held[name] = int(sign)
    return held


def encoding(text: str) -> str:
    try:
        codecs.lookup(text)
    except LookupError:
        raise argparse.ArgumentTypeError(
            f'must be an encoding such as utf-8, latin-1 or utf-16, got "{text}"'
        ) from None
    return text


def delimiter(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t", "space": " "}.get(text, text)
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f'must be one character, "tab" or "space", got "{text}"')
    return text


def option(name: str) -> str:
    """'batch_size' -> "--batch-size"."""
    return "--" + name.replace("_", "-")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be a whole number, got "{text}"') from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'must be a number, got "{text}"') from None


def add_reading(parser: argparse.ArgumentParser, target: bool) -> None:
    """How the data file is read; `target`: the command reads a target too."""
    group = parser.add_argument_group("reading the data file")
    group.add_argument(
        "--delimiter",
        type=delimiter,
        metavar="CHAR",
        help='between the cells of a CSV, "tab" for tabs, "space" for blanks (default: the '
        "commonest of , ; tab | in the first line, or blanks)",
    )
    group.add_argument(
        "--encoding",
        type=encoding,
        metavar="NAME",
        help="of a CSV (default: found: UTF-8, UTF-16, or else Windows-1252, which is said)",
    )
    group.add_argument(
        "--no-header",
        action="store_true",
        help="the first line of a CSV is data; columns are called column_1, column_2, ...",
    )
    group.add_argument(
        "--x-name", metavar="NAME", help="array of an NPZ with the inputs (default: X)"
    )
    if target:
        group.add_argument(
            "--target-file", metavar="FILE.npy", help="the target, where the inputs are an NPY"
        )


def add_threads(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--threads", type=positive_int, metavar="N", help="(default: the processors at hand)"
    )


def reading(
    args: argparse.Namespace, y_name: str | None = None, words: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What `fastnn.tables.read` takes."""
    return dict(
        delimiter=args.delimiter,
        header=not args.no_header,
        encoding=args.encoding,
        x_name=args.x_name,
        y_name=y_name,
        target_file=getattr(args, "target_file", None),
        words=words,
    )
