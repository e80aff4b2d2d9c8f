"""RowPredictor: rows of raw cells have the answers that tables of each alone have, bit for bit."""

from __future__ import annotations

import datetime as dt
import pickle
import threading
import warnings
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pytest

import fastnn
from fastnn.tables import TableError, TableWarning, learn
from fastnn.tables.columns import Columns
from fastnn.tables.inputs import TableInputs

#: Cells of all sorts, which any column may meet.
CELLS = [
    *(None, float("nan"), "", " ", "?", "NA", "none", "-", "NaN", "missing", "'Ulm'", '="7"'),
    *(0, 1, -1, 7, 20200229, 2**60, 2**53 + 1, True, False, 0.0, -0.0, 0.5, 1.0, 3.0, 1e300),
    *(np.int64(3), np.float32(0.1), np.float64(2), np.bool_(True), np.uint8(4), Decimal("2.5")),
    *("1", "1.0", " 1 ", "01", "1_000", "1,013", "1.013", "1,5", "$3", "12 %", "(5)", "5-", "1e3"),
    *("Ulm", "ulm", " Ulm", "ULM", "Rom", "yes", "no", "Y", "t", "F", "on", "small", "Large"),
    *("2020-02-29", "2020-02-30", "2020-02-29 13:45", "2020-02-29T13:45:10.5Z", "29.02.2020"),
    *("2/3/2021", "13/3/2021", "31 Jan 2020", "1969-12-31", "0001-01-01", "9999-12-31", "13:30"),
    *(dt.date(2020, 2, 29), dt.datetime(2021, 3, 1, 23, 59, 59, 999_999), dt.time(13, 30)),
    dt.datetime(2021, 3, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    *(np.datetime64("2021-03-01"), np.datetime64("NaT", "D"), np.timedelta64(3, "s")),
    np.str_("Ulm"),
    *(float("inf"), "inf", 10**400, b"Ulm", [1], object()),
]
DAYS = ["2020-02-29", "2021-12-31 06:00", "1969-07-20", None, "2024-01-01", "2023-05-05 12:30:15"]


def table_of(gaps):
    """Columns of every kind; gaps: whether cells are missing."""
    n = 24
    cycle = [*range(n)]
    table = {
        "number": [None if gaps and i % 5 == 0 else i * 0.7 for i in cycle],
        "comma": [f"{i},{i % 7}" for i in cycle],
        "tail": [float(2.0 ** (i % 12)) for i in cycle],
        "loose": [["n/k", "3", "1,5", "12"][i % 4] for i in cycle],
        "town": [["Ulm", "Rome", "none", None if gaps else "Oslo"][i % 4] for i in cycle],
        "two": [["small", "large"][i % 2] for i in cycle],
        "truth": [["yes", "no"][i // 2 % 2] for i in cycle],
        "code": [[1, 3, 0.5][i % 3] for i in cycle],
        "size": [["small", "middle", "large"][i // 3 % 3] for i in cycle],
        "day": [DAYS[i % 6] or ("2022-02-02" if not gaps else None) for i in cycle],
    }
    return table, [["low", "middle", "high"][i % 3] for i in cycle]


def rows_of(table):
    return [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]


def columns_of(missing, categories="one_hot", scaling="standard", **more):
    table, y = table_of(missing != "refuse")
    more |= {"ordered": {"size": ["small", "middle", "large"]}, "categorical": ["code"]}
    more |= {"numeric": ["loose"]}
    how = {"missing": missing, "categories": categories, "scaling": scaling}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        return learn(table, y, **how, **more)


def tried(call, *given, **how):
    """What a call gives as bytes, or the type of its error."""
    try:
        return call(*given, **how).tobytes()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        ({"missing": "indicate"}, "float32"),
        ({"missing": "impute", "categories": "codes", "scaling": "robust"}, "float64"),
        ({"missing": "refuse", "categories": "codes"}, "float32"),
        ({"missing": "impute", "missing_values": ["7", "Ulm", "2020-02-29", 0.5]}, "float32"),
        ({"missing": "impute", "missing_values": ["no", "yes"]}, "float32"),
    ],
    ids=str,
)
def test_every_cell_is_what_it_is_in_a_table(how, dtype):
    inputs = columns_of(**how).inputs
    for column in inputs.columns:
        one = Columns(TableInputs([column], inputs.missing, inputs.missing_values))
        features = fastnn.RowPredictor(one, lambda X: X, [column.name], None, dtype, None)
        for cell in CELLS:
            row = {column.name: cell}
            want = tried(one.encode, [row], dtype, warn_unknown=False)
            for given in ([row], [[cell]]):
                assert tried(features, given) == want, row


def test_plain_cells_need_no_table(monkeypatch):
    """Numbers as text, dates, unknown categories, missing cells: none of them makes a Table."""
    for missing_values in ((), ("7",)):
        columns = columns_of("indicate", missing_values=missing_values)
        answer = fastnn.Model([None, 5, None], seed=0, columns=columns).predictor(rows=True)
        table, _ = table_of(True)
        monkeypatch.setattr("fastnn.tables.frames.as_table", None)
        row = {name: cells[1] for name, cells in table.items()}
        text = {"number": "1e3", "town": "Atlantis", "size": None, "day": "31 Jan 2020"}
        typed = {"day": dt.datetime(2020, 1, 1), "code": np.int64(3), "tail": "?"}
        for one in (row, row | text, row | typed):
            assert np.isfinite(answer(one)).all()


@pytest.fixture(scope="module")
def trained():
    table, y = table_of(True)
    model = fastnn.Model([None, 5, None], seed=0, columns=columns_of("indicate"))
    model.fit(table, y, epochs=3)
    return model, rows_of(table)


def test_one_row_several_and_none(trained):
    model, rows = trained
    answer = model.predictor(rows=True)
    want = model.predict_proba(rows)
    assert answer.columns == model.columns.inputs.names
    assert answer.classes.tolist() == ["high", "low", "middle"]
    assert repr(answer).startswith('RowPredictor("number", "comma", "tail", ')
    for i, row in enumerate(rows):
        cells = [row[name] for name in answer.columns]
        assert answer(MappingProxyType(row)).tobytes() == want[i].tobytes()
        for one in (row, row | {"else": 1}, cells, tuple(cells), np.array(cells, object)):
            assert answer(one).tobytes() == want[i].tobytes()
        assert answer.predict(row) == model.predict([row])[0]
    in_order = [[row[name] for name in answer.columns] for row in rows]
    for many in (rows, tuple(rows), in_order, np.array(in_order, object)):
        assert answer(many).tobytes() == want.tobytes()
        assert (answer.predict(many) == model.predict(rows)).all()
    for none in ([], (), np.zeros((0, len(answer.columns)))):
        assert answer(none).shape == (0, 3) and answer(none).dtype == want.dtype
        assert answer.predict(none).shape == (0,)


def test_it_is_frozen_copied_and_called_by_threads(trained):
    model, rows = trained
    answer, want = model.predictor(rows=True), model.predict_proba(rows)
    again = pickle.loads(pickle.dumps(answer))
    table, y = table_of(True)
    model.fit(table, y, epochs=1)
    assert answer(rows).tobytes() == again(rows).tobytes() == want.tobytes()
    assert model.predict_proba(rows).tobytes() != want.tobytes()
    wrong = []

    def ask():
        for _ in range(50):
            wrong.extend(i for i, row in enumerate(rows) if (answer(row) != want[i]).any())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_rows_that_are_wrong(trained):
    model, rows = trained
    answer = model.predictor(rows=True)
    bad = [rows[0], rows[1] | {"number": "many"}]
    with pytest.raises(TableError, match='X, row 1, column "number": must be a number, got "many"'):
        answer(bad)
    with pytest.raises(TableError, match='X, row 0, column "number": must be a number, got "many"'):
        answer(bad[1])
    less = {name: cell for name, cell in rows[2].items() if name != "town"}
    with pytest.raises(TableError, match='row 2 must have "town", which the model reads; it has'):
        answer([*rows[:2], less])
    with pytest.raises(TableError, match=r"row 0 must be a dict, or the 10 cells .*, got 2 cells"):
        answer([1, 2])
    with pytest.raises(TableError, match=r"row 1 must be a dict, or the 10 cells .*, got 3"):
        answer([rows[0], 3])
    for other in ({1, 2}, 3, "row", None):
        with pytest.raises(TypeError, match="rows must be a dict or a sequence of cells"):
            answer(other)
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="got DataFrame; predict takes tables"):
        answer(pandas.DataFrame(rows))


def test_max_batch_and_threads(trained):
    model, rows = trained
    answer = model.predictor(rows=True, max_batch=3, n_threads=1)
    assert answer.max_batch == 3
    answer.warm_up()
    assert answer(rows[:3]).shape == (3, 3) and answer(rows[0]).shape == (3,)
    for refused in (answer, answer.predict, pickle.loads(pickle.dumps(answer))):
        with pytest.raises(ValueError, match=r"rows must be at most 3 \(max_batch\), got 4"):
            refused(rows[:4])
    for setting in ("max_batch", "n_threads"):
        with pytest.raises(ValueError, match=f"{setting} must be"):
            model.predictor(rows=True, **{setting: 0})


def test_amounts_and_several_targets():
    table, _ = table_of(True)
    rows = rows_of(table)
    rng = np.random.default_rng(0)
    ys = {
        "one": rng.normal(size=24),
        "two": {"a": rng.normal(size=24), "b": rng.normal(size=24)},
        "labels": {"p": ["x", "y"] * 12, "q": [True, False, False] * 8},
    }
    for y in ys.values():
        model = fastnn.Model([None, 4, None], seed=0)
        model.fit(table, y, epochs=2)
        answer = model.predictor(rows=True)
        assert answer.classes is None
        want = model.predict(rows) if model.columns.amounts else model.predict_proba(rows)
        assert answer(rows).tobytes() == want.tobytes()
        assert (answer(rows[3]) == want[3]).all()
        np.testing.assert_array_equal(answer.predict(rows), model.predict(rows))
        np.testing.assert_array_equal(answer.predict(rows[3]), model.predict(rows)[3])
        assert answer([]).shape == want[:0].shape
        assert answer.predict([]).shape == model.predict(rows)[:0].shape


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_two_classes(output):
    table, _ = table_of(True)
    rows = rows_of(table)
    model = fastnn.Model([None, 4, None], output=output, seed=0)
    model.fit(table, ["no", "yes"] * 12, epochs=2)
    answer = model.predictor(rows=True)
    assert answer(rows).tobytes() == model.predict_proba(rows).tobytes()
    assert (answer.predict(rows) == model.predict(rows)).all()


def test_arrays_and_plain_models():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2, 3)), np.arange(30) % 3
    X[::7, 0, 0] = np.nan
    learned = fastnn.Model([None, 4, None], seed=0)
    learned.fit(X, y, epochs=2)
    answer, want = learned.predictor(rows=True), learned.predict_proba(X)
    assert answer.columns is None and repr(answer) == "RowPredictor(6 numbers)"
    flat = X.reshape(30, 6)
    blanks = [[None if cell != cell else cell for cell in row] for row in flat.tolist()]
    for many in (X, flat, X.tolist(), flat.tolist(), blanks):
        assert answer(many).tobytes() == want.tobytes()
        assert answer(many[0]).tobytes() == want[0].tobytes()
    with pytest.raises(TypeError, match="rows must be 6 numbers each"):
        answer({"a": 1})
    plain = fastnn.Model([6, 4, 3], seed=0)
    answer, X = plain.predictor(rows=True), rng.normal(size=(5, 6))
    assert answer(X).tobytes() == plain.predict_proba(X).tobytes()
    assert answer(X.tolist()[0]).tobytes() == plain.predict_proba(X)[0].tobytes()
    assert (answer.predict(X) == plain.predict(X)).all() and answer([]).shape == (0, 3)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    named = fastnn.Model([2, 4, 3], seed=0)
    named.fit(frame, y, epochs=1)
    answer = named.predictor(rows=True)
    assert answer.columns == ["a", "b"]
    want = named.predict_proba(frame)
    assert answer(frame.to_dict("records")).tobytes() == want.tobytes()
    assert answer({"b": frame["b"][0], "a": frame["a"][0]}).tobytes() == want[0].tobytes()
    with pytest.raises(TableError, match='row 0 must have "a"'):
        answer({"b": 1})


@pytest.mark.parametrize("kind", ["classes", "amounts", "numbered"])
def test_ensembles(kind, tmp_path):
    table, y = table_of(True)
    del table["comma"]
    rows = rows_of(table)
    y = {"classes": y, "amounts": np.arange(24.0), "numbered": np.arange(24) % 2 * 5}[kind]
    pack = fastnn.tabular.Pack((fastnn.tabular.Recipe(hidden=(8,), epochs=2),), n_folds=2)
    estimator = fastnn.TabularRegressor if kind == "amounts" else fastnn.TabularClassifier
    model = estimator(recipe=pack, random_state=0, drop=["two"]).fit(table, y)
    model.save(tmp_path / "model.safetensors")
    for one in (model, fastnn.load(tmp_path / "model.safetensors")):
        answer = one.predictor(rows=True)
        want = one.predict(rows) if kind == "amounts" else one.predict_proba(rows)
        assert answer(rows).tobytes() == want.tobytes()
        assert answer(rows[3]).tobytes() == want[3].tobytes()
        assert answer([[*row.values()] for row in rows]).tobytes() == want.tobytes()
        assert (answer.predict(rows) == one.predict(rows)).all()
        assert answer.predict(rows[3]) == one.predict(rows)[3]
        assert pickle.loads(pickle.dumps(answer))(rows).tobytes() == want.tobytes()
        assert answer([]).shape == want[:0].shape and not len(answer.predict([]))
        few = one.predictor(rows=True, max_batch=2, n_threads=1)
        few.warm_up()
        with pytest.raises(ValueError, match="max_batch"):
            few(rows)
        with pytest.raises(ValueError, match="rows must be True"):
            one.predictor(rows=False)
