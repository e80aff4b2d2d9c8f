"""Against PyTorch's autograd and optimizers in float64, where PyTorch is installed."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from compiled import activation, embedding, norm_of

import fastnn
from fastnn.kernels import _cpu
from fastnn.training.schedules import Running

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
    **{
        f"hidden {g}": ref.Net((7, 9, 6, 4), g)
        for g in ("leaky_relu", "elu", "selu", "softplus", "hard_tanh", *sorted(_cpu.KEEPING))
    },
    "parameters": ref.Net((7, 9, 6, 4), (("leaky_relu", 0.25), ("elu", 0.5))),
    "gelu output": ref.Net((7, 9, 3), "mish", "gelu", "squared_error"),
    "leaky_relu output": ref.Net((7, 9, 3), "silu", ("leaky_relu", 0.125), "squared_error"),
    "parametric": ref.Net((7, 9, 6, 4), (("parametric", "selu"), ("parametric", "mish"))),
    "batch": ref.Net((7, 4, 3, 4), "tanh", norm=(("batch", 0.1, 1e-5),) * 2),
    "batch, no bias": ref.Net(
        *((7, 9, 6, 4), "silu"),
        **{"bias": (False, True, True), "norm": (("batch", 0.25, 0.01), None)},
    ),
    "layer": ref.Net((7, 9, 6, 3), ("tanh", "gelu"), "sigmoid", norm=(("layer", 0, 1e-5),) * 2),
    "both": ref.Net((7, 9, 6, 4), "relu", norm=(("layer", 0, 0.01), ("batch", 1.0, 1e-3))),
    "identity, some biases": ref.Net((7, 9, 2), "tanh", "identity", bias=(False, True)),
    "inputs": ref.Net(
        *((7, 9, 6, 4), ("selu", "mish")),
        embeddings=(
            ("periodic", (4, 0), 6, 3),
            ("piecewise", (1,), ((-1.0, -0.25, 1.0),), None),
            ("piecewise", (3,), ((-1.0, -0.25, 1.0),), 3),
            ("categories", (2,), 5, 3),
            ("categories", (6,), 3, None),
        ),
        feature_scale=True,
    ),
    "scale": ref.Net((7, 9, 3), "relu", "sigmoid", feature_scale=True),
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
    for kind, columns, codes, _ in net.embeddings:
        if kind == "categories":
            X[:, columns[0]] = rng.integers(-1, codes, n)
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
        norm=[norm_of(norm) for norm in net.norms[1:-1]],
        embeddings=[embedding(one) for one in net.embeddings],
        feature_scale=net.feature_scale,
        monotone=net.directions and net.directions[0],
    )


def crammer_singer(a, y):
    own = a.gather(1, y[:, None])[:, 0]
    others = a.scatter(1, y[:, None], -torch.inf).amax(1)
    return (1 + others - own).clamp(0).sum()


F = torch.nn.functional
# output, loss, kind of target, and the sum over the rows as PyTorch computes it from a
SUMS = {
    "cross_entropy, smoothed": (
        *("softmax", fastnn.CrossEntropy(0.1), "labels"),
        lambda a, y: F.cross_entropy(a, y, label_smoothing=0.1, reduction="sum"),
    ),
    "cross_entropy, soft and smoothed": (
        *("softmax", fastnn.CrossEntropy(0.1), "soft"),
        lambda a, y: F.cross_entropy(a, y, label_smoothing=0.1, reduction="sum"),
    ),
    "cross_entropy, soft": (
        *("softmax", "cross_entropy", "soft"),
        lambda a, y: F.cross_entropy(a, y, reduction="sum"),
    ),
    "binary_cross_entropy, smoothed": (
        *("sigmoid", fastnn.BinaryCrossEntropy(0.2), "values"),
        lambda a, y: F.binary_cross_entropy_with_logits(a, 0.8 * y + 0.1, reduction="sum"),
    ),
    "absolute_error": (
        *("identity", "absolute_error", "values"),
        lambda a, y: F.l1_loss(a, y, reduction="sum"),
    ),
    "huber": (
        *("identity", fastnn.Huber(0.3), "values"),
        lambda a, y: F.huber_loss(a, y, delta=0.3, reduction="sum"),
    ),
    "huber of tanh": (
        *("tanh", fastnn.Huber(0.3), "values"),
        lambda a, y: F.huber_loss(a.tanh(), y, delta=0.3, reduction="sum"),
    ),
    "quantile": (
        *("identity", fastnn.Quantile(0.3), "values"),
        lambda a, y: torch.maximum(0.7 * (a - y), -0.3 * (a - y)).sum(),
    ),
    "poisson": (
        *("exp", "poisson", "values"),
        lambda a, y: F.poisson_nll_loss(a, y, log_input=True, full=False, reduction="sum"),
    ),
    "focal": (
        *("softmax", fastnn.Focal(1.5), "labels"),
        lambda a, y: (
            -((1 - a.softmax(1)) ** 1.5 * a.log_softmax(1) * F.one_hot(y, a.shape[1])).sum()
        ),
    ),
    "focal of sigmoid": (
        *("sigmoid", fastnn.Focal(2), "binary"),
        lambda a, y: (
            F.binary_cross_entropy_with_logits(a, y, reduction="none")
            * (1 - torch.where(y == 1, a.sigmoid(), 1 - a.sigmoid())) ** 2
        ).sum(),
    ),
    "hinge": ("identity", "hinge", "labels", crammer_singer),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [2, 50])
def test_losses(name, weighted, n):
    output, loss, kind, total = SUMS[name]
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, 7))
    y = {
        "labels": rng.integers(0, 4, n),
        "soft": rng.dirichlet(np.ones(4), n),
        "values": rng.uniform(size=(n, 4)),
        "binary": rng.integers(0, 2, (n, 4)).astype(float),
    }[kind]
    weights = rng.uniform(size=n) if weighted else None
    model = fastnn.Model([7, 9, 4], "tanh", output, loss, dtype="float64", seed=4)
    peer = TorchNet(ref.Net((7, 9, 4), "tanh", "identity"), model.theta)
    a, target = peer.pre_output(X), torch.tensor(y)
    each = np.ones(n) if weights is None else weights
    want = sum(w * total(a[i : i + 1], target[i : i + 1]) for i, w in enumerate(each)) / each.sum()
    want.backward()
    got, grad = model.loss_and_gradient(X, y, sample_weight=weights)
    assert_close(got, want.item())
    assert_close(grad, peer.vector([p.grad for p in peer.parameters]))


def test_class_weights_are_pytorchs():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(50, 7)), rng.integers(0, 4, 50)
    weights = {0: 1.0, 1: 0.5, 2: 3.0, 3: 2.0}
    model = fastnn.Model([7, 9, 4], "tanh", dtype="float64", seed=4)
    peer = TorchNet(ref.Net((7, 9, 4), "tanh"), model.theta)
    each = torch.tensor(list(weights.values()), dtype=torch.float64)
    model.fit(X, y, epochs=1, batch_size=50, learning_rate=0.5, class_weight=weights)
    F.cross_entropy(peer.pre_output(X), torch.tensor(y), weight=each).backward()
    with torch.no_grad():
        for p in peer.parameters:
            p -= 0.5 * p.grad
    assert_close(model.theta, peer.vector(peer.parameters))


class TorchNet:
    """The same network with tensors for parameters, in the order of theta."""

    def __init__(self, net, theta):
        self.net = net
        parts = ref.unpack(net, theta)  # W, b, gamma, alpha
        self.layers = [
            [None if p[k] is None else torch.tensor(p[k], requires_grad=True) for p in parts]
            for k in range(1, net.K + 1)
        ]
        phi, s = ref.unpack_inputs(net, theta)
        self.phi = [
            [
                {name: torch.tensor(p, requires_grad=True) for name, p in part.items()}
                for part in of
            ]
            for of in phi
        ]
        self.s = None if s is None else torch.tensor(s, requires_grad=True)
        self.of_inputs = [p for of in self.phi for part in of for p in part.values()]
        self.of_inputs += [] if s is None else [self.s]
        self.parameters = self.of_inputs + [p for of in self.layers for p in of if p is not None]
        self.running = [
            None if pair is None else [torch.tensor(one) for one in pair]
            for pair in ref.new_running(net, theta.dtype)
        ]

    def groups(self, rate):
        """Of the inputs' parameters, by OF_INPUTS."""
        parts = {"scale": [] if self.s is None else [self.s], "embedding": [], "table": []}
        for (kind, *_), of in zip(self.net.embeddings, self.phi, strict=True):
            group = "table" if kind == "categories" else "embedding"
            parts[group] += [p for part in of for p in part.values()]
        return [
            {"params": own, "lr": rate * OF_INPUTS[name]} for name, own in parts.items() if own
        ]

    def weights(self, k, W):
        return W

    def theta(self):
        return self.vector(self.parameters)

    def inputs(self, x):
        """What layer 1 sees: PyTorch's cosines, clamps and look-ups."""
        x = torch.tensor(x)
        parts = [x[:, self.net.plain]]
        for (kind, columns, n, width), of in zip(self.net.embeddings, self.phi, strict=True):
            for i, (column, p) in enumerate(zip(columns, of, strict=True)):
                xi = x[:, column : column + 1]
                if kind == "periodic":
                    cos = torch.cos(2 * torch.pi * xi * p["w"] + p["b"])
                    parts += [xi, F.linear(cos, p["V"], p["c"])]
                elif kind == "piecewise":
                    edges = torch.tensor(n[i])
                    q = (xi - edges[:-1]) / edges.diff()
                    q = torch.cat([q[:, :1], q[:, 1:].clamp(min=0)], 1)
                    q = torch.cat([q[:, :-1].clamp(max=1), q[:, -1:]], 1)
                    parts.append(q if width is None else q @ p["T"] + p["c"])
                else:  # row 0: of other codes
                    table = torch.eye(n) if width is None else p["T"]
                    table = torch.cat([torch.zeros(1, table.shape[1]), table])
                    parts.append(F.embedding(xi[:, 0].long() + 1, table))
        h = torch.cat(parts, 1)
        return h if self.s is None else self.s * h

    def pre_output(self, x, training=True):
        h = self.inputs(x)
        for k, (W, b, gamma, alpha) in enumerate(self.layers, 1):
            norm = self.net.norms[k]
            a = F.linear(h, self.weights(k, W), None if norm else b)
            if norm and norm[0] == "batch":
                a = F.batch_norm(a, *self.running[k], gamma, b, training, *norm[1:])
            elif norm:
                a = F.layer_norm(a, a.shape[1:], gamma, b, norm[2])
            if alpha is None:
                h = ref.apply(TORCH, self.net.g[k], a)
            else:
                h = a + alpha * (ref.apply(TORCH, self.net.g[k][1], a) - a)
        return a

    def forward(self, x):
        return ref.apply(TORCH, self.net.output, self.pre_output(x, training=False))

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
    batch, epochs = (len(X), 100) if name in FULL_BATCHES else (5, 10)
    if name in FULL_BATCHES and net.embeddings:
        epochs = 20  # then signs of gradients beside cosines of large angles are chance
    ours, theirs = OPTIMIZERS[name]
    trajectory(net, X, y, batch, epochs, ours, theirs)


@each_net
@pytest.mark.parametrize("name", CLIPPED)
def test_a_hundred_clipped_steps(net, name):
    ours, clip = CLIPPED[name]

    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.5)

    trajectory(net, *data(net), 5, 10, ours, sgd, clip)


def test_a_hundred_steps_of_a_monotone_network():
    """PyTorch's, each weight of a wrong sign being put back to 0 by hand."""
    directions = (0, 1, 0, -1, 0, 0, 1), (1, 0, -1, 0) * 2 + (1,), (1, 0, -1, 0, 1), (-1, 1)
    net = ref.Net((7, 9, 5, 2), ("selu", "tanh"), feature_scale=True, directions=directions)

    def held(peer):
        adam = torch.optim.Adam(peer.parameters, lr=0.02)

        def step():
            torch.optim.Adam.step(adam)
            with torch.no_grad():
                for (W, *_), inputs, ends in zip(
                    peer.layers, directions, directions[1:], strict=False
                ):
                    inputs, ends = torch.tensor(inputs), torch.tensor(ends)
                    W[(inputs != 0) & (W * ends[:, None] * inputs <= 0)] = 0
                peer.s[(torch.tensor(directions[0]) != 0) & (peer.s < 0)] = 0

        adam.step = step
        return adam

    trajectory(net, *data(net), 5, 10, fastnn.Adam(0.02), None, make=held)


def trajectory(
    net, X, y, batch, epochs, ours, theirs, clip=lambda p: None, make=None, of=TorchNet
):
    model = fastnn_model(net)
    peer = of(net, model.theta)
    start = model.theta.copy()
    model.fit(
        X,
        y,
        epochs=epochs,
        batch_size=batch,
        optimizer=ours,
        shuffle=False,
    )

    steps = make(peer) if make else theirs(peer.parameters)
    for _ in range(epochs):
        for i in range(0, len(X), batch):
            steps.zero_grad()
            peer.loss(X[i : i + batch], y[i : i + batch]).backward()
            clip(peer.parameters)
            steps.step()
    assert np.abs(model.theta - start).max() > 0.01  # it moved
    assert_close(model.theta, peer.theta())
    for k, pair in enumerate(peer.running[1:]):
        if pair is not None:
            assert_close(model.running_mean[k], pair[0].numpy())
            assert_close(model.running_variance[k], pair[1].numpy())
    assert_close(model.forward(X), peer.forward(X).detach().numpy())


FACTORS = {"W": 0.5, "b": 0.1, "gamma": 3.0, "alpha": 0.2}
OF_INPUTS = {"scale": 2.0, "embedding": 0.25, "table": 3.0}
GROUPED = {  # ours, and PyTorch's with a learning rate for each group
    "sgd": (
        fastnn.SGD(0.02, 0.5, weight_decay=0.5, rate_factors=FACTORS | OF_INPUTS),
        lambda p: torch.optim.SGD(p, momentum=0.5),
        0.02,
    ),
    "adamw": (
        fastnn.AdamW(0.005, weight_decay=0.5, rate_factors=FACTORS | OF_INPUTS),
        lambda p: torch.optim.AdamW(p, weight_decay=0.5),
        0.005,
    ),
    "rmsprop": (
        fastnn.RMSprop(0.002, momentum=0.5, rate_factors=FACTORS | OF_INPUTS),
        lambda p: torch.optim.RMSprop(p, momentum=0.5),
        0.002,
    ),
}


@pytest.mark.parametrize("net", ["softmax", "both", "parametric", "inputs"])
@pytest.mark.parametrize("name", GROUPED)
def test_a_learning_rate_for_each_group(net, name):
    ours, theirs, rate = GROUPED[name]

    def grouped(peer):
        steps = theirs(
            [
                {"params": [layer[i] for layer in peer.layers if layer[i] is not None], "lr": lr}
                for i, lr in enumerate(rate * factor for factor in FACTORS.values())
                if any(layer[i] is not None for layer in peer.layers)
            ]
            + peer.groups(rate)
        )
        if name == "sgd":  # whose weight decay is decoupled here alone
            steps.register_step_pre_hook(decay)
        return steps

    def decay(steps, *_):
        with torch.no_grad():
            for group in steps.param_groups:
                for p in group["params"]:
                    p *= 1 - group["lr"] * 0.5

    net = NETS[net]
    trajectory(net, *data(net), 5, 10, ours, None, make=grouped)


class NTKNet(TorchNet):
    """The network whose layers are a = V h / sqrt(n_in) + b, and V trained."""

    def __init__(self, net, theta):
        super().__init__(net, theta)
        self.roots = [float(np.sqrt(n)) for n in net.widths[:-1]]
        for layer, root in zip(self.layers, self.roots, strict=True):
            layer[0] = (layer[0].detach() * root).requires_grad_()
        self.parameters = self.of_inputs + [p for of in self.layers for p in of if p is not None]

    def weights(self, k, V):
        return V / self.roots[k - 1]

    def theta(self):
        W = [self.weights(k, layer[0]) for k, layer in enumerate(self.layers, 1)]
        parts = [[w, *layer[1:]] for w, layer in zip(W, self.layers, strict=True)]
        layers = [p for layer in parts for p in layer if p is not None]
        return self.vector(self.of_inputs + layers)


NTK = {
    "sgd": (fastnn.SGD(0.1, ntk=True), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (fastnn.SGD(0.1, 0.9, ntk=True), lambda p: torch.optim.SGD(p, 0.1, 0.9)),
    "nesterov": (
        fastnn.SGD(0.1, 0.9, nesterov=True, ntk=True),
        lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True),
    ),
    "adam": (fastnn.Adam(0.01, ntk=True), lambda p: torch.optim.Adam(p, 0.01)),
    "adamw": (
        fastnn.AdamW(0.01, epsilon=0.01, weight_decay=0.5, ntk=True),
        lambda p: torch.optim.AdamW(p, 0.01, eps=0.01, weight_decay=0.5),
    ),
    "amsgrad": (
        fastnn.Adam(0.01, epsilon=0.01, amsgrad=True, ntk=True),
        lambda p: torch.optim.Adam(p, 0.01, eps=0.01, amsgrad=True),
    ),
    "nadam": (
        fastnn.NAdam(0.01, epsilon=0.01, ntk=True),
        lambda p: torch.optim.NAdam(p, 0.01, eps=0.01),
    ),
    "rmsprop": (
        fastnn.RMSprop(0.01, epsilon=0.01, momentum=0.5, ntk=True),
        lambda p: torch.optim.RMSprop(p, 0.01, eps=0.01, momentum=0.5),
    ),
    "rmsprop, centered": (
        fastnn.RMSprop(0.01, decay=0.5, epsilon=0.01, centered=True, ntk=True),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.5, eps=0.01, centered=True),
    ),
    "adagrad": (
        fastnn.Adagrad(0.05, epsilon=0.01, ntk=True),
        lambda p: torch.optim.Adagrad(p, 0.05, eps=0.01),
    ),
    "rprop": (
        fastnn.Rprop(0.001, least=0.0005, most=0.01, ntk=True),
        lambda p: torch.optim.Rprop(p, 0.001, step_sizes=(0.0005, 0.01)),
    ),
}


@pytest.mark.parametrize("net", ["softmax", "both", "identity, some biases"])
@pytest.mark.parametrize("name", NTK)
def test_weights_step_as_those_of_the_ntk_form(net, name):
    net = NETS[net]
    batch, epochs = (50, 100) if name in FULL_BATCHES else (5, 10)
    ours, theirs = NTK[name]
    trajectory(net, *data(net), batch, epochs, ours, theirs, of=NTKNet)


def test_weight_decay_of_each_step():
    net = NETS["softmax"]
    schedule = fastnn.FlatCosine(0.5)

    def decaying(peer):
        steps, decays = torch.optim.AdamW(peer.parameters, 0.005), iter(rates)
        steps.register_step_pre_hook(
            lambda *_: steps.param_groups[0].update(weight_decay=next(decays))
        )
        return steps

    rates = Running(schedule, 10, 100).rates(0, 100)
    ours = fastnn.AdamW(0.005, weight_decay=schedule)
    trajectory(net, *data(net), 5, 10, ours, None, make=decaying)


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
    "waves": (
        fastnn.CosLog(0.1),
        lambda o: torch.optim.lr_scheduler.LambdaLR(
            o, lambda t: (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t / 84))) / 2
        ),
        True,
    ),
    "flat, then cosine": (
        fastnn.FlatCosine(0.1),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.ConstantLR(o, 1.0),
                torch.optim.lr_scheduler.CosineAnnealingLR(o, 42),
            ],
            [42],
        ),
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
