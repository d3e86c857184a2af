"""Layers that keep states from batch to batch: which they are, and what they ask of the batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from distnn.errors import DataError
from distnn.layers.layer import Layer
from distnn.tensor import Array
from distnn.variable import Variable


def stateful_layers(layer: Layer) -> Iterator[Any]:
    """The stateful layers inside, at any depth, that hold states of their own."""
    for _, inner in layer.sublayers():
        if getattr(inner, "stateful", False) and hasattr(inner, "reset_state"):
            yield inner
        else:
            yield from stateful_layers(inner)


def state_variables(layer: Layer) -> list[Variable]:
    """The variables that hold states, in the order of all variables."""
    found = {variable for one in stateful_layers(layer) for variable in one.states or ()}
    return [variable for variable in layer.variables if variable in found] if found else []


def check_batches(states: Sequence[Variable], samples: int, batch_size: int) -> None:
    """Refuse batches whose samples the state variables do not fit.

    Raises:
        DataError: naming batch size and samples.
    """
    expected = sorted({variable.shape[0] for variable in states})
    if not expected or (expected == [batch_size] and samples % batch_size == 0):
        return
    raise DataError(
        "If an RNN is stateful, the batch size of the input sequences must be the same as the batch size of "
        f"the initial state.\n- Expected batch size: {', '.join(map(str, expected))}\n- Received batch size: "
        f"{batch_size}, of {samples} samples (a whole number of batches is needed)"
    )


def take_states(variables: Sequence[Variable], rows: Sequence[Array]) -> None:
    """Let variables hold the last batch's states, of the states of all samples in order."""
    for variable, found in zip(variables, rows, strict=True):
        variable.assign(np.asarray(found[len(found) - variable.shape[0] :], np.float32))
