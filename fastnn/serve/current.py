"""The model of a file, as the file is now; a new file's model takes the old one's place whole."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastnn.saved import load
from fastnn.serve.contract import Contract

LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Served:
    """A model that answers."""

    contract: Contract
    version: str  # the first 12 digits of the file's SHA-256
    loaded: float = field(default_factory=time.time)


class Current:
    """What `served` answers. One thread at a time loads; nobody waits for it.

    Parameters
    ----------
    path : path
    max_rows : int
        As of `Contract`.
    note : function(level, **what)
        Told of each load.
    """

    def __init__(self, path: str, max_rows: int, note: Callable[..., None]) -> None:
        self._path, self._max_rows, self._note = path, max_rows, note
        self._turn = threading.Lock()  # who holds it looks at the file
        self.problem: str | None = None
        self._seen, self._served = self._load()
        self._next = time.monotonic() + LOOK_EVERY

    def served(self) -> Served:
        if time.monotonic() >= self._next and self._turn.acquire(blocking=False):
            self._next = time.monotonic() + LOOK_EVERY
            if _traits(self._path) == self._seen:
                self._turn.release()
            else:  # a daemon: no exit waits for it
                thread = threading.Thread(target=self._reload, name="fastnn-reload", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system lets no more start: the next look tries again
                    self._turn.release()
        return self._served

    def _load(self) -> tuple[Any, Served]:
        """The file's traits, and its model; again where it is replaced meanwhile."""
        while True:
            traits = _traits(self._path)
            with open(self._path, "rb") as file:
                version = hashlib.file_digest(file, "sha256").hexdigest()[:12]
            contract = Contract(load(self._path), version, self._max_rows)
            if _traits(self._path) == traits:
                self._note(logging.INFO, event="loaded", model=version, path=self._path)
                return traits, Served(contract, version)

    def _reload(self) -> None:
        seen = _traits(self._path)
        try:
            self._seen, self._served = self._load()
            self.problem = None
        except Exception as error:  # whatever it is, the old model goes on
            self._seen, self.problem = seen, f"{type(error).__name__}: {error}"
            told = {"model": self._served.version, "path": self._path, "problem": self.problem}
            self._note(logging.ERROR, event="kept the old model", **told)
        finally:
            self._turn.release()


def _traits(path: str) -> tuple[int, ...] | None:
    """What changes with a file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
