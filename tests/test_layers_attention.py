"""Attention layers against NumPy in float64, and what must hold of them: masks, configs, bytes, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import Array, train

from distnn import layers
from distnn.layers import AdditiveAttention, Attention, Dense, Input, Layer, MultiHeadAttention
from distnn.models import Model, load_model

RNG = np.random.default_rng(5)
QUERY, VALUE, KEY = (RNG.normal(size=shape) for shape in ((3, 4, 6), (3, 5, 6), (3, 5, 6)))
VALUE_MASK = np.array([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]], bool)
QUERY_MASK = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]], bool)
PAIR_MASK = np.random.default_rng(1).random((3, 4, 5)) < 0.6
PAIR_MASK[..., 0] = True


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def expected(
    layer: MultiHeadAttention, query: Array, value: Array, key: Array, mask: Any = True, causal: bool = False
) -> tuple[Array, Array]:
    """Keras's definition, by einsum."""
    weights = [w.astype(np.float64) for w in layer.get_weights()]
    qw, qb, kw, kb, vw, vb, ow, ob = weights
    q = np.einsum("btd,dnh->btnh", query, qw) + qb
    k = np.einsum("bsd,dnh->bsnh", key, kw) + kb
    v = np.einsum("bsd,dnh->bsnh", value, vw) + vb
    scores = np.einsum("btnh,bsnh->bnts", q / np.sqrt(layer.key_dim), k)
    if causal:
        mask = np.logical_and(mask, np.tri(*scores.shape[-2:], dtype=bool))
    p = softmax(np.where(mask, scores, -1e9))
    return np.einsum("bnts,bsnh,nho->bto", p, v, ow) + ob, p


def attention(**options: Any) -> MultiHeadAttention:
    """A layer whose biases are not zero."""
    given = {"num_heads": 2, "key_dim": 3, "value_dim": 4, "bias_initializer": "random_normal", **options}
    return MultiHeadAttention(**given)


def test_multi_head_attention_has_kerass_weights() -> None:
    layer = attention(output_shape=7)
    assert layer(QUERY, VALUE).shape == (3, 4, 7)
    assert [v.path for v in layer.weights] == [
        f"{part}/{kind}"
        for part in ("query", "key", "value", "attention_output")
        for kind in ("kernel", "bias")
    ]
    shapes = [(6, 2, 3), (2, 3), (6, 2, 3), (2, 3), (6, 2, 4), (2, 4), (2, 4, 7), (7,)]
    assert [v.shape for v in layer.weights] == shapes
    assert len(attention(use_bias=False)(QUERY, VALUE).shape) == 3


MASKS: list[tuple[str, dict[str, Any], Any]] = [
    ("none", {}, True),
    ("pairs", {"attention_mask": PAIR_MASK}, PAIR_MASK[:, None]),
    ("keys", {"value_mask": VALUE_MASK}, VALUE_MASK[:, None, None]),
    (
        "queries and keys",
        {"query_mask": QUERY_MASK, "key_mask": VALUE_MASK},
        QUERY_MASK[:, None, :, None] & VALUE_MASK[:, None, None],
    ),
    (
        "heads",
        {"attention_mask": np.stack([PAIR_MASK, ~PAIR_MASK], axis=1), "value_mask": VALUE_MASK},
        np.stack([PAIR_MASK, ~PAIR_MASK], axis=1) & VALUE_MASK[:, None, None],
    ),
    ("integers", {"attention_mask": PAIR_MASK.astype(np.int32)}, PAIR_MASK[:, None]),
]


@pytest.mark.parametrize(("name", "options", "mask"), MASKS, ids=[name for name, *_ in MASKS])
@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_computes_what_keras_defines(
    name: str, options: dict[str, Any], mask: Any, causal: bool
) -> None:
    layer = attention()
    y = layer(QUERY, VALUE, KEY, **options, use_causal_mask=causal)
    wanted, weights = expected(layer, QUERY, VALUE, KEY, mask, causal)
    is_seen = np.broadcast_to(mask, weights.shape)
    if causal:
        is_seen = is_seen & np.tri(4, 5, dtype=bool)
    rows = is_seen.any(axis=(1, 3))  # a query that may look nowhere looks at random
    np.testing.assert_allclose(y[rows], wanted[rows], rtol=1e-4, atol=1e-5)
    again, scores = layer(QUERY, VALUE, KEY, **options, use_causal_mask=causal, return_attention_scores=True)
    np.testing.assert_allclose(again[rows], wanted[rows], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, weights, rtol=1e-4, atol=1e-6)


def test_a_key_is_the_value_by_default_and_all_may_be_named() -> None:
    layer = attention()
    x = Input((4, 6))
    model = Model(x, layer(query=x, value=x, use_causal_mask=True))
    np.testing.assert_array_equal(
        model.predict(QUERY, verbose=0), layer(QUERY, QUERY, QUERY, use_causal_mask=True)
    )


def test_dropout_of_weights_acts_in_training_only() -> None:
    layer = attention(dropout=0.5)
    still = layer(QUERY, VALUE)
    np.testing.assert_array_equal(layer(QUERY, VALUE), still)
    _, weights = layer(QUERY, VALUE, training=True, return_attention_scores=True)
    assert 0 < (weights == 0).mean() < 1


# Attention and AdditiveAttention


def dot_scores(query: Array, key: Array, scale: Any) -> Array:
    return np.asarray(query @ key.transpose(0, 2, 1)) * scale


def concat_scores(query: Array, key: Array, scale: Any) -> Array:
    return np.asarray(np.tanh((query[:, :, None] + key[:, None]) * scale).sum(axis=-1))


def additive_scores(query: Array, key: Array, scale: Any) -> Array:
    return np.asarray((np.tanh(query[:, :, None] + key[:, None]) * scale).sum(axis=-1))


SINGLE: list[tuple[str, Callable[[], Layer], Callable[..., Array]]] = [
    ("dot", Attention, dot_scores),
    ("dot scaled", lambda: Attention(use_scale=True), dot_scores),
    ("concat", lambda: Attention(use_scale=True, score_mode="concat"), concat_scores),
    ("additive", AdditiveAttention, additive_scores),
    ("additive plain", lambda: AdditiveAttention(use_scale=False), additive_scores),
]


@pytest.mark.parametrize(("name", "make", "scores"), SINGLE, ids=[name for name, *_ in SINGLE])
@pytest.mark.parametrize("masked", [False, True])
def test_single_head_attention_computes_what_keras_defines(
    name: str, make: Callable[[], Layer], scores: Callable[..., Array], masked: bool
) -> None:
    layer = make()
    given = [QUERY, VALUE, KEY]
    mask = [QUERY_MASK, VALUE_MASK] if masked else None
    options: dict[str, Any] = {"use_causal_mask": masked, "return_attention_scores": True}
    layer(given)
    if name == "dot scaled":
        layer.set_weights([np.array(0.7)])
    if name == "concat":
        layer.set_weights([np.array(0.7), np.array(1.0)])
    y, weights = layer(given, mask=mask, **options)
    scale = layer.get_weights()[0].astype(np.float64) if layer.weights else 1.0
    wanted = scores(QUERY, KEY, scale)
    if masked:
        wanted = np.where(VALUE_MASK[:, None] & np.tri(4, 5, dtype=bool), wanted, -1e9)
    p = softmax(wanted)
    np.testing.assert_allclose(weights, p, rtol=1e-4, atol=1e-6)
    out = p @ VALUE * (QUERY_MASK[..., None] if masked else 1.0)
    np.testing.assert_allclose(y, out, rtol=1e-4, atol=1e-5)
    assert layers.deserialize(layers.serialize(layer)).get_config() == layer.get_config()


# All of them in models


def model_of(kind: str, run_eagerly: bool = False) -> Model:
    x = Input((6, 4))
    h = Dense(4)(x)
    if kind == "causal":
        h = MultiHeadAttention(2, 3)(h, h, use_causal_mask=True)
    elif kind == "dropout":
        h = MultiHeadAttention(2, 3, dropout=0.2)(h, h)
    elif kind == "crossed":
        h = MultiHeadAttention(2, 2, output_shape=5)(h, x)
    elif kind == "single":
        h = layers.concatenate([Attention(use_scale=True)([h, x]), AdditiveAttention()([h, x, h])])
    model = Model(x, Dense(1)(layers.Flatten()(h)))
    model.compile("adam", "mse", run_eagerly=run_eagerly)
    return model


KINDS = ["causal", "dropout", "crossed", "single"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_for_any_workers_and_eagerly(kind: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(19, 6, 4)), rng.normal(size=(19, 1))
    options: dict[str, Any] = {"batch_size": 8, "shards": 3, "epochs": 2}
    expected_outcome = train(lambda: model_of(kind), x, y, **options)
    for workers in (1, 2, 3):
        place: dict[str, Any] = {"backend": "threads", "workers": workers}
        assert train(lambda: model_of(kind), x, y, **options, **place) == expected_outcome
    assert train(lambda: model_of(kind, True), x, y, **options) == expected_outcome


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_predicts_the_same(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.get_config() == model.get_config()
    x = np.random.default_rng(0).normal(size=(5, 6, 4))
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="`num_heads` must be a positive integer. Received: num_heads=0"):
        MultiHeadAttention(0, 3)
    with pytest.raises(ValueError, match="attends along axis 1. Received: attention_axes=2"):
        MultiHeadAttention(2, 3, attention_axes=2)
    with pytest.raises(ValueError, match="query, value and key of shape"):
        MultiHeadAttention(2, 3)(QUERY[0], QUERY[0])
    with pytest.raises(ValueError, match="do not fit"):
        MultiHeadAttention(2, 3)(QUERY, VALUE, KEY[:, :4])
    with pytest.raises(ValueError, match="mask of shape"):
        MultiHeadAttention(2, 3)(QUERY, VALUE, attention_mask=PAIR_MASK[:, :, :4])
    with pytest.raises(ValueError, match=r"\[query, value\]"):
        Attention()(QUERY)
    with pytest.raises(ValueError, match="score_mode"):
        Attention(score_mode="dots")
