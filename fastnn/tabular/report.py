"""A fitted estimator on rows whose target is known: scores, columns that matter, and a page of
both and more. Rows are new ones, or those of the fit, each answered by networks that have not seen
it."""

from __future__ import annotations

import os
import platform
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np

from fastnn.checks import counted
from fastnn.config import __version__
from fastnn.drawing import page
from fastnn.drawing.charts import Range, Series, legend, plot
from fastnn.explain.importance import Importance
from fastnn.files.atomic import replacing
from fastnn.report import scores
from fastnn.tables.categories import Categorical, Ordered
from fastnn.tables.columns import Columns
from fastnn.tables.dates import Dates
from fastnn.tables.inputs import TableInputs
from fastnn.tables.table import Arrays
from fastnn.tabular.folds import evenly
from fastnn.training.history import History
from fastnn.training.weights import as_weights

# Rows whose cells are shuffled in all, of each column: as many as pass through the networks in a
# few seconds.
OPERATIONS, FEWEST, SHUFFLED = 2e11, 500, 5000
MATTER, DEPENDENCES = 12, 6  # columns drawn
GRID, CATEGORIES, AVERAGED = 8, 10, 200  # values asked of a column, and rows averaged over
CLASSES, COLORS = 25, 6  # of a confusion matrix; that can be told apart in a drawing
CURVES, POINTS = 8, 80  # learning curves drawn, and points of each
SCATTERED, BINS, HEAPS = 500, 10, 24  # dots of amounts; bins of probabilities, and of errors
LINES = 100  # on columns as they were read


class Report:
    """What an estimator says of rows, beside what is true.

    Parameters
    ----------
    estimator, X, y, sample_weight, held_out
        A TabularClassifier or TabularRegressor, and the arguments of its `report`.

    Attributes
    ----------
    scores : dict
        As of `fastnn.report.scores`.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, sample_weight: Any = None, held_out: bool = False
    ) -> None:
        self._data, self._truth = estimator._rows(X, y)
        self._weights = as_weights(sample_weight, self._data.n_rows)
        self._estimator, self._held_out = estimator, held_out
        columns: Columns = estimator.columns_
        self._columns = columns
        if held_out:
            of = estimator._held_out_of(self._data)
            self._rows, self._answers = of.rows, of.predictions
        else:
            self._rows = np.arange(self._data.n_rows)
            with estimator._bound():
                self._answers = estimator._ensemble.predict(columns.encode(self._data))
        self._classes: list[str] = columns.class_names or []
        truth = self._truth[self._rows]
        if columns.amounts:
            self.scores: dict[str, Any] = scores.regression(truth, self._answers)
        else:
            self.scores = scores.classification(truth, self._answers, self._classes)

    @cached_property
    def importance(self) -> Importance:
        """As of the estimator's `permutation_importance`, of some of the rows."""
        ensemble, pack = self._estimator._ensemble, self._estimator._pack
        members = ensemble.n_parameters / (pack.n_folds if self._held_out else 1)
        shuffled = int(OPERATIONS / (2 * members * len(ensemble.features())))
        shuffled = min(max(shuffled, FEWEST), SHUFFLED)
        repeats = max(1, min(5, shuffled // len(self._rows)))
        importance: Importance = self._estimator._importance(
            *(self._data, self._truth, self._weights, repeats, 0, self._held_out, shuffled)
        )
        return importance

    def write(self, path: str | PathLike[str]) -> None:
        """The page, in place of what may stand at `path`."""
        content = self.html().encode()
        with replacing(path) as file:
            file.write(content)

    def html(self) -> str:
        """The page."""
        amounts = self._columns.amounts
        rows = counted(len(self._rows), "row")
        file = os.path.basename(self._data.path)
        source = f" of {file}" if file not in ("", "X") else ""
        how = ", each predicted by networks that have not seen it" if self._held_out else ""
        once = "" if self._weights is None else " Each row counts once here, whatever its weight."
        told = f"Measured on {rows}{source}{how}.{once}"
        return page.page(
            f"How well {self._columns.names[0]} is predicted",
            told,
            [
                self._scores(),
                self._matter(),
                self._dependences(),
                *([self._errors()] if amounts else [self._calibration(), self._confusion()]),
                self._curves(),
                self._read(),
                self._settings(),
            ],
        )

    # Sections

    def _scores(self) -> str:
        parts = [page.scores([("rows", f"{self.scores['rows']:,}"), *scores.told(self.scores)])]
        if "classes" in self.scores:
            rows = [
                [
                    name,
                    *(scores.share_text(each[ratio]) for ratio in ("precision", "recall", "f1")),
                    f"{each['support']:,}",
                ]
                for name, each in self.scores["classes"].items()
            ]
            head = ["class", "precision", "recall", "F1", "rows"]
            parts.append(page.table(head, rows, "Of each class"))
        return page.section("Scores", *parts)

    def _matter(self) -> str:
        names, mean, order = self.importance.names, self.importance.mean, self._order()
        loss = "RMSE" if self._columns.amounts else "log loss"
        few = order[:MATTER]
        told = scores.alike(mean[few], "+")
        rows = [(names[j], float(mean[j]), one) for j, one in zip(few, told, strict=True)]
        more = len(order) - len(rows)
        (before,) = scores.alike(np.array([self.importance.loss]))
        return page.section(
            "Columns that matter",
            page.text(
                f"How much the {loss} rises where a column's cells are shuffled among the rows, "
                "so that they tell nothing. Of two columns that say the same, each may seem "
                "unimportant."
            ),
            page.bars(["column", "rise"], rows, f"Rise of the {loss} of {before}"),
            page.text(f"{counted(more, 'column')} more matter less.") if more else "",
        )

    def _order(self) -> np.ndarray:
        """Places of columns, those that matter most first."""
        return np.argsort(-self.importance.mean, kind="stable")

    def _dependences(self) -> str:
        known = self._rows[evenly(len(self._rows), AVERAGED)]
        encoded = self._columns.encode(self._data.take(known), warn_unknown=False)
        names = [self.importance.names[j] for j in self._order()[:DEPENDENCES].tolist()]
        with self._estimator._bound():
            drawn = [self._dependence(name, encoded) for name in names]
        what = "prediction" if self._columns.amounts else "probability"
        return page.section(
            "Partial dependence",
            page.text(
                f"The mean {what} for {counted(len(known), 'row')} where all have the same value "
                "in one column, and their own in all others."
            ),
            page.figures(drawn),
        )

    def _dependence(self, name: str, encoded: np.ndarray) -> str:
        """Of predictions on a column: a row for each of its values, whose features all rows get."""
        donors, values, words = self._asked(name)
        if not len(donors):
            return ""
        features = self._estimator._ensemble.features()[name]
        cells = self._columns.encode(self._data.take(donors), warn_unknown=False)[:, features]
        means = np.empty((len(donors), max(len(self._classes), 1)))
        for k, of_donor in enumerate(cells):
            X = encoded.copy()
            X[:, features] = of_donor
            answers = self._estimator._ensemble.predict(X)
            means[k] = answers.reshape(len(X), -1).mean(0)
        shown = self._shown(means)
        if words:
            caption = f"Mean {self._y_title()}"
            if len(shown) > 1:
                rows = [
                    (word, [(f"{m[k]:.3f}", float(m[k])) for _, m in shown])
                    for k, word in enumerate(words)
                ]
                body = page.matrix("value", [one for one, _ in shown], rows, caption)
            else:
                ((_, m),) = shown
                lengths = m - min(0.0, float(m.min()))
                bars = list(zip(words, lengths.tolist(), scores.alike(m), strict=True))
                body = page.bars(["value", "mean"], bars, caption)
            return page.figure(body, "", name)
        series = [
            Series(values, m, one if len(shown) > 1 else "", color=i + 1, dots=True)
            for i, (one, m) in enumerate(shown)
        ]
        told = "; ".join(
            f"{one or 'prediction'} from {m[0]:.4g} at {values[0]:.6g} to {m[-1]:.4g} at "
            f"{values[-1]:.6g}"
            for one, m in shown
        )
        drawing = plot(
            series,
            title=f"Partial dependence on {name}",
            told=told,
            x_title=name,
            y_title=self._y_title(),
            x=Range.of(values, skewed=True),
        )
        return page.figure(drawing, "", name, legend(series))

    def _y_title(self) -> str:
        if self._columns.amounts:
            return self._columns.names[0]
        return f"P({self._classes[1]})" if len(self._classes) == 2 else "probability"

    def _shown(self, means: np.ndarray) -> list[tuple[str, np.ndarray]]:
        """Columns of answers that are drawn, with their names."""
        if self._columns.amounts:
            return [("", means[:, 0])]
        if len(self._classes) == 2:
            return [(self._classes[1], means[:, 1])]
        support = np.bincount(self._truth[self._rows], minlength=len(self._classes))
        commonest = np.sort(np.argsort(-support, kind="stable")[:COLORS])
        return [(self._classes[c], means[:, c]) for c in commonest.tolist()]

    def _asked(self, name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Rows with different cells in a column; these as numbers, or else as words."""
        if isinstance(self._data, Arrays):
            numbers = np.asarray(self._data.X[self._rows, int(name[1:])], np.float64)
        else:
            inputs = self._columns.inputs
            assert isinstance(inputs, TableInputs)
            kind = next(one for one in inputs.columns if one.name == name)
            table = self._data.select([name]).take(self._rows)
            cells = table.column(name)
            if isinstance(kind, Categorical | Ordered):
                codes, words = cells.coded()
                counts = np.bincount(codes, minlength=len(words))
                most = np.argsort(-counts, kind="stable")[:CATEGORIES].tolist()
                order = {word: i for i, word in enumerate(kind.categories)}
                most.sort(key=lambda c: order.get(words[c], len(order)))
                first = np.array([int(np.argmax(codes == c)) for c in most])
                return self._rows[first], np.array([]), [words[c] or "(missing)" for c in most]
            if isinstance(kind, Dates):
                numbers = kind.numbers(table)
            else:
                numbers = cells.numbers(kind.decimal)
        known = np.flatnonzero(np.isfinite(numbers))
        if not len(known):
            return known, np.array([]), []
        # Quantiles of the rows and of the different values, the extremes aside.
        ordered = known[np.argsort(numbers[known], kind="stable")]
        first = np.unique(numbers[ordered], return_index=True)[1]
        chosen = np.concatenate([_quantiles(ordered), _quantiles(ordered[first])])
        chosen = chosen[np.unique(numbers[chosen], return_index=True)[1]]
        return self._rows[chosen], numbers[chosen], []

    def _calibration(self) -> str:
        p, labels = self._answers, self._truth[self._rows]
        if len(self._classes) == 2:
            said, happened, what = p[:, 1], labels == 1, f"P({self._classes[1]})"
        else:
            said, happened, what = p.max(1), p.argmax(1) == labels, "probability of the likeliest"
        order = np.argsort(said, kind="stable")
        bins = [part for part in np.array_split(order, min(BINS, len(order))) if len(part)]
        x = np.array([said[part].mean() for part in bins])
        y = np.array([happened[part].mean() for part in bins])
        unit = np.array([0.0, 1.0])
        series = [
            Series(unit, unit, "as said", color=0),
            Series(x, y, "here", color=1, dots=True),
        ]
        axis = Range.of(unit)
        drawing = plot(
            series,
            title="Calibration",
            told="; ".join(f"{a:.2f} said, {b:.2f} seen" for a, b in zip(x, y, strict=True)),
            x_title=what,
            y_title="share of rows",
            x=axis,
            y=axis,
        )
        caption = (
            f"Each dot is a {'tenth' if len(bins) == BINS else 'part'} of the rows: the mean of "
            f"{what}, and in what share it was so. The expected calibration error is "
            f"{self.scores['ece']:.4f}."
        )
        shown = page.figures([page.figure(drawing, caption, "", legend(series))])
        return page.section("Calibration", shown)

    def _confusion(self) -> str:
        counts = np.array(self.scores["confusion_matrix"])
        names = self._classes
        if len(names) > CLASSES:
            off = counts - np.diag(np.diag(counts))
            order = np.argsort(-off, axis=None, kind="stable")[:CLASSES]
            rows = [
                [names[i], names[j], f"{off[i, j]:,}"]
                for i, j in zip(*np.unravel_index(order, off.shape), strict=True)
                if off[i, j]
            ]
            body = page.table(["true class", "predicted", "rows"], rows, "The commonest mistakes")
        else:
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            cells = [
                [(f"{n:,}", float(share)) for n, share in zip(row, part, strict=True)]
                for row, part in zip(counts, shares, strict=True)
            ]
            told = page.text("The stronger a cell's colour, the larger its share of the class.")
            body = told + page.matrix(
                "true", names, zip(names, cells, strict=True), "Predicted class"
            )
        return page.section("Confusion matrix", body)

    def _errors(self) -> str:
        truth, f = self._truth[self._rows], self._answers
        few = evenly(len(f), SCATTERED)
        axis = Range.of(np.concatenate([truth[few], f[few]]), skewed=True)
        name = self._columns.names[0]
        seen = [
            Series(axis.ends, axis.ends, "right", color=0),
            Series(truth[few], f[few], "", line=False, dots=True, faint=True),
        ]
        scatter = plot(
            seen,
            title="Predicted against true",
            told=f"r2 {scores.share_text(self.scores['r2'])}, RMSE {self.scores['rmse']:.4g}",
            x_title=f"{name}, true",
            y_title="predicted",
            x=axis,
            y=axis,
        )
        off = f - truth
        low, high = np.quantile(off, [0.005, 0.995])
        heaps, edges = np.histogram(off, HEAPS, (low, high) if low < high else None)
        steps = Series(np.repeat(edges, 2), np.r_[0, np.repeat(heaps, 2), 0].astype(float))
        middle = Series(np.zeros(2), np.array([0.0, heaps.max()]), color=0)
        errors = plot(
            [middle, steps],
            title="Errors",
            told=f"half of them between {np.quantile(off, 0.25):.4g} and "
            f"{np.quantile(off, 0.75):.4g}",
            x_title="predicted less true",
            y_title="rows",
        )
        shown = "" if len(few) == len(f) else f" {len(few)} of the rows are shown."
        return page.section(
            "Errors",
            page.figures(
                [
                    page.figure(scatter, f"On the line they are equal.{shown}", "Predicted, true"),
                    page.figure(errors, "Right of 0 too much was predicted.", "How far off"),
                ]
            ),
        )

    def _curves(self) -> str:
        histories: list[History] = vars(self._estimator).get("histories_", [])
        if not histories:
            return ""
        few = [histories[i] for i in evenly(len(histories), CURVES)]
        drawn = [_learning_curves(few, ("loss", "val_loss"), "loss")]
        if "val_accuracy" in few[0]:
            drawn.append(_learning_curves(few, ("val_accuracy",), "accuracy"))
        which = counted(len(histories), "network")
        if len(few) < len(histories):
            which = f"{len(few)} of {which}"
        return page.section(
            "Learning curves",
            page.text(
                f"Of {which}: on the rows trained on, and on those held out, where the epoch that "
                "was kept is the best."
            ),
            page.figures(drawn),
        )

    def _read(self) -> str:
        lines = self._columns.lines()
        more = len(lines) - LINES
        if more > 0:
            lines = [*lines[:LINES], ("", f"... and {counted(more, 'line')}")]
        return page.section("Columns as they were read", page.facts(lines))

    def _settings(self) -> str:
        lines = [
            ("estimator", repr(self._estimator)),
            ("networks", dict(self._estimator._lines())["networks"]),
            *(("recipe", repr(one)) for one in self._estimator._pack.recipes[:DEPENDENCES]),
            (
                "versions",
                f"fastnn {__version__}, NumPy {np.__version__}, Python "
                f"{platform.python_version()}, {platform.machine()}",
            ),
        ]
        return page.section("Settings and versions", page.facts(lines))


def _learning_curves(histories: list[History], names: tuple[str, ...], title: str) -> str:
    """Of several networks; names: of the columns."""
    series = []
    for name in names:
        color = 2 if name.startswith("val_") else 1
        for i, history in enumerate(histories):
            epochs = np.asarray(history.epoch, np.float64)
            values = np.asarray(history[name], np.float64)
            rows = evenly(len(epochs), POINTS)
            label = "" if i else ("trained on", "held out")[color - 1]
            faint = len(histories) > 2
            series.append(Series(epochs[rows], values[rows], label, color, faint=faint))
    y = np.concatenate([one.y for one in series])
    y = y[np.isfinite(y)]
    low, high = np.quantile(y, [0.01, 0.99]) if len(y) else (0.0, 1.0)
    last = [one.y[-1] for one in series if len(one.y)]
    drawing = plot(
        series,
        title=f"Learning curves: {title}",
        told=f"at the end between {min(last):.4g} and {max(last):.4g}",
        x_title="epoch",
        y_title=title,
        y=Range.of(np.array([low, high])),
    )
    return page.figure(drawing, "", title, legend(series))


def _quantiles(ordered: np.ndarray) -> np.ndarray:
    """Some of what is in order, from near its beginning to near its end."""
    return ordered[np.round(np.linspace(0.01, 0.99, GRID) * (len(ordered) - 1)).astype(np.intp)]
