"""A predictor in 8 bits as an ONNX graph, the way runtimes write such networks:

    X -> QuantizeLinear, DequantizeLinear -> Gemm, activation -> QuantizeLinear, ... -> f

of codes u = 0..255 and of weights w = -127..127 with a scale for each unit, which go through a
DequantizeLinear, too; b is an integer of 32 bits in units of the product's scale. A runtime that
knows the pattern multiplies the integers. docs/maths.md, section 12.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.interop.steps import Plain
from fastnn.onnx import write
from fastnn.onnx.file import onnx_package
from fastnn.onnx.graph import Graph
from fastnn.quantized.predictor import Int8Predictor
from fastnn.quantized.weights import Codes, Int8Layer

B_MAX = 2**30  # of b's integers: beyond it their sum with the products' might leave 32 bits


def as_proto(predictor: Int8Predictor) -> Any:
    """The ModelProto."""
    onnx_package()
    if predictor.activations != "calibrated":
        raise ValueError(
            "a predictor to be exported must be calibrated, this one gives each row a range of its "
            "own, which ONNX has no operator for (DynamicQuantizeLinear takes one of all rows): "
            'quantize with activations="calibrated"'
        )
    network = predictor._network
    write.check_size(sum(own.w.nbytes for own in predictor._layers))
    graph = Graph("float32")
    h = graph.input("X", (network.sizes[0],), "float32")
    for k, (of, own) in enumerate(zip(network.layers, predictor._layers, strict=True), 1):
        assert own.codes is not None
        epsilon = 0.0 if of.norm is None else of.norm.epsilon
        plain = Plain(own.w, own.b, of.activation, own.gamma, epsilon, own.alpha)
        h = _layer(graph, k, h, own, own.codes, plain)
    graph.node("Identity", h, result=graph.output("f", (network.n_out,), "float32"))
    return graph.proto({"estimator": type(predictor).__name__})


def _layer(graph: Graph, k: int, h: str, own: Int8Layer, codes: Codes, of: Plain) -> str:
    scale, zero = graph.number(f"s{k}", codes.scale), graph.number(f"z{k}", codes.zero, "uint8")
    u = graph.node("QuantizeLinear", h, scale, zero)
    h = graph.node("DequantizeLinear", u, scale, zero)
    w, zeros = graph.number(f"w{k}", own.w, "int8"), np.zeros(len(own.w))
    of_w = graph.number(f"s{k}_w", own.scale), graph.number(f"z{k}_w", zeros, "int8")
    W = graph.node("DequantizeLinear", w, *of_w, axis=0)
    if own.b is None or own.gamma is not None:
        b = None if own.b is None else graph.number(f"b{k}", own.b)
        return write.layer(graph, k, h, W, b, of)
    unit = np.float32(codes.scale) * own.scale
    with np.errstate(divide="ignore", invalid="ignore"):
        integers = np.rint(own.b.astype(np.float64) / unit)
    if not (np.abs(integers) <= B_MAX).all():
        return write.layer(graph, k, h, W, graph.number(f"b{k}", own.b), of, apart=True)
    b = graph.number(f"b{k}", integers, "int32")
    b = graph.node("DequantizeLinear", b, graph.number(f"s{k}_b", unit), axis=0)
    return write.layer(graph, k, h, W, b, of)
