"""RNN: any cell over the steps of a sequence.

A cell of `recurrent_cells` with usual activations runs over all steps in one op. Any other (and recurrent
dropout in training) is unrolled: its ops are recorded for every step, which computes the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distnn import layers, ops
from distnn.layers.layer import Layer
from distnn.layers.recurrent_cells import (
    Cell,
    StackedRNNCells,
    check_cell,
    kept,
    sizes_of,
)
from distnn.ops.sequences import PlaceRows, ShardRows
from distnn.structure import leaves
from distnn.tensor import Tensor, batch_size_of, keras_shape
from distnn.variable import Variable


class RNN(Layer):
    """A cell applied to the steps of a sequence in turn.

    Input shape: `(batch, steps, ...)`. Output shape: `(batch, units)`, or `(batch, steps, units)`.

    Args:
        cell: a layer with `call(inputs, states)` and `state_size`, or a list of such.
        return_sequences: the outputs of all steps, not of the last only.
        return_state: also the states after the last step.
        go_backwards: from the last step to the first; outputs are in that order.
        stateful: a batch goes on from the states of the one before, sample by sample.
        unroll: accepted; it changes nothing but the speed.
        zero_output_for_mask: outputs of masked steps are 0, not the output before.
    """

    supports_masking = True
    cell: Any

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell)
        check_cell(cell, "Argument `cell` should have a")
        self.cell = cell
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.stateful = bool(go_backwards), bool(stateful)
        self.states: list[Variable] | None = None
        self.unroll, self.zero_output_for_mask = bool(unroll), bool(zero_output_for_mask)

    @property
    def state_size(self) -> list[Any]:
        return sizes_of(self.cell)

    def build(self, sequences_shape: Sequence[int | None]) -> None:
        if len(sequences_shape) < 3:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected ndim=3, found "
                f"ndim={len(sequences_shape)}. Full shape received: {tuple(sequences_shape)}"
            )
        self.cell._build_once((sequences_shape[0], *sequences_shape[2:]))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = next(leaves(previous_mask)) if self.return_sequences else None
        return [mask, *(None for _ in self.state_size)] if self.return_state else mask

    # Calls

    def call(
        self, sequences: Tensor, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        mask = next(leaves(mask))
        states = self._begin(sequences, initial_state)
        if training and isinstance(self.cell, Cell):
            sequences = self._with_dropout(sequences)
        output, states = self._run(sequences, states, mask, training)
        if self.states is not None:
            for variable, rows in zip(self.states, states, strict=True):
                sequences.graph.keep_state(variable, rows, PlaceRows(variable.shape[0])(rows))
        return (output, *states) if self.return_state else output

    def _begin(self, sequences: Tensor, initial_state: Any) -> list[Any]:
        """The states before the first step."""
        if self.stateful:
            self._make_states(sequences)
        if initial_state is None and self.states is not None:
            return [ShardRows(sequences.spec.shape[0])(variable) for variable in self.states]
        if initial_state is None:
            return self.get_initial_state(sequences)
        given = list(leaves(initial_state))
        if len(given) != len(self.state_size):
            raise ValueError(
                f"Layer '{self.name}' expects {len(self.state_size)} state(s), but it received {len(given)} "
                f"initial state(s). Input received: {initial_state}"
            )
        return given

    def get_initial_state(self, sequences: Tensor) -> list[Any]:
        """Zeros, or what a cell of the user's own says for so many samples."""
        own = getattr(self.cell, "get_initial_state", None)
        if own is not None and not isinstance(self.cell, Cell):
            found = own(batch_size=ops.shape(sequences)[0])
            return list(found) if isinstance(found, list | tuple) else [found]
        batch, zero = sequences.spec.shape[0], sequences.graph.constant(0.0)
        return [ops.broadcast_to(zero, (batch, *shape)) for shape in self._state_shapes()]

    def _make_states(self, sequences: Tensor) -> None:
        """The variables that hold the states of a batch's samples from one batch to the next."""
        if self.states is not None:
            return
        size = batch_size_of(sequences.spec)
        if size is None:
            raise ValueError(
                "When using `stateful=True` in a RNN, the batch size must be static. Found dynamic batch "
                f"size: sequence.shape={keras_shape(sequences.spec.shape)}. Say it in the model's input: "
                "Input(batch_shape=...) or Input(shape, batch_size=...)"
            )
        self.states = [
            self.add_weight((size, *shape), "zeros", trainable=False, aggregation="sum", name="rnn_state")
            for shape in self._state_shapes()
        ]

    def _state_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(size) if isinstance(size, list | tuple) else (size,) for size in self.state_size]

    def reset_state(self) -> None:
        """Let the next batch begin from zeros."""
        for variable in self.states or ():
            if variable.is_initialized:
                variable.assign(np.zeros(variable.shape, np.float32))

    reset_states = reset_state

    def _with_dropout(self, sequences: Tensor) -> Any:
        """The same values are dropped at every step."""
        shape = sequences.spec.shape
        one = ops.broadcast_to(sequences.graph.constant(0.0), (shape[0], *shape[2:]))
        noise = kept(one, self.cell.dropout, self.cell.seed)
        return sequences if isinstance(noise, float) else sequences * ops.expand_dims(noise, 1)

    def _run(self, sequences: Any, states: list[Any], mask: Any, training: bool) -> tuple[Any, list[Any]]:
        cell = self.cell
        if isinstance(cell, Cell) and not (training and cell.recurrent_dropout > 0):
            op = cell.recurrence(
                return_sequences=self.return_sequences,
                go_backwards=self.go_backwards,
                zero_output_for_mask=self.zero_output_for_mask,
                has_bias=cell.bias is not None,
                has_mask=mask is not None,
            )
            if op is not None:
                bias = [] if cell.bias is None else [cell.bias]
                masks = [] if mask is None else [ops.cast(mask, "bool")]
                output, h, c, *_ = op(sequences, cell.kernel, cell.recurrent_kernel, *states, *bias, *masks)
                return output, [h, c] if cell.has_carry else [h]
        return self._unrolled(sequences, states, mask, training)

    def _unrolled(
        self, sequences: Any, states: list[Any], mask: Any, training: bool
    ) -> tuple[Any, list[Any]]:
        inputs = ops.unstack_steps(sequences)
        masks: Sequence[Any] = (None,) * len(inputs)
        if mask is not None:
            wide = ops.expand_dims(ops.cast(ops.cast(mask, "bool"), "float32"), -1)
            masks = ops.unstack_steps(wide)
        pairs = list(zip(inputs, masks, strict=True))
        noise = 1.0
        if training and isinstance(self.cell, Cell):
            noise = kept(states[0], self.cell.recurrent_dropout, self.cell.seed)
        outputs: list[Any] = []
        for x, counts in reversed(pairs) if self.go_backwards else pairs:
            output, after = self._step(x, states, noise, training)
            if counts is not None:
                before = outputs[-1] if outputs else ops.zeros_like(output)
                before = ops.zeros_like(output) if self.zero_output_for_mask else before
                output = _chosen(counts, output, before)
                after = [_chosen(counts, new, old) for new, old in zip(after, states, strict=True)]
            states = after
            outputs.append(output)
        return ops.stack_steps(outputs) if self.return_sequences else outputs[-1], states

    def _step(self, x: Any, states: list[Any], noise: Any, training: bool) -> tuple[Any, list[Any]]:
        if isinstance(self.cell, Cell):
            return self.cell.step(x, states, noise)
        output, after = self.cell(x, states, training=training)
        return output, list(after) if isinstance(after, list | tuple) else [after]

    # Configuration

    def _options(self) -> dict[str, Any]:
        names = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
        return {name: getattr(self, name) for name in (*names, "zero_output_for_mask")}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._options(), "cell": layers.serialize(self.cell)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RNN:
        return cls(**{**config, "cell": layers.deserialize(config["cell"])})


def _chosen(counts: Any, new: Any, old: Any) -> Any:
    """`new` for samples whose step counts, else `old`."""
    shape = (counts.spec.shape[0], *(1 for _ in new.spec.shape[1:]))
    return ops.where(ops.reshape(counts, shape), new, old)
