"""From rows to an ensemble: columns, members, weights, calibration, and how good it is.

    rows -> columns.learn -> members.train -> f(x) of rows held out -> weighting, calibration
                             or trials
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from fastnn.sklearn_callbacks import Task
from fastnn.tables.columns import Columns, learn
from fastnn.tables.inputs import PlainInputs
from fastnn.tables.table import Arrays, Table, codes_of
from fastnn.tables.targets import Amount, Classes
from fastnn.tables.words import as_word
from fastnn.tabular.ensemble import Ensemble
from fastnn.tabular.folds import fold_of, splits
from fastnn.tabular.members import Bag, Lesson, operations_a_second, train
from fastnn.tabular.monotone import held_features, prove, signs_of
from fastnn.tabular.recipes import Features, Pack, Search, as_pack, default_recipes
from fastnn.tabular.search.scales import choose, smear_of
from fastnn.tabular.search.space import first_pack
from fastnn.tabular.search.trials import Setting, Trials
from fastnn.tabular.unseen import rating
from fastnn.tabular.unseen.calibration import Calibration, calibration_of
from fastnn.tabular.unseen.conformal import scores_of
from fastnn.tabular.unseen.spread import Spread, learn_spread
from fastnn.training.history import History
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
    signs = signs_of(monotone, data, n_classes)
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
    y = columns.encode_targets(target)
    labels = None if columns.amounts else y
    if classes is not None:
        names = [as_word(one) for one in classes.tolist()]
        columns.targets = [Classes(columns.names[0], names, classes.dtype.kind in "OSU")]
    lesson = _lesson(columns, data, y, teacher, weights, signs)
    of_data = task, data.n_rows, lesson.features, n_classes, budget
    if trials is None:
        pack = given or as_pack(recipe, *of_data)
    else:
        pack = begun or first_pack(trials.search.trials, *of_data)
    repeats = splits(data.n_rows, pack.n_folds, pack.repeats, seed, labels)
    known = repeats[0][0][0] if pack.n_folds == 1 else np.arange(data.n_rows)
    small = default_recipes(task, n_columns)[-1]
    if pack.logs and choose(columns, data, y, lesson, known, small, seed, n_threads):
        y = columns.encode_targets(target) if columns.amounts else y
        del lesson  # rows are not held twice
        lesson = _lesson(columns, data, y, teacher, weights, signs)
    measured = np.sort(np.concatenate([held for _, held in repeats[0]]))
    truth = y[measured], None if weights is None else weights[measured]
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
            *(lesson, repeats[0], lambda f, one: rating.rated(columns, f, one, *truth), truth),
            *(n_threads, verbose, networks),
        )
        bags = trials.run(setting, pack, time_limit)
        stopped = trials.stopped
    if networks is not None:
        networks.ends()
    kept, shares, mean = _weighed(columns, bags, *truth)
    if trials is not None:
        pack = replace(pack, recipes=tuple(bag.recipe for bag in kept))
    elif len(bags) < len(pack.recipes) * pack.repeats:  # a limit or an interrupt came before
        pack = replace(pack, recipes=tuple(bag.recipe for bag in bags), repeats=1)
    ensemble, scores = _ensemble(
        columns, kept, shares, mean, *truth, lesson.X[measured], pack, seed, n_threads
    )
    prove(ensemble.members, lesson.monotone)
    held_out = HeldOut(measured, ensemble.answers(mean), data.n_rows)
    histories = [history for bag in bags for history in bag.histories]
    return Learned(ensemble, pack, scores, held_out, histories, trials, stopped)


def _lesson(
    columns: Columns,
    data: Table | Arrays,
    y: np.ndarray,
    teacher: np.ndarray | None,
    weights: np.ndarray | None,
    signs: dict[str, int],
) -> Lesson:
    """Rows as `columns` read them; networks learn the target y, or what a teacher says instead.
    signs: of the columns that answers rise or fall with."""
    if teacher is not None:
        y = columns.encode_targets(teacher) if columns.amounts else teacher
    inputs, (_, n_out) = columns.inputs, columns.outputs(None, None)
    assert not isinstance(inputs, PlainInputs)
    X = columns.encode(data, warn_unknown=False)
    held = held_features(columns, signs)
    return Lesson(X, y, weights, n_out, not columns.amounts, inputs.numbers, inputs.codes, held)


def _weighed(
    columns: Columns, bags: list[Bag], y: np.ndarray, weights: np.ndarray | None
) -> tuple[list[Bag], np.ndarray, np.ndarray]:
    """Bags that are worth something, their shares, and the mean of what these say of held-out rows,
    (n_measured, n_out)."""
    unseen = np.stack([bag.unseen for bag in bags]).astype(np.float64)
    if columns.amounts:
        shares = rating.weigh_amounts(unseen, y, weights)
    else:
        smoothings = [bag.recipe.label_smoothing for bag in bags]
        shares = rating.weigh_classes(unseen, y, weights, smoothings)
    kept = [bag for bag, share in zip(bags, shares, strict=True) if share]
    return kept, shares[shares > 0], rating.sum_of(shares, unseen)


def _ensemble(
    columns: Columns,
    bags: list[Bag],
    shares: np.ndarray,
    mean: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    X: np.ndarray,
    pack: Pack,
    seed: int,
    n_threads: int | None,
) -> tuple[Ensemble, dict[str, float]]:
    """Weighted members, how sure they may be, and how good they are on held-out rows X and y, of
    which they say `mean`."""
    target = columns.targets[0]
    spread: Spread | None = None
    if isinstance(target, Amount):
        if target.log:
            values = columns.in_units(mean)[:, 0], columns.in_units(y)[:, 0]
            target.smear = smear_of(*values, weights)
        calibration, score = Calibration(), (y - mean)[:, 0]
        scores = rating.scores_of_amounts(columns, mean, y, weights)
        fold = fold_of(len(y), 5, seed) if pack.n_folds == 1 else bags[0].fold
        spread = learn_spread(X, score, fold, seed, n_threads)
        score = score if spread is None else score / spread.unseen
    else:
        smoothing = max(bag.recipe.label_smoothing for bag in bags)
        calibration = calibration_of(mean, y, weights, smoothing)
        p = calibration(mean)
        score = p[np.arange(len(y)), y]
        scores = rating.scores_of_classes(p, y, weights)
    folds = np.stack([bag.fold for bag in bags])
    certainty = scores_of(folds, shares, score, None if spread is None else spread.fold)
    each = zip(bags, shares.tolist(), strict=True)
    of_members = [share / len(bag.predictors) for bag, share in each for _ in bag.predictors]
    members = [one for bag in bags for one in bag.predictors]
    spreads = [] if spread is None else spread.members
    return Ensemble(columns, members, np.array(of_members), calibration, certainty, spreads), scores
