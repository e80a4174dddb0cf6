from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from earnest.core.errors import DataError
from earnest.data.labels import in_order
from earnest.data.readers import archive
from earnest.data.readers.archive import read_archive, read_unlabelled_archive
from earnest.data.readers.arrays import read_arrays
from earnest.data.readers.digits import read_digits
from earnest.data.readers.folder import read_folder, read_image_file, read_unlabelled_folder
from earnest.data.readers.idx import read_idx

RANDOM = np.random.default_rng()


def picture(seed: int | None = None) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, *names: str) -> Path:
    """Pictures, each with a content of its own, under these names."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(i))
    return root


def labelled(root: Path) -> list[tuple[str, str]]:
    return read_folder(root).frame.rows()


def test_a_folder_a_class(tmp_path: Path) -> None:
    write(
        tmp_path, "dogs/b.PNG", "dogs/deep/er/a.jpeg", "cats/ü 1.png", ".hidden/x.png", "cats/.y.png", "cats/Thumbs.db"
    )
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    dataset = read_folder(tmp_path)
    assert dataset.frame.rows() == [("cats/ü 1.png", "cats"), ("dogs/b.PNG", "dogs"), ("dogs/deep/er/a.jpeg", "dogs")]
    assert dataset.rows.tolist() == [0, 1, 2]
    assert dataset.names == tuple(dataset.frame["image"])
    assert (dataset.target, dataset.part, dataset.left_out) == ("label", None, ())
    assert any("1 files that are no images" in note and ".txt" in note for note in dataset.notes)
    stored = dataset.images["image"]
    for index, name in enumerate(dataset.names):
        np.testing.assert_array_equal(stored.load(index), np.asarray(Image.open(tmp_path / name)))


@pytest.mark.parametrize(("train", "validation", "test"), [("train", "val", "test"), ("Training", "valid", "TEST")])
def test_parts_of_class_folders(tmp_path: Path, train: str, validation: str, test: str) -> None:
    write(
        tmp_path, f"{train}/a/1.png", f"{train}/b/1.png", f"{validation}/a/1.png", f"{test}/b/x/1.png", "extra/a/1.png"
    )
    (tmp_path / "unused").mkdir()
    dataset = read_folder(tmp_path)
    assert dataset.part is not None
    found = {name: (part, label) for (name, label), part in zip(dataset.frame.rows(), dataset.part, strict=True)}
    assert found == {
        f"{train}/a/1.png": ("train", "a"),
        f"{train}/b/1.png": ("train", "b"),
        f"{validation}/a/1.png": ("validation", "a"),
        f"{test}/b/x/1.png": ("test", "b"),
    }
    assert any("1 images outside" in note for note in dataset.notes)


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    write(tmp_path, "train/1.png", "bus/1.png")
    assert labelled(tmp_path) == [("bus/1.png", "bus"), ("train/1.png", "train")]


def test_folders_around_the_classes_are_passed_through(tmp_path: Path) -> None:
    write(tmp_path, "photos/all/cats/1.png", "photos/all/dogs/1.png")
    dataset = read_folder(tmp_path)
    assert dataset.frame["label"].to_list() == ["cats", "dogs"]
    assert any("photos/all/" in note for note in dataset.notes)


def test_empty_class_folders_and_unlabelled_tests_are_noted(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png")
    (tmp_path / "train" / "c").mkdir()
    notes = read_folder(tmp_path).notes
    assert any("train/c holds no images" in note for note in notes)
    assert any("test" in note and "passed over" in note for note in notes)


def test_labels_of_both_unicode_forms_are_one(tmp_path: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    write(tmp_path, f"train/{composed}/1.png", "train/tea/1.png", f"test/{decomposed}/1.png")
    assert read_folder(tmp_path).frame["label"].unique().sort().to_list() == [composed, "tea"]


def test_a_name_that_is_no_utf8_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.png")
    odd = os.fsencode(tmp_path / "a") + b"/\xff.png"
    try:
        Path(os.fsdecode(odd)).write_bytes(picture(7))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    dataset = read_folder(tmp_path)
    odd_row = next(i for i, name in enumerate(dataset.names) if "\ufffd" in name)
    assert dataset.images["image"].load(odd_row).shape == (6, 6, 3)


def test_bad_files_are_left_out_and_no_other_row_is_renumbered(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "a/5.png", "b/2.png")
    (tmp_path / "a" / "2.png").write_bytes(b"")
    (tmp_path / "a" / "3.jpg").write_text("<html><body>not found</body></html>")
    (tmp_path / "a" / "4.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "b" / "1.png").symlink_to(tmp_path / "nowhere")
    dataset = read_folder(tmp_path)
    assert dataset.frame["image"].to_list() == ["a/1.png", "a/5.png", "b/2.png"]
    assert dataset.rows.tolist() == [0, 4, 6]
    reasons = {out.where: out.reason for out in dataset.left_out}
    assert list(reasons) == ["a/2.png", "a/3.jpg", "a/4.heic", "b/1.png"]
    assert "0 bytes" in reasons["a/2.png"]
    assert "HTML" in reasons["a/3.jpg"]
    assert "HEIC" in reasons["a/4.heic"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert len(read_folder(tmp_path)) == 2


def test_digests_and_fingerprints_follow_content(tmp_path: Path) -> None:
    first = write(tmp_path / "first", "a/1.png", "b/2.png")
    (first / "a" / "copy.png").write_bytes((first / "b" / "2.png").read_bytes())
    second = write(tmp_path / "second", "a/1.png", "b/2.png")
    (second / "a" / "copy.png").write_bytes((first / "b" / "2.png").read_bytes())
    one, two = read_folder(first), read_folder(second)
    assert one.digests[1] == one.digests[2] != one.digests[0]
    assert one.fingerprint == two.fingerprint
    assert one.images["image"].key() == two.images["image"].key()
    (second / "a" / "1.png").write_bytes(picture(99))
    assert read_folder(second).fingerprint != one.fingerprint
    (second / "a" / "1.png").write_bytes(picture(0))
    (second / "a" / "1.png").rename(second / "b" / "1.png")
    assert read_folder(second).fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "holds no images"),
        (["1.png", "2.png"], "no folder a class"),
        (["cats/1.png", "cats/2.png"], "one class only, 'cats'"),
        (["train/a/1.png", "val/b/1.png"], "training part.*one class only, 'a'"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, names: list[str], reason: str) -> None:
    write(tmp_path, *names)
    with pytest.raises(DataError, match=reason) as caught:
        read_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_no_readable_image_names_the_first(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"a/1\.jpg: the file is empty"):
        read_folder(tmp_path)


def test_unlabelled_folders_and_single_files(tmp_path: Path) -> None:
    write(tmp_path, "2.png", "1.png", "deep/3.png")
    dataset = read_unlabelled_folder(tmp_path)
    assert dataset.frame.rows() == [("1.png",), ("2.png",), ("deep/3.png",)]
    assert dataset.target is None
    one = read_image_file(tmp_path / "deep" / "3.png")
    assert one.names == ("3.png",)
    assert one.digests[0] == dataset.digests[2]


# Archives


def packed(folder: Path, path: Path) -> Path:
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    RANDOM.shuffle(names)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name in names:
                out.write(folder / name, name)
    else:
        with tarfile.open(path, f"w:{path.suffix[1:].removeprefix('tar').removeprefix('t')}") as out:
            for name in names:
                out.add(folder / name, name)
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_archives_read_as_their_folders(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "f", "train/a/1.png", "train/b/é.png", "train/a/0.png", "val/a/3.png", "README.md")
    (folder / "train" / "b" / "empty.png").write_bytes(b"")
    expected, found = read_folder(folder), read_archive(packed(folder, tmp_path / name))
    assert found.frame.equals(expected.frame)
    np.testing.assert_array_equal(found.part, expected.part)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.digests, expected.digests)
    assert found.fingerprint == expected.fingerprint
    assert found.left_out == expected.left_out
    assert found.images["image"].key() == expected.images["image"].key()
    order = RANDOM.permutation(len(found))
    shuffled = found.take(order).images["image"]
    for place, index in enumerate(order):
        np.testing.assert_array_equal(shuffled.load(place), expected.images["image"].load(int(index)))


def test_archives_beyond_memory_lie_in_a_nameless_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_IN_MEMORY", 100)
    folder = write(tmp_path / "f", "a/1.png", "b/1.png", "b/2.png")
    expected, found = read_folder(folder), read_archive(packed(folder, tmp_path / "a.zip"))
    for i in range(3):
        np.testing.assert_array_equal(found.images["image"].load(i), expected.images["image"].load(i))


def test_links_and_paths_that_lead_out_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture())
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        for name in ("a/1.png", "b/1.png", "../c/1.png", "/c/2.png"):
            info = tarfile.TarInfo(name)
            info.size = len(picture(1))
            out.addfile(info, io.BytesIO(picture(1)))
        for name, kind in (("c/3.png", tarfile.SYMTYPE), ("c/4.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            out.addfile(info)
    dataset = read_archive(tmp_path / "a.tar")
    assert dataset.frame["label"].to_list() == ["a", "b"]
    assert {out.where for out in dataset.left_out} == {"../c/1.png", "/c/2.png", "c/3.png", "c/4.png"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_cut_archives_are_data_errors(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "f", *(f"{label}/{i}.png" for label in "ab" for i in range(20)))
    path = packed(folder, tmp_path / name)
    content = path.read_bytes()
    for cut in (0, 10, len(content) // 2):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"a\..*cannot be read"):
            read_archive(path)


def test_a_damaged_member_of_a_zip_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as out:
        for name in ("a/1.png", "a/2.png", "b/1.png"):
            out.writestr(name, picture(len(name) + int(name[2])))
    content = bytearray(path.read_bytes())
    content[content.index(b"a/2.png") + 60] ^= 0xFF
    path.write_bytes(content)
    dataset = read_archive(path)
    assert dataset.names == ("a/1.png", "b/1.png")
    assert "damaged in the archive" in dataset.left_out[0].reason


def test_bombs_and_encryption_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name in ("a/1.bmp", "b/1.bmp"):
            out.writestr(name, bytes(1 << 22))
    with pytest.raises(DataError, match="bomb"):
        read_archive(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "locked.zip", "w") as out:
        out.writestr("a/1.png", picture())
    content = bytearray((tmp_path / "locked.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        read_archive(tmp_path / "locked.zip")


def test_unlabelled_archives(tmp_path: Path) -> None:
    folder = write(tmp_path / "f", "1.png", "x/2.png")
    dataset = read_unlabelled_archive(packed(folder, tmp_path / "a.zip"))
    assert dataset.frame.rows() == [("1.png",), ("x/2.png",)]


# Arrays


def saved(path: Path, **arrays: NDArray[np.generic]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("x", "y"), [("x", "y"), ("X", "y"), ("images", "labels"), ("data", "target"), ("pictures", "species")]
)
def test_names_of_inputs_and_targets(tmp_path: Path, x: str, y: str) -> None:
    images, labels = RANDOM.integers(0, 256, (12, 7, 5), dtype=np.uint8), RANDOM.integers(0, 12, 12)
    dataset = read_arrays(saved(tmp_path / "a.npz", **{x: images, y: labels}))
    assert dataset.frame["label"].to_list() == [str(label) for label in labels]
    assert dataset.part is None
    order = RANDOM.permutation(12)
    taken = dataset.take(order)
    for place, index in enumerate(order):
        np.testing.assert_array_equal(taken.images["image"].load(place)[..., 0], images[index])
        assert taken.names[place] == f"image {index}"


def test_parts_of_arrays(tmp_path: Path) -> None:
    arrays = {}
    for part, size in (("test", 3), ("train", 6), ("val", 4)):
        arrays[f"{part}_images"] = RANDOM.integers(0, 256, (size, 8, 8, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.eye(5, dtype=np.float32)[RANDOM.integers(0, 5, size)]
    dataset = read_arrays(saved(tmp_path / "a.npz", **arrays))
    assert dataset.part is not None
    assert dataset.part.tolist() == ["train"] * 6 + ["validation"] * 4 + ["test"] * 3
    expected = np.concatenate([arrays[f"{part}_labels"].argmax(1) for part in ("train", "val", "test")])
    assert dataset.frame["label"].to_list() == expected.astype(str).tolist()
    np.testing.assert_array_equal(dataset.images["image"].load(12), arrays["test_images"][2])


@pytest.mark.parametrize(
    ("low", "high", "dtype"), [(0, 1, "f4"), (0, 255, "f8"), (-1, 1, "f4"), (-300, 4000, "i2"), (0, 65535, "u2")]
)
def test_other_numbers_become_uint8_linearly(tmp_path: Path, low: float, high: float, dtype: str) -> None:
    images = RANDOM.uniform(low, high, (9, 6, 6)).astype(dtype)
    images[0, 0, 0], images[0, 0, 1] = low, high
    dataset = read_arrays(saved(tmp_path / "a.npz", x=images, y=np.arange(9)))
    found = np.stack([dataset.images["image"].load(i)[..., 0] for i in range(9)])
    expected = (images.astype(float) - low) / (high - low) * 255
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_channels_first_and_class_names(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (4, 3, 9, 8), dtype=np.uint8)
    names = np.array(["cat", "dog"])
    dataset = read_arrays(saved(tmp_path / "a.npz", x=images, y=np.array([0, 1, 1, 0]), class_names=names))
    np.testing.assert_array_equal(dataset.images["image"].load(2), images[2].transpose(1, 2, 0))
    assert dataset.frame["label"].to_list() == ["cat", "dog", "dog", "cat"]


def test_a_matrix_is_a_table_and_real_targets_are_numbers(tmp_path: Path) -> None:
    x, y = RANDOM.normal(size=(8, 3)), RANDOM.normal(size=(8, 1))
    x[2, 1] = np.nan
    dataset = read_arrays(saved(tmp_path / "a.npz", x=x, y=y))
    assert dataset.frame.columns == ["x0", "x1", "x2", "y"]
    assert dataset.frame["x1"].null_count() == 1
    np.testing.assert_array_equal(dataset.frame["y"].to_numpy(), y[:, 0])
    assert dataset.column("y").kind == "number"


def test_npy_files_of_a_folder(tmp_path: Path) -> None:
    images, labels = RANDOM.integers(0, 256, (5, 6, 6), dtype=np.uint8), np.array(list("abcab"))
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "y.npy", labels)
    for path in (tmp_path, tmp_path / "x.npy"):
        assert read_arrays(path).frame["label"].to_list() == labels.tolist()


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.save(tmp_path / "x.npy", np.array([Trap()] * 3, dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([Trap()] * 3, dtype=object), y=np.arange(3))
    for path in (tmp_path / "x.npy", tmp_path / "a.npz", tmp_path):
        with pytest.raises(DataError, match="pickled"):
            read_arrays(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros((3, 8, 8), np.uint8), "y": np.arange(4)}, "3 rows and 'y' has 4"),
        ({"a": np.zeros((3, 8, 8)), "b": np.zeros((3, 8, 8))}, "name the inputs x"),
        ({"x_train": np.zeros((3, 8, 8)), "x_test": np.zeros((3, 9, 9))}, "different shapes"),
        ({"x": np.zeros((0, 8, 8)), "y": np.zeros(0)}, "empty"),
        ({"x": np.full((3, 8, 8), np.nan), "y": np.arange(3)}, "NaN"),
        ({"x": np.zeros((3, 8, 8)), "y": np.ones((3, 2))}, "one-hot"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, NDArray[np.generic]], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_arrays(saved(tmp_path / "a.npz", **arrays))


def test_cut_arrays_are_data_errors(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", x=RANDOM.integers(0, 256, (9, 8, 8)), y=np.arange(9))
    content = path.read_bytes()
    np.save(tmp_path / "x.npy", RANDOM.normal(size=(50, 3)))
    plain = (tmp_path / "x.npy").read_bytes()
    for share in (0.0, 0.3, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        (tmp_path / "x.npy").write_bytes(plain[: int(share * len(plain))])
        for damaged in (path, tmp_path / "x.npy"):
            with pytest.raises(DataError, match="cannot be read"):
                read_arrays(damaged)


# IDX and digits


def idx(array: NDArray[np.generic], code: int) -> bytes:
    big = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + big.tobytes()


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_folders(tmp_path: Path, zipped: bool) -> None:
    x = {part: RANDOM.integers(0, 256, (n, 9, 7), dtype=np.uint8) for part, n in (("train", 6), ("t10k", 4))}
    y = {part: RANDOM.integers(0, 10, len(images), dtype=np.uint8) for part, images in x.items()}
    for part in x:
        for what, dims, array in (("images", 3, x[part]), ("labels", 1, y[part])):
            content = idx(array, 0x08)
            name = f"{part}-{what}-idx{dims}-ubyte{'.gz' * zipped}"
            (tmp_path / name).write_bytes(gzip.compress(content) if zipped else content)
    dataset = read_idx(tmp_path)
    assert dataset.part is not None
    assert dataset.part.tolist() == ["train"] * 6 + ["test"] * 4
    assert dataset.frame["label"].to_list() == [str(label) for part in x for label in y[part]]
    np.testing.assert_array_equal(dataset.images["image"].load(7)[..., 0], x["t10k"][1])
    cut = next(tmp_path.glob("train-images*"))
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train-images.*cut short"):
        read_idx(tmp_path)
    cut.unlink()
    with pytest.raises(DataError, match="the train images are missing"):
        read_idx(tmp_path)
    next(tmp_path.glob("train-labels*")).unlink()
    assert read_idx(tmp_path).part is None


def test_digits_are_scikit_learns() -> None:
    reference = load_digits()
    dataset = read_digits()
    found = np.stack([dataset.images["image"].load(i)[..., 0] for i in range(len(dataset))])
    np.testing.assert_allclose(found / 255 * 16, reference.images, atol=0.5 * 16 / 255)
    assert dataset.frame["label"].to_list() == reference.target.astype(str).tolist()
    assert len(set(dataset.digests.tolist())) == len({image.tobytes() for image in reference.images})


def test_labels_in_the_order_people_expect() -> None:
    assert in_order(["10", "9", "-1", "9", "1.5"]) == ["-1", "1.5", "9", "10"]
    assert in_order(["class 10", "Class 9", "b", "a", "7"]) == ["7", "a", "b", "Class 9", "class 10"]
