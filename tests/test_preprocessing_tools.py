"""Sequences, texts, series and folders as arrays."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distnn.preprocessing.sequence
import distnn.preprocessing.text
from distnn.data import ArrayDataset
from distnn.errors import DataError
from distnn.layers import Dense, Flatten, Input
from distnn.models import Sequential
from distnn.preprocessing.sequence import pad_sequences
from distnn.preprocessing.text import Tokenizer, text_to_word_sequence, tokenizer_from_json
from distnn.utils import (
    image_dataset_from_directory,
    text_dataset_from_directory,
    timeseries_dataset_from_array,
)


@pytest.mark.parametrize("name", ["sequence", "text"])
def test_examples_in_the_docstrings(name: str) -> None:
    assert doctest.testmod(getattr(distnn.preprocessing, name)).failed == 0


# Sequences


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[0, 0, 1], [2, 3, 4], [0, 5, 6]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 4], [5, 6, 0]]),
        ({"maxlen": 2}, [[0, 1], [3, 4], [5, 6]]),
        ({"maxlen": 2, "truncating": "post", "value": 9}, [[9, 1], [2, 3], [5, 6]]),
        ({"maxlen": 4, "padding": "post", "value": -1}, [[1, -1, -1, -1], [2, 3, 4, -1], [5, 6, -1, -1]]),
        ({"maxlen": 0}, [[], [], []]),
    ],
)
def test_pad_sequences(options: dict[str, Any], expected: list[list[int]]) -> None:
    padded = pad_sequences([[1], [2, 3, 4], [5, 6]], **options)
    assert padded.tolist() == expected and padded.dtype == np.int32


def test_pad_sequences_of_vectors() -> None:
    padded = pad_sequences([np.ones((1, 2)), np.full((3, 2), 2.0), []], dtype="float32")
    assert padded.shape == (3, 3, 2) and padded.dtype == np.float32
    assert padded[0].tolist() == [[0, 0], [0, 0], [1, 1]] and not padded[2].any()


# Texts

TEXTS = ["The cat sat. The cat!", "A dog sat", "the the"]


def test_words_are_numbered_by_how_often_they_occur() -> None:
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.word_index == {"the": 1, "cat": 2, "sat": 3, "a": 4, "dog": 5}
    assert tokenizer.texts_to_sequences(["A cat, unknown", ["the", "DOG"]]) == [[4, 2], [1, 5]]
    assert tokenizer.sequences_to_texts([[4, 2, 77]]) == ["a cat"]
    assert (tokenizer.document_count, tokenizer.word_docs["the"], tokenizer.index_docs[3]) == (3, 2, 2)


def test_rare_and_unknown_words() -> None:
    tokenizer = Tokenizer(num_words=4, oov_token="?")
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.word_index["?"] == 1
    assert tokenizer.texts_to_sequences(["the cat sat here"]) == [[2, 3, 1, 1]]
    assert tokenizer.sequences_to_texts([[2, 3, 4, 50]]) == ["the cat ? ?"]


def test_characters_and_settings() -> None:
    tokenizer = Tokenizer(char_level=True, lower=False)
    tokenizer.fit_on_texts(["aA a"])
    assert tokenizer.texts_to_sequences(["Aa"]) == [[2, 1]]
    assert text_to_word_sequence("a,b-C", filters=",", lower=False, split=" ") == ["a", "b-C"]


def test_matrices() -> None:
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.texts_to_matrix(["the the cat"]).tolist() == [[0, 1, 1, 0, 0, 0]]
    assert tokenizer.texts_to_matrix(["the the cat"], "count").tolist() == [[0, 2, 1, 0, 0, 0]]
    assert tokenizer.texts_to_matrix(["the the cat"], "freq")[0, 1] == pytest.approx(2 / 3)
    tfidf = (1 + np.log(2)) * np.log(1 + 3 / (1 + 2))
    assert tokenizer.texts_to_matrix(["the the cat"], "tfidf")[0, 1] == pytest.approx(tfidf)


def test_a_tokenizer_is_kept_as_json() -> None:
    tokenizer = Tokenizer(num_words=4, oov_token="?")
    tokenizer.fit_on_texts(TEXTS)
    again = tokenizer_from_json(tokenizer.to_json())
    assert again.get_config() == tokenizer.get_config() and json.loads(again.to_json())
    assert again.texts_to_sequences(TEXTS) == tokenizer.texts_to_sequences(TEXTS)
    again.fit_on_texts(["cat"])
    assert again.word_counts["cat"] == 3 and again.document_count == 4


# Series


def test_windows_of_a_series() -> None:
    data = np.arange(10)
    found = timeseries_dataset_from_array(data, data * 10, sequence_length=3, batch_size=2)
    assert found.x.tolist()[:2] == [[0, 1, 2], [1, 2, 3]] and found.x.shape == (8, 3)
    assert found.y is not None and found.y.tolist() == list(range(0, 80, 10))
    assert len(found) == 4 and [len(x) for x, _ in found] == [2, 2, 2, 2]


def test_strides_rates_and_parts_of_a_series() -> None:
    data = np.stack([np.arange(20), -np.arange(20)], axis=1)
    found = timeseries_dataset_from_array(data, None, 3, sequence_stride=4, sampling_rate=2, start_index=5)
    assert found.x[:, :, 0].tolist() == [[5, 7, 9], [9, 11, 13], [13, 15, 17]]
    assert found.y is None and next(iter(found)).shape == (3, 3, 2)
    shifted = timeseries_dataset_from_array(data[:-5], data[5:, 0], 5, end_index=10)
    assert shifted.y is not None and shifted.y.tolist() == [5, 6, 7, 8, 9, 10]
    mixed = timeseries_dataset_from_array(data, None, 2, shuffle=True, seed=3)
    again = timeseries_dataset_from_array(data, None, 2, shuffle=True, seed=3)
    plain = timeseries_dataset_from_array(data, None, 2)
    assert np.array_equal(mixed.x, again.x) and not np.array_equal(mixed.x, plain.x)
    assert sorted(map(str, mixed.x.tolist())) == sorted(map(str, plain.x.tolist()))


def test_fit_evaluate_and_predict_take_a_dataset() -> None:
    series = np.sin(np.arange(60)).astype(np.float32)[:, None]
    data = timeseries_dataset_from_array(series[:-1], series[4:, 0], 4, batch_size=16)
    with Sequential([Input((4, 1)), Flatten(), Dense(1)]) as model:
        model.compile("sgd", "mse")
        history = model.fit(data, validation_data=data, epochs=2, verbose=0, seed=1)
        weights = model.get_weights()
        model.compile("sgd", "mse")
        assert model.optimizer.iterations == 0 and len(history.history["val_loss"]) == 2
        assert model.evaluate(data, verbose=0) == model.evaluate(data.x, data.y, verbose=0)
        np.testing.assert_array_equal(model.predict(data), model.predict(data.x))
        with pytest.raises(ValueError, match="a dataset has its own targets and batch size"):
            model.fit(data, batch_size=3)
    with Sequential([Input((4, 1)), Flatten(), Dense(1)]) as again:
        again.compile("sgd", "mse")
        again.fit(data.x, data.y, batch_size=16, shuffle=False, epochs=2, verbose=0, seed=1)
        assert [a.tobytes() for a in again.get_weights()] == [w.tobytes() for w in weights]


# Folders


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for name, words in (("neg", ["bad", "worse", "awful"]), ("pos", ["good", "better"])):
        (tmp_path / name).mkdir()
        for i, word in enumerate(words):
            (tmp_path / name / f"{i}.txt").write_text(f"a {word} text")
    (tmp_path / "pos" / "notes.md").write_text("no text of the data")
    return tmp_path


def test_texts_with_the_numbers_of_their_folders(texts: Path) -> None:
    found = text_dataset_from_directory(texts, shuffle=False, max_length=6)
    assert found.x.tolist() == ["a bad ", "a wors", "a awfu", "a good", "a bett"]
    assert found.y is not None and found.y.tolist() == [0, 0, 0, 1, 1]
    assert found.class_names == ["neg", "pos"] and found.file_paths[0].endswith("neg/0.txt")
    turned = text_dataset_from_directory(
        texts, class_names=["pos", "neg"], shuffle=False, label_mode="binary"
    )
    assert turned.y is not None and turned.y.tolist() == [[0.0], [0.0], [1.0], [1.0], [1.0]]
    assert text_dataset_from_directory(texts, label_mode=None).y is None
    one_hot = text_dataset_from_directory(texts, label_mode="categorical", shuffle=False)
    assert one_hot.y is not None and one_hot.y.tolist()[-1] == [0.0, 1.0]


def test_a_split_leaves_nothing_out(texts: Path) -> None:
    parts = [
        text_dataset_from_directory(texts, seed=4, validation_split=0.4, subset=subset)
        for subset in ("training", "validation")
    ]
    assert [len(part.x) for part in parts] == [3, 2]
    assert sorted(path for part in parts for path in part.file_paths) == sorted(
        str(path) for path in texts.rglob("*.txt")
    )


def test_images_are_scaled_to_one_size(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name, level, size in (("dark", 10, (8, 4)), ("light", 250, (3, 5))):
        (tmp_path / name).mkdir()
        image.new("RGB", size, (level, level, 0)).save(tmp_path / name / "one.png")
    found = image_dataset_from_directory(tmp_path, image_size=(6, 7), shuffle=False)
    assert found.x.shape == (2, 6, 7, 3) and found.x.dtype == np.float32
    assert found.x[1, :, :, 0].min() == found.x[1].max() == 250.0 and found.x[0, 0, 0].tolist() == [10, 10, 0]
    grey = image_dataset_from_directory(
        tmp_path, color_mode="grayscale", image_size=(2, 2), interpolation="nearest"
    )
    assert grey.x.shape == (2, 2, 2, 1)
    (tmp_path / "dark" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="broken.png: cannot be read as an image"):
        image_dataset_from_directory(tmp_path)


def test_pillow_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"pip install distnn\[images\]"):
        image_dataset_from_directory(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: pad_sequences([1, 2]), "must be a list of iterables. Found non-iterable at 0: 1"),
        (lambda path: pad_sequences([[1]], padding="left"), 'Padding type "left" not understood'),
        (lambda path: pad_sequences([np.ones((1, 2)), np.ones((1, 3))]), "items differ in shape"),
        (lambda path: Tokenizer().sequences_to_matrix([[1]]), "Specify a dimension"),
        (lambda path: Tokenizer(num_words=3).sequences_to_matrix([[1]], "idf"), "Unknown vectorization mode"),
        (lambda path: Tokenizer(3).sequences_to_matrix([[1]], "tfidf"), "Fit the Tokenizer on some data"),
        (lambda path: timeseries_dataset_from_array([1, 2], None, 2, 3), "`sequence_stride` must be higher"),
        (lambda path: timeseries_dataset_from_array([1, 2], None, 1, start_index=2), "must lie in the data"),
        (lambda path: text_dataset_from_directory(path / "none"), "there is no such folder"),
        (lambda path: text_dataset_from_directory(path / "neg"), "no files in the folders"),
        (lambda path: text_dataset_from_directory(path, class_names=["x"]), "did not match the names"),
        (lambda path: text_dataset_from_directory(path, validation_split=0.5), "`subset`.*and inversely"),
        (
            lambda path: text_dataset_from_directory(path, validation_split=0.5, subset="training"),
            "you must provide a `seed`",
        ),
        (lambda path: text_dataset_from_directory(path, label_mode="one"), "`label_mode` must be one of"),
        (lambda path: text_dataset_from_directory(path, labels=[1]), "`labels` must be"),
    ],
)
def test_refusals(texts: Path, call: Callable[[Path], Any], message: str) -> None:
    with pytest.raises((ValueError, DataError), match=message):
        call(texts)


def test_a_dataset_without_a_batch_size_is_one_batch() -> None:
    assert len(list(ArrayDataset(np.ones((5, 2))))) == len(ArrayDataset(np.ones((5, 2)))) == 1
