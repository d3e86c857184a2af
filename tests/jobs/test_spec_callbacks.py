"""Callbacks in a spec: by name, checked like layers; a run that one of them ends has succeeded."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from job_samples import SMALL_JOB

from distnn.callbacks import EarlyStopping, ReduceLROnPlateau
from jobs.catalog import make_parts
from jobs.problems import key_of
from jobs.rundir import RunDir
from jobs.runner import run_spec
from jobs.specfile import load_spec
from jobs.status import State, read_status


def spec(tmp_path: Path, callbacks: str, epochs: int = 30) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL_JOB.replace("epochs = 2", f"epochs = {epochs}\ncallbacks = [{callbacks}]"))
    return path


def test_callbacks_are_made_with_their_parameters(tmp_path: Path) -> None:
    path = spec(tmp_path, '"ReduceLROnPlateau", {type = "EarlyStopping", patience = 3, monitor = "loss"}')
    parts, problems = make_parts(load_spec(path).spec)
    first, second = parts.callbacks
    assert not problems and isinstance(first, ReduceLROnPlateau) and isinstance(second, EarlyStopping)
    assert (second.patience, second.monitor) == (3, "loss")


@pytest.mark.parametrize(
    ("callback", "key", "message"),
    [
        ('"EarlyStoping"', "training.callbacks[0]", "there is no callback 'EarlyStoping'. Did you mean"),
        ('"LambdaCallback"', "training.callbacks[0]", "Known: EarlyStopping, ReduceLROnPlateau, Remote"),
        (
            '{type = "EarlyStopping", patience = "long"}',
            "training.callbacks[0].patience",
            "expected a whole number, received 'long'",
        ),
        (
            '{type = "ReduceLROnPlateau", factor = 2.0}',
            "training.callbacks[0]",
            "ReduceLROnPlateau: ReduceLROnPlateau does not support a factor >= 1.0. Received factor=2.0",
        ),
    ],
)  # fmt: skip
def test_mistakes_have_a_place(tmp_path: Path, callback: str, key: str, message: str) -> None:
    (problem,) = make_parts(load_spec(spec(tmp_path, callback)).spec)[1]
    assert key_of(problem.path) == key and message in problem.message


def test_a_run_that_a_callback_ends_has_succeeded(tmp_path: Path) -> None:
    path = spec(tmp_path, '{type = "EarlyStopping", monitor = "loss", min_delta = 10.0, patience = 2}')
    err = io.StringIO()
    outcome = run_spec(str(path), run_dir=str(tmp_path / "run"), err=err)
    status = read_status(RunDir(tmp_path / "run"))
    assert outcome.exit_code == 0 and status is not None and status.state is State.SUCCEEDED
    assert "a callback ended it at step" in status.message
