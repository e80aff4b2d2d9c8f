"""The site: `make docs`. Its pages are Markdown that reads on GitHub, too.

index.md lists the pages, part by part, and so is the navigation; README.md is its beginning,
CONTRIBUTING.md and CHANGELOG.md are pages where they lie. reference.rst lists the public names.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

from docutils import nodes

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

import notebooks  # noqa: E402

from fastnn import __version__  # noqa: E402
from fastnn.cli import main  # noqa: E402

project = "fastnn"
author = copyright = "The fastnn developers"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_templates"]
templates_path = ["_templates"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a part of README begins below its first heading
autosummary_generate = True
autosummary_imported_members = True
# What scikit-learn adds to a class refers to pages of its own site.
SKLEARNS = "set_fit_request, set_partial_fit_request, set_predict_request, set_score_request, score"
autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": SKLEARNS}
autodoc_typehints = "none"
numpydoc_show_class_members = False
toc_object_entries_show_parents = "hide"
default_role = "literal"
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"**": ["pages"]}
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_center": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
linkcheck_timeout = 10
linkcheck_retries = 2

# A workflow knows where the sources are to be read; elsewhere they are beside the site.
SOURCES = ROOT.as_uri()
if "GITHUB_REPOSITORY" in os.environ:
    SOURCES = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/blob/{GITHUB_SHA}".format(**os.environ)
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(\[[^\]]*\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
PART = re.compile(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PAGE = re.compile(r"\]\((?:\.\./)?([\w/]+)\.(?:md|rst)\)")
HEADING = re.compile(r"^# .*\n", re.MULTILINE)
DOWNLOAD = '<p class="notebook"><a href="{}.ipynb" download>This page as a notebook</a></p>'
WALK = re.compile(r"<!-- walk: (\S+) (.*) -->")
WRITING = re.compile(r"^fastnn (learn .*--html .*)$", re.MULTILINE)
FRAME = (
    r'<iframe class="walk" src="\1" title="\2" loading="lazy"></iframe>'
    r'<p><a href="\1">\2, as a page of its own</a></p>'
)


def relinked(text: str, folder: Path) -> str:
    """text as a page of docs/, from a file in folder: links to pages, to sources elsewhere. A page
    that is called by its file's name gets its heading for a name."""

    def new(link: re.Match[str]) -> str:
        file = (folder / link[2]).resolve()
        if not file.exists():
            return link[0]
        path = file.relative_to(ROOT).as_posix()
        if path in OUTSIDE:
            target = "/" + OUTSIDE[path]
        elif DOCS in file.parents:
            target = "/" + file.relative_to(DOCS).as_posix()
        else:
            # As HTML: Markdown takes no link to a file of this machine. tests/test_docs.py has seen
            # that it is there.
            return f'<a href="{SOURCES}/{path}">{link[1][1:-2]}</a>'
        name = link[1]
        if name.endswith(".md]("):
            heading = file.read_text(encoding="utf-8").partition("\n")[0]
            name = f"[{heading.removeprefix('# ')}]("
        return name + target + link[3]

    return LINK.sub(new, text)


def parts_of(text: str) -> Iterator[str]:
    """The parts of index.md, behind each the pages it links to, as the navigation's."""
    for part in PART.finditer(text):
        pages = "\n".join(dict.fromkeys(page.lower() for page in PAGE.findall(part[2])))
        tree = f"```{{toctree}}\n:hidden:\n:caption: {part[1]}\n\n{pages}\n```\n"
        yield f"## {part[1]}\n{part[2]}\n{tree}"


def read_source(app, docname: str, source: list[str]) -> None:
    for name, page in OUTSIDE.items():
        if page == f"{docname}.md":
            pages = source[0]
            source[0] = relinked((ROOT / name).read_text(encoding="utf-8"), ROOT)
            if docname == "index":
                source[0] += relinked("\n".join(parts_of(pages)), DOCS)
            return
    page = DOCS / f"{docname}.md"
    if page.exists():
        source[0] = relinked(source[0], page.parent)
    if page in notebooks.PAGES:
        source[0] = HEADING.sub(rf"\g<0>\n{DOWNLOAD.format(page.stem)}\n", source[0], count=1)
    source[0] = WALK.sub(FRAME, source[0])


def inline_drawings(app, tree: nodes.document, docname: str) -> None:
    """SVG drawings become part of the page, so that they follow its theme."""
    for image in tree.findall(nodes.image):
        path = app.srcdir / image["uri"]
        if path.suffix == ".svg":
            told = f'role="group" aria-label="{escape(image["alt"], quote=True)}"'
            svg = path.read_text(encoding="utf-8")
            html = f'<div class="drawing" tabindex="0" {told}>{svg}</div>'
            image.replace_self(nodes.raw("", html, format="html"))


def tell_screen_readers(app, pagename, templatename, context, doctree) -> None:
    """A table's empty corner heads nothing; a source is an item of its list."""
    told = context.get("body", "").replace('<th class="head"><p></p></th>', "<td></td>")
    context["body"] = told.replace(' role="doc-biblioentry"', ' role="listitem"')


def write_what_pages_link(app, exception: Exception | None) -> None:
    """Notebooks, and the pages to walk through that blocks of worked_example.md and commands of
    learn_at_the_shell.md write."""
    if exception is None and app.builder.name == "html":
        for page in notebooks.PAGES:
            notebooks.write(page, Path(app.outdir) / "learn")
        with contextlib.chdir(app.outdir):
            notebooks.with_results(DOCS / "worked_example.md")
            shell = (DOCS / "learn_at_the_shell.md").read_text(encoding="utf-8")
            for words in WRITING.findall(shell):
                main(words.split())


def read_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are written to be read as they are: formulas stand on indented lines, |x| is an
    absolute value, a name may end in _, and docs/tables.md is a page."""
    read: list[str] = []
    above, literal = "", False  # the last line with text, at the margin or not
    for line in lines:
        indented = line.startswith("    ")
        if line and not literal and indented and read and not read[-1] and above[:1].strip():
            literal = True
            if not above.endswith("::"):
                read += [".. code-block:: text", ""]
        literal = literal and (indented or not line)
        read.append(line if literal or line.lstrip().startswith(">>>") else escaped(line))
        above = line or above
    lines[:] = read


def escaped(line: str) -> str:
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return re.sub(r"\bdocs/(\w+)\.md", r":doc:`/\1`", "".join(parts))


def setup(app) -> None:
    app.connect("autodoc-process-docstring", read_docstring, priority=400)  # before numpydoc
    app.connect("source-read", read_source)
    app.connect("doctree-resolved", inline_drawings)
    app.connect("html-page-context", tell_screen_readers)
    app.connect("build-finished", write_what_pages_link)
