"""`python -m bench sweep`: random shapes against PyTorch by hand and JAX's scan.

Sizes and batches are drawn log-uniformly from 1 to 4096, depths from 1 to 5 layers, by a seed and
nothing else; what needs more than MAX_FLOPS a step or MAX_PARAMETERS is drawn again.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from statistics import median
from typing import Any

import numpy as np

from bench import machine
from bench.measure import Plan, measure
from bench.results import best_peer, threads, write
from bench.session import Session, add_common_arguments, add_threads_argument, numbers
from bench.workloads import Workload, training

LARGEST = 4096
DEEPEST = 5
MAX_FLOPS = 4e9  # of a step: some 30 ms on one core
MAX_PARAMETERS = 2**24
MAX_VALUES = 2**24  # of an epoch's rows, unless one step takes more
PEERS = ["pytorch_by_hand", "jax_scan"]
N_WORST = 10


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--shapes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=numbers, help="of these shapes, such as 3,17")
    add_threads_argument(parser)
    add_common_arguments(parser, ["fastnn", *PEERS])
    parser.add_argument("--rounds", type=int, default=5)


def random_shapes(n: int, seed: int) -> list[Workload]:
    """The first n of a seed, named seed.number."""
    rng = np.random.default_rng(seed)
    found: list[Workload] = []
    while len(found) < n:
        depth = int(rng.integers(1, DEEPEST + 1))
        batch, *sizes = (int(LARGEST**u) for u in rng.random(depth + 2))
        shape = _training(f"{seed}.{len(found)}", tuple(sizes), batch)
        if shape.flops <= MAX_FLOPS and shape.n_parameters <= MAX_PARAMETERS:
            found.append(shape)
    return found


def _training(name: str, sizes: tuple[int, ...], batch: int) -> Workload:
    """Plain SGD with steps for an epoch of some milliseconds, so that calls cost a peer little."""
    output = "softmax" if sizes[-1] > 1 else "identity"
    step = training(name, sizes, batch, 1)
    seconds = 2e-6 + step.flops / 1e11 + step.n_parameters / 2e9
    steps = min(0.005 / seconds, MAX_VALUES / (batch * sizes[0]))
    steps = int(np.clip(steps, 2, 512))
    rate = 0.1 / max(sizes)  # learns, but no ReLU layer dies
    return training(name, sizes, batch, steps, output=output, learning_rate=rate)


def main(options: Namespace) -> None:
    rounds = options.rounds
    plan = Plan(rounds, enough=min(4, rounds), bound=2 * rounds, seconds=0.05, pause=0.15)
    shapes = random_shapes(options.shapes, options.seed)
    if options.only is not None:
        shapes = [shapes[i] for i in options.only]
    for n_threads in options.threads:
        with Session(options, n_threads) as session:
            result = session.describe("sweep")
            print(HEAD)
            for shape in shapes:
                found = measure_one(session, shape, plan)
                result["measurements"].append(found)
                print(line(found), flush=True)
                if options.write:
                    path = write(result)
        print("\n" + summary(result["measurements"]) + "\n", flush=True)
    if options.write:
        print("wrote", os.path.relpath(path))


def measure_one(session: Session, shape: Workload, plan: Plan) -> dict[str, Any]:
    n_threads = session.n_threads
    ours = f"fastnn@{n_threads}"
    processes = [session.process(name, n_threads) for name in session.entrants]
    if n_threads > 1 and "fastnn" in session.entrants:
        processes.append(session.process("fastnn", 1))
    found = measure(shape, processes, session.canaries, plan, ours)["entrants"]
    alone = found.pop("fastnn@1", {}) if n_threads > 1 else {}
    entrants = {key.partition("@")[0]: _short(one) for key, one in found.items()}
    peer = best_peer(entrants)
    return {
        "workload": shape.as_dict(),
        "threads": n_threads,
        "commit": machine.commit(),
        "entrants": entrants,
        "best_peer": peer,
        "ratio": entrants[peer].get("ratio") if peer else None,
        "ratio_to_one_thread": _short(alone).get("ratio"),
    }


def _short(result: dict[str, Any]) -> dict[str, Any]:
    """Without the single rounds, as there are hundreds of shapes; nor what none of them tells."""
    kept = ("variant", "median_us", "iqr_us", "ratio", "ratio_iqr", "wrong", "failed")
    return {
        key: round(result[key], 4) if isinstance(result[key], float) else result[key]
        for key in kept
        if key in result and result[key] == result[key]
    }


HEAD = f"{'shape':>6}  {'network':26} {'batch':>5} {'fastnn us':>10}  {'us':>10} {'best peer':32}"
HEAD += " ratio  +-    1 thread"


def line(found: dict[str, Any]) -> str:
    """A shape's row of the table."""
    entrants, peer = found["entrants"], found["best_peer"]
    workload = Workload.from_dict(found["workload"])
    text = f"{workload.name:>6}  {workload.network:26} {workload.batch:5}"
    if found["ratio"] is not None:
        theirs = entrants[peer]
        text += f" {entrants['fastnn']['median_us']:10.1f}  {theirs['median_us']:10.1f}"
        text += (
            f" {peer + ' ' + theirs['variant']:32} {found['ratio']:6.2f} {theirs['ratio_iqr']:.2f}"
        )
    if found["ratio_to_one_thread"] is not None:
        text += f"  {found['ratio_to_one_thread']:5.2f}"
    problems = [
        f"{name}: {one.get('wrong') or one['failed']}"
        for name, one in entrants.items()
        if "wrong" in one or "failed" in one
    ]
    return "\n        ".join([text, *problems])


def distribution(ratios: list[float]) -> str:
    tenth = np.quantile(ratios, 0.1)
    return f"median {median(ratios):.2f}, lowest tenth {tenth:.2f}, worst {min(ratios):.2f}"


def summary(measurements: list[dict[str, Any]]) -> str:
    """The distribution of ratios of one number of threads, and the worst shapes."""
    measured = [one for one in measurements if one["ratio"]]
    if not measured:
        return "nothing to compare"
    n_threads = measured[0]["threads"]
    head = f"{len(measured)} shapes, {threads(n_threads)}"
    ratios = [one["ratio"] for one in measured]
    lines = [f"{head}: the best peer's time / fastnn's: {distribution(ratios)}"]
    alone = [one for one in measured if one["ratio_to_one_thread"]]
    if alone:
        ratios = [one["ratio_to_one_thread"] for one in alone]
        lines.append(f"fastnn's time with one thread / with {n_threads}: {distribution(ratios)}")
        slower = sorted(alone, key=lambda one: one["ratio_to_one_thread"])
        lines += [line(one) for one in slower[:N_WORST] if one["ratio_to_one_thread"] < 0.97]
    worst = sorted(measured, key=lambda one: one["ratio"])[:N_WORST]
    return "\n".join([*lines, "the worst:", HEAD, *map(line, worst)])
