"""Folders of images or texts, a folder for each class, as arrays. Images need the extra `images` (Pillow)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distnn.data.dataset import ArrayDataset
from distnn.errors import DataError
from distnn.preprocessing.pillow import COLOR_MODES, pillow, resampling
from distnn.tensor import Array

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
LABEL_MODES = ("int", "binary", "categorical", None)


def image_dataset_from_directory(
    directory: str | Path,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
) -> ArrayDataset:
    """The images of `directory/CLASS/*`, float32 from 0 to 255, all of one size, all in memory.

    Args:
        directory: has a folder for each class.
        labels: "inferred" from the folders, or None for no labels.
        label_mode: "int", "binary" (float32 column), "categorical" (one-hot) or None.
        class_names: the folders in the order of their numbers; by name by default.
        color_mode: "grayscale", "rgb" or "rgba".
        batch_size: of the batches.
        image_size: (height, width) that images are scaled to.
        shuffle: mix the files, in an order from `seed`, before they are split.
        seed: of that order.
        validation_split: the share that is kept for validation.
        subset: "training" or "validation", if there is a split.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".

    Raises:
        ImportError: Pillow is not there.
        DataError: there is no such folder, or a file that is no image.
    """
    if color_mode not in COLOR_MODES:
        raise ValueError(
            f'`color_mode` must be one of {{"rgb", "rgba", "grayscale"}}. Received: color_mode={color_mode}'
        )
    image_files, method = pillow(), resampling(interpolation)
    mode, channels = COLOR_MODES[color_mode]

    def read(paths: Sequence[Path]) -> Array:
        images = np.empty((len(paths), *image_size, channels), np.float32)
        for image, path in zip(images, paths, strict=True):
            try:
                with image_files.open(path) as opened:
                    scaled = opened.convert(mode).resize(image_size[::-1], method)
            except OSError as error:
                raise DataError(f"{path}: cannot be read as an image: {error}") from error
            image[...] = np.asarray(scaled, np.float32).reshape(image.shape)
        return images

    how = _Selection(labels, label_mode, class_names, shuffle, seed, validation_split, subset)
    return how.dataset(Path(directory), IMAGE_SUFFIXES, read, batch_size)


def text_dataset_from_directory(
    directory: str | Path,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
) -> ArrayDataset:
    """The texts of `directory/CLASS/*.txt`, each cut after `max_length` characters, as an array of str.

    Other arguments are those of `image_dataset_from_directory`.
    """

    def read(paths: Sequence[Path]) -> Array:
        return np.array([path.read_text(encoding="utf-8")[:max_length] for path in paths], dtype=object)

    how = _Selection(labels, label_mode, class_names, shuffle, seed, validation_split, subset)
    return how.dataset(Path(directory), (".txt",), read, batch_size)


class _Selection:
    """Which files are taken, in which order, and how they are labelled."""

    def __init__(
        self,
        labels: Any,
        label_mode: str | None,
        class_names: Sequence[str] | None,
        shuffle: bool,
        seed: int | None,
        validation_split: float | None,
        subset: str | None,
    ) -> None:
        if labels not in ("inferred", None):
            raise ValueError(f'`labels` must be "inferred" or None. Received: labels={labels!r}')
        if label_mode not in LABEL_MODES:
            raise ValueError(
                f"`label_mode` must be one of {LABEL_MODES}. Received: label_mode={label_mode!r}"
            )
        if (validation_split is None) != (subset is None):
            raise ValueError(
                "If `subset` is set, `validation_split` must be set, and inversely. Received: "
                f"validation_split={validation_split}, subset={subset!r}"
            )
        if validation_split is not None and not 0 < validation_split < 1:
            raise ValueError(f"`validation_split` must be between 0 and 1, received: {validation_split}")
        if subset not in ("training", "validation", None):
            raise ValueError(f'`subset` must be "training" or "validation". Received: {subset!r}')
        if validation_split and shuffle and seed is None:
            raise ValueError(
                "If using `validation_split` and shuffling the data, you must provide a `seed` argument, to "
                "make sure that there is no overlap between the training and validation subset."
            )
        self.label_mode = None if labels is None else label_mode
        self.class_names = class_names
        self.shuffle = shuffle
        self.seed = seed
        self.validation_split = validation_split
        self.subset = subset

    def dataset(
        self,
        directory: Path,
        suffixes: tuple[str, ...],
        read: Callable[[Sequence[Path]], Array],
        batch_size: int | None,
    ) -> ArrayDataset:
        names, found = self._files(directory, suffixes)
        order = np.arange(len(found))
        if self.shuffle:
            order = np.random.default_rng(self.seed).permutation(order)
        if self.validation_split is not None:
            held_out = int(self.validation_split * len(order))
            cut = len(order) - held_out
            order = order[:cut] if self.subset == "training" else order[cut:]
        paths = [found[i][0] for i in order]
        numbers = np.array([found[i][1] for i in order], np.int32)
        y = self._labels(numbers, len(names))
        return ArrayDataset(read(paths), y, batch_size, self.shuffle, names, [str(path) for path in paths])

    def _files(self, directory: Path, suffixes: tuple[str, ...]) -> tuple[list[str], list[tuple[Path, int]]]:
        """Names of the classes; files with their class's number, by name."""
        if not directory.is_dir():
            raise DataError(f"{directory}: there is no such folder")
        there = sorted(path.name for path in directory.iterdir() if path.is_dir())
        names = list(there if self.class_names is None else self.class_names)
        if self.label_mode is None:
            files = [(path, 0) for path in sorted(directory.rglob("*")) if path.suffix.lower() in suffixes]
        else:
            if not set(names) <= set(there):
                raise ValueError(
                    "The `class_names` passed did not match the names of the subdirectories of the target "
                    f"directory. Expected: {there} (or a subset of it), but received: class_names={names}"
                )
            files = [
                (path, number)
                for number, name in enumerate(names)
                for path in sorted((directory / name).rglob("*"))
                if path.suffix.lower() in suffixes
            ]
        if not files:
            raise DataError(
                f"{directory}: no files in the folders of its classes end in {', '.join(suffixes)}"
            )
        return names, files

    def _labels(self, numbers: Array, classes: int) -> Array | None:
        if self.label_mode is None:
            return None
        if self.label_mode == "binary":
            if classes != 2:
                raise ValueError(
                    f'When passing `label_mode="binary"`, there must be exactly 2 classes. Found: {classes}'
                )
            return numbers.astype(np.float32)[:, None]
        return numbers if self.label_mode == "int" else np.eye(classes, dtype=np.float32)[numbers]
