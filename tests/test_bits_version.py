"""Which version of the bits trained the weights: kept by copies and files, said when training goes
on with another."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

import fastnn
from fastnn.cli import main
from fastnn.config import BITS_VERSION
from fastnn.network import parameters as module
from fastnn.tabular import Recipe, TabularRegressor

X = np.random.default_rng(0).normal(size=(40, 3))
y = X[:, 0] - X[:, 1]
SAID = r"weights of bits version {} are trained on with {}: .*reproducibility\.md"


def trained(**settings):
    model = fastnn.Model([3, 4, 1], output="identity", seed=0)
    model.fit(X, y, epochs=1, batch_size=8, **settings)
    return model


def version(model):
    return model._parameters.bits_version


@pytest.fixture
def newer(monkeypatch):
    """What was trained before is of another version."""
    return lambda: monkeypatch.setattr(module, "BITS_VERSION", BITS_VERSION + 1)


def warns():
    return pytest.warns(UserWarning, match=SAID.format(BITS_VERSION, BITS_VERSION + 1))


def edited(path, text, change):
    """The file with one of its JSON texts changed."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    inner = json.loads(header["__metadata__"][text])
    change(inner)
    header["__metadata__"][text] = json.dumps(inner)
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + raw[8 + n :])


def test_copies_and_files_keep_it(newer, tmp_path):
    model = trained()
    newer()
    model.save(tmp_path / "m")
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        model.network_only(),
        fastnn.load(tmp_path / "m"),
    ):
        assert version(other) == BITS_VERSION
    assert version(trained()) == BITS_VERSION + 1


def test_files_and_pickles_from_before_are_of_version_1(newer, tmp_path):
    newer()
    model = trained()
    model.save(tmp_path / "m")
    assert version(fastnn.load(tmp_path / "m")) == BITS_VERSION + 1
    edited(tmp_path / "m", "training", lambda training: training.pop("bits_version"))
    assert version(fastnn.load(tmp_path / "m")) == 1
    state = model._parameters.__getstate__()
    del state["bits_version"]
    old = model._parameters.copy()
    old.__setstate__(state)
    assert old.bits_version == 1


@pytest.mark.parametrize("wrong", [0, -1, True, "1", 1.0, None, 2**31])
def test_a_wrong_one_is_refused(tmp_path, wrong):
    trained().save(tmp_path / "m")
    edited(tmp_path / "m", "training", lambda training: training.update(bits_version=wrong))
    with pytest.raises(fastnn.ModelFileError, match="bits_version must be a number from 1, got"):
        fastnn.load(tmp_path / "m")


@pytest.mark.parametrize("how", ["fit", "partial_fit", "a row", "L-BFGS"])
def test_training_that_goes_on_says_so_once(newer, how):
    if how == "L-BFGS":
        pytest.importorskip("scipy")
    model = trained(optimizer=fastnn.LBFGS()) if how == "L-BFGS" else trained()
    newer()
    with warns() as said:
        if how == "fit":
            model.fit(X, y, epochs=1)
        elif how == "L-BFGS":
            model.fit(X, y, epochs=1, optimizer=fastnn.LBFGS())
        else:
            rows = slice(0, 1 if how == "a row" else None)
            model.partial_fit(X[rows], y[rows])
    assert len(said) == 1 and version(model) == BITS_VERSION + 1
    model.fit(X, y, epochs=1)  # without a word


def test_untrained_weights_have_nothing_to_say(newer):
    model = fastnn.Model([3, 4, 1], output="identity", seed=0)
    newer()
    model.fit(X, y, epochs=1)
    assert version(model) == BITS_VERSION + 1


def test_a_resumed_fit_says_so(newer, tmp_path):
    run = tmp_path / "run"
    trained(callbacks=[fastnn.Checkpoint(run)])
    newer()
    model = fastnn.Model([3, 4, 1], output="identity", seed=0)
    with warns() as said:
        again = [fastnn.Checkpoint(run)]
        model.fit(X, y, epochs=2, batch_size=8, callbacks=again, resume=run)
    assert len(said) == 1 and version(model) == BITS_VERSION + 1


class Refuses(fastnn.Callback):
    def on_fit_begin(self, fit):
        raise KeyError("refused")


class RefusesAnEpoch(fastnn.Callback):
    def on_epoch_begin(self, fit):
        raise KeyError("refused")


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": 1e30}, {"callbacks": [Refuses()]}, {"callbacks": [RefusesAnEpoch()]}],
)
def test_a_fit_that_fails_leaves_it(newer, settings):
    model = trained()
    newer()
    theta = model.theta.copy()
    with warns(), pytest.raises((fastnn.DivergenceError, KeyError)):
        model.fit(X, y, epochs=50, **settings)
    assert version(model) == BITS_VERSION and (model.theta == theta).all()


def test_a_resumed_fit_that_is_refused_leaves_it(newer, tmp_path):
    run = tmp_path / "run"
    trained(callbacks=[fastnn.Checkpoint(run)])
    model = trained()
    newer()
    with warns(), pytest.raises(KeyError):
        again = [fastnn.Checkpoint(run), Refuses()]
        model.fit(X, y, epochs=2, batch_size=8, callbacks=again, resume=run)
    assert version(model) == BITS_VERSION


def test_a_row_that_diverges_leaves_it(newer):
    model = trained()
    newer()
    with warns(), pytest.raises(fastnn.DivergenceError):
        model.partial_fit(X[:1], [1e30])
    assert version(model) == BITS_VERSION


def test_a_warning_made_an_error_leaves_the_model(newer):
    model = trained()
    newer()
    theta = model.theta.copy()
    for call in (model.fit, model.partial_fit):
        with pytest.raises(UserWarning, match=SAID.format(BITS_VERSION, BITS_VERSION + 1)):
            call(X, y)
    assert version(model) == BITS_VERSION and (model.theta == theta).all()


def test_an_estimator_keeps_it(tmp_path, capsys):
    path = tmp_path / "m"
    recipe = Recipe(hidden=(8,), epochs=2)
    TabularRegressor(recipe=recipe, random_state=0).fit(X, y).save(path)
    assert fastnn.load(path)._ensemble.bits_version == BITS_VERSION
    edited(path, "about", lambda about: about.update(bits_version=7))
    fastnn.load(path).save(path)
    assert fastnn.load(path)._ensemble.bits_version == 7
    assert main(["info", str(path)]) == 0
    assert "bits        version 7\n" in capsys.readouterr().out
    main(["info", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["bits_version"] == 7
    edited(path, "about", lambda about: about.pop("bits_version"))
    assert fastnn.load(path)._ensemble.bits_version == 1
    edited(path, "about", lambda about: about.update(bits_version=0))
    with pytest.raises(fastnn.ModelFileError, match="bits_version must be a number from 1"):
        fastnn.load(path)


def test_info_shows_it_of_what_was_trained(tmp_path, capsys):
    path = tmp_path / "m"
    trained().save(path)
    edited(path, "training", lambda training: training.update(bits_version=7))
    main(["info", str(path)])
    assert "bits        version 7\n" in capsys.readouterr().out
    fastnn.Model([3, 4, 1], output="identity").save(path)
    main(["info", str(path)])
    assert "bits" not in capsys.readouterr().out
    main(["info", str(path), "--json"])
    assert json.loads(capsys.readouterr().out)["bits_version"] is None
