"""Small networks whose bits after training are pinned: every optimizer of fastnn's own, loss, kind
of activation, norm and embedding, both dtypes.

Data come from integers by exact operations, weights from fastnn's own generator, so that nothing
but fastnn decides the bits: neither NumPy's generators nor a mathematical library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fastnn.model import Model
from fastnn.network.activations import Parametric
from fastnn.network.embeddings import Categories, Periodic, PiecewiseLinear
from fastnn.network.losses import CrossEntropy, Focal, Huber, Quantile
from fastnn.training.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
    Rprop,
)
from fastnn.training.schedules import FlatCosine

DTYPES = ("float32", "float64")
ROWS, EPOCHS, SEED = 300, 2, 11
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Case(NamedTuple):
    """A network and its training; data follow from its sizes and output."""

    sizes: list[int]
    activation: Any
    output: Any
    batch_size: int
    optimizer: Optimizer
    model: Mapping[str, Any] = NOTHING  # more settings of Model
    fit: Mapping[str, Any] = NOTHING  # and of fit


def fractions(*shape: int, seed: int) -> np.ndarray:
    """Numbers in [-1/2, 1/2) with 24 bits: exact in every dtype, the same on every machine."""
    n = int(np.prod(shape))
    i = np.arange(1, n + 1, dtype=np.uint64) + np.uint64(1_000_003 * seed)
    i *= np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Weyl's sequence; modulo 2^64
    i ^= i >> np.uint64(29)
    i *= np.uint64(0xBF58476D1CE4E5B9)
    return ((i >> np.uint64(40)).astype(np.float64) * 2.0**-24 - 0.5).reshape(shape)


def coded(X: np.ndarray, categories: Iterable[tuple[int, int]]) -> np.ndarray:
    """X with codes in these columns, -1 among them; categories: pairs of a column and its n."""
    for column, n in categories:
        X[:, column] = np.arange(len(X)) * 7 % (n + 1) - 1
    return X


PLAIN, HEAVY = SGD(0.0625), SGD(0.0625, 0.75)
WIDE, SMALL = [67, 33, 17, 5], [19, 23, 7]
CASES = {
    "784-30-10 sigmoid, batch 1": Case([784, 30, 10], "sigmoid", "softmax", 1, PLAIN),
    "784-128-10 relu, batch 128": Case([784, 128, 10], "relu", "softmax", 128, PLAIN),
    "67-33-17-5 tanh, momentum": Case(WIDE, "tanh", "softmax", 13, HEAVY),
    "31-19-1 relu, no bias": Case([31, 19, 1], "relu", "identity", 7, PLAIN, {"bias": False}),
    "5-1, one layer": Case([5, 1], "relu", "sigmoid", 3, PLAIN),
    "1-1-2 nesterov": Case([1, 1, 2], "sigmoid", "sigmoid", 2, SGD(0.0625, 0.5, nesterov=True)),
    "67-33-17-5 gelu and mish": Case(WIDE, ["gelu", "mish"], "softmax", 13, HEAVY),
    "67-33-17-5 silu and elu, batch 1": Case(WIDE, ["silu", "elu"], "softmax", 1, PLAIN),
    "67-33-17-5 the others": Case(
        [67, 33, 17, 9, 8, 7, 5],
        ["gelu_tanh", "selu", "softplus", "leaky_relu", "hard_tanh"],
        *("softmax", 13, PLAIN),
    ),
    "130-70-3 tanh, adam": Case([130, 70, 3], "tanh", "softmax", 16, Adam()),
    "19-23-7 cross_entropy, smoothed": Case(
        *(SMALL, "relu", "softmax", 16, PLAIN), {"loss": CrossEntropy(0.125)}
    ),
    "19-23-7 focal": Case(SMALL, "relu", "softmax", 16, PLAIN, {"loss": "focal"}),
    "19-23-7 focal, sigmoid": Case(SMALL, "relu", "sigmoid", 16, PLAIN, {"loss": Focal(1.5)}),
    "19-23-7 poisson": Case(SMALL, "tanh", "exp", 16, PLAIN),
    "19-23-7 huber": Case(SMALL, "tanh", "identity", 16, PLAIN, {"loss": Huber(0.25)}),
    "19-23-9 quantile": Case(
        *([19, 23, 9], "tanh", "identity", 16, PLAIN), {"loss": Quantile((0.125, 0.5, 0.75))}
    ),
    "19-23-7 absolute_error": Case(SMALL, "tanh", "tanh", 16, PLAIN, {"loss": "absolute_error"}),
    "19-23-7 hinge": Case(SMALL, "relu", "identity", 16, PLAIN, {"loss": "hinge"}),
    "19-23-7 weights": Case(
        *(SMALL, "relu", "softmax", 16, PLAIN),
        fit={"sample_weight": np.arange(ROWS) % 5 / 4},
    ),
    "67-33-17-5 dropout and noise": Case(
        *(WIDE, "relu", "softmax", 13, Adam()),
        {"dropout": [0.2, 0.5, 0.5], "noise": [0.0, 0.125, 0.25]},
    ),
    "67-33-17-5 ntk, rate factors": Case(
        *(WIDE, "tanh", "softmax", 13), AdamW(0.0625, ntk=True, rate_factors={"b": 0.125})
    ),
    "67-33-17-5 dropout, scheduled": Case(
        *(WIDE, "relu", "softmax", 13),
        AdamW(0.01, weight_decay=FlatCosine(0.125)),
        {"dropout": [0.2, 0.5, 0.5]},
        {"dropout_schedule": FlatCosine(1.0)},
    ),
    "67-33-17-5 parametric": Case(
        *(WIDE, Parametric("selu"), "softmax", 13),
        AdamW(0.01, rate_factors={"alpha": 4.0}, clip_norm=1.0),
        {"dropout": [0.0, 0.5, 0.5]},
    ),
    "67-33-17-5 parametric mish, layer norm, batch 1": Case(
        *(WIDE, Parametric("mish"), "softmax", 1, PLAIN), {"norm": ["layer", None]}
    ),
    "67-33-17-5 batch norm": Case(WIDE, "relu", "softmax", 13, Adam(), {"norm": "batch"}),
    "67-33-17-5 layer norm": Case(WIDE, "silu", "softmax", 13, HEAVY, {"norm": "layer"}),
    "67-33-17-5 both norms": Case(
        *(WIDE, "tanh", "softmax", 13, AdamW(clip_norm=0.5, max_norm=1.0)),
        {"bias": False, "norm": ["layer", "batch"], "dropout": [0.2, 0.5, 0.0]},
    ),
    "67-33-17-5 embeddings and scales": Case(
        *(WIDE, ["selu", "mish"], "softmax", 13),
        AdamW(0.03125, rate_factors={"embedding": 0.125, "scale": 4.0}),
        {
            "embeddings": [
                Periodic(tuple(range(5, 40))),
                PiecewiseLinear((1, 0), ((-0.5, -0.25, 0, 0.5), (0, 0.25))),
                PiecewiseLinear((2,), ((-0.5, -0.25, 0, 0.5),), width=3),
                Categories(3, 20, width=4),
                Categories(4, 5),
            ],
            "feature_scale": True,
            "dropout": [0.125, 0.0, 0.0],
        },
    ),
    "67-33-17-2 monotone": Case(
        *([67, 33, 17, 2], ["selu", "softplus"], "softmax", 13, AdamW(0.03125, max_norm=1.0)),
        {
            "monotone": {0: 1, 3: -1, 40: 1},
            "embeddings": [PiecewiseLinear((3,), ((-0.5, -0.25, 0, 0.5),))],
            "feature_scale": True,
            "dropout": [0.0, 0.125, 0.0],
        },
    ),
    "67-33-17-5 layer norm, batch 1": Case(WIDE, "relu", "softmax", 1, PLAIN, {"norm": "layer"}),
    **{
        f"67-33-17-5 {name}": Case(WIDE, "tanh", "softmax", 13, optimizer)
        for name, optimizer in {
            "amsgrad": Adam(amsgrad=True),
            "nadam": NAdam(),
            "rmsprop, centered, momentum": RMSprop(momentum=0.75, centered=True),
            "adagrad": Adagrad(),
            "lion": Lion(),
            "rprop": Rprop(),
            "penalties": SGD(0.0625, momentum=0.75, l1=2.0**-10, l2=0.125),
        }.items()
    },
}


def trained(name: str, dtype: str, n_threads: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """theta and what the network answers to the rows it was trained on."""
    case = CASES[name]
    codes = [one for one in case.model.get("embeddings", ()) if isinstance(one, Categories)]
    X = coded(
        fractions(ROWS, case.sizes[0], seed=5), [(int(one.column), one.n) for one in codes]
    )
    y: np.ndarray = fractions(ROWS, case.sizes[-1], seed=6) + 0.5
    loss = case.model.get("loss")
    if case.output == "softmax" or loss == "hinge":
        y = np.arange(ROWS) * 13 % case.sizes[-1]
    if isinstance(loss, Quantile):
        y = y[:, :3]
    settings: dict[str, Any] = {"dtype": dtype, "seed": SEED, "n_threads": n_threads, **case.model}
    model = Model(case.sizes, case.activation, case.output, **settings)
    given = {"batch_size": case.batch_size, "optimizer": case.optimizer, **case.fit}
    model.fit(X, y, epochs=EPOCHS, **given)
    return model.theta, model.forward(X)
