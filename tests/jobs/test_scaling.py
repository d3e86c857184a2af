"""`distnn scale`: a live run goes on with more or fewer workers; everything else is refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click.testing
import pytest

from distnn.recording import Plan
from jobs import journal
from jobs.cli import cli
from jobs.recorder import RunRecorder
from jobs.rundir import RunDir
from jobs.scaling import LOOK_EVERY_S, scale

RECIPE: dict[str, Any] = {"batching": {"shards": 3}}
READY = {"engine": "RayEngine", "workers": 2, "min_workers": 2, "max_workers": 4}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def live(path: Path, clock: Clock, **ready: Any) -> RunRecorder:
    """A run that is being computed, as far as its directory shows."""
    recorder = RunRecorder(RunDir(path), clock=clock)
    recorder.begin(RECIPE, Plan(1, 0, 4, 8, 30, 3))
    if ready:
        recorder.on_event("engine-ready", **ready)
    return recorder


def distnn(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(cli, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        (2, []),
        (3, []),
        (4, ["the run has 3 shards: more workers than that stay spares"]),
        (
            9,
            [
                "9 are more than the most that the run was begun with, 4: it takes 4",
                "the run has 3 shards: more workers than that stay spares",
            ],
        ),
    ],
)
def test_a_live_run_is_asked(tmp_path: Path, asked: int, lines: list[str]) -> None:
    clock = Clock()
    recorder = live(tmp_path / "run", clock, **READY)
    said = scale(recorder.run, asked, answer_s=0.0)
    assert said == [*lines, "run has been asked, and will do so when its step under way is done"]
    clock.now += LOOK_EVERY_S / 2
    assert recorder.wanted_workers() is None
    clock.now += LOOK_EVERY_S
    assert recorder.wanted_workers() == asked
    clock.now += LOOK_EVERY_S * 2
    assert recorder.wanted_workers() is None
    assert not recorder.run.scale_request.exists()
    recorder.close()


def test_what_the_run_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = live(tmp_path / "run", Clock(), **READY)
    monkeypatch.setattr("time.sleep", lambda seconds: recorder.on_event("scaled", step=1, to=3))
    assert scale(recorder.run, 3) == ["run goes on with 3 workers"]
    recorder.close()


@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"workers": "two"}', b'{"workers": -1}'])
def test_a_damaged_request_is_none(tmp_path: Path, damage: bytes) -> None:
    clock = Clock()
    recorder = live(tmp_path / "run", clock, **READY)
    recorder.run.scale_request.write_bytes(damage)
    clock.now += 1.0
    assert recorder.wanted_workers() is None
    assert not recorder.run.scale_request.exists()
    recorder.close()


def test_a_request_that_comes_while_one_is_read_is_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    recorder = live(tmp_path / "run", clock, **READY)
    scale(recorder.run, 3, answer_s=0.0)
    read_json = RunDir.read_json

    def read_and_asked_again(run: RunDir, file: Path) -> Any:
        read = read_json(run, file)
        monkeypatch.undo()
        scale(run, 4, answer_s=0.0)
        return read

    monkeypatch.setattr(RunDir, "read_json", read_and_asked_again)
    found = []
    for _ in range(3):
        clock.now += 1.0
        found.append(recorder.wanted_workers())
    assert found == [3, 4, None]
    recorder.close()
    assert not list(recorder.run.path.glob(".*")), "nothing is left beside"


def test_the_journal_is_only_parsed_again_when_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = live(tmp_path / "run", Clock(), **READY)
    read, reads, looks = journal.read, [], []

    def counted(path: Path) -> journal.Contents:
        reads.append(path)
        return read(path)

    def looked(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 4:
            recorder.on_event("scaled", step=1, to=3)

    monkeypatch.setattr(journal, "read", counted)
    monkeypatch.setattr("time.sleep", looked)
    assert scale(recorder.run, 3) == ["run goes on with 3 workers"]
    assert reads == [recorder.run.events] * 2, "when asked, and when there is something new"
    recorder.close()


def test_a_request_to_an_earlier_life_is_none(tmp_path: Path) -> None:
    clock = Clock()
    recorder = live(tmp_path / "run", clock, **READY)
    scale(recorder.run, 3, answer_s=0.0)
    recorder.close()
    recorder = live(tmp_path / "run", clock, **READY)
    clock.now += 1.0
    assert recorder.wanted_workers() is None
    recorder.close()


@pytest.mark.parametrize(
    ("ready", "asked", "sentence"),
    [
        (READY, "1", "run needs at least 2 workers ([cluster] workers.min): 1 given"),
        ({"engine": "LocalEngine"}, "2", "run computes in one process and has no workers to scale"),
        ({}, "2", "run is just starting: ask again when it computes (`distnn status`)"),
    ],
)
def test_refusals_of_live_runs(tmp_path: Path, ready: dict[str, Any], asked: str, sentence: str) -> None:
    recorder = live(tmp_path / "run", Clock(), **ready)
    result = distnn("scale", str(recorder.run.path), asked)
    assert (result.exit_code, result.stderr) == (2, f"distnn: {sentence}\n")
    assert not recorder.run.scale_request.exists()
    recorder.close()


def test_a_run_that_nobody_computes_is_refused(tmp_path: Path) -> None:
    recorder = live(tmp_path / "run", Clock(), **READY)
    recorder.close()
    result = distnn("scale", str(recorder.run.path), "2")
    assert result.exit_code == 2
    assert result.stderr == "distnn: run is not live: nobody computes it, so it has no workers to scale\n"


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_a_number_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    assert distnn("scale", str(tmp_path), "--", number).exit_code == 2


def test_an_attempt_that_has_not_begun_to_compute_is_just_starting(tmp_path: Path) -> None:
    """Although an earlier attempt computed."""
    live(tmp_path / "run", Clock(), **READY).close()
    recorder = live(tmp_path / "run", Clock())
    assert distnn("scale", str(recorder.run.path), "2").exit_code == 2
    assert [r["kind"] for r in journal.read(recorder.run.events).records].count("engine-ready") == 1
    recorder.close()
