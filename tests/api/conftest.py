"""Data and finished runs that the tests of the verbs share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import QUICK_PHOTOS, QUICK_TABLE, Earnest, Ended, invoke, write_photos, write_table

from earnest.core.run import Run


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("EARNEST_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """Ctrl-C reaches the tests that send it, also where pytest was started in the background and ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def earnest(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Earnest:
    """`earnest("fit", "photos")` runs the command as a shell would, in this process."""

    def run(*arguments: Any) -> Ended:
        monkeypatch.setattr(Run, "current", None)
        capfd.readouterr()
        code = invoke(*arguments)
        printed = capfd.readouterr()
        return Ended(code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in three parts."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose column "part" splits it."""
    return write_table(tmp_path_factory.mktemp("data") / "people.csv")


@pytest.fixture(scope="session")
def photos_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `photos`; tests leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "photos"
    assert invoke("fit", photos, "--out", out, *QUICK_PHOTOS) == 0
    return out


@pytest.fixture(scope="session")
def people_run(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on `people`; tests leave it as it is."""
    out = tmp_path_factory.mktemp("runs") / "people"
    assert invoke("fit", people, "--out", out, *QUICK_TABLE) == 0
    return out
