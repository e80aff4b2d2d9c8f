"""fastnn completion: what the shells themselves then offer at Tab."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys

import pytest

from fastnn.cli import COMMANDS, build_parser

FILES = {"data.csv", "more data.csv"}
FOLDER = "data folder"
BASH = r"""
source ./script
compopt() { told="$told $*"; }  # it is for a Tab alone
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) told=
_fastnn
registered=$(complete -p fastnn)
# as readline does where a function gives nothing
if [[ ${#COMPREPLY[@]} == 0 && $told == *"-o dirnames"* ]]; then
    compgen -d -- "${!#}"
elif [[ ${#COMPREPLY[@]} == 0 && $registered == *"-o default"* && $told != *"+o default"* ]]; then
    compgen -f -- "${!#}"
else
    printf '%s\n' "${COMPREPLY[@]}"
fi
"""
# compadd is what completion calls with all that it offers.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -D; source ./script'
zpty -w shell 'compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a hits; builtin compadd -A hits "$@"; print -rl -- "> "$^hits
    builtin compadd "$@" }'
zpty -w shell 'ended() { print the"end"; compstate[list]= compstate[insert]= }'
zpty -w shell 'comppostfuncs=(ended); bindkey "^I" complete-word; print be"gin"'
zpty -r -m shell out '*begin*'
zpty -n -w shell "$1"$'\t'
zpty -r -m shell out '*theend*'
print -r -- "$out"
"""


def output_of(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_bash(line):
    return output_of("bash", "--norc", "-c", BASH, "bash", *re.split(r" |(?<==)(?=.)|(?==)", line))


def in_zsh(line):
    found = output_of("zsh", "-f", "-c", ZSH, "zsh", line).replace("\\", "")  # before blanks
    return "\n".join(re.findall(r"> (.*?)\r?$", found, re.MULTILINE))


def in_fish(line):
    script = "source ./script; complete -C $argv[1]"
    lines = output_of("fish", "--no-config", "-c", script, line).splitlines()
    return "\n".join(line.partition("\t")[0].rstrip("/") for line in lines)


@pytest.fixture(params=[in_bash, in_zsh, in_fish])
def offered(request, here, run):
    """What a shell that has read the script offers at the end of a line: a set."""
    shell = request.param.__name__.removeprefix("in_")
    if sys.platform == "win32" or shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for name in FILES:
        (here / name).touch()
    (here / FOLDER).mkdir()
    status, out, err = run("completion", shell)
    assert (status, err) == (0, "")
    (here / "script").write_text(out)
    return lambda line: set(request.param(line).split("\n")) - {""}


def parsers():
    (commands,) = (
        one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction)
    )
    return commands.choices


@pytest.mark.parametrize(
    ("shell", "lines"),
    [
        (
            "zsh",
            [
                "'*--recipe=[auto, an ensemble]: :(auto td td-s)'",
                "'*--journal=[where trials are written down]: :_files -/'",
                "'*-o+[model file]: :_files'",
                "'*--compress[",
                r"': :((train\:" + '"learn from a data file" tune',
                r"'*--sample-weight=[column of the rows'\'' weights, no input]: : '",
            ],
        ),
        (
            "fish",
            [
                " -l recipe -xa 'auto td td-s' -d 'auto, an ensemble'",
                " -l journal -xa '(__fish_complete_directories)' -d ",
                " -s o -l output -rF -d ",
                " -l compress  -d ",
                " -a train -d 'learn from a data file'",
                r" -l sample-weight -x -d 'column of the rows\' weights, no input'",
            ],
        ),
    ],
)
def test_scripts_tell_each_option_and_what_it_takes(run, shell, lines):
    """Where the shell itself is not installed, too."""
    status, script, err = run("completion", shell)
    assert (status, err) == (0, "") and all(line in script for line in lines)
    for command, parser in parsers().items():
        if shell == "zsh":
            block = script.partition(f"    '{command}') _arguments ")[2].partition(" ;;\n")[0]
            found = set(re.findall(r"^ +'\*(-[\w-]+?)[=+]?\[", block, re.MULTILINE))
        else:
            begin = rf"^complete -c fastnn -n '__fastnn_command {command}' (.*?) -d '"
            told = " ".join(re.findall(begin, script, re.MULTILINE))
            found = {f"-{one}" for one in re.findall(r"-s (\w)", told)}
            found |= {f"--{one}" for one in re.findall(r"-l ([\w-]+)", told)}
        assert found == {name for one in parser._actions for name in one.option_strings}, command


def test_commands(offered):
    assert offered("fastnn ") - {"-h", "--help", "--version"} == set(COMMANDS)
    assert offered("fastnn tr") == {"train"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option(offered, command):
    options = {name for one in parsers()[command]._actions for name in one.option_strings}
    long = {name for name in options if name.startswith("--")}
    assert offered(f"fastnn {command} --") == long


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --recipe ", {"auto", "td", "td-s"}),
        ("train --recipe=", {"auto", "td", "td-s"}),
        ("train --recipe=t", {"td", "td-s"}),
        ("train data.csv --norm ", {"batch", "layer"}),
        ("bench --dtype ", {"float32", "float64"}),
        ("completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_choices(offered, line, words):
    found = {word.removeprefix("--recipe=") for word in offered(f"fastnn {line}")}
    assert found - {"-h", "--help"} == words


def test_names_that_an_option_knows(offered):
    assert {"adam", "sgd", "lbfgs"} <= offered("fastnn train --network --optimizer ")
    assert {"relu", "gelu"} <= offered("fastnn train --network --activation ")
    assert "huber" in offered("fastnn train --network --loss ")


@pytest.mark.parametrize("line", ["train -o ", "predict ", "train --report ", "import a.onnx "])
def test_files(offered, line):
    assert {FOLDER, *FILES} <= offered(f"fastnn {line}")


@pytest.mark.parametrize("line", ["demo -o ", "tune data.csv --journal "])
def test_folders(offered, line):
    assert offered(f"fastnn {line}") == {FOLDER}


@pytest.mark.parametrize("line", ["train --seed ", "predict --coverage ", "verify data"])
def test_nothing_where_nothing_is_known(offered, line):
    assert offered(f"fastnn {line}") == set()
