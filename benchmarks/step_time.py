"""Milliseconds a training step of the reference MLPs, beside PyTorch's in the same sitting.

    python benchmarks/step_time.py [--models mlp_seed ...] [--peer-python PYTHON] [--json FILE]

Ours is the whole step: order and gathering of samples, dropout streams, forward, backward, metrics, update,
fingerprint. Both sides take turns, round by round; medians over the rounds and their spread are shown.
`--peer-python` is an interpreter with torch; without one only our side is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from models import LEARNING_RATE, MLPS, MOMENTUM  # noqa: E402

from distnn.layers import Dense, Input  # noqa: E402
from distnn.models import Sequential  # noqa: E402
from distnn.models.fitting import FitArguments, prepare  # noqa: E402
from distnn.optimizers import SGD  # noqa: E402
from distnn.threads import blas_description  # noqa: E402

SAMPLES_PER_EPOCH = 64
"""Batches in the data: enough that gathering is real, few enough to fit a cache as the peer's batch does."""


def engine_for(name: str, options: argparse.Namespace) -> Any:
    """An engine with the model loaded and its first steps behind it."""
    mlp = MLPS[name]
    model = Sequential([Input((mlp.inputs,))])
    for units in mlp.units[:-1]:
        model.add(Dense(units, activation="relu"))
    model.add(Dense(mlp.units[-1], activation="softmax"))
    model.compile(SGD(LEARNING_RATE, momentum=MOMENTUM), "sparse_categorical_crossentropy", ["accuracy"])
    rng = np.random.default_rng(0)
    samples = mlp.batch_size * SAMPLES_PER_EPOCH
    x = rng.normal(size=(samples, mlp.inputs)).astype(np.float32)
    y = rng.integers(0, mlp.units[-1], samples)
    arguments = FitArguments(
        x=x,
        y=y,
        batch_size=mlp.batch_size,
        backend=options.backend,
        workers=options.workers,
        shards=options.shards,
        threads=options.threads,
        seed=0,
        verbose=0,
    )
    training = prepare(model, arguments)
    training.engine.load(training.task, training.data, model.training_state(0))
    training.engine.run_segment(5)
    return training.engine


SEGMENT_SECONDS = {"local": 0.02, "threads": 0.02, "ray": 0.2}
"""Short segments show the median of quiet moments; workers get segments as long as the training loop's."""


def time_steps(engine: Any, seconds: float, segment_seconds: float) -> float:
    """Median milliseconds a step over segments."""
    size = 5
    for _ in range(2):
        began = time.perf_counter()
        engine.run_segment(size)
        size = max(1, int(segment_seconds / ((time.perf_counter() - began) / size)))
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(times) < 5:
        began = time.perf_counter()
        engine.run_segment(size)
        times.append((time.perf_counter() - began) / size)
    return statistics.median(times) * 1e3


def peer_round(options: argparse.Namespace) -> dict[str, float]:
    script = str(Path(__file__).parent / "peer_torch.py")
    command = [options.peer_python, script, "--seconds", str(options.seconds)]
    command += ["--threads", str(options.peer_threads), "--models", *options.models]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    times: dict[str, float] = answer["ms"]
    return times


def measure(options: argparse.Namespace) -> dict[str, Any]:
    engines = {name: engine_for(name, options) for name in options.models}
    ours: dict[str, list[float]] = {name: [] for name in options.models}
    peers: dict[str, list[float]] = {name: [] for name in options.models}
    for _ in range(options.rounds):
        for name in options.models:
            ours[name].append(time_steps(engines[name], options.seconds, SEGMENT_SECONDS[options.backend]))
        if options.peer_python:
            for name, value in peer_round(options).items():
                peers[name].append(value)
    for engine in engines.values():
        engine.close()
    return {"machine": machine(), "options": vars(options), "ours_ms": ours, "torch_ms": peers}


def machine() -> dict[str, Any]:
    model = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    blas = [f"{info['internal_api']} {info['version']} {info['architecture']}" for info in blas_description()]
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "numpy": np.__version__, "blas": blas}


def table(found: dict[str, Any]) -> str:
    options = found["options"]
    workers = f"{options['workers']} worker(s), " if options["backend"] != "local" else ""
    shards = f"{options['shards']} shard(s), {options['threads']} thread(s)"
    where = f"{options['backend']}, {workers}{shards}"
    lines = [f"| model | distnn: {where} | torch, {options['peer_threads']} thread(s) | times faster |"]
    lines.append("|---|---|---|---|")
    for name, ours in found["ours_ms"].items():
        theirs = found["torch_ms"][name]
        ratio = f"{statistics.median(theirs) / statistics.median(ours):.2f}" if theirs else "-"
        lines.append(f"| {name} | {spread(ours)} | {spread(theirs)} | {ratio} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.4f} ({min(values):.4f}-{max(values):.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(MLPS), default=list(MLPS))
    parser.add_argument("--backend", choices=["local", "threads", "ray"], default="local")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="per model, side and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    parser.add_argument("--peer-threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args()
    found = measure(options)
    print(table(found))
    print(f"\nmilliseconds a step: median (least-most) of {options.rounds} rounds; {found['machine']}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
