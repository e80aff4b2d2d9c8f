"""A model's prediction alone: frozen weights, any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._arrays import as_features, as_numbers
from fastnn._config import n_threads
from fastnn._evaluate import forward
from fastnn._network import NetworkSpec
from fastnn._parameters import new_engine


class Predictor:
    """f(x) = h^(K) with the weights the model had; made by `Model.predictor`.

    Later training does not change it, and threads may call it at the same time.
    """

    def __init__(self, network: NetworkSpec, theta: np.ndarray, n_threads: int | None) -> None:
        self._network = network
        self._n_threads = n_threads
        self._theta = theta.copy()
        self._engine = new_engine(network)
        self._engine.load(self._theta)

    def __call__(self, x: Any, out: np.ndarray | None = None) -> np.ndarray:
        """h^(K) of one sample or of many.

        Parameters
        ----------
        x : array, (n_in,) or (n, n_in)
        out : array, (n_out,) or (n, n_out), optional
            Where to write the result: C-contiguous, writable, of the model's dtype.

        Returns
        -------
        array, (n_out,) or (n, n_out)
            `out` where given.
        """
        network = self._network
        values = as_numbers("x", x)
        single = values.ndim == 1
        X = as_features(values[None, :] if single else values, network)
        threads = n_threads(self._n_threads)
        if out is None:
            h = forward(self._engine, network, X, threads)
            return h[0] if single else h
        shape = (network.n_out,) if single else (len(X), network.n_out)
        if not isinstance(out, np.ndarray) or out.dtype != network.dtype or out.shape != shape:
            came = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else repr(type(out))
            raise ValueError(f"out must be a {network.dtype} array of shape {shape}, got {came}")
        if not out.flags.carray or not out.dtype.isnative:
            raise ValueError("out must be C-contiguous, aligned and writable")
        if np.may_share_memory(X, out):
            X = X.copy()
        self._engine.forward(X, out[None, :] if single else out, threads)
        return out

    def __reduce__(self) -> tuple[Any, ...]:
        return Predictor, (self._network, self._theta, self._n_threads)
