"""Passes over data batch by batch, for callbacks with a hook for each; else the engine takes all at once.

The bytes are the same either way: sums go on from batch to batch, a sample's output is its own, and layers
that keep states find those that the batch before left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distnn.evaluation import batches
from distnn.tensor import Array
from distnn.variable import Variable
from distnn.weights import WeightLayout

if TYPE_CHECKING:
    from distnn.callbacks import CallbackList
    from distnn.data.arrays import ArrayData
    from distnn.engine import Engine
    from distnn.objective import Objective

TEST_HOOKS = ("on_test_batch_begin", "on_test_batch_end")
PREDICT_HOOKS = ("on_predict_batch_begin", "on_predict_batch_end")


class HookedPass:
    """One pass, part of the data by part. In a `with` it gives the engine back the states from before.

    Args:
        engine: has data of this signature under `name`; the last batch lies there afterwards.
        callbacks: called.
        name: of the data.
        batch_size: of data without cuts.
        layout: of the model's weights.
        states: the variables that layers keep from batch to batch.
    """

    def __init__(
        self,
        engine: Engine,
        callbacks: CallbackList,
        name: str,
        batch_size: int,
        layout: WeightLayout,
        states: Sequence[Variable],
    ) -> None:
        self._engine = engine
        self._callbacks = callbacks
        self._name = name
        self._batch_size = batch_size
        self._layout = layout
        self._states = states
        self._sums: Array | None = None
        self._samples = self._num_batches = 0

    def __enter__(self) -> HookedPass:
        if self._states:
            self._before = self._engine.state().copy()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._states:
            self._engine.set_state(self._before)

    def evaluate(self, data: ArrayData, objective: Objective) -> Array:
        """The sums over all data so far; the logs that hooks see are their means, as in Keras."""
        for place, batch in self._batches(data):
            self._callbacks.on_test_batch_begin(place)
            self._engine.take_batches(self._name, batch)
            self._sums = self._engine.evaluate(self._name, self._batch_size, self._sums)
            if self._states:  # they are no sums: the prediction for the same batch has them
                self._go_on_from(self._engine.predict(self._name, self._batch_size))
            self._samples += batch.num_samples
            so_far = self._sums.copy()
            self._engine.add_penalty(so_far, self._samples)
            self._callbacks.on_test_batch_end(place, objective.means(so_far, self._samples))
        assert self._sums is not None, "data have a batch"
        return self._sums

    def predict(self, data: ArrayData, packed: Callable[[list[Array]], Any]) -> Iterator[list[Array]]:
        """The outputs of each batch, then the states; the logs are `{"outputs": ...}`, as in Keras.

        Args:
            data: all batches.
            packed: outputs in the structure that the model returns.
        """
        for place, batch in self._batches(data):
            self._callbacks.on_predict_batch_begin(place)
            self._engine.take_batches(self._name, batch)
            found = self._engine.predict(self._name, self._batch_size)
            self._go_on_from(found)
            outputs = found[: len(found) - len(self._states)]
            self._callbacks.on_predict_batch_end(place, {"outputs": packed(outputs)})
            yield found

    def _batches(self, data: ArrayData) -> Iterator[tuple[int, ArrayData]]:
        """Each batch as data of its own, numbered through all parts."""
        for start, stop in batches(data.num_samples, self._batch_size, data.cuts):
            yield self._num_batches, replace(data.slice(start, stop), cuts=(stop - start,))
            self._num_batches += 1

    def _go_on_from(self, found: Sequence[Array]) -> None:
        """Let the engine have the states that stand behind a batch's outputs."""
        if self._states:
            state = self._engine.state().copy()
            for variable, rows in zip(self._states, found[-len(self._states) :], strict=True):
                self._layout.view(state.weights, variable)[...] = rows
            self._engine.set_state(state)
