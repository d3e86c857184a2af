"""The same weights in Keras 3 (on torch) and here: outputs, masks, training. Skipped where it is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")

import distnn.layers  # noqa: E402
import distnn.models  # noqa: E402
import distnn.optimizers  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(4)
SAMPLES, STEPS, WORDS, CLASSES = 12, 7, 9, 4
TOKENS = RNG.integers(1, WORDS, size=(SAMPLES, STEPS)).astype(np.int32)
for _row, _length in enumerate(RNG.integers(1, STEPS + 1, size=SAMPLES)):
    TOKENS[_row, _length:] = 0
LABELS = RNG.integers(0, CLASSES, size=(SAMPLES, STEPS)).astype(np.int32)
VALUES = RNG.normal(size=(SAMPLES, STEPS, 5)).astype(np.float32)
VALUES[TOKENS == 0] = 0.0

Build = Callable[[Any, Any], Any]
"""A model from (layers, models) of either library."""


def tokens_to_steps(recurrent: Callable[[Any], Any], mask_zero: bool = True) -> Build:
    def build(layers: Any, models: Any) -> Any:
        return models.Sequential(
            [
                layers.Input((STEPS,), dtype="int32"),
                layers.Embedding(WORDS, 6, mask_zero=mask_zero),
                recurrent(layers),
                layers.Dense(CLASSES, activation="softmax"),
            ]
        )

    return build


def values_to_classes(*hidden: Callable[[Any], Any]) -> Build:
    def build(layers: Any, models: Any) -> Any:
        first = [layers.Input((STEPS, 5)), layers.Masking(0.0)]
        return models.Sequential([*first, *(make(layers) for make in hidden), layers.Dense(CLASSES)])

    return build


RECURRENT: dict[str, Callable[[Any], Any]] = {
    "simple": lambda layers: layers.SimpleRNN(8, return_sequences=True),
    "simple relu": lambda layers: layers.SimpleRNN(8, activation="relu", return_sequences=True),
    "lstm": lambda layers: layers.LSTM(8, return_sequences=True),
    "lstm without bias": lambda layers: layers.LSTM(8, use_bias=False, return_sequences=True),
    "lstm backwards": lambda layers: layers.LSTM(8, go_backwards=True, return_sequences=True),
    "lstm unusual": lambda layers: layers.LSTM(8, activation="softplus", return_sequences=True),
    "gru": lambda layers: layers.GRU(8, return_sequences=True),
    "gru before": lambda layers: layers.GRU(8, reset_after=False, return_sequences=True),
    "both ways": lambda layers: layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
    "summed": lambda layers: layers.Bidirectional(layers.GRU(5, return_sequences=True), merge_mode="sum"),
    "cells": lambda layers: layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True),
    "each step": lambda layers: layers.TimeDistributed(layers.Dense(5, activation="tanh")),
}


def pair(build: Build) -> tuple[Any, Any]:
    """Both libraries' models, with one set of weights."""
    theirs = build(keras.layers, keras.models)
    ours = build(distnn.layers, distnn.models)
    ours.ensure_initialized(1)
    drawn = [0.4 * RNG.normal(size=w.shape).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(drawn)
    ours.set_weights(drawn)
    return theirs, ours


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("mask_zero", [True, False])
def test_steps_agree_with_keras(name: str, mask_zero: bool) -> None:
    theirs, ours = pair(tokens_to_steps(RECURRENT[name], mask_zero))
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    np.testing.assert_allclose(ours.predict(TOKENS), theirs.predict(TOKENS, verbose=0), atol=2e-6)
    for model, optimizers in ((theirs, keras.optimizers), (ours, distnn.optimizers)):
        model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"batch_size": SAMPLES, "epochs": 5, "verbose": 0, "shuffle": False}
    history = theirs.fit(TOKENS, LABELS, **options).history
    found = ours.fit(TOKENS, LABELS, **options, shards=3).history
    np.testing.assert_allclose(found["loss"], history["loss"], rtol=2e-5)
    np.testing.assert_allclose(found["accuracy"], history["accuracy"], atol=1e-6)
    for mine, its in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, atol=2e-5)


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_last_outputs_of_masked_steps_agree_with_keras(name: str) -> None:
    def deep(layers: Any) -> Any:
        return getattr(layers, name)(6, return_sequences=True, zero_output_for_mask=True)

    def last(layers: Any) -> Any:
        return layers.Bidirectional(getattr(layers, name)(5))

    theirs, ours = pair(values_to_classes(deep, last))
    np.testing.assert_allclose(ours.predict(VALUES), theirs.predict(VALUES, verbose=0), atol=2e-6)


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_defaults_and_weights_are_keras_ones(name: str) -> None:
    theirs, ours = getattr(keras.layers, name)(3), getattr(distnn.layers, name)(3)
    theirs.build((None, STEPS, 2))
    ours(np.zeros((1, STEPS, 2), np.float32))
    assert [w.path.split("/")[-1] for w in theirs.weights] == [w.name for w in ours.weights]
    expected, found = theirs.get_config(), ours.get_config()
    for key in set(expected) & set(found) - {"name", "dtype"}:
        if not isinstance(expected[key], dict):
            assert found[key] == expected[key], key
        else:
            assert found[key]["class_name"] == expected[key]["class_name"], key


def test_states_agree_with_keras() -> None:
    theirs = keras.layers.LSTM(4, return_state=True, return_sequences=True)
    ours = distnn.layers.LSTM(4, return_state=True, return_sequences=True)
    start = [RNG.normal(size=(SAMPLES, 4)).astype(np.float32) for _ in range(2)]
    mask = TOKENS != 0
    mask[0] = False
    theirs(VALUES)
    ours(VALUES)
    theirs.set_weights(ours.get_weights())
    expected = theirs(VALUES, initial_state=[keras.ops.array(s) for s in start], mask=keras.ops.array(mask))
    found = ours(VALUES, initial_state=start, mask=mask)
    for mine, its in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, keras.ops.convert_to_numpy(its), atol=2e-6)
