"""What a run says to people, who may go away: the terminal was closed, the reader of the pipe has ended.

What is said then is lost, and nothing else: the training goes on, as its directory has all that matters.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TextIO, cast


class Outlet:
    """A stream that may always be written to.

    Args:
        stream: where it leads as long as somebody takes it; then its descriptor leads nowhere.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._losing():
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        """What waits in buffers goes with it, or the interpreter would stumble over that at exit."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def outlet(stream: TextIO) -> TextIO:
    """The stream as one that may always be written to."""
    return cast(TextIO, Outlet(stream))
