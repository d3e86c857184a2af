"""What the packages below say while a run goes on (a worker was lost, memory is short), passed on in words.

They speak through the logger `distnn` and through Python's warnings. A command shows both as lines of its
own, a run directory keeps what concerns its run.
"""

from __future__ import annotations

import logging
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Tell = Callable[[str], None]

LOGGER = logging.getLogger("distnn")


class _Handler(logging.Handler):
    """Passes on what one thread logs."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = weakref.WeakMethod(tell)
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        tell = self._tell()
        if tell is not None and record.thread == self._thread:
            tell(record.getMessage())


def listen(tell: Tell) -> Callable[[], None]:
    """Tell what this thread logs as a warning or worse, until the returned function is called.

    Args:
        tell: a method; its object is not kept alive.
    """
    handler = _Handler(tell)
    LOGGER.addHandler(handler)
    return lambda: LOGGER.removeHandler(handler)


@contextmanager
def shown_warnings(tell: Tell) -> Iterator[None]:
    """Tell Python's warnings to users, without the place in the code; others are shown as ever."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def pass_on(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, UserWarning):
                tell(" ".join(str(message).split()))
            else:
                show(message, category, *place, **more)

        warnings.showwarning = pass_on
        yield
