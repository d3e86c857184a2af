"""A worker's membership of its node's generations: making, mapping and leaving the memory of each.

The coordinator may be on another machine, so the node's first worker makes the memory. Its name goes when
everybody has mapped it. `leave` comes from another thread, at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cluster.counting import CountingRunner
from cluster.exchange import segment as segments
from cluster.exchange.node_steps import NodeSteps
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.kernels.waiting import write_word
from distnn.reduction import Range


class Membership:
    """Of one generation at a time; no two have the same number."""

    def __init__(self) -> None:
        self._held: tuple[int, SharedSegment] | None = None
        self._steps: NodeSteps | None = None
        self._ended = 0

    @property
    def steps(self) -> NodeSteps:
        assert self._steps is not None, "join comes first"
        return self._steps

    @property
    def waits(self) -> int:
        """Grows while this worker waits for others."""
        steps = self._steps
        return 0 if steps is None else steps.barrier.waits

    def open(self, layout: SharedLayout | None, generation: int) -> Path | None:
        """Make the node's memory, for others to map; without a layout only sweep what killed workers left.

        Raises:
            SharedMemoryError: there is no room for it.
        """
        self.let_go()
        if layout is None:
            segments.sweep(segments.FOLDER)
            return None
        made = SharedSegment.create(layout, generation)
        self._hold(generation, made)
        return made.path

    def join(
        self,
        runner: CountingRunner,
        path: Path,
        layout: SharedLayout,
        generation: int,
        ranges: Sequence[Range],
        rank: int,
    ) -> None:
        """Take place number `rank`, and wait until the others have taken theirs.

        Raises:
            SharedMemoryError: this process does not see the memory.
            GenerationOver: somebody cannot join.
        """
        held = self._held
        if held is None or held[0] != generation:  # another worker made it
            self.let_go()
            held = self._hold(generation, SharedSegment.attach(path, layout, generation))
        segment = held[1]
        try:
            self._steps = NodeSteps(runner, segment, ranges, rank)
            self._steps.barrier.meet()
        finally:
            segment.forget_name()

    def leave(self, generation: int) -> None:
        """End the generation on this node: whoever waits goes on, and no name stays."""
        self._ended = generation
        held = self._held
        if held is not None and held[0] == generation:
            segment = held[1]
            write_word(segment.words, segment.layout.abort, 1)
            segment.forget_name()

    def let_go(self) -> None:
        """Map nothing any more."""
        held, self._held, self._steps = self._held, None, None
        if held is not None:
            held[1].forget_name()

    def _hold(self, generation: int, segment: SharedSegment) -> tuple[int, SharedSegment]:
        held = self._held = generation, segment
        if self._ended == generation:  # told so while the memory was being made
            self.leave(generation)
        return held
