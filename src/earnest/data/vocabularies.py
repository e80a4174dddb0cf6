"""Vocabularies: learned from texts, made of given words, or read from a file that came with weights.

Each is a `tokenizers.Tokenizer`: how a text is normalised, cut into words and then into tokens, and what surrounds it.
WordPiece as in BERT (Devlin et al. 2019), byte-level BPE as in GPT-2 (Radford et al. 2019).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from earnest.core.errors import DataError, OptionError

Kind = Literal["wordpiece", "bpe", "character", "word"]

PADDING, UNKNOWN, END, START, SEPARATOR, MASK = "[PAD]", "[UNK]", "[END]", "[CLS]", "[SEP]", "[MASK]"
SPECIALS: dict[Kind, tuple[str, ...]] = {
    "wordpiece": (PADDING, UNKNOWN, START, SEPARATOR, MASK),
    "bpe": (PADDING, END),
    "character": (PADDING, UNKNOWN),
    "word": (PADDING, UNKNOWN),
}
"""The tokens with ids 0, 1, ...; every byte is a token of BPE, so that nothing is unknown to it."""

_FEWEST = {"bpe": 256, "wordpiece": 8}
"""Tokens that a vocabulary needs besides; others make do with one."""
_MOST_CHARACTERS = 1000
"""Characters that WordPiece keeps, the most frequent ones; words with others are unknown."""
_KINDS: dict[str, Kind] = {"WordPiece": "wordpiece", "BPE": "bpe", "WordLevel": "word"}
_MAX_BYTES = 1 << 28


def learned(kind: Kind, texts: Iterator[str], *, vocab_size: int, lowercase: bool) -> Tokenizer:
    """A vocabulary of at most `vocab_size` tokens, special ones included, of the most frequent pieces of these texts.

    Raises:
        OptionError: `vocab_size` is too small for this kind.
        DataError: the texts hold nothing to learn from.
    """
    smallest = len(SPECIALS[kind]) + _FEWEST.get(kind, 1)
    if vocab_size < smallest:
        raise OptionError(f"a {kind} vocabulary of {vocab_size} tokens is too small; it needs {smallest} at least.")
    first = next((text for text in texts if text.strip()), None)
    if first is None:
        raise DataError("there is no text to learn a vocabulary from; every text is empty.")
    texts = chain([first], texts)
    if kind == "wordpiece":
        return _learned_wordpiece(list(texts), vocab_size=vocab_size, lowercase=lowercase)
    options: dict[str, Any] = {"vocab_size": vocab_size, "special_tokens": list(SPECIALS[kind]), "show_progress": False}
    trainer: trainers.Trainer = trainers.WordLevelTrainer(**options)
    if kind == "bpe":
        trainer = trainers.BpeTrainer(**options, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer = _empty(kind, lowercase=lowercase)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _learned_wordpiece(texts: Sequence[str], *, vocab_size: int, lowercase: bool) -> Tokenizer:
    """As `learned`, and the same in every run.

    The library numbers characters inside words ("##a") in an order that differs from run to run, and breaks ties by
    these numbers; so they are given to it in advance.
    """
    tokenizer = _empty("wordpiece", lowercase=lowercase)
    characters = Counter[str]()
    for character, count in Counter(chain.from_iterable(texts)).items():
        for part in tokenizer.normalizer.normalize_str(character):
            characters[part] += count
    common = sorted((c for c in characters if not c.isspace()), key=lambda c: (-characters[c], c))
    common = sorted(common[: min(_MOST_CHARACTERS, vocab_size // 4)])
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIALS["wordpiece"], *common, *(f"##{character}" for character in common)],
        initial_alphabet=common,
        limit_alphabet=len(common),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _with_vocabulary(tokenizer.get_vocab(), lowercase=lowercase)


def of_words(words: Sequence[str], *, lowercase: bool) -> Tokenizer:
    """A vocabulary of these words, with ids from 2 on in their order; of a word that comes twice, the first counts."""
    tokenizer = _empty("word", lowercase=lowercase)
    known: dict[str, int] = {}
    for number, word in enumerate((*SPECIALS["word"], *words)):
        known.setdefault(word, number)
    tokenizer.model = models.WordLevel(known, unk_token=UNKNOWN)
    tokenizer.add_special_tokens(list(SPECIALS["word"]))
    return tokenizer


def bytes_inside_characters() -> frozenset[str]:
    """How byte-level BPE writes those bytes with which no character of UTF-8 begins."""
    write = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    return frozenset(write(chr(code))[0][0][1] for code in range(0x80, 0xC0))  # two bytes each, the second all of them


def read(path: Path) -> tuple[Kind, Tokenizer]:
    """What kind of tokenizer a file holds, and itself: the library's JSON, or BERT's vocab.txt, a token a line.

    A vocab.txt with no capital letter in it is one for texts in lower case.

    Raises:
        DataError: the file is missing, or neither; it is named.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path} is too large to be a vocabulary; give a tokenizer.json or a vocab.txt.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"the vocabulary {path} cannot be read ({error.strerror}); check the path.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no vocabulary: it is no text. Give a tokenizer.json or a vocab.txt.") from error
    if text.lstrip().startswith("{"):
        return _from_json(text, path)
    return "wordpiece", _from_lines([line.rstrip("\r") for line in text.removesuffix("\n").split("\n")], path)


def _empty(kind: Kind, *, lowercase: bool) -> Tokenizer:
    """A tokenizer of this kind that knows nothing yet."""
    plain = normalizers.Lowercase() if lowercase else None
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = plain
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.normalizer = plain
        one = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.pre_tokenizer = one if kind == "character" else pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.Fuse() if kind == "character" else None
    return tokenizer


def _with_vocabulary(known: dict[str, int], *, lowercase: bool) -> Tokenizer:
    """A WordPiece tokenizer of these tokens, with [CLS] before each text and [SEP] behind it."""
    tokenizer = _empty("wordpiece", lowercase=lowercase)
    tokenizer.model = models.WordPiece(known, unk_token=UNKNOWN)
    tokenizer.add_special_tokens([name for name in SPECIALS["wordpiece"] if name in known])
    around = [(name, known[name]) for name in (START, SEPARATOR)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {SEPARATOR}", special_tokens=around)
    return tokenizer


def _from_json(text: str, path: Path) -> tuple[Kind, Tokenizer]:
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} is no tokenizer.json of the tokenizers library ({reason}).") from error
    model = type(tokenizer.model).__name__
    if model not in _KINDS:
        raise DataError(f"{path} holds a {model} tokenizer; earnest reads {', '.join(_KINDS)}.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _KINDS[model], tokenizer


def _from_lines(tokens: Sequence[str], path: Path) -> Tokenizer:
    known = {token: number for number, token in enumerate(tokens)}
    if len(known) < len(tokens):
        twice = next(token for number, token in enumerate(tokens) if known[token] != number)
        raise DataError(f"{path} is no vocabulary: it holds {twice!r} twice. It should hold one token a line.")
    if lacking := [name for name in (PADDING, UNKNOWN, START, SEPARATOR) if name not in known]:
        raise DataError(f"{path} is no BERT vocabulary: it lacks {lacking[0]}. It should hold one token a line.")
    lowercase = not any(re.search(r"[A-Z]", token) for token in tokens if not re.fullmatch(r"\[.*\]", token))
    return _with_vocabulary(known, lowercase=lowercase)
