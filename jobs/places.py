"""On which line of a TOML or JSON text a key stands, so that an error can name it.

Only used once something is wrong: it parses beginnings of the text again and again, which is slow and exact.
The caller has parsed the whole text before, so the text is valid.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

Path = Sequence[str | int]

_MAX_LINES = 400
_DECODER = json.JSONDecoder()
_CLOSINGS = ("", "]", "}", "}]", "]}", "}]}", "]}]")


def find_line(text: str, path: Path, *, is_json: bool) -> int | None:
    """The line (from 1) where the element at `path` begins, or the nearest parent that is found.

    None if the path is empty or the text is too long to look.
    """
    if text.count("\n") > _MAX_LINES:
        return None
    for length in range(len(path), 0, -1):
        part = path[:length]
        line = _json_line(text, part) if is_json else _toml_line(text, part)
        if line is not None:
            return line
    return None


def lookup(document: Any, path: Path) -> tuple[bool, Any]:
    """Whether `document` has an element at `path`, and the element."""
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and isinstance(part, int) and 0 <= part < len(document):
            document = document[part]
        else:
            return False, None
    return True, document


def _toml_line(text: str, path: Path) -> int | None:
    """The shortest beginning of the text, closed where a value is still open, that has the path."""
    lines = text.splitlines()
    for count in range(1, len(lines) + 1):
        beginning = "\n".join(lines[:count])
        for closing in _CLOSINGS:
            try:
                document = tomllib.loads(beginning + closing)
            except tomllib.TOMLDecodeError:
                continue
            if lookup(document, path)[0]:
                return count
            break
    return None


def _json_line(text: str, path: Path) -> int | None:
    offset = _json_offset(text, _skip_space(text, 0), list(path))
    return None if offset is None else text.count("\n", 0, offset) + 1


def _json_offset(text: str, at: int, path: list[str | int]) -> int | None:
    if not path:
        return at
    for key, key_at, value_at in _json_members(text, at):
        if key == path[0]:
            return key_at if len(path) == 1 else _json_offset(text, value_at, path[1:])
    return None


def _json_members(text: str, at: int) -> Iterator[tuple[str | int, int, int]]:
    """(key or index, offset of the key, offset of the value) of the object or array at `at`."""
    is_object, index = text[at] == "{", 0
    if not is_object and text[at] != "[":
        return
    at = _skip_space(text, at + 1)
    while text[at] not in "}]":
        key_at, key = at, index
        if is_object:
            found, at = _DECODER.raw_decode(text, at)
            at = _skip_space(text, text.index(":", at) + 1)
            yield found, key_at, at
        else:
            yield key, key_at, at
        _, at = _DECODER.raw_decode(text, at)
        at = _skip_space(text, at)
        if text[at] == ",":
            at = _skip_space(text, at + 1)
        index += 1


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
