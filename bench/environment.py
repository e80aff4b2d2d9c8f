"""The environment of an entrant's process: threads, instruction set, PyTorch's MKL."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from fastnn.config import cpu_name

# What limits each library's kernels to an instruction set. ONNX Runtime has no such switch, and
# XLA's only limits the code that it generates, not the matrix products that it calls.
ISA_SWITCHES = {
    "avx2": {
        "FASTNN_ISA": "avx2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "OV_CPU_ISA": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    },
}


def environment(n_threads: int, isa: str = "", preload: str = "") -> dict[str, str]:
    """os.environ and what a process of n threads needs beside it."""
    n = str(n_threads)
    added = {
        "OMP_NUM_THREADS": n,
        "MKL_NUM_THREADS": n,
        "OPENBLAS_NUM_THREADS": n,
        "TF_NUM_INTRAOP_THREADS": n,
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={str(n_threads > 1).lower()}",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **ISA_SWITCHES.get(isa, {"FASTNN_ISA": isa} if isa else {}),
    }
    if preload:
        added["LD_PRELOAD"] = f"{preload} {os.environ.get('LD_PRELOAD', '')}".strip()
    return {**os.environ, **added}


def mkl_as_intel(folder: Path | None = None) -> str:
    """Path of a library that tells MKL the CPU is Intel's, or "" where that changes nothing.

    On other makers' CPUs MKL takes slower paths (half as fast with AVX-512): with the library
    preloaded PyTorch is the stronger opponent. Needs a C compiler.
    """
    if "intel" in cpu_name().lower():
        return ""
    folder = folder or Path(tempfile.gettempdir(), f"fastnn-bench-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / "libmkl_as_intel.so"
    code = "int mkl_serv_intel_cpu_true(void) { return 1; }"
    command = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(library)]
    try:
        subprocess.run(command, input=code, text=True, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return str(library)
