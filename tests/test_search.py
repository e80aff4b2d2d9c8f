"""Searches: trials, the ensemble of the best, and the journal by which they go on."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn.tabular import Search, recipes
from fastnn.tabular.recipes import Features, Pack, Recipe, from_json, td, td_s, to_json
from fastnn.tabular.search import trials
from fastnn.tabular.search.space import Draw, drawn, first_pack, in_words, realmlp


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Trials of 8 epochs on a fifth held out."""
    monkeypatch.setattr(recipes, "OPERATIONS_A_SECOND", 1e6)


def table(n=60, seed=0):
    X = np.random.default_rng(seed).normal(size=(n, 3)).round(3)
    return X, np.sin(X[:, 0]) + 0.5 * X[:, 1]


def searched(path=None, n=5, kind=fastnn.TabularRegressor, y=None, seed=0, **settings):
    X, amounts = table()
    journal = None if path is None else path / "journal"
    model = kind(recipe=Search(n, journal), random_state=seed, **settings)
    return model.fit(X, amounts if y is None else y)


def saved(model, path):
    model.set_params(recipe="auto", n_threads=None)
    model.save(path)
    return path.read_bytes()


# --- the space


def test_recipes_follow_seed_and_number_alone():
    of = Pack((td_s("regression"),)), "regression", 100, Features(4), 1
    some = [drawn(seed, number, *of) for seed in (0, 1) for number in (3, 4)]
    assert len(set(some)) == 4
    assert some[1] == drawn(0, 4, *of)
    smoothed = Pack((replace(td_s("classification"), label_smoothing=0.03),))
    assert drawn(0, 3, smoothed, "classification", 100, Features(4), 2).label_smoothing == 0.03
    assert from_json(json.loads(json.dumps(to_json(some[1])))) == some[1]


def test_the_space_is_that_of_its_paper():
    many = [realmlp(Draw(0, number), "classification") for number in range(400)]
    shares = {
        "hidden": {(256,) * 3: 0.6, (64,) * 5: 0.2, (512,): 0.2},
        "dropout": {0.0: 0.3, 0.15: 0.5, 0.3: 0.2},
        "feature_scale": {True: 0.6, False: 0.4},
        "frequencies": {0: 0.5, 16: 0.5},
    }
    for name, of in shares.items():
        values = [getattr(one, name) for one in many]
        for value, share in of.items():
            assert abs(values.count(value) / 400 - share) < 4 * (share * (1 - share) / 400) ** 0.5
        assert set(values) == set(of)
    rates = [one.optimizer.learning_rate.learning_rate for one in many]
    assert 0.02 <= min(rates) < 0.022 and 0.27 < max(rates) <= 0.3
    assert abs(np.mean(np.log(rates)) - np.log(0.02 * 0.3) / 2) < 0.15
    assert {one.activation.activation for one in many} == {"relu", "selu", "mish"}
    assert {one.label_smoothing for one in many} == {0.1}
    assert realmlp(Draw(0, 0), "regression").label_smoothing == 0


def test_trials_cost_about_the_same():
    first = td_s("regression")
    for number in range(30):
        one = drawn(0, number, Pack((first,)), "regression", 1000, Features(10), 1)
        cost = one.operations(1000, Features(10), 1) / first.operations(1000, Features(10), 1)
        assert cost <= 1 and (cost > 0.9 or one.epochs == 256)


def test_what_a_trial_is_like_follows_from_the_time(monkeypatch):
    monkeypatch.setattr(recipes, "OPERATIONS_A_SECOND", 1e15)

    def of(budget, trials=None):
        pack = first_pack(trials, "regression", 10_000, Features(20), 0, budget * fold)
        assert pack.recipes[0] == replace(
            td_s("regression"), drop_last=False, epochs=pack.recipes[0].epochs
        )
        return pack.n_folds, pack.recipes[0].epochs, pack.repeats

    fold = 5 * td_s("regression").operations(8_000, Features(20), 1) / 256  # 5 folds, an epoch
    assert of(24.01 * 100) == (5, 100, 1)
    assert of(12.01 * 65) == (5, 65, 1) and of(12.01 * 65, trials=24)[0] == 1
    assert of(6.01 * 65) == (5, 65, 1) and of(6.01 * 60)[0] == 1
    assert of(1e9) == (5, 256, 1)


def test_recipes_in_words():
    assert in_words(td("regression")) == (
        "3 x 256, mish, rate 0.2, decay 0.02, dropout 0.15, periodic 0.1, scaled, 256 epochs"
    )
    assert in_words(Recipe((64, 32), "relu")) == "64, 32, relu, rate 0.001, 256 epochs"
    assert in_words(Recipe(())).startswith("no layer, ")


# --- trials


def test_a_search_is_fit_like_any_other(tmp_path):
    model, pack = searched(), first_pack(5, "regression", 60, Features(3), 0, None)
    assert [trial.recipe for trial in model.trials_] == [
        drawn(0, number, pack, "regression", 60, Features(3), 1) for number in range(5)
    ]
    assert model.trials_[0].recipe == pack.recipes[0] != model.trials_[4].recipe
    best = min(trial.score for trial in model.trials_)
    assert model.scores_["rmse"] <= best + 1e-9  # greedy weights never do worse than one
    assert set(model._pack.recipes) <= {trial.recipe for trial in model.trials_}
    again = searched(n_threads=1)
    assert saved(model, tmp_path / "a") == saved(again, tmp_path / "b")
    loaded = fastnn.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.predict(table()[0]), again.predict(table()[0]))
    X, y = table()
    assert not hasattr(model.set_params(recipe=Recipe((4,), epochs=2)).fit(X, y), "trials_")


def test_classes_score_by_their_calibrated_log_loss():
    y = np.where(table()[1] > 0, "up", "down")
    model = searched(n=3, kind=fastnn.TabularClassifier, y=y)
    assert model.scores_["log_loss"] <= min(trial.score for trial in model.trials_) + 0.05
    assert model.predict(table()[0][:2]).dtype.kind == "U"


def test_five_folds_where_there_is_time_for_them(monkeypatch):
    monkeypatch.setattr(recipes, "OPERATIONS_A_SECOND", 4e10)
    model = searched(n=2)
    assert model._pack.n_folds == 5 and len(model._ensemble.members) % 5 == 0


def test_the_ensemble_is_chosen_from_the_best_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "KEPT", 2)
    for n in (3, 6):  # what was kept of the first three goes for what is better
        model = searched(tmp_path, n=n)
    ranking = sorted(range(6), key=lambda number: model.trials_[number].score)
    names = {name for name in os.listdir(tmp_path / "journal") if name != "journal.json"}
    assert names == {f"{number}.safetensors" for number in ranking[:2]}
    assert {model.trials_[i].recipe for i in ranking[:2]} >= set(model._pack.recipes)


def test_one_that_diverges_is_a_trial_without_networks(tmp_path, monkeypatch, capsys):
    wild = Recipe((4,), optimizer=fastnn.SGD(1e30), epochs=2)
    real = trials.drawn
    monkeypatch.setattr(
        trials, "drawn", lambda seed, number, *of: wild if number == 2 else real(seed, number, *of)
    )
    model = searched(tmp_path, n=4)
    assert [trial.score == np.inf for trial in model.trials_] == [False, False, True, False]
    content = json.loads((tmp_path / "journal/journal.json").read_text())
    assert content["entries"][2]["score"] is None
    assert saved(model, tmp_path / "a") == saved(searched(tmp_path, n=4), tmp_path / "b")
    monkeypatch.setattr(trials, "drawn", lambda *of: wild)
    capsys.readouterr()
    with pytest.raises(fastnn.DivergenceError, match="all trials diverged"):
        searched(n=1, verbose=True)
    assert re.match(r"trial 1 of at most 1, \S+ s: diverged; ", capsys.readouterr().err)


def test_each_trial_is_a_line(capsys):
    searched(n=3, verbose=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("trial 1 of at most 3, ") and ": RMSE " in lines[1]
    assert ", best " in lines[2]
    assert lines[2].endswith(f"{in_words(searched(n=3).trials_[2].recipe)}")


def test_a_time_limit_ends_it(monkeypatch):
    begin = time.perf_counter()
    model = searched(n=None, time_limit=0.5)
    assert 1 < len(model.trials_) <= trials.LIMIT
    assert time.perf_counter() - begin < 60
    assert len(searched(n=2, time_limit=100).trials_) == 2
    monkeypatch.setattr(trials, "TRIALS", 3)
    assert len(searched(n=None).trials_) == 3


def test_settings_are_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        Search(0)
    with pytest.raises(TypeError, match="journal must be a path, got 3"):
        Search(journal=3)
    with pytest.raises(ValueError, match="random_state must be an integer where a search keeps"):
        searched(tmp_path, seed=None)
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    X, y = table()
    for name, message in (
        ("file", "must be a folder or none yet"),
        ("other", 'or empty; .* holds "thesis.tex"'),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.TabularRegressor(recipe=Search(1, tmp_path / name), random_state=0).fit(X, y)
    with pytest.raises(FileNotFoundError):
        fastnn.TabularRegressor(recipe=Search(1, tmp_path / "a/b"), random_state=0).fit(X, y)
    assert os.listdir(tmp_path / "other") == ["thesis.tex"]
    with pytest.raises(ValueError, match="y must be finite"):
        searched(tmp_path, y=np.full(60, np.nan))
    assert not (tmp_path / "journal").exists()


# --- the journal


def test_a_search_goes_on_where_it_was(tmp_path):
    whole = saved(searched(), tmp_path / "whole")
    searched(tmp_path, n=2)
    trained = []
    real = trials.train
    try:
        trials.train = lambda *args, **given: trained.extend(args[1]) or real(*args, **given)
        model = searched(tmp_path, n=5)
        assert len(trained) == 3
        assert saved(model, tmp_path / "resumed") == whole
        trained.clear()
        again = searched(tmp_path, n=5)
        assert not trained and saved(again, tmp_path / "again") == whole
    finally:
        trials.train = real
    assert again.histories_[0].columns() == model.histories_[0].columns()
    assert len(searched(tmp_path, n=3).trials_) == 5  # what is done is not undone


def test_seconds_that_are_spent_count(tmp_path):
    searched(tmp_path, n=12)
    path = tmp_path / "journal/journal.json"
    content = json.loads(path.read_text())
    for entry in content["entries"]:
        entry["seconds"] = 1.0
    path.write_text(json.dumps(content))
    assert len(searched(tmp_path, n=20, n_threads=2, time_limit=14).trials_) == 12
    assert len(searched(tmp_path, n=20, n_threads=2, time_limit=100).trials_) == 20


@pytest.mark.parametrize("change", ["rows", "target", "weights", "seed", "columns"])
def test_a_journal_of_another_search_is_refused(tmp_path, change):
    searched(tmp_path, n=2)
    journal = tmp_path / "journal"
    before = {name: (journal / name).read_bytes() for name in os.listdir(journal)}
    X, y = table()
    X[5, 1] += change == "rows"
    y[5] += change == "target"
    weights = np.where(np.arange(60) == 5, 2.0, 1.0) if change == "weights" else None
    model = fastnn.TabularRegressor(recipe=Search(3, journal), random_state=int(change == "seed"))
    X = {name: column for name, column in zip("abc", X.T, strict=True)}
    model.set_params(drop=["c"] if change == "columns" else ())
    message = "random_state must be 0" if change == "seed" else "journal must be of the same rows"
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, weights)
    assert not model.__sklearn_is_fitted__()
    assert {name: (journal / name).read_bytes() for name in os.listdir(journal)} == before


def test_a_journal_of_other_recipes_is_refused(tmp_path):
    searched(tmp_path, n=2)
    path = tmp_path / "journal/journal.json"
    content = json.loads(path.read_text())
    content["entries"][1]["recipe"]["dropout"] = 0.01
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="this version of fastnn; trial 2 in "):
        searched(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be JSON"),
        ('{"format": "other"}', "must be of format"),
        ('{"format": "fastnn-journal", "version": 1, "about": 3, "entries": []}', "an object"),
        ('{"format": "fastnn-journal", "version": 1, "about": {}, "entries": [3]}', "objects"),
        (
            '{"format": "fastnn-journal", "version": 1, "about": {"seed": 0}, "entries": []}',
            "pack must be that of a search",
        ),
        (
            '{"format": "fastnn-journal", "version": 1, "about": {"seed": 0, "pack": 3},'
            ' "entries": []}',
            "pack must be one",
        ),
    ],
)
def test_a_damaged_journal_is_refused(tmp_path, content, message):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/journal.json").write_text(content)
    with pytest.raises(fastnn.ModelFileError, match=message):
        searched(tmp_path)


def test_damaged_trials_are_refused(tmp_path):
    searched(tmp_path, n=2)
    path = tmp_path / "journal/0.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(fastnn.ModelFileError, match=r"0\.safetensors"):
        searched(tmp_path)
    path = tmp_path / "journal/journal.json"
    path.write_text(path.read_text().replace('"score"', '"scores"'))
    with pytest.raises(fastnn.ModelFileError, match="entries must describe trials"):
        searched(tmp_path)


def test_two_do_not_write_one_journal(tmp_path):
    searched(tmp_path, n=1)
    descriptor = os.open(tmp_path / "journal", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(ValueError, match="journal must be free, "):
            searched(tmp_path, n=2)
    finally:
        os.close(descriptor)
    searched(tmp_path, n=2)


def test_a_full_disk_leaves_the_trials_that_were_whole(tmp_path):
    whole = saved(searched(n_threads=1), tmp_path / "whole")
    searched(tmp_path, n=2)
    before = (tmp_path / "journal/journal.json").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"\d\.safetensors"):
            searched(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "journal/journal.json").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "journal")) == [
        "0.safetensors",
        "1.safetensors",
        "journal.json",
    ]
    assert saved(searched(tmp_path), tmp_path / "resumed") == whole


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import fastnn, test_search
from fastnn.tabular import Search, recipes
recipes.OPERATIONS_A_SECOND = 1e6
search = Search(200, {journal!r})
model = fastnn.TabularRegressor(recipe=search, random_state=0, n_threads=1, verbose=True)
X, y = test_search.table()
try:
    model.fit(X, y)
except KeyboardInterrupt:
    print(len(model.trials_), model.predict(X).shape)
"""


def stopped(journal, number, how):
    """A search to which `how` is sent after trial `number`: its process, which has ended, and what
    it printed."""
    code = SCRIPT.format(path=sys.path, journal=journal)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for line in process.stderr:
            if line.startswith(f"trial {number} "):
                process.send_signal(how)
                break
        return process, *process.communicate(timeout=120)
    finally:
        process.kill()


def test_killed_in_the_middle_it_goes_on(tmp_path):
    process, *_ = stopped(str(tmp_path / "journal"), 5, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = len(json.loads((tmp_path / "journal/journal.json").read_text())["entries"])
    assert 5 <= done < 200
    (tmp_path / "journal" / f"{done}.safetensors").write_bytes(b"half")  # not yet in the journal
    n = done + 2
    resumed = searched(tmp_path, n=n)
    assert saved(resumed, tmp_path / "a") == saved(searched(n=n), tmp_path / "b")


@pytest.mark.parametrize("journal", [True, False])
def test_ctrl_c_leaves_an_estimator_of_what_was_found(tmp_path, journal):
    path = str(tmp_path / "journal") if journal else None
    process, out, err = stopped(path, 3, signal.SIGINT)
    assert process.returncode == 0, err
    n, *shape = out.split(maxsplit=1)
    assert 3 <= int(n) < 200 and shape == ["(60,)\n"]


def test_ctrl_c_before_the_first_trial_leaves_nothing(monkeypatch):
    def stop(*args, **given):
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "train", stop)
    X, y = table()
    model = fastnn.TabularRegressor(recipe=Search(2), random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert not model.__sklearn_is_fitted__()


def test_what_cannot_be_written_fails_before_the_first_trial(tmp_path, monkeypatch):
    def never(*args, **given):
        raise AssertionError("trained")

    monkeypatch.setattr(trials, "train", never)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(OSError, match=r"journal\.json"):
            searched(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path / "journal") == []
