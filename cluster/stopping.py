"""Ends a process of this machine at once, and never another one that was given its pid later."""

from __future__ import annotations

import psutil


def kill_process(pid: int, started: float) -> bool:
    """Send SIGKILL to the process with this pid and start time; False if it is gone already."""
    try:
        process = psutil.Process(pid)
        if abs(process.create_time() - started) > 0.5:
            return False
        process.kill()
    except psutil.Error:
        return False
    return True
