"""Predict-then-train: what a learner scores on rows that it has not learned yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastnn.checks import as_int
from fastnn.online.learner import Learner

LEAST = 1e-15  # a probability, for its logarithm


def prequential(
    learner: Learner, rows: Iterable[tuple[Mapping[Any, Any], Any]], *, every: int = 1000
) -> Iterator[dict[str, float]]:
    """Predict each row, then learn it; what the predictions score.

    Parameters
    ----------
    learner : Learner
    rows : iterable of (x, y)
        As of `Learner.learn_one`; it may be endless.
    every : int, default 1000
        Rows from one dict of scores to the next; of a stream that ends the last one comes, too.

    Yields
    ------
    dict
        "rows", and of all of them: "accuracy" and "log_loss" of classes (one that was not known
        yet had the probability 1e-15), "mae", "rmse" and "r2" of amounts; and with "recent_" before
        its name each of the rows since the dict before.

    References
    ----------
    Gama, Sebastião & Rodrigues (2013), "On evaluating stream learning algorithms", Machine
    Learning 90.

    Examples
    --------
    >>> import fastnn
    >>> rows = (({"hour": n % 24}, n % 24 < 12) for n in range(3000))
    >>> learner = fastnn.online.Learner(seed=0)
    >>> *_, last = fastnn.online.prequential(learner, rows)
    >>> last["rows"], last["recent_accuracy"] > 0.9
    (3000, True)
    """
    every = as_int("every", every, 1)
    amounts = learner.classes is None
    score, answers = (_of_amount, _amounts) if amounts else (_of_class, _classes)
    total: list[float] = []
    recent: list[float] = []
    for x, y in rows:
        one = score(learner, x, y)
        learner.learn_one(x, y)
        recent = [a + b for a, b in zip(recent, one, strict=True)] if recent else one
        if recent[0] == every:
            total = [a + b for a, b in zip(total, recent, strict=True)] if total else recent
            yield answers(total, recent)
            recent = []
    if recent:
        total = [a + b for a, b in zip(total, recent, strict=True)] if total else recent
        yield answers(total, recent)


def _of_class(learner: Learner, x: Mapping[Any, Any], y: Any) -> list[float]:
    """1, whether the likeliest class is y, -ln p(y)."""
    p = learner.predict_proba_one(x)
    right = bool(p) and max(p, key=lambda one: p[one]) == y
    return [1, float(right), -math.log(max(p.get(y, 0.0), LEAST))]


def _classes(total: list[float], recent: list[float]) -> dict[str, float]:
    scores: dict[str, float] = {"rows": int(total[0])}
    for name, (n, right, loss) in (("", total), ("recent_", recent)):
        scores |= {f"{name}accuracy": right / n, f"{name}log_loss": loss / n}
    return scores


def _of_amount(learner: Learner, x: Mapping[Any, Any], y: Any) -> list[float]:
    """1, |e|, e^2, y, y^2 where e = y - f(x)."""
    y = float(y)
    e = y - learner.predict_one(x)
    return [1, abs(e), e * e, y, y * y]


def _amounts(total: list[float], recent: list[float]) -> dict[str, float]:
    scores: dict[str, float] = {"rows": int(total[0])}
    for name, (n, absolute, squared, sum_y, sum_y2) in (("", total), ("recent_", recent)):
        spread = sum_y2 - sum_y * sum_y / n
        scores |= {
            f"{name}mae": absolute / n,
            f"{name}rmse": math.sqrt(squared / n),
            f"{name}r2": 1 - squared / spread if spread > 0 else math.nan,
        }
    return scores
