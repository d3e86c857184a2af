"""Functional models: any graph of layers and ops, the same bytes everywhere, there and back as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import Array, classification, regression, train, weight_bytes

from distnn import ops
from distnn.layers import BatchNormalization, Dense, Dropout, Input, Layer
from distnn.models import Model, Sequential, load_model
from distnn.network import FUNCTIONAL

X, Y = classification(53, 6, 3)
Z = regression(53, 4, 2)[0]
VALUES = regression(53, 6, 2)[1]


def two_towers() -> Model:
    """Two inputs, a shared layer, raw ops with a constant, two outputs."""
    a, b = Input((6,), name="a"), Input((4,), name="b")
    shared = Dense(5, activation="tanh", name="shared")
    left = shared(Dense(8, activation="relu")(a))
    right = shared(Dropout(0.2)(Dense(8)(b)))
    joined = BatchNormalization()(ops.concatenate([left * 2.0 + 1.0, right - left], axis=-1))
    classes = Dense(3, activation="softmax", name="classes")(joined)
    values = Dense(2, name="values")(joined)
    return Model([a, b], [classes, values])


def compiled() -> Model:
    model = two_towers()
    losses = {"classes": "sparse_categorical_crossentropy", "values": "mse"}
    model.compile("adam", losses, [["accuracy"], ["mae"]], loss_weights=[1.0, 0.5])
    return model


def test_layers_called_on_inputs_are_run_as_they_were_called() -> None:
    a = Input((6,))
    first, second = Dense(4, activation="relu"), Dense(2)
    model = Model(a, second(first(a) * 3.0 - 1.0))
    hidden = first(X)
    np.testing.assert_array_equal(model.predict(X), second(hidden * np.float32(3.0) - np.float32(1.0)))


def test_a_functional_chain_is_its_sequential_twin() -> None:
    sequential = Sequential([Input((6,)), Dense(4, "relu"), Dense(3, "softmax")])
    a = Input((6,))
    functional = Model(a, Dense(3, "softmax")(Dense(4, "relu")(a)))
    for model in (sequential, functional):
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(X, Y, seed=3, epochs=2, verbose=0)
    assert weight_bytes(sequential) == weight_bytes(functional)


@pytest.mark.parametrize("backend", ["local", "threads"])
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:BatchNormalization takes the statistics")
def test_several_inputs_and_outputs_obey_the_law_of_shards(backend: str, workers: int) -> None:
    options: dict[str, Any] = {"batch_size": 20, "epochs": 2, "shards": 3}
    found = train(compiled, [X, Z], [Y, VALUES], backend=backend, workers=workers, **options)
    reference = train(compiled, [X, Z], [Y, VALUES], **options)
    assert (found.weights, found.history) == (reference.weights, reference.history)


def test_eager_runs_give_the_bytes_of_programs() -> None:
    def eager() -> Model:
        model = compiled()
        model._compiled["run_eagerly"] = True  # type: ignore[index]
        return model

    options: dict[str, Any] = {"batch_size": 20, "epochs": 1, "shards": 1}
    assert train(eager, [X, Z], [Y, VALUES], **options).weights == (
        train(compiled, [X, Z], [Y, VALUES], **options).weights
    )


def test_logs_of_several_outputs_are_named_by_output() -> None:
    with compiled() as model:
        history = model.fit([X, Z], [Y, VALUES], epochs=1, verbose=0, seed=1).history
        logs = model.evaluate([X, Z], [Y, VALUES], return_dict=True, verbose=0)
    names = ["loss", "classes_loss", "values_loss", "classes_accuracy", "values_mae"]
    assert list(logs) == names and sorted(history) == sorted(names)
    assert logs["loss"] == logs["classes_loss"] + 0.5 * logs["values_loss"]


def test_data_by_name_is_data_in_order() -> None:
    with compiled() as model, compiled() as other:
        model.fit([X, Z], [Y, VALUES], epochs=1, verbose=0, seed=1)
        other.fit({"b": Z, "a": X}, {"values": VALUES, "classes": Y}, epochs=1, verbose=0, seed=1)
        assert weight_bytes(model) == weight_bytes(other)
        expected = model.predict([X, Z])
        assert [a.tobytes() for a in other.predict({"b": Z, "a": X})] == [a.tobytes() for a in expected]


def test_dicts_of_outputs_come_back_as_dicts() -> None:
    a = Input((6,))
    model = Model({"in": a}, {"two": Dense(2)(a), "one": Dense(1)(a)})
    model.compile("sgd", {"one": "mse", "two": "mae"})
    model.fit({"in": X}, {"one": VALUES[:, :1], "two": VALUES}, verbose=0, seed=1)
    found = model.predict(X)
    assert {name: array.shape for name, array in found.items()} == {"one": (53, 1), "two": (53, 2)}


def test_an_output_without_a_loss_needs_no_target() -> None:
    model = two_towers()
    model.compile("sgd", ["sparse_categorical_crossentropy", None])
    for targets in ([Y, None], [Y], {"classes": Y}):
        history = model.fit([X, Z], targets, verbose=0, seed=1).history
    assert set(history) == {"loss", "classes_loss"}


def test_models_inside_models_share_their_weights() -> None:
    a = Input((6,))
    encoder = Model(a, Dense(3, "tanh")(a), name="encoder")
    b = Input((6,))
    whole = Model(b, Dense(6)(encoder(b)))
    whole.compile("sgd", "mse")
    before = encoder.predict(X)
    whole.fit(X, X, verbose=0, seed=1)
    assert not np.array_equal(encoder.predict(X), before)
    assert [layer.name for layer in whole.layers] == ["input_layer", "encoder", "dense"]


def test_part_of_a_model_is_a_model() -> None:
    model = two_towers()
    part = Model(model.inputs, model.get_layer("shared")(Dense(8)(model.inputs[0])))
    with pytest.raises(ValueError, match="depend on the input 'b'"):
        Model(model.inputs[:1], model.outputs)
    assert part.predict([X, Z]).shape == (53, 5)


def test_weights_are_named_and_drawn_by_their_place_in_the_model() -> None:
    one, other = two_towers(), two_towers()
    paths = [variable.path for variable in one.variables]
    assert paths == [variable.path for variable in other.variables]
    assert "shared/kernel" in paths and paths.count("shared/kernel") == 1
    for model in (one, other):
        model.ensure_initialized(9)
    assert weight_bytes(one) == weight_bytes(other)


def test_there_and_back_as_json() -> None:
    model = compiled()
    config = json.loads(json.dumps(model.get_config()))
    twin = Model.from_config(config)
    assert twin.get_config() == model.get_config()
    twin.set_weights(model.get_weights())
    for mine, its in zip(model.predict([X, Z]), twin.predict([X, Z]), strict=True):
        assert mine.tobytes() == its.tobytes()


def test_saved_models_go_on_as_they_were(tmp_path: Path) -> None:
    model = compiled()
    model.fit([X, Z], [Y, VALUES], verbose=0, seed=1)
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    expected = model.evaluate([X, Z], [Y, VALUES], verbose=0)
    assert loaded.evaluate([X, Z], [Y, VALUES], verbose=0) == expected


def test_a_model_travels_to_other_processes_without_its_tensors() -> None:
    ray = pytest.importorskip("ray")
    model = compiled()
    twin = ray.cloudpickle.loads(ray.cloudpickle.dumps(model))
    assert twin.get_config() == model.get_config() and twin.inputs[0].graph is FUNCTIONAL


def test_deep_models_are_replayed_and_sent_without_recursion() -> None:
    ray = pytest.importorskip("ray")
    tensor = first = Input((2,))
    for _ in range(3000):
        tensor = tensor + 1.0
    model = ray.cloudpickle.loads(ray.cloudpickle.dumps(Model(first, tensor)))
    assert model.predict(np.zeros((1, 2), np.float32)).tolist() == [[3000.0, 3000.0]]


def test_summary_lists_inputs_and_shapes() -> None:
    lines: list[str] = []
    two_towers().summary(print_fn=lines.append)
    for text in ("a (InputLayer)", "(None, 6)", "shared (Dense)", "classes (Dense)"):
        assert text in lines[0]


class Halves(Layer):
    def call(self, inputs: Any) -> Any:
        return {"low": inputs[:, :3], "high": inputs[:, 3:]}


def test_layers_with_several_outputs_keep_their_structure() -> None:
    a = Input((6,))
    halves = Halves()(a)
    model = Model(a, [halves["high"], halves["low"]])
    high, low = model.predict(X)
    assert high.tobytes() == np.ascontiguousarray(X[:, 3:]).tobytes()
    assert low.tobytes() == np.ascontiguousarray(X[:, :3]).tobytes()


def mistaken(case: str) -> Any:
    a, b = Input((6,), name="a"), Input((4,), name="b")
    if case == "missing":
        return Model(a)
    if case == "no tensor":
        return Model(a, X)
    if case == "foreign":
        return Model(a, ops.concatenate([Dense(2)(a), Dense(2)(b)], axis=-1))
    if case == "names":
        return Model(a, Dense(2, name="same")(Dense(3, name="same")(a)))
    model = Model([a, b], [Dense(3, name="one")(a), Dense(2, name="two")(b)])
    if case == "loss":
        return model.compile("sgd", {"one": "mse", "twoo": "mse"})
    model.compile("sgd", "mse", [["mae"], None])
    data: dict[str, Any] = {
        "inputs": ({"a": X, "c": Z}, [VALUES, VALUES]),
        "count": (X, [VALUES, VALUES]),
        "targets": ([X, Z], [VALUES]),
    }
    return model.fit(*data[case], verbose=0)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "`outputs` is missing"),
        ("no tensor", "`outputs` of a functional model must be tensors made from `Input`s"),
        ("foreign", "depend on the input 'b', which is not among the model's inputs"),
        ("names", "Several are called 'same'"),
        ("loss", "`loss` names 'twoo', but the model's outputs are called 'one', 'two'. Did you mean 'two'"),
        ("inputs", "the model's inputs are called 'a', 'b'. Received: a dict with keys 'a', 'c'"),
        ("count", r"the model has 2 input\(s\), but 1 arrays were given as x"),
        ("targets", "needs a target for each of its outputs with a loss"),
    ],
)
def test_mistakes_are_told(case: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mistaken(case)


def test_labels_of_each_output_are_checked() -> None:
    model = compiled()
    labels: Array = Y.copy()
    labels[7] = 3
    with pytest.raises(ValueError, match="output 'classes': label 3 at row 7 is outside the model's 3"):
        model.fit([X, Z], [labels, VALUES], verbose=0)
