from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[Any]  # float32 or float64, the engine's dtype
# An id, or id and parameter; with True: parametric.
Activation = int | tuple[int, float] | tuple[int, float, bool]
Norm = tuple[int, float, float]  # id, epsilon, momentum
Column = tuple[int, int, int, int, int, Reals | None]  # kind, column, width, n, size, edges
Phi = tuple[Sequence[Column], bool]  # columns in the order of features, whether they are scaled

class Engine:
    n_states: int
    @property
    def bytes(self) -> int: ...
    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[Activation],
        output: Activation,
        loss: tuple[int, dict[str, Any]],
        bias: Sequence[bool],
        dtype: str,
        batch: int = 1,
        optimizer: int = 0,
        dropout: Sequence[float] = (),
        noise: Sequence[float] = (),
        norms: Sequence[Norm | None] = (),
        input_scale: float = 1.0,
        phi: Phi | None = None,
        directions: Sequence[Reals] | None = None,
        bfloat16: bool = False,
    ) -> None: ...
    def load(
        self, theta: Reals, state: Reals | None = None, statistics: Reals | None = None
    ) -> None: ...
    def store(
        self, theta: Reals, state: Reals | None = None, statistics: Reals | None = None
    ) -> None: ...
    def all_finite(self) -> bool: ...
    def trim(self) -> None: ...
    def train(
        self,
        X: Any,
        y: npt.NDArray[Any],
        order: npt.NDArray[np.intp],
        batch: int,
        rates: dict[str, float],
        counts: npt.NDArray[np.int64],
        losses: npt.NDArray[np.float64],
        n_threads: int,
        learning_rates: npt.NDArray[np.float64] | None = None,
        weights: npt.NDArray[np.float64] | None = None,
        keys: npt.NDArray[np.uint64] | None = None,
        squares: npt.NDArray[np.float64] | None = None,
        least: float = 0.0,
        weight_decays: npt.NDArray[np.float64] | None = None,
        dropout_factors: npt.NDArray[np.float64] | None = None,
    ) -> int: ...
    def sure_step(
        self,
        X: Any,
        y: npt.NDArray[Any],
        learning_rate: float,
        counts: npt.NDArray[np.int64],
    ) -> float | None: ...
    def gradient(
        self,
        X: Any,
        y: npt.NDArray[Any],
        grad: Reals,
        n_threads: int,
        weights: npt.NDArray[np.float64] | None = None,
        order: npt.NDArray[np.intp] | None = None,
    ) -> float: ...
    def forward(self, X: Any, out: Reals, n_threads: int) -> None: ...
    def loss(
        self,
        X: Any,
        y: npt.NDArray[Any],
        out: Reals,
        n_threads: int,
        weights: npt.NDArray[np.float64] | None = None,
        loss: tuple[int, dict[str, Any]] | None = None,
        order: npt.NDArray[np.intp] | None = None,
    ) -> float: ...
