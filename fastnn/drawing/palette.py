"""The colours of pages, cards and drawings, in light and dark."""

from __future__ import annotations

# --s0 to --s6 are of series, --s0 of what others are compared with, --heat of shaded cells.
LIGHT = (
    "--paper:#fff;--ink:#1b1f24;--soft:#57606a;--rule:#d7dce1;--band:#f3f5f7;--edge:#767f88;"
    "--heat:31,111,178;--s0:#8a949e;--s1:#1f6fb2;--s2:#b3530b;--s3:#2b7a3d;--s4:#8a3fa0;"
    "--s5:#a8324a;--s6:#5b6470"
)
DARK = (
    "--paper:#15181c;--ink:#e6e9ec;--soft:#a2abb4;--rule:#353c44;--band:#1e2329;--edge:#88919a;"
    "--heat:92,160,226;--s0:#7d8791;--s1:#6db3f2;--s2:#f2a25c;--s3:#7ccb8d;--s4:#d39be6;"
    "--s5:#f08a9e;--s6:#b4bcc4"
)
# How a page tells its theme: pydata-sphinx-theme, JupyterLab, VS Code, Colab.
IN_LIGHT = "[data-theme=light],[data-jp-theme-light=true],.vscode-light,[theme=light]"
IN_DARK = (
    "[data-theme=dark],[data-jp-theme-light=false],.vscode-dark,.vscode-high-contrast,[theme=dark]"
)


def colors(selector: str) -> str:
    """CSS that gives what `selector` names the colours of the reader's system."""
    return (
        f"{selector}{{color-scheme:light dark;{LIGHT}}}\n"
        f"@media(prefers-color-scheme:dark){{{selector}{{{DARK}}}}}\n"
    )


def colors_within(selector: str) -> str:
    """The same for a part of somebody else's page, whose theme comes first."""
    return (
        colors(selector)
        + f":is({IN_LIGHT}) {selector}{{color-scheme:light;{LIGHT}}}\n"
        + f":is({IN_DARK}) {selector}{{color-scheme:dark;{DARK}}}\n"
    )
