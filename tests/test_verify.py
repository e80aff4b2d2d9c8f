"""`fastnn.verify` and the command: bits that are the package's, and that are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import fastnn
from fastnn.bits import check
from fastnn.cli import main
from fastnn.kernels import _cpu

FMA = [isa for isa in _cpu.isas() if isa != check.BASELINE]
few = {name: check.CASES[name] for name in ("5-1, one layer", "67-33-17-5 layer norm")}


@pytest.fixture
def two(monkeypatch):
    """Of two networks alone."""
    monkeypatch.setattr(check, "CASES", few)
    return check.pinned()


def command(isa, *args):
    return subprocess.run(
        [sys.executable, "-m", "fastnn", "verify", *args],
        env=os.environ | {"FASTNN_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_instruction_set_has_the_packages_bits():
    """The whole command, in a process for each: one SHA-256 where there is FMA."""
    sums = set()
    for isa in FMA:
        done = command(isa, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["ok"] and found["promised"] and found["config"]["isa"] == isa
        assert {(one["network"], one["dtype"]) for one in found["compared"]} == {
            (name, dtype) for name in check.CASES for dtype in ("float32", "float64")
        }
        assert 1 in {one["threads"] for one in found["compared"]}
        sums.add(found["sha256"])
    assert len(sums) == (1 if FMA else 0)


def test_baseline_says_that_its_bits_are_its_own(two, isa):
    if check.BASELINE not in _cpu.isas():
        pytest.skip("this machine has no baseline without FMA")
    _cpu.use(check.BASELINE)
    found = fastnn.verify()
    assert found.ok and not found.promised
    text = str(found)
    assert "no FMA here" in text and text.endswith("threads") and "as one thread" in text
    pinned = two["weights"]["67-33-17-5 layer norm"]["float32"]
    assert pinned not in [one.sha256 for one in found.compared]


@pytest.mark.skipif(not FMA, reason="needs FMA")
def test_what_differs_is_named(two, capsys, monkeypatch, isa):
    _cpu.use(FMA[0])
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert "ok       5-1, one layer\n" in out and "the same bits as bits version" in out
    for name, value in fastnn.show_config("dict").items():
        assert f"{name} " in out and (isinstance(value, list) or str(value) in out)
    two["outputs"]["5-1, one layer"]["float64"] = "0123456789abcdef" * 4
    monkeypatch.setattr(check, "pinned", lambda: two)
    with fastnn.threads(1):
        assert main(["verify"]) == 1
        lines = capsys.readouterr().out.splitlines()
        at = lines.index("DIFFERS  5-1, one layer")
        assert lines[at + 1].startswith("         float64 outputs, 1 thread: ")
        assert lines[at + 1].endswith(", not 0123456789abcdef")
        assert lines[at + 2] == "ok       67-33-17-5 layer norm"
        assert lines[-1] == "NOT the same bits as bits version 1, with 1 thread"
        assert main(["verify", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
    wrong = [one for one in found["compared"] if not one["ok"]]
    assert not found["ok"]
    assert [(one["network"], one["dtype"], one["what"]) for one in wrong] == [
        ("5-1, one layer", "float64", "outputs")
    ]


def test_every_optimizer_with_bits_of_its_own_is_there():
    kinds = {case.optimizer.kind for case in check.CASES.values()}
    assert kinds >= {"sgd", "momentum", "nesterov", "adam", "amsgrad", "nadam", "adagrad", "lion"}
    assert {type(case.optimizer) for case in check.CASES.values()} == {
        one
        for one in vars(fastnn).values()
        if isinstance(one, type)
        and issubclass(one, fastnn.Optimizer)
        and one not in (fastnn.Optimizer, fastnn.LBFGS)  # whose steps are SciPy's
    }
