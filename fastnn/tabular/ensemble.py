"""What training a pack leaves: columns, members, their weights, calibration.

    f(x) = sum_m w_m f_m(x);   of classes  calibrated,   of amounts in the user's unit
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.config import BITS_VERSION
from fastnn.kernels.predict import Mean
from fastnn.predictor import Predictor
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import ArrayInputs, TableInputs
from fastnn.tabular.unseen.calibration import Calibration
from fastnn.tabular.unseen.conformal import Scores
from fastnn.tabular.unseen.spread import sizes


@dataclass
class Ensemble:
    """Predicts from rows as `columns.encode` gives them, float32.

    Attributes
    ----------
    columns : Columns
    members : list of Predictor
        They take the same rows.
    weights : array, (n_members,)
        Of sum 1.
    calibration : Calibration
        Of classes.
    scores : Scores
        How far off it was on held-out rows.
    spread : list of Predictor
        Of amounts, how far off it will be, by fold; none where that is alike everywhere.
    bits_version : int
        Of the arithmetic that trained it.
    """

    columns: Columns
    members: list[Predictor]
    weights: np.ndarray
    calibration: Calibration
    scores: Scores
    spread: list[Predictor]
    bits_version: int = BITS_VERSION

    def __post_init__(self) -> None:
        self._mean = Mean(self.members)

    @property
    def n_parameters(self) -> int:
        return sum(member._network.n_parameters for member in self.members)

    def means(self, X: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """sum_m w_m f_m(x) of encoded rows for each row of weights (n_means, n_members):
        (n_means, n, n_out) float64. A row alone comes out as in any batch."""
        return self._mean(X, weights)

    def mean(self, X: np.ndarray) -> np.ndarray:
        """f(x) of encoded rows, (n, n_out)."""
        mean: np.ndarray = self.means(X, self.weights[None])[0]
        return mean

    def groups(self, X: np.ndarray) -> np.ndarray:
        """What the members say that a group of held-out rows was held out from, (n_groups, n,
        n_out)."""
        return self.means(X, self.scores.members)

    def answers(self, f: np.ndarray) -> np.ndarray:
        """What f(x), (n, n_out), means: calibrated probabilities of classes, (n, n_classes), or
        amounts in the target's unit, (n,); float64."""
        return self.columns.decode(f)[:, 0] if self.columns.amounts else self.calibration(f)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Answers for encoded rows."""
        return self.answers(self.mean(X))

    def predict_unseen(self, X: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Answers by the members that the group (n,) of each encoded row was held out from."""
        f = np.empty((len(X), self.members[0].sizes[-1]))
        for k in np.unique(group):
            rows = np.flatnonzero(group == k)
            f[rows] = self.means(X[rows], self.scores.members[k : k + 1])[0]
        return self.answers(f)

    def _spread(self, X: np.ndarray) -> np.ndarray | None:
        """s(x) by each group's network, (n, n_groups)."""
        if not self.spread:
            return None
        each = np.stack([sizes(one, X) for one in self.spread], 1)
        return each[:, self.scores.fold]

    def intervals(self, X: np.ndarray, coverage: float) -> np.ndarray:
        """(n, 2) in the target's unit."""
        f = self.groups(X)[:, :, 0].T
        ends = np.stack(self.scores.interval(f, self._spread(X), coverage), 1)
        return self.columns.in_units(ends)

    def quantiles(self, X: np.ndarray, q: np.ndarray) -> np.ndarray:
        """(n, n_q) in the target's unit."""
        f = self.groups(X)[:, :, 0].T
        return self.columns.in_units(self.scores.levels(f, self._spread(X), q))

    def sets(self, X: np.ndarray, coverage: float) -> np.ndarray:
        """(n, n_classes) bool; the likeliest class of each row is among them."""
        p = np.stack([self.calibration(one) for one in self.groups(X)])
        held = self.scores.sets(p, coverage)
        held[np.arange(len(held)), self.mean(X).argmax(1)] = True
        return held

    def features(self) -> dict[str, list[int]]:
        """The features of each column, by its name."""
        inputs = self.columns.inputs
        if isinstance(inputs, ArrayInputs):
            n = len(inputs.scale)
            gaps = {j: n + k for k, j in enumerate(inputs.indicated)}
            return {f"x{j}": [j, *([gaps[j]] if j in gaps else [])] for j in range(n)}
        assert isinstance(inputs, TableInputs)
        return {column.name: [*range(at.start, at.stop)] for column, at in inputs.features()}
