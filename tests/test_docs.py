"""Runs what the documentation shows: Python blocks, docstrings, examples/*.py; checks links.

A ```python block of a page runs after the page's earlier ones. If a ```text block follows at once,
it must be what was printed. Blocks with >>> are doctests.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import inspect
import io
import pkgutil
import re
import runpy
import sys
import tomllib
import warnings
from itertools import zip_longest
from pathlib import Path

import pytest

import fastnn
from fastnn.errors import DISTRIBUTION, EXTRAS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
MODULES = ["fastnn", *(m.name for m in pkgutil.walk_packages(fastnn.__path__, "fastnn."))]
PACKAGES = ("sklearn", "pandas", "pyarrow", "torch", "keras", "onnx", "onnxruntime")
PACKAGES += ("scipy", "tqdm", "tensorboardX", "mlflow")
PACKAGES += ("river", "starlette", "msgspec", "prometheus_client", "uvicorn")
PARTS = ("c", "data", "interop", "mlflow", "online", "online.river", "onnx", "serve", "sklearn")
PARTS += ("tables", "tabular")
PACKAGES += ("sklearn.callback",)  # scikit-learn 1.9
WANT = (("plot", "matplotlib"), ("as_frame", "pandas"), ("fastnn.serve", "msgspec"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def python_blocks(page):
    """(line number, code, the text that must be printed or None) of each Python block."""
    text = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    for fence, following in zip_longest(fences, fences[1:]):
        if fence[1] != "python":
            continue
        prints = following is not None and following[1] == "text"
        prints = prints and not text[fence.end() : following.start()].strip()
        yield text[: fence.start()].count("\n") + 2, fence[2], following[2] if prints else None


def printed_by(code):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code()
    return out.getvalue()


def run_doctest(test):
    report = io.StringIO()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.DocTestRunner(optionflags=flags).run(test, out=report.write)
    assert not failed, report.getvalue()


def same_lines(text):
    """Without spaces at line ends, which editors and Markdown drop."""
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(page.parent)  # docs/learn/pictures.py
    namespace = {"__name__": "__main__"}
    for line, code, want in python_blocks(page):
        if re.search("torch|keras", code):
            warnings.simplefilter("ignore")  # their own
        for package in PACKAGES:
            if re.search(rf"\b{package}\b", code):
                pytest.importorskip(package, reason=f"{package} is not installed")
        for sign, package in WANT:
            if sign in code:
                pytest.importorskip(package)
        where = f"{name_of(page)}:{line}"
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, namespace, where, str(page), line)
            run_doctest(test)
            continue
        compiled = compile("\n" * (line - 1) + code, str(page), "exec")
        got = printed_by(lambda compiled=compiled: exec(compiled, namespace))
        if want is not None:
            assert same_lines(got) == same_lines(want), where


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_example(example, tmp_path, monkeypatch):
    if "plot" in example.read_text(encoding="utf-8"):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(example)])
    monkeypatch.setenv("PYTHONPATH", str(Path(fastnn.__file__).parents[1]))  # of its processes
    assert printed_by(lambda: runpy.run_path(str(example), run_name="__main__"))


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch):
    if name.endswith("__main__"):
        pytest.skip("runs the command line when imported")
    if name == "fastnn.sklearn":
        pytest.importorskip("sklearn")
    if name == "fastnn.online.river":
        pytest.importorskip("river")
    if name.startswith("fastnn.serve."):
        for package in ("starlette", "msgspec", "prometheus_client"):
            pytest.importorskip(package)
    if name in ("fastnn.interop.keras", "fastnn.mlflow"):
        warnings.simplefilter("ignore")  # what Keras and MLflow say as they are imported
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        imported = re.findall(r"^ *>>> (?:import|from) (\w+)", test.docstring, re.MULTILINE)
        wanted = [package for sign, package in WANT if sign in test.docstring]
        if all(map(importlib.util.find_spec, {*imported}.intersection(PACKAGES).union(wanted))):
            run_doctest(test)


def public_names():
    """As users write them behind `fastnn.`; of a name in several places the shortest."""
    found = {}
    for part in ("", *PARTS):
        module = importlib.import_module(f"fastnn.{part}".rstrip("."))
        for name in module.__all__:
            found.setdefault(id(getattr(module, name)), f"{part}.{name}".lstrip("."))
    return sorted(found.values())


def test_the_reference_has_every_public_name_with_an_example():
    pytest.importorskip("sklearn")
    pytest.importorskip("river")
    page = (ROOT / "docs" / "reference.rst").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^   ([\w.]+)$", page, re.MULTILINE)) == public_names()
    for name in public_names():
        thing = fastnn
        for part in name.split("."):
            thing = getattr(thing, part, None) or importlib.import_module(f"fastnn.{part}")
        assert has_example(thing), name
    for name, method in inspect.getmembers(fastnn.Model, inspect.isfunction):
        assert name.startswith("_") or has_example(method), name


def has_example(thing):
    return re.search(r"^Examples\n-+\n(?s:.*)>>> ", inspect.getdoc(thing), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{name_of(page)} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in anchors, f"{name_of(page)}: no heading for {target}"


def test_drawings_are_those_of_the_script(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts the checkout first
    script = runpy.run_path(str(ROOT / "docs" / "drawings.py"))
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in script["DRAWINGS"]:
        assert (ROOT / "docs" / f"{name}.svg").read_text(encoding="utf-8") == script["svg"](name)
        assert f"({name}.svg)" in told


def test_pip_is_told_the_distributions_name():
    """PyPI's fastnn is another project: what users are told to install must never be it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == DISTRIBUTION
    assert DISTRIBUTION in (ROOT / "README.md").read_text(encoding="utf-8")
    for library, extra in EXTRAS.items():
        assert any(re.match(library, needed) for needed in project["optional-dependencies"][extra])
    told = [*PAGES, ROOT / "Makefile", *ROOT.glob(".github/workflows/*"), *EXAMPLES]
    told += [*ROOT.glob("fastnn/**/*.py"), *ROOT.glob("bench/**/*.py")]
    named = [
        (name_of(path), wanted)
        for path in told
        for line in re.findall(r"pip install([^`&;)\n]*)", path.read_text(encoding="utf-8"))
        for wanted in re.findall(r"(?<![\w./-])fastnn[\w-]*", line)
    ]
    assert named and {wanted for _, wanted in named} == {DISTRIBUTION}, named
