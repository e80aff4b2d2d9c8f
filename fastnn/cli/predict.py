"""``fastnn predict``: a model file and new rows -> classes and probabilities, or values."""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.cli.common import arguments, output
from fastnn.cli.common.messages import BadUse, note
from fastnn.errors import optional
from fastnn.tables.columns import Columns
from fastnn.tables.targets import Classes

HELP = "predict the target of new rows"
DESCRIPTION = """Predict the target of new rows. Writes a line for each row, in their order: the
prediction, for classes the probability of each, and with --coverage what else is possible. Columns
that the model does not read are passed over; the target need not be there. FILE is a CSV, or by its
name's end a Parquet or NPZ."""
BLOCK_ROWS = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, or an ONNX file")
    parser.add_argument(
        "data", help="CSV, Parquet, NPZ or NPY as trained on; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to write (default: CSV to standard output)"
    )
    parser.add_argument(
        "--coverage",
        type=arguments.share,
        metavar="SHARE",
        help="write what holds the truth in this share of rows, too, such as 0.9: low and high of "
        "amounts, and for each class whether it is possible (of an ensemble)",
    )
    arguments.add_threads(parser)
    arguments.add_reading(parser, target=False)


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.common.model_file import (
        gives_probabilities,
        is_ensemble,
        load_with_columns,
        outputs,
        read_like_training,
    )

    to_file = args.output not in (None, "-")
    if to_file:
        output.check_writable(args.output, devices=True)
    write = writer_of(args.output) if to_file else write_csv
    model, columns = load_with_columns(args.model)
    if args.coverage and not is_ensemble(model):
        raise BadUse(f"--coverage is of an ensemble, {args.model} holds one network")
    rows = read_like_training(args.data, columns, arguments.reading(args))
    f = outputs(model, columns, rows, args.threads)
    if columns.amounts:
        f = f.astype(getattr(model, "dtype", "float64"))
    written = table(columns, f, gives_probabilities(model))
    if args.coverage:
        written |= certainty(model, columns, rows, args.coverage)
    write(args.output or "-", written)
    if to_file:
        note(f"{len(f):,} predictions written to {args.output}")
    return 0


def table(columns: Columns, f: np.ndarray, probabilities: bool) -> dict[str, np.ndarray]:
    """Columns (n,) by name: numbers, or names of classes."""
    written: dict[str, Any] = {}
    names = columns.class_names
    if names is not None:
        written["prediction"] = np.array(names)[f.argmax(1)]
        if probabilities:
            written |= {f"P({name})": p for name, p in zip(names, f.T, strict=True)}
        return written
    more = {}
    for target, one in zip(columns.targets, f.T, strict=True):
        name = target.name if len(columns.targets) > 1 else "prediction"
        written[name] = one
        if isinstance(target, Classes):
            written[name] = np.array(target.classes)[(one > 0.5).astype(int)]
            more[f"P({target.name}={target.classes[1]})"] = one
    return written | more


def certainty(model: Any, columns: Columns, rows: Any, coverage: float) -> dict[str, np.ndarray]:
    """Columns (n,) of what holds the truth in this share of rows."""
    if columns.amounts:
        low, high = model.predict_interval(rows, coverage).T
        return {"low": low, "high": high}
    names = columns.class_names or []
    sets = model.predict_set(rows, coverage).T
    return {f"in({name})": one for name, one in zip(names, sets, strict=True)}


# --- files


def writer_of(path: str) -> Callable[[str, dict[str, np.ndarray]], None]:
    """The function that writes columns to a file of this name; refuses what none does."""
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        return write_npz
    if suffix in (".parquet", ".pq"):
        optional("pyarrow.parquet", f"-o {path}: Parquet")  # better missed now than after the work
        return write_parquet
    if suffix in ("", ".csv"):
        return write_csv
    raise BadUse(f"-o {path}: predictions are written as .csv, .parquet or .npz")


def write_csv(path: str, columns: dict[str, np.ndarray]) -> None:
    n = len(next(iter(columns.values())))
    with output.text_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for start in range(0, n, BLOCK_ROWS):
            block = (c[start : start + BLOCK_ROWS] for c in columns.values())
            # Numbers as the shortest text that reads back as the same float32 or float64.
            writer.writerows(zip(*(c.astype(str).tolist() for c in block), strict=True))


def write_parquet(path: str, columns: dict[str, np.ndarray]) -> None:
    import pyarrow
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), content)
    output.replace_bytes(path, content.getvalue())


def write_npz(path: str, columns: dict[str, np.ndarray]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:  # np.savez takes no column called "file"
        for name, values in columns.items():
            with file.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
    output.replace_bytes(path, content.getvalue())
