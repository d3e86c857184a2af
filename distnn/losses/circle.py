"""Circle loss (Sun et al., 2020): embeddings of one class near each other, of others apart."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.losses.loss import Loss
from distnn.losses.values import as_values, rank
from distnn.tensor import Tensor

_NOTHING = -1e9
"""What stands for a pair that is not counted: no exponential of it is more than 0."""


def _pairs(labels: Any, ref_labels: Any, remove_diagonal: bool) -> tuple[Any, Any]:
    """Which pairs (sample, reference) are of one class, and which of two."""
    ours, theirs = (ops.reshape(ops.cast(one, "int32"), (-1,)) for one in (labels, ref_labels))
    same = ops.equal(ops.expand_dims(ours, 1), ops.expand_dims(theirs, 0))
    others = ops.logical_not(same)
    if remove_diagonal:
        itself = ops.cast(ops.eye(ours.shape[0], theirs.shape[0]), "bool")
        same = ops.logical_and(same, ops.logical_not(itself))
    return same, others


def _have_both(same: Any, others: Any) -> Any:
    return ops.logical_and(ops.any(same, axis=1), ops.any(others, axis=1))


def circle(
    y_true: Any,
    y_pred: Any,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> Any:
    """softplus(logsumexp over the same class + logsumexp over other classes) of each sample.

    Samples are compared with those of their shard, or with the references given. Those without a pair of
    both kinds do not count.

    Args:
        y_true: class numbers, (batch,) or (batch, 1).
        y_pred: embeddings of length 1, (batch, features).
        ref_labels, ref_embeddings: what to compare with, in place of the samples themselves.
        remove_diagonal: a sample is no pair with itself.
        gamma: by what distances are multiplied.
        margin: how far from 0 (same class) and 1 (others) a distance may be.
    """
    y_true, y_pred = as_values(y_true, y_pred)
    if rank(y_pred) != 2:
        raise ValueError(
            "circle takes embeddings of shape (batch, features). "
            f"Received: y_pred.shape={tuple(y_pred.shape)}"
        )
    ops.shape(y_pred)[0]  # every sample meets every other: traced for each number of them
    references = y_pred if ref_embeddings is None else ref_embeddings
    same, others = _pairs(y_true, y_true if ref_labels is None else ref_labels, remove_diagonal)
    distances = ops.maximum(ops.subtract(1.0, ops.matmul(y_pred, ops.transpose(references))), 0.0)
    near = ops.multiply(ops.add(distances, margin), ops.subtract(distances, margin))
    apart = ops.multiply(
        ops.maximum(ops.subtract(1.0 + margin, distances), 0.0), ops.subtract(1.0 - margin, distances)
    )
    of_same = ops.logsumexp(ops.where(same, ops.multiply(near, float(gamma)), _NOTHING), axis=1)
    of_others = ops.logsumexp(ops.where(others, ops.multiply(apart, float(gamma)), _NOTHING), axis=1)
    values = ops.softplus(ops.add(of_same, of_others))
    if isinstance(values, Tensor):
        values.mask = _have_both(same, others)
    return values


class Circle(Loss):
    """See `circle`."""

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
    ) -> None:
        super().__init__(name, reduction)
        self.gamma, self.margin, self.remove_diagonal = float(gamma), float(margin), bool(remove_diagonal)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        options: dict[str, Any] = {"gamma": self.gamma, "margin": self.margin}
        return circle(y_true, y_pred, remove_diagonal=self.remove_diagonal, **options)

    def valid_values(self, y_true: Any, y_pred: Any) -> Any:
        return _have_both(*_pairs(y_true, y_true, self.remove_diagonal))

    def get_config(self) -> dict[str, Any]:
        own = {"gamma": self.gamma, "margin": self.margin, "remove_diagonal": self.remove_diagonal}
        return {**super().get_config(), **own}
