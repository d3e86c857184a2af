"""What is told of the values that a step leaves: their fingerprint, and whether one of them is not finite.

A fingerprint is a wrapping uint64 sum of bit patterns, each times an odd number of its index, so that it adds
up exactly over slices. Trouble is told in the last place of an update's `scalars` (see
`distnn.kernels.update`), which nobody clears but `report_trouble`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.control import STEP_WORD
from distnn.kernels.bits import float_bits
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.waiting import store_word

TROUBLE = 31
"""Place in `scalars`, the last: not 0 once a value that was written, or a sum that was looked at, was not
finite. The rules' own numbers come before."""

SLOT_STRIDE = 1 << 40
"""A slot's values count from (slot + 1) * SLOT_STRIDE in the fingerprint, the weights from 0."""

u32, u64 = np.uint32, np.uint64
ZERO = np.float32(0)
"""A number times zero is zero, of some sign; infinity and NaN times zero are NaN. Nothing tells them apart at
less cost beside a fingerprint."""
_SIGN = u32(0x80000000)


@helper
def bits_of(value: Any, index: int) -> Any:
    """What one float32 value adds to the fingerprint."""
    return u64(u32(float_bits(value))) * u64(2 * index + 1)


@helper
def plain_bits(value: Any) -> Any:
    """The bits of one float32 value."""
    return u32(float_bits(value))


@helper
def tell_trouble(scalars: Array, doubt: Any) -> None:
    """Tell if any of the bits, or'ed together, of values times `ZERO` are not those of a zero."""
    if doubt & ~_SIGN:
        scalars[TROUBLE] = 1.0


@kernel
def fingerprint(vector: Array, offset: int) -> Any:
    """The fingerprint of float32 values that count from `offset`."""
    total = u64(0)
    for i in range(vector.size):
        total += bits_of(vector[i], offset + i)
    return total


@kernel
def fingerprint_moved(old: Array, new: Array, offset: int, scalars: Array) -> Any:
    """The fingerprint of `new`; trouble is what is not finite there and was so in `old`.

    What has never been finite (the beginning of a running maximum) is nobody's trouble.
    """
    total, doubt = u64(0), u32(0)
    for i in range(new.size):
        total += bits_of(new[i], offset + i)
        was_finite = plain_bits(old[i] * ZERO) & ~_SIGN == 0
        doubt |= plain_bits((new[i] if was_finite else ZERO) * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def look_at_losses(sums: Array, losses: int, scalars: Array) -> None:
    """Trouble is what is not finite in the pairs of the first `losses` sums, or in the last sum."""
    for i in range(2 * losses):
        if not np.isfinite(sums[i]):
            scalars[TROUBLE] = 1.0
    if not np.isfinite(sums[sums.size - 1]):
        scalars[TROUBLE] = 1.0


@kernel
def report_trouble(scalars_RN: Array, control: Array, words: Array, place: int) -> None:
    """Write the step's number plus 1 to words[place] if there is trouble in any row, and clear it there.

    Who waits at a barrier that the writer reaches afterwards, sees it.
    """
    for row in range(scalars_RN.shape[0]):
        if scalars_RN[row, TROUBLE] != 0.0:
            scalars_RN[row, TROUBLE] = 0.0
            store_word(words, place, control[STEP_WORD] + 1)
