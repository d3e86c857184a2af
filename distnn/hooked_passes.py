"""Passes over data batch by batch, for callbacks with a hook for each; else the engine takes all at once.

The bytes are the same either way: sums go on from batch to batch, and a sample's output is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distnn.evaluation import batches
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.callbacks import CallbackList
    from distnn.data.arrays import ArrayData
    from distnn.engine import Engine
    from distnn.objective import Objective

TEST_HOOKS = ("on_test_batch_begin", "on_test_batch_end")
PREDICT_HOOKS = ("on_predict_batch_begin", "on_predict_batch_end")


def single_batches(data: ArrayData, batch_size: int) -> Iterator[ArrayData]:
    """Each batch as data of its own."""
    for start, stop in batches(data.num_samples, batch_size, data.cuts):
        yield replace(data.slice(start, stop), cuts=(stop - start,))


def evaluate_by_batches(
    engine: Engine,
    objective: Objective,
    callbacks: CallbackList,
    name: str,
    data: ArrayData,
    batch_size: int,
    *,
    sums: Array | None = None,
    samples: int = 0,
    first: int = 0,
) -> Array:
    """The sums over `data`, with the hooks of each batch; their logs are the means so far, as in Keras.

    Args:
        engine: has data of this signature under `name`; the last batch lies there afterwards.
        objective: makes logs of sums.
        callbacks: called.
        name: of the data.
        data: all batches.
        batch_size: of those without cuts.
        sums: of the data before, with so many `samples` and batches (`first`).
    """
    for place, batch in enumerate(single_batches(data, batch_size), first):
        callbacks.on_test_batch_begin(place)
        engine.take_batches(name, batch)
        sums = engine.evaluate(name, batch_size, sums)
        samples += batch.num_samples
        so_far = sums.copy()
        engine.add_penalty(so_far, samples)
        callbacks.on_test_batch_end(place, objective.means(so_far, samples))
    assert sums is not None, "data have a batch"
    return sums


def predict_by_batches(
    engine: Engine,
    callbacks: CallbackList,
    name: str,
    data: ArrayData,
    batch_size: int,
    packed: Callable[[list[Array]], Any],
    *,
    first: int = 0,
) -> list[list[Array]]:
    """The outputs of each batch, with its hooks; their logs are `{"outputs": ...}`, as in Keras.

    Args:
        engine: as for `evaluate_by_batches`.
        callbacks: called.
        name: of the data.
        data: all batches.
        batch_size: of those without cuts.
        packed: outputs in the structure that the model returns.
        first: how many batches were before.
    """
    found = []
    for place, batch in enumerate(single_batches(data, batch_size), first):
        callbacks.on_predict_batch_begin(place)
        engine.take_batches(name, batch)
        outputs = engine.predict(name, batch_size)
        found.append(outputs)
        callbacks.on_predict_batch_end(place, {"outputs": packed(outputs)})
    return found
