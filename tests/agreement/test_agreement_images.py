"""Layers over images against Keras 3 with PyTorch: same weights in, outputs and gradients out.

Skipped where keras and torch are not installed.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import pytest
from image_layers import ROWS

from distnn import layers
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.tensor import Spec

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
Array = np.ndarray[Any, np.dtype[Any]]
pytestmark = pytest.mark.filterwarnings("ignore")

MORE = [
    ("Conv2D", {"filters": 32, "kernel_size": 3, "padding": "same"}, (14, 13, 16), ()),
    ("Conv2D", {"filters": 48, "kernel_size": 3}, (9, 12, 32), ()),
    ("Conv2D", {"filters": 7, "kernel_size": 5, "strides": 3, "padding": "same"}, (14, 13, 3), ()),
    ("Conv2DTranspose", {"filters": 5, "kernel_size": 5, "strides": 3, "padding": "same"}, (4, 5, 6), ()),
    ("Conv2DTranspose", {"filters": 5, "kernel_size": 2, "strides": 3}, (4, 5, 6), ()),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same"}, (9, 8, 20), ()),
]
OTHERWISE = ("AveragePooling2D", {"pool_size": (2, 3), "padding": "same"})
"""Where padding is uneven, Keras with PyTorch repeats the edge; its others, as we do, leave it out."""
CASES = [row for row in ROWS if row[:2] != OTHERWISE] + MORE


def ours(layer: Any, x: Array, seed: Array) -> list[Array]:
    graph = Graph(samples=len(x), eager=True)
    leaf = graph.add_input("x", Spec(x.shape), x)
    with recording(graph):
        output = layer(leaf)
        leaves = [leaf, *(graph.variable(v) for v in layer.trainable_variables)]
    found = gradients(graph, [(output, graph.constant(seed))], leaves)
    return [output.numpy(), *(tensor.numpy() for tensor in found if tensor is not None)]


def theirs(layer: Any, x: Array, seed: Array) -> list[Array]:
    leaf = torch.tensor(x, requires_grad=True)
    output = layer(leaf)
    (output * torch.tensor(seed)).sum().backward()
    values = [variable.value for variable in layer.trainable_variables]
    return [output.detach().numpy(), leaf.grad.numpy(), *(value.grad.numpy() for value in values)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_outputs_and_gradients_are_keras(case: Any) -> None:
    name, config, inputs, _ = case
    rng = np.random.default_rng(len(str(case)))
    x = rng.normal(size=(3, *inputs)).astype(np.float32)
    mine = getattr(layers, name)(**config)
    mine(x)
    reference = getattr(keras.layers, name)(**config)
    reference(x)
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in mine.get_weights()]
    mine.set_weights(weights)
    reference.set_weights(weights)
    shape = mine.compute_output_shape((None, *inputs))
    assert tuple(shape) == tuple(reference.compute_output_shape((None, *inputs)))
    seed = rng.normal(size=(3, *shape[1:])).astype(np.float32)
    for found, expected in zip(ours(mine, x, seed), theirs(reference, x, seed), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_configurations_have_keras_keys(case: Any) -> None:
    name, config, *_ = case
    mine = getattr(layers, name)(**config).get_config()
    reference = getattr(keras.layers, name)(**config).get_config()
    for key, value in mine.items():
        if key in ("name", "trainable") or "initializer" in key or "regularizer" in key:
            continue
        assert value == json.loads(json.dumps(reference[key])), key
