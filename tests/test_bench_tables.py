"""The tables' benchmark: the same rows for all, runs that go on, what the report says of records.

No peer is needed.
"""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

import bench.report
from bench import charts
from bench.processes import Failed
from bench.tables import records, report, run, scores, tables, worker
from bench.tables.entrants import ENTRANTS, Entrant
from bench.workloads import Unavailable


class Frequent:
    """Knows of the rows only how frequent each class is, or the mean of the values."""

    def __init__(self, classifies, seed, n_threads):
        self.classifies = classifies

    def fit(self, X, y):
        self.answer = np.bincount(y) / len(y) if self.classifies else y.mean()

    def predict(self, X):
        return np.full(len(X), self.answer)

    def predict_proba(self, X):
        return np.tile(self.answer, (len(X), 1))


def entrant(name, stage=0, package="numpy"):
    return Entrant(name, name.title(), Frequent, package, ("numpy",), stage)


@pytest.fixture
def entrants(monkeypatch):
    """fast, slow and absent in place of the real ones."""
    ENTRANTS_NOW = {one.name: one for one in (entrant("fast"), entrant("slow", stage=2))}
    ENTRANTS_NOW["absent"] = entrant("absent", package="no_such_package")
    for module in (run, report, worker):
        monkeypatch.setattr(module, "ENTRANTS", ENTRANTS_NOW)
    return ENTRANTS_NOW


# Tables


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_split_follows_from_its_seed_and_has_a_fifth_to_test(name):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    table = tables.load(name)
    train, test = table.split(3)
    assert sorted([*train, *test]) == list(range(len(table.y)))
    assert len(test) == pytest.approx(len(table.y) / 5, abs=1)
    np.testing.assert_array_equal(test, table.split(3)[1])
    assert not np.array_equal(test, table.split(4)[1])
    if table.classifies:
        np.testing.assert_array_equal(np.bincount(table.y[test]), [10, 10, 10])


def test_a_file_becomes_numbers_categories_and_classes(tmp_path, monkeypatch):
    """As adult's: spaces after commas, ? for missing, full stops behind the test file's classes."""
    pytest.importorskip("pandas")
    (tmp_path / "tabular").mkdir()
    head = "age,work,income\n"
    (tmp_path / "tabular" / "adult-train.csv").write_text(
        head + "39, State, <=50K\n50, ?, >50K\n28, Private, <=50K\n"
    )
    (tmp_path / "tabular" / "adult-test.csv").write_text(
        head + "25, Private, <=50K.\n44, Never, >50K.\n"
    )
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    table = tables.load("adult")
    X_test, y_test = table.test_file
    assert list(table.y) == [0, 1, 0] and list(y_test) == [0, 1]
    assert table.X["age"].tolist() == [39.0, 50.0, 28.0]
    assert table.X["work"].cat.codes.tolist() == [1, -1, 0]
    assert X_test["work"].cat.codes.tolist() == [0, -1]  # the rows to fit know no Never


def test_an_absent_file_is_named(monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    with pytest.raises(Unavailable, match=r"no folder with tabular/abalone\.csv"):
        tables.load("abalone")


# Scores


def test_scores_of_classes():
    pytest.importorskip("sklearn")
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.55, 0.45]])
    found = scores.of_classes(np.array([0, 1, 1, 0]), p)
    assert found["error"] == 0.25
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.55]).mean())
    assert found["auc"] == 0.75  # of the four pairs one is in the wrong order
    # 0.55 and 0.6 share the bin (8/15, 9/15]: one of two is right
    assert found["ece"] == pytest.approx((0.1 + 0.2 + abs(1 - 1.15)) / 4)


def test_scores_of_values():
    found = scores.of_values(np.array([1.0, 2.0]), np.array([[1.0], [4.0]], "f4"))
    assert found == {"rmse": pytest.approx(2**0.5), "mae": 1.0}


# Runs


def test_the_fast_and_two_splits_of_all_come_first(entrants):
    entrants["slower"] = entrant("slower", stage=3)
    fits = run.plan(["iris", "adult"], ["slower", "fast", "slow"], 3)
    assert fits == [
        *(("iris", "fast", split) for split in range(3)),
        *(("adult", "fast", split) for split in range(3)),
        *(("iris", "slow", split) for split in range(2)),
        *(("iris", "slower", split) for split in range(2)),
        *(("adult", "slow", split) for split in range(2)),
        *(("adult", "slower", split) for split in range(2)),
        *(("iris", "slow", 2), ("iris", "slower", 2), ("adult", "slow", 2), ("adult", "slower", 2)),
    ]


class InProcess:
    """A worker without a process; `fits` counts them and `broken` is an entrant that fails."""

    fits: list[tuple[str, str, int]]
    broken = ""

    def __init__(self, name, n_threads):
        self.name, self.worker = name, worker.Worker(name, n_threads)

    def ask(self, request, table, split):
        type(self).fits.append((table, self.name, split))
        if self.name == self.broken:
            raise Failed("out of memory")
        return getattr(self.worker, request)(table, split)

    def close(self):
        pass


@pytest.fixture
def in_process(monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    process = type("Counted", (InProcess,), {"fits": []})
    monkeypatch.setattr(run, "start", process)
    return process


def options(folder, **changed):
    start = {"tables": ["iris", "diabetes"], "entrants": ["fast", "slow"], "splits": 2}
    return Namespace(**{**start, "threads": 1, "records": folder, **changed})


def test_a_run_goes_on_where_it_stopped(entrants, in_process, tmp_path, capsys):
    run.main(options(tmp_path, entrants=["fast", "absent"]))
    assert in_process.fits == [(table, "fast", i) for table in ("iris", "diabetes") for i in (0, 1)]
    assert "without absent: no_such_package is not installed" in capsys.readouterr().out
    path = tmp_path / "fast.jsonl"
    path.write_text(path.read_text()[:-20])  # the last fit's record is cut short
    in_process.fits.clear()
    run.main(options(tmp_path))
    assert in_process.fits[0] == ("diabetes", "fast", 1)
    assert {fit[1] for fit in in_process.fits[1:]} == {"slow"} and len(in_process.fits) == 5
    assert len(records.read(tmp_path)) == 8
    in_process.fits.clear()
    run.main(options(tmp_path))
    assert in_process.fits == []
    run.main(options(tmp_path, threads=2, splits=1))  # whose times are others
    assert len(in_process.fits) == 4


def test_a_failed_fit_is_recorded_and_the_others_go_on(entrants, in_process, tmp_path, capsys):
    in_process.broken = "fast"
    run.main(options(tmp_path))
    assert "failed: out of memory" in capsys.readouterr().out
    found = records.read(tmp_path)
    assert sum("failed" in record for record in found) == 4
    text = report.section(found)
    assert "- iris, Fast, split 0: out of memory" in text and "| Slow |" in text


def test_a_record_says_what_was_scored_and_how_long_it_took(entrants, in_process, tmp_path):
    run.main(options(tmp_path, tables=["iris"], entrants=["fast"], splits=1))
    (record,) = records.read(tmp_path)
    assert record["scores"]["error"] == pytest.approx(2 / 3)
    assert record["scores"]["log_loss"] == pytest.approx(np.log(3))
    assert record["scores"]["auc"] == 0.5
    assert (record["fitted"], record["predicted"], record["threads"]) == (120, 30, 1)
    assert record["packages"] == {"numpy": np.__version__}
    assert record["fit_s"] > 0 and len(record["load"]) == 2


# The report


def made(table, name, split, error, *, fit=1.0, rows=None, load=(0.0, 0.0), **others):
    """A record of a classification's fit: its AUC is 1 - error, its log loss twice the error."""
    found = {"error": error, "log_loss": 2 * error, "auc": 1 - error, "ece": 0.01}
    return {
        **{"table": table, "entrant": name, "split": split, "threads": 1, "scores": found},
        **{"rows": split if rows is None else rows, "fit_s": fit, "fit_cpu_s": fit},
        **{"predict_s": 0.1, "predict_cpu_s": 0.1, "predicted": 1000, "load": load},
        **{"cpu": "some", "packages": {"numpy": "2.0"}, "time": "2000-01-01T00:00:00", **others},
    }


def test_ranks_and_normalised_scores():
    values = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.1}
    assert report.ranks(values) == {"a": 1.5, "d": 1.5, "c": 3, "b": 4}
    assert report.normalised(values) == pytest.approx({"a": 1, "b": 0, "c": 0.5, "d": 1})
    assert report.normalised({"a": 0.1, "b": 0.1}) == {"a": 1, "b": 1}


def test_ranks_compare_the_splits_that_all_have(entrants):
    """slow is better on both splits that it has; fast's third is better than any."""
    found = [made("iris", "fast", i, error) for i, error in enumerate([0.3, 0.3, 0.0])]
    found += [made("iris", "slow", i, 0.25, fit=8.0, load=(3.0, 3.0)) for i in range(2)]
    text = report.section(found)
    assert "| Slow | 1 | 1.00 | 1.000 | 1.00 | 1.000 | 1.00 | 1.000 | 8.00 |" in text
    assert "| Fast | 1 | 2.00 | 0.000 | 2.00 | 0.000 | 2.00 | 0.000 | 1.00 |" in text
    row = "| Fast | **20.00 ± 10.00 %** | **0.4000 ± 0.2000** | **0.8000 ± 0.1000** |"
    assert row in text  # its own mean is over all three
    assert "| 8.00 | 100 | 2 |" in text
    assert "Of 5 fits 3 had the machine for themselves" in text


def test_who_lacks_tables_comes_last(entrants):
    found = [made(name, "fast", i, 0.3) for name in ("iris", "wine") for i in range(2)]
    found += [made("iris", "slow", i, 0.1) for i in range(2)]
    lines = report.section(found).splitlines()
    places = [next(i for i, line in enumerate(lines) if line.startswith(f"| {who} | {n} |"))
              for who, n in (("Fast", 2), ("Slow", 1))]  # fmt: skip
    assert places == sorted(places)


def test_seconds_with_several_threads_are_of_a_quiet_machine(entrants):
    found = [made("iris", "fast", i, 0.1) for i in range(2)]
    for i, (fit, load) in enumerate([(5.0, 2.0), (7.0, 2.4), (99.0, 2.6)]):
        found.append({**made("iris", "fast", i, 0.1, fit=fit, load=(0.0, load)), "threads": 2})
    found.append({**made("wine", "slow", 0, 0.1, fit=3.0), "threads": 2})
    text = report.section(found).split("Seconds of a fit, 2 threads:\n\n")[1]
    head, _, *rows = text.splitlines()
    assert head == "|  | Fast | Slow |"
    assert rows[:2] == ["| iris | 6.00 |  |", "| wine |  | 3.00 |"]


def test_ours_is_compared_with_the_best_of_the_others_on_splits_of_both(entrants):
    entrants["fastnn"] = entrant("fastnn")
    found = [made("wine", "fastnn", i, e) for i, e in enumerate([0.10, 0.20, 0.90])]
    found += [made("wine", "slow", i, e, fit=6.0) for i, e in enumerate([0.14, 0.22])]
    found += [made("wine", "fast", i, 0.5) for i in range(3)]
    text = report.section(found)
    row = "| wine, error | 15.00 ± 5.00 % | 18.00 ± 4.00 % | Slow | 3.00 ± 1.00 % | 6.00 |"
    assert row in text


def test_the_rows_of_a_test_file_have_a_table_of_their_own(entrants):
    other = {"error": 0.5, "log_loss": 0.7, "auc": 0.6, "ece": 0.02}
    found = [made("adult", "fast", i, 0.25, test_file=other) for i in range(2)]
    text = report.section(found).split("own test file:")[1]
    assert "**50.00 ± 0.00 %** | **0.7000 ± 0.0000**" in text and "fit, s" not in text


def test_other_rows_are_refused_and_a_single_split_is_not_compared(entrants):
    with pytest.raises(ValueError, match="slow has other rows in split 1 of iris"):
        report.section([made("iris", "fast", 1, 0.1), made("iris", "slow", 1, 0.1, rows=7)])
    assert report.section([made("iris", "fast", 0, 0.1)]) == ""
    assert report.section([]) == ""


def test_the_chart_shows_the_ranks_of_the_report(entrants, monkeypatch):
    monkeypatch.setattr(charts, "TABLE_ENTRANTS", entrants)
    found = [made(table, name, i, error, fit=fit)
             for table in ("iris", "wine") for i in range(2)
             for name, error, fit in (("fast", 0.1, 1.0), ("slow", 0.2, 8.0))
             if (table, name) != ("wine", "slow")]  # fmt: skip
    standing = report.standings(report.tabulated(found))
    chart = charts.tables(standing)
    texts = re.findall(r">([^<>]+)</text>", chart)
    assert {"Fast", "Slow (1 of 2 tables)", "error or RMSE", "AUC", "seconds to fit"} <= set(texts)
    bars = re.findall(r'width="([\d.]+)" height="10"/>\n<text[^>]*>([\d.]+)<', chart)
    assert [told for _, told in bars] == ["1.00", "2.00"] * 3 + ["1.00", "8.00"]
    assert float(bars[1][0]) == 2 * float(bars[0][0]) > 0


def test_a_report_draws_the_tables_and_shows_the_chart(entrants, monkeypatch, tmp_path):
    monkeypatch.setattr(charts, "TABLE_ENTRANTS", entrants)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("")
    page = tmp_path / "docs" / "benchmarks.md"
    page.write_text("<!-- bench:tables --><!-- bench:end -->")
    monkeypatch.setattr(bench.report, "latest", lambda folder: [])
    for i in range(2):
        records.add(made("iris", "fast", i, 0.1), tmp_path / "tables")
    bench.report.main(Namespace(results=tmp_path, root=tmp_path))
    section = report.section(records.read(tmp_path / "tables"))
    assert f"](benchmarks_tables.svg)\n\n{section}" in page.read_text()
    assert "<svg" in (tmp_path / "docs" / "benchmarks_tables.svg").read_text()


def test_the_listed_are_known():
    assert set(tables.TABLES) >= tables.LARGE
    assert {name for _, name in report.PAIRS if name} <= set(ENTRANTS)


def test_the_page_shows_the_committed_records():
    """`python -m bench report` has been run since; every entrant was tested on the same rows."""
    text = report.section(records.read())
    page = Path(__file__).parents[1] / "docs" / "benchmarks.md"
    assert text in page.read_text(encoding="utf-8")
