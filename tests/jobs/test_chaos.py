"""`distnn chaos`: what is planned, what is compared, what is said; and on a job in threads."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from job_samples import SMALL_JOB

from jobs.chaos.blows import LONGEST_LATE_S, OFFERED, Blow, Kind, deal, instead, spread
from jobs.chaos.campaign import Request, Result, places_after, run_campaign
from jobs.chaos.injectors import Scene, Struck, strike
from jobs.chaos.process import FAMILY_VARIABLE, JobProcess, Place
from jobs.chaos.report import blow_line, result_facts, result_lines, standstills
from jobs.chaos.rounds import Plan, RoundReport, Undisturbed
from jobs.chaos.verdict import Verdict, compare
from jobs.chaos.watch import Event, RunWatch
from jobs.cli import cli
from jobs.rundir import RunDir, run_root
from jobs.runner import run_spec

WITHOUT_WORKERS = [kind for kind in OFFERED if not kind.needs_workers]


def test_blows_are_the_same_for_a_seed_and_others_for_another() -> None:
    def plan(seed: int) -> list[object]:
        rng = random.Random(seed)
        return [spread(deal(OFFERED, 20, rng), rng), deal(OFFERED, 3, rng)]

    assert plan(1) == plan(1) != plan(2)


def test_blows_are_spread_over_the_run_in_order() -> None:
    rng = random.Random(5)
    blows = spread(deal(OFFERED, 200, rng), rng)
    instants = [blow.at for blow in blows]
    assert instants == sorted(instants)
    assert instants[0] < 0.05 and instants[-1] > 0.95
    assert all(0 <= blow.late_s <= LONGEST_LATE_S for blow in blows)


@pytest.mark.parametrize("kinds", [OFFERED, WITHOUT_WORKERS, [Kind.KILL_NODE]])
def test_a_deck_has_every_kind_and_no_other(kinds: list[Kind]) -> None:
    dealt = deal(kinds, 36, random.Random(0))
    assert len(dealt) == 36 and set(dealt) == set(kinds)


def test_a_blow_without_victim_is_drawn_again_for_the_same_instant() -> None:
    rng = random.Random(0)
    (blow,) = spread([Kind.KILL_WORKER], rng)
    other = instead(blow, [Kind.FULL_DISK], rng)
    assert (other.kind, other.at, other.late_s) == (Kind.FULL_DISK, blow.at, blow.late_s)


def test_a_killed_run_goes_on_elsewhere() -> None:
    places = places_after(Place("ray", 3, deadline_s=2.0))
    assert {(place.backend, place.workers) for place in places} == {("ray", 3), ("ray", 2), ("threads", 3)}
    assert {place.backend for place in places_after(Place("local", 1))} == {"local", "threads"}
    assert Place("threads", 2, "10.0.0.1:6379", 2.0).words() == ["--backend", "threads", "--workers", "2"]
    assert Place("ray", 2, None, 2.0).words()[-2:] == ["--deadline", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("finished")
    spec = folder / "small.toml"
    spec.write_text(SMALL_JOB)
    with open(os.devnull, "w") as nowhere:
        outcome = run_spec(str(spec), run_dir=str(folder / "run"), err=nowhere)
    assert outcome.exit_code == 0
    return outcome.run


@pytest.fixture
def copied(finished: RunDir, tmp_path: Path) -> RunDir:
    shutil.copytree(finished.path, tmp_path / "copied")
    return RunDir(tmp_path / "copied")


def test_equal_runs_are_equal(finished: RunDir, copied: RunDir) -> None:
    assert compare(finished, copied) == Verdict(())


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_each_difference_is_told(finished: RunDir, copied: RunDir) -> None:
    flip(copied.model, -1)
    flip(copied.steps, 8 * 6)
    text = copied.metrics.read_text()
    copied.metrics.write_text(text.splitlines(keepends=True)[0])
    assert compare(finished, copied).differences == (
        "model.safetensors has other bytes",
        "1 epochs are recorded, 2 in the undisturbed run",
        "the weights differ from step 7 on",
    )
    copied.model.unlink()
    copied.steps.write_bytes(finished.steps.read_bytes()[:-8])
    differences = compare(finished, copied).differences
    assert differences[0] == "there is no model.safetensors"
    assert "steps are recorded" in differences[2]


def some_result(finished: RunDir, trouble: str = "") -> Result:
    struck = [
        Struck(Kind.KILL_WORKER, 10, "while it computed", 0.1),
        Struck(Kind.KILL_WORKER, 20, "", 0.3),
        Struck(Kind.KILL_COORDINATOR, 30, "while it trained", 2.0, again=7, detail="pid 5"),
        Struck(Kind.FULL_DISK, 40),
    ]
    undisturbed = Undisturbed(finished, 1.0, 2.0, 46)
    plan = Plan(["run"], [Place("ray", 2)], OFFERED, 2.0, 0.5)
    report = RoundReport(finished, struck, missed=["the run had ended"], trouble=trouble)
    return Result(undisturbed, plan, [report], [Verdict(())])


def test_the_report_tells_standstills_and_the_verdict(finished: RunDir) -> None:
    result = some_result(finished)
    found = standstills(result.struck)
    assert found["kill-worker"] == {
        "count": 2,
        "median_s": 0.2,
        "p90_s": 0.3,
        "most_s": 0.3,
        "steps_again": 0,
    }
    assert found["full-disk"]["median_s"] is None
    lines = result_lines(result, seed=3)
    assert lines[-2] == "4 blows in 1 disturbed run(s), seed 3, 1 found nobody and were drawn again"
    assert lines[-1].startswith("EQUAL: ") and lines[-1].endswith("46 steps")
    line = blow_line(result.struck[2], 3, 4)
    assert "kill-coordinator" in line and line.endswith("stood still 2.00 s, 7 steps again")
    facts = json.loads(json.dumps(result_facts(result, 3)))
    assert facts["equal"] and facts["kills"] == 4 and len(facts["blows"]) == 4


def test_the_report_tells_what_is_not_as_promised(finished: RunDir) -> None:
    result = some_result(finished, trouble="the run stands still")
    assert result_lines(result, 0)[-1] == "NOT EQUAL: the run stands still"
    assert not result_facts(result, 0)["equal"]


def test_a_job_that_is_too_short_is_refused_in_a_sentence(small_job: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    found = CliRunner().invoke(
        cli, ["chaos", str(small_job), "--backend", "local", "--run-dir", str(folder), "--kills", "9999"]
    )
    assert found.exit_code == 2
    assert "too short for 9999 blows" in found.output and "training.epochs" in found.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kinds", "earthquake"], "there is no 'earthquake'; there are kill-worker, "),
        (["--kinds", "kill-node"], "there is no 'kill-node'"),
        (["--backend", "local", "--address", "here"], "--address is for --backend ray, not local"),
        (["--run-dir", "."], "is not empty"),
        (["--set", "training.epochs=none"], "epochs"),
    ],
)
def test_a_wrong_request_is_told_before_anything_runs(
    small_job: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(small_job.parent)
    before = sorted(small_job.parent.rglob("*")), sorted(run_root().glob("*"))
    found = CliRunner().invoke(cli, ["chaos", str(small_job), *arguments])
    assert found.exit_code == 2
    assert sentence in found.output
    assert (sorted(small_job.parent.rglob("*")), sorted(run_root().glob("*"))) == before


def test_workers_cannot_be_killed_where_there_are_none(small_job: Path, tmp_path: Path) -> None:
    request = Request(str(small_job), 1, 0, tmp_path / "x", Place("local", 1), kinds=[Kind.KILL_WORKER])
    with pytest.raises(ValueError, match="no processes of workers"):
        run_campaign(request, lambda text: None, lambda struck: None)


LONGER = ("training.epochs=160",)


def test_killed_delayed_and_without_disk_threads_come_to_the_same_bytes(
    small_job: Path, tmp_path: Path
) -> None:
    """Each kind once, by real signals to real processes; the run goes on with one, two or three workers."""
    told: list[Struck] = []
    request = Request(str(small_job), 5, 1, tmp_path, Place("threads", 2, None, 0.5), LONGER)
    result = run_campaign(request, lambda text: None, told.append)
    assert result.trouble == []
    assert len(told) == 5 and all(struck.step <= result.undisturbed.steps for struck in told)


class EndingJob(JobProcess):
    """A run whose training has ended without a word in the journal, and whose process needs a while."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", "import sys; input(); sys.exit(1)"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

    def end_by_itself(self) -> None:
        if self.exit_code is None:
            self._process.communicate("now\n")


def test_a_disk_that_is_full_at_the_end_is_a_blow_and_not_a_verdict(tmp_path: Path) -> None:
    job = EndingJob()

    class Watch(RunWatch):
        def since(self, place: int, kind: str, **facts: Any) -> Event | None:
            job.end_by_itself()  # nobody asks before the disk has room again
            return super().since(place, kind, **facts)

    struck = strike(Scene(Watch(RunDir(tmp_path)), job, 2.0, 0.0), Blow(Kind.FULL_DISK, 0.9, 0.0, 0.0, 0.0))
    assert (struck.phase, job.exit_code) == ("at its end", 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 3)])
def test_ctrl_c_leaves_no_process_and_no_folder(
    small_job: Path, distnn_home: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "jobs", "chaos", str(small_job), "--set", "training.epochs=100000"]
    chaos = subprocess.Popen([*command, "--backend", "local"], stderr=subprocess.PIPE, text=True)
    while not list(distnn_home.glob("runs/chaos-*/undisturbed/events.jsonl")):
        assert chaos.poll() is None
    children = psutil.Process(chaos.pid).children(recursive=True)
    assert children and all(FAMILY_VARIABLE in child.environ() for child in children)
    chaos.send_signal(number)
    chaos.communicate(timeout=60)
    assert chaos.returncode == code
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert list((distnn_home / "runs").glob("chaos-*")) == []
