from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[Any]
# An id, or id and parameter; with True: parametric.
Activation = int | tuple[int, float] | tuple[int, float, bool]
Norm = tuple[int, float, float]  # id, epsilon, momentum
Column = tuple[int, int, int, int, int, Reals | None]  # kind, column, width, n, size, edges
Phi = tuple[Sequence[Column], bool]  # columns in the order of features, whether they are scaled


class Frozen:
    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[Activation],
        output: Activation,
        loss: tuple[int, dict[str, Any]],
        bias: Sequence[bool],
        dtype: str,
        theta: Reals | None,
        norms: Sequence[Norm | None],
        statistics: Reals | None,
        input_scale: float = 1.0,
        phi: Phi | None = None,
        max_batch: int = 0,
        int8: Sequence[tuple[Any, ...]] | None = None,
        bfloat16: bool = False,
        alone: bool = False,
    ) -> None: ...
    def __call__(self, x: Any, out: Reals | None = None) -> Reals: ...
    def forward(self, X: Any, out: Reals) -> bool: ...
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
    def threads(self) -> int: ...
    def convert(self, x: Any, out: Reals | None) -> Reals: ...

class Mean:
    def __init__(self, members: Sequence[Frozen]) -> None: ...
    def __call__(self, X: Reals, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]: ...

def calibrate(
    p: npt.NDArray[np.float64], smoothing: float, temperature: float, least: float
) -> None: ...
