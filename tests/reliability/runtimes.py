"""Other libraries with OpenMP runtimes of their own in one process."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys

from reliability.promises import NotHere, Seen, promise

PACKAGES = "fastnn", "lightgbm", "sklearn", "torch"

CODE = """
import os, sys, warnings
warnings.filterwarnings("ignore")
before = dict(os.environ)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
import hashlib
import numpy as np
import fastnn, lightgbm, torch
from sklearn.ensemble import HistGradientBoostingClassifier
X = np.random.default_rng(0).standard_normal((512, 300)).astype("f4")
y = np.arange(512) % 5
def ours():
    model = fastnn.Model([300, 500, 5], seed=1, n_threads=2)
    model.fit(X, y, epochs=2, batch_size=256, learning_rate=0.01)
    return model.theta.tobytes() + model.forward(np.tile(X, (8, 1))).tobytes()
def torchs():
    net = torch.nn.Sequential(torch.nn.Linear(300, 500), torch.nn.ReLU(), torch.nn.Linear(500, 5))
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    torch.nn.functional.cross_entropy(net(rows), labels).backward()
    with torch.no_grad():
        net(rows)
def sklearns():
    HistGradientBoostingClassifier(max_iter=3).fit(X[:, :20], y).predict(X[:, :20])
def lightgbms():
    data = lightgbm.Dataset(X[:, :20], y)
    settings = {"objective": "multiclass", "num_class": 5, "verbose": -1}
    lightgbm.train(settings, data, 3).predict(X[:, :20])
work = {"fastnn": lambda: None, "torch": torchs, "sklearn": sklearns, "lightgbm": lightgbms}
bits = {ours()}
for name in sys.argv[1:]:  # each beside the others, ours after each
    work[name]()
    bits.add(ours())
changed = {n for n in before.keys() | os.environ.keys() if before.get(n) != os.environ.get(n)}
print(len(bits), hashlib.sha256(bits.pop()).hexdigest(), ",".join(sorted(changed)) or "-")
"""

ALONE = """
import os
before = dict(os.environ)
import {}
print(*(n for n in before.keys() | os.environ.keys() if before.get(n) != os.environ.get(n)))
"""


@promise(
    "torch, scikit-learn and lightgbm in the process, imported in every order",
    "fit and predict of all four work by turns; fastnn's bits stay; it changes no environment "
    "variable",
    "24 orders of 4 packages",
    count=24,
    limit=900,
)
def runtimes(n: int) -> Seen:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise NotHere(f"no {', '.join(missing)}")
    alone = set()  # what the others change without fastnn
    for name in PACKAGES[1:]:
        done = subprocess.run(
            [sys.executable, "-c", ALONE.format(name)], capture_output=True, text=True, check=True
        )
        alone |= set(done.stdout.split())
    right, digests = 0, set()
    for order in itertools.islice(itertools.permutations(PACKAGES), n):
        try:
            done = subprocess.run(
                [sys.executable, "-c", CODE, *order], capture_output=True, text=True, timeout=120
            )
            kinds, digest, changed = done.stdout.split()
        except (subprocess.TimeoutExpired, ValueError):
            print(order, done.returncode, done.stderr[-2000:], file=sys.stderr)
            continue
        digests.add(digest)
        right += kinds == "1" and set(changed.split(",")) - {"-"} <= alone
    figure = f"{right} of {n} orders, {len(digests)} kind of bits"
    return Seen(figure, right == n and len(digests) == 1)
