"""Learns from running text: each token is told from those before it, or missing ones from the others."""

from __future__ import annotations

from earnest.api import language, language_outcome, masked
from earnest.api.beginning import begin
from earnest.api.encoder_folder import TASK as MASKED
from earnest.api.language_recipes import for_language, for_masked_language
from earnest.api.language_text import in_tokens
from earnest.api.question import Bench
from earnest.data.readers.corpus import read_corpus


def learn(bench: Bench) -> None:
    """A language model, or an encoder that is pretrained."""
    is_masked = bench.request.task == MASKED
    corpus = read_corpus(bench.request.data)
    recipe = for_masked_language(bench.request) if is_masked else for_language(bench.request, len(corpus))
    text = in_tokens(bench, corpus, recipe)
    begin(bench, text.corpus.name, text.facts(), text.unit, text.audit)
    text.keep(bench.run)
    if is_masked:
        masked.fit_encoder(bench, text, recipe)
        return
    text = language.as_time_allows(bench, text, recipe)
    counted = language.count(bench, text)
    model, network = language.learn(bench, text, recipe)
    if bench.run.writes:
        language_outcome.settle(bench, text, model, network, counted)
