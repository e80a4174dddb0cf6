"""What came of word vectors: how they do in unseen text and by people's judgement, beside counting; and a look."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from earnest.api.question import Bench
from earnest.api.word_model import save_vectors
from earnest.api.word_recipes import TASK
from earnest.api.word_text import WordText
from earnest.core.errors import DataError
from earnest.core.progress import duration
from earnest.core.recipe import Recipe
from earnest.data.readers.word_pairs import Analogies, WordPairs, read_word_test
from earnest.data.word_counts import kept_shares
from earnest.data.word_vectors import WordVectors
from earnest.evaluation.co_occurrence import counted_vectors
from earnest.evaluation.nearness import METRIC, Judged, Triples, triples, verdict
from earnest.evaluation.word_similarity import known, score_analogies, score_pairs

COUNTING = "PPMI + SVD"
FEWEST_TRIPLES = 20
THINNED = 1e-4
"""Share of the text above which words are thinned out in the test, unless there are so few that all are common."""
COMMONEST_LEFT_OUT = 100
"""The commonest words (the, of, and) say little of what was learned, where there are more."""
NUM_SHOWN, NUM_NEIGHBOURS, NUM_MAPPED = 12, 6, 150


def words_to_test(bench: Bench) -> WordPairs | Analogies | None:
    """The pairs or analogies that --test names, read before anything slow begins.

    Raises:
        DataError: the file is no such list.
    """
    return None if bench.request.test is None else read_word_test(Path(bench.request.test))


def unseen_triples(bench: Bench, text: WordText, size: int, recipe: Recipe) -> Triples:
    """Of the test part.

    Raises:
        DataError: there are too few.
    """
    kept = kept_shares(text.vocabulary.counts, max(THINNED, 1 / len(text.vocabulary)))
    found = triples(text.corpus, text.learned, kept=kept, size=size, window=recipe.window, seed=bench.seed)
    if len(found) < FEWEST_TRIPLES:
        raise DataError(
            f"{bench.request.data} is too short: of its {text.counted['words']:,} words {len(found)} at its end can be "
            f"tested, where {FEWEST_TRIPLES} are needed. Give more text."
        )
    return found


def settle(
    bench: Bench, text: WordText, recipe: Recipe, vectors: WordVectors, test: WordPairs | Analogies | None
) -> None:
    """Ship the vectors, look at the test part once, and write everything down."""
    about = {"name": recipe.model, "data": text.counted["fingerprint"], "words": text.counted["words"]}
    save_vectors(bench.run.path / "model", vectors, text.vocabulary, about)
    started = time.monotonic()
    counting = counted_vectors(
        text.learned_from,
        vectors.words,
        window=recipe.window,
        width=vectors.array.shape[1],
        seed=bench.seed,
        lowercase=vectors.lowercase,
    )
    bench.screen.say(f"counted, as a baseline ({COUNTING}): {duration(time.monotonic() - started)}")
    bench.run.look_at_test("the final evaluation")
    asked = unseen_triples(bench, text, len(counting), recipe)
    judged = Judged.of(asked, {recipe.model: vectors, COUNTING: counting}, text.vocabulary.counts)
    scores, comparison = (
        judged.evaluation(recipe.model, seed=bench.seed),
        judged.comparison(recipe.model, seed=bench.seed),
    )
    evaluation: dict[str, Any] = {
        "task": TASK,
        "target": None,
        "unit": "words",
        "labels": [],
        "metric": METRIC,
        "cross_fitted": False,
        "validation": None,
        "test": scores,
        "comparison": comparison,
        "candidates": [],
        "calibration": None,
        "confusion": None,
        "per_class": None,
        "residuals": None,
        "mistakes": [],
        "vocabulary": len(vectors),
        "words_test": None if test is None else tested(vectors, counting, test, seed=bench.seed),
        "neighbours": neighbours(vectors, counting) if bench.request.examples else [],
        "map": word_map(vectors) if bench.request.examples else [],
        "left_out_count": 0,
        "test_looks": len(bench.run.facts()["test_looks"]),
        "seconds": bench.clock.spent(),
        "verdict": verdict(scores, comparison, num_words=len(vectors)),
    }
    bench.run.write("evaluation.json", evaluation)
    shutil.rmtree(text.corpus.path.parent)


def tested(vectors: WordVectors, counting: WordVectors, test: WordPairs | Analogies, *, seed: int) -> dict[str, Any]:
    """The user's test, and of pairs that the counted vectors know too, both of them."""
    if isinstance(test, Analogies):
        return {"ours": score_analogies(vectors, test), "common": None, "counting": None}
    both = known(vectors, test) & known(counting, test)
    return {
        "ours": score_pairs(vectors, test, seed=seed),
        "common": score_pairs(vectors, test, seed=seed, among=both),
        "counting": score_pairs(counting, test, seed=seed, among=both),
    }


def shown_words(vectors: WordVectors, num: int) -> list[str]:
    """Some words, from common ones to rarer ones, always the same."""
    first = min(COMMONEST_LEFT_OUT, len(vectors) // 4)
    last = min(len(vectors) - 1, max(40 * first, num))
    ranks = np.unique(np.geomspace(first + 1, last + 1, num).astype(int) - 1)
    return [vectors.words[rank] for rank in ranks]


def neighbours(vectors: WordVectors, counting: WordVectors) -> list[dict[str, Any]]:
    """The nearest words to some, and what counting says of them."""
    found = []
    for word in shown_words(vectors, NUM_SHOWN):
        theirs = counting.similar(word, num=NUM_NEIGHBOURS) if word in counting else []
        found.append(
            {
                "word": word,
                "count": None if vectors.counts is None else int(vectors.counts[vectors.index[word]]),
                "near": [
                    {"word": near.word, "score": near.score} for near in vectors.similar(word, num=NUM_NEIGHBOURS)
                ],
                "counting": [near.word for near in theirs],
            }
        )
    return found


def word_map(vectors: WordVectors) -> list[dict[str, Any]]:
    """Common words on the two directions in which they differ most (principal components), at length 1 before."""
    first = min(COMMONEST_LEFT_OUT, len(vectors) // 4)
    directions = vectors.directions[first : first + NUM_MAPPED].astype(np.float64)
    centred = directions - directions.mean(0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    places = (left * strength)[:, :2]
    if places.shape[1] < 2:
        places = np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    return [
        {"word": word, "x": float(x), "y": float(y)}
        for word, (x, y) in zip(vectors.words[first : first + NUM_MAPPED], places, strict=True)
    ]
