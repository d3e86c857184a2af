"""What an engine tells while it works, beside its results: workers lost and found, numbers gone wrong.

An incident is told on the thread that trains, at the moment the engine knows of it. The training loop keeps
each as an event of the run; people are told in words, by the logger `distnn`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

WORKER_LOST = "worker-lost"
"""{worker, pid, host, cause: died | silent, detail, phase}"""
RECOVERED = "recovered"
"""{standstill_s: from the notice of the loss to the first step committed after it, workers, work}"""
WORKER_JOINED = "worker-joined"
"""{worker, pid, host, workers}; `workers` compute now"""
WORKER_LEFT = "worker-left"
"""{worker, reason, workers}"""
WAITING = "waiting"
"""{for: what, have: how many workers are there, why}"""
SCALED = "scaled"
"""{to: how many workers are wanted from now on}"""


@dataclass(frozen=True)
class Incident:
    """Something that happened at a step.

    `kind`: what, one of the names above or of another part's own. `step`: the last committed one. `facts`:
    JSON-able.
    """

    kind: str
    step: int
    facts: Mapping[str, Any] = field(default_factory=dict)


Observer = Callable[[Incident], None]
