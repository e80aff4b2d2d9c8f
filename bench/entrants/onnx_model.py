"""A Problem's network as an ONNX model, for ONNX Runtime and OpenVINO."""

from __future__ import annotations

from bench.workloads import Problem


def onnx_bytes(problem: Problem) -> bytes:
    """Gemm, Relu, ..., Gemm, Softmax; from "x" (batch, n_in) to "h" (batch, n_out)."""
    from onnx import TensorProto, helper, numpy_helper

    workload = problem.workload
    nodes, weights, name = [], [], "x"
    for k, (W, b) in enumerate(zip(problem.W, problem.b, strict=True), 1):
        weights += [numpy_helper.from_array(W, f"W{k}"), numpy_helper.from_array(b, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [name, f"W{k}", f"b{k}"], [f"a{k}"], transB=1))
        name = f"a{k}"
        if k < len(problem.W):
            kind = {"relu": "Relu", "sigmoid": "Sigmoid"}[workload.hidden]
            nodes.append(helper.make_node(kind, [name], [f"h{k}"]))
            name = f"h{k}"
    last = "Softmax" if workload.output == "softmax" else "Identity"
    nodes.append(helper.make_node(last, [name], ["h"]))

    def value(name, n):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [workload.batch, n])

    x, h = value("x", workload.sizes[0]), value("h", workload.sizes[-1])
    graph = helper.make_graph(nodes, "network", [x], [h], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()
