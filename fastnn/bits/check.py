"""Trains the pinned networks and compares their SHA-256 with those in the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastnn.bits.networks import CASES, DTYPES, trained
from fastnn.config import n_threads, show_config
from fastnn.kernels import _cpu

HASHES = Path(__file__).parent / "hashes.json"
BASELINE = "baseline"  # x86-64 without FMA: bits of its own
WHAT = ("weights", "outputs")


@dataclass(frozen=True)
class Compared:
    """What one network came to with so many threads, and should have: SHA-256 of little-endian
    bytes."""

    network: str
    dtype: str
    what: str  # "weights" after training, "outputs" for the rows of training
    threads: int
    sha256: str
    expected: str

    @property
    def ok(self) -> bool:
        return self.sha256 == self.expected


@dataclass(frozen=True)
class Verification:
    """What `fastnn.verify` found; ``print`` tells it in lines.

    Attributes
    ----------
    ok : bool
        Whether all bits are as they should be.
    promised : bool
        Whether they were compared with the package's. False on x86-64 without FMA, whose bits are
        the same for any number of threads, but its own.
    config : dict
        As of ``show_config("dict")``: version, bits' version, instruction set, compiler, ...
    compared : tuple
        Of each network, dtype, kind of result and number of threads: `network`, `dtype`, `what`,
        `threads`, `sha256`, `expected`, `ok`.
    sha256 : str
        One of all networks with one thread: the same on two machines where all their bits are.
    """

    promised: bool
    config: dict[str, Any]
    compared: tuple[Compared, ...]

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.compared)

    @property
    def sha256(self) -> str:
        alone = "".join(one.sha256 for one in self.compared if one.threads == 1)
        return hashlib.sha256(alone.encode()).hexdigest()

    def __str__(self) -> str:
        threads = sorted({one.threads for one in self.compared})
        lines = [f"{name:<12} {_text(value)}" for name, value in self.config.items()]
        lines.append("")
        for name in dict.fromkeys(one.network for one in self.compared):
            wrong = [one for one in self.compared if one.network == name and not one.ok]
            lines.append(f"{'DIFFERS' if wrong else 'ok':7}  {name}")
            for one in wrong:
                what = f"{one.dtype} {one.what}, {one.threads} thread{'s' * (one.threads > 1)}"
                lines.append(f"         {what}: {one.sha256[:16]}, not {one.expected[:16]}")
        counted = " and ".join(map(str, threads)) + f" thread{'s' * (threads[-1] > 1)}"
        lines += ["", f"sha256 of all: {self.sha256}"]
        if not self.promised:
            lines.append(
                "no FMA here: these bits are the same for any number of threads, but not those of "
                "AVX2, AVX-512 and NEON"
            )
        version = f"bits version {self.config['bits_version']}"
        same = version if self.promised else "one thread"
        answer = "the same bits as" if self.ok else "NOT the same bits as"
        lines.append(f"{answer} {same}, with {counted}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        compared = [{**vars(one), "ok": one.ok} for one in self.compared]
        facts = {"ok": self.ok, "promised": self.promised, "sha256": self.sha256}
        return {**facts, "config": self.config, "compared": compared}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def verify() -> Verification:
    """Train small networks and compare their bits with those in the package.

    Every optimizer of fastnn's own, loss and kind of layer in float32 and float64, with one thread
    and with as many as a model takes; in a second or so.

    Returns
    -------
    Verification
        `ok`, and what was compared; ``print(fastnn.verify())`` shows it.

    See Also
    --------
    show_config : What build and machine offer.

    Notes
    -----
    docs/reproducibility.md says what is promised and where it ends. ``FASTNN_ISA=avx2`` in the
    environment chooses an instruction set before fastnn is imported.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.verify().ok
    True
    """
    promised = _cpu.isa() != BASELINE
    want = pinned() if promised else hashes(1)
    compared = [
        Compared(name, dtype, what, n, got[what][name][dtype], want[what][name][dtype])
        for n in sorted({1, n_threads(None)})
        for got in [hashes(n)]
        for name in CASES
        for dtype in DTYPES
        for what in WHAT
    ]
    return Verification(promised, show_config("dict") or {}, tuple(compared))


def pinned() -> dict[str, Any]:
    """The package's hashes: kind of result, name, dtype -> SHA-256."""
    content: dict[str, Any] = json.loads(HASHES.read_text())
    return content


def hashes(n: int | None = None) -> dict[str, dict[str, dict[str, str]]]:
    """Today's, with so many threads."""
    found: dict[str, dict[str, dict[str, str]]] = {what: {} for what in WHAT}
    for name in CASES:
        for dtype in DTYPES:
            for what, array in zip(WHAT, trained(name, dtype, n), strict=True):
                found[what].setdefault(name, {})[dtype] = sha256(array)
    return found


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()
