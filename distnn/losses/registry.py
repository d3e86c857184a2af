"""Losses by name: what `get` knows, and configurations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from distnn import identifiers
from distnn.errors import UnknownNameError
from distnn.losses.circle import Circle, circle
from distnn.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from distnn.losses.ctc import CTC, ctc
from distnn.losses.focal import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
)
from distnn.losses.generalized import (
    CategoricalGeneralizedCrossEntropy,
)
from distnn.losses.hinges import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from distnn.losses.loss import FunctionLoss, Loss, LossFunction
from distnn.losses.overlap import (
    Dice,
    Tversky,
    dice,
    tversky,
)
from distnn.losses.probabilistic import (
    KLDivergence,
    Poisson,
    kl_divergence,
    poisson,
)
from distnn.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from distnn.naming import did_you_mean_or_known

CLASSES: dict[str, type[Loss]] = {
    loss_class.__name__: loss_class
    for loss_class in (
        CTC,
        BinaryCrossentropy,
        BinaryFocalCrossentropy,
        CategoricalCrossentropy,
        CategoricalFocalCrossentropy,
        CategoricalGeneralizedCrossEntropy,
        CategoricalHinge,
        Circle,
        CosineSimilarity,
        Dice,
        Hinge,
        Huber,
        KLDivergence,
        LogCosh,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredError,
        MeanSquaredLogarithmicError,
        Poisson,
        SparseCategoricalCrossentropy,
        SquaredHinge,
        Tversky,
        FunctionLoss,
    )
}
FUNCTIONS: dict[str, LossFunction] = {
    **{
        function.__name__: function
        for function in (
            binary_crossentropy,
            binary_focal_crossentropy,
            categorical_crossentropy,
            categorical_focal_crossentropy,
            categorical_hinge,
            circle,
            cosine_similarity,
            ctc,
            dice,
            hinge,
            huber,
            kl_divergence,
            log_cosh,
            mean_absolute_error,
            mean_absolute_percentage_error,
            mean_squared_error,
            mean_squared_logarithmic_error,
            poisson,
            sparse_categorical_crossentropy,
            squared_hinge,
            tversky,
        )
    },
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
    "mape": mean_absolute_percentage_error,
    "msle": mean_squared_logarithmic_error,
    "logcosh": log_cosh,
    "kld": kl_divergence,
    "kullback_leibler_divergence": kl_divergence,
}
ALIASES = {
    "MSE": "mse",
    "MAE": "mae",
    "MAPE": "mape",
    "MSLE": "msle",
    "KLD": "kld",
    "bce": "binary_crossentropy",
    "BCE": "binary_crossentropy",
}


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted([*FUNCTIONS, *(name for name in CLASSES if name != "FunctionLoss")])


def get(identifier: Any) -> Loss:
    """The loss for a name, a function, a `Loss` or its `{"class_name", "config"}`.

    Raises:
        ValueError: for an unknown name (UnknownNameError), or something that is no loss.
    """
    return deserialize(identifier)


def serialize(loss: Loss) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a loss of the user's own that cannot be found or made again.
    """
    return identifiers.to_config(loss, CLASSES, "loss")


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Loss:
    """The loss that `serialize` described; what it names may be registered, or among `custom_objects`."""
    if isinstance(name, Loss):
        return name
    if isinstance(name, Mapping) and name.get("class_name") == "FunctionLoss":
        return _around(name["config"]["function"], name["config"]["name"], custom_objects)
    if isinstance(name, Mapping) and "class_name" in name:
        found = identifiers.lookup(name["class_name"], CLASSES, custom_objects)
        if found is None:
            raise _not_interpreted(name["class_name"])
        described: Loss = identifiers.made_from(found, name.get("config") or {}, "loss")
        return described
    if isinstance(name, str):
        return _around(name, None, custom_objects)
    if inspect.isclass(name) and issubclass(name, Loss):
        return name()
    if callable(name) and not inspect.isclass(name):
        return FunctionLoss(name)
    raise _not_interpreted(name)


def _around(name: str, shown: str | None, custom_objects: Mapping[str, Any] | None) -> Loss:
    """The loss of a function's name, or of a class's."""
    known = {**CLASSES, **FUNCTIONS, "FunctionLoss": None}
    found = identifiers.lookup(ALIASES.get(name, name), known, custom_objects)
    if found is None:
        raise _not_interpreted(name)
    if isinstance(found, type):
        made: Loss = found()
        return made
    return FunctionLoss(found, shown)


def _not_interpreted(identifier: Any) -> UnknownNameError:
    hint = did_you_mean_or_known(identifier, names())
    return UnknownNameError(f"Could not interpret loss identifier: {identifier!r}.{hint}", identifier, "loss")


def is_sparse(loss: Loss) -> bool:
    """Whether the targets are class numbers."""
    function = loss.function if isinstance(loss, FunctionLoss) else None
    by_number = (SparseCategoricalCrossentropy, CategoricalGeneralizedCrossEntropy)
    return isinstance(loss, by_number) or function is sparse_categorical_crossentropy
