"""Random recipes: the space in which RealMLP was tuned.

Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
trees on tabular data", NeurIPS (arXiv:2407.04491): RealMLP-HPO. Of its four kinds of embeddings
there are two here, and labels are smoothed as the default's are: what networks say of classes can
be compared and averaged where all have learned the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from fastnn.checks import name_of
from fastnn.network.activations import Parametric
from fastnn.random import SEARCH, uniform
from fastnn.tabular.recipes import (
    FEWEST,
    STEPS,
    Features,
    Pack,
    Recipe,
    as_pack,
    td,
    td_s,
    usual_budget,
)
from fastnn.training.schedules import CosLog, FlatCosine, Schedule

WORDS = 16  # random numbers of a recipe, at most
IN_TIME = 24, 12, 6  # trials for which there is room in time, fewer where several folds need it


class Draw:
    """The random choices of recipe `number` of a search."""

    def __init__(self, seed: int, number: int) -> None:
        self._u: Iterator[float] = iter(uniform(seed, SEARCH, number, WORDS).tolist())

    def one_of(self, *options: Any) -> Any:
        """One of them, each as likely as another."""
        return options[int(next(self._u) * len(options))]

    def log(self, low: float, high: float) -> float:
        """Uniform in the logarithm; three digits, which are the same on every machine."""
        return float(f"{low * (high / low) ** next(self._u):.3g}")


def realmlp(draw: Draw, task: str) -> Recipe:
    """RealMLP-TD with other hidden layers, activations, rates, penalties and embeddings."""
    given = td(task)
    decay, dropout = draw.one_of(0.0, 0.02), draw.one_of(*[0.0] * 3, *[0.15] * 5, *[0.3] * 2)
    return replace(
        given,
        hidden=draw.one_of(*[(256,) * 3] * 3, (64,) * 5, (512,)),
        activation=Parametric(draw.one_of("relu", "selu", "mish")),
        optimizer=replace(
            given.optimizer,
            learning_rate=CosLog(draw.log(0.02, 0.3)),
            weight_decay=FlatCosine(decay) if decay else 0.0,
        ),
        drop_last=False,
        dropout=dropout,
        dropout_schedule=FlatCosine(1.0) if dropout else None,
        frequencies=draw.one_of(0, 16),
        periodic_std=draw.log(0.05, 0.5),
        feature_scale=draw.one_of(*[True] * 3, *[False] * 2),
    )


def first_pack(
    trials: int | None,
    task: str,
    n_rows: int,
    features: Features,
    n_classes: int,
    budget: float | None,
) -> Pack:
    """What a search begins with: folds, RealMLP-TD-S, whose operations are those of each trial, and
    the default's networks.

    budget: operations of all trials, about; None: each takes those of a default ensemble.
    """
    first, n_out = replace(td_s(task), drop_last=False), max(n_classes, 1)
    several = min(max(STEPS * first.batch_size / n_rows, FEWEST), 64)

    def epochs(n_folds: int) -> int:
        rows = n_rows - n_rows // (n_folds if n_folds > 1 else 5)
        return int(each / (n_folds * _epoch(first, rows, features, n_out)))

    n_folds = 1
    for n in [trials] if trials else IN_TIME:
        each = min(usual_budget(n_rows), math.inf if budget is None else budget / n)
        n_folds = 5 if epochs(5) >= several else 1
        if n_folds > 1:
            break
    first = replace(first, epochs=min(max(epochs(n_folds), FEWEST), first.epochs))
    usual = as_pack("auto", task, n_rows, features, n_classes).recipes
    others = (_alike(one, first, n_rows, features, n_out) for one in usual)
    return Pack((first, *(one for one in others if one != first)), n_folds)


def drawn(
    seed: int, number: int, pack: Pack, task: str, n_rows: int, features: Features, n_out: int
) -> Recipe:
    """Recipe `number` of a search that began with `pack`."""
    if number < len(pack.recipes):
        return pack.recipes[number]
    return _alike(realmlp(Draw(seed, number), task), pack.recipes[0], n_rows, features, n_out)


def _alike(recipe: Recipe, first: Recipe, n_rows: int, features: Features, n_out: int) -> Recipe:
    """It with labels smoothed as the first's and epochs for about as many operations as that."""
    whole = first.epochs * _epoch(first, n_rows, features, n_out)
    epochs = int(whole / _epoch(recipe, n_rows, features, n_out))
    epochs = min(max(epochs, FEWEST), Recipe.epochs)
    return replace(recipe, epochs=epochs, label_smoothing=first.label_smoothing)


def _epoch(recipe: Recipe, n_rows: int, features: Features, n_out: int) -> float:
    return replace(recipe, epochs=1).operations(n_rows, features, n_out)


def in_words(recipe: Recipe) -> str:
    """A recipe in a line: what random ones differ in."""
    layers = [(width, len([*same])) for width, same in groupby(recipe.hidden)]
    rate, decay = (
        of.learning_rate if isinstance(of, Schedule) else of
        for of in (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay)
    )
    parts = [
        ", ".join(f"{n} x {width}" if n > 1 else f"{width}" for width, n in layers) or "no layer",
        name_of(getattr(recipe.activation, "activation", recipe.activation)),
        f"rate {rate:g}",
        *([f"decay {decay:g}"] if decay else []),
        *([f"dropout {recipe.dropout:g}"] if recipe.dropout else []),
        *([f"periodic {recipe.periodic_std:g}"] if recipe.frequencies else []),
        *([f"{recipe.bins} bins"] if recipe.bins else []),
        *(["scaled"] if recipe.feature_scale else []),
    ]
    return f"{', '.join(parts)}, {recipe.epochs} epochs"
