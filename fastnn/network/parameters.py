"""Everything training changes: theta, the optimizer's vectors, running statistics, the counts.

They have two homes: vectors, which users see, and the panels of one engine, which computes on them.

    vectors -> panels   `load`, where the vectors are of a later version than the panels
    panels -> vectors   `sync`, where the panels are ahead and somebody looks, or keeps a view

So calls that follow each other leave the weights in panels, and nothing is copied but for a reader.
A number counts versions; whatever was made of the weights is good as long as it stays the same.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastnn.config import BITS_VERSION
from fastnn.kernels._cpu import OPTIMIZERS, STATES
from fastnn.kernels.engine import Engine
from fastnn.network.activations import hidden_kernel, is_parametric, kernel
from fastnn.network.embeddings import kernel as phi_kernel
from fastnn.network.losses import for_kernel
from fastnn.network.norms import kernel as norm_kernel
from fastnn.network.spec import NetworkSpec

if TYPE_CHECKING:
    from fastnn.kernels.inputs import Phi

NESTED = (
    "a callback must not train the model whose fit it watches, nor must the fit's stream or "
    "learning rate"
)


Part = TypeVar("Part", bound=np.ndarray | None)


class Views(list[Part]):
    """The W (or b, gamma, alpha) of each layer: views of theta. Assigning to an item writes into
    theta."""

    name = "b"

    def __setitem__(self, k: Any, value: Any) -> None:
        if self[k] is None:
            lacks = {"b": "bias", "gamma": "normalisation", "alpha": "parametric activation"}[
                self.name
            ]
            raise ValueError(f"layer {k + 1} has no {lacks}, so {self.name}[{k}] cannot be set")
        self[k][...] = value


class Vector:
    """Numbers of our own, and the view of them that users get.

    They may keep it and write at any time. References tell whether anybody still can: all that
    NumPy and others make of the view (slices, memoryviews, tensors) keeps `own` or `view` alive.
    """

    __slots__ = ("lent", "own", "view")

    def __init__(self, array: np.ndarray) -> None:
        """array: taken over if it owns its memory, otherwise (maps, pickles' buffers) copied."""
        flags = array.flags
        ours = type(array) is np.ndarray and flags.owndata and flags.carray
        self.own: np.ndarray = array if ours else np.array(array, order="C", subok=False)
        self.view: np.ndarray = self.own.view()
        self.lent: bool = False

    def lend(self) -> np.ndarray:
        self.lent = True
        return self.view

    def references(self) -> tuple[int, int]:
        return sys.getrefcount(self.own), sys.getrefcount(self.view)

    def held(self) -> bool:
        """Whether somebody has a view. Without the GIL counts lag behind: then as soon as lent."""
        return self.lent and (not _counts_are_exact() or self.references() != ALONE)

    def touched(self) -> bool:
        """Whether somebody may have written since the last call."""
        if not self.lent:
            return False
        self.lent = self.held()
        return True


def _counts_are_exact() -> bool:
    return getattr(sys, "_is_gil_enabled", lambda: True)()


ALONE = Vector(np.empty(1)).references()


class Before:
    """What a run goes back to when it fails."""

    def __init__(self, parameters: Parameters) -> None:
        self.optimizer: tuple[str, Vector] = parameters._optimizer
        self.counts: np.ndarray = parameters.counts.copy()
        self.epoch: int = parameters.epoch
        self.bits_version: int = parameters.bits_version
        self.vectors: list[np.ndarray] | None = None  # None: those of the parameters, untouched
        self.replaced: bool = False  # by a checkpoint's


class Parameters:
    """theta, and the optimizer's state beside it, of one network. theta is never reallocated.

    `turn` is held by who trains, `guard` by who touches vectors or panels: the trainer for a slice
    of steps, a reader for a copy, so that what is read is of one version.
    """

    network: NetworkSpec
    epoch: int  # epochs begun by fit so far: numbers the shuffles
    # Steps so far: of this optimizer, which its state is the outcome of; and of every one,
    # which numbers what dropout and noise draw. The engine counts as it steps.
    counts: np.ndarray
    bits_version: int  # of the arithmetic that last trained these weights
    # The optimizer and its state in one attribute: an interrupt cannot fall between the two.
    _optimizer: tuple[str, Vector]

    def __init__(self, network: NetworkSpec, theta: np.ndarray) -> None:
        """theta: taken over if it owns its memory, otherwise copied."""
        self.network, self.epoch = network, 0
        self.counts, self.bits_version = np.zeros(2, np.int64), BITS_VERSION
        self._theta = Vector(theta)
        self._statistics = Vector(initial_statistics(network))  # of batch normalisation, running
        self._optimizer = "sgd", Vector(np.zeros((0, theta.size), theta.dtype))
        self._assemble()

    def _assemble(self) -> None:
        self.turn: threading.Lock = threading.Lock()
        self.guard: threading.RLock = threading.RLock()
        self.version: int = 0  # of the weights
        self._engine: Engine | None = None  # kept warm
        self._key: tuple[str, bool] | None = None  # what it is for: optimizer, single rows
        self._loaded = -1  # version in its panels
        self._ahead = False  # that is the latest, and the vectors are older
        self._trainer: int | None = None  # the thread whose turn it is
        self._before: Before | None = None
        _remember(self)

    # What users see

    @property
    def theta(self) -> np.ndarray:
        return self._lend(0)

    @property
    def statistics(self) -> np.ndarray:
        return self._lend(2)

    @property
    def state(self) -> np.ndarray:
        """The optimizer's vectors, (n_states, n_parameters)."""
        return self._lend(1)

    @property
    def optimizer(self) -> str:
        """The kind of optimizer whose state it is."""
        return self._optimizer[0]

    @property
    def steps(self) -> int:
        return int(self.counts[0])

    @steps.setter
    def steps(self, steps: int) -> None:
        self.counts[0] = steps

    @property
    def all_steps(self) -> int:
        return int(self.counts[1])

    @all_steps.setter
    def all_steps(self, steps: int) -> None:
        self.counts[1] = steps

    @property
    def trained(self) -> bool:
        """Whether training has begun. Iterations of L-BFGS are epochs, but no steps."""
        return self.epoch > 0 or self.all_steps > 0

    @property
    def W(self) -> Views[np.ndarray]:
        return views(self.network, self.theta)[0]

    @property
    def b(self) -> Views[np.ndarray | None]:
        return views(self.network, self.theta)[1]

    def _lend(self, i: int) -> np.ndarray:
        """The live, writable view; while another thread trains a copy, which cannot be written."""
        with self.guard:
            if self._trainer not in (None, threading.get_ident()):
                copy = self._copies()[i]
                copy.flags.writeable = False
                return copy
            self.sync()
            self._protect()
            return self._vectors[i].lend()

    def assign(self, theta: np.ndarray) -> None:
        """theta <- finite values of its shape and dtype, once no other thread trains."""
        if self._trainer == threading.get_ident():
            self.theta[:] = theta
            return
        self.refuse_nested()
        with self.turn:
            self.theta[:] = theta

    def compute_in(self, network: NetworkSpec) -> None:
        """Go on as `network`, which differs in what its products are of alone."""
        self.refuse_nested()
        with self.turn, self.guard:
            self.sync()
            self.network, self._engine, self._key = network, None, None
            self.version += 1

    # Copies

    @property
    def _vectors(self) -> tuple[Vector, Vector, Vector]:
        return self._theta, self._optimizer[1], self._statistics

    def _copies(self) -> list[np.ndarray]:
        """theta, state and statistics as they stand, from where they are latest."""
        if not self._ahead:
            return [vector.own.copy() for vector in self._vectors]
        theta, state, statistics = (np.empty_like(vector.own) for vector in self._vectors)
        self._warm.store(theta, state, statistics)
        return [theta, state, statistics]

    @property
    def _warm(self) -> Engine:
        assert self._engine is not None
        return self._engine

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return shapes(self.network, self.optimizer)

    def snapshot(self) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Steps, and copies of theta, state and statistics, of one moment."""
        with self.guard:
            theta, state, statistics = self._copies()
            return self.steps, theta, state, statistics

    def weights(self) -> tuple[int, np.ndarray, np.ndarray]:
        """What predictions need: the version, and copies of theta and the statistics."""
        with self.guard:
            version = self.settle()
            theta, _, statistics = self._copies()
            return version, theta, statistics

    def copy(self) -> Parameters:
        with self.guard:
            theta, state, statistics = self._copies()
            copy = Parameters(self.network, theta)
            copy._optimizer = self.optimizer, Vector(state)
            copy._statistics = Vector(statistics)
            copy.counts[:], copy.epoch = self.counts, self.epoch
            copy.bits_version = self.bits_version
            return copy

    def restore(self, copy: Parameters) -> None:
        """Become what `copy` is, which gives up its state."""
        with self.guard:
            self._check_writable()
            self._protect()
            if self._before is not None:
                self._before.replaced = True
            self._theta.own[:] = copy._theta.own
            self._statistics.own[:] = copy._statistics.own
            self._optimizer = copy._optimizer
            self.counts[:], self.epoch = copy.counts, copy.epoch
            self.bits_version = copy.bits_version
            self._written()

    def __getstate__(self) -> dict[str, Any]:
        with self.guard:
            theta, state, statistics = self._copies()
            return {
                "network": self.network,
                "theta": theta,
                "statistics": statistics,
                "optimizer": self.optimizer,
                "state": state,
                "steps": self.steps,
                "all_steps": self.all_steps,
                "epoch": self.epoch,
                "bits_version": self.bits_version,
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Checked, since compiled code trusts sizes; copied, since its memory may not be ours."""
        network, optimizer = state["network"], state["optimizer"]
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
        for name, shape in shapes(network, optimizer).items():
            array = state[name]
            if array.shape != shape or array.dtype != network.dtype:
                raise ValueError(
                    f"{name} must be {network.dtype} of shape {shape}, "
                    f"got {array.dtype} of shape {array.shape}"
                )
        self.network, self.epoch = network, int(state["epoch"])
        self.bits_version = int(state.get("bits_version", 1))  # older states lack it
        self.counts = np.array([state["steps"], state["all_steps"]], np.int64)
        self._theta = Vector(np.array(state["theta"]))
        self._statistics = Vector(np.array(state["statistics"]))
        self._optimizer = optimizer, Vector(np.array(state["state"]))
        self._assemble()

    # Where the weights are

    def settle(self) -> int:
        """The version, once what others may have written into their views is counted."""
        with self.guard:
            theta, state, statistics = self._vectors
            touched = theta.touched() | state.touched() | statistics.touched()
            if touched and not self._ahead:
                self.version += 1
            return self.version

    def sync(self) -> None:
        """Vectors <- panels, where these are ahead."""
        with self.guard:
            if self._ahead:
                self._protect()
                engine, vectors = self._warm, [vector.own for vector in self._vectors]
                self._ahead = False  # first: an interrupt may come as `store` returns
                engine.store(*vectors)

    def load(self) -> None:
        """Panels <- vectors, where these are later."""
        with self.guard:
            if self.settle() != self._loaded:
                self._warm.load(*(vector.own for vector in self._vectors))
                self._loaded = self.version

    def moves(self, engine: Engine) -> None:
        """The engine's panels are ahead, of a version of their own: said under `guard`, before it
        steps and after, since a signal's handler may read what is between."""
        self._engine, self._ahead = engine, True
        self.version = self._loaded = self.version + 1

    def write(
        self,
        theta: np.ndarray,
        state: np.ndarray | None = None,
        statistics: np.ndarray | None = None,
        steps: int | None = None,
    ) -> None:
        """The weights, and what else is given, <- these."""
        with self.guard:
            self._check_writable()
            self._protect()
            self.sync()
            for vector, values in zip(self._vectors, (theta, state, statistics), strict=True):
                if values is not None:
                    vector.own[:] = values
            if steps is not None:
                self.steps = steps
            self._written()

    def forget(self) -> None:
        """The panels will hold something else, until `load` or `write`."""
        with self.guard:
            self.sync()
            self._loaded = -1

    def _written(self) -> None:
        """The vectors are the latest."""
        self.version += 1
        self._ahead = False

    @property
    def held(self) -> bool:
        """Whether somebody has a live view, who wants to see what training does."""
        theta, state, statistics = self._vectors
        return theta.held() or state.held() or statistics.held()

    # Training

    @contextmanager
    def training(self, optimizer: str, batch: int, keep: bool = True) -> Iterator[Engine]:
        """The turn to train, and an engine for this kind of optimizer and mini-batches of so many
        rows that holds the weights.

        keep: so that `undo` brings back what stands now. RuntimeError within the model's own fit.
        """
        self.refuse_nested()
        with self.turn:
            token = _trained.set(_trained.get() | {id(self)})
            try:
                self._trainer = threading.get_ident()
                with self.guard:
                    self._check_writable()
                    self._take_engine(optimizer, batch)
                    self.begin(optimizer, keep or optimizer != self.optimizer)
                yield self._warm
            finally:
                try:
                    self._finish()
                except BaseException:  # an interrupt: views that somebody holds must not stay old
                    self._finish()
                    raise
                finally:
                    self._trainer = None
                    _trained.reset(token)

    def begin(self, optimizer: str, keep: bool = True) -> None:
        """Set out from what stands now; keep: so that `undo` brings it back."""
        other = self.bits_version != BITS_VERSION
        if other and self.trained:
            warnings.warn(
                f"weights of bits version {self.bits_version} are trained on with {BITS_VERSION}: "
                "they end with other bits than either alone would give (docs/reproducibility.md)",
                stacklevel=2,
            )
        if keep or other:
            self.keep()
        self.bits_version = BITS_VERSION
        self.use(optimizer)
        self.load()

    def _finish(self) -> None:
        with self.guard:
            before = self._before
            untrained = before is not None and before.counts[1] == self.counts[1]
            if before is not None and untrained and not before.replaced:
                if self.epoch == before.epoch:
                    self.bits_version = before.bits_version
                if self.optimizer != before.optimizer[0]:  # no step was taken with the new one
                    self.sync()
                    self._optimizer, self.counts[:] = before.optimizer, before.counts
                    self._engine = self._key = None
            self._before = None
            if self.held:
                self.sync()
            if self._engine is not None:
                self._engine.trim()

    def refuse_nested(self) -> None:
        mine = self._trainer == threading.get_ident() or id(self) in _trained.get()
        if mine and self.turn.locked():
            raise RuntimeError(NESTED)

    def _check_writable(self) -> None:
        for name, vector in zip(("theta", "state", "statistics"), self._vectors, strict=True):
            if not vector.view.flags.writeable:
                raise ValueError(f"{name} must be writable, got an array set to read-only")

    def _take_engine(self, optimizer: str, batch: int) -> None:
        if (optimizer, batch == 1) != self._key:
            self.sync()
            self._engine = self._key = None  # whose memory the next one may need
            self._engine = new_engine(self.network, batch, optimizer)
            self._key, self._loaded = (optimizer, batch == 1), -1

    def keep(self) -> None:
        """From here on `undo` brings back what stands now, until the turn ends."""
        with self.guard:
            if self._before is not None:
                return
            self.sync()
            self._before = Before(self)
            if self.held:  # whoever has a view may write into what is to be kept
                self._protect()

    def _protect(self) -> None:
        """What `undo` brings back, before somebody writes into the vectors."""
        if self._before is not None and self._before.vectors is None:
            held = self._theta, self._before.optimizer[1], self._statistics
            self._before.vectors = [vector.own.copy() for vector in held]

    def undo(self) -> None:
        """Become what stood at `keep`."""
        with self.guard:
            before = self._before
            if before is None:
                return
            self._optimizer, self.epoch = before.optimizer, before.epoch
            self.counts[:], self.bits_version = before.counts, before.bits_version
            if before.vectors is not None:
                for vector, kept in zip(self._vectors, before.vectors, strict=True):
                    vector.own[:] = kept
            self._written()

    def use(self, optimizer: str) -> None:
        """Keep the state if it is this kind of optimizer's; otherwise begin with zeros."""
        if optimizer != self.optimizer:
            self.sync()
            shape = STATES[OPTIMIZERS[optimizer]], self._theta.own.size
            self._optimizer = optimizer, Vector(np.zeros(shape, self._theta.own.dtype))
            self.steps = 0
            self._written()

    def give_back(self) -> None:
        """The engine's memory; weights and state stand in the vectors. Another is made when one is
        needed."""
        with self.guard:
            if self._trainer is None:
                self.sync()
                self._engine = self._key = None

    # Other passes

    @contextmanager
    def lend(self) -> Iterator[Engine]:
        """An engine that holds the weights, for a gradient: the one kept warm, which is not here
        meanwhile, or while somebody trains, one of its own."""
        with self.guard:
            version, engine, key = self.version, None, ("sgd", True)
            if self._trainer is None:
                self.sync()
                if self._key is not None and self._key[0] == self.optimizer:
                    self.load()
                    version, engine, key = self.version, self._engine, self._key
                    self._engine = self._key = None
            if engine is None:
                version, theta, statistics = self.weights()
                engine = new_engine(self.network)
                engine.load(theta, statistics=statistics)
        try:
            yield engine
        finally:
            engine.trim()
            with self.guard:
                if self._engine is None and key[0] == self.optimizer:
                    self._engine, self._key, self._loaded = engine, key, version


_trained: ContextVar[frozenset[int]] = ContextVar("fastnn_trained", default=frozenset())
# By id, for forks. Without callbacks: in one, Ctrl-C would be printed and forgotten.
_known: dict[int, weakref.ref[Parameters]] = {}
_enough = 64  # of them, before those that are gone are swept out
_fork = threading.RLock()  # held by who forks, or adds to these
_forking: list[Parameters] = []


def _remember(parameters: Parameters) -> None:
    global _enough
    with _fork:
        if len(_known) >= _enough:
            for key in list(_known):
                if _known[key]() is None:
                    del _known[key]
            _enough = max(64, 2 * len(_known))
        _known[id(parameters)] = weakref.ref(parameters)


def _before_fork() -> None:
    """A child must find whole versions: wait for slices under way."""
    _fork.acquire()
    for reference in list(_known.values()):  # other threads make parameters meanwhile
        one = reference()
        if one is not None:
            one.guard.acquire()
            _forking.append(one)


def _after_fork() -> None:
    while _forking:
        _forking.pop().guard.release()
    _fork.release()


def _after_fork_in_child() -> None:
    """Threads that trained are gone, and their turn with them."""
    for one in _forking:
        if one._trainer != threading.get_ident():
            one.turn, one._trainer, one._before = threading.Lock(), None, None
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )


def views(
    network: NetworkSpec, theta: np.ndarray
) -> tuple[Views[np.ndarray], Views[np.ndarray | None]]:
    """W and b of each layer as views of theta, W[0] and b[0] being layer 1's; None: no bias."""
    W: Views[np.ndarray] = Views()
    b: Views[np.ndarray | None] = Views()
    for layer in network.layers:
        W.append(theta[layer.W].reshape(layer.n_out, layer.n_in))
        b.append(theta[layer.b] if layer.bias else None)
    return W, b


def embedded(network: NetworkSpec, theta: np.ndarray) -> list[list[dict[str, np.ndarray]]]:
    """The parameters of each embedding's columns as views of theta: [embedding][column][name]."""
    return [
        [{name: theta[span].reshape(shape) for name, (span, shape) in part.items()} for part in of]
        for of in network.phi
    ]


def gammas(network: NetworkSpec, theta: np.ndarray) -> Views[np.ndarray | None]:
    """gamma of each layer as views of theta; None: not normalised."""
    gamma = Views(theta[layer.gamma] if layer.norm else None for layer in network.layers)
    gamma.name = "gamma"
    return gamma


def alphas(network: NetworkSpec, theta: np.ndarray) -> Views[np.ndarray | None]:
    """alpha of each layer as views of theta; None: its activation is not parametric."""
    alpha = Views(
        theta[layer.alpha] if is_parametric(layer.activation) else None for layer in network.layers
    )
    alpha.name = "alpha"
    return alpha


def statistics_of(
    network: NetworkSpec, statistics: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray] | None]:
    """The running mean and variance of each layer as views of the vector of all; None: not
    batch-normalised."""
    views: list[tuple[np.ndarray, np.ndarray] | None] = []
    start = 0
    for layer in network.layers:
        if layer.norm is None or layer.norm.name != "batch":
            views.append(None)
            continue
        middle, stop = start + layer.n_out, start + 2 * layer.n_out
        views.append((statistics[start:middle], statistics[middle:stop]))
        start = stop
    return views


def shapes(network: NetworkSpec, optimizer: str) -> dict[str, tuple[int, ...]]:
    """Of theta, the optimizer's vectors and the running statistics."""
    n = network.n_parameters
    return {
        "theta": (n,),
        "state": (STATES[OPTIMIZERS[optimizer]], n),
        "statistics": initial_statistics(network).shape,
    }


def initial_statistics(network: NetworkSpec) -> np.ndarray:
    """Means 0, variances 1."""
    batch = [layer for layer in network.layers if layer.norm and layer.norm.name == "batch"]
    statistics = np.zeros(2 * sum(layer.n_out for layer in batch), network.dtype)
    for pair in statistics_of(network, statistics):
        if pair is not None:
            pair[1][:] = 1
    return statistics


def new_engine(network: NetworkSpec, batch: int = 1, optimizer: str = "sgd") -> Engine:
    """The compiled twin of a network."""
    return Engine(
        network.sizes,
        tuple(hidden_kernel(one) for one in network.activations),
        kernel(network.output),
        for_kernel(network.loss, network.n_out),
        network.bias,
        network.dtype,
        batch=batch,
        optimizer=OPTIMIZERS[optimizer],
        dropout=network.dropout,
        noise=network.noise,
        norms=tuple(norm_kernel(one) for one in network.norm),
        input_scale=network.input_scale,
        phi=inputs_of(network),
        directions=network.directions,
        bfloat16=network.bfloat16,
    )


def inputs_of(network: NetworkSpec) -> Phi | None:
    """The input layer as compiled code takes it."""
    return phi_kernel(network.embeddings, network.feature_scale, network.n_in, network.dtype)
