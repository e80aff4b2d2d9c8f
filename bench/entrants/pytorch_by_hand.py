"""PyTorch by hand: no autograd, everything preallocated, `addmm_` straight into the weights.

What is tried, since the best differs from shape to shape: weights stored either way round; rows
gathered for each step, or for the whole epoch at once (fewer calls, but the rows leave the cache).
The loss costs no call in a step: log-probabilities are kept, and summed after the epoch.
Dropout's 1 / (1 - p) is a factor of products that are made anyway.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from bench.entrants.base import ADAM, Entrant, fastest, fastest_call
from bench.entrants.pytorch_eager import rows_of, take
from bench.workloads import Problem

CHUNK_ROWS = 2048  # of large predictions: activations of a chunk stay in L2


class PyTorchByHand(Entrant):
    def __init__(self, problem: Problem) -> None:
        torch.set_num_threads(problem.n_threads)
        torch.set_flush_denormal(True)
        if problem.workload.kind == "train":
            ways = {
                f"{'W^T' if transposed else 'W'}, gather {'epoch' if ahead else 'step'}": (
                    lambda transposed=transposed, ahead=ahead: Steps(problem, transposed, ahead)
                )
                for transposed, ahead in product((False, True), repeat=2)
            }
            if problem.workload.data == "sparse":
                ways = {
                    how: lambda sorted=sorted: SparseSteps(problem, sorted)
                    for how, sorted in (("entries sorted by column", True), ("as they lie", False))
                }
            self.variant, self.trainer = fastest(ways)
            self.train = self.trainer.train
        else:
            batch = problem.workload.batch
            ways = {
                f"{'W^T' if transposed else 'W'}, {rows} rows": Forward(problem, transposed, rows)
                for transposed in (False, True)
                for rows in sorted({min(CHUNK_ROWS, batch), batch})
            }
            self.variant, self.predict = fastest_call(ways, problem.X)


class Steps:
    """One shape's training. transposed: weights are (n_in, n_out). ahead: rows of a whole epoch."""

    def __init__(self, problem: Problem, transposed: bool, ahead: bool) -> None:
        workload = self.workload = problem.workload
        self.transposed, self.ahead, self.epoch = transposed, ahead, 0
        sizes, batch, steps = workload.sizes, workload.batch, workload.steps
        self.softmax = workload.output == "softmax"
        self.theta, self.W, self.b = flat(problem, transposed)
        self.X, self.y = rows_of(problem), torch.from_numpy(problem.y)
        self.target = self.y
        if self.softmax:
            self.target = torch.nn.functional.one_hot(self.y, sizes[-1]).float()
        self.orders = [torch.from_numpy(order) for order in problem.orders]
        self.batches = [order.view(steps, batch).unbind() for order in self.orders]
        self.h = [torch.empty(batch, n) for n in sizes]
        self.delta = [torch.empty(batch, n) for n in sizes]
        self.y_batch = torch.empty(batch, sizes[-1])
        self.ones = torch.ones(batch)
        # log-probabilities, or errors, of an epoch: what its loss is made of
        self.outcome = torch.empty(steps, batch, sizes[-1])
        self.outcomes = self.outcome.unbind()
        if ahead:
            self.X_epoch = torch.empty(steps * batch, sizes[0])
            self.y_epoch = torch.empty(steps * batch, sizes[-1])
            self.X_batches = self.X_epoch.view(steps, batch, -1).unbind()
            self.y_batches = self.y_epoch.view(steps, batch, -1).unbind()
        if workload.optimizer == "adam":
            self.grad, self.grad_W, self.grad_b = flat(problem, transposed)
            self.m, self.v = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
            self.t = torch.zeros(())
        # Transposed views, made once
        self.W_forward = self.W if transposed else [W.t() for W in self.W]
        self.W_back = [W.t() for W in self.W] if transposed else self.W
        self.delta_t = [delta.t() for delta in self.delta]
        self.h_t = [h.t() for h in self.h]
        self.scale = 1 / (1 - workload.dropout)
        self.mask = [torch.empty(batch, n) for n in sizes] if workload.dropout else []
        kind = {"batch": BatchNorm, "layer": LayerNorm}.get(workload.norm)
        hidden = zip(sizes[1:-1], self.b[:-1], strict=True)
        self.norms = [kind(batch, n, b) for n, b in hidden] if kind else []

    @torch.inference_mode()
    def train(self, epochs: int) -> list[float]:
        return [self._epoch() for _ in range(epochs)]

    def _epoch(self) -> float:
        index = self.epoch % len(self.orders)
        self.epoch += 1
        if self.ahead:
            order = self.orders[index]
            torch.index_select(self.X, 0, order, out=self.X_epoch)
            torch.index_select(self.target, 0, order, out=self.y_epoch)
            for x, y, outcome in zip(self.X_batches, self.y_batches, self.outcomes, strict=True):
                self._step(x, y, outcome)
        else:
            x, y = self.h[0], self.y_batch
            for rows, outcome in zip(self.batches[index], self.outcomes, strict=True):
                torch.index_select(self.X, 0, rows, out=x)
                torch.index_select(self.target, 0, rows, out=y)
                self._step(x, y, outcome)
        if not self.softmax:
            return float(self.outcome.square_().sum()) / (2 * len(self.orders[index]))
        labels = self.y[self.orders[index]]
        log_p = self.outcome.view(len(labels), -1)
        return -float(log_p.gather(1, labels[:, None]).mean())

    def _step(self, x: torch.Tensor, y: torch.Tensor, outcome: torch.Tensor) -> None:
        h, delta, K = self.h, self.delta, len(self.W)
        relu = self.workload.hidden == "relu"
        h_k = x
        for k in range(K - 1):
            h_k = self._product(k, h_k)
            if relu:
                h_k.relu_()
            else:
                h_k.sigmoid_()
            if self.mask:
                h_k.mul_(self.mask[k + 1].bernoulli_(1 / self.scale))
        self._product(K - 1, h_k)
        if self.softmax:
            torch.log_softmax(h[K], 1, out=outcome)
            torch.exp(outcome, out=delta[K])
            delta[K].sub_(y)
        else:
            torch.sub(h[K], y, out=outcome)
            delta[K].copy_(outcome)
        rate = -self.workload.learning_rate / self.workload.batch
        for k in range(K - 1, 0, -1):
            out = delta[k]
            torch.addmm(out, delta[k + 1], self.W_back[k], beta=0, alpha=self.scale, out=out)
            if relu:  # what was dropped is 0, too
                threshold_backward(out, h[k], 0, grad_input=out)
            else:
                sigmoid_backward(out, h[k], grad_input=out)
                if self.mask:
                    out.mul_(self.mask[k])
            if self.norms:
                self.norms[k - 1].back(out)
        if self.workload.optimizer == "adam":
            self._adam(x)
            return
        for k in range(K):
            if k < len(self.norms):
                self.norms[k].step(rate)
            else:
                self.b[k].addmv_(self.delta_t[k + 1], self.ones, alpha=rate)
            self._step_of_W(k, h[k] if k else x, rate * (self.scale if k else 1))

    def _product(self, k: int, h_k: torch.Tensor) -> torch.Tensor:
        """h[k + 1] <- the layer before its activation."""
        out = self.h[k + 1]
        if k < len(self.norms):
            norm = self.norms[k]
            torch.addmm(norm.u, h_k, self.W_forward[k], beta=0, alpha=self.scale_of(k), out=norm.u)
            norm.forward(out)
            return out
        return torch.addmm(self.b[k], h_k, self.W_forward[k], alpha=self.scale_of(k), out=out)

    def scale_of(self, k: int) -> float:
        """Of what comes into layer k + 1."""
        return self.scale if k else 1.0

    def _step_of_W(self, k: int, h_k: torch.Tensor, rate: float) -> None:
        if self.transposed:
            self.W[k].addmm_(self.h_t[k] if k else h_k.t(), self.delta[k + 1], alpha=rate)
        else:
            self.W[k].addmm_(self.delta_t[k + 1], h_k, alpha=rate)

    def _gradient_of_W(self, k: int, h_k: torch.Tensor) -> None:
        if self.transposed:
            torch.mm(h_k.t(), self.delta[k + 1], out=self.grad_W[k])
        else:
            torch.mm(self.delta_t[k + 1], h_k, out=self.grad_W[k])

    def _adam(self, x: torch.Tensor) -> None:
        delta, K = self.delta, len(self.W)
        delta[K].mul_(1 / self.workload.batch)
        for k in range(K - 1, 0, -1):
            delta[k].mul_(1 / self.workload.batch)
        for k in range(K):
            h_k = self.h[k] if k else x
            torch.mv(self.delta_t[k + 1], self.ones, out=self.grad_b[k])
            self._gradient_of_W(k, h_k)
        self.t += 1
        torch._fused_adam_(
            *([self.theta], [self.grad], [self.m], [self.v], [], [self.t]),
            lr=self.workload.learning_rate,
            beta1=ADAM["beta1"],
            beta2=ADAM["beta2"],
            weight_decay=0.0,
            eps=ADAM["epsilon"],
            amsgrad=False,
            maximize=False,
        )


class SparseSteps(Steps):
    """Of rows (columns, values): the first layer's weights are (n_in, n_out).

    sorted: a mini-batch's entries are sorted by column, so that each row of W^T is gone to once.
    """

    def __init__(self, problem: Problem, sorted: bool) -> None:
        super().__init__(problem, transposed=True, ahead=False)
        self.sorted = sorted
        batch, entries = self.workload.batch, problem.X.columns.shape[1]
        self.entry_row = torch.arange(batch, dtype=torch.int32).repeat_interleave(entries)
        self.each = torch.empty(batch, entries, self.workload.sizes[1])

    def _epoch(self) -> float:
        index = self.epoch % len(self.orders)
        self.epoch += 1
        for rows, outcome in zip(self.batches[index], self.outcomes, strict=True):
            torch.index_select(self.target, 0, rows, out=self.y_batch)
            self._step(take(self.X, rows), self.y_batch, outcome)
        log_p = self.outcome.view(-1, self.workload.sizes[-1])
        return -float(log_p.gather(1, self.y[self.orders[index]][:, None]).mean())

    def _product(self, k, h_k):
        if k:
            return super()._product(k, h_k)
        columns, values = h_k
        a = embedding_bag(columns, self.W[0], per_sample_weights=values, mode="sum")
        return torch.add(a, self.b[0], out=self.h[1])

    def _step_of_W(self, k, h_k, rate):
        if k:
            super()._step_of_W(k, h_k, rate)
        else:
            self._add(self.W[0], *h_k, rate)

    def _gradient_of_W(self, k, h_k):
        if k:
            super()._gradient_of_W(k, h_k)
        else:
            self._add(self.grad_W[0].zero_(), *h_k, 1)

    def _add(self, to: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, alpha: float):
        """to += alpha x^T delta, of the mini-batch's entries."""
        delta = self.delta[1]
        if not self.sorted:
            torch.mul(values[:, :, None], delta[:, None, :], out=self.each)
            to.index_add_(0, columns.view(-1), self.each.view(-1, delta.shape[1]), alpha=alpha)
            return
        found, order = columns.view(-1).sort()
        which, times = torch.unique_consecutive(found, return_counts=True)
        starts = (times.cumsum(0) - times).int()
        each = embedding_bag(
            self.entry_row[order],
            delta,
            starts,
            per_sample_weights=values.view(-1)[order],
            mode="sum",
        )
        to.index_add_(0, which, each, alpha=alpha)


class Norm:
    """xhat gamma + b of u, forth and back, without autograd."""

    epsilon = 1e-5

    def __init__(self, batch: int, n: int, b: torch.Tensor) -> None:
        self.n, self.gamma, self.b = n, torch.ones(n), b
        self.u, self.du = torch.empty(batch, n), torch.empty(batch, n)
        self.grad_gamma, self.grad_b = torch.empty(n), torch.empty(n)

    def step(self, rate: float) -> None:
        self.gamma.add_(self.grad_gamma, alpha=rate)
        self.b.add_(self.grad_b, alpha=rate)


class LayerNorm(Norm):
    def __init__(self, batch: int, n: int, b: torch.Tensor) -> None:
        super().__init__(batch, n, b)
        self.mean, self.scale = torch.empty(batch, 1), torch.empty(batch, 1)

    def forward(self, out: torch.Tensor) -> None:
        layer_norm(
            *(self.u, [self.n], self.gamma, self.b, self.epsilon),
            **{"out0": out, "out1": self.mean, "out2": self.scale},
        )

    def back(self, delta: torch.Tensor) -> None:
        """delta, dL/da, becomes dL/du."""
        layer_norm_backward(
            *(delta, self.u, [self.n], self.mean, self.scale, self.gamma, self.b, [True] * 3),
            **{"out0": self.du, "out1": self.grad_gamma, "out2": self.grad_b},
        )
        delta.copy_(self.du)


class BatchNorm(Norm):
    def __init__(self, batch: int, n: int, b: torch.Tensor) -> None:
        super().__init__(batch, n, b)
        self.running = torch.zeros(n), torch.ones(n)
        self.mean, self.scale = torch.empty(n), torch.empty(n)

    def forward(self, out: torch.Tensor) -> None:
        torch.native_batch_norm(
            *(self.u, self.gamma, self.b, *self.running, True, 0.1, self.epsilon),
            out=(out, self.mean, self.scale),
        )

    def back(self, delta: torch.Tensor) -> None:
        batch_norm_backward(
            *(delta, self.u, self.gamma, *self.running, self.mean, self.scale, True),
            *(self.epsilon, [True] * 3),
            **{"out0": self.du, "out1": self.grad_gamma, "out2": self.grad_b},
        )
        delta.copy_(self.du)


layer_norm = torch.ops.aten.native_layer_norm.out
layer_norm_backward = torch.ops.aten.native_layer_norm_backward.out
batch_norm_backward = torch.ops.aten.native_batch_norm_backward.out
threshold_backward = torch.ops.aten.threshold_backward.grad_input
sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


class Forward:
    """h^(K) through preallocated buffers, a chunk of rows at a time."""

    def __init__(self, problem: Problem, transposed: bool, rows: int) -> None:
        workload = problem.workload
        _, W, self.b = flat(problem, transposed)
        self.W = W if transposed else [one.t() for one in W]
        self.relu = workload.hidden == "relu"
        self.softmax = workload.output == "softmax"
        self.rows = rows
        self.h = [torch.empty(rows, n) for n in workload.sizes[1:]]
        self.n_out = workload.sizes[-1]

    @torch.inference_mode()
    def __call__(self, X: np.ndarray) -> np.ndarray:
        out = torch.empty(len(X), self.n_out)
        x, rows = torch.from_numpy(X), self.rows
        if len(X) == rows:
            self._forward(x, out, self.h)
        else:
            for i in range(0, len(X), rows):
                n = min(rows, len(X) - i)
                self._forward(x[i : i + n], out[i : i + n], [h[:n] for h in self.h])
        return out.numpy()

    def _forward(self, x: torch.Tensor, out: torch.Tensor, h: list[torch.Tensor]) -> None:
        K = len(self.W)
        for k in range(K - 1):
            x = torch.addmm(self.b[k], x, self.W[k], out=h[k])
            x = x.relu_() if self.relu else x.sigmoid_()
        if self.softmax:
            torch.addmm(self.b[K - 1], x, self.W[K - 1], out=h[K - 1])
            torch.softmax(h[K - 1], 1, out=out)
        else:
            torch.addmm(self.b[K - 1], x, self.W[K - 1], out=out)


def flat(problem: Problem, transposed: bool):
    """theta, and W and b of each layer as views of it: Adam is then one call."""
    W = [one.T if transposed else one for one in problem.W]
    parts = [part for pair in zip(W, problem.b, strict=True) for part in pair]
    theta = torch.from_numpy(np.concatenate([part.ravel() for part in parts]))
    views = [
        view.view(part.shape)
        for view, part in zip(theta.split([part.size for part in parts]), parts, strict=True)
    ]
    return theta, views[0::2], views[1::2]
