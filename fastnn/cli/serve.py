"""``fastnn serve``: a model file behind HTTP, by uvicorn and its workers; logs are lines of JSON on
standard error."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import tempfile
from typing import TYPE_CHECKING, Any

from fastnn.cli.common import arguments
from fastnn.errors import optional

if TYPE_CHECKING:
    from starlette.applications import Starlette

HELP = "answer over HTTP with a model"
DESCRIPTION = """Answer over HTTP: POST /predict a row or rows, GET /healthz, /metrics and
/openapi.json. When the file is replaced its model takes the old one's place and no request is lost.
Each request is a line of JSON on standard error. SIGTERM and Ctrl-C let requests in flight end.
docs/services.md."""
SETTINGS = "FASTNN_SERVE"  # what workers are told, as JSON, in their environment
# Seconds that requests in flight have after SIGTERM; Kubernetes kills after 30.
GRACE = 25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="model file, of a network or an ensemble")
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=arguments.port, default=8000, help="(default: %(default)s; 0: a free one)"
    )
    parser.add_argument(
        "--workers",
        type=arguments.positive_int,
        default=1,
        metavar="N",
        help="processes that answer (default: %(default)s)",
    )
    arguments.add_threads(parser)
    parser.add_argument(
        "--max-rows",
        type=arguments.positive_int,
        default=10_000,
        metavar="N",
        help="of a request; more is refused (default: %(default)s)",
    )
    parser.add_argument(
        "--max-bytes",
        type=arguments.positive_int,
        default=16_000_000,
        metavar="N",
        help="of a request's body; more is refused (default: %(default)s)",
    )
    parser.add_argument("--no-log", action="store_true", help="no line for each request")


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.common.model_file import reading
    from fastnn.serve import create_app

    uvicorn = optional("uvicorn", "fastnn serve")
    settings = {
        "path": args.model,
        "max_rows": args.max_rows,
        "max_bytes": args.max_bytes,
        "n_threads": args.threads,
        "log_requests": not args.no_log,
    }
    how = {
        "host": args.host,
        "port": args.port,
        "log_config": None,  # as `log_lines` has it
        "access_log": False,
        "timeout_graceful_shutdown": GRACE,
    }
    with reading(args.model, "model"):
        app = create_app(**settings)  # what is wrong shows now
    log_lines()
    # uvicorn sends itself the signal again when all is done, which shall end no process.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if args.workers == 1:
        uvicorn.run(app, **how)
        return 0
    os.environ[SETTINGS] = json.dumps(settings)
    with tempfile.TemporaryDirectory(prefix="fastnn-serve-") as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        uvicorn.run(f"{__name__}:worker", factory=True, workers=args.workers, **how)
    return 0


def worker() -> Starlette:
    """The app of one of several workers."""
    from fastnn.serve import create_app

    log_lines()
    return create_app(**json.loads(os.environ[SETTINGS]))


def log_lines() -> None:
    """Whatever is logged, on standard error, each record a line of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        from fastnn.serve.app import line

        text = record.getMessage()
        if record.name == "fastnn.serve":  # such a line
            return text
        more: dict[str, Any] = {}
        if record.exc_info:
            more["error"] = self.formatException(record.exc_info)
        return line(level=record.levelname.lower(), message=text, **more)
