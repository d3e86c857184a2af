"""An embedded Ray is one for a single program: it is started without what only clusters need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature

PARAMETERS = {"dashboard_agent_listen_port": 0, "include_log_monitor": False, "no_monitor": True}
"""Of Ray's own class of start parameters, where they are not its defaults."""


@contextmanager
def lean_start() -> Iterator[None]:
    """Inside, `ray.init` starts a Ray with `PARAMETERS`, for which it has no arguments.

    Its agent listens on any free port. By default it is one and the same for all, and where another Ray has
    it the agent tries for 3.4 s and goes without, while the start waits. Two helpers are left out: the one
    that asks a cloud for machines, and the one that carries the workers' output to a terminal; the end of
    Ray waits for them. A Ray that does not know these parameters is started as it is.
    """
    parameters = sys.modules.get("ray._private.parameter")
    whole = getattr(parameters, "RayParams", None)
    if whole is None or not PARAMETERS.keys() <= signature(whole).parameters.keys():
        yield
        return
    parameters.RayParams = partial(whole, **PARAMETERS)  # type: ignore[union-attr]
    try:
        yield
    finally:
        parameters.RayParams = whole  # type: ignore[union-attr]
