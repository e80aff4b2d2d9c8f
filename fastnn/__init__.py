"""fastnn: feed-forward neural networks, trained and served on CPUs.

    X, y ---- _arrays ----> checked, contiguous            Model([784, 128, 10], seed=0)
                              |                                |
                              |            _network: sizes, layout    _initialize: theta
                              v                                |
      fit  -> _train ----> kernels.engine: a run of mini-batches <---- theta, in panels
                              |   forward       a = h_prev W^T + b,  h = g(a)
                              |   output_delta  L, delta = dL/da
                              |   backward      delta_prev = (delta W) * g',  dL/dW, dL/db
                              |   update        theta <- theta - learning_rate dL/dtheta
                              v
            theta, History ----> predict, evaluate, trace ----> save, load: _storage

>>> import fastnn
>>> model = fastnn.Model([784, 128, 10], activation="relu", output="softmax", seed=0)
>>> model
Model([784, 128, 10], activation='relu', output='softmax', loss='cross_entropy', \
dtype='float32', seed=0)
"""

from fastnn._activations import ELU, LeakyReLU
from fastnn._config import show_config, threads
from fastnn._errors import DivergenceError, FastnnError, MissingExtraError, ModelFileError
from fastnn._history import History
from fastnn._optimizers import SGD, Adam
from fastnn._predictor import Predictor
from fastnn._trace import Trace
from fastnn.model import Model, load

__version__ = "0.1.0"
__all__ = [
    "ELU",
    "SGD",
    "Adam",
    "DivergenceError",
    "FastnnError",
    "History",
    "LeakyReLU",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "Predictor",
    "Trace",
    "load",
    "show_config",
    "threads",
]
