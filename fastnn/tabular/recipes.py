"""Recipes: what networks are trained and how, as plain values; what is chosen where none are given.

A `Recipe` is one network and its training; a `Pack` is recipes, folds and repeats: an ensemble; a
`Search` tries random recipes.
`default_pack` fits one to a budget of operations, counted and not timed: the same data, the same
ensemble, on every machine.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from os import PathLike, fspath
from typing import Any, NamedTuple

from fastnn.checks import as_bool, as_int, as_name, as_real
from fastnn.network import activations
from fastnn.training import optimizers, schedules
from fastnn.training.optimizers import Adam
from fastnn.training.schedules import CosLog, FlatCosine
from fastnn.values import Value

MANY = 1_000_000  # more categories than a column has: all are one-hot
ONE_HOT = 100  # categories of a column, above which the default's plain networks embed them
# What a core does in a second, nominally, and how long the default may take for 10,000 x 20.
OPERATIONS_A_SECOND = 100e9
SECONDS, CORES, ROWS = 20.0, 2, 10_000
FEW = 100  # rows: fewer take no less time
EPOCH = 2.5e7  # operations in which an epoch begins and ends
STEPS = 4000  # of a network
FEWEST, MOST = 8, 200  # epochs
LEAST = 0.25  # of the epochs, for several folds
REPEATS = 3  # at most
WANTING = 0.25  # of a repeat, by which the budget may be exceeded
BINS, FEATURES = 16, 256  # of a number, at most, and about of all numbers


class Features(NamedTuple):
    """What networks take of a row, counted."""

    numbers: int  # of many values
    others: int = 0  # features that stay as they are: two categories, what is missing
    categories: tuple[int, ...] = ()  # of each column of codes

    @classmethod
    def of(cls, width: int, numbers: list[int], codes: dict[int, int]) -> Features:
        """Of so many encoded columns; numbers, codes: which of them are these, as inputs say."""
        others = width - len(numbers) - len(codes)
        return cls(len(numbers), others, tuple(codes.values()))


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
    drop_last : bool, default False
        As of `Model.fit`.
    dropout : float, default 0.0
    dropout_schedule : fastnn.Schedule, optional
        As of `Model.fit`.
    label_smoothing : float, default 0.0
        Of classes.
    frequencies : int, default 0
        Of the periodic embedding of each number (`fastnn.Periodic`); 0: numbers as they are.
    periodic_width : int, default 3
    periodic_std : float, default 0.1
    bins : int, default 0
        Of the piecewise-linear encoding of each number (`fastnn.PiecewiseLinear`) in place of a
        periodic embedding, at most; they lie where a tree on the target cuts the number. 0: none.
    one_hot : int, default 9
        Columns of more categories than this have an embedding of `category_width`.
    category_width : int, default 8
    feature_scale : bool, default False
        As of `fastnn.Model`.
    weights : {"normal", "data"} or None, optional
        First weights: `Model`'s; or "normal", of hidden layers W of N(0, 1 / n_in) and b of
        N(0, 1), of the last zeros; or "data", as of `Model.initialize` on the rows trained on.
    monitor : {"error", "loss"} or None, default "error"
        The network is kept as it was after the epoch with the least classification error (of
        amounts: squared error) or loss on rows held out, the last of several; None: as it is after
        the last epoch.
    patience : int, optional
        Epochs without a better one after which training stops.

    Examples
    --------
    >>> import fastnn
    >>> recipe = fastnn.tabular.Recipe(hidden=(32,), epochs=20)
    >>> recipe.hidden
    (32,)
    """

    hidden: tuple[int, ...] = (256, 256, 256)
    activation: Any = "selu"
    optimizer: Any = "adam"
    epochs: int = 256
    batch_size: int = 256
    drop_last: bool = False
    dropout: float = 0.0
    dropout_schedule: Any = None
    label_smoothing: float = 0.0
    frequencies: int = 0
    periodic_width: int = 3
    periodic_std: float = 0.1
    bins: int = 0
    one_hot: int = 9
    category_width: int = 8
    feature_scale: bool = False
    weights: str | None = None
    monitor: str | None = "error"
    patience: int | None = None

    def __post_init__(self) -> None:
        weights, monitor, patience = self.weights, self.monitor, self.patience
        self._keep(
            hidden=tuple(as_int("each of hidden", n, 1) for n in self.hidden),
            activation=activations.as_activation("activation", self.activation),
            optimizer=optimizers.as_optimizer(self.optimizer, None),
            epochs=as_int("epochs", self.epochs, 1),
            batch_size=as_int("batch_size", self.batch_size, 1),
            drop_last=as_bool("drop_last", self.drop_last),
            dropout=as_real("dropout", self.dropout, below=1.0),
            label_smoothing=as_real("label_smoothing", self.label_smoothing, below=1.0),
            frequencies=as_int("frequencies", self.frequencies, 0),
            periodic_width=as_int("periodic_width", self.periodic_width, 1),
            periodic_std=as_real("periodic_std", self.periodic_std),
            bins=as_int("bins", self.bins, 0),
            one_hot=as_int("one_hot", self.one_hot, 0),
            category_width=as_int("category_width", self.category_width, 1),
            feature_scale=as_bool("feature_scale", self.feature_scale),
            weights=None if weights is None else as_name("weights", weights, ("normal", "data")),
            monitor=None if monitor is None else as_name("monitor", monitor, ("error", "loss")),
            patience=None if patience is None else as_int("patience", patience, 1),
        )
        if self.bins and self.frequencies:
            raise ValueError(
                "numbers must have either bins or a periodic embedding, got "
                f"bins={self.bins} and frequencies={self.frequencies}"
            )

    def operations(self, n_rows: int, features: Features, n_out: int) -> float:
        """Additions and multiplications of training on n_rows, about: each weight takes part in
        three products a row, each unit, and each cosine, in some 50 operations of its own, and an
        epoch takes as long as EPOCH of them beside."""
        width = 1 + self.periodic_width if self.frequencies else max(self.bins, 1)
        coded = sum(self.category_width if n > self.one_hot else n for n in features.categories)
        n_in = width * features.numbers + features.others + coded
        sizes = (n_in, *self.hidden, n_out)
        weights = sum(a * b for a, b in pairwise(sizes))
        embedded = features.numbers * self.frequencies
        weights += embedded * self.periodic_width
        a_row = 6 * weights + 50 * (sum(sizes) + embedded)
        return float(self.epochs) * (n_rows * a_row + EPOCH)


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
    clamp : bool, default True
        Whether predicted amounts keep to the range of the rows trained on.
    logs : bool, default True
        Whether numbers with long tails, and such a target, are learned as their logarithms where
        small networks predict held-out rows better so.

    Examples
    --------
    >>> import fastnn
    >>> recipe = fastnn.tabular.Recipe(hidden=(32,), epochs=20)
    >>> fastnn.TabularClassifier(recipe=fastnn.tabular.Pack((recipe,), n_folds=3)).recipe.n_folds
    3
    """

    recipes: tuple[Recipe, ...]
    n_folds: int = 5
    repeats: int = 1
    clamp: bool = True
    logs: bool = True

    def __post_init__(self) -> None:
        recipes = self.recipes
        recipes = (recipes,) if isinstance(recipes, Recipe) else tuple(recipes)
        if not recipes or not all(isinstance(one, Recipe) for one in recipes):
            raise TypeError(f"recipes must be one Recipe or several, got {self.recipes!r}")
        self._keep(
            recipes=recipes,
            n_folds=as_int("n_folds", self.n_folds, 1),
            repeats=as_int("repeats", self.repeats, 1),
            clamp=as_bool("clamp", self.clamp),
            logs=as_bool("logs", self.logs),
        )

    @property
    def n_networks(self) -> int:
        """At most, of few rows less."""
        return len(self.recipes) * self.n_folds * self.repeats


class Search(Value):
    """Random recipes, each tried on the same folds; the ensemble is chosen from the best.

    RealMLP-TD-S and the default's networks come first, then recipes drawn from the space in which
    RealMLP was tuned. Each trial takes about as many operations as another, at most those of a
    default ensemble: wide networks have fewer epochs. docs/tables.md, Search.

    Parameters
    ----------
    trials : int, optional
        How many; with the estimator's `time_limit` at most so many. By default 40, or with a time
        limit what it has room for, at most 200.
    journal : path, optional
        A folder, made where there is none, in which each finished trial is written down, so that
        the same `fit` goes on after the last one, however it ended: trials and seconds that it
        holds count. The estimator's random_state must then be an integer.

    References
    ----------
    Bergstra & Bengio (2012), "Random search for hyper-parameter optimization", JMLR 13; the space:
    Holzmüller, Grinsztajn & Steinwart (2024), NeurIPS (arXiv:2407.04491).

    Examples
    --------
    >>> import fastnn
    >>> search = fastnn.tabular.Search(trials=20)
    >>> fastnn.TabularClassifier(recipe=search)
    TabularClassifier(recipe=Search(trials=20, journal=None))
    """

    trials: int | None = None
    journal: Any = None

    def __post_init__(self) -> None:
        journal = self.journal
        if journal is not None and not isinstance(journal, (str, PathLike)):
            raise TypeError(f"journal must be a path, got {journal!r:.50}")
        self._keep(
            trials=None if self.trials is None else as_int("trials", self.trials, 1),
            journal=None if journal is None else fspath(journal),
        )


def td_s(task: str) -> Recipe:
    """RealMLP-TD-S: Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned
    MLPs and boosted trees on tabular data", NeurIPS (arXiv:2407.04491)."""
    classes = task == "classification"
    return Recipe(
        activation="selu" if classes else "mish",
        optimizer=Adam(
            CosLog(0.04 if classes else 0.07),
            beta2=0.95,
            rate_factors={"b": 0.1, "scale": 6.0},
            ntk=True,
        ),
        drop_last=True,
        label_smoothing=0.1 if classes else 0.0,
        one_hot=MANY,
        feature_scale=True,
        weights="normal",
    )


def td(task: str) -> Recipe:
    """RealMLP-TD, of the same paper."""
    classes = task == "classification"
    return replace(
        td_s(task),
        activation=activations.Parametric("selu" if classes else "mish"),
        optimizer=Adam(
            CosLog(0.04 if classes else 0.2),
            beta2=0.95,
            weight_decay=FlatCosine(0.02),
            decay_bias=False,
            rate_factors={"b": 0.1, "scale": 6.0, "embedding": 0.1, "alpha": 0.1},
            ntk=True,
        ),
        dropout=0.15,
        dropout_schedule=FlatCosine(1.0),
        frequencies=16,
        one_hot=9,
        weights="data",
    )


def default_recipes(task: str, n_numbers: int) -> tuple[Recipe, ...]:
    """The networks that the default's ensembles are made of, different enough that their mean is
    better than any of them; docs/tables.md has the figures that led to them."""
    plain, periodic = (
        replace(one(task), hidden=(128, 128, 128), drop_last=False) for one in (td_s, td)
    )
    plain = replace(plain, one_hot=ONE_HOT)
    if task == "regression":
        return periodic, plain
    return periodic, binned(periodic, n_numbers), plain


def binned(recipe: Recipe, n_numbers: int) -> Recipe:
    """The recipe with bins of numbers, fewer where there are many numbers."""
    return replace(recipe, frequencies=0, bins=min(max(FEATURES // max(n_numbers, 1), 2), BINS))


def single_recipe(task: str) -> Recipe:
    """The one network that an ensemble is compressed into: what it learns is smooth already."""
    return replace(td_s(task), drop_last=False, label_smoothing=0.0, monitor="loss")


def default_pack(
    task: str, n_rows: int, features: Features, n_classes: int, budget: float | None = None
) -> Pack:
    """What is trained where nothing is said.

    Parameters
    ----------
    task : {"classification", "regression"}
    n_rows : int
    features : Features
        Of the rows.
    n_classes : int
        0 of amounts.
    budget : float, optional
        Operations, about; by default what two cores nominally do in 20 s for 10,000 rows, for
        fewer in proportion to n_rows^(5/6), for more to n_rows^(1/2).
    """
    fewest = 1 if budget else FEWEST  # a limit holds, however many rows there are
    if budget is None:
        budget = usual_budget(n_rows)
    recipes = default_recipes(task, features.numbers)

    def affordable(n_folds: int, epochs: int) -> float:
        """How many times over."""
        rows = n_rows - n_rows // (n_folds if n_folds > 1 else 5)
        each = [
            replace(one, epochs=epochs).operations(rows, features, max(n_classes, 1))
            for one in recipes
        ]
        return budget / (n_folds * sum(each))

    epochs = min(max(round(STEPS * recipes[0].batch_size / n_rows), FEWEST), MOST)
    n_folds = 5 if affordable(5, epochs) >= LEAST else 1
    times = affordable(n_folds, epochs)
    if times < 1 or n_folds == 1:
        epochs = min(max(round(epochs * times), fewest), MOST)
    recipes = tuple(replace(one, epochs=epochs) for one in recipes)
    repeats = min(max(int(affordable(n_folds, epochs) + WANTING), 1), REPEATS)
    return Pack(recipes, n_folds, repeats=repeats if n_folds > 1 else 1)


def usual_budget(n_rows: int) -> float:
    """Operations that the default may take: less than in proportion to the rows."""
    times = max(n_rows, FEW) / ROWS
    seconds: float = SECONDS * (times ** (5 / 6) if times < 1 else times**0.5)
    return seconds * CORES * OPERATIONS_A_SECOND


def as_pack(
    recipe: Any,
    task: str,
    n_rows: int,
    features: Features,
    n_classes: int,
    budget: float | None = None,
) -> Pack:
    """What the argument `recipe` of an estimator asks for, unless it is a `Search`."""
    if isinstance(recipe, Pack):
        return recipe
    if isinstance(recipe, Recipe):
        return Pack((recipe,))
    if recipe == "td":
        return Pack((td(task),), n_folds=1, logs=False)
    if recipe == "td-s":
        return Pack((td_s(task),), n_folds=1, clamp=False, logs=False)
    if recipe == "auto":
        return default_pack(task, n_rows, features, n_classes, budget)
    raise ValueError(
        'recipe must be "auto", "td", "td-s", a fastnn.tabular.Recipe, a Pack of them or a Search, '
        f"got {recipe!r}"
    )


# As JSON

# What a file may name, by its name: RateFactors among them.
SETTINGS: dict[str, Any] = {one.__name__: one for one in (Recipe, Pack, Search)} | {
    name: one
    for module in (optimizers, schedules, activations)
    for name, one in vars(module).items()
    if isinstance(one, type) and issubclass(one, Value) and one.__module__ == module.__name__
}


def to_json(value: Any) -> Any:
    """A setting of an estimator as JSON can hold it: an object as its name and fields, a dict as
    pairs."""
    if isinstance(value, Value):
        own = {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
        return {"name": type(value).__name__, **own}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    if isinstance(value, dict):
        return {"name": "dict", "pairs": to_json(list(value.items()))}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"what is saved must be numbers, texts or fastnn's own settings, got {value!r}")


DEEPEST = 50  # of what lies in what: `to_json` makes five levels or so


def from_json(value: Any, depth: int = 0) -> Any:
    """What `to_json` made, its lists as tuples; ValueError where it is damaged."""
    if depth > DEEPEST:
        raise ValueError(f"settings must lie within each other {DEEPEST} deep at most")
    if isinstance(value, list):
        return tuple(from_json(one, depth + 1) for one in value)
    if not isinstance(value, dict):
        return value
    name = value.get("name")
    if name == "dict":
        return dict(from_json(value["pairs"], depth + 1))
    if not isinstance(name, str) or name not in SETTINGS:
        raise ValueError(f"settings must be fastnn's own, got {name!r:.50}")
    try:
        own = {key: from_json(one, depth + 1) for key, one in value.items() if key != "name"}
        return SETTINGS[name](**own)
    except TypeError as error:
        raise ValueError(str(error)) from None
