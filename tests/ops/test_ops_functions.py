"""The functions of `distnn.ops` on plain arrays and on symbolic tensors: values, shapes, dtypes, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn import ops
from distnn.graph import Graph, ReadsBatchSizeError, recording
from distnn.tensor import Batch, Spec, Tensor

Array = np.ndarray[Any, np.dtype[Any]]
X = np.array([[1.5, -2.0, 0.25], [0.5, 4.0, -1.0]], np.float32)
Y = np.array([[2.0], [-0.5]], np.float32)

ON_ARRAYS: list[tuple[str, Any, Any]] = [
    ("add", ops.add(X, Y), X + Y),
    ("add a number", ops.add(X, 1), X + 1),
    ("subtract", ops.subtract(1.0, X), 1 - X),
    ("multiply", ops.multiply(X, Y), X * Y),
    ("divide integers", ops.divide(np.array([1, 2]), np.array([2, 4])), np.array([0.5, 0.5], np.float32)),
    ("maximum", ops.maximum(X, 0), np.maximum(X, 0)),
    ("minimum", ops.minimum(X, Y), np.minimum(X, Y)),
    ("clip", ops.clip(X, -1, 1), np.clip(X, -1, 1)),
    ("abs", ops.abs(X), np.abs(X)),
    ("absolute", ops.absolute(X), np.abs(X)),
    ("sign", ops.sign(X), np.sign(X)),
    ("square", ops.square(X), X * X),
    ("power", ops.power(X, 3), X**3),
    ("where", ops.where(X > 0, X, 0.0), np.where(X > 0, X, 0)),
    ("greater", ops.greater(X, 0), X > 0),
    ("less_equal", ops.less_equal(X, Y), X <= Y),
    ("not_equal", ops.not_equal(X, Y), X != Y),
    ("logical_and", ops.logical_and(X > 0, X < 1), (X > 0) & (X < 1)),
    ("logical_not", ops.logical_not(X > 0), ~(X > 0)),
    ("cast to int", ops.cast(X, "int32"), X.astype(np.int32)),
    ("cast to bool", ops.cast(np.array([0, 2]), "bool"), np.array([False, True])),
    ("sum", ops.sum(X), np.float32(3.25)),
    ("sum of booleans", ops.sum(X > 0, axis=1), np.array([2, 2], np.int32)),
    ("sum of integers", ops.sum(np.array([[1, 2], [3, 4]]), axis=0), np.array([4, 6], np.int32)),
    ("mean of integers", ops.mean(np.array([1, 2])), np.float32(1.5)),
    ("max of integers", ops.max(np.array([[1, 5], [3, 4]]), axis=1), np.array([5, 4], np.int32)),
    ("min keepdims", ops.min(X, axis=1, keepdims=True), X.min(axis=1, keepdims=True)),
    ("var", ops.var(X.astype(np.float64), axis=1), X.astype(np.float64).var(axis=1)),
    ("argmax", ops.argmax(X, axis=1), np.array([0, 1], np.int32)),
    ("argmax of all", ops.argmax(X), np.int32(4)),
    ("argmin", ops.argmin(X, axis=0), np.array([1, 0, 1], np.int32)),
    ("any", ops.any(X > 3, axis=1), np.array([False, True])),
    ("all", ops.all(X > -2, axis=1), np.array([False, True])),
    ("matmul", ops.matmul(X, X.T), X @ X.T),
    ("dot with a number", ops.dot(X, 2.0), X * 2),
    ("reshape", ops.reshape(X, (3, -1)), X.reshape(3, 2)),
    ("transpose", ops.transpose(X), X.T),
    ("expand_dims", ops.expand_dims(X, -1), X[..., None]),
    ("squeeze", ops.squeeze(Y, 1), Y[:, 0]),
    ("broadcast_to", ops.broadcast_to(Y, (2, 3)), np.broadcast_to(Y, (2, 3))),
    ("concatenate", ops.concatenate([X, Y], axis=-1), np.concatenate([X, Y], axis=1)),
    ("stack", ops.stack([X, X + 1], axis=1), np.stack([X, X + 1], axis=1)),
    ("swapaxes", ops.swapaxes(X, 0, -1), X.T),
    ("get_item of a column", ops.get_item(X, (slice(None), -1)), X[:, -1]),
    ("get_item of slices", ops.get_item(X, (..., slice(1, 3), None)), X[..., 1:3, None]),
    ("get_item of one value", ops.get_item(X, (1, 1)), X[1, 1]),
    ("get_item of nothing", ops.get_item(X, (slice(None), slice(2, 1))), X[:, 2:1]),
    ("one_hot", ops.one_hot(np.array([2, 0]), 3), np.array([[0, 0, 1], [1, 0, 0]], np.float32)),
    ("zeros_like", ops.zeros_like(X), np.zeros_like(X)),
    ("full_like", ops.full_like(X, 3.0), np.full_like(X, 3)),
    ("in_top_k", ops.in_top_k(np.array([1, 2]), X, 2), np.array([False, False])),
]


@pytest.mark.parametrize(("name", "actual", "expected"), ON_ARRAYS, ids=[name for name, *_ in ON_ARRAYS])
def test_on_arrays(name: str, actual: Any, expected: Any) -> None:
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def symbolic(*shape: Any, dtype: str = "float32") -> Tensor:
    graph = Graph(samples=5)
    return graph.add_input("x", Spec(shape, dtype))


B = Batch()
SHAPES: list[tuple[str, Callable[[], Any], tuple[Any, ...]]] = [
    ("add", lambda: symbolic(B, 3) + 1, (B, 3)),
    ("flatten", lambda: ops.reshape(symbolic(B, 2, 3), (-1, 6)), (B, 6)),
    ("merge the batch", lambda: ops.reshape(symbolic(B, 4, 3), (-1, 3)), (Batch(4), 3)),
    ("split it again", lambda: ops.reshape(symbolic(Batch(4), 3), (-1, 4, 3)), (B, 4, 3)),
    ("mean over samples", lambda: ops.mean(symbolic(B, 3), axis=0), (3,)),
    ("sum keepdims", lambda: ops.sum(symbolic(B, 3), axis=-1, keepdims=True), (B, 1)),
    ("matmul", lambda: ops.matmul(symbolic(B, 4, 3), np.ones((3, 2))), (B, 4, 2)),
    ("transpose", lambda: ops.transpose(symbolic(B, 4, 3), (0, 2, 1)), (B, 3, 4)),
    ("one_hot", lambda: ops.one_hot(symbolic(B, dtype="int32"), 7), (B, 7)),
    ("softmax", lambda: ops.softmax(symbolic(B, 4, 3), axis=1), (B, 4, 3)),
    ("scalar against batch", lambda: ops.maximum(0.0, symbolic(B, 2)), (B, 2)),
    ("zeros_like", lambda: ops.zeros_like(symbolic(B, 2)), (B, 2)),
    ("get_item", lambda: ops.get_item(symbolic(B, 4, 3), (slice(None), 1)), (B, 3)),
    ("expand_dims", lambda: ops.expand_dims(symbolic(B, 2), 1), (B, 1, 2)),
]


@pytest.mark.parametrize(("name", "make", "shape"), SHAPES, ids=[name for name, *_ in SHAPES])
def test_shapes_with_a_symbolic_batch(name: str, make: Callable[[], Any], shape: tuple[Any, ...]) -> None:
    assert make().spec.shape == shape


ERRORS: list[tuple[str, Callable[[], Any], list[str]]] = [
    ("add", lambda: ops.add(np.ones((2, 3)), np.ones((2, 4))), ["(2, 3)", "(2, 4)"]),
    ("matmul", lambda: ops.matmul(np.ones((2, 3)), np.ones((2, 3))), ["(2, 3)", "inner"]),
    ("matmul with the batch", lambda: ops.matmul(symbolic(B, 3), np.ones((4, 2))), ["(None, 3)", "(4, 2)"]),
    ("bias_add", lambda: ops.bias_add(np.ones((2, 3)), np.ones(2)), ["(2,)", "(2, 3)"]),
    ("reshape", lambda: ops.reshape(np.ones((2, 3)), (4, -1)), ["(2, 3)", "(4, -1)"]),
    ("squeeze", lambda: ops.squeeze(np.ones((2, 3)), 1), ["(2, 3)", "axis 1"]),
    ("sum", lambda: ops.sum(np.ones((2, 3)), axis=2), ["axis 2", "2 axes"]),
    ("sum twice", lambda: ops.sum(np.ones((2, 3)), axis=(1, -1)), ["axis (1, -1)"]),
    ("max of nothing", lambda: ops.max(np.ones((2, 0)), axis=1), ["(2, 0)"]),
    ("concatenate", lambda: ops.concatenate([X, np.ones((3, 3))], axis=1), ["(2, 3)", "(3, 3)"]),
    (
        "sparse cross-entropy",
        lambda: ops.sparse_categorical_crossentropy(np.zeros((2, 1)), X),
        ["(2, 1)", "(2, 3)", "expected (2,)"],
    ),
    ("cross-entropy", lambda: ops.categorical_crossentropy(np.zeros(2), X), ["(2,)", "(2, 3)"]),
    ("binary cross-entropy", lambda: ops.binary_crossentropy(Y, X), ["(2, 1)", "(2, 3)"]),
    ("batch norm", lambda: ops.batch_norm_training(X, np.ones(2), None, 1e-3), ["(3,)", "(2,)"]),
    ("layer norm", lambda: ops.layer_norm(np.ones(3, np.float32)), ["2 axes", "(3,)"]),
    ("get_item of the batch", lambda: ops.get_item(symbolic(B, 3), 0), ["(None, 3)", "batch axis"]),
    ("get_item with a step", lambda: ops.get_item(X, slice(None, None, 2)), ["step 1"]),
    ("dropout", lambda: ops.dropout(X, 1.5), ["1.5", "between 0 and 1"]),
    ("leaky relu", lambda: ops.leaky_relu(X, -0.1), ["-0.1"]),
    ("cast", lambda: ops.cast(X, "float16"), ["float16", "float32"]),
    ("classes elsewhere", lambda: ops.categorical_crossentropy(X, X, axis=0), ["axis=0", "last"]),
]


@pytest.mark.parametrize(("name", "call", "words"), ERRORS, ids=[name for name, *_ in ERRORS])
def test_errors_name_what_was_received(name: str, call: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def test_indices_out_of_range_are_refused() -> None:
    for key in (5, (0, 3), (0, 0, 0)):
        with pytest.raises(IndexError):
            ops.get_item(X, key)
    with pytest.raises(TypeError, match="indexed by integers"):
        ops.get_item(X, "0")


def test_reading_the_batch_size_has_the_model_traced_anew() -> None:
    with pytest.raises(ReadsBatchSizeError):
        ops.shape(symbolic(B, 3))
    assert ops.shape(symbolic(4, 3)) == (4, 3) and ops.shape(X) == (2, 3)


def test_dropout_streams_differ_by_place_and_repeat_by_name() -> None:
    def masks() -> list[Any]:
        graph = Graph(samples=2, eager=True)
        x = graph.add_input("x", Spec((200,)), np.ones(200, np.float32))
        with recording(graph):
            with graph.scope("first"):
                first = [ops.dropout(x, 0.5), ops.dropout(x, 0.5)]
            with graph.scope("second"):
                return [tensor.numpy().tobytes() for tensor in (*first, ops.dropout(x, 0.5))]

    once = masks()
    assert len(set(once)) == 3
    assert masks() == once
