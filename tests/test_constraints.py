"""Constraints: values, names, every layer that takes them, and what training leaves."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from memory_recorder import MemoryRecorder
from trainings import Array, classification, train

from distnn import constraining, constraints, layers, ops
from distnn.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from distnn.initializers import Zeros
from distnn.kernels.fingerprints import fingerprint
from distnn.kernels.update import NUM_SCALARS
from distnn.layers import Dense, Input, Layer
from distnn.models import Model, Sequential, load_model
from distnn.optimizers import SGD, Adam
from distnn.variable import Variable
from distnn.weights import WeightLayout

RNG = np.random.default_rng(3)


class Rounded(Constraint):
    """A user's own: weights on a grid."""

    def __call__(self, w: Any) -> Any:
        return ops.round(w * 8.0) / 8.0


def halved(w: Any) -> Any:
    return w * 0.5


def expected(constraint: Any, w: Array) -> Array:
    """Keras's formulas, in float64."""
    w = w.astype(np.float64)
    if isinstance(constraint, NonNeg):
        return np.maximum(w, 0)
    axis = constraint.axis if isinstance(constraint.axis, int) else tuple(constraint.axis)
    norms = np.sqrt(np.sum(w**2, axis=axis, keepdims=True))
    if isinstance(constraint, UnitNorm):
        return w / (1e-7 + norms)
    rate = 1.0 if isinstance(constraint, MaxNorm) else constraint.rate
    low = 0.0 if isinstance(constraint, MaxNorm) else constraint.min_value
    desired = rate * np.clip(norms, low, constraint.max_value) + (1 - rate) * norms
    return w * (desired / (1e-7 + norms))


BUILT_IN: list[tuple[Any, tuple[int, ...]]] = [
    (NonNeg(), (7, 5)),
    (MaxNorm(1.5), (40, 5)),
    (MaxNorm(0.7, axis=-1), (5, 40)),
    (MaxNorm(0.0), (3, 2)),
    (MaxNorm(), (17,)),
    (UnitNorm(), (33, 17)),
    (UnitNorm(axis=[0, 1, 2]), (3, 3, 4, 6)),
    (UnitNorm(axis=[0, 2]), (3, 5, 4)),
    (UnitNorm(axis=1), (3, 5, 4)),
    (MinMaxNorm(2.0, 3.0, rate=0.4, axis=1), (5, 4)),
    (MinMaxNorm(axis=(0, 1)), (5, 4)),
]
ids = [f"{type(c).__name__} {c.get_config()}" for c, _ in BUILT_IN]


def variable_of(shape: tuple[int, ...], constraint: Any) -> Variable:
    return Variable(shape, Zeros(), name="kernel", constraint=constraint)


@pytest.mark.parametrize(("constraint", "shape"), BUILT_IN, ids=ids)
def test_values_are_keras_formulas_called_and_in_training(constraint: Any, shape: tuple[int, ...]) -> None:
    w = RNG.normal(size=shape).astype(np.float32)
    wanted = expected(constraint, w)
    np.testing.assert_allclose(constraint(w), wanted, rtol=2e-6, atol=1e-7)
    flat = np.concatenate([np.ones(16), w.reshape(-1), np.ones(16)]).astype(np.float32)
    before, end = fingerprint(flat, 0), 16 + w.size
    change = 0
    scalars = np.zeros(NUM_SCALARS)
    for call in constraining.bind_constraint(variable_of(shape, constraint), flat, scalars, 16, end):
        change += int(call() or 0)  # type: ignore[call-overload]
    np.testing.assert_allclose(flat[16:end].reshape(shape), wanted, rtol=1e-6, atol=1e-7)
    assert (flat[:16] == 1).all() and (flat[end:] == 1).all()
    assert (int(before) + change) % 2**64 == int(fingerprint(flat, 0))


def test_nan_is_not_hidden() -> None:
    flat = np.array([np.nan, -1.0, 2.0], np.float32)
    for call in constraining.bind_constraint(variable_of((3,), NonNeg()), flat, np.zeros(NUM_SCALARS), 0, 3):
        call()
    np.testing.assert_array_equal(flat, [np.nan, 0.0, 2.0])


@pytest.mark.parametrize(("constraint", "shape"), BUILT_IN, ids=ids)
def test_config_round_trip(constraint: Any, shape: tuple[int, ...]) -> None:
    again = constraints.get(json.loads(json.dumps(constraints.serialize(constraint))))
    assert type(again) is type(constraint)
    assert constraints.serialize(again) == constraints.serialize(constraint)


def test_get() -> None:
    assert constraints.get(None) is None and constraints.serialize(None) is None
    made = MaxNorm(3)
    assert constraints.get(made) is made
    assert isinstance(constraints.get(UnitNorm), UnitNorm)
    assert constraints.get(halved) is halved
    for name, kind in (
        ("max_norm", MaxNorm),
        ("MaxNorm", MaxNorm),
        ("non_neg", NonNeg),
        ("unit_norm", UnitNorm),
        ("min_max_norm", MinMaxNorm),
    ):
        assert type(constraints.get(name)) is kind
    assert (constraints.max_norm, constraints.non_neg) == (MaxNorm, NonNeg)
    assert MaxNorm().get_config() == {"max_value": 2, "axis": 0}
    assert MinMaxNorm().get_config() == {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0}
    assert (Constraint()(made), Constraint.from_config({}).get_config()) == (made, {})


def test_numbers_of_numpy_are_numbers() -> None:
    made = MinMaxNorm(np.float32(0.5), np.int64(2), np.float64(0.25), axis=np.int64(1))
    assert made.get_config() == MinMaxNorm(0.5, 2.0, 0.25, axis=1).get_config()
    assert MaxNorm(np.float32(2), axis=[np.int32(0), 1]).get_config() == {"max_value": 2.0, "axis": [0, 1]}
    for constraint in (made, UnitNorm(axis=(np.uint8(0), np.int64(1)))):
        w = RNG.normal(size=(5, 4)).astype(np.float32)
        np.testing.assert_allclose(constraint(w), expected(constraint, w), rtol=2e-6, atol=1e-7)
        assert json.loads(json.dumps(constraint.get_config())) == constraint.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constraints.get("maxnorm"), "Could not interpret constraint identifier: maxnorm.*MaxNorm"),
        (lambda: constraints.get(3), "Could not interpret constraint identifier: 3"),
        (lambda: MaxNorm(-1), "`max_value` must be a non-negative number. Received: max_value=-1"),
        (lambda: MaxNorm(np.float32(np.nan)), "`max_value` must be a non-negative number"),
        (lambda: MaxNorm(True), "`max_value` must be a non-negative number. Received: max_value=True"),
        (lambda: MaxNorm(axis=[0, True]), "`axis` must be an axis of the weight, or several"),
        (lambda: MaxNorm(axis=[]), "`axis` must be an axis of the weight, or several"),
        (lambda: MaxNorm(axis="rows"), "`axis` must be an axis of the weight"),  # type: ignore[arg-type]
        (lambda: MinMaxNorm(2, 1), "`min_value` must not be above `max_value`"),
        (lambda: MinMaxNorm(rate=1.5), "`rate` must be between 0 and 1. Received: rate=1.5"),
        (
            lambda: Sequential([Input((3,)), Dense(2, kernel_constraint=MaxNorm(axis=2))]).build((None, 3)),
            r"MaxNorm takes norms along axis 2, which a weight of shape \(3, 2\) does not have",
        ),
        (lambda: constraints.serialize(lambda w: w), "the constraint <lambda> is your own and has no name"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# Layers

TAKERS: list[tuple[str, dict[str, Any], tuple[int, ...], dict[str, str]]] = [
    ("Dense", {"units": 3}, (4,), {"kernel": "kernel", "bias": "bias"}),
    (
        "EinsumDense",
        {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"},
        (4,),
        {"kernel": "kernel"},
    ),
    ("Conv1D", {"filters": 2, "kernel_size": 3}, (5, 2), {"kernel": "kernel", "bias": "bias"}),
    ("Conv2D", {"filters": 2, "kernel_size": 2}, (4, 4, 2), {"kernel": "kernel"}),
    ("Conv3D", {"filters": 2, "kernel_size": 2}, (3, 3, 3, 1), {"kernel": "kernel"}),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 2}, (4, 2), {"kernel": "kernel"}),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 2}, (3, 3, 2), {"kernel": "kernel", "bias": "bias"}),
    ("Conv3DTranspose", {"filters": 1, "kernel_size": 2}, (2, 2, 2, 1), {"kernel": "kernel"}),
    ("DepthwiseConv1D", {"kernel_size": 2}, (4, 2), {"depthwise": "kernel"}),
    ("DepthwiseConv2D", {"kernel_size": 2}, (3, 3, 2), {"depthwise": "kernel", "bias": "bias"}),
    (
        "SeparableConv1D",
        {"filters": 2, "kernel_size": 2},
        (4, 2),
        {"depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel"},
    ),
    (
        "SeparableConv2D",
        {"filters": 2, "kernel_size": 2},
        (3, 3, 2),
        {"depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel", "bias": "bias"},
    ),
    ("BatchNormalization", {}, (4,), {"gamma": "gamma", "beta": "beta"}),
    ("LayerNormalization", {}, (4,), {"gamma": "gamma", "beta": "beta"}),
    ("GroupNormalization", {"groups": 2}, (4,), {"gamma": "gamma", "beta": "beta"}),
    ("PReLU", {}, (4,), {"alpha": "alpha"}),
    ("SimpleRNN", {"units": 3}, (4, 2), {"kernel": "kernel", "recurrent": "recurrent_kernel"}),
    ("LSTM", {"units": 3}, (4, 2), {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}),
    ("GRU", {"units": 3}, (4, 2), {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}),
    (
        "ConvLSTM2D",
        {"filters": 2, "kernel_size": 2},
        (2, 3, 3, 1),
        {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"},
    ),
]


@pytest.mark.filterwarnings("ignore:BatchNormalization")
@pytest.mark.parametrize(("name", "config", "shape", "places"), TAKERS, ids=[row[0] for row in TAKERS])
def test_every_layer_that_takes_constraints_holds_to_them(
    name: str, config: dict[str, Any], shape: tuple[int, ...], places: dict[str, str]
) -> None:
    given = {f"{place}_constraint": NonNeg() for place in places}
    layer = layers.get_class(name)(**config, **given)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, *shape)), rng.normal(size=(8, 1))
    with Sequential([Input(shape), layer, layers.Flatten(), Dense(1)]) as model:
        model.compile(SGD(0.3), "mse")
        model.fit(x, y, batch_size=8, verbose=0, seed=1)
        found = {v.name: v.numpy() for v in layer.variables if v.constraint is not None}
    assert sorted(found) == sorted(places.values())
    assert all((array >= 0).all() for array in found.values())
    assert any((array == 0).any() for array in found.values()), "something was held back"
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    assert again.get_config() == layer.get_config()
    for place in places:
        assert layer.get_config()[f"{place}_constraint"]["class_name"] == "NonNeg"


def test_layers_of_several_parts_hand_constraints_on() -> None:
    embedding = layers.Embedding(5, 4, embeddings_constraint=UnitNorm(axis=1))
    attention = layers.MultiHeadAttention(2, 3, kernel_constraint="max_norm", bias_constraint="non_neg")
    both = layers.Bidirectional(layers.GRU(3, recurrent_constraint=MaxNorm(0.5)))
    tokens = RNG.integers(0, 5, size=(12, 6))
    inputs = Input((6,))
    x = embedding(inputs)
    with Model(inputs, Dense(1)(both(attention(x, x)))) as model:
        model.compile("adam", "mse")
        model.fit(tokens, RNG.normal(size=(12, 1)), verbose=0, seed=1)
        held = [v for v in model.variables if v.constraint is not None]
        assert len(held) == 1 + 8 + 2
        np.testing.assert_allclose(np.linalg.norm(embedding.embeddings.numpy(), axis=1), 1.0, rtol=1e-5)
        for half in (both.forward_layer, both.backward_layer):
            norms = np.linalg.norm(half.cell.recurrent_kernel.numpy(), axis=0)
            assert norms.max() <= 0.5 + 1e-5


# Training


def constrained(optimizer: Any = Adam) -> Sequential:
    model = Sequential(
        [
            Input((6,)),
            Dense(60, "relu", kernel_constraint=MaxNorm(0.9), kernel_regularizer="l2"),
            Dense(40, "tanh", kernel_constraint=UnitNorm(), bias_constraint="non_neg"),
            Dense(20, "tanh", kernel_constraint=Rounded()),
            Dense(3, "softmax", kernel_constraint=MinMaxNorm(0.5, 1.0, 0.3, axis=1)),
        ]
    )
    model.compile(optimizer(), "sparse_categorical_crossentropy")
    return model


def test_what_training_leaves_satisfies_the_constraints() -> None:
    with constrained() as model:
        model.fit(*classification(53), batch_size=16, epochs=2, verbose=0, seed=1)
        first, second, third, _ = (layer.kernel.numpy() for layer in model.layers)  # type: ignore[attr-defined]
        assert np.linalg.norm(first, axis=0).max() <= 0.9 + 1e-6
        np.testing.assert_allclose(np.linalg.norm(second, axis=0), 1.0, rtol=1e-5)
        assert (model.layers[1].bias.numpy() >= 0).all()  # type: ignore[attr-defined]
        np.testing.assert_array_equal(third, np.round(third * 8) / 8)


def test_a_step_is_the_unconstrained_one_held_to_the_constraint() -> None:
    x, y = classification(16)

    def trained(constraint: Any) -> tuple[Array, Array]:
        with Sequential([Input((6,)), Dense(3, kernel_constraint=constraint)]) as model:
            model.compile(SGD(0.5), "mse")
            model.fit(x, np.eye(3)[y], batch_size=16, verbose=0, seed=1)
            kernel, bias = model.get_weights()
            return kernel, bias

    kernel, bias = trained(MaxNorm(0.4))
    free, same = trained(None)
    np.testing.assert_array_equal(bias, same)
    np.testing.assert_allclose(kernel, expected(MaxNorm(0.4), free), rtol=1e-6)


PLACES: list[dict[str, Any]] = [
    {"backend": "threads", "workers": 1},
    {"backend": "threads", "workers": 3},
    {"backend": "local", "workers": 2},
]


@pytest.mark.parametrize("optimizer", [Adam, lambda: SGD(0.1, global_clipnorm=0.1)], ids=["adam", "clipped"])
def test_constrained_trainings_give_the_same_bytes_anywhere(optimizer: Any) -> None:
    data, options = classification(53), {"batch_size": 16, "epochs": 2, "shards": 4}
    first = train(lambda: constrained(optimizer), *data, **options)
    for place in PLACES:
        assert train(lambda: constrained(optimizer), *data, **options, **place) == first

    def eager() -> Sequential:
        model = constrained(optimizer)
        model._compiled["run_eagerly"] = True  # type: ignore[index]
        return model

    assert train(eager, *data, **options) == first


def test_the_fingerprint_is_that_of_the_weights_that_are_there() -> None:
    recorder = MemoryRecorder()
    model = constrained(lambda: SGD(0.1))
    model.fit(*classification(32), batch_size=16, shards=2, seed=1, verbose=0, recorder=recorder)
    flat = model.flat_weights(WeightLayout(model.variables, model.trainable_variables))
    assert recorder.fingerprints[max(recorder.fingerprints)] == int(fingerprint(flat, 0))
    model.close()


def test_saved_models_keep_their_constraints(tmp_path: Path) -> None:
    model = Sequential([Input((6,)), Dense(4, kernel_constraint=MaxNorm(0.3)), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.ensure_initialized(1)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    again.fit(*classification(16), verbose=0, seed=1)
    kernel = again.layers[0].kernel  # type: ignore[attr-defined]
    assert kernel.constraint.get_config() == {"max_value": 0.3, "axis": 0}
    assert np.linalg.norm(kernel.numpy(), axis=0).max() <= 0.3 + 1e-6


def test_constraints_of_ones_own_are_described() -> None:
    given = {"Rounded": Rounded, "halved": halved}
    for constraint in (Rounded(), halved):
        layer = Dense(3, kernel_constraint=constraint)
        again: Any = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))), given)
        assert type(again.kernel_constraint) is type(constraint)


def test_a_frozen_weight_is_left_alone() -> None:
    frozen = Dense(4, kernel_constraint=MaxNorm(0.01), trainable=False)
    with Sequential([Input((6,)), frozen, Dense(3, "softmax")]) as model:
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(*classification(16), verbose=0, seed=1)
        assert np.linalg.norm(frozen.kernel.numpy(), axis=0).max() > 0.1


def test_own_weights_take_constraints() -> None:
    class Scaled(Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight((input_shape[-1],), "ones", constraint=halved, name="scale")

        def call(self, inputs: Any) -> Any:
            return inputs * self.scale

    layer = Scaled()
    with Sequential([Input((6,)), layer, Dense(3, "softmax")]) as model:
        model.compile(SGD(0.0), "sparse_categorical_crossentropy")
        model.fit(*classification(16), batch_size=8, verbose=0, seed=1)
        np.testing.assert_array_equal(layer.scale.numpy(), np.full(6, 0.25, np.float32))


def test_a_constraint_that_changes_the_shape_is_named() -> None:
    with Sequential([Input((6,)), Dense(3, kernel_constraint=lambda w: w[:2])]) as model:
        model.compile("sgd", "mse")
        with pytest.raises(
            ValueError, match=r"must keep its shape \(6, 3\). Received: an array of shape \(2, 3\)"
        ):
            model.fit(np.ones((4, 6)), np.ones((4, 3)), verbose=0)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(constraints).failed == 0
