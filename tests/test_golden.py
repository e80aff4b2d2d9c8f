"""Pinned results: ten-step loss curves, and SHA-256 of trained weights.

    python tests/test_golden.py --write

rewrites tests/golden/*.json. Whoever runs it reviews the diff and says in the commit why results
may change. Data and starting weights of the curves are exact fractions made from integers, so
nothing but the arithmetic under test decides the outcome.

- loss_curves.json: the mean loss of each of ten mini-batches, for each loss and optimizer, from
  tests/reference.py in NumPy's widest dtype, rounded to float64.
- theta_sha256.json: theta after Model(seed=...).fit(...), little-endian. One hash for AVX2, AVX-512
  and NEON and for any number of threads. The baseline has no FMA and is outside this promise.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from compiled import activation, embedding, norm_of

import fastnn
from fastnn.kernels import _cpu
from fastnn.network.losses import from_json
from fastnn.random import keys
from fastnn.training.schedules import Running

GOLDEN = Path(__file__).parent / "golden"
CURVES, HASHES = GOLDEN / "loss_curves.json", GOLDEN / "theta_sha256.json"


def fractions(*shape, seed):
    """Numbers in [-1/2, 1/2) with 24 bits: exact in every dtype, the same on every machine."""
    n = int(np.prod(shape))
    i = np.arange(1, n + 1, dtype=np.uint64) + np.uint64(1_000_003 * seed)
    i *= np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Weyl's sequence; modulo 2^64
    i ^= i >> np.uint64(29)
    i *= np.uint64(0xBF58476D1CE4E5B9)
    return ((i >> np.uint64(40)).astype(np.float64) * 2.0**-24 - 0.5).reshape(shape)


# --- Loss curves ----------------------------------------------------------------------------------

NETS = {  # each loss, with every output that it takes
    "cross_entropy softmax": ref.Net((5, 7, 6, 3), ("relu", "tanh"), "softmax"),
    "cross_entropy softmax, one layer": ref.Net((5, 3), (), "softmax"),
    "binary_cross_entropy sigmoid": ref.Net((5, 7, 2), "tanh", "sigmoid"),
    "squared_error identity": ref.Net((5, 7, 2), "relu", "identity", bias=(False, True)),
    "squared_error relu": ref.Net((5, 7, 2), "sigmoid", "relu", "squared_error"),
    "squared_error sigmoid": ref.Net((5, 7, 2), "sigmoid", "sigmoid", "squared_error"),
    "squared_error tanh": ref.Net((5, 7, 2), "identity", "tanh", "squared_error", bias=False),
    "squared_error softmax": ref.Net((5, 7, 3), "tanh", "softmax", "squared_error"),
    "cross_entropy softmax, smoothed": ref.Net(
        (5, 7, 3), "tanh", "softmax", settings=(("label_smoothing", 0.125),)
    ),
    "binary_cross_entropy sigmoid, smoothed": ref.Net(
        (5, 7, 2), "tanh", "sigmoid", settings=(("label_smoothing", 0.125),)
    ),
    "squared_error exp": ref.Net((5, 7, 2), "tanh", "exp", "squared_error"),
    "absolute_error identity": ref.Net((5, 7, 2), "tanh", "identity", "absolute_error"),
    "huber tanh": ref.Net((5, 7, 2), "tanh", "tanh", "huber", settings=(("delta", 0.25),)),
    "quantile identity": ref.Net(
        (5, 7, 2), "tanh", "identity", "quantile", settings=(("q", 0.25),)
    ),
    "poisson exp": ref.Net((5, 7, 2), "tanh", "exp"),
    "focal softmax": ref.Net((5, 7, 3), "tanh", "softmax", "focal", settings=(("gamma", 1.5),)),
    "focal sigmoid": ref.Net((5, 7, 2), "tanh", "sigmoid", "focal"),
    "hinge identity": ref.Net((5, 7, 3), "tanh", "identity", "hinge"),
    **{
        f"hidden {g}": ref.Net((5, 7, 6, 3), g)
        for g in ("leaky_relu", "elu", "selu", "softplus", "gelu", "gelu_tanh", "silu", "mish")
    },
    "hidden hard_tanh": ref.Net((5, 7, 6, 3), "hard_tanh"),
    "dropout": ref.Net((5, 7, 6, 3), ("relu", "tanh"), dropout=(0.25, 0.5, 0.25), noise=(0,) * 3),
    "noise": ref.Net((5, 7, 6, 3), ("silu", "tanh"), dropout=(0, 0.5, 0), noise=(0.25, 0.25, 0.5)),
    "parameters": ref.Net((5, 7, 6, 3), (("leaky_relu", 0.25), ("elu", 0.5))),
    "squared_error silu": ref.Net((5, 7, 2), "gelu", "silu", "squared_error"),
    "parametric": ref.Net((5, 7, 6, 3), (("parametric", "selu"), ("parametric", "mish"))),
    "parametric, dropout, norm": ref.Net(
        (5, 7, 6, 3),
        (("parametric", "relu"), ("parametric", ("elu", 0.5))),
        **{"dropout": (0.25, 0.5, 0.25), "noise": (0.0,) * 3},
        norm=(("batch", 0.125, 0.0625), None),
    ),
    "batch norm": ref.Net((5, 7, 6, 3), ("relu", "tanh"), norm=(("batch", 0.125, 0.0625),) * 2),
    "layer norm": ref.Net((5, 7, 6, 3), ("relu", "tanh"), norm=(("layer", 0, 0.0625),) * 2),
    "norms, dropout": ref.Net(
        *((5, 7, 6, 3), ("gelu", "silu"), "softmax", None, (False, True, True)),
        **{"dropout": (0.25, 0.5, 0.25), "noise": (0.0, 0.25, 0.0)},
        norm=(("batch", 0.125, 0.0625), ("layer", 0, 0.0625)),
    ),
    "inputs": ref.Net(
        *((5, 7, 6, 3), ("relu", "tanh")),
        embeddings=(
            ("periodic", (4, 1), 3, 2),
            ("piecewise", (0,), ((-0.5, 0.0, 0.25),), 2),
            ("categories", (2,), 3, 2),
        ),
        feature_scale=True,
    ),
    "monotone": ref.Net(
        *((5, 7, 6, 2), ("selu", "tanh")),
        feature_scale=True,
        directions=(
            *((0, 1, 0, -1, 0), (1, 0, -1, 0, 1, 0, -1), (1, 0, -1, 0, 1, 0), (-1, 1)),
        ),
    ),
    "inputs, dropout, norm": ref.Net(
        *((5, 7, 6, 3), ("selu", "tanh")),
        embeddings=(("piecewise", (4, 1), ((-0.5, 0.5), (-0.5, 0.0, 0.25)), None),),
        feature_scale=True,
        **{"dropout": (0.25, 0.0, 0.25), "noise": (0.25, 0.0, 0.0)},
        norm=(("batch", 0.125, 0.0625), None),
    ),
}
OPTIMIZERS = {  # rates are exact in every dtype
    "sgd": fastnn.SGD(0.25),
    "momentum": fastnn.SGD(0.125, 0.75),
    "nesterov": fastnn.SGD(0.125, 0.75, nesterov=True),
    "adam": fastnn.Adam(0.03125, 0.75, 0.875, 2.0**-10),
    "dampening": fastnn.SGD(0.125, 0.75, dampening=0.25),
    "amsgrad": fastnn.Adam(0.03125, 0.75, 0.875, 2.0**-10, amsgrad=True),
    "adamw": fastnn.AdamW(0.03125, 0.75, 0.875, 2.0**-10, weight_decay=0.5),
    "nadam": fastnn.NAdam(0.03125, 0.75, 0.875, 2.0**-10),
    "rmsprop": fastnn.RMSprop(0.03125, 0.875, 0.5, 2.0**-4),
    "rmsprop, centered": fastnn.RMSprop(0.03125, 0.875, 0.0, 2.0**-4, centered=True),
    "adagrad": fastnn.Adagrad(0.0625, 2.0**-10),
    "lion": fastnn.Lion(0.015625, 0.75, 0.875),
    "rprop": fastnn.Rprop(0.015625, 0.5, 1.25, 2.0**-10, 0.125),
    "penalties": fastnn.SGD(0.125, 0.75, l1=2.0**-6, l2=0.125, weight_decay=0.25),
    "rate factors": fastnn.AdamW(
        *(0.03125, 0.75, 0.875, 2.0**-10),
        **{"weight_decay": 0.5, "rate_factors": {"W": 0.5, "b": 2.0, "gamma": 4.0}},
    ),
    "ntk": fastnn.SGD(0.5, 0.75, ntk=True),
    "ntk, adam": fastnn.Adam(
        *(0.0625, 0.75, 0.875, 2.0**-10),
        **{"weight_decay": 0.25, "ntk": True, "rate_factors": {"b": 0.125}},
    ),
    "ntk, nadam": fastnn.NAdam(0.0625, 0.75, 0.875, 2.0**-10, ntk=True),
    "ntk, rmsprop": fastnn.RMSprop(0.03125, 0.875, 0.5, 2.0**-4, centered=True, ntk=True),
    "ntk, lion": fastnn.Lion(0.03125, 0.75, 0.875, ntk=True),
    "ntk, rprop": fastnn.Rprop(0.03125, 0.5, 1.25, 2.0**-5, 0.0625, ntk=True),
    "weight decay, scheduled": fastnn.AdamW(
        *(0.03125, 0.75, 0.875, 2.0**-10), weight_decay=fastnn.InverseScaling(4.0, 1.0, 1.0)
    ),
    "limits": fastnn.SGD(0.25, 0.5, clip_norm=0.5, clip_value=0.125, max_norm=1.25),
}
SEED = 5  # of dropout and noise
FIRST_NETS, FIRST_OPTIMIZERS = list(NETS)[:8], list(OPTIMIZERS)[:4]


def pinned_with(name):
    """Every loss with a few optimizers, and every optimizer with a few losses."""
    return OPTIMIZERS if name in FIRST_NETS else FIRST_OPTIMIZERS


N, BATCH = 38, 4  # ten mini-batches, the last one of 2


def coded(X, categories):
    """X with codes in these columns, -1 among them; categories: pairs of a column and its n."""
    for column, n in categories:
        X[:, column] = np.arange(len(X)) * 7 % (n + 1) - 1
    return X


def curve_data(net):
    X = 2 * fractions(N, net.sizes[0], seed=1)
    X = coded(X, [(one[1][0], one[2]) for one in net.embeddings if one[0] == "categories"])
    if net.output == "softmax" or net.loss_name == "hinge":
        return X, (np.arange(N) * 7 + np.arange(N) // 3) % net.sizes[-1]
    return X, fractions(N, net.sizes[-1], seed=2) + 0.5


def curve_theta(net):
    theta = fractions(net.n_parameters, seed=3)
    return theta + 0.25 if net.output == "relu" else theta  # a relu output must be alive


def reference_curve(name, optimizer, dtype):
    net = NETS[name]
    X, y = curve_data(net)
    theta = curve_theta(net).astype(dtype)
    X = X.astype(dtype)
    rule = OPTIMIZERS[optimizer]
    of = keys(SEED, net.K) if net.dropout else None
    decays = Running(rule.weight_decay, 1, 1).rates(0, -(-N // BATCH))
    given = {"keys": of, "running": ref.new_running(net, dtype), "decays": decays}
    return ref.train(net, theta, X, y, np.arange(N), BATCH, rule.kind, rule.rates, **given)[2]


def loss_of(net):
    """The loss as a user says it."""
    return (
        from_json({"name": net.loss_name, **dict(net.settings)}) if net.settings else net.loss_name
    )


def fastnn_curve(name, optimizer, dtype):
    """One fit call a mini-batch: its loss is what stands in the history."""
    net = NETS[name]
    X, y = curve_data(net)
    model = fastnn.Model(
        list(net.sizes),
        activation=[activation(g) for g in net.g[1:-1]],
        output=activation(net.output),
        loss=loss_of(net),
        bias=net.bias,
        dtype=dtype,
        seed=SEED,
        dropout=net.dropout or 0.0,
        noise=net.noise or 0.0,
        norm=[norm_of(norm) for norm in net.norms[1:-1]],
        embeddings=[embedding(one) for one in net.embeddings],
        feature_scale=net.feature_scale,
        monotone=net.directions and net.directions[0],
    )
    model.theta = curve_theta(net)
    losses = []
    for i in range(0, N, BATCH):
        rows = slice(i, i + BATCH)
        history = model.fit(
            *(X[rows], y[rows]),
            epochs=1,
            batch_size=BATCH,
            optimizer=OPTIMIZERS[optimizer],
            shuffle=False,
        )
        losses += history.loss
    return losses


def pinned_curve(name, optimizer):
    return json.loads(CURVES.read_text())[name][optimizer]


# A step is sums of at most 9 terms in at most 3 layers, forward and back, and a mean of 4: under
# 100 roundings, few of which add up. Ten steps of plain NumPy come within 7 u of the pinned curves.
ROUNDINGS = 100
each_curve = pytest.mark.parametrize(
    ("name", "optimizer"), [(name, optimizer) for name in NETS for optimizer in pinned_with(name)]
)


@each_curve
def test_reference_loss_curve(name, optimizer):
    got = reference_curve(name, optimizer, np.float64)
    bound = ROUNDINGS * ref.unit_roundoff(np.float64)
    np.testing.assert_allclose(got, pinned_curve(name, optimizer), rtol=bound, atol=0)


@each_curve
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loss_curve(name, optimizer, dtype):
    got = fastnn_curve(name, optimizer, dtype)
    want = pinned_curve(name, optimizer)
    assert len(want) == 10
    assert max(want) - min(want) > 0.01  # a curve, not a line
    bound = ROUNDINGS * ref.unit_roundoff(dtype)
    np.testing.assert_allclose(got, want, rtol=bound, atol=0)


# --- Hashes of trained weights --------------------------------------------------------------------

SGD = fastnn.SGD(0.0625)
HEAVY = fastnn.SGD(0.0625, 0.75)
TRAINED = {  # name: sizes, activation, output, bias, batch size, optimizer
    "784-30-10 sigmoid, batch 1": ([784, 30, 10], "sigmoid", "softmax", True, 1, SGD),
    "784-128-10 relu, batch 128": ([784, 128, 10], "relu", "softmax", True, 128, SGD),
    "67-33-17-5 tanh, momentum": ([67, 33, 17, 5], "tanh", "softmax", True, 13, HEAVY),
    "31-19-1 relu, no bias": ([31, 19, 1], "relu", "identity", False, 7, SGD),
    "5-1, one layer": ([5, 1], "relu", "sigmoid", True, 3, SGD),
    "1-1-2 nesterov": (
        *([1, 1, 2], "sigmoid", "sigmoid", True, 2),
        fastnn.SGD(0.0625, 0.5, nesterov=True),
    ),
    "67-33-17-5 gelu and mish": ([67, 33, 17, 5], ["gelu", "mish"], "softmax", True, 13, HEAVY),
    "67-33-17-5 silu and elu, batch 1": ([67, 33, 17, 5], ["silu", "elu"], "softmax", True, 1, SGD),
    "67-33-17-5 the others": (
        *([67, 33, 17, 9, 8, 7, 5], ["gelu_tanh", "selu", "softplus", "leaky_relu", "hard_tanh"]),
        *("softmax", True, 13, SGD),
    ),
    "130-70-3 tanh, adam": ([130, 70, 3], "tanh", "softmax", True, 16, fastnn.Adam()),
    "19-23-7 cross_entropy, smoothed": ([19, 23, 7], "relu", "softmax", True, 16, SGD),
    "19-23-7 focal": ([19, 23, 7], "relu", "softmax", True, 16, SGD),
    "19-23-7 focal, sigmoid": ([19, 23, 7], "relu", "sigmoid", True, 16, SGD),
    "19-23-7 poisson": ([19, 23, 7], "tanh", "exp", True, 16, SGD),
    "19-23-7 huber": ([19, 23, 7], "tanh", "identity", True, 16, SGD),
    "19-23-9 quantile": ([19, 23, 9], "tanh", "identity", True, 16, SGD),
    "19-23-7 absolute_error": ([19, 23, 7], "tanh", "tanh", True, 16, SGD),
    "19-23-7 hinge": ([19, 23, 7], "relu", "identity", True, 16, SGD),
    "19-23-7 weights": ([19, 23, 7], "relu", "softmax", True, 16, SGD),
    "67-33-17-5 dropout and noise": (
        *([67, 33, 17, 5], "relu", "softmax", True, 13, fastnn.Adam()),
        {"dropout": [0.2, 0.5, 0.5], "noise": [0.0, 0.125, 0.25]},
    ),
    "67-33-17-5 ntk, rate factors": (
        *([67, 33, 17, 5], "tanh", "softmax", True, 13),
        fastnn.AdamW(0.0625, ntk=True, rate_factors={"b": 0.125}),
    ),
    "67-33-17-5 dropout, scheduled": (
        *([67, 33, 17, 5], "relu", "softmax", True, 13),
        fastnn.AdamW(0.01, weight_decay=fastnn.FlatCosine(0.125)),
        {"dropout": [0.2, 0.5, 0.5]},
    ),
    "67-33-17-5 parametric": (
        *([67, 33, 17, 5], fastnn.Parametric("selu"), "softmax", True, 13),
        fastnn.AdamW(0.01, rate_factors={"alpha": 4.0}, clip_norm=1.0),
        {"dropout": [0.0, 0.5, 0.5]},
    ),
    "67-33-17-5 parametric mish, layer norm, batch 1": (
        *([67, 33, 17, 5], fastnn.Parametric("mish"), "softmax", True, 1, SGD),
        {"norm": ["layer", None]},
    ),
    "67-33-17-5 batch norm": (
        *([67, 33, 17, 5], "relu", "softmax", True, 13, fastnn.Adam()),
        {"norm": "batch"},
    ),
    "67-33-17-5 layer norm": (
        [67, 33, 17, 5],
        "silu",
        "softmax",
        True,
        13,
        HEAVY,
        {"norm": "layer"},
    ),
    "67-33-17-5 both norms": (
        *([67, 33, 17, 5], "tanh", "softmax", False, 13, fastnn.AdamW(clip_norm=0.5, max_norm=1.0)),
        {"norm": ["layer", "batch"], "dropout": [0.2, 0.5, 0.0]},
    ),
    "67-33-17-5 embeddings and scales": (
        *([67, 33, 17, 5], ["selu", "mish"], "softmax", True, 13),
        fastnn.AdamW(0.03125, rate_factors={"embedding": 0.125, "scale": 4.0}),
        {
            "embeddings": [
                fastnn.Periodic(range(5, 40)),
                fastnn.PiecewiseLinear([1, 0], [[-0.5, -0.25, 0, 0.5], [0, 0.25]]),
                fastnn.PiecewiseLinear([2], [-0.5, -0.25, 0, 0.5], width=3),
                fastnn.Categories(3, 20, width=4),
                fastnn.Categories(4, 5),
            ],
            "feature_scale": True,
            "dropout": [0.125, 0.0, 0.0],
        },
    ),
    "67-33-17-2 monotone": (
        *([67, 33, 17, 2], ["selu", "softplus"], "softmax", True, 13),
        fastnn.AdamW(0.03125, max_norm=1.0),
        {
            "monotone": {0: 1, 3: -1, 40: 1},
            "embeddings": [fastnn.PiecewiseLinear([3], [-0.5, -0.25, 0, 0.5])],
            "feature_scale": True,
            "dropout": [0.0, 0.125, 0.0],
        },
    ),
    "67-33-17-5 layer norm, batch 1": (
        *([67, 33, 17, 5], "relu", "softmax", True, 1, SGD),
        {"norm": "layer"},
    ),
}
LOSSES = {  # where it is not the output's own
    "19-23-7 cross_entropy, smoothed": fastnn.CrossEntropy(0.125),
    "19-23-7 focal": "focal",
    "19-23-7 focal, sigmoid": fastnn.Focal(1.5),
    "19-23-7 huber": fastnn.Huber(0.25),
    "19-23-9 quantile": fastnn.Quantile([0.125, 0.5, 0.75]),
    "19-23-7 absolute_error": "absolute_error",
    "19-23-7 hinge": "hinge",
}


FIT = {  # what fit is given besides
    "67-33-17-5 dropout, scheduled": {"dropout_schedule": fastnn.FlatCosine(1.0)},
}


def trained_theta(name, dtype, n_threads=None):
    sizes, activation, output, bias, batch, optimizer, *more = TRAINED[name]
    n = 300
    settings = more[0] if more else {}
    codes = [one for one in settings.get("embeddings", ()) if isinstance(one, fastnn.Categories)]
    X = coded(fractions(n, sizes[0], seed=5), [(one.column, one.n) for one in codes])
    y = fractions(n, sizes[-1], seed=6) + 0.5
    loss = LOSSES.get(name)
    y = np.arange(n) * 13 % sizes[-1] if output == "softmax" or loss == "hinge" else y
    y = y[:, :3] if name.endswith("quantile") else y
    model = fastnn.Model(
        *(sizes, activation, output, loss),
        **{"bias": bias, "dtype": dtype, "seed": 11, "n_threads": n_threads},
        **settings,
    )
    weights = np.arange(n) % 5 / 4 if name.endswith("weights") else None
    settings = {"optimizer": optimizer, "sample_weight": weights, **FIT.get(name, {})}
    model.fit(X, y, epochs=2, batch_size=batch, **settings)
    return model.theta


def sha256(theta):
    return hashlib.sha256(theta.astype(theta.dtype.newbyteorder("<")).tobytes()).hexdigest()


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_theta_bits(name, dtype, n_threads):
    if _cpu.isa() == "baseline":
        pytest.skip("the baseline has no FMA; its bits are its own")
    pinned = json.loads(HASHES.read_text())
    assert sha256(trained_theta(name, dtype, n_threads)) == pinned[name][dtype]


# --- python tests/test_golden.py --write ----------------------------------------------------------


def write():
    GOLDEN.mkdir(exist_ok=True)
    curves = {
        name: {
            optimizer: [float(v) for v in reference_curve(name, optimizer, np.longdouble)]
            for optimizer in pinned_with(name)
        }
        for name in NETS
    }
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")
    if _cpu.isa() == "baseline":
        sys.exit(f"wrote {CURVES}; {HASHES} needs a machine with AVX2 or NEON")
    hashes = {
        name: {dtype: sha256(trained_theta(name, dtype)) for dtype in ("float32", "float64")}
        for name in TRAINED
    }
    HASHES.write_text(json.dumps(hashes, indent=1) + "\n")
    print(f"wrote {CURVES} and {HASHES}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_golden.py --write")
    write()
