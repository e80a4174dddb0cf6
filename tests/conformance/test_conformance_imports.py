"""Imports run one way only: the house of the design, held to it, imports inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "earnest"

MAY_IMPORT = {
    "core": set(),
    "nn": {"core"},
    "models": {"core", "nn"},
    "data": {"core"},
    "tasks": {"core", "data", "nn"},
    "audit": {"core", "data"},
    "training": {"core", "data", "tasks"},
    "evaluation": {"core", "data", "tasks"},
    "report": {"core", "evaluation", "audit"},
    "api": {"core", "nn", "models", "data", "tasks", "audit", "training", "evaluation", "report", "earnest"},
    "cli": {"core", "api", "report"},
    "earnest": {"api"},
}


def folder_of(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if len(parts) > 1:
        return parts[0]
    return "earnest" if parts[0] == "__init__.py" else path.stem


def imported(path: Path) -> Iterator[str]:
    """Folders of the house that the module imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""] if node.module != "earnest" else [f"earnest.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == "earnest" or name.startswith("earnest."):
                part = name.split(".")[1] if "." in name else "earnest"
                yield "earnest" if part.startswith("__") else part


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    folder = folder_of(path)
    forbidden = set(imported(path)) - MAY_IMPORT[folder] - {folder}
    assert not forbidden, f"{path.relative_to(ROOT)} may not import {sorted(forbidden)}"


def test_nothing_unpickles() -> None:
    """Everything on disk is data, and what others pickled is read as data too."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "joblib", "dill", "cloudpickle"} & {name.split(".")[0] for name in names}, path
            if isinstance(node, ast.Call):
                called, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert called != "torch.load", path
                assert called != "np.load" or keywords["allow_pickle"] == "False", path
