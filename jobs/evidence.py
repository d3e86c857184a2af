"""What a run directory holds to compare with what is computed again, and what is known of its machines."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distnn.errors import ResumeMismatchError
from distnn.recording import Evidence, SnapshotCheck
from jobs.checkpoints import CheckpointStore
from jobs.rundir import RunDir, command_name
from jobs.steplog import StepLog, read_steps


def gather_evidence(
    store: CheckpointStore, steps: StepLog, begun: int, check: SnapshotCheck | None
) -> Evidence | None:
    """The recorded fingerprints and the checkpoints before step `begun`; None if nothing was recorded.

    A file that a power cut left longer than what was written ends in zeros: these are no fingerprints. Where
    a checkpoint has told that the record is damaged, only what the usable ones rest on counts.
    """
    fingerprints = read_steps(steps.file.path)
    zeros = np.flatnonzero(fingerprints[begun - steps.first_step :] == 0)
    if len(zeros):
        fingerprints = fingerprints[: begun - steps.first_step + int(zeros[0])]
    if store.steps_are_damaged:
        fingerprints = fingerprints[: begun - steps.first_step]
    if not len(fingerprints):
        return None
    return Evidence(steps.first_step, fingerprints, lambda: store.earlier(begun, steps, check))


def reasons(changes: Sequence[str]) -> str:
    """Why a difference may be, in words."""
    if changes:
        return f"what is known to have changed: {'; '.join(changes)}"
    return "nothing that the run knows of has changed: look at code of your own, or at the machine"


def refusal(run: RunDir, text: str, why: str) -> ResumeMismatchError:
    """Nothing goes on; how it could."""
    return ResumeMismatchError(
        f"{run.path}: {text} ({why}). The run is as it was. To go on all the same, to a model that no "
        f"unbroken run would give: distnn resume {command_name(run)} --accept-changes, or "
        "fit(..., accept_changes=True)"
    )


def cpu_name() -> str:
    """The CPU's own name for itself; empty if it has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def changed_place(events: Sequence[Mapping[str, Any]], place: Mapping[str, str]) -> list[str]:
    """Host and CPU, if they are not those of the attempt before."""
    attempts = [event for event in events if event.get("kind") == "attempt"]
    if not attempts:
        return []
    before = attempts[-1]
    return [
        f"{key}: {before[key]} -> {value}"
        for key, value in place.items()
        if before.get(key) not in (None, value)
    ]
