"""Running a job in this process: from a spec or a run directory to a finished model, or to a clear end.

The one place where a training of the command line starts. Progress and remarks go to `err`, the result is
returned; the exit code says how it ended.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from cluster import user_code
from distnn.errors import (
    ClusterUnreachableError,
    EngineError,
    NonFiniteError,
    ResumeMismatchError,
    UserCodeError,
)
from distnn.models.fitting import FitArguments, fit_model
from distnn.models.prediction import Pass, evaluate_model
from distnn.progress import is_terminal
from distnn.training import Stopped
from jobs import journal
from jobs.build import Job, Placement, build_job
from jobs.errors import ENGINE, EXIT_DONE, EXIT_FAILED, RequestError, cause_of, in_words
from jobs.identity import SPEC_EVENT, damaged_results, file_digest, is_as_written
from jobs.installation import program
from jobs.outlet import outlet
from jobs.problems import Source
from jobs.recorder import RunRecorder
from jobs.remarks import listen, shown_warnings
from jobs.retries import settle_in
from jobs.rhythm import Rhythm
from jobs.rundir import RunDir, command_name, new_run_dir
from jobs.signals import StopSignals
from jobs.spec import JobSpec
from jobs.specfile import SpecFile, load_spec
from jobs.status import State, status_or_none

DEFAULT_CHECKPOINT_S = 30.0
_TOLD = (EngineError, NonFiniteError, ResumeMismatchError, OSError, ValueError)
"""Errors whose sentence says it all."""
_CLEARED_LINE = "\r\x1b[2K"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the exit code, and what a program may want to know (`--json`)."""

    exit_code: int
    run: RunDir
    facts: dict[str, Any] = field(default_factory=dict)


def run_spec(
    path: str,
    *,
    overrides: Sequence[str] = (),
    placement: Placement | None = None,
    run_dir: str | None = None,
    err: TextIO,
) -> Outcome:
    """`distnn run`: begin a run, or go on with the same one if the directory holds it.

    Raises:
        RequestError, ValueError: the request was wrong; no run was begun.
    """
    file = load_spec(path, overrides)
    run = new_run_dir(file.spec.name) if run_dir is None else RunDir(Path(run_dir))
    seed = None
    if run.holds_run():
        seed = _seed_of(run)
    origin = {"base_dir": str(file.base_dir), "spec_file": str(Path(path).absolute())}
    return _Session(run, origin, err).run(file, placement, seed)


def resume_run(
    run: RunDir, *, placement: Placement | None = None, accept_changes: bool = False, err: TextIO
) -> Outcome:
    """`distnn resume`: go on from the newest checkpoint, anywhere, to the same bytes.

    With `accept_changes` also if they are not the same any more.

    Raises:
        RequestError, ValueError: there is nothing to resume.
    """
    file = spec_of_run(run)
    status = status_or_none(run)
    if status is not None and status.state is State.SUCCEEDED:
        damaged = damaged_results(run)
        if not damaged:
            err.write(f"{run.name} has finished (step {status.step}); there is nothing to resume\n")
            return Outcome(EXIT_DONE, run, _finished_facts(run, {}))
        err.write(f"distnn: warning: {run.name} has finished, but {'; '.join(damaged)}: going on with it\n")
    session = _Session(run, {"base_dir": str(file.base_dir)}, err, accept_changes)
    return session.run(file, placement, None)


def spec_of_run(run: RunDir) -> SpecFile:
    """The settled spec that a run directory keeps, with the folder its modules lie in.

    Raises:
        RequestError: the run was not begun from a spec.
    """
    events = journal.read(run.events).records
    if not run.spec.is_file() and not _was_begun_by_command(events):
        raise RequestError(
            f"{run.path}: was not begun by `distnn run` (there is no spec.json): go on with it by the same "
            "program, with fit(run_dir=...)"
        )
    if not run.spec.is_file() or not is_as_written(run.spec, events, SPEC_EVENT):
        raise RequestError(
            f"{run.spec}: is missing, or not what the run wrote: run the spec again "
            f"(distnn run SPEC --run-dir {run.path}), which goes on if it is the same"
        )
    file = load_spec(run.spec)
    folders = [r["base_dir"] for r in events if "base_dir" in r]
    base_dir = Path(folders[-1]) if folders else run.path
    return SpecFile(file.spec, base_dir, Source(str(run.spec), file.source.text, True, {}))


def _seed_of(run: RunDir) -> int | None:
    """The seed that a run was begun with, for a spec that has none.

    Raises:
        RequestError: it was not begun by this command, or its spec is damaged.
    """
    events = journal.read(run.events).records
    if not run.spec.is_file() and not _was_begun_by_command(events):
        raise RequestError(
            f"{run.path}: holds a run that was not begun by `distnn run`: give another directory"
        )
    seeds = [event["seed"] for event in events if event.get("kind") == SPEC_EVENT and "seed" in event]
    return seeds[-1] if seeds else (run.read_json(run.spec) or {}).get("seed")


def _was_begun_by_command(events: Sequence[Mapping[str, Any]]) -> bool:
    return any("spec_file" in event for event in events)


@dataclass
class _Session:
    """One attempt at a run."""

    run_dir: RunDir
    origin: dict[str, str]
    err: TextIO
    accept_changes: bool = False

    def __post_init__(self) -> None:
        self.err = outlet(self.err)
        self._ending = threading.Lock()
        self._has_ended = False

    def run(self, file: SpecFile, placement: Placement | None, seed: int | None) -> Outcome:
        crash = settle_in()
        if crash:
            self.origin["after"] = crash
        is_supervised = crash is not None
        signals = self._signals = StopSignals(
            self._request_stop,
            self._rescue,
            self._end_at_once,
            self._say_now,
            is_supervised=is_supervised,
        )
        self.recorder: RunRecorder | None = None
        stop_listening = listen(self._warn)
        try:
            with signals.installed(), shown_warnings(self._warn_and_keep):
                try:
                    outcome = self._run(file, placement, seed, signals)
                except KeyboardInterrupt:
                    return self._stopped("at once")
                if not self._has_ended:
                    signals.outcome = outcome.exit_code
                return outcome
        finally:
            stop_listening()

    def _run(
        self, file: SpecFile, placement: Placement | None, seed: int | None, signals: StopSignals
    ) -> Outcome:
        job = build_job(file, placement, seed=seed)
        self.recorder = RunRecorder(
            self.run_dir,
            rhythm_of(job.spec),
            spec=job.spec.to_plain(),
            origin=self.origin,
            may_end_early=bool(job.callbacks),
            accept_changes=self.accept_changes,
            warn=self._warn,
        )
        self._announce(job)
        try:
            signals.armed = True
            arguments = FitArguments(
                **job.fit_arguments(), recorder=self.recorder, progress_stream=self.err, verbose="auto"
            )
            history = fit_model(job.model, arguments)
            metrics = final_metrics(job, history.history)
            return Outcome(EXIT_DONE, self.run_dir, _finished_facts(self.run_dir, metrics))
        except Stopped as stopped:
            # The workers end with the process: whoever sent the signal may not wait for long.
            signals.leave_soon()
            return self._stopped(f"at step {stopped.step} of {stopped.total_steps}", stopped.step)
        except ClusterUnreachableError:
            self._close(State.FAILED, "the cluster could not be reached", cause=ENGINE)
            raise
        except Exception as error:
            if not self.recorder.has_begun and isinstance(error, ValueError):
                raise
            return self._failed(error)
        finally:
            signals.armed = False
            if signals.received is None:
                job.model.close()

    def _request_stop(self) -> None:
        if self.recorder is not None:
            self.recorder.request_stop()

    def _rescue(self) -> bool:
        """No commit came in time (a long step, a validation): keep the last one."""
        step = None
        with contextlib.suppress(Exception):  # there is no time left to do something about it
            step = None if self.recorder is None else self.recorder.rescue()
        if step is not None:
            self._stopped(f"at step {step}", step)
        return step is not None

    def _end_at_once(self) -> None:
        if self.recorder is not None and not self._has_ended:
            self.recorder.leave("stopped at once")
        self._tell_stopped("at once")

    def _stopped(self, where: str, step: int | None = None) -> Outcome:
        """The run is given up; the step is the committed one, whether or not it could be saved."""
        self._close(State.STOPPED, f"stopped {where}")
        self._tell_stopped(where, step)
        facts = {"state": State.STOPPED.value, "run": str(self.run_dir.path)}
        if step is not None:
            facts["step"] = str(step)
        return Outcome(self._signals.exit_code, self.run_dir, facts)

    def _tell_stopped(self, where: str, step: int | None = None) -> None:
        """Once, whichever thread comes first."""
        with self._ending:
            if self._has_ended:
                return
            self._has_ended = True
        saved = self.run_dir.checkpoint_steps()
        lost = f" (saved: {saved[-1]})" if step is not None and saved and saved[-1] < step else ""
        self._say_now(f"stopped {where}{lost}{self._what_now()}", begin="")

    def _what_now(self) -> str:
        """After a stop: how to go on, or that all was done before it came."""
        status = status_or_none(self.run_dir)
        if status is not None and status.state is State.SUCCEEDED:
            return f"; the run had finished: {self.run_dir.model}"
        is_there = self.run_dir.holds_run()
        return f"; go on with: {program()} resume {command_name(self.run_dir)}" if is_there else ""

    def _failed(self, error: Exception) -> Outcome:
        """The user's own traceback once, or ours if it is our bug; then one line."""
        if not isinstance(error, UserCodeError):
            failure = user_code.describe(error)
            is_known = isinstance(error, _TOLD)
            self.err.write(failure.user_traceback or ("" if is_known else failure.traceback))
        message = one_line(error)
        self._close(State.FAILED, message, cause=cause_of(error))
        text = str(error) if isinstance(error, UserCodeError) else message
        self.err.write(
            f"{text}\n" if isinstance(error, UserCodeError) else f"distnn: the run failed: {text}\n"
        )
        if self.run_dir.checkpoint_steps():
            self.err.write(f"go on with: {program()} resume {command_name(self.run_dir)}\n")
        facts = {"state": State.FAILED.value, "run": str(self.run_dir.path), "error": message}
        return Outcome(EXIT_FAILED, self.run_dir, facts)

    def _close(self, state: State, message: str, **facts: str) -> None:
        if self.recorder is not None:
            self.recorder.close(state, message, **facts)

    def _warn(self, message: str) -> None:
        begin = _CLEARED_LINE if is_terminal(self.err) else ""  # of a progress bar, which is drawn again
        self.err.write(f"{begin}distnn: warning: {message}\n")
        self.err.flush()

    def _warn_and_keep(self, message: str) -> None:
        self._warn(message)
        if self.recorder is not None:
            self.recorder.remark(message)

    def _say_now(self, message: str, begin: str = "\n") -> None:
        """From another thread: the stream may be in the middle of something, so it is only tried."""
        with contextlib.suppress(RuntimeError, ValueError, OSError):
            self.err.write(f"{begin}{message}\n")
            self.err.flush()

    def _announce(self, job: Job) -> None:
        for line in announcement(job, self.run_dir):
            self.err.write(line + "\n")
        if job.spec.cluster.backend != "ray":  # which tells it by itself
            for warning in warnings_about(job):
                self._warn(warning)
        self.err.flush()


def rhythm_of(spec: JobSpec) -> Rhythm:
    """When the spec wants checkpoints."""
    checkpoint = spec.checkpoint
    return Rhythm(checkpoint.every_seconds or DEFAULT_CHECKPOINT_S, checkpoint.every_steps, checkpoint.keep)


def final_metrics(job: Job, history: dict[str, list[float]]) -> dict[str, float]:
    """The finished model on the held-out data; the last epoch's own figures where they are that."""
    held_out = job.data.held_out
    if held_out is None:
        return {name: values[-1] for name, values in history.items() if values}
    name, data = held_out
    if name == "val":
        return {key: values[-1] for key, values in history.items() if key.startswith("val_") and values}
    training = job.spec.training
    how = Pass(batch_size=training.batch_size, shards=training.shards, **job.engine_arguments())
    x = data.x[0] if len(data.x) == 1 else list(data.x)
    logs = evaluate_model(job.model, x, data.y[0], None, how)
    return {f"{name}_{key}": value for key, value in logs.items()}


def announcement(job: Job, run: RunDir) -> list[str]:
    """What is about to happen, in two lines."""
    spec, data = job.spec, job.data
    place = "one process" if spec.cluster.backend == "local" else f"{job.workers_used} worker(s)"
    held_out = "" if data.held_out is None else f", {data.held_out[1].num_samples} held out"
    return [
        f"{spec.name}: {data.train.num_samples} samples{held_out}; batches of {spec.training.batch_size} in "
        f"{spec.training.shards} shard(s); seed {spec.seed}; {spec.cluster.backend}, {place}",
        f"run directory: {run.path} (on {socket.gethostname()})",
    ]


def warnings_about(job: Job) -> list[str]:
    """What is odd but works."""
    spec = job.spec
    workers, shards = job.workers_used, spec.training.shards or 1
    found = []
    if workers > shards:
        found.append(
            f"{workers} workers for {shards} shard(s): {workers - shards} of them will have nothing to do "
            "(training.shards decides; it is part of the recipe)"
        )
    return found


def one_line(error: BaseException) -> str:
    """What happened, and where in the run if it is known."""
    if isinstance(error, UserCodeError):
        return str(error).splitlines()[-1]
    text = in_words(error)
    notes = [note.removeprefix("distnn: ") for note in getattr(error, "__notes__", ())]
    place = f" ({'; '.join(notes)})" if notes else ""
    return f"{text}{place}" if isinstance(error, _TOLD) else f"{type(error).__name__}: {text}{place}"


def _finished_facts(run: RunDir, metrics: dict[str, float]) -> dict[str, Any]:
    status = status_or_none(run)
    sha256 = file_digest(run.model)
    if not metrics and status is not None:
        metrics = {key: value for key, value in status.logs.items() if key.startswith("val_")} or dict(
            status.logs
        )
    return {
        "state": State.SUCCEEDED.value,
        "run": str(run.path),
        "model": str(run.model),
        "sha256": sha256,
        "step": 0 if status is None else status.step,
        "metrics": metrics,
    }
