"""fastnn runs no text as code, starts no program and opens no connection: in its source, and while
it works. SECURITY.md says so."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import targets

import fastnn

SOURCE = Path(fastnn.__file__).parent
MODULES = {  # that run code, programs or connections, or read what does
    *("code", "codeop", "ctypes", "dill", "cloudpickle", "ftplib", "http", "joblib", "marshal"),
    *("multiprocessing", "pickle", "pty", "requests", "runpy", "shelve", "smtplib", "socket"),
    *("socketserver", "ssl", "subprocess", "telnetlib", "urllib", "webbrowser", "xmlrpc", "yaml"),
}
CALLS = {"eval", "exec", "compile", "__import__", "literal_eval"}  # of text
CALLS |= {"system", "popen", "fork", "execv", "spawnv", "posix_spawn"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.name)
def test_no_module_can_run_what_it_reads(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {name.partition(".")[0] for name in names} & MODULES, f"{path}:{node.lineno}"
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        of = getattr(getattr(function, "value", None), "id", "")
        # eval() without arguments is of a network of PyTorch
        harmless = (name, of) == ("compile", "re") or (name == "eval" and not node.args)
        assert name not in CALLS or harmless, f"{path}:{node.lineno}"
        for one in node.keywords:
            allowed = isinstance(one.value, ast.Constant) and one.value.value is False
            assert one.arg not in ("shell", "allow_pickle") or allowed, f"{path}:{node.lineno}"


def test_compiled_modules_neither():
    for path in SOURCE.rglob("*.pyx"):
        text = path.read_text()
        for word in ("eval(", "exec(", "import pickle", "import subprocess", "system(", "socket"):
            assert word not in text, f"{path}: {word}"


WORK = """
import sys, warnings
from pathlib import Path
import numpy as np
import fastnn, fastnn.onnx, fastnn.tabular, fastnn.sklearn, fastnn.interop
corpus, folder = Path(sys.argv[1]), Path(sys.argv[2])
warnings.simplefilter("ignore")

def work():
    done = 0
    for path in sorted(corpus.glob("*/*")):
        read = {"model": fastnn.load, "ensemble": fastnn.load, "onnx": fastnn.onnx.load}
        try:
            one = read.get(path.parent.name, fastnn.tables.read)(path)
        except (fastnn.ModelFileError, fastnn.TableError):
            continue
        done += 1
        if path.parent.name == "model":
            one.metadata.pop("data", None)
            one.predict(np.zeros((3, one.sizes[0])))
            one.save(folder / "m.safetensors")
    X, y = np.random.default_rng(0).normal(size=(200, 5)), np.arange(200) % 3
    fastnn.Model([5, 8, 3], seed=0).fit(X, y, epochs=2, callbacks=[
        fastnn.Checkpoint(folder / "c.safetensors"), fastnn.CSVLogger(folder / "log.csv")])
    assert done > 10

work()  # imports what is imported late
FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn",
    "os.spawn", "pickle.find_class", "marshal.", "urllib.", "http.", "ctypes.", "exec", "compile",
    "import", "pty.", "webbrowser.")
seen = set()

def hook(event, arguments):
    if watching and event.startswith(FORBIDDEN):
        seen.add((event, repr(arguments)[:200]))

watching = False
sys.addaudithook(hook)
watching = True
work()
watching = False
print(sorted(seen))
watching = True
try:
    eval("1")
finally:
    watching = False
print(len(seen))
"""


def test_nothing_is_run_while_files_are_read_and_networks_trained(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("pyarrow")
    code = [sys.executable, "-c", WORK, str(targets.CORPUS), str(tmp_path)]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *quiet, heard = done.stdout.splitlines()
    assert quiet == ["[]"], quiet
    assert int(heard) > 0  # the hook hears
