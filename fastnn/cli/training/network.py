"""One plain network: ``fastnn train --network``."""

from __future__ import annotations

import argparse
import io
import json
import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.checks import counted, name_of
from fastnn.cli.common import output
from fastnn.cli.common.messages import BadUse, Failure, note
from fastnn.cli.common.model_file import load_model
from fastnn.cli.evaluate import inputs_and_targets, with_targets
from fastnn.cli.info import network_content, network_lines
from fastnn.cli.training import options
from fastnn.cli.training.source import (
    Source,
    check_files,
    data_lines,
    of_columns,
    partial,
    print_lines,
    read_rows,
    read_source,
    source_content,
    tell_leaks,
)
from fastnn.errors import pip_install
from fastnn.report.scores import TITLES
from fastnn.tables.columns import Columns, learn
from fastnn.tables.table import Arrays, Table
from fastnn.training.split import split

VALIDATION_SPLIT = 0.1
RESULTS = ("epochs run", "best epoch", "interrupted")  # facts of which a checkpoint knows nothing


@dataclass
class Prepared:
    """What the data file holds, and what was learned from the rows trained on."""

    source: Source
    columns: Columns
    rows: np.ndarray  # trained on
    held_out: np.ndarray  # rows measured on
    share: float  # of them
    validation: tuple[Table | Arrays, Table] | None  # a file's, measured on instead

    @property
    def measures(self) -> bool:
        return self.validation is not None or len(self.held_out) > 0


def run(args: argparse.Namespace) -> int:
    check_paths(args)
    options.check(args)
    prepared = prepare(args)
    columns, n = prepared.columns, len(prepared.rows)
    if args.batch_size is None:
        whole = args.optimizer in ("rprop", "lbfgs")
        args.batch_size = n if whole else options.default_batch_size(n)
    batch = min(args.batch_size, n)
    if args.learning_rate is None:
        args.learning_rate = options.default_learning_rate(args, columns.amounts, batch)
    model = fastnn.Model(
        [None, *args.hidden, None],
        activation=args.activation[0] if len(args.activation) == 1 else list(args.activation),
        loss=options.loss_of(args, columns),
        dtype=args.dtype,
        compute_dtype=args.compute_dtype,
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
    if args.json:
        json.dump(content(args, model, prepared, trained), sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif not args.quiet:
        print_summary(args, model, prepared, trained)
    return 0


# --- files


def check_paths(args: argparse.Namespace) -> None:
    """Refuse files that cannot be written, or would overwrite others."""
    check_files(
        {
            "-o": args.output,
            "--checkpoint": args.checkpoint,
            "--resume": args.resume,
            "--log": args.log,
            "--plot": args.plot,
        },
        {"": args.data, "--validation": args.validation, "--target-file": args.target_file},
    )
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
        raise BadUse(f"--plot needs matplotlib: {pip_install('plot')}") from None
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
    names = "sizes", "activations", "output", "loss", "dtype", "compute_dtype", "dropout", "norm"
    for name in names:
        _same(args.resume, name, getattr(saved, name), getattr(model, name))
    was, now = saved.metadata["training"], model.metadata["training"]
    free = {"file", "fastnn", *RESULTS}
    if args.schedule in options.LENGTHLESS:
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
    asked = options.task_of(args)
    source = read_source(args, asked, f"as --loss {name_of(args.loss)} says" if asked else "")
    X, y = source.X, source.y
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
        task=args.task or asked,
        missing=args.missing,
        scaling=args.scale,
        counts=args.loss == "poisson",
        rows=training_rows,
        **of_columns(args),
    )
    columns.header = not args.no_header
    rows, held_out = halves
    validation = None
    if args.validation:
        names = list(y.columns)
        validation = inputs_and_targets(
            with_targets(read_rows(args, args.validation), names), names
        )
    else:
        tell_leaks(source, args.drop, rows, held_out)
    share = share if len(held_out) else 0.0  # of a few rows none is held out
    return Prepared(source, columns, rows, held_out, share, validation)


def training_facts(args: argparse.Namespace, prepared: Prepared) -> dict[str, Any]:
    """For `fastnn info`; no times, so that the same command writes the same bytes."""
    other = prepared.validation
    return {
        "file": Path(args.data).name,
        "rows": len(prepared.rows),
        "held out": other[0].n_rows if other else len(prepared.held_out),
        **options.facts(args),
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
    rate = options.schedule_of(args, args.learning_rate, n_steps, prepared.measures)
    chosen = options.metrics_of(args.metrics, model)
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
            prepared.source.X,
            prepared.source.y,
            epochs=args.epochs,
            batch_size=args.batch_size,
            optimizer=options.optimizer_of(args, rate),
            validation_data=prepared.validation,
            validation_split=prepared.share,
            metrics=chosen if prepared.measures else None,
            callbacks=callbacks,
            sample_weight=prepared.source.weights,
            class_weight=options.class_weight_of(args, prepared.columns),
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
    path = partial(args.output)
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


def content(
    args: argparse.Namespace, model: fastnn.Model, prepared: Prepared, trained: Trained
) -> dict[str, Any]:
    """What the summary says, for programs."""
    told = {
        **source_content(args, prepared.source, prepared.columns),
        "seconds": round(trained.seconds, 3),
        **network_content(model),
    }
    if prepared.measures:
        told["held_out"] = _measured(model, prepared, trained.metrics)[1]
    return told


def print_summary(
    args: argparse.Namespace, model: fastnn.Model, prepared: Prepared, trained: Trained
) -> None:
    columns = prepared.columns
    lines = [*data_lines(prepared.source, columns), *network_lines(model)]
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
        where, result = _measured(model, prepared, trained.metrics)
        loss = result.pop("loss")
        told = [
            f"{TITLES.get(name, name)} {_number(name, one)}" for name, one in result.items()
        ]
        lines.append(("validation", f"{where}: {', '.join(told)}, loss {loss:.4f}"))
    size = Path(args.output).stat().st_size
    lines.append(("model", f"{args.output} ({size / 1000:,.0f} kB)"))
    for name, path in (("log", args.log), ("plot", args.plot)):
        if path:
            lines.append((name, path))
    print_lines(lines)
    new = {"table": "new.csv", "arrays": "new.npz"}[columns.inputs.kind]
    print(f"\nnext: fastnn predict {shlex.quote(args.output)} {new} -o predictions.csv")


def _optimizer_text(args: argparse.Namespace) -> str:
    parts = [args.optimizer]
    if args.optimizer != "lbfgs":
        parts.append(f"learning rate {args.learning_rate:g} ({args.schedule})")
    for name in ("momentum", *options.SETTINGS):
        if value := getattr(args, name):
            parts.append(f"{name.replace('_', ' ')} {value:g}")
    if args.nesterov:
        parts.append("Nesterov")
    if args.optimizer != "lbfgs":
        parts.append(f"batch size {args.batch_size}")
    return ", ".join(parts)


def _measured(
    model: fastnn.Model, prepared: Prepared, chosen: list[Any]
) -> tuple[str, dict[str, float]]:
    """The rows measured on once more: which, and what was asked for, or what is usual."""
    source, rows = prepared.source, prepared.held_out
    held_out = prepared.validation or (source.X.take(rows), source.y.take(rows))
    where = counted(held_out[0].n_rows, "held-out row")
    if prepared.validation:
        where = f"{counted(held_out[0].n_rows, 'row')} of {held_out[0].path}"
    return where, model.evaluate(*held_out, metrics=chosen)


def _number(name: str, value: float) -> str:
    return f"{value:.6g}" if name in ("rmse", "mae") else f"{value:.4f}"
