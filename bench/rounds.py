"""From times of interleaved rounds to numbers: disturbed turns dropped, medians, ratios.

A turn is one entrant's timed run. The machine's cores are measured before and after it (the
canary); a turn beside which a core ran below GOOD of its best is disturbed: kept, but not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

GOOD = 0.85


@dataclass(frozen=True)
class Turn:
    seconds: float  # of one epoch or call
    before: tuple[float, ...]  # rate of each core
    after: tuple[float, ...]


def best_rates(rounds: Sequence[Sequence[Turn]]) -> list[float]:
    """Of each core the best of the rounds' median rates: what the machine can do undisturbed."""
    medians = []
    for turns in rounds:
        rates = [turn.before for turn in turns] + [turns[-1].after]
        medians.append([median(core) for core in zip(*rates, strict=True)])
    return [max(core) for core in zip(*medians, strict=True)]


def is_good(turn: Turn, best: Sequence[float]) -> bool:
    pairs = zip(best, turn.before, turn.after, strict=True)
    return all(min(before, after) >= GOOD * rate for rate, before, after in pairs)


def median_ratio(ours: Sequence[Turn], theirs: Sequence[Turn], best: Sequence[float]) -> float:
    """Median over rounds of their time / our time; nan where no round has two good turns."""
    ratios = ratios_of_rounds(ours, theirs, best)
    return median(ratios) if ratios else float("nan")


def ratios_of_rounds(ours, theirs, best) -> list[float]:
    return [
        their.seconds / our.seconds
        for our, their in zip(ours, theirs, strict=True)
        if is_good(our, best) and is_good(their, best)
    ]


def spread(values: Sequence[float]) -> float:
    """Interquartile range."""
    if len(values) < 2:
        return 0.0
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low
