"""Results: whole files or none, and text that a reader can break off."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ._messages import BadUse


def check_writable(path: str, devices: bool = False) -> None:
    """Refuse before any work starts what could not be written after it."""
    target = Path(path)
    folder = target.parent
    if not path or target.is_dir():
        raise BadUse(f"-o {path}: must be a file, not a folder")
    if not folder.is_dir():
        raise BadUse(f"-o {path}: no such folder: {folder}")
    if _is_device(target):
        if not devices:
            raise BadUse(f"-o {path}: must be a regular file")
    elif not os.access(folder, os.W_OK):
        raise BadUse(f"-o {path}: no permission to write in {folder}")


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
    with _replacing(path) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        yield file


def replace_bytes(path: str, content: bytes) -> None:
    """Write a whole file in place of what may stand at `path`."""
    with _replacing(path) as partial:
        Path(partial).write_bytes(content)


@contextlib.contextmanager
def _replacing(path: str) -> Iterator[str]:
    """A new name beside `path`, which replaces it at the end and is removed on any failure."""
    target = Path(path).resolve()  # a link keeps standing, what it points to is replaced
    handle, partial = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        os.close(handle)
        os.chmod(partial, mode)
        yield partial
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
