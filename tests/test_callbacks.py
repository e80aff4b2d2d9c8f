"""Validation, callbacks, early stopping: order, errors, what they see, what they leave."""

from __future__ import annotations

import csv
import os
import sys
import types

import numpy as np
import pytest

import fastnn
from fastnn.training.loop import Run
from fastnn.training.split import split


def data(n=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    return X, X[:, :3].argmax(1).astype(np.int32)


def make(dtype="float32", **settings):
    return fastnn.Model([4, 6, 3], activation="tanh", dtype=dtype, seed=5, **settings)


def fit(model, **arguments):
    arguments = {"epochs": 4, "batch_size": 8, "optimizer": fastnn.SGD(0.1, 0.9), **arguments}
    return model.fit(*data(), **arguments)


def state(model):
    p = model._parameters
    return p.theta.tobytes(), p.optimizer, p.state.tobytes(), p.epoch, p.steps


# Rows held out


def test_validation_split_is_the_split_by_hand():
    X, y = data()
    one, two = make(), make()
    history = one.fit(X, y, epochs=3, batch_size=8, validation_split=0.25, shuffle=False)
    rows, held_out = split(len(X), 0.25, 5, y)
    twin = two.fit(
        *(X[rows], y[rows]),
        epochs=3,
        batch_size=8,
        validation_data=(X[held_out], y[held_out]),
        shuffle=False,
    )
    assert one.theta.tobytes() == two.theta.tobytes()
    assert history.loss == twin.loss and history.val_loss == twin.val_loss
    for label in range(3):  # of each class its share
        assert abs((y[held_out] == label).sum() - 0.25 * (y == label).sum()) <= 0.5


def test_rows_held_out_are_never_trained_on():
    X, y = data()
    rows, held_out = split(len(X), 0.2, 5, y)
    one, two = make(), make()
    fit(one, validation_split=0.2)
    spoilt = X.copy()
    spoilt[held_out] = 100
    two.fit(spoilt, y, epochs=4, batch_size=8, optimizer=fastnn.SGD(0.1, 0.9), validation_split=0.2)
    assert one.theta.tobytes() == two.theta.tobytes()
    spoilt[rows[0]] = 100
    two.fit(spoilt, y, epochs=1, validation_split=0.2)
    fit(one, epochs=1, validation_split=0.2)
    assert one.theta.tobytes() != two.theta.tobytes()


def test_validation_split_of_other_targets():
    X, _ = data()
    yes = (np.arange(60) < 12).astype(float)
    model = fastnn.Model([4, 1], output="sigmoid", seed=0)
    seen = []

    def rows(y_true, y_pred):
        seen.append(y_true)
        return len(y_true)

    history = model.fit(X, yes, epochs=1, validation_split=0.5, metrics=[rows])
    assert history.val_rows == [30] and seen[0].sum() == 6
    model = fastnn.Model([4, 2], output="identity", seed=0)
    history = model.fit(X, X[:, :2], epochs=1, validation_split=0.1, metrics=[rows])
    assert history.val_rows == [6]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"validation_split": 1.0}, ValueError, "validation_split must be at least 0 and below 1"),
        ({"validation_split": -0.1}, ValueError, "validation_split must be at least 0"),
        ({"validation_split": "a"}, TypeError, "validation_split must be a number"),
        ({"validation_split": 0.001}, ValueError, "validation_split must hold out at least a row"),
        (
            {"validation_split": 0.1, "validation_data": data()},
            ValueError,
            "validation_data and validation_split exclude each other",
        ),
        ({"callbacks": fastnn.Callback()}, TypeError, "callbacks must be a list"),
        ({"callbacks": [print]}, TypeError, "each of callbacks must be a fastnn.Callback, got"),
        ({"callbacks": [fastnn.EarlyStopping]}, TypeError, r"make it one: EarlyStopping\(\)"),
        (
            {"callbacks": [fastnn.EarlyStopping()]},
            ValueError,
            "EarlyStopping watches 'val_loss'; this fit measures epoch, loss, learning_rate, sec",
        ),
        (
            {"callbacks": [fastnn.EarlyStopping("val_f1")], "validation_split": 0.1},
            ValueError,
            "EarlyStopping watches 'val_f1'; this fit measures .*val_accuracy",
        ),
        (
            {"callbacks": [fastnn.Checkpoint("m", best_only=True)]},
            ValueError,
            "Checkpoint watches 'val_loss'",
        ),
        (
            {"callbacks": [fastnn.Checkpoint("nowhere/m")]},
            FileNotFoundError,
            "Checkpoint: no such folder: .*nowhere",
        ),
    ],
)
def test_wrong_arguments_change_nothing(arguments, error, message):
    model = make()
    model.fit(*data(), epochs=1, optimizer="adam")
    before = state(model)
    with pytest.raises(error, match=message):
        fit(model, **arguments)
    assert state(model) == before


# Order and errors


class Diary(fastnn.Callback):
    def __init__(self, name, notes, fails=None, when=2):
        self.name, self.notes, self.fails, self.when = name, notes, fails, when

    def note(self, event, fit):
        self.notes.append(f"{self.name} {event} {fit.epoch}")
        if event == self.fails and fit.epoch == self.when:
            raise RuntimeError(f"{self.name} failed")

    def on_fit_begin(self, fit):
        self.note("fit_begin", fit)

    def on_epoch_begin(self, fit):
        self.note("epoch_begin", fit)

    def on_epoch_end(self, fit):
        self.note("epoch_end", fit)

    def on_fit_end(self, fit):
        self.note("fit_end", fit)
        self.error = fit.error


def test_order():
    notes = []
    model = make()
    fit(model, epochs=1)
    fit(model, epochs=2, callbacks=[Diary("a", notes), Diary("b", notes)])
    events = [("fit_begin", 1), ("epoch_begin", 2), ("epoch_end", 2), ("epoch_begin", 3)]
    events += [("epoch_end", 3), ("fit_end", 3)]
    assert notes == [f"{name} {event} {epoch}" for event, epoch in events for name in "ab"]


def test_callbacks_change_no_bit():
    one, two = make(), make()
    fit(one)
    fit(two, callbacks=[fastnn.Callback(), Diary("a", []), fastnn.GradientNorms(*data())])
    assert state(one) == state(two)


@pytest.mark.parametrize("event", ["epoch_begin", "epoch_end"])
def test_a_callback_that_raises_leaves_the_last_epoch(event):
    notes, good = [], make()
    fit(good, epochs=1 if event == "epoch_begin" else 2)
    model = make()
    first, last = Diary("a", notes, event), Diary("b", notes)
    with pytest.raises(RuntimeError, match="a failed") as caught:
        fit(model, callbacks=[first, last])
    assert state(model) == state(good)
    assert notes[-2:] == ["a fit_end 2", "b fit_end 2"]
    assert last.error is caught.value
    fit(model)  # and it trains on


def test_errors_at_the_beginning_and_at_the_end():
    notes, model = [], make()
    model.fit(*data(), epochs=1, optimizer="adam")
    before = state(model)
    with pytest.raises(RuntimeError, match="b failed"):
        fit(model, callbacks=[Diary("a", notes), Diary("b", notes, "fit_begin", 1)])
    assert state(model) == before
    assert notes == ["a fit_begin 1", "b fit_begin 1", "a fit_end 1"]  # only what has begun ends
    notes.clear()
    with pytest.raises(RuntimeError, match="a failed"):
        fit(model, epochs=1, callbacks=[Diary("a", notes, "fit_end"), Diary("b", notes)])
    assert notes[-2:] == ["a fit_end 2", "b fit_end 2"]
    assert state(model)[3] == 2


def test_a_partial_fit_that_lacks_memory_changes_nothing(monkeypatch):
    def no_room(run):
        raise MemoryError

    model = make()
    model.fit(*data(), epochs=1)
    before = state(model)
    monkeypatch.setattr(Run, "check", no_room)
    with pytest.raises(MemoryError):
        model.partial_fit(*data(), batch_size=8, optimizer="adam")
    assert state(model) == before


def test_a_callback_must_leave_the_optimizer():
    change = fastnn.LambdaCallback(on_epoch_end=lambda fit: fit.model._parameters.use("adam"))
    with pytest.raises(RuntimeError, match="a callback must leave the model the optimizer of its"):
        fit(make(), callbacks=[change])


def test_a_fit_that_lacks_memory_changes_nothing():
    model, calls = make(), []
    model.fit(*data(), epochs=1)
    before, state = model.theta.copy(), model._parameters.state.copy()
    counts, epoch = model._parameters.counts.copy(), model._parameters.epoch

    def no_room(y, f):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError
        return 0.0

    with pytest.raises(MemoryError):
        fit(model, epochs=3, validation_split=0.2, metrics=[no_room], optimizer="adam")
    assert len(calls) == 2 and model.theta.tobytes() == before.tobytes()
    assert model._parameters.state.tobytes() == state.tobytes()
    assert (model._parameters.counts == counts).all() and model._parameters.epoch == epoch


def test_divergence_ends_callbacks_and_changes_nothing():
    model = fastnn.Model([4, 8, 1], output="identity", seed=0)
    before, diary = state(model), Diary("a", [])
    X, _ = data()
    with pytest.raises(fastnn.DivergenceError, match="epoch 1, "):
        model.fit(X * 10, X[:, 0], batch_size=8, learning_rate=1e30, callbacks=[diary])
    assert state(model) == before
    assert isinstance(diary.error, fastnn.DivergenceError)
    assert diary.notes[-1] == "a fit_end 1"


def test_weights_that_a_callback_sets_count():
    def reset(fit):
        fit.model.theta = np.zeros(fit.model.n_parameters)

    model = make()
    fit(model, epochs=2, callbacks=[fastnn.LambdaCallback(on_epoch_end=reset)])
    assert not model.theta.any()
    one, two = make(), make()
    one.theta = np.zeros(one.n_parameters)
    fit(one, epochs=1)
    fit(two, epochs=1, callbacks=[fastnn.LambdaCallback(on_fit_begin=reset)])
    assert one.theta.tobytes() == two.theta.tobytes()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("epoch", [1, 4])
def test_a_callback_must_not_train_the_model(optimizer, epoch):
    def train(fit):
        if fit.epoch == epoch:
            fit.model.fit(*data(), epochs=1, optimizer=optimizer)

    model, good = make(), make()
    fit(good, epochs=epoch)
    with pytest.raises(RuntimeError, match="a callback must not train"):
        fit(model, callbacks=[fastnn.LambdaCallback(on_epoch_end=train)])
    assert model.theta.tobytes() == good.theta.tobytes()
    assert (model._parameters.optimizer, model._parameters.steps) == ("momentum", 8 * epoch)


def test_stop_log_and_what_is_seen():
    seen = []

    def look(fit):
        X, y = data()
        fit.log(accuracy=fit.model.evaluate(X, y)["accuracy"])
        seen.append((fit.epoch, fit.epochs, len(fit.history), fit.model.theta.tobytes()))
        if fit.epoch == 2:
            fit.stop()

    model, twin = make(), make()
    history = fit(model, callbacks=[fastnn.LambdaCallback(on_epoch_end=look)])
    assert history.epoch == [1, 2]
    assert history.accuracy[-1] == model.evaluate(*data())["accuracy"]
    fit(twin, epochs=1)
    assert seen[0] == (1, 4, 1, twin.theta.tobytes())
    assert seen[1] == (2, 4, 2, model.theta.tobytes())
    with pytest.raises(TypeError, match="on_fit_begin must be a function"):
        fastnn.LambdaCallback(3)
    with pytest.raises(RuntimeError, match=r"fit\.save is for on_epoch_end"):
        fit(model, callbacks=[fastnn.LambdaCallback(on_fit_end=lambda fit: fit.save("m"))])


# Early stopping


def steered(values, name="measure"):
    """A callback that logs the given values, one each epoch."""
    return fastnn.LambdaCallback(
        on_epoch_end=lambda fit: fit.log(**{name: values[len(fit.history) - 1]})
    )


def stopping(values, **arguments):
    """History, model and callback of a fit whose measure takes these values."""
    model = make()
    early = fastnn.EarlyStopping("measure", **{"mode": "min", **arguments})
    history = fit(model, epochs=len(values), callbacks=[steered(values), early])
    return history, model, early


def after(epochs):
    model = make()
    fit(model, epochs=epochs)
    return model


@pytest.mark.parametrize(
    ("values", "arguments", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], {}, 5, 5),
        ([3, 1, 2, 2, 2, 0, 0], {"patience": 3}, 5, 2),
        ([3, 1, 2, 2, 0, 9, 9], {"patience": 3}, 7, 5),
        ([3, 1, 1, 0, 0], {"patience": 1}, 3, 2),  # as good is not better
        ([3.0, 2.9, 2.8, 2.0, 1.95], {"patience": 2, "min_delta": 0.15}, 5, 4),
        ([1, 2, 3, 3, 3], {"patience": 2, "mode": "max"}, 5, 3),
        ([np.nan, 2, np.nan, np.nan, 1], {"patience": 2}, 4, 2),
        ([3, 1, 2, 2, 2, 2, 2, 2], {"patience": None}, 8, 2),
        ([3, 1, 2, 1, 2, 2, 2, 2], {"patience": None, "ties": "last"}, 8, 4),
    ],
)
def test_early_stopping(values, arguments, epochs, best):
    history, model, early = stopping(values, **arguments)
    assert history.epoch[-1] == epochs
    assert early.best_epoch == best and early.best == values[best - 1]
    assert early.stopped_epoch == (epochs if epochs < len(values) else None) or epochs == len(
        values
    )
    twin = after(best)
    assert model.theta.tobytes() == twin.theta.tobytes()
    assert state(model)[1:3] == state(twin)[1:3] and state(model)[4] == state(twin)[4]
    assert model._parameters.epoch == epochs
    _, kept, _ = stopping(values, **arguments, restore_best=False)
    assert kept.theta.tobytes() == after(epochs).theta.tobytes()


def test_early_stopping_of_nothing_finite_keeps_the_last():
    _, model, early = stopping([np.nan] * 3, patience=2)
    assert early.best is None and early.stopped_epoch == 2
    assert model.theta.tobytes() == after(2).theta.tobytes()


def test_early_stopping_goes_on_from_where_nothing_was_finite(tmp_path):
    for epochs in (2, 4):
        early, model = fastnn.EarlyStopping("measure", mode="min"), make()
        callbacks = [steered([np.nan, np.nan, 2, 3]), early, fastnn.Checkpoint(tmp_path / "m")]
        fit(model, epochs=epochs, callbacks=callbacks, resume=tmp_path / "m")
        assert (early.best, early.best_epoch) == ((None, None) if epochs == 2 else (2, 3))
    assert model.theta.tobytes() == after(3).theta.tobytes()


def test_early_stopping_begins_anew_with_each_fit():
    early = fastnn.EarlyStopping("measure", patience=2, mode="min")
    model = make()
    for _ in range(2):
        history = fit(model, epochs=5, callbacks=[steered([1, 2, 3, 4, 5]), early])
        assert len(history) == 3
    assert (early.best_epoch, early.stopped_epoch) == (4, 6)


def test_early_stopping_restores_nothing_after_an_error():
    def fail(fit):
        if fit.epoch == 3:
            raise OSError("no space")

    model = make()
    early = fastnn.EarlyStopping("measure", mode="min")
    callbacks = [steered([1, 2, 3, 4]), early, fastnn.LambdaCallback(on_epoch_end=fail)]
    with pytest.raises(OSError, match="no space"):
        fit(model, callbacks=callbacks)
    assert model.theta.tobytes() == after(3).theta.tobytes()


def test_real_early_stopping_finds_the_least_validation_loss():
    model = make()
    early = fastnn.EarlyStopping(patience=3)
    history = fit(model, epochs=500, learning_rate=0.5, validation_split=0.3, callbacks=[early])
    best = int(np.argmin(history.val_loss))
    assert early.best_epoch == history.epoch[best] and len(history) < 500
    X, y = data()
    _, held_out = split(len(X), 0.3, 5, y)
    assert model.evaluate(X[held_out], y[held_out])["loss"] == history.val_loss[best]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"min_delta": -1}, ValueError, "min_delta must be at least 0"),
        ({"mode": "up"}, ValueError, "mode must be one of min, max, got 'up'"),
        (
            {"monitor": "mine"},
            ValueError,
            "EarlyStopping needs mode='min' or mode='max' for 'mine'",
        ),
        ({"monitor": 3}, TypeError, "monitor must be the name of a column, got 3"),
        ({"restore_best": 1}, TypeError, "restore_best must be True or False"),
    ],
)
def test_wrong_early_stopping(arguments, error, message):
    with pytest.raises(error, match=message):
        fastnn.EarlyStopping(**arguments)


def test_a_column_that_never_comes_is_named():
    with pytest.raises(ValueError, match="watches 'mine'; the history has epoch, loss, learning"):
        fit(make(), callbacks=[fastnn.EarlyStopping("mine", mode="min")])


def test_sense_of_metrics():
    for name in ("val_accuracy", "auc", "val_top_5", "r2", "precision", "recall", "val_f1"):
        fastnn.EarlyStopping(name, mode=None)
        assert fastnn.training.metrics.better_is(name) == "max"
    for name in ("loss", "val_loss", "val_log_loss", "rmse", "val_mae"):
        assert fastnn.training.metrics.better_is(name) == "min"
    assert fastnn.training.metrics.better_is("seconds") is None


# Files and bars


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(make(), validation_split=0.2, callbacks=[fastnn.CSVLogger(path)])
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == list(history.columns())
    for i, row in enumerate(rows):
        assert [float(cell) for cell in row] == [v[i] for v in history.columns().values()]
    assert len(rows) == 4


def test_csv_logger_leaves_a_device_what_it_is():
    assert len(fit(make(), callbacks=[fastnn.CSVLogger(os.devnull)])) == 4
    assert os.path.exists(os.devnull) and not os.path.isfile(os.devnull)


def test_csv_logger_writes_as_it_goes(tmp_path):
    path = tmp_path / "log.csv"
    lines = []
    watch = fastnn.LambdaCallback(
        on_epoch_end=lambda fit: lines.append(len(path.read_text().splitlines()))
    )
    fit(make(), epochs=3, callbacks=[fastnn.CSVLogger(path), watch])
    assert lines == [2, 3, 4]


def test_csv_logger_keeps_the_old_log_until_it_has_a_line(tmp_path):
    path, seen = tmp_path / "log.csv", []
    path.write_text("precious")
    watch = fastnn.LambdaCallback(on_epoch_end=lambda fit: seen.append(path.read_text()))
    fit(make(), epochs=2, callbacks=[watch, fastnn.CSVLogger(path)])
    assert seen[0] == "precious" and seen[1].count("\n") == 2
    assert os.listdir(tmp_path) == [path.name]


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    fit(make(), callbacks=[fastnn.ProgressBar()])
    err = capsys.readouterr().err
    assert "4/4" in err and "epoch" in err and "loss=" in err


def test_progress_bar_names_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(fastnn.MissingExtraError, match=r'pip install "fastnn-cpu\[progress\]"'):
        fastnn.ProgressBar()


@pytest.fixture
def writer(monkeypatch):
    """A stand-in for tensorboardX: what was written, and how the writer was made."""
    written = []

    class SummaryWriter:
        def __init__(self, folder, purge_step=None):
            written.append((folder, purge_step))

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            written.append("closed")

    module = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    return written


def test_tensorboard(writer):
    history = fit(make(), epochs=2, callbacks=[fastnn.TensorBoard("runs")])
    assert writer[0] == ("runs", 1) and writer[-1] == "closed"
    assert ("loss", history.loss[1], 2) in writer
    assert len(writer) == 2 + 2 * 3


def test_tensorboard_in_earnest(tmp_path):
    pytest.importorskip("tensorboardX")
    fit(make(), epochs=2, callbacks=[fastnn.TensorBoard(tmp_path)])
    assert [name for name in os.listdir(tmp_path) if "tfevents" in name]


def test_tensorboard_names_what_is_missing(monkeypatch):
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(fastnn.MissingExtraError, match=r'pip install "fastnn-cpu\[tensorboard\]"'):
        fastnn.TensorBoard("runs")


def test_checkpoint_every_and_best_only(tmp_path):
    all_, best = tmp_path / "all", tmp_path / "best"
    seen = []
    watch = fastnn.LambdaCallback(
        on_epoch_begin=lambda fit: seen.append(
            fastnn.load(all_)._parameters.epoch if all_.exists() else 0
        )
    )
    losses = [3, 1, 2, 2, 2, 2, 2]
    model = make()
    fit(
        model,
        epochs=7,
        callbacks=[
            steered(losses, "val_loss"),
            fastnn.Checkpoint(all_, every=3),
            watch,
        ],
    )
    assert seen == [0, 0, 0, 3, 3, 3, 6]
    assert fastnn.load(all_).theta.tobytes() == model.theta.tobytes()  # after the last, too
    history = fit(
        make(),
        epochs=30,
        validation_split=0.3,
        learning_rate=0.5,
        callbacks=[fastnn.Checkpoint(best, best_only=True)],
    )
    lowest = int(np.argmin(history.val_loss))
    assert fastnn.load(best).theta.tobytes() == _after(lowest + 1).theta.tobytes()
    assert fastnn.load(best)._parameters.epoch == lowest + 1 < 30
    with pytest.raises(ValueError, match="monitor and mode must come with best_only=True"):
        fastnn.Checkpoint(best, monitor="val_loss")
    with pytest.raises(ValueError, match="Checkpoint needs mode='min' or mode='max' for 'mine'"):
        fastnn.Checkpoint(best, monitor="mine", best_only=True)
    with pytest.raises(ValueError, match="every must be at least 1"):
        fastnn.Checkpoint(best, every=0)


def _after(epochs):
    model = make()
    fit(model, epochs=epochs, learning_rate=0.5, validation_split=0.3)
    return model


# Summary


def test_summary():
    model = fastnn.Model([3, 4, 2], ["tanh"], bias=[False, True], dtype="float64", seed=0)
    lines = model.summary().splitlines()
    assert lines[0] == "3 inputs, cross_entropy loss, float64"
    assert lines[2].split() == ["1", "tanh", "(4,", "3)", "-", "12", "96"]
    assert lines[3].split() == ["2", "softmax", "(2,", "4)", "(2,)", "10", "80"]
    assert lines[4].split() == ["22", "176"]


# What a moment was


def test_snapshot_and_restore():
    """Weights, optimizer, steps and statistics of a moment; epochs are numbered on."""
    taken = {}

    def go_back(fit):
        if fit.epoch == 2:
            taken["snapshot"] = fit.snapshot()
            taken["theta"] = fit.model.theta.copy()
        if fit.epoch == 3:
            fit.restore(taken["snapshot"])

    model, twin = make(norm="batch"), make(norm="batch")
    settings = {"optimizer": "adam", "shuffle": False}
    back = fastnn.LambdaCallback(on_epoch_end=go_back)
    history = fit(model, epochs=4, callbacks=[back], **settings)
    fit(twin, epochs=3, **settings)
    assert history.epoch == [1, 2, 3, 4] and history.loss[2] == history.loss[3]
    assert state(model)[:3] == state(twin)[:3] and model._parameters.steps == 24
    assert model.running_mean[0].tobytes() == twin.running_mean[0].tobytes()
    snapshot = taken["snapshot"]
    assert snapshot.theta.tobytes() == taken["theta"].tobytes() and snapshot.steps == 16

    def foreign(fit):
        fit.restore(snapshot)

    for other, optimizer in ((make(), "adam"), (make(norm="batch"), "sgd")):
        before = state(other)[0]
        with pytest.raises(ValueError, match="of a snapshot must be float32 of shape"):
            fit(other, optimizer=optimizer, callbacks=[fastnn.LambdaCallback(foreign)])
        assert state(other)[0] == before


@pytest.mark.parametrize("optimizer", [fastnn.SGD(3.0), fastnn.Adam(0.3)])
def test_stopping_by_the_training_loss_restores_what_had_that_loss(optimizer):
    """The loss is measured before each step: of one mini-batch an epoch, before the epoch."""
    X, y = data()
    model = make("float64")
    early = fastnn.EarlyStopping("loss", patience=3)
    history = model.fit(
        *(X, y), epochs=300, batch_size=60, optimizer=optimizer, callbacks=[early]
    )
    best = int(np.argmin(history.loss))
    assert early.best_epoch == best + 1 and early.best == history.loss[best]
    assert model.evaluate(X, y)["loss"] == pytest.approx(early.best, rel=1e-12)
    twin = make("float64")
    twin.fit(X, y, epochs=best, batch_size=60, optimizer=optimizer)
    assert state(twin)[:3] == state(model)[:3]


def test_stopping_by_the_loss_of_lbfgs_restores_what_had_that_loss():
    pytest.importorskip("scipy")
    X, y = data()
    model = make("float64")
    early = fastnn.EarlyStopping("loss")
    model.fit(X, y, epochs=9, optimizer="lbfgs", callbacks=[early])
    assert early.best_epoch == 9
    assert model.evaluate(X, y)["loss"] == pytest.approx(early.best, rel=1e-12)


def test_a_checkpoint_is_written_at_the_end_whoever_ends_the_fit(tmp_path):
    """Also by a callback that comes later in the list."""
    path = tmp_path / "m"
    stop = fastnn.LambdaCallback(on_epoch_end=lambda fit: fit.epoch == 3 and fit.stop())
    keep = fastnn.Checkpoint(path, every=10)
    for callbacks in ([keep, stop], [stop, keep]):
        path.unlink(missing_ok=True)
        fit(make(), epochs=30, callbacks=callbacks)
        assert fastnn.load(path)._parameters.epoch == 3
    losses = [3, 1, 2]
    best = fastnn.Checkpoint(path, every=10, best_only=True, monitor="measure", mode="min")
    path.unlink()
    fit(make(), epochs=30, callbacks=[best, steered(losses), stop])  # logged after it is asked
    assert fastnn.load(path)._parameters.epoch == 3


def test_save_asks_whether_to_write(tmp_path):
    path, asked = tmp_path / "m", []

    def when(fit):
        asked.append((fit.epoch, fit.done))
        return fit.done

    save = fastnn.LambdaCallback(on_epoch_end=lambda fit: fit.save(path, when=when))
    fit(make(), epochs=3, callbacks=[save])
    assert asked == [(1, False), (2, False), (3, True)]
    assert fastnn.load(path)._parameters.epoch == 3


def test_a_refused_fit_leaves_the_log_as_it_was(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("precious")
    callbacks = [fastnn.CSVLogger(path), fastnn.EarlyStopping()]
    with pytest.raises(ValueError, match="EarlyStopping watches 'val_loss'"):
        fit(make(), callbacks=callbacks)
    assert path.read_text() == "precious"
    with pytest.raises(FileNotFoundError, match=r"CSVLogger: no such folder: .*nowhere"):
        fit(make(), callbacks=[fastnn.CSVLogger(tmp_path / "nowhere" / "log.csv")])
    with pytest.raises(IsADirectoryError):
        fit(make(), callbacks=[fastnn.CSVLogger(tmp_path)])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_disk_names_the_log():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        fit(make(), callbacks=[fastnn.CSVLogger("/dev/full")])


class Counted:
    """An array that notes how often it is asked for."""

    def __init__(self, values):
        self.values, self.asked = values, 0

    def __array__(self, dtype=None, copy=None):
        self.asked += 1
        return np.asarray(self.values, dtype)


def test_gradient_norms_read_their_rows_once():
    X, y = data()
    rows, labels = Counted(X), Counted(y)
    one = fit(make(), callbacks=[fastnn.GradientNorms(rows, labels)])
    assert (rows.asked, labels.asked) == (1, 1)
    two, seen = make(), []
    look = fastnn.LambdaCallback(
        on_epoch_end=lambda fit: seen.append(fit.model.loss_and_gradient(X, y)[1])
    )
    fit(two, callbacks=[look])
    for k, (start, stop) in enumerate(((0, 24), (30, 48)), 1):  # of W1 and W2 in theta
        want = [np.linalg.norm(gradient[start:stop].astype(np.float64)) for gradient in seen]
        np.testing.assert_allclose(one[f"gradient_norm_{k}"], want, rtol=1e-12)
    model = make()
    before = state(model)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 4\)"):
        fit(model, callbacks=[fastnn.GradientNorms(X[:, :3], y)])
    assert state(model) == before
