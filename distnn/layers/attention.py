"""Attention and AdditiveAttention: one head, no projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import ops
from distnn.layers.layer import Layer
from distnn.tensor import keras_shape
from distnn.variable import Variable

_MASKED = -1e9


class Attention(Layer):
    """Values weighted by how queries and keys agree. Luong et al. 2015.

    Args:
        use_scale: whether scores are multiplied by a trained number.
        score_mode: "dot", or "concat": the sum of tanh(query + key), times a trained number.
        dropout: rate of a dropout of the weights in training.
        seed: the dropout's own number.

    Call arguments:
        inputs: `[query, value]` or `[query, value, key]`, each `(batch, places, features)`; the key is the
            value by default.
        mask: `[query_mask, value_mask]`, each None or true where a place counts: `(batch, places)`.
        return_attention_scores: also return the weights `(batch, queries, keys)`.
        use_causal_mask: whether a query looks at keys up to its own place only.
    """

    supports_masking = True

    scale: Variable | None
    concat_score_weight: Variable | None

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError(
                "Invalid value for argument score_mode. Expected one of {'dot', 'concat'}. "
                f"Received: score_mode={score_mode}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be between 0 and 1. Received: dropout={dropout}")
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = float(dropout)
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def _scores(self, query: Any, key: Any) -> Any:
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, 1, 2))
            return scores if self.scale is None else ops.multiply(scores, self.scale)
        pairs = _pairs(query, key)
        if self.scale is not None:
            pairs = ops.multiply(pairs, self.scale)
        return ops.multiply(ops.sum(ops.tanh(pairs), axis=-1), self.concat_score_weight)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = _three(self, inputs)
        query_mask, value_mask = _two_masks(self, mask)
        scores = self._scores(query, key)
        if value_mask is not None:
            scores = ops.where(ops.expand_dims(ops.cast(value_mask, "bool"), 1), scores, _MASKED)
        if use_causal_mask:
            queries, keys = scores.spec.shape[1:]
            scores = ops.where(ops.tri(queries, keys, dtype="bool"), scores, _MASKED)
        weights = ops.softmax(scores)
        if training and self.dropout:
            weights = ops.dropout(weights, self.dropout, seed=self.seed)
        outputs = ops.matmul(weights, value)
        if query_mask is not None:
            outputs = ops.multiply(outputs, ops.expand_dims(ops.cast(query_mask, "float32"), 2))
        return (outputs, weights) if return_attention_scores else outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The query's mask."""
        return _two_masks(self, previous_mask)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "score_mode": self.score_mode,
            "dropout": self.dropout,
            "seed": self.seed,
        }


class AdditiveAttention(Attention):
    """Attention by sums of tanh(query + key), each times a trained number. Bahdanau et al. 2015.

    Args:
        use_scale: whether there are such numbers, one for each feature.
        dropout: rate of a dropout of the weights in training.
        seed: the dropout's own number.

    Called as `Attention`.
    """

    def __init__(
        self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **kwargs)

    def build(self, input_shape: Any) -> None:
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")

    def _scores(self, query: Any, key: Any) -> Any:
        found = ops.tanh(_pairs(query, key))
        return ops.sum(found if self.scale is None else ops.multiply(found, self.scale), axis=-1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["score_mode"]
        return config


def _pairs(query: Any, key: Any) -> Any:
    """query + key for each pair of places."""
    return ops.add(ops.expand_dims(query, 2), ops.expand_dims(key, 1))


def _three(layer: Layer, inputs: Any) -> tuple[Any, Any, Any]:
    if not isinstance(inputs, list | tuple) or len(inputs) not in (2, 3):
        raise ValueError(
            f"{type(layer).__name__} layer must be called on a list of inputs, namely [query, value] or "
            f"[query, value, key]. Received: {inputs!r}"
        )
    shapes = [tensor.spec.shape for tensor in inputs]
    if any(len(shape) != 3 for shape in shapes):
        raise ValueError(
            f"layer '{layer.name}' takes inputs of shape (batch, places, features). "
            f"Received: {', '.join(str(keras_shape(shape)) for shape in shapes)}"
        )
    return inputs[0], inputs[1], inputs[2] if len(inputs) == 3 else inputs[1]


def _two_masks(layer: Layer, mask: Any) -> tuple[Any, Any]:
    if mask is None:
        return None, None
    if not isinstance(mask, Sequence) or len(mask) not in (2, 3):
        raise ValueError(
            f"{type(layer).__name__} layer mask must be a list, namely [query_mask, value_mask]. "
            f"Received: {mask!r}"
        )
    return mask[0], mask[1]
