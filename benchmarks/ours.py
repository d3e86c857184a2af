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

from models import NETS  # noqa: E402
from nets import build_model, make_data  # noqa: E402

from distnn.engine import Engine  # noqa: E402
from distnn.models.fitting import FitArguments, prepare  # noqa: E402
from distnn.training import SEGMENT_SECONDS, Training  # noqa: E402

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


def prepare_training(name: str, setup: Setup) -> Training:
    """A training of the net on noise, with an engine that has loaded nothing yet."""
    net = NETS[name]
    x, y = make_data(net)
    arguments = FitArguments(
        x=x,
        y=y,
        batch_size=net.batch_size,
        backend=setup.backend,
        workers=setup.workers,
        shards=setup.shards,
        threads=setup.threads,
        seed=0,
        verbose=0,
    )
    return prepare(build_model(net), arguments)


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
