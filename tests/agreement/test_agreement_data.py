"""How `fit` takes data, against Keras 3 itself: pulled batches, weights, epochs and steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from trainings import classification

import distnn.losses
import distnn.utils
from distnn.layers import Dense, Input
from distnn.models import Sequential

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

X, Y = classification(53)
WEIGHTS = np.random.default_rng(1).uniform(0.2, 2, 53).astype(np.float32)
CUTS = (16, 20, 41, 53)


def dataset(package: Any, weights: Any = None, cuts: tuple[int, ...] = CUTS) -> Any:
    class Batches(package.utils.PyDataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return len(cuts)

        def __getitem__(self, index: int) -> Any:
            rows = slice(cuts[index - 1] if index else 0, cuts[index])
            return (X[rows], Y[rows]) if weights is None else (X[rows], Y[rows], weights[rows])

    return Batches()


def endless(cuts: tuple[int, ...] = CUTS) -> Iterator[Any]:
    while True:
        for start, stop in zip((0, *cuts), cuts, strict=False):
            yield X[start:stop], Y[start:stop]


def pair(loss: Any = "sparse_categorical_crossentropy", **config: Any) -> tuple[Any, Any]:
    """The same model twice, with the same weights."""
    ours = Sequential([Input((6,)), Dense(5, "tanh"), Dense(3, "softmax")])
    dense = keras.layers.Dense
    theirs = keras.Sequential([keras.Input((6,)), dense(5, "tanh"), dense(3, "softmax")])
    ours.ensure_initialized(2)
    theirs.set_weights(ours.get_weights())
    for package, model in ((distnn, ours), (keras, theirs)):
        chosen = loss if isinstance(loss, str) else getattr(package.losses, loss[0])(**loss[1])
        model.compile("sgd", chosen, metrics=["accuracy"], **config)
    return ours, theirs


def assert_agree(ours: Any, theirs: Any, found: Any, expected: Any) -> None:
    assert found.epoch == expected.epoch
    assert sorted(found.history) == sorted(expected.history)
    for name, values in found.history.items():
        np.testing.assert_allclose(values, expected.history[name], rtol=2e-4, err_msg=name)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=2e-3, atol=2e-5)
    ours.close()


EVEN: dict[str, Any] = {"batch_size": 16, "shuffle": False, "verbose": 0}
ARRAYS: dict[str, dict[str, Any]] = {
    "class weights": {"class_weight": {0: 3.0, 2: 0.5}, "epochs": 2},
    "sample weights": {"sample_weight": WEIGHTS, "epochs": 2},
    "initial epoch": {"epochs": 5, "initial_epoch": 3},
    "fewer steps": {"steps_per_epoch": 2, "epochs": 1},
    "validation now and then": {"validation_data": (X, Y), "validation_freq": 2, "epochs": 5},
    "some of the validation": {"validation_data": (X, Y), "validation_steps": 2, "epochs": 2},
    "some of the validation in other batches": {
        "validation_data": (X, Y),
        "validation_batch_size": 7,
        "validation_steps": 2,
        "epochs": 2,
    },
    "weighted validation": {
        "validation_data": (X, Y, WEIGHTS),
        "sample_weight": WEIGHTS,
        "epochs": 2,
    },
    "validation split": {"validation_split": 0.25, "epochs": 2},
    "validation in listed epochs": {"validation_data": (X, Y), "validation_freq": [1, 4], "epochs": 4},
    "plain training, weighted validation": {"validation_data": (X, Y, WEIGHTS), "epochs": 2},
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arguments_of_fit(name: str) -> None:
    ours, theirs = pair()
    assert_agree(ours, theirs, *(model.fit(X, Y, **EVEN, **ARRAYS[name]) for model in (ours, theirs)))


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, None),
        ({"class_weight": {0: 3.0, 2: 0.5}}, None),
        ({"initial_epoch": 1}, None),
        ({}, WEIGHTS),
        ({"initial_epoch": 1}, WEIGHTS),
    ],
    ids=["plain", "class weights", "initial epoch", "weights", "weights, initial epoch"],
)
def test_datasets(options: dict[str, Any], weights: Any) -> None:
    ours, theirs = pair()
    found, expected = (
        model.fit(dataset(package, weights), epochs=3, shuffle=False, verbose=0, **options)
        for package, model in ((distnn, ours), (keras, theirs))
    )
    assert_agree(ours, theirs, found, expected)


def test_generators() -> None:
    ours, theirs = pair()
    options: dict[str, Any] = {"steps_per_epoch": 3, "epochs": 4, "verbose": 0}
    assert_agree(ours, theirs, *(model.fit(endless(), **options) for model in (ours, theirs)))


def test_what_is_evaluated_and_predicted_may_be_pulled() -> None:
    ours, theirs = pair()
    even = (16, 32, 48, 53)
    for found, expected in (
        (ours.evaluate(dataset(distnn), verbose=0), theirs.evaluate(dataset(keras), verbose=0)),
        (ours.evaluate(endless(), steps=2, verbose=0), theirs.evaluate(endless(), steps=2, verbose=0)),
        (ours.predict(dataset(distnn)), theirs.predict(dataset(keras), verbose=0)),
        (ours.predict(endless(even), steps=3), theirs.predict(endless(even), steps=3, verbose=0)),
    ):
        np.testing.assert_allclose(found, expected, rtol=2e-5)
    data = {"validation_data": dataset(distnn)}, {"validation_data": dataset(keras)}
    assert_agree(ours, theirs, *(m.fit(X, Y, **EVEN, **d) for m, d in zip((ours, theirs), data, strict=True)))


@pytest.mark.parametrize(
    "loss",
    [
        ("SparseCategoricalCrossentropy", {"ignore_class": 1}),
        ("SparseCategoricalCrossentropy", {"reduction": "mean_with_sample_weight"}),
        ("SparseCategoricalCrossentropy", {"ignore_class": 1, "reduction": "mean_with_sample_weight"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_divisors(loss: Any, weights: Any) -> None:
    ours, theirs = pair(loss)
    options: dict[str, Any] = {**EVEN, "batch_size": 53, "epochs": 4, "sample_weight": weights}
    assert_agree(ours, theirs, *(model.fit(X, Y, **options) for model in (ours, theirs)))
