"""The data of a `fit`: arrays, or batches that are pulled, and what it validates on; checked and alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from distnn.data.arrays import ArrayData
from distnn.data.dataset import ArrayDataset
from distnn.data.pulling import BatchSource, is_pulled
from distnn.data.splitting import split_last
from distnn.models.intake import check_against_model, class_weights, intake
from distnn.models.pulled import open_source, pulled_whole, refuse_beside_pulled

if TYPE_CHECKING:
    from distnn.models.fitting import FitArguments
    from distnn.models.model import Model


def checked_data(
    model: Model, arguments: FitArguments, seed: int
) -> tuple[BatchSource | None, ArrayData, ArrayData | None]:
    """Training and validation data, checked against each other and the model.

    Of data that are pulled the first value is where from, and the training data are one of the batches.
    """
    x, source, validation = arguments.x, None, None
    if model.built and (is_pulled(x) or is_pulled(arguments.validation_data)):
        model.ensure_initialized(seed)  # the user's code that makes a batch may look at the weights
    if arguments.validation_data is not None:
        validation = _validation_data(model, arguments)
    if is_pulled(x):
        refuse_beside_pulled(
            x,
            y=arguments.y,
            sample_weight=arguments.sample_weight,
            validation_split=arguments.validation_split,
        )
        order_seed = seed if arguments.shuffle else None
        source, train = open_source(
            model,
            x,
            class_weight=arguments.class_weight,
            order_seed=order_seed,
            weight_shape=_weight_shape(validation),
        )
    else:
        train = intake(model, x, arguments.y, arguments.sample_weight, needs_targets=True)
    if validation is None and arguments.validation_split:
        train, validation = split_last(train, arguments.validation_split)
        validation = _first_batches(validation, arguments)
    if source is None:
        if arguments.class_weight is not None:
            train = class_weights(train, arguments.class_weight)
        check_against_model(model, train)
    if validation is not None:
        train, validation = _same_weighting(train, validation)
        check_against_model(model, validation, "validation data")
    return source, train, validation


def _validation_data(model: Model, arguments: FitArguments) -> ArrayData:
    given, steps = arguments.validation_data, arguments.validation_steps
    if is_pulled(given):
        return pulled_whole(model, given, steps)
    given = (given.x, given.y) if isinstance(given, ArrayDataset) else given
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        raise ValueError(
            "`validation_data` must be a tuple (x, y) or (x, y, sample_weight). "
            f"Received: {type(given).__name__}"
            + (f" of length {len(given)}" if isinstance(given, list | tuple) else "")
        )
    data = intake(model, given[0], given[1], given[2] if len(given) == 3 else None, needs_targets=True)
    return _first_batches(data, arguments)


def _first_batches(validation: ArrayData, arguments: FitArguments) -> ArrayData:
    """As much of the validation data as `validation_steps` says."""
    if arguments.validation_steps is None:
        return validation
    size = arguments.validation_batch_size or arguments.batch_size or 32
    return validation.slice(0, min(validation.num_samples, arguments.validation_steps * size))


def _weight_shape(data: ArrayData | None) -> tuple[int, ...] | None:
    """The shape of a sample's weights, if there are any."""
    return None if data is None or data.sample_weight is None else data.sample_weight.shape[1:]


def _same_weighting(train: ArrayData, validation: ArrayData) -> tuple[ArrayData, ArrayData]:
    """Both with sample weights or neither, so that one task serves both."""
    shapes = _weight_shape(train), _weight_shape(validation)
    return train.with_weights(shapes[1]), validation.with_weights(shapes[0])
