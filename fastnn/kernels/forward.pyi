from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]
Activation = int | tuple[int, float]  # an id, or id and parameter

def forward(
    h_prev: Reals, W: Reals, b: Reals | None, h: Reals, activation: Activation, n_threads: int
) -> None: ...
def slope(a: Reals, d: Reals, activation: Activation) -> None: ...
def parametric(
    a: Reals, alpha: Reals, h: Reals, d: Reals, e: Reals, activation: Activation
) -> None: ...
