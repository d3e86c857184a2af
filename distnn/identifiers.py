"""Strings and configs for objects, as Keras has them: `"adam"`, `{"class_name": "Adam", "config": {...}}`.

One table of classes for each kind; the tables lie with their kinds (initializers, optimizers, ...). Classes
of users are never imported from a config: they are given as `custom_objects`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from distnn.naming import did_you_mean

T = TypeVar("T")


def class_by_name(
    name: object, table: Mapping[str, type[T]], kind: str, custom_objects: Mapping[str, type[T]] | None = None
) -> type[T]:
    """The class of `name`.

    Raises:
        ValueError: Keras's `Could not interpret KIND identifier: NAME`, with the nearest valid name.
    """
    found = {**table, **(custom_objects or {})}.get(name) if isinstance(name, str) else None
    if found is None:
        raise not_interpreted(name, table, kind)
    return found


def from_config(
    config: Mapping[str, Any],
    table: Mapping[str, type[T]],
    kind: str,
    custom_objects: Mapping[str, type[T]] | None = None,
) -> T:
    """The object a `{"class_name": ..., "config": {...}}` describes."""
    if "class_name" not in config:
        raise ValueError(
            f"Could not interpret {kind} identifier: {dict(config)}. "
            "Expected a dict with 'class_name' and 'config'."
        )
    cls: Any = class_by_name(config["class_name"], table, kind, custom_objects)
    arguments = dict(config.get("config") or {})
    result: T = cls.from_config(arguments) if hasattr(cls, "from_config") else cls(**arguments)
    return result


def to_config(value: Any) -> dict[str, Any]:
    """`{"class_name": ..., "config": {...}}` of an object with `get_config`."""
    return {"class_name": type(value).__name__, "config": value.get_config()}


def not_interpreted(identifier: object, table: Mapping[str, Any], kind: str) -> ValueError:
    """The error for what is neither a name, a config nor an object of the kind."""
    hint = did_you_mean(identifier, table)
    return ValueError(f"Could not interpret {kind} identifier: {identifier}{'.' if hint else ''}{hint}")
