"""Drives the workers through a task: assigns shards, commits segments, goes on after losses.

The process that called `fit` is the coordinator. It owns the committed state; the workers own nothing that
could not be computed again. Workers join and leave between segments of steps.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cluster.assignment import Assignment, assign
from cluster.crew import Answer, Crew, Outcome, Request, WorkerInfo
from cluster.exchange.exchange import Exchange, Segment, WorkersLost
from cluster.failures import losses_of, raise_first_failure
from cluster.handout import Handout
from cluster.patience import LOAD_DEADLINE_S, Patience
from cluster.recovery import Recovery
from cluster.staff import Staff
from cluster.supervision import Action, Loss, decide
from cluster.warming import Warming
from distnn import incidents
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.engine import EngineOptions, SegmentReport, StopAsked
from distnn.errors import EngineError
from distnn.evaluation import batches, total_evaluation, whole_predictions
from distnn.incidents import Incident, Observer
from distnn.recording import TrainingState
from distnn.reduction import Range
from distnn.shard import ShardRunner
from distnn.sources import Sources
from distnn.task import Task
from distnn.tensor import Array
from distnn.updater import Updater

logger = logging.getLogger("distnn.cluster")

LOOK_EVERY_S = 0.1
"""How often, between segments, newcomers are looked after."""
_WAIT_S = 0.02


class Coordinator:
    """One task after another, on the workers of a crew.

    Args:
        crew: the workers.
        exchange: how gradients are summed.
        options: how many workers, and how long they may be silent.
        patience: that of the exchange.

    Attributes:
        observer: told of incidents.
        should_stop: asked while nothing can be done but wait for workers.
    """

    def __init__(self, crew: Crew, exchange: Exchange, options: EngineOptions, patience: Patience) -> None:
        self._crew = crew
        self._exchange = exchange
        self._options = options
        self._patience = patience
        self._passes: dict[str, Patience] = {}
        self._handout = Handout(crew)
        self._warming = Warming(crew)
        self._staff = Staff(crew, options.workers)
        self._assignment: Assignment = {}
        self._updater: Updater | None = None
        self._recovery = Recovery()
        self._next_look = 0.0
        self._has_warned: set[str] = set()
        self.observer: Observer | None = None
        self.should_stop: Callable[[], bool] | None = None

    @property
    def updater(self) -> Updater:
        """Owns the committed state."""
        assert self._updater is not None, "load a task first"
        return self._updater

    @property
    def assignment(self) -> Assignment:
        """The shards of each worker that computes now."""
        return self._assignment

    def _tell(self, kind: str, **facts: Any) -> None:
        if self.observer is not None:
            self.observer(Incident(kind, self.updater.state.step, facts))

    # Loading

    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        """Give every worker the task and access to the data; workers lost before are replaced.

        Those that hold it already, or one with the same key, are given batching and data.
        """
        holders = set(self._staff.members)
        if self._updater is not None and self._updater.task.key == task.key:
            self._updater.take_task(task)
        else:
            traced = None if task.objective is None else ShardRunner(task, Sources({})).training
            self._updater = Updater(task, traced)
            self._exchange.begin(self._updater)
            self._patience.begin()
            self._passes = {}
            self._warming.begin()
            holders = set()
        self._updater.begin(state)
        self._handout.let_go_of_weights()
        self._handout.take_data(data)
        if "train" in data:
            self._warn_of_idle(task.batching.shards)
        self._gather()
        new = self._hand_out(holders)
        self._join()
        if self._has_steps:
            self._exchange.prepare()
            if not task.eager:
                self._warm_up(new & self._staff.members)
        self._recovered("load")

    @property
    def _has_steps(self) -> bool:
        return "train" in self._handout.data and self.updater.task.objective is not None

    def take_batches(self, name: str, data: ArrayData, batching: Batching | None) -> None:
        """Send other batches to all workers, in the place of the named data."""
        if batching is not None:
            self.updater.take_task(replace(self.updater.task, batching=batching))
        request = self._handout.to_take_batches(name, data, batching)
        self._staff.ask_newcomers(request)
        self._ask_all(dict.fromkeys(self._staff.members, request), "sending batches")

    def _gather(self) -> None:
        """Have as many workers as are wanted and there is room for."""
        wanted = self._staff.wanted
        self._crew.recruit(wanted)
        have = len(self._crew.workers)
        if self._options.min_workers <= have < wanted and "room" not in self._has_warned:
            self._has_warned.add("room")
            warnings.warn(
                f"{self._crew.shortage(wanted)}: going on with {have}, others join when there is room",
                stacklevel=4,
            )

    def _hand_out(self, holders: set[int]) -> set[int]:
        """Let everybody have the task; returns those who had not."""
        self._staff.take_all()
        new = self._staff.members - holders
        task = self.updater.task
        requests = {worker: self._handout.to_load(task) for worker in new}
        again = self._handout.to_take_data(task.batching)
        requests |= dict.fromkeys(holders & self._staff.members, again)
        self._ask_all(requests, "loading")
        minimum = self._options.min_workers
        if len(self._staff.members) < minimum:
            self._wait_for_workers(f"loading: {self._crew.shortage(minimum)}")
        return new

    def _briefing(self, worker: int) -> list[Request]:
        """What a newcomer is asked before it joins: it comes loaded and warm."""
        updater = self.updater
        requests = [self._handout.to_load(updater.task)]
        if self._has_steps and not updater.task.eager:
            requests.append(self._handout.to_warm_up(updater.state))
        return requests

    def close(self) -> None:
        """Let go of all that was shared with the workers, memory included."""
        self._handout = Handout(self._crew)
        self._exchange.join({})
        self._updater = None

    def _warn_of_idle(self, shards: int) -> None:
        idle = self._options.workers - shards
        if idle > 0 and "idle" not in self._has_warned:
            self._has_warned.add("idle")
            warnings.warn(
                f"{self._options.workers} workers for {shards} shard{'s' if shards > 1 else ''}: "
                f"{idle} stay{'s' if idle == 1 else ''} idle. Ask for at least as many shards as workers.",
                stacklevel=4,
            )

    def _join(self) -> None:
        """Begin a generation with the members that are there."""
        self._assignment = self._deal()
        self._exchange.join(self._assignment)
        spares = len(self._staff.members) - len(self._assignment)
        logger.debug("shards by worker: %s; %d spare", self._assignment, spares)

    def _deal(self) -> Assignment:
        task = self.updater.task
        members = [self._crew.workers[worker] for worker in self._staff.members]
        return assign(members, task.batching.shards, task.threads)

    def _warm_up(self, new: set[int]) -> None:
        """Let two processes of each machine share the compiling of kernels; the others find them."""
        state = self.updater.state
        weights = self._crew.share(state.weights)
        for group, partners in self._warming.turns(new):
            requests = {
                w: Request(
                    "warm_up", (state.step, self._assignment.get(w, (0, 1))[0], weights, w in partners)
                )
                for w in group
                if w in self._crew.workers
            }
            self._ask_all(requests, "warming up")

    def _rehearse(self, method: str, data_name: str, batch_size: int, weights: Any) -> None:
        """The same for kernels that only `method` calls; a worker alone on its machine needs no rehearsal."""
        leaders = set(self._warming.first_of_machines(self._assignment).values())
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
        self._look_after_staff()
        segment = Segment(self.updater.state.step, num_steps)
        while not segment.is_over:
            # The first step after a loss by itself, so that it is known when training goes on.
            segment.goal = segment.committed + 1 if self._recovery.is_under_way else num_steps
            try:
                with np.errstate(all="ignore"):  # the report tells what matters
                    self._exchange.run(segment)
            except WorkersLost as lost:
                self._go_on_without_in(segment, lost.losses)
            else:
                self._recovered("step")
        return self._report(segment)

    def _go_on_without_in(self, segment: Segment, losses: Sequence[Loss]) -> None:
        try:
            self._go_on_without(f"step {segment.step}", losses)
        except StopAsked:
            raise StopAsked(self._report(segment)) from None

    def _report(self, segment: Segment) -> SegmentReport:
        committed = segment.fingerprints[: segment.committed]
        sums = self.updater.state.sums.copy()
        return SegmentReport(segment.first_step, committed, sums, segment.has_trouble)

    def evaluate(self, data_name: str, batch_size: int, before: Array | None = None) -> Array:
        """Loss and metric sums over the named data, added to those `before`."""
        parts = self._compute("evaluate", data_name, batch_size)
        return total_evaluation(self.updater.task, self._batches(data_name, batch_size), parts, before)

    def _batches(self, data_name: str, batch_size: int) -> list[Range]:
        data = self._handout.data[data_name]
        return batches(data.num_samples, batch_size, data.cuts)

    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        """The model's outputs for the named data, in its order."""
        return whole_predictions(self._compute("predict", data_name, batch_size))

    def _compute(self, method: str, data_name: str, batch_size: int) -> list[Any]:
        """Every worker's part; all of it again by the others if one is lost."""
        state = self.updater.state
        weights = self._crew.share(state.weights)
        patience = self._passes.setdefault(method, Patience(self._options.deadline_s))
        if not patience.has_begun:  # its kernels may have to be compiled
            self._rehearse(method, data_name, batch_size, weights)
        while True:
            began = time.monotonic()
            requests = {
                worker: Request(method, (state.step, data_name, batch_size, shards, weights))
                for worker, shards in self._assignment.items()
            }
            outcomes = self._crew.ask(requests, patience.now_s)
            raise_first_failure(outcomes, self._assignment)
            losses = losses_of(outcomes, self._assignment, self._crew.workers)
            if not losses:
                patience.took(len(self._batches(data_name, batch_size)), time.monotonic() - began)
                self._recovered(method)
                return _values(outcomes)
            self._go_on_without(f"{method} '{data_name}' at step {state.step}", losses)

    # Who works

    def _look_after_staff(self) -> None:
        """Let those join who are ready, start who is missing, notice spares that died: now and then."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY_S
        losses = self._staff.lost_spares(self._assignment)
        if losses:
            self._dismiss(losses)
            logger.warning("%s", " and ".join(map(str, losses)))
            self._recovered("nothing")
        if not self._staff.is_complete:
            self._let_join(self._staff.look(self._briefing))

    def _let_join(self, workers: Sequence[int]) -> None:
        """They have the task; a new generation begins only if they compute."""
        self._handout.let_go_of_weights()
        if workers and set(self._deal()) != set(self._assignment):
            self._join()
        for worker in workers:
            info = self._crew.workers[worker]
            logger.info("%s joins", info)
            self._tell(incidents.WORKER_JOINED, **info.facts(), workers=len(self._assignment))

    @property
    def members(self) -> list[WorkerInfo]:
        """The workers that hold the task, spares included."""
        return [self._crew.workers[worker] for worker in sorted(self._staff.members)]

    def scale(self, workers: int) -> None:
        """Go on with so many workers, within what the options allow."""
        staff, assignment = self._staff, self._assignment
        staff.wanted = max(self._options.min_workers, min(workers, self._options.workers))
        self._tell(incidents.SCALED, to=staff.wanted)
        leavers = staff.shrink(assignment)
        if set(leavers) & set(assignment):
            self._join()
        for worker in leavers:
            facts = {"worker": worker, "reason": "scaled", "workers": len(self._assignment)}
            self._tell(incidents.WORKER_LEFT, **facts)
        self._next_look = 0.0

    def _wait_for_workers(self, why: str) -> None:
        """Wait until there are as many as the options demand.

        Args:
            why: begins the sentences.

        Raises:
            EngineError: they do not come.
            StopAsked: nobody wants to wait any longer.
        """
        minimum, staff = self._options.min_workers, self._staff
        limit = time.monotonic() + self._options.wait_s
        told, joined = -1, list[int]()
        while (have := len(staff.members)) < minimum:
            if have != told:
                told = have
                noun = "worker" if minimum == 1 else "workers"
                self._tell(incidents.WAITING, **{"for": f"{minimum} {noun}", "have": have, "why": why})
                logger.warning("%s: waiting for %d %s (%d there)", why, minimum, noun, have)
            if self.should_stop is not None and self.should_stop():
                raise StopAsked
            if staff.has_given_up or time.monotonic() >= limit:
                waited = "" if staff.has_given_up else f"after {self._options.wait_s:.0f} s "
                shortage = self._crew.shortage(minimum)
                raise EngineError(
                    f"{why}; {waited}there are {have} of at least {minimum} workers"
                    + ("" if shortage in why else f": {shortage}")
                )
            arrived = staff.look(self._briefing, _WAIT_S)
            joined += arrived
            if not arrived:
                time.sleep(_WAIT_S)
        self._let_join([worker for worker in joined if worker in staff.members])

    # Losses

    def _go_on_without(self, work: str, losses: Sequence[Loss]) -> None:
        """End lost workers and let the others take their shards.

        Raises:
            EngineError: if that cannot help.
        """
        self._dismiss(losses)
        roll = self._call_the_roll()
        self._dismiss(roll)
        losses = [*losses, *roll]
        earlier = self._recovery.attempt(work, losses)
        decision = decide(work, earlier, losses, len(self._staff.members), self._options.min_workers)
        if decision.action.is_terminal:
            raise EngineError(decision.reason)
        if decision.action is Action.WAIT:
            self._wait_for_workers(decision.reason)
        else:
            logger.warning("%s", decision.reason)
        self._join()

    def _dismiss(self, losses: Sequence[Loss]) -> None:
        for loss in losses:
            self._crew.dismiss(loss.worker)
        self._staff.lose()
        for loss in losses:
            self._recovery.lost(loss)
            self._tell(incidents.WORKER_LOST, **loss.facts())

    def _call_the_roll(self) -> list[Loss]:
        """The workers that were lost while they had nothing to do: no shard is to blame for them."""
        present = {worker: Request("progress") for worker in self._staff.members}
        outcomes = self._crew.ask(present, self._patience.seconds)
        return losses_of(outcomes, {}, self._crew.workers, lambda _: "while it had nothing to do")

    def _recovered(self, work: str) -> None:
        """Tell that what was lost has been made good, if anything was."""
        if self._recovery.is_under_way:
            facts = {"standstill_s": self._recovery.end(), "workers": len(self._assignment), "work": work}
            self._tell(incidents.RECOVERED, **facts)


def _values(outcomes: Mapping[int, Outcome]) -> list[Any]:
    return [outcome.value for outcome in outcomes.values() if isinstance(outcome, Answer)]
