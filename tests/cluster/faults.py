"""Faults inside a step of workers that share memory, by their place in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PHASES = {
    "computing": "while it computed its shard",
    "before the update": "while it added up and measured its slice of the gradient",
    "in the update": "while it updated its slice of the weights",
    "after the update": "while it updated its slice of the weights",
    "after the commit": "while it computed its shard",
}
"""Places of a step that clips norms, and how a loss there is told (the last place is in the next step)."""
PLACES = tuple(PHASES)


@contextmanager
def strike(place: str, *, rank: int, step: int, blow: Callable[[], Any]) -> Iterator[list[int]]:
    """Let `blow` come down once, on the worker of a rank, at a place of a step; yields where it tells so."""
    from cluster.exchange.shared_steps import SharedSteps
    from distnn.update_plan import UpdatePlan

    fired: list[int] = []
    whole_step, meet, update = SharedSteps._do_step, SharedSteps._meet, UpdatePlan.update
    at: dict[int, tuple[SharedSteps, int]] = {}

    def hit(steps: SharedSteps | None, here: str) -> None:
        if here == place and steps is not None and not fired and steps._rank == rank and steps.step == step:
            fired.append(step)
            blow()

    def do_step(self: SharedSteps, *arguments: int) -> int:
        at[id(self._plan)] = (self, 0)
        hit(self, "computing")
        digest = whole_step(self, *arguments)
        hit(self, "after the update")
        return digest

    def do_meet(self: SharedSteps) -> None:
        meet(self)
        _, count = at[id(self._plan)]
        at[id(self._plan)] = (self, count + 1)
        hit(self, "before the update" if count == 0 else "")
        hit(self, "after the commit" if count == (2 if self._plan.clips_norms else 1) else "")

    def do_update(self: UpdatePlan, *arguments: Any) -> int:
        digest = update(self, *arguments)
        hit(at.get(id(self), (None, 0))[0], "in the update")
        return digest

    SharedSteps._do_step, SharedSteps._meet, UpdatePlan.update = do_step, do_meet, do_update  # type: ignore
    try:
        yield fired
    finally:
        SharedSteps._do_step, SharedSteps._meet, UpdatePlan.update = whole_step, meet, update  # type: ignore
