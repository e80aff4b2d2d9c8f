"""Random recipes: the space in which RealMLP was tuned.

Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and boosted
trees on tabular data", NeurIPS (arXiv:2407.04491): RealMLP-HPO. Of its four kinds of embeddings
there are two here, and labels are smoothed as the default's are: what networks say of classes can
be compared and averaged where all have learned the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from fastnn.checks import name_of
from fastnn.network.activations import Parametric
from fastnn.random import SEARCH, uniform
from fastnn.tabular.recipes import FEWEST, Pack, Recipe, td
from fastnn.training.schedules import CosLog, FlatCosine, Schedule

WORDS = 16  # random numbers of a recipe, at most


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


def drawn(seed: int, number: int, pack: Pack, task: str, n_columns: int, n_out: int) -> Recipe:
    """Recipe `number` of a search: labels smoothed as the first of `pack` has them, and epochs for
    about as many operations as that takes."""
    recipe, first = realmlp(Draw(seed, number), task), pack.recipes[0]
    epoch = replace(recipe, epochs=1).operations(1, n_columns, n_out)
    epochs = int(first.operations(1, n_columns, n_out) / epoch)
    return replace(
        recipe,
        epochs=min(max(epochs, FEWEST), recipe.epochs),
        label_smoothing=first.label_smoothing,
    )


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
        *(["scaled"] if recipe.feature_scale else []),
    ]
    return f"{', '.join(parts)}, {recipe.epochs} epochs"
