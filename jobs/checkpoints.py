"""The checkpoints of a run: saved whole, checked when read, the older ones removed.

A checkpoint knows the recipe it belongs to; a damaged or foreign one is named, and the one before is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from distnn.checkpoint import load_tensors, save_tensors
from distnn.errors import CheckpointError
from distnn.recording import Snapshot, SnapshotCheck
from jobs.rundir import RunDir
from jobs.steplog import StepLog

_RECIPE_KEY = "recipe_digest"
_STEPS_KEY = "steps_digest"


class CheckpointStore:
    """The checkpoint files of a run with the given recipe; `keep` of them stay.

    Attributes:
        steps_are_damaged: a whole checkpoint was met whose record of steps is another.
    """

    def __init__(self, run: RunDir, recipe_digest: str, keep: int) -> None:
        self._run = run
        self._recipe_digest = recipe_digest
        self._keep = keep
        self.steps_are_damaged = False

    def marked(self, snapshot: Snapshot, steps_digest: str) -> Snapshot:
        """The snapshot with what binds it to this run: its recipe, and the fingerprints up to its step."""
        marks = {_RECIPE_KEY: self._recipe_digest, _STEPS_KEY: steps_digest}
        return replace(snapshot, metadata={**snapshot.metadata, **marks})

    def save(self, snapshot: Snapshot) -> Path:
        """Write a `marked` snapshot as a checkpoint, then remove those that are too many.

        Raises:
            OSError: it could not be written; the ones before are untouched.
        """
        path = self._run.checkpoint(snapshot.step)
        save_tensors(path, snapshot.tensors, snapshot.metadata)
        for step in self._run.checkpoint_steps()[: -self._keep]:
            with contextlib.suppress(FileNotFoundError):
                self._run.checkpoint(step).unlink()
        return path

    def load_newest(
        self, steps: StepLog, on_unusable: Callable[[Path, str], None], check: SnapshotCheck | None = None
    ) -> Snapshot | None:
        """The newest checkpoint that is whole, of this recipe, and whose steps are all recorded.

        Args:
            steps: the fingerprints that the run directory holds.
            on_unusable: told of each file that is passed over, with the reason.
            check: see `Recorder.begin`.
        """
        for snapshot in self._usable(steps, on_unusable, check, None):
            return snapshot
        return None

    def earlier(self, step: int, steps: StepLog, check: SnapshotCheck | None) -> Iterator[Snapshot]:
        """The usable checkpoints before `step`, the newest first."""
        return self._usable(steps, lambda path, reason: None, check, step)

    def _usable(
        self,
        steps: StepLog,
        on_unusable: Callable[[Path, str], None],
        check: SnapshotCheck | None,
        before: int | None,
    ) -> Iterator[Snapshot]:
        for step in reversed(self._run.checkpoint_steps()):
            path = self._run.checkpoint(step)
            if before is not None and step >= before:
                continue
            if step > steps.last_step():
                recorded = f"recorded only up to {steps.last_step()} in {self._run.steps.name}"
                on_unusable(path, f"the steps before it are {recorded}")
                continue
            try:
                snapshot = self._load(path, step, steps)
                if check is not None:
                    check(snapshot, steps.fingerprint(step))
            except CheckpointError as error:
                on_unusable(path, str(error))
            else:
                yield snapshot

    def remove_after(self, step: int) -> None:
        """Remove what lies beyond `step`."""
        for other in self._run.checkpoint_steps():
            if other > step:
                self._run.checkpoint(other).unlink()

    def _load(self, path: Path, step: int, steps: StepLog) -> Snapshot:
        tensors, metadata = load_tensors(path)
        facts: dict[str, Any] = dict(metadata)
        if facts.pop(_RECIPE_KEY, None) != self._recipe_digest:
            raise CheckpointError(f"{path}: belongs to another run (its recipe differs)")
        if facts.get("step", step) != step:
            raise CheckpointError(f"{path}: is the checkpoint of step {facts['step']}, renamed")
        if facts.pop(_STEPS_KEY, None) != steps.digest_up_to(step):
            self.steps_are_damaged = True
            raise CheckpointError(f"{path}: the fingerprints in {self._run.steps.name} before it are damaged")
        return Snapshot(step, tensors, facts)
