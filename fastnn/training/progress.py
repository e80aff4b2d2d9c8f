"""How far a fit has come, on stderr: a tqdm bar on a terminal, otherwise one line an epoch.

Of many at once: one bar for all, otherwise one line a network.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

from fastnn.training.history import History


class Watcher(Protocol):
    """Who is told how far a fit has come."""

    def samples(self, count: int, loss: float) -> None:
        """`count` more samples have been trained on; `loss` is the epoch's so far."""

    def epoch(self, history: History) -> None:
        """An epoch has ended."""


class Progress:
    """`epochs` epochs of `n` samples each, `done` of them before."""

    def __init__(self, epochs: int, n: int, done: int = 0) -> None:
        self.epochs = epochs
        self.before = self.done = done  # epochs
        self.begin = perf_counter()
        self._last: dict[str, float] = {}  # loss of the running epoch, measures after the last
        self._bar = None
        if n:  # a stream's is not known
            self._bar = _bar(epochs * n, done * n, self._title(done + 1))

    def samples(self, count: int, loss: float) -> None:
        """`count` more samples have been trained on; `loss` is the epoch's so far."""
        if self._bar is not None:
            self._last["loss"] = loss
            self._bar.set_postfix_str(self._values(" "), refresh=False)
            self._bar.update(count)

    def epoch(self, history: History) -> None:
        """An epoch has ended."""
        self.done += 1
        left_out = ("epoch", "learning_rate", "seconds")
        self._last = {k: v[-1] for k, v in history.columns().items() if k not in left_out}
        if self._bar is not None:
            self._bar.set_description_str(self._title(self.done + 1), refresh=False)
            self._bar.set_postfix_str(self._values(" "))
            return
        each = (perf_counter() - self.begin) / (self.done - self.before)
        left = each * (self.epochs - self.done)
        line = f"{self._title(self.done)}  {self._values('  ')}  {left:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    def _title(self, epoch: int) -> str:
        return f"epoch {min(epoch, self.epochs):{len(str(self.epochs))}}/{self.epochs}"

    def _values(self, between: str) -> str:
        return between.join(f"{name} {_text(value)}" for name, value in self._last.items())

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Member:
    """One fit among many: it counts, another thread shows."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.done = 0  # of them
        self.ended = False
        self.column = "loss"
        self.best = math.inf

    def samples(self, count: int, loss: float) -> None:
        pass

    def epoch(self, history: History) -> None:
        self.column = "val_loss" if "val_loss" in history else "loss"
        self.best = min(self.best, history[self.column][-1])
        self.done += 1


class ProgressOfMany:
    """How far the fits of `members` have come: looked at now and then."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.begin = perf_counter()
        self.epochs = sum(one.epochs for one in members)
        self._seen = self._told = 0  # epochs, members that ended
        self._bar = _bar(self.epochs, 0, self._title(0))

    def _title(self, ended: int) -> str:
        return f"network {min(ended + 1, len(self.members))}/{len(self.members)}"

    def show(self) -> None:
        """The members as they stand."""
        ended = sum(one.ended for one in self.members)
        done = sum(one.epochs if one.ended else one.done for one in self.members)
        best = min(self.members, key=lambda one: one.best)
        values = f"best {best.column} {_text(best.best)}" if best.best < math.inf else ""
        if self._bar is not None:
            self._bar.set_description_str(self._title(ended), refresh=False)
            self._bar.set_postfix_str(values, refresh=False)
            self._bar.update(done - self._seen)
        elif ended > self._told:
            left = (perf_counter() - self.begin) / done * (self.epochs - done)
            line = f"network {ended}/{len(self.members)}  epoch {done}/{self.epochs}"
            print(f"{line}  {values}  {left:.0f} s left", file=sys.stderr, flush=True)
        self._seen, self._told = done, ended

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _text(value: float) -> str:
    """Four decimals, where the number's size suits them."""
    if 1e-3 <= abs(value) < 1e4 or not value:
        return f"{value:.4f}"
    return f"{value:.{3 if abs(value) < 1 else 5}g}"


def _bar(total: int, initial: int, title: str) -> Any:
    """A tqdm bar, or None without tqdm or a terminal."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    form = "{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}"  # 80 columns will do
    bar = tqdm(total=total, initial=initial, file=sys.stderr, bar_format=form, dynamic_ncols=True)
    bar.set_description_str(title)
    return bar
