"""Imports point one way: a module imports from lower layers or its own, nothing in a circle.

Read from the sources: imports inside functions and for type checkers count like any other.
"""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import fastnn

ROOT = Path(fastnn.__file__).parent

#: From the bottom to the top: a layer is a package or a module. It may import those before it.
LAYERS = (
    *("errors", "names", "checks", "values", "kernels", "config", "random"),
    *("drawing", "network", "files", "tables", "training", "explain", "report"),
    *("predictor", "quantized", "model", "many", "sklearn_callbacks", "tabular", "online", "saved"),
    "data",
    *("interop", "bits", "onnx", "c", "sklearn", "mlflow", "learn", "serve", "cli"),
)
TOP = ("fastnn", "fastnn.__main__")  # what users see: above everything
MOST_MODULES = 14  # of a folder, beside __init__


def module_name(path: Path) -> str:
    parts = ("fastnn", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted([*ROOT.rglob("*.py"), *ROOT.rglob("*.pyx")])}


def resolved(base: str, names: list[str]) -> set[str]:
    """The modules that `from base import names` means."""
    return {f"{base}.{name}" if f"{base}.{name}" in SOURCES else base for name in names}


def imports_of(name: str) -> set[str]:
    """fastnn's own modules that a module imports, wherever it does."""
    text = SOURCES[name].read_text()
    found: set[str] = set()
    if SOURCES[name].suffix == ".pyx":
        for header in (SOURCES[name], SOURCES[name].with_suffix(".pxd")):
            text = header.read_text() if header.exists() else ""
            found |= set(re.findall(r"^\s*from (fastnn[\w.]*) c?import", text, re.M))
        return found - {name}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in SOURCES}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if SOURCES[name].name == "__init__.py" else name.rpartition(".")[0]
                base = ".".join([package, base] if base else [package])
            if base.split(".")[0] == "fastnn":
                found |= resolved(base, [alias.name for alias in node.names])
    return found - {name}


IMPORTS = {name: imports_of(name) for name in SOURCES}


def layer_of(name: str) -> int:
    return len(LAYERS) if name in TOP else LAYERS.index(name.split(".")[1])


def test_every_module_has_its_layer():
    layers = {name.split(".")[1] for name in SOURCES if name not in TOP}
    assert layers == set(LAYERS)


@pytest.mark.parametrize("name", SOURCES)
def test_no_import_points_up(name):
    """fastnn itself may be imported by those who need no more than its public names: the command
    line, and docstrings."""
    allowed = {"fastnn"} if name.startswith("fastnn.cli") or name == "fastnn.__main__" else set()
    up = {one for one in IMPORTS[name] - allowed if layer_of(one) > layer_of(name)}
    assert not up, f"{name} imports {sorted(up)} from above it"


def test_no_circle():
    graph = {name: {one for one in IMPORTS[name] if one != "fastnn"} for name in SOURCES}
    for name, found in graph.items():
        if SOURCES[name].name == "__init__.py":  # a package's face stands above its modules
            for module in SOURCES:
                if module.startswith(f"{name}.") and name in graph[module]:
                    pytest.fail(f"{module} imports its own package {name}, which imports it")
            assert name not in found
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_no_folder_holds_too_much():
    for folder in {path.parent for path in SOURCES.values()}:
        modules = {p.stem for p in SOURCES.values() if p.parent == folder} - {"__init__"}
        assert len(modules) <= MOST_MODULES, f"{folder.name} holds {sorted(modules)}"


@pytest.mark.skipif("fastnn.kernels.engine" not in SOURCES, reason="no sources")
def test_the_reader_of_imports_sees_them():
    """What the tests above stand on."""
    assert "fastnn.kernels._cpu" in IMPORTS["fastnn.kernels.engine"]
    assert "fastnn.network.spec" in IMPORTS["fastnn.network.parameters"]
    assert "fastnn.model" in IMPORTS["fastnn"]
