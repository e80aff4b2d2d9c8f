"""``fastnn export``: a model file -> an ONNX file, or one of C."""

from __future__ import annotations

import argparse
from typing import Any

from fastnn.cli.common import output
from fastnn.cli.common.messages import BadUse

HELP = "write a model as an ONNX file, for ONNX Runtime and others, or as C"
DESCRIPTION = """Write a model, or an ensemble, as an ONNX file. What fastnn train found out about
the columns becomes part of it, so it reads rows as the data file has them: numbers alone as one
input X, in the order shown; with text or dates among them, each column as an input under its own
name, dates as int64, microseconds since 1970. With --c a network becomes one C99 file that needs no
library; its columns must be numbers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, of a network or an ensemble")
    parser.add_argument("out", metavar="FILE", help="where to write, such as net.onnx or net.c")
    parser.add_argument("--c", action="store_true", help="write C99, with the weights in it")
    parser.add_argument(
        "--name", help="what names in the C file begin with (default: from the file's name)"
    )


def run(args: argparse.Namespace) -> int:
    import fastnn
    from fastnn.cli.common.model_file import load

    output.check_writable(args.out, "FILE")
    if args.name is not None and not args.c:
        raise BadUse("--name is for --c")
    model = load(args.model)
    if not args.c:
        return _onnx(model, args.out)
    if not isinstance(model, fastnn.Model):
        raise BadUse(f"{args.model}: --c takes a network, this is an ensemble")
    fastnn.c.export(model, args.out, name=args.name)
    print(f"{'written':11} {args.out}")
    return 0


def _onnx(model: Any, path: str) -> int:
    import fastnn.onnx
    from fastnn.onnx.file import interface
    from fastnn.tables.inputs import TableInputs

    fastnn.onnx.export(model, path)
    print(f"{'written':11} {path}")
    inputs, outputs = interface(path)
    for title, entries in (("input", inputs), ("output", outputs)):
        for name, kind, shape in entries:
            print(f"{title:11} {name} ({', '.join(map(str, shape))}) {kind}")
    columns = model.columns if isinstance(model, fastnn.Model) else model.columns_
    if columns is not None and isinstance(columns.inputs, TableInputs) and len(inputs) == 1:
        print(f"{'columns':11} {', '.join(columns.inputs.names)}")
    return 0
