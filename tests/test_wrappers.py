"""Layers around layers: Wrapper, SpectralNormalization; and what `input_spec` checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import Array, regression, train

from distnn import layers, ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.layers import Conv2D, Dense, Embedding, Input, InputSpec, Layer, SpectralNormalization, Wrapper
from distnn.models import Model, Sequential, load_model
from distnn.saving import register_keras_serializable
from distnn.tensor import Spec

X, Y = regression(23)


@register_keras_serializable()
class Doubled(Wrapper):
    """Twice what its layer gives."""

    def call(self, inputs: Any) -> Any:
        return self.layer(inputs) * 2.0


def test_a_wrapper_of_ones_own_holds_and_saves_its_layer(tmp_path: Path) -> None:
    model = Sequential([Input((6,)), Doubled(Dense(3, name="inner"))])
    model.ensure_initialized(1)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict(X), 2 * (X @ kernel + bias), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.layers[0].layer.name == "inner"
    with pytest.raises(ValueError, match="Layer dense supplied to Doubled isn't a supported layer type"):
        Doubled("dense")


# Spectral normalisation


def expected(kernel: Array, u: Array, power_iterations: int) -> tuple[Array, Array]:
    """The kernel divided, and the new vector, by the book."""
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    u = u[0].astype(np.float64)
    for _ in range(power_iterations):
        v = matrix @ u
        v = v / np.linalg.norm(v)
        u = v @ matrix
        u = u / np.linalg.norm(u)
    return kernel / (v @ matrix @ u), u[None]


WRAPPED: list[tuple[Callable[[], Layer], Array]] = [
    (lambda: Dense(3, use_bias=False), X),
    (lambda: Conv2D(2, 2), np.random.default_rng(1).normal(size=(4, 3, 3, 2)).astype(np.float32)),
    (lambda: Embedding(7, 4), np.random.default_rng(2).integers(0, 7, (5, 3)).astype(np.int32)),
]


@pytest.mark.parametrize(("make", "x"), WRAPPED, ids=["dense", "convolution", "embedding"])
@pytest.mark.parametrize("power_iterations", [1, 4])
def test_spectral_normalization_divides_by_the_largest_singular_value(
    make: Callable[[], Any], x: Array, power_iterations: int
) -> None:
    layer = SpectralNormalization(make(), power_iterations)
    layer(x)
    kernel, u = (variable.numpy() for variable in layer.weights[:2])
    divided, after = expected(kernel, u, power_iterations)
    plain = make()
    plain(x)
    plain.set_weights([divided, *(variable.numpy() for variable in layer.weights[2:])])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.vector_u.numpy(), u)
    np.testing.assert_allclose(layer(x, training=True), plain(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.vector_u.numpy(), after, rtol=1e-4, atol=1e-6)
    for _ in range(60):
        layer(x, training=True)
    largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0]
    plain.set_weights([kernel / largest, *(variable.numpy() for variable in layer.weights[2:])])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-3, atol=1e-4)


def test_spectral_normalization_of_zeros_stays_zero() -> None:
    layer = SpectralNormalization(Dense(3, kernel_initializer="zeros"))
    before = layer(X) is not None and layer.vector_u.numpy()
    np.testing.assert_array_equal(layer(X, training=True), 0)
    np.testing.assert_array_equal(layer.vector_u.numpy(), before)


def test_the_gradient_takes_the_vectors_for_constants() -> None:
    """Once they stand, that is the gradient of the quotient itself."""
    layer = SpectralNormalization(Dense(3, use_bias=False), power_iterations=60)
    x = np.random.default_rng(3).normal(size=(4, 3))
    layer(x)
    values = {v: v.numpy().astype(np.float64) for v in layer.variables}
    values[layer.kernel] = np.diag([3.0, 1.5, 1.0]) + 0.1 * np.arange(9).reshape(3, 3)
    seed = np.random.default_rng(4).normal(size=(4, 3))

    def run(want_gradients: bool) -> Any:
        graph = Graph(samples=4, eager=True, dtype=np.float64, training=True)
        graph.variable_value = lambda variable: values[variable]
        leaf = graph.add_input("x", Spec(x.shape), x)
        with recording(graph):
            output = layer(leaf)
            wanted = [leaf, graph.variable(layer.kernel)]
        if not want_gradients:
            return float((output.numpy() * seed).sum())
        return [found.numpy() for found in gradients(graph, [(output, graph.constant(seed))], wanted)]

    for array, found in zip((x, values[layer.kernel]), run(True), strict=True):
        numeric = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept, totals = array[index], []
            for sign in (1, -1):
                array[index] = kept + sign * 1e-6
                totals.append(run(False))
            array[index] = kept
            numeric[index] = (totals[0] - totals[1]) / 2e-6
        np.testing.assert_allclose(found, numeric, rtol=1e-6, atol=1e-8)


def normalized(**options: Any) -> Model:
    model = Sequential([Input((6,)), SpectralNormalization(Dense(5, "tanh")), Dense(1)])
    model.compile("adam", "mse", **options)
    return model


def test_spectral_normalization_leaves_the_same_bytes_anywhere() -> None:
    options: dict[str, Any] = {"batch_size": 10, "epochs": 2, "shards": 4}
    reference = train(normalized, X, Y, **options)
    for backend, workers in (("local", 2), ("threads", 1), ("threads", 2), ("threads", 3)):
        assert train(normalized, X, Y, backend=backend, workers=workers, **options) == reference
    assert train(lambda: normalized(run_eagerly=True), X, Y, **options) == reference


def test_spectral_normalization_is_saved_with_its_vector(tmp_path: Path) -> None:
    model = normalized()
    model.fit(X, Y, epochs=2, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.get_config() == model.get_config()
    assert [v.path.split("/")[-1] for v in again.layers[0].weights] == ["kernel", "vector_u", "bias"]
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    model.layers[0].trainable = False
    assert len(model.trainable_variables) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralNormalization(Dense(3), 0), "`power_iterations` should be greater than zero"),
        (
            lambda: SpectralNormalization(layers.Dropout(0.1))(X),
            "Dropout object has no attribute 'kernel' nor 'embeddings'",
        ),
        (lambda: SpectralNormalization("dense"), "supplied to SpectralNormalization isn't a supported"),
    ],
)
def test_mistakes_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# What a layer says about its inputs


class Checked(Layer):
    def __init__(self, input_spec: Any) -> None:
        super().__init__(name="checked")
        self.input_spec = input_spec

    def call(self, inputs: Any) -> Any:
        parts = inputs.values() if isinstance(inputs, dict) else inputs
        return ops.add(*parts) if isinstance(inputs, list | dict) else inputs


BEGIN = "Input 0 with name 'None' of layer 'checked' is incompatible with the layer: "
AXES = InputSpec(axes={-1: 4})
TWO = [InputSpec(name="a"), InputSpec(name="b")]
REFUSED: list[tuple[Any, Any, str]] = [
    (InputSpec(ndim=3), (2, 4), BEGIN + r"expected ndim=3, found ndim=2. Full shape received: \(.*, 4\)"),
    (InputSpec(max_ndim=1), (2, 4), BEGIN + "expected max_ndim=1, found ndim=2"),
    (InputSpec(min_ndim=3), (2, 4), BEGIN + "expected min_ndim=3, found ndim=2. Full shape received"),
    (InputSpec(dtype="int32"), (2, 4), BEGIN + "expected dtype=int32, found dtype=float32"),
    (AXES, (2, 3), BEGIN + "expected axis -1 of input shape to have value 4, but received input with shape"),
    (InputSpec(shape=(None, 3)), (2, 4), BEGIN + r"expected shape=\(None, 3\), found shape=\(.*, 4\)"),
    ([AXES, AXES], (2, 4), r'Layer "checked" expects 2 input\(s\), but it received 1 input tensors'),
    (
        TWO,
        (2, 4),
        r"expects 2 named input\(s\) with keys \['a', 'b'\], but it received 1 input tensors. Pass",
    ),
]


@pytest.mark.parametrize(("spec", "shape", "message"), REFUSED, ids=[m for _, _, m in REFUSED])
@pytest.mark.parametrize("place", ["arrays", "models"])
def test_inputs_that_are_not_what_the_layer_says_are_refused(
    spec: Any, shape: tuple[int, ...], message: str, place: str
) -> None:
    x = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=message):
        Checked(spec)(x) if place == "arrays" else Checked(spec)(Input(shape[1:]))


def test_inputs_that_are_what_the_layer_says_pass() -> None:
    x = np.ones((2, 4), np.float32)
    for spec in (
        AXES,
        InputSpec(ndim=2),
        InputSpec(shape=(None, 4, 1), allow_last_axis_squeeze=True),
        [None],
    ):
        np.testing.assert_array_equal(Checked(spec)(x), x)
    a, b = Input((4,)), Input((4,))
    model = Model([a, b], Checked(TWO)({"a": a, "b": b}))
    np.testing.assert_array_equal(model.predict([x, x]), 2 * x)
    with pytest.raises(ValueError, match='Missing data for input "b"'):
        Checked(TWO)({"a": a})


def test_input_specs_are_described() -> None:
    spec = InputSpec(min_ndim=2, axes={-1: 4})
    assert repr(spec) == "InputSpec(min_ndim=2, axes={-1: 4})"
    config = spec.get_config()
    assert json.loads(json.dumps(config))["min_ndim"] == 2
    assert InputSpec.from_config(config).get_config() == config
    with pytest.raises(TypeError, match="`axes` must be a dict with integer keys"):
        InputSpec(axes={"last": 3})
    with pytest.raises(ValueError, match="Axis 2 is greater than the maximum allowed value: 1"):
        InputSpec(ndim=2, axes={2: 3})
