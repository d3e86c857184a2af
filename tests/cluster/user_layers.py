"""Models of a user's module, which workers import by its name."""

from __future__ import annotations

import sys
import time
from typing import Any

from distnn import ops
from distnn.layers import Dense, Layer
from distnn.models import Sequential


class Slow(Layer):
    """Takes 50 ms for a shard."""

    def call(self, inputs: Any) -> Any:
        doubled = ops.multiply(inputs, 2.0)
        if doubled.value is not None:
            time.sleep(0.05)
        return doubled


class Exiting(Layer):
    """Ends the program when it sees values."""

    def call(self, inputs: Any) -> Any:
        doubled = ops.multiply(inputs, 2.0)
        if doubled.value is not None:
            sys.exit("enough")
        return doubled


def _model(layer: Layer) -> Sequential:
    model = Sequential([layer, Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    return model


def slow_model() -> Sequential:
    return _model(Slow(input_shape=(6,)))


def exiting_model() -> Sequential:
    return _model(Exiting(input_shape=(6,)))
