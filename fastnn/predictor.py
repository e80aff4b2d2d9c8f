"""A model's prediction alone: frozen weights, any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.config import n_threads
from fastnn.kernels.predict import Frozen
from fastnn.network.activations import kernel
from fastnn.network.arrays import as_features, as_numbers
from fastnn.network.norms import kernel as norm_kernel
from fastnn.network.spec import NetworkSpec


class Predictor(Frozen):
    """f(x) = h^(K) with the weights the model had; made by `Model.predictor`.

    Later training does not change it, and threads may call it at the same time. ``predict(x)`` with
    an array of the model's dtype goes straight into compiled code; other input is converted first.
    """

    def __init__(
        self,
        network: NetworkSpec,
        theta: np.ndarray,
        statistics: np.ndarray,
        n_threads: int | None,
    ) -> None:
        hidden = tuple(kernel(one) for one in network.activations)
        output = kernel(network.output)
        norms = tuple(norm_kernel(one) for one in network.norm)
        super().__init__(
            *(network.sizes, hidden, output, network.bias, network.dtype, theta),
            *(norms, statistics, network.input_scale),
        )
        self._network = network
        self._n_threads = n_threads
        self._theta = theta.copy()
        self._statistics = statistics.copy()

    def threads(self) -> int:
        """The most threads that a call may use."""
        return n_threads(self._n_threads)

    def convert(self, x: Any, out: np.ndarray | None) -> np.ndarray:
        """The call for arguments that compiled code does not take as they are."""
        network = self._network
        single = False
        if not hasattr(x, "indptr") and not hasattr(x, "tocsr"):
            x = as_numbers("x", x)
            single = x.ndim == 1
        X = as_features(x[None, :] if single else x, network)
        shape = (network.n_out,) if single else (len(X), network.n_out)
        if out is None:
            out = np.empty(shape, network.dtype)
        if not isinstance(out, np.ndarray) or out.dtype != network.dtype or out.shape != shape:
            came = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else repr(type(out))
            raise ValueError(f"out must be a {network.dtype} array of shape {shape}, got {came}")
        if not out.flags.carray or not out.dtype.isnative:
            raise ValueError("out must be C-contiguous, aligned and writable")
        if isinstance(X, np.ndarray) and np.may_share_memory(X, out):
            X = X.copy()
        self.forward(X, np.asarray(out))  # a subclass is written through its base
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self._network, self._theta, self._statistics, self._n_threads)
