"""Processes that are killed at a chosen call, as the kernel kills: no handler, no clean-up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from distnn.updater import Updater

CALLS = ("open", "write", "fsync", "replace", "ftruncate", "unlink")
"""Of `os`: all ways in which a run directory is changed."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills the process at the n-th of the calls it wraps."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.lock = threading.Lock()

    def passes(self) -> bool:
        """Whether this call is not the last one."""
        with self.lock:
            self.left -= 1
            return self.left != 0

    def wrap(self, call: Callable[..., Any], is_torn: bool = False) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if not self.passes():
                if is_torn:  # half of a write has reached the file
                    call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                die()
            return call(*arguments, **named)

        return counted


def dying_at_file_call(count: int) -> Countdown:
    """From now on the n-th call that touches a file kills this process; every other write is torn."""
    countdown = Countdown(count)
    for name in CALLS:
        setattr(os, name, countdown.wrap(getattr(os, name), is_torn=name == "write" and count % 2 == 0))
    return countdown


def dying_in_step(count: int) -> Countdown:
    """From now on the n-th update kills this process: every odd one before it is committed, others after."""
    countdown = Countdown(count)
    update = Updater.update

    def counted(updater: Updater, total: Any) -> int:
        is_last = not countdown.passes()
        if is_last and count % 2:
            die()
        fingerprint = update(updater, total)
        if is_last:
            die()
        return fingerprint

    Updater.update = counted  # type: ignore[method-assign]
    return countdown


def in_child(work: Callable[[], object]) -> int:
    """Do `work` in a forked process; what `os.waitpid` said of its end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def is_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def calls_of(work: Callable[[], object]) -> int:
    """How many calls that touch files `work` makes; it is done in a process of its own."""
    reader, writer = os.pipe()

    def counted() -> None:
        countdown = dying_at_file_call(1 << 60)
        work()
        with os.fdopen(writer, "w") as out:
            out.write(str((1 << 60) - countdown.left))

    assert in_child(counted) == 0
    os.close(writer)
    with os.fdopen(reader) as found:
        return int(found.read())
