"""How many threads? The work gives a first answer, the clock the last one.

Two threads can be slower than one: where a step is short, where layers are narrow, or where another process runs on one of
the cores, so that whoever waits at a barrier waits for a time slice. So once in a while a short stretch of steps runs with
half or twice as many threads, and the faster number stays. Which one it is changes no bit of a result.

A thread that wakes may get its core only after tens of milliseconds, though one is free: the scheduler moves it when it balances.
So a trial of more threads lasts longer, and time does not count before threads that wake have had PATIENCE. Once the other
process is gone, training is back on all threads after LATE and one trial, about 4.5 seconds of it.
"""
from libc.string cimport memset

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
