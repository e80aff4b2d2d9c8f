"""How many threads train: the choice follows what a step costs, and costs little itself."""

from __future__ import annotations

import pytest

from fastnn.kernels._cpu import simulate


def shares(stretches):
    """threads -> share of the time."""
    total = sum(seconds for seconds, _ in stretches)
    used = {threads for _, threads in stretches}
    return {t: sum(s for s, n in stretches if n == t) / total for t in used}


def test_one_thread_allowed_is_one_thread_used():
    assert shares(simulate(lambda threads, now: 1e-4, 1, 1.0)) == {1: pytest.approx(1)}


@pytest.mark.parametrize("step", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("best", [1, 2, 4, 8])
def test_it_stays_with_the_fastest(best, step):
    """A step costs most where threads are furthest from the best number."""

    def cost(threads, now):
        return step * max(threads / best, best / threads)

    late = simulate(cost, 8, 30.0)
    assert shares(late[len(late) // 2 :])[best] > 0.9


def test_equal_costs_are_not_paid_for():
    """More threads that win nothing: trials stay rare."""
    assert max(shares(simulate(lambda threads, now: 1e-5, 2, 20.0)).values()) > 0.95


def test_it_gives_way_to_another_process_and_comes_back():
    """From second 5 to 10 a neighbour holds a core, and two threads wait for each other."""

    def cost(threads, now):
        return (4e-4 if 5 <= now < 10 else 1e-4) if threads == 2 else 1.9e-4

    now, beside, after = 0.0, [], []
    for seconds, threads in simulate(cost, 2, 20.0):
        now += seconds
        if 5.3 < now < 10:
            beside.append((seconds, threads))
        if now > 15:
            after.append((seconds, threads))
    assert shares(beside)[1] > 0.8
    assert shares(after)[2] > 0.9


def test_long_steps_pay_little_for_trials():
    stretches = simulate(lambda threads, now: 0.06 / threads, 2, 60.0)
    assert shares(stretches)[2] > 0.94
    assert {threads for _, threads in stretches[:40]} == {2}


class Machine:
    """Two cores and other processes: what a step costs that takes `step` seconds on one thread.

    A thread that wakes gets its core only after `wake` seconds, even where one is free.
    """

    def __init__(self, step, wake, busy):
        self.step, self.wake, self.busy = step, wake, busy
        self.threads, self.awake = 1, 0.0

    def cost(self, threads, now):
        if threads > self.threads:
            self.awake = now + self.wake
        self.threads = threads
        if threads == 1:
            return self.step
        return 2 * self.step if now < max(self.busy, self.awake) else self.step / 1.6


STEPS = [4e-6, 1e-4, 1e-3, 0.012, 0.06]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wake", [0, 0.003, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("busy", [0.5, 3.0, 10.0])
def test_two_threads_come_back_when_the_machine_is_idle(step, wake, busy):
    """However late a woken thread gets its core: within the bound that _cpu.pyx states."""
    now, late = 0.0, []
    for seconds, threads in simulate(Machine(step, wake, busy).cost, 2, busy + 25):
        if now > busy + 4.5:
            late.append((seconds, threads))
        now += seconds
    assert shares(late)[2] > 0.9


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wake", [0, 0.1])
def test_beside_a_process_that_stays_trials_cost_little(step, wake):
    """One thread has its fair share there; in the long run training takes little longer than so."""
    now, taken, steps = 0.0, 0.0, 0.0
    for seconds, threads in simulate(Machine(step, wake, busy=1e9).cost, 2, 70.0):
        if now > 10:
            taken += seconds
            steps += seconds / (step if threads == 1 else 2 * step)
        now += seconds
    assert taken / (steps * step) < 1.05
