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
from fastnn.tabular.conformal import Scores

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
    scores : Scores
        How far off it was on held-out rows.
    """

    columns: Columns
    members: list[Predictor]
    weights: np.ndarray
    temperature: float
    scores: Scores

    @property
    def n_parameters(self) -> int:
        return sum(member._network.n_parameters for member in self.members)

    def encode(self, X: Any) -> np.ndarray:
        """Rows as all members take them."""
        return self.columns.encode(X, "float32")

    def means(self, X: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """sum_m w_m f_m(x) of encoded rows for each row of weights (n_means, n_members):
        (n_means, n, n_out) float64. A row alone comes out as in any batch."""
        n_out = self.members[0].sizes[-1]
        totals = np.zeros((len(weights), len(X), n_out))
        f = np.empty((min(len(X), ROWS), n_out), np.float32)
        for start in range(0, len(X), ROWS):
            block = X[start : start + ROWS]
            out = f[: len(block)]
            for member, shares in zip(self.members, weights.T, strict=True):
                member(block, out)
                for total, share in zip(totals, shares, strict=True):
                    if share:
                        part = total[start : start + ROWS]
                        part += np.multiply(out, share, dtype=np.float64)
        return totals

    def mean(self, X: Any) -> np.ndarray:
        """f(x) of each row, (n, n_out)."""
        return self.means(self.encode(X), self.weights[None])[0]

    def groups(self, X: Any) -> np.ndarray:
        """What the members say that a group of held-out rows was held out from, (n_groups, n,
        n_out)."""
        return self.means(self.encode(X), self.scores.members)

    def probabilities(self, X: Any) -> np.ndarray:
        """Of classes, (n, n_classes) float64, calibrated."""
        return heated(self.mean(X), self.temperature)

    def values(self, X: Any) -> np.ndarray:
        """Of amounts, (n,) float64 in the target's unit."""
        return self.columns.decode(self.mean(X))[:, 0]

    def intervals(self, X: Any, coverage: float) -> np.ndarray:
        """(n, 2) in the target's unit."""
        ends = np.stack(self.scores.interval(self.groups(X)[:, :, 0].T, coverage), 1)
        return self.columns.in_units(ends)

    def quantiles(self, X: Any, q: np.ndarray) -> np.ndarray:
        """(n, n_q) in the target's unit."""
        return self.columns.in_units(self.scores.levels(self.groups(X)[:, :, 0].T, q))

    def sets(self, X: Any, coverage: float) -> np.ndarray:
        """(n, n_classes) bool; the likeliest class of each row is among them."""
        groups = self.groups(X)
        heat = [heated(one, self.temperature) for one in groups]
        held = self.scores.sets(np.stack(heat), coverage)
        held[np.arange(len(held)), self.mean(X).argmax(1)] = True
        return held
