"""Batch and layer normalisation against NumPy; statistics of shards merged into those of the batch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from trainings import Array, regression, step_sums

from distnn.layers import BatchNormalization, Dense, Flatten, Input, LayerNormalization
from distnn.models import Sequential
from distnn.optimizers import SGD
from distnn.reduction import split_moments

EPSILON = 1e-3


def normalized(x: Array, mean: Array, variance: Array) -> Array:
    return (x - mean) / np.sqrt(variance + EPSILON)


def given(samples: int = 20) -> Array:
    rng = np.random.default_rng(samples)
    return (rng.normal(size=(samples, 3)) * [1.0, 4.0, 0.5] + [0.0, 3.0, -1.0]).astype(np.float32)


def test_layer_norm_is_numpys() -> None:
    x = np.random.default_rng(0).normal(2.0, 3.0, (4, 5, 6)).astype(np.float32)
    layer = LayerNormalization(beta_initializer="random_normal", gamma_initializer="random_normal")
    y = layer(x)
    gamma, beta = layer.get_weights()
    exact = x.astype(np.float64)
    expected = normalized(exact, exact.mean(-1, keepdims=True), exact.var(-1, keepdims=True)) * gamma + beta
    np.testing.assert_allclose(y, expected, atol=2e-6)


def test_layer_norm_of_constant_rows_is_its_offset() -> None:
    y = LayerNormalization()(np.full((2, 4), 1e4, np.float32))
    np.testing.assert_array_equal(y, np.zeros((2, 4)))


def test_training_uses_the_batch_and_inference_what_was_gathered() -> None:
    layer, x = BatchNormalization(momentum=0.9), given()
    exact = x.astype(np.float64)
    in_training = layer(x, training=True)
    np.testing.assert_allclose(in_training, normalized(exact, exact.mean(0), exact.var(0)), atol=1e-5)
    gamma, beta, mean, variance = layer.get_weights()
    np.testing.assert_allclose(mean, 0.1 * exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * exact.var(0), rtol=1e-6)
    np.testing.assert_allclose(layer(x), normalized(exact, mean, variance), rtol=1e-5, atol=1e-6)
    for before, after in zip((gamma, beta, mean, variance), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after, "inference moves nothing")


def test_a_frozen_layer_normalises_as_in_inference() -> None:
    layer, x = BatchNormalization(trainable=False), given()
    np.testing.assert_allclose(layer(x, training=True), normalized(x, np.zeros(3), np.ones(3)), rtol=1e-5)
    np.testing.assert_array_equal(layer.get_weights()[2], np.zeros(3))


def model_of(*layers: Any, learning_rate: float = 0.0) -> Sequential:
    model = Sequential([Input((3,)), *layers, Flatten(), Dense(1)])
    model.compile(SGD(learning_rate), "mse")
    return model


def fit_once(model: Sequential, x: Array, shards: int, **options: Any) -> None:
    y = x[:, :1]
    model.fit(x, y, batch_size=len(x), shards=shards, verbose=0, seed=1, **options)


@pytest.mark.filterwarnings("ignore:BatchNormalization")
@pytest.mark.parametrize("shards", [1, 2, 3, 7, 19])
def test_moving_statistics_are_those_of_the_whole_batch(shards: int) -> None:
    """Merged exactly: shards of unequal sizes and means, one sample in some of them."""
    x = given(20)
    x[:7] += 100.0
    model = model_of(BatchNormalization(momentum=0.9))
    fit_once(model, x, shards, shuffle=False)
    exact = x.astype(np.float64)
    _, _, mean, variance = model.layers[0].get_weights()
    np.testing.assert_allclose(mean, 0.1 * exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * exact.var(0), rtol=1e-6)


def test_moments_of_shards_merge_exactly_in_float64() -> None:
    model = model_of(BatchNormalization())
    x = given(20).astype(np.float64)
    x[:7] += 100.0
    total = step_sums(model, x, x[:, :1], shards=7)
    count, mean, m2 = split_moments(total.moments)
    assert count == 20
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(m2 / count, x.var(0), rtol=1e-13)


def test_every_step_moves_the_statistics_once() -> None:
    x = given(40)
    model = model_of(BatchNormalization(momentum=0.5))
    model.fit(x, x[:, :1], batch_size=16, shuffle=False, verbose=0, seed=1)
    mean = np.zeros(3)
    for start in (0, 16, 32):
        mean = 0.5 * mean + 0.5 * x[start : start + 16].astype(np.float64).mean(0)
    np.testing.assert_allclose(model.layers[0].get_weights()[2], mean, rtol=1e-5)


def test_layers_of_one_model_keep_statistics_of_their_own() -> None:
    x = given(32)
    model = model_of(BatchNormalization(momentum=0.0), Dense(2), BatchNormalization(momentum=0.0))
    fit_once(model, x, 2)
    first, dense, second = (layer.get_weights() for layer in model.layers[:3])
    exact = x.astype(np.float64)
    np.testing.assert_allclose(first[2], exact.mean(0), rtol=1e-5)
    halves = [normalized(part, part.mean(0), part.var(0)) for part in shards_of(model, exact)]
    inner = np.concatenate(halves) @ dense[0] + dense[1]
    np.testing.assert_allclose(second[2], inner.mean(0), atol=1e-5)
    np.testing.assert_allclose(second[3], inner.var(0), rtol=1e-4)


def shards_of(model: Sequential, x: Array) -> list[Array]:
    """The two halves of the one batch in the order that `fit` with seed 1 takes."""
    from distnn.batching import Batching

    order = np.zeros(len(x), np.int64)
    Batching(len(x), len(x), 2, True, 1, 1).fill_indices(0, 0, len(x), order)
    return [x[order[:16]], x[order[16:]]]


def test_a_frozen_layer_keeps_its_statistics_in_fit() -> None:
    model = model_of(BatchNormalization(), learning_rate=0.1)
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    fit_once(model, given(32), 2)
    for old, new in zip(before, model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_statistics_of_few_samples_are_warned_of_once() -> None:
    model = model_of(Sequential([Input((3,)), BatchNormalization()]))
    with pytest.warns(
        UserWarning, match="BatchNormalization.*3 shards of a batch of 20 have 6 samples"
    ) as told:
        fit_once(model, given(20), 3, epochs=3)
    assert len(told) == 1
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    "layer, samples, shards",
    [(BatchNormalization(), 32, 2), (BatchNormalization(), 8, 1), (LayerNormalization(), 8, 4)],
)
def test_nothing_is_said_where_shards_are_large_or_couple_nothing(
    layer: Any, samples: int, shards: int
) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit_once(model_of(layer), given(samples), shards)
    assert not told


def test_a_frozen_layer_is_not_warned_of() -> None:
    model = model_of(BatchNormalization(trainable=False))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fit_once(model, given(8), 4)
    assert not told


def test_normalised_regression_learns() -> None:
    x, y = regression(160)
    model = Sequential([Input((6,)), Dense(16, "tanh"), BatchNormalization(), Dense(1)])
    model.compile(SGD(0.1), "mse")
    losses = model.fit(x, y, batch_size=32, shards=2, epochs=15, verbose=0, seed=1).history["loss"]
    assert losses[-1] < 0.3 * losses[0]
    assert model.evaluate(x, y, verbose=0) < 0.3 * losses[0]
