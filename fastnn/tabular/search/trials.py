"""A search: random recipes, one after another, as long as it may take; the best are kept.

    trial t:  recipe t -> networks on all folds -> f(x) of rows held out -> its score

Recipe t and its first weights follow from the seed and t alone, so that a search that was stopped
goes on as if it had not been.

Bergstra & Bengio (2012), "Random search for hyper-parameter optimization", JMLR 13. An ensemble is
chosen among the best alone: Caruana, Munson & Niculescu-Mizil (2006), "Getting the most out of
ensemble selection", ICDM.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.config import n_threads as bound_threads
from fastnn.errors import DivergenceError, ModelFileError
from fastnn.sklearn_callbacks import Task
from fastnn.tabular.folds import Fold
from fastnn.tabular.members import Bag, Lesson, train
from fastnn.tabular.recipes import Pack, Recipe, Search, from_json, to_json
from fastnn.tabular.search.space import drawn, in_words
from fastnn.training.history import History

if TYPE_CHECKING:
    from fastnn.files.ensemble import Saved
    from fastnn.files.journal import Journal

KEPT = 32  # trials that the ensemble is chosen from
TRIALS = 40  # where nothing is said
LIMIT = 200  # trials, however much time there is


@dataclass
class Trial:
    """A recipe that was tried.

    Attributes
    ----------
    recipe : Recipe
    score : float
        Of rows held out, the less the better: log loss, of amounts RMSE; infinite where training
        diverged.
    seconds : float
        Of several that were trained at the same time an equal share.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.tabular.Trial(fastnn.tabular.Recipe(), score=0.3, seconds=2.0).score
    0.3
    """

    recipe: Recipe
    score: float
    seconds: float


@dataclass
class Setting:
    """What all trials have in common."""

    lesson: Lesson
    split: list[Fold]
    rate: Callable[[np.ndarray, Recipe], float]  # the score of f(x) of rows held out
    truth: Sequence[np.ndarray | None]  # that it looks at
    n_threads: int | None
    verbose: bool
    networks: Task | None  # for scikit-learn's callbacks


class Trials:
    """The trials of a search; those that its journal holds are the first of them.

    Attributes
    ----------
    done : list of Trial
    pack : Pack or None
        Recipes that come first, what one trial may cost, and folds, as the journal says; None: the
        search is new.
    stopped : KeyboardInterrupt or None
        What ended it before its time.
    """

    def __init__(self, search: Search, seed: int) -> None:
        self.search, self.seed = search, seed
        self.done: list[Trial] = []
        self.pack: Pack | None = None
        self.stopped: KeyboardInterrupt | None = None
        self._bags: dict[int, Bag] = {}  # of the best
        self._journal: Journal | None = None
        if search.journal is None:
            return
        from fastnn.files.journal import Journal  # here: json makes an import slower

        self._journal = Journal(search.journal)
        if self._journal.about:
            self.pack, begun = self._read("pack", from_json), self._read("seed", int)
            if not isinstance(self.pack, Pack):
                raise ModelFileError(f"{search.journal}: pack must be one, got {self.pack!r:.50}")
            if begun != seed:
                raise ValueError(
                    f"random_state must be {begun}, as of the search in {search.journal}, "
                    f"got {seed}"
                )

    def run(self, setting: Setting, pack: Pack, time_limit: float | None) -> list[Bag]:
        """Try recipes until there are enough, or the next would likely end beyond the time limit,
        of all trials together; returns what the best left."""
        limit = self.search.trials or (TRIALS if time_limit is None else LIMIT)
        n_threads = bound_threads(setting.n_threads)
        at_once = -(-4 * n_threads // len(setting.split))  # so that few threads wait at the end
        with nullcontext() if self._journal is None else self._journal.alone():
            begin = perf_counter()
            self._resume(setting, pack)
            begin -= sum(trial.seconds for trial in self.done)
            try:
                while len(self.done) < limit:
                    n = min(at_once, limit - len(self.done))
                    longest = max((trial.seconds for trial in self.done), default=0.0) * n
                    if self.done and time_limit and perf_counter() - begin + longest > time_limit:
                        break
                    self._try(setting, pack, n, limit)
            except KeyboardInterrupt as error:
                if not self._bags:
                    raise
                self.stopped = error
        if not self._bags:
            raise DivergenceError("all trials diverged: their losses grew beyond all bounds")
        return [self._bags[number] for number in sorted(self._bags)]

    def _try(self, setting: Setting, pack: Pack, n: int, limit: int) -> None:
        """The next n trials."""
        first, begin = len(self.done), perf_counter()
        recipes = [self._recipe(number, setting, pack) for number in range(first, first + n)]
        bags = self._train(setting, recipes, first)
        scores = [
            math.inf if bag is None else setting.rate(bag.unseen, bag.recipe) for bag in bags
        ]
        seconds = (perf_counter() - begin) / n
        new = [
            Trial(recipe, score, seconds) for recipe, score in zip(recipes, scores, strict=True)
        ]
        trials = [*self.done, *new]
        best = _best(trials)
        known = {**self._bags, **{first + i: bag for i, bag in enumerate(bags) if bag is not None}}
        if self._journal is not None:
            parts = {number: _saved(known[number]) for number in best if number >= first}
            self._journal.add(list(map(_entry, new)), parts, best)
        self.done, self._bags = trials, {number: known[number] for number in best}
        if setting.verbose:
            for number in range(first, first + n):
                measure = "log loss" if setting.lesson.classes else "RMSE"
                print(self._line(number, limit, measure), file=sys.stderr, flush=True)

    def _recipe(self, number: int, setting: Setting, pack: Pack) -> Recipe:
        lesson = setting.lesson
        task = "classification" if lesson.classes else "regression"
        n_rows = len(lesson.X)
        return drawn(self.seed, number, pack, task, n_rows, lesson.features, lesson.n_out)

    def _train(self, setting: Setting, recipes: list[Recipe], before: int) -> list[Bag | None]:
        """A bag of each recipe; None of one that diverged."""
        try:
            return list(
                train(
                    *(setting.lesson, recipes, [setting.split], self.seed, setting.n_threads),
                    networks=setting.networks,
                    before=before,
                )
            )
        except DivergenceError:  # which has stopped the others, too
            if len(recipes) == 1:
                return [None]
            each = [self._train(setting, [one], before + i) for i, one in enumerate(recipes)]
            return [bag for bags in each for bag in bags]

    def _line(self, number: int, limit: int, measure: str) -> str:
        trial, (best, *_) = self.done[number], [*_best(self.done[: number + 1]), None]
        told = "diverged" if trial.score == math.inf else f"{measure} {trial.score:.5g}"
        if best is not None:
            told += f", best {self.done[best].score:.5g} of trial {best + 1}"
        return (
            f"trial {number + 1} of at most {limit}, {trial.seconds:.1f} s: {told}; "
            f"{in_words(trial.recipe)}"
        )

    # --- the journal

    def _resume(self, setting: Setting, pack: Pack) -> None:
        """What the journal holds, if it is of this search."""
        journal = self._journal
        if journal is None:
            return
        lesson = setting.lesson
        data = _digest([lesson.X, lesson.y, lesson.weights, *setting.truth])
        if not journal.about:
            journal.about = {"seed": self.seed, "pack": to_json(pack), "data": data}
            journal.add((), {}, ())  # what cannot be written fails before the first trial
            return
        if journal.about.get("data") != data:
            raise ValueError(
                f"journal must be of the same rows, target, weights and settings of columns; "
                f"{journal.path} holds a search on others"
            )
        for number, entry in enumerate(journal.entries):
            try:
                score = math.inf if entry["score"] is None else float(entry["score"])
                trial = Trial(from_json(entry["recipe"]), score, float(entry["seconds"]))
            except (KeyError, TypeError, ValueError) as error:
                raise ModelFileError(
                    f"{journal.path}: entries must describe trials: {error!r}"
                ) from None
            if trial.recipe != self._recipe(number, setting, pack):
                raise ValueError(
                    f"journal must be of this version of fastnn; trial {number + 1} in "
                    f"{journal.path} is of another recipe than is drawn today"
                )
            self.done.append(trial)
        for number in _best(self.done):
            self._bags[number] = _bag(journal.load(number), self.done[number].recipe, setting)

    def _read(self, name: str, kind: Callable[[Any], Any]) -> Any:
        assert self._journal is not None
        try:
            return kind(self._journal.about[name])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{self._journal.path}: {name} must be that of a search: {error!r}"
            ) from None


def _best(trials: list[Trial]) -> list[int]:
    """Numbers of those that an ensemble is chosen from, the best first; of equals the earlier."""
    finite = [number for number, trial in enumerate(trials) if trial.score < math.inf]
    return sorted(finite, key=lambda number: trials[number].score)[:KEPT]


def _entry(trial: Trial) -> dict[str, Any]:
    score = trial.score if trial.score < math.inf else None
    return {"recipe": to_json(trial.recipe), "score": score, "seconds": trial.seconds}


def _saved(bag: Bag) -> Saved:
    from fastnn.files.ensemble import Saved

    arrays = {"unseen": bag.unseen, "fold": bag.fold.astype(np.float64)}
    columns = [
        {name: [None if x != x else x for x in values] for name, values in one.columns().items()}
        for one in bag.histories
    ]
    return Saved([one.parameters() for one in bag.predictors], arrays, {"histories": columns})


def _bag(saved: Saved, recipe: Recipe, setting: Setting) -> Bag:
    from fastnn.tabular.files import predictor_of

    arrays = saved.arrays
    return Bag(
        recipe,
        [*map(predictor_of, saved.members)],
        [
            History({name: [math.nan if x is None else x for x in of] for name, of in one.items()})
            for one in saved.about["histories"]
        ],
        arrays["fold"].astype(np.intp),
        arrays["unseen"],
    )


def _digest(arrays: Sequence[np.ndarray | None]) -> str:
    """Which numbers these are."""
    import hashlib

    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
