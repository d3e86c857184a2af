"""Running a job in this process: from a spec or a run directory to a finished model, or to a clear end.

The one place where a training of the command line starts. Progress and remarks go to `err`, the result is
returned; the exit code says how it ended.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
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
from jobs.errors import EXIT_DONE, EXIT_FAILED, RequestError
from jobs.installation import program
from jobs.problems import Source
from jobs.recorder import Rhythm, RunRecorder
from jobs.remarks import listen, shown_warnings
from jobs.rundir import RunDir, command_name, new_run_dir
from jobs.signals import StopSignals
from jobs.spec import JobSpec
from jobs.specfile import SpecFile, load_spec
from jobs.status import State, read_status

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
        there = run.read_json(run.spec) or {}
        seed = there.get("seed")
        _refuse_finished_other(run)
    origin = {"base_dir": str(file.base_dir), "spec_file": str(Path(path).absolute())}
    return _Session(run, origin, err).run(file, placement, seed)


def resume_run(run: RunDir, *, placement: Placement | None = None, err: TextIO) -> Outcome:
    """`distnn resume`: go on from the newest checkpoint, anywhere, to the same bytes.

    Raises:
        RequestError, ValueError: there is nothing to resume.
    """
    file = spec_of_run(run)
    status = read_status(run)
    if status is not None and status.state is State.SUCCEEDED:
        err.write(f"{run.name} has finished (step {status.step}); there is nothing to resume\n")
        return Outcome(EXIT_DONE, run, _finished_facts(run, {}))
    return _Session(run, {"base_dir": str(file.base_dir)}, err).run(file, placement, None)


def spec_of_run(run: RunDir) -> SpecFile:
    """The settled spec that a run directory keeps, with the folder its modules lie in.

    Raises:
        RequestError: the run was not begun from a spec.
    """
    if not run.spec.is_file():
        raise RequestError(
            f"{run.path}: was not begun by `distnn run` (there is no spec.json): go on with it by the same "
            "program, with fit(run_dir=...)"
        )
    file = load_spec(run.spec)
    folders = [r["base_dir"] for r in journal.read(run.events).records if "base_dir" in r]
    base_dir = Path(folders[-1]) if folders else run.path
    return SpecFile(file.spec, base_dir, Source(str(run.spec), file.source.text, True, {}))


def _refuse_finished_other(run: RunDir) -> None:
    if not run.spec.is_file():
        raise RequestError(
            f"{run.path}: holds a run that was not begun by `distnn run`: give another directory"
        )


@dataclass
class _Session:
    """One attempt at a run."""

    run_dir: RunDir
    origin: dict[str, str]
    err: TextIO

    def run(self, file: SpecFile, placement: Placement | None, seed: int | None) -> Outcome:
        signals = StopSignals(self._request_stop, self._say_now)
        self.recorder: RunRecorder | None = None
        stop_listening = listen(self._warn)
        try:
            with signals.installed(), shown_warnings(self._warn_and_keep):
                try:
                    return self._run(file, placement, seed, signals)
                except KeyboardInterrupt:
                    return self._stopped(signals, None)
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
            return self._stopped(signals, stopped)
        except ClusterUnreachableError:
            self._close(State.FAILED, "the cluster could not be reached")
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

    def _stopped(self, signals: StopSignals, stopped: Stopped | None) -> Outcome:
        where = f"at step {stopped.step} of {stopped.total_steps}" if stopped else "at once"
        self._close(State.STOPPED, f"stopped {where}")
        facts = {"state": State.STOPPED.value, "run": str(self.run_dir.path)}
        if stopped is not None:
            facts["step"] = str(stopped.step)
        is_there = self.run_dir.holds_run()
        hint = f"; go on with: {program()} resume {command_name(self.run_dir)}" if is_there else ""
        self.err.write(f"stopped {where}{hint}\n")
        return Outcome(signals.exit_code, self.run_dir, facts)

    def _failed(self, error: Exception) -> Outcome:
        """The user's own traceback once, or ours if it is our bug; then one line."""
        if not isinstance(error, UserCodeError):
            failure = user_code.describe(error)
            is_known = isinstance(error, _TOLD)
            self.err.write(failure.user_traceback or ("" if is_known else failure.traceback))
        message = one_line(error)
        self._close(State.FAILED, message)
        text = str(error) if isinstance(error, UserCodeError) else message
        self.err.write(
            f"{text}\n" if isinstance(error, UserCodeError) else f"distnn: the run failed: {text}\n"
        )
        if self.run_dir.checkpoint_steps():
            self.err.write(f"go on with: {program()} resume {command_name(self.run_dir)}\n")
        facts = {"state": State.FAILED.value, "run": str(self.run_dir.path), "error": message}
        return Outcome(EXIT_FAILED, self.run_dir, facts)

    def _close(self, state: State, message: str) -> None:
        if self.recorder is not None:
            self.recorder.close(state, message)

    def _warn(self, message: str) -> None:
        begin = _CLEARED_LINE if is_terminal(self.err) else ""  # of a progress bar, which is drawn again
        self.err.write(f"{begin}distnn: warning: {message}\n")
        self.err.flush()

    def _warn_and_keep(self, message: str) -> None:
        self._warn(message)
        if self.recorder is not None:
            self.recorder.remark(message)

    def _say_now(self, message: str) -> None:
        """From a signal handler: the stream may be in the middle of something, so it is only tried."""
        try:
            self.err.write(f"\n{message}\n")
            self.err.flush()
        except RuntimeError:
            pass

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
    text = " ".join(str(error).split()) or "no message"
    notes = [note.removeprefix("distnn: ") for note in getattr(error, "__notes__", ())]
    place = f" ({'; '.join(notes)})" if notes else ""
    return f"{text}{place}" if isinstance(error, _TOLD) else f"{type(error).__name__}: {text}{place}"


def _finished_facts(run: RunDir, metrics: dict[str, float]) -> dict[str, Any]:
    status = read_status(run)
    digests = run.read_json(run.digests) or {}
    if not metrics and status is not None:
        metrics = {key: value for key, value in status.logs.items() if key.startswith("val_")} or dict(
            status.logs
        )
    return {
        "state": State.SUCCEEDED.value,
        "run": str(run.path),
        "model": str(run.model),
        "sha256": digests.get(run.model.name),
        "step": 0 if status is None else status.step,
        "metrics": metrics,
    }
