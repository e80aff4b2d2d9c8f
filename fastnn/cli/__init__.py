"""The command line: ``fastnn train | tune | predict | evaluate | info | serve | export | ...``.

Standard output holds results only; progress, notes, warnings and errors go to standard error.
Exit status: 0 done, 2 bad use (arguments, data files), 1 failure, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

import fastnn
from fastnn.cli import (
    bench,
    completion,
    demo,
    evaluate,
    export,
    import_,
    info,
    learn,
    predict,
    serve,
    train,
    tune,
    verify,
)
from fastnn.cli.common.messages import BadUse, Failure, note, warn
from fastnn.tables.table import TableWarning

COMMANDS = {
    "train": train,
    "tune": tune,
    "predict": predict,
    "evaluate": evaluate,
    "info": info,
    "serve": serve,
    "export": export,
    "import": import_,
    "demo": demo,
    "learn": learn,
    "bench": bench,
    "verify": verify,
    "completion": completion,
}
INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + SIGINT and 128 + SIGPIPE, as shells have it

EXAMPLES = """examples:
  fastnn train flowers.csv --target species
  fastnn predict flowers.safetensors new.csv -o predictions.csv
  fastnn evaluate flowers.safetensors test.csv
  fastnn export flowers.safetensors flowers.onnx
"""


class _Parser(argparse.ArgumentParser):
    """Complains in one line, like everything here, and names what may have been meant."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if choice:
            message += _meant(choice[1], re.findall(r"[\w-]+", choice[2]))
        raise BadUse(f"{message} (see {self.prog} --help)")

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """What a command does not know it refuses itself: its help is the one to see."""
        if self._subparsers is None:  # before anything is missed that it may stand for
            for word in takewhile(lambda word: word != "--", args or ()):
                option = word.partition("=")[0]
                if option.startswith("--") and option not in self._option_string_actions:
                    self._refuse("unknown option", option)
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse("unexpected argument:", unknown[0])
        return known, unknown

    def _refuse(self, what: str, word: str) -> NoReturn:
        self.error(f"{what} {word}{_meant(word, self._option_string_actions)}")


def _meant(word: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastnn",
        description="Train feed-forward neural networks on CPUs, and predict with them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastnn {fastnn.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.HELP, description=module.DESCRIPTION, allow_abbrev=False
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    commands.choices["completion"].set_defaults(parser=parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
        if args.command is None:
            raise BadUse(f"a command must be given: {', '.join(COMMANDS)} (see fastnn --help)")
        with warnings.catch_warnings():
            warnings.simplefilter("always", TableWarning)
            warnings.showwarning = warn  # type: ignore[assignment]
            status: int = args.run(args)
        sys.stdout.flush()
        return status
    except (BadUse, ValueError) as error:  # ValueError: the library says what must hold
        return _fail(error, 2)
    except BrokenPipeError:  # whoever read our output has had enough
        # Python flushes standard output once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt as error:
        note(str(error) or "interrupted")
        return INTERRUPTED
    except (Failure, fastnn.FastnnError, OSError, MemoryError) as error:
        return _fail(error, 1)


def _fail(error: object, status: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"fastnn: error: {text}", file=sys.stderr)
    return status
