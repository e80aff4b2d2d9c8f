"""The names that arguments take, for type checkers, which see a slip such as optimizer="adm".

tests/test_types.py holds them against the tables that know what each name means.
"""

from typing import Literal

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
