"""Milliseconds a training step of the reference MLPs, beside PyTorch's three ways in the same sitting.

    python benchmarks/step_time.py [--ours ray:2 ...] [--models mlp_seed ...] [--peer-python PYTHON]

Ours is the whole step: order and gathering of samples, forward, backward, metrics, update, fingerprint; over
Ray by the whole protocol, in segments as long as the training loop's. The peers' is zero_grad, forward,
backward, step on one fixed batch: in one process with one thread and with two, and by
DistributedDataParallel with two processes over gloo. All sides take turns, round by round, each time in new
processes; medians over the rounds and their spread are shown. Without `--peer-python` (an interpreter that
has torch) only our side is timed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

from cores import meeting_ns, told  # noqa: E402
from models import NETS  # noqa: E402
from ours import Setup, one_ray, setup_of, steps_round  # noqa: E402
from peers import WAYS, torch_steps  # noqa: E402
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


def sides_of(
    options: argparse.Namespace, setups: list[Setup]
) -> dict[str, Callable[[], Mapping[str, float]]]:
    sides: dict[str, Callable[[], Mapping[str, float]]] = {
        setup.name: partial(steps_round, setup, options.models, options.seconds) for setup in setups
    }
    if options.peer_python:
        for way in options.peers:
            sides[WAYS[way]] = partial(torch_steps, options.peer_python, way, options.models, options.seconds)
    return sides


def report(found: Figures, setups: list[Setup], models: list[str]) -> str:
    """A row for each net and each of our setups."""
    peers = [name for name in WAYS.values() if name in found]
    head = ["net", "distnn", "ms", *peers, "times faster than the best", "than DDP"]
    rows = []
    for model in models:
        theirs = [found[name][model] for name in peers]
        best = min(theirs, key=statistics.median, default=None)
        ddp = found.get(WAYS["ddp2"], {}).get(model)
        for setup in setups:
            ours = found[setup.name][model]
            ratios = [times_faster(ours, best), times_faster(ours, ddp)]
            rows.append([model, setup.name, spread(ours), *map(spread, theirs), *ratios])
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=list(NETS))
    parser.add_argument(
        "--ours", nargs="+", default=["ray:2"], help="local, threads:N, ray:N (default ray:2)"
    )
    parser.add_argument("--shards", type=int, help="default: as many as workers")
    parser.add_argument("--threads", type=int, default=1, help="of each of our shards")
    parser.add_argument("--seconds", type=float, default=1.0, help="per net, side and round")
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    parser.add_argument("--peers", nargs="+", choices=list(WAYS), default=list(WAYS))
    add_common_arguments(parser)
    options = parser.parse_args()
    setups = [setup_of(text, options.shards, options.threads) for text in options.ours]
    sides = {"cores": lambda: {"meeting": meeting_ns()}, **sides_of(options, setups)}
    with one_ray(setups):
        found = take_turns(sides, options.rounds)
    print(report(found, setups, options.models))
    print(f"\nmilliseconds a step: median (least-most) of {options.rounds} rounds; {machine()}")
    print(told(found["cores"]["meeting"]))
    write_figures(options, found)


if __name__ == "__main__":
    main()
