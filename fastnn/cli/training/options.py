"""The options of one plain network, and what `Model` and `Model.fit` take for them."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import fastnn
from fastnn.checks import name_of
from fastnn.cli.common import arguments
from fastnn.cli.common.messages import BadUse
from fastnn.kernels._cpu import ACTIVATIONS, NORMS
from fastnn.network import losses
from fastnn.network.activations import CLASSES as ACTIVATION_SETTINGS
from fastnn.network.spec import COMPUTE_DTYPES
from fastnn.tables.columns import AMOUNT_LOSSES, CLASS_LOSSES, LABEL_LOSSES, Columns
from fastnn.tables.columns import task_of as task_for
from fastnn.tables.numbers import MISSING, SCALINGS
from fastnn.training import metrics as measures
from fastnn.training.optimizers import NAMES as OPTIMIZERS
from fastnn.training.optimizers import Optimizer
from fastnn.training.schedules import Rate

LOSSES = tuple(dict.fromkeys((*CLASS_LOSSES, *LABEL_LOSSES, *AMOUNT_LOSSES)))
LOSS_SETTINGS = {name: losses.CLASSES[name] for name in ("focal", "huber", "quantile")}
SCHEDULES = (
    *("cosine", "one_cycle", "constant", "step", "exponential", "inverse"),
    *("plateau", "adaptive"),
)
WARMING = ("cosine", "one_cycle")
LENGTHLESS = ("constant", "adaptive")  # schedules that do not depend on the number of epochs
SETTINGS = ("weight_decay", "l2", "l1", "clip_norm")  # of every optimizer

# --- options


def add_arguments(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The options, which leave no trace where they are not given; returns their defaults."""
    groups = (
        ("one plain network", _add_network),
        ("its training", _add_training),
        ("measuring, stopping, keeping", _add_watching),
    )
    defaults: dict[str, Any] = {}
    for title, add in groups:
        group = parser.add_argument_group(f"{title} (with --network)")
        add(group)
        for action in group._group_actions:
            defaults[action.dest], action.default = action.default, argparse.SUPPRESS
    return defaults


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--hidden",
        type=arguments.hidden_sizes,
        default=(128, 64),
        metavar="N,N",
        help="units of the hidden layers, or none (default: 128,64)",
    )
    group.add_argument(
        "--activation",
        type=arguments.several(arguments.OneOf(ACTIVATIONS, ACTIVATION_SETTINGS)),
        default=("relu",),
        metavar="NAME",
        help=f"one for all hidden layers, or A,B,... for each: {', '.join(ACTIVATIONS)}; "
        "leaky_relu:0.2 sets the slope, elu:0.5 alpha (default: relu)",
    )
    group.add_argument(
        "--norm",
        choices=NORMS,
        help="normalisation of the hidden layers, over mini-batches or over each row's units "
        "(default: none)",
    )
    group.add_argument(
        "--dropout",
        type=arguments.several(arguments.fraction),
        default=(0.0,),
        metavar="P",
        help="share of each hidden layer's units left out at random while training, or P,P,... "
        "for the inputs and each hidden layer (default: 0)",
    )
    group.add_argument(
        "--loss",
        type=arguments.OneOf(LOSSES, LOSS_SETTINGS),
        metavar="NAME",
        help=f"of classes {', '.join(CLASS_LOSSES)}; of amounts "
        f"{', '.join(AMOUNT_LOSSES)}; huber:0.5, quantile:0.9 and focal:1 set delta (in "
        "deviations of the target), q and gamma (default: the first of each)",
    )
    group.add_argument(
        "--label-smoothing",
        type=arguments.fraction,
        default=0.0,
        metavar="S",
        help="of a cross-entropy's targets (default: 0)",
    )
    group.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)"
    )
    group.add_argument(
        "--compute-dtype",
        choices=COMPUTE_DTYPES,
        help="what the layers' products are of; bfloat16 comes with --dtype float32 (default: as "
        "--dtype)",
    )
    group.add_argument(
        "--missing",
        choices=MISSING,
        default="indicate",
        help="missing cells: refuse the file; or impute: the median (numbers), a category of their "
        "own (text); or indicate: impute, and a feature more where numbers are missing (default: "
        "indicate)",
    )
    group.add_argument(
        "--scale",
        choices=SCALINGS,
        default="auto",
        help="numeric inputs: each to mean 0 and deviation 1, or all divided by their greatest "
        "value, as suits pixels, or by quartiles with what is far clipped smoothly, robust "
        "(default: auto, which tells pixels by their ranges)",
    )
    group.add_argument(
        "--class-weight",
        type=arguments.class_weights,
        metavar="W",
        help="balanced: rare classes count as much as common ones; or yes=5,no=1 (default: alike)",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs",
        type=arguments.positive_int,
        default=20,
        metavar="N",
        help="passes over the rows (default: 20)",
    )
    group.add_argument(
        "--batch-size",
        type=arguments.positive_int,
        metavar="N",
        help="rows a step (default: 128, down to 8 for few rows; rprop: all)",
    )
    group.add_argument(
        "--optimizer",
        type=arguments.OneOf(OPTIMIZERS),
        default="sgd",
        metavar="NAME",
        help=f"{', '.join(OPTIMIZERS)} (default: sgd)",
    )
    group.add_argument(
        "--learning-rate",
        type=arguments.positive_float,
        metavar="RATE",
        help="the largest (default: of sgd by task, batch size and momentum, the summary tells; of "
        "others what is usual, 0.001 for adam)",
    )
    group.add_argument(
        "--schedule",
        type=arguments.OneOf(SCHEDULES),
        metavar="NAME",
        help="of the learning rate: cosine, down to 0; one_cycle, up and down to 0; constant; "
        "step, to a tenth after each third; exponential, to a hundredth; inverse, to a tenth; "
        "plateau and adaptive, smaller when the loss stays (default: cosine)",
    )
    group.add_argument(
        "--warmup",
        type=arguments.positive_or_0,
        default=0.0,
        metavar="EPOCHS",
        help="in which cosine and one_cycle go up (default: 0; one_cycle: 0.3 of all)",
    )
    group.add_argument(
        "--momentum",
        type=arguments.fraction,
        metavar="M",
        help="of sgd and rmsprop (default: 0.9 for sgd, 0 for rmsprop)",
    )
    group.add_argument("--nesterov", action="store_true", help="Nesterov's momentum, of sgd")
    group.add_argument(
        "--weight-decay",
        type=arguments.positive_or_0,
        metavar="D",
        help="each step takes rate x D of every weight (default: 0; adamw: 0.01)",
    )
    for name, penalty in (("l2", "L/2 sum w^2"), ("l1", "L sum |w|")):
        group.add_argument(
            f"--{name}",
            type=arguments.positive_or_0,
            metavar="L",
            help=f"penalty {penalty} (default: 0)",
        )
    group.add_argument(
        "--clip-norm",
        type=arguments.positive_float,
        metavar="G",
        help="longest gradient (default: none)",
    )


def _add_watching(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--validation-split",
        type=arguments.fraction,
        metavar="F",
        help="share of the rows held out of training and measured on (default: 0.1)",
    )
    group.add_argument(
        "--validation", metavar="FILE", help="rows to measure on instead of held-out ones"
    )
    group.add_argument(
        "--metrics",
        type=arguments.names,
        default=(),
        metavar="A,B",
        help="measured after each epoch; of classes accuracy, precision, recall, f1, auc, "
        "log_loss, balanced_accuracy, brier, ece, top_5; of amounts rmse, mae, r2 "
        "(default: accuracy; rmse,r2)",
    )
    group.add_argument(
        "--early-stopping",
        type=arguments.positive_int,
        metavar="N",
        help="stop when the loss on those rows has not fallen for N epochs, and keep the best "
        "epoch's network",
    )
    group.add_argument(
        "--checkpoint", metavar="FILE", help="write after each epoch what --resume goes on from"
    )
    group.add_argument(
        "--resume",
        metavar="FILE",
        help="go on from a checkpoint, and go on writing it: the same command otherwise, and the "
        "same model, bit for bit, as if never stopped (where there is no FILE yet, begin)",
    )
    group.add_argument(
        "--log", metavar="FILE.csv", help="write losses, metrics and learning rate of each epoch"
    )
    group.add_argument(
        "--plot", metavar="FILE.png", help="draw them (needs matplotlib)"
    )


# --- what the network learns


def task_of(args: argparse.Namespace) -> str | None:
    """The task that the loss asks for; None where the target decides."""
    asked = task_for(None, args.loss)
    if args.task and asked and args.task != asked:
        raise BadUse(f"--loss {name_of(args.loss)} is for {asked}, got --task {args.task}")
    return asked


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
        smoothed = {one.name: one for one in (losses.CrossEntropy, losses.BinaryCrossEntropy)}
        if name_of(loss) not in smoothed:
            raise BadUse(f"--label-smoothing goes with cross-entropy, not with {name_of(loss)}")
        loss = smoothed[name_of(loss)](args.label_smoothing)
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
                raise BadUse(f"--optimizer lbfgs must come without {arguments.option(name)}")
        if any(args.dropout):
            raise BadUse("--optimizer lbfgs must come without --dropout")
        if args.norm == "batch":
            raise BadUse("--optimizer lbfgs must come without --norm batch")
        if args.compute_dtype == "bfloat16":
            raise BadUse("--optimizer lbfgs must come without --compute-dtype bfloat16")
    if args.compute_dtype not in (None, args.dtype) and args.dtype == "float64":
        raise BadUse(
            f"--compute-dtype {args.compute_dtype} goes with --dtype float32, got {args.dtype}"
        )
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
