"""Pretrains an encoder on a running text by missing tokens, and says how well it tells them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earnest.api.encoder_folder import TASK, PretrainedEncoder
from earnest.api.language_recipes import seconds_for
from earnest.api.language_text import Part, Text
from earnest.api.networks import Fit, fit_network
from earnest.api.question import Bench, Floats
from earnest.api.word_recipes import can_learn_vectors
from earnest.core.recipe import Recipe
from earnest.core.registry import models
from earnest.core.words import InputSpec, Step
from earnest.data.windows import SurroundedWindows
from earnest.evaluation.masked import METRIC, compare_masked, evaluate_masked, masked_verdict
from earnest.models.bert import MaskedLanguageModel
from earnest.tasks.masked_lm import MaskedLanguageModelling

AN_EPOCH = 500_000
"""Tokens that an epoch learns from, at most."""
MOST_CHECKED = 50_000
"""Tokens of either part whose missing ones are told."""
CHECKED_TOGETHER = 16
"""Windows, which are a block of the intervals' bootstrap."""
COMMONEST = "commonest token"


class Frequencies(nn.Module):
    """The baseline: every missing token is told by how often each was seen."""

    def __init__(self, ids: np.ndarray[Any, Any], vocabulary: int) -> None:
        super().__init__()
        counts = np.bincount(ids, minlength=vocabulary) + 1.0
        self.logits = nn.Parameter(torch.from_numpy(np.log(counts / counts.sum())).float(), requires_grad=False)

    def tokens(self, inputs: tuple[Tensor, Tensor]) -> Tensor:
        """Knows nothing of the text."""
        return self.logits.new_zeros(*inputs[0].shape, 1)

    def vocabulary(self, hidden: Tensor) -> Tensor:
        """(M, 1) to (M, V)."""
        return self.logits.expand(len(hidden), -1)


def fit_encoder(bench: Bench, text: Text, recipe: Recipe) -> None:
    """Train, tell the missing tokens of both parts, and write everything down."""
    started = time.monotonic()
    recipe.write(bench.run.path / "recipe.toml")
    tokenizer = text.tokenizer
    assert tokenizer.mask_id is not None, "WordPiece has a token for what is missing"
    spec = InputSpec("tokens", (recipe.window,), (tokenizer.vocab_size,))
    options = {**recipe.model_options, **({"dropout": recipe.dropout} if recipe.dropout else {})}
    vectors = _vectors(bench, text, recipe)

    def build() -> nn.Module:
        network = MaskedLanguageModel(models[recipe.model].build(spec, 1, **options))
        if vectors is not None:
            network.encoder.embedding.word.weight.data.copy_(vectors)
        return network

    task = MaskedLanguageModelling(tokenizer.vocab_size, mask_id=tokenizer.mask_id, special_ids=tokenizer.special_ids)
    state = fit_network(
        bench,
        Fit(
            name=recipe.model,
            build=build,
            task=task,
            source=_windows(text, text.learned_from, recipe, most=AN_EPOCH),
            validation=_windows(text, _part(text, "validation"), recipe, most=MOST_CHECKED, learns=False),
            recipe=recipe,
            seconds=seconds_for(bench.request, len(text.learned_from)),
        ),
    )
    if not bench.run.writes:
        return
    trained = state.model.to("cpu").eval()
    assert isinstance(trained, MaskedLanguageModel)
    about = {"name": recipe.model, "data": text.corpus.fingerprint}
    lasting = {name: value for name, value in options.items() if name != "dropout"}
    PretrainedEncoder(trained.encoder, recipe.model, lasting, spec, tokenizer, about).save(bench.run.path / "model")
    seconds = time.monotonic() - started
    rivals = {COMMONEST: Frequencies(text.learned_from, tokenizer.vocab_size), recipe.model: trained}
    on_validation = {name: _told(text, "validation", recipe, task, model) for name, model in rivals.items()}
    bench.run.look_at_test("the final evaluation")
    on_test = {name: _told(text, "test", recipe, task, model) for name, model in rivals.items()}
    _write(bench, recipe.model, seconds, on_validation, on_test)


def _write(
    bench: Bench, ours: str, seconds: float, on_validation: dict[str, Floats], on_test: dict[str, Floats]
) -> None:
    scores = evaluate_masked(on_test, ours, seed=bench.seed)
    validation = evaluate_masked(on_validation, ours, seed=bench.seed)
    comparison = compare_masked(on_test, ours, COMMONEST, seed=bench.seed)
    of_all = {COMMONEST: validation["baselines"][COMMONEST], ours: validation["metrics"]}
    evaluation: dict[str, Any] = {
        "task": TASK,
        "target": None,
        "unit": "missing tokens",
        "labels": [],
        "metric": METRIC,
        "cross_fitted": False,
        "validation": validation,
        "test": scores,
        "comparison": comparison,
        "candidates": [
            {
                "name": name,
                "metric": METRIC,
                "score": its[METRIC],
                "seconds": seconds if name == ours else 0.0,
                "shipped": name == ours,
                "note": "",
            }
            for name, its in of_all.items()
        ],
        "calibration": None,
        "confusion": None,
        "per_class": None,
        "residuals": None,
        "mistakes": [],
        "left_out_count": 0,
        "test_looks": len(bench.run.facts()["test_looks"]),
        "seconds": bench.clock.spent(),
        "verdict": masked_verdict(scores, comparison),
    }
    bench.run.write("evaluation.json", evaluation)


def _vectors(bench: Bench, text: Text, recipe: Recipe) -> Tensor | None:
    """What the tokens' embeddings begin as; None for random ones, and where a checkpoint has what they became."""
    if recipe.token_vectors == "random" or any((bench.run.path / "checkpoints" / recipe.model).glob("*")):
        return None
    if not can_learn_vectors():
        bench.screen.say("tokens begin as random vectors; those of skip-gram come with: pip install 'earnest[words]'")
        return None
    from earnest.api.token_vectors import token_vectors

    spec = InputSpec("tokens", (recipe.window,), (text.tokenizer.vocab_size,))
    width = models[recipe.model].build(spec, 1).num_features
    return token_vectors(bench, text.learned_from, text.tokenizer.vocab_size, width)


def _told(text: Text, part: Part, recipe: Recipe, task: MaskedLanguageModelling, model: nn.Module) -> Floats:
    source = _windows(text, _part(text, part), recipe, most=MOST_CHECKED, learns=False)
    return task.to("cpu").told(model, source, Step())


def _part(text: Text, part: Part) -> np.ndarray[Any, Any]:
    start, end = text.span(part)
    return text.ids[start:end]


def _windows(
    text: Text, ids: np.ndarray[Any, Any], recipe: Recipe, *, most: int, learns: bool = True
) -> SurroundedWindows:
    """Windows of some of the text; a part that is shorter than a window is nearly one by itself."""
    around = text.tokenizer.around
    length = min(recipe.window - sum(map(len, around)), len(ids) - 1)
    return SurroundedWindows(
        ids,
        length=length,
        batch_size=recipe.batch_size if learns else CHECKED_TOGETHER,
        most=max(1, most // length),
        around=around,
        learns=learns,
    )
