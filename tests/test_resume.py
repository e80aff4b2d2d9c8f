"""A fit killed at any moment and resumed ends with the bits of one that never stopped."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.files import model as storage
from fastnn.training.plan import _as_setting


def data(n=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    return X, (X[:, :3] + 0.5 * rng.normal(size=(n, 3))).argmax(1)


def make(**settings):
    return fastnn.Model([6, 12, 3], **{"activation": "tanh", "seed": 5, **settings})


def arguments(path, **more):
    return {
        "epochs": 9,
        "batch_size": 16,
        "optimizer": "adam",
        "callbacks": [fastnn.Checkpoint(path)],
        "resume": path,
        **more,
    }


class Killed(Exception):
    pass


def kill_at(epoch):
    def maybe(fit):
        if fit.epoch == epoch:
            raise Killed

    return fastnn.LambdaCallback(on_epoch_begin=maybe)


def full_state(model):
    p = model._parameters
    return p.theta.tobytes(), p.optimizer, p.state.tobytes(), p.epoch, p.steps, model.seed


def rows(history):
    return {name: values for name, values in history.columns().items() if name != "seconds"}


OPTIMIZERS = [
    fastnn.SGD(),
    fastnn.SGD(0.1, 0.9),
    fastnn.Adam(),
    fastnn.AdamW(0.05, weight_decay=fastnn.FlatCosine(0.5), ntk=True, rate_factors={"b": 0.1}),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n_before", [0, 2])
def test_resumed_is_unbroken(optimizer, n_before, tmp_path):
    """Also where another fit went before, whose epochs number the shuffles."""
    X, y = data()
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    whole, broken = make(), make()
    for model in (whole, broken):
        if n_before:
            model.fit(X, y, epochs=n_before, optimizer="sgd")
    want = whole.fit(X, y, **arguments(other, optimizer=optimizer))
    for epoch in (3, 4, 8):
        settings = arguments(path, optimizer=optimizer)
        settings["callbacks"].append(kill_at(n_before + epoch))
        with pytest.raises(Killed):
            broken.fit(X, y, **settings)
        broken = make(seed=None)  # a new process: the file alone counts
    got = broken.fit(X, y, **arguments(path, optimizer=optimizer))
    assert full_state(broken) == full_state(whole)
    assert rows(got) == rows(want) and len(got) == 9


def test_callbacks_go_on(tmp_path):
    """Early stopping's count and best weights, two checkpoints, the CSV file."""
    X, y = data()

    def run(name, kills=()):
        folder = tmp_path / name
        folder.mkdir()
        for kill in (*kills, None):
            model = make()
            early = fastnn.EarlyStopping(patience=4)
            callbacks = [
                fastnn.Checkpoint(folder / "last"),  # before what it must hold
                early,
                fastnn.Checkpoint(folder / "best", best_only=True),
                fastnn.CSVLogger(folder / "log.csv"),
                kill_at(kill),
            ]
            try:
                history = model.fit(
                    *(X, y),
                    epochs=200,
                    optimizer=fastnn.Adam(0.05),
                    validation_split=0.2,
                    metrics=["auc"],
                    callbacks=callbacks,
                    resume=folder / "last",
                )
            except Killed:
                continue
        return model, history, early, folder

    whole, want, early, folder = run("whole")
    stop = early.stopped_epoch
    assert stop is not None and 6 < stop < 200
    kills = (2, early.best_epoch + 1, early.best_epoch + 2, stop)
    model, got, again, other = run("killed", kills)
    assert full_state(model) == full_state(whole)
    assert rows(got) == rows(want)
    assert (again.best, again.best_epoch, again.stopped_epoch) == (
        early.best,
        early.best_epoch,
        stop,
    )
    best = [fastnn.load(f / "best").theta.tobytes() for f in (folder, other)]
    assert best[0] == best[1] == whole.theta.tobytes()
    lines = [(f / "log.csv").read_text().splitlines() for f in (folder, other)]
    assert len(lines[0]) == len(lines[1]) == stop + 1
    # Once more, from the last checkpoint of all: no epoch is left, the best weights come back.
    model = make()
    callbacks = [fastnn.Checkpoint(folder / "last"), fastnn.EarlyStopping(patience=4)]
    callbacks.append(fastnn.Checkpoint(folder / "best", best_only=True))
    history = model.fit(
        *(X, y),
        epochs=200,
        optimizer=fastnn.Adam(0.05),
        validation_split=0.2,
        metrics=["auc"],
        callbacks=callbacks,
        resume=folder / "last",
    )
    assert model.theta.tobytes() == whole.theta.tobytes() and len(history) == stop


def test_epochs_count_the_whole_fit(tmp_path):
    X, y = data()
    path = tmp_path / "m"
    make().fit(X, y, **arguments(path, epochs=3))
    model = make()
    history = model.fit(X, y, **arguments(path, epochs=5))
    assert history.epoch == [1, 2, 3, 4, 5]
    assert len(model.fit(X, y, **arguments(path, epochs=2))) == 5  # none left to run
    unbroken = make()
    unbroken.fit(X, y, **arguments(tmp_path / "n", epochs=5))
    assert model.theta.tobytes() == unbroken.theta.tobytes()


def test_load_without_resume_goes_on_as_ever(tmp_path):
    X, y = data()
    path = tmp_path / "m"
    whole = make()
    whole.fit(X, y, epochs=3, optimizer="adam", callbacks=[fastnn.Checkpoint(path)])
    loaded = fastnn.load(path)
    histories = [m.fit(X, y, epochs=2, optimizer="adam") for m in (whole, loaded)]
    assert full_state(whole) == full_state(loaded)
    assert histories[1].epoch == [4, 5]


class Momentous(fastnn.Callback):
    """A user's callback with a state of every kind."""

    def __init__(self):
        self.values = {"n": 0, "text": "\u00e4", "nothing": None, "list": [1.5, [2]]}
        self.sums = np.zeros((2, 3))

    def on_epoch_end(self, fit):
        self.values["n"] += 1
        self.sums += 0.1

    def state(self):
        return {**self.values, "sums": self.sums, "empty": np.zeros((0, 4), np.float32)}

    def restore(self, state):
        self.sums = state.pop("sums")
        assert state.pop("empty").shape == (0, 4)
        self.values = state


class Stateless(fastnn.Callback):
    def state(self):
        return super().state()


def test_states_of_users_callbacks(tmp_path):
    X, y = data()
    path = tmp_path / "m"

    def run(epochs):
        mine = Momentous()
        callbacks = [Stateless(), mine, fastnn.Callback(), fastnn.Checkpoint(path)]
        nan = fastnn.LambdaCallback(on_epoch_end=lambda fit: fit.log(a=np.nan, b=-np.inf))
        history = make().fit(X, y, **arguments(path, epochs=epochs, callbacks=[nan, *callbacks]))
        return mine, history

    run(2)
    mine, history = run(5)
    assert mine.values == {"n": 5, "text": "\u00e4", "nothing": None, "list": [1.5, [2]]}
    assert mine.sums.dtype == np.float64 and (mine.sums == sum([0.1] * 5)).all()
    assert np.isnan(history.a).all() and history.b == [-np.inf] * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 17}, "resume: batch_size must be 16 as in the checkpoint, got 17"),
        ({"optimizer": "sgd"}, "resume: optimizer must be {'name': 'Adam', .*got {'name': 'SGD'"),
        ({"optimizer": fastnn.Adam(ntk=True)}, "resume: optimizer must be .*got .*'ntk': True"),
        ({"learning_rate": 0.5}, "resume: optimizer must be .*'learning_rate': 0.5"),
        ({"shuffle": False}, "resume: shuffle must be True"),
        ({"drop_last": True}, "resume: drop_last must be None as in the checkpoint, got True"),
        ({"validation_split": 0.5}, "resume: rows must be 300 as in the checkpoint, got 150"),
        ({"callbacks": []}, "callbacks .* must be those of the checkpoint, Checkpoint, got none"),
        ({"validation_data": data(20)}, r"resume: metrics must be \[\] as in"),
    ],
)
def test_other_arguments_are_refused(change, message, tmp_path):
    X, y = data()
    path = tmp_path / "m"
    make().fit(X, y, **arguments(path, epochs=2))
    model = make(seed=6)
    before = full_state(model)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **arguments(path, **change))
    assert full_state(model) == before


def test_settings_in_a_checkpoint_are_what_json_can_hold():
    assert _as_setting((1.5, [math.inf, None], len)) == [1.5, ["inf", None], "len"]


def test_a_checkpoint_from_before_there_was_drop_last(tmp_path):
    X, y = data()
    path = tmp_path / "m"
    make().fit(X, y, **arguments(path, epochs=2))
    edited(path, "fit", lambda fit: fit["settings"].pop("drop_last"))
    make().fit(X, y, **arguments(path, epochs=3))


def test_other_files_are_refused(tmp_path):
    X, y = data()
    path = tmp_path / "m"
    model = make()
    model.save(path)
    with pytest.raises(ValueError, match=r"must be a file that Checkpoint wrote, not Model\.save"):
        model.fit(X, y, **arguments(path))
    path.write_bytes(b"nonsense" * 9)
    with pytest.raises(fastnn.ModelFileError):
        model.fit(X, y, **arguments(path))
    path.unlink()
    other = fastnn.Model([6, 13, 3], seed=0)
    other.fit(X, y, **arguments(path, epochs=1))
    with pytest.raises(ValueError, match="resume: the checkpoint must be of this network"):
        model.fit(X, y, **arguments(path))
    with pytest.raises(TypeError, match="a checkpoint must hold what JSON can hold"):
        bad = Momentous()
        bad.values["n"] = 0
        bad.values["bad"] = object()
        path.unlink()
        model.fit(X, y, **arguments(path, callbacks=[bad, fastnn.Checkpoint(path)]))


def test_a_checkpoint_that_cannot_be_written_ends_the_fit(tmp_path, monkeypatch):
    X, y = data()
    path = tmp_path / "m"
    model, twin = make(), make()
    twin.fit(X, y, **arguments(tmp_path / "n", epochs=2))
    write = storage.write_atomically

    def full(path, buffers):
        if model._parameters.epoch == 2:
            raise OSError(28, "No space left on device")
        write(path, buffers)

    monkeypatch.setattr(storage, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        model.fit(X, y, **arguments(path))
    assert full_state(model) == full_state(twin)
    monkeypatch.undo()
    assert fastnn.load(path)._parameters.epoch == 1
    model = make()
    history = model.fit(X, y, **arguments(path, epochs=2))
    assert full_state(model) == full_state(twin) and history.epoch == [1, 2]


DAMAGE = [
    (lambda fit: fit.pop("stopped"), "fit must have the keys"),
    (lambda fit: fit.update(stopped=1), "stopped true or false"),
    (lambda fit: fit.update(settings=[]), "settings must be an object"),
    (lambda fit: fit.update(history=[]), "history must map"),
    (lambda fit: fit["history"].update(loss=[]), "must be of one length, 'loss' is not"),
    (lambda fit: fit["history"].update(loss=["a"]), "history must hold numbers, got 'a'"),
    (lambda fit: fit["history"].update(loss=[None]), "history must hold numbers"),
    (lambda fit: fit.update(callbacks=0), "callbacks must be a list"),
    (lambda fit: fit["callbacks"].append(0), "each of callbacks must be an object"),
    (lambda fit: fit["callbacks"][0].pop("name"), "callback must have the keys"),
    (lambda fit: fit["callbacks"][0].update(arrays=[1]), "must have a name, values and names"),
    (lambda fit: fit["callbacks"][0].update(values=None), "must have a name, values and names"),
    (lambda fit: fit["callbacks"][0]["arrays"].append("more"), "must hold the tensors W1"),
    (lambda fit: fit["callbacks"][0]["arrays"].append("theta"), "must hold the tensors W1"),
    (lambda fit: fit["callbacks"][0]["arrays"].pop(), "must hold the tensors W1"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damage_is_named(damage, message, tmp_path):
    X, y = data()
    path = tmp_path / "m"
    callbacks = [fastnn.EarlyStopping(), fastnn.Checkpoint(path)]
    make().fit(X, y, epochs=1, validation_split=0.1, callbacks=callbacks)
    fastnn.load(path)
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    fit = json.loads(header["__metadata__"]["fit"])
    damage(fit)
    header["__metadata__"]["fit"] = json.dumps(fit)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + n :])
    with pytest.raises(fastnn.ModelFileError, match=message):
        fastnn.load(path)


def test_the_package_reads_a_checkpoint(tmp_path):
    numpy_io = pytest.importorskip("safetensors.numpy")
    X, y = data()
    path = tmp_path / "m"
    model = make()
    callbacks = [fastnn.EarlyStopping(), fastnn.Checkpoint(path)]
    model.fit(X, y, epochs=1, optimizer="adam", validation_split=0.1, callbacks=callbacks)
    tensors = numpy_io.load_file(path)
    np.testing.assert_array_equal(tensors["callback0.theta"], model.theta)
    assert tensors["callback0.optimizer"].shape == (2, model.n_parameters)


# Killed in earnest

CHILD = """
import sys
import time
import numpy as np
import fastnn
path, epochs = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 20))
y = (X[:, :5] + rng.normal(size=(4000, 5))).argmax(1)
model = fastnn.Model([20, 64, 5], seed=3)
print("begun", flush=True)
begin = time.perf_counter()
model.fit(X, y, epochs=epochs, batch_size=32, optimizer="adam", validation_split=0.1,
          callbacks=[fastnn.EarlyStopping(patience=epochs), fastnn.Checkpoint(path)], resume=path)
seconds = time.perf_counter() - begin
model.save(path + ".done")
print(seconds)
"""


def start(path, epochs):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", CHILD, str(path), str(epochs)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def sha256(path):
    return hashlib.sha256(fastnn.load(path).theta.tobytes()).hexdigest()


def unbroken(path, epochs):
    """The hash of theta, and the seconds it took."""
    seconds = float(start(path, epochs).communicate()[0].split()[-1])
    return sha256(f"{path}.done"), seconds


def killed_and_resumed(path, epochs, kills, chance, seconds):
    """Kill the child at random moments, `kills` times unless it ends before that, then let it end.

    Returns the hash of theta and the epochs that each kill found done.
    """
    reached = []
    for _ in range(kills):
        with start(path, epochs) as child:
            assert child.stdout.readline() == b"begun\n"
            time.sleep(chance.uniform(0, 1.5 * seconds / kills))
            child.kill()
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        reached.append(fastnn.load(path)._parameters.epoch if path.exists() else 0)
    with start(path, epochs) as child:
        child.communicate()
    assert child.returncode == 0
    return sha256(f"{path}.done"), reached


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_random_moments(tmp_path):
    want, seconds = unbroken(tmp_path / "whole", 60)
    chance = random.Random(1)
    got, reached = killed_and_resumed(tmp_path / "killed", 60, 4, chance, seconds)
    assert got == want
    assert len(reached) > 1 and reached == sorted(reached) and 0 < reached[-1]


if __name__ == "__main__":  # PYTHONPATH=. python tests/test_resume.py: twenty kills
    with tempfile.TemporaryDirectory() as folder:
        want, seconds = unbroken(f"{folder}/whole", 400)
        print(f"unbroken {want}, {seconds:.2f} s")
        path = Path(folder) / "killed"
        got, reached = killed_and_resumed(path, 400, 20, random.Random(), seconds)
        print(f"killed   {got} after epochs", *reached)
        sys.exit(got != want)


def edited(path, where, change):
    """The checkpoint at `path` with its JSON text `where` changed."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    content = json.loads(header["__metadata__"][where])
    change(content)
    header["__metadata__"][where] = json.dumps(content)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + n :])


EDITS = [
    ("fit", lambda fit: fit["callbacks"][0]["values"].pop("best"), "EarlyStopping cannot go on .*"),
    ("fit", lambda fit: fit["callbacks"][0]["values"].update(best="x"), "best must be a number"),
    ("fit", lambda fit: fit["callbacks"][0]["values"].update(best=1 << 2000), "best must be"),
    ("fit", lambda fit: fit["callbacks"][0]["values"].update(waited=None), "waited must be an int"),
    ("fit", lambda fit: fit["callbacks"][0]["values"].update(steps=-1), "steps must be at least 0"),
    ("fit", lambda fit: fit["callbacks"][0]["values"].update(best_epoch="1"), "best_epoch must be"),
    ("fit", lambda fit: fit["callbacks"][1]["values"].clear(), "Checkpoint cannot go on from what"),
    ("fit", lambda fit: fit["callbacks"][1]["values"].update(best=[]), "best must be a number"),
    ("fit", lambda fit: fit["schedule"].pop("best"), "state of another schedule"),
    ("fit", lambda fit: fit.update(schedule=[1]), "state of another schedule"),
    ("fit", lambda fit: fit.update(schedule=None), "state of another schedule"),
    ("fit", lambda fit: fit["schedule"].update(learning_rate="x"), "learning_rate of the schedule"),
    ("fit", lambda fit: fit["schedule"].update(bad=-1), "resume: bad of the schedule must be at"),
    ("fit", lambda fit: fit["settings"].pop("rows"), "rows must be None as in the checkpoint"),
    ("training", lambda training: training.update(optimizer="amsgrad"), "must hold the te"),
    ("training", lambda training: training.update(optimizer="nadam"), "must hold vectors of adam"),
]


@pytest.mark.parametrize(("where", "change", "message"), EDITS)
@pytest.mark.parametrize("other", ["sgd", "adam"])
def test_an_edited_checkpoint_is_refused_before_anything_changes(
    where, change, message, other, tmp_path
):
    X, y = data()
    path = tmp_path / "m"
    settings = {
        "validation_split": 0.2,
        "learning_rate": fastnn.ReduceOnPlateau(0.01),
        "resume": path,
        "callbacks": [fastnn.EarlyStopping(), fastnn.Checkpoint(path, best_only=True)],
    }
    make().fit(X, y, **arguments(path, **settings, epochs=2))
    edited(path, where, change)
    model = make(seed=6)
    model.fit(X, y, epochs=1, optimizer=other)
    before = full_state(model)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **arguments(path, **settings))
    assert full_state(model) == before


def test_a_snapshot_of_another_shape_in_a_checkpoint_is_refused(tmp_path):
    X, y = data()
    path = tmp_path / "m"
    settings = {"callbacks": [fastnn.EarlyStopping("loss"), fastnn.Checkpoint(path)]}
    make().fit(X, y, **arguments(path, **settings, epochs=2))
    loaded = storage.load(path)
    loaded.checkpoint.callbacks[0][1]["theta"] = np.zeros(3, np.float32)
    storage.save(path, loaded.parameters, loaded.seed, loaded.metadata, loaded.checkpoint)
    model = make(seed=6)
    before = full_state(model)
    with pytest.raises(ValueError, match=r"theta of a snapshot must be float32 of shape \(123,\)"):
        model.fit(X, y, **arguments(path, **settings))
    assert full_state(model) == before


def test_a_users_callback_that_cannot_go_on_changes_nothing(tmp_path):
    class Moody(fastnn.Callback):
        def state(self):
            return {"n": 1}

        def restore(self, state):
            raise RuntimeError("not today")

    X, y = data()
    path = tmp_path / "m"
    make().fit(X, y, **arguments(path, callbacks=[Moody(), fastnn.Checkpoint(path)], epochs=2))
    model = make(seed=6)
    before = full_state(model)
    with pytest.raises(ValueError, match=r"Moody cannot go on from .* RuntimeError\('not today'\)"):
        model.fit(X, y, **arguments(path, callbacks=[Moody(), fastnn.Checkpoint(path)]))
    assert full_state(model) == before


def test_a_resumed_fit_that_diverges_leaves_the_model_as_before_the_call(tmp_path):
    X, y = data()
    path = tmp_path / "m"
    rate = {"learning_rate": lambda t: 0.1 if t < 38 else 1e38, "optimizer": "sgd"}
    make().fit(X, y, **arguments(path, **rate, epochs=2))
    model = make(seed=6)
    before = full_state(model)
    with pytest.raises(fastnn.DivergenceError):
        model.fit(X, y, **arguments(path, **rate))
    assert full_state(model) == before
