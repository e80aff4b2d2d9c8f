"""ONNX Runtime: all graph optimisations; plain `run`, or bound buffers where they are faster."""

from __future__ import annotations

import numpy as np
import onnxruntime

from bench.entrants.base import Entrant, fastest_call
from bench.entrants.onnx_model import onnx_bytes
from bench.workloads import Problem


class OnnxRuntime(Entrant):
    def __init__(self, problem: Problem) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = problem.n_threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            onnx_bytes(problem), options, providers=["CPUExecutionProvider"]
        )
        # The layer below `run` without its checks of names
        self.inner = self.session._sess
        self.shape = problem.workload.batch, problem.workload.sizes[-1]
        self.binding = self.session.io_binding()
        ways = {"run": self.plain, "run, unchecked": self.unchecked, "bound": self.bound}
        self.variant, self.predict = fastest_call(ways, problem.X)

    def plain(self, X: np.ndarray) -> np.ndarray:
        return self.session.run(["h"], {"x": X})[0]

    def unchecked(self, X: np.ndarray) -> np.ndarray:
        return self.inner.run(["h"], {"x": X}, None)[0]

    def bound(self, X: np.ndarray) -> np.ndarray:
        out = np.empty(self.shape, "f4")
        self.binding.bind_input("x", "cpu", 0, np.float32, X.shape, X.ctypes.data)
        self.binding.bind_output("h", "cpu", 0, np.float32, self.shape, out.ctypes.data)
        self.session.run_with_iobinding(self.binding)
        return out
