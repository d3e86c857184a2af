"""Data held against a model: dtypes for its graph, labels within its classes, class weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn import losses
from distnn.data.arrays import ArrayData, as_array_data
from distnn.errors import DataError
from distnn.task import Signature
from distnn.tensor import Array, Batch, Spec, keras_shape

if TYPE_CHECKING:
    from distnn.models.model import Model


def intake(model: Model, x: Any, y: Any, sample_weight: Any, *, needs_targets: bool) -> ArrayData:
    """Checked data for `model`; builds the model if only the data can say its input shape.

    Raises:
        DataError: for data that cannot be used, or that does not fit the model's input.
    """
    if x is None:
        raise DataError("no data: `x` is None")
    if needs_targets and y is None:
        raise DataError("no targets: `y` is None; pass x and y as two arrays")
    data = as_array_data(x, y, sample_weight)
    if needs_targets and losses_are_sparse(model):
        data = ArrayData(data.x, tuple(_as_labels(array) for array in data.y), data.sample_weight)
    specs = signature_of(model, data).inputs
    _check_inputs(model, data, specs)
    if not model.built:
        model.output_spec(*specs)
        model.name_parts("")
    return data


def losses_are_sparse(model: Model) -> bool:
    """Whether the compiled loss takes class numbers."""
    loss = model.compiled["loss"]
    return loss is not None and losses.is_sparse(loss)


def signature_of(model: Model, data: ArrayData) -> Signature:
    """Specs of such data as the model's graph takes them: inputs float32 unless declared, labels int32."""
    declared = model.input_specs
    inputs = tuple(
        Spec((Batch(), *array.shape[1:]), declared[i].dtype if declared and i < len(declared) else "float32")
        for i, array in enumerate(data.x)
    )
    targets = tuple(
        Spec((Batch(), *array.shape[1:]), "float32" if array.dtype.kind == "f" else "int32")
        for array in data.y
    )
    return Signature(inputs, targets, data.sample_weight is not None)


def _check_inputs(model: Model, data: ArrayData, specs: tuple[Spec, ...]) -> None:
    declared = model.input_specs
    if declared is None:
        return
    if len(declared) != len(specs):
        raise DataError(f"the model has {len(declared)} input(s), but {len(specs)} arrays were given as x")
    for given, wanted in zip(specs, declared, strict=True):
        if given.shape != wanted.shape:
            raise DataError(
                f"x does not fit the model: expected shape {keras_shape(wanted.shape)}, received "
                f"{(data.num_samples, *keras_shape(given.shape)[1:])}"
            )


def check_against_model(model: Model, data: ArrayData, what: str = "training data") -> None:
    """Refuse class numbers outside the model's classes, naming row and value."""
    if not losses_are_sparse(model):
        return
    output = model.output_spec(*signature_of(model, data).inputs)
    classes = output.shape[-1]
    labels = data.y[0]
    if not isinstance(classes, int) or not labels.size:
        return
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        row = int(np.argmax(bad.reshape(len(labels), -1).any(axis=1)))
        value = labels[row].reshape(-1)[int(np.argmax(bad[row].reshape(-1)))]
        raise DataError(
            f"{what}: label {value} at row {row} is outside the model's {classes} classes "
            f"(0 to {classes - 1}); {int(bad.sum())} such labels in all"
        )


def _as_labels(array: Array) -> Array:
    """Class numbers as int32; floats must be whole numbers."""
    if array.dtype.kind != "f":
        return array.astype(np.int32, copy=False)
    whole = np.rint(array)
    if not np.array_equal(whole, array):
        row = int(np.argmax((whole != array).reshape(len(array), -1).any(axis=1)))
        raise DataError(
            f"sparse_categorical_crossentropy takes class numbers; y at row {row} is {array[row]}. "
            "For one-hot targets use categorical_crossentropy."
        )
    return whole.astype(np.int32)


def class_weights(data: ArrayData, weights: Mapping[int, float]) -> ArrayData:
    """The data with each sample weighted by its class (1 for one not named), times its own weight."""
    labels = data.y[0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1)
    if len(labels) != data.num_samples or not np.array_equal(labels, np.rint(labels)):
        raise DataError("`class_weight` needs targets that are class numbers or one-hot")
    table = {int(key): float(value) for key, value in weights.items()}
    found = np.array([table.get(int(label), 1.0) for label in labels], np.float32)
    if data.sample_weight is not None:
        found = found * data.sample_weight
    return ArrayData(data.x, data.y, found.astype(np.float32))
