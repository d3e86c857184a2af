"""The checkpoints of a run: saved whole, checked when read, the older ones removed.

A checkpoint knows the recipe it belongs to; a damaged or foreign one is named, and the one before is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distnn.checkpoint import load_tensors, save_tensors
from distnn.errors import CheckpointError
from distnn.recording import Snapshot
from jobs.rundir import RunDir

_RECIPE_KEY = "recipe_digest"


class CheckpointStore:
    """The checkpoint files of a run with the given recipe; `keep` of them stay."""

    def __init__(self, run: RunDir, recipe_digest: str, keep: int) -> None:
        self._run = run
        self._recipe_digest = recipe_digest
        self._keep = keep

    def save(self, snapshot: Snapshot) -> Path:
        """Write a checkpoint, then remove those that are too many.

        Raises:
            OSError: it could not be written; the ones before are untouched.
        """
        path = self._run.checkpoint(snapshot.step)
        save_tensors(path, snapshot.tensors, {**snapshot.metadata, _RECIPE_KEY: self._recipe_digest})
        for step in self._run.checkpoint_steps()[: -self._keep]:
            with contextlib.suppress(FileNotFoundError):
                self._run.checkpoint(step).unlink()
        return path

    def load_newest(self, last_step: int, on_unusable: Callable[[Path, str], None]) -> Snapshot | None:
        """The newest checkpoint that is whole, of this recipe, and not beyond `last_step`.

        Args:
            last_step: of what else the run directory holds.
            on_unusable: told of each file that is passed over, with the reason.
        """
        for step in reversed(self._run.checkpoint_steps()):
            path = self._run.checkpoint(step)
            if step > last_step:
                on_unusable(path, f"the steps before it are recorded only up to {last_step}")
                continue
            try:
                return self._load(path, step)
            except CheckpointError as error:
                on_unusable(path, str(error))
        return None

    def remove_after(self, step: int) -> None:
        """Remove what lies beyond `step`."""
        for other in self._run.checkpoint_steps():
            if other > step:
                self._run.checkpoint(other).unlink()

    def _load(self, path: Path, step: int) -> Snapshot:
        tensors, metadata = load_tensors(path)
        facts: dict[str, Any] = dict(metadata)
        if facts.pop(_RECIPE_KEY, None) != self._recipe_digest:
            raise CheckpointError(f"{path}: belongs to another run (its recipe differs)")
        if facts.get("step", step) != step:
            raise CheckpointError(f"{path}: is the checkpoint of step {facts['step']}, renamed")
        return Snapshot(step, tensors, facts)
