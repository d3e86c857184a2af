"""`get_file`: a file from the web, kept in a folder where Keras keeps its own, so that both find it there.

It is downloaded beside its place and moved there once it is whole and its hash is right.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.parse
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from distnn.errors import DataError

SCHEMES = ("http", "https", "file")
TIMEOUT_S = 60.0
_CHUNK = 1 << 18
_ALGORITHMS = {"sha256": 64, "md5": 32}


def get_file(
    fname: str | os.PathLike[str] | None = None,
    origin: str | None = None,
    untar: bool = False,
    md5_hash: str | None = None,
    file_hash: str | None = None,
    cache_subdir: str = "datasets",
    hash_algorithm: str = "auto",
    extract: bool = False,
    archive_format: Any = "auto",
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
) -> str:
    """The path of a file that is downloaded from `origin` unless it is there already, with the right hash.

    Args:
        fname: its name; the last part of the address by default.
        origin: its address: http, https or file.
        untar: `extract`, of a tar archive.
        md5_hash: `file_hash`, of MD5.
        file_hash: SHA-256 or MD5 in hex. Without one nothing is checked.
        cache_subdir: the folder in `cache_dir`.
        hash_algorithm: "sha256", "md5", or "auto": by the hash's length.
        extract: unpack a tar or zip archive beside it.
        archive_format: "tar", "zip", a list of these, "auto" for both, or None for none.
        cache_dir: the environment's `KERAS_HOME`, or `~/.keras`.
        force_download: download it in any case.

    Returns:
        The file's path, or that of the folder with what was in the archive.

    Raises:
        DataError: it cannot be had; the message says from where and to where it would have been brought.
    """
    if origin is None:
        raise ValueError('Please specify the "origin" argument (URL of the file to download).')
    scheme = urllib.parse.urlsplit(origin).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"`origin` must be an address of {', '.join(SCHEMES)}. Received: origin={origin!r}")
    name = os.fspath(fname or "") or os.path.basename(urllib.parse.urlsplit(origin).path)
    if not name or "/" in name or os.sep in name:
        raise ValueError(
            f"`fname` is a name without a folder; `cache_subdir` is for that. Received: fname={name!r}"
        )
    check = _Check(
        md5_hash if file_hash is None else file_hash, "md5" if file_hash is None else hash_algorithm
    )
    folder = keras_home(cache_dir) / cache_subdir
    unpack = extract or untar
    target = folder / (f"{name}_archive" if unpack and (fname is None or "." not in name) else name)
    if force_download or not target.exists() or not check.fits(target):
        _download(origin, target, check)
        force_download = True
    if not unpack:
        return str(target)
    place = folder / (f"{name.partition('.')[0]}_extracted" if target.name == name else name)
    if force_download or not place.exists():
        _unpack(target, place, "tar" if untar else archive_format)
    return str(place)


def keras_home(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where Keras keeps what it downloads: `KERAS_HOME`, or `~/.keras`."""
    return Path(cache_dir or os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


class _Check:
    """A hash that a file must have, or none."""

    def __init__(self, expected: str | None, algorithm: str) -> None:
        self.expected = None if expected is None else str(expected).lower()
        by_length = {length: name for name, length in _ALGORITHMS.items()}
        found = by_length.get(len(self.expected or ""), "") if algorithm == "auto" else algorithm
        if self.expected is not None and _ALGORITHMS.get(found) != len(self.expected):
            raise ValueError(
                f"`file_hash` is SHA-256 (64 hex digits) or MD5 (32). Received: {expected!r} with "
                f"hash_algorithm={algorithm!r}"
            )
        self.algorithm = found or "sha256"

    def fits(self, path: Path) -> bool:
        if self.expected is None:
            return True
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.expected


def _download(origin: str, target: Path, check: _Check) -> None:
    """Bring `origin` to `target`; what is there stays until all of the new file is."""
    # Most programs download nothing, and TLS takes a while to load.
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _beside(target) as part:
            with urlopen(origin, timeout=TIMEOUT_S) as answer, part.open("wb") as file:
                _copy(answer, file, target.name, answer.headers.get("Content-Length"))
            if not check.fits(part):
                raise DataError(
                    f"{origin} is another file than expected: its {check.algorithm} is not {check.expected}. "
                    f"If you have the right one, put it to {target}"
                )
            os.replace(part, target)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{origin} cannot be downloaded ({reason}): download it elsewhere and put it to {target}"
        ) from error


def _copy(answer: Any, file: BinaryIO, name: str, length: str | None) -> None:
    """All bytes, with a line that counts them on a terminal.

    Raises:
        OSError: they end too early.
    """
    done, total = 0, int(length) if length is not None and length.isdigit() else None
    shown = sys.stderr.isatty()
    while chunk := answer.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        if shown:
            of = "" if total is None else f" of {total / 1e6:.1f}"
            sys.stderr.write(f"\rDownloading {name}: {done / 1e6:.1f}{of} MB")
            sys.stderr.flush()
    if shown:
        sys.stderr.write("\n")
    if total is not None and done != total:
        raise OSError(f"it ended after {done:,} of {total:,} bytes")


def _unpack(archive: Path, place: Path, archive_format: Any) -> None:
    """The archive's files in the folder `place`, which is there whole or not at all.

    Raises:
        DataError: it is no archive, or names files outside of itself.
    """
    formats = ["tar", "zip"] if archive_format == "auto" else archive_format
    formats = [formats] if isinstance(formats, str) else list(formats or ())
    try:
        with _beside(place) as folder:
            if "tar" in formats and tarfile.is_tarfile(archive):
                with tarfile.open(archive) as opened:
                    opened.extractall(folder, filter="data")
            elif "zip" in formats and zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as zipped:
                    zipped.extractall(folder)
            else:
                raise DataError(f"{archive} is no archive of {' or '.join(formats) or 'any format'}")
            if place.exists():
                shutil.rmtree(place)
            os.replace(folder, place)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive} cannot be unpacked to {place}: {error}") from error


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path on the same disk for what is to be moved to `target`; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        yield Path(folder) / "new"
