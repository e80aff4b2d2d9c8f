from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]

def forward(
    h_prev: Reals, W: Reals, b: Reals | None, h: Reals, activation: int, n_threads: int
) -> None: ...
