"""CTC: the loss of labels whose places in a series are not known."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.loss import PlainLoss
from distnn.losses.values import as_values, rank


def ctc(y_true: Any, y_pred: Any) -> Any:
    """-log of the probability of the labels over all their alignments; a value per sample.

    All steps count. Class 0 stands for no label, in targets for what is behind the last.

    Args:
        y_true: class numbers, (batch, labels).
        y_pred: logits, (batch, steps, classes).
    """
    y_true, y_pred = as_values(y_true, y_pred)
    if rank(y_true) != 2:
        raise ValueError(
            "Targets `y_true` are expected to be a tensor of shape `(batch_size, max_length)` in integer "
            f"format. Received: y_true.shape={tuple(y_true.shape)}"
        )
    if rank(y_pred) != 3:
        raise ValueError(
            "Logits `y_pred` are expected to be a tensor of shape `(batch_size, max_length, num_classes)`. "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )
    labels = ops.cast(y_true, "int32")
    lengths = ops.sum(ops.cast(ops.not_equal(labels, 0), "int32"), axis=-1)
    steps = ops.full_like(lengths, y_pred.shape[1])
    return ops.ctc_loss(labels, y_pred, lengths, steps, mask_index=0)


class CTC(PlainLoss):
    """See `ctc`."""

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "ctc") -> None:
        super().__init__(reduction, name)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ctc(y_true, y_pred)
