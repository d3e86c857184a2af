"""A model again without its weights, and single batches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from trainings import classification

from distnn.layers import Dense, Dropout, Input
from distnn.models import Model, Sequential, clone_model, model_from_json

X, Y = classification(40)


def sequential() -> Model:
    model = Sequential([Input((6,)), Dense(5, "relu", kernel_regularizer="l2"), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def functional() -> Model:
    inputs = Input((6,), name="in")
    hidden = Dense(5, "tanh", name="shared")(inputs)
    model = Model(inputs, [Dense(3, "softmax", name="a")(hidden), Dense(1, name="b")(hidden)], name="two")
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
    return model


class Own(Model):
    def call(self, inputs: Any) -> Any:
        return inputs


class Unknown(Own):
    def __init__(self, what: object) -> None:
        super().__init__()
        self.what = what


def test_models_of_ones_own_classes_are_cloned() -> None:
    model = Own(name="mine")
    assert type(clone_model(model)) is Own and clone_model(model).name == "mine"
    assert type(model_from_json(model.to_json(), {"Own": Own})) is Own
    mixed = Sequential([Input((6,)), Own(), Dense(2, lambda_free)])
    again = clone_model(mixed)
    assert type(again.layers[0]) is Own and again.layers[1].activation is lambda_free  # type: ignore[attr-defined]


def lambda_free(x: Any) -> Any:
    return x * 2.0


@pytest.mark.parametrize("make", [sequential, functional])
def test_json_and_clones_have_the_layers_but_fresh_weights(make: Any) -> None:
    model = make()
    model.ensure_initialized(1)
    for again in (clone_model(model), model_from_json(model.to_json(indent=2))):
        assert type(again) is type(model) and again.get_config() == model.get_config()
        again.ensure_initialized(2)
        shapes = [array.shape for array in again.get_weights()]
        assert shapes == [array.shape for array in model.get_weights()]
        assert not np.array_equal(again.get_weights()[0], model.get_weights()[0])
        again.set_weights(model.get_weights())
        for mine, other in zip(_list(again.predict(X)), _list(model.predict(X)), strict=True):
            np.testing.assert_array_equal(mine, other)
        with pytest.raises(ValueError, match="You must call `compile"):
            again.evaluate(X, Y)


def _list(outputs: Any) -> list[Any]:
    return outputs if isinstance(outputs, list) else [outputs]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Model().to_json(), "a Model without inputs and outputs has nothing to be rebuilt from"),
        (lambda: clone_model(Unknown(object())), r"your own class Unknown has no config for a file"),
        (lambda: model_from_json(Own().to_json()), "Could not interpret model identifier: Own"),
        (lambda: clone_model(sequential(), clone_function=lambda layer: layer), "`clone_function` is not"),
        (lambda: model_from_json("[]"), "expected a JSON object. Received: list"),
        (lambda: model_from_json(json.dumps({"class_name": "Net"})), r"`class_name` \(Model or Sequential"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_test_on_batch_is_the_evaluation_of_one_batch() -> None:
    with sequential() as model:
        weights = np.linspace(0, 1, 40)
        expected = model.evaluate(X, Y, batch_size=40, verbose=0, sample_weight=weights)
        assert model.test_on_batch(X, Y, sample_weight=weights) == expected
        logs = model.test_on_batch(X, Y, return_dict=True)
        assert set(logs) == {"loss", "accuracy"}


@pytest.mark.parametrize("make", [sequential, functional])
def test_predict_on_batch_is_the_prediction_of_one_batch(make: Any) -> None:
    with make() as model:
        pairs = zip(_list(model.predict_on_batch(X)), _list(model.predict(X, batch_size=40)), strict=True)
        for found, expected in pairs:
            np.testing.assert_array_equal(found, expected)


def test_one_batch_is_taken_without_noise() -> None:
    with Sequential([Input((6,)), Dropout(0.5)]) as model:
        np.testing.assert_array_equal(model.predict_on_batch(X), X)
