"""`python -m bench serve`: `fastnn serve` over HTTP, beside services written by hand.

The same network behind `fastnn serve`, with its log and without, and behind bench.by_hand's service
on ONNX Runtime, on PyTorch, and on none: an answer that no model gives, so the rest is HTTP, JSON
and Python. A process and a thread each, on one core; wrk asks from another. Requests of one row and
of 100, from one connection that waits for each answer and from 16. All services stand from the
first round to the last, and all take their turns in every way to ask in each round; their answers
are compared before. Figures are medians of the rounds.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import fastnn
from bench import machine
from bench.environment import environment
from bench.results import keep

SIZES, ROWS, CONNECTIONS = (32, 64, 32, 4), (1, 100), (1, 16)
SERVICES = {
    "fastnn serve": ["-m", "fastnn", "serve", "model.safetensors", "--threads", "1", "--no-log"],
    "fastnn serve, with its log": ["-m", "fastnn", "serve", "model.safetensors", "--threads", "1"],
    "ONNX Runtime by hand": ["-m", "bench.by_hand", "onnxruntime", "."],
    "PyTorch by hand": ["-m", "bench.by_hand", "pytorch", "."],
    "no model, by hand": ["-m", "bench.by_hand", "none", "."],
}
# What wrk is told: the request, and in which line its figures come; microseconds.
SCRIPT = """
wrk.method, wrk.body = "POST", io.open(os.getenv("BODY")):read("*a")
function done(summary, latency, requests)
  local e = summary.errors
  local figures = {summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), e.status,
    e.connect + e.read + e.write + e.timeout}
  print("figures " .. table.concat(figures, " "))
end
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each turn")
    parser.add_argument("--write", action="store_true", help="keep the result in bench/results")


def main(options: Namespace) -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed, which asks")
    measurements = []
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        folder = Path(made)
        bodies = prepare(folder)
        ports = {}
        for name, command in SERVICES.items():
            try:
                ports[name] = stack.enter_context(service(command, folder))
            except ChildProcessError as error:
                print(f"without {name}: {error}")
        compare(ports, bodies)
        turns = measure(ports, folder, options.rounds, options.seconds)
    for rows, connections in itertools.product(ROWS, CONNECTIONS):
        title = f"{rows} row{'s' * (rows > 1)} a request, {connections} connection"
        title += "s" * (connections > 1)
        print(f"{title}:")
        found = {name: summed_up(name, turns[rows, connections, name]) for name in ports}
        head = {"workload": {"name": title}, "threads": 1, "commit": machine.commit()}
        measurements.append({**head, "ways": found})
    if options.write:
        packages = ["onnxruntime", "torch", "starlette", "uvicorn", "msgspec"]
        keep("serve", measurements, packages, wrk=wrk_version())


def prepare(folder: Path) -> dict[int, bytes]:
    """The network as each service takes it, and requests of so many rows."""
    model = fastnn.Model(list(SIZES), seed=0)
    model.save(folder / "model.safetensors")
    weights = {f"W{k}": W for k, W in enumerate(model.W)}
    np.savez(folder / "weights.npz", **weights, **{f"b{k}": b for k, b in enumerate(model.b)})
    (folder / "ask.lua").write_text(SCRIPT)
    try:
        fastnn.onnx.export(model, folder / "model.onnx")
    except ImportError:
        pass  # nor is there ONNX Runtime, then
    X = np.random.default_rng(0).standard_normal((max(ROWS), SIZES[0])).round(4).tolist()
    bodies = {n: json.dumps({"row": X[0]} if n == 1 else {"rows": X[:n]}).encode() for n in ROWS}
    for n, body in bodies.items():
        (folder / f"{n}.json").write_bytes(body)
    return bodies


@contextmanager
def service(command: list[str], folder: Path) -> Iterator[int]:
    """Its port, once it answers; on the first core."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--port", str(port)] if "serve" in command else [str(port)]
    path = os.pathsep.join(filter(None, [str(machine.ROOT), os.environ.get("PYTHONPATH", "")]))
    with open(folder / f"{port}.log", "w") as log:
        process = subprocess.Popen(
            [*on_core(0), sys.executable, *command, *where],
            cwd=folder,
            env=environment(1) | {"PYTHONPATH": path},
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(300):
            try:
                ask(port, b"")
            except OSError:
                time.sleep(0.1)
            else:
                break
            if process.poll() is not None:
                raise ChildProcessError(Path(log.name).read_text().strip().splitlines()[-1])
        yield port
    finally:
        process.terminate()
        process.wait()


def on_core(which: int) -> list[str]:
    cores = machine.cores()
    return ["taskset", "-c", str(cores[min(which, len(cores) - 1)])]


def ask(port: int, body: bytes) -> Any:
    """What comes back, None where the body is refused."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:
        return None


def compare(ports: dict[str, int], bodies: dict[int, bytes]) -> None:
    """All but the one without a model must give fastnn's classes and probabilities."""
    want = [told(ask(ports["fastnn serve"], bodies[n])) for n in ROWS]
    for name, port in ports.items():
        got = [told(ask(port, bodies[n])) for n in ROWS]
        if name != "no model, by hand":
            for one, other in zip(got, want, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


def told(answer: dict[str, Any]) -> np.ndarray:
    """Class and probabilities of each row."""
    rows = answer.get("predictions") or [answer["prediction"]]
    return np.array([[float(row["class"]), *row["probabilities"].values()] for row in rows])


def measure(ports: dict[str, int], folder: Path, rounds: int, seconds: int) -> dict[Any, Any]:
    """What wrk saw in each round, by rows, connections and service."""
    ways = list(itertools.product(ROWS, CONNECTIONS, ports))
    turns: dict[Any, list[dict[str, float]]] = {way: [] for way in ways}
    for rows, connections, name in ways * rounds:
        figures = turn(ports[name], folder / f"{rows}.json", connections, seconds)
        turns[rows, connections, name].append(figures)
    return turns


def summed_up(name: str, turns: list[dict[str, float]]) -> dict[str, Any]:
    medians = {figure: median(one[figure] for one in turns) for figure in turns[0]}
    figures = "   ".join(f"{figure} {value:9,.0f}" for figure, value in medians.items())
    print(f"  {name:27} {figures}", flush=True)
    return {**medians, "rounds": turns}


def turn(port: int, body: Path, connections: int, seconds: int) -> dict[str, float]:
    command = [*on_core(1), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", "ask.lua"]
    run = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/predict"],
        cwd=body.parent,
        env=os.environ | {"BODY": body.name},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = (line for line in run.stdout.splitlines() if line.startswith("figures "))
    requests, us, p50, p99, p999, refused, failed = map(float, line.split()[1:])
    assert refused == failed == 0, run.stdout
    return {"requests_s": requests / us * 1e6, "p50_us": p50, "p99_us": p99, "p99.9_us": p999}


def wrk_version() -> str:
    run = subprocess.run(["wrk", "--version"], capture_output=True, text=True)
    return run.stdout.split()[1].split("/")[-1]
