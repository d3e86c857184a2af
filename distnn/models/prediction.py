"""`evaluate` and `predict`: one pass over data on any engine, in the model's batches and shards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.batching import Batching
from distnn.callbacks import CallbackList
from distnn.data.arrays import ArrayData
from distnn.data.pulling import BatchSource, is_pulled
from distnn.engine import EngineOptions, Workers
from distnn.evaluation import batches
from distnn.feeding import windows
from distnn.hooked_passes import PREDICT_HOOKS, TEST_HOOKS, HookedPass
from distnn.models.fitting import FitArguments, engine_options, make_task, resolve_shards, resolve_threads
from distnn.models.intake import check_against_model, intake, signature_of
from distnn.models.pulled import open_source, pulled_whole, refuse_beside_pulled
from distnn.models.states import check_batches, take_states
from distnn.progress import ProgressCallback, in_notebook, is_terminal
from distnn.structure import leaves
from distnn.task import Task
from distnn.tensor import Array

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
    workers: Workers | None = None
    shards: int | None = None
    address: str | None = None
    exchange: str = "auto"
    deadline_s: float = EngineOptions.deadline_s
    wait_s: float = EngineOptions.wait_s

    def arguments(self) -> FitArguments:
        return FitArguments(
            batch_size=self.batch_size,
            steps_per_epoch=self.steps,
            backend=self.backend,
            workers=self.workers,
            shards=self.shards,
            address=self.address,
            exchange=self.exchange,
            deadline_s=self.deadline_s,
            wait_s=self.wait_s,
        )

    def cut(self, data: ArrayData) -> ArrayData:
        """The first `steps` batches of the data."""
        if self.steps is None:
            return data
        return data.slice(0, min(data.num_samples, self.steps * int(self.batch_size or 32)))

    def told(self, model: Model, steps: int | None) -> CallbackList:
        """The callbacks, and progress unless nobody would see it."""
        given = self.callbacks if isinstance(self.callbacks, list | tuple) else [self.callbacks]
        chosen = [callback for callback in given if callback is not None]
        is_silent = self.verbose == "auto" and not (is_terminal(sys.stdout) or in_notebook(sys.stdout))
        progress = ProgressCallback(0 if is_silent else self.verbose)
        params = {"steps": steps, "verbose": self.verbose}
        return CallbackList([*chosen, progress], model=model, params=params)


def one_batch(x: Any) -> Pass:
    """All samples of `x` at once, told to nobody."""
    first = next(iter(leaves(x)), None)
    return Pass(batch_size=max(1, len(first)) if first is not None and np.ndim(first) else None)


def _batching(data: ArrayData, arguments: FitArguments) -> Batching:
    size = min(int(arguments.batch_size or 32), data.num_samples)
    if data.cuts:
        size = max(stop - start for start, stop in batches(data.num_samples, size, data.cuts))
    steps = -(-data.num_samples // size)
    return Batching(data.num_samples, size, resolve_shards(arguments, size), False, 0, steps)


def _loaded(model: Model, task: Task, data: ArrayData, arguments: FitArguments) -> Engine:
    engine = model.engine_for(arguments.backend, engine_options(arguments, task.threads))
    engine.load(task, {"data": data}, model.training_state(0))
    return engine


def evaluate_model(model: Model, x: Any, y: Any, sample_weight: Any, how: Pass) -> dict[str, float]:
    """Loss and metrics by name."""
    arguments = how.arguments()
    opened = _open(model, x, how, y=y, sample_weight=sample_weight)
    model.ensure_initialized()
    batching = _batching(opened.first, arguments)
    states = model.tasks.state_variables(model)
    check_batches(states, opened.first.num_samples, batching.batch_size)
    task, objective = make_task(model, opened.first, batching, resolve_threads(arguments))
    told = how.told(model, opened.steps(batching))
    told.on_test_begin()
    engine = _loaded(model, task, opened.first, arguments)
    sums, samples, steps, size = None, 0, 0, batching.batch_size
    hooked = HookedPass(engine, told, "data", size, model.layout, states)
    has_hooks = told.users_override(*TEST_HOOKS)
    for data in opened.parts(engine):
        sums = hooked.evaluate(data, objective) if has_hooks else engine.evaluate("data", size, sums)
        samples += data.num_samples
        steps += len(data.cuts)
        if steps and not has_hooks:
            told.callbacks[-1].on_test_batch_end(steps - 1)  # progress alone
    assert sums is not None, "there is a first batch"
    engine.add_penalty(sums, samples)
    logs = objective.means(sums, samples)
    told.on_test_end(logs)
    return logs


def predict_model(model: Model, x: Any, how: Pass) -> Any:
    """The output array, or for several outputs arrays in the structure that the model returns."""
    arguments = how.arguments()
    opened = _open(model, x, how, needs_targets=False)
    model.ensure_initialized()
    batching = _batching(opened.first, arguments)
    states = model.tasks.state_variables(model)
    check_batches(states, opened.first.num_samples, batching.batch_size)
    task = model.tasks.prediction(
        model, signature_of(model, opened.first), batching, resolve_threads(arguments)
    )
    told = how.told(model, opened.steps(batching))
    told.on_predict_begin()
    engine = _loaded(model, task, opened.first, arguments)
    found: list[list[Array]] = []
    steps, size = 0, batching.batch_size
    hooked = HookedPass(engine, told, "data", size, model.layout, states)
    has_hooks = told.users_override(*PREDICT_HOOKS)
    for data in opened.parts(engine):
        found += hooked.predict(data, model.packed_outputs) if has_hooks else [engine.predict("data", size)]
        steps += len(data.cuts)
        if steps and not has_hooks:
            told.callbacks[-1].on_predict_batch_end(steps - 1)
    told.on_predict_end()
    outputs = found[0]
    if len(found) > 1:
        outputs = [np.concatenate(column) for column in zip(*found, strict=True)]
    if states:
        take_states(states, outputs[-len(states) :])
        outputs = outputs[: -len(states)]
    return model.packed_outputs(outputs)


@dataclass
class _Opened:
    """What to go over: arrays, or batches that are pulled while the first ones are computed.

    Attributes:
        first: the data; or data like those that will be pulled.
        source: where batches are pulled from.
        limit: how many.
    """

    first: ArrayData
    source: BatchSource | None = None
    limit: int | None = None

    def steps(self, batching: Batching) -> int | None:
        if self.source is None:
            return batching.steps_per_epoch
        return self.source.num_batches if self.limit is None else self.limit

    def parts(self, engine: Engine) -> Iterator[ArrayData]:
        """One part after another, the engine's "data"."""
        if self.source is None:
            yield self.first
            return
        try:
            for data in windows(self.source, self.limit):
                engine.take_batches("data", data)
                yield data
        finally:
            self.source.close()


def _open(model: Model, x: Any, how: Pass, *, needs_targets: bool = True, **beside: Any) -> _Opened:
    """The data, checked; of what is pulled the first batch."""
    if not is_pulled(x):
        given = beside if needs_targets else {"y": None, "sample_weight": None}
        data = how.cut(intake(model, x, **given, needs_targets=needs_targets))
        if needs_targets:
            check_against_model(model, data, "evaluation data")
        return _Opened(data)
    refuse_beside_pulled(x, **beside)
    if model.tasks.state_variables(model):  # the states go from batch to batch: all of them in one pass
        return _Opened(pulled_whole(model, x, how.steps, needs_targets=needs_targets))
    source, first = open_source(model, x, needs_targets=needs_targets)
    if source.has_numbers and source.num_batches is None and how.steps is None:
        raise ValueError(f"{source.what} has no end: give `steps`")
    return _Opened(first, source, how.steps)


def keras_result(logs: dict[str, float], return_dict: bool) -> Any:
    """As Keras returns it: a dict if asked, a number if there is only the loss, else a list."""
    if return_dict:
        return logs
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
