"""What a loss is divided by: labels that are ignored, weights; on any number of workers, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from trainings import Array, train, weight_bytes

from distnn import losses, metrics
from distnn.errors import DataError
from distnn.layers import LSTM, Activation, BatchNormalization, Dense, Embedding, Input
from distnn.losses import MeanSquaredError, SparseCategoricalCrossentropy
from distnn.models import Model, Sequential, load_model
from distnn.optimizers import SGD

RNG = np.random.default_rng(3)
SAMPLES, STEPS, WORDS, CLASSES, VOID = 53, 6, 8, 4, 255
TOKENS: Array = RNG.integers(0, WORDS, (SAMPLES, STEPS)).astype(np.int32)
LABELS: Array = RNG.integers(0, CLASSES, (SAMPLES, STEPS)).astype(np.int32)
LABELS[RNG.random((SAMPLES, STEPS)) < np.linspace(0, 0.9, SAMPLES)[:, None]] = VOID
COUNTS = LABELS != VOID
WEIGHTS: Array = RNG.uniform(0.1, 3, SAMPLES).astype(np.float32)
WEIGHTED = "mean_with_sample_weight"
OPTIONS: dict[str, Any] = {"batch_size": 20, "epochs": 2, "shards": 3}


def tagger(loss: Any = None, mask_zero: bool = False, **compiled: Any) -> Callable[[], Sequential]:
    def make() -> Sequential:
        layers = [Embedding(WORDS, 5, mask_zero=mask_zero), LSTM(4, return_sequences=True), Dense(CLASSES)]
        model = Sequential([Input((STEPS,), dtype="int32"), *layers, Activation("softmax")])
        chosen = SparseCategoricalCrossentropy(ignore_class=VOID) if loss is None else loss
        model.compile(SGD(0.1), chosen, ["accuracy"], **compiled)
        return model

    return make


def by_function(y_true: Any, y_pred: Any) -> Any:
    return losses.sparse_categorical_crossentropy(y_true, y_pred, ignore_class=VOID)


KINDS: dict[str, tuple[Callable[[], Model], dict[str, Any]]] = {
    "ignored": (tagger(), {}),
    "ignored, by a function": (tagger(by_function), {}),
    "ignored and masked": (tagger(mask_zero=True), {}),
    "ignored, weights": (tagger(), {"sample_weight": WEIGHTS}),
    "weighted mean": (
        tagger(SparseCategoricalCrossentropy(ignore_class=VOID, reduction=WEIGHTED), mask_zero=True),
        {"sample_weight": WEIGHTS},
    ),
    "weighted mean without weights": (
        tagger(SparseCategoricalCrossentropy(ignore_class=VOID, reduction=WEIGHTED)),
        {},
    ),
    "sum": (tagger(SparseCategoricalCrossentropy(ignore_class=VOID, reduction="sum")), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_workers_change_nothing_and_shards_to_rounding(kind: str) -> None:
    make, weights = KINDS[kind]
    expected = train(make, TOKENS, LABELS, **OPTIONS, **weights)
    for workers in (1, 2, 3, 7):
        place: dict[str, Any] = {"backend": "threads", "workers": workers}
        assert train(make, TOKENS, LABELS, **OPTIONS, **weights, **place) == expected
    for shards in (1, 2, 7):
        found = train(make, TOKENS, LABELS, **{**OPTIONS, "shards": shards}, **weights).history
        np.testing.assert_allclose(found["loss"], expected.history["loss"], rtol=1e-5)


@pytest.mark.parametrize("kind", ["ignored", "weighted mean"])
def test_the_same_bytes_eagerly(kind: str) -> None:
    loss = SparseCategoricalCrossentropy(ignore_class=VOID, reduction=WEIGHTED)
    options = {**OPTIONS, "epochs": 1, "sample_weight": WEIGHTS}
    plain, eager = (tagger(None if kind == "ignored" else loss, run_eagerly=mode) for mode in (False, True))
    assert train(plain, TOKENS, LABELS, **options) == train(eager, TOKENS, LABELS, **options)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", WEIGHTED])
def test_weights_may_be_given_for_each_step(reduction: str) -> None:
    make = tagger(SparseCategoricalCrossentropy(ignore_class=VOID, reduction=reduction), mask_zero=True)
    by_step = np.repeat(WEIGHTS[:, None], STEPS, axis=1)
    expected = train(make, TOKENS, LABELS, **OPTIONS, sample_weight=WEIGHTS)
    assert train(make, TOKENS, LABELS, **OPTIONS, sample_weight=by_step) == expected
    by_step[:, 0] = 0
    moved = train(make, TOKENS, LABELS, **OPTIONS, sample_weight=by_step)
    assert moved == train(
        make, TOKENS, LABELS, **OPTIONS, sample_weight=by_step, backend="threads", workers=2
    )
    hidden = np.where(np.arange(STEPS) == 0, VOID, LABELS)
    assert (moved.weights == train(make, TOKENS, hidden, **OPTIONS, sample_weight=by_step).weights) == (
        reduction == WEIGHTED
    )


def test_a_function_is_divided_as_the_class() -> None:
    one, other = (
        train(KINDS[kind][0], TOKENS, LABELS, **OPTIONS) for kind in ("ignored", "ignored, by a function")
    )
    assert one.weights == other.weights


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", WEIGHTED, "sum"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mask_zero", [False, True])
def test_what_evaluate_says_is_what_a_hand_computes(reduction: str, weighted: bool, mask_zero: bool) -> None:
    loss = SparseCategoricalCrossentropy(ignore_class=VOID, reduction=reduction)
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=VOID)
    with tagger(loss, mask_zero, weighted_metrics=[metric])() as model:
        weights = {"sample_weight": WEIGHTS} if weighted else {}
        logs = model.evaluate(TOKENS, LABELS, batch_size=SAMPLES, return_dict=True, verbose=0, **weights)
        predicted = model.predict(TOKENS).astype(np.float64)
    counts = (COUNTS & (TOKENS != 0) if mask_zero else COUNTS).astype(np.float64)
    each = counts * WEIGHTS[:, None] if weighted else counts
    labels = np.where(COUNTS, LABELS, 0)[..., None].astype(int)
    values = -np.log(np.take_along_axis(predicted, labels, -1)[..., 0])
    divisor = {"sum": 1.0, WEIGHTED: each.sum()}.get(reduction, counts.sum())
    np.testing.assert_allclose(logs["loss"], (values * each).sum() / divisor, rtol=1e-5)
    by_keras = each.sum() if weighted or mask_zero else counts.size
    np.testing.assert_allclose(logs[metric.name], (values * each).sum() / by_keras, rtol=1e-5)


def test_a_weighted_mean_is_a_mean_of_weights_made_to_average_one() -> None:
    x, y = RNG.normal(size=(20, 3)).astype(np.float32), RNG.normal(size=(20, 2)).astype(np.float32)
    weights = WEIGHTS[:20]

    def make(reduction: str) -> Callable[[], Sequential]:
        def model() -> Sequential:
            model = Sequential([Input((3,)), Dense(4, "tanh"), BatchNormalization(), Dense(2)])
            model.compile(SGD(0.3), MeanSquaredError(reduction=reduction))
            return model

        return model

    options: dict[str, Any] = {"batch_size": 20, "epochs": 5, "shards": 1}
    found = train(make(WEIGHTED), x, y, sample_weight=weights, **options)
    scaled = train(make("mean"), x, y, sample_weight=weights / weights.mean(), **options)
    np.testing.assert_allclose(found.history["loss"], scaled.history["loss"], rtol=1e-5)
    numbers = (np.frombuffer(one.weights, np.float32) for one in (found, scaled))
    np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-6)
    assert train(make(WEIGHTED), x, y, **options).weights == train(make("mean"), x, y, **options).weights


@pytest.mark.parametrize(
    ("labels", "weights"),
    [(np.full_like(LABELS, VOID), {}), (LABELS, {"sample_weight": np.zeros(SAMPLES, np.float32)})],
    ids=["all ignored", "no weight"],
)
def test_where_nothing_counts_nothing_is_learnt(labels: Array, weights: dict[str, Any]) -> None:
    model = tagger(SparseCategoricalCrossentropy(ignore_class=VOID, reduction=WEIGHTED))()
    model.ensure_initialized(1)
    before = weight_bytes(model)
    history = model.fit(TOKENS, labels, verbose=0, **weights).history
    assert history["loss"] == [0.0] and weight_bytes(model) == before


@pytest.mark.parametrize("ignored", [-1, VOID, 2])
def test_the_ignored_label_need_not_be_a_class(ignored: int) -> None:
    labels = np.where(COUNTS, LABELS, ignored)
    model = tagger(SparseCategoricalCrossentropy(ignore_class=ignored))()
    model.fit(TOKENS, labels, verbose=0)
    labels[5, 3] = 77
    with pytest.raises(
        DataError, match="label 77 at row 5 is outside the model's 4 classes .* 1 such labels"
    ):
        model.fit(TOKENS, labels, verbose=0)


def test_arrays_are_divided_in_the_same_way() -> None:
    y, p = np.array([0, 2, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.3, 0.5], [0.1, 0.6, 0.3]], np.float32)
    values, weights = -np.log([0.8, 0.5, 0.6]), np.array([2.0, 1.0, 3.0])
    ignoring = SparseCategoricalCrossentropy(ignore_class=0)
    np.testing.assert_allclose(ignoring(y, p), values[1:].mean(), rtol=1e-5)
    np.testing.assert_allclose(ignoring(y, p, weights), (values * weights)[1:].sum() / 2, rtol=1e-5)
    both = SparseCategoricalCrossentropy(ignore_class=0, reduction=WEIGHTED)
    np.testing.assert_allclose(both(y, p, weights), (values * weights)[1:].sum() / 4, rtol=1e-5)
    np.testing.assert_allclose(both(y, p), values[1:].mean(), rtol=1e-5)
    assert both(np.zeros(3, int), p) == 0.0
    plain = MeanSquaredError(reduction=WEIGHTED)
    np.testing.assert_allclose(plain([[1.0], [3.0]], [[0.0], [0.0]], [3.0, 1.0]), 12 / 4)
    unreduced = SparseCategoricalCrossentropy(ignore_class=0, reduction="none")(y, p)
    np.testing.assert_allclose(unreduced, [0.0, *values[1:]], rtol=1e-5)


def test_a_saved_model_keeps_what_it_ignores(tmp_path: Any) -> None:
    model = tagger(SparseCategoricalCrossentropy(ignore_class=VOID, reduction=WEIGHTED))()
    logs = model.evaluate(TOKENS, LABELS, sample_weight=WEIGHTS, verbose=0)
    model.save(tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.evaluate(TOKENS, LABELS, sample_weight=WEIGHTS, verbose=0) == logs
