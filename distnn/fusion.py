"""Fewer passes over memory for the same bytes: what a program changes in the recorded nodes.

Results that nobody reads are dropped, an op and its only consumer become one where the op knows how, and a
result that another node computes anyway is taken from there. Every change leaves the bytes as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from distnn.graph import Node
from distnn.tensor import Tensor


def fuse(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    """The nodes to run for `results`, in an order in which they can be run."""
    live = _live(nodes, results)
    shared = _share_byproducts(live, results)
    return _fuse_pairs(_live(shared, results), results)


def _live(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    needed = set(results)
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(tensor in needed for tensor in node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def _fuse_pairs(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    readers: dict[Tensor, list[Node]] = {}
    for node in nodes:
        for tensor in node.inputs:
            readers.setdefault(tensor, []).append(node)
    wanted = set(results)
    fused_away: set[Node] = set()
    fused: list[Node] = []
    for node in nodes:
        if node in fused_away:
            continue
        replacement = node
        users = readers.get(node.outputs[0], [])
        if len(node.outputs) == 1 and len(users) == 1 and node.outputs[0] not in wanted:
            consumer = users[0]
            op = node.op.fused_with(consumer.op) if len(consumer.inputs) == 1 else None
            if op is not None:
                replacement = Node(op, node.inputs, consumer.outputs, consumer.name)
                fused_away.add(consumer)
        fused.append(replacement)
    return fused


def _share_byproducts(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    """Where a node also computes what another one does, run it once, in the earlier one's place."""
    order = list(nodes)
    while (shared := _share_one(order, set(results))) is not None:
        order = shared
    return order


def _share_one(order: Sequence[Node], results: set[Tensor]) -> list[Node] | None:
    """The nodes with one twin less, or None if none can be spared."""
    for position, node in enumerate(order):
        for op, source, output in node.op.byproducts():
            twin = _find(order, op, node.inputs[source])
            if twin is None:
                continue
            place = min(position, order.index(twin))
            kept, dropped = node.outputs[output], twin.outputs[0]
            if dropped in results:
                kept, dropped = dropped, kept
            if dropped in results or not _ready_at(order, node, place):
                continue
            outputs = (*node.outputs[:output], kept, *node.outputs[output + 1 :])
            merged = Node(node.op, node.inputs, outputs, node.name)
            before = [other for other in order[:place] if other not in (node, twin)]
            after = [_renamed(other, dropped, kept) for other in order[place:] if other not in (node, twin)]
            return [*before, merged, *after]
    return None


def _find(nodes: Sequence[Node], op: object, source: Tensor) -> Node | None:
    for node in nodes:
        if type(node.op) is type(op) and vars(node.op) == vars(op) and node.inputs == (source,):
            return node
    return None


def _ready_at(nodes: Sequence[Node], node: Node, position: int) -> bool:
    """Whether all inputs of `node` are computed before `position`."""
    late = {tensor for other in nodes[position:] for tensor in other.outputs}
    return not any(tensor in late for tensor in node.inputs)


def _renamed(node: Node, old: Tensor, new: Tensor) -> Node:
    if old not in node.inputs:
        return node
    return Node(node.op, tuple(new if t is old else t for t in node.inputs), node.outputs, node.name)
