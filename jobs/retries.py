"""`--retries`: a process that starts a run's process again after a crash, and does nothing else.

A crash is a process that was killed (by the kernel for want of memory, by an operator, by a bug in native
code), or a run whose engine failed. A wrong request, the user's own error, a full disk and a stop are no
crashes: the same would come again, or was wanted. The run goes on from its newest checkpoint each time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from cluster.stopping import end_with_parent
from jobs import journal
from jobs.errors import ENGINE, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REQUEST, EXIT_STOPPED
from jobs.rundir import RunDir

SUPERVISED_VARIABLE = "DISTNN_SUPERVISED_BY"
"""In the environment of the run's process: the pid of the one that starts it again."""
CRASH_VARIABLE = "DISTNN_AFTER_CRASH"
"""The same after a crash: what happened."""
MAX_PAUSE_S = 30.0
_OWN = (EXIT_DONE, EXIT_FAILED, EXIT_REQUEST, EXIT_STOPPED, EXIT_INTERRUPTED)


def supervise(
    arguments: Sequence[str],
    run: RunDir,
    retries: int,
    err: TextIO,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run `distnn ARGUMENTS` in a process of its own, again after each crash; returns its exit code.

    Args:
        arguments: of a command that begins `run` or goes on with it.
        run: where it is kept.
        retries: how often to start again.
        err: for people.
        sleep: waits before the second try and later ones.
    """
    crash = ""
    for tries in range(retries + 1):
        if tries > 1:
            sleep(min(2.0 ** (tries - 2), MAX_PAUSE_S))
        child = _Child(arguments, crash)
        code = child.wait()
        if child.was_stopped:
            return code if code in _OWN else child.stop_code
        crash = crash_of(code, run)
        if not crash:
            return code
        if tries < retries:
            err.write(f"distnn: {crash}: going on from the last checkpoint ({tries + 1} of {retries})\n")
        else:
            err.write(f"distnn: {crash}, after {retries} retries: go on with `distnn resume`\n")
        err.flush()
    return EXIT_FAILED


def crash_of(code: int, run: RunDir) -> str:
    """What happened, in words, if an exit code means a crash; else the empty string."""
    if code < 0:
        return f"the run's process was killed ({signal.Signals(-code).name})"
    if code not in _OWN:
        return f"the run's process ended with exit code {code}"
    if code == EXIT_FAILED:
        for record in reversed(journal.read(run.events).records):
            if record.get("kind") == "failed":
                return str(record["message"]) if record.get("cause") == ENGINE else ""
            if record.get("kind") == "attempt":
                break
    return ""


def settle_in() -> str | None:
    """In the run's process: stop when the supervisor is gone. Returns the crash before, or the empty string.

    None if nobody supervises.
    """
    parent = os.environ.pop(SUPERVISED_VARIABLE, None)
    if parent is None:
        return None
    end_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):
        raise SystemExit(EXIT_STOPPED)
    return os.environ.pop(CRASH_VARIABLE, "")


class _Child:
    """The run's process, in a group of its own, so that Ctrl-C reaches it once: passed on by this one."""

    def __init__(self, arguments: Sequence[str], crash: str) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        environment = {**os.environ, SUPERVISED_VARIABLE: str(os.getpid())}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        if crash:
            environment[CRASH_VARIABLE] = crash
        self._stops: list[int] = []
        self._delivered = 0
        self._process: subprocess.Popen[bytes] | None = None
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._pass_on) for number in numbers}
        command = [sys.executable, "-m", "jobs", *arguments]
        self._process = subprocess.Popen(command, env=environment, process_group=0)
        self._deliver()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._stops.append(number)
        self._deliver()

    def _deliver(self) -> None:
        """Each signal once, whenever it came: this may be called in the middle of itself."""
        while self._process is not None and self._delivered < len(self._stops):
            self._delivered += 1
            self._process.send_signal(self._stops[self._delivered - 1])

    @property
    def was_stopped(self) -> bool:
        return bool(self._stops)

    @property
    def stop_code(self) -> int:
        return EXIT_INTERRUPTED if self._stops[0] == signal.SIGINT else EXIT_STOPPED

    def wait(self) -> int:
        assert self._process is not None
        try:
            return self._process.wait()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
