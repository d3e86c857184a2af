from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import numpy as safetensors_numpy

from distnn.checkpoint import canonical_json, load_tensors, save_tensors, write_atomically
from distnn.errors import CheckpointError

TENSORS = {
    "weights": np.arange(7, dtype=np.float32),
    "bias/0": np.float64([[1.5, -2.5]]),
    "step": np.array(3, dtype=np.int64),
    "empty": np.zeros((0, 4), np.uint8),
    "flags": np.array([True, False]),
}
METADATA = {"step": 12, "nested": {"b": [1, 2.5, None], "a": "ü"}, "loss": 0.1}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return set(a) == set(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.safetensors"


def test_round_trip(path: Path) -> None:
    digest = save_tensors(path, TENSORS, METADATA)
    tensors, metadata = load_tensors(path)
    assert same(tensors, TENSORS) and metadata == METADATA and len(digest) == 64
    assert list(tensors) == sorted(TENSORS)
    tensors["weights"][0] = 5.0


def test_equal_contents_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    save_tensors(path, TENSORS, METADATA)
    other = tmp_path / "other.safetensors"
    backwards = dict(reversed(TENSORS.items()))
    backwards["weights"] = backwards["weights"].astype(">f4")
    backwards["bias/0"] = np.asfortranarray(backwards["bias/0"])
    save_tensors(str(other), backwards, dict(reversed(METADATA.items())))
    assert other.read_bytes() == path.read_bytes()


def test_the_header_has_one_metadata_key(path: Path) -> None:
    save_tensors(path, TENSORS, METADATA)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header["__metadata__"]) == ["distnn"]
    text = header["__metadata__"]["distnn"]
    assert text == canonical_json(json.loads(text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda s: s != "__metadata__"),
        hnp.arrays(
            st.sampled_from(["f4", "f8", "i8", "u1", "?"]),
            hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
        ),
        max_size=4,
    ),
    st.dictionaries(st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)),
)
def test_whatever_is_saved_is_loaded(
    tmp_path: Path, tensors: dict[str, Any], metadata: dict[str, Any]
) -> None:
    path = tmp_path / "h.safetensors"
    save_tensors(path, tensors, metadata)
    loaded, described = load_tensors(path)
    assert same(loaded, tensors) and described == metadata


def test_infinite_floats_survive_in_metadata(path: Path) -> None:
    save_tensors(path, {}, {"best": float("inf")})
    assert load_tensors(path)[1] == {"best": float("inf")}


def test_refuses_what_is_not_numbers(path: Path) -> None:
    with pytest.raises(ValueError, match="tensor 'a' has dtype object"):
        save_tensors(path, {"a": np.array([None])})
    with pytest.raises(TypeError):
        save_tensors(path, {}, {"a": object()})
    assert list(path.parent.iterdir()) == []


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    save_tensors(path, TENSORS, METADATA)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError) as caught:
                load_tensors(path)
            assert str(path) in str(caught.value)


def test_every_truncation_is_noticed(path: Path) -> None:
    save_tensors(path, TENSORS, METADATA)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load_tensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="damaged"):
        load_tensors(path)


def test_a_zeroed_block_is_noticed(path: Path) -> None:
    save_tensors(path, {"w": np.ones(4096, np.float32)}, METADATA)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(4096) + whole[8192:])
    with pytest.raises(CheckpointError, match="does not match its digest. Use an earlier checkpoint"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (pickle.dumps([1, 2]), "is a pickle, which is never read"),
        (b"PK\x03\x04" + bytes(100), "is a zip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
        (b"\x93NUMPY" + bytes(100), "is a .npy file"),
        (b"hello, world, this is text", "its header is not whole"),
        (b"\xff" * 64, "its header is not whole"),
        (bytes(64), "its header is not whole"),
        ((2).to_bytes(8, "little") + b"[]", "its header is not whole"),
        (safetensors_numpy.save({"w": np.ones(2)}), "not one that distnn saved"),
        (safetensors_numpy.save({"w": np.ones(2)}, {"format": "pt"}), "not one that distnn saved"),
        (safetensors_numpy.save({}, {"distnn": "no json"}), "its metadata is not readable"),
        (safetensors_numpy.save({}, {"distnn": "[]"}), "its metadata is not readable"),
        (safetensors_numpy.save({}, {"distnn": "3"}), "its metadata is not readable"),
        (
            safetensors_numpy.save({}, {"distnn": '{"format":2,"metadata":{}}'}),
            "has format 2, this distnn reads format 1",
        ),
        (
            safetensors_numpy.save({}, {"distnn": '{"format":1,"metadata":{}}'}),
            "its metadata is not readable",
        ),
    ],
)
def test_other_files_are_told_apart(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_tensors(path)
    assert str(caught.value).startswith(f"{path}: ") and message in str(caught.value)


def test_missing_file_and_folder(path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load_tensors(path)
    with pytest.raises(CheckpointError, match="is a folder"):
        load_tensors(path.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission(path: Path) -> None:
    save_tensors(path, TENSORS)
    path.chmod(0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        load_tensors(path)
    path.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="cannot write"):
            save_tensors(path, TENSORS)
    finally:
        path.parent.chmod(0o700)


@pytest.mark.parametrize("fails_in", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, fails_in: str) -> None:
    save_tensors(path, TENSORS, METADATA)
    before = path.read_bytes()
    calls = []

    def full(*args: Any) -> None:
        calls.append(args)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, fails_in, full)
        with pytest.raises(
            OSError, match="No space left on device; what was there before is untouched"
        ) as caught:
            save_tensors(path, {"w": np.ones(1000)})
    assert calls and caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(path, b"old")

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        save_tensors(tmp_path / "none" / "c.safetensors", TENSORS)
    assert caught.value.filename == str(tmp_path / "none" / "c.safetensors")
