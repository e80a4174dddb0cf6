"""How metrics, numbers and times are written, the same on the page, in the card and in the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from unicodedata import category

MISSING = "–"
"""Stands where a number is not defined: JSON has no NaN, so the files say null."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A score as people read it."""

    name: str
    """scikit-learn's name, the one in evaluation.json."""
    title: str
    meaning: str
    percent: bool = False
    higher_is_better: bool = True


_KNOWN = (
    Metric("accuracy", "accuracy", "share of rows answered correctly", percent=True),
    Metric("balanced_accuracy", "balanced accuracy", "mean over classes of the share found", percent=True),
    Metric("f1_macro", "macro F1", "mean over classes of the balance between precision and recall", percent=True),
    Metric("precision", "precision", "share right among the rows answered with this class", percent=True),
    Metric("recall", "recall", "share found among the rows that are of this class", percent=True),
    Metric("f1", "F1", "harmonic mean of precision and recall", percent=True),
    Metric(
        "log_loss", "log loss", "how surprised the stated probabilities were; lower is better", higher_is_better=False
    ),
    Metric("roc_auc", "ROC AUC", "chance that a random positive row is ranked above a random negative one"),
    Metric("rmse", "RMSE", "typical error, large ones weigh more; lower is better", higher_is_better=False),
    Metric("mae", "MAE", "mean absolute error; lower is better", higher_is_better=False),
    Metric("r2", "R²", "share of the target's variance that is explained"),
    Metric(
        "bits_per_character",
        "bits per character",
        "what the text would cost, were it packed by this model; lower is better",
        higher_is_better=False,
    ),
    Metric(
        "nearness",
        "nearness",
        "how often a word that stands near another in unseen text is more like it than one drawn by lot; 50% is chance",
        percent=True,
    ),
    Metric("nats", "nats", "how surprising a token was, -log p, on average; lower is better", higher_is_better=False),
    Metric(
        "perplexity",
        "perplexity",
        "among so many tokens, all equally likely, choosing would be as hard; lower is better",
        higher_is_better=False,
    ),
)
_OF_PICTURES = (
    Metric(
        "kernel_distance",
        "kernel distance",
        "how unlike made and real pictures are in the judge's features, 0 for the same kind; lower is better",
        higher_is_better=False,
    ),
    Metric(
        "frechet_distance",
        "Fréchet distance",
        "between Gaussians fitted to the features of made and of real pictures; lower is better",
        higher_is_better=False,
    ),
    Metric("diversity", "diversity", "how far made pictures are from each other, as a share of what real ones are"),
    Metric("distinct", "distinct neighbours", "to how many different real pictures made ones are near, as a share"),
)
METRICS = {metric.name: metric for metric in (*_KNOWN, *_OF_PICTURES)}
_OF_TAGS = {
    "f1": "harmonic mean of precision and recall, over all entities",
    "precision": "share right among the entities given: of the right type, and neither longer nor shorter",
    "recall": "share of the true entities that were found so",
    "accuracy": "share of words whose tag is right; mostly easy words that belong to no entity",
}


_OF_MADE = {
    "precision": "share of made pictures that lie among real ones",
    "recall": "share of real pictures that lie among made ones",
}


def metric(name: str) -> Metric:
    """The metric called `name`; one that is not known is shown under its own name."""
    return METRICS.get(name) or Metric(name, name.replace("_", " "), "")


def meaning(name: str, *, of_tags: bool = False, of_pictures: bool = False) -> str:
    """What a metric says, in a few words; some say another thing of sentences' tags, or made pictures, than of rows."""
    other = _OF_TAGS if of_tags else _OF_MADE if of_pictures else {}
    return other.get(name) or metric(name).meaning


def score(name: str, value: float | None, half_width: float | None = None) -> str:
    """A score with as many decimals as its uncertainty leaves meaningful: two digits of the interval's half width.

    >>> score("accuracy", 0.97389, half_width=0.0105)
    '97.4%'
    """
    if value is None:
        return MISSING
    if metric(name).percent:
        decimals = _decimals(None if half_width is None else 100 * half_width, default=1)
        return f"{minus(100 * value, min(max(decimals, 1), 2))}%"
    return minus(value, _decimals(half_width, default=3 if abs(value) < 100 else 1))


def interval(name: str, value: dict[str, Any]) -> str:
    """The score alone, `value` being an interval of evaluation.json."""
    return score(name, value["value"], half_width(value))


def bounds(name: str, value: dict[str, Any]) -> str:
    """Where the score lies with 95% confidence, such as "96.1% to 98.2%"."""
    width = half_width(value)
    if width is None:
        return "no interval"
    return f"{score(name, value['low'], width)} to {score(name, value['high'], width)}"


def difference(name: str, value: dict[str, Any]) -> str:
    """A paired difference with its interval; per cents differ by points."""
    width = half_width(value)
    low, middle, high = (signed(name, value[key], width) for key in ("low", "value", "high"))
    unit = " points" if metric(name).percent else ""
    return f"{middle}{unit}" + ("" if width is None else f" ({low} to {high})")


def signed(name: str, value: float | None, half_width: float | None) -> str:
    """A difference of scores with its sign, per cents without theirs."""
    text = score(name, value, half_width).removesuffix("%")
    return f"+{text}" if value is not None and value > 0 else text


def half_width(value: dict[str, Any]) -> float | None:
    """Half the width of an interval of evaluation.json, None where a bound is missing."""
    low, high = value.get("low"), value.get("high")
    return None if low is None or high is None else abs(high - low) / 2


def minus(value: float, decimals: int) -> str:
    """A number with thousands separated and a true minus sign; never "-0"."""
    text = f"{value:,.{decimals}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.removeprefix("-")
    return text.replace("-", "−")


def number(value: Any) -> str:
    """A number in at most four significant digits, yes or no, anything else as it is."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return minus(value, 0)
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4:
        return f"{value:.2e}".replace("-", "−")
    text = minus(value, max(0, 3 - magnitude))
    return text.rstrip("0").rstrip(".") if "." in text else text


def probability(value: float | None) -> str:
    """A p-value: never "0"."""
    if value is None:
        return MISSING
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: "0.8 s", "46 s", "3 min 20 s", "2 h 5 min"."""
    if seconds is None:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"


def plural(count: int, word: str, words: str | None = None) -> str:
    """ "1 finding", "3 findings"; `words` where the plural is not the word with an s."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def times(count: int) -> str:
    """ "once", "3 times"."""
    return "once" if count == 1 else f"{count:,} times"


def shorten(text: object, length: int = 60) -> str:
    """Text cut at `length` characters, on one line; control characters and lone surrogates become spaces."""
    line = " ".join("".join(" " if category(c) in ("Cc", "Cs") else c for c in str(text)).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _decimals(half_width: float | None, *, default: int) -> int:
    if half_width is None or half_width <= 0:
        return default
    return min(max(1 - math.floor(math.log10(half_width)), 0), 6)
