"""What pydantic and the catalog find wrong with a spec, each as one clear line.

A line says where (file, line, key), what was given, what is allowed, and the nearest valid name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from distnn.naming import did_you_mean
from jobs.places import Path, find_line

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
    "string_too_short": "text that is not empty",
}
_BOUNDS = {"greater_than": "above", "greater_than_equal": "at least", "less_than": "below"}
_OWN = ("exclusive", "empty")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the key path, and what to say about it."""

    path: tuple[str | int, ...]
    message: str


@dataclass(frozen=True)
class Source:
    """The text a spec was read from, to find lines in; `overridden`: key paths given by `--set`."""

    name: str
    text: str
    is_json: bool
    overridden: Mapping[tuple[str | int, ...], str]

    def describe(self, problems: Sequence[Problem]) -> list[str]:
        """`FILE:LINE: KEY: MESSAGE` for each, in the order of the file.

        The option stands in place of file and line if an override is at fault; such come first.
        """
        placed = []
        for problem in problems:
            place = key_of(problem.path)
            message = f"{place}: {problem.message}" if place else problem.message
            option = self._option_at(problem.path)
            line = None if option else find_line(self.text, problem.path, is_json=self.is_json)
            where = option or (self.name if line is None else f"{self.name}:{line}")
            placed.append((line or 0, f"{where}: {message}"))
        return [text for _, text in sorted(placed, key=lambda entry: entry[0])]

    def _option_at(self, path: tuple[str | int, ...]) -> str | None:
        for given, option in self.overridden.items():
            if path and (given[: len(path)] == path or path[: len(given)] == given):
                return option
        return None


def key_of(path: Path) -> str:
    """`("model", "layers", 0, "units")` as `model.layers[0].units`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """A value as the user wrote it, more or less, and short."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = f"'{value}'"
    elif isinstance(value, dict):
        text = "a table with " + (", ".join(map(str, value)) or "nothing in it")
    elif isinstance(value, (list, tuple)):
        text = f"a list of {len(value)}"
    else:
        text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def from_validation(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """The problems behind a pydantic error, in the order of the spec's keys."""
    details = error.errors(include_url=False)
    unknown = [tuple(detail["loc"]) for detail in details if detail["type"] == "extra_forbidden"]
    return [
        Problem(tuple(detail["loc"]), _message(detail, model))
        for detail in details
        if not (detail["type"] == "missing" and _is_misspelt(tuple(detail["loc"]), unknown))
    ]


def _is_misspelt(missing: tuple[str | int, ...], unknown: Sequence[tuple[str | int, ...]]) -> bool:
    """Whether an unknown key beside it says the same already."""
    return any(path[:-1] == missing[:-1] and did_you_mean(path[-1], [str(missing[-1])]) for path in unknown)


def unknown_key(key: str, allowed: Sequence[str]) -> str:
    """Why a key is refused, with what is allowed in its place."""
    return f"unknown key.{did_you_mean(key, allowed)} Allowed here: {', '.join(allowed) or 'none'}"


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, loc, given = detail["type"], detail["loc"], detail["input"]
    context = detail.get("ctx", {})
    received = f"received {shown(given)}"
    if kind == "extra_forbidden":
        return unknown_key(str(loc[-1]), _fields_at(model, loc[:-1]))
    if kind == "missing":
        return _missing(loc, given, model)
    if kind in _OWN:
        return detail["msg"]
    if kind == "literal_error":
        options = [part.strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
        return f"expected {context['expected']}, {received}.{did_you_mean(given, options)}".removesuffix(".")
    if kind == "string_pattern_mismatch":
        return f"{_pattern_words(loc, context['pattern'])}, {received}"
    if kind == "string_too_long":
        return f"expected at most {context['max_length']} character(s), {received}"
    if kind in _BOUNDS:
        bound = next(iter(context.values()))
        return f"expected a number {_BOUNDS[kind]} {bound:g}, {received}"
    if kind in _WANTED:
        return f"expected {_WANTED[kind]}, {received}"
    return f"{detail['msg']}, {received}"


def _missing(loc: Path, given: Any, model: type[BaseModel]) -> str:
    hint = ""
    if isinstance(given, dict):
        others = [key for key in given if key not in _fields_at(model, loc[:-1])]
        meant = [key for key in others if did_you_mean(key, [str(loc[-1])])]
        hint = f" (is '{meant[0]}' meant to be it?)" if meant else ""
    info = _field_info(model, loc)
    return f"is required and not given{hint}" + (f": {info}" if info else "")


def _pattern_words(loc: Path, pattern: str) -> str:
    if loc[-1] == "factory":
        return "expected 'MODULE:FUNCTION'"
    return "expected a letter or digit, then up to 63 letters, digits, '.', '_' or '-'"


def _model_at(model: type[BaseModel], loc: Path) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if current is not None else None
        current = None if field is None else _inner_model(field.annotation)
    return current


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _inner_model(inner)
        if found is not None:
            return found
    return None


def _fields_at(model: type[BaseModel], loc: Path) -> list[str]:
    found = _model_at(model, loc)
    return [] if found is None else list(found.model_fields)


def _field_info(model: type[BaseModel], loc: Path) -> str:
    parent = _model_at(model, loc[:-1])
    field = None if parent is None else parent.model_fields.get(str(loc[-1]))
    if field is None:
        return ""
    return (field.description or (_inner_model(field.annotation) or type).__doc__ or "").rstrip(".")
