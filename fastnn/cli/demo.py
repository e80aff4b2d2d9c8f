"""``fastnn demo``: handwritten digits, from the data to a model file and a picture."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.cli.common import arguments, output
from fastnn.cli.common.messages import Failure
from fastnn.cli.info import network_lines
from fastnn.errors import pip_install
from fastnn.tables.columns import learn
from fastnn.training.split import split

if TYPE_CHECKING:
    from fastnn import History

HELP = "learn handwritten digits and draw what was learnt"
DESCRIPTION = f"""Train on the 1,797 handwritten digits of scikit-learn (8 x 8 pixels; Alpaydin and
Kaynak 1998), print the accuracy on a fifth of them held out, and write digits.safetensors (the
model), digits.npz (the digits held out) and digits.png (learning curve, predictions). Needs
scikit-learn and matplotlib: {pip_install('demo')}."""

HIDDEN, EPOCHS, BATCH, RATE, MOMENTUM = (128, 64), 20, 16, 0.03, 0.9
HELD_OUT = 0.2
COLUMNS, ROWS, ROWS_WRONG = 8, 4, 1  # digits in the picture: the first, and the mistakes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", default=".", metavar="FOLDER", help="where to write (default: here)"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    arguments.add_threads(parser)


def run(args: argparse.Namespace) -> int:
    import fastnn

    images, labels = load_digits()
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {end: str(folder / f"digits.{end}") for end in ("safetensors", "npz", "png")}
    for path in paths.values():
        output.check_writable(path)

    train, test = split(len(labels), HELD_OUT, args.seed, labels)
    print(f"data        {len(train):,} digits to learn from, {len(test)} held out")

    columns = learn(images[train], labels[train])
    sizes = [None, *HIDDEN, None]
    model = fastnn.Model(sizes, seed=args.seed, n_threads=args.threads, columns=columns)
    for name, value in network_lines(model):
        print(f"{name:11} {value}", flush=True)
    curve = model.fit(
        images[train],
        labels[train],
        epochs=EPOCHS,
        batch_size=BATCH,
        optimizer=fastnn.SGD(fastnn.CosineDecay(RATE), MOMENTUM),
        validation_data=(images[test], labels[test]),
        verbose=not args.quiet,
    )

    f = model.forward(images[test])
    accuracy = model.evaluate(images[test], labels[test])["accuracy"]
    print(f"accuracy    {accuracy:.4f} on the {len(test)} digits held out")
    model.save(paths["safetensors"])
    held_out = io.BytesIO()
    np.savez_compressed(held_out, X=images[test], y=labels[test])
    output.replace_bytes(paths["npz"], held_out.getvalue())
    output.replace_bytes(paths["png"], picture(curve, images[test], labels[test], f))
    print(f"written     {paths['safetensors']}, {paths['npz']}, {paths['png']}")
    print(f"\nnext: fastnn evaluate {paths['safetensors']} {paths['npz']}")
    return 0


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) uint8 0..16, labels (1797,); fails without the optional packages."""
    try:
        import matplotlib  # noqa: F401  better missed now than after training
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise Failure(
            f"demo needs scikit-learn and matplotlib ({error.name} is missing): "
            + pip_install("demo")
        ) from None
    digits = load()
    return digits.images.astype(np.uint8), digits.target


# --- the picture

INK, BLUE, RED = "#222222", "#2a6fb0", "#c8362c"
TITLE = {"color": INK, "fontsize": 13, "fontweight": "bold"}


def picture(curve: History, images: np.ndarray, y: np.ndarray, f: np.ndarray) -> bytes:
    """PNG: the learning curve to the left, digits with their predictions to the right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(12, 6.4), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(1, 2, width_ratios=(5, 7))
    _draw_curve(parts[0], curve)
    _draw_digits(parts[1], images, y, f)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)
    return png.getvalue()


def _draw_curve(figure: Any, curve: History) -> None:
    epochs = np.arange(1, len(curve.loss) + 1)
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    loss.plot(epochs, curve.loss, color=BLUE, label="training")
    loss.plot(epochs, curve.val_loss, color=RED, label="held out")
    loss.set_ylabel("cross-entropy loss")
    loss.set_ylim(0, min(max(curve.loss), 2.5) * 1.05)
    loss.legend(frameon=False)
    best = curve.val_accuracy[-1]
    accuracy.plot(epochs, curve.val_accuracy, color=RED)
    accuracy.annotate(
        f"{best:.1%}",
        (epochs[-1], best),
        xytext=(0, -18),
        textcoords="offset points",
        ha="right",
        color=RED,
        fontsize=12,
        fontweight="bold",
    )
    accuracy.set_ylim(min(0.9, min(curve.val_accuracy) - 0.01), 1.0)
    accuracy.set_ylabel("accuracy, held out")
    accuracy.set_xlabel("epoch")
    accuracy.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    for axes in (loss, accuracy):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_xlim(1, epochs[-1])
        axes.set_xticks([1, *range(5, len(epochs) + 1, 5)])
    figure.align_ylabels()
    figure.suptitle("Learning curve", **TITLE)


def _draw_digits(figure: Any, images: np.ndarray, y: np.ndarray, f: np.ndarray) -> None:
    predicted = f.argmax(1)
    wrong = np.flatnonzero(predicted != y)
    upper, lower = figure.subfigures(2, 1, height_ratios=(ROWS + 0.25, ROWS_WRONG + 0.4))
    first = range(min(COLUMNS * ROWS, len(y)))
    _draw_grid(upper, ROWS, images, [(i, str(predicted[i]), INK) for i in first])
    upper.suptitle("What the network reads in digits it has not seen", **TITLE)
    mistakes = [(i, f"{predicted[i]}, is {y[i]}", RED) for i in wrong[: COLUMNS * ROWS_WRONG]]
    _draw_grid(lower, ROWS_WRONG, images, mistakes)
    lower.suptitle(f"Its mistakes: {len(wrong)} of {len(y)}", **TITLE)


def _draw_grid(
    figure: Any, rows: int, images: np.ndarray, shown: list[tuple[int, str, str]]
) -> None:
    """Images with what is written over each, and its colour."""
    places = list(figure.subplots(rows, COLUMNS).flat)
    for place in places:
        place.axis("off")
    for place, (i, text, color) in zip(places, shown, strict=False):
        place.imshow(images[i], cmap="gray_r", vmin=0, vmax=16)
        place.set_title(text, color=color, fontsize=12, pad=3)
