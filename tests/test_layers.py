"""Every layer through one table: shapes, config, saving, gradient, the same bytes eager and compiled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_layers import ROWS as IMAGE_ROWS
from more_layer_cases import CALLED_ON_LISTS, MORE_CASES
from trainings import Array, train

from distnn import activations, layers
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.layers import Dense, Flatten, Input, Layer
from distnn.models import Sequential, load_model
from distnn.tensor import Spec

STEP = 1e-6


@dataclass(frozen=True)
class Case:
    """One layer and what it must do with samples of `inputs`."""

    layer: str
    config: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def make(self) -> Layer:
        return layers.get_class(self.layer)(**self.config)

    def __str__(self) -> str:
        return f"{self.layer}({', '.join(f'{k}={v}' for k, v in self.config.items())}){self.inputs}"


ALL_OF_DENSE = {
    "units": 2,
    "activation": "tanh",
    "use_bias": False,
    "kernel_initializer": "he_normal",
    "kernel_regularizer": "l2",
    "name": "named",
}
PLAIN_ACTIVATIONS = sorted(set(activations.names()) - {"glu", "sparsemax"})
"""Without sparsemax, which has kinks at the values that samples have here."""
NORMALIZED = {"beta_initializer": "random_normal", "gamma_initializer": "random_normal"}

UNROLLED = {"units": 2, "recurrent_activation": "softplus", "dropout": 0.2, "recurrent_dropout": 0.3}
ELSEWHERE = {"Embedding", "Bidirectional", "TimeDistributed", "RNN", "SpectralNormalization", "Wrapper"} | {
    "LSTMCell",
    "GRUCell",
    "SimpleRNNCell",
    "StackedRNNCells",
}
"""Layers that take integers, layers or states: see `test_recurrent.py` and `test_wrappers.py`."""

CASES = [
    Case("Dense", {"units": 3}, (4,), (3,)),
    Case("Dense", {"units": 3, "activation": "relu"}, (4,), (3,)),
    Case("Dense", ALL_OF_DENSE, (2, 4), (2, 2)),
    Case("Dense", {"units": 3, "activation": "softmax", "bias_regularizer": "l1"}, (2, 3, 4), (2, 3, 3)),
    *(Case("Activation", {"activation": name}, (5,), (5,)) for name in PLAIN_ACTIVATIONS),
    Case("Activation", {"activation": "glu"}, (2, 6), (2, 3)),
    Case("Dropout", {"rate": 0.4}, (5,), (5,)),
    Case("Dropout", {"rate": 0.4, "seed": 7}, (2, 3), (2, 3)),
    Case("Dropout", {"rate": 0}, (5,), (5,)),
    Case("Flatten", {}, (2, 3, 4), (24,)),
    Case("Flatten", {}, (), (1,)),
    Case("Reshape", {"target_shape": (3, 2)}, (6,), (3, 2)),
    Case("Reshape", {"target_shape": (2, -1)}, (3, 4), (2, 6)),
    Case("BatchNormalization", {}, (3,), (3,)),
    Case("BatchNormalization", {**NORMALIZED, "momentum": 0.5, "epsilon": 0.1}, (2, 3), (2, 3)),
    Case("BatchNormalization", {"center": False, "scale": False}, (3,), (3,)),
    Case("LayerNormalization", {}, (4,), (4,)),
    Case("LayerNormalization", {**NORMALIZED, "epsilon": 0.1, "beta_regularizer": "l2"}, (2, 4), (2, 4)),
    Case("LayerNormalization", {"center": False, "scale": False}, (4,), (4,)),
    Case("Rescaling", {"scale": 0.5, "offset": [1.0, 2.0, 3.0]}, (2, 3), (2, 3)),
    Case("Normalization", {"mean": [1.0, 2.0, 3.0], "variance": [4.0, 1.0, 9.0]}, (2, 3), (2, 3)),
    Case("Normalization", {"axis": None, "mean": 0.5, "variance": 4.0, "invert": True}, (3,), (3,)),
    Case("Resizing", {"height": 3, "width": 2}, (4, 5, 2), (3, 2, 2)),
    Case("Resizing", {"height": 6, "width": 4, "crop_to_aspect_ratio": True}, (3, 3, 1), (6, 4, 1)),
    Case("AutoContrast", {"value_range": [-1.0, 1.0]}, (2, 3, 2), (2, 3, 2)),
    Case("CenterCrop", {"height": 2, "width": 3}, (4, 4, 2), (2, 3, 2)),
    Case("CenterCrop", {"height": 2, "width": 4}, (4, 3, 1), (2, 4, 1)),
    Case("InputLayer", {"shape": (2, 3)}, (2, 3), (2, 3)),
    *(Case(*row) for row in IMAGE_ROWS),
    Case("Masking", {"mask_value": 0.5}, (3, 2), (3, 2)),
    Case("RepeatVector", {"n": 3}, (2,), (3, 2)),
    Case("SimpleRNN", {"units": 3}, (4, 2), (3,)),
    Case("SimpleRNN", {"units": 2, "activation": "linear", "return_sequences": True}, (3, 2), (3, 2)),
    Case("LSTM", {"units": 3, "dropout": 0.3, "go_backwards": True}, (4, 2), (3,)),
    Case("LSTM", {**UNROLLED, "unit_forget_bias": False, "return_sequences": True}, (3, 2), (3, 2)),
    Case("GRU", {"units": 3, "return_sequences": True, "use_bias": False}, (4, 2), (4, 3)),
    Case("GRU", {**UNROLLED, "reset_after": False, "kernel_regularizer": "l2"}, (3, 2), (2,)),
    Case("BatchNormalization", {"axis": 1}, (3, 2), (3, 2)),
    Case("LayerNormalization", {**NORMALIZED, "axis": (1, 2)}, (3, 2), (3, 2)),
    Case("LayerNormalization", {**NORMALIZED, "axis": 1}, (3, 2), (3, 2)),
    *(Case(*given) for given in MORE_CASES),
]
NOT_DIFFERENTIABLE = {
    "CategoryEncoding",
    "Discretization",
    "HashedCrossing",
    "Hashing",
    "IntegerLookup",
    "RandomBrightness",
    "RandomColorJitter",
    "RandomContrast",
    "RandomCrop",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomRotation",
    "RandomSaturation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "Solarization",
    "StringLookup",
    "TextVectorization",
}
"""Layers whose inputs are no reals, and random changes of images; they have tests of their own."""
NOT_SMALL = 8
"""Samples in a batch of these tests."""


def samples_of(case: Case, samples: int = NOT_SMALL) -> Array:
    """Values at least 0.02 apart from each other and from 0, so that no kink lies within a step."""
    rng = np.random.default_rng(sum(map(ord, str(case))))
    size = samples * int(np.prod(case.inputs))
    spread = (rng.permutation(size) - size // 2 + 0.5) * max(0.04, 2.0 / size)
    return spread.reshape(samples, *case.inputs)


def model_with(case: Case) -> Sequential:
    """The layer at the beginning of a model."""
    layer = case.make()
    if isinstance(layer, layers.InputLayer):
        return Sequential([layer, layers.Activation("linear")])
    return Sequential([Input(case.inputs), layer])


def test_every_layer_is_in_the_table() -> None:
    public = {
        value.__name__  # some have other names as well
        for value in vars(layers).values()
        if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
    }
    tested = {case.layer for case in CASES} | NOT_DIFFERENTIABLE | ELSEWHERE | CALLED_ON_LISTS
    assert public == tested, "every layer needs a case"
    assert public <= set(layers.names()), "every layer must be found by its name"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_shapes(case: Case) -> None:
    model = model_with(case)
    assert model.output_shape == (None, *case.outputs)
    assert case.make().compute_output_shape((None, *case.inputs)) == (None, *case.outputs)
    x = samples_of(case)
    assert model.predict(x).shape == (len(x), *case.outputs)
    assert case.make()(x.astype(np.float32)).shape == (len(x), *case.outputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_config_is_kept(case: Case) -> None:
    layer = case.make()
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert layers.deserialize(layers.serialize(layer)).get_config() == layer.get_config()
    for name, value in case.config.items():
        if isinstance(value, bool | int | float) or name == "name":
            kept = config[name]
            assert kept == ([value] * len(kept) if isinstance(kept, list) else value)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_saved_and_loaded_it_predicts_the_same(case: Case, tmp_path: Path) -> None:
    model, x = model_with(case), samples_of(case)
    model.ensure_initialized(3)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


@dataclass
class InDouble:
    """A built layer on float64 values, forward and backward, with noise that stays."""

    layer: Layer
    weights: dict[Any, Array] = field(default_factory=dict)

    def run(self, x: Array, seed: Array | None = None) -> tuple[Array, list[Array | None]]:
        """The output, and the gradient of sum(seed * output) by the input and each trainable weight."""
        graph = Graph(samples=len(x), eager=True, dtype=np.float64, training=True)
        graph.variable_value = lambda variable: self.weights[variable]
        graph.control[:4] = (12345, 3, 1, len(x))
        leaf = graph.add_input("x", Spec(x.shape), np.ascontiguousarray(x))
        with recording(graph):
            output = self.layer(leaf)
            leaves = [leaf, *(graph.variable(v) for v in self.layer.trainable_variables)]
        if seed is None:
            return output.numpy(), []
        found = gradients(graph, [(output, graph.constant(seed))], leaves)
        return output.numpy(), [None if tensor is None else tensor.numpy() for tensor in found]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradient_agrees_with_finite_differences(case: Case) -> None:
    x = samples_of(case, 4)
    layer = case.make()
    layer(x.astype(np.float32))
    double = InDouble(layer, {v: v.numpy().astype(np.float64) for v in layer.variables})
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        double.weights[variable] += 0.1 * rng.normal(size=variable.shape)
    seed = rng.normal(size=double.run(x)[0].shape)
    _, found = double.run(x, seed)
    places = [x, *(double.weights[variable] for variable in layer.trainable_variables)]
    for values, gradient in zip(places, found, strict=True):
        assert gradient is not None
        expected = np.zeros_like(values)
        for index in np.ndindex(values.shape):
            kept, totals = values[index], []
            for sign in (1, -1):
                values[index] = kept + sign * STEP
                totals.append(float((double.run(x)[0] * seed).sum()))
            values[index] = kept
            expected[index] = (totals[0] - totals[1]) / (2 * STEP)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=2e-8)


@pytest.mark.filterwarnings("ignore:BatchNormalization", "ignore:.*destroy the mask information")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_eager_and_compiled_leave_the_same_bytes(case: Case) -> None:
    def make(run_eagerly: bool = False) -> Sequential:
        model = Sequential([Input(case.inputs), Flatten(), Dense(int(np.prod(case.inputs)))])
        tested = [] if case.layer == "InputLayer" else [case.make()]
        for layer in (layers.Reshape(case.inputs), *tested, Flatten(), Dense(1)):
            model.add(layer)
        model.compile("sgd", "mse", run_eagerly=run_eagerly)
        return model

    x = samples_of(case)
    y = np.random.default_rng(0).normal(size=(len(x), 1))
    options: dict[str, Any] = {"batch_size": 5, "shards": 2, "epochs": 2}
    compiled = train(make, x, y, **options)
    assert train(lambda: make(True), x, y, **options) == compiled
    assert train(make, x, y, **options, backend="threads", workers=2) == compiled


# Messages


def called(layer: Layer, *shape: int) -> Any:
    return layer(np.zeros(shape, np.float32))


MESSAGES = [
    (
        lambda: Dense(0),
        "Received an invalid value for `units`, expected a positive integer. Received: units=0",
    ),
    (lambda: Dense(3, unit=3), r"Unrecognized keyword arguments passed to Dense: {'unit': 3}"),
    (lambda: Dense(3, activation="rellu"), "Could not interpret activation function identifier: rellu.*relu"),
    (lambda: Dense(3, kernel_initializer="glorot"), "Could not interpret initializer identifier: glorot"),
    (lambda: Dense(3, kernel_regularizer="l3"), "Could not interpret regularizer identifier: l3"),
    (lambda: Dense(3, dtype="float64"), "float32.*Received: dtype='float64'"),
    (lambda: Dense(3, name="a/b"), "`name` must be a non-empty string without '/'"),
    (
        lambda: called(Dense(3), 5),
        "Input 0 of layer 'dense' is incompatible with the layer: expected min_ndim=2, found ndim=1. "
        r"Full shape received: \(None,\)",
    ),
    (
        lambda: called(Sequential([Input((4,)), Dense(3)]), 2, 5),
        "Input 0 of layer 'dense' is incompatible with the layer: expected axis -1 of input shape to have "
        r"value 4, but received input with shape \(2, 5\)",
    ),
    (
        lambda: layers.Dropout(2),
        "Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
        "Received: rate=2",
    ),
    (
        lambda: called(layers.Reshape((3, 3)), 2, 4),
        r"The total size of the tensor must be unchanged. Received: input_shape=\(4,\), "
        r"target_shape=\(3, 3\)",
    ),
    (
        lambda: layers.Reshape((-1, -1)),
        r"There must be at most one unknown dimension \(-1\) in `target_shape`. "
        r"Received: target_shape=\(-1, -1\)",
    ),
    (lambda: layers.Reshape((0, 2)), r"Received: target_shape=\(0, 2\)"),
    (lambda: Input(4), "`shape` must be a tuple of positive integers without the batch axis"),
    (lambda: Input((-4,)), r"Received: shape=\(-4,\)"),
    (lambda: Input((4,), dtype="complex64"), "Received: dtype='complex64'"),
    (lambda: layers.BatchNormalization(synchronized=True), "synchronized=True.* not supported"),
    (lambda: layers.BatchNormalization(axis=(1, 2)), r"takes one axis. Received: axis=\(1, 2\)"),
    (lambda: layers.BatchNormalization(momentum=2), "`momentum` must be between 0 and 1"),
    (lambda: layers.LayerNormalization(epsilon=0), "`epsilon` must be a positive number"),
    (lambda: layers.LayerNormalization(axis=0), "behind the batch's. Received: axis=0"),
    (lambda: called(layers.LayerNormalization(axis=2), 2, 4), "axis 2 does not exist in inputs of 2 axes"),
    (lambda: layers.Activation("softmacks"), "Did you mean 'softmax'"),
    (lambda: layers.get_class("Dens"), "Unknown layer: 'Dens'. Did you mean 'Dense'"),
    (lambda: layers.Layer().count_params(), "You tried to call `count_params` on layer 'layer', but the"),
    (lambda: layers.Layer()(np.zeros((2, 2))), r"Layer must define `call\(self, inputs\)`"),
    (lambda: Dense(3)("text"), "must be called on tensors or arrays. Received: str"),
    (
        lambda: built(Dense(3), 4).set_weights([np.zeros((4, 3)), np.zeros(4)]),
        r"Layer dense weight shape \(3,\) is not compatible with provided weight shape \(4,\)",
    ),
    (
        lambda: built(Dense(3), 4).set_weights([np.zeros((4, 3))]),
        r"You called `set_weights\(weights\)` on layer 'dense' with a weight list of length 1, but the layer "
        "was expecting 2 weights",
    ),
]


def built(layer: Layer, *sample_shape: int) -> Layer:
    called(layer, 1, *sample_shape)
    return layer


@pytest.mark.parametrize("call, message", MESSAGES, ids=[message[:50] for _, message in MESSAGES])
def test_mistakes_are_named(call: Any, message: str) -> None:
    with pytest.raises((ValueError, NotImplementedError), match=message):
        call()


def test_weights_that_are_refused_change_nothing() -> None:
    layer = built(Dense(3), 4)
    before = layer.get_weights()
    with pytest.raises(ValueError):
        layer.set_weights([np.zeros((4, 3)), np.zeros(4)])
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Weights of users' layers


class Scale(Layer):
    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight((), name="factor")
        self.offset = self.add_weight((input_shape[-1],), "ones", name="offset", trainable=False)

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor + self.offset


def test_add_weight_begins_as_in_keras() -> None:
    """`glorot_uniform` where nothing is said, for scalars too."""
    layer = Scale()
    layer(np.zeros((2, 3), np.float32))
    factor, offset = layer.get_weights()
    assert factor.shape == () and 0 < abs(factor) <= np.sqrt(3)
    np.testing.assert_array_equal(offset, np.ones(3))
    assert [v.path for v in layer.trainable_variables] == ["factor"]
    assert [v.path for v in layer.non_trainable_variables] == ["offset"]


def test_freezing_reaches_the_layers_inside() -> None:
    inner = Sequential([Input((3,)), Dense(2), layers.BatchNormalization()])
    outer = Sequential([Input((3,)), inner, Dense(1)])
    inner.trainable = False
    assert not inner.layers[0].trainable and not inner.layers[1].trainable
    assert [v.name for v in outer.trainable_variables] == ["kernel", "bias"]
    inner.trainable = True
    assert len(outer.trainable_variables) == 6
