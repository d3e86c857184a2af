"""Layers by Keras's names, and how a configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distnn.layers.activation_layers import ELU as ELU
from distnn.layers.activation_layers import LeakyReLU as LeakyReLU
from distnn.layers.activation_layers import PReLU as PReLU
from distnn.layers.activation_layers import ReLU as ReLU
from distnn.layers.activation_layers import Softmax as Softmax
from distnn.layers.attention import AdditiveAttention as AdditiveAttention
from distnn.layers.attention import Attention as Attention
from distnn.layers.core import Activation as Activation
from distnn.layers.core import Dense as Dense
from distnn.layers.core import Input as Input
from distnn.layers.core import InputLayer as InputLayer
from distnn.layers.einsum_dense import EinsumDense as EinsumDense
from distnn.layers.group_normalization import GroupNormalization as GroupNormalization
from distnn.layers.group_normalization import RMSNormalization as RMSNormalization
from distnn.layers.group_normalization import UnitNormalization as UnitNormalization
from distnn.layers.lambda_layer import Lambda as Lambda
from distnn.layers.layer import Layer as Layer
from distnn.layers.merging import Add as Add
from distnn.layers.merging import Average as Average
from distnn.layers.merging import Concatenate as Concatenate
from distnn.layers.merging import Dot as Dot
from distnn.layers.merging import Maximum as Maximum
from distnn.layers.merging import Minimum as Minimum
from distnn.layers.merging import Multiply as Multiply
from distnn.layers.merging import Subtract as Subtract
from distnn.layers.merging import add as add
from distnn.layers.merging import average as average
from distnn.layers.merging import concatenate as concatenate
from distnn.layers.merging import dot as dot
from distnn.layers.merging import maximum as maximum
from distnn.layers.merging import minimum as minimum
from distnn.layers.merging import multiply as multiply
from distnn.layers.merging import subtract as subtract
from distnn.layers.multi_head_attention import MultiHeadAttention as MultiHeadAttention
from distnn.layers.normalization import BatchNormalization as BatchNormalization
from distnn.layers.normalization import LayerNormalization as LayerNormalization
from distnn.layers.regularization import AlphaDropout as AlphaDropout
from distnn.layers.regularization import Dropout as Dropout
from distnn.layers.regularization import GaussianDropout as GaussianDropout
from distnn.layers.regularization import GaussianNoise as GaussianNoise
from distnn.layers.regularization import SpatialDropout1D as SpatialDropout1D
from distnn.layers.regularization import SpatialDropout2D as SpatialDropout2D
from distnn.layers.regularization import SpatialDropout3D as SpatialDropout3D
from distnn.layers.reshaping import Flatten as Flatten
from distnn.layers.reshaping import Permute as Permute
from distnn.layers.reshaping import Reshape as Reshape
from distnn.naming import did_you_mean

_CLASSES: dict[str, type[Layer]] = {
    layer_class.__name__: layer_class
    for layer_class in (
        Activation,
        AdditiveAttention,
        Attention,
        Add,
        AlphaDropout,
        Average,
        BatchNormalization,
        Concatenate,
        Dense,
        Dot,
        Dropout,
        ELU,
        EinsumDense,
        Flatten,
        GaussianDropout,
        GaussianNoise,
        GroupNormalization,
        InputLayer,
        Lambda,
        LayerNormalization,
        LeakyReLU,
        Maximum,
        Minimum,
        MultiHeadAttention,
        Multiply,
        PReLU,
        Permute,
        RMSNormalization,
        ReLU,
        Reshape,
        Softmax,
        SpatialDropout1D,
        SpatialDropout2D,
        SpatialDropout3D,
        Subtract,
        UnitNormalization,
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
