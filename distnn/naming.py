"""Names: the nearest valid one for a misspelt one, snake case for classes, numbers where one comes again."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like `name`, or None if none is near."""
    lowered = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: object, options: Iterable[str]) -> str:
    """`" Did you mean 'relu'?"`, or the empty string where nothing is near."""
    if not isinstance(name, str):
        return ""
    option = nearest(name, options)
    return "" if option is None else f" Did you mean '{option}'?"


def snake_case(class_name: str) -> str:
    """Keras's automatic names: `BatchNormalization` -> `batch_normalization`, `MyReLU` -> `my_re_lu`."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower().lstrip("_")


class Numbered:
    """`name`, then `name_1`, `name_2` for the next of the same name; never one that is taken."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        while True:
            count = self._counts.get(name, 0)
            self._counts[name] = count + 1
            found = name if count == 0 else f"{name}_{count}"
            if found not in self._taken:
                self._taken.add(found)
                return found
