"""Data files to tables and arrays, and the preprocessing between them and a network."""

import gzip
import json
from datetime import datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from fastnn.errors import TableError
from fastnn.tables import Columns, TableWarning, learn, read
from fastnn.tables.frames import as_column, as_table
from fastnn.tables.inputs import ArrayInputs, TableInputs
from fastnn.tables.leaks import leak_notes
from fastnn.tables.numbers import floor_of, resolved
from fastnn.tables.reading import delimited
from fastnn.tables.table import Arrays, Moments, Numbers, Table, Words
from fastnn.tables.targets import Amount, Classes, infer_task
from fastnn.tables.words import are_booleans, number, number_name, numbers_of, places
from fastnn.training.split import split


@pytest.fixture
def csv_file(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def words(table, name):
    column = table.column(name)
    codes, distinct = column.coded()
    return [distinct[code] for code in codes]


def all_rows(table):
    return np.arange(table.n_rows)


# --- CSV


def test_cells_are_stripped_unquoted_and_missing_words_known(csv_file):
    text = "a, b ,c\n 1, \"x, y\", 'q'\n?, NA ,nan\n2,,NULL\n"
    table = read(csv_file(text))
    assert list(table.columns) == ["a", "b", "c"]
    assert words(table, "a") == ["1", "", "2"]
    assert words(table, "b") == ["x, y", "NA", ""]  # which is missing beside what is no code
    assert words(table, "c") == ["q", "", ""]
    np.testing.assert_array_equal(table.column("a").numbers(), [1, np.nan, 2])
    np.testing.assert_array_equal(table.column("b").missing(), [False, True, True])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(csv_file, delimiter):
    table = read(csv_file("a,b,c\n1,2,3\n".replace(",", delimiter)))
    assert list(table.columns) == ["a", "b", "c"]
    assert words(table, "c") == ["3"]


def test_byte_order_mark_crlf_blank_lines_gzip_and_quoted_newlines(csv_file):
    text = b'\xef\xbb\xbfa,b\r\n\r\n1,"two\r\nlines"\r\n3,x\r\n   \r\n'
    table = read(csv_file(text))
    assert list(table.columns) == ["a", "b"]
    assert words(table, "b") == ["two\r\nlines", "x"]
    assert table.where(1, "b").endswith('data.csv, row 5, column "b"')
    zipped = read(csv_file(gzip.compress(text), "data.csv.gz"))
    assert words(zipped, "a") == ["1", "3"]


def test_without_header(csv_file):
    table = read(csv_file("1,x\n2,y\n"), header=False)
    assert words(table, "column_1") == ["1", "2"]
    assert table.where(0, "column_1").endswith('row 1, column "column_1"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", "row 3: must have 2 cells like the first line, got 3"),
        ("a,b\n1,2\n\n1\n", "row 4: must have 2 cells like the first line, got 1"),
        ("", "the first line must name the columns, it is empty"),
        ("sep=;\n", "the first line must name the columns, there is none"),
        ("a,b\n", "no rows after the header"),
        ("a,a\n1,2\n", 'two columns are called "a"'),
        ("1,2\n3,4\n", "it holds numbers: 1, 2; or header=False (--no-header)"),
        ('a,b\n1,"x\n', "row 2: unexpected end of data"),
    ],
)
def test_broken_csv_is_refused_with_its_row(csv_file, text, message):
    path = csv_file(text)
    with pytest.raises(TableError) as error:
        read(path)
    assert str(error.value).startswith(path) and message in str(error.value)


@pytest.mark.parametrize("name", ["none.csv", "none.npz", "none.npy", "none.parquet"])
def test_absent_files_and_folders(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(FileNotFoundError, match=name):
        read(str(tmp_path / name))
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=name):
        read(str(tmp_path / name))


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("utf-8", b"\xff"), ("utf-16-le", b"\0\xdc"), ("utf-16-be", b"\xdc\0"), ("utf-16", b"9")],
)
def test_what_is_not_of_the_encoding_is_told_with_its_row(csv_file, encoding, bad):
    path = csv_file("a,b\n1,Ċ\n3,".encode(encoding) + bad)
    with pytest.raises(TableError, match=rf"data.csv, row 3: must be {encoding} text \("):
        read(path, encoding=encoding)


@pytest.mark.parametrize(("byte", "want"), [(b"\x80", "€"), (b"\x81", "\x81")])
@pytest.mark.parametrize("n", [1, 5000])  # within the first block that is decoded, and behind it
def test_other_text_is_windows_1252_or_latin_1(csv_file, byte, want, n):
    text = "a,b\n" + "".join(f"{i},x\n" for i in range(n))
    with pytest.warns(TableWarning, match=f"data.csv, row {n + 2}: not UTF-8; the file is read as"):
        table = read(csv_file(text.encode() + b"1," + byte + b"\n"))
    assert words(table, "b") == ["x"] * n + [want]


def test_a_header_of_several_lines(csv_file):
    table = read(csv_file('"a\nb",c\n1,2\n3,4\n'))
    assert list(table.columns) == ["a\nb", "c"] and words(table, "c") == ["2", "4"]
    assert table.where(0, "c").endswith('row 3, column "c"')


def test_delimiters_inside_quotes_are_text(csv_file):
    table = read(csv_file('"a, in m";"b, in m, net";y\n1,5;2;3\n'))
    assert list(table.columns) == ["a, in m", "b, in m, net", "y"]
    assert words(table, "a, in m") == ["1,5"]


def test_rows_of_delimiters_at_the_end_are_none(csv_file):
    table = read(csv_file("a,b\n1,x\n,\n2,y\n,\n , \n"))
    assert words(table, "a") == ["1", "", "2"]
    assert table.where(2, "b").endswith('row 4, column "b"')
    assert words(read(csv_file('a\n1\n""\n')), "a") == ["1", ""]


@pytest.mark.parametrize("cut", range(3, 80, 7))
def test_damaged_gzip_files(csv_file, cut):
    text = "a,b\n" + "".join(f"{i * 7919 % 1000},{i}\n" for i in range(200))
    data = bytearray(gzip.compress(text.encode()))
    data[cut * len(data) // 80] ^= 0xFF
    path = csv_file(bytes(data), "data.csv.gz")
    try:
        assert read(path).n_rows == 200  # of the header's bytes some mean nothing
    except TableError as error:
        assert path in str(error)


def test_a_file_without_a_header_names_the_way(csv_file):
    for text, name in (("5.1,setosa\n4.9,virginica\n", "species"), ("1,1,x\n2,3,y\n", None)):
        with pytest.raises(TableError, match=r"header=False \(--no-header\)"):
            read(csv_file(text)).column(name)
    with pytest.raises(TableError, match=r'no column "z"; it has "a", "b"$'):
        read(csv_file("a,b\n1,2\n")).column("z")


def test_wide_tables_keep_names_of_classes_and_categories(csv_file):
    header = ",".join(f"p{j}" for j in range(70))
    rows = [",".join([f"0{i}", *(["1.0"] * 69)]) for i in range(3)]
    path = csv_file("\n".join([header, *rows]) + "\n")
    table = read(path, words=("p0", "none"))
    assert words(table, "p0") == ["00", "01", "02"]
    assert Classes.fit(table, "p0").classes == ["00", "01", "02"]


def test_many_distinct_numbers_become_numbers_and_name_a_slip(csv_file, monkeypatch):
    monkeypatch.setattr(delimited, "DISTINCT_WORDS", 50)
    monkeypatch.setattr(delimited, "BLOCK_CELLS", 64)
    values = [str(i / 7) for i in range(200)] + ["?"]
    column = read(csv_file("a\n" + "\n".join(values) + "\n")).column("a")
    assert isinstance(column, Numbers)
    np.testing.assert_array_equal(column.values[:-1], [float(v) for v in values[:-1]])
    assert np.isnan(column.values[-1])
    values[150] = "4O"
    table = read(csv_file("a\n" + "\n".join(values) + "\n"))
    assert words(table, "a")[149:152] == [str(149 / 7), "4O", str(151 / 7)]
    with pytest.raises(TableError, match=r'row 152, column "a": "4O" is not a number'):
        TableInputs.fit(table, np.arange(200))


@pytest.mark.parametrize("slip", ["", "nan", " "])
def test_many_distinct_codes_stay_codes(csv_file, monkeypatch, slip):
    monkeypatch.setattr(delimited, "DISTINCT_WORDS", 50)
    codes = [f"{i:05}" for i in range(0, 90_000, 450)]
    rows = [f"{code},{int(code)}" for code in codes] + [f"{slip},0"]
    table = read(csv_file("\n".join(["code,n", *rows]) + "\n"))
    assert words(table, "code")[:200] == codes
    assert isinstance(table.column("n"), Numbers)


def test_many_distinct_texts_stay_texts(csv_file, monkeypatch):
    monkeypatch.setattr(delimited, "DISTINCT_WORDS", 50)
    monkeypatch.setattr(delimited, "BLOCK_CELLS", 64)
    values = [f"name{i}" for i in range(200)]
    assert words(read(csv_file("a\n" + "\n".join(values) + "\n")), "a") == values


@pytest.mark.parametrize("word", ["1_000", "0x1", "one", "1,5"])
def test_what_is_no_number(word):
    with pytest.raises(ValueError):
        number(word)


def test_infinity_is_a_number_beside_commas_too():
    for decimal in ".,":
        words = [f"1{decimal}5", "inf", ""]
        np.testing.assert_array_equal(numbers_of(words, decimal), [1.5, np.inf, np.nan])


def test_number_names():
    assert [number_name(v) for v in (3.0, -0.5, 1e300, 7)] == ["3", "-0.5", str(int(1e300)), "7"]


# --- Parquet, NPZ, NPY


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = str(tmp_path / "data.parquet")
    columns = {
        "n": pa.array([1, None, 3]),
        "x": pa.array([0.5, 1.5, None]),
        "s": pa.array(["u", None, " v"]),
        "d": pa.array(["u", "u", None]).dictionary_encode(),
        "b": pa.array([True, False, None]),
    }
    pq.write_table(pa.table(columns), path)
    table = read(path)
    np.testing.assert_array_equal(table.column("n").numbers(), [1, np.nan, 3])
    np.testing.assert_array_equal(table.column("x").numbers(), [0.5, 1.5, np.nan])
    assert words(table, "s") == ["u", "", "v"]
    assert words(table, "d") == ["u", "u", ""]
    assert words(table, "b") == ["True", "False", ""]
    assert words(table, "n") == ["1", "", "3"]
    pq.write_table(pa.table({"bytes": pa.array([b"0"])}), path)
    with pytest.raises(TableError, match=r'column "bytes": must hold numbers, text, booleans or d'):
        read(path)
    pq.write_table(pa.table({"x": pa.array([], pa.float64())}), path)
    with pytest.raises(TableError, match=r"data.parquet: no rows"):
        read(path)
    (tmp_path / "data.parquet").write_bytes(b"no parquet")
    with pytest.raises(TableError, match="not a Parquet file"):
        read(path)


def test_npz_images_are_flattened_and_names_given(tmp_path):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    path = str(tmp_path / "data.npz")
    np.savez(path, pictures=images, labels=np.array([[1], [0]]))
    arrays = read(path, x_name="pictures", y_name="labels")
    np.testing.assert_array_equal(arrays.X, images.reshape(2, 12))
    assert arrays.X.dtype == np.uint8 and arrays.shape == (3, 4)
    np.testing.assert_array_equal(arrays.y.numbers(), [1, 0])
    assert arrays.where(1, 7) == f"{path}, pictures[1, 1, 3]"
    with pytest.raises(TableError, match='no array "X"; it has "pictures", "labels"'):
        read(path)


def test_a_lone_array_of_an_npz_is_taken(tmp_path):
    path = str(tmp_path / "data.npz")
    np.savez(path, images=np.ones((2, 2)))
    assert read(path).X.shape == (2, 2)


def test_npy_with_target_file(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 2)))
    np.save(tmp_path / "y.npy", np.array(["a", "b", "a"]))
    options = {"target_file": str(tmp_path / "y.npy")}
    assert read(str(tmp_path / "x.npy"), **options).y.coded()[1] == ["a", "b"]


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ones((3, 2), complex), [0, 1, 2], "X must hold real numbers"),
        (np.array([["a"]]), [0], "X must hold real numbers"),
        (np.ones(3), [0, 1, 2], "X must have shape"),
        (np.ones((0, 2)), [], "not be empty"),
        (np.ones((3, 2)), [0, 1], r"y must have shape \(3,\), .* got \(2,\)"),
        (np.ones((3, 2)), np.eye(3), r"y must have shape \(3,\), .* got \(3, 3\)"),
        (np.array([[object()]]), [0], "must hold numbers or text, got Python objects"),
        (np.array([[b"a"]]), [0], "X: arrays must hold numbers or text, their dtype is S1"),
        (np.ones((1, 2)), [1j], "y must hold numbers or text, its dtype is complex128"),
    ],
)
def test_bad_arrays(tmp_path, X, y, message):
    path = str(tmp_path / "data.npz")
    np.savez(path, X=X, y=y)
    with pytest.raises(TableError, match=message):
        read(path, y_name="y")


@pytest.mark.parametrize("name", ["data.npz", "data.npy"])
def test_files_that_are_no_arrays(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(TableError, match=r"not a readable NP[YZ] file"):
        read(str(tmp_path / name))


def test_an_npz_by_another_name(tmp_path):
    with open(tmp_path / "data.npy", "wb") as file:
        np.savez(file, X=np.ones((2, 2)))
    with pytest.raises(TableError, match=r"data.npy: an NPZ file by content; name it .npz"):
        read(tmp_path / "data.npy")


# --- frames


def columns_of_libraries():
    """Columns of each library and kind, their words, and whether they are declared categories."""
    kinds = {
        "numbers": ([3.0, None, 1.5], ["3", "", "1.5"], False),
        "decimals": ([Decimal("1.5"), None], ["1.5", ""], False),
        "text": (["a", None, " b "], ["a", "", "b"], False),
        "booleans": ([True, None, False], ["True", "", "False"], False),
        "categories": (["b", "a", None], ["b", "a", ""], True),
        "categories of numbers": ([2, 1, None], ["2", "1", ""], True),
    }
    for kind, (cells, want, declared) in kinds.items():
        for library in ("python", "pandas", "pandas extension", "polars", "pyarrow"):
            yield pytest.param(library, kind, cells, want, declared, id=f"{kind}, {library}")


def made_by(library, kind, cells):
    if library == "python":
        return cells
    package = pytest.importorskip(library.split()[0])
    if library == "polars":
        if kind.startswith("categories"):
            cells = [None if cell is None else str(cell) for cell in cells]
            return package.Series(cells, dtype=package.Categorical)
        return package.Series(cells)
    if library == "pyarrow":
        column = package.array(cells)
        return column.dictionary_encode() if kind.startswith("categories") else column
    column = package.Series(cells, dtype="category" if kind.startswith("categories") else None)
    return column.convert_dtypes() if library == "pandas extension" else column


LIBRARIES = [*columns_of_libraries()]


@pytest.mark.parametrize(("library", "kind", "cells", "want", "declared"), LIBRARIES)
def test_columns_of_every_library(library, kind, cells, want, declared):
    column = as_column("c", made_by(library, kind, cells))
    codes, words = column.coded()
    assert [words[code] for code in codes] == want
    assert column.missing().tolist() == [not word for word in want]
    assert column.declared == (declared and library != "python")
    assert isinstance(column, Numbers) == (
        kind in ("numbers", "decimals")
        or (library == "python" and kind == "categories of numbers")
    )


SPANS = [timedelta(seconds=1.5), None, -timedelta(days=1)]
MOMENTS = [datetime(2020, 2, 29, 13, 45), None, datetime(1969, 12, 31)]


@pytest.mark.parametrize(
    ("library", "kind"),
    [
        ("numpy", "ms"),
        ("pandas", None),
        ("pandas", "[us][pyarrow]"),
        ("polars", None),
        ("pyarrow", None),
    ],
)
def test_durations_are_seconds_and_moments_are_moments(library, kind):
    package = pytest.importorskip(library)
    if kind and "pyarrow" in kind:
        pytest.importorskip("pyarrow")

    def made(cells, name):
        if library == "numpy":
            return np.array(cells, f"{name}64[{kind}]")
        if kind:
            return package.Series(cells, dtype=f"{name.replace('date', '')}{kind}")
        return package.array(cells) if library == "pyarrow" else package.Series(cells)

    spans = as_column("c", made(SPANS, "timedelta" if library == "numpy" else "duration"))
    assert isinstance(spans, Numbers)
    np.testing.assert_array_equal(spans.values, [1.5, np.nan, -86400])
    column = as_column("c", made(MOMENTS, "datetime" if library == "numpy" else "timestamp"))
    assert isinstance(column, Moments)
    np.testing.assert_array_equal(column.values, np.array(MOMENTS, "M8[us]"))


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_moments_of_nanoseconds_are_to_the_microsecond(zone):
    pyarrow = pytest.importorskip("pyarrow")
    cells = [1_600_000_000_123_456_789, None, -1500]
    want = np.array([1_600_000_000_123_456, "NaT", -2], "M8[us]")
    arrow = pyarrow.chunked_array([pyarrow.array(cells, pyarrow.timestamp("ns", zone))])
    for values in (arrow, np.array([cells[0], "NaT", cells[2]], "M8[ns]")):
        np.testing.assert_array_equal(as_column("c", values).values, want)
    spans = as_column("c", pyarrow.array(cells, pyarrow.duration("ns")))
    np.testing.assert_array_equal(spans.values, [1_600_000_000.123456, np.nan, -2e-6])


@pytest.mark.parametrize("library", ["numpy", "pyarrow"])
def test_moments_beyond_what_microseconds_can_tell_are_refused(library):
    """64 bits of them are 292,277 years to either side of 1970."""
    package = pytest.importorskip(library)
    for kind, of in (("timestamp", " of 1970"), ("duration", "")):

        def made(seconds, kind=kind):
            if library == "pyarrow":
                return package.array(seconds, getattr(package, kind)("s"))
            seconds = ["NaT" if one is None else one for one in seconds]
            return np.array(seconds, "M8[s]" if kind == "timestamp" else "m8[s]")

        years = 292_277 * 31_556_952
        assert len(as_column("c", made([None, years, -years]))) == 3
        for far in (2**53, -(2**53), 292_278 * 31_556_952):
            told = f"^c: must be within 290,000 years{of}, got .* in row 2$"
            with pytest.raises(TableError, match=told):
                as_column("c", made([None, 0, far]))


def test_times_are_moments_of_a_day():
    column = as_column("c", [time(13, 30), None])
    np.testing.assert_array_equal(column.values, np.array(["1970-01-01T13:30", "NaT"], "M8[us]"))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_cells_of_no_kind_are_refused_by_their_type(library):
    package = pytest.importorskip(library)
    cells, kind = {"pandas": ([1j], "complex128"), "polars": ([[1]], r"List\(Int64\)")}[library]
    with pytest.raises(TableError, match=f"or dates, it holds {kind}"):
        as_column("c", package.Series(cells))


def test_columns_of_a_table_are_taken_as_they_are(csv_file):
    table = read(csv_file("x,s,d\n1,u,2020-01-01\n2,v,2020-01-02\n"))
    for name, column in table.columns.items():
        assert as_table({name: column}).column(name) is column
    day = Moments(np.array(["2020-01-01", "2020-01-02"], "M8[us]"))
    assert as_column("c", day) is day
    assert learn(table.select(["x"]), table.column("s")).class_names == ["u", "v"]


@pytest.mark.parametrize(
    "cells",
    [
        np.array([1j]),
        np.ones((2, 2)),
        [[1], [2]],
        [object()],
        "abc",
        3,
    ],
)
def test_columns_of_other_kinds_are_refused(cells):
    with pytest.raises(TableError, match="c: must hold numbers, text, booleans or dates, it holds"):
        as_column("c", cells)


def test_numbers_of_frames_are_not_copied():
    values = np.arange(6.0).reshape(3, 2)
    for frame in (
        pytest.importorskip("pandas").DataFrame(values, columns=["a", "b"]),
        pytest.importorskip("polars").DataFrame({"a": values[:, 0], "b": values[:, 1]}),
        pytest.importorskip("pyarrow").table({"a": [0.0, 2, 4], "b": [1.0, 3, 5]}),
        {"a": values[:, 0], "b": values[:, 1]},
    ):
        column, again = (as_table(frame).column("b").numbers() for _ in range(2))
        np.testing.assert_array_equal(column, [1, 3, 5])
        assert np.shares_memory(column, again)


def test_broken_frames():
    pandas = pytest.importorskip("pandas")
    for frame, message in (
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), 'X: two columns are called "a"'),
        ({"a": [1, 2], "b": [1]}, 'as many rows as each other, got "a" 2, "b" 1'),
        ({}, "X must have columns, it has none"),
        ({"a": []}, "X must have at least one row"),
    ):
        with pytest.raises(TableError, match=message):
            as_table(frame)
    with pytest.raises(TypeError, match=r"X\[1\] must be a dict like the first row, got 3"):
        as_table([{"a": 1}, 3])
    table = as_table([{"a": 1, "b": "x"}, {"b": "y", "c": 2}])
    assert list(table.columns) == ["a", "b", "c"]
    assert table.column("a").missing().tolist() == [False, True]


@pytest.mark.parametrize("seed", range(5))
def test_a_file_and_its_frame_teach_the_same(csv_file, seed):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(seed)
    n = 60
    frame = pandas.DataFrame(
        {
            "x": rng.normal(size=n),
            "n": rng.integers(0, 5, n),
            "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.integers(0, 9, n)),
            "s": rng.choice(["u", "v w", "A", ""], n),
            "t": rng.choice([True, False], n),
            "y": rng.choice(["no", "yes"], n),
        }
    )
    table = read(csv_file(frame.to_csv(index=False)))
    inputs = [name for name in frame if name != "y"]
    settings = {"missing": "impute", "categorical": ("n",)}
    of_file = learn(table.select(inputs), table.select(["y"]), **settings)
    of_frame = learn(frame[inputs], frame["y"], **settings)
    assert of_file == of_frame
    np.testing.assert_array_equal(of_file.encode(table), of_frame.encode(frame))


# --- inputs


def table_of(**columns):
    made = {}
    for name, cells in columns.items():
        if isinstance(cells[0], str):
            made[name] = Words.of(cells)
        else:
            made[name] = Numbers(np.array(cells, np.float64))
    return Table("t.csv", made)


def test_columns_are_standardised_on_the_training_rows_and_one_hot():
    table = table_of(x=[1.0, 3.0, 100.0], constant=[0.1, 0.1, 0.1], s=["b", "a", "new"])
    numeric = ("constant",)  # otherwise left out
    inputs = TableInputs.fit(table, np.array([0, 1]), numeric=numeric)
    with pytest.warns(TableWarning) as said:
        X = inputs.transform(table, "float64")
    np.testing.assert_array_equal(X, [[-1, 0, 0, 1], [1, 0, 1, 0], [98, 0, 0, 0]])
    assert [str(one.message) for one in said] == [
        't.csv, row 3, column "s": "new" is unknown to the model; 1 row of 3 with unknown '
        "categories here, taken as none of the known"
    ]


def test_missing_cells_are_refused_by_name_or_imputed():
    table = table_of(x=[1.0, 2.0, np.nan, 9.0], s=["a", "", "b", "a"])
    inputs = TableInputs.fit(table.select(["x", "s"]), all_rows(table), missing="refuse")
    with pytest.raises(TableError, match=r't.csv, row 3, column "x": missing'):
        inputs.transform(table)
    inputs = TableInputs.fit(table.select(["s"]), all_rows(table), missing="refuse")
    with pytest.raises(TableError, match=r't.csv, row 2, column "s": missing'):
        inputs.transform(table)
    how = {"missing": "impute", "scaling": "none"}
    inputs = TableInputs.fit(table.select(["x", "s"]), all_rows(table), **how)
    np.testing.assert_array_equal(
        inputs.transform(table), [[1, 0, 1, 0], [2, 1, 0, 0], [2, 0, 0, 1], [9, 0, 1, 0]]
    )


def test_infinity_is_refused():
    table = table_of(x=["1", "inf", "2"])
    inputs = TableInputs.fit(table.select(["x"]), all_rows(table), missing="impute")
    with pytest.raises(TableError, match=r'row 2, column "x": must be finite, got inf'):
        inputs.transform(table)


def test_text_in_a_numeric_column_later_is_refused():
    inputs = TableInputs.fit(table_of(x=["1", "2"]).select(["x"]), np.arange(2))
    with pytest.raises(TableError, match=r't.csv, row 2, column "x": must be a number, got "two"'):
        inputs.transform(table_of(x=["1", "two"]))


def test_numbers_in_a_categorical_column_later_are_categories():
    inputs = TableInputs.fit(table_of(s=["1", "2", "A"]).select(["s"]), np.arange(3))
    np.testing.assert_array_equal(inputs.transform(table_of(s=["2", "1"])), [[0, 1, 0], [1, 0, 0]])


def test_categories_that_are_numbers_are_known_however_they_are_written():
    """pandas writes 1 as 1.0 as soon as a cell of the column is missing."""
    rows = np.arange(3)
    for cells in (["0", "1", "2"], ["0.0", "1.0", "2.0"], [0.0, 1.0, 2.0]):
        inputs = TableInputs.fit(table_of(a=cells), rows, categorical=("a",))
        for later in (["1", "2", "0"], ["1.0", "2.0", "0.0"], [1.0, 2.0, 0.0]):
            np.testing.assert_array_equal(inputs.transform(table_of(a=later)), np.eye(3)[[1, 2, 0]])
    inputs = TableInputs.fit(table_of(a=["1", "1.0", "2"]), rows, categorical=("a",))
    np.testing.assert_array_equal(inputs.transform(table_of(a=["1", "2"])), np.eye(2))
    inputs = TableInputs.fit(table_of(a=["01", "1", "x"]), rows)
    np.testing.assert_array_equal(
        inputs.transform(table_of(a=["01", "1", "1.0"])), np.eye(3)[[0, 1, 1]]
    )


def test_words_that_say_yes_or_no_are_known_by_their_sense():
    names = ["no", "yes"]
    assert places(["N", "0", "0.0", "off", "T", "1", "2", "maybe"], names).tolist() == [
        *(0, 0, 0, 0, 1, 1, -1, -1)
    ]
    assert places(["no", "2"], ["0", "1"]).tolist() == [-1, -1]  # which are but numbers
    # a category of that name, but for capital letters, goes before what is missing
    assert places(["None", "none", "NA"], ["none", ""]).tolist() == [0, 0, 1]
    assert are_booleans(["0", "yes", ""]) and not are_booleans(["0", "1"])


def test_numbers_too_large_to_square_are_refused():
    for cells in ([1.7e308, -1.7e308, 0.0], [1e151, np.nan, 0.0]):
        with pytest.raises(TableError, match=r't.csv, row 1, column "x": must be at most 1e\+150'):
            TableInputs.fit(table_of(x=cells), np.arange(3), missing="impute")
    with pytest.raises(TableError, match=r't.csv, row 2, column "y": must be at most 1e\+150'):
        Amount.fit(table_of(y=[0.0, 1e300]), "y", np.arange(2), True)
    arrays = Arrays("a.npz", np.array([[1.0, 2.0], [3.0, -1e200]]), (2,))
    with pytest.raises(TableError, match=r"a.npz, X\[1, 1\]: must be at most 1e\+150"):
        ArrayInputs.fit(arrays, np.arange(2))
    inputs = TableInputs.fit(table_of(x=[1e149, -1e149, 0.0]), np.arange(3))
    assert np.isfinite(inputs.transform(table_of(x=[1e149, 0.0]))).all()
    with pytest.raises(TableError, match=r'row 1, column "x": must be finite in float32'):
        TableInputs.fit(table_of(x=[1.0, 2.0]), np.arange(2)).transform(table_of(x=[1e300]))


def test_slips_and_free_text_are_refused():
    numbers = [str(i) for i in range(40)]
    numbers[16] = "1O"
    with pytest.raises(TableError, match=r'row 17, column "x": "1O" is not a number'):
        TableInputs.fit(table_of(x=numbers).select(["x"]), np.arange(40))
    texts = table_of(s=[f"name {i}" for i in range(40)])
    with pytest.raises(TableError, match=r'to learn from: s: text such as "name 0", 40 diff'):
        TableInputs.fit(texts, np.arange(40))
    nothing = table_of(x=["", ""])
    with pytest.raises(TableError, match=r"t.csv: no column to learn from: x: no training row has"):
        TableInputs.fit(nothing, np.arange(2))
    with pytest.raises(TableError, match=r'column "x": no training row has a value; drop=\["x"\]'):
        TableInputs.fit(nothing, np.arange(2), categorical=("x",))


def test_many_texts_are_told_by_a_part_of_them():
    rows = np.arange(12_000)
    table = table_of(s=[f"name {i}" for i in rows])
    with pytest.raises(TableError, match=r's: text such as "name 0", 12,000 different in 12,000'):
        TableInputs.fit(table, rows)
    table = table_of(s=[*map(str, rows[1:]), "name"])
    with pytest.raises(TableError, match=r'row 12000, column "s": "name" is not a number'):
        TableInputs.fit(table, rows)


def test_numbers_beside_decimal_commas():
    halves = [f"{i},5" for i in range(30)]
    for other, note in (
        ([f"{i}.013" for i in range(1, 31)], 'z: numbers such as "1.013", read as 1013; a comma m'),
        ([*map(str, range(29)), "."], None),  # SAS writes a missing number so
    ):
        notes = TableInputs.fit(table_of(x=halves, z=other), np.arange(30), missing="impute").notes
        assert notes[0] == 'x: numbers such as "0,5", read as 0.5'
        assert notes[1].startswith(note or "missing cells: z 1 row")


def test_absent_columns_and_wrong_kinds_of_data():
    inputs = TableInputs.fit(table_of(x=[1.0, 2.0], z=[1.0, 2.0]).select(["x", "z"]), np.arange(2))
    with pytest.raises(TableError, match='must have "z", which the model reads; it has "x"'):
        inputs.transform(table_of(x=[1.0]))
    arrays = Arrays("a.npz", np.ones((2, 2)), (2,))
    with pytest.raises(TableError, match="this file holds arrays"):
        inputs.transform(arrays)
    with pytest.raises(TableError, match=r"shape \(n, 2\), this file is a table"):
        ArrayInputs.fit(arrays, np.arange(2)).transform(table_of(x=[1.0]))
    with pytest.raises(TableError, match="2 features a row"):
        ArrayInputs.fit(arrays, np.arange(2)).transform(Arrays("b.npz", np.ones((2, 3)), (3,)))


def test_pixels_are_divided_by_their_greatest_value_and_others_standardised():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 10, 10), dtype=np.uint8)
    images[:, 0, 0] = 0
    arrays = Arrays("a.npz", images.reshape(50, 100), (10, 10))
    X = ArrayInputs.fit(arrays, np.arange(50)).transform(arrays)
    np.testing.assert_array_equal(X, arrays.X.astype(np.float32) / np.float32(arrays.X.max()))
    table = table_of(**{f"p{i}": arrays.X[:, i].astype(float) for i in range(100)})
    inputs = TableInputs.fit(table, np.arange(50))
    np.testing.assert_array_equal(inputs.transform(table), X)
    inputs = ArrayInputs.fit(arrays, np.arange(50), scaling="standard")
    X = inputs.transform(arrays)
    assert abs(X[:, 1:].mean(0)).max() < 1e-6 and abs(X[:, 1:].std(0) - 1).max() < 1e-5
    assert not X[:, 0].any()  # constant
    few = Arrays("a.npz", images.reshape(50, 100)[:, :10], (10,))
    assert ArrayInputs.fit(few, np.arange(50)).shift.any()


def test_columns_that_reach_the_same_share_a_unit():
    def scaling(most, least=0.0, n=64):
        return resolved("auto", np.full(n, least), np.resize(most, n))

    assert scaling([1.0, 0.95]) == ("maximum", 1.0) and scaling([255.0]) == ("maximum", 255.0)
    assert scaling([1.0, 0.5, 0.5])[0] == scaling([1.0], n=63)[0] == "standard"
    assert scaling([1.0], -0.5)[0] == "standard" and scaling([0.0]) == ("standard", 1.0)


def test_a_rare_value_does_not_stand_out_too_far():
    x = np.zeros(10_000)
    x[0] = 255
    table = table_of(x=x)
    X = TableInputs.fit(table.select(["x"]), np.arange(10_000)).transform(table)
    assert 19.9 < X.max() - X.min() <= 20.1


@pytest.mark.parametrize("scaling", ["standard", "robust"])
@pytest.mark.parametrize("spread", [100.0, 1e-3, 1e-40])
def test_arrays_are_encoded_as_tables_however_far_from_0(scaling, spread):
    """Times in seconds, for one: float32 would lose what tells them apart."""
    shift = 0 if spread < 1e-30 else 1.7e9 * spread / 100
    x = shift + spread * np.random.default_rng(0).standard_normal(20_000)
    arrays, table = Arrays("", x[:, None], (1,)), table_of(x=x)
    rows = np.arange(len(x))
    encoded = ArrayInputs.fit(arrays, rows, scaling=scaling).transform(arrays)
    want = TableInputs.fit(table, rows, scaling=scaling).transform(table)
    np.testing.assert_allclose(encoded, want, rtol=1e-6, atol=1e-6)
    assert len(np.unique(encoded)) > 19_000


@pytest.mark.parametrize("scaling", ["standard", "robust"])
def test_arrays_of_booleans_and_of_next_to_nothing(scaling):
    rows = np.arange(4)
    X = np.array([[True, True], [False, True], [True, True], [False, True]])
    encoded = {}
    for kind in (bool, float):
        arrays = Arrays("", X.astype(kind), (2,))
        encoded[kind] = ArrayInputs.fit(arrays, rows, scaling=scaling).transform(arrays)
    np.testing.assert_array_equal(encoded[bool], encoded[float])
    assert encoded[bool][:, 0].any() and not encoded[bool][:, 1].any()
    arrays = Arrays("", 1e-300 * np.arange(4.0)[:, None], (1,))  # constant, as good as
    assert not abs(ArrayInputs.fit(arrays, rows, scaling=scaling).transform(arrays)).max() > 1e-30


def test_missing_numbers_in_arrays():
    X = np.array([[1.0, 5.0], [3.0, np.nan], [5.0, 6.0]])
    arrays = Arrays("a.npz", X, (2,))
    rows = np.arange(3)
    with pytest.raises(TableError, match=r"a.npz, X\[1, 1\]: missing"):
        ArrayInputs.fit(arrays, rows, missing="refuse").transform(arrays)
    inputs = ArrayInputs.fit(arrays, rows, missing="impute", scaling="none")
    assert inputs.transform(arrays)[1, 1] == 5.5
    assert inputs.transform(arrays, "float64")[1, 1] == 5.5
    assert np.isnan(X[1, 1])  # the caller's array stays
    X[0, 0] = np.inf
    with pytest.raises(TableError, match=r"a.npz, X\[0, 0\]: must be finite"):
        inputs.transform(arrays)


def test_which_numbers_have_a_long_tail():
    """The 99th percentile over three quartiles' widths above the median, of 21 values at least."""
    tail = [*range(1, 100), 200]
    assert floor_of(np.array(tail * 2)) is None
    tail[-4:] = [250] * 4  # 50.5 + 3 * 49.5 = 199
    assert floor_of(np.array(tail)) == 0.5
    assert floor_of(np.array([0, np.nan, np.inf, *tail])) == 0.5
    assert floor_of(np.array([-1, *tail])) is None
    assert floor_of(1000.0 + np.arange(100)) is None
    assert floor_of(np.zeros(100)) is None
    few = [*np.arange(1.0, 20.0), 1e6]
    assert floor_of(np.array(few * 5)) is None and floor_of(np.array([*few, 1.5] * 5)) == 0.5
    assert floor_of(np.array(few)) is None and floor_of(np.array([*few, 1.5])) == 0.5


def test_robust_scaling_is_clipped_smoothly():
    rng = np.random.default_rng(0)
    x, rare, constant = rng.lognormal(size=400), np.zeros(400), np.full(400, 7.0)
    rare[:3] = [2.0, 4.0, 4.0]
    table = table_of(x=x, rare=rare, constant=constant, near=x / 8)
    numeric = ("constant",)
    inputs = TableInputs.fit(table, np.arange(300), scaling="robust", numeric=numeric)
    X = inputs.transform(table, "float64")
    low, middle, high = np.quantile(x[:300], [0.25, 0.5, 0.75])
    z = (x - middle) / (high - low)
    np.testing.assert_allclose(X[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-14)
    z = rare * 2 / 4  # no spread between the quartiles: over half the range
    np.testing.assert_allclose(X[:, 1], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-14)
    assert not X[:, 2].any()
    np.testing.assert_array_equal(X[:, 3], X[:, 0])
    far = table_of(x=[1e300, -1e300], rare=[0, 0], constant=[7, 7], near=[0, 0])
    far = inputs.transform(far, "float64")
    np.testing.assert_array_equal(far[:, 0], [3, -3])
    saved = json.loads(json.dumps(inputs.to_dict()))
    np.testing.assert_array_equal(TableInputs.from_dict(saved).transform(table, "float64"), X)
    arrays = Arrays("", np.stack([x, rare, constant, x / 8], 1), (4,))
    same = ArrayInputs.fit(arrays, np.arange(300), scaling="robust")
    same = ArrayInputs.from_dict(json.loads(json.dumps(same.to_dict())))
    np.testing.assert_allclose(same.transform(arrays, "float64"), X, rtol=1e-14)


def test_missing_numbers_have_an_indicator_where_training_rows_had_them():
    table = table_of(x=[1.0, np.nan, 3.0, 5.0], z=[1.0, 2.0, 3.0, np.nan], s=["a", "", "b", "a"])
    inputs = TableInputs.fit(table, np.arange(3), missing="indicate", scaling="none")
    X = inputs.transform(table)
    want = [[1, 0, 1, 0, 1, 0], [2, 1, 2, 1, 0, 0], [3, 0, 3, 0, 0, 1], [5, 0, 2, 0, 1, 0]]
    np.testing.assert_array_equal(X, want)
    assert inputs.numbers == [0, 2]
    assert TableInputs.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs
    arrays = Arrays("", np.array([[1, 1], [np.nan, 2], [3, 3], [5, np.nan]]), (2,))
    inputs = ArrayInputs.fit(arrays, np.arange(3), missing="indicate", scaling="none")
    inputs = ArrayInputs.from_dict(json.loads(json.dumps(inputs.to_dict())))
    X = inputs.transform(arrays)
    np.testing.assert_array_equal(X, [[1, 1, 0], [2, 2, 1], [3, 3, 0], [5, 2, 0]])
    assert inputs.width == 3 and inputs.numbers == [0, 1]


def test_categories_as_codes():
    table = table_of(s=["b", "a", "c", "a"], two=["no", "yes", "no", "no"], x=[1.0, 2, 3, 4])
    how = {"scaling": "none", "categories": "codes", "missing": "refuse"}
    inputs = TableInputs.fit(table, np.arange(4), **how)
    np.testing.assert_array_equal(
        inputs.transform(table), [[1, -1, 1], [0, 1, 2], [2, -1, 3], [0, -1, 4]]
    )
    assert (inputs.width, inputs.codes, inputs.numbers) == (3, {0: 3}, [2])
    assert TableInputs.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs
    later = table_of(s=["d", ""], two=["maybe", "yes"], x=[0.0, 0.0])
    with pytest.raises(TableError, match="missing value"):
        inputs.transform(later)
    inputs.missing = "impute"
    with pytest.warns(TableWarning):
        np.testing.assert_array_equal(inputs.transform(later), [[-1, 0, 0], [-1, 1, 0]])


def test_ordered_categories_are_one_number():
    table = table_of(size=["M", "S", "L", "M"])
    order = {"size": ["S", "M", "L"]}
    inputs = TableInputs.fit(table, np.arange(4), ordered=order)
    np.testing.assert_allclose(
        inputs.transform(table, "float64")[:, 0], np.array([0, -1, 1, 0]) / np.sqrt(0.5)
    )
    assert TableInputs.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs
    assert str(inputs.columns[0]) == "size: S < M < L"
    with pytest.warns(TableWarning, match='"XL" is unknown'):
        assert inputs.transform(table_of(size=["XL"]))[0, 0] == 0  # the median
    with pytest.raises(TableError, match='must name every category, "S", "M" lacks "L"'):
        TableInputs.fit(table, np.arange(4), ordered={"size": ["S", "M"]})
    with pytest.raises(TableError, match='must name each category once, got "S", "M", "L", "S"'):
        TableInputs.fit(table, np.arange(4), ordered={"size": ["S", "M", "L", "S"]})


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_libraries_bring_the_order_of_their_categories(library):
    package = pytest.importorskip(library)
    cells, order = ["M", "S", "L", None], ["S", "M", "L"]
    if library == "pandas":
        made = package.Series(package.Categorical(cells, order, ordered=True))
    elif library == "polars":
        made = package.Series(cells, dtype=package.Enum(order))
    else:
        made = package.DictionaryArray.from_arrays([1, 0, 2, None], order, ordered=True)
    column = as_column("size", made)
    assert column.order == order and column.declared
    how = {"scaling": "none", "missing": "indicate"}
    inputs = TableInputs.fit(Table("t", {"size": column}), np.arange(4), **how)
    np.testing.assert_array_equal(
        inputs.transform({"size": made}), [[1, 0], [0, 0], [2, 0], [1, 1]]
    )


def test_clamped_amounts_keep_to_the_range_of_the_training_rows():
    table = table_of(y=[10.0, 20.0, 60.0])
    target = Amount.fit(table, "y", np.array([0, 1]), True, clamp=True)
    columns = Columns(TableInputs([]), [target])
    columns = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    f = np.array([[-9.0], [0.0], [9.0]])
    np.testing.assert_array_equal(columns.decode(f)[:, 0], [10, 15, 20])
    np.testing.assert_array_equal(columns.decide(f), [10, 15, 20])
    y = columns.encode_targets(table)
    np.testing.assert_allclose(columns.in_units(y)[:, 0], [10, 20, 60])  # what is true stays


# --- target


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["a", "b", "c"], "classification"),
        ([0.0, 1.0, 1.0], "classification"),
        ([-1.5, 2.5], "classification"),
        ([1.0, 2.0, 3.0], "classification"),
        ([3.0, 4.0, 5.0], "regression"),  # from 0 or 1
        ([0.0, 1.0, 3.0], "regression"),  # a gap
        ([0.0, 0.5, 1.0], "regression"),
        (list(np.arange(20.0)) * 2, "classification"),
        (list(np.arange(20.0)), "regression"),  # which do not come back
        (list(np.arange(21.0)) * 9, "regression"),
        (["1,5", "2,5", "3,5"], "regression"),
        (["$1", "$2", "$5"] * 3, "regression"),
        (["1.5", "-", "3", "2"], "regression"),
        (["None", "a", "NA"], "classification"),
    ],
)
def test_the_task_follows_the_target(cells, task):
    assert infer_task(table_of(y=cells).column("y"))[0] == task


def test_classes_are_sorted_as_numbers_and_labels_matched():
    table = table_of(y=["10", "9", "10", "2.0", "2"])
    target = Classes.fit(table, "y")
    assert target.classes == ["2", "9", "10"]
    np.testing.assert_array_equal(target.encode(table, "y"), [2, 1, 2, 0, 0])
    later = table_of(y=[9.0, 2.0])
    np.testing.assert_array_equal(target.encode(later, "y"), [1, 0])
    with pytest.raises(TableError, match=r'row 2, column "y": .* "2", "9", "10", got "7"'):
        target.encode(table_of(y=["9", "7"]), "y")


def test_leading_zeros_stay_in_class_names():
    table = table_of(y=["01", "02", "01"])
    assert Classes.fit(table, "y").classes == ["01", "02"]


def test_labels_with_a_full_stop_are_taken_and_said():
    table = table_of(y=["<=50K.", ">50K."])
    with pytest.warns(TableWarning) as said:
        labels = Classes("y", ["<=50K", ">50K"]).encode(table, "y")
    np.testing.assert_array_equal(labels, [0, 1])
    told = [str(one.message) for one in said]
    assert told == [f't.csv, column "y": "{w}." taken for "{w}"' for w in ("<=50K", ">50K")]


def test_targets_with_nothing_to_learn():
    table = table_of(y=["a", "a"], z=[2.0, 2.0], ids=[f"id{i}" for i in range(2)])
    with pytest.raises(TableError, match=r't.csv, row 2, column "z": must be finite, got inf'):
        Amount.fit(table_of(z=[0.0, np.inf]), "z", np.arange(2), True)
    logs = Amount("z", log=True)
    with pytest.raises(TableError, match=r'row 2, column "z": must be above 0, .* got -1'):
        logs.encode(table_of(z=[2.0, -1.0]), "z")
    np.testing.assert_allclose(logs.encode(table_of(z=[2.0, 4.0]), "z"), np.log([2, 4]))
    with pytest.raises(TableError, match='every row holds "a"'):
        Classes.fit(table, "y")
    with pytest.raises(TableError, match="every row holds 2; nothing to learn"):
        Amount.fit(table, "z", np.arange(2), True)
    ids = table_of(y=[f"id{i}" for i in range(20)])
    with pytest.raises(TableError, match="too many for classes"):
        Classes.fit(ids, "y")


def test_amounts_come_back_in_their_unit():
    table = table_of(y=[10.0, 20.0, 60.0])
    target = Amount.fit(table, "y", np.array([0, 1]), True)
    np.testing.assert_allclose(target.encode(table, "y"), [-1, 1, 9])
    encoded = target.encode(table, "y")[:, None]
    np.testing.assert_allclose(Columns(None, [target]).decide(encoded), [10, 20, 60])
    text = table_of(y=["1", "x"])
    with pytest.raises(TableError, match=r'row 2, column "y": must be a number, got "x"'):
        target.encode(text, "y")


def test_the_description_goes_through_json():
    table = table_of(x=[1.0, np.nan, 4.0], s=["a", "", "b"], y=[0.1, 0.2, 0.4])
    rows = np.arange(3)
    inputs = TableInputs.fit(table.select(["x", "s"]), rows, missing="impute")
    columns = Columns(inputs, [Amount.fit(table, "y", rows, True)], header=False)
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    assert again == columns
    np.testing.assert_array_equal(again.inputs.transform(table), inputs.transform(table))
    arrays = Arrays("a.npz", np.random.default_rng(0).normal(size=(5, 6)), (2, 3))
    inputs = ArrayInputs.fit(arrays, np.arange(5), missing="impute")
    saved = json.loads(json.dumps(inputs.to_dict()))
    np.testing.assert_array_equal(
        ArrayInputs.from_dict(saved).transform(arrays), inputs.transform(arrays)
    )


# --- split


@pytest.mark.parametrize(("on_both_sides", "n"), [(True, 1), (False, 0)])
def test_groups_on_both_sides_of_the_split_are_told(on_both_sides, n):
    rows = np.arange(120)
    table = table_of(patient_id=(rows // 4).astype(float), x=rows / 7)
    held_out = rows % 4 == 0 if on_both_sides else rows < 40
    notes = leak_notes(table, rows[~held_out], rows[held_out])
    assert [note.split(" with")[0] for note in notes] == ["patient_id: held-out rows share it"] * n


def test_the_split_is_stratified_seeded_and_whole():
    labels = np.repeat([0, 1, 2], [1000, 30, 1])
    train, held_out = split(1031, 0.1, 7, labels)
    np.testing.assert_array_equal(np.sort(np.r_[train, held_out]), np.arange(1031))
    np.testing.assert_array_equal(np.bincount(labels[held_out], minlength=3), [100, 3, 0])
    np.testing.assert_array_equal(split(1031, 0.1, 7, labels)[1], held_out)
    assert (split(1031, 0.1, 8, labels)[1] != held_out).any()
    assert len(split(1031, 0.0, 7)[1]) == 0
    assert len(split(10, 0.5, 7)[1]) == 5
