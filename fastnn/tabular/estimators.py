"""TabularClassifier and TabularRegressor: rows as people have them in, answers out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, Self

import numpy as np

from fastnn.checks import as_bool, as_int, as_real, counted, listed
from fastnn.config import threads
from fastnn.explain.importance import Importance, permutation_importance
from fastnn.explain.shapley import Shapley, shapley_values, some_rows
from fastnn.names import Bools, Doubles
from fastnn.network.arrays import as_finite, as_numbers, is_table
from fastnn.predictor import RowPredictor
from fastnn.random import as_seed
from fastnn.sklearn_callbacks import Task, followed
from fastnn.tables.columns import Columns
from fastnn.tables.table import Arrays, Numbers, Table, codes_of
from fastnn.tables.targets import Amount
from fastnn.tabular.api import Estimator
from fastnn.tabular.data import as_amounts, as_classes, as_data, as_target
from fastnn.tabular.ensemble import Ensemble
from fastnn.tabular.folds import evenly
from fastnn.tabular.learning import HeldOut, learn_ensemble
from fastnn.tabular.recipes import Pack, Search, single_recipe
from fastnn.tabular.search.trials import Trial
from fastnn.tabular.unseen.conformal import MOST
from fastnn.training.history import History
from fastnn.training.metrics import log_loss, r2, rmse
from fastnn.training.weights import as_weights

# Settings of `fastnn.tables.learn`.
OF_COLUMNS = "numeric", "categorical", "dates", "ordered", "drop", "missing_values"


class Tabular(Estimator):
    """What both estimators do alike."""

    kind: str
    task: str
    n_features_in_: int
    classes_: np.ndarray  # of a classifier
    feature_names_in_: np.ndarray  # where X was a table
    scores_: dict[str, float]
    held_out_: HeldOut  # of a fit, not of a file
    histories_: list[History]
    trials_: list[Trial]
    _ensemble: Ensemble
    _pack: Pack  # that was trained
    _names: list[str] | None  # of the columns that arrays are read as; None: X is an array

    def __init__(
        self,
        *,
        recipe: Any = "auto",
        time_limit: float | None = None,
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        dates: Sequence[str] = (),
        ordered: Mapping[str, Sequence[Any]] | None = None,
        drop: Sequence[str] = (),
        missing_values: Sequence[Any] = (),
        monotone: Mapping[Any, int] | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.time_limit = time_limit
        self.numeric = numeric
        self.categorical = categorical
        self.dates = dates
        self.ordered = ordered
        self.drop = drop
        self.missing_values = missing_values
        self.monotone = monotone
        self.random_state = random_state
        self.n_threads = n_threads
        self.verbose = verbose

    def _fit(self, X: Any, y: Any, sample_weight: Any, name: str, teacher: Any) -> Self:
        """name, teacher: the argument that is learned in y's place; None: y is."""
        with followed(self, X, y, sample_weight, 1) as fit:
            return self._learn(X, y, sample_weight, name, teacher, fit)

    def _learn(
        self, X: Any, y: Any, sample_weight: Any, name: str, teacher: Any, fit: Task | None
    ) -> Self:
        seed = self._check_params()
        data, cells = as_data(X), as_target(y)
        n = cells.n_rows if isinstance(cells, Table) else len(cells)
        if n != data.n_rows:
            raise ValueError(
                f"X and y must have as many rows as each other, got {data.n_rows} and {n}"
            )
        weights, rows = as_weights(sample_weight, n), None
        if teacher is not None:
            teacher = as_finite(name, as_numbers(name, teacher), "float64")
        if weights is not None and not weights.all():
            rows = np.flatnonzero(weights)
            weights, data = weights[rows], data.take(rows)
            cells = cells.take(rows) if isinstance(cells, Table) else cells[rows]
            teacher = teacher if teacher is None or len(teacher) != n else teacher[rows]
        if data.n_rows < 2:
            raise ValueError(f"X must have at least 2 rows, got n_samples = {data.n_rows}")
        if isinstance(cells, Table):
            target, classes = cells, None
        else:
            numbers, classes = self._as_numbers(cells)
            title = str(getattr(y, "name", None) or "y")
            target = Table("", {title: Numbers(numbers)}, indexed=True)
        if teacher is not None:
            self._check_teacher(name, teacher, target)
        with self._bound():
            learned = learn_ensemble(
                *(data, target),
                task=self.task,
                classes=classes,
                teacher=teacher,
                weights=weights,
                recipe=self.recipe,
                time_limit=self.time_limit,
                seed=seed,
                n_threads=self.n_threads,
                verbose=self.verbose,
                monotone=self.monotone,
                fit=fit,
                **{name: getattr(self, name) for name in OF_COLUMNS},
            )
        self._ensemble, self._pack = learned.ensemble, learned.pack
        self.scores_, self.histories_ = learned.scores, learned.histories
        of = learned.held_out
        self.held_out_ = of if rows is None else replace(of, rows=rows[of.rows], n_rows=n)
        vars(self).pop("trials_", None)
        if learned.trials is not None:
            self.trials_ = learned.trials.done
        if not learned.ensemble.columns.amounts:
            classes = learned.ensemble.columns.classes if classes is None else classes
            assert classes is not None
            self.classes_ = classes
        self._names = list(data.columns) if isinstance(data, Table) else None
        self.n_features_in_ = data.X.shape[1] if isinstance(data, Arrays) else len(data.columns)
        vars(self).pop("feature_names_in_", None)
        if is_table(X):
            self.feature_names_in_ = np.array(self._names, object)
        if learned.stopped is not None:
            raise learned.stopped
        return self

    @abstractmethod
    def _check_teacher(self, name: str, teacher: np.ndarray, target: Table) -> None:
        """Refuse what is not of the target's rows and classes."""

    def _compressed(self, X: Any, y: Any, sample_weight: Any, teacher: np.ndarray) -> Self:
        """A new estimator of a single network."""
        student = type(self)(**self.get_params())
        student.recipe = Pack((single_recipe(self.task),), n_folds=1)
        return student._fit(X, y, sample_weight, "teacher", teacher)

    def _check_params(self) -> int:
        """Refuse parameters that no data could make right; returns the seed."""
        if self.n_threads is not None:
            as_int("n_threads", self.n_threads, 1)
        if self.time_limit is not None and not as_real("time_limit", self.time_limit):
            raise ValueError("time_limit must be above 0 seconds, got 0")
        for name in OF_COLUMNS:
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a list, got a text, {getattr(self, name)!r:.50}")
        as_bool("verbose", self.verbose)
        state = self.random_state
        for draw in ("randint", "integers"):  # of a RandomState, as scikit-learn has, or Generator
            if hasattr(state, draw):
                state = int(getattr(state, draw)(2**31 - 1))
        if state is None and isinstance(self.recipe, Search) and self.recipe.journal:
            raise ValueError("random_state must be an integer where a search keeps a journal")
        return as_seed(state, "random_state")

    @property
    def columns_(self) -> Columns:
        """What columns are taken for, and the target; of `fastnn.tables.learn`."""
        self._check_fitted()
        return self._ensemble.columns

    def _bound(self) -> AbstractContextManager[None]:
        return nullcontext() if self.n_threads is None else threads(self.n_threads)

    @abstractmethod
    def _as_numbers(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """y as numbers; of classes 0, 1, ..., and what these stand for."""

    def _as_data(self, X: Any) -> Table | Arrays:
        """X as the columns take it."""
        self._check_fitted()
        return as_data(X, self._names, self.n_features_in_, type(self).__name__)

    def _rows(self, X: Any, y: Any) -> tuple[Table | Arrays, np.ndarray]:
        """X as the columns take it, and y as `_loss` takes it."""
        data, truth = self._as_data(X), self._truth(y)
        if len(truth) != data.n_rows:
            raise ValueError(
                "X and y must have as many rows as each other, "
                f"got {data.n_rows:,} and {len(truth):,}"
            )
        return data, truth

    def _encoded(self, X: Any) -> np.ndarray:
        """X as the networks take it."""
        encoded: np.ndarray = self.columns_.encode(self._as_data(X), "float32")
        return encoded

    def _encoded_row(self, row: Mapping[str, Any]) -> np.ndarray:
        self._check_fitted()
        return self._ensemble.columns.encode_row(row, "float32")[None]

    def predictor(
        self, *, rows: bool = True, n_threads: int | None = None, max_batch: int | None = None
    ) -> RowPredictor:
        """What answers rows of raw cells, dicts and sequences: ``predict_proba``, or of amounts
        ``predict``, without what a table costs. Later fits do not change it.

        Parameters
        ----------
        rows : True
            As of `Model.predictor`, whose other kind an ensemble has not.
        n_threads : int, optional
            The most threads of a call, in place of the estimator's.
        max_batch : int, optional
            The most rows of a call: more are refused.

        Examples
        --------
        >>> import fastnn
        >>> table = {"age": [31, 47, 52, 28] * 5, "town": ["Rome", "Oslo", "Rome", "Oslo"] * 5}
        >>> model = fastnn.TabularClassifier(random_state=0).fit(table, ["no", "yes"] * 10)
        >>> model.predictor(rows=True)({"age": 50, "town": "Oslo"}).shape
        (2,)
        """
        self._check_fitted()
        if not rows:
            raise ValueError("rows must be True: an ensemble takes rows of cells alone")
        n_threads = self.n_threads if n_threads is None else as_int("n_threads", n_threads, 1)
        max_batch = None if max_batch is None else as_int("max_batch", max_batch, 1)
        ensemble, classes = self._ensemble, None if self.kind == "regressor" else self.classes_
        outputs = partial(_answers, ensemble, n_threads)
        return RowPredictor(ensemble.columns, outputs, self._names, classes, "float32", max_batch)

    def permutation_importance(
        self,
        X: Any,
        y: Any,
        *,
        repeats: int = 5,
        sample_weight: Any = None,
        seed: int | None = 0,
        held_out: bool = False,
    ) -> Importance:
        """How much each column matters: the rise of the loss where its cells are shuffled.

        Parameters
        ----------
        X, y : as of `fit`
            Rows that were not trained on; on others columns that were learned by heart matter, too.
        repeats, seed : int
            As of `fastnn.permutation_importance`.
        sample_weight : array, (n,), optional
        held_out : bool, default False
            X, y and sample_weight are those of `fit`: rows are answered by networks that have not
            seen them, at most 5000 of them. Not of an estimator from a file, which keeps none.

        Returns
        -------
        Importance
            By columns' names (x0, x1, ... where X has none): of classes in log loss, of amounts in
            RMSE, y's unit.
        """
        data, truth = self._rows(X, y)
        weights = as_weights(sample_weight, data.n_rows)
        return self._importance(data, truth, weights, repeats, seed, held_out, data.n_rows)

    def _importance(
        self,
        data: Table | Arrays,
        truth: np.ndarray,
        weights: np.ndarray | None,
        repeats: int,
        seed: int | None,
        held_out: bool,
        most: int,
    ) -> Importance:
        """As `permutation_importance`, of at most so many rows."""
        ensemble = self._ensemble
        if held_out:
            of = self._held_out_of(data)
            rows = of.rows[evenly(len(of.rows), MOST)]
            few = evenly(len(rows), most)
            rows, group = rows[few], ensemble.scores.group[few]
        else:
            rows, group = evenly(data.n_rows, most), None

        def answers(X: np.ndarray) -> np.ndarray:
            return ensemble.predict(X) if group is None else ensemble.predict_unseen(X, group)

        if len(rows) < data.n_rows:
            data, truth = data.take(rows), truth[rows]
            weights = None if weights is None else weights[rows]
        encoded = ensemble.columns.encode(data, warn_unknown=not held_out)
        with self._bound():
            return permutation_importance(
                answers,
                *(encoded, truth, lambda y, f: self._loss(y, f, weights)),
                groups=ensemble.features(),
                repeats=repeats,
                seed=seed,
            )

    def shapley_values(
        self, X: Any, background: Any, *, orders: int | None = None, seed: int | None = 0
    ) -> Shapley:
        """What each column contributes to the answers for some rows: to the probabilities of
        classes, or to the amounts in y's unit.

        Parameters
        ----------
        X, background : as of `fit`
            Rows to explain, and rows that stand for what their cells might have been, such as those
            trained on; of more than 100 a random 100.
        orders, seed : int, optional
            As of `fastnn.shapley_values`.

        Returns
        -------
        Shapley
            By columns' names (x0, x1, ... where X has none).
        """
        rows, others = self._encoded(X), self._encoded(background)
        n = len(rows)
        with self._bound():
            return shapley_values(
                self._ensemble.predict,
                *(np.concatenate([rows, others]), range(n)),
                background=n + some_rows(len(others), as_seed(seed)),
                groups=self._ensemble.features(),
                orders=orders,
                seed=seed,
            )

    def _held_out_of(self, data: Table | Arrays) -> HeldOut:
        """Which of these rows were held out; refused where they are not those of `fit`."""
        if "held_out_" not in vars(self):
            raise ValueError("held_out=True is for the estimator that was fitted, not for a file's")
        if data.n_rows != self.held_out_.n_rows:
            raise ValueError(
                f"with held_out=True X must be the {self.held_out_.n_rows:,} rows of fit, "
                f"got {data.n_rows:,}"
            )
        return self.held_out_

    @abstractmethod
    def _truth(self, y: Any) -> np.ndarray:
        """y as `_loss` takes it."""

    @abstractmethod
    def _loss(self, y: np.ndarray, f: np.ndarray, weights: np.ndarray | None) -> float:
        """What measures the answers f."""

    def report(
        self,
        path: str | PathLike[str],
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        held_out: bool = False,
    ) -> None:
        """Write a page on how this estimator does on rows whose target is known.

        Scores, columns that matter and how predictions depend on them, calibration and confusion or
        errors, learning curves, columns as they were read, settings: one HTML file, which needs
        neither network nor script.

        Parameters
        ----------
        path : path
            Such as "report.html".
        X, y, sample_weight : as of `fit`
            Rows that were not trained on. Weights count in what shuffled columns cost.
        held_out : bool, default False
            They are those of `fit`: rows are answered by networks that have not seen them. Not of
            an estimator from a file; that keeps no learning curves either.
        """
        from fastnn.tabular.report import Report  # here: what few need

        Report(self, X, y, sample_weight, held_out).write(path)

    def save(self, path: str | PathLike[str]) -> None:
        """Write columns, networks, weights, calibration and classes to one safetensors file.

        What stood at `path` stays until the new file is whole; `fastnn.load` reads it.

        Parameters
        ----------
        path : path
            Such as "model.safetensors".
        """
        self._check_fitted()
        from fastnn.tabular import files  # here: json makes an import slower

        files.save(path, self)

    def summary(self) -> str:
        """What was learned, as text: columns, networks, scores on held-out rows; print it."""
        self._check_fitted()
        return "\n".join(f"{name:9} {value}".rstrip() for name, value in self._lines())

    def _repr_html_(self) -> str:
        from fastnn.drawing.card import card
        from fastnn.drawing.page import facts

        name, fitted = type(self).__name__, self.__sklearn_is_fitted__()
        lines = facts(self._lines()) if fitted else ""
        return card(name if fitted else f"{name}, not fitted yet", repr(self), lines)

    def _lines(self) -> list[tuple[str, str]]:
        """The lines of `summary`, as titles and texts."""
        ensemble, pack = self._ensemble, self._pack
        folds = f"of {pack.n_folds} folds" if pack.n_folds > 1 else "of 80% of the rows"
        networks = (
            f"{counted(len(ensemble.members), 'network')} {folds}, "
            f"{counted(ensemble.n_parameters, 'parameter')}"
        )
        lines = [*ensemble.columns.lines(), ("networks", networks)]
        scores = [(name, f"{value:.4g}") for name, value in self.scores_.items()]
        return lines + self._monotone_lines() + scores

    def _monotone_lines(self) -> list[tuple[str, str]]:
        """A line for each column that answers rise or fall with."""
        signs, ways = self._ensemble.members[0]._network.monotone, {1: "rises", -1: "falls"}
        told = [
            f"{ways[signs[at[0]]]} with {name}"
            for name, at in self._ensemble.features().items()
            if signs and signs[at[0]]
        ]
        return [("" if i else "monotone", text) for i, text in enumerate(told)]


class TabularClassifier(Tabular):
    """Classes of the rows of a table, from an ensemble of small networks.

    `fit` needs no setting: columns are recognised, missing cells and text among them; networks are
    trained on all rows but those of a fold each, weighted by their predictions of rows that they
    have not seen, and the probabilities calibrated on these. docs/tables.md.

    Parameters
    ----------
    recipe : "auto", "td", "td-s", fastnn.tabular.Recipe, Pack or Search, default "auto"
        Advanced: which networks are trained, and how many. "td" and "td-s" are single networks, as
        of RealMLP-TD and RealMLP-TD-S. docs/tables.md, Recipes and Search.
    time_limit : float, optional
        Seconds that `fit` may take, about. By default the size of the ensemble follows from the
        numbers of rows and columns alone, so that the same data give the same bits anywhere; with
        a limit the clock decides how many networks there are.
    numeric, categorical, dates : sequence of str, default ()
        Columns that are taken for numbers, categories or dates whatever they look like.
    ordered : dict of str: sequence, optional
        Columns of categories in an order, from the least up.
    drop : sequence of str, default ()
        Columns to leave out.
    missing_values : sequence of str or numbers, default ()
        Cells that mean missing beside those that can only mean so, such as -999. These six are as
        of `fastnn.tables.learn`, and for tables.
    monotone : dict of column: 1 or -1, optional
        Columns, of numbers or ordered categories, by name (of arrays by number), with which the
        answer never falls (1) or never rises (-1), whatever the other columns hold; of two classes
        the probability of the second. It holds for `predict` and `predict_proba`, proved by bounds
        on the derivative; not for intervals and sets. docs/tables.md.
    random_state : int, RandomState, Generator or None, default None
        With the same integer a second fit gives the same bits, for any number of threads.
    n_threads : int, optional
        At most so many threads; by default what affinity, cgroup quota and OMP_NUM_THREADS allow.
    verbose : bool, default False
        Show progress on stderr.

    Attributes
    ----------
    classes_ : array, (n_classes,)
        As in y, in ascending order.
    n_features_in_ : int
        Columns of X.
    columns_ : Columns
        What they and the target are taken for (`fastnn.tables.learn`).
    feature_names_in_ : array of str, (n_features_in_,)
        Where X had names.
    scores_ : dict
        accuracy, log_loss and ece (expected calibration error) of held-out rows, each predicted by
        networks that have not seen it.
    held_out_
        These rows and predictions: ``held_out_.rows``, which rows of X, and
        ``held_out_.predictions``, their probabilities. An estimator from a file has none.
    histories_ : list of fastnn.History
        Of the networks' training; an estimator from a file has none.
    trials_ : list of fastnn.tabular.Trial
        Of a search: what was tried; an estimator from a file has none.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastnn
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularClassifier(random_state=0).fit(X, y)
    >>> model.predict(X[::50])
    array([0, 1, 2])
    """

    kind: str = "classifier"
    task: str = "classification"

    def _as_numbers(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        classes, codes = as_classes(y)
        if len(classes) < 2:
            raise ValueError(f"y must have two classes at least, got 1 class, {classes.tolist()}")
        return codes, classes

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, teacher_probabilities: Any = None
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X : table of pandas, polars or pyarrow, dict of columns, list of row dicts; or array (n, d)
            Numbers, text, booleans and categories; missing cells are taken care of.
        y : array or column, (n,)
            A class for each row.
        sample_weight : array, (n,), optional
            At least 0, not all 0; a row of weight 0 is left out.
        teacher_probabilities : array, (n, n_classes), optional
            What another model says of the rows, classes in ascending order: networks learn this in
            place of y, which then decides on weights, calibration and `scores_` alone.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError, TableError
            Before any work: what X, y or a parameter must be, and what came. The estimator stays as
            it was.
        KeyboardInterrupt
            The estimator is the ensemble of the networks that were trained on all folds by then;
            before there are any it stays as it was.
        """
        return self._fit(X, y, sample_weight, "teacher_probabilities", teacher_probabilities)

    def _check_teacher(self, name: str, teacher: np.ndarray, target: Table) -> None:
        (column,) = target.columns.values()
        want = (len(column), codes_of(column)[1])
        if teacher.shape != want:
            raise ValueError(f"{name} must have shape {want}, got {teacher.shape}")
        off = np.abs(teacher.sum(1) - 1)
        if teacher.min() < 0 or off.max() > 1e-3:
            row = int(np.argmax(np.where(teacher.min(1) < 0, np.inf, off)))
            raise ValueError(
                f"{name} must be at least 0 and of sum 1, got {teacher[row]} in row {row}"
            )

    def _truth(self, y: Any) -> np.ndarray:
        cells = as_target(y)
        if isinstance(cells, Table):
            known: np.ndarray = self.columns_.encode_targets(cells)
            return known
        labels: np.ndarray = (cells[:, None] == self.classes_).argmax(1)
        if not (self.classes_[labels] == cells).all():
            row = int(np.argmin(self.classes_[labels] == cells))
            came = cells.tolist()[row]
            raise ValueError(f"y must hold classes that fit has seen, got {came!r:.50} in y[{row}]")
        return labels

    def _loss(self, y: np.ndarray, f: np.ndarray, weights: np.ndarray | None) -> float:
        return log_loss(y, f, True, weights)

    def predict_proba(self, X: Any) -> Doubles:
        """Probabilities of the classes, calibrated.

        Parameters
        ----------
        X : table or array, as of `fit`
            Of a table columns are read by name, in any order, others passed over.

        Returns
        -------
        array, (n, n_classes)
            float64, in the order of `classes_`.
        """
        X = self._encoded(X)
        with self._bound():
            return self._ensemble.predict(X)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row, (n,)."""
        p = self.predict_proba(X)
        likeliest: np.ndarray = self.classes_[p.argmax(1)]
        return likeliest

    def compress(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """A single network that has learned what this ensemble says of rows.

        Parameters
        ----------
        X, y, sample_weight : as of `fit`
            Rows to learn from, most likely those of `fit`; y is for calibration and `scores_`.

        Returns
        -------
        TabularClassifier
            A new one. What the single network costs in score: its `scores_` are of a fifth of these
            rows, which it has not seen, and this estimator's of rows that its networks have not.

        References
        ----------
        Hinton, Vinyals & Dean (2015), "Distilling the knowledge in a neural network",
        arXiv:1503.02531.
        """
        p, labels = self.predict_proba(X), self._truth(y)
        weights = as_weights(sample_weight, len(labels))
        known = np.unique(labels if weights is None else labels[weights > 0])
        absent = np.delete(self.classes_, known)
        if len(absent):
            raise ValueError(
                f"y must hold every class that the ensemble knows, it lacks {listed(absent)}"
            )
        return self._compressed(X, y, sample_weight, p)

    def predict_proba_one(self, row: Mapping[str, Any]) -> Doubles:
        """As `predict_proba` of a table of this row alone, (n_classes,), without what a table
        costs; of a table's columns by name, in a dict of cells."""
        p: Doubles = self._ensemble.predict(self._encoded_row(row))[0]  # on one thread
        return p

    def predict_one(self, row: Mapping[str, Any]) -> Any:
        """The likeliest class of a row, a dict of cells by the names of their columns."""
        p = self.predict_proba_one(row)
        return self.classes_[p.argmax()]

    def predict_set(self, X: Any, coverage: float = 0.9) -> Bools:
        """Sets of classes that hold the true one in a share `coverage` of rows.

        By cross-conformal prediction: a class belongs to a row's set unless it is less likely than
        the true class of nearly all held-out rows was. docs/tables.md, Certainty.

        Parameters
        ----------
        X : table or array, as of `fit`
        coverage : float, default 0.9
            Above 0 and below 1.

        Returns
        -------
        array, (n, n_classes)
            bool: whether a class is in the set; the likeliest one always is.

        References
        ----------
        Sadinle, Lei & Wasserman (2019), "Least ambiguous set-valued classifiers with bounded error
        levels", JASA 114(525); across folds as Romano, Sesia & Candès (2020), "Classification with
        valid and adaptive coverage", NeurIPS.
        """
        X, coverage = self._encoded(X), _as_share("coverage", coverage)
        with self._bound():
            return self._ensemble.sets(X, coverage)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose class is predicted."""
        decided = self.predict(X)
        truth = as_target(y)
        if isinstance(truth, Table):
            truth = self.classes_[self._truth(truth)]
        right = truth == decided
        return float(np.average(right, weights=as_weights(sample_weight, len(decided))))


class TabularRegressor(Tabular):
    """Amounts of the rows of a table, from an ensemble of small networks.

    `fit` needs no setting, as of `TabularClassifier`. docs/tables.md.

    Parameters
    ----------
    recipe, time_limit, numeric, ..., missing_values, random_state, n_threads, verbose
        As of `TabularClassifier`.

    Attributes
    ----------
    n_features_in_, feature_names_in_, columns_, trials_
        As of `TabularClassifier`.
    scores_ : dict
        rmse, mae and r2 of held-out rows, each predicted by networks that have not seen it.
    held_out_, histories_
        As of `TabularClassifier`; predictions are amounts, (n,).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> import fastnn
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularRegressor(random_state=0).fit(X, y)
    >>> model.predict(X[:2]).shape
    (2,)
    """

    kind: str = "regressor"
    task: str = "regression"

    def _as_numbers(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return as_amounts(y), None

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, teacher_values: Any = None
    ) -> Self:
        """Learn from rows.

        Parameters
        ----------
        X, sample_weight
            As of `TabularClassifier.fit`.
        y : array or column, (n,)
            An amount for each row.
        teacher_values : array, (n,), optional
            What another model says of the rows: networks learn this in place of y, which then
            decides on weights and `scores_` alone.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError, TableError
            As of `TabularClassifier.fit`.
        """
        return self._fit(X, y, sample_weight, "teacher_values", teacher_values)

    def _check_teacher(self, name: str, teacher: np.ndarray, target: Table) -> None:
        if teacher.shape != (target.n_rows,):
            raise ValueError(f"{name} must have shape ({target.n_rows},), got {teacher.shape}")

    def compress(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """A single network that has learned what this ensemble says of rows; as of
        `TabularClassifier.compress`."""
        return self._compressed(X, y, sample_weight, self.predict(X))

    def _truth(self, y: Any) -> np.ndarray:
        cells = as_target(y)
        if isinstance(cells, Table):
            (name,) = cells.columns
            (target,) = self.columns_.targets
            assert isinstance(target, Amount)
            return target.values(cells, name)
        return as_amounts(cells)

    def _loss(self, y: np.ndarray, f: np.ndarray, weights: np.ndarray | None) -> float:
        return rmse(y[:, None], f[:, None], weights)

    def predict(self, X: Any) -> Doubles:
        """The amount of each row.

        Parameters
        ----------
        X : table or array, as of `fit`
            Of a table columns are read by name, in any order, others passed over.

        Returns
        -------
        array, (n,)
            float64, in y's unit.
        """
        X = self._encoded(X)
        with self._bound():
            return self._ensemble.predict(X)

    def predict_one(self, row: Mapping[str, Any]) -> float:
        """The amount of a row, a dict of cells by the names of their columns, without what a table
        costs."""
        return float(self._ensemble.predict(self._encoded_row(row))[0])

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Doubles:
        """Intervals that hold the true amount in a share `coverage` of rows.

        By cross-conformal prediction, from what rows that networks had not seen were off by, below
        and above. docs/tables.md, Certainty.

        Parameters
        ----------
        X : table or array, as of `fit`
        coverage : float, default 0.9
            Above 0 and below 1.

        Returns
        -------
        array, (n, 2)
            Lower and upper ends, in y's unit; -inf and inf where there were fewer rows to learn
            from than 2 / (1 - coverage) - 1.

        References
        ----------
        Barber, Candès, Ramdas & Tibshirani (2021), "Predictive inference with the jackknife+",
        Annals of Statistics 49(1).
        """
        X, coverage = self._encoded(X), _as_share("coverage", coverage)
        with self._bound():
            return self._ensemble.intervals(X, coverage)

    def predict_quantiles(self, X: Any, q: Any) -> Doubles:
        """Quantiles of the amount of each row.

        Parameters
        ----------
        X : table or array, as of `fit`
        q : float or list of float
            Each above 0 and below 1.

        Returns
        -------
        array, (n,) or (n, len(q))
            In y's unit; of ascending q they ascend.
        """
        X = self._encoded(X)
        several = isinstance(q, (list, tuple, np.ndarray))
        levels = np.array([_as_share("q", one) for one in (q if several else [q])])
        if not len(levels):
            raise ValueError("q must hold at least one number, got none")
        with self._bound():
            values = self._ensemble.quantiles(X, levels)
        return values if several else values[:, 0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2: 1 - sum (f - y)^2 / sum (y - mean y)^2."""
        f = self.predict(X)
        return r2(self._truth(y)[:, None], f[:, None], as_weights(sample_weight, len(f)))


def _answers(ensemble: Ensemble, n_threads: int | None, X: np.ndarray) -> np.ndarray:
    if n_threads is None or len(X) == 1:  # a row is answered by one thread
        return ensemble.predict(X)
    with threads(n_threads):
        return ensemble.predict(X)


def _as_share(name: str, value: Any) -> float:
    number = as_real(name, value, below=1.0)
    if not number:
        raise ValueError(f"{name} must be above 0 and below 1, got 0.0")
    return number


ESTIMATORS = {one.__name__: one for one in (TabularClassifier, TabularRegressor)}
