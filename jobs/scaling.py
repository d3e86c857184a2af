"""`distnn scale`: a live run is asked, through its directory, to go on with another number of workers.

The bytes do not change. The request is a file that the run takes away as it reads it; what it did is in its
journal.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from distnn import incidents
from distnn.errors import RunDirectoryError
from jobs.errors import RequestError
from jobs.journal import Followed
from jobs.lifecycle import ENGINE_READY
from jobs.rundir import RunDir
from jobs.status import is_being_written

LOOK_EVERY_S = 0.25
"""How often a run looks for a request."""
_ANSWER_S = 10.0


class ScaleRequests:
    """The side of the run that is asked. A request from before it lived is none."""

    def __init__(self, run: RunDir, clock: Callable[[], float]) -> None:
        self._run = run
        self._clock = clock
        self._looked = clock()
        run.scale_request.unlink(missing_ok=True)

    def take(self) -> int | None:
        """How many workers are asked for since the last call, if anybody asks; looks now and then."""
        now = self._clock()
        if now - self._looked < LOOK_EVERY_S:
            return None
        self._looked = now
        asked = self._taken() if os.path.exists(self._run.scale_request) else None
        workers = asked.get("workers") if isinstance(asked, dict) else None
        return workers if isinstance(workers, int) and workers > 0 else None

    def _taken(self) -> Any:
        """What was asked for, moved away first: a request that comes meanwhile is the next."""
        taken = self._run.taken_scale_request
        with contextlib.suppress(OSError, RunDirectoryError):
            os.replace(self._run.scale_request, taken)
            try:
                return self._run.read_json(taken)
            finally:
                taken.unlink()
        return None


def scale(run: RunDir, workers: int, *, answer_s: float = _ANSWER_S) -> list[str]:
    """Ask a live run for so many workers, and wait a little for what it says; lines for people.

    Raises:
        RequestError: the run is not live, has no workers of its own, or must have more.
    """
    if not is_being_written(run):
        raise RequestError(f"{run.name} is not live: nobody computes it, so it has no workers to scale")
    events = Followed(run.events)
    records = events.records
    begun = [record for record in records if record.get("kind") in ("attempt", ENGINE_READY)]
    ready = begun[-1] if begun else {}
    if ready.get("kind") != ENGINE_READY:
        raise RequestError(f"{run.name} is just starting: ask again when it computes (`distnn status`)")
    if "max_workers" not in ready:
        raise RequestError(f"{run.name} computes in one process and has no workers to scale")
    least, most = int(ready["min_workers"]), int(ready["max_workers"])
    if workers < least:
        raise RequestError(
            f"{run.name} needs at least {least} workers ([cluster] workers.min): {workers} given"
        )
    lines = _remarks(run, workers, most)
    run.write_json(run.scale_request, {"workers": workers}, durable=False)
    answer = _answer(run, events, len(records), answer_s)
    if answer is None:
        return [*lines, f"{run.name} has been asked, and will do so when its step under way is done"]
    return [*lines, f"{run.name} goes on with {answer} worker{'' if answer == 1 else 's'}"]


def _remarks(run: RunDir, workers: int, most: int) -> list[str]:
    lines = []
    shards = _shards(run)
    if workers > most:
        lines.append(f"{workers} are more than the most that the run was begun with, {most}: it takes {most}")
    if shards is not None and min(workers, most) > shards:
        lines.append(
            f"the run has {shards} shard{'' if shards == 1 else 's'}: more workers than that stay spares"
        )
    return lines


def _shards(run: RunDir) -> int | None:
    recipe: Any = run.read_json(run.recipe) or {}
    shards = recipe.get("batching", {}).get("shards")
    return None if shards is None else int(shards)


def _answer(run: RunDir, events: Followed, seen: int, answer_s: float) -> int | None:
    """What the run says it goes on with, if it says so in time."""
    limit = time.monotonic() + answer_s
    while True:
        for record in events.records[seen:]:
            if record.get("kind") == incidents.SCALED:
                return int(record["to"])
        if time.monotonic() >= limit or not is_being_written(run):
            return None
        time.sleep(0.05)
