"""Ctrl-C, SIGTERM and a closed terminal (SIGHUP) during a run.

The first asks it to stop at a commit, the second stops it at once.

Python calls a handler only when the main thread comes back from native code, which may take as long as a step
or a compilation does. So signals also reach a thread of their own, which holds the process to its time.
Only the main thread of the process that drives a run installs this.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.errors import EXIT_INTERRUPTED, EXIT_STOPPED

RESCUED_AFTER_S = 1.0
"""From the first signal to saving what is committed if no commit has come by then."""
ENDED_AFTER_S = 2.5
"""From the first signal to the end of the process. Ray's job service kills 3 s after its SIGTERM."""
AT_ONCE_S = 0.3
"""For cleaning up after a second signal."""
SAME_STOP_S = 1.0
"""A supervisor passes signals on, and some senders (Ray's job service) send theirs to the whole tree: within
this time a second signal is the same one."""
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Which signals came.

    Before `armed`, the first signal already stops at once, as nothing is there to be saved.

    Args:
        on_first: called in the thread of signals; asks the training to stop.
        rescue: called in a thread of its own when no commit came in time: saves what is committed, says so,
            and returns whether it did.
        on_end: the same just before the process is ended.
        say: writes a line.
        is_supervised: whether a stop may arrive twice (see `SAME_STOP_S`).
    """

    def __init__(
        self,
        on_first: Callable[[], None],
        rescue: Callable[[], bool],
        on_end: Callable[[], None],
        say: Callable[[str], None],
        *,
        is_supervised: bool = False,
    ) -> None:
        self._same_s = SAME_STOP_S if is_supervised else 0.0
        self._on_first = on_first
        self._rescue = rescue
        self._on_end = on_end
        self._say = say
        self._handled_at: float | None = None
        self._arrived_at: float | None = None
        self._is_leaving = False
        self.received: signal.Signals | None = None
        self.armed = False
        self.outcome: int | None = None
        """The exit code of a run that ended by itself, whatever signals came."""

    @property
    def exit_code(self) -> int:
        """What the process ends with after a stop."""
        return EXIT_INTERRUPTED if self.received is signal.SIGINT else EXIT_STOPPED

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of all of them, in the main thread, as soon as that runs Python."""
        self.received = self.received or signal.Signals(number)
        now, first = time.monotonic(), self._handled_at
        if first is None:
            self._handled_at = now
        if (first is None and not self.armed) or (first is not None and now - first >= self._same_s):
            raise KeyboardInterrupt

    def _watch(self, reader: socket.socket) -> None:
        """In a thread: the numbers of signals as they arrive."""
        while data := reader.recv(64):
            for number in data:
                if number in _NUMBERS:
                    self._arrive(signal.Signals(number))

    def _arrive(self, number: signal.Signals) -> None:
        now, first = time.monotonic(), self._arrived_at
        if first is not None:
            if now - first >= self._same_s:
                _after(AT_ONCE_S, self._end)
            return
        self.received, self._arrived_at = self.received or number, now
        if self.armed:
            self._on_first()
            self._say("stopping after the step under way (once more: stop at once) ...")
            _after(RESCUED_AFTER_S, self._rescue_late)
        _after(ENDED_AFTER_S, self._end)

    def _rescue_late(self) -> None:
        if self.armed and self._rescue():
            self._exit()

    def leave_soon(self) -> None:
        """The run has stopped: what the interpreter would still take down at exit is not waited for."""
        self._is_leaving = self.received is not None

    def _end(self) -> None:
        """End the process even if cleaning up takes longer; what is saved is saved."""
        if self.outcome is None:
            telling = threading.Thread(target=self._on_end, daemon=True)
            telling.start()
            telling.join(AT_ONCE_S)
        self._exit()

    def _leave(self) -> None:
        """The last thing done at exit: taking down the interpreter can take seconds."""
        if self._is_leaving:
            self._exit()

    def _exit(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                stream.flush()
        os._exit(self.exit_code if self.outcome is None else self.outcome)

    @contextmanager
    def installed(self) -> Iterator[StopSignals]:
        """Inside, the signals come here; in a thread other than the main one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        atexit.register(self._leave)  # before Ray is imported, so it comes after Ray's own
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        watcher = threading.Thread(target=self._watch, args=(reader,), name="distnn-signals", daemon=True)
        watcher.start()
        wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        numbers = [number for number in _NUMBERS if number != signal.SIGHUP or not _outlives_its_terminal()]
        before = {number: signal.signal(number, self.handle) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            writer.close()
            watcher.join()
            reader.close()
            if not self._is_leaving:
                atexit.unregister(self._leave)


def _outlives_its_terminal() -> bool:
    """Whether whoever began this process has it ignore that the terminal was closed (`nohup`)."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def _after(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(max(seconds, 0.0), call)
    timer.daemon = True
    timer.start()
