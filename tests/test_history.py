"""History: its lists, its table, its picture."""

from __future__ import annotations

import copy
import pickle
import sys

import numpy as np
import pytest

import fastnn


@pytest.fixture
def fitted():
    X = np.arange(12.0).reshape(6, 2) / 12
    model = fastnn.Model([2, 3, 1], output="identity", seed=0)
    return model.fit(X, X[:, 0], epochs=3, validation_data=(X, X[:, 0]))


def test_lists(fitted):
    assert fitted.epoch == [1, 2, 3]
    assert len(fitted) == 3
    for name in ("loss", "val_loss", "val_r2", "learning_rate", "seconds"):
        values = getattr(fitted, name)
        assert len(values) == 3 and all(type(value) is float for value in values)
    assert list(fitted.columns()) == [
        *("epoch", "loss", "val_loss", "val_r2", "learning_rate", "seconds"),
    ]
    with pytest.raises(AttributeError, match="no column 'val_accuracy'; it has epoch, loss, val_"):
        fitted.val_accuracy  # noqa: B018
    with pytest.raises(AttributeError, match="no columns yet"):
        fastnn.History().loss  # noqa: B018


def test_a_row_that_is_not_finished_is_none():
    class Interrupted(list):
        def append(self, value):
            super().append(value)
            raise KeyboardInterrupt

    history = fastnn.History({"epoch": [1.0], "b": [2.0], "c": [3.0]})
    history._columns["b"] = Interrupted([2.0])
    with pytest.raises(KeyboardInterrupt):
        history.append(epoch=4.0, b=5.0, d=6.0)
    assert {len(values) for values in history._columns.values()} == {1}


def test_columns_of_any_name():
    """A column that begins late, or that an epoch has no value for, has NaN there."""
    history = fastnn.History()
    history.append(epoch=1, loss=0.5)
    history.append(epoch=2, loss=0.25, gap=3.0)
    history.append(epoch=3, loss=0.125)
    history.set(late=7.0)
    nan = np.nan
    np.testing.assert_array_equal(history.gap, [nan, 3, nan])
    np.testing.assert_array_equal(history.late, [nan, nan, 7])
    history.append(epoch=4, loss=0.0, gap=1.0)
    assert history.epoch == [1, 2, 3, 4] and len(history) == 4
    np.testing.assert_array_equal(history.late, [nan, nan, 7, nan])
    for twin in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert repr(twin) == repr(history)


def test_table(fitted):
    lines = repr(fitted).splitlines()
    assert lines[0].split() == [
        *("epoch", "loss", "val_loss", "val_r2", "learning_rate", "seconds"),
    ]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3"]
    assert repr(fastnn.History()) == "History of no epochs"


def test_plot(fitted, tmp_path):
    pytest.importorskip("matplotlib")
    figure = fitted.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    loss, score = figure.axes
    assert [line.get_label() for line in loss.lines] == ["loss", "val_loss"]
    assert [line.get_label() for line in score.lines] == ["val_r2"]
    assert loss.lines[0].get_ydata().tolist() == fitted.loss


def test_plot_of_everything():
    pytest.importorskip("matplotlib")
    n = 60
    columns = {
        name: list(np.linspace(1, 2, n))
        for name in ("loss", "val_loss", "learning_rate", "val_f1", "f1", "val_auc", "seconds")
    }
    history = fastnn.History(
        {"epoch": list(range(1, n + 1)), **columns, "gradient_norm_1": [1] * n}
    )
    panels = history.plot().axes
    labels = [[line.get_label() for line in axes.lines] for axes in panels]
    assert labels == [["loss", "val_loss"], ["val_f1", "f1"], ["val_auc"], ["learning_rate"]]
    assert panels[0].get_gridspec().get_geometry() == (2, 3)


def test_plot_gradients(tmp_path):
    pytest.importorskip("matplotlib")
    X = np.arange(12.0).reshape(6, 2) / 12
    model = fastnn.Model([2, 3, 4, 1], output="identity", dtype="float64", seed=0)
    history = model.fit(X, X[:, 0], epochs=2, callbacks=[fastnn.GradientNorms(X[:3], X[:3, 0])])
    _, grad = model.loss_and_gradient(X[:3], X[:3, 0])
    for layer in model._network.layers:
        got = history.columns()[f"gradient_norm_{layer.k}"][-1]
        assert got == pytest.approx(np.linalg.norm(grad[layer.W]), rel=1e-14)
    figure = history.plot_gradients(tmp_path / "norms.svg")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == ["layer 3", "layer 2", "layer 1"]
    assert len({tuple(line.get_color()) for line in axes.lines}) == 3
    assert axes.get_yscale() == "log" and (tmp_path / "norms.svg").exists()
    with pytest.raises(ValueError, match="GradientNorms"):
        fastnn.History().plot_gradients()


def test_plot_names_the_extra(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(fastnn.MissingExtraError, match=r"fastnn-cpu\[plot\]") as caught:
        fitted.plot()
    assert isinstance(caught.value, ImportError)


def test_items_rows_and_frames(fitted):
    assert fitted["loss"] is fitted.loss and "loss" in fitted and "val_f1" not in fitted
    assert dict(fitted) == fitted.columns()
    assert [row["epoch"] for row in fitted] == [1, 2, 3]
    for wrong in ("val_f1", 0):
        with pytest.raises(KeyError, match=r"no column .*; it has epoch, loss, val_"):
            fitted[wrong]
    for library, history in (("pandas", fitted), ("polars", dict(fitted))):
        frame = pytest.importorskip(library).DataFrame(history)
        assert list(frame.columns) == list(fitted.columns())
        assert list(frame["val_loss"]) == fitted.val_loss
    assert list(fastnn.History()) == []
