"""What all benchmarks share: sides that take turns, medians, tables, the machine. Needs no distnn."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Figures = dict[str, dict[str, list[float]]]
"""By side, then by case (a net, a size): one value per round."""


def take_turns(sides: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int) -> Figures:
    """Let every side measure its cases once per round, so that whatever the machine does meets all alike."""
    found: Figures = {name: {} for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            for case, value in measure().items():
                found[name].setdefault(case, []).append(value)
    return found


def spread(values: Sequence[float] | None, digits: int = 3) -> str:
    """The median (least-most)."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def times_faster(ours: Sequence[float] | None, theirs: Sequence[float] | None) -> str:
    """The ratio of the medians."""
    if not ours or not theirs:
        return "-"
    return f"{statistics.median(theirs) / statistics.median(ours):.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def machine() -> str:
    """The processor, how many of its cores are ours, and how busy they are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"


def add_common_arguments(parser: argparse.ArgumentParser, rounds: int = 5) -> None:
    parser.add_argument("--rounds", type=int, default=rounds, help="in which every side has its turn")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")


def write_figures(options: argparse.Namespace, found: Any) -> None:
    """To the file of `--json`, if one was given."""
    if options.json:
        facts = {"machine": machine(), "options": vars(options), "figures": found}
        options.json.write_text(json.dumps(facts, indent=1, default=str) + "\n")
