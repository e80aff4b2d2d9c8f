"""What the arguments of ``fastnn train`` say -> what `Model` and `Model.fit` take."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import fastnn
from fastnn.checks import name_of
from fastnn.cli.messages import BadUse
from fastnn.network import losses
from fastnn.tables.columns import AMOUNT_LOSSES, CLASS_LOSSES, LABEL_LOSSES, Columns
from fastnn.tables.columns import task_of as task_for
from fastnn.training import metrics as measures
from fastnn.training.optimizers import NAMES as OPTIMIZERS
from fastnn.training.optimizers import Optimizer, Rate

# --- what the network learns

LOSSES = tuple(dict.fromkeys((*CLASS_LOSSES, *LABEL_LOSSES, *AMOUNT_LOSSES)))
LOSS_SETTINGS = {name: losses.CLASSES[name] for name in ("focal", "huber", "quantile")}


def task_of(args: argparse.Namespace) -> str | None:
    """The task that the arguments ask for; None where the target decides."""
    asked = task_for(None, args.loss)
    if args.task and asked and args.task != asked:
        raise BadUse(f"--loss {name_of(args.loss)} is for {asked}, got --task {args.task}")
    return args.task or asked


def loss_of(args: argparse.Namespace, columns: Columns) -> Any:
    known: tuple[str, ...]
    if columns.amounts:
        known, what = AMOUNT_LOSSES, "regression"
    elif columns.class_names is not None:
        known, what = CLASS_LOSSES, "classification"
    else:
        known, what = LABEL_LOSSES, "several targets of two classes"
    loss = args.loss or known[0]
    if name_of(loss) not in known:
        raise BadUse(f"--loss for {what} must be one of {', '.join(known)}, got {name_of(loss)}")
    if args.label_smoothing:
        if name_of(loss) not in ("cross_entropy", "binary_cross_entropy"):
            raise BadUse(f"--label-smoothing goes with cross-entropy, not with {name_of(loss)}")
        loss = losses.CLASSES[name_of(loss)](args.label_smoothing)
    return loss


def class_weight_of(args: argparse.Namespace, columns: Columns) -> Any:
    names = columns.class_names
    if args.class_weight is None:
        return None
    if names is None:
        raise BadUse("--class-weight is for one target of classes")
    for name in args.class_weight if isinstance(args.class_weight, dict) else ():
        if name not in names:
            raise BadUse(f'--class-weight: must name classes, {", ".join(names)}, got "{name}"')
    return args.class_weight


def metrics_of(names: tuple[str, ...], model: fastnn.Model) -> list[Any]:
    """Metrics by name."""
    network = model._network
    known = measures.known_metrics(network)
    usual = measures.default_metric(network)
    chosen: list[Any] = []
    for name in names or (("rmse", "r2") if usual == "r2" else (usual,)):
        name = name.replace("-", "_")
        k = name.removeprefix("top_")
        if k != name and k.isdecimal() and int(k) and network.one_of_many:
            chosen.append(fastnn.TopK(int(k)))
        elif name not in known:
            more = ", top_K" if network.one_of_many else ""
            raise BadUse(f'--metrics must be among {", ".join(known)}{more}, got "{name}"')
        else:
            chosen.append(name)
    if len(set(map(str, chosen))) < len(chosen):
        raise BadUse(f"--metrics must differ from one another, got {', '.join(names)}")
    return chosen


# --- how it learns

SCHEDULES = (
    *("cosine", "one_cycle", "constant", "step", "exponential", "inverse"),
    *("plateau", "adaptive"),
)
WARMING = ("cosine", "one_cycle")
LENGTHLESS = ("constant", "adaptive")  # schedules that do not depend on the number of epochs
SETTINGS = ("weight_decay", "l2", "l1", "clip_norm")  # of every optimizer


def check(args: argparse.Namespace) -> None:
    """Refuse what arguments alone show to be wrong; write out the optimizer's defaults."""
    n_hidden = len(args.hidden)
    if len(args.activation) not in (1, n_hidden):
        raise BadUse(
            f"--activation must be one name, or one for each of {n_hidden} hidden layers, "
            f"got {len(args.activation)}"
        )
    if len(args.dropout) not in (1, n_hidden + 1):
        raise BadUse(
            f"--dropout must be one number, or {n_hidden + 1}: of the inputs and of each hidden "
            f"layer, got {len(args.dropout)}"
        )
    if any(args.dropout) and not n_hidden:
        raise BadUse("--dropout needs hidden layers, got --hidden none")
    if args.norm and not n_hidden:
        raise BadUse("--norm needs hidden layers, got --hidden none")
    if args.validation and args.validation_split is not None:
        raise BadUse("--validation and --validation-split exclude each other")
    if args.early_stopping and args.validation_split == 0:
        raise BadUse("--early-stopping needs rows to measure on, got --validation-split 0")
    if args.warmup and args.schedule not in (None, *WARMING):
        raise BadUse(f"--warmup goes with --schedule cosine and one_cycle, got {args.schedule}")
    if args.warmup >= args.epochs:
        raise BadUse(f"--warmup must be below --epochs {args.epochs}, got {args.warmup:g}")
    if args.optimizer == "lbfgs":
        for name in ("learning_rate", "schedule", "batch_size", "checkpoint", "resume"):
            if getattr(args, name):
                raise BadUse(f"--optimizer lbfgs must come without {_option(name)}")
        if any(args.dropout):
            raise BadUse("--optimizer lbfgs must come without --dropout")
        if args.norm == "batch":
            raise BadUse("--optimizer lbfgs must come without --norm batch")
    if args.momentum is None:
        args.momentum = 0.9 if args.optimizer == "sgd" else 0.0
    elif args.momentum and args.optimizer not in ("sgd", "rmsprop"):
        raise BadUse(f"--momentum goes with --optimizer sgd and rmsprop, got {args.optimizer}")
    if args.nesterov and (args.optimizer != "sgd" or not args.momentum):
        raise BadUse("--nesterov needs --optimizer sgd and a --momentum above 0")
    if args.schedule is None:  # the steps of the last two are their own
        args.schedule = "constant" if args.optimizer in ("rprop", "lbfgs") else "cosine"
    optimizer_of(args, args.learning_rate or 0.1)  # settings that do not go together


def optimizer_of(args: argparse.Namespace, rate: Rate) -> Optimizer:
    settings = {name: value for name in SETTINGS if (value := getattr(args, name)) is not None}
    if args.momentum:
        settings["momentum"] = args.momentum
    if args.nesterov:
        settings["nesterov"] = True
    if args.optimizer != "lbfgs":
        settings["learning_rate"] = rate
    return OPTIMIZERS[args.optimizer](**settings)


def schedule_of(args: argparse.Namespace, rate: float, n_steps: int, held_out: bool) -> Rate:
    """The learning rate over so many steps in all."""
    epochs, warmup = args.epochs, args.warmup
    if args.schedule == "cosine":
        return fastnn.CosineDecay(rate, warmup=warmup)
    if args.schedule == "one_cycle":
        return fastnn.OneCycle(rate, **({"pct_start": warmup / epochs} if warmup else {}))
    if args.schedule == "step":
        return fastnn.StepDecay(rate, epochs=max(1, -(-epochs // 3)))
    if args.schedule == "exponential":  # to a hundredth
        return fastnn.Exponential(rate, gamma=_rounded(0.01 ** (1 / max(1, epochs - 1))))
    if args.schedule == "inverse":  # to a tenth
        return fastnn.InverseScaling(rate, scale=_rounded(99 / n_steps))
    if args.schedule == "plateau":
        monitor = "val_loss" if held_out else "loss"
        return fastnn.ReduceOnPlateau(rate, patience=max(1, epochs // 10), monitor=monitor)
    return fastnn.Adaptive(rate) if args.schedule == "adaptive" else rate


def _rounded(value: float) -> float:
    """To four digits: what pow and / leave is not the same to the last bit on every machine."""
    return float(f"{value:.4g}")


# Found on tables of 150 to 30,000 rows and on MNIST. A squared error is unbounded, so that one
# outlier moves the network far, the more the fewer rows share a step.


def default_batch_size(n_rows: int) -> int:
    """128, and less where that makes fewer than 64 steps an epoch; at least 8."""
    return int(np.clip(1 << max(n_rows // 64, 1).bit_length() - 1, 8, 128))


def default_learning_rate(args: argparse.Namespace, amounts: bool, batch: int) -> float:
    """The largest rate: of SGD by what suits the task, of others their own default."""
    if args.optimizer != "sgd":
        return OPTIMIZERS[args.optimizer]().learning_rate  # type: ignore[return-value]
    if amounts:
        rate = 0.1 * np.sqrt(1 - args.momentum) * min(batch / 128, 1.0)
    else:
        rate = 0.5 * (1 - args.momentum) * np.sqrt(batch / 128)
    return float(f"{rate:.2g}")


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """What a model file says of its training, and what must be the same to resume it."""
    steps = ("batch_size", "learning_rate", "schedule") if args.optimizer != "lbfgs" else ()
    more = ("warmup", "momentum", "nesterov", *SETTINGS, "class_weight", "sample_weight")
    told = {name: getattr(args, name) for name in ("epochs", "optimizer", *steps, "seed")}
    told |= {name: value for name in (*more, "early_stopping") if (value := getattr(args, name))}
    return {name.replace("_", " "): value for name, value in told.items()}


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
