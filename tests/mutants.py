"""Does a test notice when an operator is another one? python tests/mutants.py c 60

    python tests/mutants.py c N [SEED]         N places of src, one after another
    python tests/mutants.py python N [SEED]    N places of the modules in PYTHON

In a copy, build/mutants, which needs a checkout that is built in place and, for C, gcc and AVX2.
Each mutant is one line of output; survivors, which no test has noticed, are listed again at the
end: each is worth a test, or stands for nothing (docs/reliability.md says which of those seen).
"""

from __future__ import annotations

import ast
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPY = ROOT / "build" / "mutants"

# Tests that notice, beside `fastnn verify`, the quickest first: of a header of src, ...
KERNELS = ["test_kernels.py", "test_engine.py"]
C = {
    "activate.h": [*KERNELS, "test_predictor.py"],
    "activations.h": KERNELS,
    "elementary.h": KERNELS,
    "gather.h": [*KERNELS, "test_inputs.py"],
    "inputs.h": ["test_inputs.py"],
    "int8.h": ["test_int8.py"],
    "json.h": ["test_c_library.py", "test_fuzz.py"],
    "layout.h": KERNELS,
    "normalise.h": ["test_norm.py"],
    "optimizers.h": [*KERNELS, "test_optimizers.py"],
    "output.h": ["test_losses.py", *KERNELS],
    "panels.h": KERNELS,
    "parametric.h": ["test_parametric.py"],
    "perturb.h": ["test_dropout.py"],
    "predictor.c": ["test_c_library.py", "test_fuzz.py"],
    "random.h": ["test_dropout.py"],
    "rows.h": [*KERNELS, "test_predictor.py", "test_online.py"],
    "spans.h": [*KERNELS, "test_bits.py"],
    "sparse.h": ["test_data.py"],
    "tiles.h": KERNELS,
    "update.h": [*KERNELS, "test_optimizers.py", "test_parameters.py"],
}
# ... and of a module.
PYTHON = {
    "checks.py": ["test_awkward.py", "test_parameters.py"],
    "explain/importance.py": ["test_explain.py"],
    "explain/shapley.py": ["test_explain.py"],
    "files/atomic.py": ["test_contracts.py", "test_storage.py"],
    "files/safetensors.py": ["test_hostile_files.py", "test_storage.py", "test_interop.py"],
    "network/initialize.py": ["test_initialize.py", "test_monotone.py"],
    "random.py": ["test_initialize.py", "test_train.py", "test_golden.py"],
    "tables/numbers.py": ["test_tables.py", "test_columns.py"],
    "tables/words.py": ["test_tables.py", "test_awkward.py", "test_columns.py"],
    "training/history.py": ["test_history.py"],
    "training/metrics.py": ["test_metrics.py", "test_callbacks.py"],
    "training/schedules.py": ["test_schedules.py", "test_dropout.py", "test_resume.py"],
}

FLIPS = {
    "+": "-", "-": "+", "*": "+", "/": "*", "+=": "-=", "-=": "+=",
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==",
    "&&": "||", "||": "&&", "&": "|", "|": "&", "<<": ">>", ">>": "<<",
}  # fmt: skip
OPERATOR = re.compile(r"(?<=[\w\])\"'] )([-+*/<>&|=!]{1,2})(?= [\w(*&\"'-])")


Flips = Iterator[tuple[int, Callable[[], str]]]


def flips_of_c(text: str) -> Flips:
    """Line of every operator, outside comments, asserts and directives' first lines, and what makes
    the text with another one."""
    hidden = re.sub(
        r"/\*.*?\*/|^#[^\n]*|\bassert\([^\n]*",
        lambda found: re.sub(r"[^\n]", "~", found[0]),
        text,
        flags=re.S | re.M,
    )
    for found in OPERATOR.finditer(hidden):
        if new := FLIPS.get(found[1]):
            line = text.count("\n", 0, found.start()) + 1
            yield line, partial("".join, (text[: found.start()], new, text[found.end() :]))


SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def nodes_of(tree: ast.AST) -> Iterator[ast.AST]:
    """All below it but annotations, in an order of their own."""
    for field, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and field not in ("annotation", "returns"):
                yield node
                yield from nodes_of(node)


def flipped(node: ast.AST) -> bool:
    """Whether the node has been made another one."""
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        node.value += 1
    else:
        return False
    return True


def flips_of_python(text: str) -> Flips:
    """Likewise of operators, comparisons, `not` and numbers; annotations and texts stay."""

    def made(i: int) -> str:
        tree = ast.parse(text)
        flipped([*nodes_of(tree)][i])
        return ast.unparse(tree)

    for i, node in enumerate([*nodes_of(ast.parse(text))]):
        if flipped(node):
            yield node.lineno, partial(made, i)


FLAGS = (
    "-O1 -fPIC -DNDEBUG -std=gnu11 -ffp-contract=off -fno-math-errno -fvisibility=hidden"
    " -DFASTNN_BUILDS -Isrc -Ifastnn/c"
).split()
ISAS = {
    "baseline": "",
    "avx2": "-mavx2 -mfma",
    "avx512": "-mavx512f -mavx512vl -mavx512dq -mavx512bw -mfma",
}
OBJECTS = {
    **{name: (f"src/{name}.c", []) for name in ("platform", "predictor")},
    **{
        f"{isa}_{bits}": (f"src/isa/{isa}.c", [*flags.split(), f"-DFNN_REAL_BITS={bits}"])
        for isa, flags in ISAS.items()
        for bits in (32, 64)
    },
}


limit = 600.0  # seconds of a command


def run(*command: str) -> bool:
    """Whether a command ends well, and in time, in the copy: a mutant that goes on is noticed."""
    environment = {**os.environ, "FASTNN_ISA": "avx2", "PYTHONPATH": "."}
    process = subprocess.Popen(
        command,
        cwd=COPY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        return process.wait(limit) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return False


def compiled(name: str, to: str) -> bool:
    source, flags = OBJECTS[name]
    return run("gcc", *FLAGS, *flags, "-c", source, "-o", to)


def linked(name: str) -> bool:
    """The copy's library, this object of it made anew: AVX2's for float32, or the predictor."""
    objects = [f"objects/{one}.o" for one in OBJECTS if one != name]
    library = "fastnn/kernels/lib/libfastnn.so"
    link = ["gcc", "-shared", "-Wl,-soname,libfastnn.so", *objects, "objects/mutant.o", "-lm"]
    return compiled(name, "objects/mutant.o") and run(*link, "-o", library)


def object_of(file: str) -> str:
    return "predictor" if file in ("json.h", "predictor.c") else "avx2_32"


def built(file: str) -> bool:
    """Whether the library of a mutant of C can be made, and verifies."""
    name = object_of(file)
    verifies = sys.executable, "-m", "fastnn", "verify"
    return linked(name) and (name == "predictor" or run(*verifies))


def passed(names: list[str], only: str = "") -> bool:
    """only: the tests that see what is mutated."""
    files = [f"tests/{name}" for name in names]
    return run(sys.executable, "-m", "pytest", "-x", "-q", *files, *(["-k", only] if only else []))


ONLY = {"predictor": "not programs", "avx2_32": "not float64 and not baseline"}


def main() -> None:
    global limit
    kind, n, *seed = sys.argv[1:]
    where, tests, flips = {
        "c": ("src", C, flips_of_c),
        "python": ("fastnn", PYTHON, flips_of_python),
    }[kind]
    shutil.rmtree(COPY, ignore_errors=True)
    for folder in ("fastnn", "src", "tests", "bench"):
        shutil.copytree(ROOT / folder, COPY / folder)
    for file in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / file, COPY)
    if kind == "c":
        (COPY / "objects").mkdir()
        assert all(compiled(name, f"objects/{name}.o") for name in OBJECTS)
    texts = {file: (COPY / where / file).read_text() for file in tests}
    places = [(file, *flip) for file in tests for flip in flips(texts[file])]
    chosen = random.Random(int(*seed or [0])).sample(places, min(int(n), len(places)))
    files = dict.fromkeys(file for file, _, _ in chosen)
    only = {file: ONLY[object_of(file)] if kind == "c" else "" for file in files}
    survivors, seconds = [], {}
    if kind == "c":
        assert all(built(file) for file in {object_of(file): file for file in files}.values())
    for file in files:
        for test in tests[file]:
            if test not in seconds:
                began = time.monotonic()
                assert passed([test], only[file]), f"{test} fails without a mutant"
                seconds[test] = time.monotonic() - began
    for file, line, make in chosen:
        path, text, mutant = COPY / where / file, texts[file], make()
        path.write_text(mutant)
        limit = 60 + 4 * sum(seconds[test] for test in tests[file])
        there = (kind == "c" and not built(file)) or not passed(tests[file], only[file])
        path.write_text(text)
        lines = (text if kind == "c" else ast.unparse(ast.parse(text))).splitlines()
        pairs = zip(lines, mutant.splitlines(), strict=False)
        old, new = next(two for two in pairs if two[0] != two[1])
        told = f"{file}:{line}: {old.strip()}  ->  {new.strip()}"
        print("noticed " if there else "SURVIVES", told, flush=True)
        if not there:
            survivors.append(told)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} noticed, of {len(places)} places")
    print(*survivors, sep="\n")


if __name__ == "__main__":
    main()
