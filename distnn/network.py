"""Functional models: calls of layers and ops on the tensors of `Input`s, recorded once and replayed.

A layer called on such a tensor is not run: that it was called is written down (`LayerCall`), with the specs
of what it returns. A `Network` is what lies between inputs and outputs; running it calls the same layers and
ops, in the same order, on the tensors of a trace. Tensors hold the nodes they came from, so what no model
uses any more is freed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from distnn.graph import Graph, Node
from distnn.structure import leaves, mapped, packed
from distnn.tensor import Array, Spec, Tensor
from distnn.variable import Variable

if TYPE_CHECKING:
    from distnn.layers.layer import Layer
    from distnn.ops.op import Op


@dataclass(frozen=True, eq=False)
class LayerCall:
    """What a node of a functional model calls: a layer, with its arguments.

    `args`, `kwargs`: as they were given; tensors of the model stand in them.
    """

    layer: Layer
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, found: dict[Tensor, Tensor]) -> list[Tensor]:
        """Call the layer with the tensors found in place of the model's."""
        args, kwargs = replaced((self.args, self.kwargs), found)
        return list(leaves(self.layer(*args, **kwargs)))


def replaced(structure: Any, found: Mapping[Any, Any]) -> Any:
    """The structure with what was found for each tensor in its place."""
    return mapped(lambda leaf: found[leaf] if isinstance(leaf, Tensor) else leaf, structure)


class FunctionalGraph(Graph):
    """The graph of all tensors that functional models are made of. It keeps none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.values: WeakKeyDictionary[Tensor, Array | Variable] = WeakKeyDictionary()

    def record(self, op: Op, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        specs = op.output_specs(*(tensor.spec for tensor in inputs))
        return made_node(op, op.name, inputs, specs)

    def constant(self, value: Any, dtype: str | None = None) -> Tensor:
        scratch = Graph()
        held = scratch.constant(value, dtype)
        return self.leaf(held.spec, "constant", scratch.constants[held])

    def variable(self, variable: Variable) -> Tensor:
        return self.leaf(Spec(variable.shape, variable.dtype), variable.path, variable)

    def leaf(self, spec: Spec, name: str, value: Array | Variable) -> Tensor:
        tensor = Tensor(self, spec, name=name)
        self.values[tensor] = value
        return tensor


FUNCTIONAL = FunctionalGraph()


def made_node(call: Any, name: str, inputs: Sequence[Tensor], specs: Sequence[Spec]) -> tuple[Tensor, ...]:
    """The outputs of a new node that calls an op, or a layer (`LayerCall`)."""
    node = Node(call, tuple(inputs), (), name)
    node.outputs = tuple(Tensor(FUNCTIONAL, spec, node, i, name) for i, spec in enumerate(specs))
    return node.outputs


def input_tensor(spec: Spec, name: str) -> Tensor:
    """A tensor with which a functional model begins."""
    return Tensor(FUNCTIONAL, spec, name=name)


def is_functional(value: Any) -> bool:
    """Whether `value` is a tensor of functional models, which stands for values but has none."""
    return isinstance(value, Tensor) and value.graph is FUNCTIONAL


def call_layer(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Write down that `layer` was called; returns tensors in the structure of what it gives."""
    specs = layer.output_structure(args, kwargs)
    inputs = [leaf for leaf in leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    call = LayerCall(layer, args, kwargs)
    outputs = made_node(call, layer.name, inputs, list(leaves(specs)))
    return packed(specs, iter(outputs))


class Network:
    """All calls between inputs and outputs, in an order in which they can be made.

    Args:
        inputs: what `Input` gave, in any structure.
        outputs: tensors made of them, in any structure.

    Raises:
        ValueError: if an output needs an input that is not among `inputs`, or something is no such tensor.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.inputs, self.outputs = inputs, outputs
        for role, given in (("inputs", inputs), ("outputs", outputs)):
            for leaf in leaves(given):
                if not is_functional(leaf):
                    raise ValueError(
                        f"`{role}` of a functional model must be tensors made from `Input`s by layers. "
                        f"Received: {leaf!r} (of type {type(leaf).__name__})"
                    )
        self.input_tensors: list[Tensor] = list(leaves(inputs))
        self.output_tensors: list[Tensor] = list(leaves(outputs))
        self.nodes = self._ordered()
        sources = [tensor for node in self.nodes for tensor in node.inputs]
        self.values: dict[Tensor, Array | Variable] = {
            tensor: FUNCTIONAL.values[tensor]
            for tensor in [*sources, *self.output_tensors]
            if tensor in FUNCTIONAL.values
        }
        self.layers: list[Layer] = list(
            dict.fromkeys(node.op.layer for node in self.nodes if isinstance(node.op, LayerCall))
        )
        self._check_distinct()

    def _check_distinct(self) -> None:
        given = [layer._given_name for layer in self.layers if layer._given_name]
        given += [tensor.name for tensor in self.input_tensors if tensor.name]
        twice = sorted({name for name in given if given.count(name) > 1})
        if twice:
            raise ValueError(
                f"All layers and inputs of a model should have unique names. Several are called {twice[0]!r}"
            )

    @property
    def input_names(self) -> list[str]:
        """Keys of a dict of inputs, else their names; those not named are `input_layer`, `input_layer_1`."""
        if isinstance(self.inputs, dict):
            return sorted(self.inputs)
        return list(named_once([tensor.name or "input_layer" for tensor in self.input_tensors]))

    @property
    def output_names(self) -> list[str]:
        """Keys of a dict of outputs, else the names of what the outputs come from."""
        if isinstance(self.outputs, dict):
            return sorted(self.outputs)
        names = [
            tensor.name or "input_layer"
            if tensor.node is None
            else tensor.node.op.layer.name
            if isinstance(tensor.node.op, LayerCall)
            else tensor.node.name
            for tensor in self.output_tensors
        ]
        return list(named_once(names))

    def _ordered(self) -> list[Node]:
        """The nodes that lead to the outputs, each after those it needs."""
        done: dict[Node, None] = {}
        given = set(self.input_tensors)
        stack: list[tuple[Tensor, bool]] = [(tensor, False) for tensor in reversed(self.output_tensors)]
        while stack:
            tensor, is_ready = stack.pop()
            node = tensor.node
            if tensor in given or tensor in FUNCTIONAL.values or node in done:
                continue
            if node is None:
                raise ValueError(
                    f"the outputs depend on the input '{tensor.name}', which is not among the model's "
                    f"inputs ({', '.join(repr(one.name) for one in self.input_tensors)})"
                )
            if is_ready:
                done[node] = None
                continue
            stack.append((tensor, True))
            stack += [(source, False) for source in reversed(node.inputs)]
        return list(done)

    def run(self, inputs: Sequence[Tensor]) -> Any:
        """The outputs, in their structure, for tensors of a trace in place of the inputs."""
        graph = inputs[0].graph
        found = dict(zip(self.input_tensors, inputs, strict=True))
        for tensor, value in self.values.items():
            if isinstance(value, Variable):
                found[tensor] = graph.variable(value)
            else:
                found[tensor] = graph.constant(value, tensor.spec.dtype)
        for node in self.nodes:
            call: Any = node.op
            if isinstance(call, LayerCall):
                results = call.run(found)
            else:
                results = list(graph.record(call, [found[tensor] for tensor in node.inputs]))
            found.update(zip(node.outputs, results, strict=True))
        return replaced(self.outputs, found)

    # A network on its way to another process: without tensors, which refer to each other ever deeper

    def __getstate__(self) -> dict[str, Any]:
        tensors = [*self.input_tensors, *self.values, *(t for node in self.nodes for t in node.outputs)]
        places = {tensor: Place(i) for i, tensor in enumerate(tensors)}
        return {
            "inputs": replaced(self.inputs, places),
            "input_specs": [(tensor.spec, tensor.name) for tensor in self.input_tensors],
            "values": [(tensor.spec, tensor.name, value) for tensor, value in self.values.items()],
            "nodes": [_flat_node(node, places) for node in self.nodes],
            "outputs": replaced(self.outputs, places),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        tensors = [input_tensor(spec, name) for spec, name in state["input_specs"]]
        tensors += [FUNCTIONAL.leaf(*leaf) for leaf in state["values"]]
        for call, name, inputs, specs in state["nodes"]:
            if isinstance(call, LayerCall):
                args, kwargs = restored((call.args, call.kwargs), tensors)
                call = LayerCall(call.layer, args, kwargs)
            tensors += made_node(call, name, restored(inputs, tensors), specs)
        self.__init__(restored(state["inputs"], tensors), restored(state["outputs"], tensors))  # type: ignore[misc]


@dataclass(frozen=True)
class Place:
    """A tensor's number in a network's description."""

    number: int


def restored(structure: Any, tensors: Sequence[Tensor]) -> Any:
    """The structure with the tensors in their places."""
    return mapped(lambda leaf: tensors[leaf.number] if isinstance(leaf, Place) else leaf, structure)


def _flat_node(node: Node, places: Mapping[Tensor, Place]) -> tuple[Any, str, list[Place], list[Spec]]:
    call: Any = node.op
    if isinstance(call, LayerCall):
        call = LayerCall(call.layer, *replaced((call.args, call.kwargs), places))
    return call, node.name, [places[t] for t in node.inputs], [t.spec for t in node.outputs]


def in_order(given: Any, names: Sequence[str] | None, what: str) -> Any:
    """A dict's values in the order of `names`; anything else as it is.

    Raises:
        ValueError: if its keys are not these names.
    """
    if not isinstance(given, dict) or names is None:
        return given
    if set(given) != set(names):
        raise ValueError(
            f"the model's {what} are called {', '.join(map(repr, names))}. "
            f"Received: a dict with keys {', '.join(map(repr, given))}"
        )
    return [given[name] for name in names]


def named_once(names: Sequence[str]) -> Iterator[str]:
    """The names; of those that come again, numbered."""
    counts: dict[str, int] = {}
    for name in names:
        count = counts.get(name, 0)
        counts[name] = count + 1
        yield name if count == 0 else f"{name}_{count}"
