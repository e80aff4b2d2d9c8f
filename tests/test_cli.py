"""The command line as its users meet it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.cli import main, metrics, output
from fastnn.cli.recipe import default_batch_size


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Runs a command in this process: (exit status, standard output, standard error)."""

    def run(*args):
        status = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def flowers(path, n=120, seed=0):
    """Three kinds, told by a length and a colour (with blanks before the cells)."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, n)
    with open(path, "w") as file:
        file.write("length, colour, kind\n")
        for kind in kinds:
            colour = "red" if kind == 2 else ("blue", "white")[rng.integers(2)]
            file.write(f"{kind * 2 + rng.normal(0, 0.3):.3f}, {colour}, {'xyz'[kind]}\n")
    return np.array(list("xyz"))[kinds]


def slope(path, n=200, seed=0):
    """z = 100 + 20 x, nearly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 2, n)
    rows = zip(x, 100 + 20 * x + rng.normal(0, 1, n), strict=True)
    path.write_text("x,z\n" + "".join(f"{x:.4f},{z:.4f}\n" for x, z in rows))


def squares(path, n=300, seed=0):
    """8 x 8 images of two kinds: bright above, bright below."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    X = rng.integers(0, 100, (n, 8, 8), dtype=np.uint8)
    X[y == 0, :4] += 150
    X[y == 1, 4:] += 150
    np.savez(path, X=X, y=y)
    return y


def rows_of(text):
    return list(csv.reader(io.StringIO(text)))


# --- the whole way


def test_train_predict_evaluate_info_on_a_table(here, run):
    flowers(here / "flowers.csv")
    status, out, err = run("train", "flowers.csv", "--target", "kind", "-o", "m.safetensors")
    assert status == 0
    assert "120 rows, 2 columns as 4 features" in out
    assert "kind, classification (it holds text)" in out
    assert "4-128-64-3, relu hidden units, softmax output" in out
    assert "next: fastnn predict m.safetensors new.csv -o predictions.csv" in out
    assert len(err.splitlines()) == 20 and err.startswith("epoch  1/20  loss ")
    assert "s left" in err and "accuracy" in err

    kinds = flowers(here / "new.csv", n=50, seed=1)
    status, out, err = run("predict", "m.safetensors", "new.csv", "-o", "out.csv")
    assert (status, out, err) == (0, "", "fastnn: 50 predictions written to out.csv\n")
    header, *rows = rows_of((here / "out.csv").read_text())
    assert header == ["prediction", "P(x)", "P(y)", "P(z)"]
    assert np.mean([row[0] for row in rows] == kinds) > 0.95
    P = np.array([row[1:] for row in rows], float)
    np.testing.assert_allclose(P.sum(1), 1, rtol=1e-5)
    assert [row[0] for row in rows] == list(np.array(list("xyz"))[P.argmax(1)])

    status, out, err = run("evaluate", "m.safetensors", "new.csv")
    assert status == 0 and err == ""
    assert "confusion matrix (rows: true class, columns: predicted)" in out
    status, out, _ = run("evaluate", "m.safetensors", "new.csv", "--json")
    result = json.loads(out)
    assert result["accuracy"] == np.mean([row[0] for row in rows] == kinds)
    assert np.array(result["confusion_matrix"]).sum() == 50
    assert result["classes"]["x"]["support"] == (kinds == "x").sum()

    status, out, _ = run("info", "m.safetensors")
    assert status == 0
    assert 'colour: "blue", "red", "white"' in out and 'kind: "x", "y", "z"' in out
    status, out, _ = run("info", "m.safetensors", "--json")
    assert json.loads(out)["sizes"] == [4, 128, 64, 3]


def test_regression_comes_back_in_its_unit(here, run):
    slope(here / "data.csv")
    status, out, _ = run("train", "data.csv", "-t", "z", "-o", "m.st", "--epochs", 60)
    assert status == 0 and "regression" in out and "RMSE" in out and "r2" in out
    (here / "new.csv").write_text("other,x\na,5\nb,7\n")
    status, out, _ = run("predict", "m.st", "new.csv")
    header, *rows = rows_of(out)
    assert header == ["prediction"]
    np.testing.assert_allclose(np.array(rows, float)[:, 0], [200, 240], atol=6)
    result = json.loads(run("evaluate", "m.st", "data.csv", "--json")[1])
    assert result["r2"] > 0.98 and result["rmse"] < 6
    assert "RMSE" in run("evaluate", "m.st", "data.csv")[1]


def test_arrays(here, run):
    squares("train.npz")
    y = squares("test.npz", seed=1)
    status, out, _ = run("train", "train.npz", "-o", "m.st", "--epochs", 5)
    assert status == 0 and "shape 8x8" in out and "new.npz" in out
    status, out, _ = run("predict", "m.st", "test.npz")
    assert [int(row[0]) for row in rows_of(out)[1:]] == list(y)
    with np.load("test.npz") as file:
        np.save("x.npy", file["X"])
        np.save("y.npy", file["y"])
        np.savez("named.npz", pictures=file["X"], labels=file["y"])
    assert run("predict", "m.st", "x.npy")[1] == out
    assert run("predict", "m.st", "named.npz", "--x-name", "pictures")[1] == out
    for command in (
        ("evaluate", "m.st", "x.npy", "--target-file", "y.npy"),
        ("evaluate", "m.st", "named.npz", "--x-name", "pictures", "--target", "labels"),
    ):
        assert json.loads(run(*command, "--json")[1])["accuracy"] == 1
    status, _, _ = run("train", "x.npy", "--target-file", "y.npy", "-o", "m2.st", "--epochs", 1)
    assert status == 0


def test_parquet(here, run):
    pa_csv = pytest.importorskip("pyarrow.csv")
    parquet = pytest.importorskip("pyarrow.parquet")
    slope(here / "data.csv")
    parquet.write_table(pa_csv.read_csv("data.csv"), "data.parquet")
    assert run("train", "data.csv", "-t", "z", "-o", "a.st")[0] == 0
    assert run("train", "data.parquet", "-t", "z", "-o", "b.st")[0] == 0
    assert run("predict", "a.st", "data.csv")[1] == run("predict", "b.st", "data.parquet")[1]


def test_the_same_command_writes_the_same_bytes(here, run):
    flowers(here / "flowers.csv")
    for name, more in (("a", ()), ("b", ("--threads", 1)), ("c", ("--seed", 1))):
        command = ("train", "flowers.csv", "-t", "kind", "--epochs", 2, "-o", f"{name}.st", *more)
        assert run(*command)[0] == 0
    assert (here / "a.st").read_bytes() == (here / "b.st").read_bytes()
    assert (here / "a.st").read_bytes() != (here / "c.st").read_bytes()


def test_training_is_what_the_arguments_say(here, run):
    """The command is Model.fit on the prepared columns, nothing else."""
    slope(here / "data.csv")
    arguments = ("--hidden", "5,3", "--activation", "tanh", "--epochs", 3, "--batch-size", 16)
    arguments += ("--learning-rate", 0.05, "--momentum", 0.5, "--nesterov", "--seed", 3)
    arguments += ("--dtype", "float64", "--validation-split", 0, "--scale", "none")
    assert run("train", "data.csv", "-t", "z", "-o", "m.st", *arguments)[0] == 0
    x, z = np.loadtxt("data.csv", delimiter=",", skiprows=1).T
    model = fastnn.Model([1, 5, 3, 1], "tanh", "identity", dtype="float64", seed=3)
    rule = fastnn.SGD(fastnn.CosineDecay(0.05), 0.5, nesterov=True)
    model.fit(x[:, None], z, epochs=3, batch_size=16, optimizer=rule)
    assert (fastnn.load("m.st").theta == model.theta).all()


def test_constant_schedule_quiet_and_no_hidden_layers(here, run):
    flowers(here / "flowers.csv")
    options = ("--hidden", "none", "--schedule", "constant", "-q", "--epochs", 2)
    assert run("train", "flowers.csv", "-t", "kind", "-o", "m.st", *options) == (0, "", "")
    assert fastnn.load("m.st").sizes == [4, 3]
    assert fastnn.load("m.st").metadata["training"]["schedule"] == "constant"


def test_drop_categorical_task_and_validation_data(here, run):
    rng = np.random.default_rng(0)
    lines = [f"{i},{rng.integers(3)},{rng.integers(5, 9)}\n" for i in range(100)]
    (here / "data.csv").write_text("id,code,y\n" + "".join(lines[:80]))
    (here / "more.csv").write_text("id,code,y\n" + "".join(lines[80:]))
    options = ("--drop", "id", "--categorical", "code", "--task", "classification")
    options += ("--validation", "more.csv", "--epochs", 2)
    status, out, _ = run("train", "data.csv", "-t", "y", "-o", "m.st", *options)
    assert status == 0 and "20 rows of more.csv" in out and "2 epochs of 80 rows" in out
    assert fastnn.load("m.st").sizes == [3, 128, 64, 4]


def test_missing_values_refused_or_imputed(here, run):
    (here / "data.csv").write_text("a,b,y\n" + "1,u,0\n2,?,1\n ,v,0\n4,u,1\n" * 5)
    status, _, err = run("train", "data.csv", "-t", "y", "-o", "m.st")
    assert status == 2
    assert err.startswith('fastnn: error: data.csv, row 4, column "a": missing value')
    assert not (here / "m.st").exists()
    assert run("train", "data.csv", "-t", "y", "-o", "m.st", "--missing", "impute")[0] == 0
    (here / "new.csv").write_text("a,b\nNA,nan\n1,w\n3,w\n")
    status, out, err = run("predict", "m.st", "new.csv")
    assert status == 0 and len(rows_of(out)) == 4
    assert err == (
        'fastnn: warning: new.csv, row 3, column "b": "w" is unknown to the model; '
        "2 rows of 3 with unknown categories here, taken as none of the known\n"
    )


def test_a_table_without_header_is_read_so_again(here, run):
    (here / "data.csv").write_text("".join(f"{i % 7},{i % 2}\n" for i in range(40)))
    command = ("train", "data.csv", "--no-header", "-t", "column_2", "-o", "m.st", "-q")
    assert run(*command)[0] == 0
    assert len(rows_of(run("predict", "m.st", "data.csv")[1])) == 41


# --- bad use, in one line


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "a command must be given: train, predict, evaluate, info, demo, bench"),
        ("trian", "invalid choice: 'trian'"),
        ("train", "the following arguments are required: data, -o/--output"),
        ("train none.csv -t y -o m.st", "none.csv: no such file"),
        ("train ok.csv -o m.st", '--target must name the column to learn; ok.csv has "a", "y"'),
        ("train ok.csv -t z -o m.st", 'ok.csv: no column "z"; it has "a", "y"'),
        ("train ok.csv -t y -o no/m.st", "-o no/m.st: no such folder: no"),
        ("train ok.csv -t y -o .", "-o .: must be a file, not a folder"),
        ("train ok.csv -t y -o /dev/null", "-o /dev/null: must be a regular file"),
        ("train ok.csv -t y -o m.st --hidden 8,x", "argument --hidden: must be a whole number"),
        ("train ok.csv -t y -o m.st --hidden 8,0", "must be at least 1, got 0"),
        ("train ok.csv -t y -o m.st --epochs 0", "must be at least 1, got 0"),
        ("train ok.csv -t y -o m.st --batch-size 0", "must be at least 1, got 0"),
        ("train ok.csv -t y -o m.st --learning-rate nan", "must be a number above 0, got nan"),
        ("train ok.csv -t y -o m.st --learning-rate 0", "must be a number above 0, got 0"),
        ("train ok.csv -t y -o m.st --learning-rate -1", "must be a number above 0, got -1"),
        ("train ok.csv -t y -o m.st --momentum 1", "must be in [0, 1), got 1"),
        ("train ok.csv -t y -o m.st --momentum 0 --nesterov", "--nesterov needs --optimizer sgd and"),
        ("train ok.csv -t y -o m.st --seed -1", "must be at least 0 and below 2**128"),
        ("train ok.csv -t y -o m.st --activation rleu", "must be one of identity, relu,"),
        ("train ok.csv -t y -o m.st --delimiter ab", 'must be one character or "tab", got "ab"'),
        ("train ok.csv -t y -o m.st --drop b", 'ok.csv: no column "b"'),
        ("train ok.csv -t y -o m.st --drop y", '"y" is a target'),
        ("train ok.csv -t y -o m.st --drop a", 'no column beside the target "y"'),
        (
            "train ok.csv -t y -o m.st --validation other.csv --validation-split 0.2",
            "--validation and --validation-split exclude each other",
        ),
        ("train ragged.csv -t y -o m.st", "ragged.csv, row 3: must have 2 cells"),
        (
            "train hole.csv -t y -o m.st",
            'hole.csv, row 3, column "y": the target is missing (in 1 row)',
        ),
        (
            "train text.csv -t y -o m.st --task regression",
            'row 2, column "y": must be a number, got "u"',
        ),
        ("train x.npz -o m.st", 'x.npz: no target: an NPZ needs an array "y"'),
        ("train xy.npz -o m.st --drop a", "--drop is for the columns of a table"),
        ("predict none.st ok.csv", "none.st: no such file"),
        ("predict ok.csv ok.csv", "ok.csv: "),
        ("predict . ok.csv", ".: is a folder, not a model file"),
        ("predict plain.st ok.csv", "plain.st: says nothing about its data"),
        ("predict model.st ok.csv -o out.npy", "predictions are written as .csv, .parquet or .npz"),
        (
            "predict model.st text.csv",
            'text.csv: must have "a", which the model reads; it has "b", "y"',
        ),
        ("predict model.st xy.npz", "this file holds arrays"),
        ("predict model.st slip.csv", 'slip.csv, row 3, column "a": must be a number, got "4O"'),
        (
            "evaluate model.st other.csv",
            'other.csv, row 2, column "y": must be one of "0", "1", got "7"',
        ),
        ("evaluate model.st slip.csv -t q", 'row 3, column "a": must be a number'),
        ("evaluate model.st ok.csv -t q", 'ok.csv: no column "q"'),
        ("info none.st", "none.st: no such file"),
    ],
)
def test_bad_use(here, run, command, message):
    (here / "ok.csv").write_text("a,y\n1,0\n2,1\n3,0\n4,1\n")
    (here / "ragged.csv").write_text("a,y\n1,0\n2\n")
    (here / "hole.csv").write_text("a,y\n1,0\n2,\n3,1\n")
    (here / "text.csv").write_text("b,y\n1,u\n2,v\n3,w\n")
    (here / "slip.csv").write_text("a,y\n1,0\n4O,1\n")
    (here / "other.csv").write_text("a,y\n1,7\n")
    np.savez("x.npz", X=np.ones((4, 2)))
    np.savez("xy.npz", X=np.ones((4, 2)), y=[0, 1, 0, 1])
    fastnn.Model([2, 2], seed=0).save("plain.st")
    if "model.st" in command:
        assert run("train", "ok.csv", "-t", "y", "-o", "model.st", "-q", "--epochs", 1)[0] == 0
    before = sorted(os.listdir())
    status, out, err = run(*command.split())
    assert (status, out) == (2, "")
    assert err.startswith("fastnn: error: ") and message in err and err.count("\n") == 1
    assert sorted(os.listdir()) == before


def test_divergence_fails_and_keeps_the_old_model(here, run):
    slope(here / "data.csv")
    (here / "m.st").write_text("old")
    status, _, err = run("train", "data.csv", "-t", "z", "-o", "m.st", "--learning-rate", 1e9, "-q")
    assert status == 1
    assert (
        err.startswith("fastnn: error: training diverged in epoch 1") and "--learning-rate" in err
    )
    assert (here / "m.st").read_text() == "old" and len(os.listdir()) == 2


def test_absent_extras_are_named(here, run, monkeypatch):
    for module in ("matplotlib", "pyarrow", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    status, out, err = run("demo")
    assert (status, out) == (1, "") and "pip install 'fastnn[demo]'" in err
    (here / "data.parquet").touch()
    status, _, err = run("train", "data.parquet", "-t", "y", "-o", "m.st")
    assert status == 2 and "pip install 'fastnn[parquet]'" in err


# --- output


def test_a_failed_output_leaves_the_old_file(here):
    (here / "out.csv").write_text("old")
    with pytest.raises(RuntimeError), output.text_file("out.csv") as file:
        file.write("new")
        raise RuntimeError
    assert os.listdir() == ["out.csv"] and (here / "out.csv").read_text() == "old"
    with output.text_file("out.csv") as file:
        file.write("new")
    assert os.listdir() == ["out.csv"] and (here / "out.csv").read_text() == "new"


def test_output_keeps_links_and_permissions(here):
    (here / "real.csv").write_text("old")
    (here / "real.csv").chmod(0o640)
    (here / "link.csv").symlink_to("real.csv")
    with output.text_file("link.csv") as file:
        file.write("new")
    assert (here / "link.csv").is_symlink() and (here / "real.csv").read_text() == "new"
    assert (here / "real.csv").stat().st_mode & 0o777 == 0o640


# --- measures and defaults


def test_classification_measures_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    P = np.eye(4)[[0, 0, 1, 1, 0, 1]] * 0.5 + 0.125
    result = metrics.classification(labels, P, ["a", "b", "c", "d"])
    assert result["accuracy"] == 3 / 6
    assert result["confusion_matrix"] == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert result["classes"]["a"] == {
        "precision": 2 / 3,
        "recall": 2 / 3,
        "f1": 2 / 3,
        "support": 3,
    }
    assert result["classes"]["b"] == {
        "precision": 1 / 3,
        "recall": 1 / 2,
        "f1": 2 / 5,
        "support": 2,
    }
    assert result["classes"]["c"] == {"precision": None, "recall": 0, "f1": 0, "support": 1}
    assert result["classes"]["d"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    np.testing.assert_allclose(result["log_loss"], -np.log([0.625] * 3 + [0.125] * 3).mean())
    assert " -  " in metrics.classification_text(result)


def test_regression_measures_by_hand():
    result = metrics.regression(np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 5.0]))
    assert result == {"rows": 3, "rmse": np.sqrt(5 / 3), "mae": 1.0, "r2": 1 - 5 / 14}
    assert metrics.regression(np.ones(2), np.ones(2))["r2"] is None


def test_defaults():
    assert [default_batch_size(n) for n in (1, 135, 1000, 4900, 10**6)] == [8, 8, 8, 64, 128]


# --- real processes

COMMAND = [sys.executable, "-m", "fastnn"]


@pytest.fixture(autouse=True)
def same_fastnn(monkeypatch):
    """Child processes import the fastnn under test, wherever they start."""
    monkeypatch.setenv("PYTHONPATH", str(Path(fastnn.__file__).parents[1]))


def test_python_m_and_pipes(here):
    flowers(here / "flowers.csv")
    train = [*COMMAND, "train", "-", "-t", "kind", "-o", "m.st", "--epochs", "2", "-q"]
    with open("flowers.csv") as file:
        assert subprocess.run(train, stdin=file, check=True).returncode == 0
    predict = [*COMMAND, "predict", "m.st", "-"]
    with open("flowers.csv") as file:
        done = subprocess.run(predict, stdin=file, capture_output=True, text=True, check=True)
    assert len(rows_of(done.stdout)) == 121 and done.stderr == ""
    version = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"fastnn {fastnn.__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
def test_a_reader_that_breaks_off_is_no_error(here):
    lines = ["a,y"] + [f"{i},{i % 2}" for i in range(20_000)]
    (here / "data.csv").write_text("\n".join(lines))
    assert main("train data.csv -t y -o m.st -q --epochs 1 --hidden 2".split()) == 0
    script = f"'{sys.executable}' -m fastnn predict m.st data.csv | head -n 2"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2 and done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_keeps_the_network_beside_the_output(here):
    squares("train.npz")
    (here / "m.safetensors").write_text("old")
    command = [*COMMAND, "train", "train.npz", "-o", "m.safetensors", "--epochs", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline().startswith("epoch ")  # it trains
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - begin < 5
    assert process.returncode == 130 and out == ""
    last = err.splitlines()[-1]
    assert last.startswith("fastnn: stopped in epoch ") and "m.partial.safetensors" in last
    assert "Traceback" not in err
    assert (here / "m.safetensors").read_text() == "old"
    assert sorted(os.listdir()) == ["m.partial.safetensors", "m.safetensors", "train.npz"]
    assert "of 1000000" in fastnn.load("m.partial.safetensors").metadata["training"]["interrupted"]


def test_importing_the_command_line_is_light():
    script = (
        "import sys; import fastnn.cli; "
        "print([m for m in ('matplotlib', 'sklearn', 'pyarrow', 'tqdm', 'pandas') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# --- the demo and real data


def test_demo(here, run):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    status, out, err = run("demo", "-q", "-o", "made")
    assert status == 0 and err == ""
    accuracy = float(out.split("accuracy")[1].split()[0])
    assert accuracy > 0.95
    assert sorted(os.listdir("made")) == ["digits.npz", "digits.png", "digits.safetensors"]
    assert (here / "made/digits.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads(run("evaluate", "made/digits.safetensors", "made/digits.npz", "--json")[1])
    assert round(result["accuracy"], 4) == accuracy


def test_adult(here, run, tabular):
    command = ("train", tabular / "adult-train.csv", "-t", "income", "--missing", "impute", "-q")
    assert run(*command, "-o", "m.st", "--epochs", 5)[0] == 0
    status, out, err = run("evaluate", "m.st", tabular / "adult-test.csv", "--json")
    assert status == 0 and json.loads(out)["accuracy"] > 0.845
    assert '"<=50K." taken for "<=50K"' in err


@pytest.mark.parametrize(
    ("name", "target", "task", "measure", "least"),
    [
        ("abalone", "rings", "regression", "r2", 0.50),
        ("winequality-white", "quality", "regression", "r2", 0.33),
        ("phoneme", "class", "classification", "accuracy", 0.83),
        ("mammography", "class", "classification", "accuracy", 0.98),
    ],
)
def test_tables(here, run, tabular, name, target, task, measure, least):
    path = tabular / f"{name}.csv"
    status, out, _ = run("train", path, "-t", target, "-o", "m.st", "--validation-split", 0.3)
    assert status == 0 and f"{target}, {task}" in out
    line = next(line for line in out.splitlines() if line.startswith("validation"))
    assert float(line.split(f"{measure} ")[1].split(",")[0]) > least


@pytest.mark.parametrize(
    ("arguments", "least"),
    [
        ("--hidden 128 --epochs 10", 0.975),
        ("--hidden 30 --activation sigmoid --batch-size 1 --epochs 3", 0.94),
    ],
)
def test_mnist(here, run, mnist, arguments, least):
    X, y, X_test, y_test = mnist
    for name, images, labels in (("train", X, y), ("test", X_test, y_test)):
        pixels = np.rint(images * 255).astype(np.uint8).reshape(-1, 28, 28)
        np.savez(f"{name}.npz", X=pixels, y=labels)
    assert run("train", "train.npz", "-o", "m.st", "-q", *arguments.split())[0] == 0
    result = json.loads(run("evaluate", "m.st", "test.npz", "--json")[1])
    assert result["accuracy"] > least
