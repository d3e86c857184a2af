"""What a model knows of the graph it was made of: inputs, outputs, their names and shapes.

Of subclasses and unfinished Sequentials there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn.layers.core import InputLayer
from distnn.layers.layer import Layer
from distnn.models.functional_config import shape_texts
from distnn.network import Network
from distnn.structure import mapped, packed
from distnn.tensor import Array, Spec, Tensor, concrete_shape


class GraphOfLayers(Layer):
    """The part of a model that is about its graph of layers."""

    _network: Network | None = None

    def _take_network(self, network: Network) -> None:
        self._network = network
        self._inner_layers = list(network.layers)
        self.built = True
        self.name_parts("")

    @property
    def can_be_described(self) -> bool:
        """Whether `get_config` says all there is to say of the model."""
        return self._network is not None

    @property
    def input_names(self) -> list[str] | None:
        """Names of the inputs of a functional model; None for others."""
        return None if self._network is None else self._network.input_names

    @property
    def output_names(self) -> list[str] | None:
        """Names of the outputs of a functional model; None for others."""
        return None if self._network is None else self._network.output_names

    @property
    def inputs(self) -> list[Tensor]:
        """The functional model's inputs."""
        return self._functional("inputs").input_tensors

    @property
    def outputs(self) -> list[Tensor]:
        """The functional model's outputs."""
        return self._functional("outputs").output_tensors

    @property
    def input(self) -> Any:
        """The functional model's input, or inputs in their structure."""
        return self._functional("input").inputs

    @property
    def output(self) -> Any:
        """The functional model's output, or outputs in their structure."""
        return self._functional("output").outputs

    @property
    def input_shape(self) -> Any:
        """Shape of the input (batch axis `None`), or a structure of shapes."""
        return mapped(lambda tensor: tensor.shape, self._functional("input_shape").inputs)

    @property
    def output_shape(self) -> Any:
        """Shape of the output (batch axis `None`), or a structure of shapes."""
        return mapped(lambda tensor: tensor.shape, self._functional("output_shape").outputs)

    def _functional(self, attribute: str) -> Network:
        if self._network is None:
            raise AttributeError(
                f"{type(self).__name__} '{self.name}' is no functional model: it has no `{attribute}`"
            )
        return self._network

    def names_of_outputs(self, count: int) -> list[str]:
        """The outputs' names; numbers where the model is not functional and has several."""
        if self.output_names is not None:
            return self.output_names
        return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]

    def packed_outputs(self, outputs: Sequence[Array]) -> Any:
        """Arrays of all outputs, in order, as the model returns them."""
        if self._network is not None:
            return packed(self._network.outputs, iter(outputs))
        return outputs[0] if len(outputs) == 1 else list(outputs)

    @property
    def input_specs(self) -> tuple[Spec, ...] | None:
        """Specs of the inputs, if known before data is seen."""
        if self._network is None:
            return None
        return tuple(tensor.spec for tensor in self._network.input_tensors)

    @property
    def layers(self) -> list[Layer]:
        """The layers; of a functional model the inputs first, as in Keras."""
        inner = [layer for _, layer in self.sublayers()]
        return [*self._input_layers(), *inner]

    def _input_layers(self) -> list[Layer]:
        if self._network is None:
            return []
        names, tensors = self._network.input_names, self._network.input_tensors
        return [
            InputLayer(concrete_shape(tensor.spec.shape[1:], 1), dtype=tensor.spec.dtype, name=name)
            for name, tensor in zip(names, tensors, strict=True)
        ]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by name or index."""
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(
                    f"Was asked to retrieve layer at index {index} but model only has {len(self.layers)} "
                    "layers."
                )
            return self.layers[index]
        if name is None:
            raise ValueError("Provide either a layer name or layer index at `get_layer`.")
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"No such layer: {name}. Existing layers are: {[layer.name for layer in self.layers]}."
        )

    def summary_rows(self) -> list[tuple[Layer, str]]:
        """Layers with the text of their output shapes."""
        if self._network is None:
            return [(layer, "?") for layer in self.layers]
        inputs = zip(self._input_layers(), self._network.input_tensors, strict=True)
        shapes = shape_texts(self._network)
        rows = [(layer, str(tensor.shape)) for layer, tensor in inputs]
        return [*rows, *((layer, shapes[id(layer)]) for layer in self._network.layers)]
