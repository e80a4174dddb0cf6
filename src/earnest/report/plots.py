"""The plots of the page, one function each, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from earnest.report import svg, wording
from earnest.report.svg import Scale

CELL, FONT = 40, 13
"""Side of a confusion matrix's cell and height of its letters, in the drawing's own units."""

LETTER, LINE = 0.95, 3.0
"""Width of a letter and height of a line on a map of words, in per cent of it, or a little more."""

MAX_POINTS = 2000
"""Points of a line or a cloud; more cannot be told apart and make the page heavy."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot."""

    title: str
    name: str
    """Its class in the style sheet: "ours" or "other"."""
    points: list[tuple[float, float]]


def score_scale(intervals: Iterable[dict[str, Any]], *, percent: bool) -> Scale | None:
    """The common axis of several scores; None when none of them is defined."""
    ends = [i[key] for i in intervals for key in ("low", "value", "high") if i.get(key) is not None]
    if not ends:
        return None
    scale = Scale.around(ends, margin=0.06)
    return Scale(max(scale.low, 0.0), min(scale.high, 1.0)) if percent else scale


def whisker(interval: dict[str, Any], scale: Scale, *, ours: bool) -> Markup:
    """A score as a dot and its 95% interval as a line."""
    parts = [svg.line(scale(tick), 0, scale(tick), 100, name="grid") for tick in scale.ticks()]
    if interval.get("value") is not None:
        low, high = (interval["value"] if interval.get(k) is None else interval[k] for k in ("low", "high"))
        parts.append(svg.line(scale(low), 50, scale(high), 50, name="whisker"))
        parts.append(svg.dot(scale(interval["value"]), 50, 5, name="point"))
    return svg.drawing(parts, name=f"score {'ours' if ours else 'other'}")


def score_axis(scale: Scale, *, percent: bool) -> Markup:
    """The numbers below a column of whiskers."""
    return svg.drawing(
        (svg.text(scale(tick), 0, label, dy=14, name="tick middle") for tick, label in _labels(scale, percent=percent)),
        name="axis",
    )


def curves(series: Sequence[Series], *, x_title: str, percent: bool, breaks: Sequence[tuple[float, str]]) -> Markup:
    """Lines over time, such as the loss by epoch; `breaks` are places where another stage begins, and its name."""
    points = [point for one in series for point in one.points]
    across, up = Scale.around((x for x, _ in points), margin=0.0), Scale.around(y for _, y in points)
    if percent:
        up = Scale(max(up.low, 0.0), min(up.high, 1.0))
    across = Scale(across.low, across.high) if across.high > across.low else Scale(across.low - 1, across.high + 1)
    parts = _frame(across, up, percent_up=percent, count_across=True)
    for place, name in breaks:
        parts.append(svg.line(across(place), 0, across(place), 100, name="break"))
        parts.append(svg.text(across(place), 0, name, dx=4, dy=10))
    for one in series:
        thinned = one.points[:: -(-len(one.points) // MAX_POINTS)]
        parts.append(svg.path([(across(x), 100 - up(y)) for x, y in thinned], name=f"curve {one.name}"))
    parts.append(svg.text(50, 100, x_title, dy=36, name="tick middle"))
    return svg.drawing(parts, name="plot wide", describe=f"{', '.join(one.title for one in series)} by {x_title}")


def reliability(bins: Sequence[dict[str, Any]], *, before: Sequence[dict[str, Any]]) -> Markup:
    """Accuracy against stated confidence, a dot a bin, its area the number of rows; the diagonal is perfect.

    `before` is the same before temperature scaling, drawn as rings; it may be empty.
    """
    unit = Scale(0.0, 1.0)
    parts = _frame(unit, unit, percent_up=True, percent_across=True)
    parts.append(svg.line(0, 100, 100, 0, name="ideal"))
    for name, some in (("ring", before), ("point", bins)):
        filled = [b for b in some if b["n"] and b["confidence"] is not None and b["accuracy"] is not None]
        most = max((b["n"] for b in filled), default=1)
        for b in filled:
            hint = f"{b['n']:,} rows: stated {b['confidence']:.1%}, right {b['accuracy']:.1%}"
            radius = 3 + 7 * math.sqrt(b["n"] / most)
            parts.append(svg.dot(unit(b["confidence"]), 100 - unit(b["accuracy"]), radius, name=name, title=hint))
    parts.append(svg.text(50, 100, "stated confidence", dy=36, name="tick middle"))
    return svg.drawing(parts, name="plot square", describe="accuracy against stated confidence")


def scatter(actual: Sequence[float | None], predicted: Sequence[float | None]) -> Markup:
    """Predicted against actual values; on the diagonal they are equal."""
    pairs = [(a, p) for a, p in zip(actual, predicted, strict=True) if a is not None and p is not None][:MAX_POINTS]
    both = Scale.around(value for pair in pairs for value in pair)
    parts = _frame(both, both)
    parts.append(svg.line(0, 100, 100, 0, name="ideal"))
    parts.append(svg.cloud(((both(a), 100 - both(p)) for a, p in pairs), name="cloud"))
    parts.append(svg.text(50, 100, "actual", dy=36, name="tick middle"))
    return svg.drawing(parts, name="plot square", describe=f"predicted against actual values of {len(pairs)} rows")


def word_map(words: Sequence[tuple[str, float, float]]) -> Markup:
    """Words at their places in the plane; those whose letters would cover others' are dots, named under the pointer."""
    across, up = Scale.around(x for _, x, _ in words), Scale.around(y for _, _, y in words)
    parts, taken = [], list[tuple[float, float, float]]()
    for word, x, y in words:
        place, name = (across(x), 100 - up(y)), wording.shorten(word, 20)
        half = LETTER * len(name) / 2
        free = all(abs(place[1] - b) > LINE or abs(place[0] - a) > half + other for a, b, other in taken)
        if free:
            taken.append((*place, half))
            parts.append(svg.text(*place, name, dy=4, name="tick middle"))
        else:
            parts.append(svg.dot(*place, 1.5, name="point faint", title=name))
    return svg.drawing(parts, name="plot wide tall", describe=f"a map of {len(words)} words")


def confusion(labels: Sequence[object], counts: Sequence[Sequence[int]]) -> Markup:
    """The confusion matrix as a heat map: rows are the truth, columns the answer, shade is the share of the row."""
    names = [wording.shorten(label, 14) for label in labels]
    margin = FONT * 0.62 * max(len(name) for name in names) + 14
    side = margin + CELL * len(names)
    parts = []
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        y = margin + CELL * i
        parts.append(_label(margin - 8, y + CELL / 2, name, "end"))
        parts.append(_label(margin + CELL * (i + 0.5), margin - 8, name, "turned"))
        total = sum(row)
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            parts.append(
                _cell(margin + CELL * j, y, count, share, right=i == j, hint=_confusion_hint(labels, i, j, count))
            )
    size = f'viewBox="0 0 {side:.0f} {side:.0f}" style="min-width:{0.66 * side:.0f}px;max-width:{1.2 * side:.0f}px"'
    opening = Markup(f'<svg class="confusion" {size} role="img" aria-label="confusion matrix">')
    return opening + Markup("").join(parts) + Markup("</svg>")


def _cell(x: float, y: float, count: int, share: float, *, right: bool, hint: str) -> Markup:
    shade = 0.0 if not count else 0.12 + 0.88 * share
    rect = Markup(
        f'<rect class="{"right" if right else "wrong"}" x="{x:.0f}" y="{y:.0f}" width="{CELL - 2}" '
        f'height="{CELL - 2}" rx="3" fill-opacity="{shade:.2f}"><title>'
    )
    number = Markup("")
    if count:
        words = f"{count:,}" if count < 10_000 else f"{count / 1000:.0f}k"
        number = _label(x + CELL / 2 - 1, y + CELL / 2 - 1, words, "middle on" if shade > 0.55 else "middle")
    return rect + hint + Markup("</title></rect>") + number


def _confusion_hint(labels: Sequence[object], truth: int, answer: int, count: int) -> str:
    return f"{labels[truth]} answered as {labels[answer]}: {count:,}"


def _label(x: float, y: float, content: str, name: str) -> Markup:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if name == "turned" else ""
    return Markup(f'<text class="{name}" x="{x:.1f}" y="{y:.1f}"{turn}>') + content + Markup("</text>")


def _frame(
    across: Scale,
    up: Scale,
    *,
    percent_across: bool = False,
    percent_up: bool = False,
    count_across: bool = False,
) -> list[Markup]:
    """Grid lines and their numbers; what is counted across has ticks at whole numbers only."""
    parts = []
    for tick, label in _labels(up, percent=percent_up):
        parts.append(svg.line(0, 100 - up(tick), 100, 100 - up(tick), name="grid"))
        parts.append(svg.text(0, 100 - up(tick), label, dx=-8, dy=4, name="tick end"))
    for tick, label in _labels(across, percent=percent_across):
        if not count_across:
            parts.append(svg.text(across(tick), 100, label, dy=18, name="tick middle"))
        elif tick == round(tick):
            parts.append(svg.text(across(tick), 100, f"{tick:,.0f}", dy=18, name="tick middle"))
    return parts


def _labels(scale: Scale, *, percent: bool) -> list[tuple[float, str]]:
    ticks = scale.ticks()
    step = ticks[1] - ticks[0] if len(ticks) > 1 else scale.high - scale.low
    return [(tick, svg.tick_label(tick, step, percent=percent)) for tick in ticks]
