"""Layers of several inputs against NumPy: values, gradients, configs, models; and Lambda."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import Array, train

from distnn import layers, ops
from distnn.autodiff import gradients
from distnn.errors import CheckpointError
from distnn.graph import Graph, recording
from distnn.layers import Dense, Input, Layer
from distnn.models import Model, load_model
from distnn.tensor import Spec


def drawn(*shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape) for shape in shapes]


def cosine(x: Array, y: Array) -> Array:
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return ((x * y).sum(axis=1) / lengths)[:, None]


CASES: list[tuple[str, Callable[[], Layer], list[tuple[int, ...]], Callable[..., Array]]] = [
    ("add", layers.Add, [(4, 3), (4, 3), (4, 3)], lambda x, y, z: x + y + z),
    ("add one", layers.Add, [(4, 3)], lambda x: x),
    ("add broadcast", layers.Add, [(4, 1, 3), (4, 2, 3)], lambda x, y: x + y),
    ("add ranks", layers.Add, [(4, 3), (4, 2, 3)], lambda x, y: x[:, None] + y),
    ("subtract", layers.Subtract, [(4, 3), (4, 3)], lambda x, y: x - y),
    ("multiply", layers.Multiply, [(4, 3), (4, 3), (4, 3)], lambda x, y, z: x * y * z),
    ("average", layers.Average, [(4, 3), (4, 3), (4, 3)], lambda x, y, z: (x + y + z) / 3),
    ("maximum", layers.Maximum, [(4, 3), (4, 3)], np.maximum),
    ("minimum", layers.Minimum, [(4, 3), (4, 3)], np.minimum),
    ("concatenate", layers.Concatenate, [(4, 3), (4, 2)], lambda x, y: np.concatenate([x, y], 1)),
    (
        "concatenate along 1",
        lambda: layers.Concatenate(axis=1),
        [(4, 3, 2), (4, 1, 2)],
        lambda x, y: np.concatenate([x, y], 1),
    ),
    ("dot", lambda: layers.Dot(1), [(4, 3), (4, 3)], lambda x, y: (x * y).sum(1, keepdims=True)),
    ("dot normalized", lambda: layers.Dot(-1, normalize=True), [(4, 3), (4, 3)], cosine),
    (
        "dot of axes",
        lambda: layers.Dot((2, 1)),
        [(4, 3, 5), (4, 5, 2)],
        lambda x, y: np.einsum("bij,bjk->bik", x, y),
    ),
    (
        "dot of one axis",
        lambda: layers.Dot(1),
        [(4, 3, 5), (4, 3, 2)],
        lambda x, y: np.einsum("bji,bjk->bik", x, y),
    ),
]
IDS = [name for name, *_ in CASES]


@pytest.mark.parametrize(("name", "make", "shapes", "expected"), CASES, ids=IDS)
def test_values_are_numpys_on_arrays_and_in_models(
    name: str, make: Callable[[], Layer], shapes: list[tuple[int, ...]], expected: Callable[..., Array]
) -> None:
    arrays = drawn(*shapes)
    wanted = expected(*arrays)
    np.testing.assert_allclose(make()(arrays), wanted, rtol=1e-4, atol=1e-6)
    inputs = [Input(shape[1:]) for shape in shapes]
    model = Model(inputs, make()(inputs))
    assert model.output_shape == (None, *wanted.shape[1:])
    assert make().compute_output_shape([(None, *shape[1:]) for shape in shapes]) == model.output_shape
    given = arrays if len(arrays) > 1 else arrays[0]
    np.testing.assert_allclose(model.predict(given, verbose=0), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "make", "shapes", "expected"), CASES, ids=IDS)
def test_gradients_agree_with_finite_differences(
    name: str, make: Callable[[], Layer], shapes: list[tuple[int, ...]], expected: Callable[..., Array]
) -> None:
    arrays = drawn(*shapes)
    graph = Graph(samples=4, eager=True, dtype=np.float64, training=True)
    leaves = [graph.add_input(f"x{i}", Spec(a.shape), a) for i, a in enumerate(arrays)]
    with recording(graph):
        output = make()(leaves)
    seed = np.random.default_rng(1).normal(size=output.numpy().shape)
    found = gradients(graph, [(output, graph.constant(seed))], leaves)
    for place, array in enumerate(arrays):
        numeric = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            totals = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[place][index] += sign * 1e-6
                totals.append((expected(*moved) * seed).sum())
            numeric[index] = (totals[0] - totals[1]) / 2e-6
        gradient = found[place]
        assert gradient is not None
        np.testing.assert_allclose(gradient.numpy(), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "make", "shapes", "expected"), CASES, ids=IDS)
def test_configs_are_kept_and_models_saved(
    name: str,
    make: Callable[[], Layer],
    shapes: list[tuple[int, ...]],
    expected: Callable[..., Array],
    tmp_path: Path,
) -> None:
    layer = make()
    assert layers.deserialize(layers.serialize(layer)).get_config() == layer.get_config()
    inputs = [Input(shape[1:]) for shape in shapes]
    model = Model(inputs, layer(inputs))
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    arrays = drawn(*shapes)
    given = arrays if len(arrays) > 1 else arrays[0]
    np.testing.assert_array_equal(again.predict(given, verbose=0), model.predict(given, verbose=0))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_net_of_merges_leaves_the_same_bytes_anywhere(workers: int) -> None:
    def make(run_eagerly: bool = False) -> Model:
        x = Input((6,))
        parts = [Dense(4, "tanh")(x) for _ in range(3)]
        merged = layers.concatenate(
            [
                layers.add(parts),
                layers.subtract(parts[:2]),
                layers.multiply(parts),
                layers.average(parts),
                layers.maximum(parts),
                layers.minimum(parts),
                layers.dot(parts[:2], axes=1),
            ]
        )
        model = Model(x, Dense(1)(layers.Lambda(ops.tanh)(merged)))
        model.compile("sgd", "mse", run_eagerly=run_eagerly)
        return model

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(23, 6)), rng.normal(size=(23, 1))
    options: dict[str, Any] = {"batch_size": 9, "shards": 3, "epochs": 2}
    expected = train(make, x, y, **options)
    assert train(make, x, y, **options, backend="threads", workers=workers) == expected
    assert train(lambda: make(True), x, y, **options) == expected


def test_mistakes_of_merges_are_named() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="`Add` layer should be called on a list of inputs"):
        layers.Add()(x)
    with pytest.raises(ValueError, match="`Subtract` layer .* exactly 2 inputs. Received: 3"):
        layers.Subtract()([x, x, x])
    with pytest.raises(ValueError, match="could not be broadcast together"):
        layers.Multiply()([x, np.zeros((2, 4), np.float32)])
    with pytest.raises(ValueError, match="cannot concatenate along axis 1"):
        layers.Concatenate(axis=1)([np.zeros((2, 3, 4)), np.zeros((2, 3, 5))])
    with pytest.raises(ValueError, match="not the batch's"):
        layers.Concatenate(axis=0)
    with pytest.raises(ValueError, match="differ in size"):
        layers.Dot(1)([x, np.zeros((2, 4))])
    with pytest.raises(ValueError, match="`axes` must be an integer or a pair"):
        layers.Dot((1, 2, 3))


def test_masks_of_merges() -> None:
    """`compute_mask` of what their inputs have: all of them together, or one after the other."""
    graph = Graph(samples=2, eager=True)
    x, y = (graph.add_input(name, Spec((2, 3, 1)), np.zeros((2, 3, 1), np.float32)) for name in "xy")
    first, second = np.array([[1, 1, 0], [1, 1, 1]], bool), np.array([[1, 0, 1], [1, 1, 1]], bool)
    with recording(graph):
        masks = [graph.constant(first), graph.constant(second)]
        together = layers.Add().compute_mask([x, y], masks)
        assert layers.Add().compute_mask([x, y], [None, masks[1]]) is masks[1]
        assert layers.Add().compute_mask([x, y], [None, None]) is None
        behind = layers.Concatenate(axis=1).compute_mask([x, y], [None, masks[1]])
        beside = layers.Concatenate().compute_mask([x, y], masks)
        assert layers.Dot(1).compute_mask([x, y], masks) is None  # type: ignore[func-returns-value]
        assert layers.Attention().compute_mask([x, y], masks) is masks[0]
    np.testing.assert_array_equal(together.numpy(), first & second)
    np.testing.assert_array_equal(beside.numpy(), first & second)
    np.testing.assert_array_equal(behind.numpy(), np.concatenate([np.ones((2, 3), bool), second], axis=1))


# Lambda


def test_lambda_calls_its_function_with_its_arguments() -> None:
    def scaled(x: Any, factor: float, training: bool = False) -> Any:
        return x * (factor if training else 1.0)

    layer = layers.Lambda(scaled, arguments={"factor": 3.0})
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=True), 3 * x)


def test_lambda_is_refused_in_a_saved_file_by_name(tmp_path: Path) -> None:
    x = Input((3,))
    model = Model(x, layers.Lambda(ops.square, name="squares")(x))
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="'squares' is a Lambda: its function cannot be saved"):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="`function` must be callable"):
        layers.Lambda("x + 1")  # type: ignore[arg-type]
