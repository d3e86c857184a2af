"""One disturbed run from its start to its end, through all the blows that are meant for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jobs.chaos.blows import Blow, Kind, instead
from jobs.chaos.injectors import Broken, NoVictim, Scene, Strike, Struck, possible, strike
from jobs.chaos.process import JobProcess, Place
from jobs.chaos.watch import RunWatch, wait_until
from jobs.errors import EXIT_DONE
from jobs.rundir import RunDir

_LEAST_PATIENCE_S = 120.0


@dataclass(frozen=True)
class Undisturbed:
    """What is known from the run that nobody disturbed: seconds to start, to train, from begin to end."""

    run: RunDir
    start_s: float
    train_s: float
    steps: int


@dataclass(frozen=True)
class Plan:
    """How the disturbed run is begun and gone on with.

    Attributes:
        begin: arguments of `distnn` that begin it.
        places: where it may go on after a death; it begins at the first.
        kinds: what may be done.
        deadline_s: how long workers may be silent.
        checkpoint_s: between two checkpoints.
    """

    begin: Sequence[str]
    places: Sequence[Place]
    kinds: Sequence[Kind]
    deadline_s: float
    checkpoint_s: float


@dataclass
class RoundReport:
    """What happened to one run: blows that came down, how many found nobody, processes left behind."""

    run: RunDir
    struck: list[Struck] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    trouble: str = ""


class Round:
    """Drives one run. `tell` is called with each blow that came down."""

    def __init__(
        self,
        run: RunDir,
        plan: Plan,
        undisturbed: Undisturbed,
        rng: random.Random,
        tell: Callable[[Struck], None],
        strike: Strike = strike,
    ) -> None:
        self._plan = plan
        self._undisturbed = undisturbed
        self._rng = rng
        self._tell = tell
        self._come_down = strike
        self._watch = RunWatch(run)
        self._patience_s = _LEAST_PATIENCE_S + 3 * (undisturbed.start_s + undisturbed.train_s)
        self._past: list[JobProcess] = []
        self.report = RoundReport(run)

    def drive(self, blows: Sequence[Blow]) -> RoundReport:
        """The run, begun, struck, gone on with, ended."""
        self._job = JobProcess([*self._plan.begin, "--run-dir", str(self._watch.run.path)])
        try:
            for blow in blows:
                if not self._reach(blow):
                    break
                self._strike(blow)
            self._finish()
        except Broken as broken:
            said = [line for line in self._job.said if line][-5:]
            self.report.trouble = "\n".join([str(broken), *said])
        finally:
            for job in (*self._past, self._job):
                if self.report.trouble:
                    job.end()
        self.report.missed += ["the run had ended"] * (
            len(blows) - len(self.report.struck) - len(self.report.missed)
        )
        for job in (*self._past, self._job):
            self.report.left += job.left_behind()
        return self.report

    def end(self) -> None:
        """End all processes of the run, whatever it was doing."""
        for job in (*self._past, self._job):
            job.end()

    def _reach(self, blow: Blow) -> bool:
        """Wait for the blow's instant; whether the run has not ended before."""
        watch, limit = self._watch, time.monotonic() + self._patience_s
        step, mark = int(blow.at * self._undisturbed.steps), watch.mark()
        while watch.step() < step or not watch.total_steps():
            if self._job.wait(0.01) is not None:
                break
            if watch.mark() != mark:
                limit, mark = time.monotonic() + self._patience_s, watch.mark()
            if time.monotonic() >= limit:
                raise Broken(f"the run stands still: no step for {self._patience_s:.0f} s")
        self._job.wait(blow.late_s)
        if self._job.exit_code not in (None, EXIT_DONE):
            raise Broken(f"the run ended with exit code {self._job.exit_code}")
        return self._job.exit_code is None

    def _strike(self, blow: Blow) -> None:
        scene = self._scene()
        if not possible(scene, blow.kind):
            others = [kind for kind in self._plan.kinds if possible(scene, kind)]
            if not others:
                self.report.missed.append("no worker lives on this machine")
                return
            blow = instead(blow, others, self._rng)
        self._job.remember()
        try:
            struck = self._come_down(scene, blow)
            if self._job.exit_code is not None:
                self._go_on(struck, blow)
        except NoVictim as nobody:
            self.report.missed.append(str(nobody))
            if self._job.exit_code not in (None, EXIT_DONE):
                raise Broken(f"the run ended with exit code {self._job.exit_code}") from None
            return
        self.report.struck.append(struck)
        self._tell(struck)

    def _scene(self) -> Scene:
        return Scene(self._watch, self._job, self._plan.deadline_s, self._plan.checkpoint_s)

    def _go_on(self, struck: Struck, blow: Blow) -> None:
        """The run's process is dead: another goes on, somewhere; a second one if it is killed on its way."""
        steps = self._watch.step()
        self._resume(struck)
        if struck.kind is Kind.KILL_AT_START:
            self._job.wait(blow.length * self._undisturbed.start_s)
            self._job.remember()
            again = self._come_down(self._scene(), blow)
            struck.phase = f"{struck.phase}, then {again.phase}"
            self._resume(struck)
        watch, attempts = self._watch, self._attempts
        mark, job = watch.mark(), self._job

        def goes_on() -> bool:
            if job.exit_code is not None:
                return True
            begun = sum(event.get("kind") == "begin" for event in watch.events) > attempts
            return begun and watch.is_computing() and watch.mark() != mark

        if not wait_until(goes_on, self._patience_s):
            raise Broken(f"the run was resumed and does not go on: no step for {self._patience_s:.0f} s")
        if job.exit_code not in (None, EXIT_DONE):
            raise Broken(f"the run could not be resumed: exit code {job.exit_code}")
        begin = watch.last("begin")
        struck.standstill_s = time.time() - struck.time
        if not (begin is None or watch.has_finished()):
            struck.again = max(0, steps - int(begin["step"]))

    def _resume(self, struck: Struck) -> None:
        run = self._watch.run
        self._attempts = sum(event.get("kind") == "begin" for event in self._watch.events)
        place = self._rng.choice(list(self._plan.places))
        struck.detail = f"{struck.detail}, on: {place}" if struck.detail else f"on: {place}"
        self._past.append(self._job)
        if run.holds_run() and run.spec.is_file() and self._attempts:
            self._job = JobProcess(["resume", str(run.path), *place.words()])
        else:
            self._job = JobProcess([*self._plan.begin, "--run-dir", str(run.path)])

    def _finish(self) -> None:
        """Wait for the end of the run."""
        watch, limit, mark = self._watch, time.monotonic() + self._patience_s, self._watch.mark()
        while self._job.wait(0.05) is None:
            if watch.mark() != mark:
                limit, mark = time.monotonic() + self._patience_s, watch.mark()
            if time.monotonic() >= limit:
                raise Broken(f"the run stands still: no step for {self._patience_s:.0f} s")
        if self._job.exit_code != EXIT_DONE:
            raise Broken(f"the run ended with exit code {self._job.exit_code}")
