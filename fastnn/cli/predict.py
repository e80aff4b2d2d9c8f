"""``fastnn predict``: a model file and new rows -> classes and probabilities, or values."""

from __future__ import annotations

import argparse
import csv

import numpy as np

from . import _arguments, output
from ._messages import BadUse, note
from .preprocess import Classes

HELP = "predict the target of new rows"
DESCRIPTION = """Predict the target of new rows. Writes CSV with one line for each row, in their
order: the prediction, and for classes the probability of each. Columns that the model does not
read are passed over; the target need not be there."""
BLOCK_ROWS = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="file written by fastnn train")
    parser.add_argument(
        "data", help="CSV, Parquet, NPZ or NPY as trained on; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE.csv", help="where to write (default: standard output)"
    )
    _arguments.add_threads(parser)
    _arguments.add_reading(parser, target=False)


def run(args: argparse.Namespace) -> int:
    from ._model_file import load_with_data, outputs, read_like_training

    if args.output not in (None, "-"):
        output.check_writable(args.output, devices=True)
        if args.output.lower().endswith((".npz", ".npy", ".parquet", ".pq", ".gz")):
            raise BadUse(f"-o {args.output}: predictions are written as CSV; name it .csv")
    model, data = load_with_data(args.model)
    rows = read_like_training(args.data, data, _arguments.reading(args))
    f = outputs(model, data, data.inputs.transform(rows, model.dtype), args.threads)
    with output.text_file(args.output) as file:
        writer = csv.writer(file, lineterminator="\n")
        if isinstance(data.target, Classes):
            classes = data.target.classes
            writer.writerow(["prediction", *(f"P({name})" for name in classes)])
            best = f.argmax(1)
            for block, chosen in _blocks(f, best):
                names = [classes[i] for i in chosen]
                writer.writerows(zip(names, *_shortest(block).T.tolist(), strict=True))
        else:
            writer.writerow(["prediction"])
            for block, _ in _blocks(f.astype(model.dtype), f):
                writer.writerows([cell] for cell in _shortest(block).tolist())
    if args.output not in (None, "-"):
        note(f"{len(f):,} predictions written to {args.output}")
    return 0


def _blocks(first: np.ndarray, second: np.ndarray):
    for start in range(0, len(first), BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        yield first[start:stop], second[start:stop]


def _shortest(values: np.ndarray) -> np.ndarray:
    """Numbers as the shortest text that reads back as the same float32 or float64."""
    return values.astype(str)
