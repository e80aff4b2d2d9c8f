"""How far off predictions of amounts are, row by row: small networks that have learned it.

    ln |y_i - f_-i(x_i)|  ->  g_-i(x_i),  and  s(x) = exp(g(x)),  a median of what is to be expected

Each network learns from the rows out of its fold: s_-i has not learned from row i. Intervals of
f(x) +- s(x) times what held-out rows were off by, in these units, are wide where they must be.

Papadopoulos, Gammerman & Vovk (2008), "Normalized nonconformity measures for regression conformal
prediction", AIA; Lei, G'Sell, Rinaldo, Tibshirani & Wasserman (2018), "Distribution-free predictive
inference for regression", JASA 113(523), section 5.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastnn.many import fit_many
from fastnn.model import Model
from fastnn.predictor import Predictor
from fastnn.random import SPREAD, raw
from fastnn.training.callbacks import EarlyStopping
from fastnn.training.optimizers import Adam
from fastnn.training.schedules import OneCycle

FEWEST = 200  # rows: of fewer nothing is learned
EPOCHS = 40
NARROWER = 0.98  # of the widths without, or they are not worth their networks


class Spread(NamedTuple):
    """Networks of s, one for each fold, and s of each held-out row by who has not seen it."""

    members: list[Predictor]
    fold: np.ndarray  # (n,)
    unseen: np.ndarray  # (n,)


def learn_spread(
    X: np.ndarray, off: np.ndarray, fold: np.ndarray, seed: int, n_threads: int | None
) -> Spread | None:
    """From encoded rows, what predictions of them were off by (n,), and their folds; None where the
    spread does not depend on x enough to tell."""
    size = np.abs(off)
    middle = float(np.median(size))
    if len(X) < FEWEST or middle == 0:
        return None
    y = np.log(np.maximum(size / middle, 1e-3))[:, None]
    n_folds = int(fold.max()) + 1
    models = [
        Model(
            [X.shape[1], 64, 1],
            activation="relu",
            output="identity",
            loss="absolute_error",
            seed=int(raw(seed, SPREAD, k, 1)[0]),
        )
        for k in range(n_folds)
    ]
    fit_many(
        models,
        *(X, y),
        rows=[np.flatnonzero(fold != k) for k in range(n_folds)],
        held_out=[np.flatnonzero(fold == k) for k in range(n_folds)],
        n_threads=n_threads,
        epochs=EPOCHS,
        batch_size=256,
        optimizer=Adam(OneCycle(0.003)),
        callbacks=[[EarlyStopping(patience=None)] for _ in models],
    )
    members = [model.predictor() for model in models]
    unseen = np.empty(len(X))
    for k, member in enumerate(members):
        rows = np.flatnonzero(fold == k)
        unseen[rows] = sizes(member, X[rows])
    without = np.quantile(size, 0.9)
    widths = unseen * np.quantile(size / unseen, 0.9)
    if not widths.mean() < NARROWER * without:
        return None
    return Spread(members, fold, unseen)


def sizes(member: Predictor, X: np.ndarray) -> np.ndarray:
    """s(x) of encoded rows, (n,), but for a unit that all have; none beyond e^-5 and e^5."""
    return np.exp(np.clip(member(X)[:, 0].astype(np.float64), -5, 5))
