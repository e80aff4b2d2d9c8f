"""`fastnn serve` while its file is replaced."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import numpy as np

import fastnn
from reliability.promises import NotHere, Seen, promise

CLIENTS = 4
PAUSE = 1.5  # seconds between two replacements: the file is looked at once a second
ROWS = np.random.default_rng(0).normal(size=(5, 8)).tolist()


@promise(
    "the file behind `fastnn serve` is replaced all the time, while four clients ask",
    "every request gets the answer of one of the models, and new ones take over",
    "0 of 100,000 requests failed, at least 10 changes of the model seen",
    count=100_000,
    limit=1200,
)
def serve_reload(n: int) -> Seen:
    for name in ("starlette", "uvicorn", "msgspec", "prometheus_client"):
        if importlib.util.find_spec(name) is None:
            raise NotHere(f"{name} is not installed")
    models = [fastnn.Model([8, 16, 3], seed=seed) for seed in (0, 1)]
    want = [model.predict_proba(ROWS).tolist() for model in models]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        models[0].save(path)
        command = "-m", "fastnn", "serve", str(path), "--port", "0", "--threads", "1", "--no-log"
        server = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
        assert server.stderr is not None
        try:
            for line in server.stderr:
                if found := re.search(r"running on http://127.0.0.1:(\d+)", line):
                    break
            else:
                raise RuntimeError("the server ended")
            clients = [Client(int(found[1]), n // CLIENTS, want) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            replaced = 0
            while any(client.is_alive() for client in clients):
                for client in clients:
                    client.join(PAUSE / CLIENTS)
                replaced += 1
                models[replaced % 2].save(path)
        finally:
            server.terminate()
            server.communicate()
    failed = sum(client.failed for client in clients)
    changes = sum(client.changes for client in clients)
    versions = set().union(*(client.versions for client in clients))
    figure = f"{failed} of {n:,} failed, {replaced} times replaced, {changes} changes seen"
    return Seen(figure, failed == 0 and changes >= 10 and len(versions) == 2)


class Client(threading.Thread):
    """Asks so many times over one connection; a new one after a failure."""

    def __init__(self, port: int, n: int, want: list[list[list[float]]]) -> None:
        super().__init__()
        self.port, self.n, self.want = port, n, want
        self.failed = self.changes = 0
        self.versions: set[tuple[str, int]] = set()  # with the model whose numbers they gave

    def run(self) -> None:
        body, left, last = json.dumps({"rows": ROWS}), self.n, None
        while left:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as to:
                try:
                    while left:
                        left -= 1
                        to.request("POST", "/predict", body)
                        answer = to.getresponse()
                        told = json.loads(answer.read())
                        assert answer.status == 200, told
                        got = [[*one["probabilities"].values()] for one in told["predictions"]]
                        self.versions.add((told["model"], self.want.index(got)))
                        self.changes += last not in (None, told["model"])
                        last = told["model"]
                except Exception as error:
                    self.failed += 1
                    print(f"failed: {error!r}", file=sys.stderr)
