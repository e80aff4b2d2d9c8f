"""A learner in place: what was handed in is never lost, and readers see whole states."""

from __future__ import annotations

import inspect
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest

import fastnn
from fastnn.online import Learner, Live
from fastnn.online import live as module


def rows(n, seed=0):
    rng = random.Random(seed)
    for i in range(n):
        x = {"a": rng.gauss(0, 1), "i": i, "town": rng.choice(["Oslo", "Rome"])}
        yield x, "yes" if x["a"] > 0 else "no"


def weights(learner):
    theta, table, *rest, amounts = learner.contents()
    return [theta.tobytes(), table.tobytes(), *rest, amounts.tobytes()]


def after(n):
    """What learns the first n rows."""
    learner = Learner(seed=0)
    for x, y in rows(n):
        learner.learn_one(x, y)
    return weights(learner)


def test_it_learns_what_is_handed_in_and_goes_on_from_there(tmp_path):
    first = Learner(seed=0)
    with Live(first, tmp_path / "a", save_seconds=0.01, publish_seconds=0.001) as live:
        for x, y in rows(300):
            live.learn(x, y)
        live.flush()
        assert live.rows == 300 and weights(live.latest) == after(300)
    assert first.rows == 0
    saved = fastnn.load(tmp_path / "a/model.safetensors")
    assert weights(saved) == after(300) and saved.metadata == {"live": 300}
    (line,) = (tmp_path / "a/rows.jsonl").read_text().splitlines()
    assert json.loads(line) == {"format": "fastnn-rows", "version": 1, "before": 300}
    with Live(first, tmp_path / "a") as live:
        assert live.rows == 300 and weights(live.latest) == after(300)
        for x, y in list(rows(310))[300:]:
            live.learn(x, y)
    assert weights(fastnn.load(tmp_path / "a/model.safetensors")) == after(310)
    with pytest.raises(RuntimeError, match="must not be used once it is closed"):
        live.learn({}, "yes")
    live.close()


CHILD = """
import random
from fastnn.online import Learner, Live
{rows}
live = Live(Learner(seed=0), {folder!r}, save_seconds=0.03, publish_seconds=0.002, queue=64)
print(live.rows, flush=True)
for x, y in list(rows({n}))[live.rows:]:
    live.learn(x, y)
    print("x", end="", flush=True)
print(flush=True)
live.close()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path):
    """SIGKILL and SIGTERM by turns, at moments that nobody chose; the bits at the end are those of
    one process."""
    folder, rng, acknowledged, n = str(tmp_path / "a"), random.Random(0), 0, 3000
    for turn in range(4):
        code = CHILD.format(rows=inspect.getsource(rows), folder=folder, n=n)
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        began = int(child.stdout.readline())
        assert acknowledged <= began <= acknowledged + 1  # the last one's word may not have come
        child.stdout.read(rng.randrange(1, 300))
        os.kill(child.pid, (signal.SIGKILL, signal.SIGTERM)[turn % 2])
        rest = child.stdout.read()
        assert child.wait() in (-signal.SIGKILL, -signal.SIGTERM)
        child.stdout.close()
        acknowledged = began
        with open(os.path.join(folder, "rows.jsonl"), "rb") as file:  # what is there, whole
            header, *lines = file.read().split(b"\n")
            there = json.loads(header)["before"] + len(lines[:-1])
        assert there >= began + rest.count(b"x")
        acknowledged = there
    with Live(Learner(seed=0), folder) as live:
        live.flush()
        assert live.rows == acknowledged and live.refused == 0
        assert weights(live.latest) == after(acknowledged)
    assert acknowledged > 4


def test_a_line_cut_short_is_none(tmp_path):
    with Live(Learner(seed=0), tmp_path) as live:
        for x, y in rows(20):
            live.learn(x, y)
    with open(tmp_path / "rows.jsonl", "ab") as file:
        file.write(b'[{"a": 1.0, "to')
    for _ in range(2):
        with Live(Learner(seed=0), tmp_path) as live:
            live.flush()
            assert weights(live.latest) == after(20) and live.refused == 0
    with Live(Learner(seed=0), tmp_path) as live:
        for x, y in list(rows(30))[20:]:
            live.learn(x, y)
    assert weights(live.latest)[:3] == after(30)[:3]


class Full:
    """A file on a disk that is full, or becomes so."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        return self.file.write(data[: self.room])

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 10])
def test_a_full_disk_is_told_and_forgotten(tmp_path, room):
    with Live(Learner(seed=0), tmp_path) as live:
        data = list(rows(20))
        for x, y in data[:10]:
            live.learn(x, y)
        good, live._writer = live._writer, Full(live._writer, room)
        for _ in range(2):
            with pytest.raises(OSError):
                live.learn(*data[10])
        live._writer = good
        for x, y in data[10:]:
            live.learn(x, y)
        live.flush()
        assert weights(live.latest) == after(20)
    assert weights(fastnn.load(tmp_path / "model.safetensors")) == after(20)


def test_a_save_that_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    with Live(Learner(seed=0), tmp_path) as live:
        live.learn({"a": 1.0}, "yes")
        with monkeypatch.context() as patch:

            def full(*_):
                raise OSError(28, "No space left on device")

            patch.setattr(Learner, "save", full)
            with pytest.raises(OSError, match="No space left"):
                live.save()
        live.learn({"a": -1.0}, "no")
        live.save()
        assert fastnn.load(tmp_path / "model.safetensors").rows == 2


def test_what_the_learner_refuses_is_passed_over(tmp_path, caplog):
    with Live(Learner(seed=0), tmp_path) as live:
        for i, (x, y) in enumerate(rows(20)):
            live.learn(x, y)
            if i == 10:
                live.learn({"a": [1, 2]}, "yes")
                live.learn({"a": 1e200}, "yes")
                live.learn({"a": 1}, 2.5)
                with pytest.raises(TypeError, match="rows must hold what JSON can hold"):
                    live.learn({"a": object()}, "yes")
        live.flush()
        assert live.refused == 3 and live.rows == 23 and weights(live.latest) == after(20)
    assert "feature 'a' must be a number" in caplog.text


def test_readers_do_not_wait_and_learn_does(tmp_path, monkeypatch):
    """While a step takes long, the latest state answers, and so many rows may wait."""
    go, learn_one = threading.Event(), Learner.learn_one

    def slow(self, x, y):
        go.wait(20)
        learn_one(self, x, y)

    monkeypatch.setattr(Learner, "learn_one", slow)
    with Live(Learner(seed=0), tmp_path, queue=5) as live:
        data = list(rows(10))
        for x, y in data[:5]:
            live.learn(x, y)
        sixth = threading.Thread(target=live.learn, args=data[5])
        sixth.start()
        assert live.latest.predict_one({"a": 1.0}) is None
        sixth.join(0.1)
        assert sixth.is_alive() and live.rows == 5
        go.set()
        sixth.join()
        live.flush()
        assert live.rows == live.latest.rows == 6


def test_what_ends_the_thread_is_told(tmp_path, monkeypatch, caplog):
    def broken(self, x, y):
        raise MemoryError("none left")

    with Live(Learner(seed=0), tmp_path) as live:
        with monkeypatch.context() as patch:
            patch.setattr(Learner, "learn_one", broken)
            live.learn({"a": 1.0}, "yes")
            for call in (live.flush, live.save, lambda: live.learn({}, "no")):
                with pytest.raises(RuntimeError, match="learning has ended: MemoryError"):
                    call()
        assert live.latest.rows == 0
    with Live(Learner(seed=0), tmp_path) as live:
        live.flush()
        assert live.latest.rows == 1


def test_what_ends_the_thread_while_a_save_waits_is_told(tmp_path, monkeypatch):
    go = threading.Event()

    def broken(self, x, y):
        go.wait(20)
        raise MemoryError("none left")

    monkeypatch.setattr(Learner, "learn_one", broken)
    with Live(Learner(seed=0), tmp_path) as live:
        live.learn({"a": 1.0}, "yes")
        timer = threading.Timer(0.1, go.set)
        timer.start()
        with pytest.raises(RuntimeError, match="learning has ended: MemoryError"):
            live.save()
        timer.join()


def test_rows_longer_than_what_is_read_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 16)
    with Live(Learner(seed=0), tmp_path) as live:
        for x, y in rows(20):
            live.learn(x, y)
        live.flush()
        assert weights(live.latest) == after(20)


def test_rows_of_numpy_and_of_other_mappings(tmp_path):
    with Live(Learner(seed=0), tmp_path) as live:
        for x, y in rows(20):
            typed = {"a": np.float64(x["a"]), "i": np.int16(x["i"]), "town": np.str_(x["town"])}
            live.learn(types.MappingProxyType(typed), np.str_(y))
        live.flush()
        assert weights(live.latest) == after(20) and live.refused == 0


@pytest.mark.parametrize("lasting", [False, True])
def test_rows_are_on_disk_where_they_are_to_be(tmp_path, monkeypatch, lasting):
    fsync, synced = os.fsync, []

    def note(descriptor):
        synced.append(descriptor)
        fsync(descriptor)

    with Live(Learner(seed=0), tmp_path, sync=lasting) as live:
        monkeypatch.setattr(os, "fsync", note)
        live.learn({"a": 1.0}, "yes")
        assert (live._writer.fileno() in synced) == lasting
        monkeypatch.undo()


def test_a_model_in_place(tmp_path):
    """Mini-batches by partial_fit; the state that answers is a Model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    model, other = (fastnn.Model([3, 8, 2], seed=0) for _ in range(2))
    with Live(model, tmp_path, optimizer="adam", learning_rate=0.01) as live:
        for i in range(0, 200, 20):
            live.learn(X[i : i + 20], y[i : i + 20])
            other.partial_fit(X[i : i + 20], y[i : i + 20], optimizer="adam", learning_rate=0.01)
        live.flush()
        assert (live.latest.theta == other.theta).all() and model._parameters.all_steps == 0
        assert (live.latest.predict(X) == other.predict(X)).all()
    assert fastnn.load(tmp_path / "model.safetensors").metadata["live"] == 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_answers_and_does_no_more(tmp_path):
    live = Live(Learner(seed=0), tmp_path)
    for x, y in rows(20):
        live.learn(x, y)
    live.flush()
    held, go, told, ends = threading.Event(), threading.Event(), os.pipe(), os.pipe()

    def hold():  # the lock, as it is forked
        with live._changed:
            held.set()
            go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork of several threads
        pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(20)
            os.close(ends[1])
            answer = live.latest.predict_one({"a": 3.0})
            live.close()
            try:
                live.learn({}, "yes")
            except RuntimeError:
                status = 0 if answer == "yes" else 2
            os.write(told[1], b"x")
            os.read(ends[0], 1)  # it stays
        finally:
            os._exit(status)
    go.set()
    thread.join()
    os.close(told[1])
    assert os.read(told[0], 1) == b"x"
    live.learn({"a": 1.0}, "yes")
    live.close()
    assert live.rows == 21
    with Live(Learner(seed=0), tmp_path) as again:  # nobody keeps it
        assert again.rows == 21
    os.close(ends[1])
    assert os.waitpid(pid, 0)[1] == 0
    for end in (told[0], ends[0]):
        os.close(end)


@pytest.mark.skipif(module.fcntl is None, reason="locks")
def test_one_at_a_time(tmp_path):
    with Live(Learner(seed=0), tmp_path):
        with pytest.raises(ValueError, match="folder must be free"):
            Live(Learner(seed=0), tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]\n",
        b'{"format": "x", "version": 1, "before": 0}\n',
        b'{"format": "fastnn-rows", "version": 2, "before": 0}\n',
        b'{"format": "fastnn-rows", "version": 1, "before": 21}\n',
        b'{"format": "fastnn-rows", "version": 1, "before": -1}\n',
        b'{"format": "fastnn-rows", "version": 1, "before": 19}\n',
        b'{"format": "fastnn-rows", "version": 1, "before": "0"}\n',
    ],
)
def test_damaged_journals_are_refused(tmp_path, header):
    with Live(Learner(seed=0), tmp_path) as live:
        for x, y in rows(20):
            live.learn(x, y)
    (tmp_path / "rows.jsonl").write_bytes(header)
    for _ in range(2):
        with pytest.raises(fastnn.ModelFileError, match=r"rows\.jsonl"):
            Live(Learner(seed=0), tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    with Live(Learner(seed=0), tmp_path) as live:
        assert live.rows == 20


def test_arguments(tmp_path):
    with pytest.raises(TypeError, match="learner must be a Learner or a Model"):
        Live({}, tmp_path)
    with pytest.raises(TypeError, match="settings must come with a Model, got optimizer"):
        Live(Learner(), tmp_path, optimizer="adam")
    with pytest.raises(ValueError, match="queue"):
        Live(Learner(), tmp_path, queue=0)
    Live(Learner(), tmp_path / "a").close()
    for given in (-1, "1", 2.0, None):
        (tmp_path / "b").mkdir(exist_ok=True)
        learner = Learner()
        learner.metadata["live"] = given
        learner.save(tmp_path / "b/model.safetensors")
        with pytest.raises(fastnn.ModelFileError, match="live must count rows, got"):
            Live(Learner(), tmp_path / "b")
    with pytest.raises(fastnn.ModelFileError):
        Live(fastnn.Model([2, 2]), tmp_path / "a")
    started = time.monotonic()
    Live(Learner(), tmp_path / "a", sync=True).close()
    assert time.monotonic() - started < 20
