"""Permutation importance and Shapley values, on small functions whose answers are known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

import fastnn
from fastnn.explain.mixing import Mixer
from fastnn.random import EXPLAIN, permutation, raw
from fastnn.tables.frames import as_table
from fastnn.tables.table import Arrays
from fastnn.tabular import Pack, Recipe

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 5))


def f(X):
    """Columns that interact, one that does nothing."""
    return X[:, 0] * X[:, 1] * X[:, 2] + np.maximum(X[:, 2], X[:, 0]) - 2 * X[:, 4]


def both(X):
    return np.stack([f(X), X[:, 3] ** 2], 1)


def by_definition(f, x, background, groups):
    """The mean contribution over all orders, one after the other."""
    n = len(groups)
    values = np.zeros(n)
    for order in (orders := list(permutations(range(n)))):
        mixed = background.copy()
        before = f(mixed).mean()
        for k in order:
            mixed[:, groups[k]] = x[groups[k]]
            after = f(mixed).mean()
            values[k] += (after - before) / len(orders)
            before = after
    return values


# Shapley values


def test_exact_values_are_those_of_the_definition():
    found = fastnn.shapley_values(f, X, [3, 17], background=range(5, 12))
    assert found.names == ["0", "1", "2", "3", "4"]
    for row, values in zip([3, 17], found.values, strict=True):
        want = by_definition(f, X[row], X[5:12], [[j] for j in range(5)])
        np.testing.assert_allclose(values, want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.base, f(X[5:12]).mean())
    np.testing.assert_allclose(found.base + found.values.sum(1), f(X[[3, 17]]))
    assert (found.values[:, 3] == 0).all() and (found.error == 0).all()


def test_a_linear_function_and_several_outputs():
    """w_j (x_j - mean of the background); each output is a game of its own."""
    W = rng.normal(size=(5, 3))
    found = fastnn.shapley_values(lambda X: X @ W, X, range(40))
    assert found.values.shape == (40, 5, 3) and found.base.shape == (40, 3)
    want = (X - X.mean(0))[:, :, None] * W  # all 40 are the background
    np.testing.assert_allclose(found.values, want, atol=1e-12)
    two = fastnn.shapley_values(both, X, [1])
    np.testing.assert_allclose(two.values[:, :, 0], fastnn.shapley_values(f, X, [1]).values)


def test_columns_that_agree_cost_nothing(monkeypatch):
    """Few values: 20 columns, of which a row of the background shares most."""
    monkeypatch.setattr("fastnn.explain.shapley.AT_ONCE", 50)
    digits = (rng.random((30, 20)) < 0.15).astype(float)
    digits[:, 0] = np.nan  # which is not even itself
    predicted = []

    def product(X):
        predicted.append(len(X))
        X = np.nan_to_num(X)
        return (1 + X[:, 1] * X[:, 2] - X[:, 3]) * (2 + X[:, 4:].sum(1)) ** 2

    found = fastnn.shapley_values(product, digits, [5], background=[7, 8, 9, 5])
    apart = 1 + (digits[[7, 8, 9, 5], 1:] != digits[5, 1:]).sum(1)
    assert sum(predicted) == (2**apart).sum() and len(predicted) > 1
    assert (found.error == 0).all() and found.values[0, 0] == 0
    total = found.base + found.values.sum(1)
    np.testing.assert_allclose(total, product(digits[[5]]), atol=1e-12)  # it may be 0
    changed = [j for j in range(20) if (digits[[7, 8, 9], j] != digits[5, j]).any()][1:7]
    few = fastnn.shapley_values(
        product, digits, [5], background=[7, 8, 9], groups={str(j): [j] for j in changed}
    )
    background = np.tile(digits[5], (3, 1))
    background[:, changed] = digits[[7, 8, 9]][:, changed]
    want = by_definition(product, digits[5], background, [[j] for j in changed])
    np.testing.assert_allclose(few.values[0], want, rtol=1e-12, atol=1e-12)


def test_groups_join_together_and_the_rest_is_the_rows_own():
    groups = {"pair": [0, 1], "last": [4]}
    found = fastnn.shapley_values(f, X, [2, 3], background=[7, 8, 9], groups=groups)
    assert found.names == ["pair", "last"]
    for row, values, base in zip([2, 3], found.values, found.base, strict=True):
        background = X[7:10].copy()
        background[:, [2, 3]] = X[row, [2, 3]]
        np.testing.assert_allclose(values, by_definition(f, X[row], background, [[0, 1], [4]]))
        assert base == pytest.approx(f(background).mean())


@pytest.mark.parametrize("many", [False, True])
def test_sampled_values_come_near_as_their_errors_say(many, monkeypatch):
    exact = fastnn.shapley_values(both, X, [0, 5], background=range(30))
    sampling = {"background": range(30), "orders": 2000}
    if many:  # predictions than exact values may take, in several calls
        monkeypatch.setattr("fastnn.explain.shapley.MOST_EXACT", 900)
        monkeypatch.setattr("fastnn.explain.shapley.AT_ONCE", 20)
        del sampling["orders"]
    at_once = []

    def counted(X):
        at_once.append(len(X))
        return both(X)

    found = fastnn.shapley_values(counted, X, [0, 5], **sampling)
    assert not many or max(at_once) <= 20
    off = np.abs(found.values - exact.values)
    assert 1e-4 < off.max() < 0.2 and (off <= 4 * found.error + 1e-12).all()
    np.testing.assert_allclose(found.base, exact.base)
    np.testing.assert_allclose(found.base + found.values.sum(1), both(X[[0, 5]]))
    again = fastnn.shapley_values(both, X, [5], **sampling)
    np.testing.assert_allclose(again.values[0], found.values[1], rtol=1e-12, atol=1e-14)
    other = fastnn.shapley_values(both, X, [5], **sampling, seed=1)
    assert not np.allclose(other.values, again.values)


def test_orders_are_those_of_the_seed():
    found = fastnn.shapley_values(f, X, [2], background=[7], orders=2, seed=3)
    order, want = raw(3, EXPLAIN, 1, 5).argsort(), np.zeros(5)
    for one in (order, order[::-1]):
        for k, j in enumerate(one):
            joined = np.tile(X[7], (2, 1))
            for x, more in zip(joined, (k, k + 1), strict=True):
                x[one[:more]] = X[2, one[:more]]
            want[j] += np.diff(f(joined))[0] / 2
    np.testing.assert_allclose(found.values[0], want, atol=1e-14)


def test_an_order_and_its_reverse_are_exact_where_only_pairs_interact():
    def pairs(X):
        return X[:, 0] * X[:, 1] + np.maximum(X[:, 2], X[:, 0])

    few = fastnn.shapley_values(pairs, X, [4], orders=1)
    np.testing.assert_allclose(few.values, fastnn.shapley_values(pairs, X, [4]).values, atol=1e-14)


def test_the_background_is_a_hundred_rows_that_follow_from_the_seed():
    many = rng.normal(size=(300, 2))
    base = fastnn.shapley_values(lambda X: X[:, 0], many, [0]).base
    assert base == fastnn.shapley_values(lambda X: X[:, 0], many, [0]).base
    rows = permutation(0, EXPLAIN, 0, 300)[:100]
    assert base == pytest.approx(many[rows, 0].mean())


# Importance


def squared(y, predicted):
    return np.mean((y - predicted) ** 2)


def test_importance_is_the_loss_with_a_column_shuffled():
    y = f(X) + 0.5
    found = fastnn.permutation_importance(f, X, y, squared, repeats=3, seed=7)
    assert found.loss == pytest.approx(0.25) and found.increases.shape == (5, 3)
    for repeat in range(3):
        order = permutation(7, EXPLAIN, repeat, 40)
        for j in range(5):
            shuffled = X.copy()
            shuffled[:, j] = X[order, j]
            want = squared(y, f(shuffled)) - found.loss
            assert found.increases[j, repeat] == pytest.approx(want, abs=1e-14)
    assert (found.increases[3] == 0).all() and found.mean[0] > 0.5
    np.testing.assert_allclose(found.error, found.increases.std(1, ddof=1) / 3**0.5)


def test_a_group_is_shuffled_by_the_same_rows():
    """A function of the difference of two columns that go together does not see it."""
    twins = np.stack([X[:, 0], X[:, 0] + 1], 1)
    found = fastnn.permutation_importance(
        lambda X: X[:, 1] - X[:, 0], twins, np.ones(40), squared, groups={"both": [0, 1]}
    )
    assert found.names == ["both"] and np.abs(found.increases).max() < 1e-28
    alone = fastnn.permutation_importance(
        lambda X: X[:, 1] - X[:, 0], twins, np.ones(40), squared, groups={"one": [0]}, repeats=1
    )
    assert alone.increases.shape == (1, 1) and alone.mean > 0.1 and np.isnan(alone.error)


# Tables


def columns_of(kind):
    """The same rows as a library's table, and how to read its columns back."""
    numbers, words = X[:, 0], np.array(["a", "b", "c", "d"])[np.arange(40) % 4]
    columns = {"number": numbers, "word": words}
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        return pandas.DataFrame({**columns, "word": pandas.Categorical(words)}, index=range(9, 49))
    if kind == "polars":
        return pytest.importorskip("polars").DataFrame(columns)
    if kind == "pyarrow":
        return pytest.importorskip("pyarrow").table(columns)
    if kind == "lists":
        return {name: column.tolist() for name, column in columns.items()}
    return as_table(columns) if kind == "table" else columns


def test_an_array_beside_its_names_stays_one():
    """As an NPZ is read."""
    arrays = Arrays("some.npz", X, X.shape[1:], as_table({"y": X[:, 0]}).columns["y"])
    mixed = Mixer(arrays)([np.array([3, 0]), *[np.array([5, 5])] * 4])
    assert type(mixed) is Arrays and mixed.y is None and mixed.path == "some.npz"
    np.testing.assert_array_equal(mixed.X, np.hstack([X[[3, 0], :1], X[[5, 5], 1:]]))


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "dict", "lists", "table"])
def test_tables_stay_what_they_are(kind):
    table = columns_of(kind)
    rows = [np.array([3, 0, 3]), np.array([1, 2, 39])]
    mixed = Mixer(table)(rows)
    assert type(mixed) is type(table)
    got = as_table(mixed).columns
    np.testing.assert_array_equal(got["number"].numbers(), X[[3, 0, 3], 0])
    codes, words = got["word"].coded()
    assert [words[code] for code in codes] == ["b", "c", "d"]
    if kind == "pandas":
        assert (mixed.dtypes == table.dtypes).all() and list(mixed.columns) == list(table.columns)

    def predict(table):
        columns = as_table(table).columns
        codes, words = columns["word"].coded()
        return columns["number"].numbers() * np.array([ord(word) for word in words])[codes]

    want = fastnn.shapley_values(predict, columns_of("dict"), [4])
    found = fastnn.shapley_values(predict, table, [4])
    assert found.names == ["number", "word"]
    np.testing.assert_allclose(found.values, want.values, rtol=1e-12)
    shuffled = fastnn.permutation_importance(predict, table, predict(table), squared)
    assert (shuffled.mean > 0).all() and shuffled.increases.shape == (2, 5)
    again = fastnn.permutation_importance(predict, table, predict(table), squared, seed=0)
    np.testing.assert_array_equal(again.increases, shuffled.increases)


def test_a_models_probabilities_are_explained():
    model = fastnn.Model([5, 8, 2], seed=0)
    y = (X[:, 0] > 0).astype(int)
    model.fit(X, y, epochs=100, learning_rate=0.5)
    found = fastnn.shapley_values(model.forward, X, range(6))
    np.testing.assert_allclose(found.base + found.values.sum(1), model.forward(X[:6]), atol=1e-6)
    assert np.abs(found.values[:, 0]).mean() > 3 * np.abs(found.values[:, 1:]).mean()


def test_a_tabular_estimators_answers_are_explained():
    """By columns, however many features they have."""
    numbers = X[:, 0].tolist()
    numbers[3] = None
    words = [["a", "b", "c"][i % 3] for i in range(40)]
    table = {"number": numbers, "same": [1.0, 2.0] * 20, "word": words}
    y = X[:, 0] + 3 * (np.arange(40) % 3 == 1)
    pack = Pack((Recipe((8,), optimizer=fastnn.Adam(0.05), epochs=60, batch_size=8),), n_folds=2)
    model = fastnn.TabularRegressor(recipe=pack, random_state=0).fit(table, y)
    some = {name: column[:5] for name, column in table.items()}
    found = model.shapley_values(some, table)
    assert found.names == ["number", "same", "word"] and (found.error == 0).all()
    np.testing.assert_allclose(found.base, model.predict(table).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.base + found.values.sum(1), model.predict(some), rtol=1e-6)
    assert found.values[[1, 4], 2].min() > 1 > found.values[[0, 2, 3], 2].max()
    classifier = fastnn.TabularClassifier(recipe=pack, random_state=0).fit(table, words)
    found = classifier.shapley_values(some, table, orders=80)
    assert found.values.shape == (5, 3, 3)
    p = classifier.predict_proba(some)
    np.testing.assert_allclose(found.base + found.values.sum(1), p, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": X[0]}, TypeError, "X must be an array"),
        ({"rows": [40]}, ValueError, "rows must be from 0 to 39, got 40 to 40"),
        ({"rows": []}, TypeError, "rows must be a list of rows' numbers"),
        ({"background": [-1]}, ValueError, "background must be from 0 to 39"),
        ({"groups": {"a": "number"}}, TypeError, "must be a list of columns"),
        ({"groups": {"a": [5]}}, ValueError, "has 5, which is no column of X"),
        ({"groups": {"a": [0], "b": [0]}}, ValueError, "each column one group at most"),
        ({"groups": {}}, ValueError, "groups must hold columns"),
        ({"orders": 0}, ValueError, "orders must be at least 1"),
        ({"predict": lambda X: f(X)[:3]}, ValueError, r"predict must return an array \(\d+,\)"),
        ({"predict": lambda X: np.full(len(X), "a")}, TypeError, "predict must return numbers"),
    ],
)
def test_what_is_wrong_is_named(change, error, message):
    given = {"predict": f, "X": X, "rows": [0], **change}
    with pytest.raises(error, match=message):
        fastnn.shapley_values(**given)


def test_columns_of_one_name_are_refused():
    frame = pytest.importorskip("pandas").DataFrame(X[:, [0, 1, 1]], columns=["a", "b", "a"])
    with pytest.raises(ValueError, match='two are called "a"'):
        fastnn.shapley_values(lambda table: np.zeros(len(table)), frame, [0])
