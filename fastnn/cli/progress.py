"""What is seen while a network trains, on standard error: a bar, or one plain line an epoch."""

from __future__ import annotations

import sys
import time


class Progress:
    """Loss, measure on the held-out rows and time left, epoch by epoch.

    A bar where tqdm is installed and standard error is a terminal, plain lines otherwise.
    """

    def __init__(self, epochs: int, quiet: bool = False) -> None:
        self.epochs = epochs
        self.quiet = quiet
        self.start = time.perf_counter()
        self.bar = None if quiet else _bar(epochs)

    def show(self, epoch: int, figures: dict[str, float]) -> None:
        """After `epoch` epochs (1-based)."""
        if self.quiet:
            return
        if self.bar is not None:
            self.bar.set_postfix_str(", ".join(f"{k} {v:.4f}" for k, v in figures.items()), False)
            self.bar.update(epoch - self.bar.n)
            return
        seconds = time.perf_counter() - self.start
        left = seconds / epoch * (self.epochs - epoch)
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        print(
            f"epoch {epoch:{len(str(self.epochs))}}/{self.epochs}  {text}  {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _bar(epochs: int):
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(
        total=epochs,
        unit="epoch",
        bar_format="{percentage:3.0f}% |{bar}| epoch {n_fmt}/{total_fmt}{postfix}  "
        "[{elapsed}, {remaining} left]",
        file=sys.stderr,
        dynamic_ncols=True,
    )
