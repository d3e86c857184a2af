"""Losses against plain NumPy in float64: values, reductions, weights, gradients, names and messages."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from trainings import Array, step_sums

from distnn import losses, ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.layers import Dense, Input, UnitNormalization
from distnn.losses import Loss
from distnn.models import Sequential
from distnn.tensor import Spec

RNG = np.random.default_rng(11)
CLASSES = 4
SCORES = 1.2 * RNG.normal(size=(5, CLASSES))
PROBABILITIES = np.exp(SCORES) / np.exp(SCORES).sum(-1, keepdims=True)
LABELS = np.array([0, 3, 1, 1, 2])
ONE_HOT = np.eye(CLASSES)[LABELS]
SOFT = RNG.dirichlet(np.ones(CLASSES), 5)
BITS = (RNG.random((5, 3)) > 0.5).astype(np.float64)
LOGITS = 4 * RNG.normal(size=(5, 3))
NUMBERS = 2 * RNG.normal(size=(5, 3))
WEIGHTS = np.array([1.0, 2.0, 0.0, 0.5, 3.0])
TINY = 1e-7
"""Keras's epsilon: probabilities are kept away from 0 and 1 by it."""

# The formulas


def np_softmax(x: Array) -> Array:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def np_categorical(y: Array, p: Array, from_logits: bool = False, label_smoothing: float = 0.0) -> Array:
    y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
    p = np_softmax(p) if from_logits else np.clip(p / p.sum(-1, keepdims=True), TINY, 1 - TINY)
    return -(y * np.log(p)).sum(-1)


def np_sparse(y: Array, p: Array, from_logits: bool = False) -> Array:
    return np_categorical(np.eye(p.shape[-1])[y], p, from_logits)


def np_binary(y: Array, p: Array, from_logits: bool = False, label_smoothing: float = 0.0) -> Array:
    y = y * (1 - label_smoothing) + label_smoothing / 2
    p = 1 / (1 + np.exp(-p)) if from_logits else np.clip(p, TINY, 1 - TINY)
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(-1)


def np_mse(y: Array, p: Array) -> Array:
    return ((y - p) ** 2).mean(-1)


def np_mae(y: Array, p: Array) -> Array:
    return np.abs(y - p).mean(-1)


def np_huber(y: Array, p: Array, delta: float = 1.0) -> Array:
    e = np.abs(y - p)
    return np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2).mean(-1)


def np_mape(y: Array, p: Array) -> Array:
    return 100 * np.abs((y - p) / np.maximum(np.abs(y), TINY)).mean(-1)


def np_msle(y: Array, p: Array) -> Array:
    return ((np.log(np.maximum(p, TINY) + 1) - np.log(np.maximum(y, TINY) + 1)) ** 2).mean(-1)


def np_log_cosh(y: Array, p: Array) -> Array:
    return np.log(np.cosh(p - y)).mean(-1)


def np_cosine(y: Array, p: Array, axis: int = -1) -> Array:
    y, p = (v / np.maximum(np.linalg.norm(v, axis=axis, keepdims=True), TINY) for v in (y, p))
    return -(y * p).sum(axis)


def np_kl(y: Array, p: Array) -> Array:
    y, p = np.clip(y, TINY, 1), np.clip(p, TINY, 1)
    return (y * np.log(y / p)).sum(-1)


def np_poisson(y: Array, p: Array) -> Array:
    return (p - y * np.log(p + TINY)).mean(-1)


def np_hinge(y: Array, p: Array, power: int = 1) -> Array:
    return (np.maximum(1 - (2 * y - 1) * p, 0) ** power).mean(-1)


def np_categorical_hinge(y: Array, p: Array) -> Array:
    return np.maximum(((1 - y) * p).max(-1) - (y * p).sum(-1) + 1, 0)


def np_binary_focal(
    y: Array, p: Array, gamma: float = 2.0, alpha: float = 0.25, apply_class_balancing: bool = False,
    from_logits: bool = False, label_smoothing: float = 0.0,
) -> Array:  # fmt: skip
    p = 1 / (1 + np.exp(-p)) if from_logits else p
    y = y * (1 - label_smoothing) + label_smoothing / 2
    q = np.clip(p, TINY, 1 - TINY)
    value = -(y * np.log(q) + (1 - y) * np.log(1 - q)) * (1 - (y * p + (1 - y) * (1 - p))) ** gamma
    return ((y * alpha + (1 - y) * (1 - alpha) if apply_class_balancing else 1) * value).mean(-1)


def np_categorical_focal(
    y: Array, p: Array, gamma: float = 2.0, alpha: float = 0.25, from_logits: bool = False,
    label_smoothing: float = 0.0,
) -> Array:  # fmt: skip
    y = y * (1 - label_smoothing) + label_smoothing / y.shape[-1]
    p = np_softmax(p) if from_logits else np.clip(p / p.sum(-1, keepdims=True), TINY, 1 - TINY)
    return (-alpha * (1 - p) ** gamma * y * np.log(p)).sum(-1)


def np_dice(y: Array, p: Array, axis: Any = None) -> Array:
    return 1 - 2 * (y * p).sum(axis) / (y.sum(axis) + p.sum(axis) + TINY)


def np_tversky(y: Array, p: Array, alpha: float = 0.5, beta: float = 0.5, axis: Any = None) -> Array:
    common, missed, wrong = (y * p).sum(axis), (y * (1 - p)).sum(axis), ((1 - y) * p).sum(axis)
    return 1 - common / (common + alpha * missed + beta * wrong + TINY)


def np_generalized(y: Array, p: Array, q: float = 0.5) -> Array:
    return (1 - p[np.arange(len(y)), y] ** q) / q


def np_circle(
    y: Array, p: Array, gamma: float = 80, margin: float = 0.4, remove_diagonal: bool = True
) -> Array:
    values = []
    for i in range(len(y)):
        near, apart = [], []
        for j in range(len(y)):
            d = max(1 - p[i] @ p[j], 0)
            if y[i] != y[j]:
                apart.append(np.exp(gamma * max(1 + margin - d, 0) * (1 - margin - d)))
            elif i != j or not remove_diagonal:
                near.append(np.exp(gamma * (margin + d) * (d - margin)))
        values.append(np.log1p(sum(near) * sum(apart)))
    return np.array(values)


@dataclass(frozen=True)
class Case:
    """A loss with its settings, the formula, and what to try it on."""

    loss: type[Loss]
    formula: Callable[..., Array]
    y_true: Array
    y_pred: Array
    config: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.config.items())
        return f"{self.loss.__name__}({settings}){self.y_pred.shape}"

    @property
    def expected(self) -> Array:
        return self.formula(self.y_true, self.y_pred, **self.config)


Categorical, Sparse = losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy
Binary = losses.BinaryCrossentropy
LOGIT, SMOOTH = {"from_logits": True}, {"label_smoothing": 0.2}
CHANCES = 1 / (1 + np.exp(-LOGITS))
STACK = np.stack([SCORES, -SCORES])
STACK_LABELS = np.stack([LABELS, LABELS[::-1]])

DIRECTIONS = NUMBERS / np.linalg.norm(NUMBERS, axis=-1, keepdims=True)
GROUPS = np.array([0, 7, 0, 7, 7])

CASES = [
    Case(losses.CategoricalGeneralizedCrossEntropy, np_generalized, LABELS, PROBABILITIES),
    Case(losses.CategoricalGeneralizedCrossEntropy, np_generalized, LABELS, PROBABILITIES, {"q": 0.7}),
    Case(losses.Circle, np_circle, GROUPS, DIRECTIONS, {"gamma": 2.0}),
    Case(losses.Circle, np_circle, GROUPS, DIRECTIONS, {"gamma": 1, "margin": 0.2, "remove_diagonal": False}),
    Case(losses.MeanSquaredError, np_mse, BITS, NUMBERS),
    Case(losses.MeanSquaredError, np_mse, STACK, STACK**2),
    Case(losses.MeanAbsoluteError, np_mae, BITS, NUMBERS),
    Case(losses.Huber, np_huber, BITS, NUMBERS),
    Case(losses.Huber, np_huber, BITS, NUMBERS, {"delta": 0.5}),
    Case(Categorical, np_categorical, ONE_HOT, PROBABILITIES),
    Case(Categorical, np_categorical, SOFT, 3 * PROBABILITIES),
    Case(Categorical, np_categorical, SOFT, SCORES, LOGIT),
    Case(Categorical, np_categorical, ONE_HOT, PROBABILITIES, SMOOTH),
    Case(Categorical, np_categorical, ONE_HOT, SCORES, {**LOGIT, **SMOOTH}),
    Case(Sparse, np_sparse, LABELS, PROBABILITIES),
    Case(Sparse, np_sparse, LABELS, 3 * PROBABILITIES),
    Case(Sparse, np_sparse, LABELS, SCORES, LOGIT),
    Case(Sparse, np_sparse, STACK_LABELS, STACK, LOGIT),
    Case(Binary, np_binary, BITS, 1 / (1 + np.exp(-LOGITS))),
    Case(Binary, np_binary, BITS, LOGITS, LOGIT),
    Case(Binary, np_binary, BITS, LOGITS, {**LOGIT, **SMOOTH}),
    Case(Binary, np_binary, BITS, 1 / (1 + np.exp(-LOGITS)), SMOOTH),
    Case(losses.MeanAbsolutePercentageError, np_mape, 1 + BITS, NUMBERS),
    Case(losses.MeanSquaredLogarithmicError, np_msle, BITS, np.abs(NUMBERS)),
    Case(losses.LogCosh, np_log_cosh, BITS, NUMBERS),
    Case(losses.CosineSimilarity, np_cosine, SOFT, SCORES),
    Case(losses.CosineSimilarity, np_cosine, STACK**2, STACK, {"axis": 1}),
    Case(losses.KLDivergence, np_kl, SOFT, PROBABILITIES),
    Case(losses.Poisson, np_poisson, BITS, np.abs(NUMBERS)),
    Case(losses.Hinge, np_hinge, BITS, NUMBERS),
    Case(losses.SquaredHinge, partial(np_hinge, power=2), BITS, NUMBERS),
    Case(losses.CategoricalHinge, np_categorical_hinge, ONE_HOT, SCORES),
    Case(losses.BinaryFocalCrossentropy, np_binary_focal, BITS, CHANCES),
    Case(losses.BinaryFocalCrossentropy, np_binary_focal, BITS, CHANCES, {"gamma": 1.5, **SMOOTH}),
    Case(
        losses.BinaryFocalCrossentropy,
        np_binary_focal,
        BITS,
        LOGITS,
        {**LOGIT, "apply_class_balancing": True, "alpha": 0.3},
    ),
    Case(losses.CategoricalFocalCrossentropy, np_categorical_focal, ONE_HOT, PROBABILITIES),
    Case(losses.CategoricalFocalCrossentropy, np_categorical_focal, SOFT, SCORES, {**LOGIT, **SMOOTH}),
    Case(losses.CategoricalFocalCrossentropy, np_categorical_focal, SOFT, SCORES, {**LOGIT, "gamma": 1.5}),
    Case(losses.Dice, np_dice, BITS, CHANCES, {"axis": -1}),
    Case(losses.Tversky, np_tversky, BITS, CHANCES, {"axis": -1, "alpha": 0.3, "beta": 0.8}),
]


def test_every_loss_has_a_case() -> None:
    public = {value for value in vars(losses).values() if inspect.isclass(value) and issubclass(value, Loss)}
    # CTC, whose values no formula gives, has tests of its own
    assert public - {Loss, losses.FunctionLoss, losses.CTC} == {case.loss for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_are_the_formulas(case: Case) -> None:
    single = case.loss(**case.config, reduction="none")(case.y_true, case.y_pred.astype(np.float32))
    np.testing.assert_allclose(single, case.expected, rtol=2e-5, atol=1e-6)
    double = case.loss(**case.config, reduction="none")(case.y_true, case.y_pred)
    np.testing.assert_allclose(double, case.expected, rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reductions(case: Case) -> None:
    expected = case.expected
    for reduction, value in (
        ("sum_over_batch_size", expected.mean()),
        ("mean", expected.mean()),
        ("sum", expected.sum()),
        ("none", expected),
        (None, expected),
    ):
        loss = case.loss(**case.config, reduction=reduction)
        np.testing.assert_allclose(loss(case.y_true, case.y_pred), value, rtol=1e-12)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_sample_weights_multiply_and_do_not_divide(case: Case) -> None:
    """Keras's rule: the divisor stays the number of values."""
    weights = WEIGHTS[: len(case.y_pred)]
    weighted = case.expected * weights.reshape(-1, *([1] * (case.expected.ndim - 1)))
    loss = case.loss(**case.config)
    for given in (weights, weights[:, None], list(weights)):
        np.testing.assert_allclose(
            loss(case.y_true, case.y_pred, sample_weight=given), weighted.mean(), rtol=1e-6
        )
    summed = case.loss(**case.config, reduction="sum")
    np.testing.assert_allclose(summed(case.y_true, case.y_pred, weights), weighted.sum(), rtol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_agrees_with_finite_differences(case: Case) -> None:
    loss = case.loss(**case.config)
    seed = RNG.normal(size=case.expected.shape)

    def run(y_pred: Array, wanted: bool = False) -> Any:
        graph = Graph(samples=len(y_pred), eager=True, dtype=np.float64)
        leaf = graph.add_input("p", Spec(y_pred.shape), np.ascontiguousarray(y_pred))
        with recording(graph):
            values = loss.call(case.y_true, leaf)
        if not wanted:
            return float((values.numpy() * seed).sum())
        (found,) = gradients(graph, [(values, graph.constant(seed))], [leaf])
        assert found is not None
        return found.numpy()

    expected = np.zeros_like(case.y_pred)
    for index in np.ndindex(case.y_pred.shape):
        totals = []
        for sign in (1, -1):
            moved = case.y_pred.copy()
            moved[index] += sign * 1e-6
            totals.append(run(moved))
        expected[index] = (totals[0] - totals[1]) / 2e-6
    np.testing.assert_allclose(run(case.y_pred, wanted=True), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_config_is_kept(case: Case) -> None:
    loss = case.loss(**case.config, reduction="sum", name="mine")
    again = losses.get(losses.serialize(loss))
    assert type(again) is case.loss
    assert again.get_config() == loss.get_config()
    assert again.name == "mine" and again.reduction == "sum"


def test_circle_leaves_out_samples_without_a_pair() -> None:
    """As in Keras: a class of one sample has no pair, and a batch of one class has none of two."""
    lonely = np.array([0, 7, 0, 7, 3])
    values = np_circle(lonely, DIRECTIONS, 2.0)
    found = losses.Circle(gamma=2.0)(lonely, DIRECTIONS)
    np.testing.assert_allclose(found, values[:4].mean(), rtol=1e-12)
    assert losses.Circle()(np.zeros(5, int), DIRECTIONS) == 0.0
    references = losses.circle(lonely, DIRECTIONS, lonely, DIRECTIONS, gamma=2.0)
    np.testing.assert_allclose(references[:4], values[:4], rtol=1e-12)


def test_circle_trains_and_knows_the_samples_of_its_shard() -> None:
    x, y = RNG.normal(size=(11, 4)).astype(np.float32), np.arange(11) % 2
    model = Sequential([Input((4,)), Dense(3), UnitNormalization()])
    model.compile("sgd", losses.Circle(gamma=2.0))
    kernels = []
    for options in ({"shards": 2}, {"shards": 2, "backend": "threads", "workers": 2}, {"shards": 1}):
        model.set_weights([np.eye(4, 3), np.zeros(3)])
        model.fit(x, y, batch_size=11, epochs=2, seed=1, verbose=0, **options)
        kernels.append(model.get_weights()[0])
    model.close()
    assert kernels[0].tobytes() == kernels[1].tobytes() != kernels[2].tobytes()
    assert np.isfinite(kernels[0]).all()


def test_minus_ones_are_left_to_hinges() -> None:
    for loss in (losses.hinge, losses.squared_hinge):
        np.testing.assert_array_equal(loss(2 * BITS - 1, NUMBERS), loss(BITS, NUMBERS))


@pytest.mark.parametrize("loss, formula", [(losses.Dice(), np_dice), (losses.Tversky(), np_tversky)])
def test_overlap_of_everything_is_one_number(loss: Loss, formula: Callable[..., Array]) -> None:
    np.testing.assert_allclose(loss(BITS, CHANCES), formula(BITS, CHANCES), rtol=1e-6)


def test_directions_of_zeros_have_a_finite_gradient() -> None:
    graph = Graph(samples=2, eager=True, dtype=np.float64)
    leaf = graph.add_input("p", Spec((2, 3)), np.zeros((2, 3)))
    with recording(graph):
        values = losses.cosine_similarity(np.eye(3)[:2], leaf)
    (found,) = gradients(graph, [(values, graph.constant(np.ones(2)))], [leaf])
    assert found is not None and np.isfinite(found.numpy()).all()


def test_certain_mistakes_cost_what_epsilon_allows() -> None:
    certain = np.array([[1.0, 0.0]], np.float32)
    for loss in (losses.categorical_crossentropy, losses.binary_crossentropy):
        np.testing.assert_allclose(loss(certain[:, ::-1], certain), -np.log(TINY), rtol=0.02)
        assert loss(certain, certain)[0] < 1e-6


def test_large_logits_stay_finite() -> None:
    logits = np.array([[1000.0, -1000.0]], np.float32)
    np.testing.assert_allclose(
        losses.sparse_categorical_crossentropy([1], logits, from_logits=True), [2000.0]
    )
    np.testing.assert_allclose(losses.binary_crossentropy([[0.0, 0.0]], logits, from_logits=True), [500.0])


SHAPES = [
    ((5,), (5, 1), (5,)),
    ((5, 1), (5,), (5,)),
    ((5,), (5,), ()),
    ((2, 5), (2, 5, 1), (2,)),
    ((2, 5, 1), (2, 5), (2,)),
]


@pytest.mark.parametrize("target, prediction, result", SHAPES)
def test_an_axis_of_one_more_is_as_in_keras(
    target: tuple[int, ...], prediction: tuple[int, ...], result: tuple[int, ...]
) -> None:
    y, p = np.arange(np.prod(target)), np.ones(prediction)
    values = losses.mean_squared_error(y.reshape(target), p)
    assert np.shape(values) == result
    np.testing.assert_allclose(np.mean(values), ((y - 1.0) ** 2).mean())


def test_labels_may_be_a_column_or_floats() -> None:
    expected = losses.sparse_categorical_crossentropy(LABELS, PROBABILITIES)
    for labels in (LABELS[:, None], LABELS.astype(float), list(LABELS)):
        np.testing.assert_array_equal(losses.sparse_categorical_crossentropy(labels, PROBABILITIES), expected)


def test_lists_will_do() -> None:
    assert losses.MeanSquaredError()([[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]) == 0.5


# In a model


def sums_of(model: Sequential, y: Array, weights: Array | None = None) -> tuple[float, float, Array]:
    """The loss's sum and divisor, and the gradient, of one step on all samples, in float64."""
    x = np.random.default_rng(4).normal(size=(len(y), 3))
    total = step_sums(model, x, y, 1, weights)
    return total.sums[0], total.sums[1], total.gradient


def model_with(loss: Any, activation: str | None, units: int = CLASSES) -> Sequential:
    model = Sequential([Input((3,)), Dense(units, activation=activation)])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize("name, y", [("categorical_crossentropy", ONE_HOT), (Sparse(), LABELS)])
def test_a_softmax_under_the_loss_gives_the_loss_of_its_logits(name: Any, y: Array) -> None:
    loss, count, gradient = sums_of(model_with(name, "softmax"), y)
    kind = type(losses.get(name)) if isinstance(name, Loss) else Categorical
    from_logits = sums_of(model_with(kind(from_logits=True), None), y)
    assert (loss, count) == from_logits[:2] and count == len(y)
    np.testing.assert_array_equal(gradient, from_logits[2])


def test_a_softmax_over_another_axis_is_left_alone() -> None:
    p = ops.softmax(SCORES, axis=0)
    graph = Graph(samples=5, eager=True, dtype=np.float64)
    with recording(graph):
        leaf = graph.add_input("x", Spec(SCORES.shape), SCORES)
        values = losses.categorical_crossentropy(ONE_HOT, ops.softmax(leaf, axis=0))
    np.testing.assert_allclose(values.numpy(), np_categorical(ONE_HOT, p), rtol=1e-12)


def test_the_sum_and_the_mean_of_a_step_differ_by_the_values() -> None:
    mean = sums_of(model_with(losses.MeanSquaredError(), None), SOFT)
    summed = sums_of(model_with(losses.MeanSquaredError(reduction="sum"), None), SOFT)
    np.testing.assert_allclose(summed[0], mean[0], rtol=1e-13)
    np.testing.assert_allclose(summed[2], mean[2] * len(SOFT), rtol=1e-12)


def test_weights_of_zero_take_samples_out_of_the_gradient_only() -> None:
    weights = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    kept = weights > 0
    some = sums_of(model_with("mse", None), SOFT, weights)
    x = np.random.default_rng(4).normal(size=(5, 3))
    rest = step_sums(model_with("mse", None), x[kept], SOFT[kept], 1)
    np.testing.assert_allclose(some[0], rest.sums[0], rtol=1e-13)
    assert some[1] == 5, "the divisor counts all samples"
    np.testing.assert_allclose(some[2], rest.gradient * 3 / 5, rtol=1e-12)


def test_users_functions_see_predictions_and_targets_of_one_shape() -> None:
    """(batch,) targets against (batch, 1) predictions would broadcast to (batch, batch)."""
    shapes: list[tuple[Any, ...]] = []

    def squared(y_true: Any, y_pred: Any) -> Any:
        shapes.append((y_true.shape, y_pred.shape))
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    y = NUMBERS[:, 0]
    mine, keras = sums_of(model_with(squared, None, 1), y), sums_of(model_with("mse", None, 1), y)
    assert shapes == [((None, 1), (None, 1))]
    assert mine[:2] == keras[:2]
    np.testing.assert_array_equal(mine[2], keras[2])


# Names, defaults, messages


@pytest.mark.parametrize(
    "name, function",
    [
        ("mse", "mean_squared_error"),
        ("MSE", "mean_squared_error"),
        ("mae", "mean_absolute_error"),
        ("MAE", "mean_absolute_error"),
        ("bce", "binary_crossentropy"),
        ("BCE", "binary_crossentropy"),
        ("huber", "huber"),
        ("mape", "mean_absolute_percentage_error"),
        ("MSLE", "mean_squared_logarithmic_error"),
        ("kld", "kl_divergence"),
        ("kullback_leibler_divergence", "kl_divergence"),
        ("logcosh", "log_cosh"),
        ("cosine_similarity", "cosine_similarity"),
        ("poisson", "poisson"),
        ("hinge", "hinge"),
        ("squared_hinge", "squared_hinge"),
        ("categorical_hinge", "categorical_hinge"),
        ("binary_focal_crossentropy", "binary_focal_crossentropy"),
        ("dice", "dice"),
        ("categorical_crossentropy", "categorical_crossentropy"),
        ("sparse_categorical_crossentropy", "sparse_categorical_crossentropy"),
    ],
)
def test_names_of_functions(name: str, function: str) -> None:
    found = losses.get(name)
    assert isinstance(found, losses.FunctionLoss)
    assert found.function is getattr(losses, function) and found.name == function
    assert losses.get(losses.serialize(found)).get_config() == found.get_config()


def test_names_of_classes() -> None:
    assert isinstance(losses.get("MeanSquaredError"), losses.MeanSquaredError)
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    assert losses.Huber().name == "huber_loss"
    assert losses.MeanSquaredError().name == "mean_squared_error"
    assert losses.MeanSquaredError("sum").reduction == "sum"
    assert Sparse(True, None, "sum").reduction == "sum"
    assert Binary(True, 0.1, -1, "sum").reduction == "sum"


class Mine(Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.abs(y_true - y_pred)


MESSAGES: list[tuple[Callable[[], Any], str]] = [
    (lambda: losses.get("mze"), "Could not interpret loss identifier: 'mze'. Did you mean 'mse' or 'mae'?"),
    (lambda: losses.get("crossentropy"), "Could not interpret loss identifier"),
    (lambda: losses.get(3), "Could not interpret loss identifier: 3"),
    (
        lambda: losses.Huber(reduction="avg"),
        "Invalid value for argument `reduction`.*Received: reduction=avg",
    ),
    (lambda: Sparse(ignore_class="void"), "`ignore_class` must be a class number. Received: 'void'"),
    (lambda: losses.mean_squared_error(BITS, SCORES), r"y_true.shape=\(5, 3\), y_pred.shape=\(5, 4\)"),
    (
        lambda: losses.categorical_crossentropy(LABELS, PROBABILITIES),
        "for integer labels use sparse_categorical_crossentropy",
    ),
    (lambda: losses.sparse_categorical_crossentropy(ONE_HOT, PROBABILITIES), "one class number per pred"),
    (lambda: losses.serialize(losses.get(lambda y, p: p)), "the loss <lambda> is your own and has no name"),
    (lambda: Loss()(BITS, BITS), r"Loss must define `call\(self, y_true, y_pred\)`"),
    (lambda: model_with(losses.Huber(reduction="none"), None), "reduction='none', which leaves no single"),
    (lambda: sums_of(model_with(lambda y, p: 3.0, None), SOFT), "must return a tensor.*Received: float"),
    (
        lambda: sums_of(model_with(lambda y, p: ops.sum(p, axis=0), None), SOFT),
        r"one value per sample \(shape \(batch,\) or \(batch, ...\)\) or a scalar. Received: shape \(4,\)",
    ),
    (
        lambda: sums_of(model_with(lambda y, p: ops.mean(p - y), None), SOFT, WEIGHTS),
        "returns one number for the whole shard, so `sample_weight`.*cannot be applied",
    ),
]


@pytest.mark.parametrize("call, message", MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        call()
