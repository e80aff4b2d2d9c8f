"""JAX: a whole epoch in one jitted `lax.scan`, its parameters donated, rows gathered inside.

Tried: weights stored either way round, gradients by hand or by jax.grad. With normalisation
gradients are jax.grad's; with dropout, too, and random numbers come from either generator. Of
sparse rows gradients are by hand, and SGD's step adds to the rows of W^T that occur.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bench.entrants.base import ADAM, Entrant, fastest
from bench.workloads import Problem, Workload

EPSILON = 1e-5  # of normalisation


class JaxScan(Entrant):
    def __init__(self, problem: Problem) -> None:
        jax.clear_caches()  # of the workload before
        workload = problem.workload
        if workload.kind == "train":
            ways = {}
            for name, transposed, gradient, generator in ways_of(workload):
                run = jax.jit(
                    partial(run_epoch, workload, partial(gradient, workload, transposed)),
                    donate_argnums=(0, 1),
                )
                ways[name] = partial(Epochs, problem, transposed, run, generator)
            self.variant, trainer = fastest(ways)
            self.train = trainer.train
            return
        self.theta = parameters(problem, transposed=True)
        self.forward = jax.jit(partial(predict, workload))

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.forward(self.theta, X))


def ways_of(workload: Workload) -> list[tuple]:
    """Names, whether weights are (n_in, n_out), gradients, generators of random numbers."""
    if workload.data == "sparse":
        return [("W^T, by hand", True, by_hand, None)]
    if workload.dropout:
        return [
            ("W, rbg", False, by_jax, "rbg"),
            ("W^T, rbg", True, by_jax, "rbg"),
            ("W^T, threefry", True, by_jax, "threefry2x32"),
        ]
    ways = [("W^T, jax.grad", True, by_jax, None)]
    if workload.norm:
        return [*ways, ("W, jax.grad", False, by_jax, None)]
    return [("W, by hand", False, by_hand, None), ("W^T, by hand", True, by_hand, None), *ways]


class Epochs:
    def __init__(self, problem: Problem, transposed: bool, run, generator: str | None) -> None:
        workload, self.run = problem.workload, run
        self.theta = parameters(problem, transposed)
        self.state = ()
        if workload.optimizer == "adam":
            zeros = [jax.tree.map(jnp.zeros_like, self.theta) for _ in range(2)]
            self.state = (*zeros, jnp.zeros((), jnp.float32))
        X = problem.X
        parts = (X.columns, X.values) if workload.data == "sparse" else X
        self.X = jax.tree.map(jnp.asarray, parts)
        self.key = jax.random.key(0, impl=generator) if generator else None
        y = problem.y if workload.output != "softmax" else problem.y.astype(np.int32)
        self.y = jnp.asarray(y)
        shape = workload.steps, workload.batch
        self.orders = [jnp.asarray(o.astype(np.int32).reshape(shape)) for o in problem.orders]
        self.epoch = 0

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            order = self.orders[self.epoch % len(self.orders)]
            self.theta, self.state, loss = self.run(
                *(self.theta, self.state, self.X, self.y, order, self._next_key())
            )
            losses.append(loss)
            self.epoch += 1
        return [float(loss) for loss in losses]

    def _next_key(self):
        return None if self.key is None else jax.random.fold_in(self.key, self.epoch)


def parameters(problem: Problem, transposed: bool) -> list:
    """Of each layer W, b and, where it is normalised, gamma."""
    # jnp.array copies: donated buffers must not be NumPy's
    theta = [
        (jnp.array(W.T.copy() if transposed else W), jnp.array(b))
        for W, b in zip(problem.W, problem.b, strict=True)
    ]
    if problem.workload.norm:
        theta[:-1] = [(W, b, jnp.ones_like(b)) for W, b in theta[:-1]]
    return theta


def run_epoch(workload: Workload, gradient, theta, state, X, y, order, key=None):
    def at(values, rows):
        return values.at[rows].get(mode="promise_in_bounds")

    def step(carry, drawn):
        (theta, state), (rows, key) = carry, drawn
        x = jax.tree.map(lambda part: at(part, rows), X)
        loss, grad = gradient(theta, x, at(y, rows), key)
        return update(workload, theta, state, grad), loss

    keys = None if key is None else jax.random.split(key, len(order))
    (theta, state), losses = jax.lax.scan(step, (theta, state), (order, keys))
    return theta, state, losses.mean()


def hidden(workload: Workload, a):
    return jnp.maximum(a, 0) if workload.hidden == "relu" else jax.nn.sigmoid(a)


def forward(workload: Workload, transposed: bool, theta, x, keep=None, key=None):
    """a^(K); the activations before it go into the list `keep`. key: of the masks of dropout."""
    h = x
    for k, (W, b, *gamma) in enumerate(theta):
        if keep is not None:
            keep.append(h)
        a = product(h, W if transposed else W.T)
        a = normalised(workload, a) * gamma[0] + b if gamma else a + b
        if k + 1 == len(theta):
            return a
        h = hidden(workload, a)
        if key is not None:
            stays = jax.random.bernoulli(jax.random.fold_in(key, k), 1 - workload.dropout, h.shape)
            h = jnp.where(stays, h / (1 - workload.dropout), 0)


def product(h, W):
    """h W; h may be sparse rows (columns, values)."""
    if not isinstance(h, tuple):
        return h @ W
    columns, values = h
    return (W.at[columns].get(mode="promise_in_bounds") * values[..., None]).sum(1)


def normalised(workload: Workload, u):
    axis = 0 if workload.norm == "batch" else 1
    mean = u.mean(axis, keepdims=True)
    u = u - mean
    return u * jax.lax.rsqrt((u * u).mean(axis, keepdims=True) + EPSILON)


def outputs(workload: Workload, a):
    return jax.nn.softmax(a) if workload.output == "softmax" else a


def predict(workload: Workload, theta, x):
    return outputs(workload, forward(workload, True, theta, x))


def mean_loss(workload: Workload, a, y):
    if workload.output == "softmax":
        log_p = jax.nn.log_softmax(a)
        return -jnp.take_along_axis(log_p, y[:, None], 1).mean()
    return ((a - y) ** 2).sum() / (2 * len(y))


def by_jax(workload: Workload, transposed: bool, theta, x, y, key=None):
    def loss(theta):
        return mean_loss(workload, forward(workload, transposed, theta, x, None, key), y)

    return jax.value_and_grad(loss)(theta)


def by_hand(workload: Workload, transposed: bool, theta, x, y, key=None):
    h: list = []
    a = forward(workload, transposed, theta, x, h)
    loss = mean_loss(workload, a, y)
    target = jax.nn.one_hot(y, a.shape[1]) if workload.output == "softmax" else y
    delta = (outputs(workload, a) - target) / len(y)
    grad = []
    for k in range(len(theta) - 1, -1, -1):
        W = theta[k][0]
        if isinstance(h[k], tuple):
            columns, values = h[k]
            grad_W = Entries(columns, values[..., None] * delta[:, None, :])
        else:
            grad_W = h[k].T @ delta if transposed else delta.T @ h[k]
        grad.append((grad_W, delta.sum(0)))
        if k:
            derivative = h[k] > 0 if workload.hidden == "relu" else h[k] * (1 - h[k])
            delta = (delta @ (W.T if transposed else W)) * derivative
    return loss, grad[::-1]


class Entries(NamedTuple):
    """A gradient of W^T that is 0 but in some rows, of which one may come several times."""

    columns: Any
    each: Any  # (batch, entries, n_out)

    def add(self, to):
        return to.at[self.columns].add(self.each, mode="promise_in_bounds")


def update(workload: Workload, theta, state, grad):
    rate = workload.learning_rate
    if workload.optimizer == "sgd":

        def sgd(p, g):
            if isinstance(g, Entries):
                return Entries(g.columns, -rate * g.each).add(p)
            return p - rate * g

        return jax.tree.map(sgd, theta, list(grad)), state
    if isinstance(grad[0][0], Entries):
        grad[0] = grad[0][0].add(jnp.zeros_like(theta[0][0])), grad[0][1]
    m, v, t = state
    t = t + 1
    beta1, beta2, epsilon = ADAM["beta1"], ADAM["beta2"], ADAM["epsilon"]
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, grad)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, grad)
    # m / c1 / (sqrt(v / c2) + epsilon), the scalars taken out
    root = jnp.sqrt(1 - beta2**t)
    scale = rate * root / (1 - beta1**t)
    theta = jax.tree.map(
        lambda p, m, v: p - scale * m / (jnp.sqrt(v) + epsilon * root), theta, m, v
    )
    return theta, (m, v, t)
