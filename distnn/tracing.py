"""A task's model and objective recorded as a graph: for training, evaluation or prediction.

The model's `call` runs once, on symbolic tensors (or, in an eager task, on a shard's values), and the graph
is all that is left of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from distnn.added_losses import record_added
from distnn.autodiff import gradients
from distnn.graph import Assignment, Graph, Moments, ReadsBatchSizeError, recording
from distnn.objective import Seed
from distnn.ops.accumulate import ScaledBySamples, ToSums
from distnn.ops.op import as_tensor
from distnn.program import Results
from distnn.reduction import SumsLayout
from distnn.structure import leaves
from distnn.task import Task
from distnn.tensor import Array, Spec, Tensor
from distnn.variable import Variable
from distnn.weights import WeightLayout

Mode = Literal["train", "evaluate", "predict", "count"]
"""`count`: only how many of a shard's loss values count, where masks say which."""


@dataclass(frozen=True, eq=False)
class Traced:
    """A recorded task.

    `assigned`: their merged values lie in the sums after the objective's pairs and the penalty.
    `states`: kept from batch to batch; outside of training the shard's rows of them are the last outputs.
    """

    mode: Mode
    graph: Graph
    results: Results
    layout: WeightLayout
    seeds: tuple[Seed, ...]
    sums_layout: SumsLayout
    moments: tuple[Moments, ...]
    assigned: tuple[Assignment, ...]
    states: tuple[Variable, ...] = ()


@dataclass(frozen=True)
class EagerValues:
    """What an eager trace runs on: a shard's inputs by name, the weights, the control words.

    `batch_samples`, `batch_counts`: of the whole batch, by which losses are divided.
    """

    inputs: Mapping[str, Array]
    variable_value: Callable[[Variable], Array]
    control: Array
    batch_samples: int
    batch_counts: Array


def input_specs(task: Task, mode: Mode) -> dict[str, Spec]:
    """The graph's data inputs by name: x0.., and unless predicting y0.. and sample_weight."""
    specs = {f"x{i}": spec for i, spec in enumerate(task.signature.inputs)}
    if mode != "predict":
        specs |= {f"y{i}": spec for i, spec in enumerate(task.signature.targets)}
        if task.signature.weight is not None:
            specs["sample_weight"] = task.signature.weight
    return specs


def trace(
    task: Task, mode: Mode, samples: int, *, dtype: Any = np.float32, eager: EagerValues | None = None
) -> Traced:
    """Record `task` for shards of up to `samples` samples (exactly so many, if it reads the batch size).

    Raises:
        Exception: whatever the user's layers, loss or metrics raise, as it is.
    """
    is_training = mode in ("train", "count")
    graph = Graph(samples=samples, eager=eager is not None, dtype=dtype, training=is_training)
    # Tried again outside the handler, so that what user code raises then has no context of ours.
    with contextlib.suppress(ReadsBatchSizeError):
        return _record(task, mode, graph, eager)
    return _record(task, mode, Graph(samples, dtype=dtype, training=is_training, concrete=True), None)


def _record(task: Task, mode: Mode, graph: Graph, eager: EagerValues | None) -> Traced:
    layout = task.layout()
    if eager is not None:
        graph.variable_value = eager.variable_value
        graph.control = eager.control
        graph.batch_samples = eager.batch_samples
        graph.batch_counts = eager.batch_counts
    leaves = {
        name: graph.add_input(name, graph.input_spec(spec), None if eager is None else eager.inputs[name])
        for name, spec in input_specs(task, mode).items()
    }
    inputs = [leaves[f"x{i}"] for i in range(len(task.signature.inputs))]
    with recording(graph), _quiet_floats(eager is not None):
        outputs = _as_list(task.model.call_on(inputs, training=graph.training))
        if mode == "predict" or task.objective is None:
            states, rows = _kept_states(graph, layout)
            results = Results(outputs=(*outputs, *rows))
            return Traced(mode, graph, results, layout, (), SumsLayout(0, 0, ()), (), (), states)
        graph.sections["loss"] = len(graph.nodes)
        targets = [leaves[f"y{i}"] for i in range(len(task.signature.targets))]
        recorded = task.objective.record(graph, targets, outputs, leaves.get("sample_weight"))
        if mode == "count":
            counting = Results(sums=recorded.counts)
            return Traced(mode, graph, counting, layout, (), _sums_layout(0, recorded.counts, ()), (), ())
        _add_penalties(graph, layout)
        added = record_added(graph)
        starts, seeds = recorded.starts, recorded.seeds
        if added is not None:
            starts, seeds = (*starts, *added.starts), (*seeds, *added.seeds, added.batch)
        # the update adds the penalty of the weights to what layers added to the loss
        sums = [*recorded.sums, graph.constant(np.zeros(1), "float64") if added is None else added.sums]
        if mode == "evaluate":
            states, rows = _kept_states(graph, layout)
            results = Results(sums=tuple(sums), outputs=rows)
            needed = () if added is None else (added.batch,)
            return Traced(mode, graph, results, layout, needed, _sums_layout(0, sums, ()), (), (), states)
        moments, assigned = tuple(graph.moments), tuple(graph.assignments.values())
        sums += [_assigned_sum(assignment, layout, task.batching.shards) for assignment in assigned]
        wrt = [_leaf(graph, variable) for variable in layout.trainable]
        graph.sections["gradient"] = len(graph.nodes)
        found = [
            graph.constant(np.zeros(variable.shape)) if gradient is None else gradient
            for variable, gradient in zip(layout.trainable, gradients(graph, starts, wrt), strict=True)
        ]
    moment_tensors = tuple(entry.tensor for entry in moments)
    results = Results(gradients=tuple(found), sums=tuple(sums), moments=moment_tensors)
    sums_layout = _sums_layout(layout.trainable_size, sums, moment_tensors)
    return Traced(mode, graph, results, layout, seeds, sums_layout, moments, assigned)


def _kept_states(graph: Graph, layout: WeightLayout) -> tuple[tuple[Variable, ...], tuple[Tensor, ...]]:
    """The variables that are kept from batch to batch, and what the shard leaves in them."""
    states = tuple(variable for variable in layout.variables if variable in graph.states)
    return states, tuple(graph.states[variable] for variable in states)


def _add_penalties(graph: Graph, layout: WeightLayout) -> None:
    """Record the penalties that need a whole weight; those of single values are the update's."""
    for variable in layout.trainable:
        penalty = variable.regularizer
        if penalty is not None and not penalty.is_of_single_values:
            graph.added_losses.append((as_tensor(penalty(_leaf(graph, variable)), graph), False))


def _leaf(graph: Graph, variable: Variable) -> Tensor:
    """The leaf of a trainable variable, whatever was assigned to it."""
    return graph.variables[variable] if variable in graph.variables else graph.variable(variable)


def _as_list(outputs: Any) -> list[Tensor]:
    found = list(leaves(outputs))
    for output in found:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"the model's `call` must return tensors. Received: {type(output).__name__}. "
                "Arrays made outside `distnn.ops` have no gradient."
            )
    return found


def _assigned_sum(assignment: Assignment, layout: WeightLayout, shards: int) -> Tensor:
    """What a shard leaves of an assigned variable.

    Raises:
        ValueError: if the shards' values cannot be merged, or an optimizer changes the variable too.
    """
    variable = assignment.variable
    if variable in layout.trainable:
        raise ValueError(
            f"`call` assigned the variable '{variable.path}', which the optimizer trains: create it with "
            "add_weight(..., trainable=False)"
        )
    if variable.aggregation == "none" and shards > 1:
        raise ValueError(
            f"`call` assigned the variable '{variable.path}', whose aggregation is 'none', in each of "
            f"{shards} shards: create it with add_weight(..., aggregation='mean') or 'sum', or use shards=1"
        )
    op = ScaledBySamples() if variable.aggregation == "mean" else ToSums()
    result: Tensor = op(assignment.merged)
    return result


def _sums_layout(gradient: int, sums: Sequence[Tensor], moments: Sequence[Tensor]) -> SumsLayout:
    channels = tuple((tensor.spec.size(1) - 1) // 2 for tensor in moments)
    return SumsLayout(gradient, sum(tensor.spec.size(1) for tensor in sums), channels)


def _quiet_floats(is_eager: bool) -> contextlib.AbstractContextManager[object]:
    """Eager arithmetic follows the kernels' rules: infinities and NaN without NumPy's warnings."""
    return np.errstate(all="ignore") if is_eager else contextlib.nullcontext()
