"""`distnn stop`: asks a run to stop, through its directory; no signal and no server, so from any machine.

The process that writes the run looks for the request twice a second and stops at a commit, with a checkpoint.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from distnn.errors import EngineError
from jobs.rundir import RunDir
from jobs.status import is_being_written, status_or_none

_POLL_S = 0.1


def stop_run(run: RunDir, timeout_s: float) -> dict[str, Any]:
    """Ask, and wait until nobody writes the run any more; how it stands then.

    Raises:
        EngineError: it has not stopped in time; the request stays.
    """
    began = time.monotonic()
    was_running = is_being_written(run)
    if was_running:
        run.stop_request.touch()
    while is_being_written(run):
        if time.monotonic() - began > timeout_s:
            status = status_or_none(run)
            who = f" (process {status.pid} on {status.host})" if status else ""
            raise EngineError(
                f"{run.path}: has not stopped in {timeout_s:g} s; it will at the end of what it is doing{who}"
            )
        time.sleep(_POLL_S)
    with contextlib.suppress(OSError):
        run.stop_request.unlink(missing_ok=True)
    status = status_or_none(run)
    return {
        "run": str(run.path),
        "was_running": was_running,
        "state": None if status is None else status.state.value,
        "step": 0 if status is None else status.step,
    }
