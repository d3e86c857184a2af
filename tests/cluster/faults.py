"""Faults inside a step of workers that share memory, by their place in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

PLACES = ("computing", "before the update", "in the update", "after the update", "after the commit")


@contextmanager
def strike(place: str, *, rank: int, step: int, blow: Callable[[], Any]) -> Iterator[list[int]]:
    """Let `blow` come down once, on the worker of a rank, at a place of a step; yields where it tells so."""
    from cluster.exchange.shared_steps import SharedSteps

    fired: list[int] = []
    phases, commit = SharedSteps.phases, SharedSteps._commit

    def hit(steps: SharedSteps) -> None:
        if not fired and steps._rank == rank and steps.step == step:
            fired.append(step)
            blow()

    def struck_phases(self: SharedSteps, parity: int, samples: int) -> Any:
        found = phases(self, parity, samples)
        strike_here = partial(hit, self)
        if place == "computing":
            found["compute"].insert(0, strike_here)
        elif place == "before the update":
            found["meet"].append(strike_here)
        elif place == "in the update":
            found["update"].append(strike_here)
        elif place == "after the update":
            found["rest"].append(strike_here)
        return found

    def struck_commit(self: SharedSteps) -> None:
        commit(self)
        if place == "after the commit":
            hit(self)

    SharedSteps.phases, SharedSteps._commit = struck_phases, struck_commit  # type: ignore[method-assign]
    try:
        yield fired
    finally:
        SharedSteps.phases, SharedSteps._commit = phases, commit  # type: ignore[method-assign]
