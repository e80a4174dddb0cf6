"""An encoder that is pretrained on a running text, and a table of texts that is learned from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import Earnest, write_table
from numpy.random import default_rng
from safetensors.torch import load_file

from earnest.api import masked

pytestmark = pytest.mark.slow

PAIRS = {"cat": "mice", "dog": "bones", "cow": "grass", "owl": "voles"}


def sentence() -> str:
    rng = default_rng()
    animal = str(rng.choice(list(PAIRS)))
    return f"the {animal} eats {PAIRS[animal]} {rng.choice(['today', 'again', 'here', 'now'])}"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "short.toml"
    path.write_text("window = 32\nbatch_size = 16\nvocabulary = 300\nlr_rest = 0.005\ndropout = 0.0\n")
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "animals.txt"
    path.write_text("".join(f"{sentence()}.\n" for _ in range(1500)))
    return path


def test_an_encoder_is_pretrained_shipped_and_started_from(
    earnest: Earnest, text: Path, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "animals"
    ended = earnest("fit", text, "--task", "masked-language-model", "--model", "bert-modern-tiny", "--epochs", 12,
                    "--recipe", recipe, "--out", run, "--quiet")  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    evaluation = json.loads((run / "evaluation.json").read_text())
    ours = evaluation["test"]["metrics"]["accuracy"]["value"]
    counting = evaluation["test"]["baselines"]["commonest token"]["accuracy"]["value"]
    assert ours > counting + 0.1
    assert "--start-from" in evaluation["verdict"]
    assert not any(name.startswith("head.") for name in load_file(run / "model" / "model.safetensors"))
    assert "dropout" not in json.loads((run / "model" / "model.json").read_text())["parts"][0]["options"]
    assert '"event": "skip-gram"' in (run / "log.jsonl").read_text()

    rows = [["text", "fed", "part"]]
    for i in range(120):
        row = sentence()
        rows.append(
            [f"{row} {i}", "well" if "cat" in row or "owl" in row else "ill", ("train", "train", "val", "test")[i % 4]]
        )
    table = write_table(tmp_path / "fed.csv", rows)
    out = tmp_path / "fed"
    ended = earnest("fit", table, "--target", "fed", "--type", "text=text", "--split", "part", "--start-from", run,
                    "--epochs", 1, "--out", out, "--quiet")  # fmt: skip
    assert (ended.code, ended.err) == (0, "")
    names = [line["name"] for line in json.loads((out / "evaluation.json").read_text())["candidates"]]
    assert any("bert-modern-tiny" in name for name in names)


def test_the_weights_that_a_run_starts_from_are_the_pretrained_ones(
    earnest: Earnest, text: Path, recipe: Path, tmp_path: Path
) -> None:
    from earnest.api.reading import pretrained_here

    run = tmp_path / "animals"
    assert earnest("fit", text, "--task", "masked-language-model", "--model", "bert-tiny", "--epochs", 1, "--recipe",
                   recipe, "--out", run, "--quiet").code == 0  # fmt: skip
    reader = pretrained_here(run)
    saved = load_file(run / "model" / "model.safetensors")
    state = reader.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.items() if name in state)
    assert reader.max_length == 32

    file = run / "model" / "tokenizer-0.json"
    state = json.loads(file.read_text())
    definition = json.loads(state["definition"]) if isinstance(state["definition"], str) else state["definition"]
    vocabulary = definition["model"]["vocab"]
    vocabulary["elephants"] = len(vocabulary)
    state["definition"] = json.dumps(definition) if isinstance(state["definition"], str) else definition
    file.write_text(json.dumps(state))
    table = write_table(tmp_path / "fed.csv", [["text", "fed"], *([sentence(), "well"] for _ in range(20))])
    ended = earnest("fit", table, "--target", "fed", "--start-from", run, "--out", tmp_path / "fed")
    assert ended.code == 2
    assert "they do not belong together" in ended.err
    assert not (tmp_path / "fed").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--task", "masked-language-model", "--model", "lstm"), "bert-mini"),
        (("--task", "masked-language-modle"), "did you mean 'masked-language-model'"),
        (("--task", "language-model", "--start-from", "runs/x"), "--start-from"),
    ],
)
def test_what_cannot_be_is_refused(
    earnest: Earnest, text: Path, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    ended = earnest("fit", text, *options, "--out", tmp_path / "run")
    assert ended.code == 2
    assert named in ended.err


def test_a_run_that_is_no_encoder_cannot_be_started_from(earnest: Earnest, people_run: Path, tmp_path: Path) -> None:
    rows = [["text", "fed"], *([sentence() + str(i), "well" if i % 2 else "ill"] for i in range(80))]
    table = write_table(tmp_path / "fed.csv", rows)
    ended = earnest("fit", table, "--target", "fed", "--type", "text=text", "--start-from", people_run, "--out",
                    tmp_path / "run")  # fmt: skip
    assert ended.code == 2
    assert "no pretrained encoder" in ended.err


def test_without_numba_tokens_begin_as_random_vectors(
    earnest: Earnest, text: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masked, "can_learn_vectors", lambda: False)
    run = tmp_path / "animals"
    ended = earnest("fit", text, "--task", "masked-language-model", "--model", "bert-tiny", "--epochs", 1, "--recipe",
                    recipe, "--out", run)  # fmt: skip
    assert ended.code == 0
    assert "pip install 'earnest[words]'" in ended.out + ended.err
    assert '"event": "skip-gram"' not in (run / "log.jsonl").read_text()
