"""A recorder that keeps a run in memory as a disk would keep it: copies, and JSON in between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from distnn.recording import Plan, Recorder, Snapshot, SnapshotCheck


@dataclass
class MemoryRecorder(Recorder):
    """Stops and saves where it is told to.

    Args:
        stop_at: the committed step at which to ask for a stop; None never.
        save_at: the committed steps at which to save; epoch ends are saved if they are in it.
        snapshot: to go on from.
        segment: at most so many steps between two looks.
    """

    stop_at: int | None = None
    save_at: tuple[int, ...] = ()
    snapshot: Snapshot | None = None
    segment: int | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    saved: list[Snapshot] = field(default_factory=list)
    fingerprints: dict[int, int] = field(default_factory=dict)
    segments: list[tuple[int, int]] = field(default_factory=list)
    epochs: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    step_logs: list[dict[str, float]] = field(default_factory=list)
    final: Snapshot | None = None
    step: int = 0

    def begin(
        self, recipe: dict[str, Any], plan: Plan, check: SnapshotCheck | None = None
    ) -> Snapshot | None:
        self.recipe, self.plan = through_json(recipe), plan
        self.step = plan.first_step if self.snapshot is None else self.snapshot.step
        return self.snapshot

    def next_checkpoint_step(self, step: int) -> int | None:
        wanted = [s for s in (*self.save_at, self.stop_at) if s is not None and s > step]
        if self.segment is not None:
            wanted.append(step + self.segment)
        return min(wanted, default=None)

    def wants_checkpoint(self, step: int, at_epoch_end: bool) -> bool:
        return step in self.save_at

    def save_checkpoint(self, snapshot: Snapshot) -> None:
        self.saved.append(stored(snapshot))

    def on_steps(
        self, first_step: int, fingerprints: np.ndarray[Any, Any], logs: Mapping[str, float]
    ) -> None:
        assert first_step == self.step, "steps are told once, in order"
        self.step = first_step + len(fingerprints)
        self.segments.append((first_step, self.step))
        self.fingerprints |= {first_step + i: int(value) for i, value in enumerate(fingerprints)}
        self.step_logs.append(dict(logs))

    def on_epoch(self, epoch: int, step: int, logs: Mapping[str, float], duration_s: float) -> None:
        assert step == self.step and duration_s >= 0
        self.epochs.append((epoch, step, dict(logs)))

    def on_event(self, kind: str, **facts: Any) -> None:
        self.events.append(kind)

    def should_stop(self) -> bool:
        return self.stop_at is not None and self.step >= self.stop_at

    def abandon(self, error: BaseException) -> None:
        self.events.append(f"abandoned: {type(error).__name__}")

    def finish(self, snapshot: Snapshot) -> Path:
        self.final = stored(snapshot)
        return Path("model")


def through_json(value: Any) -> Any:
    """What is left of a value after it was written as JSON and read again."""
    return json.loads(json.dumps(value))


def stored(snapshot: Snapshot) -> Snapshot:
    """A snapshot as it comes back from a disk."""
    tensors = {name: np.array(array) for name, array in snapshot.tensors.items()}
    return Snapshot(snapshot.step, tensors, through_json(snapshot.metadata))
