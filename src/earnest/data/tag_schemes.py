"""How tags mark spans: IOB1, IOB2 and the schemes with ends, told apart and read as one.

A tag is "O", or a letter and a type, "B-PER". The letter says where in a span the token is: B(egin), I(nside), and with
ends also E(nd) and S(ingle), which others call L(ast) and U(nit), or M(iddle) for I. In IOB2 every span begins with B;
in IOB1 (Ramshaw and Marcus 1995) only one that follows right on another of its type. What a sequence means that no
scheme allows is decided as by the CoNLL-2000 scorer (Tjong Kim Sang and Buchholz 2000).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Span = tuple[str, int, int]
"""Type, first token, and one past the last."""

LETTERS: dict[str, str] = {"IOB2": "BIIB", "IOB1": "BIIB", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
"""Letters for the first token of a longer span, one inside, its last, and a single one; IOB1 says I for most B."""

_TAG = re.compile(r"O|[BIESLUM](-.+)?", re.DOTALL)


def is_tag(tag: str) -> bool:
    """Whether this is a tag of any of the schemes."""
    return _TAG.fullmatch(tag) is not None


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans that a sentence's tags mark, however ill-formed they are."""
    found: list[Span] = []
    start, before, kind = 0, "O", ""
    for i, tag in enumerate((*tags, "O")):
        letter, _, new = tag.partition("-")
        begins = letter in "BSU" or before in "OESLU" or new != kind
        if before != "O" and (letter == "O" or begins):
            found.append((kind, start, i))
        if letter != "O" and begins:
            start = i
        before, kind = letter, new
    return found


def write(marked: Iterable[Span], num_tokens: int, scheme: str = "IOB2") -> list[str]:
    """The tags that mark these spans (in order, none on top of another) in a sentence of so many tokens."""
    first, inside, last, single = tuple(LETTERS[scheme])
    tags = ["O"] * num_tokens
    before: tuple[str, int] | None = None
    for kind, start, end in marked:
        ending = f"-{kind}" if kind else ""
        letters = [single] if end - start == 1 else [first, *[inside] * (end - start - 2), last]
        if scheme == "IOB1" and before != (kind, start):
            letters[0] = "I"
        tags[start:end] = [letter + ending for letter in letters]
        before = kind, end
    return tags


def detect(sentences: Sequence[Sequence[str]]) -> tuple[str, int]:
    """The scheme that explains most tags, and how many tags it does not allow where they are.

    Only schemes come into question that lack fewest of the letters and, of these, have fewest others.
    """
    letters = {tag[0] for tags in sentences for tag in tags} - {"O"}
    strange = {scheme: (len(letters - set(its)), len(set(its) - letters)) for scheme, its in LETTERS.items()}
    known = [scheme for scheme in LETTERS if strange[scheme] == min(strange.values())]
    misfits = dict.fromkeys(known, 0)
    for tags in sentences:
        if all(tag == "O" for tag in tags):
            continue
        marked = spans(tags)
        for scheme in known:
            written = write(marked, len(tags), scheme)
            misfits[scheme] += sum(a != b for a, b in zip(tags, written, strict=True))
    scheme = min(known, key=misfits.__getitem__)
    return scheme, misfits[scheme]


def tag_names(sentences: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """ "O", and B- and I- of every type that occurs in IOB2 tags, the types in alphabetical order."""
    types = {tag[1:] for tags in sentences for tag in tags if tag != "O"}
    return ("O", *(letter + kind for kind in sorted(types) for letter in "BI"))
