"""Pulled batches held against a model: each is checked as data given as arrays are, and against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.data.arrays import ArrayData, joined
from distnn.data.pulling import BatchSource, DatasetSource, GeneratorSource
from distnn.data.py_dataset import PyDataset
from distnn.errors import DataError
from distnn.feeding import windows
from distnn.models.intake import check_against_model, class_weights, intake, signature_of
from distnn.models.states import check_batches
from distnn.task import Signature
from distnn.tensor import Array, Spec, keras_shape

if TYPE_CHECKING:
    from distnn.models.model import Model


def open_source(
    model: Model,
    x: Any,
    *,
    needs_targets: bool = True,
    class_weight: Mapping[int, float] | None = None,
    order_seed: int | None = None,
    weight_shape: tuple[int, ...] | None = None,
) -> tuple[BatchSource, ArrayData]:
    """The batches of a generator or `PyDataset` for `model`, and one of them; builds the model.

    Args:
        model: to be trained, or evaluated, or asked.
        x: see `distnn.data.pulling.is_pulled`.
        needs_targets: whether batches without targets are refused.
        class_weight: weight of each class.
        order_seed: of the order of a dataset's batches; None: in turn.
        weight_shape: of the weights of a sample, if there must be some: 1 where none are given.

    Raises:
        ValueError: there is no batch.
        DataError: the batch cannot be used.
    """
    convert = BatchIntake(model, needs_targets, class_weight, weight_shape)
    source: BatchSource
    if isinstance(x, PyDataset):
        source = DatasetSource(x, convert, order_seed)
    else:
        source = GeneratorSource(iter(x), convert)
    first = source.peek()
    if first is None:
        raise ValueError(
            "When passing a Python generator to a model, the generator must yield at least one batch. "
            "Received an empty generator."
        )
    return source, joined([first])


def refuse_beside_pulled(x: Any, validation_split: float = 0.0, **given: Any) -> None:
    """Refuse arguments that a generator or `PyDataset` leaves no room for.

    Raises:
        ValueError: in Keras's words.
    """
    kind = "PyDataset" if isinstance(x, PyDataset) else "generator"
    described = {"y": "the targets", "sample_weight": "the sample weights"}
    if validation_split:
        raise ValueError(
            f"`validation_split` is only supported for arrays. Received: x of type {type(x).__name__}. Give "
            "`validation_data`."
        )
    for name in [name for name, value in given.items() if value is not None]:
        raise ValueError(
            f"When providing `x` as a {kind}, `{name}` should not be passed. Instead, {described[name]} "
            f"should be included as part of the {kind}."
        )


def pulled_whole(model: Model, x: Any, steps: int | None, *, needs_targets: bool = True) -> ArrayData:
    """All batches of a generator or `PyDataset`, or the first `steps`, in memory; they stay what they are.

    Raises:
        ValueError: there are none, or they never end.
        DataError: a batch cannot be used.
    """
    source, _ = open_source(model, x, needs_targets=needs_targets)
    if source.has_numbers and source.num_batches is None and steps is None:
        raise ValueError(f"{source.what} has no end: say how many of its batches to take")
    try:
        parts = list(windows(source, steps))
    finally:
        source.close()
    cuts: list[int] = []
    for part in parts:
        base = cuts[-1] if cuts else 0
        cuts += [base + cut for cut in part.cuts]
    whole = joined(parts)
    return ArrayData(whole.x, whole.y, whole.sample_weight, tuple(cuts))


class BatchIntake:
    """Makes arrays of what the user's code gave for a batch. The first one says what all are like."""

    def __init__(
        self,
        model: Model,
        needs_targets: bool,
        class_weight: Mapping[int, float] | None = None,
        weight_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._weight_shape = weight_shape
        self._model = model
        self._needs_targets = needs_targets
        self._class_weight = class_weight
        self._signature: Signature | None = None
        self._dtypes: list[np.dtype[Any]] = []

    def __call__(self, name: str, given: Any) -> ArrayData:
        """The batch's arrays.

        Raises:
            DataError: naming the batch.
        """
        try:
            return self._like_the_first(self._taken(given))
        except ValueError as error:
            raise DataError(f"{name}: {error}") from error

    def _taken(self, given: Any) -> ArrayData:
        x, y, sample_weight = _unpacked(given)
        if not self._needs_targets:
            y = sample_weight = None
        elif y is None:
            raise DataError(
                "it has no targets: expected (inputs, targets) or (inputs, targets, sample_weights). "
                f"Received: {_shown(given)}"
            )
        data = intake(self._model, x, y, sample_weight, needs_targets=self._needs_targets)
        if self._class_weight is not None:
            if sample_weight is not None:
                raise DataError("You cannot specify `class_weight` and `sample_weight` at the same time.")
            data = class_weights(data, self._class_weight)
        if self._needs_targets:
            check_against_model(self._model, data, "targets")
        check_batches(self._model.tasks.state_variables(self._model), data.num_samples, data.num_samples)
        return data

    def _like_the_first(self, data: ArrayData) -> ArrayData:
        found, wanted = signature_of(self._model, data), self._signature
        if wanted is None:
            data = data.with_weights(self._weight_shape)
            self._signature = signature_of(self._model, data)
            self._dtypes = [array.dtype for array in (*data.x, *data.y)]
            return data
        for what, theirs, ours in (
            ("inputs", wanted.inputs, found.inputs),
            ("targets", wanted.targets, found.targets),
        ):
            shapes = [[str(keras_shape(spec.shape)) for spec in specs] for specs in (theirs, ours)]
            if shapes[0] != shapes[1]:
                raise DataError(
                    f"its {what} have the shape {', '.join(shapes[1])}, those of the first batch "
                    f"{', '.join(shapes[0])}: only the number of samples may change from batch to batch"
                )
        return self._weighted_like(_typed_like(data, wanted, self._dtypes), wanted)

    @staticmethod
    def _weighted_like(data: ArrayData, wanted: Signature) -> ArrayData:
        weight, given = wanted.weight, data.sample_weight
        if weight is not None and given is None:
            return data.with_weights(weight.concrete(data.num_samples)[1:])
        if weight is not None and given is not None and weight.shape[1:] != given.shape[1:]:
            raise DataError(
                f"its sample weights have the shape {given.shape}, those of the first batch "
                f"{keras_shape(weight.shape)}"
            )
        if given is not None and weight is None:
            raise DataError(
                "it has sample weights, and the first batch had none: give them from the beginning"
            )
        return data


def _typed_like(data: ArrayData, wanted: Signature, dtypes: Sequence[np.dtype[Any]]) -> ArrayData:
    """The data in the first batch's `dtypes`, so that they can lie where it lay.

    Whole numbers of targets may become floats, not the reverse.
    """
    for target, spec in zip(data.y, wanted.targets, strict=True):
        if target.dtype.kind == "f" and not spec.is_float:
            raise DataError(
                "its targets are floats, those of the first batch are whole numbers: give floats from the "
                "beginning"
            )
    specs = (*wanted.inputs, *wanted.targets)
    arrays = tuple(map(_stored_like, (*data.x, *data.y), specs, dtypes))
    return ArrayData(arrays[: len(data.x)], arrays[len(data.x) :], data.sample_weight)


def _stored_like(array: Array, spec: Spec, dtype: np.dtype[Any]) -> Array:
    """The array in `dtype` if a graph that takes `spec` sees no difference, else as it is."""
    if array.dtype == dtype:
        return array
    with np.errstate(invalid="ignore"):
        found = array.astype(dtype)
    is_cast_to_it_anyway = dtype == spec.dtype
    if is_cast_to_it_anyway or np.can_cast(array.dtype, dtype):
        return found
    is_same = found.astype(array.dtype).tobytes() == array.tobytes()  # -0.0 is another than 0.0
    return found if is_same else array


def _unpacked(given: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of what the user's code gave."""
    if isinstance(given, Mapping) or hasattr(given, "shape") or hasattr(given, "__array__"):
        return given, None, None
    if isinstance(given, tuple | list) and len(given) in (1, 2, 3):
        x, y, sample_weight = (*given, None, None)[:3]
        return x, y, sample_weight
    raise DataError(
        "expected a tuple, either (inputs,) or (inputs, targets) or (inputs, targets, sample_weights). "
        f"Received: {_shown(given)}"
    )


def _shown(given: Any) -> str:
    if isinstance(given, tuple | list):
        return f"a {type(given).__name__} of {len(given)}"
    return "None" if given is None else f"an object of type {type(given).__name__}"
