"""What a worker computes for the others of its node, and how it gets to them.

Memory that another core has read is slow to write: the line must be taken away from there first, which
between cores without a common cache can cost more than the arithmetic of a step. Then gradients and
new weights are computed in memory of the worker's own, and what others read of them is streamed past the
caches. Between cores that share a cache it is the other way round: what is in it should stay there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from cluster.exchange.places import Places
from distnn.kernels.streaming import stream
from distnn.kernels.tape import Call
from distnn.recording import TrainingState
from distnn.reduction import Range, ShardSums
from distnn.tensor import Array
from distnn.update_plan import Piece
from distnn.weights import aligned_zeros


class Outgoing:
    """Where one worker leaves its sums and its part of the new weights.

    Args:
        places: of the generation's sums.
        pieces: what this worker updates.
        is_streamed: whether what others read passes through memory of the worker's own.
    """

    def __init__(self, places: Places, pieces: Sequence[Piece], is_streamed: bool) -> None:
        self._places = places
        self._slice = (pieces[0].start, pieces[-1].stop) if pieces else (0, 0)
        self._gradients = [part.gradient for part in places.parts]
        self._weights: Array | None = None
        self._is_streamed = is_streamed
        if is_streamed:
            for row in places.own_rows:
                self._gradients[row] = aligned_zeros(self._gradients[row].size)

    def gradient(self, row: int, piece: Piece) -> Array:
        """The piece's gradient of a subtree, where this worker reads it."""
        return self._gradients[row][piece.start : piece.stop]

    # Sums

    def sums(self, row: int) -> ShardSums:
        """Where to leave the sums of an own subtree."""
        part = self._places.parts[row]
        return ShardSums.of(part.layout, (self._gradients[row], part.sums, part.moments))

    def bind_sums(self, row: int) -> list[Call]:
        """Calls that let the others read their parts of an own subtree's gradient."""
        mine, shared = self._gradients[row], self._places.parts[row].gradient
        if not self._is_streamed:
            return []
        start, stop = self._slice
        parts: list[Range] = [(0, start), (stop, mine.size)]
        return [partial(stream, mine[low:high], shared[low:high]) for low, high in parts if low < high]

    # Weights

    def new(self, state: TrainingState) -> TrainingState:
        """Where to leave the new weights of a piece; the slots nobody else reads."""
        if not self._is_streamed:
            return state
        if self._weights is None:
            self._weights = aligned_zeros(state.weights.size)
        return replace(state, weights=self._weights)

    def bind_weights(self, state: TrainingState, piece: Piece) -> list[Call]:
        """Calls that let the others read what `new` holds of a piece."""
        part = slice(piece.start, piece.stop)
        if self._weights is None:
            return []
        return [partial(stream, self._weights[part], state.weights[part])]
