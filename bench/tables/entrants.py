"""Who learns the tables: each as it comes, with its default settings, on one number of threads.

Nothing here imports the libraries: each is imported in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Make = Callable[[bool, int, int], Any]


@dataclass(frozen=True)
class Entrant:
    """`make` gets whether it classifies, the seed and the number of threads, and returns what has
    fit, predict and, to classify, predict_proba.

    Entrants of a lower stage, which are faster, run first. A part is one of the default's networks
    alone, in its folds, and stands in a table of its own.
    """

    name: str
    title: str
    make: Make
    package: str  # what is imported
    distributions: tuple[str, ...]  # whose versions are recorded
    stage: int = 0
    part: bool = False

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        return None if find_spec(self.package) else f"{self.package} is not installed"


def scikit_learn_mlp(classifies: bool, seed: int, n_threads: int) -> Any:
    """Numbers and a regression's y scaled, missing ones filled in, categories one-hot."""
    from sklearn.compose import TransformedTargetRegressor, make_column_selector
    from sklearn.compose import make_column_transformer as by_columns
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = by_columns(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_exclude="category"),
        ),
        (
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            make_column_selector(dtype_include="category"),
        ),
    )
    if classifies:
        return make_pipeline(columns, MLPClassifier(random_state=seed))
    scaled = TransformedTargetRegressor(
        MLPRegressor(random_state=seed), transformer=StandardScaler()
    )
    return make_pipeline(columns, scaled)


def hist_gradient_boosting(classifies: bool, seed: int, n_threads: int) -> Any:
    from sklearn import ensemble

    kind = "Classifier" if classifies else "Regressor"
    return getattr(ensemble, f"HistGradientBoosting{kind}")(random_state=seed)


def lightgbm(classifies: bool, seed: int, n_threads: int) -> Any:
    import lightgbm

    kind = lightgbm.LGBMClassifier if classifies else lightgbm.LGBMRegressor
    return kind(random_state=seed, n_jobs=n_threads, verbose=-1)


def xgboost(classifies: bool, seed: int, n_threads: int) -> Any:
    import xgboost

    kind = xgboost.XGBClassifier if classifies else xgboost.XGBRegressor
    return kind(random_state=seed, n_jobs=n_threads, enable_categorical=True)


class CatBoost:
    """With the names of the categories' columns, and missing ones as a category."""

    def __init__(self, classifies: bool, seed: int, n_threads: int) -> None:
        import catboost

        kind = catboost.CatBoostClassifier if classifies else catboost.CatBoostRegressor
        self.model = kind(
            random_seed=seed, thread_count=n_threads, verbose=0, allow_writing_files=False
        )

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.categories = list(X.columns[X.dtypes == "category"])
        self.model.fit(self._named(X), y, cat_features=self.categories)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.model.predict(self._named(X))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return self.model.predict_proba(self._named(X))

    def _named(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.astype(dict.fromkeys(self.categories, object)).fillna(
            dict.fromkeys(self.categories, "missing")
        )


def _fastnn(name: str, title: str, recipe: str) -> Entrant:
    def make(classifies: bool, seed: int, n_threads: int) -> Any:
        import fastnn

        kind = fastnn.TabularClassifier if classifies else fastnn.TabularRegressor
        return kind(recipe=recipe, random_state=seed, n_threads=n_threads)

    return Entrant(name, title, make, "fastnn", ("numpy",))


class Part:
    """The default's ensemble with one recipe in place of all: the `which`-th, perhaps changed."""

    def __init__(
        self,
        which: int,
        bins: bool,
        changed: dict[str, Any],
        classifies: bool,
        seed: int,
        n_threads: int,
    ) -> None:
        self.which, self.bins, self.changed, self.classifies = which, bins, changed, classifies
        self.settings = {"random_state": seed, "n_threads": n_threads}

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        import fastnn
        from fastnn.tables.columns import learn
        from fastnn.tabular.recipes import Features, binned, default_pack

        task, kind, n_classes = "regression", fastnn.TabularRegressor, 0
        if self.classifies:
            task, kind, n_classes = "classification", fastnn.TabularClassifier, int(y.max()) + 1
        inputs = learn(X, y, task=task, categories="codes").inputs
        features = Features.of(inputs.width, inputs.numbers, inputs.codes)
        pack = default_pack(task, len(X), features, n_classes)
        recipe = replace(pack.recipes[self.which], **self.changed)
        if self.bins:
            recipe = binned(recipe, features.numbers)
        self.model = kind(recipe=replace(pack, recipes=(recipe,)), **self.settings).fit(X, y)
        self.predict = self.model.predict
        self.predict_proba = getattr(self.model, "predict_proba", None)


def _part(name: str, title: str, which: int, bins: bool = False, **changed: Any) -> Entrant:
    make = partial(Part, which, bins, changed)
    return Entrant(name, title, make, "fastnn", ("numpy",), stage=4, part=True)


def _sklearn(name: str, title: str, make: Make) -> Entrant:
    return Entrant(name, title, make, "sklearn", ("scikit-learn",))


def _boosting(name: str, title: str, make: Make) -> Entrant:
    return Entrant(name, title, make, name, (name,))


def _pytabkit(name: str, title: str, kind: str, stage: int, **settings: Any) -> Entrant:
    def make(classifies: bool, seed: int, n_threads: int) -> Any:
        import pytabkit

        made = getattr(pytabkit, f"{kind}_{'Classifier' if classifies else 'Regressor'}")
        return made(random_state=seed, n_threads=n_threads, device="cpu", **settings)

    return Entrant(name, title, make, "pytabkit", ("pytabkit", "torch"), stage)


ENTRANTS = {
    entrant.name: entrant
    for entrant in [
        _fastnn("fastnn", "fastnn", "auto"),
        _fastnn("fastnn-td-s", "fastnn, td-s", "td-s"),
        _fastnn("fastnn-td", "fastnn, td", "td"),
        _sklearn("sklearn-mlp", "scikit-learn MLP", scikit_learn_mlp),
        _sklearn("hist-gb", "HistGradientBoosting", hist_gradient_boosting),
        _boosting("lightgbm", "LightGBM", lightgbm),
        _boosting("xgboost", "XGBoost", xgboost),
        _boosting("catboost", "CatBoost", CatBoost),
        _pytabkit("realmlp-td-s", "RealMLP-TD-S", "RealMLP_TD_S", 1),
        _pytabkit("realmlp-td", "RealMLP-TD", "RealMLP_TD", 1),
        _pytabkit("realmlp-td-cv8", "RealMLP-TD, n_cv=8", "RealMLP_TD", 2, n_cv=8),
        _pytabkit("tabm-d", "TabM-D", "TabM_D", 3),
        _part("part-periodic", "periodic", 0),
        _part("part-bins", "bins", 0, bins=True),
        _part("part-plain", "plain", -1),
        _part("part-periodic-256", "periodic, 256 wide", 0, hidden=(256, 256, 256)),
        _part("part-plain-256", "plain, 256 wide", -1, hidden=(256, 256, 256)),
    ]
}
