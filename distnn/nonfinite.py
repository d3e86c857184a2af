"""Where a step came to values that are not finite: it is computed again, op by op, from the state before it.

In the process that trains, whoever computed it first; called when an engine has told of trouble. Slow, as
nobody needs it twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.errors import Trouble
from distnn.graph import Graph, Node
from distnn.recording import TrainingState
from distnn.reduction import ShardSums
from distnn.shard import ShardRunner
from distnn.sources import Sources
from distnn.task import Task
from distnn.tensor import Array, Batch, Tensor
from distnn.threads import product_threads
from distnn.tracing import Traced
from distnn.updater import Updater
from distnn.variable import Variable
from distnn.weights import WeightLayout

if TYPE_CHECKING:
    from distnn.data.arrays import ArrayData


def find_trouble(task: Task, data: ArrayData, state: TrainingState) -> Trouble:
    """The first place where the step after `state` is not finite; `what` is `unknown` if it is nowhere.

    Args:
        task: a training.
        data: what it trains on.
        state: committed; not changed.
    """
    rate = task.model.optimizer.learning_rate_at(state.iterations)
    try:
        with product_threads(task.threads), np.errstate(all="ignore"):
            found = _search(task, data, state)
    except Exception:
        # Code of the user that does not bear being called op by op: the step's own trouble is to be told.
        found = None
    return replace(found or Trouble(state.step, "unknown"), learning_rate=rate)


def _search(task: Task, data: ArrayData, state: TrainingState) -> Trouble | None:
    runner = ShardRunner(task, Sources({"train": data}))
    layout = task.layout()
    for variable in layout.trainable:
        if value := _value(layout.view(state.weights, variable)):
            return Trouble(state.step, "weights", layer=variable.path, value=value)
    for shard in range(task.batching.shards):
        walked = runner.walk(state.step, shard, state.weights)
        if walked is not None and (trouble := _in_shard(runner, *walked)) is not None:
            return Trouble(state.step, shard=shard, **trouble)
    return _in_update(runner, state)


# In a shard


def _in_shard(runner: ShardRunner, traced: Traced, indices: Array) -> dict[str, Any] | None:
    """What `Trouble` takes, if a result of the shard is not finite."""
    objective, graph = runner.task.objective, traced.graph
    assert objective is not None
    sums, losses = traced.results.sums, len(objective.losses)
    not_metrics = (*sums[:losses], *sums[losses + objective.num_metrics :])
    found = traced.results
    gradients = [tensor for tensor in found.gradients if tensor is not None]
    origin = _first_origin(graph, [*not_metrics, *found.moments, *gradients])
    if origin is None:
        return None
    place, tensor = origin
    node = graph.nodes[place]
    what = "loss" if place >= graph.sections["loss"] else "forward"
    if place >= graph.sections["gradient"]:
        what = "gradient"
    layer, op = _named(graph, node, what)
    sample = _first_sample(runner, traced, place, tensor, indices)
    return {"what": what, "layer": layer, "op": op, "sample": sample, "value": _value(tensor.numpy())}


def _first_origin(graph: Graph, results: Sequence[Tensor]) -> tuple[int, Tensor] | None:
    """The first node whose output is not finite though its inputs are, among those that reach the results.

    An infinity that ends on the way (a mask before a softmax) is none.
    """
    places = {node: place for place, node in enumerate(graph.nodes)}
    reached = [tensor for tensor in results if _is_bad(tensor)]
    seen: set[Tensor] = set(reached)
    origins: list[tuple[int, Tensor]] = []
    while reached:
        tensor = reached.pop()
        if tensor.node is None:
            continue
        causes = _causes(tensor.node, tensor)
        if not causes:
            origins.append((places[tensor.node], tensor))
        reached += [cause for cause in causes if cause not in seen]
        seen.update(causes)
    return min(origins, key=lambda origin: origin[0], default=None)


def _causes(node: Node, output: Tensor) -> list[Tensor]:
    """The computed inputs that are not finite; of a NaN those that are NaN, if any is."""
    bad = [tensor for tensor in node.inputs if tensor.node is not None and _is_bad(tensor)]
    if np.isnan(output.numpy()).any():
        return [tensor for tensor in bad if np.isnan(tensor.numpy()).any()] or bad
    return bad


def _is_bad(tensor: Tensor) -> bool:
    return tensor.value is not None and bool(_value(tensor.value))


def _value(array: Array) -> str:
    """The first value that is not finite, as text; empty if there is none."""
    if array.dtype.kind != "f":
        return ""
    bad = array[~np.isfinite(array)]
    return str(float(bad[0])) if bad.size else ""


def _named(graph: Graph, node: Node, what: str) -> tuple[str, str]:
    """The layer (or loss) and the op, from the node's name."""
    name = node.name
    if what == "gradient":
        # `gradient/` the name of the node whose gradient it is `/` the op
        name = name.removeprefix("gradient/")
        forward = {one.name for one in graph.nodes[: graph.sections["gradient"]]}
        while name not in forward and "/" in name:
            name = name.rpartition("/")[0]
    layer, _, op = name.rpartition("/")
    return layer or op, op


def _first_sample(
    runner: ShardRunner, traced: Traced, place: int, tensor: Tensor, indices: Array
) -> int | None:
    """Which sample has the first value of the tensor that is not finite, if it has values of samples."""
    symbolic = runner.training.graph
    samples, shape = len(indices), tensor.numpy().shape
    dim: object = None
    if not symbolic.concrete and place < len(symbolic.nodes):
        node = symbolic.nodes[place]
        if node.name == traced.graph.nodes[place].name and node.outputs[tensor.index].spec.rank:
            dim = node.outputs[tensor.index].spec.shape[0]
    elif shape and shape[0] == samples:
        dim = Batch()
    if not isinstance(dim, Batch):
        return None
    rows = tensor.numpy().reshape(shape[0], -1)
    row = int(np.argmax(~np.isfinite(rows).all(axis=1)))
    return int(indices[row // dim.multiple])


# In what follows


def _in_update(runner: ShardRunner, state: TrainingState) -> Trouble | None:
    """All shards are well: what of their sum, or of what the update makes of it, is not finite."""
    task = runner.task
    total = ShardSums(runner.training.sums_layout)
    runner.compute_subtree(state.step, (0, task.batching.shards), state.weights, total)
    updater = Updater(task, runner.training)
    updater.begin(state)
    if updater.update(total) is not None:
        return None
    layout = task.layout()
    for variable in layout.trainable:
        if value := _value(layout.view(total.gradient, variable)):
            return Trouble(state.step, "gradient", layer=variable.path, op="sum over shards", value=value)
    for layer, array in _written(layout, task.model.optimizer.slot_names, updater.attempted):
        if value := _value(array):
            return Trouble(state.step, "update", layer=layer, value=value)
    return Trouble(state.step, "loss", layer="loss", op="sum over shards", value=_value(total.sums))


def _written(
    layout: WeightLayout, slot_names: Sequence[str], state: TrainingState
) -> list[tuple[str, Array]]:
    """What an update wrote, and what it is called in a sentence."""

    def of(variables: Sequence[Variable], flat: Array, what: str) -> list[tuple[str, Array]]:
        return [(f"{what} '{variable.path}'", layout.view(flat, variable)) for variable in variables]

    found = of(layout.variables, state.weights, "the weights")
    for name, slot in zip(slot_names, state.slots, strict=True):
        found += of(layout.trainable, slot, f"the optimizer's '{name}' of")
    return found
