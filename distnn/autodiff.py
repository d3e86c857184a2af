"""The backward pass: each op's gradient, recorded in the graph that recorded the op.

Reverse mode over the list of nodes. A gradient is made of ops, so it is planned, fused, run eagerly and
differentiated like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from distnn import ops
from distnn.graph import Graph, recording
from distnn.tensor import Tensor


def gradients(
    graph: Graph, seeds: Sequence[tuple[Tensor, Tensor]], wrt: Sequence[Tensor]
) -> list[Tensor | None]:
    """Append the backward pass to `graph`.

    Args:
        graph: the graph to read and to append to.
        seeds: pairs (tensor, gradient of the total with respect to it).
        wrt: leaves whose gradients are wanted.

    Returns:
        One tensor per leaf, or None where the seeds do not depend on it. A tensor used several times gets
        the sum of its gradients, added in the order in which the backward pass meets them.
    """
    needed = _descendants(graph, wrt)
    found: dict[Tensor, Tensor] = {}

    def accumulate(tensor: Tensor, gradient: Tensor | None) -> None:
        if gradient is None or tensor not in needed:
            return
        if gradient.spec.shape != tensor.spec.shape:
            raise AssertionError(
                f"gradient of {tensor.name} has shape {gradient.spec.shape}, not {tensor.spec.shape}"
            )
        found[tensor] = ops.add(found[tensor], gradient) if tensor in found else gradient

    with recording(graph), graph.scope("gradient"):
        for tensor, gradient in seeds:
            accumulate(tensor, gradient)
        for node in reversed(list(graph.nodes)):
            douts = tuple(found.get(tensor) for tensor in node.outputs)
            if all(dout is None for dout in douts) or not any(t in needed for t in node.inputs):
                continue
            with graph.scope(node.name):
                dinputs = node.op.gradient(node.inputs, node.outputs, douts)
                for source, dsource in zip(node.inputs, dinputs, strict=True):
                    accumulate(source, dsource)
    return [found.get(tensor) for tensor in wrt]


def _descendants(graph: Graph, leaves: Sequence[Tensor]) -> set[Tensor]:
    """The leaves and every tensor computed from them through differentiable inputs."""
    reached = set(leaves)
    for node in graph.nodes:
        if any(tensor in reached for tensor in node.inputs):
            reached.update(tensor for tensor in node.outputs if tensor.spec.dtype == "float32")
    return reached
