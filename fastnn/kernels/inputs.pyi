from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

Reals = npt.NDArray[Any]
Column = tuple[int, int, int, int, int, Reals | None]  # kind, column, width, n, size, edges
Phi = tuple[Sequence[Column], bool]  # columns in the order of features, whether they are scaled

KINDS: dict[str, int]
