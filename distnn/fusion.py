"""Fewer passes over memory for the same bytes: what a program changes in the recorded nodes.

Results that nobody reads are dropped, an op and its only consumer become one where the op knows how, so do
two that read the same, and a result that another node computes anyway is taken from there. Every change
leaves the bytes as they were.
"""

from __future__ import annotations

from collections.abc import Sequence

from distnn.graph import Node
from distnn.ops.op import ELSEWHERE, FIRST_OUTPUT
from distnn.tensor import Tensor


def fuse(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    """The nodes to run for `results`, in an order in which they can be run."""
    live = _live(nodes, results)
    shared = _share_byproducts(live, results)
    return _fuse_pairs(_join(_live(shared, results), results), results)


def _live(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    needed = set(results)
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(tensor in needed for tensor in node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def _join(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    """Each node one with a later reader of its first input, where ops know how."""
    readers, made_at = _readers_and_places(nodes)
    read, joined_away = {*readers, *results}, set[Node]()
    joined: list[Node] = []
    for position, node in enumerate(nodes):
        if node in joined_away:
            continue
        for other in readers[node.inputs[0]] if node.inputs else ():
            is_ready = all(made_at.get(tensor, -1) < position for tensor in other.inputs)
            if other is node or other in joined_away or other in joined or not is_ready:
                continue
            op = node.op.joined_with(other.op, _sources(node, other))
            if op is not None:
                others = tuple(tensor for tensor in other.inputs if tensor not in node.inputs)
                outputs = (*node.outputs, *(tensor for tensor in other.outputs if tensor in read))
                node = Node(op, (*node.inputs, *others), outputs, node.name)
                joined_away.add(other)
                break
        joined.append(node)
    return joined


def _readers_and_places(nodes: Sequence[Node]) -> tuple[dict[Tensor, list[Node]], dict[Tensor, int]]:
    """The readers of each tensor, and the place of the node that makes it."""
    readers: dict[Tensor, list[Node]] = {}
    made_at: dict[Tensor, int] = {}
    for position, node in enumerate(nodes):
        for tensor in node.inputs:
            readers.setdefault(tensor, []).append(node)
        made_at.update(dict.fromkeys(node.outputs, position))
    return readers, made_at


def _fuse_pairs(nodes: Sequence[Node], results: Sequence[Tensor]) -> list[Node]:
    """Each node one with the only reader of its first output, again and again while ops know how."""
    readers, made_at = _readers_and_places(nodes)
    wanted, fused_away = set(results), set[Node]()
    fused: list[Node] = []
    for position, node in enumerate(nodes):
        if node in fused_away:
            continue
        while (consumer := _only_reader(node, readers, wanted)) is not None:
            others = [t for t in consumer.inputs if t not in (node.outputs[0], *node.inputs)]
            if any(made_at.get(tensor, -1) >= position for tensor in others):
                break
            op = node.op.fused_with(consumer.op, _sources(node, consumer))
            if op is None:
                break
            outputs = (*consumer.outputs, *node.outputs[1:])
            node = Node(op, (*node.inputs, *others), outputs, consumer.name)
            fused_away.add(consumer)
        fused.append(node)
    return fused


def _only_reader(node: Node, readers: dict[Tensor, list[Node]], wanted: set[Tensor]) -> Node | None:
    users = readers.get(node.outputs[0], [])
    return users[0] if len(users) == 1 and node.outputs[0] not in wanted else None


def _sources(node: Node, consumer: Node) -> tuple[int, ...]:
    """Where each of the consumer's inputs comes from, as `Op.fused_with` takes it."""
    return tuple(
        FIRST_OUTPUT
        if tensor is node.outputs[0]
        else node.inputs.index(tensor)
        if tensor in node.inputs
        else ELSEWHERE
        for tensor in consumer.inputs
    )


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
