"""Files as people have them: what is found in their columns, and what is said about it."""

import datetime
import gzip
import json
import os
import re
import threading
import warnings

import numpy as np
import pytest

from fastnn.tables import Columns, TableError, TableWarning, categories, learn, read
from fastnn.tables.reading import delimited
from fastnn.tables.table import Moments, Numbers, Words
from fastnn.tables.words import moments, number

N = 60
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=N).round(2)
Y = np.arange(N) % 3 % 2
DAYS = np.datetime64("2019-11-03") + RNG.integers(0, 400, N)


def lines(cells, name="a", y=Y, between=","):
    """A file of one column and a target."""
    rows = [f"{cell}{between}{label}" for cell, label in zip(cells, y, strict=True)]
    return "\n".join([f"{name}{between}y", *rows]) + "\n"


def cycle(*cells, n=N):
    return [cells[i % len(cells)] for i in range(n)]


def day(pattern):
    parts = [dict(zip("ymd", str(one).split("-"), strict=True)) for one in DAYS]
    return [pattern.format(**one) for one in parts]


@pytest.fixture
def learned(tmp_path):
    """What is learned from a file with a target y, and its encoded rows."""

    def of(text, target="y", reading=(), **settings):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        table = read(path, **dict(reading))
        inputs = [name for name in table.columns if name != target]
        columns = learn(table.select(inputs), table.select([target]), **settings)
        assert Columns.from_dict(json.loads(json.dumps(columns.to_dict()))) == columns
        return columns, columns.encode(table, "float64")

    return of


# --- numbers however they are written

NUMBERS = {
    "plain": (lambda v: f"{v:.2f}", ""),
    "percent": (lambda v: f"{v:.2f}%", "numbers such as"),
    "percent after a blank": (lambda v: f"{v:.2f} %", "numbers such as"),
    "currency": (lambda v: f"${v:.2f}", "numbers such as"),
    "currency, its code": (lambda v: f"{v:.2f} EUR", "numbers such as"),
    "currency, a symbol with blank": (lambda v: f"€ {v:.2f}", "numbers such as"),
    "Unicode minus": (lambda v: f"{v:.2f}".replace("-", "\u2212"), "numbers such as"),
    "accountants' brackets": (lambda v: f"({-v:.2f})" if v < 0 else f"{v:.2f}", "numbers such as"),
    "quoted decimal comma": (lambda v: f'"{v:.2f}"'.replace(".", ","), "numbers such as"),
    "exponent": (lambda v: f"{v:.2e}", ""),
}


@pytest.mark.parametrize("way", NUMBERS)
def test_numbers_in_their_spellings(learned, way):
    spell, note = NUMBERS[way]
    columns, X = learned(lines(map(spell, NORMAL)), scaling="none")
    np.testing.assert_array_equal(X, NORMAL[:, None])
    notes = columns.inputs.notes
    assert (notes == []) if not note else notes[0].startswith(f"a: {note}")


@pytest.mark.parametrize("gap", [",", " ", "\u202f", "\u00a0", "'", "\u2019"])
def test_thousands_apart(learned, gap):
    values = 1000 * np.arange(N) - 5000.5
    cells = [f'"{v:,.1f}"'.replace(",", gap) for v in values]
    np.testing.assert_array_equal(learned(lines(cells), scaling="none")[1], values[:, None])


def test_a_comma_that_may_be_either_is_what_other_columns_say(learned):
    text = "a;b;y\n" + "".join(f"{i % 9 + 1},{i + 100};{i},5;{i % 2}\n" for i in range(N))
    _, X = learned(text, scaling="none")
    np.testing.assert_allclose(X[:, 0], [i % 9 + 1 + (i + 100) / 1000 for i in range(N)])
    text = "a;b;y\n" + "".join(f"{i % 9 + 1},{i + 100};{i}.5;{i % 2}\n" for i in range(N))
    columns, X = learned(text, scaling="none")
    np.testing.assert_allclose(X[:, 0], [1000 * (i % 9 + 1) + i + 100 for i in range(N)])
    assert columns.inputs.notes[0].endswith("a comma may also be before the fraction")


def test_decimal_commas_and_points_later(learned):
    columns, _ = learned(lines([f"{i},5" for i in range(N)], between=";"), scaling="none")
    later = columns.encode({"a": ["1,25", "1.5", "1.000,5", "7"]})
    np.testing.assert_array_equal(later[:, 0], [1.25, 1.5, 1000.5, 7])


@pytest.mark.parametrize(
    ("word", "points", "commas"),
    [
        ("1,013", 1013, 1.013),
        ("1.013", 1.013, 1013),
        ("1.013,25", None, 1013.25),
        ("1,013.25", 1013.25, 1013.25),
        ("0,143", None, 0.143),
        ("-$5", -5, -5),
        ("$-5", -5, -5),
        ("1 013 kr", 1013, 1013),
        ("0x1F", None, None),
        ("1_000", None, None),
        ("1,00,000", None, None),
        ("(5", None, None),
        ("12 kg", None, None),
        ("A12", None, None),
    ],
)
def test_what_a_word_is_as_a_number(word, points, commas):
    for decimal, want in ((".", points), (",", commas)):
        if want is None:
            with pytest.raises(ValueError):
                number(word, decimal)
        else:
            assert number(word, decimal) == want


def test_hexadecimal_stays_text(learned):
    columns, X = learned(lines(cycle("0x1F", "0x2A", "0xFF")))
    assert columns.inputs.columns[0].categories == ["0x1F", "0x2A", "0xFF"] and X.shape[1] == 3


# --- dates and times

ISO = [str(one) for one in DAYS]
DATES = {
    "ISO": ISO,
    "ISO with slashes": day("{y}/{m}/{d}"),
    "German": day("{d}.{m}.{y}"),
    "English": day("{d}/{m}/{y}"),
    "American": day("{m}/{d}/{y}"),
    "month by name": [one.astype(object).strftime("%d-%b-%Y") for one in DAYS],
    "month in words": [one.astype(object).strftime("%B %d, %Y") for one in DAYS],
    "two digits": [one.astype(object).strftime("%m/%d/%y") for one in DAYS],
    "with weekday": [one.astype(object).strftime("%a, %d %b %Y") for one in DAYS],
}


@pytest.mark.parametrize("way", DATES)
def test_dates_become_their_parts(learned, way):
    columns, X = learned(lines([f'"{one}"' for one in DATES[way]]), scaling="none")
    dates = [one.astype(object) for one in DAYS]
    parts = [(d.year, d.month, d.day, d.weekday(), d.toordinal() - 719163) for d in dates]
    np.testing.assert_array_equal(X, parts)
    names = [part.name for part in columns.inputs.columns[0].parts]
    assert names == ["year", "month", "day", "weekday", "elapsed"]
    assert columns.inputs.notes[0].startswith("a: dates or times such as")


def test_times_have_hours_alone_and_constant_parts_are_none(learned):
    _, X = learned(lines([f"{i % 24}:{i:02d}" for i in range(N)]), scaling="none")
    np.testing.assert_allclose(X[:, 0], [i % 24 + i / 60 for i in range(N)])
    assert X.shape[1] == 1
    _, X = learned(lines([f"2020-01-0{i % 7 + 1} 12:00" for i in range(N)]), scaling="none")
    assert X.shape[1] == 3  # day, weekday, elapsed


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("2020-01-31T13:45:10Z", "2020-01-31T13:45:10"),
        ("2020-01-31 13:45:10.25+01:30", "2020-01-31T12:15:10.25"),
        ("2020-01-31 13:45:10.123456789", "2020-01-31T13:45:10.123456"),
        ("1/31/2020 1:45 pm", "2020-01-31T13:45"),
        ("31.12.1999 12:00 AM", "1999-12-31T00:00"),
        ("2020-02", "2020-02-01"),
        ("Feb 2020", "2020-02-01"),
        ("20200229", "2020-02-29"),
        ("3rd March 2021", "2021-03-03"),
        ("1/2/69", "1969-01-02"),
        ("1/2/68", "2068-01-02"),
        ("NA", "NaT"),
    ],
)
def test_what_a_word_is_as_a_moment(word, want):
    np.testing.assert_array_equal(moments([word])[0], np.array([want], "M8[us]"))


@pytest.mark.parametrize(
    "word",
    ["2020-13-01", "30.02.2020", "1.2.10", "4:3", "25:00", "13:00 pm", "0:30 am", "may", "x"],
)
def test_what_is_no_moment(word):
    with pytest.raises(ValueError):
        moments([word])


def test_dates_later_and_missing_ones(learned):
    columns, X = learned(lines([*DATES["English"][:-1], ""]), scaling="none")
    assert columns.inputs.columns[0].indicator and X[-1, -1] == 1 and X[:-1, -1].sum() == 0
    later = columns.encode({"a": ["2/1/2020", ""]})  # 2 January? no
    assert later[0, 1] == 1 and later[1, -1] == 1
    with pytest.raises(TableError, match='row 1, column "a": must be a date or time, got "soon"'):
        columns.encode({"a": ["2/1/2020", "soon"]})


def test_numbers_as_dates_where_asked(learned):
    text = lines([one.replace("-", "") for one in ISO])
    assert learned(text)[1].shape[1] == 1
    assert learned(text, dates=["a"])[1].shape[1] == 5
    with pytest.raises(TableError, match='row 3, column "a": must be a date or time, got "soon"'):
        learned(lines(cycle("2020-01-01", "soon")), dates=["a"])


# --- yes and no


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (("Yes", "no", "YES", "yes", "yes"), ["no", "yes"]),
        (("true", "False", "FALSE", "False", "true"), ["False", "true"]),
        (("T", "F"), ["F", "T"]),
        (("on", "off"), ["off", "on"]),
        (("y", "1", "n", "0.0", "y", "n"), ["n", "y"]),
    ],
)
def test_yes_and_no_however_they_are_spelled(learned, cells, names):
    columns, X = learned(lines(cycle(*cells)))
    assert columns.inputs.columns[0].categories == names
    yes = [name.lower() in ("yes", "true", "t", "on", "y", "1") for name in cycle(*cells)]
    np.testing.assert_array_equal(X[:, 1], yes)
    later = columns.encode({"a": ["Yes", "YES", "true", "True", "1.0", "t"]})
    np.testing.assert_array_equal(later, [[0, 1]] * 6)
    np.testing.assert_array_equal(columns.encode({"a": [True, False]}), [[0, 1], [1, 0]])


def test_categories_are_known_whatever_their_capitals(learned):
    columns, _ = learned(lines(cycle("Bern", "Ulm", "Rom")))
    np.testing.assert_array_equal(columns.encode({"a": ["BERN", "ulm"]}), [[1, 0, 0], [0, 0, 1]])
    columns, _ = learned(lines(cycle("a", "A", "b")))
    np.testing.assert_array_equal(columns.encode({"a": ["a", "A"]})[:, 0], [0, 1])


# --- what is missing

KNOWN = ["", "?", "NA", "N/A", "n/a", "na", "#N/A", "NaN", "-nan", "null", "NULL", "None"]
MORE = ["-", "--", ".", "nil", "(null)", "<NA>", r"\N", "#DIV/0!", "N.A.", "1.#QNAN", "missing"]


@pytest.mark.parametrize("word", [*KNOWN, *MORE, "unknown", "Unknown"])
def test_words_for_what_is_missing(learned, word):
    _, X = learned(lines(cycle("1.5", "2", word)), scaling="none", missing="indicate")
    np.testing.assert_array_equal(X[:3], [[1.5, 0], [2, 0], [1.75, 1]])
    dates = cycle("2020-01-05", "2021-03-06", word)
    np.testing.assert_array_equal(learned(lines(dates))[1][:3, -1], [0, 0, 1])


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (("NA", "DE", "FR"), ["DE", "FR", "NA"]),  # Namibia
        (("NA", "male", "female"), ["", "female", "male"]),
        (("None", "Brick", "Stone"), ["Brick", "None", "Stone"]),
        (("unknown", "yes", "maybe"), ["maybe", "unknown", "yes"]),
        (("n/a", "x", "y"), ["", "x", "y"]),
        (("-", "x", "y"), ["-", "x", "y"]),
    ],
)
def test_among_text_a_word_that_may_be_a_name_is_one(learned, cells, names):
    columns, X = learned(lines(cycle(*cells)))
    assert columns.inputs.columns[0].categories == names
    assert (X.sum(1) == 1).all()
    # alone, later, it is what it was
    np.testing.assert_array_equal(columns.encode({"a": [cells[0]]}), X[:1])


def test_words_that_the_user_names(learned):
    text = lines(cycle("1", "2", "x", "-999", "5"))
    _, X = learned(text, missing_values=["x", -999], scaling="none")
    np.testing.assert_array_equal(X[:5], [[1, 0], [2, 0], [2, 1], [2, 1], [5, 0]])
    columns, _ = learned(text, missing_values=["x", "-999"], scaling="none")
    later = columns.encode({"a": ["-999.0", "x", "3"]})
    np.testing.assert_array_equal(later, [[2, 1], [2, 1], [3, 0]])


def test_a_number_that_stands_for_none_is_warned_of(learned):
    text = lines(cycle("-999", *map(str, range(30))))
    with pytest.warns(TableWarning, match="-999 in 2 rows, far from the others, 0 to 29, is a num"):
        columns, X = learned(text, scaling="none")
    assert X.min() == -999 and "--missing-values=-999" in columns.inputs.notes[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned(lines(cycle("-9", "-5", "3", "9")))  # which is near the others
        learned(text, missing_values=[-999])


def test_missing_cells_are_handled_in_frames_and_arrays():
    import fastnn

    X = np.array([[1.0, np.nan], [2.0, 3.0], [4.0, 5.0]] * 10)
    for given in (X, {"a": X[:, 0], "b": X[:, 1]}):
        model = fastnn.Model([None, 4, None], seed=0)
        model.fit(given, Y[:30], epochs=1)
        assert model.sizes[0] == 3 and len(model.predict(given)) == 30
        assert "imputed and indicated" in model.summary()
    assert "missing cells: b 10 rows; numbers become the median and a feature" in model.summary()


# --- what cannot help is left out


@pytest.mark.parametrize(
    ("name", "cells", "note"),
    [
        ("id", range(7, 7 + N), "id: counts the rows; left out, numeric="),
        ("", range(N), "column_1: counts the rows; left out"),
        ("Unnamed: 0", range(N), "Unnamed: 0: counts the rows"),
        ("PassengerId", (NORMAL * 100 + 9999).round() * 1000 + np.arange(N), "identifier, a numb"),
        ("name", [f"Ann {i} Lee" for i in range(N)], 'as "Ann 0 Lee", 60 different in 60 rows'),
        ("ticket", [f"A/{i * 7 % 40}" for i in range(N)], "40 different in 60 rows; left out"),
        ("k", cycle("same"), '"k": the same in all training rows; left out'),
        ("k", cycle(7), '"k": the same in all training rows; left out'),
        ("k", cycle(""), "k: no training row has a value; left out"),
    ],
)
def test_columns_left_out(learned, name, cells, note):
    rows = zip(cells, NORMAL, Y, strict=True)
    text = f"{name},x,y\n" + "".join(f"{a},{x},{y}\n" for a, x, y in rows)
    columns, X = learned(text, scaling="none")
    np.testing.assert_array_equal(X, NORMAL[:, None])
    assert any(note in one for one in columns.inputs.notes), columns.inputs.notes
    if "numeric=" in note:
        assert learned(text, numeric=[name])[1].shape[1] == 2


def test_what_looks_like_a_number_of_rows_but_is_not_called_so_stays(learned):
    assert learned(lines(range(N), "t"))[1].shape[1] == 1
    assert learned(lines([i * i for i in range(N)], "area"))[1].shape[1] == 1
    assert learned(lines(cycle(1, 2, 3), "shop_id"))[1].shape[1] == 1  # which comes back


def test_text_that_is_kept_where_asked_and_many_categories(learned, monkeypatch):
    text = lines([f"Ann {i}" for i in range(N)])
    with pytest.raises(TableError, match="no column to learn from: a: text such as"):
        learned(text)
    assert learned(text, categorical=["a"])[1].shape[1] == N
    n = 3600
    cells = [f"w{i % 1200}" if i < 2400 else f"w{i % 1000}" for i in range(n)]
    columns, X = learned(lines(cells, y=np.arange(n) % 2))
    assert X.shape[1] == 1000 and "1,200 categories; the 1,000 commonest" in columns.inputs.notes[0]
    assert X[1100].sum() == 0 and X[1300].sum() == 1
    monkeypatch.setattr(categories, "MAX_CELLS", 100 * n)  # of as many rows as fill the memory
    columns, X = learned(lines(cells, y=np.arange(n) % 2))
    assert X.shape[1] == 100 and "the 100 commonest" in columns.inputs.notes[0]
    columns, X = learned(lines(cells, y=np.arange(n) % 2), categories="codes")
    assert X.max() == 999
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert columns.encode({"a": ["w1100"]})[0, 0] == -1  # which is known to be unknown


# --- codes with zeros in front

ZIPS = [f"{1000 + 137 * (i % 20):05d}" for i in range(N)]


def test_zero_padded_codes_are_categories(learned, tmp_path):
    columns, X = learned(lines(ZIPS, "zip"))
    assert X.shape == (N, 20) and columns.inputs.columns[0].categories[0] == "01000"
    note = 'zip: codes such as "01000" are categories; numeric=["zip"] (--numeric "zip") takes'
    assert columns.inputs.notes == [f"{note} them for numbers"]
    np.testing.assert_array_equal(columns.encode({"zip": [int(one) for one in ZIPS]}), X)
    assert learned(lines(ZIPS, "zip"), numeric=["zip"])[1].shape == (N, 1)
    some = [*ZIPS[:-2], "", "K1A 0B1"]
    columns, _ = learned(lines(some, "zip"))
    assert columns.inputs.columns[0].categories[-1] == "K1A 0B1"
    own = [f"{7 * i:05d}" for i in range(N)]
    text = "zip,a,y\n" + "".join(f"{c},{i % 7},{i % 2}\n" for i, c in enumerate(own))
    columns, _ = learned(text)
    assert columns.inputs.notes[0].startswith('zip: codes such as "00000", 60 different in 60 rows')
    assert columns.inputs.names == ["a"]


OTHERS = [cycle("00", "07", "23"), cycle("0", "1", "10"), cycle("0.10", "0.25")]
OTHERS += [cycle("007", "70", "700"), cycle("100", "200", "300")]


@pytest.mark.parametrize("cells", OTHERS)
def test_other_numbers_with_zeros_are_numbers(learned, cells):
    _, X = learned(lines(cells), scaling="none")
    np.testing.assert_array_equal(X[:, 0], [float(cell) for cell in cells])


def test_codes_of_more_words_than_are_kept_are_no_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "DISTINCT_WORDS", 20)
    monkeypatch.setattr(delimited, "BLOCK_CELLS", 16)
    path = tmp_path / "t.csv"
    path.write_text("zip,y\n" + "".join(f"{i:05d},{i % 2}\n" for i in range(50)))
    assert read(path).column("zip").words[7] == "00007"
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_text().encode("utf-16")))
    again = read(path.with_suffix(".csv.gz"), encoding="utf-16")
    assert again.column("zip").words[7] == "00007"


def test_codes_as_targets_are_classes(learned):
    columns, _ = learned("a,y\n" + "".join(f"{x},{c}\n" for x, c in zip(NORMAL, ZIPS, strict=True)))
    assert columns.classes[0] == "01000" and len(columns.classes) == 20


# --- slips


@pytest.mark.parametrize("slip", ["x", "4O"])
@pytest.mark.parametrize("kinds", [10, 30])
def test_text_in_few_rows_among_numbers_is_refused(learned, slip, kinds):
    cells = [*map(str, np.arange(200) % kinds), slip]
    text = lines(cells, y=np.arange(201) % 2)
    with pytest.raises(TableError, match=rf'row 202, column "a": "{slip}" is not a number'):
        learned(text)
    _, X = learned(text, numeric=["a"], scaling="none")
    assert X[-1, 1] == 1 and X[0, 1] == 0
    _, again = learned(text, missing_values=[slip], scaling="none")
    np.testing.assert_array_equal(X, again)
    assert learned(text, categorical=["a"])[1].shape[1] == kinds + 1


def test_text_in_some_rows_is_a_category(learned):
    cells = cycle("1", "2", "3", "1", "2", "crew", n=120)
    columns, _ = learned(lines(cells, y=np.arange(120) % 2))
    assert columns.inputs.columns[0].categories == ["1", "2", "3", "crew"]


# --- targets


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        (cycle("$1.5", "$20", "$300"), "regression"),
        (cycle("1,5", "20", "300"), "regression"),
        (cycle("12%", "20%", "30%"), "regression"),
        (cycle("None", "NA", "x"), "classification"),
        (cycle("yes", "Yes", "no", "yes"), "classification"),
        (cycle(*range(10)), "classification"),
        (cycle(*range(30)), "regression"),
        (cycle(3, 4, 5), "regression"),
    ],
)
def test_targets(learned, cells, what):
    text = "a,y\n" + "".join(f'{x},"{y}"\n' for x, y in zip(NORMAL, cells, strict=True))
    columns, _ = learned(text) if "NA" not in cells else learned(text.replace("NA", "w"))
    assert columns.amounts == (what == "regression")
    if cells[0] == "$1.5":
        assert columns.decide(columns.encode_targets({"y": ["$20.00", 5]})).tolist() == [20, 5]
    if cells[0] == "yes":
        assert columns.classes.tolist() == ["no", "yes"]
        assert columns.encode_targets(["YES", "true", "No"]).tolist() == [1, 1, 0]


def test_targets_that_cannot_be_learned(learned):
    y = [*cycle("0.0", "1.5", "3.0", n=200), "oops"]
    text = "a,y\n" + "".join(f"{i % 50},{one}\n" for i, one in enumerate(y))
    with pytest.raises(TableError, match='row 202, column "y": "oops" is not a number, and nearly'):
        learned(text)
    text = "a,y\n" + "".join(f"{x},{one}\n" for x, one in zip(NORMAL, ISO, strict=True))
    with pytest.raises(TableError, match='column "y": a target must be classes or amounts, it'):
        learned(text)


def test_a_column_that_tells_the_target_is_said(learned):
    rows = [f"{x},{'uv'[y]},{y}" for x, y in zip(NORMAL, Y, strict=True)]
    columns, _ = learned("\n".join(["x,a,y", *rows]) + "\n")
    assert columns.inputs.notes[-1].startswith("a: tells the target exactly; if it is not known")
    rows = [f"{x},{2 * x + 1},{i % 2}" for i, x in enumerate(NORMAL)]
    columns, _ = learned("\n".join(["x,y,z", *rows]) + "\n")
    assert columns.inputs.notes[-1].startswith("x: tells the target exactly")


# --- files


FILE = "a,y\n" + "".join(f"{'ä' if i % 2 else 'ö'},{i % 3 % 2}\n" for i in range(N))
FILES = {
    "UTF-8": FILE.encode(),
    "UTF-8 with its mark": FILE.encode("utf-8-sig"),
    "UTF-16": FILE.encode("utf-16"),
    "UTF-16 without its mark": FILE.encode("utf-16-le"),
    "UTF-16, the other way": FILE.encode("utf-16-be"),
    "UTF-32": FILE.encode("utf-32"),
    "Latin-1": FILE.encode("latin-1"),
    "CRLF": FILE.replace("\n", "\r\n").encode(),
    "CR": FILE.replace("\n", "\r").encode(),
    "blank lines": FILE.replace("\n", "\n\n").encode(),
    "blank lines first": b"\n\n" + FILE.encode(),
    "comments first": b"# from x, 2020\n#\n# units: m, s\n" + FILE.encode(),
    "the header is a comment": b"# from x\n# " + FILE.encode(),
    "Excel's first line": b"sep=;\n" + FILE.replace(",", ";").encode(),
    "blanks between": FILE.replace(",", "   ").replace("\n", "  \n  ").encode(),
    "tabs": FILE.replace(",", "\t").encode(),
    "pipes": FILE.replace(",", "|").encode(),
    "delimiters at the end": FILE.encode() + b",\n,\n",
    "no last newline": FILE.rstrip().encode(),
    "quotes": FILE.replace("a,y", '"a","y"').encode(),
}


@pytest.mark.parametrize("way", FILES)
def test_files_of_every_kind(tmp_path, way):
    path = tmp_path / "t.csv"
    path.write_bytes(FILES[way])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        table = read(path)
    assert len(said) == (way == "Latin-1")
    assert list(table.columns) == ["a", "y"] and table.n_rows == N
    codes, words = table.column("a").coded()
    assert [words[code] for code in codes[:3]] == ["ö", "ä", "ö"]
    np.testing.assert_array_equal(table.column("y").numbers(), [i % 3 % 2 for i in range(N)])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (FILE.encode("latin-1"), {"encoding": "utf-8"}, "row 2: must be utf-8 text"),
        (b"\x00\x01\x02\xff" * 9, {}, "must be text, delimited cells; it is no text"),
        (b"PK\x03\x04\x00\x00" * 9, {}, "it is an Excel or other zip file"),
        (b"# nothing else\n", {}, "no rows after the header"),
        (b"5.1,3.5\n4.9,3.0\n", {}, r"holds numbers: 5.1, 3.5; or header=False \(--no-header\)"),
        (gzip.compress(FILE.encode(), mtime=0)[:-20], {}, "not a whole gzip file"),
    ],
)
def test_files_that_are_refused(tmp_path, content, options, message):
    path = tmp_path / ("t.csv.gz" if content[:2] == b"\x1f\x8b" else "t.csv")
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        read(path, **options)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_pipes_are_read_once(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for encoding in ("utf-8", "latin-1"):
        writer = threading.Thread(target=path.write_bytes, args=(FILE.encode(encoding),))
        writer.start()
        if encoding == "utf-8":
            assert read(path).n_rows == N
        else:
            with pytest.raises(TableError, match="pipe: must be utf-8 text"):
                read(path)
        writer.join()


def test_blanks_and_tabs_between_cells(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i}.0   8   {i + 100}.5\t\"ford pinto {i % 3}\"\n" for i in range(9)))
    table = read(path, header=False)
    assert list(table.columns) == ["column_1", "column_2", "column_3", "column_4"]
    assert table.column("column_4").words == ["ford pinto 0", "ford pinto 1", "ford pinto 2"]
    path.write_text("first name\tlast\nAnn May\tLee\nBob May\tRay\n")
    assert list(read(path).columns) == ["first name", "last"]


def test_encodings_that_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("a,y\nш,1\nя,0\n".encode("koi8-r"))
    assert read(path, encoding="koi8-r").column("a").words == ["ш", "я"]


def test_a_first_line_that_looks_like_data_is_warned_of(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("5.1,3.5,1.4,setosa\n4.9,3.0,1.3,virginica\n")
    with pytest.warns(TableWarning, match=r"first line, 5.1, 3.5, 1.4, setosa, looks like data"):
        read(path)


# --- what programs and people leave in files

AS_NUMBERS = {
    "a minus behind": (cycle("5-", "7", "1,013.50-"), [-5, 7, -1013.5]),
    "text by a formula": (cycle('"=""5"""', '"=""17"""'), [5, 17]),
    "percent beside numbers": (cycle("5%", "0.25", "7%"), [5, 0.25, 7]),
    "hours and minutes": (cycle("00:30", "12:15"), [0.5, 12.25]),
    "blanks around": (cycle("  5 ", " 7"), [5, 7]),
    "years": (cycle("1990", "2004"), [1990, 2004]),
}


@pytest.mark.parametrize("way", AS_NUMBERS)
def test_cells_that_are_numbers(learned, way):
    cells, values = AS_NUMBERS[way]
    text = lines([f'"{one}"' if "," in one else one for one in cells])
    _, X = learned(text, scaling="none")
    np.testing.assert_array_equal(X[: len(values), 0], np.float32(values))


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (cycle("18-25", "26-35", "51+"), ["18-25", "26-35", "51+"]),
        (cycle("True", "False", ""), ["", "False", "True"]),
        (cycle("1st", "2nd"), ["1st", "2nd"]),
        (cycle("Paris", "PARIS", "Rome"), ["PARIS", "Paris", "Rome"]),
        (cycle("[1, 2]", "[1, 3]"), ["[1, 2]", "[1, 3]"]),
        (cycle("'u'", "u", "'v'"), ["u", "v"]),
        (cycle("=0012", "=0013"), ["=0012", "=0013"]),
    ],
)
def test_cells_that_are_categories(learned, cells, names):
    columns, _ = learned(lines(cells, between=";"))
    assert columns.inputs.columns[0].categories == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Sales 2020\n\nn,x,y\nu,1,2\n", r"row 3: must have 1 cell .*, got 3; is that a title"),
        ("a,y\n1,2,\n3,4,\n", "row 2: must have 2 cells like the first line, got 3"),
        ('[{"a": 1, "y": 0}]\n', "must be text, delimited cells; it is JSON"),
        ('{"a": 1, "y": 0}\n{"a": 2, "y": 1}\n', "it is JSON"),
        ("{\n  \"a\": [1]\n}\n", "it is JSON"),
        ("<!DOCTYPE html>\n<table></table>\n", "it is HTML or XML"),
        ("@relation t\n@attribute a numeric\n@data\n1\n", "it is ARFF"),
        ("a,a,y\n1,2,3\n", 'two columns are called "a"'),
    ],
)
def test_files_of_another_kind_are_called_by_its_name(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(TableError, match=message):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines(["[m]", *NORMAL], y=["[1]", *Y]), r'row 2, column "y": "\[1\]" is not a number'),
        (lines([*NORMAL, "a"], y=[*Y, "y"]), 'row 62, column "y": "y" is not a number'),
        (lines([*NORMAL[:-1], "inf"]), 'row 61, column "a": must be finite, got inf'),
        (lines([*NORMAL[:-1], "1e400"]), 'row 61, column "a": must be finite, got inf'),
        (lines([*NORMAL, "Total"], y=[*Y, ""]), 'row 62, column "y": the target is missing'),
        (lines([f"<0.{i}" if i % 9 == 0 else x for i, x in enumerate(NORMAL)]), 'numeric=."a". '),
    ],
)
def test_rows_that_are_none(learned, text, message):
    """Units below the header, a header in the middle, a total, infinities, limits of detection."""
    with pytest.raises(TableError, match=message):
        learned(text)


def test_identifiers_beyond_what_float64_tells_apart(learned):
    text = "user_id,a,y\n" + "".join(f"{2**60 + i},{x},{y}\n" for i, (x, y) in enumerate(
        zip(NORMAL, Y, strict=True)))
    columns, _ = learned(text)
    assert columns.inputs.names == ["a"]
    assert columns.inputs.notes[0].startswith("user_id: an identifier, a number of each row's own")


# --- types of cells that frames have


def test_types_of_pandas_that_stand_for_numbers_and_times():
    pandas = pytest.importorskip("pandas")
    months = pandas.period_range("2020-01", periods=N, freq="M")
    frame = pandas.DataFrame(
        {
            "bin": pandas.cut(NORMAL, 3),
            "month": months,
            "time": [datetime.time(i % 24, 30) for i in range(N)],
            ("two", "names"): pandas.array(cycle(1, None, 3), dtype="Int64"),
            7: pandas.arrays.SparseArray(np.arange(N) % 5 == 0, dtype=float),
        }
    )
    columns = learn(frame, Y, scaling="none")
    kinds = [column.kind for column in columns.inputs.columns]
    assert kinds == ["ordered", "dates", "dates", "numeric", "numeric"]
    X = columns.encode(frame)
    np.testing.assert_array_equal(X[:, 0], pandas.cut(NORMAL, 3).codes)
    np.testing.assert_array_equal(X[:, 1], months.year)
    hour = next(at.start for one, at in columns.inputs.features() if one.name == "time")
    assert X[3, hour] == 3.5 and columns.inputs.names[3:] == ["('two', 'names')", "7"]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_times_of_day(library):
    times = [datetime.time(i % 24, 30) for i in range(N)]
    module = pytest.importorskip(library)
    X = getattr(module, {"polars": "DataFrame", "pyarrow": "table"}[library])({"time": times})
    columns = learn(X, Y, scaling="none")
    np.testing.assert_array_equal(columns.encode(X)[:5, 0], np.arange(5) + 0.5)
    assert columns.encode_row({"time": "13:30"}) == 13.5


def test_a_table_that_is_not_there_yet():
    class LazyFrame:
        columns = ("a",)

        def collect(self):
            raise AssertionError

    with pytest.raises(TypeError, match=r"X must be a table that is there, X.collect"):
        learn(LazyFrame(), Y)


@pytest.mark.parametrize("cell", [[1, 2], {"k": 1}, 1j, b"u", object()])
def test_cells_that_no_column_can_hold(cell):
    with pytest.raises(TableError, match="must hold numbers, text, booleans or dates"):
        learn({"a": [cell] * N}, Y)


# --- both readers find the same cells

ALIKE = {
    "mixed": "n,x,t,d,m\n" + "".join(
        f"{i},{i / 7},{'uvw'[i % 3]},2020-01-{i % 28 + 1:02d},{'' if i % 5 else 'NA'}\n"
        for i in range(500)
    ),
    "hexadecimal": "a,b\n" + "".join(f"0x{i:x},{i}\n" for i in range(99)),
    "hexadecimal late": "a,b\n" + "".join(f"{i},{i}\n" for i in range(3000)) + "0x1F,2\n",
    "text late": "a,b\n" + "".join(f"{i},{i}\n" for i in range(3000)) + "x,2\n1,1\n",
    "text late everywhere": "a,b\n" + "".join(f"{i},{i}\n" for i in range(3000)) + "x,y\n1,1\n",
    "quotes": "a,b\n" + "".join(f'"u, {i % 3}",{i}\n' for i in range(99)),
    "quotes after blanks": "a,b\n" + "".join(f'1, "u{i % 3}"\n' for i in range(99)),
    "lines in cells": "a,b\n" + "".join(f'"u\n{i % 3}",{i}\n' for i in range(99)),
    "blank lines": "a,b\n" + "".join(f"{i},u\n\n" for i in range(99)),
    "blank end": "a,b\n" + "".join(f"{i},u\n" for i in range(99)) + "\n\n",
    "delimiters at the end": "a,b\n" + "".join(f"{i},u\n" for i in range(99)) + ",\n,\n",
    "blanks around": "a,b\n" + "".join(f" {i} , u \n" for i in range(99)),
    "booleans": "a,b\n" + "".join(f"{i % 2 == 0},{['true', 'FALSE'][i % 2]}\n" for i in range(99)),
    "times": "a,b\n" + "".join(f"12:{i:02d},2020-01-01 10:00:{i:02d}\n" for i in range(60)),
    "underscores": "a,b\n" + "".join(f"1_{i},{i}\n" for i in range(99)),
    "large": "a,b\n" + "".join(f"{i}{'9' * 22},1e40{i % 9}\n" for i in range(99)),
    "all empty": "a,b\n" + "".join(f"{i},\n" for i in range(99)),
    "leading zeros": "a,b\n" + "".join(f"0{i},{i}\n" for i in range(99)),
    "CRLF": "a,b\r\n" + "".join(f"{i},u\r\n" for i in range(99)),
    "markers": "a,b\n" + "".join(f"{i},n/A\nN/A,{i}\nnil,(NULL)\n" for i in range(99)),
    "quotes of quotes": "a,b\n" + "".join(f'"say ""u{i % 3}""",5"\n' for i in range(99)),
    "quotes that do not close": 'a,b\n"u,1\nv,2\n',
    "text after quotes": 'a,b\n"u"v,1\n',
    "one column": "a\n" + "".join(f"{i % 7}\n" for i in range(99)),
    "one column, gaps": "a\n1\n\n2\n",
    "one column, quoted gaps": 'a\n1\n""\n2\n""\n',
    "blank rows between": "a,b\n1,2\n,\n3,4\n",
    "no last newline": "a,b\n1,2\n3,4",
    "no last newline, CRLF": "a,b\r\n1,2\r\n3,4\r",
    "CR": "a,b\r\n1,2\r3,4\r",
    "bytes of several": "a,b\n" + "".join(f"ö{'ä€𝄞'[i % 3]},{i}\n" for i in range(99)),
    "moments": "a,b\n" + "".join(
        f"2020-0{i % 9 + 1}-{i % 28 + 1:02d} 0{i % 10}:{i % 60:02d}{['', ':59', ':01.5'][i % 3]},"
        f"{'' if i % 5 else f'1{i:03d}-02-29'}\n" for i in range(0, 996, 4)
    ),
    "no moments": "a,b\n" + "".join(f"2021-02-{i % 29 + 1:02d} {i // 24 % 24:02d}:00,{i}\n"
                                   for i in range(999)),
    "codes": "a,b\n" + "".join(f"{i:05d},{i}\n" for i in range(99)),
    "lines longer than a piece": "a,b\n" + "".join(f"{'u' * 1500}{i},{i}\n" for i in range(9)),
    "blanks of another kind": "a,b\n2020-01-02,1\n\u2028,\u2028\n2020-01-03,2\n\xa0,\t\n",
    "semicolons": "a;b\n" + "".join(f"{i},5;u\n" for i in range(99)),
}


def of_both(path, monkeypatch, piece=1000, most=50, **how):
    """The table by the csv module, and by compiled code where it takes the file."""
    monkeypatch.setattr(delimited, "DISTINCT_WORDS", most)
    monkeypatch.setattr(delimited, "PIECE", piece)
    monkeypatch.setattr(delimited, "BLOCK_CELLS", 16)
    scanned = delimited._scanned
    found = []
    monkeypatch.setattr(delimited, "_scanned", lambda *given: found.append(scanned(*given)))
    slow, error = None, None
    try:
        slow = read(path, **how)
    except TableError as refused:
        error = refused
    monkeypatch.setattr(delimited, "_scanned", scanned)
    return slow, (found or [None])[0], error


UNUSUAL = {"lines in cells", "blank lines", "delimiters at the end", "quotes that do not close"}
UNUSUAL |= {"blanks of another kind", "markers"}
UNUSUAL |= {"text after quotes", "one column, gaps", "CR", "lines longer than a piece"}


@pytest.mark.parametrize("way", ALIKE)
@pytest.mark.parametrize("header", [True, False])
def test_both_readers_find_the_same_cells(tmp_path, monkeypatch, way, header):
    path = tmp_path / "t.csv"
    path.write_text(ALIKE[way] if header else ALIKE[way].partition("\n")[2], newline="")
    slow, fast, error = of_both(path, monkeypatch, header=header)
    assert (fast is None) == (way in UNUSUAL), "whether the compiled reader takes it"
    assert (error is None) == (way not in ("quotes that do not close", "text after quotes"))
    if fast is None:
        return
    assert list(slow.columns) == list(fast.columns) and slow.n_rows == fast.n_rows
    for row in (0, slow.n_rows - 1):
        assert slow.where(row, "a") == fast.where(row, "a")
    for name in slow.columns:
        a, b = slow.column(name), fast.column(name)
        if isinstance(b, Moments):  # the csv module's reader keeps words
            np.testing.assert_array_equal(a.moments[0][a.codes], b.values)
            assert way in ("moments", "times")
            continue
        assert type(a) is type(b)
        if isinstance(a, Words):
            assert [a.words[code] for code in a.codes] == [b.words[code] for code in b.codes]
            assert sorted(a.words) == sorted(b.words) and len({*b.words}) == len(b.words)
        else:
            np.testing.assert_array_equal(a.values, b.values)
            np.testing.assert_array_equal(np.signbit(a.values), np.signbit(b.values))


def test_rows_of_every_kind_are_read_alike_by_both(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    path = tmp_path / "t.csv"
    pieces = ["a", "ü", "1", "-2.5", " ", '"', '""', "\t", ",", ",", ",", "\n", "\n", "\r\n", "NA"]
    taken = 0
    for _ in range(1000):
        text = "".join(rng.choice(pieces, rng.integers(1, 20)))
        rows = [f"u,{i % 3}\n" for i in range(rng.integers(0, 3))]
        path.write_text("".join(["a,b\n", *rows, text]), newline="")
        slow, fast, error = of_both(path, monkeypatch, piece=64, most=2)
        if fast is None:
            continue
        taken += 1
        assert error is None and slow.n_rows == fast.n_rows
        for name in slow.columns:
            a, b = slow.column(name), fast.column(name)
            assert type(a) is type(b) and a.coded()[1] == b.coded()[1]
            np.testing.assert_array_equal(a.coded()[0], b.coded()[0])
    assert taken > 20


def test_numbers_are_the_nearest_float64(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2**64, 4000, np.uint64)
    plain = rng.integers(0, 2**62, 4000).astype(np.float64) * 10.0 ** rng.integers(-40, 40, 4000)
    words = [*map(repr, bits.view(np.float64).tolist()), *map(repr, plain.tolist())]
    for n in (16, 17, 18, 19, 20):  # digits, a point and a power anywhere
        for _ in range(1500):
            digits = "".join(map(str, rng.integers(0, 10, n)))
            at = rng.integers(0, n + 1)
            words.append(f"{'+-'[n % 2]}{digits[:at]}.{digits[at:]}e{rng.integers(-60, 60)}")
    for i in range(2000):  # halfway between two neighbours, and next to it
        whole = 2**53 + 2 * int(rng.integers(0, 2**52)) + 1
        words += [str(whole), f"{whole}.0", f"{whole + i % 3 - 1}e3", f"{5 * whole}e-1"]
    words += ["9007199254740993", "0.1", "1e22", "1e23", "4.35", ".5", "5.", "-0", "0e9", "1E+05"]
    words += ["1e0005", "2e-0005"]  # powers of more digits than there are
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{word},1\n" for word in words))
    _, fast, _ = of_both(path, monkeypatch)
    values = fast.column("a").values
    np.testing.assert_array_equal(values.view(np.uint64), np.array([*map(float, words)]).view("u8"))


MOMENTS = ["", "NA", "2020-02-29", "2019-12-31T23:59", "2000-02-29 23:59:59.123456", "0001-01-01"]
NO_MOMENTS = [
    "x", "5", "2020-02", "2020/02-02", "2020-02/02", "x020-02-02", "20x0-02-02", "2020-13-01",
    "2020-00-01", "2020-01-x1", "2020-01-00", "2020-02-30", "2021-02-29", "1900-02-29",
    "2020-04-31", "0000-01-01", "2020-01-01 1:00", "2020-01-01_11:00", "2020-01-01 11.00",
    "2020-01-01 24:00", "2020-01-01 11:60", "2020-01-01 11:00:60", "2020-01-01 11:00:5",
    "2020-01-01 11:00.05", "2020-01-01 11:00:05.", "2020-01-01 11:00:05;5",
    "2020-01-01 11:00:05.x", "2020-01-01 11:00:05.1234567",
]  # fmt: skip


@pytest.mark.parametrize("cell", [*MOMENTS, *NO_MOMENTS])
def test_a_cell_among_moments(tmp_path, monkeypatch, cell):
    """What is no date, and does not say that it is missing, is for the csv module's reader."""
    days = [np.datetime64("1969-01-01") + i * 17 for i in range(99)]
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{day},1\n" for day in [*days, cell, *days]))
    slow, fast, error = of_both(path, monkeypatch)
    assert error is None and slow.n_rows == 199
    assert (fast is not None) == (cell in MOMENTS)
    if fast is not None:
        moment = np.datetime64("NaT" if cell in ("", "NA") else cell)
        want = np.array([*days, moment, *days], "M8[us]")
        np.testing.assert_array_equal(fast.column("a").values, want)


def test_a_cell_among_numbers_that_is_not_utf_8(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\n" + b"".join(b"%d.5\n" % i for i in range(999)) + b"\xe9\n")
    with pytest.warns(TableWarning, match="row 1001: not UTF-8; the file is read as Windows-1252"):
        slow, fast, error = of_both(path, monkeypatch)
    assert fast is None and error is None
    assert "\u00e9" in slow.column("a").coded()[1]


def test_what_is_plain_is_read_by_compiled_code(tmp_path, monkeypatch):
    """Compressed files, marks of byte order and many lines, too."""
    text = ALIKE["mixed"].encode()
    monkeypatch.setattr(delimited, "_parse", None)
    for name, content in (("t.csv", text), ("m.csv", b"\xef\xbb\xbf" + text)):
        (tmp_path / name).write_bytes(content)
        assert list(read(tmp_path / name).columns) == ["n", "x", "t", "d", "m"]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text))
    assert read(tmp_path / "t.csv.gz").n_rows == 500
    (tmp_path / "n.csv").write_bytes(b"\xef\xbb\xbf1,u\n2,v\n")
    np.testing.assert_array_equal(
        read(tmp_path / "n.csv", header=False).column("column_1").numbers(), [1, 2]
    )


def test_many_rows_need_little_memory_beside_their_numbers(tmp_path):
    path = tmp_path / "t.csv"
    rows = 60_000
    times = np.datetime64("2020-01-01") + np.arange(rows).astype("m8[s]")
    lines = [f"{i / 7},{time},u{i % 9},1\n" for i, time in enumerate(times)]
    path.write_text("".join(["a,d,c,y\n", *lines]))
    table = read(path)
    assert [type(one) for one in table.columns.values()] == [Numbers, Moments, Words, Words]
    held = [c.codes if isinstance(c, Words) else c.values for c in table.columns.values()]
    assert sum(one.nbytes for one in held) == rows * (8 + 8 + 4 + 4)


# --- the command line


def test_rows_without_a_target_are_left_out_and_counted(here, run):
    known = ["" if i % 10 == 0 else y for i, y in enumerate(Y)]
    rows = [f"{x},{y}" for x, y in zip(NORMAL, known, strict=True)]
    (here / "t.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    status, out, err = run("train --network t.csv -t y -o m.st --epochs 1")
    assert status == 0 and "t.csv: 54 rows" in out
    assert "fastnn: t.csv: 6 rows of 60 without a target, left out\n" in err
    status, out, err = run("evaluate m.st t.csv")
    assert status == 0 and "6 rows of 60 without a target" in err
    assert re.search(r"^rows +54$", out, re.M)


def test_each_decision_is_a_line_of_the_summary(here, run):
    rows = [
        f"{i},Ann {i},{size},${1000 + i},{day},{'' if i % 4 else x},same,{y}"
        for i, (size, day, x, y) in enumerate(zip(cycle(*"SML"), ISO, NORMAL, Y, strict=True))
    ]
    (here / "t.csv").write_text("\n".join(["id,name,size,price,day,x,k,y", *rows]) + "\n")
    command = "train --network t.csv -t y -o m.st --epochs 1 --ordered size=S,M,L"
    status, out, err = run(command)
    assert (status, err.count("\n")) == (0, 1)
    found = out.split("\ncolumns     ")[1].splitlines()[:7]
    begins = ['"k": the same', "id: counts the rows", "name: text such as"]
    begins += ["price: numbers such as", "day: dates or times", "missing cells: x 45 rows"]
    for line, begin in zip(found, begins, strict=False):
        assert line.strip().startswith(begin)
    info = run("info m.st")[1]
    assert "size: S < M < L" in info and "id: counts the rows" in info
    status, out, err = run("predict m.st t.csv")
    assert status == 0 and len(out.splitlines()) == 61
    assert run(command + " --numeric id --categorical name --dates day --drop price")[0] == 0
    wrong = ("--numeric k", "--ordered size", "--numeric y", "--encoding utf8x", "--dates nothing")
    for option in wrong:
        assert run(f"{command} {option}")[0] == 2


def test_rows_that_give_held_out_ones_away_are_warned_of(here, run):
    rows = [f"p{i // 5 % 120},{RNG.random()},{RNG.random():.1f},{i % 2}" for i in range(600)]
    (here / "t.csv").write_text("\n".join(["patient_id,x,z,y", *rows, *rows[:300]]) + "\n")
    status, _, err = run("train --network t.csv -t y -o m.st --epochs 1 --drop z -q")
    assert status == 0 and "held-out rows equal a training row in every column" in err
    assert "patient_id: held-out rows share it with training rows" in err
    command = "train --network t.csv -t y -o m.st --epochs 1 --drop patient_id,x -q"
    assert run(command) == (0, "", "")


def test_what_is_said_of_whole_numbers_as_targets(here, run):
    rows = [f"{x},{i % 4}" for i, x in enumerate(NORMAL)]
    (here / "t.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    out = run("train --network t.csv -t y -o m.st --epochs 1")[1]
    assert "classification (it holds the whole numbers 0 to 3 without a gap; task=" in out
    out = run("train --network t.csv -t y -o m.st --epochs 1 --task regression")[1]
    assert "y, regression (as --task says)" in out


# --- the same cell is the same, whatever stands beside it

CELLS = [
    (["1", "2.5", "-3", "7"], ["NA", ""]),
    (["$5", "$1,013.00", "12.5%"], ["-"]),
    (["1,5", "2,25", "1.000,5"], ["n/a"]),
    (["yes", "No", "YES", "true"], ["unknown"]),
    (["2020-01-01", "2021-05-06", "2020-02-03"], ["NA", "?"]),
    (["15.3.2021", "1.2.2020", "3.2.2021"], []),
    (["u", "v", "w x", "ü"], ["NA", "None"]),
    (["DE", "FR", "NA"], [""]),
    (["A", "B", "1", "2"], ["-"]),
]


@pytest.mark.parametrize(("known", "marks"), CELLS)
@pytest.mark.parametrize("categories", ["one_hot", "codes"])
def test_a_row_alone_is_encoded_as_among_others(known, marks, categories):
    cells = cycle(*known, *marks, *known)
    columns = learn({"a": cells, "x": NORMAL}, Y, categories=categories)
    X = columns.encode({"a": cells, "x": NORMAL})
    for i in range(10):
        row = {"a": cells[i], "x": NORMAL[i]}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            np.testing.assert_array_equal(columns.encode([row])[0], X[i])
            np.testing.assert_array_equal(columns.encode_row(row), X[i])
