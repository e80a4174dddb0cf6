"""Checks of tagged sentences: they fire on a planted defect, and are silent on clean data."""

from __future__ import annotations

from pathlib import Path

from earnest.audit.tags import rare_types, tagged_in_two_ways
from earnest.data.readers.conll import read_conll


def write(path: Path, num: int, more: str = "") -> Path:
    """`num` sentences that differ, each with a person and a place."""
    sentences = [f"{i} O\nAda B-PER\nin O\nNew B-LOC\nYork I-LOC\n" for i in range(num)]
    path.write_text("\n".join(sentences) + "\n" + more)
    return path


def test_clean_sentences_are_passed_over(tmp_path: Path) -> None:
    dataset = read_conll(write(tmp_path / "a.conll", 10))
    assert tagged_in_two_ways(dataset, None) == []
    assert rare_types(dataset, None) == []


def test_equal_sentences_with_other_tags_are_found(tmp_path: Path) -> None:
    dataset = read_conll(write(tmp_path / "a.conll", 10, "3 O\nAda B-PER\nin O\nNew O\nYork B-LOC\n"))
    (finding,) = tagged_in_two_ways(dataset, None)
    assert (finding.count, finding.rows) == (2, [3, 10])
    assert "'New' is tagged B-LOC and O" in finding.detail
    assert rare_types(dataset, None) == []


def test_types_that_hardly_occur_are_found(tmp_path: Path) -> None:
    dataset = read_conll(write(tmp_path / "a.conll", 9, "x O\nDune B-TITLE\n"))
    (finding,) = rare_types(dataset, None)
    assert finding.names[0] == "TITLE"
    assert set(finding.names) == {"TITLE", "LOC", "PER"}
    assert "'TITLE' (1)" in finding.detail
