"""PyTorch as a good program uses it: modules, autograd, fused optimizer; no DataLoader."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bench.entrants.base import ADAM, Entrant
from bench.workloads import Problem, Sparse


class PyTorchEager(Entrant):
    def __init__(self, problem: Problem, sparse_gradient: bool = True) -> None:
        torch.set_num_threads(problem.n_threads)
        torch.set_flush_denormal(True)
        workload = self.workload = problem.workload
        self.model = make_model(problem, sparse_gradient)
        self.softmax = workload.output == "softmax"
        self.epoch = 0
        if workload.kind == "predict":
            self.model.eval()
            return
        self.X, self.y = rows_of(problem), torch.from_numpy(problem.y)
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
            fused = not (sparse_gradient and workload.data == "sparse")  # takes none of some rows
            self.optimizer = torch.optim.SGD(parameters, lr=rate, fused=fused)

    def loss(self, a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.softmax:
            return nn.functional.cross_entropy(a, y)
        return nn.functional.mse_loss(a, y, reduction="sum") / (2 * len(y))

    def loss_of(self, rows: torch.Tensor) -> torch.Tensor:
        return self.loss(self.model(take(self.X, rows)), self.y.index_select(0, rows))

    def train(self, epochs: int) -> list[float]:
        optimizer, losses = self.optimizer, []
        for _ in range(epochs):
            total = torch.zeros(())
            for rows in self.orders[self.epoch % len(self.orders)]:
                optimizer.zero_grad(set_to_none=True)
                loss = self.loss_of(rows)
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


def rows_of(problem: Problem):
    """X; of sparse rows (columns, values)."""
    X = problem.X
    if isinstance(X, Sparse):
        return torch.from_numpy(X.columns), torch.from_numpy(X.values)
    return torch.from_numpy(X)


def take(X, rows: torch.Tensor):
    if isinstance(X, tuple):
        return tuple(part.index_select(0, rows) for part in X)
    return X.index_select(0, rows)


class SparseLinear(nn.Module):
    """A linear layer of rows (columns, values)."""

    def __init__(self, n_in: int, n_out: int, adds_up: bool) -> None:
        """adds_up: the gradient is of those rows of W^T that occur, which Adam does not take."""
        super().__init__()
        self.bag = nn.EmbeddingBag(n_in, n_out, mode="sum", sparse=adds_up)
        self.bias = nn.Parameter(torch.empty(n_out))

    def forward(self, x):
        return self.bag(x[0], per_sample_weights=x[1]) + self.bias


def make_model(problem: Problem, sparse_gradient: bool = True) -> nn.Sequential:
    """The network with the problem's weights; without a softmax at its end."""
    workload = problem.workload
    modules: list[nn.Module] = []
    for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
        n_out, n_in = W.shape
        hidden = k + 1 < len(problem.W)
        norm = workload.norm if hidden else ""
        with torch.no_grad():
            if k == 0 and workload.data == "sparse":
                linear = SparseLinear(n_in, n_out, sparse_gradient and workload.optimizer == "sgd")
                linear.bag.weight.copy_(torch.from_numpy(W.T))
            else:
                linear = nn.Linear(n_in, n_out, bias=not norm)
                linear.weight.copy_(torch.from_numpy(W))
            modules.append(linear)
            if norm:
                modules.append((nn.BatchNorm1d if norm == "batch" else nn.LayerNorm)(n_out))
            modules[-1].bias.copy_(torch.from_numpy(b))
        if hidden:
            modules.append(nn.ReLU() if workload.hidden == "relu" else nn.Sigmoid())
            if workload.dropout:
                modules.append(nn.Dropout(workload.dropout))
    return nn.Sequential(*modules)
