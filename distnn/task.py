"""What every worker must know to compute any shard of any step: the model, its objective and the batching.

A task holds no weights and no data; it can be sent to another process. Two tasks with the same recipe give
the same bytes on any engine.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from distnn.batching import Batching
from distnn.tensor import Spec
from distnn.weights import WeightLayout

if TYPE_CHECKING:
    from distnn.models.model import Model
    from distnn.objective import Objective


@dataclass(frozen=True)
class Signature:
    """Specs of a task's inputs and targets, batch axis first; `weight`: of the samples' weights, if any."""

    inputs: tuple[Spec, ...]
    targets: tuple[Spec, ...] = ()
    weight: Spec | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One training (or evaluation, or prediction) of a model.

    Args:
        model: the description; `call` is traced in each worker.
        objective: losses and metrics, or None to predict only.
        signature: of the data.
        batching: of the training data.
        threads: threads for the products of a shard; part of the recipe only where BLAS computes them.
        eager: run ops one by one in `call`, without a program.
        key: equal for two tasks of a process that differ in nothing but the seed and the sizes of data and
            batches; then their programs are the same.
    """

    model: Model
    objective: Objective | None
    signature: Signature
    batching: Batching
    threads: int = 1
    eager: bool = False
    key: Hashable = field(default_factory=object)

    def layout(self) -> WeightLayout:
        return WeightLayout(self.model.variables, self.model.trainable_variables)
