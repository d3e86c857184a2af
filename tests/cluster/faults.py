"""Faults inside a step of workers that share memory, by their place in it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.ray_crew import RayCrew

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


NODE_PLACES = ("taking the weights", "computing", "adding", "answering")


@contextmanager
def strike_node(
    place: str, *, step: int, blow: Callable[[], Any], shard: int | None = None
) -> Iterator[list[int]]:
    """The same within a node: the worker is the one whose shards begin with `shard`, or any."""
    from cluster.exchange.barrier import Barrier
    from cluster.exchange.node_steps import NodeSteps

    fired: list[int] = []
    run, meet = NodeSteps.run, Barrier.meet
    at: dict[int, tuple[NodeSteps, int, int]] = {}

    def hit(steps: NodeSteps, current: int, here: str) -> None:
        first = steps._places.subtrees[steps._places.own_rows[0]][0]
        if here == place and not fired and shard in (None, first) and current == step:
            fired.append(step)
            blow()

    def do_run(self: NodeSteps, current: int, weights: Any) -> Any:
        at[id(self.barrier)] = (self, current, 0)
        hit(self, current, NODE_PLACES[0])
        return run(self, current, weights)

    def do_meet(self: Barrier) -> None:
        meet(self)
        if id(self) in at:
            steps, current, count = at[id(self)]
            at[id(self)] = (steps, current, count + 1)
            hit(steps, current, NODE_PLACES[count + 1])

    NodeSteps.run, Barrier.meet = do_run, do_meet  # type: ignore[method-assign]
    try:
        yield fired
    finally:
        NodeSteps.run, Barrier.meet = run, meet  # type: ignore[method-assign]


def strike_in_process(crew: RayCrew, worker: int, fault: str, signal_number: int, **where: Any) -> None:
    """Let the process of a worker send itself a signal: `fault` names a function of this file."""
    from cluster.ray_import import ray

    folder = str(Path(__file__).parent)

    def install(_: Any) -> None:
        sys.path.append(folder)
        import faults

        # To this thread: one that stops the process by way of another might go on for a while.
        one = getattr(faults, fault)(
            **where, blow=lambda: signal.pthread_kill(threading.get_ident(), signal_number)
        )
        one.__enter__()
        faults.kept = one  # type: ignore[attr-defined]

    ray.get(crew._actors[worker].__ray_call__.remote(install))
