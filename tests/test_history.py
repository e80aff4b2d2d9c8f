"""History: its lists, its table, its picture."""

from __future__ import annotations

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
    for name in ("loss", "val_loss", "val_r2", "seconds"):
        values = getattr(fitted, name)
        assert len(values) == 3 and all(type(value) is float for value in values)
    assert fitted.val_accuracy == []


def test_table(fitted):
    lines = repr(fitted).splitlines()
    assert lines[0].split() == ["epoch", "loss", "val_loss", "val_r2", "seconds"]
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


def test_plot_names_the_extra(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(fastnn.MissingExtraError, match=r"pip install 'fastnn\[plot\]'") as caught:
        fitted.plot()
    assert isinstance(caught.value, ImportError)
