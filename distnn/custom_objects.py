"""The one registry of users' own classes and functions, under the names that saved models have for them.

A file only ever names things: what its names stand for is looked up here, in what the program registered or
gave. Nothing is imported, and no code is read, by a name in a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

SEPARATOR = ">"
_REGISTERED: dict[str, Any] = {}
_GIVEN: ContextVar[Mapping[str, Any]] = ContextVar("custom_objects", default={})  # noqa: B039  (never changed)
_MET: ContextVar[dict[str, Any] | None] = ContextVar("objects_met", default=None)


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """A decorator that lets saved models name a class or function, as `package>name`.

    It is to run, by importing its module, before such a model is loaded. A class needs `get_config`, and a
    constructor (or `from_config`) that takes what it returns. A name that is taken goes to the newcomer, so
    that a notebook's cell can be run again.

    Args:
        package: tells names apart that several libraries use.
        name: that of the class or function by default.

    Raises:
        ValueError: for a class without `get_config`, a function without a name, or a name with `>`.
    """

    def register(own: T) -> T:
        key = str(name or getattr(own, "__name__", "<lambda>"))
        if inspect.isclass(own) and not hasattr(own, "get_config"):
            raise ValueError(f"Cannot register a class that does not have a get_config() method: {key}")
        if not callable(own) or "<" in key or SEPARATOR in f"{package}{key}":
            raise ValueError(
                f"a class or function with a name without '{SEPARATOR}' can be registered. Received: {own!r} "
                f"as package={package!r}, name={name!r}"
            )
        _REGISTERED.pop(f"{package}{SEPARATOR}{key}", None)
        _REGISTERED[f"{package}{SEPARATOR}{key}"] = own
        return own

    return register


def get_registered_name(obj: Any) -> str:
    """The name `obj` is registered under, or its own."""
    found = registered_name(obj)
    return str(obj.__name__) if found is None else found


def registered_name(obj: Any) -> str | None:
    """The name that `obj` was registered under last, or is given by a scope; None if by none."""
    names = [name for name, own in {**_GIVEN.get(), **_REGISTERED}.items() if own is obj]
    return names[-1] if names else None


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """What `name` is registered for, or None.

    Args:
        name: with its package, as `get_registered_name` tells it.
        custom_objects, module_objects: more objects by name; the former first.
    """
    found = find(name, custom_objects)
    return (module_objects or {}).get(name) if found is None else found


def get_custom_objects() -> dict[str, Any]:
    """The registry itself: what is put into it can be named in files."""
    return _REGISTERED


class CustomObjectScope:
    """`with custom_object_scope({"Mine": Mine}):` names stand for these objects inside, first of all.

    Args:
        custom_objects: classes and functions by name.
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None) -> None:
        self.custom_objects = dict(custom_objects or {})
        for name, own in self.custom_objects.items():
            if not isinstance(name, str) or not callable(own):
                raise ValueError(
                    f"`custom_objects` takes classes and functions by name. Received: {name!r}: {own!r}"
                )

    def __enter__(self) -> CustomObjectScope:
        self._token = _GIVEN.set({**_GIVEN.get(), **self.custom_objects})
        return self

    def __exit__(self, *exception: object) -> None:
        _GIVEN.reset(self._token)


custom_object_scope = CustomObjectScope


def find(name: object, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What the program gave or registered under `name`; None if nothing. What was given comes first, also by
    its name without the package."""
    if not isinstance(name, str):
        return None
    given = {**_GIVEN.get(), **(custom_objects or {})}
    for objects, key in ((given, name), (given, _bare(name)), (_REGISTERED, name)):
        if key in objects:
            return objects[key]
    return None


def find_bare(name: object) -> Any:
    """The only thing registered whose name without the package is `name`; None if none or several."""
    found = [own for key, own in _REGISTERED.items() if _bare(key) == name]
    return found[0] if len(found) == 1 else None


def _bare(name: str) -> str:
    return name.rpartition(SEPARATOR)[2]


@contextmanager
def met_objects() -> Iterator[dict[str, Any]]:
    """Collects what `meet` is told of: what is needed to read a description made inside."""
    found: dict[str, Any] = {}
    token = _MET.set(found)
    try:
        yield found
    finally:
        _MET.reset(token)


def meet(name: str, own: Any) -> None:
    """`own` was described by its bare name."""
    found = _MET.get()
    if found is not None:
        found[name] = own
