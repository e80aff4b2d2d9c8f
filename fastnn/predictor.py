"""A model's prediction alone: frozen weights, any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.config import n_threads
from fastnn.kernels.predict import Frozen
from fastnn.network.activations import Activation, hidden_kernel, kernel
from fastnn.network.arrays import as_features, as_finite, as_numbers
from fastnn.network.losses import for_kernel
from fastnn.network.norms import kernel as norm_kernel
from fastnn.network.parameters import Parameters, initial_statistics, inputs_of
from fastnn.network.spec import NetworkSpec


class Predictor(Frozen):
    """f(x) = h^(K) with the weights the model had; made by `Model.predictor`.

    Later training does not change it, and threads may call it at the same time. It is called,
    ``f(x)`` or ``f(x, out)``: an array of the model's dtype goes straight into compiled code; other
    input is converted first.

    Attributes
    ----------
    sizes : list of int
        Widths of the layers, [n_in, ..., n_out].
    output : str or object
        Activation of the output layer, as of `Model`.
    dtype : {"float32", "float64"}
    max_batch : int or None
        The most rows of a call.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> X, y = np.eye(2), np.array([0, 1])
    >>> model = fastnn.Model([2, 3, 2], seed=0)
    >>> predict = model.predictor()
    >>> bool((predict(X) == model.forward(X)).all())
    True
    """

    def __init__(
        self,
        network: NetworkSpec,
        theta: np.ndarray,
        statistics: np.ndarray,
        n_threads: int | None,
        max_batch: int | None = None,
    ) -> None:
        """theta, statistics: kept, and not to be written into any more."""
        shapes = (network.n_parameters,), initial_statistics(network).shape
        for name, array, shape in zip(
            ("theta", "statistics"), (theta, statistics), shapes, strict=True
        ):
            if array.shape != shape or array.dtype != network.dtype:
                raise ValueError(
                    f"{name} must be {network.dtype} of shape {shape}, "
                    f"got {array.dtype} of shape {array.shape}"
                )
        hidden = tuple(hidden_kernel(one) for one in network.activations)
        output, loss = kernel(network.output), for_kernel(network.loss, network.n_out)
        norms = tuple(norm_kernel(one) for one in network.norm)
        super().__init__(
            *(network.sizes, hidden, output, loss, network.bias, network.dtype, theta),
            *(norms, statistics, network.input_scale, inputs_of(network)),
            max_batch=max_batch or 0,
        )
        self._network = network
        self._n_threads = n_threads
        self.max_batch = max_batch
        self._theta = theta
        self._statistics = statistics

    @property
    def sizes(self) -> list[int]:
        return list(self._network.sizes)

    @property
    def output(self) -> str | Activation:
        return self._network.output

    @property
    def dtype(self) -> str:
        return self._network.dtype

    def __repr__(self) -> str:
        return f"Predictor({self.sizes}, output={self.output!r}, dtype={self.dtype!r})"

    def __getattr__(self, name: str) -> Any:
        if name == "__signature__":  # compiled code tells none; inspect is slow to import
            from inspect import signature

            return signature(lambda x, out=None: None)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def threads(self) -> int:
        """The most threads that a call may use."""
        return n_threads(self._n_threads)

    def rows(self, X: Any) -> np.ndarray:
        """f(x) of each row of X (n, n_in), which must not be a single sample: (n, n_out)."""
        if isinstance(X, np.ndarray) and X.ndim == 2 and len(X):
            return self(X)
        X = as_features(X, self._network)
        self._few(len(X))
        out = np.empty((len(X), self._network.n_out), self._network.dtype)
        self._pass(X, out)
        return out

    def convert(self, x: Any, out: np.ndarray | None) -> np.ndarray:
        """The call for arguments that compiled code does not take as they are."""
        network = self._network
        single = False
        if not hasattr(x, "indptr") and not hasattr(x, "tocsr"):
            x = as_numbers("x", x)
            single = x.ndim == 1
        x = x[None, :] if single else x
        empty = tuple(x.shape) == (0, network.n_in)
        X = x if empty else as_features(x, network, looked_at=True)
        n = x.shape[0]
        self._few(n)
        shape = (network.n_out,) if single else (n, network.n_out)
        if out is None:
            out = np.empty(shape, network.dtype)
        if not isinstance(out, np.ndarray) or out.dtype != network.dtype or out.shape != shape:
            came = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else repr(type(out))
            raise ValueError(f"out must be a {network.dtype} array of shape {shape}, got {came}")
        if not out.flags.carray or not out.dtype.isnative:
            raise ValueError("out must be C-contiguous, aligned and writable")
        if isinstance(X, np.ndarray) and np.may_share_memory(X, out):
            X = X.copy()
        if n:
            self._pass(X, np.asarray(out))  # a subclass is written through its base
        return out

    def _few(self, n: int) -> None:
        """Refuse more rows than a call may have."""
        if self.max_batch is not None and n > self.max_batch:
            raise ValueError(f"x must have at most {self.max_batch:,} rows (max_batch), got {n:,}")

    def _pass(self, X: Any, out: np.ndarray) -> None:
        if not self.forward(X, out):
            if isinstance(X, np.ndarray):
                as_features(X, self._network)  # says where
            raise ValueError("X times input_scale must be finite")

    def warm_up(self) -> None:
        """Predict made-up rows, one and `max_batch`, so that memory is there and threads run: the
        first call takes no longer than later ones."""
        network = self._network
        for n in {1, self.max_batch or 1}:
            self(np.zeros((n, network.n_in), network.dtype))

    def like(self, n_threads: int | None, max_batch: int | None) -> Predictor:
        """One of the same weights."""
        return Predictor(self._network, self._theta, self._statistics, n_threads, max_batch)

    def parameters(self) -> Parameters:
        """A copy of its weights, as of a model that has taken no step."""
        own = Parameters(self._network, self._theta.copy())
        own.write(self._theta, statistics=self._statistics)
        return own

    def has(self, theta: np.ndarray, statistics: np.ndarray) -> bool:
        """Whether it was made of these bits."""
        pairs = (theta, self._theta), (statistics, self._statistics)
        return all(np.array_equal(one.view(np.uint32), own.view(np.uint32)) for one, own in pairs)

    def __reduce__(self) -> tuple[Any, ...]:
        own = self._network, self._theta, self._statistics, self._n_threads, self.max_batch
        return Predictor, own


class Kept:
    """The predictor of weights that change, made anew when they did.

    Weights that somebody wrote and that are not finite raise ValueError: of NaN, the greatest of
    probabilities would be the first.
    """

    def __init__(self) -> None:
        self._made: tuple[int, Predictor] | None = None

    def predictor(self, parameters: Parameters, n_threads: int | None) -> Predictor:
        made = self._made if self._made and self._made[1]._n_threads == n_threads else None
        if made is not None and made[0] == parameters.settle():
            return made[1]
        version, theta, statistics = parameters.weights()
        if made is not None and made[1].has(theta, statistics):
            predictor = made[1]  # somebody may have written, but has not
        else:
            self._made = made = None  # whose memory the next one may need
            as_finite("the weights theta", theta, parameters.network.dtype)
            predictor = Predictor(parameters.network, theta, statistics, n_threads)
        self._made = version, predictor
        return predictor
