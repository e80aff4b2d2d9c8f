"""fastnn tune: a search from a table, its journal beside the model."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from test_cli_tables import people

import fastnn
from fastnn.tabular import recipes

TUNE = ("tune", "people.csv", "-t", "kind", "-o", "m.st")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Trials of 8 epochs on a fifth held out."""
    monkeypatch.setattr(recipes, "OPERATIONS_A_SECOND", 1e6)


def test_a_search_all_the_way(here, run):
    people(here / "people.csv", n=60)
    status, out, err = run(*TUNE, "--trials", 3)
    assert status == 0
    assert [line.split(" of")[0] for line in err.splitlines()] == ["trial 1", "trial 2", "trial 3"]
    assert "\ntrials      3, in m.trials\n            the best of them: " in out
    assert "on held-out rows" in out and "\nnext: fastnn predict m.st new.csv -o " in out
    first = (here / "m.st").read_bytes()
    assert len(os.listdir("m.trials")) == 4
    model = fastnn.load("m.st")
    assert isinstance(model, fastnn.TabularClassifier) and model.recipe.trials == 3
    assert len(run("predict", "m.st", "people.csv")[1].splitlines()) == 61

    os.remove("m.st")
    status, out, err = run(*TUNE, "--trials", 3, "--json")  # all done already
    assert status == 0 and "trial" not in err and (here / "m.st").read_bytes() == first
    told = json.loads(out)
    assert told["journal"] == "m.trials" and len(told["trials"]) == 3
    assert all(re.fullmatch(r".*, rate .* epochs", one["recipe"]) for one in told["trials"])
    assert run(*TUNE, "--trials", 4, "-q") == (0, "", "")
    assert (here / "m.trials/3.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--trials 0", "must be at least 1, got 0"),
        ("--time 0", "must be a time above 0, such as 90"),
        ("--journal people.csv", "journal must be a folder or none yet, people.csv is a file"),
        ("--journal .", 'journal must be the folder of one, or empty; . holds "people.csv"'),
        ("--hidden 8", "unknown option --hidden"),
        ("-t kind,score", "--target must name one column"),
    ],
)
def test_bad_use(here, run, options, message):
    people(here / "people.csv", n=20)
    status, out, err = run(*TUNE, *options.split())
    assert (status, out) == (2, "") and message in err and err.count("\n") == 1
    assert os.listdir() == ["people.csv"]


def test_a_journal_of_another_table_is_refused(here, run):
    people(here / "people.csv", n=30)
    assert run(*TUNE, "--trials", 1, "-q") == (0, "", "")
    people(here / "people.csv", n=31)
    status, _, err = run(*TUNE, "--trials", 2, "-q")
    assert status == 2 and "journal must be of the same rows, target, weights" in err
    assert run(*TUNE, "--trials", 2, "-q", "--journal", "other") == (0, "", "")


def test_ctrl_c_writes_what_was_found(here, monkeypatch):
    people(here / "people.csv", n=60)
    code = "from fastnn.tabular import recipes; recipes.OPERATIONS_A_SECOND = 1e6; "
    code += f"from fastnn.cli import main; raise SystemExit(main({[*TUNE, '--trials', '200']!r}))"
    monkeypatch.setenv("PYTHONPATH", fastnn.__path__[0] + "/..")
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("trial 2 "):
            break
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Traceback" not in err
    told = re.fullmatch(
        r"fastnn: stopped after (\d+) trials; m\.st is what they found, and .* goes on",
        err.splitlines()[-1],
    )
    n = len(json.loads((here / "m.trials/journal.json").read_text())["entries"])
    assert 2 <= int(told[1]) <= n < 200
    assert fastnn.load("m.st").predict(fastnn.tables.read("people.csv")).shape == (60,)
