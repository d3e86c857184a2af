"""How many threads BLAS uses while a shard is computed: part of the recipe, so set, never inherited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_controllers: list[Any] = []


def _controller() -> Any:
    """One look for the loaded BLAS libraries; threadpoolctl scans the whole process."""
    if not _controllers:
        import numpy as np  # noqa: F401  (its BLAS must be loaded to be found)
        from threadpoolctl import ThreadpoolController

        _controllers.append(ThreadpoolController().select(user_api="blas"))
    return _controllers[0]


@contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Inside, BLAS computes with `count` threads."""
    with _controller().limit(limits=count):
        yield


def blas_description() -> list[dict[str, Any]]:
    """What threadpoolctl says of the BLAS libraries: name, version, kernel type (`architecture`)."""
    return [dict(info) for info in _controller().info()]


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
