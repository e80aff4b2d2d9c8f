"""The commands of the benchmarks; `python -m bench --help`."""

from __future__ import annotations

import argparse

import bench
from bench import (
    before,
    bfloat16,
    estimators,
    imports,
    int8,
    linear,
    many,
    report,
    rows,
    run,
    serve,
    streams,
    sweep,
    threads,
    zeros,
)
from bench.tables import run as tables


def main() -> None:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("bench", description=bench.__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(required=True, metavar="command")
    modules = {"run": run, "report": report, "sweep": sweep, "threads": threads}
    modules |= {"estimators": estimators, "many": many, "tables": tables, "before": before}
    modules |= {"rows": rows, "streams": streams, "zeros": zeros, "int8": int8}
    modules |= {"linear": linear, "imports": imports, "serve": serve}
    modules["bfloat16"] = bfloat16
    for name, module in modules.items():
        command = commands.add_parser(name, help=module.__doc__.splitlines()[0].split(": ")[1])
        module.add_arguments(command)
        command.set_defaults(main=module.main)
    options = parser.parse_args()
    options.main(options)


if __name__ == "__main__":
    main()
