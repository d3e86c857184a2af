"""Buckets of texts and codes: the published hashes, Keras's buckets, shapes and messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn import layers
from distnn.layers import HashedCrossing, Hashing, Input
from distnn.layers.text_hashes import fingerprint64, siphash

NAMES = ["omar", "stringer", "marlo", "wire", "skywalker"]
LETTERS = ["A", "B", "C", "D", "E"]

FINGERPRINTS = {
    0: 11160318154034397263,
    1: 12917804110809363939,
    3: 3268219959478574187,
    4: 8899178591127745170,
    7: 17088493756539222794,
    8: 10643460534063147040,
    16: 17624453864830929246,
    17: 2237273621417572890,
    32: 10824083725960157628,
    33: 8045080651094301868,
    64: 16149515108185634462,
    65: 2768067016444695309,
    128: 10481128642166395277,
    129: 1060550032972533880,
    200: 15075557378531049012,
}
"""What Google's FarmHash gives for texts of so many letters."""


@pytest.mark.parametrize("size", FINGERPRINTS)
def test_fingerprint64_is_farmhashs(size: int) -> None:
    text = bytes(97 + (i * 7) % 26 for i in range(size))
    assert fingerprint64(text) == FINGERPRINTS[size]


def test_siphash_is_that_of_its_paper() -> None:
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert siphash(bytes(range(15)), key) == 0xA129CA6149BE45E5


KERAS: list[tuple[dict[str, Any], list[Any], list[int]]] = [
    ({"num_bins": 3}, LETTERS, [1, 0, 1, 1, 2]),
    ({"num_bins": 3, "mask_value": ""}, ["A", "B", "", "C", "D"], [1, 1, 0, 2, 2]),
    ({"num_bins": 3, "salt": [133, 137]}, LETTERS, [1, 2, 1, 0, 2]),
    ({"num_bins": 3, "salt": 133}, LETTERS, [0, 0, 2, 1, 0]),
    ({"num_bins": 3}, [0, 1, 2, 3, 4], [1, 0, 1, 0, 2]),
    ({"num_bins": 3}, [0.0, 1.7, 2.0, 3.2, 4.0], [1, 0, 1, 0, 2]),
    ({"num_bins": 1}, LETTERS, [0, 0, 0, 0, 0]),
    ({"num_bins": 2}, NAMES, [0, 0, 1, 0, 0]),
    ({"num_bins": 3, "mask_value": "omar"}, NAMES, [0, 1, 2, 1, 1]),
    ({"num_bins": 2, "salt": [133, 137]}, NAMES, [0, 1, 0, 1, 0]),
    ({"num_bins": 2, "salt": (211, 137)}, NAMES, [1, 0, 1, 0, 1]),
    ({"num_bins": 3, "salt": [133, 137]}, [0, 1, 2, 3, 4], [1, 1, 2, 0, 1]),
]
"""Buckets that Keras documents, or tests for on every platform."""


@pytest.mark.parametrize(("config", "values", "expected"), KERAS, ids=str)
def test_hashing_gives_kerass_buckets(config: dict[str, Any], values: list[Any], expected: list[int]) -> None:
    layer = layers.deserialize(json.loads(json.dumps(layers.serialize(Hashing(**config)))))
    found = layer(values)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(layer(np.array(values)[:, None]), np.array(expected)[:, None])
    if isinstance(values[0], str):
        np.testing.assert_array_equal(layer(np.array([value.encode() for value in values])), expected)


def test_hashing_encodes_as_keras_does() -> None:
    rows = np.array([["A", "B"], ["C", "A"]])  # in buckets 1, 0 and 1, 1
    counts = Hashing(3, output_mode="count")(rows)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0]])
    np.testing.assert_array_equal(Hashing(3, output_mode="multi_hot")(rows), np.minimum(counts, 1))
    one_hot = Hashing(3, output_mode="one_hot")
    assert one_hot(rows).shape == (2, 2, 3) and one_hot(rows[:, :1]).shape == (2, 3)
    np.testing.assert_array_equal(one_hot("A"), [0, 1, 0])
    np.testing.assert_array_equal(Hashing(3, output_mode="count")("A"), [0, 1, 0])


def test_hashed_crossing_gives_kerass_buckets() -> None:
    texts, codes = np.array(["A", "B", "A", "B", "A"]), np.array([101, 101, 101, 102, 102])
    expected = np.array([1, 4, 1, 1, 3])
    np.testing.assert_array_equal(HashedCrossing(5)((texts, codes)), expected)
    np.testing.assert_array_equal(HashedCrossing(5)((texts[:, None], codes[:, None])), expected[:, None])
    assert HashedCrossing(5)(("A", 101)) == 1
    one_hot = HashedCrossing(5, "one_hot")
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(one_hot))))
    np.testing.assert_array_equal(again([texts, codes]), np.eye(5)[expected])


A, B = np.array(["a", "b"]), np.array([1, 2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Hashing(0), "The `num_bins` for `Hashing` cannot be `None` or non-positive values"),
        (lambda: Hashing(3, salt=[1, 2, 3]), "can only be a tuple of size 2 integers, or a single integer"),
        (lambda: Hashing(3, output_mode="tf_idf"), "Invalid value for argument `output_mode`"),
        (lambda: Hashing(3, sparse=True), "`sparse` of Hashing is not supported"),
        (lambda: Hashing(3)(Input((2,))), "works on arrays of text or codes, before the model"),
        (lambda: HashedCrossing(3, "count"), "Unknown value for `output_mode` of HashedCrossing"),
        (lambda: HashedCrossing(3)(A), "should be called on a list or tuple of inputs"),
        (lambda: HashedCrossing(3)([A]), "should be called on at least two inputs"),
        (lambda: HashedCrossing(3)([A, B[:1]]), "inputs should have equal shape"),
        (lambda: HashedCrossing(3)([A, B * 0.5]), "should have an integer or string dtype"),
        (lambda: HashedCrossing(3)([A[None], B[None]]), "should have shape `\\(\\)`, `\\(batch_size\\)` or"),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
