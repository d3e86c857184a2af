"""Threads that compute parts of one product beside the caller's; used by `products` alone.

Kernels release the GIL, so plain threads are enough. They are started when first needed, wait asleep, and are
daemons; after a fork the child starts its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

Work = tuple[Callable[[Any], object], Any, "threading.Semaphore", list[BaseException]]

_work: list[SimpleQueue[Work]] = []
_starting = threading.Lock()


def run_together(function: Callable[[Any], object], parts: Sequence[Any]) -> None:
    """`function` of each part: the first here, the others in a thread each; returns when all are done."""
    helpers = len(parts) - 1
    if len(_work) < helpers:
        _start(helpers)
    done, problems = threading.Semaphore(0), list[BaseException]()
    for queue, part in zip(_work, parts[1:], strict=False):
        queue.put((function, part, done, problems))
    try:
        function(parts[0])
    finally:
        _wait(done, helpers)
    if problems:
        raise problems[0]


def _wait(done: threading.Semaphore, count: int) -> None:
    """Wait for all parts even when interrupted: their memory must not change after the caller has left."""
    interruption: BaseException | None = None
    while count:
        try:
            done.acquire()
            count -= 1
        except BaseException as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _start(count: int) -> None:
    with _starting:
        while len(_work) < count:
            queue: SimpleQueue[Work] = SimpleQueue()
            name = f"distnn-product-{len(_work) + 1}"
            threading.Thread(target=_serve, args=(queue,), name=name, daemon=True).start()
            _work.append(queue)


def _serve(queue: SimpleQueue[Work]) -> None:
    while True:
        function, part, done, problems = queue.get()
        try:
            function(part)
        except BaseException as error:
            problems.append(error)
        done.release()


os.register_at_fork(after_in_child=_work.clear)
