"""Members: networks trained on all rows but those of a fold, and what they say of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np

from fastnn.config import n_threads as bound_threads
from fastnn.model import Model
from fastnn.network.losses import CrossEntropy
from fastnn.predictor import Predictor
from fastnn.random import MEMBERS, raw
from fastnn.tabular.folds import Fold
from fastnn.tabular.recipes import Recipe
from fastnn.training.callbacks import EarlyStopping
from fastnn.training.history import History


@dataclass
class Bag:
    """The members of one recipe, one for each fold: together they have seen each row, and each row
    was held out from one of them."""

    recipe: Recipe
    predictors: list[Predictor]
    histories: list[History]
    best_epochs: list[int]
    fold: np.ndarray  # (n_measured,) of each row measured, the member that has not seen it
    unseen: np.ndarray  # (n_measured, n_out) f(x) of each such row, by who has not seen it


@dataclass
class Lesson:
    """What there is to learn, as networks take it."""

    X: np.ndarray  # (n, n_in) float32
    y: np.ndarray  # labels (n,), or amounts (n, 1) standardised
    weights: np.ndarray | None  # (n,)
    n_out: int
    classes: bool  # not amounts


def train(
    lesson: Lesson,
    recipes: Sequence[Recipe],
    splits: list[list[Fold]],
    seed: int,
    n_threads: int | None = None,
    verbose: bool = False,
    deadline: float | None = None,
) -> list[Bag]:
    """Train a bag of each recipe on each repeat of folds.

    deadline: of `perf_counter`, after which no further bag is begun that would end later, going by
    the slowest one before.
    """
    bags: list[Bag] = []
    slowest = 0.0
    for number, (split, recipe) in enumerate(product(splits, recipes)):
        begin = perf_counter()
        if bags and deadline is not None and begin + slowest > deadline:
            break
        bags.append(_train_bag(lesson, recipe, split, seed, number, n_threads, verbose))
        slowest = max(slowest, perf_counter() - begin)
    return bags


def _train_bag(
    lesson: Lesson,
    recipe: Recipe,
    split: list[Fold],
    seed: int,
    number: int,
    n_threads: int | None,
    verbose: bool,
) -> Bag:
    models = [
        new_model(recipe, lesson, member_seed(seed, number * len(split) + k))
        for k in range(len(split))
    ]
    watches = [_watch(recipe, lesson) for _ in split]
    rows, held_out = [list(part) for part in zip(*split, strict=True)]
    histories = fit_many(
        models,
        *(lesson.X, lesson.y),
        rows=rows,
        held_out=held_out,
        n_threads=n_threads,
        verbose=verbose,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        metrics=["accuracy"] if lesson.classes else None,
        sample_weight=lesson.weights,
        callbacks=watches,
    )
    predictors = [model.predictor() for model in models]
    unseen = np.empty((len(lesson.X), lesson.n_out), np.float32)
    fold = np.full(len(lesson.X), -1)
    for k, (predictor, held) in enumerate(zip(predictors, held_out, strict=True)):
        unseen[held], fold[held] = predictor.rows(lesson.X[held]), k
    best = [
        (watch[0].best_epoch if watch else None) or len(history)
        for watch, history in zip(watches, histories, strict=True)
    ]
    measured = fold >= 0
    return Bag(recipe, predictors, histories, best, fold[measured], unseen[measured])


def fit_many(
    models: Sequence[Model],
    X: np.ndarray,
    y: np.ndarray,
    *,
    rows: list[np.ndarray],
    held_out: list[np.ndarray],
    n_threads: int | None,
    verbose: bool,
    callbacks: list[Any],
    sample_weight: np.ndarray | None,
    **settings: Any,
) -> list[History]:
    """Fit each model on rows of its own, one after another."""
    histories = []
    for model, mine, others, watching in zip(models, rows, held_out, callbacks, strict=True):
        model.n_threads = None if n_threads is None else bound_threads(n_threads)
        weights = [None if sample_weight is None else sample_weight[r] for r in (mine, others)]
        histories.append(
            model.fit(
                *(X[mine], y[mine]),
                validation_data=(X[others], y[others], weights[1]),
                sample_weight=weights[0],
                callbacks=watching,
                verbose=verbose,
                **settings,
            )
        )
    return histories


def member_seed(seed: int, number: int) -> int:
    return int(raw(seed, MEMBERS, number, 1)[0])


def new_model(recipe: Recipe, lesson: Lesson, seed: int) -> Model:
    """The network of a recipe with its first weights."""
    smoothed = CrossEntropy(recipe.label_smoothing) if recipe.label_smoothing else None
    return Model(
        [lesson.X.shape[1], *recipe.hidden, lesson.n_out],
        activation=recipe.activation,
        output="softmax" if lesson.classes else "identity",
        loss=smoothed if lesson.classes else None,
        dropout=recipe.dropout,
        seed=seed,
    )


def _watch(recipe: Recipe, lesson: Lesson) -> list[EarlyStopping]:
    """What keeps the best epoch, if one is to be kept."""
    if recipe.monitor is None:
        return []
    error = recipe.monitor == "error" and lesson.classes
    patience = recipe.patience or recipe.epochs
    return [EarlyStopping("val_accuracy" if error else "val_loss", patience, ties="last")]
