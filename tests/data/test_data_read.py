from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from earnest.core.errors import DataError, OptionError
from earnest.data.images import choose_channels, choose_size, decode, drop_unreadable
from earnest.data.read import read, read_for_prediction

RANDOM = np.random.default_rng()
DATA = Path(os.environ.get("EARNEST_DATA", "../shared/data"))


def picture(path: Path, shade: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (
        RANDOM.integers(0, 256, (6, 6, 3), dtype=np.uint8) if shade is None else np.full((6, 6, 3), shade, np.uint8)
    )
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def photos(root: Path, *names: str) -> Path:
    for name in names:
        picture(root / name)
    return root


def table_of_images(folder: Path, num_rows: int = 24) -> Path:
    rows = [{"file": f"pics/{i}.png", "size": float(RANDOM.normal()), "kind": "ab"[i % 2]} for i in range(num_rows)]
    for row in rows:
        picture(folder / str(row["file"]))
    pl.DataFrame(rows).write_csv(folder / "table.csv")
    return folder / "table.csv"


def test_digits_by_name_unless_a_path_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(read("digits")) == 1797
    photos(tmp_path / "digits", "a/1.png", "b/1.png")
    assert len(read("digits")) == 2


def test_what_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    photos(tmp_path / "photos", "a/1.png", "b/1.png")
    with pytest.raises(DataError, match="did you mean 'photos'"):
        read(tmp_path / "photo")
    with pytest.raises(DataError, match="holds no 'absent'"):
        read(tmp_path / "absent" / "deeper" / "x.csv")
    with pytest.raises(DataError, match="did you mean"):
        read_for_prediction(tmp_path / "fotos")


def test_folders_archives_and_arrays_have_a_label(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a/1.png", "b/1.png")
    np.savez(tmp_path / "a.npz", x=RANDOM.integers(0, 256, (6, 8, 8), dtype=np.uint8), y=np.arange(6) % 2)
    for path in (folder, tmp_path / "a.npz"):
        dataset = read(str(path), target="label", split="random")
        assert dataset.target == "label"
        assert [column.role for column in dataset.columns] == ["input", "target"]
        with pytest.raises(OptionError, match="no column 'species'"):
            read(path, target="species")
        with pytest.raises(OptionError, match="--group patient"):
            read(path, group="patient")


def test_labels_of_images_can_be_numbers(tmp_path: Path) -> None:
    y = RANDOM.integers(0, 90, 12)
    np.savez(tmp_path / "a.npz", x=RANDOM.integers(0, 256, (12, 8, 8), dtype=np.uint8), y=y)
    dataset = read(tmp_path / "a.npz", kinds={"label": "number"})
    assert dataset.column("label").kind == "number"
    assert dataset.column("label").role == "target"
    np.testing.assert_array_equal(dataset.frame["label"].to_numpy(), y)


def test_a_matrix_is_a_table_with_the_target_y(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(30, 2))
    x[7] = x[3]
    np.savez(tmp_path / "a.npz", x=x, y=RANDOM.permutation(30) % 2)
    dataset = read(tmp_path / "a.npz")
    assert dataset.target == "y"
    assert [column.name for column in dataset.inputs("number")] == ["x0", "x1"]
    assert dataset.digests[7] == dataset.digests[3]
    assert len(set(dataset.digests.tolist())) == 29


def test_a_test_folder_is_sealed_and_may_lack_classes(tmp_path: Path) -> None:
    train = photos(tmp_path / "train", "a/1.png", "a/2.png", "b/1.png")
    test = photos(tmp_path / "new", "b/1.png")
    (test / "b" / "0.png").write_bytes(b"")
    dataset = read(train, test=test)
    assert dataset.part is not None
    assert dataset.part.tolist() == ["train", "train", "train", "test"]
    assert dataset.names[3] == "new: b/1.png"
    assert len(set(dataset.rows.tolist())) == 4
    assert [out.where for out in dataset.left_out] == ["new: b/0.png"]
    np.testing.assert_array_equal(
        dataset.images["image"].load(3), np.asarray(Image.open(test / "b" / "1.png").convert("RGB"))
    )
    decoded = decode(dataset.images["image"], size=(6, 6), channels=3, cache_folder=None)
    np.testing.assert_array_equal(decoded.array[3], dataset.images["image"].load(3))
    picture(test / "c" / "1.png")
    with pytest.raises(DataError, match="class 'c' occurs in the test part and never"):
        read(train, test=test)


def test_a_second_test_part_is_refused(tmp_path: Path) -> None:
    train = photos(tmp_path / "photos", "train/a/1.png", "train/b/1.png", "test/a/1.png")
    other = photos(tmp_path / "other", "a/9.png")
    with pytest.raises(OptionError, match="test part of its own"):
        read(train, test=other)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(OptionError, match="not hold the same kind"):
        read(other.parent / "photos" / "train", test=tmp_path / "t.csv")


def test_a_table_with_its_test_table(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": RANDOM.normal(size=40), "y": ["no", "yes"] * 20})
    frame[:30].write_csv(tmp_path / "train.csv")
    frame[30:].write_csv(tmp_path / "test.csv")
    dataset = read(tmp_path / "train.csv", target="y", test=tmp_path / "test.csv")
    assert dataset.part is not None
    assert dataset.part.tolist() == ["train"] * 30 + ["test"] * 10
    np.testing.assert_array_equal(dataset.frame["x"].to_numpy(), frame["x"].to_numpy())
    assert dataset.frame["y"].to_list() == frame["y"].to_list()
    frame[30:].with_columns(pl.col("y").replace("yes", "perhaps")).write_csv(tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"'perhaps' occurs in the test part and never"):
        read(tmp_path / "train.csv", target="y", test=tmp_path / "test.csv")


def test_a_table_that_names_images(tmp_path: Path) -> None:
    path = table_of_images(tmp_path)
    (tmp_path / "pics" / "3.png").unlink()
    (tmp_path / "pics" / "5.png").write_bytes(b"")
    picture(tmp_path / "pics" / "8.png", shade=7)
    picture(tmp_path / "pics" / "9.png", shade=7)
    dataset = read(path, target="kind", kinds={"size": "constant"})
    assert dataset.column("file").kind == "image"
    assert [out.where for out in dataset.left_out] == ["line 5", "line 7"]
    assert len(dataset) == 22
    for row in (0, 7, 21):
        expected = np.asarray(Image.open(tmp_path / dataset.frame["file"][row]))
        np.testing.assert_array_equal(dataset.images["file"].load(row), expected)
    eighth, ninth = (dataset.frame["file"].to_list().index(f"pics/{i}.png") for i in (8, 9))
    assert dataset.digests[eighth] == dataset.digests[ninth]
    assert len(set(dataset.digests.tolist())) == 21
    before = dataset.fingerprint
    picture(tmp_path / "pics" / "8.png")
    assert read(path, target="kind").fingerprint != before


def test_one_class_that_can_be_read_is_not_enough(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "a/1.png", "a/2.png", "b/1.png")
    whole = (folder / "b" / "1.png").read_bytes()
    (folder / "b" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="one class only, 'a', after 1 rows or files"):
        read(folder)
    (folder / "b" / "1.png").write_bytes(whole[:60])
    dataset = read(folder)
    decoded = decode(dataset.images["image"], size=(6, 6), channels=3, cache_folder=None)
    with pytest.raises(DataError, match="one class only, 'a', after 1 rows or files"):
        drop_unreadable(dataset, decoded)


def test_prediction_needs_no_labels(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", "1.png", "cats/2.png")
    assert read_for_prediction(folder).names == ("1.png", "cats/2.png")
    assert read_for_prediction(folder / "1.png").names == ("1.png",)
    np.savez(tmp_path / "a.npz", x=RANDOM.integers(0, 256, (3, 8, 8), dtype=np.uint8))
    assert read_for_prediction(tmp_path / "a.npz").names == ("image 0", "image 1", "image 2")
    with pytest.raises(DataError, match="no labels"):
        read(tmp_path / "a.npz")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,5\n")
    assert read_for_prediction(tmp_path / "t.csv").frame.columns == ["a", "b"]


def test_a_table_to_predict_follows_the_table_learned_from(tmp_path: Path) -> None:
    learned = read(table_of_images(tmp_path), target="kind")
    (tmp_path / "one.csv").write_text("file,size\npics/3.png,7\n")
    columns = [column for column in learned.columns if column.role == "input"]
    dataset = read_for_prediction(tmp_path / "one.csv", columns=columns)
    assert dataset.frame.rows() == [("pics/3.png", 7.0)]
    np.testing.assert_array_equal(dataset.images["file"].load(0), np.asarray(Image.open(tmp_path / "pics" / "3.png")))


def test_a_folder_of_other_files_names_them(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"holds no images.*train\.csv"):
        read(tmp_path)
    picture(tmp_path / "1.png")
    with pytest.raises(DataError, match="single image"):
        read(tmp_path / "1.png")


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not here")
def test_hymenoptera_from_its_archive(tmp_path: Path) -> None:
    dataset = read(DATA / "hymenoptera" / "hymenoptera_256.tar")
    assert dataset.part is not None
    counts = pl.DataFrame({"part": dataset.part, "label": dataset.frame["label"]}).group_by("part", "label").len()
    assert {tuple(row[:2]): row[2] for row in counts.rows()} == {
        ("train", "ants"): 123,
        ("train", "bees"): 121,
        ("validation", "ants"): 70,
        ("validation", "bees"): 83,
    }
    images = dataset.images["image"]
    assert choose_size(images) == (256, 256)
    assert choose_channels(images) == 3
    decoded = decode(images.take(np.arange(0, 397, 40)), size=(64, 64), channels=3, cache_folder=None)
    assert decoded.array.shape == (10, 64, 64, 3)


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not here")
def test_mnist_from_its_archive() -> None:
    path = DATA / "mnist" / "mnist.npz"
    dataset = read(path)
    with np.load(path) as arrays:
        assert dataset.frame["label"].to_list() == [str(y) for y in (*arrays["y_train"], *arrays["y_test"])]
        test = arrays["x_test"]
    for index in RANDOM.integers(0, 10_000, 20):
        np.testing.assert_array_equal(dataset.images["image"].load(60_000 + index)[..., 0], test[index])
