"""What is wrong with the files of a run that is gone on with; each is told as an event, or in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from distnn.recording import Snapshot
from jobs.journal import Contents
from jobs.rundir import RunDir


def missing_files(run: RunDir) -> list[str]:
    """Names of the files that a run with checkpoints has and this one has not."""
    if not run.checkpoint_steps():
        return []
    files = [
        file for file in (run.events, run.steps, run.status) if not file.is_file() or not file.stat().st_size
    ]
    return [file.name for file in files] + ([] if run.metrics.is_file() else [run.metrics.name])


def tell_of_damage(
    missing: list[str], events: Contents, on_event: Callable[..., None], warn: Callable[[str], None]
) -> None:
    """Of what was found when the run was opened."""
    for name in missing:
        on_event("file-missing", file=name)
        warn(f"{name} of this run is missing or empty; it is written anew")
    for number in damaged_lines(events):
        on_event("damaged-line", file="events.jsonl", line=number)


def damaged_lines(contents: Contents) -> Iterator[int]:
    """Numbers (from 1) of lines that are left out; a torn last one is cut."""
    yield from contents.damaged
    if contents.is_torn:
        yield len(contents.lines) + len(contents.damaged) + 1


def is_beyond(record: Mapping[str, Any], step: int, snapshot: Snapshot | None) -> bool:
    """Whether a line of the metrics tells of what comes after a snapshot of `step`.

    One that was saved in a validation is of the epoch's last step, and the epoch is not over.
    """
    if record.get("step", 0) > step:
        return True
    training = {} if snapshot is None else snapshot.metadata.get("training", {})
    is_open = bool(training.get("is_within_epoch")) and record.get("kind") == "epoch"
    return is_open and record.get("epoch", -1) >= training["epoch"]


def lost_epochs(metrics: Contents, snapshot: Snapshot | None) -> str:
    """The epochs that were over at a snapshot and have no line in the metrics, counted from 1: "2-7, 9"."""
    done = [] if snapshot is None else snapshot.metadata.get("training", {}).get("epochs", [])
    there = {record.get("epoch") for record in metrics.records if record.get("kind") == "epoch"}
    runs: list[list[int]] = []
    for epoch in (epoch + 1 for epoch in done if epoch not in there):
        if runs and runs[-1][-1] == epoch - 1:
            runs[-1][1:] = [epoch]
        else:
            runs.append([epoch])
    return ", ".join("-".join(map(str, run)) for run in runs)
