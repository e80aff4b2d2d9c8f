"""fastnn.c.export: the C file compiles without a warning and gives FASTNN_ISA=baseline's bits."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.network.activations import ACTIVATIONS

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic"]
ROWS = 10_000

pytestmark = [
    pytest.mark.skipif(not COMPILERS, reason="neither gcc nor clang is installed"),
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "AMD64") or sys.platform == "win32",
        reason="the baseline is x86-64's, and the tests load shared libraries of ELF or Mach-O",
    ),
]

#: With FASTNN_LONG=1 each activation is also alone in hidden layers; there are more compilations.
LONG = os.environ.get("FASTNN_LONG", "") not in ("", "0")
OPTIONS = [["-O0"], ["-O2"], ["-O3", "-march=native", "-std=gnu99"]]
EVERY = [(compiler, flags) for compiler in COMPILERS for flags in OPTIONS]
FEW = {"float32": [*EVERY[:1], *EVERY[5:]], "float64": [*EVERY[2:3], *EVERY[4:5]]}
HIDDEN = list(ACTIVATIONS)

#: Of each model its arguments.
NETWORKS = {
    **{
        f"hidden {name}": dict(sizes=[5, 9, 16, 3], activation=name)
        for name in ACTIVATIONS
        if LONG
    },
    **{
        f"hidden from {i}": dict(sizes=[5, 9, 16, 8, 7, 3], activation=(HIDDEN * 2)[i : i + 4])
        for i in range(0, len(HIDDEN), 4)
    },
    **{
        f"output {name}": dict(sizes=[5, 11], output=name, loss="squared_error")
        for name in (*ACTIVATIONS, "softmax")
    },
    "output exp": dict(sizes=[5, 2], output="exp", loss="poisson"),
    "one of two": dict(sizes=[3, 4, 1], output="sigmoid", loss="binary_cross_entropy"),
    "leaky": dict(sizes=[4, 8, 8, 8, 2], activation=fastnn.LeakyReLU(0.3)),
    "elu": dict(sizes=[4, 19, 2], activation=fastnn.ELU(0.7)),
    "parametric": dict(sizes=[4, 17, 8, 2], activation=fastnn.Parametric("mish")),
    "batch": dict(sizes=[6, 21, 8, 4], norm="batch"),
    "layer": dict(sizes=[6, 37, 16, 4], norm="layer", activation="gelu"),
    "layer, parametric": dict(
        sizes=[6, 7, 4], norm="layer", activation=fastnn.Parametric("silu"), bias=False
    ),
    "no bias": dict(sizes=[6, 8, 4], bias=False),
    "wide": dict(sizes=[130, 70, 10]),
    "codes": dict(
        sizes=[6, 8, 3],
        embeddings=[fastnn.Categories(4, 5), fastnn.Categories(1, 4, 3), fastnn.Categories(2, 3)],
    ),
    "codes alone": dict(
        sizes=[2, 9, 2], norm="batch", embeddings=[fastnn.Categories(1, 7), fastnn.Categories(0, 3)]
    ),
}

NAMES = [f"n{i}" for i in range(len(NETWORKS))]

BASELINE = """
import sys
import numpy as np
import fastnn
assert fastnn.show_config("dict")["isa"] == "baseline"
for name in sys.argv[1:]:
    model = fastnn.load(name + ".safetensors")
    np.save(name + ".f.npy", model.predictor()(np.load(name + ".x.npy")))
"""

#: For each file that is put in for FILES: n rows through it; how many it took.
DRIVER = """
int NAME_rows(int n, const TAKES *x, GIVES *y);
int NAME_rows(int n, const TAKES *x, GIVES *y)
{
    int r, taken = 0;
    for (r = 0; r < n; r++) taken += NAME_predict(x + r * N_IN, y + r * N_OUT);
    return taken;
}
"""


def in_baseline(program: str, *arguments: str) -> str:
    """What a program of Python prints where fastnn runs on its baseline."""
    path = os.pathsep.join([str(Path(fastnn.__file__).parents[1]), *sys.path])
    env = os.environ | {"FASTNN_ISA": "baseline", "PYTHONPATH": path}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=env, check=True, text=True, stdout=subprocess.PIPE).stdout


def with_rows(name: str, n_in: int, n_out: int, takes: str, gives: str) -> str:
    """A source that includes NAME.c and passes rows through it."""
    text = DRIVER
    words = {"NAME": name, "N_IN": n_in, "N_OUT": n_out, "TAKES": takes, "GIVES": gives}
    for word, by in words.items():
        text = text.replace(word, str(by))
    return f'#include "{name}.c"\n{text}'


def compiled(source: str, compiler: str, *flags: str) -> ctypes.CDLL:
    """A library, and not one warning."""
    library = f"./{Path(source).stem}-{compiler}{''.join(flags)}.so"
    command = [compiler, *WARNINGS, *flags, "-fPIC", "-shared", source, "-o", library, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return ctypes.CDLL(str(Path(library).resolve()))  # by its name alone another would be taken


def through(library: ctypes.CDLL, name: str, X: np.ndarray, f: np.ndarray) -> np.ndarray:
    """What it gives for rows X, as an array like f."""
    out = np.full_like(f, np.nan)
    rows = getattr(library, f"{name}_rows")
    at = [ctypes.c_void_p(one.ctypes.data) for one in (X, out)]
    assert rows(len(X), *at) == len(X)
    return out


def rows_of(rng: np.random.Generator, model: fastnn.Model) -> np.ndarray:
    """Of all sizes: usual ones, large ones that saturate, tiny ones and zeros; codes."""
    n_in, dtype = model.sizes[0], model.dtype
    codes = [one.column for one in model.embeddings]
    X = rng.normal(size=(ROWS, n_in)) * 10.0 ** rng.integers(-3, 3, (ROWS, 1))
    tiny = np.finfo(dtype).tiny
    X[::7] *= rng.random((len(X[::7]), n_in)) > 0.5
    X[1::50] *= 30 * tiny
    X[2::50, ::2] *= 2e-3 * float(tiny) ** 0.5
    X = X.astype(dtype)
    for column in codes:
        X[:, column] = rng.integers(-1, 8, ROWS)  # not all are codes
        X[::13, column] += 0.5
    return X


def trained(rng: np.random.Generator, arguments: dict, dtype: str) -> fastnn.Model:
    """A model none of whose parameters and statistics is a plain number."""
    model = fastnn.Model(**{"loss": None, **arguments}, dtype=dtype, seed=3)
    model.theta[:] += rng.normal(scale=0.2, size=model.theta.shape).astype(dtype)
    n_in, n_out = model.sizes[0], model.sizes[-1]
    if "norm" in arguments:  # statistics
        model.fit(rng.normal(1, 2, (60, n_in)), rng.integers(0, n_out, 60), epochs=3)
    return model


@pytest.fixture(scope="module", params=["float32", "float64"])
def exported(request, tmp_path_factory):
    """dtype, and a folder with all networks in all.c, their rows X and the baseline's f of them."""
    dtype, folder = request.param, tmp_path_factory.mktemp("exported")
    rng = np.random.default_rng(17)
    real = {"float32": "float", "float64": "double"}[dtype]
    sources = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, arguments in zip(NAMES, NETWORKS.values(), strict=True):
            model = trained(rng, arguments, dtype)
            model.save(f"{name}.safetensors")
            np.save(f"{name}.x.npy", rows_of(rng, model))
            fastnn.c.export(model, f"{name}.c")
            sources.append(with_rows(name, model.sizes[0], model.sizes[-1], real, real))
        in_baseline(BASELINE, *NAMES)
        Path("all.c").write_text("".join(sources))
    return dtype, folder


def differing(given: Callable[[str, np.ndarray, np.ndarray], np.ndarray]) -> list[tuple]:
    """Of the networks whose bits are others: how many rows, and the first of them.
    given: what a network of NAMES gives for rows X, as an array like f."""
    wrong = []
    for name, network in zip(NAMES, NETWORKS, strict=True):
        X, f = np.load(f"{name}.x.npy"), np.load(f"{name}.f.npy")
        got = given(name, X, f)
        if got.tobytes() != f.tobytes():
            other = np.frombuffer(got.tobytes(), "u1") != np.frombuffer(f.tobytes(), "u1")
            rows = np.flatnonzero(other.reshape(len(X), -1).any(axis=1))
            wrong.append((network, len(rows), X[rows[0]], got[rows[0]], f[rows[0]]))
    return wrong


def test_bits_are_the_baselines(exported, monkeypatch):
    dtype, folder = exported
    monkeypatch.chdir(folder)
    for compiler, flags in EVERY if LONG else FEW[dtype]:
        library = compiled("all.c", compiler, *flags)
        wrong = differing(lambda name, X, f, library=library: through(library, name, X, f))
        assert not wrong, (compiler, flags, wrong)


#: What makes a module of WebAssembly without a C library: clang with its linker, or PyPI's ziglang.
WASM = [
    ["clang", "--target=wasm32"],
    [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding"],
]
WASM_FLAGS = ["-std=c99", "-O2" if LONG else "-O1", "-nostdlib", "-ffreestanding", "-mbulk-memory"]
WASM_FLAGS += ["-Imath", "-Wl,--no-entry", "-Wl,--export=__heap_base"]
#: All that a file may take of libm is an instruction there.
MATH = """
#define sqrtf __builtin_sqrtf
#define sqrt __builtin_sqrt
"""

#: As its arguments a module, bytes of a number, and of each network name, numbers in and out a row.
NODE = """
const fs = require("fs");
const [file, size, ...networks] = process.argv.slice(2);
const { exports: all } = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(file)));
const start = (all.__heap_base.value + 15) & ~15;
for (let i = 0; i < networks.length; i += 3) {
  const [name, n_in, n_out] = networks.slice(i, i + 3);
  const X = fs.readFileSync(name + ".x.bin");
  const rows = X.length / (n_in * size), end = start + X.length + rows * n_out * size;
  const lacks = end - all.memory.buffer.byteLength;
  if (lacks > 0) all.memory.grow(Math.ceil(lacks / 65536));
  new Uint8Array(all.memory.buffer).set(X, start);
  if (all[name + "_rows"](rows, start, start + X.length) !== rows) throw name;
  const f = new Uint8Array(all.memory.buffer, start + X.length, end - start - X.length);
  fs.writeFileSync(name + ".wasm.bin", f);
}
"""


def as_wasm(source: str, *exports: str) -> str | None:
    """The module; or None where nothing is installed that makes one."""
    Path("math").mkdir(exist_ok=True)
    Path("math/math.h").write_text(MATH)
    Path("empty.c").write_text("")
    module, named = f"{Path(source).stem}.wasm", [f"-Wl,--export={name}" for name in exports]
    for command in WASM:
        try:
            run = [*command, *WASM_FLAGS]
            subprocess.run([*run, "empty.c", "-o", "empty.wasm"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        done = subprocess.run([*run, *named, source, "-o", module], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return module
    return None


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_webassembly_has_the_bits(exported, monkeypatch):
    """Of a browser's engine, V8, whose float32 and float64 are IEEE's."""
    dtype, folder = exported
    if dtype == "float64" and not LONG:
        pytest.skip("FASTNN_LONG=1 compiles float64 for it, too")
    monkeypatch.chdir(folder)
    module = as_wasm("all.c", *(f"{name}_rows" for name in NAMES))
    if module is None:
        pytest.skip("neither clang with wasm-ld nor ziglang is installed")
    networks: list[str] = []
    for name in NAMES:
        X, f = np.load(f"{name}.x.npy"), np.load(f"{name}.f.npy")
        X.tofile(f"{name}.x.bin")
        networks += [name, str(X.shape[1]), str(f.size // len(X))]
    Path("rows.js").write_text(NODE)
    size = str(np.dtype(dtype).itemsize)
    subprocess.run(["node", "rows.js", module, size, *networks], check=True)
    wrong = differing(lambda name, X, f: np.fromfile(f"{name}.wasm.bin", dtype).reshape(f.shape))
    assert not wrong


PREDICTIONS = """
import sys
import numpy as np
import fastnn
for name in sys.argv[1:]:
    model = fastnn.load(name + ".safetensors")
    X = np.load(name + ".x.npy")
    table = dict(zip(model.columns.inputs.names, X.T, strict=True))
    f = model.predict(table) if model.columns.amounts else model.forward(table)
    np.save(name + ".f.npy", f.reshape(len(X), -1))
"""


def test_columns_of_numbers_and_amounts(here):
    rng = np.random.default_rng(3)
    X = rng.normal(5, 3, (ROWS, 3))
    X[::9, 1] = np.nan
    X[::11, 2] = -999
    table = dict(zip("abc", X.T, strict=True))
    amount, kind = np.nan_to_num(X[:, 0] * 30 + X[:, 2]), np.where(X[:, 0] > 5, "yes", "*/ no")
    rows = {name: cells[:500] for name, cells in table.items()}
    made = {
        "plain": ({"missing": "impute"}, amount, {"clamp": True}),
        "robust": ({"missing": "indicate", "scaling": "robust"}, kind, {}),
        "words": ({"missing": "impute", "missing_values": ["-999"]}, kind, {}),
        "unclamped": ({"missing": "indicate", "missing_values": ["-999"]}, amount, {}),
    }
    sources = []
    for name, (how, y, more) in made.items():
        columns = fastnn.tables.learn(rows, y[:500], numeric="abc", **how, **more)
        model = fastnn.Model([None, 8, None], seed=1, columns=columns)
        model.save(f"{name}.safetensors")
        np.save(f"{name}.x.npy", X)
        fastnn.c.export(model, f"{name}.c")
        gives = "double" if y is amount else "float"
        sources.append(with_rows(name, 3, model.sizes[-1], "double", gives))
    in_baseline(PREDICTIONS, *made)
    Path("all.c").write_text("".join(sources))
    library = compiled("all.c", COMPILERS[0], "-O2")
    for name in made:
        f = np.load(f"{name}.f.npy")
        assert through(library, name, X, f).tobytes() == f.tobytes(), name


def test_names_sizes_and_comments(here):
    fastnn.c.export(fastnn.Model([4, 8, 3], seed=0), "2 nets.c")
    text = Path("2 nets.c").read_text(encoding="ascii")
    assert "int net_2_nets_predict(const float x[4], float y[3]);" in text
    assert "its rows take 64 bytes of stack" in text and "-lm" not in text and "math.h" not in text
    columns = fastnn.tables.learn({"*/ é??/": np.arange(9) % 5.0}, ["*/ a", "b", "b"] * 3)
    fastnn.c.export(fastnn.Model([None, None], columns=columns), "words.c", name="m")
    assert "x[0] _/ ___/" in Path("words.c").read_text(encoding="ascii")
    assert compiled("words.c", COMPILERS[-1], "-O2").m_predict
    fastnn.c.export(fastnn.Model([4, 8, 3], norm="layer"), "net.c")
    assert "(and link with -lm)" in Path("net.c").read_text()
    fastnn.c.export(fastnn.Model([4, 2], input_scale=1 / 255), "net.c")
    assert "(float)i * 0x1.010102p-8f" in Path("net.c").read_text()
    columns = fastnn.tables.learn({"a": np.arange(9.0)}, ["yes", "no", "no"] * 3)
    model = fastnn.Model([None, None], loss="binary_cross_entropy", columns=columns)
    fastnn.c.export(model, "net.c")
    assert "y[0]: of yes; the other class is no." in Path("net.c").read_text()


#: What docs/services.md tells sizes of.
DEVICES = {
    "32-64-32-1": dict(sizes=[32, 64, 32, 1], output="sigmoid"),
    "64-32-10": dict(sizes=[64, 32, 10]),
    "codes": dict(
        sizes=[8, 16, 3],
        activation="gelu",
        norm="layer",
        embeddings=[fastnn.Categories(0, 12, 4), fastnn.Categories(1, 5)],
    ),
}
CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-Os"]


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs arm-none-eabi-gcc")
def test_a_microcontroller_has_room(here):
    """Code and constants of each network, by the tools that make them."""
    rng = np.random.default_rng(0)
    for i, (name, arguments) in enumerate(DEVICES.items()):
        model = trained(rng, arguments, "float32")
        fastnn.c.export(model, f"n{i}.c")
        command = ["arm-none-eabi-gcc", *CORTEX_M4, *WARNINGS, "-c", f"n{i}.c"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), name
        command = ["arm-none-eabi-size", f"n{i}.o"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        text, data, bss, *_ = map(int, done.stdout.splitlines()[1].split()[:3])
        weights = 4 * model.n_parameters
        assert data == bss == 0 and weights <= text < weights + 4000, name


def test_what_is_not_finite(here):
    fastnn.c.export(fastnn.Model([2, 3], seed=0), "net.c")
    predict = compiled("net.c", COMPILERS[0], "-O2").net_predict
    for bad in (np.nan, np.inf, -np.inf):
        x, y = np.array([1, bad], np.float32), np.full(3, 7, np.float32)
        assert predict(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)) == 0
        assert (y == 7).all()


def test_missing_cells_that_are_refused(here):
    columns = fastnn.tables.learn({"a": [1.0, 2.0, 4.0]}, [0.5, 1.5, 1.0], missing="refuse")
    fastnn.c.export(fastnn.Model([None, None], columns=columns), "net.c")
    assert "x, as the table has them:" in Path("net.c").read_text()
    predict, y = compiled("net.c", COMPILERS[0], "-O2").net_predict, np.full(1, 7.0)
    for cell, taken in ((np.nan, 0), (3.0, 1)):
        x = np.array([cell])
        assert predict(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)) == taken
        assert (y == 7).all() == (not taken)


@pytest.mark.parametrize("flags", [["-ffast-math"], ["-Ofast"]])
def test_flags_that_change_bits_do_not_compile(here, flags):
    fastnn.c.export(fastnn.Model([2, 3]), "net.c")
    done = subprocess.run([COMPILERS[0], *flags, "-c", "net.c"], capture_output=True, text=True)
    assert done.returncode and "needs C99 and plain IEEE arithmetic" in done.stderr


def nan_weights():
    model = fastnn.Model([2, 3])
    model.W[0][0, 0] = np.nan
    return model


def of_columns(column, y, **how):
    return fastnn.Model([None, None], columns=fastnn.tables.learn({"a": column}, y, **how))


def of_logarithms(of):
    """As a tabular estimator learns long tails."""
    tail = np.exp(np.linspace(0, 12, 50))
    columns = fastnn.tables.learn({"a": tail}, tail)
    inputs, (target,) = columns.inputs, columns.targets
    if of == "inputs":
        table = fastnn.tables.frames.as_table({"a": tail})
        columns = replace(columns, inputs=inputs.logged_where_long(table, np.arange(50)))
    else:
        columns = replace(columns, targets=[target.logged(tail)])
    return fastnn.Model([None, None], columns=columns)


REFUSED = {
    r"embeddings but Categories; this model has Periodic": lambda: fastnn.Model(
        [2, 3], embeddings=[fastnn.Categories(1, 3), fastnn.Periodic([0])]
    ),
    "feature_scale": lambda: fastnn.Model([2, 3], feature_scale=True),
    "'a' is categorical": lambda: of_columns(["x", "y"] * 5, [0, 1] * 5),
    "'a' is dates": lambda: of_columns([f"2020-01-{i:02}" for i in range(1, 11)], [0, 1] * 5),
    "learned from arrays": lambda: fastnn.Model(
        [None, None],
        columns=fastnn.tables.learn(np.random.default_rng(0).random((9, 2)), [*"abababaab"]),
    ),
    "embeddings of columns that a model learned": lambda: fastnn.Model(
        [None, None],
        columns=fastnn.tables.learn({"a": np.arange(9.0)}, [0, 1, 1] * 3),
        embeddings=[fastnn.Categories(0, 3)],
    ),
    "no logarithms of columns; 'a' is scaled as one": lambda: of_logarithms("inputs"),
    "no exponentials of targets; 'y' was learned as ln": lambda: of_logarithms("targets"),
    "finite": nan_weights,
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name(here, what):
    with pytest.raises(ValueError, match=what):
        fastnn.c.export(REFUSED[what](), "net.c")
    assert not list(here.iterdir())


def test_arguments(here):
    model = fastnn.Model([2, 3])
    with pytest.raises(TypeError, match=r"must be a fastnn\.Model"):
        fastnn.c.export("net", "net.c")
    for name in ("", "1a", "a-b", "_a", "é", 3):
        with pytest.raises(ValueError, match="name must be"):
            fastnn.c.export(model, "net.c", name=name)
    with pytest.raises(OSError):
        fastnn.c.export(model, "no/net.c")
    assert not list(here.iterdir())


def test_at_the_shell(here, run):
    model = fastnn.Model([2, 3], seed=0)
    model.save("m.st")
    status, out, err = run("export --c --name of_m m.st m.c")
    assert (status, out.split(), err) == (0, ["written", "m.c"], "")
    fastnn.c.export(model, "again.c", name="of_m")
    assert Path("m.c").read_bytes() == Path("again.c").read_bytes()
    assert run("export m.st m.onnx --name a")[0] == 2
    X, recipe = np.arange(60.0).reshape(30, 2), fastnn.tabular.Recipe((4,), epochs=1)
    fastnn.TabularRegressor(recipe=recipe).fit(X, X[:, 0]).save("e.st")
    status, _, err = run("export --c e.st e.c")
    assert status == 2 and "e.st: --c takes a network, this is an ensemble" in err
    assert run("export --c m.st no/m.c")[0] == 2
