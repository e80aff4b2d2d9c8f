"""PyTorch as a good program uses it: modules, autograd, fused optimizer; no DataLoader."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bench.entrants.base import ADAM, Entrant
from bench.workloads import Problem


class PyTorchEager(Entrant):
    def __init__(self, problem: Problem) -> None:
        torch.set_num_threads(problem.n_threads)
        torch.set_flush_denormal(True)
        workload = self.workload = problem.workload
        self.model = make_model(problem)
        self.softmax = workload.output == "softmax"
        self.epoch = 0
        if workload.kind == "predict":
            self.model.eval()
            return
        self.X, self.y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)
        self.orders = [
            torch.from_numpy(order).view(workload.steps, workload.batch).unbind()
            for order in problem.orders
        ]
        parameters, rate = self.model.parameters(), workload.learning_rate
        if workload.optimizer == "adam":
            betas = ADAM["beta1"], ADAM["beta2"]
            self.optimizer = torch.optim.Adam(
                parameters, lr=rate, betas=betas, eps=ADAM["epsilon"], fused=True
            )
        else:
            self.optimizer = torch.optim.SGD(parameters, lr=rate, fused=True)

    def loss(self, a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.softmax:
            return nn.functional.cross_entropy(a, y)
        return nn.functional.mse_loss(a, y, reduction="sum") / (2 * len(y))

    def train(self, epochs: int) -> list[float]:
        model, optimizer, losses = self.model, self.optimizer, []
        for _ in range(epochs):
            total = torch.zeros(())
            for rows in self.orders[self.epoch % len(self.orders)]:
                optimizer.zero_grad(set_to_none=True)
                loss = self.loss(model(self.X.index_select(0, rows)), self.y.index_select(0, rows))
                loss.backward()
                optimizer.step()
                total += loss.detach()
            losses.append(float(total) / self.workload.steps)
            self.epoch += 1
        return losses

    @torch.inference_mode()
    def predict(self, X: np.ndarray) -> np.ndarray:
        a = self.model(torch.from_numpy(X))
        return (a.softmax(1) if self.softmax else a).numpy()


def make_model(problem: Problem) -> nn.Sequential:
    """The network with the problem's weights; without a softmax at its end."""
    modules: list[nn.Module] = []
    for W, b in zip(problem.W, problem.b, strict=True):
        linear = nn.Linear(W.shape[1], W.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W))
            linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, nn.ReLU() if problem.workload.hidden == "relu" else nn.Sigmoid()]
    return nn.Sequential(*modules[:-1])
