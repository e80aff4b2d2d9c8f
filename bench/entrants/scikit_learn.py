"""scikit-learn: partial_fit, an epoch a call, the rows put in order before it."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn import set_config
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.entrants.base import ADAM, Entrant
from bench.workloads import Problem

set_config(assume_finite=True, skip_parameter_validation=True)


class ScikitLearn(Entrant):
    def __init__(self, problem: Problem) -> None:
        workload = problem.workload
        classifies = workload.output == "softmax"
        self.model = (MLPClassifier if classifies else MLPRegressor)(
            hidden_layer_sizes=workload.sizes[1:-1],
            activation={"relu": "relu", "sigmoid": "logistic"}[workload.hidden],
            solver=workload.optimizer,
            learning_rate_init=workload.learning_rate,
            batch_size=workload.batch,
            alpha=0.0,
            momentum=0.0,
            nesterovs_momentum=False,
            beta_1=ADAM["beta1"],
            beta_2=ADAM["beta2"],
            epsilon=ADAM["epsilon"],
            shuffle=False,
        )
        self.X, self.orders, self.epoch = problem.X, problem.orders, 0
        if workload.data == "sparse":
            parts = problem.X.data, problem.X.indices, problem.X.indptr
            self.X = csr_matrix(parts, problem.X.shape)
        if workload.kind == "train":
            self.y = problem.y if classifies else problem.y.ravel()
        else:
            self.y = np.zeros(len(self.X), int if classifies else "f4")
        # A first step makes its arrays; then they get the first weights, and no optimizer's state.
        rows = slice(0, workload.batch)
        classes = {"classes": np.arange(workload.sizes[-1])} if classifies else {}
        self.model.partial_fit(self.X[rows], self.y[rows], **classes)
        for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True)):
            self.model.coefs_[k][...] = W.T
            self.model.intercepts_[k][...] = b
        del self.model._optimizer
        self.predict = self.model.predict_proba if classifies else self.model.predict

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            order = self.orders[self.epoch % len(self.orders)]
            self.model.partial_fit(self.X[order], self.y[order])
            losses.append(self.model.loss_)
            self.epoch += 1
        return losses
