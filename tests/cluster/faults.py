"""Faults inside a step of workers that share memory, by their place in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.ray_crew import RayCrew

PLACES = ("computing", "before the update", "in the update", "after the update", "after the commit")


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
        first = steps._places.own[0][0][0]
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

        one = getattr(faults, fault)(**where, blow=lambda: os.kill(os.getpid(), signal_number))
        one.__enter__()
        faults.kept = one  # type: ignore[attr-defined]

    ray.get(crew._actors[worker].__ray_call__.remote(install))
