"""How good tags of sentences are: entities exact in type and extent, as the CoNLL-2000 scorer counts them.

Tjong Kim Sang & Buchholz, "Introduction to the CoNLL-2000 shared task: chunking", 2000. Intervals are bootstrapped over
sentences, because the words of one are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earnest.data.tag_schemes import Span, spans
from earnest.evaluation.compare import bootstrapped
from earnest.evaluation.intervals import Statistic, Weighted, bootstrap
from earnest.evaluation.mistakes import NUM_MISTAKES
from earnest.tasks.tagging import entity_counts, ratios

Sentences = Sequence[Sequence[str]]
"""A list of tags a sentence."""
MOST_SHOWN = 60
"""Words of a sentence that a mistake is shown with."""


def evaluate_tags(
    truth: Sentences,
    predicted: Sentences,
    *,
    baselines: Mapping[str, Sentences],
    of_spans: bool,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> dict[str, Any]:
    """Every score of the predictions and of the baselines' on the same sentences: evaluation.json's `E`.

    With `of_spans` these are "f1", "precision" and "recall" of entities, and then "accuracy", the share of tokens whose
    tag is right; otherwise that alone. `groups` are of sentences, such as their documents.
    """
    predictors = [predicted, *baselines.values()]
    scores = [_scores(truth, tags, of_spans) for tags in predictors]
    statistics = [Statistic(score, (0.0, 1.0)) for its in scores for score in its.values()]
    found = iter(bootstrap(statistics, len(truth), seed=seed, groups=groups))
    own, *others = [{name: next(found).as_json() for name in its} for its in scores]
    left_out = {} if of_spans else {"f1": "the tags mark no spans"}
    return {
        "n": len(truth),
        "metrics": own,
        "baselines": dict(zip(baselines, others, strict=True)),
        "left_out": left_out,
    }


def compare_tags(
    truth: Sentences,
    predicted: Sentences,
    baselines: Mapping[str, Sentences],
    *,
    seed: int,
    groups: NDArray[np.generic] | None = None,
) -> dict[str, Any] | None:
    """The paired comparison of F1 with the strongest baseline; None when there is none."""
    if not baselines:
        return None
    whole = np.ones((1, len(truth)))
    scores = {name: _scores(truth, tags, True)["f1"] for name, tags in baselines.items()}
    strongest = max(scores, key=lambda name: float(scores[name](whole)[0]))
    own = _scores(truth, predicted, True)["f1"]
    found = bootstrapped(own, scores[strongest], len(truth), seed=seed, groups=groups)
    return {
        "against": strongest,
        "metric": "f1",
        "difference": found.difference.as_json(),
        "p_value": found.p_value,
        "n": found.num_rows,
    }


def pick_mistakes(
    tokens: Sentences,
    truth: Sentences,
    predicted: Sentences,
    confidence: Sequence[NDArray[np.float64]],
    *,
    rows: NDArray[np.int64],
    names: Sequence[str],
    num: int = NUM_MISTAKES,
) -> list[dict[str, Any]]:
    """evaluation.json's `mistakes`: the sentences with most wrong or missing entities, the surest of equals first.

    Confidence is the mean over the words whose tag is wrong; a long sentence is shown around its first wrong word.
    """
    badness = []
    for i, (its, found) in enumerate(zip(truth, predicted, strict=True)):
        wrong = [place for place, (a, b) in enumerate(zip(its, found, strict=True)) if a != b]
        if wrong:
            amiss = len({*spans(its)} ^ {*spans(found)})
            badness.append((-amiss, -float(confidence[i][wrong].mean()), i, wrong[0]))
    chosen = []
    for _, sure, i, first in sorted(badness)[:num]:
        start = max(0, min(first - MOST_SHOWN // 4, len(tokens[i]) - MOST_SHOWN))
        part = slice(start, start + MOST_SHOWN)
        true_spans, predicted_spans = spans(truth[i][part]), spans(predicted[i][part])
        chosen.append(
            {
                "row": int(rows[i]),
                "name": names[i],
                "truth": _in_words(tokens[i][part], true_spans),
                "prediction": _in_words(tokens[i][part], predicted_spans),
                "confidence": -sure,
                "image": None,
                "values": {},
                "tokens": list(tokens[i][part]),
                "true_spans": true_spans,
                "predicted_spans": predicted_spans,
            }
        )
    return chosen


def _in_words(tokens: Sequence[str], found: Sequence[Span]) -> str:
    """Spans as "PER Ada Lovelace; LOC London"."""
    return "; ".join(" ".join([kind, *tokens[start:end]]).strip() for kind, start, end in found) or "nothing"


def per_type(truth: Sentences, predicted: Sentences) -> list[dict[str, Any]]:
    """Entities, precision, recall and F1 of each type; None where a type gives nothing to divide by."""
    every = [({*spans(its)}, {*spans(found)}) for its, found in zip(truth, predicted, strict=True)]
    types = sorted({kind for its, found in every for kind, _, _ in its | found})
    lines = []
    for kind in types:
        counts = np.zeros(3, np.int64)
        for its, found in every:
            counts += [sum(span[0] == kind for span in chosen) for chosen in (its & found, found, its)]
        right, num_found, num_true = counts.tolist()
        lines.append(
            {
                "label": kind,
                "n": num_true,
                "precision": right / num_found if num_found else None,
                "recall": right / num_true if num_true else None,
                "f1": 2 * right / (num_found + num_true),
            }
        )
    return lines


def _scores(truth: Sentences, predicted: Sentences, of_spans: bool) -> dict[str, Weighted]:
    """Each score as a function of sentences' weights (R, N)."""
    hits = np.array(
        [sum(a == b for a, b in zip(its, found, strict=True)) for its, found in zip(truth, predicted, strict=True)]
    )
    lengths = np.array([len(its) for its in truth])
    scores: dict[str, Weighted] = {}
    if of_spans:
        counts = entity_counts(truth, predicted)

        def of_entities(name: str) -> Weighted:
            return lambda weights: ratios(weights @ counts)[name]

        scores = {name: of_entities(name) for name in ("f1", "precision", "recall")}
    scores["accuracy"] = lambda weights: (weights @ hits) / (weights @ lengths)
    return scores
