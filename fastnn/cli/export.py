"""``fastnn export``: a model file -> an ONNX file."""

from __future__ import annotations

import argparse

from fastnn.cli.common import output

HELP = "write a model as an ONNX file, for ONNX Runtime and others"
DESCRIPTION = """Write a model, or an ensemble, as an ONNX file. What fastnn train found out about
the columns becomes part of it, so it reads rows as the data file has them: numbers alone as one
input X, in the order shown; with text or dates among them, each column as an input under its own
name, dates as int64, microseconds since 1970."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, of a network or an ensemble")
    parser.add_argument("onnx", metavar="FILE.onnx", help="where to write")


def run(args: argparse.Namespace) -> int:
    import fastnn
    import fastnn.onnx
    from fastnn.cli.common.model_file import load
    from fastnn.onnx.file import interface
    from fastnn.tables.inputs import TableInputs

    output.check_writable(args.onnx, "FILE.onnx")
    model = load(args.model)
    fastnn.onnx.export(model, args.onnx)
    print(f"{'written':11} {args.onnx}")
    inputs, outputs = interface(args.onnx)
    for title, entries in (("input", inputs), ("output", outputs)):
        for name, kind, shape in entries:
            print(f"{title:11} {name} ({', '.join(map(str, shape))}) {kind}")
    columns = model.columns if isinstance(model, fastnn.Model) else model.columns_
    if columns is not None and isinstance(columns.inputs, TableInputs) and len(inputs) == 1:
        print(f"{'columns':11} {', '.join(columns.inputs.names)}")
    return 0
