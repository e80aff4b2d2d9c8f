"""Optimizers: how a step moves theta along the gradient, and what shapes that step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any

from fastnn.checks import as_bool, as_int, as_name, as_real
from fastnn.training.schedules import Rate, as_rate
from fastnn.values import Value

# Numbers by name: the least, and what they must be below.
LIMITS = {
    "momentum": (0.0, 1.0),
    "dampening": (0.0, 1.0),
    "beta1": (0.0, 1.0),
    "beta2": (0.0, 1.0),
    "decay": (0.0, 1.0),
    "epsilon": (1e-30, math.inf),  # 0 in float32 would divide 0 by 0
    "momentum_decay": (1e-12, 1e3),
    "shrink": (1e-3, 1.0),
    "grow": (1.0, 1e3),
    "least": (1e-30, math.inf),
    "most": (1e-30, math.inf),
    "l1": (0.0, math.inf),
    "l2": (0.0, math.inf),
    "tol": (0.0, math.inf),
    "clip_norm": (1e-30, math.inf),
    "clip_value": (1e-30, math.inf),
    "max_norm": (1e-30, math.inf),
}


def _setting(default: Any) -> Any:
    return field(default=default, kw_only=True)


class RateFactors(Value):
    """What the learning rates of the groups of parameters are multiplied by."""

    W: float = 1.0
    b: float = 1.0
    gamma: float = 1.0
    alpha: float = 1.0
    scale: float = 1.0
    embedding: float = 1.0
    table: float = 1.0

    def __repr__(self) -> str:
        """As a user gives it."""
        return repr({one.name: v for one in fields(self) if (v := getattr(self, one.name)) != 1})


def as_factors(value: Any) -> RateFactors:
    """`value`, a dict of factors by group."""
    if isinstance(value, RateFactors):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f'rate_factors must be a dict such as {{"b": 0.1}}, got {value!r}')
    groups = [one.name for one in fields(RateFactors)]
    return RateFactors(
        **{
            as_name("each of rate_factors", group, groups): as_real(
                f"rate_factors[{group!r}]", factor
            )
            for group, factor in value.items()
        }
    )


class Optimizer(Value):
    """What every optimizer has: a learning rate, and settings that shape its steps.

    Before the rule g is clipped, first by norm, then by value, and the penalties' slopes are added;
    theta is decayed::

        g <- g min(1, clip_norm / (||g|| + 1e-6))     ||g||: of the whole gradient
        g <- g within -clip_value..clip_value
        g <- g + l2 theta + l1 sign(theta)
        theta <- theta - learning_rate weight_decay theta

    After it each unit's incoming weights (without its bias) are scaled back to the norm max_norm
    where theirs is larger. Reported losses are without penalties.

    Parameters
    ----------
    l1, l2 : float, default 0.0
        Penalties l1 sum |w| + l2/2 sum w^2. l2 is PyTorch's weight_decay of SGD and Adam, and
        scikit-learn's alpha divided by the rows of the mini-batch.
    weight_decay : float, schedule or function, default 0.0 (AdamW: 0.01)
        Decoupled from the gradient [1]_. Where it changes from step to step it is given as a
        learning rate is, such as ``fastnn.FlatCosine(0.02)``.
    clip_norm, clip_value : float, optional
        Above 0. clip_norm needs the whole gradient before any weight moves, which costs one more
        pass over it.
    max_norm : float, optional
        Above 0 [2]_.
    decay_bias : bool, default True
        Whether l1, l2 and weight_decay are for biases (b and gamma), too, as in PyTorch.
        scikit-learn exempts them.
    rate_factors : dict of float, default {}
        By what the learning rate of a group of parameters is multiplied, at least 0; it is also the
        rate of the group's weight decay. The groups: "W", "b", "gamma", "alpha" (of parametric
        activations), and of the inputs "scale", "embedding" (of numbers), "table" (of categories).
    ntk : bool, default False
        W moves as it would if the layer were a = V h / sqrt(n_in) + b and V = sqrt(n_in) W were
        trained by this rule [3]_: with n_in inputs, rates of SGD are divided by n_in, those of the
        other rules by its root, which epsilon is multiplied by. So one rate suits layers of any
        width. W itself, and what penalties, clipping and max_norm make of it and its gradient, are
        what they are without.

    References
    ----------
    .. [1] Loshchilov & Hutter (2019), "Decoupled weight decay regularization", ICLR.
    .. [2] Srivastava et al. (2014), "Dropout", JMLR 15, section 5.1.
    .. [3] Jacot, Gabriel & Hongler (2018), "Neural tangent kernel: convergence and generalization
       in neural networks", NeurIPS.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Adam(0.001, l2=1e-4, clip_norm=1.0, rate_factors={"b": 0.1})
    Adam(learning_rate=0.001, l2=0.0001, clip_norm=1.0, rate_factors={'b': 0.1})
    """

    learning_rate: Rate
    l1: float = _setting(0.0)
    l2: float = _setting(0.0)
    weight_decay: Rate = _setting(0.0)
    clip_norm: float | None = _setting(None)
    clip_value: float | None = _setting(None)
    max_norm: float | None = _setting(None)
    decay_bias: bool = _setting(True)
    rate_factors: RateFactors | Mapping[str, float] = _setting(RateFactors())
    ntk: bool = _setting(False)

    def __post_init__(self) -> None:
        checked = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in ("learning_rate", "weight_decay"):
                value = as_rate(one.name, value)
            elif one.name == "rate_factors":
                value = as_factors(value)
            elif isinstance(one.default, bool):
                value = as_bool(one.name, value)
            elif one.name == "memory":
                value = as_int(one.name, value, 1)
            elif not (value is None and one.default is None):
                low, high = LIMITS[one.name]
                value = as_real(one.name, value, low, high)
            checked[one.name] = value
        self._keep(**checked)

    def __repr__(self) -> str:
        given = [f"learning_rate={self.learning_rate!r}"] + [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)
            if one.name != "learning_rate" and getattr(self, one.name) != one.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    @property
    def kind(self) -> str:
        """The kernel's name for it (``_cpu.OPTIMIZERS``)."""
        raise NotImplementedError

    @property
    def own(self) -> tuple[str, ...]:
        """Which of its fields its kernel takes, besides the settings of all."""
        raise NotImplementedError

    @cached_property
    def plain(self) -> bool:
        """Whether a step is theta <- theta - learning_rate g and nothing else."""
        return replace(self, learning_rate=SGD.learning_rate) == SGD()

    @cached_property
    def rates(self) -> dict[str, Any]:
        """The numbers its kernel takes; 0 where a schedule gives them."""
        names = *self.own, "l1", "l2", "clip_norm", "clip_value", "max_norm"
        given = {name: getattr(self, name) or 0.0 for name in names}
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            given[name] = value if isinstance(value, float) else 0.0
        return {
            "decay_bias": self.decay_bias,
            "ntk": self.ntk,
            "factors": asdict(as_factors(self.rate_factors)),
            **given,
        }


class SGD(Optimizer):
    """Stochastic gradient descent, plain, with momentum, or with Nesterov's momentum.

        plain      theta <- theta - learning_rate g
        momentum   v <- momentum v + (1 - dampening) g,   theta <- theta - learning_rate v
        nesterov   v <- momentum v + g,   theta <- theta - learning_rate (g + momentum v)

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.1
        At least 0; a function gives the rate of step 0, 1, ...
    momentum : float, default 0.0
        At least 0 and below 1; 0 is plain SGD.
    nesterov : bool, default False
        Needs momentum above 0, and no dampening.
    dampening : float, default 0.0
        At least 0 and below 1. The first step is not dampened, as in PyTorch.
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Sutskever, Martens, Dahl & Hinton (2013), "On the importance of initialization and momentum in
    deep learning", ICML.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.SGD(0.1, momentum=0.9))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov must come with a momentum above 0, got momentum=0")
        if self.nesterov and self.dampening:
            raise ValueError(f"nesterov must come without dampening, got {self.dampening}")

    @property
    def kind(self) -> str:
        if not self.momentum:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def own(self) -> tuple[str, ...]:
        return "momentum", "dampening"


class Adam(Optimizer):
    """Adam: steps in units of the gradient's running average over its running root mean square.

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        theta <- theta - learning_rate (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + epsilon)

    in step n = 1, 2, ...; m and v begin at 0, and the divisions by 1 - beta^n correct for that.

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.001
        At least 0.
    beta1, beta2 : float, default 0.9 and 0.999
        At least 0 and below 1.
    epsilon : float, default 1e-8
        At least 1e-30.
    amsgrad : bool, default False
        With the largest v so far in place of v, which makes it converge where Adam may not [1]_.
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Kingma & Ba (2015), "Adam: A method for stochastic optimization", ICLR, algorithm 1.

    .. [1] Reddi, Kale & Kumar (2018), "On the convergence of Adam and beyond", ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.Adam(0.01))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    @property
    def kind(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def own(self) -> tuple[str, ...]:
        return "beta1", "beta2", "epsilon"


class AdamW(Adam):
    """Adam with decoupled weight decay, 0.01 by default.

        theta <- theta - learning_rate weight_decay theta,   then Adam's step

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, amsgrad
        As of `Adam`.
    weight_decay : float, schedule or function, default 0.01
    l1, l2, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Loshchilov & Hutter (2019), "Decoupled weight decay regularization", ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.AdamW(0.01, weight_decay=0.02))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    weight_decay: Rate = _setting(0.01)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, whose strength grows with the steps.

        mu_n = beta1 (1 - 0.96^(n momentum_decay) / 2),   Pi_n = mu_1 ... mu_n
        theta <- theta - learning_rate ((1 - mu_n) / (1 - Pi_n) g + mu_{n+1} / (1 - Pi_{n+1}) m)
                 / (sqrt(v / (1 - beta2^n)) + epsilon)

    with m and v as of `Adam`; like PyTorch's.

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.002
    beta1, beta2, epsilon : float, default 0.9, 0.999 and 1e-8
        As of `Adam`.
    momentum_decay : float, default 0.004
        Above 0.
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Dozat (2016), "Incorporating Nesterov momentum into Adam", ICLR workshop.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.NAdam(0.01))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 0.004

    @property
    def kind(self) -> str:
        return "nadam"

    @property
    def own(self) -> tuple[str, ...]:
        return "beta1", "beta2", "epsilon"

    @cached_property
    def rates(self) -> dict[str, Any]:
        from decimal import Decimal

        # its exp and ln are rounded correctly: the same bits on every machine
        psi = float((Decimal(self.momentum_decay) * Decimal("0.96").ln()).exp())
        return {**super().rates, "psi": psi}


class RMSprop(Optimizer):
    """Steps in units of the gradient's running root mean square.

        v <- decay v + (1 - decay) g^2
        centered:  c <- decay c + (1 - decay) g,  and v - c^2, at least 0, in place of v below
        s = g / (sqrt(v) + epsilon),   u <- momentum u + s
        theta <- theta - learning_rate u

    epsilon stands outside the root, as in PyTorch (and not in TensorFlow).

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.01
    decay : float, default 0.99
        PyTorch's alpha; at least 0 and below 1.
    momentum : float, default 0.0
    epsilon : float, default 1e-8
    centered : bool, default False
        With the variance in place of the mean square [1]_.
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Tieleman & Hinton (2012), lecture 6.5 of "Neural networks for machine learning".

    .. [1] Graves (2013), "Generating sequences with recurrent neural networks", arXiv:1308.0850.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.RMSprop(0.01))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.01
    decay: float = 0.99
    momentum: float = 0.0
    epsilon: float = 1e-8
    centered: bool = False

    @property
    def kind(self) -> str:
        centered = "_centered" if self.centered else ""
        return f"rmsprop{centered}{'_momentum' if self.momentum else ''}"

    @property
    def own(self) -> tuple[str, ...]:
        return "momentum", "epsilon"

    @cached_property
    def rates(self) -> dict[str, Any]:
        return {**super().rates, "beta2": self.decay}


class Adagrad(Optimizer):
    """Steps in units of the root of the sum of all squared gradients so far.

        s <- s + g^2,   theta <- theta - learning_rate g / (sqrt(s) + epsilon)

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.01
    epsilon : float, default 1e-10
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Duchi, Hazan & Singer (2011), "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.Adagrad(0.1))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.01
    epsilon: float = 1e-10

    @property
    def kind(self) -> str:
        return "adagrad"

    @property
    def own(self) -> tuple[str, ...]:
        return ("epsilon",)


class Lion(Optimizer):
    """Steps of one size for all parameters: the sign of an average of gradients.

        theta <- theta - learning_rate sign(beta1 m + (1 - beta1) g)
        m <- beta2 m + (1 - beta2) g

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.0001
        A third to a tenth of Adam's, says its paper, with a weight_decay as many times larger.
    beta1, beta2 : float, default 0.9 and 0.99
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Chen et al. (2023), "Symbolic discovery of optimization algorithms", NeurIPS, algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, optimizer=fastnn.Lion(0.01))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.0001
    beta1: float = 0.9
    beta2: float = 0.99

    @property
    def kind(self) -> str:
        return "lion"

    @property
    def own(self) -> tuple[str, ...]:
        return "beta1", "beta2"


class Rprop(Optimizer):
    """Each parameter has a step of its own, which grows while its gradient keeps its sign.

        sign kept     step <- step grow
        sign turned   step <- step shrink,  and g <- 0
        step <- step within least..most,  theta <- theta - step sign(g)

    For full batches (batch_size of all rows): the noise of mini-batches turns signs. The learning
    rate is the first step; a schedule changes no later one.

    Parameters
    ----------
    learning_rate : float, schedule or function, default 0.01
    shrink, grow : float, default 0.5 and 1.2
    least, most : float, default 1e-6 and 50.0
    l1, l2, weight_decay, clip_norm, clip_value, max_norm, decay_bias, rate_factors, ntk
        As of every optimizer: `fastnn.Optimizer`.

    References
    ----------
    Riedmiller & Braun (1993), "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm", ICNN; without going back, as Igel & Huesken (2000), "Improving the Rprop
    learning algorithm" (iRprop-).

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, batch_size=2, optimizer=fastnn.Rprop(0.01))
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 0.01
    shrink: float = 0.5
    grow: float = 1.2
    least: float = 1e-6
    most: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise ValueError(f"least must be at most most={self.most:g}, got {self.least:g}")

    @property
    def kind(self) -> str:
        return "rprop"

    @property
    def own(self) -> tuple[str, ...]:
        return "shrink", "grow", "least", "most"


class LBFGS(Optimizer):
    """The limited-memory quasi-Newton method of Broyden, Fletcher, Goldfarb and Shanno.

    SciPy's L-BFGS-B over theta, each iteration an epoch on all rows: for few rows and small
    networks. `epochs` is the most iterations; it ends earlier where the largest |dL/dtheta| is at
    most tol or the loss no longer falls. batch_size and shuffle mean nothing to it, of the settings
    only l2 and decay_bias hold, and it starts anew with each fit. ``history.loss`` is the loss
    after each iteration.

    Parameters
    ----------
    memory : int, default 10
        Pairs of steps and changes of the gradient that are kept, at least 1.
    tol : float, default 1e-5
    l2, decay_bias
        As of every optimizer: `fastnn.Optimizer`.

    Raises
    ------
    MissingExtraError
        In `fit`, without SciPy, which comes with the extra ``lbfgs``.

    References
    ----------
    Liu & Nocedal (1989), "On the limited memory BFGS method for large scale optimization",
    Mathematical Programming 45. Zhu, Byrd, Lu & Nocedal (1997), "Algorithm 778: L-BFGS-B", ACM
    TOMS 23.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> history = model.fit(X, y, epochs=20, batch_size=2, optimizer=fastnn.LBFGS())
    >>> history.loss[-1] < history.loss[0]
    True
    """

    learning_rate: Rate = 1.0
    memory: int = 10
    tol: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate != 1.0:
            raise ValueError(
                f"LBFGS must come without learning_rate, as it finds its steps' lengths itself, "
                f"got {self.learning_rate!r}"
            )
        for name in ("l1", "weight_decay", "clip_norm", "clip_value", "max_norm", "ntk"):
            if getattr(self, name):
                raise ValueError(f"LBFGS must come without {name}, got {getattr(self, name)}")
        if self.rate_factors != RateFactors():
            raise ValueError(f"LBFGS must come without rate_factors, got {self.rate_factors}")

    @property
    def kind(self) -> str:
        return "sgd"  # whose state, like what it leaves behind, is none

    @property
    def own(self) -> tuple[str, ...]:
        return ()


NAMES: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lion": Lion,
    "rprop": Rprop,
    "lbfgs": LBFGS,
}


@lru_cache(maxsize=64)
def _named(name: str, learning_rate: float | None) -> Optimizer:
    """They are values: a call for one row does not make a new one."""
    made = NAMES[name]()
    return made if learning_rate is None else replace(made, learning_rate=learning_rate)


def as_optimizer(optimizer: Any, learning_rate: Any) -> Optimizer:
    """`optimizer`, a name or an object, with `learning_rate` in place of its own unless None."""
    if isinstance(optimizer, str) and optimizer in NAMES:
        if learning_rate is None or isinstance(learning_rate, float):
            return _named(optimizer, learning_rate)
        optimizer = _named(optimizer, None)
    if not isinstance(optimizer, Optimizer):
        kind = ValueError if isinstance(optimizer, str) else TypeError
        names = ", ".join(map(repr, NAMES))
        raise kind(
            f"optimizer must be one of {names} or an object such as fastnn.SGD(...), "
            f"got {optimizer!r}"
        )
    if learning_rate is None:
        return optimizer
    return replace(optimizer, learning_rate=learning_rate)
