"""Models as Keras users know them: the seed program, return values, summary, weights, names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import classification, regression, train, weight_bytes

from distnn.callbacks import LambdaCallback
from distnn.layers import BatchNormalization, Dense, Dropout, Flatten, Input, Layer
from distnn.metrics import SparseTopKCategoricalAccuracy
from distnn.models import Model, Sequential
from distnn.optimizers import Adam
from distnn.utils import set_random_seed

ROOT = Path(__file__).parent.parent

SEED_PROGRAM = """
from distnn.models import Sequential
from distnn.layers import Dense
model = Sequential()
model.add(Dense(units=64, activation='relu', input_dim=100))
model.add(Dense(units=10, activation='softmax'))
model.compile(loss='categorical_crossentropy', optimizer='sgd', metrics=['accuracy'])
model.fit(x_train, y_train, epochs=5, batch_size=32{place})
loss, accuracy = model.evaluate(x_test, y_test)
"""


@pytest.mark.parametrize("place", ["", ', backend="threads"', ', backend="threads", workers=2'])
def test_the_seed_program_runs_as_it_stands(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    x, labels = classification(300, 100, 10)
    y = np.eye(10)[labels]
    names: dict[str, Any] = {"x_train": x[:250], "y_train": y[:250], "x_test": x[250:], "y_test": y[250:]}
    set_random_seed(1)
    exec(SEED_PROGRAM.format(place=place), names)
    assert 0 < names["loss"] < 3 and 0 <= names["accuracy"] <= 1
    shown = capsys.readouterr().out
    assert [f"Epoch {epoch}/5" in shown for epoch in range(1, 6)] == [True] * 5
    assert shown.count("8/8 - ") == 5 and "accuracy: " in shown and "loss: " in shown
    names["model"].close()


def small(*metrics: Any) -> Sequential:
    model = Sequential([Input((6,)), Dense(5, "relu"), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", list(metrics))
    return model


X, Y = classification(50)
QUIET: dict[str, Any] = {"verbose": 0, "seed": 1}


def test_evaluate_returns_a_number_a_list_or_a_dict() -> None:
    assert isinstance(small().evaluate(X, Y, verbose=0), float)
    model = small("accuracy", SparseTopKCategoricalAccuracy(k=2))
    found = model.evaluate(X, Y, verbose=0)
    assert isinstance(found, list) and len(found) == 3
    assert all(type(value) is float for value in found)
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert list(logs) == ["loss", "accuracy", "sparse_top_k_categorical_accuracy"]
    assert list(logs.values()) == found
    loss, accuracy, top = found
    assert accuracy <= top


def test_evaluate_does_not_depend_on_the_batch_size() -> None:
    model = small("accuracy")
    whole = model.evaluate(X, Y, batch_size=50, verbose=0)
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=7, verbose=0), whole, rtol=1e-6)


def test_fit_returns_a_history() -> None:
    model = small("accuracy")
    history = model.fit(X, Y, epochs=3, validation_split=0.2, **QUIET)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(len(values) == 3 for values in history.history.values())
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert history.epoch == [0, 1, 2] and model.history is history
    assert history.params is not None
    assert {"verbose": 0, "epochs": 3, "steps": 2}.items() <= history.params.items()


def test_the_loss_of_an_epoch_is_the_mean_while_the_weights_move() -> None:
    model = small()
    before = model.evaluate(X, Y, verbose=0)
    one = model.fit(X, Y, batch_size=50, **QUIET).history["loss"][0]
    assert one == pytest.approx(before, rel=1e-5), "measured before the only step"
    assert model.evaluate(X, Y, verbose=0) < before


def test_evaluate_and_predict_stop_after_so_many_batches_and_tell_callbacks() -> None:
    told: list[Any] = []
    hooks = LambdaCallback(
        on_test_begin=lambda logs: told.append("test"),
        on_test_end=told.append,
        on_predict_begin=lambda logs: told.append("predict"),
        on_predict_end=lambda logs: told.append("done"),
    )
    model = small("accuracy")
    logs = model.evaluate(X, Y, 8, steps=2, callbacks=[hooks], verbose=0, return_dict=True)
    assert logs == model.evaluate(X[:16], Y[:16], 8, verbose=0, return_dict=True)
    assert model.predict(X, 8, steps=3, callbacks=hooks).shape == (24, 3)
    assert told == ["test", logs, "predict", "done"]


def test_evaluate_shows_keras_line(capsys: pytest.CaptureFixture[str]) -> None:
    model = small("accuracy")
    model.evaluate(X, Y)
    assert capsys.readouterr().out == "", "only on terminals, unless asked for"
    model.evaluate(X, Y, verbose=2)
    assert re.fullmatch(
        r"2/2 - 0s - \d+\w+/step - accuracy: \d\.\d{4} - loss: \d\.\d{4}\n", capsys.readouterr().out
    )


def test_predict_returns_outputs_in_order() -> None:
    model = small()
    whole = model.predict(X)
    assert isinstance(whole, np.ndarray) and whole.shape == (50, 3) and whole.dtype == np.float32
    np.testing.assert_allclose(whole.sum(1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(X[10:13]).argmax(1), whole[10:13].argmax(1))
    np.testing.assert_allclose(model.predict(X, batch_size=7), whole, rtol=1e-5)
    np.testing.assert_allclose(model(X), whole, rtol=1e-5)
    assert model.predict(X[:1].tolist()).shape == (1, 3)


def test_predict_needs_no_compile() -> None:
    assert Sequential([Input((6,)), Dense(2)]).predict(X).shape == (50, 2)


def test_train_on_batch_is_a_step_of_fit() -> None:
    first, second = small("accuracy"), small("accuracy")
    for model in (first, second):
        model.ensure_initialized(3)
    found = first.train_on_batch(X, Y)
    history = second.fit(X, Y, batch_size=50, shuffle=False, **QUIET).history
    assert found == [history["loss"][0], history["accuracy"][0]]
    assert weight_bytes(first) == weight_bytes(second)
    logs = first.train_on_batch(X, Y, return_dict=True)
    assert list(logs) == ["loss", "accuracy"] and logs["loss"] < found[0]
    assert isinstance(small().train_on_batch(X, Y), float)


def test_train_on_batch_goes_on_from_batch_to_batch() -> None:
    """Adam's moments and count, dropout's step, other batches of other sizes."""

    def run(shards: int, **place: Any) -> bytes:
        model = Sequential([Input((6,)), Dense(8, "relu"), Dropout(0.3), Dense(3, "softmax")])
        model.compile(Adam(0.01), "sparse_categorical_crossentropy")
        model.ensure_initialized(3)
        for start, stop in ((0, 16), (16, 32), (32, 45), (0, 16)):
            model.train_on_batch(X[start:stop], Y[start:stop], shards=shards, **place)
        assert model.optimizer.iterations == 4
        model.close()
        return weight_bytes(model)

    assert run(3) == run(3, backend="threads", workers=2)
    assert run(3) != run(2)


def test_train_on_batch_with_weights() -> None:
    weights = np.where(Y == 0, 2.0, 1.0)
    one, other = small(), small()
    for model in (one, other):
        model.ensure_initialized(3)
    assert one.train_on_batch(X, Y, sample_weight=weights) == other.train_on_batch(
        X, Y, class_weight={0: 2.0}
    )
    assert weight_bytes(one) == weight_bytes(other)


# Summary

SUMMARY = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ dense (Dense)                   │ (None, 2, 4)           │            16 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ flatten (Flatten)               │ (None, 8)              │             0 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ batch_normalization             │ (None, 8)              │            32 │
│ (BatchNormalization)            │                        │               │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 10)             │            90 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 138 (552.00 B)
 Trainable params: 122 (488.00 B)
 Non-trainable params: 16 (64.00 B)
"""


def test_summary_is_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    model = Sequential([Input((2, 3)), Dense(4), Flatten(), BatchNormalization(), Dense(10)])
    told: list[str] = []
    model.summary(print_fn=told.append)
    assert told == [SUMMARY]
    assert model.count_params() == 138


def test_summary_before_and_after_it_is_built_and_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    model = Sequential([Dense(5), Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    told: list[str] = []
    model.summary(print_fn=told.append)
    assert "?" in told[0] and "0 (unbuilt)" in told[0]
    model.fit(X, Y, **QUIET)
    model.summary(print_fn=told.append)
    assert "(None, 5)" in told[1] and " Optimizer params: 108 (432.00 B)" in told[1]
    assert " Total params: 161 (644.00 B)" in told[1]


# Weights


def test_weights_are_ordered_as_in_keras() -> None:
    model = Sequential([Input((6,)), BatchNormalization(), Dense(2, use_bias=False), Dense(1)])
    assert [variable.path for variable in model.weights] == [
        "batch_normalization/gamma",
        "batch_normalization/beta",
        "batch_normalization/moving_mean",
        "batch_normalization/moving_variance",
        "dense/kernel",
        "dense_1/kernel",
        "dense_1/bias",
    ]
    shapes = [array.shape for array in model.get_weights()]
    assert shapes == [(6,), (6,), (6,), (6,), (6, 2), (2, 1), (1,)]
    np.testing.assert_array_equal(model.get_weights()[3], np.ones(6))


def test_get_weights_copies_and_set_weights_takes() -> None:
    one, other = small(), small()
    weights = one.get_weights()
    weights[0][:] = 7
    assert not (one.get_weights()[0] == 7).any()
    other.set_weights(weights)
    np.testing.assert_array_equal(other.get_weights()[0], weights[0])
    other.layers[1].set_weights([np.zeros((5, 3)), np.ones(3)])
    np.testing.assert_allclose(other.predict(X), 1 / 3, rtol=1e-6)


def test_weights_set_before_a_fit_are_where_it_begins() -> None:
    def outcome(seed: int) -> bytes:
        model = small()
        model.set_weights([np.full(array.shape, 0.1) for array in model.get_weights()])
        model.fit(X, Y, batch_size=50, shuffle=False, verbose=0, seed=seed)
        return weight_bytes(model)

    assert outcome(1) == outcome(2), "the seed of `fit` is for weights that have no value yet"


def test_layers_by_name_and_index() -> None:
    model = small()
    assert model.get_layer("dense_1") is model.layers[1] is model.get_layer(index=-1)
    assert model.input_shape == (None, 6) and model.output_shape == (None, 3)
    assert model.pop() is not None and len(model.layers) == 1
    assert model.output_shape == (None, 5)


# Names and randomness


def test_a_model_built_twice_is_the_same_model() -> None:
    first, second = small(), small()
    assert [v.path for v in first.weights] == [v.path for v in second.weights]
    assert train(small, X, Y) == train(small, X, Y)


IN_ANOTHER_PROCESS = """
import hashlib, sys
sys.path[:0] = ["tests"]
from test_models import X, Y, small
from trainings import train
print(train(lambda: small("accuracy"), X, Y, epochs=2, shards=3).digest)
"""


def test_another_process_builds_the_same_model() -> None:
    here = train(lambda: small("accuracy"), X, Y, epochs=2, shards=3).digest
    code = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    there = subprocess.run(code, check=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert there.stdout.split() == [here]


def test_given_names_are_kept_and_others_pass_them_by() -> None:
    model = Sequential([Input((2,)), Dense(2, name="dense_1"), Dense(2), Dense(2), Dense(2, name="last")])
    assert [layer.name for layer in model.layers] == ["dense_1", "dense", "dense_2", "last"]
    assert len({variable.path for variable in model.weights}) == 8


def test_layers_of_one_shape_begin_differently() -> None:
    model = Sequential([Input((4,)), Dense(4), Dense(4)])
    model.ensure_initialized(1)
    first, _, second, _ = model.get_weights()
    assert (first != second).all()


def test_seeds_of_fit_and_of_the_program() -> None:
    assert train(small, X, Y, seed=1).weights != train(small, X, Y, seed=2).weights
    outcomes = []
    for _ in range(2):
        set_random_seed(9)
        outcomes.append([train(small, X, Y, seed=None), train(small, X, Y, seed=None)])
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] != outcomes[0][1]


# Forms


class Residual(Model):
    """A subclassed model, with layers made in the constructor and one in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Dense(6, "relu"), Dense(6)]
        self.head = Dense(3, "softmax")

    def call(self, inputs: Any, training: bool = False) -> Any:
        hidden = self.blocks[1](self.blocks[0](inputs))
        return self.head(inputs + hidden)


def test_subclassed_models_train() -> None:
    def make() -> Residual:
        model = Residual()
        model.compile(Adam(0.02), "sparse_categorical_crossentropy", ["accuracy"])
        return model

    outcome = train(make, X, Y, epochs=20, shards=2)
    assert outcome.history["loss"][-1] < 0.5 * outcome.history["loss"][0]
    assert train(make, X, Y, epochs=20, shards=2, backend="threads", workers=2) == outcome
    model = make()
    assert model.predict(X).shape == (50, 3)
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2"]
    assert model.count_params() == 6 * 7 * 2 + 7 * 3


def test_models_inside_models() -> None:
    def make() -> Sequential:
        inner = Sequential([Dense(5, "tanh"), Dropout(0.2), Sequential([Dense(4, "relu")])])
        model = Sequential([Input((6,)), inner, Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    model = make()
    assert [v.path for v in model.weights] == [
        "sequential/dense/kernel",
        "sequential/dense/bias",
        "sequential/sequential/dense/kernel",
        "sequential/sequential/dense/bias",
        "dense/kernel",
        "dense/bias",
    ]
    assert train(make, X, Y, shards=2) == train(make, X, Y, shards=2, backend="threads", workers=2)


def test_a_layer_used_twice_has_one_set_of_weights() -> None:
    class Twice(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Dense(6, "tanh")

        def call(self, inputs: Any) -> Any:
            return self.inner(self.inner(inputs))

    model = Sequential([Input((6,)), Twice(), Dense(1)])
    model.compile("adam", "mse")
    assert len(model.weights) == 4
    losses = model.fit(*regression(60), epochs=10, **QUIET).history["loss"]
    assert losses[-1] < losses[0]


def test_integer_inputs_reach_the_model_as_they_are() -> None:
    class OneHot(Layer):
        def call(self, inputs: Any) -> Any:
            from distnn import ops

            assert inputs.dtype == "int32"
            return ops.one_hot(inputs, 4)

    model = Sequential([Input((3,), dtype="int32"), OneHot(), Flatten(), Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).integers(0, 4, (20, 3))
    model.fit(x, x[:, 0] > 1, **QUIET)
    assert model.predict(x).shape == (20, 2)
