"""OpenVINO: latency hint, float32, shared memory in and out."""

from __future__ import annotations

import numpy as np
import openvino

from bench.entrants.base import Entrant, fastest_call
from bench.entrants.onnx_model import onnx_bytes
from bench.workloads import Problem


class OpenVino(Entrant):
    def __init__(self, problem: Problem) -> None:
        core = openvino.Core()
        model = core.read_model(onnx_bytes(problem), b"")
        self.compiled = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": problem.n_threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": "f32",
                "ENABLE_CPU_PINNING": False,  # the process is pinned
            },
        )
        self.request = self.compiled.create_infer_request()
        ways = {"infer": self.infer, "bound tensor": self.bound}
        self.variant, self.predict = fastest_call(ways, problem.X)

    def infer(self, X: np.ndarray) -> np.ndarray:
        result = self.request.infer([X], share_inputs=True, share_outputs=True)
        return result[0].copy()

    def bound(self, X: np.ndarray) -> np.ndarray:
        """Below `infer`'s conversions: a tensor that shares X's memory."""
        x = openvino.Tensor(X, shared_memory=True)
        openvino._pyopenvino.InferRequest.infer(self.request, x, True, True)
        return self.request.get_output_tensor().data.copy()
