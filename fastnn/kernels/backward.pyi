from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]
Activation = int | tuple[int, float]  # an id, or id and parameter

def hidden_delta(
    delta: Reals, W: Reals, slope: Reals, delta_prev: Reals, activation: Activation, n_threads: int
) -> None: ...
def gradient(
    delta: Reals, h_prev: Reals, grad_W: Reals, grad_b: Reals | None, n_threads: int
) -> None: ...
def parametric_delta(dh: Reals, d: Reals, e: Reals, delta: Reals, grad_alpha: Reals) -> None: ...
