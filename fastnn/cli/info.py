"""``fastnn info``: what a model file holds."""

from __future__ import annotations

import argparse
import json
import sys

from fastnn.cli.messages import listed
from fastnn.tables.columns import ArrayInputs, Categorical, Classes, Data, UndescribedInputs

HELP = "show what a model file holds"
DESCRIPTION = "Show what a model file holds: network, inputs, target and how it was trained."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, or an ONNX file")
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.model_file import load_with_data
    from fastnn.network.activations import described
    from fastnn.network.losses import to_json
    from fastnn.network.norms import described as norm_to_json

    model, data = load_with_data(args.model)
    training = model.metadata.get("training", {})
    if args.json:
        content = {
            "sizes": model.sizes,
            "activations": [described(one) for one in model.activations],
            "output": described(model.output),
            "loss": to_json(model.loss),
            "norm": [norm_to_json(one) for one in model.norm],
            "dtype": model.dtype,
            "parameters": model.n_parameters,
            "metadata": model.metadata,
        }
        json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    print(f"model       {args.model}")
    for name, value in network_lines(model):
        print(f"{name:11} {value}")
    for name, value in data_lines(data):
        print(f"{name:11} {value}")
    if training:
        print("training")
    for name, value in training.items():
        print(f"  {name:14} {value}")
    return 0


def network_lines(model) -> list[tuple[str, str]]:
    names = [str(one) for one in model.activations]
    hidden = f", {'/'.join(names if len(set(names)) > 1 else names[:1])} hidden units"
    norms = "/".join(one.name if one else "none" for one in model.norm)
    return [
        (
            "network",
            f"{'-'.join(map(str, model.sizes))}{hidden if names else ''}, {model.output} output",
        ),
        *([("norm", norms)] if any(model.norm) else []),
        ("parameters", f"{model.n_parameters:,} ({model.dtype})"),
    ]


def data_lines(data: Data) -> list[tuple[str, str]]:
    lines = []
    inputs = data.inputs
    if isinstance(inputs, UndescribedInputs):
        lines.append(("inputs", f"{inputs.width} columns in their order, or arrays"))
    elif isinstance(inputs, ArrayInputs):
        lines.append(("inputs", f"arrays (n, {', '.join(map(str, inputs.shape))})"))
    else:
        lines.append(("inputs", f"{len(inputs.columns)} columns, {inputs.width} features"))
        for column in inputs.columns:
            if isinstance(column, Categorical):
                shown = listed((name or "(missing)" for name in column.categories), 6)
                lines.append(("", f"{column.name}: {shown}"))
            else:
                lines.append(("", f"{column.name}: (x - {column.shift:.6g}) / {column.scale:.6g}"))
    lines.append(("missing", {"refuse": "refused", "impute": "imputed"}[inputs.missing]))
    for i, target in enumerate(data.targets):
        title = "" if i else "target" if len(data.targets) == 1 else "targets"
        if isinstance(target, Classes):
            lines.append((title, f"{target.name}: {listed(target.classes)}"))
        else:
            lines.append((title, f"{target.name}: {target.shift:.6g} + {target.scale:.6g} f(x)"))
    return lines
