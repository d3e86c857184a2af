"""Our side of the reference nets: `models.py` built with distnn's layers, and noise to train them on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from models import LEARNING_RATE, MOMENTUM, NORM_EPSILON, CharGpt, CharLstm, Convnet, Mlp, Net

from distnn.layers import (
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    LayerNormalization,
    MaxPooling2D,
    MultiHeadAttention,
)
from distnn.models import Model, Sequential
from distnn.optimizers import SGD

_MOST_BATCHES, _LEAST_BATCHES, _DATA_VALUES = 64, 4, 1_000_000
"""Enough batches that gathering is real, few enough to fit a cache as the peer's one batch does."""


def _mlp(net: Mlp) -> Model:
    hidden = [Dense(units, activation="relu") for units in net.units[:-1]]
    return Sequential([Input((net.inputs,)), *hidden, Dense(net.classes, activation="softmax")])


def _convnet(net: Convnet) -> Model:
    model = Sequential([Input(net.image)])
    for place, group in enumerate(net.groups):
        for filters in group:
            if net.is_normalized:
                model.add(Conv2D(filters, 3, padding="same"))
                model.add(BatchNormalization(epsilon=NORM_EPSILON))
                model.add(Activation("relu"))
            else:
                model.add(Conv2D(filters, 3, activation="relu"))
        if place < len(net.groups) - 1 or not net.is_normalized:
            model.add(MaxPooling2D(2))
    model.add(GlobalAveragePooling2D() if net.is_normalized else Flatten())
    model.add(Dense(net.classes, activation="softmax"))
    return model


def _char_lstm(net: CharLstm) -> Model:
    return Sequential(
        [
            Input((net.steps,), dtype="int32"),
            Embedding(net.vocabulary, net.embedding),
            LSTM(net.units, return_sequences=True),
            Dense(net.vocabulary, activation="softmax"),
        ]
    )


def _char_gpt(net: CharGpt) -> Model:
    characters = Input((net.steps,), dtype="int32")
    h = Embedding(net.vocabulary, net.width)(characters)
    for _ in range(net.blocks):
        normed = LayerNormalization(epsilon=NORM_EPSILON)(h)
        attention = MultiHeadAttention(net.heads, net.width // net.heads)
        h = Add()([h, attention(normed, normed, use_causal_mask=True)])
        hidden = Dense(4 * net.width, activation="gelu")(LayerNormalization(epsilon=NORM_EPSILON)(h))
        h = Add()([h, Dense(net.width)(hidden)])
    outputs = Dense(net.vocabulary, activation="softmax")(LayerNormalization(epsilon=NORM_EPSILON)(h))
    return Model(characters, outputs)


_BUILDERS: dict[type[Net], Callable[[Any], Model]] = {
    Mlp: _mlp,
    Convnet: _convnet,
    CharLstm: _char_lstm,
    CharGpt: _char_gpt,
}


def build_model(net: Net, learning_rate: float = LEARNING_RATE, momentum: float = MOMENTUM) -> Model:
    """The net, compiled."""
    model = _BUILDERS[type(net)](net)
    optimizer = SGD(learning_rate, momentum=momentum)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def make_data(net: Net) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Noise for some batches of the net, and its classes."""
    rng = np.random.default_rng(0)
    batches = _DATA_VALUES // (net.batch_size * math.prod(net.sample_shape))
    samples = net.batch_size * min(_MOST_BATCHES, max(_LEAST_BATCHES, batches))
    shape = (samples, *net.sample_shape)
    if isinstance(net, CharLstm | CharGpt):
        return rng.integers(0, net.vocabulary, shape, np.int32), rng.integers(0, net.classes, shape)
    return rng.normal(size=shape).astype(np.float32), rng.integers(0, net.classes, samples)
