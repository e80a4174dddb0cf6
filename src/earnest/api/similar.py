"""`earnest similar RUN WORD`: the nearest words, analogies, and word vectors in other programs' formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from earnest.api.predict import load
from earnest.api.word_recipes import TASK
from earnest.core.errors import OptionError, RunError
from earnest.data.word2vec_format import read_word2vec, write_word2vec
from earnest.data.word_vectors import WordVectors


def similar(
    run: str | Path,
    plus: str | Sequence[str],
    *,
    minus: str | Sequence[str] = (),
    num: int = 10,
    multiply: bool = False,
) -> pl.DataFrame:
    """The nearest words to all of `plus` and far from all of `minus`, with their scores, the nearest first.

    `similar(run, ["king", "woman"], minus="man")` asks what is to king as woman is to man.

    Args:
        run: a run folder, or a file of word vectors in word2vec's text or binary (.bin) format.
        multiply: combine cosines by their product (3CosMul) and not by their sum (3CosAdd).

    Returns:
        Columns `word` and `score`: the cosine, or the product's value.

    Raises:
        OptionError: a word has no vector; the nearest known one is offered.
        RunError, DataError: there are no word vectors.
    """
    found = vectors_of(run).similar(plus, minus=minus, num=num, multiply=multiply)
    return pl.DataFrame(
        {"word": [one.word for one in found], "score": [one.score for one in found]},
        schema={"word": pl.String, "score": pl.Float64},
    )


def vectors_of(run: str | Path) -> WordVectors:
    """The word vectors of a run, or of a file in word2vec's formats.

    Raises:
        RunError, DataError: there are none.
    """
    path = Path(run)
    if path.is_file():
        return read_word2vec(path)
    model = load(path)
    if not isinstance(model, WordVectors):
        raise RunError(f"{run} holds no word vectors; `earnest fit FILE.txt --task {TASK}` makes some.")
    return model


def write_vectors(run: str | Path, out: Path, *, overwrite: bool = False) -> int:
    """Write the vectors of a run to a file that other programs read, in word2vec's binary format where its name ends in
    .bin, else as text; how many there are.

    Raises:
        OptionError: the file exists already, or cannot be written.
        RunError, DataError: there are no vectors.
    """
    if out.exists() and not (overwrite and out.is_file()):
        raise OptionError(f"{out} exists already; replace it with --overwrite, or choose another name with --out.")
    vectors = vectors_of(run)
    write_word2vec(out, vectors)
    return len(vectors)
