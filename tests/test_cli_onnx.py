"""fastnn export, fastnn import, and ONNX files where a model file is asked for."""

import csv
import io
import json
import sys
from contextlib import nullcontext

import numpy as np
import pytest

import fastnn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
RNG = np.random.default_rng(6)


@pytest.fixture(autouse=True)
def same_numbers():
    """Whichever tests run, each draws the same numbers."""
    global RNG
    RNG = np.random.default_rng(6)


def table(path, columns):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def people(n=200):
    """Numbers (one far from 0, one with gaps) and words (one with gaps)."""
    year, size = RNG.integers(1990, 2010, n), RNG.normal(3, 2, n).round(3)
    colour = RNG.choice(["red", "blue", ""], n)
    kind = np.where((size > 3) ^ (colour == "red"), "a b", "c")
    gaps = [x if RNG.random() > 0.1 else "" for x in size]
    return {"year": year, "size": gaps, "colour": colour, "kind": kind, "z": year * 3.0 + size}


def predicted(text):
    """The columns of predictions in CSV."""
    header, *rows = csv.reader(io.StringIO(text))
    return dict(zip(header, np.array(rows).T, strict=True))


def runtime(path, inputs):
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def as_numbers(cells):
    return np.array([float(x) if x != "" else np.nan for x in cells])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_with_text(here, run, dtype):
    columns = people()
    table("people.csv", columns)
    train = "train --network people.csv -t kind --drop z -o m.st --epochs 5 --hidden 8"
    train += " --missing impute"
    assert run(f"{train} --dtype {dtype}")[0] == 0
    status, out, err = run("export m.st m.onnx")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "written     m.onnx",
        "input       year (n, 1) float64",
        "input       size (n, 1) float64",
        "input       colour (n, 1) string",
        f"output      f (n, 2) {dtype}",
        "output      label (n) string",
    ]
    want = predicted(run("predict m.st people.csv")[1])
    got = runtime(
        "m.onnx",
        {
            "year": as_numbers(columns["year"])[:, None],
            "size": as_numbers(columns["size"])[:, None],
            "colour": columns["colour"].astype(object)[:, None],
        },
    )
    assert (got["label"] == want["prediction"]).all()
    P = np.stack([want["P(a b)"], want["P(c)"]], 1).astype(float)
    assert abs(got["f"] - P).max() < 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_table_of_numbers_and_an_amount_in_its_unit(here, run, dtype):
    columns = people()
    table("people.csv", columns)
    train = "train --network people.csv -t z --drop kind,colour -o m.st --epochs 5 --hidden 8"
    train += " --missing impute"
    assert run(f"{train} --dtype {dtype}")[0] == 0
    status, out, _ = run("export m.st m.onnx")
    assert status == 0 and "input       X (n, 2) float64" in out and "columns     year, size" in out
    want = predicted(run("predict m.st people.csv")[1])["prediction"].astype(float)
    X = np.stack([as_numbers(columns[name]) for name in ("year", "size")], 1)
    f = runtime("m.onnx", {"X": X})["f"]
    assert f.dtype == dtype and (abs(f[:, 0] - want) <= 1e-6 * abs(want)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", [True, False])
def test_every_kind_of_column_is_in_the_graph(here, dtype, text):
    """Robust scaling, indicators, codes, orders, clamped amounts."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    n = 60
    gaps, whole = RNG.normal(3, 2, n), RNG.lognormal(size=n)
    gaps[::5] = np.nan
    columns = {"whole": whole, "gaps": gaps, "more": gaps[::-1].copy()}
    if text:
        columns["two"] = RNG.choice(["no", "yes"], n)
        columns["colour"] = RNG.choice(["red", "blue", "green", ""], n)
        columns["size"] = RNG.choice(["S", "M", "L", ""], n)
    how = {"missing": "indicate", "scaling": "robust", "categories": "codes", "clamp": True}
    if text:
        how["ordered"] = {"size": ["S", "M", "L"]}
    learned = fastnn.tables.learn(columns, whole + 1, **how)
    model = fastnn.Model([None, None], columns=learned, dtype=dtype, seed=0)
    model.theta[:] *= 15  # beyond the range of y
    fastnn.onnx.export(model, "m.onnx")
    later = {name: np.concatenate([cells, cells[:2]]) for name, cells in columns.items()}
    later["whole"][-1] = 1e12
    if text:
        later["two"][-1] = later["colour"][-1] = later["size"][-1] = "?!"
        kinds = {"f": "float64", "U": object}
        fed = {k: v.astype(kinds[v.dtype.kind])[:, None] for k, v in later.items()}
    else:
        fed = {"X": np.stack([*later.values()], 1)}
    with pytest.warns(UserWarning) if text else nullcontext():
        want = model.predict(later)
    assert want.min() == whole.min() + 1 or want.max() == whole.max() + 1  # clamped
    got = runtime("m.onnx", fed)["f"]
    assert abs(got[:, 0] - want).max() < (2e-4 if dtype == "float32" else 1e-9)
    arrays = np.stack([whole, gaps], 1)
    learned = fastnn.tables.learn(arrays, whole, missing="indicate", scaling="robust")
    model = fastnn.Model([None, None], columns=learned, dtype=dtype, seed=0)
    fastnn.onnx.export(model, "arrays.onnx")
    got = runtime("arrays.onnx", {"X": arrays.astype(dtype)})["f"]
    assert abs(got[:, 0] - model.predict(arrays)).max() < 1e-5


def test_dates_and_markers_of_missing_cells(here):
    """A date is microseconds; -999 and "none" are missing."""
    t = np.datetime64("2019-12-25T13:00", "us") + np.arange(40) * np.timedelta64(31, "h")
    t[7] = np.datetime64("NaT", "us")
    columns = {"x": np.where(np.arange(40) % 9, np.arange(40.0) % 7, -999), "day": t}
    columns["word"] = np.array(["a", "none", "b", ""], object)[np.arange(40) % 4]
    y = np.arange(40.0)
    for categories in ("one_hot", "codes"):
        how = {"missing_values": [-999, "none"], "missing": "indicate", "categories": categories}
        learned = fastnn.tables.learn(columns, y, **how)
        model = fastnn.Model([None, None], columns=learned, dtype="float64", seed=0)
        fastnn.onnx.export(model, "m.onnx")
        fed = {"x": columns["x"], "day": t.astype(np.int64), "word": columns["word"]}
        got = runtime("m.onnx", {name: cells[:, None] for name, cells in fed.items()})["f"]
        np.testing.assert_allclose(got[:, 0], model.predict(columns), rtol=1e-12)


def test_images(here, run):
    X, y = RNG.integers(0, 255, (100, 8, 8), dtype=np.uint8), RNG.integers(0, 3, 100)
    np.savez("d.npz", X=X, y=y)
    assert run("train --network d.npz -o m.st --epochs 3 --hidden 8")[0] == 0
    status, out, _ = run("export m.st m.onnx")
    assert status == 0 and "input       X (n, 8, 8) float32" in out
    want = predicted(run("predict m.st d.npz")[1])
    got = runtime("m.onnx", {"X": X.astype(np.float32)})
    assert (got["label"].astype(str) == want["prediction"]).all()
    P = np.stack([want[f"P({k})"] for k in range(3)], 1).astype(float)
    assert abs(got["f"] - P).max() < 1e-6


def test_several_targets(here, run):
    columns = people()
    columns["w"] = -columns["z"] + 7
    table("people.csv", columns)
    drop = "--drop kind,colour,size"
    assert run(f"train --network people.csv -t z,w {drop} -o m.st --epochs 3 --hidden 8")[0] == 0
    assert run("export m.st m.onnx")[0] == 0
    want = predicted(run("predict m.st people.csv")[1])
    f = runtime("m.onnx", {"X": as_numbers(columns["year"])[:, None]})["f"]
    for k, name in enumerate(["z", "w"]):
        w = want[name].astype(float)
        assert (abs(f[:, k] - w) <= 1e-6 * np.maximum(1, abs(w))).all()


def test_an_export_serves_like_its_model(here, run):
    table("people.csv", people())
    train = "train --network people.csv -t kind --missing impute -o m.st --epochs 3 --hidden 8"
    assert run(train)[0] == 0
    assert run("export m.st m.onnx")[0] == 0
    for command in ("predict {} people.csv", "evaluate {} people.csv"):
        ours, theirs = (run(command.format(name)) for name in ("m.st", "m.onnx"))
        assert ours == theirs and ours[0] == 0
    ours, theirs = (json.loads(run(f"info {name} --json")[1]) for name in ("m.st", "m.onnx"))
    assert theirs == ours | {"bits_version": None}  # of how it was trained the graph knows nothing
    assert run("import m.onnx back.st")[0] == 0
    back, model = fastnn.load("back.st"), fastnn.load("m.st")
    assert (back.theta == model.theta).all() and back.metadata == model.metadata


def foreign(path, output="softmax", n_out=3, classes=None):
    """What other libraries export: no property of ours."""
    model = fastnn.Model([3, 5, n_out], "tanh", output, seed=1)
    if classes:
        model.metadata["classes"] = classes
    fastnn.onnx.export(model, path)
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    return model


def test_a_file_of_others(here, run):
    X = RNG.normal(size=(20, 3)).astype(np.float32)
    model = foreign("net.onnx", classes=["x", "y", "z"])
    names = np.array(["x", "y", "z"])[model.predict(X)]
    table("X.csv", dict(zip("abc", X.T, strict=True)))
    table("Xy.csv", {**dict(zip("abc", X.T, strict=True)), "kind": names})
    np.save("X.npy", X)
    P = model.forward(X)
    for data in ("X.csv", "X.npy"):
        status, out, _ = run(f"predict net.onnx {data}")
        columns = predicted(out)
        assert status == 0 and (columns["prediction"] == names).all()
        assert abs(columns["P(y)"].astype(float) - P[:, 1]).max() < 1e-6
    status, out, _ = run("evaluate net.onnx Xy.csv -t kind --json")
    assert status == 0 and json.loads(out)["accuracy"] == 1
    status, out, err = run("predict net.onnx Xy.csv")
    assert status == 2 and "there must be its 3 inputs in their order and nothing else" in err
    status, out, _ = run("info net.onnx")
    assert status == 0 and "3 columns in their order, or arrays" in out and '"x", "y", "z"' in out
    status, out, _ = run("import net.onnx net.st")
    assert status == 0 and "3-5-3, tanh hidden units, softmax output" in out
    assert run("predict net.st X.csv") == run("predict net.onnx X.csv")


@pytest.mark.parametrize(
    "output, n_out, header",
    [
        ("sigmoid", 1, ["prediction", "P(0)", "P(1)"]),
        ("sigmoid", 2, ["y1", "y2", "P(y1=1)", "P(y2=1)"]),
        ("identity", 1, ["prediction"]),
        ("identity", 2, ["y1", "y2"]),
    ],
)
def test_outputs_of_other_kinds(here, run, output, n_out, header):
    model = foreign("net.onnx", output, n_out)
    X = RNG.normal(size=(20, 3)).astype(np.float32)
    np.save("X.npy", X)
    columns = predicted(run("predict net.onnx X.npy")[1])
    assert list(columns) == header
    got = np.stack([columns[name] for name in header[-n_out:]], 1).astype(float)
    assert abs(got - model.forward(X)).max() < 1e-6


def test_import_names_the_output(here, run):
    foreign("net.onnx", "identity")
    assert run("import net.onnx net.st --output softmax --loss focal")[0] == 0
    model = fastnn.load("net.st")
    assert (model.output, model.loss) == ("softmax", "focal")
    assert run("import net.onnx net.st --output softmax --loss hinge")[0] == 2


@pytest.mark.parametrize(
    "text, message",
    [
        ("export none.st m.onnx", "none.st: no such file"),
        ("export m.st no/m.onnx", "FILE no/m.onnx: no such folder: no"),
        ("import none.onnx m.st", "none.onnx: no such file"),
        ("import X.npy m.st", "X.npy: must be an ONNX model, and whole"),
        ("import net.onnx no/m.st", "model no/m.st: no such folder: no"),
        ("import net.onnx m2.st --output nothing", "invalid choice: 'nothing'"),
        ("import other.onnx m2.st", "other.onnx: node 'n' (Softsign): fastnn has no such operator"),
        (
            "predict other.onnx X.npy",
            "other.onnx: node 'n' (Softsign): fastnn has no such operator",
        ),
        ("predict none.onnx X.npy", "none.onnx: no such file"),
        ("info X.onnx", "X.onnx: must be an ONNX model, and whole"),
    ],
)
def test_bad_use(here, run, text, message):
    foreign("net.onnx")
    fastnn.Model([3, 2]).save("m.st")
    np.save("X.npy", np.ones((2, 3)))
    (here / "X.onnx").write_bytes(b"abc")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Softsign", ["x"], ["y"], "n")],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 3])],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    onnx.save(helper.make_model(graph), "other.onnx")
    status, out, err = run(text)
    assert (status, out) == (2, "") and message in err and len(err.splitlines()) == 1
    assert not (here / "m2.st").exists()


def test_a_missing_onnx_is_named(here, run, monkeypatch):
    fastnn.Model([3, 2]).save("m.st")
    (here / "m.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    for text in ("export m.st new.onnx", "import m.onnx new.st", "info m.onnx"):
        status, _, err = run(text)
        assert status == 1 and 'pip install "fastnn-cpu[onnx]"' in err
