"""Live: a learner that a background thread trains, while others ask what it knew a moment ago.

    FOLDER/model.safetensors   the learner as it was saved last; its metadata["live"] counts the
                               rows that it has been given
    FOLDER/rows.jsonl          a line that says how many rows came before, then [x, y] of each row

The journal is the queue: who hands in a row appends its line, and the thread learns what it reads
there. So a row counts once its line is in the file, whatever happens to the process.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import threading
import weakref
from collections.abc import Mapping
from os import PathLike
from time import monotonic
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from fastnn.checks import as_bool, as_int, as_real
from fastnn.errors import ModelFileError
from fastnn.files.atomic import NO_LOCKS, replacing
from fastnn.files.safetensors import loads
from fastnn.model import Model
from fastnn.model import load as load_model
from fastnn.online.learner import Learner
from fastnn.online.learner import load as load_learner

try:
    import fcntl
except ImportError:  # Windows: whoever else writes there is not kept out
    fcntl = None  # type: ignore[assignment]

FORMAT, VERSION = "fastnn-rows", 1
MODEL, ROWS = "model.safetensors", "rows.jsonl"
CHUNK = 1 << 20  # bytes of the journal that are read at a time
IDLE = 1.0  # seconds after which the thread looks without being told: a handler may have raised

log = logging.getLogger("fastnn.online")


class Live:
    """A learner in place: rows go in, the latest state answers, nothing handed in is lost.

    `learn` appends a row to a journal and returns: from then on the row counts. A background thread
    learns the rows in their order, publishes what it knows as ``latest``, and saves it now and
    then. A process that is killed, by SIGTERM or SIGKILL, loses none of them: the next Live of the
    folder learns what the file lacks from the journal, and ends with the same bits as if nothing
    had happened. `close` spares it that.

    Parameters
    ----------
    learner : Learner or Model
        What begins, where the folder is new; it stays as it is. Otherwise what the folder holds
        goes on, of the same kind.
    folder : path
        Its own; made where there is none. One process at a time.
    queue : int, default 1024
        Rows that may wait to be learned; with more of them `learn` waits.
    publish_seconds : float, default 0.05
        From one state to the next while rows keep coming; a row after a pause is published at once.
    save_seconds : float, default 60.0
        From one save to the next.
    sync : bool, default False
        Whether `learn` waits for the disk, so that a power cut loses nothing, either.
    **settings
        For `Model.partial_fit`, of a Model: optimizer, learning_rate, ...

    Attributes
    ----------
    latest : Learner or Model
        A copy of some moment, whole, for any number of threads to predict with. Taking it waits for
        nobody; it does not change, so take it anew for each answer.
    rows : int
        Handed in, by this and by earlier processes.
    refused : int
        Rows that the learner has refused (a cell that is no cell, a step that diverges) in this
        process: passed over, by every process alike, and logged by the logger fastnn.online.

    Notes
    -----
    Threads: all methods may be called by any. Signals: nothing is installed; a handler may raise
    within `learn`, and the row then counts or not. Forks: in a child ``latest`` stays what it was,
    and everything else raises RuntimeError.

    Examples
    --------
    >>> import fastnn
    >>> with fastnn.online.Live(fastnn.online.Learner("regression", seed=0), "prices") as live:
    ...     for i in range(100):
    ...         live.learn({"size": i % 10, "town": "Oslo"}, 3.0 * (i % 10))
    ...     live.flush()
    ...     answer = live.latest.predict_one({"size": 5, "town": "Oslo"})
    >>> bool(abs(answer - 15) < 5)
    True
    >>> with fastnn.online.Live(fastnn.online.Learner("regression"), "prices") as live:
    ...     live.rows
    100
    """

    latest: Learner | Model

    def __init__(
        self,
        learner: Learner | Model,
        folder: str | PathLike[str],
        *,
        queue: int = 1024,
        publish_seconds: float = 0.05,
        save_seconds: float = 60.0,
        sync: bool = False,
        **settings: Any,
    ) -> None:
        if not isinstance(learner, (Learner, Model)):
            raise TypeError(f"learner must be a Learner or a Model, got {type(learner).__name__}")
        if settings and isinstance(learner, Learner):
            raise TypeError(f"settings must come with a Model, got {', '.join(settings)}")
        self._queue = as_int("queue", queue, 1)
        self._publish_seconds = as_real("publish_seconds", publish_seconds)
        self._save_seconds = as_real("save_seconds", save_seconds)
        self._sync, self._settings = as_bool("sync", sync), settings
        self._model, self._rows = (os.path.join(os.fspath(folder), name) for name in (MODEL, ROWS))
        os.makedirs(folder, exist_ok=True)
        self.refused = 0
        self._place = self._read = 0  # bytes of the journal that are learned, and read
        self._first = self._before = 0  # where its rows begin, and how many came before
        self._pid, self._changed = os.getpid(), threading.Condition()
        self._closed = self._torn = False
        self._error: BaseException | None = None  # what ended the thread
        self._unsaved: OSError | None = None  # why the last save failed
        self._wanted = self._flushed = 0  # rows that a save is to hold, and that shall be published
        self._idle = False  # the thread waits for a row
        self._writer: IO[bytes] | None = None
        self._reader: IO[bytes] | None = None
        self._folder = _locked(folder)
        try:
            if not os.path.exists(self._model):
                learner.save(self._model)
            load: Any = load_learner if isinstance(learner, Learner) else load_model
            self._learner: Any = load(self._model)
            self._saved = self._learned = self._given = _given(self._learner, self._model)
            self._open()
            self._publish()
        except BaseException:
            self._release()
            raise
        _lives.add(self)
        self._thread = threading.Thread(target=self._train, name="fastnn-live", daemon=True)
        self._thread.start()

    # For whoever has rows

    def learn(self, x: Any, y: Any) -> None:
        """Hand in a row; once this returns, the row counts.

        Parameters
        ----------
        x, y
            As of `Learner.learn_one`; of a Model rows and targets as of `Model.partial_fit`, a
            mini-batch. What JSON can hold, NumPy's arrays and numbers among it.

        Raises
        ------
        TypeError, ValueError
            JSON cannot hold it.
        OSError
            The journal could not be written; the row counts or not.
        RuntimeError
            It is closed, or this is a fork of the process that has made it.

        Examples
        --------
        >>> import fastnn
        >>> with fastnn.online.Live(fastnn.online.Learner(seed=0), "mails") as live:
        ...     live.learn({"words": 120, "from": "Ada"}, "mail")
        ...     live.rows
        1
        """
        line = json.dumps([x, y], default=_plain, separators=(",", ":")).encode() + b"\n"
        self._check()
        with self._changed:
            self._changed.wait_for(lambda: self._over or self.rows - self._learned < self._queue)
            self._check()
            assert self._writer is not None
            if self._torn:
                self._mend()
            self._torn = True  # until all of it is there, whatever comes between
            if self._writer.write(line) != len(line):
                raise OSError(f"{self._rows}: only a part of a row could be written")
            if self._sync:
                os.fsync(self._writer.fileno())
            self.rows += 1
            self._torn = False
            if self._idle or self._many:
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all rows handed in are learned and published.

        Examples
        --------
        >>> import fastnn
        >>> with fastnn.online.Live(fastnn.online.Learner(seed=0), "letters") as live:
        ...     live.learn({"words": 120, "from": "Ada"}, "mail")
        ...     live.flush()
        ...     live.latest.predict_one({"words": 130})
        'mail'
        """
        self._check()
        with self._changed:
            rows = self._flushed = self.rows
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over or self._given >= rows)
            self._check()

    def save(self) -> None:
        """Wait until the file holds all rows handed in.

        Raises
        ------
        OSError
            It could not be written; the journal has what it lacks.

        Examples
        --------
        >>> import fastnn
        >>> with fastnn.online.Live(fastnn.online.Learner(seed=0), "posts") as live:
        ...     live.learn({"words": 120, "from": "Ada"}, "mail")
        ...     live.save()
        >>> fastnn.load("posts/model.safetensors").classes
        ['mail']
        """
        self._check()
        with self._changed:
            rows = self._wanted = self.rows
            self._unsaved = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over or self._saved >= rows or self._unsaved)
            if self._unsaved:
                raise self._unsaved
            if self._saved < rows:
                self._check()

    def close(self) -> None:
        """Learn and save what was handed in, and end the thread. A second call does nothing.

        Examples
        --------
        >>> import fastnn
        >>> live = fastnn.online.Live(fastnn.online.Learner(seed=0), "notes")
        >>> live.close()
        """
        if os.getpid() != self._pid:
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _many(self) -> bool:
        """Whether half the queue waits."""
        return self.rows - self._learned >= max(1, self._queue // 2)

    @property
    def _over(self) -> bool:
        return self._closed or self._error is not None

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError("a Live must be used by the process that made it, not by a fork")
        if self._error is not None:
            raise RuntimeError(f"learning has ended: {self._error!r}") from self._error
        if self._closed:
            raise RuntimeError("a Live must not be used once it is closed")

    # The thread

    def _train(self) -> None:
        try:
            due = monotonic() + self._save_seconds
            while True:
                before, more = self._learned, self._learn_some()
                if self._learned > self._given:
                    self._publish()
                now, closed = monotonic(), self._closed
                wanted = not more and (closed or self._wanted > self._saved)
                if self._learned > self._saved and (wanted or now >= due):
                    self._save()
                if closed and not (more or self._waiting()):
                    return
                due = now + self._save_seconds if now >= due else due
                with self._changed:
                    if not (more or self._hurried):
                        self._idle = before == self._learned
                        until_due = max(due - monotonic(), 0.001)
                        pause = IDLE if self._idle else self._publish_seconds
                        self._changed.wait(min(pause, until_due))
                        self._idle = False
        except BaseException as error:
            log.exception("learning has ended")
            with self._changed:
                self._error = error
                self._changed.notify_all()

    @property
    def _hurried(self) -> bool:
        """Whether somebody waits for the thread."""
        waited_for = self._flushed > self._given or self._wanted > self._saved
        return self._closed or waited_for or self._many

    def _waiting(self) -> bool:
        """Whether there is more in the journal than the thread has read."""
        assert self._reader is not None
        size: int = os.fstat(self._reader.fileno()).st_size
        return size > self._read

    def _learn_some(self) -> bool:
        """What waits, until it is time to publish; whether there is more."""
        stop = monotonic() + max(self._publish_seconds, 0.001)
        for line in self._lines():
            self._learn_line(line)
            self._place += len(line) + 1
            self._learned += 1
            if monotonic() >= stop:
                return True
        return self._waiting()

    def _lines(self) -> list[bytes]:
        """Whole lines of the journal from where the thread stands."""
        assert self._reader is not None
        size = CHUNK
        while True:
            self._reader.seek(self._place)
            data = self._reader.read(size)
            self._read = self._place + len(data)
            if b"\n" in data or len(data) < size:
                return data.split(b"\n")[:-1]
            size *= 2

    def _learn_line(self, line: bytes) -> None:
        try:
            x, y = json.loads(line)
        except (TypeError, ValueError):  # of a write that did not come to its end
            return
        try:
            if isinstance(self._learner, Learner):
                self._learner.learn_one(x, y)
            else:
                self._learner.partial_fit(x, y, **self._settings)
        except (TypeError, ValueError, ArithmeticError) as error:
            self.refused += 1
            log.warning("a row was refused: %s", error)

    def _publish(self) -> None:
        latest = copy.copy(self._learner)
        if isinstance(latest, Model):
            latest._predictor()  # made once, here
        with self._changed:
            self.latest, self._given = latest, self._learned
            self._changed.notify_all()

    def _save(self) -> None:
        """The file, and then a journal of the rows alone that it lacks."""
        given = self._learned
        self._learner.metadata["live"] = given
        try:
            self._learner.save(self._model)
            with self._changed:
                assert self._reader is not None
                self._reader.seek(self._place)
                self._begin(given, self._reader.read())
                self._saved = given
                self._changed.notify_all()
        except OSError as error:
            log.exception("%s could not be saved; the journal has what it lacks", self._model)
            with self._changed:
                self._unsaved, self._wanted = error, 0
                self._changed.notify_all()

    # The journal

    def _open(self) -> None:
        """Find the row from which the file knows no more."""
        if not os.path.exists(self._rows):
            self._begin(self._given)
            self.rows = self._given
            return
        with open(self._rows, "rb") as file:
            header = file.readline()
            try:
                about = loads(header, "its first line")
                before = about.get("before")
                if about.get("format") != FORMAT or about.get("version") != VERSION:
                    raise ModelFileError(f"must be of format {FORMAT!r}, version {VERSION}")
                if type(before) is not int or not 0 <= before <= self._given:
                    raise ModelFileError(f"must begin at row {self._given} or before")
                for _ in range(self._given - before):
                    if not file.readline().endswith(b"\n"):
                        raise ModelFileError(f"must hold the rows from {before} to {self._given}")
            except ModelFileError as error:
                raise ModelFileError(f"{self._rows}: {error}") from None
            self._place = self._read = file.tell()
        self._first, self._before = len(header), before
        self._reopen()
        self._mend()

    def _begin(self, before: int, rest: bytes = b"") -> None:
        """A new journal, of the rows after so many."""
        about = {"format": FORMAT, "version": VERSION, "before": before}
        header = json.dumps(about).encode() + b"\n"
        self._close()
        try:
            with replacing(self._rows) as file:
                file.write(header + rest)
            self._first, self._before = len(header), before
            self._place = self._read = len(header)
        finally:
            self._reopen()

    def _mend(self) -> None:
        """After a write that may have been cut short: end its line, which is then passed over, and
        count what is there."""
        assert self._writer is not None
        with open(self._rows, "rb") as file:
            file.seek(self._first)
            rest = file.read()
        if rest and not rest.endswith(b"\n"):
            self._writer.write(b"\n")
            rest += b"\n"
        self.rows = self._before + rest.count(b"\n")

    def _reopen(self) -> None:
        self._writer = open(self._rows, "ab", buffering=0)
        self._reader = open(self._rows, "rb", buffering=0)

    def _close(self) -> None:
        for file in (self._writer, self._reader):
            if file is not None:
                file.close()

    def _release(self) -> None:
        self._close()
        if self._folder >= 0:
            os.close(self._folder)
        self._folder = -1


_lives: weakref.WeakSet[Live] = weakref.WeakSet()


def _forget_in_child() -> None:
    """Its descriptors would keep the folder from the next process once the parent is gone."""
    for live in list(_lives):
        live._release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def _locked(folder: str | PathLike[str]) -> int:
    """A descriptor that keeps others out as long as it is open."""
    if fcntl is None:
        return -1
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        where = os.fspath(folder)
        raise ValueError(f"folder must be free, another Live is at work in {where}") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            os.close(descriptor)
            raise
    return descriptor


def _given(learner: Any, path: str) -> int:
    """Rows that a saved learner has been given."""
    given = learner.metadata.get("live", 0)
    if type(given) is not int or given < 0:
        raise ModelFileError(f"{path}: metadata's live must count rows, got {given!r:.50}")
    return given


def _plain(value: Any) -> Any:
    """For JSON: NumPy's, and mappings."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"rows must hold what JSON can hold, got {type(value).__name__}")
