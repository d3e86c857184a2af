"""Keras's data sets from files made here: where they lie, what comes out, and what is never called."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distnn.datasets import (
    boston_housing,
    california_housing,
    cifar,
    cifar10,
    cifar100,
    fashion_mnist,
    imdb,
    keras_files,
    mnist,
    reuters,
)
from distnn.datasets.restricted_pickles import read_npz, read_pickle
from distnn.errors import DataError

Keep = Callable[[str, bytes], Path]


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Puts a file where Keras keeps it, and takes its hash for the right one; nothing can be downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for module, attribute in ((keras_files, "BASE"), (fashion_mnist, "BASE"), (cifar, "ORIGIN")):
        monkeypatch.setattr(module, attribute, (tmp_path / "nowhere").as_uri() + "/")

    def put(name: str, content: bytes) -> Path:
        path = tmp_path / "datasets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        monkeypatch.setitem(keras_files.HASHES, name, hashlib.sha256(content).hexdigest())
        return path

    return put


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def lists(*texts: list[int]) -> Any:
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def test_mnist(keep: Keep) -> None:
    x, y = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28), np.arange(3, dtype=np.uint8)
    keep("mnist.npz", npz(x_train=x, y_train=y, x_test=x[:1], y_test=y[:1]))
    (x_train, y_train), (x_test, y_test) = mnist.load_data()
    assert x_train.dtype == np.uint8 and x_train.tolist() == x.tolist() and y_train.tolist() == [0, 1, 2]
    assert x_test.shape == (1, 28, 28) and y_test.tolist() == [0]


def test_a_file_that_is_not_there_is_named_with_address_and_place(keep: Keep, tmp_path: Path) -> None:
    for load, name in ((mnist.load_data, "mnist.npz"), (imdb.get_word_index, "imdb_word_index.json")):
        with pytest.raises(DataError) as caught:
            load()
        text = str(caught.value)
        assert text.startswith(f"{(tmp_path / 'nowhere').as_uri()}/{name} cannot be downloaded (")
        assert text.endswith(f"put it to {tmp_path / 'datasets' / name}")


def test_a_file_with_another_hash_is_not_read(keep: Keep) -> None:
    keep("imdb.npz", npz(x_train=lists([1]), y_train=[0], x_test=lists([1]), y_test=[0])).write_bytes(
        b"other"
    )
    with pytest.raises(DataError, match="cannot be downloaded"):
        imdb.load_data()


def test_fashion_mnist(keep: Keep) -> None:
    x, y = np.arange(2 * 784, dtype=np.uint8), bytes([3, 9])
    for name, count in (("train", 2), ("t10k", 1)):
        images, labels = bytes(16) + x[: count * 784].tobytes(), bytes(8) + y[:count]
        keep(f"fashion-mnist/{name}-images-idx3-ubyte.gz", gzip.compress(images))
        keep(f"fashion-mnist/{name}-labels-idx1-ubyte.gz", gzip.compress(labels))
    (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()
    assert x_train.shape == (2, 28, 28) and x_train.dtype == np.uint8 and y_train.tolist() == [3, 9]
    assert x_train.ravel().tolist() == x.tolist() and x_test.shape == (1, 28, 28) and y_test.tolist() == [3]
    keep("fashion-mnist/train-labels-idx1-ubyte.gz", gzip.compress(bytes(8)))
    with pytest.raises(DataError, match="the train files of Fashion-MNIST do not fit together"):
        fashion_mnist.load_data()
    keep("fashion-mnist/train-labels-idx1-ubyte.gz", b"no gzip")
    with pytest.raises(DataError, match="is damaged .*remove it"):
        fashion_mnist.load_data()


def archive(files: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def batch(first: int, **labels: list[int]) -> dict[bytes, Any]:
    count = len(next(iter(labels.values())))
    data = (np.arange(count * 3072) + first).astype(np.uint8).reshape(count, 3072)
    return {b"data": data, **{name.encode(): values for name, values in labels.items()}}


def test_cifar10(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{cifar10.FOLDER}/data_batch_{i}": batch(i, labels=[i, i + 1]) for i in range(1, 6)}
    content = archive({**files, f"{cifar10.FOLDER}/test_batch": batch(0, labels=[7])})
    path = keep(f"{cifar10.FOLDER}-target_archive", content)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert x_train.shape == (10, 32, 32, 3) and x_train.dtype == y_train.dtype == y_test.dtype == np.uint8
    assert y_train.shape == (10, 1) and y_train[:4, 0].tolist() == [1, 2, 2, 3] and y_test.tolist() == [[7]]
    assert x_test[0, 0, 1].tolist() == [1, 1025 % 256, 2049 % 256]
    content = archive(files)
    path.write_bytes(content)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(DataError, match="lacks cifar-10-batches-py/test_batch"):
        cifar10.load_data()


def test_cifar100(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"train": batch(0, fine_labels=[5, 6], coarse_labels=[1, 2])}
    parts["test"] = batch(0, fine_labels=[9], coarse_labels=[3])
    content = archive({f"{cifar100.FOLDER}/{name}": part for name, part in parts.items()})
    keep(f"{cifar100.FOLDER}-target_archive", content)
    monkeypatch.setattr(cifar100, "SHA256", hashlib.sha256(content).hexdigest())
    (x_train, y_train), (_, y_test) = cifar100.load_data()
    assert x_train.shape == (2, 32, 32, 3) and y_train.tolist() == [[5], [6]] and y_train.dtype == np.int64
    assert cifar100.load_data("coarse")[0][1].tolist() == [[1], [2]] and y_test.tolist() == [[9]]
    with pytest.raises(ValueError, match="`label_mode` must be one of"):
        cifar100.load_data("both")


TEXTS = ([1, 2, 3, 4], [5, 1], [2, 9, 9, 1, 7], [3])


def write_imdb(keep: Keep) -> None:
    x, y = lists(*TEXTS), np.array([0, 1, 0, 1])
    keep("imdb.npz", npz(x_train=x, y_train=y, x_test=x[:2], y_test=y[:2]))


def test_imdb_is_in_keras_order(keep: Keep) -> None:
    write_imdb(keep)
    (x_train, y_train), (x_test, y_test) = imdb.load_data()
    draw, order, second = np.random.RandomState(113), np.arange(4), np.arange(2)
    draw.shuffle(order)
    draw.shuffle(second)
    # Keras's `num_words` of None leaves the largest number out.
    expected = [[1, *(word + 3 if word < 9 else 2 for word in TEXTS[i])] for i in order]
    assert x_train.dtype == object and x_train.tolist() == expected
    assert y_train.tolist() == [i % 2 for i in order] and y_test.tolist() == second.tolist()
    assert x_test.tolist() == [[1, *(word + 3 for word in TEXTS[i])] for i in second]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_words": 6}, [[1, 2, 4], [1, 2], [1, 4, 5, 2, 2], [1, 5, 2, 2, 4, 2]]),
        ({"skip_top": 5, "num_words": 9}, [[2, 6], [2, 5, 2, 2, 2, 2], [2, 2, 5, 6, 7], [2, 8, 2]]),
        ({"oov_char": None, "num_words": 6}, [[1], [1, 4], [1, 4, 5], [1, 5, 4]]),
        (
            {"start_char": None, "index_from": 0, "num_words": 99},
            [[1, 2, 3, 4], [2, 9, 9, 1, 7], [3], [5, 1]],
        ),
        ({"maxlen": 4, "num_words": 99}, [[1, 6], [1, 8, 4]]),
    ],
)
def test_options_of_imdb(keep: Keep, options: Any, expected: list[list[int]]) -> None:
    write_imdb(keep)
    (x_train, y_train), _ = imdb.load_data(**options)
    assert sorted(x_train.tolist()) == sorted(expected) and len(y_train) == len(expected)


def test_imdb_without_texts_that_are_short(keep: Keep) -> None:
    write_imdb(keep)
    with pytest.raises(ValueError, match="shorter than maxlen=2, no sequence was kept"):
        imdb.load_data(maxlen=2)


def test_word_index(keep: Keep) -> None:
    keep("imdb_word_index.json", json.dumps({"the": 1, "café": 2}).encode())
    assert imdb.get_word_index() == {"the": 1, "café": 2}


def test_reuters(keep: Keep) -> None:
    keep("reuters.npz", npz(x=lists(*TEXTS, [8]), y=np.array([0, 1, 2, 3, 45])))
    (x_train, y_train), (x_test, y_test) = reuters.load_data(test_split=0.4, num_words=99)
    order = np.arange(5)
    np.random.RandomState(113).shuffle(order)
    labels = np.array([0, 1, 2, 3, 45])[order]
    assert y_train.tolist() == labels[:3].tolist() and y_test.tolist() == labels[3:].tolist()
    assert x_train.tolist() == [[1, *(word + 3 for word in [*TEXTS, [8]][i])] for i in order[:3]]
    names = reuters.get_label_names()
    assert len(names) == 46 and (names[0], names[3], names[45]) == ("cocoa", "earn", "lead")
    with pytest.raises(ValueError, match="Invalid `test_split` argument: 1.5"):
        reuters.load_data(test_split=1.5)


def test_houses(keep: Keep) -> None:
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    order = np.arange(10)
    np.random.RandomState(113).shuffle(order)
    keep("boston_housing.npz", npz(x=x, y=y))
    (x_train, y_train), (x_test, y_test) = boston_housing.load_data()
    assert y_train.tolist() == order[:8].tolist() and y_test.tolist() == order[8:].tolist()
    assert x_train.tolist() == x[order[:8]].tolist() and x_test.shape == (2, 2)
    many = np.arange(1000.0)
    keep("california_housing.npz", npz(x=many[:, None], y=many))
    (x_train, y_train), _ = california_housing.load_data("small", test_split=0.5, seed=1)
    assert len(y_train) == 300 and y_train.max() < 600 and x_train[:, 0].tolist() == y_train.tolist()
    assert len(california_housing.load_data()[1][1]) == 200
    with pytest.raises(ValueError, match="Argument `version` must be one of 'small', 'large'"):
        california_housing.load_data("tiny")


# What is in a pickle is never called


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["KERAS_HOME"] + "/evil",)


def test_a_pickle_that_calls_something_is_refused(keep: Keep, tmp_path: Path) -> None:
    bad = np.empty(1, object)
    bad[0] = Evil()
    keep("imdb.npz", npz(x_train=bad, y_train=[0], x_test=bad, y_test=[0]))
    with pytest.raises(DataError, match=r"imdb.npz, x_train.npy: is not plain data: it asks for posix.mkdir"):
        imdb.load_data()
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("protocol", range(5))
def test_plain_data_of_the_old_protocols_is_read(protocol: int) -> None:
    value = {b"data": np.arange(3), "n": np.float32(2.5), "l": [1, (2, "x")], "o": lists([1], [2, 3])}
    value["b"] = b"\xff"
    found = read_pickle(io.BytesIO(pickle.dumps(value, protocol)), "test")
    assert found[b"data"].tolist() == [0, 1, 2] and found["n"] == 2.5 and found["l"] == [1, (2, "x")]
    assert found["o"].tolist() == [[1], [2, 3]] and found["b"] == b"\xff"


@pytest.mark.parametrize("value", [print, np.load, Path("x"), {1, 2}.__class__, io.BytesIO])
def test_other_names_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="is not plain data: it asks for"):
        read_pickle(io.BytesIO(pickle.dumps(value)), "test")


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(npz(x=lists([1]))[:100])
    with pytest.raises(DataError, match="x.npz: cannot be read as an .npz file"):
        read_npz(path)
    with pytest.raises(DataError, match="is not plain data"):
        read_pickle(io.BytesIO(pickle.dumps([1, 2])[:-3]), "test")
