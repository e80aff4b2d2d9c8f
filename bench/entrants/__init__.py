"""The entrants, by name: where each one stands, what it needs, what it can do.

This list imports none of the libraries: each is imported in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from bench.workloads import Workload

ALL = frozenset({"sparse", "dropout", "norm"})


@dataclass(frozen=True)
class Listing:
    """The class `attribute` of bench.entrants.<name>."""

    name: str
    attribute: str
    title: str  # in tables
    package: str  # what is imported
    distributions: tuple[str, ...]  # whose versions are recorded
    kinds: tuple[str, ...] = ("train", "predict")
    does: frozenset[str] = frozenset()  # of what a workload needs, see Workload.needs
    uses_mkl: bool = False  # see bench/environment.py
    limits_isa: bool = True  # can be kept to older instructions; see bench/environment.py

    def missing(self, isa: str = "") -> str | None:
        """Why it cannot run here, limited to an instruction set where one is named; or None."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed"
        if isa and not self.limits_isa:
            return f"it cannot be limited to {isa}"
        return None

    def takes(self, workload: Workload) -> bool:
        return workload.kind in self.kinds and workload.needs <= self.does

    def load(self) -> type:
        return getattr(import_module(f"bench.entrants.{self.name}"), self.attribute)


def _torch(name: str, attribute: str, title: str, *kinds: str) -> Listing:
    kinds = kinds or ("train", "predict")
    return Listing(name, attribute, title, "torch", ("torch",), kinds, ALL, uses_mkl=True)


ENTRANTS = {
    listing.name: listing
    for listing in [
        Listing("fastnn", "Fastnn", "fastnn", "fastnn", (), does=ALL),
        _torch("pytorch_by_hand", "PyTorchByHand", "PyTorch by hand"),
        _torch("pytorch_compiled", "PyTorchCompiled", "PyTorch compiled"),
        _torch("pytorch_eager", "PyTorchEager", "PyTorch"),
        _torch("torch_jit", "TorchJit", "TorchScript", "predict"),
        Listing(
            "jax_scan", "JaxScan", "JAX", "jax", ("jax", "jaxlib"), does=ALL, limits_isa=False
        ),
        Listing(
            "tensorflow_xla",
            "TensorFlowXla",
            "TensorFlow XLA",
            "tensorflow",
            ("tensorflow", "tensorflow-cpu"),
            limits_isa=False,
        ),
        Listing(
            "scikit_learn",
            "ScikitLearn",
            "scikit-learn",
            "sklearn",
            ("scikit-learn",),
            does=frozenset({"sparse"}),
        ),
        Listing("numpy_by_hand", "NumpyByHand", "NumPy by hand", "numpy", ("numpy",)),
        Listing(
            "onnxruntime",
            "OnnxRuntime",
            "ONNX Runtime",
            "onnxruntime",
            ("onnxruntime", "onnx"),
            ("predict",),
            limits_isa=False,
        ),
        Listing("openvino", "OpenVino", "OpenVINO", "openvino", ("openvino",), ("predict",)),
    ]
}
