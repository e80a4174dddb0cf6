"""Tagged sentences: the same words tagged in two ways, and types that hardly occur."""

from __future__ import annotations

from collections import Counter

import numpy as np

from earnest.audit.findings import Finding, checks, counted, listed, percent
from earnest.data.dataset import Dataset, Split
from earnest.data.tag_schemes import spans

MANY = 0.01
FEW = 10
"""Entities of a type below which it can hardly be learnt, and not be judged at all."""


@checks.register("sentences tagged in two ways")
def tagged_in_two_ways(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Equal sentences whose tags differ."""
    if not _is_tagged(dataset):
        return []
    tags = [tuple(its) for its in dataset.frame["tags"].to_list()]
    ways: dict[int, set[tuple[str, ...]]] = {}
    for digest, its in zip(dataset.digests.tolist(), tags, strict=True):
        ways.setdefault(digest, set()).add(its)
    conflicting = np.array([i for i, digest in enumerate(dataset.digests.tolist()) if len(ways[digest]) > 1], np.int64)
    if not len(conflicting):
        return []
    share = len(conflicting) / len(dataset)
    first = np.flatnonzero(dataset.digests == dataset.digests[conflicting[0]])
    other = next(i for i in first.tolist() if tags[i] != tags[int(first[0])])
    place = next(i for i, pair in enumerate(zip(tags[int(first[0])], tags[other], strict=True)) if pair[0] != pair[1])
    word = dataset.frame["tokens"][other][place]
    return [
        Finding.about_rows(
            dataset,
            conflicting,
            check="sentences tagged in two ways",
            severity="medium" if share > MANY else "low",
            title=f"{counted(len(conflicting), 'sentence')} equal another one but not its tags ({percent(share)})",
            detail=f"In {dataset.names[int(first[0])]} and {dataset.names[other]}, which are equal, {word!r} is tagged "
            f"{tags[int(first[0])][place]} and {tags[other][place]}. No model can be right about both.",
            fix="Look at them and correct the wrong tags; where even such sentences differ, others will, too.",
        )
    ]


@checks.register("rare types")
def rare_types(dataset: Dataset, split: Split | None) -> list[Finding]:
    """Types of fewer than 10 entities."""
    if not _is_tagged(dataset):
        return []
    counts = Counter(kind for tags in dataset.frame["tags"].to_list() for kind, _, _ in spans(tags))
    rare = sorted((kind for kind, count in counts.items() if count < FEW), key=counts.__getitem__)
    if not rare:
        return []
    sizes = ", ".join(f"{kind!r} ({counts[kind]})" for kind in rare[:5])
    return [
        Finding(
            check="rare types",
            severity="medium",
            title=f"{counted(len(rare), 'type')} with fewer than {FEW} entities: {listed(rare)}",
            detail=f"{sizes}{', ...' if len(rare) > 5 else ''}. A part of them is the test: too few to judge by.",
            fix="Tag more of them, or join them with a type that is close.",
            count=len(rare),
            names=rare,
        )
    ]


def _is_tagged(dataset: Dataset) -> bool:
    return dataset.target is not None and dataset.column(dataset.target).kind == "tags"
