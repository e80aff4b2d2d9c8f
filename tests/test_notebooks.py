"""The pages of docs/learn as notebooks: they run in Jupyter, alone, and print and draw what the
pages show. Their blocks run without Jupyter, too: tests/test_docs.py."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from test_docs import ROOT, same_lines

import fastnn

sys.path.insert(0, str(ROOT / "docs"))
import notebooks

sys.path.remove(str(ROOT / "docs"))

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@pytest.fixture(params=notebooks.PAGES, ids=lambda page: page.stem)
def page(request):
    return request.param


def run(page, folder, monkeypatch):
    """The notebook with its outputs, from a folder of its own as a reader has it."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat")
    notebooks.write(page, folder)
    read = nbformat.read(folder / f"{page.stem}.ipynb", as_version=4)
    nbformat.validate(read)
    monkeypatch.setenv("PYTHONPATH", str(Path(fastnn.__file__).parents[1]))
    resources = {"metadata": {"path": str(folder)}}
    return nbclient.NotebookClient(read, timeout=120, resources=resources).execute()


def near(got, want):
    """The same drawing, but for the last decimal of a place: elsewhere exp may round otherwise."""
    assert NUMBER.sub("", got) == NUMBER.sub("", want)
    numbers = ([float(one) for one in NUMBER.findall(text)] for text in (got, want))
    np.testing.assert_allclose(*numbers, rtol=0, atol=0.11)


@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_it_runs_alone_and_shows_what_the_page_shows(page, tmp_path, monkeypatch):
    done = run(page, tmp_path, monkeypatch)
    cells = [one for one in done.cells if one.cell_type == "code"]
    blocks = list(notebooks.CODE.finditer(page.read_text(encoding="utf-8")))
    if "pictures" in page.read_text(encoding="utf-8"):
        drawing = [one for one in cells if one.source.startswith('"""The pictures of docs/learn')]
        assert len(drawing) == 1 and drawing[0].metadata["jupyter"]["source_hidden"]
        cells.remove(drawing[0])
    assert len(cells) == len(blocks)
    for cell, block in zip(cells, blocks, strict=True):
        printed = "".join(one.text for one in cell.outputs if one.output_type == "stream")
        assert same_lines(printed) == same_lines(block["text"] or "")
        shown = [one.data.get("text/html", "") for one in cell.outputs if "data" in one]
        if block["picture"]:
            (html,) = shown
            stored = (page.parent / block["picture"]).read_text(encoding="utf-8")
            near(html[html.index("<svg") : html.index("</svg>")], stored.partition("</svg>")[0])


def test_a_checkout_writes_them(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["notebooks.py", str(tmp_path / "new")])
    runpy.run_path(notebooks.__file__, run_name="__main__")
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert names == [f"{one.stem}.ipynb" for one in notebooks.PAGES] and len(names) == 7


def test_it_holds_no_outputs_and_needs_no_other_file(page):
    cells = notebooks.notebook(page)["cells"]
    assert len({one["id"] for one in cells}) == len(cells)
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            assert "from pictures" not in source
        else:
            assert not notebooks.LINK.search(source) and "```" not in source
            assert source.count("<details>") == source.count("</details>")


def test_every_exercise_has_an_answer_that_is_checked(page):
    text = page.read_text(encoding="utf-8")
    exercises = text.partition("\n## Exercises\n")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\*\*\d\.\*\* ", exercises, re.MULTILINE)) in (2, 3)
    for one in re.split(r"^\*\*\d\.\*\* ", exercises, flags=re.MULTILINE)[1:]:
        answer = one.partition("<details>\n<summary>Answer</summary>\n")[2]
        assert answer.rstrip().endswith("</details>")
        assert "assert " in "".join(block["code"] for block in notebooks.CODE.finditer(answer))
    assert "\n## Sources\n" in text


def test_a_picture_belongs_to_a_block(page):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"\]\((\w+\.svg)\)", text) == [
        block["picture"] for block in notebooks.CODE.finditer(text) if block["picture"]
    ]


def test_no_picture_is_left_over():
    told = "".join(page.read_text(encoding="utf-8") for page in notebooks.PAGES)
    for picture in notebooks.LEARN.glob("*.svg"):
        assert f"({picture.name})" in told


def test_pages_to_walk_through_are_written(tmp_path, monkeypatch):
    """What docs/conf.py puts into its folder for them to be shown in pages."""
    monkeypatch.chdir(tmp_path)
    notebooks.with_results(ROOT / "docs" / "worked_example.md")
    shown = [
        Path(name).name
        for page in (ROOT / "docs" / "worked_example.md", *notebooks.PAGES)
        for name in re.findall(r"^<!-- walk: (\S+) .+ -->$", page.read_text("utf-8"), re.MULTILINE)
    ]
    written = {path.name for path in tmp_path.glob("*.html")}
    assert written == set(shown) and len(shown) == 2 * len(written) == 4


def test_what_is_printed_is_written_into_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "1_a.md"
    page.write_text("# A\n\n```python\nprint(6 * 7)\n```\n\n```text\nold\n```\n\nOn.\n")
    new = notebooks.with_results(page)
    assert new == "# A\n\n```python\nprint(6 * 7)\n```\n\n```text\n42\n```\n\nOn.\n"
    page.write_text(new)
    assert notebooks.with_results(page) == new
