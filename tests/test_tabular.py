"""TabularClassifier and TabularRegressor: learning, answers, bits, files, scikit-learn's checks."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn import TabularClassifier, TabularRegressor
from fastnn.tabular import Pack, Recipe, members

SMALL = Pack(
    (
        Recipe((16,), optimizer=fastnn.Adam(fastnn.OneCycle(0.03)), epochs=20, batch_size=32),
        Recipe((8, 8), "tanh", optimizer=fastnn.Adam(0.02), epochs=10, batch_size=32),
    ),
    n_folds=3,
)


def rows(n=200, seed=0):
    """Numbers that miss some, text that misses some, and what is to be learned of them."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    colour = rng.choice(["red", "green", "blue"], n)
    amount = 100 + 10 * (a + (colour == "red")) + rng.normal(size=n)
    X = {"a": a.copy(), "b": b, "colour": colour.astype(object)}
    X["a"][::17] = np.nan
    X["colour"][::23] = None
    kind = np.where(amount > 105, "high", np.where(amount > 98, "mid", "low"))
    return X, kind, amount


def pair(n=200, **settings):
    X, kind, amount = rows(n)
    settings = {"recipe": SMALL, "random_state": 0} | settings
    return TabularClassifier(**settings).fit(X, kind), TabularRegressor(**settings).fit(X, amount)


@pytest.fixture(scope="module")
def fitted():
    return pair()


# --- learning


def test_what_random_state_takes():
    X, y = np.random.default_rng(0).normal(size=(2, 60, 1))
    for kind in (np.random.default_rng, np.random.RandomState):
        one, two = (
            TabularRegressor(recipe=SMALL, random_state=kind(3)).fit(X, y[:, 0]) for _ in range(2)
        )
        np.testing.assert_array_equal(one.predict(X), two.predict(X))
    for wrong, error in (("a", TypeError), (-1, ValueError), (2**128, ValueError)):
        with pytest.raises(error, match="random_state must be"):
            TabularRegressor(random_state=wrong).fit(X, y[:, 0])


@pytest.mark.parametrize("cells", [np.array([b"u", b"v"] * 9), np.array([b"u", b"v"] * 9, object)])
def test_targets_of_bytes_are_refused(cells):
    with pytest.raises(TypeError, match=r"y must hold numbers or texts, got b'u'"):
        TabularClassifier().fit(np.arange(18.0)[:, None], cells)


def test_they_learn(fitted):
    X, kind, amount = rows(500, seed=1)
    classifier, regressor = fitted
    assert classifier.score(X, kind) > 0.7
    assert regressor.score(X, amount) > 0.8
    assert classifier.classes_.tolist() == ["high", "low", "mid"]
    assert set(classifier.predict(X)) == {"high", "low", "mid"}
    p = classifier.predict_proba(X)
    assert p.shape == (500, 3) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(1), 1)
    assert regressor.predict(X).shape == (500,)


def test_scores_are_those_of_unseen_rows(fitted):
    """Close to what new rows show; training rows would flatter."""
    X, kind, amount = rows(2000, seed=1)
    classifier, regressor = fitted
    assert classifier.scores_["accuracy"] == pytest.approx(classifier.score(X, kind), abs=0.08)
    assert regressor.scores_["r2"] == pytest.approx(regressor.score(X, amount), abs=0.08)
    assert set(classifier.scores_) == {"accuracy", "log_loss", "ece"}
    assert set(regressor.scores_) == {"rmse", "mae", "r2"}


def test_out_of_fold_scores_do_not_see_their_rows():
    """Of labels that nothing explains a network that has seen them would know most."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 20)), rng.integers(0, 2, 300)
    recipe = Pack((Recipe((64,), optimizer=fastnn.Adam(0.01), epochs=60, monitor=None),), 3)
    model = TabularClassifier(recipe=recipe, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.8
    assert model.scores_["accuracy"] < 0.6


def test_held_out_rows_are_kept_as_networks_that_have_not_seen_them_predict_them(fitted):
    X, kind, amount = rows()
    classifier, regressor = fitted
    p, f = classifier.held_out_, regressor.held_out_
    assert p.rows.tolist() == f.rows.tolist() == list(range(200)) and p.n_rows == 200
    decided = classifier.classes_[p.predictions.argmax(1)]
    assert classifier.scores_["accuracy"] == np.mean(decided == kind)
    rmse = np.sqrt(np.mean((f.predictions - amount) ** 2))
    assert regressor.scores_["rmse"] == pytest.approx(rmse, rel=1e-12)
    for model, of in ((classifier, p), (regressor, f)):
        ensemble = model._ensemble
        again = ensemble.predict_unseen(ensemble.columns.encode(X), ensemble.scores.group)
        np.testing.assert_allclose(again, of.predictions, rtol=1e-6)
        assert np.abs(of.predictions - ensemble.predict(ensemble.columns.encode(X))).max() > 1e-3


def test_held_out_rows_are_those_of_X_where_some_weigh_nothing():
    X, _, amount = rows()
    weights = np.arange(200) % 3.0
    one_fold = Pack(SMALL.recipes, n_folds=1)
    for recipe, n in ((SMALL, 133), (one_fold, 27)):
        model = TabularRegressor(recipe=recipe, random_state=0).fit(X, amount, weights)
        of = model.held_out_
        assert len(of.rows) == len(of.predictions) == n and of.n_rows == 200
        assert (weights[of.rows] > 0).all()
        off = of.predictions - amount[of.rows]
        want = np.sqrt(np.average(off**2, weights=weights[of.rows]))
        assert model.scores_["rmse"] == pytest.approx(want, rel=1e-12)
        assert len(model.histories_) == 2 * recipe.n_folds
        found = model.permutation_importance(X, amount, sample_weight=weights, held_out=True)
        assert found.loss == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict", "rows", "array"])
def test_every_kind_of_table(library, fitted):
    X, kind, _ = rows()
    names = list(X)
    match library:
        case "pandas":
            table = pytest.importorskip("pandas").DataFrame(X)
        case "polars":
            polars = pytest.importorskip("polars")
            table = polars.DataFrame(X, strict=False).with_columns(polars.col("a").fill_nan(None))
        case "pyarrow":
            table = pytest.importorskip("pyarrow").table(X)
        case "dict":
            table = X
        case "rows":
            table = [dict(zip(names, row, strict=True)) for row in zip(*X.values(), strict=True)]
        case "array":
            table = np.stack([column.astype(object) for column in X.values()], 1)
    model = TabularClassifier(recipe=SMALL, random_state=0).fit(table, kind)
    p = fitted[0].predict_proba(X)
    assert np.array_equal(model.predict_proba(table), p)
    assert model.n_features_in_ == 3
    if library == "array":
        assert not hasattr(model, "feature_names_in_")
    else:
        assert model.feature_names_in_.tolist() == names
        assert np.array_equal(fitted[0].predict_proba(table), p)


def test_columns_are_found_by_name(fitted):
    X, _, _ = rows()
    p = fitted[0].predict_proba(X)
    other = {"more": X["b"], "colour": X["colour"], "b": X["b"], "a": X["a"]}
    assert np.array_equal(fitted[0].predict_proba(other), p)
    with pytest.raises(fastnn.TableError, match='must have "b"'):
        fitted[0].predict({"a": X["a"], "colour": X["colour"]})


def test_columns_are_what_they_are_said_to_be(tmp_path):
    X, kind, _ = rows()
    X["size"] = np.array(["s", "l", "m"])[np.arange(200) % 3]
    X["b"] = np.where(np.arange(200) % 5, np.round(X["b"]), -999)
    model = TabularClassifier(
        recipe=SMALL,
        categorical=["b"],
        ordered={"size": ["s", "m", "l"]},
        drop=["a"],
        missing_values=[-999],
        random_state=0,
    ).fit(X, kind)
    text = model.summary()
    assert "size: s < m < l" in text and "a:" not in text
    assert 'b: "(missing)"' in text and "-999" not in text.split("missing ")[0]
    assert model.n_features_in_ == 4
    model.save(tmp_path / "model")
    assert fastnn.load(tmp_path / "model").get_params() == {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in model.get_params().items()
    } | {"ordered": {"size": ("s", "m", "l")}}


def test_arrays_with_gaps():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = X[:, 0] > 0
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    model = TabularClassifier(recipe=SMALL, random_state=0).fit(X, y)
    assert model.classes_.tolist() == [False, True] and model.score(X, y) > 0.85
    with pytest.raises(ValueError, match="X has 2 features, but TabularClassifier is expecting 3"):
        model.predict(X[:, :2])


def test_an_interrupt_keeps_what_is_whole(monkeypatch):
    """Networks of recipes that all folds were trained with, and no others."""
    recipes = Recipe((8,), epochs=3), Recipe((4,), epochs=3)
    X = np.random.default_rng(0).normal(size=(60, 3))
    pack = Pack(recipes, n_folds=2)
    first = TabularRegressor(recipe=replace(pack, recipes=recipes[:1]), random_state=0)
    first.fit(X, X[:, 0])
    real = members.fit_many

    def stops_after(n):
        def fit_some(models, *data, **settings):
            if n:
                of_some = {
                    name: value[:n] if isinstance(value, list) and name != "metrics" else value
                    for name, value in settings.items()
                }
                real(models[:n], *data, **of_some)
            raise KeyboardInterrupt

        monkeypatch.setattr(members, "fit_many", fit_some)

    for limit in (None, 1000.0):
        for n in (0, 1, 2, 3):
            model = TabularRegressor(recipe=pack, random_state=0, time_limit=limit)
            stops_after(n if limit is None else min(n, 2))
            with pytest.raises(KeyboardInterrupt):
                model.fit(X, X[:, 0])
            assert hasattr(model, "scores_") == (n >= 2)
            if n >= 2:
                assert len(model.histories_) == 2
                assert model._pack == first._pack  # that was trained, not that was to be
                np.testing.assert_array_equal(model.predict(X), first.predict(X))
    before = model.predict(X)
    stops_after(1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, X[:, 1])
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.filterwarnings("error")
def test_an_array_column_without_a_value_is_a_constant():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    X[:, 1] = np.nan
    for kind, y in ((TabularClassifier, X[:, 0] > 0), (TabularRegressor, X[:, 0])):
        model = kind(recipe=SMALL, random_state=0).fit(X, y)
        inputs = model.columns_.inputs
        assert inputs.indicated == [] and np.isnan(X[:, 1]).all()
        expected = model.predict(X)
        np.testing.assert_array_equal(model.predict(np.where(np.isnan(X), 7.0, X)), expected)


def test_a_constant_array_column_says_nothing_on_new_rows_either():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    X[:, 1] = 5.0
    model = TabularRegressor(recipe=SMALL, random_state=0).fit(X, X[:, 0])
    expected = model.predict(X)
    X[:, 1] = rng.normal(size=60)
    np.testing.assert_allclose(model.predict(X), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_few_rows(n):
    X, y = np.arange(n, dtype=float)[:, None], np.arange(n) % 2
    assert TabularClassifier(recipe=SMALL).fit(X, y).predict(X).shape == (n,)
    assert TabularRegressor(recipe=SMALL).fit(X, y).predict(X).shape == (n,)


def test_one_split():
    X, kind, _ = rows()
    recipe = Pack(SMALL.recipes, n_folds=1, repeats=2)
    model = TabularClassifier(recipe=recipe, random_state=0).fit(X, kind)
    assert 1 <= len(model._ensemble.members) <= 4
    assert "of 80% of the rows" in model.summary()


@pytest.mark.parametrize(
    "other",
    [
        {"epochs": 4},
        {"batch_size": 15},
        {"drop_last": True},
        {"optimizer": fastnn.Adam(0.02)},
        {"dropout_schedule": fastnn.FlatCosine(0.5)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_networks_are_trained_as_their_recipe_says(other):
    X, kind, _ = rows(50)
    recipe = Recipe((8,), epochs=3, batch_size=16, dropout=0.2, monitor=None)
    one, two = (
        TabularClassifier(recipe=Pack((of,), n_folds=2), random_state=0).fit(X, kind)
        for of in (recipe, replace(recipe, **other))
    )
    assert one.predict_proba(X).tobytes() != two.predict_proba(X).tobytes()


def test_weights_and_rows_of_weight_0():
    X, kind, _ = rows()
    weight = np.where(kind == "mid", 0.0, 1.0)
    model = TabularClassifier(recipe=SMALL, random_state=0).fit(X, kind, weight)
    assert model.classes_.tolist() == ["high", "low"]
    kept = {name: column[weight > 0] for name, column in X.items()}
    without = TabularClassifier(recipe=SMALL, random_state=0).fit(kept, kind[weight > 0])
    np.testing.assert_allclose(model.predict_proba(X), without.predict_proba(X), atol=1e-3)


def test_weights_shift_what_is_predicted():
    """Of ones and zeros that nothing explains, ones of weight 4 are 80% of all."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 2)), np.arange(400) % 2
    weight = np.where(y, 4.0, 1.0)
    regressor = TabularRegressor(recipe=SMALL, random_state=0).fit(X, y, weight)
    assert regressor.predict(X).mean() == pytest.approx(0.8, abs=0.07)
    classifier = TabularClassifier(recipe=SMALL, random_state=0).fit(X, y, weight)
    assert classifier.predict_proba(X)[:, 1].mean() == pytest.approx(0.8, abs=0.07)


def test_time_limit_bounds_the_number_of_networks():
    X, kind, _ = rows()
    many = Pack(SMALL.recipes, n_folds=3, repeats=50)
    model = TabularClassifier(recipe=many, time_limit=0.01, random_state=0).fit(X, kind)
    assert len(model._ensemble.members) == 3  # the first bag, and no more


# --- certainty


@pytest.mark.parametrize("n_folds", [1, 3])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_and_sets_hold_what_they_say(n_folds, coverage):
    X, kind, amount = rows(1000, seed=2)
    new, its_kind, its_amount = rows(4000, seed=3)
    recipe = Pack(SMALL.recipes, n_folds, repeats=2)
    regressor = TabularRegressor(recipe=recipe, random_state=0).fit(X, amount)
    lower, upper = regressor.predict_interval(new, coverage).T
    held = (lower <= its_amount) & (its_amount <= upper)
    assert held.mean() == pytest.approx(coverage, abs=0.045)
    classifier = TabularClassifier(recipe=recipe, random_state=0).fit(X, kind)
    sets = classifier.predict_set(new, coverage)
    own = (its_kind[:, None] == classifier.classes_).argmax(1)
    assert sets.dtype == bool and sets[np.arange(4000), own].mean() >= coverage - 0.04
    top = classifier.predict_proba(new).argmax(1)
    assert sets[np.arange(4000), top].all() and sets.sum(1).mean() < 2


def test_quantiles_ascend_and_hold():
    X, _, amount = rows(1000, seed=2)
    new, _, its_amount = rows(4000, seed=3)
    model = TabularRegressor(recipe=SMALL, random_state=0).fit(X, amount)
    q = [0.05, 0.5, 0.95]
    values = model.predict_quantiles(new, q)
    assert values.shape == (4000, 3) and (np.diff(values, axis=1) > 0).all()
    for level, column in zip(q, values.T, strict=True):
        assert (its_amount <= column).mean() == pytest.approx(level, abs=0.045)
    assert np.array_equal(model.predict_quantiles(new, 0.5), values[:, 1])
    both = model.predict_interval(new, 0.9)
    assert np.allclose(both, values[:, [0, 2]], atol=0.5)


@pytest.mark.parametrize("n_folds", [1, 3])
def test_intervals_are_wide_where_they_must_be(n_folds, tmp_path):
    rng = np.random.default_rng(0)

    def drawn(n):
        x = rng.uniform(-2, 2, n)
        return np.stack([x, rng.normal(size=n)], 1), x + np.exp(x) * rng.normal(size=n) / 3

    X, y = drawn(3000)
    model = TabularRegressor(recipe=Pack(SMALL.recipes, n_folds), random_state=0).fit(X, y)
    X, y = drawn(4000)
    lower, upper = model.predict_interval(X, 0.9).T
    held = (lower <= y) & (y <= upper)
    for part in (X[:, 0] < -1, X[:, 0] > 1):
        assert held[part].mean() == pytest.approx(0.9, abs=0.06)
    width = upper - lower
    assert width[X[:, 0] > 1.5].mean() > 5 * width[X[:, 0] < -1.5].mean()
    model.save(tmp_path / "model")
    found = model.predict_interval(X)
    assert np.array_equal(fastnn.load(tmp_path / "model").predict_interval(X), found)
    assert np.array_equal(model.predict_interval(X[:1]), found[:1])


def test_too_few_rows_for_a_coverage():
    X, _, amount = rows(20)
    model = TabularRegressor(recipe=SMALL, random_state=0).fit(X, amount)
    assert np.isinf(model.predict_interval(X, 0.95)).all()
    assert np.isfinite(model.predict_interval(X, 0.9)).all()


def test_bad_coverage(fitted):
    X, _, _ = rows()
    for bad in (0, 1, -0.1):
        with pytest.raises(ValueError, match="coverage must be"):
            fitted[1].predict_interval(X, bad)
        with pytest.raises(ValueError, match="coverage must be"):
            fitted[0].predict_set(X, bad)
    with pytest.raises(ValueError, match="q must be above 0 and below 1"):
        fitted[1].predict_quantiles(X, [0.5, 0])
    with pytest.raises(ValueError, match="q must hold at least one"):
        fitted[1].predict_quantiles(X, [])


# --- teachers


def test_what_a_teacher_says_is_learned():
    """Of labels that are noise, its probabilities; y still decides on the scores."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    taught = 1 / (1 + np.exp(-3 * X[:, 0]))
    y = rng.integers(0, 2, 300)
    model = TabularClassifier(recipe=SMALL, random_state=0)
    model.fit(X, y, teacher_probabilities=np.stack([1 - taught, taught], 1))
    assert np.corrcoef(model.predict_proba(X)[:, 1], taught)[0, 1] > 0.95
    assert model.scores_["accuracy"] < 0.6
    regressor = TabularRegressor(recipe=SMALL, random_state=0).fit(X, y, teacher_values=taught)
    assert np.corrcoef(regressor.predict(X), taught)[0, 1] > 0.95


def test_compressed_to_one_network(fitted):
    X, kind, amount = rows(400, seed=4)
    for model, y in zip(fitted, (kind, amount), strict=True):
        student = model.compress(X, y)
        assert type(student) is type(model) and student is not model
        assert len(student._ensemble.members) == 1 < len(model._ensemble.members)
        assert student.score(X, y) > model.score(X, y) - 0.1
        assert set(student.scores_) == set(model.scores_)


def test_rows_to_compress_from_hold_every_class(fitted):
    X, kind, _ = rows(100, seed=4)
    gone = "high"
    others = {name: cells[kind != gone] for name, cells in X.items()}
    with pytest.raises(ValueError, match=f"every class that the ensemble knows, .*{gone}"):
        fitted[0].compress(others, kind[kind != gone])
    with pytest.raises(ValueError, match=f"every class that the ensemble knows, .*{gone}"):
        fitted[0].compress(X, kind, sample_weight=1.0 * (kind != gone))


def test_bad_teachers():
    X, kind, amount = rows(20)
    model = TabularClassifier(recipe=SMALL)
    with pytest.raises(ValueError, match=r"teacher_probabilities must have shape \(20, 3\)"):
        model.fit(X, kind, teacher_probabilities=np.ones((20, 2)) / 2)
    with pytest.raises(ValueError, match=r"of sum 1, got .* in row 4"):
        off = np.ones((20, 3)) / (3 + (np.arange(20) == 4))[:, None]
        model.fit(X, kind, teacher_probabilities=off)
    with pytest.raises(ValueError, match=r"teacher_values must have shape \(20,\)"):
        TabularRegressor(recipe=SMALL).fit(X, amount, teacher_values=np.ones(19))


# --- which columns matter


def test_columns_that_matter(fitted):
    X, kind, amount = rows(500, seed=1)
    for model, y in zip(fitted, (kind, amount), strict=True):
        found = model.permutation_importance(X, y)
        assert found.names == ["a", "b", "colour"]
        a, b, colour = found.mean
        assert a > colour > 3 * abs(b)
        again = model.permutation_importance(X, y, sample_weight=np.ones(500))
        assert np.array_equal(found.increases, again.increases)
    with pytest.raises(ValueError, match=r"classes that fit has seen, got 'odd' in y\[1\]"):
        fitted[0].permutation_importance(X, np.where(np.arange(500) == 1, "odd", kind))


def test_columns_that_matter_to_networks_that_have_not_seen_the_rows(fitted, tmp_path):
    """Labels learned by heart: to those who have seen the rows every column seems to matter."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 20)), rng.integers(0, 2, 300)
    recipe = Pack((Recipe((64,), optimizer=fastnn.Adam(0.01), epochs=60, monitor=None),), 3)
    model = TabularClassifier(recipe=recipe, random_state=0).fit(X, y)
    seen = model.permutation_importance(X, y)
    unseen = model.permutation_importance(X, y, held_out=True)
    assert seen.mean.min() > 0 and seen.mean.mean() > 5 * abs(unseen.mean.mean())
    assert unseen.loss == pytest.approx(model.scores_["log_loss"], rel=1e-6)
    with pytest.raises(ValueError, match="must be the 300 rows of fit, got 299"):
        model.permutation_importance(X[1:], y[1:], held_out=True)
    with pytest.raises(ValueError, match="as many rows as each other, got 300 and 299"):
        model.permutation_importance(X, y[1:])
    model.save(tmp_path / "m.st")
    with pytest.raises(ValueError, match="for the estimator that was fitted, not for a file's"):
        fastnn.load(tmp_path / "m.st").permutation_importance(X, y, held_out=True)


def test_tables_of_files_are_measured_on(fitted, tmp_path):
    X, kind, amount = rows(100, seed=1)
    for model, y in zip(fitted, (kind, amount), strict=True):
        path = tmp_path / "t.csv"
        lines = [",".join("" if c != c or c is None else str(c) for c in row)
                 for row in zip(*X.values(), y, strict=True)]
        path.write_text("\n".join(["a,b,colour,y", *lines]) + "\n")
        table = fastnn.tables.read(str(path))
        assert model.score(table, table.select(["y"])) == pytest.approx(model.score(X, y))
        found = model.permutation_importance(table, table.select(["y"]))
        assert np.allclose(found.mean, model.permutation_importance(X, y).mean)


def test_a_column_and_its_gaps_are_shuffled_together():
    """Of an array: the feature that says where a number is missing belongs to its column."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    y = rng.uniform(size=400) < 0.5
    X[y, 1] = np.nan
    model = TabularClassifier(recipe=SMALL, random_state=0).fit(X, y)
    found = model.permutation_importance(X, y)
    assert found.names == ["x0", "x1"] and found.mean[1] > 0.5 and abs(found.mean[0]) < 0.1


# --- bits


def test_same_bits_for_any_number_of_threads(fitted):
    X, _, _ = rows()
    for n_threads in (1, 2, 3):
        classifier, regressor = pair(n_threads=n_threads)
        assert np.array_equal(classifier.predict_proba(X), fitted[0].predict_proba(X))
        assert np.array_equal(regressor.predict(X), fitted[1].predict(X))
    other = pair(random_state=1)[1]
    assert not np.array_equal(other.predict(X), fitted[1].predict(X))


def test_a_row_alone_as_in_any_batch(fitted):
    X, _, _ = rows()
    classifier, regressor = fitted
    p, f = classifier.predict_proba(X), regressor.predict(X)
    for i in (0, 17, 23, 199):
        row = {name: column[i : i + 1] for name, column in X.items()}
        assert np.array_equal(classifier.predict_proba(row), p[i : i + 1])
        assert np.array_equal(regressor.predict(row), f[i : i + 1])
        cells = {name: column[i] for name, column in X.items()}
        assert np.array_equal(classifier.predict_proba_one(cells), p[i])
        assert classifier.predict_one(cells) == classifier.predict(row)[0]
        assert regressor.predict_one(cells) == f[i]
    many = {name: np.tile(column, 43) for name, column in X.items()}  # several blocks
    assert np.array_equal(classifier.predict_proba(many), np.tile(p, (43, 1)))


# --- errors


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"time_limit": 0}, ValueError, "time_limit must be above 0"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
        ({"categorical": "a"}, TypeError, "categorical must be a list, got a text, 'a'"),
        ({"dates": ["z"]}, fastnn.TableError, 'no column "z"'),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
        ({"verbose": 2}, TypeError, "verbose must be True or False"),
        ({"recipe": "best"}, ValueError, "recipe must be"),
        ({"drop": ["z"]}, fastnn.TableError, 'no column "z"'),
    ],
)
def test_bad_settings(settings, error, message):
    X, kind, _ = rows(20)
    with pytest.raises(error, match=message):
        TabularClassifier(**settings).fit(X, kind)


def test_bad_data():
    X, kind, amount = rows(20)
    with pytest.raises(ValueError, match="as many rows as each other, got 20 and 19"):
        TabularClassifier().fit(X, kind[1:])
    with pytest.raises(ValueError, match="continuous"):
        TabularClassifier().fit(X, amount)
    with pytest.raises(ValueError, match=r"y must be numbers, got such as '(low|high|mid)'"):
        TabularRegressor().fit(X, kind)
    with pytest.raises(ValueError, match=r"two classes at least, got 1 class, \['low'\]"):
        TabularClassifier().fit(X, ["low"] * 20)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        TabularClassifier().fit(pytest.importorskip("scipy.sparse").eye(20), kind)
    with pytest.raises(ValueError, match="not fitted yet"):
        TabularClassifier().predict(X)


def test_a_failed_fit_leaves_the_estimator_as_it_was():
    X, kind, _ = rows()
    model = TabularClassifier(recipe=SMALL, random_state=0).fit(X, kind)
    before = model.predict_proba(X)
    with pytest.raises(fastnn.TableError):
        model.fit({"a": np.array([np.inf] + [1.0] * 199)}, kind)
    assert np.array_equal(model.predict_proba(X), before)


# --- files


def test_files_hold_everything(fitted, tmp_path):
    X, kind, amount = rows()
    for model, y in zip(fitted, (kind, amount), strict=True):
        path = tmp_path / "model.safetensors"
        model.save(path)
        loaded = fastnn.load(path)
        assert type(loaded) is type(model)
        assert loaded.get_params() == model.get_params()
        assert np.array_equal(loaded.predict(X), model.predict(X))
        assert loaded.score(X, y) == model.score(X, y)
        if model.kind == "regressor":
            assert np.array_equal(loaded.predict_interval(X), model.predict_interval(X))
        else:
            assert np.array_equal(loaded.predict_set(X), model.predict_set(X))
        assert loaded.scores_ == model.scores_ and loaded.summary() == model.summary()
        assert loaded.feature_names_in_.tolist() == ["a", "b", "colour"]
        content = path.read_bytes()
        loaded.save(path)
        assert path.read_bytes() == content
        copy = pickle.loads(pickle.dumps(model))
        assert np.array_equal(copy.predict(X), model.predict(X))
    assert np.array_equal(
        pickle.loads(pickle.dumps(fitted[0])).predict_proba(X), fitted[0].predict_proba(X)
    )


@pytest.mark.parametrize("y", [[1, 5], [1.0, 2.0], ["a", "b"], [True, False]])
def test_files_keep_the_kind_of_classes(y, tmp_path):
    y = np.array(y)[np.arange(40) % 2]
    X = np.random.default_rng(0).normal(size=(40, 2))
    for labels in (y, y.astype(object)):
        model = TabularClassifier(recipe=SMALL, random_state=0).fit(X, labels)
        model.save(tmp_path / "model")
        loaded = fastnn.load(tmp_path / "model")
        assert loaded.classes_.dtype == labels.dtype
        assert loaded.predict(X).tolist() == model.predict(X).tolist()


def test_files_that_are_damaged(fitted, tmp_path):
    path = tmp_path / "model"
    fitted[0].save(path)
    content = path.read_bytes()
    with pytest.raises(fastnn.ModelFileError, match="of one network; this is an ensemble"):
        fastnn.model.load(path)
    for old, new in (
        (b'"version":"1"', b'"version":"7"'),
        (b"TabularClassifier", b"TabularClassifies"),
        (b"0.W1", b"0.V1"),
        (b'\\"members\\":[0', b'\\"members\\":[9'),
        (b'"weights"', b'"weighty"'),
        (b'"unseen.score"', b'"unseen.scare"'),
    ):
        assert content.count(old)
        path.write_bytes(content.replace(old, new, 1))
        with pytest.raises(fastnn.ModelFileError, match=str(path)):
            fastnn.load(path)
    path.write_bytes(content[:-4])
    with pytest.raises(fastnn.ModelFileError, match="truncated"):
        fastnn.load(path)
    n = 8 + int.from_bytes(content[:8], "little")
    first = n + json.loads(content[8:n])["0.W1"]["data_offsets"][0]
    path.write_bytes(content[:first] + b"\0\0\xc0\x7f" + content[first + 4 :])  # NaN
    with pytest.raises(fastnn.ModelFileError, match=r"0\.W1 must be finite, got nan in row 0"):
        fastnn.load(path)


def test_a_save_that_fails_keeps_the_old_file(fitted, tmp_path):
    path = tmp_path / "model"
    fitted[0].save(path)
    content = path.read_bytes()
    model = TabularClassifier(recipe=SMALL).fit(*rows()[:2])
    model.random_state = object()
    model.recipe = Recipe(optimizer=fastnn.Adam(lambda t: 0.1))
    with pytest.raises(TypeError, match="what is saved must be"):
        model.save(path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["model"]


# --- scikit-learn's conventions, without it


def test_parameters():
    model = TabularClassifier(time_limit=60, random_state=0)
    assert repr(model) == "TabularClassifier(random_state=0, time_limit=60)"
    assert model.set_params(time_limit=None).time_limit is None
    with pytest.raises(ValueError, match="Invalid parameter 'epochs'"):
        model.set_params(epochs=3)


def test_scikit_learn_is_not_imported():
    code = """
import sys, numpy as np, fastnn
from fastnn.tabular import Recipe
X = np.arange(20.0)[:, None]
model = fastnn.TabularClassifier(recipe=Recipe((4,), epochs=2), random_state=0)
try:
    model.predict(X)
except (ValueError, AttributeError) as error:
    assert "not fitted yet" in str(error)
model.fit(X, X[:, 0] > 10).predict(X)
assert not {"sklearn", "scipy", "pandas"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
