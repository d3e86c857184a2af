"""More of `distnn.ops` on plain arrays against NumPy: values, dtypes, messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn import activations, ops
from distnn.graph import Graph, recording
from distnn.layers import LayerNormalization, Softmax, UnitNormalization
from distnn.tensor import Batch, Spec

X = np.array([[1.5, -2.0, 0.25, 0.0], [0.5, 4.0, -1.0, 2.5]], np.float32)
Y = np.array([[2.0], [-0.5]], np.float32)
CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ODD = np.array([np.nan, np.inf, -np.inf, 1.0, 0.0], np.float32)

CASES: list[tuple[str, Any, Any]] = [
    ("sin", ops.sin(X), np.sin(X)),
    ("sinh", ops.sinh(X), np.sinh(X)),
    ("cosh", ops.cosh(X), np.cosh(X)),
    ("log2", ops.log2(np.abs(X) + 1), np.log2(np.abs(X) + 1)),
    ("log10", ops.log10(np.abs(X) + 1), np.log10(np.abs(X) + 1)),
    ("exp2", ops.exp2(X), np.exp2(X)),
    ("erf", ops.erf(X), np.vectorize(math.erf)(X)),
    ("floor", ops.floor(X), np.floor(X)),
    ("ceil", ops.ceil(X), np.ceil(X)),
    ("round", ops.round(X), np.round(X)),
    ("round to 1", ops.round(X * 0.33, 1), np.round(X * 0.33, 1)),
    ("trunc", ops.trunc(X), np.trunc(X)),
    ("mod", ops.mod(X, Y), np.mod(X, Y)),
    ("mod of integers", ops.mod(np.array([5, -5]), 3), np.array([2, 1], np.int32)),
    ("floor_divide", ops.floor_divide(X, Y), np.floor_divide(X, Y)),
    ("logical_xor", ops.logical_xor(X > 0, X > 1), (X > 0) ^ (X > 1)),
    ("isnan", ops.isnan(ODD), np.isnan(ODD)),
    ("isinf", ops.isinf(ODD), np.isinf(ODD)),
    ("isfinite", ops.isfinite(ODD), np.isfinite(ODD)),
    ("isclose", ops.isclose(ODD, ODD + 1e-7), np.isclose(ODD, ODD + 1e-7)),
    ("isclose infinity", ops.isclose(ODD, ODD[::-1].copy()), np.isclose(ODD, ODD[::-1])),
    ("isclose nan", ops.isclose(ODD, ODD, equal_nan=True), np.isclose(ODD, ODD, equal_nan=True)),
    ("nan_to_num", ops.nan_to_num(ODD, 3.0), np.where(np.isnan(ODD), np.float32(3), ODD)),
    ("logaddexp", ops.logaddexp(X, Y), np.logaddexp(X, Y)),
    ("cumsum", ops.cumsum(X, axis=0), np.cumsum(X, axis=0)),
    ("cumsum of booleans", ops.cumsum(X > 0), np.cumsum(X > 0, dtype=np.int32)),
    (
        "prod",
        ops.prod(CUBE[:, 1:, :2], axis=(0, 2), keepdims=True),
        CUBE[:, 1:, :2].prod((0, 2), keepdims=True),
    ),
    ("prod of integers", ops.prod(np.array([[1, 2], [3, 4]]), axis=1), np.array([2, 12], np.int32)),
    ("take", ops.take(CUBE, np.array([[1, -1], [0, 0]]), axis=2), np.take(CUBE, [[1, -1], [0, 0]], axis=2)),
    ("take one", ops.take(CUBE, 1, axis=1), CUBE[:, 1]),
    ("take outside", ops.take(np.array([1.0, 2.0]), np.array([0, 5])), np.array([1.0, np.nan])),
    (
        "take_along_axis",
        ops.take_along_axis(X, np.argsort(X, axis=1), axis=1),
        np.sort(X, axis=1),
    ),
    ("segment_sum", ops.segment_sum(X, np.array([1, 1]), 3), np.stack([X[0] * 0, X.sum(0), X[0] * 0])),
    ("scatter", ops.scatter(np.array([[1], [3]]), np.array([5, 7]), (4,)), np.array([0, 5, 0, 7], np.int32)),
    ("argsort", ops.argsort(X), np.argsort(X, axis=-1).astype(np.int32)),
    ("sort of all", ops.sort(X, axis=None), np.sort(X, axis=None)),
    ("sort of integers", ops.sort(np.array([3, 1, 2])), np.array([1, 2, 3], np.int32)),
    ("top_k", ops.top_k(X, 2)[0], np.array([[1.5, 0.25], [4.0, 2.5]], np.float32)),
    ("top_k places", ops.top_k(X, 2)[1], np.array([[0, 2], [1, 3]], np.int32)),
    ("repeat", ops.repeat(X, 2, axis=1), np.repeat(X, 2, axis=1)),
    ("repeat of all", ops.repeat(X, 2), np.repeat(X, 2)),
    ("repeat by numbers", ops.repeat(X, [0, 3], axis=0), np.repeat(X, [0, 3], axis=0)),
    ("tile", ops.tile(X, (3, 1, 2)), np.tile(X, (3, 1, 2))),
    ("tile by a number", ops.tile(X, 2), np.tile(X, 2)),
    ("flip", ops.flip(CUBE), np.flip(CUBE)),
    ("roll", ops.roll(CUBE, (1, 5), axis=(0, 2)), np.roll(CUBE, (1, 5), axis=(0, 2))),
    ("roll of all", ops.roll(CUBE, -7), np.roll(CUBE, -7)),
    ("split", ops.split(CUBE, 2, axis=2)[1], CUBE[..., 2:]),
    ("split at places", ops.split(CUBE, [1, -1], axis=2)[1], CUBE[..., 1:3]),
    ("unstack", ops.unstack(CUBE, axis=1)[2], CUBE[:, 2]),
    ("moveaxis", ops.moveaxis(CUBE, (0, 1), (2, 0)), np.moveaxis(CUBE, (0, 1), (2, 0))),
    ("ravel", ops.ravel(CUBE), CUBE.ravel()),
    ("tril", ops.tril(CUBE, -1), np.tril(CUBE, -1)),
    ("triu", ops.triu(CUBE, 1), np.triu(CUBE, 1)),
    ("meshgrid", ops.meshgrid(X[0], Y[:, 0])[0], np.meshgrid(X[0], Y[:, 0])[0]),
    (
        "meshgrid ij",
        ops.meshgrid(X[0], Y[:, 0], indexing="ij")[1],
        np.meshgrid(X[0], Y[:, 0], indexing="ij")[1],
    ),
    ("einsum", ops.einsum("bij,bkj->ikb", CUBE, CUBE), np.einsum("bij,bkj->ikb", CUBE, CUBE)),
    ("einsum implicit", ops.einsum("ij,jk", X, X.T), X @ X.T),
    ("einsum of a vector", ops.einsum("i,i->", X[0], X[1]), X[0] @ X[1]),
    ("einsum dots", ops.einsum("...ij,j->...i", CUBE, X[0]), CUBE @ X[0]),
    (
        "tensordot",
        ops.tensordot(CUBE, CUBE, axes=[[1, 2], [1, 2]]),
        np.tensordot(CUBE, CUBE, [[1, 2], [1, 2]]),
    ),
    ("tensordot by number", ops.tensordot(X, X.T, axes=1), X @ X.T),
    ("outer", ops.outer(X[0], X[1]), np.outer(X[0], X[1])),
    ("logsumexp", ops.logsumexp(X * 100, axis=1), np.logaddexp.reduce(X.astype(float) * 100, axis=1)),
    ("logsumexp of nothing", ops.logsumexp(np.full(3, -np.inf)), -np.inf),
    ("std", ops.std(X, axis=0), X.std(axis=0)),
    ("average", ops.average(X, axis=1, weights=X * X), np.average(X, axis=1, weights=X * X)),
    ("count_nonzero", ops.count_nonzero(X, axis=1), np.array([3, 4], np.int32)),
    ("norm", ops.norm(CUBE, axis=1), np.linalg.norm(CUBE, axis=1)),
    ("norm 1", ops.norm(X, 1, axis=1), np.linalg.norm(X, 1, axis=1)),
    ("norm infinity", ops.norm(X, np.inf, axis=1, keepdims=True), np.abs(X).max(axis=1, keepdims=True)),
    ("norm 3", ops.norm(X, 3, axis=1), np.linalg.norm(X, 3, axis=1)),
    ("norm of a matrix", ops.norm(X, "fro"), np.linalg.norm(X)),
    ("normalize", ops.normalize(X), X / np.linalg.norm(X, axis=1, keepdims=True)),
    ("normalize 1", ops.normalize(X, order=1), X / np.abs(X).sum(axis=1, keepdims=True)),
    ("arcsinh", ops.arcsinh(X), np.arcsinh(X)),
    ("arccosh", ops.arccosh(np.abs(X) + 1), np.arccosh(np.abs(X) + 1)),
    ("arctanh", ops.arctanh(X / 5), np.arctanh(X / 5)),
    ("inner", ops.inner(X, X), X @ X.T),
    ("vdot", ops.vdot(X, X), (X * X).sum()),
    ("cross", ops.cross(X[:, :3], X[:, 1:]), np.cross(X[:, :3], X[:, 1:])),
    ("moments", ops.moments(X, 0)[1], X.var(axis=0)),
    ("median", ops.median(CUBE, axis=1), np.median(CUBE, axis=1)),
    ("median of all", ops.median(X, keepdims=True), np.median(X, keepdims=True)),
    ("append", ops.append(X, Y), np.append(X, Y)),
    ("append along 1", ops.append(X, Y, axis=1), np.append(X, Y, axis=1)),
    ("vstack", ops.vstack([X[0], X]), np.vstack([X[0], X])),
    ("hstack", ops.hstack([X, Y]), np.hstack([X, Y])),
    ("diff", ops.diff(X, n=2), np.diff(X, n=2)),
    ("diagonal", ops.diagonal(CUBE), np.diagonal(CUBE, axis1=1, axis2=2)),
    ("trace", ops.trace(CUBE), np.trace(CUBE, axis1=1, axis2=2)),
    ("slice", ops.slice(CUBE, (0, 1, 2), (2, -1, 1)), CUBE[:, 1:, 2:3]),
    ("arange", ops.arange(2, 8, 3), np.array([2, 5], np.int32)),
    ("arange of floats", ops.arange(0.5, 2), np.array([0.5, 1.5], np.float32)),
    ("linspace", ops.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32)),
    ("eye", ops.eye(2, 3, k=1), np.eye(2, 3, 1, dtype=np.float32)),
    ("ones", ops.ones((2, 3), "int32"), np.ones((2, 3), np.int32)),
    ("zeros", ops.zeros(3), np.zeros(3, np.float32)),
    ("full", ops.full((2,), True), np.array([True, True])),
    ("tri", ops.tri(3, dtype="bool"), np.tri(3, dtype=bool)),
    ("relu", activations.relu(X, 0.1, 2.0, 0.3), np.where(X >= 0.3, np.minimum(X, 2), 0.1 * (X - 0.3))),
    (
        "selu",
        activations.get("selu")(X),
        1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(X)),
    ),
    ("celu", ops.celu(X, 0.5), np.where(X > 0, X, 0.5 * np.expm1(X / 0.5))),
    ("hard_sigmoid", activations.get("hard_sigmoid")(X), np.clip(X / 6 + 0.5, 0, 1)),
    ("hard_swish", activations.get("hard_swish")(X), X * np.clip(X / 6 + 0.5, 0, 1)),
    ("mish", activations.get("mish")(X), X * np.tanh(np.log1p(np.exp(X)))),
    ("softsign", activations.get("softsign")(X), X / (1 + np.abs(X))),
    ("log_sigmoid", activations.get("log_sigmoid")(X), -np.log1p(np.exp(-X))),
    ("exponential", activations.get("exponential")(X), np.exp(X)),
    ("soft_shrink", ops.soft_shrink(X), np.sign(X) * np.maximum(np.abs(X) - 0.5, 0)),
    ("squareplus", ops.squareplus(X), (X + np.sqrt(X * X + 4)) / 2),
    ("sparse_plus", ops.sparse_plus(X), np.where(X <= -1, 0, np.where(X >= 1, X, (X + 1) ** 2 / 4))),
    ("glu", ops.glu(X), X[:, :2] / (1 + np.exp(-X[:, 2:]))),
    ("sparsemax", ops.sparsemax(np.array([[1.0, 0.8, -5.0], [3.0, 0.0, 0.0]])), [[0.6, 0.4, 0], [1, 0, 0]]),
]


@pytest.mark.parametrize(("name", "found", "expected"), CASES, ids=[name for name, *_ in CASES])
def test_functions_on_arrays(name: str, found: Any, expected: Any) -> None:
    wanted = np.asarray(expected)
    assert np.shape(found) == wanted.shape
    if wanted.dtype.kind in "ib":
        assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_creation_makes_constants_of_a_traced_model() -> None:
    graph = Graph(samples=3)
    x = graph.add_input("x", Spec((Batch(), 4)))
    with recording(graph):
        made = ops.arange(4, dtype="float32")
        assert (x * made).shape == (None, 4) and made.graph is graph
        assert ops.is_tensor(made) and not ops.is_tensor(X)


def symbolic(*shape: Any) -> Any:
    return Graph(samples=2).add_input("x", Spec(shape))


B = Batch()
MISTAKES: list[tuple[str, Any]] = [
    ("running sums along the batch axis", lambda: ops.cumsum(symbolic(B, 3), axis=0)),
    ("flip along the batch axis", lambda: ops.flip(symbolic(B, 3))),
    ("sorting along the batch axis", lambda: ops.sort(symbolic(B, 3), axis=0)),
    ("take along the batch axis", lambda: ops.take(symbolic(B, 3), np.array([0]), axis=0)),
    ("batch axis of shape .* cannot be repeated", lambda: ops.tile(symbolic(B, 3), (2, 1))),
    ("size 3 has no 2 equal parts", lambda: ops.split(symbolic(B, 3), 2, axis=1)),
    ("has 3 parts. Received: num=2", lambda: ops.unstack(symbolic(B, 3), 2, axis=1)),
    ("`k` must be between 1 and .* size 4. Received: k=5", lambda: ops.top_k(X, 5)),
    ("names 2 operands. Received: 1", lambda: ops.einsum("ij,jk->ik", X)),
    ("a letter may stand once", lambda: ops.einsum("ii->i", X[:, :2])),
    ("must name axes of the operands", lambda: ops.einsum("ij->ik", X)),
    ("axes of one letter differ in size", lambda: ops.einsum("ij,jk->ik", X, X)),
    ("order 'nuc' over 2 axes is not supported", lambda: ops.norm(X, "nuc")),
    ("`dtype` must be 'float32', 'int32' or 'bool'", lambda: ops.ones(3, "float16")),
    ("`bias` is not supported", lambda: ops.dot_product_attention(CUBE, CUBE, CUBE, bias=CUBE)),
    ("values .* and\n?.*indices .* both have", lambda: take_of_batches()),
]


def take_of_batches() -> Any:
    graph = Graph(samples=2)
    x = graph.add_input("x", Spec((B, 3)))
    return ops.take(x, graph.add_input("i", Spec((B,), "int32")), axis=1)


@pytest.mark.parametrize(("message", "call"), MISTAKES, ids=[message[:40] for message, _ in MISTAKES])
def test_mistakes_are_named(message: str, call: Any) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "function",
    [
        ops.sum,
        ops.argmax,
        ops.softmax,
        ops.sort,
        ops.cumsum,
        ops.flip,
        lambda x, axis: ops.roll(x, axis, axis),
        lambda x, axis: ops.moveaxis(x, axis, axis - 1),
        lambda x, axis: ops.take(x, [0, 2], axis=axis),
        lambda x, axis: ops.concatenate([x, x], axis=axis),
        lambda x, axis: ops.mean(x, axis=(axis, axis - 1)),
        lambda x, axis: Softmax(axis=axis)(x),
        lambda x, axis: UnitNormalization(axis=axis)(x),
        lambda x, axis: LayerNormalization(axis=axis)(x),
    ],
)
def test_an_axis_may_be_a_number_of_numpys(function: Callable[..., Any]) -> None:
    expected = function(CUBE, axis=2)
    for axis in (np.int64(2), np.uint8(2)):
        np.testing.assert_array_equal(function(CUBE, axis=axis), expected)


def test_an_axis_must_be_a_whole_number() -> None:
    with pytest.raises(TypeError, match="float"):
        ops.sum(CUBE, axis=(0.0, 1.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.moveaxis(X, 5, 0),
        lambda: ops.moveaxis(X, 0, -3),
        lambda: ops.tensordot(X, X, axes=([3], [1])),
        lambda: ops.swapaxes(X, 0, 2),
        lambda: ops.expand_dims(X, 4),
        lambda: ops.expand_dims(X, -4),
        lambda: ops.stack([X, X], axis=3),
        lambda: ops.concatenate([X, X], axis=2),
        lambda: ops.append(X, X, axis=-3),
    ],
)
def test_an_axis_that_is_not_there_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"axis .* is not valid for a tensor with [23] axes"):
        call()
