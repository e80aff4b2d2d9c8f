"""Certainty: intervals and sets of classes that hold the truth as often as they say.

Row i was held out from the members that f_-i averages; s_i is how far off f_-i(x_i) was. A new x
is as far off as any of them, with the same probability:

    amounts   s_i = (y_i - f_-i(x_i)) / s_-i(x_i),  and y is one of the  f_-i(x) + s_-i(x) s_i
    classes   s_i = P_-i(y_i | x_i),  and c is in the set if P_-i(c | x) is not among the least

Cross-conformal, CV+ in each tail: were f_-i blind to row i, at least 1 - 2 alpha of intervals and
sets with coverage 1 - alpha would hold the truth, whatever the distribution, and of rows held out
once (split conformal) 1 - alpha. Here f_-i has chosen the epoch that it was kept at on the fold of
row i, so that is no proof; the tests hold 1 - alpha on new rows.

Barber, Candes, Ramdas & Tibshirani (2021), "Predictive inference with the jackknife+", Annals of
Statistics 49(1). Vovk, Nouretdinov, Manokhin & Gammerman (2018), "Cross-conformal predictive
distributions", COPA. Sadinle, Lei & Wasserman (2019), "Least ambiguous set-valued classifiers with
bounded error levels", JASA 114(525). Romano, Sesia & Candes (2020), NeurIPS, for CV+ of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn.tabular.folds import evenly

MOST = 5000  # rows whose scores are kept
BLOCK = 2_000_000  # numbers of a block of rows times scores: 16 MB


@dataclass
class Scores:
    """How far off held-out rows were.

    Attributes
    ----------
    members : array, (n_groups, n_members)
        Weights, of sum 1, of the members that rows of a group were held out from.
    fold : array of int, (n_groups,)
        The number of the network of the spread that they were held out from.
    group : array of int, (n,)
    score : array, (n,)
    """

    members: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    score: np.ndarray

    def check(self, n_members: int, n_folds: int) -> None:
        """Refuse what no ensemble of so many members has."""
        n_groups = len(self.members)
        if self.members.shape != (n_groups, n_members) or self.group.shape != self.score.shape:
            raise ValueError(f"scores must be of groups of {n_members} members")
        if self.fold.shape != (n_groups,) or not np.isin(self.fold, np.arange(n_folds)).all():
            raise ValueError(f"groups must be of {n_folds} folds")
        if self.group.ndim != 1 or not np.isin(self.group, np.arange(n_groups)).all():
            raise ValueError(f"scores must be of the {n_groups} groups")

    @property
    def n(self) -> int:
        return len(self.score)

    def quantiles(self, f: np.ndarray, s: np.ndarray | None, ranks: np.ndarray) -> np.ndarray:
        """The ranks-th least of f_-i(x) + s_-i(x) s_i, i = 1..n, of each x.

        f, s: (m, n_groups) what each group's members say of each x; s of None is 1. ranks: from 1
        to n. (m, n_ranks).
        """
        result = np.empty((len(f), len(ranks)))
        rows = max(1, BLOCK // self.n)
        for start in range(0, len(f), rows):
            each = self.score if s is None else s[start : start + rows, self.group] * self.score
            values = f[start : start + rows, self.group] + each
            values.partition(np.unique(ranks) - 1, axis=1)
            result[start : start + rows] = values[:, ranks - 1]
        return result

    def interval(
        self, f: np.ndarray, s: np.ndarray | None, coverage: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends for each x; infinite where there are too few scores to tell."""
        tail = (1 - coverage) / 2
        # Against rounding: 0.1 / 2 * 20 is meant to be 1.
        low = int(np.floor(tail * (self.n + 1) + 1e-9))
        high = self.n + 1 - low
        if low < 1:
            return np.full(len(f), -np.inf), np.full(len(f), np.inf)
        lower, upper = self.quantiles(f, s, np.array([low, high])).T
        return lower, upper

    def levels(self, f: np.ndarray, s: np.ndarray | None, q: np.ndarray) -> np.ndarray:
        """The q-quantiles of y given each x, (m, n_q)."""
        ranks = np.ceil(q * (self.n + 1) - 1e-9).astype(np.intp)
        return self.quantiles(f, s, np.clip(ranks, 1, self.n))

    def sets(self, p: np.ndarray, coverage: float) -> np.ndarray:
        """Whether each class belongs to the set of each x, (m, n_classes) bool.

        p: (n_groups, m, n_classes). The share of rows whose own class was no likelier than this one
        is must be above 1 - coverage.
        """
        count = np.zeros(p.shape[1:], np.intp)
        for k, each in enumerate(p):
            own = np.sort(self.score[self.group == k])
            count += np.searchsorted(own, each, side="right")
        return count + 1 > (1 - coverage) * (self.n + 1) + 1e-9


def scores_of(
    folds: np.ndarray, shares: np.ndarray, score: np.ndarray, spread: np.ndarray | None = None
) -> Scores:
    """Scores of at most MOST rows, evenly spread over all.

    folds: (n_bags, n) of each row the member of each bag that it was held out from. shares:
    (n_bags,) of the bags, of which each has as many members. spread: (n,) the network of the spread
    that it was held out from.
    """
    n_bags, n = folds.shape
    n_folds = int(folds.max()) + 1
    own = np.zeros((1, n), np.intp) if spread is None else spread[None]
    kept = evenly(n, MOST)
    keys = np.concatenate([folds, own])[:, kept]
    combinations, group = np.unique(keys, axis=1, return_inverse=True)
    members = np.zeros((combinations.shape[1], n_bags, n_folds))
    for bag, share in enumerate(shares):
        members[np.arange(len(members)), bag, combinations[bag]] = share
    flat = members.reshape(len(members), -1)
    return Scores(flat, combinations[-1], group.reshape(-1), score[kept])
