"""What a wheel says of itself: the list of what is in it, and the licences."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from fastnn.errors import DISTRIBUTION

REPAIR = Path(__file__).parents[1] / ".ci/repair.py"
LIBGOMP = "GPL-3.0-or-later WITH GCC-exception-3.1"
INFO = "fastnn_cpu-0.1.0.dist-info"
BEFORE = "Metadata-Version: 2.4\nLicense-Expression: BSD-3-Clause\n\nLicense-Expression: text\n"


def test_an_installed_wheel_lists_what_it_is_made_of():
    """CycloneDX, in agreement with the metadata."""
    try:
        installed = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        pytest.skip("fastnn is not installed")
    lists = [p for p in installed.files or [] if p.match(f"sboms/{DISTRIBUTION}.cdx.json")]
    if not lists:
        pytest.skip("not installed from a wheel")
    bom = json.loads(lists[0].read_text())
    component = bom["metadata"]["component"]
    assert (bom["bomFormat"], bom["specVersion"], bom["components"]) == ("CycloneDX", "1.6", [])
    assert component["name"] == installed.metadata["Name"]
    assert component["version"] == installed.version
    assert component["purl"] == f"pkg:pypi/{DISTRIBUTION}@{installed.version}"
    (licence,) = component["licenses"]  # of what is fastnn's own
    assert licence["expression"] == "BSD-3-Clause"
    expression = installed.metadata["License-Expression"]
    assert expression in ("BSD-3-Clause", f"BSD-3-Clause AND {LIBGOMP}")
    texts = {path.name for path in installed.files or [] if "licenses" in path.parts}
    assert texts >= {"LICENSE", "libgomp-GPL-3.0.txt", "libgomp-GCC-exception-3.1.txt"}


@pytest.fixture
def with_licence():
    if not REPAIR.exists():
        pytest.skip("no checkout")
    spec = importlib.util.spec_from_file_location("repair", REPAIR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.with_licence


def wheel(path, library):
    files = {"fastnn/__init__.py": "x = 1\n", library: "code", f"{INFO}/METADATA": BEFORE}
    with ZipFile(path, "w") as file:
        record = [f"{name},sha256=old,{len(text)}\n" for name, text in files.items()]
        files[f"{INFO}/RECORD"] = "".join([*record, f"{INFO}/RECORD,,\n"])
        for name, text in files.items():
            file.writestr(ZipInfo(name, (2026, 1, 2, 3, 4, 6)), text)
    return files


def test_a_wheel_with_libgomp_names_its_licence(with_licence, tmp_path):
    library = "fastnn_cpu.libs/libgomp-e80b85fe.so.1.0.0"
    before = wheel(tmp_path / "a.whl", library)
    with_licence(tmp_path / "a.whl", tmp_path / "b.whl")
    with ZipFile(tmp_path / "b.whl") as file:
        after = {name: file.read(name).decode() for name in file.namelist()}
        assert {info.date_time for info in file.infolist()} == {(2026, 1, 2, 3, 4, 6)}
    text = after[f"{INFO}/METADATA"]
    assert text == BEFORE.replace("BSD-3-Clause\n", f"BSD-3-Clause AND {LIBGOMP}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    old = f"{INFO}/METADATA,sha256=old,{len(BEFORE)}\n"
    new = f"{INFO}/METADATA,sha256={digest},{len(text)}\n"
    assert after[f"{INFO}/RECORD"] == before[f"{INFO}/RECORD"].replace(old, new)
    changed = {name for name in before if before[name] != after[name]}
    assert list(before) == list(after) and changed == {f"{INFO}/METADATA", f"{INFO}/RECORD"}


def test_a_wheel_without_it_stays(with_licence, tmp_path):
    before = wheel(tmp_path / "a.whl", "fastnn/kernels/_cpu.so")
    with_licence(tmp_path / "a.whl", tmp_path / "b.whl")
    with ZipFile(tmp_path / "b.whl") as file:
        assert {name: file.read(name).decode() for name in file.namelist()} == before
