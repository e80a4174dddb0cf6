"""Word vectors from a text file to neighbours: what is learned, how it is judged, what resumes, and what is refused."""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Earnest
from numpy.random import default_rng
from safetensors.torch import load_file

import earnest as package
from earnest.core.errors import Interrupted
from earnest.core.run import Run
from earnest.data.word_vectors import WordVectors

pytest.importorskip("numba")
pytestmark = pytest.mark.slow

ANIMALS, TOOLS = ("cat", "dog", "cow", "hen", "fox", "owl"), ("saw", "axe", "rasp", "drill", "plane", "vice")
RECIPE = "lr = 0.1\nwindow = 3\n[model_options]\nwidth = 16\nsample = 0\n"


def write_corpus(path: Path, num_lines: int = 1500, seed: int = 0) -> Path:
    """Lines about animals or about tools."""
    rng = default_rng(seed)
    lines = []
    for _ in range(num_lines):
        words = rng.choice(ANIMALS if rng.random() < 0.5 else TOOLS, 8).tolist()
        words[rng.integers(8)] = rng.choice(["the", "a"])
        lines.append(f"{' '.join(words).capitalize()}.")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text, a recipe, and pairs of words as people might judge them."""
    folder = tmp_path_factory.mktemp("data")
    write_corpus(folder / "barn.txt")
    (folder / "small.toml").write_text(RECIPE)
    rng = default_rng(1)
    pairs = []
    for _ in range(30):
        a, b = rng.choice(ANIMALS + TOOLS, 2, replace=False)
        pairs.append(f"{a},{b},{8.0 if (a in ANIMALS) == (b in ANIMALS) else 1.0}")
    (folder / "pairs.csv").write_text("\n".join(["first,second,judged", *pairs, "cat,unicorn,5"]))
    return folder


@pytest.fixture(scope="module")
def run(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "barn"
    package.fit(
        place / "barn.txt",
        task="word-vectors",
        recipe=place / "small.toml",
        test=place / "pairs.csv",
        out=out,
        quiet=True,
    )
    return out


def test_it_learns_what_belongs_together(run: Path) -> None:
    vectors = package.load(run)
    assert isinstance(vectors, WordVectors)
    assert set(vectors.words) == {*ANIMALS, *TOOLS, "the", "a"}
    assert {one.word for one in vectors.similar("Cat", num=5)} == set(ANIMALS) - {"cat"}
    evaluation = json.loads((run / "evaluation.json").read_text())
    nearness = evaluation["test"]["metrics"]["nearness"]
    assert nearness["low"] > 0.58
    assert evaluation["test"]["baselines"]["the commoner word"]["nearness"]["value"] < 0.6
    assert "PPMI + SVD" in evaluation["test"]["baselines"]
    ours = evaluation["words_test"]["ours"]
    assert (ours["n"], ours["known"]) == (31, 30)
    assert ours["score"]["value"] > 0.7
    assert len(evaluation["map"]) > 5
    facts = json.loads((run / "run.json").read_text())
    assert facts["data"]["rows"] == 1500 * 8
    assert facts["plan"]["trainings"]["skip-gram"]["threads"] == 1
    assert len(facts["test_looks"]) == 1
    assert not (run / "words").exists()
    losses = [event["train_loss"] for event in Run.open(run).events("epoch")]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_the_page_and_the_card_tell_of_words(run: Path) -> None:
    page, card = (run / "report.html").read_text(), (run / "card.md").read_text()
    for expected in ("Nearest words", "A map of common words", "Does it see words as people do?", "earnest similar"):
        assert expected in page
    assert "earnest predict" not in page + card
    assert "a vector for each of 14 words" in card


def test_similar_answers_on_the_command_line(run: Path, earnest: Earnest, tmp_path: Path) -> None:
    ended = earnest("similar", run, "saw", "--num", 3)
    assert ended.code == 0
    words = [line.split("\t")[0] for line in ended.out.splitlines()]
    assert len(words) == 3
    assert set(words) <= set(TOOLS)
    frame = package.similar(run, ["cat", "saw"], minus="dog", num=2)
    ended = earnest("similar", run, "cat", "--plus", "saw", "--minus", "dog", "--num", 2)
    assert [line.split("\t")[0] for line in ended.out.splitlines()] == frame["word"].to_list()
    for name in ("vectors.txt", "vectors.bin"):
        assert earnest("similar", run, "--out", tmp_path / name).code == 0
        again = earnest("similar", tmp_path / name, "saw", "--num", 3)
        assert [line.split("\t")[0] for line in again.out.splitlines()] == words
        ended = earnest("similar", run, "--out", tmp_path / name)
        assert ended.code == 2
        assert "--overwrite" in ended.err
    ended = earnest("similar", run, "sax")
    assert ended.code == 2
    assert "did you mean" in ended.err
    ended = earnest("predict", run, tmp_path)
    assert ended.code == 2
    assert "earnest similar" in ended.err


@pytest.mark.parametrize(
    ("model", "options"),
    [("cbow", "negatives = 3"), ("skip-gram", "negatives = 0"), ("skip-gram", "subwords = true\nbuckets = 500")],
)
def test_every_variant_learns(model: str, options: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE + options + "\n")
    (tmp_path / "barn.txt.gz").write_bytes(gzip.compress((place / "barn.txt").read_bytes()))
    run = package.fit(
        tmp_path / "barn.txt.gz",
        task="word-vectors",
        model=model,
        epochs=8,
        recipe=tmp_path / "recipe.toml",
        out=tmp_path / "run",
        quiet=True,
    )
    vectors = package.load(run.path)
    assert isinstance(vectors, WordVectors)
    assert {one.word for one in vectors.similar("cat", num=5)} == set(ANIMALS) - {"cat"}
    assert ("cattle" in vectors) == ("subwords" in options)


def test_phrases_become_words(tmp_path: Path) -> None:
    rng = default_rng(3)
    words = [f"w{i}" for i in range(300)]
    lines = [" ".join([*rng.choice(words, 6), *["new york"] * (i % 3 == 0), *rng.choice(words, 2)]) for i in range(800)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "recipe.toml").write_text(RECIPE + "phrases = 1\n")
    run = package.fit(
        tmp_path / "a.txt",
        task="word-vectors",
        epochs=1,
        recipe=tmp_path / "recipe.toml",
        out=tmp_path / "r",
        quiet=True,
    )
    vectors = package.load(run.path)
    assert isinstance(vectors, WordVectors)
    assert "new_york" in vectors
    assert "york" not in vectors


def test_a_stopped_run_goes_on_and_ends_as_if_it_never_was(
    run: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, seen = Run.log, []

    def watched(self: Run, kind: str, **values: Any) -> None:
        log(self, kind, **values)
        seen.append(kind)
        if seen.count("epoch") == 2 and kind == "epoch":
            os.kill(os.getpid(), signal.SIGTERM)

    options: dict[str, Any] = {"task": "word-vectors", "recipe": place / "small.toml", "test": place / "pairs.csv"}
    with monkeypatch.context() as patch:
        patch.setattr(Run, "log", watched)
        with pytest.raises(Interrupted):
            package.fit(place / "barn.txt", out=tmp_path / "run", quiet=True, **options)
    assert Run.open(tmp_path / "run").facts()["status"] == "stopped"
    package.resume(tmp_path / "run", quiet=True)
    ours, theirs = (load_file(one / "model" / "model.safetensors") for one in (tmp_path / "run", run))
    assert torch.equal(ours["vectors"], theirs["vectors"])
    losses = [
        {event["epoch"]: event["train_loss"] for event in Run.open(one).events("epoch")}
        for one in (tmp_path / "run", run)
    ]
    assert losses[0] == losses[1]


def test_with_little_time_it_makes_fewer_passes(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earnest.api.word_vectors.seconds_per_number", lambda training: 60 / training.corpus.num)
    run = package.fit(
        place / "barn.txt",
        task="word-vectors",
        recipe=place / "small.toml",
        epochs=50,
        minutes=2,
        out=tmp_path / "run",
        quiet=True,
    )
    passes = run.facts()["plan"]["trainings"]["skip-gram"]["epochs"]
    assert 0 < passes < 2, "a pass takes a minute, it is said"
    assert len(list(run.events("epoch"))) == math.ceil(passes)
    assert run.finished()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no words"),
        ("word " * 500, "one word only"),
        ("every word once here\n", "none occurs 5 times"),
        ("a b c " * 8, "too short"),
        ("a b " + "x" * 1_000_000, "holds a word of"),
        (None, "binary"),
    ],
)
def test_bad_texts_are_named_and_leave_nothing(
    content: str | None, message: str, earnest: Earnest, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(np.arange(3000, dtype=np.uint16).tobytes() if content is None else content.encode())
    ended = earnest("fit", path, "--task", "word-vectors", "--out", tmp_path / "run", "--quiet")
    assert ended.code == 2, ended.err
    assert message in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "lstm"), "does not learn word vectors"),
        (("--target", "x"), "leave --target out"),
        (("--test", "none.csv"), "none.csv"),
        (("--recipe", "wide.toml"), "width"),
        (("--recipe", "bpe.toml"), "take words, or spaces"),
        (("--recipe", "wrong.toml"), "no option 'widht'"),
    ],
)
def test_bad_options_are_named(
    options: tuple[str, ...],
    message: str,
    place: Path,
    earnest: Earnest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("wide", "[model_options]\nwidth = 0\n"), ("bpe", 'tokens = "bpe"\n')):
        Path(f"{name}.toml").write_text(text)
    Path("wrong.toml").write_text('model = "skip-gram"\n[model_options]\nwidht = 5\n')
    ended = earnest("fit", place / "barn.txt", "--task", "word-vectors", "--out", tmp_path / "run", *options)
    assert ended.code == 2
    assert message in ended.err


def test_without_numba_it_says_what_to_install(
    place: Path, earnest: Earnest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    ended = earnest("fit", place / "barn.txt", "--task", "word-vectors", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "pip install 'earnest[words]'" in ended.err
