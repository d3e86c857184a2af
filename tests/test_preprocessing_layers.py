"""Layers that prepare data: inside a model where they are arithmetic, on arrays where they read text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from trainings import classification

from distnn import layers
from distnn.layers import (
    CategoryEncoding,
    Dense,
    Discretization,
    Input,
    IntegerLookup,
    Normalization,
    Rescaling,
    StringLookup,
    TextVectorization,
)
from distnn.models import Model, Sequential

X, Y = classification(40, 3, 3)


def again(layer: Any) -> Any:
    """The layer there and back as JSON."""
    entry = json.loads(json.dumps(layers.serialize(layer)))
    return layers.deserialize(entry)


# Numbers


def test_rescaling_multiplies_and_adds() -> None:
    x = np.array([[0, 128, 255]], np.uint8)
    np.testing.assert_allclose(Rescaling(1 / 127.5, -1)(x), [[-1, 128 / 127.5 - 1, 1]], atol=1e-6)


def test_normalization_learns_statistics_of_each_feature() -> None:
    layer = Normalization()
    layer.adapt(X)
    found = again(layer)(X)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-5)
    back = Normalization(mean=layer.mean, variance=layer.variance, invert=True)
    np.testing.assert_allclose(back(found), X, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("axis", "kept"), [(None, ()), (1, (1,)), ((1, -1), (1, 3)), (-1, (3,))])
def test_normalization_keeps_the_axes_it_is_told(axis: Any, kept: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(2, 3, size=(50, 2, 3, 4)).astype(np.float32)
    layer = Normalization(axis=axis)
    layer.adapt(x)
    others = tuple(i for i in range(4) if i not in kept)
    expected = (x - x.mean(axis=others, keepdims=True)) / x.std(axis=others, keepdims=True)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_normalization_of_a_constant_is_finite() -> None:
    layer = Normalization()
    layer.adapt(np.ones((5, 2)))
    assert np.isfinite(layer(np.ones((2, 2)))).all()


def test_preprocessing_is_part_of_the_model() -> None:
    normalization = Normalization()
    normalization.adapt(X)
    inside = Sequential([Input((3,)), normalization, Dense(3, "softmax")])
    outside = Sequential([Input((3,)), Dense(3, "softmax")])
    for model, x in ((inside, X), (outside, normalization(X))):
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, Y, epochs=2, verbose=0, seed=1)
    np.testing.assert_array_equal(inside.get_weights()[0], outside.get_weights()[0])
    assert inside.count_params() == outside.count_params()


def test_category_encoding_in_every_mode() -> None:
    several = np.array([[0, 2, 2], [1, 1, 3]])
    assert CategoryEncoding(4, "multi_hot")(several).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert CategoryEncoding(4, "count")(several).tolist() == [[1, 0, 2, 0], [0, 2, 0, 1]]
    assert CategoryEncoding(4, "one_hot")(np.array([3, 0])).tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]
    assert CategoryEncoding(2, "one_hot")(np.array([[1], [0]])).tolist() == [[0, 1], [1, 0]]
    assert again(CategoryEncoding(4, "count"))(several).tolist() == [[1, 0, 2, 0], [0, 2, 0, 1]]


def test_category_encoding_in_a_functional_model() -> None:
    a = Input((1,), dtype="int32")
    model = Model(a, CategoryEncoding(3, "one_hot")(a))
    assert model.predict(np.array([[2], [0]], np.int32)).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_discretization_by_boundaries() -> None:
    layer = Discretization(bin_boundaries=[0.0, 1.0, 2.0])
    x = np.array([[-1.5, 0.0, 1.0], [3.4, 0.5, 1.99]])
    assert layer(x).tolist() == [[0, 1, 2], [3, 1, 2]]
    assert again(layer)(x).tolist() == layer(x).tolist()
    one_hot = Discretization(bin_boundaries=[0.0], output_mode="one_hot")
    assert one_hot(np.array([-1.0, 1.0])).tolist() == [[1, 0], [0, 1]]


def test_discretization_learns_bins_of_equal_size() -> None:
    layer = Discretization(num_bins=4)
    values = np.random.default_rng(0).normal(size=400)
    layer.adapt(values)
    assert np.bincount(layer(values)).tolist() == [100, 100, 100, 100]


# Text and codes


WORDS = np.array(["b", "a", "c", "a", "b", "a"])


def test_lookup_numbers_the_most_frequent_first() -> None:
    layer = StringLookup()
    layer.adapt(WORDS)
    assert layer.get_vocabulary() == ["[UNK]", "a", "b", "c"]
    assert layer(np.array([["a", "z"], ["c", "b"]])).tolist() == [[1, 0], [3, 2]]
    assert again(layer)(WORDS).tolist() == layer(WORDS).tolist()


def test_lookup_of_equally_frequent_words_is_keras() -> None:
    layer = StringLookup()
    layer.adapt(np.array(["a", "b", "ab", "c"]))
    assert layer.get_vocabulary() == ["[UNK]", "c", "b", "ab", "a"]


def test_lookup_with_a_mask_and_without_unknown_words() -> None:
    masked = StringLookup(mask_token="", vocabulary=["a", "b"])
    assert masked(np.array(["", "a", "z"])).tolist() == [0, 2, 1]
    strict = StringLookup(num_oov_indices=0, vocabulary=["a", "b"])
    assert strict(np.array(["b", "a"])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="'z' is not in the vocabulary"):
        strict(np.array(["z"]))


def test_lookup_there_and_back() -> None:
    there = StringLookup(vocabulary=["a", "b"])
    back = StringLookup(vocabulary=there.get_vocabulary(), invert=True)
    assert back(there(np.array(["b", "z", "a"]))).tolist() == ["b", "[UNK]", "a"]


def test_integer_lookup() -> None:
    layer = IntegerLookup()
    layer.adapt(np.array([12, 1138, 42, 42, 12, 42]))
    assert layer.get_vocabulary() == [-1, 42, 12, 1138]
    assert layer(np.array([[42, 1138], [7, 12]])).tolist() == [[1, 3], [0, 2]]
    assert again(layer).get_vocabulary() == layer.get_vocabulary()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("multi_hot", [[0, 1, 1], [1, 0, 0]]),
        ("count", [[0, 2, 1], [3, 0, 0]]),
    ],
)
def test_lookup_as_vectors(mode: str, expected: list[list[int]]) -> None:
    layer = StringLookup(vocabulary=["a", "b"], output_mode=mode)
    assert layer(np.array([["a", "b", "a"], ["x", "y", "z"]])).tolist() == expected


def test_tf_idf_weighs_by_documents() -> None:
    layer = TextVectorization(output_mode="tf_idf")
    layer.adapt(np.array(["a b", "a c", "a a"]))
    vocabulary = layer.get_vocabulary()
    weights = {"a": np.log(1 + 3 / 4), "b": np.log(1 + 3 / 2), "c": np.log(1 + 3 / 2)}
    found = layer(np.array(["a a b", "z"]))
    expected = [0, *(weights[word] * {"a": 2, "b": 1}.get(word, 0) for word in vocabulary[1:])]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[1][0], np.mean(list(weights.values())), rtol=1e-6)
    np.testing.assert_array_equal(again(layer)(np.array(["a a b", "z"])), found)


def test_texts_as_padded_numbers() -> None:
    layer = TextVectorization(max_tokens=10, output_sequence_length=4)
    layer.adapt(np.array(["The cat sat.", "The dog!"]))
    assert layer.get_vocabulary()[:3] == ["", "[UNK]", "the"]
    numbers = layer(np.array(["the CAT, the bird", "dog"]))
    vocabulary = layer.get_vocabulary()
    assert [[vocabulary[n] for n in row] for row in numbers] == [
        ["the", "cat", "the", "[UNK]"],
        ["dog", "", "", ""],
    ]
    assert again(layer)(np.array(["dog"])).tolist() == numbers[1:].tolist()


def test_texts_by_characters_and_n_grams() -> None:
    characters = TextVectorization(split="character", standardize=None, vocabulary=["a", "b"])
    assert characters(np.array(["abA"])).tolist() == [[2, 3, 1]]
    pairs = TextVectorization(ngrams=2, output_mode="count", vocabulary=["a", "b", "a b"])
    assert pairs(np.array(["a b a"])).tolist() == [[1, 2, 1, 1]]


def test_text_enters_no_model() -> None:
    with pytest.raises(ValueError, match="works on arrays of text or codes, before the model"):
        StringLookup(vocabulary=["a"])(Input((1,)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rescaling("large"), "`scale` must be a number"),
        (lambda: Normalization(mean=1.0), "both `mean` and `variance` must be set"),
        (lambda: Normalization()(X), "has no statistics: call `adapt"),
        (lambda: Normalization(axis=0).adapt(X), "not the batch axis"),
        (lambda: CategoryEncoding(), "`num_tokens` must be a positive integer"),
        (lambda: CategoryEncoding(3, "hot"), "Unknown value for `output_mode`: 'hot'"),
        (lambda: Discretization(), "Give either `bin_boundaries` or `num_bins`"),
        (lambda: Discretization(num_bins=3)(X), "has no boundaries: call `adapt"),
        (lambda: StringLookup()(WORDS), "has no vocabulary: call `adapt"),
        (lambda: StringLookup(vocabulary=["a", "b", "a"]), "has 'a' more than once"),
        (lambda: StringLookup(max_tokens=2, vocabulary=["a", "b"]), "more than max_tokens=2"),
        (lambda: IntegerLookup(vocabulary=[1.5]), "takes whole numbers. Received: 1.5"),
        (lambda: TextVectorization(split="word"), "Unknown value for `split`: 'word'"),
    ],
)
def test_mistakes_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
