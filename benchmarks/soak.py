"""A long run over Ray with a kill every few seconds: does anything grow, is anything left?

    python benchmarks/soak.py --minutes 60 [--every 4] [--workers 3] [--json FILE]

The run is a process of its own, begun as `distnn run` begins it. A worker drawn at random is killed every few
seconds; now and then one is only stopped for a while. Sampled meanwhile: memory (PSS) of the coordinator and
of Ray's own processes, open files, threads and sockets of the coordinator, how many processes there are, the
most memory of a worker by its age, segments of shared memory. Each series is shown in its first and its last
quarter and as growth an hour between them; the first minute (start, kernels) is left out. At the end the
run is stopped as `distnn stop` does, and what is left of it is named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import psutil  # noqa: E402
from chaos import JOB  # noqa: E402
from timing import machine, table  # noqa: E402

from cluster.exchange import segment  # noqa: E402
from distnn import incidents  # noqa: E402
from jobs.chaos.blows import Blow, Kind  # noqa: E402
from jobs.chaos.injectors import NoVictim, Scene, strike, workers_here  # noqa: E402
from jobs.chaos.process import JobProcess, Place  # noqa: E402
from jobs.chaos.watch import RunWatch, wait_until  # noqa: E402
from jobs.rundir import RunDir  # noqa: E402
from jobs.stopping import stop_run  # noqa: E402

DEADLINE_S = 5.0
WARM_UP_S = 60.0
DELAY_EVERY = 10
"""Of so many blows one is a delay."""


@dataclass
class Samples:
    """What was seen, by series: seconds since the first step, and a value."""

    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, at: float, **values: float) -> None:
        for name, value in values.items():
            self.series.setdefault(name, []).append((at, value))


def megabytes(process: psutil.Process) -> float:
    """Its share of the memory in use (PSS)."""
    return float(process.memory_full_info().pss) / 1e6


def sample(scene: Scene, samples: Samples, at: float) -> None:
    """One look at everything."""
    coordinator = psutil.Process(scene.job.pid)
    scene.job.remember()
    family = scene.job.family()
    workers = {process.pid for _, process in workers_here(scene)}
    with coordinator.oneshot():
        samples.add(
            at,
            coordinator_mb=megabytes(coordinator),
            coordinator_files=coordinator.num_fds(),
            coordinator_threads=coordinator.num_threads(),
            coordinator_sockets=len(coordinator.net_connections()),
        )
    own, by_age = 0.0, []
    for process in family:
        with contextlib.suppress(psutil.Error):
            if process.pid in workers:
                by_age.append((time.time() - process.create_time(), megabytes(process)))
            else:
                own += megabytes(process)
    samples.add(at, ray_mb=own, processes=len(family) + 1, workers=len(workers))
    if by_age:
        samples.add(at, oldest_worker_mb=max(by_age)[1])
    folder, prefix = segment.FOLDER, segment._PREFIX
    samples.add(at, segments_with_a_name=len(list(folder.glob(f"{prefix}*"))))


def growth_rows(samples: Samples) -> list[list[str]]:
    """Each series in its first and its last quarter."""
    rows = []
    for name, values in samples.series.items():
        later = [one for one in values if one[0] >= WARM_UP_S] or values
        quarter = max(1, len(later) // 4)
        first, last = (statistics.median(v for _, v in part) for part in (later[:quarter], later[-quarter:]))
        hours = max(later[-1][0] - later[0][0], 1e-9) * 0.75 / 3600
        most = max(value for _, value in later)
        rows.append([name, f"{first:.1f}", f"{last:.1f}", f"{most:.1f}", f"{(last - first) / hours:+.1f}"])
    return rows


def soak(options: argparse.Namespace, folder: Path) -> tuple[Samples, dict[str, float | list[str]]]:
    """The run, its kills and what was seen."""
    spec, run = folder / "soak.toml", RunDir(folder / "run")
    spec.write_text(JOB)
    place, rng = Place("ray", options.workers, None, DEADLINE_S), random.Random(options.seed)
    sets = ["--set", "training.epochs=10000000"]
    job = JobProcess(["run", str(spec), "--run-dir", str(run.path), *place.words(), *sets])
    scene, samples = Scene(RunWatch(run), job, DEADLINE_S, 30.0), Samples()
    struck, missed, still = 0, 0, []
    try:
        wait_until(lambda: scene.watch.step() > 0 or job.exit_code is not None, 300)
        began = looked = time.monotonic()
        while (now := time.monotonic()) - began < 60 * options.minutes:
            if job.exit_code is not None:
                raise SystemExit("\n".join(["the run ended:", *job.said]))
            if now - looked >= options.look:
                looked = now
                sample(scene, samples, now - began)
            time.sleep(options.every * (0.5 + rng.random()))
            kind = Kind.DELAY_WORKER if rng.randrange(DELAY_EVERY) == 0 else Kind.KILL_WORKER
            try:
                done = strike(scene, Blow(kind, 0.0, 0.0, rng.random(), rng.random()))
            except NoVictim:
                missed += 1
                continue
            struck += 1
            if kind is Kind.KILL_WORKER and done.standstill_s is not None:
                still.append(done.standstill_s)
        stop_run(run, 60)
        code = job.wait(60)
        left = job.left_behind()
    finally:
        job.end()
    lost = sum(event.get("kind") == incidents.WORKER_LOST for event in scene.watch.events)
    orphans = [str(path) for path in segment.orphans()]
    return samples, {
        "steps": scene.watch.step(),
        "blows": struck,
        "missed": missed,
        "losses": lost,
        "standstill_median_s": statistics.median(still) if still else 0.0,
        "standstill_most_s": max(still, default=0.0),
        "exit_code": -1 if code is None else code,
        "left": [*left, *orphans],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two kills, on average")
    parser.add_argument("--look", type=float, default=5.0, help="seconds between two samples, at least")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for the run; default: that of temporary files")
    parser.add_argument("--json", type=Path, help="also write every sample to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="distnn-soak-", dir=options.folder) as folder:
        samples, facts = soak(options, Path(folder))
    print(table(("series", "first quarter", "last quarter", "most", "growth an hour"), growth_rows(samples)))
    print(f"\n{json.dumps(facts)}\n{machine()}")
    if options.json:
        options.json.write_text(json.dumps({"facts": facts, "series": samples.series}))


if __name__ == "__main__":
    main()
