from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]

def hidden_delta(
    delta: Reals, W: Reals, h_prev: Reals, delta_prev: Reals, activation: int, n_threads: int
) -> None: ...
def gradient(
    delta: Reals, h_prev: Reals, grad_W: Reals, grad_b: Reals | None, n_threads: int
) -> None: ...
