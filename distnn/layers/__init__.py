"""Layers by Keras's names, and how a configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distnn.layers.augmentation import RandomBrightness as RandomBrightness
from distnn.layers.augmentation import RandomContrast as RandomContrast
from distnn.layers.augmentation import RandomFlip as RandomFlip
from distnn.layers.augmentation import RandomRotation as RandomRotation
from distnn.layers.augmentation import RandomTranslation as RandomTranslation
from distnn.layers.augmentation import RandomZoom as RandomZoom
from distnn.layers.augmentation import Resizing as Resizing
from distnn.layers.core import Activation as Activation
from distnn.layers.core import Dense as Dense
from distnn.layers.core import Input as Input
from distnn.layers.core import InputLayer as InputLayer
from distnn.layers.layer import Layer as Layer
from distnn.layers.lookup import IntegerLookup as IntegerLookup
from distnn.layers.lookup import StringLookup as StringLookup
from distnn.layers.lookup import TextVectorization as TextVectorization
from distnn.layers.normalization import BatchNormalization as BatchNormalization
from distnn.layers.normalization import LayerNormalization as LayerNormalization
from distnn.layers.preprocessing import CategoryEncoding as CategoryEncoding
from distnn.layers.preprocessing import Discretization as Discretization
from distnn.layers.preprocessing import Normalization as Normalization
from distnn.layers.preprocessing import Rescaling as Rescaling
from distnn.layers.regularization import Dropout as Dropout
from distnn.layers.reshaping import Flatten as Flatten
from distnn.layers.reshaping import Reshape as Reshape
from distnn.naming import did_you_mean

_CLASSES: dict[str, type[Layer]] = {
    layer_class.__name__: layer_class
    for layer_class in (
        Activation,
        BatchNormalization,
        CategoryEncoding,
        Dense,
        Discretization,
        Dropout,
        Flatten,
        InputLayer,
        IntegerLookup,
        LayerNormalization,
        Normalization,
        RandomBrightness,
        RandomContrast,
        RandomFlip,
        RandomRotation,
        RandomTranslation,
        RandomZoom,
        Rescaling,
        Reshape,
        Resizing,
        StringLookup,
        TextVectorization,
    )
}
_CLASSES["Input"] = InputLayer
_MODELS: dict[str, type[Layer]] = {}
"""Models that may stand inside a model; no layer of a list of layers, so not among the names."""


def names() -> list[str]:
    """Names that `get_class` knows."""
    return sorted(_CLASSES)


def get_class(name: str) -> type[Layer]:
    """The layer class called `name`.

    Raises:
        ValueError: if there is none.
    """
    found = _CLASSES.get(name) or _MODELS.get(name)
    if found is None:
        raise ValueError(
            f"Unknown layer: {name!r}.{did_you_mean(name, _CLASSES)} Known layers: {', '.join(names())}."
        )
    return found


def register(layer_class: type[Layer]) -> type[Layer]:
    """Let `deserialize` find a layer class of the user's own by its name; usable as a decorator."""
    _CLASSES[layer_class.__name__] = layer_class
    return layer_class


def register_model(model_class: type[Layer]) -> None:
    """Let `deserialize` find a model inside a model."""
    _MODELS[model_class.__name__] = model_class


def serialize(layer: Layer) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a layer of the user's own that was not registered, so that its name finds nothing.
    """
    name = type(layer).__name__
    if type(layer) not in (_CLASSES.get(name), _MODELS.get(name)):
        raise ValueError(
            f"the layer '{layer.name}' is of your own class {name}: decorate it with "
            "`distnn.layers.register`, or build the model in code and use load_weights"
        )
    return {"class_name": type(layer).__name__, "config": layer.get_config()}


def deserialize(config: Mapping[str, Any]) -> Layer:
    """The layer that `serialize` described."""
    return get_class(config["class_name"]).from_config(config["config"])
