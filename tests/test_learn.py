"""fastnn learn: every run shows what is said of it, with the same numbers everywhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.drawing.formula import parse, show
from fastnn.learn import COMPARISONS, PROBLEMS, TROUBLES, experiments, pictures, terminal, troubles
from fastnn.learn import problems as of_problems
from fastnn.learn.experiments import DEFAULTS, Settings, early_norms, number, spaced
from fastnn.learn.words import STEPS, named

PLANES = ("xor", "circles", "spirals")
SEEDS = (0, 1, 2)
PAGE = Path(__file__).parent.parent / "docs" / "learn_at_the_shell.md"
PACKAGES = str(Path(fastnn.__file__).parents[1])  # where other processes find the same fastnn


@pytest.fixture(scope="module")
def cases():
    return {(name, seed): troubles.case(name, seed) for name in TROUBLES for seed in SEEDS}


def short(name="xor", **settings):
    return experiments.run(of_problems.make(name, 0), Settings(**settings), 0)


# --- what runs show


def test_names_are_those_of_the_tables():
    """The command line has the names without importing what they stand for."""
    assert PROBLEMS == tuple(of_problems.PROBLEMS) == tuple(DEFAULTS)
    assert COMPARISONS == tuple(experiments.COMPARED)
    assert TROUBLES == tuple(troubles.TROUBLES)
    signs = {trouble.sign for trouble in troubles.TROUBLES.values()}
    assert signs == set(pictures.SIGNS) == set(terminal.SIGNS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_learned_by_default(name):
    if name == "digits":
        pytest.importorskip("sklearn")
    for seed in SEEDS:
        run = experiments.run(of_problems.make(name, seed), DEFAULTS[name], seed)
        assert run.last.accuracy >= 0.95 and run.frames[0].accuracy < 0.75
        assert run.last.delta < run.frames[0].delta / 4 and run.last.loss < run.frames[0].loss / 4


def test_points_come_from_the_seed():
    for name in PLANES:
        one, same, other = (of_problems.make(name, seed) for seed in (5, 5, 6))
        assert (one.X == same.X).all() and (one.X_test == same.X_test).all()
        assert (one.X != other.X).any() and (one.X != one.X_test).any()
        assert abs(one.X).max() < 3 and set(one.y) == {0, 1} and one.y.mean() == 0.5


def test_frames_are_what_the_network_is():
    problem = of_problems.make("circles", 3)
    settings = Settings((5, 4), "tanh", 0.3, 7, 10)
    run = experiments.run(problem, settings, 3)
    assert [frame.epoch for frame in run.frames] == [*range(8)]
    model = fastnn.Model([2, 5, 4, 2], activation="tanh", seed=3)
    for frame in run.frames:
        trace = model.trace(problem.X, problem.y)
        assert frame.loss == trace.loss
        assert frame.norms == pytest.approx([np.linalg.norm(one) for one in trace.grad_W])
        assert frame.columns == pytest.approx(np.linalg.norm(trace.grad_W[0], axis=0))
        right = model.predict(problem.X_test) == problem.y_test
        assert frame.accuracy == right.mean()
        f_minus_e = model.forward(problem.X) - np.eye(2)[problem.y]
        assert frame.delta == pytest.approx(np.linalg.norm(f_minus_e, axis=1).mean(), rel=1e-5)
        slopes = 1 - np.square(trace.h[0])
        assert frame.flat[0] == (slopes < 0.05).mean()
        assert (frame.W == model.W[0]).all() and (frame.b == model.b[0]).all()
        model.fit(problem.X, problem.y, epochs=1, batch_size=10, learning_rate=0.3)


def test_the_picture_is_what_the_network_says():
    run = short("xor", hidden=(4,), activation="tanh", learning_rate=0.2, epochs=40)
    (left, right), (bottom, top) = experiments.box(run.problem)
    assert left < run.problem.X[:, 0].min() and right > run.problem.X[:, 0].max()
    f = run.last.f
    at = (np.arange(len(f)) + 0.5) / len(f)
    low, high = (np.searchsorted(at, share) for share in (0.25, 0.75))
    assert f[low, high] < 0.1 and f[high, low] < 0.1  # both signs alike: class 0
    assert f[low, low] > 0.9 and f[high, high] > 0.9
    # A line of a hidden unit is where its a is 0.
    assert len(run.last.W) == 4
    for line in pictures.lines(run.problem, run.last):
        numbers = np.array(re.findall(r"-?[\d.]+", line), float).reshape(2, 2)
        x = left + numbers[:, 0] / len(f) * (right - left)
        y = top - numbers[:, 1] / len(f) * (top - bottom)
        a = np.column_stack([x, y]) @ run.last.W.T + run.last.b
        size = np.linalg.norm(run.last.W, axis=1)
        assert (abs(a) / size).max(0).min() < 0.02


def test_few_of_many_epochs_are_noted():
    run = short("xor", hidden=(2,), activation="tanh", learning_rate=0.01, epochs=1000)
    epochs = [frame.epoch for frame in run.frames]
    assert epochs[:11] == [*range(11)] and epochs[-1] == 1000 and len(epochs) < 130
    assert len(run.shown) <= 24 and run.shown[0].epoch == 0 and run.shown[-1].epoch == 1000
    for n in (1, 2, 10, 300):
        some = spaced(n, 24)
        assert some[0] == 0 and some[-1] == n and some == sorted(set(some)) and len(some) <= 24


def test_a_run_that_diverges_is_shown():
    run = short("xor", hidden=(8, 8), activation="leaky_relu", learning_rate=1e6, epochs=20)
    assert run.diverged == 1 and run.last.epoch == 0
    text = "\n".join(terminal.run_text(run, terminal.Screen(80, False, True)))
    assert "in epoch 1 the loss was no number any more" in text


def test_numbers_are_short():
    told = {0.00001234: "1.23e-5", 12345.6: "1.23e4", 0.5: "0.5"}
    told |= {np.nan: "no number", np.inf: "infinite", -np.inf: "infinite"}
    assert {value: number(value) for value in told} == told


def test_where_no_gradient_is_a_curve_is_empty():
    run = short(hidden=(4,), activation="tanh", learning_rate=0.5, epochs=5, init="zeros")
    lines = [*terminal.run_text(run, terminal.Screen(80, False, True))]
    for k in (1, 2):
        (line,) = (line for line in lines if line.startswith(f"|dL/dW^({k})|"))
        assert line.split() == [f"|dL/dW^({k})|", "0", "->", "0"]


def test_shares_of_digits_in_colours():
    pytest.importorskip("sklearn")
    run = short("digits", hidden=(16,), activation="relu", learning_rate=0.1, epochs=1)
    coloured, plain = (
        [*terminal.run_text(run, terminal.Screen(80, colours, True))] for colours in (True, False)
    )
    reset, blocks = "\x1b[0m", dict(zip(" ░▒▓█", terminal.SHARES, strict=True))
    for k in range(10):
        (line,), (want,) = ([one for one in many if one.startswith(f"{k}  ")]
                            for many in (coloured, plain))  # fmt: skip
        for block, shade in blocks.items():
            line = line.replace(f"\x1b[48;5;{shade}m  ", 2 * block)
        assert reset in line and line.replace(reset, "").split() == want.split()


# --- troubles: what is said of them, and that the remedy is one


@pytest.mark.parametrize("seed", SEEDS)
def test_zero_weights(cases, seed):
    case = cases["zero-weights", seed]
    for frame in case.ill.frames:
        assert (frame.W == frame.W[0]).all() and (frame.b == frame.b[0]).all()
    assert len(list(pictures.lines(case.ill.problem, case.ill.last))) <= 1
    assert case.ill.last.accuracy < 0.8
    assert len(np.unique(case.well.last.W[:, 0])) == 8 and case.well.last.accuracy > 0.95
    assert "All 8 hidden units have the same weights" in case.seen
    # With tanh nothing moves but the outputs' bias.
    run = short(hidden=(4,), activation="tanh", learning_rate=0.5, epochs=5, init="zeros")
    assert (run.column("norms") == 0).all() and (run.column("W") == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_saturation(cases, seed):
    case = cases["saturation", seed]
    assert case.ill.frames[0].flat[0] > 0.85 and case.well.frames[0].flat[0] < 0.05
    assert early_norms(case.ill)[0] < early_norms(case.well)[0] / 2
    moved = [abs(run.last.W - run.frames[0].W).max() / abs(run.frames[0].W).max()
             for run in (case.ill, case.well)]  # fmt: skip
    assert moved[0] < 0.1 and moved[1] > 1
    assert case.ill.last.accuracy < 0.75 and case.well.last.accuracy > 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_relu(cases, seed):
    case = cases["dead-relu", seed]
    assert case.ill.frames[0].dead[0] == 0 and case.ill.last.dead[0] >= 0.75
    dead = (case.ill.last.a <= 0).all(0)
    assert dead.mean() == case.ill.last.dead[0]
    assert case.well.last.dead[0] == 0
    assert case.ill.last.accuracy < 0.7 and case.well.last.accuracy > 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_large_rate(cases, seed):
    case = cases["large-rate", seed]
    assert case.ill.diverged and case.ill.diverged > 5
    assert np.nanmax(case.ill.column("loss")) > 1e6 * case.ill.frames[0].loss
    assert f"in epoch {case.ill.diverged} it is no number any more" in case.seen
    losses = case.well.column("loss")
    assert case.well.diverged is None and losses[-1] < losses[0] / 5
    assert case.well.last.accuracy > 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_unscaled(cases, seed):
    case = cases["unscaled", seed]
    assert np.ptp(case.ill.problem.X, 0).max() > 50 * np.ptp(case.ill.problem.X, 0).min()
    assert np.allclose(case.well.problem.X.std(0), 1, atol=1e-3)
    columns = [run.frames[0].columns for run in (case.ill, case.well)]
    assert columns[0][1] > 5 * columns[0][0] and columns[1].max() < 5 * columns[1].min()
    assert case.ill.last.loss > 10 * case.well.last.loss  # learns slower
    # The boundary knows x_1 alone: a row of the picture is one shade, mostly.
    shades = [np.mean(np.abs(np.diff(run.last.f, axis=1)) > 0.2) for run in (case.ill, case.well)]
    assert shades[0] < shades[1] / 2
    assert case.ill.last.accuracy < 0.7 and case.well.last.accuracy > 0.95


@pytest.mark.parametrize("seed", SEEDS)
def test_vanishing_gradient(cases, seed):
    case = cases["vanishing-gradient", seed]
    ill, well = early_norms(case.ill), early_norms(case.well)
    assert (np.diff(ill) > 0).all() and ill[0] < ill[-1] / 500 and well[0] > well[-1] / 10
    assert case.ill.last.accuracy < 0.7 and case.well.last.accuracy > 0.95


def test_a_case_differs_from_its_remedy_in_one_thing(cases):
    for (name, _), case in cases.items():
        ill, well = case.trouble.ill, case.trouble.well
        differ = [one for one in ("hidden", "activation", "init", "learning_rate", "epochs")
                  if getattr(ill, one) != getattr(well, one)]  # fmt: skip
        assert len(differ) == (0 if name == "unscaled" else 1), name


def test_formulas_are_read():
    texts = [one for trouble in troubles.TROUBLES.values() for one in trouble.formulas]
    for text in (*texts, *(formula for _, _, formulas in STEPS for formula in formulas)):
        assert show(parse(text))


# --- comparisons


def test_comparisons_differ_in_their_setting():
    for name in COMPARISONS:
        comparison = experiments.compared(name, DEFAULTS["circles"])
        field = name.replace("-", "_")
        values = [getattr(one, field) for one in comparison.settings.values()]
        assert len(set(map(named, values)) if field == "init" else set(values)) == len(values) > 3
        assert DEFAULTS["circles"] in comparison.settings.values() or name == "hidden"


def test_identity_and_no_hidden_units_draw_one_line():
    problem = of_problems.make("xor", 0)
    for settings in (Settings((8,), "identity", 0.1, 20), Settings((), "relu", 0.1, 20)):
        f = experiments.run(problem, settings, 0).last.f > 0.5
        rows = np.abs(np.diff(f.astype(int), axis=1)).sum(1)
        columns = np.abs(np.diff(f.astype(int), axis=0)).sum(0)
        assert rows.max() <= 1 and columns.max() <= 1


# --- the command


def test_the_commands_of_the_page(here, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    for (language, block), (_, wanted) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "sh":
            status, out, err = run(*shlex.split(block)[1:])
            assert (status, err) == (0, "")
            if "--html" not in block:
                lines = [line.rstrip() for line in out.splitlines()]
                assert lines == wanted.splitlines(), block
    shown = re.findall(r"^<!-- walk: (\S+) .+ -->$", PAGE.read_text(), re.MULTILINE)
    assert shown == [path.name for path in here.iterdir()] == ["spirals.html"]


def in_a_terminal(**environment):
    """What `fastnn learn` writes to a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "80", **environment}
    done = subprocess.Popen(
        [sys.executable, "-m", "fastnn", "learn", "--epochs", "2"],
        stdout=theirs,
        env={**os.environ, "PYTHONPATH": PACKAGES, **environment},
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert done.wait() == 0
    return text.decode()


def test_colours_are_for_terminals_that_want_them(run, monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b[" not in run("learn --epochs 2")[1]
    assert "\x1b[48;5;" in in_a_terminal(NO_COLOR="")
    assert "\x1b" not in in_a_terminal(NO_COLOR="1")
    assert "\x1b" not in in_a_terminal(TERM="dumb")


def test_ascii_where_there_is_no_more():
    environment = {"PYTHONPATH": PACKAGES, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    huge = "--epochs 2 --init normal:1e20"
    for words in ("--epochs 2", huge, "--compare init --epochs 2", "--trouble all"):
        done = subprocess.run(
            [sys.executable, "-m", "fastnn", "learn", *words.split()],
            capture_output=True, env={**os.environ, **environment}, check=True,
        )  # fmt: skip
        assert done.stdout.isascii() and b"accuracy" in done.stdout and done.stderr == b""


@pytest.mark.parametrize("columns", [20, 50, 80, 200])
def test_lines_fit_the_terminal(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in ("learn --epochs 3", "learn --compare init --epochs 3", "learn --trouble all"):
        status, out, _ = run(words)
        assert status == 0
        if columns >= 80:
            assert max(map(len, out.splitlines())) <= columns


def test_settings_are_taken(run):
    out = run("learn circles --hidden 3,2 --activation leaky-relu:0.2 --init normal:2 "
              "--learning-rate 0.5 --batch-size 16 --epochs 2 --seed 7")[1]  # fmt: skip
    out = " ".join(out.split())
    assert "2-3-2-2, hidden units leaky_relu:0.2, outputs softmax" in out
    assert "2 epochs of 10 steps, learning rate 0.5, first weights normal:2, seed 7" in out
    assert run("learn --epochs 2")[1] != run("learn --epochs 2 --seed 1")[1]
    assert "2-2, outputs softmax" in run("learn --hidden none --epochs 2")[1]
    out = " ".join(run("learn --init uniform:2 --epochs 2")[1].split())
    assert "first weights uniform:2, seed 0" in out


def test_digits(run):
    pytest.importorskip("sklearn")
    status, out, _ = run("learn digits")
    assert status == 0 and "A network learns handwritten digits" in out
    last = [line.split("  ")[-1] for line in out.splitlines() if re.match(r"\d  ", line)]
    assert len(last) == 10
    assert run("learn digits --epochs 1 --compare init")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("learn square", "invalid choice: 'square' (choose from "),
        ("learn xro", "did you mean xor?"),
        ("learn --trouble flood", "invalid choice: 'flood'"),
        ("learn circles --trouble saturation", "has problems and settings of its own, got circles"),
        ("learn --trouble all --epochs 3", "has problems and settings of its own, got --epochs"),
        ("learn --trouble all --compare all", "not allowed with argument"),
        ("learn --learning-rate 0", "must be a number above 0, got 0"),
        ("learn --hidden 0,3", "must be at least 1"),
        ("learn --activation sin", "must be one of identity, relu, sigmoid, tanh"),
        ("learn --init best", "must be one of glorot_uniform"),
        ("learn --html no/such.html", "--html no/such.html: no such folder: no"),
        ("learn --html ''", "must be a file, not a folder"),
    ],
)
def test_bad_use(here, run, words, message):
    status, out, err = run(*shlex.split(words))
    assert status == 2 and out == "" and message in err and err.count("\n") == 1


def test_digits_without_scikit_learn(here, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    status, out, err = run("learn digits")
    assert (status, out) == (1, "") and 'pip install "fastnn-cpu[sklearn]"' in err


def test_the_command_line_imports_what_it_needs():
    """A command that shows no run loads nothing of them."""
    code = "import sys, fastnn.cli; print(*(m for m in sys.modules if 'fastnn.learn' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["fastnn.learn"]
