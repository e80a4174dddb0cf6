"""Every example in the README and in docs/ runs as it stands, on tiny data of the names that it uses."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import Earnest, picture, table_rows, write_photos, write_table
from numpy.random import default_rng
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "estimators.md"})
"""All but one, whose results are looked at beside the estimators."""
SLOW = {
    "README.md",
    "boltzmann.md",
    "few-labels.md",
    "generate-images.md",
    "images.md",
    "language-models.md",
    "python.md",
    "tables.md",
    "tagging.md",
    "texts.md",
    "word-vectors.md",
    "zoo.md",
}
"""Pages whose examples fit for longer than some seconds."""
INSTALLING = ("python -m venv", ". .venv/bin/activate", "pip install", "pytest")
"""What CI does in an environment of its own."""
SIDE = 16
"""Pixels: enough for LeNet-5, and few enough for pretrained weights not to be used, which would take longer."""
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A block of a page that can be run."""

    language: str
    text: str

    def commands(self) -> Iterator[str]:
        """The shell commands of the block, one by one, without their comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            for command in line.split("#")[0].split(" && "):
                if command.strip():
                    yield command.strip()


def examples(page: Path) -> list[Example]:
    """What there is to run on a page; blocks of output and of layouts are `text`."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert all(language in ("sh", "python", "text") for language, _ in blocks), (
        f"{page.name}: name each block's language"
    )
    return [Example(language, text) for language, text in blocks if language != "text"]


def write_visits(path: Path, num: int = 60) -> None:
    """Two visits a patient; the ward says much about the label."""
    rng = default_rng(1)
    rows = [["patient", "ward", "age", "readmitted"]]
    for i in range(num):
        ward = int(rng.integers(1, 4))
        rows.append([f"p{i // 2}", str(ward), f"{rng.normal(60, 9):.0f}", "yes" if ward + rng.normal() > 2 else "no"])
    write_table(path, rows)


def write_sales(path: Path, num: int = 60) -> None:
    """Revenue by the day."""
    rng = default_rng(2)
    rows = [["date", "staff", "visitors", "revenue"]]
    for i in range(num):
        staff, visitors = int(rng.integers(2, 9)), rng.normal(200, 40)
        day, revenue = f"2025-{1 + i // 28:02}-{1 + i % 28:02}", 900 + 3.5 * visitors + 40.25 * staff
        rows.append([day, str(staff), f"{visitors:.3f}", f"{revenue:.2f}"])
    write_table(path, rows)


def write_sentences(folder: Path, num: int = 60) -> None:
    """Tagged sentences, more of them, and new ones without tags."""
    rng = default_rng(4)
    for name, first in (("train.conll", 0), ("more.conll", num)):
        sentences = []
        for i in range(first, first + num):
            person, place = rng.choice(["Ada", "Bob", "Cleo"]), rng.choice(["Paris", "Rome", "Oslo"])
            sentences.append(f"{i} O\n{person} B-PER\nlives O\nin O\n{place} B-LOC\n. O\n")
        (folder / name).write_text("\n".join(sentences))
    (folder / "new.txt").write_text("Ada lives in Rome.\nBob lives in Paris.\n")


def write_tickets(folder: Path, num: int = 40) -> None:
    """Texts, of few of which it is said what they are about."""
    rng = default_rng(6)
    words = {"bill": ["invoice", "refund", "charged"], "login": ["password", "locked", "account"]}
    for name, columns in (("few", 2), ("more", 1), ("more-labels", 2)):
        rows = [["text", "label"]]
        for i in range(num):
            label = ("bill", "login")[i % 2]
            rows.append([f"ticket {name} {i}: {' '.join(rng.choice(words[label], 4))}", label])
        write_table(folder / f"{name}.csv", [row[:columns] for row in rows])


def write_text(folder: Path) -> None:
    """A text in scenes, a recipe for it, and reviews in the same words."""
    rng = default_rng(7)
    words = ["thou", "art", "a", "gentle", "rogue", "sweet", "prince", "and", "night", "falls"]
    scenes = [f"{rng.choice(['ROMEO', 'JULIET'])}:\n{' '.join(rng.choice(words, 12))}.\n\n" for _ in range(150)]
    (folder / "shakespeare.txt").write_text("".join(scenes))
    (folder / "recipe.toml").write_text('model = "mingru"\nwindow = 64\ntokens = "bpe"\nvocabulary = 300\nepochs = 2\n')
    rows = [[" ".join(rng.choice(words, 8)), str(rng.choice(["good", "bad"]))] for _ in range(60)]
    write_table(folder / "reviews.csv", [["text", "label"], *rows])


def write_corpus(folder: Path, num: int = 700) -> None:
    """A text on royalty and people, and pairs of its words."""
    rng = default_rng(8)
    kinds = (["king", "queen", "crown", "throne"], ["man", "woman", "child", "house"])
    lines = [" ".join(rng.choice([*kinds[i % 2], "the", "a"], 10)) for i in range(num)]
    (folder / "corpus.txt").write_text("\n".join(lines))
    pairs = [
        (a, b, str(9 if i == j else 1))
        for i, one in enumerate(kinds)
        for a in one
        for j, b in enumerate((one[0], "man"))
    ]
    write_table(folder / "pairs.csv", [["first", "second", "judged"], *pairs])


def write_recipe(folder: Path) -> None:
    """For a small generator of pictures."""
    options = "[model_options]\nwidth = 8\nblocks = 1\n"
    (folder / "pictures.toml").write_text(f'model = "r3gan"\nbatch_size = 8\ngradient_penalty = 1.0\n{options}')


def write_data(folder: Path) -> None:
    """Everything that the guides take for given."""
    write_recipe(folder)
    write_photos(folder / "photos", parts=(), num=20)
    for path in (folder / "photos").rglob("*.png"):
        with Image.open(path) as image:
            image.resize((SIDE, SIDE)).save(path)
    new = folder / "new_photos"
    new.mkdir()
    for name in ("0004", "0005", "0006"):
        Image.fromarray(picture(default_rng(5), name == "0005")).save(new / f"{name}.jpg")
    write_table(folder / "adult.csv")
    write_table(folder / "adult-test.csv", table_rows(40, seed=9))
    write_table(folder / "people.csv", [row[:2] + row[3:] for row in table_rows(5, seed=3)])
    write_visits(folder / "visits.csv")
    write_sales(folder / "sales.csv")
    write_text(folder)
    write_sentences(folder)
    write_tickets(folder)
    write_corpus(folder)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data, which examples run in, with a cache of its own."""
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EARNEST_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run_command(command: str, earnest: Earnest) -> None:
    """Run one shell command of a guide; `earnest` in this process."""
    if command.startswith("earnest "):
        ended = earnest(*shlex.split(command)[1:])
        assert ended.code == 0, f"{command}\n{ended.err}"
    elif not command.startswith(INSTALLING):
        subprocess.run(command, shell=True, check=True)


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW else []) for page in PAGES],
)
def test_every_example_runs(page: Path, place: Path, earnest: Earnest) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for example in examples(page):
        if example.language == "python":
            exec(compile(example.text, page.name, "exec"), names)
            continue
        for command in example.commands():
            run_command(command, earnest)
