"""Names as users write them: the nearest valid one for a misspelt one, and snake case for classes."""

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
