"""Ctrl-C and SIGTERM during a run: the first asks it to stop at a commit, the second stops it at once.

Only the main thread of the process that drives a run installs this.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from jobs.errors import EXIT_INTERRUPTED, EXIT_STOPPED

ENDED_AFTER_S = 2.5
"""From the first signal to the end of the process. Ray's job service kills 3 s after its SIGTERM."""
MIN_CLEANUP_S = 0.3
"""For cleaning up where the last step took long."""


class StopSignals:
    """Which signals came. `on_first` is called from the handler: it must only set a flag.

    Before `armed`, the first signal already stops at once, as nothing is there to be saved.
    """

    def __init__(self, on_first: Callable[[], None], say: Callable[[str], None]) -> None:
        self._on_first = on_first
        self._say = say
        self.received: signal.Signals | None = None
        self._received_at = 0.0
        self._is_leaving = False
        self.armed = False

    @property
    def exit_code(self) -> int:
        """What the process ends with after a stop."""
        return EXIT_INTERRUPTED if self.received is signal.SIGINT else EXIT_STOPPED

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals."""
        is_first = self.received is None
        if is_first:
            self.received, self._received_at = signal.Signals(number), time.monotonic()
        if is_first and self.armed:
            self._on_first()
            self._say("stopping after the step under way (once more: stop at once) ...")
            return
        self.leave_soon()
        raise KeyboardInterrupt

    def leave_soon(self) -> None:
        """End the process in time even if cleaning up takes longer; what is saved is saved."""
        self._is_leaving = True
        left_s = self._received_at + ENDED_AFTER_S - time.monotonic()
        timer = threading.Timer(max(left_s, MIN_CLEANUP_S), os._exit, (self.exit_code,))
        timer.daemon = True
        timer.start()

    def _leave(self) -> None:
        """The last thing done at exit: what the interpreter would still take down can take seconds."""
        if self._is_leaving:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(self.exit_code)

    @contextmanager
    def installed(self) -> Iterator[StopSignals]:
        """Inside, the signals come here; in a thread other than the main one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        atexit.register(self._leave)  # before Ray is imported, so it comes after Ray's own
        before = {number: signal.signal(number, self.handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if not self._is_leaving:
                atexit.unregister(self._leave)
