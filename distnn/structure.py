"""Nested lists, tuples and dicts of things: what models take and return. Leaves are anything else.

Dicts are walked in the order of their sorted keys, as Keras does. The description of an object
(`{"class_name": ..., "config": ...}`) is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(structure: Any) -> Iterator[Any]:
    """The leaves in order."""
    if _is_branch(structure):
        for key in sorted(structure):
            yield from leaves(structure[key])
    elif isinstance(structure, list | tuple):
        for part in structure:
            yield from leaves(part)
    else:
        yield structure


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with `function` of each leaf in its place, called in order."""
    if _is_branch(structure):
        done = {key: mapped(function, structure[key]) for key in sorted(structure)}
        return {key: done[key] for key in structure}
    if isinstance(structure, list | tuple):
        parts = [mapped(function, part) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    return function(structure)


def packed(structure: Any, values: Iterator[Any]) -> Any:
    """The same structure with the next of `values` in place of each leaf."""
    return mapped(lambda _: next(values), structure)


def _is_branch(structure: Any) -> bool:
    return isinstance(structure, dict) and "class_name" not in structure
