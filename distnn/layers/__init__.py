"""Layers by Keras's names, and how a configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distnn.layers.core import Activation as Activation
from distnn.layers.core import Dense as Dense
from distnn.layers.core import Input as Input
from distnn.layers.core import InputLayer as InputLayer
from distnn.layers.layer import Layer as Layer
from distnn.layers.normalization import BatchNormalization as BatchNormalization
from distnn.layers.normalization import LayerNormalization as LayerNormalization
from distnn.layers.regularization import Dropout as Dropout
from distnn.layers.reshaping import Flatten as Flatten
from distnn.layers.reshaping import Reshape as Reshape
from distnn.naming import did_you_mean

_CLASSES: dict[str, type[Layer]] = {
    layer_class.__name__: layer_class
    for layer_class in (
        Activation,
        BatchNormalization,
        Dense,
        Dropout,
        Flatten,
        InputLayer,
        LayerNormalization,
        Reshape,
    )
}
_CLASSES["Input"] = InputLayer


def names() -> list[str]:
    """Names that `get_class` knows."""
    return sorted(_CLASSES)


def get_class(name: str) -> type[Layer]:
    """The layer class called `name`.

    Raises:
        ValueError: if there is none.
    """
    if name not in _CLASSES:
        raise ValueError(
            f"Unknown layer: {name!r}.{did_you_mean(name, _CLASSES)} Known layers: {', '.join(names())}."
        )
    return _CLASSES[name]


def register(layer_class: type[Layer]) -> type[Layer]:
    """Let `deserialize` find a layer class of the user's own by its name; usable as a decorator."""
    _CLASSES[layer_class.__name__] = layer_class
    return layer_class


def serialize(layer: Layer) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`."""
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


def deserialize(config: Mapping[str, Any]) -> Layer:
    """The layer that `serialize` described."""
    return get_class(config["class_name"]).from_config(config["config"])
