"""A layer called on arrays, outside any graph: computed at once, op by op, with the weights as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.control import SEED_WORD
from distnn.graph import Graph
from distnn.layers.probing import build_for
from distnn.reduction import split_moments
from distnn.rng import draw_seed
from distnn.structure import leaves, mapped
from distnn.tensor import Array, Batch, Spec, Tensor

if TYPE_CHECKING:
    from distnn.layers.layer import Layer


def call_on_arrays(layer: Layer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What the layer returns, as arrays; builds it if need be. Variables keep what the call assigns.

    Raises:
        ValueError: an argument is neither an array nor what makes one.
    """
    if not args or not all(isinstance(arg, np.ndarray | list | tuple | float | int) for arg in args):
        raise ValueError(
            f"layer '{layer.name}' must be called on tensors or arrays. Received: "
            f"{', '.join(type(arg).__name__ for arg in args) or 'nothing'}"
        )
    given = [_as_arrays(arg) for arg in args]
    named = mapped(lambda leaf: _as_array(leaf) if isinstance(leaf, np.ndarray) else leaf, dict(kwargs))
    arrays = [leaf for leaf in leaves((given, named)) if isinstance(leaf, np.ndarray)]
    if any(array.ndim == 0 for array in leaves(given)):
        raise ValueError(f"layer '{layer.name}' must be called on samples along axis 0, not on a number")
    if not layer.built:
        build_for(layer, *mapped(_spec_of_array, (given, named)))
    layer.ensure_initialized()
    graph = Graph(samples=len(arrays[0]), eager=True, training=bool(kwargs.get("training")))
    graph.control[SEED_WORD] = draw_seed() if graph.training else 0

    def entered(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        spec = Spec(leaf.shape, leaf.dtype.name)
        return graph.add_input(f"x{len(graph.inputs)}", spec, np.ascontiguousarray(leaf))

    entered_args, entered_kwargs = mapped(entered, (given, named))
    outputs = layer(*entered_args, **entered_kwargs)
    _commit(graph)
    return mapped(lambda tensor: tensor.numpy() if isinstance(tensor, Tensor) else tensor, outputs)


def _as_arrays(argument: Any) -> Any:
    """An argument of a call on arrays: a structure of arrays, or what makes one array."""
    if isinstance(argument, list | tuple) and any(isinstance(leaf, np.ndarray) for leaf in leaves(argument)):
        return mapped(_as_array, argument)
    return _as_array(argument)


def _as_array(value: Any) -> Array:
    array = np.asarray(value)
    dtypes = {"f": np.float32, "b": np.bool_}
    return array.astype(dtypes.get(array.dtype.kind, np.int32))


def _spec_of_array(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray):
        return leaf
    return Spec((Batch(1, len(leaf)), *leaf.shape[1:]), leaf.dtype.name)


def _commit(graph: Graph) -> None:
    """Let variables hold what a call on arrays assigned, and moving statistics move, as after a step."""
    for moments in graph.moments:
        count, mean, m2 = split_moments(moments.tensor.numpy())
        for variable, value in ((moments.mean, mean), (moments.variance, m2 / count)):
            variable.assign(variable.array * moments.momentum + value * (1.0 - moments.momentum))
    for assignment in graph.assignments.values():
        assignment.variable.assign(assignment.value.numpy())
