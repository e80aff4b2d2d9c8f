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
    ) -> None: ...
    def __call__(self, x: Any, out: Reals | None = None) -> Reals: ...
    def threads(self) -> int: ...
    def convert(self, x: Any, out: Reals | None) -> Reals: ...
