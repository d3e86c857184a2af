"""`model.fit(run_dir=...)` in plain Python: kept, gone on with, and refused for another training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distnn.callbacks import Callback
from distnn.errors import RunDirectoryError
from distnn.layers import Dense
from distnn.models import Sequential, load_model
from jobs.recorder import read_metrics
from jobs.rundir import RunDir
from jobs.status import State, read_status

pytestmark = pytest.mark.filterwarnings("ignore:.*no .get_state.")

X = np.linspace(-1, 1, 90, dtype=np.float32).reshape(30, 3)
Y = np.arange(30) % 3


def fit(run_dir: Path, **arguments: Any) -> Sequential:
    model = Sequential([Dense(5, activation="tanh"), Dense(3, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    given = {"x": X, "y": Y, "epochs": 3, "batch_size": 8, "shards": 2, "seed": 1, "verbose": 0}
    model.fit(**{**given, **arguments}, run_dir=run_dir)
    model.close()
    return model


class StopAfterTwo(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training = epoch == 1


def test_fit_keeps_the_run_and_its_model(tmp_path: Path) -> None:
    model = fit(tmp_path / "run")
    run = RunDir(tmp_path / "run")
    status = read_status(run)
    assert status is not None and (status.state, status.step) == (State.SUCCEEDED, 12)
    for kept, own in zip(load_model(run.model).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, own)


def test_fit_again_is_at_its_end_and_more_epochs_go_on(tmp_path: Path) -> None:
    fit(tmp_path / "run")
    again = fit(tmp_path / "run")
    whole = fit(tmp_path / "whole", epochs=5)
    assert again.history is not None and len(again.history.history["loss"]) == 3
    fit(tmp_path / "run", epochs=5)
    assert (tmp_path / "run" / "steps.bin").read_bytes() == (tmp_path / "whole" / "steps.bin").read_bytes()
    assert whole.history is not None
    assert [line["epoch"] for line in read_metrics(RunDir(tmp_path / "run"))] == list(range(5))


def test_fit_with_other_data_is_refused(tmp_path: Path) -> None:
    fit(tmp_path / "run")
    with pytest.raises(RunDirectoryError, match=r"holds another run \(data.train: "):
        fit(tmp_path / "run", x=X + 1)
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state is State.SUCCEEDED


def test_fit_may_be_ended_by_a_callback(tmp_path: Path) -> None:
    fit(tmp_path / "run", epochs=50, callbacks=[StopAfterTwo()])
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.state is State.SUCCEEDED
    assert status.message == "a callback ended it at step 8 of 200"


class Interrupt(Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        raise KeyboardInterrupt


def test_interrupted_fit_goes_on_in_the_same_process(tmp_path: Path) -> None:
    """As in a notebook, where the traceback of the interrupted cell lives on."""
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(tmp_path / "run", callbacks=[Interrupt()])
    fit(tmp_path / "run")
    fit(tmp_path / "whole")
    assert (tmp_path / "run" / "steps.bin").read_bytes() == (tmp_path / "whole" / "steps.bin").read_bytes()
    assert caught.value.__traceback__ is not None
