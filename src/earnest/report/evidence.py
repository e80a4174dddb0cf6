"""Everything a run left behind, read once: what the page and the card are drawn from."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earnest.core.run import Run
from earnest.report import wording

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two classes that are taken for each other."""

    truth: str
    prediction: str
    count: int
    share: float
    """Of the rows whose truth it is."""


@dataclass(frozen=True)
class Evidence:
    """A run's files as plain values; None where one does not exist yet."""

    path: str
    """The run folder, as a command run from here would name it."""
    name: str
    """The run folder's own name."""
    facts: Json
    evaluation: Json | None
    audit: Json | None
    boltzmann: Json | None
    """What a Boltzmann machine learned, where one did."""
    recipe: str
    epochs: tuple[Json, ...]
    """One event an epoch; of an epoch that a resume repeated, the last."""
    steps: tuple[Json, ...]
    skipped: tuple[Json, ...]
    cut_short: bool
    """Whether a training ended at its deadline, before the last epoch that it had planned."""
    events: Counter[str]
    """How often each event was logged."""

    @classmethod
    def of(cls, run: Run) -> Evidence:
        """Read the folder.

        Raises:
            RunError: one of its JSON files is damaged.
        """
        events = list(run.events())
        recipe = run.path / "recipe.toml"
        return cls(
            path=_short(run.path),
            name=run.path.name,
            facts=run.facts(),
            evaluation=run.read("evaluation.json"),
            audit=run.read("audit.json"),
            boltzmann=run.read("boltzmann.json"),
            recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.exists() else "",
            epochs=_last_of_each(event for event in events if event["event"] == "epoch"),
            steps=_last_of_each(event for event in events if event["event"] == "step"),
            skipped=tuple(event for event in events if event["event"] == "skipped"),
            cut_short=any(event["event"] == "stopped" and event.get("why") == "out of time" for event in events),
            events=Counter(event["event"] for event in events),
        )

    @property
    def finished(self) -> bool:
        """Whether there is a model to use: its evaluation is written after it, and before this page."""
        return self.evaluation is not None

    @property
    def shipped(self) -> str | None:
        """The candidate that was shipped, where several were tried."""
        candidates = (self.evaluation or {}).get("candidates") or []
        return next((str(candidate["name"]) for candidate in candidates if candidate["shipped"]), None)

    @property
    def selected_by(self) -> str | None:
        """The metric that selects; before the evaluation, the first one that training reports."""
        if self.evaluation:
            return str(self.evaluation["metric"])
        return next((name for name in wording.METRICS if any(name in event for event in self.epochs)), None)

    @property
    def plans(self) -> dict[str, Json]:
        """The frozen plan of each training by its name, what was probed on the machine included."""
        return dict((self.facts.get("plan") or {}).get("trainings") or {})

    @property
    def trainings(self) -> list[str]:
        """The names of the trainings that learning curves are drawn of."""
        return list(by_training(self.epochs or self.steps))

    @property
    def part(self) -> str:
        """The part whose scores speak for the model: "test", or "validation" where no test part was set aside."""
        return "test" if self.evaluation and self.evaluation.get("test") else "validation"

    @property
    def verdict(self) -> str:
        """One sentence: how good the model is, or why that cannot be said yet."""
        if self.evaluation and self.evaluation.get("verdict"):
            return str(self.evaluation["verdict"])
        return {
            "running": "This run has not finished yet, so there is no verdict.",
            "stopped": "This run was stopped before it finished, so there is no verdict yet.",
            "failed": "This run failed before it finished, so there is no verdict.",
        }.get(str(self.facts.get("status")), "This run has not been evaluated, so there is no verdict.")

    @property
    def next_step(self) -> str | None:
        """What to do about a run that did not finish; None when it did."""
        if self.finished:
            return None
        return {
            "running": "It is being trained, or was killed: if nothing is at work on it, go on with the command below.",
            "failed": "Its error.log, where there is one, says why. Go on with the command below.",
        }.get(str(self.facts.get("status")), "Everything is saved. Go on where it stopped with the command below.")

    @property
    def is_tagging(self) -> bool:
        """Whether every word of a sentence is answered."""
        return (self.evaluation or {}).get("task") == "tagging"

    @property
    def goes_on(self) -> bool:
        """Whether it is a language model, which goes on with a text."""
        return self.facts["request"].get("task") == "language-model"

    @property
    def is_words(self) -> bool:
        """Whether it is vectors of a text's words."""
        return self.facts["request"].get("task") == "word-vectors"

    @property
    def makes_pictures(self) -> bool:
        """Whether it makes pictures like those that it learned from."""
        return self.facts["request"].get("task") == "generate"

    @property
    def noun(self) -> str:
        """What an example is called."""
        unit = (self.evaluation or {}).get("unit")
        return str(unit).removesuffix("s") if unit else "sentence" if self.is_tagging else "row"

    @property
    def question(self) -> str:
        """What was asked, in a few words."""
        target = (self.evaluation or {}).get("target") or self.facts["request"].get("target")
        data = Path(str(self.facts["request"].get("data", "the data"))).name
        labels = (self.evaluation or {}).get("labels") or []
        if self.is_tagging:
            types = [str(row["label"]) for row in (self.evaluation or {}).get("per_class") or []]
            return f"Finding {', '.join(types[:8])}{', ...' if len(types) > 8 else ''} in the sentences of {data}"
        if self.goes_on:
            return f"Going on with a text like {data}"
        if self.is_words:
            return f"What the words of {data} mean, by the words around them"
        if self.makes_pictures:
            return f"Making pictures like those of {data}"
        if not target:
            return f"Learning from {data}"
        return f"Predicting “{target}” from {data}" + (f", one of {len(labels):,} classes" if labels else "")

    def findings(self, *severities: str) -> list[Json]:
        """The audit's findings, most severe first, of all severities or some."""
        found = (self.audit or {}).get("findings") or []
        return [finding for finding in found if not severities or finding["severity"] in severities]

    def confused_pairs(self, num: int) -> list[Pair]:
        """The pairs of classes that are mixed up most often, at most `num`."""
        confusion = (self.evaluation or {}).get("confusion")
        if not confusion:
            return []
        labels, counts = confusion["labels"], confusion["counts"]
        pairs = [
            Pair(str(labels[truth]), str(labels[prediction]), count, count / sum(row))
            for truth, row in enumerate(counts)
            for prediction, count in enumerate(row)
            if count and truth != prediction
        ]
        return sorted(pairs, key=lambda pair: (-pair.count, -pair.share))[:num]


@dataclass(frozen=True, slots=True)
class Segment:
    """Some words of a sentence: a marked span, or what lies between."""

    text: str
    kind: str | None
    """Of a span; None between them."""
    agrees: bool
    """Whether the other side has this span too."""


def segments(tokens: Sequence[str], spans: Sequence[Sequence[Any]], others: Sequence[Sequence[Any]]) -> list[Segment]:
    """A sentence in marked and unmarked stretches; `spans` are (type, first token, one past the last), in order."""
    known = {tuple(span) for span in others}
    found, end = [], 0
    for span in spans:
        kind, start, stop = span
        if start > end:
            found.append(Segment(" ".join(tokens[end:start]), None, True))
        found.append(Segment(" ".join(tokens[start:stop]), str(kind), tuple(span) in known))
        end = stop
    if end < len(tokens):
        found.append(Segment(" ".join(tokens[end:]), None, True))
    return found


def ranked(baselines: Json, metric: str) -> list[tuple[str, Json]]:
    """Baselines and their scores, the best at `metric` first; those it is not defined for come last."""
    sign = -1 if wording.metric(metric).higher_is_better else 1

    def key(baseline: tuple[str, Json]) -> tuple[bool, float]:
        value = baseline[1].get(metric, {}).get("value")
        return value is None, 0.0 if value is None else sign * value

    return sorted(baselines.items(), key=key)


def by_training(events: Iterable[Json]) -> dict[str, list[Json]]:
    """Events in order, by the training that logged them; a run may hold several."""
    trainings: dict[str, list[Json]] = {}
    for event in events:
        trainings.setdefault(str(event.get("training") or ""), []).append(event)
    return trainings


def thumbnail(mistake: Json) -> str | None:
    """A mistake's picture as a data URI; None when there is none or it is anything else than a picture."""
    image = mistake.get("image")
    return image if isinstance(image, str) and _DATA_URI.fullmatch(image) else None


_DATA_URI = re.compile(r"data:image/(jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")


def _last_of_each(events: Iterable[Json]) -> tuple[Json, ...]:
    """The events in order, the last one logged of each place in training."""
    places: dict[tuple[Any, ...], Json] = {}
    for event in events:
        place = tuple(event.get(key) for key in ("training", "stage", "epoch", "step"))
        places.pop(place, None)
        places[place] = event
    return tuple(places.values())


def _short(path: Path) -> str:
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)
