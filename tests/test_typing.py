"""What type checkers see of the public names, and of the compiled modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import fastnn
from fastnn import names
from fastnn.kernels import _cpu
from fastnn.network import initialize, norms, spec
from fastnn.training import optimizers


def every(*literals):
    """The names in Literals and in unions of them."""
    for one in literals:
        if isinstance(one, str):
            yield one
        else:
            yield from every(*get_args(one))


def test_the_names_are_those_that_are_known():
    for literal, known in (
        (names.ActivationName, _cpu.ACTIVATIONS),
        (names.OutputName, {*_cpu.OUTPUTS, "softmax"}),
        (names.LossName, _cpu.LOSSES),
        (names.NormName, norms.CLASSES),
        (names.InitName, initialize.RULES),
        (names.OptimizerName, optimizers.NAMES),
        (names.DtypeName, spec.DTYPES),
        (names.ComputeDtypeName, spec.COMPUTE_DTYPES),
    ):
        listed = list(every(literal))
        assert sorted(listed) == sorted(set(listed)) == sorted(known)


RIGHT = """
import numpy as np
import fastnn
from fastnn.sklearn import MLPClassifier, MLPRegressor
X, y = np.ones((4, 3)), np.zeros(4, int)
model = fastnn.Model([3, 5, 2], ["tanh"], "softmax", fastnn.CrossEntropy(0.1), norm="batch")
fastnn.Model((3, 1), output="exp", dtype=np.float64, bias=[True], dropout=[0.0], init="zeros")
fastnn.Model(np.array([3, 1]), activation=fastnn.ELU(0.5), output="identity")
fastnn.Model([None, 8, None])
model.fit(X, y, optimizer="adam", callbacks=[fastnn.EarlyStopping("loss")])
model.fit(X, y, optimizer=fastnn.SGD(0.1, momentum=0.9), learning_rate=fastnn.OneCycle(0.1))
model.partial_fit(X, y, optimizer="sgd")
MLPClassifier((8,), "relu", dropout=0.1, optimizer="lion", n_threads=2).fit(X, y)
MLPRegressor("poisson", (8,), solver="lbfgs")
print(fastnn.Trace, fastnn.Checkpoint("x"), fastnn.data, fastnn.TopK(5).k + 1)
"""
WRONG = [
    'fastnn.Model([3, 2], activation="rellu")',
    'fastnn.Model([3, 2], output="soft")',
    'fastnn.Model([3, 2], loss="crossentropy")',
    "fastnn.Model(4, 3)",
    'fastnn.Model("34")',
    'fastnn.Model([3, 2], norm="bach")',
    'fastnn.Model([3, 2], dtype="float16")',
    'model.fit(X, y, optimizer="adm")',
    'model.partial_fit(X, y, optimizer="adm")',
    "fastnn.SGD(0.1, momentun=0.9)",
    'fastnn.Adam("fast")',
    'MLPClassifier(optimizer="adm")',
    "MLPClassifier(dropuot=0.1)",
    'MLPRegressor("squared")',
    "model.fit(X, y).loss[-1].upper()",
]


def test_mypy_sees_slips_and_nothing_else(tmp_path):
    api = pytest.importorskip("mypy.api")
    pytest.importorskip("sklearn")
    (tmp_path / "user.py").write_text(RIGHT + "\n".join(WRONG) + "\n")
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\n")
    command = ["--strict", "--ignore-missing-imports", "--follow-imports=silent", "--config-file"]
    out, err, _ = api.run([*command, str(settings), str(tmp_path / "user.py")])
    first = RIGHT.count("\n") + 1
    found = {int(line.split(":")[1]) for line in out.splitlines() if ": error:" in line}
    assert found == set(range(first, first + len(WRONG))), out + err


ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "tests/typing").glob("*.py"))


def test_mypy_reveals_what_typical_scripts_expect(tmp_path):
    """tests/typing; pyright's word on them is part of `make lint`."""
    api = pytest.importorskip("mypy.api")
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = true\nignore_missing_imports = true\n")
    command = ["--follow-imports=silent", "--config-file", str(settings)]
    out, err, status = api.run([*command, *map(str, SCRIPTS)])
    assert len(SCRIPTS) > 1 and status == 0, out + err


def definitions():
    """Where pyright finds what users see: each public class or function, and classes it is of."""
    ours = pytest.importorskip("fastnn.sklearn", exc_type=fastnn.MissingExtraError)
    tables = fastnn.tables, fastnn.tabular
    for module in (fastnn, fastnn.data, fastnn.interop, fastnn.onnx, ours, *tables):
        for one in (getattr(module, name) for name in module.__all__):
            for part in one.__mro__ if isinstance(one, type) else [one]:
                if part.__module__.startswith("fastnn"):
                    yield f"{part.__module__}.{part.__qualname__}"


def test_pyright_knows_the_type_of_every_public_name():
    """Without a guess, which another type checker might make otherwise."""
    if shutil.which("pyright") is None:
        pytest.skip("needs pyright")
    package = Path(fastnn.__file__).parents[1]
    done = subprocess.run(
        [
            *("pyright", "--pythonpath", sys.executable, "--verifytypes", "fastnn"),
            *("--ignoreexternal", "--outputjson"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(package)},
    )
    public = set(definitions())
    found = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    assert public <= {one["name"] for one in found}
    guessed = {
        one["name"]
        for one in found
        if not one["isTypeKnown"] or one.get("isTypeAmbiguous")
        if any(f"{one['name']}.".startswith(f"{name}.") for name in public)
    }
    # scikit-learn has no types for the classes that these are derived from.
    ours = ("Perceptron", "MLPClassifier", "MLPRegressor")
    assert guessed == {f"fastnn.sklearn.{name}" for name in ours}


def test_the_marker_of_typed_packages_is_there():
    assert (Path(fastnn.__file__).parent / "py.typed").exists()


# The stubs' own names for types.
ALIASES = r"fastnn\.kernels\.\w+\.(Activation|Column|Norm|Phi|Reals)"


def test_the_stubs_agree_with_the_compiled_modules(tmp_path):
    pytest.importorskip("mypy.stubtest")
    package = Path(fastnn.__file__).parent
    stubs = sorted(path.relative_to(package.parent) for path in package.rglob("*.pyi"))
    (tmp_path / "allowed").write_text(ALIASES)
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nignore_missing_imports = true\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-missing-stub"),
            *("--ignore-disjoint-bases", "--mypy-config-file", str(settings)),
            *("--allowlist", str(tmp_path / "allowed")),
            *(".".join(path.with_suffix("").parts) for path in stubs),
        ],
        capture_output=True,
        text=True,
        cwd=package.parent,
    )
    assert len(stubs) > 8 and done.returncode == 0, done.stdout + done.stderr
