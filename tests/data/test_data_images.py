from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from earnest.core.errors import DataError
from earnest.data import cache, images, pixels
from earnest.data.images import ChainedImages, choose_channels, choose_size, decode, drop_unreadable
from earnest.data.readers.folder import FileImages, read_unlabelled_folder

RANDOM = np.random.default_rng()


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    """An RGB picture without fine detail, which JPEG keeps nearly as it is."""
    small = RANDOM.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def files(folder: Path, contents: dict[str, bytes]) -> FileImages:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    dataset = read_unlabelled_folder(folder)
    stored = dataset.images["image"]
    assert isinstance(stored, FileImages)
    return stored


def test_lossless_rgb_and_gray_come_back_exactly() -> None:
    rgb = RANDOM.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    for format in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(pixels.load(encoded(Image.fromarray(rgb), format)), rgb)
    gray = rgb[..., 0]
    np.testing.assert_array_equal(pixels.load(encoded(Image.fromarray(gray)))[..., 0], gray)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = RANDOM.integers(0, 65536, (6, 5)).astype(np.uint16)
    deep[0, 0] = 65535
    for format in ("PNG", "TIFF"):
        loaded = pixels.load(encoded(Image.fromarray(deep), format))
        np.testing.assert_array_equal(loaded[..., 0], np.rint(deep / 257))


def test_floats_from_0_to_1_are_scaled() -> None:
    values = RANDOM.random((6, 5)).astype(np.float32)
    loaded = pixels.load(encoded(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(loaded[..., 0], np.rint(values.astype(np.float64) * 255))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_transparency_is_laid_on_white(format: str) -> None:
    rgba = RANDOM.integers(0, 256, (8, 8, 4), dtype=np.uint8)
    loaded = pixels.load(encoded(Image.fromarray(rgba), format, lossless=True, exact=True)).astype(float)
    alpha = rgba[..., 3:] / 255
    np.testing.assert_allclose(loaded, rgba[..., :3] * alpha + 255 * (1 - alpha), atol=1)


def test_gray_with_transparency_stays_gray() -> None:
    la = RANDOM.integers(0, 256, (8, 8, 2), dtype=np.uint8)
    image = Image.merge("LA", [Image.fromarray(la[..., 0]), Image.fromarray(la[..., 1])])
    loaded = pixels.load(encoded(image))
    alpha = la[..., 1] / 255
    assert loaded.shape == (8, 8, 1)
    np.testing.assert_allclose(loaded[..., 0], la[..., 0] * alpha + 255 * (1 - alpha), atol=1)


def test_palettes_with_and_without_transparency() -> None:
    indices = RANDOM.integers(0, 4, (6, 6), dtype=np.uint8)
    colours = RANDOM.integers(0, 256, (4, 3), dtype=np.uint8)
    image = Image.fromarray(indices)
    image = image.convert("P")
    image.putpalette(colours.tobytes())
    indices = np.asarray(image)
    np.testing.assert_array_equal(pixels.load(encoded(image)), colours[indices])
    expected = colours[indices]
    expected[indices == 2] = 255
    np.testing.assert_array_equal(pixels.load(encoded(image, transparency=2)), expected)


def test_one_bit_cmyk_and_animations() -> None:
    bits = RANDOM.integers(0, 2, (9, 7)).astype(bool)
    np.testing.assert_array_equal(pixels.load(encoded(Image.fromarray(bits)))[..., 0], bits * np.uint8(255))
    rgb = smooth(40, 40)
    cmyk = Image.fromarray(rgb).convert("CMYK")
    for format in ("JPEG", "TIFF"):
        loaded = pixels.load(encoded(cmyk, format, quality=95)).astype(float)
        assert np.abs(loaded - rgb).mean() < 12
    frames = [Image.fromarray(np.full((5, 5), value, np.uint8)) for value in (10, 200)]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.unique(pixels.load(gif)).tolist() == [10]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    upright = smooth(24, 40)
    # What a camera that was held in this way stores, by the EXIF standard's table of the 0th row and column.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright[:, ::-1].transpose(1, 0, 2),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright[::-1].transpose(1, 0, 2),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    np.testing.assert_array_equal(pixels.load(content), upright)


def test_damaged_exif_says_nothing() -> None:
    rgb = smooth(16, 16)
    content = encoded(Image.fromarray(rgb), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\xff\xff")
    with pixels.without_warnings():
        np.testing.assert_array_equal(pixels.load(content), rgb)


def test_a_large_jpeg_may_come_smaller_but_not_too_small() -> None:
    content = encoded(Image.fromarray(smooth(640, 960)), "JPEG", quality=95)
    full, reduced = pixels.load(content), pixels.load(content, at_least=100)
    assert full.shape == (640, 960, 3)
    assert 100 <= min(reduced.shape[:2]) < 640
    expected = pixels.fit(full, (50, 50), 3).astype(float)
    assert np.abs(pixels.fit(reduced, (50, 50), 3) - expected).max() < 12


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header states a size that its few bytes could never fill."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(DataError, match="bomb"):
        pixels.load(bomb(60_000, 60_000))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_every_damage_is_a_data_error(format: str) -> None:
    """Random cuts and random bytes: an array or a DataError, nothing else; a file cut in half is always refused."""
    content = encoded(Image.fromarray(RANDOM.integers(0, 256, (50, 50, 3), dtype=np.uint8)), format)
    with pytest.raises(DataError, match=r"truncated|damaged"):
        pixels.load(content[: len(content) // 2])
    for _ in range(150):
        broken = bytearray(content)
        for place in RANDOM.integers(0, len(content), RANDOM.integers(1, 6)):
            broken[place] = RANDOM.integers(0, 256)
        try:
            with pixels.without_warnings():
                loaded = pixels.load(bytes(broken[: RANDOM.integers(1, len(content) + 1)]))
        except DataError:
            continue
        assert loaded.dtype == np.uint8
        assert loaded.shape[2] in (1, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"  \n<html>", "HTML"),
        (b"404: not found", "text"),
        (bytes(1000), "zeros"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\x01\x02\x03\x04" * 9, "no known format"),
    ],
)
def test_what_is_no_image_is_told_from_its_first_bytes(content: bytes, reason: str) -> None:
    assert reason in str(pixels.problem(content, ".jpg"))
    with pytest.raises(DataError):
        pixels.load(content)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_what_is_an_image_looks_like_one(format: str) -> None:
    assert pixels.problem(encoded(Image.fromarray(smooth(5, 5)), format), ".jpg") is None


def test_fit_keeps_the_centre() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 15:45] = 255
    assert pixels.fit(wide, (20, 20), 3).min() == 255
    tall = np.ascontiguousarray(wide.transpose(1, 0, 2))
    assert pixels.fit(tall, (10, 10), 1).min() == 255
    gray = RANDOM.integers(0, 256, (6, 6, 1), dtype=np.uint8)
    np.testing.assert_array_equal(pixels.fit(gray, (6, 6), 3), np.repeat(gray, 3, axis=2))


def test_sizes_and_channels_are_chosen_from_the_images(tmp_path: Path) -> None:
    same = files(tmp_path / "same", {f"{i}.png": encoded(Image.fromarray(smooth(20, 30))) for i in range(5)})
    assert choose_size(same) == (20, 30)
    assert choose_channels(same) == 3
    mixed = files(
        tmp_path / "mixed",
        {f"{h}.png": encoded(Image.fromarray(smooth(h, 200)).convert("L").convert("RGB")) for h in (90, 100, 300)},
    )
    assert choose_size(mixed) == (100, 100)
    assert choose_channels(mixed) == 1
    large = files(tmp_path / "large", {"a.jpg": encoded(Image.fromarray(smooth(700, 900)), "JPEG")})
    assert choose_size(large) == (256, 256)


def test_decode_agrees_with_pillow_and_skips_what_cannot_be_read(tmp_path: Path) -> None:
    good = {f"{i:03}.png": encoded(Image.fromarray(smooth(30, 40))) for i in range(70)}
    bad = {"005b.png": good["005.png"][:200], "040b.png": bomb(60_000, 60_000)}
    stored = files(tmp_path, good | bad)
    calls: list[tuple[int, int]] = []
    decoded = decode(
        stored, size=(16, 16), channels=3, cache_folder=None, progress=lambda done, n: calls.append((done, n))
    )
    names = sorted(good | bad)
    assert [names[i] for i, _ in decoded.failed] == ["005b.png", "040b.png"]
    assert [names[i] for i in decoded.kept] == sorted(good)
    assert calls[-1] == (72, 72)
    for row, name in zip(decoded.array, sorted(good), strict=True):
        image = Image.open(io.BytesIO(good[name])).crop((5, 0, 35, 30)).resize((16, 16), Image.Resampling.BICUBIC)
        # At the crop's edges the filter may see the pixels beyond, which the reference cut off.
        np.testing.assert_allclose(row[:, 2:-2].astype(int), np.asarray(image)[:, 2:-2].astype(int), atol=1)


def test_rows_of_unreadable_images_are_dropped_and_listed(tmp_path: Path) -> None:
    good = {f"{i}.png": encoded(Image.fromarray(smooth(9, 9))) for i in (1, 3)}
    files(tmp_path, good | {"2.png": good["1.png"][:60]})
    dataset = read_unlabelled_folder(tmp_path)
    decoded = decode(dataset.images["image"], size=(9, 9), channels=3, cache_folder=None)
    kept = drop_unreadable(dataset, decoded)
    assert kept.names == ("1.png", "3.png")
    assert kept.rows.tolist() == [0, 2]
    assert [out.where for out in kept.left_out] == ["2.png"]
    assert len(kept) == len(decoded.array)


def test_no_readable_image_is_a_data_error(tmp_path: Path) -> None:
    stored = files(tmp_path, {"a.png": encoded(Image.fromarray(smooth(9, 9)))[:60]})
    with pytest.raises(DataError, match=r"no image can be read: a\.png"):
        decode(stored, size=(9, 9), channels=3, cache_folder=None)
    with pytest.raises(DataError, match="no image can be read"):
        choose_size(stored)


@pytest.mark.parametrize("memory_limit", [1 << 30, 100])
def test_the_cache_is_used_and_made_anew_when_damaged(
    tmp_path: Path, memory_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {f"{i}.png": encoded(Image.fromarray(smooth(12, 12))) for i in range(5)}
    stored = files(tmp_path / "images", good | {"2b.png": good["2.png"][:70]})
    folder = tmp_path / "cache"

    def run() -> images.Decoded:
        return decode(stored, size=(8, 8), channels=3, cache_folder=folder, memory_limit=memory_limit)

    first = run()
    assert isinstance(first.array, np.memmap) == (memory_limit == 100)
    (array_file,) = folder.glob("*.npy")
    pristine = array_file.read_bytes()

    def same(other: images.Decoded) -> bool:
        equal = np.array_equal(first.array, other.array) and np.array_equal(first.kept, other.kept)
        return equal and first.failed == other.failed

    with monkeypatch.context() as patch:
        patch.setattr(FileImages, "load", None)
        assert same(run())
    loads: list[int] = []
    load = FileImages.load
    for damage in (pristine[:-5], pristine[:-5] + bytes(4) + b"\xff", b""):
        array_file.write_bytes(damage)
        loads.clear()
        with monkeypatch.context() as patch:
            patch.setattr(FileImages, "load", lambda self, i, **options: loads.append(i) or load(self, i, **options))
            assert same(run())
        assert len(loads) == 6
        assert array_file.read_bytes() == pristine
    array_file.with_suffix(".json").write_text("{")
    assert same(run())
    assert not list(folder.glob(".*"))


def test_the_cache_distinguishes_content_order_size_and_channels(tmp_path: Path) -> None:
    stored = files(tmp_path / "images", {f"{i}.png": encoded(Image.fromarray(smooth(12, 12))) for i in range(4)})
    folder = tmp_path / "cache"
    decode(stored, size=(8, 8), channels=3, cache_folder=folder)
    decode(stored, size=(8, 8), channels=1, cache_folder=folder)
    decode(stored, size=(8, 9), channels=3, cache_folder=folder)
    backwards = decode(stored.take(np.array([3, 2, 1, 0])), size=(8, 8), channels=3, cache_folder=folder)
    forwards = decode(stored, size=(8, 8), channels=3, cache_folder=folder)
    np.testing.assert_array_equal(backwards.array[::-1], forwards.array)
    assert len(list(folder.glob("*.npy"))) == 4


def test_a_full_disk_falls_back_to_memory_or_names_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = files(tmp_path / "images", {f"{i}.png": encoded(Image.fromarray(smooth(12, 12))) for i in range(4)})
    folder = tmp_path / "cache"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_save", full)
    monkeypatch.setattr(images, "_reserve", full)
    expected = decode(stored, size=(8, 8), channels=3, cache_folder=None)
    found = decode(stored, size=(8, 8), channels=3, cache_folder=folder)
    np.testing.assert_array_equal(found.array, expected.array)
    with pytest.raises(DataError, match=r"cache, is full|is full.*EARNEST_CACHE"):
        decode(stored, size=(8, 8), channels=3, cache_folder=folder, memory_limit=10)
    assert not list(folder.iterdir())


def test_clearing_the_cache_deletes_cached_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARNEST_CACHE", str(tmp_path))
    assert cache.clear_cache() == (0, 0)
    folder = cache.cache_folder()
    cache.store_array(folder / "a.npy", np.arange(10), {"x": 1})
    (folder / "mine.txt").write_text("keep")
    (tmp_path / "b.npy").write_text("keep")
    number, size = cache.cache_info()
    assert (number, size) == (2, sum((folder / name).stat().st_size for name in ("a.npy", "a.json")))
    assert cache.clear_cache() == (number, size)
    assert cache.cache_info() == (0, 0)
    assert (folder / "mine.txt").exists()
    assert (tmp_path / "b.npy").exists()


def test_chained_images_keep_their_places(tmp_path: Path) -> None:
    first = files(tmp_path / "a", {f"{i}.png": encoded(Image.fromarray(smooth(5, 5))) for i in range(3)})
    second = files(tmp_path / "b", {f"{i}.png": encoded(Image.fromarray(smooth(5, 5))) for i in range(2)})
    both = ChainedImages.of(first, second)
    expected = [(first, 0), (first, 1), (first, 2), (second, 0), (second, 1)]
    order = RANDOM.permutation(5)
    shuffled = both.take(order)
    for place, index in enumerate(order):
        source, at = expected[index]
        np.testing.assert_array_equal(shuffled.load(place), source.load(at))
        assert shuffled.digests[place] == source.digests[at]
    assert shuffled.key() != both.key() or (order == np.arange(5)).all()
