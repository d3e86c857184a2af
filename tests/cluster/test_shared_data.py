"""Data sets are sent once, and old ones are let go."""

from __future__ import annotations

import numpy as np
from crews import InProcessCrew

from cluster.shared_data import SharedData
from distnn.data.arrays import ArrayData


def data(value: float) -> ArrayData:
    return ArrayData((np.full((100, 10), value, np.float32),))


def test_equal_data_is_shared_once_even_from_other_arrays() -> None:
    crew = InProcessCrew()
    shared = SharedData(crew)
    first = shared.handles([data(1), data(2)])
    again = shared.handles([data(2), data(1)])
    assert again == first[::-1] and len(crew.shared) == 2


def test_old_data_is_forgotten_beyond_the_size_kept() -> None:
    crew = InProcessCrew()
    shared = SharedData(crew, kept_bytes=8000)
    for value in (1, 2, 3, 4):
        shared.handles([data(value)])
    shared.handles([data(3)])
    assert len(crew.shared) == 4
    shared.handles([data(1)])
    assert len(crew.shared) == 5


def test_data_in_use_is_kept_whatever_its_size() -> None:
    crew = InProcessCrew()
    shared = SharedData(crew, kept_bytes=0)
    for _ in range(3):
        shared.handles([data(1), data(2)])
    assert len(crew.shared) == 2
