from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]

RATES: dict[str, float]

def update(
    theta: Reals,
    grad: Reals,
    state: Reals,
    optimizer: int,
    rates: dict[str, float],
    n_step: int,
    n_threads: int,
) -> None: ...
