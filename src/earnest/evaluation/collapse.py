"""Whether a generator has collapsed: it makes the same few pictures, whatever the noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SAME = 0.4
"""Of the data's diversity: pictures that differ by less from each other are about the same."""
FEW = 0.2
"""Of the different nearest neighbours that real pictures have: fewer of them are a few modes."""
IN_A_ROW = 3
"""Epochs: one alone may recover."""
GRACE = 0.25
"""Of the training: pictures that were never diverse are just unfinished until then."""


def why_collapsed(epochs: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong, in a sentence, or None.

    A generator has collapsed when for three epochs its pictures were too alike, after they had been diverse, or after a
    quarter of the training.

    Args:
        epochs: the log's lines of one training's epochs so far, with "diversity", "distinct" and "progress", and where
            the critic told it, its lead.
    """
    known = [epoch for epoch in epochs if epoch.get("diversity") is not None]
    if len(known) < IN_A_ROW or not all(_is_low(epoch) for epoch in known[-IN_A_ROW:]):
        return None
    was_diverse = any(not _is_low(epoch) for epoch in known)
    last = known[-1]
    if not was_diverse and (last.get("progress") or 0.0) < GRACE:
        return None
    lead = last.get("train_critic_lead")
    told = "" if lead is None else f"; the critic leads by {lead:.3g} logits"
    return (
        f"the generator has collapsed: its pictures differ by {last['diversity']:.0%} of what real ones do, and "
        f"are near to {last['distinct']:.0%} as many different ones, for {IN_A_ROW} epochs{told}"
    )


def _is_low(epoch: Mapping[str, Any]) -> bool:
    return bool(epoch["diversity"] < SAME or (epoch.get("distinct") is not None and epoch["distinct"] < FEW))
