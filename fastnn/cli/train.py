"""``fastnn train``: a data file -> a model file."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.checks import counted, listed, name_of
from fastnn.cli import arguments, output, recipe
from fastnn.cli.evaluate import inputs_and_targets, target_names, with_targets
from fastnn.cli.info import network_lines
from fastnn.cli.messages import BadUse, Failure, note
from fastnn.cli.model_file import load_model, read
from fastnn.tables.columns import Columns, learn
from fastnn.tables.inputs import ArrayInputs, Inputs, TableInputs
from fastnn.tables.leaks import leak_notes
from fastnn.tables.table import Arrays, Table
from fastnn.tables.targets import Amount, infer_task
from fastnn.training.split import split

HELP = "train a network on a data file"
DESCRIPTION = """Train a network on a data file and write it, with all it needs to read new data,
to a model file. What each column is (numbers, categories, dates) is found in its cells, and said
where it is not plain; columns that cannot help are left out; missing cells, also such as NA, n/a,
null or -, are filled in. Ctrl-C stops the training and keeps
the network as it stands (with --early-stopping: the best so far) in a file beside MODEL, with
.partial in its name."""

VALIDATION_SPLIT = 0.1
add_arguments = recipe.add_arguments
RESULTS = ("epochs run", "best epoch", "interrupted")  # facts of which a checkpoint knows nothing


@dataclass
class Prepared:
    """What the data file holds, and what was learned from the rows trained on."""

    X: Table | Arrays
    y: Table
    weights: np.ndarray | None  # (n,) of all rows
    columns: Columns
    why: str  # this task
    rows: np.ndarray  # trained on
    held_out: np.ndarray  # rows measured on
    share: float  # of them
    validation: tuple[Table | Arrays, Table] | None  # a file's, measured on instead

    @property
    def measures(self) -> bool:
        return self.validation is not None or len(self.held_out) > 0


def run(args: argparse.Namespace) -> int:
    check_files(args)
    recipe.check(args)
    prepared = prepare(args)
    columns, n = prepared.columns, len(prepared.rows)
    if args.batch_size is None:
        whole = args.optimizer in ("rprop", "lbfgs")
        args.batch_size = n if whole else recipe.default_batch_size(n)
    batch = min(args.batch_size, n)
    if args.learning_rate is None:
        args.learning_rate = recipe.default_learning_rate(args, columns.amounts, batch)
    model = fastnn.Model(
        [None, *args.hidden, None],
        activation=args.activation[0] if len(args.activation) == 1 else list(args.activation),
        loss=recipe.loss_of(args, columns),
        dtype=args.dtype,
        seed=args.seed,
        n_threads=args.threads,
        dropout=args.dropout[0] if len(args.dropout) == 1 else list(args.dropout),
        norm=args.norm,
        columns=columns,
    )
    model.metadata["training"] = training_facts(args, prepared)
    check_checkpoint(args, model)
    trained = fit(model, prepared, args)
    model.save(args.output)
    if args.plot:
        draw(trained.history, args.plot)
    if not args.quiet:
        print_summary(args, model, prepared, trained)
    return 0


# --- files


def check_files(args: argparse.Namespace) -> None:
    """Refuse before any work what could not be written after it, or would overwrite something
    that is read."""
    written = {
        "-o": args.output,
        "--checkpoint": args.checkpoint,
        "--resume": args.resume,
        "--log": args.log,
        "--plot": args.plot,
    }
    read_too = {"": args.data, "--validation": args.validation, "--target-file": args.target_file}
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
    if args.checkpoint and args.resume and args.checkpoint != args.resume:
        raise BadUse(
            f"--checkpoint must be --resume's file, {args.resume}, or stay away, "
            f"got {args.checkpoint}"
        )
    if args.plot:
        check_plot(args.plot)


def check_plot(path: str) -> None:
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise BadUse("--plot needs matplotlib: pip install matplotlib") from None
    endings = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in endings:
        raise BadUse(f"--plot {path}: its name must end in one of {', '.join(endings)}")


def draw(history: fastnn.History, path: str) -> None:
    picture = io.BytesIO()
    history.plot().savefig(picture, format=Path(path).suffix[1:].lower(), dpi=150)
    output.replace_bytes(path, picture.getvalue())


def check_checkpoint(args: argparse.Namespace, model: fastnn.Model) -> None:
    """Refuse a checkpoint of another training than this one."""
    if args.resume is None:
        return
    if not os.path.exists(args.resume):
        note(f"--resume {args.resume}: no such file yet, so the training begins")
        return
    saved = load_model(args.resume, "--resume")
    if "training" not in saved.metadata or "data" not in saved.metadata:
        raise BadUse(f"--resume {args.resume}: was not written by fastnn train --checkpoint")
    if saved.metadata["data"] != model.metadata["data"]:
        raise BadUse(
            f"--resume {args.resume}: columns, scaling or classes of the data are not those of the "
            "checkpoint"
        )
    for name in ("sizes", "activations", "output", "loss", "dtype", "dropout", "norm"):
        _same(args.resume, name, getattr(saved, name), getattr(model, name))
    was, now = saved.metadata["training"], model.metadata["training"]
    free = {"file", "fastnn", *RESULTS}
    if args.schedule in recipe.LENGTHLESS:
        free.add("epochs")
    for name in {**was, **now}:
        if name not in free:
            _same(args.resume, name, was.get(name), now.get(name))


def _same(path: str, name: str, was: Any, now: Any) -> None:
    if was != now:
        raise BadUse(f"--resume {path}: {name} must be {was} as in the checkpoint, got {now}")


# --- data


def prepare(args: argparse.Namespace) -> Prepared:
    """Read, and learn the columns from the training rows."""
    words = (*arguments.names(args.target or ""), args.target or "", *args.categorical)
    words += tuple(name for name, _ in args.ordered)
    options = arguments.reading(args, args.target or "y", words)
    source = read(args.data, options)
    if isinstance(source, Table) and args.target is None:
        raise BadUse(
            f"--target must name the column to learn; {source.path} has {listed(source.columns)}"
        )
    source = source.without(args.missing_values)
    names = target_names(source, args.target or "y")
    if len(set(names)) < len(names):
        raise BadUse(f"--target must name each column once, got {listed(names)}")
    source = with_targets(source, names)
    X, y = inputs_and_targets(source, names)
    check_columns(args, source, names)
    if isinstance(X, Table) and args.sample_weight:
        X = X.select(name for name in X.columns if name != args.sample_weight)
    task = recipe.task_of(args)
    why = f"as {'--task' if args.task else '--loss ' + name_of(args.loss)} says" if task else ""
    if not why:
        found = [infer_task(column)[1] for column in y.columns.values()]
        why = found[0] if len(found) == 1 else f"{found[0]}, ..."
    weights = sample_weights(args, source)
    share = VALIDATION_SPLIT if args.validation_split is None else args.validation_split
    share = 0.0 if args.validation else share
    halves: list[np.ndarray] = []

    def training_rows(n: int, labels: np.ndarray | None) -> np.ndarray:
        halves.extend(split(n, share, args.seed, labels))
        if args.early_stopping and not args.validation and not len(halves[1]):
            raise BadUse(f"--early-stopping needs rows to measure on: {share:g} of {n} is none")
        return halves[0]

    columns = learn(
        *(X, y),
        task=task,
        missing=args.missing,
        missing_values=args.missing_values,
        scaling=args.scale,
        numeric=args.numeric,
        categorical=args.categorical,
        ordered=dict(args.ordered),
        dates=args.dates,
        drop=args.drop,
        counts=args.loss == "poisson",
        rows=training_rows,
    )
    columns.header = not args.no_header
    rows, held_out = halves
    validation = None
    if args.validation:
        other = read(args.validation, options).without(args.missing_values)
        validation = inputs_and_targets(with_targets(other, names), names)
    elif isinstance(X, Table):
        used = X.select(name for name in X.columns if name not in args.drop)
        for text in leak_notes(used, rows, held_out):
            note(text)
    share = share if len(held_out) else 0.0  # of a few rows none is held out
    return Prepared(X, y, weights, columns, why, rows, held_out, share, validation)


def check_columns(args: argparse.Namespace, source: Table | Arrays, targets: list[str]) -> None:
    """Refuse options that name columns which are not for them."""
    if isinstance(source, Arrays):
        return
    inputs = {"drop": args.drop, "numeric": args.numeric, "categorical": args.categorical}
    inputs |= {"dates": args.dates, "ordered": dict(args.ordered)}
    for option, given in inputs.items():
        for name in given:
            if name in targets:
                raise BadUse(f'--{option} is for inputs, "{name}" is a target')
            if name == args.sample_weight:
                raise BadUse(f'--{option} is for inputs, "{name}" is --sample-weight')
    if args.sample_weight in targets:
        raise BadUse(f'--sample-weight must be another column than the target "{targets[0]}"')


def sample_weights(args: argparse.Namespace, source: Table | Arrays) -> np.ndarray | None:
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


def training_facts(args: argparse.Namespace, prepared: Prepared) -> dict:
    """For `fastnn info`; no times, so that the same command writes the same bytes."""
    other = prepared.validation
    return {
        "file": Path(args.data).name,
        "rows": len(prepared.rows),
        "held out": other[0].n_rows if other else len(prepared.held_out),
        **recipe.facts(args),
        "fastnn": fastnn.__version__,
    }


# --- training


class Watch(fastnn.Callback):
    """How far the fit is; at Ctrl-C, the best network so far."""

    def __init__(self, early: fastnn.EarlyStopping | None) -> None:
        self.early = early
        self.epoch = 0  # under way
        self.before = 0  # epochs that the checkpoint had
        self.done = 0

    def on_fit_begin(self, fit: fastnn.Fit) -> None:
        self.before = self.done = len(fit.history)

    def on_epoch_begin(self, fit: fastnn.Fit) -> None:
        self.epoch = fit.epoch

    def on_epoch_end(self, fit: fastnn.Fit) -> None:
        self.done = len(fit.history)

    def on_fit_end(self, fit: fastnn.Fit) -> None:
        if isinstance(fit.error, KeyboardInterrupt) and self.best_epoch and self.early:
            fit.model.theta = self.early.state()["theta"]

    @property
    def best_epoch(self) -> int | None:
        return self.early.best_epoch if self.early else None


@dataclass
class Trained:
    """What the fit has been."""

    history: fastnn.History
    watch: Watch
    metrics: list[Any]
    seconds: float


def fit(model: fastnn.Model, prepared: Prepared, args: argparse.Namespace) -> Trained:
    """Train as the arguments say. Ctrl-C keeps the network beside the output and goes on up."""
    n_steps = args.epochs * -(-len(prepared.rows) // args.batch_size)
    rate = recipe.schedule_of(args, args.learning_rate, n_steps, prepared.measures)
    chosen = recipe.metrics_of(args.metrics, model)
    early = fastnn.EarlyStopping(patience=args.early_stopping) if args.early_stopping else None
    watch = Watch(early)
    keep = args.checkpoint or args.resume
    callbacks = [
        watch,  # first, so that it sees the best before `early` drops it
        *([early] if early else []),
        *([fastnn.Checkpoint(keep)] if keep else []),
        *([fastnn.CSVLogger(args.log)] if args.log else []),
    ]
    begin = time.perf_counter()
    try:
        history = model.fit(
            prepared.X,
            prepared.y,
            epochs=args.epochs,
            batch_size=args.batch_size,
            optimizer=recipe.optimizer_of(args, rate),
            validation_data=prepared.validation,
            validation_split=prepared.share,
            metrics=chosen if prepared.measures else None,
            callbacks=callbacks,
            sample_weight=prepared.weights,
            class_weight=recipe.class_weight_of(args, prepared.columns),
            resume=args.resume,
            verbose=not args.quiet,
        )
    except fastnn.DivergenceError:
        remedy = f"a smaller --learning-rate than {args.learning_rate:g}"
        if args.optimizer == "lbfgs":
            remedy = "--l2, or another --scale"
        raise Failure(
            f"training diverged in epoch {watch.epoch}: the loss grew beyond all bounds; "
            f"try {remedy}"
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(interrupted(model, watch, args)) from None
    if early:
        model.metadata["training"] |= {"epochs run": len(history), "best epoch": watch.best_epoch}
    return Trained(history, watch, chosen, time.perf_counter() - begin)


def interrupted(model: fastnn.Model, watch: Watch, args: argparse.Namespace) -> str:
    """Save the network beside the output, and say what is where."""
    path = Path(args.output)
    path = path.with_name(f"{path.stem}.partial{path.suffix}")
    where = f"in epoch {watch.epoch} of {args.epochs}"
    model.metadata["training"]["interrupted"] = where
    state = "as it stands"
    if watch.best_epoch:
        state = f"as it was after its best epoch, {watch.best_epoch},"
        model.metadata["training"]["best epoch"] = watch.best_epoch
    model.save(path)
    text = f"stopped {where}; the network {state} is in {path}, "
    text += f"nothing was written to {args.output}"
    keep = args.checkpoint or args.resume
    if keep and watch.done:
        text += f"; --resume {shlex.quote(keep)} goes on"
    return text


# --- summary


def print_summary(
    args: argparse.Namespace, model: fastnn.Model, prepared: Prepared, trained: Trained
) -> None:
    columns, X = prepared.columns, prepared.X
    task = "regression" if columns.amounts else "classification"
    lines = [
        ("data", f"{X.path}: {counted(X.n_rows, 'row')}, {_inputs_text(columns.inputs)}"),
        ("target", f"{', '.join(columns.names)}, {task} ({prepared.why})"),
    ]
    if columns.class_names is not None:
        lines.append(("classes", _class_counts(columns.class_names, prepared)))
    notes = columns.inputs.notes if isinstance(columns.inputs, TableInputs) else []
    lines += [("" if i else "columns", note) for i, note in enumerate(notes)]
    lines += network_lines(model)
    lines.append(("optimizer", _optimizer_text(args)))
    n, watch = len(trained.history), trained.watch
    rows = counted(len(prepared.rows), "row")
    text = f"{counted(n, 'epoch')} of {rows} in {trained.seconds:.1f} s"
    if watch.before:
        text += f", {watch.before} of them before it was resumed"
    if watch.best_epoch:
        text += f"; kept: epoch {watch.best_epoch}, the best"
    lines.append(("trained", text))
    if prepared.measures:
        lines.append(("validation", _measured(model, prepared, trained.metrics)))
    size = Path(args.output).stat().st_size
    lines.append(("model", f"{args.output} ({size / 1000:,.0f} kB)"))
    for name, path in (("log", args.log), ("plot", args.plot)):
        if path:
            lines.append((name, path))
    for name, value in lines:
        print(f"{name:11} {value}")
    new = {"table": "new.csv", "arrays": "new.npz"}[columns.inputs.kind]
    print(f"\nnext: fastnn predict {shlex.quote(args.output)} {new} -o predictions.csv")


def _inputs_text(inputs: Inputs) -> str:
    if isinstance(inputs, ArrayInputs):
        return f"inputs of shape {'x'.join(map(str, inputs.shape))}"
    assert isinstance(inputs, TableInputs)
    text = counted(len(inputs.columns), "column")
    return text if inputs.width == len(inputs.columns) else f"{text} as {inputs.width} features"


def _class_counts(classes: list[str], prepared: Prepared) -> str:
    labels = prepared.columns.encode_targets(prepared.y)[prepared.rows]
    counts = np.bincount(labels, minlength=len(classes))
    shown = [f"{name} ({n:,})" for name, n in zip(classes, counts, strict=True)]
    more = f", ... ({len(shown)} in all)" if len(shown) > 10 else ""
    return ", ".join(shown[:10]) + more


def _optimizer_text(args: argparse.Namespace) -> str:
    parts = [args.optimizer]
    if args.optimizer != "lbfgs":
        parts.append(f"learning rate {args.learning_rate:g} ({args.schedule})")
    for name in ("momentum", *recipe.SETTINGS):
        if value := getattr(args, name):
            parts.append(f"{name.replace('_', ' ')} {value:g}")
    if args.nesterov:
        parts.append("Nesterov")
    if args.optimizer != "lbfgs":
        parts.append(f"batch size {args.batch_size}")
    return ", ".join(parts)


TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "rmse": "RMSE",
    "mae": "MAE",
}


def _measured(model: fastnn.Model, prepared: Prepared, chosen: list[Any]) -> str:
    """The rows measured on once more: what was asked for, or what is usual."""
    rows = prepared.held_out
    held_out = prepared.validation or (prepared.X.take(rows), prepared.y.take(rows))
    where = counted(held_out[0].n_rows, "held-out row")
    if prepared.validation:
        where = f"{counted(held_out[0].n_rows, 'row')} of {held_out[0].path}"
    result = model.evaluate(*held_out, metrics=chosen)
    loss = result.pop("loss")
    told = [f"{TITLES.get(name, name)} {_number(name, value)}" for name, value in result.items()]
    return f"{where}: {', '.join(told)}, loss {loss:.4f}"


def _number(name: str, value: float) -> str:
    return f"{value:.6g}" if name in ("rmse", "mae") else f"{value:.4f}"
