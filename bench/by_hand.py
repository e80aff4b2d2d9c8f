"""A prediction service as one writes it by hand around a runtime, for `python -m bench serve`.

python -m bench.by_hand RUNTIME FOLDER PORT: with ONNX Runtime or PyTorch, whose network is in the
folder; RUNTIME none answers each row with the same probabilities, so what it takes is HTTP's.
Starlette, uvicorn and msgspec, as `fastnn serve` has them; rows are checked, nothing is logged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]


def create_app(predict: Predict, n_in: int, n_out: int) -> Any:
    import msgspec
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response
    from starlette.routing import Route

    class Ask(msgspec.Struct):
        row: list[float] | None = None
        rows: list[list[float]] | None = None

    decode, encode = msgspec.json.Decoder(Ask).decode, msgspec.json.Encoder().encode
    names = [str(i) for i in range(n_out)]

    def answer(body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            ask = decode(body)
            X = np.array([ask.row] if ask.rows is None else ask.rows, np.float32)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            return 422, {"detail": str(error)}
        if X.ndim != 2 or X.shape[1] != n_in or not np.isfinite(X).all():
            return 422, {"detail": f"rows must be {n_in} numbers"}
        P = predict(X)
        best = P.argmax(1).tolist()
        answers = [
            {"class": k, "probabilities": dict(zip(names, p, strict=True))}
            for k, p in zip(best, P.tolist(), strict=True)
        ]
        return 200, {"prediction": answers[0]} if ask.rows is None else {"predictions": answers}

    async def endpoint(request: Any) -> Response:
        body = await request.body()
        if len(body) <= 4096:
            status, told = answer(body)
        else:
            status, told = await run_in_threadpool(answer, body)
        return Response(encode(told), status, media_type="application/json")

    return Starlette(routes=[Route("/predict", endpoint, methods=["POST"])])


def onnxruntime(folder: Path) -> Predict:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda X: session.run(["f"], {"X": X})[0]


def pytorch(folder: Path) -> Predict:
    """Traced, frozen and optimised for inference."""
    import torch

    torch.set_num_threads(1)
    with np.load(folder / "weights.npz") as weights:
        pairs = [(weights[f"W{k}"], weights[f"b{k}"]) for k in range(len(weights.files) // 2)]
    parts: list[torch.nn.Module] = []
    for W, b in pairs:
        linear = torch.nn.Linear(W.shape[1], W.shape[0])
        linear.load_state_dict({"weight": torch.from_numpy(W), "bias": torch.from_numpy(b)})
        parts += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*parts[:-1], torch.nn.Softmax(1)).eval()
    traced = torch.jit.trace(network, torch.zeros(1, pairs[0][0].shape[1]))
    ready = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def predict(X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return ready(torch.from_numpy(X)).numpy()

    return predict


def none(folder: Path) -> Predict:
    with np.load(folder / "weights.npz") as weights:
        n_out = len(weights[f"b{len(weights.files) // 2 - 1}"])
    return lambda X: np.full((len(X), n_out), 1 / n_out, np.float32)


RUNTIMES = {"onnxruntime": onnxruntime, "pytorch": pytorch, "none": none}


def main(runtime: str, folder: Path, port: int) -> None:
    import uvicorn

    with np.load(folder / "weights.npz") as weights:
        n_in, n_out = weights["W0"].shape[1], len(weights[f"b{len(weights.files) // 2 - 1}"])
    app = create_app(RUNTIMES[runtime](folder), n_in, n_out)
    uvicorn.run(app, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
