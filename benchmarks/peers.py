"""PyTorch's side of the benchmarks: scripts of this folder, run by an interpreter that has torch."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

WAYS = {"1": "PyTorch, 1 thread", "2": "PyTorch, 2 threads", "ddp2": "PyTorch DDP, 2 processes"}
"""The ways of `peer_torch.py`: threads of one process, or processes of one thread that split the batch."""


def environment() -> dict[str, str]:
    """Ours without what would change a peer's packages, threads or Ray."""
    dropped = ("PYTHONPATH", "RAY_ADDRESS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def run_peer(python: str, script: str, *arguments: str) -> dict[str, Any]:
    """The JSON that a script of this folder prints last."""
    command = [python, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def torch_steps(python: str, way: str, models: Sequence[str], seconds: float) -> dict[str, float]:
    """Milliseconds a step of each net."""
    arguments = ("--way", way, "--seconds", str(seconds), "--models", *models)
    times: dict[str, float] = run_peer(python, "peer_torch.py", *arguments)["ms"]
    return times
