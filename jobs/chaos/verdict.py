"""Whether two runs came to the same: bytes of the model, figures of each epoch, fingerprints of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs import journal
from jobs.rundir import RunDir
from jobs.steplog import read_steps


@dataclass(frozen=True)
class Verdict:
    """What differs, a sentence each; nothing if the runs are equal."""

    differences: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not self.differences


def compare(expected: RunDir, found: RunDir) -> Verdict:
    """The finished run `found` against the undisturbed one."""
    differences = [*_models(expected, found), *_epochs(expected, found), *_steps(expected, found)]
    return Verdict(tuple(differences))


def _models(expected: RunDir, found: RunDir) -> list[str]:
    if not found.model.is_file():
        return [f"there is no {found.model.name}"]
    if found.model.read_bytes() != expected.model.read_bytes():
        return [f"{found.model.name} has other bytes"]
    return []


def _epochs(expected: RunDir, found: RunDir) -> list[str]:
    ours, theirs = epochs_of(found), epochs_of(expected)
    if len(ours) != len(theirs):
        return [f"{len(ours)} epochs are recorded, {len(theirs)} in the undisturbed run"]
    for one, other in zip(ours, theirs, strict=True):
        if one != other:
            return [f"the metrics of epoch {one['epoch']} differ: {one['logs']}, undisturbed {other['logs']}"]
    return []


def epochs_of(run: RunDir) -> list[dict[str, Any]]:
    """Each epoch's figures, without times."""
    lines = [line for line in journal.read(run.metrics).records if line.get("kind") == "epoch"]
    return [{key: line.get(key) for key in ("epoch", "step", "logs")} for line in lines]


def _steps(expected: RunDir, found: RunDir) -> list[str]:
    ours, theirs = read_steps(found.steps), read_steps(expected.steps)
    if len(ours) != len(theirs):
        return [f"{len(ours)} steps are recorded, {len(theirs)} in the undisturbed run"]
    different = np.flatnonzero(ours != theirs)
    return [f"the weights differ from step {different[0] + 1} on"] if len(different) else []
