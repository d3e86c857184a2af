"""Data held against a model: dtypes for its graph, labels within its classes, class weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.data.arrays import ArrayData, as_array_data
from distnn.data.dataset import ArrayDataset
from distnn.errors import DataError
from distnn.models.outputs import ignored_classes, sparse_outputs, supervised
from distnn.network import in_order
from distnn.task import Signature
from distnn.tensor import Array, Batch, Spec, batch_size_of, keras_shape

if TYPE_CHECKING:
    from distnn.models.model import Model


def intake(model: Model, x: Any, y: Any, sample_weight: Any, *, needs_targets: bool) -> ArrayData:
    """Checked data for `model`; builds the model if only the data can say its input shape.

    Raises:
        DataError: for data that cannot be used, or that does not fit the model's input.
    """
    if isinstance(x, ArrayDataset):
        x, y = x.x, x.y if y is None else y
    if x is None:
        raise DataError("no data: `x` is None")
    if needs_targets and y is None:
        raise DataError("no targets: `y` is None; pass x and y as two arrays")
    compiled = model.compiled if needs_targets else None  # said first if it was forgotten
    x = in_order(x, model.input_names, "inputs")
    data = as_array_data(x, _targets_in_order(model, y), sample_weight)
    specs = signature_of(model, data).inputs
    _check_inputs(model, data, specs)
    if not model.built:
        model.output_specs(specs)
        model.name_parts("")
    if compiled is not None and compiled["loss"] is not None:
        sparse = sparse_outputs(compiled, _output_names(model, specs))
        labels = [_as_labels(y) if one else y for one, y in zip(sparse, data.y, strict=False)]
        data = ArrayData(data.x, (*labels, *data.y[len(labels) :]), data.sample_weight)
    return data


def _targets_in_order(model: Model, y: Any) -> Any:
    """Targets by name, or with None for outputs without a loss, as a list of those that are needed."""
    names = model.output_names
    if isinstance(y, dict) and names is not None:
        wanted = [names[place] for place in supervised(model.compiled, names)]
        return in_order({name: y[name] for name in wanted if name in y} if wanted else y, wanted, "targets")
    if isinstance(y, list | tuple) and any(part is None for part in y):
        return [part for part in y if part is not None]
    return y


def _output_names(model: Model, specs: tuple[Spec, ...]) -> list[str]:
    names = model.output_names
    return names if names is not None else model.names_of_outputs(len(model.tasks.output_specs(model, specs)))


def signature_of(model: Model, data: ArrayData) -> Signature:
    """Specs of such data as the model's graph takes them: inputs float32 unless declared, labels int32."""
    declared = model.input_specs or ()
    inputs = tuple(
        Spec((_batch(declared, i), *array.shape[1:]), declared[i].dtype if i < len(declared) else "float32")
        for i, array in enumerate(data.x)
    )
    targets = tuple(
        Spec((Batch(), *array.shape[1:]), "float32" if array.dtype.kind == "f" else "int32")
        for array in data.y
    )
    weight = data.sample_weight
    return Signature(inputs, targets, None if weight is None else Spec((Batch(), *weight.shape[1:])))


def _batch(declared: tuple[Spec, ...], place: int) -> Batch:
    return Batch(1, batch_size_of(declared[place]) if place < len(declared) else None)


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
    if model.compiled["loss"] is None:
        return
    outputs = model.tasks.output_specs(model, signature_of(model, data).inputs)
    names = model.names_of_outputs(len(outputs))
    places = supervised(model.compiled, names)
    sparse = sparse_outputs(model.compiled, names)
    ignored = ignored_classes(model.compiled, names)
    for place, is_sparse, ignore_class, labels in zip(places, sparse, ignored, data.y, strict=False):
        classes = outputs[place].shape[-1] if outputs[place].shape else None
        if is_sparse and isinstance(classes, int) and labels.size:
            where = f"{what}, output '{names[place]}'" if len(names) > 1 else what
            _check_labels(labels, classes, ignore_class, where)


def _check_labels(labels: Array, classes: int, ignore_class: int | None, what: str) -> None:
    bad = (labels < 0) | (labels >= classes)
    if ignore_class is not None:
        bad &= labels != ignore_class
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
    if len(data.y) > 1:
        raise DataError(
            "`class_weight` is only supported for models with a single output. Received: targets of "
            f"{len(data.y)}; give `sample_weight`"
        )
    labels = data.y[0]
    if labels.ndim == 2 and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1)
    if len(labels) != data.num_samples or not np.array_equal(labels, np.rint(labels)):
        raise DataError("`class_weight` needs targets that are class numbers or one-hot")
    table = {int(key): float(value) for key, value in weights.items()}
    found = np.array([table.get(int(label), 1.0) for label in labels], np.float32)
    if data.sample_weight is not None:
        own = data.sample_weight
        found = found.reshape(len(found), *(1 for _ in own.shape[1:])) * own
    return ArrayData(data.x, data.y, found.astype(np.float32))
