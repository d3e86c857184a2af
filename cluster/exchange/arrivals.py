"""Sums that arrive at the coordinator, in buffers of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from distnn.reduction import Range, ShardSums, SumsLayout
from distnn.tensor import Array

Part = tuple[Range, tuple[Array, Array, Array] | None]
"""A subtree and its gradient, sums and moments; None if all its shards are empty."""


class Arrivals:
    """Buffers for the subtrees of one generation: what arrives is read-only, and adding writes."""

    def __init__(self, layout: SumsLayout) -> None:
        self._layout = layout
        self._buffers: dict[Range, ShardSums] = {}

    def take(self, step: int, answers: Iterable[tuple[int, Sequence[Part]]]) -> dict[Range, ShardSums | None]:
        """The parts of a step by subtree, from answers that say which step they are of."""
        parts: dict[Range, ShardSums | None] = {}
        for answered_step, answer in answers:
            assert answered_step == step, f"sums of step {answered_step} for step {step}"
            for shards, arrays in answer:
                parts[shards] = None if arrays is None else self._copied(shards, arrays)
        return parts

    def _copied(self, shards: Range, arrays: tuple[Array, Array, Array]) -> ShardSums:
        buffer = self._buffers.get(shards)
        if buffer is None:
            buffer = self._buffers[shards] = ShardSums(self._layout)
        for target, source in zip(buffer.arrays(), arrays, strict=True):
            np.copyto(target, source)
        return buffer
