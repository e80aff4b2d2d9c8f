"""JAX: a whole epoch in one jitted `lax.scan`, its parameters donated, rows gathered inside.

Tried: weights stored either way round, gradients by hand or by jax.grad.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bench.entrants.base import ADAM, Entrant, fastest
from bench.workloads import Problem, Workload


class JaxScan(Entrant):
    def __init__(self, problem: Problem) -> None:
        jax.clear_caches()  # of the workload before
        workload = problem.workload
        if workload.kind == "train":
            ways = {}
            for name, transposed, gradient in (
                ("W, by hand", False, by_hand),
                ("W^T, by hand", True, by_hand),
                ("W^T, jax.grad", True, by_jax),
            ):
                run = jax.jit(
                    partial(run_epoch, workload, partial(gradient, workload, transposed)),
                    donate_argnums=(0, 1),
                )
                ways[name] = partial(Epochs, problem, transposed, run)
            self.variant, trainer = fastest(ways)
            self.train = trainer.train
            return
        self.theta = parameters(problem, transposed=True)
        self.forward = jax.jit(partial(predict, workload))

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.forward(self.theta, X))


class Epochs:
    def __init__(self, problem: Problem, transposed: bool, run) -> None:
        workload, self.run = problem.workload, run
        self.theta = parameters(problem, transposed)
        self.state = ()
        if workload.optimizer == "adam":
            zeros = [jax.tree.map(jnp.zeros_like, self.theta) for _ in range(2)]
            self.state = (*zeros, jnp.zeros((), jnp.float32))
        self.X = jnp.asarray(problem.X)
        y = problem.y if workload.output != "softmax" else problem.y.astype(np.int32)
        self.y = jnp.asarray(y)
        shape = workload.steps, workload.batch
        self.orders = [jnp.asarray(o.astype(np.int32).reshape(shape)) for o in problem.orders]
        self.epoch = 0

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            order = self.orders[self.epoch % len(self.orders)]
            self.theta, self.state, loss = self.run(self.theta, self.state, self.X, self.y, order)
            losses.append(loss)
            self.epoch += 1
        return [float(loss) for loss in losses]


def parameters(problem: Problem, transposed: bool) -> list:
    # jnp.array copies: donated buffers must not be NumPy's
    return [
        (jnp.array(W.T.copy() if transposed else W), jnp.array(b))
        for W, b in zip(problem.W, problem.b, strict=True)
    ]


def run_epoch(workload: Workload, gradient, theta, state, X, y, order):
    def step(carry, rows):
        theta, state = carry
        x = X.at[rows].get(mode="promise_in_bounds")
        loss, grad = gradient(theta, x, y.at[rows].get(mode="promise_in_bounds"))
        return update(workload, theta, state, grad), loss

    (theta, state), losses = jax.lax.scan(step, (theta, state), order)
    return theta, state, losses.mean()


def hidden(workload: Workload, a):
    return jnp.maximum(a, 0) if workload.hidden == "relu" else jax.nn.sigmoid(a)


def forward(workload: Workload, transposed: bool, theta, x, keep=None):
    """a^(K); the activations before it go into the list `keep`."""
    h = x
    for k, (W, b) in enumerate(theta):
        if keep is not None:
            keep.append(h)
        a = h @ (W if transposed else W.T) + b
        h = a if k + 1 == len(theta) else hidden(workload, a)
    return h


def outputs(workload: Workload, a):
    return jax.nn.softmax(a) if workload.output == "softmax" else a


def predict(workload: Workload, theta, x):
    return outputs(workload, forward(workload, True, theta, x))


def mean_loss(workload: Workload, a, y):
    if workload.output == "softmax":
        log_p = jax.nn.log_softmax(a)
        return -jnp.take_along_axis(log_p, y[:, None], 1).mean()
    return ((a - y) ** 2).sum() / (2 * len(y))


def by_jax(workload: Workload, transposed: bool, theta, x, y):
    def loss(theta):
        return mean_loss(workload, forward(workload, transposed, theta, x), y)

    return jax.value_and_grad(loss)(theta)


def by_hand(workload: Workload, transposed: bool, theta, x, y):
    h: list = []
    a = forward(workload, transposed, theta, x, h)
    loss = mean_loss(workload, a, y)
    target = jax.nn.one_hot(y, a.shape[1]) if workload.output == "softmax" else y
    delta = (outputs(workload, a) - target) / len(y)
    grad = []
    for k in range(len(theta) - 1, -1, -1):
        W = theta[k][0]
        grad.append((h[k].T @ delta if transposed else delta.T @ h[k], delta.sum(0)))
        if k:
            derivative = h[k] > 0 if workload.hidden == "relu" else h[k] * (1 - h[k])
            delta = (delta @ (W.T if transposed else W)) * derivative
    return loss, grad[::-1]


def update(workload: Workload, theta, state, grad):
    rate = workload.learning_rate
    if workload.optimizer == "sgd":
        return jax.tree.map(lambda p, g: p - rate * g, theta, grad), state
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
