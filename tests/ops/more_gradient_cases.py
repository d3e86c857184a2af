"""Rows of the table in `test_ops_gradients`: ops that users write layers and losses with.

Each is a label, a call, the inputs (shapes or arrays), and whether they are drawn above 0.3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from distnn import ops
from distnn.ops.activations import Gelu

Row = tuple[str, Callable[..., Any], tuple[Any, ...], bool]

PLACES = np.array([[2, 0, -1], [1, 1, 7]], np.int32)
IDS = np.array([1, 0, 1, 5], np.int32)
ALONG = np.array([[[0, 1, 2, 1]], [[2, 2, -1, 9]]], np.int32)
INSIDE = np.array([[-0.7, 0.2, 0.55], [0.9, -0.3, 0.05]])
WITH_ZEROS = np.array([[1.5, 0.0, -2.0, 0.7], [0.0, 3.0, 0.0, 1.0], [1.1, 2.0, 0.3, -0.4]])


def zeroed(x: Any) -> Any:
    """NaN of indices out of range would spoil the sum that is checked."""
    return ops.nan_to_num(x)


SERIES = np.array([[2, 2, 0], [3, 0, 1], [1, 1, 1]], np.int32)
KEY_MASK = np.array([[[True, False, True, True, False]], [[True, True, True, False, True]]])


THREE = ((2, 4, 2), (2, 5, 2), (2, 5, 6))
"""Shapes of queries, keys and values."""


def attention(**options: Any) -> Callable[..., Any]:
    return partial(ops.attend, num_heads=2, scale=0.7, **options)


def stepwise(place: int = 0, **options: Any) -> Callable[..., Any]:
    return lambda *x: ops.attend_with_weights(*x, num_heads=2, scale=0.7, **options)[place]


MORE_CASES: list[Row] = [
    ("sin", ops.sin, ((2, 5),), False),
    ("cos", ops.cos, ((2, 5),), False),
    ("tan", ops.tan, (INSIDE,), False),
    ("arctan", ops.arctan, ((2, 5),), False),
    ("arcsin", ops.arcsin, (INSIDE,), False),
    ("arccos", ops.arccos, (INSIDE,), False),
    ("sinh", ops.sinh, ((2, 3),), False),
    ("cosh", ops.cosh, ((2, 3),), False),
    ("expm1", ops.expm1, ((2, 3),), False),
    ("erf", ops.erf, ((2, 5),), False),
    ("log2", ops.log2, ((2, 3),), True),
    ("log10", ops.log10, ((2, 3),), True),
    ("exp2", ops.exp2, ((2, 3),), False),
    ("mod", lambda x, y: ops.mod(x, y), ((2, 3), (3,)), True),
    ("logaddexp", ops.logaddexp, ((2, 3), (3,)), False),
    (
        "floored",
        lambda x: x + ops.floor(x) + ops.ceil(x) + ops.round(x),
        ((4,),),
        False,
    ),
    ("cumsum", lambda x: ops.cumsum(x, axis=1), ((2, 3, 2),), False),
    ("cumsum of all", ops.cumsum, ((2, 3),), False),
    ("prod", lambda x: ops.prod(x, axis=-1), (WITH_ZEROS,), False),
    ("prod of ends", lambda x: ops.prod(x, axis=(0, 2)), ((2, 2, 2),), False),
    ("take", lambda x: zeroed(ops.take(x, PLACES, axis=1)), ((2, 3, 2),), False),
    ("take of all", lambda x: ops.take(x, PLACES), ((3, 4),), False),
    ("take_along_axis", lambda x: zeroed(ops.take_along_axis(x, ALONG, axis=1)), ((2, 3, 4),), False),
    ("segment_sum", lambda x: ops.segment_sum(x, IDS, 3), ((4, 2),), False),
    ("scatter", lambda x: ops.scatter(np.array([[1, 0], [0, 1], [1, 0]]), x, (2, 2, 3)), ((3, 3),), False),
    ("sort", lambda x: ops.sort(x, axis=1), ((2, 5, 2),), False),
    ("sort of all", lambda x: ops.sort(x, axis=None), ((3, 3),), False),
    ("top_k", lambda x: ops.top_k(x, 2)[0], ((3, 5),), False),
    ("repeat", lambda x: ops.repeat(x, 3, axis=1), ((2, 3, 2),), False),
    ("repeat by numbers", lambda x: ops.repeat(x, [2, 0, 1], axis=1), ((2, 3),), False),
    ("tile", lambda x: ops.tile(x, (2, 1, 3)), ((2, 3),), False),
    ("flip", lambda x: ops.flip(x, axis=(0, 2)), ((2, 3, 2),), False),
    ("roll", lambda x: ops.roll(x, (1, -2), axis=(0, 1)), ((2, 5),), False),
    ("roll of all", lambda x: ops.roll(x, 2), ((2, 3),), False),
    ("split", lambda x: ops.multiply(*ops.split(x, 2, axis=1)), ((2, 6),), False),
    ("split at places", lambda x: ops.split(x, [1, 3], axis=1)[1], ((2, 6),), False),
    ("unstack", lambda x: ops.multiply(*ops.unstack(x, axis=1)), ((3, 2),), False),
    ("moveaxis", lambda x: ops.moveaxis(x, 0, -1), ((2, 3, 4),), False),
    ("ravel", ops.ravel, ((2, 3),), False),
    ("tril", ops.tril, ((2, 3, 4),), False),
    ("triu", lambda x: ops.triu(x, 1), ((3, 4),), False),
    ("meshgrid", lambda x, y: ops.multiply(*ops.meshgrid(x, y)), ((2,), (3,)), False),
    (
        "einsum of stacks",
        lambda x, y: ops.einsum("bqhd,bkhd->bhqk", x, y),
        ((2, 3, 2, 4), (2, 5, 2, 4)),
        False,
    ),
    ("einsum of three", lambda x, y, z: ops.einsum("ab,bc,cd->da", x, y, z), ((2, 3), (3, 2), (2, 4)), False),
    ("einsum with dots", lambda x, y: ops.einsum("...i,ij->...j", x, y), ((2, 3, 4), (4, 2)), False),
    ("einsum that sums", lambda x: ops.einsum("abc->b", x), ((2, 3, 2),), False),
    ("tensordot", lambda x, y: ops.tensordot(x, y, axes=[[0, 2], [1, 0]]), ((2, 3, 4), (4, 2, 2)), False),
    ("outer", ops.outer, ((3,), (2,)), False),
    ("logsumexp", lambda x: ops.logsumexp(x, axis=(0, 2)), ((2, 3, 2),), False),
    ("std", lambda x: ops.std(x, axis=1), ((2, 5),), False),
    ("average", lambda x, w: ops.average(x, 1, w), ((2, 3), (2, 3)), True),
    ("norm", lambda x: ops.norm(x, axis=1), ((2, 3),), False),
    ("norm 1", lambda x: ops.norm(x, 1, axis=1), ((2, 3),), False),
    ("norm 3", lambda x: ops.norm(x, 3, axis=1), ((2, 3),), True),
    ("norm infinity", lambda x: ops.norm(x, np.inf, axis=1), ((2, 3),), False),
    ("norm of a matrix", ops.norm, ((2, 3),), False),
    ("normalize", lambda x: ops.normalize(x, axis=1), ((2, 3),), False),
    ("normal noise", lambda x: ops.multiply(x, ops.normal_like(x, 0.5, seed=1)), ((3, 7),), False),
    ("arcsinh", ops.arcsinh, ((2, 3),), False),
    ("arccosh", lambda x: ops.arccosh(x + 1.0), ((2, 3),), True),
    ("arctanh", ops.arctanh, (INSIDE,), False),
    ("inner", ops.inner, ((2, 3), (4, 3)), False),
    ("vdot", ops.vdot, ((2, 3), (2, 3)), False),
    ("cross", ops.cross, ((2, 3), (2, 3)), False),
    ("median", lambda x: ops.median(x, axis=1), ((2, 4),), False),
    ("rms_normalization", lambda x, s: ops.rms_normalization(x, s), ((2, 3), (3,)), False),
    ("vstack", lambda x, y: ops.vstack([x, y]), ((3,), (2, 3)), False),
    ("diff", lambda x: ops.diff(x, 2, axis=1), ((2, 5),), False),
    ("trace", ops.trace, ((2, 3, 4),), False),
    ("slice of a block", lambda x: ops.slice(x, (1, 0), (-1, 2)), ((3, 4),), False),
    ("relu6", ops.relu6, ((4, 5),), False),
    ("relu of all arguments", lambda x: ops.general_relu(x, 0.1, 1.0, 0.3), ((4, 5),), False),
    ("selu", ops.selu, ((4, 5),), False),
    ("celu", lambda x: ops.celu(x, 0.7), ((4, 5),), False),
    ("hard_sigmoid", ops.hard_sigmoid, ((4, 5),), False),
    ("hard_silu", ops.hard_silu, ((4, 5),), False),
    ("hard_tanh", ops.hard_tanh, ((4, 5),), False),
    ("hard_shrink", ops.hard_shrink, ((4, 5),), False),
    ("soft_shrink", ops.soft_shrink, ((4, 5),), False),
    ("tanh_shrink", ops.tanh_shrink, ((4, 5),), False),
    ("softsign", ops.softsign, ((4, 5),), False),
    ("log_sigmoid", ops.log_sigmoid, ((4, 5),), False),
    ("mish", ops.mish, ((4, 5),), False),
    ("glu", ops.glu, ((3, 6),), False),
    ("squareplus", ops.squareplus, ((4, 5),), False),
    ("sparse_plus", ops.sparse_plus, ((4, 5),), False),
    ("sparse_sigmoid", ops.sparse_sigmoid, ((4, 5),), False),
    ("sparsemax", ops.sparsemax, ((3, 5),), False),
    ("sparsemax along axis 1", lambda x: ops.sparsemax(x, axis=1), ((2, 4, 3),), False),
    ("threshold", lambda x: ops.threshold(x, 0.2, -1.0), ((4, 5),), False),
    ("gelu without its slope", Gelu(), ((4, 5),), False),
    ("gelu after a bias", lambda x, b: ops.gelu(ops.bias_add(x, b), False), ((4, 5), (5,)), False),
    ("attention", attention(), ((2, 3, 4), (2, 5, 4), (2, 5, 6)), False),
    ("attention, causal", attention(is_causal=True), ((2, 5, 4), (2, 5, 4), (2, 5, 4)), False),
    ("attention, masked", attention(mask=KEY_MASK), ((2, 3, 4), (2, 5, 4), (2, 5, 4)), False),
    (
        "attention, causal and masked",
        attention(mask=KEY_MASK, is_causal=True),
        ((2, 4, 2), (2, 5, 2), (2, 5, 6)),
        False,
    ),
    (
        "attention step by step",
        stepwise(mask=KEY_MASK, is_causal=True, rate=0.3, seed=1),
        ((2, 5, 4),) * 3,
        False,
    ),
    ("attention with weights", lambda q, k: stepwise(place=1)(q, k, k), ((2, 3, 4), (2, 5, 4)), False),
    (
        "ctc_loss",
        lambda x: ops.ctc_loss(SERIES, x, np.array([3, 2, 0], np.int32), np.array([6, 4, 5], np.int32), 1),
        ((3, 6, 4),),
        False,
    ),
    (
        "attention of separate heads",
        lambda q, k, v: ops.dot_product_attention(q, k, v, is_causal=True),
        ((2, 3, 2, 2), (2, 3, 2, 2), (2, 3, 2, 3)),
        False,
    ),
]

NOT_DIFFERENTIABLE_EITHER = {
    "Argsort",
    "Ceil",
    "CtcBeamSearch",
    "CtcGreedyDecode",
    "Floor",
    "LogicalXor",
    "NormalNoise",
    "Round",
}
BACKWARD_ONLY_TOO = {"CtcGradient", "DotProductAttentionGradient", "ProdGradient", "ScatterAddAlongAxis"}
