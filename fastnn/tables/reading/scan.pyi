from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy.typing as npt

class Scan:
    def __new__(
        cls,
        delimiter: bytes,
        limits: Sequence[int],
        size: int,
        convert: Callable[[list[str]], npt.NDArray[Any] | None],
        number: Callable[[str], float | None],
    ) -> Self: ...
    @property
    def n_rows(self) -> int: ...
    def feed(self, piece: bytearray, n: int) -> bool: ...
    def finish(self) -> list[tuple[npt.NDArray[Any], list[str] | None, dict[int, str]]]: ...
