"""Named tensors and their description in one safetensors file, written whole or not at all.

The file has one metadata key, `distnn`, with canonical JSON; a digest over everything in it is checked on
load. Equal contents give equal bytes. Nothing is pickled, and nothing here knows what the tensors mean:
model files and checkpoints are made by their owners.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import numpy as safetensors_numpy

from distnn.errors import CheckpointError

Array = npt.NDArray[Any]

FORMAT_VERSION = 1
METADATA_KEY = "distnn"

_OTHER_FORMATS = (
    (b"\x80", "a pickle, which is never read"),
    (b"PK\x03\x04", "a zip archive (such as .keras, .npz or PyTorch's .pt)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a .npy file"),
    (b"GGUF", "a GGUF file"),
)


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, floats by `repr`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def save_tensors(
    path: Path | str, tensors: Mapping[str, Array], metadata: Mapping[str, Any] | None = None
) -> str:
    """Write tensors and metadata to `path`, replacing what is there only once all is on the disk.

    Args:
        path: in a folder that exists.
        tensors: number arrays by name.
        metadata: anything JSON can hold.

    Returns:
        The digest of the content (SHA-256, hex).

    Raises:
        OSError: the file could not be written; what was there before is untouched.
    """
    ordered = {name: _plain(name, tensors[name]) for name in sorted(tensors)}
    described = dict(metadata or {})
    digest = content_digest(ordered, described)
    entry = {"digest": digest, "format": FORMAT_VERSION, "metadata": described}
    data = safetensors_numpy.save(ordered, {METADATA_KEY: canonical_json(entry)})
    write_atomically(Path(path), data)
    return digest


def load_tensors(path: Path | str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a file of `save_tensors` and check it.

    Returns:
        The tensors by name (sorted, writable) and the metadata.

    Raises:
        CheckpointError: the file is missing, unreadable, damaged, or not one of ours; the message says what
            to do.
    """
    path = Path(path)
    data = _read(path)
    entry = _entry(path, data)
    try:
        loaded = safetensors_numpy.load(data)
    except Exception as error:
        raise _damaged(path, str(error)) from error
    tensors = {name: np.array(loaded[name]) for name in sorted(loaded)}
    if content_digest(tensors, entry["metadata"]) != entry["digest"]:
        raise _damaged(path, "its content does not match its digest")
    return tensors, entry["metadata"]


def content_digest(tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> str:
    """SHA-256 over metadata, names, dtypes, shapes and bytes."""
    state = hashlib.sha256(f"distnn-tensors-{FORMAT_VERSION}\n{canonical_json(metadata)}\n".encode())
    for name in sorted(tensors):
        array = tensors[name]
        little = array.dtype.newbyteorder("<")
        state.update(f"{canonical_json(name)} {little.str} {list(array.shape)}\n".encode())
        state.update(np.ascontiguousarray(array, dtype=little).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that at any instant the old file or the new one is there, whole.

    Raises:
        OSError: with `path` named; the old file, if any, is untouched and nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        reason = f"cannot write {len(data):,} bytes: {error.strerror}; what was there before is untouched"
        raise type(error)(error.errno, reason, str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(name: str, value: Array) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
        raise ValueError(
            f"tensor '{name}' has dtype {array.dtype}: only numbers of at most 64 bits are saved"
        )
    return np.require(array, dtype=array.dtype.newbyteorder("="), requirements="C")


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise CheckpointError(f"{path}: is a folder, expected a .safetensors file in it") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise _damaged(path, "it is empty")
    for magic, what in _OTHER_FORMATS:
        if data.startswith(magic) and not _header(data):
            raise CheckpointError(
                f"{path}: is {what}, not a .safetensors file of distnn: give a file that distnn saved"
            )
    return data


def _header(data: bytes) -> bytes:
    """The header's JSON with its padding; empty if the file is too short for what it says."""
    length = int.from_bytes(data[:8], "little")
    return data[8 : 8 + length] if len(data) >= 8 + length > 8 else b""


def _entry(path: Path, data: bytes) -> dict[str, Any]:
    """Our own metadata out of the header."""
    header = _header(data)
    try:
        fields = json.loads(header)
    except ValueError as error:
        raise _damaged(path, "its header is not whole: the file is cut short or overwritten") from error
    if not isinstance(fields, dict) or not header.rstrip(b" ").endswith(b"}"):
        raise _damaged(path, "its header is not whole")
    extra = fields.get("__metadata__")
    text = extra.get(METADATA_KEY) if isinstance(extra, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(
            f"{path}: is a safetensors file, but not one that distnn saved (its metadata has no "
            f"'{METADATA_KEY}'): give a file that distnn saved"
        )
    try:
        entry: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise _damaged(path, "its metadata is not readable") from error
    version = entry.get("format") if isinstance(entry, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: has format {version}, this distnn reads format {FORMAT_VERSION}: "
            "use the version of distnn that wrote it"
        )
    if version is None or set(entry) != {"digest", "format", "metadata"} or text != canonical_json(entry):
        raise _damaged(path, "its metadata is not readable")
    return entry


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path}: is damaged: {what}. Use an earlier checkpoint, or save it again")
