"""The one place that imports ray: quietly, and able to join a cluster that wants a token.

Some of Ray's settings are read from the environment at its import only. If the program imported ray before,
its settings stand.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SILENCED = r"worker died or was killed while executing"
"""Ray prints this on standard output whatever `log_to_driver` says; the coordinator tells it in one line."""


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Inside, these variables are set (None: unset); then they are as before."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def has_token() -> bool:
    """Whether Ray would find a token of the user's: in the environment or in the home."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return True
    try:
        return (Path.home() / ".ray" / "auth_token").is_file()
    except (OSError, RuntimeError):
        return False


def _import_ray() -> Any:
    # As Ray does for a cluster that it finds by itself: a token that is there is used. A cluster without
    # authentication does not mind. A Ray that is imported has read the variable, and would not look again.
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ and has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
    with environment(RAY_DEDUP_LOGS_SKIP_REGEX=os.environ.get("RAY_DEDUP_LOGS_SKIP_REGEX", _SILENCED)):
        return importlib.import_module("ray")


ray: Any = _import_ray()
