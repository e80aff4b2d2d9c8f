from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[Any]  # float32 or float64, the engine's dtype

class Engine:
    n_states: int
    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[int],
        output: int,
        loss: int,
        bias: Sequence[bool],
        dtype: str,
        batch: int = 1,
        optimizer: int = 0,
        input_scale: float = 1.0,
    ) -> None: ...
    def load(self, theta: Reals, state: Reals | None = None) -> None: ...
    def store(self, theta: Reals, state: Reals | None = None) -> None: ...
    def train(
        self,
        X: Any,
        y: npt.NDArray[Any],
        order: npt.NDArray[np.intp],
        batch: int,
        rates: dict[str, float],
        taken: int,
        losses: npt.NDArray[np.float64],
        n_threads: int,
    ) -> int: ...
    def gradient(self, X: Any, y: npt.NDArray[Any], grad: Reals, n_threads: int) -> float: ...
    def forward(self, X: Any, out: Reals, n_threads: int) -> None: ...
    def loss(self, X: Any, y: npt.NDArray[Any], out: Reals, n_threads: int) -> float: ...
