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

from models import (  # noqa: E402
    LEARNING_RATE,
    MOMENTUM,
    NETS,
    NORM_EPSILON,
    CharGpt,
    CharLstm,
    Convnet,
    Mlp,
    Net,
)

WARM_UP_STEPS = 10


def make_mlp(net: Mlp) -> Any:
    from torch import nn

    sizes = (net.inputs, *net.units)
    layers: list[Any] = []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def make_convnet(net: Convnet) -> Any:
    from torch import nn

    rows, columns, channels = net.image
    layers: list[Any] = []
    for place, group in enumerate(net.groups):
        for filters in group:
            layers.append(nn.Conv2d(channels, filters, 3, padding=int(net.is_normalized)))
            if net.is_normalized:
                layers.append(nn.BatchNorm2d(filters, eps=NORM_EPSILON))
            else:
                rows, columns = rows - 2, columns - 2
            layers.append(nn.ReLU())
            channels = filters
        if place < len(net.groups) - 1 or not net.is_normalized:
            layers.append(nn.MaxPool2d(2))
            rows, columns = rows // 2, columns // 2
    if net.is_normalized:
        layers.append(nn.AdaptiveAvgPool2d(1))
        rows = columns = 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(rows * columns * channels, net.classes))


def make_char_lstm(net: CharLstm) -> Any:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(net.vocabulary, net.embedding)
            self.lstm = nn.LSTM(net.embedding, net.units, batch_first=True)
            self.head = nn.Linear(net.units, net.classes)

        def forward(self, characters: torch.Tensor) -> Any:
            states, _ = self.lstm(self.embedding(characters))
            return self.head(states).flatten(0, 1)

    return Net()


def make_char_gpt(net: CharGpt) -> Any:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
            self.embedding = nn.Embedding(net.vocabulary, net.width)
            block = nn.TransformerEncoderLayer(net.width, net.heads, 4 * net.width, **options)
            norm = nn.LayerNorm(net.width, eps=NORM_EPSILON)
            self.body = nn.TransformerEncoder(block, net.blocks, norm, enable_nested_tensor=False)
            self.head = nn.Linear(net.width, net.classes)
            mask = nn.Transformer.generate_square_subsequent_mask(net.steps)
            self.register_buffer("mask", mask)

        def forward(self, characters: torch.Tensor) -> Any:
            h = self.body(self.embedding(characters), mask=self.mask, is_causal=True)
            return self.head(h).flatten(0, 1)

    return Net()


BUILDERS: dict[type[Net], Callable[[Any], Any]] = {
    Mlp: make_mlp,
    Convnet: make_convnet,
    CharLstm: make_char_lstm,
    CharGpt: make_char_gpt,
}


def make_net(net: Net) -> Any:
    return BUILDERS[type(net)](net)


def make_batch(net: Net) -> tuple[Any, Any]:
    """Noise as PyTorch takes it (channels before rows), and a class for each loss value of a sample."""
    import torch

    shape = (net.batch_size, *net.sample_shape)
    if isinstance(net, CharLstm | CharGpt):
        return torch.randint(0, net.vocabulary, shape), torch.randint(0, net.classes, shape)
    x = torch.randn(shape)
    if isinstance(net, Convnet):
        x = x.permute(0, 3, 1, 2).contiguous()
    return x, torch.randint(0, net.classes, (net.batch_size,))


def make_step(name: str, rank: int = 0, processes: int = 1) -> Callable[[], None]:
    """A training step on this process's part of a fixed batch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    net: Any = make_net(NETS[name])
    x, y = make_batch(NETS[name])
    if processes > 1:
        net = nn.parallel.DistributedDataParallel(net)
        low, high = len(x) * rank // processes, len(x) * (rank + 1) // processes
        x, y = x[low:high].clone(), y[low:high].clone()
    y = y.flatten()
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
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=list(NETS))
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
