"""How far a fit has come, on stderr: a tqdm bar on a terminal, otherwise one line an epoch."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from fastnn._history import History


class Progress:
    """`epochs` epochs of `n` samples each, over one call of fit or several."""

    def __init__(self, epochs: int, n: int) -> None:
        self.epochs = epochs
        self.n = n
        self.done = 0  # epochs
        self.begin = perf_counter()
        self._bar = _bar(epochs * n, self._title())

    def samples(self, count: int) -> None:
        """`count` more samples have been trained on."""
        if self._bar is not None:
            self._bar.update(count)

    def epoch(self, history: History) -> None:
        """An epoch has ended."""
        self.done += 1
        last = {k: v[-1] for k, v in history.columns().items() if k not in ("epoch", "seconds")}
        if self._bar is not None:
            self._bar.set_description(self._title(), refresh=False)
            self._bar.set_postfix({name: f"{value:.4f}" for name, value in last.items()})
            return
        values = "  ".join(f"{name} {value:.4f}" for name, value in last.items())
        left = (perf_counter() - self.begin) / self.done * (self.epochs - self.done)
        title = f"epoch {self.done:{len(str(self.epochs))}}/{self.epochs}"
        print(f"{title}  {values}  {left:.0f} s left", file=sys.stderr, flush=True)

    def _title(self) -> str:
        """The epoch that is running."""
        return f"epoch {min(self.done + 1, self.epochs)}/{self.epochs}"

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _bar(total: int, title: str) -> Any:
    """A tqdm bar, or None without tqdm or a terminal."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    form = "{desc}{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left{postfix}"
    return tqdm(total=total, desc=title, file=sys.stderr, bar_format=form, dynamic_ncols=True)
