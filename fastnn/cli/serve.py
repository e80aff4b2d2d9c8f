"""``fastnn serve``: a model file behind HTTP."""

from __future__ import annotations

import argparse

from fastnn.cli.common import arguments

HELP = "answer over HTTP with a model"
DESCRIPTION = """Answer over HTTP: POST /predict a row or rows, GET /healthz, /metrics and
/openapi.json. When the file is replaced its model takes the old one's place and no request is lost.
Each request is a line of JSON on standard error. SIGTERM and Ctrl-C let requests in flight end.
docs/services.md."""


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
        help="processes that answer (default: 1)",
    )
    arguments.add_threads(parser)
    parser.add_argument(
        "--max-rows",
        type=arguments.positive_int,
        default=10_000,
        metavar="N",
        help="of a request; more is refused (default: 10000)",
    )
    parser.add_argument(
        "--max-bytes",
        type=arguments.positive_int,
        default=16_000_000,
        metavar="N",
        help="of a request's body; more is refused (default: 16000000)",
    )
    parser.add_argument("--no-log", action="store_true", help="no line for each request")


def run(args: argparse.Namespace) -> int:
    from fastnn.cli.common.model_file import reading
    from fastnn.serve import process

    with reading(args.model, "model"):
        process.run(
            *(args.model, args.host, args.port, args.workers),
            max_rows=args.max_rows,
            max_bytes=args.max_bytes,
            n_threads=args.threads,
            log_requests=not args.no_log,
        )
    return 0
