"""One round of PyTorch's side of the benchmarks: run by an interpreter that has torch; prints JSON.

`--way N`: one process with N threads. `--way ddpN`: N processes of one thread, the global batch split over
them, gradients averaged by DistributedDataParallel over gloo.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from models import LEARNING_RATE, MLPS, MOMENTUM, Mlp  # noqa: E402

WARM_UP_STEPS = 10


def make_net(mlp: Mlp) -> Any:
    from torch import nn

    sizes = (mlp.inputs, *mlp.units)
    layers: list[Any] = []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make_step(name: str, rank: int = 0, processes: int = 1) -> Callable[[], None]:
    """A training step on this process's part of a fixed batch."""
    import torch
    from torch import nn

    mlp = MLPS[name]
    torch.manual_seed(0)
    net = make_net(mlp)
    x, y = torch.randn(mlp.batch_size, mlp.inputs), torch.randint(0, mlp.units[-1], (mlp.batch_size,))
    if processes > 1:
        net = nn.parallel.DistributedDataParallel(net)
        low, high = mlp.batch_size * rank // processes, mlp.batch_size * (rank + 1) // processes
        x, y = x[low:high].clone(), y[low:high].clone()
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM)
    loss_of = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(net(x), y).backward()
        optimizer.step()

    return step


def seconds_a_step(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(WARM_UP_STEPS):
        step()
    return (time.perf_counter() - began) / WARM_UP_STEPS


def time_steps(step: Callable[[], None], count: int) -> float:
    """The median milliseconds of so many steps."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def in_one_process(models: list[str], seconds: float, threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    found = {}
    for name in models:
        step = make_step(name)
        seconds_a_step(step)
        found[name] = time_steps(step, max(10, int(seconds / seconds_a_step(step))))
    return found


def in_rank(rank: int, processes: int, models: list[str], seconds: float, folder: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=processes)
    found = {}
    for name in models:
        step = make_step(name, rank, processes)
        seconds_a_step(step)
        # All must do the same number of steps: rank 0 says how many.
        count = torch.tensor([max(10, int(seconds / seconds_a_step(step)))])
        dist.broadcast(count, 0)
        found[name] = time_steps(step, int(count))
    if rank == 0:
        Path(folder, "answer").write_text(json.dumps(found))
    dist.destroy_process_group()


def in_processes(models: list[str], seconds: float, processes: int) -> dict[str, float]:
    import torch.multiprocessing

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(in_rank, (processes, models, seconds, folder), processes)
        found: dict[str, float] = json.loads(Path(folder, "answer").read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(MLPS), default=list(MLPS))
    parser.add_argument("--seconds", type=float, default=1.0, help="per net")
    parser.add_argument("--way", default="1", help="threads of one process, or ddpN")
    options = parser.parse_args()
    if options.way.startswith("ddp"):
        found = in_processes(options.models, options.seconds, int(options.way[3:]))
    else:
        found = in_one_process(options.models, options.seconds, int(options.way))
    import torch

    print(json.dumps({"torch": torch.__version__, "way": options.way, "ms": found}))


if __name__ == "__main__":
    main()
