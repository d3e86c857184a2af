"""Images moved by exact amounts, against NumPy; amounts that differ by sample, step and shard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from distnn.control import CONTROL_WORDS, SHARD_WORD, STEP_WORD
from distnn.kernels import images as kernels

Array = np.ndarray[Any, np.dtype[Any]]
IMAGES = np.random.default_rng(4).uniform(size=(6, 5, 7, 2)).astype(np.float32)


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


def test_a_shear_moves_each_row_and_column_by_its_place() -> None:
    images = IMAGES[:, :, :5]
    found = transformed(images, is_bilinear=0, SHEAR_COLUMNS=1.0, SHEAR_ROWS=0.0)
    for one, image in zip(found, images, strict=True):
        ways = []
        for way in (1, -1):
            moved = np.full_like(image, 9.0)
            for i, j in np.ndindex(5, 5):
                if 0 <= j + way * i < 5:
                    moved[i, j] = image[i, j + way * i]
            ways.append(np.array_equal(one, moved))
        assert sum(ways) == 1, "one way or the other"
    turned = transformed(images.swapaxes(1, 2).copy(), is_bilinear=0, SHEAR_ROWS=1.0)
    np.testing.assert_array_equal(turned.swapaxes(1, 2), found)


def test_crops_are_parts_of_the_images() -> None:
    control = np.zeros(CONTROL_WORDS, np.int64)
    out, places = np.zeros((6, 3, 6, 2), np.float32), set()
    for step in range(20):
        control[STEP_WORD] = step
        kernels.crop_images(IMAGES, control, 5, out)
        for one, image in zip(out, IMAGES, strict=True):
            found = [
                (top, left)
                for top, left in np.ndindex(3, 2)
                if np.array_equal(one, image[top : top + 3, left : left + 6])
            ]
            assert len(found) == 1
            places.add(found[0])
    assert len(places) == 6
