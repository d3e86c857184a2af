"""A model's tasks, kept from call to call: loops of games and notebooks ask for the same ones again.

What a task depends on is its key; while that is the same, whatever was traced and bound for it is good.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distnn.batching import Batching
from distnn.models.states import state_variables
from distnn.objective import Objective
from distnn.task import Signature, Task
from distnn.tensor import Spec
from distnn.variable import Variable

if TYPE_CHECKING:
    from distnn.layers.layer import Layer
    from distnn.models.model import Model

_MAX_KEPT = 8


def structure_of(layer: Layer) -> tuple[Any, ...]:
    """What layers and weights there are inside, which are trained or keep states, and their names."""
    found: list[Any] = []
    _walk(layer, found, set())
    return tuple(found)


def _walk(layer: Layer, found: list[Any], seen: set[int]) -> None:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    found += (layer, layer.trainable, layer.name, getattr(layer, "stateful", False))
    for variable in layer._own_weights:
        found += (variable, variable.path)
    for _, inner in layer.sublayers():
        _walk(inner, found, seen)


class Tasks:
    """The tasks and output specs of one model, as long as its `structure` and `compile` are the same.

    `version` is another number whenever they have changed.
    """

    def __init__(self) -> None:
        self.structure: tuple[Any, ...] = ()
        self.version = 0
        self._kept: OrderedDict[Any, Task] = OrderedDict()
        self._outputs: dict[tuple[Spec, ...], tuple[Spec, ...]] = {}
        self._states: list[Variable] | None = None

    def forget(self) -> None:
        """The model changed."""
        self.version += 1
        self._kept.clear()
        self._outputs.clear()
        self._states = None

    def state_variables(self, model: Model) -> list[Variable]:
        """The variables that keep states from batch to batch; the model is initialized."""
        if self._states is None:
            self._states = state_variables(model)
        return self._states

    def output_specs(self, model: Model, inputs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Specs of all outputs for such inputs; builds the model."""
        key = tuple(inputs)
        if key not in self._outputs:
            self._outputs[key] = model.output_specs(inputs)
        return self._outputs[key]

    def training(self, model: Model, signature: Signature, batching: Batching, threads: int) -> Task:
        """The task of training or evaluating the model on such data."""
        key = ("training", signature, batching.shards, batching.shuffle, threads)

        def objective() -> Objective:
            return model.objective(signature.targets, self.output_specs(model, signature.inputs))

        return self._task(key, model, objective, signature, batching, threads)

    def prediction(self, model: Model, signature: Signature, batching: Batching, threads: int) -> Task:
        """The task of predicting for such data."""
        key = ("prediction", signature, batching.shards, threads)
        return self._task(key, model, lambda: None, signature, batching, threads)

    def _task(
        self, key: Any, model: Model, objective: Any, signature: Signature, batching: Batching, threads: int
    ) -> Task:
        task = self._kept.get(key)
        if task is None:
            task = Task(model, objective(), signature, batching, threads, model.run_eagerly)
            self._kept[key] = task
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        if task.batching != batching:
            task = self._kept[key] = replace(task, batching=batching)
        return task
