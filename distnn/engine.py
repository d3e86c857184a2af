"""What the training loop drives: an `Engine` computes steps, wherever its workers are.

The local engines (one process, threads) live in `distnn.local_engine`, the Ray engine in `cluster`; each is
found by name at the call, so that `distnn` never imports `cluster`. All give the same bytes.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distnn.incidents import Incident, Observer
from distnn.naming import did_you_mean
from distnn.recording import TrainingState
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.batching import Batching
    from distnn.data.arrays import ArrayData
    from distnn.models.model import Model
    from distnn.task import Task

BACKENDS = {
    "local": "distnn.local_engine:LocalEngine",
    "threads": "distnn.local_engine:ThreadsEngine",
    "ray": "cluster.engine:RayEngine",
}


Workers = int | tuple[int, int]
"""How many: at most so many and at least one, or (at least, at most)."""

EXCHANGES = ("auto", "shared_memory", "hierarchical", "object_store")


@dataclass(frozen=True)
class EngineOptions:
    """Where and how many: nothing here changes the bytes.

    `workers`: threads or Ray actors, at most. `threads`: threads for a shard's products. `address`: of a
    running Ray cluster; None starts an embedded one. `deadline_s`: how long a worker may be silent before it
    is treated as dead, or twenty times what a step usually takes, if that is longer. `exchange`: how workers
    that are processes sum gradients, one of `EXCHANGES`; `auto` takes the quickest that works.
    `min_workers`: with fewer nothing is computed; `wait_s`: how long they are waited for.
    """

    workers: int = 1
    threads: int = 1
    address: str | None = None
    deadline_s: float = 10.0
    exchange: str = "auto"
    min_workers: int = 1
    wait_s: float = 600.0

    def __post_init__(self) -> None:
        if not 1 <= self.min_workers <= self.workers:
            raise ValueError(
                f"`min_workers` must be between 1 and `workers` ({self.workers}). "
                f"Received: {self.min_workers}"
            )
        if self.exchange not in EXCHANGES:
            raise ValueError(
                f"Unknown exchange: {self.exchange!r}. Expected one of "
                f"{', '.join(repr(name) for name in EXCHANGES)}.{did_you_mean(self.exchange, EXCHANGES)}"
            )


@dataclass(frozen=True)
class SegmentReport:
    """What a segment of steps left.

    `fingerprints`: uint64, one per committed step from `first_step`. `sums`: the epoch's loss and metric
    sums after the last of them. `has_trouble`: the next step came to a loss or to values that are not
    finite; it is not committed, and the segment ends before it.
    """

    first_step: int
    fingerprints: Array
    sums: Array
    has_trouble: bool = False


class StopAsked(Exception):  # noqa: N818  (an outcome, not an error)
    """An engine that could only wait for workers was asked to stop; the committed state is whole.

    `report`: the steps of the segment that had been committed before, if it was in one.
    """

    def __init__(self, report: SegmentReport | None = None) -> None:
        super().__init__(report)
        self.report = report


class Engine(ABC):
    """Computes the steps of a task. Made once, it stays warm for the model's next task.

    The order of calls: `load`, then any of the others, `load` again for another task, `close`. A committed
    state is kept whole whatever a call raises.

    Attributes:
        observer: told of every incident, on the thread that called; the training loop sets it for the length
            of a training.
        should_stop: asked by an engine that waits for workers, likewise.
    """

    options: EngineOptions
    observer: Observer | None = None
    should_stop: Callable[[], bool] | None = None

    def tell(self, kind: str, step: int, **facts: Any) -> None:
        """Let the observer, if there is one, know of an incident."""
        if self.observer is not None:
            self.observer(Incident(kind, step, facts))

    @abstractmethod
    def load(self, task: Task, data: Mapping[str, ArrayData], state: TrainingState) -> None:
        """Make ready to compute `task` on the named data (`train`, `validation`, ...) from `state`.

        Data that the workers already hold (same digest) is not sent again.
        """

    @abstractmethod
    def take_batches(self, name: str, data: ArrayData, batching: Batching | None = None) -> None:
        """Go on with other data of the same signature in the place of the named ones; the state stays.

        Args:
            name: `train`, ... as it was loaded.
            data: with `cuts`.
            batching: of the steps that come, if the data are for steps.
        """

    @abstractmethod
    def run_segment(self, num_steps: int) -> SegmentReport:
        """Commit the next `num_steps` steps, or those before the first that has trouble (see the report).

        Raises:
            UserCodeError: a layer, loss or metric of the user raised; the place is named.
            EngineError: the machinery failed.
        """

    @abstractmethod
    def state(self) -> TrainingState:
        """The newest committed state; the caller copies what it keeps beyond the next call."""

    @abstractmethod
    def set_state(self, state: TrainingState) -> None:
        """Go on from `state` (copied)."""

    @abstractmethod
    def evaluate(self, data_name: str, batch_size: int, before: Array | None = None) -> Array:
        """Loss and metric sums (float64) over the named data, in batches, shards and tree.

        The penalty of the weights is not in them. Data that came in batches have sizes of their own.

        Args:
            data_name: as it was loaded.
            batch_size: of the batches.
            before: sums of the batches before these, to which these are added.
        """

    @abstractmethod
    def add_penalty(self, sums: Array, samples: int) -> None:
        """Add the penalty of the current weights to the sums of an evaluation of so many samples."""

    @abstractmethod
    def predict(self, data_name: str, batch_size: int) -> list[Array]:
        """The model's outputs for the named data, in its order; one array per output."""

    def scale(self, workers: int) -> bool:
        """Compute with so many workers from the next step on; False if the engine has none of its own."""
        return False

    def facts(self) -> dict[str, Any]:
        """What a run's journal is to hold about the engine when it is ready."""
        return {}

    @abstractmethod
    def map(self, model: Model, function: Callable[[Any, Any], Any], items: Sequence[Any]) -> list[Any]:
        """`function(model, item)` of every item, in order; needs no task. See `Model.map`."""

    @abstractmethod
    def close(self) -> None:
        """End the workers. Calling it twice is fine."""


def create_engine(backend: str, options: EngineOptions) -> Engine:
    """The engine called `backend`.

    Raises:
        ValueError: if there is no such backend.
    """
    if backend not in BACKENDS:
        raise ValueError(
            f"Unknown backend: {backend!r}. Expected one of {', '.join(repr(b) for b in BACKENDS)}."
            f"{did_you_mean(backend, BACKENDS)}"
        )
    module_name, _, class_name = BACKENDS[backend].partition(":")
    engine_class = getattr(importlib.import_module(module_name), class_name)
    engine: Engine = engine_class(options)
    return engine
