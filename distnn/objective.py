"""A compiled model's losses and metrics, recorded in a graph and read back from sums.

A shard leaves float64 sums: per loss a pair (sum of values, sum of weights), per metric as many as it says,
for a mean a pair too. Losses are divided by Keras's rules through the seed of the gradient; a metric turns
its sums of all samples into a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distnn import ops
from distnn.graph import Graph, recording
from distnn.losses import Loss
from distnn.metrics import Metric
from distnn.ops.accumulate import ScaledBySamples, SumAndCount, TimesSamples
from distnn.tensor import Array, Spec, Tensor


@dataclass(frozen=True)
class Seed:
    """How a loss enters the gradient: `weight / divisor`, the divisor from the whole batch's size.

    `values_per_sample`: loss values a sample has; 0 for a loss that is summed (divisor 1).
    `is_batch_size`: it is no loss, but the number of samples of the batch.
    """

    input_name: str
    weight: float
    values_per_sample: int
    is_batch_size: bool = False

    def value(self, batch_samples: int) -> float:
        if self.is_batch_size:
            return float(batch_samples)
        divisor = self.values_per_sample * batch_samples if self.values_per_sample else 1
        return self.weight / divisor


@dataclass(frozen=True)
class Recorded:
    """What the objective recorded: gradients begin at `starts`; `sums` are the results, in slot order."""

    starts: tuple[tuple[Tensor, Tensor], ...]
    seeds: tuple[Seed, ...]
    sums: tuple[Tensor, ...]


class Objective:
    """Losses with weights, and metrics, one entry per model output.

    Args:
        losses: a loss per output.
        loss_weights: a weight per output.
        metrics: the metrics of each output, unweighted.
        weighted_metrics: the metrics of each output that use sample weights.
        places: which of the model's outputs they are for.
        output_names: of these outputs, for the logs of a model with several; None for one.
    """

    def __init__(
        self,
        losses: Sequence[Loss],
        loss_weights: Sequence[float],
        metrics: Sequence[Sequence[Metric]],
        weighted_metrics: Sequence[Sequence[Metric]],
        *,
        places: Sequence[int] = (0,),
        output_names: Sequence[str] | None = None,
    ) -> None:
        self.places = tuple(places)
        self.output_names = None if output_names is None else tuple(output_names)
        self.losses = tuple(losses)
        self.loss_weights = tuple(float(weight) for weight in loss_weights)
        self.metrics = tuple(tuple(group) for group in metrics)
        self.weighted_metrics = tuple(tuple(group) for group in weighted_metrics)

    @property
    def names(self) -> list[str]:
        """Names of the logs: `loss`, of several outputs each one's, then the metrics in compile order.

        Each name is there once; those that come again are numbered, as in Keras.
        """
        found = ["loss"]
        outputs = self.output_names or ("",) * len(self.losses)
        if self.output_names is not None:
            found += [f"{output}_loss" for output in self.output_names]
        for groups, prefix in ((self.metrics, ""), (self.weighted_metrics, "weighted_")):
            for output, group in zip(outputs, groups, strict=True):
                for metric in group:
                    plain = f"{output}_{metric.name}" if output else metric.name
                    base = prefix + plain if plain in found else plain
                    name, count = base, 0
                    while name in found:
                        count += 1
                        name = f"{base}_{count}"
                    found.append(name)
        return found

    def _all_metrics(self) -> list[Metric]:
        return [m for group in (*self.metrics, *self.weighted_metrics) for m in group]

    def directions(self) -> dict[str, str]:
        """Which way each log gets better ("min" or "max"), where it is known."""
        names = self.names
        metrics = self._all_metrics()
        found = dict.fromkeys(names[: len(names) - len(metrics)], "min")
        for name, metric in zip(names[len(found) :], metrics, strict=True):
            if metric.direction is not None:
                found[name] = metric.direction
        return found

    @property
    def num_sums(self) -> int:
        """Sums of all losses, a pair each, and metrics."""
        return 2 * len(self.losses) + sum(metric.num_sums for metric in self._all_metrics())

    def record(
        self,
        graph: Graph,
        targets: Sequence[Tensor],
        outputs: Sequence[Tensor],
        sample_weight: Tensor | None,
    ) -> Recorded:
        """Record losses and metrics after all of the model's outputs."""
        outputs = [outputs[place] for place in self.places]
        starts: list[tuple[Tensor, Tensor]] = []
        seeds: list[Seed] = []
        sums: list[Tensor] = []
        with recording(graph):
            for i, (loss, target, output) in enumerate(zip(self.losses, targets, outputs, strict=True)):
                with graph.scope(loss.name):
                    values = loss.call(target, output)
                    sums.append(self._record_loss(graph, i, values, sample_weight, starts, seeds))
            for groups, weight in ((self.metrics, None), (self.weighted_metrics, sample_weight)):
                for target, output, group in zip(targets, outputs, groups, strict=True):
                    for metric in group:
                        with graph.scope(metric.name):
                            sums.append(_metric_sums(metric, target, output, weight))
        return Recorded(tuple(starts), tuple(seeds), tuple(sums))

    def _record_loss(
        self,
        graph: Graph,
        index: int,
        values: Tensor,
        sample_weight: Tensor | None,
        starts: list[tuple[Tensor, Tensor]],
        seeds: list[Seed],
    ) -> Tensor:
        """Record where the gradient of one loss begins; returns its (sum, count)."""
        loss = self.losses[index]
        name = f"seed{index}"
        seed = graph.add_input(name, Spec((1,)))
        if not isinstance(values, Tensor):
            raise ValueError(
                f"the loss '{loss.name}' must return a tensor made with `distnn.ops`. "
                f"Received: {type(values).__name__}"
            )
        per_sample = graph.values_per_sample(values)
        if values.spec.rank > 0 and per_sample is None:
            raise ValueError(
                f"the loss '{loss.name}' must return one value per sample (shape (batch,) or (batch, ...)) "
                f"or a scalar. Received: shape {values.shape}"
            )
        per_sample = 0 if loss.reduction == "sum" else per_sample or 1
        seeds.append(Seed(name, self.loss_weights[index], per_sample))
        if graph.eager:
            seed.value = np.array([seeds[-1].value(graph.batch_samples)], graph.dtype)
        if values.spec.rank == 0:
            if sample_weight is not None:
                raise ValueError(
                    f"the loss '{loss.name}' returns one number for the whole shard, so `sample_weight` and "
                    "`class_weight` cannot be applied; return one value per sample"
                )
            return _start_at_scalar(values, seed, loss.reduction == "sum", starts)
        if sample_weight is not None:
            values = ops.multiply(values, _aligned(sample_weight, values))
        starts.append((values, ops.broadcast_to(seed, values.spec.shape)))
        pair: Tensor = SumAndCount()(values)
        return pair

    @property
    def summed_losses(self) -> Array:
        """Numbers of the losses that are summed over the batch, not averaged."""
        return np.array([i for i, loss in enumerate(self.losses) if loss.reduction == "sum"], np.int64)

    def fold_step(self, sums: Array, samples: int) -> None:
        """Turn the sums of one batch, in place, into what adds up over batches.

        A loss that is summed over the batch counts, in the epoch's mean, by the batch's samples.
        """
        for i in self.summed_losses:
            sums[2 * i] *= samples
            sums[2 * i + 1] = samples

    def means(self, sums: Array, samples: int) -> dict[str, float]:
        """Logs by name from the sums of `samples` samples; `loss` includes the penalty.

        `sums` holds a (sum, weight) pair per loss, the metrics' sums, then the penalty times samples.
        """
        total, place = 0.0, 2 * len(self.losses)
        ratios = [_ratio(value, count) for value, count in sums[:place].reshape(-1, 2)]
        for weight, ratio in zip(self.loss_weights, ratios, strict=True):
            total += weight * ratio
        total += _ratio(float(sums[self.num_sums]), samples)
        shown = [total] if self.output_names is None else [total, *ratios]
        for metric in self._all_metrics():
            shown.append(metric.number(sums[place : place + metric.num_sums]))
            place += metric.num_sums
        return dict(zip(self.names, shown, strict=True))


def _ratio(value: float, count: float) -> float:
    return float(value) / float(count) if count else 0.0


def _aligned(sample_weight: Tensor, values: Tensor) -> Tensor:
    """`sample_weight` (B,) with ones appended until it broadcasts over `values` (B, ...)."""
    missing = values.spec.rank - sample_weight.spec.rank
    if not missing:
        return sample_weight
    aligned: Tensor = ops.reshape(sample_weight, (*sample_weight.spec.shape, *(1 for _ in range(missing))))
    return aligned


def _start_at_scalar(
    value: Tensor, seed: Tensor, is_sum: bool, starts: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """Begin a gradient at one number for the shard: its sum, or its mean, which counts by its samples."""
    pair: Tensor
    flat_seed = ops.reshape(seed, ())
    if is_sum:
        starts.append((value, flat_seed))
        pair = SumAndCount()(value)
    else:
        starts.append((value, TimesSamples()(flat_seed)))
        pair = ScaledBySamples(append_count=True)(value)
    return pair


def _metric_sums(metric: Metric, target: Tensor, output: Tensor, sample_weight: Tensor | None) -> Tensor:
    sums: Tensor = metric.sums(target, output, sample_weight)
    if sums.spec.shape != (metric.num_sums,):
        raise ValueError(
            f"the metric '{metric.name}' says that it has {metric.num_sums} sums, and leaves a tensor of "
            f"shape {sums.shape}"
        )
    return sums
