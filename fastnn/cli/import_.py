"""``fastnn import``: an ONNX file -> a model file."""

from __future__ import annotations

import argparse

from fastnn.cli.common import output
from fastnn.kernels._cpu import LOSSES, OUTPUTS

HELP = "read a network from an ONNX file, of PyTorch, Keras, scikit-learn or fastnn export"
DESCRIPTION = """Read a sequential network from an ONNX file and write it as a model file. What is
no such network is refused with the node's name. predict, evaluate and info read an ONNX file also
as it is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("onnx", metavar="FILE.onnx", help="ONNX file")
    parser.add_argument("model", help="where to write the model file")
    parser.add_argument(
        "--output",
        choices=["softmax", *OUTPUTS],
        metavar="NAME",
        help="activation of the output, where the file ends before it because it belonged to the "
        "training loss: softmax, sigmoid, ...",
    )
    parser.add_argument(
        "--loss", choices=list(LOSSES), metavar="NAME", help="(default: follows the output)"
    )


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.common.model_file import load
    from fastnn.cli.info import network_lines

    output.check_writable(args.model, "model")
    model = load(args.onnx, output=args.output, loss=args.loss)
    model.save(args.model)
    print(f"{'written':11} {args.model}")
    for name, value in network_lines(model):
        print(f"{name:11} {value}")
    return 0
