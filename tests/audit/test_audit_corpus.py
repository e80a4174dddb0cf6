"""Lines of the test part that the training part has too."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng

from earnest.audit.corpus import audit_corpus
from earnest.data.readers.corpus import Corpus, read_corpus


def lines(num: int) -> list[str]:
    letters = np.array(list(string.ascii_lowercase + " "))
    return ["".join(default_rng().choice(letters, 60)).strip().ljust(50, "x") for _ in range(num)]


def corpus(folder: Path, name: str, text: list[str]) -> Corpus:
    (folder / name).write_text("\n".join(text) + "\n")
    return read_corpus(folder / name)


@pytest.mark.parametrize(("repeated", "severity"), [(0, None), (2, "low"), (20, "medium"), (90, "high")])
def test_repeated_lines_are_found_and_others_are_not(tmp_path: Path, repeated: int, severity: str | None) -> None:
    old, new = lines(500), lines(100)
    test = [*old[:repeated], *new[repeated:], *["a short line"] * 20]
    training = corpus(tmp_path, "training.txt", [*old, *["a short line"] * 50])
    found = audit_corpus(training, training, corpus(tmp_path, "test.txt", test), rows=7)
    assert found["rows"] == 7
    assert [finding["severity"] for finding in found["findings"]] == ([severity] if severity else [])
    if severity:
        assert found["findings"][0]["count"] == repeated
        assert set(found["findings"][0]["names"]) <= {line.strip() for line in old[:repeated]}
