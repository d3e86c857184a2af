"""Scaled dot-product attention: fused for each sequence and head, or step by step where weights are wanted.

Heads lie side by side along the last axis: `(batch, queries, heads x size)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn.kernels.attention import bind_attention, bind_attention_gradient
from distnn.ops.arguments import shape_of
from distnn.ops.comparison import cast, logical_and
from distnn.ops.elementwise import multiply, where
from distnn.ops.noise import dropout
from distnn.ops.op import Bound, Op
from distnn.ops.products import Matmul, matmul
from distnn.ops.shapes import expand_dims, product, reshape, transpose
from distnn.ops.softmax import softmax
from distnn.tensor import Array, Shape, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]
MASKED_SCORE = -1e9
"""What a masked score becomes, as in Keras: its weight is 0 unless all of a row are masked."""


class DotProductAttention(Op):
    """(output, weights) from (queries, keys, values), and a mask that is true where a key counts.

    Args:
        num_heads: heads that lie side by side along the last axes.
        scale: positive; scores are multiplied by it.
        is_causal: a query looks at keys up to its own place only.
    """

    def __init__(self, num_heads: int, scale: float, is_causal: bool) -> None:
        self.num_heads, self.scale, self.is_causal = int(num_heads), float(scale), bool(is_causal)

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        q, k, v = (spec.shape for spec in inputs[:3])
        fits = len(q) == len(k) == len(v) == 3 and q[2] == k[2] and k[:2] == v[:2] and q[0] == k[0]
        sizes = (q[-1], v[-1])
        if not fits or any(not isinstance(size, int) or size % self.num_heads for size in sizes):
            raise ValueError(
                f"attention of {self.num_heads} heads: queries {keras_shape(q)}, keys {keras_shape(k)} and "
                f"values {keras_shape(v)} do not fit"
            )
        if len(inputs) > 3:
            mask = inputs[3].shape
            if len(mask) != 3 or mask[0] not in (1, q[0]) or mask[1] not in (1, q[1]) or mask[2] != k[1]:
                raise ValueError(
                    f"an attention mask of shape {keras_shape(mask)} does not fit {keras_shape(q[:2])} "
                    f"queries and {keras_shape(k[1:2])} keys"
                )
        weights: Shape = (q[0], self.num_heads, q[1], k[1])
        return Spec((*q[:2], v[2]), inputs[0].dtype), Spec(weights, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        mask = inputs[3] if len(inputs) > 3 else np.zeros((0, 0, 0), np.bool_)
        q, k, v = inputs[:3]
        return bind_attention(q, k, v, mask, self.scale, self.is_causal, outputs[0], outputs[1])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        assert doutputs[1] is None, "the weights are for the gradient; nothing else reads them"
        parts = DotProductAttentionGradient(self)(*inputs[:3], outputs[1], doutputs[0])
        return (*parts, *(None for _ in inputs[3:]))

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return _flops(self, inputs, samples, 1)


class DotProductAttentionGradient(Op):
    """Gradients by queries, keys and values, from (queries, keys, values, weights, dout)."""

    def __init__(self, attention: DotProductAttention) -> None:
        self.attention = attention

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[0], inputs[1], inputs[2]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return bind_attention_gradient(inputs, self.attention.scale, self.attention.is_causal, outputs)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return _flops(self.attention, inputs, samples, 2)


def _flops(op: DotProductAttention, inputs: Sequence[Spec], samples: int, passes: int) -> int:
    """Two products of each pass over the scores, half of them if causal, and some 20 for a weight."""
    q, k, v = (spec.concrete(samples) for spec in inputs[:3])
    scores = q[0] * q[1] * k[1] // (2 if op.is_causal else 1)
    return scores * (2 * passes * (q[2] + v[2]) + 20 * op.num_heads)


def attend(
    query: Any,
    key: Any,
    value: Any,
    *,
    num_heads: int,
    scale: float,
    mask: Any = None,
    is_causal: bool = False,
) -> Any:
    """Values weighted by how queries and keys agree, head by head.

    Args:
        query: `(batch, queries, num_heads x size)`.
        key: `(batch, keys, num_heads x size)`.
        value: `(batch, keys, num_heads x value size)`.
        num_heads: heads that lie side by side along the last axes.
        scale: positive; scores are multiplied by it.
        mask: true where a key counts: `(batch or 1, queries or 1, keys)`.
        is_causal: a query looks at keys up to its own place only.
    """
    masks = [] if mask is None else [cast(mask, "bool")]
    parts = (cast(part, "float32") for part in (query, key, value))
    return DotProductAttention(num_heads, scale, is_causal)(*parts, *masks)[0]


def attend_with_weights(
    query: Any,
    key: Any,
    value: Any,
    *,
    num_heads: int,
    scale: float,
    mask: Any = None,
    is_causal: bool = False,
    rate: float = 0.0,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """`attend` step by step, with its weights `(batch, num_heads, queries, keys)`.

    Args:
        query, key, value, num_heads, scale, is_causal: as for `attend`.
        mask: as for `attend`, or with the heads' axis after the batch's.
        rate: of a dropout of the weights.
        seed: the dropout's own number.
    """
    q, k, v = (_heads_apart(cast(part, "float32"), num_heads) for part in (query, key, value))
    scores = Matmul(False, True)(multiply(q, scale), k)
    mask = _whole_mask(mask, shape_of(scores), is_causal)
    if mask is not None:
        scores = where(mask, scores, MASKED_SCORE)
    weights = softmax(scores)
    if rate:
        weights = dropout(weights, rate, seed=seed)
    joined = transpose(matmul(weights, v), (0, 2, 1, 3))
    return reshape(joined, (*shape_of(joined)[:2], shape_of(value)[2])), weights


def _heads_apart(x: Any, num_heads: int) -> Any:
    batch, places, width = shape_of(x)
    assert isinstance(width, int)
    return transpose(reshape(x, (batch, places, num_heads, width // num_heads)), (0, 2, 1, 3))


def _whole_mask(mask: Any, scores: Shape, is_causal: bool) -> Any:
    """The mask and the causal one together, to be broadcast to the scores; None where there is none."""
    if mask is not None:
        mask = cast(mask, "bool")
        mask = expand_dims(mask, 1) if len(shape_of(mask)) == 3 else mask
    if not is_causal:
        return mask
    queries, keys = scores[-2:]
    assert isinstance(queries, int) and isinstance(keys, int)
    below = np.tri(queries, keys, dtype=np.bool_)[None, None]
    return below if mask is None else logical_and(mask, below)


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
) -> Any:
    """Attention of heads that have an axis of their own: `(batch, places, heads, size)`, and so the result.

    Args:
        query, key, value: keys and values have as many places.
        bias: added to the scores; not supported, must be None.
        mask: true where a key counts: `(batch, heads or 1, queries, keys)`.
        scale: of the scores; one over the root of the size by default.
        is_causal: a query looks at keys up to its own place only.
    """
    if bias is not None:
        raise ValueError("dot_product_attention: `bias` is not supported; use matmul and softmax")
    q, k, v = (cast(part, "float32") for part in (query, key, value))
    batch, queries, heads, size = shape_of(q)
    assert isinstance(heads, int) and isinstance(size, int)
    flat = [reshape(part, (*shape_of(part)[:2], product(shape_of(part)[2:]))) for part in (q, k, v)]
    options: dict[str, Any] = {
        "num_heads": heads,
        "scale": size**-0.5 if scale is None else scale,
        "is_causal": is_causal,
    }
    if mask is None:
        out = attend(*flat, **options)
    else:
        out = attend_with_weights(*flat, mask=mask, **options)[0]
    return reshape(out, (batch, queries, heads, shape_of(v)[3]))
