"""What to do without when time has run out: everything above the simple models, which are always fitted."""

from __future__ import annotations

from earnest.api.question import Bench
from earnest.api.recipes import reserve
from earnest.training import processes


def has_time(bench: Bench, what: str) -> bool:
    """Whether there is any time for `what` ("a network"); decided once, kept in run.json, and told where there is none.

    A network that has no time for a single epoch says nothing worth the wait.
    """
    decisions = processes.of_first(bench.run.facts().get("has_time", {}))
    if what not in decisions:
        decisions[what] = processes.of_first(bench.clock.left() > reserve(bench.request))
        bench.run.update(has_time=decisions)
        if not decisions[what]:
            bench.run.log("left_out", name=what, why="out of time")
            bench.screen.say(
                f"no time is left for {what}: the simple models are all there is; give more with --minutes"
            )
    return bool(decisions[what])
