"""A text as word vectors learn from it: counted, and in a file of the numbers of its words, its end set aside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earnest.api.question import Bench
from earnest.api.word_recipes import Options
from earnest.audit.words import audit_words
from earnest.core.errors import DataError
from earnest.core.recipe import Recipe
from earnest.data.phrases import forget_unknown, join_phrases
from earnest.data.running_text import Cut, RunningText
from earnest.data.word_corpus import WordCorpus, write_corpus
from earnest.data.word_counts import Vocabulary, count_words

FOLDER = "words"
"""Of the run, while it is at work."""
TEST_SHARE, LEAST_TEST, MOST_TEST_SHARE, MOST_TEST = 0.01, 5_000, 0.1, 100_000
"""Of the numbers, at the end of the text, that nothing is learned from: a hundredth, but at least and at most so many,
and no more than a tenth."""


@dataclass(frozen=True)
class WordText:
    """A text in numbers."""

    name: str
    corpus: WordCorpus
    vocabulary: Vocabulary
    learned: int
    """Numbers that are learned from; those behind them are the test part."""
    counted: dict[str, Any]
    """What counting found: "words", "different", "fingerprint", "notes"."""
    options: Options

    @property
    def learned_from(self) -> WordCorpus:
        """The text without its test part."""
        return replace(self.corpus, num=self.learned)

    def audit(self) -> dict[str, Any]:
        """The content of audit.json."""
        known = int(self.vocabulary.counts.sum())
        num = max(known, self.counted["words"] if not self.options.phrases else known)
        return audit_words(num, known, min_count=self.options.min_count, notes=self.counted["notes"])

    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        parts = {"train": self.learned, "validation": 0, "test": self.corpus.num - self.learned}
        how = (
            f"{self.counted['different']:,} different words, {len(self.vocabulary):,} of them known; the end of the "
            "text is the test part (its parts are counted in known words and line ends)"
        )
        return {
            "fingerprint": self.counted["fingerprint"],
            "rows": self.counted["words"],
            "split": {"how": how, **parts},
            "vocabulary": len(self.vocabulary),
        }


def in_words(bench: Bench, recipe: Recipe, options: Options) -> WordText:
    """The text of the request, counted and written down in the run folder, where a resumed run finds it again.

    Raises:
        DataError: it cannot be read, or holds too few words.
    """
    cut: Cut = "spaces" if recipe.tokens == "spaces" else "words"
    text = RunningText(Path(bench.request.data), cut)
    folder = bench.run.path / FOLDER
    if (folder / "vocabulary.txt").exists():
        with _shown(bench, text, "looking whether the text is the same"):
            for _ in text.pieces():
                pass
        vocabulary, corpus = Vocabulary.read(folder / "vocabulary.txt"), WordCorpus.open(folder / "ids")
        counted = {**bench.run.read(f"{FOLDER}/counted.json"), "fingerprint": text.fingerprint}
    else:
        with _shown(bench, text, "counting words"):
            found = count_words(text, min_count=options.min_count, most=recipe.vocabulary)
        counted = {"words": found.num_words, "different": found.num_different, "notes": list(text.notes)}
        with _shown(bench, text, "writing words as numbers"):
            corpus, vocabulary = _written(folder, text, found.vocabulary, options)
        counted["fingerprint"] = text.fingerprint
        bench.run.write(f"{FOLDER}/counted.json", counted)
        vocabulary.write(folder / "vocabulary.txt")
    for note in counted["notes"]:
        bench.screen.say(note)
    test = min(max(TEST_SHARE * corpus.num, LEAST_TEST), MOST_TEST_SHARE * corpus.num, MOST_TEST)
    return WordText(text.path.name, corpus, vocabulary, corpus.num - round(test), counted, options)


@contextmanager
def _shown(bench: Bench, text: RunningText, title: str) -> Iterator[None]:
    """How far the text has been read is shown."""
    with bench.screen.bar(title, text.num_bytes()) as bar:
        text.told = lambda num_bytes: bar(num_bytes, f"{num_bytes / 1e6:,.0f} MB")
        yield


def _written(
    folder: Path, text: RunningText, vocabulary: Vocabulary, options: Options
) -> tuple[WordCorpus, Vocabulary]:
    """The text's numbers, phrases joined as often as the options say."""
    if not options.phrases:
        return write_corpus(folder / "ids", text, vocabulary), vocabulary
    corpus = write_corpus(folder / "round-0", text, vocabulary, keep_unknown=True)
    for round_ in range(options.phrases):
        path = folder / f"round-{round_ + 1}"
        joined, vocabulary = join_phrases(corpus, vocabulary, path, min_count=options.min_count)
        corpus.path.unlink()
        corpus = joined
    known = forget_unknown(corpus, folder / "ids")
    corpus.path.unlink()
    if len(vocabulary) < 2:
        raise DataError(f"{text.path} is left with fewer than two words when phrases are joined; leave phrases out.")
    return known, vocabulary
