"""Metrics by name: what `compile` knows, and configurations."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from distnn import identifiers, losses
from distnn.errors import UnknownNameError
from distnn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from distnn.metrics.auc import (
    AUC,
)
from distnn.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from distnn.metrics.correlation import (
    ConcordanceCorrelation,
    PearsonCorrelation,
    concordance_correlation,
    pearson_correlation,
)
from distnn.metrics.f_score import (
    F1Score,
    FBetaScore,
)
from distnn.metrics.iou import (
    BinaryIoU,
    IoU,
    MeanIoU,
    OneHotIoU,
    OneHotMeanIoU,
)
from distnn.metrics.means import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Sum,
    cosine_similarity,
)
from distnn.metrics.metric import FunctionMetric, MeanMetricWrapper, Metric, MetricFunction
from distnn.metrics.r2 import (
    R2Score,
)
from distnn.naming import did_you_mean_or_known, snake_case
from distnn.tensor import Spec

CLASSES: dict[str, type[Metric]] = {
    metric_class.__name__: metric_class
    for metric_class in (
        AUC,
        Accuracy,
        BinaryAccuracy,
        BinaryCrossentropy,
        BinaryIoU,
        CategoricalAccuracy,
        CategoricalCrossentropy,
        CategoricalHinge,
        ConcordanceCorrelation,
        CosineSimilarity,
        F1Score,
        FBetaScore,
        FalseNegatives,
        FalsePositives,
        Hinge,
        IoU,
        KLDivergence,
        LogCoshError,
        Mean,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanIoU,
        MeanSquaredError,
        MeanSquaredLogarithmicError,
        OneHotIoU,
        OneHotMeanIoU,
        PearsonCorrelation,
        Poisson,
        Precision,
        PrecisionAtRecall,
        R2Score,
        Recall,
        RecallAtPrecision,
        RootMeanSquaredError,
        SensitivityAtSpecificity,
        SparseCategoricalAccuracy,
        SparseCategoricalCrossentropy,
        SparseTopKCategoricalAccuracy,
        SpecificityAtSensitivity,
        SquaredHinge,
        Sum,
        TopKCategoricalAccuracy,
        TrueNegatives,
        TruePositives,
        FunctionMetric,
        MeanMetricWrapper,
    )
}
FUNCTIONS: dict[str, MetricFunction] = {
    "binary_accuracy": binary_accuracy,
    "categorical_accuracy": categorical_accuracy,
    "sparse_categorical_accuracy": sparse_categorical_accuracy,
    "top_k_categorical_accuracy": top_k_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": sparse_top_k_categorical_accuracy,
    "mean_squared_error": losses.mean_squared_error,
    "mse": losses.mean_squared_error,
    "MSE": losses.mean_squared_error,
    "mean_absolute_error": losses.mean_absolute_error,
    "mae": losses.mean_absolute_error,
    "MAE": losses.mean_absolute_error,
    "categorical_crossentropy": losses.categorical_crossentropy,
    "sparse_categorical_crossentropy": losses.sparse_categorical_crossentropy,
    "binary_crossentropy": losses.binary_crossentropy,
    "bce": losses.binary_crossentropy,
    "BCE": losses.binary_crossentropy,
    "mean_absolute_percentage_error": losses.mean_absolute_percentage_error,
    "mape": losses.mean_absolute_percentage_error,
    "MAPE": losses.mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": losses.mean_squared_logarithmic_error,
    "msle": losses.mean_squared_logarithmic_error,
    "MSLE": losses.mean_squared_logarithmic_error,
    "log_cosh": losses.log_cosh,
    "logcosh": losses.log_cosh,
    "kl_divergence": losses.kl_divergence,
    "kld": losses.kl_divergence,
    "KLD": losses.kl_divergence,
    "poisson": losses.poisson,
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "categorical_hinge": losses.categorical_hinge,
    "cosine_similarity": cosine_similarity,
    "pearson_correlation": pearson_correlation,
    "concordance_correlation": concordance_correlation,
}
_BY_NAME: dict[str, Any] = {
    name: metric_class
    for metric_class in CLASSES.values()
    if metric_class not in (FunctionMetric, MeanMetricWrapper)
    for name in (metric_class.__name__, snake_case(metric_class.__name__))
    if name not in FUNCTIONS
}
ACCURACY_NAMES = ("accuracy", "acc")


def names() -> list[str]:
    """The names that `compile` knows."""
    return sorted({*ACCURACY_NAMES, *FUNCTIONS, *_BY_NAME})


def get(identifier: Any, name: str | None = None) -> Metric:
    """The metric for a name, a function, a `Metric` or its `{"class_name", "config"}`.

    Raises:
        ValueError: for an unknown name, or something that is no metric.
    """
    return _made(identifier, name, None)


def _made(identifier: Any, name: str | None, custom_objects: Mapping[str, Any] | None) -> Metric:
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, Mapping) and identifier.get("class_name") == "FunctionMetric":
        identifier, name = identifier["config"]["function"], identifier["config"]["name"]
    if isinstance(identifier, Mapping) and "class_name" in identifier:
        found = identifiers.lookup(identifier["class_name"], CLASSES, custom_objects)
        if found is None:
            raise _not_interpreted(identifier["class_name"])
        described: Metric = identifiers.made_from(found, identifier.get("config") or {}, "metric")
        return described
    if isinstance(identifier, str):
        found = identifiers.lookup(identifier, {**_BY_NAME, **FUNCTIONS}, custom_objects)
        if found is None:
            raise _not_interpreted(identifier)
        if isinstance(found, type):
            made: Metric = found()
            return made
        return FunctionMetric(found, name or identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Metric):
        return identifier()
    if callable(identifier) and not inspect.isclass(identifier):
        return FunctionMetric(identifier, name)
    raise _not_interpreted(identifier)


def _not_interpreted(identifier: Any) -> UnknownNameError:
    hint = did_you_mean_or_known(identifier, names())
    text = f"Could not interpret metric identifier: {identifier!r}.{hint}"
    if _is_accuracy(identifier):
        text = (
            f"Could not interpret metric identifier: {identifier!r}. Its form is chosen in `compile`, by the "
            "shapes; elsewhere name it: BinaryAccuracy, CategoricalAccuracy or SparseCategoricalAccuracy."
        )
    return UnknownNameError(text, identifier, "metric")


def check(identifier: Any) -> None:
    """Raise what `get` would raise; "accuracy", which needs shapes, passes."""
    if not _is_accuracy(identifier):
        get(identifier)


def _is_accuracy(identifier: Any) -> bool:
    return isinstance(identifier, str) and identifier.lower() in ACCURACY_NAMES


def resolve(identifier: Any, target: Spec, output: Spec) -> Metric:
    """The metric for `identifier`; "accuracy" chooses its form by the specs, as Keras does.

    One given as a string has that string for a name.
    """
    if not _is_accuracy(identifier):
        metric = get(identifier)
        if isinstance(identifier, str):
            metric.name = identifier
        metric.build(target, output)
        if not metric.gives_number:
            raise ValueError(
                f"the metric '{metric.name}' gives several numbers, of which logs show none: give it one "
                "threshold, or an average"
            )
        return metric
    if output.rank > 0 and output.shape[-1] == 1:
        function: MetricFunction = binary_accuracy
    elif target.rank < output.rank or (target.shape[-1] == 1 and output.shape[-1] != 1):
        function = sparse_categorical_accuracy
    else:
        function = categorical_accuracy
    return FunctionMetric(function, identifier)


def serialize(metric: Metric) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a metric of the user's own that cannot be found or made again.
    """
    return identifiers.to_config(metric, CLASSES, "metric")


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Metric:
    """The metric that `serialize` described; what it names may be registered, or among `custom_objects`."""
    return _made(config, None, custom_objects)
