"""Pinned results: ten-step loss curves, and SHA-256 of trained weights.

    python tests/test_golden.py --write

rewrites the files. Whoever runs it reviews the diff and says in the commit why results may change;
hashes that stand there change only with another BITS_VERSION (fastnn/config.py). Data and starting
weights of the curves are exact fractions made from integers, so nothing but the arithmetic under
test decides the outcome.

- tests/golden/loss_curves.json: the mean loss of each of ten mini-batches, for each loss and
  optimizer, from tests/reference.py in NumPy's widest dtype, rounded to float64.
- fastnn/bits/hashes.json: SHA-256 of weights after training and of outputs, which `fastnn verify`
  compares, too. One hash for AVX2, AVX-512 and NEON and for any number of threads. The baseline has
  no FMA and is outside this promise.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from compiled import activation, embedding, norm_of

import fastnn
from fastnn.bits.check import BASELINE, HASHES, WHAT, hashes, pinned, sha256
from fastnn.bits.networks import CASES, DTYPES, coded, fractions, trained
from fastnn.config import BITS_VERSION
from fastnn.kernels import _cpu
from fastnn.network.losses import from_json
from fastnn.random import keys
from fastnn.training.schedules import Running

GOLDEN = Path(__file__).parent / "golden"
CURVES = GOLDEN / "loss_curves.json"


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


# --- Hashes of trained networks -------------------------------------------------------------------

@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_pinned_bits(name, dtype, n_threads):
    if _cpu.isa() == BASELINE:
        pytest.skip("the baseline has no FMA; its bits are its own")
    got = [sha256(array) for array in trained(name, dtype, n_threads)]
    assert got == [pinned()[what][name][dtype] for what in WHAT]


def moved(old, new):
    """What has other hashes in `new`, of what both have."""
    both = [(what, name) for what in WHAT for name in old[what] if name in new[what]]
    return [f"{name}: {what}" for what, name in both if old[what][name] != new[what][name]]


def content(old, new, version):
    """hashes.json with these hashes. Bits that have moved need another number."""
    if old["bits_version"] == version and (names := moved(old, new)):
        raise ValueError(
            f"bits have moved ({names[0]}, and {len(names) - 1} more): raise BITS_VERSION in "
            "fastnn/config.py and name it in CHANGELOG.md"
        )
    return {"bits_version": version, **new}


def test_bits_and_their_number_move_together():
    old = {"bits_version": 1, "weights": {"a": {"float32": "1"}}, "outputs": {}}
    more = {"weights": {"a": {"float32": "1"}, "b": {"float32": "2"}}, "outputs": {}}
    other = {"weights": {"a": {"float32": "3"}}, "outputs": {}}
    assert content(old, more, 1)["weights"] == more["weights"]  # more networks need no other number
    assert content(old, other, 2) == {"bits_version": 2, **other}
    with pytest.raises(ValueError, match=r"bits have moved \(a: weights, .* raise BITS_VERSION"):
        content(old, other, 1)


def test_the_number_of_the_bits_is_one():
    assert pinned()["bits_version"] == BITS_VERSION
    changes = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
    named = sorted({int(n) for n in re.findall(r"[Bb]its version (\d+)", changes)})
    assert named == list(range(1, BITS_VERSION + 1))


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
    if _cpu.isa() == BASELINE:
        sys.exit(f"wrote {CURVES}; {HASHES} needs a machine with AVX2 or NEON")
    HASHES.write_text(json.dumps(content(pinned(), hashes(), BITS_VERSION), indent=1) + "\n")
    print(f"wrote {CURVES} and {HASHES}")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/test_golden.py --write")
    write()
