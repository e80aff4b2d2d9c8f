"""What one fit or partial_fit is to do: its arguments, checked and converted, as one value.

Who trains makes a `Plan` first, so that every error comes before anything has changed, and whoever
gets one checks nothing again.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import fields
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn.checks import as_bool, as_int, as_real
from fastnn.errors import optional
from fastnn.network.arrays import Features, Once, as_dense, as_numbers, as_pair
from fastnn.network.parameters import Parameters, views
from fastnn.network.spec import NetworkSpec
from fastnn.training.fit import Callback, stateful
from fastnn.training.metrics import Metric, as_metrics
from fastnn.training.optimizers import LBFGS, Optimizer, as_optimizer
from fastnn.training.schedules import Rate, Watching, as_rate
from fastnn.training.split import split
from fastnn.training.stream import Stream, as_stream
from fastnn.training.weights import LEAST_SHARE, Weights, as_weights, check_mini_batches
from fastnn.values import Value

if TYPE_CHECKING:
    from fastnn.files.model import Loaded


NONE: Mapping[str, Any] = MappingProxyType({})
LOOK = 1 << 16  # numbers of X looked at for their size, at most
LATER = ("rate_factors", "ntk")  # left out where they are none: older checkpoints have none
MOST_ROWS = 2**62  # of a mini-batch: what compiled code counts in
QUIET, LOUD = 50, 200  # sizes: of a column that is not looked into, and of what is warned of
# X; of the rows that are measured on y and weights, and where they are in X (None: they are X).
HeldOut = tuple[Features, np.ndarray, np.ndarray | None, np.ndarray | None]


class Plan(NamedTuple):
    """What to train on, how, and what to measure; arrays as the engine takes them.

    Attributes
    ----------
    X : Features or Stream
    y : array or None
        None of a stream, which yields its own.
    rows : array of int
        Those of X and y that are trained on; of a stream none.
    weights : array, (len(X),), or None
    rule : Optimizer
        Or what fastnn.sklearn has in its place (loop.py: `Steps`).
    batch : int
        Rows of a mini-batch.
    epochs, shuffle, callbacks, verbose
        As of `Model.fit`.
    seed : int
        The model's, or the checkpoint's.
    held_out : (X, y, weights or None, rows or None) or None
        What is measured on after each epoch: the rows X[rows], or X; y and weights, which are of
        the loss, are of these rows alone.
    metrics : dict of functions
        What is measured on it, by name, beside the loss.
    settings : dict
        What must be the same to resume the fit, as JSON can hold it.
    checkpoint : Loaded or None
        What the fit goes on from.
    dropout : 1.0, Schedule or function
        By what the network's dropout is multiplied in each step.
    drop_last : bool
        As of `Model.fit`.
    """

    X: Features | Stream
    y: np.ndarray | None
    rows: np.ndarray
    rule: Any
    batch: int
    weights: np.ndarray | None = None
    epochs: int = 1
    shuffle: bool = False
    seed: int = 0
    held_out: HeldOut | None = None
    metrics: Mapping[str, Metric] = NONE
    callbacks: tuple[Callback, ...] = ()
    verbose: bool = False
    settings: Mapping[str, Any] = NONE
    checkpoint: Loaded | None = None
    dropout: Rate = 1.0
    drop_last: bool = False

    @property
    def n_epoch(self) -> int:
        """Rows that an epoch trains on."""
        n = len(self.rows)
        return n - n % self.batch if self.drop_last and n > 1 else n

    @property
    def least(self) -> float:
        """Weight a row, at least, that the gradient of a mini-batch is divided by."""
        return 0.0 if self.weights is None else LEAST_SHARE * float(self.weights[self.rows].mean())

    @property
    def measured(self) -> list[str]:
        """Columns of the history that are measured on the rows held out."""
        return _measured(self.held_out, self.metrics)


def plan_fit(
    network: NetworkSpec,
    seed: int,
    X: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    optimizer: Any,
    learning_rate: Any,
    validation_data: Any,
    validation_split: float,
    metrics: Any,
    callbacks: Any,
    sample_weight: Any,
    class_weight: Any,
    shuffle: bool,
    resume: str | PathLike[str] | None,
    verbose: bool,
    dropout_schedule: Any = None,
    drop_last: bool = False,
    rows: Any = None,
    held_out: Any = None,
    once: Once | None = None,
) -> Plan:
    """The plan of `Model.fit`, from its arguments, and of one model of `fit_many`.

    rows, held_out: of X and y, those to train on (all by default) and those to measure on. once: as
    of `as_pair`.
    """
    epochs = as_int("epochs", epochs, 1)
    batch_size = as_int("batch_size", batch_size, 1)
    rule = as_optimizer(optimizer, learning_rate)
    dropout = _as_dropout(dropout_schedule, network)
    shuffle, drop_last = as_bool("shuffle", shuffle), as_bool("drop_last", drop_last)
    share = as_real("validation_split", validation_split, below=1.0)
    chosen = as_metrics(metrics, network)
    watching = as_callbacks(callbacks)
    verbose = as_bool("verbose", verbose)
    _check_measured(metrics, share, validation_data, rows, held_out)
    if isinstance(rule, LBFGS):
        _check_lbfgs(network, resume)
    others = None
    if y is None:
        _check_stream(rule, dropout, share, sample_weight, class_weight, drop_last)
        X, rows = as_stream(X, epochs, network), np.arange(0)
    else:
        X, y = as_pair(X, y, network, to_train=True, once=once)
        rows = _as_rows("rows", rows, len(X), once)
        others = None if held_out is None else _as_rows("held_out", held_out, len(X), once)
    loaded = None if resume is None else _checkpoint(resume, network)
    seed = seed if loaded is None else loaded.seed
    weights, weigh = None, None
    if y is not None:
        if share:
            rows, others = _hold_out(X, y, share, seed, network)
        weigh = Weights(class_weight, y, network, rows)
        weights = weigh(sample_weight, y)
        check_mini_batches(weights, rows, batch_size)
    measured_on = None
    if validation_data is not None:
        measured_on = _as_held_out(validation_data, network, weigh, once)
    elif y is not None and others is not None:
        name = "validation_split" if share else "held_out"
        its = y[others], _of_held_out(name, weights, others)
        # Rows that lie together are read a little faster, but many networks' own copies are many.
        measured_on = (X[others], *its, None) if once is None else (X, *its, others)
    measured = _measured(measured_on, chosen)
    _check_rate(rule, measured)
    settings = {
        "rows": len(rows),
        "batch_size": batch_size,
        "optimizer": _as_setting(rule),
        "validation_split": share,
        "metrics": measured,
        "shuffle": shuffle,
        "weighted": weights is not None,
        "dropout_schedule": _as_setting(dropout_schedule),
        "drop_last": drop_last or None,  # of checkpoints from before it was, None
    }
    if loaded is not None:
        _check_resumed(loaded, settings, rule, watching)
    return Plan(
        X,
        y,
        rows,
        rule,
        _as_batch(batch_size, None if y is None else len(rows), network),
        weights,
        epochs,
        shuffle,
        seed,
        measured_on,
        chosen,
        watching,
        verbose,
        settings,
        loaded,
        dropout,
        drop_last,
    )


def plan_partial_fit(
    network: NetworkSpec,
    X: Any,
    y: Any,
    *,
    batch_size: int,
    optimizer: Any,
    learning_rate: Any,
    sample_weight: Any,
    class_weight: Any,
) -> Plan:
    """The plan of `Model.partial_fit`, from its arguments: one pass in the rows' order."""
    batch_size = as_int("batch_size", batch_size, 1)
    rule = as_optimizer(optimizer, learning_rate)
    spanning = [rate for rate in (rule.learning_rate, rule.weight_decay) if _by_epochs(rate)]
    if isinstance(rule, LBFGS) or spanning:
        what = "LBFGS" if isinstance(rule, LBFGS) else type(spanning[0]).__name__
        raise ValueError(f"{what} must be used in fit: partial_fit has no epochs")
    X, y = as_pair(X, y, network, to_train=True)
    rows = np.arange(len(X))
    weights = None
    if sample_weight is not None or class_weight is not None:
        weights = Weights(class_weight, y, network, rows)(sample_weight, y)
        check_mini_batches(weights, rows, batch_size)
    batch = _as_batch(batch_size, len(X), network)
    return Plan(X, y, rows, rule, batch, weights)


def as_callbacks(callbacks: Any) -> tuple[Callback, ...]:
    """`callbacks`, which must be a list of them."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"callbacks must be a list of them, got {callbacks!r}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = "; make it one: " if isinstance(callback, type) else ""
            hint += f"{callback.__name__}()" if hint else ""
            raise TypeError(f"each of callbacks must be a fastnn.Callback, got {callback!r}{hint}")
    return tuple(callbacks)


def _as_dropout(schedule: Any, network: NetworkSpec) -> Rate:
    """dropout_schedule, a factor of at most 1."""
    if schedule is None:
        return 1.0
    if not any(network.dropout):
        raise ValueError("dropout_schedule must come with a network that has dropout")
    rate = as_rate("dropout_schedule", schedule)
    if isinstance(rate, float):
        raise TypeError(f"dropout_schedule must be a schedule or a function, got {schedule!r}")
    if getattr(rate, "learning_rate", 0) > 1:
        raise ValueError(f"dropout_schedule must be at most 1, got {schedule!r}")
    return rate


def _by_epochs(rate: Rate) -> bool:
    return getattr(rate, "by_epochs", False)


def _as_rows(name: str, rows: Any, n: int, once: Once | None) -> np.ndarray:
    if once is None:
        return _checked_rows(rows, name, n)
    return once(_checked_rows, (rows,), (name, n), name, n)


def _checked_rows(rows: Any, name: str, n: int) -> np.ndarray:
    """Numbers of rows, (m,) intp: at least one, 0 to n - 1, in any order and number; None: all."""
    if rows is None:
        return np.arange(n)
    numbers = as_numbers(name, rows)
    if not numbers.size:
        raise ValueError(f"{name} must hold at least one row, got none")
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        hint = f"; of a mask np.flatnonzero({name})" if numbers.dtype == bool else ""
        raise ValueError(
            f"{name} must be numbers of rows, (m,) of integers, got {numbers.dtype} of shape "
            f"{numbers.shape}{hint}"
        )
    if numbers.min() < 0 or numbers.max() >= n:
        bad = int(np.argmax((numbers < 0) | (numbers >= n)))
        raise ValueError(f"{name} must be 0 to {n - 1}, got {numbers[bad]} at {bad}")
    return np.array(numbers, np.intp)


def _measured(held_out: Any, metrics: Mapping[str, Metric]) -> list[str]:
    return [f"val_{name}" for name in ("loss", *metrics)] if held_out else []


def _as_setting(value: Any) -> Any:
    """A setting as JSON can hold it: an object as its name and parameters."""
    if isinstance(value, Value):
        parameters = {
            one.name: _as_setting(getattr(value, one.name))
            for one in fields(value)
            if not (one.name in LATER and getattr(value, one.name) == one.default)
        }
        return {"name": type(value).__name__, **parameters}
    if isinstance(value, (list, tuple)):
        return [_as_setting(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _checkpoint(path: str | PathLike[str], network: NetworkSpec) -> Loaded | None:
    """The checkpoint at `path`, which must be one of this network; None where there is no file."""
    if not os.path.exists(path):
        return None
    from fastnn.files import model as storage  # here: json makes an import slower

    loaded = storage.load(path)
    if loaded.checkpoint is None:
        raise ValueError(
            f"resume: {os.fspath(path)!s} must be a file that Checkpoint wrote, not Model.save; "
            "to train a saved model on, fastnn.load it and call its fit"
        )
    if loaded.parameters.network != network:
        raise ValueError(
            f"resume: the checkpoint must be of this network, {network}, "
            f"got {loaded.parameters.network}"
        )
    return loaded


def _check_resumed(
    loaded: Loaded, settings: dict[str, Any], rule: Optimizer, callbacks: tuple[Callback, ...]
) -> None:
    """A checkpoint must be one of a fit with these settings."""
    checkpoint = loaded.checkpoint
    assert checkpoint is not None
    for name, came in settings.items():
        want = checkpoint.settings.get(name)
        if came != want:
            raise ValueError(f"resume: {name} must be {want!r} as in the checkpoint, got {came!r}")
    if loaded.parameters.optimizer != rule.kind:
        raise ValueError(
            f"resume: the checkpoint must hold vectors of {rule.kind}, "
            f"got those of {loaded.parameters.optimizer}"
        )
    names = [name for name, _ in checkpoint.callbacks]
    mine = [type(callback).__name__ for callback in stateful(callbacks)]
    if names != mine:
        raise ValueError(
            "resume: callbacks that keep a state must be those of the checkpoint, "
            f"{', '.join(names) or 'none'}, got {', '.join(mine) or 'none'}"
        )


def _as_batch(batch_size: int, n: int | None, network: NetworkSpec) -> int:
    """Rows of a mini-batch out of n; None: of a stream. 1 is for batch_size=1 alone, whose steps
    round in a way of their own: one row of what may be more is stepped as the last of many is."""
    most = MOST_ROWS if n is None else n
    if min(batch_size, most) == 1 and network.batch_normalised:
        raise ValueError(
            "batch normalisation must have mini-batches of at least 2 rows, got "
            + ("batch_size=1" if batch_size == 1 else "1 row in all")
        )
    return min(batch_size, max(most, 2))


def _hold_out(
    X: Features, y: np.ndarray, share: float, seed: int, network: NetworkSpec
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to measure on; classes give their share each."""
    labels = None
    if y.ndim == 1:
        labels = y
    elif network.output == "sigmoid" and network.n_out == 1 and np.isin(y, (0, 1)).all():
        labels = y[:, 0]
    rows, held_out = split(len(X), share, seed, labels)
    if not len(held_out):
        raise ValueError(f"validation_split must hold out at least a row, {share:g} of {len(X)}")
    return rows, held_out


def _as_held_out(
    given: Any, network: NetworkSpec, weigh: Weights | None, once: Once | None
) -> HeldOut:
    """validation_data; weigh: by class, as the training rows are."""
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise TypeError("validation_data must be a pair (X, y) or (X, y, sample_weight)")
    try:
        X, y = as_pair(given[0], given[1], network, once=once)
        own = given[2] if len(given) == 3 else None
        return X, y, as_weights(own, len(y)) if weigh is None else weigh(own, y), None
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None


def _of_held_out(
    name: str, weights: np.ndarray | None, rows: np.ndarray
) -> np.ndarray | None:
    if weights is not None and not weights[rows].any():
        raise ValueError(f"{name} must hold out a row of weight above 0, got none")
    return None if weights is None else weights[rows]


def warn_of_scale(X: Features | Stream, parameters: Parameters) -> None:
    """Warn if a column alone brings the first layer far out of the range where weights move.

    Of some rows, the root mean square of a column times that of its weights; beyond 30 plain SGD
    learns nothing, beyond 1000 nothing does. Normalisation takes any scale, and so do bins and
    codes; of embedded columns nothing is said.
    """
    network = parameters.network
    normalised = bool(network.norm and network.norm[0])
    if isinstance(X, Stream) or normalised or parameters.all_steps or network.n_in > LOOK:
        return
    n = max(1, LOOK // network.n_in)
    some = as_dense(X[np.arange(0, len(X), max(1, len(X) // n))[:n]], network).astype(np.float64)
    plain = network.plain_columns
    size = np.sqrt(np.square(some[:, plain]).mean(0))
    if size.max(initial=0) < QUIET:  # without a look at the weights
        return
    W = views(network, parameters.weights()[1])[0][0][:, : len(plain)]
    reach = size * np.sqrt(np.square(W, dtype=np.float64).mean(0))
    j = int(np.argmax(reach))
    if reach[j] > LOUD:
        warnings.warn(
            f"column {plain[j]} of X has values around {size[j]:.2g}, too large to learn from: "
            "scale X, say to (X - X.mean(0)) / X.std(0), or integers by Model(input_scale=...)",
            stacklevel=3,
        )


# What does not go together


def _check_measured(
    metrics: Any, share: float, validation_data: Any, rows: Any, held_out: Any
) -> None:
    given = {
        "held_out": held_out is not None,
        "validation_data": validation_data is not None,
        "validation_split": share > 0,
    }
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} exclude each other")
    if share and rows is not None:
        raise ValueError("validation_split and rows exclude each other: held_out tells the others")
    if metrics is not None and not names:
        raise ValueError("metrics must come with validation_data or validation_split to measure on")


def _check_lbfgs(network: NetworkSpec, resume: Any) -> None:
    """L-BFGS takes one function of theta: the same in each call, and all of its memory at hand."""
    if any(network.dropout) or any(network.noise):
        raise ValueError("LBFGS must have a network without dropout and noise: L must stay one")
    if network.batch_normalised:
        raise ValueError(
            "LBFGS must have a network without batch normalisation: it has no mini-batches"
        )
    if network.monotone:
        raise ValueError("LBFGS must have a network without monotone, whose steps are cut short")
    if network.bfloat16:
        raise ValueError(
            "LBFGS must have a network that computes in float32 or float64: its line searches see "
            "what bfloat16 rounds"
        )
    if resume is not None:
        raise ValueError("LBFGS must come without resume: its memory is in no checkpoint")
    optional("scipy.optimize", "LBFGS")  # before threads of fit_many: Ctrl-C ends no import there


def _check_stream(
    rule: Optimizer,
    dropout: Rate,
    share: float,
    sample_weight: Any,
    class_weight: Any,
    drop_last: bool,
) -> None:
    """What needs all rows, or to know how many there are, does not go with a stream."""
    given = {
        "validation_split": share > 0,
        "sample_weight": sample_weight is not None,
        "class_weight": class_weight is not None,
        "drop_last": drop_last,
    }
    for name, is_given in given.items():
        if is_given:
            raise ValueError(f"{name} must come with X and y: a stream's rows are not known before")
    if isinstance(rule, LBFGS):
        raise ValueError("LBFGS must come with X and y: it needs all rows in each step")
    for rate in (rule.learning_rate, rule.weight_decay, dropout):
        if _by_epochs(rate) and not isinstance(rate, Watching):
            raise ValueError(
                f"{type(rate).__name__} must come with X and y: a stream does not tell how many "
                "steps an epoch has; a function of the step number will do"
            )


def _check_rate(rule: Optimizer, measured: list[str]) -> None:
    """A schedule must find the column that it watches."""
    rate = rule.learning_rate
    if isinstance(rate, Watching) and rate.column not in ("loss", *measured):
        raise ValueError(
            f"{type(rate).__name__}(monitor={rate.column!r}) must come with validation_data or "
            "validation_split"
        )
