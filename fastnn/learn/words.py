"""What is said of a run, as text and on the page, in the letters of docs/maths.md."""

from __future__ import annotations

from typing import Any

from fastnn.learn.experiments import Run, Settings, number, percent
from fastnn.network.initialize import Normal, Uniform

STEPS = (
    ("Forward", "Layer by layer, from x to f(x), the probability of each class.",
     ("a^(k) = W^(k) h^(k-1) + b^(k)", "h^(k) = g(a^(k))")),
    ("Loss", "Small where f(x) gives the right class y a high probability.",
     ("L = -ln f_y",)),
    ("Delta of the outputs", "What is too much and what too little: e(y) is 1 at y, 0 elsewhere.",
     ("delta^(K) = dL/da^(K) = f(x) - e(y)",)),
    ("Backward", "By the chain rule a delta for every unit below.",
     ("delta^(k-1) = (delta^(k) W^(k)) * g'(a^(k-1))",)),
    ("Gradient", "A weight's: the delta above it times what came in below. A bias's is delta.",
     ("dL/dW_ij^(k) = delta_i^(k) h_j^(k-1)",)),
    ("Update", "A small step down, by the learning rate alpha, b alike; then the next rows.",
     ("W^(k) <- W^(k) - alpha dL/dW^(k)",)),
)  # fmt: skip


def network(run: Run) -> str:
    settings, problem = run.settings, run.problem
    sizes = "-".join(map(str, (problem.n_in, *settings.hidden, problem.n_classes)))
    hidden = f", hidden units {named(settings.activation)}" if settings.hidden else ""
    return f"{sizes}{hidden}, outputs softmax, loss cross-entropy"


def training(run: Run) -> str:
    settings = run.settings
    steps = -(-len(run.problem.y) // settings.batch_size)
    begin = f", first weights {named(settings.init)}" if settings.init is not None else ""
    return (
        f"{settings.epochs} epochs of {steps} steps, learning rate "
        f"{settings.learning_rate:g}{begin}, seed {run.seed}"
    )


def lesson(run: Run) -> list[str]:
    """What is to be seen in it."""
    first, last = run.frames[0], run.last
    told = []
    if run.diverged:
        told.append(
            f"It diverged: in epoch {run.diverged} the loss was no number any more. Try a smaller "
            "learning rate."
        )
    if run.problem.plane and run.settings.hidden:
        n = run.settings.hidden[0]
        told.append(
            f"Each of the {n} units of layer 1 is one straight line, a = 0; what comes after "
            "puts the boundary together from them."
        )
    if last.delta < first.delta / 2:
        told.append(
            f"f(x) - e(y) shrinks from {number(first.delta, 2)} to {number(last.delta, 2)}, and as "
            "every delta is made of it, so does every gradient: the steps become small by "
            "themselves."
        )
    if any(last.dead):
        dead = (f"{percent(one)} of layer {k}" for k, one in enumerate(last.dead, 1) if one)
        told.append(f"Units that let no gradient through, whatever the row: {', '.join(dead)}.")
    if not run.diverged and last.accuracy < 0.9:
        told.append("It has not learned it: compare what other settings do.")
    return told


def settings(of: Settings) -> list[tuple[str, Any]]:
    """As the command line has them."""
    return [
        ("hidden", ",".join(map(str, of.hidden)) or "none"),
        ("activation", named(of.activation)),
        ("init", named(of.init)),
        ("learning-rate", f"{of.learning_rate:g}"),
        ("batch-size", of.batch_size),
        ("epochs", of.epochs),
    ]


def named(setting: Any) -> str:
    """As an option has it: leaky_relu:0.3, normal:50, default."""
    if setting is None:
        return "default"
    if isinstance(setting, str):
        return setting
    if isinstance(setting, list):
        return ", ".join(map(named, setting))
    if isinstance(setting, Normal):
        return f"normal:{setting.std:g}"
    if isinstance(setting, Uniform):
        return f"uniform:{setting.limit:g}"
    return f"{setting.name}:{setting.parameter:g}"


def ended(run: Run) -> str:
    if run.diverged:
        return f"diverged in epoch {run.diverged}"
    return f"accuracy {percent(run.last.accuracy)}"
