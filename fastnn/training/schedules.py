"""Schedules: the learning rate of each step, or its weight decay, or the factor of its dropout.

t = 0, 1, ... counts steps. Schedules in epochs span the fit that they are given to: t counts its
steps, an epoch is the number of steps of one pass, so that t // per_epoch numbers its epochs, and
total is the number of its steps. The others (`Constant`, `InverseScaling`, functions) count the
optimizer's steps, those of earlier fits too. Numbers come from additions, multiplications,
divisions and roots alone, and from splitting a number into mantissa and exponent: the same bits on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any, cast

import numpy as np

from fastnn.checks import as_int, as_name, as_real
from fastnn.random import log
from fastnn.values import Value

LIMITS = {  # the least, and what they must be below
    "gamma": (0.0, 1.0 + 1e-9),
    "scale": (0.0, math.inf),
    "power": (0.0, 100.0),
    "minimum": (0.0, math.inf),
    "warmup": (0.0, math.inf),
    "grow": (1.0, math.inf),
    "pct_start": (0.0, 1.0),
    "div_factor": (1e-30, math.inf),
    "final_div_factor": (1e-30, math.inf),
    "threshold": (0.0, math.inf),
    "factor": (0.0, 1.0),
    "tol": (0.0, math.inf),
    "period": (1e-9, math.inf),
}


class Schedule(Value):
    """What every schedule has: the rate it starts from, or reaches.

    Examples
    --------
    >>> import fastnn
    >>> isinstance(fastnn.CosineDecay(0.1), fastnn.Schedule)
    True
    """

    learning_rate: float

    @property
    def by_epochs(self) -> bool:
        """Whether it counts in epochs, of which `partial_fit` has none, and spans one fit."""
        return not isinstance(self, (Constant, InverseScaling))

    def __post_init__(self) -> None:
        checked = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "learning_rate":
                value = as_real(one.name, value)
            elif one.name == "monitor":
                value = as_name(one.name, value, ("loss", "val_loss"))
            elif one.name in LIMITS:
                if value is not None:
                    value = as_real(one.name, value, *LIMITS[one.name])
            else:
                value = as_int(one.name, value, 0 if one.name == "cooldown" else 1)
            checked[one.name] = value
        self._keep(**checked)

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        """Rates of steps t."""
        raise NotImplementedError


class Constant(Schedule):
    """The same rate in each step; what a plain number means.

    Parameters
    ----------
    learning_rate : float

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=3, learning_rate=fastnn.Constant(0.1))
    >>> history.learning_rate
    [0.1, 0.1, 0.1]
    """

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        return np.full(len(t), self.learning_rate)


class StepDecay(Schedule):
    """learning_rate gamma^floor(epoch / epochs): smaller after every so many epochs.

    Parameters
    ----------
    learning_rate : float
        Of the first epochs.
    epochs : int, default 10
    gamma : float, default 0.1
        At most 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> rate = fastnn.StepDecay(0.5, epochs=2, gamma=0.5)
    >>> history = model.fit(X, y, epochs=4, learning_rate=rate)
    >>> history.learning_rate
    [0.5, 0.5, 0.25, 0.25]
    """

    epochs: int = 10
    gamma: float = 0.1

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        return self.learning_rate * _power(self.gamma, t // per_epoch // self.epochs)


class Exponential(Schedule):
    """learning_rate gamma^epoch.

    Parameters
    ----------
    learning_rate : float
        Of the first epoch.
    gamma : float, default 0.95
        At most 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=3, learning_rate=fastnn.Exponential(0.5, gamma=0.5))
    >>> history.learning_rate
    [0.5, 0.25, 0.125]
    """

    gamma: float = 0.95

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        return self.learning_rate * _power(self.gamma, t // per_epoch)


class InverseScaling(Schedule):
    """learning_rate / (1 + scale t)^power in step t = 0, 1, ...

    scale=1 is scikit-learn's "invscaling", counted in steps.

    Parameters
    ----------
    learning_rate : float
        Of the first step.
    power : float, default 0.5
    scale : float, default 1.0

    References
    ----------
    Robbins & Monro (1951), "A stochastic approximation method", Annals of Mathematical Statistics
    22: it converges for powers above 1/2 and up to 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=4, learning_rate=fastnn.InverseScaling(0.1))
    >>> print(*(f"{rate:.3f}" for rate in history.learning_rate))
    0.100 0.071 0.058 0.050
    """

    power: float = 0.5
    scale: float = 1.0

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        return self.learning_rate / _real_power(1 + self.scale * t, self.power)


class CosineDecay(Schedule):
    """Warm-up in a straight line, then half a cosine down to `minimum`, once or again and again.

        warm-up    learning_rate (t + 1) / (steps of warm-up)
        after it   minimum + (learning_rate - minimum) (1 + cos(pi s)) / 2

    with s = 0..1 the share of the decay, or of its current period, that is over.

    Parameters
    ----------
    learning_rate : float
        The largest.
    minimum : float, default 0.0
        At most learning_rate.
    warmup : float, default 0.0
        Epochs.
    period : float, optional
        Epochs until the first restart; by default one period fills the fit.
    grow : float, default 1.0
        Each period is so many times as long as the one before.

    References
    ----------
    Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm restarts", ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=9, learning_rate=fastnn.CosineDecay(0.1, warmup=2))
    >>> print(*(f"{rate:.3f}" for rate in history.learning_rate))
    0.050 0.100 0.100 0.095 0.081 0.061 0.039 0.019 0.005
    """

    minimum: float = 0.0
    warmup: float = 0.0
    period: float | None = None
    grow: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minimum > self.learning_rate:
            raise ValueError(
                f"minimum must be at most learning_rate={self.learning_rate:g}, got {self.minimum}"
            )

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        warmup = round(self.warmup * per_epoch)
        begin = np.full(len(t), float(warmup))
        length = np.full(len(t), float(max(1, total - warmup)))
        if self.period is not None:
            start, long = float(warmup), float(max(1, round(self.period * per_epoch)))
            length[:] = long
            if self.grow == 1:
                begin += np.maximum(0, (t - warmup) // long) * long
            else:
                while start + long <= t[-1]:  # as many as its logarithm
                    start, long = start + long, long * self.grow
                    begin[t >= start], length[t >= start] = start, long
        share = np.clip((t - begin) / length, 0, 1)
        rates = self.minimum + (self.learning_rate - self.minimum) * (1 + _cos_pi(share)) / 2
        return np.where(t < warmup, self.learning_rate * (t + 1) / max(1, warmup), rates)


class OneCycle(Schedule):
    """Up along half a cosine, and further down along another by the end of the fit.

        learning_rate / div_factor  ->  learning_rate  ->  learning_rate / div_factor
        / final_div_factor

    The defaults are PyTorch's, whose momentum cycle there is none of.

    Parameters
    ----------
    learning_rate : float
        The largest.
    pct_start : float, default 0.3
        The share of the steps that goes up; below 1.
    div_factor : float, default 25.0
    final_div_factor : float, default 1e4

    References
    ----------
    Smith & Topin (2018), "Super-convergence: very fast training of neural networks using large
    learning rates", arXiv:1708.07120; Smith (2018), arXiv:1803.09820.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=8, learning_rate=fastnn.OneCycle(0.1))
    >>> print(*(f"{rate:.3f}" for rate in history.learning_rate))
    0.004 0.082 0.097 0.081 0.056 0.028 0.008 0.000
    """

    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        first = self.learning_rate / self.div_factor
        last = first / self.final_div_factor
        top = max(0.0, self.pct_start * total - 1)
        up = np.clip(t / top if top else np.ones(len(t)), 0, 1)
        down = np.clip((t - top) / max(total - 1 - top, 1e-9), 0, 1)
        rising = self.learning_rate + (first - self.learning_rate) / 2 * (1 + _cos_pi(up))
        falling = last + (self.learning_rate - last) / 2 * (1 + _cos_pi(down))
        return np.where(t <= top, rising, falling)


class CosLog(Schedule):
    """Waves between 0 and learning_rate, each about twice as long as the one before.

        learning_rate (1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2

    with t = step / total, from 0 at the first step to just below 1 at the last.

    Parameters
    ----------
    learning_rate : float
        The largest.
    cycles : int, default 4
        Waves in the fit, 1 to 50.

    References
    ----------
    Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
    trees on tabular data", NeurIPS, section 3 (coslog4).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=8, learning_rate=fastnn.CosLog(0.1, cycles=2))
    >>> print(*(f"{rate:.3f}" for rate in history.learning_rate))
    0.000 0.098 0.032 0.007 0.072 0.099 0.065 0.019
    """

    cycles: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cycles > 50:
            raise ValueError(f"cycles must be at most 50, got {self.cycles}")

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        # (1 - cos(2 pi x)) / 2 = sin^2(pi x), and of x = log2(...) only what whole numbers leave
        # counts: the logarithm of a mantissa m from sqrt(1/2) to sqrt(2).
        m, _ = np.frexp(1 + (2.0**self.cycles - 1) * (t / total))
        m = np.where(m < math.sqrt(0.5), 2 * m, m)
        wave = _sin_pi(log(m) / 0.6931471805599453)
        rates: np.ndarray = self.learning_rate * (wave * wave)
        return rates


class FlatCosine(Schedule):
    """learning_rate for the first half of the fit, then half a cosine down to 0.

        learning_rate (1 + cos(pi s)) / 2,   s = max(0, 2 t - 1),   t = step / total

    Parameters
    ----------
    learning_rate : float

    References
    ----------
    Holzmüller, Grinsztajn & Steinwart (2024), as of `CosLog` (flat_cos).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=8, learning_rate=fastnn.FlatCosine(0.1))
    >>> print(*(f"{rate:.3f}" for rate in history.learning_rate))
    0.100 0.100 0.100 0.100 0.100 0.085 0.050 0.015
    """

    def at(self, t: np.ndarray, per_epoch: int, total: int) -> np.ndarray:
        share = np.clip(2 * (t / total) - 1, 0, 1)
        return self.learning_rate * ((1 + _cos_pi(share)) / 2)


class Watching(Schedule):
    """A schedule that follows what an epoch ended with: its rate is state, not a formula of t."""

    @property
    def column(self) -> str:
        """The history's column that it watches."""
        return "loss"

    def begin(self) -> dict[str, Any]:
        """Its state before the first epoch, JSON-able."""
        return {"learning_rate": self.learning_rate, "best": None, "bad": 0}

    def after(self, state: dict[str, Any], value: float) -> dict[str, Any]:
        """Its state after an epoch that ended with `value`."""
        raise NotImplementedError


class ReduceOnPlateau(Watching):
    """Multiply the rate by `factor` when the loss has not improved for more than `patience` epochs.

    An improvement is a loss below best - threshold |best|: for losses above 0 PyTorch's rule.

    Parameters
    ----------
    learning_rate : float
        At first.
    factor : float, default 0.1
        Below 1.
    patience : int, default 10
        At least 1.
    threshold : float, default 1e-4
    cooldown : int, default 0
        Epochs after a reduction that do not count.
    minimum : float, default 0.0
    monitor : {"loss", "val_loss"}, default "loss"
        Of the history; val_loss needs validation data.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=3, learning_rate=fastnn.ReduceOnPlateau(0.1, patience=2))
    >>> history.learning_rate
    [0.1, 0.1, 0.1]
    """

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    minimum: float = 0.0
    monitor: str = "loss"

    @property
    def column(self) -> str:
        return self.monitor

    def begin(self) -> dict[str, Any]:
        return {**super().begin(), "cooldown": 0}

    def after(self, state: dict[str, Any], value: float) -> dict[str, Any]:
        rate, best, bad, rest = (state[k] for k in ("learning_rate", "best", "bad", "cooldown"))
        if math.isfinite(value) and (
            best is None or value < best * (1 - math.copysign(self.threshold, best))
        ):
            best, bad = value, 0
        else:
            bad += 1
        if rest:
            rest, bad = rest - 1, 0
        if bad > self.patience:
            reduced = max(rate * self.factor, self.minimum)
            rate = reduced if rate - reduced > 1e-8 else rate  # PyTorch's eps
            rest, bad = self.cooldown, 0
        return {"learning_rate": rate, "best": best, "bad": bad, "cooldown": rest}


class Adaptive(Watching):
    """Divide the rate by 5 when the training loss fails to fall by `tol` for two epochs in a row.

    scikit-learn's learning_rate="adaptive" as its documentation has it.

    Parameters
    ----------
    learning_rate : float
        At first.
    tol : float, default 1e-4
        An epoch counts as failed where its loss is above the best so far less tol.
    patience : int, default 2
        Failed epochs in a row, at least 1.
    factor : float, default 0.2
        Below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=3, learning_rate=fastnn.Adaptive(0.1))
    >>> history.learning_rate
    [0.1, 0.1, 0.1]
    """

    tol: float = 1e-4
    patience: int = 2
    factor: float = 0.2

    def after(self, state: dict[str, Any], value: float) -> dict[str, Any]:
        rate, best, bad = (state[k] for k in ("learning_rate", "best", "bad"))
        bad = bad + 1 if best is not None and value > best - self.tol else 0
        best = value if best is None else min(best, value)
        if bad >= self.patience:
            rate, bad = rate * self.factor, 0
        return {"learning_rate": rate, "best": best, "bad": bad}


class Running:
    """A learning rate, or what else has a schedule, under way in one fit.

    Parameters
    ----------
    rate : float, Schedule or function of the step number
    per_epoch : int
        Steps of an epoch.
    total : int
        Steps of the fit.
    name : str
        Of the argument that gave it.
    """

    def __init__(
        self, rate: Any, per_epoch: int, total: int, name: str = "learning_rate"
    ) -> None:
        self.rate = rate
        self.name = name
        self.per_epoch = per_epoch
        self.total = total
        self.last = math.nan  # the rate of the step before
        self._state = rate.begin() if isinstance(rate, Watching) else None

    @property
    def by_epochs(self) -> bool:
        """Whether the steps that `rates` is asked for count from the fit's first one."""
        return getattr(self.rate, "by_epochs", False)

    def rates(self, start: int, stop: int) -> np.ndarray:
        """Of steps start..stop - 1, counted from 0 as `by_epochs` says; float64."""
        if isinstance(self.rate, float) or self._state is not None:
            rates = np.empty(stop - start)
            rates.fill(self.rate if self._state is None else self._state["learning_rate"])
        elif isinstance(self.rate, Schedule):
            t = np.arange(start, stop)
            rates = np.ascontiguousarray(self.rate.at(t, self.per_epoch, self.total), np.float64)
        else:
            rates = np.array([as_real(self.name, self.rate(t)) for t in range(start, stop)])
        if self.name == "dropout_schedule" and rates.max() > 1 + 1e-9:
            raise ValueError(f"dropout_schedule must be at most 1, got {rates.max():g}")
        self.last = float(rates[-1])
        return rates

    def epoch_ended(self, row: dict[str, float]) -> None:
        """With this row of the history."""
        if self._state is not None:
            self._state = self.rate.after(self._state, row[self.rate.column])

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint must hold: None where the number of the step says it all."""
        return self._state

    def restore(self, state: dict[str, Any] | None) -> None:
        """Become what returned `state`, from a checkpoint."""
        if self._state is None and state is None:
            return
        if self._state is None or not isinstance(state, dict) or set(state) != set(self._state):
            raise ValueError("resume: the checkpoint holds the state of another schedule")
        for name, value in state.items():
            if name != "best" or value is not None:
                least = -math.inf if name == "best" else 0.0
                try:
                    as_real(f"resume: {name} of the schedule", value, least)
                except TypeError as error:
                    raise ValueError(str(error)) from None
        self._state = state


Rate = float | Schedule | Callable[[int], float]


def as_rate(name: str, value: Any) -> Rate:
    """A learning rate or what else may have a schedule: a number of at least 0, a schedule, or a
    function of the step number. What watches the loss is a learning rate."""
    if isinstance(value, Watching) and name != "learning_rate":
        raise ValueError(
            f"{name} must be a schedule that follows the steps, got {type(value).__name__}"
        )
    if isinstance(value, Schedule):
        return value
    if callable(value) and not isinstance(value, type):
        return cast(Callable[[int], float], value)
    return as_real(name, value)


def _power(x: float, n: np.ndarray) -> np.ndarray:
    """x^n for whole numbers n >= 0, by squaring."""
    result, n = np.ones(len(n)), n.copy()
    while n.any():
        result = np.where(n & 1, result * x, result)
        x, n = x * x, n >> 1
    return result


def _real_power(x: np.ndarray, p: float) -> np.ndarray:
    """x^p for x >= 1, p >= 0: 2^(p log2 x), by roots.

    The whole part of p is a product; its rest, in binary, a product of square roots of square
    roots, which IEEE 754 rounds correctly.
    """
    result = np.ones_like(x)
    whole, rest = divmod(p, 1.0)
    for _ in range(int(whole)):
        result = result * x
    root = x
    for _ in range(53):
        if not rest:
            break
        root, rest = np.sqrt(root), 2 * rest
        if rest >= 1:
            result, rest = result * root, rest - 1
    return result


def _cos_pi(x: np.ndarray) -> np.ndarray:
    """cos(pi x) for 0 <= x <= 1."""
    return _sin_pi(0.5 - x)


def _sin_pi(x: np.ndarray) -> np.ndarray:
    """sin(pi x) for -1/2 <= x <= 1/2, by Taylor's series up to (pi x)^23."""
    z = math.pi * x
    result = np.ones_like(z)
    for n in range(22, 0, -2):
        result = 1 - z * z / (n * (n + 1)) * result
    return z * result
