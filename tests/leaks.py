"""Everything that allocates, some rounds of it, for LeakSanitizer: `make leaks`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import fastnn
import fastnn.online


def main() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 5)).astype("f4"), np.arange(200) % 3
    table, labels = {"a": [*range(40)], "b": ["u", "v"] * 20}, ["x", "y"] * 20
    with tempfile.TemporaryDirectory() as folder:
        path, text = Path(folder) / "model.safetensors", Path(folder) / "table.csv"
        text.write_text("a,b\n" + "".join(f"{i},u{i % 3}\n" for i in range(3000)))
        for i in range(20):
            kinds = dict(norm=[None, "batch", "layer"][i % 3], dropout=[0.0, 0.1][i % 2])
            model = fastnn.Model([5, 8, 3], seed=i, n_threads=2, **kinds)
            model.fit(X, y, epochs=2, optimizer=["sgd", "adam", "rprop"][i % 3])
            for rows in (X, X[:2]):
                model.predict(rows)
                model.predictor()(rows)
                model.loss_and_gradient(rows, y[: len(rows)])
            model.partial_fit(X[:2], y[:2], batch_size=2)
            model.predict(X[:1])
            model.evaluate(X, y)
            model.save(path)
            fastnn.load(path)
            path.write_bytes(path.read_bytes()[: -5 * i - 1])
            for refused in (lambda: fastnn.load(path), lambda: model.fit(X, 9 * y)):  # noqa: B023
                try:
                    refused()
                except ValueError:
                    pass
        for _ in range(5):
            fastnn.tables.read(text)
            model = fastnn.Model([None, 3, None], seed=0)
            model.fit(table, labels, epochs=1)
            model.predict([{"a": 1, "b": "u"}])
            model.predict_one({"a": 1, "b": "u"})
            learner = fastnn.online.Learner(seed=0)
            learner.learn_one({"a": 1.0, "b": "u"}, "x")
            fastnn.fit_many([fastnn.Model([5, 8, 3], seed=i) for i in range(4)], X, y, epochs=1)


if __name__ == "__main__":
    main()
