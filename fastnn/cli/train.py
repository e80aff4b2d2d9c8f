"""``fastnn train``: a data file -> a model file."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastnn._split import split

from . import _arguments, metrics, output
from ._messages import BadUse, Failure, counted, listed
from .evaluate import target_column
from .info import network_lines
from .preprocess import (
    Amount,
    ArrayInputs,
    Classes,
    Data,
    TableInputs,
    check_target,
    infer_task,
)
from .tables import Arrays, Table, read

if TYPE_CHECKING:
    from fastnn import SGD, History, Model

HELP = "train a network on a data file"
DESCRIPTION = """Train a network on a data file and write it, with all it needs to read new data,
to a model file. Text columns are read as categories (one-hot), numeric ones are scaled. Cells that
are empty or hold ?, NA, N/A, NaN, null or none are missing. Ctrl-C stops the training and keeps
the network as it stands in a file beside MODEL, with .partial in its name."""

VALIDATION_FRACTION = 0.1
ACTIVATIONS = (
    *("relu", "tanh", "sigmoid", "identity", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh"),
    *("silu", "softplus", "hard_tanh", "mish"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data", help="CSV (also .gz), Parquet, NPZ or NPY; - reads a CSV from a pipe"
    )
    parser.add_argument(
        "-t",
        "--target",
        metavar="NAME",
        help="column to learn; of an NPZ the array (default there: y)",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="MODEL",
        help="model file, such as model.safetensors",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")

    group = parser.add_argument_group("data")
    group.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="(default: classification where the target is text, has two values, or is the whole "
        "numbers from 0 or 1 up without a gap)",
    )
    group.add_argument(
        "--drop", type=_arguments.names, default=(), metavar="A,B", help="columns to leave out"
    )
    group.add_argument(
        "--categorical",
        type=_arguments.names,
        default=(),
        metavar="A,B",
        help="columns of numbers that are categories",
    )
    group.add_argument(
        "--missing",
        choices=("refuse", "impute"),
        default="refuse",
        help="missing cells: refuse the file, or fill in the median (numbers) and a category of "
        "their own (text) (default: refuse)",
    )
    group.add_argument(
        "--scale",
        choices=("auto", "standard", "maximum", "none"),
        default="auto",
        help="numeric inputs: each to mean 0 and deviation 1, or all divided by their greatest "
        "value, as suits pixels (default: auto, which tells pixels by their ranges)",
    )
    group.add_argument(
        "--validation-fraction",
        type=_arguments.fraction,
        default=None,
        metavar="F",
        help="share of the rows held out of training and measured on (default: 0.1)",
    )
    group.add_argument(
        "--validation-data", metavar="FILE", help="rows to measure on instead of held-out ones"
    )

    group = parser.add_argument_group("network")
    group.add_argument(
        "--hidden",
        type=_arguments.hidden_sizes,
        default=(128, 64),
        metavar="N,N",
        help="units of the hidden layers, or none (default: 128,64)",
    )
    group.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="(default: relu)")
    group.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)"
    )

    group = parser.add_argument_group("training")
    group.add_argument(
        "--epochs",
        type=_arguments.positive_int,
        default=20,
        metavar="N",
        help="passes over the rows (default: 20)",
    )
    group.add_argument(
        "--batch-size",
        type=_arguments.positive_int,
        metavar="N",
        help="rows a step (default: 128, down to 8 for few rows)",
    )
    group.add_argument(
        "--learning-rate",
        type=_arguments.positive_float,
        metavar="RATE",
        help="(default: by task, batch size and momentum; the summary tells)",
    )
    group.add_argument(
        "--schedule",
        choices=("linear", "constant"),
        default="linear",
        help="the learning rate falls from epoch to epoch towards 0, or stays (default: linear)",
    )
    group.add_argument(
        "--momentum",
        type=_arguments.fraction,
        default=0.9,
        metavar="M",
        help="0 for plain SGD (default: 0.9)",
    )
    group.add_argument("--nesterov", action="store_true", help="Nesterov's momentum")
    group.add_argument(
        "--seed",
        type=_arguments.seed,
        default=0,
        metavar="N",
        help="same seed, same model, bit for bit (default: 0)",
    )
    _arguments.add_threads(group)
    _arguments.add_reading(parser, target=True)


@dataclass
class HeldOut:
    """The rows measured on: what the network sees, and where they came from."""

    X: np.ndarray
    y: np.ndarray
    where: str  # for the summary


@dataclass
class Prepared:
    """The rows trained on: what the network sees, and where they came from."""

    X: np.ndarray
    y: np.ndarray
    data: Data
    source: Table | Arrays
    why: str  # this task
    held_out: HeldOut | None


def run(args: argparse.Namespace) -> int:
    import fastnn

    output.check_writable(args.output)
    if args.nesterov and not args.momentum:
        raise BadUse("--nesterov needs a --momentum above 0")
    if args.validation_data and args.validation_fraction is not None:
        raise BadUse("--validation-data and --validation-fraction exclude each other")
    prepared = prepare(args)
    data = prepared.data
    classes = isinstance(data.target, Classes)
    if args.batch_size is None:
        args.batch_size = default_batch_size(len(prepared.X))
    if args.learning_rate is None:
        batch = min(args.batch_size, len(prepared.X))
        args.learning_rate = default_learning_rate(data.target, batch, args.momentum)
    model = fastnn.Model(
        [data.inputs.width, *args.hidden, data.target.n_outputs],
        activation=args.activation,
        output="softmax" if classes else "identity",
        dtype=args.dtype,
        seed=args.seed,
        n_threads=args.threads,
    )
    model.metadata["data"] = data.to_dict()
    model.metadata["training"] = training_facts(args, prepared)
    begin = time.perf_counter()
    fit(model, prepared, args)
    seconds = time.perf_counter() - begin
    model.save(args.output)
    if not args.quiet:
        print_summary(args, model, prepared, seconds)
    return 0


# --- data


def prepare(args: argparse.Namespace) -> Prepared:
    """Read, split, and fit the preprocessing on the training rows."""
    y_name = args.target or "y"
    options = _arguments.reading(args, y_name)
    source = read(args.data, options)
    if isinstance(source, Table) and args.target is None:
        raise BadUse(
            f"--target must name the column to learn; {source.path} has {listed(source.columns)}"
        )
    column = target_column(source, y_name)
    check_target(source, y_name, column)
    task, why = (args.task, "as given") if args.task else infer_task(column)
    labels = None
    if task == "classification":
        target: Classes | Amount = Classes.fit(source, y_name, column)
        labels = target.encode(source, column)
    train_rows, held_out_rows = _split(args, source.n_rows, labels)
    if task == "regression":
        standardize = args.scale != "none"
        target = Amount.fit(source, y_name, column, train_rows, standardize)
    inputs = _fit_inputs(args, source, y_name, train_rows)
    data = Data(inputs, target, header=not args.no_header)
    # Categories that only held-out rows have are unknown to the model; nobody need be told.
    X = inputs.transform(source, args.dtype, warn_unknown=False)
    y = target.encode(source, column)
    held_out = None
    if args.validation_data:
        other = read(args.validation_data, options)
        column = target_column(other, y_name)
        check_target(other, y_name, column)
        X_other, y_other = inputs.transform(other, args.dtype), target.encode(other, column)
        held_out = HeldOut(X_other, y_other, f"{counted(len(X_other), 'row')} of {other.path}")
    elif len(held_out_rows):
        where = counted(len(held_out_rows), "held-out row")
        held_out = HeldOut(X[held_out_rows], y[held_out_rows], where)
        X, y = X[train_rows], y[train_rows]
    return Prepared(X, y, data, source, why, held_out)


def _split(
    args: argparse.Namespace, n_rows: int, labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    share = args.validation_fraction
    if share is None:
        share = VALIDATION_FRACTION
    if args.validation_data:
        share = 0.0
    return split(n_rows, share, args.seed, labels)


def _fit_inputs(
    args: argparse.Namespace, source: Table | Arrays, target: str, rows: np.ndarray
) -> TableInputs | ArrayInputs:
    if isinstance(source, Arrays):
        for option in ("drop", "categorical"):
            if getattr(args, option):
                raise BadUse(
                    f"--{option} is for the columns of a table; {source.path} holds arrays"
                )
        return ArrayInputs.fit(source, rows, missing=args.missing, scaling=args.scale)
    for name in (*args.drop, *args.categorical):
        source.column(name)  # refuses unknown names
    if target in (*args.drop, *args.categorical):
        raise BadUse(f'--drop and --categorical are for inputs, "{target}" is the target')
    names = [name for name in source.columns if name != target and name not in args.drop]
    if not names:
        raise BadUse(f'{source.path}: no column beside the target "{target}" to learn from')
    return TableInputs.fit(
        source,
        names,
        rows,
        missing=args.missing,
        scaling=args.scale,
        categorical=args.categorical,
    )


# --- training


# Found on tables of 150 to 30,000 rows and on MNIST. A squared error is unbounded, so that one
# outlier moves the network far, the more the fewer rows share a step.


def default_batch_size(n_rows: int) -> int:
    """128, and less where that makes fewer than 64 steps an epoch; at least 8."""
    return int(np.clip(1 << max(n_rows // 64, 1).bit_length() - 1, 8, 128))


def default_learning_rate(target: Classes | Amount, batch: int, momentum: float) -> float:
    """The rate of the first epoch."""
    if isinstance(target, Classes):
        rate = 0.5 * (1 - momentum) * np.sqrt(batch / 128)
    else:
        rate = 0.1 * np.sqrt(1 - momentum) * min(batch / 128, 1.0)
    return float(f"{rate:.2g}")


def training_facts(args: argparse.Namespace, prepared: Prepared) -> dict:
    """For `fastnn info`; no times, so that the same command writes the same bytes."""
    import fastnn

    return {
        "file": Path(args.data).name,
        "rows": len(prepared.X),
        "held out": len(prepared.held_out.X) if prepared.held_out else 0,
        "epochs": args.epochs,
        "batch size": args.batch_size,
        "learning rate": args.learning_rate,
        "schedule": args.schedule,
        "momentum": args.momentum,
        "nesterov": args.nesterov,
        "seed": args.seed,
        "fastnn": fastnn.__version__,
    }


def falling(rate: float, epoch: int, epochs: int) -> float:
    """The rate of an epoch, 1..epochs: from `rate` in equal steps to rate / epochs."""
    return rate * (1 - (epoch - 1) / epochs)


def learn(
    model: Model,
    training: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray] | None,
    history: History,
    *,
    epochs: int,
    batch_size: int,
    rule: Callable[[int], SGD],
    quiet: bool,
) -> None:
    """Train, with the optimizer rule(epoch) in epoch 1..epochs; `history` takes each as it ends."""
    from fastnn._progress import Progress

    progress = None if quiet else Progress(epochs, len(training[0]))
    try:
        for epoch in range(1, epochs + 1):
            ended = model.fit(
                *training,
                epochs=1,
                batch_size=batch_size,
                optimizer=rule(epoch),
                validation_data=held_out,
                verbose=progress or False,
            )
            history.extend(ended)
    finally:
        if progress is not None:
            progress.close()


def fit(model: Model, prepared: Prepared, args: argparse.Namespace) -> None:
    """Train as the arguments say. Ctrl-C keeps the network beside the output and goes on up."""
    import fastnn

    def rule(epoch: int) -> SGD:
        rate = args.learning_rate
        if args.schedule == "linear":
            rate = falling(rate, epoch, args.epochs)
        return fastnn.SGD(rate, args.momentum, args.nesterov)

    held_out = prepared.held_out
    history = fastnn.History()
    try:
        learn(
            model,
            (prepared.X, prepared.y),
            (held_out.X, held_out.y) if held_out else None,
            history,
            epochs=args.epochs,
            batch_size=args.batch_size,
            rule=rule,
            quiet=args.quiet,
        )
    except fastnn.DivergenceError:
        raise Failure(
            f"training diverged in epoch {len(history) + 1}: the loss grew beyond all bounds; "
            f"try a smaller --learning-rate than {args.learning_rate:g}"
        ) from None
    except KeyboardInterrupt:
        path = Path(args.output)
        path = path.with_name(f"{path.stem}.partial{path.suffix}")
        where = f"in epoch {len(history) + 1} of {args.epochs}"
        model.metadata["training"]["interrupted"] = where
        model.save(path)
        raise KeyboardInterrupt(
            f"stopped {where}; the network as it stands is in {path}, "
            f"nothing was written to {args.output}"
        ) from None


# --- summary


def print_summary(args: argparse.Namespace, model, prepared: Prepared, seconds: float) -> None:
    data, source = prepared.data, prepared.source
    lines = [
        ("data", f"{source.path}: {counted(source.n_rows, 'row')}, {_inputs_text(data)}"),
        ("target", f"{data.target.name}, {data.target.task} ({prepared.why})"),
    ]
    if isinstance(data.target, Classes):
        lines.append(("classes", _class_counts(data.target, prepared)))
    lines += network_lines(model)
    lines.append(
        (
            "trained",
            f"{counted(args.epochs, 'epoch')} of {counted(len(prepared.X), 'row')} in "
            f"{seconds:.1f} s, batch size {args.batch_size}, learning rate "
            f"{args.learning_rate:g} ({args.schedule}), momentum {args.momentum:g}",
        )
    )
    if prepared.held_out is not None:
        lines.append(("validation", _measured(model, data, prepared.held_out)))
    size = Path(args.output).stat().st_size
    lines.append(("model", f"{args.output} ({size / 1000:,.0f} kB)"))
    for name, value in lines:
        print(f"{name:11} {value}")
    new = {"table": "new.csv", "arrays": "new.npz"}[data.inputs.kind]
    print(f"\nnext: fastnn predict {shlex.quote(args.output)} {new} -o predictions.csv")


def _inputs_text(data: Data) -> str:
    inputs = data.inputs
    if isinstance(inputs, ArrayInputs):
        return f"inputs of shape {'x'.join(map(str, inputs.shape))}"
    text = counted(len(inputs.columns), "column")
    return text if inputs.width == len(inputs.columns) else f"{text} as {inputs.width} features"


def _class_counts(target: Classes, prepared: Prepared) -> str:
    counts = np.bincount(prepared.y, minlength=target.n_outputs)
    shown = [f"{name} ({n:,})" for name, n in zip(target.classes, counts, strict=True)]
    more = f", ... ({len(shown)} in all)" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more


def _measured(model, data: Data, held_out: HeldOut) -> str:
    """The rows measured on once more, in the target's unit."""
    f = model.forward(held_out.X)
    if isinstance(data.target, Classes):
        result = metrics.classification(held_out.y, f, data.target.classes)
        text = f"accuracy {result['accuracy']:.4f}, log loss {result['log_loss']:.4f}"
    else:
        target = data.target
        result = metrics.regression(target.decode(held_out.y), target.decode(f[:, 0]))
        text = f"RMSE {result['rmse']:.6g}"
        if result["r2"] is not None:
            text += f", r2 {result['r2']:.4f}"
    return f"{held_out.where}: {text}"
