"""Classes and functions of the user's own: found by the names that files have for them, or told missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import classification, weight_bytes

import distnn
from distnn import activations, constraints, initializers, layers, losses, metrics, ops, regularizers, saving
from distnn.errors import CheckpointError
from distnn.layers import Dense, Embedding, Input, Layer
from distnn.models import Model, Sequential, load_model
from distnn.saving import custom_object_scope, register_keras_serializable

X, Y = classification(40)


@pytest.fixture(autouse=True)
def registry() -> Iterator[dict[str, Any]]:
    """The registry, as it was before afterwards."""
    known = saving.get_custom_objects()
    before = dict(known)
    yield known
    known.clear()
    known.update(before)


class Shift(Layer):
    def __init__(self, by: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.by = by

    def call(self, inputs: Any) -> Any:
        return inputs + self.by

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "by": self.by}


class Scaled(Layer):
    """Without a `get_config`: what the constructor was given is kept."""

    def __init__(self, factor: float, more: tuple[int, ...] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor, self.more = factor, more

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


class Half(initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return np.full(shape, 0.5, dtype)


class Steep(regularizers.Regularizer):
    l2 = 0.1

    def get_config(self) -> dict[str, Any]:
        return {}


class Rounded(constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return ops.round(w)


class Absolute(losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Largest(metrics.Metric):
    def values(self, y_true: Any, y_pred: Any) -> Any:
        return ops.max(y_pred, axis=-1)


def bent(x: Any) -> Any:
    return ops.tanh(x) + 0.1 * x


def thirds(shape: Any, dtype: Any = None) -> Any:
    return np.full(shape, 1 / 3, dtype)


def distance(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


OWN = (Shift, Scaled, Half, Steep, Rounded, Absolute, Largest, bent, thirds, distance)
GIVEN: dict[str, Any] = {own.__name__: own for own in OWN}


def with_all_of_it() -> Sequential:
    model = Sequential([Input((6,)), Shift(2.0), Scaled(0.5, more=(1, 2))])
    model.add(Dense(4, bent, kernel_initializer=Half(), kernel_regularizer=Steep()))
    model.add(Dense(3, bias_initializer=thirds, kernel_constraint=Rounded()))
    model.compile("sgd", Absolute(), metrics=[Largest(), distance])
    return model


def evaluated(model: Model) -> Any:
    y = np.eye(3, dtype=np.float32)[Y]
    return model.evaluate(X, y, verbose=0, return_dict=True)


def check_whole(model: Model, again: Model) -> None:
    assert again.get_config() == json.loads(json.dumps(model.get_config()))
    assert weight_bytes(again) == weight_bytes(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert evaluated(again) == evaluated(model)


def test_a_model_of_registered_things_comes_back_whole(tmp_path: Path, registry: dict[str, Any]) -> None:
    for own in OWN:
        assert register_keras_serializable("tests")(own) is own
    with with_all_of_it() as model:
        model.save(tmp_path / "model.keras")
        with load_model(tmp_path / "model.keras") as again:
            check_whole(model, again)
            layer: Any = again.layers[1]
            assert layer.factor == 0.5 and list(layer.more) == [1, 2]
    for own in OWN:
        del registry[f"tests>{own.__name__}"]
    with pytest.raises(CheckpointError, match="needs the layer 'tests>Shift', which is not known here"):
        load_model(tmp_path / "model.keras")


def test_a_model_of_things_that_are_given_comes_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with with_all_of_it() as model:
        model.save(path)
        with load_model(path, custom_objects=GIVEN) as again:
            check_whole(model, again)
        with custom_object_scope(GIVEN), load_model(path) as again:
            check_whole(model, again)
        for own in OWN:
            register_keras_serializable("later")(own)
        with load_model(path) as again:
            check_whole(model, again)


@pytest.mark.parametrize("own", OWN, ids=lambda own: own.__name__)
def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path, own: Any) -> None:
    path = tmp_path / "model.keras"
    with_all_of_it().save(path)
    some = {name: value for name, value in GIVEN.items() if value is not own}
    with pytest.raises(CheckpointError) as caught:
        load_model(path, custom_objects=some)
    text = str(caught.value)
    assert str(path) in text and f"{own.__name__!r}, which is not known here" in text
    assert f"custom_objects={{{own.__name__!r}: {own.__name__}}}" in text


def test_losses_and_metrics_are_not_needed_without_compile(tmp_path: Path) -> None:
    with with_all_of_it() as model:
        model.save(tmp_path / "model.keras")
        some = {name: own for name, own in GIVEN.items() if own not in (Absolute, Largest, distance)}
        with load_model(tmp_path / "model.keras", some, compile=False) as again:
            np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_weights_need_no_names(tmp_path: Path) -> None:
    with with_all_of_it() as model, with_all_of_it() as fresh:
        model.fit(X, np.eye(3)[Y], verbose=0, seed=1)
        model.save(tmp_path / "model.keras")
        fresh.load_weights(tmp_path / "model.keras")
        assert weight_bytes(fresh) == weight_bytes(model)


# Models of the user's own classes


class Net(Model):
    def __init__(self, units: int = 5) -> None:
        super().__init__()
        self.hidden = Dense(units, "relu")
        self.out = Dense(3, "softmax")

    def call(self, inputs: Any) -> Any:
        return self.out(self.hidden(inputs))


class Words(Model):
    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.embedding = Embedding(size, 2)

    def call(self, inputs: Any) -> Any:
        return ops.mean(self.embedding(inputs[0]), axis=1) + inputs[1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def test_a_model_class_of_ones_own_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with Net(7) as model:
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        model.fit(X, Y, verbose=0, seed=1)
        model.save(path)
        with pytest.raises(CheckpointError, match="needs the model 'Net', which is not known here"):
            load_model(path)
        register_keras_serializable()(Net)
        with load_model(path) as again:
            assert isinstance(again, Net) and again.hidden.units == 7
            assert weight_bytes(again) == weight_bytes(model)
            assert again.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
        again = load_model(path)
        again.save(tmp_path / "again.keras")
        assert weight_bytes(load_model(tmp_path / "again.keras")) == weight_bytes(model)


def test_a_model_class_with_several_inputs_comes_back(tmp_path: Path) -> None:
    register_keras_serializable("tests")(Words)
    x = [np.arange(12).reshape(4, 3) % 5, np.ones((4, 2), np.float32)]
    model = Words(5, name="words")
    expected = model(x)
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.name == "words"
    np.testing.assert_array_equal(again(x), expected)


def test_a_subclass_without_a_constructor_is_functional_still(tmp_path: Path) -> None:
    class Trained(Model):
        pass

    inputs = Input((6,))
    model = Trained(inputs, Dense(3)(inputs), name="net")
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras", {"Trained": Trained})
    assert type(again) is Trained and again.name == "net"
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


# Names


def test_names_of_the_registry() -> None:
    register_keras_serializable("tests")(Shift)
    register_keras_serializable(name="curve")(bent)
    assert saving.get_registered_name(Shift) == "tests>Shift"
    assert saving.get_registered_name(bent) == "Custom>curve"
    assert saving.get_registered_name(Dense) == "Dense"
    assert saving.get_registered_object("tests>Shift") is Shift
    assert saving.get_registered_object("tests>None") is None
    assert saving.get_registered_object("a", {"a": bent}) is saving.get_registered_object(
        "a", None, {"a": bent}
    )
    assert activations.get("Custom>curve") is activations.get("curve") is bent
    assert isinstance(layers.deserialize({"class_name": "Shift", "config": {"by": 3.0}}), Shift)


def test_the_registry_is_what_get_custom_objects_gives() -> None:
    saving.get_custom_objects()["my_bend"] = bent
    assert Dense(2, "my_bend").get_config()["activation"] == "my_bend"
    saving.get_custom_objects().update({"thirds": thirds})
    assert isinstance(Dense(2, kernel_initializer="thirds"), Dense)
    assert losses.get({"class_name": "FunctionLoss", "config": {"name": "d", "function": "mse"}}).name == "d"


def test_a_scope_ends() -> None:
    with custom_object_scope({"bent": bent}):
        assert activations.get("bent") is bent
        with custom_object_scope({"bent": thirds}):
            assert activations.get("bent") is thirds
        assert activations.get("bent") is bent
    with pytest.raises(ValueError, match="Could not interpret activation function identifier: bent"):
        activations.get("bent")


def test_a_name_goes_to_the_newcomer() -> None:
    first, second = (type("One", (Layer,), {}) for _ in range(2))
    for one in (first, second):
        register_keras_serializable("tests")(one)
        assert saving.get_registered_object("tests>One") is one
    assert saving.get_registered_name(first) == "One"


def test_two_packages_may_use_a_name() -> None:
    class Dense(Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(ValueError, match="the layer Dense is your own and has the name of one of distnn's"):
        layers.serialize(Dense())
    register_keras_serializable("tests")(Dense)
    described = layers.serialize(Dense())
    assert described["class_name"] == "tests>Dense" and isinstance(layers.deserialize(described), Dense)
    assert isinstance(layers.deserialize({"class_name": "Dense", "config": {"units": 2}}), layers.Dense)


class NeedsMore(Layer):
    def __init__(self, units: int) -> None:
        super().__init__()

    def get_config(self) -> dict[str, Any]:
        return {}


class GivesMore(Shift):
    def __init__(self) -> None:
        super().__init__()

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Faulty(Layer):
    def get_config(self) -> dict[str, Any]:
        return {"nothing": self.nothing}


EIGHTH: Any = np.float32(0.125)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: layers.serialize(NeedsMore(3)),
            r"config of your own class NeedsMore lacks \['units'\]: define",
        ),
        (
            lambda: layers.serialize(GivesMore()),
            r"GivesMore has \['name', 'trainable', 'by'\], which its constr",
        ),
        (lambda: layers.serialize(Scaled(EIGHTH)), "Scaled has no config for a file: .*JSON"),
        (lambda: layers.serialize(Faulty()), "Faulty has no config for a file: AttributeError: .*nothing"),
        (
            lambda: layers.serialize(Dense(2, lambda x: x)),
            "the activation <lambda> is your own and has no name",
        ),
        (
            lambda: register_keras_serializable()(type("Bare", (), {})),
            r"does not have a get_config\(\) method",
        ),
        (lambda: register_keras_serializable()(lambda x: x), "a class or function with a name"),
        (lambda: register_keras_serializable("a>b")(bent), "a class or function with a name"),
        (lambda: custom_object_scope({"a": 3}), "`custom_objects` takes classes and functions by name"),
        (
            lambda: layers.deserialize({"class_name": "Shift", "config": {"up": 1}}, {"Shift": Shift}),
            "Unrecognized keyword arguments passed to Shift",
        ),
        (
            lambda: layers.deserialize({"class_name": "NeedsMore", "config": {}}, {"NeedsMore": NeedsMore}),
            "the layer NeedsMore cannot be made of its config {}: .*units",
        ),
        (lambda: layers.get_class("bent"), "Unknown layer: 'bent'"),
    ],
)
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# Objects as configs


@pytest.mark.parametrize(
    "made",
    [
        Dense(2, "relu", name="d"),
        Shift(3.0, name="s"),
        losses.Huber(0.5),
        losses.get("mse"),
        Absolute(),
        metrics.MeanSquaredError(),
        Largest(),
        initializers.HeNormal(seed=3),
        initializers.get(thirds),
        Half(),
        regularizers.L2(0.5),
        constraints.MaxNorm(2),
        distnn.optimizers.Adam(0.1),
        distnn.optimizers.schedules.CosineDecay(0.1, 5),
    ],
    ids=lambda made: type(made).__name__,
)
def test_objects_come_back_through_json(made: Any) -> None:
    described = json.loads(json.dumps(saving.serialize_keras_object(made)))
    again = saving.deserialize_keras_object(described, custom_objects=GIVEN)
    assert type(again) is type(made) and again.get_config() == made.get_config()


def test_structures_functions_and_arrays_come_back() -> None:
    register_keras_serializable("tests")(bent)
    given = {
        "a": [1, 2.5, None, "x", True],
        "f": bent,
        "g": activations.relu,
        "array": np.eye(2, dtype=np.int8),
    }
    again = saving.deserialize_keras_object(json.loads(json.dumps(saving.serialize_keras_object(given))))
    assert again["a"] == given["a"] and again["f"] is bent and again["g"] is activations.relu
    assert again["array"].dtype == np.int8 and again["array"].tolist() == [[1, 0], [0, 1]]
    assert saving.serialize_keras_object(np.float32(2)) == 2.0
    described = saving.serialize_keras_object(Shift(1.0))
    assert saving.deserialize_keras_object({**described, "module": "keras.layers"}, GIVEN).by == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: saving.serialize_keras_object(object()), "an object of type object cannot be described"),
        (lambda: saving.serialize_keras_object(lambda x: x), "the function <lambda> is your own"),
        (
            lambda: saving.deserialize_keras_object({"class_name": "function", "config": "os.system"}),
            "Could not locate the function 'os.system': decorate it",
        ),
        (
            lambda: saving.deserialize_keras_object({"module": "os", "class_name": "system", "config": {}}),
            "Could not locate the object 'system'",
        ),
    ],
)
def test_objects_that_are_not_known(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
