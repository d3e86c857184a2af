"""A model as boxes and arrows: a box for each layer, for each op between layers, for each input.

It knows nothing of places and pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from distnn.layers.layer import Layer
from distnn.models import Model, Sequential
from distnn.network import LayerCall, Network, input_tensor
from distnn.structure import leaves
from distnn.tensor import Tensor


@dataclass(frozen=True)
class Shown:
    """What a box tells beside the class of its layer; the arguments of `plot_model`."""

    shapes: bool = False
    dtype: bool = False
    layer_names: bool = False
    activations: bool = False
    trainable: bool = False
    nested: bool = False


@dataclass
class Box:
    """A layer, op or input.

    Attributes:
        title: its first row; `rows`: the others, each of one cell or several.
        groups: the nested models that it lies in, from the outermost.
    """

    title: str
    rows: list[list[str]]
    groups: tuple[str, ...] = ()


@dataclass
class Boxes:
    """Boxes by number, and arrows from one to another."""

    boxes: list[Box] = field(default_factory=list)
    arrows: list[tuple[int, int]] = field(default_factory=list)

    def add(self, box: Box) -> int:
        self.boxes.append(box)
        return len(self.boxes) - 1

    def connect(self, source: int, target: int) -> None:
        if (source, target) not in self.arrows:
            self.arrows.append((source, target))


def boxes_of(model: Layer, shown: Shown) -> Boxes:
    """The model's boxes; of one that is no graph of layers (a subclass with a `call` of its own) one box.

    Raises:
        ValueError: a Sequential that does not know its inputs' shape yet.
    """
    found = Boxes()
    network = network_of(model)
    if network is not None:
        _Collector(found, shown).collect(network, ())
    elif not isinstance(model, Sequential):
        found.add(_box(model, [], [], shown, ()))
    else:
        raise ValueError(
            "This model has not yet been built. Build the model first by calling `build()` or by calling the "
            "model on a batch of data."
        )
    return found


def network_of(layer: Layer) -> Network | None:
    """The graph of layers of a functional model, or of a Sequential that knows its inputs' shape."""
    if isinstance(layer, Sequential):
        if not layer.input_specs or not layer.built:
            return None
        first = last = input_tensor(layer.input_specs[0], "")
        for inner in layer.layers:
            last = inner(last)
        return Network(first, last)
    return layer._network if isinstance(layer, Model) else None


class _Collector:
    """Walks networks, also nested ones, and notes which box each tensor comes from."""

    def __init__(self, found: Boxes, shown: Shown) -> None:
        self._found = found
        self._shown = shown
        self._layers: dict[int, int] = {}
        self._nested: dict[int, tuple[list[int], list[int]]] = {}

    def collect(self, network: Network, groups: tuple[str, ...]) -> list[int]:
        """Add the network's boxes; returns those of its outputs."""
        places: dict[Tensor, int] = {}
        for name, tensor in zip(network.input_names, network.input_tensors, strict=True):
            places[tensor] = self._add_input(name, tensor, groups)
        for node in network.nodes:
            sources = [places[tensor] for tensor in node.inputs if tensor in places]
            call: Any = node.op
            if isinstance(call, LayerCall):
                made = self._add_layer(call, node.inputs, node.outputs, sources, groups)
            else:
                cells = _shape_rows(node.inputs, node.outputs, self._shown)
                made = [self._found.add(Box(type(call).__name__, cells, groups))] * len(node.outputs)
                for source in sources:
                    self._found.connect(source, made[0])
            places.update(zip(node.outputs, made, strict=True))
        return [places[tensor] for tensor in network.output_tensors]

    def _add_input(self, name: str, tensor: Tensor, groups: tuple[str, ...]) -> int:
        title = f"{name} (InputLayer)" if self._shown.layer_names else "InputLayer"
        rows = []
        if self._shown.shapes:
            rows.append([f"Output shape: {tensor.shape}"])
        if self._shown.dtype:
            rows.append([f"Output dtype: {tensor.spec.dtype}"])
        return self._found.add(Box(title, rows, groups))

    def _add_layer(
        self,
        call: LayerCall,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        sources: list[int],
        groups: tuple[str, ...],
    ) -> list[int]:
        """The boxes that the outputs come from; a layer that is called again has its box already."""
        inner = network_of(call.layer) if self._shown.nested else None
        if inner is not None:
            return self._add_nested(call.layer, inner, sources, groups)
        number = self._layers.get(id(call.layer))
        if number is None:
            box = _box(call.layer, list(inputs), list(outputs), self._shown, groups)
            number = self._layers[id(call.layer)] = self._found.add(box)
        for source in sources:
            self._found.connect(source, number)
        return [number] * len(outputs)

    def _add_nested(
        self, layer: Layer, network: Network, sources: list[int], groups: tuple[str, ...]
    ) -> list[int]:
        if id(layer) not in self._nested:
            first = len(self._found.boxes)
            ends = self.collect(network, (*groups, layer.name))
            self._nested[id(layer)] = (list(range(first, first + len(network.input_tensors))), ends)
        beginnings, ends = self._nested[id(layer)]
        for source, target in zip(sources, beginnings, strict=True):
            self._found.connect(source, target)
        return ends


def _box(
    layer: Layer, inputs: list[Tensor], outputs: list[Tensor], shown: Shown, groups: tuple[str, ...]
) -> Box:
    kind = type(layer).__name__
    rows: list[list[str]] = []
    activation = getattr(layer, "activation", None)
    if shown.activations and activation is not None:
        rows.append([f"Activation: {getattr(activation, '__name__', type(activation).__name__)}"])
    rows += _shape_rows(inputs, outputs, shown)
    if shown.trainable and layer.variables:
        rows.append([f"Trainable: {layer.trainable}"])
    return Box(f"{layer.name} ({kind})" if shown.layer_names else kind, rows, groups)


def _shape_rows(inputs: Any, outputs: Any, shown: Shown) -> list[list[str]]:
    rows = []
    if shown.shapes:
        rows.append([f"Input shape: {_texts(inputs)}", f"Output shape: {_texts(outputs)}"])
    if shown.dtype:
        kinds = ", ".join(dict.fromkeys(tensor.spec.dtype for tensor in leaves(list(outputs))))
        rows.append([f"Output dtype: {kinds or '?'}"])
    return rows


def _texts(tensors: Any) -> str:
    return ", ".join(str(tensor.shape) for tensor in tensors) or "?"
