"""Builds the compiled half: an extension for each .pyx, and the C kernels for each ISA and real.

Switches (environment):
  FASTNN_DEBUG=1                      checks of bounds and C asserts on, no optimisation
  FASTNN_SANITIZE=address,undefined   instrumented build (also: thread)
  FASTNN_COVERAGE=1                   counts which lines run (gcov; tests/reached.py adds them up)
  FASTNN_OPENMP=0                     serial, as where the compiler has no OpenMP
Everything else is metadata, and stands in pyproject.toml.
"""

import json
import os
import platform
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError
from setuptools.modified import newer_group

C = Path("src")
C_API = Path("fastnn/c")  # its header
KERNELS = [
    *("_cpu", "panels", "forward", "output_delta", "update", "backward", "normalise"),  # of a layer
    "inputs",
    *("net", "predict", "online", "step", "engine"),  # of a network
    "layer",  # the passes of one layer over arrays
]
MODULES = [f"fastnn.kernels.{name}" for name in KERNELS]
MODULES += ["fastnn.tables.cells", "fastnn.tables.reading.scan", "fastnn.online.rows"]
# Cython's own memoryviews and helpers, once for all modules: made by cythonize
SHARED = "fastnn.kernels._shared"
DEBUG = os.environ.get("FASTNN_DEBUG", "") not in ("", "0")
SANITIZE = os.environ.get("FASTNN_SANITIZE", "")
COVERAGE = os.environ.get("FASTNN_COVERAGE", "") not in ("", "0")
SERIAL = os.environ.get("FASTNN_OPENMP", "") == "0"
# Each kind of build has a folder of its own: its objects never mix with another's.
KIND = "-".join(
    ["debug"] * DEBUG
    + ["coverage"] * COVERAGE
    + ["serial"] * SERIAL
    + (SANITIZE.split(",") if SANITIZE else [])
)
BUILD = Path("build", KIND)

# Instruction set: the flags that allow it. Chosen at import, by feature bits (src/platform.c).
ISAS_X86 = {
    "baseline": [] if DEBUG else ["-Os"],  # CPUs without AVX2: small, not fast
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        "-mavx512f",
        "-mavx512vl",
        "-mavx512dq",
        "-mavx512bw",
        "-mfma",
        "-mprefer-vector-width=512",
    ],
}

# gcc's scheduling before register allocation spills sums of the 12 x 2 tile: without it none do.
NEON = ["-fno-schedule-insns"] if sys.platform == "linux" else []


def target_machine() -> str:
    """Where the build will run (a cross-build says so in _PYTHON_HOST_PLATFORM)."""
    where = os.environ.get("_PYTHON_HOST_PLATFORM") or sysconfig.get_platform()
    if where.endswith("wasm32"):  # Pyodide says emscripten_4_0_9_wasm32
        return "wasm32"
    return where.rsplit("-", 1)[-1] if "-" in where else platform.machine()


def isas() -> dict[str, list[str]]:
    machine = target_machine().lower()
    if machine in ("x86_64", "amd64", "universal2"):
        return ISAS_X86
    return {"neon": NEON} if machine in ("aarch64", "arm64") else {"baseline": []}


# Never -march=native or -ffast-math, no contraction of a * b + c: bit identity
# (docs/architecture.md).
# -O3 would copy loops for every case, those too that are rare: larger, not faster.
COMPILE = ["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-O2", "-g0", "-DNDEBUG"]
if not DEBUG and sys.platform != "win32":  # nothing is ever thrown through it; Windows wants tables
    COMPILE += ["-fno-asynchronous-unwind-tables"]
# Two of each loop that asks something again and again: larger, so not for float64.
UNSWITCH = [] if DEBUG else ["-funswitch-loops"]
# Modules in Cython that do more than to prepare the kernels' calls: all others are small, not fast.
FAST = ["panels", "predict", "online", "step", "cells", "scan", "rows"]
SMALL = [] if DEBUG or SANITIZE else ["-Os"]
if COVERAGE:  # of lines that become one the compiler counts but one
    FAST, SMALL = [], ["-O0"]
COMPILE += ["-std=gnu11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
LINK = [] if DEBUG or sys.platform == "darwin" else ["-Wl,-s"]
if SANITIZE:
    COMPILE += ["-O1", f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-g"]
    LINK = [f"-fsanitize={SANITIZE}"]
if COVERAGE:
    COMPILE += ["-O1", "--coverage", "-fprofile-update=prefer-atomic"]
    LINK = ["--coverage"]
if sys.platform == "darwin":
    OPENMP = ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
elif sys.platform == "win32":  # by clang-cl: the vectors are GNU C
    OPENMP, LINK = (["/openmp"], []), []
    UNSWITCH = []  # gcc's
else:
    OPENMP = ["-fopenmp"], ["-fopenmp"]

# The C of src is a library of its own, for programs, too (fastnn/c/fastnn.h), in a folder by itself
# where its name could be a module's. One module links it, by the way from there (NEAR);
# WebAssembly's modules hold the C themselves: None.
LINKING = "fastnn.kernels._cpu"
LIBRARY = {"darwin": "lib/libfastnn.dylib", "win32": "fastnn.dll"}.get(
    sys.platform, "lib/libfastnn.so"
)
if sys.platform == "darwin":
    NEAR = ["-Wl,-rpath,@loader_path/lib"]
    LINK_LIBRARY = [*LINK, "-Wl,-install_name,@rpath/libfastnn.dylib"]
elif sys.platform == "win32":  # looks beside itself; fastnn.lib comes about there, too
    NEAR, LINK_LIBRARY = [], LINK
else:
    NEAR = ["-Wl,-rpath,$ORIGIN/lib"]
    LINK_LIBRARY = [*LINK, "-Wl,-soname,libfastnn.so"]
if target_machine() == "wasm32":
    LIBRARY = None


def for_driver(flags: list[str]) -> list[str]:
    """As the compiler's command line takes them."""
    return [f"/clang:{flag}" for flag in flags] if sys.platform == "win32" else flags


class BuildKernels(build_ext):
    """Compiles src for every instruction set before the extension that links it.

    On all CPUs, unless told otherwise (-j): pip has no option for it.
    """

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            if not self.compiler.initialized:
                self.compiler.initialize()
            self.compiler.cc = shutil.which("clang-cl") or "clang-cl"
        if SERIAL or not self.links_openmp():
            self.warn("without OpenMP: this build of fastnn computes on one thread")
            for ext in self.extensions:
                compiling, linking = ext.extra_compile_args, ext.extra_link_args
                ext.extra_compile_args = [flag for flag in compiling if flag not in OPENMP[0]]
                ext.extra_link_args = [flag for flag in linking if flag not in OPENMP[1]]
        super().build_extensions()

    def links_openmp(self) -> bool:
        with TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text("#include <omp.h>\nint n(void) { return omp_get_max_threads(); }\n")
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=OPENMP[0]
                )
                self.compiler.link_shared_object(
                    objects, str(Path(folder, "openmp.so")), extra_postargs=OPENMP[1]
                )
            except (CompileError, LinkError):
                return False
        return True

    def build_extension(self, ext):
        if ext.name == LINKING and LIBRARY is None:
            ext.extra_objects = self.kernel_objects()
        elif ext.name == LINKING:
            library = Path(self.get_ext_fullpath(LINKING)).parent / LIBRARY
            if self.force or newer_group(ext.depends, str(library)):
                self.link_library(library)
            ext.libraries, ext.library_dirs = ["fastnn"], [str(library.parent)]
            ext.extra_link_args += NEAR
        super().build_extension(ext)

    def copy_extensions_to_source(self):
        self.force = True  # what is in place may be of another kind, and newer
        super().copy_extensions_to_source()
        for built, library in self.library_mapping().items():
            self.mkpath(str(Path(library).parent))
            self.copy_file(built, library)

    def get_outputs(self):
        return sorted({*super().get_outputs(), *self.library_mapping()})

    def get_output_mapping(self):
        return super().get_output_mapping() | (self.library_mapping() if self.inplace else {})

    def library_mapping(self) -> dict[str, str]:
        """The library as it is built: where an installation in place has it."""
        if LIBRARY is None:
            return {}
        folder = Path("fastnn", "kernels", LIBRARY)
        return {str(Path(self.build_lib, folder)): str(folder)}

    def link_library(self, library: Path) -> None:
        objects, linker = self.kernel_objects(), getattr(self.compiler, "linker_so", None)
        if sys.platform == "darwin":  # a bundle, as Python's modules are, cannot be linked to
            self.compiler.linker_so = ["-dynamiclib" if f == "-bundle" else f for f in linker]
        try:
            self.compiler.link_shared_object(objects, str(library), extra_postargs=LINK_LIBRARY)
        finally:
            self.compiler.linker_so = linker

    def kernel_objects(self) -> list[str]:
        jobs = [(name, C / f"{name}.c", []) for name in ("platform", "predictor")]
        for isa, of_isa in isas().items():
            for bits in (32, 64):
                flags = [*of_isa, *(UNSWITCH if bits == 32 else []), f"-DFNN_REAL_BITS={bits}"]
                jobs.append((f"{isa}_{bits}", C / "isa" / f"{isa}.c", flags))

        def compile_one(job):
            name, source, flags = job
            out = Path(self.build_temp) / "kernels" / name
            return self.compiler.compile(
                [str(source)],
                output_dir=str(out),
                include_dirs=[str(C), str(C_API)],
                macros=[("FASTNN_BUILDS", None)],
                extra_postargs=for_driver([*COMPILE, *flags]),
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [path for paths in pool.map(compile_one, jobs) for path in paths]


class WheelWithSbom(bdist_wheel):
    """Writes what the wheel is made of into .dist-info/sboms (PEP 770), as CycloneDX 1.6.

    Nothing of others is in it: what repairs a wheel lists what that adds in a file of its own.
    No time and no serial number: the same source gives the same bytes.
    """

    def egg2dist(self, egginfo_path, distinfo_path):
        super().egg2dist(egginfo_path, distinfo_path)
        name, version = self.distribution.get_name(), self.distribution.get_version()
        purl = f"pkg:pypi/{name}@{version}"
        component = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "licenses": [{"expression": self.distribution.metadata.license_expression}],
            "purl": purl,
        }
        bom = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": component},
            "components": [],
        }
        path = Path(distinfo_path, "sboms", f"{name}.cdx.json")
        path.parent.mkdir()
        path.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")


def extension(name: str, suffix: str = ".pyx") -> Extension:
    small = [] if name.rpartition(".")[2] in FAST else SMALL
    return Extension(
        name,
        [name.replace(".", "/") + suffix],
        include_dirs=[str(C), str(C_API), numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        depends=["setup.py", *map(str, [*sorted(C.rglob("*.[ch]")), *C_API.glob("*.h")])],
        extra_compile_args=[*for_driver([*COMPILE, *small]), *OPENMP[0]],
        extra_link_args=[*LINK, *OPENMP[1]],
    )


setup(
    ext_modules=cythonize(
        [*(extension(name) for name in MODULES), extension(SHARED, ".c")],
        shared_utility_qualified_name=SHARED,
        # ... less what no module has need of, by the directives below
        shared_utility_features_disabled=["AutoPickle", "CythonFunction", "PythonClasses"],
        include_path=["."],
        build_dir=str(BUILD / "cython"),
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "auto_pickle": False,  # what is pickled says how, by __reduce__
            "binding": False,  # functions as C has them, smaller; what River asks is in rows.pyx
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": WheelWithSbom},
    options={"build": {"build_base": str(BUILD)}},
)
