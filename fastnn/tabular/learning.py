"""From rows to an ensemble: columns, members, weights, calibration, and how good it is.

    rows -> columns.learn -> members.train -> f(x) of rows held out -> weighting, calibration
                             or trials
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from fastnn.checks import as_int, listed
from fastnn.network.bounds import derivative_bounds
from fastnn.network.spec import as_sign
from fastnn.predictor import Predictor
from fastnn.sklearn_callbacks import Task
from fastnn.tables.categories import Ordered
from fastnn.tables.columns import Columns, learn
from fastnn.tables.inputs import ArrayInputs, PlainInputs, TableInputs
from fastnn.tables.numbers import Numeric
from fastnn.tables.table import Arrays, Table, codes_of
from fastnn.tables.targets import Amount, Classes
from fastnn.tables.words import as_word
from fastnn.tabular import weighting
from fastnn.tabular.calibration import Calibration, calibration_of
from fastnn.tabular.conformal import scores_of
from fastnn.tabular.data import place_names
from fastnn.tabular.ensemble import Ensemble
from fastnn.tabular.folds import fold_of, splits
from fastnn.tabular.members import Lesson, operations_a_second, train
from fastnn.tabular.recipes import Features, Pack, Recipe, Search, as_pack, default_recipes
from fastnn.tabular.search.scales import choose, smear_of
from fastnn.tabular.search.space import first_pack
from fastnn.tabular.search.trials import Setting, Trials
from fastnn.tabular.spread import Spread, learn_spread
from fastnn.training.history import History
from fastnn.training.metrics import accuracy, ece, log_loss, mae, r2, rmse
from fastnn.values import Value

FOR_TRAINING = 0.8  # of a time limit: the rest is for columns, held-out rows and what follows


class HeldOut(Value, eq=False):
    """Rows of a fit, each as networks that have not seen it predict it.

    Attributes
    ----------
    rows : array of int, (n,)
        Which rows of X, ascending: all that weigh something, or of packs of one fold a fifth.
    predictions : array, (n, n_classes) or (n,)
        Probabilities of the classes, calibrated; or amounts.
    n_rows : int
        Of X.
    """

    rows: np.ndarray
    predictions: np.ndarray
    n_rows: int


@dataclass
class Learned:
    """What came of it.

    Attributes
    ----------
    ensemble : Ensemble
    pack : Pack
        What was trained.
    scores : dict
        Of rows held out, as their ensemble of members that have not seen them predicts them.
    held_out : HeldOut
        These rows and predictions.
    histories : list of History
        Of the networks.
    trials : Trials or None
        Of a search.
    stopped : KeyboardInterrupt or None
        What ended the training before its time.
    """

    ensemble: Ensemble
    pack: Pack
    scores: dict[str, float]
    held_out: HeldOut
    histories: list[History]
    trials: Trials | None
    stopped: KeyboardInterrupt | None


def learn_ensemble(
    data: Table | Arrays,
    target: Table,
    *,
    task: str,
    classes: np.ndarray | None,
    teacher: np.ndarray | None,
    weights: np.ndarray | None,
    recipe: Any,
    time_limit: float | None,
    seed: int,
    n_threads: int | None,
    verbose: bool,
    monotone: Any = None,
    fit: Task | None = None,
    **of_columns: Any,
) -> Learned:
    """Train the networks of `recipe` on rows, weigh and calibrate them.

    classes: what the target's numbers 0, 1, ... stand for, where they are not words of a file.
    teacher: probabilities (n, n_classes) or amounts (n,) that networks learn in the target's place.
    monotone: columns with which answers rise or fall, and which.
    fit: what scikit-learn's callbacks follow.
    of_columns: settings of `fastnn.tables.learn`.
    """
    begin = perf_counter()
    n_columns = data.X.shape[1] if isinstance(data, Arrays) else len(data.columns)
    n_classes = 0 if task == "regression" else codes_of(next(iter(target.columns.values())))[1]
    signs = _signs(monotone, data, n_classes)
    trials = Trials(recipe, seed) if isinstance(recipe, Search) else None
    begun = None if trials is None else trials.pack
    budget = None
    if time_limit is not None and (recipe == "auto" or (trials is not None and begun is None)):
        speed = operations_a_second(
            default_recipes(task, n_columns)[0], n_columns, max(n_classes, 1), n_threads
        )
        budget = FOR_TRAINING * speed * time_limit
    # What features there are decides on the others: their columns are learned from all rows.
    given = None
    if trials is None and recipe != "auto":
        given = as_pack(recipe, task, data.n_rows, Features(n_columns), n_classes)

    def training_rows(n: int, labels: np.ndarray | None) -> np.ndarray:
        if given is None or given.n_folds > 1:
            return np.arange(n)
        return splits(n, 1, 1, seed, labels)[0][0][0]

    columns = learn(
        data,
        target,
        task=task,
        missing="indicate",
        scaling="robust",
        categories="codes",
        clamp=(given is None or given.clamp) and task == "regression",
        rows=training_rows,
        **of_columns,
    )
    held = _held_features(columns, signs)
    y = columns.encode_targets(target)
    labels = None if columns.amounts else y
    if classes is not None:
        names = [as_word(one) for one in classes.tolist()]
        columns.targets = [Classes(columns.names[0], names, classes.dtype.kind in "OSU")]
    _, n_out = columns.outputs(None, None)
    X = columns.encode(data, warn_unknown=False)
    inputs = columns.inputs
    assert not isinstance(inputs, PlainInputs)
    learned = _learned(columns, y, teacher)
    lesson = Lesson(
        *(X, learned, weights, n_out, not columns.amounts, inputs.numbers, inputs.codes, held)
    )
    of_data = task, data.n_rows, lesson.features, n_classes, budget
    if trials is None:
        pack = given or as_pack(recipe, *of_data)
    else:
        pack = begun or first_pack(trials.search.trials, *of_data)
    repeats = splits(data.n_rows, pack.n_folds, pack.repeats, seed, labels)
    known = repeats[0][0][0] if pack.n_folds == 1 else np.arange(data.n_rows)
    small = default_recipes(task, n_columns)[-1]
    if pack.logs and choose(columns, data, y, lesson, known, small, seed, n_threads):
        if columns.inputs is not inputs:
            lesson.X = X = columns.encode(data, warn_unknown=False)
        y = columns.encode_targets(target) if columns.amounts else y
        lesson.y = _learned(columns, y, teacher)
    measured = np.sort(np.concatenate([held for _, held in repeats[0]]))
    y, weights = y[measured], None if weights is None else weights[measured]
    deadline = None if time_limit is None else begin + time_limit
    n_networks = None if trials is not None else pack.n_networks
    networks = None if fit is None else fit.part("networks", n_networks).begins()
    if trials is None:
        interrupts: list[KeyboardInterrupt] = []
        bags = train(
            *(lesson, pack.recipes, repeats, seed, n_threads, verbose, deadline, networks),
            stopped=interrupts,
        )
        stopped = interrupts[0] if interrupts else None
    else:
        setting = Setting(
            lesson,
            repeats[0],
            lambda f, recipe: _rated(columns, f, recipe, y, weights),
            (y, weights),
            *(n_threads, verbose, networks),
        )
        bags = trials.run(setting, pack, time_limit)
        stopped = trials.stopped
    if networks is not None:
        networks.ends()
    unseen = np.stack([bag.unseen for bag in bags]).astype(np.float64)
    if columns.amounts:
        shares = _weigh_amounts(unseen, y, weights)
    else:
        smoothings = [bag.recipe.label_smoothing for bag in bags]
        shares = _weigh_classes(unseen, y, weights, smoothings)
    mean = sum_of(shares, unseen)
    kept = [(bag, share) for bag, share in zip(bags, shares, strict=True) if share]
    members = [one for bag, _ in kept for one in bag.predictors]
    _prove(members, held)
    each = [share / len(bag.predictors) for bag, share in kept for _ in bag.predictors]
    folds = np.stack([bag.fold for bag, _ in kept])
    of_bags = np.array([share for _, share in kept])
    spread: Spread | None = None
    target_of = columns.targets[0]
    if isinstance(target_of, Amount):
        if target_of.log:
            values = columns.in_units(mean)[:, 0], columns.in_units(y)[:, 0]
            target_of.smear = smear_of(*values, weights)
        calibration, score = Calibration(), (y - mean)[:, 0]
        scores = _scores_of_amounts(columns, mean, y, weights)
        fold = bags[0].fold
        if pack.n_folds == 1:
            fold = fold_of(len(y), 5, seed)
        spread = learn_spread(X[measured], score, fold, seed, n_threads)
        score = score if spread is None else score / spread.unseen
    else:
        smoothing = max(bag.recipe.label_smoothing for bag, _ in kept)
        calibration = calibration_of(mean, y, weights, smoothing)
        p = calibration(mean)
        score = p[np.arange(len(y)), y]
        scores = _scores_of_classes(p, y, weights)
    certainty = scores_of(folds, of_bags, score, None if spread is None else spread.fold)
    ensemble = Ensemble(
        *(columns, members, np.array(each), calibration, certainty),
        [] if spread is None else spread.members,
    )
    held_out = HeldOut(measured, ensemble.answers(mean), data.n_rows)
    histories = [history for bag in bags for history in bag.histories]
    if trials is not None:
        pack = replace(pack, recipes=tuple(bag.recipe for bag, _ in kept))
    return Learned(ensemble, pack, scores, held_out, histories, trials, stopped)


def _signs(monotone: Any, data: Table | Arrays, n_classes: int) -> dict[str, int]:
    """Columns by name, and 1 or -1, checked."""
    if monotone is None:
        return {}
    if not isinstance(monotone, Mapping):
        raise TypeError(f"monotone must be a dict of column: 1 or -1, got {monotone!r:.50}")
    names = place_names(data.X.shape[1]) if isinstance(data, Arrays) else list(data.columns)
    signs: dict[str, int] = {}
    for name, sign in monotone.items():
        if isinstance(data, Arrays) and not isinstance(name, str):
            name = f"x{as_int('columns of monotone', name, 0)}"
        if name not in names:
            raise ValueError(f"monotone must be of columns of X, {listed(names)}, got {name!r:.50}")
        signs[name] = as_sign(f'monotone of "{name}"', sign)
    signs = {name: sign for name, sign in signs.items() if sign}
    if signs and n_classes > 2:
        raise ValueError(
            f"monotone must come with amounts or two classes, of which the second rises: got "
            f"{n_classes} classes"
        )
    return signs


def _held_features(columns: Columns, signs: dict[str, int]) -> dict[int, int]:
    """The features that are these columns' numbers, and their signs. The answer does not hang on
    columns that were left out."""
    inputs = columns.inputs
    if isinstance(inputs, ArrayInputs):
        return {int(name[1:]): sign for name, sign in signs.items()}
    assert isinstance(inputs, TableInputs)
    held: dict[int, int] = {}
    for column, at in inputs.features():
        if column.name not in signs:
            continue
        if not isinstance(column, (Numeric, Ordered)):
            raise ValueError(
                "columns of monotone must be numbers or ordered categories "
                f'(ordered={{"{column.name}": [...]}}, --ordered "{column.name}=..."), '
                f"got {column!s:.100}"
            )
        held[at.start] = signs[column.name]
    return held


def _prove(members: list[Predictor], held: dict[int, int]) -> None:
    """The last output less the first of two, or the only one, changes as it must, everywhere."""
    for member in members if held else ():
        low, high = derivative_bounds(member._network, member._theta)
        if len(low) == 2:
            low, high = low[1:] - high[:1], high[1:] - low[:1]
        for feature, sign in held.items():
            if (low[0, feature] if sign > 0 else -high[0, feature]) < 0:
                raise RuntimeError(f"feature {feature} is not monotone: this is a bug of fastnn")


def _learned(columns: Columns, y: np.ndarray, teacher: np.ndarray | None) -> np.ndarray:
    """What networks learn: the encoded target y, or what a teacher says in its place."""
    if teacher is None:
        return y
    return columns.encode_targets(teacher) if columns.amounts else teacher


def sum_of(shares: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """sum_b shares_b parts_b in this order: the same bits whatever BLAS makes of threads."""
    total = np.zeros(parts.shape[1:])
    for share, part in zip(shares.tolist(), parts, strict=True):
        total += share * part
    return total


def _weigh_classes(
    unseen: np.ndarray, y: np.ndarray, weights: np.ndarray | None, smoothing: list[float]
) -> np.ndarray:
    """Weights of bags, (n_bags,), from f(x) of held-out rows, (n_bags, n, n_classes).

    Each is calibrated before, or the surest would seem the best: how sure networks are of held-out
    rows differs from recipe to recipe, and the mean is calibrated in the end."""
    rows, first = np.arange(len(y)), np.zeros(len(y), np.intp)
    own = np.empty((len(unseen), len(y), 1))  # p of each row's class: all that the log loss reads
    for p, one, s in zip(own, unseen, smoothing, strict=True):
        p[:, 0] = calibration_of(one, y, weights, s)(one)[rows, y]
    return weighting.greedy(own, lambda p: log_loss(first, p, True, weights))


def _weigh_amounts(unseen: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    def loss(f: np.ndarray) -> float:
        return float(np.average((f - y)[:, 0] ** 2, weights=weights))

    return weighting.greedy(unseen, loss)


def _rated(
    columns: Columns, f: np.ndarray, recipe: Recipe, y: np.ndarray, weights: np.ndarray | None
) -> float:
    """How good one bag is, alone, on held-out rows: RMSE, or log loss once calibrated."""
    f = f.astype(np.float64)
    if columns.amounts:
        return _scores_of_amounts(columns, f, y, weights)["rmse"]
    p = calibration_of(f, y, weights, recipe.label_smoothing)(f)
    return float(log_loss(y, p, True, weights))


def _scores_of_classes(
    p: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> dict[str, float]:
    measures = {"accuracy": accuracy, "log_loss": log_loss, "ece": ece}
    return {name: float(of(y, p, True, weights)) for name, of in measures.items()}


def _scores_of_amounts(
    columns: Columns, f: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> dict[str, float]:
    f, y = columns.decode(f), columns.in_units(y)
    return {"rmse": rmse(y, f, weights), "mae": mae(y, f, weights), "r2": r2(y, f, weights)}
