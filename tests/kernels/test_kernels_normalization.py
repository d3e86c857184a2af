"""Batch and layer normalisation against their formulas; merged moments against those of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels import activations
from distnn.kernels import normalization as kernels

Array = np.ndarray[Any, np.dtype[Any]]
EPSILON = 1e-3


def make(*shape: int) -> Array:
    return (np.random.default_rng(sum(shape)).normal(size=shape) * 2 + 1).astype(np.float32)


def moments_of(x: Array) -> Array:
    wide = x.astype(np.float64)
    mean = wide.mean(axis=0)
    return np.concatenate([[len(x)], mean, ((wide - mean) ** 2).sum(axis=0)])


@pytest.mark.parametrize("shape", [(1, 3), (6, 5), (9, 20)])
def test_batch_norm(shape: tuple[int, int]) -> None:
    x, gamma, beta = make(*shape), make(shape[1]), make(shape[1] + 1)[1:]
    y, mean, inverse_std = np.empty_like(x), np.empty_like(gamma), np.empty_like(gamma)
    moments = np.full(1 + 2 * shape[1], np.nan)
    kernels.batch_norm_training(x, gamma, beta, EPSILON, 0, y, mean, inverse_std, moments)
    np.testing.assert_allclose(moments, moments_of(x), rtol=1e-12, atol=1e-12)
    wide = x.astype(np.float64)
    inverse = 1 / np.sqrt(wide.var(axis=0) + EPSILON)
    hat = (wide - wide.mean(axis=0)) * inverse
    np.testing.assert_allclose(y, hat * gamma + beta, rtol=1e-4, atol=1e-5)
    dy, dx = make(*shape) - 1, np.empty_like(x)
    dgamma, dbeta, scratch = np.empty_like(gamma), np.empty_like(gamma), np.empty((2, shape[1]))
    kernels.batch_norm_gradient(x, gamma, mean, inverse_std, y, dy, 0, dx, dgamma, dbeta, scratch)
    np.testing.assert_allclose(dbeta, dy.sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dgamma, (dy * hat).sum(axis=0), rtol=1e-4, atol=1e-5)
    rest = dy - dy.mean(axis=0) - hat * (dy * hat).mean(axis=0)
    np.testing.assert_allclose(dx, rest * gamma * inverse, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("shape", [(7, 3), (9, 16), (5, 53)])
def test_batch_norm_with_relu_gives_the_bytes_of_both_in_turn(shape: tuple[int, int]) -> None:
    x, dy, gamma, beta = make(*shape), make(*shape) - 1, make(shape[1]), make(shape[1] + 1)[1:] - 1
    y, fused_y, dx, fused_dx, masked = (np.empty_like(x) for _ in range(5))
    mean, inverse_std, moments = np.empty_like(gamma), np.empty_like(gamma), np.empty(1 + 2 * shape[1])
    vectors = [np.empty_like(gamma) for _ in range(4)]
    scratch = np.empty((2, shape[1]))
    statistics = (mean, inverse_std, moments)
    kernels.batch_norm_training(x, gamma, beta, EPSILON, 0, y, *statistics)
    activations.relu(y.reshape(-1), y.reshape(-1))
    kernels.batch_norm_training(x, gamma, beta, EPSILON, 1, fused_y, *statistics)
    assert fused_y.tobytes() == y.tobytes() and 0 < (y == 0).sum() < y.size
    activations.relu_gradient(y.reshape(-1), dy.reshape(-1), masked.reshape(-1))
    kernels.batch_norm_gradient(x, gamma, mean, inverse_std, y, masked, 0, dx, *vectors[:2], scratch)
    kernels.batch_norm_gradient(x, gamma, mean, inverse_std, y, dy, 1, fused_dx, *vectors[2:], scratch)
    assert fused_dx.tobytes() == dx.tobytes()
    assert [v.tobytes() for v in vectors[2:]] == [v.tobytes() for v in vectors[:2]]


def test_batch_norm_inference() -> None:
    x, gamma, beta, mean = make(6, 5), make(5), make(6)[1:], make(7)[2:]
    variance = np.abs(make(8)[3:])
    y, scratch = np.empty_like(x), np.empty_like(gamma)
    kernels.batch_norm_inference(x, gamma, beta, mean, variance, EPSILON, y, scratch)
    np.testing.assert_allclose(
        y, (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(3, 4), (5, 16), (2, 37)])
def test_layer_norm(shape: tuple[int, int]) -> None:
    x, gamma, beta = make(*shape), make(shape[1]), make(shape[1] + 1)[1:]
    y, mean, inverse_std = np.empty_like(x), np.empty(shape[0], np.float32), np.empty(shape[0], np.float32)
    kernels.layer_norm(x, gamma, beta, EPSILON, y, mean, inverse_std)
    wide = x.astype(np.float64)
    inverse = 1 / np.sqrt(wide.var(axis=1, keepdims=True) + EPSILON)
    hat = (wide - wide.mean(axis=1, keepdims=True)) * inverse
    np.testing.assert_allclose(y, hat * gamma + beta, rtol=1e-5, atol=1e-5)
    dy, dx = make(*shape) - 1, np.empty_like(x)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(gamma)
    kernels.layer_norm_gradient(x, gamma, mean, inverse_std, dy, dx, dgamma, dbeta)
    np.testing.assert_allclose(dbeta, dy.sum(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dgamma, (dy * hat).sum(axis=0), rtol=1e-4, atol=1e-5)
    g = dy * gamma
    rest = g - g.mean(axis=1, keepdims=True) - hat * (g * hat).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(dx, rest * inverse, rtol=1e-4, atol=2e-5)


def test_channel_moments_of_values_far_from_zero() -> None:
    x = (make(50, 3) * 1e-2 + 1000).astype(np.float32)
    moments = np.empty(7)
    kernels.channel_moments(x, moments)
    np.testing.assert_allclose(moments, moments_of(x), rtol=1e-9)


@pytest.mark.parametrize("cut", [0, 1, 4, 10])
def test_merged_moments_are_those_of_the_whole(cut: int) -> None:
    x = make(10, 3)
    parts = [np.zeros(7), np.zeros(7)]
    for part, rows in zip(parts, (x[:cut], x[cut:]), strict=True):
        if len(rows):
            kernels.channel_moments(rows, part)
    kernels.merge_moments(parts[0], parts[1])
    np.testing.assert_allclose(parts[0], moments_of(x), rtol=1e-12)
