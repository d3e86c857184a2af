"""Ctrl-C during a training that is kept: the first asks it to stop at a commit, the second interrupts it."""

from __future__ import annotations

import _thread
import signal
import threading
from types import FrameType

PATIENCE_S = 2.0
"""After so long the first one interrupts as well: a step, a callback or a compilation may take minutes."""


class Interrupts:
    """Inside, Ctrl-C is kept for whoever asks; where the program has its own handler, that stays.

    Attributes:
        asked: whether there was one.
    """

    def __init__(self) -> None:
        self.asked = False
        self._is_ours = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._is_ours = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._timer = threading.Timer(PATIENCE_S, _thread.interrupt_main)
        self._timer.daemon = True
        self._timer.start()
