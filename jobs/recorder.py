"""`RunRecorder`: keeps a training in its run directory, and hands it back to go on from.

The training loop calls the recorder through `distnn.recording.Recorder`; nothing here computes. What this
process writes into is an `Attempt` (`jobs.attempt`), its checkpoints are a `Saving`'s (`jobs.saving`).
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distnn.checkpoint import save_tensors
from distnn.errors import ResumeMismatchError, RunDirectoryError
from distnn.recording import BATCHES_ENDED, Evidence, Plan, Recorder, Snapshot, SnapshotCheck
from jobs.attempt import Attempt
from jobs.checkpoints import CheckpointStore
from jobs.errors import cause_of
from jobs.evidence import changed_place, cpu_name, gather_evidence, reasons, refusal
from jobs.identity import exact_digest, file_digest, settle_recipe, settle_spec, write_recipe
from jobs.inspection import damaged_lines, is_beyond, lost_epochs, tell_of_damage
from jobs.journal import Contents, plain_json, read
from jobs.rhythm import Rhythm
from jobs.rundir import RunDir
from jobs.saving import Saving, tell_of
from jobs.scaling import ScaleRequests
from jobs.status import Heartbeat, State
from jobs.steplog import StepLog

LOG_STEPS_EVERY_S = 10.0
"""How often a line about the running epoch goes to metrics.jsonl, beside the line per epoch."""

Clock = Callable[[], float]


def open_recorder(
    run_dir: str | Path,
    *,
    checkpoint_every_seconds: float = 30.0,
    every_steps: int | None = None,
    keep: int = 3,
    accept_changes: bool = False,
) -> RunRecorder:
    """The recorder of a run directory: a new one, or one that holds a run to go on with.

    Raises:
        RunDirectoryError: another process is writing the run, or the directory holds something else.
    """
    rhythm = Rhythm(checkpoint_every_seconds, every_steps, keep)
    run = RunDir(Path(run_dir))
    recorder = RunRecorder(run, rhythm, may_end_early=True, accept_changes=accept_changes)
    recorder.open()
    return recorder


def recorded_seed(run_dir: str | Path) -> int | None:
    """The seed of the training that a run directory holds; None where none can be read."""
    run = RunDir(Path(run_dir))
    try:
        seed = run.read_json(run.recipe)["batching"]["seed"]
    except (RunDirectoryError, KeyError, TypeError):
        return None
    return seed if isinstance(seed, int) else None


class RunRecorder(Recorder):
    """Writes one run. Nothing is touched before `open`, which takes the lock; `close` frees it.

    Args:
        run: where.
        rhythm: when to save checkpoints.
        spec: kept as spec.json.
        origin: facts about where the run came from, for the journal.
        may_end_early: whether a callback, or the end of its batches, may end the training before the plan's
            last step.
        accept_changes: go on where what is computed again is not what was recorded.
        warn: told in words of what is odd but can be lived with.
        clock: seconds, for tests.
    """

    def __init__(
        self,
        run: RunDir,
        rhythm: Rhythm | None = None,
        *,
        spec: Mapping[str, Any] | None = None,
        origin: Mapping[str, Any] | None = None,
        may_end_early: bool = False,
        accept_changes: bool = False,
        warn: Callable[[str], None] = warnings.warn,
        clock: Clock = time.monotonic,
    ) -> None:
        self.run = run
        self._rhythm = rhythm or Rhythm()
        self._spec = spec
        self._origin = dict(origin or {})
        self._warn = warn
        self._clock = clock
        self._stop_asked = False
        self._may_end_early = may_end_early
        self._what_ended_it = "a callback"
        self._accept_changes = accept_changes
        self._evidence: Evidence | None = None
        self._uncut: tuple[int, Snapshot | None] | None = None
        self._plan: Plan | None = None
        self._last_committed: Callable[[], Snapshot | None] | None = None
        self._opened: Attempt | None = None

    def open(self) -> None:
        """Make the directory if need be, take the lock, and begin an attempt. Twice is fine.

        Raises:
            RunDirectoryError: another process is writing the run, the directory holds something else, or
                nothing can be written there.
        """
        if self._opened is not None:
            return
        _let_go_of_left(self.run)
        self._opened = attempt = Attempt(self.run)
        self._scale_requests = ScaleRequests(self.run, self._clock)
        _OPEN[threading.get_ident(), self.run.path.resolve()] = self
        status = self.heartbeat.status
        self._place = {"host": status.host, "cpu": cpu_name()}
        self.on_event("attempt", attempt=attempt.number, pid=status.pid, **self._place, **self._origin)
        tell_of_damage(attempt.missing, attempt.earlier, self.on_event, self._warn)
        if self._spec is not None:
            with self._closed_if_refused():
                settle_spec(self.run, self._spec, attempt.earlier.records, self.on_event)
        if not self.run.status.exists():
            self.heartbeat.update(force=True)

    @property
    def attempt(self) -> int:
        """The attempt's number in the run; 0 before `open`."""
        return 0 if self._opened is None else self._opened.number

    @property
    def heartbeat(self) -> Heartbeat:
        return self._attempt.heartbeat

    @property
    def has_begun(self) -> bool:
        """Whether the training loop has taken over: what fails from here on is the run."""
        return self._plan is not None

    # The interface of the training loop

    def begin(
        self, recipe: dict[str, Any], plan: Plan, check: SnapshotCheck | None = None
    ) -> Snapshot | None:
        self.open()
        attempt = self._attempt
        earlier, attempt.earlier = attempt.earlier.records, Contents((), (), 0)  # they may be many
        recipe = self._recipe = plain_json(recipe)
        with self._closed_if_refused():
            changes = settle_recipe(self.run, recipe, earlier, self.on_event, self._warn)
        self._changes = [*changes, *changed_place(earlier, self._place)]
        self._plan = plan
        self._store = CheckpointStore(self.run, exact_digest(recipe), self._rhythm.keep)
        self._steps = StepLog(self.run.steps, plan.first_step)
        attempt.files.insert(0, self._steps.file)
        snapshot = self._store.load_newest(self._steps, self._pass_over, check)
        step = plan.first_step if snapshot is None else snapshot.step
        if snapshot is None and any(r.get("kind") == "checkpoint" for r in earlier):
            self._warn(f"there is no checkpoint left to go on from: the run begins again at step {step}")
        self._evidence = gather_evidence(self._store, self._steps, step, check)
        self._uncut = step, snapshot
        self._saving = Saving(attempt, self._store, self._steps, self._rhythm, self._warn, self._clock)
        self._last_step_line = self._clock()
        self.heartbeat.update(
            force=True,
            step=step,
            total_steps=plan.last_step,
            epoch=step // max(1, plan.steps_per_epoch),
            epochs=plan.epochs,
        )
        self.on_event("begin", step=step, total_steps=plan.last_step, resumed=snapshot is not None)
        return snapshot

    def evidence(self) -> Evidence | None:
        return self._evidence

    def on_difference(self, step: int, text: str) -> None:
        why = reasons(self._changes)
        if not self._accept_changes:
            raise refusal(self.run, text, why)
        self.on_event("changes-accepted", step=step, difference=text, known=self._changes)
        self._warn(f"{text} ({why}); going on all the same")
        write_recipe(self.run, self._recipe, self.on_event)

    def settle(self) -> None:
        if self._uncut is not None:
            place, self._uncut = self._uncut, None
            self._cut_after(*place)

    def offer(self, last_committed: Callable[[], Snapshot | None]) -> None:
        self._last_committed = last_committed

    def next_checkpoint_step(self, step: int) -> int | None:
        return self._rhythm.next_step(step)

    def wants_checkpoint(self, step: int, at_epoch_end: bool) -> bool:
        self._saving.take_stock()
        is_last = at_epoch_end and step == self._known_plan.last_step
        return is_last or self._saving.is_due(step, at_epoch_end)

    def save_checkpoint(self, snapshot: Snapshot) -> None:
        self.settle()
        self._saving.begin(snapshot)

    def on_steps(
        self, first_step: int, fingerprints: np.ndarray[Any, Any], logs: Mapping[str, float]
    ) -> None:
        self._saving.take_stock()
        with self._attempt.lock:
            self.settle()
            self._steps.write(first_step, fingerprints)
        step = first_step + len(fingerprints)
        self.heartbeat.update(step=step, logs=dict(logs))
        now = self._clock()
        if now - self._last_step_line >= LOG_STEPS_EVERY_S:
            self._last_step_line = now
            self._attempt.metrics.append({"kind": "step", "step": step, "logs": logs})

    def on_epoch(self, epoch: int, step: int, logs: Mapping[str, float], duration_s: float) -> None:
        self.settle()
        line = {"kind": "epoch", "epoch": epoch, "step": step, "logs": logs, "duration_s": duration_s}
        self._attempt.metrics.append(line)
        self.heartbeat.update(step=step, epoch=epoch + 1, logs=dict(logs))
        plan = self._known_plan
        shown = " - ".join(f"{name}: {value:.4g}" for name, value in logs.items())
        self.note(f"epoch {epoch + 1}/{plan.epochs} step {step}/{plan.last_step} {duration_s:.2f}s {shown}")

    def on_event(self, kind: str, **facts: Any) -> None:
        if kind == BATCHES_ENDED:
            self._what_ended_it = "the end of its batches"
        self._attempt.event(kind, **facts)

    def should_stop(self) -> bool:
        return self._stop_asked or (self._opened is not None and self._opened.is_stop_asked)

    def wanted_workers(self) -> int | None:
        return self._scale_requests.take()

    def finish(self, snapshot: Snapshot) -> Path:
        self.settle()
        plan = self._known_plan
        recorded = self._steps.last_step()
        is_whole = snapshot.step == plan.last_step
        if recorded != snapshot.step or not (is_whole or self._may_end_early):
            raise RunDirectoryError(
                f"{self.run.path}: the training ended at step {snapshot.step} of {plan.last_step} with "
                f"{recorded} steps recorded, so it is not complete: resume the run"
            )
        self._saving.wait()
        self._saving.take_stock()
        save_tensors(self.run.model, snapshot.tensors, snapshot.metadata)
        for part in (self._steps, self._attempt.metrics):
            part.sync()
        files = (self.run.spec, self.run.recipe, self.run.steps, self.run.model)
        self.run.write_json(self.run.digests, {f.name: file_digest(f) for f in files if f.is_file()})
        self.on_event("finished", step=snapshot.step)
        self._attempt.sync_events()
        place = f"at step {snapshot.step} of {plan.last_step}"
        message = "" if is_whole else f"{self._what_ended_it} ended it {place}"
        self.heartbeat.update(state=State.SUCCEEDED, step=snapshot.step, message=message)
        self.close()
        return self.run.model

    # For the runner

    def request_stop(self) -> None:
        """Ask the training to stop at the next commit; may be called from a signal handler."""
        self._stop_asked = True

    def note(self, text: str) -> None:
        """A line for people in the log of this attempt; lost if the disk does not take it."""
        self._attempt.note(text)

    def remark(self, message: str) -> None:
        """Keep a warning of whatever computes (a worker was lost); one that comes too late is dropped."""
        if self._opened is not None:
            self._opened.remark(message)

    def rescue(self) -> int | None:
        """From another thread, while the one that trains is kept by a call of the engine: save what is
        committed; its step, or None if that is not to be had."""
        if self._last_committed is None:
            return None
        return self._saving.rescue(self._last_committed)

    def abandon(self, error: BaseException) -> None:
        """The training ended by `error`: say so in the directory, and let go of it."""
        from distnn.training import Stopped  # late: only the loop itself gets here

        if isinstance(error, ResumeMismatchError):
            self._restore_steps()
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, (KeyboardInterrupt, Stopped)):
            self.close(State.STOPPED, text)
        else:
            self.close(State.FAILED, text, cause=cause_of(error))

    def leave(self, message: str) -> None:
        """The process ends now, whatever is under way: only say so."""
        if self._opened is not None and self._opened.is_open:
            with contextlib.suppress(OSError):
                self.on_event(State.STOPPED.value.lower(), message=message)
            self.heartbeat.update(force=True, state=State.STOPPED, message=message)

    def close(self, state: State | None = None, message: str = "", **facts: Any) -> None:
        """Let go of the run: say how it ended if it did not finish, and free the lock. Twice is fine.

        A rescue that has begun in another thread is waited for; one that comes later finds nothing to save.
        """
        attempt = self._opened
        if attempt is None:
            return
        with attempt.lock:
            if attempt.is_open:
                self._close(attempt, state, message, facts)

    def _close(self, attempt: Attempt, state: State | None, message: str, facts: Mapping[str, Any]) -> None:
        attempt.writer.wait()
        outcome = attempt.writer.take_outcome()
        with contextlib.suppress(OSError):  # the disk takes nothing: nobody can be told
            if outcome is not None:
                tell_of(outcome, attempt, self._warn)
            if state is not None:
                self.on_event(state.value.lower(), message=message, **facts)
        if state is not None:
            self.heartbeat.update(force=True, state=state, message=message)
        attempt.close()

    @property
    def _attempt(self) -> Attempt:
        assert self._opened is not None, "open comes first"
        return self._opened

    @property
    def _known_plan(self) -> Plan:
        assert self._plan is not None, "begin comes first"
        return self._plan

    # Beginning

    @contextlib.contextmanager
    def _closed_if_refused(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _pass_over(self, path: Path, reason: str) -> None:
        self.on_event("checkpoint-unusable", file=path.name, reason=reason)
        self._warn(f"checkpoint {path.name} is not used: {reason}")

    def _restore_steps(self) -> None:
        """Record again what was recorded before this attempt, and not what it came to."""
        evidence = self._evidence
        if evidence is not None and self._uncut is None:
            self._steps.cut_after(evidence.first_step)
            self._steps.write(evidence.first_step, evidence.fingerprints)

    def _cut_after(self, step: int, snapshot: Snapshot | None) -> None:
        self._steps.cut_after(step)
        self._store.remove_after(step)
        contents = self._attempt.metrics.repair()
        beyond = [line.start for line in contents.lines if is_beyond(line.record, step, snapshot)]
        if beyond:
            self._attempt.metrics.cut_at(min(beyond))
        for number in damaged_lines(contents):
            self.on_event("damaged-line", file=self.run.metrics.name, line=number)
        if lost := lost_epochs(contents, snapshot):
            self._warn(f"{self.run.metrics.name} has lost the lines of epoch {lost}")


def read_metrics(run: RunDir) -> list[dict[str, Any]]:
    """The whole lines of a run's metrics."""
    return read(run.metrics).records


_OPEN: weakref.WeakValueDictionary[tuple[int, Path], RunRecorder] = weakref.WeakValueDictionary()
"""The open recorders by thread and place."""


def _let_go_of_left(run: RunDir) -> None:
    """Close a recorder of this run that a training of this thread left open.

    A thread trains one model at a time: that training was interrupted (Ctrl-C in a notebook), and only its
    traceback still holds the recorder.
    """
    left = _OPEN.get((threading.get_ident(), run.path.resolve()))
    if left is not None:
        left.close(State.STOPPED, "interrupted")
