"""TabularClassifier and TabularRegressor: rows as people have them in, answers out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from typing import Any

import numpy as np

from fastnn.checks import as_bool, as_int, as_real, counted
from fastnn.config import threads
from fastnn.network.arrays import is_table
from fastnn.random import as_seed
from fastnn.tables.table import Arrays, Numbers, Table
from fastnn.tabular.api import Estimator
from fastnn.tabular.data import as_amounts, as_classes, as_data, as_target
from fastnn.tabular.ensemble import Ensemble
from fastnn.tabular.learning import learn_ensemble
from fastnn.tabular.recipes import Pack
from fastnn.training.metrics import r2
from fastnn.training.weights import as_weights


class Tabular(Estimator):
    """What both estimators do alike."""

    task: str
    n_features_in_: int
    scores_: dict[str, float]
    _ensemble: Ensemble
    _pack: Pack  # that was trained
    _names: list[str] | None  # of the columns that arrays are read as; None: X is an array

    recipe: Any
    time_limit: float | None
    categorical: Sequence[str]
    drop: Sequence[str]
    random_state: Any
    n_threads: int | None
    verbose: bool

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Learn from rows.

        Parameters
        ----------
        X : table of pandas, polars or pyarrow, dict of columns, list of row dicts; or array (n, d)
            Numbers, text, booleans and categories; missing cells are taken care of.
        y : array or column, (n,)
            A class or an amount for each row.
        sample_weight : array, (n,), optional
            At least 0, not all 0; a row of weight 0 is left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError, TableError
            Before any work: what X, y or a parameter must be, and what came. The estimator stays as
            it was.
        """
        seed = self._check_params()
        data, cells = as_data(X), as_target(y)
        n = cells.n_rows if isinstance(cells, Table) else len(cells)
        if n != data.n_rows:
            raise ValueError(
                f"X and y must have as many rows as each other, got {data.n_rows} and {n}"
            )
        weights = as_weights(sample_weight, n)
        if weights is not None and not weights.all():
            rows = np.flatnonzero(weights)
            weights, data = weights[rows], data.take(rows)
            cells = cells.take(rows) if isinstance(cells, Table) else cells[rows]
        if data.n_rows < 2:
            raise ValueError(f"X must have at least 2 rows, got n_samples = {data.n_rows}")
        if isinstance(cells, Table):
            target, classes = cells, None
        else:
            numbers, classes = self._as_numbers(cells)
            name = str(getattr(y, "name", None) or "y")
            target = Table("", {name: Numbers(numbers)}, indexed=True)
        with self._bound():
            learned = learn_ensemble(
                *(data, target),
                task=self.task,
                classes=classes,
                weights=weights,
                recipe=self.recipe,
                time_limit=self.time_limit,
                seed=seed,
                n_threads=self.n_threads,
                verbose=self.verbose,
                categorical=self.categorical,
                drop=self.drop,
            )
        self._ensemble, self._pack = learned.ensemble, learned.pack
        self.scores_ = learned.scores
        if not learned.ensemble.columns.amounts:
            self.classes_ = learned.ensemble.columns.classes if classes is None else classes
        self._names = list(data.columns) if isinstance(data, Table) else None
        self.n_features_in_ = data.X.shape[1] if isinstance(data, Arrays) else len(data.columns)
        vars(self).pop("feature_names_in_", None)
        if is_table(X):
            self.feature_names_in_ = np.array(self._names, object)
        return self

    def _check_params(self) -> int:
        """Refuse parameters that no data could make right; returns the seed."""
        if self.n_threads is not None:
            as_int("n_threads", self.n_threads, 1)
        if self.time_limit is not None and not as_real("time_limit", self.time_limit):
            raise ValueError("time_limit must be above 0 seconds, got 0")
        for name in ("categorical", "drop"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a list of columns' names, got a text")
        as_bool("verbose", self.verbose)
        state = self.random_state
        if hasattr(state, "randint"):  # a RandomState, as scikit-learn hands on
            state = int(state.randint(2**31 - 1))
        return as_seed(state)

    def _bound(self) -> AbstractContextManager[None]:
        return nullcontext() if self.n_threads is None else threads(self.n_threads)

    def _as_numbers(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """y as numbers; of classes 0, 1, ..., and what these stand for."""
        raise NotImplementedError

    def _rows(self, X: Any) -> Table | Arrays:
        """X as what the columns were learned from."""
        self._check_fitted()
        return as_data(X, self._names, self.n_features_in_, type(self).__name__)

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
        ensemble, pack = self._ensemble, self._pack
        folds = f"of {pack.n_folds} folds" if pack.n_folds > 1 else "of 80% of the rows"
        networks = (
            f"{counted(len(ensemble.members), 'network')} {folds}, "
            f"{counted(ensemble.n_parameters, 'parameter')}"
        )
        lines = [*ensemble.columns.lines(), ("networks", networks)]
        lines += [(name, f"{value:.4g}") for name, value in self.scores_.items()]
        return "\n".join(f"{name:9} {value}".rstrip() for name, value in lines)


class TabularClassifier(Tabular):
    """Classes of the rows of a table, from an ensemble of small networks.

    `fit` needs no setting: columns are recognised, missing cells and text among them; networks are
    trained on all rows but those of a fold each, weighted by their predictions of rows that they
    have not seen, and the probabilities calibrated on these. docs/tables.md.

    Parameters
    ----------
    recipe : "auto", fastnn.tabular.Recipe or fastnn.tabular.Pack, default "auto"
        Advanced: which networks are trained, and how many.
    time_limit : float, optional
        Seconds that `fit` may take, about. By default the size of the ensemble follows from the
        numbers of rows and columns alone, so that the same data give the same bits anywhere; with
        a limit the clock decides how many networks there are.
    categorical : sequence of str, default ()
        Columns of numbers that are categories.
    drop : sequence of str, default ()
        Columns to leave out.
    random_state : int, RandomState instance or None, default None
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
    feature_names_in_ : array of str, (n_features_in_,)
        Where X had names.
    scores_ : dict
        accuracy, log_loss and ece (expected calibration error) of held-out rows, each predicted by
        networks that have not seen it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import fastnn
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularClassifier(random_state=0).fit(X, y)
    >>> model.predict(X[::50])
    array([0, 1, 2])
    """

    kind, task = "classifier", "classification"
    classes_: np.ndarray

    def __init__(
        self,
        *,
        recipe: Any = "auto",
        time_limit: float | None = None,
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        vars(self).update({name: value for name, value in locals().items() if name != "self"})

    def _as_numbers(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        classes, codes = as_classes(y)
        if len(classes) < 2:
            raise ValueError(f"y must have two classes at least, got 1 class, {classes.tolist()}")
        return codes, classes

    def predict_proba(self, X: Any) -> np.ndarray:
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
        data = self._rows(X)
        with self._bound():
            return self._ensemble.probabilities(data)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row, (n,)."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(1)]

    def predict_set(self, X: Any, coverage: float = 0.9) -> np.ndarray:
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
        data, coverage = self._rows(X), _as_share("coverage", coverage)
        with self._bound():
            return self._ensemble.sets(data, coverage)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose class is predicted."""
        decided = self.predict(X)
        right = np.asarray(as_target(y)) == decided
        return float(np.average(right, weights=as_weights(sample_weight, len(decided))))


class TabularRegressor(Tabular):
    """Amounts of the rows of a table, from an ensemble of small networks.

    `fit` needs no setting, as of `TabularClassifier`. docs/tables.md.

    Parameters
    ----------
    recipe, time_limit, categorical, drop, random_state, n_threads, verbose
        As of `TabularClassifier`.

    Attributes
    ----------
    n_features_in_, feature_names_in_
        As of `TabularClassifier`.
    scores_ : dict
        rmse, mae and r2 of held-out rows, each predicted by networks that have not seen it.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> import fastnn
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularRegressor(random_state=0).fit(X, y)
    >>> model.predict(X[:2]).shape
    (2,)
    """

    kind, task = "regressor", "regression"

    def __init__(
        self,
        *,
        recipe: Any = "auto",
        time_limit: float | None = None,
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
        random_state: Any = None,
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        vars(self).update({name: value for name, value in locals().items() if name != "self"})

    def _as_numbers(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return as_amounts(y), None

    def predict(self, X: Any) -> np.ndarray:
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
        data = self._rows(X)
        with self._bound():
            return self._ensemble.values(data)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
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
        data, coverage = self._rows(X), _as_share("coverage", coverage)
        with self._bound():
            return self._ensemble.intervals(data, coverage)

    def predict_quantiles(self, X: Any, q: Any) -> np.ndarray:
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
        data = self._rows(X)
        several = isinstance(q, (list, tuple, np.ndarray))
        levels = np.array([_as_share("q", one) for one in (q if several else [q])])
        if not len(levels):
            raise ValueError("q must hold at least one number, got none")
        with self._bound():
            values = self._ensemble.quantiles(data, levels)
        return values if several else values[:, 0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2: 1 - sum (f - y)^2 / sum (y - mean y)^2."""
        f, amounts = self.predict(X), as_amounts(np.asarray(as_target(y)))
        return r2(amounts[:, None], f[:, None], as_weights(sample_weight, len(f)))


def _as_share(name: str, value: Any) -> float:
    number = as_real(name, value, below=1.0)
    if not number:
        raise ValueError(f"{name} must be above 0 and below 1, got 0.0")
    return number


ESTIMATORS = {one.__name__: one for one in (TabularClassifier, TabularRegressor)}
