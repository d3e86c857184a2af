"""A committed state as named tensors and facts, and back; callbacks' states without and with their arrays.

A `Snapshot` is what a recorder keeps; the training loop decides what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.errors import CheckpointError
from distnn.recording import Snapshot, TrainingState
from distnn.tensor import Array

if TYPE_CHECKING:
    from distnn.task import Task

States = Mapping[str, Mapping[str, Any]]
_CALLBACK_ARRAYS = "callbacks"


def without_arrays(states: States) -> tuple[dict[str, dict[str, Any]], dict[str, Array]]:
    """The callbacks' states without arrays, and these by name, copied."""
    plain: dict[str, dict[str, Any]] = {}
    arrays: dict[str, Array] = {}
    for key, state in states.items():
        plain[key] = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        for name, value in state.items():
            if isinstance(value, np.ndarray):
                arrays[f"{_CALLBACK_ARRAYS}/{key}/{name}"] = np.array(value, order="C")
    return plain, arrays


def with_arrays(states: States, tensors: Mapping[str, Array]) -> dict[str, dict[str, Any]]:
    """The callbacks' states, whole again."""
    whole = {key: dict(state) for key, state in states.items()}
    for path, array in tensors.items():
        place, _, rest = path.partition("/")
        key, _, name = rest.partition("/")
        if place == _CALLBACK_ARRAYS:
            whole.setdefault(key, {})[name] = array
    return whole


def write_snapshot(task: Task, state: TrainingState, training: dict[str, Any]) -> Snapshot:
    """A committed state as named tensors (copied) and facts."""
    task.model.name_parts("")  # a callback may have used a part of the model as a model of its own
    layout = task.layout()
    tensors = {f"weights/{path}": view for path, view in layout.named(state.weights).items()}
    for name, slot in zip(task.model.optimizer.slot_names, state.slots, strict=True):
        named = layout.named(slot, layout.trainable)
        tensors |= {f"optimizer/{name}/{path}": view for path, view in named.items()}
    tensors["training/sums"] = state.sums
    copied = {name: np.array(array, order="C") for name, array in tensors.items()}
    facts = {"step": state.step, "iterations": state.iterations, "training": training}
    return Snapshot(state.step, copied, facts)


def read_snapshot(snapshot: Snapshot, task: Task, like: TrainingState) -> TrainingState:
    """The state that `write_snapshot` wrote; `like` gives the sizes.

    Raises:
        CheckpointError: if it is of another model.
        KeyError: if a tensor is missing.
    """
    layout, optimizer = task.layout(), task.model.optimizer
    weights = np.zeros_like(like.weights)
    slots = optimizer.initial_slots(like.slots.shape[1])  # between variables they stay as they began
    for variable in layout.variables:
        _fill(layout.view(weights, variable), snapshot, f"weights/{variable.path}")
    for name, slot in zip(optimizer.slot_names, slots, strict=True):
        for variable in layout.trainable:
            _fill(layout.view(slot, variable), snapshot, f"optimizer/{name}/{variable.path}")
    sums = np.array(snapshot.tensors["training/sums"], np.float64)
    return TrainingState(snapshot.step, int(snapshot.metadata["iterations"]), weights, slots, sums)


def _fill(target: Array, snapshot: Snapshot, name: str) -> None:
    array = snapshot.tensors[name]
    if array.shape != target.shape:
        raise CheckpointError(
            f"the checkpoint of step {snapshot.step} is of another model: '{name}' has shape {array.shape}, "
            f"the model's has {target.shape}"
        )
    target[...] = array
