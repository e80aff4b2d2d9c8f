from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[Any]
Activation = int | tuple[int, float]  # an id, or id and parameter

def output_delta(
    a: Reals,
    y: npt.NDArray[Any],
    h: Reals,
    delta: Reals,
    losses: npt.NDArray[np.float64],
    output: Activation,
    loss: tuple[int, dict[str, Any]],
    n_threads: int,
) -> None: ...
