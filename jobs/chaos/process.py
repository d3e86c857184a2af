"""The processes of a job under test: the one that drives it, and all it has begun."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from jobs.chaos.watch import wait_until
from jobs.retries import SUPERVISED_VARIABLE

FAMILY_VARIABLE = "DISTNN_CHAOS_FAMILY"
"""In the environment of all processes of one attempt, whoever has begun them."""
LAST_LINES = 40
GONE_WITHIN_S = 30.0
RAYS_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own helpers of a node look for its head for a minute after it was killed, then end by themselves."""
_ENDED_WITHIN_S = 8.0


@dataclass(frozen=True)
class Place:
    """Where an attempt computes, as words of the command line."""

    backend: str
    workers: int
    address: str | None = None
    deadline_s: float | None = None

    def words(self) -> list[str]:
        found = ["--backend", self.backend, "--workers", str(self.workers)]
        if self.backend == "ray":
            found += [] if self.address is None else ["--address", self.address]
            found += [] if self.deadline_s is None else ["--deadline", f"{self.deadline_s:g}"]
        return found

    def __str__(self) -> str:
        return f"{self.backend}, {self.workers} worker{'' if self.workers == 1 else 's'}"


class JobProcess:
    """One attempt at a run, in a process that ends with this one.

    Args:
        arguments: of the `distnn` command.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self._family = secrets.token_hex(8)
        self.begun = time.time()
        root = str(Path(__file__).resolve().parent.parent.parent)
        environment = {**os.environ, FAMILY_VARIABLE: self._family, SUPERVISED_VARIABLE: str(os.getpid())}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._known: set[psutil.Process] = set()
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError), self._process.stdout as lines:
            for line in lines:
                self._said.append(line.rstrip())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; the number of a signal, negative, if that ended it."""
        return self._process.poll()

    @property
    def said(self) -> list[str]:
        """The last lines that it has written."""
        return list(self._said)

    def process(self) -> psutil.Process | None:
        """The process that drives the run, or None if it has ended."""
        if self.exit_code is not None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid)
        return None

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None if it has not ended in time."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def remember(self) -> None:
        """Note who has been begun so far: a dead parent does not know its children any more."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._known |= set(psutil.Process(self.pid).children(recursive=True))

    def family(self) -> list[psutil.Process]:
        """All living processes of this attempt but the first, as remembered or by their environment."""
        return [process for process in psutil.process_iter() if self._is_mine(process)]

    def _is_mine(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != self.pid and process.status() != psutil.STATUS_ZOMBIE:
                return process in self._known or process.environ().get(FAMILY_VARIABLE) == self._family
        return False

    def left_behind(self, timeout_s: float = GONE_WITHIN_S) -> list[str]:
        """What still lives a while after the end, named; it is ended now. Ray's agents are, but not named."""
        wait_until(lambda: not self._strangers(), timeout_s, every_s=0.2)
        left = self._strangers()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        return [f"{name} (pid {pid})" for pid, name in left.items()]

    def _strangers(self) -> dict[int, str]:
        found = {}
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                if (name := process.name()) not in RAYS_AGENTS:
                    found[process.pid] = name
        return found

    def end(self) -> None:
        """End it and all it has begun, asking first."""
        self.remember()
        if self.exit_code is None:
            with contextlib.suppress(psutil.Error):
                psutil.Process(self.pid).resume()
            self._process.terminate()
            self.wait(_ENDED_WITHIN_S)
        if self.exit_code is None:
            self._process.kill()
            self.wait(_ENDED_WITHIN_S)
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
