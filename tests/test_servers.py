"""A model behind BentoML and KServe (examples/servers) and MLflow, asked over HTTP."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

import fastnn
import fastnn.mlflow

SERVERS = Path(__file__).parents[1] / "examples" / "servers"
SHOP = {"age": [31, 47, 52, 28] * 10, "town": ["Rome", "Oslo", "Rome", "Oslo"] * 10}
ROWS = [{"age": 51, "town": "Oslo"}, {"age": 28, "town": "Rome"}]


@pytest.fixture
def want(tmp_path, monkeypatch):
    """model.safetensors in the working folder, and its answers."""
    monkeypatch.chdir(tmp_path)
    model = fastnn.Model([None, 8, None], seed=0)
    model.fit(SHOP, ["no", "yes", "yes", "no"] * 10, epochs=20)
    model.save("model.safetensors")
    p = model.predict_proba(ROWS).tolist()
    classes = model.predict(ROWS).tolist()
    return [
        {"class": k, "probabilities": {"no": no, "yes": yes}}
        for k, (no, yes) in zip(classes, p, strict=True)
    ]


@contextmanager
def served(*command, port, **env):
    path = os.pathsep.join([str(Path(fastnn.__file__).parents[1]), *sys.path])
    with open("server.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | {"PYTHONPATH": path} | env,
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, Path("server.log").read_text()
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def post(port, path, content):
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, json.dumps(content).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.skipif(not importlib.util.find_spec("bentoml"), reason="bentoml is not installed")
def test_bentoml(want):
    port = free_port()
    command = "-m", "bentoml", "serve", "bentoml_service:Predictions", "--port", str(port)
    home = {"MODEL": os.path.abspath("model.safetensors"), "BENTOML_HOME": os.getcwd()}
    told = {"BENTOML_DO_NOT_TRACK": "True"}
    with served(*command, "--working-dir", str(SERVERS), port=port, **home, **told):
        assert post(port, "/predict", {"rows": ROWS}) == want


@pytest.mark.skipif(not importlib.util.find_spec("kserve"), reason="kserve is not installed")
def test_kserve(want):
    port = free_port()
    command = str(SERVERS / "kserve_model.py"), "model.safetensors"
    with served(*command, "--http_port", str(port), "--enable_grpc", "false", port=port):
        got = post(port, "/v1/models/fastnn:predict", {"instances": ROWS})
        assert got == {"predictions": want}


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("mlflow", "pandas", "fastapi", "uvicorn")),
    reason="mlflow, or its server, is not installed",
)
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow(want):
    fastnn.mlflow.save_model(fastnn.load("model.safetensors"), "shop", probabilities=True)
    port = free_port()
    command = "-m", "mlflow", "models", "serve", "-m", "shop", "--env-manager", "local"
    scripts = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # uvicorn
    with served(*command, "-p", str(port), port=port, PATH=scripts):
        table = {"columns": ["age", "town"], "data": [list(row.values()) for row in ROWS]}
        got = post(port, "/invocations", {"dataframe_split": table})
        assert got == {"predictions": [list(one["probabilities"].values()) for one in want]}
