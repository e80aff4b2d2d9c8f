from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]
Activation = int | tuple[int, float]  # an id, or id and parameter

class Frozen:
    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[Activation],
        output: Activation,
        bias: Sequence[bool],
        dtype: str,
        theta: Reals,
        input_scale: float = 1.0,
    ) -> None: ...
    def __call__(self, x: Any, out: Reals | None = None) -> Reals: ...
    def forward(self, X: Any, out: Reals) -> None: ...
    def threads(self) -> int: ...
    def convert(self, x: Any, out: Reals | None) -> Reals: ...
