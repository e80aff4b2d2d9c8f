"""Against PyTorch's autograd and optimizers in float64, where PyTorch is installed."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from compiled import activation

import fastnn
from fastnn.kernels import _cpu

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

RELATIVE = 1e-12

NETS = {
    "softmax": ref.Net((7, 9, 6, 4), "tanh", "softmax"),
    "softmax, relu": ref.Net((7, 9, 6, 4), "relu", "softmax"),
    "softmax, one layer": ref.Net((7, 4), (), "softmax"),
    "softmax, squared error": ref.Net((7, 5, 4), "sigmoid", "softmax", "squared_error"),
    "sigmoid": ref.Net((7, 9, 3), "relu", "sigmoid"),
    "sigmoid, squared error": ref.Net((7, 9, 3), "tanh", "sigmoid", "squared_error"),
    "tanh": ref.Net((7, 9, 3), "sigmoid", "tanh", "squared_error"),
    "identity, no bias": ref.Net((7, 9, 5, 1), ("tanh", "relu"), "identity", bias=False),
    **{
        f"hidden {g}": ref.Net((7, 9, 6, 4), g)
        for g in ("leaky_relu", "elu", "selu", "softplus", "hard_tanh", *sorted(_cpu.KEEPING))
    },
    "parameters": ref.Net((7, 9, 6, 4), (("leaky_relu", 0.25), ("elu", 0.5))),
    "gelu output": ref.Net((7, 9, 3), "mish", "gelu", "squared_error"),
    "leaky_relu output": ref.Net((7, 9, 3), "silu", ("leaky_relu", 0.125), "squared_error"),
    "identity, some biases": ref.Net((7, 9, 2), "tanh", "identity", bias=(False, True)),
}
TORCH = {
    "identity": lambda a: a,
    "relu": lambda a: a.relu(),
    "sigmoid": lambda a: a.sigmoid(),
    "tanh": lambda a: a.tanh(),
    "leaky_relu": torch.nn.functional.leaky_relu,
    "elu": torch.nn.functional.elu,
    "selu": torch.selu,
    "softplus": torch.nn.functional.softplus,
    "hard_tanh": torch.nn.functional.hardtanh,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda a: torch.nn.functional.gelu(a, approximate="tanh"),
    "silu": torch.nn.functional.silu,
    "mish": torch.nn.functional.mish,
    "softmax": lambda a: a.softmax(1),
}
OPTIMIZERS = {  # ours, and PyTorch's with the same numbers
    "sgd": (fastnn.SGD(0.02), lambda p: torch.optim.SGD(p, lr=0.02)),
    "momentum": (fastnn.SGD(0.02, 0.9), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    "nesterov": (
        fastnn.SGD(0.02, 0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    ),
    "adam": (fastnn.Adam(0.005), lambda p: torch.optim.Adam(p, lr=0.005)),
}

each_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS.keys())


def data(net, n=50, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(0, 1, (n, net.sizes[0]))
    if net.output == "softmax":
        return X, rng.integers(0, net.sizes[-1], n)
    return X, rng.uniform(0, 1, (n, net.sizes[-1]))


def fastnn_model(net):
    return fastnn.Model(
        list(net.sizes),
        activation=[activation(g) for g in net.g[1:-1]],
        output=activation(net.output),
        loss=net.loss_name,
        bias=net.bias,
        dtype="float64",
        seed=4,
    )


class TorchNet:
    """The same network with tensors for parameters, in the order of theta."""

    def __init__(self, net, theta):
        self.net = net
        W, b = ref.unpack(net, theta)
        self.layers = [
            [None if p is None else torch.tensor(p, requires_grad=True) for p in (W[k], b[k])]
            for k in range(1, net.K + 1)
        ]
        self.parameters = [p for layer in self.layers for p in layer if p is not None]

    def pre_output(self, x):
        h = torch.tensor(x)
        for k, (W, b) in enumerate(self.layers, 1):
            a = torch.nn.functional.linear(h, W, b)
            h = ref.apply(TORCH, self.net.g[k], a)
        return a

    def forward(self, x):
        return ref.apply(TORCH, self.net.output, self.pre_output(x))

    def loss(self, x, y):
        a, y = self.pre_output(x), torch.tensor(y)
        if self.net.loss_name == "cross_entropy":
            return torch.nn.functional.cross_entropy(a, y)
        if self.net.loss_name == "binary_cross_entropy":
            loss = torch.nn.functional.binary_cross_entropy_with_logits
            return loss(a, y, reduction="sum") / len(y)
        if self.net.output == "softmax":
            y = torch.nn.functional.one_hot(y, a.shape[1])
        return ((ref.apply(TORCH, self.net.output, a) - y) ** 2).sum() / 2 / len(y)

    def vector(self, tensors):
        return np.concatenate([p.detach().numpy().ravel() for p in tensors])


def assert_close(got, want):
    assert np.abs(got - want).max() <= RELATIVE * np.abs(want).max()


@each_net
def test_forward_loss_and_gradient(net):
    X, y = data(net)
    model = fastnn_model(net)
    peer = TorchNet(net, model.theta)
    assert_close(model.forward(X), peer.forward(X).detach().numpy())
    want = peer.loss(X, y)
    want.backward()
    loss, grad = model.loss_and_gradient(X, y)
    assert_close(loss, want.item())
    assert_close(grad, peer.vector([p.grad for p in peer.parameters]))


@each_net
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps(net, name):
    X, y = data(net)
    batch, epochs = 5, 10
    ours, theirs = OPTIMIZERS[name]

    model = fastnn_model(net)
    peer = TorchNet(net, model.theta)
    start = model.theta.copy()
    model.fit(
        X,
        y,
        epochs=epochs,
        batch_size=batch,
        optimizer=ours,
        shuffle=False,
    )

    steps = theirs(peer.parameters)
    for _ in range(epochs):
        for i in range(0, len(X), batch):
            steps.zero_grad()
            peer.loss(X[i : i + batch], y[i : i + batch]).backward()
            steps.step()
    assert np.abs(model.theta - start).max() > 0.01  # it moved
    assert_close(model.theta, peer.vector(peer.parameters))
