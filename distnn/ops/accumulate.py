"""Ops that end in a shard's float64 sums: values of losses, metrics and assigned variables.

They have no gradient: a gradient begins at the values, with the seed that holds the divisor.
"""

from __future__ import annotations

from functools import partial

from distnn.control import SAMPLES_WORD
from distnn.kernels.accumulate import (
    added_losses,
    scaled_by_samples,
    sum_and_count,
    sum_and_weight,
    times_samples,
)
from distnn.kernels.stepping import copy_values
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Spec, Tensor


class SumAndCount(Op):
    """float64 (sum of x, number of values) or, with weights, (sum of x times its weight, sum of weights)."""

    def infer(self, *inputs: Spec) -> Spec:
        if len(inputs) == 2 and inputs[0].shape != inputs[1].shape:
            raise ValueError(f"values {inputs[0].shape} and weights {inputs[1].shape} differ in shape")
        return Spec((2,), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        flat = tuple(array.reshape(-1) for array in inputs)
        if len(flat) == 1:
            return partial(sum_and_count, flat[0], outputs[0])
        return partial(sum_and_weight, flat[0], flat[1], outputs[0])


class ScaledBySamples(Op):
    """float64 of x times the shard's samples: how a mean over the shard enters a sum over the batch.

    Args:
        append_count: append the number of samples (for a scalar x: the pair of a loss).
    """

    def __init__(self, append_count: bool = False) -> None:
        self.append_count = append_count

    def infer(self, *inputs: Spec) -> Spec:
        factor, power = inputs[0].size(1), inputs[0].size(2)
        if factor != power:
            raise ValueError(f"expected a shape without the batch axis, received {inputs[0].shape}")
        return Spec((factor + int(self.append_count),), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(scaled_by_samples, inputs[0].reshape(-1), control, SAMPLES_WORD, outputs[0])


class AddedLosses(Op):
    """float64 of what layers added to the loss, times the samples it counts by.

    From (mean over the shard, sum over the shard, samples of the batch), one number each.
    """

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((1,), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        mean, total, batch = (array.reshape(-1) for array in inputs)
        return partial(added_losses, mean, total, batch, control, SAMPLES_WORD, outputs[0])


class ToSums(Op):
    """float64 of x, unscaled: for variables whose shards' values are summed."""

    def infer(self, *inputs: Spec) -> Spec:
        return Spec((inputs[0].size(1),), "float64")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(copy_values, inputs[0].reshape(-1), outputs[0])


class TimesSamples(Op):
    """x times the shard's number of samples."""

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        flat = inputs[0].reshape(-1)
        return partial(times_samples, flat, control, SAMPLES_WORD, outputs[0].reshape(-1))

    def gradient(
        self,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        doutputs: tuple[Tensor | None, ...],
    ) -> tuple[Tensor | None, ...]:
        return (TimesSamples()(doutputs[0]),)
