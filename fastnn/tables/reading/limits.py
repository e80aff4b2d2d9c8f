"""How much a file may unpack to: no more than memory can hold, and that before it is unpacked."""

from __future__ import annotations

import gzip
import io
import os
from typing import Any

from fastnn.errors import TableError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

CGROUPS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"


def memory() -> int:
    """Bytes that this process may use: the machine's, its container's, or its address space."""
    limits = []
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if resource is not None:
        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    for path in CGROUPS:
        try:
            with open(path) as file:
                limits.append(int(file.read()))
        except (OSError, ValueError):  # not there, or "max"
            pass
    return min((one for one in limits if one > 0), default=2**63)


def check_unpacked(where: str, n_bytes: int) -> None:
    """Refuse what would fill more than half of the memory."""
    most = memory() // 2
    if n_bytes > most:
        raise TableError(
            f"{where}: must unpack to at most {most:,} bytes, half of the memory, got {n_bytes:,}"
        )


class Unpacking(io.RawIOBase):
    """The content of a gzip file, refused once it is more than memory can hold."""

    def __init__(self, path: str) -> None:
        self._file = gzip.open(path)
        self._path = path
        self._n = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        n = self._file.readinto(buffer)
        if (self._n + n) >> 22 > self._n >> 22:  # every 4 MiB
            check_unpacked(self._path, self._n + n)
        self._n += n
        return n

    def close(self) -> None:
        self._file.close()
        super().close()
