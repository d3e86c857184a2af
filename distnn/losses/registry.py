"""Losses by name: what `get` knows, and configurations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

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
from distnn.naming import did_you_mean

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
        ValueError: for an unknown name, or something that is no loss.
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        name = ALIASES.get(identifier, identifier)
        if name in FUNCTIONS:
            return FunctionLoss(FUNCTIONS[name])
        if name in CLASSES and name != "FunctionLoss":
            return CLASSES[name]()
    if isinstance(identifier, Mapping) and identifier.get("class_name") in CLASSES:
        return CLASSES[identifier["class_name"]].from_config(identifier.get("config", {}))
    if inspect.isclass(identifier) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier) and not inspect.isclass(identifier):
        return FunctionLoss(identifier)
    raise ValueError(
        f"Could not interpret loss identifier: {identifier!r}.{did_you_mean(identifier, names())} "
        f"Known: {', '.join(names())}."
    )


def serialize(loss: Loss) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a loss of the user's own, which `get` cannot find by its name.
    """
    if CLASSES.get(type(loss).__name__) is not type(loss):
        raise ValueError(f"the loss {loss.name!r} is a class of your own and cannot be saved")
    return {"class_name": type(loss).__name__, "config": loss.get_config()}


def deserialize(name: Any, custom_objects: Mapping[str, type[Loss]] | None = None) -> Loss:
    """The loss that `serialize` described; its class may be among `custom_objects`."""
    own = (custom_objects or {}).get(name["class_name"]) if isinstance(name, Mapping) else None
    return get(name) if own is None else own.from_config(name["config"])


def is_sparse(loss: Loss) -> bool:
    """Whether the targets are class numbers."""
    function = loss.function if isinstance(loss, FunctionLoss) else None
    by_number = (SparseCategoricalCrossentropy, CategoricalGeneralizedCrossEntropy)
    return isinstance(loss, by_number) or function is sparse_categorical_crossentropy
