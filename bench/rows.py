"""`python -m bench rows`: a dict of raw cells to probabilities, and how even single calls are.

Adult's 14 columns (FASTNN_DATA/tabular), numbers as numbers, the rest as text, by `predictor(
rows=True)` of one network and of `TabularClassifier`'s ensemble, and by scikit-learn's pipeline
(StandardScaler, OneHotEncoder, an MLPClassifier of the same size), which takes a table of the row.
Ways take turns; each call is timed. Then a million calls of one predictor with `out=`.
"""

from __future__ import annotations

import csv
import itertools
import os
import time
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.results import keep

HIDDEN, EPOCHS = (64, 32), 5
SIZES, CALLS = (32, 64, 32, 1), 1_000_000
Row = dict[str, Any]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--ensemble", type=Path, help="a saved one, where none is to be trained")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    measurements = [adult(options.ensemble, options.rounds), even()]
    if options.write:
        keep("rows", measurements, ["scikit-learn", "pandas"])


def adult(ensemble: Path | None, rounds: int) -> dict[str, Any]:
    folder = Path(os.environ["FASTNN_DATA"], "tabular")
    rows, y = read(folder / "adult-train.csv")
    asked = [row for row, _ in zip(*read(folder / "adult-test.csv"), strict=True)][:500]
    network = fastnn.Model([None, *HIDDEN, None], seed=0)
    network.fit(rows, y, epochs=EPOCHS)
    many = fastnn.load(ensemble) if ensemble else fastnn.TabularClassifier(random_state=0)
    if ensemble is None:
        many.fit(rows, y)
    ways: dict[str, Callable[[Row], Any]] = {
        "network": network.predictor(rows=True),
        "ensemble": many.predictor(rows=True),
        "scikit-learn": pipeline(rows, y),
    }
    times: dict[str, list[int]] = {name: [] for name in ways}
    for _, (name, way) in itertools.product(range(rounds), ways.items()):
        few = asked[:50] if name == "scikit-learn" else asked
        times[name] += timed(way, few)
    print("adult, a dict to probabilities:")
    head = {"workload": {"name": "adult"}, "threads": 1, "commit": machine.commit()}
    size = {"members": len(many._ensemble.members), "parameters": many._ensemble.n_parameters}
    found = {name: told(name, one) for name, one in times.items()}
    return {**head, "ensemble": size, "ways": found}


def read(path: Path) -> tuple[list[Row], list[str]]:
    """Rows and their classes."""
    with path.open(newline="") as file:
        rows: list[Row] = [*csv.DictReader(file, skipinitialspace=True)]
    y = [row.pop("income").rstrip(".") for row in rows]
    for row in rows:
        row |= {name: int(cell) for name, cell in row.items() if cell.lstrip("-").isdecimal()}
    return rows, y


def pipeline(rows: list[Row], y: list[str]) -> Callable[[Row], Any]:
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = pandas.DataFrame(rows)
    numbers = [name for name in table if table[name].dtype.kind == "i"]
    text = [name for name in table if name not in numbers]
    columns = make_column_transformer(
        (StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), text)
    )
    made = make_pipeline(columns, MLPClassifier(HIDDEN, max_iter=EPOCHS, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        made.fit(table, y)
    return lambda row: made.predict_proba(pandas.DataFrame([row]))


def even() -> dict[str, Any]:
    predict = fastnn.Model(SIZES, output="identity", seed=0).predictor()
    x = np.random.default_rng(0).standard_normal(SIZES[0]).astype(np.float32)
    out = np.empty(SIZES[-1], np.float32)
    predict.warm_up()
    title = "-".join(map(str, SIZES))
    print(f"{title}, one row:")
    each = timed(lambda row: predict(row, out), [x] * CALLS)
    head = {"workload": {"name": title}, "threads": 1, "commit": machine.commit()}
    return {**head, "ways": {"network": told("network", each)}}


def timed(call: Callable[[Any], Any], rows: list[Any]) -> list[int]:
    """Nanoseconds of each call, and of reading the clock."""
    clock, times = time.perf_counter_ns, []
    for row in rows:
        begin = clock()
        call(row)
        times.append(clock() - begin)
    return times


def told(name: str, times: list[int]) -> dict[str, Any]:
    p50, p99, p999 = (float(one) / 1000 for one in np.quantile(times, [0.5, 0.99, 0.999]))
    print(f"  {name:13} p50 {p50:8.2f} us   p99 {p99:8.2f}   p99.9 {p999:8.2f}")
    return {"calls": len(times), "p50_us": p50, "p99_us": p99, "p99.9_us": p999}
