"""Finite differences against the gradient of every op, in float64, through one table.

A new op of `distnn.ops` that is neither in the table nor among those without a gradient fails a test.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import image_ops
import numpy as np
import pytest
from more_gradient_cases import BACKWARD_ONLY_TOO, MORE_CASES, NOT_DIFFERENTIABLE_EITHER

import distnn.ops
from distnn import ops
from distnn.autodiff import gradients
from distnn.graph import Graph, recording
from distnn.kernels.recurrent_cells import LINEAR, RELU
from distnn.kernels.recurrent_steps import GRU, LSTM, SIMPLE
from distnn.ops.accumulate import TimesSamples
from distnn.ops.op import Op
from distnn.ops.products import Matmul
from distnn.ops.recurrence import Recurrence
from distnn.ops.reductions import Spread
from distnn.ops.shapes import PadZeros, Slice
from distnn.tensor import Spec

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Case:
    """A call of an op whose inputs are away from kinks.

    Args:
        label: for the test's name.
        call: takes a tensor per input, returns the tensor to differentiate.
        inputs: shapes of float inputs, or arrays (integer arrays get no gradient).
        positive: draw inputs above 0.3.
    """

    label: str
    call: Callable[..., Any]
    inputs: tuple[Any, ...]
    positive: bool = False


LABELS = np.array([2, 0, 1, 1], np.int32)
TARGETS = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0], [0.0, 0.4, 0.3], [0.1, 0.8, 0.1]])
CONDITION = np.array([[True, False, True], [False, False, True]])
PROBABILITIES = np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.2], [0.1, 0.4, 0.3], [0.1, 0.8, 0.4]])

INDICES = np.array([[2, 0], [2, 2]], np.int32)
STEPS_THAT_COUNT = np.array([[True, False, True], [False, True, False], [False, False, False], [True] * 3])
RECURRENCES: dict[str, dict[str, Any]] = {
    "of all steps": {"return_sequences": True},
    "backwards": {"return_sequences": True, "go_backwards": True},
    "without bias": {"has_bias": False},
    "masked": {"has_mask": True},
    "masked, of all steps": {"has_mask": True, "return_sequences": True},
    "masked to zeros, backwards": {
        "has_mask": True,
        "return_sequences": True,
        "go_backwards": True,
        "zero_output_for_mask": True,
    },
}


def recurrence(kind: int, **options: Any) -> Callable[..., Any]:
    """Output and last states of a recurrence as one tensor."""

    def call(*inputs: Any) -> Any:
        masks = [inputs[0].graph.constant(STEPS_THAT_COUNT)] if options.get("has_mask") else []
        y, h, c, *_ = Recurrence(kind, **options)(*(0.3 * x for x in inputs), *masks)
        states = [h, c] if kind == LSTM else [h]
        return ops.concatenate([ops.reshape(y, (4, -1)), *(3.0 * state for state in states)], axis=-1)

    return call


def recurrence_shapes(kind: int, options: dict[str, Any]) -> tuple[Any, ...]:
    columns = (2, 8, 6)[kind]
    states = ((4, 2),) * (2 if kind == LSTM else 1)
    bias = ((2, columns) if kind == GRU else (columns,),) if options.get("has_bias", True) else ()
    return ((4, 3, 3), (3, columns), (2, columns), *states, *bias)


CASES = [
    # arithmetic, with broadcasting on either side and on both
    Case("add", ops.add, ((2, 3), (2, 3))),
    Case("add broadcast", ops.add, ((2, 1, 3), (4, 1))),
    Case("subtract", ops.subtract, ((3,), (2, 3))),
    Case("multiply", ops.multiply, ((2, 3), (2, 1))),
    Case("multiply by itself", lambda x: ops.multiply(x, x), ((2, 3),)),
    Case("multiply by a number", lambda x: 3.0 * x - 1, ((2, 3),)),
    Case("divide", ops.divide, ((2, 3), (3,)), positive=True),
    Case("maximum", ops.maximum, ((2, 3), (3,))),
    Case("minimum", ops.minimum, ((2, 3), (2, 1))),
    Case("clip", lambda x: ops.clip(x, -0.5, 0.5), ((3, 4),)),
    Case("negative", ops.negative, ((2, 3),)),
    Case("abs", ops.abs, ((2, 3),)),
    Case("square", ops.square, ((2, 3),)),
    Case("sqrt", ops.sqrt, ((2, 3),), positive=True),
    Case("rsqrt", ops.rsqrt, ((2, 3),), positive=True),
    Case("reciprocal", ops.reciprocal, ((2, 3),), positive=True),
    Case("power 3", lambda x: ops.power(x, 3), ((2, 3),)),
    Case("power -2", lambda x: ops.power(x, -2), ((2, 3),), positive=True),
    Case("power 1.7", lambda x: ops.power(x, 1.7), ((2, 3),), positive=True),
    Case("where", lambda x, y: ops.where(CONDITION, x, y), ((2, 3), (3,))),
    Case("exp", ops.exp, ((2, 3),)),
    Case("log", ops.log, ((2, 3),), positive=True),
    Case("log1p", ops.log1p, ((2, 3),), positive=True),
    # activations
    Case("relu", ops.relu, ((4, 5),)),
    Case("leaky_relu", ops.leaky_relu, ((4, 5),)),
    Case("elu", lambda x: ops.elu(x, 0.7), ((4, 5),)),
    Case("sigmoid", ops.sigmoid, ((4, 5),)),
    Case("tanh", ops.tanh, ((4, 5),)),
    Case("silu", ops.silu, ((4, 5),)),
    Case("gelu", lambda x: ops.gelu(x, approximate=False), ((4, 5),)),
    Case("gelu tanh", lambda x: ops.gelu(x, approximate=True), ((4, 5),)),
    Case("softplus", ops.softplus, ((4, 5),)),
    Case("bias_add", ops.bias_add, ((4, 3), (3,))),
    Case("bias_add of three axes", ops.bias_add, ((2, 4, 3), (3,))),
    # shapes
    Case("reshape", lambda x: ops.reshape(x, (3, -1)), ((2, 6),)),
    Case("expand and squeeze", lambda x: ops.squeeze(ops.expand_dims(x, 1), 1), ((2, 3),)),
    Case("transpose", lambda x: ops.transpose(x, (2, 0, 1)), ((2, 3, 4),)),
    Case("broadcast_to", lambda x: ops.broadcast_to(x, (4, 2, 3)), ((2, 1),)),
    Case("concatenate", lambda x, y: ops.concatenate([x, y], axis=1), ((2, 3), (2, 2))),
    Case("get_item", lambda x: ops.get_item(x, (slice(None), 1, None, slice(1, 3))), ((2, 3, 4),)),
    Case("stack", lambda x, y: ops.stack([x, y, x]), ((2, 3), (2, 3))),
    Case("slice", lambda x: Slice(1, 1, 3)(x), ((2, 4),)),
    Case("pad", lambda x: PadZeros(1, 2, 6)(x), ((2, 3),)),
    # reductions
    Case("sum", ops.sum, ((2, 3, 4),)),
    Case("sum of the middle", lambda x: ops.sum(x, axis=1), ((2, 3, 4),)),
    Case("sum of both ends", lambda x: ops.sum(x, axis=(0, 2), keepdims=True), ((2, 3, 4),)),
    Case("sum of a long row", lambda x: ops.sum(x, axis=-1), ((2, 37),)),
    Case("mean", lambda x: ops.mean(x, axis=(0, 2)), ((2, 3, 4),)),
    Case("spread", lambda x: Spread((2, 3, 4), (1,), True)(x), ((2, 4),)),
    Case("var", lambda x: ops.var(x, axis=-1), ((2, 5),)),
    Case("max", lambda x: ops.max(x, axis=1), ((2, 3, 4),)),
    Case("max of a long row", lambda x: ops.max(x, axis=-1), ((2, 37),)),
    Case("min", lambda x: ops.min(x, axis=-1), ((2, 3, 4),)),
    # products
    Case("matmul", ops.matmul, ((4, 3), (3, 2))),
    Case("matmul of three axes", ops.matmul, ((2, 4, 3), (3, 2))),
    Case("matmul of stacks", ops.matmul, ((2, 4, 3), (2, 3, 5))),
    Case("matmul of broadcast stacks", ops.matmul, ((2, 1, 4, 3), (5, 3, 2))),
    Case("matmul of vectors", ops.matmul, ((3,), (3,))),
    Case("matmul of a vector and a matrix", ops.matmul, ((3,), (3, 2))),
    Case("matmul of a matrix and a vector", ops.matmul, ((4, 3), (3,))),
    *(
        Case(f"matmul transposed {a} {b}", Matmul(a, b), ((3, 4) if a else (4, 3), (2, 3) if b else (3, 2)))
        for a in (False, True)
        for b in (False, True)
    ),
    # softmax and losses
    Case("softmax", ops.softmax, ((4, 3),)),
    Case("softmax of a long row", ops.softmax, ((2, 37),)),
    Case("softmax along axis 1", lambda x: ops.softmax(x, axis=1), ((2, 3, 4),)),
    Case("log_softmax", ops.log_softmax, ((4, 3),)),
    Case(
        "sparse cross-entropy",
        lambda x: ops.sparse_categorical_crossentropy(LABELS, x, from_logits=True),
        ((4, 3),),
    ),
    Case(
        "sparse cross-entropy of probabilities",
        lambda x: ops.sparse_categorical_crossentropy(LABELS, x),
        (PROBABILITIES,),
    ),
    Case("cross-entropy", lambda x: ops.categorical_crossentropy(TARGETS, x, from_logits=True), ((4, 3),)),
    Case(
        "cross-entropy of probabilities",
        lambda x: ops.categorical_crossentropy(TARGETS, x),
        (PROBABILITIES,),
    ),
    Case("binary cross-entropy", lambda x: ops.binary_crossentropy(TARGETS, x, from_logits=True), ((4, 3),)),
    Case(
        "binary cross-entropy of probabilities",
        lambda x: ops.binary_crossentropy(TARGETS, x),
        (PROBABILITIES,),
    ),
    # normalisation
    Case("batch norm", lambda x, g, b: ops.batch_norm_training(x, g, b, 1e-3)[0], ((5, 3), (3,), (3,))),
    Case("batch norm of three axes", lambda x: ops.batch_norm_training(x, None, None, 1e-3)[0], ((2, 3, 4),)),
    Case(
        "batch norm, inference",
        lambda x, g, b, m, v: ops.batch_norm_inference(x, g, b, m, ops.square(v), 1e-3),
        ((5, 3), (3,), (3,), (3,), (3,)),
    ),
    Case("layer norm", lambda x, g, b: ops.layer_norm(x, g, b, 1e-3), ((4, 5), (5,), (5,))),
    Case("layer norm of a long row", ops.layer_norm, ((2, 2, 37), (37,), (37,))),
    # images
    *(Case(*row) for row in image_ops.ROWS),
    # sequences
    Case("take rows", lambda x: ops.take_rows(x, INDICES), ((3, 2),)),
    Case("flip", lambda x: ops.flip(x, axis=1), ((2, 3, 4),)),
    Case("unstack and stack", lambda x: ops.stack_steps(ops.unstack_steps(x)[::-1]), ((2, 3, 4),)),
    Case("two steps", lambda x: ops.unstack_steps(x)[2] * ops.unstack_steps(x)[0], ((2, 3, 4),)),
    *(
        Case(f"recurrence {kind} {label}", recurrence(kind, **options), recurrence_shapes(kind, options))
        for kind in (SIMPLE, LSTM, GRU)
        for label, options in RECURRENCES.items()
    ),
    Case("relu recurrence", recurrence(SIMPLE, activation=RELU), recurrence_shapes(SIMPLE, {})),
    Case("linear recurrence", recurrence(SIMPLE, activation=LINEAR), recurrence_shapes(SIMPLE, {})),
    # the rest
    Case("dropout", lambda x: ops.dropout(x, 0.4, seed=3), ((5, 20),)),
    Case("times samples", TimesSamples(), ((3,),)),
    *(Case(*given) for given in MORE_CASES),
]

NOT_DIFFERENTIABLE = {
    "ChangeBrightness",
    "ChangeContrast",
    "CropImages",
    "TransformImages",
    "AddedLosses",
    "Argmax",
    "Argmin",
    "Cast",
    "CategoricalMatch",
    "ColumnSums",
    "ConfusionCounts",
    "Equal",
    "Greater",
    "GreaterEqual",
    "InTopK",
    "Less",
    "LessEqual",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "NotEqual",
    "OneHot",
    "PlaceRows",
    "Random",
    "RandomOf",
    "ScaledBySamples",
    "ShardRows",
    "Sign",
    "SparseMatch",
    "StopGradient",
    "SumAndCount",
    "ThresholdCounts",
    "ToSums",
    "TopKOnly",
}
"""Ops whose gradient is none."""

BACKWARD_ONLY = image_ops.BACKWARD_ONLY | {
    "ActivationGradient",
    "BatchNormGradient",
    "BiasActivation",
    "BiasGradient",
    "BiasedConvolution",
    "ConvolutionGradients",
    "BinaryCrossEntropyGradient",
    "CategoricalCrossEntropyGradient",
    "CategoricalCrossEntropyOfProbabilitiesGradient",
    "DropoutGradient",
    "ExtremeGradient",
    "InputGradient",
    "KernelGradient",
    "LayerNormGradient",
    "LogSoftmaxGradient",
    "PooledConvolution",
    "PooledWeightGradient",
    "RecurrenceGradient",
    "RectifiedBatchNormGradient",
    "SoftmaxGradient",
    "SparseCrossEntropyGradient",
    "SparseCrossEntropyOfProbabilitiesGradient",
    "TakeRowsGradient",
}
"""Ops that only a gradient records, or only a program makes; the checks above go through them."""

NOT_DIFFERENTIABLE |= NOT_DIFFERENTIABLE_EITHER
BACKWARD_ONLY |= BACKWARD_ONLY_TOO
STEP = 1e-6


def values_of(case: Case) -> list[Array]:
    """The case's inputs: arrays as given, shapes filled with values at least 0.05 apart from each other."""
    rng = np.random.default_rng(sum(map(ord, case.label)))
    found = []
    for given in case.inputs:
        if isinstance(given, np.ndarray):
            found.append(given.astype(np.float64))
            continue
        size = int(np.prod(given))
        spread = (rng.permutation(size) - size / 2 + 0.3) * max(0.05, 3.0 / size) + rng.uniform(0, 0.01, size)
        found.append((np.abs(spread) + 0.3 if case.positive else spread).reshape(given))
    return found


def run(
    case: Case, values: list[Array], seed: Array | None = None
) -> tuple[Array, list[Array | None], set[str]]:
    """The output, the gradients of sum(seed * output), and the names of the ops recorded forward."""
    graph = Graph(samples=7, eager=True, dtype=np.float64, training=True)
    graph.control[:4] = (12345, 3, 1, 7)
    leaves = [
        graph.add_input(f"x{i}", Spec(value.shape), np.ascontiguousarray(value))
        for i, value in enumerate(values)
    ]
    with recording(graph):
        output = case.call(*leaves)
    names = {type(node.op).__name__ for node in graph.nodes}
    if seed is None:
        return output.numpy(), [], names
    found = gradients(graph, [(output, graph.constant(seed))], leaves)
    return output.numpy(), [None if tensor is None else tensor.numpy() for tensor in found], names


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_gradient_agrees_with_finite_differences(case: Case) -> None:
    values = values_of(case)
    output, _, _ = run(case, values)
    seed = np.random.default_rng(1).normal(size=output.shape)
    _, found, _ = run(case, values, seed)
    for place, value in enumerate(values):
        expected = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            totals = []
            for sign in (1, -1):
                moved = [v.copy() for v in values]
                moved[place][index] += sign * STEP
                totals.append(float((run(case, moved)[0] * seed).sum()))
            expected[index] = (totals[0] - totals[1]) / (2 * STEP)
        assert found[place] is not None, f"no gradient for input {place}"
        np.testing.assert_allclose(found[place], expected, rtol=1e-6, atol=1e-8, err_msg=f"input {place}")


def op_classes() -> set[str]:
    """Every concrete op of `distnn.ops`."""
    found: set[str] = set()
    for module in pkgutil.iter_modules(distnn.ops.__path__):
        for name, value in vars(importlib.import_module(f"distnn.ops.{module.name}")).items():
            if inspect.isclass(value) and issubclass(value, Op) and not inspect.isabstract(value):
                if not name.startswith("_") and name != "Activation":
                    found.add(name)
    return found


def test_every_op_is_in_the_table() -> None:
    recorded: set[str] = set()
    for case in CASES:
        recorded |= run(case, values_of(case))[2]
    differentiable = op_classes() - NOT_DIFFERENTIABLE - BACKWARD_ONLY
    assert differentiable <= recorded, f"add cases for {sorted(differentiable - recorded)}"
    assert NOT_DIFFERENTIABLE | BACKWARD_ONLY <= op_classes(), "the lists name ops that are gone"


def test_no_gradient_passes_a_stop() -> None:
    graph = Graph(eager=True, dtype=np.float64)
    x = graph.add_input("x", Spec((2,)), np.ones(2))
    with recording(graph):
        y: Any = distnn.ops.stop_gradient(x) * x
    (dx,) = gradients(graph, [(y, graph.constant(np.ones(2)))], [x])
    assert dx is not None
    np.testing.assert_array_equal(dx.numpy(), np.ones(2))
