"""Learns from running text what its words mean: each is told from the words around it, so that it gets a vector."""

from __future__ import annotations

from earnest.api import word_outcome
from earnest.api.beginning import begin
from earnest.api.question import Bench
from earnest.api.word_recipes import for_words, options_of
from earnest.api.word_text import in_words
from earnest.core.errors import OptionError
from earnest.training import processes


def learn(bench: Bench) -> None:
    """Word vectors, judged and written down."""
    if processes.world() > 1:
        raise OptionError("word vectors are learned by one process, with all its threads: run it without torchrun.")
    recipe = for_words(bench.request)
    options, test = options_of(recipe), word_outcome.words_to_test(bench)
    text = in_words(bench, recipe, options)
    word_outcome.unseen_triples(bench, text, len(text.vocabulary), recipe)
    begin(bench, text.name, text.facts(), "words", text.audit)
    from earnest.api.word_vectors import learn_vectors  # imports Numba, which is an extra

    vectors = learn_vectors(bench, text, recipe)
    word_outcome.settle(bench, text, recipe, vectors, test)
