"""TensorFlow: a whole epoch in one tf.function compiled by XLA, gradients by hand."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from bench.entrants.base import ADAM, Entrant, fastest
from bench.workloads import Problem

tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["TF_NUM_INTRAOP_THREADS"]))
tf.config.threading.set_inter_op_parallelism_threads(1)


class TensorFlowXla(Entrant):
    def __init__(self, problem: Problem) -> None:
        if problem.workload.kind == "train":
            ways = {
                "W": lambda: Epochs(problem, transposed=False),
                "W^T": lambda: Epochs(problem, transposed=True),
            }
            self.variant, trainer = fastest(ways)
            self.train = trainer.train
            return
        net = Epochs(problem, transposed=True)
        signature = [tf.TensorSpec(problem.X.shape, tf.float32)]
        call = tf.function(
            lambda x: net.outputs(net.forward(net.theta, x)[-1]),
            jit_compile=True,
            input_signature=signature,
        )
        self.call = call.get_concrete_function()

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.call(tf.constant(X)).numpy()


class Epochs:
    def __init__(self, problem: Problem, transposed: bool) -> None:
        workload = self.workload = problem.workload
        self.transposed, self.epoch = transposed, 0
        self.theta = [
            (tf.Variable(W.T if transposed else W), tf.Variable(b))
            for W, b in zip(problem.W, problem.b, strict=True)
        ]
        if workload.kind == "predict":
            return
        self.flat = [p for pair in self.theta for p in pair]
        adam = workload.optimizer == "adam"
        self.m = [tf.Variable(tf.zeros_like(p)) for p in self.flat] if adam else []
        self.v = [tf.Variable(tf.zeros_like(p)) for p in self.flat] if adam else []
        self.t = tf.Variable(0.0)
        self.X = tf.constant(problem.X)
        y = problem.y if workload.output != "softmax" else problem.y.astype(np.int32)
        self.y = tf.constant(y)
        shape = workload.steps, workload.batch
        self.orders = [tf.constant(o.astype(np.int32).reshape(shape)) for o in problem.orders]
        self.run = tf.function(self._run, jit_compile=True)

    def train(self, epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            order = self.orders[self.epoch % len(self.orders)]
            losses.append(self.run(self.X, self.y, order))
            self.epoch += 1
        return [float(loss) for loss in losses]

    def _run(self, X, y, order):
        """The variables go through the loop as values, and are assigned once at its end."""
        steps = self.workload.steps

        def body(s, theta, m, v, t, total):
            rows = order[s]
            x = tf.gather(X, rows)
            loss, grad = self.gradient(theta, x, tf.gather(y, rows))
            theta, m, v, t = self.update(theta, m, v, t, grad)
            return s + 1, theta, m, v, t, total + loss

        start = [tf.constant(0), *([p.value() for p in group] for group in (self.flat, self.m))]
        start += [[p.value() for p in self.v], self.t.value(), tf.constant(0.0)]
        _, theta, m, v, t, total = tf.while_loop(
            lambda s, *_: s < steps, body, start, maximum_iterations=steps
        )
        for variables, values in ((self.flat, theta), (self.m, m), (self.v, v)):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.t.assign(t)
        return total / steps

    def forward(self, theta, x):
        """h[0] = x, h[1], ..., and a^(K) in place of the last."""
        h = [x]
        for k, (W, b) in enumerate(theta):
            a = tf.matmul(h[-1], W, transpose_b=not self.transposed) + b
            if k + 1 < len(theta):
                a = tf.nn.relu(a) if self.workload.hidden == "relu" else tf.sigmoid(a)
            h.append(a)
        return h

    def outputs(self, a):
        return tf.nn.softmax(a) if self.workload.output == "softmax" else a

    def gradient(self, flat, x, y):
        theta = list(zip(flat[0::2], flat[1::2], strict=True))
        *h, a = self.forward(theta, x)
        batch = self.workload.batch
        if self.workload.output == "softmax":
            log_p = tf.nn.log_softmax(a)
            target = tf.one_hot(y, a.shape[1])
            loss = -tf.reduce_sum(log_p * target) / batch
            delta = (tf.exp(log_p) - target) / batch
        else:
            loss = tf.reduce_sum((a - y) ** 2) / (2 * batch)
            delta = (a - y) / batch
        grad = []
        for k in range(len(theta) - 1, -1, -1):
            product = (h[k], delta) if self.transposed else (delta, h[k])
            grad[:0] = [tf.matmul(*product, transpose_a=True), tf.reduce_sum(delta, 0)]
            if k:
                back = tf.matmul(delta, theta[k][0], transpose_b=self.transposed)
                if self.workload.hidden == "relu":
                    delta = back * tf.cast(h[k] > 0, tf.float32)
                else:
                    delta = back * h[k] * (1 - h[k])
        return loss, grad

    def update(self, theta, m, v, t, grad):
        rate = self.workload.learning_rate
        if self.workload.optimizer == "sgd":
            return [p - rate * g for p, g in zip(theta, grad, strict=True)], m, v, t
        t = t + 1
        beta1, beta2, epsilon = ADAM["beta1"], ADAM["beta2"], ADAM["epsilon"]
        m = [beta1 * m + (1 - beta1) * g for m, g in zip(m, grad, strict=True)]
        v = [beta2 * v + (1 - beta2) * g * g for v, g in zip(v, grad, strict=True)]
        root = tf.sqrt(1 - beta2**t)
        scale = rate * root / (1 - beta1**t)
        moments = zip(theta, m, v, strict=True)
        theta = [p - scale * m / (tf.sqrt(v) + epsilon * root) for p, m, v in moments]
        return theta, m, v, t
