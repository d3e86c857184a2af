"""Layers and losses of the user's own: assigned variables, eager runs, exceptions with their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from trainings import Array, regression, train, weight_bytes

from distnn import losses, ops
from distnn.layers import Dense, Dropout, Input, Layer
from distnn.models import Model, Sequential
from distnn.optimizers import SGD

X, Y = regression(50)
FIT: dict[str, Any] = {"batch_size": 16, "shards": 3, "shuffle": False, "verbose": 0, "seed": 1}
"""Shards of 6, 5 and 5 samples, and a last batch of 1, 1 and none."""


def model_with(layer: Layer, loss: Any = "mse", learning_rate: float = 0.05, **compile_options: Any) -> Model:
    model = Sequential([Input((6,)), layer, Dense(1)])
    model.compile(SGD(learning_rate), loss, **compile_options)
    return model


# Variables that `call` assigns


class Counting(Layer):
    """Keeps what it saw in variables of every aggregation."""

    def __init__(self, aggregation: Any, how: str = "assign") -> None:
        super().__init__()
        self.aggregation, self.how = aggregation, how

    def build(self, input_shape: Any) -> None:
        self.seen = self.add_weight((6,), "ones", trainable=False, aggregation=self.aggregation, name="seen")

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            getattr(self, self.how)(inputs)
        return inputs

    def assign(self, inputs: Any) -> None:
        self.seen.assign(ops.mean(inputs, axis=0))

    def move(self, inputs: Any) -> None:
        self.seen.assign(self.seen * 0.5 + ops.mean(inputs, axis=0))

    def total(self, inputs: Any) -> None:
        self.seen.assign(ops.sum(inputs, axis=0))

    def add(self, inputs: Any) -> None:
        self.seen.assign_add(ops.sum(inputs, axis=0))

    def add_twice(self, inputs: Any) -> None:
        self.seen.assign_add(ops.sum(inputs, axis=0))
        assert self.seen.value.shape == (6,)
        self.seen.assign_sub(1.0)


def seen(aggregation: Any, how: str, **options: Any) -> Array:
    model = model_with(Counting(aggregation, how), run_eagerly=options.pop("run_eagerly", False))
    model.fit(X, Y, **{**FIT, **options})
    model.close()
    return model.layers[0].get_weights()[0].astype(np.float64)


BATCHES = [X[start : start + 16].astype(np.float64) for start in (0, 16, 32, 48)]


def expected(aggregation: str, how: str, shards: int) -> Array:
    value = np.ones(6)
    for batch in BATCHES:
        used = min(shards, len(batch))
        value = {
            "assign": batch.mean(0),
            "move": value * 0.5 + batch.mean(0),
            "total": batch.sum(0),
            "add": value + batch.sum(0),
            "add_twice": value + batch.sum(0) - used,
        }[how]
    return value


@pytest.mark.parametrize(
    "aggregation, how",
    [("mean", "assign"), ("mean", "move"), ("sum", "total"), ("sum", "add"), ("sum", "add_twice")],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_assigned_values_are_merged_over_samples(aggregation: str, how: str, shards: int) -> None:
    """Means are weighted by the samples of unequal shards; an empty shard adds nothing."""
    found = seen(aggregation, how, shards=shards)
    np.testing.assert_allclose(found, expected(aggregation, how, shards), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("aggregation, how", [("mean", "move"), ("sum", "add_twice")])
@pytest.mark.parametrize("place", [{"backend": "threads", "workers": 2}, {"run_eagerly": True}])
def test_assigned_values_are_the_same_anywhere(aggregation: str, how: str, place: dict[str, Any]) -> None:
    np.testing.assert_array_equal(seen(aggregation, how, **place), seen(aggregation, how))


def test_what_cannot_be_merged_is_refused() -> None:
    with pytest.raises(ValueError, match="'counting/seen', whose aggregation is 'none', in each of 3 shards"):
        seen("none", "assign")
    np.testing.assert_allclose(seen("none", "assign", shards=1), BATCHES[-1].mean(0), rtol=1e-6)
    with pytest.raises(ValueError, match="Invalid `aggregation` for variable 'seen'. Received: 'max'"):
        seen("max", "assign")


def test_what_is_trained_cannot_be_assigned_too() -> None:
    class Both(Counting):
        def build(self, input_shape: Any) -> None:
            self.seen = self.add_weight((6,), "ones", name="seen")

    with pytest.raises(ValueError, match="'both/seen', which the optimizer trains.*trainable=False"):
        model_with(Both("mean")).fit(X, Y, **FIT)


def test_an_assigned_value_must_have_the_variables_shape() -> None:
    class Wrong(Counting):
        def assign(self, inputs: Any) -> None:
            self.seen.assign(ops.mean(inputs))

    with pytest.raises(ValueError, match=r"variable 'wrong/seen' of shape \(6,\) cannot be assigned.* \(\)"):
        model_with(Wrong("mean")).fit(X, Y, **FIT)


def test_evaluation_and_prediction_assign_nothing() -> None:
    class Always(Counting):
        def call(self, inputs: Any) -> Any:
            return super().call(inputs, training=True)

    model = model_with(Always("mean"))
    model.evaluate(X, Y, verbose=0)
    model.predict(X)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], np.ones(6))


def test_a_call_on_arrays_assigns_at_once() -> None:
    layer = Counting("mean")
    layer(X, training=True)
    np.testing.assert_allclose(layer.get_weights()[0], X.mean(0), rtol=1e-5)


# Losses


def per_sample(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def scalar(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred))


class Subclass(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_true - y_pred)


@pytest.mark.parametrize("loss", [per_sample, scalar, Subclass()], ids=["per sample", "scalar", "subclass"])
@pytest.mark.parametrize("shards", [1, 3])
def test_losses_of_any_form_train_alike(loss: Any, shards: int) -> None:
    options = {**FIT, "shards": shards, "epochs": 3}
    mine = train(lambda: model_with(Dense(3, "tanh"), loss), X, Y, **options)
    keras = train(lambda: model_with(Dense(3, "tanh"), "mse"), X, Y, **options)
    np.testing.assert_allclose(
        np.frombuffer(mine.weights, np.float32), np.frombuffer(keras.weights, np.float32), atol=1e-6
    )
    np.testing.assert_allclose(mine.history["loss"], keras.history["loss"], rtol=1e-5)


def test_the_loss_gets_sample_weights_if_it_has_samples() -> None:
    weights = np.linspace(0, 2, 50)
    options = {**FIT, "sample_weight": weights}
    mine = train(lambda: model_with(Dense(3), Subclass()), X, Y, **options)
    keras = train(lambda: model_with(Dense(3), "mse"), X, Y, **options)
    np.testing.assert_allclose(mine.history["loss"], keras.history["loss"], rtol=1e-5)
    with pytest.raises(ValueError, match="one number for the whole shard"):
        model_with(Dense(3), scalar).fit(X, Y, **options)


# Eager runs


def test_an_eager_run_stops_in_call_with_values() -> None:
    class Stops(Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.seen = Dense(1), []

        def call(self, inputs: Any, training: bool = False) -> Any:
            outputs = self.dense(inputs)
            if training and outputs.value is not None:
                self.seen.append((inputs.numpy().copy(), outputs.numpy().copy(), float(outputs[0, 0])))
            return outputs

    model = Stops()
    model.compile(SGD(0.0), "mse", run_eagerly=True)
    model.fit(X, Y, **FIT)
    sizes = [len(inputs) for inputs, _, _ in model.seen]
    assert sizes == [6, 5, 5] * 3 + [1, 1], "once for each shard, with its own samples"
    np.testing.assert_array_equal(np.concatenate([inputs for inputs, _, _ in model.seen]), X)
    kernel, bias = model.get_weights()
    for inputs, outputs, first in model.seen:
        np.testing.assert_allclose(outputs, inputs @ kernel + bias, rtol=1e-5, atol=1e-6)
        assert first == outputs[0, 0]


def test_python_branches_on_values_work_in_eager_runs_only() -> None:
    class Branches(Layer):
        def call(self, inputs: Any) -> Any:
            return inputs if ops.mean(inputs) > 0 else -inputs

    with pytest.raises(TypeError, match="use distnn.ops.where instead of `if`, or compile.run_eagerly=True"):
        model_with(Branches()).fit(X, Y, **FIT)


def test_values_of_a_traced_run_are_refused_with_advice() -> None:
    class Looks(Layer):
        def call(self, inputs: Any) -> Any:
            return inputs + float(np.mean(inputs))

    with pytest.raises(TypeError, match="Use functions of `distnn.ops` on it, or compile.run_eagerly=True"):
        model_with(Looks()).fit(X, Y, **FIT)


# Training and inference


def test_training_can_be_said_in_the_call() -> None:
    """It reaches all layers inside, and goes back to what it was."""

    class Always(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.noise = Sequential([Dropout(0.5), Dropout(0.5)])
            self.rest = Dropout(0.5)

        def call(self, inputs: Any) -> Any:
            return self.rest(self.noise(inputs, training=True))

    x = np.ones((8, 6), np.float32)
    noisy = Sequential([Input((6,)), Always()]).predict(x)
    assert set(np.unique(noisy)) == {0.0, 4.0}, "both inner ones, and not the outer one"
    model = Sequential([Input((6,)), Dropout(0.5)])
    assert set(np.unique(model(x, training=True))) == {0.0, 2.0}
    np.testing.assert_array_equal(model(x, training=False), x)
    np.testing.assert_array_equal(model(x), x)


# Exceptions


class FailsAt(Layer):
    """Raises when it has been called in training for so many shards."""

    def __init__(self, calls: int, error: BaseException) -> None:
        super().__init__()
        self.left, self.error = calls, error

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training and inputs.value is not None:
            self.left -= 1
            if self.left < 0:
                raise self.error
        return inputs


@pytest.mark.parametrize("backend", ["local", "threads"])
def test_an_exception_in_call_is_the_users_with_its_place(backend: str) -> None:
    layer = FailsAt(7, RuntimeError("mine"))
    model = model_with(layer, run_eagerly=True)
    with pytest.raises(RuntimeError, match="^mine") as raised:
        model.fit(X, Y, backend=backend, workers=1, **FIT)
    assert raised.value is layer.error and str(raised.value) == "mine"
    assert raised.value.__notes__ == ["distnn: in worker 0, step 2, shard 1"]


@pytest.mark.parametrize("error", [RuntimeError("mine"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("backend", ["local", "threads"])
def test_what_was_committed_before_stays(error: BaseException, backend: str) -> None:
    """Step 2 of 4 fails in its second shard: the model holds steps 0 and 1, and can train on."""
    model = model_with(FailsAt(7, error), run_eagerly=True)
    with pytest.raises(type(error)):
        model.fit(X, Y, backend=backend, workers=1, **FIT)
    whole = model_with(FailsAt(999, error), run_eagerly=True)
    whole.fit(X[:32], Y[:32], **FIT)
    assert weight_bytes(model) == weight_bytes(whole)
    assert model.optimizer.iterations == 2
    model.layers[0].left = 999
    model.fit(X, Y, backend=backend, workers=1, **FIT)
    assert weight_bytes(model) != weight_bytes(whole)
    model.close()


def test_an_exception_while_tracing_comes_as_it_is() -> None:
    class Broken(Layer):
        def call(self, inputs: Any) -> Any:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="^mine$") as raised:
        model_with(Broken())
    assert raised.value.__context__ is None
    model = Sequential([Dense(2), Broken()])
    model.compile("sgd", "mse")
    with pytest.raises(ZeroDivisionError, match="^mine$"):
        model.fit(X, Y, **FIT)


def test_a_forgotten_constructor_is_named() -> None:
    class Forgot(Layer):
        def __init__(self) -> None:
            self.dense = Dense(3)

    with pytest.raises(RuntimeError, match=r"In layer Forgot, you forgot to call `super\(\).__init__\(\)`"):
        model_with(Forgot())
    with pytest.raises(AttributeError, match="'Dense' object has no attribute 'kernels'"):
        Dense(3).kernels  # noqa: B018


def test_a_layer_that_returns_no_tensor_is_told_so() -> None:
    class Returns(Layer):
        def call(self, inputs: Any) -> Any:
            return np.zeros((2, 3))

    with pytest.raises(ValueError, match="layer 'returns' must return a tensor. Received: ndarray"):
        model_with(Returns())


def test_a_tensor_kept_from_another_call_is_refused() -> None:
    class Keeps(Layer):
        kept: Any = None

        def call(self, inputs: Any) -> Any:
            if self.kept is None:
                self.kept = inputs
            return inputs + self.kept

    with pytest.raises(ValueError, match="recorded in another call of the model; keep no tensor between"):
        model_with(Keeps()).fit(X, Y, **FIT)
