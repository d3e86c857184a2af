"""Kills of workers, coordinators and nodes by the hundred: how long each holds a run up, what it costs.

    python benchmarks/chaos.py [--kills 300] [--seconds 60] [--only workers nodes] [--peer-python PYTHON]

Each part is a job of its own (two hidden layers, noise-free digits): trained undisturbed, then with kills at
seeded random instants, in as many runs as it takes, by the code of `distnn chaos`. Every disturbed run is
compared with the undisturbed one: the model's bytes, every epoch's metrics, every step's fingerprint.

- workers (70 %): SIGKILL of one of the workers on this machine.
- coordinators (20 %): SIGKILL of the driving process, at any time, while it starts, while it writes a
  checkpoint; resumed elsewhere: another number of workers, another backend.
- nodes (10 %): SIGKILL of one of the raylets of a cluster of three on this machine, with the workers on it;
  another node is begun afterwards.

A standstill is from the kill to the first step that is committed after it, as the run's journal has it; for
a coordinator the start of Python and of Ray is in it.
With `--peer-python` the same kill is given to Ray Train (`peer_raytrain_kill.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from peers import run_peer  # noqa: E402
from timing import machine, table  # noqa: E402

from jobs.chaos.blows import MEANINGS, Kind  # noqa: E402
from jobs.chaos.campaign import Request, Result, run_campaign  # noqa: E402
from jobs.chaos.injectors import Strike, Struck, strike  # noqa: E402
from jobs.chaos.process import JobProcess, Place  # noqa: E402
from jobs.chaos.report import result_facts, standstills  # noqa: E402
from jobs.chaos.watch import RunWatch  # noqa: E402
from jobs.lifecycle import ENGINE_READY  # noqa: E402
from jobs.rundir import RunDir  # noqa: E402

JOB = """\
name = "chaos"
seed = 11
[data]
source = "builtin:digits"
validation_fraction = 0.2
normalize = "standard"
[model]
layers = [
  {type = "Dense", units = 256, activation = "relu"},
  {type = "Dropout", rate = 0.1},
  {type = "Dense", units = 128, activation = "relu"},
  {type = "Dense", units = 10, activation = "softmax"},
]
[training]
loss = "sparse_categorical_crossentropy"
optimizer = {type = "Adam", learning_rate = 0.0001}
metrics = ["accuracy"]
epochs = 1
batch_size = 16
shards = 4
"""
PILOT_EPOCHS = {"workers": 150, "coordinators": 150, "nodes": 4}
"""A step between nodes takes many times as long."""
PARTS = {"workers": 0.7, "coordinators": 0.2, "nodes": 0.1}
KINDS = {
    "workers": [Kind.KILL_WORKER],
    "coordinators": [Kind.KILL_COORDINATOR, Kind.KILL_AT_START, Kind.KILL_IN_CHECKPOINT],
    "nodes": [Kind.KILL_NODE],
}
DEADLINE_S = 10.0


def epochs_for(seconds: float, pilot: int, spec: Path, place: Place, folder: Path) -> int:
    """So many that the job trains that long when nobody disturbs it."""
    run = RunDir(folder / "pilot")
    sets = ["--set", f"training.epochs={pilot}"]
    job = JobProcess(["run", str(spec), "--run-dir", str(run.path), *place.words(), *sets])
    if job.wait(600) != 0:
        job.end()
        raise SystemExit("\n".join(job.said))
    job.left_behind()
    times = {event["kind"]: event["time"] for event in RunWatch(run).events}
    return max(1, int(seconds * pilot / (times["finished"] - times[ENGINE_READY])))


def measure(part: str, kills: int, place: Place, options: argparse.Namespace, how: Strike = strike) -> Result:
    """One part: its job, its kills, its verdicts."""
    with tempfile.TemporaryDirectory(prefix="distnn-chaos-", dir=options.folder) as folder:
        spec = Path(folder) / "chaos.toml"
        spec.write_text(JOB)
        epochs = epochs_for(options.seconds, PILOT_EPOCHS[part], spec, place, Path(folder))
        request = Request(
            str(spec),
            kills,
            options.seed,
            Path(folder),
            place,
            overrides=(f"training.epochs={epochs}",),
            kinds=KINDS[part],
        )
        began = time.monotonic()

        def tell(struck: Struck) -> None:
            still = "" if struck.standstill_s is None else f"{struck.standstill_s:.2f} s"
            say(f"{time.monotonic() - began:7.1f}  {struck.kind.value:<18} step {struck.step:<8} {still}")

        return run_campaign(request, say, tell, how)


@contextmanager
def three_nodes(workers: int) -> Iterator[tuple[str, Strike]]:
    """A cluster of three nodes on this machine, and how one that is not the head is killed and replaced."""
    from chaos_nodes import Nodes

    with Nodes(workers) as nodes:
        yield nodes.address, nodes.strike


def summary(parts: dict[str, Result]) -> list[list[str]]:
    rows = []
    for part, result in parts.items():
        for kind, found in standstills(result.struck).items():
            figures = [found[name] for name in ("median_s", "p90_s", "most_s")]
            cells = ["-" if figure is None else f"{figure:.2f}" for figure in figures]
            again = str(found["steps_again"] // max(1, found["count"]))
            equal = "yes" if not result.trouble else "NO"
            rows.append([part, MEANINGS[Kind(kind)], str(found["count"]), *cells, again, equal])
    return rows


HEAD = ("part", "what", "count", "median s", "90 % s", "most s", "steps again (mean)", "equal bytes")


def peer_rows(found: dict[str, Any]) -> list[list[str]]:
    """Ray Train's line of the table."""
    still, again = sorted(found["standstill_s"]), found["steps_again"]
    if not still:
        return []
    figures = (still[len(still) // 2], still[min(len(still) - 1, int(0.9 * len(still)))], still[-1])
    mean = str(sum(again) // len(again))
    return [["Ray Train", "SIGKILL of a worker", str(len(still)), *(f"{s:.2f}" for s in figures), mean, "no"]]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=300, help="in all parts together")
    parser.add_argument("--seconds", type=float, default=60.0, help="that each job trains undisturbed")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="for runs; default: that of temporary files")
    parser.add_argument("--peer-python", help="an interpreter with ray[train] and torch")
    parser.add_argument("--peer-kills", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args(arguments)
    total = sum(PARTS[part] for part in options.only)
    parts: dict[str, Result] = {}
    figures: dict[str, Any] = {}
    for part in options.only:
        kills = max(1, round(options.kills * PARTS[part] / total))
        say(f"{part}: {kills} kills")
        if part == "nodes":
            with three_nodes(options.workers) as (address, how):
                place = Place("ray", options.workers, address, DEADLINE_S)
                parts[part] = measure(part, kills, place, options, how)
        else:
            parts[part] = measure(part, kills, Place("ray", options.workers, None, DEADLINE_S), options)
        figures[part] = result_facts(parts[part], options.seed)
        if options.json:
            options.json.write_text(json.dumps(figures, indent=1))
    rows = summary(parts)
    if options.peer_python:
        say(f"Ray Train: {options.peer_kills} kills")
        figures["Ray Train"] = run_peer(
            options.peer_python, "peer_raytrain_kill.py", "--kills", str(options.peer_kills)
        )
        rows += peer_rows(figures["Ray Train"])
    print(table(HEAD, rows))
    trouble = [sentence for result in parts.values() for sentence in result.trouble]
    count = sum(len(result.struck) for result in parts.values())
    print(f"\n{count} kills, {'nothing lost' if not trouble else '; '.join(trouble)}; {machine()}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    sys.exit(1 if trouble else 0)


if __name__ == "__main__":
    main()
