"""PyTorch's compiler: a step without autograd as one compiled function (needs a C++ compiler);
sparse rows, dropout and normalisation with autograd, which is compiled, too.

Tried: Inductor's default, and max-autotune (its own C++ matrix products among the candidates).
"""

from __future__ import annotations

import numpy as np
import torch

from bench.entrants.base import ADAM, Entrant, fastest, fastest_call
from bench.entrants.pytorch_by_hand import flat
from bench.entrants.pytorch_eager import PyTorchEager, make_model
from bench.workloads import Problem

MODES = ("default", "max-autotune")


class PyTorchCompiled(Entrant):
    def __init__(self, problem: Problem) -> None:
        torch.set_num_threads(problem.n_threads)
        torch.set_flush_denormal(True)
        torch.compiler.reset()
        torch._inductor.config.cpp.threads = problem.n_threads
        if problem.workload.kind == "train":
            steps = Autograd if problem.workload.needs else Steps
            ways = {mode: lambda mode=mode: steps(problem, mode) for mode in MODES}
            self.variant, trainer = fastest(ways)
            self.train = trainer.train
            return
        torch._inductor.config.freezing = True
        ways = {mode: Forward(problem, mode) for mode in MODES}
        self.variant, self.predict = fastest_call(ways, problem.X)


class Steps:
    def __init__(self, problem: Problem, mode: str) -> None:
        workload = self.workload = problem.workload
        self.epoch = 0
        self.theta, self.W, self.b = flat(problem, transposed=False)
        self.adam = workload.optimizer == "adam"
        self.m, self.v = torch.zeros_like(self.theta), torch.zeros_like(self.theta)
        self.t = torch.zeros(())
        self.total = torch.zeros(())
        self.X, self.y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        shape = workload.steps, workload.batch
        self.orders = [torch.from_numpy(order).view(shape).unbind() for order in problem.orders]
        self.step = torch.compile(self._step, mode=mode, fullgraph=True, dynamic=False)

    @torch.no_grad()
    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            self.total.zero_()
            for rows in self.orders[self.epoch % len(self.orders)]:
                self.step(rows, self.X, self.y, self.W, self.b)
            losses.append(float(self.total) / self.workload.steps)
            self.epoch += 1
        return losses

    def _step(self, rows, X, y, W, b):
        workload, K = self.workload, len(W)
        relu, batch = workload.hidden == "relu", workload.batch
        h = [X[rows]]
        target = y[rows]
        for k in range(K):
            a = torch.addmm(b[k], h[k], W[k].t())
            if k + 1 < K:
                h.append(a.relu() if relu else a.sigmoid())
        if workload.output == "softmax":
            log_p = torch.log_softmax(a, 1)
            hot = (target[:, None] == torch.arange(a.shape[1])).float()
            loss = -(log_p * hot).sum() / batch
            delta = (log_p.exp() - hot) / batch
        else:
            delta = a - target
            loss = (delta * delta).sum() / (2 * batch)
            delta = delta / batch
        self.total.add_(loss)
        grad = []
        for k in range(K - 1, -1, -1):
            grad.append((delta.t() @ h[k], delta.sum(0)))
            if k:
                back = delta @ W[k]
                delta = back * (h[k] > 0) if relu else back * h[k] * (1 - h[k])
        if self.adam:
            self._update_adam(torch.cat([g.flatten() for pair in grad[::-1] for g in pair]))
            return
        rate = workload.learning_rate
        for k, (grad_W, grad_b) in enumerate(grad[::-1]):
            W[k].sub_(grad_W, alpha=rate)
            b[k].sub_(grad_b, alpha=rate)

    def _update_adam(self, grad):
        beta1, beta2, epsilon = ADAM["beta1"], ADAM["beta2"], ADAM["epsilon"]
        self.t.add_(1)
        self.m.mul_(beta1).add_(grad, alpha=1 - beta1)
        self.v.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        root = torch.sqrt(1 - beta2**self.t)
        scale = self.workload.learning_rate * root / (1 - beta1**self.t)
        self.theta.sub_(scale * self.m / (self.v.sqrt() + epsilon * root))


class Autograd(PyTorchEager):
    """Loss and gradient of a step compiled; the fused optimizer beside them."""

    def __init__(self, problem: Problem, mode: str) -> None:
        super().__init__(problem, sparse_gradient=False)
        self.loss_of = torch.compile(self.loss_of, mode=mode, fullgraph=True, dynamic=False)


class Forward:
    def __init__(self, problem: Problem, mode: str) -> None:
        model = make_model(problem)
        if problem.workload.output == "softmax":
            model.append(torch.nn.Softmax(1))
        self.model = torch.compile(model.eval(), mode=mode, fullgraph=True, dynamic=False)

    @torch.inference_mode()
    def __call__(self, X: np.ndarray) -> np.ndarray:
        return self.model(torch.from_numpy(X)).numpy()
