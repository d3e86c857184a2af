"""`Sequential`: layers one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distnn import layers as layer_registry
from distnn.layers.core import InputLayer
from distnn.layers.layer import Layer, first_axis_shape
from distnn.models.model import Model
from distnn.network import is_functional
from distnn.tensor import Spec, Tensor, batch_size_of, keras_shape


class Sequential(Model):
    """A model whose layers each take the output of the one before.

    With an `Input`, or `input_shape`/`input_dim` on the first layer, it is built as layers are added; else by
    the first data it sees.
    """

    def __init__(self, layers: Sequence[Layer | Tensor] | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self._layers: list[Layer] = []
        self._output_specs: list[Spec] = []
        self._input_spec: Spec | None = None
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | Tensor) -> None:
        """Append a layer, or begin with an `Input`.

        Raises:
            ValueError: if it is no layer, its name is taken, or it does not fit the one before.
        """
        if isinstance(layer, Tensor) and is_functional(layer) and layer.node is None:
            self._begin_with(layer.spec)
            return
        if not isinstance(layer, Layer):
            raise ValueError(
                "Only instances of `distnn.layers.Layer` can be added to a Sequential model. "
                f"Received: {layer} (of type {type(layer)})"
            )
        given = layer._given_name
        if any(layer is other or (given and given == other._given_name) for other in self._layers):
            raise ValueError(
                "All layers added to a Sequential model should have unique names, and be there once. Name "
                f"'{layer.name}' is already the name of a layer in this model."
            )
        if isinstance(layer, InputLayer):
            self._begin_with(layer.spec)
            return
        if not self._layers and self._input_spec is None and layer.sample_shape is not None:
            self._input_spec = Spec(first_axis_shape(layer.sample_shape))
        self._layers.append(layer)
        self._name_layers()
        if self._input_spec is not None:
            try:
                self._extend(layer)
            except Exception:
                self._layers.pop()
                raise

    def _begin_with(self, spec: Spec) -> None:
        if self._layers or self._input_spec is not None:
            raise ValueError(
                "Input must be the first entry of a Sequential, once. "
                f"Received: one of shape {keras_shape(spec.shape)}"
            )
        self._input_spec = spec

    def pop(self) -> Layer:
        """Remove the last layer and return it."""
        if not self._layers:
            raise ValueError("There are no layers in the model.")
        self._output_specs = self._output_specs[: len(self._layers) - 1]
        self.forget_weights()
        return self._layers.pop()

    def _name_layers(self) -> None:
        self.name_parts("")

    def _extend(self, layer: Layer) -> None:
        """Build `layer` on what the layers before give."""
        before = self._output_specs[-1] if self._output_specs else self._input_spec
        if before is None:
            raise AssertionError("the model has no input shape yet")
        self._output_specs.append(layer.output_spec(before))
        self._name_layers()
        self.built = True

    def build(self, input_shape: Any = None) -> None:
        """Build for inputs of `input_shape`, batch axis first (`None`)."""
        if self._input_spec is None:
            if input_shape is None:
                raise ValueError(
                    f"Sequential model '{self.name}' cannot be built without an input shape: begin with "
                    "`Input(shape)`, or give the first layer `input_shape`."
                )
            self._input_spec = Spec(first_axis_shape(input_shape[1:]))
        for layer in self._layers[len(self._output_specs) :]:
            self._extend(layer)
        self.built = True

    @property
    def can_be_described(self) -> bool:
        return True

    @property
    def output_names(self) -> list[str]:
        return [self._layers[-1].name if self._layers else "output"]

    @property
    def layers(self) -> list[Layer]:
        return list(self._layers)

    @property
    def input_specs(self) -> tuple[Spec, ...] | None:
        return None if self._input_spec is None else (self._input_spec,)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        if self._input_spec is None:
            raise AttributeError(f"Sequential model '{self.name}' has no defined input shape yet.")
        return keras_shape(self._input_spec.shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        if not self._output_specs:
            raise AttributeError(f"Sequential model '{self.name}' has no defined output shape yet.")
        return keras_shape(self._output_specs[-1].shape)

    def call(self, inputs: Any) -> Any:
        """The last layer's output; `training` reaches the layers through the graph."""
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def summary_rows(self) -> list[tuple[Layer, str]]:
        shapes = [str(keras_shape(spec.shape)) for spec in self._output_specs]
        return list(zip(self._layers, [*shapes, *["?"] * (len(self._layers) - len(shapes))], strict=True))

    def get_config(self) -> dict[str, Any]:
        if type(self).__init__ is not Sequential.__init__:
            return {"name": self.name}
        shape = None if self._input_spec is None else list(keras_shape(self._input_spec.shape))[1:]
        dtype = None if self._input_spec is None else self._input_spec.dtype
        size = None if self._input_spec is None else batch_size_of(self._input_spec)
        return {
            **({} if size is None else {"batch_size": size}),
            "name": self.name,
            "input_shape": shape,
            "input_dtype": dtype,
            "layers": [layer_registry.serialize(layer) for layer in self._layers],
        }

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Sequential:
        """The model of a configuration; of a subclass with a constructor, what that makes of it."""
        if "layers" not in config:
            return cls(**config)
        model = cls(name=config.get("name"))
        if config.get("input_shape") is not None:
            shape, dtype = tuple(config["input_shape"]), config.get("input_dtype")
            model.add(InputLayer(shape, config.get("batch_size"), dtype))
        for entry in config["layers"]:
            model.add(layer_registry.deserialize(entry, custom_objects))
        return model


layer_registry.register_model(Sequential)
