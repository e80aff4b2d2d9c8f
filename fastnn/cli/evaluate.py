"""``fastnn evaluate``: how well a model file predicts rows whose target is known."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np

from fastnn.checks import counted, listed
from fastnn.cli.common import arguments, metrics, output
from fastnn.cli.common.messages import BadUse, note
from fastnn.report import scores
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import TableInputs
from fastnn.tables.table import Arrays, Table
from fastnn.tables.targets import Classes, check_target

HELP = "measure a model on rows whose target is known"
DESCRIPTION = """Measure a model on rows whose target is known: accuracy, confusion matrix and
precision, recall and F1 of each class; or RMSE, MAE and r2. Of several targets, of each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, or an ONNX file")
    parser.add_argument(
        "data", help="CSV, Parquet, NPZ or NPY as trained on; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-t",
        "--target",
        metavar="A,B",
        help="columns, or array of an NPZ, with the targets (default: their names in training)",
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    parser.add_argument(
        "--report",
        metavar="FILE.html",
        help="write a page: scores, columns that matter, calibration, errors (of an ensemble)",
    )
    arguments.add_threads(parser)
    arguments.add_reading(parser, target=True)


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.common.model_file import (
        gives_probabilities,
        is_ensemble,
        load_with_columns,
        outputs,
        read_like_training,
    )

    if args.report is not None:
        output.check_writable(args.report, "--report")
    model, columns = load_with_columns(args.model)
    if args.report and not is_ensemble(model):
        raise BadUse(f"--report is of an ensemble, {args.model} holds one network")
    named = args.target or columns.names[0]  # of arrays
    options = arguments.reading(args, named, tuple(columns.names))
    rows = read_like_training(args.data, columns, options)
    names = target_names(rows, args.target) if args.target else columns.names
    if len(names) != len(columns.targets):
        raise BadUse(f"--target must name {len(columns.targets)} columns, got {listed(names)}")
    if isinstance(columns.inputs, TableInputs):
        rows = rows.without(columns.inputs.missing_values)
    rows = with_targets(rows, names)
    X, y = inputs_and_targets(rows, names)
    plain = getattr(model, "columns", columns) is None  # it reads all there are
    if args.report:
        from fastnn.tabular.report import Report

        model.n_threads = args.threads
        report = Report(model, X, y)
        report.write(args.report)
        result = report.scores
    else:
        f = outputs(model, columns, X if plain else rows, args.threads)
        result = measured(columns, y, f, gives_probabilities(model))
    if args.json:
        json.dump(result, sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif "targets" in result:
        print(metrics.several_text(result))
    else:
        print(metrics.scores_text(result))
        if "classes" in result:
            print(f"\n{metrics.confusion_text(result)}")
    return 0


def measured(columns: Columns, y: Table, f: np.ndarray, probabilities: bool) -> dict[str, Any]:
    """What the metrics say of outputs f; of several targets, of each."""
    names = columns.class_names
    pairs = list(zip(columns.targets, y.columns, strict=True))
    if names is not None:
        labels = columns.targets[0].encode(y, pairs[0][1])
        return scores.classification(labels, f, names, probabilities)
    results = {}
    for (target, name), one in zip(pairs, f.T, strict=True):
        if isinstance(target, Classes):
            labels, P = target.encode(y, name), np.stack([1 - one, one], 1)
            results[name] = scores.classification(labels, P, target.classes)
        else:
            results[name] = scores.regression(target.values(y, name), one)
    if len(results) > 1:
        return {"rows": len(f), "targets": results}
    return results.popitem()[1]


def target_names(rows: Table | Arrays, text: str) -> list[str]:
    """'a,b' -> ["a", "b"], unless there is a column of that very name."""
    if isinstance(rows, Arrays) or text in rows.columns:
        return [text]
    return list(arguments.names(text))


def with_targets(rows: Table | Arrays, names: list[str]) -> Table | Arrays:
    """The rows whose targets are there; how many are not is said."""
    if isinstance(rows, Table):
        targets = [rows.column(name) for name in names]
    else:
        targets = [] if rows.y is None else [rows.y]
    absent = np.zeros(rows.n_rows, bool)
    for target in targets:
        absent |= target.missing()
    if not absent.any() or absent.all():  # where all are, check_target refuses them
        return rows
    n = int(absent.sum())
    note(f"{rows.path}: {counted(n, 'row')} of {rows.n_rows:,} without a target, left out")
    return rows.take(np.flatnonzero(~absent))


def inputs_and_targets(rows: Table | Arrays, names: list[str]) -> tuple[Table | Arrays, Table]:
    """The columns beside those of these names, and these, or the y that was read with arrays."""
    if isinstance(rows, Table):
        y = rows.select(names)
        X: Table | Arrays = rows.select(name for name in rows.columns if name not in names)
    elif rows.y is None:
        raise BadUse(
            f'{rows.path}: no target: an NPZ needs an array "{names[0]}" (--target names another), '
            "an NPY needs --target-file"
        )
    else:
        X, y = rows, Table(rows.path, {names[0]: rows.y}, indexed=True)
    for name in names:
        check_target(y, name)
    return X, y
