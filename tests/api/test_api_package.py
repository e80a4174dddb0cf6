"""The package's public names."""

from __future__ import annotations

import importlib
import subprocess
import sys

import earnest


def test_importing_what_shares_a_verbs_name_does_not_hide_the_verb() -> None:
    code = (
        "import earnest\n"
        "from earnest.report import wording\n"
        "assert all(callable(getattr(earnest, name)) for name in earnest.__all__)\n"
        "import earnest.report.page\n"
        "assert callable(earnest.report)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_what_the_api_has() -> None:
    for name in earnest.__all__:
        value = getattr(earnest, name)
        assert getattr(importlib.import_module(value.__module__), name) is value
        assert value.__module__.startswith("earnest.api.")
