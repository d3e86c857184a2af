"""What layers add to the loss (`add_loss`, `activity_regularizer`), recorded behind a model's outputs.

A number is taken for the mean over its shard's samples, values for their sum over the batch, as in Keras.
Both enter the gradient through seeds, and the logs through the place of the penalty, to which the update
adds its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from distnn import ops
from distnn.graph import Graph
from distnn.objective import Seed
from distnn.ops.accumulate import AddedLosses, TimesSamples
from distnn.tensor import Spec, Tensor


@dataclass(frozen=True)
class Added:
    """Where gradients begin, the seeds of that, and the sum that a shard leaves."""

    starts: tuple[tuple[Tensor, Tensor], ...]
    seeds: tuple[Seed, ...]
    batch: Seed
    sums: Tensor


def record_added(graph: Graph) -> Added | None:
    """Record what was added in this trace; None if nothing was."""
    if not graph.added_losses:
        return None
    means = [value for value, is_sum in graph.added_losses if not is_sum]
    totals = [value for value, is_sum in graph.added_losses if is_sum]
    mean, total = (reduce(ops.add, values) if values else None for values in (means, totals))
    starts: list[tuple[Tensor, Tensor]] = []
    seeds: list[Seed] = []
    if mean is not None:
        seeds.append(Seed("seed_mean", 1.0, 1))
        starts.append((mean, TimesSamples()(_input(graph, seeds[-1]))))
    if total is not None:
        seeds.append(Seed("seed_sum", 1.0, 0))
        starts.append((total, _input(graph, seeds[-1])))
    batch = Seed("seed_batch", 1.0, 0, is_batch_size=True)
    nothing = graph.constant(0.0)
    sums = AddedLosses()(
        nothing if mean is None else mean, nothing if total is None else total, _input(graph, batch)
    )
    return Added(tuple(starts), tuple(seeds), batch, sums)


def _input(graph: Graph, seed: Seed) -> Tensor:
    """A number that is written before each run."""
    word = graph.add_input(seed.input_name, Spec((1,)))
    if graph.eager:
        word.value = np.array([seed.value(graph.batch_samples)], graph.dtype)
    number: Tensor = ops.reshape(word, ())
    return number
