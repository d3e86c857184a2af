"""Small trainings that several tests compare: data, what a training leaves, a step's sums in float64."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from memory_recorder import MemoryRecorder

from distnn.batching import Batching
from distnn.data.arrays import as_array_data
from distnn.models import Model
from distnn.models.fitting import make_task
from distnn.reduction import ShardSums, combine
from distnn.shard import ShardRunner
from distnn.sources import Sources

Array = np.ndarray[Any, np.dtype[Any]]


def classification(samples: int = 53, features: int = 6, classes: int = 3) -> tuple[Array, Array]:
    """Inputs and class numbers, the same in every run."""
    rng = np.random.default_rng([samples, features, classes])
    x = rng.normal(size=(samples, features)).astype(np.float32)
    scores = x @ rng.normal(size=(features, classes)) + 0.3 * rng.normal(size=(samples, classes))
    return x, scores.argmax(axis=1).astype(np.int32)


def regression(samples: int = 53, features: int = 6, outputs: int = 1) -> tuple[Array, Array]:
    """Inputs and numbers that depend on them, the same in every run."""
    rng = np.random.default_rng([samples, features, outputs])
    x = rng.normal(size=(samples, features)).astype(np.float32)
    y = np.tanh(x @ rng.normal(size=(features, outputs))) + 0.1 * rng.normal(size=(samples, outputs))
    return x, y.astype(np.float32)


@dataclass(frozen=True)
class Outcome:
    """What a training left: bytes of the weights, History, a fingerprint per step."""

    weights: bytes
    history: dict[str, list[float]]
    fingerprints: tuple[int, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.weights).hexdigest()


def weight_bytes(model: Model) -> bytes:
    return b"".join(array.tobytes() for array in model.get_weights())


def train(make: Callable[[], Model], x: Any, y: Any, **fit: Any) -> Outcome:
    """Fit a fresh model and close it."""
    recorder = fit.pop("recorder", None) or MemoryRecorder()
    with make() as model:
        history = model.fit(x, y, recorder=recorder, **{"seed": 5, "verbose": 0, **fit})
        prints = tuple(recorder.fingerprints[step] for step in sorted(recorder.fingerprints))
        return Outcome(weight_bytes(model), history.history, prints)


def step_sums(
    model: Model, x: Array, y: Array, shards: int, sample_weight: Array | None = None, *, eager: bool = False
) -> ShardSums:
    """Gradient and sums of one step on the whole of the data, in float64, added by the tree."""
    data = as_array_data(x, y, sample_weight, keep_float64=True)
    batching = Batching(len(x), len(x), shards, shuffle=False, seed=0, steps_per_epoch=1)
    model.output_spec(*(spec for spec in model.input_specs or ()))
    model.ensure_initialized(3)
    task, _ = make_task(model, data, batching, 1)
    assert task.eager == eager
    runner = ShardRunner(task, Sources({"train": data}), np.float64)
    weights = model.flat_weights(task.layout()).astype(np.float64)
    parts: dict[tuple[int, int], ShardSums | None] = {}
    for shard in range(shards):
        layout = runner.training.sums_layout
        sizes = (layout.gradient, layout.sums, layout.moments_size)
        sums = ShardSums.of(layout, tuple(np.zeros(size) for size in sizes))  # type: ignore[arg-type]
        parts[shard, shard + 1] = sums if runner.compute(0, shard, weights, sums) else None
    total = combine(shards, parts)
    assert total is not None
    return total
