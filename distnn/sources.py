"""The arrays that a process's runners gather shards from; tapes are bound to where they lie.

What is little, and batches that were pulled, is copied into places of our own, which other data of the same
signature take over, so that nothing has to be bound anew. Anything else is read where the caller has it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from distnn.data.arrays import ArrayData
from distnn.tensor import Array

_LITTLE_BYTES = 64 * 1024


class Sources:
    """Data sets by name, and their arrays as rows by the names of the graph's inputs.

    Runners may ask for rows from several threads at a time. Whoever gives other data does so while none of
    them computes, and where the answer is False has all of them let go of what they bound.

    Attributes:
        data: by name.
    """

    def __init__(self, data: Mapping[str, ArrayData]) -> None:
        self.data = dict(data)
        self._rows: dict[str, dict[str, Array]] = {}
        self._own: set[str] = set()
        self._dtypes: dict[tuple[str, str], np.dtype[Any]] = {}
        self._lock = threading.Lock()

    def rows(self, name: str, key: str) -> Array:
        """The named data's array for a graph input; its place is kept as long as `set_...` says so."""
        with self._lock:
            if name not in self._rows:
                self._rows[name] = self._placed(name)
            return self._rows[name][key]

    def _placed(self, name: str) -> dict[str, Array]:
        data = self.data[name]
        if data.cuts or self._are_little():
            self._own.add(name)
            room = 2 if data.cuts else 1
            return {key: self._copied(name, key, array, room) for key, array in _named_arrays(data)}
        return {
            key: np.ascontiguousarray(array).reshape(len(array), -1) for key, array in _named_arrays(data)
        }

    def set_data(self, data: Mapping[str, ArrayData]) -> bool:
        """Other data of the same signature; whether all of them lie where those before lay."""
        self.data = dict(data)
        return self._refill(list(self._rows))

    def set_batches(self, name: str, data: ArrayData) -> bool:
        """Other batches in the place of the named data; whether they lie where those before lay."""
        self.data[name] = data
        return self._refill([name] if name in self._rows else [])

    def _refill(self, names: Iterable[str]) -> bool:
        for name in names:
            if name not in self._own or name not in self.data or not self._takes_over(name):
                self._rows.clear()
                self._own.clear()
                return False
        return True

    def _takes_over(self, name: str) -> bool:
        """Copy the named data into the places of those before; False if they do not fit."""
        places = self._rows[name]
        rows = {key: array.reshape(len(array), -1) for key, array in _named_arrays(self.data[name])}
        for key, row in rows.items():
            if len(row) > len(places[key]) or not np.can_cast(row.dtype, places[key].dtype):
                return False
        for key, row in rows.items():
            np.copyto(places[key][: len(row)], row)
        return True

    def _copied(self, name: str, key: str, array: Array, room: int) -> Array:
        """A copy as rows; with room for more, as batches differ in size and number.

        Its dtype holds that of those before, too: where both come in turn, nothing is bound a third time.
        """
        rows = array.reshape(len(array), -1)
        dtype = np.promote_types(rows.dtype, self._dtypes.get((name, key), rows.dtype))
        self._dtypes[name, key] = dtype
        place = np.empty((room * len(rows), rows.shape[1]), dtype)
        place[: len(rows)] = rows
        return place

    def _are_little(self) -> bool:
        return sum(one.num_bytes for one in self.data.values()) <= _LITTLE_BYTES


def _named_arrays(data: ArrayData) -> Iterator[tuple[str, Array]]:
    """A data set's arrays by the names of the graph's inputs."""
    for i, array in enumerate(data.x):
        yield f"x{i}", array
    for i, array in enumerate(data.y):
        yield f"y{i}", array
    if data.sample_weight is not None:
        yield "sample_weight", data.sample_weight
