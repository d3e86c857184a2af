"""`keras.utils`: one-hot vectors, the seed for everything, the progress bar, raw things to arrays."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn import rng
from distnn.backend import clear_session as clear_session
from distnn.backend import is_keras_tensor as is_keras_tensor
from distnn.custom_objects import CustomObjectScope as CustomObjectScope
from distnn.custom_objects import custom_object_scope as custom_object_scope
from distnn.custom_objects import get_custom_objects as get_custom_objects
from distnn.custom_objects import get_registered_name as get_registered_name
from distnn.custom_objects import get_registered_object as get_registered_object
from distnn.custom_objects import register_keras_serializable as register_keras_serializable
from distnn.data.downloads import get_file as get_file
from distnn.data.packing import pack_x_y_sample_weight as pack_x_y_sample_weight
from distnn.data.packing import split_dataset as split_dataset
from distnn.data.packing import unpack_x_y_sample_weight as unpack_x_y_sample_weight
from distnn.data.py_dataset import PyDataset as PyDataset
from distnn.data.py_dataset import Sequence as Sequence
from distnn.plotting.plot import model_to_dot as model_to_dot
from distnn.plotting.plot import plot_model as plot_model
from distnn.preprocessing.folders import image_dataset_from_directory as image_dataset_from_directory
from distnn.preprocessing.folders import text_dataset_from_directory as text_dataset_from_directory
from distnn.preprocessing.image import array_to_img as array_to_img
from distnn.preprocessing.image import img_to_array as img_to_array
from distnn.preprocessing.image import load_img as load_img
from distnn.preprocessing.image import save_img as save_img
from distnn.preprocessing.sequence import pad_sequences as pad_sequences
from distnn.preprocessing.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
from distnn.progress import Progbar as Progbar
from distnn.serialization import deserialize_keras_object as deserialize_keras_object
from distnn.serialization import serialize_keras_object as serialize_keras_object


def to_categorical(x: npt.ArrayLike, num_classes: int | None = None) -> npt.NDArray[np.float64]:
    """Class indices to one-hot vectors, the classes along a new last axis.

    Args:
        x: whole numbers from 0; a last axis of length 1 is dropped.
        num_classes: one more than the largest index by default.

    Raises:
        ValueError: an index is negative or not below `num_classes`, or is not a whole number.

    >>> to_categorical([0, 2]).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    given: npt.NDArray[Any] = np.asarray(x)
    indices = given.astype(np.int64)
    if not np.array_equal(indices, given):
        raise ValueError(
            f"to_categorical expects whole numbers. Received: {given.ravel()[:5]} (first values)"
        )
    if indices.ndim > 1 and indices.shape[-1] == 1:
        indices = indices[..., 0]
    if indices.size == 0 and not num_classes:
        raise ValueError("to_categorical of no values needs `num_classes`")
    count = int(num_classes or indices.max() + 1)
    flat = indices.reshape(-1)
    outside = (flat < 0) | (flat >= count)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"to_categorical: class index {flat[first]} (value number {first}) is outside 0 to {count - 1} "
            f"(num_classes={count})"
        )
    encoded = np.zeros((flat.size, count))
    encoded[np.arange(flat.size), flat] = 1
    return encoded.reshape(*indices.shape, count)


def normalize(x: npt.ArrayLike, axis: int = -1, order: int = 2) -> npt.NDArray[Any]:
    """Values divided by their norm along `axis`; where that is 0 they stay 0.

    Args:
        x: any shape.
        axis: along which norms are taken.
        order: of the norm.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    array: npt.NDArray[Any] = np.asarray(x)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    norms = np.linalg.norm(array, order, axis, keepdims=True)
    return array / np.where(norms == 0, 1, norms)


def set_random_seed(seed: int) -> None:
    """Seed Python's `random`, NumPy, and every seed that distnn draws because none was given."""
    rng.set_random_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
