from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]

def sgd(theta: Reals, grad: Reals, learning_rate: float, n_threads: int) -> None: ...
def momentum(
    theta: Reals,
    grad: Reals,
    velocity: Reals,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    n_threads: int,
) -> None: ...
