"""In which order a process meets the kernels of a step for the first time, and compiles them.

Two processes of a machine that compile the same step from both ends meet in the middle: each loads from disk
what the other has compiled.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_FROM_THE_END: contextvars.ContextVar[bool] = contextvars.ContextVar("distnn_from_the_end", default=False)


@contextmanager
def compiling_from_the_end() -> Iterator[None]:
    """Inside, what is bound last is compiled first; what runs, and its order, stays as it is."""
    token = _FROM_THE_END.set(True)
    try:
        yield
    finally:
        _FROM_THE_END.reset(token)


def in_compiling_order(items: Sequence[T]) -> list[T]:
    """What may be made ready in any order, in that in which it should be."""
    return list(items)[::-1] if _FROM_THE_END.get() else list(items)
