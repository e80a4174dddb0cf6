"""Networks that make pictures, from a folder to files: what is learned, how it is judged, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Earnest, write_photos, write_table
from numpy.random import default_rng
from PIL import Image

import earnest as package
from earnest.api import generation
from earnest.api.grids import grid
from earnest.api.model_folder import ModelFolder, PictureColumn, Shipped
from earnest.api.parts import NetworkPart
from earnest.api.picture_generator import PictureGenerator
from earnest.core.registry import models
from earnest.core.words import InputSpec
from earnest.data.preparation import Normalise
from earnest.tasks.classification import Classification

QUICK = ("--task", "generate", "--epochs", 1, "--quiet")


def write_mixed(folder: Path, num: int = 24) -> Path:
    """A flat folder of pictures of several sizes."""
    folder.mkdir(parents=True)
    rng = default_rng(3)
    for i in range(num):
        shape = (int(rng.integers(9, 14)), int(rng.integers(9, 14)), 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and light pictures, a folder each."""
    return write_photos(tmp_path_factory.mktemp("data") / "pictures", parts=(), num=20)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a GAN with classes; tests leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "pictures"
    package.fit(pictures, task="generate", model="r3gan-tiny", epochs=1, out=out, quiet=True)
    return out


def test_the_run_says_what_it_did(run: Path) -> None:
    evaluation = json.loads((run / "evaluation.json").read_text())
    facts = json.loads((run / "run.json").read_text())
    test = evaluation["test"]
    assert test["n"] == facts["data"]["split"]["test"]
    assert set(test["baselines"]) == {
        "vae-tiny",
        "other real pictures",
        "the mean picture",
        "noise",
        "PCA and a Gaussian",
    }
    for scores in (test["metrics"], *test["baselines"].values()):
        assert set(scores) == {
            "kernel_distance", "frechet_distance", "precision", "recall", "diversity", "distinct"}  # fmt: skip
    distances = {name: scores["frechet_distance"]["value"] for name, scores in test["baselines"].items()}
    assert distances["other real pictures"] < distances["the mean picture"]
    assert test["baselines"]["the mean picture"]["diversity"]["value"] == 0
    assert "classifier of the 2 classes" in evaluation["extractor"]
    assert "FID" not in json.dumps(evaluation)
    assert [line["name"] for line in evaluation["candidates"] if line["shipped"]] == ["r3gan-tiny"]
    assert evaluation["labels"] == ["dark", "light"]
    assert len(facts["test_looks"]) == 1
    assert (run / "samples" / "r3gan-tiny-epoch-0001.png").exists()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64") >= 5
    assert evaluation["verdict"].split(";")[0] in page
    assert "earnest generate" in (run / "card.md").read_text()
    assert {path.name for path in (run / "model").iterdir()} == {"model.json", "model.safetensors"}


def test_pictures_come_as_files_the_same_for_the_same_seed(earnest: Earnest, run: Path, tmp_path: Path) -> None:
    ended = earnest("generate", run, "--n", 5, "--out", tmp_path / "made", "--seed", 3)
    assert ended.code == 0, ended.err
    files = sorted((tmp_path / "made").glob("0*.png"))
    assert [file.name for file in files] == [f"{i:04}.png" for i in range(5)]
    made = package.generate_pictures(run, num=5, seed=3)
    for file, picture in zip(files, made, strict=True):
        with Image.open(file) as image:
            assert (np.asarray(image) == picture).all()
    with Image.open(tmp_path / "made" / "grid.png") as image:
        sheet = np.asarray(image)
    whole = grid(made, 3)
    factor = len(sheet) // len(whole)
    assert (sheet[::factor, ::factor] == whole).all()
    assert not (made == package.generate_pictures(run, num=5, seed=4)).all()
    moved = package.load(run / "model")
    assert isinstance(moved, PictureGenerator)
    assert (moved.generate(5, seed=3) == made).all()


def test_ways_classes_and_truncation(run: Path) -> None:
    model = package.load(run)
    assert isinstance(model, PictureGenerator)
    ends = model.generate(2, seed=1, label="dark")
    ways = model.generate(2, seed=1, label="dark", interpolate=4)
    assert len(ways) == 8
    assert np.abs(ways[0].astype(int) - ends[0]).max() <= 1
    assert np.abs(ways[3].astype(int) - ends[1]).max() <= 1
    assert not (model.generate(4, label="dark") == model.generate(4, label="light")).all()
    tame, free = (model.generate(40, truncation=t).astype(float) for t in (0.01, None))
    assert tame[::2].std(0).mean() < 0.2 * free[::2].std(0).mean()  # of one class
    assert model.features(ends).shape[0] == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--class", "darl"), "did you mean 'dark'"),
        (("--n", 0), "--num is 0"),
        (("--truncation", 0), "--truncation is 0"),
        (("--interpolate", 1), "--interpolate is 1"),
    ],
)
def test_what_makes_no_sense_is_named(earnest: Earnest, run: Path, options: tuple[Any, ...], named: str) -> None:
    ended = earnest("generate", run, *options)
    assert ended.code == 2
    assert named in ended.err


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run ships where a network told two classes apart, by gray pictures of another size."""
    spec = InputSpec("image", (1, 16, 16))
    network = models["airnet-tiny"].build(spec, 2)
    part = NetworkPart(network, Classification(2), "airnet-tiny", {}, spec, (Normalise((128.0,), (64.0,)),))
    folder = tmp_path_factory.mktemp("runs") / "classifier"
    shipped = Shipped((part,), (PictureColumn("picture", (16, 16), 1),))
    ModelFolder(shipped, "classification", "label", ("dark", "light")).save(folder / "model")
    return folder


def test_pictures_are_judged_by_the_network_that_is_named(
    earnest: Earnest, pictures: Path, classifier: Path, tmp_path: Path
) -> None:
    scores = {}
    for judge in (classifier, "pixels"):
        out = tmp_path / Path(judge).name
        ended = earnest("fit", pictures, *QUICK, "--model", "vae-tiny", "--judge", judge, "--out", out)
        assert ended.code == 0, ended.err
        evaluation = json.loads((out / "evaluation.json").read_text())
        named = "principal components" if judge == "pixels" else "features of airnet-tiny, trained in classifier"
        assert named in evaluation["extractor"]
        scores[judge] = evaluation["test"]["metrics"]["frechet_distance"]["value"]
        assert "judge" not in json.loads((out / "run.json").read_text())["plan"]["trainings"]
    assert scores[classifier] != scores["pixels"]


@pytest.mark.parametrize(
    ("judge", "named"),
    [("airnet-9", "is no run folder"), ("minilm-l6", "reads texts"), ("{run}", "sees pictures alone")],
)
def test_a_judge_that_is_none_is_named_before_the_data_is_read(
    earnest: Earnest, run: Path, tmp_path: Path, judge: str, named: str
) -> None:
    wanted = judge.format(run=run)
    ended = earnest("fit", tmp_path, *QUICK, "--judge", wanted, "--out", tmp_path / "none")
    assert ended.code == 2
    assert f"--judge {wanted}" in ended.err
    assert named in ended.err
    assert not (tmp_path / "none").exists()


def test_a_judge_goes_with_generating(earnest: Earnest, pictures: Path) -> None:
    ended = earnest("fit", pictures, "--judge", "pixels")
    assert ended.code == 2
    assert "--task generate" in ended.err


def test_it_predicts_nothing(earnest: Earnest, run: Path, pictures: Path) -> None:
    ended = earnest("predict", run, pictures)
    assert ended.code == 2
    assert "earnest generate" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae-tiny", "dcgan-tiny"])
def test_a_flat_folder_of_mixed_sizes_is_learned_from(earnest: Earnest, tmp_path: Path, model: str) -> None:
    folder = write_mixed(tmp_path / "mixed")
    ended = earnest("fit", folder, *QUICK, "--model", model, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["labels"] == []
    assert "principal components" in evaluation["extractor"]
    made = package.generate_pictures(tmp_path / "run", num=3)
    assert made.shape == (3, 8, 8, 3) or made.shape[1] in (10, 12)
    if model == "vae-tiny":
        assert evaluation["codes"]["pca_error"] > 0
        assert evaluation["codes"]["elbo"] < evaluation["codes"]["importance_weighted"] + 5
    else:
        assert evaluation["codes"] is None


@pytest.mark.slow
def test_a_collapse_is_told_and_training_begins_again(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_alone(epochs: list[dict[str, Any]]) -> str | None:
        return "it makes one picture" if epochs and epochs[-1]["training"] == "r3gan-tiny" else None

    monkeypatch.setattr(generation, "why_collapsed", first_alone)
    finished = package.fit(pictures, task="generate", model="r3gan-tiny", epochs=3, out=tmp_path / "run", quiet=True)
    assert finished.evaluation["collapses"] == ["it makes one picture"]
    assert "collapsed" in finished.evaluation["verdict"]
    told = [(event["training"], event["epoch"]) for event in finished.events("epoch")]
    assert told.count(("r3gan-tiny", 0)) == 1
    assert ("r3gan-tiny", 1) not in told
    assert ("r3gan-tiny-again", 2) in told
    stops = [event for event in finished.events("stopped") if event["training"] == "r3gan-tiny"]
    assert [event["why"] for event in stops] == ["it makes one picture"]


def one_picture(folder: Path) -> Path:
    folder.mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "only.png")
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def with_nan(folder: Path) -> Path:
    array = default_rng(0).random((40, 16, 16))
    array[3, 2, 1] = np.nan
    np.savez(folder.with_suffix(".npz"), x=array)
    return folder.with_suffix(".npz")


@pytest.mark.parametrize(
    ("write", "named"),
    [
        (one_picture, "1 picture that can be read"),
        (empty, "is empty|holds no images"),
        (with_nan, "NaN"),
        (lambda folder: write_table(folder.with_suffix(".csv")), "holds no pictures"),
    ],
    ids=["one picture", "empty", "NaN", "table"],
)
def test_bad_data_is_named_and_nothing_is_left(earnest: Earnest, tmp_path: Path, write: Any, named: str) -> None:
    data = write(tmp_path / "data")
    ended = earnest("fit", data, *QUICK, "--out", tmp_path / "run")
    assert ended.code == 2, ended.err
    assert any(words in ended.err for words in named.split("|")), ended.err
    assert not (tmp_path / "run").exists()


def test_a_model_that_makes_nothing_is_refused(earnest: Earnest, pictures: Path, tmp_path: Path) -> None:
    ended = earnest("fit", pictures, *QUICK, "--model", "resnet18", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "makes no pictures; try one of: autoencoder, dcgan, gan, r3gan, r3gan-strided, vae" in ended.err
    ended = earnest("fit", pictures, "--model", "r3gan", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "cannot learn from" in ended.err
