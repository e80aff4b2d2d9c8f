"""TorchScript: traced, frozen, optimised for inference."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from bench.entrants.base import Entrant
from bench.entrants.pytorch_eager import make_model
from bench.workloads import Problem


class TorchJit(Entrant):
    def __init__(self, problem: Problem) -> None:
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.set_num_threads(problem.n_threads)
        torch.set_flush_denormal(True)
        model = make_model(problem)
        if problem.workload.output == "softmax":
            model.append(torch.nn.Softmax(1))
        X = torch.from_numpy(problem.X)
        with torch.inference_mode():
            traced = torch.jit.freeze(torch.jit.trace(model.eval(), X))
            self.model = torch.jit.optimize_for_inference(traced)
            for _ in range(3):  # its executor specialises itself on the first calls
                self.model(X)

    @torch.inference_mode()
    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.model(torch.from_numpy(X)).numpy()
