"""From the arguments of `fit` to a `Training`: data checked, seed, shards and threads decided, engine found.

Everything that can be refused is refused here, before anything runs.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distnn.batching import MIN_SAMPLES_PER_SHARD, UNKNOWN_STEPS, Batching, default_shards
from distnn.callbacks import CallbackList, History
from distnn.callbacks.backup import backup_among
from distnn.data.arrays import ArrayData
from distnn.data.dataset import ArrayDataset
from distnn.data.pulling import BatchSource, is_pulled
from distnn.engine import BACKENDS, EngineOptions, Workers
from distnn.errors import NonFiniteError
from distnn.feeding import Feed
from distnn.layers.layer import Layer
from distnn.models.describing import describe
from distnn.models.fit_data import checked_data
from distnn.models.intake import check_against_model, class_weights, intake, signature_of
from distnn.models.states import check_batches
from distnn.naming import did_you_mean
from distnn.nonfinite import find_trouble
from distnn.objective import Objective
from distnn.progress import ProgressCallback
from distnn.recipe import make_recipe
from distnn.recording import Plan, Recorder, TrainingState
from distnn.rng import draw_seed
from distnn.task import Task
from distnn.threads import available_cores
from distnn.training import POLICIES, Stopped, Training, Validation

if TYPE_CHECKING:
    from distnn.models.model import Model

OPEN_RECORDER = "jobs.recorder:open_recorder"
RECORDED_SEED = "jobs.recorder:recorded_seed"
"""Found by name at the call: a run directory belongs to `jobs`, which `distnn` never imports."""


@dataclass
class FitArguments:
    """The arguments of `Model.fit`; see there."""

    x: Any = None
    y: Any = None
    batch_size: int | None = None
    epochs: int = 1
    verbose: int | str = "auto"
    callbacks: Any = None
    validation_split: float = 0.0
    validation_data: Any = None
    shuffle: bool = True
    class_weight: Mapping[int, float] | None = None
    sample_weight: Any = None
    initial_epoch: int = 0
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: int | Sequence[int] = 1
    backend: str = "local"
    workers: Workers | None = None
    shards: int | None = None
    threads: int | None = None
    seed: int | None = None
    run_dir: str | Path | None = None
    on_nonfinite: str = "stop"
    accept_changes: bool = False
    address: str | None = None
    exchange: str = "auto"
    deadline_s: float = EngineOptions.deadline_s
    wait_s: float = EngineOptions.wait_s
    recorder: Recorder | None = None
    progress_stream: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.x, ArrayDataset):
            self._take_dataset(self.x)
        if self.backend not in BACKENDS:
            raise ValueError(
                f"Unknown backend: {self.backend!r}. Expected one of {', '.join(map(repr, BACKENDS))}."
                f"{did_you_mean(self.backend, BACKENDS)}"
            )
        if self.on_nonfinite not in POLICIES:
            raise ValueError(
                f"`on_nonfinite` must be one of {', '.join(map(repr, POLICIES))}. "
                f"Received: {self.on_nonfinite!r}"
            )
        self._check_counts()
        backup = backup_among(self.callbacks)
        if backup is not None:
            if self.run_dir is not None or self.recorder is not None:
                raise ValueError("give BackupAndRestore or `run_dir`, not both: they are the same")
            self.run_dir = backup.backup_dir
        if self.run_dir is not None and self.recorder is not None:
            raise ValueError("give `run_dir` or `recorder`, not both")

    def _take_dataset(self, dataset: ArrayDataset) -> None:
        if self.y is not None or self.batch_size is not None:
            raise ValueError("a dataset has its own targets and batch size: leave `y` and `batch_size` out")
        self.x, self.y = dataset.x, dataset.y
        self.batch_size, self.shuffle = dataset.batch_size, dataset.shuffle

    def _check_counts(self) -> None:
        for name in ("batch_size", "epochs", "steps_per_epoch", "validation_steps", "validation_batch_size"):
            _check_positive(name, getattr(self, name))
        for name in ("shards", "threads"):
            _check_positive(name, getattr(self, name))
        _check_workers(self.workers)
        if not isinstance(self.validation_freq, list | tuple | set):
            _check_positive("validation_freq", self.validation_freq)
        if self.initial_epoch < 0:
            raise ValueError(f"`initial_epoch` must not be negative. Received: {self.initial_epoch}")


def _check_positive(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value!r}")


def _check_workers(value: Any) -> None:
    if not isinstance(value, tuple | list):
        _check_positive("workers", value)
        return
    numbers = [one for one in value if isinstance(one, int | np.integer) and not isinstance(one, bool)]
    if len(value) != 2 or len(numbers) != 2 or not 1 <= numbers[0] <= numbers[1]:
        raise ValueError(
            "`workers` must be a positive integer, or a pair of them: the least and the most. "
            f"Received: workers={value!r}"
        )


def resolve_shards(arguments: FitArguments, batch_size: int) -> int:
    """The number of shards: as asked, else as many as workers (at most) but at least 16 samples each."""
    if arguments.shards is not None:
        return int(arguments.shards)
    return default_shards(_workers(arguments)[1], batch_size)


def _workers(arguments: FitArguments) -> tuple[int, int]:
    """How many at least, and at most."""
    if isinstance(arguments.workers, tuple | list):
        least, most = arguments.workers
        return int(least), int(most)
    if arguments.workers is not None:
        return 1, int(arguments.workers)
    return 1, 1 if arguments.backend == "local" else available_cores()


def resolve_threads(arguments: FitArguments) -> int:
    """Threads for the products of a shard: 1, but all cores for a plain `fit` of one process."""
    if arguments.threads is not None:
        return int(arguments.threads)
    is_plain = arguments.backend == "local" and arguments.workers is None and arguments.shards is None
    return available_cores() if is_plain else 1


def engine_options(arguments: FitArguments, threads: int) -> EngineOptions:
    """Where to compute. In one process the threads are the task's alone, so that calls share an engine."""
    least, most = (1, 1) if arguments.backend == "local" else _workers(arguments)
    threads = threads if arguments.backend == "ray" else 1
    return EngineOptions(
        workers=most,
        min_workers=least,
        threads=threads,
        address=arguments.address,
        exchange=arguments.exchange,
        deadline_s=arguments.deadline_s,
        wait_s=arguments.wait_s,
    )


def fit_model(model: Model, arguments: FitArguments) -> History:
    """Train `model`; see `Model.fit`."""
    training = prepare(model, arguments)
    state = model.training_state(training.plan.first_step)
    model.history = training.history
    try:
        with model.engines.in_use():
            _run(training, state)
    except BaseException as error:
        if training.recorder is not None:
            training.recorder.abandon(error)
        if not isinstance(error, Stopped | KeyboardInterrupt | NonFiniteError):
            model.close()
        raise
    if (backup := backup_among(arguments.callbacks)) is not None:
        backup.clean_up()
    if training.interrupts.asked:
        raise KeyboardInterrupt("the training had finished")
    return training.history


def _run(training: Training, state: TrainingState) -> None:
    """Train. One that is kept stops at a commit on Ctrl-C, and saves; `KeyboardInterrupt` comes then."""
    if training.recorder is None:
        training.run(state)
        return
    try:
        with training.interrupts:
            training.run(state)
    except Stopped as stopped:
        if training.interrupts.asked:
            raise KeyboardInterrupt(str(stopped)) from None
        raise


def prepare(model: Model, arguments: FitArguments) -> Training:
    """Check everything and decide everything."""
    seed = _seed(arguments)
    source, train, validation = checked_data(model, arguments, seed)
    batching = _batching(arguments, source, train, seed)
    shards, steps, batch_size = batching.shards, batching.steps_per_epoch, batching.batch_size
    threads = resolve_threads(arguments)
    model.ensure_initialized(seed)
    check_batches(model.tasks.state_variables(model), min(train.num_samples, steps * batch_size), batch_size)
    task, objective = make_task(model, train, batching, threads)
    _warn_of_small_shards(model, batching)
    engine = model.engine_for(arguments.backend, engine_options(arguments, threads))
    plan = Plan(arguments.epochs, arguments.initial_epoch, steps, batch_size, train.num_samples, shards)
    feed = None if source is None else Feed(source, batching, train, plan.first_step)
    history = History()
    data = {"train": train} if validation is None else {"train": train, "validation": validation}
    recorder = _recorder(arguments, source, steps)
    recipe = {} if recorder is None else _recipe(model, task, data, source, arguments.on_nonfinite)
    callbacks = _callbacks(model, arguments, history, plan, seed, objective.directions())
    if recorder is not None and (forgetful := callbacks.without_state()):
        _warn_of_forgetful(forgetful)
    return Training(
        model=model,
        task=task,
        objective=objective,
        data=data,
        engine=engine,
        plan=plan,
        callbacks=callbacks,
        history=history,
        validation=_validation(arguments, validation, batch_size),
        recorder=recorder,
        recipe=recipe,
        on_nonfinite=arguments.on_nonfinite,
        feed=feed,
    )


def _batching(arguments: FitArguments, source: BatchSource | None, train: ArrayData, seed: int) -> Batching:
    """How samples become steps; pulled batches are taken for as large as the first."""
    samples = train.num_samples
    if source is None:
        batch_size = min(int(arguments.batch_size or 32), samples)
        steps = arguments.steps_per_epoch or -(-samples // batch_size)
        shuffle = bool(arguments.shuffle)
    else:
        batch_size, shuffle = samples, False
        steps = arguments.steps_per_epoch or source.num_batches or UNKNOWN_STEPS
        if steps == UNKNOWN_STEPS and source.has_numbers:
            raise ValueError(f"{source.what} has no end: give `steps_per_epoch`")
    return Batching(samples, batch_size, resolve_shards(arguments, batch_size), shuffle, seed, steps)


def _recipe(
    model: Model, task: Task, data: Mapping[str, ArrayData], source: BatchSource | None, on_nonfinite: str
) -> dict[str, Any]:
    pulled = None if source is None else source.what
    kept = {name: part for name, part in data.items() if source is None or name != "train"}
    return make_recipe(model, describe(model), task, kept, pulled, on_nonfinite)


def _warn_of_forgetful(names: Sequence[str]) -> None:
    """Say that a run with these callbacks may not go on as it would have."""
    warnings.warn(
        f"{', '.join(names)}: no `get_state`, so a run that goes on from a checkpoint may end otherwise than "
        "the unbroken one. Return what the callback remembers from `get_state` (an empty dict for nothing), "
        "and take it back in `set_state`.",
        stacklevel=5,
    )


def _warn_of_small_shards(model: Model, batching: Batching) -> None:
    """Say that statistics of few samples are noisy, where cutting the batch makes them few."""
    samples = batching.batch_size // batching.shards
    if batching.shards == 1 or samples >= MIN_SAMPLES_PER_SHARD:
        return
    coupling = [layer for layer in _trained_layers(model) if layer.couples_samples]
    if not coupling:
        return
    warnings.warn(
        f"{type(coupling[0]).__name__} takes the statistics of its shard, and the {batching.shards} shards "
        f"of a batch of {batching.batch_size} have {samples} samples: below {MIN_SAMPLES_PER_SHARD} these "
        "are noisy. Use fewer shards, a larger batch, or LayerNormalization.",
        stacklevel=5,
    )


def _trained_layers(layer: Layer) -> Iterator[Layer]:
    """The layers inside, at any depth, that are not frozen."""
    for _, inner in layer.sublayers():
        if inner.trainable:
            yield inner
            yield from _trained_layers(inner)


def make_task(model: Model, data: ArrayData, batching: Batching, threads: int) -> tuple[Task, Objective]:
    """The task of training or evaluating `model` on such data, and its objective."""
    task = model.tasks.training(model, signature_of(model, data), batching, threads)
    assert task.objective is not None, "a training task has an objective"
    return task, task.objective


def _validation(arguments: FitArguments, data: ArrayData | None, batch_size: int) -> Validation | None:
    if data is None:
        return None
    size = int(arguments.validation_batch_size or batch_size)
    frequency = arguments.validation_freq
    given = frequency if isinstance(frequency, int | np.integer) else tuple(frequency)
    return Validation(data.num_samples, size, given)


def _seed(arguments: FitArguments) -> int:
    """As given; without one that of the run to go on with, or a new one."""
    if arguments.seed is not None:
        return int(arguments.seed)
    drawn = draw_seed()  # also where it is not needed: whoever set a seed for all gets the same ones after it
    recorded = None if arguments.run_dir is None else _named(RECORDED_SEED)(arguments.run_dir)
    return drawn if recorded is None else int(recorded)


def _named(place: str) -> Any:
    """What a name as `module:function` stands for."""
    module_name, _, function = place.partition(":")
    return getattr(importlib.import_module(module_name), function)


def _recorder(arguments: FitArguments, source: BatchSource | None, steps: int) -> Recorder | None:
    if arguments.run_dir is None and arguments.recorder is None:
        return None
    if steps == UNKNOWN_STEPS:
        raise ValueError(
            "a run directory keeps a training of a known number of steps: give `steps_per_epoch`, or a "
            "PyDataset"
        )
    if source is not None and not source.has_numbers:
        warnings.warn(
            f"the run goes on from a checkpoint only where {source.what} yields the same batches again: "
            "those before it are pulled and dropped. A PyDataset goes on by the numbers of its batches.",
            stacklevel=5,
        )
    if arguments.run_dir is None:
        return arguments.recorder
    open_recorder = _named(OPEN_RECORDER)
    backup = backup_among(arguments.callbacks)
    every_steps = None if backup is None else backup.every_steps
    recorder: Recorder = open_recorder(
        arguments.run_dir, every_steps=every_steps, accept_changes=arguments.accept_changes
    )
    return recorder


def _callbacks(
    model: Model,
    arguments: FitArguments,
    history: History,
    plan: Plan,
    seed: int,
    directions: Mapping[str, str],
) -> CallbackList:
    given = arguments.callbacks or []
    chosen = list(given) if isinstance(given, list | tuple) else [given]
    progress = ProgressCallback(arguments.verbose, stream=arguments.progress_stream)
    params = {
        "epochs": arguments.epochs,
        "steps": None if plan.steps_per_epoch == UNKNOWN_STEPS else plan.steps_per_epoch,
        "samples": None if is_pulled(arguments.x) else plan.samples,
        "batch_size": plan.batch_size,
        "verbose": arguments.verbose,
        "seed": seed,
        "shards": plan.shards,
        "directions": directions,
    }
    return CallbackList(
        [*chosen, history, progress], model=model, params=params, stream=arguments.progress_stream
    )


def train_on_one_batch(model: Model, arguments: FitArguments) -> dict[str, float]:
    """One step on the whole of the data given; the model's own count of updates is the step's number."""
    data = intake(model, arguments.x, arguments.y, arguments.sample_weight, needs_targets=True)
    if arguments.class_weight is not None:
        data = class_weights(data, arguments.class_weight)
    check_against_model(model, data)
    model.ensure_initialized()
    check_batches(model.tasks.state_variables(model), data.num_samples, data.num_samples)
    shards, threads = resolve_shards(arguments, data.num_samples), resolve_threads(arguments)
    batching = Batching(data.num_samples, data.num_samples, shards, False, 0, 1)
    task, objective = make_task(model, data, batching, threads)
    engine = model.engine_for(arguments.backend, engine_options(arguments, threads))
    engine.load(task, {"train": data}, model.training_state(model.iterations))
    report = engine.run_segment(1)
    if report.has_trouble:
        if arguments.on_nonfinite == "skip":
            return dict.fromkeys(objective.names, math.nan)
        hint = "The model is as it was. Lower the learning rate, or pass on_nonfinite='skip'"
        raise NonFiniteError(find_trouble(task, data, engine.state()), hint)
    model.take_state(engine.state())
    return objective.means(report.sums, data.num_samples)
