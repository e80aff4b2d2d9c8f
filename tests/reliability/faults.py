"""What fails around a call: disks, folders, memory. failing.c has each kind fail in turn."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import errno
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.cli import main as command
from reliability.promises import NotHere, Seen, promise

ALLOCATE, OPEN, WRITE, SYNC, RENAME = 1, 2, 4, 8, 16
ENDLESS = 1 << 60

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 8)), RNG.integers(0, 3, 60)


@functools.cache
def library() -> Any:
    """What failing.c has in this process, which was started with it."""
    own = ctypes.CDLL(None)
    own.fail.argtypes = ctypes.c_int, ctypes.c_long, ctypes.c_int
    own.fail_seen.restype = ctypes.c_long
    return own


def preloaded(function: str, n: int, **environment: str) -> Seen:
    """What a function of this module says in a process with failing.c."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotHere("no C compiler")
    if "san" in os.environ.get("LD_PRELOAD", ""):
        raise NotHere("a sanitizer has to be loaded first")
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "failing.so")
        source = str(Path(__file__).with_name("failing.c"))
        flags = "-O1", "-shared", "-fPIC"
        subprocess.run([compiler, *flags, "-o", library, source, "-ldl"], check=True)
        code = f"from reliability import faults; print(faults.{function}({n}))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "LD_PRELOAD": library, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        return Seen(f"ended with status {done.returncode}", False)
    figure, holds = json.loads(done.stdout.splitlines()[-1])
    return Seen(figure, holds)


# Files

MODEL = fastnn.Model([8, 40, 3], seed=0)
MODEL.fit(X, Y, epochs=1, optimizer="adam")


def table(path: Path) -> None:
    rows = "".join(",".join(f"{cell:.3f}" for cell in row) + "\n" for row in X)
    path.write_text("a,b,c,d,e,f,g,h\n" + rows)


def writers(folder: Path) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """Whatever writes a file: its name, and the call."""
    source, model = folder / "t.csv", folder / "trained.safetensors"
    table(source)
    train = "train", str(source), "--target", "h", "--network", "--hidden", "4", "-q"
    train += "--epochs", "1", "-o"
    ran(*train, str(model))
    small = fastnn.tabular.Pack((fastnn.tabular.Recipe((8,), epochs=1),), n_folds=2)
    ensemble = fastnn.TabularRegressor(recipe=small, random_state=0).fit(X[:, :7], X[:, 7])
    return {
        "save": ("m.safetensors", MODEL.save),
        "checkpoint": (
            "c.safetensors",
            lambda path: twin().fit(X, Y, epochs=1, callbacks=[fastnn.Checkpoint(path)]),
        ),
        "log": (
            "log.csv",
            lambda path: twin().fit(X, Y, epochs=2, callbacks=[fastnn.CSVLogger(path)]),
        ),
        "page": ("trace.html", lambda path: MODEL.trace(X[:2], Y[:2]).to_html(path)),
        "c": ("net.c", lambda path: fastnn.c.export(MODEL, path)),
        "fastnn train": ("n.safetensors", lambda path: ran(*train, str(path))),
        "fastnn predict": (
            "p.csv",
            lambda path: ran("predict", str(model), str(source), "-o", str(path)),
        ),
        "ensemble": ("e.safetensors", ensemble.save),
    }


class Refused(Exception):
    """A command that ended with an error: what it said."""


def ran(*words: str) -> None:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = command(list(words))
    if status:
        raise Refused(said.getvalue())


def twin() -> fastnn.Model:
    return copy.deepcopy(MODEL)


def named(error: BaseException, path: Path) -> bool:
    """Whether an error says which file, or a command in one line."""
    if isinstance(error, Refused):
        text = str(error).strip()
        return path.name in text and len(text.splitlines()) == 1
    return isinstance(error, OSError) and path.name in str(error)


def files_in_turn(_: int) -> str:
    import fastnn.c  # noqa: F401

    own, tries, wrong = library(), 0, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, (target, write) in writers(folder).items():
            path = folder / "out" / target
            path.parent.mkdir(exist_ok=True)
            write(path)  # also what it imports
            old = path.read_bytes()
            for kind, code in (
                *((OPEN, errno.EACCES), (WRITE, errno.ENOSPC), (SYNC, errno.EIO)),
                (RENAME, errno.EACCES),
            ):
                for k in range(1, 1000):
                    own.fail(kind, k, code)
                    try:
                        write(path)
                        error = None
                    except (OSError, Refused) as raised:
                        error = raised
                    seen = own.fail_seen()
                    own.fail(0, ENDLESS, 0)
                    if seen < k:
                        break
                    tries += 1
                    left = os.listdir(path.parent) != [target]
                    folders_sync = kind == SYNC and k == 2  # some file systems cannot
                    if error is None:
                        good = folders_sync and not left
                    else:
                        now = path.read_bytes()
                        same = now == old or (what == "log" and now[-1:] == b"\n")  # whole lines
                        good = named(error, path) and same and not left
                    if not good:
                        wrong.append(f"{what}: call {k} of kind {kind}: {error!r}, left {left}")
                write(path)
                old = path.read_bytes()
            path.unlink()
    for line in wrong:
        print(line, file=sys.stderr)
    return json.dumps([f"{tries - len(wrong)} of {tries}", not wrong])


@promise(
    "each open, write, fsync and rename failing in turn, in every call that writes a file",
    "OSError, or a command's one line, that names the file; the old file stays; nothing is left "
    "beside it",
    "every call",
    count=1,
    few=1,
)
def disk_in_turn(n: int) -> Seen:
    return preloaded("files_in_turn", n)


@contextmanager
def mounted(options: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", options, "none", folder]
        if subprocess.run(mount, capture_output=True).returncode:
            raise NotHere("no mount of its own: root is needed")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@promise(
    "a full disk (tmpfs of 64 KiB), and a folder that is read-only",
    "OSError, or a command's one line, that names the file; the old file stays",
    "every call that writes a file",
    count=1,
)
def disk_full(n: int) -> Seen:
    import fastnn.c  # noqa: F401

    tries, wrong = 0, []
    with tempfile.TemporaryDirectory() as sources, mounted("size=64k") as folder:
        for what, (target, write) in writers(Path(sources)).items():
            path, filler = folder / target, folder / "filler"
            write(path)
            old = path.read_bytes()
            for way in ("full", "read-only"):
                if way == "full":
                    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
                        while file.write(b"x" * 512):
                            pass
                else:
                    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
                tries += 1
                try:
                    write(path)
                    error = None
                except (OSError, Refused) as raised:
                    error = raised
                subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
                filler.unlink(missing_ok=True)
                good = error is not None and named(error, path) and path.read_bytes() == old
                if not good or os.listdir(folder) != [target]:
                    wrong.append(f"{what}, {way}: {error!r}, {os.listdir(folder)}")
            path.unlink()
    for line in wrong:
        print(line, file=sys.stderr)
    return Seen(f"{tries - len(wrong)} of {tries}", not wrong)


# Memory


def bits(model: fastnn.Model) -> tuple[Any, ...]:
    own = model._parameters
    return (
        *(model.theta.tobytes(), own.state.tobytes(), own.optimizer, own.counts.tobytes()),
        *(own.epoch, model.seed),
    )


def rich() -> fastnn.Model:
    """With whatever has buffers of its own."""
    embeddings = [fastnn.Periodic([0, 1], 4, 3), fastnn.PiecewiseLinear([2], [[-1.0, 0.0, 1.0]])]
    model = fastnn.Model(
        [8, 20, 12, 3],
        [fastnn.Parametric("selu"), "gelu"],
        embeddings=embeddings,
        feature_scale=True,
        norm=["batch", "layer"],
        dropout=[0, 0.1, 0.1],
        seed=3,
    )
    model.fit(X, Y, epochs=1)
    return model


def operations(path: Path) -> dict[str, Callable[[fastnn.Model], object]]:
    """What is done to a model, and what it comes to."""
    MODEL.save(path)

    def fit(model: fastnn.Model) -> object:
        model.fit(X, Y, epochs=2, batch_size=16, optimizer="adam", validation_split=0.2)
        return bits(model)

    def step(model: fastnn.Model) -> object:
        model.partial_fit(X, Y, batch_size=16, optimizer="adam")
        return bits(model)

    def save(model: fastnn.Model) -> object:
        model.save(path)
        return path.read_bytes()

    special = rich()

    def fit_rich(_: fastnn.Model) -> object:
        own = copy.deepcopy(special)
        before = bits(own)
        try:
            own.fit(
                X, Y, epochs=1, batch_size=60, optimizer=fastnn.RMSprop(momentum=0.5, clip_norm=0.1)
            )
        except MemoryError:
            assert bits(own) in (before, after)
            raise
        return bits(own)

    after: object = None
    after = fit_rich(MODEL)

    return {
        "fit": fit,
        "fit of a network with everything": fit_rich,
        "partial_fit": step,
        "predict": lambda model: model.predict(X).tobytes(),
        "predictor": lambda model: model.predictor()(X).tobytes(),
        "evaluate": lambda model: repr(model.evaluate(X, Y, metrics=["accuracy"])),
        "loss_and_gradient": lambda model: model.loss_and_gradient(X, Y)[1].tobytes(),
        "load": lambda model: bits(fastnn.load(path)),
        "save": save,
    }


def memory_in_turn(most: int) -> str:
    """Each operation with each of its allocations failing; of more than `most` evenly as many."""
    own, tries, wrong, absorbed, others = library(), 0, [], 0, 0
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "m.safetensors"
        for what, work in operations(path).items():
            for _ in range(3):
                expected = work(twin())
            subject = twin()
            own.fail(ALLOCATE, ENDLESS, errno.ENOMEM)
            work(subject)
            total = own.fail_seen()
            own.fail(0, ENDLESS, 0)
            ks = list(range(1, total + 1, max(1, -(-total // most))))
            while ks:  # a child tries until it is through, or has crashed
                read, write = os.pipe()
                child = os.fork()
                if child == 0:
                    os.close(read)
                    for k in ks:
                        os.write(write, tried(own, k, work, expected, path))
                    os._exit(0)
                os.close(write)
                with os.fdopen(read, "rb") as pipe:
                    answers = pipe.read()
                _, status = os.waitpid(child, 0)
                absorbed += answers.count(b"a")
                others += answers.count(b"p")
                for k, answer in zip(ks, answers.decode(), strict=False):
                    if answer not in "map":
                        wrong.append(f"{what}: allocation {k} of {total}: {ANSWERS[answer]}")
                tries += len(answers)
                if status:
                    tries += 1
                    k = ks[len(answers)]
                    wrong.append(f"{what}: allocation {k} of {total}: status {status}")
                ks = ks[len(answers) + 1 :] if status else []
    for line in wrong:
        print(line, file=sys.stderr)
    figure = (
        f"{tries - len(wrong):,} of {tries:,} ({absorbed:,} done without the memory, {others} with "
        "an error of NumPy's or Python's own in MemoryError's place)"
    )
    return json.dumps([figure, not wrong])


ANSWERS = {
    "o": "another error",
    "c": "the model is not as before",
    "r": "another result",
    "n": "another result when tried again",
    "l": "a file is left",
}


def tried(
    own: Any, k: int, work: Callable[[fastnn.Model], object], expected: object, path: Path
) -> bytes:
    """m: MemoryError, p: as `of_others`, a: done without; or what of ANSWERS is wrong."""
    model = twin()
    before = bits(model)
    own.fail(ALLOCATE, k, errno.ENOMEM)
    try:
        result, error = work(model), None
    except BaseException as raised:
        result, error = None, raised
    rest(own)
    if error is None:
        return b"a" if result == expected else b"r"
    if not isinstance(error, MemoryError) and not of_others(error):
        traceback.print_exception(error)
        return b"o"
    now = bits(model)
    if now == expected:  # all steps were taken: the answer alone found no memory
        return b"m"
    if now != before:
        return b"c"
    if os.listdir(path.parent) != [path.name]:
        return b"l"
    answer = b"m" if isinstance(error, MemoryError) else b"p"
    return answer if work(model) == expected else b"n"


def rest(own: Any) -> None:
    """No call fails any more."""
    while True:
        try:
            return own.fail(0, ENDLESS, 0)
        except (MemoryError, ctypes.ArgumentError):  # it was the call's own that failed
            pass


def of_others(error: BaseException) -> bool:
    """Whether it is what NumPy 2 (of a reduction) or CPython (of a file's lock, a path's text)
    raises for a failed allocation."""
    texts = "can't allocate", "or os.PathLike object", "or integer, not", "read-write bytes-like"
    return isinstance(error, SystemError) or any(text in str(error) for text in texts)


@promise(
    "each allocation failing in turn, C's and Python's (PYTHONMALLOC=malloc), in fit, partial_fit, "
    "predict, predictor, evaluate, loss_and_gradient, load, save; but libgomp's",
    "MemoryError and the model as before, or as after the whole call where its answer alone found "
    "no memory; or the result without that memory. A second call has undisturbed bits",
    "every allocation",
    count=100_000,
    few=8,
    limit=1200,
)
def memory(n: int) -> Seen:
    return preloaded("memory_in_turn", n, PYTHONMALLOC="malloc")
