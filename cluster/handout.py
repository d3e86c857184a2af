"""What workers are given: the task, the data, weights to warm up with; each is shared once, however many ask.

It says what a request is made of; whom to ask, and when, is the coordinator's to say.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from cluster.crew import Crew, Request
from cluster.shared_data import SharedData
from cluster.transport import pack
from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.recording import TrainingState
from distnn.task import Task


class Handout:
    """Handles of what a crew's workers are given now.

    Attributes:
        data: by name.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._shared = SharedData(crew)
        self._handles: dict[str, Any] = {}
        self._packed: tuple[Task, Any] | None = None
        self._weights: tuple[int, Any] | None = None
        self.data: dict[str, ArrayData] = {}

    def take_data(self, data: Mapping[str, ArrayData]) -> None:
        """Give these data from now on."""
        self.data = dict(data)
        self._handles = dict(zip(data, self._shared.handles(data.values()), strict=True))

    def to_load(self, task: Task) -> Request:
        """For who has nothing yet.

        Raises:
            ValueError: the task cannot be sent to other processes.
        """
        if self._packed is None or self._packed[0] is not task:
            self._packed = task, self._crew.share(_packed(task))
        return Request("load", (list(sys.path), self._packed[1], *self._named_data()))

    def to_take_data(self, batching: Batching) -> Request:
        """For who has the task, or one with the same key."""
        return Request("take_data", (batching, *self._named_data()))

    def to_take_batches(self, name: str, data: ArrayData, batching: Batching | None) -> Request:
        """Give other batches in the place of the named data from now on."""
        self.data[name], self._handles[name] = data, self._crew.share(data)
        return Request("take_batches", (batching, name, self._handles[name]))

    def to_warm_up(self, state: TrainingState) -> Request:
        """For who comes while others compute; a copy of the weights is shared once a step."""
        if self._weights is None or self._weights[0] != state.step:
            self._weights = state.step, self._crew.share(state.weights.copy())
        return Request("warm_up", (state.step, 0, self._weights[1]))

    def let_go_of_weights(self) -> None:
        """Nobody is on the way any more, or the weights are others."""
        self._weights = None

    def _named_data(self) -> tuple[Any, ...]:
        return list(self._handles), *self._handles.values()


def _packed(task: Task) -> bytes:
    try:
        return pack(task)
    except Exception as error:
        raise ValueError(
            "the model, its loss or its metrics cannot be sent to other processes "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0]}): keep open files, locks, "
            "threads and generators out of layers and functions"
        ) from error
