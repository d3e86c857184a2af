"""Ray Train's side of `fashion_mnist.py` and `startup.py`; prints JSON last.

Run by an interpreter that has ray[train] and torch. The net of Ray Train's public CPU benchmark, by
TorchTrainer with one CPU per worker; the images lie in memory, scaled, and a DataLoader serves them; all
workers validate their part of the test images after every epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fashion_data import DEBIAN_FOLDER  # noqa: E402


def validate(net: Any, loader: Any) -> float:
    """The share of right answers over all workers."""
    import torch
    import torch.distributed as dist

    net.eval()
    counts = torch.zeros(2)
    with torch.no_grad():
        for x, y in loader:
            counts[0] += (net(x).argmax(1) == y).sum()
            counts[1] += len(y)
    dist.all_reduce(counts)
    return float(counts[0] / counts[1])


def train_worker(config: dict[str, Any]) -> None:
    """What each worker runs."""
    sys.path.insert(0, config["folder"])
    import ray.train
    import torch
    from fashion_data import load
    from models import FASHION_LEARNING_RATE, MLPS
    from peer_torch import make_net
    from ray.train.torch import prepare_data_loader, prepare_model
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load(Path(config["data"]))
    size = MLPS["mlp_fmnist"].batch_size // config["workers"]
    train, test = (
        prepare_data_loader(DataLoader(TensorDataset(*map(torch.from_numpy, part)), size, shuffle=shuffle))
        for part, shuffle in (((data.x_train, data.y_train), True), ((data.x_test, data.y_test), False))
    )
    net = prepare_model(make_net(MLPS["mlp_fmnist"]))
    optimizer = torch.optim.SGD(net.parameters(), FASHION_LEARNING_RATE)
    loss_of = torch.nn.CrossEntropyLoss()
    first_step, accuracy = 0.0, []
    for epoch in range(config["epochs"]):
        if config["workers"] > 1:
            train.sampler.set_epoch(epoch)
        net.train()
        for x, y in train:
            optimizer.zero_grad()
            loss_of(net(x), y).backward()
            optimizer.step()
            if not first_step:
                first_step = time.time()
                if config["first_step_only"]:
                    break
        accuracy.append(validate(net, test))
        ray.train.report({"accuracy": accuracy[-1]})
    if ray.train.get_context().get_world_rank() == 0:
        answer = {"accuracy": accuracy, "first_step": first_step}
        Path(config["answer"]).write_text(json.dumps(answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DEBIAN_FOLDER)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--first-step-only", action="store_true", help="end after the first step")
    options = parser.parse_args()
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    import ray
    import ray.train
    import ray.train.torch

    ray.init("local", num_cpus=options.workers + 1, include_dashboard=False, log_to_driver=False)
    config = {"folder": str(Path(__file__).parent), "data": str(options.data.resolve())}
    config |= {"workers": options.workers, "first_step_only": options.first_step_only}
    config["epochs"] = 1 if options.first_step_only else options.epochs
    with tempfile.TemporaryDirectory() as folder:
        config["answer"] = str(Path(folder, "answer"))
        began = time.time()
        ray.train.torch.TorchTrainer(
            train_worker,
            train_loop_config=config,
            scaling_config=ray.train.ScalingConfig(
                num_workers=options.workers, resources_per_worker={"CPU": 1}
            ),
            run_config=ray.train.RunConfig(storage_path=folder),
        ).fit()
        seconds = time.time() - began
        answer = json.loads(Path(config["answer"]).read_text())
    first_step = answer.pop("first_step") - began
    print(json.dumps({**answer, "fit_seconds": seconds, "fit_to_first_step_seconds": first_step}), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
