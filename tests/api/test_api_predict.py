"""`earnest predict`: columns, order, what cannot be read, and models that moved or were damaged."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import Earnest, picture, table_rows, write_photos, write_table
from numpy.random import default_rng
from PIL import Image

import earnest as package

pytestmark = pytest.mark.slow


def read(text: str) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(text))


def test_columns_are_as_promised(earnest: Earnest, photos_run: Path, people_run: Path, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "new", parts=(), num=3, seed=5)
    ended = earnest("predict", photos_run, folder)
    frame = read(ended.out)
    assert ended.code == 0
    assert frame.columns == ["row", "prediction", "confidence", "p(dark)", "p(light)", "name"]
    assert frame["row"].to_list() == list(range(6))
    assert frame["name"].to_list() == [f"{label}/{i:02}.png" for label in ("dark", "light") for i in range(3)]
    chances = frame.select("p(dark)", "p(light)").to_numpy()
    np.testing.assert_allclose(chances.sum(1), 1, atol=2e-6)
    np.testing.assert_allclose(frame["confidence"], chances.max(1))
    assert frame["prediction"].to_list() == [("dark", "light")[i] for i in chances.argmax(1)]

    table = write_table(tmp_path / "new.csv", [row[:2] for row in table_rows(5, seed=3)])
    frame = read(earnest("predict", people_run, table, "--quiet").out)
    assert frame.columns == ["row", "prediction", "confidence", "p(high)", "p(low)", "name"]
    assert frame["name"].to_list() == [f"line {i}" for i in range(2, 7)]


def test_a_regression_has_values_and_no_chances(earnest: Earnest, tmp_path: Path) -> None:
    rng = default_rng(1)
    rows = [["x", "y", "part"]]
    rows += [[f"{x:.5f}", f"{3 * x + 0.01 * rng.normal():.5f}", ("train", "val", "test")[i % 3]]
             for i, x in enumerate(rng.normal(size=60))]  # fmt: skip
    data = write_table(tmp_path / "line.csv", rows)
    fitted = earnest("fit", data, "--target", "y", "--split", "part", "--epochs", 1, "--model", "tabm-tiny", "--out",
                     tmp_path / "run", "--quiet")  # fmt: skip
    assert (fitted.code, fitted.out, fitted.err) == (0, "", "")
    new = write_table(tmp_path / "new.csv", [["x"], ["-1"], ["0"], ["1"]])
    frame = read(earnest("predict", tmp_path / "run", new).out)
    assert frame.columns == ["row", "prediction", "name"]
    assert frame["prediction"].is_sorted()
    scores = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]["metrics"]
    assert set(scores) == {"rmse", "mae", "r2"}


@pytest.mark.parametrize("kind", ["photos", "people"])
def test_one_alone_is_predicted_as_among_many(
    kind: str, earnest: Earnest, photos_run: Path, people_run: Path, tmp_path: Path
) -> None:
    if kind == "photos":
        data: Path = write_photos(tmp_path / "many", parts=(), num=20, seed=8)
        run, alone = photos_run, data / "light" / "07.png"
        wanted = "light/07.png"
    else:
        rows = [row[:2] for row in table_rows(200, seed=9)]
        run, data = people_run, write_table(tmp_path / "many.csv", rows)
        alone, wanted = write_table(tmp_path / "one.csv", [rows[0], rows[101]]), "line 102"
    many = read(earnest("predict", run, data, "--quiet").out).filter(pl.col("name") == wanted)
    one = read(earnest("predict", run, alone, "--quiet").out)
    assert len(many) == len(one) == 1
    assert many["prediction"][0] == one["prediction"][0]
    for column in (name for name in one.columns if name.startswith("p(")):
        assert many[column][0] == pytest.approx(one[column][0], abs=2e-6)


def test_what_cannot_be_read_is_told_and_has_a_problem(earnest: Earnest, photos_run: Path, tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "new", parts=(), num=4, seed=6)
    whole = (folder / "light" / "01.png").read_bytes()
    (folder / "light" / "01.png").write_bytes(whole[: len(whole) // 2])
    (folder / "dark" / "02.png").write_bytes(b"")
    ended = earnest("predict", photos_run, folder)
    frame = read(ended.out)
    assert ended.code == 0
    assert frame.columns[-1] == "problem"
    assert frame["row"].to_list() == list(range(8))
    bad = frame.filter(pl.col("problem").is_not_null())
    assert bad["name"].to_list() == ["dark/02.png", "light/01.png"]
    assert bad["prediction"].null_count() == bad["confidence"].null_count() == 2
    assert frame["prediction"].null_count() == 2
    assert "dark/02.png: the file is empty" in ended.err
    assert "light/01.png: " in ended.err


def test_ragged_lines_have_a_problem(earnest: Earnest, people_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("size,colour\n0.5,red\n0.5,red,7\n-2,blue\n")
    ended = earnest("predict", people_run, path)
    frame = read(ended.out)
    assert frame["name"].to_list() == ["line 2", "line 4", "line 3"]
    assert frame["problem"].to_list() == [None, None, "3 fields where the table has 2"]
    assert "line 3: 3 fields" in ended.err


def test_nothing_that_can_be_read_is_an_error(earnest: Earnest, photos_run: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    image = io.BytesIO()
    Image.fromarray(picture(default_rng(2), True)).save(image, "png")
    (tmp_path / "new" / "cut.png").write_bytes(image.getvalue()[:60])
    ended = earnest("predict", photos_run, tmp_path / "new")
    assert (ended.code, ended.out) == (2, "")
    assert "cut.png" in ended.err


def test_a_missing_column_is_named(earnest: Earnest, people_run: Path, tmp_path: Path) -> None:
    ended = earnest("predict", people_run, write_table(tmp_path / "new.csv", [["sizes", "income"], ["1", "low"]]))
    assert ended.code == 2
    assert "'size'" in ended.err
    assert "'colour'" in ended.err
    assert "did you mean 'sizes'?" in ended.err


def test_the_other_kind_of_data_is_refused(
    earnest: Earnest, photos_run: Path, people_run: Path, photos: Path, people: Path
) -> None:
    wrong_table = earnest("predict", photos_run, people)
    assert wrong_table.code == 2
    assert "image" in wrong_table.err
    wrong_images = earnest("predict", people_run, photos)
    assert wrong_images.code == 2
    assert "'size'" in wrong_images.err


def test_categories_never_seen_and_missing_cells_are_predicted(
    earnest: Earnest, people_run: Path, tmp_path: Path
) -> None:
    rows = [["colour", "size"], ["mauve", "1.5"], ["", ""], ["red", "nothing"]]
    frame = read(earnest("predict", people_run, write_table(tmp_path / "odd.csv", rows), "--quiet").out)
    assert len(frame) == 3
    assert frame["prediction"].null_count() == 0


def test_the_file_that_out_names(earnest: Earnest, people_run: Path, people: Path, tmp_path: Path) -> None:
    printed = read(earnest("predict", people_run, people, "--quiet").out)
    for name, reader in (("p.csv", pl.read_csv), ("p.parquet", pl.read_parquet)):
        out = tmp_path / "new folder" / name
        ended = earnest("predict", people_run, people, "--out", out)
        assert (ended.code, ended.out) == (0, "")
        assert reader(out).equals(printed)
        again = earnest("predict", people_run, people, "--out", out)
        assert again.code == 2
        assert "--overwrite" in again.err
        assert earnest("predict", people_run, people, "--out", out, "--overwrite").code == 0
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "p.xlsx", tmp_path / "file" / "p.csv"):
        refused = earnest("predict", people_run, people, "--out", bad)
        assert refused.code == 2
        assert str(bad.parent) in refused.err
        assert not bad.exists()


def test_a_model_folder_that_moved_predicts_the_same(
    earnest: Earnest, people_run: Path, people: Path, photos_run: Path, photos: Path, tmp_path: Path
) -> None:
    for run, data in ((people_run, people), (photos_run, photos)):
        here = earnest("predict", run, data, "--quiet")
        moved = shutil.copytree(run / "model", tmp_path / f"anywhere {run.name}")
        there = earnest("predict", moved, data, "--quiet")
        assert here.code == there.code == 0
        assert here.out == there.out
        assert package.load(moved).predict(data).equals(package.predict(run, data))


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("harm", ["cut", "flip", "gone"])
def test_a_damaged_model_is_named(
    name: str, harm: str, earnest: Earnest, photos_run: Path, photos: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(photos_run, tmp_path / "run")
    path = run / "model" / name
    content = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[-20] ^= 0xFF
        path.write_bytes(content)
    else:
        path.unlink()
    ended = earnest("predict", run, photos)
    assert ended.code == 2
    assert str(run) in ended.err
    assert "Traceback" not in ended.err
    assert not (run / "error.log").exists()


def test_runs_that_cannot_predict_are_refused(earnest: Earnest, photos_run: Path, photos: Path, tmp_path: Path) -> None:
    run = shutil.copytree(photos_run, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "format": 99}))
    newer = earnest("predict", run, photos)
    assert newer.code == 2
    assert "newer version" in newer.err
    model = json.loads((run / "model" / "model.json").read_text())
    (run / "model" / "model.json").write_text(json.dumps({**model, "format": 99}))
    assert "newer version" in earnest("predict", run / "model", photos).err
    (run / "run.json").write_text(json.dumps({**facts, "status": "stopped"}))
    (run / "model" / "model.json").unlink()
    unfinished = earnest("predict", run, photos)
    assert unfinished.code == 2
    assert "earnest resume" in unfinished.err
    assert earnest("predict", tmp_path / "nowhere", photos).code == 2
