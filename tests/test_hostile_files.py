"""Files that want to do harm: refused before they take memory, and never run or parsed as code."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from fuzz import odd, targets

import fastnn
from fastnn.tables.cells import Cells, Rule
from fastnn.tables.reading import limits

MODELS, ENSEMBLES = targets.CORPUS / "model", targets.CORPUS / "ensemble"


def with_text(path, name, change):
    """The file, with one of the JSON texts in its header changed."""
    header, body = odd.parted(path.read_bytes())
    inner = json.loads(header["__metadata__"][name])
    change(inner)
    header["__metadata__"][name] = json.dumps(inner)
    return odd.joined(header, body)


def refused(tmp_path, data, match):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(fastnn.ModelFileError, match=match) as caught:
        fastnn.load(path)
    assert len(str(caught.value).splitlines()) == 1


# --- columns, with which compiled code reckons


def in_inputs(**values):
    return lambda about: about["data"]["inputs"].update(values)


def in_column(index, **values):
    return lambda about: about["data"]["inputs"]["columns"][index].update(values)


def in_target(**values):
    return lambda about: about["data"]["target"].update(values)


def shifted(by):
    """The features of a column begin where no memory is theirs, and the width is as before."""

    def change(about):
        columns = about["data"]["inputs"]["columns"]
        columns[0]["indicator"], columns[2]["indicator"] = by, -by

    return change


COLUMNS = {
    "indicator beyond": (shifted(10**6), "indicator must be bool, got 1000000"),
    "indicator below": (shifted(-1), "indicator must be bool, got -1"),
    "shift a text": (in_column(0, shift="x"), "shift must be float, got 'x'"),
    "shift infinite": (in_column(0, shift=10**400), "shift must be float"),
    "scale zero": (in_column(0, scale=0), "scale must be above 0"),
    "name a number": (in_column(1, name=5), "name must be str, got 5"),
    "categories of numbers": (in_column(1, categories=[1, 2, 3]), r"must be list\[str\]"),
    "decimal": (in_column(0, decimal="x"), "decimal a point or a comma"),
    "floor": (in_column(0, floor="x"), "floor must be float | None"),
    "field unknown": (in_column(0, kind="x"), "'kind' is no field"),
    "type unknown": (in_column(0, type="x"), "must describe the data: KeyError"),
    "part unknown": (
        lambda about: about["data"]["inputs"]["columns"][2]["parts"][0].update(name="x"),
        "parts must be of year, month",
    ),
    "missing": (in_inputs(missing="x"), "missing must be one of refuse, impute"),
    "notes": (in_inputs(notes=[1]), r"notes must be list\[str\]"),
    "kind unknown": (in_inputs(kind="x"), "must describe the data: KeyError"),
    "classes of numbers": (in_target(classes=[0, 1]), r"classes must be list\[str\]"),
    "classes alike": (in_target(classes=["a", "a"]), "two at least, and distinct"),
    "header": (lambda about: about["data"].update(header=1), "header must be bool"),
    "targets of two kinds": (
        lambda about: about["data"].update(
            target=[about["data"]["target"], {"task": "regression", "name": "z"}]
        ),
        "targets must be amounts, or classes",
    ),
    "version a text": (lambda about: about["data"].update(version="1"), "must describe the data"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_are_none(name, tmp_path):
    change, match = COLUMNS[name]
    refused(tmp_path, with_text(MODELS / "columns.safetensors", "metadata", change), match)


ARRAYS = {
    "indicated beyond": ({"indicated": [10**6]}, "indicated and logged must be of the 3 numbers"),
    "indicated below": ({"indicated": [-1]}, r"indicated must be list\[int\]"),
    "logged without floors": ({"logged": [0]}, "floors must be one for each"),
    "shape huge": ({"shape": [2**62, 2**62]}, "dimension"),
    "shape a text": ({"shape": "3"}, "shape must be tuple"),
    "scale": ({"scale": [1, 1, 0]}, "scale must be above 0"),
    "shift short": ({"shift": [1, 1]}, "broadcast"),
    "smooth": ({"smooth": 1}, "smooth must be bool"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_none(name, tmp_path):
    values, match = ARRAYS[name]
    data = with_text(MODELS / "amounts.safetensors", "metadata", in_inputs(**values))
    refused(tmp_path, data, match)


def test_amounts_that_are_none(tmp_path):
    for values, match in (
        ({"scale": 0}, "scale and smear must be above 0"),
        ({"low": 1.0}, "low and high must be two numbers, or none"),
    ):
        data = with_text(MODELS / "amounts.safetensors", "metadata", in_target(**values))
        refused(tmp_path, data, match)


def test_rules_write_to_their_features_alone():
    for rule in (
        Rule("a", "number", 1, indicator=True),
        Rule("a", "number", -1),
        Rule("a", "one_hot", 0, {"u": 0, "v": 2}),
        Rule("a", "code", 2, {"u": 0}),
    ):
        with pytest.raises(ValueError, match="a rule must be of the 2 features"):
            Cells([rule], 2, "float32", True)
    assert Cells([Rule("a", "code", 2)], 2, "float32", True)({"a": "u"}) is None


# --- ensembles


def in_about(**values):
    return lambda about: about.update(values)


ABOUT = {
    "dtype parsed": (
        in_about(classes={"dtype": ",float32", "values": ["a", "b"]}),
        "classes must be of a dtype",
    ),
    "dtype of code": (
        in_about(classes={"dtype": "__import__('os')", "values": ["a", "b"]}),
        "classes must be of a dtype",
    ),
    "classes too few": (in_about(classes={"dtype": "<U3", "values": ["a"]}), "be a list of 2"),
    "classes of lists": (
        in_about(classes={"dtype": "|O", "values": [[], []]}),
        "classes must be numbers, booleans or text",
    ),
    "classes too large": (
        in_about(classes={"dtype": "|i1", "values": [0, 10**9]}),
        "out of bounds",
    ),
    "estimator unknown": (in_about(estimator="os"), "KeyError"),
    "estimator of the other kind": (in_about(estimator="TabularRegressor"), "target of regression"),
    "settings unknown": (in_about(pack={"name": "Value"}), "settings must be fastnn's own"),
    "pack none": (in_about(pack=None), "pack must be one"),
    "pack deep": (
        lambda about: about.update(pack=json.loads("[" * 60 + "]" * 60)),
        "within each other 50 deep",
    ),
    "pack very deep": (
        lambda about: about.update(pack=json.loads("[" * 900 + "]" * 900)),
        "within each other 50 deep|JSON",
    ),
    "spread too many": (in_about(n_spread=2), "n_spread must be below 2"),
    "spread negative": (in_about(n_spread=-1), "n_spread must be below 2"),
    "spread a text": (in_about(n_spread="1"), "n_spread must be of type int"),
    "temperature": (in_about(calibration={"smoothing": 0, "temperature": 0}), "above 0"),
    "temperature infinite": (
        in_about(calibration={"smoothing": 0, "temperature": 1e999}),
        "must be JSON",
    ),
    "scores": (in_about(scores={"a": "1"}), "must be of type float"),
    "named": (in_about(named=1), "named must be of type bool"),
}


@pytest.mark.parametrize("name", ABOUT)
def test_estimators_that_are_none(name, tmp_path):
    change, match = ABOUT[name]
    refused(tmp_path, with_text(ENSEMBLES / "classifier.safetensors", "about", change), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda told: told["networks"][0].update(sizes=[8, 10**9, 2]), "of member 0, is too small"),
        (lambda told: told.update(networks={}), "networks must be a list of objects"),
        (lambda told: told.update(members=[]), "members must be a list with a number for each"),
        (lambda told: told.update(members=[0] * 99), "members must be a list with a number"),
        (lambda told: told.update(members=[0, 1]), "members must be numbers of the 1 networks"),
    ],
)
def test_networks_of_an_ensemble_that_are_none(change, match, tmp_path):
    refused(tmp_path, with_text(ENSEMBLES / "classifier.safetensors", "networks", change), match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
@pytest.mark.parametrize("tensor", ["weights", "unseen.members", "unseen.fold", "unseen.score"])
def test_numbers_of_an_ensemble_that_are_none(tensor, value, tmp_path):
    header, body = odd.parted((ENSEMBLES / "classifier.safetensors").read_bytes())
    begin = header[tensor]["data_offsets"][0]
    body = body[:begin] + np.float64(value).tobytes() + body[begin + 8 :]
    if value == -1 and tensor in ("unseen.members", "unseen.score"):
        return
    refused(tmp_path, odd.joined(header, body), "must")


@pytest.mark.parametrize(("more", "n_out", "fits"), [(0, 1, True), (1, 1, False), (0, 2, False)])
def test_networks_of_the_spread_go_with_the_columns(more, n_out, fits, tmp_path):
    model = fastnn.load(ENSEMBLES / "regressor.safetensors")
    width = model.columns_.width
    spread = fastnn.Model([width + more, n_out], output="identity", seed=0)
    model._ensemble.spread.append(spread.predictor())
    model.save(tmp_path / "saved")
    if fits:
        assert len(fastnn.load(tmp_path / "saved")._ensemble.spread) == 1
    else:
        told = f"networks of the spread must have {width} inputs and 1 output"
        refused(tmp_path, (tmp_path / "saved").read_bytes(), told)


# --- a pickle


class Harm:
    def __reduce__(self):
        return print, ("harm",)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("end", ["safetensors", "npz", "npy", "parquet", "onnx", "csv"])
def test_a_pickle_in_disguise_is_not_opened(end, protocol, tmp_path, capsys):
    if end in ("parquet", "onnx"):
        pytest.importorskip({"parquet": "pyarrow"}.get(end, end))
    path = tmp_path / f"m.{end}"
    path.write_bytes(pickle.dumps(Harm(), protocol))
    read = {"safetensors": fastnn.load, "onnx": fastnn.onnx.load}.get(end, fastnn.tables.read)
    with pytest.raises((fastnn.ModelFileError, fastnn.TableError)):
        read(path)
    assert "harm" not in capsys.readouterr().out


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array, **header):
    """NPY's bytes; header: what it says instead."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    raw = buffer.getvalue()
    if not header:
        return raw
    n = int.from_bytes(raw[8:10], "little")
    told = eval(raw[10 : 10 + n]) | header  # NumPy's own, from above
    text = (repr(told) + "\n").encode()
    return raw[:8] + len(text).to_bytes(2, "little") + text + raw[10 + n :]


@pytest.mark.parametrize("name", ["t.npz", "t.npy"])
def test_objects_are_not_unpickled(name, tmp_path, capsys):
    data = npy(np.array([[Harm(), 1]], object))
    (tmp_path / name).write_bytes(zipped(X=data) if name.endswith("z") else data)
    with pytest.raises(fastnn.TableError, match="must hold numbers or text, got Python objects"):
        fastnn.tables.read(tmp_path / name)
    assert "harm" not in capsys.readouterr().out


def test_cells_that_would_command_a_terminal(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\x1b[2J\x0c\u2028b,a\x1b[2J\x0c\u2028b\n1,2\n")
    with pytest.raises(fastnn.TableError) as caught:
        fastnn.tables.read(path)
    assert str(caught.value).endswith(r'two columns are called "a\x1b[2J\x0c\u2028b"')
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert str(fastnn.tables.TableWarning("u\nv")) == r"u\nv"


# --- what is small and unpacks to much


def test_the_memory_there_is():
    assert 2**28 < limits.memory() <= 2**63


def test_the_memory_there_is_where_the_system_tells_little(monkeypatch, tmp_path):
    """As on Windows, which has neither the module nor the call; with a container's limit."""
    monkeypatch.delattr(os, "sysconf", raising=False)
    monkeypatch.setitem(sys.modules, "resource", None)
    found = importlib.util.spec_from_file_location("limits_anew", limits.__file__)
    anew = importlib.util.module_from_spec(found)
    found.loader.exec_module(anew)
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("4096\n")
    for name, most in (("absent", 2**63), ("max", 2**63), ("limit", 4096)):
        anew.CGROUPS = (str(tmp_path / name),)
        assert anew.memory() == most


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(limits, "memory", lambda: 2**24)


X = np.zeros((4, 3))
HUGE = {
    "shape": npy(X, shape=(10**12, 3)),
    "shape beyond 2^63": npy(X, shape=(10**12, 10**12)),
    "shape negative": npy(X, shape=(-1, 3)),
    "dtype parsed": npy(X, descr=",float32"),
    "dtype of text": npy(X, descr="<U1000000000"),
    "short": npy(X)[:-1],
    "long": npy(X) + b"\0",
    "version": npy(X).replace(b"NUMPY\1", b"NUMPY\3"),
    "header": npy(X, shape=tuple(range(4000))),
}


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("end", ["npz", "npy"])
def test_arrays_that_say_that_they_are_others(name, end, tmp_path):
    path = tmp_path / f"t.{end}"
    path.write_bytes(zipped(X=HUGE[name]) if end == "npz" else HUGE[name])
    with pytest.raises(fastnn.TableError) as caught:
        fastnn.tables.read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_zip_bomb_is_refused_by_its_size(tmp_path, little):
    path = tmp_path / "t.npz"
    path.write_bytes(zipped(X=npy(np.zeros((2**20, 2)))))
    assert path.stat().st_size < 2**16
    with pytest.raises(fastnn.TableError, match="at most 8,388,608 bytes, half of the memory"):
        fastnn.tables.read(path)


def test_a_zip_that_says_less_than_it_holds(tmp_path):
    data = bytearray(zipped(X=npy(np.zeros((2**20, 2)))))
    at = data.index(b"PK\1\2") + 24  # the size that the directory tells
    data[at : at + 4] = (200).to_bytes(4, "little")
    (tmp_path / "t.npz").write_bytes(data)
    with pytest.raises(fastnn.TableError, match=r"must be whole|Bad CRC"):
        fastnn.tables.read(tmp_path / "t.npz")


def test_a_zip_that_says_more_than_it_holds(tmp_path):
    X = npy(np.zeros((4, 3)), shape=(8, 3))
    data = bytearray(zipped(X=X))
    at = data.index(b"PK\1\2") + 24
    data[at : at + 4] = (len(X) + 96).to_bytes(4, "little")
    (tmp_path / "t.npz").write_bytes(data)
    with pytest.raises(fastnn.TableError, match="an array of 192 bytes must be whole, got 96"):
        fastnn.tables.read(tmp_path / "t.npz")


@pytest.mark.parametrize("line", [b"1,2\n", b"a", b'"u",2\n'])
def test_a_gzip_bomb_is_refused_by_its_size(line, tmp_path, little):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"x,y\n" + line * (2**24 // len(line)), 1))
    with pytest.raises(fastnn.TableError, match="half of the memory"):
        fastnn.tables.read(path)


def test_a_parquet_of_few_bytes_and_many_rows(tmp_path, little):
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    nothing = pyarrow.array([0.0]).dictionary_encode()
    rows = pyarrow.DictionaryArray.from_arrays(np.zeros(2**21, np.int8), nothing.dictionary)
    pyarrow.parquet.write_table(pyarrow.table({"x": rows}), path)
    assert path.stat().st_size < 2**18
    with pytest.raises(fastnn.TableError, match="half of the memory, got 16,777,216"):
        fastnn.tables.read(path)


@pytest.mark.parametrize("path", ["s3://bucket/t.parquet", "hdfs://host/t.parquet"])
def test_a_parquet_is_a_file(path):
    pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError):
        fastnn.tables.read(path)


# --- memory and time of what a header says

ENTRY = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
HEADERS = {  # the largest that are not refused by their size
    "entries": lambda n: "{" + ",".join(f'"{i}":{ENTRY}' for i in range(n // 7)) + "}",
    "texts": lambda n: '{"":[' + ",".join(['"ab"'] * n) + "]}",
    "numbers": lambda n: '{"":[' + ",".join(["1.5"] * n) + "]}",
    "objects": lambda n: '{"":[' + ",".join(['{"":0}'] * (n // 2)) + "]}",
    "lists": lambda n: '{"":[' + ",".join(["[]"] * (n // 2)) + "]}",
    "one text": lambda n: '{"":"' + "a" * (23 * n) + '"}',
    "one wide text": lambda n: '{"":"\U0001f600' + "a" * (23 * n) + '"}',
    "an escape": lambda n: '{"":"\\ud83d\\ude00' + "a" * (23 * n) + '"}',
}
PEAK = """
import resource, sys, time
import fastnn, fastnn.files.model
begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    fastnn.load(sys.argv[1])
except fastnn.ModelFileError:
    now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(1024 * (now - before), time.process_time() - begin)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in other units")
@pytest.mark.parametrize("name", HEADERS)
def test_memory_of_a_header(name, tmp_path):
    """At most 64 bytes for a byte of it, and 250 MB in all; beyond the largest it is refused."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(odd.joined(HEADERS[name](100_000).encode(), b""))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[0]) < 64 * path.stat().st_size + 2**23
    refused(tmp_path, odd.joined(HEADERS[name](1_100_000).encode(), b""), "at most|can hold")
