"""Strings and configs for objects, as Keras has them: `"adam"`, `{"class_name": "Adam", "config": {...}}`.

One table of classes for each kind; the tables lie with their kinds (initializers, optimizers, ...). What is
not in them is the user's own: `custom_objects` knows what was registered or given.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from distnn import custom_objects as registry
from distnn.errors import UnknownNameError
from distnn.naming import did_you_mean
from distnn.own_configs import config_of_own

T = TypeVar("T")


def lookup(name: object, table: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The class or function of `name`, or None: what was given or registered by this name, then the table,
    then what was registered by it in some package."""
    found = registry.find(name, custom_objects)
    if found is None and isinstance(name, str):
        found = table.get(name)
    return registry.find_bare(name) if found is None else found


def class_by_name(
    name: object, table: Mapping[str, type[T]], kind: str, custom_objects: Mapping[str, Any] | None = None
) -> type[T]:
    """The class of `name`.

    Raises:
        UnknownNameError: Keras's `Could not interpret KIND identifier: NAME`, with the nearest valid name.
    """
    found = lookup(name, table, custom_objects)
    if not isinstance(found, type):
        raise not_interpreted(name, table, kind)
    return found


def from_config(
    config: Mapping[str, Any],
    table: Mapping[str, type[T]],
    kind: str,
    custom_objects: Mapping[str, Any] | None = None,
) -> T:
    """The object a `{"class_name": ..., "config": {...}}` describes."""
    if "class_name" not in config:
        raise ValueError(
            f"Could not interpret {kind} identifier: {dict(config)}. "
            "Expected a dict with 'class_name' and 'config'."
        )
    cls = class_by_name(config["class_name"], table, kind, custom_objects)
    return made_from(cls, config.get("config") or {}, kind)


def made_from(cls: type[T], config: Mapping[str, Any], kind: str) -> T:
    """An object of `cls` from what its `get_config` returned.

    Raises:
        ValueError: its constructor, or `from_config`, does not take that.
    """
    own: Any = cls
    try:
        made: T = own.from_config(dict(config)) if hasattr(own, "from_config") else own(**config)
    except TypeError as error:
        raise ValueError(
            f"the {kind} {cls.__name__} cannot be made of its config {dict(config)}: {error}. What "
            "`get_config` returns must be what the constructor, or `from_config`, takes."
        ) from error
    return made


def to_config(value: Any, table: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """`{"class_name": ..., "config": {...}}` of an object with `get_config`.

    Raises:
        ValueError: for one of the user's own of which no object can be made from this.
    """
    name = name_of(type(value), table, kind)
    is_own = all(type(value) is not known for known in table.values())
    return {"class_name": name, "config": config_of_own(value, kind) if is_own else value.get_config()}


def name_of(own: Any, table: Mapping[str, Any], kind: str) -> str:
    """By which name a class or function is found again; one of the user's own by its bare name, if it was
    not registered.

    Raises:
        ValueError: it has no such name.
    """
    name = registry.registered_name(own)
    if name is not None:
        return name
    name = getattr(own, "__name__", "<nameless>")
    keys = [key for key, known in table.items() if known is own]
    if keys:
        return name if inspect.isclass(own) or name in keys else keys[0]
    if name in table or "<" in name:
        why = "has the name of one of distnn's" if name in table else "has no name"
        raise ValueError(
            f"the {kind} {name} is your own and {why}: {HOW_TO_REGISTER}, or build the model in code and use "
            "load_weights"
        )
    registry.meet(name, own)
    return name


HOW_TO_REGISTER = "decorate it with `@distnn.saving.register_keras_serializable()`"


def not_interpreted(identifier: object, table: Mapping[str, Any], kind: str) -> UnknownNameError:
    """The error for what is neither a name, a config nor an object of the kind."""
    hint = did_you_mean(identifier, table)
    message = f"Could not interpret {kind} identifier: {identifier}{'.' if hint else ''}{hint}"
    return UnknownNameError(message, identifier, kind)
