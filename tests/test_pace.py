"""How many threads train, and which part of a step is whose, by what steps cost."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from fastnn.kernels._cpu import share_out, simulate


def busy_until(when, others=1):
    return lambda now: others if now < when else 0


class Machine:
    """Cores, other processes, and steps that take `step` seconds for each of their rows.

    Parameters
    ----------
    costs : threads, rows of a step -> what a row takes, against one thread
        Where each thread has a core of its own.
    others : seconds -> int
        Busy processes. A team that shares a core with one is `slow` times slower than one thread.
    wake : float
        A thread that wakes shares a core of its team for so many seconds, even where one is free.
    noise : float
        Standard deviation of a stretch's time.
    """

    def __init__(
        self,
        step,
        costs=lambda threads, size: 1.6 ** (1 - threads),
        others=lambda now: 0,
        slow=2.0,
        wake=0.0,
        cores=2,
        noise=0.0,
    ):
        self.step, self.costs, self.others = step, costs, others
        self.slow, self.wake, self.cores, self.noise = slow, wake, cores, noise
        self.random = random.Random(0)
        self.threads, self.awake = 1, 0.0
        self.since = {}  # size -> when its scouts went out, and when they found cores

    def run(self, threads, now, steps, size):
        if threads > self.threads:
            self.awake = now + self.wake
        self.threads, begun, alone = threads, now, 0.0
        factor = max(0.5, self.random.gauss(1, self.noise))
        rows = steps * size
        while rows > 1e-9:
            own = max(0, min(threads, self.cores - self.others(now)))
            cost = self.costs(threads, size)
            if threads > 1 and own < threads:
                cost = self.slow
            elif threads > 1 and now < self.awake:
                own, cost = threads - 1, 2.0
            seconds = min(rows * cost * self.step * factor, 0.004)
            rows -= seconds / cost / self.step / factor
            alone += own * seconds
            now += seconds
        return now - begun, int(alone / (now - begun) + 0.2)

    def free(self, scouts, now, threads, size):
        """Each has to be awake, and to have had its core for 5 ms."""
        found = max(0, min(scouts, self.cores - self.others(now) - threads))
        out, idle = self.since.get(size, (None, None))
        out = (now if out is None else out) if scouts else None
        idle = (now if idle is None else idle) if found else None
        self.since[size] = out, idle
        return found if found and now >= max(out + self.wake, idle) + 0.005 else 0


def timeline(machine, most, seconds, sizes=(1,)):
    """(when it ended, seconds, threads, steps, size) of each stretch."""
    now, stretches = 0.0, []
    for taken, *rest in simulate(machine, most, seconds, sizes):
        now += taken
        stretches.append((now, taken, *rest))
    return stretches


def after(second, stretches):
    return [stretch for stretch in stretches if stretch[0] > second]


def shares(stretches):
    """threads -> share of the time."""
    total = sum(taken for _, taken, *_ in stretches)
    used = {threads for _, _, threads, *_ in stretches}
    return {n: sum(t for _, t, m, *_ in stretches if m == n) / total for n in used}


def row_seconds(stretches):
    return sum(s[1] for s in stretches) / sum(steps * size for *_, steps, size in stretches)


SOME_STEPS = [5e-5, 1e-3, 0.012, 0.06]
STEPS = [5e-5, 2e-4, 1e-3, 4e-3, 0.012, 0.025, 0.06]
WAKES = [0, 0.001, 0.01, 0.03, 0.1]
SOME_WAKES = [0, 0.01, 0.1]
COSTS = [0.53, 0.9, 0.95, 1, 1.05, 2, 5]  # of two threads: they win much, little, lose


def two(cost):
    return lambda threads, size: cost if threads == 2 else 1


def test_one_thread_allowed_is_one_thread_used():
    stretches = timeline(Machine(1e-4), 1, 1.0)
    assert shares(stretches) == {1: pytest.approx(1)}
    assert min(steps for *_, steps, _ in stretches[1:]) > 200  # a call is one stretch


@pytest.mark.parametrize("step", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_it_stays_with_the_fastest(best, step):
    """A row costs most where threads are furthest from the best number."""
    machine = Machine(step, lambda threads, _: max(threads / best, best / threads), cores=8)
    assert shares(after(5, timeline(machine, 8, 20.0)))[best] > 0.9


@pytest.mark.parametrize("wake", SOME_WAKES)
@pytest.mark.parametrize("step", SOME_STEPS)
@pytest.mark.parametrize("cost", COSTS)
def test_trials_on_a_quiet_machine_cost_two_percent_at_most(cost, step, wake):
    late = after(5, timeline(Machine(step, two(cost), wake=wake), 2, 20.0))
    assert row_seconds(late) < 1.02 * step * min(1, cost)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("noise", [0.03, 0.1])
def test_chance_costs_little(noise, cost):
    """Times vary: a number that is little slower may win a trial, but only until the next."""
    late = after(5, timeline(Machine(1e-4, two(cost), wake=0.001, noise=noise), 2, 60.0))
    assert row_seconds(late) < 1.035 * 1e-4 * min(1, cost)


@pytest.mark.parametrize("cost", [1.05, 1.5, 0.6])
def test_short_work_learns_fast(cost):
    """Of the first 0.3 s only a few stretches go with the slower number."""
    assert row_seconds(timeline(Machine(1e-4, two(cost)), 2, 0.3)) < 1.05 * 1e-4 * min(1, cost)


@pytest.mark.parametrize("busy", [0.05, 0.5, 3.0, 10.0])
@pytest.mark.parametrize("wake", WAKES)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("others, slow", [(1, 1.5), (3, 12)])
def test_two_threads_come_back_within_a_second(others, slow, step, wake, busy):
    """After a busy spell, however late a woken thread gets its core."""
    machine = Machine(step, others=busy_until(busy, others), slow=slow, wake=wake)
    stretches = timeline(machine, 2, busy + 5)
    assert shares(after(busy + 1, stretches))[2] > 0.9
    back = next(s for s in after(busy, stretches) if s[1] < 0.7 * s[3] * step)
    assert back[0] < busy + 1


@pytest.mark.parametrize("wake", SOME_WAKES)
@pytest.mark.parametrize("step", SOME_STEPS)
@pytest.mark.parametrize("others", [1, 3])
def test_beside_a_process_that_stays_trials_cost_nothing(others, step, wake):
    """One thread has its fair share there, and scouts see that there is no more."""
    machine = Machine(step, others=lambda now: others, slow=12, wake=wake)
    assert shares(after(2, timeline(machine, 2, 20.0))) == {1: pytest.approx(1)}


@pytest.mark.parametrize("wake", SOME_WAKES)
@pytest.mark.parametrize("step", SOME_STEPS)
@pytest.mark.parametrize("slow", [1.5, 12])
def test_it_gives_way_to_another_process(slow, step, wake):
    """That comes at second 5: after half a second, or two long steps, one thread is in use."""
    machine = Machine(step, others=lambda now: int(now >= 5), slow=slow, wake=wake)
    assert shares(after(5.5 + 2 * slow * step, timeline(machine, 2, 10)))[1] > 0.97


@pytest.mark.parametrize("step", SOME_STEPS)
@pytest.mark.parametrize("wake", SOME_WAKES)
@pytest.mark.parametrize("on, off", [(0.02, 0.5), (0.05, 0.05), (0.2, 0.2), (1, 1), (5, 5)])
@pytest.mark.parametrize("slow, bound", [(2, 1.05), (12, 1.25)])
def test_beside_one_that_comes_and_goes(slow, bound, on, off, wake, step):
    """Little worse than one thread, which is best where the machine is never quiet for long."""
    machine = Machine(step, others=lambda now: int(now % (on + off) < on), slow=slow, wake=wake)
    assert row_seconds(after(5, timeline(machine, 2, 20.0))) < bound * step


@pytest.mark.parametrize("step", [1e-5, 1e-3])
def test_it_uses_the_cores_that_are_free(step):
    """Of eight, three are taken from second 5 to 10, and threads that share one slow all down."""
    machine = Machine(
        step, lambda threads, _: 1.1 / threads, lambda now: 3 * (5 <= now < 10), slow=3, cores=8
    )
    stretches = timeline(machine, 8, 15)
    assert shares(after(1, [s for s in stretches if s[0] < 5]))[8] > 0.9
    assert shares(after(6, [s for s in stretches if s[0] < 10]))[5] > 0.9
    assert shares(after(11, stretches))[8] > 0.9


@pytest.mark.parametrize("sizes", [(32, 256), (16, 64, 1024), (64, 300, 64, 2000)])
def test_steps_of_several_sizes_by_turns(sizes):
    """Small ones are fastest on one thread, large ones on two; after a busy spell, too."""
    machine = Machine(
        *(1e-6, lambda threads, size: 1 if threads == 1 else 1.3 if size < 100 else 0.6),
        others=busy_until(3),
        wake=0.001,
    )
    late = after(4, timeline(machine, 2, 15.0, sizes))
    for size in sizes:
        assert shares([s for s in late if s[-1] == size])[1 if size < 100 else 2] > 0.85


def parts(ends):
    return [b - a for a, b in pairwise(ends)]


def runs(speeds, n, noise=0.0, seconds=0.004):
    """Threads that sum so many blocks a second, give or take, in so long."""
    rng = random.Random(1)
    return [
        [(v * seconds * rng.gauss(1, noise), seconds) for v in speeds] for _ in range(n)
    ]


@pytest.mark.parametrize("speeds", [(1, 1), (1, 0.75), (0.7, 1, 1), (2, 2, 1, 1), (1,) * 7])
def test_parts_become_as_large_as_threads_are_fast(speeds):
    last = share_out(len(speeds), runs([1e6 * v for v in speeds], 8))[-1]
    assert last[0] == 0 and last[-1] == 1
    assert parts(last) == pytest.approx([v / sum(speeds) for v in speeds], rel=1e-3)


def test_parts_of_cores_that_are_alike_stay_where_they_are():
    for ends in share_out(4, runs([1e6] * 4, 200, noise=0.01)):
        assert ends == [0, 0.25, 0.5, 0.75, 1]


def test_a_thread_that_loses_its_core_keeps_a_part_and_gets_its_own_back():
    found = share_out(2, runs([1e6, 1e3], 10) + runs([1e6, 1e6], 10))
    assert parts(found[9])[1] == pytest.approx(0.5 * 0.5 / (0.5 * 0.5 + 1), rel=0.01)
    assert found[-1] == [0, 0.5, 1]


def test_short_looks_are_added_up():
    found = share_out(2, runs([1e6, 5e5], 100, seconds=1e-4))
    assert found[10] == [0, 0.5, 1]
    assert parts(found[-1]) == pytest.approx([2 / 3, 1 / 3], rel=1e-3)
