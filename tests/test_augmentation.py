"""Random changes of images: what they do, by what they depend on, and the same bytes on any workers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from trainings import train

from distnn import layers
from distnn.control import CONTROL_WORDS, SHARD_WORD, STEP_WORD
from distnn.kernels import images as kernels
from distnn.layers import (
    Dense,
    Flatten,
    Input,
    RandomBrightness,
    RandomContrast,
    RandomFlip,
    RandomRotation,
    RandomTranslation,
    RandomZoom,
    Resizing,
)
from distnn.models import Sequential

Array = np.ndarray[Any, np.dtype[Any]]
RNG = np.random.default_rng(4)
IMAGES = RNG.uniform(size=(6, 5, 7, 2)).astype(np.float32)

MOVING = [
    RandomFlip("horizontal"),
    RandomRotation(0.2),
    RandomTranslation(0.3, 0.2, fill_mode="constant", fill_value=7.0),
    RandomZoom(0.3, interpolation="nearest"),
    RandomZoom((-0.2, 0.4), (0.0, 0.1), fill_mode="wrap"),
    RandomContrast(0.5),
    RandomBrightness(0.2, value_range=(0, 1), seed=3),
]


def transformed(
    images: Array, fill: int = kernels.CONSTANT, is_bilinear: int = 1, step: int = 0, **amounts: Any
) -> Array:
    """Images after exact amounts: each range is one value."""
    control = np.zeros(CONTROL_WORDS, np.int64)
    control[STEP_WORD] = step
    places = np.zeros(kernels.NUM_AMOUNTS)
    for name, value in amounts.items():
        place = getattr(kernels, name)
        places[place] = value
        if not name.startswith("FLIP"):
            places[place + 1] = value
    out = np.full(images.shape, np.nan, np.float32)
    kernels.transform_images(images, control, 5, places, fill, 9.0, is_bilinear, out)
    return out


def test_nothing_changes_by_amounts_of_zero() -> None:
    for is_bilinear in (0, 1):
        np.testing.assert_array_equal(transformed(IMAGES, is_bilinear=is_bilinear), IMAGES)


def test_a_shift_moves_down_and_to_the_right() -> None:
    found = transformed(IMAGES, SHIFT_ROWS=0.4, SHIFT_COLUMNS=1 / 7)
    np.testing.assert_allclose(found[:, 2:, 1:], IMAGES[:, :-2, :-1], rtol=1e-5)
    assert (found[:, :2] == 9).all() and (found[:, :, 0] == 9).all()


@pytest.mark.parametrize(
    ("fill", "mode"), [(kernels.NEAREST, "edge"), (kernels.REFLECT, "symmetric"), (kernels.WRAP, "wrap")]
)
def test_what_lies_outside_is_filled_in_as_numpy_pads(fill: int, mode: Any) -> None:
    found = transformed(IMAGES, fill, is_bilinear=0, SHIFT_ROWS=0.6, SHIFT_COLUMNS=-3 / 7)
    padded = np.pad(IMAGES, [(0, 0), (3, 0), (0, 3), (0, 0)], mode=mode)
    np.testing.assert_array_equal(found, padded[:, :5, 3:])


def test_a_quarter_turn_is_counter_clockwise() -> None:
    square = IMAGES[:, :, :5]
    np.testing.assert_allclose(
        transformed(square, ANGLE=0.25), np.rot90(square, axes=(1, 2)), rtol=1e-4, atol=1e-5
    )


def test_zooming_in_by_half_shows_the_middle() -> None:
    wide = np.arange(81, dtype=np.float32).reshape(1, 9, 9, 1)
    found = transformed(wide, ZOOM_ROWS=-0.5, ZOOM_COLUMNS=math.nan)
    np.testing.assert_allclose(found[0, ::2, ::2, 0], wide[0, 2:7, 2:7, 0])


def test_mirrors_are_mirrors() -> None:
    found = transformed(IMAGES, FLIP_COLUMNS=1.0, is_bilinear=0)
    mirrored = [np.array_equal(one, image[:, ::-1]) for one, image in zip(found, IMAGES, strict=True)]
    kept = [np.array_equal(one, image) for one, image in zip(found, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True)) and any(mirrored) and any(kept)


@pytest.mark.parametrize("turns", [0.0, 0.1, -0.25, 0.4999, 0.5, -0.5, 0.75, 1.0])
def test_sine_and_cosine(turns: float) -> None:
    angle = 2 * math.pi * turns
    assert kernels.sine_and_cosine(turns) == pytest.approx((math.sin(angle), math.cos(angle)), abs=1e-11)


def test_contrast_keeps_the_mean_and_brightness_the_range() -> None:
    control, out = np.zeros(CONTROL_WORDS, np.int64), np.zeros_like(IMAGES)
    kernels.change_contrast(IMAGES, control, 1, 0.5, 0.5, out)
    mean = IMAGES.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(out, (IMAGES - mean) * 0.5 + mean, rtol=1e-5)
    kernels.change_brightness(IMAGES, control, 1, 0.3, 0.3, 0.0, 1.0, out)
    np.testing.assert_allclose(out, np.clip(IMAGES + 0.3, 0, 1), rtol=1e-6)


def test_amounts_differ_by_sample_step_and_shard() -> None:
    same = np.repeat(IMAGES[:1], 4, axis=0)
    control, out = np.zeros(CONTROL_WORDS, np.int64), np.zeros_like(same)
    found = []
    for step, shard in ((0, 0), (1, 0), (0, 1)):
        control[STEP_WORD], control[SHARD_WORD] = step, shard
        kernels.change_brightness(same, control, 1, 0.0, 0.3, 0.0, 2.0, out)
        found += [one.tobytes() for one in out]
    assert len(set(found)) == len(found)


def model_of(layer: layers.Layer) -> Sequential:
    entry = json.loads(json.dumps(layers.serialize(layer)))
    model = Sequential([Input(IMAGES.shape[1:]), layers.deserialize(entry), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("layer", MOVING, ids=lambda layer: type(layer).__name__)
def test_images_change_in_training_only_and_the_same_on_any_workers(layer: layers.Layer) -> None:
    y = np.arange(6, dtype=np.float32)[:, None]
    options: dict[str, Any] = {"batch_size": 5, "epochs": 3, "shards": 2}
    reference = train(lambda: model_of(layer), IMAGES, y, **options)
    for backend, workers in (("local", 2), ("threads", 2), ("threads", 3)):
        found = train(lambda: model_of(layer), IMAGES, y, backend=backend, workers=workers, **options)
        assert found.weights == reference.weights
    plain = train(lambda: model_of(layers.Rescaling(1.0)), IMAGES, y, **options)
    assert plain.weights != reference.weights
    np.testing.assert_array_equal(layer(IMAGES), IMAGES)
    assert not np.array_equal(layer(IMAGES, training=True), IMAGES)


def test_eager_training_sees_the_same_images() -> None:
    def eager() -> Sequential:
        model = model_of(RandomRotation(0.1))
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    y = np.arange(6, dtype=np.float32)[:, None]
    options: dict[str, Any] = {"batch_size": 5, "epochs": 1, "shards": 2}
    expected = train(lambda: model_of(RandomRotation(0.1)), IMAGES, y, **options)
    assert train(eager, IMAGES, y, **options).weights == expected.weights


def test_random_images_come_before_weights() -> None:
    model = Sequential([Input((5, 7, 2)), Dense(2), RandomFlip(), Flatten(), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="put random changes of images before all layers with weights"):
        model.fit(IMAGES, np.zeros((6, 1)), verbose=0)


def test_resizing_to_half_averages_and_to_double_repeats() -> None:
    even = IMAGES[:, :4, :6]
    halves = (even[:, ::2] + even[:, 1::2]) / 2
    np.testing.assert_allclose(Resizing(2, 6)(even), halves, rtol=1e-5)
    twice = Resizing(8, 12, interpolation="nearest")(even)
    np.testing.assert_array_equal(twice, even.repeat(2, axis=1).repeat(2, axis=2))
    cropped = Resizing(2, 2, crop_to_aspect_ratio=True)(even)
    np.testing.assert_allclose(cropped, Resizing(2, 2)(even[:, :, 1:5]), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFlip("sideways"), "Unknown `mode`: 'sideways'"),
        (lambda: RandomRotation((0.3, 0.1)), "`factor` must be a number, or a pair"),
        (lambda: RandomZoom(0.1, fill_mode="mirror"), "Unknown `fill_mode`: 'mirror'"),
        (lambda: RandomTranslation(0.1, 0.1, interpolation="cubic"), "Unknown `interpolation`: 'cubic'"),
        (lambda: RandomContrast(-0.1), "`factor` must be a number between 0 and 1"),
        (lambda: RandomBrightness(0.1, value_range=(1, 0)), "`value_range` must be a pair"),
        (lambda: Resizing(0, 3), "`height` must be a positive integer"),
        (lambda: RandomFlip()(np.zeros((2, 3)), training=True), "images have four axes"),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
