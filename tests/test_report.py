"""The page on an estimator: what it says, of whatever tables, and that it needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import fastnn
from fastnn.drawing.charts import Range, Series, plot
from fastnn.report import scores
from fastnn.report.scores import alike
from fastnn.tabular import Pack, Recipe, report

SMALL = Pack((Recipe((8,), optimizer=fastnn.Adam(0.03), epochs=8, batch_size=32),), n_folds=3)
EMPTY = {"meta", "circle", "path", "input"}  # elements without an end


def rows(n=120, seed=0):
    """A table of every kind of column, one of them named as only a joker would."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    day = np.datetime64("2020-01-01") + rng.integers(0, 900, n)
    gaps = np.where(np.arange(n) % 9 == 0, np.nan, rng.normal(size=n))
    odd = rng.choice(["<b>&", 'x"y', ""], n).astype(object)
    odd[odd == ""] = None
    size = rng.choice(["S", "M", "L"], n)
    X = {"a": a, "gaps": gaps, "</title><script>": odd, "size": size, "day": day, "flat": a * 0}
    amount = 100 + 10 * (a + (size == "L")) + rng.normal(size=n)
    return X, amount


class Page(HTMLParser):
    """Elements, all closed in order; texts; words of attributes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def page_of(model, X, y, tmp_path, **settings):
    model.report(tmp_path / "r.html", X, y, **settings)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(html)
    # It needs nothing else, and runs nothing.
    assert not page.all("script") and not page.all("link") and not page.all("img")
    assert not re.search(r"https?://|url\(|@import", html)
    names = {name for _, attrs in page.elements for name in attrs}
    assert not any(name.startswith("on") or name in ("src", "href") for name in names)
    # Whoever does not see the drawings is told what they show.
    drawings = [one for one in page.all("svg") if one.get("aria-hidden") != "true"]
    assert drawings and all(one["role"] == "img" and one["aria-label"] for one in drawings)
    assert "prefers-color-scheme" in html and "width=device-width" in html
    assert "nan" not in html.lower().replace("finance", "")
    return page


@pytest.mark.parametrize("n_classes", [2, 4, 30])
def test_classes(tmp_path, n_classes):
    X, amount = rows(240)
    ends = np.quantile(amount, np.linspace(0, 1, n_classes + 1)[1:-1])
    y = np.array([f"<k{k}>" for k in np.searchsorted(ends, amount)])
    model = fastnn.TabularClassifier(
        recipe=SMALL, random_state=0, ordered={"size": ["S", "M", "L"]}
    ).fit(X, y)
    page = page_of(model, X, y, tmp_path, held_out=True)
    for title in ("Scores", "Columns that matter", "Partial dependence", "Calibration",
                  "Confusion matrix", "Learning curves", "Columns as they were read"):  # fmt: skip
        assert title in page.text
    assert f"accuracy {model.scores_['accuracy']:.4f}" in page.text
    assert "each predicted by networks that have not seen it" in page.text
    assert '</title><script>: "(missing)"' in page.text  # escaped, and shown
    assert repr(model) in page.text and f"fastnn {fastnn.__version__}" in page.text
    assert ("The commonest mistakes" in page.text) == (n_classes == 30)


def test_calibration_is_of_rows_held_out(tmp_path):
    X, amount = rows(240)
    y = amount > 104
    model = fastnn.TabularClassifier(recipe=SMALL, random_state=0).fit(X, y)
    page = page_of(model, X, y, tmp_path, held_out=True)
    p = model.held_out_.predictions[:, 1]
    tenths = np.split(np.argsort(p, kind="stable"), 10)
    want = "; ".join(f"{p[k].mean():.2f} said, {y[k].mean():.2f} seen" for k in tenths)
    labels = [one["aria-label"] for one in page.all("svg") if "aria-label" in one]
    assert f"Calibration: {want}" in labels
    decided = p > 0.5
    counts = [int((decided[~y] == k).sum()) for k in (0, 1)]
    assert f"True False {counts[0]} {counts[1]} True " in page.text  # the confusion matrix


def test_amounts_on_new_rows(tmp_path):
    X, amount = rows()
    model = fastnn.TabularRegressor(recipe=SMALL, random_state=0).fit(X, amount)
    new, truth = rows(seed=1)
    page = page_of(model, new, truth, tmp_path)
    off = model.predict(new) - truth
    assert f"RMSE {np.sqrt(np.mean(off**2)):.6g}" in page.text
    assert "Measured on 120 rows." in page.text and "Predicted against true" in page.text
    assert "flat: " not in page.text.split("Columns that matter")[1].split("Partial")[0]
    model.save(tmp_path / "m.st")
    loaded = page_of(fastnn.load(tmp_path / "m.st"), new, truth, tmp_path)
    assert "Learning curves" not in loaded.text and "Learning curves" in page.text
    with pytest.raises(ValueError, match="for the estimator that was fitted"):
        fastnn.load(tmp_path / "m.st").report(tmp_path / "x.html", X, amount, held_out=True)
    assert not (tmp_path / "x.html").exists()


def test_partial_dependence_is_the_mean_prediction(tmp_path):
    """Of y = 3 a + [c is u] a network knows; the drawing must rise by what the model says."""
    rng = np.random.default_rng(0)
    X = {"a": rng.normal(size=200), "c": rng.choice(["u", "v"], 200)}
    y = 3 * X["a"] + (X["c"] == "u")
    model = fastnn.TabularRegressor(recipe=SMALL, random_state=0).fit(X, y)
    page = page_of(model, X, y, tmp_path)
    label = next(one["aria-label"] for one in page.all("svg") if "on a:" in one["aria-label"])
    found = re.search(r"from (\S+) at (\S+) to (\S+) at (\S+)", label)
    first, low, last, high = map(float, found.groups())
    for told, value in ((first, low), (last, high)):
        nearest = X["a"][np.argmin(abs(X["a"] - value))]
        want = model.predict(X | {"a": np.full(200, nearest)}).mean()
        assert told == pytest.approx(want, abs=2e-3)
    told = page.text.split("Mean y value mean ")[1].split()
    for word, number in (told[:2], told[2:4]):
        want = model.predict(X | {"c": np.full(200, word)}).mean()
        assert float(number) == pytest.approx(want, abs=2e-3)


def test_arrays_with_gaps(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 3))
    y = (X[:, 0] > 0).astype(int)
    X[::7, 1] = np.nan
    model = fastnn.TabularClassifier(recipe=SMALL, random_state=0).fit(X, y)
    page = page_of(model, X, y, tmp_path, held_out=True, sample_weight=np.arange(90) + 1.0)
    assert "x0" in page.text and "P(1)" in page.text


@pytest.mark.parametrize("arrays", [True, False])
def test_a_column_without_a_number_has_no_dependence(tmp_path, arrays):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 2)), rng.normal(size=90)
    known, new = X.copy(), X.copy()
    known[::7, 1], new[:, 1] = np.nan, np.nan
    if not arrays:
        known, new = ({"x0": X[:, 0], "x1": X[:, 1]} for X in (known, new))
    model = fastnn.TabularRegressor(recipe=SMALL, random_state=0).fit(known, y)
    for rows, drawn in ((known, ["x0", "x1"]), (new, ["x0"])):
        labels = [one.get("aria-label", "") for one in page_of(model, rows, y, tmp_path).all("svg")]
        told = [one.split(":")[0] for one in labels if one.startswith("Partial dependence on")]
        assert sorted(told) == [f"Partial dependence on {name}" for name in drawn]


def test_lines_on_columns_are_no_more_than_can_be_read(tmp_path, monkeypatch):
    X, amount = rows()
    model = fastnn.TabularRegressor(recipe=SMALL, random_state=0).fit(X, amount)
    lines = model.columns_.lines()
    monkeypatch.setattr(report, "LINES", len(lines) - 2)
    told = page_of(model, X, amount, tmp_path).text.split("Columns as they were read")[1]
    assert "... and 2 lines" in told and lines[-3][1] in told and lines[-2][1] not in told


@pytest.mark.parametrize("held_out", [True, False])
def test_columns_are_shuffled_among_some_of_many_rows(monkeypatch, held_out):
    """Each of them answered as it is among all."""
    monkeypatch.setattr(report, "SHUFFLED", 50)
    monkeypatch.setattr(report, "FEWEST", 50)
    X, amount = rows()
    weights = np.arange(120) % 4.0
    model = fastnn.TabularRegressor(recipe=SMALL, random_state=0).fit(X, amount, weights)
    found = report.Report(model, X, amount, weights, held_out).importance
    assert found.increases.shape[1] == 1
    rows_, f = np.arange(120), model.predict(X)
    if held_out:
        rows_, f = model.held_out_.rows, model.held_out_.predictions
    few = np.arange(50) * len(rows_) // 50
    off = (f - amount[rows_])[few]
    want = np.sqrt(np.average(off**2, weights=weights[rows_[few]]))
    assert found.loss == pytest.approx(want, rel=1e-6)


def test_the_same_model_and_rows_give_the_same_page(tmp_path):
    X, amount = rows()
    for name, n_threads in (("a", 1), ("b", 2)):
        model = fastnn.TabularRegressor(recipe=SMALL, random_state=0, n_threads=n_threads)
        model.fit(X, amount).report(tmp_path / name, X, amount, held_out=True)
    a, b = ((tmp_path / name).read_text() for name in "ab")
    assert a.replace("n_threads=1", "n_threads=2") == b


def test_a_large_table_makes_no_large_page(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, 150)), rng.normal(size=20_000)
    recipe = Recipe((4,), optimizer="adam", epochs=1)
    model = fastnn.TabularRegressor(recipe=recipe, random_state=0).fit(X, y)
    page_of(model, X[:6000], y[:6000], tmp_path)
    assert (tmp_path / "r.html").stat().st_size < 100_000


# --- drawings


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-3, 12, ["0", "5", "10"]),
        (17, 62_000, ["0", "20k", "40k", "60k"]),
        (0.011, 0.0142, ["0.011", "0.012", "0.013", "0.014"]),
        (5, 5, ["4.6", "4.8", "5.0", "5.2", "5.4"]),
        (0, 3e10, ["0", "1e+10", "2e+10", "3e+10"]),
        (1.2e6, 1.9e6, ["1200k", "1400k", "1600k", "1800k"]),
        (1e6, 3e7, ["0", "10M", "20M", "30M"]),
        (2019.8, 2021.9, ["2020.0", "2020.5", "2021.0", "2021.5"]),
    ],
)
def test_ticks_are_round_numbers(low, high, ticks):
    axis = Range.of(np.array([low, high], float))
    assert axis.texts == ticks
    numbers = [float(text.replace("k", "e3").replace("M", "e6")) for text in ticks]
    assert np.allclose(numbers, axis.ticks)
    assert axis.low <= low <= high <= axis.high


def test_an_axis_of_skewed_values_is_logarithmic():
    values = np.array([3.0, 10, 20, 50, 90_000])
    axis = Range.of(values, skewed=True)
    assert axis.log and axis.texts == ["10", "100", "1k", "10k", "100k"]
    steps = np.diff(axis.place(np.array(axis.ticks)))
    assert np.allclose(steps, steps[0])
    assert axis.ends[0] < 3 and axis.ends[1] > 90_000 and np.allclose(axis.place(axis.ends), [0, 1])
    assert Range.of(np.array([3.0, 4, 5, 80]), skewed=True).texts == ["5", "10", "20", "50"]
    for other in (values, values - 3, np.linspace(1, 1000, 9)):
        assert not Range.of(other, skewed=other is not values).log


def test_what_is_drawn_lies_within_the_drawing():
    x = np.array([0.0, 1.0, 2.0, 3.0])
    y = np.array([1.0, np.nan, 1e9, -5.0])
    held = Range.of(np.array([0.0, 2.0]))
    drawing = plot(
        [Series(x, y, dots=True)], title="t", told="u", x_title="x" * 99, y_title="y", y=held
    )
    points = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing)
    assert len(points) == 3  # where there is a number
    assert all(54 <= float(a) <= 408 and 10 <= float(b) <= 238 for a, b in points)
    assert "x" * 43 + "…" in drawing and "x" * 44 not in drawing


def test_numbers_with_digits_alike():
    assert alike(np.array([0.2107, 0.0012, -0.05]), "+") == ["+0.211", "+0.001", "-0.050"]
    assert alike(np.array([1.0, -0.001]), "+") == ["+1.00", "+0.00"]
    assert alike(np.array([12345.6, 7.0])) == ["12,346", "7"]
    assert alike(np.array([0.0])) == ["0.00"] and alike(np.array([])) == []


def test_scores_that_are_not_defined_say_why():
    found = {**scores.regression(np.ones(3), np.array([1.0, 2, 3])), "auc": None}
    assert scores.told(found) == [
        ("AUC", "undefined (one class)"),
        ("RMSE", "1.29099"),
        ("MAE", "1"),
        ("r2", "undefined (all targets are equal)"),
    ]
