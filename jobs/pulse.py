"""The pulse of a run that is being written: a thread that calls back now and then, whatever else goes on.

A step of minutes, or waiting for workers, must not make a run look dead.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable

PULSE_S = 0.5
"""Between two calls."""


class Pulse:
    """Calls `beat` until `stop`, or until the object that `beat` is a method of is forgotten."""

    def __init__(self, beat: Callable[[], None], interval_s: float = PULSE_S) -> None:
        self._ended = threading.Event()
        threading.Thread(
            target=_beat_on,
            args=(weakref.WeakMethod(beat), self._ended, interval_s),
            name="distnn-pulse",
            daemon=True,
        ).start()

    def stop(self) -> None:
        """No further call begins."""
        self._ended.set()


def _beat_on(beat: weakref.WeakMethod[Callable[[], None]], ended: threading.Event, interval_s: float) -> None:
    while not ended.wait(interval_s):
        call = beat()
        if call is None:
            return
        with contextlib.suppress(OSError):
            call()
        del call  # not kept alive while this waits
