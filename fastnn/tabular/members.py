"""Members: networks trained on all rows but those of a fold, and what they say of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from time import perf_counter

import numpy as np

from fastnn.config import n_threads as bound_threads
from fastnn.many import fit_many
from fastnn.model import Model
from fastnn.network.activations import falls
from fastnn.network.embeddings import Categories, Embedding, Periodic, PiecewiseLinear
from fastnn.network.initialize import Normal, drawn_rows
from fastnn.network.losses import CrossEntropy
from fastnn.predictor import Predictor
from fastnn.random import MEMBERS, raw
from fastnn.sklearn_callbacks import Task, Whole
from fastnn.tables.bins import tree_edges
from fastnn.tabular.folds import Fold
from fastnn.tabular.recipes import Features, Recipe
from fastnn.training.callbacks import EarlyStopping
from fastnn.training.fit import Callback, Fit
from fastnn.training.history import History

NORMAL = "lecun_normal", Normal(1.0)  # of W and b
BLOCK = 1 << 14  # held-out rows that are predicted at a time


@dataclass
class Bag:
    """The members of one recipe, one for each fold: together they have seen each row, and each row
    was held out from one of them."""

    recipe: Recipe
    predictors: list[Predictor]
    histories: list[History]
    fold: np.ndarray  # (n_measured,) of each row measured, the member that has not seen it
    unseen: np.ndarray  # (n_measured, n_out) f(x) of each such row, by who has not seen it


@dataclass
class Lesson:
    """What there is to learn, as networks take it."""

    X: np.ndarray  # (n, n_in) float32
    y: np.ndarray  # labels (n,), probabilities (n, n_out), or standardised amounts (n, 1)
    weights: np.ndarray | None  # (n,)
    n_out: int
    classes: bool  # not amounts
    numbers: list[int]  # columns of X that are numbers of many values
    codes: dict[int, int]  # those that are codes of categories, and how many these are
    monotone: dict[int, int] = field(default_factory=dict)  # those that answers rise or fall with

    @property
    def features(self) -> Features:
        return Features.of(self.X.shape[1], self.numbers, self.codes)


def train(
    lesson: Lesson,
    recipes: Sequence[Recipe],
    splits: list[list[Fold]],
    seed: int,
    n_threads: int | None = None,
    verbose: bool = False,
    deadline: float | None = None,
    networks: Task | None = None,
    before: int = 0,
    stopped: list[KeyboardInterrupt] | None = None,
) -> list[Bag]:
    """Train a bag of each recipe on each repeat of folds: all at once, or with a deadline, of
    `perf_counter`, one after another until the next would likely end later.

    networks: each is a part of what scikit-learn's callbacks follow. before: how many bags were
    trained by calls before this one. stopped: gets the interrupt after which there are but the bags
    that were trained; without, or where none is, it is raised.
    """
    orders = [(recipe, split) for split, recipe in product(splits, recipes)]
    if deadline is None:
        bags, error = _train(lesson, orders, seed, before, n_threads, verbose, networks)
        return _or_raise(bags, error, stopped)
    bags = []
    slowest = 0.0
    for order in orders:
        begin = perf_counter()
        if bags and begin + slowest > deadline:
            break
        more, error = _train(lesson, [order], seed, len(bags), n_threads, verbose, networks)
        bags += more
        if error is not None:
            return _or_raise(bags, error, stopped)
        slowest = max(slowest, perf_counter() - begin)
    return bags


def _or_raise(
    bags: list[Bag], error: KeyboardInterrupt | None, stopped: list[KeyboardInterrupt] | None
) -> list[Bag]:
    """The bags that there were time for."""
    if error is not None:
        if stopped is None or not bags:
            raise error
        stopped.append(error)
    return bags


def _train(
    lesson: Lesson,
    orders: list[tuple[Recipe, list[Fold]]],
    seed: int,
    before: int,
    n_threads: int | None,
    verbose: bool,
    networks: Task | None,
) -> tuple[list[Bag], KeyboardInterrupt | None]:
    """Bags, `before` others being trained already; after an interrupt those that are whole."""
    each = [(recipe, fold) for recipe, split in orders for fold in split]
    first = before * len(orders[0][1])
    models = [
        new_model(recipe, lesson, member_seed(seed, first + i), rows)
        for i, (recipe, (rows, _)) in enumerate(each)
    ]
    whole = [Finished() for _ in models]
    interrupt: KeyboardInterrupt | None = None
    try:
        fit_many(
            models,
            *(lesson.X, lesson.y),
            rows=[rows for _, (rows, _) in each],
            held_out=[held for _, (_, held) in each],
            n_threads=n_threads,
            verbose=verbose,
            epochs=[recipe.epochs for recipe, _ in each],
            batch_size=[recipe.batch_size for recipe, _ in each],
            optimizer=[recipe.optimizer for recipe, _ in each],
            drop_last=[recipe.drop_last for recipe, _ in each],
            dropout_schedule=[recipe.dropout_schedule for recipe, _ in each],
            metrics=["accuracy"] if lesson.classes else None,
            sample_weight=lesson.weights,
            callbacks=[
                [one, *_watch(recipe, lesson), *_told(networks)]
                for (recipe, _), one in zip(each, whole, strict=True)
            ],
        )
    except KeyboardInterrupt as error:
        interrupt = error
    trained = zip(models, whole, strict=True)
    bags: list[Bag] = []
    for recipe, split in orders:
        members = [(model, one.history) for model, one in islice(trained, len(split))]
        done = [(model, history) for model, history in members if history is not None]
        if len(done) == len(split):
            bags.append(_bag(lesson, recipe, done, [held for _, held in split]))
    return bags, interrupt


class Finished(Callback):
    """The history of a network that was trained to its end. First among callbacks, it is told last,
    when the best epoch is back."""

    history: History | None = None

    def on_fit_end(self, fit: Fit) -> None:
        if fit.error is None:
            self.history = fit.history


def _bag(
    lesson: Lesson,
    recipe: Recipe,
    trained: list[tuple[Model, History]],
    held_out: list[np.ndarray],
) -> Bag:
    """What members say of the rows held out from them."""
    predictors = [model.predictor() for model, _ in trained]
    unseen = np.empty((len(lesson.X), lesson.n_out), np.float32)
    fold = np.full(len(lesson.X), -1)
    for k, (predictor, held) in enumerate(zip(predictors, held_out, strict=True)):
        fold[held] = k
        for start in range(0, len(held), BLOCK):
            some = held[start : start + BLOCK]
            unseen[some] = predictor.rows(lesson.X[some])
    measured = fold >= 0
    return Bag(recipe, predictors, [done for _, done in trained], fold[measured], unseen[measured])


def operations_a_second(
    recipe: Recipe, n_columns: int, n_out: int, n_threads: int | None
) -> float:
    """What all threads do of a recipe's operations, measured on a short training."""
    X = np.zeros((8 * recipe.batch_size, n_columns), np.float32)
    y = np.zeros((len(X), n_out), np.float32)
    lesson = Lesson(X, y, None, n_out, False, list(range(n_columns)), {})
    models = [new_model(recipe, lesson, 0) for _ in range(bound_threads(n_threads))]

    def seconds(epochs: int) -> float:
        begin = perf_counter()
        fit_many(
            models,
            *(X, y),
            n_threads=n_threads,
            epochs=epochs,
            batch_size=recipe.batch_size,
            optimizer="adam",
        )
        return perf_counter() - begin

    seconds(1)  # wakes the threads
    done = len(models) * replace(recipe, epochs=4).operations(len(X), lesson.features, n_out)
    return done / seconds(4)


def member_seed(seed: int, number: int) -> int:
    return int(raw(seed, MEMBERS, number, 1)[0])


def new_model(
    recipe: Recipe, lesson: Lesson, seed: int, rows: np.ndarray | None = None
) -> Model:
    """The network of a recipe with its first weights. rows: that it will be trained on."""
    smoothed = CrossEntropy(recipe.label_smoothing) if recipe.label_smoothing else None
    model = Model(
        [lesson.X.shape[1], *recipe.hidden, lesson.n_out],
        activation="selu" if lesson.monotone and falls(recipe.activation) else recipe.activation,
        output="softmax" if lesson.classes else "identity",
        loss=smoothed if lesson.classes else None,
        dropout=recipe.dropout,
        seed=seed,
        init=[*[NORMAL] * len(recipe.hidden), "zeros"] if recipe.weights == "normal" else None,
        embeddings=_embeddings(recipe, lesson, rows),
        feature_scale=recipe.feature_scale,
        monotone=lesson.monotone,
    )
    if recipe.weights == "data":
        known = np.arange(len(lesson.X)) if rows is None else rows
        model.initialize(lesson.X[known[drawn_rows(len(known), seed)]])  # no copy of all
    return model


def _embeddings(
    recipe: Recipe, lesson: Lesson, rows: np.ndarray | None
) -> list[Embedding]:
    embeddings: list[Embedding] = []
    numbers = [column for column in lesson.numbers if column not in lesson.monotone]
    if recipe.frequencies and numbers:
        settings = recipe.frequencies, recipe.periodic_width, recipe.periodic_std
        embeddings.append(Periodic(tuple(numbers), *settings))
    if recipe.bins and numbers:
        some = slice(None) if rows is None else rows
        y = lesson.y[some]
        edges = [tuple(tree_edges(lesson.X[some, j], y, recipe.bins)) for j in numbers]
        embeddings.append(PiecewiseLinear(tuple(numbers), tuple(edges)))
    for column, n in lesson.codes.items():
        width = recipe.category_width if n > recipe.one_hot else None
        embeddings.append(Categories(column, n, width))
    return embeddings


def _told(networks: Task | None) -> list[Whole]:
    return [] if networks is None else [Whole(networks, "network")]


def _watch(recipe: Recipe, lesson: Lesson) -> list[EarlyStopping]:
    """What keeps the best epoch, if one is to be kept."""
    if recipe.monitor is None:
        return []
    error = recipe.monitor == "error" and lesson.classes
    column = "val_accuracy" if error else "val_loss"
    return [EarlyStopping(column, recipe.patience, ties="last")]
