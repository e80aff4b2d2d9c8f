"""fastnn.sklearn beside scikit-learn: its own tests, its checks of estimators, and its results.

In float64 a fit is scikit-learn's up to rounding. CLOSE is what rounding may grow to in these fits;
a wrong formula or another order of random numbers is off by more than 1e-3.
"""

from __future__ import annotations

import inspect
import os
import pickle
import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.7")

from sklearn import config_context, datasets, neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import fastnn
from fastnn.kernels import _cpu
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLOSE = {"rtol": 1e-8, "atol": 1e-9}


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


THEIRS = {
    MLPClassifier: neural_network.MLPClassifier,
    MLPRegressor: neural_network.MLPRegressor,
}
EXTRAS = ["n_threads", "dropout", "validation_data", "callbacks", "optimizer"]


def scaled(X):
    return (X - X.mean(0)) / np.where(X.std(0) > 0, X.std(0), 1)


def data(name):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return scaled(X), scaled(y) if name == "diabetes" else y


def fitted(ours, X, y, sample_weight=None, **settings):
    """Both fitted alike: ours, theirs."""
    pair = [which(**settings) for which in (ours, THEIRS[ours])]
    return [one.fit(X, y, sample_weight=sample_weight) for one in pair]


def assert_same(ours, theirs):
    for mine, want in zip(
        [*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True
    ):
        assert mine.shape == want.shape and mine.dtype == want.dtype
        np.testing.assert_allclose(mine, want, **CLOSE)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)
    for name in ("loss_", "best_loss_", "loss_curve_", "validation_scores_"):
        if getattr(theirs, name, None) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), **CLOSE)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(ours, name) == getattr(theirs, name)


# --- scikit-learn's own

REPLACED = """
    import sklearn.neural_network as theirs
    from fastnn import sklearn as ours

    theirs.MLPClassifier, theirs.MLPRegressor = ours.MLPClassifier, ours.MLPRegressor

    def pytest_collection_modifyitems(items):
        for item in items:
            assert item.module.MLPClassifier is ours.MLPClassifier
            assert item.module.MLPRegressor is ours.MLPRegressor
"""


def test_scikit_learns_tests_pass_with_its_classes_replaced(tmp_path):
    pytest.importorskip("sklearn.neural_network.tests.test_mlp", reason="no tests installed")
    pytest.importorskip("pandas", reason="two of the tests would skip without pandas")
    (tmp_path / "replaced.py").write_text(textwrap.dedent(REPLACED))
    module = "sklearn.neural_network.tests.test_mlp"
    command = f"-m pytest -q -rs -p replaced -p no:cacheprovider --pyargs {module}".split()
    run = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed[1]) >= 58, run.stdout
    assert "failed" not in run.stdout and "skipped" not in run.stdout


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_checks_of_estimators(estimator, check):
    check(estimator)


@pytest.mark.parametrize("ours", THEIRS)
def test_parameters_are_scikit_learns_and_a_few_by_keyword(ours):
    mine = inspect.signature(ours).parameters
    theirs = inspect.signature(THEIRS[ours]).parameters
    assert list(mine)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert (mine[name].kind, mine[name].default) == (parameter.kind, parameter.default)
    extras = list(mine)[len(theirs) :]
    assert sorted(extras) == sorted(EXTRAS + ["class_weight"] * (ours is MLPClassifier))
    assert all(mine[name].kind is inspect.Parameter.KEYWORD_ONLY for name in extras)


def test_without_scikit_learn_the_error_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import fastnn.sklearn"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError" in run.stderr and 'pip install "fastnn-cpu[sklearn]"' in run.stderr


# --- the same fit

SETTINGS = {
    "adam": {},
    "adam's settings": {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "learning_rate_init": 0.01},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.01},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.05},
    "adaptive": {
        **{"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1},
        **{"tol": 0.03, "n_iter_no_change": 2, "max_iter": 60},
    },
    "strong penalty": {"alpha": 10.0},
    "no penalty": {"alpha": 0.0},
    "logistic, two layers": {"activation": "logistic", "hidden_layer_sizes": (20, 9)},
    "tanh, batches of 32": {"activation": "tanh", "batch_size": 32, "max_iter": 8},
    "batches of 1": {"activation": "identity", "batch_size": 1, "max_iter": 2, "solver": "sgd"},
    "no hidden layer": {"hidden_layer_sizes": ()},
    "no shuffle": {"shuffle": False},
    "early stopping": {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 3},
    "until it converges": {"tol": 1e-2, "max_iter": 200, "n_iter_no_change": 3},
    "lbfgs": {"solver": "lbfgs", "max_iter": 15},
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", ["breast_cancer", "iris", "diabetes"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_fit_is_scikit_learns(name, settings, weighted):
    X, y = data(name)
    weights = np.random.default_rng(0).integers(1, 5, len(y)) / 2 if weighted else None
    ours = MLPRegressor if name == "diabetes" else MLPClassifier
    given = {"hidden_layer_sizes": (20,), "max_iter": 20, "random_state": 3, **SETTINGS[settings]}
    mine, theirs = fitted(ours, X, y, weights, **given)
    if settings == "lbfgs":
        mine.t_ = theirs.t_
    assert_same(mine, theirs)
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X), **CLOSE)
    assert abs(mine.score(X, y) - theirs.score(X, y)) < 1e-9


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_many_targets(solver, early_stopping):
    given = {"solver": solver, "early_stopping": early_stopping, "max_iter": 20, "random_state": 0}
    X, y = datasets.make_multilabel_classification(100, 12, random_state=0)
    assert_same(*fitted(MLPClassifier, scaled(X), y, **given))
    rng = np.random.default_rng(1)
    X = rng.standard_normal((100, 4))
    assert_same(*fitted(MLPRegressor, X, X @ rng.standard_normal((4, 3)), **given))
    for y in (rng.poisson(np.exp(X[:, 0])), rng.poisson(np.exp(X[:, :2]))):
        weights = rng.random(100) if y.ndim == 1 else None
        assert_same(*fitted(MLPRegressor, X, y, weights, loss="poisson", **given))


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
def test_ten_seeds(name):
    X, y = data(name)
    ours = MLPRegressor if name == "diabetes" else MLPClassifier
    limit = {"max_iter": 10} if name == "digits" else {"tol": 2e-3}
    for seed in range(10):
        mine, theirs = fitted(ours, X, y, random_state=seed, **limit)
        assert mine.n_iter_ == theirs.n_iter_
        assert abs(mine.score(X, y) - theirs.score(X, y)) < 1e-9


def test_labels_of_any_kind():
    X, y = data("iris")
    for labels in (np.array(["a", "bb", "c"], dtype=object)[y], y * 10 - 5, y > 0):
        mine, theirs = fitted(MLPClassifier, X, labels, random_state=0, max_iter=20)
        assert_same(mine, theirs)
        assert mine.classes_.tolist() == theirs.classes_.tolist()
        assert mine.predict(X).tolist() == theirs.predict(X).tolist()
        np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), **CLOSE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["several classes", "two classes", "labels", "values", "targets"])
def test_a_plain_array_is_predicted_without_scikit_learns_validation(kind, dtype, monkeypatch):
    X = data("digits")[0][:200]
    values = X[:, 20:22] + X[:, 40:42]
    y = {
        "several classes": data("digits")[1][:200],
        "two classes": np.array(["no", "yes"])[(values[:, 0] > 0).astype(int)],
        "labels": (values > 0).astype(int),
        "values": values[:, 0],
        "targets": values,
    }[kind]
    ours = MLPRegressor if kind in ("values", "targets") else MLPClassifier
    model = ours(random_state=0, max_iter=5).fit(X, y)
    methods = ["predict", "predict_proba"] if ours is MLPClassifier else ["predict"]
    few = np.asfortranarray(X[:9].astype(dtype))
    want = [getattr(model, method)(few.tolist()) for method in methods]
    validated = [getattr(super(ours, model), method)(few) for method in methods]

    def never(*arguments, **more):
        raise AssertionError("validated")

    monkeypatch.setattr("fastnn.sklearn.validate_data", never)
    found = [getattr(model, method)(few) for method in methods]
    for method, one, same, near in zip(methods, found, validated, want, strict=True):
        assert one.dtype == same.dtype and one.shape == same.shape, method
        np.testing.assert_array_equal(one, same)
        if one.dtype.kind == "f":
            np.testing.assert_allclose(one, near, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model._predict(few, check_input=False), found[0])
    with pytest.raises(AssertionError, match="validated"):
        model.predict(few.astype(int))


def test_sparse_labels_are_predicted_as_sparse_ones():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = data("iris")
    labels = sparse.csr_matrix(np.stack([y > 0, y > 1], 1).astype(int))
    mine, theirs = fitted(MLPClassifier, X, labels, random_state=0, max_iter=20)
    found, want = mine.predict(X), theirs.predict(X)
    assert type(found) is type(want) and found.dtype == want.dtype and not (found != want).nnz


def test_coefs_that_are_held_may_be_written_into():
    X, y = data("iris")
    model = MLPClassifier(random_state=0, max_iter=5).fit(X, y)
    held = model.coefs_
    before = model.predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.coefs_ is held
    held[-1] = np.zeros_like(held[-1])  # another array in the list
    at_0 = model.predict_proba(X[:1])
    np.testing.assert_array_equal(model.predict_proba(X), np.repeat(at_0, len(X), 0))
    assert model.coefs_ is held and (held[-1] == 0).all()


def test_coefs_that_another_thread_forgets_meanwhile():
    class Forgotten(dict):
        """Its lists go with the first look at them."""

        def __getitem__(self, name):
            found = super().__getitem__(name)
            self[name] = None
            return found

    X, y = data("iris")
    model = MLPClassifier(random_state=0, max_iter=5).fit(X, y)
    want = model.predict_proba(X)
    assert model.coefs_ and model.intercepts_
    model._learned.lists = Forgotten(model._learned.lists)
    np.testing.assert_array_equal(model.predict_proba(X), want)


def test_what_is_wrong_with_rows_to_predict_is_said_by_scikit_learn():
    X, y = data("iris")
    model = MLPClassifier(random_state=0, max_iter=5)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, y)
    bad = X.copy()
    bad[3, 1] = np.nan
    for rows, error in (
        (bad, "Input X contains NaN"),
        (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4"),
        (X[0], "Expected 2D array, got 1D array"),
        (X[:0], "Found array with 0 sample"),
    ):
        for method in (model.predict, model.predict_proba):
            with pytest.raises(ValueError, match=error):
                method(rows)


def test_one_random_state_for_several_fits():
    X, y = data("iris")
    states = np.random.RandomState(5), np.random.RandomState(5)
    for _ in range(2):
        pair = [
            which(random_state=state, max_iter=5).fit(X, y)
            for which, state in zip((MLPClassifier, THEIRS[MLPClassifier]), states, strict=True)
        ]
        assert_same(*pair)
    assert states[0].randint(1000) == states[1].randint(1000)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start(solver, early_stopping):
    X, y = data("breast_cancer")
    given = {"solver": solver, "early_stopping": early_stopping, "warm_start": True}
    pair = fitted(MLPClassifier, X, y, random_state=0, max_iter=4, **given)
    for one in pair:
        one.fit(X, y)
    assert_same(*pair)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        pair[0].fit(X, y + 1)


def test_a_warm_start_that_finds_nothing_better_keeps_the_best_weights():
    """scikit-learn goes on in the very arrays that hold them, and ends with its last epoch's."""
    X, y = data("breast_cancer")
    given = {"early_stopping": True, "warm_start": True, "max_iter": 15, "random_state": 0}
    mine, theirs = fitted(MLPClassifier, X, y, learning_rate_init=0.05, **given)
    assert_same(mine, theirs)
    best, score = [coef.copy() for coef in mine.coefs_], mine.best_validation_score_
    for one in (mine, theirs):
        one.fit(X, y)
        assert one.best_validation_score_ == score
    assert all(map(np.array_equal, mine.coefs_, best))
    assert abs(theirs.coefs_[0] - best[0]).max() > 0.01


def test_lbfgs_stays_in_float32_and_parts_from_scikit_learns_by_rounding():
    X, y = data("diabetes")
    given = {"hidden_layer_sizes": (20,), "solver": "lbfgs", "random_state": 0}
    narrow = fitted(MLPRegressor, X.astype(np.float32), y, max_iter=5, **given)
    assert [one.coefs_[0].dtype for one in narrow] == [np.float32, np.float64]
    apart = []
    for n in (10, 300):
        mine, theirs = fitted(MLPRegressor, X, y, max_iter=n, **given)
        apart.append(abs(mine.coefs_[0] - theirs.coefs_[0]).max())
    assert apart[0] < 1e-9 < 1e-6 < apart[1]
    assert abs(mine.loss_ / theirs.loss_ - 1) < 0.05


@pytest.mark.parametrize("given", [{}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 0.5}])
def test_partial_fit(given):
    X, y = data("iris")
    pair = [
        which(random_state=1, learning_rate="invscaling", **given)
        for which in (MLPClassifier, THEIRS[MLPClassifier])
    ]
    for step in range(12):
        rows = slice(30 * (step % 5), 30 * (step % 5) + 30)
        for one in pair:
            one.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
    assert_same(*pair)
    pair = [pickle.loads(pickle.dumps(one)).partial_fit(X, y) for one in pair]
    assert_same(*pair)


@pytest.mark.parametrize(
    "given",
    [
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.5, "learning_rate_init": 1e-5},
        {"early_stopping": True, "n_iter_no_change": 2},
        {"tol": 10.0, "n_iter_no_change": 3},
    ],
)
def test_what_it_prints(given, capsys):
    X, y = data("iris")
    pair = MLPClassifier, THEIRS[MLPClassifier]
    texts = []
    for which in pair:
        which(random_state=0, max_iter=50, verbose=True, **given).fit(X, y)
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and "Iteration 1, loss = " in texts[0]


def test_not_converged_warns():
    X, y = data("iris")
    for which in (MLPClassifier, THEIRS[MLPClassifier]):
        with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
            which(max_iter=3).fit(X, y)


# --- types, threads, sparse


@pytest.mark.parametrize("given", [{}, {"solver": "lbfgs", "max_iter": 50}])
def test_float32_stays_and_is_near(given):
    X, y = data("breast_cancer")
    wide = MLPClassifier(random_state=0, **given).fit(X, y)
    narrow = MLPClassifier(random_state=0, **given).fit(X.astype(np.float32), y)
    assert {part.dtype for part in (*narrow.coefs_, *narrow.intercepts_)} == {np.dtype("float32")}
    probabilities = narrow.predict_proba(X.astype(np.float32))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, wide.predict_proba(X), atol=0.02)


@pytest.mark.parametrize("given", [{}, {"solver": "lbfgs"}, {"early_stopping": True}])
def test_the_same_bits_for_any_number_of_threads(given):
    X, y = data("digits")
    _cpu.set_flops_a_thread(0)
    try:
        fits = [
            MLPClassifier((70, 33), random_state=0, max_iter=4, n_threads=n, **given).fit(X, y)
            for n in (1, 2, 3)
        ]
    finally:
        _cpu.set_flops_a_thread()
    for one in fits[1:]:
        assert one.loss_ == fits[0].loss_
        for mine, want in zip(one.coefs_, fits[0].coefs_, strict=True):
            assert mine.tobytes() == want.tobytes()


@pytest.mark.parametrize("given", [{}, {"solver": "lbfgs"}, {"early_stopping": True}])
@pytest.mark.parametrize("format", ["csr_matrix", "csr_array", "csc_array"])
def test_sparse(given, format):
    sparse = pytest.importorskip("scipy.sparse")
    X, y = datasets.load_digits(return_X_y=True)
    X = X[:300] / 16
    few = getattr(sparse, format)(X)
    mine, theirs = fitted(MLPClassifier, few, y[:300], random_state=0, max_iter=10, **given)
    if "solver" in given:
        mine.t_ = theirs.t_
    assert_same(mine, theirs)
    np.testing.assert_allclose(mine.predict_proba(few), theirs.predict_proba(X), **CLOSE)


# --- what scikit-learn does not have


def test_class_weight():
    X, y = data("iris")
    y, given = np.array(["a", "b", "c"])[y[:120]], {"random_state": 0, "max_iter": 10}
    X, own = X[:120], np.random.default_rng(0).random(120)
    for class_weight, of in (
        ({"a": 5.0, "b": 0.5}, {"a": 5.0, "b": 0.5, "c": 1.0}),
        ("balanced", {"a": 0.8, "b": 0.8, "c": 2.0}),
    ):
        each = np.array([of[label] for label in y])
        mine = MLPClassifier(class_weight=class_weight, **given).fit(X, y, sample_weight=own)
        assert_same(mine, THEIRS[MLPClassifier](**given).fit(X, y, sample_weight=own * each))
    with pytest.raises(ValueError, match="class_weight"):
        MLPClassifier(class_weight="equal").fit(X, y)


def test_dropout():
    X, y = data("breast_cancer")

    def fit(dropout, seed=0, **given):
        return MLPClassifier(dropout=dropout, random_state=seed, max_iter=20, **given).fit(X, y)

    plain, some = fit(0.0), fit(0.5)
    assert_same(fit([0.2, 0.3]), fit([0.2, 0.3], n_threads=1))
    assert not np.allclose(plain.coefs_[0], some.coefs_[0], **CLOSE)
    assert some.loss_ > plain.loss_ and some.score(X, y) > 0.95
    assert (some.predict_proba(X) == some.predict_proba(X)).all()
    with pytest.raises(ValueError, match="dropout must come with solver='sgd' or 'adam'"):
        fit(0.5, solver="lbfgs")
    sparse = pytest.importorskip("scipy.sparse").csr_array(X)
    with pytest.raises(ValueError, match="X must be dense where the inputs have dropout"):
        MLPClassifier(dropout=[0.5, 0.0]).fit(sparse, y)
    assert MLPClassifier(dropout=0.5, max_iter=3).fit(sparse, y).n_iter_ == 3
    with pytest.raises(ValueError, match="dropout must have one entry per layer"):
        fit([0.5, 0.5, 0.5])


def test_validation_data():
    X, y = data("iris")
    y = np.array(["a", "b", "c"])[y]
    held_out = X[::3], y[::3]
    train = np.arange(len(y)) % 3 > 0
    given = {"random_state": 0, "max_iter": 30, "early_stopping": True}
    mine = MLPClassifier(validation_data=held_out, **given).fit(X[train], y[train])
    assert mine.t_ == 100 * mine.n_iter_
    assert mine.score(*held_out) == mine.best_validation_score_ == max(mine.validation_scores_)
    regressor = MLPRegressor(validation_data=(X[::3], X[::3, :2]), **given).fit(X, X[:, :2])
    assert abs(regressor.score(X[::3], X[::3, :2]) - regressor.best_validation_score_) < 1e-12
    for bad, message in (
        ((X[::3], np.where(y[::3] == "a", "d", y[::3])), r"must have labels of .*, got \['d'\]"),
        ((X[::3, :2], y[::3]), "X has 2 features"),
        ((X,), r"must be a pair \(X, y\)"),
    ):
        with pytest.raises(ValueError, match=message):
            MLPClassifier(validation_data=bad, **given).fit(X, y)
    with pytest.raises(ValueError, match="validation_data must come with early_stopping=True"):
        MLPClassifier(validation_data=held_out).fit(X, y)


def test_callbacks(tmp_path):
    X, y = data("iris")
    seen = []
    spy = fastnn.LambdaCallback(
        on_epoch_begin=lambda fit: seen.append(fit.epoch),
        on_epoch_end=lambda fit: fit.epoch == 7 and fit.stop(),
        on_fit_end=lambda fit: seen.append(fit.history),
    )
    path = tmp_path / "model.safetensors"
    given = {"random_state": 0, "early_stopping": True, "max_iter": 30, "n_iter_no_change": 30}
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # it has been stopped
        mine = MLPClassifier(callbacks=[spy, fastnn.Checkpoint(path)], **given).fit(X, y)
    *epochs, history = seen
    assert epochs == [1, 2, 3, 4, 5, 6, 7] and mine.n_iter_ == 7
    assert history.loss == mine.loss_curve_ and history.val_score == mine.validation_scores_
    assert list(history.columns()) == ["epoch", "loss", "val_score", "learning_rate", "seconds"]
    saved = fastnn.load(path)
    last = MLPClassifier(random_state=0, early_stopping=True, max_iter=7).fit(X, y)
    last.coefs_, last.intercepts_ = [W.T for W in saved.W], list(saved.b)
    np.testing.assert_array_equal(saved.predict_proba(X), last.predict_proba(X))
    kept = []
    swap = fastnn.LambdaCallback(
        on_epoch_end=lambda fit: fit.epoch == 2 and kept.append(fit.model.theta.copy()),
        on_fit_end=lambda fit: fit.model.theta.__setitem__(slice(None), kept[0]),
    )
    swapped = MLPClassifier(random_state=0, max_iter=6, callbacks=[swap]).fit(X, y)
    second = MLPClassifier(random_state=0, max_iter=2).fit(X, y)
    np.testing.assert_array_equal(swapped.coefs_[0], second.coefs_[0])
    stop = fastnn.EarlyStopping("val_score", patience=3, mode="max")
    assert MLPClassifier(callbacks=[stop], **given).fit(X, y).n_iter_ < 30
    with pytest.raises(TypeError, match=r"each of callbacks must be a fastnn\.Callback"):
        MLPClassifier(callbacks=["stop"]).fit(X, y)
    with pytest.raises(ValueError, match="callbacks must come with solver='sgd' or 'adam'"):
        MLPClassifier(callbacks=[spy], solver="lbfgs").fit(X, y)


def test_interrupted():
    X, y = data("iris")

    def interrupt(fit):
        if fit.epoch == 4:
            raise KeyboardInterrupt

    stop = fastnn.LambdaCallback(on_epoch_begin=interrupt)
    model = MLPClassifier(random_state=0, callbacks=[stop])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, y)
    assert_same(model, MLPClassifier(random_state=0, max_iter=3).fit(X, y))


def test_optimizer():
    X, y = data("breast_cancer")
    given = {"random_state": 0, "max_iter": 12}
    sgd = fastnn.SGD(0.01, momentum=0.9, nesterov=True)
    mine = MLPClassifier(optimizer=sgd, **given).fit(X, y)
    want = {"solver": "sgd", "learning_rate_init": 0.01}
    assert_same(mine, THEIRS[MLPClassifier](**want, **given).fit(X, y))
    rates = []
    watch = fastnn.LambdaCallback(on_epoch_end=lambda fit: rates.append(fit.history.learning_rate))
    schedule = fastnn.AdamW(fastnn.OneCycle(0.01), weight_decay=0.1)
    MLPClassifier(optimizer=schedule, callbacks=[watch], **given).fit(X, y)
    assert len(set(rates[-1])) == 12 and max(rates[-1]) < 0.01
    plateau = fastnn.SGD(fastnn.ReduceOnPlateau(0.01, patience=1, threshold=0.9, monitor="loss"))
    rates.clear()
    MLPClassifier(optimizer=plateau, callbacks=[watch], **given).fit(X, y)
    assert rates[-1][-1] < rates[-1][0]
    with pytest.raises(ValueError, match="learning rate must watch the loss"):
        held = fastnn.ReduceOnPlateau(0.01, monitor="val_loss")
        MLPClassifier(optimizer=fastnn.SGD(held)).fit(X, y)
    with pytest.raises(ValueError, match="must not count epochs in partial_fit"):
        MLPClassifier(optimizer=schedule).partial_fit(X, y, classes=[0, 1])
    lion = MLPClassifier(optimizer="lion", **given).fit(X, y)
    assert lion.loss_ < 0.9 * lion.loss_curve_[0]
    with pytest.raises(ValueError, match="optimizer must take steps"):
        MLPClassifier(optimizer=fastnn.LBFGS()).fit(X, y)
    with pytest.raises(ValueError, match="optimizer must be one of"):
        MLPClassifier(optimizer="adamax").fit(X, y)
    with pytest.raises(ValueError, match="optimizer must come with solver='sgd' or 'adam'"):
        MLPClassifier(optimizer="adam", solver="lbfgs").fit(X, y)


def test_activations():
    X, y = data("iris")
    given = {"random_state": 0, "max_iter": 10}
    both = MLPClassifier((9, 5), activation=["tanh", "tanh"], **given).fit(X, y)
    assert_same(both, THEIRS[MLPClassifier]((9, 5), "tanh", **given).fit(X, y))
    for activation in ("gelu", fastnn.LeakyReLU(0.2), ["logistic", fastnn.ELU(0.5)]):
        mine = MLPClassifier((9, 5), activation, **given).fit(X, y)
        assert mine.loss_ < mine.loss_curve_[0]
    with pytest.raises(ValueError, match=r"activation must have one entry per hidden layer \(1\)"):
        MLPClassifier((9,), activation=["relu", "relu"]).fit(X, y)
    with pytest.raises(ValueError, match="The 'activation' parameter of MLPClassifier must be"):
        MLPClassifier(activation="sigmoid").fit(X, y)


# --- among other estimators


def test_clone_and_pickle():
    X, y = data("digits")
    model = MLPClassifier(
        random_state=0, max_iter=3, callbacks=[fastnn.EarlyStopping("loss")], n_threads=2
    ).fit(X, y)
    again = clone(model)
    assert not hasattr(again, "coefs_") and again.get_params().keys() == model.get_params().keys()
    text = pickle.dumps(model)
    back = pickle.loads(text)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    theirs = THEIRS[MLPClassifier](random_state=0, max_iter=3).fit(X, y)
    assert len(text) < 1.05 * len(pickle.dumps(theirs))
    state = model.__getstate__()
    del state["_learned"]  # the first releases kept the lists alone
    old = MLPClassifier.__new__(MLPClassifier)
    old.__setstate__(state | {"coefs_": model.coefs_, "intercepts_": model.intercepts_})
    np.testing.assert_array_equal(old.predict_proba(X), model.predict_proba(X))


def test_pipeline_grid_search_and_calibration():
    X, y = datasets.load_breast_cancer(return_X_y=True)
    model = MLPClassifier((8,), max_iter=30, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model)
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, n_jobs=2, cv=3)
    search.fit(X, y)
    theirs = make_pipeline(
        StandardScaler(), THEIRS[MLPClassifier]((8,), max_iter=30, random_state=0)
    )
    want = GridSearchCV(theirs, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3).fit(X, y)
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(search.cv_results_[name], want.cv_results_[name], **CLOSE)
    mine, theirs = (CalibratedClassifierCV(one, cv=3).fit(X, y) for one in (pipeline, theirs))
    np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    X, y = data("diabetes")
    assert np.isfinite(cross_val_score(MLPRegressor(max_iter=10), X, y, cv=3)).all()


def test_set_output_and_names():
    pandas = pytest.importorskip("pandas")
    X, y = data("iris")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(max_iter=5, early_stopping=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.set_output(transform="pandas").fit(frame, y)
        pipeline.predict(frame)
    assert pipeline[-1].feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names should match"):
        pipeline[-1].predict(frame.rename(columns={"a": "z"}))


def test_metadata_routing():
    X, y = data("iris")
    weights = np.random.default_rng(0).random(len(y))
    with config_context(enable_metadata_routing=True):
        model = MLPClassifier(random_state=0, max_iter=5).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model).fit(X, y, sample_weight=weights)
    scaler = StandardScaler().fit(X)
    want = MLPClassifier(random_state=0, max_iter=5)
    assert_same(pipeline[-1], want.fit(scaler.transform(X), y, sample_weight=weights))


# --- errors


def test_divergence():
    X, y = data("diabetes")
    given = {"solver": "sgd", "learning_rate_init": 1e4, "activation": "identity"}
    given["random_state"] = 0  # with some, a square in the score overflows first
    with (
        pytest.warns(ConvergenceWarning, match="Training diverged: batch"),
        pytest.raises(ValueError, match="Solver produced non-finite parameter weights"),
    ):
        MLPRegressor(**given).fit(X, y)
    best = MLPRegressor(early_stopping=True, **given).fit(X, y)
    assert np.isnan(best.validation_scores_[-1]) and np.isfinite(best.predict(X)).all()


def test_a_batch_of_more_rows_than_there_are_is_all_rows():
    X, y = data("iris")
    with pytest.warns(UserWarning, match="`batch_size` less than 1 or larger than sample size"):
        mine, theirs = fitted(MLPClassifier, X, y, random_state=0, max_iter=5, batch_size=151)
    assert_same(mine, theirs)
    assert mine.t_ == 150 * 5


def test_bad_input():
    X, y = data("diabetes")
    with pytest.raises(ValueError, match="y must not be below 0 for poisson"):
        MLPRegressor("poisson").fit(X, y)
    with pytest.raises(ValueError, match="sample_weight must not be below 0"):
        MLPRegressor().fit(X, y, sample_weight=-np.ones(len(y)))
    for name, value in (("n_threads", 0), ("dropout", 1.0), ("callbacks", 3), ("optimizer", 3)):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of MLPRegressor must be"):
            MLPRegressor(**{name: value}).fit(X, y)
