"""Files that are replaced in one piece.

Beside a target NAME its next content is written to .NAME.tmp, locked as long as a process writes
it. One that a killed process left behind is nobody's: who comes next takes it away. Who finds it
locked waits.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file in use cannot be removed
    fcntl = None  # type: ignore[assignment]

NAME_MAX = 255  # bytes of a file's name, in every usual file system
NO_LOCKS = errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS  # of file systems that have none
# Flags that some systems lack. Without O_NONBLOCK the open of a pipe would wait for its other end.
_FLAGS = sum(getattr(os, f, 0) for f in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write beside `path`, which takes its place and permissions at the end, on disk.

    On any failure it is removed, and what stood at `path` stays; an OSError names `path`. A link
    stays a link. Nobody can read the new file who cannot read the old one.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    mode = _mode(target)
    temporary = os.path.join(folder, _temporary_name(name))
    descriptor = _claim(temporary, 0o666 if mode is None else mode)
    locked = fcntl is not None  # until the end; Windows renames only what is closed
    try:
        with open(descriptor, "wb", closefd=not locked) as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = os.fspath(path)
        if not locked or _is(descriptor, temporary):
            os.remove(temporary)
        raise
    finally:
        if locked:
            _release(descriptor)
    _sync_folder(folder)


def _mode(target: str) -> int | None:
    """The permissions of the file that stands there, None of nothing. No device is replaced."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no regular file", target)
    return stat.S_IMODE(mode)


def _temporary_name(name: str) -> str:
    """.NAME.tmp; of a name too long for that its hash in NAME's place."""
    if len(os.fsencode(name)) + len("..tmp") <= NAME_MAX:
        return f".{name}.tmp"
    import hashlib

    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()}.tmp"


def _claim(temporary: str, mode: int) -> int:
    """A new file, locked by this call alone; waits for who else is writing one."""
    while True:
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FLAGS, mode)
        except FileExistsError:
            _clear(temporary)
            continue
        try:
            _lock(descriptor)
            if _is(descriptor, temporary):  # not taken for a leftover before it was locked
                return descriptor
        except BaseException:
            try:
                if fcntl is not None and _is(descriptor, temporary):
                    os.remove(temporary)
            finally:
                os.close(descriptor)
            raise
        os.close(descriptor)


def _clear(temporary: str) -> None:
    """Wait for its writer to end; remove it if it is still there, of one that was killed."""
    if fcntl is None:
        os.remove(temporary)
        return
    try:
        descriptor = os.open(temporary, os.O_RDWR | _FLAGS)
    except FileNotFoundError:
        return
    try:
        _lock(descriptor)
        if _is(descriptor, temporary):
            os.remove(temporary)
    finally:
        _release(descriptor)


def _lock(descriptor: int) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _is(descriptor: int, path: str) -> bool:
    """Whether the open file is the one that bears this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _release(descriptor: int) -> None:
    """Give the lock back, also where a forked process has the file open, and close."""
    assert fcntl is not None, "which has locked it"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError:  # no locks there
        pass
    finally:
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    """Make the new name last through a power cut, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems cannot
        pass
    finally:
        os.close(descriptor)
