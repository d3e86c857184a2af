"""`LambdaCallback`: hooks as single functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distnn.callbacks.callback import Callback


class LambdaCallback(Callback):
    """A callback of single functions: `LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))`."""

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        known = [name for name in dir(Callback) if name.startswith("on_")]
        for name, function in hooks.items():
            if name not in known:
                raise ValueError(f"LambdaCallback has no hook '{name}'. Expected some of: {', '.join(known)}")
            if function is not None:
                setattr(self, name, function)
