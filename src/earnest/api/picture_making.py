"""Learns from pictures to make more of them."""

from __future__ import annotations

from earnest.api import generation, generation_outcome
from earnest.api.beginning import begin, tell_left_out
from earnest.api.gallery import hang, read_pictures
from earnest.api.generating_recipes import for_pictures, rivals_of
from earnest.api.question import Bench
from earnest.api.sightings import choose_extractor, named_extractor
from earnest.audit.run import audit


def learn(bench: Bench) -> None:
    """A generator and its rivals, judged and written down."""
    named = named_extractor(bench)
    dataset = read_pictures(bench.request)
    gallery = hang(bench, dataset)
    tell_left_out(bench, gallery.dataset)
    split = gallery.split
    parts = {"train": len(split.train), "validation": len(split.validation), "test": len(split.test)}
    facts = {"fingerprint": dataset.fingerprint, "rows": len(gallery.dataset), "split": {"how": split.how, **parts}}
    recipe = for_pictures(bench.request, gallery.spec, len(split.train))
    begin(bench, dataset.source, facts, "pictures", lambda: audit(gallery.dataset, split))
    recipe.write(bench.run.path / "recipe.toml")
    extractor = choose_extractor(bench, gallery, named)
    bench.screen.say(f"judged by {extractor.name}")
    rivals = [
        generation.learn(bench, gallery, rival, extractor, share=generation.RIVAL_SHARE) for rival in rivals_of(recipe)
    ]
    trained = generation.learn(bench, gallery, recipe, extractor)
    if bench.run.writes:
        generation_outcome.settle(bench, gallery, recipe, extractor, [trained, *rivals])
