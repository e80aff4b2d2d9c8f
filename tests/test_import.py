"""What `import fastnn` loads, and what its names are."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import fastnn

FIRST_FIT = """
import sys
import numpy
before = set(sys.modules)
import fastnn
imported = set(sys.modules) - before
model = fastnn.Model([4, 3, 2], seed=0)
model.fit(numpy.ones((8, 4)), numpy.zeros(8, int), epochs=2, optimizer="adam")
model.predict(numpy.ones((1, 4)))
print(*imported)
print(*(set(sys.modules) - before))
"""


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_import_and_a_first_fit_load_what_they_need():
    for loaded in run(FIRST_FIT):
        ours = {name for name in loaded if name.partition(".")[0] == "fastnn"}
        rooms = {name.split(".")[1] for name in ours if "." in name}
        unneeded = {"cli", "data", "explain", "files", "interop", "online", "onnx", "sklearn"}
        unneeded |= {"tables"}
        assert not rooms & unneeded
        assert "fastnn.training.callbacks" not in ours
        others = {name for name in loaded - ours if not name.startswith("_")}
        # copy comes with dataclasses; the first two are Cython's
        assert others <= {"cython_runtime", "shared", "dataclasses", "copy", "threading", "weakref"}
        assert len(ours) <= 48


def test_every_name_is_there_and_in_dir():
    assert set(fastnn.__all__) <= set(dir(fastnn))
    assert {"interop", "onnx", "tables", "data"} <= set(dir(fastnn))
    code = "from fastnn import *\nimport fastnn\nprint(*(set(fastnn.__all__) & set(globals())))"
    (names,) = run(code)
    assert names == set(fastnn.__all__)
    (value,) = run("import fastnn; print(fastnn.data.__name__, fastnn.onnx.__name__)")
    assert value == {"fastnn.data", "fastnn.onnx"}
    with pytest.raises(AttributeError, match="module 'fastnn' has no attribute 'Modle'"):
        _ = fastnn.Modle
    with pytest.raises(ImportError, match="cannot import name 'Modle'"):
        from fastnn import Modle  # noqa: F401


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="Python has its lock")
def test_every_compiled_module_runs_without_the_interpreters_lock():
    names = "kernels.engine", "kernels.layer", "tables.cells", "tables.reading.scan"
    names += ("online.rows",)
    lines = (f"import fastnn.{name}" for name in names)
    (enabled,) = run("\n".join(["import sys", *lines, "print(sys._is_gil_enabled())"]))
    assert enabled == {"False"}


def test_pickles_load_before_anything_else_of_fastnn(tmp_path):
    path = tmp_path / "p"
    path.write_bytes(pickle.dumps([fastnn.LambdaCallback(), fastnn.Adam(), fastnn.Checkpoint("x")]))
    (kinds,) = run(
        f"import pickle; print(*(type(v).__name__ for v in pickle.load(open({str(path)!r}, 'rb'))))"
    )
    assert kinds == {"LambdaCallback", "Adam", "Checkpoint"}


def test_a_checkout_that_is_not_built_says_how_to(tmp_path):
    """Where README leaves a reader who installed without -e: its root shadows the installed one."""
    without = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(Path(fastnn.__file__).parent, tmp_path / "fastnn", ignore=without)
    for command in (["-c", "import fastnn"], ["-m", "fastnn", "info", "x"]):
        for checkout in (True, False):
            if checkout:
                (tmp_path / "setup.py").touch()
            else:
                (tmp_path / "setup.py").unlink()
            started = [sys.executable, *command]
            done = subprocess.run(
                started, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 1
            assert "No module named 'fastnn.kernels._cpu'" in done.stderr
            how = "-e ." if checkout else "--force-reinstall fastnn-cpu"
            assert f"-m pip install {how}" in done.stderr.splitlines()[-3 if checkout else -1]


def test_a_wheel_holds_every_package_and_its_data():
    """pyproject.toml lists them; Cython's sources are for builds alone, but what others cimport."""
    root = Path(__file__).parent.parent
    setuptools = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    modules = list((root / "fastnn").rglob("*.py"))
    folders = {path.parent.relative_to(root) for path in modules}
    assert sorted(setuptools["packages"]) == sorted(".".join(one.parts) for one in folders)
    built = {".py", ".pyc", ".pyx", ".pxd", ".so", ".pyd"}
    data = {p for p in (root / "fastnn").rglob("*") if p.is_file() and p.suffix not in built}
    data.add(root / "fastnn/c/__init__.pxd")
    listed = {
        path
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in root.joinpath(*package.split(".")).glob(pattern)
    }
    assert data == listed
    assert {"py.typed", "hashes.json"} <= {path.name for path in listed}
