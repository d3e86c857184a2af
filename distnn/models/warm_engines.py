"""A model's engines, kept from call to call: workers, programs and data that are there already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distnn.engine import Engine, EngineOptions


class WarmEngines:
    """At most one engine for each backend, and more while a fit runs."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[EngineOptions, Engine]] = {}
        self._fits_running = 0

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, backend: str) -> Engine:
        return self._held[backend][1]

    def get(self, backend: str, options: EngineOptions) -> Engine:
        """The backend's engine if it has these options, else a new one; the one before is ended.

        While a fit runs, callbacks that evaluate or predict get engines of their own.
        """
        from distnn.engine import create_engine

        key = backend + "'" * self._fits_running
        held = self._held.get(key)
        if held is not None and held[0] == options:
            return held[1]
        if held is not None:
            self._held.pop(key)[1].close()
        engine = create_engine(backend, options)
        self._held[key] = (options, engine)
        return engine

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, `get` leaves the engines alone that were found before."""
        self._fits_running += 1
        try:
            yield
        finally:
            self._fits_running -= 1

    def close(self) -> None:
        """End them all."""
        while self._held:
            self._held.popitem()[1][1].close()
