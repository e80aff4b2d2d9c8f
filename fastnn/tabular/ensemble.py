"""What training a pack leaves: columns, members, their weights, calibration.

    f(x) = sum_m w_m f_m(x);   of classes  softmax(ln(f) / T),   of amounts in the user's unit
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.predictor import Predictor
from fastnn.tables.columns import Columns
from fastnn.tabular.calibration import heated

ROWS = 8192  # a block of rows that goes through all members while it lies in the cache


@dataclass
class Ensemble:
    """Predicts from rows.

    Attributes
    ----------
    columns : Columns
    members : list of Predictor
        Each takes rows as `columns.encode` gives them.
    weights : array, (n_members,)
        Of sum 1.
    temperature : float
        Of classes.
    """

    columns: Columns
    members: list[Predictor]
    weights: np.ndarray
    temperature: float = 1.0

    @property
    def n_parameters(self) -> int:
        return sum(member._network.n_parameters for member in self.members)

    def encode(self, X: Any) -> np.ndarray:
        """Rows as all members take them."""
        return self.columns.encode(X, "float32")

    def mean(self, X: np.ndarray) -> np.ndarray:
        """sum_m w_m f_m(x) of encoded rows, (n, n_out) float64: a row alone as in any batch."""
        n_out = self.members[0].sizes[-1]
        total = np.zeros((len(X), n_out))
        f = np.empty((min(len(X), ROWS), n_out), np.float32)
        for start in range(0, len(X), ROWS):
            block, part = X[start : start + ROWS], total[start : start + ROWS]
            out = f[: len(block)]
            for member, weight in zip(self.members, self.weights, strict=True):
                member(block, out)
                part += np.multiply(out, weight, dtype=np.float64)
        return total

    def probabilities(self, X: Any) -> np.ndarray:
        """Of classes, (n, n_classes) float64, calibrated."""
        return heated(self.mean(self.encode(X)), self.temperature)

    def values(self, X: Any) -> np.ndarray:
        """Of amounts, (n,) float64 in the target's unit."""
        return self.columns.decode(self.mean(self.encode(X)))[:, 0]
