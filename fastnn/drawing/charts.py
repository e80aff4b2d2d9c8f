"""Drawings as SVG: text stays text, and colours are those of the page's style (--series-1, ...), so
that one drawing is right in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 420, 280  # of the drawing, in its own units: pixels where there is room
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 42  # around the axes
TICKS = 5
UNITS = ((1e6, "M"), (1e3, "k"))
LONGEST = 44  # characters of a title on an axis


@dataclass
class Series:
    """Points (x, y), drawn as a line, as dots or as both."""

    x: np.ndarray
    y: np.ndarray
    name: str = ""  # in the legend; none: not there
    color: int = 1  # 1 to 6; 0: that of the axes
    line: bool = True
    dots: bool = False
    faint: bool = False
    sizes: np.ndarray | None = None  # of the dots, radii


@dataclass
class Range:
    """An axis: which values it shows, where its ticks are, and how these are written."""

    low: float  # of a logarithmic axis the logarithm, to base 10
    high: float
    ticks: list[float]
    texts: list[str]
    log: bool = False

    @classmethod
    def of(cls, values: np.ndarray, skewed: bool = False, whole: bool = False) -> Range:
        """One that holds the finite values, with ticks at round numbers. skewed: logarithmic where
        most of the values lie close to the lowest end. whole: ticks at whole numbers alone."""
        known = values[np.isfinite(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
            off = abs(low) / 10 or 0.5
            low, high = low - off, high + off
        log = skewed and low > 0 and np.median(known) - low < (high - low) / 8 and high > 20 * low
        if log:
            return cls.logarithmic(known)
        step = _round_step(max((high - low) / TICKS, 1.0 if whole else 0.0))
        low, high = _padded(low, high)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        ticks = [k * step for k in range(first, last + 1)]
        return cls(low, high, ticks, [_told(tick, step, max(-low, high)) for tick in ticks])

    @classmethod
    def logarithmic(cls, values: np.ndarray) -> Range:
        """One that holds the finite values above 0."""
        known = np.log10(values[np.isfinite(values) & (values > 0)])
        low, high = (float(known.min()), float(known.max())) if len(known) else (-1.0, 0.0)
        low, high = _padded(low, high) if high > low else (low - 0.5, high + 0.5)
        first, last = math.ceil(low), math.floor(high)
        if last - first < 2:
            ticks = [k * 10.0**n for n in range(first - 1, last + 1) for k in (1, 2, 5)]
        else:
            every = -(-(last - first) // (2 * TICKS))
            ticks = [10.0**n for n in range(first, last + 1, every)]
        ticks = [tick for tick in ticks if 10**low <= tick <= 10**high]
        texts = [
            _told(tick, tick, 10 * tick) if 1e-3 <= tick < 1e7
            else f"{tick:.0e}".replace("e+", "e").replace("e-0", "e-")
            for tick in ticks
        ]  # fmt: skip
        return cls(low, high, ticks, texts, True)

    @property
    def ends(self) -> np.ndarray:
        """The least and the greatest value, (2,)."""
        ends = np.array([self.low, self.high])
        return 10.0**ends if self.log else ends

    def place(self, values: np.ndarray) -> np.ndarray:
        """From 0 to 1; what lies beyond is at the end."""
        if self.log:
            values = np.log10(np.where(values > 0, values, np.nan))
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)


def _padded(low: float, high: float) -> tuple[float, float]:
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _told(tick: float, step: float, largest: float) -> str:
    """A tick's number, with as many digits as tell ticks apart; years have no k."""
    if largest >= 1e10 or step < 1e-4:
        digits = math.floor(math.log10(largest)) - math.floor(math.log10(step)) + 1
        return f"{tick:.{max(digits, 1)}g}"
    unit, name = next((one for one in UNITS if largest >= 10 * one[0]), (1.0, ""))
    digits = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return f"{tick / unit:.{digits}f}{name if tick else ''}"


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of 10."""
    power = 10.0 ** math.floor(math.log10(step))
    return next((k * power for k in (1, 2, 5) if k * power >= step * (1 - 1e-9)), 10 * power)


def plot(
    series: Sequence[Series],
    *,
    title: str,
    told: str,
    x_title: str,
    y_title: str,
    x: Range | None = None,
    y: Range | None = None,
) -> str:
    """A drawing of series over shared axes.

    title, told: what is seen, for those who do not see it.
    """
    x = x or Range.of(np.concatenate([one.x for one in series]))
    y = y or Range.of(np.concatenate([one.y for one in series]))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}: '
        f'{escape(told)}">',
        f"<title>{escape(title)}</title>",
    ]
    for tick, written in zip(y.ticks, y.texts, strict=True):
        at = _down(y, np.array([tick]))[0]
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>')
        parts.append(_text(LEFT - 6, at + 4, written, "end"))
    for tick, written in zip(x.ticks, x.texts, strict=True):
        at = across(x, np.array([tick]))[0]
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(_text(at, bottom + 16, written, "middle"))
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    parts.append(_text((LEFT + right) / 2, HEIGHT - 6, _short(x_title), "middle"))
    turned = f'transform="rotate(-90 12 {(TOP + bottom) / 2})"'
    parts.append(_text(12, (TOP + bottom) / 2, _short(y_title), "middle", turned))
    for one in series:
        parts.append(_drawn(one, across(x, one.x), _down(y, one.y)))
    parts.append("</svg>")
    return "".join(parts)


def legend(series: Sequence[Series]) -> str:
    """The names of the series, each with its stroke or dot; nothing where there are none."""
    keys = [
        f'<li><svg viewBox="0 0 28 10" aria-hidden="true">{_key(one)}</svg>{escape(one.name)}</li>'
        for one in series
        if one.name
    ]
    return f'<ul class="legend">{"".join(keys)}</ul>' if keys else ""


def _key(one: Series) -> str:
    if one.line:
        return f'<path class="{_classes(one)}" d="M1 5H27"/>'
    return f'<circle class="{_classes(one, dots=True)}" cx="14" cy="5" r="4.5"/>'


def across(x: Range, values: np.ndarray) -> np.ndarray:
    return LEFT + x.place(values) * (WIDTH - RIGHT - LEFT)


def _down(y: Range, values: np.ndarray) -> np.ndarray:
    return HEIGHT - BOTTOM - y.place(values) * (HEIGHT - BOTTOM - TOP)


def _drawn(one: Series, across: np.ndarray, down: np.ndarray) -> str:
    known = np.isfinite(across) & np.isfinite(down)
    across, down = across[known], down[known]
    parts = []
    if one.line and len(across):
        points = " ".join(f"{a:.1f} {b:.1f}" for a, b in zip(across, down, strict=True))
        parts.append(f'<path class="{_classes(one)}" d="M{points}"/>')
    if one.dots:
        sizes = np.full(len(across), 2.5) if one.sizes is None else one.sizes[known]
        kind = _classes(one, dots=True)
        dots = [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{r:.1f}"/>'
            for a, b, r in zip(across, down, sizes, strict=True)
        ]
        parts.append(f'<g class="{kind}">{"".join(dots)}</g>')
    return "".join(parts)


def _classes(one: Series, dots: bool = False) -> str:
    return f"{'dots' if dots else 'line'} s{one.color}{' faint' if one.faint else ''}"


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
