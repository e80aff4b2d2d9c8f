"""Everything training changes: theta, the optimizer's vectors, running statistics, the counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnn.kernels._cpu import OPTIMIZERS
from fastnn.kernels.engine import Engine
from fastnn.network.activations import kernel
from fastnn.network.losses import for_kernel
from fastnn.network.norms import kernel as norm_kernel
from fastnn.network.spec import NetworkSpec


class Views(list):
    """The W (or b, or gamma) of each layer: views of theta. Assigning to an item writes into
    theta."""

    name = "b"

    def __setitem__(self, k: Any, value: Any) -> None:
        if self[k] is None:
            lacks = {"b": "bias", "gamma": "normalisation"}[self.name]
            raise ValueError(f"layer {k + 1} has no {lacks}, so {self.name}[{k}] cannot be set")
        self[k][...] = value


class Parameters:
    """theta, and the optimizer's state beside it, of one network. theta is never reallocated."""

    def __init__(self, network: NetworkSpec, theta: np.ndarray) -> None:
        self.network = network
        self.theta = theta
        self.statistics = initial_statistics(network)  # of batch normalisation, running
        # The optimizer and its state in one attribute: an interrupt cannot fall between the two.
        self._optimizer = "sgd", np.zeros((0, theta.size), theta.dtype)
        self.steps = 0  # steps of this optimizer so far, which its state is the outcome of
        self.all_steps = 0  # of every optimizer: numbers what dropout and noise draw
        self.epoch = 0  # epochs begun by fit so far: numbers the shuffles

    @property
    def optimizer(self) -> str:
        """The kind of optimizer whose state it is."""
        return self._optimizer[0]

    @property
    def state(self) -> np.ndarray:
        """The optimizer's vectors, (n_states, n_parameters)."""
        return self._optimizer[1]

    @property
    def W(self) -> Views:
        return views(self.network, self.theta)[0]

    @property
    def b(self) -> Views:
        return views(self.network, self.theta)[1]

    def use(self, optimizer: str, n_states: int) -> None:
        """Keep the state if it is this kind of optimizer's; otherwise begin with zeros."""
        if optimizer != self.optimizer:
            self._optimizer = optimizer, np.zeros((n_states, self.theta.size), self.theta.dtype)
            self.steps = 0

    def resume(self, optimizer: str, state: np.ndarray | None, steps: int) -> None:
        """Go on from an optimizer's state after so many steps; None: from its beginning."""
        if state is not None:
            self._optimizer = optimizer, state
            self.steps = self.all_steps = steps

    def copy(self) -> Parameters:
        copy = Parameters(self.network, self.theta.copy())
        copy._optimizer = self.optimizer, self.state.copy()
        copy.statistics = self.statistics.copy()
        copy.steps, copy.all_steps, copy.epoch = self.steps, self.all_steps, self.epoch
        return copy

    def restore(self, copy: Parameters) -> None:
        """Become what `copy` is, which gives up its state."""
        self.theta[:] = copy.theta
        self.statistics[:] = copy.statistics
        self._optimizer = copy._optimizer
        self.steps, self.all_steps, self.epoch = copy.steps, copy.all_steps, copy.epoch


def views(network: NetworkSpec, theta: np.ndarray) -> tuple[Views, Views]:
    """W and b of each layer as views of theta, W[0] and b[0] being layer 1's; None: no bias."""
    W, b = Views(), Views()
    for layer in network.layers:
        W.append(theta[layer.W].reshape(layer.n_out, layer.n_in))
        b.append(theta[layer.b] if layer.bias else None)
    return W, b


def gammas(network: NetworkSpec, theta: np.ndarray) -> Views:
    """gamma of each layer as views of theta; None: not normalised."""
    gamma = Views(theta[layer.gamma] if layer.norm else None for layer in network.layers)
    gamma.name = "gamma"
    return gamma


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


def initial_statistics(network: NetworkSpec) -> np.ndarray:
    """Means 0, variances 1."""
    batch = [layer for layer in network.layers if layer.norm and layer.norm.name == "batch"]
    statistics = np.zeros(2 * sum(layer.n_out for layer in batch), network.dtype)
    for pair in statistics_of(network, statistics):
        if pair is not None:
            pair[1][:] = 1
    return statistics


class Engines:
    """Engines of one network, each lent to one call at a time, so that threads never share one."""

    def __init__(self, network: NetworkSpec) -> None:
        self.network = network
        self._idle: dict[tuple[int, str], Engine] = {}  # the one given back last, or none

    @contextmanager
    def lend(self, batch: int | None = None, optimizer: str = "sgd") -> Iterator[Engine]:
        """An engine for mini-batches of `batch` rows; None: for passes that need no batch."""
        try:  # pop and popitem are atomic
            if batch is None:
                key, engine = self._idle.popitem()
            else:
                key = batch, optimizer
                engine = self._idle.pop(key)
        except KeyError:
            key = batch or 1, optimizer
            engine = new_engine(self.network, *key)
        try:
            yield engine
        finally:
            self._idle = {key: engine}


def new_engine(network: NetworkSpec, batch: int = 1, optimizer: str = "sgd") -> Engine:
    """The compiled twin of a network."""
    return Engine(
        network.sizes,
        tuple(kernel(one) for one in network.activations),
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
    )
