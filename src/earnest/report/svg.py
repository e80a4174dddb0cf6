"""Inline SVG that keeps its letters at reading size on any screen.

Positions are per cents of the drawing, letters and strokes are pixels, so a plot can be squeezed to a phone's width
without its text shrinking. What per cents cannot say (paths) goes into a stretched inner drawing. Colours are the
page's: every element has a class, and `page.css` says what it looks like in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values from `low` to `high` on 0 to 100 per cent."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, margin: float = 0.05) -> Scale:
        """The scale that holds all values, with `margin` of its span free on both sides."""
        finite = [value for value in values if math.isfinite(value)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        span = (high - low) or abs(high) or 1.0
        return cls(low - margin * span, high + margin * span)

    def __call__(self, value: float) -> float:
        """Per cent of the way from `low` to `high`, values beyond them at the edge."""
        return 100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self, num: int = 4) -> list[float]:
        """About `num` round values between `low` and `high`."""
        step = _round_step((self.high - self.low) / num)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [index * step for index in range(first, last + 1)]


def tick_label(value: float, step: float, *, percent: bool = False) -> str:
    """A tick's value with the decimals that tell it from the next one, `step` away."""
    if percent:
        return f"{tick_label(100 * value, 100 * step)}%"
    if value and (abs(value) >= 1e9 or abs(value) < 1e-4):
        return f"{value:.1e}".replace("-", "−")
    if abs(value) >= 1e6:
        return f"{value / 1e6:.6g}M".replace("-", "−")
    decimals = next((d for d in range(6) if abs(step * 10**d - round(step * 10**d)) < 1e-6 * step * 10**d), 6)
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.removeprefix("-")


def drawing(parts: Iterable[Markup], *, name: str, describe: str = "") -> Markup:
    """An SVG of class `name`, sized by the style sheet; `describe` is what a screen reader says."""
    label = Markup(' role="img" aria-label="{}"').format(describe) if describe else Markup(' aria-hidden="true"')
    return Markup('<svg class="{}"{}>{}</svg>').format(name, label, Markup("").join(parts))


def line(x1: float, y1: float, x2: float, y2: float, *, name: str) -> Markup:
    """A line between two points, in per cent."""
    place = f'x1="{x1:.2f}%" y1="{y1:.2f}%" x2="{x2:.2f}%" y2="{y2:.2f}%"'
    return Markup(f'<line class="{name}" {place}/>')


def dot(x: float, y: float, radius: float, *, name: str, title: str = "") -> Markup:
    """A dot at a point in per cent, its radius in pixels; `title` shows under the pointer."""
    hint = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup(f'<circle class="{name}" cx="{x:.2f}%" cy="{y:.2f}%" r="{radius:.1f}">') + hint + Markup("</circle>")


def text(x: float, y: float, content: str, *, dx: float = 0, dy: float = 0, name: str = "tick") -> Markup:
    """Letters at a point in per cent, moved by pixels; the class says how they are anchored."""
    place = f'x="{x:.2f}%" y="{y:.2f}%" dx="{dx:g}" dy="{dy:g}"'
    return Markup(f'<text class="{name}" {place}>') + escape(content) + Markup("</text>")


def path(points: Sequence[tuple[float, float]], *, name: str) -> Markup:
    """A line through points in per cent; a single one is drawn as a dot."""
    if len(points) == 1:
        return dot(*points[0], 2.5, name=f"{name} alone")
    steps = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return stretched(Markup(f'<polyline class="{name}" points="{steps}"/>'))


def cloud(points: Iterable[tuple[float, float]], *, name: str) -> Markup:
    """Many round dots as one element: lines of no length, whose caps are round."""
    marks = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return stretched(Markup(f'<path class="{name}" d="{marks}"/>'))


def stretched(content: Markup) -> Markup:
    """Content drawn in per cents of both sides, however long these are; its strokes stay in pixels."""
    frame = Markup(
        '<svg class="stretched" width="100%" height="100%" viewBox="0 0 100 100" preserveAspectRatio="none">'
    )
    return frame + content + Markup("</svg>")


def _round_step(step: float) -> float:
    """The least of 1, 2, 2.5, 5 and 10 times a power of ten that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
