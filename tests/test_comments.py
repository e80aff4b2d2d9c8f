"""What the compiled core's comments name is there: files, names in files, the core's own names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for folder in ("src", "fastnn/kernels")
    for path in (ROOT / folder).rglob("*.*")
    if path.suffix in (".c", ".h", ".pyx", ".pxd")
)
COMMENTS = {
    ".c": r"/\*.*?\*/",
    ".h": r"/\*.*?\*/",
    ".pyx": r'#[^\n]*|""".*?"""',
    ".pxd": r'#[^\n]*|""".*?"""',
}
FILE = r"\b[\w/]+\.(?:pyx|pxd|pyi|py|md|h|c)\b"


pytestmark = pytest.mark.skipif(not SOURCES, reason="tests of an installed fastnn: no sources")


def comments_and_code(path):
    pattern = re.compile(COMMENTS[path.suffix], re.S)
    text = path.read_text()
    return " ".join(pattern.findall(text)), pattern.sub(" ", text)


CODE = {path: comments_and_code(path)[1] for path in SOURCES}
WORDS = set(re.findall(r"\w+", " ".join(CODE.values())))


def files_called(name):
    """Files of the repository that a comment may mean by this name."""
    return [path for path in ROOT.rglob(Path(name).name) if path.match(name)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_files_exist(path):
    comments, _ = comments_and_code(path)
    for name in re.findall(FILE, comments):
        assert files_called(name), f"{path.name} names {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_names_in_files_exist(path):
    """As in: net.pyx: fold."""
    comments, _ = comments_and_code(path)
    for file, name in re.findall(rf"({FILE}): (\w+)", comments):
        assert any(re.search(rf"\b{name}\b", found.read_text()) for found in files_called(file)), (
            f"{path.name} names {name} in {file}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_own_and_quoted_names_exist(path):
    """fnn_* and FNN_* anywhere, and `name`: in code of the core, not in comments alone."""
    comments, _ = comments_and_code(path)
    named = re.findall(r"\b(?:fnn|FNN)_\w+\b", comments) + re.findall(r"`{1,2}(\w+)`", comments)
    for name in named:
        assert name in WORDS, f"{path.name} names {name}"
