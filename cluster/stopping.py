"""Ends processes of this machine at once: a certain one, and never another that was given its pid later; or
this one, as soon as its parent ends.
"""

from __future__ import annotations

import ctypes
import signal
import sys

import psutil

_PR_SET_PDEATHSIG = 1


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


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel send this signal to this process when its parent ends.

    SIGKILL works even if the process is stopped or hangs then.

    A worker's parent is Ray's process of the node, which an embedded Ray ends with the coordinator: workers
    that can still do anything leave by themselves then, one under SIGSTOP could not.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
