"""`fastnn serve`: uvicorn and its workers, until SIGTERM or Ctrl-C; logs on standard error."""

from __future__ import annotations

import json
import logging
import os
import signal
import tempfile
from typing import Any

from fastnn.errors import optional
from fastnn.serve import create_app

SETTINGS = "FASTNN_SERVE"  # what workers are told, as JSON, in their environment
# Seconds that requests in flight have after SIGTERM; Kubernetes kills after 30.
GRACE = 25


def run(path: str, host: str, port: int, workers: int, **settings: Any) -> None:
    """settings: of `create_app`."""
    uvicorn = optional("uvicorn", "fastnn serve")
    how: dict[str, Any] = {"host": host, "port": port, "log_config": None, "access_log": False}
    how["timeout_graceful_shutdown"] = GRACE
    log_lines()
    app = create_app(path, **settings)  # what is wrong shows now
    # uvicorn sends itself the signal again when all is done, which shall end no process.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if workers == 1:
        uvicorn.run(app, **how)
        return
    os.environ[SETTINGS] = json.dumps({"path": path, **settings})
    with tempfile.TemporaryDirectory(prefix="fastnn-serve-") as folder:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", folder)
        uvicorn.run(f"{__name__}:worker", factory=True, workers=workers, **how)


def worker() -> Any:
    """The app of a worker."""
    log_lines()
    return create_app(**json.loads(os.environ[SETTINGS]))


def log_lines() -> None:
    """Whatever logs, on standard error, each record a line of JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.name == "fastnn.serve":
            return text
        from fastnn.serve.app import line

        more = {"error": self.formatException(record.exc_info)} if record.exc_info else {}
        return line(level=record.levelname.lower(), message=text, **more)
