"""`evaluate` and `predict`: one pass over data on any engine, in the model's batches and shards."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.batching import Batching
from distnn.callbacks import CallbackList
from distnn.data.arrays import ArrayData
from distnn.models.fitting import FitArguments, engine_options, make_task, resolve_shards, resolve_threads
from distnn.models.intake import check_against_model, intake, signature_of
from distnn.models.states import check_batches, take_states
from distnn.progress import ProgressCallback, in_notebook, is_terminal
from distnn.structure import leaves
from distnn.task import Task

if TYPE_CHECKING:
    from distnn.engine import Engine
    from distnn.models.model import Model


@dataclass(frozen=True)
class Pass:
    """How to go over the data, and where: the arguments that `evaluate` and `predict` share."""

    batch_size: int | None = None
    steps: int | None = None
    callbacks: Any = None
    verbose: int | str = 0
    backend: str = "local"
    workers: int | None = None
    shards: int | None = None
    address: str | None = None
    exchange: str = "auto"

    def arguments(self) -> FitArguments:
        return FitArguments(
            batch_size=self.batch_size,
            steps_per_epoch=self.steps,
            backend=self.backend,
            workers=self.workers,
            shards=self.shards,
            address=self.address,
            exchange=self.exchange,
        )

    def cut(self, data: ArrayData) -> ArrayData:
        """The first `steps` batches of the data."""
        if self.steps is None:
            return data
        return data.slice(0, min(data.num_samples, self.steps * int(self.batch_size or 32)))

    def told(self, model: Model, batching: Batching) -> CallbackList:
        """The callbacks, and progress unless nobody would see it."""
        given = self.callbacks if isinstance(self.callbacks, list | tuple) else [self.callbacks]
        chosen = [callback for callback in given if callback is not None]
        is_silent = self.verbose == "auto" and not (is_terminal(sys.stdout) or in_notebook(sys.stdout))
        progress = ProgressCallback(0 if is_silent else self.verbose)
        params = {"steps": batching.steps_per_epoch, "verbose": self.verbose}
        return CallbackList([*chosen, progress], model=model, params=params)


def one_batch(x: Any) -> Pass:
    """All samples of `x` at once, told to nobody."""
    first = next(iter(leaves(x)), None)
    return Pass(batch_size=max(1, len(first)) if first is not None and np.ndim(first) else None)


def _batching(data: ArrayData, arguments: FitArguments) -> Batching:
    size = min(int(arguments.batch_size or 32), data.num_samples)
    steps = -(-data.num_samples // size)
    return Batching(data.num_samples, size, resolve_shards(arguments, size), False, 0, steps)


def _loaded(model: Model, task: Task, data: ArrayData, arguments: FitArguments) -> Engine:
    engine = model.engine_for(arguments.backend, engine_options(arguments, task.threads))
    engine.load(task, {"data": data}, model.training_state(0))
    return engine


def evaluate_model(model: Model, x: Any, y: Any, sample_weight: Any, how: Pass) -> dict[str, float]:
    """Loss and metrics by name."""
    arguments = how.arguments()
    data = how.cut(intake(model, x, y, sample_weight, needs_targets=True))
    check_against_model(model, data, "evaluation data")
    model.ensure_initialized()
    batching = _batching(data, arguments)
    check_batches(model.tasks.states(model), data.num_samples, batching.batch_size)
    task, objective = make_task(model, data, batching, resolve_threads(arguments))
    told = how.told(model, batching)
    told.on_test_begin()
    engine = _loaded(model, task, data, arguments)
    logs = objective.means(engine.evaluate("data", batching.batch_size), data.num_samples)
    told.on_test_end(logs)
    return logs


def predict_model(model: Model, x: Any, how: Pass) -> Any:
    """The output array, or for several outputs arrays in the structure that the model returns."""
    arguments = how.arguments()
    data = how.cut(intake(model, x, None, None, needs_targets=False))
    model.ensure_initialized()
    batching = _batching(data, arguments)
    states = model.tasks.states(model)
    check_batches(states, data.num_samples, batching.batch_size)
    task = model.tasks.prediction(model, signature_of(model, data), batching, resolve_threads(arguments))
    told = how.told(model, batching)
    told.on_predict_begin()
    outputs = _loaded(model, task, data, arguments).predict("data", batching.batch_size)
    told.on_predict_end()
    if states:
        take_states(states, outputs[-len(states) :])
        outputs = outputs[: -len(states)]
    return model.packed_outputs(outputs)


def keras_result(logs: dict[str, float], return_dict: bool) -> Any:
    """As Keras returns it: a dict if asked, a number if there is only the loss, else a list."""
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
