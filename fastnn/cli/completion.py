"""``fastnn completion``: what a shell offers at Tab, as a script made from the parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import NamedTuple

HELP = "print what completes commands and options at Tab, for bash, zsh or fish"
DESCRIPTION = """Print a script that tells a shell the commands, their options and what may follow
each. No Python runs at Tab. docs/command_line.md says where the script goes."""


class Argument(NamedTuple):
    names: list[str]  # none: a positional
    takes: str  # "words", "files", "folders" or "any"; "": an option without a value
    words: dict[str, str]  # with what is said of each
    help: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SCRIPTS))


def run(args: argparse.Namespace) -> int:
    known = {"": [*_arguments(args.parser)]}  # by command; before there is one, the commands
    for action in args.parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            known |= {name: [*_arguments(parser)] for name, parser in action.choices.items()}
    print(SCRIPTS[args.shell](known))
    return 0


def _arguments(parser: argparse.ArgumentParser) -> Iterator[Argument]:
    for action in parser._actions:
        names, value = [*action.option_strings], str(action.metavar or action.dest)
        words = dict.fromkeys(action.choices or getattr(action.type, "known", None) or (), "")
        if isinstance(action, argparse._SubParsersAction):
            words = {one.dest: one.help or "" for one in action._choices_actions}
        takes = "" if action.nargs == 0 else "words" if words else "any"
        if takes == "any" and (not names or value.startswith(("FILE", "MODEL", "FOLDER"))):
            takes = "folders" if value == "FOLDER" else "files"
        told = re.sub(r" \([^)]*\)", "", action.help or value)  # the first thing said
        yield Argument(names, takes, words, re.split("; |(?<!default): ", told)[0].strip("()"))


def _bash(known: dict[str, list[Argument]]) -> str:
    does = {"any": "compopt +o default", "folders": "compopt +o default -o dirnames"}
    values, offers = [], []
    for command, arguments in known.items():
        for one in (one for one in arguments if one.takes):
            case = f'words="{" ".join(one.words)}"' if one.words else does.get(one.takes, "return")
            values += [f'    "{command} {name}") {case} ;;' for name in one.names]
        dash = any(one.takes == "files" for one in arguments if not one.names)
        words = " ".join(word for one in arguments for word in one.names or one.words)
        offers.append(f'    "{command} "*) {"[[ $cur == -* ]] && " * dash}words="{words}" ;;')
    return BASH % "\n".join([*values, *offers])


def _zsh(known: dict[str, list[Argument]]) -> str:
    def plain(text: str) -> str:
        return re.sub(r'([][():"\\])', r"\\\1", text).replace("'", r"'\''")

    does = {"": "", "any": ": : ", "files": ": :_files", "folders": ": :_files -/"}
    lines = []
    for command, arguments in known.items():
        lines.append(f"    '{command}') _arguments")
        for one in arguments:
            words = " ".join(f'{w}\\:"{plain(t)}"' if t else w for w, t in one.words.items())
            value = does.get(one.takes, f": :(({words}))" if "\\:" in words else f": :({words})")
            for name in one.names:
                equals = "=" if one.takes and name.startswith("--") else "+" if one.takes else ""
                lines[-1] += f" \\\n        '*{name}{equals}[{plain(one.help)}]{value}'"
            lines[-1] += "" if one.names else f" \\\n        '{value}'"
    return ZSH % " ;;\n".join([*lines, ""])


def _fish(known: dict[str, list[Argument]]) -> str:
    does = {"": "", "any": "-x", "files": "-rF", "folders": "-xa '(__fish_complete_directories)'"}
    lines = []
    for command, arguments in known.items():
        begin = f"complete -c fastnn -n '__fastnn_command {command}'"
        for one in arguments:
            names = "".join(f"-l {n[2:]} " if n[:2] == "--" else f"-s {n[1:]} " for n in one.names)
            more = [(names + does.get(one.takes, f"-xa '{' '.join(one.words)}'"), one.help)]
            if not names:
                more = [(f"-a {word}", told) for word, told in one.words.items()] or [("-F", "")]
            for what, told in more:
                lines.append(f"{begin} {what} -d '" + re.sub(r"(['\\])", r"\\\1", told) + "'")
    return FISH % "\n".join(lines)


# Where COMPREPLY stays empty, `-o default` offers files. macOS's bash 3.2 has no compopt.
BASH = """_fastnn() {
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= words=
    [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]}  # --option=value is three words
    [[ $cur == = ]] && cur=
    ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]}
    COMPREPLY=()
    case "$command $before" in\n%s\n    esac 2>/dev/null
    [[ $words ]] || return 0
    compopt +o default 2>/dev/null
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _fastnn fastnn"""
ZSH = """#compdef fastnn
_fastnn() {
    local command=
    ((CURRENT > 2)) && command=$words[2] && shift words && ((CURRENT--))
    case $command in\n%s    esac
}
if [[ $funcstack[1] == _fastnn ]]; then _fastnn "$@"; else compdef _fastnn fastnn; fi"""
FISH = """function __fastnn_command
    set -l words (commandline -opc)
    test "$words[2]" = "$argv[1]"
end
complete -c fastnn -f\n%s"""
SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
