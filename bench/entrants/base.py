"""What every entrant is: a library that trains or predicts what a Problem says, in its best way."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import numpy as np

from bench.workloads import Problem

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


class Trainer(Protocol):
    def train(self, epochs: int) -> list[float]: ...


class Entrant:
    """__init__ takes over weights and data and compiles, untimed; the methods are timed.

    `variant` says which of several ways the entrant found the fastest for this problem.
    """

    variant = ""

    def __init__(self, problem: Problem) -> None:
        raise NotImplementedError

    def train(self, epochs: int) -> list[float]:
        """Go on for some epochs; the mean over each one's steps of the loss before the step."""
        raise NotImplementedError

    def predict(self, X: np.ndarray) -> np.ndarray:
        """h^(K) of each row, NumPy in and NumPy out."""
        raise NotImplementedError


def fastest(ways: dict[str, Callable[[], Trainer]], repeats: int = 3) -> tuple[str, Trainer]:
    """Try each way of training for some epochs; a fresh one of the fastest, with its name.

    An expert would measure which layout suits a shape: so may every entrant, before the clock runs.
    """
    return _fastest(ways, lambda trainer: trainer.train(1), repeats)


def fastest_call(
    ways: dict[str, Callable], X: np.ndarray, repeats: int = 5
) -> tuple[str, Callable]:
    """The same for ways to predict: each is a function of X."""
    makers = {name: lambda way=way: way for name, way in ways.items()}
    return _fastest(makers, lambda predict: predict(X), repeats)


def _fastest(ways, use, repeats):
    if len(ways) > 1:
        times = {}
        for name, make in ways.items():
            made = make()
            use(made)
            times[name] = min(_seconds(use, made) for _ in range(repeats))
        best = min(times, key=times.get)
    else:
        best = next(iter(ways))
    return best, ways[best]()


def _seconds(use, made) -> float:
    """Of one use; of short ones the mean over several."""
    n, begin = 0, perf_counter()
    while True:
        use(made)
        n += 1
        passed = perf_counter() - begin
        if passed > 0.005:
            return passed / n
