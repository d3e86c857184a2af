"""How many threads compute the products of a shard: set, never inherited (BLAS changes bits with them)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distnn.kernels.products import product_settings, products_kind

_controllers: list[Any] = []
_limits: list[int] = []


def _controller() -> Any:
    """NumPy's BLAS, found once; other packages' copies in the process compute nothing of ours."""
    if not _controllers:
        import numpy as np  # its BLAS must be loaded to be found
        from threadpoolctl import ThreadpoolController

        every = ThreadpoolController().select(user_api="blas")
        home = Path(np.__file__).parent
        folders = (home, home.with_name("numpy.libs"))
        own = [path for path in (info["filepath"] for info in every.info()) if Path(path).parent in folders]
        _controllers.append(every.select(filepath=own) if own else every)
    return _controllers[0]


@contextmanager
def product_threads(count: int) -> Iterator[None]:
    """Inside, products are computed with `count` threads, whether by tiles or by BLAS."""
    with product_settings(threads=count):
        if products_kind() == "tiles":  # then BLAS computes nothing, and asking it takes its time
            yield
        else:
            with _controller().limit(limits=count):
                yield


def blas_description() -> list[dict[str, Any]]:
    """What threadpoolctl says of NumPy's BLAS: name, version, kernel type (`architecture`)."""
    return [dict(info) for info in _controller().info()]


def available_cores() -> int:
    """Cores this process may use."""
    return min([len(os.sched_getaffinity(0)), *_limits])


@contextmanager
def limited_cores(count: int) -> Iterator[None]:
    """Inside, this process leaves the cores beyond `count` to others of the machine."""
    _limits.append(count)
    try:
        yield
    finally:
        _limits.pop()
