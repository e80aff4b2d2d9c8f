"""Against PyTorch's autograd and optimizers in float64, where PyTorch is installed."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref

import fastnn
from fastnn._schedules import Running

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

RELATIVE = 1e-12


@pytest.fixture(autouse=True)
def scalars_in_float64():  # such as NAdam's product of momenta
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


NETS = {
    "softmax": ref.Net((7, 9, 6, 4), "tanh", "softmax"),
    "softmax, relu": ref.Net((7, 9, 6, 4), "relu", "softmax"),
    "softmax, one layer": ref.Net((7, 4), (), "softmax"),
    "softmax, squared error": ref.Net((7, 5, 4), "sigmoid", "softmax", "squared_error"),
    "sigmoid": ref.Net((7, 9, 3), "relu", "sigmoid"),
    "sigmoid, squared error": ref.Net((7, 9, 3), "tanh", "sigmoid", "squared_error"),
    "tanh": ref.Net((7, 9, 3), "sigmoid", "tanh", "squared_error"),
    "identity, no bias": ref.Net((7, 9, 5, 1), ("tanh", "relu"), "identity", bias=False),
    "identity, some biases": ref.Net((7, 9, 2), "tanh", "identity", bias=(False, True)),
}
TORCH = {
    "identity": lambda a: a,
    "relu": lambda a: a.relu(),
    "sigmoid": lambda a: a.sigmoid(),
    "tanh": lambda a: a.tanh(),
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
    "dampening": (
        fastnn.SGD(0.02, 0.9, dampening=0.5, l2=0.125),
        lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, dampening=0.5, weight_decay=0.125),
    ),
    "l2": (
        fastnn.Adam(0.005, l2=0.125),
        lambda p: torch.optim.Adam(p, lr=0.005, weight_decay=0.125),
    ),
    "amsgrad": (
        fastnn.Adam(0.005, amsgrad=True),
        lambda p: torch.optim.Adam(p, lr=0.005, amsgrad=True),
    ),
    "adamw": (
        fastnn.AdamW(0.005, weight_decay=0.5),
        lambda p: torch.optim.AdamW(p, lr=0.005, weight_decay=0.5),
    ),
    "nadam": (fastnn.NAdam(0.005), lambda p: torch.optim.NAdam(p, lr=0.005)),
    "nadam, decoupled": (
        fastnn.NAdam(0.005, weight_decay=0.5, momentum_decay=0.1),
        lambda p: torch.optim.NAdam(
            p, lr=0.005, weight_decay=0.5, momentum_decay=0.1, decoupled_weight_decay=True
        ),
    ),
    "rmsprop": (fastnn.RMSprop(0.002), lambda p: torch.optim.RMSprop(p, lr=0.002)),
    "rmsprop, momentum": (
        fastnn.RMSprop(0.002, momentum=0.5),
        lambda p: torch.optim.RMSprop(p, lr=0.002, momentum=0.5),
    ),
    "rmsprop, centered": (
        fastnn.RMSprop(0.002, decay=0.5, epsilon=0.01, centered=True),
        lambda p: torch.optim.RMSprop(p, lr=0.002, alpha=0.5, eps=0.01, centered=True),
    ),
    "rmsprop, centered, momentum": (
        fastnn.RMSprop(0.002, decay=0.5, momentum=0.5, epsilon=0.01, centered=True),
        lambda p: torch.optim.RMSprop(
            p, lr=0.002, alpha=0.5, momentum=0.5, eps=0.01, centered=True
        ),
    ),
    "adagrad": (fastnn.Adagrad(0.01), lambda p: torch.optim.Adagrad(p, lr=0.01)),
    "rprop": (fastnn.Rprop(0.001), lambda p: torch.optim.Rprop(p, lr=0.001)),
}
FULL_BATCHES = ("rprop",)
CLIPPED = {  # and what PyTorch does to the gradients
    "norm": (
        fastnn.SGD(0.05, 0.5, clip_norm=0.25),
        lambda p: torch.nn.utils.clip_grad_norm_(p, 0.25),
    ),
    "value": (
        fastnn.SGD(0.05, 0.5, clip_value=0.03125),
        lambda p: torch.nn.utils.clip_grad_value_(p, 0.03125),
    ),
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
        activation=net.activation if isinstance(net.activation, str) else list(net.activation),
        output=net.output,
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
            h = TORCH[self.net.g[k]](a)
        return a

    def forward(self, x):
        return TORCH[self.net.output](self.pre_output(x))

    def loss(self, x, y):
        a, y = self.pre_output(x), torch.tensor(y)
        if self.net.loss_name == "cross_entropy":
            return torch.nn.functional.cross_entropy(a, y)
        if self.net.loss_name == "binary_cross_entropy":
            loss = torch.nn.functional.binary_cross_entropy_with_logits
            return loss(a, y, reduction="sum") / len(y)
        if self.net.output == "softmax":
            y = torch.nn.functional.one_hot(y, a.shape[1])
        return ((TORCH[self.net.output](a) - y) ** 2).sum() / 2 / len(y)

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
    batch, epochs = (len(X), 100) if name in FULL_BATCHES else (5, 10)
    ours, theirs = OPTIMIZERS[name]
    trajectory(net, X, y, batch, epochs, ours, theirs)


@each_net
@pytest.mark.parametrize("name", CLIPPED)
def test_a_hundred_clipped_steps(net, name):
    ours, clip = CLIPPED[name]

    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.5)

    trajectory(net, *data(net), 5, 10, ours, sgd, clip)


def trajectory(net, X, y, batch, epochs, ours, theirs, clip=lambda p: None):
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
            clip(peer.parameters)
            steps.step()
    assert np.abs(model.theta - start).max() > 0.01  # it moved
    assert_close(model.theta, peer.vector(peer.parameters))


SCHEDULES = {  # ours, PyTorch's, and whether PyTorch's counts steps (or epochs)
    "step": (
        fastnn.StepDecay(0.1, epochs=3, gamma=0.5),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
        False,
    ),
    "exponential": (
        fastnn.Exponential(0.1, 0.9),
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        False,
    ),
    "cosine": (
        fastnn.CosineDecay(0.1, minimum=0.01),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 84, 0.01),
        True,
    ),
    "restarts": (
        fastnn.CosineDecay(0.1, minimum=0.01, period=2),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 14, 1, 0.01),
        True,
    ),
    "longer restarts": (
        fastnn.CosineDecay(0.1, period=1, grow=2),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 7, 2),
        True,
    ),
    "one cycle": (
        fastnn.OneCycle(0.1),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 84, cycle_momentum=False),
        True,
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    ours, theirs, by_step = SCHEDULES[name]
    got = Running(ours, 7, 84).rates(0, 84)
    peer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule, want = theirs(peer), []
    for t in range(84):
        want.append(peer.param_groups[0]["lr"])
        peer.step()
        if (by_step and t < 83) or t % 7 == 6:
            schedule.step()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)  # 1e-12 of the largest


@pytest.mark.parametrize("cooldown", [0, 2])
def test_reduce_on_plateau(cooldown):
    losses = 1 / (1 + np.arange(60) // 7) + 0.3
    running = Running(fastnn.ReduceOnPlateau(0.1, 0.5, 3, cooldown=cooldown, minimum=0.001), 1, 60)
    peer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        peer, factor=0.5, patience=3, cooldown=cooldown, min_lr=0.001
    )
    rates = set()
    for t, loss in enumerate(losses):
        assert running.rates(t, t + 1)[0] == peer.param_groups[0]["lr"]
        rates.add(running.last)
        running.epoch_ended({"loss": float(loss)})
        schedule.step(float(loss))
    assert len(rates) > 3
