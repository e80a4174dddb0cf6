"""One fake run of each sort; `fake_runs` builds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import HOSTILE, classification, log_training, regression, start, tagging
from numpy.random import default_rng

from earnest.core.run import Run


@pytest.fixture
def digits_run(tmp_path: Path) -> Run:
    return classification(tmp_path / "digits", [str(i) for i in range(10)], seed=1)


@pytest.fixture
def prices_run(tmp_path: Path) -> Run:
    return regression(tmp_path / "prices", seed=2)


@pytest.fixture
def tagging_run(tmp_path: Path) -> Run:
    return tagging(tmp_path / "names", seed=6)


@pytest.fixture
def many_classes_run(tmp_path: Path) -> Run:
    labels = [f"species {i:03}" for i in range(200)]
    return classification(tmp_path / "species", labels, seed=3, num_test=4000)


@pytest.fixture
def unfinished_run(tmp_path: Path) -> Run:
    """Stopped in its third epoch, before anything was evaluated."""
    run = start(tmp_path / "stopped", {"data": "photos", "target": "label"})
    log_training(run, default_rng(4), epochs=3, metric="accuracy")
    run.log("stopped")
    run.update(status="stopped")
    return run


@pytest.fixture
def bare_run(tmp_path: Path) -> Run:
    """As it is in the first moment: a request and nothing else."""
    return Run.create(tmp_path / "bare", {"verb": "fit", "data": "photos"})


@pytest.fixture
def hostile_run(tmp_path: Path) -> Run:
    """Every text that comes from the user or the data is an attempt to break out."""
    labels = [HOSTILE, '"><img src=x onerror=alert(1)>', "a|b`*_[x](javascript:y)", "\u202eevil", "long " * 60]
    run = classification(tmp_path / 'we "ird <b>name', labels, seed=5)
    evaluation, found = run.read("evaluation.json"), run.read("audit.json")
    evaluation["target"] = HOSTILE
    evaluation["verdict"] = f"Verdict {HOSTILE}"
    evaluation["mistakes"][0]["image"] = 'x" onerror="alert(1)'
    evaluation["mistakes"][1]["image"] = "https://example.org/spy.png"
    evaluation["mistakes"][2]["values"] = {HOSTILE: HOSTILE}
    evaluation["test"]["baselines"][HOSTILE] = evaluation["test"]["baselines"].pop("majority class")
    found["findings"][0] |= {"title": HOSTILE, "detail": HOSTILE, "fix": HOSTILE, "names": [HOSTILE]}
    found["columns"][0] |= {"name": HOSTILE, "reason": HOSTILE}
    found["left_out"][0] = {"where": HOSTILE, "reason": HOSTILE}
    found["notes"] = [HOSTILE]
    run.write("evaluation.json", evaluation)
    run.write("audit.json", found)
    run.update(request={"verb": "fit", "data": HOSTILE, "target": HOSTILE})
    (run.path / "recipe.toml").write_text(f'note = "{HOSTILE}"\n', encoding="utf-8")
    return run
