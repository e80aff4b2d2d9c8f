"""The command line as its users meet it."""

import csv
import errno
import gzip
import hashlib
import io
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.cli import main
from fastnn.cli.common import metrics, output
from fastnn.cli.common.messages import BadUse
from fastnn.cli.common.model_file import reading
from fastnn.cli.training.options import default_batch_size
from fastnn.report import scores

TRAIN = ("train", "--network")
NETWORK = "train --network ok.csv -t y -o m.st"


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
    status, out, err = run(*TRAIN, "flowers.csv", "--target", "kind", "-o", "m.safetensors")
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
    status, out, _ = run(*TRAIN, "data.csv", "-t", "z", "-o", "m.st", "--epochs", 60)
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
    status, out, _ = run(*TRAIN, "train.npz", "-o", "m.st", "--epochs", 5)
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
    status, _, _ = run(*TRAIN, "x.npy", "--target-file", "y.npy", "-o", "m2.st", "--epochs", 1)
    assert status == 0


def test_parquet(here, run):
    pa_csv = pytest.importorskip("pyarrow.csv")
    parquet = pytest.importorskip("pyarrow.parquet")
    slope(here / "data.csv")
    parquet.write_table(pa_csv.read_csv("data.csv"), "data.parquet")
    assert run(*TRAIN, "data.csv", "-t", "z", "-o", "a.st")[0] == 0
    assert run(*TRAIN, "data.parquet", "-t", "z", "-o", "b.st")[0] == 0
    assert run("predict", "a.st", "data.csv")[1] == run("predict", "b.st", "data.parquet")[1]


def test_the_same_command_writes_the_same_bytes(here, run):
    flowers(here / "flowers.csv")
    for name, more in (("a", ()), ("b", ("--threads", 1)), ("c", ("--seed", 1))):
        command = (*TRAIN, "flowers.csv", "-t", "kind", "--epochs", 2, "-o", f"{name}.st", *more)
        assert run(*command)[0] == 0
    assert (here / "a.st").read_bytes() == (here / "b.st").read_bytes()
    assert (here / "a.st").read_bytes() != (here / "c.st").read_bytes()


def test_training_is_what_the_arguments_say(here, run):
    """The command is Model.fit on the prepared columns, nothing else."""
    slope(here / "data.csv")
    arguments = ("--hidden", "5,3", "--activation", "tanh", "--epochs", 3, "--batch-size", 16)
    arguments += ("--learning-rate", 0.05, "--momentum", 0.5, "--nesterov", "--seed", 3)
    arguments += ("--dtype", "float64", "--validation-split", 0, "--scale", "none")
    assert run(*TRAIN, "data.csv", "-t", "z", "-o", "m.st", *arguments)[0] == 0
    x, z = np.loadtxt("data.csv", delimiter=",", skiprows=1).T
    model = fastnn.Model([1, 5, 3, 1], "tanh", "identity", dtype="float64", seed=3)
    rule = fastnn.SGD(fastnn.CosineDecay(0.05), 0.5, nesterov=True)
    model.fit(x[:, None], z, epochs=3, batch_size=16, optimizer=rule)
    assert (fastnn.load("m.st").theta == model.theta).all()


def test_constant_schedule_quiet_and_no_hidden_layers(here, run):
    flowers(here / "flowers.csv")
    options = ("--hidden", "none", "--schedule", "constant", "-q", "--epochs", 2)
    assert run(*TRAIN, "flowers.csv", "-t", "kind", "-o", "m.st", *options) == (0, "", "")
    assert fastnn.load("m.st").sizes == [4, 3]
    assert fastnn.load("m.st").metadata["training"]["schedule"] == "constant"


def test_drop_categorical_task_and_validation_data(here, run):
    rng = np.random.default_rng(0)
    lines = [f"{i},{rng.integers(3)},{rng.integers(5, 9)}\n" for i in range(100)]
    (here / "data.csv").write_text("id,code,y\n" + "".join(lines[:80]))
    (here / "more.csv").write_text("id,code,y\n" + "".join(lines[80:]))
    options = ("--drop", "id", "--categorical", "code", "--task", "classification")
    options += ("--validation", "more.csv", "--epochs", 2)
    status, out, _ = run(*TRAIN, "data.csv", "-t", "y", "-o", "m.st", *options)
    assert status == 0 and "20 rows of more.csv" in out and "2 epochs of 80 rows" in out
    assert fastnn.load("m.st").sizes == [3, 128, 64, 4]


def test_missing_values_refused_or_imputed(here, run):
    (here / "data.csv").write_text("a,b,y\n" + "1,u,0\n2,?,1\n ,v,0\n4,u,1\n" * 5)
    status, _, err = run(*TRAIN, "data.csv", "-t", "y", "-o", "m.st", "--missing", "refuse")
    assert status == 2
    assert err.startswith('fastnn: error: data.csv, row 4, column "a": missing value')
    assert not (here / "m.st").exists()
    assert run(*TRAIN, "data.csv", "-t", "y", "-o", "m.st", "--missing", "impute")[0] == 0
    (here / "new.csv").write_text("a,b\nNA,nan\n1,w\n3,w\n")
    status, out, err = run("predict", "m.st", "new.csv")
    assert status == 0 and len(rows_of(out)) == 4
    assert err == (
        'fastnn: warning: new.csv, row 3, column "b": "w" is unknown to the model; '
        "2 rows of 3 with unknown categories here, taken as none of the known\n"
    )


def test_a_table_is_read_as_options_say(here, run):
    text = "a,b,c\té\n" + "".join(f"{i % 7}\t{i % 2}\n" for i in range(60))
    (here / "odd.txt").write_bytes(text.encode("cp437"))
    options = ("--delimiter", "tab", "--encoding", "cp437")
    command = ("odd.txt", "-t", "é", "-o", "m.st", "-q", "--epochs", 1)
    assert run(*TRAIN, *command, *options) == (0, "", "")
    columns = fastnn.load("m.st").columns
    assert (columns.inputs.names, columns.names) == (["a,b,c"], ["é"])
    assert run(*TRAIN, *command, *options[:2])[0] == 2  # no column is called so
    status, _, err = run(*TRAIN, *command, "--encoding", "utf-9")
    assert status == 2 and 'must be an encoding such as utf-8, latin-1 or utf-16, got "utf-9' in err


def test_a_table_without_header_is_read_so_again(here, run):
    (here / "data.csv").write_text("".join(f"{i % 7},{i % 2}\n" for i in range(40)))
    command = (*TRAIN, "data.csv", "--no-header", "-t", "column_2", "-o", "m.st", "-q")
    assert run(*command)[0] == 0
    assert len(rows_of(run("predict", "m.st", "data.csv")[1])) == 41


# --- what training takes

AMOUNTS = ("-t", "z", "--hidden", "5,3", "--dtype", "float64", "--scale", "none")
AMOUNTS += ("--learning-rate", 0.01, "--epochs", 6, "--batch-size", 16, "--seed", 3)


@pytest.mark.parametrize(
    ("options", "network", "optimizer"),
    [
        ("--optimizer adam", {}, fastnn.Adam(fastnn.CosineDecay(0.01))),
        ("--optimizer adamw", {}, fastnn.AdamW(fastnn.CosineDecay(0.01))),
        ("--optimizer nadam", {}, fastnn.NAdam(fastnn.CosineDecay(0.01))),
        ("--optimizer rmsprop", {}, fastnn.RMSprop(fastnn.CosineDecay(0.01))),
        ("--optimizer adagrad", {}, fastnn.Adagrad(fastnn.CosineDecay(0.01))),
        ("--optimizer lion", {}, fastnn.Lion(fastnn.CosineDecay(0.01))),
        ("--optimizer rprop", {}, fastnn.Rprop(0.01)),
        ("--schedule constant", {}, fastnn.SGD(0.01, 0.9)),
        ("--warmup 2", {}, fastnn.SGD(fastnn.CosineDecay(0.01, warmup=2), 0.9)),
        ("--schedule one-cycle", {}, fastnn.SGD(fastnn.OneCycle(0.01), 0.9)),
        (
            "--schedule one_cycle --warmup 1.5",
            {},
            fastnn.SGD(fastnn.OneCycle(0.01, pct_start=0.25), 0.9),
        ),
        ("--schedule step", {}, fastnn.SGD(fastnn.StepDecay(0.01, epochs=2), 0.9)),
        ("--schedule exponential", {}, fastnn.SGD(fastnn.Exponential(0.01, 0.3981), 0.9)),
        # 180 rows: 12 steps an epoch
        ("--schedule inverse", {}, fastnn.SGD(fastnn.InverseScaling(0.01, scale=1.375), 0.9)),
        (
            "--schedule plateau",
            {},
            fastnn.SGD(fastnn.ReduceOnPlateau(0.01, patience=1, monitor="val_loss"), 0.9),
        ),
        ("--schedule adaptive", {}, fastnn.SGD(fastnn.Adaptive(0.01), 0.9)),
        ("--momentum 0.5", {}, fastnn.SGD(fastnn.CosineDecay(0.01), 0.5)),
        (
            "--optimizer adamw --weight-decay 0.5 --clip-norm 0.1",
            {},
            fastnn.AdamW(fastnn.CosineDecay(0.01), weight_decay=0.5, clip_norm=0.1),
        ),
        (
            "--l1 0.01 --l2 0.1 --momentum 0",
            {},
            fastnn.SGD(fastnn.CosineDecay(0.01), l1=0.01, l2=0.1),
        ),
        (
            "--dropout 0.2 --activation leaky-relu:0.2 --loss huber:0.5",
            {"dropout": 0.2, "activation": fastnn.LeakyReLU(0.2), "loss": fastnn.Huber(0.5)},
            fastnn.SGD(fastnn.CosineDecay(0.01), 0.9),
        ),
        (
            "--dropout 0,0.1,0.2 --activation tanh,elu:0.5 --loss quantile:0.9",
            {
                "dropout": [0, 0.1, 0.2],
                "activation": ["tanh", fastnn.ELU(0.5)],
                "loss": fastnn.Quantile(0.9),
            },
            fastnn.SGD(fastnn.CosineDecay(0.01), 0.9),
        ),
        ("--norm batch", {"norm": "batch"}, fastnn.SGD(fastnn.CosineDecay(0.01), 0.9)),
        ("--norm layer", {"norm": "layer"}, fastnn.SGD(fastnn.CosineDecay(0.01), 0.9)),
        (
            "--loss poisson",
            {"loss": "poisson", "output": "exp"},
            fastnn.SGD(fastnn.CosineDecay(0.01), 0.9),
        ),
    ],
)
def test_each_option_is_what_fit_takes(here, run, options, network, optimizer):
    slope(here / "data.csv")
    assert run(*TRAIN, "data.csv", "-o", "m.st", "-q", *AMOUNTS, *options.split()) == (0, "", "")
    x, z = np.loadtxt("data.csv", delimiter=",", skiprows=1).T
    settings = {"activation": "relu", "output": "identity", **network}
    model = fastnn.Model([1, 5, 3, 1], dtype="float64", seed=3, **settings)
    split = {"validation_split": 0.1, "batch_size": 16}
    model.fit(x[:, None], z, epochs=6, optimizer=optimizer, **split)
    assert (fastnn.load("m.st").theta == model.theta).all()


@pytest.mark.parametrize(
    ("options", "network", "arguments"),
    [
        ("--class-weight balanced", {}, {"class_weight": "balanced"}),
        ("--class-weight z=3,x=0.5", {}, {"class_weight": {0: 0.5, 2: 3}}),
        ("--label-smoothing 0.1", {"loss": fastnn.CrossEntropy(0.1)}, {}),
        ("--loss focal:1", {"loss": fastnn.Focal(1)}, {}),
        ("--loss hinge", {"loss": "hinge", "output": "identity"}, {}),
        ("--loss squared-error", {"loss": "squared_error"}, {}),
    ],
)
def test_what_fit_takes_for_classes(here, run, options, network, arguments):
    kinds = flowers(here / "flowers.csv")
    command = (*TRAIN, "flowers.csv", "-t", "kind", "-o", "m.st", "-q", "--drop", "colour")
    command += ("--scale", "none", "--epochs", 3, "--batch-size", 8, "--learning-rate", 0.01)
    assert run(*command, "--dtype", "float64", *options.split()) == (0, "", "")
    X = np.loadtxt("flowers.csv", delimiter=",", skiprows=1, usecols=0)[:, None]
    y = np.searchsorted(["x", "y", "z"], kinds)
    model = fastnn.Model([1, 128, 64, 3], dtype="float64", seed=0, **network)
    rule = fastnn.SGD(fastnn.CosineDecay(0.01), 0.9)
    split = {"validation_split": 0.1, "batch_size": 8}
    model.fit(X, y, epochs=3, optimizer=rule, **split, **arguments)
    assert (fastnn.load("m.st").theta == model.theta).all()
    # of a hinge there are no probabilities
    header = run("predict", "m.st", "flowers.csv")[1].splitlines()[0]
    assert header == ("prediction" if "hinge" in options else "prediction,P(x),P(y),P(z)")
    result = json.loads(run("evaluate", "m.st", "flowers.csv", "--json")[1])
    assert ("log_loss" in result) == ("hinge" not in options) and result["rows"] == 120


def test_lbfgs(here, run):
    pytest.importorskip("scipy")
    slope(here / "data.csv")
    options = ("--optimizer", "lbfgs", "--l2", 1e-6, "--epochs", 200, "--dtype", "float64")
    status, out, _ = run(*TRAIN, "data.csv", "-t", "z", "-o", "m.st", *options)
    assert status == 0 and "optimizer   lbfgs, l2 1e-06\n" in out
    assert json.loads(run("evaluate", "m.st", "data.csv", "--json")[1])["r2"] > 0.995
    assert "learning rate" not in fastnn.load("m.st").metadata["training"]


def test_sample_weights_are_a_column_and_no_input(here, run):
    slope(here / "data.csv")
    head, *lines = (here / "data.csv").read_text().splitlines()
    table = [f"{line},{i % 3}" for i, line in enumerate(lines)]
    (here / "weighted.csv").write_text("\n".join([f"{head},w", *table]) + "\n")
    command = (*TRAIN, "weighted.csv", "-o", "m.st", "-q", *AMOUNTS, "--sample-weight", "w")
    assert run(*command) == (0, "", "")
    x, z = np.loadtxt("data.csv", delimiter=",", skiprows=1).T
    model = fastnn.Model([1, 5, 3, 1], output="identity", dtype="float64", seed=3)
    split = {"validation_split": 0.1, "batch_size": 16, "sample_weight": np.arange(200) % 3}
    rule = fastnn.SGD(fastnn.CosineDecay(0.01), 0.9)
    model.fit(x[:, None], z, epochs=6, optimizer=rule, **split)
    assert (fastnn.load("m.st").theta == model.theta).all()
    assert run("predict", "m.st", "data.csv")[0] == 0  # without weights


def test_metrics_log_and_plot(here, run):
    pytest.importorskip("matplotlib")
    slope(here / "data.csv")
    options = ("--metrics", "mae,rmse", "--log", "log.csv", "--plot", "curve.png", "--epochs", 30)
    status, out, err = run(*TRAIN, "data.csv", "-t", "z", "-o", "m.st", *options)
    assert status == 0 and " val_mae " in err and "\nlog         log.csv\n" in out
    header, *rows = rows_of((here / "log.csv").read_text())
    assert header[:5] == ["epoch", "loss", "val_loss", "val_mae", "val_rmse"] and len(rows) == 30
    # in the target's unit, whose deviation is 40
    assert 0.3 < float(rows[-1][3]) <= float(rows[-1][4]) < 3
    assert f"MAE {float(rows[-1][3]):.6g}, RMSE {float(rows[-1][4]):.6g}" in out
    assert (here / "curve.png").read_bytes().startswith(b"\x89PNG")
    flowers(here / "flowers.csv")
    options = ("--metrics", "f1,auc,top-2", "--epochs", 2)
    _, out, err = run(*TRAIN, "flowers.csv", "-t", "kind", "-o", "m.st", *options)
    for name, title in (("f1", "f1"), ("auc", "AUC"), ("top_2", "top_2")):
        assert f" val_{name} " in err and f"{title} " in out.split("validation")[1]


def test_early_stopping_keeps_the_best_epoch(here, run):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)  # nothing to learn
    np.savez("noise.npz", X=X, y=y)
    command = (*TRAIN, "noise.npz", "-o", "m.st", "--epochs", 300, "--schedule", "constant")
    options = ("--validation-split", 0.3, "--early-stopping", 4, "--log", "log.csv")
    status, out, _ = run(*command, *options)
    losses = [float(row[2]) for row in rows_of((here / "log.csv").read_text())[1:]]
    best = int(np.argmin(losses)) + 1
    assert status == 0 and len(losses) == best + 4 < 300
    assert f"{best + 4} epochs of 42 rows" in out and f"; kept: epoch {best}, the best\n" in out
    assert f"loss {min(losses):.4f}\n" in out
    facts = fastnn.load("m.st").metadata["training"]
    assert (facts["epochs"], facts["epochs run"], facts["best epoch"]) == (300, best + 4, best)


def test_a_resumed_training_goes_on(here, run):
    flowers(here / "flowers.csv")
    command = (*TRAIN, "flowers.csv", "-t", "kind", "--schedule", "constant", "-o")
    assert run(*command, "whole.st", "--epochs", 4)[0] == 0
    assert run(*command, "m.st", "--epochs", 2, "--checkpoint", "run.st")[0] == 0
    status, out, err = run(*command, "m.st", "--epochs", 4, "--resume", "run.st")
    assert status == 0 and "4 epochs of 108 rows" in out and "2 of them before" in out
    assert [line[:9] for line in err.splitlines()] == ["epoch 3/4", "epoch 4/4"]
    assert (here / "m.st").read_bytes() == (here / "whole.st").read_bytes()
    for changed, message in (
        (("--seed", 1), "of the data are not those of the checkpoint"),  # other rows held out
        (("--momentum", 0.5), "learning rate must be"),
        (("--learning-rate", 0.012, "--nesterov"), "nesterov must be None as in the checkpoint"),
        (("--dropout", 0.5), "dropout must be [0.0, 0.0, 0.0] as in the checkpoint"),
        (("--norm", "layer"), "norm must be [None, None] as in the checkpoint"),
    ):
        status, _, err = run(*command, "m.st", "--epochs", 4, "--resume", "run.st", *changed)
        assert status == 2 and message in err and err.count("\n") == 1
    again = (*TRAIN, "flowers.csv", "-t", "kind", "-o", "n.st", "-q", "--resume", "new.st")
    assert run(*again) == (
        0,
        "",
        "fastnn: --resume new.st: no such file yet, so the training begins\n",
    )
    status, _, err = run(*again, "--epochs", 30)  # which the cosine depends on
    assert status == 2 and "epochs must be 20 as in the checkpoint, got 30" in err


def test_several_targets(here, run):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)).round(4)
    u, v = 100 + 20 * X[:, 0], X[:, 2] - 3 * X[:, 1]
    hot, wet = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no"), (X[:, 2] > 0.5).astype(int)
    table = np.column_stack([X, u.round(3), v.round(3), hot, wet])
    lines = [",".join(row) for row in table.tolist()]
    (here / "data.csv").write_text("\n".join(['a,b,c,u,"v, w",hot,wet', *lines]) + "\n")

    options = ("--drop", "hot,wet", "-q", "--epochs", 40)
    assert (
        run(*TRAIN, "data.csv", "-t", "v, w", *options, "--drop", "u,hot,wet", "-o", "m.st")[0]
        == 0
    )
    assert fastnn.load("m.st").sizes[-1] == 1  # the name of one column
    (here / "data.csv").write_text("\n".join(["a,b,c,u,v,hot,wet", *lines]) + "\n")
    assert run(*TRAIN, "data.csv", "-t", "u,v", *options, "-o", "m.st") == (0, "", "")
    header, *rows = rows_of(run("predict", "m.st", "data.csv")[1])
    assert header == ["u", "v"]
    predicted = np.array(rows, float)
    assert abs(predicted[:, 0] - u).mean() < 3 and abs(predicted[:, 1] - v).mean() < 0.4
    result = json.loads(run("evaluate", "m.st", "data.csv", "--json")[1])["targets"]
    assert result["u"]["rmse"] == pytest.approx(np.sqrt(((predicted[:, 0] - u) ** 2).mean()), 1e-3)
    assert "r2" in run("evaluate", "m.st", "data.csv")[1].splitlines()[2]
    assert run("evaluate", "m.st", "data.csv", "-t", "v,u")[0] == 0  # as the user says
    status, _, err = run("evaluate", "m.st", "data.csv", "-t", "u")
    assert status == 2 and '--target must name 2 columns, got "u"' in err

    options = ("--drop", "u,v", "-q", "--epochs", 40)
    assert run(*TRAIN, "data.csv", "-t", "hot,wet", *options, "-o", "m.st") == (0, "", "")
    model = fastnn.load("m.st")
    assert (model.output, model.loss) == ("sigmoid", "binary_cross_entropy")
    header, *rows = rows_of(run("predict", "m.st", "data.csv")[1])
    assert header == ["hot", "wet", "P(hot=yes)", "P(wet=1)"]
    rows = np.array(rows)
    assert ((rows[:, 2].astype(float) > 0.5) == (rows[:, 0] == "yes")).all()
    assert (rows[:, 0] == hot).mean() > 0.95 and (rows[:, 1] == wet.astype(str)).mean() > 0.95
    result = json.loads(run("evaluate", "m.st", "data.csv", "--json")[1])["targets"]
    assert result["hot"]["accuracy"] == (rows[:, 0] == hot).mean()
    assert "precision" in run("evaluate", "m.st", "data.csv")[1]
    info = run("info", "m.st")[1]
    assert 'targets     hot: "no", "yes"\n' in info and ' wet: "0", "1"\n' in info


def test_predictions_in_other_formats(here, run):
    parquet = pytest.importorskip("pyarrow.parquet")
    flowers(here / "flowers.csv")
    assert run(*TRAIN, "flowers.csv", "-t", "kind", "-o", "m.st", "-q")[0] == 0
    for name in ("p.csv", "p.npz", "p.parquet"):
        assert run("predict", "m.st", "flowers.csv", "-o", name)[0] == 0
    header, *rows = rows_of((here / "p.csv").read_text())
    written = parquet.read_table("p.parquet")
    assert written.column_names == header
    with np.load("p.npz") as arrays:
        for name, column in zip(header, zip(*rows, strict=True), strict=True):
            assert written[name].to_pylist() == arrays[name].tolist()
            assert arrays[name].astype(str).tolist() == list(column)


# --- bad use, in one line


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "",
            "a command must be given: train, tune, predict, evaluate, info, serve, export,",
        ),
        ("trian", "; did you mean train? (see fastnn --help)"),
        ("--verson", "unexpected argument: --verson; did you mean --version? (see fastnn --help)"),
        ("train --ephocs 3", "option --ephocs; did you mean --epochs? (see fastnn train --help)"),
        ("predict m --out=p", "option --out; did you mean --output? (see fastnn predict --help)"),
        ("info m --zzz", "unknown option --zzz (see fastnn info --help)"),
        ("info a b", "unexpected argument: b (see fastnn info --help)"),
        ("train", "the following arguments are required: data (see fastnn train --help)"),
        ("train none.csv -t y -o m.st", "none.csv: no such file"),
        ("train ok.csv -o m.st", '--target must name the column to learn; ok.csv has "a", "y"'),
        ("train ok.csv -t z -o m.st", 'ok.csv: no column "z"; it has "a", "y"'),
        ("train ok.csv -t y -o no/m.st", "-o no/m.st: no such folder: no"),
        ("train ok.csv -t y -o .", "-o .: must be a file, not a folder"),
        ("train ok.csv -t y -o /dev/null", "-o /dev/null: must be a regular file"),
        (f"{NETWORK} --hidden 8,x", "argument --hidden: must be a whole number"),
        (f"{NETWORK} --hidden 8,0", "must be at least 1, got 0"),
        (f"{NETWORK} --epochs 0", "must be at least 1, got 0"),
        (f"{NETWORK} --batch-size 0", "must be at least 1, got 0"),
        (f"{NETWORK} --learning-rate nan", "must be a number above 0, got nan"),
        (f"{NETWORK} --learning-rate 0", "must be a number above 0, got 0"),
        (f"{NETWORK} --learning-rate -1", "must be a number above 0, got -1"),
        (f"{NETWORK} --momentum 1", "must be in [0, 1), got 1"),
        (f"{NETWORK} --momentum 0 --nesterov", "--nesterov needs --optimizer sgd"),
        (
            f"{NETWORK} --nesterov --optimizer adam",
            "--nesterov needs --optimizer sgd",
        ),
        (f"{NETWORK} --momentum 0.5 --optimizer adam", "--momentum goes with"),
        (f"{NETWORK} --optimizer adma", "must be one of sgd, adam, adamw, nadam,"),
        (
            f"{NETWORK} --optimizer lbfgs --learning-rate 1",
            "come without --learning-r",
        ),
        (
            f"{NETWORK} --optimizer lbfgs --l1 1",
            "LBFGS must come without l1, got 1.0",
        ),
        (f"{NETWORK} --optimizer lbfgs --dropout 0.1", "come without --dropout"),
        (f"{NETWORK} --optimizer lbfgs --norm batch", "come without --norm batch"),
        (f"{NETWORK} --norm layer --hidden none", "--norm needs hidden layers"),
        (
            f"{NETWORK} --norm batch --batch-size 1",
            "at least 2 rows, got batch_size",
        ),
        (f"{NETWORK} --optimizer lbfgs --resume r", "come without --resume"),
        (
            f"{NETWORK} --schedule linear",
            "must be one of cosine, one_cycle, constant",
        ),
        (
            f"{NETWORK} --schedule step --warmup 1",
            "--warmup goes with --schedule cos",
        ),
        (f"{NETWORK} --warmup 20", "--warmup must be below --epochs 20, got 20"),
        (f"{NETWORK} --weight-decay -1", "must be a number of at least 0, got -1"),
        (f"{NETWORK} --clip-norm 0", "must be a number above 0, got 0"),
        (f"{NETWORK} --dropout 0.1 --hidden none", "--dropout needs hidden layers"),
        (
            f"{NETWORK} --checkpoint a --resume b",
            "must be --resume's file, b, or stay",
        ),
        (f"{NETWORK} --dropout 1", "--dropout: must be in [0, 1), got 1"),
        (
            f"{NETWORK} --dropout 0,0.1",
            "or 3: of the inputs and of each hidden layer",
        ),
        (f"{NETWORK} --activation relu,tanh,elu", "one for each of 2 hidden layers"),
        (f"{NETWORK} --activation tanh:2", 'tanh takes no number, got "tanh:2"'),
        (f"{NETWORK} --loss huber:0", "delta must be above 0, got 0.0"),
        (f"{NETWORK} --loss quantile:x", 'must be a number, got "x"'),
        (f"{NETWORK} --loss huber --task classification", "huber is for regression"),
        (f"{NETWORK} --loss hinge --task regression", "hinge is for classification"),
        (
            f"{NETWORK} --loss binary_cross_entropy",
            "--loss for classification must be one of cross_entropy, focal, hinge, squared_error",
        ),
        (
            "train --network minus.csv -t y -o m.st --loss poisson",
            "must be at least 0 for the loss poisson",
        ),
        (
            f"{NETWORK} --label-smoothing 0.1 --loss focal",
            "--label-smoothing goes with cross-entropy, not with focal",
        ),
        (f"{NETWORK} --class-weight bal", "must be balanced or CLASS=WEIGHT,..."),
        (f"{NETWORK} --class-weight 2=1", 'must name classes, 0, 1, got "2"'),
        (
            "train --network ok.csv -t a -o m.st --task regression --class-weight balanced",
            "--class-weight is for one target of classes",
        ),
        ("train ok.csv -t y -o m.st --sample-weight w", 'ok.csv: no column "w"'),
        ("train ok.csv -t y -o m.st --sample-weight y", "must be another column than the target"),
        ("train minus.csv -t a -o m.st --sample-weight y", "a weight must be at least 0, got -1.0"),
        ("train xy.npz -o m.st --sample-weight y", "--sample-weight names a column of a table"),
        (f"{NETWORK} --metrics rmse", "must be among accuracy, precision"),
        (f"{NETWORK} --metrics f1,f1", "--metrics must differ from one another"),
        (f"{NETWORK} --early-stopping 0", "must be at least 1, got 0"),
        (
            f"{NETWORK} --early-stopping 3 --validation-split 0",
            "--early-stopping needs rows to measure on, got --validation-split 0",
        ),
        (
            f"{NETWORK} --early-stopping 3",
            "--early-stopping needs rows to measure on: 0.1 of 4 is none",
        ),
        (f"{NETWORK} --checkpoint no/c.st", "--checkpoint no/c.st: no such folder"),
        (f"{NETWORK} --log .", "--log .: must be a file, not a folder"),
        (f"{NETWORK} --plot p.doc", "its name must end in one of"),
        ("train ok.csv -t y -o ok.csv", "-o ok.csv: must be another file than the data"),
        (f"{NETWORK} --log ./m.st", "--log ./m.st: must be another file than -o"),
        (f"{NETWORK} --resume ok.csv", "--resume ok.csv: must be another file than"),
        (f"{NETWORK} --resume text.csv", "text.csv: "),
        (f"{NETWORK} --resume plain.st", "was not written by fastnn train --checkp"),
        (
            f"{NETWORK} --hidden 5 --resume model.st",
            "sizes must be [1, 128, 64, 2]",
        ),
        (
            f"{NETWORK} --resume model.st",
            "epochs must be 1 as in the checkpoint, got",
        ),
        (
            f"{NETWORK} --epochs 1 --resume model.st",
            "resume: model.st must be a file that Checkpoint wrote, not Model.save",
        ),
        (f"{NETWORK} --log=", "--log: must name a file, got an empty name"),
        (
            "train minus.csv -t a -o m.st --sample-weight b --drop b",
            '--drop is for inputs, "b" is --sample-weight',
        ),
        ("train other.csv -t a,a -o m.st", '--target must name each column once, got "a", "a"'),
        (
            "train --network minus.csv -t a,y -o m.st",
            "must all be amounts or all be classes (task=, --task)",
        ),
        (
            "train --network three.csv -t y,z -o m.st",
            '"y": of several targets each must have two classes, it has 3',
        ),
        ("train ok.csv -t y -o m.st --seed -1", "must be at least 0 and below 2**128"),
        (f"{NETWORK} --activation rleu", "must be one of identity, relu,"),
        ("train ok.csv -t y -o m.st --delimiter ab", 'one character, "tab" or "space", got "ab"'),
        ("train ok.csv -t y -o m.st --drop b", 'ok.csv: no column "b"'),
        ("train ok.csv -t y -o m.st --drop y", '"y" is a target'),
        ("train ok.csv -t y -o m.st --drop a", 'no column beside the target "y"'),
        ("train --network ok.csv -t a,y -o m.st", 'no column beside the target "a", "y"'),
        (
            f"{NETWORK} --validation other.csv --validation-split 0.2",
            "--validation and --validation-split exclude each other",
        ),
        ("train ragged.csv -t y -o m.st", "ragged.csv, row 3: must have 2 cells"),
        (
            "train hole.csv -t b -o m.st",
            'hole.csv, row 2, column "b": the target is missing (in 3 rows)',
        ),
        (
            "train text.csv -t y -o m.st --task regression",
            'row 2, column "y": must be a number, got "u"',
        ),
        ("train x.npz -o m.st", 'x.npz: no target: an NPZ needs an array "y"'),
        ("train xy.npz -o m.st --drop a", "(--drop) is for the columns of a table"),
        ("predict none.st ok.csv", "none.st: no such file"),
        ("predict ok.csv ok.csv", "ok.csv: "),
        ("predict . ok.csv", ".: is a folder, not a model file"),
        (
            "predict plain.st three.csv",
            "knows no columns by name, so there must be its 2 inputs in their order",
        ),
        ("predict model.st ok.csv -o out.npy", "predictions are written as .csv, .parquet or .npz"),
        ("predict model.st ok.csv -o p.xlsx", "-o p.xlsx: predictions are written as .csv, .parq"),
        ("train large.csv -t y -o m.st", 'large.csv, row 2, column "a": must be at most 1e+150'),
        ("train large.csv -t a --drop y -o m.st", 'row 2, column "a": must be at most 1e+150 in'),
        ("train damaged.csv.gz -t y -o m.st", "damaged.csv.gz: not a whole gzip file"),
        ("train bare.csv -t kind -o m.st", 'has "5.1", "u"; if its first line is data: header=Fal'),
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
        ("evaluate model.st slip.csv", 'row 3, column "a": must be a number'),
        ("evaluate model.st ok.csv -t q", 'ok.csv: no column "q"'),
        ("info none.st", "none.st: no such file"),
    ],
)
def test_bad_use(here, run, command, message):
    (here / "ok.csv").write_text("a,y\n1,0\n2,1\n3,0\n4,1\n")
    (here / "ragged.csv").write_text("a,y\n1,0\n2\n")
    (here / "hole.csv").write_text("a,y,b\n1,0,\n2,,\n3,1,-\n")
    (here / "text.csv").write_text("b,y\n1,u\n2,v\n3,w\n")
    (here / "slip.csv").write_text("a,y\n1,0\n4O,1\n")
    (here / "other.csv").write_text("a,y\n1,7\n")
    (here / "minus.csv").write_text("b,a,y\n0,u,2\n1,v,1.5\n1,u,-1\n0,v,3\n")
    (here / "three.csv").write_text("a,y,z\n1,0,0\n2,1,1\n3,2,0\n")
    (here / "large.csv").write_text("a,b,y\n1.7e308,1,0\n-1.7e308,2,1\n5,3,0\n")
    (here / "bare.csv").write_text("5.1,u\n4.9,v\n")
    damaged = bytearray(gzip.compress(b"a,y\n" + b"".join(b"%d,1\n" % i**3 for i in range(999))))
    damaged[len(damaged) // 2] ^= 0xFF
    (here / "damaged.csv.gz").write_bytes(damaged)
    np.savez("x.npz", X=np.ones((4, 2)))
    np.savez("xy.npz", X=np.ones((4, 2)), y=[0, 1, 0, 1])
    fastnn.Model([2, 2], seed=0).save("plain.st")
    if "model.st" in command:
        assert run(*TRAIN, "ok.csv", "-t", "y", "-o", "model.st", "-q", "--epochs", 1)[0] == 0
    before = sorted(os.listdir())
    status, out, err = run(*command.split())
    assert (status, out) == (2, "")
    assert err.startswith("fastnn: error: ") and message in err and err.count("\n") == 1
    assert sorted(os.listdir()) == before


@pytest.mark.filterwarnings("default:column 0 of X has values around")
def test_divergence_fails_and_keeps_the_old_model(here, run):
    slope(here / "data.csv")
    (here / "m.st").write_text("old")
    status, _, err = run(*TRAIN, "data.csv", "-t", "z", "-o", "m.st", "--learning-rate", 1e9, "-q")
    assert status == 1
    assert (
        err.startswith("fastnn: error: training diverged in epoch 1") and "--learning-rate" in err
    )
    assert (here / "m.st").read_text() == "old" and len(os.listdir()) == 2
    options = ("--optimizer", "lbfgs", "--scale", "none", "--task", "regression")
    (here / "data.csv").write_text("x,z\n" + "".join(f"{i}e34,{i}\n" for i in range(1, 40)))
    status, _, err = run(*TRAIN, "data.csv", "-t", "z", "-o", "m.st", "-q", *options)
    assert status == 1 and err.endswith("; try --l2, or another --scale\n")
    assert (here / "m.st").read_text() == "old"


def test_absent_extras_are_named(here, run, monkeypatch):
    for module in ("matplotlib", "pyarrow", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    status, out, err = run("demo")
    assert (status, out) == (1, "") and 'pip install "fastnn-cpu[demo]"' in err
    (here / "data.parquet").touch()
    status, _, err = run(*TRAIN, "data.parquet", "-t", "y", "-o", "m.st")
    assert status == 1 and 'pip install "fastnn-cpu[parquet]"' in err
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    flowers(here / "flowers.csv")
    status, _, err = run(*TRAIN, "flowers.csv", "-t", "kind", "-o", "m.st", "--plot", "p.png")
    assert status == 2 and '--plot needs matplotlib: pip install "fastnn-cpu[plot]"' in err


def test_what_may_not_be_read_or_written_is_bad_use(here, monkeypatch):
    with pytest.raises(BadUse, match=r"^x\.csv: no permission to read it$"):
        with reading("model.st", "model"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "x.csv")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(BadUse, match=r"^-o m\.st: no permission to write in \.$"):
        output.check_writable("m.st")


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_rows_that_overflow_have_no_class(here, run, command):
    fastnn.Model([3, 5, 2], seed=0).save("m.safetensors")
    X = np.array([[1, 2, 3], [-3e38, -3e38, -3e38], [1, 1, 1]], np.float32)
    np.savez("rows.npz", X=X, y=np.array([0, 1, 0]))
    status, out, err = run(command, "m.safetensors", "rows.npz")
    assert status == 2 and not out
    assert err.startswith("fastnn: error: ") and "got NaN in row 1" in err
    assert err.count("\n") == 1


def test_predictions_go_into_a_pipe(here, run):
    flowers(here / "flowers.csv")
    assert run(*TRAIN, "flowers.csv", "-t", "kind", "-o", "m.st", "-q", "--epochs", 1)[0] == 0
    os.mkfifo("pipe")
    with subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        status, out, err = run("predict", "m.st", "flowers.csv", "-o", "pipe")
        assert (status, out, err) == (0, "", "fastnn: 120 predictions written to pipe\n")
        assert reader.stdout.read() == run("predict", "m.st", "flowers.csv")[1]
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


# --- measures and defaults


def test_classification_measures_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    P = np.eye(4)[[0, 0, 1, 1, 0, 1]] * 0.5 + 0.125
    result = scores.classification(labels, P, ["a", "b", "c", "d"])
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
    assert result["auc"] == pytest.approx((6 / 9 + 4 / 8 + 1 / 2) / 3)
    assert " -  " in metrics.scores_text(result)
    names = [f"c{i}" for i in range(26)]
    labels = np.arange(26)
    for n, told in ((25, " (rows: true class"), (26, ": 26 classes are too wide, --json holds it")):
        result = scores.classification(labels[:n], np.eye(n), names[:n])
        assert metrics.confusion_text(result).startswith(f"confusion matrix{told}")


def test_regression_measures_by_hand():
    result = scores.regression(np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 5.0]))
    assert result == {"rows": 3, "rmse": np.sqrt(5 / 3), "mae": 1.0, "r2": 1 - 5 / 14}
    assert scores.regression(np.ones(2), np.ones(2))["r2"] is None


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
    train = [*COMMAND, *TRAIN, "-", "-t", "kind", "-o", "m.st", "--epochs", "2", "-q"]
    with open("flowers.csv") as file:
        assert subprocess.run(train, stdin=file, check=True).returncode == 0
    predict = [*COMMAND, "predict", "m.st", "-"]
    with open("flowers.csv") as file:
        done = subprocess.run(predict, stdin=file, capture_output=True, text=True, check=True)
    assert len(rows_of(done.stdout)) == 121 and done.stderr == ""
    import fastnn.__main__  # of whoever imports every module: no command runs

    assert fastnn.__main__.main is main
    version = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"fastnn {fastnn.__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
def test_a_reader_that_breaks_off_is_no_error(here):
    lines = ["a,y"] + [f"{i},{i % 2}" for i in range(20_000)]
    (here / "data.csv").write_text("\n".join(lines))
    assert main("train --network data.csv -t y -o m.st -q --epochs 1 --hidden 2".split()) == 0
    script = f"'{sys.executable}' -m fastnn predict m.st data.csv | head -n 2"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2 and done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_keeps_the_network_beside_the_output(here):
    squares("train.npz")
    (here / "m.safetensors").write_text("old")
    command = [*COMMAND, *TRAIN, "train.npz", "-o", "m.safetensors", "--epochs", "1000000"]
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


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_keeps_the_best_so_far(here):
    rng = np.random.default_rng(0)
    np.savez("noise.npz", X=rng.normal(size=(60, 5)), y=rng.integers(0, 2, 60))
    command = [*COMMAND, *TRAIN, "noise.npz", "-o", "m.st", "--epochs", "1000000"]
    command += ["--early-stopping", "900000", "--checkpoint", "run.st", "--log", "log.csv"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in range(30):
        process.stderr.readline()
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=20)[1].splitlines()[-1]
    assert process.returncode == 130
    losses = [float(row[2]) for row in rows_of((here / "log.csv").read_text())[1:]]
    best = int(np.argmin(losses)) + 1
    assert f"as it was after its best epoch, {best}, is in m.partial.st, nothing was" in err
    assert err.endswith("; --resume run.st goes on")
    model = fastnn.load("m.partial.st")
    assert model.metadata["training"]["best epoch"] == best
    checkpoint = fastnn.load("run.st")
    assert best == len(losses) or (model.theta != checkpoint.theta).any()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_and_resumed_ends_with_the_same_bits(here):
    squares("train.npz")
    command = [*COMMAND, *TRAIN, "train.npz", "--epochs", "400", "--optimizer", "adamw", "-q"]
    command += ["--schedule", "one_cycle", "--dropout", "0.2", "--early-stopping", "400"]
    command += ["--class-weight", "balanced"]
    subprocess.run([*command, "-o", "whole.st"], check=True)
    command += ["-o", "m.st", "--resume", "run.st", "--log", "log.csv"]
    for epochs in (30, 100, 200):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not Path("log.csv").exists() or Path("log.csv").read_bytes().count(b"\n") <= epochs:
            assert process.poll() is None
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True)
    assert len(rows_of((here / "log.csv").read_text())) == 401
    hashes = [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("m.st", "whole.st")]
    assert hashes[0] == hashes[1]


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


def test_the_commands_of_the_page(here, run):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    page = (Path(__file__).parent.parent / "docs/command_line.md").read_text()
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    for language, block in blocks:
        if language == "python":
            exec(block, {})
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "fastnn" and run(*arguments)[0] == 0, line


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
    assert run(*TRAIN, "train.npz", "-o", "m.st", "-q", *arguments.split())[0] == 0
    result = json.loads(run("evaluate", "m.st", "test.npz", "--json")[1])
    assert result["accuracy"] > least
