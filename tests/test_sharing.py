"""Layers that belong to several models: whoever is used sees the newest values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import regression, weight_bytes

from distnn.callbacks import Callback
from distnn.layers import Dense, Input
from distnn.models import Sequential
from distnn.optimizers import Adam

X, _ = regression(40)
QUIET: dict[str, Any] = {"verbose": 0, "seed": 1}


def autoencoder() -> tuple[Sequential, Sequential]:
    encoder = Sequential([Input((6,)), Dense(3, "tanh")], name="encoder")
    whole = Sequential([Input((6,)), encoder, Dense(6)])
    whole.compile(Adam(0.05), "mse")
    return encoder, whole


def agree(encoder: Sequential, whole: Sequential) -> None:
    kernel, bias = encoder.get_weights()
    np.testing.assert_array_equal(whole.get_weights()[0], kernel)
    np.testing.assert_array_equal(whole.get_layer("encoder").get_weights()[1], bias)
    codes = encoder.predict(X)
    np.testing.assert_allclose(codes, np.tanh(X @ kernel + bias), rtol=1e-4, atol=1e-6)
    decoder, offset = whole.get_weights()[2:]
    np.testing.assert_allclose(whole.predict(X), codes @ decoder + offset, rtol=1e-4, atol=1e-5)


def test_a_part_follows_the_training_of_the_whole() -> None:
    encoder, whole = autoencoder()
    seen = []
    for _ in range(3):
        seen.append(whole.fit(X, X, epochs=3, **QUIET).history["loss"][-1])
        agree(encoder, whole)
    assert seen[0] > seen[1] > seen[2]


def test_looking_at_a_part_changes_nothing() -> None:
    encoder, whole = autoencoder()
    other_encoder, other = autoencoder()
    for _ in range(3):
        whole.fit(X, X, epochs=2, **QUIET)
        encoder.predict(X)
        encoder.get_weights()
        other.fit(X, X, epochs=2, **QUIET)
    assert weight_bytes(whole) == weight_bytes(other)
    assert weight_bytes(encoder) == weight_bytes(other_encoder)


def test_a_callback_may_use_a_part() -> None:
    encoder, whole = autoencoder()
    _, other = autoencoder()
    codes = []

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            codes.append(encoder.predict(X))

    whole.fit(X, X, epochs=2, callbacks=[Look()], **QUIET)
    other.fit(X, X, epochs=2, **QUIET)
    assert weight_bytes(whole) == weight_bytes(other)
    assert all((one != next_one).any() for one, next_one in zip(codes, codes[1:], strict=False))
    np.testing.assert_array_equal(codes[-1], encoder.predict(X))
    agree(encoder, whole)


def test_a_part_trained_alone_changes_the_whole() -> None:
    encoder, whole = autoencoder()
    whole.fit(X, X, **QUIET)
    encoder.compile("sgd", "mse")
    before = weight_bytes(whole)
    encoder.fit(X, X[:, :3], epochs=2, **QUIET)
    assert weight_bytes(whole) != before
    agree(encoder, whole)
    whole.fit(X, X, **QUIET)
    agree(encoder, whole)


def test_weights_set_in_a_part_by_a_callback_count() -> None:
    encoder, whole = autoencoder()

    class Reset(Callback):
        def on_train_end(self, logs: Any = None) -> None:
            encoder.set_weights([np.zeros((6, 3)), np.ones(3)])

    whole.fit(X, X, callbacks=[Reset()], **QUIET)
    np.testing.assert_array_equal(whole.get_weights()[1], np.ones(3))
    agree(encoder, whole)


def test_a_frozen_part_stays_as_it_is() -> None:
    """As in an adversarial pair: the part is trained by itself, and frozen in the whole."""
    encoder, whole = autoencoder()
    encoder.compile(Adam(0.05), "mse")
    encoder.fit(X, X[:, :3], **QUIET)
    encoder.trainable = False
    before = encoder.get_weights()
    whole.fit(X, X, epochs=2, **QUIET)
    for old, new in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    agree(encoder, whole)


@pytest.mark.filterwarnings("ignore:.*no .get_state.")
def test_weights_are_named_by_their_place_in_the_model_that_is_used(tmp_path: Path) -> None:
    encoder, whole = autoencoder()
    seen: list[set[str]] = []

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            encoder.predict(X)
            seen.append({variable.path for variable in encoder.weights})

    recorder = MemoryRecorder(save_at=(1,))
    whole.fit(X, X, callbacks=[Look()], recorder=recorder, **QUIET)
    assert seen[0] == {"dense/kernel", "dense/bias"}
    assert {"weights/encoder/dense/kernel", "weights/dense/kernel"} <= set(recorder.saved[0].tensors)
    assert recorder.final is not None
    assert set(recorder.final.tensors) == {
        f"{layer}/{name}" for layer in ("encoder/dense", "dense") for name in ("kernel", "bias")
    }
    encoder.save_weights(tmp_path / "encoder.safetensors")
    alone = Sequential([Input((6,)), Dense(3, "tanh")])
    alone.load_weights(tmp_path / "encoder.safetensors")
    np.testing.assert_array_equal(alone.predict(X), encoder.predict(X))
