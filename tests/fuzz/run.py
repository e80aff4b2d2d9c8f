"""Looks for files that break what reads them: python tests/fuzz/run.py model -max_total_time=60

By atheris, which is guided by the lines that an input reaches, or, where the target is `library`,
libFuzzer itself with both sanitizers (clang, or what CLANG names); what follows the target's name
is libFuzzer's. New inputs are kept in build/fuzz, which grows; a finding is written to the working
folder, and is worth a place in tests/fuzz/corpus once it is mended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LIMITS = "-rss_limit_mb=2048", "-timeout=10", "-max_len=16384"
REAL = "-O1", "-g", "-std=gnu11", "-ffp-contract=off", "-fno-math-errno"
SANITIZERS = "-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined"
ISAS = {  # as setup.py
    "baseline": [],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [f"-mavx512{part}" for part in ("f", "vl", "dq", "bw")] + ["-mfma"],
}


def library(options: list[str]) -> None:
    """The reader of src/predictor.c as a program, which this process becomes."""
    clang, built = os.environ.get("CLANG", "clang"), Path("build", "fuzz")

    def compiled(source: str, name: str, *flags: str) -> str:
        command = [clang, *REAL, *SANITIZERS, *flags, "-Isrc", "-Ifastnn/c", "-c", source, "-o"]
        subprocess.run([*command, str(built / name)], check=True)
        return str(built / name)

    objects = [
        compiled(f"src/isa/{isa}.c", f"{isa}{bits}.o", *flags, f"-DFNN_REAL_BITS={bits}")
        for isa, flags in ISAS.items()
        for bits in (32, 64)
    ]
    objects += [compiled(f"src/{name}.c", f"{name}.o") for name in ("platform", "predictor")]
    objects.append(compiled(str(HERE / "library.c"), "library.o"))
    program = str(built / "run-library")
    sanitizers = SANITIZERS[0].replace("fuzzer-no-link", "fuzzer")
    subprocess.run([clang, sanitizers, *objects, "-lm", "-lpthread", "-o", program], check=True)
    os.execv(program, [program, f"-dict={HERE / 'library.dict'}", *options])


def python(name: str, options: list[str]) -> None:
    """A target of targets.py."""
    import atheris

    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["fastnn"]):
        import odd
        import targets

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        found = odd.mutated(data, seed) if seed % 4 else None
        if found is None or len(found) > max_size:
            found = atheris.Mutate(data, max_size)
        return found

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        where = Path(folder)
        own = {"custom_mutator": mutate} if name in ("model", "ensemble") else {}
        atheris.Setup(
            [sys.argv[0], *options], lambda data: targets.tried(name, data, where), **own
        )
        atheris.Fuzz()


def main() -> None:
    name = sys.argv[1]
    kept = Path("build", "fuzz", name)
    kept.mkdir(parents=True, exist_ok=True)
    options = [*LIMITS, *sys.argv[2:], str(kept), str(HERE / "corpus" / name)]
    if name == "library":
        library(options)
    else:
        python(name, options)


if __name__ == "__main__":
    main()
