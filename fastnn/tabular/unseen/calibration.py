"""Probabilities that mean what they say: smoothing taken back, and temperature scaling.

    q = (p - s / C) / (1 - s)      what p is where networks learn labels smoothed by s
    p' = softmax(ln(q) / T)        T > 1 makes probabilities less sure, T < 1 surer

for C classes. Order and decisions stay. How much of the smoothing is taken back, and T, are what
the log loss on held-out rows says.

Szegedy, Vanhoucke, Ioffe, Shlens & Wojna (2016), "Rethinking the Inception architecture for
computer vision", CVPR (the smoothing); Guo, Pleiss, Sun & Weinberger (2017), "On calibration of
modern neural networks", ICML (T).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastnn.kernels.predict import calibrate
from fastnn.training.metrics import log_loss

PARTS = 0.0, 0.5, 0.8, 0.9, 0.95  # of the smoothing that may be taken back
FLOOR = 1e-4  # what is left of a probability, at least, where smoothing is taken back
COLDEST, HOTTEST = 0.05, 20.0  # between which T is sought
LEAST = 1e-30  # probabilities below count as this: float32 may round them to 0


class Calibration(NamedTuple):
    """What makes probabilities of members' mean."""

    smoothing: float = 0.0  # that is taken back
    temperature: float = 1.0

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """Of p (n, n_classes), float64."""
        q = np.array(p, np.float64, order="C")
        calibrate(q, self.smoothing, self.temperature, FLOOR if self.smoothing else LEAST)
        return q


def calibration_of(
    p: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, smoothing: float
) -> Calibration:
    """The calibration with the least log loss on rows that p was not trained on; smoothing: of the
    labels that were learned."""
    best, least = Calibration(), np.inf
    for part in PARTS if smoothing else PARTS[:1]:
        q = Calibration(part * smoothing)(p)
        one = Calibration(part * smoothing, temperature_of(q, labels, weights))
        loss = log_loss(labels, one(p), True, weights)
        if loss < least:
            best, least = one, loss
    return best


def temperature_of(
    p: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """T whose probabilities have the least log loss on rows that p was not trained on.

    In b = 1/T the loss L(b) = mean [ln sum_j exp(b z_j) - b z_y], z = ln p, is convex:

        L'(b) = mean (E[z] - z_y),   L''(b) = mean Var[z]   under softmax(b z)

    so Newton's steps are kept within a shrinking interval that holds the root of L'. Each label
    gives one part in n + 1 to all classes alike, or b would grow without end where all are right.
    """
    z = np.log(np.maximum(np.asarray(p, np.float64), LEAST))
    n = len(z)
    share = 1.0 if weights is None else weights / weights.mean()
    own = (n * z[np.arange(n), labels] + z.mean(1)) / (n + 1)
    low, high = 1 / HOTTEST, 1 / COLDEST
    b = 1.0
    for _ in range(100):
        q = z * b
        q -= q.max(1, keepdims=True)
        np.exp(q, out=q)
        q /= q.sum(1, keepdims=True)
        mean = (q * z).sum(1)
        slope = float((share * (mean - own)).mean())
        bend = float((share * (q * (z - mean[:, None]) ** 2).sum(1)).mean())
        low, high = (low, b) if slope > 0 else (b, high)
        step = b - slope / bend if bend > 0 else math.nan
        new = step if low < step < high else (low + high) / 2
        if abs(new - b) <= 1e-10 * b:
            break
        b = new
    return 1 / b
