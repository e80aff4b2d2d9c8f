from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]
Activation = int | tuple[int, float]  # an id, or id and parameter

def normalise(
    u: Reals,
    gamma: Reals,
    beta: Reals | None,
    mean: Reals | None,
    variance: Reals | None,
    xhat: Reals,
    a: Reals,
    h: Reals,
    inv: Reals,
    kind: int,
    epsilon: float,
    activation: Activation,
) -> None: ...
def normalise_delta(
    delta: Reals,
    xhat: Reals,
    gamma: Reals,
    inv: Reals,
    du: Reals,
    grad_gamma: Reals,
    kind: int,
) -> None: ...
