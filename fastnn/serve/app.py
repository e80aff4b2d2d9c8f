"""Endpoints, limits, metrics, and a log line for each request."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import msgspec
import prometheus_client
from prometheus_client import multiprocess
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from fastnn.config import threads
from fastnn.serve.contract import Health, Problem
from fastnn.serve.current import Current, Served

log = logging.getLogger("fastnn.serve")

# Bodies up to here are answered where they are read: a handful of rows costs less than the way to a
# thread and back. Larger ones would keep other requests waiting.
SMALL = 4096
BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


@cache
def metrics() -> SimpleNamespace:
    """The process's, in prometheus_client's registry, where its other metrics are."""
    return SimpleNamespace(
        requests=prometheus_client.Counter(
            "fastnn_requests", "Requests answered.", ["endpoint", "status"]
        ),
        seconds=prometheus_client.Histogram(
            "fastnn_request_seconds", "Time of a request.", ["endpoint"], buckets=BUCKETS
        ),
        rows=prometheus_client.Counter("fastnn_rows", "Rows predicted.", ["model"]),
        loaded=prometheus_client.Gauge(
            "fastnn_model_loaded_timestamp_seconds",
            "When a version of the model was loaded, in Unix time; the latest answers.",
            ["model"],
            multiprocess_mode="max",
        ),
    )


class Service:
    """As `create_app` says."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_rows: int,
        max_bytes: int,
        n_threads: int | None,
        log_requests: bool,
    ) -> None:
        self.max_bytes, self.n_threads, self.log_requests = max_bytes, n_threads, log_requests
        self.current = Current(os.fspath(path), max_rows, self._note)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/predict", self.predict, methods=["POST"]),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
                Route("/openapi.json", self.openapi),
            ],
            middleware=[Middleware(Observed, log_requests=self.log_requests)],
            exception_handlers={HTTPException: refused},
        )

    def _note(self, level: int, **what: Any) -> None:
        if what["event"] == "loaded":
            metrics().loaded.labels(what["model"]).set_to_current_time()
        log.log(level, line(**what))

    async def predict(self, request: Request) -> Response:
        served = self.current.served()
        seen = request.scope["fastnn"]
        seen["model"] = served.version
        body = await self._body(request)
        if body is None:
            seen["problem"] = detail = f"the body must be at most {self.max_bytes:,} bytes"
            return problem(413, detail, {"connection": "close"})  # what more comes is not read
        try:
            if len(body) <= SMALL:
                content, seen["rows"] = self._answer(served, body)
            else:
                content, seen["rows"] = await run_in_threadpool(self._answer, served, body)
        except ValueError as error:
            seen["problem"] = str(error)
            return problem(422, str(error))
        metrics().rows.labels(served.version).inc(seen["rows"])
        return Response(content, media_type="application/json")

    def _answer(self, served: Served, body: bytes) -> tuple[bytes, int]:
        with nullcontext() if self.n_threads is None else threads(self.n_threads):
            return served.contract.answer(body)

    async def _body(self, request: Request) -> bytes | None:
        """None where it is too large."""
        told = request.headers.get("content-length", "0")
        if told.isdecimal() and int(told) > self.max_bytes:
            return None
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.max_bytes:
                return None
            parts.append(part)
        return b"".join(parts)

    async def healthz(self, request: Request) -> Response:
        served = self.current.served()
        when = datetime.fromtimestamp(served.loaded, UTC).isoformat(timespec="seconds")
        return as_json(200, Health("ok", served.version, when, self.current.problem))

    async def metrics(self, request: Request) -> Response:
        registry = prometheus_client.REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # of several workers together
            registry = prometheus_client.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        content = prometheus_client.generate_latest(registry)
        return Response(content, headers={"content-type": prometheus_client.CONTENT_TYPE_LATEST})

    async def openapi(self, request: Request) -> Response:
        content = self.current.served().contract.openapi()
        return Response(content, media_type="application/json")


class Observed:
    """Around all endpoints: counts, times and a log line."""

    def __init__(self, app: Any, log_requests: bool) -> None:
        self.app, self.log_requests = app, log_requests

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500
        seen: dict[str, Any] = {}  # what endpoints have to say of the request
        scope["fastnn"] = seen

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except ClientDisconnect:
            status = 499  # as nginx has it: nobody is there to be answered
        finally:
            seconds = time.perf_counter() - start
            endpoint = getattr(scope.get("endpoint"), "__name__", "none")
            metrics().requests.labels(endpoint, status).inc()
            metrics().seconds.labels(endpoint).observe(seconds)
            if self.log_requests and log.isEnabledFor(logging.INFO):
                told = {"method": scope["method"], "path": scope["path"], "status": status}
                log.info(line(**told, ms=round(seconds * 1e3, 3), **seen))


def line(**what: Any) -> str:
    """A line of JSON, the time first."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode({"time": now} | what).decode()


def as_json(status: int, content: Any, headers: Any = None) -> Response:
    body = msgspec.json.encode(content)
    return Response(body, status, headers=headers, media_type="application/json")


def problem(status: int, detail: str, headers: Any = None) -> Response:
    return as_json(status, Problem(detail), headers)


async def refused(request: Request, error: Any) -> Response:
    """error: an HTTPException, such as of no such path."""
    return problem(error.status_code, error.detail, error.headers)
