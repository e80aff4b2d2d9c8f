"""What is learned from: the options that say so, and rows, target and weights from the file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.checks import counted, listed
from fastnn.cli.common import arguments, output
from fastnn.cli.common.messages import BadUse, note
from fastnn.cli.common.model_file import read
from fastnn.cli.evaluate import inputs_and_targets, target_names, with_targets
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import ArrayInputs, TableInputs
from fastnn.tables.leaks import leak_notes
from fastnn.tables.table import Arrays, Table
from fastnn.tables.targets import Amount, infer_task

OF_COLUMNS = ("numeric", "categorical", "dates", "ordered", "drop")


@dataclass
class Source:
    """What the data file holds."""

    X: Table | Arrays
    y: Table
    weights: np.ndarray | None  # (n,)
    task: str
    why: str  # this task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data file, its target, and what its columns are."""
    parser.add_argument(
        "data", help="CSV (also .gz), Parquet, NPZ or NPY; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-t",
        "--target",
        metavar="NAME",
        help="column to learn (with --network A,B several); of an NPZ the array (default there: y)",
    )
    group = parser.add_argument_group("data")
    group.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="(default: classification where the target is text, has two values, or is the whole "
        "numbers from 0 or 1 up without a gap, at most 20 that come back)",
    )
    group.add_argument(
        "--drop", type=arguments.names, default=(), metavar="A,B", help="columns to leave out"
    )
    for name, what in (
        ("numeric", "numbers, in which text counts as missing"),
        ("categorical", "categories, though they may look like numbers"),
        ("dates", "dates or times, also as in 20200131"),
    ):
        group.add_argument(
            f"--{name}",
            type=arguments.names,
            default=(),
            metavar="A,B",
            help=f"columns that are {what} (default: as the cells tell)",
        )
    group.add_argument(
        "--ordered",
        type=arguments.order,
        action="append",
        default=[],
        metavar="COLUMN=LEAST,...,MOST",
        help="a column of categories in an order; may be given several times",
    )
    group.add_argument(
        "--monotone",
        type=arguments.signs,
        metavar="A=+1,B=-1",
        help="columns of numbers, or ordered ones, with which the answer (of two classes the "
        "second's probability) never falls, +1, or never rises, -1",
    )
    group.add_argument(
        "--missing-values",
        type=arguments.names,
        default=(),
        metavar="A,B",
        help="cells that mean missing, such as -999, beside those that can only mean so",
    )
    group.add_argument(
        "--sample-weight", metavar="NAME", help="column of the rows' weights, no input"
    )
    arguments.add_reading(parser, target=True)


def check_files(written: Mapping[str, str | None], read_too: Mapping[str, str | None]) -> None:
    """Refuse before any work what could not be written after it, or would overwrite something
    that is read. Paths by the options that name them."""
    taken = {os.path.realpath(path): name for name, path in read_too.items() if path}
    for option, path in written.items():
        if not path:
            if path is not None:
                raise BadUse(f"{option}: must name a file, got an empty name")
            continue
        output.check_writable(path, option)
        other = taken.setdefault(os.path.realpath(path), option)
        if other != option and (other, option) != ("--checkpoint", "--resume"):
            raise BadUse(f"{option} {path}: must be another file than {other or 'the data'}")


def read_source(args: argparse.Namespace, task: str | None = None, why: str = "") -> Source:
    """The rows whose target is there. task, why: what other options than --task ask for."""
    source = read_rows(args, args.data)
    names = names_of(args, source)
    source = with_targets(source, names)
    X, y = inputs_and_targets(source, names)
    _check_columns(args, source, names)
    if isinstance(X, Table) and args.sample_weight:
        X = X.select(name for name in X.columns if name != args.sample_weight)
    if args.task:
        task, why = str(args.task), "as --task says"
    elif task is None:
        found = [infer_task(column) for column in y.columns.values()]
        task, why = found[0][0], found[0][1] + (", ..." if len(found) > 1 else "")
    return Source(X, y, _weights(args, source), task, why)


def read_rows(args: argparse.Namespace, path: str) -> Table | Arrays:
    """A file with the columns that the options name."""
    words = (*arguments.names(args.target or ""), args.target or "", *args.categorical)
    words += tuple(name for name, _ in args.ordered)
    source = read(path, arguments.reading(args, args.target or "y", words))
    return source.without(args.missing_values)


def names_of(args: argparse.Namespace, source: Table | Arrays) -> list[str]:
    """Of the targets."""
    if isinstance(source, Table) and args.target is None:
        raise BadUse(
            f"--target must name the column to learn; {source.path} has {listed(source.columns)}"
        )
    names = target_names(source, args.target or "y")
    if len(set(names)) < len(names):
        raise BadUse(f"--target must name each column once, got {listed(names)}")
    return names


def tell_leaks(
    source: Source, drop: Collection[str], rows: np.ndarray, held_out: np.ndarray
) -> None:
    """Say how rows trained on give away those measured on."""
    if isinstance(source.X, Table):
        used = source.X.select(name for name in source.X.columns if name not in drop)
        for text in leak_notes(used, rows, held_out):
            note(text)


def of_columns(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of `fastnn.tables.learn` and of the tabular estimators."""
    return {name: getattr(args, name) for name in OF_COLUMNS} | {
        "ordered": dict(args.ordered) or None,
        "missing_values": args.missing_values,
    }


def _check_columns(args: argparse.Namespace, source: Table | Arrays, targets: list[str]) -> None:
    """Refuse options that name columns which are not for them."""
    if isinstance(source, Arrays):
        return
    for option in (*OF_COLUMNS, "monotone"):
        for name in dict(args.ordered) if option == "ordered" else getattr(args, option) or ():
            if name in targets:
                raise BadUse(f'--{option} is for inputs, "{name}" is a target')
            if name == args.sample_weight:
                raise BadUse(f'--{option} is for inputs, "{name}" is --sample-weight')
    if args.sample_weight in targets:
        raise BadUse(f'--sample-weight must be another column than the target "{targets[0]}"')


def _weights(args: argparse.Namespace, source: Table | Arrays) -> np.ndarray | None:
    """(n,) float64, none below 0."""
    name = args.sample_weight
    if name is None:
        return None
    if isinstance(source, Arrays):
        raise BadUse(f"--sample-weight names a column of a table; {source.path} holds arrays")
    weights = Amount(name).values(source, name)
    if weights.min() < 0:
        row = int(np.argmin(weights))
        raise BadUse(f"{source.where(row, name)}: a weight must be at least 0, got {weights[row]}")
    return weights


def partial(path: str) -> Path:
    """Beside a model file: where what an interrupt leaves goes."""
    whole = Path(path)
    return whole.with_name(f"{whole.stem}.partial{whole.suffix}")


# --- lines of a summary


def data_lines(source: Source, columns: Columns) -> list[tuple[str, str]]:
    """The rows, the target and what was found in the columns."""
    X, inputs = source.X, columns.inputs
    if isinstance(inputs, ArrayInputs):
        what = f"inputs of shape {'x'.join(map(str, inputs.shape))}"
    else:
        assert isinstance(inputs, TableInputs)
        what = counted(len(inputs.columns), "column")
        if inputs.width != len(inputs.columns):
            what += f" as {inputs.width} features"
    lines = [
        ("data", f"{X.path}: {counted(X.n_rows, 'row')}, {what}"),
        ("target", f"{', '.join(columns.names)}, {source.task} ({source.why})"),
    ]
    if columns.class_names is not None:
        lines.append(("classes", _class_counts(columns, source)))
    notes = inputs.notes if isinstance(inputs, TableInputs) else []
    return lines + [("" if i else "columns", note) for i, note in enumerate(notes)]


def _class_counts(columns: Columns, source: Source) -> str:
    assert columns.class_names is not None
    counts = np.bincount(columns.encode_targets(source.y), minlength=len(columns.class_names))
    shown = [f"{name} ({n:,})" for name, n in zip(columns.class_names, counts, strict=True)]
    more = f", ... ({len(shown)} in all)" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more


def source_content(args: argparse.Namespace, source: Source, columns: Columns) -> dict[str, Any]:
    """What the first lines of the summary say, for programs."""
    return {
        "fastnn": fastnn.__version__,
        "model": args.output,
        "data": source.X.path,
        "rows": source.X.n_rows,
        "target": columns.names[0] if len(columns.names) == 1 else columns.names,
        "task": source.task,
        "why": source.why,
        "found": getattr(columns.inputs, "notes", []),
    }


def print_lines(lines: list[tuple[str, str]]) -> None:
    for name, value in lines:
        print(f"{name:11} {value}".rstrip())
