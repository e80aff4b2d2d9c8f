"""``fastnn info``: what a model file holds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnn import Model

HELP = "show what a model file holds"
DESCRIPTION = "Show what a model file holds: network, inputs, target and how it was trained."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, or an ONNX file")
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.common.model_file import is_ensemble, load_with_columns

    model, columns = load_with_columns(args.model)
    plain = not is_ensemble(model)
    if args.json:
        content = network_content(model) if plain else ensemble_content(model)
        json.dump(content, sys.stdout, indent=2, ensure_ascii=False)
        print()
        return 0
    lines = [("model", args.model)]
    if plain:
        lines += [*network_lines(model), *columns.lines()]
    else:
        lines += [("estimator", repr(model)), *model._lines()]
    if (version := bits_version(model)) is not None:
        lines.append(("bits", f"version {version}"))
    for name, value in lines:
        print(f"{name:11} {value}".rstrip())
    training = model.metadata.get("training", {}) if plain else {}
    if training:
        print("training")
    for name, value in training.items():
        print(f"  {name:14} {value}")
    return 0


def bits_version(model: Any) -> int | None:
    """Of the arithmetic that trained a Model or a tabular estimator; None where fastnn did not."""
    from fastnn.cli.common.model_file import is_ensemble

    if is_ensemble(model):
        return int(model._ensemble.bits_version)
    parameters = model._parameters
    return parameters.bits_version if parameters.trained else None


def network_content(model: Any) -> dict[str, Any]:
    """A Model for programs."""
    from fastnn.network.activations import described
    from fastnn.network.losses import to_json
    from fastnn.network.norms import described as norm_to_json

    return {
        "sizes": model.sizes,
        "activations": [described(one) for one in model.activations],
        "output": described(model.output),
        "loss": to_json(model.loss),
        "norm": [norm_to_json(one) for one in model.norm],
        "dtype": model.dtype,
        "compute_dtype": model.compute_dtype,
        "parameters": model.n_parameters,
        "bits_version": bits_version(model),
        "metadata": model.metadata,
    }


def ensemble_content(model: Any) -> dict[str, Any]:
    """A tabular estimator for programs."""
    from fastnn.tabular.recipes import to_json

    return {
        "estimator": type(model).__name__,
        "settings": {name: to_json(value) for name, value in model.get_params().items()},
        "networks": len(model._ensemble.members),
        "parameters": model._ensemble.n_parameters,
        "bits_version": bits_version(model),
        "trained": to_json(model._pack),
        "scores": model.scores_,
        "columns": model.columns_.to_dict(),
    }


def network_lines(model: Model) -> list[tuple[str, str]]:
    from fastnn.network.summary import dtypes_of

    names = [str(one) for one in model.activations]
    hidden = f", {'/'.join(names if len(set(names)) > 1 else names[:1])} hidden units"
    inputs = [repr(one) for one in model.embeddings] + ["feature_scale"] * model.feature_scale
    norms = "/".join(one.name if one else "none" for one in model.norm)
    return [
        (
            "network",
            f"{'-'.join(map(str, model.sizes))}{hidden if names else ''}, {model.output} output",
        ),
        *([("inputs", ", ".join(inputs))] if inputs else []),
        *([("norm", norms)] if any(model.norm) else []),
        ("parameters", f"{model.n_parameters:,} ({dtypes_of(model._network)})"),
    ]
