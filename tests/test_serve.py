"""`fastnn serve`: the app in this process, and a server as its users start it."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

import fastnn
from fastnn.serve import create_app
from fastnn.tables.frames import as_table

for package in ("starlette", "msgspec", "prometheus_client", "uvicorn"):
    pytest.importorskip(package, reason=f"{package} of the extra serve is not installed")

ROWS = [{"age": 50, "town": "Rome"}, {"age": 29.5, "town": "Oslo"}, {"age": 31, "town": "Oslo"}]
MORE = [(None, "Bonn"), (1, "Paris"), (1, None)]
POST = ("POST", "/predict")


def people(path=None, seed=0):
    """A model of columns."""
    towns = ["Rome", "Oslo", "Rome", "Oslo", "Bonn"]
    table = {"age": [31, 47, 52, 28, None] * 8, "town": towns * 8}
    model = fastnn.Model([None, 4, None], seed=seed)
    model.fit(table, ["no", "yes", "yes", "no", "yes"] * 8, epochs=20)
    if path:
        model.save(path)
    return model


def ask(app, method, path, body=b"", parts=1):
    """(status, what was said) of an app without a server."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = max(1, -(-len(body) // parts))
    coming = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    sent = []

    async def receive():
        part = coming.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(coming)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}
    scope |= {"method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": [], "root_path": "", "server": ("here", 80), "client": ("here", 1)}
    if parts == 1:
        scope["headers"] = [(b"content-length", str(len(body)).encode())]
    asyncio.run(app(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent).decode()
    kind = dict(sent[0]["headers"])[b"content-type"].decode()
    return sent[0]["status"], json.loads(content) if kind == "application/json" else content


def predictions(app, rows):
    """Of the rows together; each alone must be answered alike."""
    status, told = ask(app, *POST, {"rows": rows})
    assert status == 200, told
    for row, answer in zip(rows, told["predictions"], strict=True):
        alone = ask(app, *POST, {"row": row})
        assert alone == (200, {"model": told["model"], "prediction": answer})
    return told["predictions"]


# --- answers


def test_a_model_of_columns_answers_as_predict_does(here):
    model = people("m.safetensors")
    app = create_app("m.safetensors")
    rows = [*ROWS, *({"age": age, "town": town} for age, town in MORE)]
    got = predictions(app, [row | {"more": [1]} for row in rows])
    with pytest.warns(fastnn.tables.TableWarning, match="Paris"):
        p = model.predict_proba(rows)
    assert [[*one["probabilities"].values()] for one in got] == p.tolist()
    assert [one["class"] for one in got] == [model.classes[k] for k in p.argmax(1)]
    assert list(got[0]["probabilities"]) == ["no", "yes"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_a_plain_model_takes_rows_of_numbers(here, dtype, output):
    n_out = 1 if output == "sigmoid" else 4
    model = fastnn.Model([3, 5, n_out], output=output, dtype=dtype, seed=0)
    model.save("m.safetensors")
    X = np.random.default_rng(0).normal(size=(20, 3))
    got = predictions(create_app("m.safetensors"), X.tolist())
    p = np.array([[*one["probabilities"].values()] for one in got])
    assert (p == model.predict_proba(X)).all()
    assert [one["class"] for one in got] == model.predict(X).tolist()


def test_a_plain_model_of_named_columns_takes_them_by_name(here):
    X = np.random.default_rng(0).normal(size=(20, 2))
    model = fastnn.Model([2, 5, 2], seed=0)
    model.fit(dict(zip("ab", X.T, strict=True)), (X[:, 0] > 0) * 1, epochs=1)
    model.save("m.safetensors")
    app = create_app("m.safetensors")
    got = predictions(app, [{"b": b, "a": a} for a, b in X.tolist()])
    assert [[*one["probabilities"].values()] for one in got] == model.predict_proba(X).tolist()
    status, told = ask(app, *POST, {"row": [1, 2]})
    assert status == 422 and told["detail"] == "Expected `object`, got `array` - at `$.row`"


def test_of_logarithms_no_number_is_too_large(here):
    tail = np.exp(np.linspace(0, 12, 50))
    table = {"a": tail, "b": tail}
    columns = fastnn.tables.learn(table, tail)
    logged = columns.inputs.logged_where_long(as_table(table), np.arange(50))
    logged.columns[1] = columns.inputs.columns[1]
    model = fastnn.Model([None, 3, None], columns=replace(columns, inputs=logged), seed=0)
    model.save("m.safetensors")
    app = create_app("m.safetensors")
    (got,) = predictions(app, [{"a": 1e300, "b": 1.0}])
    assert got["value"] == model.predict({"a": [1e300], "b": [1.0]})[0]
    assert ask(app, *POST, {"row": {"a": 1.0, "b": 1e300}})[0] == 422


def test_values(here):
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = fastnn.Model([3, 5, 1], output="identity", seed=0)
    model.save("m.safetensors")
    got = predictions(create_app("m.safetensors"), X.tolist())
    assert [one["value"] for one in got] == model.predict(X).tolist()

    table = {"a": X[:, 0], "b": X[:, 1]}
    rows = [{"a": a, "b": b} for a, b in X[:5, :2].tolist()]
    model = fastnn.Model([None, 5, None], loss=fastnn.Quantile((0.1, 0.9)), seed=0)
    model.fit(table, X[:, 2] * 100, epochs=2)
    model.save("m.safetensors")
    got = predictions(create_app("m.safetensors"), rows)
    assert [[*one["values"].values()] for one in got] == model.predict(rows).tolist()
    assert [name.split()[-1] for name in got[0]["values"]] == ["0.1", "0.9"]

    model = fastnn.Model([None, 5, None], seed=0)
    model.fit(table, {"u": X[:, 2], "v": X[:, 1]}, epochs=2)
    model.save("m.safetensors")
    got = predictions(create_app("m.safetensors"), rows)
    want = model.predict(rows).tolist()
    assert [one["values"] for one in got] == [dict(zip("uv", row, strict=True)) for row in want]


def test_several_targets_of_classes_and_a_hinge(here):
    X = np.random.default_rng(0).normal(size=(50, 2))
    rows = [{"a": a, "b": b} for a, b in X[:9].tolist()]
    model = fastnn.Model([None, 5, None], seed=0)
    words = np.array(["low", "high"])
    model.fit(dict(zip("ab", X.T, strict=True)), {"u": words[(X[:, 0] > 0) * 1], "v": X[:, 1] > 0})
    model.save("m.safetensors")
    got = predictions(create_app("m.safetensors"), rows)
    assert [[*one["probabilities"].values()] for one in got] == model.predict_proba(rows).tolist()
    assert [[*one["classes"].values()] for one in got] == model.predict(rows).tolist()

    model = fastnn.Model([2, 5, 3], loss="hinge", output="identity", seed=0)
    model.save("m.safetensors")
    got = predictions(create_app("m.safetensors"), X.tolist())
    assert [[*one["scores"].values()] for one in got] == model.forward(X).tolist()
    assert [one["class"] for one in got] == model.predict(X).tolist()


def test_ensembles(here):
    from fastnn.tabular import Pack, Recipe

    pytest.importorskip("sklearn")
    pack = Pack((Recipe(hidden=(8,), epochs=3),), n_folds=2)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.array([3, 7])[(X[:, 0] > 0) * 1]
    table = {"a": X[:, 0], "b": X[:, 1], "day": np.datetime64("2026-01-01") + np.arange(60)}
    rows = [
        {"a": a, "b": b, "day": str(day)}
        for a, b, day in zip(*X[:9, :2].T.tolist(), table["day"][:9], strict=True)
    ]
    model = fastnn.TabularClassifier(recipe=pack, random_state=0).fit(table, y)
    model.save("m.safetensors")
    got = predictions(create_app("m.safetensors", n_threads=1), rows)
    assert [[*one["probabilities"].values()] for one in got] == model.predict_proba(rows).tolist()
    assert [one["class"] for one in got] == model.predict(rows).tolist()

    X[3, 1] = np.nan  # of arrays
    model = fastnn.TabularRegressor(recipe=pack, random_state=0).fit(X, X[:, 0])
    model.save("m.safetensors")
    cells = [[None if np.isnan(x) else x for x in row] for row in X.tolist()]
    got = predictions(create_app("m.safetensors"), cells)
    assert [one["value"] for one in got] == model.predict(X).tolist()


# --- what is refused


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body must be JSON"),
        (b'{"row": {"age": NaN, "town": "Rome"}}', "the body must be JSON"),
        (b'{"row": {"age": 1, "town": "\xff"}}', "the body must be JSON"),
        (b'{"row": {"age": 1, "town": "x", "z": ' + b"[" * 10**6, "the body must be JSON"),
        ([], "Expected `object`, got `array`"),
        ({}, 'must be either {"row": ...} or {"rows": [...]}'),
        ({"row": ROWS[0], "rows": ROWS}, 'must be either {"row": ...} or {"rows": [...]}'),
        ({"row": ROWS[0], "what": 1}, "unknown field `what`"),
        ({"row": {"age": 1}}, "missing required field `town` - at `$.row`"),
        ({"rows": [ROWS[0], {"age": "1", "town": "x"}]}, "got `str` - at `$.rows[1].age`"),
        ({"row": {"age": True, "town": "x"}}, "got `bool` - at `$.row.age`"),
        ({"row": {"age": 1, "town": ["x"]}}, "got `array` - at `$.row.town`"),
        ({"rows": ROWS * 2}, "Expected `array` of length <= 5 - at `$.rows`"),
        ({"rows": [ROWS[0], {"age": 1e300, "town": "x"}]}, "Expected `float` <= "),
        ({"row": {"age": 1, "town": "x" * 5000}, "rows": 1}, "got `int` - at `$.rows`"),
    ],
)
def test_bad_bodies(here, body, says):
    people("m.safetensors")
    app = create_app("m.safetensors", max_rows=5)
    status, told = ask(app, *POST, body)
    assert status == 422 and says in told["detail"], told
    assert ask(app, *POST, {"rows": ROWS})[0] == 200


def test_a_prediction_that_is_no_number_is_refused(here):
    model = fastnn.Model([1, 1], output="identity", seed=0)
    model.W[0][:] = 1e20
    model.save("m.safetensors")
    app = create_app("m.safetensors")
    says = "row 1: its numbers are too large, the prediction overflows"
    assert ask(app, *POST, {"rows": [[0], [1e30]]}) == (422, {"detail": says})


@pytest.mark.parametrize("parts", [1, 3])
def test_bodies_have_a_limit(here, parts):
    """Told at the beginning, or found when it is passed."""
    people("m.safetensors")
    body = json.dumps({"rows": ROWS}).encode()
    app = create_app("m.safetensors", max_bytes=len(body))
    assert ask(app, *POST, body, parts)[0] == 200
    status, told = ask(app, *POST, body + b" ", parts)
    assert (status, told) == (413, {"detail": f"the body must be at most {len(body)} bytes"})


def test_other_paths_and_methods(here):
    people("m.safetensors")
    app = create_app("m.safetensors")
    assert ask(app, "GET", "/predict") == (405, {"detail": "Method Not Allowed"})
    assert ask(app, "GET", "/other") == (404, {"detail": "Not Found"})


def test_arguments(here):
    with pytest.raises(ValueError, match="max_rows must be at least 1"):
        create_app("m.safetensors", max_rows=0)
    with pytest.raises(FileNotFoundError):
        create_app("m.safetensors")


def test_the_error_names_the_extra(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    says = r'fastnn.serve needs starlette: pip install "fastnn-cpu\[serve\]"'
    with pytest.raises(fastnn.MissingExtraError, match=says):
        create_app("m.safetensors")


# --- beside predictions


def test_openapi_tells_the_columns(here):
    people("m.safetensors")
    status, told = ask(create_app("m.safetensors", max_rows=7), "GET", "/openapi.json")
    assert (status, told["openapi"]) == (200, "3.1.0")
    schemas = told["components"]["schemas"]
    assert schemas["Row"]["required"] == ["age", "town"]
    age, null = schemas["Row"]["properties"]["age"]["anyOf"]
    assert age["type"] == "number" and age["minimum"] < -1e29 and null == {"type": "null"}
    assert "one of Bonn, Oslo, Rome; others" in str(schemas["Row"]["properties"]["town"])
    assert schemas["Rows"]["properties"]["rows"]["maxItems"] == 7
    assert schemas["Answer"]["properties"]["class"] == {"enum": ["no", "yes"]}
    assert schemas["Probabilities"]["required"] == ["no", "yes"]
    refs = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(told))
    assert refs and set(refs) <= set(schemas)


def test_metrics_count(here):
    people("m.safetensors", seed=11)
    app = create_app("m.safetensors")

    def count(name):
        text = ask(app, "GET", "/metrics")[1]
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    version = ask(app, "GET", "/healthz")[1]["model"]
    predict = '{endpoint="predict"'
    good, bad = (f'fastnn_requests_total{predict},status="{n}"}}' for n in (200, 422))
    timed = f"fastnn_request_seconds_count{predict}}}"
    before = [count(name) for name in (good, bad, timed)]
    ask(app, *POST, {"rows": ROWS})
    ask(app, *POST, {"row": ROWS[0]})
    ask(app, *POST, {})
    after = [count(name) for name in (good, bad, timed)]
    assert np.subtract(after, before).tolist() == [2, 1, 3]
    assert count(f'fastnn_rows_total{{model="{version}"}}') == len(ROWS) + 1
    loaded = count(f'fastnn_model_loaded_timestamp_seconds{{model="{version}"}}')
    assert abs(loaded - time.time()) < 60


def test_a_line_for_each_request(here, caplog):
    people("m.safetensors")
    app = create_app("m.safetensors")
    caplog.clear()
    ask(app, *POST, {"rows": ROWS})
    ask(app, *POST, {})
    good, bad = (json.loads(message) for message in caplog.messages)
    assert (good["status"], good["rows"], good["path"]) == (200, 3, "/predict")
    assert good["model"] == ask(app, "GET", "/healthz")[1]["model"] and good["ms"] > 0
    assert bad["status"] == 422 and "must be either" in bad["problem"]
    quiet = create_app("m.safetensors", log_requests=False)
    caplog.clear()
    ask(quiet, *POST, {})
    assert not caplog.messages


def test_a_client_that_has_gone_is_told_as_499(here, caplog):
    people("m.safetensors")
    app = create_app("m.safetensors")
    caplog.clear()
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "root_path": ""}
    scope |= {"query_string": b""}
    coming, sent = [{"type": "http.request", "body": b"{", "more_body": True}], []

    async def receive():
        return coming.pop(0) if coming else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    (told,) = map(json.loads, caplog.messages)
    assert (told["status"], told["path"], sent) == (499, "/predict", [])


def test_what_else_is_logged_is_a_line_too():
    from fastnn.cli.serve import Lines

    try:
        raise OSError("no socket")
    except OSError:
        seen = sys.exc_info()
    for error in (None, seen):
        record = logging.LogRecord("uvicorn", logging.ERROR, "", 0, "it %s", ("ended",), error)
        told = json.loads(Lines().format(record))
        assert (told["level"], told["message"]) == ("error", "it ended") and "time" in told
        assert ("error" in told) == bool(error)
    assert told["error"].startswith("Traceback") and told["error"].endswith("OSError: no socket")


def test_inside_an_app_of_ones_own(here):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    people("m.safetensors")
    app = Starlette(routes=[Mount("/people", create_app("m.safetensors"))])
    assert ask(app, "POST", "/people/predict", {"rows": ROWS})[0] == 200


# --- a new file


@pytest.fixture
def eager(monkeypatch):
    """The file is looked at for each request."""
    from fastnn.serve import current

    monkeypatch.setattr(current, "LOOK_EVERY", 0)


def until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_new_file_takes_the_old_ones_place(here, eager):
    people("m.safetensors")
    app = create_app("m.safetensors")
    old = ask(app, *POST, {"rows": ROWS})[1]
    fastnn.Model([2, 3, 2], seed=0).save("m.safetensors")  # with other rows
    until(lambda: ask(app, *POST, {"row": [1, 2]})[0] == 200)
    assert ask(app, *POST, {"row": [1, 2]})[1]["model"] != old["model"]
    assert ask(app, *POST, {"rows": ROWS})[0] == 422
    assert "Row" not in ask(app, "GET", "/openapi.json")[1]["components"]["schemas"]


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(here, monkeypatch):
    from fastnn.serve import current

    people("m.safetensors")
    loaded = []

    def load(path):
        loaded.append(fastnn.load(path))
        if len(loaded) == 1:
            fastnn.Model([2, 3, 2], seed=0).save(path)
        return loaded[-1]

    monkeypatch.setattr(current, "load", load)
    app = create_app("m.safetensors")
    status, told = ask(app, *POST, {"row": [1, 2]})
    with open("m.safetensors", "rb") as file:
        version = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    assert (status, told["model"], len(loaded)) == (200, version, 2)


def test_a_thread_that_the_system_refuses_is_asked_for_again(here, eager, monkeypatch):
    people("m.safetensors")
    app = create_app("m.safetensors")
    fastnn.Model([2, 3, 2], seed=0).save("m.safetensors")

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert app.routes[0].endpoint.__self__.current.served().contract
    until(lambda: ask(app, *POST, {"row": [1, 2]})[0] == 200)


def test_a_broken_file_changes_nothing(here, eager, caplog):
    model = people("m.safetensors")
    app = create_app("m.safetensors")
    old = ask(app, *POST, {"rows": ROWS})
    caplog.clear()

    def problem():
        status, told = ask(app, "GET", "/healthz")
        assert (status, told["status"], told["model"]) == (200, "ok", old[1]["model"])
        return told["problem"]

    (here / "m.safetensors").write_bytes(b"no model")
    until(problem)
    assert problem().startswith("ModelFileError: ")
    assert ask(app, *POST, {"rows": ROWS}) == old
    (told,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert json.loads(told.getMessage())["problem"] == problem()

    (here / "m.safetensors").unlink()
    until(lambda: problem().startswith("FileNotFoundError"))
    assert ask(app, *POST, {"rows": ROWS}) == old
    model.save("m.safetensors")
    until(lambda: problem() is None)
    assert ask(app, *POST, {"rows": ROWS}) == old


# --- a server


class Server:
    """`fastnn serve m.safetensors`, on a free port."""

    def __init__(self, *words):
        command = [sys.executable, "-m", "fastnn", "serve", "m.safetensors", "--port", "0", *words]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        self.texts, self.port = [], None
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        until(lambda: self.port or self.process.poll() is not None, 60)
        assert self.port, self.texts
        until(self.listens, 60)  # of several workers the first

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def read(self):
        for text in self.process.stderr:
            self.texts.append(text)
            found = re.search(r"running on http://127.0.0.1:(\d+)", text)
            self.port = int(found[1]) if found else self.port

    @property
    def lines(self):
        """Whatever it has logged: JSON, all of it."""
        return [json.loads(text) for text in self.texts]

    def connect(self):
        return closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30))

    def post(self, content):
        with self.connect() as connection:
            return post(connection, content)

    def ends(self):
        status = self.process.wait(30)
        self.reader.join()
        self.process.stderr.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.ends()


def post(connection, content):
    connection.request(*POST, json.dumps(content))
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.skipif(sys.platform == "win32", reason="a file in use cannot be replaced there")
def test_no_request_is_lost_when_the_file_is_replaced(here):
    models = [people("m.safetensors", seed) for seed in (0, 1)]
    want = [model.predict_proba(ROWS).tolist() for model in models]
    said, failed, stop = [], [], threading.Event()

    def load(server):
        try:
            with server.connect() as connection:
                while not stop.is_set():
                    status, told = post(connection, {"rows": ROWS})
                    failed.extend([told] * (status != 200))
                    got = [[*one["probabilities"].values()] for one in told["predictions"]]
                    said.append((told["model"], want.index(got)))
        except Exception as error:
            failed.append(error)

    with Server("--threads", "1", "--no-log") as server:
        threads = [threading.Thread(target=load, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for k in (0, 1, 0):
                models[k].save("m.safetensors")
                n = len(said)
                until(lambda k=k, n=n: failed or (said[n:] and said[-1][1] == k), 30)
            until(lambda: failed or len(said) >= 2000, 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failed and len(said) >= 2000
        assert len(set(said)) == 2  # each version is one model
        assert [one["event"] for one in server.lines if "event" in one].count("loaded") >= 2


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_sigterm_lets_requests_in_flight_end(here):
    model = people("m.safetensors")
    body = json.dumps({"row": ROWS[0]}).encode()
    with Server() as server, socket.create_connection(("127.0.0.1", server.port)) as line:
        line.settimeout(30)
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        line.sendall(head + body[:5])
        assert server.post({"row": ROWS[0]})[0] == 200  # by now the first is at work
        server.process.send_signal(signal.SIGTERM)
        until(lambda: any("Waiting for connections" in text for text in server.texts))
        with pytest.raises(OSError):
            server.post({"row": ROWS[0]})
        line.sendall(body[5:])
        with closing(http.client.HTTPResponse(line)) as answer:
            answer.begin()
            told = json.loads(answer.read())
        assert answer.status == 200
        p = [*told["prediction"]["probabilities"].values()]
        assert p == model.predict_proba_one(ROWS[0]).tolist()
        assert server.ends() == 0
        assert [one["rows"] for one in server.lines if one.get("path") == "/predict"] == [1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM there")
def test_workers_count_together(here):
    model = people("m.safetensors")
    want = model.predict_proba(ROWS).tolist()
    with Server("--workers", "2") as server:
        for _ in range(20):  # each time a connection of its own
            status, told = server.post({"rows": ROWS})
            assert status == 200
            assert [[*one["probabilities"].values()] for one in told["predictions"]] == want
        with server.connect() as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        assert 'fastnn_requests_total{endpoint="predict",status="200"} 20.0' in text
        assert text.count("\nfastnn_model_loaded_timestamp_seconds{") == 1
        server.process.send_signal(signal.SIGTERM)
        assert server.ends() == 0


def test_the_command_refuses(here, run):
    status, _, err = run("serve", "none.safetensors")
    assert (status, err) == (2, "fastnn: error: none.safetensors: no such file\n")
    (here / "m.safetensors").write_bytes(b"no model")
    status, _, err = run("serve", "m.safetensors")
    assert status == 2 and "fastnn: error: m.safetensors" in err
    status, _, err = run("serve", "m.safetensors", "--port", "70000")
    assert status == 2 and "below 65536" in err
