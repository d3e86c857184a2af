"""Milliseconds to sum float32 values over workers so that every worker can read the sum.

    python benchmarks/exchange.py [--workers 2 4 8] [--sizes 1000 ...] [--peer-python PYTHON] [--json FILE]

The exchange alone: nothing is computed, nothing updated. `shared_memory` is the barriers and sums of a step
(`cluster.exchange.shared_steps`) between processes; `object_store` is one round over Ray actors: sums to the
coordinator, added there, the result sent with the next round. Beside them gloo's all-reduce, where the
interpreter given has torch. All take turns, round by round; medians are shown.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402

from cluster.exchange.segment import SharedLayout, SharedSegment  # noqa: E402
from distnn.kernels.update import add_into  # noqa: E402
from distnn.kernels.waiting import WAITING, arrive_and_await  # noqa: E402
from distnn.reduction import ShardSums, SumsLayout, additions  # noqa: E402

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CHUNK = 32 * 1024


def layout_for(size: int, workers: int) -> SharedLayout:
    return SharedLayout(workers, workers, 0, 0, 0, size, 0, 0, 0, 0)


def shared_worker(rank: int, workers: int, size: int, path: Path, seconds: float, answers: Any) -> None:
    """What each worker does in a step, without the step."""
    segment = SharedSegment.attach(path, layout_for(size, workers), 1)
    steps, _ = additions(workers, [(w, w + 1) for w in range(workers)], [False] * workers)
    bounds = [size * w // workers // 16 * 16 for w in range(workers)] + [size]
    cuts = [*range(bounds[rank], bounds[rank + 1], CHUNK), bounds[rank + 1]]
    pairs = [
        (segment.gradients[left, low:high], segment.gradients[right, low:high])
        for low, high in zip(cuts, cuts[1:], strict=False)
        for left, right in steps
    ]
    word = 0

    def meet() -> None:
        nonlocal word
        word += 1
        while arrive_and_await(segment.words, rank, workers, word, segment.layout.abort) == WAITING:
            pass

    def once() -> float:
        began = time.perf_counter()
        meet()
        for left, right in pairs:
            add_into(left, right)
        meet()
        return time.perf_counter() - began

    estimate = statistics.median(once() for _ in range(5))
    if rank == 0:
        segment.header[7] = max(5, min(20_000, int(seconds / estimate)))
    meet()
    times = [once() for _ in range(int(segment.header[7]))]
    if rank == 0:
        answers.put(statistics.median(times) * 1e3)


def shared_memory(sizes: list[int], workers: int, seconds: float) -> dict[int, float]:
    context = multiprocessing.get_context("spawn")
    found = {}
    for size in sizes:
        segment = SharedSegment.create(layout_for(size, workers), 1)
        answers = context.SimpleQueue()
        arguments = (workers, size, segment.path, seconds, answers)
        processes = [
            context.Process(target=shared_worker, args=(rank, *arguments)) for rank in range(workers)
        ]
        for process in processes:
            process.start()
        found[size] = answers.get()
        for process in processes:
            process.join()
        segment.forget_name()
    return found


class ObjectWorker:
    """Answers with its values; what it is given is the last round's sum."""

    def __init__(self, size: int) -> None:
        self.values = np.zeros(size, np.float32)

    def exchange(self, total: Any) -> Any:
        return self.values


def object_store(sizes: list[int], workers: int, seconds: float) -> dict[int, float]:
    from cluster.connect import connect
    from cluster.ray_crew import _is_small
    from cluster.ray_import import ray

    connection = connect(None, workers)
    remote = ray.remote(num_cpus=0)(ObjectWorker)
    found = {}
    for size in sizes:
        actors = [remote.remote(size) for _ in range(workers)]
        sums = [ShardSums(SumsLayout(size, 0, ())) for _ in range(workers)]
        steps, _ = additions(workers, [(w, w + 1) for w in range(workers)], [False] * workers)
        times: list[float] = []
        deadline = time.perf_counter() + seconds + 1.0
        while time.perf_counter() < deadline or len(times) < 8:
            began = time.perf_counter()
            total = sums[0].gradient if _is_small(sums[0].gradient) else ray.put(sums[0].gradient)
            answers = ray.get([actor.exchange.remote(total) for actor in actors])
            for one, answer in zip(sums, answers, strict=True):
                np.copyto(one.gradient, answer)
            for left, right in steps:
                sums[left].add(sums[right])
            times.append(time.perf_counter() - began)
        for actor in actors:
            ray.kill(actor)
        found[size] = statistics.median(times[3:]) * 1e3
    connection.close()
    return found


def gloo(sizes: list[int], workers: int, seconds: float, python: str) -> dict[int, float]:
    script = str(Path(__file__).parent / "peer_gloo.py")
    command = [python, script, "--workers", str(workers), "--seconds", str(seconds)]
    command += ["--sizes", *map(str, sizes)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {int(size): value for size, value in answer["ms"].items()}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Medians by way, workers and size, one per round."""
    found: dict[str, Any] = {}
    for _ in range(options.rounds):
        for workers in options.workers:
            ways = {"shared_memory": shared_memory(options.sizes, workers, options.seconds)}
            if options.object_store:
                ways["object_store"] = object_store(options.sizes, workers, options.seconds)
            if options.peer_python:
                ways["gloo"] = gloo(options.sizes, workers, options.seconds, options.peer_python)
            for way, times in ways.items():
                for size, value in times.items():
                    found.setdefault(f"{way}, {workers} workers", {}).setdefault(size, []).append(value)
    return found


def table(found: dict[str, Any], sizes: list[int]) -> str:
    lines = ["| | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for name, times in found.items():
        cells = [f"{statistics.median(times[size]):.3f} ({min(times[size]):.3f})" for size in sizes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=0.5, help="per size, way and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-object-store", dest="object_store", action="store_false")
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    options = parser.parse_args()
    found = measure(options)
    print(table(found, options.sizes))
    print(f"\nmilliseconds: median (least) of {options.rounds} rounds' medians")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
