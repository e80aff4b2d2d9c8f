"""Results: whole files or none, and text that a reader can break off."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from fastnn.cli.common.messages import BadUse
from fastnn.files.atomic import replacing


def check_writable(path: str, option: str = "-o", devices: bool = False) -> None:
    """Refuse before any work starts what could not be written after it."""
    target = Path(path)
    folder = target.parent
    if not path or target.is_dir():
        raise BadUse(f"{option} {path}: must be a file, not a folder")
    if not folder.is_dir():
        raise BadUse(f"{option} {path}: no such folder: {folder}")
    if _is_device(target):
        if not devices:
            raise BadUse(f"{option} {path}: must be a regular file")
    elif not os.access(folder, os.W_OK):
        raise BadUse(f"{option} {path}: no permission to write in {folder}")


def _is_device(target: Path) -> bool:
    """A pipe or a device, such as /dev/stdout: written to, never replaced."""
    return target.exists() and not target.is_file()


@contextlib.contextmanager
def text_file(path: str | None) -> Iterator[IO[str]]:
    """Standard output for None and "-"; else a file that takes its name once it is whole."""
    if path in (None, "-"):
        yield sys.stdout
        sys.stdout.flush()
        return
    if _is_device(Path(path)):
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
        return
    with replacing(path) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        try:
            yield file
        finally:
            file.detach()  # flushes; `replacing` closes


def replace_bytes(path: str, content: bytes) -> None:
    """Write a whole file in place of what may stand at `path`."""
    with replacing(path) as file:
        file.write(content)
