"""What checkpoints cost: steps a second with a run directory that saves, beside one that does not.

    python benchmarks/checkpoints.py [--models mlp_seed mlp_wide] [--seconds 35] [--every 30] [--json FILE]

Each side is a training of its own, by the real loop and the real recorder: epochs of some seconds, so that
both kinds of checkpoint come, those by the clock and those at the ends of epochs. The sides take turns. Shown
is the ratio of the steps a second, and, for itself, what one checkpoint is: its size, how long the thread
that trains stands still for the copy, how long the writer keeps a core busy beside it, how long until it is
on the disk. The share is (copy + busy) over the seconds between two checkpoints: what they can cost at most
where every core computes. It can be told even where the ratio drowns in the noise of a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from models import LEARNING_RATE, MLPS, MOMENTUM  # noqa: E402
from timing import add_common_arguments, machine, spread, table, write_figures  # noqa: E402

from distnn.layers import Dense, Input  # noqa: E402
from distnn.models import Sequential  # noqa: E402
from distnn.models.fitting import FitArguments, fit_model  # noqa: E402
from distnn.optimizers import SGD  # noqa: E402
from distnn.recording import Snapshot  # noqa: E402
from distnn.training import Stopped, Training  # noqa: E402
from jobs.checkpoint_writer import Written  # noqa: E402
from jobs.recorder import RunRecorder  # noqa: E402
from jobs.rhythm import Rhythm  # noqa: E402
from jobs.rundir import RunDir  # noqa: E402

NEVER = 1e9
STEPS_PER_EPOCH = {"mlp_seed": 100_000, "mlp_fmnist": 4_000, "mlp_mnist": 4_000, "mlp_wide": 100}
"""An epoch takes some seconds."""
WARM_UP_SECONDS = 2.0


@dataclass
class Costs:
    """Of the checkpoints of one training."""

    copy_s: list[float] = field(default_factory=list)
    busy_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    size: int = 0


class TimedRecorder(RunRecorder):
    """Saves, or does not; stops after some seconds; counts steps and costs."""

    def __init__(self, folder: Path, saves: bool, every: float, seconds: float) -> None:
        super().__init__(RunDir(folder / "run"), Rhythm(every if saves else NEVER))
        self.costs = Costs()
        self._saves, self._seconds = saves, seconds
        self._began_at: tuple[float, int] | None = None
        self._first_at: float | None = None
        self._now = (0.0, 0)

    @property
    def steps_per_second(self) -> float:
        assert self._began_at is not None, "it never got warm"
        (began, first), (ended, last) = self._began_at, self._now
        return (last - first) / (ended - began)

    def wants_checkpoint(self, step: int, at_epoch_end: bool) -> bool:
        wants = super().wants_checkpoint(step, at_epoch_end)
        return wants and self._saves

    def on_steps(self, first_step: int, fingerprints: Any, logs: Any) -> None:
        super().on_steps(first_step, fingerprints, logs)
        self._now = (time.monotonic(), first_step + len(fingerprints))
        self._first_at = self._first_at or self._now[0]
        if self._began_at is None and self._now[0] - self._first_at >= WARM_UP_SECONDS:
            self._began_at = self._now
        if self._began_at is not None and self._now[0] - self._began_at[0] >= self._seconds:
            self.request_stop()

    def _tell_of(self, outcome: Written) -> None:
        super()._tell_of(outcome)
        assert outcome.path is not None, outcome.error
        self.costs.busy_s.append(outcome.busy_s)
        self.costs.took_s.append(outcome.took_s)
        self.costs.size = outcome.path.stat().st_size


@contextmanager
def timed_copies(costs: Costs) -> Iterator[None]:
    """Note how long the thread that trains makes a snapshot."""
    original = Training._snapshot

    def timed(training: Training, *arguments: Any, **named: Any) -> Snapshot:
        began = time.monotonic()
        snapshot = original(training, *arguments, **named)
        costs.copy_s.append(time.monotonic() - began)
        return snapshot

    Training._snapshot = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Training._snapshot = original  # type: ignore[method-assign]


def train(name: str, saves: bool, options: argparse.Namespace) -> TimedRecorder:
    """One training of the net on noise, for so many seconds."""
    mlp = MLPS[name]
    rng = np.random.default_rng(0)
    samples = 64 * mlp.batch_size
    model = Sequential([Input((mlp.inputs,))])
    for units in mlp.units[:-1]:
        model.add(Dense(units, activation="relu"))
    model.add(Dense(mlp.units[-1], activation="softmax"))
    model.compile(SGD(LEARNING_RATE, momentum=MOMENTUM), "sparse_categorical_crossentropy", ["accuracy"])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        recorder = TimedRecorder(Path(folder), saves, options.every, options.seconds)
        arguments = FitArguments(
            x=rng.normal(size=(samples, mlp.inputs)).astype(np.float32),
            y=rng.integers(0, mlp.units[-1], samples),
            batch_size=mlp.batch_size,
            epochs=1_000_000,
            steps_per_epoch=STEPS_PER_EPOCH[name],
            backend=options.backend,
            workers=options.workers,
            shards=options.workers,
            seed=0,
            verbose=0,
            recorder=recorder,
        )
        with model, timed_copies(recorder.costs), contextlib.suppress(Stopped):
            fit_model(model, arguments)
    return recorder


def row(
    name: str, without: list[float], saving: list[TimedRecorder], options: argparse.Namespace
) -> list[str]:
    """A net's figures."""
    rates = [one.steps_per_second for one in saving]
    costs = [one.costs for one in saving]

    def milliseconds(key: str) -> tuple[str, float]:
        values = [value * 1e3 for one in costs for value in getattr(one, key)]
        return spread(values, 1), statistics.median(values) if values else 0.0

    (copy, copy_ms), (busy, busy_ms), (took, _) = map(milliseconds, ("copy_s", "busy_s", "took_s"))
    count = sum(len(one.busy_s) - 1 for one in costs)  # the last is that of the stop
    share = count * (copy_ms + busy_ms) / 10 / (options.seconds * len(saving))
    ratio = statistics.median(rates) / statistics.median(without)
    size = f"{costs[0].size / 1e6:.1f}"
    return [
        name,
        size,
        spread(without, 1),
        spread(rates, 1),
        f"{ratio:.3f}",
        str(count),
        copy,
        busy,
        took,
        f"{share:.2f}",
    ]


HEAD = (
    "net",
    "MB",
    "steps/s without",
    "steps/s with",
    "ratio",
    "saved",
    "copy ms",
    "busy ms",
    "took ms",
    "share %",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(MLPS), default=["mlp_seed", "mlp_wide"])
    parser.add_argument("--seconds", type=float, default=62.0, help="of each side in each round, when warm")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between checkpoints")
    parser.add_argument("--backend", choices=["local", "threads", "ray"], default="threads")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, help="on the disk to write to; default: that of temporary files"
    )
    add_common_arguments(parser, rounds=3)
    options = parser.parse_args()
    rows, found = [], {}
    for name in options.models:
        without: list[float] = []
        saving: list[TimedRecorder] = []
        for _ in range(options.rounds):
            without.append(train(name, False, options).steps_per_second)
            saving.append(train(name, True, options))
        rows.append(row(name, without, saving, options))
        found[name] = {
            "without": without,
            "with": [one.steps_per_second for one in saving],
            "costs": [vars(one.costs) for one in saving],
        }
    print(table(HEAD, rows))
    print(f"\nmedian (least-most) of {options.rounds} rounds of {options.seconds:g} s; {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
