"""Seconds of each phase of a Ray run, from the start of the process to the first committed step.

    python benchmarks/startup.py [--workers 2] [--rounds 5] [--peer-python PYTHON] [--data FOLDER_OR_NPZ]

With kernels that were compiled before, and with none (a cache folder of its own, thrown away). Each round is
a new process that starts a Ray of its own. `--peer-python` is an interpreter that has ray[train] and torch:
beside our time from `ray.init` to the first step then stands Ray Train's from `fit()` to its first step,
which for both includes the start of the workers; its workers also read the data (`--data`, as in
`fashion_mnist.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

from fashion_data import DEBIAN_FOLDER  # noqa: E402
from models import NETS  # noqa: E402
from peers import HERE, run_peer  # noqa: E402
from timing import add_common_arguments, machine, spread, table, take_turns, write_figures  # noqa: E402

WARM, COLD, PEER = "kernels compiled before", "nothing compiled", "Ray Train"
FIRST_STEP = "from ray.init to the first step"


def our_phases(options: argparse.Namespace, cache: Path | None) -> dict[str, float]:
    """The seconds of each phase of one process; its kernels come from `cache`, else from the user's."""
    environment = dict(os.environ) | ({} if cache is None else {"DISTNN_CACHE_DIR": str(cache)})
    command = [sys.executable, str(HERE / "startup_ours.py"), "--began", str(time.time())]
    command += ["--model", options.model, "--workers", str(options.workers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    ended: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    starts = [0.0, *ended.values()]
    phases = {name: end - start for (name, end), start in zip(ended.items(), starts, strict=False)}
    phases[FIRST_STEP] = ended["first step committed"] - ended["ray.init"]
    phases["from process start to the first step"] = ended["first step committed"]
    return phases


def our_phases_cold(options: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return our_phases(options, Path(folder) / "kernels")


def peer_phases(options: argparse.Namespace) -> dict[str, float]:
    arguments = ["--first-step-only", "--workers", str(options.workers)]
    arguments += ["--data", str(options.data.resolve())]
    answer = run_peer(options.peer_python, "peer_raytrain.py", *arguments)
    return {FIRST_STEP: answer["fit_to_first_step_seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=list(NETS), default="mlp_fmnist")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peer-python", help="an interpreter that has ray[train] and torch")
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="for the peer")
    add_common_arguments(parser)
    options = parser.parse_args()
    our_phases(options, None)  # so that the kernels are compiled
    sides: dict[str, Callable[[], Mapping[str, float]]] = {
        WARM: partial(our_phases, options, None),
        COLD: partial(our_phases_cold, options),
    }
    if options.peer_python:
        sides[PEER] = partial(peer_phases, options)
    found = take_turns(sides, options.rounds)
    rows = [[phase, *(spread(found[side].get(phase), 2) for side in sides)] for phase in found[WARM]]
    print(table([f"{options.workers} workers, seconds", *sides], rows))
    if options.peer_python:
        ours, theirs = (statistics.median(found[side][FIRST_STEP]) for side in (WARM, PEER))
        print(f"\nRay Train, from fit() to its first step, takes {theirs / ours:.1f} times as long")
    print(f"\nmedian (least-most) of {options.rounds} rounds; {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
