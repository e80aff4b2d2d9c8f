"""``fastnn learn``: a small network learns before one's eyes, and what goes wrong with others."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastnn.cli.common import arguments, output
from fastnn.cli.common.messages import BadUse
from fastnn.kernels._cpu import ACTIVATIONS
from fastnn.learn import COMPARISONS, PROBLEMS, TROUBLES
from fastnn.network.activations import CLASSES as ACTIVATION_SETTINGS
from fastnn.network.initialize import RULES, Normal, Uniform

if TYPE_CHECKING:
    from fastnn.learn.experiments import Comparison, Run, Settings
    from fastnn.learn.terminal import Screen
    from fastnn.learn.troubles import Case

HELP = "watch a small network learn, and see what goes wrong with others"
DESCRIPTION = """Train a small network by plain gradient descent, in a second or two, and show what
happens: the boundary between the classes over the epochs, the loss, the gradient of each layer.
Without arguments it learns XOR. --compare shows what one setting does, --trouble what goes wrong,
how it is recognised, and the remedy. With --html all of it becomes a page to walk through."""

SETTINGS = ("hidden", "activation", "init", "learning_rate", "batch_size", "epochs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "problem",
        nargs="?",
        choices=PROBLEMS,
        metavar="PROBLEM",
        help=f"{', '.join(PROBLEMS)} (default: xor); digits needs scikit-learn",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--compare",
        choices=(*COMPARISONS, "all"),
        metavar="SETTING",
        help=f"runs that differ in one setting: {', '.join(COMPARISONS)}; or all",
    )
    what.add_argument(
        "--trouble",
        choices=(*TROUBLES, "all"),
        metavar="NAME",
        help=f"what goes wrong: {', '.join(TROUBLES)}; or all. Its runs have problems and settings "
        "of their own",
    )
    parser.add_argument(
        "--html",
        metavar="FILE.html",
        help="write a page in place of text; without --compare and --trouble it has all of them",
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="(default: 0)")
    title = "the network and its training (default: as suits the problem)"
    group = parser.add_argument_group(title)
    group.add_argument(
        "--hidden",
        type=arguments.hidden_sizes,
        metavar="N,N",
        help="units of the hidden layers, or none",
    )
    group.add_argument(
        "--activation",
        type=arguments.OneOf(ACTIVATIONS, ACTIVATION_SETTINGS),
        metavar="NAME",
        help=f"of the hidden layers: {', '.join(ACTIVATIONS)}; leaky_relu:0.2 sets the slope",
    )
    group.add_argument(
        "--init",
        type=arguments.OneOf(RULES, {"normal": Normal, "uniform": Uniform}),
        metavar="NAME",
        help=f"first weights: {', '.join(RULES)}; normal:3 sets the deviation, uniform:3 the limit",
    )
    group.add_argument(
        "--learning-rate", type=arguments.positive_float, metavar="RATE", help="alpha"
    )
    group.add_argument(
        "--batch-size", type=arguments.positive_int, metavar="N", help="rows a step"
    )
    group.add_argument(
        "--epochs", type=arguments.positive_int, metavar="N", help="passes over the rows"
    )


def run(args: argparse.Namespace) -> int:
    given = {name: value for name in SETTINGS if (value := getattr(args, name)) is not None}
    if args.trouble and (given or args.problem):
        first = arguments.option(next(iter(given))) if given else args.problem
        raise BadUse(f"--trouble has problems and settings of its own, got {first}")
    if args.html is not None:
        output.check_writable(args.html, "--html")
    return _page(args, given) if args.html is not None else _text(args, given)


def _page(args: argparse.Namespace, given: dict[str, Any]) -> int:
    from fastnn.learn.page import learn_page

    whole = not (args.compare or args.trouble)
    name, settings = args.problem or "xor", None
    run = None
    comparisons = {}
    if not args.trouble:
        run, settings = _run(name, given, args.seed)
        comparisons = {
            one: _compared(one, run, settings) for one in _names(args.compare, COMPARISONS, whole)
        }
    cases = _cases(_names(args.trouble, TROUBLES, whole), args.seed)
    html = learn_page(run if whole else None, comparisons, cases)
    output.replace_bytes(args.html, html.encode())
    print(f"written     {args.html}")
    return 0


def _text(args: argparse.Namespace, given: dict[str, Any]) -> int:
    from fastnn.learn import terminal

    screen = _screen()
    if args.trouble:
        for n, case in enumerate(_cases(_names(args.trouble, TROUBLES), args.seed).values()):
            _print([""] * bool(n), terminal.case_text(case, screen))
        return 0
    name = args.problem or "xor"
    run, settings = _run(name, given, args.seed)
    if args.compare:
        for n, one in enumerate(_names(args.compare, COMPARISONS)):
            comparison, runs = _compared(one, run, settings)
            _print([""] * bool(n), terminal.comparison_text(comparison, runs, screen))
        return 0
    _print(terminal.run_text(run, screen))
    other = "circles" if name == "xor" else "xor"
    print(f"""
next: fastnn learn {other}
      fastnn learn {name} --compare activation
      fastnn learn --trouble all
      fastnn learn {name} --html {name}.html""")
    return 0


def _run(name: str, given: dict[str, Any], seed: int) -> tuple[Run, Settings]:
    from fastnn.learn import experiments, problems

    settings = replace(experiments.DEFAULTS[name], **given)
    return experiments.run(problems.make(name, seed), settings, seed), settings


def _compared(name: str, run: Run, settings: Settings) -> tuple[Comparison, dict[str, Run]]:
    """The comparison, and its runs, among them the one that there is."""
    from fastnn.learn import experiments

    comparison = experiments.compared(name, settings)
    runs = {
        label: run if one == settings else experiments.run(run.problem, one, run.seed)
        for label, one in comparison.settings.items()
    }
    return comparison, runs


def _cases(names: Iterable[str], seed: int) -> dict[str, Case]:
    from fastnn.learn.troubles import case

    return {name: case(name, seed) for name in names}


def _names(chosen: str | None, known: tuple[str, ...], by_default: bool = False) -> tuple[str, ...]:
    if chosen is None:
        return known if by_default else ()
    return known if chosen == "all" else (chosen,)


def _screen() -> Screen:
    from fastnn.learn.terminal import Screen

    colours = (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")  # https://no-color.org
        and os.environ.get("TERM") != "dumb"
    )
    try:
        "▀░█·−".encode(getattr(sys.stdout, "encoding", None) or "ascii")
        unicode = True
    except (UnicodeEncodeError, LookupError):
        unicode = False
    return Screen(shutil.get_terminal_size().columns, colours, unicode)


def _print(*parts: Iterable[str]) -> None:
    for part in parts:
        for line in part:
            print(line)
