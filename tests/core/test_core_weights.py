"""Weights by name, against a made-up package and a made-up hub folder."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from earnest.core import weights
from earnest.core.errors import OptionError, RunError
from earnest.core.remote import File, Hub, Package
from earnest.core.weights import Tokenization, Weights

HUB_ERRORS = pytest.importorskip("huggingface_hub.errors")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {"fc.weight": torch.randn(3, 4), "bn.num_batches_tracked": torch.tensor(7)}


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no word about being offline."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return folder


def described(name: str, source: Package | Hub, content: bytes) -> Weights:
    return Weights(
        name=name,
        architecture=name.split(".")[0],
        layout="timm",
        file=File(source, hashlib.sha256(content).hexdigest(), len(content)),
        preprocessing=weights.TIMM,
    )


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: dict[str, torch.Tensor]) -> Path:
    """The file of `tiny.packaged`, inside an installed package that cannot be imported."""
    site = tmp_path / "site"
    file = site / "tiny_weights" / "tiny.pth"
    file.parent.mkdir(parents=True)
    (file.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    torch.save(tensors, file, _use_new_zipfile_serialization=False)
    (site / "tiny_weights-1.0.dist-info").mkdir()
    (site / "tiny_weights-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(site)
    entry = described("tiny.packaged", Package("tiny-weights", "1.0", "tiny_weights/tiny.pth"), file.read_bytes())
    monkeypatch.setattr(weights, "KNOWN", (entry,))
    return file


@pytest.fixture
def on_hub(monkeypatch: pytest.MonkeyPatch, tensors: dict[str, torch.Tensor]) -> bytes:
    """The content of `tiny.hub`, not yet in the cache; any download fails the test."""
    content = safetensors.torch.save(tensors)
    entry = described("tiny.hub", Hub("someone/tiny", "model.safetensors", COMMIT), content)
    monkeypatch.setattr(weights, "KNOWN", (entry,))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return content


def cache(hub_cache: Path, content: bytes, commit: str = COMMIT) -> Path:
    file = hub_cache / "models--someone--tiny" / "snapshots" / commit / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def silent(line: str) -> None:
    pytest.fail(f"announced {line!r}")


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_known_entries_are_whole() -> None:
    names = [entry.name for entry in weights.KNOWN]
    assert len(set(names)) == len(names)
    for entry in weights.KNOWN:
        assert len(bytes.fromhex(entry.file.sha256 or "")) == 32
        assert entry.file.num_bytes is not None
        assert entry.file.num_bytes > 1e6
        assert weights.find(entry.name) is entry
        assert weights.find(entry.architecture).architecture == entry.architecture


def test_a_networks_weights_are_known_wherever_their_file_is() -> None:
    assert weights.of("resnet18", "image") is not None
    assert weights.of("resnet18", "tokens") is None
    assert weights.of("lenet5", "image") is None


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"did you mean 'efficientnet-lite0\.imagenet'\?"):
        weights.find("eficientnet-lite0.imagenet")


def test_package_file_is_loaded_without_importing_the_package(packaged: Path, tensors: dict[str, torch.Tensor]) -> None:
    assert [entry.name for entry in weights.available()] == ["tiny.packaged"]
    assert weights.path("tiny.packaged", offline=True, announce=silent) == packaged
    assert_same(weights.load_state_dict("tiny", offline=True, announce=silent), tensors)
    assert "tiny_weights" not in sys.modules


def test_package_missing_names_the_command(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = weights.KNOWN[0]
    source = replace(entry.file.source, distribution="tiny-weights-that-nobody-has")
    gone = replace(entry, file=replace(entry.file, source=source, install="pip install tiny-weights"))
    monkeypatch.setattr(weights, "KNOWN", (gone,))
    assert weights.available() == []
    with pytest.raises(OptionError, match="pip install tiny-weights"):
        weights.path("tiny.packaged", offline=False, announce=silent)


@pytest.mark.parametrize("position", [0, -1])
def test_one_changed_byte_is_refused_before_it_is_read(
    packaged: Path, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(packaged.read_bytes())
    content[position] ^= 1
    packaged.write_bytes(bytes(content))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("an unverified file was deserialised"))
    with pytest.raises(RunError, match=r"(?s)tiny\.pth.*force-reinstall --no-deps tiny-weights==1\.0"):
        weights.load_state_dict("tiny.packaged", offline=True, announce=silent)


def test_hub_file_in_the_cache_needs_no_network(
    hub_cache: Path, on_hub: bytes, tensors: dict[str, torch.Tensor]
) -> None:
    assert weights.available() == []
    file = cache(hub_cache, on_hub)
    assert [entry.name for entry in weights.available()] == ["tiny.hub"]
    assert weights.path("tiny.hub", offline=True, announce=silent) == file
    assert_same(weights.load_state_dict("tiny.hub", offline=True, announce=silent), tensors)


def test_hub_file_of_other_content_is_refused(hub_cache: Path, on_hub: bytes) -> None:
    file = cache(hub_cache, on_hub[:-1])
    with pytest.raises(RunError, match="SHA-256") as caught:
        weights.path("tiny.hub", offline=True, announce=silent)
    assert str(file.resolve()) in str(caught.value)


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_offline_never_fetches(on_hub: bytes, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OptionError, match="--offline"):
        weights.path("tiny.hub", offline=by == "flag", announce=silent)


def test_hub_library_missing_names_the_command(on_hub: bytes) -> None:
    with pytest.raises(OptionError, match="pip install huggingface-hub"):
        weights.path("tiny.hub", offline=False, announce=silent)


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch, hub_cache: Path, on_hub: bytes) -> list[str]:
    """A hub library that serves `tiny.hub`; the list says what happened, in order."""
    happened: list[str] = []

    def hf_hub_download(
        repository: str, file: str, *, revision: str, cache_dir: Path, dry_run: bool = False
    ) -> SimpleNamespace | str:
        assert (repository, file, cache_dir) == ("someone/tiny", "model.safetensors", hub_cache)
        happened.append(f"{'asked' if dry_run else 'fetched'} {revision}")
        return SimpleNamespace(file_size=len(on_hub)) if dry_run else str(cache(hub_cache, on_hub, revision))

    fake = SimpleNamespace(hf_hub_download=hf_hub_download, errors=HUB_ERRORS)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", HUB_ERRORS)
    return happened


def test_download_states_its_size_first(fake_hub: list[str], tensors: dict[str, torch.Tensor], on_hub: bytes) -> None:
    found = weights.load_state_dict("tiny.hub", offline=False, announce=fake_hub.append)
    assert_same(found, tensors)
    size = f"{len(on_hub) / 1e6:.1f} MB"
    assert fake_hub == [
        f"asked {COMMIT}",
        f"fetching the file of the weights tiny.hub from the Hugging Face hub: {size}",
        f"fetched {COMMIT}",
    ]
    weights.path("tiny.hub", offline=True, announce=silent)
    assert len(fake_hub) == 3


def test_unreachable_hub_is_the_users_to_know(monkeypatch: pytest.MonkeyPatch, fake_hub: list[str]) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise HUB_ERRORS.LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr(sys.modules["huggingface_hub"], "hf_hub_download", unreachable)
    with pytest.raises(OptionError, match="no connection"):
        weights.path("tiny.hub", offline=False, announce=silent)


def test_any_hub_file_by_its_digest(fake_hub: list[str], on_hub: bytes, tensors: dict[str, torch.Tensor]) -> None:
    name = f"hf:someone/tiny/model.safetensors@{hashlib.sha256(on_hub).hexdigest()}"
    assert weights.find(name).architecture == "tiny"
    assert_same(weights.load_state_dict(name, offline=False, announce=fake_hub.append), tensors)
    assert fake_hub[0] == "asked main"


def test_any_hub_file_of_a_branch_is_found_again_offline(hub_cache: Path, on_hub: bytes) -> None:
    file = cache(hub_cache, on_hub)
    refs = hub_cache / "models--someone--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    name = f"hf:someone/tiny/model.safetensors@{hashlib.sha256(on_hub).hexdigest()}"
    assert weights.path(name, offline=True, announce=silent) == file


@pytest.mark.parametrize(
    "name", ["hf:a/b/model.safetensors", f"hf:a/b/model.bin@{'0' * 64}", f"hf:a/model.safetensors@{'0' * 64}", "hf:"]
)
def test_a_reference_without_a_digest_or_to_a_pickle_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="hf:OWNER/REPO/FILE@SHA256"):
        weights.find(name)


@pytest.fixture
def of_texts(monkeypatch: pytest.MonkeyPatch, packaged: Path) -> Path:
    """`tiny.packaged` as weights of a network for texts; the file is its tokenizer's, in the same package."""
    entry = weights.KNOWN[0]
    file = packaged.parent / "vocab.txt"
    file.write_text("[PAD]\n")
    source = Package("tiny-weights", "1.0", "tiny_weights/vocab.txt")
    words = File(source, hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
    monkeypatch.setattr(weights, "KNOWN", (replace(entry, preprocessing=Tokenization(words, 128)),))
    return file


def test_a_networks_tokenizer_comes_with_its_weights(of_texts: Path) -> None:
    assert weights.available() == []
    assert [entry.name for entry in weights.available("tokens")] == ["tiny.packaged"]
    assert weights.tokenizer_path("tiny", offline=True, announce=silent) == of_texts


def test_a_tokenizer_of_other_content_is_refused(of_texts: Path) -> None:
    of_texts.write_text("[CLS]\n")
    with pytest.raises(RunError, match=r"(?s)vocab\.txt is not the tokenizer of the weights tiny.*force-reinstall"):
        weights.tokenizer_path("tiny", offline=True, announce=silent)


def test_weights_of_images_have_no_tokenizer(packaged: Path) -> None:
    with pytest.raises(OptionError, match="no tokenizer"):
        weights.tokenizer_path("tiny", offline=True, announce=silent)


@pytest.mark.parametrize(
    ("repository", "architecture"),
    [
        ("google/bert_uncased_L-2_H-128_A-2", "bert-tiny"),
        ("google/bert_uncased_L-8_H-512_A-8", "bert-medium"),
        ("google-bert/bert-large-uncased-whole-word-masking", "bert-large"),
        ("sentence-transformers/all-MiniLM-L6-v2", "minilm-l6"),
    ],
)
def test_any_bert_on_the_hub_by_its_digest(repository: str, architecture: str) -> None:
    found = weights.find(f"hf:{repository}/model.safetensors@{'0' * 64}")
    assert (found.kind, found.architecture, found.layout) == ("tokens", architecture, "huggingface")
    assert isinstance(found.preprocessing, Tokenization)
    assert found.preprocessing.tokenizer.source == Hub(repository, "vocab.txt", "main")


def test_installed_weights_are_the_pinned_ones() -> None:
    here = weights.available("image") + weights.available("tokens")
    if not here:
        pytest.skip("no package of weights is installed")
    for entry in here:
        assert weights.path(entry.name, offline=True, announce=silent).stat().st_size == entry.file.num_bytes
        if isinstance(entry.preprocessing, Tokenization):
            words = weights.tokenizer_path(entry.name, offline=True, announce=silent)
            assert words.stat().st_size == entry.preprocessing.tokenizer.num_bytes
