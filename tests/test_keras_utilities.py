"""Keras's small things: images and arrays, settings, structures, parts of data."""

from __future__ import annotations

import doctest
import gc
import io
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distnn import backend, config, tree, utils
from distnn.data import ArrayDataset
from distnn.errors import DataError
from distnn.layers import Dense, Input
from distnn.models import Sequential
from distnn.preprocessing import image

GREY = np.array([[0.0, 51.0], [102.0, 255.0]], np.float32)


@pytest.mark.parametrize("module", [utils, tree], ids=["utils", "tree"])
def test_examples_in_the_docstrings(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


# Images


def test_images_become_arrays_and_come_back(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
        x = np.arange(4 * 5 * channels, dtype=np.float32).reshape(4, 5, channels)
        made = utils.array_to_img(x, scale=False)
        assert made.mode == mode and made.size == (5, 4)
        back = utils.img_to_array(made)
        assert back.dtype == np.float32 and back.tolist() == x.tolist()
        color = {1: "grayscale", 3: "rgb", 4: "rgba"}[channels]
        utils.save_img(tmp_path / "x.png", x, scale=False)
        loaded = utils.load_img(tmp_path / "x.png", color_mode=color)
        assert utils.img_to_array(loaded).tolist() == x.tolist()
    assert (
        utils.img_to_array(GREY).shape == (2, 2, 1)
        and utils.img_to_array(GREY, dtype="int16").dtype == "int16"
    )


def test_values_are_brought_to_255() -> None:
    pytest.importorskip("PIL.Image")
    scaled = utils.img_to_array(utils.array_to_img(GREY[..., None] / 3.0 - 20.0))
    assert scaled[0, 0] == 0 and scaled[1, 1] == 255
    assert utils.array_to_img(np.full((2, 2, 1), 300.0), scale=False).mode == "I"
    assert utils.img_to_array(utils.array_to_img(np.full((2, 2, 3), 7.0))).max() == 0


def test_images_are_loaded_in_another_size() -> None:
    pillow = pytest.importorskip("PIL.Image")
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = 200
    file = io.BytesIO()
    pillow.fromarray(wide).save(file, "png")
    assert utils.load_img(file, target_size=(2, 3)).size == (3, 2)
    kept = utils.img_to_array(utils.load_img(file, target_size=(4, 4), keep_aspect_ratio=True))
    assert kept.min() == 200
    grey = utils.load_img(file, color_mode="grayscale", target_size=(4, 8))
    assert grey.mode == "L"


def test_jpeg_has_no_transparency(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    utils.save_img(tmp_path / "x.jpg", np.full((4, 4, 4), 9.0), scale=False)
    assert utils.load_img(tmp_path / "x.jpg").mode == "RGB"
    utils.save_img(tmp_path / "x", np.full((4, 4, 3), 9.0), file_format="jpg", scale=False)
    assert utils.load_img(tmp_path / "x").size == (4, 4)


def test_smart_resize_cuts_what_is_too_wide() -> None:
    x = np.zeros((4, 8, 1), np.float32)
    x[:, 2:6] = 5.0
    assert image.smart_resize(x, (2, 2)).tolist() == np.full((2, 2, 1), 5.0).tolist()
    assert image.smart_resize(x[None], (2, 2)).shape == (1, 2, 2, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: utils.img_to_array(np.ones(3)), r"Unsupported image shape: \(3,\)"),
        (lambda path: utils.img_to_array(GREY, "channels_first"), "images have their channels last"),
        (lambda path: utils.array_to_img(GREY), "Expected image array to have rank 3"),
        (lambda path: utils.array_to_img(np.ones((2, 2, 2))), "Unsupported channel number: 2"),
        (lambda path: utils.load_img(path, "bgr"), 'color_mode must be "grayscale", "rgb", or "rgba"'),
        (lambda path: utils.load_img(3), "path should be path-like or io.BytesIO, not <class 'int'>"),
        (lambda path: utils.load_img(path), "x.png: cannot be read as an image"),
        (lambda path: image.smart_resize(GREY, (1, 1)), "Expected an image array with shape"),
    ],
)
def test_images_that_are_refused(tmp_path: Path, call: Any, message: str) -> None:
    pytest.importorskip("PIL.Image")
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises((ValueError, TypeError, DataError), match=message):
        call(tmp_path / "x.png")
    with pytest.raises(FileNotFoundError):
        utils.load_img(tmp_path / "none.png")


# Settings


def test_settings_have_one_value() -> None:
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format("channels_last")
    config.set_backend("distnn")
    config.set_dtype_policy("float32")
    assert (config.floatx(), config.epsilon(), config.backend()) == ("float32", 1e-7, "distnn")
    assert backend.image_data_format() == "channels_last" and config.dtype_policy() == "float32"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: config.set_floatx("float16"), "the floatx is 'float32' and nothing else: .*'float16'"),
        (lambda: config.set_epsilon(1e-3), "the epsilon is 1e-07 and nothing else"),
        (lambda: backend.set_image_data_format("channels_first"), "turn images with `numpy.moveaxis"),
        (lambda: config.set_backend("jax"), r"`fit\(backend=...\)` says where to compute"),
        (lambda: config.set_dtype_policy("mixed_float16"), "there is no mixed precision"),
        (lambda: config.enable_unsafe_deserialization(), "there is no unsafe deserialization"),
    ],
)
def test_settings_that_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_clear_session_frees_models_that_nobody_uses() -> None:
    gc.disable()
    try:
        model = Sequential([Input((3,)), Dense(2)])
        model.cycle = [model]  # type: ignore[attr-defined]
        gone = weakref.ref(model)
        del model
        assert gone() is not None
        utils.clear_session()
        assert gone() is None
    finally:
        gc.enable()
    assert utils.is_keras_tensor(Input((2,))) and not utils.is_keras_tensor(GREY)


# Structures


def test_structures() -> None:
    structure = {"b": 1, "a": (2, [3, None])}
    assert tree.flatten(structure) == [2, 3, None, 1]
    assert tree.pack_sequence_as(structure, [5, 6, 7, 8]) == {"b": 8, "a": (5, [6, 7])}
    assert tree.map_structure(str, structure) == {"b": "1", "a": ("2", ["3", "None"])}
    for call, message in (
        (lambda: tree.map_structure(max, [1], [1, 2]), "the structures differ"),
        (lambda: tree.map_structure(max), "at least one structure"),
        (lambda: tree.pack_sequence_as([1], [1, 2]), "the structure has 1 leaves"),
        (lambda: tree.assert_same_structure([1], (1,)), "the structures differ"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# Data


def test_packing() -> None:
    assert utils.pack_x_y_sample_weight(1) == 1 and utils.pack_x_y_sample_weight([1]) == ([1],)
    assert utils.pack_x_y_sample_weight(1, 2) == (1, 2) and utils.pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)
    for given, expected in (
        (5, (5, None, None)),
        ([1], (1, None, None)),
        ((1, 2), (1, 2, None)),
        ((1, 2, 3),) * 2,
    ):
        assert utils.unpack_x_y_sample_weight(given) == expected
    with pytest.raises(ValueError, match="found: 4 parts"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))


def test_normalize() -> None:
    assert utils.normalize([[3, 4]], order=1).tolist() == [[3 / 7, 4 / 7]]
    assert utils.normalize(np.array([[3.0], [4.0]], np.float32), axis=0).dtype == np.float32


def test_a_dataset_in_two_parts() -> None:
    x, y = np.arange(10), np.arange(10) * 2
    left, right = utils.split_dataset((x, y), left_size=0.7)
    assert left.x.tolist() == list(range(7)) and right.y is not None and right.y.tolist() == [14, 16, 18]
    left, right = utils.split_dataset(x, left_size=2, right_size=3)
    assert left.x.tolist() == [0, 1] and right.x.tolist() == [2, 3, 4]
    given = ArrayDataset(x, None, 4, class_names=["a"], file_paths=[f"{i}" for i in x])
    left, right = utils.split_dataset(given, right_size=4, shuffle=True, seed=3)
    again, _ = utils.split_dataset(given, right_size=4, shuffle=True, seed=3)
    assert sorted([*left.x, *right.x]) == list(range(10)) and left.x.tolist() != list(range(6))
    assert left.file_paths == [f"{i}" for i in left.x] and left.x.tolist() == again.x.tolist()
    assert left.batch_size == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "At least one of the `left_size` or `right_size`"),
        ({"left_size": 11}, "both parts need samples, 10 in all"),
        ({"left_size": 1.5}, "`left_size` as a float is a share below 1"),
        ({"right_size": -1}, "`right_size` must be a positive number"),
    ],
)
def test_splits_that_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.split_dataset(np.arange(10), **options)
    with pytest.raises(ValueError, match="Received: list"):
        utils.split_dataset([1], left_size=1)
