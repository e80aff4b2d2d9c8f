"""Recipes: what networks are trained and how, as plain values; what is chosen where none are given.

A `Recipe` is one network and its training; a `Pack` is recipes, folds and repeats: an ensemble.
`default_pack` fits one to a budget of operations, counted and not timed: the same data, the same
ensemble, on every machine.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

from fastnn.checks import as_int, as_name, as_real
from fastnn.network import activations
from fastnn.training import optimizers, schedules
from fastnn.training.optimizers import Adam
from fastnn.training.schedules import OneCycle
from fastnn.values import Value

# What a core does in a second, nominally, and how long the default may take for 10,000 x 20.
OPERATIONS_A_SECOND = 80e9
SECONDS, CORES, ROWS, COLUMNS = 20.0, 2, 10_000, 20


class Recipe(Value):
    """One network, and how it is trained.

    Parameters
    ----------
    hidden : tuple of int, default (256, 256, 256)
        Units of the hidden layers.
    activation : str or object, default "selu"
        As of `fastnn.Model`, of all hidden layers.
    optimizer : fastnn.Optimizer or str
        Its learning rate, most likely a schedule, among its settings.
    epochs : int, default 256
    batch_size : int, default 256
    dropout : float, default 0.0
    label_smoothing : float, default 0.0
        Of classes.
    monitor : {"error", "loss"} or None, default "error"
        The network is kept as it was after the epoch with the least classification error (of
        amounts: squared error) or loss on rows held out, the last of several; None: as it is after
        the last epoch.
    patience : int, optional
        Epochs without a better one after which training stops.
    """

    hidden: tuple[int, ...] = (256, 256, 256)
    activation: Any = "selu"
    optimizer: Any = "adam"
    epochs: int = 256
    batch_size: int = 256
    dropout: float = 0.0
    label_smoothing: float = 0.0
    monitor: str | None = "error"
    patience: int | None = None

    def __post_init__(self) -> None:
        monitor, patience = self.monitor, self.patience
        self._keep(
            hidden=tuple(as_int("each of hidden", n, 1) for n in self.hidden),
            activation=activations.as_activation("activation", self.activation),
            optimizer=optimizers.as_optimizer(self.optimizer, None),
            epochs=as_int("epochs", self.epochs, 1),
            batch_size=as_int("batch_size", self.batch_size, 1),
            dropout=as_real("dropout", self.dropout, below=1.0),
            label_smoothing=as_real("label_smoothing", self.label_smoothing, below=1.0),
            monitor=None if monitor is None else as_name("monitor", monitor, ("error", "loss")),
            patience=None if patience is None else as_int("patience", patience, 1),
        )

    def operations(self, n_rows: int, n_in: int, n_out: int) -> float:
        """Additions and multiplications of training on n_rows, about: each weight takes part in
        three products a row, each unit in some 50 operations of its own."""
        sizes = (n_in, *self.hidden, n_out)
        weights = sum(a * b for a, b in pairwise(sizes))
        return float(self.epochs) * n_rows * (6 * weights + 50 * sum(sizes))


class Pack(Value):
    """An ensemble to be trained: each recipe on each fold.

    Parameters
    ----------
    recipes : tuple of Recipe
    n_folds : int, default 5
        Each member is trained on all rows but those of one fold. 1: every member on the same 80% of
        the rows.
    repeats : int, default 1
        How often, each time with other folds and other first weights.
    """

    recipes: tuple[Recipe, ...]
    n_folds: int = 5
    repeats: int = 1

    def __post_init__(self) -> None:
        recipes = self.recipes
        recipes = (recipes,) if isinstance(recipes, Recipe) else tuple(recipes)
        if not recipes or not all(isinstance(one, Recipe) for one in recipes):
            raise TypeError(f"recipes must be one Recipe or several, got {self.recipes!r}")
        self._keep(
            recipes=recipes,
            n_folds=as_int("n_folds", self.n_folds, 1),
            repeats=as_int("repeats", self.repeats, 1),
        )

    @property
    def n_networks(self) -> int:
        """At most, of few rows less."""
        return len(self.recipes) * self.n_folds * self.repeats


def base_recipe(task: str, epochs: int = 256) -> Recipe:
    """The one network that suits most tables."""
    if task == "classification":
        return Recipe(
            activation="selu",
            optimizer=Adam(OneCycle(0.004), beta2=0.95),
            epochs=epochs,
            label_smoothing=0.1,
        )
    return Recipe(
        activation="mish", optimizer=Adam(OneCycle(0.004), beta2=0.95), epochs=epochs
    )


def single_recipe(task: str) -> Recipe:
    """The one network that an ensemble is compressed into: what it learns is smooth already."""
    return replace(base_recipe(task), label_smoothing=0.0, monitor="loss")


def default_pack(
    task: str, n_rows: int, n_columns: int, n_classes: int, seconds: float | None = None
) -> Pack:
    """What is trained where nothing is said.

    Parameters
    ----------
    task : {"classification", "regression"}
    n_rows, n_columns : int
        Of the table.
    n_classes : int
        0 of amounts.
    seconds : float, optional
        For which there should be operations enough; by default 20 for 10,000 rows, and for others
        in proportion to the root of their number.
    """
    if seconds is None:
        seconds = SECONDS * (n_rows / ROWS) ** 0.5
    budget = seconds * CORES * OPERATIONS_A_SECOND
    n_folds = 5 if n_rows < 50_000 else 1
    trained = n_rows * (n_folds - 1) // n_folds if n_folds > 1 else n_rows * 4 // 5
    recipe = base_recipe(task)
    whole = n_folds * recipe.operations(trained, n_columns, max(n_classes, 1))
    repeats = int(min(max(budget / whole, 1), 3))
    epochs = int(min(max(256 * budget / whole, 12), 256)) if repeats == 1 else 256
    return Pack((base_recipe(task, epochs),), n_folds, repeats)


def as_pack(
    recipe: Any,
    task: str,
    n_rows: int,
    n_columns: int,
    n_classes: int,
    seconds: float | None = None,
) -> Pack:
    """What the argument `recipe` of an estimator asks for."""
    if isinstance(recipe, Pack):
        return recipe
    if isinstance(recipe, Recipe):
        return Pack((recipe,))
    if recipe == "auto":
        return default_pack(task, n_rows, n_columns, n_classes, seconds)
    raise ValueError(
        f'recipe must be "auto", a fastnn.tabular.Recipe or a Pack of them, got {recipe!r}'
    )


# As JSON


def to_json(value: Any) -> Any:
    """A setting of an estimator as JSON can hold it: an object as its name and fields."""
    if isinstance(value, Value):
        own = {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
        return {"name": type(value).__name__, **own}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"what is saved must be numbers, texts or fastnn's own settings, got {value!r}")


def from_json(value: Any) -> Any:
    """What `to_json` made, its lists as tuples; ValueError where it is damaged."""
    if isinstance(value, list):
        return tuple(map(from_json, value))
    if not isinstance(value, dict):
        return value
    name = value.get("name")
    for module in (optimizers, schedules, activations):
        kind = getattr(module, str(name), None)
        if isinstance(kind, type) and issubclass(kind, Value):
            break
    else:
        kind = {"Recipe": Recipe, "Pack": Pack}.get(str(name))
    if kind is None:
        raise ValueError(f"settings must be fastnn's own, got {name!r:.50}")
    try:
        return kind(**{key: from_json(one) for key, one in value.items() if key != "name"})
    except TypeError as error:
        raise ValueError(str(error)) from None
