"""Metrics against plain NumPy: values, weights, what "accuracy" stands for, names and messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import Array, classification

from distnn import losses, metrics, ops
from distnn.layers import Dense, Input
from distnn.metrics import Metric
from distnn.models import Sequential
from distnn.tensor import Batch, Spec

RNG = np.random.default_rng(12)
CLASSES = 6
PREDICTIONS = RNG.random((40, CLASSES)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, 40)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
BITS = (RNG.random((40, 3)) > 0.5).astype(np.float32)
NUMBERS = RNG.random((40, 3)).astype(np.float32)
WEIGHTS = RNG.random(40)
STACK, STACK_LABELS = RNG.random((8, 5, CLASSES)).astype(np.float32), RNG.integers(0, CLASSES, (8, 5))


def rank_of_label(labels: Array, predictions: Array) -> Array:
    """How many predictions are larger than the label's."""
    own = np.take_along_axis(predictions, labels[..., None], -1)
    return (predictions > own).sum(-1)


def top(labels: Array, predictions: Array, k: int) -> Array:
    return (rank_of_label(labels, predictions) < k).astype(float)


CASES: list[tuple[Metric, Array, Array, Array]] = [
    (metrics.Accuracy(), LABELS, LABELS[::-1].copy(), (LABELS == LABELS[::-1]) * 1.0),
    (metrics.BinaryAccuracy(), BITS, NUMBERS, (BITS == (NUMBERS > 0.5)).mean(-1)),
    (metrics.BinaryAccuracy(threshold=0.8), BITS, NUMBERS, (BITS == (NUMBERS > 0.8)).mean(-1)),
    (metrics.BinaryAccuracy(), BITS[:, 0], NUMBERS[:, :1], (BITS[:, 0] == (NUMBERS[:, 0] > 0.5)) * 1.0),
    (metrics.CategoricalAccuracy(), ONE_HOT, PREDICTIONS, (LABELS == PREDICTIONS.argmax(-1)) * 1.0),
    (metrics.SparseCategoricalAccuracy(), LABELS, PREDICTIONS, (LABELS == PREDICTIONS.argmax(-1)) * 1.0),
    (
        metrics.SparseCategoricalAccuracy(),
        LABELS[:, None],
        PREDICTIONS,
        (LABELS == PREDICTIONS.argmax(-1)) * 1.0,
    ),
    (
        metrics.SparseCategoricalAccuracy(),
        STACK_LABELS,
        STACK,
        (STACK_LABELS == STACK.argmax(-1)).mean(-1),
    ),
    *(
        (metrics.TopKCategoricalAccuracy(k), ONE_HOT, PREDICTIONS, top(LABELS, PREDICTIONS, k))
        for k in (1, 3)
    ),
    *(
        (metrics.SparseTopKCategoricalAccuracy(k), LABELS, PREDICTIONS, top(LABELS, PREDICTIONS, k))
        for k in (1, 2, 5, 9)
    ),
    (metrics.MeanSquaredError(), BITS, NUMBERS, ((BITS - NUMBERS.astype(float)) ** 2).mean(-1)),
    (metrics.MeanAbsoluteError(), BITS, NUMBERS, np.abs(BITS - NUMBERS.astype(float)).mean(-1)),
    (
        metrics.MeanAbsoluteError(),
        STACK,
        1 - STACK,
        np.abs(STACK - (1 - STACK.astype(float))).mean((-1, -2)),
    ),
]
CASES += [
    (made, y_true, y_pred, np.asarray(function(y_true, y_pred.astype(np.float64), **options)))
    for made, function, y_true, y_pred, options in (
        (metrics.MeanAbsolutePercentageError(), losses.mean_absolute_percentage_error, 1 + BITS, NUMBERS, {}),
        (metrics.MeanSquaredLogarithmicError(), losses.mean_squared_logarithmic_error, BITS, NUMBERS, {}),
        (metrics.LogCoshError(), losses.log_cosh, BITS, NUMBERS, {}),
        (metrics.KLDivergence(), losses.kl_divergence, ONE_HOT, PREDICTIONS, {}),
        (metrics.Poisson(), losses.poisson, BITS, NUMBERS, {}),
        (metrics.Hinge(), losses.hinge, BITS, NUMBERS, {}),
        (metrics.SquaredHinge(), losses.squared_hinge, BITS, NUMBERS, {}),
        (metrics.CategoricalHinge(), losses.categorical_hinge, ONE_HOT, PREDICTIONS, {}),
        (metrics.BinaryCrossentropy(), losses.binary_crossentropy, BITS, NUMBERS, {}),
        (
            metrics.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
            losses.categorical_crossentropy,
            ONE_HOT,
            PREDICTIONS,
            {"from_logits": True, "label_smoothing": 0.1},
        ),
        (
            metrics.SparseCategoricalCrossentropy(from_logits=True),
            losses.sparse_categorical_crossentropy,
            LABELS,
            PREDICTIONS,
            {"from_logits": True},
        ),
        (metrics.CosineSimilarity(), metrics.cosine_similarity, ONE_HOT, PREDICTIONS, {}),
    )
]
IDS = [f"{type(metric).__name__}{prediction.shape}" for metric, _, prediction, _ in CASES]


def test_every_metric_has_a_case() -> None:
    public = {v for v in vars(metrics).values() if inspect.isclass(v) and issubclass(v, Metric)}
    means = {v for v in public if not issubclass(v, metrics.CountingMetric)}
    others = {Metric, metrics.FunctionMetric, metrics.Mean, metrics.Sum, metrics.RootMeanSquaredError}
    assert means - others == {type(metric) for metric, *_ in CASES}


@pytest.mark.parametrize("metric, y_true, y_pred, expected", CASES, ids=IDS)
def test_is_the_mean_of_the_values(metric: Metric, y_true: Array, y_pred: Array, expected: Array) -> None:
    metric.reset_state()
    assert metric.result() == 0.0
    np.testing.assert_allclose(metric(y_true, y_pred), expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("metric, y_true, y_pred, expected", CASES, ids=IDS)
def test_is_a_weighted_mean(metric: Metric, y_true: Array, y_pred: Array, expected: Array) -> None:
    weights = WEIGHTS[: len(expected)]
    for given in (weights, weights[:, None]):
        metric.reset_state()
        found = metric(y_true, y_pred, sample_weight=given)
        np.testing.assert_allclose(found, np.average(expected, weights=weights), rtol=1e-6)


@pytest.mark.parametrize("metric, y_true, y_pred, expected", CASES, ids=IDS)
def test_batches_add_up(metric: Metric, y_true: Array, y_pred: Array, expected: Array) -> None:
    metric.reset_state()
    for start, stop in ((0, 3), (3, 4), (4, len(y_true))):
        metric.update_state(y_true[start:stop], y_pred[start:stop])
    np.testing.assert_allclose(metric.result(), expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("metric", [case[0] for case in CASES], ids=IDS)
def test_config_is_kept(metric: Metric) -> None:
    again = metrics.get(metrics.serialize(metric))
    assert type(again) is type(metric) and again.get_config() == metric.get_config()


def test_the_root_is_taken_of_the_whole_mean() -> None:
    squares = (BITS - NUMBERS.astype(float)) ** 2
    metric = metrics.RootMeanSquaredError()
    for start, stop in ((0, 3), (3, 4), (4, 40)):
        metric.update_state(BITS[start:stop], NUMBERS[start:stop], WEIGHTS[start:stop])
    expected = np.sqrt((squares * WEIGHTS[:, None]).sum() / (3 * WEIGHTS.sum()))
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


def test_numbers_at_hand() -> None:
    mean, total = metrics.Mean(name="m"), metrics.Sum()
    for metric in (mean, total):
        metric.update_state([1, 3, 5])
        metric.update_state(7.0)
    assert (mean.result(), total.result()) == (4.0, 16.0)
    mean.reset_state()
    assert mean([1.0, 3.0], sample_weight=[3.0, 1.0]) == 1.5 and mean.name == "m"
    with pytest.raises(ValueError, match="Mean takes numbers.*cannot be given to `compile`"):
        logs_of([metrics.Mean()])


@pytest.mark.parametrize("labels, one_hot", [(LABELS, ONE_HOT)])
def test_the_first_of_equals_wins(labels: Array, one_hot: Array) -> None:
    flat = np.ones_like(PREDICTIONS)
    assert metrics.SparseCategoricalAccuracy()(labels, flat) == (labels == 0).mean()
    assert metrics.CategoricalAccuracy()(one_hot, flat) == (labels == 0).mean()


def test_a_prediction_at_the_threshold_is_no() -> None:
    assert metrics.BinaryAccuracy()([[1.0], [0.0]], [[0.5], [0.5]]) == 0.5


# In compile


def spec(*shape: int, dtype: str = "float32") -> Spec:
    return Spec((Batch(), *shape), dtype)


ACCURACIES = [
    (spec(), spec(1), metrics.binary_accuracy),
    (spec(1), spec(1), metrics.binary_accuracy),
    (spec(), spec(3), metrics.sparse_categorical_accuracy),
    (spec(1), spec(3), metrics.sparse_categorical_accuracy),
    (spec(5), spec(5, 3), metrics.sparse_categorical_accuracy),
    (spec(5, 1), spec(5, 3), metrics.sparse_categorical_accuracy),
    (spec(3), spec(3), metrics.categorical_accuracy),
    (spec(5, 3), spec(5, 3), metrics.categorical_accuracy),
]


@pytest.mark.parametrize("target, output, function", ACCURACIES)
@pytest.mark.parametrize("name", ["accuracy", "acc", "Accuracy"])
def test_accuracy_is_chosen_by_the_shapes(
    name: str, target: Spec, output: Spec, function: Callable[..., Any]
) -> None:
    found = metrics.resolve(name, target, output)
    assert isinstance(found, metrics.FunctionMetric)
    assert found.function is function and found.name == name


def logs_of(given: list[Any], weighted: list[Any] | None = None, **options: Any) -> dict[str, float]:
    """What `evaluate` says of a fixed model, in three batches of three shards."""
    x, y = classification(50, 4, 3)
    model = Sequential([Input((4,)), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", given, weighted_metrics=weighted)
    model.ensure_initialized(1)
    logs = model.evaluate(x, y, 20, 0, return_dict=True, shards=3, **options)
    assert isinstance(logs, dict)
    return logs


def predictions() -> tuple[Array, Array]:
    x, y = classification(50, 4, 3)
    model = Sequential([Input((4,)), Dense(3, "softmax")])
    model.ensure_initialized(1)
    return y, model.predict(x)


def test_names_in_the_logs_are_keras() -> None:
    given = ["acc", "SparseCategoricalAccuracy", metrics.SparseTopKCategoricalAccuracy(k=2), mean_of_first]
    assert list(logs_of([*given, mean_of_first, mean_of_first])) == [
        "loss",
        "acc",
        "SparseCategoricalAccuracy",
        "sparse_top_k_categorical_accuracy",
        "mean_of_first",
        "mean_of_first_1",
        "mean_of_first_2",
    ]


def test_a_weighted_metric_of_a_taken_name_says_so() -> None:
    logs = logs_of(["accuracy", first], ["accuracy", "acc", first])
    assert list(logs) == ["loss", "accuracy", "first", "weighted_accuracy", "acc", "weighted_first"]


def mean_of_first(y_true: Any, y_pred: Any) -> Any:
    """One number for all samples given."""
    return ops.mean(y_pred[:, 0]) if isinstance(y_pred, np.ndarray) else ops.mean(first_column(y_pred))


def first_column(y_pred: Any) -> Any:
    return ops.matmul(y_pred, np.array([1.0, 0.0, 0.0], np.float32))


def first(y_true: Any, y_pred: Any) -> Any:
    """A number per sample."""
    return first_column(y_pred)


def test_users_functions_of_samples_and_of_shards_give_the_mean_over_samples() -> None:
    logs = logs_of([first, mean_of_first])
    _, p = predictions()
    np.testing.assert_allclose(logs["first"], p[:, 0].astype(float).mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["mean_of_first"], logs["first"], rtol=1e-6)


def test_sample_weights_count_in_weighted_metrics_only() -> None:
    weights = np.linspace(0.0, 2.0, 50)
    logs = logs_of([first], [metrics.FunctionMetric(first, "weighted"), "accuracy"], sample_weight=weights)
    y, p = predictions()
    np.testing.assert_allclose(logs["first"], p[:, 0].astype(float).mean(), rtol=1e-6)
    np.testing.assert_allclose(
        logs["weighted"], np.average(p[:, 0].astype(float), weights=weights), rtol=1e-6
    )
    np.testing.assert_allclose(logs["accuracy"], np.average(p.argmax(1) == y, weights=weights), rtol=1e-6)
    expected = losses.SparseCategoricalCrossentropy()(y, p.astype(float), sample_weight=weights)
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_counts_of_right_answers_are_exact() -> None:
    y, p = predictions()
    assert logs_of(["accuracy"])["accuracy"] == (p.argmax(1) == y).mean()


MESSAGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: metrics.get("acuracy"), "Could not interpret metric identifier: 'acuracy'. Did you mean 'accur"),
    (lambda: metrics.get("acc"), "chosen in `compile`, by the shapes; elsewhere name it: BinaryAccuracy"),
    (lambda: metrics.get(3), "Could not interpret metric identifier: 3"),
    (lambda: metrics.BinaryAccuracy(threshold=2), "Invalid value for argument `threshold`.*threshold=2"),
    (lambda: logs_of("accuracy"), "Expected `metrics` argument to be a list.*metrics=accuracy"),  # type: ignore[arg-type]
    (lambda: logs_of(["acuracy"]), "Could not interpret metric identifier"),
    (lambda: logs_of([lambda y, p: 3.0]), "must return a tensor.*Received: float"),
    (
        lambda: logs_of([], [mean_of_first], sample_weight=np.ones(50)),
        "'mean_of_first' returns one number for the whole shard, so it cannot be one of `weighted_metrics`",
    ),
    (
        lambda: metrics.serialize(metrics.get(lambda y, p: y)),
        "the metric <lambda> is your own and has no name",
    ),
    (lambda: Metric()(BITS, BITS), r"Metric must define `values\(self, y_true, y_pred\)`"),
]


@pytest.mark.parametrize("call, message", MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        call()
