"""Promises about the process around us: forced ISA, default threads, fork, floating-point mode."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn.kernels import _cpu


def run(code, **environment):
    """Runs code with these variables; None: without one."""
    command = [sys.executable, "-c", code]
    changed = {**os.environ, **environment}
    given = {name: value for name, value in changed.items() if value is not None}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("isa", _cpu.isas())
def test_fastnn_isa_forces_an_isa(isa):
    code = "from fastnn.kernels import _cpu; print(_cpu.isa())"
    assert run(code, FASTNN_ISA=isa).stdout == isa + "\n"


def test_an_isa_that_cannot_run_is_refused():
    result = run("import fastnn", FASTNN_ISA="sse9")
    assert result.returncode == 1
    assert "ImportError: FASTNN_ISA: the instruction set must be one of" in result.stderr


def test_default_threads_follow_affinity_and_omp_num_threads():
    code = "from fastnn.kernels import _cpu; print(_cpu.default_threads())"
    assert run(code, OMP_NUM_THREADS="1").stdout == "1\n"
    if hasattr(os, "sched_setaffinity"):
        one = f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {code}"
        assert run(one, OMP_NUM_THREADS=None).stdout == "1\n"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_a_change_of_affinity_is_seen():
    code = """
import os
from fastnn.config import n_threads
from fastnn.kernels import _cpu
cpus = os.sched_getaffinity(0)
for mask in (cpus, {min(cpus)}, cpus):
    os.sched_setaffinity(0, mask)
    print(_cpu.usable_cpus() <= len(mask), n_threads(None) <= len(mask))
os.environ["OMP_NUM_THREADS"] = "1"
print(n_threads(None))
"""
    assert run(code).stdout.split() == ["True"] * 6 + ["1"]


def test_threadpoolctls_limit_is_kept():
    pytest.importorskip("threadpoolctl")
    code = """
import threadpoolctl
from fastnn.kernels import _cpu
before = _cpu.default_threads()
with threadpoolctl.threadpool_limits(1):
    print(_cpu.default_threads())
print(_cpu.default_threads() == before)
"""
    result = run(code)
    assert result.stdout.split() == ["1", "True"], result.stderr


MAX = "max 100000"


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "cpu.max": MAX}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"a/b/cpu.max": MAX, "cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": MAX}, None),
        ("0::/", {"cpu.max": "no number"}, None),
        ("0::/gone", {}, None),
        ("4:memory:/a\n3:cpu,cpuacct:/a", {"cpu,cpuacct/a": ("50000", "100000")}, 0.5),
        ("3:cpu:/a", {"cpu/a": ("-1", "100000"), "cpu": ("250000", "100000")}, 2.5),
        ("4:memory:/a", {"memory/a": ("1", "2")}, None),
        ("", {}, None),
        (None, {}, None),
    ],
)
def test_the_least_quota_of_a_cgroup_and_those_above_it(tmp_path, groups, files, quota):
    """Of files as Linux has them: cgroup v2's cpu.max, v1's two."""
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups + "\n" if groups else "")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        if isinstance(text, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        else:
            path.mkdir(parents=True, exist_ok=True)
            for what, value in zip(("quota", "period"), text, strict=True):
                (path / f"cpu.cfs_{what}_us").write_text(value + "\n")
    assert _cpu.cgroup_quota(str(tmp_path)) == quota


FIT = """
import os
import numpy as np
import fastnn
from fastnn.kernels import _cpu
X = np.random.default_rng(0).standard_normal((512, 300)).astype("f4")
y = np.arange(512) % 5
def fit(n_threads):
    model = fastnn.Model([300, 500, 5], seed=1, n_threads=n_threads)
    model.fit(X, y, epochs=2, batch_size=256, learning_rate=0.01)
    model.predict(X)
    return model.theta.tobytes()
alone = fit(1)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no list of threads here")
def test_there_are_no_more_threads_than_cpus():
    code = """
before = len(os.listdir("/proc/self/task"))
print(fit(64) == alone, len(os.listdir("/proc/self/task")) - before < _cpu.usable_cpus())
"""
    assert run(FIT + code).stdout == "True True\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc here")
@pytest.mark.skipif("san" in os.environ.get("LD_PRELOAD", ""), reason="needs memory of its own")
def test_threads_that_the_system_refuses_are_done_without():
    """No room for a stack: libgomp would end the process."""
    code = """
import resource
_cpu.set_flops_a_thread(0)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
_, most = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + (7 << 20), most))
print(fit(3) == alone)
"""
    result = run(FIT + code)
    assert result.stdout == "True\n", result.stderr


def train(model):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((512, 300)).astype("f4")
    model.fit(X, rng.integers(0, 5, 512), epochs=2, batch_size=256, learning_rate=0.01)
    return model.theta.tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_after_parallel_work_trains_the_same_bits():
    expected = train(fastnn.Model([300, 200, 5], seed=1, n_threads=2))
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            same = train(fastnn.Model([300, 200, 5], seed=1, n_threads=2)) == expected
            os.write(write_end, b"same" if same else b"other")
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        import select

        ready, _, _ = select.select([pipe], [], [], 30)
        if not ready:
            os.kill(pid, 9)
        answer = pipe.read() if ready else b"hangs"
    os.waitpid(pid, 0)
    assert answer == b"same"


def test_the_floating_point_mode_of_the_caller_stays():
    smallest = np.array([5e-324])
    assert (smallest * 1.0)[0] != 0
    train(fastnn.Model([300, 200, 5], seed=1))
    assert (smallest * 1.0)[0] != 0


def test_subnormal_numbers_are_flushed_while_training():
    """A velocity that decays for ever would else become subnormal, and each step slow."""
    model = fastnn.Model([4, 3, 2], seed=0)
    X, y = np.zeros((8, 4), "f4"), np.array([0, 1] * 4)  # no gradient for W1
    rule = fastnn.SGD(momentum=0.5)
    model.fit(np.ones((8, 4), "f4"), y, epochs=1, optimizer=rule)
    model.fit(X, y, epochs=300, optimizer=rule)  # 2^-300 is far below float32's subnormal numbers
    before = model.W[0].copy()
    model.fit(X, y, epochs=1, optimizer=rule)
    velocity = model._parameters.state[0]
    assert not ((np.abs(velocity) < np.finfo("f4").tiny) & (velocity != 0)).any()
    assert model.W[0].tobytes() == before.tobytes()


@pytest.mark.parametrize("name", _cpu.isas())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_is_found_wherever_it_stands(name, dtype):
    try:
        _cpu.use(name)
        for n in (1, 7, 64, 131):
            x = np.full((1, n), np.finfo(dtype).max, dtype)
            assert _cpu.all_finite(x, x.itemsize)
            for i in range(n):
                for bad in (np.nan, np.inf, -np.inf):
                    x[0, i] = bad
                    assert not _cpu.all_finite(x, x.itemsize)
                x[0, i] = -1
        assert _cpu.all_finite(x[:0], x.itemsize)
        with pytest.raises(ValueError, match="contiguous"):
            _cpu.all_finite(x[:, ::2], x.itemsize)
    finally:
        _cpu.use()
