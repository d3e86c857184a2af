"""Outcomes of an attempt turned into what the caller sees: an exception of the user's code, or losses.

A failure of the user's code comes before losses: it would come again on the survivors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from cluster.assignment import Assignment
from cluster.crew import Died, Failed, Failure, Outcome, Silent, WorkerInfo
from cluster.supervision import Loss
from distnn.errors import EngineError, FaultPlace, UserCodeError


def raise_first_failure(outcomes: Mapping[int, Outcome], assignment: Assignment) -> None:
    """Raise what the worker with the lowest shards raised, if any did; the others' failures are dropped.

    Raises:
        UserCodeError: code of the user raised it.
        Exception: a built-in or distnn exception from our own code, with the place as a note, as the
            local engine raises it.
        EngineError: anything else.
    """
    for worker in sorted(outcomes, key=lambda number: assignment.get(number, (0, 0))):
        outcome = outcomes[worker]
        if isinstance(outcome, Failed):
            raise _exception(worker, outcome.failure)


def _exception(worker: int, failure: Failure) -> Exception:
    place = None if failure.place is None else replace(failure.place, worker=worker)
    if failure.user_traceback:
        return UserCodeError(failure.summary, place, failure.user_traceback)
    if failure.error is not None:
        failure.error.add_note(f"distnn: in {_where(worker, place)}")
        return failure.error
    return EngineError(f"{_where(worker, place)}: {failure.summary}\n{failure.traceback.rstrip()}")


def _where(worker: int, place: FaultPlace | None) -> str:
    return f"worker {worker}" if place is None else str(place)


def losses_of(
    outcomes: Mapping[int, Outcome],
    assignment: Assignment,
    workers: Mapping[int, WorkerInfo] = MappingProxyType({}),
    phase_of: Callable[[int], str] = lambda worker: "",
) -> list[Loss]:
    """The workers that died or were silent, in the order of their numbers.

    Args:
        outcomes: of an attempt.
        assignment: the shards that they computed.
        workers: their processes, where known.
        phase_of: what a worker was doing, `while it ...`.
    """
    losses = []
    for worker in sorted(outcomes):
        outcome = outcomes[worker]
        if not isinstance(outcome, Died | Silent):
            continue
        info = workers.get(worker)
        losses.append(
            Loss(
                worker,
                assignment.get(worker, (0, 0)),
                "died" if isinstance(outcome, Died) else "silent",
                outcome.reason if isinstance(outcome, Died) else f"{outcome.seconds:.0f} s",
                0 if info is None else info.pid,
                "" if info is None else info.host,
                phase_of(worker),
                outcome.at,
            )
        )
    return losses
