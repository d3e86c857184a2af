"""Noise layers in training: what they drop, their moments, the same bytes anywhere; nothing in inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import train

from distnn import layers
from distnn.layers import Dense, Flatten, Input, Layer
from distnn.models import Sequential
from distnn.utils import set_random_seed

NOISY: list[tuple[str, Callable[[], Layer]]] = [
    ("Dropout", lambda: layers.Dropout(0.4)),
    ("Dropout of rows", lambda: layers.Dropout(0.4, noise_shape=(None, None, 1, 1))),
    ("SpatialDropout2D", lambda: layers.SpatialDropout2D(0.4)),
    ("GaussianDropout", lambda: layers.GaussianDropout(0.2)),
    ("GaussianNoise", lambda: layers.GaussianNoise(0.5)),
    ("AlphaDropout", lambda: layers.AlphaDropout(0.2)),
]
IDS = [name for name, _ in NOISY]


@pytest.mark.parametrize(("name", "make"), NOISY, ids=IDS)
def test_moments_are_kept(name: str, make: Callable[[], Layer]) -> None:
    set_random_seed(1)
    x = np.ones((200, 8, 8, 16), np.float32)
    if name == "AlphaDropout":
        x = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    np.testing.assert_array_equal(make()(x), x)
    y = make()(x, training=True).astype(np.float64)
    assert abs(y.mean() - x.mean()) < 0.06
    rate = 0.4
    expected = {"GaussianDropout": 0.25, "GaussianNoise": 0.25, "AlphaDropout": 1.0}.get(
        name, rate / (1 - rate)
    )
    assert abs(y.var() - expected) < 0.06


def test_spatial_dropout_drops_whole_channels() -> None:
    y = layers.SpatialDropout2D(0.5)(np.ones((9, 4, 5, 7), np.float32), training=True)
    assert (y == y[:, :1, :1]).all() and set(np.unique(y)) == {0.0, 2.0}
    y = layers.SpatialDropout1D(0.5)(np.ones((9, 4, 7), np.float32), training=True)
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1


def test_noise_shape_says_what_is_dropped_together() -> None:
    y = layers.Dropout(0.5, noise_shape=(None, 1, None))(np.ones((9, 4, 7), np.float32), training=True)
    assert (y == y[:, :1]).all() and 0 < (y == 0).mean() < 1
    with pytest.raises(ValueError, match="`noise_shape` must have 2 entries"):
        layers.Dropout(0.5, noise_shape=(None, 1, 1))(np.ones((2, 3)), training=True)


@pytest.mark.parametrize(("name", "make"), NOISY, ids=IDS)
def test_noise_is_the_same_on_any_workers(name: str, make: Callable[[], Layer]) -> None:
    def model() -> Sequential:
        made = Sequential([Input((3, 2, 4)), make(), Flatten(), Dense(1)])
        made.compile("sgd", "mse")
        return made

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(23, 3, 2, 4)), rng.normal(size=(23, 1))
    options: dict[str, Any] = {"batch_size": 9, "shards": 3, "epochs": 2}
    expected = train(model, x, y, **options)
    for workers in (1, 2, 3):
        assert train(model, x, y, **options, backend="threads", workers=workers) == expected
    assert train(model, x, y, **options, seed=6) != expected


MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (lambda: layers.GaussianNoise(-1.0), "Invalid value received for argument `stddev`"),
    (lambda: layers.SpatialDropout1D(1.5), "between 0 and 1. Received: rate=1.5"),
    (lambda: layers.SpatialDropout1D(0.5)(np.ones((2, 3)), training=True), "takes inputs of 3 axes"),
    (lambda: layers.Permute((1, 3)), r"Received dims=\(1, 3\)"),
    (lambda: layers.Permute((2, 1))(np.ones((2, 3))), "permutes 2 axes"),
    (lambda: layers.ReLU(max_value=-1.0), "`max_value` of a ReLU layer must not be negative"),
    (lambda: layers.LeakyReLU(negative_slope=-1.0), "cannot be None or negative"),
    (lambda: layers.GroupNormalization(3)(np.ones((2, 4))), r"\(3\) must divide .* \(4\)"),
    (lambda: layers.GroupNormalization(0), "`groups` must be a positive integer or -1"),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES, ids=[message[:30] for _, message in MISTAKES])
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
