"""Networks of PyTorch, Keras, JAX and scikit-learn, in and out, against their origin.

What a library is not installed for is skipped: CI has scikit-learn, the others are big.
"""

import collections
import importlib
import itertools
import json
import sys
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import interop
from fastnn.kernels._cpu import ACTIVATIONS, OUTPUTS
from fastnn.network.activations import TABLE

pytestmark = pytest.mark.filterwarnings("ignore")  # the other libraries' own
RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 6)).astype(np.float32)
AGREE = 1e-5


@pytest.fixture(autouse=True)
def same_numbers():
    """Whichever tests run, each draws the same numbers."""
    global RNG
    RNG = np.random.default_rng(5)


def agree(got, want, tolerance=AGREE):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    assert (abs(got - want) <= tolerance * np.maximum(1, abs(want))).all(), abs(got - want).max()


def random_biases(model):
    for b in model.b:
        if b is not None:
            b[:] = RNG.normal(size=b.shape)
    return model


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(scope="module")
def keras():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", reason="Keras is not installed")


def of_keras(net, x):
    """What a network of Keras gives, whatever it computes with."""
    keras = importlib.import_module("keras")
    return keras.ops.convert_to_numpy(net(x))


def test_every_activation_is_described_and_its_names_exist():
    assert set(TABLE) == {*OUTPUTS, "softmax"}
    for known in TABLE.values():
        for library, name in (
            ("torch.nn", known.torch),
            ("keras.activations", known.keras),
        ):
            if name is not None and library.partition(".")[0] in sys.modules:
                assert hasattr(importlib.import_module(library), name)


# --- PyTorch

MODULES = {  # and the activation that fastnn makes of each
    "ReLU()": ["relu"],
    "LeakyReLU(0.3)": [fastnn.LeakyReLU(0.3)],
    "PReLU(init=0.25)": [fastnn.LeakyReLU(0.25)],
    "ELU(0.7)": [fastnn.ELU(0.7)],
    "CELU(0.7)": ["elu"],
    "SELU()": ["selu"],
    "Sigmoid()": ["sigmoid"],
    "Tanh()": ["tanh"],
    "Softplus()": ["softplus"],
    "Softplus(beta=2.5)": ["softplus"],
    "GELU()": ["gelu"],
    "GELU('tanh')": ["gelu_tanh"],
    "SiLU()": ["silu"],
    "Mish()": ["mish"],
    "Hardtanh()": ["hard_tanh"],
    "Hardtanh(-0.5, 2.0)": ["hard_tanh"],
    "ReLU6()": ["hard_tanh"],
    "Hardsigmoid()": ["hard_tanh"],
    "Identity()": ["identity"],
}


@pytest.mark.parametrize("text", MODULES)
@pytest.mark.parametrize("double", [False, True])
def test_from_torch_each_activation(torch, text, double):
    nn = torch.nn
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(6, 9), eval(text, vars(nn)), nn.Linear(9, 3))
    net = net.double() if double else net
    model = interop.from_torch(net)
    assert model.dtype == ("float64" if double else "float32")
    assert model.activations == MODULES[text]
    x = torch.tensor(X, dtype=torch.float64 if double else torch.float32)
    with torch.no_grad():
        agree(model.forward(X), net(x), 1e-8 if double else AGREE)  # Softplus is cut at 20: 2e-9


@pytest.mark.parametrize("text", MODULES)
def test_from_torch_each_activation_at_the_output(torch, text):
    nn = torch.nn
    torch.manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 3))
    net.append(eval(text, vars(nn)))
    with torch.no_grad():
        agree(interop.from_torch(net).forward(X), net(torch.tensor(X)))


def trained_batch_norm(torch, n):
    norm = torch.nn.BatchNorm1d(n)
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean):
            values.copy_(torch.tensor(RNG.normal(size=n)))
        norm.running_var.copy_(torch.tensor(RNG.uniform(0.1, 3, n)))
    return norm


@pytest.mark.parametrize("where", [0, 1, 2, 3, 4])
def test_from_torch_folds_batch_norm(torch, where):
    nn = torch.nn
    parts = [nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3, bias=False), nn.Sigmoid()]
    parts.insert(where, trained_batch_norm(torch, [6, 9, 9, 3, 3][where]))
    net = nn.Sequential(*parts).eval()
    model = interop.from_torch(net)
    with torch.no_grad():
        agree(model.forward(X), net(torch.tensor(X)))
    extra = where == 4  # after the output's activation there is no linear layer
    assert model.sizes == ([6, 9, 3, 3] if extra else [6, 9, 3])


def test_from_torch_keeps_dropout_and_takes_the_losses_activation(torch):
    nn = torch.nn
    net = nn.Sequential(
        nn.Dropout(0.1),
        nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.3)),
        nn.Linear(9, 3, bias=False),
    )
    model = interop.from_torch(net, output="softmax")
    assert (model.dropout, model.bias, model.output) == ([0.1, 0.3], [True, False], "softmax")
    assert model.loss == "cross_entropy"
    with torch.no_grad():
        agree(model.forward(X), net.eval()(torch.tensor(X)).softmax(1))
    focal = interop.from_torch(net, output="sigmoid", loss=fastnn.Focal(1.0))
    assert focal.loss == fastnn.Focal(1.0)
    assert interop.from_torch(net).output == "identity"


def test_from_torch_takes_log_softmax_for_softmax(torch):
    net = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.LogSoftmax(-1))
    with torch.no_grad():
        agree(np.log(interop.from_torch(net).forward(X)), net(torch.tensor(X)))


def shared(nn):
    """Sequentials in which one object stands at several places."""
    act, drop, square = nn.Tanh(), nn.Dropout(0.3), nn.Linear(9, 9)
    block = nn.Sequential(nn.Linear(9, 9), nn.ReLU())
    return {
        "activation": nn.Sequential(nn.Linear(6, 9), act, nn.Linear(9, 9), act, nn.Linear(9, 3)),
        "dropout": nn.Sequential(
            nn.Linear(6, 9), nn.ReLU(), drop, nn.Linear(9, 9), nn.ReLU(), drop, nn.Linear(9, 3)
        ),
        "linear": nn.Sequential(nn.Linear(6, 9), square, nn.ReLU(), square, nn.Linear(9, 3)),
        "block": nn.Sequential(nn.Linear(6, 9), block, block, nn.Linear(9, 3)),
        "nested": nn.Sequential(
            nn.Sequential(nn.Linear(6, 9), act), nn.Sequential(square, act), nn.Linear(9, 3), act
        ),
    }


@pytest.mark.parametrize("what", ["activation", "dropout", "linear", "block", "nested"])
def test_from_torch_takes_an_object_wherever_it_stands(torch, what):
    torch.manual_seed(3)
    net = shared(torch.nn)[what].eval()
    model = interop.from_torch(net)
    with torch.no_grad():
        agree(model.forward(X), net(torch.tensor(X)))
    if what == "dropout":
        assert model.dropout == [0, 0.3, 0.3]


def test_two_dropouts_in_a_row_are_one(torch):
    nn = torch.nn
    net = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.2), nn.Linear(6, 3))
    assert interop.from_torch(net).dropout == pytest.approx([0.6])


@pytest.mark.filterwarnings("ignore")
def test_from_torch_refuses_what_computes_something_else(torch):
    nn, utils = torch.nn, torch.nn.utils
    from torch.nn.utils import parametrizations, prune

    def change(*_):
        return torch.zeros(1)

    def plain():
        return nn.Linear(6, 3)

    def hooked(register):
        layer = plain()
        getattr(layer, register)(change)
        return layer

    def own_forward():
        layer = plain()
        layer.forward = change
        return layer

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Wide(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    cases = {
        "module 0 .Linear.: must have no forward hooks.* got change": [
            hooked("register_forward_hook"),
            hooked("register_forward_pre_hook"),
        ],
        "module 0 .Linear.: must have no forward hooks.* got WeightNorm": [
            utils.weight_norm(plain())
        ],
        "module 0 .Linear.: must have no forward hooks.* got SpectralNorm": [
            utils.spectral_norm(plain())
        ],
        "module 0 .Linear.: must have no forward hooks.* got L1Unstructured": [
            prune.l1_unstructured(plain(), "weight", 0.5)
        ],
        "module 0 .ParametrizedLinear.: must have plain weights.*'weight'": [
            parametrizations.weight_norm(plain()),
            parametrizations.orthogonal(plain()),
        ],
        "module 0 .Linear.: must have the forward of its class": [own_forward()],
        "module 0 .Doubled.: fastnn has no such module": [Doubled(6, 3)],
        "module 0 .Wide.: fastnn has no such module": [Wide(plain())],
        "module 0 .ModuleList.: fastnn has no such module": [nn.ModuleList([plain()])],
        "module 0 .Softplus.: must have a threshold of at least 15": [nn.Softplus(threshold=1.0)],
    }
    for message, parts in cases.items():
        for part in parts:
            with pytest.raises(ValueError, match=message):
                interop.from_torch(nn.Sequential(part, plain()))
    net = nn.Sequential(plain())
    net.register_forward_hook(change)
    with pytest.raises(ValueError, match=r"module \(itself\) \(Sequential\): must have no forward"):
        interop.from_torch(net)
    everywhere = nn.modules.module.register_module_forward_hook(change)
    try:
        with pytest.raises(ValueError, match="must have no forward hooks"):
            interop.from_torch(nn.Sequential(plain()))
    finally:
        everywhere.remove()
    assert interop.from_torch(nn.Sequential(plain())).sizes == [6, 3]
    pruned = prune.l1_unstructured(plain(), "weight", 0.5)
    prune.remove(pruned, "weight")
    baked = interop.from_torch(nn.Sequential(pruned))
    with torch.no_grad():
        agree(baked.forward(X), pruned(torch.tensor(X)))


def test_numbers_that_cannot_be_are_named(torch):
    nn = torch.nn

    def changed(module, name, value):
        with torch.no_grad():
            getattr(module, name).view(-1)[0] = value
        return module

    for part, message in (
        (changed(nn.Linear(6, 6), "weight", np.nan), r"\(Linear\): W must be finite"),
        (changed(nn.Linear(6, 6), "bias", np.inf), r"\(Linear\): b must be finite"),
        (changed(nn.BatchNorm1d(6), "running_var", -1), r"\(BatchNorm1d\): variance must be at"),
        (changed(nn.BatchNorm1d(6), "running_mean", np.nan), r"\(BatchNorm1d\): mean must be fin"),
        (nn.BatchNorm1d(5), r"\(BatchNorm1d\): gamma must have 6 entries, .*, got 5"),
        (nn.BatchNorm1d(6, momentum=2.0), r"\(BatchNorm1d\): momentum must be at most 1"),
        (nn.LeakyReLU(-0.1), r"\(LeakyReLU\): slope must be at least 0"),
        (nn.ELU(-0.1), r"\(ELU\): alpha must be at least 0"),
        (nn.Dropout(1.0), r"\(Dropout\): dropout must be .* below 1, got 1\.0"),
    ):
        with pytest.raises(ValueError, match=f"module 1 {message}"):
            interop.from_torch(nn.Sequential(nn.Linear(6, 6), part, nn.Linear(6, 3)))


def test_from_torch_copies(torch):
    net = torch.nn.Sequential(torch.nn.Linear(6, 3))
    model = interop.from_torch(net)
    before = model.theta.copy()
    with torch.no_grad():
        net[0].weight.zero_()
    assert (model.theta == before).all()


def test_from_torch_says_what_it_cannot_take(torch):
    nn = torch.nn

    def refused(*parts, **options):
        with pytest.raises(ValueError) as error:
            interop.from_torch(nn.Sequential(*parts), **options)
        return str(error.value)

    assert "module 1.0 (Conv1d): fastnn has no such module" in refused(
        nn.Linear(6, 3), nn.Sequential(nn.Conv1d(1, 1, 1))
    )
    assert "module 1 (Softmax): softmax must be the network's output" in refused(
        nn.Linear(6, 3), nn.Softmax(1), nn.Linear(3, 3)
    )
    assert "dim=1" in refused(nn.Linear(6, 3), nn.Softmax(0))
    assert "must take 3 inputs, its W has 4" in refused(nn.Linear(6, 3), nn.Linear(4, 3))
    assert "running statistics" in refused(
        nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)
    )
    assert "the network ends in tanh" in refused(nn.Linear(6, 3), nn.Tanh(), output="softmax")
    assert "must be known" in refused(nn.ReLU())
    assert "module 0 (LayerNorm): must be over one dimension, got (2, 3)" in refused(
        nn.LayerNorm((2, 3))
    )
    assert "module 1 (PReLU): must have one slope for all units, got 3" in refused(
        nn.Linear(6, 3), nn.PReLU(3)
    )
    assert "module 0 (Flatten): must keep the rows, start_dim=1" in refused(nn.Flatten(0))
    assert "module 1 (Softplus): its factor must not be 0" in refused(
        nn.Linear(6, 3), nn.Softplus(beta=0)
    )
    assert "module 1 (Linear): must have 6 entries to scale, got shape (5,)" in refused(
        nn.BatchNorm1d(5), nn.Linear(6, 3)
    )
    assert "module 0 (Linear): W must not be empty, got shape (0, 6)" in refused(
        nn.Linear(6, 0), nn.Linear(0, 3)
    )

    class Mine(nn.Module):
        pass

    with pytest.raises(ValueError, match=r"\(itself\) \(Mine\)"):
        interop.from_torch(Mine())
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got list"):
        interop.from_torch([])


@pytest.mark.parametrize("output", [*OUTPUTS, "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_to_torch(torch, output, dtype):
    hidden = output if output in ACTIVATIONS else fastnn.ELU(0.3)
    model = random_biases(
        fastnn.Model(
            [6, 9, 5, 3],
            [hidden, fastnn.LeakyReLU(0.2)],
            output,
            dtype=dtype,
            seed=3,
            bias=[True, False, True],
            dropout=[0.1, 0, 0.2],
        )
    )
    if output == "exp":
        with pytest.raises(ValueError, match="no module for exp"):
            interop.to_torch(model)
        logits = interop.to_torch(model, logits=True)
        with torch.no_grad():
            agree(
                model.forward(X),
                logits(
                    torch.tensor(X, dtype=torch.float32 if dtype == "float32" else torch.float64)
                ).exp(),
            )
        return
    net = interop.to_torch(model)
    assert not net.training and [m.p for m in net if type(m) is torch.nn.Dropout] == [0.1, 0.2]
    x = torch.tensor(X.astype(dtype))
    with torch.no_grad():
        agree(model.forward(X), net(x), AGREE if dtype == "float32" else 1e-8)
    back = interop.from_torch(net)
    assert (back.theta == model.theta).all() and back.dropout == model.dropout
    assert back.activations == model.activations and back.output == model.output


def test_to_torch_logits_train_as_we_do(torch):
    model = fastnn.Model([6, 9, 3], "tanh", dtype="float64", seed=3)
    y = RNG.integers(0, 3, len(X))
    net = interop.to_torch(model, logits=True)
    loss = torch.nn.CrossEntropyLoss()(net(torch.tensor(X, dtype=torch.float64)), torch.tensor(y))
    loss.backward()
    ours, grad = model.loss_and_gradient(X, y)
    agree(ours, loss.item(), 1e-12)
    agree(grad, np.concatenate([p.grad.numpy().ravel() for p in net.parameters()]), 1e-12)


def normalised(bias=True, dtype="float32"):
    """A trained network with both kinds of normalisation."""
    norm = [fastnn.BatchNorm(0.2, 1e-3), fastnn.LayerNorm(1e-4), None]
    bias = [bias, bias, True, True]
    model = fastnn.Model([6, 9, 8, 5, 3], "tanh", dtype=dtype, seed=3, norm=norm, bias=bias)
    model.fit(X, RNG.integers(0, 3, len(X)), epochs=20, batch_size=10, learning_rate=0.3)
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalised_networks_of_torch(torch, bias, dtype):
    model = normalised(bias, dtype)
    net = interop.to_torch(model)
    with torch.no_grad():
        want = net(torch.tensor(X, dtype=getattr(torch, dtype)))
    agree(model.forward(X), want, AGREE if dtype == "float32" else 1e-12)
    back = interop.from_torch(net)
    assert back.norm == model.norm
    agree(back.forward(X), want, AGREE if dtype == "float32" else 1e-12)
    if bias:
        assert (back.theta == model.theta).all()
        assert (back.running_mean[0] == model.running_mean[0]).all()
        assert (back.running_variance[0] == model.running_variance[0]).all()


def test_a_layers_norm_after_a_bias_is_refused(torch):
    nn = torch.nn
    with pytest.raises(
        ValueError, match=r"module 1 \(LayerNorm\): must follow a linear layer with"
    ):
        interop.from_torch(nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Linear(9, 3)))
    with pytest.raises(ValueError, match="must be in a hidden layer, not at the output"):
        interop.from_torch(nn.Sequential(nn.Linear(6, 9, bias=False), nn.LayerNorm(9)))


def test_a_layers_norm_of_no_parameters(torch):
    nn = torch.nn
    norm = nn.LayerNorm(9, elementwise_affine=False)
    net = nn.Sequential(nn.Linear(6, 9, bias=False), norm, nn.Tanh(), nn.Linear(9, 3))
    model = interop.from_torch(net)
    assert (model.gamma[0] == 1).all() and model.bias == [False, True]
    with torch.no_grad():
        agree(model.forward(X), net(torch.tensor(X)))


def test_to_torch_has_no_noise(torch):
    with pytest.raises(ValueError, match="must have no noise"):
        interop.to_torch(fastnn.Model([6, 9, 3], noise=0.1))


# --- Keras

KERAS = [
    "linear", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "hard_tanh",
    "gelu", "silu", "mish", "relu6", "hard_sigmoid", "celu",
]  # fmt: skip


@pytest.mark.parametrize("name", [*KERAS, "softmax", "log_softmax", "exponential"])
def test_from_keras_each_activation(keras, name):
    L = keras.layers
    hidden = name if name in KERAS else "tanh"
    net = keras.Sequential([keras.Input((6,)), L.Dense(9, activation=hidden), L.Dense(3, name)])
    for layer in net.layers:
        layer.bias.assign(RNG.normal(size=layer.bias.shape))
    want = of_keras(net, X)
    agree(interop.from_keras(net).forward(X), np.exp(want) if name == "log_softmax" else want)


def test_from_keras_layers(keras):
    L = keras.layers
    data = RNG.normal(2, 3, (200, 2, 3)).astype(np.float32)
    normalize = L.Normalization(axis=(1, 2))
    normalize.adapt(data)
    net = keras.Sequential(
        [
            keras.Input((2, 3)),
            L.Rescaling(0.5, offset=-0.1),
            normalize,
            L.Flatten(),
            L.GaussianNoise(0.2),
            L.Dense(9, use_bias=False),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.Dropout(0.3),
            keras.Sequential([L.Dense(8), L.LeakyReLU(negative_slope=0.2)]),
            L.BatchNormalization(center=False, scale=False),
            L.Dense(7),
            L.ELU(alpha=0.4),
            L.Dense(7),
            L.ReLU(max_value=3.0),
            L.Dense(7),
            L.ReLU(negative_slope=0.3),
            L.Dense(3),
            L.Softmax(),
        ]
    )
    for layer in net.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([abs(RNG.normal(size=w.shape)) for w in layer.get_weights()])
    model = interop.from_keras(net)
    agree(model.forward(data.reshape(-1, 6)), of_keras(net, data))
    assert model.dropout[1] == pytest.approx(0.3) and model.noise[0] == pytest.approx(0.2)
    assert model.sizes == [6, 9, 8, 7, 7, 7, 3] and model.output == "softmax"


def test_from_keras_functional(keras):
    L = keras.layers
    inputs = keras.Input((6,))
    hidden = L.Dense(9, "relu")(inputs)
    net = keras.Model(inputs, L.Dense(3)(hidden))
    want = of_keras(keras.Sequential([net, L.Softmax()]), X)
    agree(interop.from_keras(net, output="softmax").forward(X), want)
    branches = keras.Model(inputs, L.Add()([L.Dense(9)(hidden), hidden]))
    with pytest.raises(ValueError, match="a network with branches is not sequential"):
        interop.from_keras(branches)
    with pytest.raises(ValueError, match="one input and one output, got 1 and 2"):
        interop.from_keras(keras.Model(inputs, [hidden, net.outputs[0]]))
    with pytest.raises(
        ValueError, match=r"must take rows, after Flatten; got shape \(None, 6, 1\)"
    ):
        interop.from_keras(keras.Sequential([keras.Input((6, 1)), L.Dense(2)]))


def test_from_keras_models_within_models(keras):
    L = keras.layers

    def inner(two):
        x = keras.Input((6,))
        hidden = L.Dense(9, "relu")(x)
        return keras.Model(x, [hidden, L.Dense(3)(hidden)] if two else L.Dense(3)(hidden))

    x = keras.Input((6,))
    end = keras.Sequential([L.Dense(5, "tanh"), L.Dense(2)])
    net = keras.Model(x, end(inner(two=False)(x)))
    agree(interop.from_keras(net).forward(X), of_keras(net, X))
    with pytest.raises(ValueError, match="model 'ends' must end in its last layer"):
        interop.from_keras(keras.Model(x, inner(two=True)(x)[0], name="ends"))
    with pytest.raises(ValueError, match="layer 'last' must follow"):
        interop.from_keras(keras.Model(x, L.Dense(3, name="last")(inner(two=True)(x)[1])))


def test_from_keras_says_what_it_cannot_take(keras):
    L = keras.layers
    net = keras.Sequential([keras.Input((6, 1)), L.Conv1D(2, 3, name="conv")])
    with pytest.raises(ValueError, match=r"layer 'conv' \(Conv1D\): fastnn has no such layer"):
        interop.from_keras(net)
    net = keras.Sequential([keras.Input((6,)), L.Dense(2, "softsign", name="d")])
    with pytest.raises(
        ValueError, match=r"layer 'd' \(Dense\): fastnn has no activation 'softsign"
    ):
        interop.from_keras(net)
    tuned = L.Dense(3)
    low_rank = keras.Sequential([keras.Input((6,)), tuned])
    tuned.enable_lora(2)
    with pytest.raises(ValueError, match="must have kernel and bias alone"):
        interop.from_keras(low_rank)
    inverted = L.Normalization(mean=1.0, variance=4.0, invert=True)
    for shape, layer, message in (
        ((6,), inverted, "must not be inverted"),
        ((2, 3), L.LayerNormalization(axis=[1, 2]), r"must be over axis -1, got \[1, 2\]"),
        ((6,), L.ReLU(threshold=1.0), "must have no threshold, and max_value or negative_slope"),
        ((6,), L.ReLU(1.0, negative_slope=0.5), "max_value or negative_slope alone"),
        ((6,), L.Softmax(axis=0), "must be over axis -1, got 0"),
        # These would be over each sample's 3 entries, not its 6.
        ((2, 3), L.Softmax(), r"must take rows, after Flatten; got shape \(None, 2, 3\)"),
        ((2, 3), L.Activation("softmax"), "must take rows, after Flatten"),
    ):
        with pytest.raises(ValueError, match=rf"layer '{layer.name}' .*: .*{message}"):
            interop.from_keras(keras.Sequential([keras.Input(shape), layer, L.Flatten()]))
    with pytest.raises(ValueError, match="must be built"):
        interop.from_keras(keras.Sequential([L.Dense(2)]))
    with pytest.raises(TypeError, match="must be a Keras model, got list"):
        interop.from_keras([])


def test_from_keras_refuses_what_only_bears_a_known_name(keras):
    L = keras.layers

    class Dense(L.Dense):
        def call(self, x, training=None):
            return 2 * super().call(x)

    class Sequential(keras.Sequential):
        def call(self, x, training=None, mask=None):
            return 2 * super().call(x)

    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3)

        def call(self, x):
            return 2 * self.dense(x)

    def relu(x):
        return 3 * x

    mine = Mine()
    mine(X)
    ends = [keras.Input((6,)), L.Dense(3)]
    rms = L.LayerNormalization(rms_scaling=True)
    for net, message in (
        (keras.Sequential([keras.Input((6,)), Dense(3)]), "fastnn has no such layer"),
        (Sequential(ends), "must be Keras's own"),
        (keras.Sequential([keras.Input((6,)), Sequential(ends)]), "must be Keras's own"),
        (mine, "must be Keras's own"),
        (keras.Sequential([*ends, L.Activation(relu)]), "fastnn has no activation 'relu'"),
        (keras.Sequential([*ends, rms, L.Dense(2)]), "must subtract the mean"),
    ):
        with pytest.raises(ValueError, match=message):
            interop.from_keras(net)
    dense, act = L.Dense(6), L.Activation("tanh")
    x = keras.Input((6,))
    with pytest.raises(ValueError, match="must follow"):
        interop.from_keras(keras.Model(x, act(dense(act(dense(x))))))
    twice = keras.Sequential([keras.Input((6,)), dense, keras.Sequential([dense])])
    agree(interop.from_keras(twice).forward(X), of_keras(twice, X))


def test_from_keras_scales_inputs_one_by_one_or_all_alike(keras):
    L = keras.layers
    normalize = L.Normalization(axis=None)
    normalize.adapt(3 * X + 1)
    for first in (normalize, L.Rescaling([1.0, 2, 3, 4, 5, 6], [0.5] * 6), L.Rescaling([2.0])):
        net = keras.Sequential([keras.Input((6,)), first, L.Dense(3)])
        agree(interop.from_keras(net).forward(X), of_keras(net, X))


@pytest.mark.parametrize("output", [*OUTPUTS, "softmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_to_keras(keras, output, dtype):
    hidden = output if output in ACTIVATIONS else fastnn.ELU(0.3)
    model = random_biases(
        fastnn.Model(
            [6, 9, 5, 3],
            [hidden, fastnn.LeakyReLU(0.2)],
            output,
            dtype=dtype,
            seed=3,
            bias=[True, False, True],
            dropout=[0.1, 0, 0.2],
            noise=[0, 0.3, 0],
        )
    )
    net = interop.to_keras(model)
    # Keras computes in float64 by TensorFlow alone, and JAX keeps no float64 by default.
    exact = dtype == "float64" and keras.backend.backend() == "tensorflow"
    agree(model.forward(X), of_keras(net, X.astype(dtype)), 1e-7 if exact else AGREE)
    back = interop.from_keras(net)
    assert (back.theta == model.theta.astype(back.dtype)).all()
    assert back.dtype == dtype or keras.backend.backend() == "jax"
    assert (back.dropout, back.noise) == (model.dropout, model.noise)
    assert back.activations == model.activations and back.output == model.output
    logits = interop.to_keras(model, logits=True)
    assert interop.from_keras(logits).output == "identity"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalised_networks_of_keras(keras, bias, dtype):
    model = normalised(bias, dtype)
    net = interop.to_keras(model)
    agree(model.forward(X), of_keras(net, X.astype(dtype)))
    back = interop.from_keras(net)
    assert back.norm == model.norm
    agree(back.forward(X), model.forward(X), AGREE if back.dtype == "float32" else 1e-12)


def test_keras_has_no_parametric_activations(keras):
    with pytest.raises(ValueError, match=r"no parametric activation for to_keras, got Parametric"):
        interop.to_keras(fastnn.Model([6, 9, 3], fastnn.Parametric("elu")))


# --- scikit-learn


def sklearn_mlp(kind, y, **settings):
    neural_network = pytest.importorskip("sklearn.neural_network")
    settings = {"hidden_layer_sizes": (9, 5), "max_iter": 20, "random_state": 0} | settings
    return getattr(neural_network, kind)(**settings).fit(X, y)


TARGETS = {
    "three names": ("MLPClassifier", np.array(["a", "b", "c"])[RNG.integers(0, 3, 40)]),
    "two numbers": ("MLPClassifier", RNG.integers(0, 2, 40) * 4 + 3),
    "labels": ("MLPClassifier", RNG.integers(0, 2, (40, 3))),
    "value": ("MLPRegressor", RNG.normal(size=40)),
    "values": ("MLPRegressor", RNG.normal(size=(40, 2))),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_from_and_to_sklearn(target, activation):
    kind, y = TARGETS[target]
    theirs = sklearn_mlp(kind, y, activation=activation)
    model = interop.from_sklearn(theirs)
    json.dumps(model.metadata)
    assert model.dtype == "float32"
    again = interop.to_sklearn(model)
    assert type(again) is type(theirs)
    assert (again.predict(X) == theirs.predict(X)).all()
    if kind == "MLPClassifier":
        agree(model.predict_proba(X), theirs.predict_proba(X))
        assert (again.predict_proba(X) == theirs.predict_proba(X)).all()
        if target != "labels":
            classes = np.array(model.metadata["classes"])
            assert (classes[model.predict(X)] == theirs.predict(X)).all()
    else:
        agree(model.predict(X), theirs.predict(X))
    again.partial_fit(X, y)
    assert (again.predict(X) != theirs.predict(X)).any() or kind == "MLPClassifier"


def fitted_pipeline(kind, y, *before, data=X, **settings):
    from sklearn.pipeline import make_pipeline

    neural_network = pytest.importorskip("sklearn.neural_network")
    settings = {"hidden_layer_sizes": (9,), "max_iter": 20, "random_state": 0} | settings
    return make_pipeline(*before, getattr(neural_network, kind)(**settings)).fit(data, y)


TRANSFORMERS = [
    "StandardScaler()",
    "StandardScaler(with_mean=False)",
    "StandardScaler(with_std=False)",
    "MinMaxScaler((-1, 2))",
    "MaxAbsScaler()",
    "RobustScaler(with_centering=False)",
    "RobustScaler()",
    "PCA(4)",
    "PCA(3, whiten=True)",
    "TruncatedSVD(3)",
    "VarianceThreshold(1.0)",
    "SelectKBest(k=2)",
    "FunctionTransformer()",
    "'passthrough'",
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_sklearn_folds_a_pipeline(dtype):
    pytest.importorskip("sklearn")
    from sklearn import decomposition, feature_selection, preprocessing

    known = {**vars(preprocessing), **vars(decomposition), **vars(feature_selection)}
    data = (X * [1, 2, 0.5, 3, 0.1, 1] + [0, 5, 1, -2, 0.3, 7]).astype(dtype)
    y = RNG.integers(0, 3, len(X))
    for first in TRANSFORMERS:
        for second in ("StandardScaler()", "PCA(2)"):
            parts = eval(first, known), eval(second, known)
            theirs = fitted_pipeline("MLPClassifier", y, *parts, data=data)
            model = interop.from_sklearn(theirs)
            assert model.sizes == [6, 9, 3] and model.dtype == dtype
            want = theirs.predict_proba(data)
            agree(model.predict_proba(data), want, 1e-4 if dtype == "float32" else 1e-12)


def test_a_far_mean_keeps_its_digits():
    pytest.importorskip("sklearn")
    from sklearn.preprocessing import StandardScaler

    far = (X + 1e5).astype(np.float32)
    y = RNG.integers(0, 3, len(X))
    theirs = fitted_pipeline("MLPClassifier", y, StandardScaler(), data=far)
    model = interop.from_sklearn(theirs)
    assert model.dtype == "float64"
    agree(model.predict_proba(far), theirs.predict_proba(far.astype(np.float64)))


def test_from_sklearn_folds_what_is_done_to_the_target():
    pytest.importorskip("sklearn")
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    for y in (50 + 9 * X[:, 0], 50 + 9 * X[:, :2]):
        for scaler in (StandardScaler(), MinMaxScaler()):
            inner = fitted_pipeline("MLPRegressor", y, StandardScaler())
            theirs = TransformedTargetRegressor(inner, transformer=scaler).fit(X, y)
            agree(interop.from_sklearn(theirs).predict(X), theirs.predict(X), 1e-4)


def test_from_sklearn_names_the_step_it_cannot_fold():
    pytest.importorskip("sklearn")
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import (
        FunctionTransformer,
        MinMaxScaler,
        Normalizer,
        PolynomialFeatures,
        StandardScaler,
    )

    class Mine(StandardScaler):
        def transform(self, X):
            return 2 * super().transform(X)

    y = RNG.integers(0, 3, len(X))
    for part in (
        Normalizer(),
        PolynomialFeatures(2),
        SimpleImputer(),
        MinMaxScaler(clip=True),
        FunctionTransformer(np.exp),
        ColumnTransformer([("a", StandardScaler(), [0])]),
        Mine(),
    ):
        with pytest.raises(ValueError, match=rf"step '{type(part).__name__.lower()}' \(.*cannot"):
            interop.from_sklearn(fitted_pipeline("MLPClassifier", y, part))
    with pytest.raises(ValueError, match=r"step 'pipeline\.normalizer'"):
        interop.from_sklearn(make_pipeline(fitted_pipeline("MLPClassifier", y, Normalizer())))
    logs = TransformedTargetRegressor(
        fitted_pipeline("MLPRegressor", y), func=np.log1p, inverse_func=np.expm1
    )
    with pytest.raises(ValueError, match="must be fitted, this TransformedTargetRegressor"):
        interop.from_sklearn(logs)
    with pytest.raises(ValueError, match="step 'transformer'"):
        interop.from_sklearn(logs.fit(X, y))
    with pytest.raises(TypeError, match="Pipeline that ends in one, got StandardScaler"):
        interop.from_sklearn(make_pipeline(StandardScaler()).fit(X))


def test_fastnns_own_estimators_go_wherever_scikit_learns_do():
    pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from fastnn.sklearn import MLPClassifier, MLPRegressor

    y = np.array(["a", "b", "c"])[RNG.integers(0, 3, len(X))]
    settings = {"max_iter": 20, "random_state": 0}
    activation = ["logistic", fastnn.LeakyReLU(0.2)]
    theirs = MLPClassifier((9, 5), activation, dropout=[0.1, 0, 0.2], **settings)
    pipe = make_pipeline(StandardScaler(), theirs).fit(X, y)
    model = interop.from_sklearn(pipe)
    assert model.dropout == [0.1, 0, 0.2] and model.metadata["classes"] == ["a", "b", "c"]
    assert model.activations == ["sigmoid", fastnn.LeakyReLU(0.2)]
    agree(model.predict_proba(X), pipe.predict_proba(X))
    for g in ("relu", "mish", fastnn.ELU(0.3)):
        value = MLPRegressor(hidden_layer_sizes=(9,), activation=g, **settings).fit(X, X[:, 0])
        agree(interop.from_sklearn(value).predict(X), value.predict(X))
    linear = MLPClassifier((), dropout=0.0, **settings).fit(X, y)
    agree(interop.from_sklearn(linear).predict_proba(X), linear.predict_proba(X))


def test_two_softmax_outputs_become_sklearns_one():
    model = random_biases(fastnn.Model([6, 9, 2], "tanh", dtype="float64", seed=2))
    pytest.importorskip("sklearn")
    theirs = interop.to_sklearn(model)
    assert theirs.coefs_[-1].shape == (9, 1)
    agree(theirs.predict_proba(X), model.predict_proba(X), 1e-12)


def test_sklearn_pipelines_take_them():
    pytest.importorskip("sklearn")
    from sklearn.model_selection import cross_val_score

    model = fastnn.Model([6, 9, 1], "relu", output="identity", seed=2)
    assert np.isfinite(interop.to_sklearn(model).score(X, X[:, 0]))
    assert len(cross_val_score(interop.to_sklearn(model), X, X[:, 0], cv=2)) == 2


def test_a_batchs_norm_is_folded_for_sklearn():
    pytest.importorskip("sklearn")
    model = fastnn.Model([6, 9, 3], "tanh", norm="batch", dtype="float64", seed=1)
    model.fit(X, RNG.integers(0, 3, len(X)), epochs=5, batch_size=10)
    agree(interop.to_sklearn(model).predict_proba(X), model.predict_proba(X), 1e-12)


@pytest.mark.parametrize(
    "model, what",
    [
        (fastnn.Model([6, 9, 3], norm="layer"), 'norm must not be "layer"'),
        (
            fastnn.Model([6, 9, 3], "gelu"),
            "one activation of identity, sigmoid, tanh, relu; got gelu",
        ),
        (fastnn.Model([6, 9, 9, 3], ["relu", "tanh"]), "got relu, tanh"),
        (
            fastnn.Model([6, 9, 3], "relu", "tanh"),
            "output must be softmax, sigmoid, identity or exp",
        ),
    ],
)
def test_to_sklearn_says_what_it_cannot_be(model, what):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match=what):
        interop.to_sklearn(model)


@pytest.mark.parametrize(
    "classes, what",
    [
        (["a", "b"], r"must name 3 classes, got \['a', 'b'\]"),
        (["a", "b", "b"], r"must name 3 classes, got \['a', 'b', 'b'\]"),
        (["b", "a", "c"], r"must be sorted for scikit-learn, got \['b', 'a', 'c'\]"),
    ],
)
def test_to_sklearn_takes_classes_in_its_order(classes, what):
    pytest.importorskip("sklearn")
    model = fastnn.Model([6, 9, 3], seed=0)
    model.metadata["classes"] = classes
    with pytest.raises(ValueError, match=rf'metadata\["classes"\] {what}'):
        interop.to_sklearn(model)


def test_from_sklearn_wants_a_fitted_network():
    neural_network = pytest.importorskip("sklearn.neural_network")
    with pytest.raises(ValueError, match="must be fitted"):
        interop.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(TypeError, match=r"MLPClassifier or MLPRegressor, or .*, got dict"):
        interop.from_sklearn({})


# --- JAX and files of weights


def numpy_network(layers):
    """tanh between, identity at the end; W (n_in, n_out)."""
    h = X
    for k, (W, b) in enumerate(layers):
        h = h @ W + b
        h = np.tanh(h) if k < len(layers) - 1 else h
    return h


@pytest.fixture
def pairs():
    sizes = [6, 9, 9, 3]
    return [
        (RNG.normal(size=(n, m)).astype(np.float32), RNG.normal(size=m).astype(np.float32))
        for n, m in itertools.pairwise(sizes)
    ]


def test_from_jax(pairs):
    model = interop.from_jax(pairs, activation="tanh", output="identity")
    agree(model.forward(X), numpy_network(pairs))
    back = [(W.T, b) for W, b in zip(model.W, model.b, strict=True)]
    assert all(
        (a == b).all()
        for one, two in zip(pairs, back, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    stax = [pairs[0], (), pairs[1], (), pairs[2]]
    assert (interop.from_jax(stax, activation="tanh", output="identity").theta == model.theta).all()
    flax = {"params": {f"Dense_{k}": {"bias": b, "kernel": W} for k, (W, b) in enumerate(pairs)}}
    assert (interop.from_jax(flax, activation="tanh", output="identity").theta == model.theta).all()
    wide = interop.from_jax(
        [(pairs[0][0].astype(float), None)], activation="relu", output="softmax"
    )
    assert (wide.dtype, wide.bias) == ("float64", [False])


def test_from_jax_arrays(pairs):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    params = jax.tree.map(jax.numpy.asarray, pairs)
    model = interop.from_jax(params, activation="tanh", output="identity")
    agree(model.forward(jax.numpy.asarray(X)), numpy_network(pairs))
    history = model.fit(jax.numpy.asarray(X), jax.numpy.ones((40, 3)), epochs=2)
    assert history.loss[-1] < history.loss[0]


def test_from_jax_says_what_must_hold(pairs):
    options = {"activation": "tanh", "output": "identity"}
    with pytest.raises(TypeError, match="entry 2 is none"):
        interop.from_jax([pairs[0], pairs[1][0]], **options)
    with pytest.raises(ValueError, match="layer 2 must take the 9 values of the layer before it"):
        interop.from_jax([pairs[0], pairs[0]], **options)
    with pytest.raises(ValueError, match=r"layer 1: must have a matrix W and b \(n_out,\)"):
        interop.from_jax([(pairs[0][0], pairs[2][1])], **options)
    with pytest.raises(ValueError, match="kernel and bias of dense layers alone, got"):
        interop.from_jax({"BatchNorm_0": {"scale": np.ones(3)}}, **options)
    with pytest.raises(ValueError, match="at least one layer"):
        interop.from_jax([], **options)
    with pytest.raises(TypeError, match="must be a list of"):
        interop.from_jax(3, **options)


def state_dict(pairs, names):
    weights = {}
    for name, (W, b) in zip(names, pairs, strict=True):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = W.T, b
    return weights


def test_from_state_dict(pairs):
    # "10" comes after "2", and a mapping tells the order itself.
    for names in (["net.0", "net.2", "net.10"], ["last", "first", "middle"]):
        model = interop.from_state_dict(
            state_dict(pairs, names), activation="tanh", output="identity"
        )
        agree(model.forward(X), numpy_network(pairs))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_state_dict_files(pairs, tmp_path, dtype):
    safetensors = pytest.importorskip("safetensors.numpy")
    weights = state_dict(pairs, ["net.0", "net.2", "net.10"])
    path = tmp_path / "weights.safetensors"
    if dtype == "bfloat16":
        ml_dtypes = pytest.importorskip("ml_dtypes")
        weights = {name: w.astype(ml_dtypes.bfloat16) for name, w in weights.items()}
    else:
        weights = {name: w.astype(dtype) for name, w in weights.items()}
    weights["bn.num_batches_tracked"] = np.int64(7)  # integers are no weights
    safetensors.save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, path)
    model = interop.from_state_dict(path, activation="tanh", output="identity")
    assert model.dtype == ("float64" if dtype == "float64" else "float32")
    rounded = [
        tuple(
            np.asarray(v, np.float32)
            for v in (weights[f"net.{k}.weight"].T, weights[f"net.{k}.bias"])
        )
        for k in (0, 2, 10)
    ]
    agree(model.forward(X), numpy_network(rounded))


def test_state_dict_of_torch(torch, tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.ReLU(), torch.nn.Linear(9, 3)).half()
    model = interop.from_state_dict(net.state_dict(), activation="relu", output="softmax")
    agree(model.forward(X), net.float()(torch.tensor(X)).softmax(1).detach())


def test_state_dict_says_what_must_hold(pairs, tmp_path):
    options = {"activation": "tanh", "output": "identity"}
    weights = state_dict(pairs, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"linear layers alone, got bn\.running_mean"):
        interop.from_state_dict(weights | {"bn.running_mean": np.ones(3)}, **options)
    some = interop.from_state_dict(
        weights | {"bn.running_mean": np.ones(3)}, layers=["a", "b"], **options
    )
    assert some.sizes == [6, 9, 9]
    with pytest.raises(ValueError, match=r"'d' has no d\.weight"):
        interop.from_state_dict(weights, layers=["a", "d"], **options)
    with pytest.raises(ValueError, match=r"the order was c, a"):
        interop.from_state_dict(weights, layers=["c", "a"], **options)
    with pytest.raises(ValueError, match=r"one entry per hidden layer \(2\), got 1"):
        interop.from_state_dict(weights, activation=["relu"], output="identity")
    with pytest.raises(ValueError, match="must be a matrix of a linear layer"):
        interop.from_state_dict({"conv.weight": np.ones((3, 3, 3))}, **options)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(fastnn.ModelFileError, match=r"broken\.safetensors"):
        interop.from_state_dict(broken, **options)
    with pytest.raises(FileNotFoundError):
        interop.from_state_dict(tmp_path / "none", **options)


def weights_file(path, pairs, names):
    safetensors = pytest.importorskip("safetensors.numpy")
    weights = state_dict(pairs, names)
    safetensors.save_file({k: np.ascontiguousarray(v) for k, v in weights.items()}, path)
    return path


def chain_of(*sizes):
    return [(RNG.normal(size=(n, m)), RNG.normal(size=m)) for n, m in itertools.pairwise(sizes)]


def test_the_alphabet_tells_no_order_of_layers(tmp_path):
    """Numbers tell, or shapes that follow one another in one order alone; else layers= must."""
    options = {"activation": "tanh", "output": "identity"}
    path = tmp_path / "w.safetensors"
    both = chain_of(8, 3, 8)
    weights_file(path, both, ["encoder", "decoder"])
    with pytest.raises(ValueError, match=r"decoder, encoder do not; .*layers=\[\.\.\.\]"):
        interop.from_state_dict(path, **options)
    named = interop.from_state_dict(path, layers=["encoder", "decoder"], **options)
    assert (named.W[0] == both[0][0].T).all()
    flax = {name: {"kernel": W, "bias": b} for name, (W, b) in zip("ed", both, strict=True)}
    with pytest.raises(ValueError, match=r"d, e do not; pass a list of \(W, b\)"):
        interop.from_jax(flax, **options)
    for sizes, names in (
        ((6, 9, 4, 3), ["stem", "middle", "head"]),
        ((6, 9, 9, 3), ["fc1", "fc2", "a_last"]),
        ((6, 6, 6, 3), ["net.0", "net.10", "end"]),
    ):
        pairs = chain_of(*sizes)
        model = interop.from_state_dict(weights_file(path, pairs, names), **options)
        assert all((a == W.T).all() for a, (W, _) in zip(model.W, pairs, strict=True))
    for sizes, names in (((6, 6, 6, 3), ["b", "a", "end"]), ((6, 6, 6), ["fc1", "last"])):
        with pytest.raises(ValueError, match="must tell their order"):
            interop.from_state_dict(weights_file(path, chain_of(*sizes), names), **options)
    names = [f"l{chr(200 + k)}" for k in range(39)]
    for pairs in (chain_of(*[4] * 40), [*chain_of(*[4] * 39), *chain_of(7, 5)]):
        many = weights_file(path, pairs, names)  # of the latter no order fits, which none finds
        with pytest.raises(ValueError, match="must tell their order"):
            interop.from_state_dict(many, **options)


def test_a_sorted_dict_tells_no_order_either(tmp_path):
    """safetensors' load_file gives a dict in the order of the alphabet; net.10 before net.2."""
    safetensors = pytest.importorskip("safetensors.numpy")
    options = {"activation": "tanh", "output": "identity"}
    pairs = chain_of(6, 6, 6, 6)
    path = weights_file(tmp_path / "w.safetensors", pairs, ["net.0", "net.2", "net.10"])
    loaded = safetensors.load_file(path)
    model = interop.from_state_dict(loaded, **options)
    assert all((a == W.T).all() for a, (W, _) in zip(model.W, pairs, strict=True))
    both = weights_file(path, chain_of(8, 3, 8), ["encoder", "decoder"])
    with pytest.raises(ValueError, match="must tell their order"):
        interop.from_state_dict(safetensors.load_file(both), **options)
    told = collections.OrderedDict(state_dict(chain_of(8, 3, 8), ["a", "b"]))
    assert interop.from_state_dict(told, **options).sizes == [8, 3, 8]


def test_a_layer_named_twice_stands_twice(pairs):
    layers = ["b", "b", "c"]
    weights = state_dict([pairs[0], pairs[1], pairs[2]], ["a", "b", "c"])
    model = interop.from_state_dict(weights, layers=layers, activation="tanh", output="identity")
    assert model.sizes == [9, 9, 9, 3]


def test_state_dict_activations_are_named(pairs):
    with pytest.raises(TypeError):
        interop.from_state_dict(state_dict(pairs, "abc"))


# --- data


@pytest.mark.parametrize("library", ["torch", "keras", "sklearn"])
def test_a_model_that_encodes_columns_is_not_handed_on_without_them(library):
    """A network that takes raw numbers for encoded ones predicts anything, in silence."""
    pytest.importorskip(library)
    rows = {"a": np.arange(20.0), "b": ["x", "y"] * 10}
    model = fastnn.Model([None, 4, None], "tanh", seed=0)
    model.fit(rows, ["p", "q"] * 10, epochs=2)
    convert = getattr(interop, f"to_{library}")
    with pytest.raises(ValueError, match=r"this one reads columns: model\.network_only\(\)"):
        convert(model)
    made, X = convert(model.network_only()), model.columns.encode(rows)
    want = model.predict_proba(rows)
    if library == "sklearn":
        agree(made.predict_proba(X), want)
    elif library == "torch":
        torch = pytest.importorskip("torch")
        with torch.no_grad():
            agree(made(torch.tensor(X)), want)
    with pytest.raises(ValueError, match="must be fitted first"):
        convert(fastnn.Model([None, 4, None]))


def test_torch_tensors_are_data(torch):
    model, twin = (fastnn.Model([6, 9, 3], seed=1) for _ in range(2))
    y = RNG.integers(0, 3, len(X))
    model.fit(torch.tensor(X), torch.tensor(y), epochs=2)
    twin.fit(X, y, epochs=2)
    assert (model.theta == twin.theta).all()
    assert (model.predict(torch.tensor(X)) == twin.predict(X)).all()


@pytest.mark.parametrize("name", ["from_torch", "to_torch", "to_keras", "to_sklearn"])
def test_a_missing_library_is_named(name, monkeypatch):
    library = {"torch": "torch", "keras": "keras", "sklearn": "sklearn"}[name.partition("_")[2]]
    monkeypatch.setitem(__import__("sys").modules, library, None)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.neural_network", None)
    with pytest.raises(fastnn.MissingExtraError, match="pip install"):
        getattr(interop, name)(fastnn.Model([2, 1], output="identity"))
