"""`distnn ls`, `status` and `logs`: what run directories say about their runs. Reads only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TextIO

from jobs.rundir import RunDir, list_runs
from jobs.status import State, Status, is_being_written, status_or_none

INTERRUPTED = "INTERRUPTED"
"""Shown for a run that says it is going though nobody writes it: its process died."""

_COLUMNS = ("run", "state", "step", "epoch", "figures", "age")


def shown_state(run: RunDir, status: Status | None) -> str:
    """The state a reader should see."""
    if status is None:
        return State.QUEUED.value
    if not status.state.is_terminal and status.state is not State.QUEUED and not is_being_written(run):
        return INTERRUPTED
    return status.state.value


def describe_run(run: RunDir) -> dict[str, Any]:
    """What is known of a run, for programs."""
    status = status_or_none(run)
    facts: dict[str, Any] = {"name": run.name, "path": str(run.path), "state": shown_state(run, status)}
    if status is not None:
        facts |= {key: value for key, value in status.to_plain().items() if key != "state"}
    facts["model"] = str(run.model) if run.model.is_file() else None
    facts["checkpoints"] = run.checkpoint_steps()
    return facts


def list_lines(now: Callable[[], float] = time.time) -> list[str]:
    """A line per run under the run root, oldest first."""
    rows = [_row(describe_run(run), now()) for run in list_runs()]
    table = [_COLUMNS, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(_COLUMNS))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]


def status_lines(run: RunDir, now: Callable[[], float] = time.time) -> list[str]:
    """A run in some lines for people."""
    facts = describe_run(run)
    lines = [f"{facts['name']}: {facts['state']}", f"  path      {facts['path']}"]
    if "step" in facts:
        lines.append(
            f"  progress  step {facts['step']} of {facts['total_steps']}, epoch {facts['epoch']} of "
            f"{facts['epochs']}"
        )
        lines.append(f"  figures   {_figures(facts['logs']) or 'none yet'}")
        if facts["workers"] or facts["losses"]:
            lost = f", {facts['losses']} lost in this attempt" if facts["losses"] else ""
            lines.append(f"  workers   {facts['workers']} computing{lost}")
        lines.append(
            f"  heartbeat {_age(now() - facts['time'])} ago, from process {facts['pid']} on {facts['host']}, "
            f"attempt {facts['attempt']}"
        )
    if facts.get("message"):
        lines.append(f"  message   {facts['message']}")
    lines.append(f"  saved at  {', '.join(f'step {step}' for step in facts['checkpoints']) or 'no step yet'}")
    if facts["model"]:
        lines.append(f"  model     {facts['model']}")
    elif facts["state"] in (INTERRUPTED, State.STOPPED.value, State.FAILED.value):
        lines.append("  go on with `distnn resume`")
    return lines


def follow_logs(run: RunDir, out: TextIO, *, follow: bool, poll_s: float = 0.3) -> None:
    """Copy the logs of all attempts to `out`; with `follow`, until the run is not written any more."""
    shown: dict[str, int] = {}
    while True:
        # Asked before reading, so that what was written last is not missed.
        goes_on = follow and is_being_written(run)
        for file in sorted(run.logs.glob("attempt-*.log")):
            with file.open(encoding="utf-8", errors="replace") as opened:
                opened.seek(shown.get(file.name, 0))
                out.write(opened.read())
                shown[file.name] = opened.tell()
        out.flush()
        if not goes_on:
            return
        time.sleep(poll_s)


def _row(facts: dict[str, Any], now: float) -> tuple[str, ...]:
    has_step = "step" in facts
    return (
        facts["name"],
        facts["state"],
        f"{facts['step']}/{facts['total_steps']}" if has_step else "-",
        f"{facts['epoch']}/{facts['epochs']}" if has_step else "-",
        _figures(facts.get("logs", {})) or "-",
        _age(now - facts["time"]) if has_step else "-",
    )


def _figures(logs: dict[str, Any]) -> str:
    held_out = {name: value for name, value in logs.items() if name.startswith("val_")}
    chosen = held_out or logs
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, (int, float)) else f"{name} {value}"
        for name, value in sorted(chosen.items())
    )


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
