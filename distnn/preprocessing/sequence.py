"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SIDES = ("pre", "post")


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: str = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> npt.NDArray[Any]:
    """An array (sequences, maxlen, ...) of all sequences, cut and filled up to one length.

    Args:
        sequences: of numbers, or of arrays of one shape.
        maxlen: the length; that of the longest by default.
        dtype: of the result.
        padding: whether "pre" or "post" the values.
        truncating: whether values are cut off "pre", from the beginning, or "post".
        value: what is filled in.

    >>> pad_sequences([[1, 2, 3], [4]], maxlen=2).tolist()
    [[2, 3], [0, 4]]
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in SIDES:
            kind = "Padding" if name == "padding" else "Truncating"
            raise ValueError(f'{kind} type "{side}" not understood. Expected "pre" or "post".')
    for i, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(
                f"`sequences` must be a list of iterables. Found non-iterable at {i}: {sequence!r}"
            )
    arrays = [np.asarray(sequence) for sequence in sequences]
    tails = {array.shape[1:] for array in arrays if len(array)}
    if len(tails) > 1:
        raise ValueError(f"the sequences' items differ in shape: {sorted(tails)}")
    length = max((len(array) for array in arrays), default=0) if maxlen is None else int(maxlen)
    padded = np.full((len(arrays), length, *(tails.pop() if tails else ())), value, dtype=dtype)
    for row, array in zip(padded, arrays, strict=True):
        kept = array[len(array) - min(len(array), length) :] if truncating == "pre" else array[:length]
        if len(kept):
            row[length - len(kept) if padding == "pre" else 0 :][: len(kept)] = kept
    return padded
