from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.kernels.engine import Engine

class Rows:
    known: list[str | int | bool] | None
    rows: int
    learning_rate: float
    @property
    def n_outputs(self) -> int: ...
    def adopt(
        self,
        engine: Engine,
        table: npt.NDArray[np.float64],
        known: list[Any] | None,
        rows: int,
        amounts: npt.NDArray[np.float64],
        seed: int,
        learning_rate: float,
    ) -> None: ...
    def contents(
        self,
    ) -> tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.float64],
        list[Any] | None,
        int,
        npt.NDArray[np.float64],
    ]: ...
    def as_rate(self, value: Any) -> float: ...
    def as_class(self, y: Any) -> str | int | bool: ...
    def grown(self) -> Engine: ...
    def learn_one(self, x: Mapping[Any, Any], y: Any) -> None: ...
    def predict_one(self, x: Mapping[Any, Any]) -> Any: ...
    def predict_proba_one(self, x: Mapping[Any, Any]) -> dict[Any, float]: ...
