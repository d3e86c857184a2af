"""Losses, metrics, optimizers and callbacks against Keras 3 itself, where keras and torch are installed."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import pytest
from trainings import Array, classification

import distnn.callbacks
import distnn.losses
import distnn.metrics
import distnn.optimizers
from distnn.layers import Dense, Input
from distnn.models import Sequential

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(5)
BITS = (RNG.random((30, 4)) > 0.6).astype(np.float32)
CHANCES = np.clip(0.4 * BITS + 0.6 * RNG.random((30, 4)), 0.01, 0.99).astype(np.float32)
NUMBERS = RNG.normal(size=(30, 4)).astype(np.float32)
NEAR = (NUMBERS + 0.3 * RNG.normal(size=(30, 4))).astype(np.float32)
LABELS = RNG.integers(0, 4, 30)
GUESSES = np.where(RNG.random(30) < 0.5, LABELS, RNG.integers(0, 4, 30))
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
PROBABILITIES = RNG.dirichlet(np.ones(4), 30).astype(np.float32)
WEIGHTS = RNG.random(30).astype(np.float32)
DIRECTIONS = (NUMBERS / np.linalg.norm(NUMBERS, axis=-1, keepdims=True)).astype(np.float32)

LOSSES: list[tuple[str, dict[str, Any], Array, Array]] = [
    ("MeanSquaredError", {}, NUMBERS, NEAR),
    ("MeanAbsoluteError", {}, NUMBERS, NEAR),
    ("MeanAbsolutePercentageError", {}, NUMBERS, NEAR),
    ("MeanSquaredLogarithmicError", {}, np.abs(NUMBERS), np.abs(NEAR)),
    ("CosineSimilarity", {}, NUMBERS, NEAR),
    ("Huber", {"delta": 0.7}, NUMBERS, NEAR),
    ("LogCosh", {}, NUMBERS, NEAR),
    ("Hinge", {}, BITS, NEAR),
    ("SquaredHinge", {}, 2 * BITS - 1, NEAR),
    ("CategoricalHinge", {}, ONE_HOT, NEAR),
    ("KLDivergence", {}, ONE_HOT, PROBABILITIES),
    ("Poisson", {}, BITS, CHANCES),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, BITS, CHANCES),
    ("BinaryCrossentropy", {"from_logits": True}, BITS, NEAR),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "gamma": 1.5}, BITS, CHANCES),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, BITS, NEAR),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, ONE_HOT, PROBABILITIES),
    ("CategoricalFocalCrossentropy", {"alpha": 0.3}, ONE_HOT, PROBABILITIES),
    ("CategoricalFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, ONE_HOT, NEAR),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, LABELS, NEAR),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 2}, LABELS, NEAR),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0, "reduction": "sum"}, LABELS, PROBABILITIES),
    (
        "SparseCategoricalCrossentropy",
        {"ignore_class": 0, "reduction": "mean_with_sample_weight"},
        LABELS,
        PROBABILITIES,
    ),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, LABELS, PROBABILITIES),
    ("Circle", {"gamma": 2.0}, LABELS, DIRECTIONS),
    ("Circle", {"gamma": 5.0, "margin": 0.2, "remove_diagonal": False}, LABELS, DIRECTIONS),
    ("MeanSquaredError", {"reduction": "mean_with_sample_weight"}, NUMBERS, NEAR),
    ("Dice", {"axis": 1}, BITS, CHANCES),
    ("Dice", {}, BITS, CHANCES),
    ("Tversky", {"alpha": 0.3, "beta": 0.6, "axis": 1}, BITS, CHANCES),
]


@pytest.mark.parametrize("name, config, y_true, y_pred", LOSSES, ids=[case[0] for case in LOSSES])
def test_losses(name: str, config: dict[str, Any], y_true: Array, y_pred: Array) -> None:
    ours = getattr(distnn.losses, name)(**config)
    theirs = getattr(keras.losses, name)(**config)
    assert ours.name == theirs.name
    np.testing.assert_allclose(ours(y_true, y_pred), float(theirs(y_true, y_pred)), rtol=2e-5)
    if "axis" in config or name != "Dice":
        weighted = float(theirs(y_true, y_pred, sample_weight=WEIGHTS))
        np.testing.assert_allclose(ours(y_true, y_pred, WEIGHTS), weighted, rtol=2e-5)


METRICS: list[tuple[str, dict[str, Any], Array, Array]] = [
    *((name, {"thresholds": t}, BITS, CHANCES) for t in (None, 0.3) for name in ("Precision", "Recall")),
    *(
        (name, {}, BITS, CHANCES)
        for name in ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives", "AUC", "BinaryIoU")
    ),
    ("Precision", {"top_k": 2}, BITS, CHANCES),
    ("Recall", {"class_id": 1, "thresholds": [0.2, 0.6]}, BITS, CHANCES),
    ("AUC", {"curve": "PR"}, BITS, CHANCES),
    ("AUC", {"curve": "PR", "summation_method": "majoring", "num_thresholds": 50}, BITS, CHANCES),
    ("AUC", {"multi_label": True}, BITS, CHANCES),
    ("AUC", {"from_logits": True}, BITS, NEAR),
    ("AUC", {"thresholds": [0.2, 0.5, 0.6]}, BITS, CHANCES),
    ("SensitivityAtSpecificity", {"specificity": 0.7}, BITS, CHANCES),
    ("SpecificityAtSensitivity", {"sensitivity": 0.7}, BITS, CHANCES),
    ("PrecisionAtRecall", {"recall": 0.7}, BITS, CHANCES),
    ("RecallAtPrecision", {"precision": 0.7}, BITS, CHANCES),
    *(("F1Score", {"average": a}, ONE_HOT, PROBABILITIES) for a in (None, "micro", "macro", "weighted")),
    ("FBetaScore", {"average": "macro", "beta": 2.0, "threshold": 0.4}, BITS, CHANCES),
    ("R2Score", {}, NUMBERS, NEAR),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, NUMBERS, NEAR),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 3]}, LABELS, GUESSES),
    ("MeanIoU", {"num_classes": 4, "ignore_class": 2}, LABELS, GUESSES),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [1]}, ONE_HOT, PROBABILITIES),
    ("OneHotMeanIoU", {"num_classes": 4}, ONE_HOT, PROBABILITIES),
    ("RootMeanSquaredError", {}, NUMBERS, NEAR),
    ("CosineSimilarity", {}, NUMBERS, NEAR),
    ("PearsonCorrelation", {}, NUMBERS, NEAR),
    ("ConcordanceCorrelation", {}, NUMBERS, NEAR),
    ("LogCoshError", {}, NUMBERS, NEAR),
    ("KLDivergence", {}, ONE_HOT, PROBABILITIES),
    ("Poisson", {}, BITS, CHANCES),
    ("TopKCategoricalAccuracy", {"k": 2}, ONE_HOT, PROBABILITIES),
    ("BinaryCrossentropy", {"from_logits": True}, BITS, NEAR),
    ("SparseCategoricalCrossentropy", {}, LABELS, PROBABILITIES),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, LABELS, PROBABILITIES),
]


@pytest.mark.parametrize("name, config, y_true, y_pred", METRICS)
def test_metrics(name: str, config: dict[str, Any], y_true: Array, y_pred: Array) -> None:
    ours = getattr(distnn.metrics, name)(**config)
    theirs = getattr(keras.metrics, name)(**config)
    assert ours.name == theirs.name or theirs.name.rsplit("_", 1)[0] == ours.name
    whole = np.round(3 * WEIGHTS)  # Keras counts intersections in whole numbers
    for weights in (None, whole if "IoU" in name else WEIGHTS):
        if name == "BinaryIoU" and weights is not None:
            continue  # Keras wants a weight for each value
        if name == "R2Score" and weights is not None:
            continue  # Keras adjusts nothing for them, and neither is compared
        ours.reset_state(), theirs.reset_state()
        for rows in (slice(0, 11), slice(11, 30)):
            weight = None if weights is None else weights[rows]
            ours.update_state(y_true[rows], y_pred[rows], weight)
            theirs.update_state(y_true[rows], y_pred[rows], weight)
        found = keras.ops.convert_to_numpy(theirs.result())
        np.testing.assert_allclose(ours.result(), found, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["AUC", "Precision", "F1Score", "MeanSquaredError", "R2Score"])
def test_which_way_is_better(name: str) -> None:
    theirs = getattr(keras.metrics, name)()._direction
    assert getattr(distnn.metrics, name).direction == {"up": "max", "down": "min"}[theirs]


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"learning_rate": 0.01, "centered": True, "momentum": 0.5}),
    ("Adam", {"learning_rate": 0.01, "amsgrad": True}),
    ("AdamW", {"learning_rate": 0.01}),
    ("Adagrad", {"learning_rate": 0.1}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Adamax", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("Nadam", {"learning_rate": 0.01}),
    ("Lion", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.01, "beta": 0.1}),
    ("Lamb", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.1}),
]
X, Y = classification(48, 6, 3)


def pair(name: str = "SGD", config: Any = None, loss: str = "sparse_categorical_crossentropy") -> Any:
    """The same model twice, with the same weights."""
    ours = Sequential([Input((6,)), Dense(5, "tanh"), Dense(3, "softmax")])
    dense = keras.layers.Dense
    theirs = keras.Sequential([keras.Input((6,)), dense(5, "tanh"), dense(3, "softmax")])
    ours.ensure_initialized(2)
    theirs.set_weights(ours.get_weights())
    for package, model in ((distnn.optimizers, ours), (keras.optimizers, theirs)):
        model.compile(getattr(package, name)(**(config or {})), loss, metrics=["accuracy"])
    return ours, theirs


@pytest.mark.parametrize("name, config", OPTIMIZERS, ids=[case[0] for case in OPTIMIZERS])
def test_trainings(name: str, config: dict[str, Any]) -> None:
    ours, theirs = pair(name, config)
    options: dict[str, Any] = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    found = ours.fit(X, Y, **options).history
    expected = theirs.fit(X, Y, **options).history
    assert list(found) == list(expected)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
    np.testing.assert_allclose(found["accuracy"], expected["accuracy"], rtol=1e-6)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-3, atol=2e-5)
    ours.close()


VALUES = [0.5, 0.4, 0.45, 0.44, 0.3, 0.31, 0.32, 0.33]
CALLBACKS: list[tuple[str, dict[str, Any]]] = [
    ("EarlyStopping", {"patience": 1, "restore_best_weights": True}),
    ("EarlyStopping", {"patience": 2, "baseline": 0.35}),
    ("EarlyStopping", {"patience": 3, "min_delta": 0.06, "start_from_epoch": 1}),
    ("EarlyStopping", {"mode": "max", "patience": 2}),
    ("ReduceLROnPlateau", {"patience": 1, "cooldown": 1, "factor": 0.5}),
    ("ReduceLROnPlateau", {"patience": 1, "factor": 0.3, "min_lr": 0.05}),
]


def told(package: Any, model: Any, name: str, config: dict[str, Any]) -> tuple[Any, str]:
    """History and what was printed, where val_loss is what we say."""

    class Numbers(package.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_loss"] = VALUES[epoch]

        def get_state(self) -> dict[str, Any]:
            return {"kept": True}

    callback = getattr(package, name)(verbose=1, **config)
    out = io.StringIO()
    with redirect_stdout(out):
        history = model.fit(
            X, Y, batch_size=16, epochs=8, shuffle=False, verbose=0, callbacks=[Numbers(), callback]
        )
    return history, out.getvalue()


@pytest.mark.parametrize("name, config", CALLBACKS, ids=str)
def test_callbacks_do_and_say_the_same(name: str, config: dict[str, Any]) -> None:
    ours, theirs = pair("SGD", {"learning_rate": 0.1})
    mine, said = told(distnn.callbacks, ours, name, config)
    other, expected = told(keras.callbacks, theirs, name, config)
    assert mine.epoch == other.epoch
    assert said.split() == expected.split() or "learning rate" in said
    if "learning_rate" in mine.history:
        np.testing.assert_allclose(mine.history["learning_rate"], other.history["learning_rate"], rtol=1e-6)
        assert said.count("\nEpoch") == expected.count("\nEpoch")
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    ours.close()


@pytest.mark.parametrize("name", ["CosineDecay", "CosineDecayRestarts"])
def test_schedules(name: str) -> None:
    config: dict[str, Any] = {"initial_learning_rate": 0.1}
    if name == "CosineDecay":
        config |= {"decay_steps": 50, "alpha": 0.1, "warmup_target": 0.4, "warmup_steps": 10}
    else:
        config |= {"first_decay_steps": 10, "t_mul": 1.5, "m_mul": 0.8, "alpha": 0.05}
    ours = getattr(distnn.optimizers.schedules, name)(**config)
    theirs = getattr(keras.optimizers.schedules, name)(**config)
    found = [ours(step) for step in range(0, 90, 3)]
    np.testing.assert_allclose(found, [float(theirs(step)) for step in range(0, 90, 3)], rtol=2e-4, atol=1e-7)


def test_sequences_and_words() -> None:
    from distnn.preprocessing.sequence import pad_sequences
    from distnn.preprocessing.text import Tokenizer

    legacy = pytest.importorskip("keras.src.legacy.preprocessing.text")
    texts = ["The cat sat. The cat!", "A dog; sat", "the the", "a b c d"]
    for settings in ({}, {"num_words": 4, "oov_token": "?"}, {"char_level": True, "lower": False}):
        ours, theirs = Tokenizer(**settings), legacy.Tokenizer(**settings)
        ours.fit_on_texts(texts), theirs.fit_on_texts(texts)
        assert ours.word_index == theirs.word_index
        found = ours.texts_to_sequences([*texts, "dog of the house"])
        assert found == theirs.texts_to_sequences([*texts, "dog of the house"])
        assert ours.sequences_to_texts(found) == theirs.sequences_to_texts(found)
        for mode in ("binary", "count", "freq", "tfidf"):
            expected = theirs.texts_to_matrix(texts, mode)
            np.testing.assert_allclose(ours.texts_to_matrix(texts, mode), expected)
        for options in ({"maxlen": 3}, {"padding": "post", "truncating": "post", "maxlen": 4}):
            mine, other = pad_sequences(found, **options), keras.utils.pad_sequences(found, **options)
            np.testing.assert_array_equal(mine, other)


def test_activity_regularizers() -> None:
    ours = Sequential([Input((6,)), Dense(5, "tanh", activity_regularizer="l2"), Dense(3, "softmax")])
    theirs = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, "tanh", activity_regularizer="l2"),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    ours.ensure_initialized(2)
    theirs.set_weights(ours.get_weights())
    for model in (ours, theirs):
        model.compile("sgd", "sparse_categorical_crossentropy")
    options: dict[str, Any] = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    found = ours.fit(X, Y, **options).history["loss"]
    np.testing.assert_allclose(found, theirs.fit(X, Y, **options).history["loss"], rtol=1e-4)
    ours.close()
