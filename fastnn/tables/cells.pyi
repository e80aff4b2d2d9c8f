from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

def logarithms(x: npt.NDArray[Any], floor: float) -> None: ...
def powers(x: npt.NDArray[Any]) -> None: ...

class Rule:
    def __init__(
        self,
        name: str,
        kind: str,
        start: int,
        places: dict[str, int] | None = None,
        read: Callable[[Any], Any] | None = None,
        parts: list[Rule] | None = None,
        decimal: str = ".",
        shift: float = 0.0,
        scale: float = 1.0,
        median: float = 0.0,
        smooth: bool = False,
        indicator: bool = False,
        floor: float | None = None,
        n: int = 0,
    ) -> None: ...

class Cells:
    def __init__(
        self,
        rules: list[Rule],
        width: int,
        dtype: str,
        fills: bool,
        absent: Callable[[Any], bool] | None = None,
    ) -> None: ...
    def __call__(
        self, row: Mapping[str, Any], quiet: bool = False
    ) -> npt.NDArray[Any] | None: ...
    def each(self, rows: list[Any]) -> tuple[npt.NDArray[Any], list[int]]: ...
