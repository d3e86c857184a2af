from __future__ import annotations

import doctest
import json
from typing import Any

import numpy as np
import pytest
from trainings import regression, train

from distnn import ops, regularizers
from distnn.layers import Dense, Input
from distnn.models import Sequential
from distnn.optimizers import SGD


def test_defaults_are_keras() -> None:
    assert (regularizers.get("l2").l2, regularizers.get("l2").l1) == (0.01, 0.0)
    assert regularizers.get("l1").factors() == (0.01, 0.0)
    assert regularizers.L1L2().factors() == (0.0, 0.0)
    assert regularizers.l1_l2(l1=0.1, l2=0.2).factors() == (0.1, 0.2)
    assert regularizers.L2(None).l2 == 0.01  # type: ignore[arg-type]


def test_penalty_by_hand() -> None:
    x = np.array([[1.0, -2.0], [3.0, 0.0]], np.float32)
    assert regularizers.L1L2(0.5, 0.25)(x) == 0.5 * 6 + 0.25 * 14
    assert isinstance(regularizers.L2()(x), float)


@pytest.mark.parametrize("made", [regularizers.L1(0.3), regularizers.L2(0.2), regularizers.L1L2(0.1, 0.2)])
def test_config_round_trip(made: regularizers.Regularizer) -> None:
    again = regularizers.get(json.loads(json.dumps(regularizers.serialize(made))))
    assert type(again) is type(made) and again.factors() == made.factors()


def test_get() -> None:
    assert regularizers.get(None) is None and regularizers.serialize(None) is None
    made = regularizers.L2()
    assert regularizers.get(made) is made
    assert isinstance(regularizers.get(regularizers.L1), regularizers.L1)


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("l3", "Could not interpret regularizer identifier: l3"),
        ("L1L", "Did you mean 'l1l2' or 'l1'?"),
        (3, "Could not interpret regularizer identifier: 3"),
        ({"class_name": "L9"}, "Could not interpret regularizer identifier: L9"),
    ],
)
def test_get_refuses(identifier: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        regularizers.get(identifier)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "0.1", True])
def test_factors_are_checked(value: Any) -> None:
    with pytest.raises(
        ValueError, match="Invalid value for argument l2: expected a non-negative float. Received: l2="
    ):
        regularizers.L2(value)


class Spread(regularizers.Regularizer):
    """The variance of a whole weight: no sum over its values."""

    def __call__(self, x: Any) -> Any:
        return ops.var(x) * 0.5

    def get_config(self) -> dict[str, Any]:
        return {}


MATRIX = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_penalty_is_the_mean_cosine_of_all_pairs(mode: str) -> None:
    made = regularizers.OrthogonalRegularizer(0.3, mode)
    vectors = MATRIX if mode == "rows" else MATRIX.T
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [abs(units[i] @ units[j]) for i in range(len(units)) for j in range(i)]
    np.testing.assert_allclose(made(MATRIX), 0.3 * np.mean(pairs), rtol=1e-5)
    again = regularizers.get(json.loads(json.dumps(regularizers.serialize(made))))
    assert isinstance(again, regularizers.OrthogonalRegularizer) and again.get_config() == made.get_config()
    with pytest.raises(ValueError, match="Inputs to OrthogonalRegularizer must have rank 2"):
        made(MATRIX[0])
    with pytest.raises(ValueError, match='Expected one of {"rows", "columns"}. Received: mode=both'):
        regularizers.OrthogonalRegularizer(mode="both")


WHOLE = [
    regularizers.OrthogonalRegularizer(0.5),
    regularizers.OrthogonalRegularizer(0.5, "columns"),
    Spread(),
]


@pytest.mark.parametrize("penalty", WHOLE, ids=lambda one: type(one).__name__)
def test_penalties_of_whole_weights_are_those_of_numerical_gradients(penalty: Any) -> None:
    """One step of a loss that is nothing else, from shards of unequal size; and what `evaluate` gives."""
    x, y = np.zeros((7, 6), np.float32), np.zeros((7, 4), np.float32)
    with Sequential([Input((6,)), Dense(4, use_bias=False, kernel_regularizer=penalty)]) as model:
        model.compile(SGD(1.0), "mse")
        model.set_weights([MATRIX])
        np.testing.assert_allclose(model.evaluate(x, y, verbose=0), penalty(MATRIX), rtol=1e-5)
        history = model.fit(x, y, batch_size=7, shards=3, verbose=0).history
        np.testing.assert_allclose(history["loss"], penalty(MATRIX), rtol=1e-5)
        step = MATRIX - model.get_weights()[0]
    wide, numeric = MATRIX.astype(np.float64), np.zeros(MATRIX.shape)
    for index in np.ndindex(wide.shape):
        moved = [wide.copy(), wide.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        numeric[index] = (float(penalty(moved[0])) - float(penalty(moved[1]))) / 2e-6
    np.testing.assert_allclose(step, numeric, atol=1e-5)


def test_penalties_of_whole_weights_leave_the_same_bytes_anywhere() -> None:
    def make(run_eagerly: bool = False) -> Sequential:
        first = Dense(5, "tanh", kernel_regularizer="orthogonal_regularizer", bias_regularizer="l2")
        model = Sequential([Input((6,)), first, Dense(1, kernel_regularizer=Spread())])
        model.compile("adam", "mse", run_eagerly=run_eagerly)
        return model

    x, y = regression(23)
    options: dict[str, Any] = {"batch_size": 10, "epochs": 2, "shards": 4}
    reference = train(make, x, y, **options)
    for workers in (1, 2, 3):
        assert train(make, x, y, backend="threads", workers=workers, **options) == reference
    assert train(lambda: make(True), x, y, **options) == reference


def test_a_penalty_that_does_not_say_how_it_was_made_cannot_be_saved() -> None:
    class Silent(regularizers.Regularizer):
        l1 = 0.1

    with pytest.raises(
        ValueError,
        match="the regularizer of your own class Silent has no config for a file.*define `get_config`",
    ):
        regularizers.serialize(Silent())


def test_an_activity_penalty_of_ones_own_is_the_mean_over_the_batch() -> None:
    class Size(regularizers.Regularizer):
        def __call__(self, x: Any) -> Any:
            return ops.sum(ops.square(x)) * 0.01

    x, y = regression(23)
    found = []
    for penalty in (Size(), regularizers.L2(0.01)):
        with Sequential([Input((6,)), Dense(5, activity_regularizer=penalty), Dense(1)]) as model:
            model.compile("sgd", "mse")
            history = model.fit(x, y, batch_size=10, shards=3, epochs=2, seed=2, verbose=0).history
            found.append(history["loss"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(regularizers).failed == 0
