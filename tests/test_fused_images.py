"""What programs make of convolutions, bias, normalization, relu and pooling: fewer ops, the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn import ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.kernels import convolution
from distnn.kernels.products import product_settings
from distnn.program import Program, Results
from distnn.tensor import Batch, Spec
from distnn.weights import WeightLayout

Array = np.ndarray[Any, np.dtype[Any]]
LARGEST = 5


def biased(x: Any, w: Any, bias: Any, **options: Any) -> Any:
    return ops.bias_add(ops.conv(x, w, **options), bias)


def normalized(x: Any, w: Any, bias: Any) -> Any:
    y, _ = ops.batch_norm_training(biased(x, w, bias, padding="same"), None, None, 1e-3)
    return ops.relu(y)


def pooled(x: Any, w: Any, bias: Any) -> Any:
    return ops.max_pool(ops.relu(biased(x, w, bias)), 2)


Call = Callable[[Any, Any, Any], Any]
WINOGRAD, FEW, GROUPS = ((12, 12, 16), (3, 3, 16, 32)), ((9, 7, 3), (3, 3, 3, 5)), ((9, 8, 6), (2, 3, 3, 20))
ODD = ((13, 11, 32), (3, 3, 32, 16))
CASES: dict[str, tuple[Call, tuple[tuple[int, ...], tuple[int, ...]], list[str]]] = {
    "winograd, bias": (lambda *given: biased(*given, padding="same"), WINOGRAD, ["biased_convolution"]),
    "winograd, bias, relu": (
        lambda *given: ops.relu(biased(*given, padding="same")),
        WINOGRAD,
        ["biased_convolution", "relu_gradient"],
    ),
    "patches, bias, relu": (
        lambda *given: ops.relu(biased(*given, strides=2)),
        FEW,
        ["biased_convolution", "relu_gradient"],
    ),
    "groups, bias, relu": (
        lambda *given: ops.relu(biased(*given)),
        GROUPS,
        ["biased_convolution", "relu_gradient"],
    ),
    "bias, tanh": (
        lambda *given: ops.tanh(biased(*given)),
        FEW,
        ["biased_convolution", "tanh", "tanh_gradient"],
    ),
    "patches, relu, pooling": (pooled, FEW, ["pooled_convolution", "relu_gradient"]),
    "groups, relu, pooling": (pooled, GROUPS, ["pooled_convolution", "relu_gradient"]),
    "winograd, relu, pooling": (pooled, WINOGRAD, ["pooled_convolution", "relu_gradient"]),
    "winograd of odd sizes, relu, pooling": (pooled, ODD, ["pooled_convolution", "relu_gradient"]),
    "winograd, pooling without relu": (
        lambda *given: ops.max_pool(biased(*given, padding="same"), 2),
        ODD,
        ["pooled_convolution"],
    ),
    "patches, pooling without relu": (
        lambda *given: ops.max_pool(biased(*given), 2),
        FEW,
        ["pooled_convolution"],
    ),
    "relu, other pooling": (
        lambda *given: ops.max_pool(ops.relu(biased(*given)), 3, 2, "same"),
        FEW,
        ["biased_convolution", "max_pool", "relu_gradient", "max_pool_gradient"],
    ),
    "relu twice": (
        lambda *given: ops.relu(ops.relu(biased(*given))),
        FEW,
        ["biased_convolution", "relu", "relu_gradient", "relu_gradient"],
    ),
    "batch norm, relu": (
        normalized,
        WINOGRAD,
        ["biased_convolution", "batch_norm_training", "rectified_batch_norm_gradient"],
    ),
    "batch norm, relu, pooling": (
        lambda *given: ops.max_pool(normalized(*given), 3),
        FEW,
        [
            "biased_convolution",
            "batch_norm_training",
            "max_pool",
            "relu_gradient",
            "max_pool_gradient",
            "batch_norm_gradient",
        ],
    ),
    "read before relu too": (
        lambda *given: (y := biased(*given)) + ops.relu(y),
        FEW,
        ["biased_convolution", "relu", "add", "relu_gradient", "add"],
    ),
}
OTHERS = {
    "sum",
    "convolution_gradients",
    "convolution_input_gradient",
    "convolution_weight_gradient",
    "broadcast_to",
    "spread",
}


def record(name: str, values: list[Array], dtype: Any, is_eager: bool) -> tuple[Graph, Results]:
    """The output and its gradients by images, weights and bias."""
    call = CASES[name][0]
    graph = Graph(samples=LARGEST, eager=is_eager, concrete=True, training=True, dtype=dtype)
    graph.control[:4] = (0, 0, 0, LARGEST)
    with recording(graph):
        leaves = [
            graph.add_input(f"x{i}", Spec(value.shape), value if is_eager else None)
            for i, value in enumerate(values)
        ]
        y = call(*leaves)
        seed = graph.constant(np.random.default_rng(3).normal(size=y.spec.concrete(LARGEST)))
        found = gradients(graph, [(y, seed)], leaves)
    return graph, Results(outputs=(y, *(tensor for tensor in found if tensor is not None)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_fused_images_have_the_bytes_of_the_eager_run(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    image, weights = CASES[name][1]
    values = [rng.normal(size=shape).astype(dtype) for shape in ((LARGEST, *image), weights, weights[-1:])]
    _, eager = record(name, values, dtype, is_eager=True)
    graph, results = record(name, values, dtype, is_eager=False)
    program = Program(graph, WeightLayout([], []), results, LARGEST)
    names = [node.op.name for node in program.nodes if not node.op.is_view]
    assert [one for one in names if one not in OTHERS] == CASES[name][2]
    bound = program.bind(LARGEST, np.zeros(0, np.float32), None)
    for i, value in enumerate(values):
        bound.inputs[f"x{i}"][:] = value
    bound.run()
    assert len(bound.outputs) == 4
    for found, expected in zip(bound.outputs, eager.outputs, strict=True):
        assert found.tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize(
    "name",
    [
        "winograd, bias, relu",
        "patches, bias, relu",
        "winograd of odd sizes, relu, pooling",
        "patches, relu, pooling",
    ],
)
def test_threads_finish_their_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    image, weights = CASES[name][1]
    values = [rng.normal(size=shape).astype("f4") for shape in ((LARGEST, *image), weights, weights[-1:])]
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(convolution, "_MIN_PART_FLOPS", 1)
        graph, results = record(name, values, np.float32, is_eager=False)
        program = Program(graph, WeightLayout([], []), results, LARGEST)
        with product_settings(threads=threads):
            bound = program.bind(LARGEST, np.zeros(0, np.float32), None)
        for i, value in enumerate(values):
            bound.inputs[f"x{i}"][:] = value
        bound.run()
        found.append([output.tobytes() for output in bound.outputs])
    assert found[0] == found[1]


def test_batch_axis_stays_free() -> None:
    """A bias is a leaf like any other: the fused convolution serves smaller shards."""
    graph = Graph(samples=LARGEST)
    with recording(graph):
        x = graph.add_input("x", Spec((Batch(), 9, 7, 3)))
        w, bias = (graph.add_input(name, Spec(shape)) for name, shape in (("w", (3, 3, 3, 5)), ("b", (5,))))
        y = ops.relu(biased(x, w, bias))
    program = Program(graph, WeightLayout([], []), Results(outputs=(y,)), LARGEST)
    rng = np.random.default_rng(2)
    images = rng.normal(size=(LARGEST, 9, 7, 3)).astype(np.float32)
    outputs = []
    for samples in (LARGEST, 2):
        bound = program.bind(samples, np.zeros(0, np.float32), None)
        bound.inputs["x"][:] = images[:samples]
        bound.inputs["w"][:], bound.inputs["b"][:] = 0.25, -0.5
        bound.run()
        outputs.append(bound.outputs[0].copy())
    assert outputs[0][:2].tobytes() == outputs[1].tobytes()
    assert 0 < (outputs[0] == 0).sum() < outputs[0].size
