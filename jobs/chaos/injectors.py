"""The blows themselves. Each asserts what it did: the victim lived, and what had to follow has followed."""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from distnn import incidents
from jobs.chaos.blows import Blow, Kind
from jobs.chaos.process import JobProcess
from jobs.chaos.watch import Event, RunWatch, Worker, wait_until

FOLLOWS_WITHIN_S = 30.0
"""An event that has to follow a blow; a loaded machine may need a while."""
_DEAD_WITHIN_S = 10.0


@dataclass
class Struck:
    """What a blow did.

    Attributes:
        kind: of the blow.
        step: the last that was recorded before it.
        phase: where it hit, if that is known.
        standstill_s: from the blow to the first step committed after it; of a delay, how long it lasted.
        again: steps that were computed again.
        detail: for people.
        time: of the blow, since 1970.
    """

    kind: Kind
    step: int
    phase: str = ""
    standstill_s: float | None = None
    again: int = 0
    detail: str = ""
    time: float = field(default_factory=time.time)


class Broken(Exception):
    """A blow came down, and what is promised did not follow; the sentence says what."""


class NoVictim(Exception):
    """There was nobody to strike, or it was too late; nothing counts."""


@dataclass(frozen=True)
class Scene:
    """Where a blow comes down: the run, its process, how long workers may be silent, between checkpoints."""

    watch: RunWatch
    job: JobProcess
    deadline_s: float
    checkpoint_s: float


Strike = Callable[[Scene, Blow], Struck]


def strike(scene: Scene, blow: Blow) -> Struck:
    """Do what the blow says. A killed coordinator is not resumed here.

    Raises:
        NoVictim: it found none.
        Broken: it came down, and what had to follow did not.
    """
    return _STRIKES[blow.kind](scene, blow)


def possible(scene: Scene, kind: Kind) -> bool:
    """Whether a blow of this kind has a victim just now."""
    return not kind.needs_workers or bool(workers_here(scene))


def workers_here(scene: Scene) -> list[tuple[Worker, psutil.Process]]:
    """The workers that live on this machine, and their processes."""
    found = [(worker, worker.process()) for worker in scene.watch.workers()]
    return [(worker, process) for worker, process in found if process is not None]


def _pick_worker(scene: Scene, blow: Blow) -> tuple[Worker, psutil.Process]:
    there = workers_here(scene)
    if not there:
        raise NoVictim("no worker lives on this machine")
    return there[int(blow.victim * len(there))]


def _coordinator(scene: Scene) -> psutil.Process:
    process = scene.job.process()
    if process is None or scene.watch.has_finished():
        raise NoVictim("the run had ended")
    return process


@contextmanager
def _alive_before(process: psutil.Process) -> Iterator[None]:
    """A victim that is gone before it is struck is none."""
    try:
        yield
    except psutil.NoSuchProcess:
        raise NoVictim(f"process {process.pid} had ended") from None


def is_dead(process: psutil.Process) -> bool:
    """Whether it computes no more."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True


def _is_stopped(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_STOPPED)
    return False


# Workers


def _lose_worker(scene: Scene, blow: Blow, number: signal.Signals) -> Struck:
    worker, process = _pick_worker(scene, blow)
    place, struck = len(scene.watch.events), Struck(blow.kind, scene.watch.step())
    with _alive_before(process):
        process.send_signal(number)
    limit = FOLLOWS_WITHIN_S + 2 * scene.deadline_s
    if number is signal.SIGSTOP and not wait_until(lambda: _is_stopped(process), 1.0):
        raise NoVictim(f"worker {worker.number} ended before it was stopped")
    if number is signal.SIGKILL:
        expect(wait_until(lambda: is_dead(process), _DEAD_WITHIN_S), f"pid {worker.pid} survived SIGKILL")
    facts = {"worker": worker.number, "pid": worker.pid}
    told = wait_until(
        lambda: _has_ended(scene) or scene.watch.since(place, incidents.WORKER_LOST, **facts) is not None,
        limit,
    )
    lost = scene.watch.since(place, incidents.WORKER_LOST, **facts)
    if lost is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        expect(told, f"nobody noticed within {limit:.0f} s that worker {worker.number} is gone")
        raise NoVictim("the run ended before it could notice")
    if number is signal.SIGSTOP:  # a killed one may be called silent where everything is slow
        said = f"worker {worker.number} was stopped and is told as {lost['cause']}"
        expect(lost["cause"] == "silent", said)
    expect(wait_until(lambda: is_dead(process), _DEAD_WITHIN_S), f"pid {worker.pid} was left alive")
    struck.phase, struck.detail = lost["phase"], f"worker {worker.number} (pid {worker.pid})"
    recovered = wait_for(scene, place, incidents.RECOVERED, limit)
    if recovered is not None:
        struck.standstill_s = float(recovered["time"]) - struck.time
    return struck


def expect(is_so: bool, sentence: str) -> None:
    """Raise `Broken` with the sentence if it is not so."""
    if not is_so:
        raise Broken(sentence)


def _has_ended(scene: Scene) -> bool:
    return scene.watch.has_finished() or scene.job.exit_code is not None


def wait_for(scene: Scene, place: int, kind: str, limit: float) -> Event | None:
    """The event of a kind after the first `place`, or None if the run ends before."""
    watch = scene.watch
    came = wait_until(lambda: watch.since(place, kind) is not None or _has_ended(scene), limit)
    expect(came, f"no event `{kind}` within {limit:.0f} s")
    return watch.since(place, kind)


def _kill_worker(scene: Scene, blow: Blow) -> Struck:
    return _lose_worker(scene, blow, signal.SIGKILL)


def _stop_worker(scene: Scene, blow: Blow) -> Struck:
    return _lose_worker(scene, blow, signal.SIGSTOP)


def _delay_worker(scene: Scene, blow: Blow) -> Struck:
    worker, process = _pick_worker(scene, blow)
    struck = Struck(blow.kind, scene.watch.step(), detail=f"worker {worker.number} (pid {worker.pid})")
    return _delay(struck, process, scene.deadline_s * (0.05 + 0.5 * blow.length))


def _delay(struck: Struck, process: psutil.Process, seconds: float) -> Struck:
    began = time.monotonic()
    with _alive_before(process):
        process.suspend()
        if not wait_until(lambda: _is_stopped(process), 1.0):
            raise NoVictim(f"process {process.pid} had ended")
        try:
            time.sleep(seconds)
        finally:
            process.resume()
    struck.standstill_s = time.monotonic() - began
    return struck


# The coordinator


def _kill_coordinator(scene: Scene, blow: Blow) -> Struck:
    process, watch = _coordinator(scene), scene.watch
    struck = Struck(blow.kind, watch.step())
    struck.phase = "while it trained" if watch.is_computing() else "while it started"
    with _alive_before(process):
        process.kill()
    code = scene.job.wait(_DEAD_WITHIN_S)
    if code != -signal.SIGKILL:
        raise NoVictim(f"the run had ended with exit code {code}")
    struck.detail = f"pid {process.pid}"
    if watch.has_finished():
        struck.phase = "after its last write"
    elif watch.writes_checkpoint():
        struck.phase = "while it wrote a file"
    elif 0 < watch.total_steps() <= watch.step():
        struck.phase = "after its last step"
    return struck


def _kill_in_checkpoint(scene: Scene, blow: Blow) -> Struck:
    _coordinator(scene)
    limit = FOLLOWS_WITHIN_S + 3 * scene.checkpoint_s
    wait_until(lambda: scene.watch.writes_checkpoint() or _has_ended(scene), limit, every_s=0.0005)
    return _kill_coordinator(scene, blow)


def _delay_coordinator(scene: Scene, blow: Blow) -> Struck:
    process = _coordinator(scene)
    struck = Struck(blow.kind, scene.watch.step(), detail=f"pid {process.pid}")
    return _delay(struck, process, scene.deadline_s * (0.1 + 1.2 * blow.length))


def _full_disk(scene: Scene, blow: Blow) -> Struck:
    """No file of the run's process may grow, which writers see as they see a full disk."""
    process = _coordinator(scene)
    place, struck = len(scene.watch.events), Struck(blow.kind, scene.watch.step())
    with _alive_before(process):
        soft, hard = process.rlimit(resource.RLIMIT_FSIZE)
        process.rlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            scene.job.wait(1.0 + scene.checkpoint_s * (1.5 + blow.length))
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.rlimit(resource.RLIMIT_FSIZE, (soft, hard))
    failed = wait_for(scene, place, "checkpoint-failed", FOLLOWS_WITHIN_S)
    if is_over := scene.watch.step() >= scene.watch.total_steps():
        scene.job.wait(FOLLOWS_WITHIN_S)  # it has a model to write, and workers to end
    if scene.job.exit_code:
        struck.phase = "at its end" if is_over else ""
        return struck
    if failed is None:
        raise NoVictim("the run had ended")
    struck.detail = str(failed["reason"])
    return struck


_STRIKES = {
    Kind.KILL_WORKER: _kill_worker,
    Kind.STOP_WORKER: _stop_worker,
    Kind.DELAY_WORKER: _delay_worker,
    Kind.KILL_COORDINATOR: _kill_coordinator,
    Kind.KILL_AT_START: _kill_coordinator,
    Kind.KILL_IN_CHECKPOINT: _kill_in_checkpoint,
    Kind.DELAY_COORDINATOR: _delay_coordinator,
    Kind.FULL_DISK: _full_disk,
}
