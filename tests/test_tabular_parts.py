"""The parts of fastnn.tabular: folds, weighting, calibration, recipes, rows and targets."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn.tables.bins import tree_edges
from fastnn.tables.frames import as_arrays
from fastnn.tabular.data import as_amounts, as_classes, as_data, as_target
from fastnn.tabular.folds import folds, splits
from fastnn.tabular.members import Lesson, new_model, operations_a_second
from fastnn.tabular.recipes import (
    Features,
    Pack,
    Recipe,
    as_pack,
    default_pack,
    from_json,
    td,
    td_s,
    to_json,
)
from fastnn.tabular.unseen import rating
from fastnn.tabular.unseen.calibration import Calibration, calibration_of, temperature_of
from fastnn.tabular.unseen.conformal import Scores, scores_of
from fastnn.tabular.unseen.spread import learn_spread
from fastnn.tabular.unseen.weighting import greedy

# --- folds


@pytest.mark.parametrize(("n", "k"), [(10, 5), (11, 3), (7, 8), (2, 5), (1000, 7)])
def test_each_row_is_held_out_once(n, k):
    made = folds(n, k, seed=0)
    assert len(made) == min(n, k)
    held = [held for _, held in made]
    assert np.array_equal(np.sort(np.concatenate(held)), np.arange(n))
    assert max(map(len, held)) - min(map(len, held)) <= 1
    for rows, out in made:
        assert np.array_equal(np.sort(np.concatenate([rows, out])), np.arange(n))
        assert (np.diff(rows) > 0).all() and (np.diff(out) > 0).all()


def test_classes_are_spread_evenly():
    labels = np.repeat([0, 1, 2], [500, 53, 4])
    for _, held in folds(557, 5, 3, labels):
        counts = np.bincount(labels[held], minlength=3)
        assert counts[0] == 100 and counts[1] in (10, 11) and counts[2] in (0, 1)


def test_folds_follow_seed_and_repeat():
    def of(seed, repeat):
        return np.concatenate([held for _, held in folds(50, 5, seed, repeat=repeat)]).tolist()

    assert of(1, 0) == of(1, 0)
    assert len({tuple(of(seed, repeat)) for seed in (1, 2) for repeat in (0, 1)}) == 4


def test_one_fold_is_a_fifth():
    first, second = splits(100, 1, 2, 0, np.repeat([0, 1], 50))
    ((rows, held),) = first
    assert len(held) == 20 and np.bincount(np.repeat([0, 1], 50)[held]).tolist() == [10, 10]
    assert len(rows) == 80 and second is first
    assert len(splits(100, 4, 3, 0)) == 3 and len(splits(100, 4, 3, 0)[0]) == 4


# --- weighting


def squared(y):
    return lambda f: float(((f - y) ** 2).mean())


def test_the_best_member_alone_where_others_only_harm():
    y = np.arange(6.0)[:, None]
    predictions = np.stack([y + 3, y + 0.1, y + 5])
    assert greedy(predictions, squared(y)).tolist() == [0, 1, 0]


def test_errors_that_cancel_are_averaged():
    y = np.arange(6.0)[:, None]
    predictions = np.stack([y + 1, y - 1, y + 7])
    assert greedy(predictions, squared(y)).tolist() == [0.5, 0.5, 0]


def test_with_replacement_members_count_unequally():
    y = np.zeros((4, 1))
    weights = greedy(np.stack([y + 1, y - 3]), squared(y))
    assert weights.tolist() == [0.75, 0.25]


def test_of_equals_the_first():
    y = np.zeros((4, 1))
    assert greedy(np.stack([y + 1, y + 1, y + 1]), squared(y)).tolist() == [1, 0, 0]


def test_never_worse_than_each_member_and_their_mean():
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = rng.normal(size=(50, 2))
        predictions = y + rng.normal(size=(7, 50, 2)) * rng.uniform(0.5, 3, (7, 1, 1))
        loss = squared(y)
        weights = greedy(predictions, loss)
        assert weights.min() >= 0 and np.isclose(weights.sum(), 1)
        best = min(map(loss, predictions))
        assert loss(np.tensordot(weights, predictions, 1)) <= best + 1e-12


def test_members_without_a_finite_loss_are_left_out():
    y = np.zeros((4, 1))
    nan = np.full((4, 1), np.nan)
    assert greedy(np.stack([nan, y + 1]), squared(y)).tolist() == [0, 1]
    with pytest.raises(ValueError, match="finite loss"):
        greedy(np.stack([nan, nan]), squared(y))


# --- calibration


def sample(n, sharpness, seed=0):
    """Probabilities, and labels drawn from softmax(sharpness ln p)."""
    rng = np.random.default_rng(seed)
    p = Calibration()(np.exp(rng.normal(size=(n, 3))))
    true = Calibration(temperature=1 / sharpness)(p)
    labels = (true.cumsum(1) < rng.uniform(size=(n, 1))).sum(1)
    return p, labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_temperature_is_found(sharpness):
    p, labels = sample(40_000, sharpness)
    assert temperature_of(p, labels) == pytest.approx(1 / sharpness, rel=0.05)


def test_temperature_minimises_the_log_loss():
    p, labels = sample(2000, 1.7)
    best = temperature_of(p, labels)

    def loss(temperature):
        return -np.log(Calibration(temperature=temperature)(p)[np.arange(len(p)), labels]).mean()

    for factor in (0.9, 1.1):
        assert loss(best) < loss(best * factor)


def test_weights_are_repeated_rows():
    p, labels = sample(300, 2.0)
    times = np.random.default_rng(1).integers(1, 4, 300)
    repeated = temperature_of(p.repeat(times, 0), labels.repeat(times))
    assert temperature_of(p, labels, times.astype(float)) == pytest.approx(repeated, rel=1e-2)


def test_temperature_stays_within_bounds():
    labels = np.arange(60) % 3
    sure = Calibration()(np.eye(3)[labels] + 0.01)
    assert 0.05 <= temperature_of(sure, labels) < 1
    assert temperature_of(sure, (labels + 1) % 3) == pytest.approx(20)
    assert np.isfinite(temperature_of(np.eye(3)[labels], labels))


def test_calibrated_is_softmax_of_log():
    p = np.array([[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(Calibration(temperature=0.5)(p), [[4 / 6, 1 / 6, 1 / 6]])
    np.testing.assert_allclose(Calibration()(p), p)


def test_smoothing_is_taken_back_where_it_was_learned():
    """Probabilities that are right, and then smoothed: the calibration finds its way back."""
    p, labels = sample(40_000, 1.0)
    smooth = 0.9 * p + 0.1 / 3
    found = calibration_of(smooth, labels, None, 0.1)
    assert found.smoothing >= 0.08 and found.temperature == pytest.approx(1, abs=0.1)
    assert np.abs(found(smooth) - p).max() < 0.05
    assert np.abs(found(smooth) - p).mean() < np.abs(smooth - p).mean() / 4
    assert calibration_of(p, labels, None, 0.1).smoothing <= 0.05
    assert calibration_of(smooth, labels, None, 0.0).smoothing == 0


def test_smoothing_taken_back_leaves_no_class_without_any():
    p = np.array([[0.9, 0.07, 0.03]])
    q = Calibration(0.1)(p)
    np.testing.assert_allclose(q[0, :2], (p[0, :2] - 0.1 / 3) / 0.9, rtol=5e-3)
    assert q[0, 2] > 0 and np.isclose(q.sum(), 1)


# --- certainty


def test_quantiles_are_those_of_all_sums():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 40)
    scores = Scores(np.eye(3), np.zeros(3, int), group, rng.normal(size=40))
    f = rng.normal(size=(7, 3))
    every = np.sort(f[:, group] + scores.score, 1)
    ranks = np.array([40, 1, 13, 13])
    assert np.array_equal(scores.quantiles(f, None, ranks), every[:, ranks - 1])
    lower, upper = scores.interval(f, None, 0.8)  # 4.1 of 41 in each tail
    assert np.array_equal(lower, every[:, 3]) and np.array_equal(upper, every[:, 36])
    assert np.array_equal(scores.levels(f, None, np.array([0.5]))[:, 0], every[:, 20])
    assert scores.interval(f, None, 0.999)[0].max() == -np.inf
    assert scores.interval(f, None, 0.999)[1].min() == np.inf


def test_quantiles_in_units_of_the_spread():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 3, 40)
    scores = Scores(np.eye(3), np.arange(3), group, rng.normal(size=40))
    f, s = rng.normal(size=(7, 3)), rng.uniform(0.5, 2, (7, 3))
    every = np.sort(f[:, group] + s[:, group] * scores.score, 1)
    assert np.array_equal(scores.quantiles(f, s, np.arange(1, 41)), every)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"members": np.eye(3)}, "scores must be of groups of 2 members"),
        ({"score": np.ones(4)}, "scores must be of groups of 2 members"),
        ({"fold": np.zeros(3, int)}, "groups must be of 1 folds"),
        ({"fold": np.array([0, 1])}, "groups must be of 1 folds"),
        ({"group": np.ones((5, 1), int), "score": np.ones((5, 1))}, "be of the 2 groups"),
        ({"group": np.full(5, 2)}, "scores must be of the 2 groups"),
    ],
)
def test_scores_that_no_ensemble_has(change, message):
    scores = Scores(np.eye(2), np.zeros(2, int), np.array([0, 1, 0, 0, 1]), np.ones(5))
    scores.check(2, 1)
    for name, value in change.items():
        setattr(scores, name, value)
    with pytest.raises(ValueError, match=message):
        scores.check(2, 1)


def test_blocks_of_rows_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    scores = Scores(np.eye(2), np.zeros(2, int), rng.integers(0, 2, 30), rng.normal(size=30))
    f, q = rng.normal(size=(11, 2)), np.array([0.1, 0.9])
    whole = scores.levels(f, None, q)
    monkeypatch.setattr("fastnn.tabular.unseen.conformal.BLOCK", 60)
    assert np.array_equal(scores.levels(f, None, q), whole)


def test_sets_count_the_rows_that_were_no_likelier():
    scores = Scores(np.eye(1), np.zeros(1, int), np.zeros(9, int), np.arange(1, 10) / 10)
    p = np.array([[[0.05, 0.1, 0.25, 0.95]]])
    # (count + 1) / 10 of 0, 1, 2 and 9 rows must be above 1 - coverage.
    assert scores.sets(p, 0.9)[0].tolist() == [False, True, True, True]
    assert scores.sets(p, 0.75)[0].tolist() == [False, False, True, True]
    assert scores.sets(p, 0.95)[0].tolist() == [True, True, True, True]


def test_groups_of_rows_have_the_members_that_have_not_seen_them():
    folds = np.array([[0, 1, 0, 1], [0, 0, 1, 1]])
    scores = scores_of(folds, np.array([0.75, 0.25]), np.arange(4.0))
    weights = scores.members[scores.group]
    assert weights.tolist() == [
        [0.75, 0, 0.25, 0],
        [0, 0.75, 0.25, 0],
        [0.75, 0, 0, 0.25],
        [0, 0.75, 0, 0.25],
    ]


def test_groups_tell_the_network_of_the_spread():
    folds, own = np.array([[0, 1, 0, 1]]), np.array([2, 0, 1, 0])
    scores = scores_of(folds, np.ones(1), np.arange(4.0), own)
    assert scores.fold[scores.group].tolist() == own.tolist()
    assert scores.members[scores.group].tolist() == np.eye(2)[folds[0]].tolist()


def test_spread_is_learned_where_there_is_something_to_learn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3)).astype(np.float32)
    fold = np.arange(1500) % 3
    noise = rng.normal(size=1500)
    spread = learn_spread(X, noise * np.exp(X[:, 0]), fold, 0, None)
    assert spread is not None and len(spread.members) == 3
    assert np.corrcoef(np.log(spread.unseen), X[:, 0])[0, 1] > 0.9
    assert learn_spread(X, noise, fold, 0, None) is None
    assert learn_spread(X[:50], noise[:50] * np.exp(X[:50, 0]), fold[:50], 0, None) is None


def test_few_scores_are_kept(monkeypatch):
    monkeypatch.setattr("fastnn.tabular.unseen.conformal.MOST", 10)
    scores = scores_of(np.arange(95)[None] % 5, np.ones(1), np.arange(95.0))
    assert scores.n == 10 and np.diff(scores.score).min() >= 9


# --- recipes


def test_default_fits_its_budget():
    """Operations of the default: about 20 s of two cores' for 10,000 x 20."""
    for task, n_classes in (("classification", 2), ("regression", 0)):
        pack = default_pack(task, 10_000, Features(20), n_classes)
        n_out = max(n_classes, 1)
        each = [one.operations(8000, Features(20), n_out) for one in pack.recipes]
        done = pack.n_folds * pack.repeats * sum(each)
        assert 0.5 < done / (20 * 2 * 100e9) <= 1.2


@pytest.mark.parametrize("n_rows", [3, 20, 100, 1000, 100_000])
def test_the_default_has_folds_of_few_rows_and_of_many(n_rows):
    for task, n_classes in (("classification", 2), ("regression", 0)):
        assert default_pack(task, n_rows, Features(10), n_classes).n_folds == 5


def test_few_rows_take_a_small_part_of_the_budget():
    """455 rows of 30 numbers: some 3 s of one core's."""
    for task, n_classes in (("classification", 2), ("regression", 0)):
        pack = default_pack(task, 455, Features(30), n_classes)
        each = [one.operations(364, Features(30), 2) for one in pack.recipes]
        assert pack.n_folds == 5 and pack.repeats == 1 and pack.recipes[0].epochs > 100
        assert sum(each) * 5 < 3.1 * 100e9


def test_operations_count_what_becomes_of_columns():
    """Each column is as wide as its features: one-hot, or a row of a table."""
    features = Features.of(6, [0, 1], {3: 3, 4: 9, 5: 100})
    assert features == Features(2, 1, (3, 9, 100))
    for one_hot, n_in in ((9, 2 + 1 + 3 + 9 + 8), (100, 2 + 1 + 3 + 9 + 100)):
        recipe = Recipe((10,), one_hot=one_hot, category_width=8)
        same = recipe.operations(50, Features(n_in), 2)
        assert recipe.operations(50, features, 2) == same
    recipe = Recipe((10,), bins=5)
    assert recipe.operations(50, Features(2, 5), 2) == recipe.operations(50, Features(3), 2)


def test_many_categories_have_fewer_epochs():
    def steps(*categories):
        pack = default_pack("classification", 30_000, Features(6, 0, categories), 2)
        return pack.n_folds * pack.repeats * pack.recipes[0].epochs

    assert steps() >= steps(9, 9) >= steps(9, 16, 42) > steps(*[100] * 8)
    assert steps(101) == steps(100_000)


def test_default_grows_with_its_budget():
    def epochs(budget):
        pack = default_pack("regression", 20_000, Features(20), 0, budget)
        return pack.n_folds * pack.repeats * pack.recipes[0].epochs

    assert epochs(1e12) < epochs(3e12) < epochs(1e14)


def test_speed_is_measured():
    speed = operations_a_second(Recipe((32,), batch_size=32), 3, 2, 2)
    assert 1e6 < speed < 1e14


def test_as_pack():
    recipe = Recipe(hidden=(8,))
    assert as_pack(recipe, "regression", 10, Features(2), 0) == Pack((recipe,))
    assert as_pack(Pack((recipe,), 3), "regression", 10, Features(2), 0).n_folds == 3
    assert as_pack("td-s", "regression", 10, Features(2), 0) == Pack(
        (td_s("regression"),), 1, clamp=False, logs=False
    )
    assert as_pack("td", "regression", 10, Features(2), 0) == Pack(
        (td("regression"),), 1, logs=False
    )
    with pytest.raises(ValueError, match="recipe must be"):
        as_pack("best", "regression", 10, Features(2), 0)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_td_decays_weights_and_no_biases(task):
    """RealMLP-TD: bias_wd_factor is 0."""
    rule = td(task).optimizer
    assert rule.weight_decay == fastnn.FlatCosine(0.02) and not rule.decay_bias
    assert not td_s(task).optimizer.weight_decay


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": (0,)}, "each of hidden must be at least 1, got 0"),
        ({"activation": "selo"}, "activation must be one of"),
        ({"monitor": "auc"}, "monitor must be one of error, loss"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"optimizer": "adm"}, "optimizer must be one of"),
    ],
)
def test_recipes_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)
    with pytest.raises(TypeError, match="recipes must be one Recipe or several"):
        Pack(("selu",))


def test_recipes_as_json():
    pack = Pack(
        (
            td("classification"),
            Recipe((3, 4), fastnn.LeakyReLU(0.2), fastnn.Adam(fastnn.OneCycle(0.1), beta2=0.95)),
            Recipe(monitor=None, patience=3),
        ),
        n_folds=1,
    )
    assert from_json(json.loads(json.dumps(to_json(pack)))) == pack
    with pytest.raises(TypeError, match="numbers, texts or fastnn's own"):
        to_json(Recipe(optimizer=fastnn.Adam(lambda t: 0.1)))
    for damaged in ({"name": "Model"}, {"name": "Recipe", "depth": 3}, {"hidden": []}):
        with pytest.raises(ValueError):
            from_json(damaged)


# --- members


def lesson(n_classes=3):
    """Two numbers, a column of 12 codes and one of 3."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4)).astype(np.float32)
    X[:, 1], X[:, 3] = np.arange(40) % 12, np.arange(40) % 3
    y = np.arange(40) % n_classes if n_classes else X[:, :1]
    return Lesson(X, y, None, n_classes or 1, bool(n_classes), [0, 2], {1: 12, 3: 3})


def test_networks_of_a_recipe():
    recipe = Recipe((5,), "tanh", frequencies=4, periodic_width=2, label_smoothing=0.1, dropout=0.2)
    model = new_model(recipe, lesson(), 0)
    assert model.embeddings == [
        fastnn.Periodic([0, 2], 4, 2),
        fastnn.Categories(1, 12, 8),
        fastnn.Categories(3, 3),
    ]
    assert model.loss == fastnn.CrossEntropy(0.1) and model.output == "softmax"
    assert model.W[0].shape == (5, 2 * 3 + 8 + 3) and model.dropout == [0.0, 0.2]
    amounts = new_model(Recipe((5,)), lesson(0), 0)
    assert amounts.output == "identity" and amounts.loss == "squared_error"


def test_normal_weights():
    """TD-S: the step of NTK's W of N(0, 1) is that of W of N(0, 1 / n_in); the last are zeros."""
    model = new_model(replace(td_s("regression"), hidden=(400, 300)), lesson(0), 0)
    assert model.W[1].std() * 20 == pytest.approx(1, abs=0.02)
    assert model.b[1].std() == pytest.approx(1, abs=0.1)
    assert not model.W[2].any() and not model.b[2].any()
    assert model.feature_scale and model.activations == ["mish", "mish"]


def test_weights_from_data():
    """As of Model.initialize on the rows that are trained on."""
    rows = np.arange(30)
    model = new_model(Recipe((5, 4), weights="data"), lesson(), 3, rows)
    same = fastnn.Model([4, 5, 4, 3], "selu", seed=3, embeddings=model.embeddings)
    same.initialize(lesson().X[rows])
    assert np.array_equal(model.theta, same.theta)


def test_weights_from_data_of_many_rows():
    """The same weights, and the rows are not copied for them."""
    n = 200_000
    X = np.random.default_rng(0).normal(size=(n, 40)).astype(np.float32)
    many = Lesson(X, np.arange(n) % 2, None, 2, True, list(range(40)), {})
    rows = np.arange(n)[n // 5 :]
    want = fastnn.Model([40, 8, 2], "selu", seed=3)
    want.initialize(X[rows])
    tracemalloc.start()
    model = new_model(Recipe((8,), weights="data"), many, 3, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.theta.tobytes() == want.theta.tobytes()
    assert peak < X[rows].nbytes / 2


def test_members_have_the_bins_of_their_own_rows():
    rows = np.arange(30)
    embedding = new_model(Recipe((4,), bins=3), lesson(), 0, rows).embeddings[0]
    assert isinstance(embedding, fastnn.PiecewiseLinear) and embedding.columns == (0, 2)
    for column, edges in zip((0, 2), embedding.edges, strict=True):
        assert edges[0] == lesson().X[rows, column].min()
        assert edges[-1] == lesson().X[rows, column].max() and len(edges) <= 4


# --- rows and targets


def test_arrays_of_objects():
    numbers = as_data(np.array([[1, 2.5], [None, 3]], object))
    np.testing.assert_array_equal(numbers.X, [[1, 2.5], [np.nan, 3]])
    mixed = as_data(np.array([[1, "a"], [2, "b"]], object))
    assert list(mixed.columns) == ["x0", "x1"]
    again = as_data(np.array([[1.0, 5.0]]), ["x0", "x1"], 2)
    assert list(again.columns) == ["x0", "x1"]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(3), "Expected 2D array, got 1D array instead"),
        (np.zeros((3, 0)), "0 feature"),
        (np.zeros((0, 3)), "0 sample"),
        (np.zeros((2, 2), complex), "Complex data not supported"),
    ],
)
def test_bad_rows(X, message):
    with pytest.raises(ValueError, match=message):
        as_data(X)


@pytest.mark.parametrize("X", [None, "rows.csv", b"rows"])
def test_what_are_no_rows(X):
    with pytest.raises(TypeError, match=f"X must be a table or an array, got {X!r}"):
        as_data(X)


def test_masked_cells_are_not_taken_for_numbers():
    masked = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 1], [0, 0]])
    for take in (as_data, as_arrays):
        with pytest.raises(TypeError, match=r"masked array.*filled"):
            take(masked)
    assert np.isnan(as_data(masked.filled(np.nan)).X[0, 1])


def test_targets():
    assert as_target([1, 2]).tolist() == [1, 2]
    with pytest.warns(UserWarning, match="column-vector y"):
        assert as_target(np.ones((3, 1))).shape == (3,)
    with pytest.raises(ValueError, match="y must have shape"):
        as_target(np.ones((3, 2)))
    assert as_target({"y": [1, 2]}).tolist() == [1, 2]
    with pytest.raises(ValueError, match="y must be one column, got 2 columns"):
        as_target({"y": [1, 2], "z": [1, 2]})


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([" b", "'b'", "None"], [" b", "'b'", "None"]),
        ([3, -1, 3], [-1, 3]),
        ([1.0, 2.0], [1.0, 2.0]),
        ([True, False], [False, True]),
    ],
)
def test_classes_are_what_they_were(y, classes):
    for values in (np.array(y), np.array(y, object)):
        distinct, codes = as_classes(values)
        assert distinct.tolist() == classes and distinct[codes].tolist() == y
        assert distinct.dtype == values.dtype


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0.5, 1.0]), "Unknown label type: continuous"),
        (np.array([1.0, np.nan]), r"a class in each row, got nan in y\[1\]"),
        (np.array(["a", None], object), r"a class in each row, got None in y\[1\]"),
        (np.array(["a", 1], object), "of one kind"),
        (np.array([1j, 2]), "y must hold numbers or texts, got complex128"),
    ],
)
def test_bad_classes(y, message):
    with pytest.raises(ValueError, match=message):
        as_classes(y)


def test_bad_amounts():
    with pytest.raises(ValueError, match="y must be numbers, got such as 'a'"):
        as_amounts(np.array(["a", "b"]))
    with pytest.raises(ValueError, match=r"finite in each row, got inf in y\[0\]"):
        as_amounts(np.array([np.inf, 1]))


def test_numbers_have_bins_or_frequencies():
    with pytest.raises(ValueError, match="either bins or a periodic embedding, got bins=4"):
        Recipe(bins=4, frequencies=16)


# --- bins


def impurity(edges, x, y):
    """Sum of squares within bins, by definition."""
    bin_of = np.digitize(x, edges[1:-1])
    return sum(((y[bin_of == k] - y[bin_of == k].mean(0)) ** 2).sum() for k in np.unique(bin_of))


@pytest.mark.parametrize("classes", [False, True])
def test_a_cut_is_the_best_of_all(classes):
    rng = np.random.default_rng(3)
    x = rng.normal(size=200).astype(np.float32)
    y = (x > 0.3) * 2 + rng.integers(0, 2, 200) if classes else x[:, None] ** 3 + 1.0
    targets = np.eye(4)[y] if classes else y
    edges = tree_edges(x, y, 2)
    assert len(edges) == 3
    assert edges[0] == x.min() and edges[2] == x.max()
    middles = (np.sort(x)[4:-5] + np.sort(x)[5:-4]) / 2  # at least 5 rows on each side
    best = min(impurity([x.min(), cut, x.max()], x, targets) for cut in middles)
    assert impurity(edges, x, targets) == pytest.approx(best, rel=1e-9)


def test_bins_find_a_step_among_few_rows():
    """99 in 100 cells are 0; where the target changes among the others, quantiles have no edge."""
    rng = np.random.default_rng(4)
    x = np.where(np.arange(5000) % 100, 0.0, rng.uniform(1, 9, 5000)).astype(np.float32)
    y = (x > 6).astype(np.int64)
    inner = tree_edges(x, y, 8)[1:-1]
    assert any(x[x < 6].max() <= edge <= x[x > 6].min() for edge in inner)


def test_edges_rise_and_are_no_more_than_asked_for():
    rng = np.random.default_rng(5)
    for x in (rng.normal(size=300), rng.integers(0, 3, 300), np.full(300, 2.0), [0.0, 1.0]):
        x = np.asarray(x, np.float32)
        edges = tree_edges(x, rng.normal(size=(len(x), 1)), 16)
        assert 2 <= len(edges) <= 17 and (np.diff(edges) > 0).all()
    assert tree_edges(x, np.zeros((2, 1)), 16) == [0.0, 1.0]


# --- weights of classes


def test_the_surest_recipe_is_not_taken_for_the_best():
    """Both put the same share of rows right; one is only less sure of all that it says."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 400)
    right = rng.random((2, 400)) < np.array([[0.95], [0.9]])
    sure = np.array([[0.7], [0.9]])
    own = np.where(right, sure, 1 - sure)
    p = np.where(y[None, :, None] == np.arange(2), own[:, :, None], 1 - own[:, :, None])
    shares = rating.weigh_classes(p, y, None, [0.0, 0.0])
    assert shares[0] > shares[1]


# --- logarithms


def long_tails(n=1500, seed=0):
    """What a product of powers is, and its factors."""
    rng = np.random.default_rng(seed)
    a, c = np.exp(rng.normal(0, 1, (2, n)))
    b = rng.normal(size=n)
    price = 20 * a**0.8 * c**-0.4 * np.exp(0.5 * b + 0.1 * rng.normal(size=n))
    return {"a": a, "b": b, "c": c}, price


LOGS = Pack((replace(td_s("regression"), hidden=(64, 64), epochs=60),), 3)


@pytest.mark.parametrize("arrays", [False, True])
def test_long_tails_are_learned_as_logarithms(tmp_path, arrays):
    X, y = long_tails()
    new, truth = long_tails(2000, 1)
    if arrays:
        X, new = (np.stack([*one.values()], 1) for one in (X, new))
        X[::50, 0] = np.nan
    error, models = {}, {}
    for logs in (False, True):
        recipe = replace(LOGS, logs=logs)
        models[logs] = model = fastnn.TabularRegressor(recipe=recipe, random_state=0).fit(X, y)
        inside = truth < y.max()  # predictions are clamped to it
        error[logs] = np.sqrt(np.mean((model.predict(new) - truth)[inside] ** 2))
    assert error[True] < 0.8 * error[False]
    columns = model.columns_
    target, inputs = columns.targets[0], columns.inputs
    assert target.log and 0.95 < target.smear < 1.1
    assert "exp(" in str(target)
    if arrays:
        assert inputs.logged == [0, 2] and 'logarithms of "x0", "x2"' in model.summary()
    else:
        assert "ln max(x" in str(inputs.columns[0])
        assert [one.floor is None for one in inputs.columns] == [False, True, False]
        assert '"a", "c": long tails; logarithms predict held-out rows better' in model.summary()
        row = {name: float(cells[5]) for name, cells in new.items()}
        assert model.predict_one(row) == model.predict(new)[5]
        row["a"] = 0.0  # below all of training's
        assert model.predict_one(row) == model.predict([row])[0] > 0
    assert abs(model.predict(X).sum() / y.sum() - 1) < 0.15
    assert model.scores_["rmse"] < models[False].scores_["rmse"]
    lower, upper = model.predict_interval(new, 0.8).T
    assert (lower > 0).all() and 0.75 < ((lower <= truth) & (truth <= upper)).mean() < 0.87
    middle = model.predict_quantiles(new, 0.5)
    assert abs((truth < middle).mean() - 0.5) < 0.05
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))


def test_what_has_no_long_tail_is_learned_as_it_is():
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=500), "b": rng.random(500), "c": rng.integers(0, 5, 500)}
    y = 100 + X["a"] + 3 * X["b"]
    model = fastnn.TabularRegressor(recipe=LOGS, random_state=0).fit(X, y)
    plain = fastnn.TabularRegressor(recipe=replace(LOGS, logs=False), random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert not model.columns_.targets[0].log


def test_a_long_tail_that_does_not_matter_is_learned_as_it_is():
    X, y = long_tails()
    y = 5 + X["b"] + 0.01 * np.random.default_rng(1).normal(size=len(y))
    model = fastnn.TabularRegressor(recipe=LOGS, random_state=0).fit(X, y)
    assert all(one.floor is None for one in model.columns_.inputs.columns)


def test_logarithms_of_inputs_serve_classes_and_teachers():
    X, y = long_tails()
    kind = np.where(X["a"] * X["c"] ** -0.5 > 1, "more", "less")
    model = fastnn.TabularClassifier(recipe=LOGS, random_state=0).fit(X, kind)
    assert model.columns_.inputs.columns[0].floor > 0
    taught = fastnn.TabularRegressor(recipe=LOGS, random_state=0)
    taught.fit(X, y, teacher_values=y - 2 * y.min())  # of a teacher that is below 0 at times
    assert not taught.columns_.targets[0].log and taught.score(X, y) > 0.3
    small = fastnn.TabularRegressor(recipe=LOGS, random_state=0).fit(X, y).compress(X, y)
    assert small.columns_.targets[0].log and small.score(X, y) > 0.6


def test_a_limit_of_time_holds_for_many_rows():
    pack = default_pack("classification", 10**7, Features(20), 2, budget=1e12)
    assert pack.n_folds == 1 and pack.recipes[0].epochs == 1
