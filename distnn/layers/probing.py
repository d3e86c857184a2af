"""What a layer returns for inputs of certain specs: it is called on tensors of a graph that nobody runs.

`Layer.output_structure` asks this; so does a call on arrays, to build a layer that has not been built.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from distnn.graph import Graph, ReadsBatchSizeError, recording
from distnn.structure import mapped
from distnn.tensor import Batch, Spec, Tensor

if TYPE_CHECKING:
    from distnn.layers.layer import Layer

_PROBE_SAMPLES = 2


def probe(layer: Layer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Specs of what a call returns, in its structure; builds the layer.

    Args:
        layer: to be called.
        args, kwargs: of the call, with specs or tensors for its tensors.
    """

    def spec_of(output: Any) -> Spec:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer '{layer.name}' must return a tensor. Received: {type(output).__name__}. "
                "Use functions of `distnn.ops`; NumPy's make no tensor."
            )
        return output.spec

    # Tried again outside the handler, so that what user code raises then has no context of ours.
    with contextlib.suppress(ReadsBatchSizeError):
        return mapped(spec_of, _call_symbolically(layer, Graph(samples=_PROBE_SAMPLES), args, kwargs))
    graph = Graph(samples=_PROBE_SAMPLES, concrete=True)
    return mapped(_with_batch, mapped(spec_of, _call_symbolically(layer, graph, args, kwargs)))


def build_for(layer: Layer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Build a layer and those inside, whatever it returns, and name them."""
    for is_concrete in (False, True):
        with contextlib.suppress(ReadsBatchSizeError):
            _call_symbolically(layer, Graph(samples=_PROBE_SAMPLES, concrete=is_concrete), args, kwargs)
            break
    layer.name_parts("")


def _call_symbolically(layer: Layer, graph: Graph, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    def entered(leaf: Any) -> Any:
        spec = leaf.spec if isinstance(leaf, Tensor) else leaf
        if not isinstance(spec, Spec):
            return leaf
        return graph.add_input(f"x{len(graph.inputs)}", graph.input_spec(spec))

    symbolic_args, symbolic_kwargs = mapped(entered, (list(args), dict(kwargs)))
    with recording(graph):
        return layer(*symbolic_args, **symbolic_kwargs)


def _with_batch(spec: Spec) -> Spec:
    """A spec found with the probe's number of samples, with the batch axis in its place."""
    if spec.shape[:1] != (_PROBE_SAMPLES,):
        return spec
    return Spec((Batch(), *spec.shape[1:]), spec.dtype)
