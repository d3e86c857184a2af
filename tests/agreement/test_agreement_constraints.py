"""Constraints, Adafactor, CTC and ConvLSTM against Keras 3 itself, where keras and torch are installed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import distnn.constraints
import distnn.layers
import distnn.losses
import distnn.models
import distnn.ops
import distnn.optimizers
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.tensor import Spec

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(9)


# Constraints

CONSTRAINTS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("NonNeg", {}, (7, 5)),
    ("MaxNorm", {}, (40, 5)),
    ("MaxNorm", {"max_value": 0.7, "axis": 1}, (5, 40)),
    ("UnitNorm", {"axis": [0, 1, 2]}, (3, 3, 2, 4)),
    ("MinMaxNorm", {"min_value": 2.0, "max_value": 3.0, "rate": 0.4}, (6, 4)),
]


@pytest.mark.parametrize(("name", "config", "shape"), CONSTRAINTS)
def test_constraints(name: str, config: dict[str, Any], shape: tuple[int, ...]) -> None:
    ours, theirs = getattr(distnn.constraints, name)(**config), getattr(keras.constraints, name)(**config)
    w = RNG.normal(size=shape).astype(np.float32)
    wanted = keras.ops.convert_to_numpy(theirs(keras.ops.convert_to_tensor(w)))
    np.testing.assert_allclose(ours(w), wanted, rtol=1e-6, atol=1e-7)
    assert ours.get_config() == theirs.get_config()


def trained(kit: Any, models: Any, optimizer: Any, x: Any, y: Any, weights: Any = None) -> tuple[Any, Any]:
    model = models.Sequential(
        [
            kit.Input((8, 8, 2)),
            kit.Conv2D(4, 3, activation="tanh", kernel_constraint="max_norm", bias_constraint="non_neg"),
            kit.SeparableConv2D(
                4, 3, use_bias=False, depthwise_constraint="unit_norm", pointwise_constraint="min_max_norm"
            ),
            kit.BatchNormalization(gamma_constraint="non_neg", beta_constraint="max_norm"),
            kit.Flatten(),
            kit.Reshape((4, 16)),
            kit.LSTM(5, kernel_constraint="max_norm", recurrent_constraint="unit_norm"),
            kit.Dense(3, kernel_constraint="min_max_norm"),
        ]
    )
    model.compile(optimizer, "mse")
    if weights is not None:
        model.set_weights(weights)
    first = model.get_weights()
    model.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    return first, model.get_weights()


OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("Adafactor", {"learning_rate": 0.1}),
    (
        "Adafactor",
        {"learning_rate": 0.05, "weight_decay": 0.1, "clip_threshold": 0.5, "relative_step": False},
    ),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_five_constrained_steps(name: str, options: dict[str, Any]) -> None:
    x = RNG.normal(size=(80, 8, 8, 2)).astype(np.float32)
    y = RNG.normal(size=(80, 3)).astype(np.float32)
    first, wanted = trained(keras.layers, keras.models, getattr(keras.optimizers, name)(**options), x, y)
    rule = getattr(distnn.optimizers, name)(**options)
    _, found = trained(distnn.layers, distnn.models, rule, x, y, first)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)


# CTC

LOGITS = 2 * RNG.normal(size=(6, 11, 5)).astype(np.float32)
LABELS = np.array([[1, 2, 3], [2, 2, 1], [4, 0, 0], [1, 1, 1], [3, 1, 0], [2, 4, 0]], np.int32)
LENGTHS, STEPS = np.array([3, 3, 1, 3, 2, 2], np.int32), np.array([11, 9, 11, 5, 7, 2], np.int32)


@pytest.mark.parametrize("mask_index", [0, 4])
def test_ctc_loss_and_its_gradient(mask_index: int) -> None:
    labels, x = (LABELS, LOGITS) if mask_index == 0 else ((LABELS + 4) % 5, np.roll(LOGITS, -1, axis=2))
    tensor = torch.tensor(x, requires_grad=True)
    given = [torch.tensor(array) for array in (labels, LENGTHS, STEPS)]
    wanted = keras.ops.ctc_loss(given[0], tensor, given[1], given[2], mask_index=mask_index)
    (right,) = torch.autograd.grad(wanted.sum(), [tensor])
    graph = Graph(samples=6, eager=True)
    leaf = graph.add_input("x", Spec(x.shape), x)
    with recording(graph):
        loss = distnn.ops.ctc_loss(labels, leaf, LENGTHS, STEPS, mask_index=mask_index)
    np.testing.assert_allclose(loss.numpy(), wanted.detach().numpy(), rtol=1e-5)
    (found,) = gradients(graph, [(loss, graph.constant(np.ones(6, np.float32)))], [leaf])
    assert found is not None
    np.testing.assert_allclose(found.numpy(), right.numpy(), atol=2e-5)


def test_the_ctc_loss_class() -> None:
    wanted = keras.losses.CTC()(torch.tensor(LABELS), torch.tensor(LOGITS))
    np.testing.assert_allclose(distnn.losses.CTC()(LABELS, LOGITS), float(wanted), rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"merge_repeated": False},
        {"mask_index": 4},
        {"strategy": "beam_search", "beam_width": 20, "top_paths": 3},
        {"strategy": "beam_search", "beam_width": 4, "top_paths": 2, "mask_index": 2},
    ],
    ids=str,
)
def test_ctc_decoding(options: dict[str, Any]) -> None:
    paths, scores = distnn.ops.ctc_decode(LOGITS, STEPS, **options)
    right, numbers = keras.ops.ctc_decode(torch.tensor(LOGITS), torch.tensor(STEPS), **options)
    np.testing.assert_array_equal(paths, keras.ops.convert_to_numpy(right))
    np.testing.assert_allclose(scores, keras.ops.convert_to_numpy(numbers), rtol=1e-4, atol=1e-5)


# ConvLSTM

CONV_LSTMS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("ConvLSTM2D", {"kernel_size": 3}, (3, 6, 5, 2)),
    ("ConvLSTM2D", {"kernel_size": 3, "padding": "same", "return_sequences": True}, (3, 5, 5, 2)),
    ("ConvLSTM2D", {"kernel_size": 2, "strides": 2, "go_backwards": True, "use_bias": False}, (3, 5, 5, 1)),
    ("ConvLSTM2D", {"kernel_size": 2, "dilation_rate": 2, "return_state": True}, (2, 5, 5, 1)),
    ("ConvLSTM1D", {"kernel_size": 3, "return_sequences": True, "unit_forget_bias": False}, (4, 7, 2)),
    ("ConvLSTM3D", {"kernel_size": 2, "padding": "same"}, (2, 3, 3, 3, 1)),
]


@pytest.mark.parametrize(("name", "config", "shape"), CONV_LSTMS, ids=[f"{n} {c}" for n, c, _ in CONV_LSTMS])
@pytest.mark.parametrize("masked", [False, True])
def test_conv_lstm_values_and_gradients(
    name: str, config: dict[str, Any], shape: tuple[int, ...], masked: bool
) -> None:
    ours, theirs = getattr(distnn.layers, name)(3, **config), getattr(keras.layers, name)(3, **config)
    x = RNG.normal(size=(4, *shape)).astype(np.float32)
    mask = RNG.random((4, shape[0])) < 0.7 if masked else None
    tensor = torch.tensor(x, requires_grad=True)
    ours(x)
    theirs(tensor)
    weights = [0.4 * RNG.normal(size=w.shape).astype(np.float32) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    wanted = theirs(tensor, mask=None if mask is None else torch.tensor(mask))
    graph = Graph(samples=4, eager=True)
    leaf = graph.add_input("x", Spec(x.shape), x)
    with recording(graph):
        found = ours(leaf, mask=None if mask is None else graph.constant(mask))
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for mine, its in pairs:
        np.testing.assert_allclose(mine.numpy(), its.detach().numpy(), rtol=1e-4, atol=2e-6)
    first, its = (found[0], wanted[0]) if isinstance(found, tuple) else (found, wanted)
    seed = RNG.normal(size=first.numpy().shape).astype(np.float32)
    (gradient,) = gradients(graph, [(first, graph.constant(seed))], [leaf])
    (right,) = torch.autograd.grad((its * torch.tensor(seed)).sum(), [tensor])
    assert gradient is not None
    np.testing.assert_allclose(gradient.numpy(), right.numpy(), rtol=1e-3, atol=2e-5)
    for key, value in theirs.get_config().items():
        if key in ours.get_config() and not isinstance(value, dict) and key not in ("name", "dtype"):
            assert ours.get_config()[key] == (list(value) if isinstance(value, tuple) else value), key
