"""Wrappers, input specs and crops against Keras 3 itself, where keras and torch are installed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import distnn.layers

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(6)
IMAGES = RNG.uniform(size=(3, 6, 5, 2)).astype(np.float32)

WRAPPED: list[tuple[str, dict[str, Any], Any]] = [
    ("Dense", {"units": 3}, RNG.normal(size=(4, 5)).astype(np.float32)),
    ("Conv2D", {"filters": 4, "kernel_size": 2}, IMAGES),
]
"""Not embeddings: Keras casts what they give to the type of the indices."""


@pytest.mark.parametrize(("name", "config", "x"), WRAPPED, ids=[name for name, *_ in WRAPPED])
@pytest.mark.parametrize("power_iterations", [1, 3])
def test_spectral_normalization(name: str, config: dict[str, Any], x: Any, power_iterations: int) -> None:
    """In training; in prediction Keras takes the kernel that the last step of training left."""
    ours, theirs = (
        package.SpectralNormalization(getattr(package, name)(**config), power_iterations)
        for package in (distnn.layers, keras.layers)
    )
    ours(x), theirs(x)
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    theirs.set_weights(ours.get_weights())
    expected = keras.ops.convert_to_numpy(theirs(x, training=True))
    np.testing.assert_allclose(ours(x, training=True), expected, rtol=1e-3, atol=1e-5)
    vector = keras.ops.convert_to_numpy(theirs.vector_u)
    np.testing.assert_allclose(ours.vector_u.numpy(), vector, rtol=1e-3, atol=1e-5)


SPECS: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"ndim": 3}, (2, 4)),
    ({"max_ndim": 1}, (2, 4)),
    ({"min_ndim": 3}, (2, 4)),
    ({"dtype": "int32"}, (2, 4)),
    ({"axes": {-1: 4, 1: None}}, (2, 3)),
    ({"shape": (None, 3)}, (2, 4)),
    ({"shape": (None, 4, 1), "allow_last_axis_squeeze": True}, (2, 4)),
    ({"ndim": 2, "name": "given"}, (2, 4, 3)),
]


def said(package: Any, config: dict[str, Any], shape: tuple[int, ...]) -> str | None:
    class Checked(package.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="checked")
            self.input_spec = package.layers.InputSpec(**config)

        def call(self, inputs: Any) -> Any:
            return inputs

    try:
        Checked()(package.layers.Input(shape[1:]))
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("config", "shape"), SPECS, ids=str)
def test_input_specs(config: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert said(distnn, config, shape) == said(keras, config, shape)
    ours, theirs = distnn.layers.InputSpec(**config), keras.layers.InputSpec(**config)
    assert repr(ours) == repr(theirs)
    assert ours.get_config() == theirs.get_config()


@pytest.mark.parametrize(("height", "width"), [(3, 3), (6, 5), (4, 2), (8, 4), (7, 9), (2, 6)])
def test_center_crops(height: int, width: int) -> None:
    expected = keras.ops.convert_to_numpy(keras.layers.CenterCrop(height, width)(IMAGES))
    found = distnn.layers.CenterCrop(height, width)(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
