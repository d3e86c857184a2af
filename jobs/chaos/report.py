"""What `distnn chaos` shows: a line per blow, a table of standstills, the verdict."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from jobs.chaos.blows import MEANINGS, Kind
from jobs.chaos.campaign import Result
from jobs.chaos.injectors import Struck


def blow_line(struck: Struck, number: int, of: int) -> str:
    """One blow in a line."""
    place = f" {struck.phase}" if struck.phase else ""
    who = f" {struck.detail}" if struck.detail else ""
    still = "" if struck.standstill_s is None else f"; stood still {struck.standstill_s:.2f} s"
    again = f", {struck.again} steps again" if struck.again else ""
    return f"  {number:>3}/{of}  step {struck.step:<8} {struck.kind.value:<18}{who}{place}{still}{again}"


def result_lines(result: Result, seed: int) -> list[str]:
    """The end of the matter."""
    lines = [f"{'':<20}{'count':>6}{'median':>9}{'90 %':>9}{'most':>9}   standstill in seconds"]
    for kind, found in standstills(result.struck).items():
        figures = [found[name] for name in ("median_s", "p90_s", "most_s")]
        cells = "".join(f"{'-' if f is None else format(f, '.2f'):>9}" for f in figures)
        lines.append(f"{kind:<20}{found['count']:>6}{cells}   {MEANINGS[Kind(kind)]}")
    missed = sum(len(report.missed) for report in result.rounds)
    again = f", {missed} found nobody and were drawn again" if missed else ""
    lines.append(f"{len(result.struck)} blows in {len(result.rounds)} disturbed run(s), seed {seed}{again}")
    if result.trouble:
        return [*lines, *(f"NOT EQUAL: {sentence}" for sentence in result.trouble)]
    steps = result.undisturbed.steps
    return [*lines, f"EQUAL: the model's bytes, each epoch's metrics, the fingerprints of {steps} steps"]


def standstills(struck: Sequence[Struck]) -> dict[str, dict[str, Any]]:
    """Count, median, 90th percentile and most of the standstills of each kind."""
    found = {}
    for kind in Kind:
        of_kind = [one for one in struck if one.kind is kind]
        seconds = sorted(one.standstill_s for one in of_kind if one.standstill_s is not None)
        if of_kind:
            found[kind.value] = {
                "count": len(of_kind),
                "median_s": statistics.median(seconds) if seconds else None,
                "p90_s": seconds[min(len(seconds) - 1, int(0.9 * len(seconds)))] if seconds else None,
                "most_s": seconds[-1] if seconds else None,
                "steps_again": sum(one.again for one in of_kind),
            }
    return found


def result_facts(result: Result, seed: int) -> dict[str, Any]:
    """For programs."""
    return {
        "equal": not result.trouble,
        "trouble": result.trouble,
        "seed": seed,
        "kills": len(result.struck),
        "segments_swept": result.segments_left,
        "missed": [reason for report in result.rounds for reason in report.missed],
        "runs": [str(report.run.path) for report in result.rounds],
        "undisturbed": {
            "run": str(result.undisturbed.run.path),
            "start_s": result.undisturbed.start_s,
            "train_s": result.undisturbed.train_s,
            "steps": result.undisturbed.steps,
        },
        "standstills": standstills(result.struck),
        "blows": [
            {
                "kind": one.kind.value,
                "time": one.time,
                "step": one.step,
                "phase": one.phase,
                "standstill_s": one.standstill_s,
                "steps_again": one.again,
                "detail": one.detail,
            }
            for one in result.struck
        ],
    }
