"""`evaluate` and `predict`: one pass over data on any engine, in the model's batches and shards."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distnn.batching import Batching
from distnn.data.arrays import ArrayData
from distnn.models.fitting import FitArguments, engine_options, make_task, resolve_shards, resolve_threads
from distnn.models.intake import check_against_model, intake, signature_of
from distnn.task import Task

if TYPE_CHECKING:
    from distnn.engine import Engine
    from distnn.models.model import Model


@dataclass(frozen=True)
class Place:
    """Where to compute: `fit`'s backend, workers, shards and address."""

    backend: str = "local"
    workers: int | None = None
    shards: int | None = None
    address: str | None = None


def _arguments(place: Place, batch_size: int | None) -> FitArguments:
    return FitArguments(
        batch_size=batch_size,
        backend=place.backend,
        workers=place.workers,
        shards=place.shards,
        address=place.address,
    )


def _batching(data: ArrayData, arguments: FitArguments) -> Batching:
    size = min(int(arguments.batch_size or 32), data.num_samples)
    steps = -(-data.num_samples // size)
    return Batching(data.num_samples, size, resolve_shards(arguments, size), False, 0, steps)


def _loaded(model: Model, task: Task, data: ArrayData, arguments: FitArguments) -> Engine:
    engine = model.engine_for(arguments.backend, engine_options(arguments, task.threads))
    engine.load(task, {"data": data}, model.training_state(0))
    return engine


def evaluate_model(
    model: Model,
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: int | None,
    place: Place,
    verbose: int | str,
) -> dict[str, float]:
    """Loss and metrics by name."""
    arguments = _arguments(place, batch_size)
    data = intake(model, x, y, sample_weight, needs_targets=True)
    check_against_model(model, data, "evaluation data")
    model.ensure_initialized()
    batching = _batching(data, arguments)
    task, objective = make_task(model, data, batching, resolve_threads(arguments))
    engine = _loaded(model, task, data, arguments)
    logs = objective.means(engine.evaluate("data", batching.batch_size), data.num_samples)
    if verbose not in (0, "0") and (verbose != "auto" or sys.stdout.isatty()):
        shown = " - ".join(f"{name}: {value:.4f}" for name, value in sorted(logs.items()))
        print(f"{batching.steps_per_epoch}/{batching.steps_per_epoch} - {shown}")
    return logs


def predict_model(model: Model, x: Any, batch_size: int | None, place: Place) -> Any:
    """The output array, or a list of arrays for several outputs."""
    arguments = _arguments(place, batch_size)
    data = intake(model, x, None, None, needs_targets=False)
    model.ensure_initialized()
    batching = _batching(data, arguments)
    task = Task(
        model, None, signature_of(model, data), batching, resolve_threads(arguments), model.run_eagerly
    )
    outputs = _loaded(model, task, data, arguments).predict("data", batching.batch_size)
    return outputs[0] if len(outputs) == 1 else outputs


def keras_result(logs: dict[str, float], return_dict: bool) -> Any:
    """As Keras returns it: a dict if asked, a number if there is only the loss, else a list."""
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
