"""Layers by Keras's names, and how a configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distnn.layers.bidirectional import Bidirectional as Bidirectional
from distnn.layers.core import Activation as Activation
from distnn.layers.core import Dense as Dense
from distnn.layers.core import Input as Input
from distnn.layers.core import InputLayer as InputLayer
from distnn.layers.embedding import Embedding as Embedding
from distnn.layers.layer import Layer as Layer
from distnn.layers.normalization import BatchNormalization as BatchNormalization
from distnn.layers.normalization import LayerNormalization as LayerNormalization
from distnn.layers.recurrent import RNN as RNN
from distnn.layers.recurrent_cells import GRUCell as GRUCell
from distnn.layers.recurrent_cells import LSTMCell as LSTMCell
from distnn.layers.recurrent_cells import SimpleRNNCell as SimpleRNNCell
from distnn.layers.recurrent_cells import StackedRNNCells as StackedRNNCells
from distnn.layers.recurrent_layers import GRU as GRU
from distnn.layers.recurrent_layers import LSTM as LSTM
from distnn.layers.recurrent_layers import SimpleRNN as SimpleRNN
from distnn.layers.regularization import Dropout as Dropout
from distnn.layers.reshaping import Flatten as Flatten
from distnn.layers.reshaping import Reshape as Reshape
from distnn.layers.sequence import Masking as Masking
from distnn.layers.sequence import RepeatVector as RepeatVector
from distnn.layers.sequence import TimeDistributed as TimeDistributed
from distnn.naming import did_you_mean

_CLASSES: dict[str, type[Layer]] = {
    layer_class.__name__: layer_class
    for layer_class in (
        Activation,
        BatchNormalization,
        Bidirectional,
        Dense,
        Dropout,
        Embedding,
        Flatten,
        GRU,
        GRUCell,
        InputLayer,
        LSTM,
        LSTMCell,
        LayerNormalization,
        Masking,
        RNN,
        RepeatVector,
        Reshape,
        SimpleRNN,
        SimpleRNNCell,
        StackedRNNCells,
        TimeDistributed,
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
