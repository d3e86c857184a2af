"""Milliseconds to sum float32 values over workers so that every worker can read the sum.

    python benchmarks/exchange.py [--workers 2 4 8] [--sizes 1000 ...] [--peer-python PYTHON] [--json FILE]

The exchange alone: nothing is computed, nothing updated. `shared_memory` is the barriers and sums of a step
(`cluster.exchange.shared_steps`) between processes; `object_store` is one round over Ray actors: sums to the
coordinator, added there, the result sent with the next round. Beside them gloo's all-reduce, where the
interpreter given has torch. All take turns, round by round; medians are shown, and how many times faster
than gloo ours are. A training lets no more workers exchange on a machine than it has cores; here all do.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import numpy as np  # noqa: E402
from peers import run_peer  # noqa: E402
from timing import (  # noqa: E402
    Figures,
    add_common_arguments,
    machine,
    spread,
    table,
    take_turns,
    times_faster,
    write_figures,
)

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


def gloo(sizes: list[int], workers: int, seconds: float, python: str = "") -> dict[int, float]:
    arguments = ["--workers", str(workers), "--seconds", str(seconds), "--sizes", *map(str, sizes)]
    answer = run_peer(python, "peer_gloo.py", *arguments)
    return {int(size): value for size, value in answer["ms"].items()}


WAYS = {"shared_memory": shared_memory, "object_store": object_store}
"""Each takes sizes, workers and seconds, and answers milliseconds by size."""
PEER = "gloo"


def side_name(way: str, workers: int) -> str:
    return f"{way}, {workers} workers"


def sides_of(options: argparse.Namespace) -> dict[str, Callable[[], Mapping[str, float]]]:
    ways: dict[str, Callable[[list[int], int, float], dict[int, float]]]
    ways = {way: WAYS[way] for way in options.exchanges}
    if options.peer_python:
        ways[PEER] = partial(gloo, python=options.peer_python)

    def measure(way: str, workers: int) -> dict[str, float]:
        times = ways[way](options.sizes, workers, options.seconds)
        return {str(size): value for size, value in times.items()}

    return {
        side_name(way, workers): partial(measure, way, workers) for workers in options.workers for way in ways
    }


def report(found: Figures, options: argparse.Namespace) -> str:
    """A row of times for each way and number of workers, and under ours the ratio to gloo."""
    rows = []
    for workers in options.workers:
        peer = found.get(side_name(PEER, workers))
        for way in [*options.exchanges, *([PEER] if peer else [])]:
            times = found[side_name(way, workers)]
            rows.append([side_name(way, workers), *(spread(times[str(size)]) for size in options.sizes)])
            if peer and way != PEER:
                ratios = (times_faster(times[str(size)], peer[str(size)]) for size in options.sizes)
                rows.append(["times faster than gloo", *ratios])
    return table(["float32 values", *(f"{size:,}" for size in options.sizes)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=0.5, help="per size, way and round")
    parser.add_argument("--exchanges", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    add_common_arguments(parser, rounds=3)
    options = parser.parse_args()
    found = take_turns(sides_of(options), options.rounds)
    print(report(found, options))
    print(f"\nmilliseconds: median (least-most) of {options.rounds} rounds' medians; {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
