"""Times processes on one workload: built and checked one by one, then round after round in turns.

    A B C  A B C  A B C ...    a pause after each turn, then the canary

A machine that is slow for a while is so for all, and a ratio compares two turns of one round.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.processes import Canaries, EntrantProcess, Failed
from bench.rounds import Turn, best_rates, is_good, median_ratio, ratios_of_rounds, spread
from bench.workloads import Workload

SAME_LOSS = 1e-3  # relative: float32 sums in other orders, over a first epoch
SAME_LOSS_DROPPED = 0.04  # with dropout, which every library draws for itself
SAME_PREDICTION = 1e-3


@dataclass(frozen=True)
class Plan:
    """How long and how often. More rounds follow, up to `bound`, until `enough` are good."""

    rounds: int
    enough: int
    bound: int
    seconds: float  # of a turn, about
    pause: float  # after several threads, which may still spin
    short_pause: float = 0.02  # after one thread


def measure(
    workload: Workload, processes: list[EntrantProcess], canaries: Canaries, plan: Plan, ours: str
) -> dict[str, Any]:
    """Results of all processes by key; `ours` is the key that the others are compared with."""
    results: dict[str, dict[str, Any]] = {}
    present = []
    for process in processes:
        try:
            results[process.key] = _prepare(workload, process)
            present.append(process)
        except Failed as failure:
            results[process.key] = {"failed": str(failure)}
    _check_same_work(workload, results, ours)
    for process in list(present):
        try:
            results[process.key].update(process.ask("calibrate", seconds=plan.seconds))
        except Failed as failure:
            results[process.key]["failed"] = str(failure)
            present.remove(process)
    turns = _take_turns(present, results, canaries, plan)
    if turns:
        rounds = list(zip(*turns.values(), strict=True))
        best = best_rates(rounds)
        for key, own in turns.items():
            results[key].update(_summary(workload, own, best))
            if ours in turns:
                ratios = ratios_of_rounds(turns[ours], own, best)
                results[key]["ratio"] = median_ratio(turns[ours], own, best)
                results[key]["ratio_iqr"] = spread(ratios)
        canary = {"best": best, "rounds": len(rounds)}
    else:
        canary = {}
    return {"workload": workload.as_dict(), "canary": canary, "entrants": results}


def _prepare(workload: Workload, process: EntrantProcess) -> dict[str, Any]:
    built = process.ask("build", workload=workload.as_dict())
    return {**built, **process.ask("first")}


def _check_same_work(workload: Workload, results: dict[str, Any], ours: str) -> None:
    """A result whose loss or prediction is another is marked, and warned of."""
    losses = {key: result["loss"] for key, result in results.items() if "loss" in result}
    want = losses.get(ours, median(losses.values()) if losses else None)
    near = SAME_LOSS_DROPPED if workload.dropout else SAME_LOSS
    for key, result in results.items():
        if "loss" in result and not abs(result["loss"] - want) <= near * abs(want):
            result["wrong"] = f"first epoch's loss is {result['loss']:.6g}, not {want:.6g}"
        if "error" in result and not result["error"] <= SAME_PREDICTION:
            result["wrong"] = f"predictions differ by {result['error']:.2g}"
        if "wrong" in result:
            print(f"{workload.name} {key}: {result['wrong']}", file=sys.stderr)


def _take_turns(
    present: list[EntrantProcess], results: dict[str, Any], canaries: Canaries, plan: Plan
) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = {process.key: [] for process in present}
    time.sleep(plan.pause)
    for n in range(plan.bound if present else 0):
        if n >= plan.rounds and _enough(turns, plan):
            break
        seconds, rates = [], [tuple(canaries.rates())]
        for process in list(present):
            try:
                seconds.append(process.ask("round")["seconds"])
            except Failed as failure:
                results[process.key]["failed"] = str(failure)
                present.remove(process)
                del turns[process.key]
                continue
            time.sleep(plan.pause if process.n_threads > 1 else plan.short_pause)
            rates.append(tuple(canaries.rates()))
        for i, process in enumerate(present):
            turns[process.key].append(Turn(seconds[i], rates[i], rates[i + 1]))
    return turns


def _enough(turns: dict[str, list[Turn]], plan: Plan) -> bool:
    best = best_rates(list(zip(*turns.values(), strict=True)))
    return all(sum(is_good(t, best) for t in own) >= plan.enough for own in turns.values())


def _summary(workload: Workload, turns: list[Turn], best: list[float]) -> dict[str, Any]:
    """In microseconds of a step or call, and thousand samples a second."""
    us = [1e6 * turn.seconds / workload.steps for turn in turns]
    good = [is_good(turn, best) for turn in turns]
    counted = [one for one, fine in zip(us, good, strict=True) if fine]
    summary = {
        "us": [round(one, 4) for one in us],
        "good": good,
        "canary": [[min(t.before), min(t.after)] for t in turns],
    }
    if not counted:
        return {**summary, "failed": "no undisturbed round"}
    typical = median(counted)
    return {
        **summary,
        "median_us": typical,
        "iqr_us": spread(counted),
        "thousand_samples_s": 1e3 * workload.batch / typical,
    }
