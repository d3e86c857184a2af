"""Updates cut into pieces: any dealing out gives the bytes of the whole."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn.control import CONTROL_WORDS, FIRST_WORD
from distnn.layers import BatchNormalization, Dense
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, prepare
from distnn.optimizers import SGD, Adafactor, Adam, Lamb
from distnn.reduction import ShardSums
from distnn.shard import ShardRunner
from distnn.sources import Sources
from distnn.update_plan import UpdatePlan
from distnn.updater import Updater

OPTIMIZERS = {
    "plain": lambda: SGD(0.1, momentum=0.9),
    "clipnorm": lambda: Adam(0.01, clipnorm=0.5),
    "adafactor": lambda: Adafactor(0.01, weight_decay=0.1),
    "lamb": lambda: Lamb(0.01, weight_decay=0.1),
    "global_clipnorm": lambda: SGD(0.1, momentum=0.9, global_clipnorm=0.5),
}


CONSTRAINTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "penalised": {"kernel_regularizer": "l1_l2"},
    "by value": {"kernel_constraint": "non_neg", "bias_constraint": "non_neg"},
    "by column": {"kernel_constraint": "max_norm", "bias_constraint": "unit_norm"},
    "own": {"kernel_constraint": lambda w: w * 0.5, "kernel_regularizer": "l2"},
}


def make_updater(optimizer: str, options: str = "penalised") -> Updater:
    """A model of a few blocks, ready for a step."""
    model = Sequential(
        [
            Dense(70, input_dim=60, **CONSTRAINTS[options]),
            BatchNormalization(),
            Dense(3, activation="softmax"),
        ]
    )
    model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 60)).astype(np.float32), rng.integers(0, 3, 32)
    training = prepare(model, FitArguments(x, y, batch_size=32, shards=1, seed=1))
    updater = Updater(training.task, ShardRunner(training.task, Sources(training.data)).training)
    updater.begin(model.training_state(0))
    return updater


def make_total(updater: Updater) -> ShardSums:
    assert updater.traced is not None
    total = ShardSums(updater.traced.sums_layout)
    rng = np.random.default_rng(3)
    for array in total.arrays():
        array[:] = rng.uniform(1, 2, size=array.shape)
    return total


def update_in_slices(updater: Updater, owners: int, max_values: int) -> tuple[Any, ...]:
    """The first step, each owner's part by a plan of its own."""
    plans = [UpdatePlan(updater.task, updater.traced) for _ in range(owners)]
    slices = [plan.cut(plan.deal(owners)[i], max_values) for i, plan in enumerate(plans)]
    old, new = updater.state, updater.state.copy()
    total, control = make_total(updater), np.zeros(CONTROL_WORDS, np.int64)
    control[FIRST_WORD] = 1
    blocks = np.full((3, plans[0].num_blocks), np.nan)
    owned = [(plan, piece) for plan, pieces in zip(plans, slices, strict=True) for piece in pieces]
    for plan, pieces in zip(plans, slices, strict=True):
        plan.begin_step(0)
        run(plan.bind_penalty(old.weights, pieces, blocks[:2]))
    if plans[0].needs_norms:
        for plan, piece in owned:
            part = total.gradient[piece.start : piece.stop]
            run([plan.bind_squares(old, part, piece, blocks[2])])
        for plan in plans:
            plan.scale(blocks[2], blocks[:2])
    digest = run(plans[0].bind_rest(old, new, total, 32, control, blocks[:2]))
    for plan, piece in owned:
        digest += run(plan.bind_update(old, new, total.gradient[piece.start : piece.stop].copy(), piece))
    return digest % 2**64, *(a.tobytes() for a in (new.weights, new.slots, new.sums))


def run(calls: list[Any]) -> int:
    """Each call on its own; the sum of what they return."""
    return sum(int(call() or 0) for call in calls)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("options", CONSTRAINTS)
def test_any_slices_give_the_bytes_of_the_whole(optimizer: str, options: str) -> None:
    updater = make_updater(optimizer, options)
    found = {update_in_slices(updater, n, size) for n, size in ((1, 1 << 20), (2, 1024), (3, 2048), (9, 1))}
    digest = updater.update(make_total(updater))
    state = updater.state
    assert found == {(digest, *(a.tobytes() for a in (state.weights, state.slots, state.sums)))}


@given(st.integers(1, 12), st.integers(1, 5000))
def test_pieces_cover_every_value_once(owners: int, max_values: int) -> None:
    plan = make_plan()
    slices = plan.deal(owners)
    for pieces in (sum(slices, []), plan.cut(sum(slices, []), max_values)):
        values = [i for piece in pieces for i in range(piece.start, piece.stop)]
        assert values == list(range(plan.layout.trainable_size))
        blocks = [k for piece in pieces for k in range(piece.first_block, piece.stop_block)]
        assert blocks == list(range(plan.num_blocks))
        assert all(piece.start % 16 == 0 for piece in pieces)
    counts = [sum(piece.stop_block - piece.first_block for piece in pieces) for pieces in slices]
    assert max(counts) - min(counts) <= 1


@given(st.integers(1, 12), st.integers(1, 5000))
def test_what_needs_one_owner_is_never_cut(owners: int, max_values: int) -> None:
    plan = whole_plan()
    slices = plan.deal(owners)
    pieces = plan.cut(sum(slices, []), max_values)
    assert [i for piece in pieces for i in range(piece.start, piece.stop)] == list(
        range(plan.layout.trainable_size)
    )
    whole = [(run.start, run.stop) for run in plan.runs if run.is_whole]
    found = {(piece.start, piece.stop) for piece in pieces if plan.runs[piece.run].is_whole}
    assert len(whole) == 1 and found == set(whole)


@functools.cache
def whole_plan() -> UpdatePlan:
    return make_updater("plain", "own").plan


_plans: list[UpdatePlan] = []


def make_plan() -> UpdatePlan:
    if not _plans:
        _plans.append(make_updater("clipnorm").plan)
    return _plans[0]


def test_the_same_step_twice_gives_the_same_bytes() -> None:
    """Nothing of the gradient is spoilt, so a step can be computed again from it."""
    updater = make_updater("clipnorm")
    total = make_total(updater)
    before = total.gradient.tobytes()
    updater.update(total)
    assert total.gradient.tobytes() == before


def test_moving_to_other_buffers_goes_on_in_them() -> None:
    updater, other = make_updater("plain"), make_updater("plain")
    for one in (updater, other):
        one.update(make_total(one))
    mine = (other.state.copy(), other.state.copy())
    other.move_to(mine)
    assert updater.update(make_total(updater)) == other.update(make_total(other))
    assert other.state is mine[0] and mine[1].step == 1
    other.follow(1, 1)
    assert other.state is mine[1]
