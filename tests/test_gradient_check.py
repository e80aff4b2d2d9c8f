"""gradient_check: below 1e-6 for every combination, and far above it when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import fastnn
from fastnn.explain.gradient_check import gradient_check
from fastnn.kernels import _cpu
from fastnn.network.spec import LOSS_OUTPUTS

COMBINATIONS = [
    (activation, output, loss)
    for activation in _cpu.ACTIVATIONS
    for loss, outputs in LOSS_OUTPUTS.items()
    for output in outputs
    if activation == "tanh" or output in ("softmax", "identity")
]


def data(output, loss, n=7):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 5))
    if loss == "squared_error":
        return X, rng.normal(size=(n, 3))
    if loss in ("cross_entropy", "hinge") or (loss == "focal" and output == "softmax"):
        return X, rng.integers(0, 3, n)
    return X, rng.uniform(size=(n, 3))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("activation", "output", "loss"), COMBINATIONS)
def test_every_combination(activation, output, loss, bias):
    for seed in range(3):
        model = fastnn.Model([5, 6, 4, 3], activation, output, loss, bias, "float64", seed=seed)
        for b in model.b:
            if b is not None:
                b[:] = np.linspace(-0.3, 0.4, len(b))
        assert model.gradient_check(*data(output, loss)) < 1e-6


def test_parameters_of_activations():
    hidden = [fastnn.LeakyReLU(0.3), fastnn.ELU(0.5)]
    model = fastnn.Model([5, 6, 4, 3], hidden, dtype="float64", seed=0)
    assert model.gradient_check(*data("softmax", "cross_entropy")) < 1e-6
    output = fastnn.LeakyReLU(0.3)
    model = fastnn.Model([5, 6, 3], "gelu", output, dtype="float64", seed=0)
    assert model.gradient_check(*data("leaky_relu", "squared_error")) < 1e-6


def test_distributions_as_targets():
    model = fastnn.Model([5, 6, 3], "tanh", dtype="float64", seed=0)
    y = np.random.default_rng(2).dirichlet(np.ones(3), 7)
    assert model.gradient_check(data("softmax", "cross_entropy")[0], y) < 1e-6


def test_at_a_minimum_where_the_gradient_is_nearly_zero():
    model = fastnn.Model([3, 4, 2], dtype="float64", seed=0)
    model.W[0][:] = -1  # relus that are dead for positive inputs
    model.b[1][:] = 1e-9, -1e-9
    X = np.random.default_rng(0).uniform(0.1, 1, (6, 3))
    assert model.gradient_check(X, [0, 1, 0, 1, 1, 0]) < 1e-6


@pytest.mark.parametrize("scale", [1e-3, 1, 100])
def test_badly_scaled_inputs(scale):
    model = fastnn.Model([5, 6, 3], "sigmoid", dtype="float64", seed=0)
    X, y = data("softmax", "cross_entropy")
    assert model.gradient_check(scale * X, y) < 1e-6


def test_float32_goes_through_float64_and_nothing_changes():
    model = fastnn.Model([5, 6, 3], seed=0)
    before = model.theta.copy()
    assert model.gradient_check(*data("softmax", "cross_entropy")) < 1e-6
    assert (model.theta == before).all()


def test_many_parameters_are_sampled():
    model = fastnn.Model([50, 60, 3], "tanh", seed=0)
    X = np.random.default_rng(0).normal(size=(2, 50))
    assert model.gradient_check(X, [0, 2]) == model.gradient_check(X, [0, 2]) < 1e-6


def test_a_big_network_takes_seconds():
    model = fastnn.Model([500, 1000, 500, 3], "tanh", seed=0)
    X = np.random.default_rng(0).normal(size=(2, 500))
    assert model.gradient_check(X, [0, 2]) < 1e-6


SPANS = {
    "W1": lambda network: network.layers[0].W,
    "W2": lambda network: network.layers[1].W,
    "alpha1": lambda network: network.layers[0].alpha,
    "s": lambda network: network.s,
    "w of column 1": lambda network: network.phi[0][0]["w"][0],
    "T of column 4": lambda network: network.phi[1][0]["T"][0],
}


@pytest.mark.parametrize("name", SPANS)
def test_a_wrong_gradient_shows(name, monkeypatch):
    """One entry of one gradient, off by a thousandth of itself."""
    import fastnn.explain.gradient_check as module

    model = fastnn.Model(
        *([5, 6, 3], fastnn.Parametric("tanh")),
        dtype="float64",
        seed=0,
        embeddings=[fastnn.Periodic([1], 3), fastnn.PiecewiseLinear([4], [-1, 0, 1], 2)],
        feature_scale=True,
    )
    span = SPANS[name](model._network)
    assert model.gradient_check(*data("softmax", "cross_entropy")) < 1e-6
    new_engine = module.new_engine

    class Broken:
        def __init__(self, network):
            engine = new_engine(network)
            self.load, self.loss, self._gradient = engine.load, engine.loss, engine.gradient

        def gradient(self, X, y, grad, n_threads, weights):
            loss = self._gradient(X, y, grad, n_threads, weights)
            grad[span.start + np.argmax(abs(grad[span]))] *= 1.001
            return loss

    monkeypatch.setattr(module, "new_engine", Broken)
    assert 5e-4 < model.gradient_check(*data("softmax", "cross_entropy")) < 2e-3


def test_kinks_are_left_out():
    """x = 1, W = 0: a = 0 stands on relu's kink, and no parameter can be checked."""
    model = fastnn.Model([1, 1], output="relu", loss="squared_error", dtype="float64", seed=0)
    model.theta[:] = 0
    with pytest.raises(ValueError, match="kink"):
        model.gradient_check([[1.0]], [1.0])


def test_wrong_arguments():
    model = fastnn.Model([5, 3], seed=0)
    X, y = data("softmax", "cross_entropy")
    for eps in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="eps must be"):
            model.gradient_check(X, y, eps=eps)
    with pytest.raises(ValueError, match="X must have shape"):
        model.gradient_check(X[:, :4], y)
    assert gradient_check(model._network, model.theta, X, y, 1e-3, 0) < 1e-6
