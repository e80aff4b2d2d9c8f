"""A model file behind HTTP: an ASGI app for uvicorn and gunicorn, or inside an app of your own.

    contract    what a model reads and answers, as types, JSON and OpenAPI
    current     the file's model; a new file's takes its place
    app         endpoints, limits, metrics, a log line for each request

Needs the extra serve (Starlette, msgspec, prometheus_client; uvicorn runs it). docs/services.md;
`fastnn serve` is fastnn/cli/serve.py.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from fastnn.checks import as_int
from fastnn.errors import optional

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["create_app"]


def create_app(
    path: str | PathLike[str],
    *,
    max_rows: int = 10_000,
    max_bytes: int = 16_000_000,
    n_threads: int | None = None,
    log_requests: bool = True,
) -> Starlette:
    """The service of a model file: POST /predict, GET /healthz, /metrics and /openapi.json.

    When the file is replaced, its model takes the old one's place, and no request is lost: the file
    is looked at when a request comes, at most once a second. One that cannot be loaded changes
    nothing; the log and /healthz say why.

    Parameters
    ----------
    path : path
        What `Model.save`, or `save` of a tabular estimator, wrote.
    max_rows, max_bytes : int
        The most rows, and bytes of the body, of a request; more is answered by 422 and 413.
    n_threads : int, optional
        Of a prediction; by default the processors at hand.
    log_requests : bool, default True
        A line of JSON for each request, by the logger "fastnn.serve" at level INFO.

    Returns
    -------
    starlette.applications.Starlette
        It holds no thread, so a process that has made it may fork.

    Raises
    ------
    MissingExtraError
        A package of the extra serve is not installed.
    ModelFileError, OSError
        As `load`.

    Examples
    --------
    >>> import starlette
    >>> import msgspec
    >>> import prometheus_client
    >>> import fastnn
    >>> from fastnn.serve import create_app
    >>> fastnn.Model([2, 3, 2], seed=0).save("net.safetensors")
    >>> app = create_app("net.safetensors", max_rows=100)
    >>> [route.path for route in app.routes]
    ['/predict', '/healthz', '/metrics', '/openapi.json']
    """
    for module in ("starlette", "msgspec", "prometheus_client"):
        optional(module, "fastnn.serve")
    from fastnn.serve.app import Service

    return Service(
        path,
        max_rows=as_int("max_rows", max_rows, 1),
        max_bytes=as_int("max_bytes", max_bytes, 1),
        n_threads=None if n_threads is None else as_int("n_threads", n_threads, 1),
        log_requests=log_requests,
    ).app()
