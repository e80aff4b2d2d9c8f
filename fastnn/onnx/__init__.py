"""ONNX: models out, to ONNX Runtime and others, and in, from PyTorch, Keras, scikit-learn.

Needs the package onnx. docs/to_onnx_runtime.md shows both ways; what of other libraries'
files can be taken stands in docs/from_pytorch.md and docs/from_keras.md.
"""

from __future__ import annotations

import os
from os import PathLike
from typing import Any

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.interop import from_sklearn
from fastnn.interop import steps as chain
from fastnn.model import Model
from fastnn.names import LossName, OutputName
from fastnn.network.activations import Activation
from fastnn.network.losses import Loss
from fastnn.onnx import ensemble, file, kept, quantized, structure, write
from fastnn.quantized.predictor import Int8Predictor
from fastnn.tabular.estimators import Tabular

__all__ = ["export", "load"]


def export(model: Model | Any, path: str | PathLike[str]) -> None:
    """Write a model, or a fitted estimator, as an ONNX file.

    Gemm and the activations in opset 17, which `load` and any runtime of the last years read. The
    number of rows is free. The file takes its place at `path` once it is whole and onnx.checker has
    passed it.

    Inputs and outputs, by name:

    ========  =======================  ==========================================================
    X         (n, n_in)                the inputs, of the model's dtype (input_scale, which is for
                                       integers, is no part of it)
    f         (n, n_out)               h^(K) of each row, as ``model.forward`` gives it
    label     (n,)                     only with names of classes: the likeliest one's
    ========  =======================  ==========================================================

    The names of classes are ``model.classes`` or ``metadata["classes"]``. Of a model that learned
    columns, how they become numbers is part of the graph. Then X is (n, columns), in the order of
    training, as the table has it; float64, of arrays the model's dtype. Where columns hold text or
    dates, each column is an input (n, 1) under its own name:

    ========  =======  ===========================================================================
    number    float64  NaN is missing
    text      string   "", "?", "NA", ... are missing; True and 3.0 are "True" and "3"
    date      int64    microseconds since 1970, ``t.astype("datetime64[us]").astype("int64")``
    ========  =======  ===========================================================================

    Text that the model does not know counts as none of the categories, as in prediction. A
    predicted amount comes in its own unit.

    A classifier of fastnn, fastnn.sklearn or scikit-learn gives what it gives there: label, of its
    classes, (n,) or of several labels each (n, n_outputs) of 0 and 1; and probabilities (n,
    n_classes) in place of f. A regressor gives f (n, n_outputs). Of `TabularClassifier` and
    `TabularRegressor` all members, their weights and the calibration are in the graph; its numbers
    are float64 outside of the networks, X of arrays, f and probabilities among them.

    A predictor that `Model.quantize` calibrated has X and f of float32. Its graph has a
    QuantizeLinear and a DequantizeLinear before each layer, and weights of int8 with a scale for
    each unit, from which runtimes make products of 8 bits. `load` does not read it back.

    Parameters
    ----------
    model : fastnn.Model, TabularClassifier, TabularRegressor, what `Model.quantize` gives, or an
        estimator or pipeline that `fastnn.interop.from_sklearn` takes
    path : path
        Such as "model.onnx".

    Raises
    ------
    MissingExtraError
        The package onnx is not installed.
    TypeError
        `model` is neither.
    ValueError
        The weights are more than a file of this kind holds, 2 GiB; or the estimator is not fitted;
        or the predictor in 8 bits is not calibrated.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import onnx
    >>> import fastnn
    >>> fastnn.onnx.export(fastnn.Model([4, 8, 3], seed=0), "net.onnx")
    >>> len(onnx.load("net.onnx").graph.output)
    1
    """
    if isinstance(model, Model):
        proto = write.as_proto(model)
    elif isinstance(model, Tabular):
        proto = ensemble.as_proto(model)
    elif isinstance(model, Int8Predictor):
        proto = quantized.as_proto(model)
    elif hasattr(model, "get_params"):
        proto = write.as_proto(from_sklearn(model), hasattr(model, "predict_proba"))
    else:
        raise TypeError(f"model must be a fastnn.Model or an estimator, got {model!r:.100}")
    write.write(proto, path)


def load(
    path: str | PathLike[str],
    *,
    output: OutputName | Activation | None = None,
    loss: LossName | Loss | None = None,
) -> Model:
    """Load a sequential network from an ONNX file.

    Linear layers (Gemm, MatMul, Add), activations, and what disappears in them: normalisation is
    folded into the nearest linear layer, Dropout, Identity, Cast and Flatten are left out. Rows of
    more than one dimension are laid out flat. Of two classes from one sigmoid the model has that
    sigmoid. Names of classes become ``metadata["classes"]``. A file of `export` comes back as the
    same model: the same bits in the weights, the same loss and metadata; one of a model with
    embeddings, feature_scale or parametric activations as long as its graph is as it was written.
    Ensembles do not come back.

    What loads computes what the graph does, up to rounding; anything else is refused.

    Parameters
    ----------
    path : path
        External data is read from files beside it.
    output : str or object, optional
        The output of `Model`, where the file ends in a linear layer because the activation was the
        training loss's. By default "identity" there. "softmax" takes a LogSoftmax at the end for a
        Softmax; otherwise it is refused.
    loss : str or object, optional
        As of `Model`.

    Returns
    -------
    Model
        Of the file's dtype, float32 for narrower ones; float64 also where a mean of the inputs is
        more than 1000 deviations from 0.

    Raises
    ------
    MissingExtraError
        The package onnx is not installed.
    ModelFileError
        The file is damaged, or not a sequential network; the error names the node, its operator
        and the reason.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import onnx
    >>> import fastnn
    >>> fastnn.onnx.export(fastnn.Model([4, 8, 3], seed=0), "net.onnx")
    >>> fastnn.onnx.load("net.onnx").sizes
    [4, 8, 3]
    """
    proto = file.read(path)
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused where it is used
            model = _as_model(proto, output, loss)
            model.columns  # noqa: B018  what is damaged shows now
            return model
    except ValueError as error:  # ModelFileError among them
        line = " ".join(str(error).splitlines())  # names in the file may have several
        raise ModelFileError(f"{os.fspath(path)!s}: {line}") from None


def _as_model(proto: Any, output: Any, loss: Any) -> Model:
    ours = kept.properties(proto)
    whole = kept.as_written(proto, ours, output, loss)
    if whole is not None:
        return whole
    network = structure.sequential(
        proto, ours.get("begin"), ours.get("end"), no_logarithm=output == "softmax"
    )
    metadata = ours.get("metadata", {})
    if network.classes is not None and "data" not in metadata:
        metadata.setdefault("classes", list(network.classes))
    model = chain.as_model(
        network.steps,
        network.width,
        output=output,
        loss=loss,
        dtype=network.dtype,
        metadata=metadata,
    )
    return kept.as_it_was(model, ours) if output is None and loss is None else model
