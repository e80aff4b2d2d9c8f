"""What is learned: points of two classes in the plane, and handwritten digits.

Every number comes from the seed. Coordinates are rounded to four digits, so that cosines that
differ in their last bit between machines do not show.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.errors import optional
from fastnn.random import POINTS, normal, permutation, uniform
from fastnn.values import Value

N_POINTS = 160  # to learn from, and as many to measure on
N_DIGITS = 1200  # of 1,797; the others are to measure on


class Problem(Value, eq=False):
    """Rows to learn from and rows to measure on."""

    title: str
    told: str  # what the classes are, and what is hard in them
    X: np.ndarray  # (n, n_in), float32
    y: np.ndarray  # labels
    X_test: np.ndarray
    y_test: np.ndarray

    @property
    def n_in(self) -> int:
        return int(self.X.shape[1])

    @property
    def n_classes(self) -> int:
        return int(self.y.max()) + 1

    @property
    def plane(self) -> bool:
        """Whether the rows are points that can be drawn."""
        return self.n_in == 2

    def scaled(self, *factors: float) -> Problem:
        """With its columns in other units."""
        by = np.array(factors, np.float32)
        X, X_test = self.X * by, self.X_test * by
        return Problem(self.title, self.told, X, self.y, X_test, self.y_test)


def make(name: str, seed: int) -> Problem:
    title, told, points = PROBLEMS[name]
    return Problem(title, told, *points(seed))


def _halves(seed: int, points: Any) -> tuple[np.ndarray, ...]:
    """Points to learn from, and others of the same kind. points: of labels (n,) and n x 4 random
    numbers, two of [0, 1) and two of N(0, 1)."""
    found: list[np.ndarray] = []
    for half in (0, 1):
        labels = np.arange(N_POINTS) % 2
        even = uniform(seed, POINTS, 2 * half, 2 * N_POINTS).reshape(N_POINTS, 2)
        noise = normal(seed, POINTS, 2 * half + 1, 2 * N_POINTS).reshape(N_POINTS, 2)
        X = np.column_stack(points(labels, even, noise))
        found += [np.round(X, 4).astype(np.float32), labels]
    return tuple(found)


def xor(seed: int) -> tuple[np.ndarray, ...]:
    def points(labels: np.ndarray, even: np.ndarray, noise: np.ndarray) -> Any:
        right = np.where(even[:, 0] < 0.5, 1, -1)
        above = np.where(labels == 1, -right, right)
        return right + 0.3 * noise[:, 0], above + 0.3 * noise[:, 1]

    return _halves(seed, points)


def circles(seed: int) -> tuple[np.ndarray, ...]:
    def points(labels: np.ndarray, even: np.ndarray, noise: np.ndarray) -> Any:
        radius = np.where(labels == 1, 1.3, 0.7 * np.sqrt(even[:, 1])) + 0.08 * noise[:, 0]
        angle = 2 * np.pi * even[:, 0]
        return radius * np.cos(angle), radius * np.sin(angle)

    return _halves(seed, points)


def spirals(seed: int) -> tuple[np.ndarray, ...]:
    def points(labels: np.ndarray, even: np.ndarray, noise: np.ndarray) -> Any:
        way = np.sqrt(even[:, 0])
        radius, angle = 0.15 + 1.4 * way, 1.4 * 2 * np.pi * way + np.pi * labels
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        return x + 0.04 * noise[:, 0], y + 0.04 * noise[:, 1]

    return _halves(seed, points)


def digits(seed: int) -> tuple[np.ndarray, ...]:
    data = optional("sklearn.datasets", "fastnn learn digits", "scikit-learn").load_digits()
    order = permutation(seed, POINTS, 0, len(data.target))
    X, y = (data.data[order] / 16).astype(np.float32), data.target[order]
    return X[:N_DIGITS], y[:N_DIGITS], X[N_DIGITS:], y[N_DIGITS:]


PROBLEMS: dict[str, tuple[str, str, Any]] = {
    "xor": (
        "XOR",
        "Four clouds of points; class 1 where exactly one coordinate is above 0. No straight line "
        "parts the classes, so a network without hidden units cannot learn it.",
        xor,
    ),
    "circles": (
        "circles",
        "Class 1 lies around class 0. A hidden unit draws one straight line; it takes at least "
        "three of them to close a ring.",
        circles,
    ),
    "spirals": (
        "spirals",
        "Two arms wound around each other: the boundary has to follow them, which takes more "
        "units, more layers and more epochs.",
        spirals,
    ),
    "digits": (
        "handwritten digits",
        "Handwritten digits of 8 x 8 pixels, each a number from 0 (paper) to 1 (ink); ten classes.",
        digits,
    ),
}
