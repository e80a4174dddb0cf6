"""Language models from a text file to generated text: what is learned, how it is scored, and what is refused."""

from __future__ import annotations

import gzip
import json
import math
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import Earnest
from numpy.random import default_rng
from safetensors.torch import load_file

import earnest as package
from earnest.api.language_model import LanguageModel
from earnest.core.run import Run
from earnest.training import plan as plans

pytestmark = pytest.mark.slow

WORDS = ("the", "king", "queen", "of", "hearts", "sings", "and", "dances", "a", "jig", "né", "in", "Pärnu", "😀")


def prose(num_words: int, *, seed: int | None = None) -> str:
    """Sentences in lines."""
    rng = default_rng(seed)
    words = [str(word) for word in rng.choice(WORDS, num_words)]
    return "".join(word + (".\n" if rng.random() < 0.1 else " ") for word in words)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "hearts.txt"
    path.write_text(prose(4000, seed=1), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows that are short enough for a small text."""
    path = tmp_path_factory.mktemp("recipes") / "short.toml"
    path.write_text("window = 32\nbatch_size = 16\nlr = 0.01\ndropout = 0.0\n")
    return path


@pytest.fixture(scope="module")
def run(text: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "hearts"
    package.fit(text, task="language-model", model="gru-tiny", epochs=2, recipe=recipe, out=out, quiet=True)
    return out


def test_the_scores_are_those_of_the_whole_test_part(run: Path, text: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    facts = json.loads((run / "run.json").read_text())
    content = text.read_text(encoding="utf-8")
    parts = facts["data"]["split"]
    num_test = parts["test"]
    assert (evaluation["unit"], evaluation["metric"]) == ("characters", "bits_per_character")
    assert parts["train"] + parts["validation"] + num_test == facts["data"]["rows"] == len(content)
    assert num_test == pytest.approx(0.1 * len(content), abs=100)
    assert evaluation["test"]["n"] == num_test
    assert (
        evaluation["validation"]["n"] == parts["validation"] - 1
    )  # first in the text: its first character is not told
    assert parts["validation"] == pytest.approx(0.05 * len(content), abs=100)
    scores = evaluation["test"]["metrics"]
    assert scores["nats"]["value"] == pytest.approx(scores["bits_per_character"]["value"] * math.log(2))
    assert scores["perplexity"]["value"] == pytest.approx(math.exp(scores["nats"]["value"]))
    assert {"unigram", "bigram", "trigram"} <= set(evaluation["test"]["baselines"])
    for score in (scores, *evaluation["test"]["baselines"].values()):
        assert all(one["low"] < one["value"] < one["high"] for one in score.values())
    assert len(facts["test_looks"]) == evaluation["test_looks"] == 1

    model = package.load(run)
    assert isinstance(model, LanguageModel)
    ids = torch.tensor([model.tokenizer.encode([content], bare=True).ids[0].tolist()])
    with torch.no_grad():
        hidden, _ = model.network.stream(ids)
        logits = model.network.head(hidden[0, :-1])
    nats = torch.nn.functional.cross_entropy(logits[-num_test:], ids[0, -num_test:])
    assert scores["nats"]["value"] == pytest.approx(float(nats), rel=1e-3)


def test_the_run_says_what_it_did(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert [line["name"] for line in evaluation["candidates"] if line["shipped"]] == ["gru-tiny"]
    assert len(evaluation["samples"]) == 3
    assert evaluation["verdict"] in (run / "report.html").read_text(encoding="utf-8")
    assert {path.name for path in (run / "model").iterdir()} == {
        "model.json", "model.safetensors", "tokenizer-0.json"}  # fmt: skip
    assert "window = 32" in (run / "recipe.toml").read_text()
    assert 'tokens = "character"' in (run / "recipe.toml").read_text()


def test_text_comes_out_the_same_for_the_same_seed(earnest: Earnest, run: Path) -> None:
    ended = earnest("generate", run, "--prompt", "the king", "--tokens", 40, "--seed", 5)
    assert (ended.code, ended.err) == (0, "")
    options: dict[str, Any] = {"prompt": "the king", "num_tokens": 40}
    assert ended.out == "the king" + package.generate(run, **options, seed=5) + "\n"
    assert package.generate(run, **options, seed=6) != package.generate(run, **options, seed=5)
    moved = package.load(run / "model")
    assert isinstance(moved, LanguageModel)
    assert "".join(moved.stream("the king", num_tokens=40, seed=5)) == package.generate(run, **options, seed=5)
    several = earnest("generate", run, "--prompt", "the king", "--tokens", 40, "--seed", 5, "--num", 2)
    assert several.out.startswith(ended.out)
    assert several.out.count("the king") >= 2
    greedy = [package.generate(run, **options, temperature=0, seed=seed) for seed in (1, 2)]
    assert greedy[0] == greedy[1] == package.generate(run, **options, top_k=1)
    assert set(package.generate(run, num_tokens=200, top_p=0.9)) <= set("".join(WORDS) + ". \n")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--prompt", "the €uro ж"), "'€', 'ж'"),
        (("--prompt", ""), "empty"),
        (("--tokens", 0), "--tokens"),
        (("--temperature", -1), "temperature"),
        (("--top-k", 0), "top-k"),
        (("--top-p", 1.5), "top-p"),
    ],
)
def test_what_cannot_be_asked_of_it_is_named(earnest: Earnest, run: Path, options: tuple[Any, ...], named: str) -> None:
    ended = earnest("generate", run, *options)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.err


def test_a_language_model_predicts_nothing_and_others_generate_nothing(
    earnest: Earnest, run: Path, people_run: Path, people: Path
) -> None:
    ended = earnest("predict", run, people)
    assert ended.code == 2
    assert "earnest generate" in ended.err
    ended = earnest("generate", people_run)
    assert ended.code == 2
    assert "--task language-model" in ended.err


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "no text"),
        (bytes(range(256)) * 20, "binary"),
        (b"a" * 5000, "one character only, 'a'"),
        (b"To be, or not to be.\n" * 5, "window"),
        (b"ab", "too short"),
    ],
)
def test_text_that_cannot_be_learned_from_is_named(
    earnest: Earnest, tmp_path: Path, content: bytes, named: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    ended = earnest("fit", path, "--task", "language-model", "--out", tmp_path / "run")
    assert ended.code == 2
    assert named in ended.err
    assert str(path) in ended.err or path.name in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((), "--task language-model"),
        (("--task", "languagemodel"), "did you mean 'language-model'"),
        (("--task", "language-model", "--target", "x"), "--target"),
        (("--task", "language-model", "--split", "random"), "--split"),
        (("--task", "language-model", "--model", "bilstm"), "left to right"),
        (("--task", "language-model", "--model", "resnet18"), "left to right"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    earnest: Earnest, text: Path, tmp_path: Path, options: tuple[Any, ...], named: str
) -> None:
    ended = earnest("fit", text, *options, "--out", tmp_path / "run")
    assert ended.code == 2
    assert named in ended.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["elman-tiny", "mingru-tiny", "transformer-tiny"])
def test_every_network_that_reads_ahead_learns_and_goes_on(
    text: Path, recipe: Path, tmp_path: Path, model: str
) -> None:
    run = package.fit(
        text, task="language-model", model=model, epochs=1, recipe=recipe, out=tmp_path / "run", quiet=True
    )
    assert run.evaluation["test"]["metrics"]["bits_per_character"]["value"] < math.log2(30)
    assert len(package.generate(tmp_path / "run", num_tokens=100)) == 100


def test_pieces_of_words_give_whole_characters(tmp_path: Path) -> None:
    (tmp_path / "bpe.toml").write_text('window = 16\ntokens = "bpe"\nvocabulary = 300\nbatch_size = 16\n')
    path = tmp_path / "hearts.txt.gz"
    content = prose(3000)
    path.write_bytes(gzip.compress(content.encode()))
    run = package.fit(
        path, task="language-model", model="gru-tiny", epochs=1, recipe=tmp_path / "bpe.toml", out=tmp_path / "run",
        quiet=True,
    )  # fmt: skip
    evaluation = run.evaluation
    assert evaluation["unit"] == "tokens"
    split = run.facts()["data"]["split"]
    assert split["test"] < 0.1 * len(content)
    scores = evaluation["test"]["metrics"]
    model = package.load(tmp_path / "run")
    assert isinstance(model, LanguageModel)
    last = model.tokenizer.encode([content], bare=True).ids[0][-split["test"] :]
    characters = len(model.tokenizer.decode(last))
    assert int(model.tokenizer.characters[last].sum()) == characters
    bits = scores["nats"]["value"] * split["test"] / math.log(2) / characters
    assert scores["bits_per_character"]["value"] == pytest.approx(bits)
    ids = model.tokenizer.encode([content[:2000]], bare=True).ids[0]
    pieces = list(model._decoded(iter(ids.tolist())))
    assert "".join(pieces) == content[:2000]
    assert not any("\ufffd" in piece for piece in pieces)
    assert model.generate("né 😀", num_tokens=50)


def stopped(patch: pytest.MonkeyPatch, nth: int) -> None:
    """Send this process a SIGTERM when the nth checkpoint is logged."""
    log, seen = Run.log, []

    def watched(run: Run, kind: str, **values: Any) -> None:
        log(run, kind, **values)
        seen.append(kind)
        if kind == "checkpoint" and seen.count(kind) == nth:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(Run, "log", watched)


@pytest.fixture
def same_plan() -> Iterator[None]:
    """No choice that depends on the machine's mood, and a checkpoint every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "PAYS", 0.0)
        patch.setattr(plans, "CHECKPOINT_SECONDS", 0.0)
        yield


def test_a_stopped_run_ends_bit_equal(
    earnest: Earnest, text: Path, recipe: Path, tmp_path: Path, same_plan: None
) -> None:
    options = ("--task", "language-model", "--model", "gru-tiny", "--epochs", 2, "--recipe", recipe, "--quiet")
    assert earnest("fit", text, "--out", tmp_path / "whole", *options).code == 0
    with pytest.MonkeyPatch.context() as patch:
        stopped(patch, int(default_rng().integers(3, 40)))
        assert earnest("fit", text, "--out", tmp_path / "stopped", *options).code == 130
    assert earnest("resume", tmp_path / "stopped", "--quiet").code == 0
    whole, resumed = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "stopped"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    scores = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("whole", "stopped")]
    assert scores[0]["test"] == scores[1]["test"]
    assert scores[0]["samples"] == scores[1]["samples"]


LETTERS, COINS = "abcdefgh", 6
"""A block of the grammar: a letter, some coins, the letter again as a capital, a new line."""


def remembered(num_blocks: int) -> str:
    rng = default_rng()
    openers = rng.integers(len(LETTERS), size=num_blocks)
    coins = rng.integers(2, size=(num_blocks, COINS))
    return "".join(
        LETTERS[opener] + "".join(map(str, flips)) + LETTERS[opener].upper() + "\n"
        for opener, flips in zip(openers, coins, strict=True)
    )


@pytest.mark.slow
def test_an_lstm_comes_near_the_entropy_of_a_grammar_with_memory(tmp_path: Path) -> None:
    """Only the letter and the coins are chance; who forgets the letter pays for it twice."""
    (tmp_path / "blocks.txt").write_text(remembered(8000))
    (tmp_path / "recipe.toml").write_text(
        'model = "lstm"\nwindow = 64\nlr = 0.01\nbatch_size = 16\ndropout = 0.0\n[model_options]\nwidth = 64\n'
    )
    run = package.fit(
        tmp_path / "blocks.txt", task="language-model", recipe=tmp_path / "recipe.toml", epochs=20,
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    scores = run.evaluation["test"]
    entropy = (math.log(len(LETTERS)) + COINS * math.log(2)) / (COINS + 3)
    forgetful = entropy + math.log(len(LETTERS)) / (COINS + 3)
    assert scores["metrics"]["nats"]["value"] == pytest.approx(entropy, rel=0.03)
    assert scores["baselines"]["bigram"]["nats"]["value"] > 0.97 * forgetful
    assert min(line["nats"]["value"] for line in scores["baselines"].values()) > 1.1 * entropy
    assert "earns its keep" in run.evaluation["verdict"]
    model = package.load(tmp_path / "run")
    assert isinstance(model, LanguageModel)
    blocks = model.generate(num_tokens=(COINS + 3) * 50).split("\n")[:-1]
    right = np.mean([len(block) == COINS + 2 and block[-1] == block[0].upper() for block in blocks])
    assert right > 0.9
