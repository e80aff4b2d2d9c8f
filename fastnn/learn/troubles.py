"""What goes wrong: for each trouble a run that has it, what gives it away, why it is so, and the
same run with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastnn.learn.experiments import Run, Settings, early_norms, number, percent, run
from fastnn.learn.problems import Problem, make
from fastnn.network.activations import LeakyReLU
from fastnn.network.initialize import Normal
from fastnn.values import Value


class Trouble(Value, eq=False):
    title: str
    problem: str
    ill: Settings
    well: Settings
    sign: str  # the picture that gives it away: of fastnn.learn.pictures.SIGNS
    seen: Callable[[Run, Run], str]
    why: str
    formulas: tuple[str, ...]
    remedy: str
    prepared: Callable[[Problem, bool], Problem] = lambda problem, well: problem


class Case(Value, eq=False):
    """A trouble with its two runs."""

    trouble: Trouble
    ill: Run
    well: Run

    @property
    def seen(self) -> str:
        return self.trouble.seen(self.ill, self.well)


def case(name: str, seed: int) -> Case:
    trouble = TROUBLES[name]
    problem = make(trouble.problem, seed)
    ill = run(trouble.prepared(problem, False), trouble.ill, seed)
    return Case(trouble, ill, run(trouble.prepared(problem, True), trouble.well, seed))


def _scaled(problem: Problem, well: bool) -> Problem:
    problem = problem.scaled(1, 100)
    if not well:
        return problem
    mean, deviation = problem.X.mean(0), problem.X.std(0)
    X, X_test = ((one - mean) / deviation for one in (problem.X, problem.X_test))
    return Problem(problem.title, problem.told, X, problem.y, X_test, problem.y_test)


def _zero_weights(ill: Run, well: Run) -> str:
    return (
        f"All {len(ill.last.W)} hidden units have the same weights after every epoch, so together "
        f"they draw one line: accuracy {percent(ill.last.accuracy)}, with the remedy "
        f"{percent(well.last.accuracy)}."
    )


def _saturation(ill: Run, well: Run) -> str:
    ratio = early_norms(well)[0] / early_norms(ill)[0]
    return (
        f"At the start {percent(ill.frames[0].flat[0])} of the slopes g'(a) are nearly 0: the "
        f"units stand at -1 or 1, where tanh is flat. In the first ten epochs layer 1 gets a "
        f"gradient {ratio:.0f} times as small as with the remedy, and its lines stay where they "
        f"began: accuracy {percent(ill.last.accuracy)}, with the remedy "
        f"{percent(well.last.accuracy)}."
    )


def _dead_relu(ill: Run, well: Run) -> str:
    return (
        f"{percent(ill.last.dead[0])} of the hidden units give 0 for every point, and get a "
        f"gradient of 0 from every point; with the remedy {percent(well.last.dead[0])}. Accuracy "
        f"{percent(ill.last.accuracy)}, with the remedy {percent(well.last.accuracy)}."
    )


def _large_rate(ill: Run, well: Run) -> str:
    losses = ill.column("loss")
    ended = (
        f"; in epoch {ill.diverged} it is no number any more, and fit ends with a DivergenceError"
        if ill.diverged
        else ""
    )
    return (
        f"The loss grows, from {number(losses[0], 2)} to {number(np.nanmax(losses), 2)}{ended}. "
        f"With the remedy it falls to {number(well.last.loss, 2)}, and the accuracy is "
        f"{percent(well.last.accuracy)}."
    )


def _unscaled(ill: Run, well: Run) -> str:
    first = ill.frames[0].columns
    return (
        f"x_1 has numbers 100 times as large as x_0, and decides alone: the hidden units' lines "
        f"lie flat on one another. At first x_1's column of dL/dW^(1) is "
        f"{first[1] / first[0]:.0f} times as long as x_0's. The loss is "
        f"{number(ill.last.loss, 2)} after {ill.last.epoch} epochs, with the remedy "
        f"{number(well.last.loss, 2)}; accuracy "
        f"{percent(ill.last.accuracy)} and {percent(well.last.accuracy)}."
    )


def _vanishing(ill: Run, well: Run) -> str:
    norms, others = early_norms(ill), early_norms(well)
    return (
        f"The gradient of layer 1 is {norms[-1] / norms[0]:,.0f} times as small as that of the "
        f"last layer; with the remedy {others[-1] / others[0]:.1f} times. So layer 1 stays as "
        f"random as it was: accuracy {percent(ill.last.accuracy)}, with the remedy "
        f"{percent(well.last.accuracy)}."
    )


_SIGMOIDS = Settings((8,), "sigmoid", 1.0, 100)
_TANH = Settings((8,), "tanh", 0.3, 60)
_RELU = Settings((8,), "relu", 0.1, 60)

TROUBLES = {
    "zero-weights": Trouble(
        title="All weights zero",
        problem="xor",
        ill=replace(_SIGMOIDS, init="zeros"),
        well=_SIGMOIDS,
        sign="weights",
        seen=_zero_weights,
        why="Units that begin alike get the same delta, each step moves them alike, and they stay "
        "alike for ever: eight units are worth one. (With tanh or relu nothing moves at all: h is "
        "g(0) = 0, and every dL/dW is a product with it or with a weight of 0.)",
        formulas=("delta_j^(1) = (sum_i delta_i^(2) W_ij^(2)) g'(a_j^(1))",),
        remedy="First weights drawn at random, which is Model's default; biases may be 0.",
    ),
    "saturation": Trouble(
        title="Saturated units",
        problem="circles",
        ill=replace(_TANH, init=[Normal(50.0), "glorot_uniform"]),
        well=_TANH,
        sign="slopes",
        seen=_saturation,
        why="With weights that large a is far from 0, and tanh flat there. On its way down delta "
        "is multiplied by that slope, so next to nothing arrives.",
        formulas=("delta^(1) = (delta^(2) W^(2)) * g'(a^(1))", "g'(a) = 1 - h^2"),
        remedy="First weights that keep a within the bend of g: the default, glorot_uniform, draws "
        "them below sqrt(6 / (n_in + n_out)). Inputs of size 1, or norm=\"batch\", do the same.",
    ),
    "dead-relu": Trouble(
        title="Dead ReLUs",
        problem="circles",
        ill=replace(_RELU, learning_rate=5.0),
        well=_RELU,
        sign="slopes",
        seen=_dead_relu,
        why="Where a < 0 relu gives 0 and has the slope 0. Steps too long have moved W and b so "
        "far that a < 0 for every point: delta is 0, so is dL/dW, and no step brings it back.",
        formulas=("h = max(a, 0)", "g'(a) = 1 where a > 0, else 0"),
        remedy="A smaller learning rate, here 0.1 in place of 5. Or leaky_relu, elu or gelu, whose "
        "slope is not 0 there, so that a unit can come back.",
    ),
    "large-rate": Trouble(
        title="Too large a learning rate",
        problem="circles",
        ill=replace(_RELU, activation=LeakyReLU(0.3), learning_rate=5.0),
        well=replace(_RELU, activation=LeakyReLU(0.3)),
        sign="loss",
        seen=_large_rate,
        why="The gradient says where the loss falls at first, not for how long. A step that is too "
        "long ends on the valley's other side, higher up and where it is steeper, so that the next "
        "one is longer still. In a valley L = c w^2 / 2 that is so for every alpha > 2 / c:",
        formulas=("w <- w - alpha dL/dw = w - alpha c w = (1 - alpha c) w",),
        remedy="A tenth or a hundredth of the rate: the largest with which the loss still falls "
        "is a good one. A schedule lets it fall later; clip_norm bounds the step.",
    ),
    "unscaled": Trouble(
        title="Unscaled inputs",
        problem="circles",
        ill=_TANH,
        well=_TANH,
        sign="columns",
        seen=_unscaled,
        why="The gradient of a weight is delta times the number that comes in through it. Columns "
        "in other units have gradients of other sizes, and one learning rate cannot suit both; "
        "large numbers saturate the units besides.",
        formulas=("dL/dW_ij^(1) = delta_i^(1) x_j",),
        remedy="Columns of mean 0 and deviation 1: (X - X.mean(0)) / X.std(0), with the mean and "
        "deviation of the training rows. fastnn train does it unasked, and so does a Model whose "
        "sizes are [None, 8, None].",
        prepared=_scaled,
    ),
    "vanishing-gradient": Trouble(
        title="The vanishing gradient",
        problem="circles",
        ill=replace(_RELU, hidden=(8,) * 5, activation="sigmoid"),
        well=replace(_RELU, hidden=(8,) * 5),
        sign="layers",
        seen=_vanishing,
        why="Each layer on the way down multiplies delta by W and by the slope g'(a). That of "
        "sigmoid is at most 1/4, so five layers leave less than a thousandth.",
        formulas=("delta^(k-1) = (delta^(k) W^(k)) * g'(a^(k-1))", "g'(a) = h (1 - h)"),
        remedy="relu, whose slope is 1 where a > 0, with he_uniform, its default; or tanh; or "
        "norm=\"batch\".",
    ),
}  # fmt: skip
