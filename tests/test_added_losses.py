"""`add_loss` and `activity_regularizer`: in the loss, in the gradient, and the same for any shards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from trainings import Outcome, regression, step_sums, train

from distnn import ops
from distnn.layers import Dense, Input, Layer
from distnn.models import Model, Sequential, clone_model
from distnn.regularizers import L1L2

X, Y = regression(53)


class Mean(Layer):
    """Adds a mean over samples."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.3 * ops.mean(ops.square(inputs)))
        return inputs


class Values(Layer):
    """Adds a value for each sample."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.02 * ops.sum(ops.square(inputs), axis=-1))
        return inputs


def make(*layers: Layer, **dense: Any) -> Sequential:
    model = Sequential([Input((6,)), Dense(4, "tanh", **dense), *layers, Dense(1)])
    model.compile("sgd", "mse")
    return model


MAKERS = {
    "mean": lambda: make(Mean()),
    "values": lambda: make(Values()),
    "activity": lambda: make(activity_regularizer=L1L2(0.01, 0.01), kernel_regularizer="l2"),
    "all": lambda: make(Mean(), Values(), activity_regularizer="l2"),
}


def hidden(model: Sequential, x: Any) -> Any:
    kernel, bias = (array.astype(float) for array in model.layers[0].get_weights())
    return np.tanh(x @ kernel + bias)


def expected_loss(name: str, model: Sequential, x: Any, y: Any) -> float:
    """Of one batch."""
    h = hidden(model, x)
    kernel, bias = (array.astype(float) for array in model.layers[-1].get_weights())
    loss = float(((h @ kernel + bias - y) ** 2).mean())
    loss += 0.3 * float((h**2).mean()) * (name in ("mean", "all"))
    loss += 0.02 * float((h**2).sum()) * (name in ("values", "all"))
    loss += 0.01 * float((h**2).sum() / len(x)) * (name in ("activity", "all"))
    loss += 0.01 * float(np.abs(h).sum() / len(x)) * (name == "activity")
    if name == "activity":
        loss += 0.01 * float((model.layers[0].get_weights()[0].astype(float) ** 2).sum())
    return loss


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("shards", [1, 3])
def test_they_are_in_the_loss(name: str, shards: int) -> None:
    with MAKERS[name]() as model:
        model.ensure_initialized(3)
        expected = expected_loss(name, model, X, Y)
        assert model.test_on_batch(X, Y) == pytest.approx(expected, rel=1e-5)
        logs = model.evaluate(X, Y, batch_size=53, verbose=0, shards=shards)
        assert logs == pytest.approx(expected, rel=1e-5)
        assert model.train_on_batch(X, Y, shards=shards) == pytest.approx(expected, rel=1e-5)


def test_an_epoch_counts_them_by_samples() -> None:
    with MAKERS["all"]() as model:
        model.ensure_initialized(3)
        model.optimizer.learning_rate = 0.0
        parts = [(slice(0, 20), 20), (slice(20, 40), 20), (slice(40, 53), 13)]
        expected = sum(expected_loss("all", model, X[part], Y[part]) * size for part, size in parts) / 53
        history = model.fit(X, Y, batch_size=20, shards=2, shuffle=False, verbose=0, validation_data=(X, Y))
        assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)
        assert history.history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", MAKERS)
def test_their_gradient_agrees_with_finite_differences(name: str) -> None:
    model = MAKERS[name]()
    total = step_sums(model, X, Y, 3).gradient
    weights = [array.astype(float) for array in model.get_weights()]
    found = []
    for number, array in enumerate(weights):
        mine_of = model.layout.view(total, model.variables[number])
        for index in list(np.ndindex(array.shape))[:3]:
            ends = []
            for sign in (1, -1):
                moved = [w.copy() for w in weights]
                moved[number][index] += sign * 1e-3
                model.set_weights(moved)
                ends.append(expected_loss(name, model, X.astype(float), Y))
            slope = (ends[0] - ends[1]) / 2e-3
            if name == "activity" and number == 0:  # the penalty on weights is added at the update
                slope -= 2 * 0.01 * array[index]
            found.append((mine_of[index], slope))
    mine, numeric = np.array(found).T
    np.testing.assert_allclose(mine, numeric, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_any_backend_and_eager_give_the_same_bytes(name: str) -> None:
    def eager() -> Model:
        model = MAKERS[name]()
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    found: list[Outcome] = [train(MAKERS[name], X, Y, batch_size=20, shards=3, epochs=2)]
    found.append(train(MAKERS[name], X, Y, batch_size=20, shards=3, epochs=2, backend="threads", workers=2))
    found.append(train(eager, X, Y, batch_size=20, shards=3, epochs=2))
    assert found[0] == found[1] == found[2]


def test_predictions_know_nothing_of_them() -> None:
    with MAKERS["all"]() as model:
        model.ensure_initialized(3)
        kernel, bias = model.layers[-1].get_weights()
        np.testing.assert_allclose(model.predict(X), hidden(model, X) @ kernel + bias, rtol=1e-4, atol=1e-6)


def test_the_regularizer_is_kept_in_the_config() -> None:
    layer = Dense(3, activity_regularizer="l2")
    again = Dense.from_config(layer.get_config())
    assert again.get_config() == layer.get_config() and again.activity_regularizer is not None
    assert "activity_regularizer" not in Dense(3).get_config()
    clone = clone_model(Sequential([Input((2,)), layer]))
    assert clone.layers[0].get_config() == layer.get_config()


def test_outside_of_call_it_is_refused() -> None:
    with pytest.raises(
        ValueError, match="`add_loss` of layer 'dense' was called outside of a layer's `call`"
    ):
        Dense(3).add_loss(1.0)
