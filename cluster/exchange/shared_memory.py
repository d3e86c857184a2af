"""The exchange within a node: workers share memory and run a segment of steps by themselves.

The coordinator, on the same node, makes the memory, sends the workers off, watches their words and reads
what was committed. A loss ends the generation: the newest committed state moves into new memory, which only
the survivors map. What a worker does at each step is in `shared_steps`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from cluster.assignment import Assignment
from cluster.crew import Crew, Request, Watch
from cluster.exchange.exchange import Exchange, Segment, WorkersLost
from cluster.exchange.phases import is_computing, phase
from cluster.exchange.segment import (
    FINGERPRINTS,
    MAPPING_S_PER_BYTE,
    SharedLayout,
    SharedMemoryError,
    SharedSegment,
    check_room,
)
from cluster.exchange.shared_steps import barriers_per_step, shared_layout
from cluster.failures import losses_of, raise_first_failure
from cluster.patience import Patience
from cluster.progress import Looks
from cluster.transport import pack
from distnn.kernels.waiting import LINE, read_word, write_word
from distnn.updater import Updater


class SharedMemoryExchange(Exchange):
    """One call of every worker for a whole segment.

    Args:
        crew: where the workers are; those that are joined must be on this node.
        patience: how long a worker may hold up the others.
    """

    def __init__(self, crew: Crew, patience: Patience) -> None:
        self._crew = crew
        self._patience = patience
        self._assignment: Assignment = {}
        self._updater: Updater | None = None
        self._generation: _Generation | None = None
        self._num_generations = 0

    def begin(self, updater: Updater) -> None:
        self._updater = updater
        self._generation = None

    def join(self, assignment: Assignment) -> None:
        self._assignment = dict(assignment)
        self._generation = None

    def prepare(self) -> None:
        _check_together(self._crew, self._assignment)
        check_room(self._layout().num_bytes)

    def run(self, segment: Segment) -> None:
        while segment.left:
            generation = self._generation or self._start_generation()
            count = min(FINGERPRINTS, segment.left)
            self._run_steps(generation, segment, count)

    @property
    def _running(self) -> Updater:
        assert self._updater is not None, "begin comes before run"
        return self._updater

    # Generations

    def _start_generation(self) -> _Generation:
        """New memory with the committed state in it, mapped by every worker.

        Raises:
            SharedMemoryError: if there is no room, or a worker cannot reach it.
            WorkersLost: as ever.
        """
        updater, assignment = self._running, self._assignment
        _check_together(self._crew, assignment)
        ranges, layout = list(assignment.values()), self._layout()
        self._num_generations += 1
        memory = SharedSegment.create(layout, self._num_generations)
        try:
            arguments = (memory.path, layout, self._num_generations, ranges)
            requests = {
                worker: Request("attach", (*arguments, rank)) for rank, worker in enumerate(assignment)
            }
            deadline_s = self._patience.seconds + layout.num_bytes * MAPPING_S_PER_BYTE
            outcomes = self._crew.ask(requests, deadline_s)
        finally:
            memory.forget_name()
        losses = losses_of(outcomes, {}, self._crew.workers, lambda _: "while it mapped the memory")
        if losses:
            raise WorkersLost(losses)
        raise_first_failure(outcomes, assignment)
        even, odd = memory.states
        updater.move_to((even, odd))
        self._generation = _Generation(memory, list(assignment), barriers_per_step(updater.plan))
        return self._generation

    def _layout(self) -> SharedLayout:
        updater = self._running
        assert updater.traced is not None, "only a training task has steps"
        ranges = list(self._assignment.values())
        return shared_layout(updater.plan, updater.traced.sums_layout, updater.state.slots, ranges)

    # Steps

    def _run_steps(self, generation: _Generation, segment: Segment, count: int) -> None:
        updater = self._running
        state = updater.state
        arguments = (state.step, count, state.iterations, pack(updater.plan.optimizer))
        generation.forget_trouble()
        began, watch = time.monotonic(), generation.watch(self._patience)
        is_whole = False
        try:
            outcomes = self._crew.ask(
                {worker: Request("run_steps", arguments) for worker in self._assignment},
                self._patience.seconds,
                watch,
            )
            done = generation.steps_before_trouble(state.step)
            expected = count if done is None else done + 1
            is_whole = watch.least() - watch.begun == expected * generation.barriers
        finally:
            # Whatever happened, Ctrl-C included: what the words say is committed, and nothing else.
            if not is_whole:
                watch.release()
                self._generation = None
            committed = (watch.least() - watch.begun) // generation.barriers
            before = generation.steps_before_trouble(state.step)
            segment.has_trouble = is_whole and before is not None
            committed = committed if before is None else min(committed, before)
            updater.follow(state.step + committed, state.iterations + committed)
            parts = generation.memory.fingerprints[:, :committed]
            segment.commit(parts.sum(axis=0, dtype=np.uint64))
            self._patience.took(committed, time.monotonic() - began if is_whole else None)
        raise_first_failure(outcomes, self._assignment)
        at = {worker: watch.place(worker, generation.barriers, count) for worker in self._assignment}
        losses = losses_of(
            outcomes,
            {worker: shards for worker, shards in self._assignment.items() if is_computing(*at[worker])},
            self._crew.workers,
            lambda worker: phase(self._assignment[worker], *at[worker]),
        )
        if losses:
            raise WorkersLost(losses)
        assert is_whole, "workers left a generation that nobody had ended"


class _Generation:
    """One membership of workers, and the memory it shares.

    Attributes:
        memory: what they share.
        barriers: how far a worker's word grows with each step.
    """

    def __init__(self, memory: SharedSegment, workers: Sequence[int], barriers: int) -> None:
        self.memory = memory
        self.barriers = barriers
        self._ranks = {worker: rank for rank, worker in enumerate(workers)}

    def watch(self, patience: Patience) -> _Words:
        return _Words(self.memory, self._ranks, patience, self.barriers)

    def steps_before_trouble(self, first_step: int) -> int | None:
        """How many steps from `first_step` on were well, if one was not."""
        word = int(read_word(self.memory.words, self.memory.layout.trouble))
        return word - 1 - first_step if word else None

    def forget_trouble(self) -> None:
        """Nobody runs steps."""
        write_word(self.memory.words, self.memory.layout.trouble, 0)


class _Words(Watch):
    """What the workers' words tell while they run steps.

    Attributes:
        begun: what all words were before.
    """

    def __init__(
        self, memory: SharedSegment, ranks: dict[int, int], patience: Patience, barriers: int
    ) -> None:
        self._memory = memory
        self._ranks = ranks
        self._patience = patience
        self._barriers = barriers
        now = time.monotonic()
        self._seen = {worker: (self._read(worker), now) for worker in ranks}
        self.begun = self.least()
        self._looks = Looks()

    def _read(self, worker: int) -> int:
        return int(read_word(self._memory.words, self._ranks[worker] * LINE))

    def least(self) -> int:
        """Barriers that everybody has reached."""
        return min(self._read(worker) for worker in self._ranks)

    def place(self, worker: int, barriers: int, steps: int) -> tuple[int, int, int, int]:
        """Where a worker is in a call of so many steps, for `phase`."""
        mine = self._read(worker)
        others = min((self._read(one) for one in self._ranks if one != worker), default=mine)
        return mine - self.begun, others - self.begun, barriers, steps

    def release(self) -> None:
        write_word(self._memory.words, self._memory.layout.abort, 1)
        # Who waited for the lost one is not to blame for that; it has as long again to leave.
        self._count_anew()

    def _count_anew(self) -> None:
        now = time.monotonic()
        self._seen = {worker: (self._read(worker), now) for worker in self._ranks}

    def late(self, workers: Iterable[int], deadline_s: float) -> dict[int, float]:
        """Only who is behind is late, not who waits for it. A task's first step has as long as loading."""
        if not self._patience.has_begun and self.least() - self.begun < self._barriers:
            deadline_s = self._patience.now_s
        if self._looks.were_missed(deadline_s):
            self._count_anew()
        now = time.monotonic()
        for worker, (value, _) in self._seen.items():
            current = self._read(worker)
            if current != value:
                self._seen[worker] = (current, now)
        waiting = {worker: self._seen[worker] for worker in workers}
        behind = min(value for value, _ in waiting.values())
        return {
            worker: now - since
            for worker, (value, since) in waiting.items()
            if value == behind and now - since >= deadline_s
        }


def _check_together(crew: Crew, assignment: Assignment) -> None:
    """All workers must be where the coordinator is."""
    elsewhere = [worker for worker in assignment if crew.workers[worker].node != crew.here]
    if elsewhere:
        raise SharedMemoryError(
            f"exchange='shared_memory' needs all workers on the coordinator's node; not there: "
            f"{', '.join(str(crew.workers[worker]) for worker in elsewhere)}. Use exchange='auto'"
        )
