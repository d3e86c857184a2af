"""Our side of the benchmarks: an engine for a reference net in a given setup, and the time of its steps."""

from __future__ import annotations

import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from models import LEARNING_RATE, MLPS, MOMENTUM, Mlp  # noqa: E402

from distnn.engine import Engine  # noqa: E402
from distnn.layers import Dense, Input  # noqa: E402
from distnn.models import Sequential  # noqa: E402
from distnn.models.fitting import FitArguments, prepare  # noqa: E402
from distnn.optimizers import SGD  # noqa: E402
from distnn.training import SEGMENT_SECONDS, Training  # noqa: E402

BATCHES_PER_EPOCH = 64
"""Enough that gathering is real, few enough to fit a cache as the peer's one batch does."""
_QUIET_SECONDS = 0.02
"""In one process short segments show the median of quiet moments; workers get those of the training loop."""


@dataclass(frozen=True)
class Setup:
    """Where steps are computed, and by how many."""

    backend: str
    workers: int
    shards: int
    threads: int = 1

    @property
    def name(self) -> str:
        where = {"local": "one process", "threads": "threads", "ray": "Ray"}[self.backend]
        workers = "" if self.backend == "local" else f", {self.workers} worker{'s' * (self.workers > 1)}"
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"{where}{workers}, {self.shards} shard{'s' * (self.shards > 1)}{threads}"

    @property
    def segment_seconds(self) -> float:
        return SEGMENT_SECONDS if self.backend == "ray" else _QUIET_SECONDS


def setup_of(text: str, shards: int | None = None, threads: int = 1) -> Setup:
    """`local`, `threads:2`, `ray:4`; as many shards as workers unless `shards` says otherwise.

    Raises:
        ValueError: for anything else.
    """
    match = re.fullmatch(r"(local|threads|ray)(?::([1-9]\d*))?", text)
    if match is None:
        raise ValueError(f"{text!r} is not local, threads:N or ray:N")
    workers = int(match[2] or 1)
    return Setup(match[1], workers, shards or workers, threads)


def build_model(mlp: Mlp, learning_rate: float = LEARNING_RATE, momentum: float = MOMENTUM) -> Sequential:
    model = Sequential([Input((mlp.inputs,))])
    for units in mlp.units[:-1]:
        model.add(Dense(units, activation="relu"))
    model.add(Dense(mlp.units[-1], activation="softmax"))
    optimizer = SGD(learning_rate, momentum=momentum)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    return model


def prepare_training(name: str, setup: Setup) -> Training:
    """A training of the net on noise, with an engine that has loaded nothing yet."""
    mlp = MLPS[name]
    rng = np.random.default_rng(0)
    samples = mlp.batch_size * BATCHES_PER_EPOCH
    arguments = FitArguments(
        x=rng.normal(size=(samples, mlp.inputs)).astype(np.float32),
        y=rng.integers(0, mlp.units[-1], samples),
        batch_size=mlp.batch_size,
        backend=setup.backend,
        workers=setup.workers,
        shards=setup.shards,
        threads=setup.threads,
        seed=0,
        verbose=0,
    )
    return prepare(build_model(mlp), arguments)


@contextmanager
def running_engine(name: str, setup: Setup) -> Iterator[Engine]:
    """An engine with the net loaded and its first steps behind it."""
    training = prepare_training(name, setup)
    try:
        training.engine.load(training.task, training.data, training.model.training_state(0))
        training.engine.run_segment(5)
        yield training.engine
    finally:
        training.model.close()


def step_ms(name: str, setup: Setup, seconds: float) -> float:
    """The median milliseconds a step over segments."""
    with running_engine(name, setup) as engine:
        size = 5
        for _ in range(2):
            began = time.perf_counter()
            engine.run_segment(size)
            size = max(1, int(setup.segment_seconds / ((time.perf_counter() - began) / size)))
        times: list[float] = []
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline or len(times) < 5:
            began = time.perf_counter()
            engine.run_segment(size)
            times.append((time.perf_counter() - began) / size)
    return statistics.median(times) * 1e3


def steps_round(setup: Setup, models: Sequence[str], seconds: float) -> dict[str, float]:
    """Each net's milliseconds a step, in new workers."""
    return {name: step_ms(name, setup, seconds) for name in models}


@contextmanager
def one_ray(setups: list[Setup]) -> Iterator[None]:
    """Inside, all engines share one Ray, so that a new one costs its workers only."""
    workers = [setup.workers for setup in setups if setup.backend == "ray"]
    if not workers:
        with nullcontext():
            yield
        return
    from cluster.connect import connect

    connection: Any = connect(None, max(workers))
    try:
        yield
    finally:
        connection.close()
