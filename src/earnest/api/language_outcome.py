"""What came of a language model: how well it tells unseen text, what it makes up, and the file that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from earnest.api.language import Teller
from earnest.api.language_model import TASK, LanguageModel
from earnest.api.language_text import Part, Text
from earnest.api.question import Bench
from earnest.evaluation.language import METRIC, Told, verdict

NUM_SAMPLES, SAMPLE_TOKENS, SAMPLE_TEMPERATURE = 3, 400, 0.8


def settle(bench: Bench, text: Text, model: LanguageModel, network: Teller, counted: Sequence[Teller]) -> None:
    """Ship the network, look at the test part once, and write everything down."""
    model.save(bench.run.path / "model")
    tellers = [*counted, network]
    on_validation = _told(text, "validation", tellers)
    for one in tellers:
        bits = on_validation.bits(one.name)
        bench.run.log("rung", name=one.name, score=bits, seconds=one.seconds)
        bench.screen.say(f"{one.name}: {bits:.3f} bits per character")
    bench.run.look_at_test("the final evaluation")
    on_test = _told(text, "test", tellers)
    scores = on_test.evaluation(network.name, seed=bench.seed)
    comparison = on_test.comparison(network.name, seed=bench.seed)
    evaluation: dict[str, Any] = {
        "task": TASK,
        "target": None,
        "unit": text.unit,
        "labels": [],
        "metric": METRIC,
        "cross_fitted": False,
        "validation": on_validation.evaluation(network.name, seed=bench.seed),
        "test": scores,
        "comparison": comparison,
        "candidates": [_line(bench, on_validation, one, one is network) for one in tellers],
        "calibration": None,
        "confusion": None,
        "per_class": None,
        "residuals": None,
        "mistakes": [],
        "samples": samples(model) if bench.request.examples else [],
        "left_out_count": 0,
        "test_looks": len(bench.run.facts()["test_looks"]),
        "seconds": bench.clock.spent(),
        "verdict": verdict(scores, comparison, unit=text.unit),
    }
    bench.run.write("evaluation.json", evaluation)


def samples(model: LanguageModel) -> list[str]:
    """What the model makes up from nothing but the beginning of a line, always the same."""
    return [
        model.generate(num_tokens=SAMPLE_TOKENS, temperature=SAMPLE_TEMPERATURE, seed=seed)
        for seed in range(NUM_SAMPLES)
    ]


def _told(text: Text, part: Part, tellers: Sequence[Teller]) -> Told:
    start, end = text.span(part)
    return Told.of(text.tokenizer.characters[text.ids[start:end]], {one.name: one.tell(part) for one in tellers})


def _line(bench: Bench, told: Told, teller: Teller, shipped: bool) -> dict[str, Any]:
    return {
        "name": teller.name,
        "metric": METRIC,
        "score": told.scores(teller.name, seed=bench.seed)[METRIC],
        "seconds": teller.seconds,
        "shipped": shipped,
        "note": teller.note,
    }
