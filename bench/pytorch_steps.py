"""Training steps of fastnn and of PyTorch written by hand, interleaved in one process.

    python bench/pytorch_steps.py [--threads 1] [--rounds 9] [--mkl-as-intel] [--write]

PyTorch is used as an expert would for such a network: no autograd, no DataLoader, everything
preallocated, `addmm` into buffers, the update as `addmm_` straight into the weights; with the
weights stored either way round, the faster counts. Both take the same rows in the same order from
the same weights and must report the same losses. --write puts the result into bench/results/.

PyTorch's MKL takes slower paths on CPUs that are not Intel's. --mkl-as-intel tells it otherwise
(needs a C compiler): the stronger opponent there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--mkl-as-intel", action="store_true")
parser.add_argument("--write", action="store_true")
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

if options.mkl_as_intel and "FASTNN_BENCH_PRELOADED" not in os.environ:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libmkl_as_intel.so"
        code = "int mkl_serv_intel_cpu_true(void) { return 1; }"
        compiler = ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(library)]
        subprocess.run(compiler, input=code, text=True, check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "FASTNN_BENCH_PRELOADED": "1"}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment).returncode)

import numpy as np  # noqa: E402
import torch  # noqa: E402

import fastnn  # noqa: E402
from fastnn.kernels import _cpu  # noqa: E402
from fastnn.kernels.engine import Engine  # noqa: E402

torch.set_num_threads(options.threads)
RATE = 0.01
WORKLOADS = [  # sizes, batch, steps a round
    ((64, 64, 10), 32, 400),
    ((784, 128, 10), 128, 100),
    ((784, 512, 512, 10), 128, 20),
    ((1024, 2048, 2048, 1000), 256, 4),
]


class Fastnn:
    def __init__(self, model, X, y, batch):
        ids = [_cpu.ACTIVATIONS["relu"]] * (len(model.sizes) - 2)
        self.engine = Engine(
            model.sizes,
            ids,
            _cpu.OUTPUTS["softmax"],
            _cpu.LOSSES["cross_entropy"],
            [True] * (len(model.sizes) - 1),
            "float32",
            batch,
        )
        self.engine.load(model.theta)
        self.X, self.y, self.batch = X, y.astype(np.int32), batch

    def train(self, order):
        losses = np.empty(len(order) // self.batch)
        self.engine.train(self.X, self.y, order, self.batch, RATE, 0.0, losses, options.threads)
        return losses


class PyTorch:
    """transposed: weights stored (n_in, n_out) instead of (n_out, n_in)."""

    def __init__(self, model, X, y, batch, transposed):
        self.transposed, self.batch = transposed, batch
        self.W = [torch.tensor(W.T.copy() if transposed else W) for W in model.W]
        self.b = [torch.tensor(b) for b in model.b]
        self.X, self.y = (
            torch.tensor(X),
            torch.nn.functional.one_hot(torch.tensor(y), model.sizes[-1]).float(),
        )
        self.h = [torch.empty(batch, n) for n in model.sizes]
        self.delta = [torch.empty(batch, n) for n in model.sizes]
        self.target = torch.empty(batch, model.sizes[-1])
        self.b_grad = [torch.empty(n) for n in model.sizes[1:]]

    @torch.inference_mode()
    def train(self, order):
        W, b, h, delta, K = self.W, self.b, self.h, self.delta, len(self.W)
        order = torch.from_numpy(order)
        losses = torch.empty(len(order) // self.batch)
        for s in range(len(losses)):
            rows = order[s * self.batch : (s + 1) * self.batch]
            torch.index_select(self.X, 0, rows, out=h[0])
            torch.index_select(self.y, 0, rows, out=self.target)
            for k in range(K):
                torch.addmm(b[k], h[k], W[k] if self.transposed else W[k].t(), out=h[k + 1])
                if k + 1 < K:
                    h[k + 1].relu_()
            log_p = torch.log_softmax(h[K], 1)
            losses[s] = -torch.dot(log_p.view(-1), self.target.view(-1)) / self.batch
            torch.exp(log_p, out=delta[K]).sub_(self.target).mul_(1 / self.batch)
            for k in range(K - 1, 0, -1):
                torch.mm(delta[k + 1], W[k].t() if self.transposed else W[k], out=delta[k])
                torch.ops.aten.threshold_backward.grad_input(delta[k], h[k], 0, grad_input=delta[k])
            for k in range(K):
                torch.sum(delta[k + 1], 0, out=self.b_grad[k])
                b[k].sub_(self.b_grad[k], alpha=RATE)
                if self.transposed:
                    W[k].addmm_(h[k].t(), delta[k + 1], alpha=-RATE)
                else:
                    W[k].addmm_(delta[k + 1].t(), h[k], alpha=-RATE)
        return losses.numpy()


def measure(sizes, batch, steps):
    rng = np.random.default_rng(0)
    X = rng.random((batch * 32, sizes[0]), dtype="f4")
    y = rng.integers(0, sizes[-1], len(X))
    model = fastnn.Model(sizes, seed=0)
    order = np.concatenate([rng.permutation(len(X)) for _ in range(-(-steps // 32))])[
        : steps * batch
    ]
    entrants = {
        "fastnn": Fastnn(model, X, y, batch),
        "pytorch": PyTorch(model, X, y, batch, False),
        "pytorch, W transposed": PyTorch(model, X, y, batch, True),
    }
    first = {
        name: entrant.train(order) for name, entrant in entrants.items()
    }  # warm-up; the same work
    for name, losses in first.items():
        # Later steps drift apart: rounding differs, and a ReLU near 0 falls to either side.
        np.testing.assert_allclose(losses[:10], first["fastnn"][:10], rtol=1e-4, err_msg=name)
    times = {name: [] for name in entrants}
    for _ in range(options.rounds):
        for name, entrant in entrants.items():
            time.sleep(0.15)  # the entrant before may still spin
            start = time.perf_counter()
            entrant.train(order)
            times[name].append((time.perf_counter() - start) / steps)
    best = min(times["pytorch"], times["pytorch, W transposed"], key=statistics.median)
    ratios = [theirs / ours for theirs, ours in zip(best, times["fastnn"], strict=True)]
    return {
        "sizes": sizes,
        "batch": batch,
        "us_a_step": {name: [round(1e6 * t, 2) for t in ts] for name, ts in times.items()},
        "median_us": {name: round(1e6 * statistics.median(ts), 2) for name, ts in times.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
    }


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


commit = subprocess.run(
    ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
).stdout.strip()
result = {
    "what": "us a training step: relu, softmax, cross-entropy, plain SGD, float32; "
    "ratio: PyTorch (the faster layout) / fastnn, median over interleaved rounds",
    "date": time.strftime("%Y-%m-%d"),
    "cpu": cpu_name(),
    "isa": _cpu.isa(),
    "threads": options.threads,
    "mkl_as_intel": options.mkl_as_intel,
    "python": platform.python_version(),
    "numpy": np.__version__,
    "torch": torch.__version__,
    "compiler": _cpu.build_info()["compiler"],
    "fastnn": fastnn.__version__,
    "commit": commit,
    "workloads": [],
}
for workload in WORKLOADS:
    row = measure(*workload)
    result["workloads"].append(row)
    us = row["median_us"]
    theirs = min(us["pytorch"], us["pytorch, W transposed"])
    print(
        f"{'-'.join(map(str, row['sizes'])):20} batch {row['batch']:4}"
        f"  fastnn {us['fastnn']:9.1f} us  PyTorch {theirs:9.1f} us"
        f"  ratio {row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})",
        flush=True,
    )
if options.write:
    opponent = "pytorch-mkl-as-intel" if options.mkl_as_intel else "pytorch"
    name = f"{opponent}-{result['date']}-{_cpu.isa()}-{options.threads}threads.json"
    path = Path(__file__).parent / "results" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print("wrote", path.relative_to(Path(__file__).parents[1]))
