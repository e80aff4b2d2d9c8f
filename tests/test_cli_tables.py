"""fastnn train as it is without options: an ensemble from a table, and what takes its file."""

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn.cli.common.arguments import seconds

TRAIN = ("train", "-o", "m.st", "--time-limit", "0.3s")


def people(path, n=150, seed=0, dot=""):
    """Kinds by age and colour, some ages missing; a score by both; the kinds end in `dot`."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, n).round(1)
    colour = rng.choice(["red", "blue"], n)
    kind = np.where((age > 40) ^ (colour == "red"), "yes", "no")
    score = 2 * age + 30 * (colour == "red") + rng.normal(0, 0.5, n)
    gaps = ["" if i % 10 == 9 else a for i, a in enumerate(age)]
    rows = zip(gaps, colour, kind, score, strict=True)
    lines = [f"{a},{c},{k}{dot},{s:.3f}\n" for a, c, k, s in rows]
    path.write_text("age,colour,kind,score\n" + "".join(lines))
    return kind, score


def test_classes_all_the_way(here, run):
    people(here / "people.csv")
    command = (*TRAIN, "people.csv", "-t", "kind", "--drop", "score", "--time-limit", "3s")
    status, out, err = run(*command)
    assert status == 0
    assert "data        people.csv: 150 rows, 2 columns as 3 features\n" in out
    assert "target      kind, classification (it holds text)\n" in out
    assert "\nnetworks    " in out and " parameters\n" in out and "\naccuracy    " in out
    assert out.endswith("next: fastnn predict m.st new.csv -o predictions.csv\n")
    assert re.search(r"network \d+/\d+", err)
    held_out = out.split("on held-out rows")[1]
    table = held_out[held_out.index("class ") :].splitlines()
    head, no, yes = (line.split() for line in table[:3])
    assert head == ["class", "precision", "recall", "F1", "support"]
    assert (no[0], yes[0]) == ("no", "yes") and 0 < int(no[4]) + int(yes[4]) <= 150
    matter = out.split("columns that matter: what shuffling one adds to the log loss there\n")[1]
    assert {line.split()[0] for line in matter.splitlines()[:2]} == {"age", "colour"}

    kinds, _ = people(here / "new.csv", seed=1, dot=".")
    status, out, err = run("predict", "m.st", "new.csv")
    header, *rows = [line.split(",") for line in out.splitlines()]
    assert (status, err, header) == (0, "", ["prediction", "P(no)", "P(yes)"])
    predicted = np.array([row[0] for row in rows])
    assert np.mean(predicted == kinds) > 0.8
    model = fastnn.load("m.st")
    assert isinstance(model, fastnn.TabularClassifier) and model.random_state == 0
    table = fastnn.tables.read("new.csv")
    np.testing.assert_array_equal(model.predict(table), predicted)

    status, out, err = run("evaluate", "m.st", "new.csv", "--json")
    result = json.loads(out)
    assert status == 0 and result["accuracy"] == np.mean(predicted == kinds)
    assert '"no." taken for "no"' in err  # as in adult-test.csv
    assert "calibration error" in run("evaluate", "m.st", "new.csv")[1]

    status, out, _ = run("info", "m.st")
    assert status == 0 and 'kind: "no", "yes"' in out and "accuracy" in out
    content = json.loads(run("info", "m.st", "--json")[1])
    assert content["estimator"] == "TabularClassifier"
    assert content["scores"] == model.scores_ and content["settings"]["drop"] == ["score"]


def test_amounts_come_back_in_their_unit(here, run):
    people(here / "people.csv")
    status, out, _ = run(*TRAIN, "people.csv", "-t", "score", "--time-limit", "3s")
    assert status == 0 and "score, regression (it holds numbers)" in out
    for title in ("RMSE", "MAE", "r2"):
        assert f"\n{title:4}  " in out.split("on held-out rows")[1]
    assert "adds to the RMSE there" in out
    _, scores = people(here / "new.csv", seed=1)
    told = run("predict", "m.st", "new.csv")[1].splitlines()
    assert told[0] == "prediction"
    f = np.array(told[1:], float)
    rmse = np.sqrt(np.mean((f - scores.round(3)) ** 2))
    assert rmse < 12  # a tenth of the ages is missing
    assert json.loads(run("evaluate", "m.st", "new.csv", "--json")[1])["rmse"] == rmse


def test_what_options_say_of_columns_is_what_the_estimator_is_told(here, run):
    people(here / "people.csv")
    options = ("--task", "regression", "--categorical", "age", "--ordered", "colour=red,blue")
    options += ("--sample-weight", "score", "--missing-values", "?", "--seed", 3, "--threads", 1)
    (here / "coded.csv").write_text(
        (here / "people.csv").read_text().replace("yes", "1").replace("no", "0")
    )
    options += ("--recipe", "td-s", "--report", "m.html")
    status, out, err = run(*TRAIN, "coded.csv", "-t", "kind", *options)
    assert status == 0 and "fastnn: " in err and "equal a training row" in err
    assert "not seen it, and counted once, whatever its weight:" in out
    assert "Each row counts once here, whatever its weight." in (here / "m.html").read_text()
    model = fastnn.load("m.st")
    assert isinstance(model, fastnn.TabularRegressor)
    assert model.columns_.inputs.names == ["age", "colour"]
    params = model.get_params()
    assert params["ordered"] == {"colour": ("red", "blue")} and not params["verbose"]
    assert params["random_state"] == 3 and params["recipe"] == "td-s"
    assert params["time_limit"] == 0.3 and params["missing_values"] == ("?",)


def test_columns_that_answers_rise_and_fall_with(here, run):
    people(here / "people.csv")
    options = ("--drop", "kind", "--ordered", "colour=blue,red", "--monotone", "age=+1, colour=-1")
    status, out, _ = run(*TRAIN, "people.csv", "-t", "score", *options)
    assert status == 0
    told = "monotone    rises with age\n            falls with colour\n"
    assert told in out and told in run("info", "m.st")[1]
    model = fastnn.load("m.st")
    assert model.monotone == {"age": 1, "colour": -1}
    ages = np.linspace(0, 100, 50)
    f = [model.predict({"age": ages, "colour": [one] * 50}) for one in ("blue", "red")]
    assert np.diff(f, axis=1).min() >= -1e-3 and np.ptp(f[0]) > 20 and (f[0] >= f[1] - 1e-3).all()
    assert json.loads(run("info", "m.st", "--json")[1])["settings"]["monotone"]["pairs"] == [
        ["age", 1],
        ["colour", -1],
    ]


@pytest.mark.parametrize(
    ("signs", "target", "message"),
    [
        ("age", "score", 'must be COLUMN=+1 or COLUMN=-1, each column once, got "age"'),
        ("age=2", "score", 'got "age=2"'),
        ("age=+1,age=-1", "score", 'got "age=-1"'),
        ("ages=+1", "score", "monotone must be of columns of X, "),
        ("score=+1", "score", '--monotone is for inputs, "score" is a target'),
        ("colour=+1", "score", 'numbers or ordered categories (ordered={"colour": [...]}, --order'),
        ("age=+1", "colour", "two classes, of which the second rises: got 3 classes"),
    ],
)
def test_what_is_no_column_to_rise_with_is_refused(here, run, signs, target, message):
    people(here / "people.csv")
    text = (here / "people.csv").read_text()
    if target == "colour":
        (here / "people.csv").write_text(text.replace("red", "green", 9))
    status, _, err = run(*TRAIN, "people.csv", "-t", target, "-q", "--monotone", signs)
    assert status == 2 and message in err and not (here / "m.st").exists()


@pytest.mark.parametrize("target", ["kind", "score"])
def test_what_training_tells_programs(here, run, target):
    people(here / "people.csv")
    status, out, _ = run(*TRAIN, "people.csv", "-t", target, "--json", "-q")
    told = json.loads(out)
    assert status == 0 and told["rows"] == 150 and told["target"] == target
    assert told["task"] == ("regression" if target == "score" else "classification")
    assert told["found"][-1].startswith("missing cells: age 15 rows")
    assert told["networks"] == len(fastnn.load("m.st")._ensemble.members)
    assert set(told["importance"]) == {"age", "colour", "kind", "score"} - {target}
    for name, value in told["scores"].items():
        assert told["held_out"][name] == pytest.approx(value)
    assert told["held_out"]["rows"] in (30, 150) and told["seconds"] > 0
    if target == "kind":
        assert told["held_out"]["classes"]["yes"]["support"] > 0
    command = ("train", "--network", "people.csv", "-t", target, "-o", "n.st", "-q", "--epochs", 2)
    plain = json.loads(run(*command, "--json")[1])
    shared = ("fastnn", "data", "rows", "target", "task", "why", "found")
    assert [plain[name] for name in shared] == [told[name] for name in shared]
    assert plain["sizes"][1:3] == [128, 64] and plain["held_out"]["loss"] > 0
    unmeasured = json.loads(run(*command, "--json", "--validation-split", 0)[1])
    assert unmeasured.keys() == plain.keys() - {"held_out"}


def test_importance_is_of_rows_that_were_not_seen(here, run):
    """Of labels that nothing explains columns seem to matter to those who have seen the rows."""
    rng = np.random.default_rng(0)
    np.savez("t.npz", X=rng.normal(size=(200, 5)), y=rng.integers(0, 2, 200))
    told = json.loads(run("train", "t.npz", "-o", "m.st", "--recipe", "td-s", "--json", "-q")[1])
    model, file = fastnn.load("m.st"), np.load("t.npz")
    seen = model.permutation_importance(file["X"], file["y"])
    assert told["held_out"]["rows"] == 40 and told["held_out"]["accuracy"] < 0.8
    assert sum(told["importance"].values()) < seen.mean.sum() / 2


def test_reports(here, run):
    people(here / "people.csv")
    people(here / "new.csv", seed=1)
    status, out, _ = run(*TRAIN, "people.csv", "-t", "kind", "--report", "r.html")
    page = (here / "r.html").read_text()
    assert status == 0 and "\nreport      r.html\n" in out
    assert "rows of people.csv, each predicted by networks that" in page
    assert "Learning curves" in page
    accuracy = out.split("\naccuracy ")[1].split()[0]
    assert f"<dt>accuracy</dt><dd>{accuracy}</dd>" in page
    status, out, err = run("evaluate", "m.st", "new.csv", "--report", "s.html")
    accuracy = out.split("\naccuracy ")[1].split()[0]
    page = (here / "s.html").read_text()
    assert (status, err) == (0, "") and f"<dt>accuracy</dt><dd>{accuracy}</dd>" in page
    assert "Measured on 150 rows of new.csv." in page and "Learning curves" not in page
    plain = run("evaluate", "m.st", "new.csv")
    assert plain == (0, out, "")
    assert run("train", "--network", "people.csv", "-t", "kind", "-o", "n.st", "-q")[0] == 0
    for command, message in (
        ("evaluate n.st new.csv --report x.html", "--report is of an ensemble, n.st holds one"),
        ("evaluate m.st new.csv --report no/x.html", "--report no/x.html: no such folder"),
        ("train people.csv -t kind -o m.st --report m.st", "must be another file than -o"),
        ("train people.csv -t kind -o m.st --report people.csv", "another file than the data"),
        ("train --network people.csv -t kind -o m.st --report x.html", "--report is of the ens"),
        (
            "train --network people.csv -t kind -o x.st --resume m.st",
            "m.st: --resume needs one network, this file holds a TabularClassifier",
        ),
    ):
        status, out, err = run(command)
        assert (status, out) == (2, "") and message in err and err.count("\n") == 1
    assert not (here / "x.html").exists()


def test_one_network_of_an_ensemble(here, run):
    people(here / "people.csv")
    status, out, _ = run(*TRAIN, "people.csv", "-t", "kind", "--drop", "score", "--compress")
    assert status == 0 and "\ncompressed  to 1 network of 80% of the rows, " in out
    assert "of the ensemble on held-out rows: accuracy " in out
    model = fastnn.load("m.st")
    assert len(model._ensemble.members) == 1 and f"accuracy {model.scores_['accuracy']:.4g}" in out
    assert run("evaluate", "m.st", "people.csv")[0] == 0
    told = json.loads(run(*TRAIN, "people.csv", "-t", "score", "--compress", "--json", "-q")[1])
    assert told["networks"] == 1 and told["compressed_from"]["estimator"] == "TabularRegressor"


def test_ctrl_c_before_it_is_one_network_keeps_the_ensemble(here, run, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastnn.TabularClassifier, "compress", stopped)
    people(here / "people.csv")
    status, out, err = run(*TRAIN, "people.csv", "-t", "kind", "--compress")
    assert status == 130 and "\nnetworks    " in out and "\ncompressed " not in out
    assert err.endswith("fastnn: stopped before it was compressed; m.st is the ensemble\n")
    assert isinstance(fastnn.load("m.st"), fastnn.TabularClassifier)


def test_divergence_fails_and_keeps_the_old_model(here, run, monkeypatch):
    def diverged(*_):
        raise fastnn.DivergenceError("all trials diverged")

    monkeypatch.setattr(fastnn.TabularClassifier, "fit", diverged)
    people(here / "people.csv")
    (here / "m.st").write_text("old")
    told = "fastnn: error: training diverged: all trials diverged\n"
    assert run(*TRAIN, "people.csv", "-t", "kind") == (1, "", told)
    assert (here / "m.st").read_text() == "old"


def test_the_model_is_called_like_the_data(here, run):
    people(here / "people.csv", n=40)
    (here / "folder").mkdir()
    people(here / "folder/some.other.csv", n=40)
    for path, name in (("people.csv", "people"), ("folder/some.other.csv", "some.other")):
        command = ("train", path, "-t", "kind", "--time-limit", "0.1")
        status, out, _ = run(*command)
        assert status == 0 and f"fastnn predict {name}.safetensors new.csv" in out
        assert isinstance(fastnn.load(here / f"{name}.safetensors"), fastnn.TabularClassifier)
    command = ("train", "--network", "people.csv", "-t", "kind", "-q", "--epochs", 1)
    assert run(*command) == (0, "", "")
    assert isinstance(fastnn.load("people.safetensors"), fastnn.Model)


def test_how_sure_predictions_are(here, run):
    people(here / "people.csv")
    people(here / "new.csv", n=50, seed=1)
    table = fastnn.tables.read("new.csv")
    for target in ("kind", "score"):
        assert run(*TRAIN, "people.csv", "-t", target, "-q")[0] == 0
        status, out, err = run("predict", "m.st", "new.csv", "--coverage", 0.8)
        assert (status, err) == (0, "")
        header, *rows = [line.split(",") for line in out.splitlines()]
        told, model = dict(zip(header, np.array(rows).T, strict=True)), fastnn.load("m.st")
        if target == "kind":
            assert list(told) == ["prediction", "P(no)", "P(yes)", "in(no)", "in(yes)"]
            held = np.stack([told["in(no)"], told["in(yes)"]], 1) == "True"
            np.testing.assert_array_equal(held, model.predict_set(table, 0.8))
        else:
            ends = np.stack([told["low"], told["high"]], 1).astype(float)
            np.testing.assert_array_equal(ends, model.predict_interval(table, 0.8))
    assert run("train", "--network", "people.csv", "-t", "kind", "-o", "n.st", "-q")[0] == 0
    for command, message in (
        ("predict n.st new.csv --coverage 0.9", "--coverage is of an ensemble, n.st holds one"),
        ("predict m.st new.csv --coverage 90", "must be above 0 and below 1, got 90"),
    ):
        status, out, err = run(command)
        assert (status, out) == (2, "") and message in err


def test_a_table_without_header_is_read_so_again(here, run):
    (here / "t.csv").write_text("".join(f"{i % 7},{i % 2}\n" for i in range(60)))
    assert run(*TRAIN, "t.csv", "--no-header", "-t", "column_2", "-q") == (0, "", "")
    assert len(run("predict", "m.st", "t.csv")[1].splitlines()) == 61


def test_arrays(here, run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 3))
    np.savez("t.npz", X=X, y=(X[:, 0] > 0).astype(int))
    status, out, _ = run(*TRAIN, "t.npz")
    assert status == 0 and "inputs of shape 3" in out and "new.npz" in out
    assert json.loads(run("evaluate", "m.st", "t.npz", "--json")[1])["accuracy"] > 0.9
    np.savez("images.npz", X=X.reshape(80, 3, 1), y=np.arange(80) % 2)
    status, _, err = run(*TRAIN, "images.npz")
    assert status == 2 and "(n, n_columns), got (80, 3, 1); --network learns from images" in err


def test_the_same_command_writes_the_same_bytes(here, run):
    people(here / "people.csv", n=60)
    for name, more in (("a", ()), ("b", ("--threads", 1, "-q")), ("c", ("--seed", 1))):
        command = ("train", "people.csv", "-t", "kind", "--recipe", "td-s", "-o", f"{name}.st")
        assert run(*command, *more)[0] == 0
    assert (here / "a.st").read_bytes() == (here / "b.st").read_bytes()
    assert (here / "a.st").read_bytes() != (here / "c.st").read_bytes()
    assert fastnn.load("b.st").n_threads is None  # another machine has its own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--hidden 8", "--hidden shapes one plain network: add --network"),
        ("--batch-size 8", "--batch-size shapes one plain network"),
        ("--network --recipe td", "--recipe is of the ensemble, not of --network"),
        ("--network --time-limit 3", "--time-limit is of the ensemble"),
        ("--recipe tabm", "invalid choice: 'tabm' (choose from"),
        ("--time-limit 0s", 'must be a time above 0, such as 90, 90s, 10m or 1h, got "0s"'),
        ("--time-limit soon", "must be a time above 0, such as 90, 90s, 10m or 1h, got"),
        ("-t kind,score", '--target must name one column, got "kind", "score"; --network learns'),
        ("--drop kind", '--drop is for inputs, "kind" is a target'),
    ],
)
def test_bad_use(here, run, options, message):
    people(here / "people.csv", n=20)
    status, out, err = run(*"train people.csv -t kind -o m.st".split(), *options.split())
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1
    assert not (here / "m.st").exists()


def interrupted(after, monkeypatch, *options):
    """The last line of stderr of a training that Ctrl-C stops in network `after`."""
    command = [sys.executable, "-m", "fastnn", "train", "people.csv", "-t", "kind", "-o", "m.st"]
    monkeypatch.setenv("PYTHONPATH", fastnn.__path__[0] + "/..")
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        at = re.search(r"network (\d+)/", line)
        if at and int(at[1]) >= after:
            break
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in err
    return err.splitlines()[-1]


def test_ctrl_c_leaves_the_old_file(here, monkeypatch):
    people(here / "people.csv", n=600)
    (here / "m.st").write_text("old")
    assert interrupted(1, monkeypatch) == (
        "fastnn: stopped while training, before there was an ensemble; nothing was written to m.st"
    )
    assert (here / "m.st").read_text() == "old" and not (here / "m.partial.st").exists()


def test_ctrl_c_keeps_the_networks_that_were_trained(here, monkeypatch, run):
    people(here / "people.csv", n=600)
    (here / "m.st").write_text("old")
    told = interrupted(8, monkeypatch, "--threads", "1")
    found = re.fullmatch(
        r"fastnn: stopped after (\d+) networks; the ensemble of these is in m.partial.st, "
        r"nothing was written to m.st",
        told,
    )
    n = int(found[1])
    assert n >= 5 and n % 5 == 0 and (here / "m.st").read_text() == "old"
    assert run("predict", "m.partial.st", "people.csv")[0] == 0
    assert 0 < len(fastnn.load("m.partial.st")._ensemble.members) <= n


def test_times():
    assert [seconds(text) for text in ("90", "1.5s", "10m", "1h")] == [90, 1.5, 600, 3600]


def test_adult(here, run, tabular):
    """As its files stand: labels of the test file end in a full stop."""
    command = ("train", tabular / "adult-train.csv", "--target", "income", "-q")
    assert run(*command, "--time-limit", "20s")[:2] == (0, "")
    command = ("evaluate", "adult-train.safetensors", tabular / "adult-test.csv", "--json")
    status, out, err = run(*command)
    result = json.loads(out)
    assert status == 0 and '"<=50K." taken for "<=50K"' in err
    assert result["accuracy"] > 0.85 and result["auc"] > 0.90 and result["ece"] < 0.03


@pytest.mark.parametrize(
    ("name", "target", "task", "measure", "least"),
    [
        ("abalone", "rings", "regression", "r2", 0.50),
        ("winequality-white", "quality", "regression", "r2", 0.35),
        ("phoneme", "class", "classification", "accuracy", 0.86),
        ("mammography", "class", "classification", "accuracy", 0.98),
    ],
)
def test_tables(here, run, tabular, name, target, task, measure, least):
    command = ("train", tabular / f"{name}.csv", "-t", target, "--time-limit", "5s", "--json")
    status, out, _ = run(*command, "-q")
    told = json.loads(out)
    assert status == 0 and told["task"] == task and told["held_out"][measure] > least
