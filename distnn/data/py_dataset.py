"""`PyDataset`: batches made one by one by code of the user's own."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any


class PyDataset:
    """Batches by their numbers. Subclasses define `__len__` and `__getitem__`, which gives a whole batch.

    `fit` pulls the batches in the process that called it, a few ahead of the step, and cuts each into shards.
    A `__getitem__` that is a function of the index makes the training one of equal bytes, also after a crash.

    Args:
        workers: threads that call `__getitem__` beside the training; 0: it is called between the steps.
        use_multiprocessing: as Keras has it; here threads make the batches in any case, which is said once.
        max_queue_size: how many batches may be ready before they are needed.
    """

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        self._settings = {
            "workers": workers,
            "use_multiprocessing": use_multiprocessing,
            "max_queue_size": max_queue_size,
        }

    def _setting(self, name: str) -> Any:
        if not hasattr(self, "_settings"):
            warnings.warn(
                "Your `PyDataset` class should call `super().__init__(**kwargs)` in its constructor. "
                "`**kwargs` can include `workers`, `use_multiprocessing`, `max_queue_size`. Do not pass "
                "these arguments to `fit()`, as they will be ignored.",
                stacklevel=3,
            )
            PyDataset.__init__(self)
        return self._settings[name]

    @property
    def workers(self) -> int:
        return int(self._setting("workers"))

    @workers.setter
    def workers(self, value: int) -> None:
        self._setting("workers")
        self._settings["workers"] = value

    @property
    def use_multiprocessing(self) -> bool:
        return bool(self._setting("use_multiprocessing"))

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        self._setting("use_multiprocessing")
        self._settings["use_multiprocessing"] = value

    @property
    def max_queue_size(self) -> int:
        return int(self._setting("max_queue_size"))

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._setting("max_queue_size")
        self._settings["max_queue_size"] = value

    def __getitem__(self, index: int) -> Any:
        """The batch at `index`: `(x,)`, `(x, y)` or `(x, y, sample_weight)`."""
        raise NotImplementedError(f"{type(self).__name__} must define `__getitem__(self, index)`")

    @property
    def num_batches(self) -> int | None:
        """How many batches there are; None if they never end. It is `__len__`, unless overridden."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(
            "You need to implement the `num_batches` property:\n\n"
            "@property\ndef num_batches(self):\n  return ..."
        )

    def __iter__(self) -> Iterator[Any]:
        count = self.num_batches
        for index in itertools.count() if count is None else range(count):
            yield self[index]

    def on_epoch_begin(self) -> None:
        """Called when an epoch begins, before any of its batches is asked for."""

    def on_epoch_end(self) -> None:
        """Called when all batches of an epoch have been computed."""


Sequence = PyDataset
"""Its name in Keras 2."""
