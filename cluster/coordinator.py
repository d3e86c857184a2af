"""Drives the workers through a task: assigns shards, commits segments, goes on after losses.

The process that called `fit` is the coordinator. It owns the committed state; the workers own nothing that
could not be computed again.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.assignment import Assignment, assign
from cluster.crew import Answer, Crew, Outcome, Request
from cluster.exchange.exchange import Exchange, Segment, WorkersLost
from cluster.failures import losses_of, raise_first_failure
from cluster.shared_data import SharedData
from cluster.supervision import Loss, decide
from cluster.transport import pack
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.engine import EngineOptions, SegmentReport
from distnn.errors import EngineError
from distnn.evaluation import batches, total_evaluation, whole_predictions
from distnn.recording import TrainingState
from distnn.shard import ShardRunner
from distnn.task import Task
from distnn.tensor import Array
from distnn.updater import Updater

logger = logging.getLogger("distnn.cluster")

LOAD_DEADLINE_S = 300.0
"""For reading the data and compiling kernels, which happens once on a machine."""


class Coordinator:
    """One task after another, on the workers of a crew.

    Args:
        crew: the workers.
        exchange: how gradients are summed.
        options: how many workers, and how long they may be silent.
    """

    def __init__(self, crew: Crew, exchange: Exchange, options: EngineOptions) -> None:
        self._crew = crew
        self._exchange = exchange
        self._options = options
        self._shared = SharedData(crew)
        self._assignment: Assignment = {}
        self._updater: Updater | None = None
        self._sizes: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._holders: set[int] = set()
        self._warm_machines: set[str] = set()
        self._warm_methods: set[str] = set()
        self._work = ""
        self._earlier_losses: list[Sequence[Loss]] = []
        self._has_warned = False

    @property
    def updater(self) -> Updater:
        """Owns the committed state."""
        assert self._updater is not None, "load a task first"
        return self._updater

    @property
    def assignment(self) -> Assignment:
        """The shards of each worker that computes now."""
        return self._assignment

    # Loading

    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        """Give every worker the task and access to the data; workers lost before are replaced.

        Those that hold it already, or one that differs in the seed only, are given seed and data.
        """
        if self._updater is not None and self._updater.task.key == task.key:
            self._updater.take_task(task)
        else:
            traced = None if task.objective is None else ShardRunner(task, {}).training
            self._updater = Updater(task, traced)
            self._exchange.begin(self._updater)
            self._holders, self._warm_machines, self._warm_methods = set(), set(), set()
        self._updater.begin(state)
        self._sizes = {name: (one.num_samples, one.cuts) for name, one in data.items()}
        self._crew.recruit(self._options.workers)
        if "train" in data:
            self._warn_of_idle(task.batching.shards)
        self._hand_out(task, data)
        self._join()
        new = set(self._crew.workers) - self._holders
        if "train" in data and task.objective is not None:
            self._exchange.prepare()
            if not task.eager:
                self._warm_up(new)
        self._holders = set(self._crew.workers)

    def take_batches(self, name: str, data: ArrayData, batching: Batching | None) -> None:
        """Send other batches to all workers, in the place of the named data."""
        if batching is not None:
            self.updater.take_task(replace(self.updater.task, batching=batching))
        self._sizes[name] = (data.num_samples, data.cuts)
        request = Request("take_batches", (batching, name, self._crew.share(data)))
        self._ask_all(dict.fromkeys(self._crew.workers, request), "sending batches")

    def _hand_out(self, task: Task, data: Mapping[str, ArrayData]) -> None:
        handles = self._shared.handles(data.values())
        again = Request("take_data", (task.batching, list(data), *handles))
        requests = dict.fromkeys(self._holders, again)
        new = set(self._crew.workers) - self._holders
        if new:
            packed = self._crew.share(_packed(task))
            load = Request("load", (list(sys.path), packed, list(data), *handles))
            requests |= {worker: load for worker in new}
        self._ask_all(requests, "loading")

    def close(self) -> None:
        """Let go of all that was shared with the workers, memory included."""
        self._shared = SharedData(self._crew)
        self._exchange.join({})
        self._updater = None

    def _warn_of_idle(self, shards: int) -> None:
        idle = self._options.workers - shards
        if idle > 0 and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{self._options.workers} workers for {shards} shard{'s' if shards > 1 else ''}: "
                f"{idle} stay{'s' if idle == 1 else ''} idle. Ask for at least as many shards as workers.",
                stacklevel=4,
            )

    def _join(self) -> None:
        """Begin a generation with the workers that are left."""
        workers = self._crew.workers.values()
        task = self.updater.task
        self._assignment = assign(workers, task.batching.shards, task.threads)
        self._exchange.join(self._assignment)
        spares = len(workers) - len(self._assignment)
        logger.debug("shards by worker: %s; %d spare", self._assignment, spares)

    def _warm_up(self, new: set[int]) -> None:
        """Let two processes of each machine share the compiling of kernels; the others find them."""
        first = self._first_of_machines(new)
        leaders = {w for machine, w in first.items() if machine not in self._warm_machines}
        seconds = self._first_of_machines(new - set(first.values()))
        partners = {w for machine, w in seconds.items() if machine not in self._warm_machines}
        state = self.updater.state
        weights = self._crew.share(state.weights)
        for group in (leaders | partners, new - leaders - partners):
            requests = {
                w: Request(
                    "warm_up", (state.step, self._assignment.get(w, (0, 1))[0], weights, w in partners)
                )
                for w in group
                if w in self._crew.workers
            }
            self._ask_all(requests, "warming up")
        self._warm_machines |= set(first)

    def _first_of_machines(self, workers: Iterable[int]) -> dict[str, int]:
        """The first worker of each machine."""
        return {self._crew.workers[w].machine: w for w in sorted(workers, reverse=True)}

    def _rehearse(self, method: str, data_name: str, batch_size: int, weights: Any) -> None:
        """The same for kernels that only `method` calls; a worker alone on its machine needs no rehearsal."""
        leaders = set(self._first_of_machines(self._assignment).values())
        if len(leaders) < len(self._assignment) and not self.updater.task.eager:
            requests = {
                w: Request("rehearse", (method, data_name, batch_size, self._assignment[w][0], weights))
                for w in leaders
            }
            self._ask_all(requests, "warming up")

    def _ask_all(self, requests: Mapping[int, Request], work: str) -> None:
        """Ask workers for something that the others need not do in their place."""
        outcomes = self._crew.ask(requests, max(LOAD_DEADLINE_S, self._options.deadline_s))
        raise_first_failure(outcomes, self._assignment)
        losses = losses_of(outcomes, {}, self._crew.workers)
        if losses:
            self._go_on_without(work, losses)

    # Computing

    def run_segment(self, num_steps: int) -> SegmentReport:
        """Commit steps; what a lost generation had not committed is computed again by the next."""
        segment = Segment(self.updater.state.step, num_steps)
        while not segment.is_complete:
            try:
                self._exchange.run(segment)
            except WorkersLost as lost:
                self._go_on_without(f"step {segment.step}", lost.losses)
        return SegmentReport(segment.first_step, segment.fingerprints, self.updater.state.sums.copy())

    def evaluate(self, data_name: str, batch_size: int, before: Array | None = None) -> Array:
        """Loss and metric sums over the named data, added to those `before`."""
        parts = self._compute("evaluate", data_name, batch_size)
        samples, cuts = self._sizes[data_name]
        return total_evaluation(self.updater.task, batches(samples, batch_size, cuts), parts, before)

    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        """The model's outputs for the named data, in its order."""
        return whole_predictions(self._compute("predict", data_name, batch_size))

    def _compute(self, method: str, data_name: str, batch_size: int) -> list[Any]:
        """Every worker's part; all of it again by the others if one is lost."""
        state = self.updater.state
        weights = self._crew.share(state.weights)
        deadline_s = self._options.deadline_s
        if method not in self._warm_methods:  # its kernels may have to be compiled
            deadline_s = max(deadline_s, LOAD_DEADLINE_S)
            self._rehearse(method, data_name, batch_size, weights)
        while True:
            requests = {
                worker: Request(method, (state.step, data_name, batch_size, shards, weights))
                for worker, shards in self._assignment.items()
            }
            outcomes = self._crew.ask(requests, deadline_s)
            raise_first_failure(outcomes, self._assignment)
            losses = losses_of(outcomes, self._assignment, self._crew.workers)
            if not losses:
                self._warm_methods.add(method)
                return _values(outcomes)
            self._go_on_without(f"{method} '{data_name}' at step {state.step}", losses)

    # Losses

    def _go_on_without(self, work: str, losses: Sequence[Loss]) -> None:
        """End lost workers and let the others take their shards.

        Raises:
            EngineError: if that cannot help.
        """
        for loss in losses:
            self._crew.dismiss(loss.worker)
        losses = [*losses, *self._call_the_roll()]
        self._holders &= set(self._crew.workers)
        if work != self._work:
            self._work, self._earlier_losses = work, []
        decision = decide(work, self._earlier_losses, losses, len(self._crew.workers))
        self._earlier_losses.append(losses)
        if decision.action.is_terminal:
            raise EngineError(decision.reason)
        logger.warning("%s", decision.reason)
        self._join()

    def _call_the_roll(self) -> list[Loss]:
        """End the workers that were lost while they had nothing to do: no shard is to blame for them."""
        present = {worker: Request("progress") for worker in self._crew.workers}
        outcomes = self._crew.ask(present, self._options.deadline_s)
        losses = losses_of(outcomes, {}, self._crew.workers, lambda _: "while it had nothing to do")
        for loss in losses:
            self._crew.dismiss(loss.worker)
        return losses


def _values(outcomes: Mapping[int, Outcome]) -> list[Any]:
    return [outcome.value for outcome in outcomes.values() if isinstance(outcome, Answer)]


def _packed(task: Task) -> bytes:
    try:
        return pack(task)
    except Exception as error:
        raise ValueError(
            "the model, its loss or its metrics cannot be sent to other processes "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0]}): keep open files, locks, "
            "threads and generators out of layers and functions"
        ) from error
