"""`earnest generate RUN`: text from a language model; pictures are made by `generate_pictures`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from earnest.api.language_model import TASK, LanguageModel
from earnest.api.picture_generator import PictureGenerator
from earnest.api.predict import load
from earnest.core.errors import RunError


def generate(
    run: str | Path,
    *,
    prompt: str | None = None,
    num_tokens: int = 500,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> str:
    """What the language model of `run` makes follow `prompt`, or begin a line without one; the same for the same seed.

    Args:
        temperature: below 1 more sure, above 1 more wild; 0 always takes the likeliest token.
        top_k: draw from so many likeliest tokens only.
        top_p: draw from the fewest likeliest tokens that have this much probability together.

    Raises:
        RunError: there is no language model.
        OptionError: the prompt is empty or holds unknown characters, or a value is off.
    """
    pieces = stream(
        run, prompt=prompt, num_tokens=num_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    return "".join(pieces)


def makes_pictures(run: str | Path) -> bool:
    """Whether the run's model makes pictures, not text.

    Raises:
        RunError: there is no model.
    """
    return isinstance(load(run), PictureGenerator)


def stream(
    run: str | Path,
    *,
    prompt: str | None = None,
    num_tokens: int = 500,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """As `generate`, piece by piece as it is made.

    Raises:
        RunError, OptionError: as `generate`, before the first piece.
    """
    model = load(run)
    if not isinstance(model, LanguageModel):
        raise RunError(f"{run} is no language model; `earnest fit FILE.txt --task {TASK}` makes one.")
    return model.stream(prompt, num_tokens=num_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
