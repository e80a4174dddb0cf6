"""Learns vectors of a text's words, inside a run: the plan, the training, its checkpoints."""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import torch

from earnest.api.question import Bench
from earnest.api.recipes import reserve
from earnest.api.word_recipes import Options
from earnest.api.word_text import WordText
from earnest.core import interrupts
from earnest.core.errors import Interrupted
from earnest.core.progress import duration
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.seeds import derive
from earnest.core.words import InputSpec
from earnest.data.subwords import rows_of_all
from earnest.data.word_vectors import WordVectors
from earnest.models.word2vec import Word2Vec
from earnest.training.checkpoints import Checkpoints
from earnest.training.word2vec import Plan, Report, Training, num_threads, seconds_per_number
from earnest.training.word2vec_kernel import Tables
from earnest.training.word2vec_tables import huffman_paths, keep_thresholds, noise_table

CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 60.0, 0.05
"""Between two checkpoints at least, and the share of the time that writing them may take."""
TOGETHER = 0.75
"""What a thread beside others gets done, beside what it does alone: they share caches and memory."""
AT_ONCE = 4096
"""Words whose vectors are made from their parts together."""


def learn_vectors(bench: Bench, text: WordText, recipe: Recipe) -> WordVectors:
    """The words' vectors, trained, or trained on from the last checkpoint.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    options = text.options
    recipe.write(bench.run.path / "recipe.toml")
    tables = tables_of(text, options)
    checkpoints = Checkpoints(bench.run.path / "checkpoints" / recipe.model)
    plan = _plan(bench, text, recipe, tables)
    training = _training(bench, text, recipe, tables, plan)
    saved = checkpoints.last()
    if saved is not None:
        training.restore(*saved)
    del saved
    if not training.progress.finished:
        _train(bench, training, checkpoints, recipe.model)
    return _vectors(text, tables, training.tensors["inputs"].numpy(), recipe)


def tables_of(text: WordText, options: Options) -> Tables:
    """What the kernel looks up of each word."""
    counts = text.vocabulary.counts
    nothing = Tables(*(np.zeros(0, kind) for kind in ("u4", "u4", "i8", "i4", "f4", "i8", "i4")))
    tables = nothing._replace(keep=keep_thresholds(counts, options.sample), alias=np.zeros((0, 2), np.uint32))
    if options.negatives:
        tables = tables._replace(alias=noise_table(counts))
    else:
        path_starts, nodes, turns = huffman_paths(counts)
        tables = tables._replace(path_starts=path_starts, nodes=nodes, turns=turns)
    if options.subwords:
        row_starts, rows = rows_of_all(text.vocabulary.words, options.buckets)
        tables = tables._replace(row_starts=row_starts, rows=rows)
    return tables


def _plan(bench: Bench, text: WordText, recipe: Recipe, tables: Tables) -> Plan:
    """The plan that run.json keeps, or a new one: of as many passes as a deadline leaves time for."""
    before = bench.run.facts().get("plan") or {}
    frozen = before.get("trainings", {}).get(recipe.model)
    if frozen is not None:
        return Plan(**{field.name: frozen[field.name] for field in fields(Plan)})
    plan = Plan(
        epochs=recipe.epochs,
        threads=num_threads(text.learned, _cores()),
        rate=recipe.lr,
        window=recipe.window,
        negatives=text.options.negatives,
        average=recipe.model == "cbow",
        seed=bench.seed,
    )
    left = bench.clock.left() - reserve(bench.request)
    if math.isfinite(left):
        pace = seconds_per_number(_training(bench, text, recipe, tables, plan))
        together = TOGETHER * plan.threads if plan.threads > 1 else 1.0
        passes = (bench.clock.left() - reserve(bench.request)) * together / (pace * text.learned)
        if passes < plan.epochs:
            plan = replace(plan, epochs=max(round(passes, 2), 0.01))
            bench.screen.say(
                f"there is time for {plan.epochs:g} passes over the text, where {recipe.epochs} were asked"
            )
    num_rows = 2 * len(text.vocabulary) + text.options.buckets * text.options.subwords
    size = {"parameters": text.options.width * num_rows, "steps": round(plan.epochs * text.learned)}
    frozen = {"model": recipe.model, "device": "cpu", **asdict(plan), **size}
    bench.run.update(plan={**before, **frozen, "trainings": {recipe.model: frozen}})
    bench.run.log("plan", training=recipe.model, **frozen)
    return plan


def _cores() -> int:
    """That this process may use, or fewer where OMP_NUM_THREADS or the like has said so to torch."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, torch.get_num_threads())


def _training(bench: Bench, text: WordText, recipe: Recipe, tables: Tables, plan: Plan) -> Training:
    """Untrained, the same for the same seed."""
    torch.default_generator.manual_seed(derive(bench.seed, "initial weights", recipe.model))
    num_words = len(text.vocabulary)
    spec = InputSpec("tokens", (recipe.window,), (num_words,))
    num_outputs = num_words if plan.negatives else num_words - 1
    network: Word2Vec = models[recipe.model].build(spec, num_outputs, **asdict(text.options))
    return Training(network.inputs, network.outputs, text.learned_from, tables, plan)


def _train(bench: Bench, training: Training, checkpoints: Checkpoints, name: str) -> None:
    """Train to the end, with a line in the log and on the screen for each report."""
    started = saved = time.monotonic()
    took = 0.0
    plan = training.plan
    bench.screen.say(
        f"training {name}: {plan.epochs:g} passes over the text, {plan.threads} thread{'s' if plan.threads > 1 else ''}"
    )
    with interrupts.waiting() as interrupted, bench.screen.bar(name, 1.0) as bar:
        for report in training.run(stop=interrupted):
            bar(report.share, f"epoch {report.epoch + 1}, loss {report.loss:.4f}")
            _log(bench, name, report)
            out_of_time = bench.clock.left() < reserve(bench.request) / 2
            if (
                interrupted()
                or out_of_time
                or time.monotonic() - saved > max(CHECKPOINT_SECONDS, took / CHECKPOINT_SHARE)
            ):
                moment = time.monotonic()
                training.save(checkpoints)
                saved = time.monotonic()
                took = saved - moment
            if interrupted():
                bench.run.log("stopped", training=name, why="interrupted")
                raise Interrupted("stopped; everything is saved.")
            if out_of_time:
                bench.run.log("stopped", training=name, why="out of time")
                break
    training.progress.finished = True
    training.save(checkpoints)
    bench.run.log("trained", training=name, seconds=time.monotonic() - started)
    bench.screen.say(f"trained in {duration(time.monotonic() - started)}")


def _log(bench: Bench, name: str, report: Report) -> None:
    loss = {"train_loss": report.loss} if report.kind == "epoch" else {"loss": report.loss}
    bench.run.log(
        report.kind,
        training=name,
        epoch=report.epoch,
        step=None if report.kind == "epoch" else report.pairs,
        progress=report.share,
        rate=report.rate,
        pairs=report.pairs,
        **loss,
    )


def _vectors(
    text: WordText, tables: Tables, inputs: np.ndarray[Any, np.dtype[np.float32]], recipe: Recipe
) -> WordVectors:
    """Each word's vector: its row, or the mean of its rows."""
    words, counts, lowercase = text.vocabulary.words, text.vocabulary.counts, recipe.tokens == "words"
    if not len(tables.row_starts):
        return WordVectors(words, inputs, counts, lowercase=lowercase)
    array = np.empty((len(words), inputs.shape[1]), np.float32)
    for first in range(0, len(words), AT_ONCE):
        starts = tables.row_starts[first : first + AT_ONCE + 1]
        rows = inputs[tables.rows[starts[0] : starts[-1]]]
        array[first : first + len(starts) - 1] = (
            np.add.reduceat(rows, starts[:-1] - starts[0]) / np.diff(starts)[:, None]
        )
    return WordVectors(words, array, counts, subwords=inputs[len(words) :].copy(), lowercase=lowercase)
