"""Looks for files that break what reads them: python tests/fuzz/run.py model -max_total_time=60

By atheris, which is guided by the lines that an input reaches; what follows the target's name is
libFuzzer's. New inputs are kept in build/fuzz, which grows; a finding is written to the working
folder, and is worth a place in tests/fuzz/corpus once it is mended.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

with atheris.instrument_imports(include=["fastnn"]):
    import odd
    import targets

LIMITS = "-rss_limit_mb=2048", "-timeout=10", "-max_len=16384"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    found = odd.mutated(data, seed) if seed % 4 else None
    if found is None or len(found) > max_size:
        found = atheris.Mutate(data, max_size)
    return found


def main() -> None:
    name = sys.argv[1]
    kept = Path("build", "fuzz", name)
    kept.mkdir(parents=True, exist_ok=True)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        where = Path(folder)
        own = {"custom_mutator": mutate} if name in ("model", "ensemble") else {}
        options = [*LIMITS, *sys.argv[2:], str(kept), str(targets.CORPUS / name)]
        atheris.Setup(
            [sys.argv[0], *options], lambda data: targets.tried(name, data, where), **own
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
