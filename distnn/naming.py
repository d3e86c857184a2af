"""Names: the nearest valid one for a misspelt one, snake case for classes, numbers where one comes again."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option most like `name`, or None if none is near."""
    return next(iter(near(name, options)), None)


def near(name: str, options: Iterable[str]) -> list[str]:
    """Up to three options like `name`, the likest first; none that is much less like it than the first.

    Case does not count, and of spellings of one name (`HeNormal`, `he_normal`) there is the likest.
    """
    matcher = difflib.SequenceMatcher(b=name.lower())
    likeness: list[tuple[float, str, str]] = []
    for option in dict.fromkeys(options):
        matcher.set_seq1(option.lower())
        likeness.append((matcher.ratio(), option.lower(), option))
    likeness.sort(reverse=True)
    least = max(_NEAR, likeness[0][0] - _AS_NEAR) if likeness else _NEAR
    found: dict[str, str] = {}
    for ratio, plain, option in likeness:
        if ratio >= least:
            found.setdefault(plain.replace("_", ""), option)
    return list(found.values())[:3]


_NEAR, _AS_NEAR = 0.6, 0.1
"""How like a name must be, of 1, and by how much less than the likest."""


def did_you_mean(name: object, options: Iterable[str]) -> str:
    """`" Did you mean 'relu' or 'elu'?"`, or the empty string where nothing is near."""
    found = [f"'{option}'" for option in near(name, options)] if isinstance(name, str) else []
    if not found:
        return ""
    *others, last = found
    return f" Did you mean {', '.join(others)} or {last}?" if others else f" Did you mean {last}?"


def did_you_mean_or_known(name: object, options: Sequence[str]) -> str:
    """What is near, as `did_you_mean` says it; only where nothing is, all options: `" Known: elu, relu."`."""
    return did_you_mean(name, options) or f" Known: {', '.join(options)}."


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
