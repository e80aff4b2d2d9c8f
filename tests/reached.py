"""Which lines and branches of the compiled core no test has reached: python tests/reached.py

Of what runs of build/coverage have counted (`make coverage`), by gcov. A line that several objects
hold (one for each instruction set and real) has been reached where any of them has reached it; a
branch likewise, where they have as many on that line. Branches are counted in src alone: those of
Cython's C are mostly errors of Python's own.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "coverage"


def sources(path: Path) -> dict[int, tuple[str, int]]:
    """Lines of Cython's C: the source and its line that each is made of, as comments say."""
    found, of = {}, None
    for at, line in enumerate(path.read_text().splitlines(), 1):
        if told := re.match(r' */\* "(.*)":(\d+)$', line):
            of = told[1], int(told[2])
        elif "/* function exit code */" in line or "/* #### Code section" in line:
            of = None
        elif of:
            found[at] = of
    return found


def counted() -> tuple[dict, dict]:
    """Times that {file: {line: ...}} has run, and each of {file: {line: {branches: [...]}}}."""
    lines: dict = defaultdict(lambda: defaultdict(int))
    branches: dict = defaultdict(lambda: defaultdict(dict))
    with tempfile.TemporaryDirectory() as folder:
        found = [str(path.resolve()) for path in BUILD.rglob("*.gcda")]
        command = ["gcov", "--json-format", "--branch-probabilities", "--preserve-paths", *found]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        for path in Path(folder).glob("*.gcov.json.gz"):
            for file in json.loads(gzip.decompress(path.read_bytes()))["files"]:
                name = os.path.normpath(file["file"]).removeprefix(f"{ROOT}/")
                if name.startswith("src/"):
                    for line in file["lines"]:
                        at = line["line_number"]
                        lines[name][at] += line["count"]
                        ways = [way["count"] for way in line["branches"] if not way["throw"]]
                        seen = branches[name][at]
                        before = seen.get(len(ways), [0] * len(ways))
                        seen[len(ways)] = [a + b for a, b in zip(before, ways, strict=True)]
                elif name.startswith("build/") and name.endswith(".c"):
                    of = sources(ROOT / name)
                    for line in file["lines"]:
                        if told := of.get(line["line_number"]):
                            lines[told[0]][told[1]] += line["count"]
    ours = ("src/", "fastnn/")  # Cython has sources of its own
    return {name: of for name, of in lines.items() if name.startswith(ours)}, branches


def main() -> None:
    lines, branches = counted()
    totals = []
    for name in sorted(lines):
        text = (ROOT / name).read_text().splitlines()
        of_lines, of_branches = [], []
        for at, count in sorted(lines[name].items()):
            ways = max(branches[name][at].values(), key=len, default=[])
            of_lines.append(count > 0)
            of_branches += [way > 0 for way in ways]
            if not count:
                print(f"{name}:{at}: not reached: {text[at - 1].strip()}")
            elif not all(ways):
                missed = ", ".join(str(i) for i, way in enumerate(ways) if not way)
                print(f"{name}:{at}: branch {missed} of {len(ways)}: {text[at - 1].strip()}")
        totals.append((name, sum(of_lines), len(of_lines), sum(of_branches), len(of_branches)))
    sums = (sum(column) for column in list(zip(*totals, strict=True))[1:])
    for name, *counts in [*totals, ("all", *sums)]:
        told = "{} of {} lines, {} of {} branches".format(*counts)
        print(f"{name:36} {told.removesuffix(', 0 of 0 branches')}")


if __name__ == "__main__":
    sys.exit(main())
