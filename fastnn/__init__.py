"""fastnn: feed-forward neural networks, trained and served on CPUs.

    X, y --- network.arrays ---> checked, contiguous         Model([784, 128, 10], seed=0)
                                   |                               |
                                   |       network.spec: sizes, layout   network.initialize: theta
                                   v                               |
      fit -> training.loop ---> kernels.engine: a run of mini-batches <---- theta, in panels
                                   |   forward       a = h_prev W^T + b,  h = g(a)
                                   |   output_delta  L, delta = dL/da
                                   |   backward      delta_prev = (delta W) * g',  dL/dW, dL/db
                                   |   update        theta <- theta - learning_rate dL/dtheta
                                   v
               theta, History ---> predict, evaluate, explain.trace ---> save, load: files

Begin with `help(fastnn.Model)`, `help(fastnn.Model.fit)`; docs/index.md lists the pages.

>>> import fastnn
>>> model = fastnn.Model([784, 128, 10], activation="relu", output="softmax", seed=0)
>>> model
Model([784, 128, 10], activation='relu', output='softmax', loss='cross_entropy', \
dtype='float32', seed=0)
"""

import importlib
from typing import TYPE_CHECKING, Any

from fastnn.config import __version__ as __version__
from fastnn.config import show_config, threads
from fastnn.errors import (
    DivergenceError,
    FastnnError,
    MissingExtraError,
    ModelFileError,
    TableError,
)
from fastnn.model import Model
from fastnn.network.activations import ELU, LeakyReLU, Parametric
from fastnn.network.embeddings import Categories, Periodic, PiecewiseLinear
from fastnn.network.initialize import Normal, Orthogonal, Uniform
from fastnn.network.losses import BinaryCrossEntropy, CrossEntropy, Focal, Huber, Quantile
from fastnn.network.norms import BatchNorm, LayerNorm
from fastnn.predictor import Predictor, RowPredictor
from fastnn.saved import load
from fastnn.training.fit import Callback, Fit, Snapshot
from fastnn.training.history import History
from fastnn.training.metrics import TopK
from fastnn.training.optimizers import (
    LBFGS,
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
from fastnn.training.schedules import (
    Adaptive,
    Constant,
    CosineDecay,
    CosLog,
    Exponential,
    FlatCosine,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
)

__all__ = [
    "ELU",
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adaptive",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "Categories",
    "Checkpoint",
    "Constant",
    "CosLog",
    "CosineDecay",
    "CrossEntropy",
    "DivergenceError",
    "EarlyStopping",
    "Exponential",
    "FastnnError",
    "Fit",
    "FlatCosine",
    "Focal",
    "GradientNorms",
    "History",
    "Huber",
    "Int8Predictor",
    "Int8Report",
    "InverseScaling",
    "LambdaCallback",
    "LayerNorm",
    "LeakyReLU",
    "Lion",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "NAdam",
    "Normal",
    "OneCycle",
    "Optimizer",
    "Orthogonal",
    "Parametric",
    "Periodic",
    "PiecewiseLinear",
    "Predictor",
    "ProgressBar",
    "Quantile",
    "RMSprop",
    "ReduceOnPlateau",
    "RowPredictor",
    "Rprop",
    "Schedule",
    "Snapshot",
    "StepDecay",
    "TableError",
    "TabularClassifier",
    "TabularRegressor",
    "TensorBoard",
    "TopK",
    "Trace",
    "Uniform",
    "fit_many",
    "get_include",
    "get_library",
    "load",
    "permutation_importance",
    "shapley_values",
    "show_config",
    "threads",
    "verify",
]


if TYPE_CHECKING:
    from fastnn import c as c
    from fastnn import data as data
    from fastnn import interop as interop
    from fastnn import online as online
    from fastnn import onnx as onnx
    from fastnn import serve as serve
    from fastnn import tables as tables
    from fastnn import tabular as tabular
    from fastnn.bits.check import verify
    from fastnn.c.library import get_include, get_library
    from fastnn.explain.importance import permutation_importance
    from fastnn.explain.shapley import shapley_values
    from fastnn.explain.trace import Trace
    from fastnn.many import fit_many
    from fastnn.quantized.predictor import Int8Predictor, Int8Report
    from fastnn.tabular.estimators import TabularClassifier, TabularRegressor
    from fastnn.training.callbacks import (
        Checkpoint,
        CSVLogger,
        EarlyStopping,
        GradientNorms,
        LambdaCallback,
        ProgressBar,
        TensorBoard,
    )
else:
    # What a first fit does not need is imported when it is first asked for.
    _LATER = {name: "fastnn.training.callbacks" for name in (
        "CSVLogger", "Checkpoint", "EarlyStopping", "GradientNorms", "LambdaCallback",
        "ProgressBar", "TensorBoard",
    )} | {
        "Int8Predictor": "fastnn.quantized.predictor",
        "Int8Report": "fastnn.quantized.predictor",
        "TabularClassifier": "fastnn.tabular.estimators",
        "TabularRegressor": "fastnn.tabular.estimators",
        "Trace": "fastnn.explain.trace",
        "fit_many": "fastnn.many",
        "get_include": "fastnn.c.library",
        "get_library": "fastnn.c.library",
        "permutation_importance": "fastnn.explain.importance",
        "shapley_values": "fastnn.explain.shapley",
        "verify": "fastnn.bits.check",
    }  # fmt: skip
    _PARTS = ("c", "data", "interop", "online", "onnx", "serve", "tables", "tabular")

    def __getattr__(name: str) -> Any:
        if name in _PARTS:
            return importlib.import_module(f"fastnn.{name}")
        if name not in _LATER:
            raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
        globals()[name] = value = getattr(importlib.import_module(_LATER[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER, *_PARTS})
