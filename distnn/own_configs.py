"""Configs of objects of the user's classes: what `get_config` says, or what the constructor was given.

They are looked at when they are made, so that a model that could not be loaded again says so when it is
saved.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

_ADVICE = (
    "define `get_config`, with all that the constructor takes, or build the model in code and use "
    "load_weights"
)


class Constructed:
    """The arguments that an object was made with. They stay where they are: a copy has none."""

    def __init__(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> None:
        self.args = args
        self.kwargs = dict(kwargs or {})

    def __reduce__(self) -> Any:
        return Constructed, ()


def config_of_own(value: Any, kind: str) -> dict[str, Any]:
    """The config of an object of the user's class.

    Raises:
        ValueError: no object could be made of it again.
    """
    cls = type(value)
    try:
        config: dict[str, Any] = value.get_config()
        if _is_ours(cls.get_config) and not _is_ours(cls.__init__):
            config = _with_arguments(value, config)
        json.dumps(config)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"the {kind} of your own class {cls.__name__} has no config for a file: "
            f"{type(error).__name__}: {error}; {_ADVICE}"
        ) from error
    if _is_ours(cls.from_config):
        _check_names(cls, config)
    return config


def _is_ours(method: Any) -> bool:
    """Whether it is no user's; `object`'s own constructor is nobody's."""
    return str(getattr(method, "__module__", "distnn.")).startswith("distnn.")


def _with_arguments(value: Any, config: dict[str, Any]) -> dict[str, Any]:
    """The base class's config, as far as the constructor takes it, and what the constructor was given."""
    constructed = getattr(value, "_constructed", None) or Constructed()
    signature = inspect.signature(type(value))
    given = dict(signature.bind_partial(*constructed.args, **constructed.kwargs).arguments)
    takes_any = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update(given.pop(parameter.name, {}))
            takes_any = True
    kept = {name: one for name, one in config.items() if takes_any or name in signature.parameters}
    return {**kept, **given}


def _check_names(cls: type[Any], config: Mapping[str, Any]) -> None:
    parameters = inspect.signature(cls).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    missing = [name for name, p in named.items() if p.default is p.empty and name not in config]
    extra = [name for name in config if name not in named]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        extra = []
    if missing or extra:
        what = f"lacks {missing}" if missing else f"has {extra}, which its constructor does not take"
        raise ValueError(f"the config of your own class {cls.__name__} {what}: {_ADVICE}")
