"""Masks: from the layer that makes them to layers, losses and metrics behind, on any number of workers."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import numpy as np
import pytest
from trainings import Array, train

from distnn import layers, losses, ops
from distnn.layers import LSTM, Dense, Embedding, Flatten, Input, Layer, Masking
from distnn.models import Model, Sequential

RNG = np.random.default_rng(3)
SAMPLES, STEPS, WORDS, CLASSES = 53, 6, 8, 4
LENGTHS = RNG.permutation(np.resize(np.arange(STEPS + 1), SAMPLES))
TOKENS: Array = RNG.integers(1, WORDS, size=(SAMPLES, STEPS)).astype(np.int32)
TOKENS[np.arange(STEPS)[None] >= LENGTHS[:, None]] = 0
LABELS: Array = RNG.integers(0, CLASSES, size=(SAMPLES, STEPS)).astype(np.int32)
WEIGHTS: Array = RNG.uniform(0.5, 2, SAMPLES).astype(np.float32)
IN_THREE: dict[str, Any] = {"batch_size": 20, "epochs": 2, "shards": 3}


def tagger(loss: Any = "sparse_categorical_crossentropy", **options: Any) -> Sequential:
    model = Sequential(
        [
            Input((STEPS,), dtype="int32"),
            Embedding(WORDS, 5, mask_zero=True),
            LSTM(4, return_sequences=True),
            Dense(CLASSES, "softmax"),
        ]
    )
    model.compile("sgd", loss, ["accuracy"], **options)
    return model


@pytest.mark.parametrize(("backend", "workers"), [("local", 2), ("threads", 2), ("threads", 3)])
def test_masked_losses_leave_the_same_bytes_on_any_workers(backend: str, workers: int) -> None:
    expected = train(tagger, TOKENS, LABELS, **IN_THREE)
    found = train(tagger, TOKENS, LABELS, **IN_THREE, backend=backend, workers=workers)
    assert (found.weights, found.history) == (expected.weights, expected.history)


def test_masked_losses_leave_the_same_bytes_eagerly() -> None:
    options = {**IN_THREE, "sample_weight": WEIGHTS}
    compiled = train(tagger, TOKENS, LABELS, **options)
    assert train(lambda: tagger(run_eagerly=True), TOKENS, LABELS, **options) == compiled


def test_shards_that_differ_in_what_counts_agree_with_one() -> None:
    one = train(tagger, TOKENS, LABELS, **{**IN_THREE, "shards": 1}).history
    for shards in (2, 3, 7):
        found = train(tagger, TOKENS, LABELS, **{**IN_THREE, "shards": shards}).history
        np.testing.assert_allclose(found["loss"], one["loss"], rtol=1e-6)
        np.testing.assert_allclose(found["accuracy"], one["accuracy"], rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_losses_and_metrics_are_means_over_what_counts(weighted: bool, reduction: str) -> None:
    loss = losses.SparseCategoricalCrossentropy(reduction=reduction)
    with tagger(loss, weighted_metrics=["accuracy"]) as model:
        weight = WEIGHTS if weighted else None
        logs = model.evaluate(TOKENS, LABELS, sample_weight=weight, batch_size=SAMPLES, return_dict=True)
        predicted = model.predict(TOKENS).astype(np.float64)
    counts = (TOKENS != 0).astype(np.float64)
    each = WEIGHTS[:, None] * counts if weighted else counts
    values = -np.log(np.take_along_axis(predicted, LABELS[..., None].astype(int), -1)[..., 0])
    total = (values * each).sum()
    expected = total if reduction == "sum" else total / counts.sum()
    hits = predicted.argmax(-1) == LABELS
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(logs["accuracy"], (hits * counts).sum() / counts.sum(), rtol=1e-6)
    np.testing.assert_allclose(logs["weighted_accuracy"], (hits * each).sum() / each.sum(), rtol=1e-5)


def test_a_step_follows_the_gradient_of_the_mean_over_what_counts() -> None:
    """Padding more changes neither the loss nor the step."""
    wide: Array = np.zeros((SAMPLES, STEPS + 3), np.int32)
    wide[:, :STEPS] = TOKENS
    labels: Array = np.ones((SAMPLES, STEPS + 3), np.int32)
    labels[:, :STEPS] = LABELS

    def wider() -> Sequential:
        model = Sequential([Input((STEPS + 3,), dtype="int32"), *tagger().layers])
        model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
        return model

    one, other = train(tagger, TOKENS, LABELS, **IN_THREE), train(wider, wide, labels, **IN_THREE)
    np.testing.assert_allclose(one.history["loss"], other.history["loss"], rtol=1e-7)
    weights = [np.frombuffer(outcome.weights, np.float32) for outcome in (one, other)]
    np.testing.assert_allclose(*weights, atol=1e-7)


def test_a_batch_in_which_nothing_counts_changes_nothing() -> None:
    with tagger() as model:
        model.ensure_initialized(1)
        before = [w.tobytes() for w in model.get_weights()]
        history = model.fit(np.zeros_like(TOKENS), LABELS, verbose=0, seed=1).history
        assert history["loss"] == [0.0]
        assert [w.tobytes() for w in model.get_weights()] == before


def test_each_output_has_a_mask_of_its_own() -> None:
    def make() -> Model:
        first, second = Input((STEPS,), dtype="int32"), Input((3,))
        tagged = Dense(CLASSES, "softmax", name="tags")(Embedding(WORDS, 5, mask_zero=True)(first))
        model = Model([first, second], [tagged, Dense(1, name="value")(second)])
        model.compile("sgd", ["sparse_categorical_crossentropy", "mse"], loss_weights=[1.0, 0.5])
        return model

    x, y = RNG.normal(size=(SAMPLES, 3)).astype(np.float32), RNG.normal(size=(SAMPLES, 1)).astype(np.float32)
    one = train(make, [TOKENS, x], [LABELS, y], **IN_THREE)
    assert train(make, [TOKENS, x], [LABELS, y], **IN_THREE, backend="threads", workers=2) == one
    history = one.history
    np.testing.assert_allclose(
        history["loss"], np.array(history["tags_loss"]) + 0.5 * np.array(history["value_loss"])
    )


def test_masking_hides_steps_and_marks_them() -> None:
    x = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    x[0, 1] = x[1, 3] = 0.5
    found = Masking(0.5)(x)
    assert not found[0, 1].any() and not found[1, 3].any()
    np.testing.assert_array_equal(found[0, 0], x[0, 0])
    mask = Masking(0.5).compute_mask(x)
    np.testing.assert_array_equal(mask, [[True, False, True, True], [True, True, True, False]])


class Watching(Layer):
    """Gives its mask as numbers."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:
            return ops.zeros_like(inputs)
        return ops.broadcast_to(ops.expand_dims(ops.cast(mask, "float32"), -1), inputs.spec.shape)


@pytest.mark.parametrize(
    ("behind", "arrives"),
    [
        ([], True),
        ([Dense(3), layers.Activation("relu"), layers.Dropout(0.5)], True),
        ([layers.LayerNormalization(), LSTM(3, return_sequences=True)], True),
        ([Sequential([Dense(3)])], True),
        ([layers.Bidirectional(LSTM(3, return_sequences=True))], True),
        ([layers.TimeDistributed(Dense(3))], True),
        ([LSTM(3), layers.RepeatVector(STEPS)], False),
    ],
)
@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
def test_masks_pass_layers_that_support_them(behind: list[Layer], arrives: bool) -> None:
    inputs = outputs = Input((STEPS,), dtype="int32")
    for layer in (Embedding(WORDS, 3, mask_zero=True), *behind, Watching()):
        outputs = layer(outputs)
    found = Model(inputs, outputs).predict(TOKENS)
    np.testing.assert_array_equal(found[..., 0], (TOKENS != 0) * float(arrives))


def test_a_mask_that_gets_lost_is_told() -> None:
    with pytest.warns(UserWarning, match="'flatten' .of type Flatten. was passed an input with a mask"):
        Sequential([Input((STEPS,)), Embedding(WORDS, 3, mask_zero=True), Flatten()]).predict(TOKENS)


def test_a_mask_may_be_given() -> None:
    layer = LSTM(3, return_sequences=True)
    x = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    mask = np.array([[True, True, False, False], [False, True, True, True]])
    found = layer(x, mask=mask)
    np.testing.assert_array_equal(found[0, 3], found[0, 1])
    assert not found[1, 0].any()
    inputs, given = Input((4, 3)), Input((4,))
    model = Model([inputs, given], layer(inputs, mask=given))
    np.testing.assert_array_equal(model.predict([x, mask.astype(np.float32)]), found)


@pytest.mark.parametrize("what", ["loss", "metric"])
def test_values_that_a_mask_does_not_fit_are_refused(what: str) -> None:
    def per_sample(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_pred, axis=(1, 2))

    model = tagger(per_sample if what == "loss" else "sparse_categorical_crossentropy")
    if what == "metric":
        model.compile("sgd", "sparse_categorical_crossentropy", [per_sample])
    with pytest.raises(ValueError, match=f"the {what} 'per_sample' has values .*return a value for"):
        model.fit(TOKENS, LABELS, verbose=0)


def test_steps_with_masks_and_recurrences_allocate_no_array() -> None:
    tokens: Array = RNG.integers(0, WORDS, size=(640, 32)).astype(np.int32)
    model = Sequential([Input((32,), dtype="int32"), Embedding(WORDS, 32, mask_zero=True)])
    for layer in (LSTM(32, return_sequences=True), layers.GRU(32, return_sequences=True)):
        model.add(layer)
    model.add(Dense(WORDS, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(tokens, tokens, batch_size=64, shards=2, verbose=0, seed=1)
    engine = model.engines["local"]
    engine.run_segment(10)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        engine.run_segment(30)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 65536, f"{peak} bytes; the smallest array of a shard's steps has {32 * 32 * 32 * 4}"
