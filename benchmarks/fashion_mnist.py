"""Ray Train's public CPU benchmark end to end: seconds of whole processes, and the accuracy reached.

    python benchmarks/fashion_mnist.py [--data FOLDER_OR_NPZ] [--epochs 20] [--peer-python PYTHON]

784-512-512-10, SGD 1e-3, global batch 64, 20 epochs with a validation after each, two workers. Timed is the
process from its start to its end: imports, Ray, reading of the data, training, validation, clearing away.
`--peer-python` is an interpreter that has ray[train] and torch. The default data is that of Debian's
package dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent)]

from fashion_data import DEBIAN_FOLDER  # noqa: E402
from peers import run_peer  # noqa: E402
from timing import (  # noqa: E402
    add_common_arguments,
    machine,
    spread,
    table,
    times_faster,
    write_figures,
)


def run_side(python: str, script: str, options: argparse.Namespace) -> dict[str, Any]:
    arguments = ["--data", str(options.data.resolve()), "--epochs", str(options.epochs)]
    began = time.perf_counter()
    answer = run_peer(python, script, *arguments, "--workers", str(options.workers))
    return {"seconds": time.perf_counter() - began, **answer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER, help="IDX files, or an .npz")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="and as many shards")
    parser.add_argument("--peer-python", help="an interpreter that has ray[train] and torch")
    add_common_arguments(parser, rounds=1)
    options = parser.parse_args()
    sides = {"distnn": (sys.executable, "fashion_ours.py")}
    if options.peer_python:
        sides["Ray Train"] = (options.peer_python, "peer_raytrain.py")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, (python, script) in sides.items():
            found[name].append(run_side(python, script, options))
    seconds = {name: [one["seconds"] for one in answers] for name, answers in found.items()}
    rows = []
    for name, answers in found.items():
        fit = [one["fit_seconds"] for one in answers]
        accuracy = statistics.median(one["accuracy"][-1] for one in answers)
        ratio = "" if name == "distnn" else times_faster(seconds["distnn"], seconds[name])
        rows.append([name, spread(seconds[name], 1), spread(fit, 1), f"{accuracy:.4f}", ratio])
    head = ["", "process, s", "of it fit, s", "accuracy of validation", "distnn is times faster"]
    print(table(head, rows))
    print(f"\n{options.epochs} epochs, {options.workers} workers, {options.rounds} round(s); {machine()}")
    write_figures(options, found)


if __name__ == "__main__":
    main()
