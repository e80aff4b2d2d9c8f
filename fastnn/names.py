"""For type checkers: the names that arguments take, so that a slip such as optimizer="adm" shows,
and the kinds of numbers that results hold.

tests/test_typing.py holds the names against the tables that know what each one means.
"""

from typing import Any, Literal

import numpy as np

ActivationName = Literal[
    "identity", "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softplus", "hard_tanh",
    "gelu", "gelu_tanh", "silu", "mish",
]  # fmt: skip
OutputName = ActivationName | Literal["exp", "softmax"]
LossName = Literal[
    "squared_error", "binary_cross_entropy", "cross_entropy", "absolute_error", "huber", "quantile",
    "poisson", "focal", "hinge",
]  # fmt: skip
NormName = Literal["batch", "layer"]
InitName = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
    "uniform", "normal", "orthogonal", "zeros",
]  # fmt: skip
OptimizerName = Literal[
    "sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion", "rprop", "lbfgs"
]
DtypeName = Literal["float32", "float64"]
ComputeDtypeName = Literal["float32", "float64", "bfloat16"]

Floats = np.ndarray[tuple[Any, ...], np.dtype[np.floating[Any]]]  # of the model's dtype
Doubles = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]
Bools = np.ndarray[tuple[Any, ...], np.dtype[np.bool_]]
