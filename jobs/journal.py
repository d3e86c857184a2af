"""Lines of JSON that are only ever appended, each with a checksum of its own.

A crash can tear the last line; readers leave it out and the next writer cuts it. A damaged line elsewhere is
left out too and counted, so that somebody can be told.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distnn.checkpoint import canonical_json
from jobs.appending import AppendedFile

_KEY = "check"


@dataclass(frozen=True)
class Line:
    """A whole line: what it says, and where it begins and ends in the file."""

    record: dict[str, Any]
    start: int
    end: int


@dataclass(frozen=True)
class Contents:
    """What a journal holds.

    `damaged`: numbers (from 1) of lines whose checksum does not fit. `size`: up to the end of the last
    complete line; what lies beyond was torn. `is_torn`: whether anything does.
    """

    lines: tuple[Line, ...]
    damaged: tuple[int, ...]
    size: int
    is_torn: bool = False

    @property
    def records(self) -> list[dict[str, Any]]:
        return [line.record for line in self.lines]


def encode(record: Mapping[str, Any]) -> bytes:
    """A record as a line; numbers that are not finite become text (`"nan"`), as JSON has no word for them."""
    body = canonical_json({key: plain_json(value) for key, value in record.items()})
    separator = "," if len(record) else ""
    return f'{body[:-1]}{separator}"{_KEY}":"{_checksum(body)}"}}\n'.encode()


def read(path: Path) -> Contents:
    """All whole lines of a journal; none if there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Contents((), (), 0)
    lines: list[Line] = []
    damaged: list[int] = []
    start, number = 0, 0
    while (stop := data.find(b"\n", start)) >= 0:
        number += 1
        record = _decode(data[start:stop])
        if record is None:
            damaged.append(number)
        else:
            lines.append(Line(record, start, stop + 1))
        start = stop + 1
    return Contents(tuple(lines), tuple(damaged), start, start < len(data))


class Followed:
    """The reading side of a journal that grows: parsed again only when its size has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = -1
        self._records: list[dict[str, Any]] = []

    @property
    def records(self) -> list[dict[str, Any]]:
        """What all whole lines so far say."""
        size = self._size_now()
        if size != self._size:
            self._size = size
            self._records = read(self.path).records
        return self._records

    def _size_now(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


class Journal:
    """The writing side of a journal, kept open; a torn last line is cut by `repair`."""

    def __init__(self, path: Path) -> None:
        self.file = AppendedFile(path)

    def repair(self) -> Contents:
        """Cut a torn last line; returns what is left."""
        contents = read(self.file.path)
        self.file.cut_at(contents.size)
        return contents

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line."""
        self.file.append(encode(record))

    def cut_at(self, size: int) -> None:
        """Leave the first `size` bytes."""
        self.file.cut_at(size)

    def sync(self) -> None:
        """Wait until all is on the disk."""
        self.file.sync()

    def close(self) -> None:
        self.file.close()


def _decode(data: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(data)
        check = record.pop(_KEY)
        body = canonical_json(record)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    return record if check == _checksum(body) else None


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def plain_json(value: Any) -> Any:
    """A value as JSON can hold it: NumPy scalars as numbers, what is not finite or unknown as text."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(inner) for inner in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
