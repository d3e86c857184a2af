"""The arithmetic of an update, cut into pieces that the owners of slices can compute; it holds no state.

A step's update reads one `TrainingState` and writes another. What concerns single weights is done piece by
piece; what concerns all of them (norms, penalties) is summed over fixed blocks, then by a fixed tree; the
rest (statistics, assigned variables, sums) is done by one owner. How pieces are dealt out never changes a
bit. `distnn.updater` computes all of it in one place, workers that share memory a slice each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from distnn import constraining
from distnn.control import CONTROL_WORDS
from distnn.kernels.fingerprints import fingerprint_moved, look_at_losses, report_trouble
from distnn.kernels.stepping import fold_sums
from distnn.kernels.tape import Call
from distnn.kernels.update import (
    BLOCK,
    COLUMNS,
    GRADIENT_SCALE,
    L1,
    L2,
    LEARNING_RATE,
    NUM_SCALARS,
    ROWS,
    SIZE,
    TRUST,
    WEIGHT_DECAY,
    add_arrays,
    add_into,
    penalty_sums,
    square_sums,
    tree_total,
)
from distnn.optimizers.base import Optimizer
from distnn.recording import TrainingState
from distnn.reduction import ShardSums, split_moments
from distnn.task import Task
from distnn.tensor import Array
from distnn.tracing import Traced
from distnn.variable import Variable
from distnn.weights import WeightLayout, aligned_zeros


@dataclass(frozen=True)
class Run:
    """Values [start, stop) of the trainable vector under the same penalties.

    Its blocks of 1024 values are numbered from `first_block`, through all runs.

    Attributes:
        constrained: the variable whose values these are, if it has a constraint.
        is_whole: one owner updates all of it.
    """

    start: int
    stop: int
    l1: float
    l2: float
    first_block: int
    constrained: Variable | None = None
    is_whole: bool = False

    @property
    def num_blocks(self) -> int:
        return -(-(self.stop - self.start) // BLOCK)

    @property
    def is_penalised(self) -> bool:
        return bool(self.l1 or self.l2)


@dataclass(frozen=True)
class Piece:
    """Whole blocks of one run: the values [start, stop), the blocks [first_block, stop_block)."""

    run: int
    start: int
    stop: int
    first_block: int
    stop_block: int


class UpdatePlan:
    """How a task's weights are updated.

    Args:
        task: its model's optimizer is asked at every step, so a changed learning rate takes effect.
        traced: the training graph, or None if the task is only evaluated.

    Attributes:
        num_sums: of the epoch's loss and metric sums, the penalty last.
        num_blocks: of the trainable vector.
        needs_norms: norms are needed before the update, to clip them or to scale steps by them.
        has_penalty: some weights are penalised.
    """

    def __init__(self, task: Task, traced: Traced | None) -> None:
        self.task = task
        self.traced = traced
        self.layout = task.layout()
        self.num_sums = 0 if task.objective is None else task.objective.num_sums + 1
        self._optimizer = None if task.objective is None else task.model.optimizer
        rule = self._optimizer
        self._scales_steps = rule is not None and rule.direction_squares is not None
        clipped = rule is not None and bool(rule.clipnorm or rule.global_clipnorm)
        self.needs_norms = clipped or self._scales_steps
        by_weight = rule is not None and rule.needs_whole_weights
        self.runs = _runs(self.layout, self.needs_norms or by_weight, by_weight)
        self.num_blocks = sum(run.num_blocks for run in self.runs)
        self.has_penalty = any(run.is_penalised for run in self.runs)
        self._totals = np.zeros(max((run.num_blocks for run in self.runs), default=0), np.float64)
        self._block = aligned_zeros(BLOCK)
        # A row for each run: penalties and scales may differ, the rest is the same. In one more row, what
        # looks at all but trainable values tells of trouble.
        self._all_scalars = np.zeros((len(self.runs) + 1, NUM_SCALARS), np.float64)
        self._scalars_RN, self._rest_scalars = self._all_scalars[:-1], self._all_scalars[-1]
        self._scalars_RN[:, GRADIENT_SCALE] = 1.0
        self._scalars_RN[:, L1] = [run.l1 for run in self.runs]
        self._scalars_RN[:, L2] = [run.l2 for run in self.runs]
        if by_weight:
            for row, variable in zip(self._scalars_RN, self.layout.trainable, strict=True):
                shape = variable.shape
                row[SIZE] = variable.size
                row[ROWS], row[COLUMNS] = shape[-2:] if len(shape) > 1 else (0, 0)
        self._scalars = self._scalars_RN[0] if len(self.runs) == 1 else self._scalars_RN.T
        self._scratch = aligned_zeros(2 * max((v.size for v in self.layout.variables), default=1), np.float64)

    @property
    def optimizer(self) -> Optimizer:
        """The rule; a worker's is replaced by the coordinator's, whose settings callbacks change."""
        assert self._optimizer is not None, "only a training task has an optimizer"
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    # Dealing out

    def deal(self, owners: int) -> list[list[Piece]]:
        """Near-equal contiguous slices of the trainable vector, in whole blocks; some may be empty.

        A variable that needs one owner goes where the greater part of it lies.
        """
        cuts = [self._uncut(self.num_blocks * owner // owners) for owner in range(owners + 1)]
        return [self._pieces(first, stop) for first, stop in zip(cuts, cuts[1:], strict=False)]

    def _uncut(self, block: int) -> int:
        """The block, or the nearer end of the run that may not be cut there."""
        for run in self.runs:
            end = run.first_block + run.num_blocks
            if run.is_whole and run.first_block < block < end:
                return run.first_block if block - run.first_block < end - block else end
        return block

    def _pieces(self, first: int, stop: int) -> list[Piece]:
        """The blocks [first, stop), run by run."""
        pieces = []
        for number, run in enumerate(self.runs):
            low = max(first, run.first_block)
            high = min(stop, run.first_block + run.num_blocks)
            if low < high:
                begin = run.start + (low - run.first_block) * BLOCK
                end = min(run.start + (high - run.first_block) * BLOCK, run.stop)
                pieces.append(Piece(number, begin, end, low, high))
        return pieces

    def cut(self, pieces: Sequence[Piece], max_values: int) -> list[Piece]:
        """The same blocks in pieces of at most so many values (but a block at least), which fit a cache.

        What needs one owner stays whole.
        """
        step = max(1, max_values // BLOCK)
        parts: list[Piece] = []
        for piece in pieces:
            if self.runs[piece.run].is_whole:
                parts.append(piece)
                continue
            for first in range(piece.first_block, piece.stop_block, step):
                parts += self._pieces(first, min(first + step, piece.stop_block))
        return parts

    # Penalties and norms

    def bind_penalty(self, weights: Array, pieces: Sequence[Piece], blocks_2K: Array) -> list[Call]:
        """Calls that write the sums of |w| and w^2 of the pieces' blocks, where they are wanted."""
        return [
            partial(
                penalty_sums,
                weights[piece.start : piece.stop],
                blocks_2K[:, piece.first_block : piece.stop_block],
            )
            for piece in pieces
            if self.runs[piece.run].is_penalised or self._scales_steps
        ]

    def penalty(self, blocks_2K: Array) -> float:
        """The penalty from the sums of all blocks."""
        value = 0.0
        for run in self.runs:
            if run.is_penalised:
                absolute, squares = self._total(blocks_2K[0], run), self._total(blocks_2K[1], run)
                value += run.l1 * absolute + run.l2 * squares
        return value

    def bind_squares(self, old: TrainingState, gradient: Array, piece: Piece, blocks_K: Array) -> Call:
        """A call that writes sums of squares over the piece's blocks: of its gradient with penalties, or of
        the step that the optimizer would scale."""
        run, part = self.runs[piece.run], old.weights[piece.start : piece.stop]
        blocks = blocks_K[piece.first_block : piece.stop_block]
        kernel = self.optimizer.direction_squares
        if kernel is not None:
            scalars, bounds = self._scalars_RN[piece.run], (piece.start, piece.stop)
            return partial(kernel, old.weights, gradient, old.slots, scalars, *bounds, self._block, blocks)
        return partial(square_sums, gradient, part, run.l1, run.l2, self._block, blocks)

    def scale(self, blocks_K: Array, weight_blocks_2K: Array) -> None:
        """Let each run's gradient be scaled so that norms are clipped, or its step by the weights' size.

        Args:
            blocks_K: what `bind_squares` wrote, of all pieces.
            weight_blocks_2K: what `bind_penalty` wrote.
        """
        optimizer = self.optimizer
        squares = [self._total(blocks_K, run) for run in self.runs]
        if self._scales_steps:
            sizes = [self._total(weight_blocks_2K[1], run) for run in self.runs]
            scalars = self._scalars_RN[0]
            kept = 1.0 - scalars[WEIGHT_DECAY] * scalars[LEARNING_RATE]
            self._scalars_RN[:, TRUST] = [
                abs(kept) * float(np.sqrt(size / square)) if size > 0 and square > 0 else 1.0
                for size, square in zip(sizes, squares, strict=True)
            ]
            return
        if optimizer.clipnorm is not None:
            scales = [_clip_scale(optimizer.clipnorm, square) for square in squares]
        else:
            scales = [_clip_scale(float(optimizer.global_clipnorm or 0), sum(squares))] * len(squares)
        self._scalars_RN[:, GRADIENT_SCALE] = scales

    def _total(self, blocks_K: Array, run: Run) -> float:
        totals = self._totals[: run.num_blocks]
        np.copyto(totals, blocks_K[run.first_block : run.first_block + run.num_blocks])
        return float(tree_total(totals))

    # Updating

    def warm_up(self) -> None:
        """Call every kernel of an update with nothing, so that it is compiled (and cached)."""
        none, wide = aligned_zeros(0), np.zeros(0, np.float64)
        slots = aligned_zeros(0).reshape(len(self.optimizer.slot_names), 0)
        optimizer = self.optimizer
        if self.has_penalty or self._scales_steps:
            blocks = np.zeros((2, 3), np.float64)
            penalty_sums(self._block, blocks[:, :1])  # of some blocks: columns with gaps between them
            penalty_sums(self._block, blocks[:, :1].copy())  # of all
        if optimizer.direction_squares is not None:
            optimizer.direction_squares(none, none, slots, optimizer.scalars(0), 0, 0, self._block, wide)
        elif self.needs_norms:
            square_sums(none, none, 0.0, 0.0, self._block, wide)
        if self.has_penalty or self.needs_norms:
            tree_total(wide)
        optimizer.update(none, none, slots, none, slots, optimizer.scalars(0), 0, 0)
        for run in self.runs:
            if run.constrained is not None:
                constraining.warm_up(run.constrained, self._rest_scalars)
        fingerprint_moved(none, none, 0, self._rest_scalars)
        for dtype in (np.float32, np.float64):
            add_into(np.zeros(0, dtype), np.zeros(0, dtype))
        add_arrays(none, none, none)
        control = np.zeros(CONTROL_WORDS, np.int64)
        fold_sums(wide, np.zeros(0, np.int64), 0, wide, control, wide)
        look_at_losses(np.zeros(1), 0, self._rest_scalars)
        report_trouble(self._all_scalars, control, np.zeros(1, np.int64), 0)

    def begin_step(self, iterations: int) -> None:
        """Write the numbers of this update; then what the `bind_` methods gave may be called."""
        self.optimizer.write_scalars(self._scalars, iterations)

    def bind_update(
        self, old: TrainingState, new: TrainingState, gradient: Array, piece: Piece
    ) -> list[Call]:
        """Calls that write the piece's new weights and slots and return its part of the fingerprint.

        The parts add up modulo 2**64.

        Args:
            old: only read.
            new: written.
            gradient: of the piece alone, summed over all shards; only read.
            piece: what to update.
        """
        scalars = self._scalars_RN[piece.run]
        arrays = (old.weights, gradient, old.slots, new.weights, new.slots, scalars)
        calls: list[Call] = [partial(self.optimizer.kernel, *arrays, piece.start, piece.stop)]
        variable = self.runs[piece.run].constrained
        if variable is not None:
            stop = min(piece.stop, self.layout.bounds(variable)[1])
            calls += constraining.bind_constraint(variable, new.weights, scalars, piece.start, stop)
        return calls

    def bind_rest(
        self,
        old: TrainingState,
        new: TrainingState,
        total: ShardSums,
        samples: int,
        control: Array,
        penalty_blocks: Array,
    ) -> list[Call]:
        """Calls that write all but trainable weights and slots; those that return a number, as `bind_update`.

        Moving statistics, assigned variables and the epoch's sums come from `total`, which is spoilt.

        Args:
            samples: of the batch.
            control: says whether the step is its epoch's first.
            penalty_blocks: what `bind_penalty` wrote, of all pieces.
        """
        assert self.task.objective is not None, "only a training task has steps"
        calls: list[Call] = []
        place = total.sums[self.num_sums - 1 : self.num_sums]
        if self.has_penalty:
            calls.append(partial(self._add_penalty, place, penalty_blocks, samples))
        first = self.layout.trainable_size
        if self.layout.size > first and self.traced is not None:
            calls.append(partial(self._update_untrained, old, new, total, samples))
            untrained = (old.weights[first:], new.weights[first:])
            calls.append(partial(fingerprint_moved, *untrained, first, self._rest_scalars))
        sums, summed = total.sums[: self.num_sums], self.task.objective.summed_losses
        calls.append(partial(look_at_losses, sums, len(self.task.objective.losses), self._rest_scalars))
        calls.append(partial(fold_sums, sums, summed, samples, old.sums, control, new.sums))
        return calls

    def bind_report(self, control: Array, words: Array, place: int) -> Call:
        """A call that writes the step's number plus 1 to words[place] if what the others wrote is not finite.

        It comes last. Losses, weights, slots, moving statistics and assigned variables are meant; metrics
        are not.
        """
        return partial(report_trouble, self._all_scalars, control, words, place)

    def _add_penalty(self, place: Array, blocks_2K: Array, samples: int) -> None:
        place[0] += self.penalty(blocks_2K) * samples

    def _update_untrained(
        self, old: TrainingState, new: TrainingState, total: ShardSums, samples: int
    ) -> None:
        """Moving statistics, assigned variables, and what no step changes."""
        assert self.traced is not None
        first = self.layout.trainable_size
        np.copyto(new.weights[first:], old.weights[first:])
        for group, moments in enumerate(self.traced.moments):
            count, mean, m2 = split_moments(total.moment_group(group))
            self._move(new.weights, moments.mean, mean, 1.0, moments.momentum)
            self._move(new.weights, moments.variance, m2, 1.0 / count, moments.momentum)
        position = self.num_sums
        for assignment in self.traced.assigned:
            variable = assignment.variable
            sums = total.sums[position : position + variable.size].reshape(variable.shape)
            if variable.aggregation == "mean":
                np.divide(sums, samples, out=sums)
            elif assignment.added is not None:
                np.add(sums, self.layout.view(old.weights, variable), out=sums)
            np.copyto(self.layout.view(new.weights, variable), sums, casting="same_kind")
            position += variable.size

    def _move(self, weights: Array, variable: Variable, value: Array, factor: float, momentum: float) -> None:
        """variable = momentum * variable + (1 - momentum) * factor * value, in float64."""
        view = self.layout.view(weights, variable).reshape(-1)
        kept, added = self._scratch[: len(view)], self._scratch[len(view) : 2 * len(view)]
        np.multiply(view, momentum, out=kept)
        np.multiply(value, factor * (1.0 - momentum), out=added)
        np.add(kept, added, out=kept)
        np.copyto(view, kept, casting="same_kind")


def _clip_scale(limit: float, square: float) -> float:
    norm = float(np.sqrt(square))
    return limit / norm if norm > limit else 1.0


def _runs(layout: WeightLayout, per_variable: bool, all_whole: bool) -> list[Run]:
    """Runs of the trainable vector under equal penalties; one per variable if `per_variable`.

    A variable with a constraint is a run of its own.

    Args:
        all_whole: no variable may be cut.
    """
    runs: list[Run] = []
    starts = [layout.offsets[variable] for variable in layout.trainable]
    ends = [*starts[1:], layout.trainable_size]
    for variable, start, stop in zip(layout.trainable, starts, ends, strict=False):
        penalties = (0.0, 0.0) if variable.regularizer is None else variable.regularizer.factors()
        constrained = None if variable.constraint is None else variable
        last = runs[-1] if runs else None
        if last and not per_variable and not constrained and not last.constrained:
            if (last.l1, last.l2) == penalties:
                runs[-1] = replace(last, stop=stop)
                continue
        first_block = last.first_block + last.num_blocks if last else 0
        is_whole = all_whole or constraining.needs_whole(variable)
        runs.append(Run(start, stop, *penalties, first_block, constrained, is_whole))
    return runs
