"""A compiled model's losses and metrics, recorded in a graph and read back from sums.

A shard leaves float64 sums: per loss a pair (sum of values, sum of weights), per metric as many as it says,
for a mean a pair too. Losses are divided by Keras's rules through the seed of the gradient; a metric turns
its sums of all samples into a number.
"""

from __future__ import annotations

import functools
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
    `count`: number of the count that is the divisor, where a mask says which values count; else None.
    `is_batch_size`: it is no loss, but the number of samples of the batch.
    """

    input_name: str
    weight: float
    values_per_sample: int
    count: int | None = None
    is_batch_size: bool = False

    def value(self, batch_samples: int) -> float:
        if self.is_batch_size:
            return float(batch_samples)
        divisor = self.values_per_sample * batch_samples if self.values_per_sample else 1
        return self.weight / divisor

    def weight_over(self, count: float) -> float:
        """The seed where `count` values of the whole batch count; 0 where none does."""
        return self.weight / count if count else 0.0


@dataclass(frozen=True)
class Recorded:
    """What the objective recorded: gradients begin at `starts`; `sums` are the results, in slot order.

    `counts`: for each masked loss that is averaged a float64 pair, first the shard's values that count.
    """

    starts: tuple[tuple[Tensor, Tensor], ...]
    seeds: tuple[Seed, ...]
    sums: tuple[Tensor, ...]
    counts: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Masked:
    """Values of a loss, and which of them count.

    `masks`: of the output's steps, and of the values themselves; all must let a value count.
    """

    values: Tensor
    masks: tuple[Tensor, ...]
    what: str

    def weights(self, sample_weight: Tensor | None = None) -> Tensor:
        """The sample's weight (1 without) for values that count, 0 for others, in the values' shape.

        Raises:
            ValueError: if a mask does not say so for each value.
        """
        found = [] if sample_weight is None else [self._spread(sample_weight)]
        for mask in self.masks:
            if mask.spec.shape != self.values.spec.shape[: mask.spec.rank]:
                raise ValueError(
                    f"{self.what} has values of shape {self.values.shape}, but the model's output has a mask "
                    f"of shape {mask.shape}: return a value for each step"
                )
            found.append(self._spread(ops.cast(mask, "float32")))
        return functools.reduce(ops.multiply, found)

    def _spread(self, weights: Tensor) -> Tensor:
        spread: Tensor = ops.broadcast_to(_aligned(weights, self.values), self.values.spec.shape)
        return spread


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

    @property
    def num_metrics(self) -> int:
        """Of all outputs, weighted ones included."""
        return len(self._all_metrics())

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
        counts: list[Tensor] = []
        with recording(graph):
            for i, (loss, target, output) in enumerate(zip(self.losses, targets, outputs, strict=True)):
                with graph.scope(loss.name):
                    values = loss.call(target, output)
                    own = values.mask if isinstance(values, Tensor) else None
                    masks = {id(mask): mask for mask in (output.mask, own) if mask is not None}
                    masked = Masked(values, tuple(masks.values()), f"the loss '{loss.name}'")
                    sums.append(self._record_loss(graph, i, masked, sample_weight, starts, seeds, counts))
            for groups, weight in ((self.metrics, None), (self.weighted_metrics, sample_weight)):
                for target, output, group in zip(targets, outputs, groups, strict=True):
                    for metric in group:
                        with graph.scope(metric.name):
                            sums.append(_metric_sums(metric, target, output, weight))
        return Recorded(tuple(starts), tuple(seeds), tuple(sums), tuple(counts))

    def _record_loss(
        self,
        graph: Graph,
        index: int,
        masked: Masked,
        sample_weight: Tensor | None,
        starts: list[tuple[Tensor, Tensor]],
        seeds: list[Seed],
        counts: list[Tensor],
    ) -> Tensor:
        """Record where the gradient of one loss begins; returns its (sum, count)."""
        loss, values = self.losses[index], masked.values
        name = f"seed{index}"
        seed = graph.add_input(name, Spec((1,)))
        counted_values = _values_per_sample(graph, loss, values)
        per_sample = 0 if loss.reduction == "sum" else counted_values
        is_weighted = loss.reduction == "mean_with_sample_weight" and sample_weight is not None
        is_counted = per_sample > 0 and (bool(masked.masks) or is_weighted)
        seeds.append(Seed(name, self.loss_weights[index], per_sample, len(counts) if is_counted else None))
        if graph.eager:
            seed.value = np.array([self._eager_seed(graph, seeds[-1])], graph.dtype)
        if values.spec.rank == 0:
            if masked.masks:
                masked.weights()
            if sample_weight is not None:
                raise ValueError(
                    f"the loss '{loss.name}' returns one number for the whole shard, so `sample_weight` and "
                    "`class_weight` cannot be applied; return one value per sample"
                )
            return _start_at_scalar(values, seed, loss.reduction == "sum", starts)
        if sample_weight is not None:
            _check_weights(sample_weight, values, f"the loss '{loss.name}'")
        if sample_weight is not None and not is_weighted:
            values = ops.multiply(values, _aligned(sample_weight, values))
        pair: Tensor
        if not masked.masks and not is_weighted:
            starts.append((values, ops.broadcast_to(seed, values.spec.shape)))
            pair = SumAndCount()(values)
            return pair
        counted = masked.weights(sample_weight if is_weighted else None)
        starts.append((ops.multiply(values, counted), ops.broadcast_to(seed, values.spec.shape)))
        pair = SumAndCount()(values, counted)
        if is_counted:
            counts.append(SumAndCount()(counted))
        return pair

    @staticmethod
    def _eager_seed(graph: Graph, seed: Seed) -> float:
        if seed.count is None:
            return seed.value(graph.batch_samples)
        if not len(graph.batch_counts):
            return 0.0  # an evaluation, where no gradient begins
        return seed.weight_over(float(graph.batch_counts[2 * seed.count]))

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


def _values_per_sample(graph: Graph, loss: Loss, values: object) -> int:
    """How many values the loss has for each sample; 1 if it is one number for the whole shard.

    Raises:
        ValueError: it is neither.
    """
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
    return per_sample or 1


def _ratio(value: float, count: float) -> float:
    return float(value) / float(count) if count else 0.0


def _aligned(sample_weight: Tensor, values: Tensor) -> Tensor:
    """`sample_weight` (B,) with ones appended until it broadcasts over `values` (B, ...)."""
    missing = values.spec.rank - sample_weight.spec.rank
    if not missing:
        return sample_weight
    aligned: Tensor = ops.reshape(sample_weight, (*sample_weight.spec.shape, *(1 for _ in range(missing))))
    return aligned


def _check_weights(sample_weight: Tensor, values: Tensor, what: str) -> None:
    """Refuse weights that are not one for each sample, or for each of its values.

    Raises:
        ValueError: naming the shapes.
    """
    given, shape = sample_weight.spec.shape, values.spec.shape
    if len(given) > len(shape) or any(g not in (1, s) for g, s in zip(given[1:], shape[1:], strict=False)):
        raise ValueError(
            f"`sample_weight` has shape {sample_weight.shape}, and {what} has values of shape "
            f"{values.shape}: give one number for each sample, or for each of its values"
        )


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
    """The metric's float64 sums; masked steps weigh nothing."""
    weight, mask = sample_weight, output.mask
    if mask is not None:
        shown = ops.cast(mask, "float32")
        if sample_weight is not None:
            _check_weights(sample_weight, shown, f"the metric '{metric.name}'")
        weight = shown if sample_weight is None else ops.multiply(shown, _aligned(sample_weight, shown))
    try:
        sums: Tensor = metric.sums(target, output, weight)
    except ValueError as error:
        if mask is None:
            raise
        raise ValueError(
            f"the metric '{metric.name}' has values that do not fit the mask of the model's output, of shape "
            f"{mask.shape}: return a value for each step ({error})"
        ) from error
    if sums.spec.shape != (metric.num_sums,):
        raise ValueError(
            f"the metric '{metric.name}' says that it has {metric.num_sums} sums, and leaves a tensor of "
            f"shape {sums.shape}"
        )
    return sums
