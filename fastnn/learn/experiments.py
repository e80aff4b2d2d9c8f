"""Training runs that note, after each epoch, what is to be seen of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastnn.errors import DivergenceError
from fastnn.kernels.layer import slope
from fastnn.learn.problems import Problem
from fastnn.model import Model
from fastnn.network.activations import Activation, kernel
from fastnn.network.initialize import Normal
from fastnn.training.fit import Callback, Fit
from fastnn.values import Value

GRID = 32  # cells of a picture of the plane, each way
MOST_PICTURES = 24
MOST_FRAMES = 100
MOST_ROWS = 200  # that gradients and losses are measured on
EARLY = 11  # frames: before training, and after each of ten epochs
FLAT = 0.05  # of the steepest slope: below it a unit passes on hardly any gradient


STEEPEST = {"sigmoid": 0.25}  # g'(0); of others about 1


class Settings(Value):
    """What a run may be told; names and defaults as of `Model` and `Model.fit`."""

    hidden: tuple[int, ...]
    activation: str | Activation
    learning_rate: float
    epochs: int
    batch_size: int = 10
    init: Any = None


class Frame(Value, eq=False):
    """A network at the end of an epoch, 0 being before the first."""

    epoch: int
    loss: float
    accuracy: float  # on rows not learned from
    delta: float  # mean length of delta = f(x) - e(y) over the rows
    norms: tuple[float, ...]  # of each layer's dL/dW
    columns: np.ndarray  # (n_in,) norms of the columns of dL/dW^(1)
    flat: tuple[float, ...]  # share of each hidden layer's slopes g'(a) that are nearly 0
    dead: tuple[float, ...]  # share of its units whose slopes are so for every row
    W: np.ndarray  # (n_1, n_in)
    b: np.ndarray  # (n_1,)
    a: np.ndarray  # (n, n_1)
    f: np.ndarray | None  # of the plane's cells (GRID, GRID) class 1's share; of rows not learned
    # from (n_classes, n_classes) the mean f(x) of each class; None where no picture is to be drawn


class Run(Value, eq=False):
    problem: Problem
    settings: Settings
    seed: int
    frames: list[Frame]  # of every epoch; of a long run of about a hundred
    diverged: int | None  # the epoch in which the loss was no number any more

    @property
    def last(self) -> Frame:
        return self.frames[-1]

    def column(self, name: str) -> np.ndarray:
        """(n_frames,), or (n_frames, n_layers)."""
        return np.array([getattr(frame, name) for frame in self.frames])

    @property
    def shown(self) -> list[Frame]:
        """Those with a picture."""
        return [frame for frame in self.frames if frame.f is not None]


def run(problem: Problem, settings: Settings, seed: int) -> Run:
    """Train a network by plain SGD. A loss that grows beyond all numbers ends the run, no more."""
    activation: Any = settings.activation if settings.hidden else []
    model = Model(
        [problem.n_in, *settings.hidden, problem.n_classes],
        activation=activation,
        seed=seed,
        n_threads=1,
        init=settings.init,
    )
    observer = _Observer(problem, settings.epochs)
    diverged = None
    with np.errstate(all="ignore"):
        try:
            model.fit(
                problem.X,
                problem.y,
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                callbacks=[observer],
            )
        except DivergenceError:
            diverged = observer.epoch
    return Run(problem, settings, seed, observer.frames, diverged)


def early_norms(of: Run) -> np.ndarray:
    """Each layer's mean norm of dL/dW over the first epochs, (n_layers,)."""
    norms: np.ndarray = of.column("norms")[:EARLY].mean(0)
    return norms


def percent(share: float) -> str:
    return f"{share:.0%}"


def number(value: float, digits: int = 3) -> str:
    """With so many significant digits."""
    if not math.isfinite(value):
        return "no number" if math.isnan(value) else "infinite"
    figures, e, power = f"{value:.{digits}g}".partition("e")
    return f"{figures}e{int(power)}" if e else figures


def spaced(epochs: int, most: int) -> list[int]:
    """0 to epochs, at most `most` of them, denser at the beginning, where more happens."""
    ends = np.expm1(np.linspace(0, math.log1p(epochs), most))
    return sorted({0, epochs, *np.rint(ends).astype(int).tolist()})


class _Observer(Callback):
    def __init__(self, problem: Problem, epochs: int) -> None:
        self.problem = problem
        self.frames: list[Frame] = []
        self.epoch = 0
        self.pictured = set(spaced(epochs, MOST_PICTURES))
        steps = range(0, epochs, max(1, epochs // MOST_FRAMES))
        self.noted = {*range(EARLY), *steps, *self.pictured}
        self.cells = plane(problem) if problem.plane else None

    def on_fit_begin(self, fit: Fit) -> None:
        self._look(fit.model, 0)

    def on_epoch_begin(self, fit: Fit) -> None:
        self.epoch = fit.epoch

    def on_epoch_end(self, fit: Fit) -> None:
        if fit.epoch in self.noted:
            self._look(fit.model, fit.epoch)

    def _look(self, model: Model, epoch: int) -> None:
        problem = self.problem
        trace = model.trace(problem.X[:MOST_ROWS], problem.y[:MOST_ROWS])
        grads = [np.asarray(one, np.float64) for one in trace.grad_W]
        flat = []
        for a, g in zip(trace.a[:-1], model.activations, strict=True):
            slope(a, d := np.empty_like(a), kernel(g))
            flat.append(np.abs(d) < FLAT * STEEPEST.get(str(g), 1))
        f_test = model.forward(problem.X_test)
        f = None
        if epoch in self.pictured:
            if self.cells is not None:
                f = model.forward(self.cells)[:, 1].reshape(GRID, GRID)
            else:
                classes = range(problem.n_classes)
                f = np.array([f_test[problem.y_test == c].mean(0) for c in classes])
        self.frames.append(
            Frame(
                epoch=epoch,
                loss=trace.loss,
                accuracy=float(np.mean(f_test.argmax(1) == problem.y_test)),
                delta=float(np.mean(np.sqrt(np.square(trace.delta[-1]).sum(1)))),
                norms=tuple(math.sqrt(np.square(one).sum()) for one in grads),
                columns=np.sqrt(np.square(grads[0]).sum(0)),
                flat=tuple(float(one.mean()) for one in flat),
                dead=tuple(float(one.all(0).mean()) for one in flat),
                W=np.array(trace.W[0]),
                b=np.array(trace.b[0]),
                a=trace.a[0],
                f=f,
            )
        )


def box(problem: Problem) -> np.ndarray:
    """The part of the plane that is drawn, (2, 2): lowest and highest x_0, x_1."""
    most = np.abs(problem.X).max(0) * 1.08
    return np.stack([-most, most], 1)


def plane(problem: Problem) -> np.ndarray:
    """The middles of its cells, row by row from the top, (GRID^2, 2)."""
    at = (np.arange(GRID) + 0.5) / GRID
    (left, right), (bottom, top) = box(problem)
    x, y = left + at * (right - left), top - at * (top - bottom)
    return np.stack(np.broadcast_arrays(x, y[:, None]), -1).reshape(-1, 2).astype(np.float32)


# --- comparisons


DEFAULTS = {
    "xor": Settings((4,), "tanh", 0.2, 40),
    "circles": Settings((8,), "relu", 0.1, 60),
    "spirals": Settings((32, 32), "relu", 0.1, 300),
    "digits": Settings((16,), "relu", 0.1, 20),
}


class Comparison(Value, eq=False):
    """Runs that differ in one setting."""

    title: str
    told: str
    settings: dict[str, Settings]  # by what each is called


def compared(name: str, settings: Settings) -> Comparison:
    title, told, of_each = COMPARED[name]
    field = name.replace("-", "_")
    each = {label: replace(settings, **{field: value}) for label, value in of_each(settings)}
    return Comparison(title, told, each)


def _rates(settings: Settings) -> list[tuple[str, Any]]:
    rates = [float(f"{settings.learning_rate * factor:.6g}") for factor in (0.01, 0.1, 1, 10, 100)]
    return [(f"{rate:g}", rate) for rate in rates]


COMPARED: dict[str, tuple[str, str, Callable[[Settings], list[tuple[str, Any]]]]] = {
    "learning-rate": (
        "Learning rate",
        "How far a step goes: too small, and the epochs do not suffice; too large, and steps leap "
        "over the valley they should go down into.",
        _rates,
    ),
    "init": (
        "Initialisation",
        "Where the weights begin. All alike, and units stay alike; too small, and hardly a "
        "gradient comes through; too large, and g is flat where a lies. The default fits its "
        "deviation to the number of units.",
        lambda settings: [
            ("zeros", "zeros"),
            ("normal:0.01", Normal(0.01)),
            ("default", None),
            ("normal:3", Normal(3.0)),
            ("normal:30", Normal(30.0)),
        ],
    ),
    "activation": (
        "Activation",
        "What bends the lines. With identity the layers are one linear map, so that the boundary "
        "stays a straight line, however many there are.",
        lambda settings: [(name, name) for name in ("identity", "sigmoid", "tanh", "relu", "gelu")],
    ),
    "hidden": (
        "Hidden units",
        "How many lines there are to make a boundary of. Without hidden units it is one line.",
        lambda settings: [
            ("none", ()),
            *((",".join(map(str, one)), one) for one in ((1,), (2,), (4,), (16,), (16, 16))),
        ],
    ),
}
