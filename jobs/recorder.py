"""`RunRecorder`: keeps a training in its run directory, and hands it back to go on from.

One process at a time writes a run: it holds a lock on the journal of events from `open_recorder` to `close`.
The training loop calls the recorder through `distnn.recording.Recorder`; nothing here computes.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distnn.checkpoint import canonical_json, save_tensors
from distnn.errors import RunDirectoryError
from distnn.recipe import differences
from distnn.recording import Plan, Recorder, Snapshot
from jobs.checkpoints import CheckpointStore
from jobs.journal import Journal, plain_json, read
from jobs.remarks import listen
from jobs.rundir import RunDir
from jobs.status import Heartbeat, State, lock_journal, read_status
from jobs.steplog import StepLog

ARITHMETIC_KEY = "arithmetic"
"""The entry of a recipe on machine and versions: a change there is a warning, not another run."""

LOG_STEPS_EVERY_S = 10.0
"""How often a line about the running epoch goes to metrics.jsonl, beside the line per epoch."""

EPOCH_CHECKPOINT_S = 1.0
"""A checkpoint at the end of an epoch is left out if the last one is younger than this."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Rhythm:
    """When to save. `every_steps` takes the place of the clock; ends of epochs are saved either way."""

    every_seconds: float = 30.0
    every_steps: int | None = None
    keep: int = 3


def open_recorder(
    run_dir: str | Path,
    *,
    checkpoint_every_seconds: float = 30.0,
    every_steps: int | None = None,
    keep: int = 3,
) -> RunRecorder:
    """The recorder of a run directory: a new one, or one that holds a run to go on with.

    Raises:
        RunDirectoryError: another process is writing the run, or the directory holds something else.
    """
    rhythm = Rhythm(checkpoint_every_seconds, every_steps, keep)
    recorder = RunRecorder(RunDir(Path(run_dir)), rhythm, may_end_early=True)
    recorder.open()
    return recorder


class RunRecorder(Recorder):
    """Writes one run. Nothing is touched before `open`, which takes the lock; `close` frees it.

    Args:
        run: where.
        rhythm: when to save checkpoints.
        spec: kept as spec.json.
        origin: facts about where the run came from, for the journal.
        may_end_early: whether a callback may end the training before the plan's last step.
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
        warn: Callable[[str], None] = warnings.warn,
        clock: Clock = time.monotonic,
    ) -> None:
        self.run = run
        self.attempt = 0
        self._rhythm = rhythm or Rhythm()
        self._spec = spec
        self._origin = dict(origin or {})
        self._warn = warn
        self._clock = clock
        self._stop_asked = False
        self._may_end_early = may_end_early
        self._plan: Plan | None = None
        self._open: weakref.finalize[..., RunRecorder] | None = None

    def open(self) -> None:
        """Make the directory if need be, take the lock, and begin an attempt. Twice is fine.

        Raises:
            RunDirectoryError: another process is writing the run, or the directory holds something else.
        """
        if self._open is not None:
            return
        self.run.create()
        _let_go_of_left(self.run)
        self._events = _open_locked(self.run)
        earlier = self._events.repair()
        attempts = [r["attempt"] for r in earlier.records if r.get("kind") == "attempt"]
        self.attempt = 1 + max(attempts, default=0)
        self._metrics = Journal(self.run.metrics)
        self._log = os.open(self.run.log(self.attempt), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        stop_listening = listen(self.remark)
        self._open = weakref.finalize(self, _close, self._events, self._metrics, self._log, stop_listening)
        _OPEN[threading.get_ident(), self.run.path.resolve()] = self
        self.heartbeat = Heartbeat(self.run, self.attempt)
        status = self.heartbeat.status
        self.on_event("attempt", attempt=self.attempt, pid=status.pid, host=status.host, **self._origin)
        for number in earlier.damaged:
            self.on_event("damaged-line", file=self.run.events.name, line=number)
        self._settle_spec()
        if not self.run.status.exists():
            self.heartbeat.update(force=True)

    @property
    def has_begun(self) -> bool:
        """Whether the training loop has taken over: what fails from here on is the run."""
        return self._plan is not None

    # The interface of the training loop

    def begin(self, recipe: dict[str, Any], plan: Plan) -> Snapshot | None:
        self.open()
        recipe = plain_json(recipe)
        self._settle_recipe(recipe)
        self._plan = plan
        digest = hashlib.sha256(canonical_json(_exact(recipe)).encode()).hexdigest()
        self._store = CheckpointStore(self.run, digest, self._rhythm.keep)
        self._steps = StepLog(self.run.steps, plan.first_step)
        snapshot = self._store.load_newest(self._steps.last_step(), self._pass_over)
        step = plan.first_step if snapshot is None else snapshot.step
        self._cut_after(step)
        self._last_saved = self._last_step_line = self._clock()
        self.heartbeat.update(
            state=State.RUNNING,
            step=step,
            total_steps=plan.last_step,
            epoch=step // max(1, plan.steps_per_epoch),
            epochs=plan.epochs,
        )
        self.on_event("begin", step=step, total_steps=plan.last_step, resumed=snapshot is not None)
        return snapshot

    def next_checkpoint_step(self, step: int) -> int | None:
        every = self._rhythm.every_steps
        return None if every is None else (step // every + 1) * every

    def wants_checkpoint(self, step: int, at_epoch_end: bool) -> bool:
        age = self._clock() - self._last_saved
        if at_epoch_end:
            return age >= EPOCH_CHECKPOINT_S or step == self._known_plan.last_step
        if self._rhythm.every_steps is not None:
            return step % self._rhythm.every_steps == 0
        return age >= self._rhythm.every_seconds

    def save_checkpoint(self, snapshot: Snapshot) -> Path:
        for part in (self._steps, self._metrics, self._events):
            part.sync()
        path = self._store.save(snapshot)
        self._last_saved = self._clock()
        self.on_event("checkpoint", step=snapshot.step, file=path.name)
        return path

    def on_steps(
        self, first_step: int, fingerprints: np.ndarray[Any, Any], logs: Mapping[str, float]
    ) -> None:
        self._steps.write(first_step, fingerprints)
        step = first_step + len(fingerprints)
        self.heartbeat.update(step=step, logs=dict(logs))
        now = self._clock()
        if now - self._last_step_line >= LOG_STEPS_EVERY_S:
            self._last_step_line = now
            self._metrics.append({"kind": "step", "step": step, "logs": logs})

    def on_epoch(self, epoch: int, step: int, logs: Mapping[str, float], duration_s: float) -> None:
        line = {"kind": "epoch", "epoch": epoch, "step": step, "logs": logs, "duration_s": duration_s}
        self._metrics.append(line)
        self.heartbeat.update(step=step, epoch=epoch + 1, logs=dict(logs))
        plan = self._known_plan
        shown = " - ".join(f"{name}: {value:.4g}" for name, value in logs.items())
        self.note(f"epoch {epoch + 1}/{plan.epochs} step {step}/{plan.last_step} {duration_s:.2f}s {shown}")

    def on_event(self, kind: str, **facts: Any) -> None:
        self._events.append({"kind": kind, "time": time.time(), **facts})
        self.note(kind + "".join(f" {name}={value}" for name, value in facts.items()))

    def should_stop(self) -> bool:
        return self._stop_asked

    def finish(self, snapshot: Snapshot) -> Path:
        plan = self._known_plan
        recorded = self._steps.last_step()
        is_whole = snapshot.step == plan.last_step
        if recorded != snapshot.step or not (is_whole or self._may_end_early):
            raise RunDirectoryError(
                f"{self.run.path}: the training ended at step {snapshot.step} of {plan.last_step} with "
                f"{recorded} steps recorded, so it is not complete: resume the run"
            )
        save_tensors(self.run.model, snapshot.tensors, snapshot.metadata)
        for part in (self._steps, self._metrics):
            part.sync()
        files = (self.run.spec, self.run.recipe, self.run.steps, self.run.model)
        self.run.write_json(self.run.digests, {f.name: _digest(f) for f in files if f.is_file()})
        self.on_event("finished", step=snapshot.step)
        self._events.sync()
        message = "" if is_whole else f"a callback ended it at step {snapshot.step} of {plan.last_step}"
        self.heartbeat.update(state=State.SUCCEEDED, step=snapshot.step, message=message)
        self.close()
        return self.run.model

    # For the runner

    def request_stop(self) -> None:
        """Ask the training to stop at the next commit; may be called from a signal handler."""
        self._stop_asked = True

    def note(self, text: str) -> None:
        """A line for people in the log of this attempt."""
        os.write(self._log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())

    def remark(self, message: str) -> None:
        """Keep a warning of whatever computes (a worker was lost); one that comes too late is dropped."""
        if self._open is not None and self._open.alive:
            self.on_event("warning", message=message)

    def abandon(self, error: BaseException) -> None:
        """The training ended by `error`: say so in the directory, and let go of it."""
        from distnn.training import Stopped  # late: only the loop itself gets here

        is_stop = isinstance(error, (KeyboardInterrupt, Stopped))
        text = " ".join(str(error).split()) or type(error).__name__
        self.close(State.STOPPED if is_stop else State.FAILED, text)

    def close(self, state: State | None = None, message: str = "") -> None:
        """Let go of the run: say how it ended if it did not finish, and free the lock. Twice is fine."""
        if self._open is None or not self._open.alive:
            return
        if state is not None:
            self.on_event(state.value.lower(), message=message)
            self.heartbeat.update(force=True, state=state, message=message)
        if self._plan is not None:
            self._steps.close()
        self._open()

    @property
    def _known_plan(self) -> Plan:
        assert self._plan is not None, "begin comes first"
        return self._plan

    def _settle_spec(self) -> None:
        """Keep the spec; one that asks for another training than the one kept here is refused."""
        if self._spec is None:
            return
        there = self.run.read_json(self.run.spec)
        if there is not None:
            self._refuse_if(differences(_decisive(there), _decisive(self._spec)))
        self.run.write_json(self.run.spec, self._spec)

    def _refuse_if(self, found: list[str]) -> None:
        if found:
            self.close()
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise RunDirectoryError(
                f"{self.run.path}: holds another run ({'; '.join(found[:3])}{more}): give another directory"
            )

    def _settle_recipe(self, recipe: dict[str, Any]) -> None:
        there = self.run.read_json(self.run.recipe)
        if there is None:
            self.run.write_json(self.run.recipe, recipe)
            return
        self._refuse_if(differences(_exact(there), _exact(recipe)))
        changed = differences(there.get(ARITHMETIC_KEY) or {}, recipe.get(ARITHMETIC_KEY) or {})
        if changed:
            self._warn(
                f"the arithmetic of this machine differs from that of the run so far ({'; '.join(changed)}): "
                "the last bits of the weights may differ from those of an unbroken run"
            )

    def _pass_over(self, path: Path, reason: str) -> None:
        self.on_event("checkpoint-unusable", file=path.name, reason=reason)
        self._warn(f"checkpoint {path.name} is not used: {reason}")

    def _cut_after(self, step: int) -> None:
        self._steps.cut_after(step)
        self._store.remove_after(step)
        contents = self._metrics.repair()
        beyond = [line.start for line in contents.lines if line.record.get("step", 0) > step]
        if beyond:
            self._metrics.cut_at(min(beyond))
        for number in contents.damaged:
            self.on_event("damaged-line", file=self.run.metrics.name, line=number)


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


def _open_locked(run: RunDir) -> Journal:
    journal = Journal(run.events)
    if lock_journal(journal.descriptor):
        return journal
    journal.close()
    status = read_status(run)
    who = f" (process {status.pid} on {status.host}, attempt {status.attempt})" if status else ""
    raise RunDirectoryError(
        f"{run.path}: is being written by another process{who}: wait for it, or stop it first"
    )


def _close(events: Journal, metrics: Journal, log: int, stop_listening: Callable[[], None]) -> None:
    stop_listening()
    os.close(log)
    metrics.close()
    events.close()


def _exact(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a run to go on."""
    return {key: value for key, value in recipe.items() if key != ARITHMETIC_KEY}


_PLACES = ("source", "options", "labels", "validation")


def _decisive(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a spec decides the training; files may have moved, their content is in the recipe."""
    data = {k: v for k, v in spec["data"].items() if k not in _PLACES}
    kept = {key: spec[key] for key in ("seed", "model", "training") if key in spec}
    return {**kept, "data": data}


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
