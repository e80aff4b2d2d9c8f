"""What the machine can do, the table of kernels chosen for it, and how many threads: the only module that links the C.

``FASTNN_ISA`` forces an instruction set by name; otherwise feature bits choose the best one.
"""
import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef extern from "platform.h" nogil:
    const fnn_kernels *fnn_supported_kernels(int i, int bits)
    void *fnn_alloc(size_t bytes)
    void fnn_free(void *p)
    void fnn_barrier_wait(fnn_barrier *b, int threads)
    double fnn_seconds()
    unsigned long long fnn_fp_enter()
    void fnn_fp_leave(unsigned long long mode)
    int fnn_is_forked_child()
    int fnn_team_limit()
    int fnn_startable(int threads)
    void fnn_watch(const int *flag)
    int fnn_take_cancel()

cdef extern from "philox.h" nogil:
    void fnn_random_words(uint64_t key0, uint64_t key1, uint64_t purpose, uint64_t index, Py_ssize_t n, uint64_t *words)

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept
    void PyErr_SetNone(object type) noexcept

cdef extern from *:
    """
    #define NAMED(name, id, ...) {#name, id},
    static const struct { const char *name; int id; } fnn_output_ids[] = { FNN_OUTPUTS(NAMED) {0, 0} };
    static const struct { const char *name; int id; } fnn_loss_ids[] = { FNN_LOSSES(NAMED) {0, 0} };
    static const struct { const char *name; int id; } fnn_optimizer_ids[] = { FNN_OPTIMIZERS(NAMED) {0, 0} };
    #undef NAMED
    #define ACTIVATION(name, id, initial, keeps, g, dg) {#name, id, initial, keeps},
    static const struct { const char *name; int id; double initial; int keeps; } fnn_known_activations[] = {
        FNN_ACTIVATIONS(ACTIVATION) {0, 0, 0, 0} };
    #undef ACTIVATION
    #define STATES(name, id, states, step) states,
    static const int fnn_states[] = { FNN_OPTIMIZERS(STATES) 0 };
    #undef STATES
    #define GROUP(name) #name,
    static const char *const fnn_group_names[] = { FNN_GROUP_NAMES(GROUP) 0 };
    #undef GROUP
    #define KIND(name, type) #name,
    static const char *const fnn_kind_names[] = { FNN_KINDS(KIND) 0 };
    #undef KIND
    #if defined(_OPENMP)
    #define FNN_OPENMP _OPENMP
    #else
    #define FNN_OPENMP 0
    #endif
    #if defined(__clang__)
    #define FNN_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FNN_COMPILER "gcc " __VERSION__
    #else
    #define FNN_COMPILER "unknown"
    #endif
    #if defined(NDEBUG)
    #define FNN_DEBUG 0
    #else
    #define FNN_DEBUG 1
    #endif
    """
    ctypedef struct named_id:
        const char *name
        int id
    const named_id fnn_output_ids[]
    ctypedef struct known_activation:
        const char *name
        int id
        double initial
        int keeps
    const known_activation fnn_known_activations[]
    const named_id fnn_loss_ids[]
    const named_id fnn_optimizer_ids[]
    const int fnn_states[]
    const char *fnn_group_names[]
    const char *fnn_kind_names[]
    const int FNN_OPENMP, FNN_DEBUG
    const char *FNN_COMPILER

ACTIVATIONS, PARAMETERS, LOSSES, OPTIMIZERS, STATES = {}, {}, {}, {}, {}
KEEPING = set()  # activations whose g'(a) is kept in training: h does not tell it
cdef int _i = 0
while fnn_known_activations[_i].name != NULL:
    _name = fnn_known_activations[_i].name.decode()
    ACTIVATIONS[_name] = fnn_known_activations[_i].id  # 0, 1, ...: also its place in the list
    PARAMETERS[_name] = fnn_known_activations[_i].initial
    if fnn_known_activations[_i].keeps:
        KEEPING.add(_name)
    _i += 1
_i = 0
while fnn_loss_ids[_i].name != NULL:
    LOSSES[fnn_loss_ids[_i].name.decode()] = fnn_loss_ids[_i].id
    _i += 1
_i = 0
while fnn_optimizer_ids[_i].name != NULL:
    OPTIMIZERS[fnn_optimizer_ids[_i].name.decode()] = fnn_optimizer_ids[_i].id
    STATES[fnn_optimizer_ids[_i].id] = fnn_states[_i]  # vectors of state, each as long as theta
    _i += 1
KINDS = {}  # what features may be, by NumPy's names
_i = 0
while fnn_kind_names[_i] != NULL:
    KINDS[fnn_kind_names[_i].decode()] = _i
    _i += 1
GROUPS = {}  # of parameters, that have a learning rate each
_i = 0
while fnn_group_names[_i] != NULL:
    GROUPS[fnn_group_names[_i].decode()] = _i
    _i += 1
OUTPUTS = {}
_i = 0
while fnn_output_ids[_i].name != NULL:
    OUTPUTS[fnn_output_ids[_i].name.decode()] = fnn_output_ids[_i].id
    _i += 1
OUTPUTS["softmax"] = FNN_SOFTMAX
NORMS = {"batch": FNN_BATCH_NORM, "layer": FNN_LAYER_NORM}


cdef fnn_activation as_activation(g) except *:
    """From an id of OUTPUTS, for the parameter's default, or (id, parameter), of a parametric one (id, parameter, True)."""
    cdef fnn_activation activation
    if isinstance(g, tuple):
        activation.id, activation.parameter = g[:2]
    else:
        activation.id = g
        activation.parameter = fnn_known_activations[activation.id].initial if activation.id < FNN_SOFTMAX else 0
    return activation


cdef bint keeps(fnn_activation g) noexcept nogil:
    """Whether training stores g'(a) beside h."""
    return fnn_known_activations[g.id].keeps if g.id < FNN_SOFTMAX else False


cdef const fnn_kernels *_kernels_32 = NULL
cdef const fnn_kernels *_kernels_64 = NULL


def isas():
    """Instruction sets of this build that this CPU can run, best first."""
    cdef int i = 0
    names = []
    while fnn_supported_kernels(i, 32) != NULL:
        names.append(fnn_supported_kernels(i, 32).isa.decode())
        i += 1
    return names


def isa():
    """The instruction set in use."""
    return _kernels_32.isa.decode()


def use(name=""):
    """Use this instruction set from now on ('': the best): at import for ``FASTNN_ISA``, later for tests.

    What was built before keeps its kernels. Raises ValueError for a name that this machine cannot run.
    """
    global _kernels_32, _kernels_64
    known = isas()
    if name and name not in known:
        raise ValueError(f"the instruction set must be one of {', '.join(known)} on this machine, got {name!r}")
    i = known.index(name) if name else 0
    _kernels_32 = fnn_supported_kernels(i, 32)
    _kernels_64 = fnn_supported_kernels(i, 64)


try:
    use(os.environ.get("FASTNN_ISA", ""))
except ValueError as error:
    raise ImportError(f"FASTNN_ISA: {error}") from None


def openmp():
    """The OpenMP version the kernels were built for, or 'none'."""
    versions = {201107: "3.1", 201307: "4.0", 201511: "4.5", 201811: "5.0", 202011: "5.1", 202111: "5.2"}
    return f"OpenMP {versions.get(FNN_OPENMP, FNN_OPENMP)}" if FNN_OPENMP else "none"


def build_info():
    """The compiler of this build, and whether its checks are on."""
    return {"compiler": FNN_COMPILER.decode(), "debug": bool(FNN_DEBUG)}


def panel_sizes(int item=4):
    """(panel width, vector width, rows of the largest tile) for reals of `item` bytes: what tests aim at."""
    cdef const fnn_kernels *k = kernels_for(item)
    return k.nr, k.vl, k.mr


def _cgroup_quota():
    """CPUs' worth of time that the process's cgroup may use (v2 or v1), or None."""
    try:
        with open("/proc/self/cgroup") as f:
            paths = [line.rstrip("\n").split(":", 2) for line in f]
    except OSError:
        return None
    quotas = []
    for _, controllers, path in paths:
        root = "/sys/fs/cgroup" if controllers == "" else f"/sys/fs/cgroup/{controllers}"
        if controllers != "" and "cpu" not in controllers.split(","):
            continue
        while True:  # a limit of any ancestor counts
            try:
                if controllers == "":
                    with open(f"{root}{path}/cpu.max") as f:
                        quota, period = f.read().split()
                else:
                    with open(f"{root}{path}/cpu.cfs_quota_us") as f:
                        quota = f.read().strip()
                    with open(f"{root}{path}/cpu.cfs_period_us") as f:
                        period = f.read().strip()
                if quota not in ("max", "-1"):
                    quotas.append(int(quota) / int(period))
            except (OSError, ValueError):
                pass
            if path in ("/", ""):
                break
            path = os.path.dirname(path.rstrip("/"))
    return min(quotas, default=None)


_quota = None          # of the cgroup, ...
cdef double _read = -1  # ... and when it was read: files take 70 us
_initial_limit = fnn_team_limit()


def usable_cpus():
    """CPUs that this process may use now: the affinity mask and the cgroup's quota, read once a second, bound them."""
    global _quota, _read
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if _read < 0 or fnn_seconds() - _read > 1:
        _quota, _read = _cgroup_quota(), fnn_seconds()
    return n if _quota is None else min(n, max(1, int(_quota)))


def default_threads():
    """Threads for a call that names no number, now: `usable_cpus`, OMP_NUM_THREADS and threadpoolctl bound it."""
    n, limit = usable_cpus(), fnn_team_limit()
    if limit != _initial_limit:  # somebody has set it since
        n = min(n, limit)
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(n, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else n


cdef int check_signals() noexcept:
    """-1, and an exception is set: a signal's handler raised, in the main thread, or this thread has been cancelled."""
    if fnn_take_cancel():
        PyErr_SetNone(KeyboardInterrupt)
        return -1
    return PyErr_CheckSignals()


cdef int raise_signals() except -1:
    """What `check_signals` meets, raised."""
    return check_signals()


cdef class Cancel:
    """One thread's word to others, which watch for it: their calls end with KeyboardInterrupt, where Ctrl-C would end the main
    thread's, and each once."""

    cdef int said

    def say(self):
        self.said = 1

    def __bool__(self):
        return self.said != 0

    def __enter__(self):
        """The calling thread watches, until the `with` block ends."""
        fnn_watch(&self.said)
        return self

    def __exit__(self, *_):
        fnn_watch(NULL)


cdef int raise_cancel() except -1:
    """KeyboardInterrupt, if this thread has been cancelled."""
    if fnn_take_cancel():
        raise KeyboardInterrupt
    return 0


def check_cancel():
    """`raise_cancel`, for Python."""
    raise_cancel()


cdef size_t TOO_MANY = <size_t> -1
cdef size_t LARGE = 1 << 24  # bytes that take some 10 ms to clear: between two such blocks signals are seen


cdef inline size_t product(size_t a, size_t b) noexcept nogil:
    """a b, or TOO_MANY. What was negative before it became a size_t is too many, too."""
    return TOO_MANY if b and a > TOO_MANY // b else a * b


cdef class Memory:
    def __dealloc__(self):
        for i in range(self.n_blocks):
            fnn_free(self.blocks[i])
        free(self.blocks)

    cdef char *take(self, size_t n, size_t item, size_t times=1) except NULL:
        """times x n items of `item` bytes. MemoryError where there is not so much, also where the product is no size_t."""
        cdef void **blocks
        cdef void *p = NULL
        cdef size_t bytes = product(product(n, item), times)
        if self.n_blocks == self.room:
            blocks = <void **> realloc(self.blocks, (2 * self.room + 16) * sizeof(void *))
            if blocks == NULL:
                raise MemoryError
            self.blocks, self.room = blocks, 2 * self.room + 16
        if bytes > LARGE:
            raise_signals()
        if bytes != TOO_MANY:
            p = fnn_alloc(bytes)
        if p == NULL:
            raise MemoryError(f"no room for {times} x {n} items of {item} bytes")
        self.blocks[self.n_blocks] = p
        self.n_blocks += 1
        self.bytes += bytes
        return <char *> p


cdef void *allocate(size_t bytes) noexcept nogil:
    """Zeroed, aligned memory, or NULL; to be released."""
    return fnn_alloc(bytes)


cdef void release(void *p) noexcept nogil:
    fnn_free(p)


cdef const fnn_kernels *kernels_for(int item) noexcept nogil:
    return _kernels_32 if item == 4 else _kernels_64


def all_finite(array, int item):
    """Whether the reals, of `item` bytes each, of a C-contiguous array are neither NaN nor infinite."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    try:
        return kernels_for(item).all_finite(view.len // item, view.buf) != 0
    finally:
        PyBuffer_Release(&view)


# A thread more pays when it takes over this many float32 operations: below, waking it and waiting for it cost more.
cdef double _flops_a_thread = 5e6


def set_flops_a_thread(double flops=5e6):
    """For tests: with 0, small work too is shared by all threads, and their number is never tried."""
    global _flops_a_thread
    _flops_a_thread = flops


cdef bint all_share() noexcept nogil:
    return _flops_a_thread == 0


cdef int worth(int n_threads, double flops) except -1:
    """Threads to use for this much work, at most n_threads. No more than there are CPUs for, or than the system lets start;
    one in a forked child: its OpenMP runtime would hang."""
    if n_threads == 1 or fnn_is_forked_child() or flops < 2 * _flops_a_thread:
        return 1
    if flops < n_threads * _flops_a_thread:
        n_threads = <int> (flops / _flops_a_thread)
    return startable(n_threads if all_share() else min(n_threads, usable_cpus()))


cdef int startable(int threads) noexcept nogil:
    """How many of so many threads a parallel region can have (platform.h)."""
    return fnn_startable(threads)


cdef void wait(fnn_barrier *barrier, int threads) noexcept nogil:
    fnn_barrier_wait(barrier, threads)


cdef double seconds() noexcept nogil:
    """A clock that only goes forward."""
    return fnn_seconds()


cdef unsigned long long fp_enter() noexcept nogil:
    return fnn_fp_enter()


cdef void fp_leave(unsigned long long mode) noexcept nogil:
    fnn_fp_leave(mode)


def random_words(uint64_t key0, uint64_t key1, uint64_t purpose, uint64_t index, uint64_t[::1] words):
    """words (n,) <- stream number `index` of those for `purpose`, of the seed in two words (philox.h)."""
    if words.shape[0]:
        with nogil:
            fnn_random_words(key0, key1, purpose, index, words.shape[0], &words[0])


# Pace: how many threads? The work gives a first answer (`worth`), the clock the last one.
# Two threads can be slower than one: where a step is short, where layers are narrow, or where another process runs on one of
# the cores, so that whoever waits at a barrier waits for a time slice. So once in a while a short stretch of steps runs with
# half or twice as many threads, and the faster number stays. Which one it is changes no bit of a result.
#
# A thread that wakes may get its core only after tens of milliseconds, though one is free: the scheduler moves it when it
# balances. So a trial of more threads lasts longer, and time does not count before threads that wake have had PATIENCE. Once the
# other process is gone, training is back on all threads after LATE and one trial, about 4.5 seconds of it.

cdef double STRETCH = 0.003    # seconds: about a time slice. A trial is two: the first wakes threads and fills caches
cdef double PATIENCE = 0.1     # of each where threads wake, longer than a scheduler takes to find them a core; at first less:
cdef double EAGER = 0.125      # ... this much of the pause before it
cdef double SOON = 0.1         # pause after a change, but at least ...
cdef double RARE = 40          # ... so many steps, of which a trial takes two or four; each that changes nothing doubles it ...
cdef double LATE = 4.0         # ... up to this
cdef double SLOWER = 1.2       # two stretches so much slower than the best call for a trial at once
cdef double FASTER = 0.97      # a trial must be so much faster to win


cdef Py_ssize_t next_stretch(Pace *pace, int most, Py_ssize_t steps, int *threads) noexcept nogil:
    """How many of the next `steps` steps to run, and with how many threads."""
    if most != pace.most:
        pace.most, pace.threads, pace.tried, pace.upwards, pace.warm, pace.stretch = most, most, 0, False, False, STRETCH
        pace.steps, pace.seconds, pace.cost, pace.best, pace.due, pace.pause = 0, 0, 0, 0, 0, SOON
    threads[0] = pace.tried if pace.tried else pace.threads
    if most == 1:
        return steps
    if pace.cost == 0 or pace.tried or not pace.warm:
        if pace.steps == 0:
            return min(steps, <Py_ssize_t> (pace.stretch / pace.cost) + 1 if pace.cost else 1)
        return min(steps, <Py_ssize_t> ((pace.stretch - pace.seconds) * pace.steps / pace.seconds) + 1)
    return steps


cdef void took(Pace *pace, Py_ssize_t steps, double seconds) noexcept nogil:
    """The stretch took so long."""
    cdef double cost, now
    cdef bint slow
    pace.clock += seconds
    now = pace.clock
    pace.steps += steps
    pace.seconds += seconds
    if pace.most == 1 or pace.seconds < pace.stretch:  # too short to tell: the next stretch adds to it
        return
    cost = pace.seconds / pace.steps
    pace.steps, pace.seconds = 0, 0
    if not pace.warm:
        pace.warm = True
        if not pace.tried:
            pace.stretch = STRETCH
        return
    if pace.tried:
        pace.stretch = STRETCH
        if cost < FASTER * pace.cost:
            pace.threads, pace.cost, pace.pause = pace.tried, cost, max(SOON, RARE * cost)
        else:
            pace.upwards, pace.warm = not pace.upwards, False
            if pace.tried < pace.threads:  # the others wake again
                pace.stretch = PATIENCE
            pace.pause = max(min(2 * pace.pause, LATE), RARE * pace.cost)
        pace.tried, pace.best, pace.due = 0, pace.cost, now + pace.pause
        return
    pace.cost = cost
    if pace.best == 0 and cost > STRETCH:  # long steps: the work's answer is good enough for a while
        pace.pause = RARE * cost
        pace.due = now + pace.pause
    if pace.best == 0 or cost < pace.best:
        pace.best = cost
    slow, pace.slow = pace.slow, cost > SLOWER * pace.best
    if now >= pace.due or (slow and pace.slow and now >= pace.due - pace.pause + SOON):
        if pace.threads == 1:
            pace.upwards = True
        elif pace.threads == pace.most or cost > SLOWER * pace.best:
            pace.upwards = False
        pace.tried = min(2 * pace.threads, pace.most) if pace.upwards else (pace.threads + 1) // 2
        pace.warm = False
        if pace.tried > pace.threads:
            pace.stretch = max(STRETCH, min(PATIENCE, EAGER * pace.pause))


def simulate(cost, int most, double duration):
    """What would be chosen where a step takes cost(threads, now) seconds.

    Returns
    -------
    list of (float, int)
        Seconds that each stretch ran, and its threads.
    """
    cdef Pace pace
    cdef Py_ssize_t steps
    cdef int threads
    cdef double now = 0, step, taken
    memset(&pace, 0, sizeof(Pace))
    stretches = []
    while now < duration:
        steps = next_stretch(&pace, most, 1 << 30, &threads)
        step = cost(threads, now)
        steps = min(steps, <Py_ssize_t> (0.025 / step) + 1)
        taken = steps * step
        now += taken
        took(&pace, steps, taken)
        stretches.append((taken, threads))
    return stretches
