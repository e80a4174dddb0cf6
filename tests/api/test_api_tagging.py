"""Tagged sentences through the command line: fitted, told of, moved, stopped, resumed, and predicted from."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from commands import Earnest, invoke
from safetensors.torch import load_file

import earnest as package
from earnest.api.tag_model import TagModel
from earnest.api.tag_parts import (
    MOST_PIECES,
    MOST_WORDS,
    CommonestPart,
    LinearTagsPart,
    NetworkTagsPart,
    TagPart,
    on_encoder,
)
from earnest.core.registry import models
from earnest.core.run import Run
from earnest.core.words import InputSpec
from earnest.data.tag_schemes import spans
from earnest.data.tag_schemes import write as write_tags
from earnest.data.tokenizers import Tokenizer
from earnest.data.words import WordEncoder
from earnest.evaluation.tag_baselines import CommonestTags, LinearTags
from earnest.tasks.tagging import entity_counts
from earnest.training import plan as plans

pytestmark = pytest.mark.slow

PEOPLE, FAMILIES = ("Ada", "Bob", "Cleo", "Dora"), ("Stone", "Hill", "Wood", "Lake")
PLACES = (("Paris",), ("Rome",), ("New", "York"), ("Stone", "Hill"))
QUICK = ("--model", "bilstm-crf-tiny", "--from-scratch", "--epochs", "2", "--quiet")


def tagged(num: int, seed: int) -> list[list[tuple[str, str]]]:
    """People after "said" or "and", places after "in" or "near"; some words are both."""
    rng = random.Random(seed)
    sentences = []
    for number in range(num):
        words: list[tuple[str, str]] = [(str(number), "O")]
        for _ in range(rng.randint(1, 3)):
            if rng.random() < 0.5:
                person = [rng.choice(PEOPLE), *rng.sample(FAMILIES, rng.randint(0, 1))]
                words += [(rng.choice(("said", "and")), "O"), (person[0], "B-PER"), *((w, "I-PER") for w in person[1:])]
            else:
                place = rng.choice(PLACES)
                words += [(rng.choice(("in", "near")), "O"), (place[0], "B-LOC"), *((w, "I-LOC") for w in place[1:])]
        sentences.append([*words, (".", "O")])
    return sentences


def write(path: Path, sentences: list[list[tuple[str, str]]]) -> Path:
    path.write_text("\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in one) for one in sentences) + "\n")
    return path


@pytest.fixture(scope="module", autouse=True)
def same_plan() -> Iterator[None]:
    """No choice that depends on the machine's mood."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "PAYS", 0.0)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    for seed, (part, num) in enumerate({"train": 120, "dev": 40, "test": 50}.items()):
        write(folder / f"{part}.conll", tagged(num, seed))
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tagged"
    assert invoke("fit", data, "--out", out, *QUICK) == 0
    return out


def test_what_stands_between_is_learned_and_not_needed(earnest: Earnest, tmp_path: Path) -> None:
    """A column that says which words are names; predicting needs the words alone."""

    def with_kind(line: re.Match[str]) -> str:
        return f"{line[1]}\t{'NAME' if line[1].istitle() else 'REST'}\t"

    folder, out = tmp_path / "data", tmp_path / "run"
    folder.mkdir()
    for seed, (part, num) in enumerate({"train": 120, "dev": 40, "test": 50}.items()):
        path = write(folder / f"{part}.conll", tagged(num, seed))
        path.write_text(re.sub(r"^(\S+)\t", with_kind, path.read_text(), flags=re.MULTILINE))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("beside = 1.0\n")
    ended = earnest("fit", folder, "--out", out, *QUICK[:-1], "--recipe", recipe)
    assert ended.code == 0
    assert "not needed afterwards: column 2 (2 values)" in ended.err + ended.out
    assert not any("beside" in name for name in load_file(out / "model" / "model.safetensors"))
    bare = tmp_path / "bare.txt"
    bare.write_text("Ada said Bob in Paris .\n")
    ended = earnest("predict", out, bare, "--out", tmp_path / "tags.csv", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert pl.read_csv(tmp_path / "tags.csv")["token"].to_list() == ["Ada", "said", "Bob", "in", "Paris", "."]


def test_the_scores_are_those_of_the_predictions(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert [line["name"] for line in evaluation["candidates"]] == [
        *("commonest tag of each word", "linear on words and neighbours", "bilstm-crf-tiny from scratch")
    ]
    for part, num in (("validation", 40), ("test", 50)):
        frame = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == part)
        by_row = frame.group_by("row", maintain_order=True).agg("truth", "tag")
        truth, found = by_row["truth"].to_list(), by_row["tag"].to_list()
        right, given, true = entity_counts(truth, found).sum(0)
        scores = evaluation[part]["metrics"]
        assert evaluation[part]["n"] == num == len(by_row)
        assert scores["f1"]["value"] == pytest.approx(2 * right / (given + true))
        assert scores["accuracy"]["value"] == pytest.approx((frame["tag"] == frame["truth"]).mean())
        for score in scores.values():
            assert score["low"] <= score["value"] <= score["high"]
    best = max(evaluation["candidates"], key=lambda line: line["score"]["value"])
    shipped = next(line for line in evaluation["candidates"] if line["shipped"])
    assert shipped["score"]["value"] == best["score"]["value"]
    assert [line["label"] for line in evaluation["per_class"]] == ["LOC", "PER"]
    assert evaluation["comparison"]["metric"] == "f1"
    assert evaluation["test_looks"] == 1


def test_mistakes_are_sentences_with_true_and_given_entities(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    frame = pl.read_parquet(run / "predictions.parquet").filter(pl.col("part") == "test")
    wrong = frame.filter(pl.col("tag") != pl.col("truth"))["row"].unique()
    assert {mistake["row"] for mistake in evaluation["mistakes"]} <= set(wrong.to_list())
    assert bool(evaluation["mistakes"]) == bool(len(wrong))
    for mistake in evaluation["mistakes"]:
        its = frame.filter(pl.col("row") == mistake["row"])
        assert mistake["tokens"] == its["token"].to_list()
        assert [tuple(span) for span in mistake["true_spans"]] == spans(its["truth"].to_list())
        assert [tuple(span) for span in mistake["predicted_spans"]] == spans(its["tag"].to_list())
    page = (run / "report.html").read_text()
    assert "Type by type" in page
    assert "50 test sentences" in page
    assert "a tag for every word" in (run / "card.md").read_text()


def test_a_moved_model_answers_the_same_for_every_form_of_data(earnest: Earnest, run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(run / "model", moved)
    sentences = [[word for word, _ in one] for one in tagged(9, seed=7)] + [["x"] * 300, ["Ünï", "😀", "Ada"]]
    forms = {
        "untagged.txt": "\n\n".join("\n".join(one) for one in sentences) + "\n",
        "tagged.conll": "\n\n".join("\n".join(f"{word} O" for word in one) for one in sentences) + "\n",
        "lines.txt": "\n".join(" ".join(one) for one in sentences) + "\n",
        "table.csv": "id,text\n" + "".join(f"{i},{' '.join(one)}\n" for i, one in enumerate(sentences)),
    }
    answers = []
    for name, content in forms.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        ended = earnest("predict", moved, tmp_path / name, "--out", tmp_path / f"{name}.parquet", "--quiet")
        assert (ended.code, ended.err) == (0, "")
        answers.append(pl.read_parquet(tmp_path / f"{name}.parquet"))
    for frame in answers:
        assert frame.columns == ["row", "token", "tag", "confidence", "name"]
        assert frame["token"].to_list() == [word for one in sentences for word in one]
        assert frame.drop("name").equals(answers[0].drop("name"))
        assert frame["confidence"].is_between(0, 1).all()
    (tmp_path / "one.txt").write_text(" ".join(sentences[3]) + "\n", encoding="utf-8")
    alone = package.load(run).predict(tmp_path / "one.txt")
    together = answers[0].filter(pl.col("row") == 3)
    assert alone["tag"].to_list() == together["tag"].to_list()
    assert alone["confidence"].to_list() == pytest.approx(together["confidence"].to_list(), abs=2e-6)


TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def taggers() -> list[TagPart]:
    """One of each kind, the networks as they begin."""
    sentences = [[word for word, _ in one] for one in tagged(30, seed=5)]
    codes = [[TAGS.index(tag) for _, tag in one] for one in tagged(30, seed=5)]
    words, pieces = WordEncoder.fit(sentences), Tokenizer.train("wordpiece", map(" ".join, sentences), vocab_size=90)
    of_words = InputSpec("tokens", (MOST_WORDS,), words.cardinalities)
    of_pieces = InputSpec("tokens", (MOST_PIECES,), (pieces.vocab_size,))
    recurrent = models["bilstm-crf-tiny"].build(of_words, len(TAGS))
    encoder = on_encoder(models["bert-tiny"].build(of_pieces, 1), len(TAGS))
    return [
        CommonestPart(CommonestTags.fit(sentences, codes), TAGS),
        LinearTagsPart(LinearTags.fit(sentences, codes, len(TAGS), seed=1), TAGS),
        NetworkTagsPart(recurrent, TAGS, "bilstm-crf-tiny", {}, of_words, words),
        NetworkTagsPart(encoder, TAGS, "bert-tiny", {}, of_pieces, pieces),
    ]


@pytest.mark.parametrize("which", range(4))
def test_every_kind_of_tagger_comes_back_from_its_folder(which: int, tmp_path: Path) -> None:
    part = taggers()[which]
    TagModel(part, TAGS, {}).save(tmp_path / "model")
    back = TagModel.load(tmp_path / "model")
    assert back.labels == TAGS
    asked = [["Ada", "Stone", "near", "Ünheard"], [], ["in", "New"] * 150, ["😀"], ["x" * 500]]
    before, after = part.answer(asked), back.part.answer(asked)
    assert [one.tags for one in before] == [one.tags for one in after]
    for words, one, other in zip(asked, before, after, strict=True):
        assert len(words) == len(one.tags) == len(one.confidence)
        assert one.confidence.tolist() == other.confidence.tolist()
        assert one.tags == write_tags(spans(one.tags), len(words))
    for words, one in zip(asked, before, strict=True):
        (alone,) = part.answer([words])
        assert alone.tags == one.tags
        assert alone.confidence.tolist() == pytest.approx(one.confidence.tolist(), abs=1e-5)


def test_equal_sentences_stay_on_one_side(earnest: Earnest, tmp_path: Path) -> None:
    few = [list(one[1:]) for one in tagged(40, seed=3)]
    file = write(tmp_path / "train.conll", few * 4)
    ended = earnest("fit", file, "--out", tmp_path / "run", *QUICK)
    assert (ended.code, ended.err) == (0, "")
    frame = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    sentences = frame.group_by("part", "row", maintain_order=True).agg(pl.col("token").str.join(" "))
    parts = {part: set(its["token"]) for (part,), its in sentences.group_by("part")}
    assert not parts["validation"] & parts["test"]


def test_a_stopped_run_goes_on_to_the_same_scores(earnest: Earnest, data: Path, run: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        log = Run.log

        def stopping(self: Run, kind: str, **values: object) -> None:
            log(self, kind, **values)
            if kind == "epoch":
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(Run, "log", stopping)
        assert earnest("fit", data, "--out", tmp_path / "run", *QUICK).code != 0
    assert not (tmp_path / "run" / "evaluation.json").exists()
    assert earnest("resume", tmp_path / "run", "--quiet").code == 0
    one, other = (json.loads((folder / "evaluation.json").read_text()) for folder in (run, tmp_path / "run"))
    assert one["validation"]["metrics"] == other["validation"]["metrics"]
    assert [line["score"] for line in one["candidates"]] == [line["score"] for line in other["candidates"]]


@pytest.mark.parametrize(
    ("content", "flags", "named"),
    [
        ("", (), "empty"),
        ("Ada B-PER\nran\n\nBob B-PER\nran O\n", (), "line 2"),
        ("Ada\tNNP\tB-PER\nran\tVBD\tverb\n\nin\tIN\tO\n", (), "verb"),
        ("Ada O\nran O\n\nin O\n", (), "nothing to learn"),
        ("Ada B-PER\nran O\n", (), "too few"),
        ("Ada B-PER\nran O\n\nBob B-PER\nsat O\n", ("--metric", "rmse"), "--metric"),
        ("Ada B-PER\nran O\n\nBob B-PER\nsat O\n", ("--model", "resnet18"), "bilstm-crf"),
        ("Ada B-PER\nran O\n\nBob B-PER\nsat O\n", ("--model", "lstm"), "bilstm-crf"),
    ],
)
def test_what_cannot_be_used_is_named(
    earnest: Earnest, tmp_path: Path, content: str, flags: tuple[str, ...], named: str
) -> None:
    (tmp_path / "train.conll").write_text(content)
    ended = earnest("fit", tmp_path / "train.conll", "--out", tmp_path / "run", *flags, "--quiet")
    assert ended.code == 2
    assert named in " ".join(ended.err.split())
    assert "Traceback" not in ended.err
    assert not (tmp_path / "run").exists()


def test_a_tagger_is_refused_for_other_data(earnest: Earnest, tmp_path: Path) -> None:
    rows = "".join(f"some words of row {i} that are free text,{'yes' if i % 2 else 'no'}\n" for i in range(60))
    (tmp_path / "texts.csv").write_text("text,answer\n" + rows)
    ended = earnest("fit", tmp_path / "texts.csv", "--target", "answer", "--model", "bilstm-crf",
                    "--out", tmp_path / "run", "--quiet")  # fmt: skip
    assert ended.code == 2
    assert "bilstm-crf" in ended.err


@pytest.mark.slow
def test_neighbours_are_learned_from_and_words_alone_are_not_enough(earnest: Earnest, tmp_path: Path) -> None:
    """Only what stands before "Stone Hill" tells a person's family name from a place."""
    for seed, (part, num) in enumerate({"train": 400, "dev": 100, "test": 200}.items()):
        write(tmp_path / f"{part}.conll", tagged(num, seed + 10))
    ended = earnest("fit", tmp_path, "--out", tmp_path / "run", "--from-scratch", "--epochs", 12, "--quiet")
    assert (ended.code, ended.err) == (0, "")
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    scores = {line["name"]: line["score"]["value"] for line in evaluation["candidates"]}
    assert scores["commonest tag of each word"] < 0.95
    assert scores["bilstm-crf from scratch"] > 0.98
    assert evaluation["test"]["metrics"]["f1"]["value"] > 0.97
