"""NumPy by hand: the mathematics line by line, every array allocated before."""

from __future__ import annotations

import numpy as np

from bench.entrants.base import ADAM, Entrant
from bench.workloads import Problem


class NumpyByHand(Entrant):
    def __init__(self, problem: Problem) -> None:
        workload = self.workload = problem.workload
        self.problem, self.epoch, self.t = problem, 0, 0
        sizes, batch = workload.sizes, workload.batch
        self.theta, self.W, self.b = _flat(problem.W, problem.b)
        self.h = [np.empty((batch, n), "f4") for n in sizes]
        if workload.kind == "predict":
            return
        self.X, self.y = problem.X, problem.y
        if workload.output == "softmax":
            self.y = np.zeros((len(self.X), sizes[-1]), "f4")
            self.y[np.arange(len(self.X)), problem.y] = 1
        self.delta = [np.empty((batch, n), "f4") for n in sizes]
        self.scratch_h = [np.empty((batch, n), "f4") for n in sizes]
        self.mask = [np.empty((batch, n), bool) for n in sizes]
        self.target = np.empty((batch, sizes[-1]), "f4")
        self.grad, self.grad_W, self.grad_b = _flat(problem.W, problem.b)
        self.m, self.v, self.scratch = (np.zeros_like(self.theta) for _ in range(3))

    def forward(self, x: np.ndarray, h: list[np.ndarray]) -> np.ndarray:
        """h[k] <- the activations of layer k; returns the last, still before the output's g."""
        K = len(self.W)
        for k in range(K):
            a = np.matmul(h[k] if k else x, self.W[k].T, out=h[k + 1])
            a += self.b[k]
            if k + 1 < K and self.workload.hidden == "relu":
                np.maximum(a, 0, out=a)
            elif k + 1 < K:
                _sigmoid(a)
        return h[K]

    def step(self, rows: np.ndarray) -> float:
        K, h, delta, batch = len(self.W), self.h, self.delta, self.workload.batch
        self.X.take(rows, axis=0, out=h[0], mode="clip")
        self.y.take(rows, axis=0, out=self.target, mode="clip")
        a = self.forward(h[0], h)
        if self.workload.output == "softmax":
            a -= a.max(1, keepdims=True)
            np.exp(a, out=delta[K])
            total = delta[K].sum(1, keepdims=True)
            loss = (np.log(total).sum() - np.vdot(a, self.target)) / batch
            delta[K] /= total
            delta[K] -= self.target
        else:
            np.subtract(a, self.target, out=delta[K])
            loss = np.vdot(delta[K], delta[K]) / (2 * batch)
        delta[K] *= np.float32(1 / batch)
        for k in range(K - 1, 0, -1):
            np.matmul(delta[k + 1], self.W[k], out=delta[k])
            if self.workload.hidden == "relu":
                delta[k] *= np.greater(h[k], 0, out=self.mask[k])
            else:
                delta[k] *= h[k]
                delta[k] *= np.subtract(1, h[k], out=self.scratch_h[k])
        for k in range(K):
            np.matmul(delta[k + 1].T, h[k], out=self.grad_W[k])
            np.sum(delta[k + 1], 0, out=self.grad_b[k])
        self.update()
        return loss

    def update(self) -> None:
        rate, grad = self.workload.learning_rate, self.grad
        if self.workload.optimizer == "sgd":
            grad *= np.float32(rate)
            self.theta -= grad
            return
        self.t += 1
        beta1, beta2 = ADAM["beta1"], ADAM["beta2"]
        self.m *= np.float32(beta1)
        self.v *= np.float32(beta2)
        np.multiply(grad, grad, out=self.scratch)
        self.scratch *= np.float32(1 - beta2)
        self.v += self.scratch
        grad *= np.float32(1 - beta1)
        self.m += grad
        # m / c1 / (sqrt(v / c2) + epsilon), the scalars taken out
        root = (1 - beta2**self.t) ** 0.5
        np.sqrt(self.v, out=self.scratch)
        self.scratch += np.float32(ADAM["epsilon"] * root)
        np.divide(self.m, self.scratch, out=self.scratch)
        self.scratch *= np.float32(rate * root / (1 - beta1**self.t))
        self.theta -= self.scratch

    def train(self, epochs: int) -> list[float]:
        steps, batch, orders = self.workload.steps, self.workload.batch, self.problem.orders
        losses = []
        for _ in range(epochs):
            order = orders[self.epoch % len(orders)].reshape(steps, batch)
            losses.append(float(sum(self.step(rows) for rows in order)) / steps)
            self.epoch += 1
        return losses

    def predict(self, X: np.ndarray) -> np.ndarray:
        a = self.forward(X, self.h)
        if self.workload.output == "identity":
            return a.copy()
        a -= a.max(1, keepdims=True)
        np.exp(a, out=a)
        return a / a.sum(1, keepdims=True)


def _flat(W: list, b: list) -> tuple[np.ndarray, list, list]:
    """One vector with W and b of each layer as views of it, so that one operation updates all."""
    theta = np.concatenate([part.ravel() for pair in zip(W, b, strict=True) for part in pair])
    views_W, views_b, start = [], [], 0
    for one, bias in zip(W, b, strict=True):
        views_W.append(theta[start : start + one.size].reshape(one.shape))
        start += one.size
        views_b.append(theta[start : start + bias.size])
        start += bias.size
    return theta, views_W, views_b


def _sigmoid(a: np.ndarray) -> None:
    """a <- 1 / (1 + exp(-a)), in place."""
    np.negative(a, out=a)
    np.exp(a, out=a)
    a += 1
    np.reciprocal(a, out=a)
