"""`keras.tree`: nested lists, tuples and dicts of anything, dicts in the order of their sorted keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distnn.structure import leaves, mapped, packed


def is_nested(structure: Any) -> bool:
    """Whether it is a list, tuple or dict.

    >>> is_nested([]), is_nested("ab")
    (True, False)
    """
    return isinstance(structure, list | tuple | dict)


def flatten(structure: Any) -> list[Any]:
    """The leaves in order.

    >>> flatten({"b": 1, "a": (2, [3])})
    [2, 3, 1]
    """
    return list(leaves(structure))


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """The same structure with `func` of the leaves that are in the same place.

    Raises:
        ValueError: the structures differ.

    >>> map_structure(lambda x, y: x + y, (1, [2]), (3, [4]))
    (4, [6])
    """
    if not structures:
        raise ValueError("Must provide at least one structure to `map_structure`.")
    first, *others = structures
    for other in others:
        assert_same_structure(first, other)
    rest = [leaves(other) for other in others]
    return mapped(lambda leaf: func(leaf, *(next(other) for other in rest)), first)


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """The structure with these leaves.

    Raises:
        ValueError: their number is another.

    >>> pack_sequence_as({"b": 0, "a": (0,)}, [5, 6])
    {'b': 6, 'a': (5,)}
    """
    count = len(flatten(structure))
    if count != len(flat_sequence):
        raise ValueError(
            f"the structure has {count} leaves. Received: flat_sequence of length {len(flat_sequence)}"
        )
    return packed(structure, iter(flat_sequence))


def assert_same_structure(a: Any, b: Any) -> None:
    """Raise ValueError unless both have their leaves in the same places of the same structure."""
    if _shape(a) != _shape(b):
        raise ValueError(f"the structures differ: {_shape(a)} and {_shape(b)}")


def _shape(structure: Any) -> Any:
    return mapped(lambda leaf: ".", structure)
