"""A journal: a folder that tells what a long work has done so far, so that it can go on later.

    journal.json     format and version; `about`: whose it is; `entries`: one of each finished part
    7.safetensors    what part 7 left, an ensemble's file; of some parts

A part counts once journal.json names it, which is after its file is on disk; a kill at any moment
leaves the parts that were finished.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

from fastnn.checks import listed
from fastnn.errors import ModelFileError
from fastnn.files import ensemble
from fastnn.files.atomic import NO_LOCKS
from fastnn.files.foreign import opened
from fastnn.files.model import json_text, write_atomically
from fastnn.files.safetensors import loads, read_exactly

try:
    import fcntl
except ImportError:  # Windows: whoever else writes there is not kept out
    fcntl = None  # type: ignore[assignment]

FORMAT, VERSION, NAME = "fastnn-journal", 1, "journal.json"
PART = re.compile(r"\d+\.safetensors")


class Journal:
    """The journal in the folder `path`, which `alone` makes where there is none.

    Attributes
    ----------
    about : dict
        Empty of a new journal.
    entries : list of dict
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.about: dict[str, Any] = {}
        self.entries: list[dict[str, Any]] = []
        if os.path.exists(path) and not os.path.isdir(path):
            raise ValueError(f"journal must be a folder or none yet, {self.path} is a file")
        folder = os.path.dirname(os.path.abspath(path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        there = os.listdir(path) if os.path.isdir(path) else ()
        names = sorted(name for name in there if not name.startswith("."))
        if NAME in names:
            self._read()
        elif odd := [name for name in names if not PART.fullmatch(name)]:
            raise ValueError(
                f"journal must be the folder of one, or empty; {self.path} holds {listed(odd)}"
            )

    def _read(self) -> None:
        with opened(os.path.join(self.path, NAME)) as (file, size):
            content = loads(read_exactly(file, size), "a journal")
            if content.get("format") != FORMAT or content.get("version") != VERSION:
                raise ModelFileError(f"must be of format {FORMAT!r}, version {VERSION}")
            about, entries = content.get("about"), content.get("entries")
            if not isinstance(about, dict) or not isinstance(entries, list):
                raise ModelFileError("about must be an object and entries a list")
            if not all(isinstance(one, dict) for one in entries):
                raise ModelFileError("entries must be objects")
        self.about, self.entries = about, entries

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes here meanwhile; ValueError where somebody does."""
        os.makedirs(self.path, exist_ok=True)
        if fcntl is None:
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"journal must be free, {self.path} is being written") from None
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            if os.path.exists(os.path.join(self.path, NAME)):
                self._read()
            yield
        finally:
            os.close(descriptor)

    def load(self, number: int) -> ensemble.Saved:
        """What part `number` left. Raises ModelFileError, OSError."""
        return ensemble.load(self._file(number))

    def add(
        self,
        entries: Collection[dict[str, Any]],
        parts: Mapping[int, ensemble.Saved],
        kept: Collection[int],
    ) -> None:
        """Write what parts left, then the journal with their entries; files of parts that are not
        among `kept` go. OSError leaves the journal as it was."""
        for number, part in parts.items():
            ensemble.save(self._file(number), part)
        entries = [*self.entries, *entries]
        content = {"format": FORMAT, "version": VERSION, "about": self.about, "entries": entries}
        write_atomically(os.path.join(self.path, NAME), [json_text(content).encode()])
        self.entries = entries
        wanted = {os.path.basename(self._file(number)) for number in kept}
        for name in os.listdir(self.path):
            if PART.fullmatch(name) and name not in wanted:
                os.remove(os.path.join(self.path, name))

    def _file(self, number: int) -> str:
        return os.path.join(self.path, f"{number}.safetensors")
