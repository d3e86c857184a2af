"""A training killed at any instant goes on to the bytes, the history and the files of the unbroken one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashes import calls_of, dying_at_file_call, dying_in_step, in_child, is_killed
from trainings import classification

from distnn import callbacks as kit
from distnn.callbacks import Callback
from distnn.layers import BatchNormalization, Dense, Dropout, Input
from distnn.models import Sequential
from distnn.models.fitting import FitArguments, fit_model
from distnn.optimizers import Adam
from jobs import journal
from jobs.recorder import RunRecorder, read_metrics
from jobs.rhythm import Rhythm
from jobs.rundir import RunDir

pytestmark = pytest.mark.filterwarnings("ignore:BatchNormalization")

X, Y = classification(53)
STEPS, EPOCHS = 4, 6
NOISE = [1.0, 0.5, 0.7, 0.6, 0.65, 0.2]
PLACES: list[dict[str, Any]] = [{}, {"backend": "threads", "workers": 2}, {"workers": 3}]


class Noise(Callback):
    """A number for other callbacks to watch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["noise"] = NOISE[epoch]

    def get_state(self) -> dict[str, Any]:
        return {"kept": True}


CASES: dict[str, Callable[[Path], list[Callback]]] = {
    "early stopping": lambda p: [
        kit.EarlyStopping("noise", mode="min", patience=2, restore_best_weights=True)
    ],
    "plateau": lambda p: [kit.ReduceLROnPlateau("noise", mode="min", patience=1, cooldown=1, factor=0.5)],
    "scheduler": lambda p: [kit.LearningRateScheduler(lambda epoch, rate: rate * 0.7)],
    "csv": lambda p: [kit.CSVLogger(p / "log.csv")],
    "csv that goes on": lambda p: [kit.CSVLogger(p / "log.csv", append=True)],
    "best model": lambda p: [
        kit.ModelCheckpoint(p / "{epoch}.safetensors", monitor="noise", mode="min", save_best_only=True)
    ],
    "every three batches": lambda p: [kit.ModelCheckpoint(p / "{epoch}-{batch}.safetensors", save_freq=3)],
}
ALL = ("early stopping", "plateau", "scheduler", "csv", "best model")
CASES["all"] = lambda p: [callback for name in ALL for callback in CASES[name](p)]


@dataclass(frozen=True)
class Left:
    """What a training leaves."""

    model: bytes
    steps: bytes
    epochs: list[Any]
    history: dict[str, list[float]]
    files: dict[str, bytes]


def train(folder: Path, case: str, **place: Any) -> Left:
    """Begin the training in `folder`, or go on with it."""
    beside = folder / "beside"
    beside.mkdir(parents=True, exist_ok=True)
    run = RunDir(folder / "run")
    model = Sequential(
        [Input((6,)), Dense(7, "relu"), BatchNormalization(), Dropout(0.2), Dense(3, "softmax")]
    )
    model.compile(Adam(0.01, clipnorm=1.0), "sparse_categorical_crossentropy", ["accuracy"])
    arguments = FitArguments(
        X,
        Y,
        batch_size=16,
        shards=3,
        epochs=EPOCHS,
        seed=5,
        verbose=0,
        validation_data=(X[:20], Y[:20]),
        callbacks=[Noise(), *CASES[case](beside)],
        recorder=RunRecorder(run, Rhythm(every_steps=3), may_end_early=True),
        progress_stream=io.StringIO(),
        **place,
    )
    with model:
        history = fit_model(model, arguments)
    epochs = [
        {key: line[key] for key in ("epoch", "step", "logs")}
        for line in read_metrics(run)
        if line["kind"] == "epoch"
    ]
    files = {path.name: path.read_bytes() for path in beside.iterdir() if not path.name.endswith(".tmp")}
    return Left(run.model.read_bytes(), run.steps.read_bytes(), epochs, dict(history.history), files)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Left]:
    return {case: train(tmp_path_factory.mktemp("unbroken"), case) for case in CASES}


def assert_goes_on(folder: Path, case: str, expected: Left, **place: Any) -> None:
    assert train(folder, case, **place) == expected
    run = RunDir(folder / "run")
    left = [path for path in (*run.path.iterdir(), *run.checkpoints.iterdir()) if path.suffix == ".tmp"]
    assert not left, "what the killed process had half-written is gone"


@pytest.mark.parametrize("case", CASES)
def test_killed_within_and_at_ends_of_epochs_callbacks_go_on(
    tmp_path: Path, unbroken: dict[str, Left], case: str
) -> None:
    for count in (2, 7, 8, 9, 13):
        folder = tmp_path / str(count)

        def killed(folder: Path = folder, count: int = count) -> None:
            dying_in_step(count)
            train(folder, case)

        assert is_killed(in_child(killed))
        assert_goes_on(folder, case, unbroken[case])


def test_killed_at_any_call_that_touches_a_file_it_goes_on(tmp_path: Path, unbroken: dict[str, Left]) -> None:
    total = calls_of(lambda: train(tmp_path / "count", "all"))
    assert total > 90
    rng = np.random.default_rng(11)
    for i, count in enumerate(sorted(rng.choice(total - 10, 24, replace=False) + 1)):
        folder = tmp_path / str(count)

        def killed(folder: Path = folder, count: int = int(count)) -> None:
            dying_at_file_call(count)
            train(folder, "all")

        assert is_killed(in_child(killed)), count
        assert_goes_on(folder, "all", unbroken["all"], **PLACES[i % 3])


def test_killed_again_and_again_it_goes_on(tmp_path: Path, unbroken: dict[str, Left]) -> None:
    rng = np.random.default_rng(3)
    kills = 0
    for count in rng.integers(25, 75, 8):

        def killed(count: int = int(count)) -> None:
            dying_at_file_call(count)
            train(tmp_path, "all", **PLACES[0 if count % 3 else 2])

        kills += is_killed(in_child(killed))
    assert kills >= 4
    assert_goes_on(tmp_path, "all", unbroken["all"])
    attempts = [r for r in journal.read(tmp_path / "run" / "events.jsonl").records if r["kind"] == "attempt"]
    assert len(attempts) > kills // 2
