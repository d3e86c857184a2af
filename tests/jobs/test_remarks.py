"""Warnings of what computes: kept with the run, shown as lines that leave a progress bar whole."""

from __future__ import annotations

import gc
import io
import logging
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from jobs import journal, runner
from jobs.recorder import RunRecorder
from jobs.remarks import LOGGER, shown_warnings
from jobs.rundir import RunDir
from jobs.runner import _Session

logger = logging.getLogger("distnn.cluster")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def kept(run: RunDir) -> list[str]:
    return [r["message"] for r in journal.read(run.events).records if r["kind"] == "warning"]


def test_a_run_keeps_what_its_thread_logs_while_it_is_open(tmp_path: Path) -> None:
    recorder = RunRecorder(RunDir(tmp_path / "run"))
    logger.warning("too early")
    recorder.open()
    logger.warning("worker %d died", 1)
    logger.info("by the way")
    other = threading.Thread(target=logger.warning, args=("of another training",))
    other.start()
    other.join()
    recorder.close()
    logger.warning("too late")
    recorder.remark("too late")
    assert kept(recorder.run) == ["worker 1 died"]
    assert "warning message=worker 1 died" in recorder.run.log(1).read_text()


def test_a_forgotten_recorder_is_not_kept_alive_by_listening(tmp_path: Path) -> None:
    before = list(LOGGER.handlers)
    recorder = RunRecorder(RunDir(tmp_path / "run"))
    recorder.open()
    assert len(LOGGER.handlers) == len(before) + 1
    del recorder
    gc.collect()
    assert LOGGER.handlers == before


def test_warnings_for_users_are_told_without_a_place_in_the_code(
    recwarn: pytest.WarningsRecorder,
) -> None:
    told: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with shown_warnings(told.append):
            warnings.warn("memory\n  is short", stacklevel=1)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        warnings.warn("afterwards", stacklevel=1)
    assert told == ["memory is short"]
    assert [str(one.message) for one in recwarn] == ["old", "afterwards"]


@pytest.mark.parametrize(("err", "begin"), [(io.StringIO(), ""), (Terminal(), "\r\x1b[2K")])
def test_a_warning_is_a_line_of_its_own(tmp_path: Path, err: io.StringIO, begin: str) -> None:
    """On a terminal it takes the place of a bar that is being drawn, and the bar comes again below."""
    _Session(RunDir(tmp_path), {}, err)._warn("worker 1 died")
    assert err.getvalue() == f"{begin}distnn: warning: worker 1 died\n"


def test_a_stop_after_the_end_names_the_model(
    small_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "final_metrics", interrupted)
    err, place = io.StringIO(), tmp_path / "run"
    outcome = runner.run_spec(str(small_job), run_dir=str(place), err=err)
    assert outcome.exit_code != 0
    assert f"stopped at once; the run had finished: {place / 'model.safetensors'}" in err.getvalue()
