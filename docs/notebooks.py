"""The pages of docs/learn as notebooks: `python docs/notebooks.py FOLDER` writes them there.
`make notebooks` (no folder) runs the pages and writes anew what they print and draw.

Pages are Markdown, to be read as they are: their ```python blocks run one after the other. A
```text block behind one is what it prints, and a picture behind one its last expression, as an
SVG file. <details> hold answers. A notebook holds the blocks as cells, without output.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LEARN = Path(__file__).parent / "learn"
PAGES = sorted(LEARN.glob("[0-9]*.md"))
CODE = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"
    r"(?:\n```text\n(?P<text>.*?)^```\n)?"
    r"(?:\n!\[(?P<alt>[^\]]*)\]\((?P<picture>\w+\.svg)\)\n)?",
    re.MULTILINE | re.DOTALL,
)
ANSWER = re.compile(r"^<details>\n<summary>(.*)</summary>\n|^</details>\n", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:)[^)]*\)")
PICTURES = re.compile(r"^from pictures import .*\n\n?", re.MULTILINE)


def notebook(page: Path) -> dict[str, Any]:
    """The page in Jupyter's format 4.5. It needs no other file: what draws its pictures is in a
    cell of its own, and links to other pages are their names alone."""
    cells: list[dict[str, Any]] = []

    def add(kind: str, source: str, hidden: bool = False) -> None:
        if not source.strip():
            return
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        if hidden:
            cell["metadata"] = {"jupyter": {"source_hidden": True}}
        cells.append({**cell, "source": source.strip("\n").splitlines(keepends=True)})

    for words, code, summary in _pieces(page.read_text(encoding="utf-8")):
        words = LINK.sub(r"*\1*", words)
        if summary and words.strip():
            words = f"<details>\n<summary>{summary}</summary>\n\n{words.strip()}\n\n</details>\n"
        add("markdown", words)
        if PICTURES.search(code):
            add("code", (LEARN / "pictures.py").read_text(encoding="utf-8"), hidden=True)
            code = PICTURES.sub("", code)
        add("code", code, hidden=bool(summary))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _pieces(text: str) -> Iterator[tuple[str, str, str]]:
    """(words, the code behind them, the answer's summary where both are in an answer)."""
    summary = ""
    at = 0
    for block in [*CODE.finditer(text), None]:
        words = text[at : block.start() if block else len(text)]
        code = block["code"] if block else ""
        at = block.end() if block else at
        begin = 0
        for turn in ANSWER.finditer(words):
            yield words[begin : turn.start()], "", summary
            summary, begin = turn[1] or "", turn.end()
        yield words[begin:], code, summary


def with_results(page: Path) -> str:
    """The page's text as its blocks print now; the pictures are written beside it."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "__main__"}
    new, at = "", 0
    for block in CODE.finditer(text):
        printed, value = _ran(block["code"], names, page.name)
        new += text[at : block.start()] + f"```python\n{block['code']}```\n"
        new += f"\n```text\n{printed}```\n" if printed else ""
        if block["picture"]:
            (page.parent / block["picture"]).write_text(value.svg, encoding="utf-8")
            new += f"\n![{block['alt']}]({block['picture']})\n"
        at = block.end()
    return new + text[at:]


def _ran(code: str, names: dict[str, Any], file: str) -> tuple[str, Any]:
    """What a block prints, and the value of its last line where that is an expression."""
    tree, value, out = ast.parse(code), None, io.StringIO()
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(out):
        exec(compile(tree, file, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), file, "eval"), names)
    return out.getvalue(), value


def write(page: Path, folder: Path) -> None:
    """The page's notebook, into the folder."""
    text = json.dumps(notebook(page), indent=1, ensure_ascii=False)
    (folder / f"{page.stem}.ipynb").write_text(f"{text}\n", encoding="utf-8")


def renew() -> None:
    sys.path[:0] = [str(LEARN), str(LEARN.parents[1])]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for one in PAGES:
            one.write_text(with_results(one), encoding="utf-8")


if __name__ == "__main__":
    if not sys.argv[1:]:
        renew()
    for folder in map(Path, sys.argv[1:]):
        folder.mkdir(parents=True, exist_ok=True)
        for one in PAGES:
            write(one, folder)
