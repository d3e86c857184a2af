"""`Wrapper`: the base of layers that hold another layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distnn import layers
from distnn.layers.layer import Layer


class Wrapper(Layer):
    """A layer around `layer`, which it builds and saves. Subclasses define `call`."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Layer {layer} supplied to {type(self).__name__} isn't a supported layer type. Please "
                "ensure wrapped layer is a valid Keras layer."
            )
        super().__init__(**kwargs)
        self.layer: Any = layer

    def build(self, input_shape: Any) -> None:
        self.layer._build_once(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": layers.serialize(self.layer)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Wrapper:
        return cls(**{**config, "layer": layers.deserialize(config["layer"])})
