"""The tabular estimators in scikit-learn's hands: its checks, its tools."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.7")

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.tabular import Pack, Recipe

CHECKED = Pack(
    (Recipe((16,), optimizer=fastnn.Adam(0.02), epochs=40, batch_size=32),), n_folds=3
)
NOT_EQUIVALENT = {
    "check_sample_weight_equivalence_on_dense_data": "mini-batches and folds are drawn by row: a "
    "row of weight 2 lies in one of them, two rows may lie in two"
}


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", ".*does not inherit from `sklearn.base.BaseEstimator`")
    checks = parametrize_with_checks(
        [TabularClassifier(recipe=CHECKED), TabularRegressor(recipe=CHECKED)],
        expected_failed_checks=lambda estimator: NOT_EQUIVALENT,
    )


@checks
@pytest.mark.filterwarnings("ignore")
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_in_scikit_learns_tools():
    model = TabularRegressor(recipe=CHECKED, random_state=0)
    assert is_regressor(model) and is_classifier(TabularClassifier())
    assert clone(model).get_params() == model.get_params()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2))
    y = X @ [2.0, 1.0]
    assert cross_val_score(model, X, y, cv=3).min() > 0.8
    piped = make_pipeline(StandardScaler(), model)
    search = GridSearchCV(piped, {"tabularregressor__random_state": [0, 1]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.8 and search.predict(X).shape == (150,)
