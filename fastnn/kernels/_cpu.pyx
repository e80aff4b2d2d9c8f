"""What the machine can do, the table of kernels chosen for it, and how many threads: the only module that links the C.

``FASTNN_ISA`` forces an instruction set by name; otherwise feature bits choose the best one.
"""
import os
from contextvars import ContextVar

from cython.parallel cimport prange
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport fabs, pow
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef extern from "platform.h" nogil:
    const fnn_kernels *fnn_supported_kernels(int i, int bits)
    int fnn_bfloat16_kernels(const fnn_kernels *k, int most, fnn_kernels *room)
    int fnn_has_vnni()
    void *fnn_alloc(size_t bytes)
    void fnn_free(void *p)
    void fnn_barrier_wait(fnn_barrier *b, int threads)
    double fnn_seconds()
    double fnn_thread_seconds()
    int fnn_free_cores(fnn_scouts **scouts, int wanted)
    unsigned long long fnn_fp_enter()
    void fnn_fp_leave(unsigned long long mode)
    int fnn_is_forked_child()
    int fnn_team_limit()
    int fnn_startable(int threads)
    int fnn_helper_wanted()
    void fnn_helper_start(int allowed)
    int fnn_row_begin()
    void fnn_row_end(int how)
    void fnn_row_product(const fnn_kernels *k, const void *owner, Py_ssize_t n, const void *x, const void *W, Py_ssize_t stride,
                         Py_ssize_t panels, void *z)
    void fnn_helper_leave(const void *owner)
    long fnn_helper_given()
    void fnn_helper_always(int on)
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


SUMMED, WEIGHT_SUM = FNN_SUMMED, FNN_WEIGHT_SUM  # what weights in 8 bits keep to (src/int8.h)
cdef bint _dots = fnn_has_vnni()
cdef int _most = FNN_BY_TILES
_WAYS = {FNN_BY_FMA: "fma", FNN_BY_DOTS: "avx512_bf16", FNN_BY_TILES: "amx_bf16"}


def set_dots(int most=FNN_BY_TILES):
    """What is made from now on uses, on a CPU that has them: vpdpbusd (in 8 bits) and vdpbf16ps (bfloat16) if most is at least 1,
    AMX's tiles (bfloat16) if it is 2. For tests."""
    global _dots, _most
    _dots, _most = most >= FNN_BY_DOTS and fnn_has_vnni(), most


def bfloat16_by():
    """By what products of bfloat16 are made: fma, avx512_bf16 or amx_bf16."""
    cdef fnn_kernels room
    return _WAYS[bfloat16_kernels(&room)]


cdef bint has_dots() noexcept nogil:
    return _dots


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


def cgroup_quota(machine=""):
    """CPUs' worth of time that the process's cgroup may use (v2 or v1), or None; machine: a folder in the place of /."""
    try:
        with open(f"{machine}/proc/self/cgroup") as f:
            paths = [line.rstrip("\n").split(":", 2) for line in f]
    except OSError:
        return None
    quotas = []
    for _, controllers, path in paths:
        root = f"{machine}/sys/fs/cgroup/{controllers}"
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


limit = ContextVar("fastnn_threads", default=None)  # of `fastnn.threads`


cdef bint limited_to_one() except -1:
    return limit.get() == 1


def usable_cpus():
    """CPUs that this process may use now: the affinity mask and the cgroup's quota, read once a second, bound them."""
    global _quota, _read
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if _read < 0 or fnn_seconds() - _read > 1:
        _quota, _read = cgroup_quota(), fnn_seconds()
    return n if _quota is None else min(n, max(1, int(_quota)))


def default_threads():
    """Threads for a call that names no number, now: `usable_cpus`, OMP_NUM_THREADS and threadpoolctl bound it."""
    n, limit = usable_cpus(), fnn_team_limit()
    if limit != _initial_limit:  # somebody has set it since
        n = min(n, limit)
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(n, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else n


def at_most(wanted):
    """So many threads, but no more than there are CPUs for; all of them where tests share even the smallest work."""
    return wanted if wanted == 1 or all_share() else min(wanted, usable_cpus())


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


cdef int bfloat16_kernels(fnn_kernels *room) noexcept nogil:
    """room <- the table of float, with products of bfloat16; returns by what."""
    return fnn_bfloat16_kernels(_kernels_32, _most, room)


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
    """For tests: with 0, small work too is shared by all threads, their number never tried, and rows wait for a second core."""
    global _flops_a_thread
    _flops_a_thread = flops
    fnn_helper_always(flops == 0)


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


# A second core for a single row (platform.h).

cdef bint helper_wanted() noexcept nogil:
    return fnn_helper_wanted()


cdef void start_helper(bint allowed) noexcept nogil:
    fnn_helper_start(allowed)


cdef int begin_row() noexcept nogil:
    return fnn_row_begin()


cdef void end_row(int how) noexcept nogil:
    fnn_row_end(how)


cdef void helped_row_product(const fnn_kernels *k, const void *owner, Py_ssize_t n, const void *x, const void *W,
                             Py_ssize_t stride, Py_ssize_t panels, void *z) noexcept nogil:
    fnn_row_product(k, owner, n, x, W, stride, panels, z)


cdef void leave_helper(const void *owner) noexcept nogil:
    fnn_helper_leave(owner)


def shares_given():
    """Products of single rows so far that two cores have shared: for tests."""
    return fnn_helper_given()


cdef void wait(fnn_barrier *barrier, int threads) noexcept nogil:
    fnn_barrier_wait(barrier, threads)


cdef double seconds() noexcept nogil:
    """A clock that only goes forward."""
    return fnn_seconds()


cdef double thread_seconds() noexcept nogil:
    """A clock that only goes while the calling thread has a core."""
    return fnn_thread_seconds()


def multiply_adds(str dtype, Py_ssize_t rounds, int n_threads):
    """Fused multiply-adds in registers alone, on all threads at once.

    Returns
    -------
    flops, taken : float
        Floating-point operations of all threads together, and the seconds until the last of them was done.
    """
    cdef const fnn_kernels *k = kernels_for(4 if dtype == "float32" else 8)
    cdef double flops = 0, start
    cdef int _t
    with nogil:
        start = seconds()
        for _t in prange(n_threads, num_threads=n_threads, schedule="static"):
            flops += _multiply_adds(k, rounds)
        start = seconds() - start
    return flops, start


cdef double _multiply_adds(const fnn_kernels *k, Py_ssize_t rounds) noexcept nogil:
    cdef char x[64]  # the widest vector
    memset(x, 0, sizeof(x))
    return k.multiply_adds(rounds, x)


cdef unsigned long long fp_enter() noexcept nogil:
    return fnn_fp_enter()


cdef void fp_leave(unsigned long long mode) noexcept nogil:
    fnn_fp_leave(mode)


def random_words(uint64_t key0, uint64_t key1, uint64_t purpose, uint64_t index, uint64_t[::1] words):
    """words (n,) <- stream number `index` of those for `purpose`, of the seed in two words (philox.h)."""
    if words.shape[0]:
        with nogil:
            fnn_random_words(key0, key1, purpose, index, words.shape[0], &words[0])


# Pace: how many threads? The work gives a first answer (`worth`), the clocks the last one.
# Two threads can be slower than one: where a step is short, where layers are narrow, and above all where another process runs
# on one of the cores, so that whoever waits at a barrier waits for a time slice. So once in a while a short stretch of steps
# runs with another number of threads, and the faster number stays. Which one it is changes no bit of a result.
#
# Fewer threads are tried EVERY so often, and after SOON where a thread's own clock shows that it shares its core, or steps have
# become dear. More threads are tried once scouts (platform.h) have seen that there are cores for them: beside busy processes a
# trial would cost many times its steps, and scouts cost nothing. A thread that wakes may have to share a core for tens of
# milliseconds until the scheduler moves it, so a trial goes on until each has a core of its own, or until PATIENCE or what may
# be lost is used up. What trials lose, against the same steps with the number in use, is SHARE of training at most: it comes
# out of savings, which fill up to SAVED, and trials that nothing calls for wait until they are full. So a core that becomes
# free is in use within half a second of training.

cdef double STRETCH = 0.003    # seconds: about a time slice. The first stretch of a trial wakes threads and fills caches ...
cdef double LONG = 0.02        # ... which is a small part of one so long
cdef double CLOSE = 0.25       # a difference to be measured again, over a SLICE
cdef double SLICE = 0.008      # a region of several threads: beside a process that has come it may take ten times as long
cdef double PATIENCE = 0.12    # longer than a scheduler takes to find a thread a core
cdef double EVERY = 0.4        # pause between trials
cdef double SOON = 0.1         # ... after a change, or where something calls for one
cdef double SHARE = 0.01       # of training that trials may lose
cdef double SAVED = 0.1        # seconds that they may lose at once
cdef double SLOWER = 1.2       # dear: so many times the cost after the last change
cdef double FASTER = 0.97      # a trial must be so much faster to win
cdef double GRACE = 5e-5       # seconds without its core that a thread is not said to share it for: threads enter one by one
cdef double OWN = 0.8          # of the time, at least: it has a core of its own


cdef bint had_core(double seconds, double ran) noexcept nogil:
    """Whether a thread that ran for `ran` of so many seconds, and was never idle, had a core of its own."""
    return ran >= min(OWN * seconds, seconds - GRACE)


cdef Choice *choice_of(Pace *pace, Py_ssize_t batch) noexcept nogil:
    cdef int i = 0
    while batch > 1 and i < SIZES - 1:
        batch, i = batch // 2, i + 1
    return &pace.choices[i]


cdef Py_ssize_t next_stretch(Choice *c, int most, Py_ssize_t steps, Py_ssize_t batch, int *threads) noexcept nogil:
    """How many of the next `steps` steps of `batch` rows to run, and with how many threads."""
    cdef double rate, lasts
    if most != c.most:
        forget(c)
        c.most, c.threads, c.saved = most, most, SAVED
    threads[0] = c.tried if c.tried else c.threads
    if threads[0] == 1 and (most == 1 or c.warm) and not c.tried:
        return steps
    if c.rows and c.seconds > 0:
        rate = c.rows / c.seconds
    elif c.cost > 0:
        rate = 1 / c.cost
    else:
        return 1
    lasts = STRETCH if not c.warm or (c.tried and c.seconds < STRETCH) else SLICE
    return min(steps, <Py_ssize_t> (max(lasts - c.seconds, 0) * rate / batch) + 1)


cdef void took(Pace *pace, Choice *c, Py_ssize_t rows, double seconds, int own, int found) noexcept nogil:
    """The stretch took so long, `own` threads had cores of their own, and scouts have found so many cores more."""
    cdef double cost, lost = 0
    cdef bint sure, dear, shared, alarm
    pace.clock += seconds
    c.rows += rows
    c.seconds += seconds
    c.own += own * seconds
    c.saved = min(c.saved + SHARE * seconds, SAVED)
    if c.most == 1 or c.seconds < STRETCH:  # too short to tell: the next stretch adds to it
        return
    cost, seconds, own = c.seconds / c.rows, c.seconds, <int> (c.own / c.seconds + 0.5)
    if c.cost > 0:
        lost = max(seconds - c.rows * c.cost, 0)
    if c.tried and c.warm and seconds < SLICE and fabs(cost - c.cost) < CLOSE * c.cost:
        return
    c.spent += seconds
    c.rows, c.seconds, c.own = 0, 0, 0
    if c.tried:
        sure = c.warm or seconds > LONG
        if sure and cost < FASTER * c.cost:
            c.threads, c.cost, c.best, c.tried, c.due = c.tried, cost, cost, 0, pace.clock + SOON
            return
        c.warm = True
        c.saved -= lost
        if (sure and (own == c.tried or c.tried < c.threads)) or (lost > 0 and c.saved < 0) or c.spent > PATIENCE:
            c.returning, c.warm, c.upwards = c.tried < c.threads, False, not c.upwards
            c.tried, c.spent, c.best, c.due = 0, 0, c.cost, pace.clock + EVERY
        return
    if not c.warm:
        if c.returning:  # threads wake again: that is part of what the trial costs
            c.saved -= lost
        c.warm = not c.returning or own == c.threads or c.saved < 0 or c.spent > PATIENCE
        return
    shared, c.returning = c.threads > 1 and own < c.threads, False
    c.cost = cost if shared or c.cost == 0 else c.cost + (cost - c.cost) / 4
    c.best = min(c.best, c.cost) if c.best > 0 else c.cost
    dear = c.threads > 1 and c.cost > SLOWER * c.best
    # What calls for fewer threads at once, the surer the less needs to be saved.
    alarm = (shared and dear) or (shared and c.saved > 0) or (dear and c.saved > SAVED / 2)
    if pace.clock < (c.due - EVERY + SOON if alarm else c.due):
        return
    if c.threads == 1:
        c.upwards = True
    elif c.threads == c.most or alarm or (c.scouts and pace.clock > c.due + EVERY):
        c.upwards = False
    if not c.upwards:
        c.scouts = 0
        if alarm or c.saved > 0.99 * SAVED:
            c.tried = max(1, min(own, c.threads - 1)) if shared else (c.threads + 1) // 2
    elif found and c.scouts:
        c.tried, c.scouts = c.threads + min(found, c.scouts), 0
    elif c.saved > SAVED / 2:
        c.scouts = min(c.threads, c.most - c.threads)
    if c.tried:
        c.warm, c.spent = False, 0


cdef int free_cores(Choice *c) noexcept nogil:
    """What the choice's scouts have found; they are sent, and called back, as it wants."""
    return fnn_free_cores(&c.out, c.scouts)


cdef void forget(Choice *c) noexcept nogil:
    """Start all over."""
    c.scouts = 0
    free_cores(c)
    memset(c, 0, sizeof(Choice))


cdef void dismiss(Pace *pace) noexcept nogil:
    """No more scouts."""
    cdef int i
    for i in range(SIZES):
        forget(&pace.choices[i])


# Shares: how much of a step is whose? Cores are not equally fast: a virtual one has neighbours, some CPUs have cores of two
# kinds, and whoever is done waits for the slowest. So a thread's part is as large as what it got through before, in blocks of
# the gradient a second. Whose a part is changes no bit.

cdef double ENOUGH = 0.002     # seconds of sums, each thread's, that tell its speed
cdef double ALIKE = 0.03       # parts that differ from even ones by less are even
cdef double LEAST = 0.5        # of the mean speed: a thread that is slower has lost its core, which Pace is there for


cdef class Shares:
    cdef Parts *among(self, int threads) except? NULL:
        """Those of so many threads, even ones where there were none of so many; NULL: one takes all."""
        cdef Memory memory
        cdef Parts parts
        if threads == 1:
            return NULL
        if threads == self.parts.threads:
            return &self.parts
        memory = Memory()
        memset(&parts, 0, sizeof(Parts))
        parts.threads = threads
        parts.ends = <double *> memory.take(threads + 1, sizeof(double))
        parts.blocks = <double *> memory.take(threads, sizeof(double))
        parts.seconds = <double *> memory.take(threads, sizeof(double))
        parts.speed = <double *> memory.take(threads, sizeof(double))
        for t in range(threads + 1):
            parts.ends[t] = <double> t / threads
        self.parts, self.memory = parts, memory
        return &self.parts


cdef void learn(Parts *p) noexcept nogil:
    """New ends, once there are blocks and seconds enough, which then begin anew. NULL: nothing to learn."""
    cdef int t
    cdef double speed, mean = 0, total = 0, end = 0
    cdef bint alike = True
    if p == NULL:
        return
    if all_share():  # in tests each run's lean another way
        p.leans = (p.leans + 1) % 3
        for t in range(1, p.threads):
            p.ends[t] = pow(<double> t / p.threads, 0.6 + 0.4 * p.leans)
        return
    for t in range(p.threads):
        if p.blocks[t] == 0 or p.seconds[t] < ENOUGH:
            return
    for t in range(p.threads):
        speed = p.blocks[t] / p.seconds[t]
        p.speed[t] += (speed - p.speed[t]) / (2 if p.speed[t] > 0 else 1)
        p.blocks[t] = p.seconds[t] = 0
        mean += p.speed[t] / p.threads
    for t in range(p.threads):
        alike = alike and fabs(p.speed[t] - mean) < ALIKE * mean
        total += max(p.speed[t], LEAST * mean)
    for t in range(1, p.threads):
        end += max(p.speed[t - 1], LEAST * mean) / total
        p.ends[t] = <double> t / p.threads if alike else end


def share_out(int threads, runs):
    """Where the parts of so many threads end after each of these runs: (blocks, seconds) of each thread.

    Returns
    -------
    list of list of float
        Of each run: from 0 to 1.
    """
    cdef Shares shares = Shares()
    cdef Parts *parts = shares.among(threads)
    ends = []
    for run in runs:
        for t, (blocks, passed) in enumerate(run):
            parts.blocks[t] += blocks
            parts.seconds[t] += passed
        learn(parts)
        ends.append([parts.ends[t] for t in range(threads + 1)])
    return ends


def simulate(machine, int most, double duration, sizes=(1,)):
    """What would be chosen on a machine of which machine.run(threads, now, steps, size) says how many seconds so many steps of
    that size take and how many threads have cores of their own, and machine.free(scouts, now, threads, size) what so many
    scouts have found. Calls, of about 25 ms each, take steps of these sizes by turns.

    Returns
    -------
    list of (float, int, int, int)
        Of each stretch: seconds, threads, steps, size.
    """
    cdef Pace pace
    cdef Choice *c
    cdef Py_ssize_t steps, left, n, batch
    cdef int threads, own
    cdef double begun, taken
    memset(&pace, 0, sizeof(Pace))
    stretches, seconds = [], {}
    while pace.clock < duration:
        for batch in sizes:
            c = choice_of(&pace, batch)
            begun = pace.clock
            n = left = max(1, int(0.025 / seconds[batch])) if batch in seconds else 1
            while left:
                steps = next_stretch(c, most, left, batch, &threads)
                taken, own = machine.run(threads, pace.clock, steps, batch)
                took(&pace, c, steps * batch, taken, own, machine.free(c.scouts, pace.clock + taken, threads, batch))
                stretches.append((taken, threads, steps, batch))
                left -= steps
            seconds[batch] = (pace.clock - begun) / n
    return stretches
