"""What workers bring, what workers beyond the cores cost, and what shards cost.

    python benchmarks/scaling.py [--models mlp_wide ...] [--shards 16] [--json FILE]

Three tables, all of milliseconds a step, medians of rounds in which the setups take turns:
two Ray workers against one at the same two shards; 1 to 16 workers at the same shards (a machine computes
with at most as many workers as it has cores, the others are spares); 1 to 16 shards in one process.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

from cores import meeting_ns, told  # noqa: E402
from models import MLPS, NETS  # noqa: E402
from ours import Setup, one_ray, steps_round  # noqa: E402
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


def figures(setups: list[Setup], options: argparse.Namespace) -> Figures:
    sides = {setup.name: partial(steps_round, setup, options.models, options.seconds) for setup in setups}
    sides = {"cores": lambda: {"meeting": meeting_ns()}, **sides}
    with one_ray(setups):
        found = take_turns(sides, options.rounds)
    print(told(found["cores"]["meeting"]))
    return found


def speed_up(found: Figures, setups: list[Setup], models: list[str]) -> str:
    one, two = (found[setup.name] for setup in setups)
    head = ["net", *(setup.name for setup in setups), "times faster"]
    return table(
        head,
        [[name, spread(one[name]), spread(two[name]), times_faster(two[name], one[name])] for name in models],
    )


def against(base: Setup, found: Figures, setups: list[Setup], models: list[str]) -> str:
    """Each setup's time, and how many times that of `base` it takes."""
    head = ["net", *(setup.name for setup in setups)]
    rows = []
    for name in models:
        cells = []
        for setup in setups:
            ours = found[setup.name][name]
            cells.append(f"{spread(ours)} x{times_faster(found[base.name][name], ours)}")
        rows.append([name, *cells])
    return table(head, rows) + f"\n\nx: times the time of {base.name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=list(MLPS))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--shards", type=int, default=16, help="with those workers")
    parser.add_argument("--shard-counts", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--only", nargs="+", choices=["speed-up", "workers", "shards"])
    parser.add_argument("--seconds", type=float, default=1.0, help="per net, setup and round")
    add_common_arguments(parser)
    options = parser.parse_args()
    wanted = options.only or ["speed-up", "workers", "shards"]
    every = {}
    if "speed-up" in wanted:
        pair = [Setup("ray", 1, 2), Setup("ray", 2, 2)]
        every["speed-up"] = found = figures(pair, options)
        print(f"## Two workers against one\n\n{speed_up(found, pair, options.models)}\n", flush=True)
    if "workers" in wanted:
        setups = [Setup("ray", workers, options.shards) for workers in options.workers]
        base = next((setup for setup in setups if setup.workers == 2), setups[0])
        every["workers"] = found = figures(setups, options)
        print(f"## Workers beyond the cores\n\n{against(base, found, setups, options.models)}\n", flush=True)
    if "shards" in wanted:
        setups = [Setup("local", 1, shards) for shards in options.shard_counts]
        every["shards"] = found = figures(setups, options)
        print(f"## What shards cost\n\n{against(setups[0], found, setups, options.models)}\n", flush=True)
    print(f"milliseconds a step: median (least-most) of {options.rounds} rounds; {machine()}")
    write_figures(options, every)


if __name__ == "__main__":
    main()
