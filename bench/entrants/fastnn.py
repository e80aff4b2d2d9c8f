"""fastnn: training through the engine as Model.fit does it, prediction through a Predictor."""

from __future__ import annotations

import numpy as np

import fastnn
from bench.entrants.base import Entrant
from bench.workloads import Problem, Unavailable
from fastnn.network.arrays import as_pair
from fastnn.training.loop import Run


class Fastnn(Entrant):
    def __init__(self, problem: Problem) -> None:
        workload = problem.workload
        self.model = fastnn.Model(
            list(workload.sizes),
            activation=workload.hidden,
            output=workload.output,
            dropout=workload.dropout,
            norm=workload.norm or None,
            seed=0,
            n_threads=problem.n_threads,
        )
        for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
            self.model.W[k], self.model.b[k] = W, b
        self.predict = self.model.predictor()
        if workload.kind == "train":
            self._prepare_training(problem)

    def _prepare_training(self, problem: Problem) -> None:
        workload, network = problem.workload, self.model._network
        self.X, self.y = as_pair(problem.X, problem.y, network)
        self.orders = problem.orders.astype(np.intp)
        rule = _optimizer(workload.optimizer, workload.learning_rate)
        parameters = self.model._parameters
        with parameters.training(rule.kind, workload.batch) as engine:  # which stays its own
            self.run = Run(
                *(parameters, engine, rule, workload.batch),
                *(problem.n_threads, self.model.seed),
            )
        self.epoch = 0

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            order = self.orders[self.epoch % len(self.orders)]
            losses.append(self.run.epoch(self.X, self.y, order))
            self.epoch += 1
        return losses


def _optimizer(name: str, learning_rate: float):
    if name == "sgd":
        return fastnn.SGD(learning_rate=learning_rate)
    if not hasattr(fastnn, "Adam"):
        raise Unavailable("this fastnn has no Adam")
    return fastnn.Adam(learning_rate=learning_rate)
