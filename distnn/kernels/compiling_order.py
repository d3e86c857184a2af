"""In which order a process compiles the kernels of a step: two processes of a machine can share the work.

The first takes every other kernel, the second the rest. Who has done its own takes the other's from the last
to the first, so that they meet once; each loads from disk what the other has compiled.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_IS_SECOND: contextvars.ContextVar[bool] = contextvars.ContextVar("distnn_is_second", default=False)


@contextmanager
def compiling_as_second() -> Iterator[None]:
    """Inside, this process compiles as the second one; what runs, and its order, stays as it is."""
    token = _IS_SECOND.set(True)
    try:
        yield
    finally:
        _IS_SECOND.reset(token)


def in_compiling_order(items: Sequence[T]) -> list[T]:
    """What may be compiled in any order, in that in which it should be."""
    one, other = list(items[0::2]), list(items[1::2])
    return other + one[::-1] if _IS_SECOND.get() else one + other[::-1]
