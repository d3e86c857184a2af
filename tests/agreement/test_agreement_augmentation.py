"""What layers do to images by given amounts, against Keras 3 itself, where keras and torch are installed."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from trainings import Array

from distnn import layers
from distnn.layers import colors

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(6)
IMAGES = RNG.uniform(size=(4, 6, 5, 3)).astype(np.float32)
IMAGES[0, 0, 0] = 0.3  # grey
IMAGES[0, 0, 1] = 0.0  # black
IMAGES[0, 0, 2] = [0.5, 0.5, 0.1]
AMOUNTS = np.array([0.4, -0.3, 0.1, 0.0], np.float32)


def by_image(amounts: Array) -> Array:
    return amounts.reshape(-1, 1, 1, 1)


def theirs(layer: Any, transformation: Any) -> Array:
    found = layer.transform_images(torch.tensor(IMAGES), transformation, training=True)
    return np.asarray(keras.ops.convert_to_numpy(found))


def test_hue() -> None:
    expected = theirs(keras.layers.RandomHue(0.5, value_range=(0, 1)), {"factor": torch.tensor(AMOUNTS)})
    np.testing.assert_allclose(colors.with_hue_turned(IMAGES, by_image(AMOUNTS)), expected, atol=2e-6)


def test_saturation() -> None:
    factors = np.array([0.0, 0.5, 1.0, 3.0], np.float32)
    layer = keras.layers.RandomSaturation(0.5, value_range=(0, 1))
    expected = theirs(layer, {"factor": torch.tensor(factors)})
    np.testing.assert_allclose(colors.with_saturation_times(IMAGES, by_image(factors)), expected, atol=2e-6)


def test_gray() -> None:
    every = torch.ones((4, 1, 1, 1), dtype=torch.bool)
    expected = theirs(keras.layers.RandomGrayscale(1.0), every)
    np.testing.assert_allclose(colors.gray(IMAGES), np.broadcast_to(expected, IMAGES.shape), atol=1e-6)


@pytest.mark.parametrize("size", [3, 5])
def test_blur(size: int) -> None:
    layer = keras.layers.RandomGaussianBlur(1.0, size, 1.0, value_range=(0, 1))
    given = {
        "should_apply_blur": torch.ones(4, dtype=torch.bool),
        "blur_factor": torch.tensor([0.6, 0.9]),  # of columns, of rows
    }
    found = colors.blurred_along(IMAGES, 1, size, np.full((4, 1, 1, 1), 0.9, np.float32))
    found = colors.blurred_along(found, 2, size, np.full((4, 1, 1, 1), 0.6, np.float32))
    np.testing.assert_allclose(found, theirs(layer, given), atol=1e-6)


def test_auto_contrast() -> None:
    flat = np.concatenate([IMAGES * 0.5 + 0.1, np.full((1, 6, 5, 3), 0.4, np.float32)])
    expected = keras.ops.convert_to_numpy(keras.layers.AutoContrast((0, 1))(flat))
    np.testing.assert_allclose(layers.AutoContrast((0, 1))(flat), expected, atol=1e-6)


def test_solarization() -> None:
    ours = layers.Solarization((0.2, 0.2), (0.6, 0.6), value_range=(0, 1))
    parts = {"additions": 0.2, "thresholds": 0.6}
    given = {name: torch.full((4, 1, 1, 1), 255 * part) for name, part in parts.items()}
    expected = theirs(keras.layers.Solarization(0.2, 0.6, value_range=(0, 1)), given)
    np.testing.assert_allclose(ours(IMAGES, training=True), expected, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_shear(interpolation: str) -> None:
    config: dict[str, Any] = {"interpolation": interpolation, "fill_mode": "nearest"}
    found = layers.RandomShear((0.31, 0.31), (0.22, 0.22), **config)(IMAGES, training=True)
    layer = keras.layers.RandomShear(0.3, 0.2, **config)
    both = [
        theirs(layer, {"shear_factor": way * torch.tensor([[0.31, 0.22]] * 4), "input_shape": IMAGES.shape})
        for way in (1, -1)
    ]
    for one, *ways in zip(found, *both, strict=True):
        assert min(np.abs(one - way).max() for way in ways) < 1e-5


CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("RandomInvert", {"factor": 0.3}),
    ("RandomGrayscale", {"factor": 0.3}),
    ("RandomHue", {"factor": (0.1, 0.3), "value_range": (0, 1)}),
    ("RandomSaturation", {"factor": (0.1, 0.3)}),
    ("RandomColorJitter", {"hue_factor": 0.3, "brightness_factor": 0.1}),
    ("RandomErasing", {"scale": 0.2, "fill_value": 3.0}),
    ("RandomGaussianBlur", {"kernel_size": 5, "sigma": 0.5}),
    ("Solarization", {"addition_factor": 0.3, "threshold_factor": (0.1, 0.2)}),
    ("AutoContrast", {}),
    ("RandomCrop", {"height": 3, "width": 4}),
    ("CenterCrop", {"height": 3, "width": 4}),
]


@pytest.mark.parametrize(("name", "config"), CONFIGS, ids=[name for name, _ in CONFIGS])
def test_configurations_are_kerass(name: str, config: dict[str, Any]) -> None:
    mine = getattr(layers, name)(**config).get_config()
    reference = getattr(keras.layers, name)(**config).get_config()
    own = {key: value for key, value in mine.items() if key not in ("name", "trainable", "seed")}
    assert json.loads(json.dumps(own)) == json.loads(json.dumps({key: reference[key] for key in own}))
