"""Where a model's weights lie: one flat vector, and the optimizer's slots beside it.

Variables lie where their newest values are. One that belongs to two models (an encoder inside an
autoencoder) lies in the vector of the model that used it last; the other gathers it when it is used next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distnn.optimizers import Optimizer
from distnn.recording import TrainingState
from distnn.rng import draw_seed, stream_key
from distnn.tensor import Array
from distnn.variable import Variable
from distnn.weights import WeightLayout, aligned_zeros


class Holding:
    """The weights and slots of one model; laid out when first needed."""

    def __init__(self) -> None:
        self.layout: WeightLayout | None = None
        self.flat: Array = aligned_zeros(0)
        self.slots: Array | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the weights are laid out and every variable's newest value lies here."""
        return self.layout is not None and self._holds_all(self.layout)

    def forget(self) -> None:
        """The layers changed: lay the weights out anew at the next use."""
        self.layout = None
        self.slots = None

    def lay_out(
        self,
        variables: Sequence[Variable],
        trainable: Sequence[Variable],
        seed: int | None,
        optimizer: Optimizer | None,
    ) -> None:
        """Bring all weights into the vector; those without a value get their first one, from `seed`."""
        layout = WeightLayout(variables, trainable)
        fresh = [variable for variable in layout.variables if not variable.is_initialized]
        if not fresh and self._is_laid_out_as(layout) and self._holds_all(layout):
            return
        values = {variable: variable.numpy() for variable in layout.variables if variable.is_initialized}
        drawn = draw_seed() if seed is None and fresh else seed or 0
        for variable in fresh:
            values[variable] = variable.initial_value(stream_key(drawn, "init", variable.path))
        slots = self._slots_by_variable()
        self.layout, self.flat, self.slots = layout, aligned_zeros(layout.size), None
        layout.fill(self.flat, values)
        layout.hold(self.flat)
        if slots and optimizer is not None:
            self._lay_out_slots(layout, slots, optimizer)

    def flat_weights(self, layout: WeightLayout) -> Array:
        """The variables' values as one vector laid out by `layout`; the vector itself, if it is that."""
        if self._is_laid_out_as(layout) and self._holds_all(layout):
            return self.flat
        flat = aligned_zeros(layout.size)
        layout.fill(flat, {variable: variable.array for variable in layout.variables})
        return flat

    def state(self, step: int, iterations: int, optimizer: Optimizer | None) -> TrainingState:
        """Weights and slots as the beginning of a training at `step`."""
        if self.layout is None:
            raise AssertionError("the weights have not been laid out yet")
        if self.slots is None:
            count = self.layout.trainable_size
            empty = np.zeros((0, count), np.float32)
            self.slots = empty if optimizer is None else optimizer.initial_slots(count)
        return TrainingState(step, iterations, self.flat, self.slots, np.zeros(0))

    def take(self, state: TrainingState) -> None:
        """Copy a committed state; the variables lie here from now on."""
        if self.layout is None:
            raise AssertionError("the weights have not been laid out yet")
        self.flat[:] = state.weights
        self.slots = state.slots.copy()
        if not self._holds_all(self.layout):
            self.layout.hold(self.flat)

    def _is_laid_out_as(self, layout: WeightLayout) -> bool:
        own = self.layout
        return own is not None and (own.variables, own.trainable) == (layout.variables, layout.trainable)

    def _holds_all(self, layout: WeightLayout) -> bool:
        """Whether every variable lies in this vector."""
        return all(variable.array.base is self.flat.base for variable in layout.variables)

    def _slots_by_variable(self) -> dict[Variable, list[Array]]:
        layout = self.layout
        if layout is None or self.slots is None:
            return {}
        return {v: [layout.view(slot, v).copy() for slot in self.slots] for v in layout.trainable}

    def _lay_out_slots(
        self, layout: WeightLayout, slots: Mapping[Variable, list[Array]], optimizer: Optimizer
    ) -> None:
        self.slots = optimizer.initial_slots(layout.trainable_size)
        for variable in layout.trainable:
            for slot, value in zip(self.slots, slots.get(variable, ()), strict=False):
                layout.view(slot, variable)[...] = value
