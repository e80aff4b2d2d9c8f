"""Networks of PyTorch, Keras, JAX and scikit-learn, in and out; and files of their weights.

A network comes in as its steps, which steps.py folds into a Model. Each function imports only
the library it is about. docs/from_pytorch.md and docs/from_keras.md say what maps to what.
"""

from fastnn.interop.arrays import from_jax, from_state_dict
from fastnn.interop.keras import from_keras, to_keras
from fastnn.interop.sklearn import from_sklearn, to_sklearn
from fastnn.interop.torch import from_torch, to_torch

__all__ = [
    "from_jax",
    "from_keras",
    "from_sklearn",
    "from_state_dict",
    "from_torch",
    "to_keras",
    "to_sklearn",
    "to_torch",
]
