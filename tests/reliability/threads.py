"""How many threads there are, and what several of them see of one model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import fastnn
from fastnn.config import n_threads
from fastnn.kernels import _cpu
from reliability.promises import NotHere, Seen, promise

RNG = np.random.default_rng(0)
LARGE = RNG.standard_normal((4000, 300)).astype("f4")
LABELS = RNG.integers(0, 5, 4000)

POLL = """
import sys
most = 0
try:
    while True:
        with open(f"/proc/{sys.argv[1]}/status") as file:
            text = file.read()
        most = max(most, int(text.partition("Threads:")[2].split()[0]))
except KeyboardInterrupt:
    print(most)
"""


@contextmanager
def most_threads() -> Iterator[list[int]]:
    """The most threads that were alive at once, as another process saw them: known at the end."""
    command = [sys.executable, "-S", "-c", POLL, str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    seen: list[int] = []
    time.sleep(0.2)
    yield seen
    process.send_signal(2)
    seen.append(int(process.communicate(timeout=10)[0]))


def every_call(wanted: int | None) -> list[bytes]:
    """Bits of what each kind of call comes to with so many threads."""
    X, y = LARGE, LABELS
    model = fastnn.Model([300, 500, 5], seed=1, n_threads=wanted)
    model.fit(X, y, epochs=2, batch_size=256, learning_rate=0.01)
    loss, grad = model.loss_and_gradient(X, y)
    several = [fastnn.Model([300, 20, 5], seed=seed) for seed in range(8)]
    fastnn.fit_many(several, X, y, epochs=2, learning_rate=0.01, n_threads=wanted)
    small = fastnn.tabular.Pack((fastnn.tabular.Recipe((8,), epochs=1),), n_folds=2)
    table = fastnn.TabularClassifier(recipe=small, random_state=0, n_threads=wanted)
    table.fit(X[:300, :4], y[:300])
    return [
        *(model.theta.tobytes(), model.forward(X).tobytes(), model.predictor()(X).tobytes()),
        *(repr(model.evaluate(X, y)).encode(), repr(loss).encode(), np.asarray(grad).tobytes()),
        *(one.theta.tobytes() for one in several),
        table.predict_proba(X[:300, :4]).tobytes(),
    ]


@promise(
    "n_threads = 300 and 1,000,000 in every kind of call",
    "no more threads alive than n_threads = cores starts; the same bits",
    "as many as with n_threads = cores",
    count=2,
)
def threads_absurd(n: int) -> Seen:
    cores, alone = _cpu.usable_cpus(), every_call(1)
    before = len(os.listdir("/proc/self/task")) - 1  # what NumPy's BLAS keeps is not ours
    with most_threads() as few:
        every_call(cores)
        every_call(cores)
    with most_threads() as many:
        same = [every_call(wanted) == alone for wanted in (300, 10**6)[:n]]
    few[0], many[0] = few[0] - before, many[0] - before
    figure = (
        f"at most {many[0]} threads, with n_threads = {cores} {few[0]} (one waits for workers, one "
        f"watches for free cores), {sum(same)} of {n} with the same bits"
    )
    return Seen(figure, many[0] <= few[0] and all(same))


def threads_with(code: str, **environment: str) -> int:
    """The default number of threads in a new process that runs this code first."""
    code = f"{code}\nfrom fastnn.kernels._cpu import default_threads\nprint(default_threads())"
    clean = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@promise(
    "affinity mask, OMP_NUM_THREADS, threadpoolctl, set before or while running",
    "threads = the least of them, without a restart",
    "every case",
    count=1,
)
def threads_limits(n: int) -> Seen:
    cores, cases = _cpu.usable_cpus(), []
    if cores < 2:
        raise NotHere("one core: nothing could be less")
    one_cpu = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    cases.append(threads_with("") == cores)
    cases.append(threads_with("", OMP_NUM_THREADS="1") == 1)
    cases.append(threads_with("", OMP_NUM_THREADS="1,3") == 1)
    cases.append(threads_with("", OMP_NUM_THREADS="100") == cores)
    cases.append(threads_with("", OMP_NUM_THREADS="nonsense") == cores)
    cases.append(threads_with(one_cpu) == 1)
    cases.append(threads_with(f"import fastnn; fastnn.predictor; {one_cpu}") == 1)
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    cases.append(n_threads(None) == 1 and n_threads(7) == 1)
    os.sched_setaffinity(0, mask)
    cases.append(n_threads(None) == cores)
    os.environ["OMP_NUM_THREADS"] = "1"
    cases.append(n_threads(None) == 1)
    del os.environ["OMP_NUM_THREADS"]
    cases.append(n_threads(None) == cores)
    try:
        import threadpoolctl
    except ImportError:
        pass
    else:
        with threadpoolctl.threadpool_limits(1):
            cases.append(n_threads(None) == 1)
        cases.append(n_threads(None) == cores)
    return Seen(f"{sum(cases)} of {len(cases)} cases", all(cases))


QUOTA_V1 = Path("/sys/fs/cgroup/cpu")


@contextmanager
def quota(share: float) -> Iterator[Path]:
    """A cgroup (v1) that may use `share` of a CPU; its folder."""
    folder = QUOTA_V1 / f"fastnn-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "cpu.cfs_quota_us").write_text(str(int(100_000 * share)))
    except OSError as error:
        raise NotHere(f"no cgroup v1 of its own: {error}") from None
    try:
        yield folder
    finally:
        (QUOTA_V1 / "tasks").write_text(str(os.getpid()))
        for _ in range(50):
            try:
                folder.rmdir()
                break
            except OSError:  # a process of it is still ending
                time.sleep(0.1)


SPEED = """
import sys, time
import numpy as np
import fastnn
X = np.random.default_rng(0).standard_normal((2048, 300)).astype("f4")
y = np.arange(2048) % 5
def steps(n_threads, seconds):
    model = fastnn.Model([300, 500, 5], seed=1, n_threads=n_threads)
    begin, epochs = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        model.fit(X, y, epochs=1, batch_size=256, learning_rate=0.01)
        epochs += 1
    return epochs / (time.perf_counter() - begin)
rates = {None: [], 1: [], 2: []}
for _ in range(int(sys.argv[1])):
    for n in rates:
        rates[n].append(steps(n, 2.0))
default, *others = (float(np.median(rate)) for rate in rates.values())
print(fastnn.config.n_threads(None), default / max(others))
"""


@promise(
    "cgroup v1 quota of half a CPU, and a change of it while running",
    "one thread, as fast as the best number set by hand; the change is seen within 1.1 s",
    "1 thread, at least 0.95 of the best",
    count=7,
)
def threads_quota(n: int) -> Seen:
    with quota(0.5) as folder:
        (folder / "tasks").write_text(str(os.getpid()))
        time.sleep(1.1)
        halved = _cpu.usable_cpus()
        command = [sys.executable, "-c", SPEED, str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        threads, rate = done.stdout.split()
        (folder / "cpu.cfs_quota_us").write_text("-1")
        time.sleep(1.1)
        free = _cpu.usable_cpus()
    cores = len(os.sched_getaffinity(0))
    figure = f"{threads} thread, {float(rate):.2f} of the best; without quota {free}"
    return Seen(figure, halved == int(threads) == 1 and float(rate) >= 0.95 and free == cores)


@promise(
    "cgroup v2 quota: `cpu.max` of the process's group or one above it, as files of a mount of "
    "their own (this kernel's groups are v1)",
    "threads = the quota, at least 1",
    "every case",
    count=1,
)
def threads_quota_v2(n: int) -> Seen:
    cores = len(os.sched_getaffinity(0))
    cases = {  # cpu.max of the group, of the one above it, threads
        "half": ("50000 100000", "max 100000", 1),
        "parent": ("max 100000", "100000 100000", 1),
        "none": ("max 100000", "max 100000", cores),
        "two": ("200000 100000", "max 100000", min(2, cores)),
    }
    code = "from fastnn.kernels._cpu import default_threads; print(default_threads())"
    script = """
set -e
mount -t tmpfs none /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/up/own
echo "$1" > /sys/fs/cgroup/up/own/cpu.max
echo "$2" > /sys/fs/cgroup/up/cpu.max
exec "$3" -c "$4"
"""
    right = 0
    for own, above, threads in cases.values():
        # /proc/self/cgroup cannot be mounted over for a process that is not there yet
        told = code.replace(
            "from fastnn",
            "import builtins, io; real = open; builtins.open = lambda path, *a, **k: "
            "io.StringIO('0::/up/own\\n') if path == '/proc/self/cgroup' else real(path, *a, **k)\n"
            "from fastnn",
            1,
        )
        command = ["unshare", "-m", "sh", "-c", script, "sh", own, above, sys.executable, told]
        done = subprocess.run(command, capture_output=True, text=True)
        if "unshare" in done.stderr or "mount" in done.stderr:
            raise NotHere("no mounts of its own: root is needed")
        right += done.stdout.strip() == str(threads)
    return Seen(f"{right} of {len(cases)} cases", right == len(cases))


def in_threads(works: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@promise(
    "predict while another thread trains the same model",
    "every answer is of the weights after a whole step",
    "0 of 1,000,000 of no step",
    count=1_000_000,
    few=2000,
)
def threads_versions(n: int) -> Seen:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((512, 16)).astype("f4"), rng.integers(0, 4, 512)
    x = rng.standard_normal((3, 16)).astype("f4")

    def made() -> fastnn.Model:
        return fastnn.Model([16, 32, 4], seed=1, n_threads=2)

    model, done, calls, mixed = made(), threading.Event(), 0, 0
    answers: list[dict[bytes, int]] = [{}, {}]
    settings = {"batch_size": 128, "optimizer": "adam", "learning_rate": 0.01}

    def train() -> None:
        nonlocal calls
        while not done.is_set():
            model.partial_fit(X, y, **settings)
            calls += 1

    def read(seen: dict[bytes, int]) -> Callable[[], None]:
        def work() -> None:
            try:
                for _ in range(n // 2):
                    bits = model.forward(x).tobytes()
                    seen[bits] = seen.get(bits, 0) + 1
            finally:
                done.set()

        return work

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # so that there are many versions
    in_threads([train, *map(read, answers)])
    sys.setswitchinterval(interval)
    twin, published = made(), set()
    published.add(twin.forward(x).tobytes())
    for _ in range(calls):
        for i in range(0, 512, 128):
            twin.partial_fit(X[i : i + 128], y[i : i + 128], **settings)
            published.add(twin.forward(x).tobytes())
    assert twin.theta.tobytes() == model.theta.tobytes()
    for seen in answers:
        mixed += sum(times for bits, times in seen.items() if bits not in published)
    versions = len(set().union(*answers))
    return Seen(f"{mixed} of {n:,}, of {versions:,} versions", mixed == 0 and versions > 1)


@promise(
    "eight threads call one Predictor, for rows alone and many",
    "every answer has the bits of a call alone",
    "0 of 800,000 wrong",
    count=800_000,
    few=8000,
)
def threads_predictor(n: int) -> Seen:
    rng = np.random.default_rng(0)
    model = fastnn.Model([30, 64, 5], seed=1)
    rows = rng.standard_normal((64, 30)).astype("f4")
    predictor = model.predictor()
    alone = [predictor(row) for row in rows]
    together = predictor(rows)
    wrong = [0] * 8

    def work(thread: int) -> Callable[[], None]:
        def call() -> None:
            out = np.empty(5, "f4")
            for i in range(n // 8):
                if i % 8 == 7:
                    wrong[thread] += predictor(rows).tobytes() != together.tobytes()
                else:
                    at = (i + thread) % 64
                    wrong[thread] += predictor(rows[at], out).tobytes() != alone[at].tobytes()

        return call

    in_threads([work(thread) for thread in range(8)])
    return Seen(f"{sum(wrong)} of {n:,} wrong", not any(wrong))
