"""Sequences: rows picked from a table and added back, time before samples and back, masks of time steps.

Letters: B samples, T time steps, F features, N rows of a table. Called by the ops of `distnn.ops.sequences`
and `distnn.ops.recurrence`.
"""

from __future__ import annotations

from distnn.control import POSITION_WORD, START_WORD
from distnn.kernels.jit import Array, kernel

VALID, SHOWN = 1, 2
"""Bits of a step's status: its input counts; its state is the output (else the output is 0)."""


@kernel
def take_rows(table_NF: Array, index: Array, out: Array) -> None:
    """out[i] = table[index[i]].

    Raises:
        RuntimeError: an index is not in [0, N).
    """
    rows, features = table_NF.shape
    for i in range(index.size):
        row = index[i]
        if row < 0 or row >= rows:
            raise RuntimeError("an index lies outside the table")
        for f in range(features):
            out[i, f] = table_NF[row, f]


@kernel
def add_rows(index: Array, dy: Array, dtable_NF: Array) -> None:
    """dtable[index[i]] += dy[i] from zeros on, in rising i; indices are those that `take_rows` took."""
    zero = dtable_NF.dtype.type(0)
    for n in range(dtable_NF.shape[0]):
        for f in range(dtable_NF.shape[1]):
            dtable_NF[n, f] = zero
    for i in range(index.size):
        row = index[i]
        for f in range(dtable_NF.shape[1]):
            dtable_NF[row, f] += dy[i, f]


@kernel
def to_time_major(x_BTF: Array, is_reversed: int, out_TBF: Array) -> None:
    """Samples' sequences as steps of all samples, the last step first if reversed."""
    steps = x_BTF.shape[1]
    for t in range(steps):
        source = steps - 1 - t if is_reversed != 0 else t
        for b in range(x_BTF.shape[0]):
            for f in range(x_BTF.shape[2]):
                out_TBF[t, b, f] = x_BTF[b, source, f]


@kernel
def from_time_major(x_TBF: Array, is_reversed: int, out_BTF: Array) -> None:
    """What `to_time_major` gave, back."""
    steps = x_TBF.shape[0]
    for t in range(steps):
        target = steps - 1 - t if is_reversed != 0 else t
        for b in range(x_TBF.shape[1]):
            for f in range(x_TBF.shape[2]):
                out_BTF[b, target, f] = x_TBF[t, b, f]


@kernel
def step_status(mask_BT: Array, is_reversed: int, is_zeroed: int, status_TB: Array) -> None:
    """Which steps count, and which show their state.

    A step that does not count shows the state that is carried on if one before it counted and outputs of
    masked steps are not zeroed.

    Args:
        mask_BT: bool; of width 0 if all steps count.
    """
    steps = status_TB.shape[0]
    for b in range(status_TB.shape[1]):
        is_begun = False
        for t in range(steps):
            status = VALID | SHOWN
            if mask_BT.shape[1] != 0 and not mask_BT[b, steps - 1 - t if is_reversed != 0 else t]:
                status = SHOWN if is_begun and is_zeroed == 0 else 0
            else:
                is_begun = True
            status_TB[t, b] = status


@kernel
def reverse_steps(x_BTF: Array, out_BTF: Array) -> None:
    """The second axis in reverse."""
    steps = x_BTF.shape[1]
    for b in range(x_BTF.shape[0]):
        for t in range(steps):
            for f in range(x_BTF.shape[2]):
                out_BTF[b, t, f] = x_BTF[b, steps - 1 - t, f]


@kernel
def copy_step(x_BTF: Array, step: int, out_BF: Array) -> None:
    """One step of all samples."""
    for b in range(out_BF.shape[0]):
        for f in range(out_BF.shape[1]):
            out_BF[b, f] = x_BTF[b, step, f]


@kernel
def put_step(x_BF: Array, step: int, out_BTF: Array) -> None:
    """The other way: samples' values as one step of sequences."""
    for b in range(x_BF.shape[0]):
        for f in range(x_BF.shape[1]):
            out_BTF[b, step, f] = x_BF[b, f]


@kernel
def clear_step(step: int, out_BTF: Array) -> None:
    """Zeros as one step of sequences."""
    zero = out_BTF.dtype.type(0)
    for b in range(out_BTF.shape[0]):
        for f in range(out_BTF.shape[2]):
            out_BTF[b, step, f] = zero


@kernel
def take_shard_rows(x_NF: Array, control: Array, out_BF: Array) -> None:
    """The rows of a batch's x that belong to the shard."""
    first = control[POSITION_WORD] - control[START_WORD]
    for b in range(out_BF.shape[0]):
        for f in range(out_BF.shape[1]):
            out_BF[b, f] = x_NF[first + b, f]


@kernel
def place_shard_rows(x_BF: Array, control: Array, out_NF: Array) -> None:
    """The shard's rows in their places in the batch, zeros elsewhere."""
    first = control[POSITION_WORD] - control[START_WORD]
    zero = out_NF.dtype.type(0)
    for n in range(out_NF.shape[0]):
        is_ours = n >= first and n < first + x_BF.shape[0]
        for f in range(out_NF.shape[1]):
            out_NF[n, f] = x_BF[n - first, f] if is_ours else zero
