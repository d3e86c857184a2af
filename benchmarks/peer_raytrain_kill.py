"""Ray Train's side of `chaos.py`: SIGKILL of one of its two workers, again and again; prints JSON last.

Run by an interpreter that has ray[train] and torch. TorchTrainer as its documentation has it: DDP over gloo,
a checkpoint every 200 steps, a `FailureConfig` that starts the workers again. The worker of rank 0 writes the
time of every step. A standstill is from the kill to the next step that was computed; steps again are those
between the checkpoint that was loaded and the last step before the kill.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

STEPS_BETWEEN_CHECKPOINTS = 200


def train_worker(config: dict[str, Any]) -> None:
    """What each worker runs."""
    import ray.train
    import torch
    from ray.train import Checkpoint
    from ray.train.torch import prepare_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder, rank = Path(config["folder"]), ray.train.get_context().get_world_rank()
    net: Any = torch.nn.Sequential(
        torch.nn.Linear(64, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )
    start, found = 0, ray.train.get_checkpoint()
    if found is not None:
        with found.as_directory() as there:
            saved = torch.load(Path(there) / "state.pt", weights_only=True)
        net.load_state_dict(saved["net"])
        start = saved["step"]
    net = prepare_model(net)
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    loss_of = torch.nn.CrossEntropyLoss()
    x, y = torch.randn(1024, 64), torch.randint(0, 10, (1024,))
    (folder / f"pid-{rank}").write_text(str(os.getpid()))
    with (folder / "steps").open("a", buffering=1) as log:
        for step in range(start, 1 << 40):
            rows = torch.arange(step * 8, step * 8 + 8) % 1024
            optimizer.zero_grad()
            loss_of(net(x[rows]), y[rows]).backward()
            optimizer.step()
            if rank == 0:
                log.write(f"{time.time()} {step}\n")
            if (folder / "end").exists() and step >= int((folder / "end").read_text()):
                return
            if (step + 1) % STEPS_BETWEEN_CHECKPOINTS == 0:
                with tempfile.TemporaryDirectory() as there:
                    if rank == 0:
                        state = {"net": net.module.state_dict(), "step": step + 1}
                        torch.save(state, Path(there) / "state.pt")
                    checkpoint = Checkpoint.from_directory(there) if rank == 0 else None
                    ray.train.report({"step": step}, checkpoint=checkpoint)


def steps_in(folder: Path) -> list[tuple[float, int]]:
    """Time and number of every step that was computed."""
    try:
        lines = (folder / "steps").read_text().splitlines()
    except OSError:
        return []
    whole = [line.split() for line in lines]
    return [(float(words[0]), int(words[1])) for words in whole if len(words) == 2]


def kill_again_and_again(folder: Path, kills: int, seed: int, found: list[dict[str, float]]) -> None:
    """Kill a worker between 500 and 900 steps after the last standstill; at last end the training."""
    rng = random.Random(seed)
    for _ in range(kills):
        before = len(steps_in(folder))
        wait_for_steps(folder, before + rng.randrange(500, 900))
        pid = int((folder / f"pid-{rng.randrange(2)}").read_text())
        killed = time.time()
        os.kill(pid, signal.SIGKILL)
        steps = [step for at, step in steps_in(folder) if at <= killed]
        while not (after := [one for one in steps_in(folder) if one[0] > killed + 0.5]):
            time.sleep(0.05)
        at, step = after[0]
        found.append({"standstill_s": at - killed, "steps_again": max(steps) + 1 - step})
    beside = folder / "end-beside"
    beside.write_text(str(steps_in(folder)[-1][1] + 2000))  # far enough that all see it before
    beside.rename(folder / "end")


def wait_for_steps(folder: Path, count: int) -> None:
    while len(steps_in(folder)) < count:
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
        killing = threading.Thread(
            target=kill_again_and_again, args=(folder, options.kills, options.seed, found), daemon=True
        )
        killing.start()
        TorchTrainer(
            train_worker,
            train_loop_config={"folder": name},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(
                storage_path=name, failure_config=FailureConfig(max_failures=options.kills + 1)
            ),
        ).fit()
        killing.join(60)
        ray.shutdown()
    print(json.dumps({key: [one[key] for one in found] for key in ("standstill_s", "steps_again")}))


if __name__ == "__main__":
    main()
