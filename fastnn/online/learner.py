"""Learner: a network that learns a stream row by row; what it is, its file, its growth.

What becomes of a row is compiled: rows.pyx.
"""

from __future__ import annotations

import os
from os import PathLike
from typing import Any, ClassVar

import numpy as np

from fastnn.checks import as_int, as_name, as_real
from fastnn.errors import ModelFileError
from fastnn.kernels.engine import Engine
from fastnn.network.initialize import initial_theta
from fastnn.network.losses import Huber
from fastnn.network.parameters import Parameters, new_engine
from fastnn.network.spec import NetworkSpec, as_network
from fastnn.online.rows import Rows
from fastnn.random import as_seed

TASKS = ("classification", "regression")
MOST_CLASSES = 1000
MOST_INPUTS = 2**24
KIND = "Learner"  # what its file says that it is


class Learner(Rows):
    """A network that learns a stream, one row at a time; rows are dicts of features.

    Features need not be known beforehand, and may come and go. One that has not been learned says
    nothing; one that is absent, None or NaN counts as its mean, or as no word.

    Numbers (int, float, NumPy's) are scaled by the mean and the variance of those so far, so that
    about a standard deviation is 1 and nothing is beyond 3. Texts and bools are words: each word of
    a feature is an input, 1 where it is there. An input is found by a hash of the feature's name,
    and its first weights follow from this hash and the seed, so neither the order of a dict nor the
    process matters: the same stream gives the same bits on every machine.

    Parameters
    ----------
    task : {"classification", "regression"}, default "classification"
        Classes, each a str, int or bool: one that is new is one output more, whose weights begin at
        0; as long as there is one alone, its probability is 1. Or amounts, which are standardised
        by their mean and variance so far; beyond three standard deviations errors count linearly.
    hidden : int or tuple of int, default 32
        Units of the hidden layer, of relu, or of each of several; 0 is a logistic or linear
        regression. Between two hidden layers, and to the outputs, lie at most 2 MiB of weights.
    learning_rate : float, default 0.03
        Of plain SGD, the same in every step; ``learner.learning_rate`` may be set at any time.
    n_inputs : int, default 1024
        Features and words that may have an input each; more of them share.
    seed : int, optional
        0 to 2**128 - 1: fixes first weights. By default drawn from the operating system.

    Attributes
    ----------
    task, hidden, learning_rate, n_inputs, seed
        As above.
    classes : list or None
        In the order in which they came; None where amounts are learned.
    rows : int
        Learned so far.
    metadata : dict
        The user's own, saved with the learner; must be what JSON can hold.

    Notes
    -----
    Any number of threads may learn and predict at the same time: rows are learned one after
    another, each as a whole, and predictions see what was known between two.

    Examples
    --------
    >>> import fastnn
    >>> learner = fastnn.online.Learner(seed=0)
    >>> for hour in range(200):
    ...     row = {"hour": hour % 24, "day": "Sunday" if hour % 7 == 0 else "weekday"}
    ...     learner.learn_one(row, "open" if 8 <= hour % 24 < 18 else "closed")
    >>> learner.predict_one({"hour": 12, "day": "weekday"})
    'open'
    >>> list(learner.predict_proba_one({"hour": 12}))
    ['closed', 'open']
    """

    settings: ClassVar[tuple[str, ...]] = "task", "hidden", "learning_rate", "n_inputs", "seed"

    def __init__(
        self,
        task: str = "classification",
        hidden: int | tuple[int, ...] = 32,
        learning_rate: float = 0.03,
        n_inputs: int = 1024,
        seed: int | None = None,
    ) -> None:
        self.task = as_name("task", task, TASKS)
        self.hidden = _as_hidden(hidden)
        self.n_inputs = as_int("n_inputs", n_inputs, 1)
        if self.n_inputs > MOST_INPUTS:
            raise ValueError(f"n_inputs must be at most 2**24, got {self.n_inputs}")
        self.seed: int = as_seed(seed)
        self.metadata: dict[str, Any] = {}
        network = self._network(1 if self.task == "regression" else 2)
        between = len(network.layers) - 2  # layers that are neither first nor last
        init = ["zeros", *["he_uniform"] * between, "zeros"] if between >= 0 else ["zeros"]
        self._become(
            initial_theta(network, self.seed, init) + np.float32(0),  # a zero is 0, never -0
            np.zeros((self.n_inputs, 4)),
            None if self.task == "regression" else [],
            0,
            np.zeros(3),
            self.as_rate(learning_rate),
        )

    def _network(self, n_outputs: int) -> NetworkSpec:
        hidden = self.hidden if isinstance(self.hidden, tuple) else (self.hidden,)
        sizes = [self.n_inputs, *filter(None, hidden), n_outputs]
        if self.task == "regression":
            return as_network(sizes, "relu", "identity", Huber(3.0), True, "float32")
        return as_network(sizes, "relu", "softmax", None, True, "float32")

    def _become(
        self,
        theta: np.ndarray,
        table: np.ndarray,
        known: list[Any] | None,
        rows: int,
        amounts: np.ndarray,
        learning_rate: float,
    ) -> None:
        engine = new_engine(self._network(1 if known is None else max(2, len(known))))
        engine.load(theta)
        self.adopt(engine, table, known, rows, amounts, self.seed, learning_rate)

    def as_rate(self, value: Any) -> float:
        return as_real("learning_rate", value)

    def as_class(self, y: Any) -> str | int | bool:
        """A class as Python's own str, int or bool."""
        if isinstance(y, np.generic):
            y = y.item()
        if not isinstance(y, (str, int)):
            raise TypeError(f"a class must be a str, int or bool, got {y!r:.50}")
        if len(self.known or ()) >= MOST_CLASSES:
            raise ValueError(
                f"y must be of at most {MOST_CLASSES} classes, {y!r:.50} is one more; "
                'amounts need task="regression"'
            )
        return y if isinstance(y, bool) else str(y) if isinstance(y, str) else int(y)

    def grown(self) -> Engine:
        before, after = self._network(self.n_outputs), self._network(self.n_outputs + 1)
        old, theta = self.contents()[0], np.zeros(after.n_parameters, np.float32)
        for of, to in zip(before.layers, after.layers, strict=True):
            theta[to.W][: of.n_out * of.n_in] = old[of.W]  # rows are outputs
            theta[to.b][: of.n_out] = old[of.b]
        engine = new_engine(after)
        engine.load(theta)
        return engine

    @property
    def classes(self) -> list[str | int | bool] | None:
        return None if self.known is None else list(self.known)

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)
        return f"{type(self).__name__}({named})"

    # Files and copies

    def save(self, path: str | PathLike[str]) -> None:
        """Save it as a safetensors file.

        What stood at `path` stays until the new file is whole; `fastnn.load` reads it, and what
        it gives goes on with the same bits. Another thread may learn meanwhile.

        Parameters
        ----------
        path : path
            Such as "stream.safetensors".

        Examples
        --------
        >>> import fastnn
        >>> learner = fastnn.online.Learner("regression", seed=0)
        >>> learner.learn_one({"x": 1.0}, 2.0)
        >>> learner.save("stream.safetensors")
        >>> fastnn.load("stream.safetensors").predict_one({"x": 1.0})
        2.0
        """
        from fastnn.files import ensemble as storage  # here and in load: json makes imports slower
        from fastnn.files.model import as_metadata

        theta, table, known, rows, amounts = self.contents()
        about = {
            "estimator": KIND,
            "task": self.task,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "rows": rows,
            "classes": known,
            "metadata": as_metadata(self.metadata),
        }
        network = self._network(1 if known is None else max(2, len(known)))
        arrays = {"table": table, "amounts": amounts}
        storage.save(path, storage.Saved([Parameters(network, theta)], arrays, about))

    def __reduce__(self) -> tuple[Any, ...]:
        state = vars(self) | {"metadata": dict(self.metadata)}
        return _copied, (type(self), state, *self.contents(), self.learning_rate)


def _copied(kind: type[Learner], state: dict[str, Any], *contents: Any) -> Learner:
    learner = kind.__new__(kind)
    vars(learner).update(state)
    learner._become(*contents)
    return learner


def _as_hidden(hidden: Any) -> int | tuple[int, ...]:
    """Units of one layer, 0 of none; or of each of several."""
    if isinstance(hidden, (str, bytes)) or not hasattr(hidden, "__iter__"):
        return as_int("hidden", hidden, 0)
    widths = tuple(as_int("hidden", width, 1) for width in hidden)
    return widths if len(widths) > 1 else sum(widths)


def load(path: str | PathLike[str]) -> Learner:
    """A learner as it was saved. Raises ModelFileError."""
    from fastnn.files import ensemble as storage

    saved = storage.load(path)
    try:
        return _restored(saved)
    except (KeyError, TypeError, ValueError) as error:
        where = os.fspath(path)
        raise ModelFileError(f"{where!s}: must describe a learner: {error!r:.300}") from None


def _restored(saved: Any) -> Learner:
    """Checked, since compiled code trusts what it is given."""
    about, (member,) = saved.about, saved.members
    table, amounts = saved.arrays["table"], saved.arrays["amounts"]
    learner = Learner.__new__(Learner)
    learner.task = as_name("task", about["task"], TASKS)
    n_inputs, *hidden, n_outputs = member.network.sizes
    learner.n_inputs, learner.hidden = n_inputs, _as_hidden(hidden)
    learner.seed = as_seed(as_int("seed", about["seed"], 0))
    learner.metadata = about["metadata"]
    if not isinstance(learner.metadata, dict):
        raise ValueError("metadata must be an object")
    known, rows = about["classes"], as_int("rows", about["rows"], 0)
    if rows > 2**53:
        raise ValueError(f"rows must be at most 2**53, got {rows}")
    if (known is None) != (learner.task == "regression"):
        raise ValueError("classes must be there for classification alone")
    if known is not None:
        if not isinstance(known, list) or not all(isinstance(one, (str, int)) for one in known):
            raise ValueError("classes must be a list of texts, integers and bools")
        if len(set(known)) != len(known) or len(known) > MOST_CLASSES:
            raise ValueError(f"classes must be different, and {MOST_CLASSES} at most")
        if max(2, len(known)) != n_outputs:
            raise ValueError(f"the network must have an output a class, got {n_outputs} outputs")
    if member.network != learner._network(n_outputs):
        raise ValueError("the network must be a learner's")
    _check_table(table, n_inputs, amounts)
    theta = np.array(member.theta)
    learner._become(theta, table, known, rows, amounts, learner.as_rate(about["learning_rate"]))
    return learner


def _check_table(table: np.ndarray, n_inputs: int, amounts: np.ndarray) -> None:
    """Counts, means and sums of squares must be of numbers within 1e100."""
    if table.shape != (n_inputs, 4) or table.dtype != np.float64:
        raise ValueError(f"table must be float64 of shape ({n_inputs}, 4), got {table.shape}")
    if amounts.shape != (3,) or amounts.dtype != np.float64:
        raise ValueError(f"amounts must be float64 of shape (3,), got {amounts.shape}")
    names, of = table[:, 0], np.vstack([table[:, 1:], amounts])
    if not ((names >= 0) & (names < 2**53) & (names == np.floor(names))).all():
        raise ValueError("names in the table must be integers of 53 bits")
    if not ((of[:, [0, 2]] >= 0).all() and (of[:, 0] <= 2**53).all() and np.isfinite(of).all()):
        raise ValueError("counts and sums of squares must be finite and not negative")
    if not ((abs(of[:, 1]) <= 1e100).all() and (of[:, 2] <= 4e200 * of[:, 0]).all()):
        raise ValueError("means and variances must be of numbers within 1e100")
