"""The tables and their splits: the same rows for every entrant.

The files of $FASTNN_DATA/tabular and scikit-learn's bundled sets. Numbers are float64, categories
have pandas' type, classes are 0, 1, ... in the order of their names. No number is missing;
categories are, in adult.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.workloads import Unavailable

if TYPE_CHECKING:
    import pandas as pd

TEST_SHARE = 0.2
ENOUGH = 2  # splits, to compare entrants


@dataclass(frozen=True)
class Table:
    """X : (n, n_columns) frame; y : (n,) int64 classes or float64 values.

    `test_file` holds further rows of the same kind, for tables published with a test of their own.
    """

    name: str
    classifies: bool
    X: pd.DataFrame
    y: np.ndarray
    test_file: tuple[pd.DataFrame, np.ndarray] | None = None

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to fit, four in five, and rows to test; each class in its share."""
        from sklearn.model_selection import train_test_split

        rows, classes = np.arange(len(self.y)), self.y if self.classifies else None
        return tuple(
            train_test_split(rows, test_size=TEST_SHARE, random_state=seed, stratify=classes)
        )


def load(name: str) -> Table:
    return TABLES[name](name)


def _bundled(name: str) -> Table:
    import pandas as pd
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    X = pd.DataFrame(data.data).rename(columns="c{}".format).astype(np.float64)
    classifies = name != "diabetes"
    return Table(name, classifies, X, data.target.astype(np.int64 if classifies else np.float64))


def _file(target: str, classifies: bool, quote: str = '"') -> Callable[[str], Table]:
    def load(name: str) -> Table:
        X, y = _columns(_read(name, quote), target)
        return Table(name, classifies, X, _codes(y) if classifies else y.to_numpy(np.float64))

    return load


def _adult(name: str) -> Table:
    """The rows of adult-train.csv; those of adult-test.csv, where classes end in a full stop."""
    X, y = _columns(_read("adult-train"), "income")
    X_test, y_test = _columns(_read("adult-test"), "income")
    for column in X.columns:
        if X[column].dtype == "category":
            X_test[column] = X_test[column].cat.set_categories(X[column].cat.categories)
    return Table(name, True, X, _codes(y), (X_test, _codes(y_test.str.rstrip("."))))


def _read(name: str, quote: str = '"') -> pd.DataFrame:
    import pandas as pd

    folder = os.environ.get("FASTNN_DATA")
    path = Path(folder or "", "tabular", f"{name}.csv")
    if not folder or not path.exists():
        raise Unavailable(f"FASTNN_DATA names no folder with tabular/{name}.csv")
    return pd.read_csv(path, skipinitialspace=True, na_values="?", quotechar=quote)


def _columns(frame: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.Series]:
    X = frame.drop(columns=target)
    numbers = X.select_dtypes("number").columns
    kinds = {name: np.float64 if name in numbers else "category" for name in X.columns}
    return X.astype(kinds), frame[target]


def _codes(y: pd.Series) -> np.ndarray:
    return np.unique(y.to_numpy(), return_inverse=True)[1].astype(np.int64)


TABLES: dict[str, Callable[[str], Table]] = {  # the smallest first
    "iris": _bundled,
    "wine": _bundled,
    "diabetes": _bundled,
    "breast_cancer": _bundled,
    "abalone": _file("rings", classifies=False),
    "phoneme": _file("class", classifies=True),
    "winequality-white": _file("quality", classifies=False),
    "mammography": _file("class", classifies=True, quote="'"),
    "digits": _bundled,
    "adult": _adult,
}
LARGE = frozenset({"adult"})  # slow entrants learn them last
