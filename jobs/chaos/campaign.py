"""The undisturbed run, then disturbed ones until every blow has come down; each is compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.exchange import segment
from cluster.exchange.segment import sweep
from distnn.errors import EngineError
from jobs.chaos.blows import OFFERED, Kind, deal, spread
from jobs.chaos.injectors import Strike, Struck, strike
from jobs.chaos.process import JobProcess, Place
from jobs.chaos.rounds import Plan, Round, RoundReport, Undisturbed
from jobs.chaos.verdict import Verdict, compare
from jobs.chaos.watch import RunWatch
from jobs.errors import EXIT_DONE, EXIT_REQUEST, RequestError
from jobs.lifecycle import ENGINE_READY
from jobs.rundir import RunDir
from jobs.specfile import load_spec

SPACING_S = 0.25
"""Blows of one run are this far apart on average, of the undisturbed run's training."""
MAX_ROUNDS = 20
DEADLINE_S = 2.0
_CHECKPOINT_S = (0.5, 30.0)


@dataclass(frozen=True)
class Request:
    """What is asked of `distnn chaos`.

    `kinds`: what may be done; all that the backend has a victim for, if it is empty.
    """

    spec: str
    kills: int
    seed: int
    folder: Path
    place: Place
    overrides: Sequence[str] = ()
    threads: int | None = None
    kinds: Sequence[Kind] = ()


@dataclass
class Result:
    """What came of it. `segments_left`: names in shared memory whose makers were killed, removed now."""

    undisturbed: Undisturbed
    plan: Plan
    rounds: list[RoundReport] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    segments_left: list[str] = field(default_factory=list)

    @property
    def struck(self) -> list[Struck]:
        return [struck for report in self.rounds for struck in report.struck]

    @property
    def trouble(self) -> list[str]:
        """Everything that is not as promised, a sentence each."""
        found = [report.trouble for report in self.rounds if report.trouble]
        found += [d for v in self.verdicts for d in v.differences]
        left = [name for report in self.rounds for name in report.left]
        return found + ([f"left behind: {', '.join(left)}"] if left else [])


def run_campaign(
    request: Request,
    say: Callable[[str], None],
    tell: Callable[[Struck], None],
    strike: Strike = strike,
) -> Result:
    """Everything from the undisturbed run to the last verdict.

    Args:
        request: what is asked.
        say: told in words what begins.
        tell: told of each blow that came down.
        strike: does what a blow says.

    Raises:
        RequestError: the job cannot be run as asked, or is too short.
        EngineError: the undisturbed run failed.
    """
    kinds = _kinds(request)
    say("the undisturbed run")
    begin = _words(request)
    undisturbed = _undisturbed(request, begin)
    per_round = max(1, int(undisturbed.train_s / SPACING_S))
    _refuse_too_short(request, undisturbed, per_round)
    plan = _plan(request, begin, undisturbed, kinds)
    result = Result(undisturbed, plan)
    rng = random.Random(request.seed)
    left = deal(kinds, request.kills, rng)
    while left and not result.trouble:
        if len(result.rounds) >= MAX_ROUNDS:
            raise RequestError(_too_short(request, undisturbed))
        blows = spread(left[:per_round], rng)
        number = len(result.rounds) + 1
        say(f"disturbed run {number}: {len(blows)} of {len(left)} blows to come")
        a_round = Round(
            RunDir(request.folder / f"disturbed-{number}"),
            plan,
            undisturbed,
            rng,
            tell,
            strike,
        )
        try:
            report = a_round.drive(blows)
        except BaseException:
            a_round.end()
            raise
        result.rounds.append(report)
        if not report.trouble:
            result.verdicts.append(compare(undisturbed.run, report.run))
        left = left[len(blows) :] + deal(kinds, len(blows) - len(report.struck), rng)
    result.segments_left = [path.name for path in sweep(segment.FOLDER)]
    return result


def _words(request: Request) -> list[str]:
    threads = [] if request.threads is None else ["--threads", str(request.threads)]
    sets = [word for override in request.overrides for word in ("--set", override)]
    return ["run", request.spec, *request.place.words(), *threads, *sets]


def _kinds(request: Request) -> list[Kind]:
    has_workers = request.place.backend == "ray"
    found = [kind for kind in request.kinds or OFFERED if has_workers or not kind.needs_workers]
    if not found:
        asked = ", ".join(kind.value for kind in request.kinds)
        raise RequestError(
            f"--kinds {asked}: the backend {request.place.backend} has no processes of workers"
        )
    return found


def _undisturbed(request: Request, begin: Sequence[str]) -> Undisturbed:
    run = RunDir(request.folder / "undisturbed")
    job = JobProcess([*begin, "--run-dir", str(run.path)])
    try:
        while (code := job.wait(1.0)) is None:
            job.remember()
        said = "\n".join(line for line in job.said if line)
        if code == EXIT_REQUEST:
            raise RequestError(said.replace("distnn: ", ""))
        if code != EXIT_DONE:
            raise EngineError(f"the undisturbed run ended with exit code {code}:\n{said}")
        left = job.left_behind()
    finally:
        job.end()
    if left:
        raise EngineError(f"the undisturbed run left processes behind: {', '.join(left)}")
    watch = RunWatch(run)
    times = {str(event["kind"]): float(event["time"]) for event in watch.events}
    ready, finished = times[ENGINE_READY], times["finished"]
    return Undisturbed(run, ready - job.begun, finished - ready, watch.step())


def _plan(request: Request, begin: Sequence[str], undisturbed: Undisturbed, kinds: Sequence[Kind]) -> Plan:
    """The same job, saved so often that what is lost with a coordinator is part of the run, not all of it."""
    spec = load_spec(str(undisturbed.run.spec)).spec
    wanted = spec.checkpoint.every_seconds
    least, most = _CHECKPOINT_S
    seconds = min(wanted or most, max(least, undisturbed.train_s / 10))
    sets = ["--set", f"seed={spec.seed}"]
    if spec.checkpoint.every_steps is None:
        sets += ["--set", f"checkpoint.every_seconds={seconds:g}"]
    deadline_s = request.place.deadline_s or DEADLINE_S
    return Plan([*begin, *sets], places_after(request.place), kinds, deadline_s, seconds)


def places_after(place: Place) -> list[Place]:
    """Where a run may go on after the death of its coordinator: other numbers of workers, another backend."""
    other = place.workers + 1 if place.workers == 1 else place.workers - 1
    found = [place, Place(place.backend, other, place.address, place.deadline_s)]
    if place.backend == "ray":
        return [*found, place, Place("threads", place.workers)]
    return [*found, Place("threads" if place.backend == "local" else "local", place.workers)]


def _refuse_too_short(request: Request, undisturbed: Undisturbed, per_round: int) -> None:
    if undisturbed.train_s < SPACING_S / 2 or request.kills > per_round * MAX_ROUNDS / 2:
        raise RequestError(_too_short(request, undisturbed))


def _too_short(request: Request, undisturbed: Undisturbed) -> str:
    needed = request.kills * SPACING_S
    return (
        f"{request.spec}: trains for {undisturbed.train_s:.1f} s, too short for {request.kills} blows "
        f"({needed:.0f} s would do for all in one run): give it more epochs (--set training.epochs=N), or "
        "ask for fewer (--kills)"
    )
