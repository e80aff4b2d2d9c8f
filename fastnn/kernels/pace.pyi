from collections.abc import Callable

def simulate(
    cost: Callable[[int, float], float], most: int, duration: float
) -> list[tuple[float, int]]: ...
