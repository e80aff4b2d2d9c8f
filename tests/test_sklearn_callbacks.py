"""scikit-learn's callbacks in fastnn's estimators: what they are told, alone and in others."""

from __future__ import annotations

import pickle
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.7")
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import TabularClassifier
from fastnn.errors import MissingExtraError
from fastnn.sklearn import MLPClassifier, MLPRegressor
from fastnn.tabular import Pack, Recipe

try:
    from sklearn.callback import ProgressBar, ScoringMonitor
except ImportError:
    ScoringMonitor = None

if ScoringMonitor is None:
    pytestmark = pytest.mark.skip(reason="scikit-learn 1.9 brought callbacks")

X, y = load_iris(return_X_y=True)
X = (X - X.mean(0)) / X.std(0)
SETTINGS = {
    **{"hidden_layer_sizes": (8,), "max_iter": 4},
    **{"random_state": 0, "learning_rate_init": 0.05},
}


class Recorder:
    """Notes what it is told, each epoch's probabilities, and stops after `last` epochs.

    fitted: whether each task shows an estimator.
    """

    def __init__(self, last=None, fitted=True):
        self.told, self.probabilities, self.data = [], [], []
        self.last, self.shown = last, fitted

    def setup(self, estimator, context):
        self.told.append("setup")

    def teardown(self, estimator, context):
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.told.append(f"{context.task_name} {context.task_id} begins")

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self.told.append(f"{context.task_name} {context.task_id} ends")
        if self.shown or fitted_estimator is not None:
            self.probabilities.append(fitted_estimator.predict_proba(X))
        self.fitted = fitted_estimator
        self.data.append((X, y, metadata))
        return context.parent is not None and self.last == context.task_id + 1


def fitted(*callbacks, weight=None, **changed):
    model = MLPClassifier(**{**SETTINGS, **changed})
    if callbacks:
        assert model.set_callbacks(*callbacks) is model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y, weight)


SOLVERS = {"adam": {}, "sgd": {"solver": "sgd"}, "lbfgs": {"solver": "lbfgs"}}


@pytest.mark.parametrize("changed", SOLVERS.values(), ids=SOLVERS)
def test_a_fit_and_its_epochs_are_told_in_order(changed):
    recorder = Recorder()
    model = fitted(recorder, **changed)
    name = "iteration" if "lbfgs" in changed.values() else "epoch"
    parts = [f"{name} {i} {what}" for i in range(4) for what in ("begins", "ends")]
    assert recorder.told == ["setup", "fit 0 begins", *parts, "fit 0 ends", "teardown"]
    assert not {"_task", "_callback_fit_ctx"} & set(vars(model))
    for data in recorder.data:
        assert data[0] is X and data[1] is y and data[2] == {}


@pytest.mark.parametrize("changed", SOLVERS.values(), ids=SOLVERS)
def test_an_epoch_shows_the_estimator_that_so_many_epochs_fit(changed):
    """Later epochs leave it alone, and nothing of the fit depends on who looks."""
    recorder = Recorder()
    model = fitted(recorder, **changed)
    for epochs, p in enumerate(recorder.probabilities[:4], 1):
        short = fitted(**{**changed, "max_iter": epochs})
        np.testing.assert_array_equal(p, short.predict_proba(X))
    np.testing.assert_array_equal(recorder.probabilities[4], model.predict_proba(X))
    np.testing.assert_array_equal(model.predict_proba(X), fitted(**changed).predict_proba(X))


@pytest.mark.parametrize("changed", SOLVERS.values(), ids=SOLVERS)
def test_a_callback_stops_a_fit_as_if_it_had_converged(changed):
    model = MLPClassifier(**{**SETTINGS, **changed}).set_callbacks(Recorder(last=2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, y)
    assert model.n_iter_ == 2
    want = fitted(**{**changed, "max_iter": 2})
    np.testing.assert_array_equal(model.predict_proba(X), want.predict_proba(X))


def test_the_fit_ends_with_the_best_weights_of_early_stopping():
    recorder = Recorder()
    model = fitted(recorder, early_stopping=True, max_iter=30, learning_rate_init=0.3)
    best = int(np.argmax(model.validation_scores_))
    assert best < model.n_iter_ - 1
    np.testing.assert_array_equal(recorder.probabilities[-1], recorder.probabilities[best])


def test_our_own_callbacks_are_told_too():
    class Counts(fastnn.Callback):
        epochs = 0

        def on_epoch_end(self, fit):
            self.epochs += 1
            assert len(recorder.probabilities) == self.epochs - 1  # ours come first

    counts, recorder = Counts(), Recorder()
    fitted(recorder, callbacks=[counts])
    assert counts.epochs == 4


def test_callbacks_are_torn_down_after_an_error():
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        MLPClassifier(**SETTINGS).set_callbacks(recorder).fit(X * np.nan, y)
    assert recorder.told == ["setup", "fit 0 begins", "teardown"]


def test_partial_fit_tells_nobody():
    recorder = Recorder()
    MLPClassifier(**SETTINGS).set_callbacks(recorder).partial_fit(X, y, classes=[0, 1, 2])
    assert recorder.told == []


def test_sample_weights_reach_the_scorer():
    weight = np.where(y == 0, 0.0, 1.0)
    monitor = ScoringMonitor(scoring="accuracy")
    model = fitted(monitor, weight=weight)
    last = monitor.get_logs().data[-1]
    assert last["task_name"] == "epoch" and last["task_id"] == 3
    assert last["accuracy"] == pytest.approx(model.score(X, y, weight))
    assert last["accuracy"] != pytest.approx(model.score(X, y))


def test_a_regressor_is_monitored():
    X, y = load_diabetes(return_X_y=True)
    monitor = ScoringMonitor(scoring=["r2", "neg_mean_absolute_error"])
    model = MLPRegressor(**SETTINGS, batch_size=20).set_callbacks(monitor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    scores = [row["r2"] for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(scores) == 4 and scores == sorted(scores)
    assert scores[-1] == pytest.approx(model.score(X, y))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_monitor_inside_a_pipeline_inside_a_search(n_jobs):
    """Every candidate's fits on every fold, and the best one's on all rows."""
    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(**SETTINGS).set_callbacks(monitor)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model),
        {"mlpclassifier__alpha": [0.1, 1.0]},
        cv=2,
        n_jobs=n_jobs,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, y)
    log = monitor.get_logs()
    assert log.estimator_name == "GridSearchCV"
    epochs = [row for row in log.data if row["task_name"] == "epoch"]
    assert len(epochs) == 4 * (2 * 2 + 1)
    refitted = [row for row in epochs if len(row["task_id_path"]) == min(map(_depth, epochs))]
    assert len(refitted) == 4
    assert refitted[-1]["accuracy"] == pytest.approx(search.score(X, y))
    assert not hasattr(search.best_estimator_[-1], "_parent_callback_ctx")


def _depth(row):
    return len(row["task_id_path"])


def test_a_progress_bar_reaches_into_a_pipeline(capsys):
    pytest.importorskip("rich")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**SETTINGS))
    pipeline.set_callbacks(ProgressBar())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(X, y)
    text = capsys.readouterr().out
    assert "MLPClassifier - fit" in text and "100%" in text


PACK = Pack((Recipe((4,), epochs=5), Recipe((8,), epochs=5)), n_folds=2)


@pytest.mark.parametrize("time_limit", [None, 100.0])
def test_an_ensemble_tells_of_its_networks(time_limit):
    """They are trained at once: one may begin before another has ended."""
    recorder = Recorder(fitted=False)
    model = TabularClassifier(recipe=PACK, random_state=0, n_threads=2, time_limit=time_limit)
    model.set_callbacks(recorder).fit(X, y)
    told = recorder.told
    assert told[:3] == ["setup", "fit 0 begins", "networks 0 begins"]
    assert told[-3:] == ["networks 0 ends", "fit 0 ends", "teardown"]
    networks = [f"network {i} {what}" for i in range(4) for what in ("begins", "ends")]
    assert sorted(told[3:-3]) == sorted(networks)
    for i in range(4):
        assert told.index(f"network {i} begins") < told.index(f"network {i} ends")
    alone = TabularClassifier(recipe=PACK, random_state=0, time_limit=time_limit).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert clone(model)._skl_callbacks == [recorder]


def test_an_ensemble_is_monitored_inside_a_search():
    monitor = ScoringMonitor(scoring="accuracy")
    model = TabularClassifier(recipe=PACK, random_state=0).set_callbacks(monitor)
    search = GridSearchCV(model, {"random_state": [0, 1]}, cv=2).fit(X, y)
    log = monitor.get_logs()
    scores = [row["accuracy"] for row in log.data if "accuracy" in row]
    assert log.estimator_name == "GridSearchCV" and len(scores) == 5
    assert any(score == pytest.approx(search.score(X, y)) for score in scores)  # of the best


def test_what_a_callback_keeps_of_the_estimator_holds_no_rows():
    recorder = Recorder()
    fitted(recorder)
    recorder.data.clear()
    kept = recorder.fitted.set_callbacks()
    assert "_task" not in kept.__getstate__()
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(kept)).predict_proba(X), recorder.probabilities[-1]
    )


def test_what_is_no_callback_is_refused_and_an_older_scikit_learn_named(monkeypatch):
    model = MLPClassifier(**SETTINGS)
    with pytest.raises(TypeError, match="FitCallback"):
        model.set_callbacks("progress")
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    with pytest.raises(MissingExtraError, match=r"set_callbacks needs scikit-learn>=1\.9"):
        model.set_callbacks(Recorder())
