"""What is measured: networks, data, first weights and orders of rows, the same for every entrant.

Everything follows from a workload's fields and SEED. The data is random, except where data is
"mnist"; how fast a step is does not depend on what it learns, only on how many inputs are zeros.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
ENTRIES = 100  # that are not 0, in a row of sparse data
N_ORDERS = 4  # different orders of rows; epoch e takes orders[e % N_ORDERS]


class Unavailable(Exception):
    """This entrant or this data cannot be had here; the message says why."""


@dataclass(frozen=True)
class Workload:
    """A network, and the steps or calls that are timed.

    Training: `steps` mini-batches of `batch` rows are an epoch, taken from `rows` rows of data.
    Prediction: a call takes `batch` rows.
    """

    name: str
    kind: str  # "train" or "predict"
    sizes: tuple[int, ...]
    batch: int
    steps: int = 1
    rows: int = 0  # 0: as many as an epoch takes
    hidden: str = "relu"
    output: str = "softmax"  # with cross-entropy; "identity": with half the squared error
    optimizer: str = "sgd"  # or "adam"
    learning_rate: float = 0.01
    data: str = "dense"  # or "mnist"; "sparse": ENTRIES in a row
    dropout: float = 0.0  # of hidden layers
    norm: str = ""  # of hidden layers: "batch" or "layer"

    @property
    def title(self) -> str:
        rows = f"{self.batch} row{'s' * (self.batch > 1)}"
        more = [{"adam": "Adam"}.get(self.optimizer), {"mnist": "MNIST"}.get(self.data)]
        more += [f"{ENTRIES} entries a row"] * (self.data == "sparse")
        more += [f"dropout {self.dropout}"] * (self.dropout > 0)
        more += [f"{self.norm} norm"] * bool(self.norm)
        batch = f"batch {self.batch}" if self.kind == "train" else rows
        return ", ".join([self.network, batch, *filter(None, more)])

    @property
    def network(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def n_rows(self) -> int:
        return self.rows or self.steps * self.batch

    @property
    def n_parameters(self) -> int:
        return sum(n_out * (n_in + 1) for n_in, n_out in pairwise(self.sizes))

    @property
    def flops(self) -> int:
        """Of a step (forward, hidden deltas, gradient) or a call: 2 for each product and sum."""
        products = [n_in * n_out for n_in, n_out in pairwise(self.sizes)]
        if self.data == "sparse":
            products[0] = ENTRIES * self.sizes[1]
        passes = 3 * sum(products) - products[0] if self.kind == "train" else sum(products)
        return 2 * self.batch * passes

    @property
    def needs(self) -> frozenset[str]:
        """What not every entrant can do."""
        wanted = {"sparse": self.data == "sparse", "dropout": self.dropout, "norm": self.norm}
        return frozenset(name for name, is_wanted in wanted.items() if is_wanted)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "sizes": list(self.sizes)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Workload:
        return cls(**{**fields, "sizes": tuple(fields["sizes"])})


def training(name: str, sizes: tuple[int, ...], batch: int, steps: int, **more: Any) -> Workload:
    return Workload(name, "train", sizes, batch, steps, **more)


def prediction(name: str, sizes: tuple[int, ...], batch: int, **more: Any) -> Workload:
    return Workload(name, "predict", sizes, batch, **more)


REGRESSION = {"output": "identity", "optimizer": "adam", "learning_rate": 0.001}
ADAM = {"optimizer": "adam", "learning_rate": 0.001}
MNIST = {"data": "mnist", "rows": 60000}

# An epoch is short, so that the slowest entrant's fits into a round; the others take several.
WORKLOADS = {
    workload.name: workload
    for workload in [
        training("T1", (784, 30, 10), 1, 4096, hidden="sigmoid"),
        training("T1m", (784, 30, 10), 1, 4096, hidden="sigmoid", **MNIST),
        training("T2", (784, 128, 10), 1, 4096),
        training("T2m", (784, 128, 10), 1, 4096, **MNIST),
        training("T3", (64, 64, 10), 32, 56),  # 1792 rows: scikit-learn's digits
        training("T4", (784, 128, 10), 128, 64),
        training("T5s", (784, 512, 512, 10), 128, 16),
        training("T5a", (784, 512, 512, 10), 128, 16, **ADAM),
        training("T6", (32, 64, 64, 1), 256, 64, **REGRESSION),
        training("T3d", (64, 64, 10), 32, 56, dropout=0.5),
        training("T3b", (64, 64, 10), 32, 56, norm="batch"),
        training("T3l", (64, 64, 10), 32, 56, norm="layer"),
        training("T5d", (784, 512, 512, 10), 128, 16, dropout=0.5),
        training("T5b", (784, 512, 512, 10), 128, 16, norm="batch"),
        training("T5l", (784, 512, 512, 10), 128, 16, norm="layer"),
        training("T8s", (10000, 128, 10), 128, 16, data="sparse"),
        training("T8a", (10000, 128, 10), 128, 16, data="sparse", **ADAM),
        training("T7", (1024, 2048, 2048, 1000), 256, 4),
        prediction("P1s", (32, 64, 32, 1), 1, output="identity"),
        prediction("P1m", (784, 128, 10), 1),
        prediction("P1l", (784, 512, 512, 10), 1),
        prediction("P1024m", (784, 128, 10), 1024),
        prediction("P1024l", (784, 512, 512, 10), 1024),
        prediction("P65536m", (784, 128, 10), 65536),
        prediction("P65536s", (32, 64, 32, 1), 65536, output="identity"),
    ]
}


@dataclass(frozen=True)
class Sparse:
    """Rows with as many entries each, those of a row by column: a CSR matrix, also by attributes.

    columns, values : (n, entries) int32 and float32
    """

    columns: np.ndarray
    values: np.ndarray
    n_in: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.columns), self.n_in

    @property
    def indptr(self) -> np.ndarray:
        return np.arange(len(self.columns) + 1) * self.columns.shape[1]

    @property
    def indices(self) -> np.ndarray:
        return self.columns.ravel()

    @property
    def data(self) -> np.ndarray:
        return self.values.ravel()


@dataclass(frozen=True)
class Problem:
    """A workload with its numbers.

    X : (n_rows, n_in) float32, or Sparse
    y : (n_rows,) int64 labels, or (n_rows, n_out) float32
    W, b : first weights (n_out, n_in) and biases (n_out,) of each layer, float32
    orders : (N_ORDERS, steps * batch) int64, the rows of an epoch in order
    """

    workload: Workload
    n_threads: int
    X: np.ndarray | Sparse
    y: np.ndarray
    W: list[np.ndarray]
    b: list[np.ndarray]
    orders: np.ndarray


def make_problem(workload: Workload, n_threads: int = 1) -> Problem:
    rng = np.random.default_rng(SEED)
    sizes = workload.sizes
    W, b = [], []
    for n_in, n_out in pairwise(sizes):  # He's scale: activations keep their size
        W.append(rng.standard_normal((n_out, n_in), dtype="f4") * np.float32((2 / n_in) ** 0.5))
        b.append(rng.standard_normal(n_out, dtype="f4") * np.float32(0.01))
    if workload.kind == "predict":
        X = rng.random((workload.batch, sizes[0]), dtype="f4")
        return Problem(workload, n_threads, X, np.empty(0), W, b, np.empty((0, 0), np.int64))
    n = workload.n_rows
    taken = workload.steps * workload.batch
    orders = np.stack([rng.permutation(n)[:taken] for _ in range(N_ORDERS)])
    if workload.data == "mnist":
        X, y = mnist(n)
    else:
        X, y = (sparse if workload.data == "sparse" else dense)(workload, rng)
    return Problem(workload, n_threads, X, y, W, b, orders)


def dense(workload: Workload, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows without zeros; labels that do not depend on them, or a linear target with noise."""
    n, n_in, n_out = workload.n_rows, workload.sizes[0], workload.sizes[-1]
    X = rng.random((n, n_in), dtype="f4")
    if workload.output == "softmax":
        return X, rng.integers(0, n_out, n)
    slope = rng.standard_normal((n_in, n_out), dtype="f4") / np.float32(n_in**0.5)
    return X, X @ slope + np.float32(0.1) * rng.standard_normal((n, n_out), dtype="f4")


def sparse(workload: Workload, rng: np.random.Generator) -> tuple[Sparse, np.ndarray]:
    """As words in texts: column j comes about 1 / (j + 10) as often as another."""
    n, n_in = workload.n_rows, workload.sizes[0]
    columns = np.empty((n, ENTRIES), np.int32)
    wait = np.arange(n_in, dtype="f4") + 10  # the first of n_in clocks to ring
    for row in columns:
        row[:] = np.argpartition(rng.standard_exponential(n_in, "f4") * wait, ENTRIES)[:ENTRIES]
    columns.sort(1)
    values = rng.random((n, ENTRIES), dtype="f4")
    return Sparse(columns, values, n_in), rng.integers(0, workload.sizes[-1], n)


def mnist(n: int, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """The first n images of a part as (n, 784) in [0, 1], and their labels; four in five are 0."""
    folder = os.environ.get("FASTNN_DATA")
    path = Path(folder or "", "mnist.npz")
    if not folder or not path.exists():
        raise Unavailable("FASTNN_DATA names no folder with mnist.npz")
    with np.load(path) as files:
        images, labels = files[f"{part}_images"][:n], files[f"{part}_labels"][:n]
    return images.reshape(n, 784).astype("f4") / np.float32(255), labels.astype(np.int64)


def reference_forward(problem: Problem, X: np.ndarray) -> np.ndarray:
    """h^(K) of the rows of X with the first weights: what every prediction is compared with."""
    workload, h = problem.workload, X
    for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), 1):
        a = h @ W.T + b
        if k == len(problem.W):
            break
        h = np.maximum(a, 0) if workload.hidden == "relu" else 1 / (1 + np.exp(-a))
    if workload.output == "identity":
        return a
    e = np.exp(a - a.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
