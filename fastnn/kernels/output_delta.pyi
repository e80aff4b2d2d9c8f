from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[Any]

def output_delta(
    a: Reals,
    y: npt.NDArray[Any],
    h: Reals,
    delta: Reals,
    losses: npt.NDArray[np.float64],
    output: int,
    loss: tuple[int, dict[str, Any]],
    n_threads: int,
) -> None: ...
