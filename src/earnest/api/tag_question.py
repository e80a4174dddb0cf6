"""Which tag has each word? The question as training sees it, and a fitted answer to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earnest.api.question import Rows
from earnest.api.request import Request
from earnest.api.tag_parts import Answer, Sentences, TagPart
from earnest.core.errors import OptionError
from earnest.data import tag_schemes
from earnest.data.dataset import Dataset, Split
from earnest.data.splits import make_split
from earnest.tasks.tagging import entity_counts, ratios

METRIC = "f1"
VALIDATION_SHARE, MOST_VALIDATION = 0.1, 1_000
"""Of the sentences that are no test sentences: each has several entities to choose by."""


@dataclass(frozen=True)
class TagQuestion:
    """What is asked, over which sentences."""

    dataset: Dataset
    split: Split
    sentences: list[list[str]]
    truth: list[list[str]]
    """IOB2 tags of every sentence."""
    labels: tuple[str, ...]
    """The tags that there are."""
    beside: dict[str, list[list[str]]]
    """What else is written of each word of every sentence, by the name of the column."""

    def words(self, rows: Rows) -> list[list[str]]:
        """Some of the sentences."""
        return [self.sentences[row] for row in rows]

    def tags(self, rows: Rows) -> list[list[str]]:
        """Their true tags."""
        return [self.truth[row] for row in rows]

    def codes(self, rows: Rows) -> list[list[int]]:
        """Their true tags as places in `labels`."""
        code = {label: number for number, label in enumerate(self.labels)}
        return [[code[tag] for tag in tags] for tags in self.tags(rows)]


@dataclass(frozen=True)
class TagCandidate:
    """A fitted tagger that could be shipped, and its answers for the validation sentences."""

    name: str
    part: TagPart
    answers: list[Answer]
    score: float
    """F1 of entities."""
    seconds: float
    note: str


def ask(dataset: Dataset, request: Request) -> TagQuestion:
    """The question that tagged sentences make.

    Raises:
        OptionError: another metric than F1 is asked for.
        DataError: there are too few sentences for three parts.
    """
    if request.metric is not None:
        raise OptionError(f"--metric {request.metric}: taggers are chosen by the F1 of entities; leave it out.")
    split = make_split(
        dataset,
        seed=request.seed,
        how=request.split,
        classification=False,
        validation_share=min(VALIDATION_SHARE, MOST_VALIDATION / max(len(dataset), 1)),
    )
    truth = dataset.frame["tags"].to_list()
    beside = {one.name: dataset.frame[one.name].to_list() for one in dataset.columns if one.role == "beside"}
    return TagQuestion(dataset, split, dataset.frame["tokens"].to_list(), truth, tag_schemes.tag_names(truth), beside)


def f1(truth: Sentences, answers: Sequence[Answer]) -> float:
    """Of entities, exact in type and extent."""
    counts = entity_counts(truth, [answer.tags for answer in answers]).sum(0, keepdims=True)
    return float(ratios(counts)["f1"][0])
